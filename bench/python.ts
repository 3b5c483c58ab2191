/** The suite `python`: start of python3, and kernels in Python. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { BenchHost, ensureImage } from "./host.ts";
import { measureHere, measureInCvm } from "./measured.ts";
import type { Sample, Work } from "./measure.ts";
import { those, timeHere, underQemu } from "./peers.ts";
import { mustBeOk, run } from "./processes.ts";
import { peer, type Context, type Ready, type Suite } from "./suite.ts";
import { targetOf } from "./targets.ts";

const FOLDER = join(import.meta.dirname, "python");
const PROGRAM = "usr/bin/python3";
const KERNELS = ["fib", "loop", "json", "dict", "str"];
/** `python3 -c pass` on a host that has run nothing, and on one that has run it. */
const FIRST = "python-first";
const AGAIN = "python-again";
const NOTHING = ["-c", "pass"];

async function prepare(context: Context): Promise<Ready> {
  const { settings, say, wanted } = context;
  await ensureImage("python", say);
  // The system's own first: version managers put scripts of the shell in its place.
  const native = existsSync(`/${PROGRAM}`) ? `/${PROGRAM}` : peer("python3", "python3", say);
  const qemu = await underQemu(context, "python");
  for (const [who, command] of [
    ["native", native === undefined ? undefined : [native, "-V"]],
    ["riscv64", qemu?.(PROGRAM, "-V")],
  ] as const) {
    if (command !== undefined) say(`python3, ${who}: ${(await run(command[0]!, command.slice(1))).stdout.trim()}`);
  }
  const host = await BenchHost.start();
  const again = async (on: BenchHost): Promise<Sample> => {
    const { wall, cpu } = mustBeOk("python3 -c pass", await on.run({ image: "python", argv: [`/${PROGRAM}`, ...NOTHING] }));
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
      "qemu-riscv64": qemu === undefined ? undefined : () => timeHere(context, name, qemu(PROGRAM, ...NOTHING)),
      cVM: inCvm,
    }),
  }));
  const kernels = KERNELS.map((name): Work => {
    const args = [name, String(settings.seconds), String(settings.warmUp)];
    const script = join(FOLDER, "kernels.py");
    return {
      suite: "python",
      name,
      unit: "runs/s",
      better: "more",
      target: targetOf("python", name),
      by: those({
        native: native === undefined ? undefined : () => measureHere([native, script, ...args], "more"),
        "qemu-riscv64": qemu === undefined ? undefined : () => measureHere(qemu(PROGRAM, script, ...args), "more"),
        cVM: () =>
          measureInCvm(
            host,
            { image: "python", argv: [`/${PROGRAM}`, "/bench/kernels.py", ...args], volumes: { "/bench": FOLDER } },
            "more",
          ),
      }),
    };
  });
  return { works: [...starts, ...kernels].filter(({ name }) => wanted(name)), stop: () => host.stop() };
}

export const python: Suite = { name: "python", names: () => [FIRST, AGAIN, ...KERNELS], prepare };
