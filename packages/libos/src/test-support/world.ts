/** A library OS on a pretended monitor: memory is plain bytes, and tests make the system calls that a program would make. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import {
  PENDING,
  type HostCalls,
  type LibosOptions,
  type LibraryOs,
  type ProcessOp,
  type SyscallReply,
  type SyscallValue,
} from "@cvm/monitor/abi";
import { createLibraryOs } from "../index.ts";
import { Registers, REGISTER_BYTES } from "../kernel/registers.ts";

export const WORLD_BYTES: number = 32 * 1024 * 1024;

interface Space {
  readonly memory: Uint8Array;
  /** Prot of mapped pages, by page number. */
  readonly pages: Map<number, number>;
  /** Numbers of the pages that were written to. */
  readonly used: Set<number>;
}
interface Hart {
  space: number;
  registers: Uint8Array;
  running: boolean;
}

export class World {
  readonly os: LibraryOs;
  readonly spaces: Map<number, Space> = new Map();
  readonly harts: Map<number, Hart> = new Map();
  /** Answers to calls that were pending. */
  readonly answers: Map<number, SyscallReply> = new Map();
  readonly exits: { readonly console: number; readonly code: number; readonly signal: number }[] = [];
  readonly traces: string[] = [];
  readonly output: string[] = [];
  readonly folder: string;
  #nextSpace = 1;
  readonly #slow: boolean;
  readonly #limit: number;

  /** `slow`: every answer of the host is a promise, as over a port. */
  constructor(
    files: Readonly<Record<string, Uint8Array | string>>,
    options: {
      readonly argv: readonly string[];
      readonly slow?: boolean;
      readonly strace?: boolean;
      readonly memoryBytes?: number;
      readonly init?: boolean;
    },
  ) {
    this.#slow = options.slow === true;
    this.#limit = options.memoryBytes ?? WORLD_BYTES;
    this.folder = mkdtempSync(join(tmpdir(), "libos-"));
    const layer = join(this.folder, "layer");
    for (const path of ["tmp", "etc", "proc", "sys", "dev"]) mkdirSync(join(layer, "root", path), { recursive: true });
    for (const [path, content] of Object.entries(files)) {
      const file = join(layer, "root", path);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, content);
      chmodSync(file, 0o755);
    }
    writeFileSync(join(layer, "metadata.json"), JSON.stringify({ version: 1, entries: {} }));
    const libos: LibosOptions = {
      hostname: "box",
      address: "10.0.0.2",
      layers: [layer],
      writable: join(this.folder, "writable"),
      volumes: [],
      memoryBytes: options.memoryBytes ?? WORLD_BYTES,
      strace: options.strace === true,
      init: options.init === true,
      program: { argv: options.argv, env: ["PATH=/bin", "HOME=/"], cwd: "/", user: { uid: 0, gid: 0 }, tty: false, stdin: false },
    };
    this.os = createLibraryOs(libos, this.#host());
  }
  dispose(): void {
    this.os.close?.();
    rmSync(this.folder, { recursive: true, force: true });
  }

