/**
 * `pnpm bench`: measures cVMs beside native programs and qemu-riscv64. Progress goes to standard error, tables or JSON to standard output.
 * Exit status: 0 all was measured, 1 something failed, 2 the command line is wrong, 128 + n interrupted by a signal.
 */
import { spawnSync } from "node:child_process";
import { cpus, loadavg } from "node:os";
import { join } from "node:path";
import { parseSettings, USAGE, UsageError, type Settings } from "./arguments.ts";
import { checkNames, checksTable, measureChecks, type ChecksResult } from "./checks.ts";
import { ipc } from "./ipc.ts";
import { calls, cpu } from "./kernels.ts";
import { inOneLine, measureAll } from "./measure.ts";
import { memory } from "./memory.ts";
import { takeLock } from "./lock.ts";
import { nginx } from "./nginx.ts";
import { HOME, ROOT } from "./places.ts";
import { python } from "./python.ts";
import { redis } from "./redis.ts";
import { rowOf, tableOf, type Row } from "./report.ts";
import { sqlite } from "./sqlite.ts";
import { start } from "./start.ts";
import { peer, type Context, type Suite } from "./suite.ts";

const SUITES: readonly Suite[] = [cpu, calls, redis, nginx, python, sqlite, start, memory, ipc];
/** Fewer rounds than this are not worth a line in docs/performance.md. */
const ROUNDS_TO_KEEP = 5;

const say = (line: string): void => void process.stderr.write(`${line}\n`);

/** @throws UsageError that names works that are not there */
function checkNamesOf(settings: Settings): void {
  const suites = SUITES.filter(({ name }) => settings.suites.includes(name));
  const known = [...suites.flatMap((suite) => suite.names(settings)), ...(settings.suites.includes("checks") ? checkNames() : [])];
  const taken = settings.add.find(({ name }) => cpu.names({ ...settings, add: [] }).includes(name));
  if (taken !== undefined) throw new UsageError(`--add: "${taken.name}" is the name of a kernel: choose another`);
  for (const name of settings.only) {
    if (!known.includes(name))
      throw new UsageError(`--only "${name}": the works of ${settings.suites.join(", ")} are ${[...new Set(known)].join(", ")}`);
  }
}

/** The cvm command runs what was compiled last: that has to be these sources. */
function build(): void {
  const compiler = join(ROOT, "node_modules", ".bin", "tsc");
  const result = spawnSync(compiler, ["--build"], { cwd: ROOT, encoding: "utf8" });
  if (result.status !== 0) throw new Error(`the packages do not compile: ${compiler} --build\n${result.stdout}${result.stderr}`);
}

interface Results {
  readonly rows: readonly Row[];
  readonly checks: ChecksResult | undefined;
  /** Suites that could not be measured, with why. */
  readonly failures: Readonly<Record<string, string>>;
}

async function measure(settings: Settings, signal: AbortSignal): Promise<Results> {
  const qemu = peer("qemu-riscv64", "qemu-user", say);
  const wanted = (name: string): boolean => settings.only.length === 0 || settings.only.includes(name);
  const context: Context = { settings, say, qemu, signal, wanted };
  const rows: Row[] = [];
  const failures: Record<string, string> = {};
  for (const suite of SUITES) {
    if (!settings.suites.includes(suite.name) || !suite.names(settings).some(wanted) || signal.aborted) continue;
    try {
      say(`suite ${suite.name}`);
      const { works, stop } = await suite.prepare(context);
      try {
        for (const outcome of await measureAll(works, settings.rounds, say, signal)) rows.push(rowOf(outcome, settings.cpu));
      } finally {
        await stop();
      }
    } catch (error) {
      failures[suite.name] = inOneLine(error);
      say(`suite ${suite.name} FAILED: ${inOneLine(error)}`);
    }
  }
  let checks: ChecksResult | undefined;
  if (settings.suites.includes("checks") && checkNames().some(wanted) && !signal.aborted) {
    try {
      say("suite checks");
      checks = await measureChecks(context);
    } catch (error) {
      failures["checks"] = inOneLine(error);
      say(`suite checks FAILED: ${inOneLine(error)}`);
    }
  }
  return { rows, checks, failures };
}

function print(settings: Settings, { rows, checks, failures }: Results, interrupted: boolean): void {
  const [processor] = cpus();
  const machine = { processor: processor?.model ?? "unknown", processors: cpus().length, load: loadavg()[0]!, node: process.versions.node };
  if (settings.format === "json") {
    const { rounds, cpu: byCpu, seconds, requests, quick } = settings;
    process.stdout.write(
      `${JSON.stringify({ machine, rounds, cpu: byCpu, seconds, requests, quick, interrupted, rows, checks, failures }, undefined, 2)}\n`,
    );
    return;
  }
  const { processor: model, processors, node } = machine;
  const kind = settings.cpu ? "by processor time" : "by the clock";
  const notes = [
    `${model}, ${processors} processors, Node ${node}; medians of ${settings.rounds} (lowest, highest), ${kind}; x: times as fast as the peer`,
    ...(interrupted ? ["Interrupted: fewer rounds than that, or none."] : []),
    ...(settings.quick || settings.rounds < ROUNDS_TO_KEEP ? ["A look, not figures to keep: --quick, or fewer than 5 rounds."] : []),
  ];
  const parts = [
    notes.join("\n"),
    ...(rows.length > 0 ? [tableOf(rows)] : []),
    ...(checks === undefined ? [] : [checksTable(checks)]),
    ...Object.entries(failures).map(([suite, why]) => `failed: suite ${suite}: ${why}`),
  ];
  process.stdout.write(`${parts.join("\n\n")}\n`);
}

async function main(args: readonly string[]): Promise<number> {
  let settings: Settings | undefined;
  try {
    settings = parseSettings(args);
    if (settings !== undefined) checkNamesOf(settings);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`bench: ${error.message}\n\n${USAGE}`);
    return 2;
  }
  if (settings === undefined) {
    process.stdout.write(USAGE);
    return 0;
  }
  const [load] = loadavg() as [number];
  if (load > cpus().length / 2 && !settings.cpu)
    say(`OTHER WORK USES THIS MACHINE (load ${load.toFixed(1)}): figures by the clock say little; --cpu counts processor time`);
  // The suite checks runs the sources themselves.
  if (settings.suites.some((suite) => suite !== "checks")) build();
  const unlock = takeLock(HOME);
  process.on("exit", unlock);
  const interrupted = new AbortController();
  let status = 0;
  for (const [name, number] of [
    ["SIGINT", 2],
    ["SIGTERM", 15],
  ] as const) {
    // A second one ends it at once.
    process.once(name, () => {
      say("stopping: what was measured so far follows");
      status = 128 + number;
      interrupted.abort();
    });
  }
  const results = await measure(settings, interrupted.signal);
  print(settings, results, interrupted.signal.aborted);
  if (interrupted.signal.aborted) return status;
  const { rows, checks, failures } = results;
  const failed = [...rows, ...(checks?.rows ?? [])].some((row) => Object.keys(row.failures).length > 0) || Object.keys(failures).length > 0;
  return failed ? 1 : 0;
}

let status = 1;
try {
  status = await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`);
}
// What an interrupted run leaves open must not keep this process up; what was printed has to arrive.
process.stdout.write("", () => process.exit(status));
