import type { Clause } from "./clause.ts";

export const zicsrClauses: readonly Clause[] = [];
