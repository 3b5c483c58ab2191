/** The suites `cpu` and `calls`: programs in C, and the programs of --add. */
import { dirname, join } from "node:path";
import type { Added, Settings } from "./arguments.ts";
import { BenchHost, ensureImage } from "./host.ts";
import { measureHere, measureInCvm } from "./measured.ts";
import type { Measure, Sample, Work } from "./measure.ts";
import { those } from "./peers.ts";
import { mustBeOk, run } from "./processes.ts";
import { buildPrograms, programNames } from "./programs.ts";
import { parseTimes, scoreOf } from "./results.ts";
import type { Better } from "./statistics.ts";
import type { Context, Ready, Suite } from "./suite.ts";
import { targetOf } from "./targets.ts";

/** The kernel that is also measured in its first half second on a host that has run nothing. */
const COLD_KERNEL = "mix";
const COLD = "mix-cold";
const COLD_SECONDS = 0.5;

/** A program of C that measures itself. */
interface Kernel {
  /** Of its file. */
  readonly name: string;
  /** Of its work. */
  readonly title: string;
  readonly unit: string;
  readonly better: Better;
  readonly seconds: number;
  readonly warmUp: number;
}

const argumentsOf = ({ seconds, warmUp }: Kernel): string[] => [String(seconds), String(warmUp)];

interface Folders {
  readonly native: string;
  readonly riscv: string;
}

function inCvm(host: BenchHost, kernel: Kernel, { riscv }: Folders): Promise<Sample> {
  const argv = [`/bench/${kernel.name}`, ...argumentsOf(kernel)];
  return measureInCvm(host, { image: "empty", argv, volumes: { "/bench": riscv } }, kernel.better);
}

/** A program of others: its own score, or how often a second it could run from start to end. */
function addedWork(context: Context, host: BenchHost, folders: Folders, added: Added): Work {
  const timed = join(folders.native, "timed");
  const sample = (stdout: string, wall: number, cpu: number): Sample => {
    const { value } = scoreOf(stdout, wall);
    return { value, ...(cpu > 0 ? { cpu: value / Math.min(1, cpu / wall) } : {}) };
  };
  const here = async (...command: string[]): Promise<Sample> => {
    const ended = mustBeOk(added.name, await run(timed, command));
    const { wall, cpu } = parseTimes(ended.stderr);
    return sample(ended.stdout, wall, cpu);
  };
  const { qemu } = context;
  const place = dirname(added.riscv);
  const name = added.riscv.slice(place.length + 1);
  return {
    suite: "cpu",
    name: added.name,
    unit: "score",
    better: "more",
    target: targetOf("cpu", added.name),
    by: {
      native: () => here(added.native),
      ...(qemu === undefined ? {} : { "qemu-riscv64": () => here(qemu, added.riscv) }),
      cVM: async () => {
        const before = host.guestCpu();
        const ended = mustBeOk(added.name, await host.run({ image: "empty", argv: [`/bench/${name}`], volumes: { "/bench": place } }));
        return sample(ended.stdout, ended.wall, host.guestCpu() - before);
      },
    },
  };
}

function kernelWork(context: Context, suite: "cpu" | "calls", kernel: Kernel, folders: Folders, cVM: Measure): Work {
  const { qemu } = context;
  const { name, title, unit, better } = kernel;
  const args = argumentsOf(kernel);
  return {
    suite,
    name: title,
    unit,
    better,
    target: targetOf(suite, title),
    by: those({
      native: () => measureHere([join(folders.native, name), ...args], better),
      "qemu-riscv64": qemu === undefined ? undefined : () => measureHere([qemu, join(folders.riscv, name), ...args], better),
      cVM,
    }),
  };
}

/** Units of the kernels' rates, as their sources have them. */
const UNITS: Readonly<Record<string, string>> = {
  bytes: "bytes/s",
  chase: "steps/s",
  fused: "operations/s",
  hash: "operations/s",
  integer: "steps/s",
  matrix: "flop/s",
  memcpy: "bytes/s",
  "memcpy-large": "bytes/s",
  mix: "iterations/s",
  nbody: "steps/s",
  qsort: "elements/s",
  records: "turns/s",
  strings: "bytes/s",
  triad: "bytes/s",
  "triad-int": "bytes/s",
  "triad-large": "bytes/s",
};

async function prepare(context: Context, suite: "cpu" | "calls"): Promise<Ready> {
  const { settings, say, wanted } = context;
  await ensureImage("empty", say);
  const folders: Folders = { native: buildPrograms("native", say), riscv: buildPrograms("riscv", say) };
  const host = await BenchHost.start();
  const works: Work[] = [];
  const { seconds, warmUp } = settings;
  const add = (kernel: Kernel, measure: Measure): void => void works.push(kernelWork(context, suite, kernel, folders, measure));
  if (suite === "calls") {
    for (const name of programNames("calls").filter(wanted)) {
      const kernel: Kernel = { name, title: name, unit: "s", better: "less", seconds, warmUp };
      add(kernel, () => inCvm(host, kernel, folders));
    }
  } else {
    for (const name of programNames("kernels").filter(wanted)) {
      const kernel: Kernel = { name, title: name, unit: UNITS[name] ?? "work/s", better: "more", seconds, warmUp };
      add(kernel, () => inCvm(host, kernel, folders));
    }
    if (wanted(COLD)) {
      const unit = UNITS[COLD_KERNEL] ?? "work/s";
      const kernel: Kernel = { name: COLD_KERNEL, title: COLD, unit, better: "more", seconds: COLD_SECONDS, warmUp: 0 };
      add(kernel, async () => {
        const fresh = await BenchHost.start(true);
        try {
          return await inCvm(fresh, kernel, folders);
        } finally {
          await fresh.stop();
        }
      });
    }
    for (const added of settings.add) if (wanted(added.name)) works.push(addedWork(context, host, folders, added));
  }
  return { works, stop: () => host.stop() };
}

export const cpu: Suite = {
  name: "cpu",
  names: (settings: Settings) => [...programNames("kernels"), COLD, ...settings.add.map(({ name }) => name)],
  prepare: (context) => prepare(context, "cpu"),
};
export const calls: Suite = {
  name: "calls",
  names: () => programNames("calls"),
  prepare: (context) => prepare(context, "calls"),
};
