/**
 * Nanoseconds of a CP_Call without arguments from one cVM to another, C programs on both sides (test/e2e/programs/cp-call.c), one figure for each 200,000 calls.
 * Usage: node --conditions=source bench/cp-call.ts
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { unpackImage } from "../packages/cli/src/images/layer.ts";
import { requireImage } from "../packages/cli/src/images/store.ts";
import { CpRight } from "../packages/monitor/src/abi.ts";
import { ensureImage, TEST_HOME } from "../test/support/cvm.ts";
import { InProcessHost } from "../test/support/in-process.ts";

process.env["CVM_HOME"] = TEST_HOME;
await ensureImage("busybox", ["busybox-static"], "/bin/sh");
const layers = await unpackImage(requireImage("busybox"));
const root = join(import.meta.dirname, "..");
const folder = mkdtempSync(join(tmpdir(), "cvm-cp-call-"));
const host = new InProcessHost();
try {
  const source = join(root, "test/e2e/programs/cp-call.c");
  const flags = ["-std=gnu17", "-O2", "-static", "-I", join(root, "packages/libos/include")];
  const built = spawnSync("riscv64-linux-gnu-gcc", [...flags, "-o", join(folder, "cp-call"), source], { encoding: "utf8" });
  if (built.status !== 0) throw new Error(`riscv64-linux-gnu-gcc cannot build ${source}\n${built.stderr}`);
  host.monitor.objects.declare({ kind: "call", name: "empty", grants: [{ cvm: "*", rights: CpRight.Call | CpRight.Publish }] });
  const volumes = { "/test": folder };
  const server = await host.start({ name: "server", layers, argv: ["/test/cp-call", "empty"], volumes });
  while (!server.output().includes("serving")) await sleep(10);
  const { output } = await host.run({ name: "client", layers, argv: ["/test/cp-call", "bench"], volumes });
  process.stdout.write(output);
} finally {
  host.stop();
  rmSync(folder, { recursive: true, force: true });
}
