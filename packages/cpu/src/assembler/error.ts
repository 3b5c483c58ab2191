/** What can be wrong with a program for the assembler. */
export type AssemblerErrorCode =
  | "unknown-instruction"
  | "unknown-directive"
  | "operand-syntax"
  | "operand-missing"
  | "operand-value"
  | "unknown-register"
  | "unknown-label"
  | "duplicate-label"
  | "target-range"
  | "data-value";

/** `[code] message`; the message names the instruction or the line. */
export class AssemblerError extends Error {
  readonly code: AssemblerErrorCode;
  constructor(code: AssemblerErrorCode, message: string, options?: ErrorOptions) {
    super(`[${code}] ${message}`, options);
    this.name = "AssemblerError";
    this.code = code;
  }
}
