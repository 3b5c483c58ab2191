/** The suite `start`: programs that do nothing, from start to exit, on a host that has run them before. */
import { BenchHost, ensureImage } from "./host.ts";
import type { Measure, Work } from "./measure.ts";
import { those, timeHere, underQemu } from "./peers.ts";
import { COMMAND } from "./places.ts";
import { mustBeOk } from "./processes.ts";
import { buildPrograms } from "./programs.ts";
import { parseTimes } from "./results.ts";
import { peer, type Context, type Ready, type Suite } from "./suite.ts";
import { targetOf } from "./targets.ts";

/** A cVM is made, runs it, and is gone; asked for over the host's socket. */
const STARTS = [
  { name: "true", program: "true", file: "usr/bin/true", args: [] },
  { name: "sh", program: "sh", file: "usr/bin/dash", args: ["-c", ":"] },
] as const;
/** `true` by the cvm command, whose own start counts. */
const BY_COMMAND = "true-command";
/** `true` as a child of a program in a cVM. */
const INSIDE = "true-inside";

async function prepare(context: Context): Promise<Ready> {
  const { say, wanted } = context;
  await ensureImage("base", say);
  const folder = buildPrograms("riscv", say);
  const qemu = await underQemu(context, "base");
  const host = await BenchHost.start();
  for (const { file, args } of STARTS) mustBeOk(file, await host.run({ image: "base", argv: [`/${file}`, ...args] }));
  const work = (name: string, { program, file, args }: (typeof STARTS)[number], inCvm: Measure): Work => {
    const here = peer(program, "coreutils dash", say);
    return {
      suite: "start",
      name,
      unit: "s",
      better: "less",
      target: targetOf("start", name),
      by: those({
        native: here === undefined ? undefined : () => timeHere(context, name, [here, ...args]),
        "qemu-riscv64": qemu === undefined ? undefined : () => timeHere(context, name, qemu(file, ...args)),
        cVM: inCvm,
      }),
    };
  };
  const works = [
    ...STARTS.map((one) =>
      work(one.name, one, async () => {
        const { wall, cpu } = mustBeOk(one.name, await host.run({ image: "base", argv: [`/${one.file}`, ...one.args] }));
        return { value: wall, cpu };
      }),
    ),
    work(BY_COMMAND, STARTS[0], async () => {
      const before = host.cpu();
      const command = [COMMAND, "run", "--rm", "base", "/usr/bin/true"];
      const { value, cpu } = await timeHere(context, BY_COMMAND, command, { CVM_HOME: host.home });
      return { value, cpu: cpu + host.cpu() - before };
    }),
    work(INSIDE, STARTS[0], async () => {
      const ended = await host.run({ image: "base", argv: ["/bench/timed", "/usr/bin/true"], volumes: { "/bench": folder } });
      return { value: parseTimes(mustBeOk(INSIDE, ended).stderr).wall };
    }),
  ];
  return { works: works.filter(({ name }) => wanted(name)), stop: () => host.stop() };
}

export const start: Suite = { name: "start", names: () => [...STARTS.map(({ name }) => name), BY_COMMAND, INSIDE], prepare };
