/**
 * What crosses the border between the monitor and a library OS: types and limits only. All values are plain data
 * (numbers, strings, Uint8Array, arrays and records of these), so that the same messages go over a direct call or a port.
 *
 * Addresses are offsets in a process's region (what the program sees as pointers). The monitor checks each one against
 * the DDC in force when the operation is CARRIED OUT.
 */

/** The processor's register `time` counts this many ticks in a millisecond of performance.now(). */
export { TICKS_PER_MS } from "@cvm/cpu/abi";
/** How text of programs crosses: see `string` below. */
export { decodeText, encodeText } from "./text.ts";

export type Awaitable<T> = T | PromiseLike<T>;

/** Handle of a process's address range in the monitor. Never an index into anything of another cVM. */
export type ProcessId = number;
/** Handle of a thread (a hart context). */
export type ThreadId = number;
/** Handle of a stream or listener of the virtual network. */
export type StreamId = number;

export const Limits = {
  /** Longest NUL-terminated string the gate reads (PATH_MAX). */
  stringBytes: 4096,
  /** Longest single argv/envp string (MAX_ARG_STRLEN). */
  argumentBytes: 131072,
  /** Most strings in one argv or envp. */
  argumentCount: 65536,
  /** Most bytes of one argv or envp, terminators included. */
  argumentsBytes: 2_097_152,
  /** Most entries of an iovec (UIO_MAXIOV). */
  iovecs: 1024,
  /** Bytes of a CP_File, and of all of one host. */
  cpFileBytes: 1_073_741_824,
  cpFilesBytes: 2_147_483_648,
  /** Characters of the name of a CP object. */
  cpName: 128,
  /** CP_Calls that one cVM can call, revoked ones included, and threads of it that serve at a time. */
  cpDoors: 256,
  cpServers: 64,
  /** Objects of one host that have names. */
  cpObjects: 4096,
  /** Most bytes one call moves (MAX_RW_COUNT is 2 GiB; a call may be short). */
  transferBytes: 16_777_216,
  /** Bytes in flight in one direction of a stream before the sender must wait. */
  streamWindow: 262144,
  /** Streams and listeners of one cVM. */
  streams: 65536,
  /** Threads of one cVM. */
  threads: 4096,
} as const;

// ------------------------------------------------------------------ system call declarations

/**
 * How many bytes an argument's buffer has: another argument's value (by name), that value times a factor (a fraction for
 * bit sets), rounded up to a multiple, or a constant.
 */
export type Length = { readonly arg: string; readonly times?: number; readonly multiple?: number } | { readonly bytes: number };

/**
 * One argument of a system call, as data. The gate marshals by it, strace prints by it.
 *
 * kind → what the handler gets:
 * - `int` number (32-bit signed), `uint` (32-bit unsigned), `long` (64-bit signed as a number), `ulong`: number
 * - `fd` number (32-bit signed); prints `AT_FDCWD` for -100
 * - `address`: number, never followed by the gate
 * - `path`, `string`: string ({@link decodeText}), or null for a null pointer when `nullable`, else -EFAULT
 * - `strings`: string[] (argv, envp), null pointer → []
 * - `in`: Uint8Array of `length` bytes (null when null pointer and nullable): a lent view, valid until the handler returns.
 * - `out`: number, the capacity in bytes (null when null pointer and nullable)
 * - `inout`: Uint8Array copy; the reply may give new bytes (at most as many)
 * - `iovIn`: Uint8Array, gathered, or lent as `in` is; `iovOut`: number, total capacity
 * - `msgIn` → {@link MessageIn}; `msgOut` → {@link MessageOut}
 * - `addressOut`: sockaddr buffer with an in/out length pointer in the NEXT argument: number (capacity) or null. The reply's bytes are truncated to the capacity and the full length is written through the length pointer.
 */
export interface ArgumentDeclaration {
  readonly name: string;
  readonly kind:
    | "int"
    | "uint"
    | "long"
    | "ulong"
    | "fd"
    | "address"
    | "path"
    | "string"
    | "strings"
    | "in"
    | "out"
    | "inout"
    | "iovIn"
    | "iovOut"
    | "msgIn"
    | "msgOut"
    | "addressOut"
    | "addressLength";
  readonly length?: Length;
  readonly nullable?: boolean;
  /** For strace: how a number prints. */
  readonly print?:
    | "hex"
    | "octal"
    | "signal"
    | { readonly flags: Readonly<Record<string, number>> }
    | { readonly values: Readonly<Record<string, number>> };
}

