import { beforeAll, expect, test } from "vitest";
import { cvm, cvmOk, ensureImage } from "../support/cvm.ts";

beforeAll(async () => {
  await ensureImage("busybox", ["busybox-static"], "sh");
});

test("the guest's exit code is the command's", async () => {
  expect(await cvm(["run", "--rm", "busybox", "sh", "-c", "exit 7"])).toMatchObject({ status: 7, stderr: "" });
});

test("a missing command is 127 and named", async () => {
  const result = await cvm(["run", "--rm", "busybox", "no-such-program"]);
  expect(result.status).toBe(127);
  expect(result.stderr).toContain('"no-such-program"');
});

test("a file that is no program is 126", async () => {
  const result = await cvm(["run", "--rm", "busybox", "/etc/passwd"]);
  expect(result.status).toBe(126);
});

test("a bad flag is a usage error that names it", async () => {
  const result = await cvm(["run", "--frobnicate", "busybox"]);
  expect(result.status).toBe(125);
  expect(result.stderr).toContain("--frobnicate");
});

test("an image that does not exist is a clear error", async () => {
  const result = await cvm(["run", "--rm", "no-such-image"]);
  expect(result.status).toBe(125);
  expect(result.stderr).toContain('[not_found] no image "no-such-image:latest"');
});

test("a signal ends with 128 + n", async () => {
  expect((await cvm(["run", "--rm", "busybox", "sh", "-c", "sh -c 'kill -TERM $$'; exit $?"])).status).toBe(143);
});

test("environment, working directory, user, host name and standard input arrive", async () => {
  const result = await cvm(
    [
      "run",
      "--rm",
      "-i",
      "-e",
      "COLOUR=blue",
      "-w",
      "/tmp",
      "-u",
      "daemon",
      "-h",
      "box",
      "busybox",
      "sh",
      "-c",
      "echo $COLOUR; pwd; id -u; hostname; cat",
    ],
    { input: "from outside\n" },
  );
  expect(result.stdout).toBe("blue\n/tmp\n1\nbox\nfrom outside\n");
  expect(result.status).toBe(0);
});

test("pipes, forks and files work in a shell", async () => {
  expect(
    await cvmOk([
      "run",
      "--rm",
      "busybox",
      "sh",
      "-c",
      "mkdir /data && for i in 3 1 2; do echo $i; done | sort > /data/n && cat /data/n | tr '\\n' ' ' && rm -r /data && ls /data 2>/dev/null; uname -m",
    ]),
  ).toBe("1 2 3 riscv64");
});

test("a detached cVM: ps, logs, exec, inspect, stop, rm", async () => {
  const id = await cvmOk(["run", "-d", "--name", "everyday", "busybox", "sh", "-c", "echo started; while true; do sleep 1; done"]);
  try {
    expect(id).toMatch(/^[0-9a-f]{64}$/u);
    expect(JSON.parse(await cvmOk(["ps", "--format", "json"]))).toEqual(
      expect.arrayContaining([expect.objectContaining({ id, status: "running" })]),
    );
    expect(await cvmOk(["exec", "everyday", "sh", "-c", "echo inside"])).toBe("inside");
    expect((await cvm(["exec", "everyday", "sh", "-c", "exit 3"])).status).toBe(3);
    expect(await cvmOk(["logs", "everyday"])).toBe("started");
    expect(JSON.parse(await cvmOk(["inspect", "everyday"]))).toEqual([
      expect.objectContaining({ id, address: expect.stringMatching(/^10\./u) as string }),
    ]);
    const twice = await cvm(["run", "-d", "--name", "everyday", "busybox", "true"]);
    expect(twice.status).toBe(125);
    expect(twice.stderr).toContain('[conflict] the name "everyday" is in use');
    await cvmOk(["stop", "-t", "1", "everyday"]);
    expect(JSON.parse(await cvmOk(["ps", "-a", "--format", "json"]))).toEqual(
      expect.arrayContaining([expect.objectContaining({ id, status: "exited" })]),
    );
  } finally {
    await cvm(["rm", "-f", "everyday"]);
  }
  expect(await cvmOk(["ps", "-aq", "--no-trunc"])).not.toContain(id);
});

test("the writable layer outlives a restart, and images stay as they are", async () => {
  await cvmOk(["run", "--name", "keeper", "busybox", "sh", "-c", "cat /kept 2>/dev/null; echo again >> /kept"]);
  try {
    await cvmOk(["start", "keeper"]);
    await cvmOk(["wait", "keeper"]);
    expect(await cvmOk(["logs", "keeper"])).toBe("again");
    expect((await cvm(["run", "--rm", "busybox", "cat", "/kept"])).status).toBe(1);
  } finally {
    await cvmOk(["rm", "keeper"]);
  }
});

test("a volume is shared with the host machine and can be read-only", async () => {
  const { mkdtempSync, readFileSync, rmSync } = await import("node:fs");
  const folder = mkdtempSync("/tmp/cvm-volume-");
  try {
    await cvmOk(["run", "--rm", "-v", `${folder}:/v`, "busybox", "sh", "-c", "echo hello > /v/file"]);
    expect(readFileSync(`${folder}/file`, "utf8")).toBe("hello\n");
    expect((await cvm(["run", "--rm", "-v", `${folder}:/v:ro`, "busybox", "sh", "-c", "echo x > /v/file"])).status).not.toBe(0);
    expect(readFileSync(`${folder}/file`, "utf8")).toBe("hello\n");
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("nothing is left behind", async () => {
  const states = JSON.parse(await cvmOk(["ps", "-a", "--format", "json"])) as { status: string; config: { remove: boolean } }[];
  expect(states.filter((state) => state.config.remove)).toEqual([]);
});
