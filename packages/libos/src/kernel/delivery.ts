/** Sending and delivering signals: signal(7), and the frame of Linux for riscv64 (arch/riscv/kernel/signal.c). */
import type { ProcessOp } from "@cvm/monitor/abi";
import { isOrphaned } from "./job-control.ts";
import { endProcess } from "./lifecycle.ts";
import type { LinuxProcess, LinuxThread } from "./process.ts";
import { FCSR, Registers, X } from "./registers.ts";
import {
  bit,
  Code,
  DEFAULT_ACTION,
  encodeSignalInfo,
  IGNORED_BY_DEFAULT,
  SA,
  Sig,
  SIG_DFL,
  SIG_IGN,
  signalInfo,
  STOPS,
  UNBLOCKABLE,
  type SignalAction,
} from "./signals.ts";
import type { SignalInfo } from "./types.ts";

/** struct rt_sigframe: siginfo, then ucontext (flags, link, stack, mask, registers, float registers). */
const Frame = {
  bytes: 1088,
  context: 128,
  stack: 128 + 16,
  mask: 128 + 40,
  registers: 128 + 176,
  floats: 128 + 176 + 256,
  fcsr: 128 + 176 + 512,
} as const;
const SS_DISABLE = 2;
const SS_ONSTACK = 1;
/** The alternate stack is given up while a handler runs on it. */
export const SS_AUTODISARM: number = 1 << 31;

const ignored = (action: SignalAction, signal: number): boolean =>
  action.handler === SIG_IGN || (action.handler === SIG_DFL && (IGNORED_BY_DEFAULT & bit(signal)) !== 0n);

/** Whether a signal would be delivered to the thread now. */
export function hasDeliverable(thread: LinuxThread): boolean {
  const set = thread.pending.set | thread.process.pending.set;
  return set !== 0n && (set & ~thread.mask) !== 0n;
}

/** Whether it is the first process, which only gets signals that it has handlers for. */
function isGuarded(process: LinuxProcess): boolean {
  const { kernel } = process;
  return process === kernel.init && kernel.options.init !== true;
}

/**
 * Queues a signal for a process or one of its threads and sees to its delivery. `outside`: it comes from outside of the cVM, so that SIGKILL
 * and SIGSTOP reach the first process too.
 */
export function sendSignal(process: LinuxProcess, signal: number, info: SignalInfo, thread?: LinuxThread, outside = false): void {
  if (process.ended || signal === 0 || thread?.dead === true) return;
  const { kernel } = process;
  const action = process.actions[signal]!;
  const first = thread ?? process.threads.values().next().value;
  const masked = first !== undefined && (first.mask & bit(signal)) !== 0n;
  const unwanted = isGuarded(process) && action.handler === SIG_DFL && (IGNORED_BY_DEFAULT & bit(signal)) === 0n;
  if (unwanted && !masked && !(outside && (UNBLOCKABLE & bit(signal)) !== 0n)) return;
  if (signal === Sig.CONT) {
    discard(process, STOPS);
    resume(process);
  } else if ((STOPS & bit(signal)) !== 0n) discard(process, bit(Sig.CONT));
  if (ignored(action, signal) && !masked && (first === undefined || (first.waitingFor & bit(signal)) === 0n)) return;
  if (!(thread?.pending ?? process.pending).add(signal, info)) return;
  if (signal === Sig.KILL && ![...process.threads].some((one) => one.inCall)) {
    const ops = endProcess(process, { code: 0, signal });
    if (ops.length > 0) void kernel.host.operate(ops);
    return;
  }
  process.signalWaiters.notify();
  if (process.stopped !== 0 && signal !== Sig.KILL) return;
  const set = bit(signal);
  for (const target of thread === undefined ? process.threads : [thread]) {
    if ((target.mask & set) !== 0n || target.dead || !hasDeliverable(target)) continue;
    kernel.poke(target);
    return;
  }
}

function discard(process: LinuxProcess, set: bigint): void {
  process.pending.discard(set);
  for (const thread of process.threads) thread.pending.discard(set);
}

/** A fault's signal: no mask and no "ignore" keeps it away. Returns the operations that deliver it, or null when the process must end. */
export function deliverFault(thread: LinuxThread, registers: Uint8Array, signal: number, info: SignalInfo): ProcessOp[] | null {
  const { process } = thread;
  const action = process.actions[signal]!;
  if (action.handler === SIG_DFL || action.handler === SIG_IGN || (thread.mask & bit(signal)) !== 0n) return null;
  const changed = Registers.copy(registers);
  const ops: ProcessOp[] = [];
  if (!pushFrame(thread, changed, signal, info, action, ops)) return null;
  ops.push({ op: "registers", thread: thread.id, registers: changed.bytes });
  return ops;
}