export interface SyscallDeclaration {
  readonly number: number;
  readonly name: string;
  readonly arguments: readonly ArgumentDeclaration[];
  /** The handler also gets the caller's register file (`SyscallCall.registers`, layout of @cvm/cpu/abi REGISTER_FILE_BYTES); pc in it is that of the instruction AFTER the ecall, as in Linux. */
  readonly registers?: boolean;
}

export interface MessageIn {
  readonly name: Uint8Array | null;
  readonly data: Uint8Array;
  readonly control: Uint8Array;
  readonly flags: number;
}
export interface MessageOut {
  readonly nameCapacity: number;
  readonly dataCapacity: number;
  readonly controlCapacity: number;
}
/** The reply's value for a `msgOut` argument. */
export interface MessageResult {
  readonly name: Uint8Array | null;
  readonly data: Uint8Array;
  readonly control: Uint8Array;
  readonly flags: number;
}

export type SyscallValue = number | string | Uint8Array | readonly string[] | MessageIn | MessageOut | null;

export interface SyscallCall {
  readonly process: ProcessId;
  readonly thread: ThreadId;
  readonly number: number;
  /** One value per declared argument; for an undeclared number the six raw registers as numbers. The array is reused: do not keep it. */
  readonly args: readonly SyscallValue[];
  /** What the declaration asked for; undefined otherwise. */
  readonly registers?: Uint8Array | undefined;
}

/** Bytes for an output argument, by its position in the declaration. */
export interface OutValue {
  readonly arg: number;
  readonly value: Uint8Array | MessageResult;
}

/**
 * The answer to a call: a number (negative errno for errors), or more. Order: `ops` are checked and carried out, outputs are
 * written (a fault there makes the result -EFAULT), then the thread gets `result` in a0 and becomes runnable — unless an
 * op ended it, or `registers` replaced its registers (then `result` is ignored).
 */
export interface SyscallReply {
  readonly result: number;
  readonly out?: readonly OutValue[];
  readonly ops?: readonly ProcessOp[];
}
/** A call that is not answered yet: the thread sleeps until {@link HostCalls.complete}. */
export const PENDING: unique symbol = Symbol("pending");
export type SyscallOutcome = number | SyscallReply | typeof PENDING;

// ------------------------------------------------------------------ operations on processes

/**
 * What a library OS may have done to its own processes. All of a list are checked before the first is carried out.
 * - A range that leaves the region or touches its page 0, a wrong alignment, or a handle that this cVM does not have refuses the whole list:
 *   `operate` answers -EINVAL; in a reply, from `interrupted` or from `fault` the cVM is ended and reported (a bug or an attack of the library OS).
 * - A `write` to unmapped pages (without `ifMapped`), or more memory than the cVM may have, refuses the whole list with -EFAULT or -ENOMEM: that is the
 *   result of `operate` or of the call; from `interrupted` it becomes a StoreAccess fault of the thread; from `fault` it ends the cVM.
 */
export type ProcessOp =
  /** Makes pages usable: zeroed first unless `keep`, and without memory until they are stored to; then `bytes`, if given, at the start. Prot bits of @cvm/cpu/abi. Page-aligned. */
  | {
      readonly op: "map";
      readonly process: ProcessId;
      readonly address: number;
      readonly length: number;
      readonly prot: number;
      readonly bytes?: Uint8Array;
      readonly keep?: boolean;
    }
  | { readonly op: "protect"; readonly process: ProcessId; readonly address: number; readonly length: number; readonly prot: number }
  | { readonly op: "unmap"; readonly process: ProcessId; readonly address: number; readonly length: number }
  /** Zeroes mapped pages and gives their memory back (MADV_DONTNEED); they show no object any more. */
  | { readonly op: "zero"; readonly process: ProcessId; readonly address: number; readonly length: number }
  /**
   * Mapped pages show `object` (a number > 0 of the library OS's choice) from byte `offset` of it on: whoever else shows the same bytes sees the
   * changes when it runs next (MAP_SHARED). Until the pages are unmapped or mapped anew; a forked child shows the same. Page-aligned.
   */
  | {
      readonly op: "share";
      readonly process: ProcessId;
      readonly address: number;
      readonly length: number;
      readonly object: number;
      readonly offset: number;
    }
  /**
   * A mapped page that programs should not write shows the cVM's table of capabilities from now on: that with the number n, for n below 256, stands at byte 16 n, as long as the cVM has it. A
   * forked child's does the same. Until the page is unmapped or mapped anew. What takes its region by turns with others sees none.
   */
  | { readonly op: "capabilities"; readonly process: ProcessId; readonly address: number }
  /** Copies mapped bytes inside the region (mremap); not overlapping. */
  | { readonly op: "copy"; readonly process: ProcessId; readonly from: number; readonly to: number; readonly length: number }
  /** Writes bytes whatever the page's protection (loading, signal frames, set_tid words). `ifMapped`: a fault is ignored instead of refused. */
  | { readonly op: "write"; readonly process: ProcessId; readonly address: number; readonly bytes: Uint8Array; readonly ifMapped?: boolean }
  /** Replaces a thread's registers (layout of REGISTER_FILE_BYTES). */
  | { readonly op: "registers"; readonly thread: ThreadId; readonly registers: Uint8Array }
  /** Makes a thread runnable in `process` with these registers. `thread` is chosen by the library OS, unique in its cVM. */
  | { readonly op: "thread"; readonly process: ProcessId; readonly thread: ThreadId; readonly registers: Uint8Array }
  /** Moves a stopped thread to another process of the cVM (execve) with new registers. */
  | { readonly op: "move"; readonly thread: ThreadId; readonly process: ProcessId; readonly registers: Uint8Array }
  /** Ends a thread. */
  | { readonly op: "endThread"; readonly thread: ThreadId }
  /** Ends all threads of a process and gives the region back. */
  | { readonly op: "endProcess"; readonly process: ProcessId }
  /** Asks for {@link LibraryOs.interrupted} as soon as the thread is between instructions (also right after the reply that carries this). */
  | { readonly op: "interrupt"; readonly thread: ThreadId };

