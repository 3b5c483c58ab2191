import { expect, test } from "vitest";
import { parsePython } from "./python-output.ts";

const LINE = "=".repeat(70);

test("a run that came to its end: counts of the summary, each failing case once", () => {
  const text = [
    "test_a (test.test_x.T.test_a) ... ok",
    "test_b (test.test_x.T.test_b) ... skipped 'no'",
    LINE,
    "ERROR: test_c (test.test_x.T.test_c) (i=1)",
    "Traceback: ...",
    LINE,
    "ERROR: test_c (test.test_x.T.test_c) (i=2)",
    LINE,
    "FAIL: setUpClass (test.test_x.U)",
    "Total tests: run=1,205 failures=2 skipped=3",
  ].join("\n");
  expect(parsePython(text)).toEqual({
    complete: true,
    run: 1205,
    passed: 1200,
    skipped: 3,
    failed: ["test.test_x.T.test_c", "test.test_x.U.setUpClass"],
  });
});

test("a run that was cut off: the tests' own lines count, and the last one is named", () => {
  const text = [
    "test_a (test.test_x.T.test_a) ... ok",
    "test_b (test.test_x.T.test_b)",
    "What it is about. ... skipped 'no'",
    "test_c (test.test_x.T.test_c) ... printed",
    "by itself",
  ].join("\n");
  expect(parsePython(text)).toEqual({ complete: false, run: 3, passed: 1, skipped: 1, failed: [], last: "test.test_x.T.test_c" });
});

test("nothing is no success", () => {
  expect(parsePython("")).toEqual({ complete: false, run: 0, passed: 0, skipped: 0, failed: [] });
});
