/**
 * Socket addresses: struct sockaddr_in, sockaddr_in6, sockaddr_un. An IPv4 address in a sockaddr_in6 (::ffff:a.b.c.d) is the IPv4 address.
 */
import { decodeText, encodeText, IPV6_PREFIX } from "@cvm/monitor/abi";
import { E } from "../kernel/errno.ts";
import { AF } from "./constants.ts";

export const SOCKADDR_IN_BYTES = 16;
const SOCKADDR_IN6_BYTES = 28;
/** Without the scope: as Linux takes it. */
const SOCKADDR_IN6_LEAST = 24;
/** sizeof(struct sockaddr_storage): the longest address that Linux takes. */
export const SOCKADDR_MAX = 128;

/**
 * IPv4: an unsigned 32-bit number, 127.0.0.1 is 0x7f000001. IPv6: its eight groups in lower-case hexadecimal without leading zeros, as
 * they cross to the monitor.
 */
export type Address = number | string;

export const ANY = 0;
export const LOOPBACK = 0x7f000001;
export const BROADCAST = 0xffffffff;
/** `::` and `::1`. */
export const ANY6 = "0:0:0:0:0:0:0:0";
export const LOOPBACK6 = "0:0:0:0:0:0:0:1";

export const isSix = (address: Address): address is string => typeof address === "string";
export const isAny = (address: Address): boolean => address === ANY || address === ANY6;
/** The wildcard of a family. */
export const anyOf = (domain: number): Address => (domain === AF.INET6 ? ANY6 : ANY);
export const isLoopback = (address: Address): boolean => (isSix(address) ? address === LOOPBACK6 : address >>> 24 === 127);

/** The IPv6 address of who has this IPv4 address in the virtual network. */
export const sixOf = (address: number): string => `${IPV6_PREFIX}${(address >>> 16).toString(16)}:${(address & 0xffff).toString(16)}`;

/** Whether a socket that is bound to an address gets what goes to `target`. `::` stands for IPv4 too, unless `onlySix`. */
export function accepts(bound: Address, onlySix: boolean, target: Address): boolean {
  return bound === target || (bound === ANY && !isSix(target)) || (bound === ANY6 && (isSix(target) || !onlySix));
}

/** Whether sockets that are bound to two addresses of a port would get the same. */
export function overlap(one: Address, oneOnlySix: boolean, other: Address, otherOnlySix: boolean): boolean {
  return accepts(one, oneOnlySix, other) || accepts(other, otherOnlySix, one);
}

export const isMulticast = (address: Address): boolean => (isSix(address) ? /^ff[\da-f]{2}:/u.test(address) : address >>> 28 === 14);

export interface InetAddress {
  readonly address: Address;
  readonly port: number;
}

/** The family of a sockaddr; -EINVAL when there is not even that. */
export function familyOf(bytes: Uint8Array): number {
  return bytes.length < 2 ? -E.INVAL : bytes[0]! | (bytes[1]! << 8);
}

/** sockaddr_in, or sockaddr_in6 where that is the family of the socket; -EINVAL (too short), -EAFNOSUPPORT. */
export function parseInet(bytes: Uint8Array, domain: number = AF.INET): InetAddress | number {
  if (domain === AF.INET6) return parseInet6(bytes);
  if (bytes.length < SOCKADDR_IN_BYTES) return -E.INVAL;
  if (familyOf(bytes) !== AF.INET) return -E.AFNOSUPPORT;
  return { port: (bytes[2]! << 8) | bytes[3]!, address: ((bytes[4]! << 24) | (bytes[5]! << 16) | (bytes[6]! << 8) | bytes[7]!) >>> 0 };
}

function parseInet6(bytes: Uint8Array): InetAddress | number {
  if (bytes.length < SOCKADDR_IN6_LEAST) return -E.INVAL;
  if (familyOf(bytes) !== AF.INET6) return -E.AFNOSUPPORT;
  const port = (bytes[2]! << 8) | bytes[3]!;
  const zeros = bytes.subarray(8, 24).findIndex((byte) => byte !== 0);
  if (zeros < 0) return { port, address: ANY6 };
  if (zeros === 15 && bytes[23] === 1) return { port, address: LOOPBACK6 };
  return { port, address: fromSixBytes(bytes, 8) };
}

