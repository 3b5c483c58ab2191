/** AF_INET and AF_INET6 datagram sockets: udp(7), udplite(7). Outside of the cVM datagrams go by the relay. */
import { Change } from "../events/epoll.ts";
import { E } from "../kernel/errno.ts";
import { Poll, type CallContext } from "../kernel/types.ts";
import {
  accepts,
  anyOf,
  BROADCAST,
  familyOf,
  formatInet,
  isAny,
  isMulticast,
  isSix,
  parseInet,
  isLoopback,
  putAddress,
  type Address,
  sixBytes,
  type InetAddress,
} from "./address.ts";
import { AF, IP, IPPROTO, IPV6, MSG, SHUT, SO, SOCK, SOL, UDPLITE } from "./constants.ts";
import { answerNames, DNS_ADDRESS, DNS_PORT } from "./dns.ts";
import { DATAGRAM_BYTES, FrameKind } from "./frames.ts";
import type { CvmNetwork, PortTable } from "./network.ts";
import type { SocketRow } from "./proc-net.ts";
import { EMPTY, int32, SocketFile, type Ancillary, type ControlMessage, type Received } from "./socket.ts";

/** What a datagram counts for besides its bytes. */
const OVERHEAD = 256;

interface Datagram extends InetAddress {
  readonly bytes: Uint8Array;
  /** Where it went. */
  readonly to: Address;
  readonly hops: number;
  readonly trafficClass: number;
}

export class UdpSocket extends SocketFile {
  localHost: Address;
  localPort = 0;
  readonly #network: CvmNetwork;
  readonly #table: PortTable<UdpSocket>;
  /** UDPLITE_SEND_CSCOV, UDPLITE_RECV_CSCOV. */
  readonly #coverage: [number, number] = [0, 0];
  #remote: InetAddress | null = null;
  #queue: Datagram[] = [];
  #size = 0;
  /** There was no room for a datagram on its way out. */
  #isStalled = false;
  #readShut = false;
  #writeShut = false;

