/** AF_INET and AF_INET6 stream sockets: tcp(7). */
import { Limits, type Awaitable } from "@cvm/monitor/abi";
import { Change } from "../events/epoll.ts";
import { O } from "../files/constants.ts";
import { E } from "../kernel/errno.ts";
import { whenReady } from "../kernel/ready.ts";
import { Poll, type CallContext } from "../kernel/types.ts";
import {
  type Address,
  ANY,
  anyOf,
  BROADCAST,
  familyOf,
  formatAddress,
  formatInet,
  isAny,
  isLoopback,
  isMulticast,
  isSix,
  overlap,
  parseInet,
} from "./address.ts";
import { ByteQueue } from "./byte-queue.ts";
import { AF, IPPROTO, IPV6, MSG, SHUT, SO, SOCK, SOL, SOMAXCONN } from "./constants.ts";
import { Lent, Outgoing } from "./lent.ts";
import type { CvmNetwork } from "./network.ts";
import type { SocketRow } from "./proc-net.ts";
import type { SocketOptions } from "./options.ts";
import { EMPTY, SocketFile, type Ancillary, type Received } from "./socket.ts";

const State = { FRESH: 0, LISTENING: 1, CONNECTING: 2, CONNECTED: 3, DEAD: 4 } as const;
type State = (typeof State)[keyof typeof State];

/** Most bytes in flight in one direction, inside a cVM as outside. */
const WINDOW = Limits.streamWindow;
/** Consumed bytes are told to the sender in steps, so that a small read costs no message. */
const CREDIT_STEP = WINDOW / 4;
/** Room at which a full socket becomes writable again. */
const WRITABLE = WINDOW / 4;

/** A connection that waits for room in a listener's queue. */
type Offer = () => TcpSocket;

export class TcpSocket extends SocketFile {
  localHost: Address;
  localPort = 0;
  #remoteHost: Address = ANY;
  #remotePort = 0;
  readonly #network: CvmNetwork;
  #state: State = State.FRESH;
  /** Whether this socket holds its port in the table (accepted ones do not). */
  #holdsPort = false;

  readonly #queue: ByteQueue = new ByteQueue();
  readonly #lent: Lent = new Lent();
  readonly #outgoing: Outgoing = new Outgoing();
  /** The peer sends no more. */
  #ended = false;
  /** shutdown(SHUT_RD), shutdown(SHUT_WR). */
  #readShut = false;
  #writeShut = false;
  /** The outcome of a connect that returned EINPROGRESS was not yet seen by a further connect. */
  #unseen = false;

  /** The monitor's stream, 0 for a connection inside the cVM. */
  #stream = 0;
  #credit: number = WINDOW;
  /** Bytes consumed and not yet told. */
  #consumed = 0;
  /** The other end of a connection inside the cVM; null when it is gone. */
  #peer: TcpSocket | null = null;

  /** Of a listener: connections that wait for accept, and those that wait for room. */
  #accepted: TcpSocket[] = [];
  #offers: Offer[] = [];
  #backlog = 0;
  /** The connection of this socket that a listener has not yet taken. */
  #offered: Offer | null = null;

  constructor(network: CvmNetwork, flags: number, domain: number = AF.INET, options?: SocketOptions) {
    super(domain, SOCK.STREAM, IPPROTO.TCP, flags, options);
    this.localHost = anyOf(domain);
    this.#network = network;
    network.streams.add(this);
  }
  /** The server's end of a new connection. */
  static accepted(listener: TcpSocket, local: Address, remote: Address, remotePort: number): TcpSocket {
    const socket = new TcpSocket(listener.#network, 0, listener.domain, listener.options);
    socket.linger = listener.linger;
    if (listener.readTimeout !== undefined) socket.readTimeout = listener.readTimeout;
    if (listener.writeTimeout !== undefined) socket.writeTimeout = listener.writeTimeout;
    socket.#become(local, listener.localPort, remote, remotePort);
    return socket;
  }
  #become(local: Address, localPort: number, remote: Address, remotePort: number): void {
    this.localHost = local;
    this.localPort = localPort;
    this.#remoteHost = remote;
    this.#remotePort = remotePort;
    this.#state = State.CONNECTED;
  }

