import { describe, expect, test } from "vitest";
import { humanAge, humanBytes, table } from "./output.ts";

test("a table pads to the widest cell, without spaces at the end of a line", () => {
  const columns = [
    { title: "NAME", cell: (row: readonly string[]) => row[0]! },
    { title: "X", cell: (row: readonly string[]) => row[1]! },
  ];
  expect(
    table(
      [
        ["longer", "1"],
        ["a", ""],
      ],
      columns,
    ),
  ).toBe("NAME     X\nlonger   1\na");
  expect(table([], columns)).toBe("NAME   X");
});

describe("bytes", () => {
  test.each([
    [0, "0B"],
    [999, "999B"],
    [1000, "1.00kB"],
    [15_200_000, "15.2MB"],
    [999_499, "999kB"],
    [999_500, "1.00MB"],
    [999_999_999, "1.00GB"],
    [3e12, "3.00TB"],
    [1.2345e15, "1235TB"],
  ])("%d", (bytes, text) => expect(humanBytes(bytes)).toBe(text));
});

describe("ages", () => {
  const now = Date.parse("2026-01-01T00:00:00Z");
  test.each([
    [0, "less than a second"],
    [-5, "less than a second"],
    [1, "1 second"],
    [59, "59 seconds"],
    [60, "1 minute"],
    [3600 * 5, "5 hours"],
    [86400 * 6, "6 days"],
    [86400 * 8, "1 week"],
    [86400 * 800, "2 years"],
  ])("%d seconds", (seconds, text) => expect(humanAge(new Date(now - seconds * 1000).toISOString(), now)).toBe(text));
});
