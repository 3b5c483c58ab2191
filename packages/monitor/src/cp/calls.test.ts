/** CP_Call: what a call does, whose the callee's system calls, faults and interrupts are, and how it ends otherwise than by returning. */
import { assembleText } from "@cvm/cpu";
import { afterEach, describe, expect, test } from "vitest";
import { CALL_CAPABILITY } from "../gate.ts";
import {
  buffer,
  call,
  Call,
  CallHost,
  DATA,
  exit,
  FRESH,
  getBuffers,
  giveBack,
  open,
  pause,
  Publish,
  registers,
  serve,
  spawn,
  tell,
  wait,
} from "../test-support/calls.ts";
import { CODE, registerOf, registers as registerFile, STACK } from "../test-support/toy.ts";

const hosts: CallHost[] = [];
function hostOf(...args: ConstructorParameters<typeof CallHost>): CallHost {
  const host = new CallHost(...args);
  hosts.push(host);
  return host;
}
afterEach(() => {
  for (const host of hosts.splice(0)) host.close();
});

/** A cVM that serves "one": what it does with each call, before it gives a0 back. */
const server = (body: string, name = 0): string => `
  ${open(name, Publish)}
  ${serve("entry")}
  ${tell()}
  ${exit(9)}
  entry:
  ${body}
  ${giveBack}`;
/** A cVM that calls "one", with its stack in order. */
const client = (body: string, name = 0): string => `${open(name, Call)}\n${body}\n${exit()}`;

describe.each(["interpreter", "translator", "eager"] as const)("%s:", (engine) => {
  test("a hot call makes no trap and calls no function in TypeScript", async () => {
    const host = hostOf(engine);
    const callee = await host.startServer("callee", server("add a0, a0, a1\nadd a0, a0, a2\nadd a0, a0, a3"));
    const counts: number[][] = [];
    const loop = (times: number): string => `
      li t0, ${times}
      sd t0, 40(sp)
      again${times}:
      ld a0, 40(sp)
      li a1, 10
      li a2, 100
      li a3, 1000
      ${call()}
      ld t1, 40(sp)
      addi t1, t1, -1
      sd t1, 40(sp)
      bnez t1, again${times}`;
    const caller = await host.start("caller", client(`${loop(100)}\nli a7, 510\necall\n${loop(1000)}\nli a7, 510\necall`), {
      calls: [
        {
          name: "count",
          number: 510,
          handler: () => {
            const [mine, theirs] = [caller.cvm.inspect(), callee.cvm.inspect()];
            counts.push([mine.syscalls, mine.faults, theirs.syscalls, theirs.faults, host.slow()]);
            return 0;
          },
        },
      ],
    });
    await caller.heard.ended;
    const [before, after] = counts as [number[], number[]];
    // Only the system call that counts.
    expect(after.map((value, at) => value - before[at]!)).toEqual([1, 0, 0, 0, 0]);
    expect(callee.cvm.inspect().switches).toBeGreaterThan(0);
  });

  test("arguments go in, a result comes out, and stack and thread are the callee's", async () => {
    const host = hostOf(engine);
    await host.startServer("callee", server(`li t1, 3\nmul a0, a0, t1\nadd a0, a0, a3\nmv a1, sp`));
    await host.start(
      "caller",
      `li tp, 77\n${client(`li a0, 5\nli a3, 2\n${call()}\nsd a1, 40(sp)\n${tell()}\nmv a0, tp\n${tell()}\nld a0, 40(sp)\nsub a0, a0, sp\n${tell()}`)}`,
    );
    await host.until(() => host.told.length === 3);
    // Both programs have the same stack pointer in their own regions.
    expect(host.values("caller")).toEqual([17, 77, 0]);
  });

  test("system calls are the callee's in it and the caller's behind it, also when they wait", async () => {
    const host = hostOf(engine);
    const callee = await host.startServer("callee", server(`${tell(1)}${wait}${tell(2)}li a0, 3`));
    const caller = await host.start("caller", client(`${tell(10)}${call()}${tell()}${call()}${tell()}`));
    await host.until(() => host.waiting === 1);
    expect(host.told.map(({ who, value }) => `${who} ${value}`)).toEqual(["caller 10", "callee 1"]);
    host.answer();
    await host.until(() => host.waiting === 1);
    host.answer();
    await caller.heard.ended;
    expect(host.told.map(({ who, value }) => `${who} ${value}`)).toEqual([
      "caller 10",
      "callee 1",
      "callee 2",
      "caller 3",
      "callee 1",
      "callee 2",
      "caller 3",
    ]);
    expect([callee.cvm.inspect().faults, caller.heard.exits]).toEqual([0, [[0, 0, 0]]]);
  });
});

