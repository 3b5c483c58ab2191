/** The suite `python`: start of python3, and kernels in Python. */
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { BenchHost, ensureImage, imageRoot } from "./host.ts";
import { measureHere, measureInCvm } from "./measured.ts";
import type { Sample, Work } from "./measure.ts";
import { those, timeHere, underQemu } from "./peers.ts";
import { mustBeOk, run } from "./processes.ts";
import { CACHE } from "./places.ts";
import { peer, type Context, type Ready, type Suite } from "./suite.ts";
import { targetOf } from "./targets.ts";

const FOLDER = join(import.meta.dirname, "python");
const PROGRAM = "usr/bin/python3";
const KERNELS = ["fib", "loop", "json", "dict", "str"];
/** `python3 -c pass` on a host that has run nothing, and on one that has run it. */
const FIRST = "python-first";
const AGAIN = "python-again";
const NOTHING = ["-c", "pass"];
/** Kernels warm up so many times longer than those of C, for all contestants: an interpreter's own code is some hundred times larger. */
const STEADY = 6;

const IMAGE = "python";

/**
 * Where Python keeps what it has compiled, in a cVM and under qemu-riscv64: one folder for both. Debian's packages compile their modules when they are
 * installed, which nobody does for an image; without it each start would compile them anew.
 */
interface Compiled {
  /** In the cVM's /pyc. */
  readonly folder: string;
  /** qemu-riscv64 shows programs the whole path of their files, which is in the names of that folder. */
  readonly prefix: string;
}
const COMPILED_IN_CVM = ["PYTHONPYCACHEPREFIX=/pyc", "PYTHONDONTWRITEBYTECODE=1"];

async function compile(host: BenchHost): Promise<Compiled> {
  const prefix = join(CACHE, "pyc");
  const folder = join(prefix, await imageRoot(IMAGE));
  if (!existsSync(folder)) {
    mkdirSync(folder, { recursive: true });
    const where = { image: IMAGE, volumes: { "/bench": FOLDER }, writable: { "/pyc": folder }, env: COMPILED_IN_CVM.slice(0, 1) } as const;
    for (const args of [NOTHING, ["/bench/kernels.py", "json", "0.01", "0"]])
      mustBeOk("python3", await host.run({ ...where, argv: [`/${PROGRAM}`, ...args] }));
  }
  return { folder, prefix };
}

async function prepare(context: Context): Promise<Ready> {
  const { settings, say, wanted } = context;
  await ensureImage(IMAGE, say);
  // The system's own first: version managers put scripts of the shell in its place.
  const native = existsSync(`/${PROGRAM}`) ? `/${PROGRAM}` : peer("python3", "python3", say);
  const qemu = await underQemu(context, IMAGE);
  for (const [who, command] of [
    ["native", native === undefined ? undefined : [native, "-V"]],
    ["riscv64", qemu?.(PROGRAM, "-V")],
  ] as const) {
    if (command !== undefined) say(`python3, ${who}: ${(await run(command[0]!, command.slice(1))).stdout.trim()}`);
  }
  const host = await BenchHost.start();
  const { folder, prefix } = await compile(host).catch(async (error: unknown) => {
    await host.stop();
    throw error;
  });
  const inCvm = { image: IMAGE, volumes: { "/bench": FOLDER, "/pyc": folder }, env: COMPILED_IN_CVM } as const;
  const inQemu = { PYTHONPYCACHEPREFIX: prefix, PYTHONDONTWRITEBYTECODE: "1" };
  const again = async (on: BenchHost): Promise<Sample> => {
    const { wall, cpu } = mustBeOk("python3 -c pass", await on.run({ ...inCvm, argv: [`/${PROGRAM}`, ...NOTHING] }));
    return { value: wall, cpu };
  };
  const first = async (): Promise<Sample> => {
    const fresh = await BenchHost.start(true);
    try {
      return await again(fresh);
    } finally {
      await fresh.stop();
    }
  };
  let warm = false;
  const warmed = async (): Promise<Sample> => {
    if (!warm) await again(host);
    warm = true;
    return again(host);
  };
  const starts = (
    [
      [FIRST, first],
      [AGAIN, warmed],
    ] as const
  ).map(([name, inCvm]): Work => ({
    suite: "python",
    name,
    unit: "s",
    better: "less",
    target: targetOf("python", name),
    by: those({
      native: native === undefined ? undefined : () => timeHere(context, name, [native, ...NOTHING]),
      "qemu-riscv64": qemu === undefined ? undefined : () => timeHere(context, name, qemu(PROGRAM, ...NOTHING), inQemu),
      cVM: inCvm,
    }),
  }));
  const kernels = KERNELS.map((name): Work => {
    const args = [name, String(settings.seconds), String(STEADY * settings.warmUp)];
    const script = join(FOLDER, "kernels.py");
    return {
      suite: "python",
      name,
      unit: "runs/s",
      better: "more",
      target: targetOf("python", name),
      by: those({
        native: native === undefined ? undefined : () => measureHere([native, script, ...args], "more"),
        "qemu-riscv64": qemu === undefined ? undefined : () => measureHere(qemu(PROGRAM, script, ...args), "more", inQemu),
        cVM: () => measureInCvm(host, { ...inCvm, argv: [`/${PROGRAM}`, "/bench/kernels.py", ...args] }, "more"),
      }),
    };
  });
  return { works: [...starts, ...kernels].filter(({ name }) => wanted(name)), stop: () => host.stop() };
}

export const python: Suite = { name: "python", names: () => [FIRST, AGAIN, ...KERNELS], prepare };
