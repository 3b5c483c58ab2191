import type { Clause } from "./clause.ts";

export const zifenceiClauses: readonly Clause[] = [];
