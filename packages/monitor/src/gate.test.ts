import { capability, MemorySharing, RegionAllocator, Turns, UsedPages } from "@cvm/cpu";
import type { MachinePort } from "@cvm/cpu/abi";
import { PAGE_SIZE, Perm, Prot } from "@cvm/cpu/abi";
import * as fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import type { ArgumentDeclaration, LibraryOs, MessageIn, SyscallCall, SyscallOutcome, SyscallValue } from "./abi.ts";
import { Limits, PENDING } from "./abi.ts";
import { Otypes } from "./authority.ts";
import { Compartment } from "./compartment.ts";
import { Calls } from "./cp/calls.ts";
import { compileDeclarations } from "./declarations.ts";
import { Gate } from "./gate.ts";
import { GuestMemory } from "./guest-memory.ts";
import { Operations } from "./operations.ts";

import type { Process, Thread } from "./process.ts";
import { ThreadState } from "./process.ts";
import { Scheduler } from "./scheduler.ts";
import { smallMachine } from "./test-support/toy.ts";

const RW = Prot.Read | Prot.Write;
const REGION = 1 << 20;
const EFAULT = -14;
const EINVAL = -22;
/** Mapped and writable: 16 pages; the page after them is not mapped. */
const DATA = 0x10000;
const DATA_END = 0x20000;
const NUMBER = 200;

let machine: MachinePort;
let gate: Gate;
let cvm: Compartment;
let process: Process;
let thread: Thread;
let problems: string[];
let broken: string[];

beforeEach(() => {
  machine = smallMachine();
  const scheduler = new Scheduler({ now: () => 0, soon: () => {}, after: () => () => {} }, () => false);
  const pages = new UsedPages(machine);
  const sharing = new MemorySharing(machine, (at, bytes) => pages.write(at, bytes));
  const regions = new RegionAllocator(machine.memoryBytes);
  const otypes = new Otypes();
  const host = {
    machine,
    pages,
    sharing,
    turns: new Turns(machine, pages, sharing),
    calls: new Calls({ machine, regions, otypes }),
    regions,
    otypes,
    scheduler,
  };
  cvm = new Compartment("gate", host, { memory: REGION, addresses: 4 * REGION }, 1, Infinity);
  process = cvm.createProcess(REGION)!;
  problems = [];
  broken = [];
  const operations = new Operations();
  gate = new Gate(new GuestMemory(machine), operations, {
    problem: (_, text) => void problems.push(text),
    broken: (_, text) => void broken.push(text),
  });
  operations.apply(cvm, [{ op: "map", process: 1, address: DATA, length: DATA_END - DATA, prot: RW }], null);
  const hart = machine.createHart();
  hart.ddc = process.ddc;
  hart.pcc = process.pcc;
  thread = cvm.addThread(1, process, hart);
  thread.state = ThreadState.Running;
});

const poke = (offset: number, bytes: Uint8Array | string): void =>
  machine.storeRange(process.region.base + offset, typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes);
const peek = (offset: number, length: number): number[] => [...machine.readBytes(process.region.base + offset, length)];
const pokeU64 = (offset: number, ...values: (number | bigint)[]): void => {
  const bytes = new DataView(new ArrayBuffer(8 * values.length));
  values.forEach((value, i) => bytes.setBigUint64(8 * i, BigInt.asUintN(64, BigInt(value)), true));
  poke(offset, new Uint8Array(bytes.buffer));
};

type Handler = (call: SyscallCall) => SyscallOutcome;

/** Makes one call with these registers a0 …; its result. The handler's arguments are copied into `seen`. */
function call(
  args: readonly ArgumentDeclaration[] | null,
  registers: readonly (number | bigint)[],
  handler: Handler = () => 0,
): { readonly result: number; readonly seen: readonly SyscallValue[] | null } {
  let seen: SyscallValue[] | null = null;
  cvm.syscalls = args === null ? [] : compileDeclarations([{ number: NUMBER, name: "test", arguments: args }]);
  cvm.libraryOs = {
    syscall: (what: SyscallCall) => {
      seen = what.args.map((value) => (value instanceof Uint8Array ? value.slice() : value));
      return handler(what);
    },
  } as unknown as LibraryOs;
  for (let i = 0; i < 6; i++) thread.hart.setX(10 + i, BigInt.asUintN(64, BigInt(registers[i] ?? 0)));
  thread.hart.setInt(17, NUMBER);
  gate.call(cvm, thread);
  return { result: thread.hart.getInt(10), seen };
}

