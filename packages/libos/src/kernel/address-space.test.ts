import type { HostCalls, ProcessOp } from "@cvm/monitor/abi";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { ADDRESSES, AddressSpace, LOWEST, PAGE } from "./address-space.ts";
import { E } from "./errno.ts";
import { MemoryAccount } from "./memory-account.ts";
import type { VfsFile } from "./types.ts";

const MIB = 1024 * 1024;
/** A region of 64 MiB that can grow up to `most`, in a cVM that uses `used` bytes of memory. */
const make = (limit = 64 * MIB, used = 0, most = 64 * MIB) => {
  const grown: number[] = [];
  const host = {
    usage: () => [[1, used]] as const,
    grow: (_id: number, bytes: number) => {
      grown.push(bytes);
      return bytes <= most ? bytes : -E.NOMEM;
    },
  };
  const account = new MemoryAccount(limit, host);
  const space = new AddressSpace(1, 64 * MIB, account);
  space.mmapBase = 16 * PAGE;
  space.brkEnd = 32 * MIB;
  const ops: ProcessOp[] = [];
  return { space, account, host, grown, ops };
};
const lines = (space: AddressSpace): string[] => space.mappings.map(({ start, end, prot }) => `${start / PAGE}-${end / PAGE}:${prot}`);

test("neighbours with equal attributes are one mapping; a hole and mprotect split it", () => {
  const { space, ops } = make();
  expect(space.map(16 * PAGE, 4 * PAGE, { prot: 3 }, undefined, ops)).toBe(0);
  space.map(20 * PAGE, 4 * PAGE, { prot: 3 }, undefined, ops);
  expect(lines(space)).toEqual(["16-24:3"]);
  space.protect(18 * PAGE, 2 * PAGE, 1, ops);
  expect(lines(space)).toEqual(["16-18:3", "18-20:1", "20-24:3"]);
  space.unmap(19 * PAGE, 2 * PAGE, ops);
  expect(lines(space)).toEqual(["16-18:3", "18-19:1", "21-24:3"]);
  expect(space.virtual).toBe(6 * PAGE);
  space.protect(18 * PAGE, PAGE, 3, ops);
  expect(lines(space)).toEqual(["16-19:3", "21-24:3"]);
});

test("mappings go into the lowest gap that is large enough", () => {
  const { space, ops } = make();
  const first = space.place(4 * PAGE);
  expect(first).toBe(16 * PAGE);
  space.map(first, 4 * PAGE, { prot: 3 }, undefined, ops);
  space.map(first + 6 * PAGE, 4 * PAGE, { prot: 3 }, undefined, ops);
  expect(space.place(2 * PAGE)).toBe(first + 4 * PAGE);
  expect(space.place(3 * PAGE)).toBe(first + 10 * PAGE);
  expect(space.place(ADDRESSES)).toBe(-E.NOMEM);
});

test("large reservations stand behind room for what else is mapped, and take neither memory nor region", () => {
  const { space, ops, grown } = make(256 * MIB);
  space.map(space.place(PAGE), PAGE, { prot: 3 }, undefined, ops);
  ops.length = 0;
  const reserved = space.place(1024 * MIB, true);
  expect(reserved).toBe(17 * PAGE + 384 * MIB);
  expect(space.map(reserved, 1024 * MIB, { prot: 0 }, undefined, ops)).toBe(0);
  expect(space.place(1024 * MIB, true)).toBe(reserved + 1024 * MIB);
  expect(space.place(100 * MIB, true)).toBe(17 * PAGE);
  expect(space.place(400 * MIB)).toBe(reserved + 1024 * MIB);
  expect(space.virtual).toBe(1024 * MIB + PAGE);
  expect([ops, grown]).toEqual([[], []]);
});

test("the region grows before pages behind its end are accessible: ahead if that can be had, else exactly, else ENOMEM", () => {
  const { space, host, grown, ops } = make(1024 * MIB, 0, 130 * MIB);
  expect(space.map(60 * MIB, 8 * MIB, { prot: 3 }, undefined, ops)).toBe(-E.NOMEM);
  expect(space.admit(host, 68 * MIB, 8 * MIB)).toBe(true);
  expect([space.reach, grown]).toEqual([128 * MIB, [128 * MIB]]);
  expect(space.map(60 * MIB, 8 * MIB, { prot: 3 }, undefined, ops)).toBe(0);
  expect(space.admit(host, 129 * MIB, 0)).toBe(true);
  expect([space.reach, grown.slice(1)]).toEqual([129 * MIB, [192 * MIB, 129 * MIB]]);
  expect(space.admit(host, 131 * MIB, 0)).toBe(false);
  expect(space.needed()).toBe(68 * MIB);
  expect(space.copy(2, 68 * MIB).reach).toBe(68 * MIB);
});

