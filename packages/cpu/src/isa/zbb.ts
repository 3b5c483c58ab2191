import type { Clause } from "./clause.ts";

export const zbbClauses: readonly Clause[] = [];
