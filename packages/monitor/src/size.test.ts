import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

/** Lines that are neither blank nor comment. */
function linesOfCode(text: string): number {
  return text.split("\n").filter((line) => !/^\s*(?:\/\/|\/\*|\*|$)/u.test(line)).length;
}

// abi.ts is types and limits. What port/ lets through is checked by those that it calls, as if it came from the library OS: nothing rests on it.
test("the trusted monitor stays under 3,000 lines of code", () => {
  const files = globSync("**/*.ts", { cwd: import.meta.dirname }).filter(
    (file) => !/\.test\.ts$|^test-support|^abi\.ts$|^port\//u.test(file),
  );
  const total = files.reduce((sum, file) => sum + linesOfCode(readFileSync(join(import.meta.dirname, file), "utf8")), 0);
  expect(files.length).toBeGreaterThan(15);
  expect(total).toBeGreaterThan(1000);
  expect(total).toBeLessThan(3000);
});