/** Lines for each register of a set. */
const each = (numbers: readonly number[], line: (register: number) => string): string => numbers.map(line).join("\n");
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

test("registers tell neither side about the other, rounding and flags included", async () => {
  const host = hostOf();
  const fill = (value: number, but: readonly number[]): string =>
    `${each(
      range(5, 32).filter((register) => !but.includes(register)),
      (register) => `li x${register}, ${value + register}`,
    )}
    ${each(range(0, 32), (register) => `li t0, ${value + register}\nfmv.d.x f${register}, t0`)}
    li t0, ${value & 0xff}
    csrrw zero, fcsr, t0`;
  const callee = await host.startServer(
    "callee",
    `${open(0, Publish)}
    ${serve("entry")}
    entry:
    ${registers}
    ${fill(2000, [])}
    li a0, 1
    li a1, 2
    ${giveBack}`,
  );
  const caller = await host.start(
    "caller",
    client(`${fill(1000, [])}
    li a0, 11
    li a1, 12
    li a2, 13
    li a3, 14
    li a4, 15
    li a5, 16
    csrrwi zero, fcsr, 0x15
    ${call()}
    ${registers}
    csrrs a0, fcsr, zero
    ${tell()}`),
  );
  await caller.heard.ended;
  const [inside, behind] = [host.registers[0]!, host.registers[1]!];
  expect([inside.who, behind.who, callee.cvm.inspect().faults]).toEqual(["callee", "caller", 0]);
  const x = (bytes: Uint8Array): number[] => range(1, 32).map((register) => registerOf(bytes, register));
  const floats = (bytes: Uint8Array): number[] => range(32, 65).map((register) => registerOf(bytes, register));
  // ra and t0 lead back, and to the callee's own code; a7 is the number of the system call.
  const expected = new Map([
    [10, 11],
    [11, 12],
    [12, 13],
    [13, 14],
    [14, 15],
    [15, 16],
    [17, 504],
  ]);
  expect(x(inside.bytes).map((value, i) => ([0, 1, 4].includes(i) ? 0 : value))).toEqual(
    range(1, 32).map((register) => expected.get(register) ?? 0),
  );
  expect(floats(inside.bytes)).toEqual(Array.from({ length: 33 }, () => 0));
  expect(x(behind.bytes).map((value, i) => (i === 1 ? 0 : value))).toEqual(
    range(1, 32).map((register) => ({ 10: 1, 11: 2, 17: 504 })[register] ?? 0),
  );
  expect(floats(behind.bytes).slice(0, 32)).toEqual(Array.from({ length: 32 }, () => 0));
  expect(host.values("caller")).toEqual([0x15]);
});

