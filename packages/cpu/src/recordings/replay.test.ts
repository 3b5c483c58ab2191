import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { ENGINES } from "../engines.test.support.ts";
import { DIVERGENCES, REASONS } from "./divergences.ts";
import { readLines } from "./lines.ts";
import { OTHER_ENCODING, replay, REPLAY_MODES, type ReplayMode } from "./replay.ts";
import { parseSequence } from "./sequences.ts";

const DOCUMENT = readFileSync(new URL("../../../../docs/verification.md", import.meta.url), "utf8");
const linesOf = (mode: ReplayMode): string[] => readLines(readFileSync(new URL(`../../test-data/rvfi-${mode}.jsonl.gz`, import.meta.url)));

describe.each(ENGINES)("recorded sequences, %s", (engine) => {
  test.each(REPLAY_MODES)("%s: all but the listed differences match", (mode) => {
    const lines = linesOf(mode);
    const result = replay(lines, { mode, engine, divergences: DIVERGENCES });
    expect(result.mismatches.slice(0, 5)).toEqual([]);
    expect(result.mismatches.length).toBe(0);
    expect(result.missing).toEqual([]);
    expect(result).toMatchObject({ sequences: 1708, skipped: 40, instructions: 9816 });
    expect(result.matching + result.diverging).toBe(1668);
    const row = `| 1,668 | ${result.matching.toLocaleString("en")} | ${result.diverging} (${result.divergences.length} fields) | \`cvm-cpu replay --mode ${mode} `;
    expect(DOCUMENT).toContain(row);
    // Every listed difference of the mode belongs to a sequence of the file.
    expect(result.divergences.length).toBe(DIVERGENCES.filter(({ modes }) => modes.includes(mode)).length);
  });

  test("a difference that is not listed is a mismatch, and one that is listed but does not occur is an error", () => {
    const lines = linesOf("v9r").slice(0, 40);
    const [divergence] = DIVERGENCES;
    const [name] = lines.map((line, index) => parseSequence(line, index + 1).name);
    const planted = [{ ...divergence!, sequence: name! }];
    const result = replay(lines, { mode: "v9r", engine, divergences: planted });
    expect(result.missing).toEqual(planted);
    expect(result.mismatches).toEqual([]);
    expect([result.matching, result.diverging]).toEqual([39, 0]);
    const record = JSON.parse(lines[0]!) as { i: string[]; r: unknown[][] };
    record.r[0]![4] = "dead";
    const changed = replay([JSON.stringify(record)], { mode: "v9r", engine, divergences: [] });
    expect(changed.mismatches).toEqual([expect.objectContaining({ sequence: name, step: 0, field: "rdValue", theirs: "dead", ours: "0" })]);
  });

  test("the mode matters", () => {
    const result = replay(linesOf("v8"), { mode: "v9r", engine, divergences: DIVERGENCES });
    expect(result.mismatches.length).toBeGreaterThan(200);
  });
});

describe("the list of differences", () => {
  test("has a reason for each, uses every reason, and names nothing twice", () => {
    expect(new Set(DIVERGENCES.map(({ reason }) => reason))).toEqual(new Set(Object.keys(REASONS)));
    const keys = DIVERGENCES.flatMap(({ modes, sequence, step, field }) => modes.map((mode) => `${mode} ${sequence} ${step} ${field}`));
    expect(new Set(keys).size).toBe(keys.length);
    expect(DIVERGENCES.filter(({ sequence }) => sequence.startsWith(OTHER_ENCODING))).toEqual([]);
  });
  test("is documented: each reason with the number of its sequences", () => {
    for (const reason of Object.keys(REASONS)) {
      const names = new Set(DIVERGENCES.filter((divergence) => divergence.reason === reason).map(({ sequence }) => sequence));
      expect(DOCUMENT).toMatch(new RegExp(`^\\| \`${reason}\` \\| ${reason === "follows" ? "–" : names.size} `, "mu"));
    }
  });
  test("has a difference before each one that follows", () => {
    for (const { reason, sequence, step, modes } of DIVERGENCES) {
      if (reason !== "follows") continue;
      const earlier = DIVERGENCES.filter(
        (other) => other.sequence === sequence && other.step < step && modes.every((mode) => other.modes.includes(mode)),
      );
      expect(
        earlier.some((other) => other.reason !== "follows"),
        `${sequence} #${step}`,
      ).toBe(true);
    }
  });
});

describe("a line of a recording", () => {
  const good = '{"f":"a","i":["00000013"],"r":[[0,"80000000","80000004",0,"0","0",0,0,"0",3]]}';
  test("is read", () => {
    expect(parseSequence(good, 7)).toEqual({
      line: 7,
      name: "a",
      steps: [
        {
          insn: 0x13,
          trap: false,
          pcBefore: 0x8000_0000n,
          pcAfter: 0x8000_0004n,
          rd: 0,
          rdValue: 0n,
          memoryAddress: 0n,
          readMask: 0,
          writeMask: 0,
          writeData: 0n,
          mode: 3,
        },
      ],
    });
  });
  test.each<[string, string, RegExp]>([
    ["no JSON", "{", /no JSON/u],
    ["no object", "3", /expected an object, not 3/u],
    ["null", "null", /expected an object, not null/u],
    ["no name", good.replace('"f":"a",', ""), /f: expected a name, not nothing/u],
    ["no list of instructions", good.replace('["00000013"]', "1"), /i: expected a list/u],
    ["no list of records", good.replace(/\[\[.*\]\]/u, "{}"), /r: expected a list/u],
    ["a record too few", good.replace(/\[\[.*\]\]/u, "[]"), /1 instructions, but 0 records/u],
    ["a record of 9 fields", good.replace(",3]", "]"), /#0: expected a list of 10 fields/u],
    [
      "an instruction that is no number",
      good.replace("00000013", "nop"),
      /#0, instruction: expected a hexadecimal string of up to 8 digits/u,
    ],
    ["an instruction too long", good.replace("00000013", "000000013"), /#0, instruction: expected/u],
    ["a pc that is a number", good.replace('"80000000"', "80000000"), /#0, pc before: expected/u],
    ["a value too long", good.replace('"80000004"', '"10000000080000004"'), /#0, pc after: expected/u],
    ["register 32", good.replace('"80000004",0', '"80000004",32'), /#0, rd: expected a whole number up to 31, not 32/u],
    ["a trap of 2", good.replace("[[0", "[[2"), /#0, trap: expected a whole number up to 1, not 2/u],
    ["a mask that is a fraction", good.replace('"0",0,0', '"0",0.5,0'), /#0, read mask: expected/u],
    ["privilege 4", good.replace(",3]", ",4]"), /#0, privilege: expected/u],
  ])("with %s is refused by number", (_, line, message) => {
    const read = (): unknown => parseSequence(line, 12);
    expect(read).toThrow(/^\[bad-line\] line 12: /u);
    expect(read).toThrow(message);
  });
  test("must not have a name that was there before", () => {
    expect(() => replay([good, good], { mode: "v9r", divergences: [] })).toThrow(/line 2: a second sequence with the name "a"/u);
  });
});
