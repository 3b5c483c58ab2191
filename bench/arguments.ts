/** The command line of `pnpm bench`. */
import { existsSync, statSync } from "node:fs";
import { basename, resolve } from "node:path";
import { parseArgs } from "node:util";

export const SUITES = ["cpu", "calls", "redis", "nginx", "python", "sqlite", "start", "memory", "ipc", "checks"] as const;
export type SuiteName = (typeof SUITES)[number];

/** A pair of prebuilt static executables. */
export interface Added {
  readonly name: string;
  readonly riscv: string;
  readonly native: string;
}

export interface Settings {
  readonly suites: readonly SuiteName[];
  readonly rounds: number;
  /** Names of works; empty: all. */
  readonly only: readonly string[];
  readonly format: "table" | "json";
  readonly add: readonly Added[];
  readonly quick: boolean;
  /** Figures by processor time instead of by the clock. */
  readonly cpu: boolean;
  /** Seconds that a kernel measures, and that it runs before. */
  readonly seconds: number;
  readonly warmUp: number;
  /** Requests of one run of redis-benchmark. */
  readonly requests: number;
}

/** The command line is wrong: exit status 2. */
export class UsageError extends Error {}

export const USAGE = `Usage: pnpm bench [SUITE...] [options]

Measures cVMs beside native programs and qemu-riscv64, in turn, and prints medians, spreads and ratios.

Suites (all unless given)
  cpu      kernels in C (bench/kernels), and the programs of --add
  calls    system calls
  redis    redis-benchmark, through a published port and from a second cVM
  nginx    a file of 1 KiB by wrk: 16 kept connections, a published port, two workers
  python   start of python3, and kernels
  sqlite   100,000 inserts in one transaction
  start    true and sh -c : from start to exit
  memory   a fork, what each MiB adds to it, and bytes of this computer's memory for an idle cVM
  ipc      messages between programs of two cVMs and of one, copies into a shared buffer
  checks   what each check of translated code costs, and the interpreter alone
  all      every one

Options
  --rounds N                      measure everything N times (5; with --quick 1)
  --only NAME[,NAME...]           measure these works only
  --add NAME=RV_ELF,NATIVE_ELF    another program for cpu: static executables for riscv64 and for this machine
  --cpu                           figures by processor time: for a machine that does other work too
  --seconds S                     measure each kernel for S seconds (1; with --quick 0.2), after half as long to warm up; nginx five times as long
  --requests N                    requests of one run of redis-benchmark (100000; with --quick 10000)
  --quick                         see whether everything runs: the figures are not worth keeping
  --format table|json             table
  --help                          this text
`;

const OPTIONS = {
  rounds: { type: "string" },
  only: { type: "string", multiple: true },
  add: { type: "string", multiple: true },
  cpu: { type: "boolean" },
  seconds: { type: "string" },
  requests: { type: "string" },
  quick: { type: "boolean" },
  format: { type: "string" },
  help: { type: "boolean", short: "h" },
} as const;

function whole(text: string | undefined, option: string, least: number, most: number): number | undefined {
  if (text === undefined) return undefined;
  const value = /^\d+$/u.test(text) ? Number(text) : Number.NaN;
  if (!(value >= least && value <= most)) throw new UsageError(`--${option} "${text}": give a whole number from ${least} to ${most}`);
  return value;
}

function addedOf(text: string): Added {
  const match = /^([^=,]+)=([^,]+),([^,]+)$/u.exec(text);
  if (match === null) throw new UsageError(`--add "${text}": write NAME=RV_ELF,NATIVE_ELF`);
  const [, name, riscv, native] = match as unknown as [string, string, string, string];
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/u.test(name))
    throw new UsageError(`--add "${text}": the name may have letters, digits, ".", "_" and "-"`);
  for (const file of [riscv, native]) {
    if (!existsSync(file)) throw new UsageError(`--add "${text}": there is no file ${file}`);
    if (!statSync(file).isFile()) throw new UsageError(`--add "${text}": ${basename(file)} is not a file`);
  }
  return { name, riscv: resolve(riscv), native: resolve(native) };
}

function suitesOf(words: readonly string[]): SuiteName[] {
  for (const word of words) {
    if (word !== "all" && !(SUITES as readonly string[]).includes(word))
      throw new UsageError(`there is no suite "${word}": choose of ${SUITES.join(", ")}, all`);
  }
  if (words.length === 0 || words.includes("all")) return [...SUITES];
  return SUITES.filter((suite) => words.includes(suite));
}

/**
 * Reads the command line; undefined when it asks for help.
 * @throws UsageError that says what is wrong and what to write instead
 */
export function parseSettings(args: readonly string[]): Settings | undefined {
  let parsed;
  try {
    // pnpm hands on the "--" that separates its own options from these.
    const own = args[0] === "--" ? args.slice(1) : args;
    parsed = parseArgs({ args: [...own], options: OPTIONS, allowPositionals: true, strict: true });
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
  const { values, positionals } = parsed;
  if (values.help === true) return undefined;
  const suites = suitesOf(positionals);
  const format = values.format ?? "table";
  if (format !== "table" && format !== "json") throw new UsageError(`--format "${format}": choose table or json`);
  const quick = values.quick === true;
  const seconds = values.seconds === undefined ? (quick ? 0.2 : 1) : Number(values.seconds);
  if (!(seconds >= 0.01 && seconds <= 600)) throw new UsageError(`--seconds "${values.seconds}": give a number from 0.01 to 600`);
  const only = (values.only ?? []).flatMap((list) => list.split(",")).filter((name) => name !== "");
  if (values.only !== undefined && only.length === 0) throw new UsageError("--only: name at least one work");
  const add = (values.add ?? []).map(addedOf);
  const twice = add.find(({ name }, at) => add.findIndex((other) => other.name === name) !== at);
  if (twice !== undefined) throw new UsageError(`--add: two programs have the name "${twice.name}"`);
  if (add.length > 0 && !suites.includes("cpu")) throw new UsageError("--add: programs join the suite cpu, which is not asked for");
  return {
    suites,
    rounds: whole(values.rounds, "rounds", 1, 1000) ?? (quick ? 1 : 5),
    only,
    format,
    add,
    quick,
    cpu: values.cpu === true,
    seconds,
    warmUp: seconds / 2,
    requests: whole(values.requests, "requests", 100, 100_000_000) ?? (quick ? 10_000 : 100_000),
  };
}
