/** Birth, change and death of processes and threads: clone, execve, exit, wait. */
import { Limits, PENDING, type Awaitable, type ProcessOp, type SyscallOutcome, type SyscallReply } from "@cvm/monitor/abi";
import type { AddressSpace } from "./address-space.ts";
import { sendSignal } from "./delivery.ts";
import { E } from "./errno.ts";
import { abandonPi } from "./futex-pi.ts";
import { LinuxProcess, LinuxThread, type Death, type LinuxContext } from "./process.ts";
import { releaseStopped, signalGroup } from "./job-control.ts";
import { isPromise, whenReady } from "./ready.ts";
import { Registers, X } from "./registers.ts";
import { abandon, abandonAll } from "./robust.ts";
import { Code, DEFAULT_ACTION, SA, Sig, SIG_IGN, signalInfo } from "./signals.ts";

/** Flags of clone(2). */
export const Clone = {
  VM: 0x100,
  FS: 0x200,
  FILES: 0x400,
  SIGHAND: 0x800,
  PIDFD: 0x1000,
  VFORK: 0x4000,
  PARENT: 0x8000,
  THREAD: 0x10000,
  NEWNS: 0x20000,
  SETTLS: 0x80000,
  PARENT_SETTID: 0x100000,
  CHILD_CLEARTID: 0x200000,
  CHILD_SETTID: 0x1000000,
  NEWCGROUP: 0x2000000,
  NEWUTS: 0x4000000,
  NEWIPC: 0x8000000,
  NEWUSER: 0x10000000,
  NEWPID: 0x20000000,
  NEWNET: 0x40000000,
  CLEAR_SIGHAND: 0x100000000,
} as const;

export interface CloneRequest {
  /** {@link Clone} bits; may be above 2^32. */
  readonly flags: number;
  readonly exitSignal: number;
  /** 0: the caller's. */
  readonly stack: number;
  readonly tls: number;
  readonly parentTid: number;
  readonly childTid: number;
}

const has = (flags: number, bits: number): boolean => Number(BigInt(flags) & BigInt(bits)) !== 0;

function word(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setInt32(0, value, true);
  return bytes;
}

/** clone(2) and clone3(2). `born` is called with the new process before it runs (pidfds). */
export function clone(context: LinuxContext, request: CloneRequest, born: (child: LinuxProcess) => number = () => 0): SyscallOutcome {
  const { kernel } = context;
  const { flags } = request;
  if (has(flags, Clone.THREAD) && !has(flags, Clone.SIGHAND)) return -E.INVAL;
  if (has(flags, Clone.SIGHAND) && !has(flags, Clone.VM)) return -E.INVAL;
  if (has(flags, Clone.SIGHAND) && has(flags, Clone.CLEAR_SIGHAND)) return -E.INVAL;
  if (has(flags, Clone.THREAD) && has(flags, Clone.PIDFD)) return -E.INVAL;
  if (has(flags, Clone.NEWNS | Clone.NEWCGROUP | Clone.NEWUTS | Clone.NEWIPC | Clone.NEWUSER | Clone.NEWPID | Clone.NEWNET)) return -E.PERM;
  if (request.exitSignal > 64) return -E.INVAL;
  if (kernel.threads.size >= Limits.threads) return -E.AGAIN;
  if (has(flags, Clone.THREAD)) return cloneThread(context, request);
  if (has(flags, Clone.VM)) return cloneShared(context, request, born);
  return fork(context, request, born);
}

/** The caller's registers as the new thread gets them. */
function childRegisters(context: LinuxContext, request: CloneRequest): Uint8Array {
  const registers = Registers.copy(context.registers!);
  registers.set(X.A0, 0);
  if (request.stack !== 0) registers.set(X.SP, request.stack);
  if (has(request.flags, Clone.SETTLS)) registers.set(X.TP, request.tls);
  return registers.bytes;
}

function prepareThread(child: LinuxThread, context: LinuxContext, request: CloneRequest): void {
  child.name = context.thread.name;
  child.mask = context.thread.savedMask ?? context.thread.mask;
  if (has(request.flags, Clone.CHILD_CLEARTID)) child.clearChildTid = request.childTid;
}

