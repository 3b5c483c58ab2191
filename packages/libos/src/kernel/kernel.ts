/** The core of a library OS: tables of processes and threads, blocking and waking, the way of a system call. */
import { randomFillSync } from "node:crypto";
import {
  PENDING,
  type Awaitable,
  type HostCalls,
  type LibosOptions,
  type ProcessOp,
  type SyscallCall,
  type SyscallOutcome,
  type SyscallReply,
  type ThreadId,
} from "@cvm/monitor/abi";
import { Clocks } from "./clock.ts";
import { hasDeliverable, sendSignal } from "./delivery.ts";
import { E } from "./errno.ts";
import { FutexTable } from "./futex.ts";
import type { PiLock } from "./futex-pi.ts";
import { stopBackground } from "./job-control.ts";
import { MemoryAccount } from "./memory-account.ts";
import type { Blocked, LinuxContext, LinuxProcess, LinuxThread, Restartable } from "./process.ts";
import { isPromise } from "./ready.ts";
import { readSet, signalInfo, UNBLOCKABLE } from "./signals.ts";
import { at } from "./timer.ts";
import type { CallContext, Kernel, Network, Process, SignalInfo, SignalSource, Syscall, Thread, Vfs } from "./types.ts";
import type { WaitQueue, Waiter } from "./wait.ts";

/** Random bytes fetched from the host at once. */
const RANDOM_BYTES = 4096;
/** Process numbers start again after this one (kernel.pid_max). */
const LAST_PID = 4_194_304;

/** An answer that waits: its bytes may be a view of what is there for a moment only. */
function kept(result: number | SyscallReply): number | SyscallReply {
  if (typeof result === "number" || result.out === undefined) return result;
  const copy = (bytes: Uint8Array): Uint8Array => bytes.slice();
  const out = result.out.map(({ arg, value }) => ({
    arg,
    value: value instanceof Uint8Array ? copy(value) : { ...value, data: copy(value.data) },
  }));
  return { ...result, out };
}

export interface Console {
  input(bytes: Uint8Array): void;
  resize(columns: number, rows: number): void;
  /** Makes its terminal, if it has one, the controlling terminal of a session. */
  claim(session: number, group: number): void;
  close(): void;
}

export class LinuxKernel implements Kernel {
  readonly host: HostCalls;
  readonly options: LibosOptions;
  readonly processes: Map<number, LinuxProcess> = new Map();
  readonly threads: Map<ThreadId, LinuxThread> = new Map();
  readonly memory: MemoryAccount;
  readonly futexes: FutexTable = new FutexTable();
  /** Locks of FUTEX_LOCK_PI that somebody waits for, by the word's key. */
  readonly piLocks: Map<number, PiLock> = new Map();
  readonly clocks: Clocks = new Clocks();
  readonly consoles: Map<number, Console> = new Map();
  /** Set right after construction: they need the kernel. */
  vfs!: Vfs;
  network!: Network;
  /** Called after the end of the first program. */
  onEnd: () => void = () => {};
  /** The process that gets orphans. */
  init: LinuxProcess | null = null;
  hostname: string;
  #nextPid = 1;
  readonly #table: (Syscall | undefined)[];
  readonly #calls: Float64Array;
  readonly #unknown: Map<number, number> = new Map();
  readonly #random: Uint8Array = new Uint8Array(RANDOM_BYTES);
  #randomUsed = RANDOM_BYTES;

  constructor(host: HostCalls, options: LibosOptions, table: readonly Syscall[]) {
    this.host = host;
    this.options = options;
    this.hostname = options.hostname;
    this.memory = new MemoryAccount(options.memoryBytes, host);
    const last = table.reduce((most, { number }) => Math.max(most, number), 0);
    this.#table = Array.from({ length: last + 1 });
    for (const row of table) this.#table[row.number] = row;
    this.#calls = new Float64Array(last + 1);
  }

