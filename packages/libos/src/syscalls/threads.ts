/** Threads: their words and locks. clone stands in process.ts. */
import type { Awaitable } from "@cvm/monitor/abi";
import { E } from "../kernel/errno.ts";
import { FutexWaiter, readWord, writeWord } from "../kernel/futex.ts";
import { lockPi, requeuePi, unlockPi, waitRequeuePi } from "../kernel/futex-pi.ts";
import { exitThread } from "../kernel/lifecycle.ts";
import type { LinuxContext } from "../kernel/process.ts";
import { repeat, whenReady } from "../kernel/ready.ts";
import type { Syscall, SyscallOutcome } from "../kernel/types.ts";
import {
  address,
  call,
  FULL,
  int,
  maybeInput,
  maybeOutput,
  output,
  partial,
  readU64,
  refused,
  timespecMs,
  uint,
  ulong,
  viewOf,
} from "./define.ts";

const Op = {
  WAIT: 0,
  WAKE: 1,
  REQUEUE: 3,
  CMP_REQUEUE: 4,
  WAKE_OP: 5,
  LOCK_PI: 6,
  UNLOCK_PI: 7,
  TRYLOCK_PI: 8,
  WAIT_BITSET: 9,
  WAKE_BITSET: 10,
  WAIT_REQUEUE_PI: 11,
  CMP_REQUEUE_PI: 12,
  LOCK_PI2: 13,
} as const;
const PRIVATE = 128;
const CLOCK_REALTIME = 256;
/** Operations by name, alone and with each of the two flags. */
const futexFlags: Readonly<Record<string, number>> = Object.fromEntries(
  Object.entries(Op).flatMap(([name, op]) => [
    [`FUTEX_${name}`, op],
    [`FUTEX_${name}_PRIVATE`, op | PRIVATE],
    [`FUTEX_${name}|FUTEX_CLOCK_REALTIME`, op | CLOCK_REALTIME],
    [`FUTEX_${name}_PRIVATE|FUTEX_CLOCK_REALTIME`, op | PRIVATE | CLOCK_REALTIME],
  ]),
);
/** Most words of one futex_waitv, and the bits of its flags. */
const WAITV_MOST = 128;
const FUTEX2_SIZE_U32 = 2;
const CLOCK_MONOTONIC = 1;
const WAITV_BYTES = 24;
const known: ReadonlySet<number> = new Set(Object.values(Op));

/** Milliseconds to wait from now; Infinity without a timeout; -EFAULT, -EINVAL. */
function readTimeout(context: LinuxContext, at: number, absolute: boolean, realtime: boolean): Awaitable<number> {
  if (at === 0) return Infinity;
  const { kernel, process } = context;
  return whenReady(kernel.host.readMemory(process.space, at, 16), (bytes) => {
    if (bytes === null) return -E.FAULT;
    const ms = timespecMs(bytes);
    if (ms < 0) return -E.INVAL;
    return absolute ? Math.max(0, ms - (realtime ? kernel.realtime() : kernel.monotonic())) : ms;
  });
}

function wait(
  context: LinuxContext,
  at: number,
  expected: number,
  timeoutAt: number,
  bits: number,
  absolute: boolean,
  realtime: boolean,
  isPrivate: boolean,
): Awaitable<SyscallOutcome> {
  if (bits === 0) return -E.INVAL;
  const { kernel, thread } = context;
  return whenReady(readTimeout(context, timeoutAt, absolute, realtime), (timeoutMs): Awaitable<SyscallOutcome> => {
    if (timeoutMs < 0) return timeoutMs;
    // Queued before the word is read: whoever changes the word after that finds the waiter.
    const waiter = new FutexWaiter(kernel.futexes, kernel.futexes.keyOf(context.process.memory, at, isPrivate), bits);
    kernel.futexes.add(waiter);
    return whenReady(readWord(kernel.host, context.process.memory, at), (value): SyscallOutcome => {
      if (waiter.woken) return 0;
      if (value !== expected) {
        waiter.remove();
        return value === null ? -E.FAULT : -E.AGAIN;
      }
      const outcome = kernel.park(
        thread,
        [waiter],
        () => (waiter.woken ? 0 : -E.AGAIN),
        timeoutMs,
        -E.TIMEDOUT,
        timeoutMs === Infinity,
        null,
      );
      if (thread.blocked === null) waiter.remove();
      return outcome;
    });
  });
}

