/** Brings a project's cVMs to what its plan says: each after what it depends on. */
import { mkdirSync } from "node:fs";
import { CliError, messageOf } from "../errors.ts";
import type { HostConnection } from "../host/connection.ts";
import type { CvmState, ObjectKind, SharedDefinition } from "../host/protocol.ts";
import type { Dependency, Deployment, Service } from "./deployment.ts";
import { cvmNameOf, stopOrder } from "./plan.ts";
import type { Plan, Wanted } from "./plan.ts";
import type { Kind } from "./schema-sharing.ts";
import { missingFeatures } from "./sharing.ts";

/** What the services of a project share, by the names of their cVMs. */
export function sharedBy(deployment: Deployment, plan: Plan): SharedDefinition[] {
  const { files, streams, calls, grants } = deployment.sharing;
  const cvmsOf = (service: string): string[] => {
    const planned = plan.services.find((one) => one.service.name === service);
    if (planned !== undefined) return planned.cvms.map(({ config }) => config.name);
    const known = deployment.services.get(service) ?? deployment.inactive.get(service);
    return known === undefined ? [] : Array.from({ length: known.replicas }, (_, at) => cvmNameOf(deployment, known, at + 1));
  };
  const object = (kind: ObjectKind, list: Kind, name: string, owner: string | null): SharedDefinition => ({
    kind,
    name,
    ...(owner === null ? {} : { owner: cvmsOf(owner)[0] }),
    grants: grants
      .filter((grant) => grant.kind === list && grant.name === name)
      .flatMap(({ service, rights }) => cvmsOf(service).map((cvm) => ({ cvm, rights }))),
  });
  return [
    ...files.map(({ name, owner, bytes, content }) => ({ ...object("file", "files", name, owner), size: bytes, content })),
    // Who accepts or serves may come and go: the name stays.
    ...streams.map(({ name }) => object("stream", "streams", name, null)),
    ...calls.map(({ name }) => object("call", "calls", name, null)),
  ];
}

/** What the host cannot do yet is refused before anything is done. @throws CliError `unavailable` */
export function refuseUnavailable(deployment: Deployment): void {
  const features = missingFeatures(deployment.sharing);
  if (features.length > 0)
    throw new CliError(
      "unavailable",
      `the file is right, but this version cannot give services yet: ${features.join("; ")}. cvm config checks such a file; to start its services, leave that out of x-cvm`,
    );
}

export interface StartEvents {
  /** One step, in words. */
  readonly say: (text: string) => void;
  /** A cVM that is about to start, or runs already. */
  readonly cvm: (wanted: Wanted, id: string) => Promise<unknown>;
  /** Rejects when its user wants no more. */
  readonly cancelled: Promise<never>;
}

export interface StartOptions {
  /** Seconds before a cVM that is to be replaced is killed; its own unless given. */
  readonly seconds: number | undefined;
  readonly removeOrphans: boolean;
  /** Also until all have become healthy. */
  readonly wait: boolean;
}

/**
 * Carries out a plan. Services that do not depend on each other start side by side; when one fails, those that do not need it start all
 * the same.
 * @returns ids by name of the cVM
 * @throws the first failure
 */
export async function carryOut(host: HostConnection, plan: Plan, options: StartOptions, events: StartEvents): Promise<Map<string, string>> {
  return new Start(host, plan, options, events).run();
}

class Start {
  readonly #host: HostConnection;
  readonly #plan: Plan;
  readonly #options: StartOptions;
  readonly #events: StartEvents;
  readonly #ids: Map<string, string> = new Map();
  /** By service: its cVMs, once all have started. */
  readonly #started: Map<string, Promise<string[]>> = new Map();
  /** Services of which a cVM was made anew. */
  readonly #anew: Set<string> = new Set();

  constructor(host: HostConnection, plan: Plan, options: StartOptions, events: StartEvents) {
    this.#host = host;
    this.#plan = plan;
    this.#options = options;
    this.#events = events;
  }

