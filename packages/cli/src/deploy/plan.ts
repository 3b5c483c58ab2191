/** What is to be done so that the cVMs of a project are those of its deployment. */
import { createHash } from "node:crypto";
import type { CvmConfig, CvmState } from "../host/protocol.ts";
import type { Image } from "../images/store.ts";
import type { Deployment, Service } from "./deployment.ts";

/** Labels by which the command knows its own. */
export const Label = {
  PROJECT: "cvm.project",
  SERVICE: "cvm.service",
  NUMBER: "cvm.number",
  /** Digest of what it was made from. */
  CONFIG: "cvm.config-hash",
  /** The files that it was made from. */
  FILES: "cvm.files",
  /** Whom it was started after, so that a project can be stopped without its file. */
  AFTER: "cvm.depends-on",
} as const;

export function labelOf(state: CvmState, label: string): string | undefined {
  return state.config.labels?.[label];
}

/** The cVMs of a project. */
export function ofProject(states: readonly CvmState[], project: string): CvmState[] {
  return states.filter((state) => labelOf(state, Label.PROJECT) === project);
}

export function numberOf(state: CvmState): number {
  return Number(labelOf(state, Label.NUMBER) ?? 0);
}

/** @param number 1 … replicas */
export function cvmNameOf(deployment: Deployment, service: Service, number: number): string {
  return service.cvmName ?? `${deployment.name}-${service.name}-${number}`;
}

/** What a cVM of a service is made from. @throws Error when the image has no command and the service neither */
export function configOf(deployment: Deployment, service: Service, number: number, image: Image): CvmConfig {
  const { config } = image.config;
  const entrypoint = service.entrypoint ?? config.Entrypoint ?? [];
  const command = service.command ?? (service.entrypoint === undefined ? (config.Cmd ?? []) : []);
  const argv = [...entrypoint, ...command];
  if (argv.length === 0) throw new Error(`image "${image.reference}" has no command of its own: give one with command`);
  const name = cvmNameOf(deployment, service, number);
  const { cwd, hostname, restart, health, stopSignal, stopSeconds, network } = service;
  const groups = (network.groups ?? []).map((group) => ({ ...group, aliases: [...group.aliases] }));
  const made: CvmConfig = {
    name,
    image: image.reference,
    imageId: image.id,
    argv,
    env: [...(config.Env ?? []), ...service.env],
    cwd: cwd ?? (config.WorkingDir === undefined || config.WorkingDir === "" ? "/" : config.WorkingDir),
    user: service.user ?? config.User ?? "",
    hostname: hostname ?? name.replaceAll(/[^a-zA-Z0-9-]/gu, "-").slice(0, 63),
    tty: service.tty,
    stdin: service.stdin,
    memoryBytes: service.memoryBytes,
    cpus: service.cpus,
    ports: service.ports,
    network: { ...network, groups },
    volumes: service.volumes.map(({ source, target, readOnly }) => ({ source, target, readOnly })),
    remove: false,
    strace: false,
    ...(restart === undefined ? {} : { restart }),
    ...(service.init ? { init: true } : {}),
    ...(health === undefined ? {} : { health }),
    ...(stopSignal === undefined ? {} : { stopSignal }),
    ...(stopSeconds === undefined ? {} : { stopSeconds }),
  };
  const labels = {
    ...service.labels,
    [Label.PROJECT]: deployment.name,
    [Label.SERVICE]: service.name,
    [Label.NUMBER]: String(number),
  };
  const hash = createHash("sha256")
    .update(canonical({ ...made, labels }))
    .digest("hex");
  return {
    ...made,
    labels: {
      ...labels,
      [Label.CONFIG]: hash,
      // Neither makes another cVM of it.
      [Label.FILES]: deployment.files.join(","),
      [Label.AFTER]: service.dependsOn.map((one) => one.service).join(","),
    },
  };
}

/** JSON with sorted keys. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

/** One cVM that is to run. */
export interface Wanted {
  readonly service: Service;
  readonly config: CvmConfig;
  /** `keep`: as it is, whether it runs or not. `recreate`: another one in its place. */
  readonly action: "create" | "recreate" | "keep";
  /** The one that is there. */
  readonly state: CvmState | undefined;
}

