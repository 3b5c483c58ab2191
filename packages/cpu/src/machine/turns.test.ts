import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { MachinePort } from "../abi.ts";
import { PAGE_SIZE, Prot } from "../abi.ts";
import { createMachine } from "./machine.ts";
import { PageUse } from "./page-use.ts";
import { MemorySharing, type SharedObject } from "./sharing.ts";
import { Turns, type Tenant } from "./turns.ts";
import { UsedPages } from "./used-pages.ts";

const RW = Prot.Read | Prot.Write;
const BASE = 32 * PAGE_SIZE;
const PAGES = 16;
const LENGTH = PAGES * PAGE_SIZE;
const machine: MachinePort = createMachine({ memoryBytes: 1 << 20 });

/** A tenant as the monitor keeps it, and beside it what its memory must be. */
class Process implements Tenant {
  readonly shared = { pieces: [], objects: new Map<number, SharedObject>() };
  seat: Tenant["seat"] = null;
  charged = 0;
  /** First byte of each mapped page. */
  readonly expected: Map<number, number>;
  constructor(expected: Map<number, number> = new Map()) {
    this.expected = expected;
  }
  charge(bytes: number): void {
    this.charged += bytes;
  }
}

function world(): {
  pages: UsedPages;
  turns: Turns;
  act: (process: Process, change: () => void) => void;
  check: (process: Process) => void;
} {
  machine.zeroRange(0, 1 << 20);
  machine.protect(0, 1 << 20, 0);
  const pages = new UsedPages(machine);
  const turns = new Turns(machine, pages, new MemorySharing(machine, (at, bytes) => pages.write(at, bytes)), LENGTH * 8);
  return {
    pages,
    turns,
    act: (process, change) => {
      turns.enter(process);
      const before = pages.used(BASE, LENGTH);
      change();
      process.charge(pages.used(BASE, LENGTH) - before);
    },
    check: (process) => {
      turns.enter(process);
      for (let page = 0; page < PAGES; page++) {
        const at = BASE + page * PAGE_SIZE;
        expect([page, pages.mapped(at, 1), machine.readU8(at)]).toEqual([
          page,
          process.expected.has(page),
          process.expected.get(page) ?? 0,
        ]);
        // A store is refused, or goes to a page that counts and that no one else has.
        const state = pages.states[at / PAGE_SIZE]!;
        expect([page, machine.allows(at, 1, Prot.Write)]).toEqual([page, (state & PageUse.Used) !== 0 && (state & Prot.Write) !== 0]);
        expect(machine.allows(at, 1, Prot.Read)).toBe(process.expected.has(page));
      }
    },
  };
}

const steps = fc.array(
  fc.record({
    who: fc.nat(5),
    page: fc.nat(PAGES - 1),
    what: fc.constantFrom("map", "store", "store", "zero", "unmap", "fork", "join", "leave", "look"),
    value: fc.integer({ min: 1, max: 255 }),
  }),
  { maxLength: 60 },
);

