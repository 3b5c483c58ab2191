import { OUT_OF_MEMORY, PENDING } from "@cvm/monitor/abi";
import { afterEach, describe, expect, test } from "vitest";
import { makeElf } from "../test-support/elf.ts";
import { World } from "../test-support/world.ts";
import { E } from "./errno.ts";
import { Registers } from "./registers.ts";
import { Sig } from "./signals.ts";

const text = { address: 0x10000, bytes: Uint8Array.of(0x13, 0, 0, 0) };
const program = makeElf({
  segments: [text, { address: 0x20000, bytes: Uint8Array.of(1, 2, 3), memoryBytes: 8000, flags: 6 }],
  entry: 0x10000,
});
const files = {
  "bin/a": program,
  "bin/b": makeElf({ segments: [text], entry: 0x10002 }),
  "bin/script": "#!/bin/b -x y\n",
  "bin/text": "hello, not a program",
  "bin/amd64": makeElf({ segments: [text], machine: 62 }),
  "bin/far": makeElf({ segments: [{ ...text, address: 0x1_0000_0000 }] }),
  "bin/noloader": makeElf({ segments: [text], interpreter: "/lib/ld.so" }),
};
let world: World;
const start = async (options: Partial<ConstructorParameters<typeof World>[1]> = {}): Promise<World> => {
  world = new World(files, { argv: ["/bin/a", "one"], ...options });
  await world.os.start();
  return world;
};
afterEach(() => world.dispose());

const u64 = (value: number): Uint8Array => {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true);
  return bytes;
};
/** struct sigaction. */
const action = (handler: number, flags = 0, mask = 0): Uint8Array => Buffer.concat([u64(handler), u64(flags), u64(mask)]);
const read64 = (bytes: Uint8Array, at: number): number => Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(at, true));
const scratch = 0x20000;
const timespec = (ms: number): Uint8Array => Buffer.concat([u64(Math.floor(ms / 1000)), u64((ms % 1000) * 1e6)]);
const fork = async (thread = 1): Promise<number> => {
  const reply = world.call(thread, "clone", 17, 0, 0, 0, 0);
  return (reply === PENDING ? await world.answer(thread) : reply).result;
};
const out = (reply: { out?: readonly { arg: number; value: unknown }[] } | typeof PENDING, arg: number): Uint8Array => {
  if (reply === PENDING) throw new Error("pending");
  return reply.out!.find((one) => one.arg === arg)!.value as Uint8Array;
};