// ------------------------------------------------------------------ objects that cVMs of a host share by name

/** A CP_File is a buffer, a CP_Stream carries bytes between two cVMs, a CP_Call is a function of another cVM. */
export const CP_KINDS = ["file", "stream", "call"] as const;
export type CpKind = (typeof CP_KINDS)[number];
/** What a cVM may do with an object, as bits. */
export const CpRight = { Read: 1, Write: 2, Connect: 4, Listen: 8, Call: 16, Publish: 32 } as const;
/** The rights that an object of a kind can be opened with. */
export const CP_RIGHTS: Readonly<Record<CpKind, number>> = {
  file: CpRight.Read | CpRight.Write,
  stream: CpRight.Connect | CpRight.Listen,
  call: CpRight.Call | CpRight.Publish,
};
/** Number of an opened object in the cVM's table of capabilities. */
export type CpHandle = number;

export interface CpEntry {
  readonly kind: CpKind;
  readonly name: string;
  /** Those that the cVM was granted. */
  readonly rights: number;
  /** Bytes of a file; 0 for others. */
  readonly size: number;
}

/**
 * What a library OS asks about objects. Answers are negative errno numbers, or:
 * - `list`: {@link CpEntry} of each object that the cVM was granted something of, by name
 * - `open`: a {@link CpHandle}; -2 (ENOENT) without such an object, -13 (EACCES) when one of the rights was not granted, -24 (EMFILE) when the table is full
 * - `close`: 0. Closing takes nothing away that code already fetched from the table
 * - `read`: bytes from `offset` on, at most `length`, fewer at the end; `write`: how many were written, -28 (ENOSPC) at the end
 * - `changes`: how often the object was notified of; `notify`: the same after one more, which all that opened it hear ({@link LibraryOs.cpNotified})
 * - `listen`, `connect`: as the host calls of these names, on a stream's name instead of an address; 0
 *
 * A handle that is none, is of another kind or lacks the right is -9 (EBADF).
 */
export type CpRequest =
  | { readonly cp: "list" }
  | { readonly cp: "open"; readonly kind: CpKind; readonly name: string; readonly rights: number }
  | { readonly cp: "close"; readonly handle: CpHandle }
  | { readonly cp: "read"; readonly handle: CpHandle; readonly offset: number; readonly length: number }
  | { readonly cp: "write"; readonly handle: CpHandle; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly cp: "changes"; readonly handle: CpHandle }
  | { readonly cp: "notify"; readonly handle: CpHandle }
  | { readonly cp: "listen"; readonly handle: CpHandle; readonly stream: StreamId; readonly backlog: number }
  | { readonly cp: "connect"; readonly handle: CpHandle; readonly stream: StreamId };
export type CpAnswer = number | Uint8Array | readonly CpEntry[];

// ------------------------------------------------------------------ host calls: library OS → monitor

/** Who has the IPv4 address a.b.c.d in the virtual network has the IPv6 address with these groups and the two of a.b.c.d behind: fd63:766d::/96. */
export const IPV6_PREFIX = "fd63:766d:0:0:0:0:";

