import { floatClauses } from "../float/clauses.ts";
import { double, narrow, widen } from "../float/semantics.ts";
import type { Clause } from "./clause.ts";

/**
 * RV64D (The RISC-V Instruction Set Manual, volume I, "D" extension, version 2.2).
 * Exceptions in the order checked: loads and stores as for integers; an invalid rounding mode, illegal instruction.
 */
export const dClauses: readonly Clause[] = [
  {
    name: "fld",
    extension: "D",
    encoding: "imm[11:0] rs1 011 rd 0000111",
    syntax: "fd, imm(rs1)",
    semantics: (s) => s.setF("rd", s.load(8, false, s.op("i64.add", s.x("rs1"), s.imm))),
  },
  {
    name: "fsd",
    extension: "D",
    encoding: "imm[11:5] rs2 rs1 011 imm[4:0] 0100111",
    syntax: "fs2, imm(rs1)",
    semantics: (s) => s.store(8, s.op("i64.add", s.x("rs1"), s.imm), s.f("rs2")),
  },
  ...floatClauses("D", double),
  {
    name: "fcvt.s.d",
    extension: "D",
    encoding: "0100000 00001 rs1 rm rd 1010011",
    syntax: "fd, fs1, rm",
    semantics: narrow(),
  },
  {
    // Exact: written without a rounding mode, which is then 0.
    name: "fcvt.d.s",
    extension: "D",
    encoding: "0100001 00000 rs1 rm rd 1010011",
    syntax: "fd, fs1",
    semantics: widen(),
  },
  {
    name: "fmv.x.d",
    extension: "D",
    encoding: "1110001 00000 rs1 000 rd 1010011",
    syntax: "rd, fs1",
    semantics: (s) => s.setX("rd", s.f("rs1")),
  },
  {
    name: "fmv.d.x",
    extension: "D",
    encoding: "1111001 00000 rs1 000 rd 1010011",
    syntax: "fd, rs1",
    semantics: (s) => s.setF("rd", s.x("rs1")),
  },
];
