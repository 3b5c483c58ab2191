/**
 * The topology in which every message between the monitor and the library OS is serialised and asynchronous. It has a host of
 * its own, with its own home that shares the test home's images.
 */
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ATTEMPTS, makeHostileImage } from "../attacks/hostile.ts";
import { cvm as run, ensureImage, ensureProgram, freePort, TEST_HOME } from "../support/cvm.ts";
import type { Result, RunOptions } from "../support/cvm.ts";

const home = mkdtempSync(join(tmpdir(), "cvm-ported-"));
const cvm = (args: readonly string[], options: RunOptions = {}): Promise<Result> =>
  run(args, { ...options, env: { CVM_HOME: home, CVM_LIBRARY_OS: "port" } });

beforeAll(async () => {
  await ensureImage("busybox", ["busybox-static"], "sh");
  await ensureImage("redis", ["redis-server", "redis-tools"]);
  process.env["CVM_HOME"] = TEST_HOME;
  await makeHostileImage("hostile");
  cpSync(join(TEST_HOME, "images"), join(home, "images"), { recursive: true });
});
afterAll(async () => {
  await cvm(["host", "stop"]);
  rmSync(home, { recursive: true, force: true });
});

test("busybox: exit codes, pipes and files over the port", async () => {
  expect(await cvm(["run", "--rm", "busybox", "sh", "-c", "exit 7"])).toMatchObject({ status: 7, stderr: "" });
  const result = await cvm(
    ["run", "--rm", "-i", "busybox", "sh", "-c", "cat > /tmp/f; for i in 3 1 2; do echo $i; done | sort | tr '\\n' ' '; cat /tmp/f"],
    { input: "typed\n" },
  );
  expect(result).toMatchObject({ status: 0, stdout: "1 2 3 typed\n" });
  expect((await cvm(["run", "--rm", "busybox", "no-such-program"])).status).toBe(127);
});

test("redis over the port: from outside and from a second cVM", async () => {
  const port = await freePort();
  expect(
    (await cvm(["run", "-d", "--name", "cache", "-p", `127.0.0.1:${port}:6379`, "redis", "redis-server", "--protected-mode", "no"])).status,
  ).toBe(0);
  try {
    for (let tries = 0; tries < 100 && !(await cvm(["logs", "cache"])).stdout.includes("Ready to accept connections"); tries++) {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect((await cvm(["run", "--rm", "redis", "redis-cli", "-h", "cache", "SET", "k", "v"])).stdout.trim()).toBe("OK");
    expect((await cvm(["run", "--rm", "redis", "redis-cli", "-h", "cache", "GET", "k"])).stdout.trim()).toBe("v");
    if (ensureProgram("redis-benchmark", "redis-tools")) {
      const result = spawnSync("redis-benchmark", ["-p", String(port), "-n", "10000", "-c", "50", "-t", "set,get", "--csv"], {
        encoding: "utf8",
        timeout: 60_000,
      });
      expect(result.status).toBe(0);
      expect(result.stderr).toBe("");
    }
  } finally {
    await cvm(["rm", "-f", "cache"]);
  }
});

test.each(ATTEMPTS.filter(({ name }) => ["load", "widen", "forge", "pointer-read", "pointer-straddle"].includes(name)))(
  "hostile over the port: $title",
  async (attempt) => {
    const result = await cvm(["run", "--rm", "hostile", `/hostile/${attempt.name}`]);
    expect(attempt.held(result), `exit ${result.status}, said: ${result.stderr}${result.stdout}`).toBe(true);
  },
);
