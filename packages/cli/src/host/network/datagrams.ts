/** Datagrams of one cVM on this machine: sockets for those to the outside, and the end of the stream that carries them. */
import { createSocket } from "node:dgram";
import type { Socket } from "node:dgram";
import type { Frame } from "@cvm/libos";
import { encodeFrame, FrameKind, FrameReader } from "@cvm/libos";
import type { Stream, StreamEvents } from "@cvm/monitor";

/** A conversation without a datagram for so long is over. */
export const IDLE_MS = 60_000;
/** Datagrams of one conversation that wait for its socket. */
const MOST_WAITING = 16;
/** Bytes that the operating system has not yet taken; more are dropped. */
const MOST_QUEUED = 1024 * 1024;

/** The host's end of a cVM's relay stream. What does not fit into the stream is dropped, as datagrams may be. */
export class RelayEnd {
  readonly #reader: FrameReader = new FrameReader();
  #stream: Stream | null = null;

  /** Makes the stream with these events. `frame` is called for each frame that arrives. */
  constructor(open: (events: StreamEvents) => Stream | null, frame: (frame: Frame) => void) {
    this.#stream = open({
      connected: () => {},
      received: (bytes) => {
        const stream = this.#stream;
        if (stream === null) return;
        const frames = this.#reader.read(bytes);
        if (frames === null) return this.close();
        frames.forEach(frame);
        stream.credit(bytes.length);
        return undefined;
      },
      credited: () => {},
      ended: () => this.close(),
      reset: () => void (this.#stream = null),
    });
  }
  get closed(): boolean {
    return this.#stream?.closed !== false;
  }
  send(frame: Frame): void {
    const bytes = encodeFrame(frame);
    if (this.#stream !== null && this.#stream.window >= bytes.length) this.#stream.send(bytes);
  }
  close(): void {
    const stream = this.#stream;
    this.#stream = null;
    if (stream?.closed === false) stream.close(true);
  }
}

/** One conversation of a cVM's port with an address of the outside. */
export class Conversation {
  readonly #socket: Socket;
  #waiting: Uint8Array[] | null = [];
  /** When it was used last, by `performance.now()`. */
  used: number = performance.now();

  /**
   * @param received a datagram came back
   * @param failed the errors that the operating system learns of; `over` when nothing more can be sent
   */
  constructor(
    to: { readonly address: string; readonly family: 4 | 6 },
    port: number,
    received: (bytes: Uint8Array) => void,
    failed: (error: NodeJS.ErrnoException, over: boolean) => void,
  ) {
    const { address, family } = to;
    // The address is one: nothing is looked up.
    const socket = createSocket({ type: family === 6 ? "udp6" : "udp4", lookup: (_name, _options, done) => done(null, address, family) });
    this.#socket = socket;
    socket.on("message", (bytes) => {
      this.used = performance.now();
      received(bytes);
    });
    socket.on("error", (error: NodeJS.ErrnoException) => failed(error, error.code !== "ECONNREFUSED" || this.#waiting !== null));
    this.#failed = failed;
    socket.connect(port, address, (error?: Error) => {
      if (error !== undefined) return failed(error, true);
      const waiting = this.#waiting ?? [];
      this.#waiting = null;
      for (const bytes of waiting) this.send(bytes);
      return undefined;
    });
  }
  readonly #failed: (error: NodeJS.ErrnoException, over: boolean) => void;

  send(bytes: Uint8Array): void {
    this.used = performance.now();
    if (this.#waiting !== null) {
      if (this.#waiting.length < MOST_WAITING) this.#waiting.push(bytes);
    } else if (this.#socket.getSendQueueSize() + bytes.length <= MOST_QUEUED)
      this.#socket.send(bytes, (error) => {
        if (error !== null) this.#failed(error, false);
      });
  }
  close(): void {
    try {
      this.#socket.close();
    } catch {
      // It was never opened.
    }
  }
}

/** What is used least goes when there is no room for more. */
export class Recent<T extends { used: number; close(): void }> {
  readonly #most: number;
  readonly #entries: Map<string, T> = new Map();

  constructor(most: number) {
    this.#most = most;
  }
  get size(): number {
    return this.#entries.size;
  }
  /** The entry, which is from now on the last one to go. */
  get(key: string): T | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry;
  }
  add(key: string, entry: T): void {
    if (this.#entries.size >= this.#most) this.remove(this.#entries.keys().next().value!);
    this.#entries.set(key, entry);
  }
  remove(key: string): void {
    this.#entries.get(key)?.close();
    this.#entries.delete(key);
  }
  /** Removes what has not been used since. */
  sweep(before: number): void {
    for (const [key, { used }] of this.#entries) if (used < before) this.remove(key);
  }
  clear(): void {
    this.sweep(Infinity);
  }
}

export function errorFrame(about: Omit<Frame, "kind" | "bytes">, errno: number): Frame {
  const { address, remotePort, localPort } = about;
  return { kind: FrameKind.ERROR, address, remotePort, localPort, bytes: Uint8Array.of(errno) };
}
