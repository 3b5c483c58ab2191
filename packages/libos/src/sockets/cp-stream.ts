/** CP_Streams as Unix sockets meet them: who listens under a name, and one end of a connection. */
import { CpRight, Limits, type Awaitable, type CpAnswer, type CpHandle } from "@cvm/monitor/abi";
import { Change } from "../events/epoll.ts";
import { E } from "../kernel/errno.ts";
import { forget, isPromise, whenReady } from "../kernel/ready.ts";
import { Poll, type CallContext } from "../kernel/types.ts";
import { ByteQueue } from "./byte-queue.ts";
import { MSG, SHUT, SOMAXCONN } from "./constants.ts";
import { Lent, Outgoing } from "./lent.ts";
import type { CvmNetwork, StreamOwner } from "./network.ts";
import { EMPTY, type Received, type SocketFile } from "./socket.ts";

const WINDOW = Limits.streamWindow;
/** Consumed bytes are told to the sender in steps. */
const CREDIT_STEP = WINDOW / 4;
/** Room at which a full stream becomes writable again. */
const WRITABLE = WINDOW / 4;
/** Largest message of a seqpacket socket, as inside a cVM. */
const LARGEST = 212960;

const handleOf = (answer: CpAnswer): number => (typeof answer === "number" ? answer : -E.IO);

/** Asks for a stream: a handle, or -ENOENT, -EACCES, -EMFILE. */
function open(network: CvmNetwork, name: string, rights: number): Awaitable<number> {
  return whenReady(network.host.cp({ cp: "open", kind: "stream", name, rights }), handleOf);
}

/** A connection that waits for room in a listener's queue: the stream's end, or 0 to refuse it. */
type Accept = (stream: number) => void;

export class CpListener {
  readonly #network: CvmNetwork;
  readonly #handle: CpHandle;
  readonly #changed: () => void;
  readonly #whole: boolean;
  #stream = 0;
  #backlog = 0;
  #accepted: CpEnd[] = [];
  #offers: Accept[] = [];
  /** The right to listen was taken away. */
  #revoked = false;

