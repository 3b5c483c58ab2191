/** Programs: the first one of a console, and execve. */
import { PENDING, type Awaitable, type ProcessOp, type SyscallOutcome, decodeText, encodeText } from "@cvm/monitor/abi";
import { ExecError } from "../elf/exec-error.ts";
import { loadProgram, regionBytes, ROOMS, type Room } from "../elf/load.ts";
import { openProgram, type Program } from "../elf/program.ts";
import { AddressSpace } from "./address-space.ts";
import { E } from "./errno.ts";
import type { LinuxKernel } from "./kernel.ts";
import { abandonPi } from "./futex-pi.ts";
import { endProcess, enter, forget, leaveMemory, release } from "./lifecycle.ts";
import { LinuxThread, type LinuxContext, type LinuxProcess } from "./process.ts";
import { isPromise, whenReady } from "./ready.ts";
import { abandonAll } from "./robust.ts";
import { DEFAULT_ACTION, Sig, SIG_DFL, SIG_IGN } from "./signals.ts";

interface Space {
  readonly space: number;
  readonly bytes: number;
  readonly room: Room;
}
/** An empty region with the most room for the program that there is. */
function createSpace(kernel: LinuxKernel, program: Program, choice = 0): Awaitable<Space> {
  const room = ROOMS[choice]!;
  const bytes = regionBytes(program, room);
  return whenReady(kernel.host.createProcess(bytes), (space) =>
    space > 0 || choice + 1 === ROOMS.length ? { space, bytes, room } : createSpace(kernel, program, choice + 1),
  );
}

/** Makes an address space with a loaded program. */
function load(
  kernel: LinuxKernel,
  program: Program,
  env: readonly string[],
  process: LinuxProcess,
): Awaitable<{ readonly memory: AddressSpace; readonly registers: Uint8Array }> {
  return whenReady(createSpace(kernel, program), ({ space, bytes, room }) => {
    if (space <= 0) throw new ExecError("no-memory", `${program.name}: no region of ${bytes} bytes is free`);
    const memory = new AddressSpace(space, bytes, kernel.memory);
    const undo = (): void => {
      memory.release();
      void kernel.host.operate([{ op: "endProcess", process: space }]);
    };
    const ops: ProcessOp[] = [];
    let registers: Uint8Array;
    try {
      registers = loadProgram(memory, program, room, env, process.credentials, kernel.random(16), kernel.clocks.page(), ops);
    } catch (error) {
      undo();
      throw error;
    }
    return whenReady(kernel.host.operate(ops), (result) => {
      if (result >= 0) return { memory, registers };
      undo();
      throw new ExecError("no-memory", `${program.name}: could not be loaded, error ${-result}`);
    });
  });
}

function take(process: LinuxProcess, thread: LinuxThread, program: Program, env: readonly string[], memory: AddressSpace): void {
  const name = decodeText(encodeText(program.name.slice(program.name.lastIndexOf("/") + 1)).subarray(0, 15));
  process.memory = memory;
  process.executable = program.path;
  process.argv = program.argv;
  process.env = env;
  process.name = name;
  thread.name = name;
}

/** The first program of a console. @throws ExecError (or a promise that fails with it), with nothing left behind. */
export function startProgram(
  process: LinuxProcess,
  thread: LinuxThread,
  argv: readonly string[],
  env: readonly string[],
  cwd: string,
): Awaitable<void> {
  const { kernel } = process;
  const program = openProgram(thread.context, findInPath(thread.context, argv[0] ?? "", env, cwd), cwd, argv);
  return whenReady(load(kernel, program, env, process), ({ memory, registers }) => {
    take(process, thread, program, env, memory);
    enter(process, thread);
    return whenReady(kernel.host.operate([{ op: "thread", process: memory.id, thread: thread.id, registers }]), (result) => {
      if (result >= 0) return;
      process.ownsConsole = false;
      void kernel.host.operate(endProcess(process, { code: 0, signal: Sig.KILL }));
      throw new ExecError("no-memory", `${program.name}: no thread is left`);
    });
  });
}

