/** Writes a region as one WebAssembly function: registers in locals, loops as loops. */
import { PAGE_SIZE } from "../abi.ts";
import { plainCsrs } from "../isa/csr.ts";
import type { Expr, RegField, Stmt } from "../isa/ir.ts";
import {
  ACTIVE_HART,
  F,
  Fast,
  GUEST,
  Own,
  OWN_STORE_SLOW,
  PAGE_FAST,
  PAGE_OWN,
  PAGE_SLOTS,
  SLOT_POOL,
  State,
  stateType,
  TAGS,
  TRANSLATION,
  X,
  type StateField,
} from "../machine/layout.ts";
import { Code, type Label } from "../wasm/code.ts";
import { CheckPlan, type Check, type CheckOptions } from "./checks.ts";
import { constant, isBoolean, registerOf } from "./fold.ts";
import { order } from "./graph.ts";
import type { Instructions } from "./instructions.ts";
import { analyse, checksFuel } from "./liveness.ts";
import { End, target, type Block, type Edge, type Region } from "./region.ts";
import { Kind, type Shape } from "./shapes.ts";

/** Deepest nesting of guest calls on the WebAssembly stack; a deeper call leaves all frames and starts again. */
export const MAX_DEPTH = 200;

/**
 * The counter of translated code: instructions in its lower half, fuel in the upper, which starts at {@link RESERVE} - fuel. It is looked at where
 * functions begin, return and go back to the head of a loop, and is negative as long as more than the reserve is left. Between two looks less than that is
 * used, so that the interpreter gets what is left and stops where it always does.
 */
export const RESERVE = 64;
const FUEL = 2 ** 32;
/** Most edges of a region that use fuel without a look at it. */
const UNCHECKED = 48;

/** What functions of a unit find around them. */
export interface Surroundings {
  /** Index of the type (counter, pc, depth) → (counter, pc). */
  readonly type: number;
  readonly intrinsic: (name: string) => number;
  /** Index of the function of an entry of this unit. */
  readonly functionAt: (pc: number) => number | undefined;
  /** Instructions that repeating loops may add to a region. */
  readonly unrolled: number;
  readonly checks: CheckOptions & { readonly bounds: boolean; readonly pages: boolean };
}

const GRANULE_SHIFT = 4;
const COUNTER = 0;
const PC = 1;
const DEPTH = 2;

/** What a way out in the middle of a block adds to the counter, and its pc + 1: pc in 32 bits, instructions in 20, fuel in 12. */
const SITE_COUNT = 2 ** 20;
const SITE_FUEL_SHIFT = 52;
function siteValue(pending: number, pc: number): bigint {
  return (BigInt(Math.floor(pending / FUEL)) << BigInt(SITE_FUEL_SHIFT)) | (BigInt(pending % FUEL) << 32n) | BigInt(pc + 1);
}

class RegionEmitter {
  readonly #c: Code = new Code(["i64", "i32", "i32"]);
  readonly #code: Instructions;
  readonly #s: Surroundings;
  readonly #order: Block[];
  readonly #entry: number;
  /** All edges that use fuel look at it. */
  readonly #everyEdge: boolean;
  readonly #plan: CheckPlan;
  readonly #x: Int32Array = new Int32Array(32).fill(-1);
  readonly #f: Int32Array = new Int32Array(32).fill(-1);
  readonly #base: number;
  readonly #limit: number;
  readonly #flags: number;
  readonly #address: number;
  readonly #wide: number;
  readonly #next: number;
  readonly #label: number;
  readonly #loops: Map<Block, Label> = new Map();
  readonly #merges: Map<Block, Label> = new Map();
  /** The instruction that is emitted, and what stands for its locals. */
  #bindings: { code: Instructions; index: number; bound: (Expr | undefined)[]; locals: (number | undefined)[] };
  /** Leaves to the interpreter at the instruction that is emitted. */
  #site: Label | undefined;
  #siteValue = 0n;

