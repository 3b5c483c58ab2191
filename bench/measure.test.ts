import { describe, expect, test } from "vitest";
import { inOneLine, measureAll, order, type Sample, type Work } from "./measure.ts";

const work = (name: string, by: Work["by"]): Work => ({ suite: "s", name, unit: "u", better: "more", by });
const never = new AbortController().signal;
const gives = (sample: Sample, log: string[] = [], note = "") => {
  return () => {
    log.push(note);
    return Promise.resolve(sample);
  };
};

test("contestants begin in turn", () => {
  expect([1, 2, 3, 4].map((round) => order(["a", "b", "c"], round).join(""))).toEqual(["abc", "bca", "cab", "abc"]);
  expect(order([], 3)).toEqual([]);
});

test("round by round, work by work, contestant by contestant", async () => {
  const log: string[] = [];
  const by = (name: string): Work["by"] => ({
    native: gives({ value: 1 }, log, `${name} native`),
    cVM: gives({ value: 2 }, log, `${name} cVM`),
  });
  const outcomes = await measureAll([work("a", by("a")), work("b", by("b"))], 2, () => {}, never);
  expect(log).toEqual(["a native", "a cVM", "b native", "b cVM", "a cVM", "a native", "b cVM", "b native"]);
  expect(outcomes.map(({ samples }) => samples.get("native")?.length)).toEqual([2, 2]);
  expect(outcomes[0]?.samples.has("qemu-riscv64")).toBe(false);
  expect(outcomes[0]?.failures.size).toBe(0);
});

test("one that fails is not asked again; the others are", async () => {
  let asked = 0;
  const lines: string[] = [];
  const by: Work["by"] = {
    native: gives({ value: 1 }),
    cVM: () => {
      asked++;
      return Promise.reject(new Error("the program\n ended with 139\n"));
    },
  };
  const [outcome] = await measureAll([work("a", by)], 3, (line) => lines.push(line), never);
  expect(asked).toBe(1);
  expect([...outcome!.failures]).toEqual([["cVM", "the program; ended with 139"]]);
  expect(outcome!.samples.get("native")).toHaveLength(3);
  expect(lines).toContain("round 1 of 3, s a, cVM: FAILED: the program; ended with 139");
  expect(lines).toContain("round 2 of 3, s a, native: 1.000 u");
});

test("interrupted: what was measured until then, and no failure", async () => {
  const stop = new AbortController();
  let asked = 0;
  const by: Work["by"] = {
    native: gives({ value: 1 }),
    cVM: () => {
      asked++;
      if (asked === 1) return Promise.resolve({ value: 2 });
      stop.abort();
      return new Promise(() => {});
    },
  };
  const [outcome] = await measureAll([work("a", by)], 5, () => {}, stop.signal);
  expect(asked).toBe(2);
  expect(outcome!.samples.get("cVM")).toEqual([{ value: 2 }]);
  expect(outcome!.failures.size).toBe(0);
});

describe("checksums", () => {
  test("that agree, or are not given, are no matter", async () => {
    const by: Work["by"] = {
      native: gives({ value: 1, checksum: "x" }),
      "qemu-riscv64": gives({ value: 1 }),
      cVM: gives({ value: 1, checksum: "x" }),
    };
    const [outcome] = await measureAll([work("a", by)], 2, () => {}, never);
    expect(outcome!.failures.size).toBe(0);
  });
  test("that differ fail all contestants of the work: who is wrong is not known", async () => {
    const by: Work["by"] = { native: gives({ value: 1, checksum: "x" }), cVM: gives({ value: 1, checksum: "y" }) };
    const [outcome] = await measureAll([work("a", by)], 1, () => {}, never);
    expect([...outcome!.failures.values()]).toEqual(Array(2).fill("the results of a differ: native x, cVM y"));
  });
});

test("long explanations are cut", () => {
  expect(inOneLine(new Error("x".repeat(1000)))).toHaveLength(402);
  expect(inOneLine("1\n\n 2 \n3\n4")).toBe("1; 2; 3");
});
