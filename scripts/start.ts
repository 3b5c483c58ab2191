/**
 * The main job, from nothing: Redis in a cVM, talked to from outside and from a second cVM, while a hostile cVM tries
 * to break out. On a terminal Redis then stays up until Ctrl-C.
 */
import { spawn } from "node:child_process";
import { createConnection } from "node:net";
import { join } from "node:path";
import { ATTEMPTS, makeHostileImage } from "../test/attacks/hostile.ts";

const root = join(import.meta.dirname, "..");
const cvm = join(root, "bin", "cvm");
const say = (text: string): void => void process.stdout.write(`${text}\n`);

interface Result {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the cvm command. */
function run(args: readonly string[], show = false): Promise<Result> {
  return new Promise((resolve, reject) => {
    const child = spawn(cvm, args, { stdio: ["ignore", "pipe", show ? "inherit" : "pipe"] });
    let stdout = "";
    let stderr = "";
    child.stdout?.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr?.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    child.on("error", reject);
    child.on("close", (status) => resolve({ status: status ?? 1, stdout, stderr }));
  });
}

async function must(args: readonly string[], show = false): Promise<string> {
  const result = await run(args, show);
  if (result.status !== 0) throw new Error(`cvm ${args.join(" ")} ended with ${result.status}: ${result.stderr}${result.stdout}`);
  return result.stdout.trim();
}

/** One request to Redis in its inline form; the first line of the answer (the second for a bulk answer). */
function redis(port: number, command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ port, host: "127.0.0.1" }, () => socket.write(`${command}\r\n`));
    let answer = "";
    socket.setTimeout(10_000, () => socket.destroy(new Error(`no answer to ${command}`)));
    socket.on("data", (chunk: Buffer) => {
      answer += chunk.toString();
      const lines = answer.split("\r\n");
      if (lines.length >= (answer.startsWith("$") ? 3 : 2)) {
        resolve(answer.startsWith("$") ? lines[1]! : lines[0]!);
        socket.destroy();
      }
    });
    socket.on("error", reject);
    socket.on("close", () => reject(new Error(`the connection closed before an answer to ${command}`)));
  });
}

async function waitForRedis(port: number): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    try {
      if ((await redis(port, "PING")) === "+PONG") return;
    } catch {
      // not up yet
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`redis did not answer on port ${port}: see bin/cvm logs redis`);
}

// Ctrl-C reaches this process from the terminal and again from npm: none may cut the end short.
let stopping = false;
const interrupted = new Promise<string>((resolve) => {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      stopping = true;
      resolve("Stopping Redis");
    });
  }
});

const started = Date.now();
const seconds = (): string => `${((Date.now() - started) / 1000).toFixed(1)} s`;
const images = JSON.parse(await must(["images", "--format", "json"])) as { reference: string }[];
if (!images.some((image) => image.reference === "redis:latest")) {
  say("Making the image redis from Debian's riscv64 packages");
  await must(["image", "debian", "-t", "redis", "redis-server", "redis-tools"], true);
}
await makeHostileImage("hostile");

const present = JSON.parse(await must(["ps", "-a", "--format", "json"])) as { config: { name: string } }[];
if (present.some((one) => one.config.name === "redis")) await must(["rm", "-f", "redis"]);
const server = ["redis", "redis-server", "--protected-mode", "no", "--save", "", "--appendonly", "no"];
let wanted = 6379;
let first = await run(["run", "-d", "--name", "redis", "-p", `127.0.0.1:${wanted}:6379`, ...server]);
if (first.status !== 0 && first.stderr.includes("in use")) {
  wanted = 0;
  await run(["rm", "-f", "redis"]);
  first = await run(["run", "-d", "--name", "redis", "-p", "127.0.0.1:0:6379", ...server]);
}
if (first.status !== 0) throw new Error(`redis did not start: ${first.stderr}`);
let failed = 0;
try {
  const [details] = JSON.parse(await must(["inspect", "redis"])) as [
    { id: string; address: string; config: { ports: { hostPort: number }[] } },
  ];
  const port = details.config.ports[0]!.hostPort;
  await waitForRedis(port);
  say(`Redis is up in cVM ${details.id.slice(0, 12)} (${details.address}), published on 127.0.0.1:${port}  [${seconds()}]`);

  const outside = "outside: SET greeting, GET greeting";
  const second = "second cVM: redis-cli -h redis GET greeting";
  const titles = [outside, second, ...ATTEMPTS.map((attempt) => `hostile cVM: ${attempt.title}`)];
  const width = Math.max(...titles.map((title) => title.length));
  let rows = 0;
  const row = (title: string, outcome: string, good: boolean): void => {
    rows++;
    if (!good) failed++;
    say(`${good ? "ok  " : "FAIL"}  ${title.padEnd(width)}  ${outcome}`);
  };
  say("");
  const value = `hello-${Date.now()}`;
  const set = await redis(port, `SET greeting ${value}`);
  const get = await redis(port, "GET greeting");
  row(outside, `${set} ${get}`, set === "+OK" && get === value);
  const inside = await run(["run", "--rm", "redis", "redis-cli", "-h", "redis", "GET", "greeting"]);
  row(second, (inside.stdout || inside.stderr).trim(), inside.stdout.trim() === value);

  for (const attempt of ATTEMPTS) {
    if (stopping) break;
    const result = await run(["run", "--rm", "hostile", `/hostile/${attempt.name}`]);
    const alive = await redis(port, "GET greeting").catch((error: unknown) => String(error));
    const held = attempt.held(result) && alive === value;
    row(`hostile cVM: ${attempt.title}`, `${attempt.summary(result)}${alive === value ? "" : `; REDIS: ${alive}`}`, held);
  }
  say("");
  say(failed === 0 ? `All ${rows} as they should be  [${seconds()}]` : `${failed} of ${rows} NOT as they should be  [${seconds()}]`);

  if (process.stdout.isTTY && failed === 0) {
    say(
      `Redis stays up: redis-cli -p ${port}. More: bin/cvm ps, bin/cvm logs redis, bin/cvm run --rm -it redis redis-cli -h redis. Ctrl-C ends it.`,
    );
    // Ctrl-C ends this command too: only its own end says that Redis has ended.
    const gone = run(["wait", "redis"]).then((result) => (result.status === 0 ? "Redis has ended: see bin/cvm logs redis" : interrupted));
    say(`\n${await Promise.race([interrupted, gone])}`);
  }
} finally {
  await run(["rm", "-f", "redis"]);
}
process.exitCode = failed === 0 ? 0 : 1;