describe("programs", () => {
  test("segments, protections, argc, argv, envp and auxv of a new process", async () => {
    await start();
    const registers = world.registers(1);
    expect(registers.pc).toBe(0x10000);
    const sp = registers.get(2);
    expect(sp % 16).toBe(0);
    const stack = world.read(1, sp, 800)!;
    expect(read64(stack, 0)).toBe(2);
    const string = (at: number): string => {
      const bytes = world.read(1, at, 16)!;
      return Buffer.from(bytes.subarray(0, bytes.indexOf(0))).toString();
    };
    expect(string(read64(stack, 8))).toBe("/bin/a");
    expect(string(read64(stack, 16))).toBe("one");
    expect(read64(stack, 24)).toBe(0);
    expect(string(read64(stack, 32))).toBe("PATH=/bin");
    const auxv = new Map<number, number>();
    for (let at = 56; ; at += 16) {
      auxv.set(read64(stack, at), read64(stack, at + 8));
      if (read64(stack, at) === 0) break;
    }
    expect(auxv.get(6)).toBe(4096);
    expect(auxv.get(9)).toBe(0x10000);
    expect(auxv.get(16)).toBe(0x112d);
    expect(Buffer.from(world.read(1, auxv.get(33)!, 4)!).toString()).toBe("\x7fELF");
    expect(string(auxv.get(31)!)).toBe("/bin/a");
    expect([world.prot(1, 0x10000), world.prot(1, 0x20000), world.prot(1, 0x21000), world.prot(1, 0x22000)]).toEqual([5, 3, 3, undefined]);
    expect([...world.read(1, 0x20000, 5)!]).toEqual([1, 2, 3, 0, 0]);
  });

  test.each([
    ["/bin/none", "not-found", E.NOENT],
    ["none", "not-found", E.NOENT],
    ["/tmp", "no-permission", E.ACCES],
    ["/bin/text", "not-elf", E.NOEXEC],
    ["/bin/amd64", "wrong-machine", E.NOEXEC],
    ["/bin/far", "outside-region", E.NOEXEC],
    ["/bin/noloader", "interpreter-not-found", E.NOENT],
  ])("%s is refused: %s, and nothing is left", async (path, code, errno) => {
    world = new World(files, { argv: [path] });
    await expect((async () => world.os.start())()).rejects.toMatchObject({ code, errno });
    expect(world.spaces.size).toBe(0);
    expect(world.harts.size).toBe(0);
  });

  test("too little memory is said so", async () => {
    world = new World(files, { argv: ["/bin/a"], memoryBytes: 8192 });
    await expect((async () => world.os.start())()).rejects.toMatchObject({ code: "no-memory", errno: E.NOMEM });
    expect(world.spaces.size).toBe(0);
  });

  test.each([false, true])("execve replaces the program; a failing one changes nothing (host answers later: %s)", async (slow) => {
    await start({ slow });
    expect(world.result(1, "execve", "/bin/none", ["x"], [])).toBe(-E.NOENT);
    expect(world.result(1, "execve", "/bin/amd64", ["x"], [])).toBe(-E.NOEXEC);
    world.result(1, "rt_sigaction", Sig.USR1, action(0x10000), null, 8);
    world.result(1, "rt_sigaction", Sig.USR2, action(1), null, 8);
    if (world.call(1, "execve", "/bin/script", ["script", "z"], ["E=1"]) === PENDING) await world.answer(1);
    expect([...world.spaces.keys()]).toEqual([2]);
    expect(world.registers(1).pc).toBe(0x10002);
    const stack = world.read(2, world.registers(1).get(2), 400)!;
    const argv = Array.from({ length: read64(stack, 0) }, (_, index) => {
      const bytes = world.read(2, read64(stack, 8 + index * 8), 16)!;
      return Buffer.from(bytes.subarray(0, bytes.indexOf(0))).toString();
    });
    expect(argv).toEqual(["/bin/b", "-x y", "/bin/script", "z"]);
    expect(read64(out(world.call(1, "rt_sigaction", Sig.USR1, null, scratch, 8), 2), 0)).toBe(0);
    expect(read64(out(world.call(1, "rt_sigaction", Sig.USR2, null, scratch, 8), 2), 0)).toBe(1);
  });
});

