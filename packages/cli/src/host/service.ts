import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { StringDecoder } from "node:string_decoder";
import type { ProgramOptions } from "@cvm/monitor/abi";
import { CliError, exitCodeOf, messageOf } from "../errors.ts";
import { unpackImage } from "../images/layer.ts";
import { requireImage } from "../images/store.ts";
import { build, version } from "../version.ts";
import { HealthMonitor } from "./health.ts";
import type { Probe } from "./health.ts";
import type { CvmConfig, CvmDetails, CvmState, Events, ExecParams, Method, Params, Results, Terminal } from "./protocol.ts";
import { requestSchemas } from "./protocol.ts";
import { appendLog, cvmFolder, deleteRecord, endWithHost, findState, loadStates, saveState } from "./records.ts";
import { restartDelay, restartsAfterEnd, restartsWithHost, STEADY_MS } from "./restart.ts";
import { HostSharing } from "./sharing.ts";
import type { RunningCvm, Runtime } from "./runtime.ts";
import { resolveUser } from "./users.ts";

/** A connected command. */
export interface Client {
  send<E extends keyof Events>(event: E, data: Events[E]): void;
}

interface Entry {
  readonly state: CvmState;
  running: RunningCvm | undefined;
  /** A start that is under way. */
  starting: Promise<unknown> | undefined;
  /** The next start by its restart policy, and how many of them came without a steady run between. */
  restart: NodeJS.Timeout | undefined;
  restartsInARow: number;
  /** When it came up, in milliseconds of this process; undefined when its last start failed. */
  upSince: number | undefined;
  /** Counts starts and ends: what an earlier run still says is not heard. */
  run: number;
  /** Unpacked layers of its image while it runs. */
  layers: readonly string[];
  nextConsole: number;
  /** Who is attached, with the console they see. */
  readonly attached: Map<Client, Set<number>>;
  readonly waiting: ((code: number) => void)[];
  /** While it runs, when it has a health check. */
  health: HealthMonitor | undefined;
  /** The check that is under way, on a console of its own. */
  probe: Probe | undefined;
  readonly waitingForHealth: ((result: Results["waitHealth"]) => void)[];
  lastReport: string | undefined;
  /** Text of the log by descriptor. */
  readonly decoders: Map<number, StringDecoder>;
}

function isUp(entry: Entry): boolean {
  return entry.running !== undefined || entry.starting !== undefined;
}

