/** Threads: their words and locks. clone stands in process.ts. */
import type { Awaitable } from "@cvm/monitor/abi";
import { E } from "../kernel/errno.ts";
import { FutexWaiter } from "../kernel/futex.ts";
import { exitThread } from "../kernel/lifecycle.ts";
import type { LinuxContext } from "../kernel/process.ts";
import { whenReady } from "../kernel/ready.ts";
import type { Syscall, SyscallOutcome } from "../kernel/types.ts";
import { address, call, FULL, int, maybeOutput, output, partial, refused, timespecMs, uint, ulong, viewOf } from "./define.ts";

const Op = { WAIT: 0, WAKE: 1, REQUEUE: 3, CMP_REQUEUE: 4, WAKE_OP: 5, WAIT_BITSET: 9, WAKE_BITSET: 10 } as const;
const PRIVATE = 128;
const CLOCK_REALTIME = 256;
const futexFlags = {
  FUTEX_WAIT: 0,
  FUTEX_WAKE: 1,
  FUTEX_REQUEUE: 3,
  FUTEX_CMP_REQUEUE: 4,
  FUTEX_WAKE_OP: 5,
  FUTEX_WAIT_BITSET: 9,
  FUTEX_WAKE_BITSET: 10,
  FUTEX_WAIT_PRIVATE: 128,
  FUTEX_WAKE_PRIVATE: 129,
  FUTEX_REQUEUE_PRIVATE: 131,
  FUTEX_CMP_REQUEUE_PRIVATE: 132,
  FUTEX_WAKE_OP_PRIVATE: 133,
  FUTEX_WAIT_BITSET_PRIVATE: 137,
  FUTEX_WAKE_BITSET_PRIVATE: 138,
  "FUTEX_WAIT_BITSET|FUTEX_CLOCK_REALTIME": 265,
  "FUTEX_WAIT_BITSET_PRIVATE|FUTEX_CLOCK_REALTIME": 393,
} as const;

function readWord(context: LinuxContext, at: number): Awaitable<number | null> {
  return whenReady(context.kernel.host.readMemory(context.process.space, at, 4), (bytes) =>
    bytes === null ? null : viewOf(bytes).getInt32(0, true),
  );
}

/** What a word's waiters are found by: the word itself, in memory that processes share; else its address. FUTEX_PRIVATE_FLAG says that it is not shared. */
function keyOf({ kernel, process }: LinuxContext, at: number, isPrivate: boolean): number {
  const mapping = isPrivate ? undefined : process.memory.find(at);
  return mapping === undefined || mapping.object === 0
    ? kernel.futexes.key(process.space, at)
    : kernel.futexes.sharedKey(mapping.object, mapping.offset + at - mapping.start);
}

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
    const waiter = new FutexWaiter(kernel.futexes, keyOf(context, at, isPrivate), bits);
    kernel.futexes.add(waiter);
    return whenReady(readWord(context, at), (value): SyscallOutcome => {
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
  return whenReady(readWord(context, second), (old): Awaitable<SyscallOutcome> => {
    if (old === null) return -E.FAULT;
    const values = [operand, old + operand, old | operand, old & ~operand, old ^ operand];
    const value = values[operation];
    const tests = [old === comparand, old !== comparand, old < comparand, old <= comparand, old > comparand, old >= comparand];
    const test = tests[compare];
    if (value === undefined || test === undefined) return -E.NOSYS;
    const bytes = new Uint8Array(4);
    viewOf(bytes).setInt32(0, value, true);
    if (!process.memory.allows(second, 4, 2)) return -E.FAULT;
    return whenReady(kernel.host.operate([{ op: "write", process: process.space, address: second, bytes }]), (result) => {
      if (result < 0) return result;
      const woken = kernel.futexes.wake(keyOf(context, first, isPrivate), count);
      return woken + (test ? kernel.futexes.wake(keyOf(context, second, isPrivate), secondCount) : 0);
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
  const { futexes } = context.kernel;
  if (at % 4 !== 0) return -E.INVAL;
  const isPrivate = (op & PRIVATE) !== 0;
  const realtime = (op & CLOCK_REALTIME) !== 0;
  const command = op & ~(PRIVATE | CLOCK_REALTIME);
  if (realtime && command !== Op.WAIT && command !== Op.WAIT_BITSET) return -E.NOSYS;
  switch (command) {
    case Op.WAIT:
      return wait(context, at, value, timeoutAt, -1, false, realtime, isPrivate);
    case Op.WAIT_BITSET:
      return wait(context, at, value, timeoutAt, third, true, realtime, isPrivate);
    case Op.WAKE:
      return futexes.wake(keyOf(context, at, isPrivate), Math.max(1, value));
    case Op.WAKE_BITSET:
      return third === 0 ? -E.INVAL : futexes.wake(keyOf(context, at, isPrivate), Math.max(1, value), third);
    case Op.REQUEUE:
    case Op.CMP_REQUEUE: {
      const move = (): number => {
        const woken = futexes.wake(keyOf(context, at, isPrivate), value);
        const moved = futexes.requeue(keyOf(context, at, isPrivate), keyOf(context, second, isPrivate), timeoutAt);
        return command === Op.REQUEUE ? woken : woken + moved;
      };
      if (second % 4 !== 0 || value < 0 || timeoutAt > 0x7fffffff) return -E.INVAL;
      if (command === Op.REQUEUE) return move();
      return whenReady(readWord(context, at), (now) => (now === null ? -E.FAULT : now === third ? move() : -E.AGAIN));
    }
    case Op.WAKE_OP:
      return second % 4 !== 0 ? -E.INVAL : wakeOp(context, at, Math.max(1, value), second, timeoutAt, third, isPrivate);
    default:
      return -E.NOSYS;
  }
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
    partial("no priority inheritance"),
    (context, args) => {
      const [at, op, value, timeout, second, third] = args as readonly number[] as [number, number, number, number, number, number];
      return context.kernel.later(context.thread, futex(context, at, op, value, timeout, second, third));
    },
  ),
  call(
    99,
    "set_robust_list",
    [address("head"), ulong("len")],
    partial("locks of a thread that ends without unlocking stay locked"),
    ({ thread }, [head, length]) => {
      if (length !== 24) return -E.INVAL;
      thread.robustList = head as number;
      return 0;
    },
  ),
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
  refused(449, "futex_waitv", E.NOSYS, "not needed by the C library"),
];
