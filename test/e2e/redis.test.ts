import { spawnSync } from "node:child_process";
import { createServer } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cvm, cvmOk, ensureImage, ensureProgram, freePort } from "../support/cvm.ts";

let port = 0;

beforeAll(async () => {
  await ensureImage("redis", ["redis-server", "redis-tools"]);
  port = await freePort();
  await cvm(["rm", "-f", "cache"]);
  await cvmOk(["run", "-d", "--name", "cache", "-p", `127.0.0.1:${port}:6379`, "redis", "redis-server", "--protected-mode", "no"]);
  for (let tries = 0; ; tries++) {
    if ((await cvm(["logs", "cache"])).stdout.includes("Ready to accept connections")) break;
    if (tries > 100) throw new Error(`redis did not come up:\n${(await cvm(["logs", "cache"])).stdout}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
});
afterAll(async () => {
  await cvm(["rm", "-f", "cache"]);
});

const hasTools = ensureProgram("redis-cli", "redis-tools") && ensureProgram("redis-benchmark", "redis-tools");

describe.skipIf(!hasTools)("with this machine's redis-cli and redis-benchmark", () => {
  test("SET, GET and a large value through the published port", () => {
    const cli = (...args: string[]): string =>
      spawnSync("redis-cli", ["-p", String(port), ...args], { encoding: "utf8", timeout: 20_000 }).stdout.trim();
    expect(cli("SET", "k", "v")).toBe("OK");
    expect(cli("GET", "k")).toBe("v");
    const large = "x".repeat(300_000);
    expect(
      spawnSync("redis-cli", ["-p", String(port), "-x", "SET", "large"], { input: large, encoding: "utf8", timeout: 20_000 }).stdout.trim(),
    ).toBe("OK");
    expect(cli("GET", "large")).toBe(large);
  });

  test("redis-benchmark finishes without an error", () => {
    const result = spawnSync("redis-benchmark", ["-p", String(port), "-n", "100000", "-c", "50", "-t", "set,get", "--csv"], {
      encoding: "utf8",
      timeout: 110_000,
    });
    expect(result.stderr).toBe("");
    expect(result.status).toBe(0);
    const rows = result.stdout.split("\n").filter((line) => /^"(?:SET|GET)"/u.test(line));
    expect(rows).toHaveLength(2);
    for (const row of rows) expect(Number(row.split(",")[1]!.replaceAll('"', ""))).toBeGreaterThan(100);
  });
});

test("a second cVM reaches it by name and stores", async () => {
  expect(await cvmOk(["run", "--rm", "redis", "redis-cli", "-h", "cache", "SET", "from", "second"])).toBe("OK");
  expect(await cvmOk(["run", "--rm", "redis", "redis-cli", "-h", "cache", "GET", "from"])).toBe("second");
});

test("a name that nobody has is an error of the program", async () => {
  const result = await cvm(["run", "--rm", "redis", "redis-cli", "-h", "nobody", "PING"]);
  expect(result.status).toBe(1);
  expect(result.stderr + result.stdout).toContain("nobody");
});

test("a background save forks, and the file is there", async () => {
  expect(await cvmOk(["exec", "cache", "redis-cli", "SAVE"])).toBe("OK");
  expect(await cvmOk(["exec", "cache", "redis-cli", "BGSAVE"])).toContain("Background saving started");
  for (let tries = 0; tries < 100; tries++) {
    const info = await cvmOk(["exec", "cache", "redis-cli", "INFO", "persistence"]);
    if (info.includes("rdb_bgsave_in_progress:0")) {
      expect(info).toContain("rdb_last_bgsave_status:ok");
      return;
    }
  }
  throw new Error("the background save did not end");
});

test("a port in use is a clear error and leaves nothing behind", async () => {
  const server = createServer();
  const taken = await freePort();
  await new Promise<void>((resolve) => server.listen(taken, "127.0.0.1", resolve));
  try {
    const result = await cvm(["run", "--rm", "--name", "unlucky", "-p", `127.0.0.1:${taken}:6379`, "redis", "redis-server"]);
    expect(result.status).toBe(125);
    expect(result.stderr).toContain(`127.0.0.1:${taken}`);
    expect(result.stderr).toContain("in use");
    expect(await cvmOk(["ps", "-a", "--format", "json"])).not.toContain("unlucky");
  } finally {
    server.close();
  }
});

test("strace prints calls in strace's style", async () => {
  const result = await cvm(["run", "--rm", "--strace", "redis", "redis-cli", "--version"]);
  expect(result.status).toBe(0);
  expect(result.stderr).toMatch(/openat\(AT_FDCWD, "\/lib\/riscv64-linux-gnu\/[^"]+", O_RDONLY\|O_CLOEXEC\) = 3/u);
});
