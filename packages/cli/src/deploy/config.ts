/** A deployment as a file again: complete, without variables, in one way of writing. */
import type { Deployment, Service } from "./deployment.ts";
import { RIGHTS } from "./schema-sharing.ts";
import { PLAIN } from "./sharing.ts";
import type { Sharing } from "./sharing.ts";

/** Leaves out what is undefined, and what is empty. */
function tidy(object: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const kept = Object.entries(object).filter(([, value]) => {
    if (value === undefined) return false;
    if (Array.isArray(value)) return value.length > 0;
    return typeof value !== "object" || value === null || Object.keys(value).length > 0;
  });
  return Object.fromEntries(kept);
}

/** A dollar stands for itself. */
function escaped(value: unknown): unknown {
  if (typeof value === "string") return value.replaceAll("$", "$$$$");
  if (Array.isArray(value)) return value.map(escaped);
  if (typeof value === "object" && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, escaped(inner)]));
  return value;
}

const milliseconds = (value: number): string => `${value}ms`;

function serviceDocument(service: Service, deployment: Deployment): Record<string, unknown> {
  const { health, restart, network } = service;
  const own = (source: string): { type: string; source: string } => {
    const volume = deployment.volumes.find((one) => source.endsWith(`/volumes/${one.name}`));
    return volume === undefined ? { type: "bind", source } : { type: "volume", source: volume.key };
  };
  const keys = new Map([...deployment.networks].map(([key, { name }]) => [name, key]));
  const groups = (network.groups ?? []).map(({ name, aliases }) => [
    keys.get(name) ?? name,
    tidy({ aliases: aliases.filter((one) => one !== service.name) }),
  ]);
  const noNetworks = network.mode === "none" || network.groups?.[0]?.aliases.length === 0;
  return tidy({
    image: service.image,
    command: service.command,
    entrypoint: service.entrypoint === undefined ? undefined : service.entrypoint.length === 0 ? "" : service.entrypoint,
    environment: Object.fromEntries(service.env.map((pair) => [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)])),
    working_dir: service.cwd,
    user: service.user,
    hostname: service.hostname,
    container_name: service.cvmName,
    ports: service.ports.map(({ hostAddress, hostPort, port, protocol }) =>
      tidy({
        target: port,
        published: hostPort === 0 ? undefined : String(hostPort),
        host_ip: hostAddress === "0.0.0.0" ? undefined : hostAddress,
        protocol: protocol ?? "tcp",
      }),
    ),
    volumes: service.volumes.map(({ source, target, readOnly, make }) => {
      const from = own(source);
      return tidy({
        ...from,
        target,
        read_only: readOnly || undefined,
        bind: from.type === "bind" ? { create_host_path: make } : undefined,
      });
    }),
    network_mode: noNetworks ? network.mode : undefined,
    networks: noNetworks ? undefined : Object.fromEntries(groups),
    dns: network.dns,
    extra_hosts: Object.fromEntries(network.hosts.map(({ name, address }) => [name, address])),
    depends_on: Object.fromEntries(
      service.dependsOn.map((one) => [one.service, { condition: one.condition, restart: one.restart, required: one.required }]),
    ),
    healthcheck:
      health === undefined
        ? undefined
        : {
            test: ["CMD", ...health.argv],
            interval: milliseconds(health.intervalMs),
            timeout: milliseconds(health.timeoutMs),
            retries: health.retries,
            start_period: milliseconds(health.startPeriodMs),
            start_interval: milliseconds(health.startIntervalMs),
          },
    restart:
      restart === undefined ? undefined : restart.name === "on-failure" && restart.most > 0 ? `on-failure:${restart.most}` : restart.name,
    deploy: {
      replicas: service.replicas,
      resources: { limits: tidy({ cpus: service.cpus === 0 ? undefined : service.cpus, memory: service.memoryBytes }) },
    },
    stop_signal: service.stopSignal,
    stop_grace_period: service.stopSeconds === undefined ? undefined : milliseconds(service.stopSeconds * 1000),
    init: service.init || undefined,
    tty: service.tty || undefined,
    stdin_open: service.stdin || undefined,
    attach: service.attach ? undefined : false,
    labels: service.labels,
    profiles: service.profiles,
    "x-cvm": serviceSharing(service.name, deployment.sharing),
  });
}

function serviceSharing(name: string, sharing: Sharing): Record<string, unknown> {
  const { inside, callbackOut, cleanRoom, storeCap, spawn } = sharing.compartments.get(name) ?? PLAIN;
  return tidy({
    inside: inside ?? undefined,
    callback_out: callbackOut ?? undefined,
    clean_room: cleanRoom || undefined,
    store_cap: storeCap || undefined,
    spawn:
      spawn === null
        ? undefined
        : Object.keys(tidy({ ...spawn })).length === 0
          ? true
          : tidy({ most: spawn.most, memory: spawn.memoryBytes, images: spawn.images }),
  });
}

function projectSharing({ files, streams, calls, grants }: Sharing): Record<string, unknown> {
  return tidy({
    files: Object.fromEntries(
      files.map(({ name, owner, bytes, content }) => [
        name,
        tidy({
          size: bytes,
          content_base64: content.length === 0 ? undefined : Buffer.from(content).toString("base64"),
          owner: owner ?? undefined,
        }),
      ]),
    ),
    streams: Object.fromEntries(
      streams.map(({ name, owner, messages, bufferBytes }) => [
        name,
        tidy({ messages: messages || undefined, buffer: bufferBytes, owner: owner ?? undefined }),
      ]),
    ),
    calls: Object.fromEntries(
      calls.map(({ name, owner, argumentBytes, threads }) => [name, tidy({ argument: argumentBytes, threads, owner: owner ?? undefined })]),
    ),
    grants: grants.map(({ service, kind, name, rights }) => ({ service, [RIGHTS[kind].one]: name, rights })),
  });
}

/** A file that says the same. */
export function documentOf(deployment: Deployment): Record<string, unknown> {
  const networks = [...deployment.networks].map(([key, { name, internal }]) => [key, tidy({ name, internal: internal || undefined })]);
  return tidy({
    name: deployment.name,
    services: escaped(Object.fromEntries([...deployment.services].map(([name, service]) => [name, serviceDocument(service, deployment)]))),
    networks: Object.fromEntries(networks),
    volumes: Object.fromEntries(
      deployment.volumes.map(({ key, name, external }) => [key, tidy({ name, external: external || undefined })]),
    ),
    "x-cvm": escaped(projectSharing(deployment.sharing)),
  });
}
