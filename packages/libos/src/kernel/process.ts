/** Processes and threads of the library OS: state only; what happens to them stands in kernel.ts, delivery.ts and lifecycle.ts. */
import type { SyscallReply, ThreadId } from "@cvm/monitor/abi";
import type { AddressSpace } from "./address-space.ts";
import type { DescriptorTable } from "./fd-table.ts";
import type { PiLock } from "./futex-pi.ts";
import type { LinuxKernel } from "./kernel.ts";
import { DEFAULT_ACTION, SIGNALS, SignalQueue, type SignalAction } from "./signals.ts";
import type { CallContext, Credentials, FsContext, Process, Thread } from "./types.ts";
import { WaitQueue, type Waiter } from "./wait.ts";

/** Numbers of prlimit64(2). */
export const Rlimit = {
  CPU: 0,
  FSIZE: 1,
  DATA: 2,
  STACK: 3,
  CORE: 4,
  RSS: 5,
  NPROC: 6,
  NOFILE: 7,
  MEMLOCK: 8,
  AS: 9,
  LOCKS: 10,
  SIGPENDING: 11,
  MSGQUEUE: 12,
  NICE: 13,
  RTPRIO: 14,
  RTTIME: 15,
} as const;
export const RLIMITS = 16;

/** A limit; Infinity for RLIM_INFINITY. */
export interface Limit {
  soft: number;
  hard: number;
}

/** What a process leaves to its parent: the exit code, or the signal that ended it. */
export interface Death {
  readonly code: number;
  readonly signal: number;
}

/** A timer of setitimer(2) or timer_create(2). */
export interface IntervalTimer {
  /** Milliseconds of CLOCK_MONOTONIC of the next expiry; Infinity when disarmed. */
  due: number;
  intervalMs: number;
  cancel: (() => void) | null;
  overruns: number;
  readonly expired: () => void;
}

/** The parts of a process that its maker decides. */
export interface ProcessStart {
  readonly pid: number;
  readonly parent: LinuxProcess | null;
  readonly pgid: number;
  readonly sid: number;
  readonly memory: AddressSpace;
  readonly fds: DescriptorTable;
  readonly fs: FsContext;
  readonly credentials: Credentials;
  readonly console: number;
  readonly limits: readonly Limit[];
}

export class LinuxProcess implements Process {
  readonly kernel: LinuxKernel;
  readonly pid: number;
  parent: LinuxProcess | null;
  pgid: number;
  sid: number;
  memory: AddressSpace;
  readonly threads: Set<LinuxThread> = new Set();
  fds: DescriptorTable;
  fs: FsContext;
  readonly credentials: Credentials;
  name = "";
  argv: readonly string[] = [];
  env: readonly string[] = [];
  executable = "";
  readonly console: number;
  readonly startedAt: number;
  readonly limits: Limit[];
  readonly children: Set<LinuxProcess> = new Set();
  actions: SignalAction[] = Array.from({ length: SIGNALS + 1 }, () => DEFAULT_ACTION);
  readonly pending: SignalQueue = new SignalQueue();
  readonly signalWaiters: WaitQueue = new WaitQueue();
  readonly exitWaiters: WaitQueue = new WaitQueue();
  /** Notified when a child ends, stops or goes on. */
  readonly childWaiters: WaitQueue = new WaitQueue();
  /** Set once it has ended. */
  death: Death | null = null;
  /** Sent to the parent at the end (0: none). */
  exitSignal = 17;
  /** Owns its console: its end is reported to the host. */
  ownsConsole = false;
  /** The signal that stopped it, 0 while it runs. */
  stopped = 0;
  /** A stop (or going on) that wait4 has not reported yet. */
  unreported: "stopped" | "continued" | null = null;
  /** Called once when the address space of the parent is no longer used: exec or exit after vfork. */
  released: (() => void) | null = null;
  readonly timers: Map<number, IntervalTimer> = new Map();
  executed = false;
  dumpable = 1;
  childSubreaper = false;
  noNewPrivileges = false;
  personality = 0;
  nice = 0;
  /** CPU milliseconds of ended threads, and of children that were waited for. */
  pastCpu = 0;
  childrenCpu = 0;

