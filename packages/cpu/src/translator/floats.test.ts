/** Programs with floating point: values bit by bit, and all flags, with and without the inexact one set before. */
import { describe, expect, test } from "vitest";
import { BASE, DATA, same, Twins, WAYS, type Side } from "./twins.test.support.ts";

const bits = (value: number): bigint => new BigUint64Array(new Float64Array([value]).buffer)[0]!;
const store =
  (values: readonly (number | bigint)[], fcsr: number, at = DATA) =>
  ({ machine, hart }: Side): void => {
    machine.storeRange(
      BASE + at,
      new Uint8Array(new BigUint64Array(values.map((value) => (typeof value === "bigint" ? value : bits(value)))).buffer),
    );
    hart.fcsr = fcsr;
    for (let register = 0; register < 32; register++) hart.setF(register, 0n);
  };

/** Position, velocity and mass of bodies; s2: how many, s0: steps. */
const BODIES = `
    li s2, 4
    fld fs0, -8(a0)
  step: li s3, 0
    mv s4, a0
  outer: addi s5, s3, 1
    addi s6, s4, 56
  inner: bge s5, s2, last
    fld fa0, 0(s4)
    fld fa1, 8(s4)
    fld fa2, 16(s4)
    fld ft0, 0(s6)
    fld ft1, 8(s6)
    fld ft2, 16(s6)
    fsub.d fa0, fa0, ft0
    fsub.d fa1, fa1, ft1
    fsub.d fa2, fa2, ft2
    fmul.d fa3, fa0, fa0
    fmadd.d fa3, fa1, fa1, fa3
    fmadd.d fa3, fa2, fa2, fa3
    fsqrt.d fa4, fa3
    fmul.d fa4, fa4, fa3
    fdiv.d fa4, fs0, fa4
    fld fa5, 48(s6)
    fmul.d fa5, fa5, fa4
    fld fa6, 48(s4)
    fmul.d fa6, fa6, fa4
    fld ft3, 24(s4)
    fnmsub.d ft3, fa0, fa5, ft3
    fsd ft3, 24(s4)
    fld ft3, 32(s4)
    fnmsub.d ft3, fa1, fa5, ft3
    fsd ft3, 32(s4)
    fld ft3, 40(s4)
    fnmsub.d ft3, fa2, fa5, ft3
    fsd ft3, 40(s4)
    fld ft4, 24(s6)
    fmadd.d ft4, fa0, fa6, ft4
    fsd ft4, 24(s6)
    fld ft4, 32(s6)
    fmadd.d ft4, fa1, fa6, ft4
    fsd ft4, 32(s6)
    fld ft4, 40(s6)
    fmadd.d ft4, fa2, fa6, ft4
    fsd ft4, 40(s6)
    addi s5, s5, 1
    addi s6, s6, 56
    j inner
  last: fld ft5, 0(s4)
    fld ft6, 24(s4)
    fmadd.d ft5, ft6, fs0, ft5
    fsd ft5, 0(s4)
    fld ft5, 8(s4)
    fld ft6, 32(s4)
    fmadd.d ft5, ft6, fs0, ft5
    fsd ft5, 8(s4)
    addi s3, s3, 1
    addi s4, s4, 56
    blt s3, s2, outer
    addi s0, s0, -1
    bnez s0, step
    frflags a1
    ecall`;

const SPECIAL: readonly (number | bigint)[] = [
  0,
  -0,
  1,
  -1.5,
  Infinity,
  -Infinity,
  Number.NaN,
  0x7ff0_0000_0000_0001n,
  5e-324,
  -2.2e-308,
  1.7e308,
  0xffff_ffff_7f80_0000n,
  0xffff_ffff_0000_0001n,
  0xffff_ffff_7fa0_0000n,
  0xffff_ffff_3f80_0000n,
  0x1234_5678_3f80_0000n,
  2 ** 31,
  -(2 ** 63),
  2 ** 64,
  0.1,
];

