/** Something that waits: called when the state that it waits for may have changed. `changed`: poll(2) events that may have come up. */
export type Waiter = (changed?: number) => void;

/** Any event may have come up. */
const ALL = -1;

/**
 * Who waits for a change of a file, a futex word, a child. Waiters stay until they are removed; notifying calls a
 * snapshot of them, so that a waiter may remove itself or others.
 */
export class WaitQueue {
  readonly #waiters: Set<Waiter> = new Set();

  add(waiter: Waiter): void {
    this.#waiters.add(waiter);
  }
  remove(waiter: Waiter): void {
    this.#waiters.delete(waiter);
  }
  get size(): number {
    return this.#waiters.size;
  }
  /** A file that knows says which events may have come up: edge-triggered waiters for others are then left alone. */
  notify(changed: number = ALL): void {
    if (this.#waiters.size === 0) return;
    if (this.#waiters.size === 1) {
      for (const waiter of this.#waiters) waiter(changed);
      return;
    }
    const snapshot = Array.from(this.#waiters);
    for (const waiter of snapshot) if (this.#waiters.has(waiter)) waiter(changed);
  }
}
