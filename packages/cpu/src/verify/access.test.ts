import { describe, expect, test } from "vitest";
import { CapCause, Cause, Exit, Perm } from "../abi.ts";
import { rawAndPerms, rawNull, rawSetAddress, type Raw } from "../capability/raw.ts";
import { ENGINES } from "../engines.test.support.ts";
import { encodingOf } from "../isa/encoding.ts";
import { RW, RWC, sealedWith, within } from "./capabilities.ts";
import { DATA, fit, REGION } from "./case.ts";
import { caseOf } from "./check.test.support.ts";
import { allFacts, type Facts } from "./instructions.ts";
import { subjectOf } from "./report.ts";
import { same } from "./subject.ts";

const DDC = 0x21;
/** Registers: both that can hold the address, what is stored, the result. */
const [SP, ADDRESS, VALUE, RESULT] = [2, 10, 11, 12];
const TARGET = DATA + 0x40;

/** Accesses of integer mode, through DDC and through capability registers. */
const accesses = allFacts.filter(
  ({ clause, loads, stores, storesCapability }) => clause.mode !== "cap" && (loads || stores || storesCapability),
);
/** amoswap.c loads a capability too. */
const loadsToo = ({ clause, loads }: Facts): boolean => loads || clause.name.startsWith("amoswap.c");

const PERMISSIONS = [Perm.Load, Perm.Store, Perm.LoadCap, Perm.StoreCap, Perm.StoreLocalCap];
const allPermissions = Array.from({ length: 1 << PERMISSIONS.length }, (_, bits) =>
  PERMISSIONS.reduce<number>((perms, perm, index) => (((bits >> index) & 1) === 1 ? perms | perm : perms), Perm.Global),
);
/** What is stored: no capability, one that may go anywhere, and a local one. */
const VALUES: readonly Raw[] = [rawNull(5n), within(DATA, 64, RW), within(DATA, 64, RW & ~Perm.Global)];
/** What stands in memory. */
const OLD = within(DATA, 16, RW);

/** The check that fails first, by the specification's order. */
function expected(facts: Facts, stored: Raw, perms: number, problem: "tag" | "seal" | "length" | "none"): number {
  const lacks = (perm: number): boolean => (perms & perm) === 0;
  if (problem === "tag") return CapCause.Tag;
  if (problem === "seal") return CapCause.Seal;
  if (loadsToo(facts) && lacks(Perm.Load)) return CapCause.PermitLoad;
  if (facts.clause.name === "cloadtags" && lacks(Perm.LoadCap)) return CapCause.PermitLoadCap;
  if ((facts.stores || facts.storesCapability) && lacks(Perm.Store)) return CapCause.PermitStore;
  if (facts.storesCapability && stored.tag) {
    if (lacks(Perm.StoreCap)) return CapCause.PermitStoreCap;
    if (same(stored, VALUES[2]!) && lacks(Perm.StoreLocalCap)) return CapCause.PermitStoreLocalCap;
  }
  return problem === "length" ? CapCause.Length : CapCause.None;
}

