/** Lines in the style of strace(1), made from the declarations. */
import type { ArgumentDeclaration, MessageIn, MessageResult, OutValue, SyscallReply, SyscallValue } from "@cvm/monitor/abi";
import { E } from "./kernel/errno.ts";
import { signalNames } from "./kernel/signals.ts";
import type { Syscall } from "./kernel/types.ts";

/** Bytes of a buffer that are shown, and strings of a list. */
const SHOWN_BYTES = 32;
const SHOWN_STRINGS = 16;

const TEXT: Readonly<Record<string, string>> = {
  PERM: "Operation not permitted",
  NOENT: "No such file or directory",
  SRCH: "No such process",
  INTR: "Interrupted system call",
  IO: "Input/output error",
  NXIO: "No such device or address",
  TOOBIG: "Argument list too long",
  NOEXEC: "Exec format error",
  BADF: "Bad file descriptor",
  CHILD: "No child processes",
  AGAIN: "Resource temporarily unavailable",
  NOMEM: "Cannot allocate memory",
  ACCES: "Permission denied",
  FAULT: "Bad address",
  BUSY: "Device or resource busy",
  EXIST: "File exists",
  XDEV: "Invalid cross-device link",
  NODEV: "No such device",
  NOTDIR: "Not a directory",
  ISDIR: "Is a directory",
  INVAL: "Invalid argument",
  NFILE: "Too many open files in system",
  MFILE: "Too many open files",
  NOTTY: "Inappropriate ioctl for device",
  TXTBSY: "Text file busy",
  FBIG: "File too large",
  NOSPC: "No space left on device",
  SPIPE: "Illegal seek",
  ROFS: "Read-only file system",
  MLINK: "Too many links",
  PIPE: "Broken pipe",
  DOM: "Numerical argument out of domain",
  RANGE: "Numerical result out of range",
  DEADLK: "Resource deadlock avoided",
  NAMETOOLONG: "File name too long",
  NOLCK: "No locks available",
  NOSYS: "Function not implemented",
  NOTEMPTY: "Directory not empty",
  LOOP: "Too many levels of symbolic links",
  NODATA: "No data available",
  PROTO: "Protocol error",
  OVERFLOW: "Value too large for defined data type",
  NOTSOCK: "Socket operation on non-socket",
  DESTADDRREQ: "Destination address required",
  MSGSIZE: "Message too long",
  PROTOTYPE: "Protocol wrong type for socket",
  NOPROTOOPT: "Protocol not available",
  PROTONOSUPPORT: "Protocol not supported",
  SOCKTNOSUPPORT: "Socket type not supported",
  OPNOTSUPP: "Operation not supported",
  AFNOSUPPORT: "Address family not supported by protocol",
  ADDRINUSE: "Address already in use",
  ADDRNOTAVAIL: "Cannot assign requested address",
  NETDOWN: "Network is down",
  NETUNREACH: "Network is unreachable",
  CONNABORTED: "Software caused connection abort",
  CONNRESET: "Connection reset by peer",
  NOBUFS: "No buffer space available",
  ISCONN: "Transport endpoint is already connected",
  NOTCONN: "Transport endpoint is not connected",
  TIMEDOUT: "Connection timed out",
  CONNREFUSED: "Connection refused",
  HOSTUNREACH: "No route to host",
  ALREADY: "Operation already in progress",
  INPROGRESS: "Operation now in progress",
  STALE: "Stale file handle",
  CANCELED: "Operation canceled",
};
const ERRORS: ReadonlyMap<number, string> = new Map(
  Object.entries(E).map(([name, number]) => [number, `E${name} (${TEXT[name] ?? name})`]),
);
/** Calls whose result is an address. */
const ADDRESS_RESULT: ReadonlySet<string> = new Set(["brk", "mmap", "mremap"]);
const AT_FDCWD = -100;
/** Flags of openat with which it has a mode. */
const MAKES_FILE = /O_CREAT|O_TMPFILE/;

const hex = (value: number): string => `0x${value.toString(16)}`;
const pointer = (value: number): string => (value === 0 ? "NULL" : hex(value));

function quote(text: string, cut: boolean): string {
  let shown = "";
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code === 10) shown += "\\n";
    else if (code === 13) shown += "\\r";
    else if (code === 9) shown += "\\t";
    else if (code === 34 || code === 92) shown += `\\${text[index]}`;
    else if (code < 32 || code > 126) {
      const octal = code.toString(8);
      shown += `\\${/[0-7]/.test(text[index + 1] ?? "") ? octal.padStart(3, "0") : octal}`;
    } else shown += text[index];
  }
  return `"${shown}"${cut ? "..." : ""}`;
}
const quoteBytes = (bytes: Uint8Array): string =>
  quote(Buffer.from(bytes.subarray(0, SHOWN_BYTES)).toString("latin1"), bytes.length > SHOWN_BYTES);

