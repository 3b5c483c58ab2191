/**
 * The seams inside the library OS: what system call families, files and sockets know of each other.
 */
import type {
  HostCalls,
  LibosOptions,
  ProcessOp,
  SyscallDeclaration,
  SyscallOutcome,
  SyscallReply,
  SyscallValue,
  ThreadId,
  ProcessId,
} from "@cvm/monitor/abi";
import type { WaitQueue } from "./wait.ts";

/** How far a system call goes; docs and `cvm syscalls` print it. */
export type Support =
  | { readonly level: "full" }
  | { readonly level: "partial"; readonly note: string }
  | { readonly level: "error"; readonly errno: number; readonly note: string };

/** One row of the system call table: number, signature, support and handler of one call. */
export interface Syscall extends SyscallDeclaration {
  readonly support: Support;
  readonly handler: (context: CallContext, args: readonly SyscallValue[]) => SyscallOutcome;
}

/** Who calls. One object per thread, reused from call to call. */
export interface CallContext {
  readonly kernel: Kernel;
  readonly process: Process;
  readonly thread: Thread;
  /** The register file when the declaration asks for it. */
  registers: Uint8Array | undefined;
  /** What a read gives is used before anything else happens: it may be a view of what is there for this moment only. */
  readonly atOnce?: boolean;
}

export interface Kernel {
  readonly host: HostCalls;
  readonly options: LibosOptions;
  readonly processes: Map<number, Process>;
  readonly threads: Map<ThreadId, Thread>;
  readonly vfs: Vfs;
  /** Sockets, listeners, names: one per cVM. */
  readonly network: Network;
  readonly random: (bytes: number) => Uint8Array;
  /** Milliseconds of CLOCK_MONOTONIC, with a fraction. */
  monotonic(): number;
  /** The same of CLOCK_REALTIME. */
  realtime(): number;
  /**
   * Parks the calling thread until one of `queues` is notified, then runs `retry` again (and again, while it returns -EAGAIN).
   * Wakes with `-ETIMEDOUT`-free value `onTimeout` after `timeoutMs` (Infinity: never), with -EINTR (or a restart) when a signal is
   * to be delivered. Returns PENDING (or at once what `retry` returned when it is not -EAGAIN; `retry` is first run at the first notification).
   * `interrupted`: the answer instead of -EINTR (a write that was done in part).
   */
  block(
    context: CallContext,
    queues: readonly WaitQueue[],
    retry: () => number | SyscallReply,
    timeoutMs: number,
    onTimeout: number | (() => number | SyscallReply),
    restartable: boolean,
    interrupted?: (() => number | SyscallReply) | null,
  ): SyscallOutcome;
  /** Answers a call that returned PENDING without {@link block}. Nothing happens when the thread has ended. */
  answer(thread: Thread, reply: number | SyscallReply): void;
  /**
   * Runs a call with another signal mask until it is answered (ppoll, pselect6, epoll_pwait): `mask` is the 8 bytes of a sigset_t.
   * A signal that arrives meanwhile ends the call with -EINTR; its handler runs under `mask`, and the frame restores the old one.
   */
  withSignalMask(context: CallContext, mask: Uint8Array, run: () => SyscallOutcome): SyscallOutcome;
  /** What signalfd reads from. */
  readonly signalSource: SignalSource;
  /**
   * A process of the background uses its terminal: its group gets `signal` (SIGTTIN or SIGTTOU). 0 when it may go on, -EIO when it may not, or -EINTR:
   * the call is to answer that at once, and is made again when the group has been continued.
   */
  stopBackground(context: CallContext, signal: number): number;
  /** Sends a signal to a process (thread undefined) or a thread. */
  signal(process: Process, signal: number, info?: Partial<SignalInfo>, thread?: Thread): void;
}

/** Pending signals, as a signalfd sees them. `set` is a sigset_t. */
export interface SignalSource {
  /** Whether a signal of `set` is pending for the process or, when given, the thread. */
  pending(process: Process, thread: Thread | undefined, set: bigint): boolean;
  /** Takes the first pending signal of `set`. */
  take(context: CallContext, set: bigint): { readonly signal: number; readonly info: SignalInfo } | undefined;
  /** Notified when a signal becomes pending for the process or one of its threads. */
  arrivals(process: Process): WaitQueue;
}

