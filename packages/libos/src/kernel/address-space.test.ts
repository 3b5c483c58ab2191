import type { HostCalls, ProcessOp } from "@cvm/monitor/abi";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { AddressSpace, LOWEST, PAGE } from "./address-space.ts";
import { E } from "./errno.ts";
import { MemoryAccount } from "./memory-account.ts";
import type { VfsFile } from "./types.ts";

const MIB = 1024 * 1024;
const make = (limit = 64 * MIB): { space: AddressSpace; account: MemoryAccount; ops: ProcessOp[] } => {
  const account = new MemoryAccount(limit);
  const space = new AddressSpace(1, 64 * MIB, account);
  space.mmapTop = 32 * MIB;
  return { space, account, ops: [] };
};
const lines = (space: AddressSpace): string[] => space.mappings.map(({ start, end, prot }) => `${start / PAGE}-${end / PAGE}:${prot}`);

test("neighbours with equal attributes are one mapping; a hole and mprotect split it", () => {
  const { space, ops, account } = make();
  expect(space.map(16 * PAGE, 4 * PAGE, { prot: 3 }, undefined, ops)).toBe(0);
  space.map(20 * PAGE, 4 * PAGE, { prot: 3 }, undefined, ops);
  expect(lines(space)).toEqual(["16-24:3"]);
  space.protect(18 * PAGE, 2 * PAGE, 1, ops);
  expect(lines(space)).toEqual(["16-18:3", "18-20:1", "20-24:3"]);
  space.unmap(19 * PAGE, 2 * PAGE, ops);
  expect(lines(space)).toEqual(["16-18:3", "18-19:1", "21-24:3"]);
  expect(account.used).toBe(6 * PAGE);
  space.protect(18 * PAGE, PAGE, 3, ops);
  expect(lines(space)).toEqual(["16-19:3", "21-24:3"]);
});

test("mappings go from the top down into the first gap that is large enough", () => {
  const { space, ops } = make();
  const first = space.place(4 * PAGE);
  expect(first).toBe(32 * MIB - 4 * PAGE);
  space.map(first, 4 * PAGE, { prot: 3 }, undefined, ops);
  space.map(first - 6 * PAGE, 4 * PAGE, { prot: 3 }, undefined, ops);
  expect(space.place(2 * PAGE)).toBe(first - 2 * PAGE);
  expect(space.place(3 * PAGE)).toBe(first - 9 * PAGE);
  expect(space.place(64 * MIB)).toBe(-E.NOMEM);
});

test("PROT_NONE takes no memory, and first access rights make zero pages", () => {
  const { space, account, ops } = make(10 * PAGE);
  expect(space.map(16 * PAGE, 100 * PAGE, { prot: 0 }, undefined, ops)).toBe(0);
  expect(account.used).toBe(0);
  expect(ops).toEqual([]);
  expect(space.protect(20 * PAGE, 4 * PAGE, 3, ops)).toBe(0);
  expect(ops).toEqual([{ op: "map", process: 1, address: 20 * PAGE, length: 4 * PAGE, prot: 3 }]);
  expect(space.protect(24 * PAGE, 8 * PAGE, 3, ops)).toBe(-E.NOMEM);
  expect(account.used).toBe(4 * PAGE);
  expect(space.map(400 * PAGE, 7 * PAGE, { prot: 3 }, undefined, ops)).toBe(-E.NOMEM);
  space.release();
  expect(account.used).toBe(0);
});

test("brk grows and shrinks the heap, and stays when something is in the way", () => {
  const { space, ops } = make();
  space.brkStart = space.brk = 100 * PAGE;
  expect(space.setBrk(0, Infinity, ops)).toBe(100 * PAGE);
  expect(space.setBrk(103 * PAGE + 5, Infinity, ops)).toBe(103 * PAGE + 5);
  expect(lines(space)).toEqual(["100-104:3"]);
  space.map(106 * PAGE, PAGE, { prot: 1 }, undefined, ops);
  expect(space.setBrk(107 * PAGE, Infinity, ops)).toBe(103 * PAGE + 5);
  expect(space.setBrk(101 * PAGE, Infinity, ops)).toBe(101 * PAGE);
  expect(lines(space)).toEqual(["100-101:3", "106-107:1"]);
  expect(space.setBrk(105 * PAGE, 4 * PAGE, ops)).toBe(101 * PAGE);
});

