/**
 * IEEE 754 binary32 and binary64 arithmetic with all five RISC-V rounding modes and exact exception flags.
 * Values are their bits, as unsigned BigInts. Every operation computes its result exactly (or exactly up to a sticky bit)
 * and rounds once, so that it can be read against the standard: this is the meaning, not the fast path.
 * NaN results are the canonical NaN (The RISC-V Instruction Set Manual, chapter "F", section "NaN Generation and Propagation").
 */

/** Rounding modes, by their number in `frm` and in the `rm` field. */
export const RoundingMode = { RNE: 0, RTZ: 1, RDN: 2, RUP: 3, RMM: 4 } as const;

/** Bits of `fflags`. */
export const Flag = { NX: 1, UF: 2, OF: 4, DZ: 8, NV: 16 } as const;

/** Where an operation rounds by and reports to: `flags` is only ever added to. */
export interface FloatStatus {
  /** 0 … 4. */
  rm: number;
  /** Accrued {@link Flag} bits. */
  flags: number;
}

/** A binary interchange format. */
export interface FloatFormat {
  /** Width in bits. */
  readonly width: number;
  /** Significant bits, the implicit one included. */
  readonly precision: number;
  readonly bias: number;
  /** Stored fraction bits as a shift count. */
  readonly fractionBits: bigint;
  readonly fractionMask: bigint;
  /** The largest biased exponent, in place: also the bits of +infinity. */
  readonly infinity: bigint;
  readonly sign: bigint;
  /** The bit that tells a quiet NaN. */
  readonly quiet: bigint;
  readonly canonicalNaN: bigint;
}

function format(width: number, precision: number): FloatFormat {
  const fractionBits = BigInt(precision - 1);
  const bias = 2 ** (width - precision - 1) - 1;
  const infinity = BigInt(2 * bias + 1) << fractionBits;
  const quiet = 1n << (fractionBits - 1n);
  return {
    width,
    precision,
    bias,
    fractionBits,
    infinity,
    quiet,
    fractionMask: (1n << fractionBits) - 1n,
    sign: 1n << BigInt(width - 1),
    canonicalNaN: infinity | quiet,
  };
}

export const binary32: FloatFormat = format(32, 24);
export const binary64: FloatFormat = format(64, 53);

export function isNaNBits(f: FloatFormat, a: bigint): boolean {
  return (a & ~f.sign) > f.infinity;
}
export function isSignalingNaN(f: FloatFormat, a: bigint): boolean {
  return isNaNBits(f, a) && (a & f.quiet) === 0n;
}
function isInfinite(f: FloatFormat, a: bigint): boolean {
  return (a & ~f.sign) === f.infinity;
}
function isZero(f: FloatFormat, a: bigint): boolean {
  return (a & ~f.sign) === 0n;
}
function isNegative(f: FloatFormat, a: bigint): boolean {
  return (a & f.sign) !== 0n;
}
function signed(f: FloatFormat, negative: boolean, magnitude: bigint): bigint {
  return negative ? magnitude | f.sign : magnitude;
}

/** Exponent of a finite number's last place: the number is `significand * 2 ** exponent`. */
function exponentOf(f: FloatFormat, a: bigint): number {
  const biased = Number((a & f.infinity) >> f.fractionBits);
  return (biased === 0 ? 1 : biased) - f.bias - f.precision + 1;
}
function significandOf(f: FloatFormat, a: bigint): bigint {
  const fraction = a & f.fractionMask;
  return (a & f.infinity) === 0n ? fraction : fraction | (1n << f.fractionBits);
}

/** Number of bits of a positive integer. */
function bitLength(value: bigint): number {
  const text = value.toString(16);
  return text.length * 4 - (Math.clz32(Number.parseInt(text[0]!, 16)) - 28);
}

/** `magnitude / 2 ** shift` rounded to an integer; `sticky`: the true magnitude is larger by less than one unit of the last place given. */
function roundShift(magnitude: bigint, shift: number, sticky: boolean, negative: boolean, rm: number): { value: bigint; inexact: boolean } {
  if (shift <= 0) {
    // Callers give a sticky bit only with more bits than any format keeps.
    if (sticky) throw new RangeError("sticky bit without guard bits");
    return { value: magnitude << BigInt(-shift), inexact: false };
  }
  const by = BigInt(shift);
  const value = magnitude >> by;
  const rest = magnitude - (value << by);
  if (rest === 0n && !sticky) return { value, inexact: false };
  const half = 1n << (by - 1n);
  let up: boolean;
  switch (rm) {
    case RoundingMode.RNE:
      up = rest > half || (rest === half && (sticky || (value & 1n) === 1n));
      break;
    case RoundingMode.RMM:
      up = rest >= half;
      break;
    case RoundingMode.RDN:
      up = negative;
      break;
    case RoundingMode.RUP:
      up = !negative;
      break;
    default:
      up = false;
  }
  return { value: up ? value + 1n : value, inexact: true };
}

