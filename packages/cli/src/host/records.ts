import { appendFileSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CliError } from "../errors.ts";
import { Folder } from "../home.ts";
import type { CvmState } from "./protocol.ts";

/** Folder of one cVM: `state.json`, `log.jsonl`, `writable/`. */
export function cvmFolder(id: string): string {
  if (!/^[0-9a-f]{64}$/u.test(id)) throw new CliError("invalid", `"${id}" is not the id of a cVM`);
  return join(Folder.cvms(), id);
}

/** Writes the state whole or not at all. */
export function saveState(state: CvmState): void {
  const folder = cvmFolder(state.id);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const temporary = join(folder, "state.json.new");
  writeFileSync(temporary, JSON.stringify(state, null, 2), { mode: 0o600 });
  renameSync(temporary, join(folder, "state.json"));
}

/** A recorded state, or undefined when the folder does not hold a whole one. */
function readState(id: string): CvmState | undefined {
  try {
    const state = JSON.parse(readFileSync(join(Folder.cvms(), id, "state.json"), "utf8")) as Partial<CvmState> | null;
    return state?.id === id && typeof state.created === "string" && typeof state.config?.name === "string"
      ? (state as CvmState)
      : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Says of a cVM whose host is gone that it has ended.
 * @returns whether it ran, or was about to be started again
 */
export function endWithHost(state: CvmState): boolean {
  if (state.status !== "running" && state.status !== "restarting") return false;
  state.status = "exited";
  state.exitCode ??= 255;
  state.error ??= "the host process ended while this cVM ran";
  delete state.address;
  return true;
}

/**
 * All recorded cVMs, oldest first. With `hostRuns` false nothing can be running: what says so ended with its host.
 */
export function loadStates(hostRuns: boolean): CvmState[] {
  const states: CvmState[] = [];
  for (const name of readdirSync(Folder.cvms())) {
    const state = readState(name);
    if (state === undefined) continue;
    if (!hostRuns) endWithHost(state);
    states.push(state);
  }
  return states.sort((a, b) => (a.created < b.created ? -1 : a.created > b.created ? 1 : 0));
}

/** Removes everything of a cVM. */
export function deleteRecord(id: string): void {
  rmSync(cvmFolder(id), { recursive: true, force: true });
}

/** One line of a log: as docker's json-file. */
export interface LogLine {
  readonly log: string;
  readonly stream: "stdout" | "stderr";
  readonly time: string;
}

/** Appends output to the log of a cVM, a record for each line or part of one. */
export function appendLog(id: string, fd: number, text: string): void {
  const stream = fd === 2 ? "stderr" : "stdout";
  const time = new Date().toISOString();
  const lines = text.split(/(?<=\n)/u).filter((log) => log !== "");
  const records = lines.map((log) => `${JSON.stringify({ log, stream, time } satisfies LogLine)}\n`);
  appendFileSync(join(cvmFolder(id), "log.jsonl"), records.join(""), { mode: 0o600 });
}

/** The log of a cVM so far. A record that is still being written, or was cut off by a crash, is left out. */
export function readLog(id: string): LogLine[] {
  const path = join(cvmFolder(id), "log.jsonl");
  if (!existsSync(path)) return [];
  return readFileSync(path, "utf8")
    .split("\n")
    .flatMap((line) => {
      try {
        return line === "" ? [] : [JSON.parse(line) as LogLine];
      } catch {
        return [];
      }
    });
}

/** Where the last `count` lines of a log begin: lines as the program wrote them, not records. */
export function tailStart(records: readonly LogLine[], count: number): number {
  let lines = 0;
  for (let index = records.length - 1; index >= 0; index--) {
    const ends = records[index]!.log.endsWith("\n") || index === records.length - 1;
    if (ends && ++lines > count) return index + 1;
  }
  return 0;
}

/**
 * The cVM meant by a name, an id or the beginning of an id.
 * @throws CliError `not_found`; `conflict` when several ids begin so.
 */
export function findState<S extends CvmState>(states: readonly S[], key: string): S {
  const exact = states.find((state) => state.id === key || state.config.name === key);
  if (exact !== undefined) return exact;
  const matches = /^[0-9a-f]+$/u.test(key) ? states.filter((state) => state.id.startsWith(key)) : [];
  if (matches.length === 1) return matches[0]!;
  if (matches.length > 1) throw new CliError("conflict", `"${key}" begins the ids of ${matches.length} cVMs: give more of it`);
  throw new CliError("not_found", `no cVM "${key}": see cvm ps -a`);
}
