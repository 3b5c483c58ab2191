/** `cvm up`: a project's cVMs, in the background or attached to this terminal. */
import { CliError, messageOf } from "../errors.ts";
import { connectHost } from "../host/client.ts";
import type { HostConnection } from "../host/connection.ts";
import { requireImage } from "../images/store.ts";
import type { Image } from "../images/store.ts";
import type { Deployment, Service } from "./deployment.ts";
import { PrefixedOutput, wantsColour } from "./output.ts";
import { makePlan, stopOrder } from "./plan.ts";
import type { Plan, PlanOptions, Wanted } from "./plan.ts";
import { DeploymentError, suggestion } from "./problems.ts";
import type { Problem } from "./problems.ts";
import { Cancelled, carryOut, isCancelled, refuseUnavailable, sharedBy } from "./start.ts";

/** After an interrupt, as shells and docker compose have it. */
const EXIT_INTERRUPTED = 130;
const SIGKILL = 9;

export interface UpOptions extends PlanOptions {
  readonly detach: boolean;
  readonly wait: boolean;
  readonly removeOrphans: boolean;
  readonly seconds: number | undefined;
  readonly colour: boolean;
  readonly prefix: boolean;
  /** Stop all when one ends. */
  readonly abortOnExit: boolean;
  /** Exit with what this service's first cVM exits with; stops all then. */
  readonly exitCodeFrom: string | undefined;
}

/** Words for standard error. */
export function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** @throws CliError `usage` for a service that there is not */
export function checkChosen(deployment: Deployment, names: readonly string[]): void {
  const known = [...deployment.services.keys(), ...deployment.inactive.keys()];
  for (const name of names)
    if (!known.includes(name))
      throw new CliError("usage", `the project "${deployment.name}" has no service "${name}"${suggestion(name, known)}`);
}

function checkScale({ name, cvmName, ports }: Service, number: number): void {
  const fixed = ports.find((port) => port.hostPort !== 0);
  if (number > 1 && cvmName !== undefined)
    throw new CliError("usage", `"${name}" has a container_name, which only one cVM can have: --scale ${name}=1`);
  if (number > 1 && fixed !== undefined)
    throw new CliError("usage", `"${name}" publishes port ${fixed.hostPort}, which only one cVM can: --scale ${name}=1`);
}

/** Images of services; all that are missing are named at once. */
function imageFinder(): { readonly find: (service: Service) => Image; readonly check: () => void } {
  const problems: Problem[] = [];
  return {
    find: (service) => {
      try {
        return requireImage(service.image);
      } catch (error) {
        problems.push({ place: service.place, message: messageOf(error) });
        return { reference: service.image, id: "", size: 0, config: { config: { Cmd: ["none"] } } } as unknown as Image;
      }
    },
    check: () => {
      if (problems.length > 0) throw new DeploymentError(problems);
    },
  };
}

/** @returns the exit code */
export async function up(deployment: Deployment, options: UpOptions): Promise<number> {
  refuseUnavailable(deployment);
  checkChosen(deployment, [
    ...options.chosen,
    ...options.scale.keys(),
    ...(options.exitCodeFrom === undefined ? [] : [options.exitCodeFrom]),
  ]);
  for (const [name, number] of options.scale) checkScale(deployment.services.get(name) ?? deployment.inactive.get(name)!, number);
  for (const note of deployment.notes) say(`cvm: ${note}`);
  const host = await connectHost();
  try {
    const images = imageFinder();
    const plan = makePlan(deployment, (await host.request("list", {})).cvms, options, images.find);
    images.check();
    const { orphans } = plan;
    if (orphans.length > 0 && !options.removeOrphans)
      say(
        `cvm: cVMs of services that "${deployment.name}" has no more: ${orphans.map((state) => state.config.name).join(", ")}; --remove-orphans removes them`,
      );
    await host.request("share", { project: deployment.name, objects: sharedBy(deployment, plan) });
    return await (options.detach ? inBackground(host, plan, options) : new Attached(host, plan, options).run());
  } finally {
    host.close();
  }
}

async function inBackground(host: HostConnection, plan: Plan, options: UpOptions): Promise<number> {
  const cancelled = Promise.withResolvers<never>();
  cancelled.promise.catch(() => {});
  const stop = (): void => cancelled.reject(new Cancelled("interrupted: what has started goes on; cvm down ends it"));
  process.once("SIGINT", stop).once("SIGTERM", stop);
  try {
    await carryOut(host, plan, options, { say, cvm: async () => {}, cancelled: cancelled.promise });
    return 0;
  } catch (error) {
    if (!isCancelled(error)) throw error;
    say(`cvm: ${messageOf(error)}`);
    return EXIT_INTERRUPTED;
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop);
  }
}

/** A project whose output this terminal shows until all of it has ended. */
class Attached {
  readonly #host: HostConnection;
  readonly #plan: Plan;
  readonly #options: UpOptions;
  readonly #output: PrefixedOutput;
  /** By id: those that have not ended for good. */
  readonly #live: Map<string, Wanted> = new Map();
  readonly #all: Map<string, Wanted> = new Map();
  readonly #cancelled = Promise.withResolvers<never>();
  readonly #over = Promise.withResolvers<void>();
  #starting = true;
  /** Stop all as soon as all have started. */
  #abort = false;
  #interrupts = 0;
  #stopping: Promise<void> | undefined;
  #code: number | undefined;