test("ENOMEM where memory is foreseeably too little: for what becomes accessible, not for what was reserved", () => {
  const { space, host, ops } = make(64 * MIB, 60 * MIB);
  expect(space.admit(host, MIB, 4 * MIB)).toBe(true);
  expect(space.admit(host, MIB, 4 * MIB + 1)).toBe(false);
  space.map(16 * PAGE, 100 * PAGE, { prot: 0 }, undefined, ops);
  expect(ops).toEqual([]);
  expect(space.reserved(0, MIB)).toBe(100 * PAGE);
  expect(space.protect(20 * PAGE, 4 * PAGE, 3, ops)).toBe(0);
  expect(ops).toEqual([{ op: "map", process: 1, address: 20 * PAGE, length: 4 * PAGE, prot: 3 }]);
  expect(space.reserved(18 * PAGE, 30 * PAGE)).toBe(8 * PAGE);
  expect([space.resident, space.virtual]).toEqual([60 * MIB, 100 * PAGE]);
});

test("brk grows and shrinks the heap, and stays when something is in the way", () => {
  const { space, ops } = make();
  space.brkStart = space.brk = 100 * PAGE;
  expect(space.setBrk(0, Infinity, Infinity, ops)).toBe(100 * PAGE);
  expect(space.setBrk(103 * PAGE + 5, Infinity, Infinity, ops)).toBe(103 * PAGE + 5);
  expect(lines(space)).toEqual(["100-104:3"]);
  space.map(106 * PAGE, PAGE, { prot: 1 }, undefined, ops);
  expect(space.setBrk(107 * PAGE, Infinity, Infinity, ops)).toBe(103 * PAGE + 5);
  expect(space.setBrk(101 * PAGE, Infinity, Infinity, ops)).toBe(101 * PAGE);
  expect(lines(space)).toEqual(["100-101:3", "106-107:1"]);
  expect(space.setBrk(105 * PAGE, 4 * PAGE, Infinity, ops)).toBe(101 * PAGE);
  expect(space.setBrk(103 * PAGE, Infinity, PAGE, ops)).toBe(101 * PAGE);
  expect(space.setBrk(102 * PAGE, Infinity, PAGE, ops)).toBe(102 * PAGE);
  space.brkEnd = 104 * PAGE;
  expect(space.setBrk(105 * PAGE, Infinity, Infinity, ops)).toBe(102 * PAGE);
});

test("mremap shrinks, grows in place, moves with the bytes", () => {
  const { space, host, ops } = make();
  space.map(16 * PAGE, 4 * PAGE, { prot: 3 }, undefined, ops);
  expect(space.remap(host, 16 * PAGE, 4 * PAGE, 2 * PAGE, false, null, ops)).toBe(16 * PAGE);
  expect(space.remap(host, 16 * PAGE, 2 * PAGE, 3 * PAGE, false, null, ops)).toBe(16 * PAGE);
  space.map(19 * PAGE, PAGE, { prot: 1 }, undefined, ops);
  expect(space.remap(host, 16 * PAGE, 3 * PAGE, 8 * PAGE, false, null, ops)).toBe(-E.NOMEM);
  ops.length = 0;
  const moved = space.remap(host, 16 * PAGE, 3 * PAGE, 8 * PAGE, true, null, ops);
  expect(moved).toBe(20 * PAGE);
  expect(ops.map(({ op }) => op)).toEqual(["map", "copy", "unmap"]);
  expect(space.remap(host, 16 * PAGE, PAGE, PAGE, true, null, ops)).toBe(-E.FAULT);
  expect(space.remap(host, 20 * PAGE, 8 * PAGE, 80 * MIB, true, null, ops)).toBe(-E.NOMEM);
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
      const { space, ops } = make();
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
      expect(space.reserved(0, 80 * PAGE)).toBe(model.filter((held) => held === false).length * PAGE);
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
