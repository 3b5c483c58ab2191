import { MemorySharing, RegionAllocator, Turns, UsedPages } from "@cvm/cpu";
import type { MachinePort } from "@cvm/cpu/abi";
import { PAGE_SIZE, Prot, REGISTER_FILE_BYTES } from "@cvm/cpu/abi";
import { beforeEach, describe, expect, test } from "vitest";
import { Otypes } from "./authority.ts";
import type { Host } from "./compartment.ts";
import { Compartment } from "./compartment.ts";
import { Calls } from "./cp/calls.ts";
import { Operations } from "./operations.ts";

import type { Process } from "./process.ts";
import { Scheduler } from "./scheduler.ts";
import { smallMachine } from "./test-support/toy.ts";

const RW = Prot.Read | Prot.Write;
const operations = new Operations();
let machine: MachinePort;
let host: Host;
let mine: Compartment;
let other: Compartment;
let process: Process;
let foreign: Process;

beforeEach(() => {
  machine = smallMachine();
  const scheduler = new Scheduler({ now: () => 0, soon: () => {}, after: () => () => {} }, () => false);
  const pages = new UsedPages(machine);
  const sharing = new MemorySharing(machine, (at, bytes) => pages.write(at, bytes));
  const regions = new RegionAllocator(machine.memoryBytes);
  const otypes = new Otypes();
  host = {
    machine,
    pages,
    sharing,
    turns: new Turns(machine, pages, sharing),
    calls: new Calls({ machine, regions, otypes }),
    regions,
    otypes,
    scheduler,
  };
  const budget = { memory: 256 << 10, addresses: 8 << 20 };
  mine = new Compartment("mine", host, budget, 1, Infinity);
  other = new Compartment("other", host, budget, 1, Infinity);
  process = mine.createProcess(1 << 20)!;
  // Another cVM's process with a number that `mine` does not have.
  other.createProcess(4096);
  foreign = other.createProcess(1 << 20)!;
});

const apply = (...ops: unknown[]): number => operations.apply(mine, ops, null).error;
const map = (address: number, length: number, prot: number = RW, more: object = {}): object => ({
  op: "map",
  process: 1,
  address,
  length,
  prot,
  ...more,
});
const registers = new Uint8Array(REGISTER_FILE_BYTES);
const read = (address: number, length: number): number[] => [...machine.readBytes(process.region.base + address, length)];

