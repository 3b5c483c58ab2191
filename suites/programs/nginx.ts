/** nginx with a master and two workers under wrk, through a published port. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { answers, freePort } from "../../bench/loopback.ts";
import { findProgram } from "../../bench/places.ts";
import { CLIENT, FILE, NGINX, parseWrk, WORKERS, writeSite } from "../../bench/web.ts";
import { cvm, cvmOk, ensureImage, run } from "../machine.ts";
import { OUTPUT } from "../places.ts";
import type { Counts } from "../result.ts";
import { UnavailableError } from "../unavailable.ts";

const NAME = "suite-nginx";
const INSIDE_PORT = 8080;
const SECONDS = { small: 3, whole: 120 } as const;
const UP_MS = 60_000;
/** Kept connections, many of them, and a new one for each request. */
const LOADS: Readonly<Record<string, readonly string[]>> = {
  "16 connections": ["-t", "1", "-c", "16"],
  "200 connections": ["-t", "2", "-c", "200"],
  "a connection for each request": ["-t", "1", "-c", "16", "-H", "Connection: close"],
};

export async function runNginx(small: boolean, say: (text: string) => void): Promise<Counts> {
  const client = findProgram(CLIENT);
  if (client === undefined) throw new UnavailableError(`nginx is asked by ${CLIENT} here: apt-get install ${CLIENT}`);
  await ensureImage("nginx", ["nginx"], say);
  const folder = join(OUTPUT, "nginx");
  rmSync(folder, { recursive: true, force: true });
  const args = writeSite(folder, "/site", "/tmp", INSIDE_PORT);
  const port = await freePort();
  await cvm(["rm", "-f", NAME]);
  const options = ["--name", NAME, "-p", `127.0.0.1:${port}:${INSIDE_PORT}`, "-v", `${folder}:/site:ro`];
  await cvmOk(["run", "-d", ...options, "nginx", `/${NGINX}`, ...args]);
  const failed: string[] = [];
  try {
    const deadline = Date.now() + UP_MS;
    while (!(await answers(port))) {
      if (Date.now() > deadline) throw new Error(`nginx does not answer at port ${port}: see "cvm logs ${NAME}"`);
      await sleep(50);
    }
    const seconds = small ? SECONDS.small : SECONDS.whole;
    for (const [name, load] of Object.entries(LOADS)) {
      const url = `http://127.0.0.1:${port}/${FILE}`;
      const { output } = await run(client, [...load, "-d", `${seconds}s`, "--timeout", "20s", url], { timeout: seconds + 60 });
      const { requestsPerSecond, requests, errors } = parseWrk(output);
      say(`nginx, ${name}: ${requests} requests in ${seconds} s, ${requestsPerSecond.toFixed(0)}/s, ${errors} errors`);
      if (errors > 0 || requests === 0) failed.push(`${name}: ${errors} errors in ${requests} requests`);
    }
    // The master tells both workers to end, and they do.
    await cvmOk(["stop", NAME]);
    const { output: log } = await cvm(["logs", NAME]);
    if (log.trim() !== "") failed.push(`its log: ${log.trim().slice(0, 300)}`);
    const [state] = JSON.parse(await cvmOk(["inspect", NAME])) as { exitCode?: number }[];
    if (state?.exitCode !== 0) failed.push(`the master with ${WORKERS} workers ended with ${state?.exitCode}`);
  } finally {
    await cvm(["rm", "-f", NAME]);
  }
  const count = Object.keys(LOADS).length + 2;
  return { run: count, passed: count - failed.length, skipped: 0, failed };
}
