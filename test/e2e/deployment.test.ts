import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { cvm, cvmOk, ensureImage, freePort, TEST_HOME } from "../support/cvm.ts";
import type { Result, RunOptions } from "../support/cvm.ts";

const root = join(import.meta.dirname, "..", "..");
const PROJECT = "e2e-deployment";
let folder = "";
let file = "";

/** A verb for the project of the test's file. */
const project = (verb: string, args: readonly string[] = [], options: RunOptions = {}): Promise<Result> =>
  cvm([verb, verb === "logs" ? "--file" : "-f", file, "-p", PROJECT, ...args], { timeoutMs: 110_000, ...options });
const ok = async (verb: string, args: readonly string[] = []): Promise<Result> => {
  const result = await project(verb, args);
  expect(result, result.stderr).toMatchObject({ status: 0 });
  return result;
};
const write = (yaml: string): void => writeFileSync(file, yaml);

interface Seen {
  readonly id: string;
  readonly name: string;
  readonly status: string;
  readonly exitCode: number | undefined;
}
/** Its cVMs by name. */
async function seen(): Promise<Seen[]> {
  const { stdout } = await ok("ps", ["-a", "--format", "json"]);
  const states = JSON.parse(stdout) as { id: string; status: string; exitCode?: number; config: { name: string } }[];
  const all = states.map(({ id, status, exitCode, config }) => ({ id, status, exitCode, name: config.name.slice(PROJECT.length + 1) }));
  return all.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}
const names = async (): Promise<string[]> => (await seen()).map((one) => `${one.name} ${one.status}`);

/** A verb that is interrupted when its output so far makes `when` true; once more each further time. */
function interrupted(
  args: readonly string[],
  when: readonly ((output: string) => boolean)[],
): Promise<{ status: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(
      join(root, "node_modules", ".bin", "node"),
      [join(root, "packages/cli/bin/cvm.js"), "up", "-f", file, "-p", PROJECT, ...args],
      {
        env: { ...process.env, CVM_HOME: TEST_HOME },
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    const left = [...when];
    let output = "";
    const timer = setTimeout(() => child.kill("SIGKILL"), 100_000);
    const more = (chunk: Buffer): void => {
      output += chunk.toString();
      if (left[0]?.(output) !== true) return;
      left.shift();
      child.kill("SIGINT");
    };
    child.stdout.on("data", more);
    child.stderr.on("data", more);
    child.on("error", reject);
    child.on("close", (status) => {
      clearTimeout(timer);
      resolve({ status, output });
    });
  });
}

beforeAll(async () => {
  await ensureImage("busybox", ["busybox-static"], "sh");
  await ensureImage("redis", ["redis-server", "redis-tools"]);
  folder = mkdtempSync(join(tmpdir(), "cvm-deployment-"));
  file = join(folder, "cvm.yaml");
});
beforeEach(async () => {
  await cvm(["down", "-p", PROJECT, "-t", "0"], { timeoutMs: 100_000 });
});
afterAll(async () => {
  await cvm(["down", "-p", PROJECT, "-t", "0"], { timeoutMs: 100_000 });
  rmSync(folder, { recursive: true, force: true });
});

const REDIS = `
services:
  cache:
    image: redis
    command: redis-server --protected-mode no --save ''
    healthcheck: { test: [CMD, redis-cli, ping], interval: 300ms, timeout: 60s, retries: 100 }
    networks: [back]
    volumes: ["data:/data"]
    init: true
  seed:
    image: redis
    command: redis-cli -h cache set greeting hello
    networks: [back]
    depends_on: { cache: { condition: service_healthy } }
  web:
    image: busybox
    command: sh -c 'printf "GET greeting\\r\\n" | nc -w 5 cache 6379; exec sleep 1000'
    networks: { back: , front: { aliases: [site] } }
    depends_on: { seed: { condition: service_completed_successfully } }
    init: true
  outsider:
    image: busybox
    command: [sh, -c, "nslookup site; nslookup cache; echo asked; exec sleep 1000"]
    networks: [front]
    depends_on: [web]
    init: true
networks: { front: , back: { internal: true } }
volumes: { data: }
`;

