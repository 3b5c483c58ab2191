/** How tests of this folder run properties: on failure, the shrunk case as text instead of a dump of data. */
import * as fc from "fast-check";
import { Perm } from "../abi.ts";
import { rawNull, type Raw } from "../capability/raw.ts";
import { CODE, REGION_BYTES, type Case, type Instruction } from "./case.ts";
import type { Holdings } from "./authority.ts";
import { RWC, within } from "./capabilities.ts";
import type { Reference } from "./reference.ts";
import { describeCase, referenceOf, report, subjectOf, type Setting } from "./report.ts";
import { compare, type Hooks, type Subject } from "./subject.ts";

/** Runs `predicate` on random values. Throws an Error with `describe`'s text of the smallest one that it throws for, and the seed. */
export function forAll<T>(
  arbitrary: fc.Arbitrary<T>,
  numRuns: number,
  predicate: (value: T) => void,
  describe: (value: T) => string,
): void {
  const result = fc.check(fc.property(arbitrary, predicate), { numRuns });
  if (!result.failed) return;
  const value = result.counterexample?.[0];
  const cause = "errorInstance" in result ? result.errorInstance : undefined;
  const text = value === undefined ? "no value fits" : describe(value);
  throw new Error(
    `seed ${result.seed}, path ${result.counterexamplePath ?? "-"}: ${cause instanceof Error ? cause.message : String(cause)}\n${text}`,
    {
      cause,
    },
  );
}

/** Random cases do the same on a machine and on the reference. `each` may look at both at the end, and throw. */
export function sameAsReference(
  setting: Setting,
  arbitrary: fc.Arbitrary<Case>,
  numRuns: number,
  each: { readonly hooks?: (test: Case, reference: Reference) => Hooks; readonly after?: (test: Case, subject: Subject) => void } = {},
): void {
  const subject = subjectOf(setting);
  const reference = referenceOf(setting);
  forAll(
    arbitrary,
    numRuns,
    (test) => {
      const differences = compare(test, subject, reference, each.hooks?.(test, reference));
      if (differences.length > 0) throw new Error(differences[0]!.what);
      each.after?.(test, subject);
    },
    (test) => (compare(test, subject, reference).length > 0 ? report(test, setting, subject, reference) : describeCase(test)),
  );
}

/** The case of a program in good conditions, with whatever else is given. Registers by number; those that are not given hold 0. */
export function caseOf(
  program: readonly Instruction[],
  given: Partial<Omit<Case, "program" | "registers">> & { readonly registers?: Readonly<Record<number, Raw>> } = {},
): Case {
  const { registers = {}, ...rest } = given;
  return {
    program,
    registers: Array.from({ length: 31 }, (_, index) => registers[index + 1] ?? rawNull()),
    floats: Array.from({ length: 32 }, () => 0n),
    fcsr: 0,
    ddc: within(0, REGION_BYTES, RWC),
    pcc: within(0, REGION_BYTES, Perm.All),
    specials: [],
    memory: [],
    writableCode: false,
    origin: CODE,
    fuel: 100_000,
    ...rest,
  };
}

/** Everything that a machine holds: c1 … c31, PCC, DDC; the other special registers; what is tagged in memory. */
export function holdingsOf(subject: Subject): Omit<Holdings, "readable"> {
  const registers = Array.from({ length: 31 }, (_, index) => subject.register(index + 1));
  const specials = Array.from({ length: 30 }, (_, index) => subject.special(index + 2));
  return { registers: [...registers, subject.special(0), subject.special(1)], specials, memory: subject.tagged() };
}
