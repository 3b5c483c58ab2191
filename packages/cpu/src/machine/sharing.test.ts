import { describe, expect, test } from "vitest";
import { PAGE_SIZE } from "../abi.ts";
import { createMachine } from "./machine.ts";
import { MemorySharing, type SharedObject, type Sharer } from "./sharing.ts";
import { ENGINES } from "../engines.test.support.ts";

describe.each(ENGINES)("%s", (engine) => {
  const machine = createMachine({ engine, memoryBytes: 1 << 20 });
  const write = (at: number, ...bytes: number[]): void => machine.storeRange(at, Uint8Array.from(bytes));
  const clean = (): { sharing: MemorySharing; objects: Map<number, SharedObject>; sharer: () => Sharer } => {
    machine.zeroRange(0, 1 << 20);
    const objects = new Map<number, SharedObject>();
    return {
      sharing: new MemorySharing(machine, (at, bytes) => machine.storeRange(at, bytes)),
      objects,
      sharer: () => ({ pieces: [], objects }),
    };
  };
  const A = 16 * PAGE_SIZE;
  const B = 64 * PAGE_SIZE;
  const C = 128 * PAGE_SIZE;

  test("what one stored is there when the other's turn comes, both ways", () => {
    const { sharing, sharer } = clean();
    const [a, b] = [sharer(), sharer()];
    sharing.add(a, A, 4 * PAGE_SIZE, 1, 0);
    write(A + 5, 7);
    sharing.add(b, B, 4 * PAGE_SIZE, 1, 0);
    expect(machine.readU8(B + 5)).toBe(7);
    write(B + 3 * PAGE_SIZE, 9);
    expect(machine.readU8(A + 3 * PAGE_SIZE)).toBe(0);
    sharing.enter(a);
    expect(machine.readU8(A + 3 * PAGE_SIZE)).toBe(9);
    write(A + 5, 0);
    sharing.enter(b);
    expect(machine.readU8(B + 5)).toBe(0);
  });

  test("a forked child shows the same; a page that it sets to zero becomes zero for the parent", () => {
    const { sharing, sharer } = clean();
    const [parent, child] = [sharer(), sharer()];
    sharing.add(parent, A, 2 * PAGE_SIZE, 1, 0);
    write(A, 1);
    sharing.fork(parent, child, B - A, () => machine.copyRange(A, B, 2 * PAGE_SIZE));
    sharing.enter(child);
    expect(machine.readU8(B)).toBe(1);
    write(B, 0);
    write(B + PAGE_SIZE, 4);
    sharing.enter(parent);
    expect([machine.readU8(A), machine.readU8(A + PAGE_SIZE)]).toEqual([0, 4]);
  });

  test("ranges of an object overlap by page, and parts that are cut off are left alone", () => {
    const { sharing, objects, sharer } = clean();
    const [a, b] = [sharer(), sharer()];
    sharing.add(a, A, 4 * PAGE_SIZE, 1, 0);
    sharing.add(b, B, 2 * PAGE_SIZE, 1, 2);
    sharing.enter(a);
    write(A + 2 * PAGE_SIZE, 1);
    write(A + 3 * PAGE_SIZE, 2);
    sharing.cut(a, A + 3 * PAGE_SIZE, A + 4 * PAGE_SIZE);
    write(A + 3 * PAGE_SIZE, 5);
    sharing.enter(b);
    expect([machine.readU8(B), machine.readU8(B + PAGE_SIZE)]).toEqual([1, 2]);
    sharing.cut(b, 0, 1 << 20);
    write(B, 8);
    sharing.enter(a);
    expect(machine.readU8(A + 2 * PAGE_SIZE)).toBe(1);
    sharing.cut(a, 0, 1 << 20);
    expect(objects.size).toBe(0);
  });

  test("changes to one object are kept when another sharer adds its first range of another", () => {
    const { sharing, sharer } = clean();
    const [a, b, c] = [sharer(), sharer(), sharer()];
    sharing.add(a, A, PAGE_SIZE, 1, 0);
    sharing.add(c, C, PAGE_SIZE, 1, 0);
    sharing.enter(a);
    write(A, 3);
    sharing.add(b, B, PAGE_SIZE, 2, 0);
    sharing.enter(c);
    expect(machine.readU8(C)).toBe(3);
  });
});
