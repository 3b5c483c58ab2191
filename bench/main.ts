/**
 * `pnpm bench`: measures cVMs beside native programs and qemu-riscv64. Progress goes to standard error, tables or JSON to standard output.
 * Exit status: 0 all was measured, 1 something failed, 2 the command line is wrong.
 */
import { spawnSync } from "node:child_process";
import { cpus, loadavg } from "node:os";
import { join } from "node:path";
import { parseSettings, USAGE, UsageError, type Settings } from "./arguments.ts";
import { checkNames, checksTable, measureChecks, type ChecksResult } from "./checks.ts";
import { calls, cpu } from "./kernels.ts";
import { inOneLine, measureAll } from "./measure.ts";
import { takeLock } from "./lock.ts";
import { HOME, ROOT } from "./places.ts";
import { python } from "./python.ts";
import { redis } from "./redis.ts";
import { rowOf, tableOf, type Row } from "./report.ts";
import { sqlite } from "./sqlite.ts";
import { start } from "./start.ts";
import { peer, type Context, type Suite } from "./suite.ts";

const SUITES: readonly Suite[] = [cpu, calls, redis, python, sqlite, start];
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

/** What has to end when this ends before its time. */
const cleanUps = new Set<() => Promise<void>>();

async function measure(settings: Settings): Promise<Results> {
  const qemu = peer("qemu-riscv64", "qemu-user", say);
  const wanted = (name: string): boolean => settings.only.length === 0 || settings.only.includes(name);
  const context: Context = { settings, say, qemu, wanted };
  const rows: Row[] = [];
  const failures: Record<string, string> = {};
  for (const suite of SUITES) {
    if (!settings.suites.includes(suite.name) || !suite.names(settings).some(wanted)) continue;
    try {
      say(`suite ${suite.name}`);
      const { works, stop } = await suite.prepare(context);
      cleanUps.add(stop);
      try {
        for (const outcome of await measureAll(works, settings.rounds, say)) rows.push(rowOf(outcome, settings.cpu));
      } finally {
        cleanUps.delete(stop);
        await stop();
      }
    } catch (error) {
      failures[suite.name] = inOneLine(error);
      say(`suite ${suite.name} FAILED: ${inOneLine(error)}`);
    }
  }
  let checks: ChecksResult | undefined;
  if (settings.suites.includes("checks") && checkNames().some(wanted)) {
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

function print(settings: Settings, { rows, checks, failures }: Results): void {
  const [processor] = cpus();
  const machine = { processor: processor?.model ?? "unknown", processors: cpus().length, load: loadavg()[0]!, node: process.versions.node };
  if (settings.format === "json") {
    const { rounds, cpu: byCpu, seconds, requests, quick } = settings;
    process.stdout.write(
      `${JSON.stringify({ machine, rounds, cpu: byCpu, seconds, requests, quick, rows, checks, failures }, undefined, 2)}\n`,
    );
    return;
  }
  const { processor: model, processors, node } = machine;
  const kind = settings.cpu ? "by processor time" : "by the clock";
  const notes = [
    `${model}, ${processors} processors, Node ${node}; medians of ${settings.rounds} (lowest, highest), ${kind}; x: times as fast as the peer`,
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
  const results = await measure(settings);
  print(settings, results);
  const { rows, checks, failures } = results;
  const failed = [...rows, ...(checks?.rows ?? [])].some((row) => Object.keys(row.failures).length > 0) || Object.keys(failures).length > 0;
  return failed ? 1 : 0;
}

for (const [signal, status] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const) {
  process.once(signal, () => {
    say("stopping");
    void Promise.allSettled([...cleanUps].map((stop) => stop())).then(() => process.exit(status));
  });
}
try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
