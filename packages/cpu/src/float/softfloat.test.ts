import { describe, expect, test } from "vitest";
import * as soft from "./softfloat.ts";
import { binary32, binary64, Flag, RoundingMode, type FloatFormat, type FloatStatus } from "./softfloat.ts";

const { RNE, RTZ, RDN, RUP, RMM } = RoundingMode;
const MODES = [RNE, RTZ, RDN, RUP, RMM];
const { NX, UF, OF, DZ, NV } = Flag;

const buffer = new DataView(new ArrayBuffer(8));
function bits64(value: number): bigint {
  buffer.setFloat64(0, value);
  return buffer.getBigUint64(0);
}
function number64(bits: bigint): number {
  buffer.setBigUint64(0, bits);
  return buffer.getFloat64(0);
}
function bits32(value: number): bigint {
  buffer.setFloat32(0, value);
  return BigInt(buffer.getUint32(0));
}
function number32(bits: bigint): number {
  buffer.setUint32(0, Number(bits));
  return buffer.getFloat32(0);
}

/** A fixed sequence (xorshift64*). */
function generator(seed: bigint): (bits: number) => bigint {
  let state = seed;
  return (bits) => {
    state ^= BigInt.asUintN(64, state << 13n);
    state ^= state >> 7n;
    state ^= BigInt.asUintN(64, state << 17n);
    return BigInt.asUintN(64, state * 2685821657736338717n) >> BigInt(64 - bits);
  };
}

/** Edge values and random ones that favour near-equal exponents, short significands and subnormal numbers. */
function operands(f: FloatFormat, seed: bigint): () => bigint {
  const random = generator(seed);
  const one = BigInt(f.bias) << f.fractionBits;
  const minNormal = 1n << f.fractionBits;
  const edges = [
    0n,
    1n,
    2n,
    minNormal - 1n,
    minNormal,
    minNormal + 1n,
    f.infinity - 1n,
    f.infinity - 2n,
    one,
    one + 1n,
    one - 1n,
    one + minNormal,
  ];
  return () => {
    const sign = random(1) << BigInt(f.width - 1);
    const fraction = random(f.precision - 1);
    switch (Number(random(3))) {
      case 0:
        return sign | edges[Number(random(8)) % edges.length]!;
      case 1:
        return sign | (fraction >> (random(8) % f.fractionBits));
      case 2:
        return sign | ((random(2) << f.fractionBits) + fraction);
      case 3:
        return (
          sign |
          ((one + ((random(6) - 32n) << f.fractionBits)) & f.infinity) |
          (((fraction >> (random(8) % f.fractionBits)) << 1n) & f.fractionMask)
        );
      case 4:
        return sign | (f.infinity - ((1n + random(3)) << f.fractionBits)) | fraction;
      case 5:
        return sign | ((BigInt(f.bias >> 1) << f.fractionBits) + (random(4) << f.fractionBits)) | fraction;
      case 6:
        return sign | (one + ((random(6) - 32n) << f.fractionBits)) | fraction;
      default: {
        const any = random(f.width);
        return (any & f.infinity) === f.infinity ? any & ~(1n << f.fractionBits) : any;
      }
    }
  };
}

/**
 * A second opinion on rounding: finds the result by searching the ordered bit patterns and comparing exact values.
 * Values are integers scaled by 2^SCALE; `compare` gives the sign of |exact| − value.
 */
