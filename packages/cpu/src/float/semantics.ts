/**
 * Meanings of the floating-point instructions in the intermediate form, for both widths.
 *
 * The fast path runs WebAssembly's own operators, which round to nearest even and report no flags. It is taken only where flags
 * provably stay as they are: rounding is to nearest even, the result is ordinary (neither NaN nor overflow nor possibly tiny),
 * and either NX is already set or an exactness test holds. Everything else is done in software (float/intrinsics.ts).
 */
import type { BinaryOp, Expr, RegField, Semantics, UnaryOp } from "../isa/ir.ts";

/** One of the two widths. */
export interface Width {
  readonly type: "f32" | "f64";
  /** Mnemonic suffix. */
  readonly suffix: "s" | "d";
  /** The fmt field. */
  readonly fmt: "00" | "01";
  /** Smallest normal number. A result that equals it may have been tiny before rounding. */
  readonly smallest: number;
}
export const single: Width = { type: "f32", suffix: "s", fmt: "00", smallest: 2 ** -126 };
export const double: Width = { type: "f64", suffix: "d", fmt: "01", smallest: 2 ** -1022 };

const ILLEGAL_INSTRUCTION = 2;
const BOX = -(1n << 32n);
const NV = 16;
const IMPLICIT_BIT = 1n << 52n;

type FloatName = "add" | "sub" | "mul" | "div" | "min" | "max" | "eq" | "lt" | "le" | "gt" | "ge";

/** Shorthands over one clause's {@link Semantics}. */
class FloatBuilder {
  readonly s: Semantics;
  readonly w: Width;

  constructor(s: Semantics, w: Width) {
    this.s = s;
    this.w = w;
  }

  // ---- operators
  op2(name: FloatName, a: Expr, b: Expr): Expr {
    return this.s.op(`${a.type as "f32" | "f64"}.${name}` as BinaryOp, a, b);
  }
  abs(a: Expr): Expr {
    return this.s.op(`${a.type}.abs` as UnaryOp, a);
  }
  neg(a: Expr): Expr {
    return this.s.op(`${a.type}.neg` as UnaryOp, a);
  }
  constant(value: number, type: "f32" | "f64" = this.w.type): Expr {
    return type === "f32" ? this.s.f32(value) : this.s.f64(value);
  }
  and(first: Expr, ...rest: Expr[]): Expr {
    return rest.reduce((a, b) => this.s.op("i32.and", a, b), first);
  }
  or(first: Expr, ...rest: Expr[]): Expr {
    return rest.reduce((a, b) => this.s.op("i32.or", a, b), first);
  }
  not(a: Expr): Expr {
    return this.s.op("i32.eqz", a);
  }
  isZero(a: Expr): Expr {
    return this.op2("eq", a, this.constant(0, a.type as "f32" | "f64"));
  }
  isNumber(a: Expr): Expr {
    return this.op2("eq", a, a);
  }
  promote(a: Expr): Expr {
    return this.s.op("f64.promote_f32", a);
  }

  // ---- operands
  /** Bits of an operand of width `w`; a binary32 number that is not boxed is the canonical NaN. A local (i32 or i64). */
  bits(field: RegField, w: Width = this.w): Expr {
    const { s } = this;
    if (w.type === "f64") return s.let(s.f(field));
    const raw = s.let(s.f(field));
    return s.let(s.select(s.op("i64.ge_u", raw, s.i64(BOX)), s.op("i32.wrap_i64", raw), s.i32(0x7fc0_0000)));
  }
  /** Value of an operand, in a local. */
  value(field: RegField, w: Width = this.w): Expr {
    const bits = this.bits(field, w);
    return this.s.let(this.s.op(w.type === "f64" ? "f64.reinterpret_i64" : "f32.reinterpret_i32", bits));
  }
  /** Writes bits of width `w` to rd. */
  writeBits(bits: Expr): void {
    const { s } = this;
    s.setF("rd", bits.type === "i64" ? bits : s.op("i64.or", s.op("i64.extend_i32_u", bits), s.i64(BOX)));
  }
  write(value: Expr): void {
    this.writeBits(this.s.op(value.type === "f64" ? "i64.reinterpret_f64" : "i32.reinterpret_f32", value));
  }

