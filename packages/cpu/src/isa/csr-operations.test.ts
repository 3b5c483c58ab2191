import { describe, expect, test } from "vitest";
import { Exit } from "../abi.ts";
import { ENGINES } from "../engines.test.support.ts";
import { Bench, u64 } from "./bench.test.support.ts";

/** Parts of fcsr: lowest bit, bits. */
const REGISTERS = { fflags: [0, 5], frm: [5, 3], fcsr: [0, 8] } as const;
type Name = keyof typeof REGISTERS;

/** What each instruction writes; undefined when it writes nothing. */
const OPERATIONS: Readonly<Record<string, (old: bigint, operand: bigint, zero: boolean) => bigint | undefined>> = {
  csrrw: (_, operand) => operand,
  csrrs: (old, operand, zero) => (zero ? undefined : old | operand),
  csrrc: (old, operand, zero) => (zero ? undefined : old & ~operand),
};

const mask = (bits: number): bigint => (1n << BigInt(bits)) - 1n;
function read(fcsr: bigint, name: Name): bigint {
  const [low, bits] = REGISTERS[name];
  return (fcsr >> BigInt(low)) & mask(bits);
}
function written(fcsr: bigint, name: Name, value: bigint): bigint {
  const [low, bits] = REGISTERS[name];
  const place = mask(bits) << BigInt(low);
  return (fcsr & ~place) | ((value << BigInt(low)) & place);
}

const OLD = [0n, 0x1fn, 0xe0n, 0xffn, 0x55n, 0xaan, 0x84n];
const OPERANDS = [0n, 1n, 2n, 0x10n, 0x1fn, 0x20n, 0x7fn, 0x80n, 0xffn, 0x100n, -1n, -0x20n, 1n << 63n];

describe.each(ENGINES)("reading and changing fflags, frm and fcsr, %s", (engine) => {
  const bench = new Bench({ engine });
  describe.each(Object.keys(REGISTERS) as Name[])("%s", (name) => {
    test.each(Object.keys(OPERATIONS))("%s", (operation) => {
      // A register, the same register as result, no result, x0 as operand.
      bench.text(
        `${operation} a0, ${name}, a1\nfrcsr a2\nfscsr s0\n${operation} a3, ${name}, a3\nfrcsr a4\nfscsr s0\n${operation} x0, ${name}, a1\nfrcsr a5\nfscsr s0\n${operation} a6, ${name}, x0\nfrcsr a7\necall`,
      );
      for (const old of OLD) {
        for (const operand of OPERANDS) {
          bench.hart.fcsr = Number(old);
          expect(bench.run({ 8: old, 11: operand, 13: operand })).toBe(Exit.Ecall);
          const before = read(old, name);
          const value = OPERATIONS[operation]!(before, u64(operand), false)!;
          const after = written(old, name, value);
          const untouched = OPERATIONS[operation]!(before, 0n, true);
          const afterZero = untouched === undefined ? old : written(old, name, untouched);
          expect(
            [10, 12, 13, 14, 15, 16, 17].map((n) => bench.x(n)),
            `${old} ${operand}`,
          ).toEqual([before, after, before, after, after, before, afterZero]);
          expect(bench.x(0)).toBe(0n);
        }
      }
    });

    test.each(Object.keys(OPERATIONS))("%si", (operation) => {
      const lines = Array.from(
        { length: 32 },
        (_, at) => `fscsr s0\n${operation}i a0, ${name}, ${at}\nfrcsr a1\nsd a0, ${16 * at}(a2)\nsd a1, ${16 * at + 8}(a2)`,
      );
      bench.text(`${lines.join("\n")}\necall`);
      for (const old of OLD) {
        expect(bench.run({ 8: old, 12: 0x10_0000n })).toBe(Exit.Ecall);
        const results = new BigInt64Array(bench.machine.readBytes(0x10_0000, 16 * 32).buffer);
        for (let at = 0; at < 32; at++) {
          const before = read(old, name);
          const value = OPERATIONS[operation]!(before, BigInt(at), at === 0);
          expect([results[2 * at], results[2 * at + 1]], `${old} ${at}`).toEqual([
            before,
            value === undefined ? old : written(old, name, value),
          ]);
        }
      }
    });
  });
});
