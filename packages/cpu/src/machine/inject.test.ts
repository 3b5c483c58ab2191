import { describe, expect, test } from "vitest";
import { Cause, CapCause, CapReg, Exit, Perm, Prot } from "../abi.ts";
import { assembleText } from "../assembler/index.ts";
import { derive, root } from "../capability/index.ts";
import { word } from "../isa/cheri-bench.test.support.ts";
import type { Hart } from "./hart.ts";
import { createMachine, type Machine } from "./machine.ts";

const MIB = 1 << 20;
const DATA = 0x2_0000;

function prepare(): { machine: Machine; hart: Hart } {
  const machine = createMachine({ memoryBytes: MIB });
  machine.protect(DATA, 0x1000, Prot.Read | Prot.Write);
  const hart = machine.createHart();
  hart.ddc = root();
  hart.pcc = root();
  return { machine, hart };
}

describe("an injected instruction", () => {
  test("runs wherever pc is, mapped or not, and pc goes on behind it", () => {
    const { hart } = prepare();
    for (const pc of [0, 0x1000, DATA, 0x4000_0000, Number.MAX_SAFE_INTEGER - 1]) {
      hart.pc = pc;
      expect(hart.inject(word("addi", { rd: 5, rs1: 0, imm: 7 }))).toBe(Exit.Fuel);
      expect(hart.getInt(5)).toBe(7);
      expect(hart.pc).toBe(pc + 4);
      hart.setInt(5, 0);
      expect(hart.inject(0x4295)).toBe(Exit.Fuel); // c.li t0, 5
      expect(hart.getInt(5)).toBe(5);
      expect(hart.pc).toBe(pc + 6);
    }
    expect(hart.instructions).toBe(10);
  });

  test("is one instruction, also where memory has code that is decoded already", () => {
    const { machine, hart } = prepare();
    machine.storeRange(DATA, assembleText("addi a1, a1, 1\naddi a1, a1, 1\naddi a1, a1, 1\necall"));
    machine.protect(DATA, 0x1000, Prot.Read | Prot.Execute);
    hart.pc = DATA;
    expect(hart.run(10)).toBe(Exit.Ecall);
    expect(hart.getInt(11)).toBe(3);
    hart.pc = DATA;
    expect(hart.inject(word("addi", { rd: 12, rs1: 0, imm: 9 }))).toBe(Exit.Fuel);
    expect([hart.getInt(11), hart.getInt(12), hart.pc]).toEqual([3, 9, DATA + 4]);
    expect(hart.run(10)).toBe(Exit.Ecall);
    expect(hart.getInt(11)).toBe(5);
  });

  test("jumps, and what stands at the target does not run", () => {
    const { hart } = prepare();
    hart.pc = 0x100;
    expect(hart.inject(word("jal", { rd: 1, imm: -0x80 }))).toBe(Exit.Fuel);
    expect([hart.pc, hart.getInt(1)]).toEqual([0x80, 0x104]);
    expect(hart.inject(word("beq", { rs1: 0, rs2: 0, imm: 0x40 }))).toBe(Exit.Fuel);
    expect(hart.pc).toBe(0xc0);
    hart.setInt(5, 0x7000_0001);
    expect(hart.inject(word("jalr", { rd: 1, rs1: 5, imm: 0 }))).toBe(Exit.Fuel);
    expect([hart.pc, hart.getInt(1)]).toEqual([0x7000_0000, 0xc4]);
  });

  test("changes PCC: the checks of the next fetch come with the next instruction", () => {
    const { hart } = prepare();
    hart.setCapability(5, derive(root(), 0x1000, 6, Perm.Execute | Perm.Load));
    expect(hart.inject(word("jalr.cap", { rd: 1, rs1: 5 }))).toBe(Exit.Fuel);
    expect([hart.pc, hart.pcc.base]).toEqual([0, 0x1000n]);
    const nop = word("addi");
    expect(hart.inject(nop)).toBe(Exit.Fuel);
    expect(hart.pc).toBe(4);
    expect(hart.inject(nop)).toBe(Exit.Trap); // its second half is outside
    expect([hart.trapCause, hart.trapValue, hart.pc]).toEqual([Cause.Cheri, (CapReg.Pcc << 5) | CapCause.Length, 4]);
    expect(hart.inject(0x0001)).toBe(Exit.Fuel); // c.nop
    expect(hart.pc).toBe(6);
    expect(hart.inject(0x0001)).toBe(Exit.Trap);
    expect(hart.pc).toBe(6);
  });

  test("may reach over the end of the address space: its second half is at the beginning", () => {
    const { hart } = prepare();
    hart.pc = -2;
    expect(hart.inject(word("addi", { rd: 5, rs1: 0, imm: 7 }))).toBe(Exit.Fuel);
    expect([hart.getInt(5), hart.pc]).toEqual([7, 2]);
    hart.pcc = derive(root(), 0x1000, 0x1000, Perm.Execute);
    hart.pc = -0x1002;
    expect(hart.inject(word("addi"))).toBe(Exit.Trap);
    expect(hart.trapCause).toBe(Cause.Cheri);
  });

  test("is refused when nothing can be fetched, after the checks of PCC", () => {
    const { hart } = prepare();
    hart.pc = 0x4000;
    expect(hart.inject(word("addi"), false)).toBe(Exit.Trap);
    expect([hart.trapCause, hart.trapValue, hart.pc]).toEqual([Cause.FetchPage, 0x4000, 0x4000]);
    hart.pcc = derive(root(), 0x1000, 0x1000, Perm.Execute);
    hart.pc = 0x1000;
    expect(hart.inject(word("addi"), false)).toBe(Exit.Trap);
    expect(hart.trapCause).toBe(Cause.Cheri);
  });

  test("reports exceptions and ecall as a run does", () => {
    const { hart } = prepare();
    hart.pc = 0x40;
    expect(hart.inject(word("ld", { rd: 5, rs1: 0, imm: 0x100 }))).toBe(Exit.Trap);
    expect([hart.trapCause, hart.trapValue, hart.pc]).toEqual([Cause.LoadPage, 0x100, 0x40]);
    expect(hart.inject(0)).toBe(Exit.Trap);
    expect([hart.trapCause, hart.pc]).toEqual([Cause.IllegalInstruction, 0x40]);
    expect(hart.inject(word("ecall"))).toBe(Exit.Ecall);
    expect(hart.pc).toBe(0x40);
    hart.pcc = { ...root(), tag: false };
    expect(hart.inject(word("addi"))).toBe(Exit.Trap);
    expect([hart.trapCause, hart.trapValue]).toEqual([Cause.Cheri, (CapReg.Pcc << 5) | CapCause.Tag]);
    expect(hart.instructions).toBe(0);
  });
});
