/** A hart's capabilities as intrinsics see them, on its state block. */
import type { Raw } from "../capability/raw.ts";
import { rawSetAddress, rawSetOffset } from "../capability/raw.ts";
import { decodeBounds, MASK64 } from "../capability/encoding.ts";
import { CapReg } from "../abi.ts";
import { F, readRegister, readScr, Scr, State, writeRegister, writeScr } from "../machine/layout.ts";
import type { IntrinsicContext } from "./intrinsics.ts";

/** UTCC, STCC and MTCC. */
function isTrapVector(index: number): boolean {
  return index === 4 || index === 12 || index === 28;
}
/** UEPCC, SEPCC and MEPCC. */
function isExceptionPc(index: number): boolean {
  return index === 7 || index === 15 || index === 31;
}

/** What the intrinsics of Xcheri share. `hart` is always the offset of a state block. */
export class CheriState {
  readonly #context: IntrinsicContext;
  constructor(context: IntrinsicContext) {
    this.#context = context;
  }
  get relocation(): boolean {
    return this.#context.relocation;
  }
  get tagClearing(): boolean {
    return this.#context.tagClearing;
  }
  /** c0 … c31; c0 is NULL. */
  register(hart: number, index: number): Raw {
    return readRegister(this.#context.view, hart, index);
  }
  /** A write to c0 does nothing. */
  setRegister(hart: number, index: number, cap: Raw): void {
    writeRegister(this.#context.view, hart, index, cap);
  }
  setFloat(hart: number, index: number, bits: bigint): void {
    this.#context.view.setBigUint64(hart + F + 8 * index, bits, true);
  }
  ddc(hart: number): Raw {
    return readScr(this.#context.view, hart, Scr.Ddc);
  }
  setDdc(hart: number, cap: Raw): void {
    this.#context.setDdc(hart, cap);
  }
  /** PCC with its address at an architectural pc. */
  pcc(hart: number, pc: bigint): Raw {
    const { view } = this.#context;
    const { tag, hi } = readScr(view, hart, Scr.Pcc);
    return { tag, hi, address: (view.getBigInt64(hart + State.pcBase, true) + pc) & MASK64 };
  }
  /** Goes on at the absolute `address` under another PCC. */
  jumpTo(hart: number, pcc: Raw, address: bigint): void {
    this.#context.jumpTo(hart, { tag: pcc.tag, hi: pcc.hi, address });
  }
  /** A special register that is neither PCC nor DDC. What is read of an exception's pc has an even offset. */
  special(hart: number, index: number): Raw {
    const cap = readScr(this.#context.view, hart, index);
    return isExceptionPc(index) ? this.#withLowBits(cap, 1n, 0n) : cap;
  }
  /**
   * A trap vector's offset has its mode in bits 1:0, of which only 0 and 1 exist: others leave the mode as it was. Under
   * relocation its base must be aligned to 4, otherwise nothing is written.
   */
  setSpecial(hart: number, index: number, cap: Raw): void {
    const { view } = this.#context;
    if (!isTrapVector(index)) return writeScr(view, hart, index, cap);
    const old = readScr(view, hart, index);
    if (this.relocation && (decodeBounds(cap.hi, cap.address).base & 3n) !== 0n) return;
    writeScr(view, hart, index, (cap.address & 2n) === 0n ? cap : this.#withLowBits(cap, 3n, old.address & 3n));
  }
  /** Replaces low bits of the offset (with relocation) or of the address; clears the tag where that is not representable or `cap` is sealed. */
  #withLowBits(cap: Raw, mask: bigint, low: bigint): Raw {
    const from = this.relocation ? decodeBounds(cap.hi, cap.address).base : 0n;
    const offset = (cap.address - from) & MASK64;
    const legal = (offset & ~mask) | low;
    if (legal === offset) return cap;
    return this.relocation ? rawSetOffset(cap, legal) : rawSetAddress(cap, legal);
  }
  /** What authorises an access: DDC, or a general register. */
  authority(hart: number, index: number): Raw {
    return index === CapReg.Ddc ? this.ddc(hart) : this.register(hart, index);
  }
  /** Absolute address of an access: the authority's address + `offset`; for DDC without relocation `offset` alone. */
  address(hart: number, index: number, authority: Raw, offset: bigint): bigint {
    const { view } = this.#context;
    const from = index === CapReg.Ddc ? view.getBigInt64(hart + State.ddcAddress, true) : authority.address;
    return (from + offset) & MASK64;
  }
  reservation(hart: number): bigint {
    return this.#context.view.getBigInt64(hart + State.reservation, true);
  }
  /** -1 for none. */
  setReservation(hart: number, address: bigint): void {
    this.#context.view.setBigInt64(hart + State.reservation, address, true);
  }
}
