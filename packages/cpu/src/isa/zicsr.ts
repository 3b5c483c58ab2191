/**
 * Zicsr (RISC-V unprivileged specification). Which registers exist is in csr.ts.
 * Exceptions: there too. A trapped access changes nothing, rd included.
 */
import type { Clause } from "./clause.ts";
import type { Expr, Semantics } from "./ir.ts";

type Change = (s: Semantics, old: Expr, operand: Expr) => Expr;

function access(name: string, funct3: string, immediate: boolean, always: boolean, change: Change): Clause {
  return {
    name,
    extension: "Zicsr",
    encoding: `uimm[11:0] rs1 ${funct3} rd 1110011`,
    syntax: immediate ? "rd, csr, zimm" : "rd, csr, rs1",
    semantics: (s) => {
      const csr = s.let(s.op("i32.wrap_i64", s.imm));
      const operand = s.let(immediate ? s.op("i64.extend_i32_u", s.field("rs1")) : s.x("rs1"));
      // Setting or clearing with x0 (or an immediate of 0) does not write, so it is allowed on read-only registers.
      const writes = always ? s.i32(1) : s.op("i32.ne", s.field("rs1"), s.i32(0));
      const old = s.call("csrRead", [csr, writes], "i64", { mayTrap: true });
      s.setX("rd", old);
      const write = (): void => s.run("csrWrite", [csr, change(s, old, operand), s.nextPc], { changesPc: true });
      if (always) write();
      else s.if(s.op("i32.ne", s.field("rs1"), s.i32(0)), write);
    },
  };
}

const write: Change = (_, __, operand) => operand;
const set: Change = (s, old, operand) => s.op("i64.or", old, operand);
const clear: Change = (s, old, operand) => s.op("i64.and", old, s.op("i64.xor", operand, s.i64(-1)));

export const zicsrClauses: readonly Clause[] = [
  access("csrrw", "001", false, true, write),
  access("csrrs", "010", false, false, set),
  access("csrrc", "011", false, false, clear),
  access("csrrwi", "101", true, true, write),
  access("csrrsi", "110", true, false, set),
  access("csrrci", "111", true, false, clear),
];
