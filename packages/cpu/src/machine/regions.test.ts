import { PAGE_SIZE, Perm } from "../abi.ts";
import * as capability from "../capability/index.ts";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import type { Region } from "./regions.ts";
import { RegionAllocator, regionShape } from "./regions.ts";

/** What a process gets to its region. */
const dataCapability = ({ base, length }: Region): ReturnType<typeof capability.root> =>
  capability.derive(capability.root(), base, length, Perm.Load | Perm.Store);

test("a region's bounds are always exact", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2 ** 31 }), (bytes) => {
      const { length, alignment } = regionShape(bytes);
      expect(length).toBeGreaterThanOrEqual(bytes);
      expect(length % PAGE_SIZE).toBe(0);
      expect(length).toBeLessThanOrEqual(Math.max(2 * PAGE_SIZE, bytes * 1.01 + PAGE_SIZE));
      const ddc = dataCapability({ base: alignment * 3, length });
      expect([ddc.tag, ddc.base, ddc.top]).toEqual([true, BigInt(alignment * 3), BigInt(alignment * 3 + length)]);
      expect(capability.representableLength(length)).toBe(BigInt(length));
    }),
  );
});

test("regions never overlap, and everything freed is one range again", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.constantFrom("free", "make", "extend"), fc.integer({ min: 1, max: 1 << 20 })), { maxLength: 60 }),
      (steps) => {
        const allocator = new RegionAllocator(16 << 20);
        const all = allocator.freeBytes;
        const live: Region[] = [];
        for (const [kind, size] of steps) {
          const old = live[size % Math.max(1, live.length)];
          if (kind === "free" && old !== undefined) allocator.free(live.splice(live.indexOf(old), 1)[0]!);
          else {
            const longer = kind === "extend" && old !== undefined;
            const region = longer ? allocator.extend(old, old.length + size) : allocator.allocate(size);
            if (region === null) continue;
            if (longer) {
              expect(region.base).toBe(old.base);
              expect(region.length).toBeGreaterThanOrEqual(old.length + size);
              expect(dataCapability(region).tag).toBe(true);
              live.splice(live.indexOf(old), 1);
            }
            expect(region.base).toBeGreaterThanOrEqual(0x10000);
            expect(region.base + region.length).toBeLessThanOrEqual(16 << 20);
            for (const other of live)
              expect(region.base >= other.base + other.length || other.base >= region.base + region.length).toBe(true);
            live.push(region);
          }
          expect(allocator.freeBytes).toBe(all - live.reduce((sum, { length }) => sum + length, 0));
        }
        for (const region of live) allocator.free(region);
        expect([allocator.freeBytes, allocator.fragments]).toEqual([all, 1]);
      },
    ),
  );
});

test("what does not fit is refused", () => {
  const allocator = new RegionAllocator(1 << 20);
  expect(allocator.allocate(1 << 20)).toBeNull();
  expect(allocator.allocate(2 ** 52)).toBeNull();
  expect(allocator.allocate(512 << 10)).not.toBeNull();
});
