/**
 * RV64C: compressed forms (RISC-V unprivileged specification, chapter "C", with D). Each stands for one 32-bit instruction.
 * Hints (c.nop with an immediate, c.li to x0 …) are ordinary forms whose effect is nothing, except that those which name a register leave its
 * capability metadata alone: {@link hint}. Reserved encodings are not listed.
 */
import type { Clause } from "./clause.ts";

type Operands = NonNullable<Clause["expands"]>["operands"];

function form(name: string, encoding: string, syntax: string, to: string, operands: Operands): Clause {
  return { name: `c.${name}`, extension: "C", encoding, syntax, expands: { to, operands } };
}

/** A hint that names rd: the form that it looks like excludes its immediate of 0. */
function hint(name: string, encoding: string, syntax: string): Clause {
  return form(name, encoding, syntax, "addi", { rd: 0, rs1: 0, imm: 0 });
}

const SP = 2;
/** rd op= rs2. */
const twoRegisters: Operands = { rd: "rd", rs1: "rd", rs2: "rs2" };
const rdImmediate: Operands = { rd: "rd", rs1: "rd", imm: "imm" };
const load: Operands = { rd: "rd", rs1: "rs1", imm: "imm" };
const store: Operands = { rs2: "rs2", rs1: "rs1", imm: "imm" };
const stackLoad: Operands = { rd: "rd", rs1: SP, imm: "imm" };
const stackStore: Operands = { rs2: "rs2", rs1: SP, imm: "imm" };

export const cClauses: readonly Clause[] = [
  // Quadrant 0
  form("addi4spn", "000 nzuimm[5:4|9:6|2|3] rd' 00", "rd, sp, imm", "addi", { rd: "rd", rs1: SP, imm: "imm" }),
  form("fld", "001 uimm[5:3] rs1' uimm[7:6] rd' 00", "fd, imm(rs1)", "fld", load),
  form("lw", "010 uimm[5:3] rs1' uimm[2|6] rd' 00", "rd, imm(rs1)", "lw", load),
  form("ld", "011 uimm[5:3] rs1' uimm[7:6] rd' 00", "rd, imm(rs1)", "ld", load),
  form("fsd", "101 uimm[5:3] rs1' uimm[7:6] rs2' 00", "fs2, imm(rs1)", "fsd", store),
  form("sw", "110 uimm[5:3] rs1' uimm[2|6] rs2' 00", "rs2, imm(rs1)", "sw", store),
  form("sd", "111 uimm[5:3] rs1' uimm[7:6] rs2' 00", "rs2, imm(rs1)", "sd", store),
  // Quadrant 1
  form("nop", "000 0 00000 00000 01", "", "addi", { rd: 0, rs1: 0, imm: 0 }),
  form("nop", "000 nzimm[5] 00000 nzimm[4:0] 01", "imm", "addi", { rd: 0, rs1: 0, imm: "imm" }),
  form("addi", "000 nzimm[5] rd!=0 nzimm[4:0] 01", "rd, imm", "addi", rdImmediate),
  hint("addi", "000 0 rd!=0 00000 01", "rd, 0"),
  form("addiw", "001 imm[5] rd!=0 imm[4:0] 01", "rd, imm", "addiw", rdImmediate),
  form("li", "010 imm[5] rd imm[4:0] 01", "rd, imm", "addi", { rd: "rd", rs1: 0, imm: "imm" }),
  form("addi16sp", "011 nzimm[9] 00010 nzimm[4|6|8:7|5] 01", "sp, imm", "addi", { rd: SP, rs1: SP, imm: "imm" }),
  form("lui", "011 nzimm[17] rd!=2 nzimm[16:12] 01", "rd, upper", "lui", { rd: "rd", imm: "imm" }),
  form("srli", "100 nzuimm[5] 00 rd' nzuimm[4:0] 01", "rd, imm", "srli", rdImmediate),
  form("srai", "100 nzuimm[5] 01 rd' nzuimm[4:0] 01", "rd, imm", "srai", rdImmediate),
  hint("srli", "100 0 00 rd' 00000 01", "rd, 0x0"),
  hint("srai", "100 0 01 rd' 00000 01", "rd, 0x0"),
  form("andi", "100 imm[5] 10 rd' imm[4:0] 01", "rd, imm", "andi", rdImmediate),
  form("sub", "100 0 11 rd' 00 rs2' 01", "rd, rs2", "sub", twoRegisters),
  form("xor", "100 0 11 rd' 01 rs2' 01", "rd, rs2", "xor", twoRegisters),
  form("or", "100 0 11 rd' 10 rs2' 01", "rd, rs2", "or", twoRegisters),
  form("and", "100 0 11 rd' 11 rs2' 01", "rd, rs2", "and", twoRegisters),
  form("subw", "100 1 11 rd' 00 rs2' 01", "rd, rs2", "subw", twoRegisters),
  form("addw", "100 1 11 rd' 01 rs2' 01", "rd, rs2", "addw", twoRegisters),
  form("j", "101 imm[11|4|9:8|10|6|7|3:1|5] 01", "target", "jal", { rd: 0, imm: "imm" }),
  form("beqz", "110 imm[8|4:3] rs1' imm[7:6|2:1|5] 01", "rs1, target", "beq", { rs1: "rs1", rs2: 0, imm: "imm" }),
  form("bnez", "111 imm[8|4:3] rs1' imm[7:6|2:1|5] 01", "rs1, target", "bne", { rs1: "rs1", rs2: 0, imm: "imm" }),
  // Quadrant 2
  form("slli", "000 nzuimm[5] rd nzuimm[4:0] 10", "rd, imm", "slli", rdImmediate),
  hint("slli", "000 0 rd 00000 10", "rd, 0x0"),
  form("fldsp", "001 uimm[5] rd uimm[4:3|8:6] 10", "fd, imm(sp)", "fld", stackLoad),
  form("lwsp", "010 uimm[5] rd!=0 uimm[4:2|7:6] 10", "rd, imm(sp)", "lw", stackLoad),
  form("ldsp", "011 uimm[5] rd!=0 uimm[4:3|8:6] 10", "rd, imm(sp)", "ld", stackLoad),
  form("jr", "100 0 rs1!=0 00000 10", "rs1", "jalr", { rd: 0, rs1: "rs1", imm: 0 }),
  form("mv", "100 0 rd rs2!=0 10", "rd, rs2", "add", { rd: "rd", rs1: 0, rs2: "rs2" }),
  form("ebreak", "100 1 00000 00000 10", "", "ebreak", {}),
  form("jalr", "100 1 rs1!=0 00000 10", "rs1", "jalr", { rd: 1, rs1: "rs1", imm: 0 }),
  form("add", "100 1 rd rs2!=0 10", "rd, rs2", "add", twoRegisters),
  form("fsdsp", "101 uimm[5:3|8:6] rs2 10", "fs2, imm(sp)", "fsd", stackStore),
  form("swsp", "110 uimm[5:2|7:6] rs2 10", "rs2, imm(sp)", "sw", stackStore),
  form("sdsp", "111 uimm[5:3|8:6] rs2 10", "rs2, imm(sp)", "sd", stackStore),
];
