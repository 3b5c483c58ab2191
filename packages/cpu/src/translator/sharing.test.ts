/** Processes of one machine use each other's translations where their code is equal, and only there. */
import { describe, expect, test } from "vitest";
import { Exit, Perm, Prot, type ExitCode } from "../abi.ts";
import type { Hart } from "../machine/hart.ts";
import { createMachine, type Machine } from "../machine/machine.ts";
import { assemble, CODE, PAGE, region, WAYS } from "./twins.test.support.ts";

const SIZE = 0x1_0000;
/** Bases of processes, a region of {@link SIZE} each. */
const A = 0x4_0000;
const B = 0x8_0000;
const C = 0xc_0000;
const ALL = Prot.Read | Prot.Write | Prot.Execute;

function process(machine: Machine, base: number, from?: number): Hart {
  machine.protect(base, SIZE, ALL);
  if (from !== undefined) machine.copyRange(from, base, SIZE);
  const hart = machine.createHart();
  hart.ddc = region(base, SIZE);
  hart.pcc = region(base, SIZE);
  return hart;
}
function run(hart: Hart, pc: number = CODE, fuel = 1000): ExitCode {
  hart.pc = pc;
  hart.setInt(2, SIZE / 2);
  let code: ExitCode;
  do code = hart.run(fuel);
  while (code === Exit.Fuel);
  return code;
}

/** Runs after which nothing is new any more. */
const WARM = 100;

