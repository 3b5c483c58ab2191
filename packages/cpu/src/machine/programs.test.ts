import { describe, expect, test } from "vitest";
import { Cause } from "../abi.ts";
import { ENGINES } from "../engines.test.support.ts";
import { BASE, CODE, DATA, expectEcall, expectTrap, load } from "./program.test.support.ts";

describe.each(ENGINES)("integer programs, %s", (engine) => {
  test("a loop, a call and its return", () => {
    const p = load(
      `
      li a0, 0
      li a1, 10
    loop:
      mv a2, a1
      jal ra, square
      add a0, a0, a2
      addi a1, a1, -1
      bnez a1, loop
    done: ecall
    square:
      mul a2, a2, a2
      ret`,
      { engine },
    );
    expectEcall(p);
    expect(p.hart.getInt(10)).toBe(385);
    expect(p.hart.pc).toBe(p.label("done"));
  });

  test("compressed and full instructions mixed give the same", () => {
    const p = load(
      `
      c.li a0, 5
      addi a0, a0, 7
      c.addi a0, 1
      c.mv a1, a0
      c.slli a1, 4
      c.j over
      c.li a0, 0
    over: c.add a0, a1
      ecall`,
      { engine },
    );
    expectEcall(p);
    expect(p.hart.getInt(10)).toBe(13 + 13 * 16);
  });

  test("x0 stays 0", () => {
    const p = load(
      `
      addi zero, zero, 5
      li t0, ${DATA}
      ld zero, 0(t0)
      jal zero, on
    on: jalr zero, 0(t1)
    back: mv a0, zero
      ecall`,
      { engine },
    );
    p.machine.storeRange(BASE + DATA, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
    p.hart.setInt(6, p.label("back"));
    expectEcall(p);
    expect(p.hart.getX(10)).toBe(0n);
    expect(p.hart.getX(0)).toBe(0n);
  });

  test("division never fails", () => {
    const p = load(
      `
      li a1, 1
      slli a1, a1, 63
      li a2, -1
      div a3, a1, a2
      rem a4, a1, a2
      div a5, a1, zero
      rem a6, a1, zero
      ecall`,
      { engine },
    );
    expectEcall(p);
    const signed = (register: number): bigint => BigInt.asIntN(64, p.hart.getX(register));
    expect([signed(13), signed(14), signed(15), signed(16)]).toEqual([-(1n << 63n), 0n, -1n, -(1n << 63n)]);
  });

  test("instructions are counted, those that trap are not", () => {
    const p = load(
      `
      nop
      li a1, 3
    loop: addi a1, a1, -1
      bnez a1, loop
      rdinstret a0
    bad: .word 0`,
      { engine },
    );
    expectTrap(p, "bad", Cause.IllegalInstruction);
    expect(p.hart.getInt(10)).toBe(8);
    expect(p.hart.instructions).toBe(9);
    expect(p.machine.instructions).toBe(9);
  });

  test("pc-relative results are offsets from PCC's base", () => {
    const p = load(
      `
    here: auipc a0, 1
      jal a1, on
    on: ecall`,
      { engine },
    );
    expectEcall(p);
    expect(p.hart.getInt(10)).toBe(p.label("here") + 0x1000);
    expect(p.hart.getInt(11)).toBe(p.label("on"));
  });

  test("code runs across a page end, also through an instruction that straddles it", () => {
    const filler = "c.nop\n".repeat(2045);
    const p = load(
      `
      li a0, 1
    ${filler}
    straddles: addi a0, a0, 6
      c.addi a0, 1
      ecall`,
      { engine },
    );
    expect(p.label("straddles") % 4096).toBe(4094);
    expectEcall(p);
    expect(p.hart.getInt(10)).toBe(8);
  });

  test("jumps and branches between pages, forwards and backwards", () => {
    const p = load(
      `
      li a1, 5
      li a0, 0
    near: addi a0, a0, 1
      beqz a1, end
      j far
    end: ecall
    ${"c.nop\n".repeat(200)}
    far: addi a1, a1, -1
      blt zero, a0, near
      ebreak`,
      { engine, at: CODE + 0xf00 },
    );
    expectEcall(p);
    expect(p.hart.getInt(10)).toBe(6);
  });
});
