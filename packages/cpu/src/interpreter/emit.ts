/** Turns the intermediate form of one clause into WebAssembly whose operands come from the record at `ip`. */
import type { Extension } from "../isa/clause.ts";
import type { Expr, RegField, Stmt } from "../isa/ir.ts";
import {
  ACTIVE_HART,
  Fast,
  GUEST,
  PAGE_FAST,
  Record,
  RECORD_BYTES,
  State,
  stateType,
  X,
  X_DISCARD,
  type StateField,
} from "../machine/layout.ts";
import { OBSERVED_STORE } from "../machine/observer.ts";
import type { Code, Label } from "../wasm/code.ts";
import { fusesMultiplyAdd } from "../wasm/fma.ts";
import { Reach, type Handler } from "./handlers.ts";

/** Options of an access, as slow paths get them: size | these. */
export const SlowAccess = { SizeMask: 15, Aligned: 16, ForStore: 32 } as const;

/** What a handler's code finds around it in the run function. */
export interface Frame {
  readonly code: Code;
  /** Address of the record (i32). */
  readonly ip: number;
  /** Instructions since the run began (i64). */
  readonly count: number;
  /** Fuel that is left (i32). */
  readonly fuel: number;
  /** Absolute target of a jump (i64), the slot that a link goes to (i32), and the link (i64). */
  readonly target: number;
  readonly linkSlot: number;
  readonly link: number;
  /** Goes on with the record at ip. */
  readonly next: Label;
  /** Takes the exception that is recorded in the state block; pc from ip. */
  readonly trap: Label;
  /** Jumps to `target`: checks it, writes the link, uses fuel. */
  readonly jump: Label;
  /** As jump, without using fuel. */
  readonly jumpFree: Label;
  /** Goes on at the pc in the state block, which an intrinsic has set. */
  readonly jumped: Label;
  /** Leaves with Exit.Ecall. */
  readonly ecall: Label;
  /** Leaves with Exit.Fuel before the record at ip. */
  readonly outOfFuel: Label;
  /** Leaves after the instruction at ip, to be run on by the general function. Undefined in that one. */
  readonly leaveFast: Label | undefined;
  readonly checkLoads: boolean;
  /** Counts transfers to the record at ip, if that is wanted. */
  readonly heat: (amount: () => void) => void;
  /** Index of the observer's `access`; undefined in a variant without one. */
  readonly observeAccess: number | undefined;
  readonly functions: {
    readonly loadSlow: number;
    readonly storeSlow: number;
    readonly intrinsic: (name: string) => number;
  };
}

/** Extensions whose intrinsics do not read instret. */
const UNCOUNTED: ReadonlySet<Extension> = new Set<Extension>(["F", "D", "Xcheri"]);

/** The address of the slot of register n is 8 n above a multiple of 256. */
const SLOT_SHIFT = 3;

export class Emitter {
  readonly #f: Frame;
  readonly #code: Code;
  readonly #handler: Handler;
  readonly #locals: (number | undefined)[] = [];
  /** Fields whose new value waits until a jump has been checked. */
  #pending: { field: RegField; value: number } | undefined;
  #left = false;
  #on = false;

  constructor(frame: Frame, handler: Handler) {
    this.#f = frame;
    this.#code = frame.code;
    this.#handler = handler;
  }

