#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { syscallTable } from "../dist/index.js";

const USAGE = `Usage:
  cvm-libos syscalls [--format json]    print the system calls, how far each goes, and their arguments
`;
// A reader such as head may go away early.
process.stdout.on("error", () => process.exit(0));

const [command, ...rest] = process.argv.slice(2);
const json = rest.length === 2 && rest[0] === "--format" && rest[1] === "json";
if (command === "--help" || command === "-h") process.stdout.write(USAGE);
else if (command === "--version")
  process.stdout.write(`${JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")).version}\n`);
else if (command !== "syscalls" || (rest.length > 0 && !json)) {
  process.stderr.write(USAGE);
  process.exitCode = 2;
} else {
  const rows = syscallTable();
  if (json) {
    const plain = rows.map(({ number, name, support, arguments: declared }) => ({
      number,
      name,
      support,
      arguments: declared.map(({ name: argument, kind }) => ({ name: argument, kind })),
    }));
    process.stdout.write(`${JSON.stringify(plain, null, 2)}\n`);
  } else {
    const width = Math.max(...rows.map(({ name }) => name.length));
    for (const { number, name, support, arguments: declared } of rows) {
      const note = support.level === "full" ? "" : support.level === "partial" ? support.note : `errno ${support.errno}: ${support.note}`;
      process.stdout.write(
        `${`${number} ${name.padEnd(width)} ${support.level.padEnd(7)} (${declared.map((one) => one.name).join(", ")})  ${note}`.trimEnd()}\n`,
      );
    }
  }
}
