import { expect, test } from "vitest";
import { distance, nearest } from "./problems.ts";
import { DURATION, durationMs, SIZE, sizeBytes, splitWords } from "./values.ts";

test.each([
  ["1m30s", 90_000],
  ["1.5s", 1500],
  ["250ms", 250],
  ["10us", 0.01],
  ["2h", 7_200_000],
  ["0", 0],
  ["1d1w", 691_200_000],
])("duration %s", (text, expected) => {
  expect(text).toMatch(DURATION);
  expect(durationMs(text)).toBeCloseTo(expected, 9);
});

test.each(["", "5", "s", "1x", "-1s", "1s ", "1 s"])("duration %j is none", (text) => expect(text).not.toMatch(DURATION));

test.each([
  ["4096", 4096],
  ["64b", 64],
  ["64k", 65_536],
  ["1.5gb", 1_610_612_736],
  ["2M", 2_097_152],
])("size %s", (text, expected) => {
  expect(text).toMatch(SIZE);
  expect(sizeBytes(text)).toBe(expected);
});

test.each([
  ["a  b\tc", ["a", "b", "c"]],
  ["sh -c 'a \"b\" $c'", ["sh", "-c", 'a "b" $c']],
  ['x "a \\"b\\" \\n" \'\'', ["x", 'a "b" \\n', ""]],
  ["a\\ b c'd'e", ["a b", "cde"]],
  ["", []],
])("words of %j", (line, words) => {
  expect(splitWords(line)).toEqual(words);
});

test("a quote that does not end is refused", () => {
  expect(() => splitWords("a 'b")).toThrow("does not end");
});

test("the word that was meant", () => {
  expect(nearest("enviroment", ["environment", "env_file"])).toBe("environment");
  expect(nearest("dependsOn", ["depends_on", "deploy"])).toBe("depends_on");
  expect(nearest("imgae", ["image"])).toBe("image");
  expect(nearest("zebra", ["image", "ports"])).toBeUndefined();
  expect(distance("ab", "ba")).toBe(1);
  expect(distance("kitten", "sitting")).toBe(3);
});