/** FUTEX_WAKE_OP: changes the second word, wakes on the first, and on the second when its old value compares. */
function wakeOp(
  context: LinuxContext,
  first: number,
  count: number,
  second: number,
  secondCount: number,
  encoded: number,
  isPrivate: boolean,
): Awaitable<SyscallOutcome> {
  const { kernel, process } = context;
  const operation = (encoded >>> 28) & 7;
  const compare = (encoded >>> 24) & 15;
  const argument = (encoded << 8) >> 20;
  const operand = ((encoded >>> 28) & 8) !== 0 ? 1 << (argument & 31) : argument;
  const comparand = (encoded << 20) >> 20;
  const { memory } = process;
  const key = kernel.futexes.keyOf(memory, first, isPrivate);
  const secondKey = kernel.futexes.keyOf(memory, second, isPrivate);
  return whenReady(readWord(kernel.host, memory, second), (old): Awaitable<SyscallOutcome> => {
    if (old === null) return -E.FAULT;
    const values = [operand, old + operand, old | operand, old & ~operand, old ^ operand];
    const value = values[operation];
    const tests = [old === comparand, old !== comparand, old < comparand, old <= comparand, old > comparand, old >= comparand];
    const test = tests[compare];
    if (value === undefined) return -E.NOSYS;
    return whenReady(writeWord(kernel.host, memory, second, value), (result) => {
      if (result < 0) return result;
      if (test === undefined) return -E.NOSYS;
      if (kernel.piLocks.has(key)) return -E.INVAL;
      const woken = kernel.futexes.wake(key, count);
      if (woken < 0 || !test) return woken;
      const more = kernel.piLocks.has(secondKey) ? -E.INVAL : kernel.futexes.wake(secondKey, secondCount);
      return more < 0 ? more : woken + more;
    });
  });
}

