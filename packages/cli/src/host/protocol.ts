/**
 * What the `cvm` command and the host process say to each other: one table of requests, one of events. The host
 * validates every request against {@link requestSchemas} before it acts.
 */
import { z } from "zod";
import type { NetworkMode } from "./network/uplink.ts";

/** A port of the host machine that leads to one of a cVM. */
export interface PublishedPort {
  /** Address of this machine to listen on. */
  readonly hostAddress: string;
  /** 0: any free one. */
  readonly hostPort: number;
  readonly port: number;
  /** tcp unless given. */
  readonly protocol?: "tcp" | "udp" | undefined;
}

/** What a cVM may reach: see {@link NetworkMode}. */
export interface NetworkConfig {
  readonly mode: NetworkMode;
  /** More names; `host-gateway` is this machine's loopback, which is out of reach unless a name has it. */
  readonly hosts: readonly { readonly name: string; readonly address: string }[];
  /** Name servers to ask instead of this machine's: ADDRESS or ADDRESS:PORT. */
  readonly dns: readonly string[];
  /** Networks that it is in: only cVMs with one in common reach each other. {@link DEFAULT_NETWORK_NAME} unless given. */
  readonly groups?: readonly NetworkGroup[] | undefined;
}
/** A network that a cVM is in. */
export interface NetworkGroup {
  readonly name: string;
  /** More names that it has for others there. */
  readonly aliases: readonly string[];
}
/** The network of cVMs that are in no other. */
export const DEFAULT_NETWORK_NAME = "bridge";
export const DEFAULT_NETWORK: NetworkConfig = { mode: "bridge", hosts: [], dns: [] };

export interface Volume {
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
}

/** Whether a cVM that ended is started again. */
export interface RestartPolicy {
  readonly name: "no" | "on-failure" | "always" | "unless-stopped";
  /** Most restarts after failures; 0: any number. */
  readonly most: number;
}

/** A program that tells by its exit code, 0 or not, whether a cVM does its work. Times in milliseconds. */
export interface HealthCheck {
  readonly argv: readonly string[];
  readonly intervalMs: number;
  /** After this long it is killed and has failed. */
  readonly timeoutMs: number;
  /** Failures in a row that make the cVM unhealthy. */
  readonly retries: number;
  /** Failures so soon after the start do not count. */
  readonly startPeriodMs: number;
  /** Interval in the start period. */
  readonly startIntervalMs: number;
}

/** How a program is started, besides what it is. */
export interface Terminal {
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly columns?: number | undefined;
  readonly rows?: number | undefined;
}

/** Everything that `cvm run` decides; kept with the cVM. */
export interface CvmConfig extends Terminal {
  readonly name: string;
  readonly image: string;
  readonly imageId: string;
  readonly argv: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  readonly user: string;
  readonly hostname: string;
  readonly memoryBytes: number;
  /** Processors' worth of time at most; 0: no limit. */
  readonly cpus: number;
  readonly ports: readonly PublishedPort[];
  /** {@link DEFAULT_NETWORK} unless given. */
  readonly network?: NetworkConfig | undefined;
  readonly volumes: readonly Volume[];
  /** Remove it when it ends. */
  readonly remove: boolean;
  readonly strace: boolean;
  /** `no` unless given. */
  readonly restart?: RestartPolicy | undefined;
  /** As if an init stood above its first program; see LibosOptions. */
  readonly init?: boolean | undefined;
  readonly health?: HealthCheck | undefined;
  /** Asks it to end; SIGTERM unless given. */
  readonly stopSignal?: number | undefined;
  /** Before it is killed; 10 unless given. */
  readonly stopSeconds?: number | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
}

/** Kinds of objects that cVMs share by name, with the rights that there are of each. */
export const OBJECT_RIGHTS = {
  file: ["read", "write"],
  stream: ["connect", "listen"],
  call: ["call", "publish"],
} as const;
export type ObjectKind = keyof typeof OBJECT_RIGHTS;

/** An object that cVMs of a project share by name. */
export interface SharedDefinition {
  readonly kind: ObjectKind;
  readonly name: string;
  /** cVM whose end is the end of the object; it comes anew with it. Otherwise it lasts until the project is down. */
  readonly owner?: string | undefined;
  /** Of a file: its bytes, and what it holds at first. */
  readonly size?: number | undefined;
  readonly content?: Uint8Array | undefined;
  readonly grants: readonly { readonly cvm: string; readonly rights: readonly string[] }[];
}
/** Bytes of a file that its definition can give. */
export const MOST_CONTENT: number = 8 * 1024 * 1024;