  /**
   * Emits the handler's whole code; it leaves by a branch. With `on` it runs on into the code that follows instead, with ip
   * at the next record, unless a store may have dropped that record.
   */
  emit(on = false): void {
    const { semantics } = this.#handler.shape;
    this.#on = on;
    this.#list(semantics.statements, true);
    if (on) {
      this.#nextIp();
      this.#code.get(this.#f.count);
      this.#code.i64(1);
      this.#code.op("i64.add");
      this.#code.set(this.#f.count);
    } else if (!this.#left) this.#advance();
    semantics.locals.forEach((type, id) => {
      const local = this.#locals[id];
      if (local !== undefined) this.#code.release(type, local);
    });
  }

  // ---- operands
  #slot(field: RegField): void {
    this.#code.get(this.#f.ip);
    this.#code.memory("i32.load16_u", Record[field]);
  }
  #local(id: number): number {
    const type = this.#handler.shape.semantics.locals[id]!;
    return (this.#locals[id] ??= this.#code.local(type));
  }
  #loadState(field: StateField): void {
    this.#code.i32(0);
    this.#code.memory(`${stateType(field)!}.load`, ACTIVE_HART + State[field]);
  }
  #pc(extra: number): void {
    const c = this.#code;
    this.#loadState("pagePc");
    c.get(this.#f.ip);
    this.#loadState("recordBase");
    c.op("i32.sub");
    c.i32(3);
    c.op("i32.shr_u");
    c.op("i64.extend_i32_u");
    c.op("i64.add");
    if (extra !== 0) {
      c.i64(extra);
      c.op("i64.add");
    }
  }
  #expr(e: Expr): void {
    const c = this.#code;
    switch (e.k) {
      case "const":
        if (e.type === "i64") c.i64(e.value);
        else c[e.type](Number(e.value));
        return;
      case "imm":
        c.get(this.#f.ip);
        c.memory("i64.load32_s", Record.imm);
        return;
      case "field":
        if (e.field === "rm") {
          c.get(this.#f.ip);
          c.memory("i32.load16_u", Record.rm);
          return;
        }
        this.#slot(e.field);
        c.i32(SLOT_SHIFT);
        c.op("i32.shr_u");
        c.i32(31);
        c.op("i32.and");
        return;
      case "x":
      case "f":
        this.#slot(e.field);
        c.memory("i64.load", 0);
        return;
      case "pc":
        return this.#pc(0);
      case "nextPc":
        return this.#pc(this.#handler.length);
      case "unary":
        if (e.op === "i32.wrap_i64" && (e.a.k === "x" || e.a.k === "f")) {
          this.#slot(e.a.field);
          c.memory("i32.load", 0);
          return;
        }
        if (e.op === "i32.wrap_i64" && e.a.k === "imm") {
          c.get(this.#f.ip);
          c.memory("i32.load", Record.imm);
          return;
        }
        this.#expr(e.a);
        c.op(e.op);
        return;
      case "binary":
        this.#expr(e.a);
        this.#expr(e.b);
        c.op(e.op);
        return;
      case "hasFma":
        return c.i32(fusesMultiplyAdd ? 1 : 0);
      case "fma":
        this.#expr(e.a);
        this.#expr(e.b);
        this.#expr(e.c);
        return c.fma();
      case "select":
        this.#expr(e.a);
        this.#expr(e.b);
        this.#expr(e.cond);
        c.select();
        return;
      case "local":
        c.get(this.#local(e.id));
        return;
      case "state": {
        const type = stateType(e.field);
        if (type !== e.type) throw new TypeError(`state field ${e.field} is not an ${e.type}`);
        this.#loadState(e.field as StateField);
        if (e.field === "instret") {
          c.get(this.#f.count);
          c.op("i64.add");
          c.i64(-1);
          c.op("i64.add");
        }
        return;
      }
    }
  }

  // ---- statements
  #list(statements: readonly Stmt[], top: boolean): void {
    for (const [index, s] of statements.entries()) {
      const jumpsLater = top && statements.slice(index + 1).some(({ k }) => k === "jump" || k === "jumpIndirect");
      this.#statement(s, jumpsLater);
    }
  }

  #statement(s: Stmt, jumpsLater: boolean): void {
    const c = this.#code;
    const f = this.#f;
    switch (s.k) {
      case "let":
      case "assign":
        this.#expr(s.value);
        c.set(this.#local(s.id));
        return;
      case "setX":
        return jumpsLater ? this.#delayX(s.field, s.value) : this.#setX(s.field, s.value);
      case "setF":
        this.#slot(s.field);
        this.#expr(s.value);
        c.memory("i64.store", 0);
        return;
      case "setState": {
        const type = stateType(s.field);
        if (type !== s.value.type) throw new TypeError(`state field ${s.field} is not an ${s.value.type}`);
        c.i32(0);
        this.#expr(s.value);
        c.memory(`${type}.store`, ACTIVE_HART + State[s.field as StateField]);
        return;
      }
      case "load":
        return this.#load(s);
      case "store":
        return this.#store(s);
      case "if":
        this.#expr(s.cond);
        c.if();
        this.#list(s.then, false);
        if (s.else.length > 0) {
          c.else();
          this.#list(s.else, false);
        }
        c.end();
        return;
      case "branch":
        return this.#branch(s.cond);
      case "jump":
        return this.#jump();
      case "jumpIndirect":
        this.#expr(s.target);
        this.#loadState("pcBase");
        c.op("i64.add");
        c.i64(-2);
        c.op("i64.and");
        c.set(f.target);
        this.#linkBeforeJump();
        c.br(f.jump);
        this.#left = true;
        return;
      case "trap":
        this.#setState("trapPending", () => c.i32(1));
        this.#setState("trapCause", () => c.i32(s.cause));
        this.#setState("trapValue", () => this.#expr(s.value));
        c.br(f.trap);
        return;
      case "call":
        return this.#call(s);
      case "ecall":
        c.br(f.ecall);
        return;
      case "fenceI":
        // Stores drop what was predecoded from the bytes they change, so there is nothing left to do.
        return;
    }
  }

  #setState(field: StateField, value: () => void): void {
    this.#code.i32(0);
    value();
    this.#code.memory(`${stateType(field)!}.store`, ACTIVE_HART + State[field]);
  }

  /** capRegs without the register whose slot's address `slot` pushes; the slot for x0 gives bit 0, which is never set. */
  #dropMetadata(slot: () => void): void {
    const c = this.#code;
    if (this.#f.leaveFast !== undefined) return; // no register has any
    this.#setState("capRegs", () => {
      this.#loadState("capRegs");
      c.i32(1);
      slot();
      c.i32(SLOT_SHIFT);
      c.op("i32.shr_u");
      c.op("i32.shl");
      c.i32(-1);
      c.op("i32.xor");
      c.op("i32.and");
    });
  }

  #setX(field: RegField, value: Expr): void {
    const c = this.#code;
    if (this.#handler.shape.slots[field] === "intBoth") {
      // The slot is the register's own, for reading: x0 must not be written.
      const result = c.local("i64");
      this.#expr(value);
      c.set(result);
      this.#slot(field);
      c.i32(ACTIVE_HART + X);
      c.op("i32.ne");
      c.if();
      this.#slot(field);
      c.get(result);
      c.memory("i64.store", 0);
      this.#dropMetadata(() => this.#slot(field));
      c.end();
      c.release("i64", result);
      return;
    }
    this.#slot(field);
    this.#expr(value);
    c.memory("i64.store", 0);
    this.#dropMetadata(() => this.#slot(field));
  }
  #delayX(field: RegField, value: Expr): void {
    if (this.#pending !== undefined || this.#handler.shape.slots[field] !== "intWrite") {
      throw new TypeError(`${this.#handler.clause.name}: only one register can be written before a jump, and it must not be read`);
    }
    this.#expr(value);
    this.#code.set(this.#f.link);
    this.#pending = { field, value: this.#f.link };
  }
  #linkBeforeJump(): void {
    const c = this.#code;
    if (this.#pending === undefined) c.i32(ACTIVE_HART + X_DISCARD);
    else this.#slot(this.#pending.field);
    c.set(this.#f.linkSlot);
  }
  /** The delayed write, where the target needs no check. */
  #linkNow(): void {
    const pending = this.#pending;
    if (pending === undefined) return;
    this.#slot(pending.field);
    this.#code.get(pending.value);
    this.#code.memory("i64.store", 0);
    this.#dropMetadata(() => this.#slot(pending.field));
  }

  #nextIp(): void {
    const c = this.#code;
    c.get(this.#f.ip);
    c.i32((this.#handler.length / 2) * RECORD_BYTES);
    c.op("i32.add");
    c.set(this.#f.ip);
  }
  #advance(): void {
    const c = this.#code;
    this.#nextIp();
    if (this.#f.leaveFast !== undefined && this.#handler.clause.extension === "Xcheri") {
      this.#loadState("capRegs");
      c.brIf(this.#f.leaveFast);
    }
    c.br(this.#f.next);
  }

  // ---- control
  /** Pushes pc + imm, absolute. */
  #directTarget(): void {
    this.#pc(0);
    this.#code.get(this.#f.ip);
    this.#code.memory("i64.load32_s", Record.imm);
    this.#code.op("i64.add");
    this.#loadState("pcBase");
    this.#code.op("i64.add");
  }
  /** To a target in another page; imm ≤ 0 uses fuel. */
  #far(): void {
    const c = this.#code;
    this.#directTarget();
    c.set(this.#f.target);
    this.#linkBeforeJump();
    c.get(this.#f.ip);
    c.memory("i32.load", Record.imm);
    c.i32(0);
    c.op("i32.le_s");
    c.brIf(this.#f.jump);
    c.br(this.#f.jumpFree);
  }
  #jump(): void {
    const c = this.#code;
    const f = this.#f;
    this.#left = true;
    if (this.#handler.reach === Reach.Far) return this.#far();
    this.#linkNow();
    c.get(f.ip);
    c.get(f.ip);
    c.memory("i32.load", Record.imm);
    c.op("i32.add");
    c.set(f.ip);
    if (this.#handler.reach === Reach.Backward) {
      this.#useFuel(() => c.i32(1));
      f.heat(() => c.i32(1));
    }
    c.br(f.next);
  }
  #useFuel(amount: () => void): void {
    const c = this.#code;
    c.get(this.#f.fuel);
    amount();
    c.op("i32.sub");
    c.tee(this.#f.fuel);
    c.op("i32.eqz");
    c.brIf(this.#f.outOfFuel);
  }
  #branch(cond: Expr): void {
    const c = this.#code;
    const f = this.#f;
    const { reach, length } = this.#handler;
    if (this.#pending !== undefined) throw new TypeError(`${this.#handler.clause.name}: a register is written before a branch`);
    if (reach === Reach.Far) {
      this.#expr(cond);
      c.if();
      this.#far();
      c.end();
      return; // falls through to advance
    }
    this.#left = true;
    const taken = reach === Reach.Backward ? c.local("i32") : -1;
    c.get(f.ip);
    c.get(f.ip);
    c.memory("i32.load", Record.imm);
    c.i32((length / 2) * RECORD_BYTES);
    this.#expr(cond);
    if (taken >= 0) c.tee(taken);
    c.select();
    c.op("i32.add");
    c.set(f.ip);
    if (taken >= 0) {
      this.#useFuel(() => c.get(taken));
      f.heat(() => c.get(taken));
      c.release("i32", taken);
    }
    c.br(f.next);
  }

  // ---- memory
  /**
   * Pushes the absolute address (i32) of an access after all checks; leaves by a trap if one fails. The fast path is one
   * comparison with a window made of DDC's bounds and one test of the page's state. `afterSlow` emits what follows on the
   * slow path, where the address is in a local; it may leave.
   */
  #address(
    address: Expr,
    size: number,
    options: { load: boolean; store: boolean; aligned: boolean },
    afterSlow?: (absolute: number) => void,
  ): void {
    const c = this.#code;
    const f = this.#f;
    const offset = c.local("i64");
    const absolute = c.local("i64");
    const result = c.local("i32");
    this.#expr(address);
    c.tee(offset);
    this.#loadState("ddcAddress");
    c.op("i64.add");
    c.set(absolute);
    const done = c.block();
    const slow = c.block();
    const window = (span: StateField): void => {
      c.get(absolute);
      this.#loadState("windowLo");
      c.op("i64.sub");
      this.#loadState(span);
      c.op("i64.ge_u");
      c.brIf(slow);
    };
    if (options.load) window("loadSpan");
    if (options.store) window("storeSpan");
    c.get(absolute);
    c.op("i32.wrap_i64");
    c.set(result);
    if (options.aligned && size > 1) {
      c.get(result);
      c.i32(size - 1);
      c.op("i32.and");
      c.brIf(slow);
    }
    const bits = (options.load && f.checkLoads ? Fast.LoadSlow : 0) | (options.store ? Fast.StoreSlow : 0);
    if (bits !== 0) {
      c.get(result);
      c.i32(12);
      c.op("i32.shr_u");
      c.memory("i32.load8_u", PAGE_FAST);
      c.i32(bits);
      c.op("i32.and");
      c.op("i32.eqz");
      c.brIf(done);
    } else c.br(done);
    c.end();
    c.get(offset);
    c.i32(size | (options.aligned ? SlowAccess.Aligned : 0) | (options.load && options.store ? SlowAccess.ForStore : 0));
    c.call(options.store ? f.functions.storeSlow : f.functions.loadSlow);
    c.tee(result);
    c.i32(-1);
    c.op("i32.eq");
    c.brIf(f.trap);
    afterSlow?.(result);
    c.end();
    c.get(result);
    c.release("i64", offset);
    c.release("i64", absolute);
    c.release("i32", result);
  }
  #load(s: Stmt & { k: "load" }): void {
    this.#address(s.address, s.size, { load: true, store: s.forStore, aligned: s.aligned });
    const name = s.size === 8 ? "i64.load" : `i64.load${s.size * 8}_${s.signed ? "s" : "u"}`;
    const value = this.#local(s.id);
    this.#observed(s.size, value, () => {
      this.#code.memory(name, GUEST);
      this.#code.set(value);
    });
  }
  /** Emits an access whose address is on the stack; with an observer, the call that reports it and the i64 in `value`. */
  #observed(access: number, value: number, emit: () => void): void {
    const c = this.#code;
    const { observeAccess } = this.#f;
    if (observeAccess === undefined) return emit();
    const absolute = c.local("i32");
    c.tee(absolute);
    emit();
    c.get(absolute);
    c.i32(access);
    c.get(value);
    c.call(observeAccess);
    c.release("i32", absolute);
  }
  #store(s: Stmt & { k: "store" }): void {
    const name = s.size === 8 ? "i64.store" : `i64.store${s.size * 8}`;
    const store = (): void => {
      if (this.#f.observeAccess === undefined) {
        this.#expr(s.value);
        this.#code.memory(name, GUEST);
        return;
      }
      const value = this.#code.local("i64");
      this.#observed(s.size | OBSERVED_STORE, value, () => {
        this.#expr(s.value);
        this.#code.tee(value);
        this.#code.memory(name, GUEST);
      });
      this.#code.release("i64", value);
    };
    const afterSlow = (absolute: number): void => {
      this.#code.get(absolute);
      store();
      this.#advance();
    };
    this.#address(s.address, s.size, { load: false, store: true, aligned: s.aligned }, this.#on ? afterSlow : undefined);
    store();
  }

  // ---- intrinsics
  #call(s: Stmt & { k: "call" }): void {
    const c = this.#code;
    const f = this.#f;
    if (!UNCOUNTED.has(this.#handler.clause.extension)) {
      // Instructions before this one, for intrinsics that read instret.
      this.#setState("instret", () => {
        this.#loadState("instret");
        c.get(f.count);
        c.op("i64.add");
        c.i64(-1);
        c.op("i64.add");
      });
      c.i64(1);
      c.set(f.count);
    }
    c.i32(ACTIVE_HART);
    for (const arg of s.args) this.#expr(arg);
    c.call(f.functions.intrinsic(s.fn));
    if (s.result !== "none") {
      if (s.id >= 0) c.set(this.#local(s.id));
      else c.drop();
    }
    if (s.mayTrap) {
      this.#loadState("trapPending");
      c.brIf(f.trap);
    }
    if (s.changesPc) {
      this.#loadState("jumped");
      c.brIf(f.jumped);
    }
  }
}
