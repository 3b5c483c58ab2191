/** Shapes of control flow: whatever they are, translated code does what the interpreter does, instruction by instruction. */
import { describe, expect, test } from "vitest";
import { Cause, Exit } from "../abi.ts";
import { GUEST } from "../machine/layout.ts";
import { assemble, BASE, CODE, DATA, same, Twins, WAYS, type Way } from "./twins.test.support.ts";

describe.each(WAYS)("control flow, %s", (_, way) => {
  test("nested loops", () => {
    const { translator } = same(
      way,
      `
      li s0, 5
    a: li s1, 4
    b: li s2, 3
    c: mul t0, s0, s1
      add t1, t1, t0
      xor t1, t1, s2
      addi s2, s2, -1
      bnez s2, c
      addi s1, s1, -1
      bnez s1, b
      sd t1, 0(a0)
      addi a0, a0, 8
      addi s0, s0, -1
      bnez s0, a
      ecall`,
    );
    expect(translator.stats.units).toBeGreaterThan(0);
  });

  test("a loop with two entries", () => {
    same(
      way,
      `
      li s0, 40
      li s1, 0
    again: andi t0, s0, 3
      beqz t0, second
    first: addi s1, s1, 3
      xor s2, s2, s1
    second: slli s2, s2, 1
      addi s1, s1, -1
      andi t1, s1, 4
      bnez t1, first
      addi s0, s0, -1
      bnez s0, again
      ecall`,
    );
  });

  test("a loop that is entered in the middle from a branch out of another with several entries", () => {
    same(
      way,
      `
      li s0, 300
      li s3, 1
    one: addi s0, s0, -1
      blez s0, end
      slli t0, s3, 3
      add s3, s3, t0
      addi s3, s3, 1
      andi t1, s3, 15
      li t2, 5
      bltu t1, t2, three
      li t2, 9
      bltu t1, t2, four
    two: addi s4, s4, 1
      andi t1, s3, 32
      beqz t1, four
    three: addi s5, s5, 1
      andi t1, s3, 64
      beqz t1, one
      andi t1, s3, 128
      addi s0, s0, -1
      bnez t1, two
    four: addi s6, s6, 1
      andi t1, s3, 256
      beqz t1, five
      addi s0, s0, -1
      bgtz s0, three
    five: addi s7, s7, 1
      j one
    end: ecall`,
    );
  });

  test("branches over one, two and three instructions", () => {
    same(
      way,
      `
      li s0, 60
      li s1, 12345
    next: slli t0, s1, 5
      xor s1, s1, t0
      srli t0, s1, 9
      xor s1, s1, t0
      andi t1, s1, 1
      beqz t1, over1
      addi s2, s2, 1
    over1: andi t1, s1, 2
      bnez t1, over2
      slli s3, s3, 1
      addi s3, s3, 1
    over2: blt s1, s2, over3
      mv s4, s1
      addi s4, s4, -7
      xor s4, s4, s3
    over3: bge s4, s3, over4
      mv s4, s3
    over4: beq s2, s3, over5
      add s5, s4, zero
      li s5, 9
      sub s2, s2, s5
      addi s2, s2, 9
    over5: bltu s4, s5, over6
      mv t6, s4
      mv s4, s5
      mv s5, t6
    over6: addi s0, s0, -1
      bnez s0, next
      ecall`,
    );
  });

  test("a branch over an instruction whose result its own condition and the loop's use", () => {
    same(
      way,
      `
      li s0, 50
    next: andi t0, s0, 5
      beqz t0, over
      mv t0, zero
    over: add s1, s1, t0
      bnez s1, over2
      addi s1, s1, 100
    over2: addi s0, s0, -1
      bgtz s0, next
      bltz s0, never
      ecall
    never: addi s0, s0, 1
      ecall`,
    );
  });

  test("a branch over an instruction that reads a floating-point register", () => {
    const { translated } = same(
      way,
      `
      li s0, 30
    next: andi t0, s0, 1
      beqz t0, over
      fmv.x.d a1, fa0
    over: add s1, s1, a1
      addi s0, s0, -1
      bnez s0, next
      ecall`,
      { prepare: ({ hart }) => hart.setF(10, 5n) },
    );
    expect(translated.hart.getInt(9)).toBe(145);
  });

  test("leaf functions, called forward and back, with loops, branches and several returns", () => {
    same(
      way,
      `
      j main
    low: addi a1, a1, 1
      ret
    main: li s0, 30
    next: mv a1, s0
      call low
      call high
      call branchy
      call looping
      add s1, s1, a1
      addi s0, s0, -1
      bnez s0, next
      ecall
    high: slli a1, a1, 1
      ret
    branchy: andi t0, a1, 3
      beqz t0, nothing
      li t1, 2
      beq t0, t1, two
      addi a1, a1, 5
      ret
    two: addi a1, a1, 7
    nothing: ret
    looping: andi t0, a1, 7
    more: blez t0, done
      addi a1, a1, 3
      addi t0, t0, -1
      j more
    done: ret`.replaceAll("call ", "jal ra, "),
    );
  });

  test("a leaf that reads ra, and one that is called with another link", () => {
    same(
      way,
      `
      li s0, 20
    next: jal ra, reads
      jal t0, other
      jal t1, third
      addi s0, s0, -1
      bnez s0, next
      ecall
    reads: add s1, s1, ra
      ret
    other: add s2, s2, t0
      jr t0
    third: add s3, s3, t1
      jr t1`,
    );
  });

  test("recursion, mutual recursion, and calls in a function that saves ra", () => {
    const { translated } = same(
      way,
      `
      li a1, 11
      jal ra, fib
      mv s1, a2
      li a1, 25
      jal ra, even
      mv s2, a2
      ecall
    fib: li t0, 2
      blt a1, t0, small
      addi sp, sp, -32
      sd ra, 0(sp)
      sd a1, 8(sp)
      addi a1, a1, -1
      jal ra, fib
      sd a2, 16(sp)
      ld a1, 8(sp)
      addi a1, a1, -2
      jal ra, fib
      ld t0, 16(sp)
      add a2, a2, t0
      ld ra, 0(sp)
      addi sp, sp, 32
      ret
    small: mv a2, a1
      ret
    even: li a2, 1
      beqz a1, back
      addi a1, a1, -1
      addi sp, sp, -16
      sd ra, 0(sp)
      jal ra, odd
      ld ra, 0(sp)
      addi sp, sp, 16
    back: ret
    odd: li a2, 0
      beqz a1, back
      addi a1, a1, -1
      addi sp, sp, -16
      sd ra, 0(sp)
      jal ra, even
      ld ra, 0(sp)
      addi sp, sp, 16
      ret`,
    );
    expect([translated.hart.getInt(9), translated.hart.getInt(18)]).toEqual([89, 0]);
  });

  test("indirect jumps through a table, and a computed goto that goes back into the loop", () => {
    same(
      way,
      `
      la s2, table
      li s0, 64
    next: andi t0, s0, 7
      slli t0, t0, 3
      add t0, t0, s2
      ld t0, 0(t0)
      jr t0
    c0: addi s1, s1, 1
      j done
    c1: addi s1, s1, 2
    c2: addi s1, s1, 3
      j done
    c3: slli s1, s1, 1
    done: addi s0, s0, -1
      bnez s0, next
      ecall
      .align 3
    table: .dword c0, c1, c2, c3, done, c0, c2, c1`,
    );
  });

  test("calls through a table, tail calls, direct and indirect", () => {
    same(
      way,
      `
      la s2, table
      li s0, 64
    next: andi t0, s0, 3
      slli t0, t0, 3
      add t0, t0, s2
      ld t0, 0(t0)
      mv a1, s0
      jalr t0
      add s1, s1, a1
      addi s0, s0, -1
      bnez s0, next
      ecall
    f0: addi a1, a1, 1
      ret
    f1: slli a1, a1, 1
      j f0
    f2: la t1, f1
      jr t1
    f3: addi sp, sp, -16
      sd ra, 0(sp)
      jal ra, f2
      ld ra, 0(sp)
      addi sp, sp, 16
      j f1
      .align 3
    table: .dword f0, f1, f2, f3`,
    );
  });

  test("returns that go elsewhere: past frames, to a switched address, through t0, to the function itself", () => {
    same(
      way,
      `
      li s0, 24
    next: addi sp, sp, -64
      la t0, landed
      sd t0, 0(sp)
      mv s3, sp
      li a1, 4
      jal ra, deep
      addi s4, s4, 1
    landed: addi sp, s3, 64
      jal ra, twice
    here: addi s5, s5, 1
      jal ra, skips
      addi s6, s6, 100
    skipped: jal t0, viaT0
      addi s7, s7, 1
      jal t0, viaRa
      addi s8, s8, 1
      addi s0, s0, -1
      bnez s0, next
      ecall
    deep: addi sp, sp, -16
      sd ra, 0(sp)
      addi a1, a1, -1
      beqz a1, throw
      jal ra, deep
      ld ra, 0(sp)
      addi sp, sp, 16
      ret
    throw: andi t1, s0, 1
      beqz t1, normal
      ld ra, 0(s3)
      ret
    normal: ld ra, 0(sp)
      addi sp, sp, 16
      ret
    twice: andi t1, s0, 1
      la t2, here
      beqz t1, plain
      mv ra, t2
    plain: ret
    skips: la ra, skipped
      ret
    viaT0: addi s9, s9, 1
      ret t0`.replace("ret t0", "jr t0") +
        `
    viaRa: mv ra, t0
      ret`,
    );
  });

  test("a call to the next instruction, and one whose return address is its own target", () => {
    same(
      way,
      `
      li s0, 20
    next: jal ra, on
    on: add s1, s1, ra
      jal ra, back
      addi s2, s2, 1
    back: addi s3, s3, 1
      andi t0, s3, 1
      beqz t0, even
      ret
    even: addi s0, s0, -1
      bgtz s0, next
      ecall`,
    );
  });

  test("jalr that links the register that it jumps through, with offsets, and with an odd target", () => {
    same(
      way,
      `
      li s0, 20
    next: la ra, f - 8
      jalr ra, 8(ra)
      la t1, f + 1
      jalr t1
      la t0, f + 4
      jalr t0, -4(t0)
      addi s0, s0, -1
      bnez s0, next
      ecall
    f: addi s1, s1, 1
      add s2, s2, ra
      add s2, s2, t0
      beqz t3, viaRa
    viaRa: andi t2, s1, 3
      addi s3, s3, 1
      li t3, 3
      remu t2, s1, t3
      li t3, 0
      beqz t2, viaT0
      ret
    viaT0: jr t0`,
    );
  });

  test("an indirect jump out of PCC and to code that does not exist", () => {
    for (const [target, cause] of [
      [0x4_0000, Cause.Cheri],
      [-2, Cause.Cheri],
      [0x3_0000, Cause.FetchPage],
      [0, Cause.FetchPage],
    ] as const) {
      const text = `
        li s0, 30
        la t1, good
        li t2, ${target}
      next: addi s0, s0, -1
        mv t0, t1
        bnez s0, over
        mv t0, t2
      over: jalr ra, 0(t0)
        j next
      good: addi s1, s1, 1
        ret`;
      const { interpreted } = same(way, text, { exit: Exit.Trap });
      expect(interpreted.hart.trapCause).toBe(cause);
    }
  });

  test("16-bit and 32-bit instructions, some of which straddle pages", () => {
    for (const filler of [0x7ea, 0x7eb, 0x7ec, 0x7ed, 0x7ee]) {
      same(
        way,
        `
        li s0, 25
        j over
      ${"c.nop\n".repeat(filler)}
      over: c.addi s1, 1
        addi s2, s2, 3
        c.mv s3, s2
        xor s4, s4, s3
        c.addi s0, -1
        sd s4, 8(a0)
        ld t0, 8(a0)
        c.add s5, t0
        c.bnez s0, over2
        ecall
      over2: bnez s0, over`,
        { fuels: [1000, 1, 67] },
      );
    }
  });

  test("jumps into the middle of an instruction: the same bytes read in two ways", () => {
    same(
      way,
      `
      li s0, 20
      la t1, inside + 2
    next: andi t0, s0, 1
      beqz t0, inside
      jr t1
    inside: lui s1, 0x05050
      addi s2, s2, 1
      addi s0, s0, -1
      bnez s0, next
      ecall`,
    );
    // A branch into its own second half: c.addi s4, 1 lies in the immediate of the lui.
    same(
      way,
      `
      li s0, 20
    next: andi t0, s0, 1
      beqz t0, . + 6
      lui s1, 0x0a050
      addi s2, s2, 1
      addi s0, s0, -1
      bnez s0, next
      ecall`,
    );
  });

  test("a function longer than a region, of straight code and of many blocks", () => {
    const straight = Array.from({ length: 3500 }, (_, at) => `addi s${2 + (at % 9)}, s${2 + ((at * 7) % 9)}, ${at % 100}`).join("\n");
    same(way, `li s0, 6\nnext: ${straight}\naddi s0, s0, -1\nbeqz s0, end\nj next\nend: ecall`, { fuels: [1000, 1, 66] });
    const blocks = Array.from(
      { length: 700 },
      (_, at) =>
        `andi t0, s1, ${1 << (at % 11)}\nbeqz t0, b${at}\naddi s1, s1, ${at % 50}\nsd s1, ${(at % 100) * 8}(a0)\nb${at}: addi s1, s1, 1`,
    ).join("\n");
    same(way, `li s0, 8\nnext: ${blocks}\naddi s0, s0, -1\nbeqz s0, end\nj next\nend: ecall`, { fuels: [1000, 1, 66] });
  });

  test("many calls of a leaf with many branches", () => {
    const leaf = Array.from({ length: 45 }, (_, at) => `blt a1, s${2 + (at % 9)}, out\naddi a1, a1, ${at % 7}`).join("\n");
    const calls = "jal ra, leaf\n".repeat(200);
    same(
      way,
      `li s0, 4\nli s3, 1000\nli s4, 600\nnext: li a1, 0\n${calls}\naddi s0, s0, -1\nbeqz s0, end\nj next\nend: ecall\nleaf: ${leaf}\nout: ret`,
      {
        fuels: [100_000, 1000, 69],
      },
    );
  });

  test("a large switch by comparisons, all cases going back to one head", () => {
    const cases = Array.from({ length: 120 }, (_, at) => `li t1, ${at}\nbeq t0, t1, c${at}`).join("\n");
    const bodies = Array.from(
      { length: 120 },
      (_, at) => `c${at}: addi s1, s1, ${at}\nxor s2, s2, s1\n${at % 5 === 0 ? "j odd" : "j next"}`,
    ).join("\n");
    same(
      way,
      `
      li s0, 260
      li s5, 120
      j next
    odd: addi s3, s3, 1
    next: addi s0, s0, -1
      beqz s0, end
      remu t0, s0, s5
    ${cases}
    end: ecall
    ${bodies}`,
      { fuels: [100_000, 1, 71] },
    );
  });

  test("self loops, loops of one instruction and branches to themselves", () => {
    same(way, `li s0, 30\nnext: addi s0, s0, -1\nbnez s0, next\nself: bnez s0, self\nbeq zero, zero, on\nebreak\non: ecall`, {
      at: CODE + 0xff0,
    });
  });

  test("an endless loop uses its fuel and nothing else", () => {
    for (const text of [
      "self: j self",
      "self: beqz zero, self",
      "la t0, self\nself: jr t0",
      "la ra, self\nself: ret",
      "self: jal ra, self",
    ]) {
      const twins = same(way, "ecall");
      twins.put(text);
      twins.start();
      for (const fuel of [1, 2, 5, 65, 67, 100, 1000, 20_000, 70_000]) expect(twins.run(fuel)).toBe(Exit.Fuel);
      expect(twins.translated.hart.fuelLeft).toBe(0);
      expect(twins.translator.stats.units).toBeGreaterThan(0);
    }
  });

  test("fuel about as large as what one call of translated code gets", () => {
    const twins = same(way, "ecall");
    // Much is used between two looks at what is left.
    twins.put(
      `next: ${"jal ra, f\njal ra, g\n".repeat(6)}\nj next\nf: addi a1, a1, 1\nret\ng: addi sp, sp, -16\nsd ra, 0(sp)\njal ra, f\nld ra, 0(sp)\naddi sp, sp, 16\nret`,
    );
    twins.start();
    for (const middle of [64, 128, 16_384, 32_768]) {
      for (let fuel = middle - 3; fuel < middle + 70; fuel += 1 + (fuel % 3)) {
        expect(twins.run(fuel)).toBe(Exit.Fuel);
        expect(twins.translated.hart.fuelLeft).toBe(0);
      }
    }
  });
});

