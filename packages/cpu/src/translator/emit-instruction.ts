/** Writes instructions of a region from their meaning: operands are locals and constants, accesses have the checks that were planned. */
import { plainCsrs } from "../isa/csr.ts";
import type { Expr, RegField, Stmt } from "../isa/ir.ts";
import { ACTIVE_HART, State, stateType, type StateField } from "../machine/layout.ts";
import type { Code, Label } from "../wasm/code.ts";
import type { Check, CheckOptions } from "./checks.ts";
import { AccessEmitter } from "./emit-access.ts";
import { constant, isBoolean, registerOf } from "./fold.ts";
import { isNarrow } from "./narrow.ts";
import type { Instructions } from "./instructions.ts";
import type { Block } from "./region.ts";
import type { Shape } from "./shapes.ts";
import type { Summary } from "./summary.ts";

/** Where a process's code and data are, for units that are made for one place alone. Both start with a page. */
export interface Place {
  readonly codeBase: number;
  readonly codeSpan: number;
  readonly dataBase: number;
  readonly dataLimit: number;
  /** Address in the pool of slots of what stands for a pc of the code; undefined if that may change. */
  readonly slotAddress: (pc: number) => number | undefined;
}

/** What functions of a unit find around them. */
export interface Surroundings {
  /** Undefined: the unit runs at any place. */
  readonly place: Place | undefined;
  /** Index of the type (counter, pc, depth) → (counter, pc). */
  readonly type: number;
  readonly intrinsic: (name: string) => number;
  /** Index of the function of an entry of this unit. */
  readonly functionAt: (pc: number) => number | undefined;
  /** What the function at an entry of this unit touches, if it is closed. */
  readonly summaryAt: (pc: number) => Summary | undefined;
  /** Instructions that repeating loops may add to a region. */
  readonly unrolled: number;
  readonly checks: CheckOptions & { readonly bounds: boolean; readonly pages: boolean };
}

const COMPARISONS: ReadonlySet<string> = new Set(
  ["eq", "ne", "lt_s", "lt_u", "gt_s", "gt_u", "le_s", "le_u", "ge_s", "ge_u"].map((name) => `i64.${name}`),
);

export class InstructionEmitter {
  readonly #c: Code;
  readonly #code: Instructions;
  readonly #s: Surroundings;
  /** Locals of integer and float registers, by number; -1 where the region does not use one. */
  readonly x: Int32Array = new Int32Array(32).fill(-1);
  readonly f: Int32Array = new Int32Array(32).fill(-1);
  /** i32 locals of integer registers while their values are narrow (narrow.ts), and which are now. */
  readonly n: Int32Array = new Int32Array(32).fill(-1);
  narrow = 0;
  /** The result of the instruction is to be narrow. */
  #narrowResult = false;
  /** The i32 local of the instruction's {@link Shape.narrowLoad}. */
  #loaded = -1;
  /** A local (i64) for the time of one instruction. */
  readonly wide: number;
  /** A local that holds the floating-point flags; -1 if they are not needed. */
  readonly #flags: number;
  readonly #access: AccessEmitter;
  /** The instruction that is emitted, and what stands for its locals. */
  readonly bindings: {
    readonly code: Instructions;
    index: number;
    readonly bound: (Expr | undefined)[];
    readonly locals: (number | undefined)[];
  };
  #site: Label | undefined;
  #siteValue = 0n;