  constructor(network: CvmNetwork, flags: number, domain: number = AF.INET, protocol: number = IPPROTO.UDP) {
    super(domain, SOCK.DGRAM, protocol, flags);
    this.localHost = anyOf(domain);
    this.#network = network;
    this.#table = protocol === IPPROTO.UDPLITE ? network.udpLite : network.udp;
  }
  bind(address: Uint8Array): number {
    const wanted = parseInet(address, this.domain);
    if (typeof wanted === "number") return wanted;
    if (!this.#network.isLocal(wanted.address) && !isMulticast(wanted.address) && wanted.address !== BROADCAST) return -E.ADDRNOTAVAIL;
    if (this.onlySix && !isSix(wanted.address)) return -E.INVAL;
    return this.#hold(wanted.address, wanted.port);
  }
  #hold(address: Address, port: number): number {
    if (this.localPort !== 0) return -E.INVAL;
    const table = this.#table;
    const chosen = port === 0 ? table.ephemeral() : port;
    if (chosen === 0 || (port !== 0 && !table.free(address, port, this))) return -E.ADDRINUSE;
    this.localHost = address;
    this.localPort = chosen;
    table.add(chosen, this);
    if (this.protocol === IPPROTO.UDP) this.#network.datagramsAt(address, this.onlySix);
    return 0;
  }
  localAddress(): Uint8Array {
    return formatInet(this.localHost, this.localPort, this.domain);
  }
  remoteAddress(): Uint8Array | number {
    return this.#remote === null ? -E.NOTCONN : formatInet(this.#remote.address, this.#remote.port, this.domain);
  }
  /** Sets where datagrams go and come from. AF_UNSPEC takes that back. */
  connect(address: Uint8Array): number {
    if (familyOf(address) === AF.UNSPEC) {
      this.#remote = null;
      return 0;
    }
    const to = this.#parse(address);
    if (typeof to === "number") return to;
    if (to.address === BROADCAST && !this.options.on(SO.BROADCAST)) return -E.ACCES;
    const target = isAny(to.address) ? this.#network.sourceFor(to.address) : to.address;
    if (!this.#reaches(target)) return -E.NETUNREACH;
    if (isLoopback(this.localHost) && !this.#network.isLocal(target)) return -E.INVAL;
    if (this.localPort === 0) {
      const held = this.#hold(anyOf(this.domain), 0);
      if (held < 0) return -E.AGAIN;
    }
    if (isAny(this.localHost)) this.localHost = this.#network.sourceFor(target);
    this.#remote = { address: target, port: to.port };
    return 0;
  }

  /** A socket of IPv6 takes addresses of both families. */
  #parse(address: Uint8Array): InetAddress | number {
    const isFour = this.domain === AF.INET6 && familyOf(address) === AF.INET;
    return isFour && !this.onlySix ? parseInet(address) : parseInet(address, this.domain);
  }
  /** Whether a socket with this address sends to that one. */
  #reaches(target: Address): boolean {
    if (!this.#network.reaches(target)) return false;
    if (isSix(target)) return isSix(this.localHost);
    return !this.onlySix && (!isSix(this.localHost) || isAny(this.localHost));
  }

  override setOption(level: number, name: number, value: Uint8Array): number {
    if (level === SOL.IPV6 && name === IPV6.V6ONLY && this.localPort !== 0) return -E.INVAL;
    if (level !== SOL.UDPLITE || this.protocol !== IPPROTO.UDPLITE) return super.setOption(level, name, value);
    if (value.length < 4) return -E.INVAL;
    if (name !== UDPLITE.SEND_CSCOV && name !== UDPLITE.RECV_CSCOV) return -E.NOPROTOOPT;
    const asked = new DataView(value.buffer, value.byteOffset).getInt32(0, true);
    // 0 means all; less than the header is not to be had.
    this.#coverage[name - UDPLITE.SEND_CSCOV] = asked !== 0 && asked < 8 ? 8 : Math.min(asked, 65535);
    return 0;
  }
  override getOption(level: number, name: number, capacity: number): Uint8Array | number {
    if (level !== SOL.UDPLITE || this.protocol !== IPPROTO.UDPLITE) return super.getOption(level, name, capacity);
    const value = name === UDPLITE.SEND_CSCOV || name === UDPLITE.RECV_CSCOV ? this.#coverage[name - UDPLITE.SEND_CSCOV] : undefined;
    return value === undefined ? -E.NOPROTOOPT : int32(value).subarray(0, capacity);
  }

  available(): number {
    return this.#queue[0]?.bytes.length ?? 0;
  }
  override poll(): number {
    let events = this.#isStalled ? 0 : Poll.OUT;
    if (this.error !== 0) events |= Poll.ERR;
    if (this.#queue.length > 0 || this.#readShut) events |= Poll.IN;
    if (this.#readShut) events |= Poll.RDHUP;
    if (this.#readShut && this.#writeShut) events |= Poll.HUP;
    return events;
  }
  override read(max: number): Uint8Array | number {
    const received = this.receive(max, 0);
    return typeof received === "number" ? received : received.bytes;
  }
  override write(bytes: Uint8Array, _offset: number | null, context: CallContext): number {
    return this.send(bytes, null, null, 0, context);
  }

  /** There may be room for datagrams on their way out. */
  resume(): void {
    this.#isStalled = false;
    this.waiters.notify(Change.OUT);
  }
  /** Hands a datagram to the relay. */
  #sendOut(target: Address, port: number, data: Uint8Array): number {
    if (isLoopback(this.localHost)) return -E.INVAL;
    // UDP-Lite is not known outside.
    if (this.protocol !== IPPROTO.UDP) return -E.NETUNREACH;
    if (this.#network.relay.send(this, FrameKind.DATA, target, port, this.localPort, data)) return data.length;
    this.#isStalled = true;
    return -E.AGAIN;
  }

  /** -EDESTADDRREQ, -EMSGSIZE, -ENETUNREACH, -EACCES (broadcast), an error that an earlier datagram met. */
  send(data: Uint8Array, name: Uint8Array | null, ancillary: Ancillary | null, flags: number, context: CallContext): number {
    if (data.length > DATAGRAM_BYTES) return -E.MSGSIZE;
    if ((flags & MSG.OOB) !== 0) return -E.OPNOTSUPP;
    let to = this.#remote;
    if (name !== null) {
      const parsed = this.#parse(name);
      if (typeof parsed === "number") return parsed;
      if (parsed.port === 0) return -E.INVAL;
      to = parsed;
    }
    if (to === null) return -E.DESTADDRREQ;
    if (this.error !== 0) return this.takeError();
    if (this.#writeShut) return this.brokenPipe((flags & MSG.NOSIGNAL) !== 0, context);
    if (to.address === BROADCAST && !this.options.on(SO.BROADCAST)) return -E.ACCES;
    if (this.localPort === 0) {
      const held = this.#hold(anyOf(this.domain), 0);
      if (held < 0) return -E.AGAIN;
    }
    const network = this.#network;
    const target = isAny(to.address) ? network.sourceFor(to.address) : to.address;
    if (!this.#reaches(target)) return -E.NETUNREACH;
    if (!network.isLocal(target)) return this.#sendOut(target, to.port, data);
    const from = isAny(this.localHost) ? network.sourceFor(target) : this.localHost;
    const receiver = receiverAt(this.#table, target, to.port, from, this.localPort);
    const six = isSix(target);
    const hops = ancillary?.hops ?? (six ? this.options.get(SOL.IPV6, IPV6.UNICAST_HOPS) : this.options.get(SOL.IP, IP.TTL));
    const trafficClass = ancillary?.trafficClass ?? (six ? this.options.get(SOL.IPV6, IPV6.TCLASS) : this.options.get(SOL.IP, IP.TOS));
    const about = { to: target, hops, trafficClass };
    if (receiver !== undefined) receiver.#deliver({ bytes: data.slice(), address: from, port: this.localPort, ...about });
    else if (this.protocol === IPPROTO.UDP && target === DNS_ADDRESS && to.port === DNS_PORT)
      answerNames(network, data, (bytes) => this.#deliver({ bytes, address: target, port: DNS_PORT, ...about, to: from }));
    else if (this.#remote !== null) {
      // An ICMP message "port unreachable" reaches connected sockets only.
      this.error = E.CONNREFUSED;
      this.waiters.notify();
    }
    return data.length;
  }
  #deliver(datagram: Datagram): void {
    const size = datagram.bytes.length + OVERHEAD;
    if (this.localPort === 0 || this.#readShut || this.#size + size > this.options.get(SOL.SOCKET, SO.RCVBUF)) return;
    this.#size += size;
    this.#queue.push(datagram);
    this.waiters.notify(Change.IN);
  }
  /** A datagram from outside. */
  arrived(datagram: { readonly address: Address; readonly port: number; readonly to: Address; readonly bytes: Uint8Array }): void {
    this.#deliver({ ...datagram, hops: 64, trafficClass: 0 });
  }
  /** A datagram to there met an error, which is told to whom is connected. */
  failed(address: Address, port: number, error: number): void {
    if (this.#remote === null || this.#remote.address !== address || this.#remote.port !== port) return;
    this.error = error;
    this.waiters.notify();
  }
  /** Whether a datagram from there is for this socket: a connected one hears its peer only. */
  hears(address: Address, port: number): boolean {
    return this.#remote === null || (this.#remote.address === address && this.#remote.port === port);
  }
  get isConnected(): boolean {
    return this.#remote !== null;
  }
  receive(max: number, flags: number): Received | number {
    if ((flags & MSG.ERRQUEUE) !== 0) return -E.AGAIN;
    const first = this.#queue[0];
    if (first === undefined) {
      if (this.error !== 0) return this.takeError();
      return this.#readShut ? { bytes: EMPTY, length: 0, name: null, flags: 0, ancillary: null } : -E.AGAIN;
    }
    if ((flags & MSG.PEEK) === 0) {
      this.#queue.shift();
      this.#size -= first.bytes.length + OVERHEAD;
    }
    const { length } = first.bytes;
    return {
      bytes: length > max ? first.bytes.subarray(0, max) : first.bytes,
      length,
      name: formatInet(first.address, first.port, this.domain),
      flags: length > max ? MSG.TRUNC : 0,
      ancillary: null,
      control: this.#control(first),
    };
  }
  /** What the receiver asked to be told of each datagram, in Linux's order. */
  #control({ to, hops, trafficClass }: Datagram): ControlMessage[] {
    const { options } = this;
    const messages: ControlMessage[] = [];
    const index = to === this.#network.address || to === this.#network.six ? 2 : 1;
    if (!isSix(to)) {
      const on = (name: number): boolean => options.get(SOL.IP, name) === 1;
      if (on(IP.PKTINFO)) {
        const bytes = new Uint8Array(12);
        bytes[0] = index;
        putAddress(bytes, 4, to);
        putAddress(bytes, 8, to);
        messages.push({ level: SOL.IP, type: IP.PKTINFO, bytes });
      }
      if (on(IP.RECVTTL)) messages.push({ level: SOL.IP, type: IP.TTL, bytes: int32(hops) });
      if (on(IP.RECVTOS)) messages.push({ level: SOL.IP, type: IP.TOS, bytes: Uint8Array.of(trafficClass) });
    }
    if (this.domain === AF.INET6) {
      const on = (name: number): boolean => options.get(SOL.IPV6, name) === 1;
      if (on(IPV6.RECVPKTINFO)) {
        const bytes = new Uint8Array(20);
        bytes.set(sixBytes(to));
        bytes[16] = index;
        messages.push({ level: SOL.IPV6, type: IPV6.PKTINFO, bytes });
      }
      if (isSix(to) && on(IPV6.RECVHOPLIMIT)) messages.push({ level: SOL.IPV6, type: IPV6.HOPLIMIT, bytes: int32(hops) });
      if (isSix(to) && on(IPV6.RECVTCLASS)) messages.push({ level: SOL.IPV6, type: IPV6.TCLASS, bytes: int32(trafficClass) });
    }
    return messages;
  }
  row(): SocketRow {
    return {
      domain: this.domain,
      local: [this.localHost, this.localPort],
      remote: this.#remote === null ? [anyOf(this.domain), 0] : [this.#remote.address, this.#remote.port],
      // TCP_ESTABLISHED with a peer, TCP_CLOSE without.
      state: this.#remote === null ? 7 : 1,
      received: this.#size,
      inode: this.number,
    };
  }
  shutdown(how: number): number {
    if (how < SHUT.RD || how > SHUT.RDWR) return -E.INVAL;
    if (this.#remote === null) return -E.NOTCONN;
    if (how !== SHUT.WR) this.#readShut = true;
    if (how !== SHUT.RD) this.#writeShut = true;
    this.waiters.notify();
    return 0;
  }
  override close(): void {
    this.#network.relay.forget(this);
    if (this.localPort !== 0) this.#table.remove(this.localPort, this);
    this.localPort = 0;
    this.#queue = [];
    this.waiters.notify();
  }
}

/** The socket for a datagram: the most exact one, a connected before others. */
export function receiverAt(
  table: PortTable<UdpSocket>,
  address: Address,
  port: number,
  from: Address,
  fromPort: number,
): UdpSocket | undefined {
  let found: UdpSocket | undefined;
  let best = -1;
  for (const socket of table.at(port)) {
    if (!accepts(socket.localHost, socket.onlySix, address) || !socket.hears(from, fromPort)) continue;
    const score = (socket.isConnected ? 2 : 0) + (isAny(socket.localHost) ? 0 : 1);
    if (score > best) {
      found = socket;
      best = score;
    }
  }
  return found;
}