describe("refused without effect:", () => {
  const page = PAGE_SIZE;
  test.each<[string, unknown]>([
    ["not a record", 7],
    ["null", null],
    ["no operation", { process: 1 }],
    ["an unknown operation", { op: "format", process: 1 }],
    ["another cVM's process", { op: "map", process: 2, address: page, length: page, prot: RW }],
    ["a process that is a string", { op: "map", process: "1", address: page, length: page, prot: RW }],
    ["page 0", map(0, page)],
    ["a negative address", map(-page, page)],
    ["beyond the end", map((1 << 20) - page, 2 * page)],
    ["a length that wraps", map(page, 2 ** 64 - page)],
    ["NaN", map(Number.NaN, page)],
    ["infinity", map(page, Infinity)],
    ["a fraction", map(page, 0.5)],
    ["half a page", map(page, page / 2)],
    ["an address inside of a page", map(page + 16, page)],
    ["prot 8", map(page, page, 8)],
    ["prot NaN", map(page, page, Number.NaN)],
    ["bytes longer than the range", map(page, page, RW, { bytes: new Uint8Array(page + 1) })],
    ["bytes that are none", map(page, page, RW, { bytes: [1, 2, 3] })],
    ["overlapping copy", { op: "copy", process: 1, from: page, to: page + 16, length: 32 }],
    ["copy from outside", { op: "copy", process: 1, from: 1 << 20, to: page, length: 16 }],
    ["unmap outside", { op: "unmap", process: 1, address: 1 << 20, length: page }],
    ["zero of page 0", { op: "zero", process: 1, address: 0, length: page }],
    ["sharing pages that are not mapped", { op: "share", process: 1, address: 200 * page, length: page, object: 1, offset: 0 }],
    ["sharing outside", { op: "share", process: 1, address: 1 << 20, length: page, object: 1, offset: 0 }],
    ["sharing an object with number 0", { op: "share", process: 1, address: page, length: page, object: 0, offset: 0 }],
    ["sharing from inside of a page", { op: "share", process: 1, address: page, length: page, object: 1, offset: 16 }],
    ["registers of no thread", { op: "registers", thread: 1, registers }],
    ["a thread with short registers", { op: "thread", process: 1, thread: 1, registers: registers.subarray(8) }],
    ["a thread with number 0", { op: "thread", process: 1, thread: 0, registers }],
    ["a thread with a huge number", { op: "thread", process: 1, thread: 2 ** 31, registers }],
    ["moving no thread", { op: "move", thread: 1, process: 1, registers }],
    ["ending no thread", { op: "endThread", thread: 1 }],
    ["interrupting no thread", { op: "interrupt", thread: 1 }],
    ["ending another cVM's process", { op: "endProcess", process: 2 }],
  ])("%s", (_what, op) => {
    const before = machine.readBytes(foreign.region.base, 64);
    // The first operation of the list would work alone.
    expect(apply(map(PAGE_SIZE, PAGE_SIZE, RW, { bytes: new Uint8Array([1]) }), op)).toBe(-22);
    expect(mine.charged).toBe(0);
    expect(host.pages.mapped(process.region.base + PAGE_SIZE, 1)).toBe(false);
    expect(machine.readBytes(foreign.region.base, 64)).toEqual(before);
    expect(mine.refused).toBe(1);
    expect(other.processes.size).toBe(2);
  });

  test("a list that is none, or too long", () => {
    expect(operations.apply(mine, { length: 1 }, null).error).toBe(-22);
    expect(
      operations.apply(
        mine,
        Array.from({ length: 65537 }, () => map(PAGE_SIZE, PAGE_SIZE)),
        null,
      ).error,
    ).toBe(-22);
  });

  test("a handle that an earlier operation ends", () => {
    const thread = { op: "thread", process: 1, thread: 5, registers };
    expect(apply(thread, { op: "endProcess", process: 1 }, { op: "endThread", thread: 5 })).toBe(-22);
    expect(apply({ op: "endProcess", process: 1 }, map(PAGE_SIZE, PAGE_SIZE))).toBe(-22);
    expect(apply(thread, thread)).toBe(-22);
    expect(mine.threads.size).toBe(0);
    expect(mine.processes.size).toBe(1);
  });

  test("more content than the budget, -ENOMEM", () => {
    const full = { bytes: new Uint8Array(256 << 10).fill(1) };
    const one = { bytes: new Uint8Array([1]) };
    expect(apply(map(PAGE_SIZE, 256 << 10, RW, full), map(512 << 10, PAGE_SIZE, RW, one))).toBe(-12);
    expect(mine.charged).toBe(0);
    // Pages without content cost nothing.
    expect(apply(map(PAGE_SIZE, 256 << 10, RW, full), map(512 << 10, 64 << 10))).toBe(0);
    expect(mine.charged).toBe(256 << 10);
    const write = { op: "write", process: 1, address: (512 << 10) + 4090, bytes: new Uint8Array(12) };
    const copy = { op: "copy", process: 1, from: PAGE_SIZE, to: 512 << 10, length: 16 };
    const share = { op: "share", process: 1, address: 512 << 10, length: PAGE_SIZE, object: 1, offset: 0 };
    for (const op of [write, copy, share, map(512 << 10, PAGE_SIZE, RW, one), { ...write, ifMapped: true }]) expect(apply(op)).toBe(-12);
    expect(apply({ op: "unmap", process: 1, address: PAGE_SIZE, length: 64 << 10 })).toBe(0);
    expect(apply(write)).toBe(0);
    expect([mine.charged, process.charged]).toEqual([(192 << 10) + 2 * PAGE_SIZE, (192 << 10) + 2 * PAGE_SIZE]);
    mine.endProcess(process);
    expect(mine.charged).toBe(0);
  });

  test("a list cannot count a page that it gives back twice", () => {
    const half = { bytes: new Uint8Array(128 << 10).fill(1) };
    expect(apply(map(PAGE_SIZE, 128 << 10, RW, half))).toBe(0);
    const again = map(PAGE_SIZE, 384 << 10, RW, half);
    expect(apply(again, again, map((256 << 10) + PAGE_SIZE, 128 << 10, RW, half))).toBe(0);
    expect(mine.charged).toBe(256 << 10);
    expect(apply(map(512 << 10, PAGE_SIZE, RW, { bytes: new Uint8Array(1) }))).toBe(-12);
  });

  test("a write to what is not mapped, -EFAULT; with ifMapped it is left out", () => {
    for (const address of [PAGE_SIZE, 8, -8, 2 ** 53, Number.NaN, (1 << 20) - 4]) {
      expect(apply({ op: "write", process: 1, address, bytes: new Uint8Array(8) })).toBe(-14);
      expect(apply({ op: "write", process: 1, address, bytes: new Uint8Array(8), ifMapped: true })).toBe(0);
    }
    expect(mine.refused).toBe(0);
  });
});

