/** What a module of a suite came to. */
import { KNOWN } from "./modules.ts";

export const SUITES = ["python", "redis", "programs", "crash"] as const;
export type SuiteName = (typeof SUITES)[number];

export interface Counts {
  /** Test cases that were started. */
  readonly run: number;
  readonly passed: number;
  readonly skipped: number;
  /** Names of those that failed, each once, in the order in which they were told. */
  readonly failed: readonly string[];
}

export interface ModuleResult extends Counts {
  readonly suite: SuiteName;
  readonly module: string;
  readonly seconds: number;
  /** Why the module did not come to its end: time-out, crash. Undefined when it did. */
  readonly broken?: string;
  /** What else there is to say. */
  readonly note?: string;
}

/** Whether all that ran passed, but for the cases that are known to fail. */
export function isGood(result: ModuleResult): boolean {
  return result.failed.every((name) => name in KNOWN) && result.broken === undefined && result.run > 0;
}