export interface SignalInfo {
  readonly code: number;
  readonly pid: number;
  readonly uid: number;
  readonly status: number;
  readonly value: bigint;
  readonly address: number;
}

export interface Credentials {
  uid: number;
  euid: number;
  suid: number;
  fsuid: number;
  gid: number;
  egid: number;
  sgid: number;
  fsgid: number;
  groups: number[];
}

/** A Linux process (thread group). */
export interface Process {
  readonly pid: number;
  parent: Process | null;
  pgid: number;
  sid: number;
  /** Handle of its address range in the monitor. */
  space: ProcessId;
  readonly threads: Set<Thread>;
  readonly fds: FdTable;
  readonly fs: FsContext;
  readonly credentials: Credentials;
  /** comm, argv and executable path, for /proc. */
  name: string;
  argv: readonly string[];
  env: readonly string[];
  executable: string;
  /** Console of its controlling program (0: the cVM's first). */
  readonly console: number;
  readonly startedAt: number;
  /** Most bytes of a file that it may write: RLIMIT_FSIZE. */
  fileLimit?(): number;
  /** Text of /proc/PID/maps. */
  maps(): string;
  /** Bytes mapped and bytes of address range, for /proc/PID/stat and statm. */
  memoryUse(): { readonly resident: number; readonly virtual: number };
  state(): "R" | "S" | "Z" | "T";
  /** Notified when a signal is queued (signalfd). */
  readonly signalWaiters: WaitQueue;
  /** Notified when the process has ended (pidfd). */
  readonly exitWaiters: WaitQueue;
  /** True once it has ended; it stays in the table until its parent has waited for it. */
  readonly ended: boolean;
}

export interface Thread {
  readonly id: ThreadId;
  readonly process: Process;
  name: string;
}

/** Root, working directory and umask; shared by threads, copied by fork. */
export interface FsContext {
  cwd: string;
  /** Of chroot(2); "/" otherwise. */
  root: string;
  umask: number;
}

/** File descriptors of a process. Numbers 0 … limit-1. */
export interface FdTable {
  readonly limit: number;
  /** undefined when not open. */
  get(fd: number): OpenFile | undefined;
  /** Lowest free number ≥ `from`; -EMFILE when none. Takes over one reference. */
  add(file: OpenFile, closeOnExec: boolean, from?: number): number;
  /** Closes what was there. Takes over one reference. */
  set(fd: number, file: OpenFile, closeOnExec: boolean): void;
  closeOnExec(fd: number): boolean;
  setCloseOnExec(fd: number, value: boolean): void;
  /** 0 or -EBADF. */
  close(fd: number): number;
  /** All open numbers, ascending. */
  list(): number[];
}

/** Linux stat, as numbers; times in nanoseconds as BigInt. */
export interface Stat {
  dev: number;
  ino: number;
  mode: number;
  nlink: number;
  uid: number;
  gid: number;
  rdev: number;
  size: number;
  blksize: number;
  blocks: number;
  atime: bigint;
  mtime: bigint;
  ctime: bigint;
  /** Birth, where it is known. */
  btime?: bigint;
}

/** poll(2) events. */
export const Poll = { IN: 1, PRI: 2, OUT: 4, ERR: 8, HUP: 16, NVAL: 32, RDHUP: 0x2000 } as const;

/**
 * An open file description: files, directories, pipes, sockets, epoll, eventfd, timers, terminals. Methods return a negative
 * errno on failure; -EAGAIN (-11) means "would block": the caller parks the thread on {@link waiters} when the
 * description is blocking and tries again when notified.
 */
