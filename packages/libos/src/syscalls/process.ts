/** Processes: birth, programs, death, and who is who. */
import type { OutValue } from "@cvm/monitor/abi";
import { E } from "../kernel/errno.ts";
import { execute } from "../kernel/exec.ts";
import { clone, Clone, exitProcess, reap, type CloneRequest } from "../kernel/lifecycle.ts";
import { PidFile } from "../kernel/pidfd.ts";
import { Rlimit, RLIMITS, type Limit, type LinuxContext, type LinuxProcess } from "../kernel/process.ts";
import { Code, encodeSignalInfo, Sig, signalInfo } from "../kernel/signals.ts";
import type { Syscall, SyscallOutcome, SyscallReply } from "../kernel/types.ts";
import {
  address,
  call,
  fd,
  FULL,
  input,
  int,
  maybeInput,
  maybeOutput,
  partial,
  path,
  putTimeval,
  readU64,
  refused,
  strings,
  uint,
  ulong,
  viewOf,
  writeU64,
  output,
} from "./define.ts";

const cloneFlags = {
  CLONE_VM: 0x100,
  CLONE_FS: 0x200,
  CLONE_FILES: 0x400,
  CLONE_SIGHAND: 0x800,
  CLONE_PIDFD: 0x1000,
  CLONE_VFORK: 0x4000,
  CLONE_PARENT: 0x8000,
  CLONE_THREAD: 0x10000,
  CLONE_SYSVSEM: 0x40000,
  CLONE_SETTLS: 0x80000,
  CLONE_PARENT_SETTID: 0x100000,
  CLONE_CHILD_CLEARTID: 0x200000,
  CLONE_CHILD_SETTID: 0x1000000,
  SIGCHLD: 17,
} as const;
const O_PATH = 0o10000000;
const AT_FDCWD = -100;
const AT_EMPTY_PATH = 0x1000;
const W = {
  NOHANG: 1,
  STOPPED: 2,
  EXITED: 4,
  CONTINUED: 8,
  NOWAIT: 0x1000000,
  NOTHREAD: 0x20000000,
  ALL: 0x40000000,
  CLONE: 0x80000000,
} as const;
const waitFlags = { WNOHANG: 1, WUNTRACED: 2, WCONTINUED: 8, __WNOTHREAD: 0x20000000, __WALL: 0x40000000, __WCLONE: 0x80000000 } as const;
const P = { ALL: 0, PID: 1, PGID: 2, PIDFD: 3 } as const;
const RUSAGE_BYTES = 144;
const CLONE_ARGS_MIN = 64;

/** struct rusage from CPU milliseconds. */
function rusage(cpu: number, resident: number): Uint8Array {
  const bytes = new Uint8Array(RUSAGE_BYTES);
  const view = viewOf(bytes);
  putTimeval(view, 0, cpu);
  writeU64(view, 32, Math.floor(resident / 1024));
  return bytes;
}

/** A change of a child that wait reports. */
interface Report {
  readonly child: LinuxProcess;
  /** Encoded as wait4 does. */
  readonly status: number;
  readonly code: number;
  /** Exit code or signal. */
  readonly value: number;
}

/** The first child of `matches` with something to report; undefined: none yet; -ECHILD: there is no such child. */
function look(
  process: LinuxProcess,
  matches: (child: LinuxProcess) => boolean,
  options: number,
  exited: boolean,
): Report | undefined | number {
  let any = false;
  for (const child of process.children) {
    if (!matches(child)) continue;
    any = true;
    if (child.death !== null) {
      if (!exited) continue;
      const { code, signal } = child.death;
      return signal === 0
        ? { child, status: code << 8, code: Code.EXITED, value: code }
        : { child, status: signal, code: Code.KILLED, value: signal };
    }
    if ((options & W.STOPPED) !== 0 && child.unreported === "stopped")
      return { child, status: (child.stopped << 8) | 0x7f, code: Code.STOPPED, value: child.stopped };
    if ((options & W.CONTINUED) !== 0 && child.unreported === "continued")
      return { child, status: 0xffff, code: Code.CONTINUED, value: Sig.CONT };
  }
  return any ? undefined : -E.CHILD;
}

function consume({ child }: Report, options: number): void {
  if ((options & W.NOWAIT) !== 0) return;
  if (child.death !== null) reap(child);
  else child.unreported = null;
}

/** Which children a pid of wait4 means. */
function byPid(process: LinuxProcess, pid: number): (child: LinuxProcess) => boolean {
  if (pid === -1) return () => true;
  if (pid === 0) return (child) => child.pgid === process.pgid;
  return pid > 0 ? (child) => child.pid === pid : (child) => child.pgid === -pid;
}

