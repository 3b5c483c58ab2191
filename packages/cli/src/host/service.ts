import { randomBytes } from "node:crypto";
import { join } from "node:path";
import type { ProgramOptions } from "@cvm/monitor/abi";
import { CliError, exitCodeOf, messageOf } from "../errors.ts";
import { unpackImage } from "../images/layer.ts";
import { requireImage } from "../images/store.ts";
import { build, version } from "../version.ts";
import type { CvmConfig, CvmDetails, CvmState, Events, ExecParams, Method, Params, Results, Terminal } from "./protocol.ts";
import { requestSchemas } from "./protocol.ts";
import { appendLog, cvmFolder, deleteRecord, findState, loadStates, saveState } from "./records.ts";
import type { RunningCvm, Runtime } from "./runtime.ts";
import { resolveUser } from "./users.ts";

/** A connected command. */
export interface Client {
  send<E extends keyof Events>(event: E, data: Events[E]): void;
}

interface Entry {
  readonly state: CvmState;
  running: RunningCvm | undefined;
  starting: boolean;
  nextConsole: number;
  /** Who is attached, with the console they see. */
  readonly attached: Map<Client, Set<number>>;
  readonly waiting: ((code: number) => void)[];
  stopTimer: NodeJS.Timeout | undefined;
  lastReport: string | undefined;
}

const LINUX_ENOENT = 2;
const LINUX_EACCES = 13;
const LINUX_ENOEXEC = 8;
const SIGTERM = 15;
const SIGKILL = 9;

/** Says of a failed start what it means for the command: the library OS's errors carry a Linux `errno`. */
function startError(error: unknown, command: string): Error {
  const errno = (error as { errno?: unknown }).errno;
  if (errno === LINUX_ENOENT) return new CliError("no_program", `"${command}" is not in this image: ${messageOf(error)}`, { cause: error });
  if (errno === LINUX_EACCES || errno === LINUX_ENOEXEC)
    return new CliError("not_executable", `"${command}" cannot be run: ${messageOf(error)}`, { cause: error });
  return error instanceof Error ? error : new Error(messageOf(error));
}

