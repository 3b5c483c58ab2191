/**
 * RV64A: atomics (RISC-V unprivileged specification, chapter "A"). One hart runs at a time, so that a load and a store are atomic;
 * aq and rl have nothing to order.
 * Exceptions in order: those of the capability (load permission, then store permission), length, alignment, page. Of an AMO with store causes.
 * A store-conditional without a reservation has all of them but the page's.
 */
import { CapReg } from "../abi.ts";
import type { Clause } from "./clause.ts";
import type { BinaryOp, Expr, Semantics } from "./ir.ts";

type Width = { readonly suffix: "w" | "d"; readonly funct3: string; readonly size: 4 | 8 };
const WIDTHS: readonly Width[] = [
  { suffix: "w", funct3: "010", size: 4 },
  { suffix: "d", funct3: "011", size: 8 },
];

function atomic(name: string, funct5: string, width: Width, operands: string, syntax: string, semantics: (s: Semantics) => void): Clause {
  return {
    name: `${name}.${width.suffix}`,
    extension: "A",
    encoding: `${funct5} aq rl ${operands} ${width.funct3} rd 0101111`,
    syntax,
    semantics,
  };
}

/** Memory becomes what `op` makes of its old value (sign-extended) and of rs2; rd gets the old value. Both operands are locals. */
function amo(name: string, funct5: string, op: (s: Semantics, old: Expr, operand: Expr) => Expr): Clause[] {
  return WIDTHS.map((width) =>
    atomic(name, funct5, width, "rs2 rs1", "rd, rs2, (rs1)", (s) => {
      const address = s.let(s.x("rs1"));
      const operand = s.let(width.size === 4 ? s.sext32(s.x("rs2")) : s.x("rs2"));
      const old = s.load(width.size, true, address, { aligned: true, forStore: true });
      s.store(width.size, address, op(s, old, operand), { aligned: true });
      s.setX("rd", old);
    }),
  );
}

const plain =
  (op: BinaryOp) =>
  (s: Semantics, old: Expr, operand: Expr): Expr =>
    s.op(op, old, operand);
/** Sign extension keeps the order of unsigned words too. */
const choose =
  (op: BinaryOp) =>
  (s: Semantics, old: Expr, operand: Expr): Expr =>
    s.select(s.op(op, old, operand), old, operand);

/** Reservations are kept by absolute address, so that those made through a capability are the same ones. -1: none. */
const absolute = (s: Semantics, address: Expr): Expr => s.op("i64.add", s.state("ddcAddress", "i64"), address);

const loadReserved = (width: Width): Clause =>
  atomic("lr", "00010", width, "00000 rs1", "rd, (rs1)", (s) => {
    const address = s.let(s.x("rs1"));
    const value = s.load(width.size, true, address, { aligned: true });
    s.setState("reservation", absolute(s, address));
    s.setX("rd", value);
  });

const storeConditional = (width: Width): Clause =>
  atomic("sc", "00011", width, "rs2 rs1", "rd, rs2, (rs1)", (s) => {
    const address = s.let(s.x("rs1"));
    const reserved = s.let(s.op("i64.eq", s.state("reservation", "i64"), absolute(s, address)));
    s.if(
      reserved,
      () => s.store(width.size, address, s.x("rs2"), { aligned: true }),
      // It finds no reservation either, and does the checks.
      () => void s.call("cstorecond", [s.i32(CapReg.Ddc), address, s.i32(width.size), s.i64(0)], "i64", { mayTrap: true }),
    );
    s.setState("reservation", s.i64(-1));
    s.setX("rd", s.bool(s.op("i32.eqz", reserved)));
  });

export const aClauses: readonly Clause[] = [
  ...WIDTHS.map(loadReserved),
  ...WIDTHS.map(storeConditional),
  ...amo("amoswap", "00001", (_, __, operand) => operand),
  ...amo("amoadd", "00000", plain("i64.add")),
  ...amo("amoxor", "00100", plain("i64.xor")),
  ...amo("amoand", "01100", plain("i64.and")),
  ...amo("amoor", "01000", plain("i64.or")),
  ...amo("amomin", "10000", choose("i64.lt_s")),
  ...amo("amomax", "10100", choose("i64.gt_s")),
  ...amo("amominu", "11000", choose("i64.lt_u")),
  ...amo("amomaxu", "11100", choose("i64.gt_u")),
];
