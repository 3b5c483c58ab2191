/**
 * What every F and D computation must give, by name, from the software arithmetic alone, and operands that reach its corners.
 * Used by tests; nothing here knows the clauses' meanings.
 */
import * as soft from "./softfloat.ts";
import { binary32, binary64, RoundingMode, type FloatFormat, type FloatStatus } from "./softfloat.ts";

/** Operands of one case: raw float registers a, b, c and an integer register x, all unsigned 64 bits. */
export interface FloatCase {
  readonly a: bigint;
  readonly b: bigint;
  readonly c: bigint;
  readonly x: bigint;
  /** The rm field; 7 is dynamic. Ignored by instructions without one. */
  readonly rm: number;
  readonly frm: number;
}

const INTEGERS: Readonly<Record<string, readonly [min: bigint, max: bigint, width: number]>> = {
  w: [-(1n << 31n), (1n << 31n) - 1n, 32],
  wu: [0n, (1n << 32n) - 1n, 32],
  l: [-(1n << 63n), (1n << 63n) - 1n, 64],
  lu: [0n, (1n << 64n) - 1n, 64],
};
const isFormat = (part: string | undefined): boolean => part === "s" || part === "d";
const formatOf = (part: string | undefined): FloatFormat => (part === "d" ? binary64 : binary32);

/** Format of the float operands of the instruction `name`. */
export function sourceFormat(name: string): FloatFormat {
  const [operation, first, second] = name.split(".");
  if (operation === "fmv") return binary64;
  return formatOf(operation === "fcvt" && isFormat(second) ? second : first);
}

/** The destination register's new value (unsigned 64 bits) and the flags raised; undefined where the rounding mode is invalid. */
export function reference(name: string, { a, b, c, x, rm, frm }: FloatCase): { rd: bigint; flags: number } | undefined {
  const parts = name.split(".");
  const from = sourceFormat(name);
  const to = formatOf(parts[1]);
  const s: FloatStatus = { rm: rm === 7 ? frm : rm, flags: 0 };
  const get = (register: bigint): bigint => (from === binary32 ? soft.unbox(register) : register);
  const put = (bits: bigint): bigint => (to === binary32 ? soft.box(bits) : bits);
  const [p, q, r] = [get(a), get(b), get(c)];
  const bool = (value: boolean): bigint => (value ? 1n : 0n);
  const turned = (bits: bigint): bigint => bits ^ from.sign;

  const unrounded: Record<string, () => bigint> = {
    fsgnj: () => put(soft.signInject(from, p, q, "copy")),
    fsgnjn: () => put(soft.signInject(from, p, q, "negate")),
    fsgnjx: () => put(soft.signInject(from, p, q, "xor")),
    fmin: () => put(soft.min(from, s, p, q)),
    fmax: () => put(soft.max(from, s, p, q)),
    feq: () => bool(soft.eq(from, s, p, q)),
    flt: () => bool(soft.lt(from, s, p, q)),
    fle: () => bool(soft.le(from, s, p, q)),
    fclass: () => BigInt(soft.classify(from, p)),
    "fmv.x.w": () => BigInt.asIntN(32, a),
    "fmv.x.d": () => a,
    "fmv.w.x": () => soft.box(x & 0xffff_ffffn),
    "fmv.d.x": () => x,
  };
  const rounded: Record<string, () => bigint> = {
    fadd: () => put(soft.add(from, s, p, q)),
    fsub: () => put(soft.sub(from, s, p, q)),
    fmul: () => put(soft.mul(from, s, p, q)),
    fdiv: () => put(soft.div(from, s, p, q)),
    fsqrt: () => put(soft.sqrt(from, s, p)),
    fmadd: () => put(soft.fma(from, s, p, q, r)),
    fmsub: () => put(soft.fma(from, s, p, q, turned(r))),
    fnmsub: () => put(soft.fma(from, s, turned(p), q, r)),
    fnmadd: () => put(soft.fma(from, s, turned(p), q, turned(r))),
    fcvt: () => {
      if (isFormat(parts[1]) && isFormat(parts[2])) return put(soft.convert(from, to, s, p));
      if (isFormat(parts[2])) {
        const [min, max, width] = INTEGERS[parts[1]!]!;
        return BigInt.asIntN(width, soft.toInteger(from, s, p, min, max));
      }
      const [min, , width] = INTEGERS[parts[2]!]!;
      return put(soft.fromInteger(to, s, min === 0n ? BigInt.asUintN(width, x) : BigInt.asIntN(width, x)));
    },
  };
  const operation = unrounded[name] ?? unrounded[parts[0]!];
  if (operation === undefined && s.rm > 4) return undefined;
  const rd = BigInt.asUintN(64, (operation ?? rounded[parts[0]!]!)());
  return { rd, flags: s.flags };
}

