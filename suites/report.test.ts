import { expect, test } from "vitest";
import { tableOf } from "./report.ts";

test("a line for each module, a sum for each suite, then what failed", () => {
  const table = tableOf([
    { suite: "python", module: "test_a", run: 3, passed: 2, skipped: 1, failed: [], seconds: 1.25, note: "of two" },
    {
      suite: "python",
      module: "test_m",
      run: 1,
      passed: 0,
      skipped: 0,
      failed: ["test.test_mmap.LargeMmapTests.test_around_4GB"],
      seconds: 1,
    },
    { suite: "python", module: "test_b", run: 2, passed: 1, skipped: 0, failed: ["T.x"], seconds: 2, broken: "timed out" },
  ]);
  expect(table.split("\n").map((line) => line.replaceAll(/ +/gu, " "))).toEqual([
    "suite module run passed failed skipped seconds",
    "python test_a 3 2 0 1 1.3 ok; of two",
    "python test_m 1 0 1 0 1.0 known",
    "python test_b 2 1 1 0 2.0 timed out",
    "python all 3 6 3 2 1 4.3 2 modules ok",
    expect.stringMatching(/^failed: python test_m: .*test_around_4GB \(known: .*\)$/u),
    "failed: python test_b: T.x",
  ]);
});
