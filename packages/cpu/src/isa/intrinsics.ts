import type { Type } from "./ir.ts";

/** What an intrinsic written in TypeScript may touch. */
export interface IntrinsicContext {
  /** The whole linear memory: state blocks, guest memory, tags. */
  readonly view: DataView;
  /**
   * Raises a synchronous exception for the hart whose state block is at `hart`: recorded there, taken when the intrinsic
   * returns (its result is ignored). Call it at most once and return right after.
   */
  trap(hart: number, cause: number, value: number): void;
}

/** An operation too large to be spelled in IR. i64 values are signed BigInts, i32 are numbers. */
export interface Intrinsic {
  readonly params: readonly Type[];
  readonly result: Type | "none";
  readonly make: (context: IntrinsicContext) => (hart: number, ...args: never[]) => bigint | number | void;
}
export type IntrinsicTable = Readonly<Record<string, Intrinsic>>;
