import { describe, expect, test } from "vitest";
import { parseForks, parseRedis, parseResult, parseTimes, scoreOf } from "./results.ts";

describe("result lines", () => {
  test("after what the program says before", () => {
    const text = "begin\nresult work=37396.4438 unit=iterations/s runs=748 seconds=0.200019 cpu=0.062913 checksum=000000000000329a\n";
    expect(parseResult(text)).toEqual({
      work: 37396.4438,
      unit: "iterations/s",
      seconds: 0.200019,
      cpu: 0.062913,
      checksum: "000000000000329a",
    });
  });
  test.each([
    ["", "no result line"],
    ["begin\n", 'no result line in "begin"'],
    ["result work=1 unit=a runs=1 seconds=1 cpu=1 checksum=12\n", "no result line"],
    ["result work=nan unit=a runs=1 seconds=1 cpu=1 checksum=0000000000000000\n", "is not a result"],
    ["result work=5 unit=a runs=1 seconds=0 cpu=1 checksum=0000000000000000\n", "is not a result"],
  ])("%j is none", (text, message) => {
    expect(() => parseResult(text)).toThrow(message);
  });
});

describe("scores of other programs", () => {
  test("CoreMark's and Dhrystone's", () => {
    expect(scoreOf("Total ticks      : 14321\nIterations/Sec   : 18154.231\nCompiler version : GCC\n", 20)).toEqual({
      value: 18154.231,
      unit: "iterations/s",
    });
    expect(scoreOf("Dhrystones per Second:                      15200000.0 \n", 3)).toEqual({ value: 15_200_000, unit: "turns/s" });
  });
  test("runs per second where there is none", () => {
    expect(scoreOf("done\n", 4)).toEqual({ value: 0.25, unit: "runs/s" });
    expect(scoreOf("Iterations/Sec   : 0\n", 0.5)).toEqual({ value: 2, unit: "runs/s" });
  });
});

test("times, and what the program itself said", () => {
  expect(parseTimes("a warning\ntimed wall=1.500000 user=0.250000 system=0.500000\n")).toEqual({
    wall: 1.5,
    cpu: 0.75,
    rest: "a warning\n",
  });
  expect(() => parseTimes("killed\n")).toThrow('no times in "killed"');
});

test("redis-benchmark's table", () => {
  const text = '"test","rps","avg_latency_ms"\n"SET","78186.09","0.5"\n"GET","91000.00","0.4"\n';
  expect(parseRedis(text, "SET")).toBe(78186.09);
  expect(parseRedis(text, "GET")).toBe(91000);
  expect(() => parseRedis(text, "LPUSH")).toThrow("said nothing of LPUSH");
});

test("times of forks", () => {
  expect(parseForks("forks small=0.000200000 large=0.012000000 mib=64\n")).toEqual({ small: 0.0002, large: 0.012, mib: 64 });
  expect(() => parseForks("fork: Out of memory\n")).toThrow('no times of forks in "fork: Out of memory"');
  expect(() => parseForks("forks small=0 large=0.01 mib=64\n")).toThrow("no times of forks");
});
