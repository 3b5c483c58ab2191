/**
 * Decides which checks the accesses of a region need: one comparison with the end of DDC and one test of a page's state prove
 * several accesses through the same register.
 */
import type { Instructions } from "./instructions.ts";
import { End, target, type Block } from "./region.ts";

/** Bytes above the checked address that are inside DDC when the check holds. Regions end this much before DDC does, for checks. */
export const SLACK = 4096;
/** Offsets of accesses that are checked together lie in -REACH … REACH. */
const REACH = 2032;

/** Checks that stand before an access. Offsets are from rs1. */
export interface Check {
  /** [rs1 + bounds, + SLACK) is in DDC; undefined: known. */
  readonly bounds: number | undefined;
  /** The pages of [from, to) allow loads, and stores if `store`; undefined: known. */
  readonly pages: { readonly from: number; readonly to: number; readonly store: boolean } | undefined;
  /** The page test looks closer before it leaves: at this page alone, and a store clears tags. For accesses that left often. */
  readonly exact: boolean;
}

/** For each value six numbers: ranges [lo, hi) from it that are inside DDC, that may be loaded, that may be stored. Empty ones are 0, 0. */
const WIDTH = 6;
type Facts = Int16Array;
const Bounds = 0;
const Loads = 2;
const Stores = 4;
/** Accesses at offsets below this are checked from offset 0 on. */
const NEAR = 512;
/** Larger offsets are forgotten. */
const FAR = 16_000;

/** What is known in the middle of a block: registers are values plus offsets, facts are about values. */
class Known {
  readonly #value: Int16Array = new Int16Array(32);
  readonly #offset: Int32Array = new Int32Array(32);
  #facts: Facts = new Int16Array(WIDTH * 64);
  #values = 32;