describe("processes that take turns in one range", () => {
  test("each finds what it left, whatever the others do, and together they pay for what is kept", () => {
    fc.assert(
      fc.property(steps, (list) => {
        const { pages, turns, act, check } = world();
        const processes = [new Process()];
        for (const { who, page, what, value } of list) {
          const process = processes[who % processes.length]!;
          const at = BASE + page * PAGE_SIZE;
          if (what === "map")
            act(process, () => {
              pages.map(at, PAGE_SIZE, RW, false);
              process.expected.set(page, 0);
            });
          else if (what === "store" && process.expected.has(page))
            act(process, () => {
              pages.use(at, 1, true);
              machine.storeRange(at, Uint8Array.of(value));
              process.expected.set(page, value);
            });
          else if (what === "zero" && process.expected.has(page))
            act(process, () => {
              pages.zero(at, PAGE_SIZE);
              process.expected.set(page, 0);
            });
          else if (what === "unmap")
            act(process, () => {
              pages.unmap(at, PAGE_SIZE);
              process.expected.delete(page);
            });
          else if ((what === "fork" || what === "join") && processes.length < 5) {
            const child = new Process(new Map(what === "fork" ? process.expected : []));
            turns.join(process, BASE, LENGTH, child, what === "fork");
            processes.push(child);
          } else if (what === "leave" && processes.length > 1) {
            expect(turns.leave(process)).toBe(true);
            expect([process.seat, process.charged]).toEqual([null, 0]);
            processes.splice(processes.indexOf(process), 1);
          } else if (what === "look") check(process);
        }
        for (const process of processes) check(process);
        for (const process of processes) expect(process.charged).toBeGreaterThanOrEqual(0);
        while (processes.length > 1) turns.leave(processes.pop()!);
        const [last] = processes;
        expect(last!.seat).toBeNull();
        check(last!);
        expect(last!.charged).toBe(pages.used(BASE, LENGTH));
        expect(turns.full(LENGTH * 8)).toBe(false);
        expect(turns.leave(last!)).toBe(false);
      }),
      { numRuns: 300 },
    );
  });

  test("what parent and children have alike is kept once; a change is paid for", () => {
    const { pages, turns, act } = world();
    const parent = new Process();
    act(parent, () => {
      pages.map(BASE, LENGTH, RW, false);
      for (let page = 0; page < PAGES; page++) pages.write(BASE + page * PAGE_SIZE, Uint8Array.of(page + 1));
    });
    const children = [1, 2, 3].map(() => new Process());
    for (const child of children) turns.join(parent, BASE, LENGTH, child, true);
    const sum = (): number => [parent, ...children].reduce((total, { charged }) => total + charged, 0);
    const seats = 4 * turns.seatBytes(LENGTH);
    expect(sum()).toBe(LENGTH + seats);
    act(children[1]!, () => {
      pages.use(BASE, 1, true);
      machine.storeRange(BASE, Uint8Array.of(99));
    });
    turns.enter(parent);
    expect([sum(), machine.readU8(BASE)]).toEqual([LENGTH + seats + PAGE_SIZE, 1]);
    turns.enter(children[1]!);
    expect(machine.readU8(BASE)).toBe(99);
    turns.leave(parent);
    expect(turns.full(7 * LENGTH)).toBe(true);
    for (const child of children) turns.leave(child);
  });
});

test("memory that is shared with others in the range and elsewhere stays shared", () => {
  machine.zeroRange(0, 1 << 20);
  machine.protect(0, 1 << 20, 0);
  const pages = new UsedPages(machine);
  const sharing = new MemorySharing(machine, (at, bytes) => pages.write(at, bytes));
  const turns = new Turns(machine, pages, sharing);
  const enter = (process: Process): void => {
    turns.enter(process);
    sharing.enter(process.shared);
  };
  const parent = new Process();
  const { objects } = parent.shared;
  const elsewhere = new Process();
  const shared = { pieces: [], objects };
  pages.map(BASE, LENGTH, RW, false);
  pages.use(BASE, PAGE_SIZE, false);
  sharing.add(parent.shared, BASE, PAGE_SIZE, 1, 0);
  parent.charge(PAGE_SIZE);
  const child = new Process();
  Object.assign(child.shared, { objects });
  machine.storeRange(BASE, Uint8Array.of(1));
  turns.join(parent, BASE, LENGTH, child, true);
  machine.storeRange(BASE, Uint8Array.of(2));
  enter(child);
  expect(machine.readU8(BASE)).toBe(2);
  machine.storeRange(BASE, Uint8Array.of(3));
  // One with a range of its own begins to share while the parent's memory is away.
  const there = BASE + 2 * LENGTH;
  pages.map(there, PAGE_SIZE, RW, false);
  pages.use(there, PAGE_SIZE, false);
  sharing.add(shared, there, PAGE_SIZE, 1, 0);
  expect(machine.readU8(there)).toBe(3);
  machine.storeRange(there, Uint8Array.of(4));
  enter(parent);
  expect(machine.readU8(BASE)).toBe(4);
  machine.storeRange(BASE, Uint8Array.of(5));
  enter(child);
  expect(machine.readU8(BASE)).toBe(5);
  sharing.cut(parent.shared, BASE, BASE + LENGTH);
  turns.leave(parent);
  machine.storeRange(BASE, Uint8Array.of(6));
  sharing.enter(shared);
  expect(machine.readU8(there)).toBe(6);
  expect([child.seat, child.charged, elsewhere.charged]).toEqual([null, PAGE_SIZE, 0]);
});
