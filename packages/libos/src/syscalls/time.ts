/** Clocks, sleeping and timers. */
import type { SyscallReply } from "@cvm/monitor/abi";
import { Clock, TAI_SECONDS } from "../kernel/clock.ts";
import { E } from "../kernel/errno.ts";
import type { IntervalTimer, LinuxContext, LinuxProcess } from "../kernel/process.ts";
import { Code, Sig, signalInfo } from "../kernel/signals.ts";
import { sendSignal } from "../kernel/delivery.ts";
import { at } from "../kernel/timer.ts";
import type { Syscall, SyscallOutcome } from "../kernel/types.ts";
import {
  call,
  FULL,
  input,
  int,
  maybeInput,
  maybeOutput,
  output,
  partial,
  putTimespec,
  putTimeval,
  refused,
  timespec,
  timespecMs,
  timevalMs,
  viewOf,
} from "./define.ts";

const clocks = {
  CLOCK_REALTIME: 0,
  CLOCK_MONOTONIC: 1,
  CLOCK_PROCESS_CPUTIME_ID: 2,
  CLOCK_THREAD_CPUTIME_ID: 3,
  CLOCK_MONOTONIC_RAW: 4,
  CLOCK_REALTIME_COARSE: 5,
  CLOCK_MONOTONIC_COARSE: 6,
  CLOCK_BOOTTIME: 7,
  CLOCK_REALTIME_ALARM: 8,
  CLOCK_BOOTTIME_ALARM: 9,
  CLOCK_TAI: 11,
} as const;
const TIMER_ABSTIME = 1;

/** Milliseconds of a clock, or -1 when there is no such clock. */
function read(context: LinuxContext, clock: number): number {
  const { kernel } = context;
  switch (clock) {
    case Clock.REALTIME:
    case Clock.REALTIME_COARSE:
    case Clock.REALTIME_ALARM:
      return kernel.realtime();
    case Clock.MONOTONIC:
    case Clock.MONOTONIC_RAW:
    case Clock.MONOTONIC_COARSE:
    case Clock.BOOTTIME:
    case Clock.BOOTTIME_ALARM:
      return kernel.monotonic();
    case Clock.PROCESS_CPUTIME:
      return context.process.cpu();
    case Clock.THREAD_CPUTIME:
      return context.thread.cpu();
    case Clock.TAI:
      return kernel.realtime() + TAI_SECONDS * 1000;
    default:
      return clock < 0 ? ofProcess(context, clock) : -1;
  }
}
/** Clocks of other processes and threads: the number is ~pid << 3 and two bits of kind. */
function ofProcess({ kernel, process }: LinuxContext, clock: number): number {
  const pid = ~(clock >> 3);
  if ((clock & 3) === 3) return -1;
  if ((clock & 4) !== 0) return (pid === 0 ? undefined : kernel.threads.get(pid))?.cpu() ?? -1;
  return (pid === 0 ? process : kernel.processes.get(pid))?.cpu() ?? -1;
}

// The most frequent call of many programs: its answer is one object, filled anew. The monitor takes the bytes before the next call.
const now = new Uint8Array(16);
const nowView = viewOf(now);
const nowReply: SyscallReply = { result: 0, out: [{ arg: 1, value: now }] };

function clockGettime(context: LinuxContext, clock: number): SyscallOutcome {
  if (context.kernel.clocks.write(clock, nowView)) return nowReply;
  const ms = read(context, clock);
  if (ms < 0) return -E.INVAL;
  putTimespec(nowView, 0, ms);
  return nowReply;
}

