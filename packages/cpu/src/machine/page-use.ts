import { Prot } from "../abi.ts";

/** Bits of what trusted code knows of a page beside its protection ({@link Prot}). */
export const PageUse = {
  /** A program may use it; its protection may be none. */
  Mapped: 8,
  /** It may hold something other than zeros, and counts as memory. */
  Used: 16,
  /** It holds what `Turns` keep elsewhere too. Not together with `Used`: the first store makes it a used one. */
  Kept: 32,
} as const;

/** What a page with such bits lets a program do: store only to used ones, so that the first store is noticed. */
export const allowedBy = (state: number): number => state & ((state & PageUse.Used) === 0 ? Prot.Read | Prot.Execute : 7);
