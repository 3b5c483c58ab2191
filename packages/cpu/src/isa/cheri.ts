/**
 * Xcheri: capability instructions of CHERI-RISC-V ISAv9, 64 bit (CHERI ISAv9, chapter "CHERI-RISC-V instruction-set
 * reference"). Results that are not allowed have their tag cleared; only jumps, special registers and memory accesses raise exceptions.
 * Loads and stores are in cheri-memory.ts, the instructions that only capability mode has in cheri-mode.ts.
 *
 * Capabilities are read and written by intrinsics, which get register numbers: the general registers hold the address,
 * the hart's state block the rest.
 */
import type { Clause } from "./clause.ts";
import type { Expr, Semantics } from "./ir.ts";
import { cheriMemoryClauses } from "./cheri-memory.ts";
import { cheriModeClauses } from "./cheri-mode.ts";

const bits = (value: number, width: number): string => value.toString(2).padStart(width, "0");

/** Two operands: the operation stands where rs2 would be. */
function two(name: string, operation: number, syntax: string, semantics: (s: Semantics) => void): Clause {
  return { name, extension: "Xcheri", encoding: `1111111 ${bits(operation, 5)} rs1 000 rd 1011011`, syntax, semantics };
}

/** Three register operands. */
function three(name: string, funct7: number, syntax: string, semantics: (s: Semantics) => void): Clause {
  return { name, extension: "Xcheri", encoding: `${bits(funct7, 7)} rs2 rs1 000 rd 1011011`, syntax, semantics };
}

/** Derivations raise exceptions only on a machine without tag clearing: cheri-trapping.ts has which. */
const trapping = { mayTrap: true } as const;

/** rd = a number read from the capability cs1. */
const get = (name: string, operation: number): Clause =>
  two(name, operation, "rd, cs1", (s) => s.setX("rd", s.call(name, [s.field("rs1")], "i64")));

/** cd = what the intrinsic of that name makes of cs1. */
const change = (name: string, operation: number): Clause =>
  two(name, operation, "cd, cs1", (s) => s.run(name, [s.field("rd"), s.field("rs1")], trapping));

/** cd = what the intrinsic makes of cs1 and the integer rs2. */
const withInteger = (name: string, funct7: number): Clause =>
  three(name, funct7, "cd, cs1, rs2", (s) => s.run(name, [s.field("rd"), s.field("rs1"), s.x("rs2")], trapping));

/** cd = what the intrinsic makes of the capabilities cs1 and cs2. */
const withCapability = (name: string, funct7: number): Clause =>
  three(name, funct7, "cd, cs1, cs2", (s) => s.run(name, [s.field("rd"), s.field("rs1"), s.field("rs2")], trapping));

/** rd = a number read from the capabilities cs1 and cs2. */
const compare = (name: string, funct7: number): Clause =>
  three(name, funct7, "rd, cs1, cs2", (s) => s.setX("rd", s.call(name, [s.field("rs1"), s.field("rs2")], "i64", trapping)));

/** The immediate as a small number: registers' masks and numbers. */
const small = (s: Semantics): Expr => s.op("i32.wrap_i64", s.imm);

const inspection: readonly Clause[] = [
  get("cgetperm", 0x00),
  get("cgettype", 0x01),
  get("cgetbase", 0x02),
  get("cgetlen", 0x03),
  get("cgettag", 0x04),
  get("cgetsealed", 0x05),
  get("cgetoffset", 0x06),
  get("cgetflags", 0x07),
  two("cgetaddr", 0x0f, "rd, cs1", (s) => s.setX("rd", s.x("rs1"))),
  get("cgethigh", 0x17),
  get("cgettop", 0x18),
  {
    ...two("crrl", 0x08, "rd, rs1", (s) => s.setX("rd", s.call("crrl", [s.x("rs1")], "i64"))),
    mnemonic: "croundrepresentablelength",
  },
  {
    ...two("cram", 0x09, "rd, rs1", (s) => s.setX("rd", s.call("cram", [s.x("rs1")], "i64"))),
    mnemonic: "crepresentablealignmentmask",
  },
  // cs2 = c0 stands for DDC.
  { ...compare("ctoptr", 0x12), syntax: "rd, cs1, ds2" },
  three("csub", 0x14, "rd, cs1, cs2", (s) => s.setX("rd", s.op("i64.sub", s.x("rs1"), s.x("rs2")))),
  // cs1 = c0 stands for DDC.
  { ...compare("ctestsubset", 0x20), syntax: "rd, ds1, cs2" },
  { ...compare("cseqx", 0x21), mnemonic: "csetequalexact" },
];