/** A fixed sequence of numbers and operands (xorshift64*). */
export class OperandSource {
  #state: bigint;
  #last = new Map<FloatFormat, bigint>();

  /** @param seed Not 0. */
  constructor(seed: bigint) {
    this.#state = BigInt.asUintN(64, seed * 0x9e37_79b9_7f4a_7c15n);
  }
  /** `bits` random bits. */
  bits(bits: number): bigint {
    let state = this.#state;
    state ^= BigInt.asUintN(64, state << 13n);
    state ^= state >> 7n;
    state ^= BigInt.asUintN(64, state << 17n);
    this.#state = state;
    return BigInt.asUintN(64, state * 2_685_821_657_736_338_717n) >> BigInt(64 - bits);
  }
  /** 0 … n - 1. */
  below(n: number): number {
    return Number(this.bits(32)) % n;
  }
  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)]!;
  }

  /** Bits of a number: edges of every kind, neighbours of the last one, short significands, subnormal and ordinary ones. */
  number(f: FloatFormat): bigint {
    const sign = this.bits(1) << BigInt(f.width - 1);
    const fraction = this.bits(f.precision - 1);
    const exponent = (value: number): bigint => (BigInt(value) << f.fractionBits) & f.infinity;
    const short = (): bigint => {
      const by = BigInt(this.below(f.precision));
      return (fraction >> by) << by;
    };
    const last = this.#last.get(f) ?? 0n;
    let bits: bigint;
    switch (this.below(12)) {
      case 0:
        bits = this.bits(f.width);
        break;
      case 1:
        bits = sign | this.pick(EDGES.get(f)!);
        break;
      case 2:
        bits = sign | exponent(f.bias - 40 + this.below(90)) | fraction;
        break;
      case 3:
        bits = sign | exponent(f.bias - 40 + this.below(90)) | short();
        break;
      case 4:
        bits = sign | exponent(this.below(2 * f.bias)) | short();
        break;
      case 5:
        bits = sign | (fraction >> BigInt(this.below(f.precision)));
        break;
      case 6:
        bits = sign | exponent(this.below(4)) | fraction;
        break;
      case 7:
        bits = last ^ BigInt(this.below(16)) ^ sign;
        break;
      case 8:
        bits = sign | exponent((f.bias >> 1) + this.below(f.bias)) | fraction;
        break;
      case 9:
        bits = last ^ sign ^ exponent(this.below(7));
        break;
      default: {
        const value = (this.below(4001) - 2000) / this.pick([1, 1, 2, 8, 10, 3]);
        bits = f === binary64 ? bitsOf(value) : soft.convert(binary64, binary32, { rm: RoundingMode.RNE, flags: 0 }, bitsOf(value));
      }
    }
    this.#last.set(f, bits);
    return bits;
  }
  /** A float register with such a number; a binary32 one is sometimes not boxed. */
  register(f: FloatFormat): bigint {
    const bits = this.number(f);
    if (f === binary64) return bits;
    return this.below(40) === 0 ? bits | (this.bits(32) << 32n) : soft.box(bits);
  }
  /** An integer register: short and long numbers, few significant bits, edges. */
  integer(): bigint {
    if (this.below(16) === 0) return BigInt.asUintN(64, this.pick(INTEGER_EDGES));
    let value = this.bits(64) >> BigInt(this.below(64));
    if (this.below(2) === 0) value = BigInt.asUintN(64, ~value);
    const by = this.below(4) === 0 ? BigInt(this.below(63)) : 0n;
    return (value >> by) << by;
  }
  /** Operands for the instruction `name`, with every rounding mode and invalid ones. */
  operands(name: string): FloatCase {
    const f = sourceFormat(name);
    let [a, b, c] = [this.register(f), this.register(f), this.register(f)];
    const kind = this.below(12);
    if (kind === 0) {
      [a, b, c] = this.pick(CORNERS.get(f)!).map((bits) => {
        const turned = bits ^ (this.bits(1) << BigInt(f.width - 1));
        return f === binary64 ? turned : soft.box(turned);
      }) as [bigint, bigint, bigint];
    } else if (kind < 5) {
      // An addend close to the product, of either sign.
      const s = { rm: RoundingMode.RNE, flags: 0 };
      const near = BigInt(this.below(8)) ^ (this.bits(1) << BigInt(f.width - 1));
      c = f === binary64 ? soft.mul(f, s, a, b) ^ near : soft.box(soft.mul(f, s, soft.unbox(a), soft.unbox(b)) ^ near);
    }
    return {
      a: name === "fcvt.s.d" && this.below(2) === 0 ? this.#nearSingle() : a,
      b,
      c,
      x: this.integer(),
      rm: this.pick([0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 7, 7]),
      frm: this.pick([0, 0, 0, 1, 2, 3, 4, 5, 6, 7]),
    };
  }
  /** A binary64 number next to a binary32 one, or next to the middle between two. */
  #nearSingle(): bigint {
    const wide = soft.convert(binary32, binary64, { rm: RoundingMode.RNE, flags: 0 }, this.number(binary32));
    return BigInt.asUintN(64, wide + BigInt(this.below(5) - 2) + (this.below(3) === 0 ? 1n << 28n : 0n));
  }
}

