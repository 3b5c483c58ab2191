/** Random instructions and programs. What kind of operands an instruction wants is found in its meaning. */
import * as fc from "fast-check";
import type { Clause } from "../isa/clause.ts";
import { csrNumbers } from "../isa/csr.ts";
import { createDecoder } from "../isa/decode.ts";
import { encodingOf, type FieldName } from "../isa/encoding.ts";
import { allClauses } from "../isa/index.ts";
import { Semantics, type Stmt } from "../isa/ir.ts";
import { Role } from "./capabilities.ts";
import { instruction, wordOf, type Instruction } from "./case.ts";

/** What programs are made of. */
export interface ProgramOptions {
  /** Of PCC's flag; integer mode unless given. */
  readonly mode?: 0 | 1;
  /** Registers keep the kind of thing that their role says, and nothing leads out of the program: few exceptions. */
  readonly strict?: boolean;
  /** Clauses that programs are made of; all unless given. Never the clock. */
  readonly clauses?: (clause: Clause) => boolean;
  /** Most pieces (an instruction or a loop); 40 unless given. */
  readonly maxLength?: number;
  /** Most times that a loop goes round; 5 unless given. */
  readonly rounds?: number;
}

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
  /** Bytes of its access to memory, 0 without. */
  readonly bytes: number;
  /** ecall and what always traps where there is no other mode. */
  readonly system: boolean;
  readonly fields: readonly FieldName[];
}
const CAPABILITY_STORE = /^c(store(cond)?|swap)cap$/u;
const CAPABILITY_LOAD = /^cload(cap|tags)$/u;
const STORE = /^cstore(\d|cond)?$/u;
const LOAD = /^cload(\d|res)?$/u;
const JUMP = /^c(jalr?|invoke)$/u;

function bytesOf(s: Stmt): number {
  if (s.k === "load" || s.k === "store") return s.size;
  if (s.k !== "call") return 0;
  if (s.fn === "cloadtags") return 64;
  if (CAPABILITY_LOAD.test(s.fn) || CAPABILITY_STORE.test(s.fn)) return 16;
  if (!LOAD.test(s.fn) && !STORE.test(s.fn)) return 0;
  const size = s.args[2];
  return /\d$/u.test(s.fn) ? Number(s.fn.at(-1)) : size?.k === "const" ? Number(size.value) : 0;
}

export function factsOf(clause: Clause): Facts {
  const base =
    clause.expands === undefined ? clause : allClauses.find((one) => one.name === clause.expands!.to && inMode(one, clause.mode))!;
  const all = flat(statementsOf(base));
  const calls = new Set(all.flatMap((s) => (s.k === "call" ? [s.fn] : [])));
  const has = (...kinds: Stmt["k"][]): boolean => all.some(({ k }) => kinds.includes(k));
  const any = (names: RegExp): boolean => [...calls].some((name) => names.test(name));
  return {
    clause,
    direct: has("branch", "jump") || calls.has("cjal"),
    jumps: has("branch", "jump", "jumpIndirect") || any(JUMP),
    loads: has("load") || any(LOAD) || any(CAPABILITY_LOAD),
    stores: has("store") || any(STORE),
    storesCapability: any(CAPABILITY_STORE),
    explicit: base.mode === "cap" || base.name.includes(".cap") || base.name === "cloadtags",
    csr: calls.has("csrRead"),
    bytes: Math.max(0, ...all.map(bytesOf)),
    system: has("ecall") || base.extension === "Privileged" || base.name === "ebreak",
    fields: encodingOf(clause).fields.map(({ name }) => name),
  };
}
const inMode = (clause: Clause, mode: "int" | "cap" | undefined): boolean =>
  clause.mode === undefined || mode === undefined || clause.mode === mode;

