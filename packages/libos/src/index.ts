/** Linux for riscv64 as a library OS: one instance per cVM. */
import {
  PENDING,
  OUT_OF_MEMORY,
  type Fault,
  type HostCalls,
  type LibosOptions,
  type LibraryOs,
  type ProcessId,
  type ProcessOp,
  type ProgramOptions,
  type SyscallCall,
  type SyscallOutcome,
  type SyscallReply,
} from "@cvm/monitor/abi";
import { ExecError } from "./elf/exec-error.ts";
import { createConsole } from "./files/console.ts";
import { CpObjectsSeen } from "./files/cp.ts";
import { closeFiles, createFiles } from "./files/mounts.ts";
import { STACK_BYTES, AddressSpace } from "./kernel/address-space.ts";
import { wall } from "./kernel/clock.ts";
import { deliver, deliverFault, sendSignal } from "./kernel/delivery.ts";
import { E } from "./kernel/errno.ts";
import { DescriptorTable } from "./kernel/fd-table.ts";
import { faultSignal } from "./kernel/fault.ts";
import { LinuxKernel } from "./kernel/kernel.ts";
import { startProgram } from "./kernel/exec.ts";
import { endProcess } from "./kernel/lifecycle.ts";
import { defaultLimits, LinuxProcess, LinuxThread, Rlimit } from "./kernel/process.ts";
import { largest } from "./kernel/out-of-memory.ts";
import { isPromise, whenReady } from "./kernel/ready.ts";
import { Code, Sig, signalInfo } from "./kernel/signals.ts";
import { createNetwork } from "./sockets/network.ts";
import { TracedCall, unknownLine } from "./strace.ts";
import { syscallTable } from "./syscalls/index.ts";

export { ExecError, type ExecErrorCode } from "./elf/exec-error.ts";
export type { Support, Syscall } from "./kernel/types.ts";
export { encodeFrame, type Frame, FrameKind, FrameReader, RELAY } from "./sockets/frames.ts";
export { syscallTable } from "./syscalls/index.ts";

type FaultAnswer = { readonly ops: readonly ProcessOp[] | null; readonly signal: number };

const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;

/**
 * Makes the library OS of one cVM. {@link LibraryOs.start} then starts its first program.
 * @throws Error when a layer, the writable folder or a volume cannot be used
 */
