/** Which integer and capability registers an instruction reads and writes, from its clause. */
import { operandsOf } from "../assembler/syntax.ts";
import type { Clause, Operands } from "../isa/clause.ts";
import { Semantics } from "../isa/ir.ts";

/** Register numbers; 0 for none. */
export interface RegisterUse {
  readonly rd: number;
  readonly rs1: number;
  readonly rs2: number;
}

interface Shape {
  readonly rd: "rd" | "rs2" | number;
  readonly rs1: boolean;
  readonly rs2: boolean;
}

/** CInvoke's data goes here. */
const INVOKED_DATA = 31;

function shapeOf(clause: Clause): Shape {
  const operands = operandsOf(clause);
  const has = (field: "rd" | "rs1" | "rs2"): boolean =>
    operands.some((operand) => operand.field === field && operand.kind === "register" && operand.file !== "f");
  const semantics = new Semantics();
  clause.semantics?.(semantics);
  // Store-conditionals of Xcheri put their result where the value came from.
  const resultInRs2 = semantics.statements.some((s) => s.k === "setX" && s.field === "rs2");
  const rd = has("rd") ? "rd" : resultInRs2 ? "rs2" : clause.name === "cinvoke" ? INVOKED_DATA : 0;
  return { rd, rs1: has("rs1"), rs2: has("rs2") };
}

const shapes = new WeakMap<Clause, Shape>();

/** Of an instruction that `clause` (one with semantics) and `operands` describe. */
export function registersOf(clause: Clause, operands: Operands): RegisterUse {
  let shape = shapes.get(clause);
  if (shape === undefined) {
    shape = shapeOf(clause);
    shapes.set(clause, shape);
  }
  return {
    rd: typeof shape.rd === "number" ? shape.rd : operands[shape.rd],
    rs1: shape.rs1 ? operands.rs1 : 0,
    rs2: shape.rs2 ? operands.rs2 : 0,
  };
}
