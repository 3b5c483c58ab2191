import type { Raw } from "../capability/raw.ts";
import type { FastForm } from "../support/form.ts";
import type { Type } from "./ir.ts";

/**
 * Guest memory for intrinsics, by absolute address. Nothing here looks at capabilities: their checks come first, and are
 * the intrinsic's. `address` may be any unsigned 64-bit number in the tests; the accesses need one that passed them.
 */
export interface MemoryAccess {
  /** Every page of the range is inside memory and readable; otherwise the access is a page fault. */
  readable(address: bigint, size: number): boolean;
  /** Every page of the range is inside memory and writable. */
  writable(address: bigint, size: number): boolean;
  /** Little endian, unsigned; size 1, 2, 4 or 8. */
  load(address: bigint, size: number): bigint;
  /** The low bytes of `value`; clears the tags of all granules it touches and drops code predecoded from there. */
  store(address: bigint, size: number, value: bigint): void;
  /** 16 bytes and their tag, as a register holds them. `address` is a multiple of 16. */
  loadCapability(address: bigint): Raw;
  storeCapability(address: bigint, cap: Raw): void;
  /** Tag of the granule at `address`. */
  tag(address: bigint): boolean;
}

/** What an intrinsic written in TypeScript may touch. */
export interface IntrinsicContext {
  /** The whole linear memory: state blocks, guest memory, tags. See machine/layout.ts. */
  readonly view: DataView;
  readonly memory: MemoryAccess;
  /** DDC/PCC relocation is on. */
  readonly relocation: boolean;
  /** Capability arithmetic clears tags instead of trapping. */
  readonly tagClearing: boolean;
  /** The machine has machine and supervisor mode. */
  readonly privileged: boolean;
  /** Number of the hart that runs. */
  hartId(): number;
  /**
   * True when an interrupt of the hart that runs is to be taken before its next instruction. The run comes back there, if the intrinsic calls
   * {@link jumpTo} too.
   */
  interrupted(hart: number): boolean;
  /**
   * Raises a synchronous exception for the hart whose state block is at `hart`: recorded there, taken when the intrinsic
   * returns (its result is ignored). Call it at most once and return right after. `address`: what the access was to, where `value` is not that.
   */
  trap(hart: number, cause: number, value: number | bigint, address?: bigint): void;
  /** Sets DDC and what is derived from it. The clause's call needs `changesPc`. */
  setDdc(hart: number, cap: Raw): void;
  /**
   * Sets PCC and goes on at its address (an absolute address) when the intrinsic returns. All checks of the jump are the
   * caller's. The clause's call needs `changesPc`.
   */
  jumpTo(hart: number, pcc: Raw): void;
}

/** An operation too large to be spelled in IR. i64 values are signed BigInts, i32 are numbers. */
export interface Intrinsic {
  readonly params: readonly Type[];
  readonly result: Type | "none";
  /** Says what it means: every machine can use it. */
  readonly make: (context: IntrinsicContext) => (hart: number, ...args: never[]) => bigint | number | void;
  /** The same in WebAssembly, see support/: for what hot code does. It calls the function that `make` gives for the rest. */
  readonly fast?: FastForm;
}
export type IntrinsicTable = Readonly<Record<string, Intrinsic>>;
