/** How tests of this folder run properties: on failure, the shrunk case as text instead of a dump of data. */
import * as fc from "fast-check";
import type { Case } from "./case.ts";
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
  let differ = false;
  forAll(
    arbitrary,
    numRuns,
    (test) => {
      const differences = compare(test, subject, reference, each.hooks?.(test, reference));
      differ = differences.length > 0;
      if (differ) throw new Error(differences[0]!.what);
      each.after?.(test, subject);
    },
    (test) => (differ ? report(test, setting, compare(test, subject, reference)) : describeCase(test)),
  );
}
