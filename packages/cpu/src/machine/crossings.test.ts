import { describe, expect, test } from "vitest";
import { Exit, Perm, Prot, type HartPort } from "../abi.ts";
import { Assembler, assembleInto } from "../assembler/index.ts";
import * as c from "../capability/index.ts";
import { ENGINES } from "../engines.test.support.ts";
import { Crossings, CROSSINGS_BYTES } from "./crossings.ts";
import { createMachine } from "./machine.ts";

const RECORDS = 0x4_0000;
const CALLER = 0x10_0000;
const CALLEE = 0x20_0000;
const LENGTH = 0x1_0000;
const CODE = 0x1000;
/** Where each side has its capabilities. */
const TABLE = 0x4000;
const DATA = Perm.Load | Perm.Store | Perm.LoadCap | Perm.Global;
const CALL = `
  li t0, ${TABLE}
  lc c6, 0(t0)
  lc c7, 16(t0)
  cspecialrw c1, pcc, c0
  la t0, back
  csetoffset c1, c1, t0
  cinvoke c6, c7
back: ecall`;

function setUp(engine: (typeof ENGINES)[number], caller: string, callee: string) {
  const machine = createMachine({ engine, memoryBytes: 4 << 20 });
  const crossings = new Crossings(machine, RECORDS);
  const harts = [CALLER, CALLEE].map((base, i): HartPort => {
    machine.protect(base, LENGTH, Prot.Read | Prot.Write | Prot.Execute);
    const assembler = new Assembler({ origin: CODE });
    assembleInto(assembler, [caller, callee][i]!);
    machine.storeRange(base + CODE, assembler.assemble());
    const hart = machine.createHart();
    hart.ddc = c.derive(c.root(), base, LENGTH, DATA);
    hart.pcc = c.derive(c.root(), base, LENGTH, Perm.Load | Perm.Execute | Perm.CInvoke | Perm.Global);
    hart.pc = CODE;
    hart.setInt(2, 0x8000 + i);
    hart.setInt(4, 100 + i);
    hart.setInt(3, 200 + i);
    machine.storeCapability(base + TABLE + 32, crossings.returnGate);
    machine.storeCapability(base + TABLE + 48, crossings.bufferGate);
    return hart;
  });
  const [hart, server] = harts as [HartPort, HartPort];
  const site = crossings.newSite();
  const owner = {};
  const door = crossings.newDoor(site, owner, 2);
  const authority = c.derive(c.root(), 5, 1, Perm.Seal | Perm.Global);
  crossings.pair(door, authority).forEach((half, i) => machine.storeCapability(CALLER + TABLE + 16 * i, half));
  const offer = (): number => crossings.newSlot(site, c.setAddress(server.pcc, BigInt(CALLEE + CODE)), server);
  const run = (): number => {
    let exit: number = Exit.Fuel;
    while (exit === Exit.Fuel) exit = hart.run(1000);
    return exit;
  };
  return { machine, crossings, hart, server, site, door, owner, offer, run };
}

