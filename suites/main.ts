/** `pnpm suites`: programs' own test suites in cVMs. */
import { takeLock } from "../bench/lock.ts";
import { parseSettings, USAGE, UsageError, type Settings } from "./arguments.ts";
import { runCrash } from "./crash/crash.ts";
import { cvm } from "./machine.ts";
import { HOME } from "./places.ts";
import { runPrograms } from "./programs/programs.ts";
import { runPython } from "./python.ts";
import { runRedis } from "./redis.ts";
import { tableOf } from "./report.ts";
import { isGood, type ModuleResult } from "./result.ts";
import { UnavailableError } from "./unavailable.ts";

/** Exit status when something that a suite needs cannot be had here. */
const UNAVAILABLE = 69;

function say(text: string): void {
  process.stderr.write(`suites: ${text}\n`);
}

function tell({ module, run, passed, failed, skipped, seconds, broken, note }: ModuleResult): void {
  const more = [broken, note].filter((text) => text !== undefined).map((text) => `; ${text}`);
  say(`${module}: ${passed} of ${run} passed, ${failed.length} failed, ${skipped} skipped, ${seconds.toFixed(1)} s${more.join("")}`);
}

async function runAll({ modules, ...settings }: Settings): Promise<ModuleResult[]> {
  const results: ModuleResult[] = [];
  const keep = (result: ModuleResult): void => {
    results.push(result);
    tell(result);
  };
  const all = { modules, ...settings };
  if (modules.python !== undefined) await runPython(modules.python, all, say, keep);
  if (modules.redis !== undefined) await runRedis(modules.redis, all, say, keep);
  if (modules.programs !== undefined) await runPrograms(modules.programs, settings.small, say, keep);
  if (modules.crash !== undefined) await runCrash(all, say, keep);
  return results;
}

async function main(args: readonly string[]): Promise<number> {
  let settings: Settings | undefined;
  try {
    settings = parseSettings(args);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`suites: ${error.message}\n\n${USAGE}`);
    return 2;
  }
  if (settings === undefined) {
    process.stdout.write(USAGE);
    return 0;
  }
  const unlock = takeLock(HOME);
  process.on("exit", unlock);
  // One whose command was ended by force would run on beside those that follow.
  await cvm(["host", "stop"]);
  const results = await runAll(settings);
  await cvm(["host", "stop"]);
  process.stdout.write(settings.format === "json" ? `${JSON.stringify(results, undefined, 2)}\n` : `${tableOf(results)}\n`);
  return results.length > 0 && results.every(isGood) ? 0 : 1;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const left = error instanceof UnavailableError;
  process.stderr.write(`suites: ${left ? "LEFT OUT: " : ""}${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = left ? UNAVAILABLE : 1;
}
