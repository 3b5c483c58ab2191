/** A host of the benches' own, and cVMs that run on it one after the other. */
import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { listImages, makeScratchImage, requireImage, unpackImage } from "@cvm/cli";
import type { HostConnection } from "../packages/cli/src/host/connection.ts";
import { connectRunningHost } from "../packages/cli/src/host/client.ts";
import { COMMAND, HOME } from "./places.ts";
import { mainThreadSeconds, mustBeOk, processorSeconds, run, type Ended } from "./processes.ts";

const MIB = 1024 ** 2;
/** Most milliseconds that a host may take to come up, and a cVM to end. */
const START_MS = 20_000;
const RUN_MS = 300_000;
/** A home with the same images and nothing else: no translations that are kept, no cVMs. */
const COLD_HOME = `${HOME}-cold`;

/** Images that are made of Debian packages. */
const PACKAGES = {
  busybox: ["busybox-static"],
  base: ["coreutils", "dash"],
  python: ["python3"],
  redis: ["redis-server", "redis-tools"],
  nginx: ["nginx"],
  sqlite: ["sqlite3"],
} as const;
export type ImageName = keyof typeof PACKAGES | "empty";

function useHome(home: string): void {
  mkdirSync(home, { recursive: true, mode: 0o700 });
  process.env["CVM_HOME"] = home;
}

/** Makes an image unless the benches' home has it. */
export async function ensureImage(name: ImageName, say: (line: string) => void): Promise<void> {
  useHome(HOME);
  if (listImages().some((image) => image.reference === `${name}:latest`)) return;
  say(`making the image ${name}`);
  if (name === "empty") {
    await makeScratchImage(name, [], { Env: [], WorkingDir: "/" });
    return;
  }
  mustBeOk(
    `cvm image debian -t ${name}`,
    await run(COMMAND, ["image", "debian", "-t", name, ...PACKAGES[name]], { env: { CVM_HOME: HOME } }),
  );
}

/** The folder with an image's files, for qemu-riscv64 -L. */
export async function imageRoot(name: ImageName): Promise<string> {
  useHome(HOME);
  const layers = await unpackImage(requireImage(name));
  return join(layers[0]!, "root");
}

/** How a cVM's first program ended, and what it cost. */
export interface CvmEnded extends Ended {
  /** Seconds from the request to make the cVM until its end was told. */
  readonly wall: number;
  /** Processor seconds of the host meanwhile, all threads. */
  readonly cpu: number;
}

export interface CvmOptions {
  readonly image: ImageName;
  readonly argv: readonly string[];
  /** Folders by their places in the cVM; read-only. */
  readonly volumes?: Readonly<Record<string, string>>;
  /** The same, but writable. */
  readonly writable?: Readonly<Record<string, string>>;
  readonly env?: readonly string[];
  /** Gets output as it comes. */
  readonly output?: (text: string) => void;
}

interface Waiting {
  readonly output: (fd: number, text: string) => void;
  readonly ended: (code: number) => void;
  readonly failed: (error: Error) => void;
}

/** A host process with a connection that keeps it up. cVMs are asked for as `cvm run --rm` does, without a command's own start. */
export class BenchHost {
  readonly pid: number;
  readonly home: string;
  readonly #link: HostConnection;
  readonly #waiting: Map<string, Waiting> = new Map();
  #count = 0;
  #stopping = false;

