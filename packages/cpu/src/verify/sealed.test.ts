import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CapCause, Cause, Exit, OTYPE_MAX, OTYPE_SENTRY, OTYPE_UNSEALED, Perm } from "../abi.ts";
import { flagOf, otypeOf, withOtype } from "../capability/encoding.ts";
import { rawAndPerms, rawNull, rawSealEntry, rawWithoutSeal, type Raw } from "../capability/raw.ts";
import { ENGINES } from "../engines.test.support.ts";
import { covers } from "./authority.ts";
import { RWC, sealedWith, sealer, within } from "./capabilities.ts";
import { CODE, DATA, instruction, REGION, type Instruction } from "./case.ts";
import { caseOf, forAll } from "./check.test.support.ts";
import { allFacts, arbInstruction } from "./instructions.ts";
import { describeCase, subjectOf } from "./report.ts";
import { same, show } from "./subject.ts";

/** Sealed in every way, over data and over code, and none of them with CInvoke, so that no jump opens it. */
const KINDS: readonly Raw[] = [
  sealedWith(within(DATA, 0x100, RWC), 20),
  sealedWith(within(DATA, 0x100, RWC, 64), OTYPE_MAX),
  sealedWith(within(CODE, 0x100, Perm.Execute | Perm.Load), 20),
  sealedWith(rawAndPerms(within(DATA, 0x2000, RWC), Perm.Load), 0),
  // An entry to data cannot be entered.
  rawSealEntry(within(DATA, 0x100, RWC)),
  // Reserved types, which no instruction makes.
  { ...within(DATA, 0x100, RWC), hi: withOtype(within(DATA, 0x100, RWC).hi, -3) },
];

