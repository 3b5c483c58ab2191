/** Programs that bring a runtime of their own, unmodified from Debian: Go (esbuild) and Node, with its JIT compiler. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cvm, ensureImage } from "../support/cvm.ts";

const FILES = {
  "a.js": 'import { greet } from "./b.js";\nimport { sum } from "./c.ts";\nconsole.log(greet("world"), sum([1, 2, 3]));\n',
  "b.js": "export const greet = (name) => `hello ${name}`;\nexport const unused = () => 42;\n",
  "c.ts": "export function sum(all: readonly number[]): number {\n  return all.reduce((a, b) => a + b, 0);\n}\n",
};
let project: string;
beforeAll(async () => {
  project = mkdtempSync(join(tmpdir(), "cvm-runtimes-"));
  for (const [name, text] of Object.entries(FILES)) writeFileSync(join(project, name), text);
  await ensureImage("esbuild", ["esbuild"]);
  await ensureImage("nodejs", ["nodejs"]);
}, 600_000);
afterAll(() => rmSync(project, { recursive: true, force: true }));

const TIMEOUT = { timeoutMs: 150_000 };
const node = (...args: string[]) => cvm(["run", "--rm", "-v", `${project}:/project`, "-w", "/project", "nodejs", "node", ...args], TIMEOUT);

describe("Go", () => {
  test("esbuild bundles a project of three files, in 128 MiB of memory", async () => {
    const bundle = ["esbuild", "--bundle", "a.js", "--minify", "--outfile=out.js", "--log-level=warning"];
    const result = await cvm(["run", "--rm", "-m", "128m", "-v", `${project}:/project`, "-w", "/project", "esbuild", ...bundle], TIMEOUT);
    expect(result).toEqual({ status: 0, stdout: "", stderr: "" });
    // What it made runs, and what nobody uses is not in it.
    const made = await node("out.js");
    expect(made).toEqual({ status: 0, stdout: "hello world 6\n", stderr: "" });
    expect(readFileSync(join(project, "out.js"), "utf8")).not.toContain("42");
  }, 200_000);

  test("esbuild says where a mistake is", async () => {
    writeFileSync(join(project, "wrong.js"), "let x = ;\n");
    const result = await cvm(["run", "--rm", "-v", `${project}:/project`, "-w", "/project", "esbuild", "esbuild", "wrong.js"], TIMEOUT);
    expect(result.status).toBe(1);
    expect(result.stderr).toContain("wrong.js:1:8");
  }, 200_000);
});

/** Runs in a cVM, and here. */
function mix(n: number): number {
  let s = 0;
  for (let i = 0; i < n; i++) s = ((s ^ i) + (i >>> 3)) | 0;
  return s;
}

describe("Node", () => {
  test("a function that is called often is compiled, and gives what it gave before", async () => {
    const program = `
      const f = ${mix.toString()};
      const first = f(1000);
      for (let i = 0; i < 300; i++) if (f(1000) !== first) process.exit(1);
      %PrepareFunctionForOptimization(f);
      f(1000);
      %OptimizeFunctionOnNextCall(f);
      console.log(first, f(1000) === first, (%GetOptimizationStatus(f) & 16) !== 0, process.arch);`;
    const result = await node("--allow-natives-syntax", "-e", program);
    expect(result).toEqual({ status: 0, stdout: `${mix(1000)} true true riscv64\n`, stderr: "" });
  }, 200_000);

  test("a worker, a child process, files, timers and a large buffer", async () => {
    const program = `
      const { Worker } = require("node:worker_threads");
      const { execFileSync } = require("node:child_process");
      const { readFileSync } = require("node:fs");
      const large = Buffer.alloc(48 << 20);
      large[40 << 20] = 7;
      const worker = new Worker("require('node:worker_threads').parentPort.postMessage(6 * 7)", { eval: true });
      worker.on("message", (value) => setTimeout(() => {
        const child = execFileSync(process.execPath, ["-p", "'child'"], { encoding: "utf8" }).trim();
        console.log(value, child, readFileSync("b.js", "utf8").length, large[40 << 20], process.memoryUsage().rss > (8 << 20));
      }, 10));`;
    const result = await node("-e", program);
    expect(result).toEqual({ status: 0, stdout: `42 child ${FILES["b.js"].length} 7 true\n`, stderr: "" });
  }, 200_000);
});
