/** Threads that wait on futex words: futex(2). Private futexes are keyed by address space and address, shared ones by object and offset. */
import type { Waiter } from "./wait.ts";

const ADDRESSES = 2 ** 40;

/** One waiting thread: the queue that its blocked call is parked on. */
export class FutexWaiter {
  key: number;
  readonly bits: number;
  readonly #table: FutexTable;
  #notify: Waiter | null = null;
  woken = false;

  constructor(table: FutexTable, key: number, bits: number) {
    this.#table = table;
    this.key = key;
    this.bits = bits;
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

  key(space: number, address: number): number {
    return space * ADDRESSES + address;
  }
  /** Of a word in memory that processes share. */
  sharedKey(object: number, offset: number): number {
    return -(object * ADDRESSES + offset);
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
  /** Wakes at most `count` waiters that share a bit with `bits`, first come first served. Returns how many. */
  wake(key: number, count: number, bits = -1): number {
    const waiters = this.#waiters.get(key);
    if (waiters === undefined) return 0;
    let woken = 0;
    for (const waiter of waiters) {
      if (woken >= count) break;
      if ((waiter.bits & bits) === 0) continue;
      this.remove(waiter);
      waiter.wake();
      woken++;
    }
    return woken;
  }
  /** Lets at most `count` waiters of one word wait on another. Returns how many. */
  requeue(from: number, to: number, count: number): number {
    const waiters = this.#waiters.get(from);
    if (waiters === undefined || from === to) return 0;
    let moved = 0;
    for (const waiter of waiters) {
      if (moved >= count) break;
      this.remove(waiter);
      waiter.key = to;
      this.add(waiter);
      moved++;
    }
    return moved;
  }
}
