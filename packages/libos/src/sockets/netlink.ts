/** AF_NETLINK, protocol NETLINK_ROUTE: links and addresses, for getifaddrs(3), and routes. rtnetlink(7). */
import { E } from "../kernel/errno.ts";
import { Poll, type CallContext } from "../kernel/types.ts";
import { familyOf, putAddress, sixBytes } from "./address.ts";
import { AF, MSG } from "./constants.ts";
import { interfaces, type Interface } from "./interfaces.ts";
import type { CvmNetwork } from "./network.ts";
import { SocketFile, type Ancillary, type Received } from "./socket.ts";

const SOCKADDR_NL_BYTES = 12;
const HEADER_BYTES = 16;
const Type = { NOOP: 1, ERROR: 2, DONE: 3, NEWLINK: 16, GETLINK: 18, NEWADDR: 20, GETADDR: 22, NEWROUTE: 24, GETROUTE: 26 } as const;
const Flag = { REQUEST: 1, MULTI: 2, ACK: 4, DUMP: 0x300 } as const;
const Link = { ADDRESS: 1, BROADCAST: 2, NAME: 3, MTU: 4, QUEUE: 13, STATE: 16 } as const;
const Address = { ADDRESS: 1, LOCAL: 2, LABEL: 3, BROADCAST: 4, FLAGS: 8 } as const;
const Route = { DESTINATION: 1, INTERFACE: 4, GATEWAY: 5, SOURCE: 7, TABLE: 15 } as const;
const TABLE_MAIN = 254;
const FROM_KERNEL = 2;
const FROM_BOOT = 3;
const SCOPE_UNIVERSE = 0;
const SCOPE_LINK = 253;
const UNICAST = 1;
const PERMANENT = 0x80;
const STATE_UP = 6;
/** Most answers that wait to be read. */
const LONGEST_QUEUE = 64;

const align = (bytes: number): number => (bytes + 3) & ~3;

function attribute(type: number, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(align(4 + value.length));
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 4 + value.length, true);
  view.setUint16(2, type, true);
  bytes.set(value, 4);
  return bytes;
}
function word(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}
function inet(address: number): Uint8Array {
  const bytes = new Uint8Array(4);
  putAddress(bytes, 0, address);
  return bytes;
}
const text = (value: string): Uint8Array => Buffer.from(`${value}\0`);

function linkBody(one: Interface): Uint8Array[] {
  const body = new Uint8Array(16);
  const view = new DataView(body.buffer);
  view.setUint16(2, one.type, true);
  view.setInt32(4, one.index, true);
  view.setUint32(8, one.flags, true);
  return [
    body,
    attribute(Link.NAME, text(one.name)),
    attribute(Link.MTU, word(one.mtu)),
    attribute(Link.QUEUE, word(1000)),
    attribute(Link.STATE, Uint8Array.of(STATE_UP)),
    attribute(Link.ADDRESS, one.hardware),
    attribute(
      Link.BROADCAST,
      one.hardware.map(() => (one.index === 1 ? 0 : 255)),
    ),
  ];
}
function addressBody(one: Interface): Uint8Array[] {
  const body = Uint8Array.of(AF.INET, one.prefix, PERMANENT, one.scope, one.index, 0, 0, 0);
  const parts = [body, attribute(Address.ADDRESS, inet(one.address)), attribute(Address.LOCAL, inet(one.address))];
  if (one.broadcast !== 0) parts.push(attribute(Address.BROADCAST, inet(one.broadcast)));
  parts.push(attribute(Address.LABEL, text(one.name)), attribute(Address.FLAGS, word(PERMANENT)));
  return parts;
}

function sixBody(one: Interface): Uint8Array[] {
  return [
    Uint8Array.of(AF.INET6, one.sixPrefix, PERMANENT, one.scope, one.index, 0, 0, 0),
    attribute(Address.ADDRESS, sixBytes(one.six)),
    attribute(Address.FLAGS, word(PERMANENT)),
  ];
}

/** The routes of an interface with a network: to that network, and by its gateway to everywhere. The gateway has the network's first address. */
function routeBodies(one: Interface, family: number): Uint8Array[][] {
  const isSix = family === AF.INET6;
  const own = isSix ? sixBytes(one.six) : inet(one.address);
  const prefix = isSix ? one.sixPrefix : one.prefix;
  const network = own.slice().fill(0, prefix / 8);
  const gateway = isSix ? own.slice() : network.slice();
  // 10.88.0.1, also behind the prefix of IPv6.
  gateway.set([0, 1], gateway.length - 2);
  const route = (bits: number, protocol: number, scope: number, attributes: Uint8Array[]): Uint8Array[] => [
    Uint8Array.of(family, bits, 0, 0, TABLE_MAIN, protocol, scope, UNICAST, 0, 0, 0, 0),
    attribute(Route.TABLE, word(TABLE_MAIN)),
    ...attributes,
    attribute(Route.INTERFACE, word(one.index)),
  ];
  const direct = [attribute(Route.DESTINATION, network), ...(isSix ? [] : [attribute(Route.SOURCE, own)])];
  return [
    route(0, FROM_BOOT, SCOPE_UNIVERSE, [attribute(Route.GATEWAY, gateway)]),
    route(prefix, FROM_KERNEL, isSix ? SCOPE_UNIVERSE : SCOPE_LINK, direct),
  ];
}

let nextPort = 0;

export class NetlinkSocket extends SocketFile {
  readonly #network: CvmNetwork;
  #port = 0;
  readonly #queue: Uint8Array[] = [];

