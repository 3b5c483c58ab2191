/**
 * Socket addresses: struct sockaddr_in, sockaddr_in6, sockaddr_un. IPv4 addresses are unsigned 32-bit numbers, 127.0.0.1 is
 * 0x7f000001; those of IPv6 that a cVM has are numbers below 0. An IPv4 address in a sockaddr_in6 (::ffff:a.b.c.d) is the IPv4 address.
 */
import { decodeText, encodeText } from "@cvm/monitor/abi";
import { E } from "../kernel/errno.ts";
import { AF } from "./constants.ts";

export const SOCKADDR_IN_BYTES = 16;
const SOCKADDR_IN6_BYTES = 28;
/** Without the scope: as Linux takes it. */
const SOCKADDR_IN6_LEAST = 24;
/** sizeof(struct sockaddr_storage): the longest address that Linux takes. */
export const SOCKADDR_MAX = 128;

export const ANY = 0;
export const LOOPBACK = 0x7f000001;
export const BROADCAST = 0xffffffff;
/** `::`, `::1`, and any other address of IPv6: nobody has it. */
export const ANY6 = -1;
export const LOOPBACK6 = -2;
const ELSEWHERE6 = -3;

export const isSix = (address: number): boolean => address < 0;
export const isAny = (address: number): boolean => address === ANY || address === ANY6;
/** The wildcard of a family. */
export const anyOf = (domain: number): number => (domain === AF.INET6 ? ANY6 : ANY);
export const isLoopback = (address: number): boolean => (address < 0 ? address === LOOPBACK6 : address >>> 24 === 127);

/** Whether a socket that is bound to an address gets what goes to `target`. `::` stands for IPv4 too, unless `onlySix`. */
export function accepts(bound: number, onlySix: boolean, target: number): boolean {
  return bound === target || (bound === ANY && !isSix(target)) || (bound === ANY6 && (isSix(target) || !onlySix));
}

/** Whether sockets that are bound to two addresses of a port would get the same. */
export function overlap(one: number, oneOnlySix: boolean, other: number, otherOnlySix: boolean): boolean {
  return accepts(one, oneOnlySix, other) || accepts(other, otherOnlySix, one);
}

export const isMulticast = (address: number): boolean => address >= 0 && address >>> 28 === 14;

export interface InetAddress {
  readonly address: number;
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
  if (zeros !== 10 || bytes[18] !== 0xff || bytes[19] !== 0xff) return { port, address: ELSEWHERE6 };
  return { port, address: ((bytes[20]! << 24) | (bytes[21]! << 16) | (bytes[22]! << 8) | bytes[23]!) >>> 0 };
}

/** 16 bytes of an address of either family, as IPv6 shows it. */
export function sixBytes(address: number): Uint8Array {
  const bytes = new Uint8Array(16);
  if (address === LOOPBACK6) bytes[15] = 1;
  else if (!isSix(address)) {
    bytes.fill(0xff, 10, 12);
    putAddress(bytes, 12, address);
  }
  return bytes;
}

export function formatInet(address: number, port: number, domain: number = AF.INET): Uint8Array {
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
  putAddress(bytes, 4, address);
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