  // ------------------------------------------------------------------ addresses

  /** -EINVAL (bound already, short), -EAFNOSUPPORT, -EADDRNOTAVAIL, -EADDRINUSE. */
  bind(address: Uint8Array): number {
    const wanted = parseInet(address, this.domain);
    if (typeof wanted === "number") {
      // AF_UNSPEC with the wildcard address is taken for AF_INET.
      if (
        this.domain !== AF.INET ||
        address.length < 16 ||
        familyOf(address) !== AF.UNSPEC ||
        address.subarray(4, 8).some((byte) => byte !== 0)
      )
        return wanted;
      return this.#hold(ANY, (address[2]! << 8) | address[3]!);
    }
    if (!this.#network.isLocal(wanted.address)) return -E.ADDRNOTAVAIL;
    if (this.onlySix && !isSix(wanted.address)) return -E.INVAL;
    return this.#hold(wanted.address, wanted.port);
  }
  #hold(address: Address, port: number): number {
    if (this.#state !== State.FRESH || this.#holdsPort) return -E.INVAL;
    const table = this.#network.tcp;
    const chosen = port === 0 ? table.ephemeral() : port;
    if (chosen === 0 || (port !== 0 && !table.free(address, port, this))) return -E.ADDRINUSE;
    this.localHost = address;
    this.localPort = chosen;
    this.#holdsPort = true;
    table.add(chosen, this);
    return 0;
  }
  localAddress(): Uint8Array {
    return formatInet(this.localHost, this.localPort, this.domain);
  }
  remoteAddress(): Uint8Array | number {
    return this.#isOpen ? formatInet(this.#remoteHost, this.#remotePort, this.domain) : -E.NOTCONN;
  }

  /** Connected, and at least one direction is open: what ended on both sides, or was reset, has no peer. */
  get #isOpen(): boolean {
    return this.#state === State.CONNECTED && !(this.#ended && this.#writeShut);
  }

  /** IPV6_V6ONLY is for sockets without an address. */
  override setOption(level: number, name: number, value: Uint8Array): number {
    return level === SOL.IPV6 && name === IPV6.V6ONLY && this.localPort !== 0 ? -E.INVAL : super.setOption(level, name, value);
  }

  // ------------------------------------------------------------------ listening

