/** System calls that wait for events: epoll, poll, select, eventfd, timerfd, signalfd. */
import type { Awaitable, OutValue } from "@cvm/monitor/abi";
import { PENDING } from "@cvm/monitor/abi";
import { Control, EpollFile, EVENT_BYTES, MAX_EVENTS } from "../events/epoll.ts";
import { EventFile } from "../events/eventfd.ts";
import { PollSet, SelectSet } from "../events/poll.ts";
import { SignalFile } from "../events/signalfd.ts";
import { Clock, TimerFile, TimerFlag, type TimerSetting } from "../events/timerfd.ts";
import { O } from "../files/constants.ts";
import { release } from "../files/open-file.ts";
import { E } from "../kernel/errno.ts";
import { isPromise } from "../kernel/ready.ts";
import { readSet } from "../kernel/signals.ts";
import type { CallContext, OpenFile, Syscall, SyscallOutcome, SyscallReply } from "../kernel/types.ts";

const FULL = { level: "full" } as const;
const SIGSET_BYTES = 8;
const TIMESPEC_BYTES = 16;
const ITIMERSPEC_BYTES = 32;
const SEMAPHORE = 1;

const openFlags = { EPOLL_CLOEXEC: O.CLOEXEC, NONBLOCK: O.NONBLOCK };

/** A new descriptor for a file, or -EMFILE. */
function install(context: CallContext, file: OpenFile, flags: number): number {
  const fd = context.process.fds.add(file, (flags & O.CLOEXEC) !== 0);
  if (fd < 0) release(file);
  return fd;
}

/** Milliseconds of a timespec; Infinity for null, -EINVAL. */
function milliseconds(bytes: Uint8Array | null): number {
  if (bytes === null) return Infinity;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return milliseconds64(view, 0);
}
function milliseconds64(view: DataView, at: number): number {
  const seconds = view.getInt32(at + 4, true) * 0x1_0000_0000 + view.getUint32(at, true);
  const low = view.getUint32(at + 8, true);
  if (seconds < 0 || view.getInt32(at + 12, true) !== 0 || low >= 1_000_000_000) return -E.INVAL;
  return seconds * 1000 + low / 1e6;
}
function putTimespec(view: DataView, at: number, ms: number): void {
  const seconds = Math.floor(ms / 1000);
  view.setUint32(at, seconds % 0x1_0000_0000, true);
  view.setUint32(at + 4, Math.floor(seconds / 0x1_0000_0000), true);
  view.setUint32(at + 8, Math.min(999_999_999, Math.round((ms - seconds * 1000) * 1e6)), true);
}

/** Runs a call under another signal mask, if the caller gave one. */
function masked(context: CallContext, mask: Uint8Array | null, size: number, run: () => SyscallOutcome): SyscallOutcome {
  if (mask === null) return run();
  if (size !== SIGSET_BYTES) return -E.INVAL;
  return context.kernel.withSignalMask(context, mask, run);
}

function waitForEvents(context: CallContext, fd: number, max: number, timeoutMs: number): SyscallOutcome {
  if (max <= 0 || max > MAX_EVENTS) return -E.INVAL;
  const file = context.process.fds.get(fd);
  if (file === undefined) return -E.BADF;
  if (!(file instanceof EpollFile)) return -E.INVAL;
  const events = file.collect(max);
  if (events !== null) return { result: events.length / EVENT_BYTES, out: [{ arg: 1, value: events }] };
  if (timeoutMs === 0) return 0;
  const retry = (): number | SyscallReply => {
    const late = file.collect(max);
    return late === null ? -E.AGAIN : { result: late.length / EVENT_BYTES, out: [{ arg: 1, value: late }] };
  };
  return context.kernel.block(context, file.queues, retry, timeoutMs, 0, false);
}

function poll(context: CallContext, bytes: Uint8Array | null, count: number, timeout: Uint8Array | null): SyscallOutcome {
  const timeoutMs = milliseconds(timeout);
  if (timeoutMs < 0) return -E.INVAL;
  if (count > context.process.fds.limit) return -E.INVAL;
  const set = new PollSet(bytes ?? new Uint8Array(0), count, context.process.fds);
  let deadline = context.kernel.monotonic() + timeoutMs;
  const answer = (result: number): SyscallReply => {
    const out: OutValue[] = [{ arg: 0, value: set.bytes }];
    if (timeout !== null) out.push({ arg: 2, value: remaining(context, deadline) });
    return { result, out };
  };
  const ready = set.look();
  if (ready > 0 || timeoutMs === 0) return answer(ready);
  const retry = (): number | SyscallReply => {
    const late = set.look();
    return late === 0 ? -E.AGAIN : answer(late);
  };
  const late = (): SyscallReply => {
    // Timers may be a little early; no time is left all the same.
    deadline = 0;
    return answer(set.look());
  };
  return context.kernel.block(context, set.queues(), retry, timeoutMs, late, false);
}

