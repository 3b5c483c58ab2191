/** Zbs: single bits (RISC-V unprivileged specification, chapter "B"). No exceptions. */
import type { Clause } from "./clause.ts";
import type { Expr, Semantics } from "./ir.ts";

/** Shift counts are taken modulo 64 by WebAssembly as by RISC-V. */
const bit = (s: Semantics, at: Expr): Expr => s.op("i64.shl", s.i64(1), at);

const OPERATIONS: readonly (readonly [name: string, funct6: string, funct3: string, op: (s: Semantics, a: Expr, at: Expr) => Expr])[] = [
  ["bclr", "010010", "001", (s, a, at) => s.op("i64.and", a, s.op("i64.xor", bit(s, at), s.i64(-1)))],
  ["bext", "010010", "101", (s, a, at) => s.op("i64.and", s.op("i64.shr_u", a, at), s.i64(1))],
  ["binv", "011010", "001", (s, a, at) => s.op("i64.xor", a, bit(s, at))],
  ["bset", "001010", "001", (s, a, at) => s.op("i64.or", a, bit(s, at))],
];

export const zbsClauses: readonly Clause[] = OPERATIONS.flatMap(([name, funct6, funct3, op]): Clause[] => [
  {
    name,
    extension: "Zbs",
    encoding: `${funct6}0 rs2 rs1 ${funct3} rd 0110011`,
    syntax: "rd, rs1, rs2",
    semantics: (s) => s.setX("rd", op(s, s.x("rs1"), s.x("rs2"))),
  },
  {
    name: `${name}i`,
    extension: "Zbs",
    encoding: `${funct6} uimm[5:0] rs1 ${funct3} rd 0010011`,
    syntax: "rd, rs1, imm",
    semantics: (s) => s.setX("rd", op(s, s.x("rs1"), s.imm)),
  },
]);
