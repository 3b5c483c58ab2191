import { describe, expect, test } from "vitest";
import { Cause, Exit, Prot } from "../abi.ts";
import { Assembler, assembleInto } from "../assembler/index.ts";
import { ENGINES } from "../engines.test.support.ts";
import { createMachine } from "./machine.ts";
import { BASE, CODE, expectEcall, load, openMachine, root } from "./program.test.support.ts";

describe.each(ENGINES)("code that changes, %s", (engine) => {
  test("a store into code is seen by the next instruction, without fence.i", () => {
    const p = load(
      `
      la t0, patch
      li t1, 0x00a00513 # li a0, 10
      li a1, 2
    again: sw t1, 0(t0)
    patch: li a0, 1
      addi a1, a1, -1
      mv t1, t2
      bnez a1, again
      ecall`,
      { engine },
    );
    p.hart.setInt(7, 0x01400513); // li a0, 20
    expectEcall(p);
    expect(p.hart.getInt(10)).toBe(20);
  });
  test.each([
    [-2, 0x4699, 13, 6], // the instruction before: c.li a3, 6
    [0, 0x0093, 1, 1], // its lower half: addi ra, zero, 1
    [2, 0x0070, 10, 7], // its upper half: addi a0, zero, 7
  ])("a store of 2 bytes at %i from a 4-byte instruction", (distance, bits, register, value) => {
    const p = load(
      `
      li a1, 2
    again: c.nop
    patch: addi a0, zero, 1
      c.nop
      sh t1, 0(t0)
      addi a1, a1, -1
      bnez a1, again
      ecall`,
      { engine },
    );
    p.hart.setInt(5, p.label("patch") + distance);
    p.hart.setInt(6, bits);
    expectEcall(p);
    expect(p.hart.getInt(register)).toBe(value);
  });
  test("a store that changes the instruction right behind it, of which both were one pair", () => {
    // c.sd and the first c.addi are a pair.
    const p = load(
      `
      li a1, 3
    again: c.sd a3, 0(a0)
    patch: c.addi a2, 2
      c.addi a4, 1
      c.addi a4, 1
      c.addi a4, 1
      mv a3, a5
      addi a1, a1, -1
      bnez a1, again
      ecall`,
      { engine },
    );
    p.hart.setInt(10, p.label("patch"));
    const original = p.machine.readBytes(BASE + p.label("patch"), 8);
    p.hart.setX(13, new DataView(original.buffer).getBigUint64(0, true)); // first round: the same bytes
    p.hart.setX(15, 0x0705_0705_0705_0641n); // then: c.addi a2, 16 and c.addi a4, 1 three times
    expectEcall(p);
    expect(p.hart.getInt(12)).toBe(2 + 16 + 16);
    expect(p.hart.getInt(14)).toBe(9);
    expect(p.hart.instructions).toBe(1 + 3 * 8);
  });
  test("a store into the last bytes of the second instruction of a pair", () => {
    const p = load(
      `
      li a1, 2
    again: addi a2, zero, 1
    second: addi a3, zero, 1
      sh t1, 0(t0)
      addi a1, a1, -1
      bnez a1, again
      ecall`,
      { engine },
    );
    p.hart.setInt(5, p.label("second") + 2);
    p.hart.setInt(6, 0x0070); // addi a3, zero, 7
    expectEcall(p);
    expect([p.hart.getInt(12), p.hart.getInt(13)]).toEqual([1, 7]);
  });
  test("a straddling store reaches code on the next page", () => {
    const machine = openMachine(engine);
    const p = load("addi a0, zero, 1\n ecall", { engine, machine, at: CODE + 0x1000 });
    expectEcall(p);
    const writer = load(`li a0, ${CODE + 0xffc}\nsd a1, 0(a0)\necall`, { engine, machine });
    writer.hart.setX(11, 0x00500513_00000000n); // li a0, 5 in the upper half
    expectEcall(writer);
    p.hart.pc = CODE + 0x1000;
    expectEcall(p);
    expect(p.hart.getInt(10)).toBe(5);
  });
  test("the host's writes are seen too", () => {
    const p = load("li a0, 1\n ecall", { engine });
    expectEcall(p);
    p.machine.storeRange(BASE + CODE, Uint8Array.from([0x13, 0x05, 0x20, 0x00]));
    p.hart.pc = CODE;
    expectEcall(p);
    expect(p.hart.getInt(10)).toBe(2);
    p.machine.zeroRange(BASE + CODE, 4096);
    p.hart.pc = CODE;
    expect(p.run()).toBe(Exit.Trap);
    expect(p.hart.trapCause).toBe(Cause.IllegalInstruction);
  });
  test("more pages of code than there are blocks", () => {
    // 16 MiB of code: a jump in each page to the next one.
    const pages = 4096;
    const machine = createMachine({ engine, memoryBytes: 64 << 20 });
    machine.protect(0, pages * 4096, Prot.Read | Prot.Write | Prot.Execute);
    const word = new Assembler();
    assembleInto(word, "addi a0, a0, 1\n j . + 4092");
    const bytes = word.assemble();
    for (let page = 0; page < pages; page++) machine.storeRange(page * 4096, bytes);
    machine.storeRange((pages - 1) * 4096, Uint8Array.of(0x73, 0, 0, 0));
    const hart = machine.createHart();
    hart.ddc = root;
    hart.pcc = root;
    for (let round = 1; round <= 2; round++) {
      hart.pc = 0;
      let jumps = 0;
      while (hart.run(1_000_000) !== Exit.Ecall) if (jumps++ > 100) throw new Error(`stopped at ${hart.pc}`);
      expect(hart.getInt(10)).toBe(round * (pages - 1));
    }
  });
});