describe("jumps through registers that go where they went before", () => {
  const way: Way = { engine: "translator", translateAfter: 2, specialiseAfter: 200 };

  test("calls of two functions in turn, then of a third, then of one that changed", () => {
    const twins = new Twins(way);
    const label = twins.put(`
      la s2, f
      la s3, g
    next: mv a1, s0
      jalr ra, 0(s2)
      xor s2, s2, s3
      xor s3, s2, s3
      xor s2, s2, s3
      add a0, a0, a1
      addi s0, s0, -1
      bnez s0, next
      ecall
    f: slli a1, a1, 1
      ret
    g: addi a1, a1, 5
      ret
    h: sub a1, zero, a1
      ret`);
    const [f, g, h] = [label("f"), label("g"), label("h")];
    const instruction = (at: number, text: string): void => {
      const { bytes } = assemble(text, at);
      twins.each(({ machine }) => machine.storeRange(BASE + at, bytes));
    };
    const run = (turns: number): void => {
      for (const [register, value] of [
        [8, turns],
        [10, 0],
      ] as const)
        twins.setX(register, value);
      twins.start();
      expect(twins.finish(1000)).toBe(Exit.Ecall);
    };
    for (let turn = 0; turn < 30; turn++) run(100);
    expect(twins.translator.stats.specialised).toBeGreaterThan(0);
    expect(g - f).toBeGreaterThan(0);
    // Another target than both.
    instruction(CODE, `auipc s2, 0\naddi s2, s2, ${h - CODE}`);
    for (let turn = 0; turn < 30; turn++) run(101);
    instruction(g, "addi a1, a1, 7");
    for (let turn = 0; turn < 3; turn++) run(100);
  });

  test("a switch by a table of addresses", () => {
    const cases = [3, 5, 7, 11].map((add, at) => `case${at}: addi a0, a0, ${add}\n  j on`).join("\n");
    const twins = new Twins(way);
    const label = twins.put(`
    next: andi t0, s0, 3
      slli t0, t0, 3
      add t0, t0, a2
      ld t0, 0(t0)
      jr t0
    ${cases}
    on: addi s0, s0, -1
      bnez s0, next
      ecall`);
    for (let turn = 0; turn < 30; turn++) {
      twins.setX(8, 200);
      twins.setX(10, 0);
      twins.setX(12, DATA);
      twins.each(({ machine }) => {
        for (let at = 0; at < 4; at++)
          machine.view.setBigUint64(GUEST + BASE + DATA + 8 * at, BigInt(label(`case${(at + turn) % 4}`)), true);
      });
      twins.start();
      expect(twins.finish(1000)).toBe(Exit.Ecall);
      expect(twins.translated.hart.getInt(10)).toBe(50 * (3 + 5 + 7 + 11));
    }
    expect(twins.translator.stats.specialised).toBeGreaterThan(0);
  });
});