describe("carried out:", () => {
  test("map zeroes, keep does not; bytes go to the start; protections are the machine's", () => {
    expect(apply(map(PAGE_SIZE, 2 * PAGE_SIZE, Prot.Read, { bytes: new Uint8Array([1, 2, 3]) }))).toBe(0);
    expect(read(PAGE_SIZE, 4)).toEqual([1, 2, 3, 0]);
    const start = process.region.base + PAGE_SIZE;
    expect([
      machine.allows(start, 2 * PAGE_SIZE, Prot.Read),
      machine.allows(start, 1, Prot.Write),
      machine.allows(start + 2 * PAGE_SIZE, 1, Prot.Read),
    ]).toEqual([true, false, false]);
    expect(apply(map(PAGE_SIZE, PAGE_SIZE, RW, { keep: true }))).toBe(0);
    expect(read(PAGE_SIZE, 3)).toEqual([1, 2, 3]);
    expect(apply(map(PAGE_SIZE, PAGE_SIZE))).toBe(0);
    expect(read(PAGE_SIZE, 3)).toEqual([0, 0, 0]);
  });

  test("a page without access keeps what it holds", () => {
    expect(
      apply(map(PAGE_SIZE, PAGE_SIZE, RW, { bytes: new Uint8Array([9]) }), {
        op: "protect",
        process: 1,
        address: PAGE_SIZE,
        length: PAGE_SIZE,
        prot: 0,
      }),
    ).toBe(0);
    expect(machine.allows(process.region.base + PAGE_SIZE, 1, Prot.Read)).toBe(false);
    expect(mine.charged).toBe(PAGE_SIZE);
    const child = mine.forkProcess(process, process.region.length)!;
    expect(apply({ op: "protect", process: child.id, address: PAGE_SIZE, length: PAGE_SIZE, prot: Prot.Read })).toBe(0);
    expect(machine.readU8(child.region.base + PAGE_SIZE)).toBe(9);
  });

  test("what an earlier operation of the list took away is not written", () => {
    expect(
      apply(
        map(PAGE_SIZE, 2 * PAGE_SIZE, RW, { bytes: new Uint8Array([7]) }),
        { op: "unmap", process: 1, address: 2 * PAGE_SIZE, length: PAGE_SIZE },
        { op: "write", process: 1, address: 2 * PAGE_SIZE, bytes: new Uint8Array([8]) },
        { op: "copy", process: 1, from: PAGE_SIZE, to: 2 * PAGE_SIZE, length: 16 },
        { op: "share", process: 1, address: 2 * PAGE_SIZE, length: PAGE_SIZE, object: 1, offset: 0 },
      ),
    ).toBe(0);
    expect([read(2 * PAGE_SIZE, 1), mine.charged, process.shared.pieces]).toEqual([[0], PAGE_SIZE, []]);
  });

  test("unmapped pages come back zeroed, to anybody", () => {
    expect(
      apply(map(PAGE_SIZE, PAGE_SIZE, RW, { bytes: new Uint8Array([7, 7]) }), {
        op: "unmap",
        process: 1,
        address: PAGE_SIZE,
        length: PAGE_SIZE,
      }),
    ).toBe(0);
    const { base, length } = process.region;
    mine.endProcess(process);
    const next = other.createProcess(length)!;
    expect(next.region.base).toBe(base);
    expect(machine.readU8(base + PAGE_SIZE)).toBe(0);
    expect(machine.allows(base, PAGE_SIZE, Prot.Read)).toBe(false);
    expect(mine.charged).toBe(0);
  });

  test("zero, copy, write", () => {
    expect(
      apply(
        map(PAGE_SIZE, 2 * PAGE_SIZE, Prot.Read),
        { op: "write", process: 1, address: PAGE_SIZE + 8, bytes: new Uint8Array([1, 2]) },
        { op: "copy", process: 1, from: PAGE_SIZE, to: 2 * PAGE_SIZE, length: 16 },
      ),
    ).toBe(0);
    expect(read(2 * PAGE_SIZE + 8, 2)).toEqual([1, 2]);
    expect(apply({ op: "zero", process: 1, address: 2 * PAGE_SIZE, length: PAGE_SIZE })).toBe(0);
    expect(read(2 * PAGE_SIZE + 8, 2)).toEqual([0, 0]);
    expect(read(PAGE_SIZE + 8, 2)).toEqual([1, 2]);
  });

  test("a process that ends takes its threads along; the machine's harts come back", () => {
    for (let i = 0; i < 9000; i += 100) {
      const threads = Array.from({ length: 100 }, (_, n) => ({ op: "thread", process: process.id, thread: n + 1, registers }));
      expect(apply(...threads)).toBe(0);
      expect(apply({ op: "endProcess", process: process.id })).toBe(0);
      expect([mine.threads.size, mine.processes.size, mine.addressBytes]).toEqual([0, 0, 0]);
      process = mine.createProcess(4096 * 4)!;
    }
  });

  test("a new thread has what its creator has, not more", () => {
    expect(apply({ op: "thread", process: 1, thread: 1, registers })).toBe(0);
    const creator = mine.threads.get(1)!;
    const narrow = { ...creator.hart.ddc, perms: 4 };
    creator.hart.ddc = narrow;
    expect(operations.apply(mine, [{ op: "thread", process: 1, thread: 2, registers }], creator).error).toBe(0);
    expect(mine.threads.get(2)!.hart.ddc).toEqual(narrow);
    expect(operations.apply(mine, [{ op: "thread", process: 1, thread: 3, registers }], null).error).toBe(0);
    expect(mine.threads.get(3)!.hart.ddc).toEqual(process.ddc);
  });
});

