/**
 * The intermediate form of an instruction's meaning. A clause's `semantics` fills a {@link Semantics} with
 * statements; the interpreter generator and the translator both read them, so a meaning stands in one place.
 * Expressions are pure and may be used once; anything used twice goes through {@link Semantics.let}.
 */

export type Type = "i32" | "i64" | "f32" | "f64";

/** Register operand fields of an encoding. */
export type RegField = "rd" | "rs1" | "rs2" | "rs3";

/** WebAssembly operators with one operand, by their text name. */
export type UnaryOp =
  | "i64.eqz"
  | "i32.eqz"
  | "i64.clz"
  | "i64.ctz"
  | "i64.popcnt"
  | "i32.clz"
  | "i32.ctz"
  | "i32.popcnt"
  | "i32.wrap_i64"
  | "i64.extend_i32_s"
  | "i64.extend_i32_u"
  | "i64.extend8_s"
  | "i64.extend16_s"
  | "i64.extend32_s"
  | "f64.reinterpret_i64"
  | "i64.reinterpret_f64"
  | "f32.reinterpret_i32"
  | "i32.reinterpret_f32"
  | "f64.promote_f32"
  | "f32.demote_f64"
  | "f64.sqrt"
  | "f32.sqrt"
  | "f64.abs"
  | "f32.abs"
  | "f64.neg"
  | "f32.neg"
  | "f64.nearest"
  | "f64.trunc"
  | "f64.floor"
  | "f64.ceil"
  | "f32.nearest"
  | "f32.trunc"
  | "f32.floor"
  | "f32.ceil"
  | "f64.convert_i64_s"
  | "f64.convert_i64_u"
  | "f64.convert_i32_s"
  | "f64.convert_i32_u"
  | "f32.convert_i64_s"
  | "f32.convert_i64_u"
  | "f32.convert_i32_s"
  | "f32.convert_i32_u"
  | "i64.trunc_sat_f64_s"
  | "i64.trunc_sat_f64_u"
  | "i64.trunc_sat_f32_s"
  | "i64.trunc_sat_f32_u"
  | "i32.trunc_sat_f64_s"
  | "i32.trunc_sat_f64_u"
  | "i32.trunc_sat_f32_s"
  | "i32.trunc_sat_f32_u";

type IntOp =
  | "add"
  | "sub"
  | "mul"
  | "div_s"
  | "div_u"
  | "rem_s"
  | "rem_u"
  | "and"
  | "or"
  | "xor"
  | "shl"
  | "shr_s"
  | "shr_u"
  | "rotl"
  | "rotr"
  | "eq"
  | "ne"
  | "lt_s"
  | "lt_u"
  | "gt_s"
  | "gt_u"
  | "le_s"
  | "le_u"
  | "ge_s"
  | "ge_u";
type FloatOp = "add" | "sub" | "mul" | "div" | "min" | "max" | "copysign" | "eq" | "ne" | "lt" | "gt" | "le" | "ge";

/** WebAssembly operators with two operands, by their text name. */
export type BinaryOp = `i64.${IntOp}` | `i32.${IntOp}` | `f64.${FloatOp}` | `f32.${FloatOp}`;

export type Expr =
  | { readonly k: "const"; readonly type: Type; readonly value: bigint | number }
  /** The immediate operand, sign- or zero-extended as its encoding says. */
  | { readonly k: "imm"; readonly type: "i64" }
  /** The raw number of a field (a register number, rm, a CSR number in `imm`). */
  | { readonly k: "field"; readonly type: "i32"; readonly field: RegField | "rm" }
  /** Integer register value (the address of a capability register). */
  | { readonly k: "x"; readonly type: "i64"; readonly field: RegField }
  /** Raw 64 bits of a float register (32-bit values are NaN-boxed). */
  | { readonly k: "f"; readonly type: "i64"; readonly field: RegField }
  /** Architectural pc of this instruction (PC - PCC.base under relocation). */
  | { readonly k: "pc"; readonly type: "i64" }
  /** Architectural pc of the next instruction in memory (the link value). */
  | { readonly k: "nextPc"; readonly type: "i64" }
  | { readonly k: "unary"; readonly type: Type; readonly op: UnaryOp; readonly a: Expr }
  | { readonly k: "binary"; readonly type: Type; readonly op: BinaryOp; readonly a: Expr; readonly b: Expr }
  | { readonly k: "select"; readonly type: Type; readonly cond: Expr; readonly a: Expr; readonly b: Expr }
  /** a * b + c, rounded once; only where {@link Semantics.hasFma} is 1. */
  | { readonly k: "fma"; readonly type: "f64"; readonly a: Expr; readonly b: Expr; readonly c: Expr }
  /** 1 if this WebAssembly engine has `fma` on this processor, otherwise 0. */
  | { readonly k: "hasFma"; readonly type: "i32" }
  | { readonly k: "local"; readonly type: Type; readonly id: number }
  /** A named field of the hart's state (layout.ts). */
  | { readonly k: "state"; readonly type: "i32" | "i64"; readonly field: string };