describe("buffers of the caller", () => {
  const lend = (at = DATA, length = 16): string => `${buffer("c14", at, length)}\n${buffer("c15", DATA + 64, 16)}\n`;

  test("are read and written inside of their bounds, and fetched again", async () => {
    const host = hostOf();
    await host.startServer(
      "callee",
      server(
        `lbu.cap a1, (c14)\nli a4, 0\nli a5, 0\n${tell(1)}${getBuffers}\nlbu.cap a0, (c14)\nadd a0, a0, a0\nsb.cap a0, (c15)\ncgetlen a0, c15`,
      ),
    );
    const caller = await host.start(
      "caller",
      client(`li t0, ${DATA}\nli t1, 21\nsb t1, 0(t0)\n${lend()}${call()}${tell()}li t0, ${DATA}\nlbu a0, 64(t0)\n${tell()}`),
    );
    await caller.heard.ended;
    expect([host.values("caller"), host.values("callee")]).toEqual([[16, 42], [1]]);
  });

  test("are of pages that were never stored to, too: the caller pays for them", async () => {
    const host = hostOf();
    const callee = await host.startServer("callee", server(`li t0, 5\nsb.cap t0, (c14)\nli a0, ${FRESH}\nsb t0, 0(a0)\n`));
    const before = callee.cvm.inspect().memory;
    const caller = await host.start("caller", client(`${lend(FRESH)}${call()}${tell()}li t0, ${FRESH}\nlbu a0, 0(t0)\n${tell()}${wait}`));
    await host.until(() => host.waiting === 1);
    expect(host.values("caller")).toEqual([FRESH, 5]);
    // Each has one more.
    expect(callee.cvm.inspect().memory).toBeGreaterThan(before);
    expect([callee.cvm.inspect().faults, caller.cvm.inspect().faults]).toEqual([0, 0]);
    host.answer();
    await caller.heard.ended;
  });

  test.each([
    ["an access outside", "cincoffsetimm c14, c14, 16\nlbu.cap a0, (c14)", "bounds of ca4"],
    ["storing it", `li t0, ${DATA}\nsc c14, 0(t0)`, "store-capability permission of DDC"],
    ["a wider one", "li t0, 17\ncsetbounds c14, c14, t0\nlbu.cap a0, (c14)", "tag of ca4"],
    ["storing through one of bytes outside of the caller", "sb.cap a0, (c15)", "tag of ca5"],
  ])("are no more than that: %s is the callee's fault, and its caller hears of it", async (_what, body, check) => {
    const host = hostOf();
    const callee = await host.startServer("callee", server(body));
    const caller = await host.start(
      "caller",
      client(`${lend()}\nli t0, 0x7ff00000\ncincoffset c15, c15, t0\nli t0, 16\ncsetbounds c15, c15, t0\n${call()}${tell()}`),
    );
    await caller.heard.ended;
    await callee.heard.ended;
    expect(callee.heard.faults.map(({ text }) => text).join()).toContain(check);
    expect([host.values("caller"), caller.heard.faults]).toEqual([[-125], []]);
  });

  test("do not outlast the call: not in registers of the next one, nor through the gate", async () => {
    const host = hostOf();
    await host.startServer("callee", server(`${getBuffers}\ncgettag a0, c14\ncgettag a1, c15\nslli a1, a1, 1\nor a0, a0, a1`));
    const caller = await host.start(
      "caller",
      client(`${lend()}${call()}${tell()}${call()}${tell()}${buffer("c15", DATA, 8)}${call()}${tell()}`),
    );
    await caller.heard.ended;
    expect(host.values("caller")).toEqual([3, 0, 2]);
  });
});