/** An object as it is now. */
export interface ObjectLine {
  readonly project: string;
  readonly kind: ObjectKind;
  readonly name: string;
  /** Bytes of a file. */
  readonly size: number;
  readonly grants: readonly { readonly cvm: string; readonly rights: readonly string[] }[];
  /** cVMs that have it open, and how often. */
  readonly holders: readonly { readonly cvm: string; readonly opened: number }[];
}

/** A capability that a cVM has or may fetch. */
export interface CapabilityLine {
  /** Which process, register or number of its table. */
  readonly where: string;
  /** `ADDRESS [PERMISSIONS,BASE-TOP]`; empty for an object without memory of its own. */
  readonly capability: string;
  /** What it was opened as, and with which rights. */
  readonly object?: string | undefined;
  readonly rights: readonly string[];
}

/** A program that `cvm exec` starts in a running cVM. */
export interface ExecParams extends Terminal {
  readonly id: string;
  readonly argv: readonly string[];
  readonly env: readonly string[];
  readonly cwd?: string | undefined;
  readonly user?: string | undefined;
}

/** Parameters by method. */
export interface Params {
  hello: Record<string, never>;
  create: CvmConfig;
  start: { readonly id: string };
  attach: { readonly id: string; readonly console: number };
  input: { readonly id: string; readonly console: number; readonly bytes: Uint8Array };
  resize: { readonly id: string; readonly console: number; readonly columns: number; readonly rows: number };
  exec: ExecParams;
  list: Record<string, never>;
  inspect: { readonly id: string };
  /** Without seconds: what the cVM's configuration says. */
  stop: { readonly id: string; readonly seconds?: number | undefined };
  kill: { readonly id: string; readonly signal: number };
  remove: { readonly id: string; readonly force: boolean };
  wait: { readonly id: string };
  waitHealth: { readonly id: string };
  /** Replaces what the cVMs of a project share; nothing: takes all away. */
  share: { readonly project: string; readonly objects: readonly SharedDefinition[] };
  capabilities: { readonly id: string };
  objects: Record<string, never>;
  shutdown: Record<string, never>;
}
export type Method = keyof Params;

const id = z.string().min(1).max(128);
const console = z.number().int().min(0).max(65535);
const size = z.number().int().min(1).max(10000);
const texts = z.array(z.string().max(131072)).max(65536);
const terminal = { tty: z.boolean(), stdin: z.boolean(), columns: size.optional(), rows: size.optional() };
const milliseconds = z.number().min(1);
const nothing = z.strictObject({});