/** Rounds `(-1)^negative * magnitude * 2 ** exponent` (magnitude > 0) into the format and raises OF, UF and NX. */
function round(f: FloatFormat, s: FloatStatus, negative: boolean, magnitude: bigint, exponent: number, sticky = false): bigint {
  const top = exponent + bitLength(magnitude) - 1;
  const smallest = 1 - f.bias;
  const last = Math.max(top, smallest) - f.precision + 1;
  const { value, inexact } = roundShift(magnitude, last - exponent, sticky, negative, s.rm);
  // Rounding up may carry into the next power of two; adding instead of or-ing carries into the exponent as well.
  const biased = BigInt(last + f.precision - 2 + f.bias);
  const bits = (biased << f.fractionBits) + value;
  if (bits >= f.infinity) {
    s.flags |= Flag.OF | Flag.NX;
    const away = s.rm === RoundingMode.RNE || s.rm === RoundingMode.RMM || s.rm === (negative ? RoundingMode.RDN : RoundingMode.RUP);
    return signed(f, negative, away ? f.infinity : f.infinity - 1n);
  }
  if (inexact) {
    s.flags |= Flag.NX;
    if (top < smallest) {
      // Tininess is detected after rounding: as if the exponent were unbounded.
      const unbounded = roundShift(magnitude, top - f.precision + 1 - exponent, sticky, negative, s.rm).value;
      const tiny = top < smallest - 1 || bitLength(unbounded) === f.precision;
      if (tiny) s.flags |= Flag.UF;
    }
  }
  return signed(f, negative, bits);
}

/** The result of an operation with a NaN operand: NV for a signalling one. */
function propagateNaN(f: FloatFormat, s: FloatStatus, ...operands: bigint[]): bigint {
  if (operands.some((a) => isSignalingNaN(f, a))) s.flags |= Flag.NV;
  return f.canonicalNaN;
}
function invalid(f: FloatFormat, s: FloatStatus): bigint {
  s.flags |= Flag.NV;
  return f.canonicalNaN;
}

/** Exact sum of two finite numbers given as sign, significand, exponent; rounded once. */
function addFinite(
  f: FloatFormat,
  s: FloatStatus,
  negativeA: boolean,
  significandA: bigint,
  exponentA: number,
  negativeB: boolean,
  significandB: bigint,
  exponentB: number,
): bigint {
  const exponent = Math.min(exponentA, exponentB);
  const a = significandA << BigInt(exponentA - exponent);
  const b = significandB << BigInt(exponentB - exponent);
  const sum = (negativeA ? -a : a) + (negativeB ? -b : b);
  if (sum === 0n) {
    // Zeros of equal sign keep it; anything else that cancels is +0, or -0 when rounding down.
    const negative = negativeA === negativeB ? negativeA : s.rm === RoundingMode.RDN;
    return signed(f, negative, 0n);
  }
  return round(f, s, sum < 0n, sum < 0n ? -sum : sum, exponent);
}

/** a + b. */
export function add(f: FloatFormat, s: FloatStatus, a: bigint, b: bigint): bigint {
  if (isNaNBits(f, a) || isNaNBits(f, b)) return propagateNaN(f, s, a, b);
  if (isInfinite(f, a)) return isInfinite(f, b) && a !== b ? invalid(f, s) : a;
  if (isInfinite(f, b)) return b;
  return addFinite(f, s, isNegative(f, a), significandOf(f, a), exponentOf(f, a), isNegative(f, b), significandOf(f, b), exponentOf(f, b));
}

/** a - b. */
export function sub(f: FloatFormat, s: FloatStatus, a: bigint, b: bigint): bigint {
  return add(f, s, a, b ^ f.sign);
}

/** a * b. */
export function mul(f: FloatFormat, s: FloatStatus, a: bigint, b: bigint): bigint {
  if (isNaNBits(f, a) || isNaNBits(f, b)) return propagateNaN(f, s, a, b);
  const negative = isNegative(f, a) !== isNegative(f, b);
  if (isInfinite(f, a) || isInfinite(f, b)) {
    return isZero(f, a) || isZero(f, b) ? invalid(f, s) : signed(f, negative, f.infinity);
  }
  if (isZero(f, a) || isZero(f, b)) return signed(f, negative, 0n);
  return round(f, s, negative, significandOf(f, a) * significandOf(f, b), exponentOf(f, a) + exponentOf(f, b));
}