  constructor(host: HostConnection, plan: Plan, options: UpOptions) {
    this.#host = host;
    this.#plan = plan;
    this.#options = options;
    this.#output = new PrefixedOutput({ colour: wantsColour(options.colour), prefix: options.prefix });
    for (const promise of [this.#cancelled.promise, this.#over.promise]) promise.catch(() => {});
  }

  async run(): Promise<number> {
    const host = this.#host;
    for (const { cvms } of this.#plan.services)
      for (const { config, service } of cvms) if (service.attach) this.#output.add(nameOf(config.name, service));
    host.on("output", ({ id, console, fd, bytes }) => {
      const wanted = this.#all.get(id);
      if (wanted?.service.attach === true && console === 0) this.#output.bytes(nameOf(wanted.config.name, wanted.service), fd, bytes);
    });
    host.on("report", ({ id, text }) => {
      const wanted = this.#all.get(id);
      if (wanted !== undefined)
        for (const line of text.trimEnd().split("\n")) this.#output.line(nameOf(wanted.config.name, wanted.service), line);
    });
    host.on("exit", ({ id, console, code }) => {
      if (console === 0) void this.#ended(id, code).catch((error: unknown) => this.#over.reject(error));
    });
    host.onClose((reason) => this.#over.reject(new CliError("failed", `the host process went away: ${reason}`)));
    const interrupt = (): void => this.#interrupt();
    process.on("SIGINT", interrupt).on("SIGTERM", interrupt);
    try {
      try {
        await carryOut(host, this.#plan, this.#options, {
          say,
          cvm: (wanted, id) => this.#attach(wanted, id),
          cancelled: this.#cancelled.promise,
        });
      } catch (error) {
        if (isCancelled(error)) {
          await this.#stopAll();
          return EXIT_INTERRUPTED;
        }
        // What did start is not left behind a command that is gone.
        say(`cvm: ${messageOf(error)}`);
        await this.#stopAll();
        return 1;
      }
      this.#starting = false;
      if (this.#abort) void this.#stopAll();
      this.#check();
      await this.#over.promise;
      await this.#stopping;
      return this.#interrupts > 0 ? EXIT_INTERRUPTED : (this.#code ?? 0);
    } finally {
      process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
    }
  }

  async #attach(wanted: Wanted, id: string): Promise<void> {
    this.#all.set(id, wanted);
    this.#live.set(id, wanted);
    await this.#host.request("attach", { id, console: 0 });
  }

  async #ended(id: string, code: number): Promise<void> {
    const wanted = this.#live.get(id);
    if (wanted === undefined) return;
    const name = nameOf(wanted.config.name, wanted.service);
    this.#output.flush(name);
    const state = (await this.#host.request("list", {})).cvms.find((one) => one.id === id);
    // It may have come up again by now.
    const again = state !== undefined && (state.status === "restarting" || state.status === "running");
    say(`${wanted.config.name} exited with code ${code}${again ? ", starts again" : ""}`);
    if (again && this.#stopping === undefined) return;
    this.#live.delete(id);
    const { exitCodeFrom, abortOnExit } = this.#options;
    const meant = exitCodeFrom === undefined || exitCodeFrom === wanted.service.name;
    if (meant && (abortOnExit || exitCodeFrom !== undefined)) this.#code ??= code;
    // While others start, one that has done its work is what they may wait for.
    if (abortOnExit || exitCodeFrom !== undefined) {
      if (!this.#starting) void this.#stopAll();
      else if (code !== 0 || exitCodeFrom === wanted.service.name) this.#abort = true;
    }
    this.#check();
  }

  #check(): void {
    if (!this.#starting && this.#live.size === 0) this.#over.resolve();
  }

  #interrupt(): void {
    this.#interrupts++;
    if (this.#interrupts === 1) {
      say("Stopping; press Ctrl-C again to kill");
      this.#cancelled.reject(new Cancelled("interrupted"));
      // While it starts, run() does it when the start has given up.
      if (!this.#starting) void this.#stopAll();
      return;
    }
    for (const [id, { config }] of this.#live) {
      say(`${config.name}: killed`);
      this.#host.request("kill", { id, signal: SIGKILL }).catch(() => {});
    }
  }

  /** Stops all, dependents first; each as it wants to be stopped. */
  #stopAll(): Promise<void> {
    this.#stopping ??= this.#stop().catch((error: unknown) => this.#over.reject(error));
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    const { seconds } = this.#options;
    const states = (await this.#host.request("list", {})).cvms.filter((state) => this.#all.has(state.id));
    for (const group of stopOrder(states)) {
      await Promise.all(
        group.map(async (state) => {
          const ran = state.status === "running" || state.status === "restarting";
          await this.#host.request("stop", { id: state.id, ...(seconds === undefined ? {} : { seconds }) });
          if (ran) say(`${state.config.name}: stopped`);
          // One that waited for its next start has no end to tell of.
          this.#live.delete(state.id);
        }),
      );
    }
    this.#check();
  }
}

/** What stands before a line: service and number, or the name that the user chose. */
export function nameOf(cvm: string, service: { readonly name: string; readonly cvmName: string | undefined }): string {
  return service.cvmName ?? `${service.name}-${cvm.slice(cvm.lastIndexOf("-") + 1)}`;
}
