/**
 * Loads and stores of Xcheri: explicit ones through DDC (`.ddc`) or a capability register (`.cap`), and of whole capabilities.
 *
 * Exceptions of every access, in order: tag, seal, load permission, store permission, [store-capability, store-local], length, all of
 * them in the authorising capability; alignment (16 bytes for capabilities, natural for reservations); page.
 */
import { CapReg } from "../abi.ts";
import type { Clause } from "./clause.ts";
import type { AccessSize, Expr, Semantics } from "./ir.ts";

/** Options of the intrinsic `cload`; the loads without options are `cload1` … `cload8`. */
export const Access = { Signed: 1, Aligned: 2, ForStore: 4 } as const;

/** What authorises an access, and the offset from its address: from DDC's (with relocation) or from that of cs1. */
export interface Authority {
  readonly register: (s: Semantics) => Expr;
  readonly offset: (s: Semantics) => Expr;
}
const throughDdc: Authority = { register: (s) => s.i32(CapReg.Ddc), offset: (s) => s.x("rs1") };
const throughCs1: Authority = { register: (s) => s.field("rs1"), offset: (s) => s.i64(0) };
const throughDdcImm: Authority = { register: (s) => s.i32(CapReg.Ddc), offset: (s) => s.op("i64.add", s.x("rs1"), s.imm) };
/** cs1 + immediate: capability mode. */
export const throughCs1Imm: Authority = { register: (s) => s.field("rs1"), offset: (s) => s.imm };

/** A checked load of data; the result has 64 bits. */
export function loadVia(s: Semantics, via: Authority, size: AccessSize, options = 0): Expr {
  if ((options & ~Access.Signed) === 0) {
    const value = s.call(`cload${size}`, [via.register(s), via.offset(s)], "i64", { mayTrap: true });
    return options === 0 || size === 8 ? value : s.op(`i64.extend${8 * size}_s` as "i64.extend8_s", value);
  }
  return s.call("cload", [via.register(s), via.offset(s), s.i32(size), s.i32(options)], "i64", { mayTrap: true });
}

/** A checked store of the low bytes of `value`; clears the tags it touches. */
export function storeVia(s: Semantics, via: Authority, size: AccessSize, value: Expr): void {
  s.run(`cstore${size}`, [via.register(s), via.offset(s), value], { mayTrap: true });
}

const bits = (value: number): string => value.toString(2).padStart(5, "0");

function load(name: string, operation: number, via: Authority, semantics: (s: Semantics, via: Authority) => void): Clause {
  const address = via === throughDdc ? "(rs1)" : "(cs1)";
  const result = name.startsWith("lc.") || name.startsWith("lr.c.") ? "cd" : "rd";
  return {
    name,
    extension: "Xcheri",
    encoding: `1111101 ${bits(operation)} rs1 000 rd 1011011`,
    syntax: `${result}, ${address}`,
    semantics: (s) => semantics(s, via),
  };
}

function store(name: string, operation: number, via: Authority, semantics: (s: Semantics, via: Authority) => void): Clause {
  const address = via === throughDdc ? "(rs1)" : "(cs1)";
  const source = name.startsWith("sc.ddc") || name.startsWith("sc.cap") || name.startsWith("sc.c.") ? "cs2" : "rs2";
  return {
    name,
    extension: "Xcheri",
    encoding: `1111100 rs2 rs1 000 ${bits(operation)} 1011011`,
    syntax: `${source}, ${address}`,
    semantics: (s) => semantics(s, via),
  };
}

const LOADS: readonly (readonly [name: string, operation: number, size: AccessSize, signed: boolean])[] = [
  ["lb", 0, 1, true],
  ["lh", 1, 2, true],
  ["lw", 2, 4, true],
  ["ld", 3, 8, true],
  ["lbu", 4, 1, false],
  ["lhu", 5, 2, false],
  ["lwu", 6, 4, false],
];
const STORES: readonly (readonly [name: string, operation: number, size: AccessSize])[] = [
  ["sb", 0, 1],
  ["sh", 1, 2],
  ["sw", 2, 4],
  ["sd", 3, 8],
];
const RESERVED: readonly (readonly [name: string, operation: number, size: AccessSize])[] = [
  ["b", 0, 1],
  ["h", 1, 2],
  ["w", 2, 4],
  ["d", 3, 8],
];

/** lr with any authority: the result is sign-extended. */
export function loadReserved(s: Semantics, via: Authority, size: AccessSize): void {
  s.setX("rd", s.call("cloadres", [via.register(s), via.offset(s), s.i32(size)], "i64", { mayTrap: true }));
}

/** sc with any authority: `result` becomes 0 if it stored, 1 if the reservation was lost. */
export function storeConditional(s: Semantics, via: Authority, size: AccessSize, result: "rd" | "rs2"): void {
  s.setX(result, s.call("cstorecond", [via.register(s), via.offset(s), s.i32(size), s.x("rs2")], "i64", { mayTrap: true }));
}

export function loadCapability(s: Semantics, via: Authority): void {
  s.run("cloadcap", [s.field("rd"), via.register(s), via.offset(s), s.i32(0)], { mayTrap: true });
}
export function storeCapability(s: Semantics, via: Authority): void {
  s.run("cstorecap", [s.field("rs2"), via.register(s), via.offset(s)], { mayTrap: true });
}
export function loadReservedCapability(s: Semantics, via: Authority): void {
  s.run("cloadcap", [s.field("rd"), via.register(s), via.offset(s), s.i32(1)], { mayTrap: true });
}
export function storeConditionalCapability(s: Semantics, via: Authority, result: "rd" | "rs2"): void {
  s.setX(result, s.call("cstorecondcap", [s.field("rs2"), via.register(s), via.offset(s)], "i64", { mayTrap: true }));
}
export function swapCapability(s: Semantics, via: Authority): void {
  s.run("cswapcap", [s.field("rd"), s.field("rs2"), via.register(s), via.offset(s)], { mayTrap: true });
}

