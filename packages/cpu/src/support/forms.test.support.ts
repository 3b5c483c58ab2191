/** Two machines that differ in the forms of their intrinsics only, and random states to call both on. */
import * as fc from "fast-check";
import { expect } from "vitest";
import { CapReg, OTYPE_SENTRY, OTYPE_UNSEALED, Perm, Prot, type MachineOptions } from "../abi.ts";
import {
  decodeBounds,
  encodeBounds,
  exponentOf,
  MASK64,
  MAX_EXPONENT,
  withBounds,
  withFlag,
  withOtype,
  withPerms,
} from "../capability/encoding.ts";
import { fromRaw } from "../capability/operations.ts";
import { ROOT_HI, type Raw } from "../capability/raw.ts";
import { allIntrinsics, Interpreter } from "../interpreter/interpreter.ts";
import { allClauses } from "../isa/index.ts";
import type { Intrinsic } from "../isa/intrinsics.ts";
import {
  ACTIVE_HART,
  Cap,
  CAP_BYTES,
  CAPS,
  F,
  GUEST,
  HART_USED,
  PAGE_FAST,
  PAGE_OWN,
  State,
  TAGS,
  writeRegister,
  writeScr,
  X,
} from "../machine/layout.ts";
import { createMachine, type Machine } from "../machine/machine.ts";

export const MEMORY_BYTES: number = 1024 * 1024;
/** Pages from here on, one of each kind; see {@link PAGES}. */
export const DATA = 0x2_0000;
const PAGES: readonly (readonly [prot: number, tags: boolean])[] = [
  [Prot.Read | Prot.Write, false],
  [Prot.Read | Prot.Write, true],
  [Prot.Read | Prot.Write, true],
  [Prot.Read, true],
  [Prot.Read | Prot.Write, false],
  [0, false],
  [Prot.Write, false],
  [Prot.Read | Prot.Write | Prot.Execute, true],
];
const DATA_BYTES = PAGES.length * 4096;

type Call = (hart: number, ...args: (number | bigint)[]) => bigint | number | undefined;

/** Parts of linear memory that calls may change. */
const RANGES: readonly (readonly [at: number, length: number])[] = [
  [ACTIVE_HART, HART_USED],
  [GUEST + DATA, DATA_BYTES],
  [GUEST + MEMORY_BYTES - 64, 64],
  [TAGS + DATA / 16, DATA_BYTES / 16],
  [TAGS + MEMORY_BYTES / 16 - 4, 4],
  [PAGE_OWN, MEMORY_BYTES / 4096],
  [PAGE_FAST, MEMORY_BYTES / 4096],
];

/** A machine with pages of each kind, and a hart that is active. */
class Side {
  readonly machine: Machine;
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  /** What calls may change, as it is and as it was in the beginning. */
  readonly #live: readonly Uint8Array[];
  readonly #clean: readonly Uint8Array[];