export type AccessSize = 1 | 2 | 4 | 8;

export type Stmt =
  | { readonly k: "let"; readonly id: number; readonly value: Expr }
  | { readonly k: "assign"; readonly id: number; readonly value: Expr }
  /** Integer write: clears the register's capability metadata; a write to x0 does nothing. */
  | { readonly k: "setX"; readonly field: RegField; readonly value: Expr }
  | { readonly k: "setF"; readonly field: RegField; readonly value: Expr }
  | { readonly k: "setState"; readonly field: string; readonly value: Expr }
  /**
   * Checked load through DDC: `address` is an offset (DDC.address is added under relocation). Traps before anything is
   * changed. `signed` extends to 64 bits. `aligned`: misaligned addresses trap. `forStore`: store permission and page
   * state are checked too (AMO), with store causes.
   */
  | {
      readonly k: "load";
      readonly id: number;
      readonly size: AccessSize;
      readonly signed: boolean;
      readonly address: Expr;
      readonly aligned: boolean;
      readonly forStore: boolean;
    }
  /** Checked store through DDC; clears the tags of every granule that it touches. */
  | { readonly k: "store"; readonly size: AccessSize; readonly address: Expr; readonly value: Expr; readonly aligned: boolean }
  | { readonly k: "if"; readonly cond: Expr; readonly then: readonly Stmt[]; readonly else: readonly Stmt[] }
  /** Conditional branch to pc + imm; the target is checked against PCC at the branch. */
  | { readonly k: "branch"; readonly cond: Expr }
  /** Jump to pc + imm. */
  | { readonly k: "jump" }
  /** Jump to PCC.base + target (under relocation); bit 0 is cleared after adding. */
  | { readonly k: "jumpIndirect"; readonly target: Expr }
  /** Synchronous exception at this instruction. */
  | { readonly k: "trap"; readonly cause: number; readonly value: Expr }
  /**
   * Calls a named intrinsic: a function of `isa/intrinsics.ts` or of the run-time. It gets the hart's state block, then
   * `args`. `mayTrap`: it may raise an exception (then nothing after it happens). `changesPc`: it may have changed PCC, DDC or the pc.
   */
  | {
      readonly k: "call";
      readonly id: number;
      readonly fn: string;
      readonly args: readonly Expr[];
      readonly result: Type | "none";
      readonly mayTrap: boolean;
      readonly changesPc: boolean;
    }
  /** Leaves the run loop with an exit code (ecall: Exit.Ecall; fence.i goes on at the next instruction after code was dropped). */
  | { readonly k: "ecall" }
  | { readonly k: "fenceI" };

/** The expressions that an expression is made of, from the left. */
export function partsOf(e: Expr): readonly Expr[] {
  switch (e.k) {
    case "unary":
      return [e.a];
    case "binary":
      return [e.a, e.b];
    case "select":
      return [e.cond, e.a, e.b];
    case "fma":
      return [e.a, e.b, e.c];
    default:
      return [];
  }
}
/** The expressions of a statement itself; those of the lists in an `if` are not among them. */
export function expressionsOf(s: Stmt): readonly Expr[] {
  if (s.k === "call") return s.args;
  const found: Expr[] = [];
  if ("address" in s) found.push(s.address);
  if ("value" in s) found.push(s.value);
  if ("cond" in s) found.push(s.cond);
  if ("target" in s) found.push(s.target);
  return found;
}

const COMPARISONS = /\.(eq|ne|lt|gt|le|ge)(_[su])?$|\.eqz$/u;

/** Result type of a WebAssembly operator by its name. */
export function resultType(op: UnaryOp | BinaryOp): Type {
  return COMPARISONS.test(op) ? "i32" : (op.slice(0, 3) as Type);
}

/** Collects the statements of one clause. */
export class Semantics {
  #stack: Stmt[][] = [[]];
  #locals: Type[] = [];