const explicit: readonly Clause[] = [
  ...LOADS.map(([name, operation, size, signed]) =>
    load(`${name}.ddc`, operation, throughDdc, (s) => s.setX("rd", s.load(size, signed, s.x("rs1")))),
  ),
  ...LOADS.map(([name, operation, size, signed]) =>
    load(`${name}.cap`, operation | 8, throughCs1, (s, via) => s.setX("rd", loadVia(s, via, size, signed ? Access.Signed : 0))),
  ),
  ...STORES.map(([name, operation, size]) => store(`${name}.ddc`, operation, throughDdc, (s) => s.store(size, s.x("rs1"), s.x("rs2")))),
  ...STORES.map(([name, operation, size]) =>
    store(`${name}.cap`, operation | 8, throughCs1, (s, via) => storeVia(s, via, size, s.x("rs2"))),
  ),
  load("lc.ddc", 0x17, throughDdc, loadCapability),
  load("lc.cap", 0x1f, throughCs1, loadCapability),
  store("sc.ddc", 0x04, throughDdc, storeCapability),
  store("sc.cap", 0x0c, throughCs1, storeCapability),
];

/** Their store-conditionals write the result to the register that held the value. */
const reservations: readonly Clause[] = [
  ...RESERVED.map(([width, operation, size]) =>
    load(`lr.${width}.ddc`, 0x10 | operation, throughDdc, (s, via) => loadReserved(s, via, size)),
  ),
  ...RESERVED.map(([width, operation, size]) =>
    load(`lr.${width}.cap`, 0x18 | operation, throughCs1, (s, via) => loadReserved(s, via, size)),
  ),
  ...RESERVED.map(([width, operation, size]) =>
    store(`sc.${width}.ddc`, 0x10 | operation, throughDdc, (s, via) => storeConditional(s, via, size, "rs2")),
  ),
  ...RESERVED.map(([width, operation, size]) =>
    store(`sc.${width}.cap`, 0x18 | operation, throughCs1, (s, via) => storeConditional(s, via, size, "rs2")),
  ),
  load("lr.c.ddc", 0x14, throughDdc, loadReservedCapability),
  load("lr.c.cap", 0x1c, throughCs1, loadReservedCapability),
  store("sc.c.ddc", 0x14, throughDdc, (s, via) => storeConditionalCapability(s, via, "rs2")),
  store("sc.c.cap", 0x1c, throughCs1, (s, via) => storeConditionalCapability(s, via, "rs2")),
];

/** Integer mode: through DDC. Capability mode reads the same encodings as cheri-mode.ts has them. */
const implicit: readonly Clause[] = [
  {
    // Without load-capability permission the tag is not loaded; no exception.
    name: "lc",
    extension: "Xcheri",
    encoding: "imm[11:0] rs1 010 rd 0001111",
    syntax: "cd, imm(rs1)",
    mode: "int",
    semantics: (s) => loadCapability(s, throughDdcImm),
  },
  {
    name: "sc",
    extension: "Xcheri",
    encoding: "imm[11:5] rs2 rs1 100 imm[4:0] 0100011",
    syntax: "cs2, imm(rs1)",
    mode: "int",
    semantics: (s) => storeCapability(s, throughDdcImm),
  },
  ...atomics("int", throughDdc, "(rs1)", ["lr.b", "sc.b", "lr.h", "sc.h", "lr.c", "sc.c", "amoswap.c"]),
];

/** Reservations and atomics that the A extension does not have. `names` in the order lr.b, sc.b, lr.h, sc.h, lr.c, sc.c, amoswap.c. */
export function atomics(mode: "int" | "cap", via: Authority, address: string, names: readonly string[]): Clause[] {
  const clause = (index: number, funct5: string, funct3: string, syntax: string, semantics: (s: Semantics) => void): Clause => ({
    name: names[index]!,
    extension: "Xcheri",
    encoding: `${funct5} aq rl ${funct5 === "00010" ? "00000" : "rs2"} rs1 ${funct3} rd 0101111`,
    syntax: `${syntax}, ${address}`,
    mode,
    semantics,
  });
  return [
    clause(0, "00010", "000", "rd", (s) => loadReserved(s, via, 1)),
    clause(1, "00011", "000", "rd, rs2", (s) => storeConditional(s, via, 1, "rd")),
    clause(2, "00010", "001", "rd", (s) => loadReserved(s, via, 2)),
    clause(3, "00011", "001", "rd, rs2", (s) => storeConditional(s, via, 2, "rd")),
    clause(4, "00010", "100", "cd", (s) => loadReservedCapability(s, via)),
    clause(5, "00011", "100", "rd, cs2", (s) => storeConditionalCapability(s, via, "rd")),
    clause(6, "00001", "100", "cd, cs2", (s) => swapCapability(s, via)),
  ];
}

export const cheriMemoryClauses: readonly Clause[] = [
  ...explicit,
  ...reservations,
  ...implicit,
  // Exceptions: tag, seal, load permission, load-capability permission, length, alignment (64 bytes), page. Tags of 4 granules.
  {
    name: "cloadtags",
    extension: "Xcheri",
    encoding: "1111111 10010 rs1 000 rd 1011011",
    syntax: "rd, (cs1)",
    semantics: (s) => s.setX("rd", s.call("cloadtags", [s.field("rs1")], "i64", { mayTrap: true })),
  },
];
