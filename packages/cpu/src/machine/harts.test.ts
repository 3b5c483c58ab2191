import { describe, expect, test } from "vitest";
import { CapCause, Cause, Exit, Perm } from "../abi.ts";
import { ENGINES } from "../engines.test.support.ts";
import { BASE, CHERI, CODE, DATA, expectEcall, expectTrap, load, openMachine, region } from "./program.test.support.ts";

describe.each(ENGINES)("harts, %s", (engine) => {
  test("two harts keep their own registers and share memory", () => {
    const machine = openMachine(engine);
    const text = `
      li t0, ${DATA}
    loop: amoadd.d t1, a0, (t0)
      add a1, a1, a0
      j loop`;
    const one = load(text, { engine, machine });
    const two = load(text, { engine, machine });
    one.hart.setInt(10, 1);
    two.hart.setInt(10, 1000);
    for (let turn = 0; turn < 10; turn++) {
      expect(one.hart.run(3)).toBe(Exit.Fuel);
      expect(two.hart.run(2)).toBe(Exit.Fuel);
    }
    expect([one.hart.getInt(11), two.hart.getInt(11)]).toEqual([30, 20_000]);
    expect(machine.readU64(BASE + DATA)).toBe(20_030);
    expect(machine.instructions).toBe(one.hart.instructions + two.hart.instructions);
  });
  test("a reservation is lost when another hart ran in between, and kept otherwise", () => {
    const text = `li t0, ${DATA}\nlr.d a0, (t0)\n loop: addi a2, a2, -1\n bnez a2, loop\n sc.d a1, a0, (t0)\n ecall`;
    const machine = openMachine(engine);
    const p = load(text, { engine, machine });
    p.hart.setInt(12, 3);
    expect(p.hart.run(1)).toBe(Exit.Fuel);
    expectEcall(p);
    expect(p.hart.getInt(11)).toBe(0);
    p.hart.pc = CODE;
    p.hart.setInt(12, 3);
    expect(p.hart.run(1)).toBe(Exit.Fuel);
    const other = load(text, { engine, machine });
    other.hart.setInt(12, 1);
    expectEcall(other);
    expectEcall(p);
    expect(p.hart.getInt(11)).toBe(1);
  });
  test("SScratchC stays with its hart, and only code with access to system registers reaches it", () => {
    const machine = openMachine(engine);
    const p = load(`cspecialrw c10, sscratchc, c11\necall\nstop: cspecialrw c10, sscratchc, c0\necall`, { engine, machine });
    const mine = region(Perm.Load, BASE + DATA, 64);
    expect(p.hart.scratchAddress).toBe(0);
    p.hart.scratch = mine;
    expect([p.hart.scratchAddress, p.hart.scratch]).toEqual([BASE + DATA, mine]);
    expectEcall(p);
    expect([p.hart.getCapability(10), p.hart.scratchAddress]).toEqual([mine, 0]);
    p.hart.setCapability(11, mine);
    p.hart.pc = CODE;
    expectEcall(p);
    expect([p.hart.getCapability(10).tag, p.hart.scratch]).toEqual([false, mine]);
    const other = load("nop\necall", { engine, machine, at: CODE + 0x100 });
    other.hart.copyFrom(p.hart);
    expect(other.hart.scratch).toEqual(mine);
    p.hart.pcc = region(Perm.All & ~Perm.AccessSystemRegs);
    p.hart.pc = p.label("stop");
    expectTrap(p, "stop", Cause.Cheri, CHERI(0x20 | 14, CapCause.AccessSystemRegs));
  });
});
