/** Zbb: basic bit manipulation (RISC-V unprivileged specification, chapter "B"). No exceptions. */
import type { Clause } from "./clause.ts";
import type { BinaryOp, Expr, Semantics, UnaryOp } from "./ir.ts";

const OP = "0110011";
const OP_32 = "0111011";
const OP_IMM = "0010011";
const OP_IMM_32 = "0011011";

const word = (s: Semantics, value: Expr): Expr => s.op("i32.wrap_i64", value);
const not = (s: Semantics, value: Expr): Expr => s.op("i64.xor", value, s.i64(-1));

function register(name: string, fixed: string, opcode: string, op: (s: Semantics, a: Expr, b: Expr) => Expr): Clause {
  const [funct7, funct3] = fixed.split(" ");
  return {
    name,
    extension: "Zbb",
    encoding: `${funct7} rs2 rs1 ${funct3} rd ${opcode}`,
    syntax: "rd, rs1, rs2",
    semantics: (s) => s.setX("rd", op(s, s.x("rs1"), s.x("rs2"))),
  };
}

/** rd = op rs1; `fixed` is what stands before rs1 and between rs1 and rd. */
function unary(name: string, fixed: string, opcode: string, op: (s: Semantics, a: Expr) => Expr): Clause {
  const [funct12, funct3] = fixed.split(" ");
  return {
    name,
    extension: "Zbb",
    encoding: `${funct12} rs1 ${funct3} rd ${opcode}`,
    syntax: "rd, rs1",
    semantics: (s) => s.setX("rd", op(s, s.x("rs1"))),
  };
}

/** WebAssembly's counts of zeros give the width for 0, as specified here. */
const count =
  (op: UnaryOp) =>
  (s: Semantics, a: Expr): Expr =>
    s.op(op, a);
const countWord =
  (op: UnaryOp) =>
  (s: Semantics, a: Expr): Expr =>
    s.bool(s.op(op, word(s, a)));

function choose(name: string, funct3: string, op: BinaryOp): Clause {
  return register(name, `0000101 ${funct3}`, OP, (s, a, b) => {
    const first = s.let(a);
    const second = s.let(b);
    return s.select(s.op(op, first, second), first, second);
  });
}

/** Exchanges neighbouring groups of `width` bits; `mask` selects the lower one of each pair. */
function swap(s: Semantics, value: Expr, width: number, mask: bigint): Expr {
  const local = s.let(value);
  const m = s.i64(BigInt.asIntN(64, mask));
  return s.op(
    "i64.or",
    s.op("i64.shl", s.op("i64.and", local, m), s.i64(width)),
    s.op("i64.and", s.op("i64.shr_u", local, s.i64(width)), m),
  );
}

function reverseBytes(s: Semantics, a: Expr): Expr {
  const pairs = swap(s, a, 8, 0x00ff00ff00ff00ffn);
  return s.op("i64.rotl", swap(s, pairs, 16, 0x0000ffff0000ffffn), s.i64(32));
}

/** Each byte: 0 stays 0, anything else becomes 255. */
function orBytes(s: Semantics, a: Expr): Expr {
  const value = s.let(a);
  const low = s.i64(0x7f7f7f7f7f7f7f7fn);
  // The top bit of each byte is set when the byte is not 0; carries stay inside their byte.
  const top = s.op("i64.or", s.op("i64.add", s.op("i64.and", value, low), low), value);
  const ones = s.op("i64.and", s.op("i64.shr_u", top, s.i64(7)), s.i64(0x0101010101010101n));
  return s.op("i64.mul", ones, s.i64(255));
}

const rotateWord =
  (op: BinaryOp) =>
  (s: Semantics, a: Expr, b: Expr): Expr =>
    s.op("i64.extend_i32_s", s.op(op, word(s, a), word(s, b)));

function rotateImmediate(name: string, fixed: string, opcode: string, op: (s: Semantics, a: Expr, b: Expr) => Expr): Clause {
  return {
    name,
    extension: "Zbb",
    encoding: `${fixed} rs1 101 rd ${opcode}`,
    syntax: "rd, rs1, imm",
    semantics: (s) => s.setX("rd", op(s, s.x("rs1"), s.imm)),
  };
}

export const zbbClauses: readonly Clause[] = [
  register("andn", "0100000 111", OP, (s, a, b) => s.op("i64.and", a, not(s, b))),
  register("orn", "0100000 110", OP, (s, a, b) => s.op("i64.or", a, not(s, b))),
  register("xnor", "0100000 100", OP, (s, a, b) => not(s, s.op("i64.xor", a, b))),
  choose("max", "110", "i64.gt_s"),
  choose("maxu", "111", "i64.gt_u"),
  choose("min", "100", "i64.lt_s"),
  choose("minu", "101", "i64.lt_u"),
  register("rol", "0110000 001", OP, (s, a, b) => s.op("i64.rotl", a, b)),
  register("ror", "0110000 101", OP, (s, a, b) => s.op("i64.rotr", a, b)),
  register("rolw", "0110000 001", OP_32, rotateWord("i32.rotl")),
  register("rorw", "0110000 101", OP_32, rotateWord("i32.rotr")),
  rotateImmediate("rori", "011000 uimm[5:0]", OP_IMM, (s, a, b) => s.op("i64.rotr", a, b)),
  rotateImmediate("roriw", "0110000 uimm[4:0]", OP_IMM_32, rotateWord("i32.rotr")),
  unary("clz", "011000000000 001", OP_IMM, count("i64.clz")),
  unary("ctz", "011000000001 001", OP_IMM, count("i64.ctz")),
  unary("cpop", "011000000010 001", OP_IMM, count("i64.popcnt")),
  unary("clzw", "011000000000 001", OP_IMM_32, countWord("i32.clz")),
  unary("ctzw", "011000000001 001", OP_IMM_32, countWord("i32.ctz")),
  unary("cpopw", "011000000010 001", OP_IMM_32, countWord("i32.popcnt")),
  unary("sext.b", "011000000100 001", OP_IMM, (s, a) => s.op("i64.extend8_s", a)),
  unary("sext.h", "011000000101 001", OP_IMM, (s, a) => s.op("i64.extend16_s", a)),
  unary("zext.h", "000010000000 100", OP_32, (s, a) => s.op("i64.and", a, s.i64(0xffff))),
  unary("orc.b", "001010000111 101", OP_IMM, orBytes),
  unary("rev8", "011010111000 101", OP_IMM, reverseBytes),
];