const buffer = (kind: "in" | "out" | "inout", nullable = false): ArgumentDeclaration[] => [
  { name: "buf", kind, length: { arg: "n" }, nullable },
  { name: "n", kind: "ulong" },
];
const fill = (count: number): Uint8Array => Uint8Array.from({ length: count }, (_, i) => i + 1);

describe("values", () => {
  test("come as their kinds say", () => {
    const kinds = ["int", "uint", "long", "ulong", "fd", "address"] as const;
    const args = kinds.map((kind) => ({ name: kind, kind }));
    expect(call(args, [-1, -1, -1, -1, 0xffff_ff9cn, 0x1234]).seen).toEqual([-1, 0xffff_ffff, -1, 2 ** 64, -100, 0x1234]);
    expect(call(args, [1n << 40n, (1n << 40n) + 5n, -(2n ** 40n), 2 ** 40, 3, -8]).seen).toEqual([0, 5, -(2 ** 40), 2 ** 40, 3, 2 ** 64]);
  });

  test("of a call without a declaration are the six registers", () => {
    expect(call(null, [1, 2, 3, -4, 5, 6]).seen).toEqual([1, 2, 3, -4, 5, 6]);
  });
});

describe("strings", () => {
  const path: ArgumentDeclaration[] = [{ name: "path", kind: "path" }];
  const maybe: ArgumentDeclaration[] = [{ name: "path", kind: "string", nullable: true }];

  test("are read up to their end, over pages", () => {
    poke(DATA + 100, "/etc/пароль\0rest");
    expect(call(path, [DATA + 100]).seen).toEqual(["/etc/пароль"]);
    poke(DATA + PAGE_SIZE - 3, "abcdef\0");
    expect(call(path, [DATA + PAGE_SIZE - 3]).seen).toEqual(["abcdef"]);
  });

  test("that are null, not there, without an end or too long", () => {
    expect(call(maybe, [0]).seen).toEqual([null]);
    expect(call(path, [0]).result).toBe(EFAULT);
    expect(call(path, [DATA_END]).result).toBe(EFAULT);
    poke(DATA_END - 4, "abcd");
    expect(call(path, [DATA_END - 4]).result).toBe(EFAULT);
    poke(DATA, new Uint8Array(5000).fill(65));
    expect(call(path, [DATA])).toEqual({ result: -36, seen: null });
    poke(DATA + Limits.stringBytes - 1, "\0");
    expect((call(path, [DATA]).seen![0] as string).length).toBe(Limits.stringBytes - 1);
  });

  test("in a list end at the null pointer; a list without an end, or one string many times, is E2BIG", () => {
    const argv: ArgumentDeclaration[] = [{ name: "argv", kind: "strings" }];
    poke(DATA, "one\0two\0");
    pokeU64(DATA + 64, DATA, DATA + 4, DATA + 3, 0);
    expect(call(argv, [DATA + 64]).seen).toEqual([["one", "two", ""]]);
    expect(call(argv, [0]).seen).toEqual([[]]);
    pokeU64(DATA + 64, DATA_END + 5, 0);
    expect(call(argv, [DATA + 64]).result).toBe(EFAULT);
    expect(call(argv, [DATA_END - 4]).result).toBe(EFAULT);
    poke(DATA, new Uint8Array(4 * PAGE_SIZE).fill(66));
    poke(DATA + 4 * PAGE_SIZE, "\0");
    pokeU64(DATA + 8 * PAGE_SIZE, ...Array.from({ length: 200 }, () => DATA), 0);
    expect(call(argv, [DATA + 8 * PAGE_SIZE])).toEqual({ result: -7, seen: null });
  });
});

