/** WebAssembly's operators on JavaScript values, by definition: i64 are signed BigInts, i32 signed numbers, f32 and f64 numbers. */
import type { BinaryOp, UnaryOp } from "../isa/ir.ts";

export type Value = bigint | number;

const scratch = new DataView(new ArrayBuffer(8));
const unsigned = (bits: number, value: Value): bigint => BigInt.asUintN(bits, BigInt(value));
const signed = (bits: number, value: Value): bigint => BigInt.asIntN(bits, BigInt(value));
/** An integer of `bits` bits in the form that values of its type have. */
const integer = (bits: number, value: bigint): Value => (bits === 64 ? signed(64, value) : Number(signed(32, value)));
const truth = (value: boolean): number => (value ? 1 : 0);

/** The nearest binary32 number, rounded once: Number() alone would round to binary64 first. */
function nearestSingle(value: bigint): number {
  const magnitude = value < 0n ? -value : value;
  if (magnitude < 1n << 53n) return Math.fround(Number(value));
  // What lies below bit 11 only has to be seen not to be zero.
  const kept = ((magnitude >> 11n) | ((magnitude & 0x7ffn) === 0n ? 0n : 1n)) << 11n;
  return Math.fround(Number(value < 0n ? -kept : kept));
}

function halfToEven(value: number): number {
  return Math.abs(value - Math.trunc(value)) === 0.5 ? 2 * Math.round(value / 2) : Math.round(value);
}

function saturate(value: number, bits: number, isSigned: boolean): Value {
  if (Number.isNaN(value)) return integer(bits, 0n);
  const low = isSigned ? -(1n << BigInt(bits - 1)) : 0n;
  const high = isSigned ? (1n << BigInt(bits - 1)) - 1n : (1n << BigInt(bits)) - 1n;
  if (value === Infinity) return integer(bits, high);
  if (value === -Infinity) return integer(bits, low);
  const whole = BigInt(Math.trunc(value));
  return integer(bits, whole < low ? low : whole > high ? high : whole);
}

function convert(op: string, a: Value): number {
  const [, to, from, sign] = /^(f\d\d)\.convert_i(\d\d)_([su])$/u.exec(op)!;
  const whole = sign === "s" ? signed(Number(from), a) : unsigned(Number(from), a);
  return to === "f32" ? nearestSingle(whole) : Number(whole);
}

/** One operand. TypeError for an operator that does not exist. */
export function unary(op: UnaryOp, a: Value): Value {
  const number = a as number;
  switch (op) {
    case "i64.eqz":
      return truth(a === 0n);
    case "i32.eqz":
      return truth(a === 0);
    case "i64.clz": {
      const value = unsigned(64, a);
      return BigInt(value === 0n ? 64 : 64 - value.toString(2).length);
    }
    case "i32.clz":
      return Math.clz32(number);
    case "i64.ctz": {
      const value = unsigned(64, a);
      return value === 0n ? 64n : BigInt((value & -value).toString(2).length - 1);
    }
    case "i32.ctz":
      return number === 0 ? 32 : 31 - Math.clz32(number & -number);
    case "i64.popcnt":
      return BigInt(unsigned(64, a).toString(2).replaceAll("0", "").length);
    case "i32.popcnt":
      return (number >>> 0).toString(2).replaceAll("0", "").length;
    case "i32.wrap_i64":
      return integer(32, a as bigint);
    case "i64.extend_i32_s":
      return signed(32, a);
    case "i64.extend_i32_u":
      return unsigned(32, a);
    case "i64.extend8_s":
      return signed(8, a);
    case "i64.extend16_s":
      return signed(16, a);
    case "i64.extend32_s":
      return signed(32, a);
    case "f64.reinterpret_i64":
      scratch.setBigInt64(0, a as bigint);
      return scratch.getFloat64(0);
    case "i64.reinterpret_f64":
      scratch.setFloat64(0, number);
      return scratch.getBigInt64(0);
    case "f32.reinterpret_i32":
      scratch.setInt32(0, number);
      return scratch.getFloat32(0);
    case "i32.reinterpret_f32":
      scratch.setFloat32(0, number);
      return scratch.getInt32(0);
    case "f64.promote_f32":
      return a;
    case "f32.demote_f64":
      return Math.fround(number);
    case "f64.sqrt":
      return Math.sqrt(number);
    case "f32.sqrt":
      return Math.fround(Math.sqrt(number));
    case "f64.abs":
    case "f32.abs":
      return Math.abs(number);
    case "f64.neg":
    case "f32.neg":
      return -number;
    case "f64.nearest":
    case "f32.nearest":
      return halfToEven(number);
    case "f64.trunc":
    case "f32.trunc":
      return Math.trunc(number);
    case "f64.floor":
    case "f32.floor":
      return Math.floor(number);
    case "f64.ceil":
    case "f32.ceil":
      return Math.ceil(number);
    case "i64.trunc_sat_f64_s":
    case "i64.trunc_sat_f32_s":
      return saturate(number, 64, true);
    case "i64.trunc_sat_f64_u":
    case "i64.trunc_sat_f32_u":
      return saturate(number, 64, false);
    case "i32.trunc_sat_f64_s":
    case "i32.trunc_sat_f32_s":
      return saturate(number, 32, true);
    case "i32.trunc_sat_f64_u":
    case "i32.trunc_sat_f32_u":
      return saturate(number, 32, false);
    default:
      return convert(op, a);
  }
}