const derivation: readonly Clause[] = [
  change("cmove", 0x0a),
  change("ccleartag", 0x0b),
  change("csealentry", 0x11),
  withInteger("csetbounds", 0x08),
  withInteger("csetboundsexact", 0x09),
  withCapability("cseal", 0x0b),
  withCapability("cunseal", 0x0c),
  withInteger("candperm", 0x0d),
  withInteger("csetflags", 0x0e),
  withInteger("csetoffset", 0x0f),
  withInteger("csetaddr", 0x10),
  withInteger("cincoffset", 0x11),
  // cs1 = c0 stands for DDC; rs2 = 0 gives NULL.
  { ...withInteger("cfromptr", 0x13), syntax: "cd, ds1, rs2" },
  withInteger("csethigh", 0x16),
  // cs1 = c0 stands for DDC.
  { ...withCapability("cbuildcap", 0x1d), syntax: "cd, ds1, cs2" },
  withCapability("ccopytype", 0x1e),
  withCapability("ccseal", 0x1f),
  {
    name: "cincoffsetimm",
    mnemonic: "cincoffset",
    extension: "Xcheri",
    encoding: "imm[11:0] rs1 001 rd 1011011",
    syntax: "cd, cs1, imm",
    semantics: (s) => s.run("cincoffset", [s.field("rd"), s.field("rs1"), s.imm], trapping),
  },
  {
    name: "csetboundsimm",
    mnemonic: "csetbounds",
    extension: "Xcheri",
    encoding: "uimm[11:0] rs1 010 rd 1011011",
    syntax: "cd, cs1, imm",
    semantics: (s) => s.run("csetbounds", [s.field("rd"), s.field("rs1"), s.imm], trapping),
  },
  {
    // Bits 9:8 of the immediate choose eight registers, bits 7:0 say which of them become NULL; bit 0 of the first eight is DDC.
    name: "cclear",
    extension: "Xcheri",
    encoding: "1111111 01110 uimm[9:5] 000 uimm[4:0] 1011011",
    syntax: "quarter, mask",
    semantics: (s) => s.run("cclear", [small(s)], { changesPc: true }),
  },
  {
    name: "fpclear",
    extension: "Xcheri",
    encoding: "1111111 10000 uimm[9:5] 000 uimm[4:0] 1011011",
    syntax: "quarter, mask",
    semantics: (s) => s.run("fpclear", [small(s)]),
  },
];

const control: readonly Clause[] = [
  {
    /**
     * Exceptions in order: illegal instruction (no such register; too low a privilege; write to PCC), AccessSystemRegs (0x20 | register). The immediate is the register's
     * number: 0 PCC, 1 DDC, 12 … 15 STCC, STDC, SScratchC, SEPCC, 28 … 31 the same of M. cs1 = c0 only reads.
     */
    name: "cspecialrw",
    extension: "Xcheri",
    encoding: "0000001 uimm[4:0] rs1 000 rd 1011011",
    syntax: "cd, scr, cs1",
    semantics: (s) => s.run("cspecialrw", [s.field("rd"), small(s), s.field("rs1"), s.pc], { mayTrap: true, changesPc: true }),
  },
  // Exceptions in order: tag, seal (a sentry is allowed), execute permission, unaligned base (with relocation), length.
  two("jalr.cap", 0x0c, "cd, cs1", (s) =>
    s.run("cjalr", [s.field("rd"), s.field("rs1"), s.i64(0), s.nextPc], { mayTrap: true, changesPc: true }),
  ),
  two("jalr.pcc", 0x14, "rd, rs1", (s) => {
    const target = s.let(s.x("rs1"));
    s.setX("rd", s.nextPc);
    s.jumpIndirect(target);
  }),
  {
    /**
     * Exceptions in order: tag of cs1, of cs2; seal (unsealed or a reserved otype) of cs1, of cs2; type (cs1);
     * CInvoke permission of cs1, of cs2; execute: cs1 must, cs2 must not; unaligned base (cs1, with relocation); length (cs1).
     */
    name: "cinvoke",
    extension: "Xcheri",
    encoding: "1111110 rs2 rs1 000 00001 1011011",
    syntax: "cs1, cs2",
    semantics: (s) => s.run("cinvoke", [s.field("rs1"), s.field("rs2")], { mayTrap: true, changesPc: true }),
  },
];

/** Every instruction of the extension. */
export const cheriClauses: readonly Clause[] = [...inspection, ...derivation, ...control, ...cheriMemoryClauses, ...cheriModeClauses];
