import { describe, expect, test } from "vitest";
import type { Clause } from "./clause.ts";
import { clauseIndex, clausesOf, createDecoded, createDecoder, type Mode } from "./decode.ts";
import { encodingOf, matches } from "./encoding.ts";
import { allClauses } from "./index.ts";

const decoder = createDecoder(allClauses);
const decode = (word: number, mode: Mode = 0) => {
  const out = createDecoded();
  const index = decoder.decode(word, mode, out);
  return { name: index < 0 ? "illegal" : allClauses[index]!.name, ...out };
};

describe("32 bits", () => {
  test.each([
    [0xfff30293, { name: "addi", rd: 5, rs1: 6, imm: -1, rs2: 0, length: 4 }],
    [0x00b50463, { name: "beq", rs1: 10, rs2: 11, imm: 8, rd: 0 }],
    [0xfe5ff0ef, { name: "jal", rd: 1, imm: -28 }],
    [0x800005b7, { name: "lui", rd: 11, imm: -0x80000000 }],
    [0x03f51513, { name: "slli", rd: 10, rs1: 10, imm: 63 }],
    [0x02b577d3, { name: "fadd.d", rd: 15, rs1: 10, rs2: 11, rm: 7 }],
    [0x6ac5f543, { name: "fmadd.d", rd: 10, rs1: 11, rs2: 12, rs3: 13, rm: 7 }],
    [0x10b5a52f, { name: "illegal" }],
    [0x1005a52f, { name: "lr.w", rd: 10, rs1: 11 }],
    [0xc0002573, { name: "csrrs", rd: 10, rs1: 0, imm: 0xc00 }],
    [0x0100000f, { name: "pause" }],
    [0x0ff0000f, { name: "fence" }],
    // rd, rs1 and an unknown fm are ignored.
    [0x5ff5058f, { name: "fence" }],
    [0xffffffff, { name: "illegal" }],
    [0x00100073, { name: "ebreak" }],
    [0x00200073, { name: "illegal" }],
    [0x30200073, { name: "mret" }],
    [0x30300073, { name: "illegal" }],
  ])("%s", (word, expected) => {
    expect(decode(word | 0)).toMatchObject(expected);
  });
});

describe("16 bits", () => {
  test.each([
    [0x0000, { name: "illegal", length: 2 }],
    [0x0001, { name: "addi", rd: 0, rs1: 0, imm: 0, length: 2 }],
    [0x4529, { name: "addi", rd: 10, rs1: 0, imm: 10 }],
    [0x557d, { name: "addi", rd: 10, rs1: 0, imm: -1 }],
    [0x1141, { name: "addi", rd: 2, rs1: 2, imm: -16 }],
    [0x7139, { name: "addi", rd: 2, rs1: 2, imm: -64 }],
    [0x0800, { name: "addi", rd: 8, rs1: 2, imm: 16 }],
    [0xe406, { name: "sd", rs2: 1, rs1: 2, imm: 8, rd: 0 }],
    [0x60a2, { name: "ld", rd: 1, rs1: 2, imm: 8 }],
    [0x8082, { name: "jalr", rd: 0, rs1: 1, imm: 0 }],
    [0x9782, { name: "jalr", rd: 1, rs1: 15, imm: 0 }],
    [0x9002, { name: "ebreak" }],
    [0x852e, { name: "add", rd: 10, rs1: 0, rs2: 11 }],
    [0x8d0d, { name: "sub", rd: 10, rs1: 10, rs2: 11 }],
    [0x757d, { name: "lui", rd: 10, imm: -4096 }],
    [0x6101, { name: "illegal" }],
    [0x6501, { name: "illegal" }],
    [0x4002, { name: "illegal" }],
    [0x8002, { name: "illegal" }],
    // Hints do nothing.
    [0x4005, { name: "addi", rd: 0, imm: 1 }],
    [0x8006, { name: "add", rd: 0, rs1: 0, rs2: 1 }],
  ])("%s", (word, expected) => {
    // The high half belongs to the next instruction and must not matter.
    for (const high of [0, 0xffff0000, 0x5a5a0000]) expect(decode(word | high)).toMatchObject(expected);
  });

  test("capability mode reads some forms differently", () => {
    // c.fld fa0, 0(a1) and c.jr a5
    expect(decode(0x2188)).toMatchObject({ name: "fld", rd: 10, rs1: 11 });
    expect(decode(0x2188, 1).name).toBe("clc");
    expect(decode(0x8782)).toMatchObject({ name: "jalr", rd: 0, rs1: 15 });
    expect(decode(0x8782, 1)).toMatchObject({ name: "cjalr", rd: 0, rs1: 15 });
    // and some alike
    expect(decode(0x852e, 1)).toMatchObject({ name: "add", rd: 10, rs1: 0, rs2: 11 });
  });
});

test("the tables find what a search through all clauses finds", () => {
  const bits = (word: number): number => word.toString(2).replaceAll("0", "").length;
  const legal = [clausesOf(allClauses, 0), clausesOf(allClauses, 1)] as const;
  const slow = (word: number, mode: Mode): number => {
    const fits = legal[mode].filter((index) => {
      const encoding = encodingOf(allClauses[index]!);
      return (encoding.length === 4) === ((word & 3) === 3) && matches(encoding, encoding.length === 4 ? word : word & 0xffff);
    });
    const fixed = (index: number): number => bits(encodingOf(allClauses[index]!).mask >>> 0);
    return fits.toSorted((a, b) => fixed(b) - fixed(a))[0] ?? -1;
  };
  let seed = 1;
  for (const clause of allClauses) {
    const encoding = encodingOf(clause);
    for (let round = 0; round < 20; round++) {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) | 0;
      const word = encoding.match | (seed & ~encoding.mask) | (encoding.length === 2 ? seed << 16 : 0);
      for (const mode of [0, 1] as const)
        expect(decoder.written(word, mode), clause.name + (word >>> 0).toString(16)).toBe(slow(word, mode));
    }
  }
});

test("every compressed form stands for a clause with semantics", () => {
  for (const clause of allClauses) {
    expect((clause.semantics === undefined) !== (clause.expands === undefined), clause.name).toBe(true);
    if (clause.expands === undefined) continue;
    for (const mode of [0, 1] as const)
      expect(
        allClauses[clauseIndex(allClauses, clause.expands.to, clause.mode === "cap" ? 1 : clause.mode === "int" ? 0 : mode)]?.semantics,
      ).toBeDefined();
  }
});

test("a compressed form of nothing is refused", () => {
  const form: Clause = { name: "c.x", extension: "C", encoding: "000 00000000000 01", syntax: "", expands: { to: "y", operands: {} } };
  expect(() => createDecoder([form])).toThrow("c.x expands to y");
});
