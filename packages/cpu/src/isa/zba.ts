import type { Clause } from "./clause.ts";

export const zbaClauses: readonly Clause[] = [];
