/** A kernel with one process and no monitor, for tests of files: system calls by name, memory of the caller as a map. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { PENDING, type HostCalls, type LibosOptions, type OutValue } from "@cvm/monitor/abi";
import { DescriptorTable } from "../kernel/fd-table.ts";
import type { CallContext, Kernel, Process, Syscall, SyscallOutcome, SyscallReply, Thread } from "../kernel/types.ts";
import { WaitQueue } from "../kernel/wait.ts";
import { fileSyscalls } from "../syscalls/files.ts";
import { CpObjectsSeen } from "./cp.ts";
import type { MetadataEntry } from "./layer.ts";
import { closeFiles, createFiles } from "./mounts.ts";
import type { VirtualFiles } from "./vfs.ts";

/** What a layer is made of: text, `-> target` links, null for directories, or metadata alone. */
export type Tree = Readonly<Record<string, string | null | MetadataEntry>>;

export function temporaryFolder(): string {
  return mkdtempSync(join(tmpdir(), "cvm-files-"));
}

export function makeLayer(folder: string, tree: Tree, entries: Readonly<Record<string, MetadataEntry>> = {}): string {
  mkdirSync(join(folder, "root"), { recursive: true });
  const metadata: Record<string, MetadataEntry> = { ...entries };
  for (const path of Object.keys(tree)) {
    const value = tree[path]!;
    const host = join(folder, "root", path);
    mkdirSync(dirname(host), { recursive: true });
    if (value === null) mkdirSync(host, { recursive: true });
    else if (typeof value !== "string") metadata[path] = value;
    else if (value.startsWith("-> ")) symlinkSync(value.slice(3), host);
    else writeFileSync(host, value);
  }
  writeFileSync(join(folder, "metadata.json"), JSON.stringify({ version: 1, entries: metadata }));
  return folder;
}

/** A parked thread: notifying its queues runs `retry` as the kernel would. */
interface Parked {
  readonly queues: readonly WaitQueue[];
  readonly retry: () => number | SyscallReply;
  readonly wake: () => void;
}

export class FakeKernel {
  readonly folder: string;
  readonly vfs: VirtualFiles;
  readonly kernel: Kernel;
  readonly process: Process & { fs: { cwd: string; root: string; umask: number } };
  readonly context: CallContext;
  readonly output: { console: number; fd: number; text: string }[] = [];
  readonly signals: { pid: number; signal: number }[] = [];
  /** Results of calls that had to wait. */
  readonly completed: (number | SyscallReply)[] = [];
  readonly memory: Map<number, Uint8Array> = new Map();
  names: { name: string; address: string }[] = [];
  #time = 1000;
  #pid = 1;