test("address range has a budget, and sizes that are none are refused", () => {
  expect(mine.createProcess(8 << 20)).toBeNull();
  expect(mine.createProcess(2 ** 53)).toBeNull();
  expect(mine.createProcess(1 << 20)).not.toBeNull();
});

describe("pages that were not used before", () => {
  const at = (offset: number): number => process.region.base + offset;
  const BLOCK = 64 << 10;

  test("are zeros to read, and the first store gives them with those around it that are alike", () => {
    expect(apply(map(BLOCK, BLOCK), map(2 * BLOCK, BLOCK, Prot.Read), map(3 * BLOCK, BLOCK, 0))).toBe(0);
    expect([machine.allows(at(BLOCK), BLOCK, Prot.Read), machine.allows(at(BLOCK), 1, Prot.Write), mine.charged]).toEqual([true, false, 0]);
    expect(process.use(at(BLOCK) + 5 * PAGE_SIZE + 9, 8)).toBe(PAGE_SIZE);
    expect([machine.allows(at(BLOCK), BLOCK, RW), mine.charged, process.charged]).toEqual([true, BLOCK, BLOCK]);
    // Not a second time, not what may not be written, not what is not mapped, not what is elsewhere.
    for (const address of [at(BLOCK), at(2 * BLOCK), at(3 * BLOCK), at(4 * BLOCK), foreign.region.base + PAGE_SIZE, 0, 2 ** 40])
      expect(process.use(address, 8)).toBe(0);
    expect(process.use(at(2 * BLOCK) - 4, 8)).toBe(0);
    expect(mine.charged).toBe(BLOCK);
  });

  test("over the border of two blocks both are given", () => {
    expect(apply(map(BLOCK, 2 * BLOCK))).toBe(0);
    expect(process.use(at(2 * BLOCK) - 4, 8)).toBe(2 * PAGE_SIZE);
    expect(mine.charged).toBe(2 * BLOCK);
  });

  test("near the limit come one by one, and then not at all", () => {
    expect(apply(map(BLOCK, 2 * BLOCK), map(512 << 10, 64 * PAGE_SIZE))).toBe(0);
    expect(apply({ op: "write", process: 1, address: 512 << 10, bytes: new Uint8Array(62 * PAGE_SIZE) })).toBe(0);
    expect(process.use(at(BLOCK), 8)).toBe(PAGE_SIZE);
    expect(process.use(at(BLOCK) + 3 * PAGE_SIZE, 8)).toBe(PAGE_SIZE);
    expect(process.use(at(BLOCK) + PAGE_SIZE, 8)).toBe(-1);
    expect(mine.charged).toBe(256 << 10);
    expect(apply({ op: "zero", process: 1, address: 512 << 10, length: PAGE_SIZE })).toBe(0);
    expect(process.use(at(BLOCK) + PAGE_SIZE, 8)).toBe(PAGE_SIZE);
  });

  test("come back with mprotect, and after MADV_DONTNEED they are as new", () => {
    expect(apply(map(BLOCK, BLOCK), { op: "write", process: 1, address: BLOCK, bytes: new Uint8Array([5]) })).toBe(0);
    expect(mine.charged).toBe(PAGE_SIZE);
    const protect = (prot: number): object => ({ op: "protect", process: 1, address: BLOCK, length: BLOCK, prot });
    expect(apply(protect(0), protect(RW))).toBe(0);
    expect([machine.allows(at(BLOCK), 1, RW), machine.allows(at(BLOCK) + PAGE_SIZE, 1, Prot.Write)]).toEqual([true, false]);
    expect(apply({ op: "zero", process: 1, address: BLOCK, length: BLOCK })).toBe(0);
    expect([read(BLOCK, 1), mine.charged, machine.allows(at(BLOCK), 1, Prot.Write)]).toEqual([[0], 0, false]);
    expect(process.use(at(BLOCK), 8)).toBe(PAGE_SIZE);
  });

  test("a child has none of them either, and counts what its parent used", () => {
    expect(apply(map(BLOCK, 2 * BLOCK), { op: "write", process: 1, address: BLOCK, bytes: new Uint8Array([5]) })).toBe(0);
    const child = mine.forkProcess(process, process.region.length)!;
    expect([child.charged, mine.charged]).toEqual([PAGE_SIZE, 2 * PAGE_SIZE]);
    const there = child.region.base + BLOCK;
    expect([machine.readU8(there), machine.allows(there, 1, RW), machine.allows(there + PAGE_SIZE, 1, Prot.Write)]).toEqual([
      5,
      true,
      false,
    ]);
    process.charge((256 << 10) - 2 * PAGE_SIZE);
    expect(mine.forkProcess(process, process.region.length)).toBeNull();
  });
});