/** a / b; DZ for a finite nonzero number by zero. */
export function div(f: FloatFormat, s: FloatStatus, a: bigint, b: bigint): bigint {
  if (isNaNBits(f, a) || isNaNBits(f, b)) return propagateNaN(f, s, a, b);
  const negative = isNegative(f, a) !== isNegative(f, b);
  if (isInfinite(f, a)) return isInfinite(f, b) ? invalid(f, s) : signed(f, negative, f.infinity);
  if (isInfinite(f, b)) return signed(f, negative, 0n);
  if (isZero(f, b)) {
    if (isZero(f, a)) return invalid(f, s);
    s.flags |= Flag.DZ;
    return signed(f, negative, f.infinity);
  }
  if (isZero(f, a)) return signed(f, negative, 0n);
  // Numerator wide enough for precision + 2 quotient bits whatever the operands (subnormal ones are short).
  const numerator = significandOf(f, a);
  const denominator = significandOf(f, b);
  const shift = Math.max(0, f.precision + 3 + bitLength(denominator) - bitLength(numerator));
  const scaled = numerator << BigInt(shift);
  const quotient = scaled / denominator;
  return round(f, s, negative, quotient, exponentOf(f, a) - exponentOf(f, b) - shift, quotient * denominator !== scaled);
}

/** Largest integer whose square is not above a positive `value`. */
function integerSqrt(value: bigint): bigint {
  let x = 1n << BigInt((bitLength(value) + 1) >> 1);
  for (;;) {
    const next = (x + value / x) >> 1n;
    if (next >= x) return x;
    x = next;
  }
}

/** Square root; NV below zero (−0 stays −0). */
export function sqrt(f: FloatFormat, s: FloatStatus, a: bigint): bigint {
  if (isNaNBits(f, a)) return propagateNaN(f, s, a);
  if (isZero(f, a)) return a;
  if (isNegative(f, a)) return invalid(f, s);
  if (isInfinite(f, a)) return a;
  const significand = significandOf(f, a);
  const exponent = exponentOf(f, a);
  // The root of 2p + 6 bits has p + 3; the exponent must stay even.
  let shift = Math.max(0, 2 * f.precision + 6 - bitLength(significand));
  if (((exponent - shift) & 1) !== 0) shift += 1;
  const scaled = significand << BigInt(shift);
  const root = integerSqrt(scaled);
  return round(f, s, false, root, (exponent - shift) / 2, root * root !== scaled);
}

/** a * b + c with one rounding. Infinity times zero is invalid even when c is a quiet NaN. */
export function fma(f: FloatFormat, s: FloatStatus, a: bigint, b: bigint, c: bigint): bigint {
  const productInvalid = (isInfinite(f, a) && isZero(f, b)) || (isZero(f, a) && isInfinite(f, b));
  if (productInvalid) return invalid(f, s);
  if (isNaNBits(f, a) || isNaNBits(f, b) || isNaNBits(f, c)) return propagateNaN(f, s, a, b, c);
  const negative = isNegative(f, a) !== isNegative(f, b);
  if (isInfinite(f, a) || isInfinite(f, b)) {
    const product = signed(f, negative, f.infinity);
    return isInfinite(f, c) && c !== product ? invalid(f, s) : product;
  }
  if (isInfinite(f, c)) return c;
  return addFinite(
    f,
    s,
    negative,
    significandOf(f, a) * significandOf(f, b),
    exponentOf(f, a) + exponentOf(f, b),
    isNegative(f, c),
    significandOf(f, c),
    exponentOf(f, c),
  );
}

/** Conversion between formats. */
export function convert(from: FloatFormat, to: FloatFormat, s: FloatStatus, a: bigint): bigint {
  if (isNaNBits(from, a)) {
    if (isSignalingNaN(from, a)) s.flags |= Flag.NV;
    return to.canonicalNaN;
  }
  const negative = isNegative(from, a);
  if (isInfinite(from, a)) return signed(to, negative, to.infinity);
  if (isZero(from, a)) return signed(to, negative, 0n);
  return round(to, s, negative, significandOf(from, a), exponentOf(from, a));
}

/** Conversion of any integer (signed as given). Zero is +0. */
export function fromInteger(f: FloatFormat, s: FloatStatus, value: bigint): bigint {
  if (value === 0n) return 0n;
  return round(f, s, value < 0n, value < 0n ? -value : value, 0);
}