  constructor(
    options: Partial<LibosOptions> & {
      readonly tree?: Tree;
      readonly entries?: Readonly<Record<string, MetadataEntry>>;
      readonly folder?: string;
    } = {},
  ) {
    this.folder = options.folder ?? temporaryFolder();
    const layers = options.layers ?? [
      makeLayer(join(this.folder, "layer0"), options.tree ?? { "etc/passwd": "root:x:0:0::/:/bin/sh\n" }, options.entries),
    ];
    const all: LibosOptions = {
      hostname: "box",
      address: "10.1.0.2",
      volumes: [],
      memoryBytes: 64 * 1024 * 1024,
      strace: false,
      writable: join(this.folder, "writable"),
      program: { argv: ["test"], env: [], cwd: "/", user: { uid: 0, gid: 0 }, tty: false, stdin: true },
      ...options,
      layers,
    };
    this.vfs = createFiles(all, new CpObjectsSeen({ cp: () => [] } as unknown as HostCalls));
    const processes = new Map<number, Process>();
    const threads = new Map<number, Thread>();
    this.kernel = {
      options: all,
      processes,
      threads,
      vfs: this.vfs,
      network: undefined as unknown as Kernel["network"],
      random: (length: number) => crypto.getRandomValues(new Uint8Array(length)),
      monotonic: () => (this.#time += 1),
      realtime: () => Date.now(),
      host: {
        names: () => this.names,
        consoleWrite: (console: number, fd: number, bytes: Uint8Array) =>
          this.output.push({ console, fd, text: Buffer.from(bytes).toString() }),
        readMemory: (_process: number, address: number, length: number) => this.memory.get(address)?.slice(0, length) ?? null,
      } as unknown as Kernel["host"],
      block: (_context, queues, retry) => {
        let running = false;
        let again = false;
        const parked: Parked = {
          queues,
          retry,
          wake: () => {
            again = true;
            if (running) return;
            running = true;
            let result: number | SyscallReply = -11;
            while (again && result === -11) {
              again = false;
              result = retry();
            }
            running = false;
            if (result === -11) return;
            for (const queue of queues) queue.remove(parked.wake);
            this.completed.push(result);
          },
        };
        for (const queue of queues) queue.add(parked.wake);
        return PENDING;
      },
      answer: (_thread, reply) => void this.completed.push(reply),
      withSignalMask: (_context, _mask, run) => run(),
      signalSource: undefined as unknown as Kernel["signalSource"],
      stopBackground: () => -4,
      signal: (process, signal) => void this.signals.push({ pid: process.pid, signal }),
    };
    this.context = this.newProcess();
    this.process = this.context.process as FakeKernel["process"];
  }
  newProcess(uid = 0): CallContext {
    const pid = this.#pid++;
    const process = {
      pid,
      parent: null,
      pgid: pid,
      sid: pid,
      space: pid,
      threads: new Set<Thread>(),
      fds: new DescriptorTable(1024),
      fs: { cwd: "/", root: "/", umask: 0o022 },
      credentials: { uid, euid: uid, suid: uid, fsuid: uid, gid: uid, egid: uid, sgid: uid, fsgid: uid, groups: [] },
      name: "test",
      argv: ["test", "-v"],
      env: ["A=1"],
      executable: "/bin/test",
      console: 0,
      startedAt: 5,
      ended: false,
      maps: () => "10000-12000 r-xp 00000000 00:14 5 /bin/test\n20000-23000 rw-p 00000000 00:00 0\n",
      memoryUse: () => ({ resident: 8192, virtual: 65536 }),
      state: () => "R",
      signalWaiters: new WaitQueue(),
      exitWaiters: new WaitQueue(),
    } as unknown as Process;
    const thread: Thread = { id: pid, process, name: "test" };
    process.threads.add(thread);
    this.kernel.processes.set(pid, process);
    this.kernel.threads.set(pid, thread);
    return { kernel: this.kernel, process, thread, registers: undefined };
  }
  /** Calls a handler with values as the gate would give them. */
  raw(name: string, args: readonly unknown[], context: CallContext = this.context): SyscallOutcome {
    return byName.get(name)!.handler(context, args as never);
  }
  /** The number that a call returns; fails when it waits. */
  call(name: string, ...args: unknown[]): number {
    const outcome = this.raw(name, args);
    if (outcome === PENDING) throw new Error(`${name} waits`);
    return typeof outcome === "number" ? outcome : (outcome as SyscallReply).result;
  }
  as(context: CallContext, name: string, ...args: unknown[]): number {
    const outcome = this.raw(name, args, context);
    if (outcome === PENDING) throw new Error(`${name} waits`);
    return typeof outcome === "number" ? outcome : (outcome as SyscallReply).result;
  }
  /** Bytes that a call returns in its (only) output. */
  bytes(name: string, ...args: unknown[]): Uint8Array {
    return outputOf(this.raw(name, args));
  }
  open(path: string, flags = 0, mode = 0o644): number {
    return this.call("openat", -100, path, flags, mode);
  }
  write(path: string, text: string, flags = 0o1101): void {
    const fd = this.open(path, flags);
    if (fd < 0) throw new Error(`open ${path}: ${fd}`);
    const bytes = Buffer.from(text);
    if (this.call("write", fd, bytes, bytes.length) !== bytes.length) throw new Error(`write ${path}`);
    this.call("close", fd);
  }
  /** The whole file as text, or a negative errno. */
  read(path: string): string | number {
    const fd = this.open(path);
    if (fd < 0) return fd;
    let text = "";
    for (;;) {
      const outcome = this.raw("read", [fd, 65536, 65536]);
      if (typeof outcome === "number") return outcome;
      const bytes = outputOf(outcome);
      if (bytes.length === 0) break;
      text += Buffer.from(bytes).toString();
    }
    this.call("close", fd);
    return text;
  }
  stat(
    path: string,
    flags = 0,
  ):
    | {
        mode: number;
        uid: number;
        gid: number;
        size: number;
        ino: number;
        nlink: number;
        rdev: number;
        dev: number;
        mtime: bigint;
        atime: bigint;
      }
    | number {
    const outcome = this.raw("newfstatat", [-100, path, 128, flags]);
    return typeof outcome === "number" ? outcome : parseStat(outputOf(outcome));
  }
  fstat(fd: number): Exclude<ReturnType<FakeKernel["stat"]>, number> {
    return parseStat(this.bytes("fstat", fd, 128));
  }
  /** Names in a directory, sorted, without `.` and `..`; a negative errno. */
  list(path: string): string[] | number {
    const fd = this.open(path, 0o200000);
    if (fd < 0) return fd;
    const names = this.entries(fd).map((entry) => entry.name);
    this.call("close", fd);
    return names.filter((name) => name !== "." && name !== "..").sort();
  }
  entries(fd: number, size = 32768): { name: string; ino: number; type: number }[] {
    const found: { name: string; ino: number; type: number }[] = [];
    for (;;) {
      const outcome = this.raw("getdents64", [fd, size, size]);
      if (typeof outcome === "number") throw new Error(`getdents64: ${outcome}`);
      const bytes = outputOf(outcome);
      if (bytes.length === 0) return found;
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      for (let at = 0; at < bytes.length; at += view.getUint16(at + 16, true)) {
        const end = bytes.indexOf(0, at + 19);
        found.push({
          name: Buffer.from(bytes.subarray(at + 19, end)).toString(),
          ino: Number(view.getBigUint64(at, true)),
          type: bytes[at + 18]!,
        });
      }
    }
  }
  /** The same folders opened again, as after a restart. */
  reopened(options: Partial<LibosOptions> = {}): FakeKernel {
    closeFiles(this.vfs);
    return new FakeKernel({ ...this.kernel.options, ...options, folder: this.folder });
  }
  dispose(): void {
    closeFiles(this.vfs);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export function outputOf(outcome: SyscallOutcome): Uint8Array {
  if (outcome === PENDING || typeof outcome === "number") throw new Error(`no output: ${String(outcome)}`);
  const [out] = (outcome as SyscallReply).out as readonly OutValue[];
  return out!.value as Uint8Array;
}

function parseStat(bytes: Uint8Array): Exclude<ReturnType<FakeKernel["stat"]>, number> {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const time = (at: number): bigint => view.getBigInt64(at, true) * 1_000_000_000n + view.getBigInt64(at + 8, true);
  return {
    dev: Number(view.getBigUint64(0, true)),
    ino: Number(view.getBigUint64(8, true)),
    mode: view.getUint32(16, true),
    nlink: view.getUint32(20, true),
    uid: view.getUint32(24, true),
    gid: view.getUint32(28, true),
    rdev: Number(view.getBigUint64(32, true)),
    size: Number(view.getBigInt64(48, true)),
    atime: time(72),
    mtime: time(88),
  };
}

const byName: ReadonlyMap<string, Syscall> = new Map(fileSyscalls.map((syscall) => [syscall.name, syscall]));
