/**
 * The network of one cVM: which ports are bound, connections inside the cVM, and the streams of the monitor that lead out of it.
 */
import type { Awaitable, HostCalls } from "@cvm/monitor/abi";
import { whenReady } from "../kernel/ready.ts";
import type { Network } from "../kernel/types.ts";
import { accepts, ANY, isAny, isLoopback, isSix, LOOPBACK, LOOPBACK6, overlap, parseDotted } from "./address.ts";
import { EPHEMERAL, SO } from "./constants.ts";
import type { SocketFile } from "./socket.ts";
import { TcpSocket } from "./tcp.ts";
import type { UdpSocket } from "./udp.ts";
import { UnixNames } from "./unix-names.ts";

/** A socket that holds a port. */
export interface PortHolder extends SocketFile {
  readonly localHost: number;
  readonly localPort: number;
}

/** Which sockets hold which port of one protocol. */
export class PortTable<T extends PortHolder> {
  readonly #holders: Map<number, T[]> = new Map();
  #next: number = EPHEMERAL.first;

  at(port: number): readonly T[] {
    return this.#holders.get(port) ?? [];
  }
  /** Whether a socket may have this address beside those that are there. */
  free(address: number, port: number, socket: T): boolean {
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

export class CvmNetwork implements Network {
  readonly host: HostCalls;
  /** The cVM's own address. */
  readonly address: number;
  readonly tcp: PortTable<TcpSocket> = new PortTable();
  readonly udp: PortTable<UdpSocket> = new PortTable();
  readonly udpLite: PortTable<UdpSocket> = new PortTable();
  readonly unix: UnixNames = new UnixNames();
  readonly #streams: Map<number, TcpSocket> = new Map();
  readonly #gates: Map<number, Gate> = new Map();
  #nextStream = 1;

  constructor(host: HostCalls, address: string) {
    this.host = host;
    this.address = parseDotted(address);
  }

  /** Whether an address leads to this cVM. */
  isLocal(address: number): boolean {
    return isAny(address) || isLoopback(address) || address === this.address;
  }
  /** The address that a socket gets which talks to `to` without having bound one. */
  sourceFor(to: number): number {
    if (isSix(to)) return LOOPBACK6;
    return isLoopback(to) || to === ANY ? LOOPBACK : this.address;
  }
  /** A new handle for a stream or listener. */
  allocate(): number {
    return this.#nextStream++;
  }
  attach(stream: number, socket: TcpSocket): void {
    this.#streams.set(stream, socket);
  }
  detach(stream: number): void {
    this.#streams.delete(stream);
  }

  /** Starts to listen for a socket that holds a port: 0 or -EADDRINUSE. */
  listen(socket: TcpSocket, backlog: number): Awaitable<number> {
    if (!accepts(socket.localHost, socket.onlySix, this.address)) return 0;
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
  listenerAt(address: number, port: number): TcpSocket | undefined {
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
    const gate = this.#gates.get(listener);
    if (gate === undefined) return;
    let chosen = gate.sockets[0]!;
    for (const socket of gate.sockets) if (socket.waiting < chosen.waiting) chosen = socket;
    chosen.offer(() => {
      const stream = this.allocate();
      const socket = TcpSocket.accepted(chosen, this.address, parseDotted(from.address), from.port);
      socket.joinStream(stream);
      accept(stream);
      return socket;
    });
  }
  connected(stream: number, error: number, local: { readonly address: string; readonly port: number }): void {
    this.#streams.get(stream)?.connected(error, error === 0 ? parseDotted(local.address) : ANY, local.port);
  }
  received(stream: number, bytes: Uint8Array): void {
    this.#streams.get(stream)?.received(bytes);
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

/** The network of a cVM, to be set as {@link Kernel.network}. */
export function createNetwork(host: HostCalls, address: string): CvmNetwork {
  return new CvmNetwork(host, address);
}
