/** Codes of every error that the command reports by itself. */
export type CliCode =
  | "usage"
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

/** The text of anything thrown, without a stack. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
