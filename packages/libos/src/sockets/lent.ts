/** Bytes on their way from one program's memory to another's, without a stop in between. */
import { Change } from "../events/epoll.ts";
import type { CallContext } from "../kernel/types.ts";
import type { WaitQueue } from "../kernel/wait.ts";

const EMPTY = new Uint8Array(0);

/** What a sender's memory holds, for readers that wait now. It is there for the time of one {@link Lent.offer} only. */
export class Lent {
  #bytes: Uint8Array = EMPTY;

  get length(): number {
    return this.#bytes.length;
  }
  /** Lets those that wait take bytes. How many they took. */
  offer(bytes: Uint8Array, waiters: WaitQueue): number {
    if (waiters.size === 0) return 0;
    this.#bytes = bytes;
    try {
      waiters.notify(Change.IN);
      return bytes.length - this.#bytes.length;
    } finally {
      this.#bytes = EMPTY;
    }
  }
  /** Takes up to `max` bytes: a view for who uses it at once, else a copy. */
  take(max: number, context: CallContext | undefined): Uint8Array {
    const bytes = this.peek(max);
    this.#bytes = this.#bytes.subarray(bytes.length);
    return context?.atOnce === true ? bytes : bytes.slice();
  }
  /** Up to `max` bytes, which stay. */
  peek(max: number): Uint8Array {
    return this.#bytes.length > max ? this.#bytes.subarray(0, max) : this.#bytes;
  }
}