  constructor(code: Instructions, region: Region, surroundings: Surroundings) {
    this.#code = code;
    this.#s = surroundings;
    this.#entry = region.entry;
    this.#order = order(region, surroundings.unrolled);
    let unchecked = 0;
    for (const block of this.#order) for (const edge of block.edges) if (edge.fuel) unchecked++;
    this.#everyEdge = unchecked > UNCHECKED;
    this.#plan = new CheckPlan(code, this.#order, surroundings.checks);
    analyse(code, this.#order, { leaves: (block, position) => this.#leaves(block, position), everyEdge: this.#everyEdge });
    const c = this.#c;
    let usedX = 0;
    let usedF = 0;
    let memory = false;
    let flags = false;
    for (const block of this.#order) {
      for (const index of [...block.ins, ...block.hammock, ...(block.last < 0 ? [] : [block.last])]) {
        usedX |= code.useX[index]! | code.defX[index]!;
        usedF |= code.useF[index]! | code.defF[index]!;
        const shape = code.shape(index);
        memory ||= shape.mayLeave;
        flags ||= shape.readsFlags;
      }
    }
    this.#base = memory ? c.local("i32") : -1;
    this.#limit = memory ? c.local("i64") : -1;
    this.#flags = flags ? c.local("i32") : -1;
    this.#address = c.local("i32");
    this.#next = c.local("i32");
    this.#label = c.local("i32");
    this.#wide = c.local("i64");
    for (let register = 1; register < 32; register++) if (((usedX >>> register) & 1) !== 0) this.#x[register] = c.local("i64");
    for (let register = 0; register < 32; register++) if (((usedF >>> register) & 1) !== 0) this.#f[register] = c.local("f64");
    this.#bindings = { code, index: 0, bound: [], locals: [] };
  }

  emit(): Code {
    const c = this.#c;
    c.get(COUNTER);
    c.i64(0);
    c.op("i64.ge_s");
    c.if();
    c.get(COUNTER);
    c.i32((this.#entry + 1) | 0);
    c.return();
    c.end();
    if (this.#base >= 0) {
      c.i32(0);
      c.memory("i32.load", TRANSLATION.dataBase);
      c.set(this.#base);
      c.i32(0);
      c.memory("i64.load", TRANSLATION.dataLimit);
      c.set(this.#limit);
    }
    this.#loadFlags();
    const head = this.#order[0]!;
    this.#load(head.liveX, head.liveF);
    this.#tree(head, 0);
    c.unreachable();
    return c;
  }

  // ---- registers
  #loadFlags(): void {
    if (this.#flags < 0) return;
    this.#c.i32(0);
    this.#c.memory("i32.load", ACTIVE_HART + State.fflags);
    this.#c.set(this.#flags);
  }
  #load(x: number, f: number): void {
    const c = this.#c;
    for (let register = 1; register < 32; register++) {
      if (((x >>> register) & 1) === 0) continue;
      c.i32(0);
      c.memory("i64.load", ACTIVE_HART + X + 8 * register);
      c.set(this.#x[register]!);
    }
    for (let register = 0; register < 32; register++) {
      if (((f >>> register) & 1) === 0) continue;
      c.i32(0);
      c.memory("f64.load", ACTIVE_HART + F + 8 * register);
      c.set(this.#f[register]!);
    }
  }
  #spill(x: number, f: number): void {
    const c = this.#c;
    for (let register = 1; register < 32; register++) {
      if (((x >>> register) & 1) === 0) continue;
      c.i32(0);
      c.get(this.#x[register]!);
      c.memory("i64.store", ACTIVE_HART + X + 8 * register);
    }
    for (let register = 0; register < 32; register++) {
      if (((f >>> register) & 1) === 0) continue;
      c.i32(0);
      c.get(this.#f[register]!);
      c.memory("f64.store", ACTIVE_HART + F + 8 * register);
    }
  }
  #spillAll(block: Block): void {
    this.#spill(block.dirtyX | block.writesX, block.dirtyF | block.writesF);
  }

  // ---- sites
  #leaves(block: Block, position: number): boolean {
    if (position === block.ins.length) return this.#throughRegister(block);
    const shape = this.#code.shape(block.ins[position]!);
    if (!shape.mayLeave) return false;
    return shape.access === undefined || this.#plan.at(block, position) !== undefined;
  }
  /** Ends by a jump through a register whose target is not known. */
  #throughRegister(block: Block): boolean {
    return block.end !== End.Jump && block.last >= 0 && this.#code.kind(block.last) === Kind.JumpIndirect;
  }
  /** Leaves to the interpreter at this instruction if `condition`'s value is not 0. */
  #leaveIf(condition: () => void): void {
    const c = this.#c;
    c.i64(this.#siteValue);
    condition();
    c.brIf(this.#site!);
    c.drop();
  }

  // ---- structure
  #tree(block: Block, pending: number): void {
    const c = this.#c;
    const merges = block.kids.filter((kid) => kid.merge).toSorted((a, b) => b.rpo - a.rpo);
    if (block.loop) {
      this.#loops.set(block, c.loop());
      this.#within(block, merges, 0, 0);
      c.end();
      c.unreachable();
      this.#loops.delete(block);
    } else this.#within(block, merges, 0, pending);
  }
  #within(block: Block, merges: readonly Block[], at: number, pending: number): void {
    const merge = merges[at];
    if (merge === undefined) {
      this.#body(block, pending);
      return this.#end(block, pending + block.count);
    }
    this.#merges.set(merge, this.#c.block());
    this.#within(block, merges, at + 1, pending);
    this.#c.end();
    this.#merges.delete(merge);
    this.#tree(merge, 0);
  }

  #body(block: Block, pending: number): void {
    const c = this.#c;
    const { ins } = block;
    const sites: number[] = [];
    for (let position = 0; position <= ins.length; position++) if (this.#leaves(block, position)) sites.push(position);
    const labels: Label[] = [];
    let after: Label | undefined;
    if (sites.length > 0) {
      after = c.block();
      for (const _ of sites) labels.push(c.block("i64"));
    }
    let site = 0;
    for (let position = 0; position <= ins.length; position++) {
      const index = position < ins.length ? ins[position]! : block.last;
      this.#site = undefined;
      if (sites[site] === position) {
        // The innermost block is that of the last site.
        this.#site = labels[site++];
        this.#siteValue = siteValue(pending + position, this.#code.pc[index]!);
      }
      if (position < ins.length) this.#instruction(index, this.#plan.at(block, position));
      else if (this.#throughRegister(block)) this.#indirectTarget(index);
    }
    if (after === undefined) return;
    c.br(after);
    let dirtyX = block.dirtyX;
    let dirtyF = block.dirtyF;
    const before: [x: number, f: number][] = [];
    for (let position = 0; position <= ins.length; position++) {
      if (sites[before.length] === position) before.push([dirtyX, dirtyF]);
      if (position === ins.length) break;
      dirtyX |= this.#code.defX[ins[position]!]!;
      dirtyF |= this.#code.defF[ins[position]!]!;
    }
    for (let at = sites.length - 1; at >= 0; at--) {
      c.end();
      const [x, f] = before[at]!;
      const [earlierX, earlierF] = at === 0 ? [0, 0] : before[at - 1]!;
      this.#spill(x & ~earlierX, f & ~earlierF);
    }
    c.set(this.#wide);
    c.get(COUNTER);
    c.get(this.#wide);
    c.i64(32);
    c.op("i64.shr_u");
    c.i64(SITE_COUNT - 1);
    c.op("i64.and");
    c.op("i64.add");
    c.get(this.#wide);
    c.i64(SITE_FUEL_SHIFT);
    c.op("i64.shr_u");
    c.i64(32);
    c.op("i64.shl");
    c.op("i64.add");
    c.get(this.#wide);
    c.op("i32.wrap_i64");
    c.return();
    c.end();
  }

  // ---- ends of blocks
  /** Adds to the counter. */
  #count(amount: number): void {
    const c = this.#c;
    if (amount === 0) return;
    c.get(COUNTER);
    c.i64(amount);
    c.op("i64.add");
    c.set(COUNTER);
  }
  /** Leaves at a pc if little fuel is left. */
  #outOfFuel(block: Block, pc: number): void {
    const c = this.#c;
    c.get(COUNTER);
    c.i64(0);
    c.op("i64.ge_s");
    c.if();
    this.#spillAll(block);
    c.get(COUNTER);
    c.i32((pc + 1) | 0);
    c.return();
    c.end();
  }
  /** `pending`: what is done and not yet counted. */
  #edge(block: Block, edge: Edge, pending: number): void {
    const c = this.#c;
    const to = target(edge);
    const checked = checksFuel(block, edge, this.#everyEdge);
    const inline = to !== undefined && to.rpo > block.rpo && !to.merge;
    const flush = checked || !inline || to.loop;
    if (flush) this.#count(pending);
    if (checked) this.#outOfFuel(block, edge.pc);
    if (to === undefined) {
      this.#spillAll(block);
      return this.#tailCall(edge.pc);
    }
    if (edge.via !== undefined) {
      c.i32(edge.via.edges.findIndex((entry) => entry.to === edge.to));
      c.set(this.#label);
    }
    if (to.rpo <= block.rpo) c.br(this.#loops.get(to)!);
    else if (to.merge) c.br(this.#merges.get(to)!);
    else this.#tree(to, flush ? 0 : pending);
  }
  /** Goes on at a known pc outside of the region. Registers are written back. */
  #tailCall(pc: number): void {
    const c = this.#c;
    c.get(COUNTER);
    c.i32(pc | 0);
    c.get(DEPTH);
    const known = this.#s.functionAt(pc);
    if (known !== undefined) return c.returnCall(known);
    this.#slot(() => c.i32(pc | 0));
    c.returnCallIndirect(this.#s.type);
  }
  /** Pushes the number in the table of the function at the architectural pc that is pushed. */
  #slot(pc: () => void): void {
    const c = this.#c;
    pc();
    c.i32(0);
    c.memory("i32.load", TRANSLATION.codeBase);
    c.op("i32.add");
    c.tee(this.#address);
    c.i32(12);
    c.op("i32.shr_u");
    c.i32(2);
    c.op("i32.shl");
    c.memory("i32.load", PAGE_SLOTS);
    c.get(this.#address);
    c.i32(4094);
    c.op("i32.and");
    c.i32(1);
    c.op("i32.shl");
    c.op("i32.add");
    c.memory("i32.load", SLOT_POOL);
  }

  #end(block: Block, pending: number): void {
    const c = this.#c;
    const code = this.#code;
    const { last } = block;
    switch (block.end) {
      case End.Jump:
        if (last >= 0 && code.kind(last) !== Kind.Branch) this.#link(last);
        return this.#edge(block, block.edges[0]!, pending + (block.edges[0]!.fuel ? FUEL : 0));
      case End.Branch:
        return this.#branch(block, pending);
      case End.Call:
        return this.#call(block, pending);
      case End.Return:
        this.#count(pending + FUEL);
        return this.#return(block);
      case End.Back: {
        const back = block.edges[0]!;
        c.get(this.#next);
        c.i32(back.pc | 0);
        c.op("i32.ne");
        c.if();
        this.#count(pending + FUEL);
        this.#return(block);
        c.end();
        return this.#edge(block, back, pending + FUEL);
      }
      case End.Indirect:
        this.#link(last);
        this.#count(pending + FUEL);
        this.#spillAll(block);
        c.get(COUNTER);
        c.get(this.#next);
        c.get(DEPTH);
        this.#slot(() => c.get(this.#next));
        return c.returnCallIndirect(this.#s.type);
      case End.Interpret:
        this.#count(pending - 1);
        this.#spillAll(block);
        c.get(COUNTER);
        c.i32((code.pc[last]! + 1) | 0);
        return c.return();
      case End.Dispatch:
        block.edges.forEach((edge, number) => {
          const more = number < block.edges.length - 1;
          if (more) {
            c.get(this.#label);
            c.i32(number);
            c.op("i32.eq");
            c.if();
          }
          this.#edge(block, edge, 0);
          if (more) c.end();
        });
    }
  }
  /** Returns to the pc in #next. */
  #return(block: Block): void {
    const c = this.#c;
    this.#spillAll(block);
    c.get(COUNTER);
    c.get(this.#next);
    // Out of fuel: an odd pc goes through all callers.
    c.get(COUNTER);
    c.i64(0);
    c.op("i64.ge_s");
    c.op("i32.or");
    c.return();
  }
  #link(last: number): void {
    if (this.#code.rd[last] === 0) return;
    this.#c.i64(this.#code.next(last));
    this.#c.set(this.#x[this.#code.rd[last]!]!);
  }
  /** Evaluates the target of a jump through a register; leaves where PCC does not allow it. */
  #indirectTarget(index: number): void {
    const c = this.#c;
    this.#begin(index);
    for (const s of this.#code.shape(index).statements) {
      if (s.k === "jumpIndirect") {
        this.#expr(s.target);
        c.i64(-2);
        c.op("i64.and");
        c.set(this.#wide);
      } else if (s.k !== "setX") this.#statement(s, undefined);
    }
    this.#finish(index);
    this.#leaveIf(() => {
      c.get(this.#wide);
      c.i32(0);
      c.memory("i64.load", TRANSLATION.codeSpan);
      c.op("i64.ge_u");
    });
    c.get(this.#wide);
    c.op("i32.wrap_i64");
    c.set(this.#next);
  }

  #branch(block: Block, pending: number): void {
    const c = this.#c;
    const { last } = block;
    const statement = this.#code.shape(last).statements.at(-1)!;
    if (statement.k !== "branch") throw new TypeError("a branch is the last statement");
    this.#begin(last);
    const [taken, other] = block.edges as [Edge, Edge | undefined];
    const known = constant(this.#bindings, statement.cond);
    if (block.hammock.length > 0) {
      this.#expr(statement.cond);
      return this.#hammock(block, pending);
    }
    const passing = pending + (taken.fuel ? FUEL : 0);
    if (known !== undefined) return known === 0 ? this.#edge(block, other!, pending) : this.#edge(block, taken, passing);
    this.#expr(statement.cond);
    c.if();
    this.#edge(block, taken, passing);
    c.else();
    this.#edge(block, other!, pending);
    c.end();
    c.unreachable();
  }
  /** Runs the instructions that the branch jumps over, then keeps their results unless its condition (on the stack) holds. */
  #hammock(block: Block, pending: number): void {
    const c = this.#c;
    const { hammock } = block;
    const condition = c.local("i32");
    c.set(condition);
    const registers = [...new Set(hammock.map((index) => 31 - Math.clz32(this.#code.defX[index]!)))];
    const old = registers.map((register) => {
      const local = c.local("i64");
      c.get(this.#x[register]!);
      c.set(local);
      return local;
    });
    for (const index of hammock) this.#instruction(index, undefined);
    registers.forEach((register, at) => {
      c.get(old[at]!);
      c.get(this.#x[register]!);
      c.get(condition);
      c.select();
      c.set(this.#x[register]!);
      c.release("i64", old[at]!);
    });
    c.get(COUNTER);
    c.i64(pending);
    c.i64(pending + hammock.length);
    c.get(condition);
    c.select();
    c.op("i64.add");
    c.set(COUNTER);
    c.release("i32", condition);
    this.#edge(block, block.edges[0]!, 0);
  }

  #call(block: Block, pending: number): void {
    const c = this.#c;
    const code = this.#code;
    const { last, callee } = block;
    const back = block.edges[0]!;
    const pc = (): void => {
      if (callee < 0) c.get(this.#next);
      else c.i32(callee | 0);
    };
    this.#link(last);
    const fuel = callee < 0 || callee <= code.pc[last]!;
    this.#count(pending + (fuel ? FUEL : 0));
    this.#spillAll(block);
    c.get(DEPTH);
    c.i32(MAX_DEPTH);
    c.op("i32.ge_u");
    c.if();
    c.get(COUNTER);
    pc();
    c.return();
    c.end();
    c.get(COUNTER);
    pc();
    c.get(DEPTH);
    c.i32(1);
    c.op("i32.add");
    const known = callee < 0 ? undefined : this.#s.functionAt(callee);
    if (known === undefined) {
      this.#slot(pc);
      c.callIndirect(this.#s.type);
    } else c.call(known);
    c.set(PC);
    c.set(COUNTER);
    c.get(PC);
    c.i32(back.pc | 0);
    c.op("i32.ne");
    c.if();
    c.get(COUNTER);
    c.get(PC);
    c.return();
    c.end();
    const to = target(back);
    if (to === undefined) return this.#tailCall(back.pc);
    this.#loadFlags();
    this.#load(to.liveX, to.liveF);
    this.#edge(block, back, 0);
  }

  // ---- instructions
  #begin(index: number): void {
    const b = this.#bindings;
    b.index = index;
    b.bound.length = 0;
    b.locals.length = 0;
  }
  #finish(index: number): void {
    const { locals } = this.#bindings;
    const types = this.#code.shape(index).locals;
    for (let id = 0; id < locals.length; id++) if (locals[id] !== undefined) this.#c.release(types[id]!, locals[id]!);
  }
  #instruction(index: number, check: Check | undefined): void {
    const shape = this.#code.shape(index);
    if (shape.pure && this.#code.rd[index] === 0) return;
    this.#begin(index);
    if (check !== undefined) this.#check(check);
    for (const s of shape.statements) this.#statement(s, shape);
    this.#finish(index);
  }
  #local(id: number): number {
    const { locals, index } = this.#bindings;
    return (locals[id] ??= this.#c.local(this.#code.shape(index).locals[id]!));
  }
  #register(field: RegField): number {
    return registerOf(this.#bindings, field);
  }

  /** Pushes the value. `signed` constants of i64 are bigint. */
  #expr(e: Expr): void {
    const c = this.#c;
    const known = e.type === "i64" || e.type === "i32" ? constant(this.#bindings, e) : undefined;
    if (known !== undefined) return e.type === "i64" ? c.i64(known) : c.i32(Number(known));
    switch (e.k) {
      case "const":
        return c[e.type as "f32" | "f64"](Number(e.value));
      case "x":
        return c.get(this.#x[this.#register(e.field)]!);
      case "f":
        c.get(this.#f[this.#register(e.field)]!);
        return c.op("i64.reinterpret_f64");
      case "unary":
        return this.#unary(e);
      case "binary":
        return this.#binary(e);
      case "fma":
        this.#expr(e.a);
        this.#expr(e.b);
        this.#expr(e.c);
        return c.fma();
      case "select": {
        const cond = constant(this.#bindings, e.cond);
        if (cond !== undefined) return this.#expr(cond === 0 ? e.b : e.a);
        this.#expr(e.a);
        this.#expr(e.b);
        this.#expr(e.cond);
        return c.select();
      }
      case "local": {
        const bound = this.#bindings.bound[e.id];
        if (bound !== undefined) return this.#expr(bound);
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
      const bound = this.#bindings.bound[at.id];
      if (bound === undefined) return at;
      at = bound;
    }
    return at;
  }
  #unary(e: Expr & { k: "unary" }): void {
    const c = this.#c;
    if (e.op === "f64.reinterpret_i64") {
      const a = this.#resolve(e.a);
      if (a.k === "f") return c.get(this.#f[this.#register(a.field)]!);
    }
    this.#expr(e.a);
    c.op(e.op);
  }
  #binary(e: Expr & { k: "binary" }): void {
    const b = this.#bindings;
    if (e.op === "i32.and") {
      if (constant(b, e.a) === 1 && isBoolean(b, e.b)) return this.#expr(e.b);
      if (constant(b, e.b) === 1 && isBoolean(b, e.a)) return this.#expr(e.a);
    }
    if (e.op === "i64.add" || e.op === "i64.or" || e.op === "i64.xor") {
      if (constant(b, e.a) === 0n) return this.#expr(e.b);
      if (constant(b, e.b) === 0n) return this.#expr(e.a);
    }
    if ((e.op === "i64.eq" || e.op === "i64.ne") && constant(b, e.b) === 0n) {
      this.#expr(e.a);
      this.#c.op("i64.eqz");
      if (e.op === "i64.ne") this.#c.op("i32.eqz");
      return;
    }
    this.#expr(e.a);
    this.#expr(e.b);
    this.#c.op(e.op);
  }

  #list(list: readonly Stmt[], shape: Shape | undefined): void {
    for (const s of list) this.#statement(s, shape);
  }
  #statement(s: Stmt, shape: Shape | undefined): void {
    const c = this.#c;
    const b = this.#bindings;
    switch (s.k) {
      case "let": {
        const value = this.#resolve(s.value);
        const register = (value.k === "x" || value.k === "f") && shape?.writesLast === true;
        const assigned = shape?.assigned.has(s.id) === true;
        if (!assigned && (register || (s.value.type !== "f32" && s.value.type !== "f64" && constant(b, value) !== undefined))) {
          b.bound[s.id] = value;
          return;
        }
        this.#expr(s.value);
        return c.set(this.#local(s.id));
      }
      case "assign":
        this.#expr(s.value);
        return c.set(this.#local(s.id));
      case "setX": {
        const register = this.#register(s.field);
        if (register === 0) return;
        this.#expr(s.value);
        return c.set(this.#x[register]!);
      }
      case "setF": {
        const register = this.#f[this.#register(s.field)]!;
        const value = this.#resolve(s.value);
        if (value.k === "unary" && value.op === "i64.reinterpret_f64") this.#expr(value.a);
        else if (value.k === "f") c.get(this.#f[this.#register(value.field)]!);
        else {
          this.#expr(value);
          c.op("f64.reinterpret_i64");
        }
        return c.set(register);
      }
      case "setState":
        c.i32(0);
        this.#expr(s.value);
        c.memory(`${stateType(s.field)!}.store`, ACTIVE_HART + State[s.field as StateField]);
        if (s.field === "fflags") this.#loadFlags();
        return;
      case "load":
        if (shape?.access === undefined) this.#checkedAlone(s.address, s.size, s.aligned, s.forStore);
        else this.#accessAddress(shape.access.imm);
        c.memory(s.size === 8 ? "i64.load" : `i64.load${s.size * 8}_u`, this.#offset(shape));
        // V8 13 loads twice where an extension takes the load in.
        if (s.signed && s.size < 8) c.op(`i64.extend${s.size * 8}_s`);
        return c.set(this.#local(s.id));
      case "store":
        if (shape?.access === undefined) this.#checkedAlone(s.address, s.size, s.aligned, true);
        else this.#accessAddress(shape.access.imm);
        this.#expr(s.value);
        return c.memory(s.size === 8 ? "i64.store" : `i64.store${s.size * 8}`, this.#offset(shape));
      case "if": {
        const known = constant(b, s.cond);
        if (known !== undefined) return this.#list(known === 0 ? s.else : s.then, shape);
        this.#expr(s.cond);
        c.if();
        this.#list(s.then, shape);
        if (s.else.length > 0) {
          c.else();
          this.#list(s.else, shape);
        }
        return c.end();
      }
      case "trap":
        return this.#leaveIf(() => c.i32(1));
      case "call":
        if (this.#controlRegister(s)) return;
        if (s.mayTrap && s.fn !== "csrRead") return this.#leaveIf(() => c.i32(1));
        c.i32(ACTIVE_HART);
        for (const arg of s.args) this.#expr(arg);
        c.call(this.#s.intrinsic(s.fn));
        if (s.result !== "none") {
          if (s.id >= 0) c.set(this.#local(s.id));
          else c.drop();
        }
        return this.#loadFlags();
      default:
        throw new TypeError(`${s.k} in the middle of a block`);
    }
  }

  /** Access to a control register that is a field of the state. */
  #controlRegister(s: Stmt & { k: "call" }): boolean {
    if (s.fn !== "csrRead" && s.fn !== "csrWrite") return false;
    const plain = plainCsrs.get(this.#code.imm[this.#bindings.index]!);
    if (plain === undefined) return false;
    if (s.fn === "csrRead") {
      this.#expr({ k: "state", type: "i32", field: plain.field });
      this.#c.op("i64.extend_i32_u");
      this.#c.set(this.#local(s.id));
      return true;
    }
    this.#c.i32(0);
    this.#expr(s.args[1]!);
    this.#c.op("i32.wrap_i64");
    this.#c.i32(plain.mask);
    this.#c.op("i32.and");
    this.#c.memory("i32.store", ACTIVE_HART + State[plain.field]);
    this.#loadFlags();
    return true;
  }

  // ---- memory
  #offset(shape: Shape | undefined): number {
    const access = shape?.access;
    if (access === undefined || !access.imm) return GUEST;
    const imm = this.#code.imm[this.#bindings.index]!;
    return imm >= 0 ? GUEST + imm : GUEST;
  }
  /** Pushes rs1 (+ imm, if that is negative) as an absolute address; rs1 itself is known to be inside DDC. */
  #accessAddress(imm: boolean): void {
    const c = this.#c;
    c.get(this.#x[this.#register("rs1")]!);
    c.op("i32.wrap_i64");
    const offset = imm ? this.#code.imm[this.#bindings.index]! : 0;
    if (offset < 0) {
      c.i32(offset);
      c.op("i32.add");
    }
    c.get(this.#base);
    c.op("i32.add");
  }
  /** Where loads do not look at pages, the first one must be outside of what is compared: it is never mapped. */
  get #bias(): number {
    return this.#s.checks.loads ? 0 : PAGE_SIZE;
  }
  /** Pushes the sum of a register and a constant. */
  #sum(register: number, amount: number): void {
    const c = this.#c;
    c.get(this.#x[register]!);
    if (amount === 0) return;
    c.i64(amount);
    c.op("i64.add");
  }
  #check({ bounds, pages, exact }: Check): void {
    const c = this.#c;
    const register = this.#register("rs1");
    const testBounds = bounds !== undefined && this.#s.checks.bounds;
    const testPages = pages !== undefined && this.#s.checks.pages;
    if (testBounds) {
      this.#leaveIf(() => {
        this.#sum(register, bounds - this.#bias);
        c.get(this.#limit);
        c.op("i64.ge_u");
      });
    }
    if (testPages && exact) this.#exactPage(register, pages.from, pages.to - pages.from, pages.store);
    else if (testPages) {
      this.#leaveIf(() => {
        c.get(this.#x[register]!);
        c.op("i32.wrap_i64");
        c.get(this.#base);
        c.op("i32.add");
        if (pages.from !== 0) {
          c.i32(pages.from);
          c.op("i32.add");
        }
        this.#pageState(pages.store);
      });
    }
  }
  /** The access of `length` bytes at a register + `from`, of at most 8. What its page's neighbour is like matters only if it gets there. */
  #exactPage(register: number, from: number, length: number, store: boolean): void {
    const c = this.#c;
    c.get(this.#x[register]!);
    c.op("i32.wrap_i64");
    c.get(this.#base);
    c.op("i32.add");
    c.i32(from);
    c.op("i32.add");
    c.set(this.#address);
    this.#exactState(length, store);
  }
  /** The same for an access at #address. */
  #exactState(length: number, store: boolean): void {
    const c = this.#c;
    c.get(this.#address);
    this.#pageState(store);
    c.if();
    this.#leaveIf(() => {
      c.get(this.#address);
      c.i32(PAGE_SIZE - 1);
      c.op("i32.and");
      c.i32(PAGE_SIZE - length);
      c.op("i32.gt_u");
      c.get(this.#address);
      c.i32(12);
      c.op("i32.shr_u");
      c.memory("i32.load8_u", PAGE_OWN);
      c.i32((store ? OWN_STORE_SLOW & ~Own.Tags : 0) | (this.#s.checks.loads ? Own.NoRead : 0));
      c.op("i32.and");
      c.op("i32.or");
    });
    if (store) {
      for (const last of length > 1 ? [0, length - 1] : [0]) {
        c.get(this.#address);
        c.i32(last);
        c.op("i32.add");
        c.i32(GRANULE_SHIFT);
        c.op("i32.shr_u");
        c.i32(0);
        c.memory("i32.store8", TAGS);
      }
    }
    c.end();
  }
  /** Pushes what is not 0 if the page of the address on the stack, or the next one, does not allow the access. */
  #pageState(store: boolean): void {
    const c = this.#c;
    c.i32(12);
    c.op("i32.shr_u");
    c.memory("i64.load8_u", PAGE_FAST);
    const bits = (store ? Fast.StoreSlow : 0) | (this.#s.checks.loads ? Fast.LoadSlow : 0);
    c.i64(bits);
    c.op("i64.and");
    c.op("i64.eqz");
    c.op("i32.eqz");
  }
  /** Pushes the absolute address of an access that is checked by itself. */
  #checkedAlone(address: Expr, size: number, aligned: boolean, store: boolean): void {
    const c = this.#c;
    this.#expr(address);
    c.set(this.#wide);
    this.#leaveIf(() => {
      c.get(this.#wide);
      if (this.#bias !== 0) {
        c.i64(-this.#bias);
        c.op("i64.add");
      }
      c.get(this.#limit);
      c.op("i64.ge_u");
    });
    c.get(this.#wide);
    c.op("i32.wrap_i64");
    c.get(this.#base);
    c.op("i32.add");
    c.set(this.#address);
    if (aligned && size > 1) {
      this.#leaveIf(() => {
        c.get(this.#address);
        c.i32(size - 1);
        c.op("i32.and");
      });
    }
    if (this.#s.checks.exact.has(this.#code.pc[this.#bindings.index]!)) this.#exactState(size, store);
    else if (store || this.#s.checks.loads) {
      this.#leaveIf(() => {
        c.get(this.#address);
        this.#pageState(store);
      });
    }
    c.get(this.#address);
  }
}

/** The function of a region: (counter, pc, depth) → (counter, pc). An odd pc is left to the interpreter, or fuel is used up there. */
export function emitRegion(code: Instructions, region: Region, surroundings: Surroundings): Code {
  return new RegionEmitter(code, region, surroundings).emit();
}
