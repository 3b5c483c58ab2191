/** Redis's own Tcl suite on this machine, against a server in a cVM. */
import { lstatSync, mkdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { cvm, cvmOk, ensureImage, run } from "./machine.ts";
import { answers, freePort } from "../bench/loopback.ts";
import { OUTPUT } from "./places.ts";
import { parseRedisSuite } from "./redis-output.ts";
import type { ModuleResult } from "./result.ts";
import type { Settings } from "./arguments.ts";
import { findProgram } from "../bench/places.ts";
import { ensureSource } from "./source.ts";
import { UnavailableError } from "./unavailable.ts";

export const IMAGE = "redis";
const NAME = "redis";
export const PACKAGES: readonly string[] = ["redis-server", "redis-tools"];
/** What the suite wants of a server that it did not start. */
const OPTIONS = [
  "--protected-mode",
  "no",
  "--save",
  "",
  "--enable-protected-configs",
  "yes",
  "--enable-debug-command",
  "yes",
  "--enable-module-command",
  "yes",
];
const UP_MS = 60_000;
/** Ports that the suite may use on this machine: the most that one test wants. */
const PORTS = 2;
/** As Redis's own checks run it against a server elsewhere: some slow tests look at the server's process. */
const TAGS = ["--tags", "-slow"];
/** All of it. */
const SUITE_SECONDS = 4 * 3600;

/** The suite asks the server by a redis-cli of its own source too. */
async function ensureClient(folder: string, small: boolean, say: (text: string) => void): Promise<void> {
  const client = join(folder, "src", "redis-cli");
  const present = lstatSync(client, { throwIfNoEntry: false });
  const own = findProgram("redis-cli");
  // A short run takes this machine's, whose version may differ; one that asks for more has it built.
  if (present !== undefined && (small || !present.isSymbolicLink())) return;
  rmSync(client, { force: true });
  if (small && own !== undefined) {
    symlinkSync(own, client);
    return;
  }
  for (const program of ["make", "gcc"]) {
    if (findProgram(program) === undefined)
      throw new UnavailableError(`the suite builds redis-cli with ${program}, which is not here: apt-get install make gcc libc6-dev`);
  }
  say("building redis-cli");
  const { status, output } = await run("make", ["-C", "src", "redis-cli", "MALLOC=libc"], {
    timeout: 600,
    cwd: folder,
    keep: "redis-cli.txt",
  });
  if (status !== 0) throw new Error(`redis-cli cannot be built: ${output.trim().slice(-500)}`);
}

/** Runs units (all when none are named) in one go; tells their results at the end. */
export async function runRedis(
  units: readonly string[],
  settings: Settings,
  say: (text: string) => void,
  tell: (result: ModuleResult) => void,
): Promise<void> {
  if (findProgram("tclsh8.6") === undefined) throw new UnavailableError("the suite needs tclsh8.6 here: apt-get install tcl");
  const folder = await ensureSource("redis", say);
  await ensureClient(folder, settings.small, say);
  await ensureImage(IMAGE, PACKAGES, say);
  const port = await freePort();
  await cvm(["rm", "-f", NAME]);
  // Some tests leave files for the server, in its own folder: it has the same name on both sides.
  const data = join(OUTPUT, "redis-data");
  rmSync(data, { recursive: true, force: true });
  mkdirSync(data, { recursive: true });
  const options = ["--name", NAME, "-m", settings.memory, "-p", `127.0.0.1:${port}:6379`, "-v", `${data}:${data}`];
  await cvmOk(["run", "-d", ...options, IMAGE, "redis-server", ...OPTIONS, "--dir", data]);
  try {
    const deadline = Date.now() + UP_MS;
    while (!(await answers(port))) {
      if (Date.now() > deadline) throw new Error(`redis does not answer at port ${port}: see "cvm logs ${NAME}"`);
      await sleep(100);
    }
    // One test takes a port of this range and wants the server not to get it: a cVM has ports of its own, so they are taken there too.
    // It also wants the port 10,000 above to be free: below those that Linux gives to connections.
    const first = 20_000 + (port % 2_000);
    for (let taken = first; taken < first + PORTS; taken++)
      await cvmOk(["exec", "-d", NAME, "redis-server", "--port", String(taken), "--save", ""]);
    const single = units.flatMap((unit) => ["--single", unit]);
    const ended = await run(
      "sh",
      [
        "runtest",
        "--host",
        "127.0.0.1",
        "--port",
        String(port),
        "--baseport",
        String(first),
        "--portcount",
        String(PORTS),
        ...TAGS,
        ...single,
      ],
      {
        timeout: SUITE_SECONDS,
        cwd: folder,
        keep: "redis.txt",
        env: { TERM: "dumb" },
        onLine: (line) => {
          if (line.startsWith("Testing ")) say(`redis ${line.slice("Testing ".length)}`);
        },
      },
    );
    const results = parseRedisSuite(ended.output);
    if (results.length === 0) throw new Error(`the suite did not start: ${ended.output.trim().slice(-500)}`);
    for (const { unit, seconds, ...counts } of results) {
      const broken = seconds !== undefined ? undefined : ended.timedOut ? "timed out" : "did not come to its end";
      // Files of which all is for servers of the suite's own have no line.
      if (counts.run === 0 && broken === undefined) continue;
      tell({ suite: "redis", module: unit, ...counts, seconds: seconds ?? 0, ...(broken === undefined ? {} : { broken }) });
    }
  } finally {
    await cvm(["rm", "-f", NAME]);
  }
}
