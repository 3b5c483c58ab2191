/** What the translator must know of each clause, derived from its meaning. */
import type { Clause } from "../isa/clause.ts";
import type { FunctionType } from "../wasm/module.ts";
import { expressionsOf, partsOf, Semantics, type AccessSize, type Expr, type RegField, type Stmt } from "../isa/ir.ts";

/** How an instruction is translated. */
export const Kind = {
  /** Computes on registers, may touch memory, runs on. */
  Plain: 0,
  Branch: 1,
  /** To pc + imm; a call if rd is not x0. */
  Jump: 2,
  /** To an address in a register; a call if rd is not x0. */
  JumpIndirect: 3,
  /** Left to the interpreter: system calls, exceptions, whatever changes pc or capabilities. */
  Interpret: 4,
} as const;
export type KindCode = (typeof Kind)[keyof typeof Kind];

/** A load or store at rs1 (+ imm), which can be checked together with others. */
export interface Access {
  readonly size: AccessSize;
  readonly store: boolean;
  /** The immediate is part of the address. */
  readonly imm: boolean;
}

/** Register fields as bits: rd 1, rs1 2, rs2 4, rs3 8. */
export const FIELD_BIT: Readonly<Record<RegField, number>> = { rd: 1, rs1: 2, rs2: 4, rs3: 8 };

/** An intrinsic and its type as a WebAssembly function, the state block's offset first. */
export interface Call {
  readonly name: string;
  readonly type: FunctionType;
}

export interface Shape {
  readonly clause: Clause;
  readonly kind: KindCode;
  readonly statements: readonly Stmt[];
  readonly locals: Semantics["locals"];
  /** Fields that are read and written as integer and float registers ({@link FIELD_BIT}). */
  readonly readsX: number;
  readonly readsF: number;
  readonly writesX: number;
  readonly writesF: number;
  /** Set if this is all that the instruction does with memory. */
  readonly access: Access | undefined;
  /** Leaves to the interpreter in the middle for some operands: has checks or exceptions of its own. */
  readonly mayLeave: boolean;
  /** Reads the floating-point flags. */
  readonly readsFlags: boolean;
  /** Ids of locals that are assigned again. */
  readonly assigned: ReadonlySet<number>;
  /** Reads, or reads and writes, a control register (its number is the immediate): whether it writes if rs1 is x0. */
  readonly csr: { readonly always: boolean } | undefined;
  /** Intrinsics that it calls. */
  readonly calls: readonly Call[];
  /** rd = rs1 + imm and rd = rs1 + rs2: what keeps what is known of an address. */
  readonly offset: boolean;
  readonly sum: boolean;
  /** Nothing is read after a register was written: locals that stand for registers stay right. */
  readonly writesLast: boolean;
  /** What the only write of an integer register writes; undefined if there are several, or a condition. */
  readonly result: Expr | undefined;
  /** What locals that are never assigned again stand for, by id. */
  readonly lets: readonly (Expr | undefined)[];
  /** Id of the local that a planned access loads a sign-extended 32-bit number to; -1 if there is none. */
  readonly narrowLoad: number;
  /** Only integer arithmetic without effects: may be done and its result thrown away. */
  readonly pure: boolean;
}

/** State that clauses of translated instructions may set. */
const OWN_STATE: ReadonlySet<string> = new Set(["fflags", "frm", "reservation"]);

function accessOf(s: Stmt & { k: "load" | "store" }): Access | undefined {
  if (s.aligned || (s.k === "load" && s.forStore)) return undefined;
  const { address } = s;
  const plain = address.k === "x" && address.field === "rs1";
  const offset =
    address.k === "binary" && address.op === "i64.add" && address.a.k === "x" && address.a.field === "rs1" && address.b.k === "imm";
  return plain || offset ? { size: s.size, store: s.k === "store", imm: offset } : undefined;
}

/** The value of a clause that is just rd = value. */
function onlyResult(statements: readonly Stmt[]): Expr | undefined {
  const [only, ...rest] = statements;
  return rest.length === 0 && only?.k === "setX" && only.field === "rd" ? only.value : undefined;
}
const isX = (e: Expr, field: RegField): boolean => e.k === "x" && e.field === field;

/** No statement follows a write of a register, in the list or in one around it. */
function writesLast(statements: readonly Stmt[], followed: boolean): boolean {
  return statements.every((s, index) => {
    const more = followed || index < statements.length - 1;
    if (s.k === "setX" || s.k === "setF") return !more;
    return s.k !== "if" || (writesLast(s.then, more) && writesLast(s.else, more));
  });
}

