/** AF_INET datagram sockets: udp(7). Datagrams go between sockets of the cVM; outside there is none to reach. */
import { Change } from "../events/epoll.ts";
import { E } from "../kernel/errno.ts";
import { Poll, type CallContext } from "../kernel/types.ts";
import { ANY, BROADCAST, familyOf, formatInet, isMulticast, parseInet, type InetAddress } from "./address.ts";
import { AF, IPPROTO, MSG, SHUT, SO, SOCK, SOL } from "./constants.ts";
import { answerNames, DNS_ADDRESS, DNS_PORT } from "./dns.ts";
import type { CvmNetwork } from "./network.ts";
import { EMPTY, SocketFile, type Ancillary, type Received } from "./socket.ts";

/** Most bytes of one datagram. */
const LARGEST = 65507;
/** What a datagram counts for besides its bytes. */
const OVERHEAD = 256;

interface Datagram extends InetAddress {
  readonly bytes: Uint8Array;
}

export class UdpSocket extends SocketFile {
  localHost: number = ANY;
  localPort = 0;
  readonly #network: CvmNetwork;
  #remote: InetAddress | null = null;
  #queue: Datagram[] = [];
  #size = 0;
  #readShut = false;
  #writeShut = false;

  constructor(network: CvmNetwork, flags: number) {
    super(AF.INET, SOCK.DGRAM, IPPROTO.UDP, flags);
    this.#network = network;
  }
  bind(address: Uint8Array): number {
    const wanted = parseInet(address);
    if (typeof wanted === "number") return wanted;
    if (!this.#network.isLocal(wanted.address) && !isMulticast(wanted.address) && wanted.address !== BROADCAST) return -E.ADDRNOTAVAIL;
    return this.#hold(wanted.address, wanted.port);
  }
  #hold(address: number, port: number): number {
    if (this.localPort !== 0) return -E.INVAL;
    const table = this.#network.udp;
    const chosen = port === 0 ? table.ephemeral() : port;
    if (chosen === 0 || (port !== 0 && !table.free(address, port, this))) return -E.ADDRINUSE;
    this.localHost = address;
    this.localPort = chosen;
    table.add(chosen, this);
    return 0;
  }
  localAddress(): Uint8Array {
    return formatInet(this.localHost, this.localPort);
  }
  remoteAddress(): Uint8Array | number {
    return this.#remote === null ? -E.NOTCONN : formatInet(this.#remote.address, this.#remote.port);
  }
  /** Sets where datagrams go and come from. AF_UNSPEC takes that back. */
  connect(address: Uint8Array): number {
    if (familyOf(address) === AF.UNSPEC) {
      this.#remote = null;
      return 0;
    }
    const to = parseInet(address);
    if (typeof to === "number") return to;
    if (to.address === BROADCAST && !this.options.on(SO.BROADCAST)) return -E.ACCES;
    const target = to.address === ANY ? this.#network.sourceFor(ANY) : to.address;
    if (this.localPort === 0) {
      const held = this.#hold(ANY, 0);
      if (held < 0) return -E.AGAIN;
    }
    if (this.localHost === ANY) this.localHost = this.#network.sourceFor(target);
    this.#remote = { address: target, port: to.port };
    return 0;
  }

  available(): number {
    return this.#queue[0]?.bytes.length ?? 0;
  }
  override poll(): number {
    let events = Poll.OUT;
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

  /** -EDESTADDRREQ, -EMSGSIZE, -ENETUNREACH, -EACCES (broadcast), an error that an earlier datagram met. */
  send(data: Uint8Array, name: Uint8Array | null, _ancillary: Ancillary | null, flags: number, context: CallContext): number {
    if (data.length > LARGEST) return -E.MSGSIZE;
    if ((flags & MSG.OOB) !== 0) return -E.OPNOTSUPP;
    let to = this.#remote;
    if (name !== null) {
      const parsed = parseInet(name);
      if (typeof parsed === "number") return parsed;
      if (parsed.port === 0) return -E.INVAL;
      to = parsed;
    }
    if (to === null) return -E.DESTADDRREQ;
    if (this.error !== 0) return this.takeError();
    if (this.#writeShut) return this.brokenPipe((flags & MSG.NOSIGNAL) !== 0, context);
    if (to.address === BROADCAST && !this.options.on(SO.BROADCAST)) return -E.ACCES;
    if (this.localPort === 0) {
      const held = this.#hold(ANY, 0);
      if (held < 0) return -E.AGAIN;
    }
    const network = this.#network;
    const target = to.address === ANY ? network.sourceFor(ANY) : to.address;
    if (!network.isLocal(target)) return -E.NETUNREACH;
    const from = this.localHost === ANY ? network.sourceFor(target) : this.localHost;
    const receiver = receiverAt(network, target, to.port, from, this.localPort);
    if (receiver !== undefined) receiver.#deliver({ bytes: data.slice(), address: from, port: this.localPort });
    else if (target === DNS_ADDRESS && to.port === DNS_PORT)
      answerNames(network.host, data, (bytes) => this.#deliver({ bytes, address: target, port: DNS_PORT }));
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
  /** Whether a datagram from there is for this socket: a connected one hears its peer only. */
  hears(address: number, port: number): boolean {
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
      name: formatInet(first.address, first.port),
      flags: length > max ? MSG.TRUNC : 0,
      ancillary: null,
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
    if (this.localPort !== 0) this.#network.udp.remove(this.localPort, this);
    this.localPort = 0;
    this.#queue = [];
    this.waiters.notify();
  }
}

/** The socket for a datagram: the most exact one, a connected before others. */
function receiverAt(network: CvmNetwork, address: number, port: number, from: number, fromPort: number): UdpSocket | undefined {
  let found: UdpSocket | undefined;
  let best = -1;
  for (const socket of network.udp.at(port)) {
    if ((socket.localHost !== ANY && socket.localHost !== address) || !socket.hears(from, fromPort)) continue;
    const score = (socket.isConnected ? 2 : 0) + (socket.localHost === ANY ? 0 : 1);
    if (score > best) {
      found = socket;
      best = score;
    }
  }
  return found;
}
