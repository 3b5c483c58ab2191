/** epoll(7): interest lists, and the list of what is ready, kept by notifications. */
import { anonymousStat, BaseFile } from "../files/open-file.ts";
import { E } from "../kernel/errno.ts";
import { Poll, type OpenFile, type Stat } from "../kernel/types.ts";
import type { WaitQueue } from "../kernel/wait.ts";

/** Bits of `struct epoll_event.events` besides those of poll(2). */
export const Epoll = {
  RDNORM: 0x40,
  RDBAND: 0x80,
  WRNORM: 0x100,
  WRBAND: 0x200,
  MSG: 0x400,
  EXCLUSIVE: 0x10000000,
  WAKEUP: 0x20000000,
  ONESHOT: 0x40000000,
  ET: -0x80000000,
} as const;
/** What a file tells its waiters: data to read has come, or room to write. */
export const Change: { readonly IN: number; readonly OUT: number } = {
  IN: Poll.IN | Poll.PRI | Epoll.RDNORM | Epoll.RDBAND,
  OUT: Poll.OUT | Epoll.WRNORM | Epoll.WRBAND,
};
/** epoll_ctl operations. */
export const Control = { ADD: 1, DEL: 2, MOD: 3 } as const;

/** Bytes of `struct epoll_event` on riscv64: u32 events, padding, u64 data. */
export const EVENT_BYTES = 16;
/** Most events of one wait (EP_MAX_EVENTS). */
export const MAX_EVENTS: number = Math.floor(0x7fffffff / EVENT_BYTES);

const OPTIONS = Epoll.EXCLUSIVE | Epoll.WAKEUP | Epoll.ONESHOT | Epoll.ET;
const EXCLUSIVE_ALLOWED =
  Poll.IN | Poll.OUT | Poll.ERR | Poll.HUP | Epoll.RDNORM | Epoll.WRNORM | Epoll.WAKEUP | Epoll.ET | Epoll.EXCLUSIVE;
/** Longest chain of epolls that watch each other (EP_MAX_NESTS). */
const DEEPEST = 4;

/** Every event. */
const ANY = -1;

/** What a file is ready for, with the aliases of the "normal data" bits. */
export function readiness(file: OpenFile): number {
  let events = file.poll();
  if ((events & Poll.IN) !== 0) events |= Epoll.RDNORM;
  if ((events & Poll.OUT) !== 0) events |= Epoll.WRNORM;
  return events;
}

/** A file in an interest list. */
class Interest {
  readonly file: OpenFile;
  readonly fd: number;
  readonly #epoll: EpollFile;
  /** What is asked for, always with ERR and HUP; only options when EPOLLONESHOT has disabled it. */
  mask: number;
  /** epoll_data as two words. */
  low: number;
  high: number;
  queued = false;
  removed = false;
  next: Interest | null = null;

  constructor(epoll: EpollFile, file: OpenFile, fd: number, mask: number, low: number, high: number) {
    this.#epoll = epoll;
    this.file = file;
    this.fd = fd;
    this.mask = mask;
    this.low = low;
    this.high = high;
  }
  /** What to report now. */
  ready(): number {
    return readiness(this.file) & this.mask;
  }
  readonly notified = (changed?: number): void => this.#epoll.notified(this, changed);
}

/**
 * An epoll instance. An interest is in the ready list when its file was notified since it was last found not ready;
 * waiting looks at that list alone.
 */
export class EpollFile extends BaseFile {
  readonly kind = "epoll";
  readonly name = "anon_inode:[eventpoll]";
  /** This queue alone, for blocking. */
  readonly queues: readonly WaitQueue[] = [this.waiters];
  readonly #interests: Map<number, Interest> = new Map();
  /** Interests whose number was closed and used again while their file lives on. */
  #displaced: Interest[] = [];
  #head: Interest | null = null;
  #tail: Interest | null = null;
  #queued = 0;

