/** Random capabilities of every kind, and registers full of them. */
import * as fc from "fast-check";
import { OTYPE_MAX, Perm } from "../abi.ts";
import {
  rawAndPerms,
  rawNull,
  rawSeal,
  rawSealEntry,
  rawSetAddress,
  rawSetBounds,
  rawSetFlag,
  ROOT_HI,
  type Raw,
} from "../capability/raw.ts";
import { CODE, CODE_BYTES, DATA, DATA_BYTES, MORE_DATA, READ_ONLY, REGION, REGION_BYTES } from "./case.ts";

const MASK64 = (1n << 64n) - 1n;
export const RW: number = Perm.Load | Perm.Store | Perm.Global;
export const RWC: number = RW | Perm.LoadCap | Perm.StoreCap | Perm.StoreLocalCap;

/** The capability over everything. */
export const root: Raw = { tag: true, hi: ROOT_HI, address: 0n };
/** [base, base + length) with `perms`, rounded outwards where it cannot be exact; at `address`. */
export function capabilityOver(base: bigint, length: bigint, perms: number, address: bigint = base): Raw {
  const { capability } = rawSetBounds(rawSetAddress(root, base), length);
  return rawSetAddress(rawAndPerms(capability, perms), BigInt.asUintN(64, address));
}
/** A range of the region. */
export const within = (offset: number, length: number, perms: number, at = 0): Raw =>
  capabilityOver(BigInt(REGION + offset), BigInt(length), perms, BigInt(REGION + offset + at));
/** The authority over an object type. */
export const sealer = (otype: number, perms: number = Perm.Seal | Perm.Unseal | Perm.Global, length = 1): Raw =>
  capabilityOver(BigInt(otype), BigInt(length), perms);
export const sealedWith = (cap: Raw, otype: number): Raw => rawSeal(cap, sealer(otype));

// ---- roles of registers, so that programs do more than trap

/** Numbers of the registers that cases fill with one kind of thing each. Programs may overwrite them all. */
export const Role = {
  result: [1, 2, 3, 4, 5, 6, 7],
  code: [8],
  sealed: [9],
  offset: [10, 11, 12, 13, 14, 15],
  data: [16, 17, 18, 19, 20, 21],
  authority: [22],
  entry: [23],
  /** A length, an address of data, permissions, and any number. */
  integer: [24, 25, 26, 27],
  counter: 28,
  odd: [29, 30, 31],
} as const;

const OBJECT_TYPES = [0, 1, 16, 20, 31, 32, 900, OTYPE_MAX];

const arbBits: fc.Arbitrary<bigint> = fc.bigInt({ min: 0n, max: MASK64 });
const SMALL = [0, 1, 2, 7, 8, 15, 16, 17, 31, 32, 63, 64, 0xfff, 0x1000, 0x1001, 0x1fff, 0x2000];
const PLACED = [RW, RWC, Perm.All, Perm.Load, Perm.Seal | Perm.Unseal, CODE, DATA, DATA + 16, READ_ONLY, REGION, REGION + DATA];
/** 2^n and its neighbours. */
const powers: readonly bigint[] = [31n, 32n, 52n, 62n, 63n, 64n].flatMap((n) => [-1n, 0n, 1n].map((by) => ((1n << n) + by) & MASK64));
const EDGES: readonly bigint[] = [...[...SMALL, ...PLACED, ...OBJECT_TYPES].map(BigInt), ...powers, ROOT_HI];
const arbInteger: fc.Arbitrary<bigint> = fc.oneof(
  { arbitrary: fc.constantFrom(...EDGES), weight: 6 },
  { arbitrary: fc.integer({ min: -200, max: 200 }).map((n) => BigInt.asUintN(64, BigInt(n))), weight: 3 },
  { arbitrary: arbBits, weight: 2 },
);

/** Places in the region where something happens: ends of pages and granules. */
const PLACES = [DATA, DATA + 0x40, DATA + 0x1000, DATA + DATA_BYTES, READ_ONLY, READ_ONLY + 0x1000, MORE_DATA, MORE_DATA + 0x1000];
const arbOffset: fc.Arbitrary<number> = fc.oneof(
  { arbitrary: fc.nat(7).map((n) => DATA + 64 * n), weight: 6 },
  { arbitrary: fc.tuple(fc.constantFrom(...PLACES), fc.integer({ min: -24, max: 24 })).map(([place, by]) => place + by), weight: 6 },
  { arbitrary: fc.nat(DATA_BYTES).map((n) => DATA + n), weight: 3 },
  { arbitrary: fc.constantFrom(0, CODE, CODE + 64, CODE + 0x1000, REGION_BYTES, -1, -8), weight: 1 },
);

