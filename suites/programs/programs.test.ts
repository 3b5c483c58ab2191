import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parsePipelines } from "./pipelines.ts";
import { resultsOf } from "./speedtest.ts";

test("pipelines have names and scripts", () => {
  expect(parsePipelines("# words\n\n== one\na | b\n\n== two\nc\nd\n")).toEqual([
    { name: "one", script: "a | b\n" },
    { name: "two", script: "c\nd\n" },
  ]);
  const all = parsePipelines(readFileSync(join(import.meta.dirname, "pipelines.txt"), "utf8"));
  expect(all.length).toBeGreaterThan(35);
  expect(new Set(all.map(({ name }) => name)).size).toBe(all.length);
});

test("results of speedtest1 are compared without their times, and must have a digest", () => {
  const text = (time: string, hash: string): string =>
    `-- Speedtest1\n 100 - 2500 INSERTs into table with no index.......................    ${time}s\n       TOTAL.......    ${time}s\nVerification Hash: 8 ${hash}\n`;
  expect(resultsOf(text("0.594", "2ef302098d252181"))).toBe(resultsOf(text("12.001", "2ef302098d252181")));
  expect(resultsOf(text("0.594", "2ef302098d252181"))).not.toBe(resultsOf(text("0.594", "2ef302098d252182")));
  expect(() => resultsOf("Segmentation fault\n")).toThrow("Segmentation fault");
});