  // ---- rounding mode and flags
  /** The rounding mode in force, in a local; above 4 it is invalid. */
  rounding(): Expr {
    const { s } = this;
    return s.let(s.select(s.op("i32.eq", s.field("rm"), s.i32(7)), s.state("frm"), s.field("rm")));
  }
  inexactSet(): Expr {
    return this.s.op("i32.and", this.s.state("fflags"), this.s.i32(1));
  }
  /** Traps on an invalid rounding mode, otherwise does `body`. */
  checked(rm: Expr, body: () => void): void {
    const { s } = this;
    s.if(s.op("i32.gt_u", rm, s.i32(4)), () => s.trap(ILLEGAL_INSTRUCTION), body);
  }
  /** The software operation, its result to rd as a float register. */
  slow(rm: Expr, fn: string, args: readonly Expr[]): void {
    this.checked(rm, () => this.s.setF("rd", this.s.call(fn, [rm, ...args], "i64")));
  }

  // ---- tests on results
  /** The exponent field; integers need fewer instructions of a processor than comparisons of magnitudes. */
  #exponent(r: Expr): Expr {
    const { s } = this;
    return r.type === "f64"
      ? s.op("i32.and", s.op("i32.wrap_i64", s.op("i64.shr_u", s.op("i64.reinterpret_f64", r), s.i64(52))), s.i32(0x7ff))
      : s.op("i32.and", s.op("i32.shr_u", s.op("i32.reinterpret_f32", r), s.i32(23)), s.i32(0xff));
  }
  /** Finite, and at least twice the smallest normal number: rounding raised at most NX. */
  normal(r: Expr): Expr {
    return this.s.op("i32.lt_u", this.s.op("i32.sub", this.#exponent(r), this.s.i32(2)), this.s.i32(r.type === "f64" ? 0x7fd : 0xfd));
  }
  finite(r: Expr): Expr {
    return this.s.op("i32.lt_u", this.#exponent(r), this.s.i32(r.type === "f64" ? 0x7ff : 0xff));
  }
  /**
   * r = a + b exactly, given that r is the rounded sum and finite. With |x| ≥ |y| the difference r − x is exact (Dekker 1971),
   * so the comparison with y tells; testing both ways needs no ordering.
   */
  exactSum(r: Expr, a: Expr, b: Expr): Expr {
    return this.and(this.op2("eq", this.op2("sub", r, a), b), this.op2("eq", this.op2("sub", r, b), a));
  }
  /** Trailing zeros of a binary64 significand (too few for subnormal numbers never: those have fewer bits still). */
  #trailing(a: Expr): Expr {
    const { s } = this;
    return s.op("i64.ctz", s.op("i64.or", s.op("i64.reinterpret_f64", a), s.i64(IMPLICIT_BIT)));
  }
  /** The binary64 product of a and b has at most 53 significant bits. */
  shortProduct(a: Expr, b: Expr): Expr {
    const { s } = this;
    return s.op("i64.ge_u", s.op("i64.add", this.#trailing(a), this.#trailing(b)), s.i64(53));
  }
  /** x * y = z exactly, given |z| normal; exact for binary32 (48 bits fit binary64), never wrongly true for binary64. */
  exactProduct(x: Expr, y: Expr, z: Expr): Expr {
    return this.w.type === "f32"
      ? this.op2("eq", this.op2("mul", this.promote(x), this.promote(y)), this.promote(z))
      : this.and(
          this.op2("eq", this.op2("mul", x, y), z),
          this.shortProduct(x, y),
          this.op2("gt", this.abs(z), this.constant(this.w.smallest)),
        );
  }
  /**
   * A two-sum: the rounded sum and its exact error (Knuth). Addition never underflows, so this holds for all finite sums.
   */
  twoSum(a: Expr, b: Expr): { high: Expr; low: Expr } {
    const { s } = this;
    const high = s.let(this.op2("add", a, b));
    const rounded = s.let(this.op2("sub", high, a));
    const low = s.let(this.op2("add", this.op2("sub", a, this.op2("sub", high, rounded)), this.op2("sub", b, rounded)));
    return { high, low };
  }
  /** high + low rounded to odd, for a two-sum of binary64: the neighbour towards `low` when the last bit is even. */
  roundToOdd(high: Expr, low: Expr): Expr {
    const { s } = this;
    const bits = s.let(s.op("i64.reinterpret_f64", high));
    const zero = s.f64(0);
    const outward = s.op("i32.eq", s.op("f64.gt", low, zero), s.op("f64.gt", high, zero));
    s.if(this.and(s.op("f64.ne", low, zero), s.op("i64.eqz", s.op("i64.and", bits, s.i64(1)))), () => {
      s.assign(bits, s.op("i64.add", bits, s.select(outward, s.i64(1), s.i64(-1))));
    });
    return s.let(s.op("f64.reinterpret_i64", bits));
  }

  /**
   * The common shape: `fast` (i32) says that the result is ordinary and the mode is nearest even; without NX the exactness test
   * decides. One test after the other, since each by itself is nearly always the same way. `otherwise`: results that are right though `fast` does not hold.
   */
  finish(fast: Expr, exact: () => Expr, write: () => void, slow: () => void, otherwise?: Expr): void {
    const { s } = this;
    s.if(
      fast,
      () => s.if(this.inexactSet(), write, () => s.if(exact(), write, slow)),
      otherwise === undefined ? slow : () => s.if(otherwise, write, slow),
    );
  }
}

/** FADD, FSUB. A sum is never inexact when tiny, so any finite result will do. */
export function addition(w: Width, name: "add" | "sub"): (s: Semantics) => void {
  return (s) => {
    const b = new FloatBuilder(s, w);
    const rm = b.rounding();
    const x = b.value("rs1");
    const y = b.value("rs2");
    const r = s.let(b.op2(name, x, y));
    b.finish(
      b.and(b.not(rm), b.finite(r)),
      () => b.exactSum(r, x, name === "add" ? y : s.let(b.neg(y))),
      () => b.write(r),
      () => b.slow(rm, `${w.type}_${name}`, [s.f("rs1"), s.f("rs2")]),
    );
  };
}

/** FMUL. A zero result is exact only from a zero operand. */
export function multiplication(w: Width): (s: Semantics) => void {
  return (s) => {
    const b = new FloatBuilder(s, w);
    const rm = b.rounding();
    const x = b.value("rs1");
    const y = b.value("rs2");
    const r = s.let(b.op2("mul", x, y));
    b.finish(
      b.and(b.not(rm), b.normal(r)),
      () => (w.type === "f32" ? b.exactProduct(x, y, r) : b.shortProduct(x, y)),
      () => b.write(r),
      () => b.slow(rm, `${w.type}_mul`, [s.f("rs1"), s.f("rs2")]),
      b.and(b.not(rm), b.isZero(r), b.or(b.isZero(x), b.isZero(y))),
    );
  };
}

/** FDIV. */
export function division(w: Width): (s: Semantics) => void {
  return (s) => {
    const b = new FloatBuilder(s, w);
    const rm = b.rounding();
    const x = b.value("rs1");
    const y = b.value("rs2");
    const r = s.let(b.op2("div", x, y));
    // 0 / 0 is not zero.
    b.finish(
      b.and(b.not(rm), b.normal(r)),
      () => b.exactProduct(r, y, x),
      () => b.write(r),
      () => b.slow(rm, `${w.type}_div`, [s.f("rs1"), s.f("rs2")]),
      b.and(b.not(rm), b.isZero(r), b.isZero(x)),
    );
  };
}

/** FSQRT. A root is never tiny; a negative operand or a NaN gives NaN. */
export function squareRoot(w: Width): (s: Semantics) => void {
  return (s) => {
    const b = new FloatBuilder(s, w);
    const rm = b.rounding();
    const x = b.value("rs1");
    const r = s.let(s.op(`${w.type}.sqrt`, x));
    b.finish(
      b.and(b.not(rm), b.finite(r)),
      () => b.or(b.isZero(r), b.exactProduct(r, r, x)),
      () => b.write(r),
      () => b.slow(rm, `${w.type}_sqrt`, [s.f("rs1")]),
    );
  };
}

/** Which signs FMADD, FMSUB, FNMSUB, FNMADD turn; their bits are the intrinsic's `signs` argument. */
export const FusedSigns = { madd: 0, nmsub: 1, msub: 2, nmadd: 3 } as const;
export type Fused = keyof typeof FusedSigns;

/** FMADD and its three relatives. */
export function fused(w: Width, name: Fused): (s: Semantics) => void {
  const signs = FusedSigns[name];
  return (s) => {
    const b = new FloatBuilder(s, w);
    const rm = b.rounding();
    const x = b.value("rs1");
    const y = b.value("rs2");
    const z = b.value("rs3");
    const slow = (): void => b.slow(rm, `${w.type}_fma`, [s.i32(signs), s.f("rs1"), s.f("rs2"), s.f("rs3")]);
    const turn = (flag: number, a: Expr): Expr => ((signs & flag) !== 0 ? b.neg(a) : a);
    if (w.type === "f32") fusedSingle(s, b, rm, [turn(1, x), y, turn(2, z)], slow);
    else fusedDouble(s, b, rm, [turn(1, x), y, turn(2, z)], slow);
  };
}

/**
 * The product of binary32 numbers is exact in binary64; the sum is rounded to odd there, after which rounding to
 * binary32 is right because binary64 keeps more than two bits more (Boldo and Melquiond 2008).
 */
function fusedSingle(s: Semantics, b: FloatBuilder, rm: Expr, [x, y, z]: readonly [Expr, Expr, Expr], slow: () => void): void {
  const product = s.let(b.op2("mul", b.promote(x), b.promote(y)));
  const { high, low } = b.twoSum(product, s.let(b.promote(z)));
  const wide = b.roundToOdd(high, low);
  const r = s.let(s.op("f32.demote_f64", wide));
  // An exact zero has the sign that nearest even gives it; a nonzero sum that rounds to zero is tiny.
  b.finish(
    b.and(b.not(rm), b.or(b.normal(r), b.isZero(high))),
    () => b.and(b.isZero(low), b.op2("eq", b.promote(r), high)),
    () => b.write(r),
    slow,
  );
}

/** With NX set, as it is in most programs soon, by the processor; otherwise by {@link fusedExactly}. */
function fusedDouble(s: Semantics, b: FloatBuilder, rm: Expr, operands: readonly [Expr, Expr, Expr], slow: () => void): void {
  const [x, y, z] = operands.map((a) => s.let(a)) as [Expr, Expr, Expr];
  const hardware = s.let(b.and(s.hasFma, b.not(rm), b.inexactSet()));
  const result = s.let(s.f64(0));
  // The processor's result, if at most NX was raised by it and that is set already.
  s.if(hardware, () => {
    s.assign(result, s.fma(x, y, z));
    s.assign(hardware, b.normal(result));
  });
  s.if(
    hardware,
    () => b.write(result),
    () => fusedExactly(s, b, rm, [x, y, z], slow),
  );
}

/**
 * Boldo and Melquiond, "Emulation of a FMA and correctly rounded sums: proved algorithms using rounding to odd", 2008.
 * The guard keeps the exact product a sum of two binary64 numbers (its last place at least 2^-1074) and everything below
 * overflow. All terms are then multiples of 2^-1074: a tiny result is exact, so only NX can arise.
 */
function fusedExactly(s: Semantics, b: FloatBuilder, rm: Expr, [x, y, z]: readonly [Expr, Expr, Expr], slow: () => void): void {
  const below = (a: Expr, limit: number): Expr => s.op("f64.lt", b.abs(a), s.f64(limit));
  const product = s.let(s.op("f64.mul", x, y));
  const fast = s.let(
    b.and(
      b.not(rm),
      below(x, 2 ** 990),
      below(y, 2 ** 990),
      below(product, 2 ** 1000),
      below(z, 2 ** 1000),
      b.or(s.op("f64.gt", b.abs(product), s.f64(2 ** -960)), b.isZero(x), b.isZero(y)),
    ),
  );
  const r = s.let(product);
  s.if(fast, () => {
    const split = (a: Expr): [Expr, Expr] => {
      const scaled = s.let(s.op("f64.mul", a, s.f64(2 ** 27 + 1)));
      const high = s.let(s.op("f64.sub", scaled, s.op("f64.sub", scaled, a)));
      return [high, s.let(s.op("f64.sub", a, high))];
    };
    const [xh, xl] = split(x);
    const [yh, yl] = split(y);
    const mul = (a: Expr, c: Expr): Expr => s.op("f64.mul", a, c);
    const sub = (a: Expr, c: Expr): Expr => s.op("f64.sub", a, c);
    const error = s.let(sub(mul(xl, yl), sub(sub(sub(product, mul(xh, yh)), mul(xl, yh)), mul(xh, yl))));
    const t = b.twoSum(z, error);
    const v = b.twoSum(product, t.high);
    const rest = b.twoSum(t.low, v.low);
    const odd = b.roundToOdd(rest.high, rest.low);
    s.assign(r, s.op("f64.add", v.high, odd));
    s.if(b.not(b.inexactSet()), () => s.assign(fast, b.and(b.isZero(rest.low), b.exactSum(r, v.high, odd))));
    // The algorithm loses the sign of an exact zero.
    s.if(b.isZero(r), () => s.assign(r, s.op("f64.add", product, z)));
  });
  s.if(fast, () => b.write(r), slow);
}

/** FMIN, FMAX (minimumNumber, maximumNumber). */
export function minMax(w: Width, name: "min" | "max"): (s: Semantics) => void {
  return (s) => {
    const b = new FloatBuilder(s, w);
    const x = b.value("rs1");
    const y = b.value("rs2");
    s.if(
      b.and(b.isNumber(x), b.isNumber(y)),
      () => b.write(b.op2(name, x, y)),
      () => s.setF("rd", s.call(`${w.type}_${name}`, [s.f("rs1"), s.f("rs2")], "i64")),
    );
  };
}

/** FEQ (quiet), FLT, FLE (NV for any NaN). */
export function comparison(w: Width, name: "eq" | "lt" | "le"): (s: Semantics) => void {
  return (s) => {
    const b = new FloatBuilder(s, w);
    const x = b.value("rs1");
    const y = b.value("rs2");
    s.if(
      b.and(b.isNumber(x), b.isNumber(y)),
      () => s.setX("rd", s.bool(b.op2(name, x, y))),
      () => {
        if (name === "eq") {
          s.setX("rd", s.call(`${w.type}_eq`, [s.f("rs1"), s.f("rs2")], "i64"));
        } else {
          s.setState("fflags", s.op("i32.or", s.state("fflags"), s.i32(NV)));
          s.setX("rd", s.i64(0));
        }
      },
    );
  };
}

/** FSGNJ, FSGNJN, FSGNJX: on bits, no flags. */
export function signInjection(w: Width, how: "copy" | "negate" | "xor"): (s: Semantics) => void {
  return (s) => {
    const b = new FloatBuilder(s, w);
    const x = b.bits("rs1");
    const y = b.bits("rs2");
    const wide = w.type === "f64";
    const op = (name: "and" | "or" | "xor", p: Expr, q: Expr): Expr => s.op(`${wide ? "i64" : "i32"}.${name}`, p, q);
    const mask = (): Expr => (wide ? s.i64(-(1n << 63n)) : s.i32(-(2 ** 31)));
    const rest = (): Expr => (wide ? s.i64((1n << 63n) - 1n) : s.i32(2 ** 31 - 1));
    if (how === "xor") {
      b.writeBits(op("xor", x, op("and", y, mask())));
    } else {
      const sign = op("and", y, mask());
      b.writeBits(op("or", op("and", x, rest()), how === "copy" ? sign : op("xor", sign, mask())));
    }
  };
}

/** FCLASS: no flags. */
export function classification(w: Width): (s: Semantics) => void {
  return (s) => {
    const b = new FloatBuilder(s, w);
    const wide = w.type === "f64";
    const width = wide ? 64n : 32n;
    const infinity = wide ? 0x7ff0n << 48n : 0x7f80n << 16n;
    const quiet = wide ? 0x7ff8n << 48n : 0x7fc0n << 16n;
    const smallest = wide ? 1n << 52n : 1n << 23n;
    const raw = b.bits("rs1");
    const bits = wide ? raw : s.let(s.op("i64.extend_i32_u", raw));
    const magnitude = s.let(s.op("i64.and", bits, s.i64((1n << (width - 1n)) - 1n)));
    const than = (op: "i64.gt_u" | "i64.ge_u" | "i64.eq", limit: bigint): Expr => s.op(op, magnitude, s.i64(limit));
    // 7 infinite, 6 normal, 5 subnormal, 4 zero; mirrored for negative numbers.
    const kind = s.let(
      s.select(
        than("i64.eq", infinity),
        s.i64(7),
        s.select(than("i64.ge_u", smallest), s.i64(6), s.select(than("i64.eq", 0n), s.i64(4), s.i64(5))),
      ),
    );
    const negative = s.op("i32.wrap_i64", s.op("i64.shr_u", bits, s.i64(width - 1n)));
    const number = s.op("i64.shl", s.i64(1), s.select(negative, s.op("i64.sub", s.i64(7), kind), kind));
    const nan = s.select(than("i64.ge_u", quiet), s.i64(512), s.i64(256));
    s.setX("rd", s.select(than("i64.gt_u", infinity), nan, number));
  };
}

/** An integer type of the conversions, by the letters of its mnemonic. */
export type IntegerKind = "w" | "wu" | "l" | "lu";
/** Names of the integer types in intrinsics. */
export const integerNames: Readonly<Record<IntegerKind, string>> = { w: "i32", wu: "u32", l: "i64", lu: "u64" };

/** FCVT to an integer: rounds by mode, then tests the range; unsigned 32-bit results are sign-extended. */
export function toInteger(w: Width, kind: IntegerKind): (s: Semantics) => void {
  const wide = kind === "l" || kind === "lu";
  const unsigned = kind === "wu" || kind === "lu";
  const bits = wide ? 64 : 32;
  return (s) => {
    const b = new FloatBuilder(s, w);
    const rm = b.rounding();
    const x = b.value("rs1");
    const is = (mode: number): Expr => s.op("i32.eq", rm, s.i32(mode));
    const by = (name: "nearest" | "trunc" | "floor" | "ceil"): Expr => s.op(`${w.type}.${name}`, x);
    // Nearest with ties away from zero has no operator: only its exact cases are done here.
    const t = s.let(s.select(is(1), by("trunc"), s.select(is(2), by("floor"), s.select(is(3), by("ceil"), by("nearest")))));
    const quiet = b.or(b.op2("eq", t, x), b.and(b.inexactSet(), s.op("i32.lt_u", rm, s.i32(4))));
    const lowest = unsigned ? 0 : -(2 ** (bits - 1));
    const end = b.constant(2 ** (unsigned ? bits : bits - 1));
    const fits = b.and(b.op2("ge", t, b.constant(lowest)), b.op2("lt", t, end));
    const result = s.op(`i${bits}.trunc_sat_${w.type}_${unsigned ? "u" : "s"}` as UnaryOp, t);
    const write = (): void => s.setX("rd", wide ? result : s.op("i64.extend_i32_s", result));
    s.if(b.and(quiet, s.op("i32.le_u", rm, s.i32(4)), fits), write, () => {
      // Nearest with ties away may round what is beyond the end by less than one half to it, or below.
      const beyond = b.or(b.op2("ge", x, end), b.op2("le", x, b.constant(lowest - 1)));
      s.if(
        b.and(s.op("i32.lt_u", rm, s.i32(4)), beyond),
        () => {
          s.setState("fflags", s.op("i32.or", s.state("fflags"), s.i32(NV)));
          write();
        },
        () => b.checked(rm, () => s.setX("rd", s.call(`${w.type}_to_${integerNames[kind]}`, [rm, s.f("rs1")], "i64"))),
      );
    });
  };
}

/** FCVT from an integer: never tiny, never too large. */
export function fromInteger(w: Width, kind: IntegerKind): (s: Semantics) => void {
  const wide = kind === "l" || kind === "lu";
  const unsigned = kind === "wu" || kind === "lu";
  const sign = unsigned ? "u" : "s";
  return (s) => {
    const b = new FloatBuilder(s, w);
    const rm = b.rounding();
    const x = s.let(wide ? s.x("rs1") : s.op("i32.wrap_i64", s.x("rs1")));
    const r = s.let(s.op(`${w.type}.convert_i${wide ? 64 : 32}_${sign}` as UnaryOp, x));
    if (w.type === "f64" && !wide) {
      b.checked(rm, () => b.write(r));
      return;
    }
    const back = wide
      ? b.and(
          s.op("i64.eq", s.op(`i64.trunc_sat_${w.type}_${sign}`, r), x),
          // The saturated conversion back would take the next power of two for the largest integers.
          b.op2("lt", r, b.constant(2 ** (unsigned ? 64 : 63))),
        )
      : s.op("f64.eq", b.promote(r), s.op(`f64.convert_i32_${sign}`, x));
    const exact = b.and(back, s.op("i32.le_u", rm, s.i32(4)));
    s.if(
      b.or(exact, b.and(b.not(rm), b.inexactSet())),
      () => b.write(r),
      () => {
        const value = wide ? x : s.op(`i64.extend_i32_${sign}`, x);
        b.slow(rm, `${kind === "lu" ? "u64" : "i64"}_to_${w.type}`, [value]);
      },
    );
  };
}

/** FCVT.D.S: exact; a NaN becomes canonical. */
export function widen(): (s: Semantics) => void {
  return (s) => {
    const b = new FloatBuilder(s, double);
    const rm = b.rounding();
    const x = b.value("rs1", single);
    s.if(
      b.and(b.isNumber(x), s.op("i32.le_u", rm, s.i32(4))),
      () => b.write(b.promote(x)),
      () => b.slow(rm, "f32_to_f64", [s.f("rs1")]),
    );
  };
}

/** FCVT.S.D. An exact result raises nothing in any mode. */
export function narrow(): (s: Semantics) => void {
  return (s) => {
    const b = new FloatBuilder(s, single);
    const rm = b.rounding();
    const x = b.value("rs1", double);
    const r = s.let(s.op("f32.demote_f64", x));
    const exact = b.and(s.op("f64.eq", b.promote(r), x), s.op("i32.le_u", rm, s.i32(4)));
    const fast = s.let(b.and(b.normal(r), b.not(rm), b.inexactSet()));
    s.if(
      b.or(fast, exact),
      () => b.write(r),
      () => b.slow(rm, "f64_to_f32", [s.f("rs1")]),
    );
  };
}