describe("services with Redis", () => {
  test("start after what they depend on, reach each other by name, are kept, scaled and taken down", async () => {
    write(REDIS);
    const first = await ok("up", ["-d"]);
    const order = first.stderr.split("\n").filter((line) => line.includes("started"));
    expect(order.map((line) => line.replace(`${PROJECT}-`, "").split(":")[0])).toEqual(["cache-1", "seed-1", "web-1", "outsider-1"]);
    const before = await seen();
    expect(before.map((one) => `${one.name} ${one.status}`)).toEqual([
      "cache-1 running",
      "outsider-1 running",
      "seed-1 exited",
      "web-1 running",
    ]);
    expect((await ok("ps")).stdout).toMatch(/\(healthy\).*cache/u);
    await expect
      .poll(async () => (await project("logs", ["web"])).stdout, { timeout: 60_000, interval: 500 })
      .toMatch(/^web-1 +\| hello$/mu);
    expect((await ok("logs", ["seed", "--no-log-prefix"])).stdout).toBe("OK\n");

    // Who has no network in common does not find the other.
    await expect.poll(async () => (await project("logs", ["outsider"])).stdout, { timeout: 60_000, interval: 500 }).toContain("asked");
    const { stdout: told } = await ok("logs", ["outsider", "--no-log-prefix"]);
    expect(told).toMatch(/Name:\s+site/u);
    expect(told).not.toMatch(/Name:\s+cache/u);
    const { stdout: json } = await ok("ps", ["--format", "json"]);
    const { address } = (JSON.parse(json) as { address: string; config: { name: string } }[]).find((one) =>
      one.config.name.includes("cache"),
    )!;
    const ping = ["sh", "-c", `printf 'PING\\r\\n' | nc -w 5 ${address} 6379`];
    expect((await cvm(["exec", `${PROJECT}-web-1`, ...ping])).stdout).toContain("+PONG");
    expect((await cvm(["exec", `${PROJECT}-outsider-1`, ...ping])).stdout).toBe("");
    expect((await cvm(["run", "--rm", "busybox", ...ping])).stdout).toBe("");

    // Nothing has changed: the same ones run; what had done its work does it again.
    const again = await ok("up", ["-d"]);
    expect(again.stderr.split("\n").filter((line) => line.endsWith(": runs"))).toHaveLength(3);
    expect((await seen()).map((one) => one.id)).toEqual(before.map((one) => one.id));

    await ok("up", ["-d", "--no-deps", "--scale", "web=3", "web"]);
    expect((await names()).filter((name) => name.startsWith("web"))).toEqual(["web-1 running", "web-2 running", "web-3 running"]);
    const addresses = await cvmOk(["exec", `${PROJECT}-outsider-1`, "cat", "/etc/hosts"]);
    expect(addresses.split("\n").filter((line) => line.endsWith("\tweb"))).toHaveLength(3);
    await ok("up", ["-d", "--no-deps", "web"]);
    expect((await names()).filter((name) => name.startsWith("web"))).toEqual(["web-1 running"]);

    expect(existsSync(join(TEST_HOME, "volumes", `${PROJECT}_data`))).toBe(true);
    await ok("down", ["-v"]);
    expect(await seen()).toEqual([]);
    expect(existsSync(join(TEST_HOME, "volumes", `${PROJECT}_data`))).toBe(false);
  });

  test("that become unhealthy, or do not complete, keep back what waits for them", async () => {
    write(`
services:
  sick:
    image: busybox
    command: sleep 1000
    healthcheck: { test: "echo it hurts; exit 1", interval: 100ms, timeout: 60s, retries: 2 }
    init: true
  waits: { image: busybox, command: sleep 1000, depends_on: { sick: { condition: service_healthy } } }
  fails: { image: busybox, command: sh -c 'exit 3' }
  after: { image: busybox, command: sleep 1000, depends_on: { fails: { condition: service_completed_successfully } } }
  anyway: { image: busybox, command: sleep 1000, init: true, depends_on: { fails: { condition: service_completed_successfully, required: false } } }
`);
    const result = await project("up", ["-d"]);
    expect(result.status).toBe(1);
    expect(result.stderr).toContain('"sick"');
    expect(result.stderr).toContain("is unhealthy; its last check said: it hurts");
    expect(result.stderr).toContain('anyway starts without fails: [failed] "fails" did not complete: it ended with 3');
    expect(await names()).toEqual(["anyway-1 running", "fails-1 exited", "sick-1 running"]);
  });
});

test("what has changed is made anew, with what asks for that; what the file has no more is named, and removed if asked to", async () => {
  const file = (text: string): string => `
services:
  a: { image: busybox, command: sleep 1000, init: true, environment: { A: ${text} } }
  b: { image: busybox, command: sleep 1000, init: true, depends_on: { a: { condition: service_started, restart: true } } }
  c: { image: busybox, command: sleep 1000, init: true }
`;
  write(file("one"));
  await ok("up", ["-d"]);
  const [a, b, c] = await seen();
  write(file("two").replace(/ {2}c:.*\n/u, ""));
  const second = await ok("up", ["-d"]);
  expect(second.stderr).toContain("a-1: made anew and started");
  expect(second.stderr).toContain("b-1: started again, because what it depends on was made anew");
  expect(second.stderr).toMatch(/has no more: \S+-c-1; --remove-orphans/u);
  const [newA, sameB, sameC] = await seen();
  expect(newA!.id).not.toBe(a!.id);
  expect([sameB!.id, sameC!.id]).toEqual([b!.id, c!.id]);
  expect(await cvmOk(["exec", `${PROJECT}-a-1`, "sh", "-c", "echo $A"])).toBe("two");
  await ok("up", ["-d", "--remove-orphans"]);
  expect(await names()).toEqual(["a-1 running", "b-1 running"]);
  // An init above it: SIGTERM ends even sleep, long before its time is over.
  await cvmOk(["stop", `${PROJECT}-a-1`]);
  expect((await seen())[0]).toMatchObject({ status: "exited", exitCode: 143 });
});