export function createLibraryOs(options: LibosOptions, host: HostCalls): LibraryOs {
  const table = syscallTable();
  const kernel = new LinuxKernel(host, options, table);
  const cp = new CpObjectsSeen(host);
  const vfs = createFiles(options, cp);
  kernel.vfs = vfs;
  const unfollow = wall.follow(() => kernel.clockSet());
  let closed = false;
  kernel.onEnd = () => {
    unfollow();
    if (!closed) closeFiles(vfs);
    closed = true;
  };
  kernel.network = createNetwork(host, options, cp);
  const limits = defaultLimits(options.memoryBytes, STACK_BYTES);

  /** A process for a program from outside; nothing of it is in the tables before it runs. */
  const begin = (console: number, program: ProgramOptions): PromiseLike<void> | void => {
    const pid = kernel.newPid();
    const { uid, gid } = program.user;
    const process = new LinuxProcess(kernel, {
      pid,
      parent: null,
      pgid: pid,
      sid: pid,
      memory: new AddressSpace(0, 0, kernel.memory),
      fds: new DescriptorTable(limits[Rlimit.NOFILE]!.soft),
      fs: { cwd: program.cwd, root: "/", umask: 0o022 },
      credentials: { uid, euid: uid, suid: uid, fsuid: uid, gid, egid: gid, sgid: gid, fsgid: gid, groups: [gid] },
      console,
      limits,
    });
    const thread = new LinuxThread(pid, process);
    const files = createConsole(kernel, console, program.tty, program.stdin, program.columns, program.rows);
    process.fds.add(files.stdin, false);
    process.fds.add(files.stdout, false);
    process.fds.add(files.stderr, false);
    kernel.consoles.set(console, files);
    const failed = (error: unknown): never => {
      process.fds.leave();
      kernel.consoles.delete(console);
      if (kernel.init === process) kernel.init = null;
      throw error;
    };
    process.ownsConsole = true;
    kernel.init ??= process;
    try {
      const directory = vfs.stat(program.cwd, "/", true, thread.context);
      if (typeof directory === "number" || (directory.mode & S_IFMT) !== S_IFDIR)
        throw new ExecError("not-found", `${program.cwd}: the working directory does not exist`);
      const started = startProgram(process, thread, program.argv, program.env, program.cwd);
      if (isPromise(started)) return started.then(undefined, failed);
    } catch (error) {
      failed(error);
    }
  };

  /** Ends a process whose thread faulted: the answer to that. The monitor ends it itself; what else ends with it is asked for here. */
  const end = (process: LinuxProcess, space: ProcessId, signal: number): FaultAnswer => {
    const shared = process.memory.users > 1;
    const ending = endProcess(process, { code: 0, signal });
    const others = ending.filter((op) => shared || op.op !== "endProcess" || op.process !== space);
    if (shared) return { ops: others, signal };
    if (others.length > 0) void host.operate(others);
    return { ops: null, signal };
  };

  const plain = (call: SyscallCall): SyscallOutcome => kernel.syscall(call);
  const traced = (call: SyscallCall): SyscallOutcome => {
    const row = kernel.row(call.number);
    const thread = kernel.threads.get(call.thread);
    const prefix = kernel.threads.size > 1 ? `[pid ${String(thread?.process.pid ?? 0).padStart(5)}] ` : "";
    const begun = row === undefined ? null : new TracedCall(row, call.args);
    const unknown = row === undefined ? unknownLine(call.number, call.args) : "";
    const end = (reply: number | SyscallReply | null): void => host.trace(prefix + (begun === null ? unknown : begun.line(reply)));
    if (thread !== undefined) thread.traced = end;
    const outcome = kernel.syscall(call);
    if (outcome !== PENDING) {
      if (thread !== undefined) thread.traced = null;
      end(thread?.dead === true ? null : outcome);
    }
    return outcome;
  };

  return {
    syscalls: table,
    start: () => begin(0, options.program),
    exec(console, program) {
      const refuse = (error: unknown): number => {
        if (!(error instanceof ExecError)) throw error;
        host.consoleWrite(console, 2, new TextEncoder().encode(`${error.message}\n`));
        return -error.errno;
      };
      if (kernel.init === null) return -E.SRCH;
      try {
        const begun = begin(console, program);
        return isPromise(begun) ? begun.then(() => 0, refuse) : 0;
      } catch (error) {
        return refuse(error);
      }
    },
    syscall: options.strace ? traced : plain,
    interrupted(id, registers) {
      const thread = kernel.threads.get(id);
      return thread === undefined ? [] : deliver(thread, registers);
    },
    fault(fault: Fault) {
      const thread = kernel.threads.get(fault.thread);
      if (thread === undefined) return { ops: null, signal: Sig.KILL };
      const { process } = thread;
      if (fault.cause === OUT_OF_MEMORY) {
        return whenReady(largest(kernel, process), (victim) =>
          victim === process
            ? end(process, fault.process, Sig.KILL)
            : { ops: endProcess(victim, { code: 0, signal: Sig.KILL }), signal: 0 },
        );
      }
      const { signal, code, address } = faultSignal(process.memory, fault);
      const ops = deliverFault(thread, fault.registers, signal, signalInfo({ code, address }));
      return ops === null ? end(process, fault.process, signal) : { ops, signal };
    },
    consoleInput: (console, bytes) => kernel.consoles.get(console)?.input(bytes),
    consoleResize: (console, columns, rows) => kernel.consoles.get(console)?.resize(columns, rows),
    signal(console, signal) {
      for (const process of kernel.processes.values()) {
        if (process.console === console && process.ownsConsole && !process.ended)
          sendSignal(process, signal, signalInfo({ code: Code.USER }), undefined, true);
      }
    },
    incoming: (listener, from, accept) => kernel.network.incoming(listener, from, accept),
    connected: (stream, error, local) => kernel.network.connected(stream, error, local),
    received: (stream, bytes) => kernel.network.received(stream, bytes),
    lent: (stream, bytes, all) => kernel.network.lent(stream, bytes, all),
    credited: (stream, bytes) => kernel.network.credited(stream, bytes),
    ended: (stream) => kernel.network.ended(stream),
    reset: (stream, error) => kernel.network.reset(stream, error),
    cpNotified: (handle, changes) => cp.notified(handle, changes),
    statistics: () => kernel.statistics(),
    close() {
      for (const process of kernel.processes.values()) {
        process.ownsConsole = false;
        endProcess(process, { code: 0, signal: Sig.KILL });
      }
      kernel.onEnd();
    },
  };
}