  private constructor(pid: number, home: string, link: HostConnection) {
    this.pid = pid;
    this.home = home;
    this.#link = link;
    link.on("output", ({ id, fd, bytes }) => this.#waiting.get(id)?.output(fd, Buffer.from(bytes).toString()));
    link.on("report", ({ id, text }) => this.#waiting.get(id)?.output(2, `${text}\n`));
    link.on("exit", ({ id, console, code }) => {
      if (console === 0) this.#waiting.get(id)?.ended(code);
    });
    link.onClose((reason) => {
      if (this.#stopping) return;
      for (const one of this.#waiting.values()) one.failed(new Error(`the host went away: ${reason}`));
    });
  }

  /** Starts a host; one that runs already in that home is ended first. `cold`: it finds the images and nothing else. */
  static async start(cold = false): Promise<BenchHost> {
    if (cold) {
      await endHost(COLD_HOME);
      rmSync(COLD_HOME, { recursive: true, force: true });
      mkdirSync(COLD_HOME, { recursive: true, mode: 0o700 });
      for (const folder of ["images", "layers"]) symlinkSync(join(HOME, folder), join(COLD_HOME, folder));
    }
    const home = cold ? COLD_HOME : HOME;
    await endHost(home);
    const log = openSync(join(home, "bench-host.log"), "a", 0o600);
    const child = spawn(COMMAND, ["host", "run"], { stdio: ["ignore", log, log], env: { ...process.env, CVM_HOME: home } });
    closeSync(log);
    const ended = new AbortController();
    child.on("error", () => ended.abort());
    child.on("exit", () => ended.abort());
    const deadline = Date.now() + START_MS;
    while (Date.now() < deadline && !ended.signal.aborted) {
      useHome(home);
      const link = await connectRunningHost();
      if (link !== undefined) {
        const { pid } = await link.request("hello", {});
        return new BenchHost(pid, home, link);
      }
      await sleep(10);
    }
    child.kill("SIGKILL");
    throw new Error(`the host did not come up: see ${join(home, "bench-host.log")}`);
  }

  /** Processor seconds of all its threads, and of the one that runs guests. */
  cpu(): number {
    return processorSeconds(this.pid);
  }
  guestCpu(): number {
    return mainThreadSeconds(this.pid);
  }

  /** Runs a program in a cVM of its own and waits for its end. @throws Error when it cannot be started or does not end in time */
  async run(options: CvmOptions): Promise<CvmEnded> {
    useHome(this.home);
    const { reference, id: imageId, config } = requireImage(options.image);
    const name = `bench-${++this.#count}`;
    const cpuBefore = this.cpu();
    const start = performance.now();
    const { id } = await this.#link.request("create", {
      name,
      image: reference,
      imageId,
      argv: options.argv,
      env: [...(config.config.Env ?? []), ...(options.env ?? [])],
      cwd: "/",
      user: "",
      hostname: name,
      tty: false,
      stdin: false,
      memoryBytes: 256 * MIB,
      cpus: 0,
      ports: [],
      volumes: [
        ...Object.entries(options.volumes ?? {}).map(([target, source]) => ({ source, target, readOnly: true })),
        ...Object.entries(options.writable ?? {}).map(([target, source]) => ({ source, target, readOnly: false })),
      ],
      remove: true,
      strace: false,
    });
    let stdout = "";
    let stderr = "";
    let timer: NodeJS.Timeout | undefined;
    try {
      const status = await new Promise<number>((resolve, reject) => {
        timer = setTimeout(() => reject(new Error(`"${options.argv.join(" ")}" did not end in ${RUN_MS / 1000} s`)), RUN_MS);
        const output = (fd: number, text: string): void => {
          if (fd === 2) stderr += text;
          else stdout += text;
          options.output?.(text);
        };
        this.#waiting.set(id, { output, ended: resolve, failed: reject });
        this.#link
          .request("attach", { id, console: 0 })
          .then(() => this.#link.request("start", { id }))
          .catch(reject);
      });
      return { status, stdout, stderr, wall: (performance.now() - start) / 1000, cpu: this.cpu() - cpuBefore };
    } catch (error) {
      // One that hangs is ended, so that it does not slow down what comes next.
      await this.#link.request("remove", { id, force: true }).catch(() => {});
      throw error;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(id);
    }
  }

  /** Ends the host and all its cVMs. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#link.request("shutdown", {}).catch(() => {});
    this.#link.close();
    await gone(this.pid);
  }
}

/** Runs the cvm command in a home. */
export function cvm(home: string, args: readonly string[]): Promise<Ended> {
  return run(COMMAND, args, { env: { CVM_HOME: home } });
}

/** Ends the host of a home, if one runs. */
async function endHost(home: string): Promise<void> {
  useHome(home);
  const link = await connectRunningHost();
  if (link === undefined) return;
  const { pid } = await link.request("hello", {});
  await link.request("shutdown", {}).catch(() => {});
  link.close();
  await gone(pid);
}

async function gone(pid: number): Promise<void> {
  const deadline = Date.now() + START_MS;
  while (Date.now() < deadline && existsSync(`/proc/${pid}`)) await sleep(5);
}