/** A command name without a slash is looked up along PATH, as a shell does. */
function findInPath(context: LinuxContext, name: string, env: readonly string[], cwd: string): string {
  if (name === "") throw new ExecError("not-found", "no command given");
  if (name.includes("/")) return name;
  const path = env.find((entry) => entry.startsWith("PATH="))?.slice(5) ?? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  let denied = false;
  for (const directory of path.split(":")) {
    const candidate = `${directory === "" ? "." : directory}/${name}`;
    const found = context.kernel.vfs.executable(candidate, cwd, context);
    if (typeof found !== "number") return candidate;
    denied ||= found === -E.ACCES;
  }
  throw new ExecError(denied ? "no-permission" : "not-found", denied ? `${name}: permission denied` : `${name}: not found in ${path}`);
}

/** execve(2). */
export function execute(
  context: LinuxContext,
  path: string,
  directory: string,
  argv: readonly string[],
  env: readonly string[],
): SyscallOutcome {
  const { kernel, process, thread } = context;
  const failed = (error: unknown): number => {
    if (error instanceof ExecError) return -error.errno;
    throw error;
  };
  try {
    // Linux gives a program without arguments one empty argument.
    const program = openProgram(context, path, directory, argv.length === 0 ? [""] : argv);
    const done = whenReady(load(kernel, program, env, process), ({ memory, registers }) =>
      whenReady(process.memory.writeBack(kernel.host), () =>
        whenReady(abandonAll(process), () => replace(context, program, env, memory, registers)),
      ),
    );
    return kernel.later(thread, isPromise(done) ? done.then((outcome) => outcome, failed) : done);
  } catch (error) {
    return failed(error);
  }
}

/** The point of no return of execve: other threads end, the old memory goes. */
function replace(
  context: LinuxContext,
  program: Program,
  env: readonly string[],
  memory: AddressSpace,
  registers: Uint8Array,
): SyscallOutcome {
  const { kernel, process, thread } = context;
  if (thread.dead) {
    memory.release();
    void kernel.host.operate([{ op: "endProcess", process: memory.id }]);
    return PENDING;
  }
  const others = [...process.threads].filter((other) => other !== thread);
  const ops: ProcessOp[] = [];
  for (const other of others) kernel.unblock(other);
  abandonPi(thread);
  for (const other of others) {
    if (other.parked === null) ops.push({ op: "endThread", thread: other.id });
    forget(other);
  }
  const old = process.memory;
  take(process, thread, program, env, memory);
  process.executed = true;
  process.dumpable = 1;
  process.actions = process.actions.map((action) =>
    action.handler === SIG_IGN ? { ...DEFAULT_ACTION, handler: SIG_IGN } : { ...DEFAULT_ACTION, handler: SIG_DFL },
  );
  for (const [id, timer] of process.timers) {
    if (id < 0) continue;
    timer.cancel?.();
    process.timers.delete(id);
  }
  process.ownDescriptors();
  process.fds.exec();
  const main = becomeMain(thread);
  if (main === thread) ops.push({ op: "move", thread: thread.id, process: memory.id, registers });
  else ops.push({ op: "endThread", thread: thread.id }, { op: "thread", process: memory.id, thread: main.id, registers });
  ops.push(...leaveMemory(old));
  release(process);
  return { result: 0, ops };
}

/** After execve the caller has the number of the process. */
function becomeMain(thread: LinuxThread): LinuxThread {
  const { process } = thread;
  const { kernel } = process;
  thread.clearChildTid = 0;
  thread.robustList = 0;
  thread.stack = { address: 0, size: 0, flags: 2 };
  if (thread.id === process.pid) return thread;
  forget(thread);
  const main = new LinuxThread(process.pid, process);
  main.mask = thread.mask;
  process.threads.add(main);
  kernel.threads.set(main.id, main);
  return main;
}
