/**
 * The suite `checks`: kernels in this process, on machines that translate with one check or another left out, and on one that
 * only interprets. Addresses are relocated on all of them.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createMachine, UsedPages } from "@cvm/cpu";
import type { EngineName } from "@cvm/cpu/abi";
import { createLibraryOs } from "@cvm/libos";
import { createMonitor, type Monitor } from "@cvm/monitor";
import { inOneLine, order } from "./measure.ts";
import { buildPrograms, programNames } from "./programs.ts";
import { align } from "./report.ts";
import { parseResult } from "./results.ts";
import { geometricMean, humanNumber, median } from "./statistics.ts";
import type { Context } from "./suite.ts";
import { INTERPRETER_MIPS, MOST_CHECK_COST } from "./targets.ts";

const MIB = 1024 ** 2;
const MEMORY_BYTES = 256 * MIB;

interface Checks {
  readonly merge: boolean;
  readonly bounds: boolean;
  readonly pages: boolean;
  readonly loads: boolean;
}
const ALL: Checks = { merge: true, bounds: true, pages: true, loads: true };

interface Variant {
  readonly name: string;
  readonly engine: EngineName;
  readonly checks: Checks;
}
const ALL_ON = "all on";
const ALL_OFF = "off";
const INTERPRETED = "interpreter";
/** The kernel whose speed in the interpreter is told. */
const INTERPRETED_KERNEL = "mix";

export const VARIANTS: readonly Variant[] = [
  { name: ALL_ON, engine: "translator", checks: ALL },
  { name: "not merged", engine: "translator", checks: { ...ALL, merge: false } },
  { name: "no pages of loads", engine: "translator", checks: { ...ALL, loads: false } },
  { name: "no pages", engine: "translator", checks: { ...ALL, pages: false } },
  { name: "no bounds", engine: "translator", checks: { ...ALL, bounds: false } },
  { name: ALL_OFF, engine: "translator", checks: { ...ALL, bounds: false, pages: false } },
  { name: INTERPRETED, engine: "interpreter", checks: ALL },
];

/** What one run said. */
interface Speed {
  /** Work per second: by the clock, or by processor time. */
  readonly work: number;
  readonly mips: number;
  readonly checksum: string;
}

/**
 * From now on this process gives memory when pages are mapped, not when they are first stored to: that a page has none is found by the tests which some variants leave out.
 */
function giveMemoryAtOnce(): void {
  const mapped = Reflect.get(UsedPages.prototype, "map") as (this: UsedPages, ...range: Parameters<UsedPages["map"]>) => void;
  UsedPages.prototype.map = function (start, length, prot, keep) {
    mapped.call(this, start, length, prot, keep);
    this.use(start, length, false);
  };
}

/** A machine with a monitor that runs programs one after the other. */
class Bench {
  readonly #machine: ReturnType<typeof createMachine>;
  readonly #monitor: Monitor;
  readonly #byCpu: boolean;
  #count = 0;

  constructor({ engine, checks }: Variant, byCpu: boolean) {
    this.#machine = createMachine({ memoryBytes: 2 * MEMORY_BYTES, engine, checkLoads: checks.loads }, undefined, undefined, checks);
    this.#monitor = createMonitor(this.#machine);
    this.#byCpu = byCpu;
  }

  /** Runs a program of a folder to its end. @throws Error when it fails */
  async run(folder: string, argv: readonly string[]): Promise<Speed> {
    const writable = mkdtempSync(join(tmpdir(), "cvm-bench-"));
    const name = `bench-${++this.#count}`;
    let stdout = "";
    let stderr = "";
    let begun: { readonly at: number; readonly cpu: number; readonly instructions: number } | undefined;
    let ended: typeof begun;
    const now = (): NonNullable<typeof begun> => ({
      at: performance.now() / 1000,
      cpu: process.threadCpuUsage().user / 1e6,
      instructions: this.#machine.instructions,
    });
    let finished = (_status: number): void => {};
    const end = new Promise<number>((resolve) => (finished = resolve));
    const cvm = this.#monitor.createCvm({
      name,
      memoryBytes: MEMORY_BYTES,
      libraryOs: (host, address) =>
        createLibraryOs(
          {
            hostname: name,
            address,
            layers: [],
            writable,
            volumes: [{ source: folder, target: "/bench", readOnly: true }],
            memoryBytes: MEMORY_BYTES,
            program: { argv, env: [], cwd: "/", user: { uid: 0, gid: 0 }, tty: false, stdin: false },
            strace: false,
          },
          host,
        ),
      events: {
        output: (_console, fd, bytes) => {
          const text = Buffer.from(bytes).toString();
          if (fd === 2) stderr += text;
          else stdout += text;
          if (stdout.includes("result ")) ended ??= now();
          else if (stdout.includes("begin\n")) begun ??= now();
        },
        exited: (console, code, signal) => {
          if (console === 0) finished(signal === 0 ? code : 128 + signal);
        },
        fault: ({ text }) => (stderr += `${text}\n`),
        problem: (text) => (stderr += `${text}\n`),
      },
    });
    try {
      await cvm.start();
      const status = await end;
      if (status !== 0) throw new Error(`ended with ${status}: ${stderr.trim()}`);
      const { work, checksum } = parseResult(stdout);
      if (begun === undefined || ended === undefined) throw new Error("it did not say when it began");
      const seconds = ended.at - begun.at;
      const share = this.#byCpu ? Math.min(1, (ended.cpu - begun.cpu) / seconds) : 1;
      const mips = (ended.instructions - begun.instructions) / seconds / share / 1e6;
      return { work: work / share, mips, checksum };
    } finally {
      this.#monitor.destroyCvm(cvm);
      rmSync(writable, { recursive: true, force: true });
    }
  }
}

