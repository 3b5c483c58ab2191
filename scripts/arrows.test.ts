import { resolve } from "node:path";
import { expect, test } from "vitest";
import { check, importsOf, violations } from "./arrows.ts";

const root = resolve(import.meta.dirname, "..");

test("the checkout holds the arrows", () => {
  expect(check(root)).toEqual([]);
});

test("a planted violation is found and named", () => {
  const plant = (name: string, source: string): string[] => violations(root, `${root}/packages/${name}/src/planted.ts`, source);
  expect(plant("libos", 'import { createMachine } from "@cvm/cpu";')).toEqual([
    'packages/libos/src/planted.ts: imports "@cvm/cpu", but packages/libos may import only @cvm/monitor/abi, @cvm/cpu/abi',
  ]);
  expect(plant("monitor", 'import type { Kernel } from "@cvm/libos";')).toHaveLength(1);
  expect(plant("cpu", 'export * from "ws";')).toHaveLength(1);
  expect(plant("cpu", 'import fs from "node:fs";')).toHaveLength(1);
  const command = (source: string): string[] => violations(root, `${root}/packages/cpu/src/command/planted.ts`, source);
  expect(command('import fs from "node:fs";')).toEqual([]);
  expect(command('export * from "ws";')).toHaveLength(1);
  const verify = (source: string): string[] => violations(root, `${root}/packages/cpu/src/verify/planted.ts`, source);
  expect(verify('import * as fc from "fast-check";\nimport fs from "node:fs";')).toEqual([]);
  expect(verify('export * from "@cvm/monitor";')).toHaveLength(1);
  expect(plant("cpu", 'import { arbCase } from "./verify/generate.ts";')).toEqual([
    'packages/cpu/src/planted.ts: imports "./verify/generate.ts", but packages/cpu does not publish that',
  ]);
  expect(plant("net", 'const m = await import("@cvm/monitor");')).toHaveLength(1);
  expect(plant("cli", 'import { x } from "../../monitor/src/gate.ts";')).toHaveLength(1);
  expect(plant("libos", 'import { PENDING } from "@cvm/monitor/abi";\nimport { readFileSync } from "node:fs";')).toEqual([]);
});

test("imports are found over several lines, and not in comments", () => {
  expect(importsOf('import {\n  a,\n  b,\n} from "one";\n// import x from "two";\n/* import y from "three"; */\nimport "four";')).toEqual([
    { specifier: "one", typeOnly: false },
    { specifier: "four", typeOnly: false },
  ]);
});
