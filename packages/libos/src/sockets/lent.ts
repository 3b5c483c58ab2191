/** Bytes on their way from one program's memory to another's, without a stop in between. */
import type { HostCalls } from "@cvm/monitor/abi";
import { Change } from "../events/epoll.ts";
import type { CallContext } from "../kernel/types.ts";
import type { WaitQueue } from "../kernel/wait.ts";

const EMPTY = new Uint8Array(0);

/** More than this is worth waiting for a reader. */
const LARGE = 32768;
/** What goes through the window of it at first, so that who looks for something to read finds it. */
const SIGN = 4096;

const Offer = { NONE: 0, MADE: 1, ANSWERED: 2 } as const;

/** How bytes leave for another cVM. */
export class Outgoing {
  /** Whether much is waiting in a sender's memory for the reader to want it. */
  #offer: (typeof Offer)[keyof typeof Offer] = Offer.NONE;

  /** The reader wants more. */
  wanted(): void {
    this.#offer = Offer.ANSWERED;
  }
  /**
   * How many bytes went straight to readers that wait, which needs no credit, and how many are to go through the window. Much from a sender that `waits` stays where it is, but
   * for a little: it is tried again when the reader wants more, and goes through the window when nobody waits for it even then.
   */
  split(
    host: HostCalls,
    stream: number,
    bytes: Uint8Array,
    credit: number,
    waits: boolean,
  ): { readonly direct: number; readonly part: number } {
    const { length } = bytes;
    if (host.lend === undefined || (length <= credit && length < LARGE)) return { direct: 0, part: Math.min(length, credit) };
    const direct = host.lend(stream, bytes);
    if (direct < 0) return { direct: 0, part: Math.min(length, credit) };
    const left = length - direct;
    const offer = this.#offer;
    if (!waits || left < LARGE || (direct === 0 && offer === Offer.ANSWERED)) {
      this.#offer = Offer.NONE;
      return { direct, part: Math.min(left, credit) };
    }
    this.#offer = Offer.MADE;
    return { direct, part: direct === 0 && offer === Offer.MADE ? 0 : Math.min(SIGN, credit) };
  }
}

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
