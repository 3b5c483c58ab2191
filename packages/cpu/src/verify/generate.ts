/** Random cases: states with capabilities of every kind, and programs that mostly do something with them. */
import * as fc from "fast-check";
import { OTYPE_UNSEALED, Perm } from "../abi.ts";
import { decodeBounds, flagOf, otypeOf, permsOf } from "../capability/encoding.ts";
import { rawAndPerms, rawNull, rawSetAddress, rawSetBounds, rawSetFlag, type Raw } from "../capability/raw.ts";
import { arbCapability, arbRegion, arbRegisters, capabilityOver, RW, RWC, within } from "./capabilities.ts";
import type { Clause } from "../isa/clause.ts";
import { CODE, CODE_BYTES, DATA, DATA_BYTES, MORE_DATA, READ_ONLY, REGION, type Case } from "./case.ts";
import { arbProgram, type ProgramOptions } from "./instructions.ts";

/** What cases are about. */
export interface Options extends Omit<ProgramOptions, "strict"> {
  /** The machine's, on unless given: what addresses in integer registers are relative to. */
  readonly relocation?: boolean;
  /** As of {@link ProgramOptions}, and registers, DDC and PCC are good. Both ways unless given. */
  readonly strict?: boolean;
  /** No capabilities in registers, and no instructions that know of them: what translating engines translate. */
  readonly plain?: boolean;
  /** Nothing that reaches further than a part of the data, so that more authority than that is seen. */
  readonly poor?: boolean;
}

const arbFloat: fc.Arbitrary<bigint> = fc.oneof(
  fc.double().map((value) => {
    const view = new DataView(new ArrayBuffer(8));
    view.setFloat64(0, value);
    return view.getBigUint64(0);
  }),
  fc.float().map((value) => {
    const view = new DataView(new ArrayBuffer(8));
    view.setFloat32(4, value);
    view.setUint32(0, 0xffff_ffff);
    return view.getBigUint64(0);
  }),
  fc.constantFrom(0n, 1n << 63n, 0x7ff0_0000_0000_0000n, 0x7ff0_0000_0000_0001n, 0xffff_ffff_7f80_0000n, 0xffff_ffff_7fa0_0000n, 1n),
);

const addressesOnly = (caps: readonly Raw[]): readonly Raw[] => caps.map(({ address }) => rawNull(address));

const arbPcc = (mode: 0 | 1): fc.Arbitrary<Raw> =>
  fc
    .oneof(
      { arbitrary: fc.constant(arbRegion(Perm.All)), weight: 5 },
      { arbitrary: fc.constant(arbRegion(Perm.All & ~Perm.AccessSystemRegs)), weight: 5 },
      // Only part of a page: instructions are decoded one at a time.
      { arbitrary: fc.integer({ min: 1, max: 60 }).map((n) => within(CODE, 2 * n, Perm.All)), weight: 1 },
      { arbitrary: fc.constant(within(CODE + 2, CODE_BYTES - 2, Perm.Execute | Perm.Load)), weight: 1 },
      { arbitrary: fc.constant(capabilityOver(0n, 1n << 64n, Perm.All)), weight: 1 },
    )
    .map((cap) => rawSetFlag(cap, mode));

const arbDdc: fc.Arbitrary<Raw> = fc.oneof(
  { arbitrary: fc.constant(arbRegion(RWC)), weight: 12 },
  { arbitrary: fc.constant(arbRegion(RW)), weight: 2 },
  // Its address moves all accesses.
  { arbitrary: fc.integer({ min: -40, max: 40 }).map((by) => rawSetAddress(arbRegion(RWC), BigInt(REGION + by))), weight: 1 },
  { arbitrary: fc.constant(within(DATA, DATA_BYTES, RWC)), weight: 1 },
  // It ends between granules, or where a page does.
  { arbitrary: fc.constantFrom(0x48, 0x140, 0x1000, 0x1028, 0x2000).map((more) => within(0, DATA + more, RWC)), weight: 2 },
  { arbitrary: arbCapability, weight: 1 },
);

const arbMemory: fc.Arbitrary<Case["memory"]> = fc.array(
  fc.record({
    at: fc.oneof(
      fc.nat(31).map((n) => DATA + 16 * n),
      fc.nat(7).map((n) => DATA + 0x1000 - 64 + 16 * n),
      fc.nat(3).map((n) => DATA + DATA_BYTES - 64 + 16 * n),
      fc.nat(7).map((n) => READ_ONLY + 16 * n),
      fc.nat(7).map((n) => MORE_DATA + 16 * n),
    ),
    cap: arbCapability,
  }),
  { maxLength: 24, size: "max" },
);

