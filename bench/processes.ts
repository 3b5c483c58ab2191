/** Programs that run on this machine. */
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";

/** qemu 10's own choice of processor is several times slower. */
const ENVIRONMENT = { QEMU_CPU: "rv64" };
const TIME_OUT_MS = 300_000;

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly timeoutMs?: number;
}
export interface Ended {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program without input and waits for it. Killed after the time-out (300 s unless given). */
export function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: ["ignore", "pipe", "pipe"],
      cwd: options.cwd ?? tmpdir(),
      env: { ...process.env, ...ENVIRONMENT, ...options.env },
      timeout: options.timeoutMs ?? TIME_OUT_MS,
      killSignal: "SIGKILL",
    });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    child.on("error", reject);
    child.on("close", (status, signal) => {
      if (signal === null) resolve({ status: status ?? 1, stdout, stderr });
      else resolve({ status: 128, stdout, stderr: `${stderr}killed by ${signal}\n` });
    });
  });
}

/** Throws unless a program exited 0. */
export function mustBeOk<T extends Ended>(what: string, ended: T): T {
  if (ended.status !== 0)
    throw new Error(`${what} ended with ${ended.status}: ${ended.stderr.trim() || ended.stdout.trim() || "no output"}`);
  return ended;
}

/** A program that goes on until it is stopped. */
export interface Background {
  readonly pid: number;
  readonly stop: () => Promise<void>;
}
/** @param signal ends it */
export function background(command: string, args: readonly string[], signal: NodeJS.Signals = "SIGKILL"): Background {
  const child = spawn(command, args, { stdio: "ignore", cwd: tmpdir(), env: { ...process.env, ...ENVIRONMENT } });
  const ended = new Promise<void>((resolve) => {
    child.on("close", () => resolve());
    child.on("error", () => resolve());
  });
  return {
    pid: child.pid ?? -1,
    stop: () => {
      child.kill(signal);
      return ended;
    },
  };
}

/** First number of a schedstat file, in seconds: time on a processor. */
function onProcessor(file: string): number {
  try {
    return Number(readFileSync(file, "utf8").split(" ")[0]) / 1e9;
  } catch {
    // A thread that has just ended.
    return 0;
  }
}

/** Processor seconds that the threads of a process have used, those that ended left out. */
export function processorSeconds(pid: number): number {
  return readdirSync(`/proc/${pid}/task`).reduce((sum, thread) => sum + onProcessor(`/proc/${pid}/task/${thread}/schedstat`), 0);
}
/** Those of a process and of its children. */
export function familySeconds(pid: number): number {
  const children = readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
    readFileSync(`/proc/${pid}/task/${thread}/children`, "utf8")
      .split(" ")
      .filter((text) => text !== ""),
  );
  return children.reduce((sum, child) => sum + processorSeconds(Number(child)), processorSeconds(pid));
}
/** Those of its first thread: a host runs all guest code there. */
export function mainThreadSeconds(pid: number): number {
  return onProcessor(`/proc/${pid}/schedstat`);
}
