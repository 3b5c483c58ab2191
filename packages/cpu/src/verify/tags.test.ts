import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Exit, GRANULE_SIZE } from "../abi.ts";
import { rawNull, rawSetAddress, type Raw } from "../capability/raw.ts";
import { ENGINES } from "../engines.test.support.ts";
import type { Clause } from "../isa/clause.ts";
import { encodingOf } from "../isa/encoding.ts";
import { RWC, within } from "./capabilities.ts";
import { caseOf, forAll, sameAsReference } from "./check.test.support.ts";
import { DATA, fit, granuleOf, instruction, REGION, type Case, type Instruction } from "./case.ts";
import { arbCase } from "./generate.ts";
import { allFacts, type Facts } from "./instructions.ts";
import { describeCase, subjectOf } from "./report.ts";
import { same, show, type Subject } from "./subject.ts";

/** The program's own memory, all of it with tags: granules on both sides of the border of two pages. */
const BORDER = DATA + 0x1000;
const GRANULES = [-3, -2, -1, 0, 1, 2].map((n) => BORDER + n * GRANULE_SIZE);
const marks = GRANULES.map((at, index) => ({ at, cap: within(DATA + 64 * index, 64, RWC) }));

const isAtomic = (clause: Clause): boolean => clause.encoding.startsWith("1111100 rs2 rs1 000 1") || clause.encoding.endsWith(" 0101111");
const isConditional = ({ clause }: Facts): boolean => isAtomic(clause) && /^c?sc\./u.test(clause.name);
/** The load that makes the reservation for a store-conditional. */
const reserving = (name: string): string => name.replace(/^(c?)sc/u, "$1lr");

/** Registers that the stores use: both hold the address, and what is stored. */
const [SP, ADDRESS, VALUE] = [2, 10, 11];

interface Store {
  readonly facts: Facts;
  readonly program: readonly Instruction[];
  readonly registers: Readonly<Record<number, Raw>>;
  readonly size: number;
  /** Offset in the region that it stores to. */
  readonly to: number;
}
/** `facts`'s store to `to`. */
function storeTo(facts: Facts, to: number, imm: number): Store {
  const { clause } = facts;
  const field = encodingOf(clause).fields.find(({ name }) => name === "imm");
  const displacement = field === undefined ? 0 : fit(field, imm);
  const store: Instruction = { clause, fields: { rs1: ADDRESS, rs2: VALUE, imm: displacement, rd: 12 } };
  const reserve = isConditional(facts) ? [instruction(reserving(clause.name), { rd: 13, rs1: ADDRESS })] : [];
  const data = within(DATA, 0x2000, RWC);
  const base = facts.explicit ? rawSetAddress(data, BigInt(REGION + to - displacement)) : rawNull(BigInt(to - displacement));
  return {
    facts,
    program: [...reserve, store],
    registers: { [SP]: base, [ADDRESS]: base, [VALUE]: rawNull(0x1122_3344_5566_7788n) },
    size: facts.bytes,
    to,
  };
}
const touched = ({ to, size }: Store): number[] => [...new Set([granuleOf(to), granuleOf(to + size - 1)])];
const modeOf = ({ clause }: Facts): 0 | 1 => (clause.mode === "cap" ? 1 : 0);
const caseOfStore = (store: Store, more: Partial<Case> = {}): Case => {
  const test = caseOf(store.program, { registers: store.registers, memory: marks, ...more });
  return modeOf(store.facts) === 1 ? { ...test, pcc: { ...test.pcc, hi: test.pcc.hi | (1n << 45n) } } : test;
};

const stores = allFacts.filter((facts) => facts.stores && facts.clause.extension !== "Privileged");
const arbStore: fc.Arbitrary<Store> = fc
  .record({ facts: fc.constantFrom(...stores), by: fc.integer({ min: -40, max: 39 }), imm: fc.integer({ min: -80, max: 80 }) })
  .map(({ facts, by, imm }) => {
    const size = facts.bytes;
    // Those that must be aligned are.
    return storeTo(facts, BORDER + (isAtomic(facts.clause) ? by - (((by % size) + size) % size) : by), imm);
  });

