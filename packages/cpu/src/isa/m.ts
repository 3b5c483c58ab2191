/** RV64M: multiplication and division (RISC-V unprivileged specification, chapter "M"). No exceptions. */
import type { Clause } from "./clause.ts";
import type { BinaryOp, Expr, Semantics } from "./ir.ts";

const LOW = 0xffffffffn;

/** High 64 bits of the unsigned product, from 32-bit pieces. `a` and `b` are used more than once. */
function highUnsigned(s: Semantics, a: Expr, b: Expr): Expr {
  const low = (value: Expr): Expr => s.op("i64.and", value, s.i64(LOW));
  const high = (value: Expr): Expr => s.op("i64.shr_u", value, s.i64(32));
  const aLow = s.let(low(a));
  const aHigh = s.let(high(a));
  const bLow = s.let(low(b));
  const bHigh = s.let(high(b));
  // No sum overflows: (2^32-1)^2 + 2 (2^32-1) < 2^64.
  const middle = s.let(s.op("i64.add", s.op("i64.mul", aHigh, bLow), high(s.op("i64.mul", aLow, bLow))));
  const carry = s.op("i64.add", s.op("i64.mul", aLow, bHigh), low(middle));
  return s.op("i64.add", s.op("i64.add", s.op("i64.mul", aHigh, bHigh), high(middle)), high(carry));
}

/** `other` where `value` is negative, else 0: what the unsigned product has too much. */
const whenNegative = (s: Semantics, value: Expr, other: Expr): Expr => s.op("i64.and", s.op("i64.shr_s", value, s.i64(63)), other);

function multiplyHigh(name: string, funct3: string, signed: readonly ("a" | "b")[]): Clause {
  return register(name, funct3, OP, (s, a, b) => {
    let result = highUnsigned(s, a, b);
    if (signed.includes("a")) result = s.op("i64.sub", result, whenNegative(s, a, b));
    if (signed.includes("b")) result = s.op("i64.sub", result, whenNegative(s, b, a));
    return result;
  });
}

const OP = "0110011";
const OP_32 = "0111011";

/** `op` gets the operands as locals. */
function register(name: string, funct3: string, opcode: string, op: (s: Semantics, a: Expr, b: Expr) => Expr): Clause {
  return {
    name,
    extension: "M",
    encoding: `0000001 rs2 rs1 ${funct3} rd ${opcode}`,
    syntax: "rd, rs1, rs2",
    semantics: (s) => s.setX("rd", op(s, s.let(s.x("rs1")), s.let(s.x("rs2")))),
  };
}

/** Quotient, all ones for a divisor of 0. WebAssembly's division, which would trap, then gets 1. */
function quotient(s: Semantics, op: BinaryOp, a: Expr, b: Expr): Expr {
  const zero = s.let(s.op("i64.eqz", b));
  return s.select(zero, s.i64(-1), s.op(op, a, s.select(zero, s.i64(1), b)));
}

/** Remainder, the dividend for a divisor of 0. (WebAssembly gives 0 for the most negative number and -1.) */
function remainder(s: Semantics, op: BinaryOp, a: Expr, b: Expr): Expr {
  const zero = s.let(s.op("i64.eqz", b));
  return s.select(zero, a, s.op(op, a, s.select(zero, s.i64(1), b)));
}

/** Signed quotient of 64 bits: the most negative number by -1, which would trap, is divided by 1. */
function signedQuotient(s: Semantics, a: Expr, b: Expr): Expr {
  const overflow = s.op("i32.and", s.op("i64.eq", a, s.i64(-(1n << 63n))), s.op("i64.eq", b, s.i64(-1)));
  return quotient(s, "i64.div_s", a, s.let(s.select(overflow, s.i64(1), b)));
}

const signedWord = (s: Semantics, value: Expr): Expr => s.let(s.sext32(value));
const unsignedWord = (s: Semantics, value: Expr): Expr => s.let(s.op("i64.and", value, s.i64(LOW)));

export const mClauses: readonly Clause[] = [
  register("mul", "000", OP, (s, a, b) => s.op("i64.mul", a, b)),
  multiplyHigh("mulh", "001", ["a", "b"]),
  multiplyHigh("mulhsu", "010", ["a"]),
  multiplyHigh("mulhu", "011", []),
  register("div", "100", OP, signedQuotient),
  register("divu", "101", OP, (s, a, b) => quotient(s, "i64.div_u", a, b)),
  register("rem", "110", OP, (s, a, b) => remainder(s, "i64.rem_s", a, b)),
  register("remu", "111", OP, (s, a, b) => remainder(s, "i64.rem_u", a, b)),
  register("mulw", "000", OP_32, (s, a, b) => s.op("i64.extend_i32_s", s.op("i32.mul", s.op("i32.wrap_i64", a), s.op("i32.wrap_i64", b)))),
  // In 64 bits a quotient of 32-bit numbers does not overflow.
  register("divw", "100", OP_32, (s, a, b) => s.sext32(quotient(s, "i64.div_s", signedWord(s, a), signedWord(s, b)))),
  register("divuw", "101", OP_32, (s, a, b) => s.sext32(quotient(s, "i64.div_u", unsignedWord(s, a), unsignedWord(s, b)))),
  register("remw", "110", OP_32, (s, a, b) => s.sext32(remainder(s, "i64.rem_s", signedWord(s, a), signedWord(s, b)))),
  register("remuw", "111", OP_32, (s, a, b) => s.sext32(remainder(s, "i64.rem_u", unsignedWord(s, a), unsignedWord(s, b)))),
];
