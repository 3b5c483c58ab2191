/** Programs that judge themselves by Linux semantics, natively and inside a cVM: the same lines, all ok. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { makeScratchImage } from "../../packages/cli/src/images/scratch.ts";
import { cvm, ensureImage, type Result, TEST_HOME } from "../support/cvm.ts";
import { build, NAMES, runHere, whyNot } from "./programs.ts";

const reason = whyNot();
if (reason !== null) console.warn(`GUEST PROGRAMS SKIPPED: ${reason}`);

/** Runs a program in a cVM of its own; one that hangs is ended, not left behind. */
async function runInside(name: string, args: readonly string[]): Promise<Result> {
  const result = await cvm(["run", "--rm", "--name", name, ...args], { timeoutMs: 100_000 });
  if (result.status === 128) await cvm(["rm", "-f", name]);
  return result;
}

const lines = (result: Result): string[] => result.stdout.trimEnd().split("\n");

describe.skipIf(reason !== null)("guest programs", () => {
  const expected = new Map<string, string[]>();
  let dynamic = "";

  beforeAll(async () => {
    process.env["CVM_HOME"] = TEST_HOME;
    const native = build("native");
    for (const name of NAMES) {
      const result = await runHere(join(native, name));
      expect(
        lines(result).filter((line) => !line.endsWith(": ok")),
        `${name} on this machine`,
      ).toEqual(["all ok"]);
      expected.set(name, lines(result));
    }
    const folder = build("static");
    await makeScratchImage(
      "guests",
      NAMES.map((path) => ({ path, data: readFileSync(join(folder, path)), mode: 0o755 })),
      { Env: [], WorkingDir: "/" },
    );
    dynamic = build("dynamic");
    await ensureImage("redis", ["redis-server", "redis-tools"]);
  });

  test.each(NAMES)("%s, statically linked, in an image of its own", async (name) => {
    const result = await runInside(`guest-static-${name}`, ["guests", `/${name}`]);
    expect(lines(result)).toEqual(expected.get(name));
    expect(result.status).toBe(0);
  });

  test("memory that is used up: ENOMEM where it can be foreseen, else the largest process is killed and the log says so", async () => {
    const { status, stdout, stderr } = await cvm(["run", "--rm", "-m", "64m", "guests", "/reservations", "hog"], { timeoutMs: 100_000 });
    expect(stdout.trimEnd().split("\n")).toEqual([
      "more than the limit: Cannot allocate memory",
      "without reserve: mapped",
      "a child that uses it all: signal 9",
      "pieces until there is no memory: right, Cannot allocate memory",
      "fork: Cannot allocate memory",
      "sbrk: Cannot allocate memory",
    ]);
    expect(status).toBe(7);
    expect(stderr).toMatch(/^out of memory: killed process 2 \(reservations\), which uses 6\d{4} KiB of 65536 KiB$/mu);
  });

  test("asking for the time makes no system call", async () => {
    const kinds: readonly (readonly string[])[] = [
      ["guests", "/vdso"],
      ["-v", `${dynamic}:/guests:ro`, "redis", "/guests/vdso"],
    ];
    for (const args of kinds) {
      const { status, stdout, stderr } = await cvm(["run", "--rm", "--strace", ...args, "loop"], { timeoutMs: 100_000 });
      expect({ status, stdout }).toEqual({ status: 0, stdout: "done\n" });
      expect(stderr).toContain("exit_group(0)");
      expect(stderr).not.toMatch(/clock_get|gettimeofday|getcpu/u);
    }
  });

  test.each(NAMES)("%s, dynamically linked, on Debian's C library", async (name) => {
    const result = await runInside(`guest-dynamic-${name}`, ["-v", `${dynamic}:/guests:ro`, "redis", `/guests/${name}`]);
    expect(lines(result)).toEqual(expected.get(name));
    expect(result.status).toBe(0);
  });
});
