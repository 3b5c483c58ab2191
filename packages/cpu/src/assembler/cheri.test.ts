import { describe, expect, test } from "vitest";
import { createDecoder, type Mode } from "../isa/decode.ts";
import { allClauses } from "../isa/index.ts";
import { bothModes, capabilityMode, capabilitySpellings, integerMode, spellings } from "./cheri.test.data.ts";
import { Assembler, type EmitOperands } from "./assembler.ts";
import { disassemble } from "./disassembler.ts";
import type { AssemblerErrorCode } from "./error.ts";
import { assembleText } from "./text.ts";

const decoder = createDecoder(allClauses);
const ORIGIN = 64;
const modeName = (mode: Mode) => (mode === 1 ? "cap" : "int");
const hex = (word: number, digits: number): string => (word >>> 0).toString(16).padStart(digits, "0");
const split = (row: string): [word: string, text: string] => [row.slice(0, row.indexOf(" ")), row.slice(row.indexOf(" ") + 1)];

function assembled(text: string, mode: Mode): string {
  const bytes = assembleText(text, { origin: ORIGIN, mode: modeName(mode) });
  return hex(
    bytes.reduceRight((word, byte) => (word << 8) | byte, 0),
    2 * bytes.length,
  );
}

describe.each([
  ["both modes, in integer mode", 0, bothModes],
  ["both modes, in capability mode", 1, bothModes],
  ["integer mode", 0, integerMode],
  ["capability mode", 1, capabilityMode],
] as const)("%s", (_what, mode, rows) => {
  test.each(rows)("%s", (row) => {
    const [word, text] = split(row);
    expect(disassemble(decoder, Number.parseInt(word, 16) | 0, ORIGIN, mode)).toBe(text);
    expect(assembled(text, mode)).toBe(word);
  });
});

describe("other spellings", () => {
  test.each(spellings)("%s", (row) => {
    const [word, text] = split(row);
    expect([assembled(text, 0), assembled(text, 1)]).toEqual([word, word]);
  });
  test.each(capabilitySpellings)("%s", (row) => {
    const [word, text] = split(row);
    expect(assembled(text, 1)).toBe(word);
  });
});

test("every capability instruction is in the tables", () => {
  const known = new Set(
    [...bothModes, ...integerMode, ...capabilityMode].map((row) =>
      split(row)[1]
        .split(" ")[0]!
        .replace(/\.(?:aq|rl|aqrl)$/u, ""),
    ),
  );
  const missing = allClauses.filter(({ extension, mnemonic, name }) => extension === "Xcheri" && !known.has(mnemonic ?? name));
  // The tools know no cgettop, write cgetaddr and csub as integer instructions, auipcc with a relocation, and test the rest for one width only.
  expect(missing.map(({ name }) => name)).toEqual(
    "cgetaddr cgettop csub lr.b sc.b lr.h sc.h camoadd.w camoxor.w camoand.w camoor.w camomin.w camominu.w camomaxu.w camoswap.d camomax.d auipcc".split(
      " ",
    ),
  );
});

test("special registers by name; a number where there is none", () => {
  const names = Array.from({ length: 32 }, (_, scr) => disassemble(decoder, 0x020000db | (scr << 20)).split(", ")[1]);
  const groups = { 0: "pcc ddc", 4: "utcc utdc uscratchc uepcc", 12: "stcc stdc sscratchc sepcc", 28: "mtcc mtdc mscratchc mepcc" };
  const expected = names.map((_, scr) => String(scr));
  for (const [first, text] of Object.entries(groups))
    for (const [at, name] of text.split(" ").entries()) expected[Number(first) + at] = name;
  expect(names).toEqual(expected);
  for (const [scr, name] of names.entries()) expect(assembled(`cspecialrw cra, ${name}, cnull`, 0)).toBe(hex(0x020000db | (scr << 20), 8));
});

test("calls and addresses of capabilities reach both ways", () => {
  for (const distance of [0, 0x7ff, 0x800, -0x801, 0x12345800, -0x80000000, 0x7ffff7ff]) {
    for (const [text, second] of [
      [`cllc ca0, ${0x1_0000_0000 + distance}`, "cincoffset ca0, ca0, "],
      [`call ${0x1_0000_0000 + distance}`, "cjalr cra, "],
    ] as const) {
      const bytes = assembleText(text, { origin: 0x1_0000_0000, mode: "cap" });
      const view = new DataView(bytes.buffer, bytes.byteOffset);
      const [upper, lower] = [view.getInt32(0, true), view.getInt32(4, true)];
      expect((upper & 0xfffff000) + (lower >> 20), text).toBe(distance);
      expect(disassemble(decoder, upper, 0, 1)).toMatch(/^auipcc /u);
      expect(disassemble(decoder, lower, 0, 1).startsWith(second)).toBe(true);
    }
  }
});

test("emit takes names and mnemonics, and finds the form by its operands", () => {
  const word = (name: string, operands: EmitOperands, mode: "int" | "cap" = "int"): string => {
    const bytes = new Assembler({ mode }).emit(name, operands).assemble();
    return hex(new DataView(bytes.buffer).getUint32(0, true), 8);
  };
  expect(word("cincoffset", { rd: 1, rs1: 2, rs2: 3 })).toBe("223100db");
  expect(word("cincoffset", { rd: 1, rs1: 2, imm: -173 })).toBe("f53110db");
  expect(word("cincoffsetimm", { rd: 1, rs1: 2, imm: -173 })).toBe("f53110db");
  expect(word("csetequalexact", { rd: 1, rs1: 2, rs2: 3 })).toBe(word("cseqx", { rd: 1, rs1: 2, rs2: 3 }));
  expect(word("lw", { rd: 1, rs1: 2, imm: 17 }, "cap")).toBe(word("clw", { rd: 1, rs1: 2, imm: 17 }, "cap"));
});

describe("mistakes", () => {
  const cases: [text: string, mode: Mode, code: AssemblerErrorCode, message: string][] = [
    ["cincoffset ca0, ca1, q2", 0, "unknown-register", "q2"],
    ["cincoffset ca0, ca1, 2048", 0, "operand-value", "outside -2048 … 2047"],
    ["csetbounds ca0, ca1, -1", 0, "operand-value", "outside 0 … 4095"],
    ["csetbounds ca0, a1, 5", 0, "unknown-register", "a1"],
    ["cincoffset a0, ca1, a2", 0, "unknown-register", "a0"],
    ["cbuildcap ca0, cnull, ca1", 0, "unknown-register", "cnull"],
    ["cseal ca0, ddc, ca1", 0, "unknown-register", "ddc"],
    ["cspecialrw ca0, nosuch, ca1", 0, "operand-syntax", "nosuch is not a number"],
    ["cspecialrw ca0, 32, ca1", 0, "operand-value", "outside 0 … 31"],
    ["cclear 4, 1", 0, "operand-value", "outside 0 … 3"],
    ["cclear 0, 256", 0, "operand-value", "outside 0 … 255"],
    ["clc ca0, 0(ca1)", 0, "unknown-instruction", "clc"],
    ["lc ca0, 0(a1)", 1, "unknown-register", "a1"],
    ["lw a0, 0(a1)", 1, "unknown-register", "a1"],
    ["c.fld fa0, 0(a1)", 1, "unknown-instruction", "c.fld"],
    ["cllc ca0, 0", 0, "unknown-instruction", "auipcc"],
  ];
  test.each(cases)("%s, mode %i", (text, mode, code, message) => {
    expect(() => assembled(text, mode)).toThrow(expect.objectContaining({ code, message: expect.stringContaining(message) as string }));
  });
});
