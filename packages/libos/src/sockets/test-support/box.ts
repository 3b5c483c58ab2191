/** A cVM's kernel for tests of sockets and events: system calls by name, threads that wait, a monitor that only takes notes. */
import { PENDING, type HostCalls } from "@cvm/monitor/abi";
import type { CpObjectsSeen } from "../../files/cp.ts";
import { FakeKernel } from "../../files/fake-kernel.test.support.ts";
import type { CallContext, Kernel, OpenFile, Syscall, SyscallOutcome, SyscallReply } from "../../kernel/types.ts";
import type { WaitQueue } from "../../kernel/wait.ts";
import { eventSyscalls } from "../../syscalls/events.ts";
import { fileSyscalls } from "../../syscalls/files.ts";
import { socketSyscalls } from "../../syscalls/sockets.ts";
import { createNetwork, type CvmNetwork } from "../network.ts";

const table: ReadonlyMap<string, Syscall> = new Map([...fileSyscalls, ...eventSyscalls, ...socketSyscalls].map((row) => [row.name, row]));

/** A call that waits, or its answer. */
export class Waiting {
  outcome: number | SyscallReply | undefined;
  /** As a signal does. */
  interrupt: () => void = () => {};
  /** Told when the call that waited is answered. */
  answered: () => void = () => {};
  get done(): boolean {
    return this.outcome !== undefined;
  }
  get result(): number {
    if (this.outcome === undefined) throw new Error("the call still waits");
    return typeof this.outcome === "number" ? this.outcome : this.outcome.result;
  }
  /** Value of an output argument. */
  out(arg: number): Uint8Array {
    const found = typeof this.outcome === "object" ? this.outcome.out?.find((one) => one.arg === arg) : undefined;
    if (found === undefined) throw new Error(`no output ${arg}: ${JSON.stringify(this.outcome)}`);
    return found.value as Uint8Array;
  }
  get text(): string {
    return Buffer.from(this.out(1)).toString();
  }
}

export class Box {
  readonly files: FakeKernel;
  readonly context: CallContext;
  readonly network: CvmNetwork;
  /** Host calls, by name with their arguments. */
  readonly calls: [string, ...unknown[]][] = [];
  /** Bytes that were sent by the monitor's streams, as they were. */
  readonly sent: Uint8Array[] = [];
  /** Signals sent to the caller. */
  readonly signals: number[] = [];
  masks: Uint8Array[] = [];
  #current: Waiting = new Waiting();

  /** `over`: host calls that do more than take notes. */
  constructor(over: Partial<HostCalls> = {}, address: string = "10.88.0.2", cp: CpObjectsSeen | null = null) {
    this.files = new FakeKernel();
    this.context = this.files.context;
    const note =
      (name: string) =>
      (...args: unknown[]): number => {
        if (name === "send") this.sent.push((args[1] as Uint8Array).slice());
        this.calls.push([name, ...args.map((arg) => (arg instanceof Uint8Array ? Buffer.from(arg).toString() : arg))]);
        return 0;
      };
    const host = { ...this.files.kernel.host };
    for (const name of ["listen", "connect", "send", "credit", "shutdown", "close"]) Object.assign(host, { [name]: note(name) });
    Object.assign(host, over);
    this.network = createNetwork(host, { address }, cp);
    const kernel: Partial<Kernel> = {
      host: host,
      network: this.network,
      monotonic: () => performance.now(),
      signal: (_process, signal) => void this.signals.push(signal),
      withSignalMask: (_context, mask, run) => {
        this.masks.push(mask);
        return run();
      },
      answer: (_thread, reply) => void (this.#last.outcome = reply),
      block: (_context, queues, retry, timeoutMs, onTimeout, _restartable, interrupted) =>
        this.#block(queues, retry, timeoutMs, onTimeout, interrupted ?? null),
    };
    Object.assign(this.files.kernel, kernel);
  }
  #last: Waiting = new Waiting();
  #block(
    queues: readonly WaitQueue[],
    retry: () => number | SyscallReply,
    timeoutMs: number,
    onTimeout: number | (() => number | SyscallReply),
    interrupted: (() => number | SyscallReply) | null,
  ): SyscallOutcome {
    if (timeoutMs <= 0) return typeof onTimeout === "number" ? onTimeout : onTimeout();
    const waiting = this.#current;
    let timer: NodeJS.Timeout | undefined;
    let running = false;
    let again = false;
    const end = (outcome: number | SyscallReply): void => {
      clearTimeout(timer);
      for (const queue of queues) queue.remove(wake);
      waiting.outcome = outcome;
      waiting.answered();
    };
    const wake = (): void => {
      again = true;
      if (running || waiting.done) return;
      running = true;
      let outcome: number | SyscallReply = -11;
      while (again && outcome === -11) {
        again = false;
        outcome = retry();
      }
      running = false;
      if (outcome !== -11) end(outcome);
    };
    for (const queue of queues) queue.add(wake);
    if (timeoutMs !== Infinity) timer = setTimeout(() => end(typeof onTimeout === "number" ? onTimeout : onTimeout()), timeoutMs);
    waiting.interrupt = () => end(interrupted === null ? -4 : interrupted());
    return PENDING;
  }