function futex(
  context: LinuxContext,
  at: number,
  op: number,
  value: number,
  timeoutAt: number,
  second: number,
  third: number,
): Awaitable<SyscallOutcome> {
  const { futexes, host, piLocks } = context.kernel;
  const { memory } = context.process;
  const isPrivate = (op & PRIVATE) !== 0;
  const realtime = (op & CLOCK_REALTIME) !== 0;
  const command = op & ~(PRIVATE | CLOCK_REALTIME);
  if (realtime && command !== Op.WAIT_BITSET && command !== Op.WAIT_REQUEUE_PI && command !== Op.LOCK_PI2) return -E.NOSYS;
  if (!known.has(command)) return -E.NOSYS;
  if (at % 4 !== 0) return -E.INVAL;
  if (!isPrivate && memory.find(at) === undefined) return -E.FAULT;
  const key = futexes.keyOf(memory, at, isPrivate);
  /** FUTEX_LOCK_PI is the only one whose time is always that of the wall clock. */
  const until = (then: (timeoutMs: number) => Awaitable<SyscallOutcome>): Awaitable<SyscallOutcome> =>
    whenReady(readTimeout(context, timeoutAt, true, realtime || command === Op.LOCK_PI), (ms) => (ms < 0 ? ms : then(ms)));
  switch (command) {
    case Op.WAIT:
      return wait(context, at, value, timeoutAt, -1, false, false, isPrivate);
    case Op.WAIT_BITSET:
      return wait(context, at, value, timeoutAt, third, true, realtime, isPrivate);
    case Op.WAKE:
      return piLocks.has(key) ? -E.INVAL : futexes.wake(key, Math.max(1, value));
    case Op.WAKE_BITSET:
      return third === 0 || piLocks.has(key) ? -E.INVAL : futexes.wake(key, Math.max(1, value), third);
    case Op.REQUEUE:
    case Op.CMP_REQUEUE: {
      if (second % 4 !== 0 || value < 0 || timeoutAt > 0x7fffffff) return -E.INVAL;
      const to = futexes.keyOf(memory, second, isPrivate);
      const move = (): number => {
        if (piLocks.has(key)) return -E.INVAL;
        const woken = futexes.wake(key, value);
        if (woken < 0) return woken;
        const moved = futexes.requeue(key, to, timeoutAt);
        return moved < 0 ? moved : woken + moved;
      };
      if (command === Op.REQUEUE) return move();
      return whenReady(readWord(host, memory, at), (now) => (now === null ? -E.FAULT : now === third ? move() : -E.AGAIN));
    }
    case Op.WAKE_OP:
      return second % 4 !== 0 ? -E.INVAL : wakeOp(context, at, Math.max(1, value), second, timeoutAt, third, isPrivate);
    case Op.LOCK_PI:
    case Op.LOCK_PI2:
      return until((timeoutMs) => lockPi(context, at, timeoutMs, false, isPrivate));
    case Op.TRYLOCK_PI:
      return lockPi(context, at, 0, true, isPrivate);
    case Op.UNLOCK_PI:
      return unlockPi(context, at, isPrivate);
    case Op.WAIT_REQUEUE_PI:
      return second % 4 !== 0 ? -E.INVAL : until((timeoutMs) => waitRequeuePi(context, at, value, timeoutMs, second, isPrivate));
    case Op.CMP_REQUEUE_PI:
      if (second % 4 !== 0 || value !== 1 || timeoutAt > 0x7fffffff) return -E.INVAL;
      return requeuePi(context, at, timeoutAt, second, third, isPrivate);
    default:
      return -E.NOSYS;
  }
}

/** futex_waitv(2): waits on several words at once; the index of one that was woken. */
function waitAny(context: LinuxContext, entries: Uint8Array, flags: number, timeoutAt: number, clock: number): Awaitable<SyscallOutcome> {
  const { kernel, process, thread } = context;
  const { memory } = process;
  const count = entries.length / WAITV_BYTES;
  if (flags !== 0 || count === 0 || count > WAITV_MOST) return -E.INVAL;
  if (timeoutAt !== 0 && clock !== 0 && clock !== CLOCK_MONOTONIC) return -E.INVAL;
  return whenReady(readTimeout(context, timeoutAt, true, clock === 0), (timeoutMs): Awaitable<SyscallOutcome> => {
    if (timeoutMs < 0) return timeoutMs;
    const view = viewOf(entries);
    const words = Array.from({ length: count }, (_, index) => ({
      value: view.getInt32(index * WAITV_BYTES, true),
      high: view.getInt32(index * WAITV_BYTES + 4, true),
      at: readU64(view, index * WAITV_BYTES + 8),
      flags: view.getUint32(index * WAITV_BYTES + 16, true),
      reserved: view.getUint32(index * WAITV_BYTES + 20, true),
    }));
    if (words.some((word) => (word.flags & ~PRIVATE) !== FUTEX2_SIZE_U32 || word.reserved !== 0 || word.at % 4 !== 0 || word.high !== 0))
      return -E.INVAL;
    const waiters = words.map(
      (word) => new FutexWaiter(kernel.futexes, kernel.futexes.keyOf(memory, word.at, (word.flags & PRIVATE) !== 0), -1),
    );
    for (const waiter of waiters) kernel.futexes.add(waiter);
    let next = 0;
    let failed = 0;
    const compare = (): Awaitable<boolean> => {
      const word = words[next++];
      if (word === undefined) return false;
      return whenReady(readWord(kernel.host, memory, word.at), (value) => {
        if (value !== word.value) failed = value === null ? -E.FAULT : -E.AGAIN;
        return failed === 0;
      });
    };
    const woken = (): number => {
      const index = waiters.findIndex((waiter) => waiter.woken);
      return index < 0 ? -E.AGAIN : index;
    };
    return whenReady(repeat(compare), (): SyscallOutcome => {
      let outcome: SyscallOutcome = woken();
      if (outcome === -E.AGAIN) outcome = failed === 0 ? kernel.park(thread, waiters, woken, timeoutMs, -E.TIMEDOUT, true, null) : failed;
      if (thread.blocked === null) for (const waiter of waiters) waiter.remove();
      return outcome;
    });
  });
}

