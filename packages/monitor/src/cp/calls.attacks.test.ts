/** Hostile callers and callees of CP_Calls: what they try fails with the right error, and nobody else notices. */
import { afterEach, describe, expect, test } from "vitest";
import { CALL_CAPABILITY, CALL_GATES } from "../gate.ts";
import {
  buffer,
  call,
  Call,
  CallHost,
  DATA,
  exit,
  getBuffers,
  giveBack,
  open,
  Publish,
  serve,
  spawn,
  tell,
  wait,
} from "../test-support/calls.ts";
import { registerOf, registers as registerFile } from "../test-support/toy.ts";

let host: CallHost;
afterEach(() => host.close());

const server = (body: string, name = 0): string =>
  `${open(name, Publish)}\n${serve("entry")}\n${tell()}\n${exit(9)}\nentry:\n${body}\n${giveBack}`;
const client = (body: string, name = 0): string => `${open(name, Call)}\n${body}\n${exit()}`;
const told = (): string => `${call()}${tell()}`;

/** ca0 and ca1: the pair, ca2 and ca3: the gates; s0: the number under which "one" was opened. */
const fetch = `
  ${open(0, Call)}
  mv s0, a0
  li a0, ${CALL_GATES}
  li a7, ${CALL_CAPABILITY}
  ecall
  cmove c18, c10
  cmove c19, c11
  mv a0, s0
  li a7, ${CALL_CAPABILITY}
  ecall
  cmove c12, c18
  cmove c13, c19
  cspecialrw c1, pcc, c0
  la t0, back
  csetoffset c1, c1, t0`;

describe("a caller", () => {
  /** What the attacker's process ends with; a bystander's calls go on. */
  test.each([
    ["makes a pair from numbers", "mv a0, a0\nmv a1, a1\ncinvoke c10, c11", "tag of ca0"],
    [
      "makes a pair from the bits of a real one",
      `li t0, ${DATA}\nld t1, 0(t0)\ncgethigh t2, c10\nsd a0, 0(t0)\nsd t2, 8(t0)\nlc c10, 0(t0)\ncinvoke c10, c11`,
      "tag of ca0",
    ],
    ["swaps the halves", "cinvoke c11, c10", "invoke permission|execute permission"],
    [
      "takes the halves of two objects",
      `cmove c20, c11\nli a1, 1\nli a0, ${Call}\nli a7, 500\necall\nli a7, ${CALL_CAPABILITY}\necall\ncinvoke c10, c20`,
      "object type of ca0",
    ],
    ["jumps to the code half", "jalr.cap c0, c10", "seal of ca0"],
    ["jumps into the middle of the crossing", "cincoffsetimm c10, c10, 8\ncinvoke c10, c11", "tag of ca0"],
    ["jumps into the middle of the way back", "cincoffsetimm c12, c12, 4\njalr.cap c0, c12", "tag of ca2"],
    ["loads what the data half leads to", "ld.cap t0, (c11)", "seal of ca1"],
    ["loads through the gate", "ld.cap t0, (c12)", "seal of ca2"],
    ["unseals the data half", "cspecialrw c20, ddc, c0\ncunseal c11, c11, c20\nld.cap t0, (c11)", "tag of ca1"],
    ["returns from no call", "jalr.cap c0, c12", "instruction page fault"],
    [
      "returns from a call that it made",
      `cinvoke c10, c11\nback: li a0, ${CALL_GATES}\nli a7, ${CALL_CAPABILITY}\necall\njalr.cap c0, c10`,
      "instruction page fault",
    ],
    ["has the call return nowhere", "li ra, 0\ncinvoke c10, c11", "tag of cra"],
    ["has the call return out of its code", "cgetlen t0, c1\ncsetoffset c1, c1, t0\ncinvoke c10, c11", "bounds of cra"],
    ["has the call return to where nothing may be executed", "cspecialrw c1, ddc, c0\ncinvoke c10, c11", "execute permission of cra"],
    ["has the call return through the gate", "cmove c1, c12\ncinvoke c10, c11", "instruction page fault"],
    [
      "reads the register that the crossing keeps its place in",
      "cspecialrw c10, sscratchc, c0",
      "access to system registers of sscratchc|SSCRATCHC",
    ],
  ])("%s: it faults, nobody else does", async (_what, body, check) => {
    host = new CallHost();
    const callee = await host.startServer("callee", server("addi a0, a0, 1"));
    const attacker = await host.start("attacker", `${fetch}\n${body}\n${body.includes("back:") ? "" : "back:"} ${exit(0)}`);
    await attacker.heard.ended;
    expect(attacker.heard.faults.map(({ text }) => text.split("\n")[0]).join()).toMatch(new RegExp(check, "u"));
    expect(attacker.heard.exits).toEqual([[0, 0, 11]]);
    const other = await host.start("other", client(`li a0, 1\n${told()}${told()}`));
    await other.heard.ended;
    expect([host.values("other"), callee.heard.faults, callee.cvm.inspect().state]).toEqual([[2, 1], [], "running"]);
  });

  test("has nothing but what it was granted: numbers of others, of other kinds, without the right", async () => {
    host = new CallHost();
    host.declare("four", { cvm: "callee", rights: Publish }, { cvm: "attacker", rights: Publish });
    host.monitor.objects.declare({ kind: "file", name: "one", size: 4096, grants: [{ cvm: "*", rights: 3 }] });
    await host.startServer("callee", server(""));
    const ask = (number: number): string => `li a0, ${number}\nli a7, ${CALL_CAPABILITY}\necall\n${tell()}`;
    const attacker = await host.start("attacker", `${ask(1)}${ask(2)}${ask(-1000)}${wait}${ask(1)}${wait}`);
    await host.until(() => host.waiting === 1);
    expect(attacker.toy().host.cp({ cp: "open", kind: "call", name: "four", rights: Call })).toBe(-13);
    expect(attacker.toy().host.cp({ cp: "open", kind: "call", name: "four", rights: Publish })).toBe(1);
    host.answer();
    await host.until(() => host.waiting === 1);
    expect(host.values("attacker")).toEqual([-9, -9, -9, -9]);
  });

  test("makes a thread of the callee's stop waiting, or ends it: it cannot name it", async () => {
    host = new CallHost();
    const callee = await host.startServer("callee", server("li a0, 5"));
    const caller = await host.start("caller", wait);
    for (const op of ["interrupt", "endThread"] as const) expect(caller.toy().host.operate([{ op, thread: 2 }])).toBe(-22);
    expect(callee.cvm.inspect().threads).toBe(1);
  });
});

