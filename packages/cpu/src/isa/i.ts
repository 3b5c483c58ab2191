/**
 * RV64I (RISC-V unprivileged specification, chapters "RV32I" and "RV64I").
 * Exceptions: memory accesses as {@link Semantics} says; a taken branch or jump whose target PCC does not allow.
 */
import type { Clause } from "./clause.ts";
import type { AccessSize, BinaryOp, Expr, Semantics } from "./ir.ts";

const word = (s: Semantics, value: Expr): Expr => s.op("i32.wrap_i64", value);
const extend = (s: Semantics, value: Expr): Expr => s.op("i64.extend_i32_s", value);
/** rs1 + imm. */
const address = (s: Semantics): Expr => s.op("i64.add", s.x("rs1"), s.imm);

type Binary = (s: Semantics, a: Expr, b: Expr) => Expr;
const plain =
  (op: BinaryOp): Binary =>
  (s, a, b) =>
    s.op(op, a, b);
const compare =
  (op: BinaryOp): Binary =>
  (s, a, b) =>
    s.bool(s.op(op, a, b));
/** A 32-bit operator on the low halves; the result is sign-extended. */
const onWords =
  (op: BinaryOp): Binary =>
  (s, a, b) =>
    extend(s, s.op(op, word(s, a), word(s, b)));

/** rd = rs1 op rs2. */
function register(name: string, funct7: string, funct3: string, opcode: string, op: Binary): Clause {
  return {
    name,
    extension: "I",
    encoding: `${funct7} rs2 rs1 ${funct3} rd ${opcode}`,
    syntax: "rd, rs1, rs2",
    semantics: (s) => s.setX("rd", op(s, s.x("rs1"), s.x("rs2"))),
  };
}

/** rd = rs1 op imm; `fixed` is the part of the encoding that holds the immediate. */
function immediate(name: string, fixed: string, funct3: string, opcode: string, op: Binary): Clause {
  return {
    name,
    extension: "I",
    encoding: `${fixed} rs1 ${funct3} rd ${opcode}`,
    syntax: "rd, rs1, imm",
    semantics: (s) => s.setX("rd", op(s, s.x("rs1"), s.imm)),
  };
}

function load(name: string, funct3: string, size: AccessSize, signed: boolean): Clause {
  return {
    name,
    extension: "I",
    encoding: `imm[11:0] rs1 ${funct3} rd 0000011`,
    syntax: "rd, imm(rs1)",
    semantics: (s) => s.setX("rd", s.load(size, signed, address(s))),
  };
}

function store(name: string, funct3: string, size: AccessSize): Clause {
  return {
    name,
    extension: "I",
    encoding: `imm[11:5] rs2 rs1 ${funct3} imm[4:0] 0100011`,
    syntax: "rs2, imm(rs1)",
    semantics: (s) => s.store(size, address(s), s.x("rs2")),
  };
}

function branch(name: string, funct3: string, op: BinaryOp): Clause {
  return {
    name,
    extension: "I",
    encoding: `imm[12|10:5] rs2 rs1 ${funct3} imm[4:1|11] 1100011`,
    syntax: "rs1, rs2, target",
    semantics: (s) => s.branch(s.op(op, s.x("rs1"), s.x("rs2"))),
  };
}

const OP = "0110011";
const OP_32 = "0111011";
const OP_IMM = "0010011";
const OP_IMM_32 = "0011011";

