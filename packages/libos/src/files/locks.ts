/** Advisory locks of one inode: fcntl (by process or by open description) and flock. */
import { E } from "../kernel/errno.ts";
import type { OpenFile, Process } from "../kernel/types.ts";
import { WaitQueue } from "../kernel/wait.ts";

export const LockType = { READ: 0, WRITE: 1, UNLOCK: 2 } as const;

/** Who holds a lock: a process (F_SETLK) or an open description (F_OFD_SETLK). */
export type LockOwner = Process | OpenFile;

/** Bytes `start` … `end`-1; `end` Infinity: to the end of the file. */
export interface RangeLock {
  readonly owner: LockOwner;
  readonly type: 0 | 1;
  readonly start: number;
  readonly end: number;
}

export class Locks {
  /** Notified whenever a lock went or shrank. */
  readonly waiters: WaitQueue = new WaitQueue();
  #ranges: RangeLock[] = [];
  readonly #whole: Map<OpenFile, 0 | 1> = new Map();

  /** The first lock that keeps `owner` from taking this one. */
  conflict(owner: LockOwner, type: 0 | 1, start: number, end: number): RangeLock | null {
    for (const lock of this.#ranges) {
      if (
        lock.owner !== owner &&
        lock.start < end &&
        start < lock.end &&
        (type === LockType.WRITE || lock.type === LockType.WRITE) &&
        alive(lock.owner)
      )
        return lock;
    }
    return null;
  }
  /** Takes, changes or gives back a range; 0 or -EAGAIN. */
  setRange(owner: LockOwner, type: number, start: number, end: number): number {
    if (type !== LockType.UNLOCK && this.conflict(owner, type as 0 | 1, start, end) !== null) return -E.AGAIN;
    const rest: RangeLock[] = [];
    for (const lock of this.#ranges) {
      if (!alive(lock.owner)) continue;
      if (lock.owner !== owner || lock.end <= start || end <= lock.start) {
        rest.push(lock);
        continue;
      }
      if (lock.start < start) rest.push({ ...lock, end: start });
      if (lock.end > end) rest.push({ ...lock, start: end });
    }
    if (type !== LockType.UNLOCK) rest.push({ owner, type: type as 0 | 1, start, end });
    this.#ranges = rest;
    this.waiters.notify();
    return 0;
  }
  /** Processes that hold ranges: their end gives the ranges back. */
  holders(): Process[] {
    const found: Set<Process> = new Set();
    for (const { owner } of this.#ranges) if ("ended" in owner) found.add(owner);
    return [...found];
  }
  /** Gives back all ranges of an owner: a process closed the file or ended. */
  releaseRanges(owner: LockOwner): void {
    const before = this.#ranges.length;
    this.#ranges = this.#ranges.filter((lock) => lock.owner !== owner && alive(lock.owner));
    if (this.#ranges.length !== before) this.waiters.notify();
  }
  /** flock(2): 0 or -EAGAIN. A conversion gives the old lock back first, as Linux does. */
  setWhole(file: OpenFile, type: 0 | 1): number {
    for (const [other, held] of this.#whole)
      if (other !== file && (type === LockType.WRITE || held === LockType.WRITE)) {
        this.releaseWhole(file);
        return -E.AGAIN;
      }
    this.#whole.set(file, type);
    this.waiters.notify();
    return 0;
  }
  releaseWhole(file: OpenFile): void {
    if (this.#whole.delete(file)) this.waiters.notify();
  }
  get empty(): boolean {
    return this.#ranges.length === 0 && this.#whole.size === 0;
  }
}

const alive = (owner: LockOwner): boolean => !("ended" in owner) || !owner.ended;
