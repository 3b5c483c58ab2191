/** docs/SPECIFICATION.md names tests that exist. */
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";

const root = resolve(import.meta.dirname, "..");

interface Promised {
  /** Number of the promise. */
  readonly number: number;
  readonly file: string;
  readonly title: string;
  readonly ported: boolean;
}

interface Row {
  readonly number: number;
  readonly oneProcess: string;
  readonly ported: string;
  readonly tests: readonly Promised[];
}

/** The rows of all tables: `file` "title", "title" … in the last column. */
function rowsOf(markdown: string): Row[] {
  const rows: Row[] = [];
  for (const line of markdown.split("\n")) {
    const match = /^\| (\d+) \|.*\| (\S+) \| (\S+) \| (.*) \|$/u.exec(line);
    if (match === null) continue;
    const number = Number(match[1]);
    const tests: Promised[] = [];
    let file = "";
    let ported = false;
    for (const [, path, title, mark] of match[4]!.matchAll(/`([^`]+)`|"([^"]+)"|(\*ported:\*)/gu)) {
      if (mark !== undefined) ported = true;
      else if (path !== undefined) file = path;
      else tests.push({ number, file, title: title!, ported });
    }
    rows.push({ number, oneProcess: match[2]!, ported: match[3]!, tests });
  }
  return rows;
}

/** Those of the tests whose file is missing or does not have the title as a literal outside of comments. */
function missing(tests: readonly Promised[], base: string): string[] {
  return tests
    .filter(({ file, title }) => {
      const path = join(base, file);
      if (!existsSync(path)) return true;
      const code = readFileSync(path, "utf8").replaceAll(/^\s*(?:\/\/|\*|\/\*).*$/gmu, "");
      const found = ['"', "`"].some((quote) => code.includes(`${quote}${title}${quote}`));
      const skipped = code.split("\n").some((line) => /\.(?:skip|todo|fails)\(/u.test(line) && line.includes(title));
      return !found || skipped;
    })
    .map(({ number, file, title }) => `${number}: ${file} "${title}"`);
}

const rows = rowsOf(readFileSync(join(root, "docs/SPECIFICATION.md"), "utf8"));

test("every test that the specification names exists", () => {
  expect(rows.length).toBeGreaterThan(40);
  expect(
    missing(
      rows.flatMap(({ tests }) => tests),
      root,
    ),
  ).toEqual([]);
});

test("promises are numbered in order, and each has a test in every topology that it says yes to", () => {
  expect(rows.map(({ number }) => number)).toEqual(rows.map((_row, index) => index + 1));
  for (const { number, oneProcess, ported, tests } of rows) {
    expect(["yes", "no", "–"], `${number}`).toContain(oneProcess);
    expect(["yes", "part", "no", "–"], `${number}`).toContain(ported);
    expect(tests.length, `${number}`).toBeGreaterThan(0);
    expect(oneProcess === "no", `${number}, one process`).toBe(!tests.some((one) => !one.ported));
    expect(ported === "yes" || ported === "part", `${number}, ported`).toBe(tests.some((one) => one.ported));
  }
});

test("ported tests are those of the serialising port", () => {
  for (const { number, file } of rows.flatMap(({ tests }) => tests).filter(({ ported }) => ported)) {
    expect(
      [
        "packages/monitor/src/port/port.test.ts",
        "test/e2e/ported.test.ts",
        "test/e2e/streams.test.ts",
        "test/e2e/network.test.ts",
        "test/e2e/objects.test.ts",
        "test/e2e/calls.test.ts",
      ],
      `${number}`,
    ).toContain(file);
  }
});

test("a title or a file that does not exist is found", () => {
  const planted = rowsOf(
    '| 1 | text | yes | no | `scripts/arrows.test.ts` "no such title" |\n| 2 | text | yes | no | `scripts/none.test.ts` "a" |',
  );
  expect(
    missing(
      planted.flatMap(({ tests }) => tests),
      root,
    ).map((text) => text.slice(0, 2)),
  ).toEqual(["1:", "2:"]);
});
