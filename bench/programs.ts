/** Builds the programs in C for riscv64 and for this machine. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { CACHE, findProgram } from "./places.ts";

/** No contraction to fused operations unless a program asks for them: the same roundings on both machines. */
const FLAGS = ["-std=gnu17", "-Wall", "-Wextra", "-O2", "-ffp-contract=off", "-static"];
const COMPILERS = {
  riscv: { compiler: "riscv64-linux-gnu-gcc", packages: "gcc-riscv64-linux-gnu libc6-dev-riscv64-cross" },
  native: { compiler: "gcc", packages: "gcc libc6-dev" },
} as const;
export type Machine = keyof typeof COMPILERS;

const FOLDERS = ["kernels", "calls", "ipc", "."] as const;

/** What programs in cVMs include. */
const INCLUDE = "../packages/libos/include";

/** Names of the programs of a folder here, sorted. */
export function programNames(folder: (typeof FOLDERS)[number]): string[] {
  return readdirSync(join(import.meta.dirname, folder))
    .filter((file) => file.endsWith(".c"))
    .map((file) => file.slice(0, -2))
    .sort();
}

/** This machine's processor has fused products and sums, which gcc uses only when told. */
function hasFused(): boolean {
  return process.arch === "x64" && existsSync("/proc/cpuinfo") && /^flags\s*:.*\bfma\b/mu.test(readFileSync("/proc/cpuinfo", "utf8"));
}

/**
 * The folder with all programs for a machine; built unless the cache has them for these sources and this compiler.
 * @throws Error that says what to install, or what the compiler says
 */
export function buildPrograms(machine: Machine, say: (line: string) => void): string {
  const { compiler, packages } = COMPILERS[machine];
  if (findProgram(compiler) === undefined) throw new Error(`there is no ${compiler}: apt-get install ${packages}`);
  const version = spawnSync(compiler, ["--version"], { encoding: "utf8" }).stdout.split("\n")[0] ?? "";
  const special: Readonly<Record<string, readonly string[]>> = machine === "native" && hasFused() ? { fused: ["-mfma"] } : {};
  const hash = createHash("sha256").update(JSON.stringify([FLAGS, special, version]));
  for (const folder of [...FOLDERS, INCLUDE]) {
    const place = join(import.meta.dirname, folder);
    for (const file of readdirSync(place).filter((name) => /\.[ch]$/u.test(name)))
      hash.update(file).update(readFileSync(join(place, file)));
  }
  const target = join(CACHE, `${machine}-${hash.digest("hex").slice(0, 16)}`);
  if (existsSync(target)) return target;
  say(`building the kernels for ${machine} (${version})`);
  const unfinished = `${target}.${process.pid}`;
  mkdirSync(unfinished, { recursive: true });
  for (const folder of FOLDERS) {
    for (const name of programNames(folder)) {
      const source = join(import.meta.dirname, folder, `${name}.c`);
      const args = [...FLAGS, ...(special[name] ?? []), "-o", join(unfinished, name), source, "-lm"];
      const result = spawnSync(compiler, args, { encoding: "utf8" });
      if (result.status !== 0) throw new Error(`${compiler} cannot build ${basename(source)}\n${result.stderr}`);
    }
  }
  for (const old of readdirSync(CACHE))
    if (old.startsWith(`${machine}-`) && join(CACHE, old) !== unfinished) rmSync(join(CACHE, old), { recursive: true });
  renameSync(unfinished, target);
  return target;
}
