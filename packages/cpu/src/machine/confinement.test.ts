import { describe, expect, test } from "vitest";
import { CapCause, CapReg, Cause, Exit, Perm, type Capability } from "../abi.ts";
import * as capability from "../capability/index.ts";
import { ENGINES } from "../engines.test.support.ts";
import { BASE, CHERI, CODE, DATA, LENGTH, expectEcall, expectTrap, load, openMachine, region, root } from "./program.test.support.ts";

describe.each(ENGINES)("confinement, %s", (engine) => {
  const last = BASE + LENGTH - 1;
  test.each([
    ["lb", 1],
    ["lh", 2],
    ["lw", 4],
    ["ld", 8],
    ["sb", 1],
    ["sh", 2],
    ["sw", 4],
    ["sd", 8],
  ] as const)("%s is bounded exactly at DDC's first and last byte", (name, size) => {
    // Representable bounds in the middle of pages that allow everything.
    const length = 0xfe0;
    const machine = openMachine(engine);
    const ddc = region(Perm.All, BASE + DATA + 0x1010, length);
    const p = load(`at: ${name} a1, 0(a0)\n ecall`, { engine, machine, ddc });
    const outcome = (offset: number): string => {
      p.hart.pc = p.label("at");
      p.hart.setInt(10, offset);
      p.hart.setInt(11, 0x55);
      const code = p.run();
      if (code === Exit.Ecall) return "allowed";
      expect(p.hart.pc).toBe(p.label("at"));
      expect(p.hart.getInt(11)).toBe(0x55);
      return p.hart.trapCause === Cause.Cheri && p.hart.trapValue === CHERI(CapReg.Ddc, CapCause.Length)
        ? "length"
        : `cause ${p.hart.trapCause}`;
    };
    expect(outcome(0)).toBe("allowed");
    expect(outcome(-1)).toBe("length");
    expect(outcome(length - size)).toBe("allowed");
    expect(outcome(length - size + 1)).toBe("length");
    expect(outcome(length)).toBe("length");
    expect(outcome(-BASE)).toBe("length");
    expect(outcome(2 ** 32)).toBe("length");
    expect(outcome(-(2 ** 63))).toBe("length");
  });

  test.each([
    ["without a tag", (cap: Capability) => capability.clearTag(cap), CapCause.Tag],
    ["sealed", (cap: Capability) => capability.seal(cap, { ...root, address: 5n }), CapCause.Seal],
    ["without load permission", (cap: Capability) => capability.andPerms(cap, ~Perm.Load), CapCause.PermitLoad],
  ])("loads through DDC %s", (_what, change, cause) => {
    const p = load(`li a0, ${DATA}\nat: ld a1, 0(a0)`, { engine, ddc: change(region()) });
    expectTrap(p, "at", Cause.Cheri, CHERI(CapReg.Ddc, cause));
  });
  test("stores without store permission; atomics need both", () => {
    const readOnly = load(`li a0, ${DATA}\nat: sd a1, 0(a0)`, { engine, ddc: capability.andPerms(region(), ~Perm.Store) });
    expectTrap(readOnly, "at", Cause.Cheri, CHERI(CapReg.Ddc, CapCause.PermitStore));
    const atomic = load(`li a0, ${DATA}\nat: amoadd.d a1, a1, (a0)`, { engine, ddc: capability.andPerms(region(), ~Perm.Store) });
    expectTrap(atomic, "at", Cause.Cheri, CHERI(CapReg.Ddc, CapCause.PermitStore));
    const writeOnly = load(`li a0, ${DATA}\nat: amoadd.d a1, a1, (a0)`, { engine, ddc: capability.andPerms(region(), ~Perm.Load) });
    expectTrap(writeOnly, "at", Cause.Cheri, CHERI(CapReg.Ddc, CapCause.PermitLoad));
    expect(writeOnly.machine.readU64(BASE + DATA)).toBe(0);
  });

  test("a jump out of PCC traps at the jump and writes no link", () => {
    const p = load(
      `
      li a0, ${LENGTH}
      li ra, 99
    at: jalr ra, 0(a0)`,
      { engine },
    );
    expectTrap(p, "at", Cause.Cheri, CHERI(CapReg.Pcc, CapCause.Length));
    expect(p.hart.getInt(1)).toBe(99);
    p.hart.pc = p.label("at");
    p.hart.setInt(10, LENGTH - 2); // the last parcel may be jumped to, but is not mapped
    expect(p.run()).toBe(Exit.Trap);
    expect([p.hart.trapCause, p.hart.trapValue, p.hart.pc]).toEqual([Cause.FetchPage, last - 1, LENGTH - 2]);
    p.hart.pc = p.label("at");
    p.hart.setInt(10, -2);
    expectTrap(p, "at", Cause.Cheri, CHERI(CapReg.Pcc, CapCause.Length));
  });

  test("within a page PCC is exact for branches and for running on", () => {
    // PCC ends in the middle of the code's page, 16 bytes behind its start.
    const pcc = { ...region(Perm.All, BASE + CODE, 16) };
    const text = "beq a0, zero, forward\n nop\n nop\n nop\nforward: ecall";
    const machine = openMachine(engine);
    const p = load(text, { engine, machine, pcc });
    p.hart.pc = 0;
    expect(p.run()).toBe(Exit.Trap);
    expect([p.hart.pc, p.hart.trapCause, p.hart.trapValue]).toEqual([0, Cause.Cheri, CHERI(CapReg.Pcc, CapCause.Length)]);
    p.hart.pc = 0;
    p.hart.setInt(10, 1);
    expect(p.run()).toBe(Exit.Trap);
    expect([p.hart.pc, p.hart.trapCause, p.hart.trapValue]).toEqual([16, Cause.Cheri, CHERI(CapReg.Pcc, CapCause.Length)]);
    // One parcel more: half of the ecall.
    p.hart.pcc = region(Perm.All, BASE + CODE, 18);
    p.hart.pc = 0;
    expect(p.run()).toBe(Exit.Trap);
    expect([p.hart.pc, p.hart.trapCause]).toEqual([16, Cause.Cheri]);
    p.hart.pcc = region(Perm.All, BASE + CODE, 20);
    p.hart.pc = 0;
    p.hart.setInt(10, 0);
    expectEcall(p);
  });

  test.each([
    ["without a tag", (cap: Capability) => capability.clearTag(cap), CapCause.Tag],
    ["sealed", (cap: Capability) => capability.sealEntry(cap), CapCause.Seal],
    ["without execute permission", (cap: Capability) => capability.andPerms(cap, ~Perm.Execute), CapCause.PermitExecute],
  ])("fetches through PCC %s", (_what, change, cause) => {
    const p = load("at: nop", { engine, pcc: change(region()) });
    expectTrap(p, "at", Cause.Cheri, CHERI(CapReg.Pcc, cause));
  });
});