const SCALE = 1400;
interface Exact {
  negative: boolean;
  compare: (scaled: bigint) => number;
}
function valueOf(f: FloatFormat, magnitude: bigint, extra: number): bigint {
  const biased = Number(magnitude >> f.fractionBits);
  const significand = (magnitude & f.fractionMask) | (biased === 0 ? 0n : 1n << f.fractionBits);
  return significand << BigInt(SCALE + Math.max(biased, 1) - f.bias - extra - f.precision + 1);
}
/** Largest pattern below or at the exact value, in the format with its least exponent lowered by `extra`. */
function floorPattern(f: FloatFormat, x: Exact, extra: number): bigint {
  let low = 0n;
  let high = f.infinity + (BigInt(extra) << f.fractionBits);
  while (low < high) {
    const middle = (low + high + 1n) >> 1n;
    if (x.compare(valueOf(f, middle, extra)) >= 0) low = middle;
    else high = middle - 1n;
  }
  return low;
}
function pick(f: FloatFormat, x: Exact, rm: number, extra: number): { pattern: bigint; exact: boolean } {
  const low = floorPattern(f, x, extra);
  const value = valueOf(f, low, extra);
  if (x.compare(value) === 0) return { pattern: low, exact: true };
  const side = x.compare((value + valueOf(f, low + 1n, extra)) / 2n);
  const up =
    rm === RTZ ? false : rm === RDN ? x.negative : rm === RUP ? !x.negative : side > 0 || (side === 0 && (rm === RMM || (low & 1n) === 1n));
  return { pattern: up ? low + 1n : low, exact: false };
}
function reference(f: FloatFormat, x: Exact, rm: number): { bits: bigint; flags: number } {
  const sign = x.negative ? f.sign : 0n;
  const { pattern, exact } = pick(f, x, rm, 0);
  if (pattern >= f.infinity) {
    const infinite = rm === RNE || rm === RMM || rm === (x.negative ? RDN : RUP);
    return { bits: sign | (infinite ? f.infinity : f.infinity - 1n), flags: OF | NX };
  }
  if (exact) return { bits: sign | pattern, flags: 0 };
  const extra = 300;
  const unbounded = pick(f, x, rm, extra).pattern;
  const tiny = valueOf(f, unbounded, extra) < valueOf(f, 1n << f.fractionBits, 0);
  return { bits: sign | pattern, flags: tiny ? UF | NX : NX };
}
/** A finite number as a rational scaled by 2^SCALE. */
function exactly(f: FloatFormat, a: bigint): bigint {
  const magnitude = valueOf(f, a & ~f.sign, 0);
  return (a & f.sign) === 0n ? magnitude : -magnitude;
}
function rational(numerator: bigint, denominator: bigint): Exact {
  const negative = numerator < 0n !== denominator < 0n;
  const n = numerator < 0n ? -numerator : numerator;
  const d = denominator < 0n ? -denominator : denominator;
  return { negative, compare: (scaled) => (n > scaled * d ? 1 : n < scaled * d ? -1 : 0) };
}

function run(rm: number, operation: (s: FloatStatus) => bigint): { bits: bigint; flags: number } {
  const status = { rm, flags: 0 };
  const bits = operation(status);
  return { bits, flags: status.flags };
}
const hex = (result: { bits: bigint; flags: number }): string => `${result.bits.toString(16)} flags ${result.flags}`;