describe("calls in calls", () => {
  /** Serves a name, and calls another in each call. */
  const middle = (inner: string): string => `
    ${open(1, Call)}
    li t0, 1
    sd t0, 40(sp)
    li a1, 0
    li a7, 500
    li a0, ${Publish}
    ecall
    ${serve("entry")}
    entry:
    addi sp, sp, -64
    sd a0, 48(sp)
    ld t0, 64(sp)
    sd t0, 0(sp)
    ld t0, 72(sp)
    sd t0, 8(sp)
    ${inner}
    addi sp, sp, 64
    ${giveBack}`;

  test.each([
    ["without system calls", ""],
    ["with system calls on each level", tell(5)],
  ])("another object's, %s", async (_what, between) => {
    const host = hostOf();
    await host.startServer("inner", server(`${between === "" ? "" : `sd a0, 40(sp)\n${between}ld a0, 40(sp)`}\nslli a0, a0, 1`, 1));
    const outer = await host.start(
      "outer",
      middle(`${between}ld a0, 48(sp)\naddi a0, a0, 1\n${call()}sd a0, 48(sp)\n${between}ld a0, 48(sp)\naddi a0, a0, 100`),
    );
    await host.until(() => outer.cvm.inspect().syscalls === 6);
    const caller = await host.start("caller", client(`li a0, 3\n${call()}${tell()}li a0, 4\n${call()}${tell()}`));
    await caller.heard.ended;
    expect(host.values("caller")).toEqual([108, 110]);
    expect(host.told.map(({ who }) => who)).toEqual(
      between === "" ? ["caller", "caller"] : ["outer", "inner", "outer", "caller", "outer", "inner", "outer", "caller"],
    );
  });

  test("back into the caller's own cVM, on another thread of it", async () => {
    const host = hostOf();
    const outer = await host.start("outer", middle(`${call()}addi a0, a0, 100`));
    await host.until(() => outer.cvm.inspect().syscalls === 6);
    const both = await host.start(
      "both",
      `${spawn("second")}${wait}${client(`li a0, 3\n${call()}${tell()}${call()}${tell()}`)}
      second:
      ${open(1, Publish)}
      ${serve("entry")}
      entry:
      sd a0, 40(sp)
      ${registers}
      ld a0, 40(sp)
      addi a0, a0, 10
      ${giveBack}`,
    );
    await host.until(() => both.cvm.inspect().syscalls === 6);
    host.answer();
    await both.heard.ended;
    expect(host.values("both")).toEqual([113, 110]);
    // Its second thread made the system call.
    expect(host.registers.map(({ thread }) => thread)).toEqual([2, 2]);
  });
});

/** Tells what a call gave. */
const told = (): string => `${call()}${tell()}`;
const spin = "spin: j spin\n";

describe("the callee's end", () => {
  test.each([
    ["by exit, in its system call", exit(4)],
    ["by a fault", "li t0, 0\nlw t0, 0(t0)"],
    ["by an instruction that is none", "csrrw t0, 0x300, t0"],
    ["by a jump out of its code", "li t0, 0x7ff00000\njr t0"],
  ])("%s is the caller's ECANCELED; it goes on as before", async (_what, body) => {
    const host = hostOf();
    const callee = await host.startServer("callee", server(body));
    const caller = await host.start(
      "caller",
      client(`li s3, 33\nsd s3, 40(sp)\nli tp, 77\n${told()}ld a0, 40(sp)\n${tell()}mv a0, tp\n${tell()}${told()}`),
    );
    await caller.heard.ended;
    await callee.heard.ended;
    // Who called is back on its own stack; there is nobody left to call.
    expect([host.values("caller"), caller.heard.exits]).toEqual([[-125, 33, 77, -11], [[0, 0, 0]]]);
  });

  test("while it waits in a system call of its own, or computes", async () => {
    for (const body of [wait, spin]) {
      const host = hostOf();
      const callee = await host.startServer("callee", server(body));
      const caller = await host.start("caller", client(told()));
      if (body === wait) await host.until(() => host.waiting === 1);
      else await host.turns();
      host.monitor.destroyCvm(callee.cvm);
      await caller.heard.ended;
      expect(host.values("caller")).toEqual([-125]);
      expect(host.monitor.cvms.map(({ name }) => name)).toEqual(["caller"]);
    }
  });

  test("in the middle of a chain ends both ways: its caller hears of it, who it called goes on alone and serves again", async () => {
    const host = hostOf();
    const inner = await host.startServer("inner", server(`${wait}li a0, 7`, 1));
    const outer = await host.start(
      "outer",
      `${open(1, Call)}\nli a1, 0\nli a0, ${Publish}\nli a7, 500\necall\n${serve("entry")}\nentry:\n${call()}${giveBack}`,
    );
    await host.until(() => outer.cvm.inspect().syscalls === 6);
    const caller = await host.start("caller", client(told()));
    await host.until(() => host.waiting === 1);
    host.monitor.destroyCvm(outer.cvm);
    await caller.heard.ended;
    expect(host.values("caller")).toEqual([-125]);
    host.answer();
    await host.turns();
    const other = await host.start("other", client(told(), 1));
    await host.until(() => host.waiting === 1);
    host.answer();
    await other.heard.ended;
    expect([host.values("other"), inner.cvm.inspect().faults]).toEqual([[7], 0]);
  });
});