describe("input buffers", () => {
  test("are copied, or lent when they are large", () => {
    poke(DATA, fill(16));
    expect(call(buffer("in"), [DATA, 4]).seen).toEqual([new Uint8Array([1, 2, 3, 4]), 4]);
    expect((call(buffer("in"), [DATA, 8192]).seen![0] as Uint8Array).length).toBe(8192);
  });

  test("of no bytes may stand anywhere; null only where it may", () => {
    expect(call(buffer("in"), [2 ** 40, 0]).seen).toEqual([new Uint8Array(0), 0]);
    expect(call(buffer("in"), [0, 4]).result).toBe(EFAULT);
    expect(call(buffer("in", true), [0, 4]).seen).toEqual([null, 4]);
  });

  test("have a length that is multiplied or fixed", () => {
    poke(DATA, fill(32));
    const times: ArgumentDeclaration[] = [
      { name: "n", kind: "int" },
      { name: "fds", kind: "in", length: { arg: "n", times: 8 } },
    ];
    expect((call(times, [2, DATA]).seen![1] as Uint8Array).length).toBe(16);
    expect(call(times, [-1, DATA]).result).toBe(EFAULT);
    const fixed: ArgumentDeclaration[] = [{ name: "ts", kind: "in", length: { bytes: 16 } }];
    expect((call(fixed, [DATA]).seen![0] as Uint8Array).length).toBe(16);
  });

  test("never hold a byte from outside of what the program may load", () => {
    const { base } = process.region;
    // Beyond its own end the next region holds a secret.
    const secret = cvm.createProcess(REGION)!.region.base;
    machine.storeRange(secret, new Uint8Array(64).fill(0xee));
    machine.protect(secret, PAGE_SIZE, RW);
    const edge = fc.constantFrom(0, DATA, DATA_END, REGION, secret - base, 2 ** 32, -base, 2 ** 53);
    const pointer = fc.oneof(
      fc.tuple(edge, fc.integer({ min: -64, max: 64 })).map(([at, by]) => BigInt(at + by)),
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    );
    const length = fc.oneof(
      fc.bigInt({ min: 0n, max: 128n }),
      fc.constantFrom(2n ** 63n, 2n ** 64n - 1n, 2n ** 64n - BigInt(DATA), BigInt(DATA_END - DATA), 2n ** 32n),
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    );
    fc.assert(
      fc.property(pointer, length, fc.constantFrom("in", "out", "inout"), (at, count, kind) => {
        const { result, seen } = call(buffer(kind), [at, count], () => ({
          result: 0,
          out: [{ arg: 0, value: new Uint8Array(8).fill(0xaa) }],
        }));
        const inside = at >= BigInt(DATA) && at + count <= BigInt(DATA_END);
        if (kind !== "out" && !inside && count > 0n) expect([result, seen]).toEqual([EFAULT, null]);
        if (seen?.[0] instanceof Uint8Array) expect(seen[0]).not.toContain(0xee);
        expect(machine.readU8(secret)).toBe(0xee);
        expect([...machine.readBytes(secret, 64)].every((byte) => byte === 0xee)).toBe(true);
      }),
      { numRuns: 400 },
    );
  });
});

