/** What a module of a suite came to. */

export type SuiteName = "python" | "redis";

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
}

/** Whether all that ran passed. */
export function isGood(result: ModuleResult): boolean {
  return result.failed.length === 0 && result.broken === undefined && result.run > 0;
}
