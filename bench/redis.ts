/** The suite `redis`: redis-benchmark with 50 clients, through a published port, and from a second cVM. */
import { setTimeout as sleep } from "node:timers/promises";
import { BenchHost, cvm, ensureImage } from "./host.ts";
import { answers, freePort } from "./loopback.ts";
import type { Contestant, Measure, Sample, Work } from "./measure.ts";
import { timeHere, underQemu } from "./peers.ts";
import { background, mustBeOk, processorSeconds, run, type Ended } from "./processes.ts";
import { parseRedis } from "./results.ts";
import { peer, type Context, type Ready, type Suite } from "./suite.ts";
import { targetOf } from "./targets.ts";

const SERVER = "redis-server";
const CLIENT = "redis-benchmark";
const CLIENTS = 50;
const OPTIONS = ["--protected-mode", "no", "--save", "", "--appendonly", "no"];
/** The server's cVM. */
const NAME = "redis";
const UP_MS = 60_000;

/** Where the client is: on this machine, or with the server (a second cVM, under qemu-riscv64 too). */
type Place = "outside" | "inside";
const WORKS: readonly { readonly name: string; readonly test: "SET" | "GET"; readonly pipeline: number; readonly place: Place }[] = [
  { name: "set-1", test: "SET", pipeline: 1, place: "outside" },
  { name: "get-1", test: "GET", pipeline: 1, place: "outside" },
  { name: "set-16", test: "SET", pipeline: 16, place: "outside" },
  { name: "get-16", test: "GET", pipeline: 16, place: "outside" },
  { name: "set-inside", test: "SET", pipeline: 1, place: "inside" },
  { name: "get-inside", test: "GET", pipeline: 1, place: "inside" },
];

/** A server that answers. */
interface Server {
  /** Processor seconds used so far. */
  readonly cpu: () => number;
  /** Runs a client with these arguments; with its own processor seconds where it is inside and {@link cpu} does not count them. */
  readonly client: (place: Place, args: readonly string[]) => Promise<Ended & { readonly cpu?: number }>;
  readonly stop: () => Promise<void>;
}

async function waitForPort(who: Contestant, port: number): Promise<void> {
  const deadline = Date.now() + UP_MS;
  while (!(await answers(port))) {
    if (Date.now() > deadline) throw new Error(`redis does not answer: ${who}, port ${port}`);
    await sleep(50);
  }
}

/** A server that is a process here. */
async function processServer(
  context: Context,
  who: Contestant,
  server: readonly string[],
  client: readonly string[],
  outside: string,
): Promise<Server> {
  const port = await freePort();
  const { pid, stop } = background(server[0]!, [...server.slice(1), ...OPTIONS, "--port", String(port)]);
  try {
    await waitForPort(who, port);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    cpu: () => processorSeconds(pid),
    client: async (place, args) => {
      const all = ["-h", "127.0.0.1", "-p", String(port), ...args];
      if (place === "outside") return run(outside, all);
      const { stdout, cpu } = await timeHere(context, CLIENT, [...client, ...all]);
      return { status: 0, stdout, stderr: "", cpu };
    },
    stop,
  };
}

async function cvmServer(host: BenchHost, outside: string): Promise<Server> {
  const port = await freePort();
  await cvm(host.home, ["rm", "-f", NAME]);
  const published = ["-p", `127.0.0.1:${port}:6379`];
  mustBeOk("cvm run redis", await cvm(host.home, ["run", "-d", "--name", NAME, ...published, "redis", SERVER, ...OPTIONS]));
  await waitForPort("cVM", port);
  return {
    cpu: () => host.cpu(),
    client: (place, args) =>
      place === "outside"
        ? run(outside, ["-h", "127.0.0.1", "-p", String(port), ...args])
        : // Its processor time is the host's, which counts already.
          host.run({ image: "redis", argv: [`/usr/bin/${CLIENT}`, "-h", NAME, ...args] }).then(({ status, stdout, stderr }) => ({
            status,
            stdout,
            stderr,
          })),
    stop: async () => void (await cvm(host.home, ["rm", "-f", NAME])),
  };
}

async function prepare(context: Context): Promise<Ready> {
  const { settings, say, wanted } = context;
  const outside = peer(CLIENT, "redis-tools", say);
  if (outside === undefined) throw new Error(`${CLIENT} is needed here to ask the servers: apt-get install redis-tools`);
  await ensureImage("redis", say);
  const native = peer(SERVER, SERVER, say);
  const qemu = await underQemu(context, "redis");
  const host = await BenchHost.start();
  const servers: Partial<Record<Contestant, Server>> = {};
  const stop = async (): Promise<void> => {
    for (const server of Object.values(servers)) await server.stop();
    await host.stop();
  };
  try {
    if (native !== undefined) servers.native = await processServer(context, "native", [native], [outside], outside);
    if (qemu !== undefined)
      servers["qemu-riscv64"] = await processServer(context, "qemu-riscv64", qemu(`usr/bin/${SERVER}`), qemu(`usr/bin/${CLIENT}`), outside);
    servers.cVM = await cvmServer(host, outside);
  } catch (error) {
    await stop();
    throw error;
  }
  const requests = String(settings.requests);
  const works = WORKS.filter(({ name }) => wanted(name)).map(({ name, test, pipeline, place }): Work => {
    const args = ["-n", requests, "-c", String(CLIENTS), "-P", String(pipeline), "-t", test.toLowerCase(), "--csv"];
    const measure = async (server: Server): Promise<Sample> => {
      const before = server.cpu();
      const ended = mustBeOk(CLIENT, await server.client(place, args));
      // Of the server; of the client too where it is inside.
      const used = server.cpu() - before + (ended.cpu ?? 0);
      return { value: parseRedis(ended.stdout, test), ...(used > 0 ? { cpu: settings.requests / used } : {}) };
    };
    const by: Partial<Record<Contestant, Measure>> = {};
    for (const [who, server] of Object.entries(servers)) by[who as Contestant] = () => measure(server);
    return { suite: "redis", name, unit: "requests/s", better: "more", target: targetOf("redis", name), by };
  });
  return { works, stop };
}

export const redis: Suite = { name: "redis", names: () => WORKS.map(({ name }) => name), prepare };
