/** AF_UNIX sockets: unix(7). */
import type { Awaitable } from "@cvm/monitor/abi";
import { Change } from "../events/epoll.ts";
import { E } from "../kernel/errno.ts";
import { Poll, type CallContext } from "../kernel/types.ts";
import { canRead, canWrite, retain } from "../files/open-file.ts";
import { O } from "../files/constants.ts";
import { whenReady } from "../kernel/ready.ts";
import { AF, MSG, SHUT, SO, SOCK, SOMAXCONN } from "./constants.ts";
import { familyOf, formatUnix, parseUnix, type UnixAddress } from "./address.ts";
import { credentialsOf, dropRights } from "./control.ts";
import { CpEnd, CpListener } from "./cp-stream.ts";
import type { CvmNetwork } from "./network.ts";
import type { UnixNames } from "./unix-names.ts";
import { EMPTY, SocketFile, type Ancillary, type PeerCredentials, type Received } from "./socket.ts";

/** Bytes that wait for a receiver above which a sender waits. */
const CAPACITY = 212992;
/** What a message counts for besides its bytes, so that empty ones are bounded too. */
const OVERHEAD = 128;
/** Largest message of a datagram or seqpacket socket: what fits into the send buffer. */
const LARGEST = CAPACITY - 32;
/** Room at which a full receiver lets senders go on. */
const WRITABLE = CAPACITY / 2;
/** Bytes of a stream that go in as one segment. */
const SEGMENT = 65536;

interface Segment {
  bytes: Uint8Array;
  readonly ancillary: Ancillary | null;
  readonly sender: PeerCredentials;
  readonly name: UnixAddress;
}

const UNNAMED: UnixAddress = { kind: "unnamed" };
const NOBODY: PeerCredentials = { pid: 0, uid: -1, gid: -1 };
/** Somebody in another cVM: what user namespaces show of who is not in them. */
const STRANGER: PeerCredentials = { pid: 0, uid: 65534, gid: 65534 };

export class UnixSocket extends SocketFile {
  readonly #names: UnixNames;
  #address: UnixAddress = UNNAMED;
  #releaseName: (() => void) | null = null;

  /** The other end of a connection, or the default receiver of a datagram socket. */
  #peer: UnixSocket | null = null;
  #connected = false;
  #closed = false;
  #peerCredentials: PeerCredentials = NOBODY;

  #queue: Segment[] = [];
  #size = 0;
  #ended = false;
  #writeShut = false;
  /** Datagram sockets that send here, to be woken when there is room. */
  readonly #senders: Set<UnixSocket> = new Set();

  #listening = false;
  #accepted: UnixSocket[] = [];
  #backlog = 0;
  /** Sockets whose connect waits for room in the queue. */
  readonly #connecting: Set<UnixSocket> = new Set();

  readonly #network: CvmNetwork;
  /** Listens to a CP_Stream, or is one end of one: then nothing else of this socket is in use. */
  #listener: CpListener | null = null;
  #end: CpEnd | null = null;
  /** The outcome of a connect that returned EINPROGRESS was not yet seen by a further connect. */
  #unseen = false;
  /** Path that it connected to; whether it was accepted instead. */
  #target: UnixAddress = UNNAMED;
  #accepting = false;

