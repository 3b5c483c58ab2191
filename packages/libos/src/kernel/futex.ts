/** Threads that wait on futex words: futex(2). Private futexes are keyed by address space and address, shared ones by object and offset. */
import type { Awaitable, HostCalls } from "@cvm/monitor/abi";
import type { AddressSpace } from "./address-space.ts";
import { E } from "./errno.ts";
import { whenReady } from "./ready.ts";
import type { Waiter } from "./wait.ts";

const ADDRESSES = 2 ** 40;

/** Parts of the word of a lock that has an owner: robust ones, and those with priority inheritance. */
export const FutexWord = { TID: 0x3fffffff, OWNER_DIED: 0x40000000, WAITERS: 0x80000000 } as const;

/** One waiting thread: the queue that its blocked call is parked on. */
export class FutexWaiter {
  key: number;
  readonly bits: number;
  readonly #table: FutexTable;
  #notify: Waiter | null = null;
  woken = false;
  /** The lock that it is to be moved to (FUTEX_WAIT_REQUEUE_PI), by its key; 0: any plain futex. */
  readonly lockKey: number;

  constructor(table: FutexTable, key: number, bits: number, lockKey = 0) {
    this.#table = table;
    this.key = key;
    this.bits = bits;
    this.lockKey = lockKey;
  }
  add(waiter: Waiter): void {
    this.#notify = waiter;
  }
  remove(): void {
    this.#notify = null;
    this.#table.remove(this);
  }
  wake(): void {
    this.woken = true;
    this.#notify?.();
  }
}

export class FutexTable {
  readonly #waiters: Map<number, Set<FutexWaiter>> = new Map();

  /**
   * What a word's waiters are found by: the word itself, in memory that processes share; else its address. `isPrivate`: the program says
   * that it is not shared.
   */
  keyOf(memory: AddressSpace, at: number, isPrivate: boolean): number {
    const mapping = isPrivate ? undefined : memory.find(at);
    return mapping === undefined || mapping.object === 0
      ? memory.id * ADDRESSES + at
      : -(mapping.object * ADDRESSES + mapping.offset + at - mapping.start);
  }
  add(waiter: FutexWaiter): void {
    let waiters = this.#waiters.get(waiter.key);
    if (waiters === undefined) this.#waiters.set(waiter.key, (waiters = new Set()));
    waiters.add(waiter);
  }
  remove(waiter: FutexWaiter): void {
    const waiters = this.#waiters.get(waiter.key);
    if (waiters === undefined) return;
    waiters.delete(waiter);
    if (waiters.size === 0) this.#waiters.delete(waiter.key);
  }
  /** Who waits on a word, first come first. */
  waiting(key: number): readonly FutexWaiter[] {
    return [...(this.#waiters.get(key) ?? [])];
  }
  /** Wakes at most `count` waiters that share a bit with `bits`, first come first served. How many, or -EINVAL for one that is to be moved to a lock. */
  wake(key: number, count: number, bits = -1): number {
    const waiters = this.#waiters.get(key);
    if (waiters === undefined) return 0;
    let woken = 0;
    for (const waiter of waiters) {
      if (woken >= count) break;
      if (waiter.lockKey !== 0) return -E.INVAL;
      if ((waiter.bits & bits) === 0) continue;
      this.remove(waiter);
      waiter.wake();
      woken++;
    }
    return woken;
  }
  /** Lets at most `count` waiters of one word wait on another. How many, or -EINVAL. */
  requeue(from: number, to: number, count: number): number {
    const waiters = this.#waiters.get(from);
    if (waiters === undefined || from === to) return 0;
    let moved = 0;
    for (const waiter of waiters) {
      if (moved >= count) break;
      if (waiter.lockKey !== 0) return -E.INVAL;
      this.remove(waiter);
      waiter.key = to;
      this.add(waiter);
      moved++;
    }
    return moved;
  }
}

/** The word at an address; null when it cannot be read. */
export function readWord(host: HostCalls, memory: AddressSpace, at: number): Awaitable<number | null> {
  return whenReady(host.readMemory(memory.id, at, 4), (bytes) =>
    bytes === null ? null : new DataView(bytes.buffer, bytes.byteOffset).getInt32(0, true),
  );
}

/** Stores a word: 0, or -EFAULT where a program may not write. */
export function writeWord(host: HostCalls, memory: AddressSpace, at: number, value: number): Awaitable<number> {
  if (!memory.allows(at, 4, 2)) return -E.FAULT;
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setInt32(0, value, true);
  return host.operate([{ op: "write", process: memory.id, address: at, bytes }]);
}
