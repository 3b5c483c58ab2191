/** Accesses to memory: where they are, and the tests that they pass. */
import { PAGE_SIZE } from "../abi.ts";
import type { Expr } from "../isa/ir.ts";
import { Fast, GUEST, Own, OWN_STORE_SLOW, PAGE_FAST, PAGE_OWN, TAGS, TRANSLATION } from "../machine/layout.ts";
import type { Code } from "../wasm/code.ts";
import type { Check } from "./checks.ts";
import type { Surroundings } from "./emit-instruction.ts";
import type { Instructions } from "./instructions.ts";
import type { Shape } from "./shapes.ts";

const GRANULE_SHIFT = 4;

/** What accesses need of the instruction that they belong to. */
export interface AccessOwner {
  /** Of the instruction that is emitted now. */
  readonly index: number;
  /** Push a register, all of it or its low half. */
  pushX(register: number): void;
  pushLow(register: number): void;
  expr(e: Expr): void;
  /** Leaves to the interpreter at this instruction if the condition's value is not 0. */
  leaveIf(condition: () => void): void;
}

export class AccessEmitter {
  readonly #c: Code;
  readonly #code: Instructions;
  readonly #s: Surroundings;
  readonly #i: AccessOwner;
  /** Locals for the time of one instruction: an absolute address, and an offset. */
  readonly at: number;
  readonly #wide: number;
  /** Locals that hold the absolute address of offset 0, and the limit of offsets; -1 if they are not needed or known. */
  readonly #base: number;
  readonly #limit: number;

  /** `accesses`: there are some. `wide`: a local (i64) that it may use within an instruction. */
  constructor(c: Code, code: Instructions, surroundings: Surroundings, owner: AccessOwner, wide: number, accesses: boolean) {
    this.#c = c;
    this.#code = code;
    this.#s = surroundings;
    this.#i = owner;
    const anywhere = accesses && surroundings.place === undefined;
    this.#base = anywhere ? c.local("i32") : -1;
    this.#limit = anywhere ? c.local("i64") : -1;
    this.at = c.local("i32");
    this.#wide = wide;
  }

