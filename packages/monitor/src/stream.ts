import type { Endpoint } from "./abi.ts";
import { Limits } from "./abi.ts";
import { isInteger } from "./check.ts";
import { Errno } from "./errors.ts";
import type { Incoming } from "./network.ts";

/** What one end of a stream is told. Deliveries never come inside a call of the receiver's own. */
export interface StreamEvents {
  /** The connection stands (0) or failed (errno); not for an accepted end. */
  connected(error: number, local: Endpoint): void;
  received(bytes: Uint8Array): void;
  /** See {@link LibraryOs.lent}; any other answer is a failure. Undefined where nothing is taken at once. */
  readonly lent?: ((bytes: Uint8Array, all: boolean) => number) | undefined;
  /** This many more bytes may be sent. */
  credited(bytes: number): void;
  /** The other end sends no more. */
  ended(): void;
  /** Both directions are gone. */
  reset(error: number): void;
  /** The stream holds nothing any more; called at once. */
  gone?(): void;
}

const State = { Connecting: 0, Open: 1, Closed: 2 } as const;

/**
 * One end of a byte stream. Each direction holds at most {@link Limits.streamWindow} bytes that the receiver has not given back as credit:
 * the sender may not send more, so that nobody's memory grows because somebody else is slow.
 */
export class Stream {
  readonly local: Endpoint;
  readonly #events: StreamEvents;
  readonly #post: (deliver: () => void) => void;
  #state: (typeof State)[keyof typeof State] = State.Connecting;
  #peer: Stream | null = null;
  /** Bytes that this end may send. */
  #window: number = Limits.streamWindow;
  /** Bytes delivered to this end that it has not credited. */
  #held: number = 0;
  /** Deliveries to this end that are under way. */
  #coming: number = 0;
  /** It lent bytes that were not taken: it hears when the other end wants more. */
  #offers: boolean = false;
  #sentEnd: boolean = false;
  #gotEnd: boolean = false;

  constructor(events: StreamEvents, local: Endpoint, post: (deliver: () => void) => void) {
    this.#events = events;
    this.local = local;
    this.#post = post;
  }

  /** Bytes that may be sent now. */
  get window(): number {
    return this.#window;
  }

  get closed(): boolean {
    return this.#state === State.Closed;
  }

  /** This connection as its listener sees it. */
  offer(): Incoming {
    let answered = false;
    return {
      from: this.local,
      accept: (events) => {
        if (answered || this.#state !== State.Connecting) return null;
        answered = true;
        const other = new Stream(events, this.local, this.#post);
        other.#state = this.#state = State.Open;
        other.#peer = this;
        this.#peer = other;
        this.#tell(() => this.#events.connected(0, this.local));
        return other;
      },
      refuse: (errno) => {
        if (answered || this.#state !== State.Connecting) return;
        answered = true;
        this.#leave();
        this.#post(() => this.#events.connected(errno, this.local));
      },
    };
  }

  /**
   * Sends: at once where nothing is under way to the other end, else what `own` makes of the bytes. More than the window is a breach of the protocol: both ends
   * are reset. False when this end can not send.
   */
  send(bytes: Uint8Array, own: (bytes: Uint8Array) => Uint8Array = (same) => same): boolean {
    if (this.#state !== State.Open || this.#sentEnd) return false;
    if (bytes.length > this.#window) {
      this.abort(Errno.ECONNRESET);
      return false;
    }
    if (bytes.length === 0) return true;
    const peer = this.#peer;
    if (peer === null) {
      // The other end was closed: its answer to data is a reset.
      this.#reset();
      return true;
    }
    this.#window -= bytes.length;
    peer.#held += bytes.length;
    if (this.#give(peer, bytes, true) === bytes.length || this.closed) return true;
    const kept = own(bytes);
    peer.#tell(() => peer.#events.received(kept));
    return true;
  }

  /** How many of `bytes` readers that wait at the other end take; -1 when nothing is ever taken there at once. */
  lend(bytes: Uint8Array): number {
    const peer = this.#peer;
    if (this.#state !== State.Open || this.#sentEnd || peer === null) return 0;
    if (peer.#events.lent === undefined) return -1;
    const taken = this.#give(peer, bytes, false);
    this.#offers = taken < bytes.length;
    return taken;
  }

  /** Nothing while something is under way to the peer. */
  #give(peer: Stream, bytes: Uint8Array, all: boolean): number {
    const taken = peer.#coming > 0 ? 0 : (peer.#events.lent?.(bytes, all) ?? 0);
    if (isInteger(taken, 0, bytes.length) && (!all || taken === 0 || taken === bytes.length)) return taken;
    this.abort(Errno.ECONNRESET);
    return 0;
  }

  /** A reader found nothing more: the other end may lend again what was not taken. */
  want(): void {
    const peer = this.#peer;
    if (peer === null || !peer.#offers) return;
    peer.#offers = false;
    peer.#tell(() => peer.#events.credited(0));
  }

  /** Gives the sender room for `bytes` that were received and consumed; false (and nothing done) for any other number. */
  credit(bytes: number): boolean {
    if (!isInteger(bytes, 1, this.#held)) return false;
    this.#held -= bytes;
    const peer = this.#peer;
    if (this.#state === State.Open && peer !== null) {
      peer.#window += bytes;
      peer.#tell(() => peer.#events.credited(bytes));
    }
    return true;
  }

  /** Sends no more; may still receive. */
  shutdown(): void {
    if (this.#state !== State.Open || this.#sentEnd) return;
    this.#sentEnd = true;
    const peer = this.#peer;
    if (peer === null || peer.#gotEnd) return;
    peer.#gotEnd = true;
    peer.#tell(() => peer.#events.ended());
  }

  /** Leaves. The other end sees the end of the data, or a reset. Nothing is told to this end any more. */
  close(reset: boolean): void {
    if (this.#state === State.Closed) return;
    const peer = this.#peer;
    if (peer !== null) {
      if (reset) peer.#reset();
      else this.shutdown();
      peer.#peer = null;
    }
    this.#leave();
  }

  /** Ends both directions, and both ends hear of it. */
  abort(errno: number): void {
    if (this.#peer !== null) this.#peer.#fail(errno);
    this.#fail(errno);
  }

  /** The other end is gone with a reset, which comes after what it sent before. */
  #reset(): void {
    this.#tell(() => {
      this.#leave();
      this.#events.reset(Errno.ECONNRESET);
    });
  }

  /** This end is gone by no wish of its own. */
  #fail(errno: number): void {
    if (this.#state === State.Closed) return;
    this.#leave();
    this.#post(() => this.#events.reset(errno));
  }

  #leave(): void {
    this.#state = State.Closed;
    this.#peer = null;
    this.#events.gone?.();
  }

  /** Delivers later, unless this end was closed by then. */
  #tell(deliver: () => void): void {
    this.#coming++;
    this.#post(() => {
      this.#coming--;
      if (this.#state === State.Open) deliver();
    });
  }
}