/** A number as names of bits or of a value, e.g. `O_RDONLY|O_CLOEXEC`. */
function number(value: number, { kind, print }: ArgumentDeclaration): string {
  if (print === undefined) {
    if (kind === "address") return pointer(value);
    if (kind === "fd" && value === AT_FDCWD) return "AT_FDCWD";
    return String(value);
  }
  if (print === "hex") return hex(value);
  if (print === "octal") return value === 0 ? "000" : `0${value.toString(8)}`;
  if (print === "signal") return signalNames[value] ?? String(value);
  if ("values" in print) return Object.entries(print.values).find(([, known]) => known === value)?.[0] ?? String(value);
  return flags(value, print.flags);
}
function flags(value: number, names: Readonly<Record<string, number>>): string {
  let rest = value >>> 0;
  const shown: string[] = [];
  const zero = Object.entries(names).find(([, bits]) => bits === 0)?.[0] ?? ("O_RDWR" in names ? "O_RDONLY" : undefined);
  const entries = Object.entries(names).filter(([, bits]) => bits !== 0);
  // A name for several bits goes before those for single ones.
  for (const [name, bits] of [...entries].sort((a, b) => ones(b[1]) - ones(a[1]))) {
    const unsigned = bits >>> 0;
    if (unsigned !== 0 && (rest & unsigned) >>> 0 === unsigned) {
      shown.push(name);
      rest = (rest & ~unsigned) >>> 0;
    }
  }
  shown.sort((a, b) => Object.keys(names).indexOf(a) - Object.keys(names).indexOf(b));
  // The access mode 0 of open is a name beside others; other names for 0 stand alone.
  if (zero !== undefined && (zero === "O_RDONLY" ? (value & 3) === 0 : value === 0)) shown.unshift(zero);
  if (rest !== 0) shown.push(hex(rest));
  return shown.length === 0 ? "0" : shown.join("|");
}
function ones(value: number): number {
  let count = 0;
  for (let rest = value >>> 0; rest !== 0; rest >>>= 1) count += rest & 1;
  return count;
}

function inputValue(value: SyscallValue, declaration: ArgumentDeclaration): string | null {
  if (value === null) return "NULL";
  if (typeof value === "string") return quote(value, false);
  switch (declaration.kind) {
    case "strings": {
      const list = value as readonly string[];
      return list.length > SHOWN_STRINGS ? `[/* ${list.length} vars */]` : `[${list.map((text) => quote(text, false)).join(", ")}]`;
    }
    case "in":
    case "inout":
    case "iovIn":
      return quoteBytes(value as Uint8Array);
    case "msgIn": {
      const message = value as MessageIn;
      return `{msg_iov=${quoteBytes(message.data)}, msg_controllen=${message.control.length}, msg_flags=${message.flags}}`;
    }
    case "out":
    case "iovOut":
    case "addressOut":
    case "msgOut":
      return null;
    default:
      return number(value as number, declaration);
  }
}

function outputValue(value: OutValue["value"] | undefined, result: number, declaration: ArgumentDeclaration): string {
  if (value === undefined) return result < 0 ? "0x0" : "{}";
  if (value instanceof Uint8Array)
    return declaration.length !== undefined && "bytes" in declaration.length && declaration.length.bytes === 4
      ? `[${new DataView(value.buffer, value.byteOffset).getInt32(0, true)}]`
      : quoteBytes(value);
  const message: MessageResult = value;
  return `{msg_iov=${quoteBytes(message.data)}, msg_controllen=${message.control.length}, msg_flags=${message.flags}}`;
}

function resultText(name: string, result: number): string {
  if (result < 0 && result >= -4095) return `-1 ${ERRORS.get(-result) ?? `errno ${-result}`}`;
  return ADDRESS_RESULT.has(name) ? hex(result) : String(result);
}

/** A call that has begun: its line is complete with {@link TracedCall.line}. */
export class TracedCall {
  readonly #row: Syscall;
  readonly #inputs: readonly (string | null)[];
  /** The values are read now: the gate reuses them. */
  constructor(row: Syscall, args: readonly SyscallValue[]) {
    this.#row = row;
    this.#inputs = row.arguments.map((declaration, index) => inputValue(args[index] ?? null, declaration));
  }
  /** `name(arguments) = result`; "?" for a call that does not return. */
  line(reply: number | SyscallReply | null): string {
    const row = this.#row;
    const result = reply === null ? 0 : typeof reply === "number" ? reply : reply.result;
    const outs = typeof reply === "object" && reply !== null ? reply.out : undefined;
    const shown = row.arguments.map(
      (declaration, index) => this.#inputs[index] ?? outputValue(outs?.find(({ arg }) => arg === index)?.value, result, declaration),
    );
    if (row.name === "openat" && !MAKES_FILE.test(shown[2] ?? "")) shown.length = 3;
    return `${row.name}(${shown.join(", ")}) = ${reply === null ? "?" : resultText(row.name, result)}`;
  }
}

/** A call that the table does not have. */
export function unknownLine(number_: number, args: readonly SyscallValue[]): string {
  return `syscall_${hex(number_)}(${args.map((value) => hex(Number(value))).join(", ")}) = ${resultText("", -E.NOSYS)}`;
}