/** At most 128 bytes of what a capability reaches. Code stays whole. */
function impoverished(cap: Raw): Raw {
  if (!cap.tag || otypeOf(cap.hi) !== OTYPE_UNSEALED || (permsOf(cap.hi) & Perm.Execute) !== 0) return cap;
  const { base, top } = decodeBounds(cap.hi, cap.address);
  if (top - base <= 128n) return cap;
  // Around its address, if that is inside.
  const granule = cap.address & ~15n;
  const start = granule >= base && granule + 128n <= top ? granule : base;
  const narrow = rawSetBounds(rawSetAddress(cap, start), 128n).capability;
  return start === base ? narrow : rawSetAddress(narrow, cap.address);
}
/** Capabilities that lie about in memory, over what nothing else reaches: whoever may load capabilities there has them. */
const TREASURES: Case["memory"] = Array.from({ length: 88 }, (_, index) => ({
  at: DATA + 0x80 + 16 * index,
  cap: within(MORE_DATA + 16 * index, 16, RWC),
}));
/** `denied` has a bit for each register, and one for DDC, that may not load capabilities. */
function poor(test: Case, denied: number): Case {
  const perms = (index: number): number => (((denied >>> index) & 1) === 0 ? Perm.All : Perm.All & ~Perm.LoadCap);
  const limited = (cap: Raw, index: number): Raw => (otypeOf(cap.hi) === OTYPE_UNSEALED ? rawAndPerms(cap, perms(index)) : cap);
  return {
    ...test,
    registers: test.registers.map((cap, index) => limited(impoverished(cap), index)),
    ddc: within(0, DATA + 0x300, permsOf(test.ddc.hi) & RWC & perms(31)),
    pcc: rawSetFlag(within(CODE, CODE_BYTES, permsOf(test.pcc.hi) & ~(Perm.Store | Perm.Seal | Perm.Unseal)), flagOf(test.pcc.hi)),
    memory: [...TREASURES, ...test.memory],
  };
}

/** A whole case. */
export function arbCase(options: Options = {}): fc.Arbitrary<Case> {
  if (options.plain === true) {
    const clauses = ({ extension }: Clause): boolean => extension !== "Xcheri" && extension !== "Privileged";
    return arbCase({ clauses, ...options, plain: false }).map((test) => ({ ...test, registers: addressesOnly(test.registers) }));
  }
  if (options.strict === undefined) return fc.oneof(arbCase({ ...options, strict: false }), arbCase({ ...options, strict: true }));
  if (options.poor === true) {
    return fc.tuple(arbCase({ ...options, poor: false }), fc.noBias(fc.integer())).map(([test, denied]) => poor(test, denied));
  }
  const { mode = 0, strict, relocation = true } = options;
  const registers = arbRegisters({ mode, relocation, strict });
  // Without a preference for small numbers and first choices, which would make all operands the same register.
  return fc.noBias(
    fc.record({
      program: arbProgram(options),
      // Engines have a faster way for harts without capabilities in registers.
      registers: fc.oneof({ arbitrary: registers, weight: 4 }, { arbitrary: registers.map(addressesOnly), weight: 1 }),
      floats: fc.array(arbFloat, { minLength: 32, maxLength: 32 }),
      // Engines have a faster way for rounding to nearest.
      fcsr: fc.oneof({ arbitrary: fc.nat(31), weight: 3 }, { arbitrary: fc.nat(strict ? 0x9f : 0xff), weight: 1 }),
      ddc: strict ? fc.constant(arbRegion(RWC)) : arbDdc,
      pcc: strict ? fc.constant(rawSetFlag(arbRegion(Perm.All), mode)) : arbPcc(mode),
      specials: fc.tuple(arbCapability, arbCapability).map(([a, b]) => [[30, a] as const, [14, b] as const]),
      memory: arbMemory,
      writableCode: strict ? fc.constant(false) : fc.nat(3).map((n) => n === 0),
      origin: fc.oneof(
        { arbitrary: fc.constant(CODE), weight: 6 },
        { arbitrary: fc.nat(20).map((n) => CODE + 0x1000 - 2 * n), weight: 2 },
        { arbitrary: fc.nat(20).map((n) => CODE + CODE_BYTES - 2 * n - 2), weight: strict ? 0 : 1 },
      ),
      fuel: fc.constant(Math.max(60, 2 * (options.rounds ?? 0))),
    }),
  );
}