test("a child has as much of its parent's region as is asked for", () => {
  expect(
    apply(
      map(PAGE_SIZE, PAGE_SIZE, RW, { bytes: new Uint8Array([1]) }),
      map(64 * PAGE_SIZE, PAGE_SIZE, RW, { bytes: new Uint8Array([2]) }),
    ),
  ).toBe(0);
  const child = mine.forkProcess(process, 4 * PAGE_SIZE)!;
  expect([child.region.length, child.charged, machine.readU8(child.region.base + PAGE_SIZE)]).toEqual([4 * PAGE_SIZE, PAGE_SIZE, 1]);
  // A capability to what the child does not have is none there.
  expect(apply({ op: "thread", process: 1, thread: 1, registers })).toBe(0);
  const parent = mine.threads.get(1)!;
  const at = process.ddc.base + BigInt(64 * PAGE_SIZE);
  parent.hart.setCapability(5, { ...process.ddc, address: at, base: at, top: at + 16n });
  const hart = machine.createHart();
  mine.copyRegisters(parent, child, hart);
  expect([hart.getCapability(5).tag, hart.ddc.top]).toEqual([false, child.ddc.top]);
  // What is shared cannot be left behind: changes of others would come to where the child has no memory.
  expect(apply({ op: "share", process: 1, address: 64 * PAGE_SIZE, length: PAGE_SIZE, object: 1, offset: 0 })).toBe(0);
  expect(mine.forkProcess(process, 4 * PAGE_SIZE)).toBeNull();
  expect(mine.forkProcess(process, 65 * PAGE_SIZE)).not.toBeNull();
});

