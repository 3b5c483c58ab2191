/** The suite `nginx`: a file of 1 KiB over kept connections, from this machine by wrk; a master and two workers. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { BenchHost, cvm, ensureImage } from "./host.ts";
import { answers, freePort } from "./loopback.ts";
import type { Contestant, Measure, Work } from "./measure.ts";
import { underQemu } from "./peers.ts";
import { background, familySeconds, mustBeOk, run } from "./processes.ts";
import { peer, type Context, type Ready, type Suite } from "./suite.ts";
import { targetOf } from "./targets.ts";
import { CLIENT, FILE, NGINX, parseWrk, writeSite } from "./web.ts";

const WORK = "keep-alive";
const CONNECTIONS = 16;
/** Of one measurement, for each second of `--seconds`. */
const SECONDS = 5;
const WARM_UP = 2;
const UP_MS = 60_000;
const NAME = "nginx";
const INSIDE_PORT = 8080;

interface Server {
  readonly port: number;
  /** Processor seconds used so far, by the master and the workers. */
  readonly cpu: () => number;
  readonly stop: () => Promise<void>;
}

async function waitFor(server: Server, who: Contestant): Promise<Server> {
  const deadline = Date.now() + UP_MS;
  while (!(await answers(server.port))) {
    if (Date.now() > deadline) {
      await server.stop();
      throw new Error(`nginx does not answer: ${who}, port ${server.port}`);
    }
    await sleep(50);
  }
  return server;
}

async function processServer(who: Contestant, command: readonly string[], folder: string): Promise<Server> {
  const port = await freePort();
  const [program = "", ...args] = [...command, ...writeSite(folder, folder, folder, port)];
  // Its workers see that the master has gone only when they are told.
  const { pid, stop } = background(program, args, "SIGTERM");
  return waitFor({ port, cpu: () => familySeconds(pid), stop }, who);
}

async function cvmServer(host: BenchHost, folder: string): Promise<Server> {
  const port = await freePort();
  await cvm(host.home, ["rm", "-f", NAME]);
  const options = ["--name", NAME, "-p", `127.0.0.1:${port}:${INSIDE_PORT}`, "-v", `${folder}:/site:ro`];
  const server = [`/${NGINX}`, ...writeSite(folder, "/site", "/tmp", INSIDE_PORT)];
  mustBeOk("cvm run nginx", await cvm(host.home, ["run", "-d", ...options, "nginx", ...server]));
  return waitFor({ port, cpu: () => host.cpu(), stop: async () => void (await cvm(host.home, ["rm", "-f", NAME])) }, "cVM");
}

async function prepare(context: Context): Promise<Ready> {
  const { settings, say } = context;
  const client = peer(CLIENT, CLIENT, say);
  if (client === undefined) throw new Error(`${CLIENT} is needed here to ask the servers: apt-get install ${CLIENT}`);
  await ensureImage("nginx", say);
  const native = peer("nginx", "nginx-light", say);
  const qemu = await underQemu(context, "nginx");
  const folder = mkdtempSync(join(tmpdir(), "cvm-bench-nginx-"));
  const host = await BenchHost.start();
  const servers: Partial<Record<Contestant, Server>> = {};
  const stop = async (): Promise<void> => {
    for (const server of Object.values(servers)) await server.stop();
    await host.stop();
    rmSync(folder, { recursive: true, force: true });
  };
  const ask = async ({ port }: Server, seconds: number): Promise<number> => {
    const args = ["-t", "1", "-c", String(CONNECTIONS), "-d", `${seconds}s`, `http://127.0.0.1:${port}/${FILE}`];
    const { requestsPerSecond, errors } = parseWrk(mustBeOk(CLIENT, await run(client, args)).stdout);
    if (errors > 0) throw new Error(`wrk counted ${errors} errors`);
    return requestsPerSecond;
  };
  try {
    for (const [who, start] of [
      ["native", native === undefined ? undefined : (place: string) => processServer("native", [native], place)],
      ["qemu-riscv64", qemu === undefined ? undefined : (place: string) => processServer("qemu-riscv64", qemu(NGINX), place)],
      ["cVM", (place: string) => cvmServer(host, place)],
    ] as const) {
      if (start === undefined) continue;
      const place = join(folder, who);
      mkdirSync(place);
      servers[who] = await start(place);
      await ask(servers[who], WARM_UP);
    }
  } catch (error) {
    await stop();
    throw error;
  }
  const seconds = Math.max(1, Math.ceil(settings.seconds * SECONDS));
  const by: Partial<Record<Contestant, Measure>> = {};
  for (const [who, server] of Object.entries(servers)) {
    by[who as Contestant] = async () => {
      const before = server.cpu();
      const value = await ask(server, seconds);
      const used = server.cpu() - before;
      return { value, ...(used > 0 ? { cpu: (value * seconds) / used } : {}) };
    };
  }
  const work: Work = { suite: "nginx", name: WORK, unit: "requests/s", better: "more", target: targetOf("nginx", WORK), by };
  return { works: [work], stop };
}

export const nginx: Suite = { name: "nginx", names: () => [WORK], prepare };
