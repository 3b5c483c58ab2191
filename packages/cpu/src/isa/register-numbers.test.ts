import { describe, expect, test } from "vitest";
import { Exit } from "../abi.ts";
import { ENGINES } from "../engines.test.support.ts";
import { Bench, CODE, DATA, s64 } from "./bench.test.support.ts";

/** Register n holds this. */
const valueOf = (n: number): bigint => (n === 0 ? 0n : BigInt(n) * 0x0101_0101_0101n + 7n);
const all = Array.from({ length: 32 }, (_, n) => n);

describe.each(ENGINES)("every register in every place, %s", (engine) => {
  const bench = new Bench({ engine });
  const start = (): Record<number, bigint> => Object.fromEntries(all.slice(1).map((n) => [n, valueOf(n)]));
  /** Runs and expects these registers, and all others as they were. */
  function expectOnly(text: string, changed: Readonly<Record<number, bigint>>, registers: Readonly<Record<number, bigint>> = {}): void {
    bench.text(`${text}\necall`);
    expect(bench.run({ ...start(), ...registers }), text).toBe(Exit.Ecall);
    const expected = all.map((n) => (n === 0 ? 0n : s64(changed[n] ?? registers[n] ?? valueOf(n))));
    expect(
      all.map((n) => bench.x(n)),
      text,
    ).toEqual(expected);
  }

  test.each(all)("rd and rs1, rs2 in turn: x%i", (rd) => {
    for (const rs1 of all) {
      const rs2 = (rs1 * 7 + rd) % 32;
      expectOnly(`sub x${rd}, x${rs1}, x${rs2}`, { [rd]: valueOf(rs1) - valueOf(rs2) });
    }
    for (const rs1 of [0, 1, rd, 31]) expectOnly(`addi x${rd}, x${rs1}, -3`, { [rd]: valueOf(rs1) - 3n });
    expectOnly(`lui x${rd}, 5`, { [rd]: 5n << 12n });
    expectOnly(`mulhu x${rd}, x${rd}, x${31 - rd}`, { [rd]: (valueOf(rd) * valueOf(31 - rd)) >> 64n });
  });
  test.each(all)("address and data of memory: x%i", (n) => {
    const other = (n % 31) + 1;
    const base = n === 0 ? 0 : DATA;
    bench.machine.storeRange(DATA, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
    expectOnly(`ld x${n}, 0(x${other})`, { [n]: 0x0807060504030201n }, { [other]: BigInt(DATA) });
    if (n !== 0) expectOnly(`lhu x${n}, 2(x${n})`, { [n]: 0x0403n }, { [n]: BigInt(base) });
    expectOnly(`sd x${n}, 8(x${other})`, {}, { [other]: BigInt(DATA) });
    expect(new DataView(bench.machine.readBytes(DATA + 8, 8).buffer).getBigInt64(0, true)).toBe(n === other ? BigInt(DATA) : valueOf(n));
    expectOnly(`amoadd.d x${n}, x${n}, (x${other})`, { [n]: 0x0807060504030201n }, { [other]: BigInt(DATA) });
  });
  test.each(all)("jumps: x%i", (n) => {
    expectOnly(`jal x${n}, . + 4`, { [n]: BigInt(CODE + 4) });
    if (n > 0) expectOnly(`jalr x${n}, 4(x${n})`, { [n]: BigInt(CODE + 4) }, { [n]: BigInt(CODE) });
    expectOnly(`beq x${n}, x${(n + 1) % 32}, . + 8\naddi x${n}, x${n}, 1`, { [n]: valueOf(n) + 1n });
  });
  test.each(all.slice(1))("compressed: x%i", (n) => {
    const rs2 = (n % 31) + 1;
    expectOnly(`c.add x${n}, x${rs2}`, { [n]: valueOf(n) + valueOf(rs2) });
    expectOnly(`c.mv x${n}, x${rs2}`, { [n]: valueOf(rs2) });
    expectOnly(`c.addi x${n}, -5`, { [n]: valueOf(n) - 5n });
    expectOnly(`c.slli x${n}, 9`, { [n]: valueOf(n) << 9n });
    expectOnly(`c.li x${n}, 17`, { [n]: 17n });
    expectOnly(`c.addiw x${n}, 1`, { [n]: BigInt.asIntN(32, valueOf(n) + 1n) });
    if (n === 2) return;
    expectOnly(`c.lui x${n}, 0xfffe3`, { [n]: -0x1d000n });
    bench.machine.storeRange(DATA + 16, new Uint8Array(8).fill(0x81));
    expectOnly(`c.ldsp x${n}, 16(sp)`, { [n]: s64(0x8181818181818181n) }, { 2: BigInt(DATA) });
    expectOnly(`c.swsp x${n}, 16(sp)`, {}, { 2: BigInt(DATA) });
    expect(bench.machine.readU32(DATA + 16)).toBe(Number(BigInt.asUintN(32, valueOf(n))));
  });
  test("compressed fields count from x8", () => {
    for (let a = 8; a < 16; a++) {
      for (let b = 8; b < 16; b++) {
        expectOnly(`c.sub x${a}, x${b}`, { [a]: valueOf(a) - valueOf(b) });
        expectOnly(`c.and x${a}, x${b}`, { [a]: valueOf(a) & valueOf(b) });
        expectOnly(`c.subw x${a}, x${b}`, { [a]: BigInt.asIntN(32, valueOf(a) - valueOf(b)) });
      }
      expectOnly(`c.addi4spn x${a}, sp, 1020`, { [a]: valueOf(2) + 1020n });
      expectOnly(`c.srai x${a}, 3`, { [a]: valueOf(a) >> 3n });
      expectOnly(`c.andi x${a}, -9`, { [a]: valueOf(a) & -9n });
    }
  });
});