function wait(
  context: LinuxContext,
  matches: (child: LinuxProcess) => boolean,
  options: number,
  exited: boolean,
  answer: (report: Report | null) => SyscallReply | number,
): SyscallOutcome {
  const attempt = (): number | SyscallReply => {
    const report = look(context.process, matches, options, exited);
    if (typeof report === "number") return report;
    if (report === undefined) return (options & W.NOHANG) !== 0 ? answer(null) : -E.AGAIN;
    consume(report, options);
    return answer(report);
  };
  const now = attempt();
  return now === -E.AGAIN ? context.kernel.block(context, [context.process.childWaiters], attempt, Infinity, 0, true) : now;
}

function status(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  viewOf(bytes).setInt32(0, value, true);
  return bytes;
}

/** Adds a pidfd of the child to the parent's table. */
function withPidFd(context: LinuxContext, at: number): (child: LinuxProcess) => number {
  return (child) => {
    const number = context.process.fds.add(new PidFile(child), true);
    if (number < 0) return number;
    void context.kernel.host.operate([{ op: "write", process: context.process.space, address: at, bytes: status(number), ifMapped: true }]);
    return 0;
  };
}

export function findProcess(context: LinuxContext, pid: number): LinuxProcess | undefined {
  return pid === 0 ? context.process : context.kernel.processes.get(pid);
}

function putLimit(limit: Limit): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = viewOf(bytes);
  for (const [at, value] of [
    [0, limit.soft],
    [8, limit.hard],
  ] as const) {
    if (value === Infinity) view.setBigUint64(at, 0xffffffffffffffffn, true);
    else writeU64(view, at, value);
  }
  return bytes;
}
function readLimit(view: DataView, at: number): number {
  return view.getUint32(at, true) === 0xffffffff && view.getUint32(at + 4, true) === 0xffffffff ? Infinity : readU64(view, at);
}

/** Sets a limit: -EINVAL (soft above hard), -EPERM (raising the hard limit without being root). */
function setLimit(context: LinuxContext, target: LinuxProcess, resource: number, bytes: Uint8Array): number {
  const view = viewOf(bytes);
  const soft = readLimit(view, 0);
  const hard = readLimit(view, 8);
  const limit = target.limit(resource);
  if (soft > hard) return -E.INVAL;
  if (hard > limit.hard && (context.process.credentials.euid !== 0 || resource === Rlimit.NOFILE)) return -E.PERM;
  limit.soft = soft;
  limit.hard = hard;
  if (resource === Rlimit.NOFILE) target.fds.limit = soft;
  return 0;
}

function execveat(
  context: LinuxContext,
  number: number,
  name: string,
  argv: readonly string[],
  env: readonly string[],
  flags: number,
): SyscallOutcome {
  if ((flags & ~(AT_EMPTY_PATH | 0x100)) !== 0) return -E.INVAL;
  if (name.startsWith("/") || number === AT_FDCWD) return execute(context, name, context.process.fs.cwd, argv, env);
  const file = context.process.fds.get(number);
  if (file === undefined) return -E.BADF;
  if (name === "") {
    if ((flags & AT_EMPTY_PATH) === 0) return -E.NOENT;
    return execute(context, file.name, "/", argv, env);
  }
  return file.kind === "directory" || (file.flags & O_PATH) !== 0 ? execute(context, name, file.name, argv, env) : -E.NOTDIR;
}

