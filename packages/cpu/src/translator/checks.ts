/**
 * Decides which checks the accesses of a region need: one comparison with the end of DDC and one test of a page's state prove
 * several accesses through the same register.
 */
import type { Instructions } from "./instructions.ts";
import { End, type Block } from "./region.ts";

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

/** For each register six numbers: ranges [lo, hi) that are inside DDC, that may be loaded, that may be stored. Empty ones are 0, 0. */
const WIDTH = 6;
type Facts = Int16Array;
const Bounds = 0;
const Loads = 2;
const Stores = 4;

function covers(facts: Facts, register: number, kind: number, from: number, to: number): boolean {
  const at = register * WIDTH + kind;
  return facts[at]! <= from && facts[at + 1]! >= to;
}
function forget(facts: Facts, register: number): void {
  facts.fill(0, register * WIDTH, (register + 1) * WIDTH);
}
/** What holds for `from` + amount holds for `to`. */
function shift(facts: Facts, to: number, from: number, amount: number): void {
  for (let kind = 0; kind < WIDTH; kind += 2) {
    const lo = facts[from * WIDTH + kind]!;
    const hi = facts[from * WIDTH + kind + 1]!;
    const keep = lo !== hi && lo - amount > -16_000 && hi - amount < 16_000;
    facts[to * WIDTH + kind] = keep ? lo - amount : 0;
    facts[to * WIDTH + kind + 1] = keep ? hi - amount : 0;
  }
}
function add(facts: Facts, register: number, kind: number, from: number, to: number): void {
  const at = register * WIDTH + kind;
  const lo = facts[at]!;
  const hi = facts[at + 1]!;
  const joins = lo !== hi && lo <= to && from <= hi;
  facts[at] = joins ? Math.min(lo, from) : from;
  facts[at + 1] = joins ? Math.max(hi, to) : to;
}
/** What holds in both; true if `into` changed. */
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

export interface CheckOptions {
  readonly loads: boolean;
  /** Each access is checked alone. */
  readonly merge: boolean;
  /** Accesses at these pcs are checked alone, and exactly. */
  readonly exact: ReadonlySet<number>;
}

export class CheckPlan {
  /** By block, then by position in `ins`. */
  readonly #checks: Map<Block, (Check | undefined)[]> = new Map();
  readonly #code: Instructions;
  readonly #options: CheckOptions;

  constructor(code: Instructions, order: readonly Block[], options: CheckOptions) {
    this.#code = code;
    this.#options = options;
    this.#plan(order);
  }
  at(block: Block, position: number): Check | undefined {
    return this.#checks.get(block)?.[position];
  }

  /** Forward data flow; the facts at loop heads begin as what comes in and can only become fewer. */
  #plan(order: readonly Block[]): void {
    const out = new Map<Block, Facts>();
    const rounds = 10;
    for (let round = 0; round <= rounds; round++) {
      let changed = false;
      for (const block of order) {
        let facts: Facts | undefined;
        if (block.rpo > 0 && round < rounds) {
          for (const from of block.pred) {
            const known = out.get(from);
            if (known === undefined) continue;
            if (facts === undefined) facts = known.slice();
            else meet(facts, known);
          }
        }
        facts ??= new Int16Array(32 * WIDTH);
        this.#transfer(block, facts);
        const old = out.get(block);
        if (old !== undefined && equal(old, facts)) continue;
        out.set(block, facts);
        changed = true;
      }
      if (!changed) return;
    }
  }

  #transfer(block: Block, facts: Facts): void {
    const code = this.#code;
    const checks: (Check | undefined)[] = [];
    for (let position = 0; position < block.ins.length; position++) {
      const index = block.ins[position]!;
      const access = code.shape(index).access;
      if (access !== undefined) checks[position] = this.#check(block, position, facts);
      this.#define(index, facts);
    }
    for (const index of block.hammock) forget(facts, 31 - Math.clz32(code.defX[index]!));
    if (block.last >= 0) {
      const written = code.defX[block.last]!;
      if (written !== 0) forget(facts, 31 - Math.clz32(written));
    }
    if (block.end === End.Call) facts.fill(0);
    this.#checks.set(block, checks);
  }

  #define(index: number, facts: Facts): void {
    const code = this.#code;
    const written = code.defX[index]!;
    if (written === 0) return;
    const register = 31 - Math.clz32(written);
    const { offset, sum } = code.shape(index);
    const rs1 = code.rs1[index]!;
    const rs2 = code.rs2[index]!;
    if (offset && rs1 !== 0) shift(facts, register, rs1, code.imm[index]!);
    else if (sum && rs1 === 0 && rs2 !== 0) shift(facts, register, rs2, 0);
    else if (sum && rs2 === 0 && rs1 !== 0) shift(facts, register, rs1, 0);
    else forget(facts, register);
  }

  /** The checks before the access at `position`, and the facts after them. */
  #check(block: Block, position: number, facts: Facts): Check | undefined {
    const code = this.#code;
    const first = block.ins[position]!;
    const { store, size, imm } = code.shape(first).access!;
    const register = code.rs1[first]!;
    const from = imm ? code.imm[first]! : 0;
    const to = from + size;
    const pages = store || this.#options.loads;
    const needBounds = !covers(facts, register, Bounds, from, to);
    const needPages = pages && !covers(facts, register, Stores, from, to) && (store || !covers(facts, register, Loads, from, to));
    if (!needBounds && !needPages) return undefined;
    if (this.#options.exact.has(code.pc[first]!)) {
      if (needBounds) add(facts, register, Bounds, Math.min(0, from), Math.min(0, from) + SLACK);
      return { bounds: needBounds ? Math.min(0, from) : undefined, pages: pages ? { from, to, store } : undefined, exact: true };
    }
    let lowest = Math.min(0, from);
    let stores = store;
    let lo = from;
    let hi = to;
    if (this.#options.merge) {
      let moved = 0;
      for (let next = position + 1; next < block.ins.length; next++) {
        const index = block.ins[next]!;
        const previous = block.ins[next - 1]!;
        if ((code.defX[previous]! & (1 << register)) !== 0) {
          if (!code.shape(previous).offset || code.rs1[previous] !== register) break;
          moved += code.imm[previous]!;
        }
        const access = code.shape(index).access;
        if (access === undefined || code.rs1[index] !== register) continue;
        const start = moved + (access.imm ? code.imm[index]! : 0);
        if (start < -REACH || start + access.size > REACH) continue;
        if (access.store || this.#options.loads) {
          // Pages of one check are at most two.
          if (Math.max(hi, start + access.size) - Math.min(lo, start) > SLACK) continue;
          lo = Math.min(lo, start);
          hi = Math.max(hi, start + access.size);
          stores ||= access.store;
        }
        lowest = Math.min(lowest, start);
      }
    }
    if (needBounds) add(facts, register, Bounds, lowest, lowest + SLACK);
    // The state of a page tells of the next one too.
    if (needPages) {
      add(facts, register, Loads, lo, lo + SLACK);
      if (stores) add(facts, register, Stores, lo, lo + SLACK);
    }
    return { bounds: needBounds ? lowest : undefined, pages: needPages ? { from: lo, to: hi, store: stores } : undefined, exact: false };
  }
}