/** The cVMs of one host: what the requests of {@link Params} do. */
export class HostService {
  readonly #runtime: Runtime;
  readonly #entries: Map<string, Entry> = new Map();
  /** Called whenever nothing runs any more, or something runs again. */
  onActivity: () => void = () => {};
  onShutdown: () => void = () => {};

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
    for (const state of loadStates(false)) {
      if (state.config.remove && state.status === "exited") {
        deleteRecord(state.id);
        continue;
      }
      saveState(state);
      this.#add(state);
    }
  }

  get running(): number {
    let count = 0;
    for (const entry of this.#entries.values()) if (entry.running !== undefined || entry.starting) count++;
    return count;
  }

  /**
   * Answers one request: checks its parameters, then acts.
   * @throws CliError
   */
  async handle(method: string, params: unknown, client: Client): Promise<unknown> {
    if (!Object.hasOwn(requestSchemas, method))
      throw new CliError("invalid", `the host knows no request "${method}": is it of another version?`);
    const name = method as Method;
    const checked = requestSchemas[name].safeParse(params);
    if (!checked.success)
      throw new CliError(
        "invalid",
        `${method}: ${checked.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`).join("; ")}`,
      );
    const handlers: { readonly [M in Method]: (params: Params[M], client: Client) => Results[M] | Promise<Results[M]> } = {
      hello: () => ({ version, build, pid: process.pid, running: this.running }),
      create: (config) => this.#create(config),
      start: ({ id }) => this.#start(id),
      attach: ({ id, console }, who) => this.#attach(id, console, who),
      input: ({ id, console, bytes }) => this.#live(id).input(console, bytes) ?? null,
      resize: ({ id, console, columns, rows }) => this.#live(id).resize(console, columns, rows) ?? null,
      exec: (request, who) => this.#exec(request, who),
      list: () => ({ cvms: [...this.#entries.values()].map((entry) => entry.state) }),
      inspect: ({ id }) => this.#inspect(id),
      stop: ({ id, seconds }) => this.#stop(id, seconds),
      kill: ({ id, signal }) => this.#kill(id, signal),
      remove: ({ id, force }) => this.#remove(id, force),
      wait: ({ id }) => this.#wait(id),
      shutdown: () => this.#shutdown(),
    };
    const handler = handlers[name] as (params: unknown, client: Client) => unknown;
    return handler(checked.data, client);
  }

  /** A command went away. */
  disconnected(client: Client): void {
    for (const entry of this.#entries.values()) entry.attached.delete(client);
  }

  #add(state: CvmState): Entry {
    const entry: Entry = {
      state,
      running: undefined,
      starting: false,
      nextConsole: 1,
      attached: new Map(),
      waiting: [],
      stopTimer: undefined,
      lastReport: undefined,
    };
    this.#entries.set(state.id, entry);
    return entry;
  }

  #entry(key: string): Entry {
    return this.#entries.get(
      findState(
        [...this.#entries.values()].map((entry) => entry.state),
        key,
      ).id,
    )!;
  }

  #live(key: string): RunningCvm {
    const entry = this.#entry(key);
    if (entry.running === undefined) throw new CliError("conflict", `cVM "${entry.state.config.name}" is not running`);
    return entry.running;
  }

  #create(config: CvmConfig): Results["create"] {
    for (const entry of this.#entries.values()) {
      if (entry.state.config.name === config.name) {
        throw new CliError(
          "conflict",
          `the name "${config.name}" is in use by cVM ${entry.state.id.slice(0, 12)}: remove it (cvm rm ${config.name}) or choose another`,
        );
      }
    }
    requireImage(config.imageId);
    const state: CvmState = { id: randomBytes(32).toString("hex"), config, status: "created", created: new Date().toISOString() };
    saveState(state);
    this.#add(state);
    return { id: state.id };
  }

  async #start(key: string): Promise<Results["start"]> {
    const entry = this.#entry(key);
    const { state } = entry;
    if (entry.running !== undefined || entry.starting) throw new CliError("conflict", `cVM "${state.config.name}" is running already`);
    entry.starting = true;
    this.onActivity();
    try {
      const image = requireImage(state.config.imageId);
      const layers = await unpackImage(image);
      const program = programOf(
        state.config,
        state.config.argv,
        state.config.env,
        state.config.cwd,
        state.config.user,
        state.config,
        layers,
      );
      state.status = "running";
      state.started = new Date().toISOString();
      delete state.finished;
      delete state.exitCode;
      delete state.error;
      let early: [number, number] | undefined;
      let started = false;
      const running = await this.#runtime.start(state, layers, join(cvmFolder(state.id), "writable"), program, {
        output: (console, fd, bytes) => this.#output(entry, console, fd, bytes),
        exit: (console, code, signal) => {
          if (console !== 0) this.#programEnded(entry, console, signal === 0 ? code : 128 + signal);
          else if (started) this.#ended(entry, code, signal);
          else early = [code, signal];
        },
        report: (text) => this.#report(entry, text),
      });
      entry.running = running;
      state.address = running.address;
      saveState(state);
      started = true;
      if (early !== undefined) this.#ended(entry, ...early);
      return { address: running.address };
    } catch (cause) {
      const error = startError(cause, state.config.argv[0]!);
      state.status = "exited";
      state.finished = new Date().toISOString();
      state.exitCode = exitCodeOf(error);
      state.error = messageOf(error);
      if (state.config.remove) this.#forget(entry);
      else saveState(state);
      throw error;
    } finally {
      entry.starting = false;
      this.onActivity();
    }
  }

  #attach(key: string, console: number, client: Client): Results["attach"] {
    const entry = this.#entry(key);
    const consoles = entry.attached.get(client) ?? new Set();
    consoles.add(console);
    entry.attached.set(client, consoles);
    return { running: entry.running !== undefined };
  }

  #send<E extends keyof Events>(entry: Entry, console: number | undefined, event: E, data: Events[E]): void {
    for (const [client, consoles] of entry.attached) if (console === undefined || consoles.has(console)) client.send(event, data);
  }

  #output(entry: Entry, console: number, fd: number, bytes: Uint8Array): void {
    if (console === 0) appendLog(entry.state.id, fd, bytes);
    this.#send(entry, console, "output", { id: entry.state.id, console, fd, bytes });
  }

  #report(entry: Entry, text: string): void {
    entry.lastReport = text;
    appendLog(entry.state.id, 2, Buffer.from(text.endsWith("\n") ? text : `${text}\n`));
    this.#send(entry, undefined, "report", { id: entry.state.id, text });
  }

  #programEnded(entry: Entry, console: number, code: number): void {
    this.#send(entry, console, "exit", { id: entry.state.id, console, code });
  }

  #ended(entry: Entry, code: number, signal: number): void {
    const { state } = entry;
    clearTimeout(entry.stopTimer);
    const running = entry.running;
    entry.running = undefined;
    running?.destroy();
    state.status = "exited";
    state.finished = new Date().toISOString();
    state.exitCode = signal === 0 ? code : 128 + signal;
    if (signal !== 0 && entry.lastReport !== undefined) state.error = entry.lastReport;
    delete state.address;
    this.#send(entry, undefined, "exit", { id: state.id, console: 0, code: state.exitCode });
    for (const done of entry.waiting.splice(0)) done(state.exitCode);
    if (state.config.remove) this.#forget(entry);
    else saveState(state);
    this.onActivity();
  }

  #forget(entry: Entry): void {
    this.#entries.delete(entry.state.id);
    deleteRecord(entry.state.id);
  }

  async #exec(request: ExecParams, client: Client): Promise<Results["exec"]> {
    const running = this.#live(request.id);
    const entry = this.#entry(request.id);
    const { config } = entry.state;
    const layers = await unpackImage(requireImage(config.imageId));
    const console = entry.nextConsole++;
    this.#attach(request.id, console, client);
    const program = programOf(
      config,
      request.argv,
      [...config.env, ...request.env],
      request.cwd ?? config.cwd,
      request.user ?? config.user,
      request,
      layers,
    );
    try {
      await running.exec(console, program);
    } catch (error) {
      throw startError(error, request.argv[0]!);
    }
    return { console };
  }

  async #inspect(key: string): Promise<CvmDetails> {
    const entry = this.#entry(key);
    const statistics = await entry.running?.statistics();
    return statistics === undefined ? entry.state : { ...entry.state, statistics };
  }

  async #stop(key: string, seconds: number): Promise<null> {
    const entry = this.#entry(key);
    if (entry.running === undefined) return null;
    const ended = this.#wait(key);
    entry.running.signal(0, SIGTERM);
    entry.stopTimer = setTimeout(() => this.#killNow(entry), seconds * 1000);
    await ended;
    return null;
  }

  #killNow(entry: Entry): void {
    if (entry.running !== undefined) this.#ended(entry, 0, SIGKILL);
  }

  #kill(key: string, signal: number): null {
    const running = this.#live(key);
    if (signal === SIGKILL) this.#killNow(this.#entry(key));
    else running.signal(0, signal);
    return null;
  }

  #remove(key: string, force: boolean): null {
    const entry = this.#entry(key);
    if (entry.running !== undefined) {
      if (!force) throw new CliError("conflict", `cVM "${entry.state.config.name}" is running: stop it first, or use cvm rm -f`);
      this.#killNow(entry);
    }
    if (this.#entries.has(entry.state.id)) this.#forget(entry);
    return null;
  }

  async #wait(key: string): Promise<Results["wait"]> {
    const entry = this.#entry(key);
    if (entry.running === undefined && !entry.starting) return { exitCode: entry.state.exitCode ?? 0 };
    return new Promise((resolve) => entry.waiting.push((exitCode) => resolve({ exitCode })));
  }

  #shutdown(): null {
    for (const entry of this.#entries.values()) this.#killNow(entry);
    this.onShutdown();
    return null;
  }
}

function programOf(
  config: CvmConfig,
  argv: readonly string[],
  env: readonly string[],
  cwd: string,
  userSpec: string,
  terminal: Terminal,
  layers: readonly string[],
): ProgramOptions {
  const user = resolveUser(userSpec, layers);
  const named = new Map<string, string>();
  const add = (pair: string): void => void named.set(pair.slice(0, pair.indexOf("=")), pair);
  add(`HOSTNAME=${config.hostname}`);
  add(`HOME=${user.home}`);
  if (terminal.tty) add("TERM=xterm");
  for (const pair of env) if (pair.includes("=")) add(pair);
  return {
    argv,
    env: [...named.values()],
    cwd,
    user: { uid: user.uid, gid: user.gid },
    tty: terminal.tty,
    stdin: terminal.stdin,
    ...(terminal.columns === undefined ? {} : { columns: terminal.columns }),
    ...(terminal.rows === undefined ? {} : { rows: terminal.rows }),
  };
}