export const iClauses: readonly Clause[] = [
  {
    name: "lui",
    extension: "I",
    encoding: "imm[31:12] rd 0110111",
    syntax: "rd, upper",
    semantics: (s) => s.setX("rd", s.imm),
  },
  {
    name: "auipc",
    extension: "I",
    encoding: "imm[31:12] rd 0010111",
    syntax: "rd, upper",
    semantics: (s) => s.setX("rd", s.op("i64.add", s.pc, s.imm)),
  },
  {
    name: "jal",
    extension: "I",
    encoding: "imm[20|10:1|11|19:12] rd 1101111",
    syntax: "rd, target",
    semantics: (s) => {
      s.setX("rd", s.nextPc);
      s.jump();
    },
  },
  {
    name: "jalr",
    extension: "I",
    encoding: "imm[11:0] rs1 000 rd 1100111",
    syntax: "rd, imm(rs1)",
    semantics: (s) => {
      // rd may be rs1.
      const target = s.let(address(s));
      s.setX("rd", s.nextPc);
      s.jumpIndirect(target);
    },
  },
  branch("beq", "000", "i64.eq"),
  branch("bne", "001", "i64.ne"),
  branch("blt", "100", "i64.lt_s"),
  branch("bge", "101", "i64.ge_s"),
  branch("bltu", "110", "i64.lt_u"),
  branch("bgeu", "111", "i64.ge_u"),
  load("lb", "000", 1, true),
  load("lh", "001", 2, true),
  load("lw", "010", 4, true),
  load("ld", "011", 8, true),
  load("lbu", "100", 1, false),
  load("lhu", "101", 2, false),
  load("lwu", "110", 4, false),
  store("sb", "000", 1),
  store("sh", "001", 2),
  store("sw", "010", 4),
  store("sd", "011", 8),
  immediate("addi", "imm[11:0]", "000", OP_IMM, plain("i64.add")),
  immediate("slti", "imm[11:0]", "010", OP_IMM, compare("i64.lt_s")),
  immediate("sltiu", "imm[11:0]", "011", OP_IMM, compare("i64.lt_u")),
  immediate("xori", "imm[11:0]", "100", OP_IMM, plain("i64.xor")),
  immediate("ori", "imm[11:0]", "110", OP_IMM, plain("i64.or")),
  immediate("andi", "imm[11:0]", "111", OP_IMM, plain("i64.and")),
  immediate("slli", "000000 uimm[5:0]", "001", OP_IMM, plain("i64.shl")),
  immediate("srli", "000000 uimm[5:0]", "101", OP_IMM, plain("i64.shr_u")),
  immediate("srai", "010000 uimm[5:0]", "101", OP_IMM, plain("i64.shr_s")),
  immediate("addiw", "imm[11:0]", "000", OP_IMM_32, onWords("i32.add")),
  immediate("slliw", "0000000 uimm[4:0]", "001", OP_IMM_32, onWords("i32.shl")),
  immediate("srliw", "0000000 uimm[4:0]", "101", OP_IMM_32, onWords("i32.shr_u")),
  immediate("sraiw", "0100000 uimm[4:0]", "101", OP_IMM_32, onWords("i32.shr_s")),
  // WebAssembly takes shift counts modulo the width, as RISC-V does.
  register("add", "0000000", "000", OP, plain("i64.add")),
  register("sub", "0100000", "000", OP, plain("i64.sub")),
  register("sll", "0000000", "001", OP, plain("i64.shl")),
  register("slt", "0000000", "010", OP, compare("i64.lt_s")),
  register("sltu", "0000000", "011", OP, compare("i64.lt_u")),
  register("xor", "0000000", "100", OP, plain("i64.xor")),
  register("srl", "0000000", "101", OP, plain("i64.shr_u")),
  register("sra", "0100000", "101", OP, plain("i64.shr_s")),
  register("or", "0000000", "110", OP, plain("i64.or")),
  register("and", "0000000", "111", OP, plain("i64.and")),
  register("addw", "0000000", "000", OP_32, onWords("i32.add")),
  register("subw", "0100000", "000", OP_32, onWords("i32.sub")),
  register("sllw", "0000000", "001", OP_32, onWords("i32.shl")),
  register("srlw", "0000000", "101", OP_32, onWords("i32.shr_u")),
  register("sraw", "0100000", "101", OP_32, onWords("i32.shr_s")),
  // One hart runs at a time and it sees its own accesses in order: fences have nothing to do. rd, rs1 and reserved fm are ignored, as specified.
  { name: "fence", extension: "I", encoding: "fm pred succ rs1 000 rd 0001111", syntax: "pred, succ", semantics: () => {} },
  { name: "fence.tso", extension: "I", encoding: "1000 0011 0011 00000 000 00000 0001111", syntax: "", semantics: () => {} },
  { name: "pause", extension: "I", encoding: "0000 0001 0000 00000 000 00000 0001111", syntax: "", semantics: () => {} },
  { name: "ecall", extension: "I", encoding: "000000000000 00000 000 00000 1110011", syntax: "", semantics: (s) => s.ecall() },
  { name: "ebreak", extension: "I", encoding: "000000000001 00000 000 00000 1110011", syntax: "", semantics: (s) => s.trap(3, s.pc) },
];