/**
 * Conversion to an integer in `min` … `max`. Out of range after rounding: the nearer limit with NV and without NX; NaN counts as
 * positive infinity.
 */
export function toInteger(f: FloatFormat, s: FloatStatus, a: bigint, min: bigint, max: bigint): bigint {
  if (isNaNBits(f, a)) {
    s.flags |= Flag.NV;
    return max;
  }
  const negative = isNegative(f, a);
  if (isInfinite(f, a)) {
    s.flags |= Flag.NV;
    return negative ? min : max;
  }
  const { value, inexact } = roundShift(significandOf(f, a), -exponentOf(f, a), false, negative, s.rm);
  const result = negative ? -value : value;
  if (result < min || result > max) {
    s.flags |= Flag.NV;
    return result < min ? min : max;
  }
  if (inexact) s.flags |= Flag.NX;
  return result;
}

/** A key that orders numbers (no NaN) as their values, both zeros alike. */
function order(f: FloatFormat, a: bigint): bigint {
  return isNegative(f, a) ? -(a & ~f.sign) : a;
}

/** a == b; quiet: NV only for a signalling NaN. */
export function eq(f: FloatFormat, s: FloatStatus, a: bigint, b: bigint): boolean {
  if (isNaNBits(f, a) || isNaNBits(f, b)) {
    propagateNaN(f, s, a, b);
    return false;
  }
  return order(f, a) === order(f, b);
}
/** a < b; NV for any NaN. */
export function lt(f: FloatFormat, s: FloatStatus, a: bigint, b: bigint): boolean {
  if (isNaNBits(f, a) || isNaNBits(f, b)) {
    s.flags |= Flag.NV;
    return false;
  }
  return order(f, a) < order(f, b);
}
/** a <= b; NV for any NaN. */
export function le(f: FloatFormat, s: FloatStatus, a: bigint, b: bigint): boolean {
  if (isNaNBits(f, a) || isNaNBits(f, b)) {
    s.flags |= Flag.NV;
    return false;
  }
  return order(f, a) <= order(f, b);
}

/** minimumNumber of IEEE 754-2019: a NaN loses against a number; −0 is below +0. */
export function min(f: FloatFormat, s: FloatStatus, a: bigint, b: bigint): bigint {
  return choose(f, s, a, b, true);
}
/** maximumNumber of IEEE 754-2019. */
export function max(f: FloatFormat, s: FloatStatus, a: bigint, b: bigint): bigint {
  return choose(f, s, a, b, false);
}
function choose(f: FloatFormat, s: FloatStatus, a: bigint, b: bigint, smaller: boolean): bigint {
  const nanA = isNaNBits(f, a);
  const nanB = isNaNBits(f, b);
  if (nanA || nanB) {
    propagateNaN(f, s, a, b);
    return nanA ? (nanB ? f.canonicalNaN : b) : a;
  }
  const orderA = order(f, a);
  const orderB = order(f, b);
  const first = orderA === orderB ? isNegative(f, a) : orderA < orderB;
  return first === smaller ? a : b;
}

/** The class mask of FCLASS: bit 0 −inf, 1 −normal, 2 −subnormal, 3 −0, 4 +0, 5 +subnormal, 6 +normal, 7 +inf, 8 sNaN, 9 qNaN. */
export function classify(f: FloatFormat, a: bigint): number {
  if (isNaNBits(f, a)) return isSignalingNaN(f, a) ? 1 << 8 : 1 << 9;
  const kind = isInfinite(f, a) ? 7 : isZero(f, a) ? 4 : (a & f.infinity) === 0n ? 5 : 6;
  return 1 << (isNegative(f, a) ? 7 - kind : kind);
}

/** Sign injection: the magnitude of a with the sign of b (`copy`), its opposite (`negate`), or the exclusive or of both signs (`xor`). */
export function signInject(f: FloatFormat, a: bigint, b: bigint, how: "copy" | "negate" | "xor"): bigint {
  const sign = how === "copy" ? b : how === "negate" ? ~b : a ^ b;
  return (a & ~f.sign) | (sign & f.sign);
}

const BOX = 0xffff_ffff_0000_0000n;

/** The binary32 number in a 64-bit register: the canonical NaN unless the upper half is all ones. */
export function unbox(register: bigint): bigint {
  const bits = BigInt.asUintN(64, register);
  return bits >= BOX ? bits & 0xffff_ffffn : binary32.canonicalNaN;
}
/** A binary32 number as it stands in a 64-bit register. */
export function box(bits: bigint): bigint {
  return bits | BOX;
}