const decoder = createDecoder(allClauses);
/** True when a mode decodes the clause's words as this clause: capability mode reads some as others. */
function means(clause: Clause, mode: 0 | 1): boolean {
  return decoder.clauses[decoder.written(wordOf({ clause, fields: { rd: 9, rs1: 9, rs2: 9, imm: 16 } }), mode)] === clause;
}

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
/** Mostly not sealed. */
const OPEN: Pool = [...Role.result, ...Role.result, ...Role.data, ...Role.data, ...Role.authority, ...Role.odd];
const DERIVED: Pool = [...Role.result, ...Role.result, ...Role.data];
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
  { weight: 2, test: (f) => f.clause.name === "csetaddr", rd: DERIVED, rs1: OPEN, rs2: [25, 25, 25, 24, 27] },
  { weight: 2, test: (f) => f.clause.name === "candperm", rd: DERIVED, rs1: OPEN, rs2: [26, 26, 26, 27] },
  { weight: 3, test: (f) => f.clause.name === "cunseal", rd: DERIVED, rs1: [8, 9, 8, 9, 1], rs2: Role.authority },
  { weight: 4, test: (f) => /^cc?seal$/u.test(f.clause.name), rd: DERIVED, rs1: OPEN, rs2: [22, 22, 5] },
  { weight: 2, test: (f) => f.clause.name === "cbuildcap", rd: DERIVED, rs1: [...Role.data, 0], rs2: [29, 29, 29, 1] },
  { weight: 12, test: (f) => isXcheri(f) && wantsInteger(f), rd: DERIVED, rs1: OPEN, rs2: [24, 24, 24, 27, 25] },
  { weight: 12, test: isXcheri, rd: DERIVED, rs1: CAPS, rs2: CAPS },
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

function isFit({ clause }: Facts, options: ProgramOptions): boolean {
  return means(clause, options.mode ?? 0) && (options.clauses?.(clause) ?? true);
}

/** Instructions of all kinds. */
export function arbInstruction(options: ProgramOptions = {}): fc.Arbitrary<Instruction> {
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

/**
 * Several accesses through one register, whose value may change in between: what an engine may check together. Undefined where there
 * are no such instructions.
 */
function arbCluster(options: ProgramOptions): fc.Arbitrary<readonly Instruction[]> | undefined {
  const members = allFacts.filter((facts) => {
    return isFit(facts, options) && memory(facts) && (!facts.explicit || options.mode === 1) && facts.fields.includes("rs1");
  });
  if (members.length === 0) return undefined;
  const family: Family = { weight: 1, test: memory, rd: Role.result, rs1: Role.offset, rs2: [...Role.result, ...Role.integer] };
  const through = (one: Instruction, base: number): Instruction =>
    "clause" in one ? { ...one, fields: { ...one.fields, rs1: base } } : one;
  const access = fc.tuple(fc.constantFrom(...members), arbDraws).map(([facts, draws]) => build(facts, family, draws, true));
  const step = fc.constantFrom(1, 4, 8, 16, -8, -16, 64, -64, 2047);
  return fc
    .tuple(fc.array(access, { minLength: 2, maxLength: 6 }), fc.constantFrom(...Role.offset), fc.option(fc.tuple(fc.nat(5), step)))
    .map(([accesses, base, moved]) => {
      const cluster = accesses.map((one) => through(one, base));
      if (moved === null) return cluster;
      const add = instruction(options.mode === 1 ? "cincoffsetimm" : "addi", { rd: base, rs1: base, imm: moved[1] });
      return cluster.toSpliced(Math.min(moved[0], cluster.length), 0, add);
    });
}

/** Pieces of a program: single instructions, accesses through one register, and loops that count down in {@link Role.counter}. */
export function arbProgram(options: ProgramOptions = {}): fc.Arbitrary<readonly Instruction[]> {
  const one = arbInstruction(options).map((only): readonly Instruction[] => [only]);
  const cluster = arbCluster(options);
  const some = fc.oneof({ arbitrary: one, weight: 10 }, ...(cluster === undefined ? [] : [{ arbitrary: cluster, weight: 1 }]));
  const { counter } = Role;
  const loop = fc
    .tuple(fc.array(some, { minLength: 1, maxLength: 6 }), fc.integer({ min: 2, max: options.rounds ?? 5 }))
    .map(([pieces, rounds]) => {
      const body = pieces.flat();
      return [
        ...(rounds > 2047 ? [instruction("lui", { rd: counter, imm: (rounds + 2048) & ~4095 })] : []),
        instruction("addi", { rd: counter, rs1: rounds > 2047 ? counter : 0, imm: ((rounds + 2048) % 4096) - 2048 }),
        ...body,
        instruction("addi", { rd: counter, rs1: counter, imm: -1 }),
        instruction("bne", { rs1: counter, rs2: 0 }, -body.length - 1),
      ];
    });
  // Long loops are what a program is for, short ones part of it.
  const piece = fc.oneof({ arbitrary: some, weight: 14 }, { arbitrary: loop, weight: (options.rounds ?? 0) > 100 ? 7 : 1 });
  return fc.array(piece, { minLength: 1, maxLength: options.maxLength ?? 40, size: "max" }).map((pieces) => pieces.flat());
}
