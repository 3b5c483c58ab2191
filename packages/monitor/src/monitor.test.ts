import { capability } from "@cvm/cpu";
import { PAGE_SIZE, Prot } from "@cvm/cpu/abi";
import { afterEach, describe, expect, test } from "vitest";
import type { Fault, ProcessOp } from "./abi.ts";
import { OUT_OF_MEMORY, PENDING } from "./abi.ts";
import { CALL_CAPABILITY } from "./gate.ts";
import type { Monitor } from "./monitor.ts";
import { createMonitor } from "./monitor.ts";
import type { Toy, ToyCall, ToyConfig } from "./test-support/toy.ts";
import { CODE, DATA, REGION, registerOf, registers, smallMachine, STACK, toyCvm } from "./test-support/toy.ts";

const WRITE: ToyCall = {
  name: "write",
  number: 64,
  args: [
    { name: "fd", kind: "fd" },
    { name: "buf", kind: "in", length: { arg: "count" } },
    { name: "count", kind: "ulong" },
  ],
  handler: (call, toy) => {
    const bytes = call.args[1] as Uint8Array;
    toy.host.consoleWrite(0, call.args[0] as number, bytes);
    return bytes.length;
  },
};

const HELLO = `
  li a0, 1
  la a1, text
  li a2, 6
  li a7, 64
  ecall
  li a7, 93
  ecall
text: .string "hello\\n"
`;

const monitors: Monitor[] = [];
function monitorOf(): Monitor {
  const monitor = createMonitor(smallMachine());
  monitors.push(monitor);
  return monitor;
}
afterEach(() => {
  for (const monitor of monitors.splice(0)) for (const cvm of monitor.cvms) monitor.destroyCvm(cvm);
});

async function run(config: ToyConfig, monitor: Monitor = monitorOf()) {
  const made = toyCvm(config);
  const cvm = monitor.createCvm(made.config);
  await cvm.start();
  const exit = await made.heard.ended;
  return { ...made, cvm, exit, monitor };
}

test("a program writes and exits; nothing is left", async () => {
  const monitor = monitorOf();
  const free = monitor.freeBytes;
  const { heard, exit, cvm, toy } = await run({ program: HELLO, calls: [WRITE] }, monitor);
  expect(heard.output).toEqual(["hello\n"]);
  expect(exit).toEqual([0, 6, 0]);
  expect(cvm.inspect()).toMatchObject({ state: "exited", processes: 0, threads: 0, memory: 0, addresses: 0, syscalls: 2, refused: 0 });
  expect(monitor.freeBytes).toBe(free);
  expect(toy().closed).toBe(true);
  expect(monitor.cvms).toEqual([cvm]);
  monitor.destroyCvm(cvm);
  expect(monitor.cvms).toEqual([]);
});

test("a cVM's name and address can be used again after it was destroyed, not before it ended", async () => {
  const monitor = monitorOf();
  const first = monitor.createCvm(toyCvm({ program: HELLO, address: "10.88.3.4" }).config);
  expect(() => monitor.createCvm(toyCvm({ program: HELLO }).config)).toThrow('[exists] the name "toy" is in use');
  expect(() => monitor.createCvm(toyCvm({ program: HELLO, name: "b", address: "10.88.3.4" }).config)).toThrow("[exists]");
  monitor.destroyCvm(first);
  expect(monitor.createCvm(toyCvm({ program: HELLO, address: "10.88.3.4" }).config).address).toBe("10.88.3.4");
});

test.each([
  ["a name with a slash", { name: "a/b" }],
  ["no name", { name: "" }],
  ["memory that is no number", { memoryBytes: Number.NaN }],
  ["a weight of 0", { weight: 0 }],
  ["negative cpus", { cpus: -1 }],
  ["an address outside of the network", { address: "10.89.0.1" }],
  ["the host's address", { address: "10.88.0.1" }],
])("refuses %s", (_what, wrong) => {
  expect(() => monitorOf().createCvm(toyCvm({ program: HELLO, ...wrong }).config)).toThrow("[invalid]");
});

