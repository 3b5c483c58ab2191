/** Words to text and back: all of 16 bits, the boundaries of every field of every instruction, random ones. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Clause } from "../isa/clause.ts";
import { clausesOf, createDecoder, type Mode } from "../isa/decode.ts";
import { encodingOf, extractField, insertField, matches, type Field } from "../isa/encoding.ts";
import { allClauses } from "../isa/index.ts";
import { disassemble } from "./disassembler.ts";
import { registerName } from "./registers.ts";
import { operandsOf } from "./syntax.ts";
import { assembleText } from "./text.ts";

const decoder = createDecoder(allClauses);
const ORIGIN = 0x1000000;
const hex = (word: number): string => (word >>> 0).toString(16);
const isData = (text: string): boolean => text.startsWith(".");

/** Text of a word, which must assemble to the same word. */
function there(word: number, mode: Mode): string {
  const text = disassemble(decoder, word, ORIGIN, mode);
  const bytes = assembleText(text, { origin: ORIGIN, mode: mode === 1 ? "cap" : "int" });
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const back = bytes.length === 2 ? view.getUint16(0, true) : view.getInt32(0, true);
  if (back !== word) expect.fail(`${hex(word)} is "${text}", which assembles to ${hex(back)}`);
  return text;
}

/** Compressed forms of integer mode and what capability mode reads in their place; floating point makes room for capabilities. */
const INSTEAD: Readonly<Record<string, string>> = {
  "c.lw": "c.clw",
  "c.ld": "c.cld",
  "c.sw": "c.csw",
  "c.sd": "c.csd",
  "c.lwsp": "c.clwcsp",
  "c.ldsp": "c.cldcsp",
  "c.swsp": "c.cswcsp",
  "c.sdsp": "c.csdcsp",
  "c.jr": "c.cjr",
  "c.jalr": "c.cjalr",
  "c.addi4spn": "c.cincoffset4cspn",
  "c.addi16sp": "c.cincoffset16csp",
};
/** The text that capability mode should give for a word, from that of integer mode and the CHERI ISA's table of 16-bit encodings. */
function capabilityText(word: number, integer: string): string {
  const bits = (high: number, low: number): number => (word >> low) & (2 ** (high - low + 1) - 1);
  const register = (number: number): string => `c${number}`;
  const named = (text: string): string => text.replace(/\bc(\d+)\b/gu, (_, number: string) => registerName("c", Number(number)));
  const [quadrant, funct3] = [bits(1, 0), bits(15, 13)];
  if (quadrant === 0 && (funct3 === 1 || funct3 === 5)) {
    const offset = (bits(12, 11) << 4) | (bits(10, 10) << 8) | (bits(6, 5) << 6);
    return named(`c.${funct3 === 1 ? "clc" : "csc"} ${register(8 + bits(4, 2))}, ${offset}(${register(8 + bits(9, 7))})`);
  }
  if (quadrant === 2 && funct3 === 1) {
    const offset = (bits(12, 12) << 5) | (bits(6, 6) << 4) | (bits(5, 2) << 6);
    if (bits(11, 7) === 0) return `.half 0x${word.toString(16).padStart(4, "0")}`;
    return named(`c.clccsp ${register(bits(11, 7))}, ${offset}(c2)`);
  }
  if (quadrant === 2 && funct3 === 5) return named(`c.csccsp ${register(bits(6, 2))}, ${(bits(12, 11) << 4) | (bits(10, 7) << 6)}(c2)`);
  const name = integer.split(" ")[0]!;
  const instead = INSTEAD[name];
  if (instead === undefined) return integer;
  const operands = integer.slice(name.length + 1).replace(/\((\w+)\)/u, "(c$1)");
  if (name === "c.jr" || name === "c.jalr") return `${instead} c${operands}`;
  return `${instead} ${name.startsWith("c.addi") ? operands.replaceAll(/\b([a-z]\w*)/gu, "c$1") : operands}`;
}

/** The fields that the decoder gives, put back in their places. */
function reencoded(clause: Clause, word: number): number {
  const { fields, match } = encodingOf(clause);
  return fields.reduce((bits, field) => bits | insertField(field, extractField(field, word)), match);
}

test("all words of 16 bits in capability mode are those of integer mode with capabilities as addresses", () => {
  for (let word = 0; word < 65536; word++) {
    if ((word & 3) === 3) continue;
    const text = disassemble(decoder, word, ORIGIN, 1);
    const wanted = capabilityText(word, disassemble(decoder, word, ORIGIN, 0));
    if (text !== wanted) expect.fail(`${hex(word)}: ${text}, not ${wanted}`);
  }
});