  constructor() {
    super(2);
  }
  override stat(): Stat {
    return anonymousStat(0o600);
  }
  override poll(): number {
    for (let interest = this.#head; interest !== null; interest = interest.next)
      if (!interest.removed && interest.ready() !== 0) return Poll.IN;
    return 0;
  }
  override close(): void {
    for (const interest of this.#interests.values()) this.#remove(interest);
    for (const interest of this.#displaced) this.#remove(interest);
    this.#interests.clear();
    this.#displaced = [];
    this.#head = this.#tail = null;
    this.waiters.notify();
  }

  /**
   * epoll_ctl on an open file. -EPERM (cannot be polled), -EINVAL (itself, EPOLLEXCLUSIVE misused), -ELOOP, -EEXIST, -ENOENT.
   * `event` is struct epoll_event; not looked at for DEL.
   */
  control(operation: number, fd: number, file: OpenFile, event: Uint8Array | null): number {
    if (!pollable(file)) return -E.PERM;
    if (file === this) return -E.INVAL;
    const mask = event === null ? 0 : word(event, 0);
    if (operation !== Control.DEL && (mask & Epoll.EXCLUSIVE) !== 0) {
      if (operation === Control.MOD) return -E.INVAL;
      if (file.kind === "epoll" || (mask & ~EXCLUSIVE_ALLOWED) !== 0) return -E.INVAL;
    }
    if (operation === Control.ADD && file instanceof EpollFile && (file.watches(this) || file.#depth() >= DEEPEST)) return -E.LOOP;
    const existing = this.#find(fd, file);
    const asked = mask | Poll.ERR | Poll.HUP;
    switch (operation) {
      case Control.ADD: {
        if (existing !== undefined) return -E.EXIST;
        const interest = new Interest(this, file, fd, asked, word(event!, 8), word(event!, 12));
        const displaced = this.#interests.get(fd);
        if (displaced !== undefined) this.#displaced.push(displaced);
        this.#interests.set(fd, interest);
        file.waiters.add(interest.notified);
        this.notified(interest);
        return 0;
      }
      case Control.MOD:
        if (existing === undefined) return -E.NOENT;
        if ((existing.mask & Epoll.EXCLUSIVE) !== 0) return -E.INVAL;
        existing.mask = asked;
        existing.low = word(event!, 8);
        existing.high = word(event!, 12);
        this.notified(existing);
        return 0;
      case Control.DEL:
        if (existing === undefined) return -E.NOENT;
        this.#forget(existing);
        return 0;
      default:
        return -E.INVAL;
    }
  }

  /** The state of an interest's file may have changed. */
  notified(interest: Interest, changed: number = ANY): void {
    if (interest.removed) return;
    if (interest.file.references <= 0) {
      this.#forget(interest);
      return;
    }
    if ((changed & interest.mask) === 0 || interest.ready() === 0) return;
    if (!interest.queued) this.#append(interest);
    this.waiters.notify();
  }

  /** Packed events, at most `max`; null when nothing is ready. */
  collect(max: number): Uint8Array | null {
    let interest = this.#head;
    if (interest === null) return null;
    const last = this.#tail;
    const capacity = Math.min(max, this.#queued);
    let events: Uint8Array | null = null;
    let used = 0;
    let count = 0;
    while (interest !== null) {
      this.#head = interest.next;
      if (this.#head === null) this.#tail = null;
      interest.next = null;
      interest.queued = false;
      this.#queued--;
      if (!interest.removed) {
        const ready = interest.ready();
        if (ready !== 0) {
          events ??= new Uint8Array(capacity * EVENT_BYTES);
          putWord(events, used, ready);
          putWord(events, used + 8, interest.low);
          putWord(events, used + 12, interest.high);
          used += EVENT_BYTES;
          count++;
          const { mask } = interest;
          if ((mask & Epoll.ONESHOT) !== 0) interest.mask = mask & OPTIONS;
          else if ((mask & Epoll.ET) === 0) this.#append(interest);
        } else if (interest.file.references <= 0) this.#forget(interest);
      }
      if (interest === last || count === max) break;
      interest = this.#head;
    }
    return events === null || used === events.length ? events : events.subarray(0, used);
  }

  /** Whether `other` is in the interest list, or in that of an epoll in it. */
  watches(other: EpollFile): boolean {
    for (const { file } of this.#all()) if (file === other || (file instanceof EpollFile && file.watches(other))) return true;
    return false;
  }
  #depth(): number {
    let depth = 0;
    for (const { file } of this.#all()) if (file instanceof EpollFile) depth = Math.max(depth, file.#depth());
    return depth + 1;
  }
  *#all(): IterableIterator<Interest> {
    yield* this.#interests.values();
    yield* this.#displaced;
  }
  #find(fd: number, file: OpenFile): Interest | undefined {
    const interest = this.#interests.get(fd);
    if (interest === undefined || interest.file === file) return interest;
    if (interest.file.references <= 0) {
      this.#forget(interest);
      return undefined;
    }
    return this.#displaced.length === 0 ? undefined : this.#displaced.find((other) => other.fd === fd && other.file === file);
  }
  #append(interest: Interest): void {
    interest.queued = true;
    this.#queued++;
    if (this.#tail === null) this.#head = interest;
    else this.#tail.next = interest;
    this.#tail = interest;
  }
  #forget(interest: Interest): void {
    this.#remove(interest);
    if (this.#interests.get(interest.fd) === interest) this.#interests.delete(interest.fd);
    else this.#displaced = this.#displaced.filter((other) => other !== interest);
  }
  /** One that is in the ready list stays there until the next wait. */
  #remove(interest: Interest): void {
    interest.removed = true;
    interest.file.waiters.remove(interest.notified);
  }
}

/** Regular files, directories and some devices have no readiness: epoll refuses them. */
function pollable(file: OpenFile): boolean {
  if (file.kind === "device") return file.name !== "/dev/null" && file.name !== "/dev/zero" && file.name !== "/dev/full";
  return file.kind !== "file" && file.kind !== "directory" && file.kind !== "memfd";
}

function word(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}
function putWord(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >> 8;
  bytes[at + 2] = value >> 16;
  bytes[at + 3] = value >> 24;
}
