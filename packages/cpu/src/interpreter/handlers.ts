/**
 * Which handlers the interpreter has: for each clause with semantics one for each length it can have (its own, and 2 where
 * a compressed form expands to it) and, if it transfers to pc + imm, one for each kind of target.
 */
import type { Clause } from "../isa/clause.ts";
import { encodingOf } from "../isa/encoding.ts";
import { expressionsOf, partsOf, Semantics, type Expr, type RegField, type Stmt } from "../isa/ir.ts";
import { PAIRS } from "./pairs.ts";

/**
 * Kind of a direct transfer. Near: the target is in the same page, and imm holds the distance in records' bytes.
 * Forward: the target is at a higher address, so that no fuel is used.
 */
export const Reach = { None: 0, Forward: 1, Backward: 2, Far: 3 } as const;
export type ReachCode = (typeof Reach)[keyof typeof Reach];

/** What a record's register field must hold the slot of. */
export type Slot = "unused" | "int" | "intWrite" | "intBoth" | "float";

/** Facts about a clause that records are made by. */
export interface ClauseShape {
  readonly semantics: Semantics;
  readonly slots: Readonly<Record<RegField, Slot>>;
  /** Has a branch or jump to pc + imm. */
  readonly direct: boolean;
  /** What follows in memory is not reached from here: decoding stops. */
  readonly ends: boolean;
}

export interface Handler {
  readonly clause: Clause;
  readonly shape: ClauseShape;
  readonly length: 2 | 4;
  readonly reach: ReachCode;
}

/** A handler that does two instructions, the second one with the operands of its own record. */
export interface Pair {
  readonly first: Handler;
  readonly second: Handler;
}

/** Handlers that are not clauses. */
export const Builtin = {
  /** Not decoded yet. */
  Decode: 0,
  /** The two records behind a page: goes on where the address leads. */
  Cross: 1,
  /** Illegal instruction; imm is the instruction. */
  Illegal: 2,
  /** The second half of an instruction lies in a page that may not be executed. */
  FetchFault: 3,
  /** An instruction that is not all inside of PCC's bounds. */
  Outside: 4,
} as const;
const FIRST_CLAUSE = 5;

export interface HandlerTable {
  /** By number; the first ones, which are {@link Builtin}, are undefined. */
  readonly handlers: readonly (Handler | Pair | undefined)[];
  readonly shapes: readonly (ClauseShape | undefined)[];
  /** Number of the handler of a clause (by index); `reach` is None where it has no direct transfer. */
  find(clause: number, length: 2 | 4, reach: ReachCode): number;
  /** Number of the pair's handler that does `first` and then what `second` does first; -1 if there is none. */
  fuse(first: number, second: number): number;
}

/** Bit of a record's handler: there is a translation that starts here. */
export const MARK = 0x8000;

/** Most handlers that there can be. */
const LIMIT = 4096;

type Use = { read: boolean; written: boolean; float: boolean };

function shapeOf(clause: Clause): ClauseShape {
  const semantics = new Semantics();
  clause.semantics!(semantics);
  const uses: Record<RegField, Use> = {
    rd: { read: false, written: false, float: false },
    rs1: { read: false, written: false, float: false },
    rs2: { read: false, written: false, float: false },
    rs3: { read: false, written: false, float: false },
  };
  let direct = false;
  let ends = false;

  const expr = (e: Expr): void => {
    if (e.k === "x") uses[e.field].read = true;
    else if (e.k === "f") uses[e.field].float = true;
    partsOf(e).forEach(expr);
  };
  const list = (statements: readonly Stmt[], top: boolean): void => {
    for (const s of statements) {
      expressionsOf(s).forEach(expr);
      if (s.k === "setX") uses[s.field].written = true;
      if (s.k === "setF") uses[s.field].float = true;
      if (s.k === "if") {
        list(s.then, false);
        list(s.else, false);
      }
      if (s.k === "branch" || s.k === "jump") direct = true;
      if (top && (s.k === "jump" || s.k === "jumpIndirect" || s.k === "trap" || s.k === "ecall")) ends = true;
    }
  };
  list(semantics.statements, true);

  const slot = (field: RegField): Slot => {
    const { read, written, float } = uses[field];
    if (float && (read || written)) throw new TypeError(`${clause.name}: ${field} is an integer and a float register`);
    if (float) return "float";
    if (written) return read ? "intBoth" : "intWrite";
    return read ? "int" : "unused";
  };
  return { semantics, slots: { rd: slot("rd"), rs1: slot("rs1"), rs2: slot("rs2"), rs3: slot("rs3") }, direct, ends };
}

/** Makes the table of handlers of a list of clauses. TypeError when a clause uses a field as an integer and as a float register. */
export function createHandlerTable(clauses: readonly Clause[]): HandlerTable {
  const lengths = new Map<string, Set<2 | 4>>();
  for (const clause of clauses) {
    const name = clause.expands?.to ?? clause.name;
    const set = lengths.get(name) ?? new Set();
    lengths.set(name, set.add(encodingOf(clause).length));
  }
  const handlers: (Handler | Pair | undefined)[] = Array.from({ length: FIRST_CLAUSE }, () => undefined);
  const shapes: (ClauseShape | undefined)[] = [];
  const index = new Int32Array(clauses.length * 8).fill(-1);
  clauses.forEach((clause, number) => {
    if (clause.semantics === undefined) {
      shapes.push(undefined);
      return;
    }
    const shape = shapeOf(clause);
    shapes.push(shape);
    for (const length of lengths.get(clause.name)!) {
      for (const reach of shape.direct ? [Reach.Forward, Reach.Backward, Reach.Far] : [Reach.None]) {
        index[number * 8 + (length === 4 ? 4 : 0) + reach] = handlers.push({ clause, shape, length, reach }) - 1;
      }
    }
  });
  const single = handlers.slice() as (Handler | undefined)[];
  const byName = new Map<string, number[]>();
  for (const [number, handler] of single.entries()) {
    if (handler === undefined || handler.clause.mode === "cap") continue;
    const name = `${handler.clause.name}/${handler.length}`;
    const numbers = byName.get(name);
    if (numbers === undefined) byName.set(name, [number]);
    else numbers.push(number);
  }
  const numbersOf = (name: string): readonly number[] => byName.get(name) ?? [];
  const fused = new Map<number, number>();
  for (const [first, second] of PAIRS) {
    for (const a of numbersOf(first)) {
      const { shape } = single[a]!;
      if (shape.direct || shape.ends) throw new TypeError(`${first} transfers control: it cannot be the first of a pair`);
      for (const b of numbersOf(second)) fused.set(a * LIMIT + b, handlers.push({ first: single[a]!, second: single[b]! }) - 1);
    }
  }
  if (handlers.length > LIMIT) throw new TypeError("too many handlers");
  /** What a handler does first, by number. */
  const leading = Int32Array.from(handlers, (_, number) => number);
  for (const [key, number] of fused) leading[number] = Math.floor(key / LIMIT);
  return {
    handlers,
    shapes,
    find: (clause, length, reach) => index[clause * 8 + (length === 4 ? 4 : 0) + reach]!,
    fuse: (first, second) => fused.get(first * LIMIT + leading[second]!) ?? -1,
  };
}
