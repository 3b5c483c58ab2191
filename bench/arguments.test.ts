import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseSettings, SUITES, UsageError } from "./arguments.ts";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "cvm-bench-test-"));
  for (const name of ["riscv", "native"]) writeFileSync(join(folder, name), "");
});
afterAll(() => rmSync(folder, { recursive: true }));

describe("what is asked for", () => {
  test("everything, five times, unless said otherwise", () => {
    expect(parseSettings([])).toEqual({
      suites: SUITES,
      rounds: 5,
      only: [],
      format: "table",
      add: [],
      quick: false,
      cpu: false,
      seconds: 1,
      warmUp: 0.5,
      requests: 100_000,
    });
  });
  test("suites in their own order, each once; all of them", () => {
    expect(parseSettings(["start", "cpu", "start"])?.suites).toEqual(["cpu", "start"]);
    expect(parseSettings(["cpu", "all"])?.suites).toEqual(SUITES);
  });
  test("--quick is short; what is given beside it counts", () => {
    expect(parseSettings(["--quick"])).toMatchObject({ quick: true, rounds: 1, seconds: 0.2, warmUp: 0.1, requests: 10_000 });
    expect(parseSettings(["--quick", "--rounds", "7", "--seconds", "3", "--requests", "500"])).toMatchObject({
      rounds: 7,
      seconds: 3,
      warmUp: 1.5,
      requests: 500,
    });
  });
  test("names in lists and again", () => {
    expect(parseSettings(["--only", "mix,nbody", "--only", "hash"])?.only).toEqual(["mix", "nbody", "hash"]);
  });
  test("programs by absolute paths", () => {
    const pair = `CoreMark=${join(folder, "riscv")},${join(folder, "native")}`;
    expect(parseSettings(["cpu", "--add", pair])?.add).toEqual([
      { name: "CoreMark", riscv: join(folder, "riscv"), native: join(folder, "native") },
    ]);
  });
  test("the separator that pnpm hands on", () => {
    expect(parseSettings(["--", "redis", "--rounds", "9"])).toMatchObject({ suites: ["redis"], rounds: 9 });
  });
  test("help", () => {
    expect(parseSettings(["cpu", "--help"])).toBeUndefined();
    expect(parseSettings(["-h"])).toBeUndefined();
  });
});

describe("what is wrong", () => {
  test.each([
    [["speed"], 'there is no suite "speed": choose of cpu, '],
    [["--rounds", "0"], '--rounds "0": give a whole number from 1 to 1000'],
    [["--rounds", "1001"], '--rounds "1001"'],
    [["--rounds", "2.5"], '--rounds "2.5"'],
    [["--rounds", ""], '--rounds ""'],
    [["--rounds"], "--rounds"],
    [["--requests", "99"], '--requests "99": give a whole number from 100'],
    [["--seconds", "0"], '--seconds "0": give a number from 0.01 to 600'],
    [["--seconds", "soon"], '--seconds "soon"'],
    [["--format", "xml"], '--format "xml": choose table or json'],
    [["--only", ","], "--only: name at least one work"],
    [["--rouns", "5"], "--rouns"],
    [["--quick=yes"], "--quick"],
    [["cpu", "--add", "CoreMark"], '--add "CoreMark": write NAME=RV_ELF,NATIVE_ELF'],
    [["cpu", "--add", "CoreMark=a"], "write NAME=RV_ELF,NATIVE_ELF"],
    [["cpu", "--add", "CoreMark=a,b,c"], "write NAME=RV_ELF,NATIVE_ELF"],
    [["cpu", "--add", "Core Mark=a,b"], "the name may have letters"],
    [["cpu", "--add", "CoreMark=/no/such/file,/bin/sh"], "there is no file /no/such/file"],
    [["cpu", "--add", "CoreMark=/bin/sh,/tmp"], "tmp is not a file"],
  ])("%j", (args, message) => {
    expect(() => parseSettings(args)).toThrow(UsageError);
    expect(() => parseSettings(args)).toThrow(message);
  });
  test("programs that nothing runs, and two of one name", () => {
    const pair = `a=${join(folder, "riscv")},${join(folder, "native")}`;
    expect(() => parseSettings(["redis", "--add", pair])).toThrow("programs join the suite cpu, which is not asked for");
    expect(() => parseSettings(["cpu", "--add", pair, "--add", pair])).toThrow('two programs have the name "a"');
  });
});
