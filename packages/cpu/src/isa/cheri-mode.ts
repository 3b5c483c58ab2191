/**
 * What capability mode (PCC.flag = 1) decodes differently: every implicit load and store goes through cs1 instead of DDC, jumps link
 * and take capabilities, and the 16-bit forms follow. Hybrid programs never run these.
 *
 * Exceptions of accesses are those in cheri-memory.ts, those of jumps stand in cheri.ts at `jalr.cap`.
 */
import type { Clause } from "./clause.ts";
import type { AccessSize, BinaryOp, Expr, Semantics } from "./ir.ts";
import type { Authority } from "./cheri-memory.ts";
import {
  Access,
  atomics,
  loadCapability,
  loadReserved,
  loadVia,
  storeCapability,
  storeConditional,
  storeVia,
  throughCs1Imm,
} from "./cheri-memory.ts";

/** cs1 without an offset: atomics. */
const throughCs1: Authority = { register: (s) => s.field("rs1"), offset: (s) => s.i64(0) };

/** In capability mode the assembler also takes the names that integer mode has: `lw a0, 0(ca1)` for `clw`, `c.lwsp` for `c.clwcsp`. */
const integerName = (name: string): string => name.replace(/^(c\.)?c/u, "$1").replace(/csp$/u, "sp");

function clause(name: string, encoding: string, syntax: string, semantics: (s: Semantics) => void): Clause {
  return { name, extension: "Xcheri", aliases: [integerName(name)], encoding, syntax, mode: "cap", semantics };
}
function short(
  name: string,
  encoding: string,
  syntax: string,
  to: string,
  operands: NonNullable<Clause["expands"]>["operands"],
  alias: string = integerName(name),
): Clause {
  return { name, extension: "Xcheri", aliases: [alias], encoding, syntax, mode: "cap", expands: { to, operands } };
}

const loads: readonly Clause[] = (
  [
    ["clb", "000", 1, true],
    ["clh", "001", 2, true],
    ["clw", "010", 4, true],
    ["cld", "011", 8, true],
    ["clbu", "100", 1, false],
    ["clhu", "101", 2, false],
    ["clwu", "110", 4, false],
  ] as const
).map(([name, funct3, size, signed]) =>
  clause(name, `imm[11:0] rs1 ${funct3} rd 0000011`, "rd, imm(cs1)", (s) =>
    s.setX("rd", loadVia(s, throughCs1Imm, size, signed ? Access.Signed : 0)),
  ),
);

const stores: readonly Clause[] = (
  [
    ["csb", "000", 1],
    ["csh", "001", 2],
    ["csw", "010", 4],
    ["csd", "011", 8],
  ] as const
).map(([name, funct3, size]) =>
  clause(name, `imm[11:5] rs2 rs1 ${funct3} imm[4:0] 0100011`, "rs2, imm(cs1)", (s) => storeVia(s, throughCs1Imm, size, s.x("rs2"))),
);

const NAN_BOX = -0x1_0000_0000n;
const floats: readonly Clause[] = [
  clause("cflw", "imm[11:0] rs1 010 rd 0000111", "fd, imm(cs1)", (s) =>
    s.setF("rd", s.op("i64.or", loadVia(s, throughCs1Imm, 4), s.i64(NAN_BOX))),
  ),
  clause("cfld", "imm[11:0] rs1 011 rd 0000111", "fd, imm(cs1)", (s) => s.setF("rd", loadVia(s, throughCs1Imm, 8))),
  clause("cfsw", "imm[11:5] rs2 rs1 010 imm[4:0] 0100111", "fs2, imm(cs1)", (s) => storeVia(s, throughCs1Imm, 4, s.f("rs2"))),
  clause("cfsd", "imm[11:5] rs2 rs1 011 imm[4:0] 0100111", "fs2, imm(cs1)", (s) => storeVia(s, throughCs1Imm, 8, s.f("rs2"))),
];

/** Operand order: the value in memory, rs2; both already cut to the width and extended as the operation wants. */
const AMOS: readonly (readonly [name: string, funct5: string, op: BinaryOp | "swap" | "choose", comparison?: BinaryOp])[] = [
  ["swap", "00001", "swap"],
  ["add", "00000", "i64.add"],
  ["xor", "00100", "i64.xor"],
  ["and", "01100", "i64.and"],
  ["or", "01000", "i64.or"],
  ["min", "10000", "choose", "i64.lt_s"],
  ["max", "10100", "choose", "i64.gt_s"],
  ["minu", "11000", "choose", "i64.lt_u"],
  ["maxu", "11100", "choose", "i64.gt_u"],
];

function amo(s: Semantics, size: AccessSize, op: BinaryOp | "swap" | "choose", comparison?: BinaryOp): void {
  const old = loadVia(s, throughCs1, size, Access.Signed | Access.Aligned | Access.ForStore);
  // Sign-extending both keeps the order of 32-bit numbers, signed and unsigned.
  const operand = s.let(size === 4 ? s.sext32(s.x("rs2")) : s.x("rs2"));
  const result: Expr =
    op === "swap" ? operand : op === "choose" ? s.select(s.op(comparison!, old, operand), old, operand) : s.op(op, old, operand);
  // The load has found out whether it is aligned.
  storeVia(s, throughCs1, size, result);
  s.setX("rd", old);
}