describe("attached", () => {
  test("output has names before its lines, and the exit code is that of the service asked for", async () => {
    write(`
services:
  server: { image: busybox, command: [sh, -c, "echo up; sleep 1000"], init: true }
  test: { image: busybox, command: [sh, -c, "echo one; echo two >&2; exit 7"], depends_on: [server] }
`);
    const result = await project("up", ["--exit-code-from", "test"]);
    expect(result.status).toBe(7);
    expect(result.stdout.split("\n").filter((line) => line.startsWith("test"))).toEqual(["test-1    | one", "test-1    | two"]);
    expect(result.stdout).toContain("server-1  | up\n");
    expect(await names()).toEqual(["server-1 exited", "test-1 exited"]);
  });

  test("an interrupt stops all, dependents first; a second one kills", async () => {
    write(`
services:
  a: { image: busybox, command: [sh, -c, "trap 'echo a ends; exit 0' TERM; echo a up; while :; do sleep 0.2; done"] }
  b: { image: busybox, command: [sh, -c, "trap 'echo b ends; sleep 2; exit 0' TERM; echo b up; while :; do sleep 0.2; done"], depends_on: [a] }
`);
    const up = (output: string): boolean => output.includes("a up") && output.includes("b up");
    const gentle = await interrupted([], [up]);
    expect(gentle.status).toBe(130);
    expect(gentle.output.indexOf("b ends")).toBeGreaterThan(0);
    expect(gentle.output.indexOf("a ends")).toBeGreaterThan(gentle.output.indexOf("b ends"));
    expect((await seen()).map((one) => one.exitCode)).toEqual([0, 0]);

    write(
      `services:\n  a: { image: busybox, command: [sh, -c, "trap '' TERM; echo a up; while :; do sleep 0.2; done"], stop_grace_period: 10m }\n`,
    );
    const rough = await interrupted(
      ["--remove-orphans"],
      [(output) => output.includes("a up"), (output) => output.includes("again to kill")],
    );
    expect(rough.status).toBe(130);
    expect((await seen()).map((one) => `${one.name} ${one.exitCode}`)).toEqual(["a-1 137"]);
  });

  test("ends by itself when all have ended", async () => {
    write("services:\n  a: { image: busybox, command: echo done }\n");
    const result = await project("up", []);
    expect(result).toMatchObject({ status: 0, stdout: "a-1  | done\n" });
  });
});

describe("files that cannot be used", () => {
  test("are refused with place and suggestion, and nothing is started", async () => {
    write("services:\n  a:\n    image: busybox\n    comand: x\n");
    const wrong = await project("up", ["-d"]);
    expect(wrong.status).toBe(15);
    expect(wrong.stderr).toContain(`${file}:4:5: unknown key "comand"; did you mean "command"?`);
    const missing = await cvm(["up", "-f", join(folder, "none.yaml")]);
    expect(missing.status).toBe(14);
    write("services:\n  a: { image: nobody-has-this }\n  b: { image: busybox }\n");
    const image = await project("up", ["-d"]);
    expect(image.status).toBe(15);
    expect(image.stderr).toContain(`${file}:2:3: `);
    expect(image.stderr).toContain("nobody-has-this");
    expect(await seen()).toEqual([]);
  });

  test("ask for what the monitor cannot do yet", async () => {
    write("services:\n  a: { image: busybox, x-cvm: { spawn: true } }\n");
    expect((await project("config", ["-q"])).status).toBe(0);
    const result = await project("up", ["-d"]);
    expect(result.status).toBe(1);
    expect(result.stderr).toContain("[unavailable]");
    expect(result.stderr).toContain("spawn (a)");
    expect(await seen()).toEqual([]);
  });
});

