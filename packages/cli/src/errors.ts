/** Codes of every error that the command reports by itself. */
export type CliCode =
  | "usage"
  /** The program to start does not exist (exit code 127). */
  | "no_program"
  /** The program to start cannot be executed (exit code 126). */
  | "not_executable"
  | "not_found"
  | "conflict"
  | "unavailable"
  | "invalid"
  | "failed";

/** An error with a closed code; prints as `[code] message`. */
export class CliError extends Error {
  readonly code: CliCode;

  constructor(code: CliCode, message: string, options?: ErrorOptions) {
    super(`[${code}] ${message}`, options);
    this.name = "CliError";
    this.code = code;
  }
}

/** Exit codes for errors of starting a program, as docker and shells have them. */
const EXIT_CODES: Readonly<Record<string, number>> = { no_program: 127, not_executable: 126 };

/** Exit code of `cvm run` and `cvm exec` for an error, here or told by the host: 125 … 127. */
export function exitCodeOf(error: unknown): number {
  const code = String((error as { code?: unknown } | null | undefined)?.code);
  return Object.hasOwn(EXIT_CODES, code) ? EXIT_CODES[code]! : 125;
}

/** The text of anything thrown, without a stack. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
