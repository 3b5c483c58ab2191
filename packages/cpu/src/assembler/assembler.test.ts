import { describe, expect, test } from "vitest";
import { createDecoder } from "../isa/decode.ts";
import { allClauses } from "../isa/index.ts";
import { Assembler } from "./assembler.ts";
import { disassemble, disassembleBytes } from "./disassembler.ts";
import type { AssemblerErrorCode } from "./error.ts";
import { encodings, pseudos, relative } from "./gnu.test.data.ts";
import { assembleText } from "./text.ts";

const decoder = createDecoder(allClauses);
const ORIGIN = 0x1000000;

function wordOf(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return bytes.length === 2 ? view.getUint16(0, true) : view.getUint32(0, true);
}
const split = (row: string): [word: number, text: string] => [Number.parseInt(row, 16), row.slice(row.indexOf(" ") + 1)];

describe("as GNU as and objdump have it", () => {
  test("every mnemonic but the capability instructions is in the table", () => {
    const recorded = new Set(
      [...encodings, ...relative, "0 pause"].map((row) =>
        split(row)[1]
          .split(" ")[0]!
          .replace(/\.(aq|rl|aqrl)$/u, ""),
      ),
    );
    const missing = allClauses.filter(({ name, extension }) => extension !== "Xcheri" && !recorded.has(name)).map(({ name }) => name);
    // binutils 2.40 writes c.nop as c.addi zero,0.
    expect(missing).toEqual(["c.nop", "c.nop"]);
  });
  test.each([...encodings, ...relative])("%s", (row) => {
    const [word, text] = split(row);
    expect(disassemble(decoder, word | 0, ORIGIN).replaceAll(", ", ",")).toBe(text);
    expect(wordOf(assembleText(text, { origin: ORIGIN }))).toBe(word);
  });
  test.each(pseudos)("%s", (row) => {
    const [word, text] = split(row);
    expect(wordOf(assembleText(text))).toBe(word);
  });
  test("pause and c.nop", () => {
    expect(wordOf(assembleText("pause"))).toBe(0x0100000f);
    expect(wordOf(assembleText("c.nop"))).toBe(1);
    expect(wordOf(assembleText("c.nop 5"))).toBe(0x15);
  });
});

test("illegal words are data", () => {
  expect(disassemble(decoder, 0)).toBe(".half 0x0000");
  expect(disassemble(decoder, -1)).toBe(".word 0xffffffff");
  expect(disassembleBytes(decoder, Uint8Array.of(0x01, 0x00, 0x13, 0x05, 0x15, 0x00, 0x93, 0x00), 0x100)).toEqual([
    { address: 0x100, length: 2, word: 1, text: "c.nop" },
    { address: 0x102, length: 4, word: 0x00150513, text: "addi a0, a0, 1" },
    { address: 0x106, length: 2, word: 0x93, text: ".half 0x0093" },
  ]);
  // Legal, but a fence's text has no place for rd, rs1 and a reserved fm.
  expect(disassemble(decoder, 0x0ff0008f)).toBe(".word 0x0ff0008f");
  expect(disassemble(decoder, 0x0000908f)).toBe(".word 0x0000908f");
});

describe("labels", () => {
  test("forwards, backwards, by name and by object", () => {
    const a = new Assembler({ origin: 0x8000 });
    const start = a.label("start");
    const end = a.newLabel();
    a.emit("beq", { rs1: 10, rs2: 0, target: end });
    a.emit("jal", { rd: 0, target: "start" });
    a.emit("c.j", { target: start });
    a.bind(end);
    expect(disassembleBytes(decoder, a.assemble(), 0x8000).map(({ text }) => text)).toEqual([
      "beq a0, zero, 0x800a",
      "jal zero, 0x8000",
      "c.j 0x8000",
    ]);
    expect(a.addressOf(end)).toBe(0x800a);
  });

  test("la, call and tail reach both ways with a carry into the upper part", () => {
    for (const distance of [0, 0x7ff, 0x800, -0x801, 0x12345800, -0x80000000, 0x7ffff7ff]) {
      const a = new Assembler({ origin: 0x4_0000_0000 });
      a.la(10, 0x4_0000_0000 + distance);
      const [high, low] = disassembleBytes(decoder, a.assemble());
      const upper = (high!.word & 0xfffff000) | 0;
      expect(upper + (low!.word >> 20), String(distance)).toBe(distance);
    }
    expect(disassembleBytes(decoder, assembleText("call f\ntail f\nf: ret")).map(({ text }) => text)).toEqual([
      "auipc ra, 0x0",
      "jalr ra, 16(ra)",
      "auipc t1, 0x0",
      "jalr zero, 8(t1)",
      "jalr zero, 0(ra)",
    ]);
  });

  test("data: addresses, alignment, strings", () => {
    const bytes = assembleText(
      ".byte 1, -1, 'a'\n.align 2\nhere: .half 0x1234 # text\n.balign 8\n.dword here + 4, -2\n.asciz \"a;#\\n\" ; .zero 2",
      { origin: 0x1000 },
    );
    expect([...bytes]).toEqual([
      1, 255, 97, 0, 0x34, 0x12, 0, 0, 8, 0x10, 0, 0, 0, 0, 0, 0, 254, 255, 255, 255, 255, 255, 255, 255, 97, 59, 35, 10, 0, 0, 0,
    ]);
  });
});

