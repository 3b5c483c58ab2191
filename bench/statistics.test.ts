import { expect, test } from "vitest";
import { geometricMean, humanNumber, median, speedRatio, spread } from "./statistics.ts";

test("medians: the middle one, the mean of two, none", () => {
  const list = [9, 1, 5];
  expect(median(list)).toBe(5);
  expect(list).toEqual([9, 1, 5]);
  expect(median([4, 1, 3, 100])).toBe(3.5);
  expect(median([10, 9, 100, 2])).toBe(9.5);
  expect(median([7])).toBe(7);
  expect(median([])).toBeNaN();
});
test("the spread around the median", () => {
  expect(spread([100, 90, 150, 100, 101])).toEqual({ below: 1 - 90 / 100, above: 150 / 100 - 1 });
  expect(spread([3])).toEqual({ below: 0, above: 0 });
});
test("geometric means", () => {
  expect(geometricMean([1, 100])).toBeCloseTo(10, 12);
  expect(geometricMean([2, 4, 8])).toBeCloseTo(4, 12);
  expect(geometricMean([])).toBeNaN();
  expect(geometricMean([1, 0])).toBeNaN();
  expect(geometricMean([1, Number.NaN])).toBeNaN();
});
test("ratios are of speed: more work, less time", () => {
  expect(speedRatio(30, 10, "more")).toBe(3);
  expect(speedRatio(30, 10, "less")).toBeCloseTo(1 / 3, 12);
});
test.each([
  [0, "0"],
  [1, "1.00"],
  [12.34, "12.3"],
  [123.4, "123"],
  [999.4, "999"],
  [999.6, "1.00 k"],
  [1234, "1.23 k"],
  [99_949, "99.9 k"],
  [99_960, "100 k"],
  [5.678e6, "5.68 M"],
  [3.331e10, "33.3 G"],
  [1e13, "10000 G"],
  [0.0123, "12.3 m"],
  [4.5e-7, "450 n"],
  [2e-12, "0.00 n"],
  [-1500, "-1.50 k"],
  [Number.NaN, "-"],
  [Infinity, "-"],
])("%d as %s", (value, text) => {
  expect(humanNumber(value)).toBe(text);
});
