/** The small sets of programs' own suites, and of the crash test, as `pnpm suites --small` runs them. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";
import { isGood, type ModuleResult } from "../../suites/result.ts";
import { ensureProgram, TEST_HOME } from "../support/cvm.ts";

const ROOT = join(import.meta.dirname, "..", "..");
/** Exit status of suites when something that they need cannot be had. */
const UNAVAILABLE = 69;

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function runSuite(...args: readonly string[]): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const main = join(ROOT, "suites", "main.ts");
    const child = spawn(process.execPath, ["--conditions=source", main, "--small", "--format", "json", ...args], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, CVM_SUITES_HOME: TEST_HOME },
    });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    child.on("error", reject);
    child.on("close", (status) => resolve({ status, stdout, stderr }));
  });
}

test.each([
  // The crash test sees fsync calls of the host by strace where that may look.
  ["crash", [["strace"], ["sqlite3"]], 13],
  [
    "redis",
    [
      ["tclsh8.6", "tcl"],
      ["redis-cli", "redis-tools"],
    ],
    3,
  ],
  ["python", [], 4],
  ["programs", [["wrk"]], 2],
] as const)(
  "the small set of %s",
  async (suite, programs, modules) => {
    for (const [program, name = program] of programs) ensureProgram(program, name);
    const { status, stdout, stderr } = await runSuite(suite);
    const left = stderr.split("\n").filter((line) => line.includes("LEFT OUT"));
    for (const line of left) console.warn(`\n${line}`);
    if (status === UNAVAILABLE) return;
    const results = JSON.parse(stdout) as ModuleResult[];
    expect(
      results.filter((result) => !isGood(result)),
      stderr,
    ).toEqual([]);
    expect(results.length).toBeGreaterThanOrEqual(modules - left.length);
    expect(status).toBe(0);
  },
  600_000,
);
