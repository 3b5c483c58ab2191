#!/usr/bin/env node
import { readFileSync, writeSync } from "node:fs";
import { runElf } from "../dist/index.js";

const USAGE = `Usage:
  cvm-cpu run [--stats] FILE.elf     run a static riscv64 program that needs write and exit only
`;

const [command, ...rest] = process.argv.slice(2);
const stats = rest[0] === "--stats";
const file = rest[stats ? 1 : 0];
if (command === "--help" || command === "-h") process.stdout.write(USAGE);
else if (command === "--version")
  process.stdout.write(`${JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")).version}\n`);
else if (command !== "run" || file === undefined) {
  process.stderr.write(USAGE);
  process.exitCode = 2;
} else {
  try {
    const start = performance.now();
    const { status, instructions, problem } = runElf(readFileSync(file), (descriptor, bytes) => writeSync(descriptor === 2 ? 2 : 1, bytes));
    const milliseconds = performance.now() - start;
    if (problem !== undefined) process.stderr.write(`cvm-cpu: ${problem}\n`);
    if (stats)
      process.stderr.write(
        `${instructions} instructions in ${milliseconds.toFixed(0)} ms: ${(instructions / milliseconds / 1000).toFixed(0)} MIPS\n`,
      );
    process.exitCode = status;
  } catch (error) {
    process.stderr.write(`cvm-cpu: ${file}: ${error.message}\n`);
    process.exitCode = 1;
  }
}