describe("a callee", () => {
  test("gives results that are numbers only", async () => {
    host = new CallHost();
    await host.startServer(
      "callee",
      server(`cspecialrw c10, ddc, c0\ncspecialrw c11, pcc, c0\ncspecialrw c12, ddc, c0\ncspecialrw c9, ddc, c0`),
    );
    const caller = await host.start(
      "caller",
      client(`${call()}
      cgettag a0, c10\n sd a2, 40(sp)\n sd s1, 48(sp)\n cgettag t0, c11\n add a0, a0, t0\n cgettag t0, c12\n add a0, a0, t0\n cgettag t0, c9\n add a0, a0, t0
      ${tell()}ld a0, 40(sp)\n${tell()}ld a0, 48(sp)\n${tell()}`),
    );
    await caller.heard.ended;
    expect(host.values("caller")).toEqual([0, 0, 0]);
  });

  test("leaves its data capability behind: the caller has its own again, and the next call the callee's", async () => {
    host = new CallHost();
    await host.startServer(
      "callee",
      server(`cspecialrw c5, ddc, c0\ncgetbase a0, c5\ncmove c5, c14\ncspecialrw c0, ddc, c5\njalr.cap c0, c1`),
    );
    const caller = await host.start(
      "caller",
      client(`${buffer("c14", DATA, 16)}${told()}cspecialrw c5, ddc, c0\ncgetbase a0, c5\n${tell()}${told()}`),
    );
    await caller.heard.ended;
    const [first, mine, second] = host.values("caller");
    expect([first === second, first === mine]).toEqual([true, false]);
  });

  test("returns twice, from another thread of its own, or with a number of a call that was given up: its own thread faults", async () => {
    host = new CallHost();
    const gate = `li a0, ${CALL_GATES}\nli a7, ${CALL_CAPABILITY}\necall\njalr.cap c0, c10\n`;
    const callee = await host.start("callee", `${spawn("second")}${server(`${wait}li a0, 5`)}\nsecond: li a7, 503\necall\n${gate}`);
    await host.until(() => host.waiting === 1 && callee.cvm.inspect().syscalls === 6);
    const caller = await host.start("caller", client(told()));
    await host.until(() => host.waiting === 2);
    host.answer();
    await callee.heard.ended;
    await caller.heard.ended;
    expect(callee.heard.faults.map(({ thread }) => thread)).toEqual([2]);
    expect([[5], [-125]]).toContainEqual(host.values("caller"));
  });

  test("keeps a buffer in a register over the return, or over a call that its caller gave up: it has none in the next", async () => {
    host = new CallHost();
    await host.startServer("callee", server(`cgettag a0, c20\ncgettag a1, c31\nadd a0, a0, a1\ncmove c20, c14\ncmove c31, c14`));
    const caller = await host.start("caller", client(`${buffer("c14", DATA, 16)}${told()}${told()}${told()}`));
    await caller.heard.ended;
    expect(host.values("caller")).toEqual([0, 0, 0]);
  });

  test("lends what it was lent: whom it called has it no longer than the call", async () => {
    host = new CallHost();
    const inner = await host.startServer("inner", server(`${wait}cgettag a0, c14\n${tell()}${getBuffers}cgettag a0, c14\n${tell()}`, 1));
    const outer = await host.start(
      "outer",
      `${open(1, Call)}\nli a1, 0\nli a0, ${Publish}\nli a7, 500\necall\n${serve("entry")}\nentry:\n${call()}${giveBack}`,
    );
    await host.until(() => outer.cvm.inspect().syscalls === 6);
    const caller = await host.start("caller", client(`${buffer("c14", DATA, 16)}${told()}${wait}`));
    await host.until(() => host.waiting === 1);
    caller.toy().host.operate([{ op: "interrupt", thread: 1 }]);
    await host.until(() => host.values("caller").length === 1);
    host.answer();
    await host.until(() => host.values("inner").length === 2);
    expect([host.values("caller"), host.values("inner"), inner.cvm.inspect().faults]).toEqual([[-4], [0, 0], 0]);
  });

  test("publishes with more threads than it may: those are refused, and the others serve", async () => {
    host = new CallHost();
    const many = Array.from({ length: 66 }, () => spawn("second")).join("");
    await host.start(
      "callee",
      `${open(0, Publish)}${many}${wait}second: li a0, 1\n${serve("entry")}${tell()}${wait}entry: li a0, 5\njalr.cap c0, c1`,
    );
    await host.until(() => host.values("callee").length === 2);
    const caller = await host.start("caller", client(told()));
    await caller.heard.ended;
    expect([host.values("callee"), host.values("caller")]).toEqual([[-11, -11], [5]]);
  });
});

