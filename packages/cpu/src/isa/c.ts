import type { Clause } from "./clause.ts";

export const cClauses: readonly Clause[] = [];
