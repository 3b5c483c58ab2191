import { assert, property, string } from "fast-check";
import { describe, expect, test } from "vitest";
import { interpolate, parseVariables } from "./interpolate.ts";

const variables = new Map([
  ["A", "one"],
  ["EMPTY", ""],
  ["B_2", "two"],
]);

describe("variables in texts", () => {
  test.each([
    ["$A and ${B_2}", "one and two"],
    ["$$A $${A}", "$A ${A}"],
    ["${NONE:-x}${EMPTY:-y}${A:-z}", "xyone"],
    ["${NONE-x}${EMPTY-y}", "x"],
    ["${NONE:+x}${EMPTY:+y}${A:+z}", "z"],
    ["${NONE+x}${EMPTY+y}", "y"],
    ["${NONE:-${A}-${NONE:-deep}}", "one-deep"],
    ["${NONE:-a:b?c}", "a:b?c"],
    ["${NONE-}", ""],
    ["$A.$B_2", "one.two"],
  ])("%s", (text, expected) => {
    expect(interpolate(text, variables)).toBe(expected);
  });

  test("of one that is missing is told", () => {
    const missing: string[] = [];
    expect(interpolate("a${NONE}b$OTHER${NONE:-}", variables, (name) => missing.push(name))).toBe("ab");
    expect(missing).toEqual(["NONE", "OTHER"]);
  });

  test.each([
    ["${A", 'without its "}"'],
    ["$", "without a name"],
    ["cost: 5$!", "write $$"],
    ["${}", "is not ${NAME}"],
    ["${A*}", "is not ${NAME}"],
    ["${1A}", "is not ${NAME}"],
    ["${NONE:?set it, $A}", "the variable NONE is not set: set it, one"],
    ["${NONE?}", "the variable NONE is not set"],
    ["${EMPTY:?}", "the variable EMPTY is not set"],
  ])("%s is refused", (text, message) => {
    expect(() => interpolate(text, variables)).toThrow(message);
  });

  test("a text in which every dollar is doubled comes out as it was", () => {
    assert(property(string(), (text) => interpolate(text.replaceAll("$", "$$$$"), variables) === text));
  });
});

describe("files of variables", () => {
  const parse = (text: string): Record<string, string> => Object.fromEntries(parseVariables(text, variables));

  test("comments, quotes, export, other variables", () => {
    const text = [
      "# first",
      "",
      "export X=1 # said",
      "Y = $X-$A",
      "Q='$X # not'  # comment",
      'D="two\\nlines $X \\$X \\"q\\""',
      'M="a',
      'b"',
      "HASH=a#b",
      "EMPTY_ONE=",
      "A",
      "NOBODY",
    ].join("\r\n");
    expect(parse(text)).toEqual({
      X: "1",
      Y: "1-one",
      Q: "$X # not",
      D: 'two\nlines 1 $X "q"',
      M: "a\nb",
      HASH: "a#b",
      EMPTY_ONE: "",
      A: "one",
    });
  });

  test.each([
    ["a b=1", "line 1: write NAME=value"],
    ["\n1A=2", "line 2"],
    ['X="open\nmore', "line 1: the quote of X does not end"],
    ["X='a' b", 'line 1: "b" behind the quote of X'],
  ])("%j is refused", (text, message) => {
    expect(() => parse(text)).toThrow(message);
  });
});