export interface OpenFile {
  /** O_* status flags (O_NONBLOCK 0o4000, O_APPEND 0o2000 and the access mode). */
  flags: number;
  /** References from fd tables and from messages in flight; `release` at 0 closes. */
  references: number;
  /** What /proc/self/fd/N links to: a path, `pipe:[12]`, `socket:[7]`, `anon_inode:[eventpoll]`. */
  readonly name: string;
  /** Notified whenever `poll()` may have changed. */
  readonly waiters: WaitQueue;
  /** `offset` null: the current position, which advances. Returns at most `max` bytes; empty at end of file. */
  read(max: number, offset: number | null, context: CallContext): Uint8Array | number;
  write(bytes: Uint8Array, offset: number | null, context: CallContext): number;
  poll(): number;
  stat(): Stat | number;
  /** -ESPIPE where not seekable. */
  seek(offset: number, whence: number): number;
  /** `argument` is the raw third argument; input bytes were copied by the declaration of ioctl (up to 64 bytes, null when unreadable). */
  ioctl(
    request: number,
    argument: number,
    input: Uint8Array | null,
    context: CallContext,
  ): number | { readonly result: number; readonly output: Uint8Array };
  /** Called once, when the last reference is gone. */
  close(): void;
  /** Only for files of the VFS. */
  readonly node?: VfsFile;
  /** F_SEAL_ bits of a file in memory. */
  readonly seals?: number;
  /** The kind, to cast by: sockets and epoll have more methods. */
  readonly kind:
    | "file"
    | "directory"
    | "pipe"
    | "socket"
    | "epoll"
    | "eventfd"
    | "timerfd"
    | "signalfd"
    | "inotify"
    | "tty"
    | "device"
    | "pidfd"
    | "memfd";
  /** Milliseconds that a blocking read or write waits (SO_RCVTIMEO, SO_SNDTIMEO) before it returns -EAGAIN; undefined: as long as it takes. */
  readTimeout?: number;
  writeTimeout?: number;
  fsync?(dataOnly: boolean, done: (result: number) => void): void;
  truncate?(length: number): number;
  /** Directory entries from the current position: packed linux_dirent64, at most `max` bytes. */
  getdents?(max: number): Uint8Array | number;
}

/** What mmap and execve need of an open regular file. */
export interface VfsFile {
  readonly path: string;
  /** Reads without a position; short at end of file. */
  pread(offset: number, length: number): Uint8Array;
  pwrite(offset: number, bytes: Uint8Array): number;
  size(): number;
}

/** The mounted tree of one cVM: image layers, writable layer, volumes, /proc, /sys, /dev, /tmp. Paths are absolute and resolved by the VFS; errors are negative errnos. */
export interface Vfs {
  /** Opens by path (relative ones against `directory`, an absolute path). */
  open(path: string, directory: string, flags: number, mode: number, context: CallContext): OpenFile | number;
  /** Whole regular file for execve: errors -ENOENT, -EACCES (not executable, directory), -ELOOP, in Linux's order. */
  executable(path: string, directory: string, context: CallContext): { readonly file: VfsFile; readonly path: string } | number;
  /** The absolute path after links were followed. */
  resolve(path: string, directory: string, followLast: boolean, context: CallContext): string | number;
  stat(path: string, directory: string, followLast: boolean, context: CallContext): Stat | number;
  /** mknod(2): bind() of a Unix socket makes an S_IFSOCK node with it. The umask applies. */
  mknod(path: string, directory: string, mode: number, rdev: number, context: CallContext): number;
  /** The leader of a session ended: its controlling terminal is free. `signal` is sent to process groups. */
  sessionEnded(session: number, signal: (group: number, signal: number) => void): void;
  /** Whether a process has a controlling terminal. */
  hasTerminal(context: CallContext): boolean;
}

/** The network stack of one cVM, as the rest of the library OS sees it: the monitor's events come in here. */
export interface Network {
  incoming(listener: number, from: { readonly address: string; readonly port: number }, accept: (stream: number) => void): void;
  connected(stream: number, error: number, local: { readonly address: string; readonly port: number }): void;
  received(stream: number, bytes: Uint8Array): void;
  lent(stream: number, bytes: Uint8Array, all: boolean): number;
  credited(stream: number, bytes: number): void;
  ended(stream: number): void;
  reset(stream: number, error: number): void;
}

export type { HostCalls, LibosOptions, ProcessOp, SyscallOutcome, SyscallReply, SyscallValue };
