import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ARITHMETIC_CALLS, checkArithmetic } from "../recordings/arithmetic.ts";
import { readLines } from "../recordings/lines.ts";

test("CHERI Concentrate agrees with 60,000 results of the formal model of CHERI-RISC-V ISAv9", () => {
  const { cases, calls, mismatches } = checkArithmetic(
    readLines(readFileSync(new URL("../../test-data/capability-arithmetic.tsv.gz", import.meta.url))),
  );
  expect(mismatches.slice(0, 3)).toEqual([]);
  expect(mismatches.length).toBe(0);
  expect(cases).toBe(60_000);
  expect([...calls.keys()].toSorted()).toEqual(ARITHMETIC_CALLS.toSorted());
  for (const [call, count] of calls) expect(count, call).toBeGreaterThan(9_000);
});
