/**
 * What the WebAssembly forms of intrinsics are written with: a hart's state block as values. The TypeScript form of each
 * (isa/cheri-intrinsics.ts and those beside it) says what it means; a form does the frequent cases and leaves the others to it.
 */
import type { Type } from "../isa/ir.ts";
import { CAP_BYTES, Cap, CAPS, MachineField, Scr, SCR_BYTES, SCRS, State, stateType, X, type StateField } from "../machine/layout.ts";
import type { Label } from "../wasm/code.ts";
import { type Value, Writer } from "../wasm/function.ts";

/** Bits of `hi` that hold the otype: zero when unsealed (CHERI ISAv9; in-memory form, see capability/encoding.ts). */
export const OTYPE_MASK: bigint = 0x3ffffn << 27n;
/** The otype of a sentry there. */
export const SENTRY: bigint = 1n << 27n;
/** Bit of `hi` that is a permission of the low twelve, by its value in {@link Perm}. */
export const permBit = (perm: number): bigint => BigInt(perm) << 48n;
/** The tag in the last word of metadata, whose low half is bit 64 of top. */
export const LAST_TAG: bigint = 1n << BigInt(8 * (Cap.tag - Cap.topHi));

/** A capability in locals: everything that metadata has, and its address. `last` is topHi and the tag, see {@link LAST_TAG}. */
export interface Whole {
  readonly hi: Value;
  readonly base: Value;
  readonly top: Value;
  readonly last: Value;
  readonly address: Value;
}

/** Indices of the functions that forms share. */
export interface Helpers {
  /** decode(at, hi, address, tag): writes all metadata at `at`. */
  readonly decode: number;
  /** representable(hi, address, newAddress): the conservative test, 0 or 1. */
  readonly representable: number;
  /** encode(base, length): 27 bits of bounds; bit 31 is set when they are exact. */
  readonly encode: number;
  /** setRegister(hart, number, hi, address, tag): a register that is not c0, any bit pattern. */
  readonly setRegister: number;
  /** jump(hart, hi, base, top, last, address): sets PCC, tagged and unsealed, and goes there. */
  readonly jump: number;
  /** now(): performance.now(), an f64. */
  readonly now: number;
}

/** Signatures of {@link Helpers}. */
export const HELPER_TYPES: Readonly<
  Record<Exclude<keyof Helpers, "now">, { readonly params: readonly Type[]; readonly result: Type | "none" }>
> = {
  decode: { params: ["i32", "i64", "i64", "i32"], result: "none" },
  representable: { params: ["i64", "i64", "i64"], result: "i32" },
  encode: { params: ["i64", "i64"], result: "i32" },
  setRegister: { params: ["i32", "i32", "i64", "i64", "i32"], result: "none" },
  jump: { params: ["i32", "i64", "i64", "i64", "i64", "i64"], result: "none" },
};

export class Form extends Writer {
  readonly helpers: Helpers;
  readonly #slow: number;

  /** Offset of the state block. */
  readonly hart: Value;

