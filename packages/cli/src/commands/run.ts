import { mkdirSync } from "node:fs";
import type { Command } from "commander";
import { CliError } from "../errors.ts";
import { connectHost } from "../host/client.ts";
import { randomName } from "../host/names.ts";
import type { NetworkMode } from "../host/network/uplink.ts";
import type { NetworkConfig, PublishedPort, RestartPolicy, Volume } from "../host/protocol.ts";
import { requireImage } from "../images/store.ts";
import { follow, terminalSize } from "./attach.ts";
import { parseCpus, parseDns, parseEnv, parseHost, parseMemory, parseNetwork, parsePort, parseRestart, parseVolume } from "./parse.ts";

/** Memory of a cVM unless `-m` says otherwise. */
const DEFAULT_MEMORY = 256 * 1024 ** 2;

interface RunOptions {
  readonly rm?: boolean;
  readonly detach?: boolean;
  readonly name?: string;
  readonly env: readonly string[];
  readonly volume: readonly Volume[];
  readonly publish: readonly PublishedPort[];
  readonly network: NetworkMode;
  readonly addHost: NetworkConfig["hosts"];
  readonly dns: readonly string[];
  readonly memory: number;
  readonly cpus: number;
  readonly interactive?: boolean;
  readonly tty?: boolean;
  readonly workdir?: string;
  readonly user?: string;
  readonly hostname?: string;
  readonly entrypoint?: string;
  readonly strace?: boolean;
  readonly restart?: RestartPolicy;
}

export function addRun(program: Command): void {
  program
    .command("run")
    .description("run a command in a new cVM")
    .usage("[options] IMAGE [COMMAND] [ARG...]")
    .argument("IMAGE", "image, NAME[:TAG]")
    .argument("[COMMAND...]", "command and its arguments; the image's own unless given")
    .option("--rm", "remove the cVM when it ends")
    .option("-d, --detach", "run in the background and print the id")
    .option("--name <name>", "name of the cVM")
    .option("-e, --env <NAME=value>", "set an environment variable", parseEnv, [])
    .option("-v, --volume <source:target[:ro]>", "mount a folder or a named volume", parseVolume, [])
    .option("-p, --publish <[address:]hostport:port>", "publish a port of the cVM", parsePort, [])
    .option("--network <mode>", "what it reaches: bridge (cVMs and outside), internal (cVMs), none", parseNetwork, "bridge")
    .option("--add-host <name:address>", "add a name; the address host-gateway is this machine's loopback", parseHost, [])
    .option("--dns <address>", "name server to ask instead of this machine's", parseDns, [])
    .option("-m, --memory <size>", "memory limit, such as 256m", parseMemory, DEFAULT_MEMORY)
    .option("--cpus <number>", "limit of processor time, such as 0.5", parseCpus, 0)
    .option("-i, --interactive", "keep standard input open")
    .option("-t, --tty", "give it a terminal")
    .option("-w, --workdir <folder>", "working directory")
    .option("-u, --user <user[:group]>", "user to run as")
    .option("-h, --hostname <name>", "host name in the cVM")
    .option("--entrypoint <command>", "overwrite the image's entry point")
    .option("--restart <policy>", "start it again: no, on-failure[:N], always, unless-stopped", parseRestart)
    .option("--strace", "print system calls to standard error")
    .helpOption("--help", "show this help")
    .passThroughOptions()
    .action(async (reference: string, command: string[], options: RunOptions) => {
      process.exitCode = await run(reference, command, options);
    });
}

async function run(reference: string, command: readonly string[], options: RunOptions): Promise<number> {
  const image = requireImage(reference);
  const { config } = image.config;
  const entrypoint = options.entrypoint === undefined ? (config.Entrypoint ?? []) : options.entrypoint === "" ? [] : [options.entrypoint];
  const rest = command.length > 0 ? command : options.entrypoint === undefined ? (config.Cmd ?? []) : [];
  const argv = [...entrypoint, ...rest];
  if (argv.length === 0) throw new CliError("usage", `image "${image.reference}" has no command of its own: give one after its name`);
  if (options.network === "none" && options.publish.length > 0)
    throw new CliError("usage", "a cVM with --network none has no port that could be published: leave out -p, or choose internal");
  if (options.tty === true && options.interactive === true && options.detach !== true && !process.stdin.isTTY)
    throw new CliError("usage", "standard input is not a terminal: leave out -t, or run from one");

  if (options.rm === true && options.restart !== undefined && options.restart.name !== "no")
    throw new CliError("usage", "--rm and --restart exclude each other: what is removed cannot be started again");

  // Folders of named volumes; those of the user are there.
  for (const { source } of options.volume) mkdirSync(source, { recursive: true, mode: 0o700 });
  const host = await connectHost();
  try {
    const { cvms } = await host.request("list", {});
    const name = options.name ?? randomName(new Set(cvms.map((cvm) => cvm.config.name)));
    const stdin = options.interactive === true;
    const { id } = await host.request("create", {
      name,
      image: image.reference,
      imageId: image.id,
      argv,
      env: [...(config.Env ?? []), ...options.env],
      cwd: options.workdir ?? (config.WorkingDir === undefined || config.WorkingDir === "" ? "/" : config.WorkingDir),
      user: options.user ?? config.User ?? "",
      hostname: options.hostname ?? name.replaceAll(/[^a-zA-Z0-9-]/gu, "-").slice(0, 63),
      tty: options.tty === true,
      stdin,
      memoryBytes: options.memory,
      cpus: options.cpus,
      ports: options.publish,
      network: { mode: options.network, hosts: options.addHost, dns: options.dns },
      volumes: options.volume,
      remove: options.rm === true,
      strace: options.strace === true,
      ...(options.restart === undefined ? {} : { restart: options.restart }),
      ...terminalSize(),
    });
    if (options.detach === true) {
      await host.request("start", { id });
      process.stdout.write(`${id}\n`);
      return 0;
    }
    await host.request("attach", { id, console: 0 });
    const failed = new AbortController();
    const ended = follow(host, { id, console: 0, tty: options.tty === true, stdin }, failed.signal);
    // A failed start is reported by start itself.
    ended.catch(() => {});
    try {
      await host.request("start", { id });
    } catch (error) {
      failed.abort();
      throw error;
    }
    return (await ended) ?? 0;
  } finally {
    host.close();
  }
}
