/** Why an operation of the monitor's own API was refused. */
export type MonitorErrorCode =
  /** An argument is not what it must be. */
  | "invalid"
  /** The name or address is taken. */
  | "exists"
  /** Not in a state in which this can be done. */
  | "state"
  /** No address range, no harts or no handles are left. */
  | "exhausted"
  /** A library OS broke the protocol. */
  | "protocol";

/** All errors that the monitor throws at its users. The text is `[code] message`. */
export class MonitorError extends Error {
  readonly code: MonitorErrorCode;

  constructor(code: MonitorErrorCode, message: string, options?: ErrorOptions) {
    super(`[${code}] ${message}`, options);
    this.name = "MonitorError";
    this.code = code;
  }
}

/** Linux error numbers that the monitor itself answers with, positive. */
export const Errno = {
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  E2BIG: 7,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EINVAL: 22,
  EMFILE: 24,
  ENOSPC: 28,
  ENAMETOOLONG: 36,
  ENOSYS: 38,
  EADDRINUSE: 98,
  ECANCELED: 125,
  ENOBUFS: 105,
  ECONNRESET: 104,
  ECONNREFUSED: 111,
  EHOSTUNREACH: 113,
} as const;
