/** Zba: address generation (RISC-V unprivileged specification, chapter "B"). No exceptions. */
import type { Clause } from "./clause.ts";
import type { Expr, Semantics } from "./ir.ts";

const OP = "0110011";
const OP_32 = "0111011";
const low = (s: Semantics): Expr => s.op("i64.and", s.x("rs1"), s.i64(0xffffffffn));

/** rd = rs2 + (rs1 << shift); with `word`, of the zero-extended low half of rs1. */
function shiftAdd(name: string, shift: number, funct7: string, funct3: string, word: boolean): Clause {
  return {
    name,
    extension: "Zba",
    encoding: `${funct7} rs2 rs1 ${funct3} rd ${word ? OP_32 : OP}`,
    syntax: "rd, rs1, rs2",
    semantics: (s) => s.setX("rd", s.op("i64.add", s.x("rs2"), s.op("i64.shl", word ? low(s) : s.x("rs1"), s.i64(shift)))),
  };
}

export const zbaClauses: readonly Clause[] = [
  shiftAdd("sh1add", 1, "0010000", "010", false),
  shiftAdd("sh2add", 2, "0010000", "100", false),
  shiftAdd("sh3add", 3, "0010000", "110", false),
  shiftAdd("add.uw", 0, "0000100", "000", true),
  shiftAdd("sh1add.uw", 1, "0010000", "010", true),
  shiftAdd("sh2add.uw", 2, "0010000", "100", true),
  shiftAdd("sh3add.uw", 3, "0010000", "110", true),
  {
    name: "slli.uw",
    extension: "Zba",
    encoding: "000010 uimm[5:0] rs1 001 rd 0011011",
    syntax: "rd, rs1, imm",
    semantics: (s) => s.setX("rd", s.op("i64.shl", low(s), s.imm)),
  },
];