  constructor(network: CvmNetwork, type: number, flags: number) {
    super(AF.UNIX, type, 0, flags);
    this.#network = network;
    this.#names = network.unix;
  }
  /** A socket that connects to a CP_Stream by its name, with the flags of open(2). */
  static connectedTo(network: CvmNetwork, name: string, flags: number): UnixSocket | number {
    const socket = new UnixSocket(network, SOCK.STREAM, 0);
    socket.flags = flags & (O.ACCMODE | O.NONBLOCK | O.APPEND);
    const result = socket.#connectTo(name);
    return result === -E.INPROGRESS ? socket : result;
  }
  /** socketpair(2). */
  static pair(network: CvmNetwork, type: number, flags: number, context: CallContext): [UnixSocket, UnixSocket] {
    const left = new UnixSocket(network, type, flags);
    const right = new UnixSocket(network, type, flags);
    left.#join(right);
    left.#peerCredentials = right.#peerCredentials = credentialsOf(context);
    return [left, right];
  }
  #join(peer: UnixSocket): void {
    this.#peer = peer;
    peer.#peer = this;
    this.#connected = peer.#connected = true;
    if (this.type === SOCK.DGRAM) {
      this.#senders.add(peer);
      peer.#senders.add(this);
    }
  }

  // ------------------------------------------------------------------ names

  /** -EINVAL (malformed, bound already), -EADDRINUSE, errors of mknod(2); of a CP_Stream -EOPNOTSUPP (datagrams), -EACCES, -ENOENT. */
  bind(address: Uint8Array, context: CallContext): Awaitable<number> {
    const parsed = parseUnix(address);
    if (typeof parsed === "number") return parsed;
    if (this.#releaseName !== null) return parsed.kind === "unnamed" ? 0 : -E.INVAL;
    if (parsed.kind === "path" && parsed.path === "") return -E.INVAL;
    const stream = this.#streamAt(parsed, context);
    if (stream !== undefined) return this.#bindTo(stream, parsed);
    const bound = this.#names.bind(parsed, this, context);
    if (typeof bound === "number") return bound;
    this.#address = bound.address;
    this.#releaseName = bound.release;
    return 0;
  }
  /** The CP_Stream that a path leads to. */
  #streamAt(address: UnixAddress, context: CallContext): string | undefined {
    const { cp } = this.#network;
    if (address.kind !== "path" || cp === null) return undefined;
    const stat = context.kernel.vfs.stat(address.path, context.process.fs.cwd, true, context);
    return typeof stat === "number" ? undefined : cp.streamOf(stat);
  }
  #bindTo(stream: string, address: UnixAddress): Awaitable<number> {
    if (this.type === SOCK.DGRAM) return -E.OPNOTSUPP;
    if (this.#connected || this.#end !== null) return -E.INVAL;
    // Nobody binds it once more while this is under way.
    this.#releaseName = () => {};
    const opened = CpListener.open(this.#network, stream, this.type === SOCK.SEQPACKET, () => this.waiters.notify());
    return whenReady(opened, (listener) => {
      this.#releaseName = typeof listener === "number" ? null : () => listener.close();
      if (typeof listener === "number") return listener;
      this.#address = address;
      this.#listener = listener;
      if (this.#closed) listener.close();
      return 0;
    });
  }
  localAddress(): Uint8Array {
    return formatUnix(this.#address);
  }
  remoteAddress(): Uint8Array | number {
    if (this.#end !== null) return this.#end.open ? formatUnix(this.#accepting ? UNNAMED : this.#target) : -E.NOTCONN;
    return this.#peer === null ? -E.NOTCONN : formatUnix(this.#peer.#address);
  }
  override get peerCredentials(): PeerCredentials {
    return this.#end === null ? this.#peerCredentials : STRANGER;
  }

  // ------------------------------------------------------------------ connections

  override get listening(): boolean {
    return this.#listening;
  }
  /** -EOPNOTSUPP (datagram), -EINVAL (no name, or connected). */
  override listen(backlog: number, context: CallContext): Awaitable<number> {
    if (this.type === SOCK.DGRAM) return -E.OPNOTSUPP;
    if (this.#releaseName === null || this.#connected || this.#end !== null) return -E.INVAL;
    this.#backlog = backlog < 0 || backlog > SOMAXCONN ? SOMAXCONN : backlog;
    if (this.#listener !== null)
      return whenReady(this.#listener.listen(this.#backlog), (result) => {
        if (result === 0) this.#listening = true;
        return result;
      });
    this.#listening = true;
    this.#peerCredentials = credentialsOf(context);
    this.#wakeConnecting();
    return 0;
  }
  #wakeConnecting(): void {
    // A snapshot: who still finds no room puts itself in again.
    for (const socket of Array.from(this.#connecting)) socket.waiters.notify();
  }
  override accept(flags: number): UnixSocket | number {
    if (this.type === SOCK.DGRAM) return -E.OPNOTSUPP;
    if (!this.#listening) return -E.INVAL;
    if (this.#listener !== null) return this.#acceptFrom(this.#listener, flags);
    const socket = this.#accepted.shift();
    if (socket === undefined) return -E.AGAIN;
    socket.flags |= flags;
    this.#wakeConnecting();
    return socket;
  }
  #acceptFrom(listener: CpListener, flags: number): UnixSocket | number {
    const end = listener.accept();
    if (typeof end === "number") return end;
    const socket = new UnixSocket(this.#network, this.type, flags);
    socket.#address = this.#address;
    socket.#accepting = true;
    socket.#end = end;
    end.adopt(socket);
    return socket;
  }
  /**
   * -EISCONN, -EINVAL, -EPROTOTYPE, -ECONNREFUSED, -EAGAIN (the queue is full: again after a notification), errors of the path; to a CP_Stream also
   * -EACCES, -EINPROGRESS and -EALREADY.
   */
  connect(address: Uint8Array, context: CallContext): number {
    if (this.type === SOCK.DGRAM) return this.#setReceiver(address, context);
    const parsed = parseUnix(address);
    if (typeof parsed === "number") return parsed;
    if (this.#end !== null) return this.#connectAgain();
    const stream = this.#streamAt(parsed, context);
    if (stream !== undefined) {
      const denied = this.#names.denied(parsed, context);
      if (denied < 0) return denied;
      if (this.#connected) return -E.ISCONN;
      if (this.#listening) return -E.INVAL;
      this.#target = parsed;
      return this.#connectTo(stream);
    }
    const listener = this.#names.find(parsed, context);
    if (typeof listener === "number") return listener;
    if (listener.type !== this.type) return -E.PROTOTYPE;
    if (!listener.#listening || listener.#closed) return -E.CONNREFUSED;
    if (this.#connected) return -E.ISCONN;
    if (this.#listening) return -E.INVAL;
    if (listener.#accepted.length > listener.#backlog) {
      listener.#connecting.add(this);
      return -E.AGAIN;
    }
    listener.#connecting.delete(this);
    const server = new UnixSocket(this.#network, this.type, 0);
    server.options.set(1, SO.PASSCRED, listener.options.on(SO.PASSCRED) ? 1 : 0);
    server.#address = listener.#address;
    server.#join(this);
    server.#peerCredentials = credentialsOf(context);
    this.#peerCredentials = listener.#peerCredentials;
    listener.#accepted.push(server);
    listener.waiters.notify();
    this.waiters.notify();
    return 0;
  }
  #connectTo(stream: string): number {
    const end = CpEnd.connect(this.#network, stream, this.type === SOCK.SEQPACKET, this);
    if (typeof end === "number") return end;
    this.#end = end;
    this.#unseen = true;
    return -E.INPROGRESS;
  }
  /** A further connect of a socket that has an end of a stream. */
  #connectAgain(): number {
    const { outcome } = this.#end!;
    if (outcome === -E.AGAIN) return -E.ALREADY;
    const seen = !this.#unseen;
    return outcome === 0 && seen ? -E.ISCONN : this.connectOutcome();
  }
  override connectOutcome(): number {
    const outcome = this.#end?.outcome ?? 0;
    if (outcome === -E.AGAIN) return outcome;
    this.#unseen = false;
    if (outcome === 0) return 0;
    // It may try again.
    this.#end = null;
    this.error = 0;
    return outcome;
  }
  #setReceiver(address: Uint8Array, context: CallContext): number {
    if (familyOf(address) === AF.UNSPEC) {
      this.#leaveReceiver();
      return 0;
    }
    const receiver = this.#receiver(address, context);
    if (typeof receiver === "number") return receiver;
    this.#leaveReceiver();
    this.#peer = receiver;
    receiver.#senders.add(this);
    return 0;
  }
  #leaveReceiver(): void {
    const receiver = this.#peer;
    if (receiver !== null) receiver.#senders.delete(this);
    this.#peer = null;
    this.#connected = false;
  }
  /** The datagram socket with a name, if it takes messages of this one. */
  #receiver(address: Uint8Array, context: CallContext): UnixSocket | number {
    const parsed = parseUnix(address);
    if (typeof parsed === "number") return parsed;
    if (this.#streamAt(parsed, context) !== undefined) return -E.PROTOTYPE;
    const receiver = this.#names.find(parsed, context);
    if (typeof receiver === "number") return receiver;
    if (receiver.type !== this.type) return -E.PROTOTYPE;
    return receiver.#peer !== null && receiver.#peer !== this ? -E.PERM : receiver;
  }

  // ------------------------------------------------------------------ data

  available(): number {
    if (this.#end !== null) return this.#end.available();
    if (this.type !== SOCK.STREAM) return this.#queue[0]?.bytes.length ?? 0;
    let bytes = 0;
    for (const segment of this.#queue) bytes += segment.bytes.length;
    return bytes;
  }
  override get passesCredentials(): boolean {
    return this.options.on(SO.PASSCRED);
  }
  #room(): number {
    return CAPACITY - this.#size;
  }
  override poll(): number {
    if (this.#listening) return (this.#listener?.ready ?? this.#accepted.length > 0) ? Poll.IN : 0;
    if (this.#end !== null) return this.#end.poll(this.error);
    let events = this.error === 0 ? 0 : Poll.ERR;
    if (this.#queue.length > 0 || this.#ended) events |= Poll.IN;
    if (this.#ended) events |= Poll.RDHUP;
    if (this.type === SOCK.DGRAM) {
      if (this.#peer === null || this.#peer.#room() >= WRITABLE) events |= Poll.OUT;
      return events;
    }
    if (!this.#connected || (this.#ended && this.#writeShut)) events |= Poll.HUP;
    if (this.#peer === null || this.#writeShut || this.#peer.#room() >= WRITABLE) events |= Poll.OUT;
    return events;
  }

  override read(max: number, _offset: number | null, context: CallContext): Uint8Array | number {
    if (!canRead(this.flags)) return -E.BADF;
    const received = this.receive(max, 0, context);
    if (typeof received === "number") return received;
    dropRights(received.ancillary);
    return received.bytes;
  }
  override write(bytes: Uint8Array, _offset: number | null, context: CallContext): number {
    if (!canWrite(this.flags)) return -E.BADF;
    return this.send(bytes, null, null, 0, context);
  }

  /** -EISCONN, -EOPNOTSUPP, -ENOTCONN, -EPIPE, -EMSGSIZE, -ECONNREFUSED, -EAGAIN, errors of the name. Takes `ancillary` over unless it fails. */
  send(data: Uint8Array, name: Uint8Array | null, ancillary: Ancillary | null, flags: number, context: CallContext): number {
    if ((flags & MSG.OOB) !== 0) return -E.OPNOTSUPP;
    if (this.type === SOCK.DGRAM) return this.#sendDatagram(data, name, ancillary, flags, context);
    if (this.type === SOCK.STREAM && name !== null) return this.#connected ? -E.ISCONN : -E.OPNOTSUPP;
    if (this.error !== 0) return this.takeError();
    if (this.#end !== null) return this.#sendTo(this.#end, data, ancillary, flags, context);
    if (!this.#connected) return -E.NOTCONN;
    const peer = this.#peer;
    if (this.#writeShut || peer === null) return this.brokenPipe((flags & MSG.NOSIGNAL) !== 0, context);
    if (this.type === SOCK.SEQPACKET) {
      if (data.length > LARGEST) return -E.MSGSIZE;
      if (peer.#size > 0 && peer.#room() < data.length + OVERHEAD) return -E.AGAIN;
      peer.#deliver(data.slice(), ancillary, this, context);
      return data.length;
    }
    if (data.length === 0) {
      dropRights(ancillary);
      return 0;
    }
    const room = peer.#room() - OVERHEAD;
    if (room <= 0) return -E.AGAIN;
    const length = Math.min(data.length, room);
    for (let at = 0; at < length; at += SEGMENT)
      peer.#deliver(data.slice(at, Math.min(at + SEGMENT, length)), at === 0 ? ancillary : null, this, context);
    return length;
  }
  /** Descriptors do not go to another cVM: -EOPNOTSUPP. */
  #sendTo(end: CpEnd, data: Uint8Array, ancillary: Ancillary | null, flags: number, context: CallContext): number {
    if ((ancillary?.rights.length ?? 0) > 0) return -E.OPNOTSUPP;
    const result = end.send(data, (this.flags & O.NONBLOCK) === 0 && (flags & MSG.DONTWAIT) === 0);
    return result === -E.PIPE ? this.brokenPipe((flags & MSG.NOSIGNAL) !== 0, context) : result;
  }
  #sendDatagram(data: Uint8Array, name: Uint8Array | null, ancillary: Ancillary | null, flags: number, context: CallContext): number {
    let receiver = this.#peer;
    if (name !== null) {
      const found = this.#receiver(name, context);
      if (typeof found === "number") return found;
      receiver = found;
    }
    if (this.error !== 0) return this.takeError();
    if (receiver === null) return -E.NOTCONN;
    if (data.length > LARGEST) return -E.MSGSIZE;
    if (receiver.#closed) {
      if (receiver === this.#peer) this.#leaveReceiver();
      return -E.CONNREFUSED;
    }
    if (this.#writeShut || receiver.#ended) return this.brokenPipe((flags & MSG.NOSIGNAL) !== 0, context);
    if (receiver.#size > 0 && receiver.#room() < data.length + OVERHEAD) {
      receiver.#senders.add(this);
      return -E.AGAIN;
    }
    receiver.#deliver(data.slice(), ancillary, this, context);
    return data.length;
  }
  #deliver(bytes: Uint8Array, ancillary: Ancillary | null, from: UnixSocket, context: CallContext): void {
    this.#queue.push({ bytes, ancillary, sender: ancillary?.credentials ?? credentialsOf(context), name: from.#address });
    this.#size += bytes.length + OVERHEAD;
    this.waiters.notify(Change.IN);
  }

  receive(max: number, flags: number, context?: CallContext): Received | number {
    if ((flags & MSG.OOB) !== 0) return -E.OPNOTSUPP;
    if (this.#end !== null) {
      if (this.error !== 0 && this.#end.empty) return this.takeError();
      return this.#end.receive(max, flags, context);
    }
    if (this.#listening || (this.type !== SOCK.DGRAM && !this.#connected && this.#queue.length === 0))
      return this.type === SOCK.SEQPACKET ? -E.NOTCONN : -E.INVAL;
    const first = this.#queue[0];
    if (first === undefined) {
      if (this.error !== 0) return this.takeError();
      return this.#ended ? { bytes: EMPTY, length: 0, name: null, flags: 0, ancillary: null } : -E.AGAIN;
    }
    const peek = (flags & MSG.PEEK) !== 0;
    const before = this.#room();
    const received = this.type === SOCK.STREAM ? this.#takeBytes(max, peek) : this.#takeMessage(first, max, peek);
    // A message that needs more than half of the capacity gets its turn when nothing else is there.
    if (!peek && ((before < WRITABLE && this.#room() >= WRITABLE) || this.#size === 0)) {
      if (this.type === SOCK.DGRAM) this.#wakeSenders();
      else this.#peer?.waiters.notify(Change.OUT);
    }
    return received;
  }
  #wakeSenders(): void {
    for (const sender of Array.from(this.#senders)) {
      // Who is not connected to this socket enters again when there still is no room.
      if (sender.#peer !== this) this.#senders.delete(sender);
      sender.waiters.notify(Change.OUT);
    }
  }
  #takeMessage(first: Segment, max: number, peek: boolean): Received {
    if (!peek) this.#shift();
    const { length } = first.bytes;
    return {
      bytes: length > max ? first.bytes.subarray(0, max) : first.bytes,
      length,
      name: first.name.kind === "unnamed" ? null : formatUnix(first.name),
      flags: (length > max ? MSG.TRUNC : 0) | (this.type === SOCK.SEQPACKET ? MSG.EOR : 0),
      ancillary: this.#ancillaryOf(first, peek),
    };
  }
  /** Bytes of a stream: of one sender, and descriptors of one message at most. */
  #takeBytes(max: number, peek: boolean): Received {
    const parts: Uint8Array[] = [];
    let length = 0;
    let ancillary: Ancillary | null = null;
    for (let index = 0; length < max;) {
      const segment = this.#queue[index];
      if (segment === undefined) break;
      if (index > 0 || parts.length > 0) {
        if ((segment.ancillary?.rights.length ?? 0) > 0) break;
        if (this.passesCredentials && !sameSender(segment.sender, ancillary!.credentials)) break;
      } else ancillary = this.#ancillaryOf(segment, peek);
      const hasRights = (segment.ancillary?.rights.length ?? 0) > 0;
      const part = segment.bytes.length > max - length ? segment.bytes.subarray(0, max - length) : segment.bytes;
      parts.push(part);
      length += part.length;
      if (peek) index++;
      else if (part.length === segment.bytes.length) this.#shift();
      else {
        // The descriptors went with the first bytes.
        this.#queue[0] = { ...segment, bytes: segment.bytes.subarray(part.length), ancillary: null };
        this.#size -= part.length;
      }
      if (hasRights) break;
    }
    return { bytes: parts.length === 1 ? parts[0]! : Buffer.concat(parts), length, name: null, flags: 0, ancillary };
  }
  #shift(): void {
    const segment = this.#queue.shift()!;
    this.#size -= segment.bytes.length + OVERHEAD;
  }
  #ancillaryOf(segment: Segment, peek: boolean): Ancillary {
    const rights = segment.ancillary?.rights ?? [];
    if (peek) for (const file of rights) retain(file);
    return { rights, credentials: segment.sender };
  }

  // ------------------------------------------------------------------ ends

  shutdown(how: number): number {
    if (how < SHUT.RD || how > SHUT.RDWR) return -E.INVAL;
    const peer = this.#peer;
    if (this.#end !== null) {
      if (!this.#end.open) return -E.NOTCONN;
      this.#end.shutdown(how);
      return 0;
    }
    if (this.type !== SOCK.DGRAM && !this.#connected) return this.#listening ? this.#stopListening() : -E.NOTCONN;
    if (how !== SHUT.WR) {
      this.#ended = true;
      if (this.type !== SOCK.DGRAM && peer !== null) peer.#writeShut = true;
    }
    if (how !== SHUT.RD) {
      this.#writeShut = true;
      if (this.type !== SOCK.DGRAM && peer !== null) peer.#ended = true;
    }
    this.waiters.notify();
    peer?.waiters.notify();
    return 0;
  }
  #stopListening(): number {
    this.#listening = false;
    this.#listener?.stop();
    for (const socket of this.#accepted) {
      if (socket.#peer !== null) socket.#peer.error = E.CONNRESET;
      socket.close();
    }
    this.#accepted = [];
    this.#wakeConnecting();
    this.#connecting.clear();
    this.waiters.notify();
    return 0;
  }
  override close(): void {
    this.#closed = true;
    this.#end?.close(this.linger === 0);
    this.#releaseName?.();
    if (this.#listening) this.#stopListening();
    const peer = this.#peer;
    const unread = this.#queue.length > 0;
    for (const segment of this.#queue) dropRights(segment.ancillary);
    this.#queue = [];
    this.#size = 0;
    if (this.type === SOCK.DGRAM) {
      if (peer !== null) peer.#senders.delete(this);
      this.#wakeSenders();
    } else if (peer !== null) {
      peer.#ended = peer.#writeShut = true;
      if (unread) peer.error = E.CONNRESET;
      peer.#peer = null;
      peer.waiters.notify();
    }
    this.#peer = null;
    this.waiters.notify();
  }
}

function sameSender(left: PeerCredentials, right: PeerCredentials): boolean {
  return left.pid === right.pid && left.uid === right.uid && left.gid === right.gid;
}