/** An address in the virtual network or outside: an IPv4 dotted quad, or the eight groups of an IPv6 address in lower-case hexadecimal without leading zeros. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/**
 * The narrow interface from one cVM's library OS to the monitor. In one process these are direct calls; over a port the
 * same calls are messages and every Awaitable is a promise. Errors are negative errno numbers of Linux.
 */
export interface HostCalls {
  /** Reserves a region of at least `bytes` (rounded up so that its bounds are exact). A handle > 0, or -12 (ENOMEM). `thread` 0. */
  createProcess(bytes: number): Awaitable<ProcessId>;
  /**
   * Makes a process's region at least `bytes` long, perhaps at another base: offsets stay the same. The length that it has then, or -12 (ENOMEM)
   * with nothing changed.
   */
  grow(process: ProcessId, bytes: number): Awaitable<number>;
  /** How many bytes of memory each process uses: pages that hold something, or that it stored to (counted in blocks of 64 KiB). */
  usage(): Awaitable<readonly (readonly [process: ProcessId, bytes: number])[]>;
  /**
   * Copies `thread`'s process (mapped pages, protections), at least the first `bytes` of it, into a new region of that size; the new thread has the same
   * registers with a0 = 0 and pc after the ecall, and starts only with {@link start}.
   */
  fork(thread: ThreadId, childThread: ThreadId, bytes: number): Awaitable<ProcessId>;
  /** Lets a forked child run. */
  start(thread: ThreadId): void;
  /** Carries out operations outside of a reply. 0 or -EFAULT/-EINVAL. */
  operate(ops: readonly ProcessOp[]): Awaitable<number>;
  /** Answers a pending call. */
  complete(thread: ThreadId, reply: number | SyscallReply): void;
  /** Reads mapped bytes of a process (for diagnostics, futex words, /proc/PID/mem): null when any page is unmapped. */
  readMemory(process: ProcessId, address: number, length: number): Awaitable<Uint8Array | null>;

  /** Starts to listen in the virtual network on the cVM's own addresses; 0 or -98 (EADDRINUSE). */
  listen(stream: StreamId, port: number, backlog: number): Awaitable<number>;
  /** Starts a connection; answered by {@link LibraryOs.connected}. The handle is chosen by the library OS, unique in its cVM. */
  connect(stream: StreamId, to: Endpoint, fromPort: number): void;
  /** Sends; never more than the credit received so far (initially {@link Limits.streamWindow}). The bytes are taken over when the buffer is the library OS's own, else copied. */
  send(stream: StreamId, bytes: Uint8Array): void;
  /**
   * Offers bytes to readers that wait at the other end: how many they took, straight from where they are; 0 when something is still on its way there. What was taken needs no
   * credit. -1 when nothing is ever taken at once there: it is behind a port, or no cVM. When some are left, {@link LibraryOs.credited} with 0 says that it is worth another try. This and the next two in one process only: over a port everything goes
   * by {@link HostCalls.send}.
   */
  lend?(stream: StreamId, bytes: Uint8Array): number;
  /** A reader found nothing more: see {@link HostCalls.lend}. */
  want?(stream: StreamId): void;
  /** An input (`in`, `iovIn`, `msgIn`) of a call that waits, as it is now: lent until the caller's next await. Null when there is none any more. */
  argument?(thread: ThreadId, index: number): SyscallValue;
  /** Gives the peer credit for bytes consumed. */
  credit(stream: StreamId, bytes: number): void;
  /** Half-closes the sending direction. */
  shutdown(stream: StreamId): void;
  /** Ends both directions; `reset` sends RST. Also closes a listener. */
  close(stream: StreamId, reset: boolean): void;
  /** Addresses and names that this cVM may see, for /etc/hosts and DNS. */
  names(): Awaitable<readonly { readonly name: string; readonly address: string }[]>;
  /** Objects that are shared by name. Bytes that are read are lent until the caller's first wait. */
  cp(request: CpRequest): Awaitable<CpAnswer>;

  /** Output of the cVM: console 0 is the one of its first program, others belong to `exec`. fd 1 or 2. */
  consoleWrite(console: number, fd: number, bytes: Uint8Array): void;
  /** One line of strace output, without the newline. */
  trace(line: string): void;
  /** The program that owns a console ended: exit code, or the signal. The cVM ends with console 0. */
  exited(console: number, code: number, signal: number): void;
}

// ------------------------------------------------------------------ events: monitor → library OS

/**
 * Cause of a fault (one for custom use) when a thread stored to a page for which its cVM has no memory left. With operations as the answer it tries
 * again: the library OS has then ended a process.
 */
export const OUT_OF_MEMORY = 24;

