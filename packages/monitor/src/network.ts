import type { Endpoint, LibraryOs, StreamId } from "./abi.ts";
import { IPV6_PREFIX, Limits } from "./abi.ts";
import { isAddress, isBytes, isHandle, isInteger } from "./check.ts";
import type { CpObject } from "./cp/objects.ts";
import { Errno, MonitorError } from "./errors.ts";
import type { StreamEvents } from "./stream.ts";
import { Stream } from "./stream.ts";

/** Addresses of the virtual network: 10.88.0.0/16. The host itself is .0.1; .0.0 belongs to nobody. */
const PREFIX = "10.88.";
export const HOST_ADDRESS = "10.88.0.1";
const EPHEMERAL_FIRST = 32768;
const EPHEMERAL_LAST = 60999;

/** Somebody lends to somebody who lends. */
const EVERYBODY = 0;

/** A connection that waits for its listener. */
export interface Incoming {
  readonly from: Endpoint;
  /** Takes it; null when the other side has gone, or it was answered before. */
  accept(events: StreamEvents): Stream | null;
  refuse(errno: number): void;
}

/** The IPv6 address of who has an IPv4 address in the virtual network. */
export function sixOf(address: string): string {
  const [a, b, c, d] = address.split(".").map(Number) as [number, number, number, number];
  return `${IPV6_PREFIX}${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
}

/** What a network node tells its cVM. */
export type NodeEvents = Pick<LibraryOs, "incoming" | "connected" | "received" | "credited" | "ended" | "reset"> & {
  /** Undefined as long as its library OS takes nothing at once. */
  readonly lent?: LibraryOs["lent"] | undefined;
};

/** Connects to addresses that no cVM has; `incoming.from` says which cVM asks. It answers through `incoming`, now or later. */
export type Uplink = (to: Endpoint, incoming: Incoming) => void;

/** What a listener is found by: a port of its node, or an object with a name. */
export type ListenerKey = number | CpObject;

interface Listener {
  readonly id: StreamId;
  readonly key: ListenerKey;
  readonly backlog: number;
  /** Not yet accepted. */
  readonly waiting: Set<Incoming>;
}

export interface NetworkOptions {
  /** Runs a delivery later, in order, never inside another call. */
  readonly post: (deliver: () => void) => void;
  /** None: addresses that no cVM has are unreachable. */
  readonly uplink?: Uplink | undefined;
  /** Whether the cVM with one address may connect to the one with the other, and sees its name; all may unless given. */
  readonly permits?: ((from: string, to: string) => boolean) | undefined;
  /** More names that the cVM with one address has for the one with the other, which may reach it. */
  readonly aliases?: ((viewer: string, of: string) => readonly string[]) | undefined;
}

/** Addresses, names and listeners of one host. Bytes go from one owner to the other by {@link Stream}. */
export class VirtualNetwork {
  /** Each by both of its addresses. */
  readonly #nodes: Map<string, NetworkNode> = new Map();
  readonly #options: NetworkOptions;
  /** See {@link NetworkOptions.post}. */
  readonly post: (deliver: () => void) => void;
  /** Whose bytes are lent at this moment. */
  lender: NetworkNode | typeof EVERYBODY | null = null;
  #next: number = 2;

  constructor(options: NetworkOptions) {
    this.#options = options;
    this.post = options.post;
  }

  /**
   * Adds a node. Without an address it gets the next free one.
   * @throws MonitorError `invalid` for an address outside of 10.88.0.0/16 or the host's own, `exists`, `exhausted`
   */
  attach(name: string, address: string | undefined, events: NodeEvents): NetworkNode {
    const reserved = [HOST_ADDRESS, "10.88.0.0", "10.88.255.255"];
    if (address !== undefined && (!isAddress(address) || !address.startsWith(PREFIX) || reserved.includes(address))) {
      throw new MonitorError("invalid", `${address} is not an address for a cVM: those are 10.88.0.2 … 10.88.255.254`);
    }
    if (address !== undefined && this.#nodes.has(address)) throw new MonitorError("exists", `the address ${address} is in use`);
    for (const node of this.#nodes.values()) if (node.name === name) throw new MonitorError("exists", `the name "${name}" is in use`);
    const node = new NetworkNode(this, name, address ?? this.#freeAddress(), events);
    this.#nodes.set(node.address, node);
    this.#nodes.set(node.six, node);
    return node;
  }

  detach(node: NetworkNode): void {
    if (this.#nodes.get(node.address) !== node) return;
    this.#nodes.delete(node.address);
    this.#nodes.delete(node.six);
    node.closeAll();
  }

  /** What a node may see. */
  names(viewer: NetworkNode): { readonly name: string; readonly address: string }[] {
    const seen = [...this.#nodes].filter(([key, node]) => key === node.address && this.#permits(viewer, node));
    return seen.flatMap(([address, { name }]) =>
      [...new Set([name, ...(this.#options.aliases?.(viewer.address, address) ?? [])])].map((one) => ({ name: one, address })),
    );
  }

  #permits(from: NetworkNode | undefined, to: NetworkNode): boolean {
    return from === undefined || from === to || this.#options.permits?.(from.address, to.address) !== false;
  }

  /** Connects from outside of all cVMs, for a published port. Outcome and data come by `events`, not before this returns. */
  connectFromHost(address: string, port: number, events: StreamEvents, fromPort: number = 0): Stream {
    return this.open({ address: HOST_ADDRESS, port: fromPort }, { address, port }, events);
  }

  /** Starts a connection: EHOSTUNREACH without a node that may be reached, ECONNREFUSED without a listener or with its backlog full. */
  open(from: Endpoint, to: Endpoint, events: StreamEvents): Stream {
    const stream = new Stream(events, from, this.post);
    const incoming = stream.offer();
    const node = this.#nodes.get(to.address);
    const { uplink } = this.#options;
    if (node !== undefined && this.#permits(this.#nodes.get(from.address), node)) node.offer(to.port, incoming);
    else if (node !== undefined || uplink === undefined) incoming.refuse(Errno.EHOSTUNREACH);
    else uplink(to, incoming);
    return stream;
  }

  #freeAddress(): string {
    for (let tries = 0; tries < 65533; tries++) {
      const number = this.#next;
      this.#next = number === 65534 ? 2 : number + 1;
      const address = `${PREFIX}${number >> 8}.${number & 255}`;
      if (!this.#nodes.has(address)) return address;
    }
    throw new MonitorError("exhausted", "no address is free");
  }
}

/**
 * One cVM in the network: its listeners and streams by the numbers that its library OS chose. Every argument is checked; a
 * method that returns false (or a negative errno) did nothing.
 */
export class NetworkNode {
  readonly name: string;
  readonly address: string;
  readonly six: string;
  readonly #network: VirtualNetwork;
  readonly #events: NodeEvents;
  readonly #listeners: Map<StreamId, Listener> = new Map();
  readonly #byKey: Map<ListenerKey, Listener> = new Map();
  readonly #streams: Map<StreamId, Stream> = new Map();
  /** Local ports of connections that started here. */
  readonly #ports: Set<number> = new Set();
  #nextPort: number = EPHEMERAL_FIRST;

  constructor(network: VirtualNetwork, name: string, address: string, events: NodeEvents) {
    this.#network = network;
    this.name = name;
    this.address = address;
    this.six = sixOf(address);
    this.#events = events;
  }

  get streams(): number {
    return this.#streams.size;
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  listen(id: unknown, port: unknown, backlog: unknown): number {
    return isInteger(port, 1, 65535) ? this.listenAt(port, id, backlog) : -Errno.EINVAL;
  }

  /** The same for a key that the monitor chose. */
  listenAt(key: ListenerKey, id: unknown, backlog: unknown): number {
    if (!this.#isFree(id) || !isInteger(backlog, 0, 0x7fff_ffff)) return -Errno.EINVAL;
    if (this.#byKey.has(key)) return -Errno.EADDRINUSE;
    if (this.#full()) return -Errno.ENOBUFS;
    const listener: Listener = { id, key, backlog: Math.min(Math.max(backlog, 1), 4096), waiting: new Set() };
    this.#listeners.set(id, listener);
    this.#byKey.set(key, listener);
    return 0;
  }

  /** Whether somebody accepts what {@link connectTo} brings for the key. */
  accepts(key: ListenerKey): boolean {
    return this.#byKey.has(key);
  }

  /** Connects to whoever accepts at a node under a key; null when the number is taken or there are too many. */
  connectTo(node: NetworkNode, key: ListenerKey, id: unknown, gone: (stream: Stream) => void): Stream | null {
    if (!this.#isFree(id) || this.#full()) return null;
    const events = this.#eventsOf(id, 0);
    const stream: Stream = new Stream(
      {
        ...events,
        gone: () => {
          events.gone!();
          gone(stream);
        },
      },
      { address: this.address, port: 0 },
      this.#network.post,
    );
    this.#streams.set(id, stream);
    node.offer(key, stream.offer());
    return stream;
  }

  /** A connection arrives. */
  offer(key: ListenerKey, incoming: Incoming): void {
    const listener = this.#byKey.get(key);
    if (listener === undefined || listener.waiting.size >= listener.backlog) {
      incoming.refuse(Errno.ECONNREFUSED);
      return;
    }
    listener.waiting.add(incoming);
    this.#network.post(() => {
      if (!listener.waiting.has(incoming)) return;
      this.#events.incoming(listener.id, incoming.from, (id) => {
        if (!listener.waiting.delete(incoming)) return;
        if (!this.#isFree(id) || this.#full()) return incoming.refuse(Errno.ECONNREFUSED);
        const stream = incoming.accept(this.#eventsOf(id, 0));
        if (stream !== null) this.#streams.set(id, stream);
        else this.#network.post(() => this.#events.reset(id, Errno.ECONNRESET));
      });
    });
  }

  connect(id: unknown, to: unknown, fromPort: unknown): boolean {
    if (!this.#isFree(id) || typeof to !== "object" || to === null) return false;
    const { address, port } = to as Partial<Endpoint>;
    if (!isAddress(address) || !isInteger(port, 1, 65535) || !isInteger(fromPort, 0, 65535)) return false;
    const local = fromPort === 0 ? this.#freePort() : fromPort;
    if (this.#full() || local === 0 || this.#ports.has(local)) {
      const error = local !== 0 && this.#ports.has(local) ? Errno.EADDRINUSE : Errno.ENOBUFS;
      this.#network.post(() => this.#events.connected(id, error, { address: this.address, port: local }));
      return true;
    }
    // 127.0.0.0/8 is the cVM itself, and so is 0.0.0.0.
    const own = address.startsWith("127.") || address === "0.0.0.0";
    const source = address.includes(":") ? this.six : this.address;
    const from = { address: own && address !== "0.0.0.0" ? address : source, port: local };
    this.#ports.add(local);
    const stream = this.#network.open(from, { address: own ? this.address : address, port }, this.#eventsOf(id, local));
    if (!stream.closed) this.#streams.set(id, stream);
    return true;
  }

  /** `own` gives bytes that may be kept. */
  send(id: unknown, bytes: unknown, own?: (bytes: Uint8Array) => Uint8Array): boolean {
    const stream = this.#streams.get(id as StreamId);
    return stream !== undefined && isBytes(bytes) && this.#lending(() => stream.send(bytes, own));
  }

  /** How many of `bytes`, which stay the caller's, readers at the other end take at once. */
  lend(id: unknown, bytes: Uint8Array): number {
    return this.#lending(() => this.#streams.get(id as StreamId)?.lend(bytes) ?? 0);
  }

  want(id: unknown): void {
    this.#streams.get(id as StreamId)?.want();
  }

  /** Nothing is delivered at once inside such a delivery, nor from a node to itself. */
  #lending<T>(act: () => T): T {
    const network = this.#network;
    const before = network.lender;
    network.lender = before === null ? this : EVERYBODY;
    try {
      return act();
    } finally {
      network.lender = before;
    }
  }

  credit(id: unknown, bytes: unknown): boolean {
    const stream = this.#streams.get(id as StreamId);
    return stream !== undefined && stream.credit(bytes as number);
  }

  shutdown(id: unknown): boolean {
    const stream = this.#streams.get(id as StreamId);
    stream?.shutdown();
    return stream !== undefined;
  }

  close(id: unknown, reset: unknown): boolean {
    const listener = this.#listeners.get(id as StreamId);
    if (listener !== undefined) {
      this.#listeners.delete(listener.id);
      this.#byKey.delete(listener.key);
      for (const incoming of listener.waiting) incoming.refuse(Errno.ECONNREFUSED);
      listener.waiting.clear();
      return true;
    }
    const stream = this.#streams.get(id as StreamId);
    stream?.close(reset === true);
    return stream !== undefined;
  }

  closeAll(): void {
    for (const id of [...this.#listeners.keys(), ...this.#streams.keys()]) this.close(id, true);
  }

  #eventsOf(id: StreamId, localPort: number): StreamEvents {
    const events = this.#events;
    const lent = (bytes: Uint8Array, all: boolean): number => {
      const { lender } = this.#network;
      return lender === this || lender === EVERYBODY ? 0 : (events.lent?.(id, bytes, all) ?? 0);
    };
    return {
      connected: (error, local) => events.connected(id, error, local),
      received: (bytes) => events.received(id, bytes),
      get lent() {
        return events.lent === undefined ? undefined : lent;
      },
      credited: (bytes) => events.credited(id, bytes),
      ended: () => events.ended(id),
      reset: (error) => events.reset(id, error),
      gone: () => {
        this.#streams.delete(id);
        this.#ports.delete(localPort);
      },
    };
  }

  #isFree(id: unknown): id is StreamId {
    return isHandle(id) && !this.#streams.has(id) && !this.#listeners.has(id);
  }

  #full(): boolean {
    return this.#streams.size + this.#listeners.size >= Limits.streams;
  }

  #freePort(): number {
    for (let tries = EPHEMERAL_FIRST; tries <= EPHEMERAL_LAST; tries++) {
      const port = this.#nextPort;
      this.#nextPort = port === EPHEMERAL_LAST ? EPHEMERAL_FIRST : port + 1;
      if (!this.#ports.has(port) && !this.#byKey.has(port)) return port;
    }
    return 0;
  }
}
