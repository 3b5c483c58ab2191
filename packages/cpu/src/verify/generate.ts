/** Random cases: states with capabilities of every kind, and programs that mostly do something with them. */
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
import type { Clause } from "../isa/clause.ts";
import { csrNumbers } from "../isa/csr.ts";
import { encodingOf, type FieldName } from "../isa/encoding.ts";
import { allClauses } from "../isa/index.ts";
import { Semantics, type Stmt } from "../isa/ir.ts";
import {
  CODE,
  CODE_BYTES,
  DATA,
  DATA_BYTES,
  instruction,
  MORE_DATA,
  READ_ONLY,
  REGION,
  REGION_BYTES,
  type Case,
  type Instruction,
} from "./case.ts";

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
    fc.constantFrom(0x1000, 0x2000, 0x100, 64, 48, 32, 17, 16, 15, 8, 1, 0, 0x1fff),
    arbPermissions,
    fc.oneof(
      fc.constant(0),
      fc.constant(0),
      fc.nat(4).map((n) => 16 * n),
      fc.integer({ min: -20, max: 100 }),
    ),
    fc.boolean(),
  )
  .map(([base, length, perms, by, atTop]) => within(base, length, perms, atTop && by < 17 ? length - by : by));

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
const arbPair: fc.Arbitrary<readonly [Raw, Raw]> = fc
  .tuple(mostly(arbCode, 20), mostly(arbData, 20), fc.constantFrom(...OBJECT_TYPES), fc.nat(14))
  .map(([code, data, otype, odd]) => {
    // Data must be invocable and must not be executable.
    const invocable = odd === 0 ? data : rawAndPerms(data, Perm.All & ~Perm.Execute);
    const withInvoke = (cap: Raw): Raw => (cap.tag ? capabilityLike(cap, Perm.CInvoke) : cap);
    const sealed = sealedWith(odd === 1 ? invocable : withInvoke(invocable), odd === 2 ? 17 : otype);
    return [odd === 3 ? rawSealEntry(code) : sealedWith(odd === 4 ? code : withInvoke(code), otype), odd === 5 ? invocable : sealed];
  });
/** The same with more permissions: cases are made by who has them all. */
function capabilityLike(cap: Raw, more: number): Raw {
  return { ...cap, hi: cap.hi | (BigInt(more & 0xfff) << 48n) };
}

const arbRegion = (perms: number): Raw => within(0, REGION_BYTES, perms);

/** What cases are about. */
export interface Options {
  /** Of PCC's flag; integer mode unless given. */
  readonly mode?: 0 | 1;
  /** The machine's, on unless given: what addresses in integer registers are relative to. */
  readonly relocation?: boolean;
  /**
   * Registers keep the kind of thing that their role says, and DDC, PCC and what is in roles are good: few exceptions. Both ways unless given.
   */
  readonly strict?: boolean;
  /** Clauses that programs are made of; all but what is not reproducible unless given. */
  readonly clauses?: (clause: Clause) => boolean;
  readonly maxLength?: number;
  /** Most times that a loop goes round. */
  readonly rounds?: number;
}

// ---- instructions

function statementsOf(clause: Clause): readonly Stmt[] {
  if (clause.semantics === undefined) return [];
  const s = new Semantics();
  clause.semantics(s);
  return s.statements;
}
function flat(statements: readonly Stmt[]): Stmt[] {
  return statements.flatMap((s) => (s.k === "if" ? [s, ...flat(s.then), ...flat(s.else)] : [s]));
}

/** Facts about a clause, found in its meaning. A compressed form has those of what it stands for. */
export interface Facts {
  readonly clause: Clause;
  /** Goes to pc + imm. */
  readonly direct: boolean;
  readonly jumps: boolean;
  /** Through DDC (or in capability mode through cs1). */
  readonly loads: boolean;
  readonly stores: boolean;
  /** Writes a capability to memory. */
  readonly storesCapability: boolean;
  /** Through a capability register. */
  readonly explicit: boolean;
  readonly csr: boolean;
  /** ecall and what always traps where there is no other mode. */
  readonly system: boolean;
  readonly fields: readonly FieldName[];
}
const CAPABILITY_STORES = new Set(["cstorecap", "cstorecondcap", "cswapcap"]);
const CAPABILITY_LOADS = new Set(["cloadcap", "cloadtags"]);
const STORES = new Set(["cstore", "cstorecond"]);
const LOADS = new Set(["cload", "cloadres"]);
const JUMPS = new Set(["cjalr", "cjal", "cinvoke"]);

