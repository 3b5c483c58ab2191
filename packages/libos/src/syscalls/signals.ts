/** Signals: signal(7). */
import type { SyscallOutcome, SyscallReply } from "@cvm/monitor/abi";
import { FRAME_BYTES, hasDeliverable, onAlternateStack, popFrame, sendSignal, SS_AUTODISARM } from "../kernel/delivery.ts";
import { E } from "../kernel/errno.ts";
import { endProcess } from "../kernel/lifecycle.ts";
import { PidFile } from "../kernel/pidfd.ts";
import type { LinuxContext, LinuxProcess } from "../kernel/process.ts";
import { whenReady } from "../kernel/ready.ts";
import { Registers, X } from "../kernel/registers.ts";
import {
  bit,
  Code,
  decodeSignalInfo,
  encodeSignalInfo,
  IGNORED_BY_DEFAULT,
  readSet,
  setBytes,
  Sig,
  SIG_DFL,
  SIG_IGN,
  signalInfo,
  SIGNALS,
  UNBLOCKABLE,
  type SignalAction,
} from "../kernel/signals.ts";
import { BaseFile } from "../files/open-file.ts";
import { ProcessDirectory } from "../files/proc-process.ts";
import type { OpenFile, Syscall } from "../kernel/types.ts";
import {
  call,
  fd,
  FULL,
  input,
  int,
  maybeInput,
  maybeOutput,
  readU64,
  signal,
  timespecMs,
  uint,
  ulong,
  viewOf,
  writeU64,
} from "./define.ts";

const ACTION_BYTES = 24;
const SET_BYTES = 8;
const INFO_BYTES = 128;
const STACK_BYTES = 24;
const SS_ONSTACK = 1;
const SS_DISABLE = 2;
const MINSIGSTKSZ = 2048;
const how = { SIG_BLOCK: 0, SIG_UNBLOCK: 1, SIG_SETMASK: 2 } as const;
const valid = (number: number): boolean => number >= 1 && number <= SIGNALS;

function putAction(action: SignalAction): Uint8Array {
  const bytes = new Uint8Array(ACTION_BYTES);
  const view = viewOf(bytes);
  writeU64(view, 0, action.handler);
  writeU64(view, 8, action.flags);
  view.setBigUint64(16, action.mask, true);
  return bytes;
}

/** Whether the caller may send to the process: the same user or root. */
function may({ process }: LinuxContext, target: LinuxProcess, number: number): boolean {
  const { euid, uid } = process.credentials;
  const other = target.credentials;
  if (euid === 0 || euid === other.uid || euid === other.suid || uid === other.uid || uid === other.suid) return true;
  return number === Sig.CONT && process.sid === target.sid;
}

function kill(context: LinuxContext, pid: number, number: number): number {
  const { kernel, process } = context;
  if (number < 0 || number > SIGNALS) return -E.INVAL;
  const info = signalInfo({ code: Code.USER, pid: process.pid, uid: process.credentials.uid });
  const targets =
    pid > 0
      ? [kernel.processes.get(pid) ?? kernel.threads.get(pid)?.process]
      : [...kernel.processes.values()].filter((one) =>
          pid === -1 ? one !== process && one !== kernel.init : one.pgid === (pid === 0 ? process.pgid : -pid),
        );
  let found = false;
  let sent = false;
  for (const target of targets) {
    if (target === undefined) continue;
    found = true;
    if (!may(context, target, number)) continue;
    sent = true;
    sendSignal(target, number, info);
  }
  return sent ? 0 : found ? -E.PERM : -E.SRCH;
}

/** tkill and tgkill; `group` 0: not checked. */
function killThread(
  context: LinuxContext,
  group: number,
  tid: number,
  number: number,
  info = signalInfo({ code: Code.TKILL, pid: context.process.pid, uid: context.process.credentials.uid }),
): number {
  if (number < 0 || number > SIGNALS || tid <= 0 || group < 0) return -E.INVAL;
  const target = context.kernel.threads.get(tid);
  if (target === undefined || (group !== 0 && target.process.pid !== group)) return -E.SRCH;
  if (!may(context, target.process, number)) return -E.PERM;
  sendSignal(target.process, number, info, target);
  return 0;
}

function sigaction({ process }: LinuxContext, number: number, bytes: Uint8Array | null): number {
  if (!valid(number) || (bytes !== null && (UNBLOCKABLE & bit(number)) !== 0n)) return -E.INVAL;
  if (bytes === null) return 0;
  const view = viewOf(bytes);
  const action: SignalAction = { handler: readU64(view, 0), flags: view.getUint32(8, true), mask: readSet(bytes, 16) & ~UNBLOCKABLE };
  process.actions[number] = action;
  if (action.handler === SIG_IGN || (action.handler === SIG_DFL && (IGNORED_BY_DEFAULT & bit(number)) !== 0n)) {
    process.pending.discard(bit(number));
    for (const thread of process.threads) thread.pending.discard(bit(number));
  }
  return 0;
}