describe("outputs", () => {
  const answer =
    (value: Uint8Array): Handler =>
    () => ({ result: 7, out: [{ arg: 0, value }] });

  test("are written, and cut at what the caller has room for", () => {
    poke(DATA, new Uint8Array(16).fill(9));
    const { result, seen } = call(buffer("out"), [DATA, 4], answer(fill(8)));
    expect([result, seen]).toEqual([7, [4, 4]]);
    expect(peek(DATA, 6)).toEqual([1, 2, 3, 4, 9, 9]);
    call(buffer("inout"), [DATA, 2], answer(fill(8)));
    expect(peek(DATA, 6)).toEqual([1, 2, 3, 4, 9, 9]);
  });

  test("to a page that is not there or read-only are EFAULT before the handler runs", () => {
    expect(call(buffer("out"), [DATA_END, 4])).toEqual({ result: EFAULT, seen: null });
    new Operations().apply(cvm, [{ op: "protect", process: 1, address: DATA, length: PAGE_SIZE, prot: Prot.Read }], null);
    expect(call(buffer("out"), [DATA, 4]).result).toBe(EFAULT);
    expect(call(buffer("out", true), [0, 4]).seen).toEqual([null, 4]);
  });

  test("are checked again when the call completes", () => {
    expect(call(buffer("out"), [DATA, 4], () => PENDING).seen).toEqual([4, 4]);
    expect(thread.state).toBe(ThreadState.Pending);
    new Operations().apply(cvm, [{ op: "unmap", process: 1, address: DATA, length: PAGE_SIZE }], null);
    gate.complete(cvm, thread, { result: 4, out: [{ arg: 0, value: fill(4) }] });
    expect(thread.hart.getInt(10)).toBe(EFAULT);
    expect(thread.state).toBe(ThreadState.Runnable);
    expect(peek(DATA, 4)).toEqual([0, 0, 0, 0]);
  });

  test("to pages that were not used before take memory; without memory they are EFAULT, and the thread is known to starve", () => {
    expect(cvm.charged).toBe(0);
    expect(call(buffer("out"), [DATA + 100, 4], answer(fill(4))).result).toBe(7);
    expect([cvm.charged, process.charged, peek(DATA + 100, 4)]).toEqual([DATA_END - DATA, DATA_END - DATA, [1, 2, 3, 4]]);
    new Operations().apply(cvm, [{ op: "zero", process: 1, address: DATA, length: DATA_END - DATA }], null);
    process.charge(REGION);
    expect(call(buffer("out"), [DATA, 4], answer(fill(4))).result).toBe(EFAULT);
    expect([thread.starved, peek(DATA, 1)]).toEqual([true, [0]]);
    // What was not stored to can be read all the same.
    expect(call(buffer("in"), [DATA, 4]).seen).toEqual([Uint8Array.of(0, 0, 0, 0), 4]);
  });

  test("over the end of what is mapped are EFAULT, though the start is writable", () => {
    expect(call(buffer("out"), [DATA_END - 4, 100], answer(fill(8))).result).toBe(EFAULT);
    expect(call(buffer("out"), [DATA_END - 4, 100], answer(fill(4))).result).toBe(7);
  });

  test("for arguments that take none are dropped", () => {
    expect(call(buffer("in"), [DATA, 4], answer(fill(4))).result).toBe(7);
    expect(call(buffer("in"), [DATA, 4], () => ({ result: 1, out: [{ arg: 5, value: fill(4) }] })).result).toBe(1);
    expect(peek(DATA, 4)).toEqual([0, 0, 0, 0]);
  });
});

describe("vectors", () => {
  const readv: ArgumentDeclaration[] = [
    { name: "iov", kind: "iovOut", length: { arg: "n" } },
    { name: "n", kind: "ulong" },
  ];
  const writev: ArgumentDeclaration[] = [
    { name: "iov", kind: "iovIn", length: { arg: "n" } },
    { name: "n", kind: "ulong" },
  ];

  test("are gathered and scattered in order", () => {
    poke(DATA, fill(32));
    pokeU64(DATA + 256, DATA + 8, 2, DATA, 0, DATA + 1, 3);
    expect(call(writev, [DATA + 256, 3]).seen).toEqual([new Uint8Array([9, 10, 2, 3, 4]), 3]);
    pokeU64(DATA + 256, DATA + 512, 2, DATA + 520, 4);
    const { seen } = call(readv, [DATA + 256, 2], () => ({ result: 5, out: [{ arg: 0, value: fill(5) }] }));
    expect(seen).toEqual([6, 2]);
    expect(peek(DATA + 512, 12)).toEqual([1, 2, 0, 0, 0, 0, 0, 0, 3, 4, 5, 0]);
  });

  test("of bad sizes and places are refused", () => {
    expect(call(writev, [DATA, 1025]).result).toBe(EINVAL);
    expect(call(writev, [DATA, -1]).result).toBe(EINVAL);
    expect(call(writev, [DATA_END - 8, 1]).result).toBe(EFAULT);
    pokeU64(DATA, DATA, -1);
    expect(call(writev, [DATA, 1]).result).toBe(EINVAL);
    pokeU64(DATA, 2 ** 40, 8);
    expect(call(writev, [DATA, 1]).result).toBe(EFAULT);
    expect(call(readv, [DATA, 1], () => ({ result: 1, out: [{ arg: 0, value: fill(1) }] })).result).toBe(EFAULT);
  });

  test("move at most a bounded number of bytes, however often they name the same buffer", () => {
    pokeU64(DATA, ...Array.from({ length: 1024 }, () => [DATA_END - DATA - 0x8000, 2 ** 40]).flat());
    expect(call(readv, [DATA, 1024]).seen![0]).toBe(Limits.transferBytes);
    pokeU64(DATA, ...Array.from({ length: 512 }, () => [DATA + 0x8000, 0x8000]).flat());
    expect((call(writev, [DATA, 512]).seen![0] as Uint8Array).length).toBe(Limits.transferBytes);
  });
});

