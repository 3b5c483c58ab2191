/** CP_Calls as C programs meet them: cvm-call.h, on Debian's C library, with everything that a library OS does. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { unpackImage } from "../../packages/cli/src/images/layer.ts";
import { requireImage } from "../../packages/cli/src/images/store.ts";
import { CpRight } from "../../packages/monitor/src/abi.ts";
import { whyNot } from "../guests/programs.ts";
import { ensureImage, TEST_HOME } from "../support/cvm.ts";
import { InProcessHost } from "../support/in-process.ts";

const reason = whyNot();
if (reason !== null) console.warn(`C PROGRAMS OF CALLS SKIPPED: ${reason}`);

const { Call, Publish } = CpRight;
const folder = mkdtempSync(join(tmpdir(), "cvm-calls-"));
let layers: readonly string[];

beforeAll(async () => {
  process.env["CVM_HOME"] = TEST_HOME;
  await ensureImage("busybox", ["busybox-static"], "/bin/sh");
  layers = await unpackImage(requireImage("busybox"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.skipIf(reason !== null).each(["-O0", "-O2"])("C functions, %s", (level) => {
  test.each([
    ["one process", false],
    ["behind a port", true],
  ] as const)("numbers, buffers, threads, forks, signals and the callee's end; library OS: %s", async (_, ported) => {
    const include = join(import.meta.dirname, "..", "..", "packages", "libos", "include");
    const source = join(import.meta.dirname, "programs", "cp-call.c");
    const flags = ["-std=gnu17", "-Wall", "-Wextra", level, "-static", "-I", include];
    const built = spawnSync("riscv64-linux-gnu-gcc", [...flags, "-o", join(folder, "cp-call"), source], { encoding: "utf8" });
    expect(built.stderr).toBe("");
    const host = new InProcessHost();
    const grants = [
      { cvm: "server", rights: Publish },
      { cvm: "client", rights: Call },
    ];
    host.monitor.objects.declare({ kind: "call", name: "work", grants });
    host.monitor.objects.declare({ kind: "call", name: "secret", grants: [{ cvm: "server", rights: Call | Publish }] });
    const volumes = { "/test": folder };
    const server = await host.start({ name: "server", layers, argv: ["/test/cp-call", "serve"], volumes, ported });
    await expect.poll(server.output, { timeout: 20_000 }).toContain("serving");
    const client = await host.run({ name: "client", layers, argv: ["/test/cp-call", "call"], volumes, ported });
    expect(client.output.split("\n").filter((line) => !line.endsWith(": ok"))).toEqual([""]);
    expect(client).toMatchObject({ code: 0, signal: 0 });
    // A store to what was lent for reading only.
    expect(await server.ended).toMatchObject({ signal: 11 });
    expect(server.output()).toContain("store permission");
    host.stop();
  });
});

test("a cVM sees the functions that it was granted something of, with its rights as modes, and the header", async () => {
  const host = new InProcessHost();
  host.monitor.objects.declare({ kind: "call", name: "both", grants: [{ cvm: "*", rights: Call | Publish }] });
  host.monitor.objects.declare({ kind: "call", name: "sum", grants: [{ cvm: "one", rights: Call }] });
  host.monitor.objects.declare({ kind: "call", name: "secret", grants: [{ cvm: "two", rights: Call }] });
  const script = `cd /cp/call; stat -c "%a %n" *; (: < secret) 2>/dev/null || echo hidden; (: > sum) 2>/dev/null || echo refused
    head -c 1 both 2>/dev/null || echo no bytes; head -c 2 /cp/lib/cvm-call.h`;
  const { output } = await host.run({ name: "one", layers, argv: ["/bin/sh", "-c", script] });
  expect(output.split("\n").map((line) => line.trim())).toEqual(["666 both", "444 sum", "hidden", "refused", "no bytes", "/*"]);
  host.stop();
});