function tidOps(context: LinuxContext, request: CloneRequest, tid: number, childSpace: number): ProcessOp[] {
  const ops: ProcessOp[] = [];
  if (has(request.flags, Clone.PARENT_SETTID))
    ops.push({ op: "write", process: context.process.space, address: request.parentTid, bytes: word(tid), ifMapped: true });
  if (has(request.flags, Clone.CHILD_SETTID))
    ops.push({ op: "write", process: childSpace, address: request.childTid, bytes: word(tid), ifMapped: true });
  return ops;
}

function cloneThread(context: LinuxContext, request: CloneRequest): SyscallReply {
  const { kernel, process } = context;
  const tid = kernel.newPid();
  const thread = new LinuxThread(tid, process);
  prepareThread(thread, context, request);
  process.threads.add(thread);
  kernel.threads.set(tid, thread);
  const ops = tidOps(context, request, tid, process.space);
  ops.push({ op: "thread", process: process.space, thread: tid, registers: childRegisters(context, request) });
  return { result: tid, ops };
}

/** A process like the caller's, with `memory`. Not yet in the tables. */
function copyProcess(context: LinuxContext, request: CloneRequest, pid: number, memory: AddressSpace): LinuxProcess {
  const { kernel, process } = context;
  const { flags } = request;
  const fds = has(flags, Clone.FILES) ? process.fds : process.fds.copy();
  if (fds === process.fds) fds.users++;
  const child = new LinuxProcess(kernel, {
    pid,
    parent: has(flags, Clone.PARENT) ? process.parent : process,
    pgid: process.pgid,
    sid: process.sid,
    memory,
    fds,
    fs: has(flags, Clone.FS) ? process.fs : { ...process.fs },
    credentials: { ...process.credentials, groups: [...process.credentials.groups] },
    console: process.console,
    limits: process.limits,
  });
  child.name = context.thread.name;
  child.argv = process.argv;
  child.env = process.env;
  child.executable = process.executable;
  child.actions = [...process.actions];
  if (has(flags, Clone.CLEAR_SIGHAND))
    child.actions = child.actions.map((action) => (action.handler === SIG_IGN ? action : DEFAULT_ACTION));
  child.exitSignal = request.exitSignal;
  child.dumpable = process.dumpable;
  child.noNewPrivileges = process.noNewPrivileges;
  child.personality = process.personality;
  child.nice = process.nice;
  return child;
}

export function enter(child: LinuxProcess, thread: LinuxThread): void {
  const { kernel } = child;
  child.threads.add(thread);
  child.parent?.children.add(child);
  kernel.processes.set(child.pid, child);
  if (child.ownsConsole) kernel.consoles.get(child.console)?.claim(child.sid, child.pgid);
  kernel.threads.set(thread.id, thread);
}

/** A child with a copy of the memory. */
function fork(context: LinuxContext, request: CloneRequest, born: (child: LinuxProcess) => number): SyscallOutcome {
  const { kernel, process, thread } = context;
  const { memory } = process;
  const registers = request.stack !== 0 || has(request.flags, Clone.SETTLS) ? childRegisters(context, request) : null;
  const pid = kernel.newPid();
  const bytes = memory.needed();
  return kernel.later(
    thread,
    whenReady(kernel.host.fork(thread.id, pid, bytes), (space): Awaitable<SyscallOutcome> => {
      if (space < 0) return space;
      const child = copyProcess(context, request, pid, memory.copy(space, bytes));
      const first = new LinuxThread(pid, child);
      prepareThread(first, context, request);
      first.stack = { ...thread.stack };
      enter(child, first);
      const failed = born(child);
      const ops = tidOps(context, request, pid, space);
      if (registers !== null) ops.push({ op: "registers", thread: pid, registers });
      return whenReady(ops.length > 0 ? kernel.host.operate(ops) : 0, () => {
        if (failed < 0) {
          void kernel.host.operate(endProcess(child, { code: 0, signal: Sig.KILL }));
          return failed;
        }
        kernel.host.start(pid);
        return waitForRelease(context, request, child);
      });
    }),
  );
}