/** Delivers what is pending to a thread that stands between two instructions. */
export function deliver(thread: LinuxThread, registers: Uint8Array): ProcessOp[] {
  thread.attention = false;
  const { process } = thread;
  if (thread.dead || process.ended) return [];
  let { restartable } = thread;
  thread.restartable = false;
  let changed: Registers | null = null;
  const ops: ProcessOp[] = [];
  for (;;) {
    if (process.stopped !== 0) {
      if (restartable !== false) rewind(thread, (changed ??= Registers.copy(registers)));
      thread.parked = changed?.bytes ?? Uint8Array.from(registers);
      return [...ops, { op: "endThread", thread: thread.id }];
    }
    const allowed = ~thread.mask;
    const entry = thread.pending.take(allowed) ?? process.pending.take(allowed);
    if (entry === undefined) {
      if (thread.savedMask === null) break;
      thread.mask = thread.savedMask;
      thread.savedMask = null;
      continue;
    }
    const { signal, info } = entry;
    const action = process.actions[signal]!;
    if (ignored(action, signal)) continue;
    if (action.handler === SIG_DFL) {
      // The first process gets no signal that it does not want: this one was blocked when it came.
      if (isGuarded(process) && (UNBLOCKABLE & bit(signal)) === 0n) continue;
      if ((STOPS & bit(signal)) !== 0n) {
        // Nobody would continue an orphaned group.
        if (signal === Sig.STOP || !isOrphaned(process.kernel, process.pgid)) stop(process, signal, thread);
      } else return [...ops, ...endProcess(process, { code: 0, signal })];
      continue;
    }
    changed ??= Registers.copy(registers);
    if (restartable !== false) {
      const again = restartable === "always" || (action.flags & SA.RESTART) !== 0;
      restartable = false;
      if (again) rewind(thread, changed);
    }
    if (!pushFrame(thread, changed, signal, info, action, ops)) return [...ops, ...endProcess(process, { code: 0, signal: Sig.SEGV })];
  }
  if (restartable !== false) rewind(thread, (changed ??= Registers.copy(registers)));
  if (changed !== null) ops.push({ op: "registers", thread: thread.id, registers: changed.bytes });
  return ops;
}

/** Back to the ecall, with its first argument: the other registers still hold theirs. */
function rewind(thread: LinuxThread, registers: Registers): void {
  if (Number.isNaN(thread.firstArgument)) return;
  registers.pc -= 4;
  registers.set(X.A0, thread.firstArgument);
}

/** Whether an address is on the alternate stack. */
export const onAlternateStack = (thread: LinuxThread, sp: number): boolean =>
  (thread.stack.flags & SS_AUTODISARM) === 0 && sp > thread.stack.address && sp <= thread.stack.address + thread.stack.size;

/** Writes the frame and points the registers at the handler. False when the stack cannot take it. */
function pushFrame(
  thread: LinuxThread,
  registers: Registers,
  signal: number,
  info: SignalInfo,
  action: SignalAction,
  ops: ProcessOp[],
): boolean {
  const { process, stack } = thread;
  let sp = registers.get(X.SP);
  const alternate = (stack.flags & SS_DISABLE) === 0;
  const onIt = alternate && onAlternateStack(thread, sp);
  if ((action.flags & SA.ONSTACK) !== 0 && alternate && !onIt) sp = stack.address + stack.size;
  const address = Math.floor((sp - Frame.bytes) / 16) * 16;
  if (!process.memory.allows(address, Frame.bytes, 2)) return false;
  if (alternate && onAlternateStack(thread, sp) && address < stack.address) return false;
  const bytes = new Uint8Array(Frame.bytes);
  const view = new DataView(bytes.buffer);
  encodeSignalInfo(signal, info, bytes);
  view.setBigUint64(Frame.stack, BigInt(stack.address), true);
  view.setInt32(Frame.stack + 8, alternate ? (stack.flags & SS_AUTODISARM) | (onIt ? SS_ONSTACK : 0) : SS_DISABLE, true);
  view.setBigUint64(Frame.stack + 16, BigInt(stack.size), true);
  view.setBigUint64(Frame.mask, thread.savedMask ?? thread.mask, true);
  bytes.set(registers.bytes.subarray(0, 256), Frame.registers);
  bytes.set(registers.bytes.subarray(256, 512), Frame.floats);
  view.setUint32(Frame.fcsr, registers.view.getUint32(FCSR, true), true);
  ops.push({ op: "write", process: process.space, address, bytes });

  if ((stack.flags & SS_AUTODISARM) !== 0) thread.stack = { address: 0, size: 0, flags: SS_DISABLE };
  thread.savedMask = null;
  thread.mask = (thread.mask | action.mask | ((action.flags & SA.NODEFER) !== 0 ? 0n : bit(signal))) & ~UNBLOCKABLE;
  if ((action.flags & SA.RESETHAND) !== 0) process.actions[signal] = DEFAULT_ACTION;
  registers.pc = action.handler;
  registers.set(X.SP, address);
  registers.set(X.RA, process.memory.trampoline);
  registers.set(X.A0, signal);
  registers.set(X.A1, address);
  registers.set(X.A2, address + Frame.context);
  return true;
}