/** One kernel's figures: medians by variant. */
export interface ChecksRow {
  readonly name: string;
  readonly work: Readonly<Record<string, number>>;
  readonly mips: Readonly<Record<string, number>>;
  readonly failures: Readonly<Record<string, string>>;
}
export interface ChecksResult {
  readonly rows: readonly ChecksRow[];
  /** By variant: how much longer all checks take than it does, as a share; geometric mean. */
  readonly cost: Readonly<Record<string, number>>;
  readonly met: boolean | undefined;
  /** Million instructions per second of the interpreter. */
  readonly interpreter: number | undefined;
}

/** What all checks cost beside each variant: 0.05 means 5 % more time. */
export function costOf(rows: readonly ChecksRow[]): Record<string, number> {
  const cost: Record<string, number> = {};
  for (const { name } of VARIANTS) {
    if (name === ALL_ON || name === INTERPRETED) continue;
    const ratios = rows.flatMap(({ work }) => {
      const off = work[name];
      const on = work[ALL_ON];
      return off === undefined || on === undefined ? [] : off / on;
    });
    if (ratios.length > 0) cost[name] = geometricMean(ratios) - 1;
  }
  return cost;
}

export const checkNames = (): string[] => programNames("kernels");

export async function measureChecks(context: Context): Promise<ChecksResult> {
  const { settings, say, wanted, signal } = context;
  giveMemoryAtOnce();
  const folder = buildPrograms("riscv", say);
  const benches = VARIANTS.map((variant) => ({ variant, bench: new Bench(variant, settings.cpu) }));
  const names = checkNames().filter(wanted);
  const samples = new Map(names.map((name) => [name, new Map<string, Speed[]>()]));
  const failures = new Map<string, Record<string, string>>(names.map((name) => [name, {}]));
  for (let round = 1; round <= settings.rounds; round++) {
    for (const name of names) {
      for (const { variant, bench } of order(benches, round)) {
        if (variant.name === INTERPRETED && name !== INTERPRETED_KERNEL) continue;
        const failed = failures.get(name)!;
        if (failed[variant.name] !== undefined || signal.aborted) continue;
        const title = `round ${round} of ${settings.rounds}, checks ${name}, ${variant.name}`;
        try {
          const speed = await bench.run(folder, [`/bench/${name}`, String(settings.seconds), String(settings.warmUp)]);
          const lists = samples.get(name)!;
          const others = [...lists.values()].flat();
          if (others.some(({ checksum }) => checksum !== speed.checksum)) throw new Error(`the results of ${name} differ`);
          lists.set(variant.name, [...(lists.get(variant.name) ?? []), speed]);
          say(`${title}: ${humanNumber(speed.work)}/s, ${speed.mips.toFixed(0)} MIPS`);
        } catch (error) {
          failed[variant.name] = inOneLine(error);
          say(`${title}: FAILED: ${inOneLine(error)}`);
        }
      }
    }
  }
  const rows = names.map((name): ChecksRow => {
    const lists = [...samples.get(name)!].filter(([variant]) => failures.get(name)![variant] === undefined);
    const medians = (figure: (speed: Speed) => number): Record<string, number> =>
      Object.fromEntries(lists.map(([variant, list]) => [variant, median(list.map(figure))]));
    return { name, work: medians(({ work }) => work), mips: medians(({ mips }) => mips), failures: failures.get(name)! };
  });
  const cost = costOf(rows);
  const all = cost[ALL_OFF];
  const interpreter = rows.find(({ name }) => name === INTERPRETED_KERNEL)?.mips[INTERPRETED];
  return { rows, cost, met: all === undefined ? undefined : all <= MOST_CHECK_COST, interpreter };
}

/** A line for each kernel: its speed with all checks, and how much less time it takes without one or another. */
export function checksTable({ rows, cost, met, interpreter }: ChecksResult): string {
  const variants = VARIANTS.filter(({ name }) => name !== ALL_ON && name !== INTERPRETED).map(({ name }) => name);
  const percent = (share: number | undefined): string => (share === undefined ? "-" : `${(share * 100).toFixed(1)} %`);
  const lines = [
    ["checks cost, beside", "all on", "MIPS", ...variants],
    ...rows.map((row) => {
      const on = row.work[ALL_ON];
      const mips = row.mips[ALL_ON];
      return [
        row.name,
        on === undefined ? "failed" : `${humanNumber(on)}/s`,
        mips === undefined ? "-" : mips.toFixed(0),
        ...variants.map((name) => {
          const off = row.work[name];
          return row.failures[name] !== undefined ? "failed" : percent(off === undefined || on === undefined ? undefined : off / on - 1);
        }),
      ];
    }),
    ["geometric mean", "", "", ...variants.map((name) => percent(cost[name]))],
  ];
  const failed = rows.flatMap((row) =>
    Object.entries(row.failures).map(([variant, why]) => `failed: checks ${row.name}, ${variant}: ${why}`),
  );
  const all = cost[ALL_OFF];
  const verdict = (reached: boolean | undefined): string => (reached === undefined ? "open" : reached ? "met" : "not met");
  return [
    align(lines),
    ...failed,
    `all checks cost ${percent(all)} (to reach: at most ${MOST_CHECK_COST * 100} %): ${verdict(met)}`,
    ...(interpreter === undefined
      ? []
      : [
          `interpreter alone, ${INTERPRETED_KERNEL}: ${interpreter.toFixed(0)} MIPS (to reach: ${INTERPRETER_MIPS}): ${verdict(interpreter >= INTERPRETER_MIPS)}`,
        ]),
  ].join("\n");
}
