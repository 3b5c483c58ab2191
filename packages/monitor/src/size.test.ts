import { globSync, readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { join } from "node:path";
import { expect, test } from "vitest";

/** Lines that do something: no types, no imports, neither blank nor comment. */
function linesOfCode(text: string): number {
  const running = stripTypeScriptTypes(text).replaceAll(/^(?:import|export) (?:\{[^}]*\}|\* as \w+|\*) from .*$/gmu, "");
  return running.split("\n").filter((line) => !/^\s*(?:\/\/|\/\*|\*|;?$)/u.test(line)).length;
}

test("types, imports and comments do not count, statements do", () => {
  expect(
    linesOfCode(
      'import { a } from "b";\nimport type { C } from "d";\n\n// no\n/** no\n * no */\nexport interface E {\n  f: number;\n}\nexport const g: number = a(\n  1,\n);\n',
    ),
  ).toBe(3);
});

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
