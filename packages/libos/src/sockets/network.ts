/**
 * The network of one cVM: which ports are bound, connections inside the cVM, and the streams of the monitor that lead out of it.
 */
import type { Awaitable, HostCalls, LibosOptions } from "@cvm/monitor/abi";
import type { CpObjectsSeen } from "../files/cp.ts";
import { whenReady } from "../kernel/ready.ts";
import type { Network } from "../kernel/types.ts";
import {
  accepts,
  ANY,
  type Address,
  isAny,
  isLoopback,
  isSix,
  LOOPBACK,
  LOOPBACK6,
  overlap,
  parseAddress,
  parseDotted,
  sixOf,
} from "./address.ts";
import { EPHEMERAL, SO } from "./constants.ts";
import type { CpListener } from "./cp-stream.ts";
import type { SocketRow } from "./proc-net.ts";
import { RelayLink } from "./relay-link.ts";
import type { SocketFile } from "./socket.ts";
import { TcpSocket } from "./tcp.ts";
import { receiverAt, type UdpSocket } from "./udp.ts";
import { UnixSocket } from "./unix.ts";
import { UnixNames } from "./unix-names.ts";

/** A socket that holds a port. */
export interface PortHolder extends SocketFile {
  readonly localHost: Address;
  readonly localPort: number;
}

/** Which sockets hold which port of one protocol. */
export class PortTable<T extends PortHolder> {
  readonly #holders: Map<number, T[]> = new Map();
  #next: number = EPHEMERAL.first;

