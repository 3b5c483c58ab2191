/** A host with a home of its own, reached by the `cvm` command as users do. */
import { createWriteStream, mkdirSync } from "node:fs";
import { join } from "node:path";
import { spawn } from "node:child_process";
import { COMMAND, HOME, OUTPUT } from "./places.ts";
import { UnavailableError } from "./unavailable.ts";

export interface Ended {
  readonly status: number;
  readonly output: string;
  readonly timedOut: boolean;
  readonly seconds: number;
}

export interface RunOptions {
  /** Seconds; then it is killed. */
  readonly timeout: number;
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Name of a file of {@link OUTPUT} that gets what it prints, as it comes. */
  readonly keep?: string;
  readonly onLine?: (line: string) => void;
}

/** Runs a program without input; what it prints on both outputs, in one. */
export function run(command: string, args: readonly string[], options: RunOptions): Promise<Ended> {
  mkdirSync(OUTPUT, { recursive: true });
  return new Promise((resolve, reject) => {
    const start = performance.now();
    const child = spawn(command, args, {
      stdio: ["ignore", "pipe", "pipe"],
      cwd: options.cwd ?? OUTPUT,
      env: { ...process.env, CVM_HOME: HOME, ...options.env },
    });
    const file = options.keep === undefined ? undefined : createWriteStream(join(OUTPUT, options.keep));
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      child.kill("SIGKILL");
    }, options.timeout * 1000);
    const chunks: Buffer[] = [];
    let rest = "";
    const collect = (chunk: Buffer): void => {
      chunks.push(chunk);
      file?.write(chunk);
      if (options.onLine === undefined) return;
      const lines = (rest + chunk.toString()).split("\n");
      rest = lines.pop()!;
      for (const line of lines) options.onLine(line);
    };
    child.stdout.on("data", collect);
    child.stderr.on("data", collect);
    child.on("error", (error) => {
      clearTimeout(timer);
      reject(error);
    });
    child.on("close", (status) => {
      clearTimeout(timer);
      file?.end();
      resolve({ status: status ?? 128, output: Buffer.concat(chunks).toString(), timedOut, seconds: (performance.now() - start) / 1000 });
    });
  });
}

/** Runs the `cvm` command; kept open for at most ten minutes. */
export function cvm(args: readonly string[], options: Partial<RunOptions> = {}): Promise<Ended> {
  mkdirSync(HOME, { recursive: true, mode: 0o700 });
  return run(COMMAND, args, { timeout: 600, ...options });
}

/** @throws Error with what it printed, unless it ends with 0 */
export async function cvmOk(args: readonly string[]): Promise<string> {
  const { status, output } = await cvm(args);
  if (status !== 0) throw new Error(`cvm ${args.join(" ")} ended with ${status}: ${output.trim()}`);
  return output;
}

/** Makes an image of Debian packages unless the home has it. */
export async function ensureImage(tag: string, packages: readonly string[], say: (text: string) => void): Promise<void> {
  const images = JSON.parse(await cvmOk(["images", "--format", "json"])) as { reference: string }[];
  if (images.some(({ reference }) => reference === `${tag}:latest`)) return;
  say(`making the image ${tag}`);
  const { status, output } = await cvm(["image", "debian", "-t", tag, ...packages]);
  if (status === 0) return;
  const why = `the image ${tag} cannot be made: ${output.trim().slice(-500)}`;
  throw output.includes("[unavailable]") ? new UnavailableError(why) : new Error(why);
}