export function factsOf(clause: Clause): Facts {
  const base =
    clause.expands === undefined ? clause : allClauses.find((one) => one.name === clause.expands!.to && inMode(one, clause.mode))!;
  const all = flat(statementsOf(base));
  const calls = new Set(all.flatMap((s) => (s.k === "call" ? [s.fn] : [])));
  const has = (...kinds: Stmt["k"][]): boolean => all.some(({ k }) => kinds.includes(k));
  const any = (names: ReadonlySet<string>): boolean => [...calls].some((name) => names.has(name));
  return {
    clause,
    direct: has("branch", "jump") || calls.has("cjal"),
    jumps: has("branch", "jump", "jumpIndirect") || any(JUMPS),
    loads: has("load") || any(LOADS) || any(CAPABILITY_LOADS),
    stores: has("store") || any(STORES),
    storesCapability: any(CAPABILITY_STORES),
    explicit: base.mode === "cap" || base.name.includes(".cap") || base.name === "cloadtags",
    csr: calls.has("csrRead"),
    system: has("ecall") || base.extension === "Privileged" || base.name === "ebreak",
    fields: encodingOf(clause).fields.map(({ name }) => name),
  };
}
const inMode = (clause: Clause, mode: "int" | "cap" | undefined): boolean =>
  clause.mode === undefined || mode === undefined || clause.mode === mode;

/** Facts of all clauses. */
export const allFacts: readonly Facts[] = allClauses.map(factsOf);

type Pool = readonly number[];
const ANY: Pool = Array.from({ length: 32 }, (_, index) => index);
/** A number of a register, from a pool three times out of four. */
const pick = (pool: Pool, draw: number, strict = false): number =>
  draw % 4 === 3 && !strict ? ANY[(draw >> 2) % 32]! : pool[(strict ? draw : draw >> 2) % pool.length]!;
/** Where results go that must not change what later instructions need. */
const RESULTS: Pool = [0, ...Role.result, ...Role.odd];

interface Family {
  readonly weight: number;
  /** Goes somewhere else, or takes away what later instructions need. */
  readonly stray?: boolean;
  readonly test: (facts: Facts) => boolean;
  readonly rd: Pool;
  readonly rs1: Pool;
  readonly rs2: Pool;
}
const CAPS: Pool = [...Role.result, ...Role.data, ...Role.authority, ...Role.odd, ...Role.code, ...Role.sealed];
const INTS: Pool = [...Role.integer, ...Role.offset, ...Role.result];
const isXcheri = (facts: Facts): boolean => facts.clause.extension === "Xcheri";
const isFloat = (facts: Facts): boolean => "FD".includes(facts.clause.extension);
const memory = (facts: Facts): boolean => facts.loads || facts.stores || facts.storesCapability;
const wantsInteger = ({ clause }: Facts): boolean => clause.syntax.includes("rs2");

/** In order: a clause belongs to the first that fits. */
const FAMILIES: readonly Family[] = [
  { weight: 2, stray: true, test: (f) => f.clause.name === "cinvoke", rd: [31], rs1: Role.code, rs2: Role.sealed },
  { weight: 2, stray: true, test: (f) => f.clause.name === "cspecialrw", rd: Role.result, rs1: [0, ...Role.data], rs2: ANY },
  { weight: 1, stray: true, test: (f) => f.clause.name.endsWith("clear"), rd: ANY, rs1: ANY, rs2: ANY },
  {
    weight: 3,
    stray: true,
    test: (f) => f.jumps && isXcheri(f) && !f.direct,
    rd: Role.result,
    rs1: [...Role.entry, ...Role.result],
    rs2: ANY,
  },
  { weight: 2, stray: true, test: (f) => f.jumps && !f.direct, rd: [0, 1, 5], rs1: INTS, rs2: INTS },
  { weight: 5, test: (f) => f.jumps, rd: [0, 1, 5], rs1: INTS, rs2: INTS },
  { weight: 10, test: (f) => memory(f) && f.explicit, rd: Role.result, rs1: Role.data, rs2: [...CAPS, ...INTS] },
  { weight: 6, test: (f) => memory(f) && isXcheri(f), rd: Role.result, rs1: Role.offset, rs2: CAPS },
  { weight: 12, test: memory, rd: Role.result, rs1: Role.offset, rs2: [...INTS, ...CAPS] },
  { weight: 16, test: (f) => isXcheri(f) && wantsInteger(f), rd: [...Role.result, ...Role.data], rs1: CAPS, rs2: Role.integer },
  { weight: 18, test: isXcheri, rd: [...Role.result, ...Role.data], rs1: CAPS, rs2: [...CAPS, ...Role.authority, ...Role.authority] },
  { weight: 1, stray: true, test: (f) => f.system, rd: ANY, rs1: ANY, rs2: ANY },
  { weight: 3, stray: true, test: (f) => f.csr, rd: Role.result, rs1: [0, ...INTS], rs2: ANY },
  { weight: 4, test: isFloat, rd: ANY, rs1: ANY, rs2: ANY },
  { weight: 12, test: () => true, rd: [...Role.result, ...Role.integer], rs1: INTS, rs2: INTS },
];

