/**
 * `pnpm bench [redis] [--rounds N]`: contestants run interleaved, medians and the spread are printed, with ratios. Nothing is
 * asserted here: figures go to docs/performance.md by hand. The interpreter alone: `pnpm bench:interpreter`.
 */
import { spawn, spawnSync } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { requireImage, unpackImage } from "@cvm/cli";
import { cvmOk, cvm, ensureImage, ensureProgram, freePort, TEST_HOME } from "../test/support/cvm.ts";

const { values } = parseArgs({
  options: { rounds: { type: "string", default: "5" }, requests: { type: "string", default: "100000" } },
  allowPositionals: true,
});
const rounds = Number(values.rounds);

interface Contestant {
  readonly name: string;
  readonly port: number;
  readonly stop: () => Promise<void> | void;
}

async function waitForPort(port: number): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = createConnection({ port, host: "127.0.0.1" }, () => socket.write("PING\r\n"));
      socket.on("data", () => {
        resolve(true);
        socket.destroy();
      });
      socket.on("error", () => resolve(false));
      socket.setTimeout(1000, () => socket.destroy());
      socket.on("close", () => resolve(false));
    });
    if (open) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`nothing answers on port ${port}`);
}

function server(name: string, command: string, args: readonly string[], port: number): Contestant {
  const child: ChildProcess = spawn(command, args, { stdio: "ignore", cwd: tmpdir(), env: { ...process.env, QEMU_CPU: "rv64" } });
  return { name, port, stop: () => void child.kill("SIGKILL") };
}

const REDIS_OPTIONS = ["--protected-mode", "no", "--save", "", "--appendonly", "no"];

async function contestants(): Promise<Contestant[]> {
  process.env["CVM_HOME"] = TEST_HOME;
  await ensureImage("redis", ["redis-server", "redis-tools"]);
  const found: Contestant[] = [];
  const cvmPort = await freePort();
  await cvm(["rm", "-f", "bench"]);
  await cvmOk(["run", "-d", "--name", "bench", "-p", `127.0.0.1:${cvmPort}:6379`, "redis", "redis-server", ...REDIS_OPTIONS]);
  found.push({ name: "cVM", port: cvmPort, stop: async () => void (await cvm(["rm", "-f", "bench"])) });
  if (ensureProgram("redis-server", "redis-server")) {
    const port = await freePort();
    found.push(server("native", "redis-server", [...REDIS_OPTIONS, "--port", String(port)], port));
  }
  if (ensureProgram("qemu-riscv64", "qemu-user")) {
    const [layer] = await unpackImage(requireImage("redis"));
    const root = join(layer!, "root");
    const port = await freePort();
    found.push(
      server(
        "qemu-riscv64",
        "qemu-riscv64",
        ["-L", root, join(root, "usr/bin/redis-server"), ...REDIS_OPTIONS, "--port", String(port)],
        port,
      ),
    );
  }
  for (const one of found) await waitForPort(one.port);
  return found;
}

/** Requests per second of SET and GET. */
function measure(port: number, pipeline: number): Record<string, number> {
  const result = spawnSync(
    "redis-benchmark",
    ["-p", String(port), "-n", values.requests, "-c", "50", "-P", String(pipeline), "-t", "set,get", "--csv"],
    { encoding: "utf8", timeout: 300_000 },
  );
  const figures: Record<string, number> = {};
  for (const line of result.stdout.split("\n")) {
    const match = /^"(SET|GET)","([\d.]+)"/u.exec(line);
    if (match !== null) figures[`${match[1]} -P ${pipeline}`] = Number(match[2]);
  }
  return figures;
}

const median = (list: readonly number[]): number => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)] ?? Number.NaN;

if (!ensureProgram("redis-benchmark", "redis-tools")) throw new Error("redis-benchmark is missing: apt-get install redis-tools");
const runners = await contestants();
try {
  const samples = new Map<string, Map<string, number[]>>();
  for (let round = 1; round <= rounds; round++) {
    process.stderr.write(`round ${round} of ${rounds}\n`);
    for (const pipeline of [1, 16]) {
      for (const runner of runners) {
        for (const [what, figure] of Object.entries(measure(runner.port, pipeline))) {
          const row = samples.get(what) ?? new Map<string, number[]>();
          samples.set(what, row);
          row.set(runner.name, [...(row.get(runner.name) ?? []), figure]);
        }
      }
    }
  }
  process.stdout.write(`\nrequests/s, 50 clients, median of ${rounds} (lowest … highest)\n`);
  for (const [what, row] of samples) {
    const mine = median(row.get("cVM") ?? []);
    const cells = [...row].map(
      ([name, list]) =>
        `${name} ${Math.round(median(list))} (${Math.round(Math.min(...list))} … ${Math.round(Math.max(...list))})${name === "cVM" ? "" : ` ratio ${(mine / median(list)).toFixed(3)}`}`,
    );
    process.stdout.write(`${what.padEnd(10)} ${cells.join("   ")}\n`);
  }
} finally {
  for (const runner of runners) await runner.stop();
}