const scratch = new DataView(new ArrayBuffer(8));
function bitsOf(value: number): bigint {
  scratch.setFloat64(0, value);
  return scratch.getBigUint64(0);
}

const INTEGER_EDGES: readonly bigint[] = [
  0n,
  -1n,
  1n << 63n,
  (1n << 63n) - 1n,
  1n << 31n,
  (1n << 31n) - 1n,
  (1n << 32n) - 1n,
  (1n << 53n) + 1n,
  (1n << 24n) + 1n,
];

function edges(f: FloatFormat): bigint[] {
  const one = BigInt(f.bias) << f.fractionBits;
  const power = (n: number): bigint => BigInt(f.bias + n) << f.fractionBits;
  const normal = 1n << f.fractionBits;
  const list = [
    0n,
    1n,
    2n,
    normal - 1n,
    normal,
    normal + 1n,
    f.infinity - 1n,
    f.infinity,
    f.canonicalNaN,
    f.infinity | 1n,
    f.infinity | f.quiet | 5n,
    one,
    one + 1n,
    one - 1n,
    power(-1),
    power(1),
    power(31),
    power(31) - 1n,
    power(32),
    power(32) - 1n,
    power(63),
    power(63) - 1n,
    power(64),
    power(64) - 1n,
  ];
  // The ends of binary32 and of the 32-bit integers within binary64.
  if (f === binary64) {
    list.push(
      0x47ef_ffff_e000_0000n,
      0x47ef_ffff_f000_0000n,
      power(-126),
      power(-126) - 1n,
      power(-149),
      power(-150),
      bitsOf(2 ** 31 - 1),
      bitsOf(2 ** 32 - 1),
      bitsOf(2 ** 31 - 0.5),
      bitsOf(2 ** 32 - 0.5),
      bitsOf(2 ** 31 + 0.5),
    );
  }
  return list;
}
/** Operands, by magnitude, that random ones hardly reach. */
function corners(f: FloatFormat): [bigint, bigint, bigint][] {
  const power = (n: number): bigint => BigInt(f.bias + n) << f.fractionBits;
  const one = power(0);
  const normal = 1n << f.fractionBits;
  return [
    // Products and quotients that round up to the smallest normal number: tiny, unless they would round up with any exponent.
    [normal, one - 1n, 0n],
    [normal + 1n, one - 1n, 0n],
    [normal + 1n, one - 2n, 0n],
    [normal, one + 1n, 0n],
    [normal - 1n, one + 1n, 0n],
    [normal - 1n, one, normal],
    [power(-60), normal + 1n, normal],
    [power(-60), normal, normal - 1n],
    [(normal << 1n) - 1n, power(1), 0n],
    [normal + 3n, power(1) - 1n, 0n],
    // Factors at the ends of the range whose product is ordinary.
    [f.infinity - 1n, normal + 5n, one],
    [f.infinity - 1n, power(-f.bias >> 1) | 1n, one],
    [f.infinity - 1n, one - 1n, f.infinity - 1n],
    // Zeros of both signs.
    [0n, one, 0n],
    [one, 0n, 0n],
    [0n, 0n, 0n],
    [one + 1n, one + 1n, 0n],
    [0n, one, normal - 1n],
    [0n, f.infinity - 1n, f.infinity - 1n],
    // Products that the addend cancels exactly, or to the last place.
    [one, one, one],
    [one + 2n, one, one + 2n],
    [power(30) + 1n, power(-30), one + 1n],
    [one + 1n, one - 1n, one],
    [one + 1n, one + 1n, one + 2n],
    [power(10), power(10), power(20) - 1n],
    [one, one, power(-f.precision)],
    [one + 1n, one, power(-f.precision)],
    [0n, f.infinity, f.canonicalNaN],
    [f.infinity, one, f.infinity],
    [f.infinity, 0n, f.infinity | 1n],
  ];
}
const CORNERS: ReadonlyMap<FloatFormat, [bigint, bigint, bigint][]> = new Map([
  [binary32, corners(binary32)],
  [binary64, corners(binary64)],
]);
const EDGES: ReadonlyMap<FloatFormat, readonly bigint[]> = new Map([
  [binary32, edges(binary32)],
  [binary64, edges(binary64)],
]);