describe("objects that services share", () => {
  const yaml = (grants: string): string => `services:
  writer: { image: busybox, command: [sh, -c, "while :; do printf %-9s tick > /cp/file/board; sleep 0.2; done"], x-cvm: { grants: { files: { board: [write] } } } }
  reader: { image: busybox, command: [sleep, "1000"], x-cvm: { grants: { files: { board: ${grants} } } } }
  other: { image: busybox, command: [sleep, "1000"] }
x-cvm: { files: { board: { size: 4k, content: "at first!" } } }
`;
  const inside = async (service: string, script: string): Promise<string> => {
    const { stdout, stderr } = await cvm(["exec", `${PROJECT}-${service}-1`, "sh", "-c", script]);
    return (stdout + stderr).trim();
  };

  test("are there for those that were granted, as far as they were; caps and audit show it; down takes them away", async () => {
    write(yaml("[read]"));
    await ok("up", ["-d"]);
    await expect.poll(() => inside("reader", "head -c 9 /cp/file/board"), { timeout: 30_000 }).toBe("tick");
    expect(await inside("reader", "echo x > /cp/file/board")).toContain("Permission denied");
    expect(await inside("other", "ls /cp/file; cat /cp/file/board")).toContain("No such file");
    const audit = JSON.parse((await ok("audit", ["--format", "json"])).stdout) as unknown[];
    expect(audit).toMatchObject([
      {
        project: PROJECT,
        kind: "file",
        name: "board",
        size: 4096,
        grants: [
          { cvm: `${PROJECT}-writer-1`, rights: ["write"] },
          { cvm: `${PROJECT}-reader-1`, rights: ["read"] },
        ],
      },
    ]);
    await cvm(["exec", `${PROJECT}-reader-1`, "true"]);
    const caps = await cvmOk(["caps", `${PROJECT}-reader-1`]);
    expect(caps).toMatch(/process \d+, data +0x[\da-f]+ \[rwR,0x[\da-f]+-0x[\da-f]+\]/u);
    await ok("down");
    expect(JSON.parse((await ok("audit", ["--format", "json"])).stdout)).toEqual([]);
  });

  test("a grant that is taken away by another up is gone for what runs", async () => {
    write(yaml("[read, write]"));
    await ok("up", ["-d"]);
    expect(await inside("reader", "printf mine >> /cp/file/board && echo written")).toBe("written");
    const running = cvm(
      [
        "exec",
        `${PROJECT}-reader-1`,
        "sh",
        "-c",
        "exec 3<>/cp/file/board; echo open; while head -c 1 <&3 > /dev/null 2>&1; do sleep 0.1; done; echo gone",
      ],
      { timeoutMs: 60_000 },
    );
    await expect
      .poll(async () => (await cvmOk(["audit", "-p", PROJECT, "--format", "json"])).includes('"opened": 1'), { timeout: 30_000 })
      .toBe(true);
    write(yaml("[write]"));
    await ok("up", ["-d", "--no-recreate"]);
    expect((await running).stdout.trim().split("\n")).toEqual(["open", "gone"]);
    expect(await inside("reader", "head -c 4 /cp/file/board")).toContain("Permission denied");
  });
});

describe("the example of a shared buffer", () => {
  test("shows what one cVM writes to another, and nothing to a third", async () => {
    await ensureImage("python", ["python3"]);
    const up = await cvm(["up", "-f", join(root, "examples", "board", "cvm.yaml"), "-p", PROJECT, "--no-color"], { timeoutMs: 110_000 });
    expect(up, up.stderr).toMatchObject({ status: 0 });
    expect(up.stdout).toContain("may not write: Permission denied");
    expect(up.stdout).toContain("sees reading  5");
    expect(up.stdout + up.stderr).toContain("can't open '/cp/file/board': No such file or directory");
  });
});

describe("the example", () => {
  const example = join(root, "examples", "counter", "cvm.yaml");

  test("counts with nginx, two Python servers and Redis", async () => {
    await ensureImage("nginx", ["nginx"]);
    await ensureImage("python", ["python3"]);
    const port = await freePort();
    const options = { env: { PORT: String(port) }, timeoutMs: 280_000 };
    const up = await cvm(["up", "-f", example, "-p", PROJECT, "-d", "--wait"], options);
    expect(up, up.stderr).toMatchObject({ status: 0 });
    const visits: string[] = [];
    await expect
      .poll(
        async () => {
          const response = await fetch(`http://127.0.0.1:${port}/`).catch(() => undefined);
          if (response?.status === 200) visits.push(await response.text());
          return visits.length;
        },
        { timeout: 120_000, interval: 200 },
      )
      .toBeGreaterThanOrEqual(4);
    expect(visits.map((text) => Number(/visit (\d+)/u.exec(text)?.[1]))).toEqual(visits.map((_, index) => index + 1));
    expect(new Set(visits.map((text) => text.split(" ").at(-1)!.trim()))).toEqual(new Set([`${PROJECT}-web-1`, `${PROJECT}-web-2`]));
    const down = await cvm(["down", "-f", example, "-p", PROJECT, "-v"], options);
    expect(down).toMatchObject({ status: 0 });
    expect(await cvmOk(["ps", "-aq", "-p", PROJECT])).toBe("");
    expect(existsSync(join(TEST_HOME, "volumes", `${PROJECT}_data`))).toBe(false);
  }, 420_000);
});
