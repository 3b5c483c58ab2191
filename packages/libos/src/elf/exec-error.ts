import { E } from "../kernel/errno.ts";

/** Why a program could not be started. */
export type ExecErrorCode =
  | "not-found"
  | "no-permission"
  | "interpreter-not-found"
  | "truncated"
  | "not-elf"
  | "wrong-machine"
  | "wrong-class"
  | "bad-header"
  | "bad-segments"
  | "outside-region"
  | "no-memory"
  | "too-many-scripts"
  | "arguments-too-long"
  | "unreadable";

const ERRNO: Readonly<Record<ExecErrorCode, number>> = {
  "not-found": E.NOENT,
  "no-permission": E.ACCES,
  "interpreter-not-found": E.NOENT,
  truncated: E.NOEXEC,
  "not-elf": E.NOEXEC,
  "wrong-machine": E.NOEXEC,
  "wrong-class": E.NOEXEC,
  "bad-header": E.NOEXEC,
  "bad-segments": E.NOEXEC,
  "outside-region": E.NOEXEC,
  "no-memory": E.NOMEM,
  "too-many-scripts": E.LOOP,
  "arguments-too-long": E.TOOBIG,
  unreadable: E.IO,
};

/** A program that cannot be started: a code, a text for people and Linux's error number. */
export class ExecError extends Error {
  readonly code: ExecErrorCode;
  /** Positive. */
  readonly errno: number;

  constructor(code: ExecErrorCode, text: string, errno: number = ERRNO[code]) {
    super(`[${code}] ${text}`);
    this.name = "ExecError";
    this.code = code;
    this.errno = errno;
  }
}
