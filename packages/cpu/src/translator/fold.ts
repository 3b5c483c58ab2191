/** Values that are known when an instruction is translated. */
import type { Expr } from "../isa/ir.ts";
import { fusesMultiplyAdd } from "../wasm/fma.ts";
import type { Instructions } from "./instructions.ts";

export type Constant = number | bigint;

/** What stands for a local of the intermediate form: a constant, another expression, or nothing known. */
export interface Bindings {
  readonly code: Instructions;
  readonly index: number;
  readonly bound: readonly (Expr | undefined)[];
}

const INT64 = (value: bigint): bigint => BigInt.asIntN(64, value);

function field(b: Bindings, name: "rd" | "rs1" | "rs2" | "rs3" | "rm"): number {
  return b.code[name][b.index]!;
}
export function registerOf(b: Bindings, name: "rd" | "rs1" | "rs2" | "rs3"): number {
  return field(b, name);
}

/** The value of an expression if it does not depend on registers; i64 as bigint (signed), i32 as number. */
export function constant(b: Bindings, e: Expr): Constant | undefined {
  switch (e.k) {
    case "const":
      return e.type === "i64" ? INT64(BigInt(e.value)) : e.type === "i32" ? Number(e.value) | 0 : undefined;
    case "imm":
      return BigInt(b.code.imm[b.index]!);
    case "field":
      return field(b, e.field);
    case "x":
      return field(b, e.field) === 0 ? 0n : undefined;
    case "pc":
      return BigInt(b.code.pc[b.index]!);
    case "nextPc":
      return BigInt(b.code.next(b.index));
    case "local": {
      const bound = b.bound[e.id];
      return bound === undefined ? undefined : constant(b, bound);
    }
    case "hasFma":
      return fusesMultiplyAdd ? 1 : 0;
    case "state":
      // Code is translated for rounding to nearest; another mode is the interpreter's.
      return e.field === "frm" ? 0 : undefined;
    case "unary": {
      const a = constant(b, e.a);
      return a === undefined ? undefined : unary(e.op, a);
    }
    case "binary": {
      const x = constant(b, e.a);
      const y = constant(b, e.b);
      if (e.op === "i32.and" && (x === 0 || y === 0)) return 0;
      return x === undefined || y === undefined ? undefined : binary(e.op, x, y);
    }
    case "select": {
      const cond = constant(b, e.cond);
      return cond === undefined ? undefined : constant(b, cond === 0 ? e.b : e.a);
    }
    default:
      return undefined;
  }
}

function unary(op: string, a: Constant): Constant | undefined {
  switch (op) {
    case "i32.eqz":
      return a === 0 ? 1 : 0;
    case "i32.wrap_i64":
      return Number(BigInt.asIntN(32, a as bigint));
    case "i64.extend_i32_u":
      return BigInt((a as number) >>> 0);
    case "i64.extend_i32_s":
      return BigInt(a as number);
    case "i64.extend32_s":
      return BigInt.asIntN(32, a as bigint);
  }
  return undefined;
}

function binary(op: string, x: Constant, y: Constant): Constant | undefined {
  if (typeof x === "bigint" && typeof y === "bigint") {
    switch (op) {
      case "i64.add":
        return INT64(x + y);
      case "i64.sub":
        return INT64(x - y);
      case "i64.and":
        return x & y;
      case "i64.or":
        return x | y;
      case "i64.xor":
        return x ^ y;
    }
    return undefined;
  }
  switch (op) {
    case "i32.eq":
      return x === y ? 1 : 0;
    case "i32.ne":
      return x === y ? 0 : 1;
    case "i32.gt_u":
      return Number(x) >>> 0 > Number(y) >>> 0 ? 1 : 0;
    case "i32.and":
      return Number(x) & Number(y);
    case "i32.or":
      return Number(x) | Number(y);
  }
  return undefined;
}

const TESTS = /\.(eq|ne|lt|gt|le|ge)(_[su])?$|\.eqz$/u;
const isTest: Map<string, boolean> = new Map();

/** True if the i32 value of an expression is 0 or 1. */
export function isBoolean(b: Bindings, e: Expr): boolean {
  if (e.k === "unary" || e.k === "binary") {
    let test = isTest.get(e.op);
    if (test === undefined) isTest.set(e.op, (test = TESTS.test(e.op)));
    if (test) return true;
    return e.k === "binary" && (e.op === "i32.and" || e.op === "i32.or") && isBoolean(b, e.a) && isBoolean(b, e.b);
  }
  if (e.k === "local" && b.bound[e.id] !== undefined) return isBoolean(b, b.bound[e.id]!);
  const known = constant(b, e);
  return known === 0 || known === 1;
}