describe("a library OS", () => {
  test("reaches nothing of the callee's through a thread of its own that called it: registers, forks, moves, ends", async () => {
    host = new CallHost();
    const seen: number[] = [];
    const spin = `li s1, 0x5ec\nspin: li t0, ${DATA}\nlbu t0, 0(t0)\nbeqz t0, spin\nmv a0, s1`;
    const callee = await host.startServer("callee", server(spin));
    const caller = await host.start("caller", client(told()), {
      setUp: (toy) => {
        toy.fault = (fault) => {
          seen.push(registerOf(fault.registers, 9), fault.pc);
          return { ops: null, signal: 11 };
        };
      },
    });
    const { host: calls, process } = caller.toy();
    await host.turns();
    // Its only thread runs the callee's code now.
    expect(calls.operate([{ op: "registers", thread: 1, registers: registerFile(0x10008, { 10: 1 }) }])).toBe(0);
    expect(calls.fork(1, 9, 1 << 20)).toBeGreaterThan(0);
    calls.start(9);
    await host.until(() => seen.length === 2);
    // s1 is what the callee has there; the child runs its own code.
    expect([seen[0], process]).toEqual([0, 1]);
    await host.turns();
    callee.toy().host.operate([{ op: "write", process: callee.toy().process, address: DATA, bytes: new Uint8Array([1]) }]);
    await caller.heard.ended;
    expect([host.values("caller"), callee.heard.faults]).toEqual([[0x5ec], []]);
  });
});