  monotonic(): number {
    return this.clocks.monotonic();
  }
  /** Milliseconds of CLOCK_REALTIME, with a fraction. */
  realtime(): number {
    return this.clocks.realtime();
  }
  /** Shows all programs that the wall clock was set. */
  clockSet(): void {
    const bytes = this.clocks.page();
    const ops: ProcessOp[] = [];
    for (const memory of new Set(Array.from(this.processes.values(), (process) => process.memory))) memory.setClocks(bytes, ops);
    if (ops.length > 0) void this.host.operate(ops);
  }
  random(bytes: number): Uint8Array {
    if (bytes > RANDOM_BYTES) return randomFillSync(new Uint8Array(bytes));
    if (this.#randomUsed + bytes > RANDOM_BYTES) {
      randomFillSync(this.#random);
      this.#randomUsed = 0;
    }
    const result = this.#random.slice(this.#randomUsed, this.#randomUsed + bytes);
    this.#random.fill(0, this.#randomUsed, this.#randomUsed + bytes);
    this.#randomUsed += bytes;
    return result;
  }
  /** A free number for a process or thread. */
  newPid(): number {
    do {
      if (this.#nextPid > LAST_PID) this.#nextPid = 300;
      this.#nextPid++;
    } while (this.processes.has(this.#nextPid - 1) || this.threads.has(this.#nextPid - 1));
    return this.#nextPid - 1;
  }
  row(number: number): Syscall | undefined {
    return this.#table[number];
  }

  /** A system call of a thread. */
  syscall(call: SyscallCall): SyscallOutcome {
    const thread = this.threads.get(call.thread);
    if (thread === undefined) return -E.SRCH;
    const row = this.#table[call.number];
    if (row === undefined) {
      this.#unknown.set(call.number, (this.#unknown.get(call.number) ?? 0) + 1);
      return thread.attention ? this.#attend(thread, -E.NOSYS) : -E.NOSYS;
    }
    this.#calls[call.number]!++;
    const { context } = thread;
    context.registers = call.registers;
    const first = call.args[0];
    thread.firstArgument = typeof first === "number" ? first : NaN;
    thread.inCall = true;
    let outcome: SyscallOutcome;
    try {
      outcome = row.handler(context, call.args);
    } catch (error) {
      // A mistake of this library OS: the program gets an error instead of everybody an end.
      this.host.trace(`${row.name}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
      outcome = -E.IO;
    }
    thread.inCall = false;
    if (outcome === PENDING) {
      if (thread.early === undefined) return PENDING;
      outcome = thread.early;
      thread.early = undefined;
    }
    return thread.attention ? this.#attend(thread, outcome) : outcome;
  }
  /** Lets the signals of a thread be delivered right after its call. */
  #attend(thread: LinuxThread, outcome: number | SyscallReply): SyscallOutcome {
    if (thread.dead) return outcome;
    const interrupt: ProcessOp = { op: "interrupt", thread: thread.id };
    if (typeof outcome === "number") return { result: outcome, ops: [interrupt] };
    return { ...outcome, ops: [...(outcome.ops ?? []), interrupt] };
  }

  block(
    context: CallContext,
    queues: readonly WaitQueue[],
    retry: () => number | SyscallReply,
    timeoutMs: number,
    onTimeout: number | (() => number | SyscallReply),
    restartable: boolean,
    interrupted: (() => number | SyscallReply) | null = null,
  ): SyscallOutcome {
    const { thread } = context as LinuxContext;
    return this.park(thread, queues, retry, timeoutMs, onTimeout, restartable, interrupted);
  }

  /** {@link block} with an answer of its own for interruption by a signal. */
  park(
    thread: LinuxThread,
    queues: readonly { add(waiter: Waiter): void; remove(waiter: Waiter): void }[],
    retry: () => number | SyscallReply,
    timeoutMs: number,
    onTimeout: number | (() => number | SyscallReply),
    restartable: Restartable,
    interrupted: (() => number | SyscallReply) | null,
  ): SyscallOutcome {
    if (timeoutMs <= 0) return typeof onTimeout === "number" ? onTimeout : onTimeout();
    if (hasDeliverable(thread)) {
      thread.attention = true;
      thread.restartable = restartable;
      return interrupted === null ? -E.INTR : interrupted();
    }
    // A retry changes things itself (a pipe that it reads becomes writable) and would be notified while it runs: it then runs once more.
    let running = false;
    let again = false;
    const waiter = (): void => {
      if (thread.blocked !== blocked) return;
      again = true;
      if (running) return;
      running = true;
      let result: number | SyscallReply = -E.AGAIN;
      while (again && result === -E.AGAIN) {
        again = false;
        result = retry();
      }
      running = false;
      if (result !== -E.AGAIN && thread.blocked === blocked) this.finish(thread, result);
    };
    const since = this.monotonic();
    const blocked: Blocked = { queues, waiter, restartable, since, cancel: null, interrupted };
    thread.blocked = blocked;
    for (const queue of queues) queue.add(waiter);
    if (timeoutMs !== Infinity) {
      blocked.cancel = at(
        since + timeoutMs,
        () => this.monotonic(),
        () => {
          if (thread.blocked !== blocked) return;
          blocked.cancel = null;
          this.finish(thread, typeof onTimeout === "number" ? onTimeout : onTimeout());
        },
      );
    }
    return PENDING;
  }
  /** Stops waiting, without an answer. */
  unblock(thread: LinuxThread): void {
    const { blocked } = thread;
    if (blocked === null) return;
    thread.blocked = null;
    thread.blockedMs += this.monotonic() - blocked.since;
    for (const queue of blocked.queues) queue.remove(blocked.waiter);
    blocked.cancel?.();
  }
  /** Answers a call that waits. */
  finish(thread: LinuxThread, result: number | SyscallReply): void {
    this.unblock(thread);
    this.answer(thread, result);
  }
  /** Answers a pending call of a thread, or keeps the answer while its handler still runs or its process is stopped. */
  answer(thread: LinuxThread, result: number | SyscallReply): void {
    if (thread.dead) return;
    this.#restoreMask(thread);
    if (thread.inCall) {
      thread.early = result;
      return;
    }
    if (thread.process.stopped !== 0) {
      thread.held = kept(result);
      return;
    }
    const { traced } = thread;
    if (traced !== null) {
      thread.traced = null;
      traced(result);
    }
    this.host.complete(thread.id, thread.attention ? (this.#attend(thread, result) as SyscallReply) : result);
  }
  /** The outcome of a call whose result may come later. */
  later(thread: LinuxThread, outcome: Awaitable<SyscallOutcome>): SyscallOutcome {
    if (!isPromise(outcome)) return outcome;
    outcome.then(
      (value) => {
        if (value === PENDING) return;
        // A call that ended its thread: there is nobody to answer, but something to do.
        if (!thread.dead) this.answer(thread, value);
        else if (typeof value !== "number" && value.ops !== undefined) void this.host.operate(value.ops);
      },
      (error: unknown) => {
        this.host.trace(`thread ${thread.id}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
        this.answer(thread, -E.IO);
      },
    );
    return PENDING;
  }
  /** A signal has come for a thread: ends its wait, or interrupts it between instructions. */
  poke(thread: LinuxThread): void {
    if (thread.dead) return;
    const already = thread.attention;
    thread.attention = true;
    const { blocked } = thread;
    if (blocked !== null) {
      thread.restartable = blocked.restartable;
      this.finish(thread, blocked.interrupted === null ? -E.INTR : blocked.interrupted());
    } else if (!thread.inCall && !already && thread.process.stopped === 0) void this.host.operate([{ op: "interrupt", thread: thread.id }]);
  }

  stopBackground(context: CallContext, signal: number): number {
    return stopBackground(context as LinuxContext, signal);
  }
  signal(process: Process, signal: number, info?: Partial<SignalInfo>, thread?: Thread): void {
    sendSignal(process as LinuxProcess, signal, signalInfo(info), thread as LinuxThread | undefined);
  }
  withSignalMask(context: CallContext, mask: Uint8Array, run: () => SyscallOutcome): SyscallOutcome {
    const { thread } = context as LinuxContext;
    thread.savedMask = thread.mask;
    thread.mask = readSet(mask) & ~UNBLOCKABLE;
    const outcome = run();
    if (outcome !== PENDING) this.#restoreMask(thread);
    return outcome;
  }
  /** Ends a temporary mask. When a signal passes it, its handler runs first: the mask then comes back with delivery. */
  #restoreMask(thread: LinuxThread): void {
    if (thread.savedMask === null) return;
    if (!hasDeliverable(thread)) {
      thread.mask = thread.savedMask;
      thread.savedMask = null;
    }
    if (hasDeliverable(thread)) thread.attention = true;
  }
  readonly signalSource: SignalSource = {
    pending: (process, thread, set) =>
      (((process as LinuxProcess).pending.set | ((thread as LinuxThread | undefined)?.pending.set ?? 0n)) & set) !== 0n,
    take: (context, set) => (context as LinuxContext).thread.pending.take(set) ?? (context as LinuxContext).process.pending.take(set),
    arrivals: (process) => process.signalWaiters,
  };

  /** Calls by name, unknown ones as `syscall_N`. */
  statistics(): Readonly<Record<string, number>> {
    const result: Record<string, number> = {};
    for (const [number, row] of this.#table.entries())
      if (row !== undefined && this.#calls[number]! > 0) result[row.name] = this.#calls[number]!;
    for (const [number, count] of this.#unknown) result[`syscall_${number}`] = count;
    return result;
  }
}