  /** `slow`: index of the TypeScript form. The first parameter is the hart's state block, unless it is given. */
  constructor(params: readonly Type[], helpers: Helpers, slow: number, hart?: number) {
    super(params);
    this.helpers = helpers;
    this.#slow = slow;
    this.hart = hart === undefined ? this.params[0]! : this.i32(hart);
  }
  /** Calls the TypeScript form; its result is what the function returns. */
  slow(): void {
    this.run(this.#slow, this.params);
  }
  /** `body` jumps to its label where the TypeScript form must do it all; nothing may have been changed then. It leaves by return. */
  orSlow(body: (slow: Label) => void): void {
    this.block(body);
    this.slow();
  }

  // ---- the state block
  state(field: StateField): Value {
    return stateType(field) === "i64" ? this.load64(this.hart, State[field]) : this.load32(this.hart, State[field]);
  }
  setState(field: StateField, value: Value): void {
    if (stateType(field) !== value.type) throw new TypeError(`state field ${field} is not an ${value.type}`);
    this.store(this.hart, State[field], value);
  }
  #slot(register: Value): Value {
    return this.hart.add(register.shl(3));
  }
  /** Integer value of a register: the address of a capability. */
  x(register: Value): Value {
    return this.load64(this.#slot(register), X);
  }
  setX(register: Value, value: Value): void {
    this.store(this.#slot(register), X, value);
  }
  /** i32, not 0 when the register holds capability metadata. */
  hasMetadata(register: Value): Value {
    return this.state("capRegs").shr(register).and(1);
  }
  dropMetadata(register: Value): void {
    this.setState("capRegs", this.state("capRegs").and(this.i32(1).shl(register).not()));
  }
  keepMetadata(register: Value): void {
    this.setState("capRegs", this.state("capRegs").or(this.i32(1).shl(register)));
  }
  /** A variable: where a register's metadata stand. */
  metadataOf(register: Value): Value {
    return this.let(this.hart.add(register.mul(CAP_BYTES)).add(CAPS));
  }
  /** Where a special register's metadata stand. */
  scr(index: number): Value {
    return this.let(this.hart.add(SCRS + index * SCR_BYTES));
  }
  get pcc(): Value {
    return this.scr(Scr.Pcc);
  }
  get ddc(): Value {
    return this.scr(Scr.Ddc);
  }
  hi(at: Value): Value {
    return this.load64(at, Cap.hi);
  }
  base(at: Value): Value {
    return this.load64(at, Cap.base);
  }
  top(at: Value): Value {
    return this.load64(at, Cap.top);
  }
  topHi(at: Value): Value {
    return this.load32(at, Cap.topHi);
  }
  /** topHi and the tag in one. */
  last(at: Value): Value {
    return this.load64(at, Cap.topHi);
  }
  tag(at: Value): Value {
    return this.load32(at, Cap.tag, 1);
  }
  /** Everything of a capability whose metadata stand at `at`, in variables. */
  whole(at: Value, address: Value): Whole {
    return {
      hi: this.let(this.hi(at)),
      base: this.let(this.base(at)),
      top: this.let(this.top(at)),
      last: this.let(this.last(at)),
      address: this.let(address),
    };
  }
  /** i32: the address is in [base, top) of the metadata at `at`. */
  inside(at: Value, address: Value): Value {
    return address.ge(this.base(at)).and(address.lt(this.top(at)).or(this.topHi(at)));
  }
  /** The same of a capability in variables. */
  within({ base, top, last }: Whole, address: Value): Value {
    return address.ge(base).and(address.lt(top).or(last.wrap()));
  }
  /** Writes metadata; `hi` and `last` are variables, or cheap. */
  storeMetadata(at: Value, hi: Value, base: Value, top: Value, last: Value): void {
    this.store(at, Cap.hi, hi);
    this.store(at, Cap.base, base);
    this.store(at, Cap.top, top);
    this.store(at, Cap.topHi, last);
  }
  /** Writes a register, not c0. NULL with an address has no metadata. */
  setWhole(register: Value, { hi, base, top, last, address }: Whole): void {
    this.setX(register, address);
    this.if(
      hi.or(last.and(LAST_TAG)).eqz(),
      () => this.dropMetadata(register),
      () => {
        this.keepMetadata(register);
        this.storeMetadata(this.metadataOf(register), hi, base, top, last);
      },
    );
  }
  /** Writes a register, not c0, whose bounds are to be decoded. */
  setDecoded(register: Value, hi: Value, address: Value, tag: Value): void {
    this.run(this.helpers.setRegister, [this.hart, register, hi, address, tag]);
  }
  /** `last` with the tag kept only if the i32 condition (0 or 1) holds. */
  lastIf(last: Value, condition: Value): Value {
    return last.and(condition.extend().shl(32).or(0xffff_ffffn));
  }
  /** A number that is the same for all harts of a machine. */
  machine(field: keyof typeof MachineField): Value {
    return this.load64(this.i32(0), MachineField[field]);
  }
}

/** The WebAssembly form of an intrinsic. */
export interface FastForm {
  /** Writes the function; its parameters are the hart's state block and those of the intrinsic. */
  readonly emit: (form: Form) => void;
  /** It is right on machines with relocation only. */
  readonly relocation?: true;
  /** It is right on machines without the option `privileged` only. */
  readonly unprivileged?: true;
  /** It is right on machines with tag clearing only. */
  readonly tagClearing?: true;
}
