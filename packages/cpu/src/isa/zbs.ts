import type { Clause } from "./clause.ts";

export const zbsClauses: readonly Clause[] = [];
