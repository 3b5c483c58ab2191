import { floatClauses } from "../float/clauses.ts";
import { single } from "../float/semantics.ts";
import type { Clause } from "./clause.ts";

const BOX = -(1n << 32n);

/**
 * RV64F (The RISC-V Instruction Set Manual, volume I, "F" extension, version 2.2). Floating point is always on.
 * Exceptions in the order checked: loads and stores as for integers; an invalid rounding mode, illegal instruction.
 */
export const fClauses: readonly Clause[] = [
  {
    name: "flw",
    extension: "F",
    encoding: "imm[11:0] rs1 010 rd 0000111",
    syntax: "fd, imm(rs1)",
    semantics: (s) => s.setF("rd", s.op("i64.or", s.load(4, false, s.op("i64.add", s.x("rs1"), s.imm)), s.i64(BOX))),
  },
  {
    name: "fsw",
    extension: "F",
    encoding: "imm[11:5] rs2 rs1 010 imm[4:0] 0100111",
    syntax: "fs2, imm(rs1)",
    semantics: (s) => s.store(4, s.op("i64.add", s.x("rs1"), s.imm), s.f("rs2")),
  },
  ...floatClauses("F", single),
  {
    name: "fmv.x.w",
    extension: "F",
    encoding: "1110000 00000 rs1 000 rd 1010011",
    syntax: "rd, fs1",
    semantics: (s) => s.setX("rd", s.sext32(s.f("rs1"))),
  },
  {
    name: "fmv.w.x",
    extension: "F",
    encoding: "1111000 00000 rs1 000 rd 1010011",
    syntax: "fd, rs1",
    semantics: (s) => s.setF("rd", s.op("i64.or", s.x("rs1"), s.i64(BOX))),
  },
];