/** A synchronous exception of a thread, as the monitor saw it. */
export interface Fault {
  readonly process: ProcessId;
  readonly thread: ThreadId;
  /** mcause and mtval; an address as an offset in the region. */
  readonly cause: number;
  readonly value: number;
  /** What a load or store was to, as an offset; also where DDC's bounds refused it, and {@link value} does not say. */
  readonly address: number;
  readonly pc: number;
  readonly registers: Uint8Array;
  /** Text of the full report, printed when the fault ends the process. */
  readonly report: string;
}

/** What a library OS offers to the monitor. */
export interface LibraryOs {
  /** Declarations of all its system calls. */
  readonly syscalls: readonly SyscallDeclaration[];
  /** Starts the first program (console 0). */
  start(): Awaitable<void>;
  /** Starts another program in the cVM (`cvm exec`) on a console > 0. 0 or negative errno. */
  exec(console: number, program: ProgramOptions): Awaitable<number>;
  /** A system call. Synchronous in one process. */
  syscall(call: SyscallCall): SyscallOutcome;
  /** After {@link ProcessOp} `interrupt`: the thread is stopped with these registers; answers with ops; it goes on with its registers afterwards. */
  interrupted(thread: ThreadId, registers: Uint8Array): Awaitable<readonly ProcessOp[]>;
  /** A fault: ops that deliver a signal, or null to end the process (the library OS has then recorded its death with `signal`). */
  fault(fault: Fault): Awaitable<{ readonly ops: readonly ProcessOp[] | null; readonly signal: number }>;
  /** Input for a console; empty bytes mean end of file. */
  consoleInput(console: number, bytes: Uint8Array): void;
  consoleResize(console: number, columns: number, rows: number): void;
  /** Sends a signal to the program of a console (`cvm stop`, `cvm kill`), as init would get it. */
  signal(console: number, signal: number): void;
  /** A connection to the address of the family that `from` has. `accept(0)` refuses it. */
  incoming(listener: StreamId, from: Endpoint, accept: (stream: StreamId) => void): void;
  connected(stream: StreamId, error: number, local: Endpoint): void;
  received(stream: StreamId, bytes: Uint8Array): void;
  /**
   * Bytes in the sender's memory, valid until this returns: how many of them readers that wait have taken, the first ones. With `all` it is what {@link received} would have
   * brought: all are taken, those that nobody waits for as a copy, or none, for `received` to bring later. Never called inside a host call or an event of this library OS. A failure, or another
   * number, resets the connection.
   */
  lent?(stream: StreamId, bytes: Uint8Array, all: boolean): number;
  /** More credit; 0: see {@link HostCalls.lend}. */
  credited(stream: StreamId, bytes: number): void;
  /** The peer sends no more. */
  ended(stream: StreamId): void;
  /** Both directions are gone: errno (104 ECONNRESET). */
  reset(stream: StreamId, error: number): void;
  /** An object was notified of: `changes` times by now; 0: it was revoked. */
  cpNotified(handle: CpHandle, changes: number): void;
  /** Counters for `inspect` and `cvm syscalls`: calls by name, unknown calls by number. */
  statistics(): Awaitable<Readonly<Record<string, number>>>;
  /** The cVM is gone, its processes with it: closes files, cancels timers. Host calls have no effect any more. */
  close?(): void;
}

/** A program to start. */
export interface ProgramOptions {
  readonly argv: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  /** uid and gid. */
  readonly user: { readonly uid: number; readonly gid: number };
  /** A terminal on fds 0, 1, 2 instead of pipes. */
  readonly tty: boolean;
  /** Whether stdin is connected; otherwise it reads end of file. */
  readonly stdin: boolean;
  readonly columns?: number;
  readonly rows?: number;
}

/** How a library OS is set up for one cVM. */
export interface LibosOptions {
  readonly hostname: string;
  /** IPv4 address in the virtual network. */
  readonly address: string;
  /** More names, with IPv4 or IPv6 addresses. */
  readonly hosts?: readonly { readonly name: string; readonly address: string }[];
  /** Whether it has no network but its loopback. */
  readonly isolated?: boolean;
  /** Directory trees of the image, lowest first, each with its metadata file beside it (see @cvm/libos files/layer.ts). */
  readonly layers: readonly string[];
  /** Folder of the writable layer; made when missing. */
  readonly writable: string;
  readonly volumes: readonly { readonly source: string; readonly target: string; readonly readOnly: boolean }[];
  /** Most bytes of memory of all processes together. */
  readonly memoryBytes: number;
  readonly program: ProgramOptions;
  /** As if an init stood above the first program: signals do to it what they do to any other, and it inherits no orphans. */
  readonly init?: boolean;
  readonly strace: boolean;
}