describe.each([
  ["binary32", binary32, 1500n],
  ["binary64", binary64, 700n],
] as const)("%s against exact rationals", (_name, f, count) => {
  const unit = 1n << BigInt(SCALE);
  const check = (what: string, rm: number, x: Exact, operation: (s: FloatStatus) => bigint): void => {
    expect(hex(run(rm, operation)), `${what} mode ${rm}`).toBe(hex(reference(f, x, rm)));
  };

  test("add, sub, mul, div, sqrt and fma round and flag by definition", () => {
    const next = operands(f, 0x9e37_79b9_7f4a_7c15n);
    for (let i = 0n; i < count; i += 1n) {
      const [a, b, c] = [next(), next(), next()];
      const [x, y, z] = [exactly(f, a), exactly(f, b), exactly(f, c)];
      const what = `${a.toString(16)} ${b.toString(16)} ${c.toString(16)}`;
      const rm = MODES[Number(i % 5n)]!;
      if (x + y !== 0n) check(`add ${what}`, rm, rational(x + y, 1n), (s) => soft.add(f, s, a, b));
      if (x !== y) check(`sub ${what}`, rm, rational(x - y, 1n), (s) => soft.sub(f, s, a, b));
      if (x !== 0n && y !== 0n) {
        check(`mul ${what}`, rm, rational(x * y, unit), (s) => soft.mul(f, s, a, b));
        check(`div ${what}`, rm, rational(x * unit, y), (s) => soft.div(f, s, a, b));
      }
      if (x > 0n) {
        const square = x << BigInt(SCALE);
        const root: Exact = { negative: false, compare: (v) => (square > v * v ? 1 : square < v * v ? -1 : 0) };
        check(`sqrt ${what}`, rm, root, (s) => soft.sqrt(f, s, a));
      }
      if (x * y + (z << BigInt(SCALE)) !== 0n) {
        check(`fma ${what}`, rm, rational(x * y + (z << BigInt(SCALE)), unit), (s) => soft.fma(f, s, a, b, c));
      }
      // Sums that nearly cancel the product.
      const product = run(RNE, (s) => soft.mul(f, s, a, b)).bits ^ f.sign;
      if ((product & ~f.sign) < f.infinity) {
        const sum = x * y + (exactly(f, product) << BigInt(SCALE));
        if (sum !== 0n) check(`fma ${what} cancelling`, rm, rational(sum, unit), (s) => soft.fma(f, s, a, b, product));
      }
    }
  });

  test("conversions from and to integers", () => {
    const random = generator(0x1234_5678_9abc_def1n);
    const next = operands(f, 77n);
    for (let i = 0n; i < count; i += 1n) {
      const rm = MODES[Number(i % 5n)]!;
      const value = BigInt.asIntN(64, random(64)) >> random(6);
      if (value !== 0n) check(`from ${value}`, rm, rational(value << BigInt(SCALE), 1n), (s) => soft.fromInteger(f, s, value));
      const a = next();
      const x = exactly(f, a);
      const floor = x >> BigInt(SCALE);
      const rest = x - (floor << BigInt(SCALE));
      const half = unit / 2n;
      const nearest = rest > half || (rest === half && (rm === RMM ? x > 0n : (floor & 1n) === 1n)) ? floor + 1n : floor;
      const ceil = rest === 0n ? floor : floor + 1n;
      const rounded = rm === RTZ ? (x < 0n ? ceil : floor) : rm === RDN ? floor : rm === RUP ? ceil : nearest;
      for (const [min, max] of [
        [-(2n ** 31n), 2n ** 31n - 1n],
        [0n, 2n ** 32n - 1n],
        [-(2n ** 63n), 2n ** 63n - 1n],
        [0n, 2n ** 64n - 1n],
      ] as const) {
        const wanted =
          rounded < min
            ? { bits: min, flags: NV }
            : rounded > max
              ? { bits: max, flags: NV }
              : { bits: rounded, flags: rest === 0n ? 0 : NX };
        expect(hex(run(rm, (s) => soft.toInteger(f, s, a, min, max))), `${a.toString(16)} to integer, mode ${rm}`).toBe(hex(wanted));
      }
    }
  });

  test("special values", () => {
    const { infinity: inf, sign, canonicalNaN: nan } = f;
    const one = BigInt(f.bias) << f.fractionBits;
    const signaling = inf | 1n;
    const cases: [string, (s: FloatStatus) => bigint, bigint, number][] = [
      ["inf - inf", (s) => soft.sub(f, s, inf, inf), nan, NV],
      ["inf + inf", (s) => soft.add(f, s, inf, inf), inf, 0],
      ["0 * inf", (s) => soft.mul(f, s, 0n, inf), nan, NV],
      ["-1 * inf", (s) => soft.mul(f, s, one | sign, inf), inf | sign, 0],
      ["0 / 0", (s) => soft.div(f, s, 0n, sign), nan, NV],
      ["-1 / 0", (s) => soft.div(f, s, one | sign, 0n), inf | sign, DZ],
      ["inf / 0", (s) => soft.div(f, s, inf, 0n), inf, 0],
      ["inf / inf", (s) => soft.div(f, s, inf, inf), nan, NV],
      ["1 / -inf", (s) => soft.div(f, s, one, inf | sign), sign, 0],
      ["sqrt -1", (s) => soft.sqrt(f, s, one | sign), nan, NV],
      ["sqrt -0", (s) => soft.sqrt(f, s, sign), sign, 0],
      ["sqrt inf", (s) => soft.sqrt(f, s, inf), inf, 0],
      ["qNaN + 1", (s) => soft.add(f, s, nan | 5n | sign, one), nan, 0],
      ["sNaN + 1", (s) => soft.add(f, s, signaling, one), nan, NV],
      ["0 * inf + qNaN", (s) => soft.fma(f, s, 0n, inf, nan), nan, NV],
      ["1 * 1 + qNaN", (s) => soft.fma(f, s, one, one, nan), nan, 0],
      ["inf * 1 - inf", (s) => soft.fma(f, s, inf, one, inf | sign), nan, NV],
      ["min(-0, 0)", (s) => soft.min(f, s, 0n, sign), sign, 0],
      ["max(-0, 0)", (s) => soft.max(f, s, sign, 0n), 0n, 0],
      ["min(sNaN, 1)", (s) => soft.min(f, s, signaling, one), one, NV],
      ["max(1, qNaN)", (s) => soft.max(f, s, one, nan), one, 0],
      ["max(qNaN, qNaN)", (s) => soft.max(f, s, nan | 1n, nan | 2n), nan, 0],
      ["NaN to i32", (s) => soft.toInteger(f, s, nan | sign, -(2n ** 31n), 2n ** 31n - 1n), 2n ** 31n - 1n, NV],
      ["-inf to u64", (s) => soft.toInteger(f, s, inf | sign, 0n, 2n ** 64n - 1n), 0n, NV],
    ];
    for (const [what, operation, bits, flags] of cases) {
      for (const rm of MODES) expect(hex(run(rm, operation)), `${what} mode ${rm}`).toBe(hex({ bits, flags }));
    }
    for (const rm of MODES) {
      const zero = rm === RDN ? sign : 0n;
      expect(run(rm, (s) => soft.sub(f, s, one, one)).bits).toBe(zero);
      expect(run(rm, (s) => soft.add(f, s, sign, 0n)).bits).toBe(zero);
      expect(run(rm, (s) => soft.add(f, s, sign, sign)).bits).toBe(sign);
      expect(run(rm, (s) => soft.fma(f, s, one, one, one | sign)).bits).toBe(zero);
    }
    const kinds = [inf | sign, one | sign, sign | 1n, sign, 0n, 1n, one, inf, signaling, nan];
    kinds.forEach((a, bit) => expect(soft.classify(f, a)).toBe(1 << bit));
  });

  test("comparisons and minimum and maximum agree with JavaScript's", () => {
    const toNumber = f === binary32 ? number32 : number64;
    const next = operands(f, 4711n);
    const values = Array.from({ length: 60 }, next).concat([f.infinity, f.infinity | f.sign, 0n, f.sign]);
    for (const a of values) {
      for (const b of values) {
        const [x, y] = [toNumber(a), toNumber(b)];
        const s = { rm: RNE, flags: 0 };
        expect([soft.eq(f, s, a, b), soft.lt(f, s, a, b), soft.le(f, s, a, b)]).toEqual([x === y, x < y, x <= y]);
        expect([toNumber(soft.min(f, s, a, b)), toNumber(soft.max(f, s, a, b))]).toEqual([Math.min(x, y), Math.max(x, y)]);
        expect(s.flags).toBe(0);
      }
    }
    const quiet = f.canonicalNaN;
    const signaling = f.infinity | 1n;
    const flags = (operation: (s: FloatStatus) => unknown): number => {
      const s = { rm: RNE, flags: 0 };
      expect(operation(s)).toBe(false);
      return s.flags;
    };
    expect(flags((s) => soft.eq(f, s, quiet, 0n))).toBe(0);
    expect(flags((s) => soft.eq(f, s, 0n, signaling))).toBe(NV);
    expect(flags((s) => soft.lt(f, s, quiet, 0n))).toBe(NV);
    expect(flags((s) => soft.le(f, s, 0n, quiet))).toBe(NV);
  });
});

