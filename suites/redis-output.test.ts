import { expect, test } from "vitest";
import { parseRedisSuite } from "./redis-output.ts";

test("units with what passed, failed and was skipped, and their seconds", () => {
  const text = [
    "Test suite started at port 1",
    "Testing unit/a",
    "[ok]: one (3 ms)",
    "[err]: two (with brackets) in tests/unit/a.tcl",
    "Expected 1",
    "[skip]: three: Not supported",
    "[1/2 done]: unit/a (7 seconds)",
    "Testing unit/type/b",
    "[ok]: four (0 ms)",
    "[exception]: Executing test client: gone.",
  ].join("\n");
  expect(parseRedisSuite(text)).toEqual([
    { unit: "unit/a", run: 3, passed: 1, skipped: 1, failed: ["two (with brackets)"], seconds: 7 },
    { unit: "unit/type/b", run: 2, passed: 1, skipped: 0, failed: ["exception: Executing test client: gone."] },
  ]);
});
