// A MessagePort of node:worker_threads has no target origin.
/* oxlint-disable unicorn/require-post-message-target-origin */
import type { MessagePort } from "node:worker_threads";
import { NetError } from "./errors.ts";
import type { CloseCode, Frame, LinkLimits, Transport, TransportEvents } from "./transport.ts";
import { Inbox, linkLimits, measureFrame } from "./transport.ts";

// What goes over the MessagePort: frames as they are (their first entry is 0 or more), and these.
const TAKEN = -1;
const BYE = -2;

class MessagePortTransport implements Transport {
  readonly limits: LinkLimits;
  readonly #inbox = new Inbox();
  readonly #port: MessagePort;
  #buffered = 0;
  /** Bytes taken from the peer and not yet told. */
  #taken = 0;
  #started = false;

  constructor(port: MessagePort, limits: LinkLimits) {
    this.#port = port;
    this.limits = limits;
    port.on("message", (message: unknown) => this.#message(message));
    port.on("messageerror", () => this.close("protocol", "a message could not be read"));
    port.on("close", () => this.#inbox.close(new NetError("lost", "the other end of the MessagePort is gone")));
  }

  get bufferedBytes(): number {
    return this.#buffered;
  }
  start(events: TransportEvents): void {
    this.#inbox.start(events);
    this.#started = true;
    this.#tell();
  }
  send(frame: Frame): void {
    const bytes = measureFrame(frame, this.limits);
    if (this.#inbox.closed) return;
    this.#buffered += bytes;
    this.#port.postMessage([bytes, frame]);
  }
  close(code: CloseCode, reason: string): void {
    if (this.#inbox.closed) return;
    this.#port.postMessage([BYE, code, reason]);
    // The port closes after what was posted is delivered.
    this.#port.close();
    this.#inbox.close(new NetError(code, reason));
  }

  #message(message: unknown): void {
    if (!Array.isArray(message) || typeof message[0] !== "number") return this.close("protocol", "a message that is no frame arrived");
    const [head, body, reason] = message as [number, unknown, unknown];
    if (head === TAKEN && typeof body === "number" && body >= 0) {
      const before = this.#buffered;
      this.#buffered = Math.max(0, before - body);
      const mark = this.limits.highWaterBytes;
      if (before >= mark && this.#buffered < mark) this.#inbox.drained();
    } else if (head === BYE && typeof body === "string" && typeof reason === "string") {
      this.#inbox.close(new NetError(body === "protocol" || body === "limit" ? body : "closed", `the peer closed the link: ${reason}`));
      this.#port.close();
    } else if (head >= 0 && Array.isArray(body)) {
      if (head > this.limits.frameBytes)
        return this.close("limit", `a frame of ${head} bytes is longer than the limit of ${this.limits.frameBytes}`);
      this.#taken += head;
      this.#inbox.frame(body);
      this.#tell();
    } else this.close("protocol", "a message that is no frame arrived");
  }
  /** Tells the peer what was taken, in steps that keep it from waiting but do not answer each small frame. */
  #tell(): void {
    if (!this.#started || this.#taken < Math.min(65536, this.limits.highWaterBytes / 4) || this.#inbox.closed) return;
    this.#port.postMessage([TAKEN, this.#taken]);
    this.#taken = 0;
  }
}

/** A link over a MessagePort of node:worker_threads. The transport owns the port. */
export function messagePortTransport(port: MessagePort, limits?: Partial<LinkLimits>): Transport {
  return new MessagePortTransport(port, linkLimits(limits));
}
