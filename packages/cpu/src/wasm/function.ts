/** Writes a WebAssembly function as expressions and statements; the code below them is code.ts. */
import type { BinaryOp, Type } from "../isa/ir.ts";
import { Code, type Label } from "./code.ts";

/** A number in place of a value: a constant of the type that is needed. */
export type Operand = Value | number | bigint;

/** Operators that are the same for i32 and i64. */
type Operator = BinaryOp extends `${string}.${infer Name}` ? Name : never;

const COMPARISONS: ReadonlySet<Operator> = new Set<Operator>(["eq", "ne", "lt_s", "lt_u", "gt_s", "gt_u", "le_s", "le_u", "ge_s", "ge_u"]);

/**
 * An expression. It is evaluated where it is used, each time: what is used twice, or must not see a later change, goes through
 * {@link Writer.let}.
 */
export class Value {
  readonly type: Type;
  readonly #code: Code;
  readonly #push: () => void;

  constructor(code: Code, type: Type, push: () => void) {
    this.#code = code;
    this.type = type;
    this.#push = push;
  }
  /** Emits the code that leaves it on the stack. */
  push(): void {
    this.#push();
  }
  #operand(operand: Operand): void {
    if (operand instanceof Value) {
      if (operand.type !== this.type) throw new TypeError(`${operand.type} where ${this.type} is needed`);
      operand.push();
    } else if (this.type === "i64") this.#code.i64(operand);
    else this.#code.i32(Number(operand));
  }
  #op(name: Operator, b: Operand): Value {
    const op = `${this.type}.${name}`;
    return new Value(this.#code, COMPARISONS.has(name) ? "i32" : this.type, () => {
      this.push();
      this.#operand(b);
      this.#code.op(op);
    });
  }
  #unary(name: string, type: Type): Value {
    return new Value(this.#code, type, () => {
      this.push();
      this.#code.op(name);
    });
  }

  add(b: Operand): Value {
    return this.#op("add", b);
  }
  sub(b: Operand): Value {
    return this.#op("sub", b);
  }
  mul(b: Operand): Value {
    return this.#op("mul", b);
  }
  and(b: Operand): Value {
    return this.#op("and", b);
  }
  or(b: Operand): Value {
    return this.#op("or", b);
  }
  xor(b: Operand): Value {
    return this.#op("xor", b);
  }
  /** All bits the other way round. */
  not(): Value {
    return this.xor(-1);
  }
  shl(b: Operand): Value {
    return this.#op("shl", b);
  }
  /** Unsigned, by the count modulo the width; so is {@link shl}. */
  shr(b: Operand): Value {
    return this.#op("shr_u", b);
  }
  shrSigned(b: Operand): Value {
    return this.#op("shr_s", b);
  }
  eq(b: Operand): Value {
    return this.#op("eq", b);
  }
  ne(b: Operand): Value {
    return this.#op("ne", b);
  }
  /** Comparisons are unsigned unless they say otherwise. */
  lt(b: Operand): Value {
    return this.#op("lt_u", b);
  }
  le(b: Operand): Value {
    return this.#op("le_u", b);
  }
  gt(b: Operand): Value {
    return this.#op("gt_u", b);
  }
  ge(b: Operand): Value {
    return this.#op("ge_u", b);
  }
  ltSigned(b: Operand): Value {
    return this.#op("lt_s", b);
  }
  eqz(): Value {
    return this.#unary(`${this.type}.eqz`, "i32");
  }
  clz(): Value {
    return this.#unary(`${this.type}.clz`, this.type);
  }
  /** Low 32 bits of an i64. */
  wrap(): Value {
    return this.#unary("i32.wrap_i64", "i32");
  }
  /** i32 to i64, unsigned. */
  extend(): Value {
    return this.#unary("i64.extend_i32_u", "i64");
  }
  extendSigned(): Value {
    return this.#unary("i64.extend_i32_s", "i64");
  }
  /** This condition chooses; both are evaluated. One of them says the type. */
  select(a: Operand, b: Operand): Value {
    const typed = a instanceof Value ? a : b instanceof Value ? b : undefined;
    const type = typed?.type ?? "i32";
    return new Value(this.#code, type, () => {
      const shape = new Value(this.#code, type, () => undefined);
      shape.#operand(a);
      shape.#operand(b);
      this.push();
      this.#code.select();
    });
  }
}