describe("the caller gives up", () => {
  const interrupt = (started: { toy: () => { host: { operate: (ops: never) => unknown } } }): void =>
    void started.toy().host.operate([{ op: "interrupt", thread: 1 }] as never);

  /** Until the test stores there. */
  const until = `spin: li t0, ${DATA}\nlbu t0, 0(t0)\nbeqz t0, spin\n`;
  test.each([
    ["computes", until, false],
    ["waits in a system call", wait, true],
    ["waited in one and computes", `${wait}${until}`, true],
  ])("with EINTR while the callee %s; that goes on alone, and its result is dropped", async (_what, body, waits) => {
    const host = hostOf();
    const asked: number[] = [];
    const callee = await host.startServer("callee", server(`${body}li a0, 8`));
    const caller = await host.start("caller", client(`li s3, 33\nsd s3, 40(sp)\n${told()}ld a0, 40(sp)\n${tell()}`), {
      setUp: (toy) => {
        toy.interrupted = (_thread, bytes) => {
          asked.push(registerOf(bytes, 10));
          return [];
        };
      },
    });
    if (waits) await host.until(() => host.waiting === 1);
    if (waits && body !== wait) host.answer();
    await host.turns();
    interrupt(caller);
    await caller.heard.ended;
    expect([host.values("caller"), asked]).toEqual([[-4, 33], [-4]]);
    // Nobody else can call its only thread yet.
    const early = await host.start("early", client(told()));
    await early.heard.ended;
    callee.toy().host.operate([{ op: "write", process: callee.toy().process, address: DATA, bytes: new Uint8Array([1]) }]);
    host.answer();
    await host.turns();
    const other = await host.start("other", client(told()));
    if (waits) await host.until(() => host.waiting === 1);
    host.answer();
    await other.heard.ended;
    expect([host.values("early"), host.values("other"), callee.cvm.inspect().faults]).toEqual([[-11], [8], 0]);
  });

  test("what it lent is gone at once", async () => {
    const host = hostOf();
    const callee = await host.startServer(
      "callee",
      server(`${wait}cgettag a0, c14\n${tell()}${getBuffers}cgettag a0, c14\n${tell()}cgetlen a0, c15\n${tell()}`),
    );
    const caller = await host.start("caller", client(`${buffer("c14", DATA, 16)}${told()}${wait}`));
    await host.until(() => host.waiting === 1);
    interrupt(caller);
    await host.until(() => host.waiting === 2);
    host.answer();
    await host.until(() => host.values("callee").length === 3);
    expect([host.values("callee"), callee.cvm.inspect().faults]).toEqual([[0, 0, -1], 0]);
  });

  test("by its end", async () => {
    const host = hostOf();
    const callee = await host.startServer("callee", server(`${wait}li a0, 8`));
    const caller = await host.start("caller", client(told()));
    await host.until(() => host.waiting === 1);
    host.monitor.destroyCvm(caller.cvm);
    host.answer();
    await host.turns();
    const other = await host.start("other", client(told()));
    await host.until(() => host.waiting === 1);
    host.answer();
    await other.heard.ended;
    expect([host.values("other"), callee.cvm.inspect().faults, host.told]).toHaveLength(3);
    expect([host.values("other"), callee.cvm.inspect().faults]).toEqual([[8], 0]);
  });
});

