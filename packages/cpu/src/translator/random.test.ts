import { describe, expect, test } from "vitest";
import { arbFlow } from "./flow.test.support.ts";
import { check } from "./play.test.support.ts";
import { WAYS } from "./twins.test.support.ts";

describe.each(WAYS)("random programs, %s", (_, way) => {
  // What differs between the ways is when code is translated, so that the first two see most.
  const part = (runs: number): number => ((way.translateAfter ?? 1) > 1 ? runs / 2 : runs);
  test("blocks with random ends", () => {
    expect(check(way, arbFlow("blocks"), part(500))).toBeGreaterThan(part(100_000));
  });
  test("nested loops, branches and calls", () => {
    expect(check(way, arbFlow("tree"), part(300))).toBeGreaterThan(part(50_000));
  });
  test("programs that change themselves", () => {
    check(way, arbFlow("blocks", { patches: 8, rare: 2 }), part(250));
  });
  test("floating point", () => {
    check(way, arbFlow("blocks", { floats: 40 }), part(200));
    check(way, arbFlow("tree", { floats: 40, rare: 0 }), part(100));
  });
  test("loads without a look at pages", () => {
    check(way, arbFlow("tree"), part(100), { checkLoads: false });
  });
});
