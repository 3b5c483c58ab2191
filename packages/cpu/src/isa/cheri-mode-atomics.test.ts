import { describe, expect, test } from "vitest";
import { CapCause, Cause, Exit, Perm } from "../abi.ts";
import { assembleText } from "../assembler/text.ts";
import * as cap from "../capability/index.ts";
import { ENGINES } from "../engines.test.support.ts";
import { Bench, CODE, DATA } from "./cheri-bench.test.support.ts";

/** Old value and operand, both signed numbers of the width. */
const OPERATIONS: Readonly<Record<string, (old: bigint, operand: bigint, width: number) => bigint>> = {
  swap: (_, b) => b,
  add: (a, b) => a + b,
  xor: (a, b) => a ^ b,
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  min: (a, b) => (a < b ? a : b),
  max: (a, b) => (a > b ? a : b),
  minu: (a, b, width) => (BigInt.asUintN(width, a) < BigInt.asUintN(width, b) ? a : b),
  maxu: (a, b, width) => (BigInt.asUintN(width, a) > BigInt.asUintN(width, b) ? a : b),
};
const VALUES = [
  0n,
  1n,
  -1n,
  5n,
  0x7fff_ffffn,
  0x8000_0000n,
  -0x8000_0000n,
  0xffff_ffffn,
  1n << 32n,
  (1n << 63n) - 1n,
  -(1n << 63n),
  0x0123_4567_89ab_cdefn,
];

describe.each(ENGINES)("atomics of capability mode, %s", (engine) => {
  const bench = new Bench({ engine });
  bench.hart.pcc = cap.setFlag(bench.all, 1);
  bench.hart.ddc = cap.nullCapability(); // not used
  function text(lines: string): void {
    bench.machine.storeRange(CODE, assembleText(`${lines}\necall`, { mode: "cap" }));
  }
  function run(): number {
    bench.hart.pc = CODE;
    return bench.hart.run(100);
  }
  const store = (value: bigint): void =>
    bench.machine.storeRange(DATA, new Uint8Array(BigUint64Array.of(BigInt.asUintN(64, value)).buffer));
  const memory = (): bigint => new DataView(bench.machine.readBytes(DATA, 8).buffer).getBigInt64(0, true);
  const signed = (register: number): bigint => BigInt.asIntN(64, bench.hart.getX(register));

  describe.each([
    ["w", 32],
    ["d", 64],
  ] as const)(".%s", (suffix, width) => {
    test.each(Object.keys(OPERATIONS))("%s", (name) => {
      for (const order of ["", ".aq", ".rl", ".aqrl"]) {
        text(`camo${name}.${suffix}${order} a0, a2, (ca1)`);
        for (const old of VALUES) {
          for (const operand of VALUES) {
            store(old);
            bench.hart.setCapability(11, bench.data(0, width / 8));
            bench.hart.setX(12, operand);
            expect(run()).toBe(Exit.Ecall);
            const cut = (value: bigint): bigint => BigInt.asIntN(width, value);
            const result = BigInt.asUintN(width, OPERATIONS[name]!(cut(old), cut(operand), width));
            expect([signed(10), BigInt.asUintN(width, memory())], `${old} ${operand}`).toEqual([cut(old), result]);
            // The upper half is not touched.
            expect(memory() >> 32n === old >> 32n || width === 64).toBe(true);
          }
        }
      }
    });
    test("rd may be cs1, whose capability is gone then", () => {
      store(5n);
      text(`camoadd.${suffix} a1, a2, (ca1)`);
      bench.hart.setCapability(11, bench.data());
      bench.hart.setX(12, 3n);
      expect(run()).toBe(Exit.Ecall);
      expect([signed(11), memory()]).toEqual([5n, 8n]);
      expect(bench.hart.getCapability(11)).toEqual(cap.nullCapability(5n));
    });
    test("exceptions in order: tag, load, store permission, length, alignment; nothing changes", () => {
      store(5n);
      text(`camoswap.${suffix} a0, a2, (ca1)`);
      const good = bench.data();
      for (const [authority, cause, value] of [
        [cap.clearTag(cap.andPerms(good, Perm.Global)), Cause.Cheri, (11 << 5) | CapCause.Tag],
        [cap.andPerms(good, Perm.Global), Cause.Cheri, (11 << 5) | CapCause.PermitLoad],
        [cap.andPerms(good, Perm.Load), Cause.Cheri, (11 << 5) | CapCause.PermitStore],
        [cap.setAddress(bench.data(0, width / 8), DATA + 1), Cause.Cheri, (11 << 5) | CapCause.Length],
        [cap.setAddress(good, DATA + 1), Cause.StoreMisaligned, DATA + 1],
      ] as const) {
        bench.hart.setX(10, 77n);
        bench.hart.setCapability(11, authority);
        expect(run()).toBe(Exit.Trap);
        expect([bench.hart.trapCause, bench.hart.trapValue, bench.hart.pc, signed(10), memory()]).toEqual([cause, value, CODE, 77n, 5n]);
      }
    });
  });

  test.each([
    ["b", 8],
    ["h", 16],
    ["w", 32],
    ["d", 64],
  ] as const)("clr.%s sign-extends, csc stores once and only its bytes", (suffix, width) => {
    for (const value of [-2n, 0x5a5a_5a5a_5a5a_5a5an]) {
      store(value);
      text(`clr.${suffix} a0, (ca1)\ncsc.${suffix} a3, a2, (ca1)\ncsc.${suffix} a4, a2, (ca1)`);
      bench.hart.setCapability(11, bench.data());
      bench.hart.setX(12, 0x0102_0304_0506_0708n);
      expect(run()).toBe(Exit.Ecall);
      const rest = width === 64 ? 0n : (BigInt.asUintN(64, value) >> BigInt(width)) << BigInt(width);
      expect([signed(10), signed(13), signed(14)]).toEqual([BigInt.asIntN(width, value), 0n, 1n]);
      expect(BigInt.asUintN(64, memory())).toBe(rest | BigInt.asUintN(width, 0x0102_0304_0506_0708n));
    }
  });

  test("camoswap.c, clr.c and csc.c move whole capabilities", () => {
    const [inside, other] = [bench.data(0x40, 0x10), bench.data(0x80, 0x20)];
    bench.machine.storeCapability(DATA, inside);
    text("camoswap.c ca0, ca2, (ca1)\nclr.c ca3, (ca1)\ncsc.c a4, ca0, (ca1)\ncsc.c a5, ca0, (ca1)");
    bench.hart.setCapability(11, bench.data());
    bench.hart.setCapability(12, other);
    expect(run()).toBe(Exit.Ecall);
    expect([bench.hart.getCapability(10), bench.hart.getCapability(13)]).toEqual([inside, other]);
    expect([signed(14), signed(15)]).toEqual([0n, 1n]);
    expect(bench.machine.loadCapability(DATA)).toEqual(inside);
  });
});
