import { expect, test } from "vitest";
import { parseSettings, type Settings } from "./arguments.ts";
import { checkNames, checksTable, costOf, VARIANTS, type ChecksRow } from "./checks.ts";
import { ipc } from "./ipc.ts";
import { calls, cpu } from "./kernels.ts";
import { python } from "./python.ts";
import { memory } from "./memory.ts";
import { nginx } from "./nginx.ts";
import { redis } from "./redis.ts";
import { sqlite } from "./sqlite.ts";
import { start } from "./start.ts";
import { TARGETS, targetOf } from "./targets.ts";

const settings = parseSettings([]) as Settings;
const suites = [cpu, calls, redis, nginx, python, sqlite, start, memory, ipc];

test("each figure to reach is of a work that is measured, or of a program that joins by --add", () => {
  const added = ["coremark", "dhrystone"];
  for (const [name, works] of Object.entries(TARGETS)) {
    const known = suites.find((suite) => suite.name === name)?.names(settings) ?? [];
    expect([...known, ...added]).toEqual(expect.arrayContaining(Object.keys(works)));
  }
});
test("names are unique, so that --only means one work", () => {
  const names = suites.flatMap((suite) => suite.names(settings));
  expect(new Set(names).size).toBe(names.length);
});
test("programs that join are found by their names", () => {
  expect(targetOf("cpu", "CoreMark")).toEqual({ qemu: 3, native: 0.65 });
  expect(targetOf("cpu", "toString")).toBeUndefined();
  expect(targetOf("python", "mix")).toBeUndefined();
  expect(targetOf("checks", "mix")).toBeUndefined();
});

test("the checks are measured on the kernels of cpu", () => {
  expect(checkNames().length).toBeGreaterThan(10);
  expect(cpu.names(settings)).toEqual(expect.arrayContaining(checkNames()));
});
test("what checks cost: time with all of them over time without, by geometric mean", () => {
  const row = (on: number, off: number): ChecksRow => ({ name: "k", work: { "all on": on, off, interpreter: 1 }, mips: {}, failures: {} });
  expect(costOf([row(100, 105)])).toEqual({ off: expect.closeTo(0.05, 12) as number });
  expect(costOf([row(100, 110), row(50, 50)])["off"]).toBeCloseTo(Math.sqrt(1.1) - 1, 12);
  expect(costOf([{ name: "k", work: { off: 5 }, mips: {}, failures: {} }])).toEqual({});
});
test("the table of checks", () => {
  const rows: ChecksRow[] = [
    { name: "mix", work: { "all on": 1000, off: 1090, "no pages": 1050 }, mips: { "all on": 2000, interpreter: 410 }, failures: {} },
    { name: "hash", work: { "all on": 2e6 }, mips: { "all on": 900 }, failures: { off: "ended with 139" } },
  ];
  const lines = checksTable({ rows, cost: costOf(rows), met: false, interpreter: 410 }).split("\n");
  expect(lines[0]?.split(/\s{3,}/u)).toEqual(["checks cost, beside", "all on", "MIPS", ...VARIANTS.slice(1, -1).map(({ name }) => name)]);
  expect(lines[1]?.split(/\s{3,}/u)).toEqual(["mix", "1.00 k/s", "2000", "-", "-", "5.0 %", "-", "9.0 %"]);
  expect(lines[2]?.split(/\s{3,}/u)).toEqual(["hash", "2.00 M/s", "900", "-", "-", "-", "-", "failed"]);
  expect(lines.slice(4)).toEqual([
    "failed: checks hash, off: ended with 139",
    "all checks cost 9.0 % (to reach: at most 8 %): not met",
    "interpreter alone, mix: 410 MIPS (to reach: 400): met",
  ]);
});