test("a second start is refused; a library OS that does not start leaves nothing", async () => {
  const monitor = monitorOf();
  const free = monitor.freeBytes;
  const { config } = toyCvm({
    program: HELLO,
    setUp: (toy) => {
      toy.start = async () => {
        await toy.host.createProcess(65536);
        throw Object.assign(new Error("no such program"), { errno: 2 });
      };
    },
  });
  const cvm = monitor.createCvm(config);
  await expect(cvm.start()).rejects.toMatchObject({ errno: 2 });
  expect(monitor.freeBytes).toBe(free);
  await expect(cvm.start()).rejects.toThrow("[state]");
});

describe("a fault", () => {
  test("ends its process with a report; another cVM goes on", async () => {
    const monitor = monitorOf();
    const spin = toyCvm({ name: "other", program: "loop: addi s0, s0, 1\nbnez s0, loop\n" });
    const other = monitor.createCvm(spin.config);
    await other.start();
    const { heard, exit, toy } = await run({ program: `li t0, 0x700000\nld a0, 0(t0)\n` }, monitor);
    expect(exit).toEqual([0, 0, 11]);
    expect(other.state).toBe("running");
    const before = other.inspect().cpuMs;
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(other.inspect().cpuMs).toBeGreaterThan(before);
    expect(heard.faults).toHaveLength(1);
    const [report] = heard.faults;
    expect(report).toMatchObject({
      cvm: "toy",
      process: 1,
      thread: 1,
      causeName: "capability fault",
      check: "bounds",
      register: "DDC",
      disassembly: "ld a0, 0(t0)",
    });
    expect(report!.registers[5]).toBe(0x700000n);
    expect(report!.text).toMatch(
      /^cVM "toy", process 1, thread 1: capability fault: bounds of DDC\n {2}pc {11}0x1000[0-9a-f]\n {2}instruction {2}0x2b503 {2}ld a0, 0\(t0\)\n {2}DDC {10}0x[0-9a-f]+ \[rwR,0x[0-9a-f]+-0x[0-9a-f]+\]\n/u,
    );
    expect(toy().faults[0]!.report).toBe(report!.text);
    expect(registerOf(toy().faults[0]!.registers, 5)).toBe(0x700000);
  });

  test("of each kind is named", async () => {
    for (const [program, text] of [
      ["li t0, 64\nld a0, 0(t0)", "load page fault"],
      ["li t0, 0x10000\nsd a0, 0(t0)", "store page fault"],
      [`li t0, ${DATA}\njr t0`, "instruction page fault"],
      ["li t0, -64\nsd a0, 0(t0)", "capability fault: bounds of DDC"],
      [".word 0", "illegal instruction"],
      ["ebreak", "breakpoint"],
      ["cspecialrw ct0, 1, c0\naddi t1, sp, -64\nsc ct0, 0(t1)", "capability fault: store-capability permission of DDC"],
      ["li t0, 0x700000\njr t0", "capability fault: bounds of PCC"],
    ] as const) {
      const { heard } = await run({ program });
      expect(heard.faults[0]?.text ?? heard.problems.join("\n")).toContain(text);
    }
  });

  test("can be delivered to a handler", async () => {
    const { exit } = await run({
      program: `li t0, 64\nld a0, 0(t0)\nhandler:\nli a7, 93\necall`,
      setUp: (toy) => {
        toy.fault = (fault) => ({
          ops: [{ op: "registers", thread: fault.thread, registers: registers(fault.pc + 4, { 10: 42 }) }],
          signal: 0,
        });
      },
    });
    expect(exit).toEqual([0, 42, 0]);
  });

  test("whose delivery is refused ends the cVM", async () => {
    const { exit, heard } = await run({
      program: "ebreak",
      setUp: (toy) => {
        toy.fault = (fault) => ({ ops: [{ op: "write", process: fault.process, address: 0x70000, bytes: new Uint8Array(8) }], signal: 0 });
      },
    });
    expect(exit).toEqual([0, 0, 9]);
    expect(heard.problems[0]).toContain("not mapped");
  });
});