/** The rest of a time-out, which ppoll and pselect6 write back. */
function remaining(context: CallContext, deadline: number): Uint8Array {
  const bytes = new Uint8Array(TIMESPEC_BYTES);
  putTimespec(new DataView(bytes.buffer), 0, Math.max(0, deadline - context.kernel.monotonic()));
  return bytes;
}

function select(context: CallContext, count: number, sets: readonly (Uint8Array | null)[], timeout: Uint8Array | null): SyscallOutcome {
  const timeoutMs = milliseconds(timeout);
  if (timeoutMs < 0 || count < 0) return -E.INVAL;
  const set = new SelectSet(Math.min(count, context.process.fds.limit), sets, context.process.fds);
  if (set.bad) return -E.BADF;
  let deadline = context.kernel.monotonic() + timeoutMs;
  const answer = (result: number): SyscallReply => {
    const out: OutValue[] = [];
    set.results.forEach((value, index) => value !== null && out.push({ arg: index + 1, value }));
    if (timeout !== null) out.push({ arg: 4, value: remaining(context, deadline) });
    return { result, out };
  };
  const ready = set.look();
  if (ready > 0 || timeoutMs === 0) return answer(ready);
  const retry = (): number | SyscallReply => {
    const late = set.look();
    return late === 0 ? -E.AGAIN : answer(late);
  };
  const late = (): SyscallReply => {
    // Timers may be a little early; no time is left all the same.
    deadline = 0;
    return answer(set.look());
  };
  return context.kernel.block(context, set.queues(), retry, timeoutMs, late, false);
}

/** pselect6's last argument points at { address of a sigset_t, its size }. */
function selectMasked(context: CallContext, pair: Uint8Array | null, run: () => SyscallOutcome): SyscallOutcome {
  if (pair === null) return run();
  const view = new DataView(pair.buffer, pair.byteOffset);
  const address = view.getUint32(4, true) * 0x1_0000_0000 + view.getUint32(0, true);
  if (address === 0) return run();
  if (view.getUint32(8, true) !== SIGSET_BYTES) return -E.INVAL;
  const { kernel, thread } = context;
  const go = (mask: Uint8Array | null): SyscallOutcome => (mask === null ? -E.FAULT : masked(context, mask, SIGSET_BYTES, run));
  const read: Awaitable<Uint8Array | null> = kernel.host.readMemory(context.process.space, address, SIGSET_BYTES);
  if (!isPromise(read)) return go(read);
  void read.then((mask) => {
    const outcome = go(mask);
    if (outcome !== PENDING) kernel.answer(thread, outcome);
  });
  return PENDING;
}

function timerFile(context: CallContext, fd: number): TimerFile | number {
  const file = context.process.fds.get(fd);
  if (file === undefined) return -E.BADF;
  return file instanceof TimerFile ? file : -E.INVAL;
}
function encodeSetting(setting: TimerSetting): Uint8Array {
  const bytes = new Uint8Array(ITIMERSPEC_BYTES);
  const view = new DataView(bytes.buffer);
  putTimespec(view, 0, setting.interval);
  putTimespec(view, 16, setting.value);
  return bytes;
}

const fdSet = (name: string) => ({ name, kind: "inout", nullable: true, length: { arg: "n", times: 1 / 8, multiple: 8 } }) as const;

