import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { takeLock } from "./lock.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "cvm-bench-test-"));
});
afterEach(() => rmSync(folder, { recursive: true }));
const file = (): string => join(folder, "bench.lock");

test("taken and given back", () => {
  const free = takeLock(folder);
  expect(readFileSync(file(), "utf8")).toBe(`${process.pid}\n`);
  free();
  expect(existsSync(file())).toBe(false);
});
test("another process has it", () => {
  writeFileSync(file(), `${process.ppid}\n`);
  expect(() => takeLock(folder)).toThrow(`another bench is running: process ${process.ppid}`);
  expect(readFileSync(file(), "utf8")).toBe(`${process.ppid}\n`);
});
test.each(["", "no number\n"])("its process has ended without giving it back, or the file says nothing: %j", (text) => {
  const ended = spawnSync(process.execPath, ["-e", ""]).pid;
  writeFileSync(file(), text === "" ? `${ended}\n` : text);
  takeLock(folder)();
  expect(existsSync(file())).toBe(false);
});