/** Tags of {@link GRANULES} after a run, which must have cleared exactly those that the store touches. */
function expectCleared(subject: Subject, store: Store): void {
  const gone = touched(store);
  for (const [index, at] of GRANULES.entries()) {
    const found = subject.granule(REGION + at);
    const what = `${store.facts.clause.name} of ${store.size} bytes to border${store.to >= BORDER ? "+" : ""}${store.to - BORDER}: granule border${at >= BORDER ? "+" : ""}${at - BORDER}`;
    expect(found.tag, what).toBe(!gone.includes(at));
    if (found.tag) expect(same(found, marks[index]!.cap), what).toBe(true);
  }
}

describe.each(ENGINES)("tags on the %s", (engine) => {
  test("all kinds of stores are known: sizes 1 to 8, integer and floating point, atomic, compressed, of both modes", () => {
    const names = stores.map(({ clause }) => clause.name);
    for (const name of [
      "sb",
      "sd",
      "fsw",
      "fsd",
      "c.sw",
      "c.sdsp",
      "sc.w",
      "amoadd.d",
      "sh.cap",
      "sw.ddc",
      "sc.b.cap",
      "csb",
      "cfsd",
      "csc.d",
      "camoor.w",
    ])
      expect(names).toContain(name);
    expect(new Set(stores.map(({ bytes }) => bytes))).toEqual(new Set([1, 2, 4, 8]));
  });

  test("a store of any kind, size and alignment clears the tag of every granule that it touches, and of no other", () => {
    const subject = subjectOf({ engine });
    const seen = new Set<string>();
    forAll(
      arbStore,
      3000,
      (store) => {
        subject.prepare(caseOfStore(store));
        subject.hart.run(100);
        const { instructions } = subject.hart;
        expect(instructions, `${store.facts.clause.name} ends`).toBe(store.program.length);
        expectCleared(subject, store);
        seen.add(store.facts.clause.name);
      },
      (store) => describeCase(caseOfStore(store)),
    );
    expect(seen.size).toBe(new Set(stores.map(({ clause }) => clause.name)).size);
  });

  test("stores clear tags in loops of thousands of rounds too", () => {
    const subject = subjectOf({ engine });
    // Each round makes both granules' tags anew, stores, and looks: c16 is the mark, c17 and c18 are where, x20 counts.
    const ROUNDS = 2000;
    const [MARK, WHERE, NEXT, LOADED, COUNT, FLAG, ROUND] = [16, 17, 18, 19, 20, 21, 28];
    const store = fc.constantFrom(...stores).chain((facts) => {
      const size = facts.bytes;
      const by = isAtomic(facts.clause) ? fc.constant(0) : fc.constantFrom(0, 16 - size, 1 - size);
      return by.map((distance) => storeTo(facts, BORDER + distance, 0));
    });
    const look = (where: number): Instruction[] => [
      instruction("lc.cap", { rd: LOADED, rs1: where }),
      instruction("cgettag", { rd: FLAG, rs1: LOADED }),
      instruction("add", { rd: COUNT, rs1: COUNT, rs2: FLAG }),
    ];
    const loop = (one: Store): Case => {
      const body = [
        instruction("sc.cap", { rs2: MARK, rs1: WHERE }),
        instruction("sc.cap", { rs2: MARK, rs1: NEXT }),
        ...one.program,
        ...look(WHERE),
        ...look(NEXT),
        instruction("addi", { rd: ROUND, rs1: ROUND, imm: -1 }),
      ];
      const program = [...body, instruction("bne", { rs1: ROUND, rs2: 0 }, -body.length), instruction("ecall")];
      const [first, last] = [touched(one)[0]!, touched(one).at(-1)!];
      const at = (offset: number): Raw => within(DATA, 0x2000, RWC, offset - DATA);
      const registers = { ...one.registers, [MARK]: marks[0]!.cap, [WHERE]: at(first), [NEXT]: at(last), [ROUND]: rawNull(BigInt(ROUNDS)) };
      return caseOfStore({ ...one, program, registers });
    };
    forAll(
      store,
      80,
      (one) => {
        subject.prepare(loop(one));
        expect(subject.hart.run(4 * ROUNDS)).toBe(Exit.Ecall);
        expect(subject.hart.getX(COUNT), "granules that kept their tags").toBe(0n);
        expect(subject.hart.instructions).toBeGreaterThan(9 * ROUNDS);
      },
      (one) => describeCase(loop(one)),
    );
  });

  test("stores of code that ran thousands of times before clear the tags that came later", () => {
    const subject = subjectOf({ engine });
    // No capability in registers: what is translated. x13 is added to the address in each round.
    const [STEP, ROUND] = [13, 28];
    const through = stores.filter((facts) => !facts.explicit && modeOf(facts) === 0 && !facts.clause.name.endsWith("sp"));
    expect(through.length).toBeGreaterThan(25);
    for (const facts of through) {
      const one = storeTo(facts, BORDER - 0x800, 0);
      const body = [
        ...one.program.map((part) =>
          "clause" in part ? { ...part, fields: { ...part.fields, rd: part.fields.rd === 13 ? 14 : 12 } } : part,
        ),
        instruction("add", { rd: ADDRESS, rs1: ADDRESS, rs2: STEP }),
        instruction("addi", { rd: ROUND, rs1: ROUND, imm: -1 }),
      ];
      const program = [...body, instruction("bne", { rs1: ROUND, rs2: 0 }, -body.length), instruction("ecall")];
      const test = caseOf(program, { registers: { ...one.registers, [ROUND]: rawNull(2500n) } });
      subject.prepare(test);
      expect(subject.hart.run(10_000), facts.clause.name).toBe(Exit.Ecall);
      // 40 bytes further each time, over the border of two pages; atomics stay aligned, others do not.
      const ROUNDS = 12;
      const first = BORDER - 0x100 + (isAtomic(facts.clause) ? 0 : 16 - (facts.bytes >> 1));
      const touchedBytes = Array.from({ length: ROUNDS }, (_, round) => first + 40 * round);
      const gone = new Set(touchedBytes.flatMap((at) => [granuleOf(at), granuleOf(at + facts.bytes - 1)]));
      const all = Array.from({ length: 48 }, (_, index) => BORDER - 0x180 + 16 * index);
      for (const at of all) subject.place(REGION + at, marks[0]!.cap);
      subject.pc = BigInt(test.origin);
      subject.hart.setX(ADDRESS, BigInt(first) - BigInt(BORDER - 0x800) + one.registers[ADDRESS]!.address);
      subject.hart.setX(STEP, 40n);
      subject.hart.setX(ROUND, BigInt(ROUNDS));
      expect(subject.hart.run(10_000), facts.clause.name).toBe(Exit.Ecall);
      for (const at of all) {
        expect(subject.granule(REGION + at).tag, `${facts.clause.name}: granule border + ${at - BORDER}`).toBe(!gone.has(at));
      }
    }
  });

  test("no tag comes to memory without a capability store", () => {
    const storing = new Set(allFacts.filter((facts) => facts.storesCapability).map(({ clause }) => clause));
    const clauses = (clause: Clause): boolean => !storing.has(clause);
    let [before, after, moved] = [0, 0, 0];
    const arbitrary = fc.oneof(arbCase({ mode: 0, clauses }), arbCase({ mode: 1, clauses }));
    sameAsReference({ engine }, arbitrary, 800, {
      after: (start, subject) => {
        const had = new Map(start.memory.filter(({ cap }) => cap.tag).map(({ at, cap }) => [REGION + at, cap]));
        before += had.size;
        for (const { at, cap } of subject.tagged()) {
          after += 1;
          const was = had.get(at);
          expect(was !== undefined && same(was, cap), `region + ${at - REGION} holds ${show(cap)}`).toBe(true);
        }
        moved += Array.from({ length: 31 }, (_, index) => subject.register(index + 1)).filter(({ tag }) => tag).length;
      },
    });
    // Some were overwritten, others stay; registers hold capabilities all the time.
    expect(after).toBeGreaterThan(600);
    expect(after).toBeLessThan(before);
    expect(moved).toBeGreaterThan(3000);
  });
});
