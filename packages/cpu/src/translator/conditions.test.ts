/** States of a hart that code is not translated for, and changes between them: translated code steps aside or is right. */
import { describe, expect, test } from "vitest";
import { Cause, Exit, Perm, Prot, type MachineOptions } from "../abi.ts";
import { Assembler, assembleInto } from "../assembler/index.ts";
import * as capability from "../capability/index.ts";
import { BASE, CODE, DATA, DATA_BYTES, LENGTH, PAGE, region, root, same, Twins, WAYS } from "./twins.test.support.ts";

const KERNEL = `
    li s0, 40
  next: ld a1, 0(a0)
    add a1, a1, s0
    sd a1, 8(a0)
    lb a2, -3(a0)
    jal ra, f
    fadd.d fa0, fa0, fa1
    addi a0, a0, 8
    addi s0, s0, -1
    bnez s0, next
    ecall
  f: sd a2, 16(a0)
    addi a3, a3, 1
    ret`;

describe.each(WAYS)("conditions of translated code, %s", (_, way) => {
  const each = (name: string, prepare: (twins: Twins) => void, options: MachineOptions = {}, start = CODE): void => {
    const twins = new Twins(way, options);
    twins.put(KERNEL, start);
    const begin = (): void => {
      twins.start(start);
      twins.setX(10, DATA + 64);
    };
    // In good conditions first, so that there are translations.
    for (let turn = 0; turn < 3; turn++) {
      begin();
      expect(twins.finish(), name).toBe(Exit.Ecall);
    }
    prepare(twins);
    for (const fuel of [1000, 1, 67, 1000]) {
      begin();
      twins.finish(fuel);
    }
  };
  const hart = (change: (hart: Twins["translated"]["hart"]) => void) => (twins: Twins) => twins.each((side) => change(side.hart));

  test.each<[string, (twins: Twins) => void]>([
    ["each rounding mode", hart((h) => (h.fcsr = 0x20))],
    ["a rounding mode that does not exist", hart((h) => (h.fcsr = 0xa0))],
    ["a capability in a register that is not used", hart((h) => h.setCapability(30, region()))],
    ["a capability in one that is overwritten", hart((h) => h.setCapability(11, region()))],
    ["a capability in one that is added to", hart((h) => h.setCapability(13, region()))],
    ["DDC with an address other than its base", hart((h) => (h.ddc = capability.setAddress(region(), BASE + 128)))],
    ["DDC with an address below its base", hart((h) => (h.ddc = capability.setAddress(region(BASE + 4096, LENGTH - 4096), BASE)))],
    ["DDC of one page", hart((h) => (h.ddc = region(BASE + DATA, PAGE)))],
    ["DDC of 8 KiB less 16", hart((h) => (h.ddc = capability.setAddress(region(BASE + DATA, 2 * PAGE - 16), BASE)))],
    ["DDC of 64 bytes", hart((h) => (h.ddc = region(BASE + DATA + 64, 64)))],
    ["DDC without a tag", hart((h) => (h.ddc = capability.clearTag(region())))],
    ["a sealed DDC", hart((h) => (h.ddc = capability.sealEntry(region())))],
    ["DDC over all of the address space", hart((h) => (h.ddc = root))],
    ["DDC over all, with an address", hart((h) => (h.ddc = capability.setAddress(root, BASE)))],
    ["DDC that may only load", hart((h) => (h.ddc = region(BASE, LENGTH, Perm.Load)))],
    ["DDC that may only store", hart((h) => (h.ddc = region(BASE, LENGTH, Perm.Store)))],
    ["DDC with a base that is not aligned", hart((h) => (h.ddc = region(BASE + 16, LENGTH - 32)))],
    [
      "PCC with a base within a page",
      (twins) => {
        twins.put(KERNEL, CODE + 0x240);
        hart((h) => (h.pcc = region(BASE + 0x240, LENGTH - 0x240)))(twins);
      },
    ],
    ["PCC that ends in the code", hart((h) => (h.pcc = region(BASE, CODE + 24)))],
    ["PCC that ends at the function", hart((h) => (h.pcc = region(BASE, CODE + 40)))],
    ["PCC that ends with the code's page", hart((h) => (h.pcc = region(BASE, CODE + PAGE)))],
    ["PCC without permission to execute", hart((h) => (h.pcc = region(BASE, LENGTH, Perm.Load)))],
    ["PCC without a tag", hart((h) => (h.pcc = capability.clearTag(region())))],
    ["PCC over all", hart((h) => (h.pcc = capability.setAddress(root, BASE)))],
    ["capability mode", hart((h) => (h.pcc = capability.setFlag(region(), 1)))],
  ])("%s", (name, prepare) => {
    each(name, prepare);
    each(name, prepare, { checkLoads: false });
    each(name, prepare, { tagClearing: false });
  });

  test("DDC that gets smaller and larger again and again: what was made for the larger is not run with the smaller", () => {
    const twins = new Twins(way);
    twins.put(KERNEL);
    const other = CODE + 0x400;
    twins.put("li s0, 40\nnext: addi s0, s0, -1\nbnez s0, next\necall", other);
    const run = (length: number, pc: number, exit: number): void => {
      twins.each(({ hart: h }) => (h.ddc = region(BASE, length)));
      for (let turn = 0; turn < 8; turn++) {
        twins.start(pc);
        twins.setX(10, DATA + 3 * PAGE);
        expect(twins.finish()).toBe(exit);
      }
    };
    const small = DATA + 3 * PAGE;
    run(LENGTH, CODE, Exit.Ecall);
    // Nothing is translated for the kernel with the small one, so that what there is might be taken.
    run(small, other, Exit.Ecall);
    run(LENGTH, CODE, Exit.Ecall);
    run(small, CODE, Exit.Trap);
    expect(twins.interpreted.hart.trapCause).toBe(Cause.Cheri);
  });

  test("without relocation", () => {
    const twins = new Twins(way, { relocation: false });
    twins.put(KERNEL);
    for (const fuel of [1000, 1, 5]) {
      twins.start(BASE + CODE);
      twins.setX(10, BASE + DATA);
      expect(twins.finish(fuel)).toBe(Exit.Ecall);
    }
    // DDC and PCC over all: offsets are addresses in either way.
    twins.each(({ hart: h }) => {
      h.ddc = root;
      h.pcc = root;
    });
    for (const fuel of [1000, 1, 5, 66, 1000]) {
      twins.start(BASE + CODE);
      twins.setX(10, BASE + DATA);
      expect(twins.finish(fuel)).toBe(Exit.Ecall);
    }
    expect(twins.translator.stats.units).toBeGreaterThan(0);
  });

  test("a hot loop that switches between states of its own: rounding, capabilities, DDC", () => {
    // What c31 and c30 hold is given; a1 = 0 … 3 says what happens at this turn.
    const text = `
      li s0, 200
    next: andi t0, s0, 31
      fadd.d fa0, fa0, fa1
      fdiv.d fa2, fa0, fa1
      ld a1, 0(a0)
      addi a1, a1, 3
      sd a1, 0(a0)
      li t1, 31
      beq t0, t1, up
      li t1, 23
      beq t0, t1, nearest
      li t1, 19
      beq t0, t1, take
      li t1, 12
      beq t0, t1, drop
      li t1, 8
      beq t0, t1, move
      li t1, 4
      beq t0, t1, restore
    on: addi s0, s0, -1
      bnez s0, next
      ecall
    up: csrrwi zero, frm, 3
      j on
    nearest: csrrwi zero, frm, 0
      j on
    take: cmove ct2, c31
      j on
    drop: li t2, 0
      j on
    move: cspecialrw cnull, ddc, c30
      j on
    restore: cspecialrw cnull, ddc, c31
      j on`;
    const twins = new Twins(way);
    twins.put(text);
    for (const fuel of [100_000, 1, 67, 75, 100]) {
      for (const address of [BASE, BASE + 64]) {
        twins.each(({ hart: h }) => {
          h.ddc = region();
          h.setCapability(31, region());
          h.setCapability(30, capability.setAddress(region(), address));
          h.setF(11, 0x3fb9_9999_9999_999an);
          h.setF(10, 0x3ff0_0000_0000_0001n);
          h.setInt(10, DATA);
          h.fcsr = 0;
          h.pc = CODE;
        });
        expect(twins.finish(fuel)).toBe(Exit.Ecall);
      }
    }
  });

  test("calls between integer mode and capability mode, and into a window of its own, from a hot loop", () => {
    const twins = new Twins(way);
    const label = twins.put(`
      li s0, 60
    next: addi a1, a1, 1
      jalr.cap c1, c20
      addi a2, a2, 1
      jalr.cap c1, c21
      addi s0, s0, -1
      bnez s0, next
      ecall
      .align 12
    window: addi a3, a3, 1
      auipc a4, 0
      add a5, a5, a4
      jalr.cap c0, c1`);
    const other = new Assembler({ origin: 0x8000, mode: "cap" });
    assembleInto(other, "addi a6, a6, 1\ncjalr c0, 0(c1)");
    twins.each(({ machine, hart: h }) => {
      machine.storeRange(BASE + 0x8000, other.assemble());
      h.setCapability(20, capability.setAddress(region(BASE + label("window"), PAGE), BASE + label("window")));
      h.setCapability(21, capability.setFlag(capability.setAddress(region(), BASE + 0x8000), 1));
    });
    for (const fuel of [100_000, 1, 66]) {
      twins.start();
      expect(twins.finish(fuel)).toBe(Exit.Ecall);
    }
  });

  test("rights of pages beside those of DDC", () => {
    const twins = new Twins(way);
    twins.put(KERNEL);
    for (const prot of [0, Prot.Read, Prot.Write, Prot.Read | Prot.Write, Prot.Read | Prot.Execute]) {
      for (const fuel of [1000, 66]) {
        twins.each(({ machine }) => machine.protect(BASE + DATA, PAGE, prot));
        twins.start();
        twins.setX(10, DATA + PAGE - 160);
        twins.finish(fuel);
      }
    }
    twins.each(({ machine }) => machine.protect(BASE + DATA, DATA_BYTES, Prot.Read | Prot.Write));
  });

  test("flags of floating point: read in the middle, set by hand, before and after the inexact one", () => {
    same(
      way,
      `
      li s0, 64
    next: fadd.d fa0, fa0, fa1
      frflags t0
      add s1, s1, t0
      andi t1, s0, 7
      bnez t1, on
      fsflags zero
      fdiv.d fa3, fa0, fa4
      fsflags t2, t1
      add s2, s2, t2
    on: fmul.d fa5, fa0, fa0
      fsqrt.d fa6, fa5
      fcvt.l.d t3, fa6
      fcvt.s.d ft0, fa6
      fmadd.d fa1, fa1, fa0, fa6
      frcsr t4
      sd t4, 0(a0)
      addi a0, a0, 8
      addi s0, s0, -1
      bnez s0, next
      ecall`,
      {
        prepare: ({ hart: h }) => {
          for (let register = 0; register < 32; register++)
            h.setF(register, register === 14 ? 0n : 0x3ff0_0000_0000_0000n + BigInt(register) * 0x1_2345_6789n);
        },
      },
    );
  });
});
