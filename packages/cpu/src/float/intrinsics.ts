/**
 * The software side of the floating-point instructions. Arguments are raw 64-bit registers (binary32 operands are unboxed
 * here, results boxed) and an effective rounding mode of 0 … 4; exceptions are or-ed into the hart's fflags.
 */
import type { Intrinsic, IntrinsicContext, IntrinsicTable } from "../isa/intrinsics.ts";
import type { Type } from "../isa/ir.ts";
import { State } from "../machine/layout.ts";
import * as soft from "./softfloat.ts";
import { binary32, binary64, type FloatFormat, type FloatStatus } from "./softfloat.ts";

/** Computes a 64-bit register image from a rounding mode and unsigned register images. */
type Operation = (s: FloatStatus, args: readonly bigint[], small: number) => bigint;

/** One intrinsic: `lead` i32 parameters (the rounding mode, then an option) and `count` registers; an i64 result. */
function intrinsic(lead: 0 | 1 | 2, count: number, operation: Operation): Intrinsic {
  const params: Type[] = Array.from({ length: lead + count }, (_, i) => (i < lead ? "i32" : "i64"));
  return {
    params,
    result: "i64",
    make:
      (context: IntrinsicContext) =>
      (hart: number, ...args: (number | bigint)[]): bigint => {
        const status: FloatStatus = { rm: lead > 0 ? (args[0] as number) : 0, flags: 0 };
        const registers = args.slice(lead).map((register) => BigInt.asUintN(64, register as bigint));
        const result = operation(status, registers, lead > 1 ? (args[1] as number) : 0);
        if (status.flags !== 0) {
          const at = hart + State.fflags;
          context.view.setInt32(at, context.view.getInt32(at, true) | status.flags, true);
        }
        return BigInt.asIntN(64, result);
      },
  };
}

const LIMITS: Readonly<Record<string, readonly [min: bigint, max: bigint, width: number]>> = {
  i32: [-(1n << 31n), (1n << 31n) - 1n, 32],
  u32: [0n, (1n << 32n) - 1n, 32],
  i64: [-(1n << 63n), (1n << 63n) - 1n, 64],
  u64: [0n, (1n << 64n) - 1n, 64],
};

function table(type: "f32" | "f64", f: FloatFormat): Record<string, Intrinsic> {
  const narrow = type === "f32";
  const get = (register: bigint): bigint => (narrow ? soft.unbox(register) : register);
  const put = (bits: bigint): bigint => (narrow ? soft.box(bits) : bits);
  const binary =
    (op: (f: FloatFormat, s: FloatStatus, a: bigint, b: bigint) => bigint): Operation =>
    (s, [a, b]) =>
      put(op(f, s, get(a!), get(b!)));
  const entries: Record<string, Intrinsic> = {
    add: intrinsic(1, 2, binary(soft.add)),
    sub: intrinsic(1, 2, binary(soft.sub)),
    mul: intrinsic(1, 2, binary(soft.mul)),
    div: intrinsic(1, 2, binary(soft.div)),
    sqrt: intrinsic(1, 1, (s, [a]) => put(soft.sqrt(f, s, get(a!)))),
    // signs: bit 0 turns the product's sign, bit 1 that of the addend.
    fma: intrinsic(2, 3, (s, [a, b, c], signs) =>
      put(soft.fma(f, s, (signs & 1) === 0 ? get(a!) : get(a!) ^ f.sign, get(b!), (signs & 2) === 0 ? get(c!) : get(c!) ^ f.sign)),
    ),
    min: intrinsic(0, 2, binary(soft.min)),
    max: intrinsic(0, 2, binary(soft.max)),
    eq: intrinsic(0, 2, (s, [a, b]) => (soft.eq(f, s, get(a!), get(b!)) ? 1n : 0n)),
  };
  const result: Record<string, Intrinsic> = {};
  for (const [name, entry] of Object.entries(entries)) result[`${type}_${name}`] = entry;
  for (const [name, [low, high, width]] of Object.entries(LIMITS)) {
    result[`${type}_to_${name}`] = intrinsic(1, 1, (s, [a]) => BigInt.asIntN(width, soft.toInteger(f, s, get(a!), low, high)));
  }
  result[`i64_to_${type}`] = intrinsic(1, 1, (s, [a]) => put(soft.fromInteger(f, s, BigInt.asIntN(64, a!))));
  result[`u64_to_${type}`] = intrinsic(1, 1, (s, [a]) => put(soft.fromInteger(f, s, a!)));
  return result;
}

/** All software operations, as `f64_add`, `f32_to_i64`, `u64_to_f32`, … */
export const floatIntrinsics: IntrinsicTable = {
  ...table("f32", binary32),
  ...table("f64", binary64),
  f32_to_f64: intrinsic(1, 1, (s, [a]) => soft.convert(binary32, binary64, s, soft.unbox(a!))),
  f64_to_f32: intrinsic(1, 1, (s, [a]) => soft.box(soft.convert(binary64, binary32, s, a!))),
};
