/** That no word is two instructions: a proof over fixed bits and exclusions, not a sample. */
import { describe, expect, test } from "vitest";
import type { Clause } from "./clause.ts";
import { clausesOf, createDecoder, type Mode } from "./decode.ts";
import { encodingOf, matches, type Encoding, type Exclusion } from "./encoding.ts";
import { allClauses } from "./index.ts";

/** A set of words: those equal to `match` under `mask`. */
type Cube = Exclusion;

/** True when the exclusions leave no word of the cube: splits it at a free bit of one that covers a part. */
function isEmpty(cube: Cube, exclusions: readonly Exclusion[]): boolean {
  let part = 0;
  for (const { mask, match } of exclusions) {
    if (((match ^ cube.match) & mask & cube.mask) !== 0) continue;
    const free = mask & ~cube.mask;
    if (free === 0) return true;
    part = free;
  }
  if (part === 0) return false;
  const bit = part & -part;
  return (
    isEmpty({ mask: cube.mask | bit, match: cube.match }, exclusions) &&
    isEmpty({ mask: cube.mask | bit, match: cube.match | bit }, exclusions)
  );
}

/** Words of both; undefined when there are none. */
function common(a: Encoding, b: Encoding): Cube | undefined {
  if (a.length !== b.length || ((a.match ^ b.match) & a.mask & b.mask) !== 0) return undefined;
  const cube = { mask: a.mask | b.mask, match: a.match | b.match };
  return isEmpty(cube, [...a.exclusions, ...b.exclusions]) ? undefined : cube;
}

/** Instructions that are some words of another, by its declaration: hints and forms of `fence`. */
const SPECIAL_CASES = ["fence.tso of fence", "pause of fence"];

describe.each([0, 1] as const)("mode %i", (mode: Mode) => {
  const clauses = clausesOf(allClauses, mode).map((index) => allClauses[index]!);

  test("no two clauses have a word in common, but for special cases that the decoder prefers", () => {
    const found: string[] = [];
    const decoder = createDecoder(allClauses);
    for (const [at, one] of clauses.entries()) {
      for (const two of clauses.slice(at + 1)) {
        const words = common(encodingOf(one), encodingOf(two));
        if (words === undefined) continue;
        const [narrow, wide] = words.mask === encodingOf(one).mask ? [one, two] : [two, one];
        // All words of one are words of the other.
        expect(words.mask, `${one.name} and ${two.name}`).toBe(encodingOf(narrow).mask);
        expect(allClauses[decoder.written(words.match, mode)]).toBe(narrow);
        found.push(`${narrow.name} of ${wide.name}`);
      }
    }
    expect(found.toSorted()).toEqual(SPECIAL_CASES);
  });

  test("every clause has a word, and the decoder finds it", () => {
    const decoder = createDecoder(allClauses);
    for (const clause of clauses) {
      const encoding = encodingOf(clause);
      expect(isEmpty(encoding, encoding.exclusions), clause.name).toBe(false);
      // All free bits set is excluded nowhere; special cases have none of them.
      const word = encoding.match | (encoding.length === 4 ? ~encoding.mask : ~encoding.mask & 0xffff);
      expect(matches(encoding, word), clause.name).toBe(true);
      expect(allClauses[decoder.written(word, mode)], clause.name).toBe(clause);
    }
  });
});

test("what capability mode decodes in place of the clauses of both modes", () => {
  const legal = new Set(clausesOf(allClauses, 1));
  const replaced = allClauses.filter((clause, index) => clause.mode === undefined && !legal.has(index));
  const bits = (clause: Clause): string => `${encodingOf(clause).mask} ${encodingOf(clause).match}`;
  const pairs = replaced.map((clause) => {
    const instead = allClauses.filter((other) => other.mode === "cap" && bits(other) === bits(clause));
    expect(instead, clause.name).toHaveLength(1);
    return [clause.name, instead[0]!.name];
  });
  const prefixed = (names: string): string[][] => names.split(" ").map((name) => [name, `c${name}`]);
  const atomics = ["lr", "sc", ..."swap add xor and or min max minu maxu".split(" ").map((name) => `amo${name}`)];
  expect(new Map(pairs as [string, string][])).toEqual(
    new Map([
      ...prefixed("lb lh lw ld lbu lhu lwu sb sh sw sd flw fsw fld fsd jal jalr"),
      ...atomics.flatMap((name) => prefixed(`${name}.w ${name}.d`)),
      ["auipc", "auipcc"],
      ...Object.entries({
        "c.addi4spn": "c.cincoffset4cspn",
        "c.addi16sp": "c.cincoffset16csp",
        "c.lw": "c.clw",
        "c.ld": "c.cld",
        "c.sw": "c.csw",
        "c.sd": "c.csd",
        "c.lwsp": "c.clwcsp",
        "c.ldsp": "c.cldcsp",
        "c.swsp": "c.cswcsp",
        "c.sdsp": "c.csdcsp",
        "c.jr": "c.cjr",
        "c.jalr": "c.cjalr",
        // The floating-point forms make room for capabilities.
        "c.fld": "c.clc",
        "c.fsd": "c.csc",
        "c.fldsp": "c.clccsp",
        "c.fsdsp": "c.csccsp",
      }),
    ] as [string, string][]),
  );
});
