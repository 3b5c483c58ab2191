/** Folders of the benches. */
import { existsSync, statSync } from "node:fs";
import { delimiter, join } from "node:path";

export const ROOT: string = join(import.meta.dirname, "..");
export const COMMAND: string = join(ROOT, "bin", "cvm");
/** Built programs, and what they work on. */
export const CACHE: string = join(ROOT, ".cache", "bench");
/** Images, cVMs and host of the benches; the user's own are not touched. */
export const HOME: string = process.env["CVM_BENCH_HOME"] ?? join(ROOT, ".cache", "bench-home");

/** Where a program of PATH is; undefined when there is none. */
export function findProgram(name: string): string | undefined {
  for (const folder of (process.env["PATH"] ?? "").split(delimiter)) {
    const path = join(folder, name);
    if (folder !== "" && existsSync(path) && statSync(path).isFile()) return path;
  }
  return undefined;
}