export const eventSyscalls: readonly Syscall[] = [
  {
    number: 19,
    name: "eventfd2",
    arguments: [
      { name: "initval", kind: "uint" },
      { name: "flags", kind: "int", print: { flags: { EFD_SEMAPHORE: SEMAPHORE, EFD_CLOEXEC: O.CLOEXEC, EFD_NONBLOCK: O.NONBLOCK } } },
    ],
    support: FULL,
    handler(context, args) {
      const flags = args[1] as number;
      if ((flags & ~(SEMAPHORE | O.CLOEXEC | O.NONBLOCK)) !== 0) return -E.INVAL;
      return install(context, new EventFile(args[0] as number, flags & O.NONBLOCK, (flags & SEMAPHORE) !== 0), flags);
    },
  },
  {
    number: 20,
    name: "epoll_create1",
    arguments: [{ name: "flags", kind: "int", print: { flags: { EPOLL_CLOEXEC: openFlags.EPOLL_CLOEXEC } } }],
    support: FULL,
    handler(context, args) {
      const flags = args[0] as number;
      return (flags & ~O.CLOEXEC) !== 0 ? -E.INVAL : install(context, new EpollFile(), flags);
    },
  },
  {
    number: 21,
    name: "epoll_ctl",
    arguments: [
      { name: "epfd", kind: "fd" },
      {
        name: "op",
        kind: "int",
        print: { values: { EPOLL_CTL_ADD: Control.ADD, EPOLL_CTL_DEL: Control.DEL, EPOLL_CTL_MOD: Control.MOD } },
      },
      { name: "fd", kind: "fd" },
      { name: "event", kind: "in", length: { bytes: EVENT_BYTES }, nullable: true },
    ],
    support: FULL,
    handler(context, args) {
      const operation = args[1] as number;
      const event = args[3] as Uint8Array | null;
      if (operation !== Control.DEL && event === null) return -E.FAULT;
      const { fds } = context.process;
      const epoll = fds.get(args[0] as number);
      const file = fds.get(args[2] as number);
      if (epoll === undefined || file === undefined) return -E.BADF;
      if (!(epoll instanceof EpollFile)) return -E.INVAL;
      return epoll.control(operation, args[2] as number, file, event);
    },
  },
  {
    number: 22,
    name: "epoll_pwait",
    arguments: [
      { name: "epfd", kind: "fd" },
      { name: "events", kind: "out", length: { arg: "maxevents", times: EVENT_BYTES } },
      { name: "maxevents", kind: "int" },
      { name: "timeout", kind: "int" },
      { name: "sigmask", kind: "in", length: { arg: "sigsetsize" }, nullable: true },
      { name: "sigsetsize", kind: "ulong" },
    ],
    support: FULL,
    handler(context, args) {
      const mask = args[4] as Uint8Array | null;
      const timeout = args[3] as number;
      const timeoutMs = timeout < 0 ? Infinity : timeout;
      if (mask === null) return waitForEvents(context, args[0] as number, args[2] as number, timeoutMs);
      const [fd, , max] = args as [number, unknown, number];
      return masked(context, mask, args[5] as number, () => waitForEvents(context, fd, max, timeoutMs));
    },
  },
  {
    number: 72,
    name: "pselect6",
    arguments: [
      { name: "n", kind: "int" },
      fdSet("inp"),
      fdSet("outp"),
      fdSet("exp"),
      { name: "tsp", kind: "inout", length: { bytes: TIMESPEC_BYTES }, nullable: true },
      { name: "sig", kind: "in", length: { bytes: 16 }, nullable: true },
    ],
    support: FULL,
    handler(context, args) {
      const [count, inp, outp, exp, timeout, pair] = args as [
        number,
        Uint8Array | null,
        Uint8Array | null,
        Uint8Array | null,
        Uint8Array | null,
        Uint8Array | null,
      ];
      return selectMasked(context, pair, () => select(context, count, [inp, outp, exp], timeout));
    },
  },
  {
    number: 73,
    name: "ppoll",
    arguments: [
      { name: "fds", kind: "inout", length: { arg: "nfds", times: 8 }, nullable: true },
      { name: "nfds", kind: "uint" },
      { name: "tsp", kind: "inout", length: { bytes: TIMESPEC_BYTES }, nullable: true },
      { name: "sigmask", kind: "in", length: { arg: "sigsetsize" }, nullable: true },
      { name: "sigsetsize", kind: "ulong" },
    ],
    support: FULL,
    handler(context, args) {
      const [bytes, count, timeout, mask] = args as [Uint8Array | null, number, Uint8Array | null, Uint8Array | null];
      if (bytes === null && count > 0) return count > context.process.fds.limit ? -E.INVAL : -E.FAULT;
      return masked(context, mask, args[4] as number, () => poll(context, bytes, count, timeout));
    },
  },
  {
    number: 74,
    name: "signalfd4",
    arguments: [
      { name: "fd", kind: "fd" },
      { name: "mask", kind: "in", length: { arg: "sizemask" } },
      { name: "sizemask", kind: "ulong" },
      { name: "flags", kind: "int", print: { flags: { SFD_CLOEXEC: O.CLOEXEC, SFD_NONBLOCK: O.NONBLOCK } } },
    ],
    support: { level: "partial", note: "a descriptor that fork hands down shows the signals of the process that made it" },
    handler(context, args) {
      const [fd, mask, size, flags] = args as [number, Uint8Array, number, number];
      if (size !== SIGSET_BYTES || (flags & ~(O.CLOEXEC | O.NONBLOCK)) !== 0) return -E.INVAL;
      const source = context.kernel.signalSource;
      if (fd === -1) return install(context, new SignalFile(source, context.process, readSet(mask), flags & O.NONBLOCK), flags);
      const file = context.process.fds.get(fd);
      if (file === undefined) return -E.BADF;
      if (!(file instanceof SignalFile)) return -E.INVAL;
      file.setSignals(readSet(mask));
      return fd;
    },
  },
  {
    number: 85,
    name: "timerfd_create",
    arguments: [
      {
        name: "clockid",
        kind: "int",
        print: { values: { CLOCK_REALTIME: Clock.REALTIME, CLOCK_MONOTONIC: Clock.MONOTONIC, CLOCK_BOOTTIME: Clock.BOOTTIME } },
      },
      { name: "flags", kind: "int", print: { flags: { TFD_CLOEXEC: O.CLOEXEC, TFD_NONBLOCK: O.NONBLOCK } } },
    ],
    support: FULL,
    handler(context, args) {
      const [clock, flags] = args as [number, number];
      if ((flags & ~(O.CLOEXEC | O.NONBLOCK)) !== 0 || !(Object.values(Clock) as number[]).includes(clock)) return -E.INVAL;
      if ((clock === Clock.REALTIME_ALARM || clock === Clock.BOOTTIME_ALARM) && context.process.credentials.euid !== 0) return -E.PERM;
      return install(context, new TimerFile(context.kernel, clock, flags & O.NONBLOCK), flags);
    },
  },
  {
    number: 86,
    name: "timerfd_settime",
    arguments: [
      { name: "fd", kind: "fd" },
      {
        name: "flags",
        kind: "int",
        print: { flags: { TFD_TIMER_ABSTIME: TimerFlag.ABSTIME, TFD_TIMER_CANCEL_ON_SET: TimerFlag.CANCEL_ON_SET } },
      },
      { name: "new_value", kind: "in", length: { bytes: ITIMERSPEC_BYTES } },
      { name: "old_value", kind: "out", length: { bytes: ITIMERSPEC_BYTES }, nullable: true },
    ],
    support: { level: "partial", note: "TFD_TIMER_CANCEL_ON_SET never cancels: the clock is not set inside a cVM" },
    handler(context, args) {
      const [fd, flags, bytes, old] = args as [number, number, Uint8Array, number | null];
      const view = new DataView(bytes.buffer, bytes.byteOffset);
      const interval = milliseconds64(view, 0);
      const value = milliseconds64(view, 16);
      if ((flags & ~(TimerFlag.ABSTIME | TimerFlag.CANCEL_ON_SET)) !== 0 || interval < 0 || value < 0) return -E.INVAL;
      const file = timerFile(context, fd);
      if (typeof file === "number") return file;
      const before = file.set({ interval, value }, flags);
      return old === null ? 0 : { result: 0, out: [{ arg: 3, value: encodeSetting(before) }] };
    },
  },
  {
    number: 87,
    name: "timerfd_gettime",
    arguments: [
      { name: "fd", kind: "fd" },
      { name: "curr_value", kind: "out", length: { bytes: ITIMERSPEC_BYTES } },
    ],
    support: FULL,
    handler(context, args) {
      const file = timerFile(context, args[0] as number);
      return typeof file === "number" ? file : { result: 0, out: [{ arg: 1, value: encodeSetting(file.setting()) }] };
    },
  },
  {
    number: 441,
    name: "epoll_pwait2",
    arguments: [
      { name: "epfd", kind: "fd" },
      { name: "events", kind: "out", length: { arg: "maxevents", times: EVENT_BYTES } },
      { name: "maxevents", kind: "int" },
      { name: "timeout", kind: "in", length: { bytes: TIMESPEC_BYTES }, nullable: true },
      { name: "sigmask", kind: "in", length: { arg: "sigsetsize" }, nullable: true },
      { name: "sigsetsize", kind: "ulong" },
    ],
    support: FULL,
    handler(context, args) {
      const [fd, , max, timeout, mask, size] = args as [number, unknown, number, Uint8Array | null, Uint8Array | null, number];
      const timeoutMs = milliseconds(timeout);
      if (timeoutMs < 0) return -E.INVAL;
      return masked(context, mask, size, () => waitForEvents(context, fd, max, timeoutMs));
    },
  },
];
