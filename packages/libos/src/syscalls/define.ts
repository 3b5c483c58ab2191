/** Short forms for the rows of the system call table. */
import type { ArgumentDeclaration, Length } from "@cvm/monitor/abi";
import type { LinuxContext } from "../kernel/process.ts";
import type { Support, Syscall, SyscallOutcome, SyscallValue } from "../kernel/types.ts";

type Print = NonNullable<ArgumentDeclaration["print"]>;
export type Handler = (context: LinuxContext, args: readonly SyscallValue[]) => SyscallOutcome;

const argument = (name: string, kind: ArgumentDeclaration["kind"], print?: Print): ArgumentDeclaration =>
  print === undefined ? { name, kind } : { name, kind, print };
export const int = (name: string, print?: Print): ArgumentDeclaration => argument(name, "int", print);
export const uint = (name: string, print?: Print): ArgumentDeclaration => argument(name, "uint", print);
export const long = (name: string, print?: Print): ArgumentDeclaration => argument(name, "long", print);
export const ulong = (name: string, print?: Print): ArgumentDeclaration => argument(name, "ulong", print);
export const fd = (name: string): ArgumentDeclaration => argument(name, "fd");
export const address = (name: string): ArgumentDeclaration => argument(name, "address");
export const path = (name: string): ArgumentDeclaration => argument(name, "path");
export const string = (name: string): ArgumentDeclaration => argument(name, "string");
export const strings = (name: string): ArgumentDeclaration => argument(name, "strings");
export const signal = (name: string): ArgumentDeclaration => argument(name, "int", "signal");

const size = (length: number | Length): Length => (typeof length === "number" ? { bytes: length } : length);
/** Bytes for the kernel. */
export const input = (name: string, length: number | Length): ArgumentDeclaration => ({ name, kind: "in", length: size(length) });
export const maybeInput = (name: string, length: number | Length): ArgumentDeclaration => ({
  name,
  kind: "in",
  length: size(length),
  nullable: true,
});
/** Bytes from the kernel. */
export const output = (name: string, length: number | Length): ArgumentDeclaration => ({ name, kind: "out", length: size(length) });
export const maybeOutput = (name: string, length: number | Length): ArgumentDeclaration => ({
  name,
  kind: "out",
  length: size(length),
  nullable: true,
});

export const FULL: Support = { level: "full" };
export const partial = (note: string): Support => ({ level: "partial", note });

/** One row. */
export function call(
  number: number,
  name: string,
  args: readonly ArgumentDeclaration[],
  support: Support,
  handler: Handler,
  registers = false,
): Syscall {
  return { number, name, arguments: args, support, handler: handler as Syscall["handler"], ...(registers ? { registers } : {}) };
}
/** A call that always fails with the same error. */
export function refused(number: number, name: string, errno: number, note: string): Syscall {
  return { number, name, arguments: [], support: { level: "error", errno, note }, handler: () => -errno };
}

// ------------------------------------------------------------------ structures

/** Nanoseconds of a millisecond. */
const NS = 1_000_000;

export const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
export const readU64 = (view: DataView, at: number): number => view.getUint32(at, true) + view.getUint32(at + 4, true) * 4294967296;
export const readI64 = (view: DataView, at: number): number => view.getUint32(at, true) + view.getInt32(at + 4, true) * 4294967296;
export function writeU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % 4294967296, true);
  view.setUint32(at + 4, Math.floor(value / 4294967296), true);
}
/** A timespec as milliseconds; -1 when it is not valid. */
export function timespecMs(bytes: Uint8Array, at = 0): number {
  const view = viewOf(bytes);
  const seconds = readI64(view, at);
  const nanoseconds = readI64(view, at + 8);
  return seconds < 0 || nanoseconds < 0 || nanoseconds >= 1e9 ? -1 : seconds * 1000 + nanoseconds / NS;
}
/** Writes milliseconds (with a fraction) as a timespec. */
export function putTimespec(view: DataView, at: number, ms: number): void {
  const seconds = Math.floor(ms / 1000);
  writeU64(view, at, seconds);
  view.setUint32(at + 8, Math.min(999_999_999, Math.floor((ms - seconds * 1000) * NS)), true);
  view.setUint32(at + 12, 0, true);
}
export function timespec(ms: number): Uint8Array {
  const bytes = new Uint8Array(16);
  putTimespec(viewOf(bytes), 0, ms);
  return bytes;
}
/** A timeval as milliseconds; -1 when it is not valid. */
export function timevalMs(bytes: Uint8Array, at = 0): number {
  const view = viewOf(bytes);
  const seconds = readI64(view, at);
  const microseconds = readI64(view, at + 8);
  return seconds < 0 || microseconds < 0 || microseconds >= 1e6 ? -1 : seconds * 1000 + microseconds / 1000;
}
export function putTimeval(view: DataView, at: number, ms: number): void {
  const seconds = Math.floor(ms / 1000);
  writeU64(view, at, seconds);
  writeU64(view, at + 8, Math.min(999_999, Math.floor((ms - seconds * 1000) * 1000)));
}
