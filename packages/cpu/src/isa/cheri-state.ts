/** A hart's capabilities as intrinsics see them, on its state block. */
import type { Raw } from "../capability/raw.ts";
import { MASK64 } from "../capability/encoding.ts";
import { CapReg } from "../abi.ts";
import { F, readRegister, readScr, Scr, State, writeRegister, writeScr } from "../machine/layout.ts";
import type { IntrinsicContext } from "./intrinsics.ts";

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
  /** A special register that is neither PCC nor DDC. */
  special(hart: number, index: number): Raw {
    return readScr(this.#context.view, hart, index);
  }
  setSpecial(hart: number, index: number, cap: Raw): void {
    writeScr(this.#context.view, hart, index, cap);
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