/** What a sequence of lui, addi, addiw and slli on one register leaves there. */
function evaluate(bytes: Uint8Array): bigint {
  let value = 0n;
  for (const { text } of disassembleBytes(decoder, bytes)) {
    const [name, ...parts] = text.split(/,? /u);
    const operand = BigInt(parts.at(-1)!.replace("-", "")) * (parts.at(-1)!.startsWith("-") ? -1n : 1n);
    const from = parts[1] === "zero" ? 0n : value;
    if (name === "lui") value = BigInt.asIntN(32, operand << 12n);
    else if (name === "addi") value = BigInt.asIntN(64, from + operand);
    else if (name === "addiw") value = BigInt.asIntN(32, from + operand);
    else if (name === "slli") value = BigInt.asIntN(64, from << operand);
    else expect.fail(text);
  }
  return value;
}

test("li makes any 64-bit constant in at most eight instructions", () => {
  const values = new Set<bigint>();
  for (let bit = 0n; bit < 64n; bit++)
    for (const near of [-2049n, -2048n, -1n, 0n, 1n, 2047n, 2048n]) values.add(BigInt.asIntN(64, (1n << bit) + near));
  for (const value of [0x123456789abcdef0n, 0xdeadbeefcafebaben, 0x8000000000000001n, 0xfffff800fffff800n])
    values.add(BigInt.asIntN(64, value));
  for (const value of values) {
    const bytes = new Assembler().li(10, value).assemble();
    expect(evaluate(bytes)).toBe(value);
    expect(bytes.length).toBeLessThanOrEqual(32);
  }
  expect(new Assembler().li(10, 0x80000000n).assemble().length).toBe(8);
});

describe("mistakes", () => {
  const cases: [text: string, code: AssemblerErrorCode, message: string][] = [
    ["addx a0, a1, a2", "unknown-instruction", "addx"],
    ["addi a0, a1", "operand-syntax", "expected rd, rs1, imm"],
    ["addi a0, a1, 2048", "operand-value", "outside -2048 … 2047"],
    ["addi a0, q1, 1", "unknown-register", "q1"],
    ["addi a0, a1, x", "operand-syntax", "x is not a number"],
    ["slli a0, a1, 64", "operand-value", "outside 0 … 63"],
    ["lw a0, 4[a1]", "operand-syntax", "expected rd, imm(rs1)"],
    ["c.addi zero, 1", "operand-value", "reserved"],
    ["c.lw a0, 2(a1)", "operand-value", "multiple of 4"],
    ["c.and t0, a0", "operand-value", "outside 8 … 15"],
    ["lui a0, 0x100000", "operand-value", "20 bits"],
    ["fadd.d fa0, fa1, fa2, near", "operand-syntax", "fadd.d"],
    ["fence q, w", "operand-syntax", "q is not a set"],
    ["j nowhere", "unknown-label", "nowhere, used by jal at 0x0"],
    ["a: nop\na: nop", "duplicate-label", "a is already at offset 0 (line 2: a: nop)"],
    ["beq a0, a1, far\n.zero 4096\nfar:", "target-range", "beq at 0x0"],
    ["la a0, 0x80000000", "target-range", "beyond 2 GiB"],
    [".byte 256", "data-value", "more than 8 bits"],
    [".align -1", "data-value", "not a power of two"],
    [".option rvc", "unknown-directive", ".option"],
    [".ascii hello", "operand-syntax", "not a string"],
    ["li a0, 0x10000000000000000", "operand-value", "64 bits"],
    ["amoadd.w.xx a0, a1, (a2)", "unknown-instruction", "amoadd.w.xx"],
    ["addi.aq a0, a1, 1", "operand-value", "addi has no aq"],
  ];
  test.each(cases)("%s", (text, code, message) => {
    expect(() => assembleText(text)).toThrow(expect.objectContaining({ code, message: expect.stringContaining(message) as string }));
  });

  test("operands by field", () => {
    expect(() => new Assembler().emit("addi", { rd: 1, rs1: 2 })).toThrow("[operand-missing] addi needs imm");
    expect(() => new Assembler().emit("addi", { rd: 1, rs1: 2, imm: 1, rs2: 3 })).toThrow("[operand-value] addi has no rs2");
    expect(() => new Assembler().emit("addi", { rd: 32, rs1: 2, imm: 1 })).toThrow("[operand-value] addi: rd = 32 is outside 0 … 31");
    expect(() => new Assembler().emit("add", { rd: 1, rs1: 2, rs2: 3, target: "x" })).toThrow("[operand-value] add has no imm");
    expect(() => new Assembler().emit("clw", { rd: 1, rs1: 2, imm: 0 })).toThrow("[unknown-instruction] clw");
    expect(new Assembler({ mode: "cap" }).emit("clw", { rd: 1, rs1: 2, imm: 0 }).assemble().length).toBe(4);
  });
});