describe("processes", () => {
  test.each([false, true])("fork, exit and wait4 (host answers later: %s)", async (slow) => {
    await start({ slow });
    const child = await fork();
    expect(child).toBe(2);
    expect(world.harts.get(child)).toMatchObject({ space: 2, running: true });
    expect(world.registers(child).get(10)).toBe(0);
    expect(world.result(child, "getppid")).toBe(1);
    expect(world.call(1, "wait4", -1, scratch, 0, null)).toBe(PENDING);
    if (world.call(child, "exit_group", 7) === PENDING) await world.answer(child);
    const reply = await world.answer(1);
    expect(reply.result).toBe(child);
    expect(new DataView(out(reply, 1).buffer).getInt32(0, true)).toBe(7 << 8);
    expect(world.spaces.size).toBe(1);
    expect(world.result(1, "wait4", -1, scratch, 0, null)).toBe(-E.CHILD);
    expect(world.exits).toEqual([]);
  });

  test("the end of the first process ends all and is reported once", async () => {
    await start();
    await fork();
    world.call(1, "exit_group", 3);
    await Promise.resolve();
    expect(world.exits).toEqual([{ console: 0, code: 3, signal: 0 }]);
    expect(world.spaces.size).toBe(0);
    expect(world.harts.size).toBe(0);
  });

  test("vfork: the parent sleeps until the child has another program", async () => {
    await start();
    expect(world.call(1, "clone", 0x4111, 0, 0, 0, 0)).toBe(PENDING);
    expect(world.harts.get(2)!.space).toBe(1);
    expect(world.answered(1)).toBeUndefined();
    world.call(2, "execve", "/bin/b", ["b"], []);
    expect(world.answered(1)!.result).toBe(2);
    expect(world.harts.get(2)!.space).toBe(2);
    world.call(2, "exit_group", 0);
    expect(world.spaces.size).toBe(1);
  });

  test("vfork: a child that ends leaves the memory to the parent", async () => {
    await start();
    world.call(1, "clone", 0x4111, 0, 0, 0, 0);
    world.call(2, "exit_group", 1);
    expect(world.answered(1)!.result).toBe(2);
    expect([...world.harts.keys()]).toEqual([1]);
    expect(world.result(1, "getpid")).toBe(1);
  });

  test("a parent that ignores SIGCHLD has no zombies, and orphans go to the first process", async () => {
    await start();
    world.result(1, "rt_sigaction", Sig.CHLD, action(1), null, 8);
    const child = await fork();
    const grandchild = await fork(child);
    world.call(child, "exit_group", 0);
    expect(world.result(grandchild, "getppid")).toBe(1);
    expect(world.result(1, "kill", child, 0)).toBe(-E.SRCH);
  });

  test("what a child may not use: namespaces, bad flag pairs", async () => {
    await start();
    for (const [flags, error] of [
      [0x10000, E.INVAL],
      [0x800, E.INVAL],
      [0x20000000, E.PERM],
      [0x10000000, E.PERM],
    ] as const)
      expect(world.result(1, "clone", flags, 0, 0, 0, 0)).toBe(-error);
  });

  test("a fork that does not fit is refused and takes no memory", async () => {
    await start({ memoryBytes: 1024 * 1024 });
    const at = world.result(1, "mmap", 0, 600 * 1024, 3, 0x22, -1, 0);
    expect(await fork()).toBe(2);
    world.store(1, at, new Uint8Array(600 * 1024).fill(1));
    expect(await fork()).toBe(-E.NOMEM);
    expect(world.spaces.size).toBe(2);
  });
});

