/** Files of recorded results: gzip, one result a line. */
import { gunzipSync } from "node:zlib";

/**
 * - `not-gzip`: the file is not in gzip format, or damaged
 * - `too-large`: more than {@link MAX_BYTES} unpacked
 * - `empty`: it has no line
 * - `bad-line`: a line is not of the format
 */
export type RecordingErrorCode = "not-gzip" | "too-large" | "empty" | "bad-line";

/** A file of recorded results cannot be read. */
export class RecordingError extends Error {
  override readonly name = "RecordingError";
  readonly code: RecordingErrorCode;
  constructor(code: RecordingErrorCode, message: string, options?: ErrorOptions) {
    super(`[${code}] ${message}`, options);
    this.code = code;
  }
}

/** Largest file, unpacked. */
export const MAX_BYTES: number = 256 << 20;

/** Its lines, without the end of the last one. Throws {@link RecordingError}. */
export function readLines(file: Uint8Array): string[] {
  let bytes: Uint8Array;
  try {
    bytes = gunzipSync(file, { maxOutputLength: MAX_BYTES });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE") {
      throw new RecordingError("too-large", `more than ${MAX_BYTES >> 20} MiB unpacked`, { cause });
    }
    throw new RecordingError("not-gzip", `no gzip file: ${(cause as Error).message}`, { cause });
  }
  const text = new TextDecoder().decode(bytes);
  if (text.trim() === "") throw new RecordingError("empty", "the file has no lines");
  return (text.endsWith("\n") ? text.slice(0, -1) : text).split("\n");
}

/** The line's error; lines count from 1. */
export function badLine(line: number, message: string): RecordingError {
  return new RecordingError("bad-line", `line ${line}: ${message}`);
}
