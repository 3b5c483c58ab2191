/** The system call table: one row per call. */
import type { Syscall } from "../kernel/types.ts";
import { eventSyscalls } from "./events.ts";
import { fileSyscalls } from "./files.ts";
import { memorySyscalls } from "./memory.ts";
import { processSyscalls } from "./process.ts";
import { signalSyscalls } from "./signals.ts";
import { socketSyscalls } from "./sockets.ts";
import { systemSyscalls } from "./system.ts";
import { threadSyscalls } from "./threads.ts";
import { timeSyscalls } from "./time.ts";

const families: readonly (readonly Syscall[])[] = [
  fileSyscalls,
  eventSyscalls,
  socketSyscalls,
  memorySyscalls,
  processSyscalls,
  threadSyscalls,
  signalSyscalls,
  timeSyscalls,
  systemSyscalls,
];

/** All rows, by number. @throws Error when two rows have the same number. */
export function syscallTable(): readonly Syscall[] {
  const rows = families.flat().sort((a, b) => a.number - b.number);
  for (const [index, row] of rows.entries()) {
    const before = rows[index - 1];
    if (before?.number === row.number) throw new Error(`[duplicate-syscall] ${row.number}: ${before.name} and ${row.name}`);
  }
  return rows;
}
