import { spawn, spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";

export { freePort } from "../../bench/loopback.ts";

const root = join(import.meta.dirname, "..", "..");
const command = join(root, "bin", "cvm");

/** Images and cVMs of the tests: kept between runs, so that packages are downloaded once. */
export const TEST_HOME: string = process.env["CVM_TEST_HOME"] ?? join(root, ".cache", "test-home");
mkdirSync(TEST_HOME, { recursive: true });

export interface Result {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
}

/** Runs the real `cvm` command and waits for it. Killed after the time-out (60 s unless given). */
export function cvm(args: readonly string[], options: RunOptions = {}): Promise<Result> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env: { ...process.env, CVM_HOME: TEST_HOME, ...options.env }, stdio: ["pipe", "pipe", "pipe"] });
    const timer = setTimeout(() => child.kill("SIGKILL"), options.timeoutMs ?? 60_000);
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    child.stdin.on("error", () => {});
    child.stdin.end(options.input ?? "");
    child.on("error", reject);
    child.on("close", (status, signal) => {
      clearTimeout(timer);
      resolve({ status: status ?? (signal === null ? 1 : 128), stdout, stderr });
    });
  });
}

/** As {@link cvm}; throws unless it exits 0. Returns trimmed standard output. */
export async function cvmOk(args: readonly string[], options: RunOptions = {}): Promise<string> {
  const result = await cvm(args, options);
  if (result.status !== 0) throw new Error(`cvm ${args.join(" ")} ended with ${result.status}\n${result.stderr}${result.stdout}`);
  return result.stdout.trim();
}

/** Makes an image from Debian packages unless the test home has it. */
export async function ensureImage(tag: string, packages: readonly string[], cmd?: string): Promise<void> {
  const images = JSON.parse(await cvmOk(["images", "--format", "json"])) as { reference: string }[];
  if (images.some((image) => image.reference === `${tag}:latest`)) return;
  await cvmOk(["image", "debian", "-t", tag, ...(cmd === undefined ? [] : ["--cmd", cmd]), ...packages], { timeoutMs: 300_000 });
}

/** Installs Debian packages on this machine when a program of them is missing (root and apt); false when it cannot. */
export function ensureProgram(program: string, ...debianPackages: string[]): boolean {
  const has = (): boolean => spawnSync("sh", ["-c", `command -v ${program}`], { stdio: "ignore" }).status === 0;
  if (has()) return true;
  if (process.getuid?.() !== 0) return false;
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  spawnSync("apt-get", ["-qq", "update"], { stdio: "ignore", env });
  spawnSync("apt-get", ["-qq", "install", "-y", "--no-install-recommends", ...debianPackages], { stdio: "ignore", env });
  return has();
}