  constructor(c: Code, code: Instructions, order: readonly Block[], surroundings: Surroundings) {
    this.#c = c;
    this.#code = code;
    this.#s = surroundings;
    let usedX = 0;
    let usedF = 0;
    let memory = false;
    let flags = false;
    for (const block of order) {
      for (const index of [...block.ins, ...block.hammock, ...(block.last < 0 ? [] : [block.last])]) {
        usedX |= code.useX[index]! | code.defX[index]!;
        usedF |= code.useF[index]! | code.defF[index]!;
        const shape = code.shape(index);
        memory ||= shape.mayLeave;
        flags ||= shape.readsFlags;
      }
    }
    this.#flags = flags ? c.local("i32") : -1;
    this.wide = c.local("i64");
    this.#access = new AccessEmitter(c, code, surroundings, this, this.wide, memory);
    for (let register = 1; register < 32; register++) {
      if (((usedX >>> register) & 1) === 0) continue;
      this.x[register] = c.local("i64");
      this.n[register] = c.local("i32");
    }
    for (let register = 0; register < 32; register++) if (((usedF >>> register) & 1) !== 0) this.f[register] = c.local("f64");
    this.bindings = { code, index: 0, bound: [], locals: [] };
  }

  /** What stays the same while the function runs. */
  start(): void {
    this.#access.start();
    this.loadFlags();
  }
  /** A local (i32) for the time of one instruction. */
  get scratch(): number {
    return this.#access.at;
  }
  /** See {@link AccessOwner.index}. */
  get index(): number {
    return this.bindings.index;
  }
  /** Reads the floating-point flags again, after something else may have changed them. */
  loadFlags(): void {
    if (this.#flags < 0) return;
    this.#c.i32(0);
    this.#c.memory("i32.load", ACTIVE_HART + State.fflags);
    this.#c.set(this.#flags);
  }
  /** Where {@link leaveIf} goes from the next instruction, and with what value. */
  site(label: Label | undefined, value: bigint): void {
    this.#site = label;
    this.#siteValue = value;
  }
  /** Leaves to the interpreter at this instruction if `condition`'s value is not 0. */
  leaveIf(condition: () => void): void {
    const c = this.#c;
    c.i64(this.#siteValue);
    condition();
    c.brIf(this.#site!);
    c.drop();
  }

  // ---- registers
  /** Pushes a register. */
  pushX(register: number): void {
    if (((this.narrow >>> register) & 1) === 0) return this.#c.get(this.x[register]!);
    this.#c.get(this.n[register]!);
    this.#c.op("i64.extend_i32_s");
  }
  /** Pushes the low half of a register. */
  pushLow(register: number): void {
    if (((this.narrow >>> register) & 1) !== 0) return this.#c.get(this.n[register]!);
    this.#c.get(this.x[register]!);
    this.#c.op("i32.wrap_i64");
  }
  /** Makes the narrow ones among some registers wide. */
  widen(registers: number): void {
    for (let register = 1; register < 32; register++) {
      if (((registers & this.narrow) >>> register) & 1) {
        this.pushX(register);
        this.#c.set(this.x[register]!);
      }
    }
    this.narrow &= ~registers;
  }

  // ---- instructions
  /** Starts an instruction; {@link finish} gives its locals back. */
  begin(index: number): void {
    const b = this.bindings;
    b.index = index;
    b.bound.length = 0;
    b.locals.length = 0;
    this.#loaded = -1;
  }
  finish(index: number): void {
    const { locals } = this.bindings;
    const types = this.#code.shape(index).locals;
    for (let id = 0; id < locals.length; id++) if (locals[id] !== undefined) this.#c.release(types[id]!, locals[id]!);
    if (this.#loaded >= 0) this.#c.release("i32", this.#loaded);
  }
  /** A whole instruction that runs on into the next. `narrow`: its result is, and is kept so. */
  instruction(index: number, check: Check | undefined, narrow: boolean): void {
    const shape = this.#code.shape(index);
    if (shape.pure && this.#code.rd[index] === 0) return;
    this.begin(index);
    if (check !== undefined) this.#access.check(check);
    if (shape.result === undefined) this.widen(this.#code.defX[index]!);
    this.#narrowResult = narrow;
    for (const s of shape.statements) this.statement(s, shape);
    this.#narrowResult = false;
    this.finish(index);
  }
  #isNarrow(e: Expr): boolean {
    const { index } = this.bindings;
    const { lets, narrowLoad } = this.#code.shape(index);
    return e.type === "i64" && isNarrow(this.bindings, e, this.narrow, lets, narrowLoad);
  }
  /** Pushes a narrow number as an i32. */
  #pushNarrow(value: Expr): void {
    const c = this.#c;
    const b = this.bindings;
    const e = this.#resolve(value);
    const known = constant(b, e);
    if (known !== undefined) return c.i32(Number(known));
    if (e.k === "x") return this.pushLow(this.#register(e.field));
    if (e.k === "local" && this.#loaded >= 0 && e.id === this.#code.shape(b.index).narrowLoad) return c.get(this.#loaded);
    if (e.k === "unary" && (e.op === "i64.extend_i32_s" || e.op === "i64.extend_i32_u")) return this.expr(e.a);
    if (e.k === "unary" && e.op === "i64.extend32_s") return this.#pushWord(e.a);
    if (e.k === "unary" && (e.op === "i64.extend8_s" || e.op === "i64.extend16_s")) {
      this.#pushWord(e.a);
      return c.op(e.op.replace("i64", "i32"));
    }
    if (e.k === "binary") {
      switch (e.op) {
        case "i64.and":
        case "i64.or":
        case "i64.xor":
          if (e.op !== "i64.and" && constant(b, e.b) === 0n) return this.#pushNarrow(e.a);
          this.#pushWord(e.a);
          this.#pushWord(e.b);
          return c.op(e.op.replace("i64", "i32"));
        case "i64.add":
          return this.#pushNarrow(constant(b, e.a) === 0n ? e.b : e.a);
        case "i64.shr_s":
          this.#pushNarrow(e.a);
          c.i32(Math.min(31, Number((constant(b, e.b) as bigint) & 63n)));
          return c.op("i32.shr_s");
      }
    }
    this.expr(e);
    c.op("i32.wrap_i64");
  }
  /** Pushes the low half of an i64. */
  #pushWord(e: Expr): void {
    const known = constant(this.bindings, e);
    if (known !== undefined) return this.#c.i32(Number(BigInt.asIntN(32, known as bigint)));
    if (this.#isNarrow(e)) return this.#pushNarrow(e);
    this.expr(e);
    this.#c.op("i32.wrap_i64");
  }
  #local(id: number): number {
    const { locals, index } = this.bindings;
    return (locals[id] ??= this.#c.local(this.#code.shape(index).locals[id]!));
  }
  #register(field: RegField): number {
    return registerOf(this.bindings, field);
  }

  /** Pushes the value. `signed` constants of i64 are bigint. */
  expr(e: Expr): void {
    const c = this.#c;
    const known = e.type === "i64" || e.type === "i32" ? constant(this.bindings, e) : undefined;
    if (known !== undefined) return e.type === "i64" ? c.i64(known) : c.i32(Number(known));
    switch (e.k) {
      case "const":
        return c[e.type as "f32" | "f64"](Number(e.value));
      case "x":
        return this.pushX(this.#register(e.field));
      case "f":
        c.get(this.f[this.#register(e.field)]!);
        return c.op("i64.reinterpret_f64");
      case "unary":
        return this.#unary(e);
      case "binary":
        return this.#binary(e);
      case "fma":
        this.expr(e.a);
        this.expr(e.b);
        this.expr(e.c);
        return c.fma();
      case "select": {
        const cond = constant(this.bindings, e.cond);
        if (cond !== undefined) return this.expr(cond === 0 ? e.b : e.a);
        this.expr(e.a);
        this.expr(e.b);
        this.expr(e.cond);
        return c.select();
      }
      case "local": {
        const bound = this.bindings.bound[e.id];
        if (bound !== undefined) return this.expr(bound);
        if (this.#loaded >= 0 && e.id === this.#code.shape(this.bindings.index).narrowLoad) {
          c.get(this.#loaded);
          return c.op("i64.extend_i32_s");
        }
        return c.get(this.#local(e.id));
      }
      case "state":
        if (e.field === "fflags") return c.get(this.#flags);
        c.i32(0);
        return c.memory(`${stateType(e.field)!}.load`, ACTIVE_HART + State[e.field as StateField]);
      default:
        throw new TypeError(`${e.k} is a constant`);
    }
  }
  /** What a local stands for, or the expression itself. */
  #resolve(e: Expr): Expr {
    let at = e;
    while (at.k === "local") {
      const bound = this.bindings.bound[at.id];
      if (bound === undefined) return at;
      at = bound;
    }
    return at;
  }
  #unary(e: Expr & { k: "unary" }): void {
    const c = this.#c;
    if (e.op === "f64.reinterpret_i64") {
      const a = this.#resolve(e.a);
      if (a.k === "f") return c.get(this.f[this.#register(a.field)]!);
    }
    if (e.op === "i32.wrap_i64") return this.#pushWord(e.a);
    if (e.op === "i64.eqz" && this.#isNarrow(e.a)) {
      this.#pushNarrow(e.a);
      return c.op("i32.eqz");
    }
    this.expr(e.a);
    c.op(e.op);
  }
  #binary(e: Expr & { k: "binary" }): void {
    const b = this.bindings;
    if (e.op === "i32.and") {
      if (constant(b, e.a) === 1 && isBoolean(b, e.b)) return this.expr(e.b);
      if (constant(b, e.b) === 1 && isBoolean(b, e.a)) return this.expr(e.a);
    }
    if (e.op === "i64.add" || e.op === "i64.or" || e.op === "i64.xor") {
      if (constant(b, e.a) === 0n) return this.expr(e.b);
      if (constant(b, e.b) === 0n) return this.expr(e.a);
    }
    if ((e.op === "i64.eq" || e.op === "i64.ne") && constant(b, e.b) === 0n) {
      if (this.#isNarrow(e.a)) {
        this.#pushNarrow(e.a);
        this.#c.op("i32.eqz");
      } else {
        this.expr(e.a);
        this.#c.op("i64.eqz");
      }
      if (e.op === "i64.ne") this.#c.op("i32.eqz");
      return;
    }
    // Sign extension keeps the order of unsigned numbers too.
    if (COMPARISONS.has(e.op) && this.#isNarrow(e.a) && this.#isNarrow(e.b)) {
      this.#pushNarrow(e.a);
      this.#pushNarrow(e.b);
      return this.#c.op(e.op.replace("i64", "i32"));
    }
    this.expr(e.a);
    this.expr(e.b);
    this.#c.op(e.op);
  }

  #list(list: readonly Stmt[], shape: Shape | undefined): void {
    for (const s of list) this.statement(s, shape);
  }
  /** A statement of the instruction that was begun. `shape`: its accesses have been checked as planned. */
  statement(s: Stmt, shape: Shape | undefined): void {
    const c = this.#c;
    const b = this.bindings;
    switch (s.k) {
      case "let": {
        const value = this.#resolve(s.value);
        const register = (value.k === "x" || value.k === "f") && shape?.writesLast === true;
        const assigned = shape?.assigned.has(s.id) === true;
        if (!assigned && (register || (s.value.type !== "f32" && s.value.type !== "f64" && constant(b, value) !== undefined))) {
          b.bound[s.id] = value;
          return;
        }
        this.expr(s.value);
        return c.set(this.#local(s.id));
      }
      case "assign":
        this.expr(s.value);
        return c.set(this.#local(s.id));
      case "setX": {
        const register = this.#register(s.field);
        if (register === 0) return;
        if (this.#narrowResult) {
          this.#pushNarrow(s.value);
          this.narrow |= 1 << register;
          return c.set(this.n[register]!);
        }
        this.expr(s.value);
        this.narrow &= ~(1 << register);
        return c.set(this.x[register]!);
      }
      case "setF": {
        const register = this.f[this.#register(s.field)]!;
        const value = this.#resolve(s.value);
        if (value.k === "unary" && value.op === "i64.reinterpret_f64") this.expr(value.a);
        else if (value.k === "f") c.get(this.f[this.#register(value.field)]!);
        else {
          this.expr(value);
          c.op("f64.reinterpret_i64");
        }
        return c.set(register);
      }
      case "setState":
        if (s.field === "fflags") {
          this.expr(s.value);
          return void this.#setFlags(s.field);
        }
        c.i32(0);
        this.expr(s.value);
        return c.memory(`${stateType(s.field)!}.store`, ACTIVE_HART + State[s.field as StateField]);
      case "load":
        if (shape?.access === undefined) this.#access.checkedAlone(s.address, s.size, s.aligned, s.forStore);
        else this.#access.address(shape.access.imm);
        if (shape !== undefined && shape.narrowLoad === s.id) {
          c.memory(s.size === 4 ? "i32.load" : `i32.load${s.size * 8}_u`, this.#access.offset(shape));
          if (s.signed && s.size < 4) c.op(`i32.extend${s.size * 8}_s`);
          this.#loaded = c.local("i32");
          return c.set(this.#loaded);
        }
        c.memory(s.size === 8 ? "i64.load" : `i64.load${s.size * 8}_u`, this.#access.offset(shape));
        // V8 13 loads twice where an extension takes the load in.
        if (s.signed && s.size < 8) c.op(`i64.extend${s.size * 8}_s`);
        return c.set(this.#local(s.id));
      case "store":
        if (shape?.access === undefined) this.#access.checkedAlone(s.address, s.size, s.aligned, true);
        else this.#access.address(shape.access.imm);
        if (s.size < 8 && this.#isNarrow(s.value)) {
          this.#pushNarrow(s.value);
          return c.memory(s.size === 4 ? "i32.store" : `i32.store${s.size * 8}`, this.#access.offset(shape));
        }
        this.expr(s.value);
        return c.memory(s.size === 8 ? "i64.store" : `i64.store${s.size * 8}`, this.#access.offset(shape));
      case "if": {
        const known = constant(b, s.cond);
        if (known !== undefined) return this.#list(known === 0 ? s.else : s.then, shape);
        this.expr(s.cond);
        c.if();
        this.#list(s.then, shape);
        if (s.else.length > 0) {
          c.else();
          this.#list(s.else, shape);
        }
        return c.end();
      }
      case "trap":
        return this.leaveIf(() => c.i32(1));
      case "call":
        if (this.#controlRegister(s)) return;
        if (s.mayTrap && s.fn !== "csrRead") return this.leaveIf(() => c.i32(1));
        c.i32(ACTIVE_HART);
        for (const arg of s.args) this.expr(arg);
        c.call(this.#s.intrinsic(s.fn));
        if (s.result !== "none") {
          if (s.id >= 0) c.set(this.#local(s.id));
          else c.drop();
        }
        return this.loadFlags();
      default:
        throw new TypeError(`${s.k} in the middle of a block`);
    }
  }

  /** Writes an i32 on the stack to a field of the state; the flags to their local too. */
  #setFlags(field: StateField): true {
    const c = this.#c;
    const kept = field === "fflags" ? this.#flags : c.local("i32");
    c.set(kept);
    c.i32(0);
    c.get(kept);
    c.memory("i32.store", ACTIVE_HART + State[field]);
    if (field !== "fflags") c.release("i32", kept);
    return true;
  }
  /** Access to a control register that is a field of the state. */
  #controlRegister(s: Stmt & { k: "call" }): boolean {
    if (s.fn !== "csrRead" && s.fn !== "csrWrite") return false;
    const plain = plainCsrs.get(this.#code.imm[this.bindings.index]!);
    if (plain === undefined) return false;
    if (s.fn === "csrRead") {
      this.expr({ k: "state", type: "i32", field: plain.field });
      this.#c.op("i64.extend_i32_u");
      this.#c.set(this.#local(s.id));
      return true;
    }
    this.#pushWord(s.args[1]!);
    this.#c.i32(plain.mask);
    this.#c.op("i32.and");
    return this.#setFlags(plain.field);
  }
}