  /** What stays the same while the function runs. */
  start(): void {
    if (this.#base < 0) return;
    const c = this.#c;
    c.i32(0);
    c.memory("i32.load", TRANSLATION.dataBase);
    c.set(this.#base);
    c.i32(0);
    c.memory("i64.load", TRANSLATION.dataLimit);
    c.set(this.#limit);
  }
  #rs1(): number {
    return this.#code.rs1[this.#i.index]!;
  }
  offset(shape: Shape | undefined): number {
    const access = shape?.access;
    if (access === undefined) return GUEST;
    const imm = access.imm ? this.#code.imm[this.#i.index]! : 0;
    const { place } = this.#s;
    if (place !== undefined) return GUEST + place.dataBase + imm;
    return imm >= 0 ? GUEST + imm : GUEST;
  }
  /** Pushes what {@link offset} is added to: rs1, which is known to be inside DDC, as an absolute address, with a negative immediate. */
  address(imm: boolean): void {
    const c = this.#c;
    this.#i.pushLow(this.#rs1());
    if (this.#s.place !== undefined) return;
    const offset = imm ? this.#code.imm[this.#i.index]! : 0;
    if (offset < 0) {
      c.i32(offset);
      c.op("i32.add");
    }
    this.#addBase();
  }
  /** Makes the offset on the stack an absolute address. */
  #addBase(): void {
    const { place } = this.#s;
    if (place === undefined) this.#c.get(this.#base);
    else this.#c.i32(place.dataBase | 0);
    this.#c.op("i32.add");
  }
  #pushLimit(): void {
    const { place } = this.#s;
    if (place === undefined) this.#c.get(this.#limit);
    else this.#c.i64(place.dataLimit);
  }
  /** Where loads do not look at pages, the first one must be outside of what is compared: it is never mapped. */
  get #bias(): number {
    return this.#s.checks.loads ? 0 : PAGE_SIZE;
  }
  /** Pushes the sum of a register and a constant. */
  #sum(register: number, amount: number): void {
    const c = this.#c;
    this.#i.pushX(register);
    if (amount === 0) return;
    c.i64(amount);
    c.op("i64.add");
  }
  check({ bounds, pages, exact }: Check): void {
    const c = this.#c;
    const register = this.#rs1();
    const testBounds = bounds !== undefined && this.#s.checks.bounds;
    const testPages = pages !== undefined && this.#s.checks.pages;
    if (testBounds) {
      this.#i.leaveIf(() => {
        this.#sum(register, bounds - this.#bias);
        this.#pushLimit();
        c.op("i64.ge_u");
      });
    }
    if (testPages && exact) this.#exactPage(register, pages.from, pages.to - pages.from, pages.store);
    else if (testPages) {
      this.#i.leaveIf(() => {
        this.#i.pushLow(register);
        if (this.#base >= 0) this.#addBase();
        if (pages.from !== 0) {
          c.i32(pages.from);
          c.op("i32.add");
        }
        this.#pageState(pages.store, (this.#s.place?.dataBase ?? 0) / PAGE_SIZE);
      });
    }
  }
  /** The access of `length` bytes at a register + `from`, of at most 8. What its page's neighbour is like matters only if it gets there. */
  #exactPage(register: number, from: number, length: number, store: boolean): void {
    const c = this.#c;
    this.#i.pushLow(register);
    this.#addBase();
    c.i32(from);
    c.op("i32.add");
    c.set(this.at);
    this.#exactState(length, store);
  }
  /** The same for an access at #at. */
  #exactState(length: number, store: boolean): void {
    const c = this.#c;
    c.get(this.at);
    this.#pageState(store);
    c.if();
    this.#i.leaveIf(() => {
      c.get(this.at);
      c.i32(PAGE_SIZE - 1);
      c.op("i32.and");
      c.i32(PAGE_SIZE - length);
      c.op("i32.gt_u");
      c.get(this.at);
      c.i32(12);
      c.op("i32.shr_u");
      c.memory("i32.load8_u", PAGE_OWN);
      c.i32((store ? OWN_STORE_SLOW & ~Own.Tags : 0) | (this.#s.checks.loads ? Own.NoRead : 0));
      c.op("i32.and");
      c.op("i32.or");
    });
    if (store) {
      for (const last of length > 1 ? [0, length - 1] : [0]) {
        c.get(this.at);
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
  /** Pushes what is not 0 if the page of the address on the stack, or the next one, does not allow the access. Pages count from `firstPage`. */
  #pageState(store: boolean, firstPage = 0): void {
    const c = this.#c;
    c.i32(12);
    c.op("i32.shr_u");
    c.memory("i64.load8_u", PAGE_FAST + firstPage);
    const bits = (store ? Fast.StoreSlow : 0) | (this.#s.checks.loads ? Fast.LoadSlow : 0);
    c.i64(bits);
    c.op("i64.and");
    c.op("i64.eqz");
    c.op("i32.eqz");
  }
  /** Pushes the absolute address of an access that is checked by itself. */
  checkedAlone(address: Expr, size: number, aligned: boolean, store: boolean): void {
    const c = this.#c;
    this.#i.expr(address);
    c.set(this.#wide);
    this.#i.leaveIf(() => {
      c.get(this.#wide);
      if (this.#bias !== 0) {
        c.i64(-this.#bias);
        c.op("i64.add");
      }
      this.#pushLimit();
      c.op("i64.ge_u");
    });
    c.get(this.#wide);
    c.op("i32.wrap_i64");
    this.#addBase();
    c.set(this.at);
    if (aligned && size > 1) {
      this.#i.leaveIf(() => {
        c.get(this.at);
        c.i32(size - 1);
        c.op("i32.and");
      });
    }
    if (this.#s.checks.exact.has(this.#code.pc[this.#i.index]!)) this.#exactState(size, store);
    else if (store || this.#s.checks.loads) {
      this.#i.leaveIf(() => {
        c.get(this.at);
        this.#pageState(store);
      });
    }
    c.get(this.at);
  }
}