/** A child in the caller's memory: vfork(2), posix_spawn(3). */
function cloneShared(context: LinuxContext, request: CloneRequest, born: (child: LinuxProcess) => number): SyscallOutcome {
  const { kernel, process, thread } = context;
  const pid = kernel.newPid();
  process.memory.users++;
  const child = copyProcess(context, request, pid, process.memory);
  const first = new LinuxThread(pid, child);
  prepareThread(first, context, request);
  enter(child, first);
  const failed = born(child);
  if (failed < 0) {
    endProcess(child, { code: 0, signal: Sig.KILL });
    return failed;
  }
  const ops = tidOps(context, request, pid, process.space);
  ops.push({ op: "thread", process: process.space, thread: pid, registers: childRegisters(context, request) });
  return kernel.later(
    thread,
    whenReady(kernel.host.operate(ops), (result) => {
      if (result < 0) {
        endProcess(child, { code: 0, signal: Sig.KILL });
        return -E.AGAIN;
      }
      return waitForRelease(context, request, child);
    }),
  );
}

/** With CLONE_VFORK the caller sleeps until the child has another address space or is gone; signals wait too. */
function waitForRelease(context: LinuxContext, request: CloneRequest, child: LinuxProcess): SyscallOutcome {
  const { kernel, thread } = context;
  if (!has(request.flags, Clone.VFORK)) return child.pid;
  child.released = () => kernel.answer(thread, child.pid);
  return PENDING;
}

export function release(process: LinuxProcess): void {
  const { released } = process;
  process.released = null;
  released?.();
}

/** Takes one user from an address space. Operations that end it after the last one. */
export function leaveMemory(memory: AddressSpace): ProcessOp[] {
  if (--memory.users > 0) return [];
  memory.release();
  return [{ op: "endProcess", process: memory.id }];
}

/** Takes a thread out of all tables; the monitor's thread is ended apart from this. */
export function forget(thread: LinuxThread): void {
  const { kernel } = thread.process;
  thread.process.pastCpu += thread.cpu();
  kernel.unblock(thread);
  abandonPi(thread);
  thread.dead = true;
  thread.traced = null;
  thread.process.threads.delete(thread);
  kernel.threads.delete(thread.id);
}

/** exit(2): ends one thread, and the process with the last one. */
export function exitThread(context: LinuxContext, code: number): SyscallOutcome {
  const { kernel, process, thread } = context;
  if (process.threads.size === 1) return exitProcess(context, code);
  return kernel.later(
    thread,
    whenReady(abandon(thread), () =>
      whenReady(clearTid(thread), (): SyscallReply => {
        forget(thread);
        return { result: 0, ops: [{ op: "endThread", thread: thread.id }] };
      }),
    ),
  );
}

/** What pthread_join waits for: a zero in the thread's word, and a wake. */
function clearTid(thread: LinuxThread): Awaitable<void> {
  const { clearChildTid: address, process } = thread;
  if (address === 0) return undefined;
  const { host, futexes } = process.kernel;
  return whenReady(host.operate([{ op: "write", process: process.space, address, bytes: word(0), ifMapped: true }]), () => {
    futexes.wake(futexes.keyOf(process.memory, address, false), 1);
  });
}

/** exit_group(2). */
export function exitProcess(context: LinuxContext, code: number): SyscallOutcome {
  const { kernel, process, thread } = context;
  const shared = process.memory.users > 1 ? clearTid(thread) : undefined;
  return kernel.later(
    thread,
    whenReady(shared, () =>
      whenReady(process.memory.writeBack(kernel.host), (): SyscallReply => ({
        result: 0,
        ops: endProcess(process, { code: code & 0xff, signal: 0 }),
      })),
    ),
  );
}

/**
 * Ends a process: files are closed, children go to the first process, the parent is told.
 * @returns what the monitor must end; to be carried out by the caller.
 */