describe("a thread", () => {
  test("sleeps on a pending call until it is answered", async () => {
    const { exit, cvm } = await run({
      program: "li a7, 500\necall\nli a7, 93\necall",
      calls: [
        {
          name: "wait",
          number: 500,
          handler: (call, toy) => {
            const { thread } = call;
            setTimeout(() => toy.host.complete(thread, 77), 10);
            return PENDING;
          },
        },
      ],
    });
    expect(exit).toEqual([0, 77, 0]);
    expect(cvm.inspect().cpuMs).toBeLessThan(10);
  });

  test("may be answered before its handler returned; a second answer is refused", async () => {
    const { exit, cvm } = await run({
      program: "li a7, 500\necall\nli a7, 93\necall",
      calls: [
        {
          name: "wait",
          number: 500,
          handler: (call, toy) => {
            toy.host.complete(call.thread, 5);
            toy.host.complete(call.thread, 6);
            return PENDING;
          },
        },
      ],
    });
    expect(exit).toEqual([0, 5, 0]);
    expect(cvm.inspect()).toMatchObject({ refused: 1, lastRefusal: "an answer came for a thread that waits for none" });
  });

  test("is interrupted between instructions, goes on with its registers", async () => {
    const seen: number[] = [];
    const { exit } = await run({
      program: "li s0, 7\nli a7, 500\necall\nmv a0, s0\nli a7, 93\necall",
      calls: [{ name: "self", number: 500, handler: (call) => ({ result: 3, ops: [{ op: "interrupt", thread: call.thread }] }) }],
      setUp: (toy) => {
        toy.interrupted = (_thread, bytes) => {
          seen.push(registerOf(bytes, 10), registerOf(bytes, 8));
          return [];
        };
      },
    });
    expect(seen).toEqual([3, 7]);
    expect(exit).toEqual([0, 7, 0]);
  });

  test("sees the pc after the ecall, and other registers when the answer replaces them", async () => {
    let pc = 0;
    const { exit } = await run({
      program: "li a7, 500\necall\nebreak\ntarget:\nli a7, 93\necall",
      calls: [
        {
          name: "jump",
          number: 500,
          registers: true,
          handler: (call) => {
            pc = registerOf(call.registers!, 0);
            return { result: 1, ops: [{ op: "registers", thread: call.thread, registers: registers(pc + 4, { 10: 9 }) }] };
          },
        },
      ],
    });
    expect(exit[1] + exit[2]).toBe(9);
    expect(pc).toBeGreaterThan(CODE);
  });

  test("starts another one, which shares memory", async () => {
    const { exit } = await run({
      program: `
        li a7, 500
        la a0, second
        ecall
        li t0, ${DATA}
        wait: lw a0, 0(t0)
        beqz a0, wait
        li a7, 93
        ecall
        second: li t0, ${DATA}
        li t1, 33
        sw t1, 0(t0)
        forever: j forever`,
      calls: [
        {
          name: "clone",
          number: 500,
          args: [{ name: "pc", kind: "address" }],
          handler: (call) => ({
            result: 2,
            ops: [{ op: "thread", process: call.process, thread: 2, registers: registers(call.args[0] as number, { 2: STACK - 0x1000 }) }],
          }),
        },
      ],
    });
    expect(exit).toEqual([0, 33, 0]);
  });

  test("forks: the child has a copy of memory and registers, and capabilities into its own region", async () => {
    const { exit, cvm } = await run({
      memoryBytes: 2 << 20,
      program: `
        li s1, ${DATA}
        li t0, 5
        sw t0, 0(s1)
        li t0, ${DATA}
        cspecialrw cs2, 1, c0
        cincoffset cs2, cs2, t0
        li a7, 500
        ecall
        bnez a0, parent
        ld.cap t1, (cs2)
        addi t1, t1, 20
        sd.cap t1, (cs2)
        lw a0, 0(s1)
        li a7, 501
        ecall
        parent: li a7, 502
        ecall
        lw t0, 0(s1)
        slli t0, t0, 5
        add a0, a0, t0
        li a7, 93
        ecall`,
      calls: [
        {
          name: "fork",
          number: 500,
          handler: (call, toy) => {
            const child = toy.host.fork(call.thread, 2, REGION) as number;
            if (child > 0) toy.host.start(2);
            return child;
          },
        },
        {
          name: "child",
          number: 501,
          args: [{ name: "value", kind: "int" }],
          handler: (call, toy) => {
            const value = call.args[0] as number;
            toy.host.complete(1, value);
            return { result: 0, ops: [{ op: "endProcess", process: call.process }] };
          },
        },
        { name: "wait", number: 502, handler: () => PENDING },
      ],
    });
    // 25 from the child's memory; the parent's still holds 5.
    expect(exit).toEqual([0, (25 + 5 * 32) & 255, 0]);
    expect(cvm.inspect()).toMatchObject({ processes: 0, refused: 0 });
  });

  test("execs: it moves to a new process", async () => {
    const { exit } = await run({
      memoryBytes: 2 << 20,
      program: `li a7, 500\necall\nebreak`,
      calls: [
        {
          name: "execve",
          number: 500,
          handler: (call, toy) => {
            const process = toy.host.createProcess(65536 * 4) as number;
            return {
              result: 0,
              ops: [
                {
                  op: "map",
                  process,
                  address: 0x1000,
                  length: 0x1000,
                  prot: 5,
                  bytes: Uint8Array.from([0x93, 0x08, 0xd0, 0x05, 0x73, 0, 0, 0]),
                },
                { op: "move", thread: call.thread, process, registers: registers(0x1000, { 10: 13 }) },
                { op: "endProcess", process: call.process },
              ],
            };
          },
        },
      ],
    });
    expect(exit).toEqual([0, 13, 0]);
  });
});

