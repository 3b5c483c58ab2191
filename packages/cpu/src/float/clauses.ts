/** Clauses that exist alike for both widths: the F extension and, with fmt 01, the D extension. */
import type { Clause, Extension } from "../isa/clause.ts";
import type { Semantics } from "../isa/ir.ts";
import {
  addition,
  classification,
  comparison,
  division,
  fromInteger,
  fused,
  minMax,
  multiplication,
  signInjection,
  squareRoot,
  toInteger,
  type Fused,
  type IntegerKind,
  type Width,
} from "./semantics.ts";

const OP_FP = "1010011";

/** Arithmetic, comparisons, sign injection, classification and integer conversions of a width. */
export function floatClauses(extension: Extension, w: Width): Clause[] {
  const clause = (name: string, encoding: string, syntax: string, semantics: (s: Semantics) => void): Clause => ({
    name: `${name}.${w.suffix}`,
    extension,
    encoding,
    syntax,
    semantics,
  });
  const binary = (name: string, funct5: string, semantics: (s: Semantics) => void): Clause =>
    clause(name, `${funct5}${w.fmt} rs2 rs1 rm rd ${OP_FP}`, "fd, fs1, fs2, rm", semantics);
  const fixed = (name: string, funct5: string, funct3: string, semantics: (s: Semantics) => void, rd = "fd"): Clause =>
    clause(name, `${funct5}${w.fmt} rs2 rs1 ${funct3} rd ${OP_FP}`, `${rd}, fs1, fs2`, semantics);
  const fourth = (name: Fused, opcode: string): Clause =>
    clause(`f${name}`, `rs3 ${w.fmt} rs2 rs1 rm rd ${opcode}`, "fd, fs1, fs2, fs3, rm", fused(w, name));
  const integers: readonly (readonly [IntegerKind, string])[] = [
    ["w", "00000"],
    ["wu", "00001"],
    ["l", "00010"],
    ["lu", "00011"],
  ];

  return [
    fourth("madd", "1000011"),
    fourth("msub", "1000111"),
    fourth("nmsub", "1001011"),
    fourth("nmadd", "1001111"),
    binary("fadd", "00000", addition(w, "add")),
    binary("fsub", "00001", addition(w, "sub")),
    binary("fmul", "00010", multiplication(w)),
    binary("fdiv", "00011", division(w)),
    clause("fsqrt", `01011${w.fmt} 00000 rs1 rm rd ${OP_FP}`, "fd, fs1, rm", squareRoot(w)),
    fixed("fsgnj", "00100", "000", signInjection(w, "copy")),
    fixed("fsgnjn", "00100", "001", signInjection(w, "negate")),
    fixed("fsgnjx", "00100", "010", signInjection(w, "xor")),
    fixed("fmin", "00101", "000", minMax(w, "min")),
    fixed("fmax", "00101", "001", minMax(w, "max")),
    fixed("fle", "10100", "000", comparison(w, "le"), "rd"),
    fixed("flt", "10100", "001", comparison(w, "lt"), "rd"),
    fixed("feq", "10100", "010", comparison(w, "eq"), "rd"),
    clause("fclass", `11100${w.fmt} 00000 rs1 001 rd ${OP_FP}`, "rd, fs1", classification(w)),
    ...integers.map(([kind, code]) =>
      clause(`fcvt.${kind}`, `11000${w.fmt} ${code} rs1 rm rd ${OP_FP}`, "rd, fs1, rm", toInteger(w, kind)),
    ),
    ...integers.map(([kind, code]): Clause => ({
      name: `fcvt.${w.suffix}.${kind}`,
      extension,
      encoding: `11010${w.fmt} ${code} rs1 rm rd ${OP_FP}`,
      // Exact conversions are written without a rounding mode, which is then 0.
      syntax: w.type === "f64" && (kind === "w" || kind === "wu") ? "fd, rs1" : "fd, rs1, rm",
      semantics: fromInteger(w, kind),
    })),
  ];
}
