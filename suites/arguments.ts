/** The command line of `pnpm suites`. */
import { parseArgs } from "node:util";
import { PYTHON_MODULES, PYTHON_SMALL, REDIS_SMALL } from "./modules.ts";
import type { SuiteName } from "./result.ts";

export interface Settings {
  /** Modules of each suite that is run; empty for Redis: all. */
  readonly modules: Partial<Readonly<Record<SuiteName, readonly string[]>>>;
  readonly format: "table" | "json";
  /** Seconds that one module of Python may take. */
  readonly timeout: number;
  /** Memory of a cVM, as for `cvm run -m`. */
  readonly memory: string;
  /** A python3.13 of this machine that runs each module as well. */
  readonly native?: string;
}

/** The command line is wrong: exit status 2. */
export class UsageError extends Error {}

export const USAGE = `Usage: pnpm suites [SUITE] [MODULE...] [options]

Runs programs' own test suites in cVMs, one module after the other, and prints what passed.

Suites (both unless given)
  python   CPython's regression tests: modules are named as test_json, test_asyncio.test_events
  redis    Redis's Tcl suite against a server in a cVM: modules are named as unit/type/list

Options
  --small               a few modules of each, in under four minutes
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
  format: { type: "string" },
  help: { type: "boolean", short: "h" },
} as const;

/** Which suite has modules of this name. */
function suiteOf(module: string): SuiteName {
  if (/^test_\w+(?:\.\w+)*$/u.test(module)) return "python";
  if (/^(?:unit|integration)\/[\w/-]+$/u.test(module)) return "redis";
  throw new UsageError(`"${module}" is neither a suite (python, redis) nor a module: write test_NAME for Python, unit/NAME for Redis`);
}

function modulesOf(words: readonly string[], small: boolean): Settings["modules"] {
  const suites = new Set<SuiteName>();
  const chosen: Partial<Record<SuiteName, string[]>> = {};
  for (const word of words) {
    if (word === "python" || word === "redis") suites.add(word);
    else (chosen[suiteOf(word)] ??= []).push(word);
  }
  if (suites.size === 0 && Object.keys(chosen).length === 0) suites.add("python").add("redis");
  for (const suite of suites) {
    chosen[suite] ??= suite === "python" ? [...(small ? PYTHON_SMALL : PYTHON_MODULES)] : small ? [...REDIS_SMALL] : [];
  }
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
  return { modules: modulesOf(positionals, values.small === true), format, timeout, memory, ...(native === undefined ? {} : { native }) };
}