describe("a server", () => {
  test("that is interrupted while it waits comes back with EINTR, and serves again if it likes", async () => {
    const host = hostOf();
    const callee = await host.start(
      "callee",
      `${open(0, Publish)}\nagain: sd a0, 48(sp)\n${serve("entry")}${tell()}ld a0, 48(sp)\nj again\nentry: li a0, 6\n${giveBack}`,
    );
    await host.until(() => callee.cvm.inspect().syscalls === 4);
    callee.toy().host.operate([{ op: "interrupt", thread: 1 }]);
    await host.until(() => callee.cvm.inspect().syscalls === 6);
    const caller = await host.start("caller", client(told()));
    await caller.heard.ended;
    expect([host.values("callee"), host.values("caller")]).toEqual([[-4], [6]]);
  });

  test("that is interrupted in a call hears of it there", async () => {
    const host = hostOf();
    const heard: number[] = [];
    const body = "sd a0, 40(sp)\nspin: ld t0, 40(sp)\nbnez t0, spin\nli a0, 6";
    const callee = await host.startServer("callee", server(body), {
      setUp: (toy) => {
        toy.interrupted = (thread) => {
          heard.push(thread);
          return [{ op: "write", process: toy.process, address: STACK - 64 - 64 + 40, bytes: new Uint8Array(8) }];
        };
      },
    });
    const caller = await host.start("caller", client(`li a0, 1\n${told()}`));
    await host.turns();
    expect(heard).toEqual([]);
    callee.toy().host.operate([{ op: "interrupt", thread: 1 }]);
    await caller.heard.ended;
    expect([heard, host.values("caller"), callee.cvm.inspect().faults]).toEqual([[1], [6], 0]);
  });

  test.each([
    ["without the right to publish", `li a0, ${Call}`, "entry", -9],
    ["at an odd address", `li a0, ${Publish}`, "entry + 1", -22],
  ])("%s is refused", async (_what, rights, entry, error) => {
    const host = hostOf();
    const { heard } = await host.start("callee", `li a1, 0\n${rights}\nli a7, 500\necall\n${serve(entry)}${tell()}${exit(0)}\nentry: nop`);
    await heard.ended;
    expect(host.values("callee")).toEqual([error]);
  });
});

