import type { Clause } from "./clause.ts";

export const mClauses: readonly Clause[] = [];
