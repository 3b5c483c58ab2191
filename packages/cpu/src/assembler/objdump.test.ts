import { describe, expect, test } from "vitest";
import { createDecoder } from "../isa/decode.ts";
import { allClauses } from "../isa/index.ts";
import { disassemble } from "./disassembler.ts";
import { illegal16, recorded16, recorded32 } from "./objdump.test.data.ts";
import { gnuText, groups16, groups32, hashOf, ILLEGAL, type Group } from "./objdump.test.support.ts";

const decoder = createDecoder(allClauses);

function textsOf(group: Group, size: number): string[] {
  return Array.from(group.words(), (word, at) => {
    const index = decoder.written(word, 0);
    // The recording has no capability instructions.
    if (index < 0 || allClauses[index]!.extension === "Xcheri") return ILLEGAL;
    return gnuText(disassemble(decoder, word, at * size), word);
  });
}

describe("as GNU objdump has it", () => {
  test("the same words of 16 bits are illegal", () => {
    const recorded = illegal16.flatMap((run) => {
      const [first, step, count] = run.split(" ") as [string, string, string];
      return Array.from({ length: Number(count) }, (_, at) => Number.parseInt(first, 16) + at * Number(step));
    });
    const ours = Array.from({ length: 65536 }, (_, word) => word).filter((word) => (word & 3) !== 3 && decoder.written(word, 0) < 0);
    expect(ours).toEqual(recorded.toSorted((a, b) => a - b));
  });
  describe("text of all words of 16 bits", () => {
    test.each(recorded16)("%s", (name, legal, hash) => {
      const texts = textsOf(
        groups16.find((group) => group.name === name)!,
        2,
      );
      expect(texts.filter((text) => text !== ILLEGAL)).toHaveLength(legal);
      expect(hashOf(texts)).toBe(hash);
    });
    test("24 groups cover all", () => {
      expect(recorded16).toHaveLength(24);
      expect(new Set(groups16.flatMap((group) => [...group.words()])).size).toBe(3 * 2 ** 14);
    });
  });
  describe("text of words of 32 bits: every opcode, funct3 and upper 12 bits", () => {
    test.each(recorded32)("%s", (name, legal, hash) => {
      const texts = textsOf(
        groups32.find((group) => group.name === name)!,
        4,
      );
      expect(texts.filter((text) => text !== ILLEGAL)).toHaveLength(legal);
      expect(hashOf(texts)).toBe(hash);
    });
    test("28 opcodes", () => expect(recorded32.map(([name]) => name)).toEqual(groups32.map(({ name }) => name)));
  });
});