describe("threads and futexes", () => {
  const flags = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x80000 | 0x100000 | 0x200000;
  const thread = (): number => world.result(1, "clone", flags, 0x21000, scratch, 0x1234, scratch + 8);

  test("clone makes a thread with its stack, TLS and words", async () => {
    await start();
    const tid = thread();
    const registers = world.registers(tid);
    expect([registers.get(2), registers.get(4), registers.get(10)]).toEqual([0x21000, 0x1234, 0]);
    expect(new DataView(world.read(1, scratch, 4)!.buffer).getInt32(0, true)).toBe(tid);
    expect(world.result(tid, "getpid")).toBe(1);
    expect(world.result(tid, "gettid")).toBe(tid);
  });

  test.each([false, true])("a join: the word is cleared and the waiter woken (host answers later: %s)", async (slow) => {
    await start({ slow });
    const tid = thread();
    world.apply([{ op: "write", process: 1, address: scratch + 8, bytes: Uint8Array.of(tid, 0, 0, 0) }]);
    expect(world.call(1, "futex", scratch + 8, 0, tid, 0, 0, 0)).toBe(PENDING);
    await new Promise((resolve) => {
      setTimeout(resolve, 5);
    });
    if (world.call(tid, "exit", 0) === PENDING)
      await new Promise((resolve) => {
        setTimeout(resolve, 5);
      });
    expect((await world.answer(1)).result).toBe(0);
    expect(world.read(1, scratch + 8, 1)![0]).toBe(0);
  });

  test("wait compares, times out, and wake counts; requeue moves", async () => {
    await start();
    const a = thread();
    const b = thread();
    const word = scratch + 16;
    expect(world.result(1, "futex", word, 128, 5, 0, 0, 0)).toBe(-E.AGAIN);
    expect(world.result(1, "futex", word + 1, 0, 0, 0, 0, 0)).toBe(-E.INVAL);
    expect(world.result(1, "futex", 0x9000000 - 4096 * 300, 0, 0, 0, 0, 0)).toBe(-E.FAULT);
    world.apply([{ op: "write", process: 1, address: scratch + 64, bytes: timespec(15) }]);
    const before = performance.now();
    expect(world.call(1, "futex", word, 128, 0, scratch + 64, 0, 0)).toBe(PENDING);
    expect((await world.answer(1)).result).toBe(-E.TIMEDOUT);
    expect(performance.now() - before).toBeGreaterThanOrEqual(14);
    expect(world.call(a, "futex", word, 128, 0, 0, 0, 0)).toBe(PENDING);
    expect(world.call(b, "futex", word, 137, 0, 0, 0, 2)).toBe(PENDING);
    expect(world.result(1, "futex", word, 138, 10, 0, 0, 4)).toBe(1);
    expect(world.answered(a)!.result).toBe(0);
    expect(world.call(a, "futex", word, 128, 0, 0, 0, 0)).toBe(PENDING);
    expect(world.result(1, "futex", word, 132, 1, 1, word + 4, 0)).toBe(2);
    expect(world.answered(b)!.result).toBe(0);
    expect(world.result(1, "futex", word, 129, 1, 0, 0, 0)).toBe(0);
    expect(world.result(1, "futex", word + 4, 129, 1, 0, 0, 0)).toBe(1);
    expect(world.answered(a)!.result).toBe(0);
    expect(world.result(1, "futex", word, 2, 0, 0, 0, 0)).toBe(-E.NOSYS);
  });
});

