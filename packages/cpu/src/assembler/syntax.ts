/** The operand syntax of clauses, read for printing and for parsing. */
import type { Clause } from "../isa/clause.ts";
import type { FieldName } from "../isa/encoding.ts";
import type { RegisterFile } from "./registers.ts";

/** How an operand is written. */
export type OperandKind = { readonly field: FieldName } & (
  | { readonly kind: "register"; readonly file: RegisterFile }
  | { readonly kind: "number" | "target" | "upper" | "csr" | "scr" | "rounding" | "fence" }
  /** Some bits of the field. */
  | { readonly kind: "part"; readonly low: number; readonly width: number }
);

/** A piece of a syntax: an operand, or text that stands for itself. */
export type SyntaxPiece =
  | { readonly operand: OperandKind; readonly text?: undefined }
  | { readonly text: string; readonly operand?: undefined };

const WORDS: Readonly<Record<string, OperandKind>> = {
  imm: { field: "imm", kind: "number" },
  zimm: { field: "rs1", kind: "number" },
  target: { field: "imm", kind: "target" },
  upper: { field: "imm", kind: "upper" },
  csr: { field: "imm", kind: "csr" },
  scr: { field: "imm", kind: "scr" },
  quarter: { field: "imm", kind: "part", low: 8, width: 2 },
  mask: { field: "imm", kind: "part", low: 0, width: 8 },
  rm: { field: "rm", kind: "rounding" },
  pred: { field: "pred", kind: "fence" },
  succ: { field: "succ", kind: "fence" },
};

function operandOf(word: string): OperandKind | undefined {
  const register = /^([rfcd])(d|s[123])$/u.exec(word);
  if (register !== null) {
    const file = { r: "x", f: "f", c: "c", d: "d" }[register[1] as "r" | "f" | "c" | "d"] as RegisterFile;
    return { field: `r${register[2]}` as FieldName, kind: "register", file };
  }
  return WORDS[word];
}

const cache = new WeakMap<Clause, readonly SyntaxPiece[]>();

/** The pieces of a clause's syntax, in order; blanks are left out. */
export function syntaxOf(clause: Clause): readonly SyntaxPiece[] {
  let pieces = cache.get(clause);
  if (pieces === undefined) {
    pieces = (clause.syntax.match(/\w+|[^\s\w]/gu) ?? []).map((word): SyntaxPiece => {
      const operand = operandOf(word);
      return operand === undefined ? { text: word } : { operand };
    });
    cache.set(clause, pieces);
  }
  return pieces;
}

/** Operands of a clause's syntax, in order. */
export function operandsOf(clause: Clause): OperandKind[] {
  return syntaxOf(clause).flatMap(({ operand }) => (operand === undefined ? [] : [operand]));
}