describe.each(ENGINES)("accesses on the %s", (engine) => {
  test("need tag, no seal, each permission and their bounds, checked in this order; one that fails has no effect", () => {
    expect(accesses.length).toBeGreaterThan(100);
    const subject = subjectOf({ engine });
    const found = new Map<number, number>();
    for (const facts of accesses) {
      const { clause } = facts;
      const field = encodingOf(clause).fields.find(({ name }) => name === "imm");
      const imm = field === undefined ? 0 : fit(field, 0);
      const program = [{ clause, fields: { rd: RESULT, rs1: ADDRESS, rs2: VALUE, imm } }, { word: 0x73 }];
      for (const perms of allPermissions) {
        for (const stored of facts.storesCapability ? VALUES : VALUES.slice(0, 1)) {
          for (const problem of ["tag", "seal", "length", "none"] as const) {
            // One byte too few, or all of 64 around the target.
            const whole = within(TARGET, problem === "length" ? 0 : 64, Perm.All, facts.explicit ? -imm : 0);
            const limited = { ...rawAndPerms(whole, perms), tag: true };
            const authority = problem === "tag" ? { ...limited, tag: false } : problem === "seal" ? sealedWith(limited, 20) : limited;
            const offset = rawNull(BigInt.asUintN(64, BigInt(-imm)));
            const base = facts.explicit ? authority : offset;
            const ddc = facts.explicit ? within(0, 0x1_0000, 0) : authority;
            subject.prepare(
              caseOf(program, { registers: { [SP]: base, [ADDRESS]: base, [VALUE]: stored }, ddc, memory: [{ at: TARGET, cap: OLD }] }),
            );
            const exit = subject.hart.run(10);
            const cause = expected(facts, stored, perms, problem);
            const what = `${clause.name}, permissions 0x${perms.toString(16)}, ${problem}`;
            found.set(cause, (found.get(cause) ?? 0) + 1);
            if (cause === CapCause.None) {
              expect(exit, what).toBe(Exit.Ecall);
              continue;
            }
            expect(exit, what).toBe(Exit.Trap);
            const register = facts.explicit ? ADDRESS : DDC;
            expect([subject.hart.trapCause, Number(subject.trapValue) & 31], what).toEqual([Cause.Cheri, cause]);
            expect([ADDRESS, SP, DDC], what).toContain(Number(subject.trapValue) >> 5);
            if (!clause.name.startsWith("c.")) expect(Number(subject.trapValue) >> 5, what).toBe(register);
            expect(same(subject.granule(REGION + TARGET), OLD), what).toBe(true);
            expect(same(subject.register(VALUE), stored), what).toBe(true);
            expect(same(subject.register(RESULT), rawNull()), what).toBe(true);
          }
        }
      }
    }
    for (const cause of [
      CapCause.PermitLoad,
      CapCause.PermitStore,
      CapCause.PermitLoadCap,
      CapCause.PermitStoreCap,
      CapCause.PermitStoreLocalCap,
    ])
      expect(found.get(cause), `${cause}`).toBeGreaterThan(5);
    expect(found.get(CapCause.None)).toBeGreaterThan(1000);
  });

  test("are bounded to the byte at both ends, whatever their size", () => {
    const subject = subjectOf({ engine });
    const sizes = new Set<number>();
    for (const facts of accesses) {
      const { clause, bytes } = facts;
      sizes.add(bytes);
      const field = encodingOf(clause).fields.find(({ name }) => name === "imm");
      const imm = field === undefined ? 0 : fit(field, 0);
      const program = [{ clause, fields: { rd: RESULT, rs1: ADDRESS, rs2: 0, imm } }, { word: 0x73 }];
      // Room before and after the access, in bytes; negative: so much of it is outside.
      for (const before of [-1, 0, 1, 7, 64]) {
        for (const after of [-1, 0, 1, 7, 64]) {
          if (before + bytes + after < 0) continue;
          const authority = within(TARGET - before, before + bytes + after, RWC, before - imm);
          const [base, ddc] = facts.explicit ? [authority, within(0, 0x1_0000, 0)] : [rawNull(BigInt.asUintN(64, -BigInt(imm))), authority];
          const start = facts.explicit ? ddc : rawSetAddress(ddc, BigInt(REGION + TARGET));
          subject.prepare(caseOf(program, { registers: { [SP]: base, [ADDRESS]: base }, ddc: start, memory: [{ at: TARGET, cap: OLD }] }));
          const exit = subject.hart.run(10);
          const what = `${clause.name}, ${bytes} bytes, ${before} before, ${after} after`;
          expect(exit, what).toBe(before < 0 || after < 0 ? Exit.Trap : Exit.Ecall);
          if (exit === Exit.Trap) {
            expect([subject.hart.trapCause, Number(subject.trapValue) & 31], what).toEqual([Cause.Cheri, CapCause.Length]);
            expect(same(subject.granule(REGION + TARGET), OLD), what).toBe(true);
          }
        }
      }
    }
    expect(sizes).toEqual(new Set([1, 2, 4, 8, 16, 64]));
  });

  test("of capabilities take the tag along with LoadCap permission only", () => {
    const subject = subjectOf({ engine });
    const loads = accesses.filter(({ clause }) => /^(lc|lr\.c|amoswap\.c)(\.|$)/u.test(clause.name));
    expect(loads.length).toBeGreaterThanOrEqual(6);
    for (const facts of loads) {
      for (const perms of allPermissions) {
        const needed = Perm.Load | (facts.storesCapability ? Perm.Store : 0);
        if ((perms & needed) !== needed) continue;
        const authority = within(TARGET, 64, perms);
        const base = facts.explicit ? authority : rawNull();
        const program = [{ clause: facts.clause, fields: { rd: RESULT, rs1: ADDRESS, rs2: 0, imm: 0 } }, { word: 0x73 }];
        const ddc = facts.explicit ? within(0, 0x1_0000, 0) : authority;
        subject.prepare(caseOf(program, { registers: { [ADDRESS]: base }, ddc, memory: [{ at: TARGET, cap: OLD }] }));
        expect(subject.hart.run(10), facts.clause.name).toBe(Exit.Ecall);
        const result = subject.register(RESULT);
        expect(same(result, { ...OLD, tag: (perms & Perm.LoadCap) !== 0 }), `${facts.clause.name} 0x${perms.toString(16)}`).toBe(true);
      }
    }
  });
});
