import { NetError } from "./errors.ts";
import type { CloseCode, Frame, LinkLimits, Transport, TransportEvents } from "./transport.ts";
import { Inbox, linkLimits, measureFrame } from "./transport.ts";

class MemoryTransport implements Transport {
  readonly limits: LinkLimits;
  readonly #inbox = new Inbox();
  #peer!: MemoryTransport;
  /** What the peer sent, until its turn. */
  #queue: ({ readonly frame: Frame; readonly bytes: number } | NetError)[] = [];
  #scheduled = false;
  #started = false;
  #buffered = 0;
  #ended = false;

  constructor(limits: LinkLimits) {
    this.limits = limits;
  }
  static pair(limits: LinkLimits, rightLimits: LinkLimits): [Transport, Transport] {
    const left = new MemoryTransport(limits);
    const right = new MemoryTransport(rightLimits);
    left.#peer = right;
    right.#peer = left;
    return [left, right];
  }

  get bufferedBytes(): number {
    return this.#buffered;
  }
  start(events: TransportEvents): void {
    this.#inbox.start(events);
    this.#started = true;
    this.#schedule();
  }
  send(frame: Frame): void {
    const bytes = measureFrame(frame, this.limits);
    if (this.#ended) return;
    this.#buffered += bytes;
    this.#peer.#queue.push({ frame, bytes });
    this.#peer.#schedule();
  }
  close(code: CloseCode, reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#queue = [];
    this.#peer.#queue.push(new NetError(code, `the peer closed the link: ${reason}`));
    this.#peer.#schedule();
    queueMicrotask(() => this.#inbox.close(new NetError(code, reason)));
  }

  #schedule(): void {
    if (this.#scheduled || !this.#started || this.#queue.length === 0) return;
    this.#scheduled = true;
    queueMicrotask(() => this.#deliver());
  }
  #deliver(): void {
    this.#scheduled = false;
    const queue = this.#queue;
    this.#queue = [];
    const peer = this.#peer;
    for (const entry of queue) {
      if (this.#ended) return;
      if (entry instanceof NetError) {
        this.#ended = true;
        this.#inbox.close(entry);
        return;
      }
      if (entry.bytes > this.limits.frameBytes)
        return this.close("limit", `a frame of ${entry.bytes} bytes is longer than the limit of ${this.limits.frameBytes}`);
      const before = peer.#buffered;
      peer.#buffered = before - entry.bytes;
      this.#inbox.frame(entry.frame);
      const mark = peer.limits.highWaterBytes;
      if (before >= mark && peer.#buffered < mark) peer.#inbox.drained();
    }
  }
}

/** Two ends of a link within one thread. Frames pass by reference, in a later microtask. */
export function memoryPair(limits?: Partial<LinkLimits>, rightLimits: Partial<LinkLimits> | undefined = limits): [Transport, Transport] {
  return MemoryTransport.pair(linkLimits(limits), linkLimits(rightLimits));
}