const TIME = 0xc01;
const UNPRIVILEGED = new Set([1, 2, 3, 0x8c0, 0xc00, 0xc02]);
const CSRS = [...csrNumbers.values(), ...UNPRIVILEGED, ...UNPRIVILEGED].filter((csr) => csr !== TIME);
const IMMEDIATES = [0, 1, 2, 4, 8, 15, 16, 32, 48, 64, -1, -8, -16, 2047, -2048, 0xff, 0x1000, -4096];

interface Draws {
  readonly registers: number;
  readonly imm: number;
  readonly small: number;
}
const arbDraws: fc.Arbitrary<Draws> = fc.record({
  registers: fc.nat(0x7fff_ffff),
  imm: fc.oneof(
    { arbitrary: fc.constantFrom(...IMMEDIATES), weight: 3 },
    { arbitrary: fc.integer({ min: -70, max: 70 }), weight: 2 },
    { arbitrary: fc.integer(), weight: 1 },
  ),
  small: fc.nat(0xffff),
});

function build(facts: Facts, family: Family, { registers, imm, small }: Draws, strict: boolean): Instruction {
  const draw = (at: number): number => (registers >> (7 * at)) & 0x7f;
  const fields: Partial<Record<FieldName, number>> = {
    rd: pick(strict && !isFloat(facts) ? RESULTS : family.rd, draw(0), strict),
    rs1: pick(family.rs1, draw(1), strict),
    rs2: pick(family.rs2, draw(2), strict),
    rs3: pick(ANY, draw(3)),
    // Dynamic and to nearest are usual; 5 and 6 do not exist.
    rm: small % 3 === 0 ? 7 : small % 3 === 1 ? 0 : (small >> 3) & 7,
    imm: facts.csr ? CSRS[small % CSRS.length]! : facts.clause.name === "cspecialrw" ? SCRS[small % SCRS.length]! : imm,
    aq: small & 1,
    rl: (small >> 1) & 1,
    pred: small & 15,
    succ: (small >> 4) & 15,
    fm: 0,
  };
  if (facts.csr && small % 16 === 15) fields.imm = (imm & 0xfff) === TIME ? 0 : imm & 0xfff;
  // Mostly forward, so that programs end.
  if (facts.direct) return { clause: facts.clause, fields, to: strict ? 1 + (small % 3) : (small % 9) - 2 };
  if (strict && memory(facts)) fields.imm = 16 * ((imm & 15) - 8) + (small % 4 === 0 ? imm & 15 : 0);
  return { clause: facts.clause, fields };
}
const SCRS = [0, 1, 1, 1, 2, 12, 14, 15, 28, 29, 30, 31];

/** A word that is nearly an instruction, or any. Never one that reads the clock. */
const arbWord: fc.Arbitrary<Instruction> = fc
  .tuple(fc.integer(), fc.constantFrom(0x5b, 0x5b, 0x0f, 0x2f, 0x73, 0x67, 0x53, 0x03, 0x01, 0x02, 0x00))
  .map(([bits, opcode]) => {
    const word = (opcode & 3) === 3 ? (bits & ~0x7f) | opcode : ((bits << 2) | opcode) & 0xffff;
    return { word: (word & 0x7f) === 0x73 && word >>> 20 === TIME ? 0x73 : word };
  });

function isFit(facts: Facts, options: Options): boolean {
  const { clause } = facts;
  const mode = options.mode === 1 ? "cap" : "int";
  return inMode(clause, mode) && (options.clauses?.(clause) ?? true);
}