export interface Plan {
  /** By service, in the order of starts. */
  readonly services: readonly { readonly service: Service; readonly cvms: readonly Wanted[]; readonly surplus: readonly CvmState[] }[];
  /** Of services that the deployment has no more. */
  readonly orphans: readonly CvmState[];
}

export interface PlanOptions {
  /** Only these services, and what they depend on; all when empty. */
  readonly chosen: readonly string[];
  /** Without what they depend on. */
  readonly alone: boolean;
  readonly recreate: "changed" | "all" | "none";
  readonly scale: ReadonlyMap<string, number>;
}

/** Services in the order of their starts; those without an order as the file has them. */
export function startOrder(services: ReadonlyMap<string, Service>): Service[] {
  const order: Service[] = [];
  const visit = (service: Service): void => {
    if (order.includes(service)) return;
    for (const { service: other } of service.dependsOn) {
      const before = services.get(other);
      if (before !== undefined) visit(before);
    }
    order.push(service);
  };
  for (const service of services.values()) visit(service);
  return order;
}

/** The services chosen, and all that they depend on unless they are to come alone. */
export function choose(services: ReadonlyMap<string, Service>, chosen: readonly string[], alone: boolean): Map<string, Service> {
  if (chosen.length === 0) return new Map(services);
  const names = new Set<string>();
  const add = (name: string): void => {
    const service = services.get(name);
    if (names.has(name) || service === undefined) return;
    names.add(name);
    if (!alone) for (const { service: other } of service.dependsOn) add(other);
  };
  for (const name of chosen) add(name);
  return new Map([...services].filter(([name]) => names.has(name)));
}

/**
 * Compares a deployment with what is there.
 * @param imageOf finds a service's image, or throws
 */
export function makePlan(
  deployment: Deployment,
  states: readonly CvmState[],
  options: PlanOptions,
  imageOf: (service: Service) => Image,
): Plan {
  const present = ofProject(states, deployment.name);
  const services = startOrder(choose(deployment.services, options.chosen, options.alone)).map((service) => {
    const own = present.filter((state) => labelOf(state, Label.SERVICE) === service.name);
    const replicas = options.scale.get(service.name) ?? service.replicas;
    const image = imageOf(service);
    const cvms: Wanted[] = [];
    for (let number = 1; number <= replicas; number++) {
      const config = configOf(deployment, service, number, image);
      const state = own.find((one) => numberOf(one) === number);
      const changed = state !== undefined && labelOf(state, Label.CONFIG) !== config.labels![Label.CONFIG];
      const anew = options.recreate === "all" || (options.recreate === "changed" && changed);
      cvms.push({ service, config, state, action: state === undefined ? "create" : anew ? "recreate" : "keep" });
    }
    return { service, cvms, surplus: own.filter((state) => numberOf(state) > replicas || numberOf(state) < 1) };
  });
  const known = new Set([...deployment.services.keys(), ...deployment.inactive.keys()]);
  return { services, orphans: present.filter((state) => !known.has(labelOf(state, Label.SERVICE) ?? "")) };
}

/** States in the order in which they are to be stopped, in groups that may stop at the same time: dependents first. */
export function stopOrder(states: readonly CvmState[]): CvmState[][] {
  const after = new Map<string, Set<string>>();
  for (const state of states) {
    const service = labelOf(state, Label.SERVICE) ?? "";
    const names = after.get(service) ?? new Set();
    for (const one of (labelOf(state, Label.AFTER) ?? "").split(",")) if (one !== "" && one !== service) names.add(one);
    after.set(service, names);
  }
  const groups: CvmState[][] = [];
  let left = [...after.keys()];
  while (left.length > 0) {
    const needed = new Set(left.flatMap((name) => [...after.get(name)!]));
    const free = left.filter((name) => !needed.has(name));
    // A circle, which only files of different times can make, is stopped at once.
    const now = free.length > 0 ? free : left;
    groups.push(states.filter((state) => now.includes(labelOf(state, Label.SERVICE) ?? "")));
    left = left.filter((name) => !now.includes(name));
  }
  return groups;
}
