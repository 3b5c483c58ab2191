/** Zifencei (RISC-V unprivileged specification). No exceptions. rd, rs1 and imm are reserved and ignored, as specified. */
import type { Clause } from "./clause.ts";

export const zifenceiClauses: readonly Clause[] = [
  { name: "fence.i", extension: "Zifencei", encoding: "imm[11:0] rs1 001 rd 0001111", syntax: "", semantics: (s) => s.fenceI() },
];
