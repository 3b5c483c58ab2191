import { describe, expect, test } from "vitest";
import type { Contestant, Outcome, Sample, Work } from "./measure.ts";
import { align, isMet, rowOf, tableOf } from "./report.ts";

const outcome = (
  options: Partial<Work>,
  samples: Partial<Record<Contestant, readonly Sample[]>>,
  failures: Partial<Record<Contestant, string>> = {},
): Outcome => ({
  work: { suite: "cpu", name: "mix", unit: "iterations/s", better: "more", by: {}, ...options },
  samples: new Map(Object.entries(samples) as [Contestant, readonly Sample[]][]),
  failures: new Map(Object.entries(failures) as [Contestant, string][]),
});
const values = (...list: number[]): Sample[] => list.map((value) => ({ value, cpu: value * 2 }));
const target = { qemu: 3, native: 0.65 };

describe("figures to reach", () => {
  test.each([
    [{ qemu: 3, native: 0.65 }, true],
    [{ qemu: 2.99, native: 1 }, false],
    [{ qemu: 9, native: 0.64 }, false],
    [{ qemu: 9 }, undefined],
    [{ qemu: 1 }, false],
    [{ native: 0.1 }, false],
    [{}, undefined],
  ])("%j", (ratios, met) => {
    expect(isMet(ratios, target)).toBe(met);
  });
  test("of one peer only", () => {
    expect(isMet({ qemu: 1 }, { qemu: 1 })).toBe(true);
    expect(isMet({ native: 5 }, { qemu: 1 })).toBeUndefined();
  });
});

describe("rows", () => {
  test("medians and ratios of rates", () => {
    const row = rowOf(outcome({ target }, { native: values(100, 90, 120), "qemu-riscv64": values(20), cVM: values(80, 70, 75) }), false);
    expect(row.figures.native).toEqual({ median: 100, spread: { below: 1 - 90 / 100, above: 120 / 100 - 1 }, samples: [100, 90, 120] });
    expect(row.ratios).toEqual({ qemu: 3.75, native: 0.75 });
    expect(row.met).toBe(true);
  });
  test("of times, where less is better", () => {
    const row = rowOf(outcome({ better: "less", target: { qemu: 2 } }, { "qemu-riscv64": values(3), cVM: values(2) }), false);
    expect(row.ratios).toEqual({ qemu: 1.5 });
    expect(row.met).toBe(false);
  });
  test("by processor time, left out where it is not known", () => {
    const row = rowOf(outcome({}, { native: values(10), "qemu-riscv64": [{ value: 5 }], cVM: values(5) }), true);
    expect(row.figures.native?.median).toBe(20);
    expect(row.figures["qemu-riscv64"]).toBeUndefined();
    expect(row.ratios).toEqual({ native: 0.5 });
    expect(row).not.toHaveProperty("met");
  });
  test("a cVM that fails has missed; a peer that fails leaves it open", () => {
    expect(rowOf(outcome({ target }, { native: values(1), cVM: values(1) }, { cVM: "ended with 139" }), false)).toMatchObject({
      met: false,
      ratios: {},
      failures: { cVM: "ended with 139" },
    });
    const open = rowOf(outcome({ target }, { native: values(1), cVM: values(1) }, { "qemu-riscv64": "killed" }), false);
    expect(open.ratios).toEqual({ native: 1 });
    expect(open).not.toHaveProperty("met");
  });
});

test("columns", () => {
  expect(
    align([
      ["a", "bb", ""],
      ["ccc", "d", "e"],
    ]),
  ).toBe("a     bb\nccc   d    e");
});

test("the table: what was measured, what failed, what is reached", () => {
  const rows = [
    rowOf(outcome({ target }, { native: values(34_208, 34_000, 36_000), "qemu-riscv64": values(7864), cVM: values(18_154) }), false),
    rowOf(outcome({ name: "chase", unit: "steps/s" }, { cVM: values(5e8) }), false),
    rowOf(outcome({ name: "hash", unit: "operations/s", target: { qemu: 1.2 } }, { cVM: values(1) }), false),
    rowOf(
      outcome(
        { suite: "python", name: "fib", unit: "runs/s", target: { qemu: 2 } },
        { "qemu-riscv64": values(27) },
        { cVM: "ended with 1" },
      ),
      false,
    ),
  ];
  expect(tableOf(rows).split("\n")).toEqual([
    "suite    work    unit           native             qemu-riscv64   cVM      x qemu   x native   to reach",
    "cpu      mix     iterations/s   34.2 k (-1 +5 %)   7.86 k         18.2 k   2.31     0.531      3 qemu, 0.65 native   not met",
    "cpu      chase   steps/s        -                  -              500 M    -        -          -",
    "cpu      hash    operations/s   -                  -              1.00     -        -          1.2 qemu              open",
    "python   fib     runs/s         -                  27.0           failed   -        -          2 qemu                not met",
    "failed: python fib, cVM: ended with 1",
    "0 of 3 figures met, 1 open",
  ]);
});