describe("memory and programs", () => {
  const grow = (started: { toy: () => { host: { grow: (process: number, bytes: number) => unknown }; process: number } }): unknown =>
    started.toy().host.grow(started.toy().process, 3 << 20);

  test("a server whose region moves is called where it is now", async () => {
    const host = hostOf();
    const callee = await host.startServer(
      "callee",
      server("cspecialrw c5, ddc, c0\ncgetbase a0, c5\ncspecialrw c5, pcc, c0\ncgetbase a1, c5\nsub a1, a1, a0"),
    );
    const caller = await host.start("caller", client(`${told()}${wait}${call()}sd a1, 40(sp)\n${tell()}ld a0, 40(sp)\n${tell()}`));
    await host.until(() => host.waiting === 1);
    expect(grow(callee)).toBeGreaterThan(2 << 20);
    host.answer();
    await caller.heard.ended;
    const [before, after, apart] = host.values("caller");
    expect([before === after, apart, callee.cvm.inspect().faults]).toEqual([false, 0, 0]);
  });

  test.each([
    ["while the callee waits", wait],
    ["while the callee computes on the caller's hart", `spin: li t0, ${DATA}\nlbu t0, 0(t0)\nbeqz t0, spin\n`],
  ])("what a caller lent moves with it, and it goes on where it is: %s", async (_what, body) => {
    const host = hostOf();
    const callee = await host.startServer(
      "callee",
      server(`${body}li t0, 9\nsb.cap t0, (c14)\n${getBuffers}lbu.cap a0, (c14)\ncgetbase a1, c14`),
    );
    const caller = await host.start(
      "caller",
      client(`${buffer("c14", DATA, 16)}${call()}${tell()}li t0, ${DATA}\nlbu a0, 0(t0)\n${tell()}`),
    );
    if (body === wait) await host.until(() => host.waiting === 1);
    else await host.turns();
    expect(grow(caller)).toBeGreaterThan(2 << 20);
    callee.toy().host.operate([{ op: "write", process: callee.toy().process, address: DATA, bytes: new Uint8Array([1]) }]);
    host.answer();
    await caller.heard.ended;
    expect([host.values("caller"), callee.cvm.inspect().faults, caller.cvm.inspect().faults]).toEqual([[9, 9], 0, 0]);
  });

  test("a callee that moves in the middle of a call goes on", async () => {
    const host = hostOf();
    const callee = await host.startServer("callee", server(`${wait}li t0, ${DATA}\nli t1, 4\nsb t1, 0(t0)\nlbu a0, 0(t0)`));
    const caller = await host.start("caller", client(told() + told()));
    await host.until(() => host.waiting === 1);
    expect(grow(callee)).toBeGreaterThan(2 << 20);
    host.answer();
    await host.until(() => host.waiting === 1);
    host.answer();
    await caller.heard.ended;
    expect(host.values("caller")).toEqual([4, 4]);
  });

  test.each([
    ["that begins to share memory", (process: number) => [{ op: "share", process, address: FRESH, length: 4096, object: 1, offset: 0 }]],
  ])("a process %s serves no longer", async (_what, ops) => {
    const host = hostOf();
    const callee = await host.startServer("callee", server(wait));
    const caller = await host.start("caller", client(told() + told()));
    await host.until(() => host.waiting === 1);
    callee.toy().host.operate(ops(callee.toy().process) as never);
    await caller.heard.ended;
    expect(host.values("caller")).toEqual([-125, -11]);
    host.answer();
    await callee.heard.ended;
    expect(host.values("callee")).toEqual([-125]);
    // Nor does it begin to.
    const other = await host.start("other", `${open(0, Publish)}${wait}li a0, 1\n${serve("entry")}${tell()}entry: ${exit()}`);
    await host.until(() => host.waiting === 1);
    other.toy().host.operate(ops(other.toy().process) as never);
    host.answer();
    await other.heard.ended;
    expect(host.values("other")).toEqual([-16]);
  });

  test("a callee that becomes another program leaves its call, and its caller hears of it", async () => {
    const host = hostOf();
    const callee = await host.startServer("callee", server("li a7, 520\necall"), {
      calls: [
        {
          name: "execve",
          number: 520,
          handler: ({ thread }, toy) => {
            const process = toy.host.createProcess(1 << 20) as number;
            const bytes = assembleText(`${tell(12)}${exit(3)}`, { origin: CODE });
            return {
              result: 0,
              ops: [
                { op: "map", process, address: CODE, length: 4096, prot: 5, bytes },
                { op: "move", thread, process, registers: registerFile(CODE) },
                { op: "endProcess", process: toy.process },
              ],
            };
          },
        },
      ],
    });
    const caller = await host.start("caller", client(told() + told()));
    await caller.heard.ended;
    await callee.heard.ended;
    expect([host.values("caller"), host.values("callee, process 2"), callee.heard.exits]).toEqual([[-125, -11], [12], [[0, 3, 0]]]);
  });

  test("a callee that forks in a call has a child that is in none", async () => {
    const host = hostOf();
    const gate = `li a0, -2\nli a7, ${CALL_CAPABILITY}\necall\njalr.cap c0, c10\n`;
    const callee = await host.startServer(
      "callee",
      server(`cgettag s1, c14\nli a7, 520\necall\nbnez a0, parent\ncgettag a0, c14\n${tell()}${gate}parent: cgettag a0, c14`),
      {
        calls: [
          {
            name: "fork",
            number: 520,
            handler: ({ thread }, toy) => {
              const child = toy.host.fork(thread, 7, 1 << 20) as number;
              toy.host.start(7);
              return child;
            },
          },
        ],
        setUp: (toy) => {
          toy.fault = (fault) => {
            toy.faults.push(fault);
            return { ops: null, signal: 11 };
          };
        },
      },
    );
    const caller = await host.start("caller", client(`${buffer("c14", DATA, 16)}${told()}`));
    await caller.heard.ended;
    await host.until(() => callee.toy().faults.length > 0);
    // The child's return is its own fault; the buffer is not its.
    expect([host.values("caller"), host.values("callee, process 2"), callee.toy().faults[0]!.thread]).toEqual([[1], [0], 7]);
    expect(callee.cvm.inspect()).toMatchObject({ processes: 1, threads: 1 });
  });
});

