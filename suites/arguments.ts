/** The command line of `pnpm suites`. */
import { parseArgs } from "node:util";
import { KILLS, KILLS_SMALL, PROGRAMS, PROGRAMS_SMALL, PYTHON_MODULES, PYTHON_SMALL, REDIS_SMALL } from "./modules.ts";
import { SUITES, type SuiteName } from "./result.ts";

export interface Settings {
  /** Modules of each suite that is run; empty for Redis: all; always for crash. */
  readonly modules: Partial<Readonly<Record<SuiteName, readonly string[]>>>;
  readonly format: "table" | "json";
  /** Seconds that one module of Python may take. */
  readonly timeout: number;
  /** Memory of a cVM, as for `cvm run -m`. */
  readonly memory: string;
  /** A python3.13 of this machine that runs each module as well. */
  readonly native?: string;
  /** Shorter loads where a suite has none to choose from. */
  readonly small: boolean;
  /** Times that the crash test kills the host, and the seed of its moments. */
  readonly kills: number;
  readonly seed: number;
}

/** The command line is wrong: exit status 2. */
export class UsageError extends Error {}

export const USAGE = `Usage: pnpm suites [SUITE] [MODULE...] [options]

Runs programs' own test suites in cVMs, one module after the other, and prints what passed.

Suites (all unless given)
  python   CPython's regression tests: modules are named as test_json, test_asyncio.test_events
  redis    Redis's Tcl suite against a server in a cVM: modules are named as unit/type/list
  programs ${PROGRAMS.join(", ")}: each compared with what this machine's own program does
  crash    Redis and SQLite in cVMs whose host is killed by SIGKILL again and again: what was acknowledged must be there

Options
  --small               a few modules of each, and ${KILLS_SMALL} kills, in under four minutes
  --kills N             kills of the host (${KILLS})
  --seed N              moments of the kills (by the clock)
  --timeout S           seconds that one module of Python may take (1800)
  --memory SIZE         memory of each cVM, as for cvm run -m (1g)
  --native PYTHON       run each module of Python with this python3.13 too, and tell what fails in cVMs only
  --format table|json   table
  --help                this text

What the modules print is kept in .cache/suites/output. Exit status 1 when something failed that is not known to fail.
`;

const OPTIONS = {
  small: { type: "boolean" },
  timeout: { type: "string" },
  memory: { type: "string" },
  native: { type: "string" },
  kills: { type: "string" },
  seed: { type: "string" },
  format: { type: "string" },
  help: { type: "boolean", short: "h" },
} as const;

function whole(text: string | undefined, option: string, least: number, most: number): number | undefined {
  if (text === undefined) return undefined;
  const value = /^\d+$/u.test(text) ? Number(text) : Number.NaN;
  if (!(value >= least && value <= most)) throw new UsageError(`--${option} "${text}": give a whole number from ${least} to ${most}`);
  return value;
}

/** Which suite has modules of this name. */
function suiteOf(module: string): SuiteName {
  if (/^test_\w+(?:\.\w+)*$/u.test(module)) return "python";
  if (/^(?:unit|integration)\/[\w/-]+$/u.test(module)) return "redis";
  if ((PROGRAMS as readonly string[]).includes(module)) return "programs";
  throw new UsageError(
    `"${module}" is neither a suite (${SUITES.join(", ")}) nor a module: write test_NAME for Python, unit/NAME for Redis, or ${PROGRAMS.join(", ")}`,
  );
}

function modulesOf(words: readonly string[], small: boolean): Settings["modules"] {
  const all: Readonly<Record<SuiteName, readonly string[]>> = {
    python: small ? PYTHON_SMALL : PYTHON_MODULES,
    redis: small ? REDIS_SMALL : [],
    programs: small ? PROGRAMS_SMALL : PROGRAMS,
    crash: [],
  };
  const suites = new Set<SuiteName>();
  const chosen: Partial<Record<SuiteName, string[]>> = {};
  for (const word of words) {
    const suite = SUITES.find((name) => name === word);
    if (suite !== undefined) suites.add(suite);
    else (chosen[suiteOf(word)] ??= []).push(word);
  }
  if (suites.size === 0 && Object.keys(chosen).length === 0) for (const suite of SUITES) suites.add(suite);
  for (const suite of suites) chosen[suite] ??= [...all[suite]];
  return chosen;
}

/**
 * Reads the command line; undefined when it asks for help.
 * @throws UsageError that says what is wrong and what to write instead
 */
export function parseSettings(args: readonly string[]): Settings | undefined {
  let parsed;
  try {
    // pnpm hands on the "--" that separates its own options from these.
    parsed = parseArgs({ args: [...(args[0] === "--" ? args.slice(1) : args)], options: OPTIONS, allowPositionals: true, strict: true });
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
  const { values, positionals } = parsed;
  if (values.help === true) return undefined;
  const format = values.format ?? "table";
  if (format !== "table" && format !== "json") throw new UsageError(`--format "${format}": choose table or json`);
  const timeout = Number(values.timeout ?? 1800);
  if (!(timeout >= 1 && timeout <= 86_400)) throw new UsageError(`--timeout "${values.timeout}": give seconds from 1 to 86400`);
  const memory = values.memory ?? "1g";
  if (!/^\d+[kmg]?$/iu.test(memory)) throw new UsageError(`--memory "${memory}": give a size such as 512m or 1g`);
  const { native } = values;
  const small = values.small === true;
  const kills = whole(values.kills, "kills", 1, 100_000) ?? (small ? KILLS_SMALL : KILLS);
  const seed = whole(values.seed, "seed", 0, 2 ** 32 - 1) ?? Date.now() % 2 ** 32;
  return {
    modules: modulesOf(positionals, small),
    format,
    timeout,
    memory,
    small,
    kills,
    seed,
    ...(native === undefined ? {} : { native }),
  };
}
