import { expect, test } from "vitest";
import { syscallTable } from "./index.ts";

test("numbers are those of Linux for riscv64, once each, and lengths name arguments that exist", () => {
  const rows = syscallTable();
  const numbers = new Map(rows.map(({ name, number }) => [name, number]));
  expect(numbers.size).toBe(rows.length);
  // Samples from include/uapi/asm-generic/unistd.h.
  const samples = {
    getcwd: 17,
    openat: 56,
    read: 63,
    write: 64,
    exit: 93,
    futex: 98,
    kill: 129,
    rt_sigreturn: 139,
    mmap: 222,
    clone: 220,
    execve: 221,
    riscv_hwprobe: 258,
    clone3: 435,
  };
  for (const [name, number] of Object.entries(samples)) expect(numbers.get(name), name).toBe(number);
  for (const row of rows) {
    const names = new Set(row.arguments.map(({ name }) => name));
    expect(names.size, row.name).toBe(row.arguments.length);
    expect(row.arguments.length, row.name).toBeLessThanOrEqual(6);
    for (const { name, length, kind } of row.arguments) {
      if (length !== undefined && "arg" in length) expect(names, `${row.name}.${name}`).toContain(length.arg);
      if (kind === "in" || kind === "out" || kind === "inout") expect(length, `${row.name}.${name}`).toBeDefined();
    }
    if (row.support.level !== "full") expect(row.support.note.length, row.name).toBeGreaterThan(5);
  }
});
