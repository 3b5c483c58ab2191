/**
 * The host's side of files: error numbers, and trees of host files that are reached without ever following a host's symbolic link.
 */
import { closeSync, constants, openSync, realpathSync, statSync } from "node:fs";
import { basename, dirname } from "node:path";
import { E } from "../kernel/errno.ts";

/** Linux's O_PATH; Node.js has no name for it. */
const O_PATH = 0o10000000;

const byCode: Readonly<Record<string, number>> = {
  EPERM: E.PERM,
  ENOENT: E.NOENT,
  EINTR: E.INTR,
  EIO: E.IO,
  ENXIO: E.NXIO,
  EBADF: E.IO,
  EAGAIN: E.IO,
  ENOMEM: E.NOMEM,
  EACCES: E.ACCES,
  EBUSY: E.BUSY,
  EEXIST: E.EXIST,
  EXDEV: E.XDEV,
  ENODEV: E.NODEV,
  ENOTDIR: E.NOTDIR,
  EISDIR: E.ISDIR,
  EINVAL: E.INVAL,
  ENFILE: E.NFILE,
  EMFILE: E.NFILE,
  ETXTBSY: E.TXTBSY,
  EFBIG: E.FBIG,
  ENOSPC: E.NOSPC,
  EDQUOT: E.NOSPC,
  ESPIPE: E.SPIPE,
  EROFS: E.ROFS,
  EMLINK: E.MLINK,
  ERANGE: E.RANGE,
  ENAMETOOLONG: E.NAMETOOLONG,
  ENOTEMPTY: E.NOTEMPTY,
  ELOOP: E.LOOP,
  EOVERFLOW: E.OVERFLOW,
  EOPNOTSUPP: E.OPNOTSUPP,
  ENOTSUP: E.OPNOTSUPP,
  ESTALE: E.STALE,
};

/** Negative errno for what a call of node:fs threw. The host's EMFILE is the cVM's ENFILE; what has no number is EIO. */
export function hostError(error: unknown): number {
  const code = (error as { code?: unknown } | null)?.code;
  return -((typeof code === "string" ? byCode[code] : undefined) ?? E.IO);
}

/** Runs `action`; what it throws becomes a negative errno. */
export function attempt<T>(action: () => T): T | number {
  try {
    return action();
  } catch (error) {
    return hostError(error);
  }
}

/** Flags that every host file is opened with: no links, no waiting on a FIFO that was put there, no controlling terminal. */
export const SAFE_OPEN: number = constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY;

/** A folder of the host. Paths are relative to it, without a leading slash, free of `.`, `..` and links (the resolver saw each component). */
export interface HostTree {
  readonly folder: string;
  /** Calls `use` with a host path for `relative` that is good during the call. */
  at<T>(relative: string, use: (path: string) => T): T;
}

/** A tree that only this program changes (image layers, the writable layer): plain paths. */
export class OwnTree implements HostTree {
  readonly folder: string;
  constructor(folder: string) {
    this.folder = folder;
  }
  at<T>(relative: string, use: (path: string) => T): T {
    return use(relative === "" ? this.folder : `${this.folder}/${relative}`);
  }
}

/**
 * A tree that others on the host change at the same time (volumes). Each component is opened from the descriptor of the one above,
 * without following links, so that a folder replaced by a link in between leads nowhere (-ELOOP or -ENOTDIR).
 * Uses /proc/self/fd of a Linux host; elsewhere paths are plain and such a race is not excluded.
 */
export class SharedTree implements HostTree {
  readonly folder: string;
  readonly #root: number;
  /** Set when the volume is a single file of `folder`. */
  readonly #file: string;
  constructor(source: string) {
    const real = realpathSync(source);
    this.#file = statSync(real).isDirectory() ? "" : basename(real);
    this.folder = this.#file === "" ? real : dirname(real);
    this.#root = process.platform === "linux" ? openSync(this.folder, O_PATH | constants.O_DIRECTORY) : -1;
  }
  at<T>(requested: string, use: (path: string) => T): T {
    const relative = this.#file === "" ? requested : this.#file;
    if (this.#root < 0) return use(relative === "" ? this.folder : `${this.folder}/${relative}`);
    if (relative === "") return use(`/proc/self/fd/${this.#root}/.`);
    const parts = relative.split("/");
    let fd = this.#root;
    try {
      for (let i = 0; i < parts.length - 1; i++) {
        const next = openSync(`/proc/self/fd/${fd}/${parts[i]}`, O_PATH | constants.O_DIRECTORY | constants.O_NOFOLLOW);
        if (fd !== this.#root) closeSync(fd);
        fd = next;
      }
      return use(`/proc/self/fd/${fd}/${parts.at(-1)}`);
    } finally {
      if (fd !== this.#root) closeSync(fd);
    }
  }
  close(): void {
    if (this.#root >= 0) closeSync(this.#root);
  }
}
