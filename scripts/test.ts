/**
 * Everything that `npm test` does, one step after the other: each step's time is printed; the last line counts tests.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const results = mkdtempSync(join(tmpdir(), "cvm-test-"));

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
}

function run(command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<number> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, env: { ...process.env, ...env }, stdio: ["ignore", "inherit", "inherit"] });
    child.on("error", (error) => {
      process.stderr.write(`${String(error)}\n`);
      resolve(127);
    });
    child.on("close", (status) => resolve(status ?? 1));
  });
}

let failedSteps = 0;
async function step(title: string, command: string, args: readonly string[]): Promise<void> {
  const started = Date.now();
  process.stdout.write(`\n== ${title}\n`);
  const status = await run(command, args);
  process.stdout.write(`== ${title}: ${status === 0 ? "done" : `FAILED (${status})`} in ${((Date.now() - started) / 1000).toFixed(1)} s\n`);
  if (status !== 0) failedSteps++;
}

const totals = { passed: 0, failed: 0, skipped: 0 };
async function vitest(title: string, project: string): Promise<void> {
  const file = join(results, `${project}.json`);
  await step(title, "vitest", ["run", "--project", project, "--reporter=dot", "--reporter=json", `--outputFile.json=${file}`]);
  try {
    const report = JSON.parse(readFileSync(file, "utf8")) as Report;
    totals.passed += report.numPassedTests;
    totals.failed += report.numFailedTests;
    totals.skipped += report.numPendingTests + report.numTodoTests;
  } catch {
    // The runner did not come as far as a report: the step has failed already.
  }
}

const started = Date.now();
try {
  await step("Format", "oxfmt", ["--check"]);
  await step("Lint", "oxlint", ["--type-aware"]);
  await step("Arrows between packages", process.execPath, ["scripts/arrows.ts"]);
  await vitest("Unit tests", "unit");
  await vitest("Instruction set tests", "isa");
  await vitest("End-to-end tests", "e2e");
} finally {
  // The host of the end-to-end tests would end by itself, but later.
  await run(join(root, "bin", "cvm"), ["host", "stop"], { CVM_HOME: process.env["CVM_TEST_HOME"] ?? join(root, ".cache", "test-home") });
  rmSync(results, { recursive: true, force: true });
}
process.stdout.write(`\nAll steps took ${((Date.now() - started) / 1000).toFixed(0)} s\n`);
if (totals.failed === 0 && failedSteps > 0) totals.failed = failedSteps;
process.stdout.write(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped\n`);
process.exitCode = failedSteps === 0 ? 0 : 1;