  /** Starts with facts about registers. */
  reset(facts: Facts): void {
    this.#facts.fill(0);
    this.#facts.set(facts);
    for (let register = 0; register < 32; register++) this.#value[register] = register;
    this.#offset.fill(0);
    this.#values = 32;
  }
  /** Facts about registers. */
  result(): Facts {
    const out = new Int16Array(32 * WIDTH);
    for (let register = 1; register < 32; register++) {
      const from = this.#value[register]! * WIDTH;
      const amount = this.#offset[register]!;
      for (let kind = 0; kind < WIDTH; kind += 2) {
        const lo = this.#facts[from + kind]!;
        const hi = this.#facts[from + kind + 1]!;
        if (lo === hi || lo - amount <= -FAR || hi - amount >= FAR) continue;
        out[register * WIDTH + kind] = lo - amount;
        out[register * WIDTH + kind + 1] = hi - amount;
      }
    }
    return out;
  }
  copyFrom(other: Known): void {
    this.#value.set(other.#value);
    this.#offset.set(other.#offset);
    this.#values = other.#values;
  }
  forget(register: number): void {
    if (this.#values * WIDTH >= this.#facts.length) {
      const larger = new Int16Array(2 * this.#facts.length);
      larger.set(this.#facts);
      this.#facts = larger;
    }
    this.#value[register] = this.#values++;
    this.#offset[register] = 0;
  }
  /** to = from + amount. */
  derive(to: number, from: number, amount: number): void {
    this.#value[to] = this.#value[from]!;
    this.#offset[to] = this.#offset[from]! + amount;
    if (Math.abs(this.#offset[to]!) > FAR) this.forget(to);
  }
  covers(register: number, kind: number, from: number, to: number): boolean {
    const at = this.#value[register]! * WIDTH + kind;
    const offset = this.#offset[register]!;
    return this.#facts[at]! <= from + offset && this.#facts[at + 1]! >= to + offset;
  }
  add(register: number, kind: number, from: number, to: number): void {
    const at = this.#value[register]! * WIDTH + kind;
    const offset = this.#offset[register]!;
    const lo = this.#facts[at]!;
    const hi = this.#facts[at + 1]!;
    const joins = lo !== hi && lo <= to + offset && from + offset <= hi;
    this.#facts[at] = joins ? Math.min(lo, from + offset) : from + offset;
    this.#facts[at + 1] = joins ? Math.max(hi, to + offset) : to + offset;
  }
  /** How far `register` is from what `other` held in `before`; undefined if they have nothing to do with each other. */
  distance(register: number, before: Known, other: number): number | undefined {
    return this.#value[register] === before.#value[other] ? this.#offset[register]! - before.#offset[other]! : undefined;
  }
}

/** What holds in both. */
function meet(into: Facts, other: Facts): void {
  for (let at = 0; at < into.length; at += 2) {
    const lo = Math.max(into[at]!, other[at]!);
    const hi = Math.min(into[at + 1]!, other[at + 1]!);
    into[at] = lo < hi ? lo : 0;
    into[at + 1] = lo < hi ? hi : 0;
  }
}
function equal(a: Facts, b: Facts): boolean {
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) return false;
  return true;
}

/** Empties the ranges that are not what they were. */
function giveUp(facts: Facts, old: Facts): void {
  for (let at = 0; at < facts.length; at += 2) {
    if (facts[at] === old[at] && facts[at + 1] === old[at + 1]) continue;
    facts[at] = 0;
    facts[at + 1] = 0;
  }
}
/** Rounds after which every block gives up what changes. */
const ROUNDS = 8;

export interface CheckOptions {
  readonly loads: boolean;
  /** Each access is checked alone. */
  readonly merge: boolean;
  /** Accesses at these pcs are checked alone, and exactly. */
  readonly exact: ReadonlySet<number>;
}

export class CheckPlan {
  /** By block, then by position in `ins`. */
  readonly #checks: (Check | undefined)[][] = [];
  readonly #code: Instructions;
  readonly #options: CheckOptions;
  readonly #known: Known = new Known();
  readonly #later: Known = new Known();

  constructor(code: Instructions, order: readonly Block[], options: CheckOptions) {
    this.#code = code;
    this.#options = options;
    this.#plan(order);
  }
  at(block: Block, position: number): Check | undefined {
    return this.#checks[block.rpo]?.[position];
  }

  /**
   * Forward data flow. Facts at the head of a loop begin as what comes in; those that a turn of the loop changes are given up, so that a few rounds
   * are enough. A block is looked at again when facts before it have changed.
   */
  #plan(order: readonly Block[]): void {
    const before: Facts[] = [];
    const after: (Facts | undefined)[] = order.map(() => undefined);
    const waits = new Uint8Array(order.length).fill(1);
    for (let round = 0, more = true; more; round++) {
      more = false;
      for (const block of order) {
        const at = block.rpo;
        if (waits[at] === 0) continue;
        waits[at] = 0;
        const facts = new Int16Array(32 * WIDTH);
        let first = true;
        if (at > 0) {
          for (const from of block.pred) {
            const known = after[from.rpo];
            if (known === undefined) continue;
            if (first) facts.set(known);
            else meet(facts, known);
            first = false;
          }
        }
        const old = before[at];
        if (old !== undefined) {
          if (block.loop || round > ROUNDS) giveUp(facts, old);
          if (equal(facts, old)) continue;
        }
        before[at] = facts;
        const result = this.#transfer(block, facts);
        const known = after[at];
        if (known !== undefined && equal(known, result)) continue;
        after[at] = result;
        for (const edge of block.edges) {
          const to = target(edge);
          if (to === undefined) continue;
          waits[to.rpo] = 1;
          if (to.rpo <= at) more = true;
        }
      }
    }
  }

  /** Facts after the block, with those before it. */
  #transfer(block: Block, facts: Facts): Facts {
    const code = this.#code;
    const known = this.#known;
    known.reset(facts);
    const checks: (Check | undefined)[] = [];
    for (let position = 0; position < block.ins.length; position++) {
      const index = block.ins[position]!;
      if (code.shape(index).access !== undefined) checks[position] = this.#check(block, position);
      this.#define(index, known);
    }
    for (const index of block.hammock) if (code.defX[index] !== 0) known.forget(31 - Math.clz32(code.defX[index]!));
    if (block.executes) {
      const written = code.defX[block.last]!;
      if (written !== 0) known.forget(31 - Math.clz32(written));
    }
    this.#checks[block.rpo] = checks;
    if (block.end === End.Call) {
      if (block.touchesX === -1) return new Int16Array(32 * WIDTH);
      for (let register = 1; register < 32; register++) if (((block.touchesX >>> register) & 1) !== 0) known.forget(register);
    }
    return known.result();
  }

  #define(index: number, known: Known): void {
    const code = this.#code;
    const written = code.defX[index]!;
    if (written === 0) return;
    const register = 31 - Math.clz32(written);
    const { offset, sum } = code.shape(index);
    const rs1 = code.rs1[index]!;
    const rs2 = code.rs2[index]!;
    if (offset && rs1 !== 0) known.derive(register, rs1, code.imm[index]!);
    else if (sum && rs1 === 0 && rs2 !== 0) known.derive(register, rs2, 0);
    else if (sum && rs2 === 0 && rs1 !== 0) known.derive(register, rs1, 0);
    else known.forget(register);
  }

