import { describe, expect, test } from "vitest";
import { Interpreter } from "../interpreter/interpreter.ts";
import type { Clause } from "../isa/clause.ts";
import { allClauses } from "../isa/index.ts";
import { fuzz, settingsOf, UsageError, type Settings } from "./campaign.ts";

const settings = (...args: string[]): Settings => settingsOf(args)!;
/** The exit code, and what was printed. */
function run(given: Settings): { readonly code: number; readonly text: string } {
  const lines: string[] = [];
  const code = fuzz(given, (text) => void lines.push(text));
  return { code, text: lines.join("\n") };
}

describe("fuzzing", () => {
  test("options are read, and wrong ones named", () => {
    expect(settings()).toMatchObject({ programs: 1_000_000, minutes: Infinity, engine: "interpreter", mode: "all", rounds: 5 });
    expect(settings("--", "--programs", "1,000", "--seed", "7", "--no-relocation")).toMatchObject({
      programs: 1000,
      seed: 7,
      relocation: false,
    });
    expect(settings("--minutes", "0.5")).toMatchObject({ programs: Infinity, minutes: 0.5 });
    expect(settingsOf(["--help"])).toBeUndefined();
    for (const args of [
      ["--seed", "x"],
      ["--seed", "-1"],
      ["--programs", "0"],
      ["--engine", "none"],
      ["--minutes", "no"],
      ["--what"],
      ["7"],
    ]) {
      expect(() => settingsOf(args), args.join(" ")).toThrow(UsageError);
    }
  });

  test("the same seed gives the same programs", () => {
    const first = run(settings("--programs", "40", "--seed", "11"));
    expect(first.code).toBe(0);
    const total = /40 programs, ([\d,]+) instructions/u.exec(first.text)![1]!;
    expect(run(settings("--programs", "40", "--seed", "11")).text).toContain(`40 programs, ${total} instructions`);
    expect(run(settings("--programs", "40", "--seed", "12")).text).not.toContain(`40 programs, ${total} instructions`);
  });

  test("a fault is found, shrunk, shown as assembly with both states, and found again by its seed", () => {
    // csub adds 1 where rs1 is 0, in the machine only.
    const clauses = allClauses.map((clause): Clause => {
      if (clause.name !== "csub") return clause;
      return {
        ...clause,
        semantics: (s) => s.setX("rd", s.op("i64.add", s.op("i64.sub", s.x("rs1"), s.x("rs2")), s.bool(s.op("i64.eqz", s.x("rs1"))))),
      };
    });
    const interpreter = new Interpreter(clauses);
    const found = run({ ...settings("--seed", "3", "--mode", "integer"), interpreter });
    expect(found.code).toBe(1);
    expect(found.text).toMatch(/First different after 0x[\da-f]+: csub /u);
    expect(found.text).toMatch(/ {2}c\d+: reference 0x[\da-f]+, machine 0x[\da-f]+/u);
    expect(found.text).toContain("  pcc = 0x");
    // Little is left of the program.
    expect(found.text.match(/^ {2}0x[\da-f]+: /gmu)!.length).toBeLessThanOrEqual(3);
    const again = /Again: pnpm fuzz:isa (.*)$/mu.exec(found.text)![1]!;
    expect(run({ ...settings(...again.split(" ")), interpreter }).code).toBe(1);
  });
});