describe.each(ENGINES)("%s:", (engine) => {
  test("a call goes there and comes back, as often as one likes; the slot is free again", () => {
    const s = setUp(engine, CALL, "add a0, a0, sp\nadd a0, a0, tp\nadd a0, a0, gp\njalr.cap c0, c1");
    const slot = s.offer();
    for (let times = 0; times < 3; times++) {
      s.hart.pc = CODE;
      s.hart.setInt(10, 1);
      expect(s.run()).toBe(Exit.Ecall);
      expect([2, 3, 4, 10].map((register) => s.hart.getInt(register))).toEqual([0x8000, 200, 100, 1 + 0x8001 + 101 + 201]);
      expect([s.hart.scratchAddress, s.hart.ddc.base, s.hart.pcc.base]).toEqual([0, BigInt(CALLER), BigInt(CALLER)]);
    }
    s.crossings.withdraw(slot);
    s.hart.pc = CODE;
    expect([s.run(), s.hart.getInt(10)]).toEqual([Exit.Ecall, -11]);
  });

  test("without a slot EAGAIN, through a closed door ECANCELED; nothing of the crossing is left in registers", () => {
    const s = setUp(engine, CALL, "jalr.cap c0, c1");
    for (const error of [-11, -125]) {
      if (error === -125) s.crossings.closeDoor(s.door);
      s.hart.pc = CODE;
      expect([s.run(), s.hart.getInt(10), s.hart.ddc.base]).toEqual([Exit.Ecall, error, BigInt(CALLER)]);
      // ra leads into the caller, t1 and t2 are its pair.
      for (let register = 2; register < 32; register++) {
        const held = s.hart.getCapability(register);
        expect(held.tag && register !== 7, `c${register} ${c.format(held)}`).toBe(false);
      }
    }
  });

  test("it is done as a whole: a run that ends in it ends at one of its two beginnings", () => {
    const s = setUp(engine, CALL, "jalr.cap c0, c1");
    s.offer();
    const places = new Set<number>();
    for (let times = 0; times < 3; times++) {
      s.hart.pc = CODE;
      for (;;) {
        const exit = s.hart.run(1);
        if (s.crossings.runs(Number(s.hart.pcc.base))) places.add(s.hart.pc);
        if (exit === Exit.Ecall) break;
        expect(exit).toBe(Exit.Fuel);
      }
    }
    expect([...places]).toEqual([0, Number(s.crossings.returnGate.address) - RECORDS]);
  });

  test("buffers are given again, without any other right, and not after the call", () => {
    const ask = `li t0, ${TABLE}\nlc c5, 48(t0)\njalr.cap c1, c5\n`;
    const s = setUp(
      engine,
      CALL,
      `cmove c20, c1\nli a4, 0\nli a5, 0\n${ask}cgetperm a0, c14\ncgettag a1, c15\nmv s0, a0\ncmove c1, c20\njalr.cap c0, c1`,
    );
    s.offer();
    s.hart.setCapability(14, c.derive(c.root(), CALLER + 0x5000, 16, DATA));
    expect([s.run(), s.hart.getInt(10), s.hart.getInt(11), s.hart.getCapability(14).tag]).toEqual([
      Exit.Ecall,
      Perm.Load | Perm.Store,
      0,
      false,
    ]);
    s.hart.pc = CODE;
    expect([s.run(), s.hart.getInt(10)]).toEqual([Exit.Ecall, 0]);
  });

  test("an abandoned call comes back with an ecall in the crossing, its caller with what it went on with", () => {
    const s = setUp(engine, CALL, "ecall\njalr.cap c0, c1");
    const slot = s.offer();
    expect([s.run(), s.hart.pcc.base, s.hart.scratchAddress]).toEqual([Exit.Ecall, BigInt(CALLEE), slot]);
    const resumed = s.machine.createHart();
    s.crossings.resume(slot, resumed, { base: CALLER, length: LENGTH }, -4);
    expect([2, 3, 4, 10].map((register) => resumed.getInt(register))).toEqual([0x8000, 200, 100, -4]);
    expect([resumed.ddc.base, resumed.pcc.base, resumed.scratchAddress]).toEqual([BigInt(CALLER), BigInt(CALLER), 0]);
    expect(s.machine.readU32(CALLER + resumed.pc)).toBe(0x73);
    s.crossings.abandon(slot);
    s.hart.pc += 4;
    expect([s.run(), s.crossings.runs(Number(s.hart.pcc.base)), s.hart.scratchAddress]).toEqual([Exit.Ecall, true, slot]);
    // One that wanted to go on elsewhere does not.
    const other = s.machine.createHart();
    s.crossings.resume(slot, other, { base: CALLEE, length: LENGTH }, 0);
    expect([other.pcc.tag, other.pc]).toEqual([false, 0]);
  });

  test("a return from no call is an ecall in the crossing too", () => {
    const s = setUp(engine, `li t0, ${TABLE}\nlc c5, 32(t0)\njalr.cap c0, c5`, "ecall");
    expect([s.run(), s.crossings.runs(Number(s.hart.pcc.base))]).toEqual([Exit.Ecall, true]);
    expect(s.hart.ddc.base).toBe(BigInt(CALLER));
  });
});

test("doors: only so many, closed ones included, until all of an owner's are given back", () => {
  const { crossings, site, door, owner } = setUp(ENGINES[0]!, "ecall", "ecall");
  crossings.closeDoor(door);
  const second = crossings.newDoor(site, owner, 2);
  expect([second > 0, second !== door, crossings.newDoor(site, owner, 2)]).toEqual([true, true, 0]);
  crossings.freeDoors(owner);
  expect(new Set([crossings.newDoor(site, {}, 1), crossings.newDoor(site, {}, 1)])).toEqual(new Set([door, second]));
});

test("records run out, come back, and sweeps find what they hold", () => {
  const machine = createMachine({ memoryBytes: 4 << 20 });
  const crossings = new Crossings(machine, RECORDS);
  const hart = machine.createHart();
  hart.ddc = c.derive(c.root(), CALLEE, LENGTH, DATA);
  const site = crossings.newSite();
  const slots: number[] = [];
  for (let slot = crossings.newSlot(site, hart.ddc, hart); slot !== 0; slot = crossings.newSlot(site, hart.ddc, hart)) slots.push(slot);
  expect(slots.length).toBe(512);
  expect(new Set(slots).size).toBe(512);
  expect(slots.every((slot) => slot >= RECORDS && slot + 128 <= RECORDS + CROSSINGS_BYTES)).toBe(true);
  // From the middle of the list, its end and its head.
  for (const at of [100, 0, 511]) crossings.withdraw(slots[at]!);
  crossings.change(slots[5]!, (held) => (held.tag ? c.derive(c.root(), CALLER, LENGTH, DATA) : held));
  expect(machine.revoke(CALLEE, LENGTH)).toBe(2 * 511 + 1);
  expect(machine.revoke(CALLER, LENGTH)).toBe(2);
  for (const slot of slots) {
    crossings.withdraw(slot);
    crossings.freeSlot(slot);
  }
  const again = crossings.newSlot(site, hart.ddc, hart);
  expect(again).toBe(slots.at(-1));
});
