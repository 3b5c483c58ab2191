import { describe, expect, test } from "vitest";
import { arbFlow } from "./flow.test.support.ts";
import { check } from "./play.test.support.ts";
import { WAYS } from "./twins.test.support.ts";

describe.each(WAYS)("random programs, %s", (_, way) => {
  test("blocks with random ends", () => {
    expect(check(way, arbFlow("blocks"), 500)).toBeGreaterThan(100_000);
  });
  test("nested loops, branches and calls", () => {
    expect(check(way, arbFlow("tree"), 300)).toBeGreaterThan(50_000);
  });
  test("programs that change themselves", () => {
    check(way, arbFlow("blocks", { patches: 8, rare: 2 }), 250);
  });
  test("floating point", () => {
    check(way, arbFlow("blocks", { floats: 40 }), 200);
    check(way, arbFlow("tree", { floats: 40, rare: 0 }), 100);
  });
  test("loads without a look at pages", () => {
    check(way, arbFlow("tree"), 100, { checkLoads: false });
  });
});
