import { NetError } from "./errors.ts";

/** What a frame carries: plain data. */
export type Data = null | undefined | boolean | number | bigint | string | Uint8Array | readonly Data[] | { readonly [key: string]: Data };

/** A frame is an array; its first entry is the kind. Transports carry frames, they do not look into them. */
export type Frame = readonly unknown[];

/** Limits of a transport. */
export interface LinkLimits {
  /** Most bytes of one frame, in either direction. Default 16 MiB. */
  readonly frameBytes: number;
  /** Bytes that wait to be taken by the peer above which a sender should pause ({@link Transport.bufferedBytes}). Default 1 MiB. */
  readonly highWaterBytes: number;
  /** Bytes that wait to be taken by the peer above which the link is closed: a peer that does not read. Default 64 MiB. */
  readonly bufferedBytes: number;
  /** Most milliseconds until a connection stands, the HTTP upgrade included. Default 5000. */
  readonly connectMs: number;
}

export const defaultLinkLimits: LinkLimits = {
  frameBytes: 16_777_216,
  highWaterBytes: 1_048_576,
  bufferedBytes: 67_108_864,
  connectMs: 5000,
};

/** Fills in the limits that were not given. */
export function linkLimits(given?: Partial<LinkLimits>): LinkLimits {
  return { ...defaultLinkLimits, ...given };
}

/** Why a side ends a link. */
export type CloseCode = "closed" | "protocol" | "limit";

/** What a transport tells its user. */
export interface TransportEvents {
  frame(frame: Frame): void;
  /** {@link Transport.bufferedBytes} is below the high-water mark again. */
  drained(): void;
  /** Called once; nothing comes after it. */
  closed(reason: NetError): void;
}

/**
 * An ordered, reliable link that carries frames. Frames that arrive before {@link start} wait. Frames sent before
 * {@link close} are delivered. Frames are never changed after they were sent, on either side: a transport in one process passes them by reference.
 */
export interface Transport {
  /** Bytes sent that the peer (or its machine) has not yet taken. */
  readonly bufferedBytes: number;
  readonly limits: LinkLimits;
  /** Delivers what arrived and what arrives. Called once. */
  start(events: TransportEvents): void;
  /**
   * Sends a frame; does nothing on a closed link.
   * @throws NetError `invalid` (not plain data), `limit` (too long). The link stays as it was.
   */
  send(frame: Frame): void;
  /** Ends the link. The peer learns code and reason. */
  close(code: CloseCode, reason: string): void;
}

const DEPTH = 64;

/**
 * About how many bytes a value takes in a frame.
 * @throws NetError `invalid` when the value is not plain data or is nested deeper than 64.
 */
export function measure(value: unknown, depth: number = 0): number {
  switch (typeof value) {
    case "string":
      return 5 + value.length;
    case "number":
      return 9;
    case "bigint":
      if (value < -0x8000_0000_0000_0000n || value > 0xffff_ffff_ffff_ffffn)
        throw new NetError("invalid", "an integer of more than 64 bits cannot be sent");
      return 9;
    case "boolean":
    case "undefined":
      return 1;
    case "object":
      break;
    default:
      throw new NetError("invalid", `a ${typeof value} cannot be sent`);
  }
  if (value === null) return 1;
  if (value instanceof Uint8Array) return 5 + value.length;
  if (depth === DEPTH) throw new NetError("invalid", `a value nested deeper than ${DEPTH} cannot be sent`);
  let bytes = 5;
  if (Array.isArray(value)) {
    for (const entry of value) bytes += measure(entry, depth + 1);
    return bytes;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null)
    throw new NetError("invalid", `an object of class ${value.constructor.name} cannot be sent`);
  for (const key of Object.keys(value)) bytes += 5 + key.length + measure((value as Record<string, unknown>)[key], depth + 1);
  return bytes;
}

/** {@link measure}, refusing frames above the limit. */
export function measureFrame(frame: Frame, limits: LinkLimits): number {
  const bytes = measure(frame);
  if (bytes > limits.frameBytes) throw new NetError("limit", `a frame of ${bytes} bytes is longer than the limit of ${limits.frameBytes}`);
  return bytes;
}

/** Keeps what happens before {@link Transport.start}. */
export class Inbox {
  #events: TransportEvents | null = null;
  /** Frames that arrived before delivery began. */
  readonly #early: Frame[] = [];
  #running = false;
  #reason: NetError | null = null;

  get closed(): boolean {
    return this.#reason !== null;
  }
  start(events: TransportEvents): void {
    if (this.#events !== null) throw new Error("this transport was started already");
    this.#events = events;
    // Later, so that nothing is called before the caller of start has finished its own set-up.
    queueMicrotask(() => {
      for (let frame = this.#early.shift(); frame !== undefined; frame = this.#early.shift()) events.frame(frame);
      this.#running = true;
      if (this.#reason !== null) events.closed(this.#reason);
    });
  }
  frame(frame: Frame): void {
    if (this.#reason !== null) return;
    if (this.#running) this.#events!.frame(frame);
    else this.#early.push(frame);
  }
  drained(): void {
    if (this.#running && this.#reason === null) this.#events!.drained();
  }
  /** The first reason counts. */
  close(reason: NetError): void {
    if (this.#reason !== null) return;
    this.#reason = reason;
    if (this.#running) this.#events!.closed(reason);
  }
}