describe.each([0, 1] as const)("mode %i", (mode: Mode) => {
  test("all words of 16 bits are illegal, or text of the same word", () => {
    let legal = 0;
    for (let word = 0; word < 65536; word++) {
      if ((word & 3) === 3) continue;
      const text = there(word, mode);
      const index = decoder.written(word, mode);
      expect(isData(text)).toBe(index < 0);
      if (index < 0) continue;
      legal++;
      expect(reencoded(allClauses[index]!, word)).toBe(word);
    }
    // c.fldsp to f0 is legal; c.clccsp to c0 is reserved.
    expect(legal).toBe(3 * 2 ** 14 - 2409 - (mode === 1 ? 64 : 0));
  });

  const legal = clausesOf(allClauses, mode).map((index) => allClauses[index]!);
  /** Least and largest value, their neighbours, 0 and its neighbours, each bit alone and all bits but it. */
  function boundaries(field: Field): number[] {
    const step = 2 ** field.scale;
    const span = 2 ** field.width;
    const low = field.signed ? -span / 2 : field.base;
    const high = low + span - step;
    if (field.width <= 5) return Array.from({ length: span / step }, (_, at) => low + at * step);
    const bits = Array.from({ length: field.width - field.scale }, (_, at) => step * 2 ** at);
    const values = [
      low,
      low + step,
      high - step,
      high,
      -step,
      0,
      step,
      ...bits,
      ...bits.map((bit) => high - bit),
      ...bits.map((bit) => -bit),
    ];
    return [...new Set(values)].filter((value) => value >= low && value <= high);
  }
  /** Some value of each field: not 0, so that one that goes astray is seen. */
  function background(field: Field, round: number): number {
    const values = boundaries(field).filter((value) => !field.excluded.includes(value));
    return values[(7 + 5 * round) % values.length]!;
  }

  test.each(legal.map((clause) => [clause.name, clause] as const))("%s: every field at its boundaries", (_name, clause) => {
    const { fields, match } = encodingOf(clause);
    const said = new Set(operandsOf(clause).map(({ field }) => field));
    const shown = fields.filter(({ name }) => said.has(name) || name === "aq" || name === "rl" || name === "rm");
    const word = (values: ReadonlyMap<Field, number>): number =>
      shown.reduce((bits, field) => bits | insertField(field, values.get(field)!), match);
    for (const round of [0, 1]) {
      const values = new Map(shown.map((field) => [field, background(field, round)] as const));
      const check = (): void => {
        const bits = word(values);
        // A special case of this clause has a name of its own.
        const name = allClauses[decoder.written(bits, mode)]!;
        if (name !== clause) {
          expect(["fence.tso", "pause"]).toContain(name.name);
          return;
        }
        const text = there(bits, mode);
        if (text.split(" ")[0]!.replace(/\.(?:aq|rl|aqrl)$/u, "") !== (clause.mnemonic ?? clause.name)) expect.fail(text);
        for (const [field, value] of values)
          if (extractField(field, bits) !== value) expect.fail(`${field.name} of ${hex(bits)} is not ${value}`);
      };
      check();
      for (const field of shown) {
        const before = values.get(field)!;
        for (const value of boundaries(field)) {
          if (field.excluded.includes(value)) {
            // Not this instruction, and the assembler says so.
            expect(() => insertField(field, value)).toThrow("reserved");
            continue;
          }
          values.set(field, value);
          check();
        }
        values.set(field, before);
      }
    }
  });

  test("random words, and random words of each instruction", () => {
    const any = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
    const clause = fc.constantFrom(...legal.filter((each) => encodingOf(each).length === 4));
    const seen = { legal: 0, illegal: 0 };
    const check = (word: number): void => {
      if ((word & 3) !== 3) return;
      const text = there(word, mode);
      const index = decoder.written(word, mode);
      if (index < 0) {
        seen.illegal++;
        expect(text).toBe(`.word 0x${hex(word).padStart(8, "0")}`);
        expect(legal.some((each) => encodingOf(each).length === 4 && matches(encodingOf(each), word))).toBe(false);
        return;
      }
      seen.legal++;
      expect(hex(reencoded(allClauses[index]!, word))).toBe(hex(word));
      expect(matches(encodingOf(allClauses[index]!), word)).toBe(true);
    };
    fc.assert(
      fc.property(any, (bits) => check(bits | 3)),
      { numRuns: 10_000 },
    );
    fc.assert(
      fc.property(clause, any, (each, bits) => {
        const { mask, match } = encodingOf(each);
        check(match | (bits & ~mask));
      }),
      { numRuns: 20_000 },
    );
    expect(seen.legal).toBeGreaterThan(20_000);
    expect(seen.illegal).toBeGreaterThan(2000);
  });
});
