/** Socket addresses: struct sockaddr_in, sockaddr_un. IPv4 addresses are unsigned 32-bit numbers, 127.0.0.1 is 0x7f000001. */
import { decodeText, encodeText } from "@cvm/monitor/abi";
import { E } from "../kernel/errno.ts";
import { AF } from "./constants.ts";

export const SOCKADDR_IN_BYTES = 16;
/** sizeof(struct sockaddr_storage): the longest address that Linux takes. */
export const SOCKADDR_MAX = 128;

export const ANY = 0;
export const LOOPBACK = 0x7f000001;
export const BROADCAST = 0xffffffff;

export const isLoopback = (address: number): boolean => address >>> 24 === 127;
export const isMulticast = (address: number): boolean => address >>> 28 === 14;

export interface InetAddress {
  readonly address: number;
  readonly port: number;
}

/** The family of a sockaddr; -EINVAL when there is not even that. */
export function familyOf(bytes: Uint8Array): number {
  return bytes.length < 2 ? -E.INVAL : bytes[0]! | (bytes[1]! << 8);
}

/** sockaddr_in; -EINVAL (too short), -EAFNOSUPPORT. */
export function parseInet(bytes: Uint8Array): InetAddress | number {
  if (bytes.length < SOCKADDR_IN_BYTES) return -E.INVAL;
  if (familyOf(bytes) !== AF.INET) return -E.AFNOSUPPORT;
  return { port: (bytes[2]! << 8) | bytes[3]!, address: ((bytes[4]! << 24) | (bytes[5]! << 16) | (bytes[6]! << 8) | bytes[7]!) >>> 0 };
}

export function formatInet(address: number, port: number): Uint8Array {
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