describe("against JavaScript's own arithmetic, to nearest even", () => {
  const same = (x: number): bigint => (Number.isNaN(x) ? binary64.canonicalNaN : bits64(x));
  test("binary64 add, sub, mul, div, sqrt", () => {
    const next = operands(binary64, 99n);
    for (let i = 0; i < 20_000; i += 1) {
      const [a, b] = [next(), next()];
      const [x, y] = [number64(a), number64(b)];
      const s = { rm: RNE, flags: 0 };
      expect(soft.add(binary64, s, a, b)).toBe(same(x + y));
      expect(soft.sub(binary64, s, a, b)).toBe(same(x - y));
      expect(soft.mul(binary64, s, a, b)).toBe(same(x * y));
      expect(soft.div(binary64, s, a, b)).toBe(same(x / y));
      expect(soft.sqrt(binary64, s, a)).toBe(same(Math.sqrt(x)));
    }
  });
  test("conversions between the formats", () => {
    const next = operands(binary64, 5n);
    const near = operands(binary32, 6n);
    for (let i = 0; i < 20_000; i += 1) {
      const narrow = near();
      // Binary64 numbers next to binary32 ones and to the middles between them, and any.
      const wide = i % 2 === 0 ? next() : bits64(number32(narrow)) + (BigInt(i % 7) - 3n) + (i % 4 === 0 ? 1n << 28n : 0n);
      if (Number.isNaN(number64(wide))) continue;
      const s = { rm: RNE, flags: 0 };
      expect(soft.convert(binary64, binary32, s, wide)).toBe(bits32(Math.fround(number64(wide))));
      expect((s.flags & NX) !== 0).toBe(Math.fround(number64(wide)) !== number64(wide));
      const exact = { rm: RTZ, flags: 0 };
      expect(soft.convert(binary32, binary64, exact, narrow)).toBe(bits64(number32(narrow)));
      expect(exact.flags).toBe(0);
    }
    const s = { rm: RNE, flags: 0 };
    expect(soft.convert(binary64, binary32, s, binary64.infinity | 1n)).toBe(binary32.canonicalNaN);
    expect(s.flags).toBe(NV);
  });
});

test("a binary32 number that is not boxed is the canonical NaN", () => {
  expect(soft.unbox(soft.box(0x3f80_0000n))).toBe(0x3f80_0000n);
  expect(soft.unbox(0x3f80_0000n)).toBe(0x7fc0_0000n);
  expect(soft.unbox(0xffff_fffe_3f80_0000n)).toBe(0x7fc0_0000n);
  expect(soft.unbox(-1n)).toBe(0xffff_ffffn);
});

test("sign injection", () => {
  const s = binary32.sign;
  expect(soft.signInject(binary32, 5n, s, "copy")).toBe(5n | s);
  expect(soft.signInject(binary32, 5n | s, s, "negate")).toBe(5n);
  expect(soft.signInject(binary32, 5n | s, s, "xor")).toBe(5n);
  expect(soft.signInject(binary32, 5n, s, "xor")).toBe(5n | s);
});
