import { expect, test } from "vitest";
import { contentOf, Ledger } from "./load.ts";
import { randomOf } from "./random.ts";

test("a database has what was acknowledged, and nothing that was not sent", () => {
  const ledger = new Ledger();
  for (let count = 0; count < 5; count++) ledger.next();
  ledger.acknowledge(1);
  ledger.acknowledge(3);
  expect(ledger.problemOf(2)).toContain("3 was acknowledged");
  expect([3, 4, 5].map((last) => ledger.problemOf(last))).toEqual([undefined, undefined, undefined]);
  expect(ledger.problemOf(6)).toContain("only 5 were sent");
  expect(ledger.settle(4)).toBe(2);
  expect(ledger.problemOf(3)).toContain("4 was acknowledged");
  expect(ledger.next()).toBe(5);
  expect(ledger.settle(5)).toBe(0);
});

test("contents differ by number, in their length too", () => {
  const all = Array.from({ length: 500 }, (_, number) => contentOf(number));
  expect(new Set(all).size).toBe(500);
  expect(new Set(all.map(({ length }) => length)).size).toBeGreaterThan(300);
});

test("a seed repeats its numbers", () => {
  const [one, same, other] = [1, 1, 2].map((seed) => {
    const random = randomOf(seed);
    return Array.from({ length: 100 }, random);
  });
  expect(one).toEqual(same);
  expect(one).not.toEqual(other);
  expect(one!.every((number) => number >= 0 && number < 1)).toBe(true);
  expect(Math.min(...one!)).toBeLessThan(0.1);
  expect(Math.max(...one!)).toBeGreaterThan(0.9);
});