function floatBinary(single: boolean, name: string, a: number, b: number): Value {
  // A binary32 result is what rounding the binary64 result gives: 53 bits are more than twice 24 and 2.
  const round = (value: number): number => (single ? Math.fround(value) : value);
  switch (name) {
    case "add":
      return round(a + b);
    case "sub":
      return round(a - b);
    case "mul":
      return round(a * b);
    case "div":
      return round(a / b);
    case "min":
      return Math.min(a, b);
    case "max":
      return Math.max(a, b);
    case "copysign":
      return b < 0 || Object.is(b, -0) ? -Math.abs(a) : Math.abs(a);
    case "eq":
      return truth(a === b);
    case "ne":
      return truth(a !== b);
    case "lt":
      return truth(a < b);
    case "gt":
      return truth(a > b);
    case "le":
      return truth(a <= b);
    case "ge":
      return truth(a >= b);
    default:
      throw new TypeError(`no operator f.${name}`);
  }
}

function integerBinary(bits: 32 | 64, name: string, left: Value, right: Value): Value {
  const [a, b] = [signed(bits, left), signed(bits, right)];
  const [ua, ub] = [unsigned(bits, left), unsigned(bits, right)];
  const by = ub % BigInt(bits);
  const back = BigInt(bits) - by;
  switch (name) {
    case "add":
      return integer(bits, a + b);
    case "sub":
      return integer(bits, a - b);
    case "mul":
      return integer(bits, a * b);
    case "div_s":
      return integer(bits, a / b);
    case "div_u":
      return integer(bits, ua / ub);
    case "rem_s":
      return integer(bits, a % b);
    case "rem_u":
      return integer(bits, ua % ub);
    case "and":
      return integer(bits, a & b);
    case "or":
      return integer(bits, a | b);
    case "xor":
      return integer(bits, a ^ b);
    case "shl":
      return integer(bits, a << by);
    case "shr_s":
      return integer(bits, a >> by);
    case "shr_u":
      return integer(bits, ua >> by);
    case "rotl":
      return integer(bits, (ua << by) | (ua >> back));
    case "rotr":
      return integer(bits, (ua >> by) | (ua << back));
    case "eq":
      return truth(a === b);
    case "ne":
      return truth(a !== b);
    case "lt_s":
      return truth(a < b);
    case "lt_u":
      return truth(ua < ub);
    case "gt_s":
      return truth(a > b);
    case "gt_u":
      return truth(ua > ub);
    case "le_s":
      return truth(a <= b);
    case "le_u":
      return truth(ua <= ub);
    case "ge_s":
      return truth(a >= b);
    case "ge_u":
      return truth(ua >= ub);
    default:
      throw new TypeError(`no operator i${bits}.${name}`);
  }
}

/** Two operands. RangeError for a division by zero, which traps in WebAssembly. */
export function binary(op: BinaryOp, a: Value, b: Value): Value {
  const name = op.slice(4);
  switch (op.slice(0, 3)) {
    case "i64":
      return integerBinary(64, name, a, b);
    case "i32":
      return integerBinary(32, name, a, b);
    default:
      return floatBinary(op.startsWith("f32"), name, a as number, b as number);
  }
}