/** The address in 16 bytes: IPv4 when it is a mapped one. */
export function fromSixBytes(bytes: Uint8Array, at: number): Address {
  let mapped = bytes[at + 10] === 0xff && bytes[at + 11] === 0xff;
  for (let index = at; mapped && index < at + 10; index++) mapped = bytes[index] === 0;
  if (mapped) return ((bytes[at + 12]! << 24) | (bytes[at + 13]! << 16) | (bytes[at + 14]! << 8) | bytes[at + 15]!) >>> 0;
  const groups: string[] = [];
  for (let index = at; index < at + 16; index += 2) groups.push(((bytes[index]! << 8) | bytes[index + 1]!).toString(16));
  return groups.join(":");
}

/** 16 bytes of an address of either family, as IPv6 shows it. */
export function sixBytes(address: Address): Uint8Array {
  const bytes = new Uint8Array(16);
  if (isSix(address)) {
    if (address === ANY6) return bytes;
    let at = 0;
    for (const group of address.split(":")) {
      const value = Number.parseInt(group, 16);
      bytes[at++] = value >> 8;
      bytes[at++] = value;
    }
  } else {
    bytes.fill(0xff, 10, 12);
    putAddress(bytes, 12, address);
  }
  return bytes;
}

export function formatInet(address: Address, port: number, domain: number = AF.INET): Uint8Array {
  if (domain === AF.INET6) {
    const bytes = new Uint8Array(SOCKADDR_IN6_BYTES);
    bytes[0] = AF.INET6;
    bytes[2] = port >> 8;
    bytes[3] = port;
    bytes.set(sixBytes(address), 8);
    return bytes;
  }
  const bytes = new Uint8Array(SOCKADDR_IN_BYTES);
  bytes[0] = AF.INET;
  bytes[2] = port >> 8;
  bytes[3] = port;
  // A socket of IPv4 has no other addresses.
  putAddress(bytes, 4, isSix(address) ? ANY : address);
  return bytes;
}

/** An IPv4 address in network order. */
export function putAddress(bytes: Uint8Array, at: number, address: number): void {
  bytes[at] = address >>> 24;
  bytes[at + 1] = address >>> 16;
  bytes[at + 2] = address >>> 8;
  bytes[at + 3] = address;
}

/** Dotted quad to number. @throws Error for anything else: such addresses come from the monitor. */
export function parseDotted(text: string): number {
  const parts = text.split(".").map(Number);
  if (parts.length !== 4 || parts.some((part) => !(Number.isInteger(part) && part >= 0 && part < 256)))
    throw new Error(`not an IPv4 address: ${text}`);
  return ((parts[0]! << 24) | (parts[1]! << 16) | (parts[2]! << 8) | parts[3]!) >>> 0;
}

export function formatDotted(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}

/** Text of the monitor to an address, and back. @throws Error as {@link parseDotted} does */
export const parseAddress = (text: string): Address => (text.includes(":") ? text : parseDotted(text));
export const formatAddress = (address: Address): string => (isSix(address) ? address : formatDotted(address));

/** sizeof(struct sockaddr_un). */
const SOCKADDR_UN_BYTES = 110;

/** Where a Unix socket lives. */
export type UnixAddress =
  | { readonly kind: "unnamed" }
  | { readonly kind: "path"; readonly path: string }
  /** `name` as Latin-1 text, without the leading NUL. */
  | { readonly kind: "abstract"; readonly name: string };

/** sockaddr_un; -EINVAL. */
export function parseUnix(bytes: Uint8Array): UnixAddress | number {
  if (bytes.length > SOCKADDR_UN_BYTES || familyOf(bytes) !== AF.UNIX) return -E.INVAL;
  if (bytes.length === 2) return { kind: "unnamed" };
  if (bytes[2] === 0) return { kind: "abstract", name: Buffer.from(bytes.subarray(3)).toString("latin1") };
  const end = bytes.indexOf(0, 2);
  return { kind: "path", path: decodeText(bytes.subarray(2, end < 0 ? bytes.length : end)) };
}

/** As getsockname returns it: a path with its NUL. */
export function formatUnix(address: UnixAddress): Uint8Array {
  const name =
    address.kind === "unnamed"
      ? Buffer.alloc(0)
      : address.kind === "path"
        ? encodeText(`${address.path}\0`)
        : Buffer.from(`\0${address.name}`, "latin1");
  const bytes = new Uint8Array(2 + name.length);
  bytes[0] = AF.UNIX;
  bytes.set(name, 2);
  return bytes;
}
