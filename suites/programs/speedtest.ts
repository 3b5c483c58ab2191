/** SQLite's own speedtest1, of Debian's source package: the digest of all results here and in a cVM. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { findProgram } from "../../bench/places.ts";
import { cvm, ensureImage, run } from "../machine.ts";
import { SOURCES } from "../places.ts";
import type { Counts } from "../result.ts";
import { ensureSource } from "../source.ts";
import { UnavailableError } from "../unavailable.ts";
import { IMAGE, PACKAGES } from "./pipelines.ts";

/** One processor has one way to round: no contraction, and no long double, which the two machines have of different sizes. */
const FLAGS = ["-O2", "-static", "-ffp-contract=off", "-DSQLITE_THREADSAFE=0", "-DSQLITE_OMIT_LOAD_EXTENSION", "-DSQLITE_ENABLE_RTREE"];
const COMPILERS = { "speedtest1-riscv64": "riscv64-linux-gnu-gcc", "speedtest1-native": "gcc" } as const;
const TOOLS = ["make", "gcc", "riscv64-linux-gnu-gcc", "tclsh"];
const TIMEOUT = 900;

/** Sets of tests, journals and places. */
const RUNS: Readonly<Record<string, readonly string[]>> = {
  "main, delete": ["--testset", "main"],
  "main, wal": ["--testset", "main", "--journal", "wal"],
  "main, in memory": ["--testset", "main", "--memdb"],
  "main, mapped file": ["--testset", "main", "--mmap", "4000000"],
  "main, UTF-16, without rowid": ["--testset", "main", "--utf16be", "--without-rowid"],
  cte: ["--testset", "cte"],
  orm: ["--testset", "orm"],
  rtree: ["--testset", "rtree"],
  fp: ["--testset", "fp", "--nolongdouble"],
};
const SMALL = ["main, wal", "rtree"];

/** Builds both programs unless they are there. @returns their folder */
async function build(say: (text: string) => void): Promise<string> {
  const folder = join(SOURCES, `speedtest1-${createHash("sha256").update(FLAGS.join(" ")).digest("hex").slice(0, 8)}`);
  if (existsSync(folder)) return folder;
  const missing = TOOLS.filter((tool) => findProgram(tool) === undefined);
  if (missing.length > 0)
    throw new UnavailableError(
      `speedtest1 is built with ${missing.join(", ")}: apt-get install make tcl gcc libc6-dev gcc-riscv64-linux-gnu libc6-dev-riscv64-cross`,
    );
  const source = await ensureSource("sqlite3", say);
  say("building speedtest1");
  const unfinished = `${folder}.${process.pid}`;
  mkdirSync(unfinished, { recursive: true });
  const step = async (command: string, ...args: readonly string[]): Promise<void> => {
    const { status, output } = await run(command, args, { timeout: TIMEOUT, cwd: unfinished });
    if (status !== 0) throw new Error(`speedtest1 cannot be built: ${command}: ${output.trim().slice(-500)}`);
  };
  await step(join(source, "configure"));
  await step("make", "sqlite3.c");
  for (const [program, compiler] of Object.entries(COMPILERS))
    await step(compiler, ...FLAGS, "-I.", "-o", program, "sqlite3.c", join(source, "test", "speedtest1.c"), "-lm");
  rmSync(folder, { recursive: true, force: true });
  renameSync(unfinished, folder);
  return folder;
}

/** What it printed but for the times, which ends with the digest of all results. @throws Error when there is none */
export function resultsOf(text: string): string {
  if (!/^Verification Hash: \d+ [\da-f]{16,}$/mu.test(text)) throw new Error(`no digest: ${text.trim().slice(-200)}`);
  return text.replaceAll(/\.+ +\d+\.\d+s$/gmu, "").trim();
}

export async function runSpeedtest(small: boolean, say: (text: string) => void): Promise<Counts> {
  const folder = await build(say);
  await ensureImage(IMAGE, PACKAGES, say);
  const size = small ? "2" : "20";
  const failed: string[] = [];
  const names = Object.keys(RUNS).filter((name) => !small || SMALL.includes(name));
  for (const name of names) {
    const options = [...RUNS[name]!, "--size", size, "--verify"];
    const database = options.includes("--memdb") ? [] : ["/tmp/cvm-speedtest.db"];
    for (const end of ["", "-wal", "-shm", "-journal"]) rmSync(`/tmp/cvm-speedtest.db${end}`, { force: true });
    try {
      const here = await run(join(folder, "speedtest1-native"), [...options, ...database], { timeout: TIMEOUT });
      const there = await cvm(
        ["run", "--rm", "-v", `${folder}:/speedtest:ro`, IMAGE, "/speedtest/speedtest1-riscv64", ...options, ...database],
        {
          timeout: TIMEOUT,
          keep: `speedtest1-${name.replaceAll(/\W+/gu, "-")}.txt`,
        },
      );
      say(`speedtest1 ${name}: ${here.seconds.toFixed(1)} s here, ${there.seconds.toFixed(1)} s in a cVM`);
      if (resultsOf(here.output) !== resultsOf(there.output)) failed.push(`${name}: other results`);
    } catch (error) {
      failed.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return { run: names.length, passed: names.length - failed.length, skipped: 0, failed };
}
