/** Builds the guest programs for this machine and for riscv64, and runs them here. */
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { ensureProgram, type Result } from "../support/cvm.ts";

const CACHE = join(import.meta.dirname, "..", "..", ".cache", "guests");
const CROSS = "riscv64-linux-gnu-gcc";
/** No contraction to fused operations: the same roundings on both machines. */
const FLAGS = ["-std=gnu17", "-Wall", "-Wextra", "-O1", "-frounding-math", "-ffp-contract=off"];
const LIBRARIES = ["-lpthread", "-lm"];
const KINDS = {
  native: { compiler: "gcc", flags: [] },
  static: { compiler: CROSS, flags: ["-static"] },
  dynamic: { compiler: CROSS, flags: [] },
} as const;
export type Kind = keyof typeof KINDS;

/** The programs' names, sorted. */
export const NAMES: readonly string[] = readdirSync(import.meta.dirname)
  .filter((file) => file.endsWith(".c"))
  .map((file) => file.slice(0, -2))
  .sort();

/** Why the programs cannot be built on this machine; null when they can. Installs the compilers where it may (root and apt). */
export function whyNot(): string | null {
  if (process.platform !== "linux") return "the programs are compared with native runs, which need Linux";
  if (process.getuid?.() !== 0) return "the programs check what root may do: run the tests as root";
  if (!ensureProgram("gcc", "gcc", "libc6-dev")) return "no gcc, and it could not be installed";
  if (!ensureProgram(CROSS, "gcc-riscv64-linux-gnu", "libc6-dev-riscv64-cross")) return `no ${CROSS}, and it could not be installed`;
  return existsSync("/usr/riscv64-linux-gnu/include/stdio.h") ? null : "no riscv64 C library (libc6-dev-riscv64-cross)";
}

/** The folder with all programs of a kind; built unless the cache has them for this source. */
export function build(kind: Kind): string {
  const { compiler, flags } = KINDS[kind];
  const hash = createHash("sha256").update(JSON.stringify([FLAGS, LIBRARIES, compiler, flags]));
  for (const file of ["guest.h", ...NAMES.map((name) => `${name}.c`)])
    hash.update(file).update(readFileSync(join(import.meta.dirname, file)));
  const folder = join(CACHE, `${kind}-${hash.digest("hex").slice(0, 16)}`);
  if (existsSync(folder)) return folder;
  const unfinished = `${folder}.${process.pid}`;
  mkdirSync(unfinished, { recursive: true });
  for (const name of NAMES) {
    const args = [...FLAGS, ...flags, "-o", join(unfinished, name), join(import.meta.dirname, `${name}.c`), ...LIBRARIES];
    const result = spawnSync(compiler, args, { encoding: "utf8" });
    if (result.status !== 0) throw new Error(`${compiler} cannot build ${name}\n${result.stderr}`);
  }
  renameSync(unfinished, folder);
  return folder;
}

/** Runs a program on this machine. Killed after 60 s. */
export function runHere(path: string): Promise<Result> {
  return new Promise((resolve, reject) => {
    const child = spawn(path, [], { stdio: ["ignore", "pipe", "pipe"], timeout: 60_000, killSignal: "SIGKILL" });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    child.on("error", reject);
    child.on("close", (status) => resolve({ status: status ?? 128, stdout, stderr }));
  });
}