  /** A call that may wait. */
  start(name: string, ...args: unknown[]): Waiting {
    return this.startAs(this.context, name, ...args);
  }
  startAs(context: CallContext, name: string, ...args: unknown[]): Waiting {
    const waiting = new Waiting();
    this.#current = this.#last = waiting;
    const row = table.get(name);
    if (row === undefined) throw new Error(`no call ${name}`);
    const outcome = row.handler(context, args as never);
    if (outcome !== PENDING) waiting.outcome = outcome;
    return waiting;
  }
  /** The number that a call returns. */
  call(name: string, ...args: unknown[]): number {
    return this.start(name, ...args).result;
  }
  file(fd: number): OpenFile {
    return this.context.process.fds.get(fd)!;
  }
  /** A socket's descriptor. */
  socket(domain: number, type: number): number {
    const fd = this.call("socket", domain, type, 0);
    if (fd < 0) throw new Error(`socket: ${fd}`);
    return fd;
  }
  read(fd: number, max = 65536): string | number {
    const waiting = this.start("read", fd, max, max);
    return waiting.result < 0 ? waiting.result : waiting.text;
  }
  write(fd: number, text: string | Uint8Array): number {
    const bytes = Buffer.from(text as string);
    return this.call("write", fd, bytes, bytes.length);
  }
  /** What poll(2) says about a descriptor now. */
  poll(fd: number, events = 0xffff): number {
    const bytes = pollfd([fd, events]);
    const waiting = this.start("ppoll", bytes, 1, new Uint8Array(16), null, 0);
    const out = waiting.out(0);
    return out[6]! | (out[7]! << 8);
  }
  dispose(): void {
    this.files.dispose();
  }
}

export function pollfd(...entries: readonly [fd: number, events: number][]): Uint8Array {
  const bytes = new Uint8Array(entries.length * 8);
  const view = new DataView(bytes.buffer);
  entries.forEach(([fd, events], index) => {
    view.setInt32(index * 8, fd, true);
    view.setUint16(index * 8 + 4, events, true);
  });
  return bytes;
}

export function timespec(ms: number): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setBigInt64(0, BigInt(Math.floor(ms / 1000)), true);
  view.setBigInt64(8, BigInt(Math.round((ms % 1000) * 1e6)), true);
  return bytes;
}

/** sockaddr_in. */
export function inet(address: string, port: number): Uint8Array {
  return Uint8Array.of(2, 0, port >> 8, port & 255, ...address.split(".").map(Number), 0, 0, 0, 0, 0, 0, 0, 0);
}
export function unix(path: string): Uint8Array {
  return Buffer.from(`\u0001\0${path}`, "latin1");
}