/** A check for the parameters of each method. */
export const requestSchemas: { readonly [M in Method]: z.ZodType<Params[M]> } = {
  hello: nothing,
  create: z.strictObject({
    ...terminal,
    name: z.string().regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/u),
    image: z.string(),
    imageId: z.string(),
    argv: texts.min(1),
    env: texts,
    cwd: z.string().startsWith("/"),
    user: z.string(),
    hostname: z.string().min(1).max(64),
    memoryBytes: z.number().int().positive(),
    cpus: z.number().nonnegative(),
    ports: z.array(
      z.strictObject({
        hostAddress: z.union([z.ipv4(), z.ipv6()]),
        hostPort: z.number().int().min(0).max(65535),
        port: z.number().int().min(1).max(65535),
        protocol: z.enum(["tcp", "udp"]).optional(),
      }),
    ),
    network: z
      .strictObject({
        mode: z.enum(["bridge", "internal", "none"]),
        hosts: z.array(z.strictObject({ name: z.string().max(253), address: z.string().max(45) })).max(1024),
        dns: z.array(z.string().max(64)).max(16),
        groups: z
          .array(z.strictObject({ name: z.string().min(1).max(200), aliases: z.array(z.string().max(253)).max(64) }))
          .max(64)
          .optional(),
      })
      .optional(),
    volumes: z.array(z.strictObject({ source: z.string().startsWith("/"), target: z.string().startsWith("/"), readOnly: z.boolean() })),
    remove: z.boolean(),
    strace: z.boolean(),
    restart: z
      .strictObject({ name: z.enum(["no", "on-failure", "always", "unless-stopped"]), most: z.number().int().min(0).max(1_000_000) })
      .optional(),
    init: z.boolean().optional(),
    health: z
      .strictObject({
        argv: texts.min(1),
        intervalMs: milliseconds,
        timeoutMs: milliseconds,
        retries: z.number().int().min(1),
        startPeriodMs: z.number().nonnegative(),
        startIntervalMs: milliseconds,
      })
      .optional(),
    stopSignal: z.number().int().min(1).max(64).optional(),
    stopSeconds: z.number().nonnegative().optional(),
    labels: z.record(z.string().max(1024), z.string().max(65536)).optional(),
  }),
  start: z.strictObject({ id }),
  attach: z.strictObject({ id, console }),
  input: z.strictObject({ id, console, bytes: z.instanceof(Uint8Array) }),
  resize: z.strictObject({ id, console, columns: size, rows: size }),
  exec: z.strictObject({
    ...terminal,
    id,
    argv: texts.min(1),
    env: texts,
    cwd: z.string().startsWith("/").optional(),
    user: z.string().optional(),
  }),
  list: nothing,
  inspect: z.strictObject({ id }),
  stop: z.strictObject({ id, seconds: z.number().nonnegative().optional() }),
  kill: z.strictObject({ id, signal: z.number().int().min(1).max(64) }),
  remove: z.strictObject({ id, force: z.boolean() }),
  wait: z.strictObject({ id }),
  waitHealth: z.strictObject({ id }),
  share: z.strictObject({
    project: z.string().regex(/^[a-z0-9][a-z0-9_-]{0,127}$/u),
    objects: z
      .array(
        z.strictObject({
          kind: z.enum(["file", "stream", "call"]),
          name: z.string().regex(/^[a-zA-Z0-9][a-zA-Z0-9._-]{0,127}$/u),
          owner: z.string().max(128).optional(),
          size: z.number().int().min(1).optional(),
          content: z
            .instanceof(Uint8Array)
            .refine((bytes) => bytes.length <= MOST_CONTENT, { error: `more than ${MOST_CONTENT} bytes` })
            .optional(),
          grants: z.array(z.strictObject({ cvm: z.string().max(128), rights: z.array(z.string().max(16)).min(1).max(2) })).max(4096),
        }),
      )
      .max(4096),
  }),
  capabilities: z.strictObject({ id }),
  objects: nothing,
  shutdown: nothing,
};

/** `restarting`: it ended and waits for its next start. */
export type Status = "created" | "running" | "restarting" | "exited";

/** What health checks have found since the cVM came up. */
export interface Health {
  status: "starting" | "healthy" | "unhealthy";
  /** Failures in a row. */
  failures: number;
  /** Exit code (none when it was killed in the end) and output of the last one. */
  last?: { readonly exitCode?: number; readonly output: string };
}

/** A cVM as the host knows it. */
export interface CvmState {
  readonly id: string;
  readonly config: CvmConfig;
  status: Status;
  readonly created: string;
  started?: string;
  finished?: string;
  /** Exit code as a shell reports it: 0 … 255, 128 + n for a signal. */
  exitCode?: number;
  /** Last fault report, or why it could not start. */
  error?: string;
  address?: string;
  /** Its user ended it. */
  stopped?: boolean;
  /** Starts by its restart policy since its user started it. */
  restarts?: number;
  health?: Health;
}

/** A cVM with its live figures. */
export interface CvmDetails extends CvmState {
  readonly statistics?: Readonly<Record<string, unknown>>;
}

export interface Results {
  hello: { readonly version: string; readonly build: string; readonly pid: number; readonly running: number };
  create: { readonly id: string };
  start: { readonly address: string };
  attach: { readonly running: boolean };
  input: null;
  resize: null;
  exec: { readonly console: number };
  list: { readonly cvms: readonly CvmState[] };
  inspect: CvmDetails;
  stop: null;
  kill: null;
  remove: null;
  wait: { readonly exitCode: number };
  /** `ended`: it is over before it was known. `none`: it has no check. */
  waitHealth: { readonly status: "healthy" | "unhealthy" | "ended" | "none" };
  share: null;
  capabilities: { readonly capabilities: readonly CapabilityLine[] };
  objects: { readonly objects: readonly ObjectLine[] };
  shutdown: null;
}

/** Events from the host to an attached command. */
export interface Events {
  output: { readonly id: string; readonly console: number; readonly fd: number; readonly bytes: Uint8Array };
  /** The program of a console ended. `code` as a shell reports it. */
  exit: { readonly id: string; readonly console: number; readonly code: number };
  /** A fault report or a strace line: for standard error. */
  report: { readonly id: string; readonly text: string };
}