test("mremap shrinks, grows in place, moves with the bytes", () => {
  const { space, ops } = make();
  space.map(16 * PAGE, 4 * PAGE, { prot: 3 }, undefined, ops);
  expect(space.remap(16 * PAGE, 4 * PAGE, 2 * PAGE, false, null, ops)).toBe(16 * PAGE);
  expect(space.remap(16 * PAGE, 2 * PAGE, 3 * PAGE, false, null, ops)).toBe(16 * PAGE);
  space.map(19 * PAGE, PAGE, { prot: 1 }, undefined, ops);
  expect(space.remap(16 * PAGE, 3 * PAGE, 8 * PAGE, false, null, ops)).toBe(-E.NOMEM);
  ops.length = 0;
  const moved = space.remap(16 * PAGE, 3 * PAGE, 8 * PAGE, true, null, ops);
  expect(moved).toBe(32 * MIB - 8 * PAGE);
  expect(ops.map(({ op }) => op)).toEqual(["map", "copy", "unmap"]);
  expect(space.remap(16 * PAGE, PAGE, PAGE, true, null, ops)).toBe(-E.FAULT);
});

test("a shared file gets only the pages that changed, and never grows", async () => {
  const content = Buffer.alloc(PAGE + 100, 1);
  const writes: number[] = [];
  const file: VfsFile = {
    path: "/f",
    size: () => content.length,
    pread: (offset, length) => Uint8Array.from(content.subarray(offset, offset + length)),
    pwrite: (offset, bytes) => {
      writes.push(offset, bytes.length);
      return bytes.length;
    },
  };
  const { space, ops } = make();
  space.map(16 * PAGE, 4 * PAGE, { prot: 3, shared: true, file, writable: true }, file.pread(0, 4 * PAGE), ops);
  const memory = Buffer.alloc(4 * PAGE, 1);
  memory[PAGE + 5] = 9;
  memory[PAGE + 200] = 9;
  const host = {
    readMemory: async (_id: number, at: number, length: number) => memory.subarray(at - 16 * PAGE, at - 16 * PAGE + length),
  } as unknown as HostCalls;
  await space.writeBack(host);
  expect(writes).toEqual([PAGE, 100]);
});

test("property: the list stays sorted and apart, and memory adds up, whatever is mapped and unmapped", () => {
  const step = fc.record({
    kind: fc.constantFrom("map", "unmap", "protect"),
    page: fc.integer({ min: 16, max: 60 }),
    pages: fc.integer({ min: 1, max: 12 }),
    prot: fc.constantFrom(0, 1, 3),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const { space, account, ops } = make();
      // The model: per page undefined (free) or whether it holds content.
      const model: (boolean | undefined)[] = [];
      for (const { kind, page, pages, prot } of steps) {
        const range = Array.from({ length: pages }, (_, index) => page + index);
        if (kind === "protect") {
          const whole = range.every((at) => model[at] !== undefined);
          expect(space.protect(page * PAGE, pages * PAGE, prot, ops)).toBe(whole ? 0 : -E.NOMEM);
          if (whole) for (const at of range) model[at] = model[at] === true || prot !== 0;
          continue;
        }
        space.unmap(page * PAGE, pages * PAGE, ops);
        for (const at of range) model[at] = undefined;
        if (kind === "map") {
          expect(space.map(page * PAGE, pages * PAGE, { prot }, undefined, ops)).toBe(0);
          for (const at of range) model[at] = prot !== 0;
        }
      }
      expect(account.used).toBe(model.filter((held) => held === true).length * PAGE);
      expect(space.resident).toBe(account.used);
      expect(space.virtual).toBe(model.filter((held) => held !== undefined).length * PAGE);
      let end = LOWEST;
      for (const mapping of space.mappings) {
        expect(mapping.start).toBeGreaterThanOrEqual(end);
        expect(mapping.end).toBeGreaterThan(mapping.start);
        end = mapping.end;
      }
      for (let page = 16; page < 80; page++) expect(space.find(page * PAGE) !== undefined).toBe(model[page] !== undefined);
    }),
  );
});