describe("revocation", () => {
  test.each([
    ["from all", (at: CallHost) => at.monitor.objects.revoke(at.get("one"))],
    ["from the caller", (at: CallHost) => at.monitor.objects.revokeFrom(at.get("one"), "caller")],
  ])("%s: a call in flight is ECANCELED, and so is each later one", async (_what, revoke) => {
    host = new CallHost();
    const callee = await host.startServer("callee", server(wait));
    const caller = await host.start("caller", client(`${told()}${told()}li a0, 1\nli a7, ${CALL_CAPABILITY}\necall\n${tell()}`));
    await host.until(() => host.waiting === 1);
    revoke(host);
    await host.until(() => host.values("caller").length === 3 || caller.heard.faults.length > 0);
    host.answer();
    await host.turns();
    expect(host.values("caller")[0]).toBe(-125);
    // What it holds in its table is gone.
    expect(caller.heard.faults.map(({ text }) => text.split("\n")[0]).join()).toContain("tag of ct1");
    expect(host.values("callee")).toEqual(_what === "from all" ? [-125] : []);
    expect(callee.cvm.inspect().faults).toBe(0);
  });

  test("of a shared buffer that a caller lends: whom it called has it no longer", async () => {
    host = new CallHost();
    host.monitor.objects.declare({ kind: "file", name: "board", size: 4096, grants: [{ cvm: "*", rights: 3 }] });
    const callee = await host.startServer("callee", server(`${wait}cgettag a0, c14\n${tell()}${getBuffers}cgettag a0, c14\n${tell()}`));
    const file = `li a0, 9\nli a7, ${CALL_CAPABILITY}\necall\ncmove c14, c10\nli a5, 0\n`;
    const caller = await host.start("caller", client(`${wait}li a0, 0\nld a0, 32(sp)\n${file}${told()}${wait}`));
    await host.until(() => host.waiting === 1);
    let handle = 0;
    while (handle < 9) handle = caller.toy().host.cp({ cp: "open", kind: "file", name: "board", rights: 3 }) as number;
    host.answer();
    await host.until(() => host.waiting === 1);
    host.monitor.objects.revokeFrom(host.monitor.objects.get("file", "board")!, "caller");
    await host.until(() => host.values("caller").length === 1);
    host.answer();
    await host.until(() => host.values("callee").length === 2);
    expect([host.values("caller"), host.values("callee"), callee.cvm.inspect().faults]).toEqual([[-125], [0, 0], 0]);
  });

  test("a pair that code kept leads nowhere, also when others use the place of what it led to", async () => {
    host = new CallHost();
    await host.startServer("callee", server("li a0, 5"));
    const loop = `${fetch}\nsd a0, 32(sp)\nli t6, 0\nli t5, ${DATA}\nagain: lbu t6, 0(t5)\nbeqz t6, again\ncinvoke c10, c11\nback: mv ra, zero\n${tell()}`;
    const caller = await host.start("caller", `${loop}${exit(0)}`);
    await host.turns();
    host.monitor.objects.revoke(host.get("one"));
    host.declare("one");
    await host.startServer("next", server("li a0, 6"));
    const other = await host.start("other", client(told()));
    await other.heard.ended;
    caller.toy().host.operate([{ op: "write", process: caller.toy().process, address: DATA, bytes: new Uint8Array([1]) }]);
    await caller.heard.ended;
    expect([host.values("other"), host.values("caller")]).toEqual([[6], [-125]]);
  });

  test("from the callee: its threads come back, callers hear of it", async () => {
    host = new CallHost();
    const callee = await host.startServer("callee", server(wait));
    const caller = await host.start("caller", client(`${told()}${told()}`));
    await host.until(() => host.waiting === 1);
    host.monitor.objects.revokeFrom(host.get("one"), "callee");
    await caller.heard.ended;
    expect(host.values("caller")).toEqual([-125, -11]);
    host.answer();
    await callee.heard.ended;
    expect([host.values("callee"), callee.heard.exits]).toEqual([[-125], [[0, 9, 0]]]);
  });
});