const PERMISSIONS = [
  RWC,
  RWC,
  RWC,
  RWC | Perm.CInvoke,
  RW,
  Perm.Load,
  Perm.Store,
  Perm.Load | Perm.LoadCap,
  RWC & ~Perm.Global,
  RWC & ~Perm.StoreLocalCap,
  RWC & ~Perm.LoadCap,
  RWC & ~Perm.StoreCap,
  Perm.All,
  0,
];
const arbPermissions: fc.Arbitrary<number> = fc.oneof(
  { arbitrary: fc.constantFrom(...PERMISSIONS), weight: 5 },
  { arbitrary: fc.nat(0x7ffff).map((bits) => bits & Perm.All), weight: 1 },
);

/** Data: a piece of the region around some place, at or near its ends. */
const arbData: fc.Arbitrary<Raw> = fc
  .tuple(
    fc.constantFrom(DATA, DATA, DATA + 0x40, DATA + 0xff0, DATA + 0x1000, DATA + 0x1ff0, READ_ONLY, MORE_DATA, 0x3000),
    fc.constantFrom(0x1000, 0x2000, 0x2000, 0x100, 0x80, 64, 48, 32, 17, 16, 15, 8, 1, 0, 0x1fff),
    arbPermissions,
    fc.oneof(
      fc.constant(0),
      fc.constant(0),
      fc.nat(4).map((n) => 16 * n),
      fc.integer({ min: -20, max: 100 }),
    ),
    fc.nat(3),
  )
  .map(([base, length, perms, by, end]) => within(base, length, perms, end === 0 && by < 17 ? length - by : by));

/** Large ranges, whose bounds are rounded and whose addresses stop being representable not far outside. */
const arbHuge: fc.Arbitrary<Raw> = fc
  .tuple(arbBits, fc.nat(64), fc.integer({ min: -2, max: 2 }), arbPermissions, fc.integer({ min: -3, max: 40 }))
  .map(([base, size, more, perms, by]) => {
    const length = BigInt.asUintN(64, (1n << BigInt(size)) + BigInt(more));
    const cap = capabilityOver(base, length, perms, base);
    // In 32nds of the range: inside, at the top, and outside where the representable space ends.
    return rawSetAddress(cap, BigInt.asUintN(64, base + (BigInt(by) * (1n << BigInt(size))) / 32n));
  });

const arbCode: fc.Arbitrary<Raw> = fc
  .tuple(
    fc.constantFrom(0, 1, 2, 4, 6, 8, 12, 16, 20, 28, 40),
    fc.constantFrom(CODE_BYTES, CODE_BYTES, CODE_BYTES, 64, 2, 1),
    fc.constantFrom(Perm.CInvoke, Perm.CInvoke, Perm.CInvoke | Perm.AccessSystemRegs, 0, Perm.Store),
    fc.nat(15),
    fc.nat(11),
  )
  .map(([at, length, more, odd, misaligned]) => {
    const perms = Perm.Execute | Perm.Load | Perm.Global | more;
    const cap = within(CODE + (misaligned === 0 ? 1 : 0), length, odd === 0 ? perms & ~Perm.Execute : perms, Math.min(at, length));
    return misaligned === 1 ? rawSetFlag(cap, 1) : cap;
  });

const arbSealer: fc.Arbitrary<Raw> = fc
  .tuple(
    fc.constantFrom(0, 16, 16, OTYPE_MAX - 3),
    fc.constantFrom(16, 32, 1, 8),
    fc.nat(20),
    fc.constantFrom<number[]>(0, 0, 0, Perm.Seal, Perm.Unseal),
  )
  .map(([base, length, at, without]) =>
    capabilityOver(BigInt(base), BigInt(length), (Perm.Seal | Perm.Unseal | Perm.Global) & ~without, BigInt(base + (at % (length + 1)))),
  );

/** Anything that is not sealed. */
const arbUnsealed: fc.Arbitrary<Raw> = fc.oneof(
  { arbitrary: arbData, weight: 6 },
  { arbitrary: arbCode, weight: 2 },
  { arbitrary: arbSealer, weight: 2 },
  { arbitrary: arbHuge, weight: 2 },
  { arbitrary: fc.tuple(arbPermissions, arbInteger).map(([perms, at]) => capabilityOver(0n, 1n << 64n, perms, at)), weight: 1 },
);
const arbSealed: fc.Arbitrary<Raw> = fc.oneof(
  fc.tuple(arbUnsealed, fc.constantFrom(...OBJECT_TYPES)).map(([cap, otype]) => sealedWith(cap, otype)),
  arbCode.map(rawSealEntry),
  arbUnsealed.map(rawSealEntry),
);
/** Not valid: any bits, or a capability without its tag. */
const arbUntagged: fc.Arbitrary<Raw> = fc.oneof(
  fc.tuple(arbBits, arbInteger).map(([hi, address]) => ({ tag: false, hi, address })),
  fc.oneof(arbUnsealed, arbSealed).map((cap) => ({ ...cap, tag: false })),
);
export const arbCapability: fc.Arbitrary<Raw> = fc.oneof(
  { arbitrary: arbUnsealed, weight: 6 },
  { arbitrary: arbSealed, weight: 2 },
  { arbitrary: arbUntagged, weight: 1 },
);