/** What narrow.ts has to know. */
function narrowParts(
  statements: readonly Stmt[],
  accesses: readonly (Access | undefined)[],
  assigned: ReadonlySet<number>,
): Pick<Shape, "access" | "result" | "lets" | "narrowLoad"> {
  const access = accesses.length === 1 ? accesses[0] : undefined;
  const lets: (Expr | undefined)[] = [];
  const results: (Expr | undefined)[] = [];
  let narrowLoad = -1;
  const nested = (list: readonly Stmt[]): void => {
    for (const s of list) {
      if (s.k === "setX") results.push(undefined);
      else if (s.k === "if") {
        nested(s.then);
        nested(s.else);
      }
    }
  };
  for (const s of statements) {
    if (s.k === "let" && !assigned.has(s.id)) lets[s.id] = s.value;
    else if (s.k === "setX") results.push(s.value);
    else if (s.k === "load" && access !== undefined && s.size < 8 && (s.signed || s.size < 4)) narrowLoad = s.id;
    else if (s.k === "if") nested([s]);
  }
  return { access, lets, narrowLoad, result: results.length === 1 ? results[0] : undefined };
}

/** TypeError when a clause uses a field as an integer and as a float register. */
function shapeOf(clause: Clause): Shape {
  const semantics = new Semantics();
  clause.semantics!(semantics);
  let kind: KindCode = Kind.Plain;
  let readsX = 0;
  let readsF = 0;
  let writesX = 0;
  let writesF = 0;
  let mayLeave = false;
  let pure = true;
  let readsFlags = false;
  const assigned = new Set<number>();
  const calls: Call[] = [];
  const accesses: (Access | undefined)[] = [];

  const expr = (e: Expr): void => {
    if (e.k === "x") readsX |= FIELD_BIT[e.field];
    else if (e.k === "f") readsF |= FIELD_BIT[e.field];
    // Division traps in WebAssembly where clauses guard it.
    else if (e.k === "binary" && /div|rem/u.test(e.op)) pure = false;
    else if (e.k === "state") {
      if (e.field === "instret") kind = Kind.Interpret;
      if (e.field === "fflags") readsFlags = true;
    }
    partsOf(e).forEach(expr);
  };
  const list = (statements: readonly Stmt[], top: boolean): void => {
    for (const s of statements) {
      expressionsOf(s).forEach(expr);
      if (s.k !== "let" && s.k !== "setX") pure = false;
      switch (s.k) {
        case "assign":
          assigned.add(s.id);
          break;
        case "setX":
          writesX |= FIELD_BIT[s.field];
          break;
        case "setF":
          writesF |= FIELD_BIT[s.field];
          break;
        case "setState":
          if (!OWN_STATE.has(s.field)) kind = Kind.Interpret;
          break;
        case "load":
        case "store":
          accesses.push(top && accesses.length === 0 ? accessOf(s) : undefined);
          mayLeave = true;
          break;
        case "if":
          list(s.then, false);
          list(s.else, false);
          break;
        case "branch":
          kind = Kind.Branch;
          break;
        case "jump":
          kind = Kind.Jump;
          break;
        case "jumpIndirect":
          kind = Kind.JumpIndirect;
          break;
        case "trap":
          if (top) kind = Kind.Interpret;
          mayLeave = true;
          break;
        case "call":
          // One case of several: the interpreter does it, from the start.
          if (s.mayTrap && !s.changesPc && !top) {
            mayLeave = true;
            break;
          }
          if (s.mayTrap || s.changesPc) kind = Kind.Interpret;
          calls.push({ name: s.fn, type: { params: ["i32", ...s.args.map(({ type }) => type)], result: s.result } });
          break;
        case "ecall":
        case "fenceI":
          kind = Kind.Interpret;
      }
    }
  };
  list(semantics.statements, true);
  if ((readsX | writesX) & (readsF | writesF)) throw new TypeError(`${clause.name}: a field is an integer and a float register`);
  if (clause.extension === "Xcheri") kind = Kind.Interpret;
  const csr = calls.some(({ name }) => name === "csrRead")
    ? { always: semantics.statements.some((s) => s.k === "call" && s.fn === "csrWrite") }
    : undefined;
  const { access, ...narrow } = narrowParts(semantics.statements, accesses, assigned);
  const result = onlyResult(semantics.statements);
  const sum = result?.k === "binary" && result.op === "i64.add" && isX(result.a, "rs1") ? result.b : undefined;
  return {
    clause,
    kind,
    offset: sum?.k === "imm",
    sum: sum !== undefined && isX(sum, "rs2"),
    writesLast: writesLast(semantics.statements, false),
    statements: semantics.statements,
    locals: semantics.locals,
    readsX,
    readsF,
    writesX,
    writesF,
    access,
    ...narrow,
    mayLeave,
    readsFlags: readsFlags || csr !== undefined,
    csr,
    assigned,
    calls,
    pure: pure && kind === Kind.Plain && writesX === FIELD_BIT.rd,
  };
}

/** By index of the clause; undefined for compressed forms, which expand to others. */
export function shapesOf(clauses: readonly Clause[]): readonly (Shape | undefined)[] {
  return clauses.map((clause) => (clause.semantics === undefined ? undefined : shapeOf(clause)));
}