export function endProcess(process: LinuxProcess, death: Death): ProcessOp[] {
  if (process.ended) return [];
  const { kernel, memory } = process;
  process.death = death;
  process.stopped = 0;
  const threads = [...process.threads];
  const abandoned = abandonAll(process);
  for (const thread of threads) kernel.unblock(thread);
  for (const thread of threads) forget(thread);
  for (const timer of process.timers.values()) timer.cancel?.();
  process.timers.clear();
  let ops: ProcessOp[] = [];
  // What holds robust locks is read after the end where the host answers later: the memory goes after that.
  if (!isPromise(abandoned)) ops = leaveMemory(memory);
  else {
    void abandoned.then(() => {
      const late = leaveMemory(memory);
      return late.length > 0 ? kernel.host.operate(late) : 0;
    });
  }
  if (ops.length === 0) ops = threads.filter((thread) => thread.parked === null).map((thread) => ({ op: "endThread", thread: thread.id }));
  process.fds.leave();
  release(process);
  if (process.sid === process.pid) kernel.vfs.sessionEnded(process.sid, (group, signal) => signalGroup(kernel, group, signal));
  orphan(process);
  releaseStopped(process, process.parent, true);
  const first = process === kernel.init;
  if (first) {
    kernel.init = null;
    for (const other of kernel.processes.values()) ops.push(...endProcess(other, { code: 0, signal: Sig.KILL }));
  }
  tell(process, death);
  process.exitWaiters.notify();
  // After the call that this answers: the host may end the whole cVM at once.
  if (process.ownsConsole) {
    queueMicrotask(() => {
      if (first) kernel.onEnd();
      else {
        kernel.consoles.get(process.console)?.close();
        kernel.consoles.delete(process.console);
      }
      kernel.host.exited(process.console, death.code, death.signal);
    });
  }
  return ops;
}

/** Children go to the nearest subreaper or the first process; without one, or where an init is meant to be above it, ended ones are forgotten. */
function orphan(process: LinuxProcess): void {
  const { kernel } = process;
  if (process.children.size === 0) return;
  let heir = process.parent;
  while (heir !== null && (heir.ended || !heir.childSubreaper)) heir = heir.parent;
  heir ??= kernel.options.init === true || kernel.init === null || kernel.init.ended ? null : kernel.init;
  for (const child of process.children) {
    for (const thread of child.threads)
      if (thread.parentDeathSignal !== 0) sendSignal(child, thread.parentDeathSignal, signalInfo({ code: Code.USER, pid: process.pid }));
    child.parent = heir;
    if (heir !== null) {
      heir.children.add(child);
      if (child.ended) heir.childWaiters.notify();
    } else if (child.ended) kernel.processes.delete(child.pid);
    if (!child.ended) releaseStopped(child, process, false);
  }
  process.children.clear();
}

/** The parent's SIGCHLD and wait; a parent that ignores SIGCHLD gets no zombies. */
function tell(process: LinuxProcess, death: Death): void {
  const { kernel, parent, exitSignal } = process;
  const action = parent?.actions[Sig.CHLD];
  const kept = parent !== null && !(exitSignal === Sig.CHLD && (action!.handler === SIG_IGN || (action!.flags & SA.NOCLDWAIT) !== 0));
  if (!kept) {
    kernel.processes.delete(process.pid);
    parent?.children.delete(process);
  }
  if (parent === null) return;
  if (exitSignal !== 0) {
    sendSignal(
      parent,
      exitSignal,
      signalInfo({
        code: death.signal === 0 ? Code.EXITED : Code.KILLED,
        pid: process.pid,
        uid: process.credentials.uid,
        status: death.signal === 0 ? death.code : death.signal,
      }),
    );
  }
  parent.childWaiters.notify();
}

/** Forgets a process that its parent has waited for. */
export function reap(process: LinuxProcess): void {
  const { parent, kernel } = process;
  kernel.processes.delete(process.pid);
  if (parent === null) return;
  parent.children.delete(process);
  parent.childrenCpu += process.pastCpu + process.childrenCpu;
}