describe("capabilities by number", () => {
  test("a granted one is loaded, an unknown number is EBADF", async () => {
    const made = toyCvm({
      program: `
        li a0, 1
        li a7, ${CALL_CAPABILITY}
        ecall
        cgettag s0, ca0
        cgettype s1, ca0
        li a0, 0
        ecall
        cgettag s2, ca0
        cgetsealed s3, ca0
        cunseal ca0, ca0, ca0
        cgettag s4, ca0
        li a0, 2
        ecall
        addi a0, a0, 9
        bnez a0, bad
        slli s2, s2, 1
        slli s3, s3, 2
        slli s4, s4, 3
        or a0, s0, s2
        or a0, a0, s3
        or a0, a0, s4
        li a7, 93
        ecall
        bad: ebreak`,
    });
    const monitor = monitorOf();
    const cvm = monitor.createCvm(made.config);
    const started = cvm.start();
    expect(() => cvm.grant(capability.root())).toThrow("[state]");
    await started;
    expect(cvm.grant(capability.derive(capability.root(), 0x1000, 16, 4))).toBe(1);
    expect(await made.heard.ended).toEqual([0, 0b0111, 0]);
  });
});

describe("memory", () => {
  /** Stores to every page of DATA that it reads as zero, and exits with how many there were. */
  const program = `
    li s0, ${DATA}
    li s1, ${DATA + 0x20000}
    li s2, 0
    li t2, 4096
    next: ld t0, 8(s0)
    bnez t0, full
    addi t0, t0, 5
    sd t0, 8(s0)
    addi s2, s2, 1
    add s0, s0, t2
    bne s0, s1, next
    full: mv a0, s2
    li a7, 93
    ecall`;
  const reserve = (toy: Toy): void => {
    const started = toy.start.bind(toy);
    toy.start = async () => {
      await started();
      const { process } = toy;
      void toy.host.operate([{ op: "map", process, address: DATA, length: 0x20000, prot: Prot.Read | Prot.Write }]);
    };
  };

  test("is given at the first store to each page, and the program does not notice", async () => {
    const used: number[] = [];
    const { exit, toy } = await run({
      program,
      setUp: (made) => {
        reserve(made);
        const { host } = made;
        const exited: typeof host.exited = (...args) => {
          used.push((host.usage() as [number, number][])[0]![1]);
          host.exited(...args);
        };
        (made as { host: typeof host }).host = { ...host, exited };
      },
    });
    expect(exit).toEqual([0, 32, 0]);
    expect(toy().faults).toEqual([]);
    expect(used).toEqual([0x20000 + PAGE_SIZE]);
  });

  test("that is used up is a fault of its own kind; when some is given back the store is done", async () => {
    const { exit, toy } = await run({
      memoryBytes: 0x10000,
      program,
      setUp: (made) => {
        reserve(made);
        made.fault = (fault) => {
          made.faults.push(fault);
          const length = fault.value - (fault.value % PAGE_SIZE) - DATA;
          return { ops: [{ op: "zero", process: fault.process, address: DATA, length }], signal: 0 };
        };
      },
    });
    expect(exit).toEqual([0, 32, 0]);
    expect(toy().faults.map(({ cause, value }) => [cause, value])).toEqual([
      [OUT_OF_MEMORY, DATA + 15 * PAGE_SIZE + 8],
      [OUT_OF_MEMORY, DATA + 30 * PAGE_SIZE + 8],
    ]);
    expect(toy().faults[0]!.report).toContain("the memory of the cVM is used up");
  });

  test("that is used up ends the process when its library OS says so, and nobody else", async () => {
    const { exit, heard, cvm } = await run({ memoryBytes: 0x10000, program, setUp: reserve });
    expect(exit).toEqual([0, 0, 11]);
    expect(heard.faults.map(({ cause }) => cause)).toEqual([OUT_OF_MEMORY]);
    expect(cvm.inspect()).toMatchObject({ processes: 0, memory: 0, addresses: 0 });
  });
});