function timedWait(context: LinuxContext, set: bigint, timeoutMs: number): SyscallOutcome {
  const { kernel, thread, process } = context;
  const attempt = (): number | SyscallReply => {
    const entry = thread.pending.take(set) ?? process.pending.take(set);
    if (entry === undefined) return -E.AGAIN;
    thread.waitingFor = 0n;
    return { result: entry.signal, out: [{ arg: 1, value: encodeSignalInfo(entry.signal, entry.info) }] };
  };
  const now = attempt();
  if (now !== -E.AGAIN) return now;
  // The waited-for signals are kept from being delivered while the thread sleeps.
  thread.waitingFor = set;
  const stop = (result: number) => (): number => {
    thread.waitingFor = 0n;
    return result;
  };
  return kernel.park(thread, [process.signalWaiters], attempt, timeoutMs, stop(-E.AGAIN), false, stop(-E.INTR));
}

/** struct stack_t. */
function putStack(context: LinuxContext, sp: number): Uint8Array {
  const { stack } = context.thread;
  const bytes = new Uint8Array(STACK_BYTES);
  const view = viewOf(bytes);
  writeU64(view, 0, stack.address);
  view.setInt32(
    8,
    (stack.flags & SS_DISABLE) !== 0 ? SS_DISABLE : (stack.flags & SS_AUTODISARM) | (onAlternateStack(context.thread, sp) ? SS_ONSTACK : 0),
    true,
  );
  writeU64(view, 16, stack.size);
  return bytes;
}

/** Whom a descriptor stands for: a pidfd, or /proc/PID. */
function processOf(file: OpenFile): LinuxProcess | undefined {
  if (file instanceof PidFile) return file.process;
  const inode = file instanceof BaseFile && file.entry !== null && file.kind === "directory" ? file.entry.inode : null;
  return inode instanceof ProcessDirectory && inode.process !== null ? (inode.process as LinuxProcess) : undefined;
}

