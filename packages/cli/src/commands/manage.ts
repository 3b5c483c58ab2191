import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import { InvalidArgumentError } from "commander";
import { CliError, messageOf } from "../errors.ts";
import { connectHost, connectRunningHost } from "../host/client.ts";
import type { HostConnection } from "../host/connection.ts";
import type { CvmState } from "../host/protocol.ts";
import { deleteRecord, findState, loadStates, readLog, tailStart } from "../host/records.ts";
import { wantedProject } from "../deploy/commands.ts";
import { showLogs } from "../deploy/logs.ts";
import { wantsColour } from "../deploy/output.ts";
import { Label, labelOf, ofProject } from "../deploy/plan.ts";
import { humanAge, table } from "../output.ts";
import { follow, terminalSize } from "./attach.ts";
import { parseEnv, parseSignal } from "./parse.ts";

/** States from the host when it runs, from disk otherwise. */
async function states(): Promise<readonly CvmState[]> {
  const host = await connectRunningHost();
  if (host === undefined) return loadStates(false);
  try {
    return (await host.request("list", {})).cvms;
  } finally {
    host.close();
  }
}

async function withHost<T>(action: (host: HostConnection) => Promise<T>): Promise<T> {
  const host = await connectHost();
  try {
    return await action(host);
  } finally {
    host.close();
  }
}

function isUp(state: CvmState): boolean {
  return state.status === "running" || state.status === "restarting";
}

function statusText(state: CvmState): string {
  if (state.status === "running") {
    const { health } = state;
    const found = health === undefined ? "" : ` (${health.status === "starting" ? "health: starting" : health.status})`;
    return `Up ${humanAge(state.started ?? state.created)}${found}`;
  }
  if (state.status === "created") return "Created";
  if (state.status === "restarting") return `Restarting (${state.exitCode ?? "?"}) ${humanAge(state.finished ?? state.created)} ago`;
  // When its host died nobody took the time.
  if (state.finished === undefined) return `Exited (${state.exitCode ?? "?"}) with its host`;
  return `Exited (${state.exitCode ?? "?"}) ${humanAge(state.finished)} ago`;
}

function portsText(state: CvmState): string {
  return state.config.ports
    .map(({ hostAddress, hostPort, port, protocol = "tcp" }) => {
      const address = hostAddress.includes(":") ? `[${hostAddress}]` : hostAddress;
      return `${address}:${hostPort}->${port}/${protocol}`;
    })
    .join(", ");
}

function parseSeconds(text: string): number {
  const value = Number(text);
  if (!(value >= 0)) throw new InvalidArgumentError("give a number of seconds.");
  return value;
}

/** `all`, or a number of lines. */
function parseTail(text: string): number {
  if (text === "all") return Infinity;
  if (!/^\d+$/u.test(text)) throw new InvalidArgumentError("give a number of lines, or all.");
  return Number(text);
}

function parseFormat(text: string): "json" | "table" {
  if (text !== "json" && text !== "table") throw new InvalidArgumentError("choose table or json.");
  return text;
}

/** Does the same to several cVMs; says each one done, reports each failure, fails if any failed. */
async function forEach(keys: readonly string[], action: (key: string) => Promise<unknown>): Promise<void> {
  for (const key of keys) {
    try {
      await action(key);
      process.stdout.write(`${key}\n`);
    } catch (error) {
      process.stderr.write(`cvm: ${messageOf(error)}\n`);
      process.exitCode = 1;
    }
  }
}

interface PsOptions {
  readonly all?: boolean;
  readonly quiet?: boolean;
  readonly trunc: boolean;
  readonly format: string;
  readonly file: readonly string[];
  readonly projectName?: string;
  readonly global?: boolean;
}
interface LogsOptions {
  readonly follow?: boolean;
  readonly tail: number;
  readonly timestamps?: boolean;
  readonly file: readonly string[];
  readonly projectName?: string;
  readonly color: boolean;
  readonly logPrefix: boolean;
}

/**
 * How to ask for the cVMs of a project whose logs are meant. Undefined when one cVM is meant: there is no project, or the one name
 * that is given is none of its own.
 */
async function projectLogs(keys: readonly string[], options: LogsOptions): Promise<(() => Promise<readonly CvmState[]>) | undefined> {
  const project = wantedProject(options);
  if (project === undefined) return undefined;
  const all = async (): Promise<readonly CvmState[]> => ofProject(await states(), project);
  const isMeant = (state: CvmState, key: string): boolean => labelOf(state, Label.SERVICE) === key || state.config.name === key;
  const present = await all();
  const strange = keys.find((key) => !present.some((state) => isMeant(state, key)));
  if (strange === undefined)
    return async () => (await all()).filter((state) => keys.length === 0 || keys.some((key) => isMeant(state, key)));
  if (keys.length === 1 && options.file.length === 0 && options.projectName === undefined) return undefined;
  throw new CliError("not_found", `the project "${project}" has no cVM of a service "${strange}": see cvm ps -a`);
}