describe.each(WAYS)("floating point, %s", (_, way) => {
  const bodies = Array.from({ length: 28 }, (__, at) => Math.sin(at * 1.7) * (at % 7 === 6 ? 10 : 3) + (at % 5));
  test.each([0, 1, 16, 31])("bodies that attract each other, flags %i at first", (fcsr) => {
    const { interpreted } = same(way, `li s0, 12\naddi a0, a0, 8\n${BODIES}`, {
      prepare: store([0.01, ...bodies], fcsr),
      fuels: [1_000_000, 3, 66],
    });
    expect(interpreted.hart.getInt(11) & 1).toBe(1);
  });
  test("bodies with masses and places that overflow, vanish and are no numbers", () => {
    const on = new Twins(way);
    for (const odd of [0, Infinity, Number.NaN, 1e308, 5e-324, -1e-310, 0x7ff0_0000_0000_0001n]) {
      for (const at of [0, 7, 13, 27]) {
        const values: (number | bigint)[] = [...bodies];
        values[at] = odd;
        same(way, `li s0, 6\naddi a0, a0, 8\n${BODIES}`, { prepare: store([0.01, ...values], at === 0 ? 0 : 1), fuels: [1_000_000], on });
      }
    }
  });

  const TWO: readonly string[] = ["fadd", "fsub", "fmul", "fdiv", "fmin", "fmax", "fsgnj", "fsgnjx"];
  test.each(["d", "s"])("each operation on each pair of special values, %s", (format) => {
    const table = (line: string): string => `
      li s0, ${SPECIAL.length}
      mv s1, a0
    outer: li s2, ${SPECIAL.length}
      mv s3, a0
      fld fa0, 0(s1)
    inner: fld fa1, 0(s3)
      ${line}
      frflags t1
      andi t2, s2, 3
      bnez t2, keep
      fsflags zero
    keep: addi s3, s3, 8
      slli s5, s5, 7
      xor s5, s5, t1
      add s4, s4, t0
      fmv.x.d t3, fa2
      rori s4, s4, 9
      xor s4, s4, t3
      addi s2, s2, -1
      bnez s2, inner
      addi s1, s1, 8
      addi s0, s0, -1
      bnez s0, outer
      ecall`;
    const lines = [
      ...TWO.map((name) => `${name}.${format} fa2, fa0, fa1`),
      ...["feq", "flt", "fle"].map((name) => `${name}.${format} t0, fa0, fa1`),
      ...["fmadd", "fnmsub", "fmsub", "fnmadd"].map((name) => `${name}.${format} fa2, fa0, fa1, fa0`),
      ...["fmadd", "fnmadd"].map((name) => `${name}.${format} fa2, fa0, fa0, fa1`),
      `fsqrt.${format} fa2, fa1`,
      `fclass.${format} t0, fa1`,
      ...["w", "wu", "l", "lu"].flatMap((to) => [`fcvt.${to}.${format} t0, fa1, rtz`, `fcvt.${to}.${format} t0, fa1`]),
      format === "d" ? "fcvt.s.d fa2, fa1" : "fcvt.d.s fa2, fa1",
      ...["w", "l", "lu"].map((from) => `fmv.x.d t3, fa1\nfcvt.${format}.${from} fa2, t3`),
      ...["rtz", "rdn", "rup", "rmm"].map((rounding) => `fadd.${format} fa2, fa0, fa1, ${rounding}`),
    ];
    const on = new Twins(way);
    for (const line of lines) for (const fcsr of [0, 1]) same(way, table(line), { prepare: store(SPECIAL, fcsr), fuels: [100_000], on });
  });

  test("single and double precision in the same registers, loads and stores of both sizes", () => {
    same(
      way,
      `
      li s0, 100
    next: flw fa0, 0(a0)
      fld fa1, 0(a0)
      fadd.s fa2, fa0, fa1
      fadd.d fa3, fa1, fa2
      fsw fa3, 8(a0)
      fsd fa2, 16(a0)
      fcvt.d.s fa4, fa2
      fmadd.d fa5, fa4, fa1, fa5
      fcvt.s.d fa6, fa5
      fsw fa6, 24(a0)
      fmv.x.w t0, fa6
      fmv.w.x fa7, t0
      feq.s t1, fa6, fa7
      add s1, s1, t1
      fmv.x.d t2, fa7
      add s2, s2, t2
      addi a0, a0, 4
      addi s0, s0, -1
      bnez s0, next
      ecall`,
      { prepare: store([1.5, 0xffff_ffff_3fc0_0000n, 0x4000_0000_3f80_0000n, ...bodies], 0) },
    );
  });
});
