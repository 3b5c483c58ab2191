import type { Clause } from "./clause.ts";

export const aClauses: readonly Clause[] = [];