test("without memory for a signal's frame a process ends, not its cVM; an answer to that which needs memory ends it", async () => {
  const write = (fault: Fault): ProcessOp => ({ op: "write", process: fault.process, address: DATA, bytes: new Uint8Array(0x4000) });
  const faulting = { memoryBytes: 0x4000, program: "ebreak" };
  const ended = await run({
    ...faulting,
    setUp: (toy) => {
      const { fault } = toy;
      toy.fault = (what) => (what.cause === OUT_OF_MEMORY ? fault(what) : { ops: [write(what)], signal: 5 });
    },
  });
  expect(ended.exit).toEqual([0, 0, 11]);
  expect(ended.toy().faults.map(({ cause }) => cause)).toEqual([OUT_OF_MEMORY]);
  expect(ended.heard.problems).toEqual([]);
  const broken = await run({ ...faulting, setUp: (toy) => (toy.fault = (what) => ({ ops: [write(what)], signal: 5 })) });
  expect(broken.exit).toEqual([0, 0, 9]);
  expect(broken.heard.problems[0]).toContain("more memory than this cVM may have");
});

test("a library OS that throws gives its caller EIO, and the host a report", async () => {
  const { exit, heard } = await run({
    program: "li a7, 500\necall\nneg a0, a0\nli a7, 93\necall",
    calls: [
      {
        name: "bad",
        number: 500,
        handler: () => {
          throw new TypeError("oops");
        },
      },
    ],
  });
  expect(exit).toEqual([0, 5, 0]);
  expect(heard.problems).toEqual(['cVM "toy": system call 500 (bad) of the library OS failed: TypeError: oops']);
});

test("a busy cVM does not keep the event loop from turning", async () => {
  const monitor = monitorOf();
  const cvm = monitor.createCvm(toyCvm({ program: "loop: j loop" }).config);
  await cvm.start();
  let longest = 0;
  let last = performance.now();
  for (let i = 0; i < 50; i++) {
    await new Promise((resolve) => setImmediate(resolve));
    const now = performance.now();
    longest = Math.max(longest, i < 10 ? 0 : now - last);
    last = now;
  }
  expect(longest).toBeLessThan(20);
  expect(cvm.inspect().cpuMs).toBeGreaterThan(5);
});

test("destroying a running cVM stops it at once", async () => {
  const monitor = monitorOf();
  const free = monitor.freeBytes;
  const made = toyCvm({ program: "loop: j loop" });
  const cvm = monitor.createCvm(made.config);
  await cvm.start();
  await new Promise((resolve) => setTimeout(resolve, 5));
  expect(monitor.freeBytes).toBeLessThan(free);
  monitor.destroyCvm(cvm);
  expect(monitor.freeBytes).toBe(free);
  expect(made.heard.exits).toEqual([]);
  const { host } = made.toy();
  expect(host.createProcess(4096)).toBe(-12);
  expect(host.operate([])).toBe(-22);
  host.complete(1, 0);
  host.exited(0, 0, 0);
  expect(made.heard.exits).toEqual([]);
});