describe("a region that grows", () => {
  const start = (): void => {
    expect(
      apply(map(PAGE_SIZE, 2 * PAGE_SIZE, RW, { bytes: new Uint8Array([1, 2, 3]) }), map(8 * PAGE_SIZE, PAGE_SIZE, 0), {
        op: "thread",
        process: process.id,
        thread: 1,
        registers,
      }),
    ).toBe(0);
  };

  test("moves when others are behind it: memory, protections and capabilities go along, offsets stay", () => {
    start();
    const from = process.region;
    const { hart } = mine.threads.get(1)!;
    hart.pc = 0x1234;
    const at = process.ddc.base + 0x1000n;
    const inner = { ...process.ddc, address: at + 4n, base: at, top: at + 16n };
    hart.setCapability(5, inner);
    hart.setCapability(6, foreign.ddc);
    hart.setCapability(7, process.ddc);
    expect(mine.growProcess(process, 2 << 20)).toBe(true);
    expect(process.region.length).toBe(2 << 20);
    const delta = BigInt(process.region.base - from.base);
    expect(delta).not.toBe(0n);
    expect([hart.ddc, hart.pcc.base, hart.pcc.top, hart.pc]).toEqual([process.ddc, process.ddc.base, process.ddc.top, 0x1234]);
    expect(hart.getCapability(5)).toEqual({ ...inner, address: at + 4n + delta, base: at + delta, top: at + 16n + delta });
    expect(hart.getCapability(6)).toEqual(foreign.ddc);
    expect(hart.getCapability(7)).toEqual(process.ddc);
    expect(read(PAGE_SIZE, 4)).toEqual([1, 2, 3, 0]);
    const { base } = process.region;
    expect([machine.allows(base + PAGE_SIZE, 1, RW), machine.allows(base + 2 * PAGE_SIZE, 1, Prot.Write)]).toEqual([true, false]);
    expect([host.pages.mapped(base + 8 * PAGE_SIZE, 1), host.pages.mapped(base + 9 * PAGE_SIZE, 1)]).toEqual([true, false]);
    // Nothing is left where it was, and the place is free.
    expect([machine.readU8(from.base + PAGE_SIZE), machine.allows(from.base, from.length, Prot.Read)]).toEqual([0, false]);
    expect(other.createProcess(1 << 20)!.region.base).toBe(from.base);
    expect([mine.charged, mine.addressBytes]).toEqual([PAGE_SIZE, 2 << 20]);
    expect(apply(map((2 << 20) - PAGE_SIZE, PAGE_SIZE))).toBe(0);
  });

  test("stays when what follows is free; what a thread gave up it does not get back", () => {
    const last = mine.createProcess(1 << 20)!;
    const { base } = last.region;
    apply({ op: "thread", process: last.id, thread: 9, registers });
    const { hart } = mine.threads.get(9)!;
    const narrow = { ...last.ddc, top: last.ddc.base + 0x1000n };
    hart.ddc = narrow;
    expect(mine.growProcess(last, 3 << 20)).toBe(true);
    expect([last.region.base, last.region.length]).toEqual([base, 3 << 20]);
    expect(hart.ddc).toEqual(narrow);
    expect(mine.growProcess(last, 1 << 20)).toBe(true);
    expect(last.region.length).toBe(3 << 20);
  });

  test("is refused without effect when there is no room, or not for this cVM", () => {
    start();
    const { region } = process;
    expect(mine.growProcess(process, (8 << 20) + 1)).toBe(false);
    expect(mine.growProcess(process, 2 ** 53)).toBe(false);
    while (host.regions.allocate(1 << 20) !== null);
    expect(mine.growProcess(process, 2 << 20)).toBe(false);
    expect([process.region, mine.addressBytes, read(PAGE_SIZE, 3)]).toEqual([region, 1 << 20, [1, 2, 3]]);
  });

  test("keeps what it shows of shared memory", () => {
    start();
    expect(apply({ op: "share", process: 1, address: PAGE_SIZE, length: PAGE_SIZE, object: 4, offset: 0 })).toBe(0);
    const child = mine.forkProcess(process, process.region.length)!;
    expect(mine.growProcess(process, 2 << 20)).toBe(true);
    expect(apply({ op: "write", process: 1, address: PAGE_SIZE, bytes: new Uint8Array([9]) })).toBe(0);
    host.sharing.enter(child.shared);
    expect(machine.readU8(child.region.base + PAGE_SIZE)).toBe(9);
    expect(apply({ op: "write", process: child.id, address: PAGE_SIZE, bytes: new Uint8Array([8]) })).toBe(0);
    host.sharing.enter(process.shared);
    expect(read(PAGE_SIZE, 1)).toEqual([8]);
  });
});

