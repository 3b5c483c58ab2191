/** Figures to reach: how many times as fast as its peers a cVM has to be, with all checks on and exact floating point. */

export interface Target {
  /** Times as fast as qemu-riscv64. */
  readonly qemu?: number;
  /** Times as fast as a native build of the same source. */
  readonly native?: number;
}

const PYTHON: Target = { qemu: 2, native: 0.25 };
const SQLITE: Target = { qemu: 2, native: 0.25 };

/** By suite, then by the name of the work. What has no line here is measured for orientation. */
export const TARGETS: Readonly<Record<string, Readonly<Record<string, Target>>>> = {
  cpu: {
    mix: { qemu: 3, native: 0.65 },
    coremark: { qemu: 3, native: 0.65 },
    "mix-cold": { qemu: 1 },
    records: { qemu: 4, native: 0.45 },
    dhrystone: { qemu: 4, native: 0.45 },
    nbody: { qemu: 8, native: 0.5 },
    triad: { qemu: 1.5, native: 0.8 },
    "triad-int": { qemu: 1.5, native: 0.8 },
    "triad-large": { qemu: 1.5, native: 0.8 },
    memcpy: { qemu: 1.5, native: 0.8 },
    "memcpy-large": { qemu: 1.5, native: 0.8 },
    bytes: { qemu: 1.8, native: 0.55 },
    hash: { qemu: 1.2, native: 0.7 },
    chase: { qemu: 1.2, native: 0.7 },
    qsort: { qemu: 1.5, native: 0.4 },
  },
  // 16 GB/s at 1 MiB, 1.5 times a Unix socket at 64 KiB, a round trip below that of a pipe; a buffer as fast as memory.
  ipc: {
    "cp-1m": { native: 2 },
    "cp-64k": { native: 1.5 },
    "cp-trip": { native: 1 },
    "file-4k": { native: 0.8 },
    "file-64k": { native: 0.8 },
    "file-1m": { native: 0.8 },
  },
  start: { true: { qemu: 1 }, sh: { qemu: 1 } },
  python: {
    "python-first": { qemu: 0.7 },
    "python-again": { qemu: 2 },
    fib: PYTHON,
    loop: PYTHON,
    json: PYTHON,
    dict: PYTHON,
    str: PYTHON,
  },
  sqlite: { inserts: SQLITE, "insert-select": SQLITE },
  nginx: { "keep-alive": { qemu: 1, native: 0.5 } },
  redis: {
    "set-1": { qemu: 0.8, native: 0.5 },
    "get-1": { qemu: 0.8, native: 0.5 },
    "set-16": { qemu: 1, native: 0.25 },
    "get-16": { qemu: 1, native: 0.25 },
    "set-inside": { qemu: 1.5, native: 0.8 },
    "get-inside": { qemu: 1.5, native: 0.8 },
  },
};

/** Most that all capability checks together may cost: the share of time, as a geometric mean over the kernels. */
export const MOST_CHECK_COST = 0.08;
/** Million instructions per second that the interpreter alone has to do on `mix`. */
export const INTERPRETER_MIPS = 400;

/** The figure to reach of a work, by names in lower case; undefined when there is none. */
export function targetOf(suite: string, name: string): Target | undefined {
  const works = TARGETS[suite];
  const key = name.toLowerCase();
  return works !== undefined && Object.hasOwn(works, key) ? works[key] : undefined;
}