const WIDTHS: readonly (readonly [suffix: string, funct3: string, size: AccessSize])[] = [
  ["w", "010", 4],
  ["d", "011", 8],
];
const memory: readonly Clause[] = [
  ...WIDTHS.flatMap(([suffix, funct3, size]) => [
    clause(`clr.${suffix}`, `00010 aq rl 00000 rs1 ${funct3} rd 0101111`, "rd, (cs1)", (s) => loadReserved(s, throughCs1, size)),
    clause(`csc.${suffix}`, `00011 aq rl rs2 rs1 ${funct3} rd 0101111`, "rd, rs2, (cs1)", (s) =>
      storeConditional(s, throughCs1, size, "rd"),
    ),
    ...AMOS.map(([name, funct5, op, comparison]) =>
      clause(`camo${name}.${suffix}`, `${funct5} aq rl rs2 rs1 ${funct3} rd 0101111`, "rd, rs2, (cs1)", (s) =>
        amo(s, size, op, comparison),
      ),
    ),
  ]),
  ...atomics("cap", throughCs1, "(cs1)", ["clr.b", "csc.b", "clr.h", "csc.h", "clr.c", "csc.c", "camoswap.c"]),
  clause("clc", "imm[11:0] rs1 010 rd 0001111", "cd, imm(cs1)", (s) => loadCapability(s, throughCs1Imm)),
  clause("csc", "imm[11:5] rs2 rs1 100 imm[4:0] 0100011", "cs2, imm(cs1)", (s) => storeCapability(s, throughCs1Imm)),
];

const control: readonly Clause[] = [
  { ...clause("auipcc", "imm[31:12] rd 0010111", "cd, upper", (s) => s.run("auipcc", [s.field("rd"), s.imm, s.pc])), aliases: ["auipc"] },
  clause("cjal", "imm[20|10:1|11|19:12] rd 1101111", "cd, target", (s) =>
    s.run("cjal", [s.field("rd"), s.imm, s.pc, s.nextPc], { mayTrap: true, changesPc: true }),
  ),
  // As jalr.cap; a sentry with an immediate that is not 0 is a seal violation.
  clause("cjalr", "imm[11:0] rs1 000 rd 1100111", "cd, imm(cs1)", (s) =>
    s.run("cjalr", [s.field("rd"), s.field("rs1"), s.imm, s.nextPc], { mayTrap: true, changesPc: true }),
  ),
];

const compressed: readonly Clause[] = [
  short("c.clc", "001 uimm[5:4|8] rs1' uimm[7:6] rd' 00", "cd, imm(cs1)", "clc", { rd: "rd", rs1: "rs1", imm: "imm" }),
  short("c.csc", "101 uimm[5:4|8] rs1' uimm[7:6] rs2' 00", "cs2, imm(cs1)", "csc", { rs2: "rs2", rs1: "rs1", imm: "imm" }),
  short("c.clccsp", "001 uimm[5] rd!=0 uimm[4|9:6] 10", "cd, imm(csp)", "clc", { rd: "rd", rs1: 2, imm: "imm" }),
  short("c.csccsp", "101 uimm[5:4|9:6] rs2 10", "cs2, imm(csp)", "csc", { rs2: "rs2", rs1: 2, imm: "imm" }),
  short("c.clw", "010 uimm[5:3] rs1' uimm[2|6] rd' 00", "rd, imm(cs1)", "clw", { rd: "rd", rs1: "rs1", imm: "imm" }),
  short("c.cld", "011 uimm[5:3] rs1' uimm[7:6] rd' 00", "rd, imm(cs1)", "cld", { rd: "rd", rs1: "rs1", imm: "imm" }),
  short("c.csw", "110 uimm[5:3] rs1' uimm[2|6] rs2' 00", "rs2, imm(cs1)", "csw", { rs2: "rs2", rs1: "rs1", imm: "imm" }),
  short("c.csd", "111 uimm[5:3] rs1' uimm[7:6] rs2' 00", "rs2, imm(cs1)", "csd", { rs2: "rs2", rs1: "rs1", imm: "imm" }),
  short("c.clwcsp", "010 uimm[5] rd!=0 uimm[4:2|7:6] 10", "rd, imm(csp)", "clw", { rd: "rd", rs1: 2, imm: "imm" }),
  short("c.cldcsp", "011 uimm[5] rd!=0 uimm[4:3|8:6] 10", "rd, imm(csp)", "cld", { rd: "rd", rs1: 2, imm: "imm" }),
  short("c.cswcsp", "110 uimm[5:2|7:6] rs2 10", "rs2, imm(csp)", "csw", { rs2: "rs2", rs1: 2, imm: "imm" }),
  short("c.csdcsp", "111 uimm[5:3|8:6] rs2 10", "rs2, imm(csp)", "csd", { rs2: "rs2", rs1: 2, imm: "imm" }),
  short(
    "c.cincoffset16csp",
    "011 nzimm[9] 00010 nzimm[4|6|8:7|5] 01",
    "csp, imm",
    "cincoffsetimm",
    { rd: 2, rs1: 2, imm: "imm" },
    "c.cincoffsetimm16csp",
  ),
  short(
    "c.cincoffset4cspn",
    "000 nzuimm[5:4|9:6|2|3] rd' 00",
    "cd, csp, imm",
    "cincoffsetimm",
    { rd: "rd", rs1: 2, imm: "imm" },
    "c.cincoffsetimm4cspn",
  ),
  short("c.cjr", "1000 rs1!=0 00000 10", "cs1", "cjalr", { rd: 0, rs1: "rs1", imm: 0 }),
  short("c.cjalr", "1001 rs1!=0 00000 10", "cs1", "cjalr", { rd: 1, rs1: "rs1", imm: 0 }),
];

export const cheriModeClauses: readonly Clause[] = [...loads, ...stores, ...floats, ...memory, ...control, ...compressed];