describe.each(ENGINES)("sealed capabilities on the %s", (engine) => {
  test("stay as they are to the last bit, or lose their tag, whatever instructions do with them", () => {
    const subject = subjectOf({ engine });
    const used = new Set<string>();
    let kept = 0;
    const arbitrary = fc.record({
      program: fc.array(arbInstruction(), { minLength: 1, maxLength: 12, size: "max" }),
      kinds: fc.array(fc.constantFrom(...KINDS), { minLength: 31, maxLength: 31 }),
      integers: fc.array(fc.constantFrom(0n, 1n, 16n, 20n, BigInt(DATA), BigInt(REGION + DATA), 0xffn), { minLength: 4, maxLength: 4 }),
    });
    type Value = typeof arbitrary extends fc.Arbitrary<infer T> ? T : never;
    // No authority: DDC covers data, PCC code, and neither seals. Registers 24 … 27 hold numbers, all others something sealed.
    const start = ({ program, kinds, integers }: Value): ReturnType<typeof caseOf> => {
      const all = kinds.map((cap, index): [number, Raw] => [index + 1, cap]);
      const numbers = integers.map((value, index): [number, Raw] => [24 + index, rawNull(value)]);
      return caseOf(program, {
        registers: Object.fromEntries([...all, ...numbers]),
        memory: kinds
          .slice(0, 8)
          .map((cap, index) => ({ at: DATA + 16 * index, cap }))
          .filter(({ cap }) => otypeOf(cap.hi) >= OTYPE_SENTRY),
        ddc: within(0, 0x1_0000, RWC),
        pcc: within(CODE, 0x2000, Perm.Execute | Perm.Load | Perm.Global),
        fuel: 50,
      });
    };
    forAll(
      arbitrary,
      2500,
      (value) => {
        const test = start(value);
        subject.prepare(test);
        const open = [test.pcc, test.ddc];
        for (let stops = 0; stops < test.program.length; stops++) {
          const exit = subject.hart.run(test.fuel);
          const held = Array.from({ length: 31 }, (_, index) => subject.register(index + 1));
          for (const cap of [...held, ...subject.tagged().map((one) => one.cap)]) {
            if (!cap.tag) continue;
            const otype = otypeOf(cap.hi);
            if (otype !== OTYPE_UNSEALED && KINDS.some((kind) => same(kind, cap))) kept += 1;
            else {
              // Everything else that is valid comes from PCC or DDC: open, or made an entry.
              expect(otype === OTYPE_UNSEALED || otype === OTYPE_SENTRY, `${show(cap)} has changed`).toBe(true);
              const allowed = open.some((one) => covers(one, cap));
              expect(allowed, `${show(cap)} was opened`).toBe(true);
            }
          }
          if (exit === Exit.Fuel || subject.hart.trapCause === Cause.FetchPage) break;
          subject.pc += 4n;
        }
        for (const one of value.program) if ("clause" in one) used.add(one.clause.name);
      },
      (value) => describeCase(start(value)),
    );
    expect(kept).toBeGreaterThan(50_000);
    expect(used.size).toBeGreaterThan(250);
  });

  test("are no authority for a load, a store or a jump: the seal is found right behind the tag", () => {
    const subject = subjectOf({ engine });
    const explicit = allFacts.filter(({ clause, explicit: through, loads, stores, storesCapability }) => {
      return through && clause.mode === undefined && clause.name.includes(".cap") && (loads || stores || storesCapability);
    });
    expect(explicit.length).toBeGreaterThan(20);
    for (const { clause } of explicit) {
      for (const kind of KINDS) {
        const program: Instruction[] = [{ clause, fields: { rd: 5, rs1: 6, rs2: 7 } }];
        subject.prepare(caseOf(program, { registers: { 6: kind } }));
        expect(subject.hart.run(10), clause.name).toBe(Exit.Trap);
        expect([subject.hart.trapCause, subject.trapValue], `${clause.name} through ${show(kind)}`).toEqual([
          Cause.Cheri,
          BigInt((6 << 5) | CapCause.Seal),
        ]);
      }
    }
    for (const kind of KINDS.filter(({ hi }) => otypeOf(hi) !== OTYPE_SENTRY)) {
      subject.prepare(caseOf([instruction("jalr.cap", { rd: 1, rs1: 6 })], { registers: { 6: kind } }));
      expect(subject.hart.run(10)).toBe(Exit.Trap);
      expect([subject.hart.trapCause, subject.trapValue], show(kind)).toEqual([Cause.Cheri, BigInt((6 << 5) | CapCause.Seal)]);
    }
    for (const ddc of KINDS) {
      subject.prepare(caseOf([instruction("lw", { rd: 5, rs1: 0, imm: DATA & 0x7ff })], { ddc }));
      expect(subject.hart.run(10)).toBe(Exit.Trap);
      expect(subject.trapValue, show(ddc)).toBe(BigInt((0x21 << 5) | CapCause.Seal));
    }
  });

  test("open where they may: CUnseal with the authority, a jump to an entry, CInvoke of a pair", () => {
    const subject = subjectOf({ engine });
    const data = within(DATA, 0x100, RWC);
    const unsealer = sealer(20, Perm.Unseal | Perm.Global);
    subject.prepare(caseOf([instruction("cunseal", { rd: 5, rs1: 6, rs2: 7 })], { registers: { 6: sealedWith(data, 20), 7: unsealer } }));
    subject.hart.run(10);
    expect(show(subject.register(5))).toBe(show(data));
    const code = within(CODE, 0x100, Perm.Execute | Perm.Load, 8);
    subject.prepare(caseOf([instruction("jalr.cap", { rd: 1, rs1: 6 })], { registers: { 6: rawSealEntry(code) } }));
    subject.hart.run(10);
    expect(same({ ...subject.special(0), address: 0n }, { ...rawWithoutSeal(code), address: 0n })).toBe(true);
    expect(otypeOf(subject.register(1).hi)).toBe(OTYPE_SENTRY);
    expect(flagOf(subject.register(1).hi)).toBe(0);
  });
});