describe("messages", () => {
  const HEADER = DATA + 0x100;
  const header = (
    name: number,
    nameLength: number,
    iov: number,
    iovs: number,
    control: number,
    controlLength: number | bigint,
    flags: number,
  ): void => {
    pokeU64(HEADER, name, nameLength, iov, iovs, control, controlLength, flags);
  };

  test("are read from struct msghdr", () => {
    poke(DATA, fill(32));
    pokeU64(DATA + 0x200, DATA, 2, DATA + 4, 1);
    header(DATA + 16, 3, DATA + 0x200, 2, DATA + 8, 4, 0x40);
    const message = call([{ name: "msg", kind: "msgIn" }], [HEADER]).seen![0] as MessageIn;
    expect(message).toEqual({
      name: new Uint8Array([17, 18, 19]),
      data: new Uint8Array([1, 2, 5]),
      control: new Uint8Array([9, 10, 11, 12]),
      flags: 0x40,
    });
    header(0, 16, 0, 0, 0, 99, 0);
    expect(call([{ name: "msg", kind: "msgIn" }], [HEADER]).seen).toEqual([
      { name: null, data: new Uint8Array(0), control: new Uint8Array(0), flags: 0 },
    ]);
    header(0, 0, 0, 0, DATA, 2n ** 63n, 0);
    expect(call([{ name: "msg", kind: "msgIn" }], [HEADER]).result).toBe(-105);
    header(2 ** 40, 8, 0, 0, 0, 0, 0);
    expect(call([{ name: "msg", kind: "msgIn" }], [HEADER]).result).toBe(EFAULT);
    expect(call([{ name: "msg", kind: "msgIn" }], [DATA_END - 8]).result).toBe(EFAULT);
  });

  test("are written to struct msghdr, cut at its sizes", () => {
    pokeU64(DATA + 0x200, DATA + 0x400, 2, DATA + 0x410, 8);
    header(DATA + 0x500, 4, DATA + 0x200, 2, DATA + 0x600, 8, 0);
    const { result, seen } = call([{ name: "msg", kind: "msgOut" }], [HEADER], () => ({
      result: 5,
      out: [{ arg: 0, value: { name: fill(6), data: fill(5), control: fill(12), flags: 0x20 } }],
    }));
    expect([result, seen]).toEqual([5, [{ nameCapacity: 4, dataCapacity: 10, controlCapacity: 8 }]]);
    expect([peek(DATA + 0x400, 3), peek(DATA + 0x410, 4), peek(DATA + 0x500, 5), peek(DATA + 0x600, 9)]).toEqual([
      [1, 2, 0],
      [3, 4, 5, 0],
      [1, 2, 3, 4, 0],
      [1, 2, 3, 4, 5, 6, 7, 8, 0],
    ]);
    const field = (offset: number): number => machine.readU32(process.region.base + HEADER + offset);
    expect([field(8), field(40), field(48)]).toEqual([6, 8, 0x20]);
  });
});

test("an address goes to its buffer, its full length through the pointer", () => {
  const accept: ArgumentDeclaration[] = [
    { name: "fd", kind: "fd" },
    { name: "addr", kind: "addressOut" },
    { name: "len", kind: "addressLength" },
  ];
  const answer: Handler = () => ({ result: 4, out: [{ arg: 1, value: fill(16) }] });
  pokeU64(DATA, 8);
  expect(call(accept, [3, DATA + 64, DATA], answer)).toEqual({ result: 4, seen: [3, 8, DATA] });
  expect(peek(DATA + 64, 9)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 0]);
  expect(peek(DATA, 1)).toEqual([16]);
  expect(call(accept, [3, 0, 0], answer).seen).toEqual([3, null, 0]);
  expect(call(accept, [3, DATA + 64, 0], answer).result).toBe(EFAULT);
  pokeU64(DATA, -1);
  expect(call(accept, [3, DATA + 64, DATA], answer).result).toBe(EINVAL);
});