test.each(["interpreter", "translator"] as const)(
  "three cVMs that call each other in circles, interrupted and moved at random: %s",
  async (engine) => {
    const host = hostOf(engine);
    const CALLS = 400;
    /** Bits of the argument say what a call does: 1 a system call that waits, 2 a call of the next cVM with the rest, 4 another one behind it. */
    const program = (own: number): string => `
    ${spawn("server")}${spawn("server")}${spawn("server")}
    ${open((own + 1) % 3, Call)}
    loop:
    ld a0, 40(sp)
    ${call()}
    ld t0, 40(sp)
    addi t1, t0, 1
    beq a0, t1, right
    li t1, -4
    beq a0, t1, next
    li t1, -11
    beq a0, t1, retry
    ${tell()}
    right: ld t0, 48(sp)
    addi t0, t0, 1
    sd t0, 48(sp)
    next: ld t0, 40(sp)
    addi t0, t0, 1
    sd t0, 40(sp)
    li t1, ${CALLS}
    bne t0, t1, loop
    ld a0, 48(sp)
    addi a0, a0, 1000
    ${tell()}
    ${wait}
    retry: ${pause}
    j loop

    server:
    ${open((own + 1) % 3, Call)}
    li a1, ${own}
    li a0, ${Publish}
    li a7, 500
    ecall
    sd a0, 56(sp)
    again: ld a0, 56(sp)
    ${serve("entry")}
    j again
    entry:
    addi sp, sp, -64
    sd a0, 0(sp)
    andi t0, a0, 1
    beqz t0, nested
    ${pause}
    nested: ld a0, 0(sp)
    andi t0, a0, 2
    beqz t0, behind
    srli a0, a0, 2
    ${call(64)}
    behind: ld a0, 0(sp)
    andi t0, a0, 4
    beqz t0, finished
    ${pause}
    finished: ld a0, 0(sp)
    addi a0, a0, 1
    addi sp, sp, 64
    ${giveBack}`;
    const all = await Promise.all([0, 1, 2].map((own) => host.start(`cvm${own}`, program(own))));
    let seed = 12345;
    const random = (below: number): number => (seed = (seed * 1103515245 + 12345) % 2 ** 31) % below;
    let length = 1 << 20;
    for (let turn = 0; host.told.length < 3; turn++) {
      if (turn > 60_000) throw new Error(JSON.stringify(host.told));
      const { toy } = all[random(3)]!;
      if (random(8) === 0) toy().host.operate([{ op: "interrupt", thread: 1 + random(4) }]);
      if (random(600) === 0 && length < 3 << 20) toy().host.grow(toy().process, (length += 0x10000));
      await host.turns(1);
    }
    expect(all.map(({ cvm }) => cvm.inspect().faults)).toEqual([0, 0, 0]);
    // Nothing but right results and those that were given up.
    const right = host.told.map(({ value }) => value - 1000);
    for (const count of right) expect(count).toBeGreaterThan(CALLS / 4);
    expect(right.reduce((a, b) => a + b)).toBeLessThan(3 * CALLS);
    const last = await host.start("last", client(`li a0, 8\n${told()}`));
    await last.heard.ended;
    expect(host.values("last")).toEqual([9]);
  },
);