  #later<T>(value: T): T | Promise<T> {
    return this.#slow ? Promise.resolve(value) : value;
  }
  #host(): HostCalls {
    const nothing = (): void => {};
    return {
      createProcess: (bytes) => this.#later(this.#createSpace(bytes)),
      fork: (thread, child, bytes) => {
        const hart = this.harts.get(thread)!;
        const from = this.spaces.get(hart.space)!;
        if ((this.#used() + from.used.size) * 4096 > this.#limit) return this.#later(-12);
        const id = this.#createSpace(bytes);
        const to = this.spaces.get(id)!;
        to.memory.set(from.memory.subarray(0, bytes));
        for (const [page, prot] of from.pages) to.pages.set(page, prot);
        for (const page of from.used) to.used.add(page);
        const registers = Registers.copy(hart.registers);
        registers.set(10, 0);
        this.harts.set(child, { space: id, registers: registers.bytes, running: false });
        return this.#later(id);
      },
      grow: (process, bytes) => {
        const space = this.spaces.get(process)!;
        const memory = new Uint8Array(Math.max(space.memory.length, bytes));
        memory.set(space.memory);
        this.spaces.set(process, { ...space, memory });
        return this.#later(memory.length);
      },
      usage: () => this.#later(Array.from(this.spaces, ([id, { used }]) => [id, used.size * 4096] as const)),
      start: (thread) => {
        this.harts.get(thread)!.running = true;
      },
      operate: (ops) => this.#later(this.apply(ops)),
      complete: (thread, reply) => {
        this.answers.set(thread, this.#settle(thread, reply));
      },
      readMemory: (process, address, length) => this.#later(this.read(process, address, length)),
      listen: () => 0,
      connect: nothing,
      send: nothing,
      credit: nothing,
      shutdown: nothing,
      close: nothing,
      names: () => [],
      cp: ({ cp }) => (cp === "list" ? [] : -2),
      consoleWrite: (_console, _fd, bytes) => {
        this.output.push(Buffer.from(bytes).toString());
      },
      trace: (line) => {
        this.traces.push(line);
      },
      exited: (console, code, signal) => {
        this.exits.push({ console, code, signal });
      },
    };
  }
  #createSpace(bytes: number): number {
    const id = this.#nextSpace++;
    this.spaces.set(id, { memory: new Uint8Array(bytes), pages: new Map(), used: new Set() });
    return id;
  }
  /** Bytes of a process's memory, or null when a page is not mapped. */
  read(space: number, address: number, length: number): Uint8Array | null {
    const { memory, pages } = this.spaces.get(space)!;
    for (let page = Math.floor(address / 4096); page * 4096 < address + length; page++) if (!pages.has(page)) return null;
    return memory.slice(address, address + length);
  }
  prot(space: number, address: number): number | undefined {
    return this.spaces.get(space)!.pages.get(Math.floor(address / 4096));
  }

  #used(): number {
    return Array.from(this.spaces.values()).reduce((sum, { used }) => sum + used.size, 0);
  }
  /** A store of the program: the page counts from now on. */
  store(space: number, address: number, bytes: Uint8Array): void {
    const { memory, used } = this.spaces.get(space)!;
    memory.set(bytes, address);
    for (let page = Math.floor(address / 4096); page * 4096 < address + bytes.length; page++) used.add(page);
  }

  /** Carries operations out; throws where the monitor would refuse. -ENOMEM when content does not fit. */
  apply(ops: readonly ProcessOp[]): number {
    const bytes = ops.reduce((sum, op) => sum + (op.op === "map" || op.op === "write" ? (op.bytes?.length ?? 0) : 0), 0);
    if (this.#used() * 4096 + bytes > this.#limit) return -12;
    for (const op of ops) this.#one(op);
    return 0;
  }
  #one(op: ProcessOp): void {
    const space = "process" in op ? this.spaces.get(op.process) : undefined;
    if ("process" in op && space === undefined) throw new Error(`no process ${op.process} for ${op.op}`);
    const pages = (address: number, length: number, act: (page: number) => void): void => {
      if (address % 4096 !== 0 || length % 4096 !== 0 || address < 4096 || address + length > space!.memory.length)
        throw new Error(`bad range of ${op.op}: ${address} ${length}`);
      for (let page = address / 4096; page * 4096 < address + length; page++) act(page);
    };
    switch (op.op) {
      case "map":
        pages(op.address, op.length, (page) => space!.pages.set(page, op.prot));
        if (op.keep !== true) {
          space!.memory.fill(0, op.address, op.address + op.length);
          pages(op.address, op.length, (page) => space!.used.delete(page));
        }
        if (op.bytes !== undefined) this.store(op.process, op.address, op.bytes);
        return;
      case "protect":
        return pages(op.address, op.length, (page) => space!.pages.set(page, op.prot));
      case "unmap":
        pages(op.address, op.length, (page) => space!.used.delete(page));
        return pages(op.address, op.length, (page) => space!.pages.delete(page));
      case "zero":
        space!.memory.fill(0, op.address, op.address + op.length);
        return pages(op.address, op.length, (page) => space!.used.delete(page));
      case "copy":
        space!.memory.copyWithin(op.to, op.from, op.from + op.length);
        return;
      case "write":
        if (this.read(op.process, op.address, op.bytes.length) === null && op.ifMapped !== true)
          throw new Error(`write to unmapped ${op.address}`);
        this.store(op.process, op.address, op.bytes);
        return;
      case "registers":
        this.harts.get(op.thread)!.registers = op.registers;
        return;
      case "thread":
        if (this.harts.has(op.thread)) throw new Error(`thread ${op.thread} exists`);
        if (op.registers.length !== REGISTER_BYTES) throw new Error("registers");
        this.harts.set(op.thread, { space: op.process, registers: op.registers, running: true });
        return;
      case "move": {
        const hart = this.harts.get(op.thread)!;
        hart.space = op.process;
        hart.registers = op.registers;
        return;
      }
      case "endThread":
        if (!this.harts.delete(op.thread)) throw new Error(`no thread ${op.thread}`);
        return;
      case "endProcess":
        for (const [id, hart] of this.harts) if (hart.space === op.process) this.harts.delete(id);
        this.spaces.delete(op.process);
        return;
      case "interrupt":
        this.#interrupts.add(op.thread);
    }
  }
  readonly #interrupts: Set<number> = new Set();
  /** Lets the library OS deliver to all threads that it wanted to interrupt. */
  interrupt(): void {
    for (const id of this.#interrupts) {
      this.#interrupts.delete(id);
      const hart = this.harts.get(id);
      if (hart !== undefined) this.apply(this.os.interrupted(id, hart.registers) as readonly ProcessOp[]);
    }
  }

  registers(thread: number): Registers {
    return new Registers(this.harts.get(thread)!.registers);
  }
  /** Makes a call as the gate would: outputs are in the answer, operations are carried out, the result stands in a0. */
  call(thread: number, name: string, ...args: readonly SyscallValue[]): SyscallReply | typeof PENDING {
    const row = this.os.syscalls.find((one) => one.name === name);
    if (row === undefined) throw new Error(`no call ${name}`);
    if (row.arguments.length !== args.length) throw new Error(`${name} has ${row.arguments.length} arguments`);
    const hart = this.harts.get(thread)!;
    this.answers.delete(thread);
    const outcome = this.os.syscall({
      process: hart.space,
      thread,
      number: row.number,
      args,
      ...(row.registers === true ? { registers: Uint8Array.from(hart.registers) } : {}),
    });
    if (outcome === PENDING) return PENDING;
    const reply = this.#settle(thread, outcome);
    this.interrupt();
    return reply;
  }
  #settle(thread: number, outcome: number | SyscallReply): SyscallReply {
    const reply = typeof outcome === "number" ? { result: outcome } : outcome;
    const replaced = reply.ops?.some((op) => (op.op === "registers" || op.op === "move") && op.thread === thread) === true;
    if (!replaced && this.harts.has(thread)) this.registers(thread).set(10, reply.result);
    this.apply(reply.ops ?? []);
    return reply;
  }
  /** The result of a call that does not block. */
  result(thread: number, name: string, ...args: readonly SyscallValue[]): number {
    const reply = this.call(thread, name, ...args);
    if (reply === PENDING) throw new Error(`${name} blocks`);
    return reply.result;
  }
  /** The answer that a pending call got meanwhile; undefined while it waits. */
  answered(thread: number): SyscallReply | undefined {
    const answer = this.answers.get(thread);
    this.answers.delete(thread);
    return answer;
  }
  /** Waits for the answer of a pending call. */
  async answer(thread: number): Promise<SyscallReply> {
    for (;;) {
      const reply = this.answered(thread);
      if (reply !== undefined) return reply;
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
    }
  }
}