  constructor(kernel: LinuxKernel, start: ProcessStart) {
    this.kernel = kernel;
    this.pid = start.pid;
    this.parent = start.parent;
    this.pgid = start.pgid;
    this.sid = start.sid;
    this.memory = start.memory;
    this.fds = start.fds;
    this.fs = start.fs;
    this.credentials = start.credentials;
    this.console = start.console;
    this.limits = start.limits.map((limit) => ({ ...limit }));
    this.startedAt = kernel.monotonic();
  }
  get space(): number {
    return this.memory.id;
  }
  get ended(): boolean {
    return this.death !== null;
  }
  maps(): string {
    return this.memory.text();
  }
  memoryUse(): { readonly resident: number; readonly virtual: number } {
    return { resident: this.memory.resident, virtual: this.memory.virtual };
  }
  state(): "R" | "S" | "Z" | "T" {
    if (this.death !== null) return "Z";
    if (this.stopped !== 0) return "T";
    for (const thread of this.threads) if (thread.blocked === null) return "R";
    return "S";
  }
  /** Milliseconds of its threads outside of blocking calls: an upper bound of the CPU time used. */
  cpu(): number {
    let total = this.pastCpu;
    for (const thread of this.threads) total += thread.cpu();
    return total;
  }
  /** Descriptors that it shares with another process become its own. */
  ownDescriptors(): void {
    if (this.fds.users === 1) return;
    this.fds.users--;
    this.fds = this.fds.copy();
  }
  fileLimit(): number {
    return this.limits[Rlimit.FSIZE]!.soft;
  }
  limit(resource: number): Limit {
    return this.limits[resource]!;
  }
}

/** Whether an interrupted call is made again after the handler: where the handler's SA_RESTART says so, or in any case. */
export type Restartable = boolean | "always";

/** A call that waits: see {@link LinuxKernel.block}. */
export interface Blocked {
  readonly queues: readonly { remove(waiter: Waiter): void }[];
  readonly waiter: Waiter;
  readonly restartable: Restartable;
  readonly since: number;
  /** Ends the timer, if there is one. */
  cancel: (() => void) | null;
  /** The answer when a signal comes instead; -EINTR unless given. */
  readonly interrupted: (() => number | SyscallReply) | null;
}

export class LinuxThread implements Thread {
  readonly id: ThreadId;
  readonly process: LinuxProcess;
  name = "";
  readonly context: LinuxContext;
  /** Blocked signals. */
  mask = 0n;
  /** The mask to come back after a call with a mask of its own. */
  savedMask: bigint | null = null;
  readonly pending: SignalQueue = new SignalQueue();
  /** A signal must be looked at before the thread goes on. */
  attention = false;
  blocked: Blocked | null = null;
  /** Its handler is running right now; an answer that comes meanwhile is kept in `early`. */
  inCall = false;
  early: number | SyscallReply | undefined;
  /** The interrupted call may be made again: its first register. */
  restartable: Restartable = false;
  firstArgument = 0;
  /** Alternate signal stack: sigaltstack(2). */
  stack = { address: 0, size: 0, flags: 2 };
  clearChildTid = 0;
  /** Head of its list of robust locks; 0: none. */
  robustList = 0;
  /** Locks of FUTEX_LOCK_PI that others wait for and it holds, and the one that it waits for. */
  readonly piHeld: Set<PiLock> = new Set();
  piWanted: PiLock | null = null;
  dead = false;
  /** Registers of a thread taken off the processor by a stop signal. */
  parked: Uint8Array | null = null;
  /** An answer that came while the process was stopped. */
  held: number | SyscallReply | undefined;
  /** Signals that rt_sigtimedwait waits for. */
  waitingFor = 0n;
  parentDeathSignal = 0;
  readonly startedAt: number;
  blockedMs = 0;
  /** Sends of the running call, for strace. */
  traced: ((result: number | SyscallReply) => void) | null = null;

  constructor(id: ThreadId, process: LinuxProcess) {
    this.id = id;
    this.process = process;
    this.name = process.name;
    this.startedAt = process.kernel.monotonic();
    this.context = { kernel: process.kernel, process, thread: this, registers: undefined };
  }
  cpu(): number {
    const now = this.process.kernel.monotonic();
    return now - this.startedAt - this.blockedMs - (this.blocked === null ? 0 : now - this.blocked.since);
  }
}

/** {@link CallContext} with the classes of this implementation, for the families that need more than the interfaces. */
export interface LinuxContext extends CallContext {
  readonly kernel: LinuxKernel;
  readonly process: LinuxProcess;
  readonly thread: LinuxThread;
}

export function defaultLimits(memoryBytes: number, stackBytes: number): Limit[] {
  const limits: Limit[] = Array.from({ length: RLIMITS }, () => ({ soft: Infinity, hard: Infinity }));
  limits[Rlimit.STACK] = { soft: stackBytes, hard: Infinity };
  limits[Rlimit.CORE] = { soft: 0, hard: 0 };
  limits[Rlimit.NOFILE] = { soft: 1024, hard: 1_048_576 };
  limits[Rlimit.NPROC] = { soft: 4096, hard: 4096 };
  limits[Rlimit.MEMLOCK] = { soft: memoryBytes, hard: memoryBytes };
  limits[Rlimit.SIGPENDING] = { soft: 4096, hard: 4096 };
  limits[Rlimit.MSGQUEUE] = { soft: 819_200, hard: 819_200 };
  limits[Rlimit.NICE] = { soft: 0, hard: 0 };
  limits[Rlimit.RTPRIO] = { soft: 0, hard: 0 };
  return limits;
}