export const signalSyscalls: readonly Syscall[] = [
  call(129, "kill", [int("pid"), signal("sig")], FULL, (context, [pid, number]) => kill(context, pid as number, number as number)),
  call(130, "tkill", [int("tid"), signal("sig")], FULL, (context, [tid, number]) =>
    killThread(context, 0, tid as number, number as number),
  ),
  call(131, "tgkill", [int("tgid"), int("tid"), signal("sig")], FULL, (context, [group, tid, number]) =>
    (group as number) <= 0 ? -E.INVAL : killThread(context, group as number, tid as number, number as number),
  ),
  call(
    132,
    "sigaltstack",
    [maybeInput("ss", STACK_BYTES), maybeOutput("old_ss", STACK_BYTES)],
    FULL,
    (context, [bytes, old]) => {
      const { thread } = context;
      const sp = new Registers(context.registers!).get(X.SP);
      const before = old === null ? null : putStack(context, sp);
      if (bytes !== null) {
        const view = viewOf(bytes as Uint8Array);
        const given = view.getInt32(8, true);
        const flags = given & ~SS_AUTODISARM;
        if ((thread.stack.flags & SS_DISABLE) === 0 && onAlternateStack(thread, sp)) return -E.PERM;
        if ((flags & ~(SS_ONSTACK | SS_DISABLE)) !== 0 || flags === (SS_ONSTACK | SS_DISABLE)) return -E.INVAL;
        if ((flags & SS_DISABLE) !== 0) thread.stack = { address: 0, size: 0, flags: SS_DISABLE };
        else {
          const size = readU64(view, 16);
          if (size < MINSIGSTKSZ) return -E.NOMEM;
          thread.stack = { address: readU64(view, 0), size, flags: given & SS_AUTODISARM };
        }
      }
      return before === null ? 0 : { result: 0, out: [{ arg: 1, value: before }] };
    },
    true,
  ),
  call(133, "rt_sigsuspend", [input("unewset", SET_BYTES), ulong("sigsetsize")], FULL, (context, [set, size]) => {
    if (size !== SET_BYTES) return -E.INVAL;
    const { kernel } = context;
    return kernel.withSignalMask(context, set as Uint8Array, () => kernel.block(context, [], () => -E.AGAIN, Infinity, 0, false));
  }),
  call(
    134,
    "rt_sigaction",
    [signal("signum"), maybeInput("act", ACTION_BYTES), maybeOutput("oldact", ACTION_BYTES), ulong("sigsetsize")],
    FULL,
    (context, [number, bytes, old, size]) => {
      if (size !== SET_BYTES) return -E.INVAL;
      const before = context.process.actions[number as number];
      const result = sigaction(context, number as number, bytes as Uint8Array | null);
      return result < 0 || old === null || before === undefined ? result : { result, out: [{ arg: 2, value: putAction(before) }] };
    },
  ),
  call(
    135,
    "rt_sigprocmask",
    [int("how", { values: how }), maybeInput("set", SET_BYTES), maybeOutput("oldset", SET_BYTES), ulong("sigsetsize")],
    FULL,
    ({ thread }, [operation, bytes, old, size]) => {
      if (size !== SET_BYTES) return -E.INVAL;
      const before = thread.mask;
      if (bytes !== null) {
        const set = readSet(bytes as Uint8Array);
        if (operation === how.SIG_BLOCK) thread.mask |= set;
        else if (operation === how.SIG_UNBLOCK) thread.mask &= ~set;
        else if (operation === how.SIG_SETMASK) thread.mask = set;
        else return -E.INVAL;
        thread.mask &= ~UNBLOCKABLE;
        if (hasDeliverable(thread)) thread.attention = true;
      }
      return old === null ? 0 : { result: 0, out: [{ arg: 2, value: setBytes(before) }] };
    },
  ),
  call(136, "rt_sigpending", [maybeOutput("uset", { arg: "sigsetsize" }), ulong("sigsetsize")], FULL, ({ thread, process }, [, size]) => {
    if ((size as number) > SET_BYTES) return -E.INVAL;
    return {
      result: 0,
      out: [{ arg: 0, value: setBytes((thread.pending.set | process.pending.set) & thread.mask).subarray(0, size as number) }],
    };
  }),
  call(
    137,
    "rt_sigtimedwait",
    [input("uthese", SET_BYTES), maybeOutput("uinfo", INFO_BYTES), maybeInput("uts", 16), ulong("sigsetsize")],
    FULL,
    (context, [set, info, timeout, size]) => {
      if (size !== SET_BYTES) return -E.INVAL;
      const ms = timeout === null ? Infinity : timespecMs(timeout as Uint8Array);
      if (ms < 0) return -E.INVAL;
      const outcome = timedWait(context, readSet(set as Uint8Array) & ~UNBLOCKABLE, ms);
      return info === null && typeof outcome === "object" ? outcome.result : outcome;
    },
  ),
  call(138, "rt_sigqueueinfo", [int("pid"), signal("sig"), input("uinfo", INFO_BYTES)], FULL, (context, [pid, number, bytes]) => {
    const target = context.kernel.processes.get(pid as number);
    if ((number as number) < 0 || (number as number) > SIGNALS) return -E.INVAL;
    if (target === undefined) return -E.SRCH;
    const info = decodeSignalInfo(bytes as Uint8Array);
    if ((info.code >= 0 || info.code === Code.TKILL) && target !== context.process) return -E.PERM;
    if (!may(context, target, number as number)) return -E.PERM;
    sendSignal(target, number as number, info);
    return 0;
  }),
  call(
    240,
    "rt_tgsigqueueinfo",
    [int("tgid"), int("tid"), signal("sig"), input("uinfo", INFO_BYTES)],
    FULL,
    (context, [group, tid, number, bytes]) => {
      const info = decodeSignalInfo(bytes as Uint8Array);
      if ((group as number) <= 0) return -E.INVAL;
      if ((info.code >= 0 || info.code === Code.TKILL) && group !== context.process.pid) return -E.PERM;
      return killThread(context, group as number, tid as number, number as number, info);
    },
  ),
  call(
    139,
    "rt_sigreturn",
    [],
    FULL,
    (context) => {
      const { kernel, process, thread } = context;
      const current = Uint8Array.from(context.registers!);
      const sp = new Registers(current).get(X.SP);
      return kernel.later(
        thread,
        whenReady(kernel.host.readMemory(process.space, sp, FRAME_BYTES), (frame): SyscallReply => {
          if (frame === null) return { result: 0, ops: endProcess(process, { code: 0, signal: Sig.SEGV }) };
          return { result: 0, ops: [{ op: "registers", thread: thread.id, registers: popFrame(thread, current, frame) }] };
        }),
      );
    },
    true,
  ),
  call(
    424,
    "pidfd_send_signal",
    [fd("pidfd"), signal("sig"), maybeInput("info", INFO_BYTES), uint("flags")],
    FULL,
    (context, [number, sent, bytes, flags]) => {
      const file = context.process.fds.get(number as number);
      if (flags !== 0 || (sent as number) < 0 || (sent as number) > SIGNALS) return -E.INVAL;
      const target = file === undefined ? undefined : processOf(file);
      if (target === undefined) return -E.BADF;
      if (target.ended && !context.kernel.processes.has(target.pid)) return -E.SRCH;
      if (!may(context, target, sent as number)) return -E.PERM;
      sendSignal(
        target,
        sent as number,
        bytes === null
          ? signalInfo({ code: Code.USER, pid: context.process.pid, uid: context.process.credentials.uid })
          : decodeSignalInfo(bytes as Uint8Array),
      );
      return 0;
    },
  ),
];