  private constructor(network: CvmNetwork, handle: CpHandle, whole: boolean, changed: () => void) {
    this.#network = network;
    this.#handle = handle;
    this.#whole = whole;
    this.#changed = changed;
    network.cp?.open.set(handle, this);
  }
  /** Takes the right to listen: -ENOENT, -EACCES, -EMFILE. */
  static open(network: CvmNetwork, name: string, whole: boolean, changed: () => void): Awaitable<CpListener | number> {
    return whenReady(open(network, name, CpRight.Listen), (handle) =>
      handle < 0 ? handle : new CpListener(network, handle, whole, changed),
    );
  }
  /** 0: the right is gone. */
  notified(changes: number): void {
    if (changes !== 0) return;
    this.#revoked = true;
    this.#changed();
  }
  get ready(): boolean {
    return this.#accepted.length > 0;
  }
  /** -EADDRINUSE: somebody else listens. A second call changes the backlog. */
  listen(backlog: number): Awaitable<number> {
    this.#backlog = backlog;
    if (this.#stream !== 0) {
      this.#takeOffers();
      return 0;
    }
    const stream = (this.#stream = this.#network.allocate());
    this.#network.named.set(stream, this);
    return whenReady(this.#network.host.cp({ cp: "listen", handle: this.#handle, stream, backlog }), (answer) => {
      const result = handleOf(answer);
      if (result < 0) {
        this.#network.named.delete(stream);
        this.#stream = 0;
      }
      return result;
    });
  }
  incoming(accept: Accept): void {
    if (this.#accepted.length <= this.#backlog) this.#take(accept);
    else if (this.#offers.length <= SOMAXCONN) this.#offers.push(accept);
    else accept(0);
  }
  #take(accept: Accept): void {
    const stream = this.#network.allocate();
    this.#accepted.push(CpEnd.accepted(this.#network, stream, this.#whole));
    accept(stream);
    this.#changed();
  }
  #takeOffers(): void {
    while (this.#offers.length > 0 && this.#accepted.length <= this.#backlog) this.#take(this.#offers.shift()!);
  }
  /** -EAGAIN when nobody waits; -EINVAL when the right is gone. */
  accept(): CpEnd | number {
    const end = this.#accepted.shift();
    if (end === undefined) return this.#revoked ? -E.INVAL : -E.AGAIN;
    this.#takeOffers();
    return end;
  }
  /** Nobody listens any more; those that wait are reset or refused. */
  stop(): void {
    if (this.#stream === 0) return;
    this.#network.named.delete(this.#stream);
    for (const end of this.#accepted.splice(0)) end.close(true);
    this.#offers = [];
    this.#network.host.close(this.#stream, false);
    this.#stream = 0;
  }
  close(): void {
    this.stop();
    this.#network.cp?.open.delete(this.#handle);
    forget(this.#network.host.cp({ cp: "close", handle: this.#handle }));
  }
}

const State = { CONNECTING: 0, OPEN: 1, FAILED: 2, CLOSED: 3 } as const;
type State = (typeof State)[keyof typeof State];

/** One end of a CP_Stream. What a sender sends in one call is a message to a seqpacket socket, bytes like others to a stream socket. */
export class CpEnd implements StreamOwner {
  readonly #network: CvmNetwork;
  /** Messages are kept whole. */
  readonly #whole: boolean;
  /** Whose end it is; nobody's until it was accepted. */
  socket: SocketFile | null = null;
  #state: State = State.CONNECTING;
  #stream = 0;
  /** Why there is no connection. */
  #failure = 0;
  #credit: number = WINDOW;
  /** Bytes consumed and not yet told. */
  #consumed = 0;
  readonly #queue: ByteQueue = new ByteQueue();
  /** Lengths of messages in the queue, from the first that is there. */
  #lengths: number[] = [];
  #first = 0;
  readonly #lent: Lent = new Lent();
  readonly #outgoing: Outgoing = new Outgoing();
  #error = 0;
  #ended = false;
  #readShut = false;
  #writeShut = false;

  private constructor(network: CvmNetwork, whole: boolean) {
    this.#network = network;
    this.#whole = whole;
  }
  static accepted(network: CvmNetwork, stream: number, whole: boolean): CpEnd {
    const end = new CpEnd(network, whole);
    end.#join(stream);
    end.#state = State.OPEN;
    return end;
  }
  /** Starts a connection for a socket: -ENOENT, -EACCES, -EMFILE where that is known at once. */
  static connect(network: CvmNetwork, name: string, whole: boolean, socket: SocketFile): CpEnd | number {
    const end = new CpEnd(network, whole);
    end.socket = socket;
    const opened = open(network, name, CpRight.Connect);
    if (!isPromise(opened) && opened < 0) return opened;
    forget(whenReady(opened, (handle) => end.#begin(handle)));
    return end;
  }
  #begin(handle: number): void {
    if (handle < 0) return this.#fail(-handle);
    const { host } = this.#network;
    if (this.#state === State.CONNECTING) {
      this.#join(this.#network.allocate());
      const asked = host.cp({ cp: "connect", handle, stream: this.#stream });
      forget(
        whenReady(asked, (answer) => {
          if (answer !== 0) this.connected(-handleOf(answer));
        }),
      );
    }
    // The connection stays without it.
    forget(host.cp({ cp: "close", handle }));
  }
  #join(stream: number): void {
    this.#stream = stream;
    this.#network.attach(stream, this);
  }
  #detach(): void {
    if (this.#stream !== 0) this.#network.detach(this.#stream);
    this.#stream = 0;
  }
  #fail(error: number): void {
    if (this.#state !== State.CONNECTING) return;
    this.#detach();
    this.#state = State.FAILED;
    this.#failure = error;
    if (this.socket !== null) this.socket.error = error;
    this.#changed();
  }
  #changed(events?: number): void {
    this.socket?.waiters.notify(events);
  }

  /** Nothing to read. */
  get empty(): boolean {
    return this.#queue.length === 0;
  }
  get open(): boolean {
    return this.#state === State.OPEN;
  }
  /** -EAGAIN while it is being made, then 0 or the error. */
  get outcome(): number {
    return this.#state === State.CONNECTING ? -E.AGAIN : -this.#failure;
  }

  // ------------------------------------------------------------------ events of the monitor

  connected(error: number): void {
    if (this.#state !== State.CONNECTING) return;
    if (error !== 0) return this.#fail(Math.abs(error));
    this.#state = State.OPEN;
    this.#changed();
  }
  received(bytes: Uint8Array): void {
    if (this.#whole) this.#lengths.push(bytes.length);
    this.#queue.pushOwn(bytes);
    this.#changed(Change.IN);
  }
  lent(bytes: Uint8Array, all: boolean): number {
    const { socket } = this;
    const direct = !this.#whole && socket !== null && this.#queue.length === 0 && !this.#readShut;
    const taken = direct ? this.#lent.offer(bytes, socket.waiters) : 0;
    if (!all) return taken;
    // What went straight to a reader came through the window as well.
    if (taken > 0) this.#took(taken);
    if (taken < bytes.length) {
      if (this.#whole) this.#lengths.push(bytes.length);
      this.#queue.pushCopy(bytes.subarray(taken));
      this.#changed(Change.IN);
    }
    return bytes.length;
  }
  credited(bytes: number): void {
    const before = this.#credit;
    this.#credit += bytes;
    if (bytes === 0) this.#outgoing.wanted();
    if (before < WRITABLE || this.#whole || bytes === 0) this.#changed(Change.OUT);
  }
  peerEnded(): void {
    this.#ended = true;
    this.#changed();
  }
  peerReset(error: number): void {
    this.#detach();
    if (this.#state === State.CONNECTING) return this.#fail(E.CONNREFUSED);
    this.#error = Math.abs(error);
    if (this.socket !== null) this.socket.error = this.#error;
    this.#ended = this.#writeShut = true;
    this.#changed();
  }
  /** The socket that accepted it. */
  adopt(socket: SocketFile): void {
    this.socket = socket;
    socket.error = this.#error;
  }

  // ------------------------------------------------------------------ data

  available(): number {
    if (!this.#whole) this.#want();
    return this.#whole ? (this.#lengths[this.#first] ?? 0) : this.#queue.length;
  }
  poll(error: number): number {
    if (this.#state === State.CONNECTING) return 0;
    let events = error === 0 ? 0 : Poll.ERR;
    if (this.#state !== State.OPEN) return events | Poll.OUT | Poll.HUP | Poll.IN | Poll.RDHUP;
    if (this.#queue.length > 0 || this.#ended || this.#readShut) events |= Poll.IN;
    if (this.#ended || this.#readShut) events |= Poll.RDHUP;
    if (this.#ended && this.#writeShut) events |= Poll.HUP;
    if (this.#writeShut || this.#credit >= WRITABLE) events |= Poll.OUT;
    return events;
  }
  /** Bytes taken, -EAGAIN, -ENOTCONN, -EPIPE, -EMSGSIZE (too large a message, or an empty one, which the stream does not carry). */
  send(data: Uint8Array, waits: boolean): number {
    if (this.#state !== State.OPEN) return this.#state === State.CONNECTING ? -E.AGAIN : -E.NOTCONN;
    if (this.#writeShut) return -E.PIPE;
    const { length } = data;
    const { host } = this.#network;
    if (this.#whole) {
      if (length === 0 || length > LARGEST) return -E.MSGSIZE;
      if (this.#credit < length) return -E.AGAIN;
    } else if (length === 0) return 0;
    const { direct, part } = this.#whole
      ? { direct: 0, part: length }
      : this.#outgoing.split(host, this.#stream, data, this.#credit, waits);
    if (part > 0) {
      this.#credit -= part;
      host.send(this.#stream, part === length ? data : data.subarray(direct, direct + part));
    }
    return direct + part === 0 ? -E.AGAIN : direct + part;
  }
  /** -EAGAIN, -ENOTCONN. The socket looks for its pending error first when nothing is there. */
  receive(max: number, flags: number, context: CallContext | undefined): Received | number {
    const queue = this.#queue;
    const peek = (flags & MSG.PEEK) !== 0;
    if (this.#whole) return this.#receiveMessage(max, peek);
    let bytes = EMPTY;
    if (queue.length > 0 && max > 0) {
      bytes = peek ? queue.peek(max) : queue.take(max);
      if (!peek) this.#took(bytes.length);
      if (peek ? bytes.length < max : queue.length === 0) this.#want();
    } else if (this.#lent.length > 0 && max > 0) bytes = peek ? this.#lent.peek(max).slice() : this.#lent.take(max, context);
    else if (max > 0) {
      const nothing = this.#nothing();
      if (nothing !== 0) return nothing;
    }
    return { bytes, length: bytes.length, name: null, flags: 0, ancillary: null };
  }
  /** 0 at the end. */
  #nothing(): number {
    if (this.#state === State.CONNECTING) return -E.AGAIN;
    if (this.#state === State.FAILED) return -E.NOTCONN;
    if (this.#ended || this.#readShut) return 0;
    this.#want();
    return -E.AGAIN;
  }
  #want(): void {
    if (this.#stream !== 0) this.#network.host.want?.(this.#stream);
  }
  #receiveMessage(max: number, peek: boolean): Received | number {
    const length = this.#lengths[this.#first];
    if (length === undefined) {
      const nothing = this.#nothing();
      return nothing === 0 ? { bytes: EMPTY, length: 0, name: null, flags: 0, ancillary: null } : nothing;
    }
    const bytes = peek ? this.#queue.peek(Math.min(max, length)) : this.#queue.take(length).subarray(0, max);
    if (!peek) {
      if (++this.#first === this.#lengths.length) {
        this.#lengths = [];
        this.#first = 0;
      }
      this.#took(length);
    }
    return { bytes, length, name: null, flags: (length > max ? MSG.TRUNC : 0) | MSG.EOR, ancillary: null };
  }
  #took(count: number): void {
    this.#consumed += count;
    if (this.#ended || this.#stream === 0) return;
    // Who waits to send a whole message waits for as much room as it needs.
    if (this.#consumed < CREDIT_STEP && !(this.#whole && this.#queue.length === 0)) return;
    this.#network.host.credit(this.#stream, this.#consumed);
    this.#consumed = 0;
  }

  // ------------------------------------------------------------------ ends

  shutdown(how: number): void {
    if (how !== SHUT.WR) this.#readShut = true;
    if (how !== SHUT.RD && !this.#writeShut) {
      this.#writeShut = true;
      if (this.#stream !== 0) this.#network.host.shutdown(this.#stream);
    }
    this.#changed();
  }
  /** Unread bytes or `reset` make it a reset. */
  close(reset: boolean): void {
    const stream = this.#stream;
    this.#detach();
    if (stream !== 0) this.#network.host.close(stream, reset || this.#queue.length > 0);
    this.#state = State.CLOSED;
    this.#queue.clear();
  }
}
