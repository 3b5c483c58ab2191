import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BLOCK, Holes } from "./holes.ts";

describe("holes", () => {
  it("only whole blocks are holes; what touches one fills it", () => {
    const holes = new Holes();
    holes.add(100, 3 * BLOCK + 5);
    expect(holes.bytes).toBe(2 * BLOCK);
    expect([holes.hole(0, 10 * BLOCK), holes.data(BLOCK, 10 * BLOCK)]).toEqual([BLOCK, 3 * BLOCK]);
    holes.fill(2 * BLOCK + 1, 2 * BLOCK + 2);
    expect([holes.data(BLOCK, 10 * BLOCK), holes.hole(2 * BLOCK, 10 * BLOCK)]).toEqual([2 * BLOCK, 10 * BLOCK]);
    holes.add(2 * BLOCK, 3 * BLOCK);
    holes.add(3 * BLOCK, 4 * BLOCK);
    expect(holes.data(BLOCK + 7, 10 * BLOCK)).toBe(4 * BLOCK);
  });

  it("the end of the file is a hole, and a file that is cut and grows again keeps what it had", () => {
    const holes = new Holes();
    holes.resize(0, 5 * BLOCK + 1);
    expect(holes.data(0, 5 * BLOCK + 1)).toBe(5 * BLOCK + 1);
    holes.fill(0, 1);
    holes.resize(5 * BLOCK + 1, 3 * BLOCK + 1);
    expect(holes.bytes).toBe(3 * BLOCK);
    holes.resize(3 * BLOCK + 1, 8 * BLOCK);
    expect([holes.hole(0, 8 * BLOCK), holes.data(BLOCK, 8 * BLOCK)]).toEqual([BLOCK, 8 * BLOCK]);
  });

  it("says of each block what a plain list says", () => {
    const change = fc.record({ fill: fc.boolean(), from: fc.nat(20 * BLOCK), length: fc.integer({ min: 1, max: 6 * BLOCK }) });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 30 }), (changes) => {
        const holes = new Holes();
        const empty = Array.from({ length: 32 }, () => false);
        for (const { fill, from, length } of changes) {
          const to = from + length;
          if (fill) holes.fill(from, to);
          else holes.add(from, to);
          for (const block of empty.keys()) {
            const start = block * BLOCK;
            if (fill && start < to && from < start + BLOCK) empty[block] = false;
            if (!fill && start >= from && start + BLOCK <= to) empty[block] = true;
          }
        }
        const size = empty.length * BLOCK;
        expect(holes.bytes).toBe(empty.filter(Boolean).length * BLOCK);
        for (const block of empty.keys()) {
          const next = (wanted: boolean): number => {
            const found = empty.findIndex((hole, index) => index >= block && hole === wanted);
            return found < 0 ? size : found * BLOCK;
          };
          expect([holes.hole(block * BLOCK, size), holes.data(block * BLOCK, size)]).toEqual([next(true), next(false)]);
        }
      }),
    );
  });
});