describe("the DDC in force", () => {
  test("is that of the thread that is answered, whoever called last", () => {
    call(buffer("out"), [DATA, 4], () => PENDING);
    const first = thread;
    const hart = machine.createHart();
    hart.pcc = process.pcc;
    thread = cvm.addThread(2, process, hart);
    thread.state = ThreadState.Running;
    expect(call(buffer("in"), [DATA, 4]).result).toBe(EFAULT);
    gate.complete(cvm, first, { result: 4, out: [{ arg: 0, value: fill(4) }] });
    expect(first.hart.getInt(10)).toBe(4);
    expect(peek(DATA, 4)).toEqual([1, 2, 3, 4]);
  });

  test("is the caller's own after its handler has answered another thread, and a thread's after it ran", () => {
    call(buffer("out"), [DATA, 4], () => PENDING);
    const first = thread;
    const hart = machine.createHart();
    hart.pcc = process.pcc;
    hart.ddc = capability.derive(capability.root(), process.region.base + DATA + PAGE_SIZE, PAGE_SIZE, Perm.Load | Perm.Store);
    thread = cvm.addThread(2, process, hart);
    thread.state = ThreadState.Running;
    const { result } = call(buffer("out"), [8, 4], () => {
      gate.complete(cvm, first, { result: 4, out: [{ arg: 0, value: fill(4) }] });
      return { result: 2, out: [{ arg: 0, value: Uint8Array.of(9, 8) }] };
    });
    expect([result, first.hart.getInt(10)]).toEqual([2, 4]);
    expect(peek(DATA, 4)).toEqual([1, 2, 3, 4]);
    expect(peek(DATA + PAGE_SIZE + 8, 2)).toEqual([9, 8]);
    call(buffer("out"), [16, 4], () => PENDING);
    hart.ddc = capability.derive(capability.root(), process.region.base + DATA + 2 * PAGE_SIZE, PAGE_SIZE, Perm.Load | Perm.Store);
    gate.complete(cvm, thread, { result: 1, out: [{ arg: 0, value: Uint8Array.of(7) }] });
    expect([peek(DATA + PAGE_SIZE + 16, 1), peek(DATA + 2 * PAGE_SIZE + 16, 1)]).toEqual([[0], [7]]);
  });

  const within = (base: number, length: number, perms: number = Perm.Load | Perm.Store): void => {
    thread.hart.ddc = capability.derive(capability.root(), process.region.base + base, length, perms);
  };

  test("bounds every pointer, and moves what offsets are relative to", () => {
    poke(DATA, fill(32));
    within(DATA, 16);
    expect(call(buffer("in"), [0, 4]).seen![0]).toEqual(new Uint8Array([1, 2, 3, 4]));
    expect(call(buffer("in"), [12, 4]).seen![0]).toEqual(new Uint8Array([13, 14, 15, 16]));
    for (const at of [13, 16, -1, DATA]) expect(call(buffer("in"), [at, 4]).result).toBe(EFAULT);
    thread.hart.ddc = capability.incOffset(thread.hart.ddc, 8);
    expect(call(buffer("in"), [-8, 4]).seen![0]).toEqual(new Uint8Array([1, 2, 3, 4]));
    expect(call(buffer("in"), [8, 4]).result).toBe(EFAULT);
  });

  test("needs tag, permission and no seal", () => {
    within(0, REGION, Perm.Load);
    expect(call(buffer("in"), [DATA, 4]).result).toBe(0);
    expect(call(buffer("out"), [DATA, 4]).result).toBe(EFAULT);
    within(0, REGION, Perm.Store);
    expect(call(buffer("in"), [DATA, 4]).result).toBe(EFAULT);
    thread.hart.ddc = { ...process.ddc, tag: false };
    expect(call(buffer("in"), [DATA, 4]).result).toBe(EFAULT);
    thread.hart.ddc = capability.sealEntry(process.ddc);
    expect(call(buffer("in"), [DATA, 4]).result).toBe(EFAULT);
  });
});