describe("signals", () => {
  const HANDLER = 0x10000;

  test("a handler gets number, siginfo and context, and rt_sigreturn gives everything back", async () => {
    await start();
    world.result(1, "rt_sigaction", Sig.USR1, action(HANDLER, 4, 1 << (Sig.USR2 - 1)), null, 8);
    const before = Registers.copy(world.registers(1).bytes);
    for (let register = 5; register < 65; register++) if (register !== 10) before.set(register, register * 1000);
    world.apply([{ op: "registers", thread: 1, registers: Uint8Array.from(before.bytes) }]);
    world.call(1, "kill", 1, Sig.USR1);
    before.set(10, 0);
    const inside = world.registers(1);
    expect([inside.pc, inside.get(10)]).toEqual([HANDLER, Sig.USR1]);
    const sp = inside.get(2);
    expect(sp).toBeLessThanOrEqual(before.get(2) - 1088);
    const info = new DataView(world.read(1, inside.get(11), 32)!.buffer);
    expect([info.getInt32(0, true), info.getInt32(8, true), info.getInt32(16, true)]).toEqual([Sig.USR1, 0, 1]);
    expect([...world.read(1, inside.get(1), 8)!]).toEqual([0x93, 0x08, 0xb0, 0x08, 0x73, 0, 0, 0]);
    const mask = out(world.call(1, "rt_sigprocmask", 0, null, scratch, 8), 2);
    expect(read64(mask, 0)).toBe((1 << (Sig.USR1 - 1)) | (1 << (Sig.USR2 - 1)));
    world.call(1, "rt_sigreturn");
    expect(Buffer.from(world.registers(1).bytes).equals(Buffer.from(before.bytes))).toBe(true);
    expect(read64(out(world.call(1, "rt_sigprocmask", 0, null, scratch, 8), 2), 0)).toBe(0);
  });

  test("a blocked signal waits for its turn", async () => {
    await start();
    world.result(1, "rt_sigaction", Sig.USR1, action(HANDLER), null, 8);
    world.result(1, "rt_sigprocmask", 0, u64(1 << (Sig.USR1 - 1)), null, 8);
    world.call(1, "kill", 1, Sig.USR1);
    expect(world.registers(1).get(10)).toBe(0);
    expect(read64(out(world.call(1, "rt_sigpending", scratch, 8), 0), 0)).toBe(1 << (Sig.USR1 - 1));
    world.call(1, "rt_sigprocmask", 2, u64(0), null, 8);
    expect(world.registers(1).get(10)).toBe(Sig.USR1);
  });

  test("a waiting call ends with EINTR, or is made again with SA_RESTART", async () => {
    await start();
    const child = await fork();
    for (const [flags, expected] of [
      [0, -E.INTR],
      [0x10000000, -1],
    ] as const) {
      world.result(1, "rt_sigaction", Sig.USR1, action(HANDLER, flags), null, 8);
      const before = world.registers(1).pc;
      expect(world.call(1, "wait4", -1, null, 0, null)).toBe(PENDING);
      world.call(child, "kill", 1, Sig.USR1);
      expect(world.answered(1)!.result).toBe(-E.INTR);
      const frame = world.read(1, world.registers(1).get(2), 1088)!;
      expect(read64(frame, 304)).toBe(flags === 0 ? before : before - 4);
      const a0 = new DataView(frame.buffer).getBigInt64(304 + 80, true);
      expect(Number(a0)).toBe(expected);
      world.call(1, "rt_sigreturn");
      world.registers(1).pc = before;
    }
  });

  test("rt_sigsuspend runs the handler under its mask and restores the old one", async () => {
    await start();
    const child = await fork();
    world.result(1, "rt_sigaction", Sig.USR1, action(HANDLER), null, 8);
    world.result(1, "rt_sigprocmask", 0, u64(1 << (Sig.USR1 - 1)), null, 8);
    expect(world.call(1, "rt_sigsuspend", u64(0), 8)).toBe(PENDING);
    world.call(child, "kill", 1, Sig.USR1);
    expect(world.answered(1)!.result).toBe(-E.INTR);
    const frame = world.read(1, world.registers(1).get(2), 1088)!;
    expect(read64(frame, 168)).toBe(1 << (Sig.USR1 - 1));
  });

  test("default actions: SIGTERM ends a child, the first process only knows handlers", async () => {
    await start();
    const child = await fork();
    world.call(1, "kill", 1, Sig.TERM);
    world.call(1, "kill", 1, Sig.KILL);
    expect(world.result(1, "getpid")).toBe(1);
    world.call(1, "kill", child, Sig.TERM);
    world.interrupt();
    const reply = world.call(1, "wait4", child, scratch, 0, null);
    expect(new DataView(out(reply, 1).buffer).getInt32(0, true)).toBe(Sig.TERM);
    expect(world.spaces.size).toBe(1);
    world.os.signal(0, Sig.KILL);
    await Promise.resolve();
    expect(world.exits).toEqual([{ console: 0, code: 0, signal: Sig.KILL }]);
  });

  test("with an init above it the first process ends by SIGTERM as any other, and inherits no orphans", async () => {
    await start({ init: true });
    const child = await fork();
    const grandchild = await fork(child);
    world.call(child, "exit_group", 0);
    expect(world.result(grandchild, "getppid")).toBe(0);
    world.call(grandchild, "exit_group", 0);
    expect(world.result(1, "kill", grandchild, 0)).toBe(-E.SRCH);
    world.os.signal(0, Sig.TERM);
    world.interrupt();
    await Promise.resolve();
    expect(world.exits).toEqual([{ console: 0, code: 0, signal: Sig.TERM }]);
  });

  test("stopping parks a running thread, SIGCONT lets it go on, and the parent hears of both", async () => {
    await start();
    const child = await fork();
    const registers = Uint8Array.from(world.registers(child).bytes);
    world.call(1, "kill", child, Sig.STOP);
    expect(world.harts.has(child)).toBe(false);
    const status = (options: number): number =>
      new DataView(out(world.call(1, "wait4", child, scratch, options, null), 1).buffer).getInt32(0, true);
    expect(status(2)).toBe((Sig.STOP << 8) | 0x7f);
    expect(world.result(1, "wait4", child, scratch, 1 | 2, null)).toBe(0);
    world.call(1, "kill", child, Sig.CONT);
    expect(Buffer.from(world.registers(child).bytes).equals(Buffer.from(registers))).toBe(true);
    expect(status(8)).toBe(0xffff);
    world.call(1, "kill", child, Sig.STOP);
    world.call(1, "kill", child, Sig.KILL);
    expect(status(0)).toBe(Sig.KILL);
  });

  test("a fault goes to the handler, or ends the process", async () => {
    await start();
    const fault = (value: number, cause = 15, address = value) =>
      world.os.fault({
        process: 1,
        thread: 1,
        cause,
        value,
        address,
        pc: 0x10000,
        registers: Uint8Array.from(world.registers(1).bytes),
        report: "",
      });
    world.result(1, "rt_sigaction", Sig.SEGV, action(HANDLER, 4), null, 8);
    const first = await fault(0x10008);
    world.apply(first.ops!);
    const info = new DataView(world.read(1, world.registers(1).get(11), 32)!.buffer);
    expect([info.getInt32(0, true), info.getInt32(8, true), Number(info.getBigUint64(16, true))]).toEqual([Sig.SEGV, 2, 0x10008]);
    // Inside the handler the signal is blocked: the second fault is the end.
    expect(await fault(8)).toEqual({ ops: null, signal: Sig.SEGV });
    await Promise.resolve();
    expect(world.exits).toEqual([{ console: 0, code: 0, signal: Sig.SEGV }]);
  });

  test("faults outside of the region have the address that DDC's bounds refused", async () => {
    await start();
    const reserved = world.result(1, "mmap", 0, 2 ** 34, 0, 0x4022, -1, 0);
    expect(reserved).toBeGreaterThan(0);
    world.result(1, "rt_sigaction", Sig.SEGV, action(HANDLER, 4 | 0x40000000), null, 8);
    const seen = async (address: number): Promise<number[]> => {
      const fault = {
        process: 1,
        thread: 1,
        cause: 28,
        value: 0x421,
        address,
        pc: 0x10000,
        registers: world.registers(1).bytes.slice(),
        report: "",
      };
      world.apply((await world.os.fault(fault)).ops!);
      const info = new DataView(world.read(1, world.registers(1).get(11), 32)!.buffer);
      return [info.getInt32(8, true), Number(info.getBigUint64(16, true))];
    };
    expect(await seen(reserved + 2 ** 33)).toEqual([2, reserved + 2 ** 33]);
    expect(await seen(2 ** 37)).toEqual([1, 2 ** 37]);
    expect(await seen(0x421)).toEqual([2, 0]);
  });

  test("memory that is used up kills the process that uses most, and its last user only when that is itself", async () => {
    await start({ memoryBytes: 4 * 1024 * 1024 });
    const child = await fork();
    const at = world.result(child, "mmap", 0, 2 ** 20, 3, 0x22, -1, 0);
    world.store(world.harts.get(child)!.space, at, new Uint8Array(2 ** 20).fill(1));
    const fault = {
      process: 1,
      thread: 1,
      cause: OUT_OF_MEMORY,
      value: 8,
      address: 8,
      pc: 0x10000,
      registers: world.registers(1).bytes,
      report: "",
    };
    const { ops, signal } = await world.os.fault(fault);
    expect([signal, ops!.map(({ op }) => op)]).toEqual([0, ["endProcess"]]);
    world.apply(ops!);
    expect(world.spaces.size).toBe(1);
    expect(world.traces).toEqual([
      expect.stringMatching(`^out of memory: killed process ${child} \\(a\\), which uses 10[2-9]\\d KiB of 4096 KiB$`),
    ]);
    expect(await world.os.fault(fault)).toEqual({ ops: null, signal: Sig.KILL });
    await new Promise((resolve) => setImmediate(resolve));
    expect(world.exits).toEqual([{ console: 0, code: 0, signal: Sig.KILL }]);
  });

  test("a stack without room for the frame is a SIGSEGV", async () => {
    await start();
    const child = await fork();
    world.result(child, "rt_sigaction", Sig.USR1, action(HANDLER), null, 8);
    world.registers(child).set(2, 0x500);
    world.call(child, "kill", child, Sig.USR1);
    const reply = world.call(1, "wait4", child, scratch, 0, null);
    expect(new DataView(out(reply, 1).buffer).getInt32(0, true)).toBe(Sig.SEGV);
  });

  test("timers: setitimer repeats, and a sleep tells what is left", async () => {
    await start();
    world.result(1, "rt_sigaction", Sig.ALRM, action(HANDLER), null, 8);
    world.result(1, "setitimer", 0, Buffer.concat([u64(0), u64(0), u64(0), u64(10_000)]), null);
    expect(world.call(1, "nanosleep", timespec(5000), scratch)).toBe(PENDING);
    const reply = await world.answer(1);
    expect(reply.result).toBe(-E.INTR);
    expect(read64(out(reply, 1), 0)).toBe(4);
  });
});