/** rt_sigreturn: mask, alternate stack and registers from the frame. `current` is the register file at the call. */
export function popFrame(thread: LinuxThread, current: Uint8Array, frame: Uint8Array): Uint8Array {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  thread.mask = view.getBigUint64(Frame.mask, true) & ~UNBLOCKABLE;
  if (hasDeliverable(thread)) thread.attention = true;
  const flags = view.getInt32(Frame.stack + 8, true);
  if ((flags & ~(SS_ONSTACK | SS_DISABLE | SS_AUTODISARM)) === 0) {
    thread.stack = {
      address: Number(view.getBigUint64(Frame.stack, true)),
      size: Number(view.getBigUint64(Frame.stack + 16, true)),
      flags: flags & (SS_DISABLE | SS_AUTODISARM),
    };
  }
  const bytes = Uint8Array.from(current);
  bytes.set(frame.subarray(Frame.registers, Frame.registers + 256), 0);
  bytes.set(frame.subarray(Frame.floats, Frame.floats + 256), 256);
  new DataView(bytes.buffer).setBigUint64(FCSR, BigInt(view.getUint32(Frame.fcsr, true)), true);
  return bytes;
}
export const FRAME_BYTES: number = Frame.bytes;

/** Stops all threads of a process: running ones are parked as soon as they stand between instructions, waiting ones wait on. */
function stop(process: LinuxProcess, signal: number, current: LinuxThread): void {
  process.stopped = signal;
  process.unreported = "stopped";
  const ops: ProcessOp[] = [];
  for (const thread of process.threads)
    if (thread !== current && thread.blocked === null && thread.parked === null) ops.push({ op: "interrupt", thread: thread.id });
  if (ops.length > 0) void process.kernel.host.operate(ops);
  tellParent(process, Code.STOPPED, signal);
}

/** SIGCONT: parked threads run again, answers that were held back are given. */
function resume(process: LinuxProcess): void {
  if (process.stopped === 0) return;
  const { kernel } = process;
  process.stopped = 0;
  process.unreported = "continued";
  const ops: ProcessOp[] = [];
  const held: (() => void)[] = [];
  for (const thread of process.threads) {
    if (thread.parked !== null) {
      ops.push({ op: "thread", process: process.space, thread: thread.id, registers: thread.parked });
      if (hasDeliverable(thread)) {
        thread.attention = true;
        ops.push({ op: "interrupt", thread: thread.id });
      }
      thread.parked = null;
    } else if (thread.held !== undefined) {
      const answer = thread.held;
      thread.held = undefined;
      if (hasDeliverable(thread)) thread.attention = true;
      held.push(() => kernel.answer(thread, answer));
    } else if (thread.blocked !== null && hasDeliverable(thread)) held.push(() => kernel.poke(thread));
  }
  if (ops.length > 0) void kernel.host.operate(ops);
  for (const answer of held) answer();
  tellParent(process, Code.CONTINUED, Sig.CONT);
}

function tellParent(process: LinuxProcess, code: number, status: number): void {
  const { parent } = process;
  if (parent === null) return;
  if ((parent.actions[Sig.CHLD]!.flags & SA.NOCLDSTOP) === 0) {
    sendSignal(parent, Sig.CHLD, signalInfo({ code, pid: process.pid, uid: process.credentials.uid, status }));
  }
  parent.childWaiters.notify();
}