/** Sleeps; an interrupted relative sleep tells what is left. */
function sleep(context: LinuxContext, clock: number, absolute: boolean, ms: number, remaining: number | null): SyscallOutcome {
  const { kernel, thread } = context;
  if (ms < 0) return -E.INVAL;
  const start = read(context, clock);
  if (start < 0) return -E.INVAL;
  const duration = absolute ? ms - start : ms;
  const due = kernel.monotonic() + duration;
  const interrupted = (): number | SyscallReply =>
    remaining === null || absolute
      ? -E.INTR
      : { result: -E.INTR, out: [{ arg: remaining, value: timespec(Math.max(0, due - kernel.monotonic())) }] };
  return kernel.park(thread, [], () => -E.AGAIN, duration, 0, absolute, interrupted);
}

// ------------------------------------------------------------------ interval timers

/** setitimer's three have the keys -1 … -3, those of timer_create 0 and above. */
const ITIMER_SIGNALS = [Sig.ALRM, Sig.VTALRM, Sig.PROF] as const;

function arm(process: LinuxProcess, timer: IntervalTimer): void {
  const { kernel } = process;
  timer.cancel?.();
  timer.cancel = null;
  if (timer.due === Infinity || process.ended) return;
  timer.cancel = at(
    timer.due,
    () => kernel.monotonic(),
    () => {
      timer.cancel = null;
      const { due, intervalMs } = timer;
      if (intervalMs > 0) {
        const missed = Math.max(0, Math.floor((kernel.monotonic() - due) / intervalMs));
        timer.overruns = missed;
        timer.due = due + intervalMs * (missed + 1);
      } else timer.due = Infinity;
      timer.expired();
      if (process.timers.size > 0) arm(process, timer);
    },
  );
}

const left = (context: LinuxContext, timer: IntervalTimer | undefined): number =>
  timer === undefined || timer.due === Infinity ? 0 : Math.max(0.001, timer.due - context.kernel.monotonic());

function itimer(process: LinuxProcess, which: number): IntervalTimer {
  let timer = process.timers.get(-1 - which);
  if (timer === undefined) {
    timer = {
      due: Infinity,
      intervalMs: 0,
      cancel: null,
      overruns: 0,
      expired: () => sendSignal(process, ITIMER_SIGNALS[which]!, signalInfo({ code: Code.KERNEL })),
    };
    process.timers.set(-1 - which, timer);
  }
  return timer;
}

function itimerval(context: LinuxContext, which: number): Uint8Array {
  const timer = context.process.timers.get(-1 - which);
  const bytes = new Uint8Array(32);
  putTimeval(viewOf(bytes), 0, timer?.intervalMs ?? 0);
  putTimeval(viewOf(bytes), 16, left(context, timer));
  return bytes;
}
function itimerspec(context: LinuxContext, timer: IntervalTimer): Uint8Array {
  const bytes = new Uint8Array(32);
  putTimespec(viewOf(bytes), 0, timer.intervalMs);
  putTimespec(viewOf(bytes), 16, left(context, timer));
  return bytes;
}

const SIGEV = { SIGNAL: 0, NONE: 1, THREAD: 2, THREAD_ID: 4 } as const;
const timerClocks: WeakMap<IntervalTimer, number> = new WeakMap();

function timerCreate(context: LinuxContext, clock: number, event: Uint8Array | null): SyscallOutcome {
  const { process, kernel } = context;
  if (read(context, clock) < 0) return -E.INVAL;
  let id = 0;
  while (process.timers.has(id)) id++;
  let number: number = Sig.ALRM;
  let value = BigInt(id);
  let notify: number = SIGEV.SIGNAL;
  let target: number | undefined;
  if (event !== null) {
    const view = viewOf(event);
    value = view.getBigUint64(0, true);
    number = view.getInt32(8, true);
    notify = view.getInt32(12, true);
    if (notify === SIGEV.THREAD_ID) target = view.getInt32(16, true);
    if ((notify & ~7) !== 0 || (notify !== SIGEV.NONE && (number < 1 || number > 64))) return -E.INVAL;
    if (target !== undefined && kernel.threads.get(target)?.process !== process) return -E.INVAL;
  }
  const timer: IntervalTimer = {
    due: Infinity,
    intervalMs: 0,
    cancel: null,
    overruns: 0,
    expired: () => {
      if (notify === SIGEV.NONE) return;
      const thread = target === undefined ? undefined : kernel.threads.get(target);
      if (target === undefined || thread !== undefined)
        sendSignal(process, number, signalInfo({ code: Code.TIMER, pid: id, status: timer.overruns, value }), thread);
    },
  };
  timerClocks.set(timer, clock);
  process.timers.set(id, timer);
  const bytes = new Uint8Array(4);
  viewOf(bytes).setInt32(0, id, true);
  return { result: 0, out: [{ arg: 2, value: bytes }] };
}