export const processSyscalls: readonly Syscall[] = [
  call(94, "exit_group", [int("status")], FULL, (context, [code]) => exitProcess(context, code as number)),
  call(
    95,
    "waitid",
    [
      int("idtype", { values: { P_ALL: 0, P_PID: 1, P_PGID: 2, P_PIDFD: 3 } }),
      int("id"),
      maybeOutput("infop", 128),
      int("options", { flags: { WNOHANG: 1, WSTOPPED: 2, WEXITED: 4, WCONTINUED: 8, WNOWAIT: 0x1000000 } }),
      maybeOutput("rusage", RUSAGE_BYTES),
    ],
    FULL,
    (context, [type, id, info, options, usage]) => {
      const { process } = context;
      const flags = options as number;
      if (
        (flags & (W.EXITED | W.STOPPED | W.CONTINUED)) === 0 ||
        (flags & ~(W.NOHANG | W.STOPPED | W.EXITED | W.CONTINUED | W.NOWAIT | W.NOTHREAD | W.ALL | W.CLONE)) !== 0
      )
        return -E.INVAL;
      let matches: (child: LinuxProcess) => boolean;
      if (type === P.ALL) matches = () => true;
      else if (type === P.PID) matches = (child) => child.pid === id;
      else if (type === P.PGID) matches = id === 0 ? (child) => child.pgid === process.pgid : (child) => child.pgid === id;
      else if (type === P.PIDFD) {
        const file = process.fds.get(id as number);
        if (!(file instanceof PidFile)) return -E.BADF;
        matches = (child) => child === file.process;
      } else return -E.INVAL;
      return wait(context, matches, flags, (flags & W.EXITED) !== 0, (report) => {
        const out: OutValue[] = [];
        if (info !== null) {
          const value =
            report === null
              ? new Uint8Array(128)
              : encodeSignalInfo(
                  Sig.CHLD,
                  signalInfo({ code: report.code, pid: report.child.pid, uid: report.child.credentials.uid, status: report.value }),
                );
          out.push({ arg: 2, value });
        }
        if (usage !== null && report !== null) out.push({ arg: 4, value: rusage(report.child.cpu() + report.child.childrenCpu, 0) });
        return { result: 0, out };
      });
    },
  ),
  call(
    260,
    "wait4",
    [int("pid"), maybeOutput("wstatus", 4), int("options", { flags: waitFlags }), maybeOutput("rusage", RUSAGE_BYTES)],
    FULL,
    (context, [pid, where, options, usage]) => {
      const flags = options as number;
      if ((flags & ~(W.NOHANG | W.STOPPED | W.CONTINUED | W.NOTHREAD | W.ALL | (W.CLONE | 0))) !== 0) return -E.INVAL;
      return wait(context, byPid(context.process, pid as number), flags, true, (report) => {
        if (report === null) return 0;
        const out: OutValue[] = [];
        if (where !== null) out.push({ arg: 1, value: status(report.status) });
        if (usage !== null) out.push({ arg: 3, value: rusage(report.child.cpu() + report.child.childrenCpu, 0) });
        return { result: report.child.pid, out };
      });
    },
  ),
  call(
    220,
    "clone",
    [ulong("flags", { flags: cloneFlags }), address("stack"), address("parent_tid"), address("tls"), address("child_tid")],
    partial("no namespaces; memory that processes share is copied at fork"),
    (context, args) => {
      const [flags, stack, parentTid, tls, childTid] = args as readonly number[] as [number, number, number, number, number];
      const bits = flags % 4294967296;
      const request: CloneRequest = { flags: bits - (bits & 0xff), exitSignal: bits & 0xff, stack, tls, parentTid, childTid };
      if ((bits & Clone.PIDFD) !== 0 && (bits & Clone.PARENT_SETTID) !== 0) return -E.INVAL;
      return clone(context, request, (bits & Clone.PIDFD) !== 0 ? withPidFd(context, parentTid) : undefined);
    },
    true,
  ),
  call(
    435,
    "clone3",
    [input("cl_args", { arg: "size" }), ulong("size")],
    partial("no namespaces, no set_tid; memory that processes share is copied at fork"),
    (context, [bytes, size]) => {
      if ((size as number) < CLONE_ARGS_MIN) return -E.INVAL;
      if ((size as number) > 4096) return -E.TOOBIG;
      const view = viewOf(bytes as Uint8Array);
      const [flags, pidfd, childTid, parentTid, exitSignal, stack, stackSize, tls] = Array.from({ length: 8 }, (_, index) =>
        readU64(view, index * 8),
      ) as [number, number, number, number, number, number, number, number];
      if ((size as number) >= 80 && readU64(view, 64) + readU64(view, 72) !== 0) return -E.PERM;
      if ((flags & 0xff) !== 0 || flags >= Clone.CLEAR_SIGHAND * 2 || exitSignal > 64) return -E.INVAL;
      if ((stack === 0) !== (stackSize === 0)) return -E.INVAL;
      return clone(
        context,
        { flags, exitSignal, stack: stack + stackSize, tls, parentTid, childTid },
        (flags & Clone.PIDFD) !== 0 ? withPidFd(context, pidfd) : undefined,
      );
    },
    true,
  ),
  call(221, "execve", [path("pathname"), strings("argv"), strings("envp")], FULL, (context, [name, argv, env]) =>
    execute(context, name as string, context.process.fs.cwd, argv as readonly string[], env as readonly string[]),
  ),
  call(
    281,
    "execveat",
    [
      fd("dirfd"),
      path("pathname"),
      strings("argv"),
      strings("envp"),
      int("flags", { flags: { AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW: 0x100 } }),
    ],
    partial("AT_SYMLINK_NOFOLLOW is ignored"),
    (context, [number, name, argv, env, flags]) =>
      execveat(context, number as number, name as string, argv as readonly string[], env as readonly string[], flags as number),
  ),
  call(172, "getpid", [], FULL, ({ process }) => process.pid),
  call(173, "getppid", [], FULL, ({ process }) => process.parent?.pid ?? 0),
  call(154, "setpgid", [int("pid"), int("pgid")], FULL, (context, [pid, group]) => {
    const { process, kernel } = context;
    const target = findProcess(context, pid as number);
    if ((group as number) < 0) return -E.INVAL;
    if (target === undefined || (target !== process && target.parent !== process)) return -E.SRCH;
    if (target !== process && target.executed) return -E.ACCES;
    if (target.sid !== process.sid || target.sid === target.pid) return -E.PERM;
    const pgid = group === 0 ? target.pid : (group as number);
    if (pgid !== target.pid && ![...kernel.processes.values()].some((other) => other.pgid === pgid && other.sid === process.sid))
      return -E.PERM;
    target.pgid = pgid;
    return 0;
  }),
  call(155, "getpgid", [int("pid")], FULL, (context, [pid]) => findProcess(context, pid as number)?.pgid ?? -E.SRCH),
  call(156, "getsid", [int("pid")], FULL, (context, [pid]) => findProcess(context, pid as number)?.sid ?? -E.SRCH),
  call(157, "setsid", [], FULL, ({ process, kernel }) => {
    for (const other of kernel.processes.values()) if (other.pgid === process.pid) return -E.PERM;
    process.sid = process.pid;
    process.pgid = process.pid;
    return process.pid;
  }),
  call(
    261,
    "prlimit64",
    [
      int("pid"),
      uint("resource", { values: Object.fromEntries(Object.entries(Rlimit).map(([name, number]) => [`RLIMIT_${name}`, number])) }),
      maybeInput("new_limit", 16),
      maybeOutput("old_limit", 16),
    ],
    partial("enforced: NOFILE, FSIZE, DATA, AS, STACK at start"),
    (context, [pid, resource, bytes, old]) => {
      if ((resource as number) >= RLIMITS) return -E.INVAL;
      const target = findProcess(context, pid as number);
      if (target === undefined) return -E.SRCH;
      const before = old === null ? null : putLimit(target.limit(resource as number));
      const result = bytes === null ? 0 : setLimit(context, target, resource as number, bytes as Uint8Array);
      return before === null || result < 0 ? result : { result, out: [{ arg: 3, value: before }] };
    },
  ),
  call(163, "getrlimit", [uint("resource"), output("rlim", 16)], FULL, ({ process }, [resource]) =>
    (resource as number) >= RLIMITS ? -E.INVAL : { result: 0, out: [{ arg: 1, value: putLimit(process.limit(resource as number)) }] },
  ),
  call(164, "setrlimit", [uint("resource"), input("rlim", 16)], FULL, (context, [resource, bytes]) =>
    (resource as number) >= RLIMITS ? -E.INVAL : setLimit(context, context.process, resource as number, bytes as Uint8Array),
  ),
  call(
    165,
    "getrusage",
    [int("who", { values: { RUSAGE_SELF: 0, RUSAGE_CHILDREN: -1, RUSAGE_THREAD: 1 } }), output("usage", RUSAGE_BYTES)],
    partial("CPU time counts whatever is not spent in blocking calls, all of it as user time"),
    ({ process, thread }, [who]) => {
      if (who !== 0 && who !== -1 && who !== 1) return -E.INVAL;
      const cpu = who === 0 ? process.cpu() : who === 1 ? thread.cpu() : process.childrenCpu;
      return { result: 0, out: [{ arg: 1, value: rusage(cpu, who === -1 ? 0 : process.memory.resident) }] };
    },
  ),
  call(153, "times", [maybeOutput("buf", 32)], partial("all CPU time counts as user time"), ({ process, kernel }, [where]) => {
    const bytes = new Uint8Array(32);
    const view = viewOf(bytes);
    writeU64(view, 0, Math.floor(process.cpu() / 10));
    writeU64(view, 16, Math.floor(process.childrenCpu / 10));
    const result = Math.floor(kernel.monotonic() / 10);
    return where === null ? result : { result, out: [{ arg: 0, value: bytes }] };
  }),
  call(434, "pidfd_open", [int("pid"), uint("flags")], FULL, ({ kernel, process }, [pid, flags]) => {
    if ((pid as number) <= 0 || ((flags as number) & ~0o4000) !== 0) return -E.INVAL;
    const target = kernel.processes.get(pid as number);
    if (target === undefined) return -E.SRCH;
    return process.fds.add(new PidFile(target, flags as number), true);
  }),
  refused(438, "pidfd_getfd", E.PERM, "no descriptors of other processes"),
  refused(97, "unshare", E.PERM, "no namespaces in a cVM"),
  refused(268, "setns", E.PERM, "no namespaces in a cVM"),
  refused(117, "ptrace", E.PERM, "no debugging inside a cVM"),
  refused(270, "process_vm_readv", E.PERM, "no access to other processes"),
  refused(271, "process_vm_writev", E.PERM, "no access to other processes"),
];