  override get listening(): boolean {
    return this.#state === State.LISTENING;
  }
  /** Connections that wait for accept. */
  get waiting(): number {
    return this.#accepted.length + this.#offers.length;
  }
  /** -EINVAL (connected), -EADDRINUSE. A second call changes the backlog. */
  override listen(backlog: number): Awaitable<number> {
    const limit = backlog < 0 || backlog > SOMAXCONN ? SOMAXCONN : backlog;
    if (this.#state === State.LISTENING) {
      this.#backlog = limit;
      this.#takeOffers();
      return 0;
    }
    if (this.#state !== State.FRESH) return -E.INVAL;
    if (!this.#holdsPort) {
      const held = this.#hold(anyOf(this.domain), 0);
      if (held < 0) return held;
    }
    // SO_REUSEADDR lets sockets share a port until one of them listens.
    for (const other of this.#network.tcp.at(this.localPort)) {
      if (other === this || !other.listening || !overlap(this.localHost, this.onlySix, other.localHost, other.onlySix)) continue;
      if (!(this.options.on(SO.REUSEPORT) && other.options.on(SO.REUSEPORT))) return -E.ADDRINUSE;
    }
    this.#backlog = limit;
    this.#state = State.LISTENING;
    return whenReady(this.#network.listen(this, limit), (result) => {
      if (result < 0 && this.#state === State.LISTENING) this.#state = State.FRESH;
      return result;
    });
  }
  /** Takes a connection, now or when there is room in the queue. */
  offer(offer: Offer): void {
    if (this.#accepted.length > this.#backlog) {
      if (this.#offers.length <= SOMAXCONN) this.#offers.push(offer);
      return;
    }
    this.#accepted.push(offer());
    this.waiters.notify();
  }
  #takeOffers(): void {
    while (this.#offers.length > 0 && this.#accepted.length <= this.#backlog) this.#accepted.push(this.#offers.shift()!());
  }
  override accept(flags: number): TcpSocket | number {
    if (this.#state !== State.LISTENING) return -E.INVAL;
    const socket = this.#accepted.shift();
    if (socket === undefined) return -E.AGAIN;
    if (this.#offers.length > 0) this.#takeOffers();
    socket.flags |= flags;
    return socket;
  }
  #stopListening(): void {
    this.#network.unlisten(this);
    const accepted = this.#accepted;
    const offers = this.#offers;
    this.#accepted = [];
    this.#offers = [];
    for (const socket of accepted) {
      socket.#end(true);
      this.#network.streams.delete(socket);
    }
    // Those that waited for room inside the cVM find the listener gone; the monitor refuses its own.
    for (const offer of offers) refusals.get(offer)?.();
  }

  // ------------------------------------------------------------------ connecting

  /** -EISCONN, -EALREADY, -EINVAL, -EAFNOSUPPORT, -ENETUNREACH, -EADDRNOTAVAIL, -EINPROGRESS; the error of an earlier attempt. */
  connect(address: Uint8Array): number {
    if (familyOf(address) === AF.UNSPEC) return this.#disconnect();
    const to = parseInet(address, this.domain);
    if (typeof to === "number") return to;
    switch (this.#state) {
      case State.CONNECTING:
        return -E.ALREADY;
      case State.CONNECTED:
        if (!this.#unseen) return -E.ISCONN;
        this.#unseen = false;
        return 0;
      case State.LISTENING:
        return -E.ISCONN;
      case State.DEAD:
        if (this.#unseen) {
          this.#unseen = false;
          const error = this.takeError();
          this.#state = State.FRESH;
          return error === 0 ? -E.CONNABORTED : error;
        }
        this.#state = State.FRESH;
        break;
      default:
    }
    const network = this.#network;
    if (to.address === BROADCAST || isMulticast(to.address) || !network.reaches(to.address)) return -E.NETUNREACH;
    if (isLoopback(this.localHost) && !network.isLocal(to.address)) return -E.INVAL;
    // What is bound to an address of one family does not reach the other.
    const crosses = isSix(to.address) ? !isSix(this.localHost) : this.onlySix;
    if (crosses || (isSix(this.localHost) && !isAny(this.localHost) && !isSix(to.address))) return -E.NETUNREACH;
    if (!this.#holdsPort) {
      const held = this.#hold(anyOf(this.domain), 0);
      if (held < 0) return -E.ADDRNOTAVAIL;
    }
    const target = isAny(to.address) ? network.sourceFor(to.address) : to.address;
    if (isAny(this.localHost)) this.localHost = network.sourceFor(target);
    this.#remoteHost = target;
    this.#remotePort = to.port;
    this.#ended = this.#readShut = this.#writeShut = false;
    this.error = 0;
    this.#state = State.CONNECTING;
    this.#unseen = true;
    if (to.port === 0) this.#fail(E.CONNREFUSED);
    else if (network.isLocal(target)) this.#connectInside(target, to.port);
    else {
      this.joinStream(network.allocate());
      network.host.connect(this.#stream, { address: formatAddress(target), port: to.port }, this.localPort);
    }
    return -E.INPROGRESS;
  }
  #connectInside(target: Address, port: number): void {
    const listener = this.#network.listenerAt(target, port);
    if (listener === undefined) {
      this.#fail(E.CONNREFUSED);
      return;
    }
    const offer: Offer = () => {
      const server = TcpSocket.accepted(listener, target, this.localHost, this.localPort);
      refusals.delete(offer);
      if (this.#offered !== offer) {
        // Closed or disconnected while it waited: the server gets a connection that is over.
        server.#ended = true;
        return server;
      }
      this.#offered = null;
      server.#peer = this;
      this.#peer = server;
      this.#state = State.CONNECTED;
      this.waiters.notify();
      return server;
    };
    this.#offered = offer;
    refusals.set(offer, () => this.#offered === offer && this.#fail(E.CONNREFUSED));
    listener.offer(offer);
  }
  #fail(error: number): void {
    this.#offered = null;
    this.error = error;
    this.#state = State.DEAD;
    this.waiters.notify();
  }
  override connectOutcome(): number {
    if (this.#state === State.CONNECTING) return -E.AGAIN;
    this.#unseen = false;
    if (this.#state === State.CONNECTED) return 0;
    const error = this.takeError();
    if (this.#state === State.DEAD) this.#state = State.FRESH;
    return error === 0 ? -E.CONNABORTED : error;
  }
  /** connect with AF_UNSPEC. */
  #disconnect(): number {
    if (this.#state === State.LISTENING) this.#stopListening();
    else this.#end(true);
    this.#state = State.FRESH;
    this.#unseen = false;
    this.error = 0;
    this.waiters.notify();
    return 0;
  }

  // ------------------------------------------------------------------ events of the monitor

  /** Makes this the socket of a stream. */
  joinStream(stream: number): void {
    this.#stream = stream;
    this.#credit = WINDOW;
    this.#consumed = 0;
    this.#network.attach(stream, this);
  }
  connected(error: number, local: Address, localPort: number): void {
    if (this.#state !== State.CONNECTING) return;
    if (error !== 0) {
      this.#network.detach(this.#stream);
      this.#stream = 0;
      this.#fail(Math.abs(error));
      return;
    }
    this.localHost = local;
    // The port stays the one that the socket holds, unless the monitor gave another.
    if (localPort !== 0 && localPort !== this.localPort) {
      if (this.#holdsPort) this.#network.tcp.remove(this.localPort, this);
      this.localPort = localPort;
      this.#network.tcp.add(localPort, this);
      this.#holdsPort = true;
    }
    this.#state = State.CONNECTED;
    this.waiters.notify();
  }
  received(bytes: Uint8Array): void {
    this.#queue.pushOwn(bytes);
    this.waiters.notify(Change.IN);
  }
  lent(bytes: Uint8Array, all: boolean): number {
    const taken = this.#queue.length > 0 || this.#readShut ? 0 : this.#lent.offer(bytes, this.waiters);
    if (!all) return taken;
    // What went straight to a reader came through the window as well.
    if (taken > 0) this.#took(taken);
    if (taken < bytes.length) {
      this.#queue.pushCopy(bytes.subarray(taken));
      this.waiters.notify(Change.IN);
    }
    return bytes.length;
  }
  credited(bytes: number): void {
    const before = this.#credit;
    this.#credit = before + bytes;
    if (bytes === 0) this.#outgoing.wanted();
    if (before < WRITABLE || bytes === 0) this.waiters.notify(Change.OUT);
  }
  peerEnded(): void {
    this.#ended = true;
    this.waiters.notify();
  }
  peerReset(error: number): void {
    this.#detach();
    this.#broken(Math.abs(error));
  }
  /** Both directions are gone. What arrived before can still be read. */
  #broken(error: number): void {
    if (this.#state === State.CONNECTING) return this.#fail(error === E.CONNRESET ? E.CONNREFUSED : error);
    this.error = error;
    this.#ended = true;
    this.#writeShut = true;
    this.waiters.notify();
  }
  #detach(): void {
    if (this.#stream === 0) return;
    this.#network.detach(this.#stream);
    this.#stream = 0;
  }

  // ------------------------------------------------------------------ data

  available(): number {
    this.#want();
    return this.#queue.length;
  }
  override poll(): number {
    const state = this.#state;
    if (state === State.LISTENING) return this.#accepted.length > 0 ? Poll.IN : 0;
    if (state === State.CONNECTING) return 0;
    let events = this.error === 0 ? 0 : Poll.ERR;
    if (state === State.FRESH) return events | Poll.OUT | Poll.HUP;
    if (state === State.DEAD) return events | Poll.OUT | Poll.HUP | Poll.IN | Poll.RDHUP;
    if (this.#ended || this.#readShut) {
      events |= Poll.IN | Poll.RDHUP;
      if (this.#writeShut) events |= Poll.HUP;
    } else if (this.#queue.length > 0) {
      if (this.#enough()) events |= Poll.IN;
      else this.#want();
    }
    if (this.#writeShut || this.#room() >= WRITABLE) events |= Poll.OUT;
    return events;
  }
  /** SO_RCVLOWAT. */
  #enough(): boolean {
    return this.#queue.length >= Math.min(this.options.get(SOL.SOCKET, SO.RCVLOWAT), WINDOW / 2);
  }
  /** Bytes that may be sent now. */
  #room(): number {
    if (this.#stream !== 0) return this.#credit;
    return this.#peer === null ? WINDOW : WINDOW - this.#peer.#queue.length;
  }

  override read(max: number, _offset: number | null, context?: CallContext): Uint8Array | number {
    const queue = this.#queue;
    if (max === 0) return EMPTY;
    if (queue.length === 0) return this.#lent.length > 0 ? this.#lent.take(max, context) : this.#nothing();
    const bytes = queue.take(max);
    this.#took(bytes.length);
    if (queue.length === 0) this.#want();
    return bytes;
  }
  /** What a read gives when no bytes are there. */
  #nothing(): Uint8Array | number {
    // After the peer's end a failed write does not change that reads find it.
    if (this.error !== 0 && !(this.#ended && this.error === E.PIPE)) return this.takeError();
    if (this.#state === State.CONNECTED) {
      if (this.#ended || this.#readShut) return EMPTY;
      this.#want();
      return -E.AGAIN;
    }
    return this.#state === State.CONNECTING ? -E.AGAIN : -E.NOTCONN;
  }
  #want(): void {
    if (this.#stream !== 0) this.#network.host.want?.(this.#stream);
  }
  #took(count: number): void {
    if (this.#stream !== 0) {
      this.#consumed += count;
      if (this.#consumed >= CREDIT_STEP && !this.#ended) {
        this.#network.host.credit(this.#stream, this.#consumed);
        this.#consumed = 0;
      }
      return;
    }
    const peer = this.#peer;
    if (peer === null) return;
    const room = WINDOW - this.#queue.length;
    if (room >= WRITABLE && room - count < WRITABLE) peer.waiters.notify(Change.OUT);
  }

  override write(bytes: Uint8Array, _offset: number | null, context: CallContext): number {
    return this.#send(bytes, 0, context);
  }
  #send(bytes: Uint8Array, flags: number, context: CallContext): number {
    if (this.#state !== State.CONNECTED || this.#writeShut || this.error !== 0)
      return this.#cannotSend((flags & MSG.NOSIGNAL) !== 0, context);
    const { length } = bytes;
    if (length === 0) return 0;
    if (this.#stream !== 0) return this.#sendOut(bytes, (this.flags & O.NONBLOCK) === 0 && (flags & MSG.DONTWAIT) === 0);
    const room = this.#room();
    if (room <= 0) return -E.AGAIN;
    const part = length <= room ? bytes : bytes.subarray(0, room);
    const peer = this.#peer;
    if (peer === null) {
      // The peer has closed: as with a reset that the first such write provokes.
      this.error = E.PIPE;
      this.#writeShut = true;
      this.waiters.notify();
      return length;
    }
    if (!peer.#readShut) {
      peer.#queue.pushCopy(part);
      peer.waiters.notify(Change.IN);
    }
    return part.length;
  }
  #sendOut(bytes: Uint8Array, waits: boolean): number {
    const { direct, part } = this.#outgoing.split(this.#network.host, this.#stream, bytes, this.#credit, waits);
    if (part > 0) {
      this.#credit -= part;
      this.#network.host.send(this.#stream, part === bytes.length ? bytes : bytes.subarray(direct, direct + part));
    }
    return direct + part === 0 ? -E.AGAIN : direct + part;
  }
  #cannotSend(noSignal: boolean, context: CallContext): number {
    if (this.error !== 0 && this.error !== E.PIPE) return this.takeError();
    if (this.#state === State.CONNECTING) return -E.AGAIN;
    this.error = 0;
    return this.brokenPipe(noSignal, context);
  }

  send(data: Uint8Array, _name: Uint8Array | null, _ancillary: Ancillary | null, flags: number, context: CallContext): number {
    if ((flags & MSG.OOB) !== 0) return -E.OPNOTSUPP;
    return this.#send(data, flags, context);
  }
  receive(max: number, flags: number, context?: CallContext): Received | number {
    // Urgent data is not there (tcp(7): -EINVAL).
    if ((flags & MSG.OOB) !== 0) return -E.INVAL;
    if ((flags & MSG.ERRQUEUE) !== 0) return -E.AGAIN;
    const peek = (flags & MSG.PEEK) !== 0;
    const bytes =
      !peek || this.#queue.length + this.#lent.length === 0
        ? this.read(max, null, context)
        : this.#queue.length > 0
          ? this.#queue.peek(max)
          : this.#lent.peek(max).slice();
    if (typeof bytes === "number") return bytes;
    if (peek && bytes.length < max) this.#want();
    return { bytes, length: bytes.length, name: null, flags: 0, ancillary: null };
  }

  // ------------------------------------------------------------------ ends

  /** -ENOTCONN, -EINVAL (`how`). */
  shutdown(how: number): number {
    if (how < SHUT.RD || how > SHUT.RDWR) return -E.INVAL;
    if (this.#state === State.LISTENING) {
      if (how === SHUT.WR) return 0;
      this.#stopListening();
      this.#releasePort();
      this.#state = State.FRESH;
      this.waiters.notify();
      return 0;
    }
    if (this.#state === State.CONNECTING) {
      this.#abandon();
      this.#fail(E.CONNRESET);
      return 0;
    }
    if (!this.#isOpen) return -E.NOTCONN;
    if (how !== SHUT.WR) this.#readShut = true;
    if (how !== SHUT.RD && !this.#writeShut) {
      this.#writeShut = true;
      if (this.#stream !== 0) this.#network.host.shutdown(this.#stream);
      else this.#peer?.peerEnded();
    }
    this.waiters.notify();
    return 0;
  }
  /** Gives up a connection that is being made. */
  #abandon(): void {
    this.#offered = null;
    if (this.#stream === 0) return;
    this.#network.host.close(this.#stream, true);
    this.#detach();
  }
  /** Ends a connection; unread data or `reset` makes it a reset. */
  #end(reset: boolean): void {
    if (this.#state === State.CONNECTING) this.#abandon();
    const hard = reset || this.#queue.length > 0 || this.linger === 0;
    if (this.#stream !== 0) {
      this.#network.host.close(this.#stream, hard);
      this.#detach();
    }
    const peer = this.#peer;
    this.#peer = null;
    if (peer !== null) {
      peer.#peer = null;
      if (hard) peer.#broken(E.CONNRESET);
      else peer.peerEnded();
    }
    this.#queue.clear();
    this.#ended = this.#writeShut = true;
  }
  #releasePort(): void {
    if (!this.#holdsPort) return;
    this.#network.tcp.remove(this.localPort, this);
    this.#holdsPort = false;
  }
  override close(): void {
    if (this.#state === State.LISTENING) this.#stopListening();
    else this.#end(false);
    this.#releasePort();
    this.#network.streams.delete(this);
    this.#state = State.DEAD;
    this.waiters.notify();
  }

  protected override tcpInfo(): Uint8Array {
    const info = super.tcpInfo();
    info[0] = this.#tcpState;
    return info;
  }
  /** TCP_ESTABLISHED 1, TCP_SYN_SENT 2, TCP_FIN_WAIT2 5, TCP_CLOSE 7, TCP_CLOSE_WAIT 8, TCP_LISTEN 10. */
  get #tcpState(): number {
    const open = this.#ended ? (this.#writeShut ? 7 : 8) : this.#writeShut ? 5 : 1;
    return [7, 10, 2, open, 7][this.#state]!;
  }
  row(): SocketRow {
    const remote = this.#state === State.CONNECTING || this.#state === State.CONNECTED;
    return {
      domain: this.domain,
      local: [this.localHost, this.localPort],
      remote: remote ? [this.#remoteHost, this.#remotePort] : [anyOf(this.domain), 0],
      state: this.#tcpState,
      received: this.#state === State.LISTENING ? this.waiting : this.#queue.length,
      inode: this.number,
    };
  }
}

/** What happens to an offer from inside the cVM when its listener goes away. */
const refusals: WeakMap<Offer, () => void> = new WeakMap();
