/**
 * Finds registers whose values are sign-extended 32-bit numbers where that is known when code is translated. They are kept in locals of 32 bits and extended
 * where all of them is needed, which is often never: the results of *w instructions, short loads, comparisons and constants.
 */
import type { Expr } from "../isa/ir.ts";
import { constant, isBoolean, registerOf, type Bindings } from "./fold.ts";
import type { Instructions } from "./instructions.ts";
import { End, target, type Block } from "./region.ts";

const ALL = -1;
/** What makes the result of an instruction narrow: nothing, or that neither, one or both of its operands are. */
const NEVER = 1;
const DEPENDS = 4;
const ON_RS1 = 1;
const ON_RS2 = 2;

/** True if an i64 expression is a sign-extended 32-bit number, where the registers of `mask` are. `lets`: what locals stand for; `load`: a local that is narrow. */
export function isNarrow(b: Bindings, e: Expr, mask: number, lets: readonly (Expr | undefined)[], load: number): boolean {
  const known = constant(b, e);
  if (known !== undefined) return BigInt.asIntN(32, known as bigint) === known;
  switch (e.k) {
    case "x":
      return ((mask >>> registerOf(b, e.field)) & 1) !== 0;
    case "local": {
      if (e.id === load) return true;
      const value = lets[e.id];
      return value !== undefined && isNarrow(b, value, mask, lets, load);
    }
    case "unary":
      return e.op === "i64.extend_i32_s" || /^i64\.extend(8|16|32)_s$/u.test(e.op) || (e.op === "i64.extend_i32_u" && isBoolean(b, e.a));
    case "binary":
      switch (e.op) {
        case "i64.and":
          if (isSmall(constant(b, e.a)) || isSmall(constant(b, e.b))) return true;
          return isNarrow(b, e.a, mask, lets, load) && isNarrow(b, e.b, mask, lets, load);
        case "i64.or":
        case "i64.xor":
          return isNarrow(b, e.a, mask, lets, load) && isNarrow(b, e.b, mask, lets, load);
        case "i64.add":
          // What is moved.
          if (constant(b, e.a) === 0n) return isNarrow(b, e.b, mask, lets, load);
          return constant(b, e.b) === 0n && isNarrow(b, e.a, mask, lets, load);
        case "i64.shr_s":
          return constant(b, e.b) !== undefined && isNarrow(b, e.a, mask, lets, load);
        case "i64.shr_u": {
          const count = constant(b, e.b);
          return count !== undefined && ((count as bigint) & 63n) >= 33n;
        }
      }
  }
  return false;
}
/** A constant that makes the result of an AND a positive 32-bit number. */
function isSmall(value: number | bigint | undefined): boolean {
  return typeof value === "bigint" && value >= 0n && value < 0x8000_0000n;
}

/** Fills in the narrow masks of blocks. */
export class NarrowPlan {
  readonly #code: Instructions;

  constructor(code: Instructions, order: readonly Block[]) {
    this.#code = code;
    for (const block of order) block.narrowIn = block.rpo === 0 ? 0 : ALL;
    for (let changed = true; changed;) {
      changed = false;
      for (const block of order) {
        const out = this.#through(block);
        for (const edge of block.edges) {
          const to = target(edge);
          if (to === undefined || (to.narrowIn & out) === to.narrowIn) continue;
          to.narrowIn &= out;
          changed = true;
        }
      }
    }
    for (const block of order) this.#through(block);
  }
  #isNarrow(index: number, mask: number): boolean {
    const shape = this.#code.shape(index);
    if (shape.result === undefined) return false;
    return isNarrow({ code: this.#code, index, bound: [] }, shape.result, mask, shape.lets, shape.narrowLoad);
  }
  /** The result of an instruction is narrow. */
  #defines(index: number, mask: number): boolean {
    const { clause, rs1, rs2, imm } = this.#code;
    if (rs1[index] === rs2[index] && rs1[index] !== 0) return this.#isNarrow(index, mask);
    const amount = imm[index]!;
    // All that matters beside the clause: which operands are constants, and what range they are in.
    const key =
      clause[index]! * 32 +
      (rs1[index] === 0 ? 1 : 0) +
      (rs2[index] === 0 ? 2 : 0) +
      (amount === 0 ? 4 : amount < 0 ? 8 : amount < 33 ? 12 : 16);
    const kind = (this.#code.narrowKinds[key] ??= this.#kind(index));
    if (kind < DEPENDS) return false;
    return ((kind & ON_RS1) === 0 || ((mask >>> rs1[index]!) & 1) !== 0) && ((kind & ON_RS2) === 0 || ((mask >>> rs2[index]!) & 1) !== 0);
  }
  #kind(index: number): number {
    if (!this.#isNarrow(index, ALL)) return NEVER;
    if (this.#isNarrow(index, 0)) return DEPENDS;
    const one = 1 << this.#code.rs1[index]!;
    const other = 1 << this.#code.rs2[index]!;
    return DEPENDS | (this.#isNarrow(index, ~one) ? 0 : ON_RS1) | (this.#isNarrow(index, ~other) ? 0 : ON_RS2);
  }
  /**
   * Narrow registers at the end of the block. In a block a register that is narrow does not become wide: where it would, it is wide all the time before, so that ways
   * out in the middle can share what they do.
   */
  #through(block: Block): number {
    const code = this.#code;
    const { ins } = block;
    const narrow = block.narrowDefs.length === ins.length ? block.narrowDefs : (block.narrowDefs = new Uint8Array(ins.length));
    // Positions up to which a register has to be wide.
    const lastWide = new Int16Array(32).fill(-1);
    let mask = 0;
    for (let changed = true; changed;) {
      changed = false;
      mask = block.narrowIn;
      for (let register = 0; register < 32; register++) if (lastWide[register]! >= 0) mask &= ~(1 << register);
      block.narrowStart = mask;
      for (let position = 0; position < ins.length; position++) {
        const index = ins[position]!;
        const bit = code.defX[index]!;
        if (bit === 0) continue;
        const register = 31 - Math.clz32(bit);
        const is = position > lastWide[register]! && this.#defines(index, mask);
        narrow[position] = is ? 1 : 0;
        mask = is ? mask | bit : mask & ~bit;
        if (is || position <= lastWide[register]!) continue;
        lastWide[register] = position;
        changed = true;
      }
    }
    if (block.hammock.length > 0) mask = this.#hammock(block, mask);
    if (block.executes) mask &= ~code.defX[block.last]!;
    return block.end === End.Call ? mask & ~block.touchesX : mask;
  }
  /** Results of instructions that are kept or not are narrow if both are. */
  #hammock(block: Block, before: number): number {
    const code = this.#code;
    let written = 0;
    for (const index of block.hammock) written |= code.defX[index]!;
    let both = written & before;
    for (let more = true; more;) {
      more = false;
      let mask = (before & ~written) | both;
      for (const index of block.hammock) {
        const bit = code.defX[index]!;
        if ((both & bit) === 0 || this.#defines(index, mask)) continue;
        both &= ~bit;
        mask &= ~bit;
        more = true;
      }
    }
    block.narrowHammock = both;
    return (before & ~written) | both;
  }
}
