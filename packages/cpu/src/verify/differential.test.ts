import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ENGINES } from "../engines.test.support.ts";
import { sameAsReference } from "./check.test.support.ts";
import { arbCase, type Options } from "./generate.ts";

/** How often each clause was executed to its end. */
function counting(counts: Map<string, number>): Parameters<typeof sameAsReference>[3] {
  return {
    hooks: (_, reference) => ({
      each: () => {
        const { name } = reference.clause!;
        counts.set(name, (counts.get(name) ?? 0) + 1);
      },
    }),
  };
}
const total = (counts: Map<string, number>): number => [...counts.values()].reduce((sum, count) => sum + count, 0);

describe.each(ENGINES)("random programs on the %s", (engine) => {
  test.for<[string, Options, number, number]>([
    ["integer mode", { mode: 0 }, 1500, 170],
    ["no capabilities in registers", { plain: true }, 1500, 130],
    ["capability mode", { mode: 1 }, 1500, 170],
  ])("do what the clauses say, in all of the state: %s", ([, options, runs, kinds]) => {
    const counts = new Map<string, number>();
    sameAsReference({ engine }, arbCase(options), runs, counting(counts));
    // It is not for want of instructions that nothing differs.
    expect(counts.size).toBeGreaterThan(kinds);
    expect(total(counts)).toBeGreaterThan(15 * runs);
  });

  test.for<[string, boolean, boolean]>([
    ["no relocation", false, true],
    ["traps instead of cleared tags", true, false],
    ["neither", false, false],
  ])("do what the clauses say on machines with other options: %s", ([, relocation, tagClearing]) => {
    const arbitrary = fc.oneof(arbCase({ mode: 0, relocation }), arbCase({ mode: 1, relocation }));
    sameAsReference({ engine, relocation, tagClearing }, arbitrary, 500);
  });

  test("do what the clauses say when loops go round thousands of times", () => {
    const arbitrary = fc.oneof(
      arbCase({ mode: 0, strict: true, rounds: 3000, maxLength: 6 }),
      arbCase({ strict: true, rounds: 300, maxLength: 8 }),
    );
    const counts = new Map<string, number>();
    sameAsReference({ engine }, arbitrary, 120, counting(counts));
    expect(counts.get("bne")).toBeGreaterThan(10_000);
  });
});
