/** Writes a region as one WebAssembly function: registers in locals, loops as loops. */
import { ACTIVE_HART, F, TRANSLATION, X } from "../machine/layout.ts";
import { Code, type Label } from "../wasm/code.ts";
import { CheckPlan } from "./checks.ts";
import { InstructionEmitter, type Surroundings } from "./emit-instruction.ts";
import { constant } from "./fold.ts";
import { order } from "./graph.ts";
import type { Instructions } from "./instructions.ts";
import { NarrowPlan } from "./narrow.ts";
import { analyse, checksFuel, mostFuel } from "./liveness.ts";
import { End, target, type Block, type Edge, type Region } from "./region.ts";
import { Kind } from "./shapes.ts";
import { noteTarget, pushSlot, pushSlotAt } from "./slots.ts";

/** Deepest nesting of guest calls on the WebAssembly stack; a deeper call leaves all frames and starts again. */
export const MAX_DEPTH = 200;

/**
 * The counter of translated code: instructions in its lower half, fuel in the upper, which starts at {@link RESERVE} - fuel. It is looked at where
 * functions begin, return and go back to the head of a loop, and is negative as long as more than the reserve is left. Between two looks less than that is
 * used, so that the interpreter gets what is left and stops where it always does.
 */
export const RESERVE = 64;
const FUEL = 2 ** 32;
/** Most fuel that a way through a region may use without a look at it. */
const UNCHECKED = 48;

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
  /** See {@link Summary}. */
  readonly #closed: boolean;
  readonly #plan: CheckPlan;
  readonly #next: number;
  readonly #label: number;
  readonly #loops: Map<Block, Label> = new Map();
  readonly #merges: Map<Block, Label> = new Map();
  readonly #i: InstructionEmitter;

  constructor(code: Instructions, region: Region, surroundings: Surroundings) {
    this.#code = code;
    this.#s = surroundings;
    this.#entry = region.entry;
    this.#order = order(region, surroundings.unrolled);
    this.#closed = surroundings.summaryAt(region.entry) !== undefined;
    for (const block of this.#order) {
      const summary = block.end === End.Call && block.callee >= 0 ? surroundings.summaryAt(block.callee) : undefined;
      block.touchesX = summary?.x ?? -1;
      block.touchesF = summary?.f ?? -1;
    }
    this.#everyEdge = mostFuel(this.#order) > UNCHECKED;
    this.#plan = new CheckPlan(code, this.#order, surroundings.checks);
    analyse(code, this.#order, { leaves: (block, position) => this.#leaves(block, position), everyEdge: this.#everyEdge });
    new NarrowPlan(code, this.#order);
    this.#i = new InstructionEmitter(this.#c, code, this.#order, surroundings);
    this.#next = this.#c.local("i32");
    this.#label = this.#c.local("i32");
  }

  emit(): Code {
    const c = this.#c;
    c.get(COUNTER);
    c.i64(0);
    c.op("i64.ge_s");
    c.if();
    this.#ranOut();
    c.get(COUNTER);
    c.i32((this.#entry + 1) | 0);
    c.return();
    c.end();
    this.#i.start();
    const head = this.#order[0]!;
    this.#load(head.liveX, head.liveF);
    this.#tree(head, 0);
    c.unreachable();
    return c;
  }

  // ---- registers
  #load(x: number, f: number): void {
    const c = this.#c;
    for (let register = 1; register < 32; register++) {
      if (((x >>> register) & 1) === 0) continue;
      c.i32(0);
      c.memory("i64.load", ACTIVE_HART + X + 8 * register);
      c.set(this.#i.x[register]!);
    }
    for (let register = 0; register < 32; register++) {
      if (((f >>> register) & 1) === 0) continue;
      c.i32(0);
      c.memory("f64.load", ACTIVE_HART + F + 8 * register);
      c.set(this.#i.f[register]!);
    }
  }
  #spill(x: number, f: number): void {
    const c = this.#c;
    for (let register = 1; register < 32; register++) {
      if (((x >>> register) & 1) === 0) continue;
      c.i32(0);
      this.#i.pushX(register);
      c.memory("i64.store", ACTIVE_HART + X + 8 * register);
    }
    for (let register = 0; register < 32; register++) {
      if (((f >>> register) & 1) === 0) continue;
      c.i32(0);
      c.get(this.#i.f[register]!);
      c.memory("f64.store", ACTIVE_HART + F + 8 * register);
    }
  }
  /** Writes narrow registers back where that is seldom done: V8 would keep a sign extension that is needed before, too. */
  #spillHalves(x: number): void {
    const c = this.#c;
    for (let register = 1; register < 32; register++) {
      if (((x >>> register) & 1) === 0) continue;
      for (const half of [0, 4]) {
        c.i32(0);
        c.get(this.#i.n[register]!);
        if (half === 4) {
          c.i32(31);
          c.op("i32.shr_s");
        }
        c.memory("i32.store", ACTIVE_HART + X + 8 * register + half);
      }
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
    this.#i.narrow = block.narrowIn;
    this.#i.widen(block.narrowIn & ~block.narrowStart & block.liveX);
    this.#i.narrow = block.narrowStart;
    const narrow: number[] = [];
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
      this.#i.site(undefined, 0n);
      if (sites[site] === position) {
        // The innermost block is that of the last site.
        narrow.push(this.#i.narrow);
        this.#i.site(labels[site++], siteValue(pending + position, this.#code.pc[index]!));
      }
      if (position < ins.length) this.#i.instruction(index, this.#plan.at(block, position), block.narrowDefs[position] === 1);
      else if (this.#throughRegister(block)) this.#indirectTarget(index);
    }
    if (after === undefined) return;
    c.br(after);
    const left = this.#i.narrow;
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
      // An earlier site writes what has been written before it, from the local that has it there.
      const here = x & narrow[at]!;
      this.#spillHalves(here & ~earlierX);
      this.#i.narrow = here;
      if (at > 0) this.#i.widen(here & earlierX & ~narrow[at - 1]!);
      this.#i.narrow = 0;
      this.#spill(x & ~earlierX & ~here, f & ~earlierF);
    }
    c.set(this.#i.wide);
    c.get(COUNTER);
    c.get(this.#i.wide);
    c.i64(32);
    c.op("i64.shr_u");
    c.i64(SITE_COUNT - 1);
    c.op("i64.and");
    c.op("i64.add");
    c.get(this.#i.wide);
    c.i64(SITE_FUEL_SHIFT);
    c.op("i64.shr_u");
    c.i64(32);
    c.op("i64.shl");
    c.op("i64.add");
    c.get(this.#i.wide);
    c.op("i32.wrap_i64");
    c.return();
    c.end();
    this.#i.narrow = left;
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
    this.#ranOut();
    this.#spillAll(block);
    c.get(COUNTER);
    c.i32((pc + 1) | 0);
    c.return();
    c.end();
  }
  #ranOut(): void {
    this.#c.i32(0);
    this.#c.i32(this.#entry | 0);
    this.#c.memory("i32.store", TRANSLATION.ranOut);
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
      if (!this.#closed) return this.#tailCall(edge.pc);
      c.get(COUNTER);
      c.i32(edge.pc | 0);
      return c.return();
    }
    const wide = this.#i.narrow & ~to.narrowIn & to.liveX;
    if (wide !== 0) this.#i.widen(wide);
    if (edge.via !== undefined) {
      c.i32(edge.via.edges.findIndex((entry) => entry.to === edge.to));
      c.set(this.#label);
    }
    if (to.rpo <= block.rpo) c.br(this.#loops.get(to)!);
    else if (to.merge) c.br(this.#merges.get(to)!);
    else this.#tree(to, flush ? 0 : pending);
  }
  /** Pushes the number of the function at a pc, or at that in #next if it is -1. */
  #slot(pc: number): void {
    const c = this.#c;
    const { place } = this.#s;
    const known = place !== undefined && pc >= 0 && pc < place.codeSpan ? place.slotAddress(pc) : undefined;
    if (known !== undefined) pushSlotAt(c, known);
    else pushSlot(c, this.#i.scratch, () => (pc < 0 ? c.get(this.#next) : c.i32(pc | 0)), place?.codeBase);
  }
  /** Goes on at a known pc outside of the region. Registers are written back. */
  #tailCall(pc: number): void {
    const c = this.#c;
    c.get(COUNTER);
    c.i32(pc | 0);
    c.get(DEPTH);
    const known = this.#s.functionAt(pc);
    if (known !== undefined) return c.returnCall(known);
    this.#slot(pc);
    c.returnCallIndirect(this.#s.type);
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
      case End.Guess: {
        this.#link(last);
        const { narrow } = this.#i;
        const otherwise = block.edges.at(-1)!;
        for (const edge of block.edges) {
          this.#i.narrow = narrow;
          if (edge !== otherwise) {
            c.get(this.#next);
            c.i32(edge.pc | 0);
            c.op("i32.eq");
            c.if();
          }
          this.#edge(block, edge, pending + FUEL);
          if (edge !== otherwise) c.end();
        }
        return;
      }
      case End.Indirect:
        this.#link(last);
        noteTarget(c, code.pc[Math.max(last, block.site)]!, this.#next);
        this.#count(pending + (last < 0 ? 0 : FUEL));
        this.#spillAll(block);
        c.get(COUNTER);
        c.get(this.#next);
        c.get(DEPTH);
        this.#slot(-1);
        return c.returnCallIndirect(this.#s.type);
      case End.Interpret:
        this.#count(pending - 1);
        this.#spillAll(block);
        c.get(COUNTER);
        c.i32((code.pc[last]! + 1) | 0);
        return c.return();
      case End.Dispatch: {
        const { narrow } = this.#i;
        block.edges.forEach((edge, number) => {
          this.#i.narrow = narrow;
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
    if (last < 0 || this.#code.rd[last] === 0) return;
    this.#c.i64(this.#code.next(last));
    this.#c.set(this.#i.x[this.#code.rd[last]!]!);
    this.#i.narrow &= ~(1 << this.#code.rd[last]!);
  }
  /** Evaluates the target of a jump through a register; leaves where PCC does not allow it. */
  #indirectTarget(index: number): void {
    const c = this.#c;
    this.#i.begin(index);
    for (const s of this.#code.shape(index).statements) {
      if (s.k === "jumpIndirect") {
        this.#i.expr(s.target);
        c.i64(-2);
        c.op("i64.and");
        c.set(this.#i.wide);
      } else if (s.k !== "setX") this.#i.statement(s, undefined);
    }
    this.#i.finish(index);
    this.#i.leaveIf(() => {
      c.get(this.#i.wide);
      if (this.#s.place !== undefined) c.i64(this.#s.place.codeSpan);
      else {
        c.i32(0);
        c.memory("i64.load", TRANSLATION.codeSpan);
      }
      c.op("i64.ge_u");
    });
    c.get(this.#i.wide);
    c.op("i32.wrap_i64");
    c.set(this.#next);
  }

  #branch(block: Block, pending: number): void {
    const c = this.#c;
    const { last } = block;
    const statement = this.#code.shape(last).statements.at(-1)!;
    if (statement.k !== "branch") throw new TypeError("a branch is the last statement");
    this.#i.begin(last);
    const [taken, other] = block.edges as [Edge, Edge | undefined];
    const known = constant(this.#i.bindings, statement.cond);
    if (block.hammock.length > 0) {
      this.#i.expr(statement.cond);
      return this.#hammock(block, pending);
    }
    const passing = pending + (taken.fuel ? FUEL : 0);
    if (known !== undefined) return known === 0 ? this.#edge(block, other!, pending) : this.#edge(block, taken, passing);
    this.#i.expr(statement.cond);
    c.if();
    const { narrow } = this.#i;
    this.#edge(block, taken, passing);
    c.else();
    this.#i.narrow = narrow;
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
    const registers = [
      ...new Set(hammock.filter((index) => this.#code.defX[index] !== 0).map((index) => 31 - Math.clz32(this.#code.defX[index]!))),
    ];
    const isNarrow = (register: number): boolean => ((block.narrowHammock >>> register) & 1) !== 0;
    const local = (register: number): number => (isNarrow(register) ? this.#i.n : this.#i.x)[register]!;
    for (const register of registers) if (!isNarrow(register)) this.#i.widen(1 << register);
    const old = registers.map((register) => {
      const kept = c.local(isNarrow(register) ? "i32" : "i64");
      c.get(local(register));
      c.set(kept);
      return kept;
    });
    for (const index of hammock) this.#i.instruction(index, undefined, isNarrow(this.#code.rd[index]!));
    registers.forEach((register, at) => {
      c.get(old[at]!);
      c.get(local(register));
      c.get(condition);
      c.select();
      c.set(local(register));
      c.release(isNarrow(register) ? "i32" : "i64", old[at]!);
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
    const fuel = last >= 0 && (callee < 0 || callee <= code.pc[last]!);
    if (callee < 0) noteTarget(c, code.pc[Math.max(last, block.site)]!, this.#next);
    this.#count(pending + (fuel ? FUEL : 0));
    const { touchesX, touchesF } = block;
    const dirtyX = block.dirtyX | block.writesX;
    const dirtyF = block.dirtyF | block.writesF;
    this.#spill(dirtyX & touchesX, dirtyF & touchesF);
    const spillRest = (): void => this.#spill(dirtyX & ~touchesX, dirtyF & ~touchesF);
    c.get(DEPTH);
    c.i32(MAX_DEPTH);
    c.op("i32.ge_u");
    c.if();
    spillRest();
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
      this.#slot(callee);
      c.callIndirect(this.#s.type);
    } else c.call(known);
    c.set(PC);
    c.set(COUNTER);
    c.get(PC);
    c.i32(back.pc | 0);
    c.op("i32.ne");
    c.if();
    spillRest();
    c.get(COUNTER);
    c.get(PC);
    c.return();
    c.end();
    const to = target(back);
    if (to === undefined) {
      spillRest();
      if (!this.#closed) return this.#tailCall(back.pc);
      c.get(COUNTER);
      c.i32(back.pc | 0);
      return c.return();
    }
    this.#i.loadFlags();
    this.#load(to.liveX & touchesX, to.liveF & touchesF);
    this.#i.narrow &= ~touchesX;
    this.#edge(block, back, 0);
  }
}

/** The function of a region: (counter, pc, depth) → (counter, pc). An odd pc is left to the interpreter, or fuel is used up there. */
export function emitRegion(code: Instructions, region: Region, surroundings: Surroundings): Code {
  return new RegionEmitter(code, region, surroundings).emit();
}