const LINUX_ENOENT = 2;
const LINUX_EACCES = 13;
const LINUX_ENOEXEC = 8;
const SIGTERM = 15;
const SIGKILL = 9;
/** Before a cVM that is to stop is killed, unless it or its user says otherwise. */
const STOP_SECONDS = 10;
/** Longest delay of a timer in milliseconds; Node takes a longer one for none. */
const MAX_DELAY_MS = 2 ** 31 - 1;

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
  readonly #sharing: HostSharing;
  readonly #entries: Map<string, Entry> = new Map();
  /** Those that {@link resume} starts. */
  readonly #toResume: Entry[] = [];
  #closing = false;
  /** Called whenever nothing runs any more, or something runs again. */
  onActivity: () => void = () => {};
  onShutdown: () => void = () => {};

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
    this.#sharing = new HostSharing(runtime.objects, (text) => process.stderr.write(`cvm: ${text}\n`));
    for (const state of loadStates(true)) {
      const ran = endWithHost(state);
      // Nothing runs yet, and nobody waits for what was only created.
      if (state.config.remove) {
        deleteRecord(state.id);
        continue;
      }
      // In one step: a host that dies now must not leave behind that it had ended for good.
      const resumes = restartsWithHost(state, ran);
      if (resumes) state.status = "restarting";
      saveState(state);
      const entry = this.#add(state);
      if (resumes) this.#toResume.push(entry);
    }
  }

  /** Starts what restart policies want to run on a new host, oldest first. */
  resume(): void {
    for (const entry of this.#toResume.splice(0)) if (entry.state.status === "restarting" && !isUp(entry)) this.#restartLater(entry, 0);
  }

  get running(): number {
    let count = 0;
    for (const entry of this.#entries.values()) if (isUp(entry) || entry.restart !== undefined) count++;
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
      // Input may be quicker than the start that it is for.
      input: async ({ id, console, bytes }) => (await this.#started(id)).input(console, bytes) ?? null,
      resize: async ({ id, console, columns, rows }) => (await this.#started(id)).resize(console, columns, rows) ?? null,
      exec: (request, who) => this.#exec(request, who),
      list: () => ({ cvms: [...this.#entries.values()].map((entry) => entry.state) }),
      inspect: ({ id }) => this.#inspect(id),
      stop: ({ id, seconds }) => this.#stop(id, seconds),
      kill: ({ id, signal }) => this.#kill(id, signal),
      remove: ({ id, force }) => this.#remove(id, force),
      wait: ({ id }) => this.#wait(id),
      waitHealth: ({ id }) => this.#waitHealth(id),
      share: ({ project, objects }) => {
        const running = [...this.#entries.values()].filter((entry) => entry.running !== undefined).map((entry) => entry.state.config.name);
        this.#sharing.share(project, objects, new Set(running));
        return null;
      },
      capabilities: ({ id }) => {
        const { state, running } = this.#entry(id);
        if (running === undefined) throw new CliError("unavailable", `${state.config.name} is not running: it has no capabilities`);
        return { capabilities: running.capabilities() };
      },
      objects: () => ({ objects: this.#runtime.objects?.list() ?? [] }),
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
      starting: undefined,
      restart: undefined,
      restartsInARow: 0,
      upSince: undefined,
      run: 0,
      layers: [],
      nextConsole: 1,
      attached: new Map(),
      waiting: [],
      health: undefined,
      probe: undefined,
      waitingForHealth: [],
      lastReport: undefined,
      decoders: new Map(),
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

  /** The entry meant, after a start that is under way has succeeded or failed. */
  async #settled(key: string): Promise<Entry> {
    const entry = this.#entry(key);
    await entry.starting?.catch(() => {});
    return entry;
  }

  async #started(key: string): Promise<RunningCvm> {
    return this.#live((await this.#settled(key)).state.id);
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
    if (isUp(entry)) throw new CliError("conflict", `cVM "${entry.state.config.name}" is running already`);
    this.#noRestart(entry);
    entry.restartsInARow = 0;
    delete entry.state.stopped;
    delete entry.state.restarts;
    return this.#begin(entry, false);
  }

  /** @param again by the restart policy */
  #begin(entry: Entry, again: boolean): Promise<Results["start"]> {
    const starting = this.#launch(entry, again).finally(() => {
      entry.starting = undefined;
      this.onActivity();
    });
    entry.starting = starting;
    this.onActivity();
    return starting;
  }

  async #launch(entry: Entry, again: boolean): Promise<Results["start"]> {
    const { state } = entry;
    const run = ++entry.run;
    entry.lastReport = undefined;
    entry.decoders.clear();
    try {
      const layers = await unpackImage(requireImage(state.config.imageId));
      const { config } = state;
      const program = programOf(config, config.argv, config.env, config.cwd, config.user, config, layers);
      let early: [number, number] | undefined;
      this.#sharing.starting(config.name);
      const running = await this.#runtime.start(state, layers, join(cvmFolder(state.id), "writable"), program, {
        output: (console, fd, bytes) => {
          if (entry.run === run) this.#output(entry, console, fd, bytes);
        },
        exit: (console, code, signal) => {
          if (entry.run !== run) return;
          if (console !== 0) this.#programEnded(entry, console, signal === 0 ? code : 128 + signal);
          else if (entry.running !== undefined) this.#ended(entry, code, signal);
          else early = [code, signal];
        },
        report: (text) => {
          if (entry.run === run) this.#report(entry, text);
        },
      });
      entry.running = running;
      entry.upSince = performance.now();
      entry.layers = layers;
      state.status = "running";
      state.started = new Date().toISOString();
      delete state.finished;
      delete state.exitCode;
      delete state.error;
      state.address = running.address;
      delete state.health;
      saveState(state);
      this.#watchHealth(entry, running);
      if (early !== undefined) this.#ended(entry, ...early);
      return { address: running.address };
    } catch (cause) {
      const error = startError(cause, state.config.argv[0]!);
      entry.run++;
      const running = entry.running;
      entry.running = undefined;
      running?.destroy();
      this.#sharing.ended(state.config.name);
      state.finished = new Date().toISOString();
      state.exitCode = exitCodeOf(error);
      state.status = again ? this.#statusAfter(state) : "exited";
      state.error = messageOf(error);
      delete state.address;
      for (const done of entry.waiting.splice(0)) done(state.exitCode);
      this.#endHealth(entry);
      if (state.config.remove) this.#forget(entry);
      else saveState(state);
      throw error;
    }
  }

  /** A start by the restart policy: counted, and tried again when it fails. */
  #restartLater(entry: Entry, delay: number): void {
    const { state } = entry;
    entry.restart = setTimeout(() => {
      entry.restart = undefined;
      state.restarts = (state.restarts ?? 0) + 1;
      entry.restartsInARow++;
      this.#begin(entry, true).catch((error: unknown) => {
        process.stderr.write(`restart of cVM ${state.id.slice(0, 12)}: ${messageOf(error)}\n`);
        this.#restartIfWanted(entry);
      });
    }, delay);
    this.onActivity();
  }

  /** After an end, or a restart that failed. */
  #statusAfter(state: CvmState): "restarting" | "exited" {
    return !this.#closing && restartsAfterEnd(state) ? "restarting" : "exited";
  }

  #restartIfWanted(entry: Entry): void {
    if (entry.state.status !== "restarting" || !this.#entries.has(entry.state.id)) return;
    if (entry.upSince !== undefined && performance.now() - entry.upSince >= STEADY_MS) entry.restartsInARow = 0;
    entry.upSince = undefined;
    this.#restartLater(entry, restartDelay(entry.restartsInARow));
  }

  #noRestart(entry: Entry): void {
    if (entry.restart === undefined) return;
    clearTimeout(entry.restart);
    entry.restart = undefined;
    entry.state.status = "exited";
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
    if (entry.probe?.console === console) return entry.probe.output(bytes);
    if (console === 0) {
      // A character may come in two parts.
      let decoder = entry.decoders.get(fd);
      if (decoder === undefined) entry.decoders.set(fd, (decoder = new StringDecoder("utf8")));
      this.#log(entry, fd, decoder.write(bytes));
    }
    this.#send(entry, console, "output", { id: entry.state.id, console, fd, bytes });
    return undefined;
  }

  #report(entry: Entry, text: string): void {
    entry.lastReport = text;
    this.#log(entry, 2, text.endsWith("\n") ? text : `${text}\n`);
    this.#send(entry, undefined, "report", { id: entry.state.id, text });
  }

  /** A full disk keeps an old state, and does not end the host. */
  #save(state: CvmState): void {
    try {
      saveState(state);
    } catch (error) {
      process.stderr.write(`state of cVM ${state.id.slice(0, 12)}: ${messageOf(error)}\n`);
    }
  }

  /** A full disk stops the log, not the host. */
  #log(entry: Entry, fd: number, text: string): void {
    try {
      appendLog(entry.state.id, fd, text);
    } catch (error) {
      process.stderr.write(`log of cVM ${entry.state.id.slice(0, 12)}: ${messageOf(error)}\n`);
    }
  }

  #programEnded(entry: Entry, console: number, code: number): void {
    if (entry.probe?.console === console) entry.probe.ended(code);
    this.#send(entry, console, "exit", { id: entry.state.id, console, code });
  }

  #ended(entry: Entry, code: number, signal: number): void {
    const { state, running } = entry;
    entry.run++;
    entry.running = undefined;
    running?.destroy();
    this.#sharing.ended(state.config.name);
    state.finished = new Date().toISOString();
    state.exitCode = signal === 0 ? code : 128 + signal;
    state.status = this.#statusAfter(state);
    if (signal !== 0 && entry.lastReport !== undefined) state.error = entry.lastReport;
    delete state.address;
    try {
      if (state.config.remove) this.#forget(entry);
      else saveState(state);
    } catch (error) {
      process.stderr.write(`state of cVM ${state.id.slice(0, 12)}: ${messageOf(error)}\n`);
    }
    this.#restartIfWanted(entry);
    this.#send(entry, undefined, "exit", { id: state.id, console: 0, code: state.exitCode });
    for (const done of entry.waiting.splice(0)) done(state.exitCode);
    this.#endHealth(entry);
    this.onActivity();
  }

  /** Begins the health checks of a cVM that came up. */
  #watchHealth(entry: Entry, running: RunningCvm): void {
    const { state } = entry;
    const { config } = state;
    const { health } = config;
    entry.health?.stop();
    entry.health = undefined;
    if (health === undefined) return;
    const console = entry.nextConsole++;
    const terminal = { tty: false, stdin: false };
    entry.health = new HealthMonitor(
      health,
      {
        start: async (probe) => {
          entry.probe = probe;
          probe.console = console;
          await running.exec(console, programOf(config, health.argv, config.env, config.cwd, config.user, terminal, entry.layers));
        },
        kill: () => running.signal(console, SIGKILL),
      },
      (found) => {
        const before = state.health?.status;
        state.health = found;
        if (found.status === before) return;
        this.#save(state);
        if (found.status !== "starting") for (const done of entry.waitingForHealth.splice(0)) done({ status: found.status });
      },
    );
  }

  /** It ended: checks with it. Who waits goes on waiting when it starts again. */
  #endHealth(entry: Entry): void {
    entry.health?.stop();
    entry.health = undefined;
    entry.probe = undefined;
    if (entry.state.status !== "restarting") for (const done of entry.waitingForHealth.splice(0)) done({ status: "ended" });
  }

  async #waitHealth(key: string): Promise<Results["waitHealth"]> {
    const entry = await this.#settled(key);
    if (entry.state.config.health === undefined) return { status: "none" };
    const status = entry.running === undefined ? undefined : entry.state.health?.status;
    if (status === "healthy" || status === "unhealthy") return { status };
    if (entry.running === undefined && entry.state.status !== "restarting") return { status: "ended" };
    return new Promise((resolve) => entry.waitingForHealth.push(resolve));
  }

  #forget(entry: Entry): void {
    this.#entries.delete(entry.state.id);
    deleteRecord(entry.state.id);
  }

  async #exec(request: ExecParams, client: Client): Promise<Results["exec"]> {
    const running = await this.#started(request.id);
    const entry = this.#entry(request.id);
    const { config } = entry.state;
    const env = [...config.env, ...request.env];
    const program = programOf(config, request.argv, env, request.cwd ?? config.cwd, request.user ?? config.user, request, entry.layers);
    const console = entry.nextConsole++;
    this.#attach(request.id, console, client);
    try {
      await running.exec(console, program);
    } catch (error) {
      entry.attached.get(client)?.delete(console);
      throw startError(error, request.argv[0]!);
    }
    return { console };
  }

  async #inspect(key: string): Promise<CvmDetails> {
    const entry = this.#entry(key);
    // It may end while it is asked.
    const statistics = await entry.running?.statistics().catch(() => undefined);
    return statistics === undefined ? entry.state : { ...entry.state, statistics };
  }

  async #stop(key: string, given: number | undefined): Promise<null> {
    const entry = await this.#settled(key);
    const { stopSignal = SIGTERM, stopSeconds = STOP_SECONDS } = entry.state.config;
    const seconds = given ?? stopSeconds;
    this.#stoppedByUser(entry);
    if (entry.running === undefined) return null;
    const ended = this.#wait(entry.state.id);
    const timer = setTimeout(() => this.#killNow(entry), Math.min(seconds * 1000, MAX_DELAY_MS));
    if (stopSignal === SIGKILL) this.#killNow(entry);
    else entry.running.signal(0, stopSignal);
    try {
      await ended;
    } finally {
      clearTimeout(timer);
    }
    return null;
  }

  #stoppedByUser(entry: Entry): void {
    const waits = entry.restart !== undefined;
    this.#noRestart(entry);
    if (!waits && entry.running === undefined) return;
    entry.state.stopped = true;
    this.#save(entry.state);
    if (waits) this.onActivity();
  }

  #killNow(entry: Entry): void {
    if (entry.running !== undefined) this.#ended(entry, 0, SIGKILL);
  }

  async #kill(key: string, signal: number): Promise<null> {
    const running = await this.#started(key);
    if (signal === SIGKILL) {
      const entry = this.#entry(key);
      this.#stoppedByUser(entry);
      this.#killNow(entry);
    } else running.signal(0, signal);
    return null;
  }

  async #remove(key: string, force: boolean): Promise<null> {
    const entry = this.#entry(key);
    if (isUp(entry) || entry.restart !== undefined) {
      if (!force) throw new CliError("conflict", `cVM "${entry.state.config.name}" is running: stop it first, or use cvm rm -f`);
      await this.#settled(entry.state.id);
      this.#stoppedByUser(entry);
      this.#killNow(entry);
    }
    if (this.#entries.has(entry.state.id)) this.#forget(entry);
    return null;
  }

  async #wait(key: string): Promise<Results["wait"]> {
    const entry = this.#entry(key);
    if (!isUp(entry)) return { exitCode: entry.state.exitCode ?? 0 };
    return new Promise((resolve) => entry.waiting.push((exitCode) => resolve({ exitCode })));
  }

  #shutdown(): null {
    this.#closing = true;
    for (const entry of this.#entries.values()) {
      clearTimeout(entry.restart);
      entry.health?.stop();
      this.#killNow(entry);
    }
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
