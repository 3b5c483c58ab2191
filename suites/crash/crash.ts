/**
 * The suite `crash`: databases in cVMs, whose host process is killed by SIGKILL again and again. What was acknowledged must be there
 * each time. A page cache outlives a process: that fsync reaches the disk is seen by the host's own system calls.
 */
import { copyFileSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../../bench/loopback.ts";
import { findProgram } from "../../bench/places.ts";
import { cvm, cvmOk, ensureImage, run } from "../machine.ts";
import { HOME, OUTPUT } from "../places.ts";
import { IMAGE as PYTHON_IMAGE, PACKAGES as PYTHON_PACKAGES } from "../python.ts";
import { IMAGE as REDIS_IMAGE, PACKAGES as REDIS_PACKAGES } from "../redis.ts";
import type { ModuleResult } from "../result.ts";
import { digestOf, killHost, listed, startHost } from "./host.ts";
import type { Load } from "./load.ts";
import { randomOf } from "./random.ts";
import { RedisLoad } from "./redis-load.ts";
import { SqliteLoad } from "./sqlite-load.ts";
import { traceSyncs } from "./strace.ts";

export interface CrashSettings {
  readonly kills: number;
  readonly seed: number;
  readonly small: boolean;
}

/** Of the kills, those before the databases are up again. */
const EARLY = 0.15;
const LONGEST_EARLY_MS = 1800;
const SHORTEST_LOAD_MS = 20;
const LONGEST_LOAD_MS = 2500;
const LONGEST_LOAD_SMALL_MS = 800;
/** After so many kills the unpacked image is gone too, so that the next ones fall into its unpacking. */
const UNPACK_EVERY = 12;
/** Acknowledged writes of each database that strace looks at. */
const TRACED = 10;

const REDIS_OPTIONS = ["--protected-mode", "no", "--save", "", "--appendonly", "yes", "--appendfsync", "always", "--dir", "/data"];
const REDIS_PORT = 6379;
const SQLITE_PORT = 7000;
const PLAIN = "crash-plain";
const REMOVED = "crash-removed";
/** cVMs whose policies start them again. */
const SERVERS: Readonly<Record<string, string>> = {
  "crash-redis-named": "always",
  "crash-redis-bind": "unless-stopped",
  "crash-sqlite": "on-failure",
};
const ALL = [...Object.keys(SERVERS), PLAIN, REMOVED];
const VOLUMES = ["crash-redis", "crash-sqlite"];

interface Tally {
  checks: number;
  good: number;
  writes: number;
  readonly problems: string[];
}

/** Counts of each database, and of what the command says. */
class Tallies {
  readonly #all: Map<string, Tally> = new Map();
  readonly #start: number = performance.now();

  count(name: string, problems: readonly string[], writes = 0): void {
    let tally = this.#all.get(name);
    if (tally === undefined) this.#all.set(name, (tally = { checks: 0, good: 0, writes: 0, problems: [] }));
    tally.checks++;
    tally.writes += writes;
    if (problems.length === 0) tally.good++;
    tally.problems.push(...problems);
  }
  get failed(): boolean {
    return [...this.#all.values()].some(({ problems }) => problems.length > 0);
  }
  get writes(): number {
    return [...this.#all.values()].reduce((sum, { writes }) => sum + writes, 0);
  }
  results(kills: number): ModuleResult[] {
    const seconds = (performance.now() - this.#start) / 1000;
    return [...this.#all].map(([module, { checks, good, writes, problems }]) => ({
      suite: "crash",
      module,
      run: checks,
      passed: good,
      failed: problems,
      skipped: 0,
      seconds,
      note: `${kills} kills${writes > 0 ? `, ${writes} acknowledged writes` : ""}`,
    }));
  }
}

/** Removes what an earlier run left. */
async function clean(bind: string): Promise<void> {
  await cvm(["rm", "-f", ...ALL]);
  for (const volume of VOLUMES) rmSync(join(HOME, "volumes", volume), { recursive: true, force: true });
  rmSync(bind, { recursive: true, force: true });
}

/** Makes and starts the cVMs with databases. */
async function makeServers(bind: string, random: () => number): Promise<Load[]> {
  for (const folder of ["redis", "sqlite", "program"]) mkdirSync(join(bind, folder), { recursive: true });
  copyFileSync(join(import.meta.dirname, "sqlite_server.py"), join(bind, "program", "sqlite_server.py"));
  const named = (volume: string): string => join(HOME, "volumes", volume);
  const ports = [await freePort(), await freePort(), await freePort()] as const;
  const run = (name: string, port: number, inside: number, ...rest: readonly string[]): Promise<string> =>
    cvmOk(["run", "-d", "--name", name, "--restart", SERVERS[name]!, "-p", `127.0.0.1:${port}:${inside}`, ...rest]);
  const redis = [REDIS_IMAGE, "redis-server", ...REDIS_OPTIONS];
  await run("crash-redis-named", ports[0], REDIS_PORT, "-v", "crash-redis:/data", ...redis);
  await run("crash-redis-bind", ports[1], REDIS_PORT, "-v", `${join(bind, "redis")}:/data`, ...redis);
  const volumes = ["crash-sqlite:/named", `${join(bind, "sqlite")}:/bind`, `${join(bind, "program")}:/program:ro`];
  const databases = (["named", "bind", "layer"] as const).flatMap((place) =>
    (["delete", "wal"] as const).map((mode) => [place, mode] as const),
  );
  const files = databases.map(([place, mode]) => `${mode}=${place === "layer" ? "/var/lib/sqlite" : `/${place}`}/${mode}.db`);
  const program = [PYTHON_IMAGE, "python3.13", "-I", "-S", "/program/sqlite_server.py", String(SQLITE_PORT), ...files];
  await run("crash-sqlite", ports[2], SQLITE_PORT, ...volumes.flatMap((volume) => ["-v", volume]), ...program);
  const folders = { named: named("crash-sqlite"), bind: join(bind, "sqlite"), layer: "/writable/root/var/lib/sqlite" } as const;
  const where = { named: "a named volume", bind: "a folder as volume", layer: "the writable layer" } as const;
  return [
    new RedisLoad("Redis, appendfsync always, a named volume", named("crash-redis"), ports[0], random),
    new RedisLoad("Redis, appendfsync always, a folder as volume", join(bind, "redis"), ports[1], random),
    ...databases.map(([place, mode], index) => new SqliteLoad(`SQLite, ${mode}, ${where[place]}`, folders[place], ports[2], index)),
  ];
}

/** What `cvm ps -a` says, against what must be. */
async function checkListed(when: string, expected: Readonly<Record<string, "running" | "exited" | undefined>>): Promise<string[]> {
  const states = await listed();
  return Object.entries(expected).flatMap(([name, status]) => {
    const state = states.get(name);
    if (state?.status !== status) return [`${when}: ps -a says ${state?.status ?? "nothing"} of ${name}, not ${status ?? "nothing"}`];
    if (status === "exited" && state?.exitCode !== 255) return [`${when}: ${name} ended with ${state?.exitCode}, not 255`];
    return [];
  });
}

/** Each write is acknowledged after a sync that began when it had been sent, and had succeeded. */
async function proveSync(load: Load, pid: number): Promise<{ problems: string[]; calls: number }> {
  const times: { readonly sent: number; readonly acknowledged: number }[] = [];
  const syncs = (
    await traceSyncs(pid, async () => {
      for (let count = 0; count < TRACED; count++) {
        const sent = Date.now();
        await load.writeOne();
        // The clock here has whole milliseconds.
        times.push({ sent, acknowledged: Date.now() + 1 });
        await sleep(5);
      }
    })
  ).filter(({ path }) => path.includes(`${load.folder}/`));
  const bare = times.filter(
    ({ sent, acknowledged }) => !syncs.some(({ begin, end, result }) => result === 0 && begin >= sent && end <= acknowledged),
  ).length;
  return {
    calls: syncs.length,
    problems: [
      ...(bare > 0 ? [`${load.name}: ${bare} of ${TRACED} writes were acknowledged without a sync of the host`] : []),
      ...syncs.filter(({ result }) => result !== 0).map(({ call, path }) => `${load.name}: ${call} of ${path} failed`),
    ],
  };
}

/** Looks at a database with this machine's own programs, whose versions may differ. */
async function checkHere(bind: string, say: (text: string) => void): Promise<string[]> {
  const problems: string[] = [];
  const sqlite = findProgram("sqlite3");
  if (sqlite === undefined) say("LEFT OUT: there is no sqlite3 on this machine to look at the databases (apt-get install sqlite3)");
  else {
    for (const folder of [join(HOME, "volumes", "crash-sqlite"), join(bind, "sqlite")]) {
      for (const file of readdirSync(folder).filter((name) => name.endsWith(".db"))) {
        const { output } = await run(sqlite, [join(folder, file), "PRAGMA integrity_check"], { timeout: 60 });
        if (output.trim() !== "ok") problems.push(`${file}, by this machine's sqlite3: ${output.trim().slice(0, 200)}`);
      }
    }
  }
  return problems;
}

/** Digests of the images, and of each unpacked layer. */
function imagesNow(): { readonly blobs: string; readonly layers: ReadonlyMap<string, string> } {
  const layers = join(HOME, "layers");
  return {
    blobs: digestOf(join(HOME, "images", "blobs")),
    layers: new Map(readdirSync(layers).map((name) => [name, digestOf(join(layers, name))])),
  };
}

/** Runs it; tells one result for each database, and those of what the command says. */
export async function runCrash(
  { kills, seed, small }: CrashSettings,
  say: (text: string) => void,
  tell: (result: ModuleResult) => void,
): Promise<void> {
  await ensureImage(REDIS_IMAGE, REDIS_PACKAGES, say);
  await ensureImage(PYTHON_IMAGE, PYTHON_PACKAGES, say);
  say(`crash: ${kills} kills, --seed ${seed}`);
  const random = randomOf(seed);
  const longest = small ? LONGEST_LOAD_SMALL_MS : LONGEST_LOAD_MS;
  const bind = join(OUTPUT, "crash");
  await clean(bind);
  const tallies = new Tallies();
  let pid = await startHost();
  const loads = await makeServers(bind, random);
  for (const load of loads) tallies.count(load.name, (await load.verify()).problems);
  await cvmOk(["run", "-d", "--name", PLAIN, REDIS_IMAGE, "redis-server", "--save", ""]);
  const images = imagesNow();

  const running = Object.fromEntries(Object.keys(SERVERS).map((name) => [name, "running"] as const));
  if (findProgram("strace") === undefined) say("LEFT OUT: there is no strace here to see the host's fsync calls (apt-get install strace)");
  else {
    for (const load of loads) {
      const { problems, calls } = await proveSync(load, pid);
      tallies.count("each acknowledged write had its sync call of the host", problems);
      say(`crash: ${load.name}: ${calls} fsync and fdatasync calls for ${TRACED} writes`);
    }
  }

  const killed = { all: 0, early: 0 };
  /** Whether there was one with --rm. */
  let removed = false;
  const kill = async (): Promise<void> => {
    await killHost(pid);
    killed.all++;
  };
  while (killed.all < kills && !tallies.failed) {
    const writing = loads.map((load) => load.write());
    await sleep(SHORTEST_LOAD_MS + random() * (longest - SHORTEST_LOAD_MS));
    await kill();
    await Promise.all(writing);
    const ended = Object.fromEntries([...Object.keys(SERVERS), PLAIN].map((name) => [name, "exited"] as const));
    tallies.count("ps -a without a host", await checkListed("after the kill", ended));
    if (killed.all % UNPACK_EVERY === 0) rmSync(join(HOME, "layers"), { recursive: true, force: true });
    pid = await startHost();
    while (killed.all < kills && random() < EARLY) {
      await sleep(random() * LONGEST_EARLY_MS);
      await kill();
      killed.early++;
      pid = await startHost();
    }
    await Promise.all(
      loads.map(async (load) => {
        try {
          const { problems, writes } = await load.verify();
          tallies.count(load.name, problems, writes);
        } catch (error) {
          tallies.count(load.name, [`${load.name}: does not answer: ${error instanceof Error ? error.message : String(error)}`]);
        }
      }),
    );
    const now = { ...running, [PLAIN]: "exited", ...(removed ? { [REMOVED]: undefined } : {}) } as const;
    tallies.count("restart policies, and ps -a with the next host", await checkListed("with the next host", now));
    if (killed.all % 3 === 0) await cvmOk(["start", PLAIN]);
    removed = killed.all % 10 === 0;
    if (removed) await cvmOk(["run", "-d", "--rm", "--name", REMOVED, REDIS_IMAGE, "redis-server", "--save", ""]);
    if (killed.all % 10 === 0 || killed.all === kills)
      say(`crash: ${killed.all} kills, ${killed.early} of them early, ${tallies.writes} acknowledged writes were there`);
  }
  const afterwards = imagesNow();
  tallies.count("images and their unpacked layers", [
    ...(afterwards.blobs === images.blobs ? [] : ["the store of images has changed"]),
    // Those of images that nobody used since they were removed are not there again.
    ...[...afterwards.layers]
      .filter(([name, digest]) => images.layers.get(name) !== digest)
      .map(([name]) => `the unpacked layer ${name} is another`),
    ...(afterwards.layers.size > 0 ? [] : ["there are no unpacked layers"]),
  ]);
  if (!tallies.failed) {
    // Orderly, so that this machine's own programs find databases that nobody uses.
    await cvmOk(["stop", ...Object.keys(SERVERS)]);
    tallies.count("databases as this machine's own programs see them", await checkHere(bind, say));
  }
  for (const result of tallies.results(killed.all)) tell(result);
  // What failed stays for whoever looks into it.
  if (tallies.failed) say(`crash: volumes are left in ${join(HOME, "volumes")} and ${bind}, cVMs in ${HOME}`);
  else await clean(bind);
}