/** Loads and stores by bytes: `8` is i64, others are i32. */
export type Width = 1 | 2 | 4 | 8;

/** Writes one function. Parameters are values that may be used any number of times, as are those that {@link let} gives. */
export class Writer {
  readonly code: Code;
  readonly params: readonly Value[];

  constructor(params: readonly Type[]) {
    this.code = new Code(params);
    this.params = params.map((type, index) => new Value(this.code, type, () => this.code.get(index)));
  }

  i32(value: number): Value {
    return new Value(this.code, "i32", () => this.code.i32(value));
  }
  i64(value: number | bigint): Value {
    return new Value(this.code, "i64", () => this.code.i64(value));
  }
  /** Evaluates now. */
  let(value: Value): Value {
    const local = this.code.local(value.type);
    value.push();
    this.code.set(local);
    return new Variable(this.code, value.type, local);
  }
  /** Gives a variable made by {@link let} another value. */
  set(variable: Value, value: Value): void {
    if (!(variable instanceof Variable) || variable.type !== value.type) throw new TypeError("set needs a variable of the same type");
    value.push();
    this.code.set(variable.local);
  }

  // ---- memory; an address is an i32, `offset` a constant added to it
  /** i64 of 8 bytes. */
  load64(address: Value, offset: number): Value {
    return this.#load("i64.load", "i64", address, offset);
  }
  /** i32, zero-extended from fewer bytes. */
  load32(address: Value, offset: number, width: 1 | 2 | 4 = 4): Value {
    return this.#load(width === 4 ? "i32.load" : `i32.load${width * 8}_u`, "i32", address, offset);
  }
  /** i64, zero-extended from fewer bytes. */
  loadExtended(address: Value, offset: number, width: Width): Value {
    return this.#load(width === 8 ? "i64.load" : `i64.load${width * 8}_u`, "i64", address, offset);
  }
  #load(name: string, type: Type, address: Value, offset: number): Value {
    return new Value(this.code, type, () => {
      address.push();
      this.code.memory(name, offset);
    });
  }
  /** The low `width` bytes of an i32 or i64. */
  store(address: Value, offset: number, value: Value, width: Width = value.type === "i64" ? 8 : 4): void {
    const full = value.type === "i64" ? 8 : 4;
    address.push();
    value.push();
    this.code.memory(`${value.type}.store${width === full ? "" : width * 8}`, offset);
  }

  // ---- control
  if(condition: Value, then: () => void, otherwise?: () => void): void {
    condition.push();
    this.code.if();
    then();
    if (otherwise !== undefined) {
      this.code.else();
      otherwise();
    }
    this.code.end();
  }
  /** A block that {@link leave} jumps behind. */
  block(body: (label: Label) => void): void {
    const label = this.code.block();
    body(label);
    this.code.end();
  }
  /** A loop that {@link leave} starts again; it ends when control reaches its end. */
  loop(body: (label: Label) => void): void {
    const label = this.code.loop();
    body(label);
    this.code.end();
  }
  leave(label: Label, condition?: Value): void {
    condition?.push();
    if (condition === undefined) this.code.br(label);
    else this.code.brIf(label);
  }
  /** Result of a call of a function by its index. */
  call(type: Type, index: number, args: readonly Value[]): Value {
    return new Value(this.code, type, () => this.run(index, args));
  }
  /** Calls a function without a result. */
  run(index: number, args: readonly Value[]): void {
    for (const arg of args) arg.push();
    this.code.call(index);
  }
  return(value?: Value): void {
    value?.push();
    this.code.return();
  }
  /** The result of a function whose end is reached. */
  result(value: Value): void {
    value.push();
  }
}

class Variable extends Value {
  readonly local: number;
  constructor(code: Code, type: Type, local: number) {
    super(code, type, () => code.get(local));
    this.local = local;
  }
}
