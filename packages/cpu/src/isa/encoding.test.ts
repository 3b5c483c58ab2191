import { assert, integer, pre, property } from "fast-check";
import { describe, expect, test } from "vitest";
import { encodingOf, extractField, fieldProblem, insertField, matches, parseEncoding } from "./encoding.ts";
import { allClauses } from "./index.ts";

const field = (text: string, name: string) => parseEncoding(text).fields.find((candidate) => candidate.name === name)!;
const BRANCH = "imm[12|10:5] rs2 rs1 000 imm[4:1|11] 1100011";

describe("notation", () => {
  test("fixed bits give mask and match", () => {
    const encoding = parseEncoding("0100000 rs2 rs1 000 rd 0110011");
    expect(encoding.length).toBe(4);
    expect(encoding.mask >>> 0).toBe(0xfe00707f);
    expect(encoding.match >>> 0).toBe(0x40000033);
    expect(encoding.fields.map(({ name }) => name)).toEqual(["rs2", "rs1", "rd"]);
  });

  test("an immediate in several places is one field", () => {
    const imm = field(BRANCH, "imm");
    expect(imm).toMatchObject({ signed: true, width: 13, scale: 1 });
    expect(insertField(imm, -2) >>> 0).toBe(0xfe000f80);
    expect(insertField(imm, 2048)).toBe(1 << 7);
    expect(extractField(imm, 0xfe000f80 | 0)).toBe(-2);
    expect(extractField(imm, 1 << 31)).toBe(-4096);
  });

  test("compressed registers count from 8", () => {
    const rd = field("100 0 11 rd' 00 rs2' 01", "rd");
    expect(extractField(rd, 0)).toBe(8);
    expect(insertField(rd, 15)).toBe(7 << 7);
    expect(fieldProblem(rd, 7)).toContain("outside 8 … 15");
  });

  test("exclusions: registers by value, immediates of 0 over all their slices", () => {
    const encoding = parseEncoding("011 nzimm[17] rd!=2,4 nzimm[16:12] 01");
    const word = (rd: number, high: number, low: number): number => 0x6001 | (high << 12) | (rd << 7) | (low << 2);
    expect(matches(encoding, word(1, 0, 1))).toBe(true);
    expect(matches(encoding, word(1, 1, 0))).toBe(true);
    expect(matches(encoding, word(1, 0, 0))).toBe(false);
    expect(matches(encoding, word(2, 0, 1))).toBe(false);
    expect(matches(encoding, word(4, 0, 1))).toBe(false);
    expect(fieldProblem(field("011 nzimm[17] rd!=2,4 nzimm[16:12] 01", "imm"), 0)).toContain("reserved");
  });

  test.each([
    ["0000000 rs2 rs1 000 rd 011001", "encoding has 31 bits"],
    ["0000000 rs2 rs1 000 rq 0110011", "unknown token rq"],
    ["0000000 rd rs1 000 rd 0110011", "rd stands twice"],
    ["imm[4:11] rs1 000 rd 0000011", "upside down"],
    ["imm[11:8|8:1] rs1 000 rd 0000011", "overlap"],
    ["imm[12|10:0] rs1 000 rd 0000011", "gap"],
    ["0000000 rs2 rs1 000 rd 0110001", "contradict"],
    ["000 imm[5] rd imm[4:0] 11", "contradict"],
  ])("%s is refused", (text, message) => {
    expect(() => parseEncoding(text)).toThrow(message);
  });

  test.each([
    [4096, "outside -4096 … 4094"],
    [-4098, "outside"],
    [3, "multiple of 2"],
    [0.5, "whole number"],
    [Number.NaN, "whole number"],
  ])("a branch distance of %d is refused", (value, message) => {
    expect(() => insertField(field(BRANCH, "imm"), value)).toThrow(message);
  });
});

test("every field of every clause: extraction is the inverse of insertion, and touches no other bit", () => {
  for (const clause of allClauses) {
    const { fields, mask } = encodingOf(clause);
    let used = mask;
    for (const candidate of fields) {
      const span = 2 ** (candidate.width - candidate.scale);
      const first = candidate.signed ? -span / 2 : 0;
      assert(
        property(integer({ min: first, max: first + span - 1 }), integer(), (step, noise) => {
          const value = step * 2 ** candidate.scale + candidate.base;
          pre(!candidate.excluded.includes(value));
          const bits = insertField(candidate, value);
          const places = candidate.slices.reduce((all, { width, shift }) => all | (((2 ** width - 1) | 0) << shift), 0);
          expect(bits & ~places, clause.name).toBe(0);
          expect(extractField(candidate, bits | (noise & ~places)), clause.name).toBe(value);
        }),
        { numRuns: 20 },
      );
      for (const { width, shift } of candidate.slices) {
        const place = ((2 ** width - 1) | 0) << shift;
        expect(used & place, `${clause.name}: ${candidate.name} lies over other bits`).toBe(0);
        used |= place;
      }
    }
    expect(clause.name + (used >>> 0).toString(16)).toBe(clause.name + (encodingOf(clause).length === 4 ? "ffffffff" : "ffff"));
  }
});