function timerSettime(context: LinuxContext, id: number, flags: number, bytes: Uint8Array, old: boolean): SyscallOutcome {
  const { process, kernel } = context;
  const timer = id < 0 ? undefined : process.timers.get(id);
  if (timer === undefined) return -E.INVAL;
  const interval = timespecMs(bytes, 0);
  const value = timespecMs(bytes, 16);
  if (interval < 0 || value < 0) return -E.INVAL;
  const before = old ? itimerspec(context, timer) : null;
  const wait = (flags & TIMER_ABSTIME) !== 0 ? Math.max(0, value - read(context, timerClocks.get(timer) ?? Clock.MONOTONIC)) : value;
  timer.intervalMs = interval;
  timer.overruns = 0;
  timer.due = value === 0 ? Infinity : kernel.monotonic() + wait;
  arm(process, timer);
  return before === null ? 0 : { result: 0, out: [{ arg: 3, value: before }] };
}

export const timeSyscalls: readonly Syscall[] = [
  call(
    113,
    "clock_gettime",
    [int("clockid", { values: clocks }), output("tp", 16)],
    partial("CPU clocks count whatever is not spent in blocking calls"),
    (context, [clock]) => clockGettime(context, clock as number),
  ),
  call(114, "clock_getres", [int("clockid", { values: clocks }), maybeOutput("res", 16)], FULL, (context, [clock, where]) => {
    if (read(context, clock as number) < 0) return -E.INVAL;
    const coarse = clock === Clock.REALTIME_COARSE || clock === Clock.MONOTONIC_COARSE;
    return where === null ? 0 : { result: 0, out: [{ arg: 1, value: timespec(coarse ? 4 : 1e-6) }] };
  }),
  call(
    112,
    "clock_settime",
    [int("clockid", { values: clocks }), input("tp", 16)],
    partial("never allowed: a cVM does not set its host's clock"),
    (context, [clock, bytes]) => {
      if (read(context, clock as number) < 0 || timespecMs(bytes as Uint8Array) < 0) return -E.INVAL;
      return clock === Clock.REALTIME ? -E.PERM : -E.INVAL;
    },
  ),
  call(169, "gettimeofday", [maybeOutput("tv", 16), maybeOutput("tz", 8)], FULL, ({ kernel }, [tv, tz]) => {
    const out: { arg: number; value: Uint8Array }[] = [];
    if (tv !== null) {
      const bytes = new Uint8Array(16);
      const view = viewOf(bytes);
      kernel.clocks.write(Clock.REALTIME, view);
      view.setUint32(8, Math.floor(view.getUint32(8, true) / 1000), true);
      out.push({ arg: 0, value: bytes });
    }
    if (tz !== null) out.push({ arg: 1, value: new Uint8Array(8) });
    return { result: 0, out };
  }),
  refused(170, "settimeofday", E.PERM, "a cVM does not set its host's clock"),
  refused(171, "adjtimex", E.PERM, "a cVM does not set its host's clock"),
  refused(266, "clock_adjtime", E.PERM, "a cVM does not set its host's clock"),
  call(101, "nanosleep", [input("rqtp", 16), maybeOutput("rmtp", 16)], FULL, (context, [bytes, remaining]) =>
    sleep(context, Clock.MONOTONIC, false, timespecMs(bytes as Uint8Array), remaining === null ? null : 1),
  ),
  call(
    115,
    "clock_nanosleep",
    [int("clockid", { values: clocks }), int("flags", { flags: { TIMER_ABSTIME } }), input("rqtp", 16), maybeOutput("rmtp", 16)],
    FULL,
    (context, [clock, flags, bytes, remaining]) => {
      if (
        clock === Clock.THREAD_CPUTIME ||
        clock === Clock.MONOTONIC_RAW ||
        clock === Clock.REALTIME_COARSE ||
        clock === Clock.MONOTONIC_COARSE
      )
        return clock === Clock.THREAD_CPUTIME ? -E.INVAL : -E.OPNOTSUPP;
      return sleep(
        context,
        clock as number,
        ((flags as number) & TIMER_ABSTIME) !== 0,
        timespecMs(bytes as Uint8Array),
        remaining === null ? null : 3,
      );
    },
  ),
  call(
    102,
    "getitimer",
    [int("which", { values: { ITIMER_REAL: 0, ITIMER_VIRTUAL: 1, ITIMER_PROF: 2 } }), output("value", 32)],
    FULL,
    (context, [which]) =>
      which !== 0 && which !== 1 && which !== 2 ? -E.INVAL : { result: 0, out: [{ arg: 1, value: itimerval(context, which) }] },
  ),
  call(
    103,
    "setitimer",
    [int("which", { values: { ITIMER_REAL: 0, ITIMER_VIRTUAL: 1, ITIMER_PROF: 2 } }), maybeInput("value", 32), maybeOutput("ovalue", 32)],
    partial("ITIMER_VIRTUAL and ITIMER_PROF run in real time"),
    (context, [which, bytes, old]) => {
      if (which !== 0 && which !== 1 && which !== 2) return -E.INVAL;
      const before = old === null ? null : itimerval(context, which);
      const interval = bytes === null ? 0 : timevalMs(bytes as Uint8Array, 0);
      const value = bytes === null ? 0 : timevalMs(bytes as Uint8Array, 16);
      if (interval < 0 || value < 0) return -E.INVAL;
      const timer = itimer(context.process, which);
      timer.intervalMs = value === 0 ? 0 : interval;
      timer.due = value === 0 ? Infinity : context.kernel.monotonic() + value;
      arm(context.process, timer);
      return before === null ? 0 : { result: 0, out: [{ arg: 2, value: before }] };
    },
  ),
  call(
    107,
    "timer_create",
    [int("clockid", { values: clocks }), maybeInput("sevp", 64), output("timerid", 4)],
    partial("CPU clocks run in real time"),
    (context, [clock, event]) => timerCreate(context, clock as number, event as Uint8Array | null),
  ),
  call(108, "timer_gettime", [int("timerid"), output("curr_value", 32)], FULL, (context, [id]) => {
    const timer = (id as number) < 0 ? undefined : context.process.timers.get(id as number);
    return timer === undefined ? -E.INVAL : { result: 0, out: [{ arg: 1, value: itimerspec(context, timer) }] };
  }),
  call(109, "timer_getoverrun", [int("timerid")], FULL, ({ process }, [id]) =>
    (id as number) < 0 ? -E.INVAL : (process.timers.get(id as number)?.overruns ?? -E.INVAL),
  ),
  call(
    110,
    "timer_settime",
    [int("timerid"), int("flags", { flags: { TIMER_ABSTIME } }), input("new_value", 32), maybeOutput("old_value", 32)],
    FULL,
    (context, [id, flags, bytes, old]) => timerSettime(context, id as number, flags as number, bytes as Uint8Array, old !== null),
  ),
  call(111, "timer_delete", [int("timerid")], FULL, ({ process }, [id]) => {
    const timer = (id as number) < 0 ? undefined : process.timers.get(id as number);
    if (timer === undefined) return -E.INVAL;
    timer.cancel?.();
    process.timers.delete(id as number);
    return 0;
  }),
];