  /** The checks before the access at `position`; afterwards what they prove is known. */
  #check(block: Block, position: number): Check | undefined {
    const code = this.#code;
    const known = this.#known;
    const first = block.ins[position]!;
    const { store, size, imm } = code.shape(first).access!;
    const register = code.rs1[first]!;
    const from = imm ? code.imm[first]! : 0;
    const to = from + size;
    const pages = store || this.#options.loads;
    // The register itself too, so that the sum with a positive immediate does not wrap around.
    const needBounds = !known.covers(register, Bounds, Math.min(0, from), to);
    const needPages = pages && !known.covers(register, Stores, from, to) && (store || !known.covers(register, Loads, from, to));
    if (!needBounds && !needPages) return undefined;
    if (this.#options.exact.has(code.pc[first]!)) {
      const lowest = Math.min(0, from);
      if (needBounds) known.add(register, Bounds, lowest, lowest + SLACK);
      return { bounds: needBounds ? lowest : undefined, pages: pages ? { from, to, store } : undefined, exact: true };
    }
    let lowest = Math.min(0, from);
    let stores = store;
    // From the register itself on: what is at lower offsets, or reached from it in later blocks, is proved too.
    let lo = from < NEAR ? Math.min(0, from) : from;
    let hi = to;
    if (this.#options.merge) {
      const later = this.#later;
      later.copyFrom(known);
      for (let next = position + 1; next < block.ins.length; next++) {
        this.#define(block.ins[next - 1]!, later);
        const index = block.ins[next]!;
        const access = code.shape(index).access;
        if (access === undefined) continue;
        const distance = later.distance(code.rs1[index]!, known, register);
        if (distance === undefined) continue;
        // Its own register must be known to be inside as well.
        const start = distance + (access.imm ? code.imm[index]! : 0);
        const least = Math.min(distance, start);
        const end = Math.max(distance, start + access.size);
        if (least < -REACH || end > REACH) continue;
        // Without a test of bounds, what is not known to be inside may have no page at all.
        if (!needBounds && !known.covers(register, Bounds, least, end)) continue;
        if (access.store || this.#options.loads) {
          // Pages of one check are at most two.
          if (Math.max(hi, start + access.size) - Math.min(lo, start) > SLACK) continue;
          lo = Math.min(lo, start);
          hi = Math.max(hi, start + access.size);
          stores ||= access.store;
        }
        lowest = Math.min(lowest, least);
      }
    }
    if (needBounds) known.add(register, Bounds, lowest, lowest + SLACK);
    // The state of a page tells of the next one too.
    if (needPages) {
      known.add(register, Loads, lo, lo + SLACK);
      if (stores) known.add(register, Stores, lo, lo + SLACK);
    }
    return { bounds: needBounds ? lowest : undefined, pages: needPages ? { from: lo, to: hi, store: stores } : undefined, exact: false };
  }
}