export const threadSyscalls: readonly Syscall[] = [
  call(93, "exit", [int("status")], FULL, (context, [status]) => exitThread(context, (status as number) & 0xff)),
  call(96, "set_tid_address", [address("tidptr")], FULL, ({ thread }, [at]) => {
    thread.clearChildTid = at as number;
    return thread.id;
  }),
  call(
    98,
    "futex",
    [address("uaddr"), int("op", { values: futexFlags }), int("val"), address("timeout"), address("uaddr2"), int("val3")],
    partial("threads have no priorities to inherit: who came first is next"),
    (context, args) => {
      const [at, op, value, timeout, second, third] = args as readonly number[] as [number, number, number, number, number, number];
      return context.kernel.later(context.thread, futex(context, at, op, value, timeout, second, third));
    },
  ),
  call(99, "set_robust_list", [address("head"), ulong("len")], FULL, ({ thread }, [head, length]) => {
    if (length !== 24) return -E.INVAL;
    thread.robustList = head as number;
    return 0;
  }),
  call(100, "get_robust_list", [int("pid"), output("head_ptr", 8), output("len_ptr", 8)], FULL, ({ kernel, thread }, [pid]) => {
    const target = pid === 0 ? thread : kernel.threads.get(pid as number);
    if (target === undefined) return -E.SRCH;
    const head = new Uint8Array(8);
    viewOf(head).setBigUint64(0, BigInt(target.robustList), true);
    const length = new Uint8Array(8);
    length[0] = 24;
    return {
      result: 0,
      out: [
        { arg: 1, value: head },
        { arg: 2, value: length },
      ],
    };
  }),
  call(178, "gettid", [], FULL, ({ thread }) => thread.id),
  call(124, "sched_yield", [], FULL, () => 0),
  call(168, "getcpu", [maybeOutput("cpu", 4), maybeOutput("node", 4)], FULL, (_context, [cpu, node]) => ({
    result: 0,
    out: [
      ...(cpu === null ? [] : [{ arg: 0, value: new Uint8Array(4) }]),
      ...(node === null ? [] : [{ arg: 1, value: new Uint8Array(4) }]),
    ],
  })),
  refused(293, "rseq", E.NOSYS, "the C library goes on without"),
  call(
    283,
    "membarrier",
    [int("cmd"), uint("flags"), int("cpu_id")],
    partial("one thread runs at a time: all barriers hold already"),
    (_context, [command]) => {
      const supported = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20 | 0x40;
      if (command === 0) return supported;
      return ((command as number) & ~supported) === 0 && (command as number) > 0 ? 0 : -E.INVAL;
    },
  ),
  call(
    449,
    "futex_waitv",
    [
      maybeInput("waiters", { arg: "nr_futexes", times: WAITV_BYTES }),
      uint("nr_futexes"),
      uint("flags"),
      address("timeout"),
      int("clockid"),
    ],
    FULL,
    (context, [entries, count, flags, timeout, clock]) => {
      if (entries === null) return count === 0 ? -E.INVAL : -E.FAULT;
      const outcome = waitAny(context, (entries as Uint8Array).slice(), flags as number, timeout as number, clock as number);
      return context.kernel.later(context.thread, outcome);
    },
  ),
];