/** Mostly `usual`, sometimes anything. */
const mostly = (usual: fc.Arbitrary<Raw>, weight = 8): fc.Arbitrary<Raw> =>
  fc.oneof({ arbitrary: usual, weight }, { arbitrary: arbCapability, weight: 1 }, { arbitrary: arbInteger.map(rawNull), weight: 1 });

/** c8 and c9: code and data sealed as a pair, sometimes not quite. */
const arbPair: fc.Arbitrary<{ readonly code: Raw; readonly data: Raw; readonly otype: number }> = fc
  .tuple(mostly(arbCode, 20), mostly(arbData, 20), fc.constantFrom(...OBJECT_TYPES), fc.nat(14))
  .map(([code, data, otype, odd]) => {
    // Data must be invocable and must not be executable.
    const invocable = odd === 0 ? data : rawAndPerms(data, Perm.All & ~Perm.Execute);
    const withInvoke = (cap: Raw): Raw => (cap.tag ? capabilityLike(cap, Perm.CInvoke) : cap);
    const sealed = sealedWith(odd === 1 ? invocable : withInvoke(invocable), odd === 2 ? 17 : otype);
    return {
      code: odd === 3 ? rawSealEntry(code) : sealedWith(odd === 4 ? code : withInvoke(code), otype),
      data: odd === 5 ? invocable : sealed,
      otype,
    };
  });
/** The same with more permissions: cases are made by those who have them all. */
function capabilityLike(cap: Raw, more: number): Raw {
  return { ...cap, hi: cap.hi | (BigInt(more & 0xfff) << 48n) };
}

export const arbRegion = (perms: number): Raw => within(0, REGION_BYTES, perms);

/** All registers by role. `strict`: data and what is relative to DDC are good. */
export function arbRegisters({
  mode,
  relocation,
  strict,
}: {
  readonly mode: 0 | 1;
  readonly relocation: boolean;
  readonly strict: boolean;
}): fc.Arbitrary<readonly Raw[]> {
  const from = relocation ? 0 : REGION;
  const offset = arbOffset.map((at) => rawNull(BigInt.asUintN(64, BigInt(at + from))));
  const good = fc.nat(60).map((n) => DATA + 0x100 + 16 * n + 0xd80 * (n % 2));
  const aligned = good.map((at) => within(DATA, DATA_BYTES, RWC, at - DATA));
  // Capabilities are stored through the first ones, data anywhere through the others.
  const unaligned = fc.tuple(good, fc.nat(15)).map(([at, by]) => within(DATA, DATA_BYTES, RWC, at + by - DATA));
  const data = strict ? aligned : mostly(arbData);
  const through = strict ? good.map((at) => rawNull(BigInt(at + from))) : mostly(offset);
  const of = (arbitrary: fc.Arbitrary<Raw>, count: number): fc.Arbitrary<Raw[]> =>
    fc.array(arbitrary, { minLength: count, maxLength: count });
  const number = (arbitrary: fc.Arbitrary<number>): fc.Arbitrary<Raw> => arbitrary.map((value) => rawNull(BigInt(value)));
  return fc
    .record({
      result: of(fc.oneof({ arbitrary: arbUnsealed, weight: 2 }, { arbitrary: arbCapability, weight: 1 }), Role.result.length),
      pair: arbPair,
      offsets: of(mode === 1 ? data : through, Role.offset.length),
      data: fc.tuple(of(data, 3), of(strict ? unaligned : data, Role.data.length - 3)).map((parts) => parts.flat()),
      authority: mostly(arbSealer),
      owned: fc.boolean(),
      entry: mostly(arbCode.map(rawSealEntry)),
      length: mostly(number(fc.constantFrom(0, 1, 8, 15, 16, 16, 32, 32, 48, 64))),
      address: mostly(number(arbOffset.map((at) => Math.max(at, 0) + REGION))),
      perms: mostly(number(arbPermissions)),
      numbers: of(arbInteger.map(rawNull), 2),
      odd: of(arbCapability, Role.odd.length),
      part: fc.nat(3),
    })
    .map(({ result, pair, offsets, data, authority, owned, entry, length, address, perms, numbers, odd, part }) => {
      const sealing = owned ? sealer(pair.otype, Perm.Seal | Perm.Unseal | Perm.Global, 2) : authority;
      // The bits of a part of another register, for CBuildCap to make valid again.
      const bits = part === 0 ? odd[0]! : { ...rawSetBounds(data[part]!, 16n).capability, tag: false };
      const integers = [length, address, perms, ...numbers];
      return [...result, pair.code, pair.data, ...offsets, ...data, sealing, entry, ...integers, bits, ...odd.slice(1)];
    });
}