describe("where there is no room for a region of each, processes take turns in one:", () => {
  const first = (of: Process): number => {
    of.enter();
    return machine.readU8(of.region.base + PAGE_SIZE);
  };
  const write = (of: Process, value: number): number =>
    apply({ op: "write", process: of.id, address: PAGE_SIZE, bytes: new Uint8Array([value]) });
  beforeEach(() => {
    expect(apply(map(PAGE_SIZE, 2 * PAGE_SIZE, RW, { bytes: new Uint8Array([1]) }))).toBe(0);
    while (host.regions.allocate(PAGE_SIZE) !== null);
  });

  test("forked children, and a process of a new program", () => {
    const children = [1, 2, 3].map(() => mine.forkProcess(process, process.region.length)!);
    const fresh = mine.createProcess(PAGE_SIZE)!;
    const all = [process, ...children, fresh];
    expect(new Set(all.map(({ region }) => region))).toEqual(new Set([process.region]));
    expect(apply({ op: "map", process: fresh.id, address: PAGE_SIZE, length: PAGE_SIZE, prot: RW })).toBe(0);
    expect(all.map(first)).toEqual([1, 1, 1, 1, 0]);
    for (const [index, each] of all.entries()) expect(write(each, 10 + index)).toBe(0);
    expect(all.map(first)).toEqual([10, 11, 12, 13, 14]);
    expect(mine.addressBytes).toBe(process.region.length);
    expect(all.reduce((sum, { charged }) => sum + charged, 0)).toBe(mine.charged);
    for (const each of [process, ...children]) mine.endProcess(each);
    expect([first(fresh), fresh.charged, mine.charged, fresh.seat]).toEqual([14, PAGE_SIZE, PAGE_SIZE, null]);
    mine.endProcess(fresh);
    expect([mine.charged, mine.addressBytes]).toEqual([0, 0]);
  });

  test("one list may be about several of them, and is checked as a whole", () => {
    const child = mine.forkProcess(process, process.region.length)!;
    const unmap = { op: "unmap", process: child.id, address: PAGE_SIZE, length: PAGE_SIZE };
    expect(apply(unmap)).toBe(0);
    const bytes = new Uint8Array([5]);
    expect(
      apply({ op: "write", process: process.id, address: PAGE_SIZE, bytes }, { op: "write", process: child.id, address: PAGE_SIZE, bytes }),
    ).toBe(-14);
    expect([first(process), first(child)]).toEqual([1, 0]);
    expect(
      apply(
        { op: "write", process: process.id, address: PAGE_SIZE, bytes },
        { op: "map", process: child.id, address: PAGE_SIZE, length: PAGE_SIZE, prot: RW, bytes: new Uint8Array([6]) },
      ),
    ).toBe(0);
    expect([first(process), first(child)]).toEqual([5, 6]);
  });

  test("what they pay is within the cVM's memory", () => {
    const children: Process[] = [];
    for (;;) {
      const child = mine.forkProcess(process, process.region.length);
      if (child === null) break;
      children.push(child);
    }
    expect(children.length).toBeGreaterThan(10);
    expect(mine.charged).toBeLessThanOrEqual(mine.budget.memory);
    expect(children.map(first).every((value) => value === 1)).toBe(true);
    // A store that needs more than is left is refused, and nobody else's page changes.
    process.charge(mine.budget.memory - mine.charged);
    expect(children[0]!.use(children[0]!.region.base + PAGE_SIZE, 1)).toBe(-1);
    // But an answer of a system call has room that was paid for ahead.
    children[0]!.enter();
    expect(children[0]!.use(children[0]!.region.base + PAGE_SIZE, 1, PAGE_SIZE)).toBe(PAGE_SIZE);
    expect(first(process)).toBe(1);
  });
});

