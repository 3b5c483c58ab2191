/** Translated code whose bytes or whose right to run changes: from then on it is not used, and what did not change is. */
import { describe, expect, test } from "vitest";
import { Cause, Exit, Prot } from "../abi.ts";
import * as capability from "../capability/index.ts";
import { assemble, BASE, CODE, DATA, PAGE, region, same, Twins, WAYS } from "./twins.test.support.ts";

const word = (line: string): number => new DataView(assemble(line).bytes.slice().buffer).getUint32(0, true);
const ALL = Prot.Read | Prot.Write | Prot.Execute;

describe.each(WAYS)("guests that change their code, %s", (_, way) => {
  const FENCES: readonly string[] = ["", "fence.i"];
  test.each(FENCES)("each instruction of a hot loop, from within it: the one before the store, the next ones (%s)", (fence) => {
    // s2 goes over the loop's own instructions; every 8th turn one is replaced by another, the turn after it comes back.
    same(
      way,
      `
      la s2, first
      la s4, last
      li s0, 200
      li s3, ${word("addi a1, a1, 64")}
    next: addi s0, s0, -1
    first: addi a1, a1, 1
      addi a2, a2, 2
      andi t0, s0, 7
      bnez t0, skip
      lw s5, 0(s2)
      sw s3, 0(s2)
      ${fence}
      j skip
    skip: addi a3, a3, 3
      addi a4, a4, 4
      li t1, 7
      bne t0, t1, last
      sw s5, 0(s2)
      ${fence}
      addi s2, s2, 4
      blt s2, s4, last
      la s2, first
    last: bnez s0, next
      ecall`,
      {
        prepare: ({ hart }, label) => {
          // At the first turns nothing was replaced yet: what is put back is what is there.
          hart.setInt(21, word("addi a1, a1, 1"));
          hart.setInt(18, label("first"));
        },
        exit: Exit.Ecall,
      },
    );
  });

  test("a store into the next instruction, which is the first of the loop each other time", () => {
    same(
      way,
      `
      li s0, 100
      la s1, patched
      li s2, ${word("addi a1, a1, 1")}
      li s3, ${word("addi a1, a1, 100")}
    next: mv t0, s2
      mv s2, s3
      mv s3, t0
      sw t0, 0(s1)
    patched: addi a1, a1, 0
      addi s0, s0, -1
      bnez s0, next
      ecall`,
    );
  });

  test("a loop that turns its own branch back into one forward", () => {
    const { translated } = same(
      way,
      `
      la s1, branch
      lw s2, 0(s1)
      li s0, 60
      li s3, ${word("addi zero, zero, 0")}
    next: addi s0, s0, -1
      addi a1, a1, 1
      li t0, 9
      bne s0, t0, branch
      sw s3, 0(s1)
    branch: bnez s0, next
      sw s2, 0(s1)
      addi a2, a2, 1
      bnez s0, next
      ecall`,
    );
    expect([translated.hart.getInt(11), translated.hart.getInt(12)]).toEqual([60, 2]);
  });

  test("an inlined function, and one that others call, are rewritten while their callers are hot", () => {
    same(
      way,
      `
      la s1, leaf
      la s2, saver
      li s0, 120
      li s3, ${word("addi a1, a1, 1")}
    next: jal ra, leaf
      jal ra, saver
      xor t0, s0, a1
      andi t0, t0, 15
      bnez t0, on
      slli t1, s0, 20
      add t1, t1, s3
      sw t1, 0(s1)
      sw t1, 8(s2)
    on: addi s0, s0, -1
      bnez s0, next
      ecall
    leaf: addi a1, a1, 1
      ret
    saver: addi sp, sp, -16
      sd ra, 0(sp)
      addi a1, a1, 3
      jal ra, leaf
      ld ra, 0(sp)
      addi sp, sp, 16
      ret`,
    );
  });

  test("stores of each size at each distance from an instruction of a hot loop", () => {
    const near: string[] = [];
    for (const [store, size] of [
      ["sb", 1],
      ["sh", 2],
      ["sw", 4],
      ["sd", 8],
    ] as const) {
      for (let distance = -size - 1; distance <= 5; distance++) near.push(`${store} ${distance}`);
    }
    const twins = new Twins(way);
    for (const each of near) {
      const [store, distance] = each.split(" ") as [string, string];
      const label = twins.put(`
        li s0, 30
      next: addi a1, a1, 1
        addi a1, a1, 1
      target: addi a1, a1, 1
        addi a1, a1, 1
        addi a1, a1, 1
        addi s0, s0, -1
        bnez s0, next
        ecall
      write: ${store} s1, 0(s2)
        ecall`);
      const at = label("target") + Number(distance);
      const bytes = twins.translated.machine.readBytes(BASE + at, 8);
      // addi a1, a1, 1 becomes addi a3, a1, 1 where the byte with the upper bits of rd is among them.
      const changed = bytes.map((byte, index) => (((at + index - label("target")) & 3) === 1 ? byte ^ 1 : byte));
      for (const value of [changed, bytes]) {
        twins.start();
        expect(twins.finish()).toBe(Exit.Ecall);
        twins.setX(9, new DataView(value.slice().buffer).getBigUint64(0, true));
        twins.setX(18, at);
        twins.start(label("write"));
        expect(twins.finish()).toBe(Exit.Ecall);
      }
      twins.start();
      expect(twins.finish()).toBe(Exit.Ecall);
    }
  });

  test("capabilities and atomics stored over code", () => {
    const twins = new Twins(way);
    const label = twins.put(`
      li s0, 30
    next: addi a1, a1, 1
      jal ra, leaf
      addi s0, s0, -1
      bnez s0, next
      ecall
      .align 4
    leaf: addi a2, a2, 1
      ret
      addi a2, a2, 1
      ret
    swap: amoswap.w a3, a4, (s1)
      ecall
    copy: sc c14, 0(s1)
      ecall
    store: lr.d t0, (s1)
      sc.d t1, a4, (s1)
      ecall`);
    const run = (at: string, value: number | bigint): void => {
      twins.setX(9, label("leaf"));
      twins.setX(14, value);
      twins.start(label(at));
      expect(twins.finish()).toBe(Exit.Ecall);
      twins.start();
      expect(twins.finish()).toBe(Exit.Ecall);
    };
    twins.start();
    expect(twins.finish()).toBe(Exit.Ecall);
    const ret = BigInt(word("ret")) << 32n;
    run("swap", word("addi a2, a2, 7"));
    run("store", ret | BigInt(word("addi a2, a2, 9")));
    run("copy", ret | BigInt(word("addi a2, a2, 11")));
    expect(twins.translated.hart.getInt(12)).toBe(30 * (1 + 7 + 9 + 11));
  });

  test("a guest that compiles: thousands of functions, written, run, and written again", () => {
    same(
      way,
      `
      li s0, 1500
      li s1, 0x6000
      li s2, ${word("addi a1, a1, 0") | 0}
      li s3, ${word("xor a1, a1, s0") | 0}
      li s4, ${word("bltz a1, . + 8") | 0}
      li s5, ${word("ret") | 0}
    next: andi t0, s0, 31
      slli t1, t0, 6
      add s6, s1, t1
      slli t1, s0, 20
      add t1, t1, s2
      sw t1, 0(s6)
      sw s3, 4(s6)
      sw s4, 8(s6)
      sw t1, 12(s6)
      sw s5, 16(s6)
      fence.i
      li s7, 3
    again: jalr s6
      addi s7, s7, -1
      bnez s7, again
      addi s0, s0, -1
      bnez s0, next
      ecall`,
      { fuels: [100_000, 71] },
    );
  });

  test("trusted code writes, clears and copies: what stands there then is what runs", () => {
    const twins = new Twins(way);
    const loop = (step: number): Uint8Array =>
      assemble(`li s0, 40\nnext: addi a1, a1, ${step}\naddi s0, s0, -1\nbnez s0, next\necall`).bytes;
    const run = (exit: number = Exit.Ecall): void => {
      for (let turn = 0; turn < 2; turn++) {
        twins.start();
        expect(twins.finish()).toBe(exit);
      }
    };
    for (let step = 1; step < 40; step++) {
      twins.each(({ machine }) => machine.storeRange(BASE + CODE, loop(step)));
      run();
      // Four bytes in the middle, a page elsewhere, a copy over it, nothing.
      twins.each(({ machine }) => machine.storeRange(BASE + CODE + 4, loop(step + 1).subarray(4, 8)));
      run();
      twins.each(({ machine }) => machine.storeRange(BASE + CODE + PAGE, loop(step)));
      twins.each(({ machine }) => machine.copyRange(BASE + CODE + PAGE, BASE + CODE, 2 + (step % 3) * 10));
      run();
      twins.each(({ machine }) => machine.zeroRange(BASE + CODE + 8, step % 2));
      run(step % 2 === 0 ? Exit.Ecall : Exit.Trap);
      twins.each(({ machine }) => machine.zeroRange(BASE + CODE, PAGE));
      run(Exit.Trap);
    }
  });

  test("pages that may not run any more, and again", () => {
    const twins = new Twins(way);
    // A loop over two pages with a call to a third.
    const label = twins.put(
      `
      li s0, 30
    next: addi a1, a1, 1
      jal ra, other
      addi s0, s0, -1
      bnez s0, next
      ecall
      .align 12
    other: addi a2, a2, 1
      ret`,
      CODE + PAGE - 12,
    );
    const start = CODE + PAGE - 12;
    const pages = [CODE, CODE + PAGE, label("other")];
    const run = (): number => {
      twins.start(start);
      twins.setX(8, 0);
      return twins.finish(80);
    };
    expect(run()).toBe(Exit.Ecall);
    const { stats } = twins.translator;
    for (let turn = 0; turn < 3; turn++) {
      for (const page of pages) {
        for (const prot of [Prot.Read | Prot.Write, 0, Prot.Read]) {
          const units = stats.units;
          twins.each(({ machine }) => machine.protect(BASE + page, PAGE, prot));
          expect(run()).toBe(Exit.Trap);
          expect(twins.interpreted.hart.trapCause).toBe(Cause.FetchPage);
          twins.each(({ machine }) => machine.protect(BASE + page, PAGE, ALL));
          expect(run()).toBe(Exit.Ecall);
          // The bytes are the same: nothing is translated a second time, but what the first trap made new; after 20 visits also what the second turn reaches often enough.
          if (way.specialiseAfter === undefined && turn > (way.translateAfter === 20 ? 1 : 0)) expect(stats.units).toBe(units);
        }
      }
    }
    // Only its writing changes: what was translated stays linked.
    const { unlinks } = stats;
    twins.each(({ machine }) => machine.protect(BASE + CODE, 3 * PAGE, Prot.Read | Prot.Execute));
    expect(run()).toBe(Exit.Ecall);
    expect(stats.unlinks).toBe(unlinks);
  });

  test("a place where nothing could be translated, and then something can", () => {
    const twins = new Twins(way);
    for (const nothing of ["ecall", "ebreak", ".word 0"]) {
      twins.put(nothing);
      for (let turn = 0; turn < 30; turn++) {
        twins.start();
        twins.finish();
      }
      const { links } = twins.translator.stats;
      twins.put("self: addi a1, a1, 1\nbnez a1, self");
      twins.start();
      for (let turn = 0; turn < 3; turn++) expect(twins.run(1000)).toBe(Exit.Fuel);
      expect(twins.translator.stats.links).toBeGreaterThan(links);
    }
  });

  test("code that cannot be written and is mapped elsewhere, changed by trusted code while a run is interrupted", () => {
    const twins = new Twins(way);
    const text = (step: number): string => `next: addi a1, a1, ${step}\naddi a2, a2, 1\nxor a3, a3, a1\nj next`;
    twins.put(text(1));
    twins.start();
    for (let step = 1; step < 60; step++) {
      expect(twins.run(60 + (step % 40))).toBe(Exit.Fuel);
      twins.put(text(step));
    }
  });

  test("data beside code on its page: stores that change no code", () => {
    const twins = new Twins(way);
    const label = twins.put(`
      la s1, data
      li s0, 500
    next: ld a1, 0(s1)
      addi a1, a1, 1
      sd a1, 0(s1)
      addi s0, s0, -1
      bnez s0, next
      ecall
      .align 3
    data: .dword 0`);
    for (let turn = 0; turn < 3; turn++) {
      twins.start();
      expect(twins.finish()).toBe(Exit.Ecall);
    }
    expect(twins.translated.machine.readU64(BASE + label("data"))).toBe(1500);
    // What is translated anew because its stores leave so often is unlinked; 1,500 stores unlink nothing.
    expect(twins.translator.stats.unlinks).toBeLessThan(10);
    expect(twins.translator.stats.units).toBeGreaterThan(0);
  });

  test("tags over code, and code pages that get their first capability", () => {
    const twins = new Twins(way);
    const label = twins.put(`
      li s0, 50
    next: addi a1, a1, 1
      sd a1, 0(s1)
      addi s0, s0, -1
      bnez s0, next
      ecall
      .align 4
    data: .dword 0, 0, 0, 0`);
    for (const at of ["data", "next"]) {
      for (let turn = 0; turn < 3; turn++) {
        twins.setX(9, label("data") + 8 * turn);
        twins.start();
        const exit = twins.finish();
        twins.each(({ machine }) => machine.storeCapability(BASE + (label(at) & -16) + 16, capability.setAddress(region(), DATA)));
        expect(exit === Exit.Ecall || at === "next").toBe(true);
      }
    }
  });
});
