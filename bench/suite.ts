/** What a suite is. */
import type { Settings, SuiteName } from "./arguments.ts";
import type { Work } from "./measure.ts";
import { findProgram } from "./places.ts";

/** What suites get. */
export interface Context {
  readonly settings: Settings;
  readonly say: (line: string) => void;
  /** Where qemu-riscv64 is; undefined: it is left out. */
  readonly qemu: string | undefined;
  /** Ends everything early. */
  readonly signal: AbortSignal;
  /** Whether a work is asked for. */
  readonly wanted: (name: string) => boolean;
}

/** A suite that is ready to be measured. */
export interface Ready {
  readonly works: readonly Work[];
  /** Ends what was started for it. */
  readonly stop: () => Promise<void>;
}

export interface Suite {
  readonly name: SuiteName;
  /** Names of its works with these settings. */
  readonly names: (settings: Settings) => readonly string[];
  /** Starts what it needs. @throws Error that says what is missing */
  readonly prepare: (context: Context) => Promise<Ready>;
}

/** Where a peer's program is; says so loudly when it is left out. */
export function peer(name: string, debianPackage: string, say: (line: string) => void): string | undefined {
  const path = findProgram(name);
  if (path === undefined) say(`LEFT OUT: there is no ${name} on this machine (apt-get install ${debianPackage})`);
  return path;
}