describe("one that grows where nothing is free", () => {
  const value = (of: Process): number => {
    of.enter();
    return machine.readU8(of.region.base + PAGE_SIZE);
  };
  const made = (bytes: number, content: number): Process => {
    const one = mine.createProcess(bytes)!;
    const op = { op: "map", process: one.id, address: PAGE_SIZE, length: PAGE_SIZE, prot: RW, bytes: new Uint8Array([content]) };
    expect(apply(op)).toBe(0);
    return one;
  };
  const endsClean = (...all: Process[]): void => {
    expect(all.reduce((sum, { charged }) => sum + charged, 0)).toBe(mine.charged);
    for (const each of all) mine.endProcess(each);
    expect([mine.charged, mine.addressBytes]).toEqual([0, 0]);
  };

  test("takes turns in a longer region", () => {
    expect(apply(map(PAGE_SIZE, PAGE_SIZE, RW, { bytes: new Uint8Array([1]) }))).toBe(0);
    const small = made(PAGE_SIZE * 4, 2);
    apply({ op: "thread", process: small.id, thread: 7, registers });
    while (host.regions.allocate(PAGE_SIZE) !== null);
    expect(mine.growProcess(small, 8 * PAGE_SIZE)).toBe(true);
    expect(small.region).toBe(process.region);
    expect(mine.threads.get(7)!.hart.ddc).toEqual(process.ddc);
    expect([process, small].map(value)).toEqual([1, 2]);
    expect(mine.growProcess(small, (1 << 20) + PAGE_SIZE)).toBe(false);
    expect([process, small].map(value)).toEqual([1, 2]);
    endsClean(process, small);
  });

  test("gets what others leave who take turns from then on", () => {
    const growing = made(2 << 20, 3);
    const after = made(1 << 20, 4);
    const last = made(1 << 20, 5);
    expect(after.region.base).toBe(growing.region.base + (2 << 20));
    while (host.regions.allocate(PAGE_SIZE) !== null);
    expect(mine.growProcess(growing, (2 << 20) + PAGE_SIZE)).toBe(true);
    expect(growing.region.length).toBeGreaterThan(2 << 20);
    expect([after.region, process.region]).toEqual([last.region, last.region]);
    expect([growing, after, last].map(value)).toEqual([3, 4, 5]);
    endsClean(process, growing, after, last);
  });
});