  all(): readonly T[] {
    return [...this.#holders.values()].flat();
  }
  at(port: number): readonly T[] {
    return this.#holders.get(port) ?? [];
  }
  /** Whether a socket may have this address beside those that are there. */
  free(address: Address, port: number, socket: T): boolean {
    for (const other of this.at(port)) {
      if (!overlap(address, socket.onlySix, other.localHost, other.onlySix)) continue;
      if (socket.options.on(SO.REUSEPORT) && other.options.on(SO.REUSEPORT)) continue;
      if (socket.options.on(SO.REUSEADDR) && other.options.on(SO.REUSEADDR) && !other.listening) continue;
      return false;
    }
    return true;
  }
  /** A port that nobody holds; 0 when all are taken. */
  ephemeral(): number {
    for (let tries = EPHEMERAL.last - EPHEMERAL.first; tries >= 0; tries--) {
      const port = this.#next;
      this.#next = port === EPHEMERAL.last ? EPHEMERAL.first : port + 1;
      if (!this.#holders.has(port)) return port;
    }
    return 0;
  }
  add(port: number, socket: T): void {
    const holders = this.#holders.get(port);
    if (holders === undefined) this.#holders.set(port, [socket]);
    else holders.push(socket);
  }
  remove(port: number, socket: T): void {
    const left = this.at(port).filter((other) => other !== socket);
    if (left.length === 0) this.#holders.delete(port);
    else this.#holders.set(port, left);
  }
}

/** A port on which the cVM listens in the virtual network; several sockets share it with SO_REUSEPORT. */
interface Gate {
  readonly stream: number;
  readonly port: number;
  readonly sockets: TcpSocket[];
}

/** What has a stream of the monitor. */
export interface StreamOwner {
  connected(error: number, local: Address, localPort: number): void;
  received(bytes: Uint8Array): void;
  /** How many of these bytes, which are there until this returns, readers that wait have taken; with `all` the rest is kept as a copy. */
  lent?(bytes: Uint8Array, all: boolean): number;
  credited(bytes: number): void;
  peerEnded(): void;
  peerReset(error: number): void;
}

/** The host itself in the virtual network: what comes through published ports comes from here. */
const GATEWAY = 0x0a580001;

export class CvmNetwork implements Network {
  readonly host: HostCalls;
  /** The cVM's own addresses. */
  readonly address: number;
  readonly six: string;
  /** Whether there is nothing but the loopback. */
  readonly isolated: boolean;
  /** Names that were given to this cVM alone. */
  readonly hosts: readonly { readonly name: string; readonly address: string }[];
  readonly relay: RelayLink = new RelayLink(this);
  readonly tcp: PortTable<TcpSocket> = new PortTable();
  readonly udp: PortTable<UdpSocket> = new PortTable();
  readonly udpLite: PortTable<UdpSocket> = new PortTable();
  /** All sockets of TCP that are open. */
  readonly streams: Set<TcpSocket> = new Set();
  readonly unix: UnixNames = new UnixNames();
  /** Objects that cVMs share; null where there are none. */
  readonly cp: CpObjectsSeen | null;
  /** Who listens to CP_Streams. */
  readonly named: Map<number, CpListener> = new Map();
  readonly #streams: Map<number, StreamOwner> = new Map();
  readonly #gates: Map<number, Gate> = new Map();
  #nextStream = 1;

  constructor(host: HostCalls, { address, isolated = false, hosts = [] }: NetworkSetup, cp: CpObjectsSeen | null) {
    this.host = host;
    this.cp = cp;
    if (cp !== null) cp.connect = (name, flags) => UnixSocket.connectedTo(this, name, flags);
    this.address = parseDotted(address);
    this.six = sixOf(this.address);
    this.isolated = isolated;
    this.hosts = hosts;
  }

  /** Whether an address leads to this cVM. */
  isLocal(address: Address): boolean {
    return isAny(address) || isLoopback(address) || (!this.isolated && (address === this.address || address === this.six));
  }
  /** Whether there is a way to an address: not without a network, nor to that network's own address and its broadcast. */
  reaches(address: Address): boolean {
    if (this.isLocal(address)) return true;
    return (
      !this.isolated && !(typeof address === "number" && address >>> 16 === this.address >>> 16 && [0, 0xffff].includes(address & 0xffff))
    );
  }
  /** The address that a socket gets which talks to `to` without having bound one. */
  sourceFor(to: Address): Address {
    if (isSix(to)) return isLoopback(to) || isAny(to) ? LOOPBACK6 : this.six;
    return isLoopback(to) || to === ANY ? LOOPBACK : this.address;
  }
  /** Whether a socket with this address can be reached from outside of the cVM. */
  #isOpen(bound: Address, onlySix: boolean): boolean {
    return !this.isolated && (accepts(bound, onlySix, this.address) || accepts(bound, onlySix, this.six));
  }
  /** A new handle for a stream or listener. */
  allocate(): number {
    return this.#nextStream++;
  }
  attach(stream: number, socket: StreamOwner): void {
    this.#streams.set(stream, socket);
  }
  detach(stream: number): void {
    this.#streams.delete(stream);
  }

  /** Starts to listen for a socket that holds a port: 0 or -EADDRINUSE. */
  listen(socket: TcpSocket, backlog: number): Awaitable<number> {
    if (!this.#isOpen(socket.localHost, socket.onlySix)) return 0;
    for (const gate of this.#gates.values()) {
      if (gate.port !== socket.localPort) continue;
      gate.sockets.push(socket);
      return 0;
    }
    const stream = this.allocate();
    const gate: Gate = { stream, port: socket.localPort, sockets: [socket] };
    this.#gates.set(stream, gate);
    return whenReady(this.host.listen(stream, socket.localPort, backlog), (result) => {
      if (result < 0) this.#gates.delete(stream);
      return result;
    });
  }
  unlisten(socket: TcpSocket): void {
    for (const gate of this.#gates.values()) {
      const index = gate.sockets.indexOf(socket);
      if (index < 0) continue;
      gate.sockets.splice(index, 1);
      if (gate.sockets.length > 0) continue;
      this.#gates.delete(gate.stream);
      this.host.close(gate.stream, false);
    }
  }
  /** Who takes a connection to an address of this cVM. */
  listenerAt(address: Address, port: number): TcpSocket | undefined {
    let found: TcpSocket | undefined;
    for (const socket of this.tcp.at(port)) {
      if (!socket.listening || !accepts(socket.localHost, socket.onlySix, address)) continue;
      // The more exact address first, then the shorter queue.
      if (found === undefined || (isAny(found.localHost) && !isAny(socket.localHost))) found = socket;
      else if (isAny(found.localHost) === isAny(socket.localHost) && socket.waiting < found.waiting) found = socket;
    }
    return found;
  }

  incoming(listener: number, from: { readonly address: string; readonly port: number }, accept: (stream: number) => void): void {
    const named = this.named.get(listener);
    if (named !== undefined) return named.incoming(accept);
    const gate = this.#gates.get(listener);
    if (gate === undefined) return;
    const [target, peer] = this.#arrival(parseAddress(from.address), (to) => this.listenerAt(to, gate.port) !== undefined);
    const chosen = this.listenerAt(target, gate.port);
    if (chosen === undefined) {
      accept(0);
      return;
    }
    chosen.offer(() => {
      const stream = this.allocate();
      const socket = TcpSocket.accepted(chosen, target, peer, from.port);
      socket.joinStream(stream);
      accept(stream);
      return socket;
    });
  }
  /** Where something from outside goes: what comes from the host finds sockets of IPv6 too, and has then the host's address of IPv6. */
  #arrival(from: Address, heard: (to: Address) => boolean): readonly [to: Address, from: Address] {
    if (isSix(from)) return [this.six, from];
    return from === GATEWAY && !heard(this.address) && heard(this.six) ? [this.six, sixOf(GATEWAY)] : [this.address, from];
  }
  /** A datagram from outside: false when nobody has the port. */
  datagram(from: Address, fromPort: number, port: number, bytes: Uint8Array): boolean {
    const receiver = (to: Address, by: Address): UdpSocket | undefined => receiverAt(this.udp, to, port, by, fromPort);
    const [to, by] = this.#arrival(from, (address) => receiver(address, isSix(address) ? sixOf(GATEWAY) : from) !== undefined);
    const socket = receiver(to, by);
    socket?.arrived({ address: by, port: fromPort, to, bytes });
    return socket !== undefined;
  }
  /** What a socket sent met an error. */
  datagramFailed(to: Address, toPort: number, port: number, error: number): void {
    for (const socket of this.udp.at(port)) socket.failed(to, toPort, error);
  }
  /** For /proc/net. */
  streamRows(): readonly SocketRow[] {
    return [...this.streams].filter((socket) => socket.localPort !== 0).map((socket) => socket.row());
  }
  datagramRows(): readonly SocketRow[] {
    return this.udp.all().map((socket) => socket.row());
  }
  /** A datagram socket has an address: from outside it is found through the relay. */
  datagramsAt(bound: Address, onlySix: boolean): void {
    if (this.#isOpen(bound, onlySix)) this.relay.open();
  }
  connected(stream: number, error: number, local: { readonly address: string; readonly port: number }): void {
    this.#streams.get(stream)?.connected(error, error === 0 ? parseAddress(local.address) : ANY, local.port);
  }
  received(stream: number, bytes: Uint8Array): void {
    this.#streams.get(stream)?.received(bytes);
  }
  lent(stream: number, bytes: Uint8Array, all: boolean): number {
    return this.#streams.get(stream)?.lent?.(bytes, all) ?? 0;
  }
  credited(stream: number, bytes: number): void {
    this.#streams.get(stream)?.credited(bytes);
  }
  ended(stream: number): void {
    this.#streams.get(stream)?.peerEnded();
  }
  reset(stream: number, error: number): void {
    this.#streams.get(stream)?.peerReset(error);
  }
}

/** What the network of a cVM is made from. */
export type NetworkSetup = Pick<LibosOptions, "address" | "isolated" | "hosts">;

/** The network of a cVM, to be set as {@link Kernel.network}. */
export function createNetwork(host: HostCalls, setup: NetworkSetup, cp: CpObjectsSeen | null = null): CvmNetwork {
  return new CvmNetwork(host, setup, cp);
}