describe.each(WAYS)("processes, %s", (_, way) => {
  const SLACK = (way.translateAfter ?? 1) > 1 ? 2 : 0;
  const machineOf = (): Machine => createMachine({ ...way, memoryBytes: 2 << 20 });
  const PROGRAM = `
    li a0, 0
    li s0, 100
  next: mv a1, s0
    jal ra, f
    add a0, a0, a1
    sd a0, -8(sp)
    addi s0, s0, -1
    bnez s0, next
    ecall
  f: addi sp, sp, -16
    sd ra, 0(sp)
    slli a1, a1, 1
    jal ra, g
    ld ra, 0(sp)
    addi sp, sp, 16
    ret
  g: addi a1, a1, 1
    ret`;
  const RESULT = 100 * 101 + 100;

  test("a fork's child needs no translations of its own", () => {
    const machine = machineOf();
    const { stats } = machine.translator!;
    const parent = process(machine, A);
    machine.storeRange(A + CODE, assemble(PROGRAM).bytes);
    for (let turn = 0; turn < WARM; turn++) {
      expect(run(parent)).toBe(Exit.Ecall);
      expect(parent.getInt(10)).toBe(RESULT);
    }
    const { units, specialised, links, unlinks } = stats;
    expect(units).toBeGreaterThan(0);
    for (const base of [B, C]) {
      const child = process(machine, base, A);
      for (let turn = 0; turn < 5; turn++) {
        child.setInt(10, 0);
        expect(run(child)).toBe(Exit.Ecall);
        expect(child.getInt(10)).toBe(RESULT);
        expect(run(parent)).toBe(Exit.Ecall);
        expect(parent.getInt(10)).toBe(RESULT);
      }
    }
    // Where it gets hot first may be another place. Units for one place alone are not shared.
    const own = stats.units - units;
    if (way.engine === "eager") expect(own).toBe(stats.specialised - specialised);
    else expect(own).toBeLessThanOrEqual(SLACK);
    expect(stats.links).toBeGreaterThanOrEqual(links + 2);
    expect(stats.unlinks).toBe(unlinks);
  });

  test("switched in the middle of calls and loops, by fuel", () => {
    const machine = machineOf();
    const harts = [A, B, C].map((base) => {
      const hart = process(machine, base);
      machine.storeRange(base + CODE, assemble(PROGRAM).bytes);
      hart.pc = CODE;
      hart.setInt(2, SIZE / 2);
      return hart;
    });
    const left = new Set(harts);
    for (let turn = 0; left.size > 0; turn++) {
      const hart = harts[turn % 3]!;
      if (left.has(hart) && hart.run(turn % 2 === 0 ? 1 + (turn % 5) : 64 + (turn % 7)) === Exit.Ecall) left.delete(hart);
      expect(turn).toBeLessThan(5000);
    }
    expect(harts.map((hart) => hart.getInt(10))).toEqual([RESULT, RESULT, RESULT]);
    expect(new Set(harts.map((hart) => hart.instructions)).size).toBe(1);
  });

  test("a shared page that jumps to, calls and returns into a page that differs runs each one's own", () => {
    const machine = machineOf();
    const { stats } = machine.translator!;
    // The first page is the same everywhere; it does all that leads to the second one.
    const shared = `
      li s0, 60
      la s1, table
    next: jal ra, own
      la t0, own
      jalr t0
      ld t0, 0(s1)
      jalr t0
      la t0, back
      la ra, own2
      ret
    back: jal t0, own3
      j own4
    again: addi s0, s0, -1
      bnez s0, next
      ecall
      .align 3
    table: .dword own`;
    const own = (step: number): string => `
    own: addi a0, a0, ${step}
      ret
    own2: addi a1, a1, ${step * 2}
      jr t0
    own3: addi a2, a2, ${step * 3}
      jr t0
    own4: addi a3, a3, ${step * 5}
      j again`;
    const harts = [A, B, C].map((base, index) => {
      const hart = process(machine, base);
      const filler = ".align 12\n";
      machine.storeRange(base + CODE, assemble(`${shared}\n${filler}${own(index + 1)}`).bytes);
      return hart;
    });
    for (let turn = 1; turn <= WARM; turn++) {
      harts.forEach((hart, index) => {
        expect(run(hart, CODE, 65 + turn * 3)).toBe(Exit.Ecall);
        const step = (index + 1) * 60 * turn;
        expect([10, 11, 12, 13].map((register) => hart.getInt(register))).toEqual([3 * step, 2 * step, 3 * step, 5 * step]);
      });
    }
    expect(stats.units).toBeGreaterThan(0);
    const { units } = stats;
    for (const hart of harts) run(hart);
    expect(stats.units).toBe(units);
  });

  test("one of two writes its code: the other's stays as it is", () => {
    const machine = machineOf();
    const a = process(machine, A);
    machine.storeRange(A + CODE, assemble(PROGRAM).bytes);
    for (let turn = 0; turn < WARM; turn++) run(a);
    const b = process(machine, B, A);
    for (let turn = 0; turn < WARM; turn++) run(b);
    const g = assemble(PROGRAM).label("g");
    machine.storeRange(B + g, assemble("addi a1, a1, 2").bytes);
    for (let turn = 0; turn < WARM; turn++) {
      expect(run(b)).toBe(Exit.Ecall);
      expect(b.getInt(10)).toBe(RESULT + 100);
      expect(run(a)).toBe(Exit.Ecall);
      expect(a.getInt(10)).toBe(RESULT);
    }
    // And back: what was known is linked again.
    const { units } = machine.translator!.stats;
    machine.storeRange(B + g, assemble("addi a1, a1, 1").bytes);
    for (let turn = 0; turn < WARM; turn++) run(b);
    expect(b.getInt(10)).toBe(RESULT);
    expect(machine.translator!.stats.units - units).toBeLessThanOrEqual(SLACK);
  });

  test("equal code that one of them may not execute, or whose window ends before it", () => {
    const machine = machineOf();
    const a = process(machine, A);
    // Code that goes on into the next page.
    const at = CODE + PAGE - 8;
    machine.storeRange(A + at, assemble("li s0, 30\nnext: addi a0, a0, 1\naddi s0, s0, -1\nbnez s0, next\necall", at).bytes);
    for (let turn = 0; turn < 5; turn++) expect(run(a, at)).toBe(Exit.Ecall);
    const b = process(machine, B, A);
    machine.protect(B + CODE + PAGE, PAGE, Prot.Read);
    for (let turn = 0; turn < 5; turn++) {
      expect(run(b, at)).toBe(Exit.Trap);
      expect(b.pc).toBe(CODE + PAGE);
    }
    const c = process(machine, C, A);
    c.pcc = region(C, CODE + PAGE);
    for (let turn = 0; turn < 5; turn++) {
      expect(run(c, at)).toBe(Exit.Trap);
      expect(c.pc).toBe(CODE + PAGE);
    }
    expect(run(a, at)).toBe(Exit.Ecall);

    // Straight code that names no address, over the end of a window.
    const last = CODE + 4 * PAGE;
    for (const base of [A, C]) machine.storeRange(base + last - 4, assemble(`${"addi a0, a0, 1\n".repeat(20)}ecall`, last - 4).bytes);
    for (let turn = 0; turn < WARM; turn++) expect(run(a, last - 4)).toBe(Exit.Ecall);
    c.pcc = region(C, last + 64);
    for (let turn = 0; turn < WARM; turn++) {
      c.setInt(10, 0);
      expect(run(c, last - 4)).toBe(Exit.Trap);
      expect([c.pc, c.getInt(10)]).toEqual([last + 64, 17]);
    }
  });

  test("windows of code that overlap: the same bytes at several pcs", () => {
    const machine = machineOf();
    const harts = [0, PAGE, 2 * PAGE, 0x800].map((shift) => {
      const hart = process(machine, A);
      hart.ddc = region(B, SIZE);
      hart.pcc = region(A + shift, SIZE - shift);
      return { hart, shift };
    });
    // auipc tells them apart.
    machine.storeRange(A + 4 * PAGE, assemble("li s0, 40\nnext: auipc a1, 0\njal a2, on\non: addi s0, s0, -1\nbnez s0, next\necall").bytes);
    for (let turn = 0; turn < 10; turn++) {
      for (const { hart, shift } of harts) {
        const pc = 4 * PAGE - shift;
        expect(run(hart, pc, 65 + turn * 7)).toBe(Exit.Ecall);
        expect([hart.getInt(11), hart.getInt(12)]).toEqual([pc + 4, pc + 12]);
      }
    }
    // The same window with another end.
    const { hart } = harts[0]!;
    for (const length of [4 * PAGE, SIZE, 5 * PAGE, 4 * PAGE]) {
      hart.pcc = region(A, length, Perm.All);
      for (let turn = 0; turn < 3; turn++) expect(run(hart, 4 * PAGE)).toBe(length < 5 * PAGE ? Exit.Trap : Exit.Ecall);
    }
  });

  test("one process after the other in the same place, with other programs", () => {
    const machine = machineOf();
    const hart = process(machine, A);
    const programs = Array.from({ length: 6 }, (__, at) => assemble(PROGRAM.replace("addi a1, a1, 1", `addi a1, a1, ${at}`)).bytes);
    for (let turn = 0; turn < 3; turn++) {
      programs.forEach((bytes, at) => {
        machine.protect(A, SIZE, 0);
        machine.zeroRange(A, SIZE);
        machine.protect(A, SIZE, ALL);
        machine.storeRange(A + CODE, bytes);
        for (let again = 0; again < WARM; again++) expect(run(hart)).toBe(Exit.Ecall);
        expect(hart.getInt(10)).toBe(100 * 101 + 100 * at);
      });
    }
    const { units } = machine.translator!.stats;
    for (const bytes of programs) {
      machine.storeRange(A + CODE, bytes);
      for (let again = 0; again < WARM; again++) run(hart);
    }
    expect(machine.translator!.stats.units).toBeLessThanOrEqual(units + SLACK);
  });
});