test("code of another compartment does not call in this one's name", () => {
  const other = cvm.createProcess(REGION)!;
  thread.hart.pcc = other.pcc;
  expect(call(buffer("in"), [DATA, 4])).toEqual({ result: -38, seen: null });
  expect(cvm.lastRefusal).toContain("code of another compartment");
});

test.each<[string, unknown]>([
  ["NaN", Number.NaN],
  ["a fraction", 0.5],
  ["undefined", undefined],
  ["a string", "0"],
  ["a reply without a result", {}],
  ["a result that is no number", { result: "0" }],
  ["outputs that are no list", { result: 0, out: { arg: 0 } }],
  ["an output for argument 6", { result: 0, out: [{ arg: 6, value: new Uint8Array(1) }] }],
  ["an output that is a string", { result: 0, out: [{ arg: 0, value: "text" }] }],
  ["operations that are no list", { result: 0, ops: 5 }],
])("an answer that is none (%s) is EIO, or refused when the call waits", (_what, answer) => {
  expect(call(buffer("in"), [DATA, 4], () => answer as SyscallOutcome).result).toBe(-5);
  expect(problems).toHaveLength(1);
  call(buffer("in"), [DATA, 4], () => PENDING);
  gate.complete(cvm, thread, answer);
  expect(thread.state).toBe(ThreadState.Pending);
  gate.complete(cvm, undefined, 0);
  gate.complete(cvm, thread, 3);
  gate.complete(cvm, thread, 4);
  expect([thread.hart.getInt(10), cvm.refused]).toEqual([3, 3]);
  expect(broken).toEqual([]);
});

test("operations of an answer that must not be asked for end the cVM; a wrong address is EFAULT", () => {
  call(buffer("in"), [DATA, 4], () => ({ result: 0, ops: [{ op: "write", process: 1, address: 0x90000, bytes: fill(4) }] }));
  expect(thread.hart.getInt(10)).toBe(EFAULT);
  call(buffer("in"), [DATA, 4], () => ({ result: 0, ops: [{ op: "unmap", process: 1, address: REGION, length: PAGE_SIZE }] }));
  expect(broken).toHaveLength(1);
});

test.each<[string, unknown]>([
  ["not a list", {}],
  ["a record that is none", [null]],
  ["a negative number", [{ number: -1, name: "x", arguments: [] }]],
  ["a fractional number", [{ number: 1.5, name: "x", arguments: [] }]],
  ["a long name", [{ number: 1, name: "x".repeat(65), arguments: [] }]],
  ["seven arguments", [{ number: 1, name: "x", arguments: Array.from({ length: 7 }, () => ({ name: "a", kind: "int" })) }]],
  ["an unknown kind", [{ number: 1, name: "x", arguments: [{ name: "a", kind: "pointer" }] }]],
  ["a buffer without a length", [{ number: 1, name: "x", arguments: [{ name: "a", kind: "in" }] }]],
  ["a length from nowhere", [{ number: 1, name: "x", arguments: [{ name: "a", kind: "in", length: { arg: "b" } }] }]],
  [
    "a length from a path",
    [
      {
        number: 1,
        name: "x",
        arguments: [
          { name: "a", kind: "in", length: { arg: "b" } },
          { name: "b", kind: "path" },
        ],
      },
    ],
  ],
  ["a negative length", [{ number: 1, name: "x", arguments: [{ name: "a", kind: "in", length: { bytes: -1 } }] }]],
  ["an address without its length", [{ number: 1, name: "x", arguments: [{ name: "a", kind: "addressOut" }] }]],
  [
    "the same number twice",
    [
      { number: 1, name: "x", arguments: [] },
      { number: 1, name: "y", arguments: [] },
    ],
  ],
])("declarations with %s are refused", (_what, declarations) => {
  expect(() => compileDeclarations(declarations)).toThrow("[protocol]");
});