  async run(): Promise<Map<string, string>> {
    const { services, orphans } = this.#plan;
    for (const { service } of services)
      for (const { source, make } of service.volumes) if (make) mkdirSync(source, { recursive: true, mode: 0o700 });
    const surplus = services.flatMap((one) => one.surplus);
    await this.#drop([...surplus, ...(this.#options.removeOrphans ? orphans : [])]);
    // What is replaced ends before anything new starts, dependents first: none works with a half of the old ones.
    await this.#drop(
      services.flatMap(({ cvms }) => cvms.flatMap(({ action, state }) => (action === "recreate" && state !== undefined ? [state] : []))),
    );
    for (const { service, cvms } of services) {
      const started = this.#startService(service, cvms);
      started.catch(() => {});
      this.#started.set(service.name, started);
    }
    const results = await Promise.allSettled(this.#started.values());
    for (const result of results) if (result.status === "rejected") throw result.reason;
    if (this.#options.wait) for (const { service, cvms } of services) await this.#ready(service, cvms);
    return this.#ids;
  }

  #cancellable<T>(promise: Promise<T>): Promise<T> {
    return Promise.race([promise, this.#events.cancelled]);
  }

  async #drop(states: readonly CvmState[]): Promise<void> {
    for (const group of stopOrder(states))
      await this.#cancellable(Promise.all(group.map((state) => removeCvm(this.#host, state, this.#options.seconds, this.#events.say))));
  }

  async #startService(service: Service, cvms: readonly Wanted[]): Promise<string[]> {
    for (const dependency of service.dependsOn) {
      try {
        await this.#meet(dependency);
      } catch (error) {
        if (dependency.required || isCancelled(error)) throw error;
        this.#events.say(`${service.name} starts without ${dependency.service}: ${messageOf(error)}`);
      }
    }
    const ids: string[] = [];
    for (const wanted of cvms) ids.push(await this.#startCvm(wanted));
    return ids;
  }

  /** Waits for what a dependency asks. One that is not in the plan is not waited for. */
  async #meet({ service, condition }: Dependency): Promise<void> {
    const started = this.#started.get(service);
    if (started === undefined) return;
    let ids: string[];
    try {
      ids = await started;
    } catch (error) {
      if (isCancelled(error)) throw error;
      throw new CliError("failed", `what it depends on did not start: ${service}`, { cause: error });
    }
    if (condition === "service_started") return;
    for (const id of ids) {
      if (condition === "service_healthy") await this.#healthy(service, id);
      else {
        const { exitCode } = await this.#cancellable(this.#host.request("wait", { id }));
        if (exitCode !== 0) throw new CliError("failed", `"${service}" did not complete: it ended with ${exitCode}`);
      }
    }
  }

  async #healthy(service: string, id: string): Promise<void> {
    const { status } = await this.#cancellable(this.#host.request("waitHealth", { id }));
    if (status === "healthy") return;
    const { config, health, exitCode } = await this.#host.request("inspect", { id });
    if (status === "ended")
      throw new CliError("failed", `"${service}" (${config.name}) ended with ${exitCode ?? "?"} before it was healthy`);
    const output = health?.last?.output.trim() ?? "";
    throw new CliError("failed", `"${service}" (${config.name}) is unhealthy${output === "" ? "" : `; its last check said: ${output}`}`);
  }

  /** For --wait: healthy, or running where there is no check. */
  async #ready(service: Service, cvms: readonly Wanted[]): Promise<void> {
    for (const { config } of cvms) {
      const id = this.#ids.get(config.name)!;
      if (service.health !== undefined) await this.#healthy(service.name, id);
      else {
        const state = await this.#host.request("inspect", { id });
        if (state.status !== "running" && state.exitCode !== 0)
          throw new CliError("failed", `"${service.name}" (${config.name}) ended with ${state.exitCode ?? "?"}`);
      }
    }
  }

  async #startCvm(wanted: Wanted): Promise<string> {
    const { config, state, service, action } = wanted;
    const { say } = this.#events;
    let id = state?.id ?? "";
    if (action !== "keep") {
      ({ id } = await this.#host.request("create", config));
      if (action === "recreate") this.#anew.add(service.name);
    }
    this.#ids.set(config.name, id);
    let runs = action === "keep" && (state!.status === "running" || state!.status === "restarting");
    if (runs && service.dependsOn.some((one) => one.restart && this.#anew.has(one.service))) {
      say(`${config.name}: started again, because what it depends on was made anew`);
      await this.#cancellable(this.#host.request("stop", { id, seconds: this.#options.seconds }));
      runs = false;
    }
    await this.#events.cvm(wanted, id);
    if (runs) say(`${config.name}: runs`);
    else {
      try {
        await this.#host.request("start", { id });
      } catch (error) {
        throw new CliError("failed", `${config.name}: ${messageOf(error)}`, { cause: error });
      }
      say(`${config.name}: ${action === "keep" ? "started" : action === "create" ? "made and started" : "made anew and started"}`);
    }
    return id;
  }
}

/** Its user wants no more. */
export class Cancelled extends Error {}

export function isCancelled(error: unknown): boolean {
  return error instanceof Cancelled;
}

/** Ends a cVM, if it runs, and removes it. */
export async function removeCvm(
  host: HostConnection,
  state: CvmState,
  seconds: number | undefined,
  say: (text: string) => void,
): Promise<void> {
  const { id, config } = state;
  await host.request("stop", { id, ...(seconds === undefined ? {} : { seconds }) });
  await host.request("remove", { id, force: true });
  say(`${config.name}: removed`);
}