  /** All statements, in order. */
  get statements(): readonly Stmt[] {
    return this.#stack[0]!;
  }
  /** Types of the locals that the statements use, by id. */
  get locals(): readonly Type[] {
    return this.#locals;
  }
  #push(statement: Stmt): void {
    this.#stack.at(-1)!.push(statement);
  }
  #local(type: Type): number {
    return this.#locals.push(type) - 1;
  }

  // ---- operands and constants
  i64(value: bigint | number): Expr {
    return { k: "const", type: "i64", value: BigInt(value) };
  }
  i32(value: number): Expr {
    return { k: "const", type: "i32", value };
  }
  f64(value: number): Expr {
    return { k: "const", type: "f64", value };
  }
  f32(value: number): Expr {
    return { k: "const", type: "f32", value };
  }
  get imm(): Expr {
    return { k: "imm", type: "i64" };
  }
  field(field: RegField | "rm"): Expr {
    return { k: "field", type: "i32", field };
  }
  x(field: RegField): Expr {
    return { k: "x", type: "i64", field };
  }
  f(field: RegField): Expr {
    return { k: "f", type: "i64", field };
  }
  get pc(): Expr {
    return { k: "pc", type: "i64" };
  }
  get nextPc(): Expr {
    return { k: "nextPc", type: "i64" };
  }
  state(field: string, type: "i32" | "i64" = "i32"): Expr {
    return { k: "state", type, field };
  }

  // ---- pure operators
  op(op: UnaryOp, a: Expr): Expr;
  op(op: BinaryOp, a: Expr, b: Expr): Expr;
  op(op: UnaryOp | BinaryOp, a: Expr, b?: Expr): Expr {
    const type = resultType(op);
    return b === undefined ? { k: "unary", type, op: op as UnaryOp, a } : { k: "binary", type, op: op as BinaryOp, a, b };
  }
  select(cond: Expr, a: Expr, b: Expr): Expr {
    return { k: "select", type: a.type, cond, a, b };
  }
  /** a * b + c in one rounding, to nearest even; undefined unless {@link hasFma} is 1. */
  fma(a: Expr, b: Expr, c: Expr): Expr {
    return { k: "fma", type: "f64", a, b, c };
  }
  get hasFma(): Expr {
    return { k: "hasFma", type: "i32" };
  }
  /** Low 32 bits, sign-extended to 64: the result of every *w instruction. */
  sext32(a: Expr): Expr {
    return this.op("i64.extend32_s", a);
  }
  /** i32 comparison result as an i64 0 or 1. */
  bool(a: Expr): Expr {
    return this.op("i64.extend_i32_u", a);
  }

  // ---- statements
  /** Evaluates once; the result may be used any number of times. */
  let(value: Expr): Expr {
    const id = this.#local(value.type);
    this.#push({ k: "let", id, value });
    return { k: "local", type: value.type, id };
  }
  /** Assigns to a local made by {@link let}. */
  assign(local: Expr, value: Expr): void {
    if (local.k !== "local") throw new TypeError("assign needs a local made by let");
    this.#push({ k: "assign", id: local.id, value });
  }
  setX(field: RegField, value: Expr): void {
    this.#push({ k: "setX", field, value });
  }
  setF(field: RegField, value: Expr): void {
    this.#push({ k: "setF", field, value });
  }
  setState(field: string, value: Expr): void {
    this.#push({ k: "setState", field, value });
  }
  load(size: AccessSize, signed: boolean, address: Expr, options: { aligned?: boolean; forStore?: boolean } = {}): Expr {
    const id = this.#local("i64");
    this.#push({ k: "load", id, size, signed, address, aligned: options.aligned ?? false, forStore: options.forStore ?? false });
    return { k: "local", type: "i64", id };
  }
  store(size: AccessSize, address: Expr, value: Expr, options: { aligned?: boolean } = {}): void {
    this.#push({ k: "store", size, address, value, aligned: options.aligned ?? false });
  }
  if(cond: Expr, then: () => void, otherwise?: () => void): void {
    const collect = (body?: () => void): Stmt[] => {
      const list: Stmt[] = [];
      this.#stack.push(list);
      body?.();
      this.#stack.pop();
      return list;
    };
    const thenList = collect(then);
    this.#push({ k: "if", cond, then: thenList, else: collect(otherwise) });
  }
  branch(cond: Expr): void {
    this.#push({ k: "branch", cond });
  }
  jump(): void {
    this.#push({ k: "jump" });
  }
  jumpIndirect(target: Expr): void {
    this.#push({ k: "jumpIndirect", target });
  }
  trap(cause: number, value: Expr = this.i64(0)): void {
    this.#push({ k: "trap", cause, value });
  }
  /** Calls an intrinsic that returns a value. */
  call(fn: string, args: readonly Expr[], result: Type, flags: { mayTrap?: boolean; changesPc?: boolean } = {}): Expr {
    const id = this.#local(result);
    this.#push({ k: "call", id, fn, args, result, mayTrap: flags.mayTrap ?? false, changesPc: flags.changesPc ?? false });
    return { k: "local", type: result, id };
  }
  /** Calls an intrinsic for its effect. */
  run(fn: string, args: readonly Expr[], flags: { mayTrap?: boolean; changesPc?: boolean } = {}): void {
    this.#push({ k: "call", id: -1, fn, args, result: "none", mayTrap: flags.mayTrap ?? false, changesPc: flags.changesPc ?? false });
  }
  ecall(): void {
    this.#push({ k: "ecall" });
  }
  fenceI(): void {
    this.#push({ k: "fenceI" });
  }
}