  constructor(network: CvmNetwork, type: number, flags: number) {
    super(AF.NETLINK, type, 0, flags);
    this.#network = network;
  }
  #address(port: number): Uint8Array {
    const bytes = new Uint8Array(SOCKADDR_NL_BYTES);
    const view = new DataView(bytes.buffer);
    view.setUint16(0, AF.NETLINK, true);
    view.setUint32(4, port, true);
    return bytes;
  }
  #bound(context: CallContext): number {
    // The first of a process has its pid in Linux; glibc takes whatever getsockname says.
    if (this.#port === 0) this.#port = context.process.pid + nextPort++ * 65536;
    return this.#port;
  }
  bind(address: Uint8Array, context: CallContext): number {
    if (address.length < SOCKADDR_NL_BYTES || familyOf(address) !== AF.NETLINK) return -E.INVAL;
    const asked = new DataView(address.buffer, address.byteOffset).getUint32(4, true);
    if (this.#port !== 0 && asked !== this.#port) return -E.INVAL;
    if (asked !== 0) this.#port = asked;
    this.#bound(context);
    return 0;
  }
  /** The kernel is the only peer. */
  connect(address: Uint8Array, context: CallContext): number {
    if (address.length < 2) return -E.INVAL;
    this.#bound(context);
    return 0;
  }
  localAddress(): Uint8Array {
    return this.#address(this.#port);
  }
  remoteAddress(): Uint8Array {
    return this.#address(0);
  }
  shutdown(_how: number): number {
    return -E.OPNOTSUPP;
  }
  available(): number {
    return this.#queue[0]?.length ?? 0;
  }
  override poll(): number {
    return Poll.OUT | (this.#queue.length > 0 ? Poll.IN : 0);
  }
  override read(max: number): Uint8Array | number {
    const received = this.receive(max, 0);
    return typeof received === "number" ? received : received.bytes;
  }
  override write(bytes: Uint8Array, _offset: number | null, context: CallContext): number {
    return this.send(bytes, null, null, 0, context);
  }
  send(data: Uint8Array, _name: Uint8Array | null, _ancillary: Ancillary | null, _flags: number, context: CallContext): number {
    const port = this.#bound(context);
    const view = new DataView(data.buffer, data.byteOffset, data.length);
    for (let at = 0; at + HEADER_BYTES <= data.length;) {
      const length = view.getUint32(at, true);
      if (length < HEADER_BYTES || at + length > data.length) break;
      if (this.#queue.length >= LONGEST_QUEUE) return -E.NOBUFS;
      this.#request(
        data.subarray(at, at + length),
        view.getUint16(at + 4, true),
        view.getUint16(at + 6, true),
        view.getUint32(at + 8, true),
        port,
      );
      at += align(length);
    }
    this.waiters.notify();
    return data.length;
  }
  #request(request: Uint8Array, type: number, flags: number, sequence: number, port: number): void {
    const message = (kind: number, messageFlags: number, parts: readonly Uint8Array[]): Uint8Array => {
      const bytes = new Uint8Array(HEADER_BYTES + parts.reduce((sum, part) => sum + part.length, 0));
      const view = new DataView(bytes.buffer);
      view.setUint32(0, bytes.length, true);
      view.setUint16(4, kind, true);
      view.setUint16(6, messageFlags, true);
      view.setUint32(8, sequence, true);
      view.setUint32(12, port, true);
      let at = HEADER_BYTES;
      for (const part of parts) {
        bytes.set(part, at);
        at += part.length;
      }
      return bytes;
    };
    const answer = (error: number): void =>
      void this.#queue.push(message(Type.ERROR, 0, [word(-error >>> 0), request.subarray(0, HEADER_BYTES)]));
    if ((flags & Flag.REQUEST) === 0 || type <= Type.DONE) return;
    const known = type === Type.GETLINK || type === Type.GETADDR || type === Type.GETROUTE;
    if (!known) return answer(type >= Type.NEWLINK ? E.PERM : E.OPNOTSUPP);
    if ((flags & Flag.DUMP) === 0) return answer(E.OPNOTSUPP);
    const all = interfaces(this.#network);
    const family = request[HEADER_BYTES] ?? AF.UNSPEC;
    if (type === Type.GETLINK) this.#queue.push(Buffer.concat(all.map((one) => message(Type.NEWLINK, Flag.MULTI, linkBody(one)))));
    else if (type === Type.GETADDR) {
      const bodies = [
        ...(family === AF.UNSPEC || family === AF.INET ? all.map(addressBody) : []),
        ...(family === AF.UNSPEC || family === AF.INET6 ? all.map(sixBody) : []),
      ];
      if (bodies.length > 0) this.#queue.push(Buffer.concat(bodies.map((body) => message(Type.NEWADDR, Flag.MULTI, body))));
    } else {
      const families = [AF.INET, AF.INET6].filter((one) => family === AF.UNSPEC || family === one);
      const bodies = all.slice(1).flatMap((one) => families.flatMap((each) => routeBodies(one, each)));
      if (bodies.length > 0) this.#queue.push(Buffer.concat(bodies.map((body) => message(Type.NEWROUTE, Flag.MULTI, body))));
    }
    this.#queue.push(message(Type.DONE, Flag.MULTI, [word(0)]));
  }
  receive(max: number, flags: number): Received | number {
    const first = this.#queue[0];
    if (first === undefined) return -E.AGAIN;
    if ((flags & MSG.PEEK) === 0) this.#queue.shift();
    return {
      bytes: first.length > max ? first.subarray(0, max) : first,
      length: first.length,
      name: this.#address(0),
      flags: first.length > max ? MSG.TRUNC : 0,
      ancillary: null,
    };
  }
  override close(): void {
    this.#queue.length = 0;
    this.waiters.notify();
  }
}
