import { describe, expect, test } from "vitest";
import { Exit } from "../abi.ts";
import { ENGINES } from "../engines.test.support.ts";
import { CODE, load } from "./program.test.support.ts";

describe.each(ENGINES)("fuel, %s", (engine) => {
  test("counts taken backward transfers and indirect jumps", () => {
    const p = load(
      `
    loop: addi a0, a0, 1
      beqz zero, forward
      nop
    forward: bne zero, zero, loop
      j loop`,
      { engine },
    );
    expect(p.hart.run(1)).toBe(Exit.Fuel);
    expect([p.hart.getInt(10), p.hart.pc]).toEqual([1, CODE]);
    expect(p.hart.run(5)).toBe(Exit.Fuel);
    expect(p.hart.getInt(10)).toBe(6);
    expect(p.hart.run(100_000)).toBe(Exit.Fuel);
    expect(p.hart.getInt(10)).toBe(100_006);
    const indirect = load("la a1, on\n jr a1\n on: addi a0, a0, 1\n jr a1", { engine });
    expect(indirect.hart.run(1)).toBe(Exit.Fuel);
    expect(indirect.hart.pc).toBe(indirect.label("on"));
    expect(indirect.hart.run(7)).toBe(Exit.Fuel);
    expect(indirect.hart.getInt(10)).toBe(7);
  });
  test("a jump to itself uses fuel, and far backward jumps do", () => {
    expect(load("here: j here", { engine }).hart.run(10)).toBe(Exit.Fuel);
    const p = load(`near: addi a0, a0, 1\nj far\n${"c.nop\n".repeat(200)}\nfar: beqz zero, near`, { engine, at: CODE + 0xf00 });
    expect(p.hart.run(10)).toBe(Exit.Fuel);
    expect([p.hart.getInt(10), p.hart.pc]).toEqual([10, CODE + 0xf00]);
  });
  test("must be a positive number", () => {
    const p = load("here: j here", { engine });
    expect(() => p.hart.run(0)).toThrow(RangeError);
    expect(() => p.hart.run(2 ** 31)).toThrow(RangeError);
  });
});