/** Instructions of all kinds. */
export function arbInstruction(options: Options = {}): fc.Arbitrary<Instruction> {
  const left = new Set(allFacts.filter((facts) => isFit(facts, options)));
  const strict = options.strict ?? false;
  const families = FAMILIES.flatMap((family) => {
    const members = [...left].filter(family.test);
    for (const member of members) left.delete(member);
    if (members.length === 0 || (strict && family.stray === true)) return [];
    const arbitrary = fc.tuple(fc.constantFrom(...members), arbDraws).map(([facts, draws]) => build(facts, family, draws, strict));
    return [{ arbitrary, weight: family.weight }];
  });
  return fc.oneof(...families, ...(options.clauses === undefined && !strict ? [{ arbitrary: arbWord, weight: 1 }] : []));
}

/** Pieces of a program: single instructions, and loops that count down in {@link Role.counter}. */
export function arbProgram(options: Options = {}): fc.Arbitrary<readonly Instruction[]> {
  const one = arbInstruction(options);
  const { counter } = Role;
  const loop = fc
    .tuple(fc.array(one, { minLength: 1, maxLength: 6 }), fc.integer({ min: 2, max: options.rounds ?? 5 }))
    .map(([body, rounds]) => [
      ...(rounds > 2047 ? [instruction("lui", { rd: counter, imm: (rounds + 2048) & ~4095 })] : []),
      instruction("addi", { rd: counter, rs1: rounds > 2047 ? counter : 0, imm: ((rounds + 2048) % 4096) - 2048 }),
      ...body,
      instruction("addi", { rd: counter, rs1: counter, imm: -1 }),
      instruction("bne", { rs1: counter, rs2: 0 }, -body.length - 1),
    ]);
  const piece = fc.oneof({ arbitrary: one.map((only) => [only]), weight: 14 }, { arbitrary: loop, weight: 1 });
  return fc.array(piece, { minLength: 1, maxLength: options.maxLength ?? 30, size: "max" }).map((pieces) => pieces.flat());
}

// ---- whole cases

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

/** All registers by role. */
function arbRegisters({ mode = 0, relocation = true, strict = false }: Options): fc.Arbitrary<readonly Raw[]> {
  const from = relocation ? 0 : REGION;
  const base = arbOffset.map((offset) => rawNull(BigInt.asUintN(64, BigInt(offset + from))));
  const integers = mostly(arbInteger.map(rawNull));
  const good = fc.nat(60).map((n) => DATA + 0x100 + 16 * n + 0xd80 * (n % 2));
  const goodData = good.map((at) => within(DATA, DATA_BYTES, RWC, at - DATA));
  const offsets = strict
    ? mode === 1
      ? goodData
      : good.map((at) => rawNull(BigInt(at + from)))
    : mode === 1
      ? mostly(arbData)
      : mostly(base);
  const of = (arbitrary: fc.Arbitrary<Raw>, count: number): fc.Arbitrary<Raw[]> =>
    fc.array(arbitrary, { minLength: count, maxLength: count });
  return fc
    .tuple(
      of(fc.oneof(arbCapability, arbInteger.map(rawNull)), Role.result.length),
      arbPair,
      of(offsets, Role.offset.length),
      of(strict ? goodData : mostly(arbData), Role.data.length),
      mostly(arbSealer),
      mostly(arbCode.map(rawSealEntry)),
      of(integers, Role.integer.length + 1),
      of(arbCapability, Role.odd.length),
    )
    .map(([result, pair, offsets, data, authority, entry, ints, odd]) => [
      ...result,
      ...pair,
      ...offsets,
      ...data,
      authority,
      entry,
      ...ints,
      ...odd,
    ]);
}

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
  { arbitrary: fc.constant(within(DATA, DATA_BYTES, RWC, -DATA)), weight: 2 },
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

/** A whole case. */
export function arbCase(options: Options = {}): fc.Arbitrary<Case> {
  if (options.strict === undefined) return fc.oneof(arbCase({ ...options, strict: false }), arbCase({ ...options, strict: true }));
  const { mode = 0, strict } = options;
  return fc.record({
    program: arbProgram(options),
    // Engines have a faster way for harts without capabilities in registers.
    registers: fc.oneof(
      { arbitrary: arbRegisters(options), weight: 3 },
      { arbitrary: arbRegisters(options).map(addressesOnly), weight: 1 },
    ),
    floats: fc.array(arbFloat, { minLength: 32, maxLength: 32 }),
    fcsr: strict ? fc.nat(0x9f) : fc.nat(0xff),
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
  });
}