describe("calls", () => {
  test("clock_gettime answers with the same object each time; statistics count by name and number", async () => {
    await start();
    const number = world.os.syscalls.find(({ name }) => name === "clock_gettime")!.number;
    const call = { process: 1, thread: 1, number, args: [1, scratch] };
    expect(world.os.syscall(call)).toBe(world.os.syscall(call));
    expect(world.os.syscall({ process: 1, thread: 1, number: 4000, args: [1, 2, 3, 4, 5, 6] })).toBe(-E.NOSYS);
    expect(await world.os.statistics()).toMatchObject({ clock_gettime: 2, syscall_4000: 1 });
  });

  test("a handler that throws gives its caller an error, and the rest goes on", async () => {
    await start();
    expect(world.result(1, "rt_sigprocmask", 0, "not bytes", null, 8)).toBe(-E.IO);
    expect(world.traces.join()).toContain("rt_sigprocmask");
    expect(world.result(1, "getpid")).toBe(1);
  });

  test("lines of strace", async () => {
    await start({ strace: true });
    world.call(1, "openat", -100, "/etc/none", 0o2000000, 0);
    world.call(1, "mmap", 0, 4096, 3, 0x22, -1, 0);
    world.call(1, "write", 1, new TextEncoder().encode('a"b\n\x01'), 5);
    world.call(1, "kill", 99, Sig.TERM);
    world.call(1, "exit_group", 0);
    const [open, map, write, kill, exit] = world.traces;
    expect(open).toBe('openat(AT_FDCWD, "/etc/none", O_RDONLY|O_CLOEXEC) = -1 ENOENT (No such file or directory)');
    expect(map).toMatch(/^mmap\(NULL, 4096, PROT_READ\|PROT_WRITE, MAP_PRIVATE\|MAP_ANONYMOUS, -1, 0\) = 0x[0-9a-f]+$/);
    expect(write).toMatch(/^write\(1, "a\\"b\\n\\1"(, 5)?\) = 5$/);
    expect(kill).toBe("kill(99, SIGTERM) = -1 ESRCH (No such process)");
    expect(exit).toBe("exit_group(0) = ?");
  });
});
