import { describe, expect, test } from "vitest";
import { CapCause, CapReg, Cause, Exit, Perm, Prot } from "../abi.ts";
import { derive } from "../capability/index.ts";
import { Bench, CODE, DATA, s32, s64, u64, VALUES } from "./bench.test.support.ts";
import { ENGINES } from "../engines.test.support.ts";

describe.each(ENGINES)("%s", (engine) => {
  const bench = new Bench({ engine });
  const little = (value: bigint, size: number): Uint8Array =>
    Uint8Array.from({ length: size }, (_, at) => Number((u64(value) >> BigInt(8 * at)) & 0xffn));
  const memory = (size: number): bigint =>
    bench.machine.readBytes(DATA, size).reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);

  /** Old value and operand, both signed numbers of the width. */
  const OPERATIONS: Record<string, (old: bigint, operand: bigint, width: number) => bigint> = {
    amoswap: (_, b) => b,
    amoadd: (a, b) => a + b,
    amoxor: (a, b) => a ^ b,
    amoand: (a, b) => a & b,
    amoor: (a, b) => a | b,
    amomin: (a, b) => (a < b ? a : b),
    amomax: (a, b) => (a > b ? a : b),
    amominu: (a, b, width) => (BigInt.asUintN(width, a) < BigInt.asUintN(width, b) ? a : b),
    amomaxu: (a, b, width) => (BigInt.asUintN(width, a) > BigInt.asUintN(width, b) ? a : b),
  };

  describe.each([
    ["w", 4],
    ["d", 8],
  ] as const)("amo….%s", (suffix, size) => {
    test.each(Object.keys(OPERATIONS))("%s", (name) => {
      bench.text(`${name}.${suffix}.aqrl a0, a2, (a1)\necall`);
      for (const old of VALUES) {
        for (const operand of VALUES) {
          bench.machine.storeRange(DATA, little(old, 8));
          expect(bench.run({ 10: 0n, 11: BigInt(DATA), 12: operand })).toBe(Exit.Ecall);
          const cut = (value: bigint): bigint => BigInt.asIntN(8 * size, value);
          expect(bench.x(10)).toBe(cut(old));
          expect(memory(size)).toBe(BigInt.asUintN(8 * size, OPERATIONS[name]!(cut(old), cut(operand), 8 * size)));
          // The upper half is not touched.
          if (size === 4) expect(memory(8) >> 32n).toBe(u64(old) >> 32n);
        }
      }
    });

    test.each(["", ".aq", ".rl", ".aqrl"])("ordering%s changes no result", (order) => {
      for (const [name, operation] of Object.entries(OPERATIONS)) {
        bench.text(`${name}.${suffix}${order} a0, a2, (a1)\nlr.${suffix}${order} a3, (a1)\nsc.${suffix}${order} a4, a2, (a1)\necall`);
        bench.machine.storeRange(DATA, little(-5n, 8));
        expect(bench.run({ 11: BigInt(DATA), 12: 3n })).toBe(Exit.Ecall);
        expect([bench.x(10), bench.x(13), bench.x(14), memory(size)]).toEqual([
          -5n,
          BigInt.asIntN(8 * size, operation(-5n, 3n, 8 * size)),
          0n,
          3n,
        ]);
      }
    });

    test("rd may be rs1 or rs2", () => {
      bench.machine.storeRange(DATA, little(5n, 8));
      bench.text(`amoadd.${suffix} a1, a2, (a1)\nmv a3, a1\namoadd.${suffix} a2, a2, (a4)\necall`);
      expect(bench.run({ 11: BigInt(DATA), 12: 3n, 14: BigInt(DATA) })).toBe(Exit.Ecall);
      expect([bench.x(13), bench.x(12), memory(size)]).toEqual([5n, 8n, 11n]);
    });

    test("a misaligned address traps with the store's cause and changes nothing", () => {
      for (const off of [1, 2, size - 1]) {
        bench.text(`amoadd.${suffix} a0, a2, (a1)`);
        expect(bench.run({ 10: 9n, 11: BigInt(DATA + off) })).toBe(Exit.Trap);
        expect([bench.hart.trapCause, bench.pc, bench.x(10)]).toEqual([Cause.StoreMisaligned, CODE, 9n]);
      }
      bench.text(`lr.${suffix} a0, (a1)`);
      expect(bench.run({ 11: BigInt(DATA + 2) })).toBe(Exit.Trap);
      expect(bench.hart.trapCause).toBe(Cause.LoadMisaligned);
      bench.text(`sc.${suffix} a0, a2, (a1)`);
      expect(bench.run({ 11: BigInt(DATA + 2) })).toBe(Exit.Trap);
      expect(bench.hart.trapCause).toBe(Cause.StoreMisaligned);
    });

    test("a read-only page traps with the store's cause", () => {
      bench.machine.protect(DATA, 4096, Prot.Read);
      bench.text(`amoswap.${suffix} a0, a2, (a1)`);
      expect(bench.run({ 11: BigInt(DATA) })).toBe(Exit.Trap);
      expect(bench.hart.trapCause).toBe(Cause.StorePage);
      bench.machine.protect(DATA, 4096, Prot.Read | Prot.Write);
    });

    test("lr loads sign-extended; sc stores once", () => {
      const value = 0xfedcba98_f6543210n - (1n << 64n);
      bench.machine.storeRange(DATA, little(value, 8));
      bench.text(`lr.${suffix} a0, (a1)\nsc.${suffix} a3, a2, (a1)\nsc.${suffix} a4, a5, (a1)\necall`);
      expect(bench.run({ 11: BigInt(DATA), 12: 77n, 15: 99n })).toBe(Exit.Ecall);
      expect([bench.x(10), bench.x(13), bench.x(14), memory(size)]).toEqual([size === 4 ? s32(value) : s64(value), 0n, 1n, 77n]);
    });

    test("sc without a reservation is checked against DDC before it fails, but looks at no page", () => {
      const { ddc } = bench.hart;
      bench.text(`sc.${suffix} a3, a2, (a1)\necall`);
      const refused = (perms: number, length: number): number[] => {
        bench.hart.ddc = derive(ddc, DATA, length, perms);
        const exit = bench.run({ 11: 0n, 12: 77n, 13: 5n });
        bench.hart.ddc = ddc;
        return [exit, bench.hart.trapCause, bench.hart.trapValue, Number(bench.x(13))];
      };
      const code = (cause: number): number => (CapReg.Ddc << 5) | cause;
      expect(refused(Perm.Load, 16)).toEqual([Exit.Trap, Cause.Cheri, code(CapCause.PermitStore), 5]);
      expect(refused(Perm.Load | Perm.Store, size - 1)).toEqual([Exit.Trap, Cause.Cheri, code(CapCause.Length), 5]);
      bench.machine.protect(DATA, 4096, Prot.Read);
      expect(bench.run({ 11: BigInt(DATA), 12: 77n })).toBe(Exit.Ecall);
      expect(bench.x(13)).toBe(1n);
      bench.machine.protect(DATA, 4096, Prot.Read | Prot.Write);
    });

    test("sc to another address fails and drops the reservation", () => {
      bench.machine.storeRange(DATA, new Uint8Array(16));
      bench.text(`lr.${suffix} a0, (a1)\nsc.${suffix} a3, a2, (a4)\nsc.${suffix} a5, a2, (a1)\necall`);
      expect(bench.run({ 11: BigInt(DATA), 12: 77n, 14: BigInt(DATA + 8) })).toBe(Exit.Ecall);
      expect([bench.x(13), bench.x(15), memory(8)]).toEqual([1n, 1n, 0n]);
    });
  });
});
