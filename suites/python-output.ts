/** What CPython's `python -m test -v MODULE` printed, as counts. */
import type { Counts } from "./result.ts";

export interface PythonOutcome extends Counts {
  /** Whether it came to its summary. */
  readonly complete: boolean;
  /** The last test that was begun, when it did not. */
  readonly last?: string;
}

/** Headings of the details at the end: `ERROR: test_x (test.test_y.Z.test_x) (i=1)`, `FAIL: setUpClass (test.test_y.Z)`. */
const HEADING = /^={70}\r?\n(?:ERROR|FAIL|UNEXPECTED SUCCESS): (\S+)(?: \(([^)\s]+)\))?/gmu;
const SUMMARY = /^Total tests: run=([\d,]+)(?: \(filtered\))?(?: failures=([\d,]+))?(?: skipped=([\d,]+))?/mu;
/** Each test's own line; the result may stand behind what the test printed. */
const BEGUN = /^(\w+) \(([\w.]+)\)(?:$| \.\.\. |\r?\n)/gmu;
const RESULT = /\.\.\. (?:.*\s)?(ok|FAIL|ERROR|skipped|expected failure)\b/gu;

const whole = (text: string | undefined): number => (text === undefined ? 0 : Number(text.replaceAll(",", "")));

/** Counts what one module's run printed. Without its summary (time-out, crash) the tests' own lines count. */
export function parsePython(text: string): PythonOutcome {
  const failed = new Set<string>();
  for (const [, name, place] of text.matchAll(HEADING)) {
    // The place of a test ends with its name; that of a class's own set-up does not.
    failed.add(place === undefined ? name! : place.endsWith(`.${name}`) ? place : `${place}.${name}`);
  }
  const summary = SUMMARY.exec(text);
  if (summary !== null) {
    const run = whole(summary[1]);
    const skipped = whole(summary[3]);
    return { complete: true, run, passed: Math.max(0, run - skipped - failed.size), skipped, failed: [...failed] };
  }
  const begun = [...text.matchAll(BEGUN)].map(([, , place]) => place!);
  let passed = 0;
  let skipped = 0;
  for (const [, result] of text.matchAll(RESULT)) {
    if (result === "ok" || result === "expected failure") passed++;
    else if (result === "skipped") skipped++;
  }
  const last = begun.at(-1);
  return { complete: false, run: begun.length, passed, skipped, failed: [...failed], ...(last === undefined ? {} : { last }) };
}
