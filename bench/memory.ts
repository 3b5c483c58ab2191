/** The suite `memory`: what a fork costs, and how much memory of this computer an idle cVM takes. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { BenchHost, ensureImage } from "./host.ts";
import type { Measure, Work } from "./measure.ts";
import { those } from "./peers.ts";
import { mustBeOk, run } from "./processes.ts";
import { buildPrograms } from "./programs.ts";
import { parseForks, type Forks } from "./results.ts";
import type { Context, Ready, Suite } from "./suite.ts";

/** The process uses so much more in the second part of forks.c. */
const MORE_MIB = 64;
/** Idle cVMs at once, and how long they sleep. */
const IDLE = 60;
const IDLE_SECONDS = 20;
const SMALL = "fork";
const PER_MIB = "fork-per-MiB";
const IDLE_CVM = "idle";

/** Bytes of a process that are in this computer's memory. */
function residentOf(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB$/mu.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  if (kib === undefined) throw new Error(`/proc/${pid}/status has no VmRSS`);
  return Number(kib) * 1024;
}

/** On a host of its own: pages that cVMs had before are not given back, so that later ones would seem to take nothing. */
async function idle(): Promise<number> {
  const host = await BenchHost.start();
  try {
    const one = { image: "busybox", argv: ["/usr/bin/busybox", "sleep", "0"] } as const;
    for (let warm = 0; warm < 3; warm++) mustBeOk("sleep", await host.run(one));
    const before = residentOf(host.pid);
    const running = Array.from({ length: IDLE }, () => host.run({ ...one, argv: ["/usr/bin/busybox", "sleep", String(IDLE_SECONDS)] }));
    await sleep((IDLE_SECONDS * 1000) / 2);
    const bytes = (residentOf(host.pid) - before) / IDLE;
    for (const ended of await Promise.all(running)) mustBeOk("sleep", ended);
    return bytes;
  } finally {
    await host.stop();
  }
}

async function prepare({ say, wanted, qemu }: Context): Promise<Ready> {
  await ensureImage("empty", say);
  await ensureImage("busybox", say);
  const riscv = buildPrograms("riscv", say);
  const native = join(buildPrograms("native", say), "forks");
  const more = String(MORE_MIB);
  const forksHere = async (command: string, ...args: string[]): Promise<Forks> =>
    parseForks(mustBeOk("forks", await run(command, [...args, more])).stdout);
  const forksInCvm = async (): Promise<Forks> => {
    const host = await BenchHost.start();
    try {
      const ended = await host.run({ image: "empty", argv: ["/bench/forks", more], volumes: { "/bench": riscv } });
      return parseForks(mustBeOk("forks", ended).stdout);
    } finally {
      await host.stop();
    }
  };
  const forks = (name: string, figure: (forks: Forks) => number): Work => {
    const measure =
      (get: () => Promise<Forks>): Measure =>
      async () => ({ value: figure(await get()) });
    return {
      suite: "memory",
      name,
      unit: "s",
      better: "less",
      target: undefined,
      by: those({
        native: measure(() => forksHere(native)),
        "qemu-riscv64": qemu === undefined ? undefined : measure(() => forksHere(qemu, join(riscv, "forks"))),
        cVM: measure(forksInCvm),
      }),
    };
  };
  const works: Work[] = [
    forks(SMALL, ({ small }) => small),
    forks(PER_MIB, ({ small, large, mib }) => (large - small) / mib),
    {
      suite: "memory",
      name: IDLE_CVM,
      unit: "bytes",
      better: "less",
      target: undefined,
      by: those({ native: undefined, "qemu-riscv64": undefined, cVM: async () => ({ value: await idle() }) }),
    },
  ];
  return { works: works.filter(({ name }) => wanted(name)), stop: () => Promise.resolve() };
}

export const memory: Suite = { name: "memory", names: () => [SMALL, PER_MIB, IDLE_CVM], prepare };