  constructor(options: MachineOptions, interpreter?: Interpreter) {
    this.machine = createMachine({ memoryBytes: MEMORY_BYTES, ...options }, interpreter);
    const { machine } = this;
    this.#view = machine.view;
    this.#bytes = new Uint8Array(this.#view.buffer);
    PAGES.forEach(([prot, tags], index) => {
      const at = DATA + 4096 * index;
      machine.protect(at, 4096, prot);
      machine.storeRange(
        at,
        Uint8Array.from({ length: 4096 }, (_, i) => (i * 7 + index) & 0xff),
      );
      if (!tags) return;
      for (let granule = 0; granule < 256; granule += 1) {
        if (granule % 3 === 1) continue;
        machine.storeCapability(at + 16 * granule, fromRaw({ hi: ROOT_HI, address: 0n, tag: true }));
        // Any bits, as they come from elsewhere.
        this.#view.setBigUint64(
          GUEST + at + 16 * granule + 8,
          (ROOT_HI ^ (BigInt(granule * 0x1234567) << BigInt(granule % 24))) & MASK64,
          true,
        );
      }
    });
    machine.protect(MEMORY_BYTES - 4096, 4096, Prot.Read | Prot.Write);
    machine.activate(machine.createHart());
    this.#live = RANGES.map(([at, length]) => this.#bytes.subarray(at, at + length));
    this.#clean = this.#live.map((bytes) => bytes.slice());
  }
  /** Puts everything as it was, then the state's registers. */
  prepare(state: RandomState): void {
    this.#clean.forEach((bytes, index) => this.#live[index]!.set(bytes));
    const { machine } = this;
    state.registers.forEach((cap, index) => writeRegister(this.#view, ACTIVE_HART, index, cap));
    machine.setPcc(ACTIVE_HART, state.pcc);
    machine.setDdc(ACTIVE_HART, state.ddc);
    this.#view.setBigUint64(ACTIVE_HART + State.reservation, state.reservation ?? MASK64, true);
    const status = Number(state.registers[6]!.address & 255n);
    this.#view.setInt32(ACTIVE_HART + State.fflags, status & 31, true);
    this.#view.setInt32(ACTIVE_HART + State.frm, status >> 5, true);
    for (let index = 0; index < 32; index += 1)
      this.#view.setBigUint64(ACTIVE_HART + F + 8 * index, (state.registers[6]!.address + 1n) & MASK64, true);
    for (const index of [12, 14, 15, 28, 31]) writeScr(this.#view, ACTIVE_HART, index, state.registers[5]!);
  }
  call(name: string, args: readonly (number | bigint)[]): bigint | number | undefined {
    return (this.machine.intrinsics[name] as Call)(ACTIVE_HART, ...args);
  }
  /** True when all that a call may change is as on the other side. Metadata of registers that have none is cleared before. */
  equals(other: Side): boolean {
    for (const side of [this, other]) {
      const mask = side.#view.getInt32(ACTIVE_HART + State.capRegs, true);
      for (let index = 0; index < 32; index += 1) {
        const at = ACTIVE_HART + CAPS + index * CAP_BYTES;
        if (((mask >>> index) & 1) === 0) side.#bytes.fill(0, at, at + CAP_BYTES);
      }
    }
    return this.#live.every((bytes, index) => Buffer.compare(bytes, other.#live[index]!) === 0);
  }
  /** What differs, to be read. */
  describe(): unknown {
    const view = this.#view;
    const at = ACTIVE_HART;
    const register = (index: number): string => {
      const has = ((view.getInt32(at + State.capRegs, true) >>> index) & 1) !== 0;
      const meta = at + CAPS + index * CAP_BYTES;
      const hex = (offset: number): string => view.getBigUint64(offset, true).toString(16);
      const rest = has ? ` hi ${hex(meta)} base ${hex(meta + Cap.base)} top ${hex(meta + Cap.top)} ${hex(meta + Cap.topHi)}` : "";
      return `${hex(at + X + 8 * index)}${rest}`;
    };
    return {
      state: Object.fromEntries(Object.entries(State).map(([name, offset]) => [name, view.getBigUint64(at + offset, true).toString(16)])),
      registers: Array.from({ length: 32 }, (_, index) => register(index)),
    };
  }
}

function count(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}

/** Calls an intrinsic in its fast form and in TypeScript from the same state, and compares all that it may change. */
export class Comparison {
  readonly #fast: Side;
  readonly #slow: Side;
  /** Names of the intrinsics that have a form of their own on this machine. */
  readonly fastNames: readonly string[];

  /** Calls of forms in TypeScript by the fast ones, and calls that raised an exception, by name. */
  readonly fallbacks: Map<string, number> = new Map();
  readonly exceptions: Map<string, number> = new Map();

  constructor(options: MachineOptions = {}) {
    const plain = (make: (name: string, intrinsic: Intrinsic) => Partial<Intrinsic>): Interpreter =>
      new Interpreter(
        allClauses,
        Object.fromEntries(Object.entries(allIntrinsics).map(([name, intrinsic]) => [name, { ...intrinsic, ...make(name, intrinsic) }])),
      );
    const counted = (name: string, { make }: Intrinsic): Partial<Intrinsic> => ({
      make: (context) => {
        const form = make(context) as (...args: unknown[]) => bigint;
        return (...args: unknown[]) => {
          count(this.fallbacks, name);
          return form(...args);
        };
      },
    });
    this.#fast = new Side(options, plain(counted));
    this.#slow = new Side(
      options,
      new Interpreter(
        allClauses,
        Object.fromEntries(Object.entries(allIntrinsics).map(([name, { params, result, make }]) => [name, { params, result, make }])),
      ),
    );
    const wasm = /\[native code\]/u;
    this.fastNames = Object.keys(allIntrinsics).filter((name) => wasm.test(String(this.#fast.machine.intrinsics[name])));
  }
  check(name: string, args: readonly (number | bigint)[], state: RandomState): void {
    this.#fast.prepare(state);
    this.#slow.prepare(state);
    const results = [this.#fast.call(name, args), this.#slow.call(name, args)];
    // After an exception the result is ignored.
    const trapped = this.#slow.machine.view.getInt32(ACTIVE_HART + State.trapPending, true) !== 0;
    if (trapped) count(this.exceptions, name);
    if ((trapped || results[0] === results[1]) && this.#fast.equals(this.#slow)) return;
    expect({ result: results[0], ...(this.#fast.describe() as object) }, name).toEqual({
      result: results[1],
      ...(this.#slow.describe() as object),
    });
    expect.unreachable(`${name}: memory, tags or states of pages differ`);
  }
}

export interface RandomState {
  /** All 32, c0 is not used. */
  readonly registers: readonly Raw[];
  readonly ddc: Raw;
  readonly pcc: Raw;
  /** None unless given. */
  readonly reservation?: bigint;
}

const small = fc.bigInt({ min: -20n, max: 20n });
const bit = fc.bigInt({ min: 0n, max: 64n });
const anything = fc.bigInt({ min: 0n, max: MASK64 });
/** 64 bits, mostly near powers of two. */
export const number: fc.Arbitrary<bigint> = fc
  .oneof(
    { weight: 4, arbitrary: fc.tuple(bit, small).map(([shift, delta]) => (1n << shift) + delta) },
    { weight: 2, arbitrary: fc.tuple(bit, bit, small).map(([a, b, delta]) => (1n << a) + (1n << b) + delta) },
    { weight: 2, arbitrary: fc.tuple(anything, bit).map(([value, shift]) => value >> shift) },
    { weight: 1, arbitrary: anything },
    { weight: 1, arbitrary: small },
  )
  .map((value) => value & MASK64);
/** Addresses on the pages of a {@link Side}, most near the border of two, and near the end of memory. */
const place: fc.Arbitrary<bigint> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.tuple(fc.integer({ min: 0, max: PAGES.length }), small).map(([page, delta]) => BigInt(DATA + 4096 * page) + delta),
  },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: DATA_BYTES / 16 }).map((granule) => BigInt(DATA + 16 * granule)) },
  { weight: 1, arbitrary: fc.integer({ min: DATA, max: DATA + DATA_BYTES }).map(BigInt) },
  { weight: 1, arbitrary: small.map((delta) => BigInt(MEMORY_BYTES) + delta) },
);

/** Numbers near those that matter to a capability: its bounds, and where its representable space ends. */
export function near(cap: Raw, which: number, delta: bigint): bigint {
  const { base, top } = decodeBounds(cap.hi, cap.address);
  const e = BigInt(Math.min(MAX_EXPONENT, exponentOf(cap.hi)));
  const unit = 1n << e;
  const space = 1n << (e + 14n);
  const lowest = (base & ~((1n << (e + 11n)) - 1n)) - (1n << (e + 11n));
  const marks = [base, top, (base + top) / 2n, lowest, lowest + space, base - unit, top + unit, cap.address + space, cap.address - space];
  return (marks[which % marks.length]! + delta) & MASK64;
}

const ALL16 = Perm.All;
const permissions = fc.oneof(
  { weight: 5, arbitrary: fc.constant(ALL16) },
  { weight: 3, arbitrary: fc.integer({ min: 0, max: 18 }).map((at) => ALL16 & ~(1 << at)) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 0x7ffff }) },
);
const otype = fc.oneof(
  { weight: 8, arbitrary: fc.constant(OTYPE_UNSEALED) },
  { weight: 1, arbitrary: fc.constant(OTYPE_SENTRY) },
  { weight: 1, arbitrary: fc.integer({ min: -4, max: 20 }) },
  { weight: 1, arbitrary: fc.integer({ min: 0x3fff0, max: 0x3ffff }) },
);
const mostly = fc.integer({ min: 0, max: 15 }).map((value) => value !== 0);

/** Bounds of any size at any place or around a page, an address in them or at an edge, any permissions and otype. */
const derived = fc
  .record({
    base: fc.oneof(number, place, place),
    length: fc.oneof(number, fc.bigInt({ min: 0n, max: 9000n })),
    which: fc.integer({ min: 0, max: 17 }),
    delta: small,
    perms: permissions,
    otype,
    flag: fc.integer({ min: 0, max: 1 }),
    tag: mostly,
  })
  .map(({ base, length, which, delta, perms, flag, tag, ...rest }): Raw => {
    const { bits } = encodeBounds(base, base + length);
    const hi = withFlag(withOtype(withPerms(withBounds(ROOT_HI, bits), perms), rest.otype), flag);
    const there = { hi, address: base, tag };
    const address = which < 3 ? base : which < 6 ? (base + delta) & MASK64 : near(there, which, delta);
    return { hi, address, tag };
  });
/** Any bits. */
const raw = fc.record({ hi: fc.oneof(number, anything), address: number, tag: mostly }).map((cap): Raw => cap);
/** Over a place in memory, so that most accesses are allowed. */
const usable = fc
  .record({
    at: fc.tuple(place, fc.constantFrom(-1n, -1n, -16n, -16n, -64n, -64n, -64n)).map(([at, mask]) => at & mask),
    before: fc.constantFrom(0n, 0n, 16n, 64n, 4096n),
    length: fc.constantFrom(1n, 7n, 8n, 16n, 24n, 64n, 64n, 128n, 8192n),
    perms: permissions,
    tag: fc.integer({ min: 0, max: 20 }),
    type: fc.oneof({ weight: 6, arbitrary: fc.constant(OTYPE_UNSEALED) }, { weight: 1, arbitrary: otype }),
  })
  .map(({ at, before, length, perms, tag, type }): Raw => {
    const base = at - before < 0n ? 0n : at - before;
    const { bits } = encodeBounds(base, base + before + length);
    return { hi: withOtype(withPerms(withBounds(ROOT_HI, bits), perms), type), address: at & MASK64, tag: tag !== 0 };
  });
const integer = fc.oneof(number, place).map((address): Raw => ({ hi: 0n, address, tag: false }));
/** What CSeal and CUnseal take: an address that may be an otype. */
const sealing = fc
  .record({
    address: fc.oneof(fc.bigInt({ min: 0n, max: 20n }), fc.bigInt({ min: 0x3fff0n, max: 0x40008n })),
    wide: mostly,
    perms: permissions,
  })
  .map(({ address, wide, perms }): Raw => {
    const { bits } = wide ? encodeBounds(0n, 1n << 20n) : encodeBounds(address & ~3n, (address & ~3n) + 2n);
    return { hi: withPerms(withBounds(ROOT_HI, bits), perms), address, tag: true };
  });

export const capability: fc.Arbitrary<Raw> = fc.oneof(
  { weight: 5, arbitrary: derived },
  { weight: 4, arbitrary: usable },
  { weight: 1, arbitrary: raw },
  { weight: 1, arbitrary: integer },
  { weight: 1, arbitrary: sealing },
);
/** Something that code may run under, in most cases; its address is where the pc stands. */
const code = fc.oneof(
  { weight: 4, arbitrary: fc.record({ cap: fc.oneof(derived, usable), tag: mostly }).map(({ cap, tag }) => ({ ...cap, tag })) },
  { weight: 1, arbitrary: fc.bigInt({ min: 0n, max: BigInt(MEMORY_BYTES) }).map((address): Raw => ({ hi: ROOT_HI, address, tag: true })) },
);

const ROOT: Raw = { hi: ROOT_HI, address: 0n, tag: true };
/** c5, c6, c7 are random, the others something of each kind. */
const stateOf = (some: fc.Arbitrary<Raw>): fc.Arbitrary<RandomState> =>
  fc
    .record({ five: some, six: some, seven: some, ddc: fc.oneof(usable, usable, derived, fc.constant(ROOT)), pcc: code })
    .map(({ five, six, seven, ddc, pcc }) => ({
      registers: Array.from({ length: 32 }, (_, index): Raw => {
        const chosen = [five, six, seven][index - 5];
        if (chosen !== undefined) return chosen;
        return index % 3 === 0 && index > 0 ? ROOT : { hi: 0n, address: BigInt(index === 0 ? 0 : index), tag: false };
      }),
      ddc,
      pcc,
    }));
/** For arithmetic: capabilities of all kinds. */
export const anyState: fc.Arbitrary<RandomState> = stateOf(
  fc.oneof({ weight: 4, arbitrary: capability }, { weight: 1, arbitrary: sealing }),
);
/** For accesses and jumps: most of what is needed is there. */
export const usableState: fc.Arbitrary<RandomState> = stateOf(
  fc.oneof({ weight: 6, arbitrary: usable }, { weight: 1, arbitrary: capability }),
);
/** Registers for operands: the random ones, c0, one that cannot be shifted wrongly unseen. */
export const register: fc.Arbitrary<number> = fc.constantFrom(5, 5, 5, 6, 6, 7, 0, 31);
export const authority: fc.Arbitrary<number> = fc.constantFrom(5, 5, 5, 6, 7, 0, CapReg.Ddc, CapReg.Ddc);
