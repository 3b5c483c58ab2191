import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { GRANULE_SIZE, Prot } from "../abi.ts";
import { otypeOf } from "../capability/encoding.ts";
import type { Raw } from "../capability/raw.ts";
import { ENGINES } from "../engines.test.support.ts";
import { Authority } from "./authority.ts";
import { forAll, holdingsOf } from "./check.test.support.ts";
import { REGION, type Case } from "./case.ts";
import { arbCase } from "./generate.ts";
import type { Reference } from "./reference.ts";
import { describeCase, referenceOf, subjectOf, type Setting } from "./report.ts";
import { compare, prepare, show, type Hooks, type Subject } from "./subject.ts";

/** What the state that a case begins with can come to. */
function authorityOf(reference: Reference): Authority {
  const { tags } = reference.memory;
  const memory: { at: number; cap: Raw }[] = [];
  for (let index = tags.indexOf(1); index >= 0; index = tags.indexOf(1, index + 1)) {
    memory.push({ at: index * GRANULE_SIZE, cap: reference.memory.peek(index * GRANULE_SIZE) });
  }
  return new Authority({
    registers: [...reference.c, reference.pcc, reference.ddc],
    specials: Array.from({ length: 30 }, (_, index) => reference.special(index + 2)),
    memory,
    readable: (at) => reference.memory.allows(BigInt(at), GRANULE_SIZE, Prot.Read),
  });
}

/** Counts what was looked at, so that the tests cannot pass for want of capabilities. */
class Census {
  tagged = 0;
  /** Tagged ones that were not there at the beginning. */
  made = 0;
  readonly clauses = new Set<string>();
}

/** Looks at every register that an instruction of the reference changed, and at all of the machine whenever it stops. */
function watch(census: Census, subject: Subject): (test: Case, reference: Reference) => Hooks {
  return (test, reference) => {
    prepare(reference, test);
    const authority = authorityOf(reference);
    const first = new Set(test.registers.map(show));
    const last: Raw[] = [...reference.c];
    const look = (where: string, cap: Raw): void => {
      if (!cap.tag) return;
      census.tagged += 1;
      if (!authority.explains(cap))
        throw new Error(`${where} holds ${show(cap)}, otype ${otypeOf(cap.hi)}: nothing that it began with allows that`);
    };
    return {
      each: () => {
        census.clauses.add(reference.clause!.name);
        reference.c.forEach((cap, index) => {
          if (cap === last[index]) return;
          last[index] = cap;
          look(`c${index}`, cap);
          if (cap.tag && !first.has(show(cap))) census.made += 1;
        });
        look("PCC", reference.pcc);
        look("DDC", reference.ddc);
      },
      stopped: () => {
        const { registers, specials, memory } = holdingsOf(subject);
        for (const cap of registers) look("a register of the machine", cap);
        for (const [index, cap] of specials.entries()) {
          if (!test.specials.some(([number]) => number === index + 2)) look("a special register of the machine", cap);
        }
        for (const { at, cap } of memory) {
          if (!authority.explainsAt(at, cap)) throw new Error(`memory at region + ${at - REGION} holds ${show(cap)}, which nothing allows`);
        }
      },
    };
  };
}

function holds(setting: Setting, arbitrary: fc.Arbitrary<Case>, runs: number): Census {
  const subject = subjectOf(setting);
  const reference = referenceOf(setting);
  const census = new Census();
  const hooks = watch(census, subject);
  forAll(arbitrary, runs, (test) => void compare(test, subject, reference, hooks(test, reference)), describeCase);
  return census;
}

describe.each(ENGINES)("authority on the %s", (engine) => {
  test("no sequence of instructions makes a capability with more authority than the state that it starts from can come to", () => {
    const arbitrary = fc.oneof(
      { arbitrary: arbCase({ mode: 0, poor: true }), weight: 2 },
      { arbitrary: arbCase({ mode: 1, poor: true }), weight: 1 },
      { arbitrary: arbCase({ mode: 0 }), weight: 1 },
    );
    const census = holds({ engine }, arbitrary, 1000);
    expect(census.tagged).toBeGreaterThan(20_000);
    expect(census.made).toBeGreaterThan(1500);
    for (const name of ["csetbounds", "cseal", "cunseal", "cbuildcap", "cinvoke", "jalr.cap", "lc.cap", "lc", "cspecialrw"]) {
      expect(census.clauses, name).toContain(name);
    }
  });
});
