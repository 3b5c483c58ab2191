/** The host process that is killed, and what `cvm` says of it. */
import { createHash } from "node:crypto";
import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { CvmState } from "../../packages/cli/src/host/protocol.ts";
import { cvmOk } from "../machine.ts";

/** Starts a host. @returns its process */
export async function startHost(): Promise<number> {
  const pid = /process (\d+)/u.exec(await cvmOk(["host", "start"]))?.[1];
  if (pid === undefined) throw new Error("cvm host start does not tell the host's process");
  return Number(pid);
}

/** Kills it as a crash would, and waits until it is gone. */
export async function killHost(pid: number): Promise<void> {
  process.kill(pid, "SIGKILL");
  while (existsSync(`/proc/${pid}`) && !/^\d+ \(.*\) Z/u.test(statOf(pid))) await sleep(2);
}
function statOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return "";
  }
}

/** What `cvm ps -a` says, by name. */
export async function listed(): Promise<Map<string, CvmState>> {
  const states = JSON.parse(await cvmOk(["ps", "-a", "--format", "json"])) as CvmState[];
  return new Map(states.map((state) => [state.config.name, state]));
}

/** One digest for a folder: names, kinds, links and contents. */
export function digestOf(folder: string): string {
  const hash = createHash("sha256");
  const visit = (path: string): void => {
    for (const name of readdirSync(path).sort()) {
      const file = join(path, name);
      const status = lstatSync(file);
      hash.update(`${file.slice(folder.length)}\0${status.mode}\0`);
      if (status.isDirectory()) visit(file);
      else if (status.isSymbolicLink()) hash.update(readlinkSync(file));
      else if (status.isFile()) hash.update(readFileSync(file));
    }
  };
  visit(folder);
  return hash.digest("hex");
}