export function addManage(program: Command): void {
  program
    .command("ps")
    .description("list cVMs")
    .option("-a, --all", "also those that ended")
    .option("-q, --quiet", "ids only")
    .option("--no-trunc", "whole ids")
    .option("--format <format>", "table or json", parseFormat, "table")
    .option("-f, --file <file>", "of the project of a deployment file", (text: string, before: string[]) => [...before, text], [])
    .option("-p, --project-name <name>", "of this project")
    .option("-g, --global", "all cVMs, in a folder with a deployment file too")
    .action(async (options: PsOptions) => {
      const project = wantedProject(options);
      const all = project === undefined ? await states() : ofProject(await states(), project);
      const rows = all.filter((state) => options.all === true || isUp(state)).toReversed();
      const idOf = (state: CvmState): string => (options.trunc ? state.id.slice(0, 12) : state.id);
      if (options.format === "json") process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`);
      else if (options.quiet === true) process.stdout.write(rows.map((state) => `${idOf(state)}\n`).join(""));
      else {
        process.stdout.write(
          `${table(rows, [
            { title: "CVM ID", cell: idOf },
            { title: "IMAGE", cell: (state) => state.config.image.replace(/:latest$/u, "") },
            { title: "COMMAND", cell: (state) => JSON.stringify(state.config.argv.join(" ").slice(0, 30)) },
            { title: "CREATED", cell: (state) => `${humanAge(state.created)} ago` },
            { title: "STATUS", cell: statusText },
            { title: "ADDRESS", cell: (state) => state.address ?? "" },
            { title: "PORTS", cell: portsText },
            ...(project === undefined ? [] : [{ title: "SERVICE", cell: (state: CvmState) => labelOf(state, Label.SERVICE) ?? "" }]),
            { title: "NAMES", cell: (state) => state.config.name },
          ])}\n`,
        );
      }
    });

  program
    .command("logs")
    .description("show the output of a cVM, or of services of a project")
    .argument("[CVM...]", "name or id; or services of the project of this folder, all unless given")
    .option("-f, --follow", "go on until it ends")
    .option("-n, --tail <lines>", "only the last lines", parseTail, Infinity)
    .option("-t, --timestamps", "with the time of each")
    .option("--file <file>", "of the project of a deployment file", (text: string, before: string[]) => [...before, text], [])
    .option("-p, --project-name <name>", "of this project")
    .option("--no-color", "without colours")
    .option("--no-log-prefix", "without names before the lines")
    .action(async (keys: string[], options: LogsOptions, command: Command) => {
      const current = await projectLogs(keys, options);
      if (current !== undefined) {
        await showLogs(current, {
          follow: options.follow === true,
          tail: options.tail,
          timestamps: options.timestamps === true,
          colour: wantsColour(options.color),
          prefix: options.logPrefix,
        });
        return;
      }
      if (keys.length !== 1) command.error("error: name one cVM: see cvm ps -a");
      const { id } = findState(await states(), keys[0]!);
      let shown: number | undefined;
      const show = (): void => {
        const lines = readLog(id);
        const first = shown ?? tailStart(lines, options.tail);
        for (const line of lines.slice(first)) {
          (line.stream === "stderr" ? process.stderr : process.stdout).write(
            options.timestamps === true ? `${line.time} ${line.log}` : line.log,
          );
        }
        shown = lines.length;
      };
      show();
      while (options.follow === true && (await states()).some((state) => state.id === id && isUp(state))) {
        await sleep(200);
        show();
      }
      // What came between the last look and the end.
      show();
    });

  program
    .command("exec")
    .description("run a command in a running cVM")
    .usage("[options] CVM COMMAND [ARG...]")
    .argument("CVM", "name or id")
    .argument("<COMMAND...>", "command and its arguments")
    .option("-d, --detach", "do not wait for it")
    .option("-i, --interactive", "keep standard input open")
    .option("-t, --tty", "give it a terminal")
    .option("-e, --env <NAME=value>", "set an environment variable", parseEnv, [])
    .option("-w, --workdir <folder>", "working directory")
    .option("-u, --user <user[:group]>", "user to run as")
    .passThroughOptions()
    .action(
      async (
        key: string,
        argv: string[],
        options: { detach?: boolean; interactive?: boolean; tty?: boolean; env: string[]; workdir?: string; user?: string },
      ) => {
        process.exitCode = await withHost(async (host) => {
          const { id } = findState((await host.request("list", {})).cvms, key);
          const stdin = options.interactive === true && options.detach !== true;
          // Output may come before the answer that names the console.
          const early: { console: number; fd: number; bytes: Uint8Array }[] = [];
          const codes = new Map<number, number>();
          let known: number | undefined;
          host.on("output", (data) => {
            if (known === undefined && data.console !== 0) early.push(data);
          });
          host.on("exit", (data) => codes.set(data.console, data.code));
          const { console } = await host.request("exec", {
            id,
            argv,
            env: options.env,
            tty: options.tty === true,
            stdin,
            ...terminalSize(),
            ...(options.workdir === undefined ? {} : { cwd: options.workdir }),
            ...(options.user === undefined ? {} : { user: options.user }),
          });
          known = console;
          if (options.detach === true) return 0;
          for (const data of early) if (data.console === console) (data.fd === 2 ? process.stderr : process.stdout).write(data.bytes);
          const done = codes.get(console) ?? codes.get(0);
          if (done !== undefined) return done;
          return (await follow(host, { id, console, tty: options.tty === true, stdin })) ?? 0;
        });
      },
    );

  program
    .command("attach")
    .description("connect this terminal to a running cVM")
    .argument("CVM", "name or id")
    .action(async (key: string) => {
      process.exitCode = await withHost(async (host) => {
        const state = findState((await host.request("list", {})).cvms, key);
        if (state.status !== "running") throw new CliError("conflict", `cVM "${key}" is not running`);
        // Followed first: its end may come with the answer.
        const failed = new AbortController();
        const { tty, stdin } = state.config;
        const ended = follow(host, { id: state.id, console: 0, tty, stdin }, failed.signal);
        ended.catch(() => {});
        try {
          const { running } = await host.request("attach", { id: state.id, console: 0 });
          if (!running) throw new CliError("conflict", `cVM "${key}" is not running`);
        } catch (error) {
          failed.abort();
          throw error;
        }
        return (await ended) ?? 0;
      });
    });

  program
    .command("start")
    .description("start cVMs that ended")
    .argument("<CVM...>", "names or ids")
    .action((keys: string[]) => withHost((host) => forEach(keys, (key) => host.request("start", { id: key }))));

  program
    .command("stop")
    .description("end cVMs: SIGTERM, then SIGKILL")
    .argument("<CVM...>", "names or ids")
    .option("-t, --time <seconds>", "seconds to wait before SIGKILL; 10 unless the cVM says otherwise", parseSeconds)
    .action((keys: string[], options: { time?: number }) =>
      withHost((host) => forEach(keys, (key) => host.request("stop", { id: key, seconds: options.time }))),
    );

  program
    .command("kill")
    .description("send a signal to cVMs")
    .argument("<CVM...>", "names or ids")
    .option("-s, --signal <signal>", "signal to send", parseSignal, 9)
    .action((keys: string[], options: { signal: number }) =>
      withHost((host) => forEach(keys, (key) => host.request("kill", { id: key, signal: options.signal }))),
    );

  program
    .command("rm")
    .description("remove cVMs")
    .argument("<CVM...>", "names or ids")
    .option("-f, --force", "also when running")
    .action(async (keys: string[], options: { force?: boolean }) => {
      const host = await connectRunningHost();
      await forEach(keys, async (key) => {
        if (host !== undefined) return host.request("remove", { id: key, force: options.force === true });
        deleteRecord(findState(loadStates(false), key).id);
        return undefined;
      });
      host?.close();
    });

  program
    .command("wait")
    .description("wait until cVMs end, print their exit codes")
    .argument("<CVM...>", "names or ids")
    .action((keys: string[]) =>
      withHost(async (host) => {
        for (const key of keys) process.stdout.write(`${(await host.request("wait", { id: key })).exitCode}\n`);
      }),
    );

  program
    .command("inspect")
    .description("everything known of cVMs, as JSON")
    .argument("<CVM...>", "names or ids")
    .option("--format <format>", "json", (text: string) => {
      if (text !== "json") throw new InvalidArgumentError("choose json.");
      return text;
    })
    .action(async (keys: string[]) => {
      const host = await connectRunningHost();
      const found = [];
      for (const key of keys)
        found.push(host === undefined ? findState(loadStates(false), key) : await host.request("inspect", { id: key }));
      host?.close();
      process.stdout.write(`${JSON.stringify(found, null, 2)}\n`);
    });
}
