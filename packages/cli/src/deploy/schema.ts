/**
 * What a deployment file may hold: the part of the Compose Specification that cVMs can do. The check of files, the suggestions
 * for misspelt keys and the JSON Schema for editors all come from here; what Compose has besides is in refused.ts.
 */
import { z } from "zod";
import { sharingOfProject, sharingOfService } from "./schema-sharing.ts";
import { DURATION, SIZE } from "./values.ts";

/** What a service or a volume is called. */
const NAME = /^[a-zA-Z0-9._-]+$/u;

const text = z.string({ error: "give a text" });
const word = z.union([z.string(), z.number(), z.boolean()], { error: "give a text, a number, true or false" });
const flag = z.union([z.boolean(), z.enum(["true", "false"])], { error: "give true or false" });
const count = z.union([z.number().int().min(0), z.string().regex(/^\d+$/u)], { error: "give a whole number" });
const decimal = z.union([z.number().min(0), z.string().regex(/^\d*\.?\d+$/u)], { error: "give a number" });
const duration = z
  .string({ error: "give a duration such as 30s or 1m30s" })
  .regex(DURATION, { error: "give a duration such as 30s or 1m30s" });
const size = z.union([z.number().int().min(0), z.string().regex(SIZE)], { error: "give a size such as 64m or 1g" });
const names = z.string().regex(NAME, { error: 'a name has letters, digits, ".", "_" and "-"' });

const command = z.union([z.string(), z.array(word)], { error: "give a command line, or a list of its words" });
const pairs = z.union([z.record(z.string(), z.union([word, z.null()])), z.array(z.string())], {
  error: "give a mapping NAME: value, or a list of NAME=value",
});
const texts = z.union([z.string(), z.array(z.string())], { error: "give a text, or a list of texts" });

const port = z.union(
  [
    z.number().int().min(1).max(65535),
    z.string(),
    z.strictObject({
      name: z.string().optional(),
      target: count.describe("port of the cVM"),
      published: z.union([z.string(), z.number()]).optional().describe("port of this machine; any free one unless given"),
      host_ip: z.string().optional().describe("address of this machine to listen on"),
      protocol: z.enum(["tcp", "udp"]).optional(),
      app_protocol: z.string().optional(),
      mode: z.enum(["host", "ingress"]).optional().describe("the same on one host"),
    }),
  ],
  { error: "give [ADDRESS:][PUBLISHED:]PORT[/udp], or a mapping with target" },
);

const mount = z.union(
  [
    z.string(),
    z.strictObject({
      type: z.enum(["volume", "bind"], { error: "choose volume or bind" }),
      source: z.string(),
      target: z.string(),
      read_only: flag.optional(),
      bind: z.strictObject({ create_host_path: flag.optional() }).optional(),
      volume: z.strictObject({ nocopy: flag.optional().describe("a cVM never copies content of the image into a volume") }).optional(),
    }),
  ],
  { error: "give SOURCE:TARGET[:ro], or a mapping with type, source and target" },
);

const healthcheck = z.strictObject({
  test: z
    .union([z.string(), z.array(z.string())])
    .optional()
    .describe("[CMD, word...], [CMD-SHELL, line], [NONE] or a line for the shell"),
  interval: duration.optional().describe("30s unless given"),
  timeout: duration.optional().describe("30s unless given"),
  retries: count.optional().describe("failures in a row that make it unhealthy; 3 unless given"),
  start_period: duration.optional().describe("failures in it do not count; 0s unless given"),
  start_interval: duration.optional().describe("interval in the start period; 5s unless given"),
  disable: flag.optional(),
});

const dependency = z.strictObject({
  condition: z.enum(["service_started", "service_healthy", "service_completed_successfully"], {
    error: "choose service_started, service_healthy or service_completed_successfully",
  }),
  restart: flag.optional().describe("start this service again when the other one is made anew"),
  required: flag.optional().describe("true unless given"),
});

const deploy = z.strictObject({
  mode: z.enum(["replicated", "global"]).optional().describe("global: one, as there is one host"),
  replicas: count.optional(),
  labels: pairs.optional().describe("labels of the service; same as labels here"),
  resources: z.strictObject({ limits: z.strictObject({ cpus: decimal.optional(), memory: size.optional() }).optional() }).optional(),
  restart_policy: z
    .strictObject({ condition: z.enum(["none", "on-failure", "any"]).optional(), max_attempts: count.optional() })
    .optional(),
  placement: z
    .strictObject({
      constraints: z.array(z.string()).optional(),
      preferences: z.array(z.strictObject({ spread: z.string() })).optional(),
      max_replicas_per_node: count.optional(),
    })
    .optional()
    .describe("no effect on one host"),
});

const attachment = z.union([z.strictObject({ aliases: z.array(z.string()).optional().describe("more names there") }), z.null()], {
  error: "give a mapping with aliases, or nothing",
});

const service = z.strictObject({
  image: text.optional(),
  command: z.union([command, z.null()]).optional().describe("instead of the image's command"),
  entrypoint: z.union([command, z.null()]).optional().describe("instead of the image's entry point and command"),
  environment: pairs.optional(),
  env_file: z
    .union(
      [
        z.string(),
        z.array(
          z.union([z.string(), z.strictObject({ path: z.string(), required: flag.optional(), format: z.literal("raw").optional() })]),
        ),
      ],
      { error: "give a file, or a list of files" },
    )
    .optional(),
  working_dir: text.optional(),
  user: z.union([z.string(), z.number()]).optional().describe("user[:group]"),
  hostname: z
    .string()
    .regex(/^[a-zA-Z0-9](?:[a-zA-Z0-9.-]{0,62})$/u, { error: 'a host name has at most 63 letters, digits and "-"' })
    .optional(),
  container_name: z
    .string()
    .regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$/u, { error: "a cVM's name has at most 63 letters, digits, _ . and -" })
    .optional(),
  ports: z.array(port, { error: "give a list of ports" }).optional(),
  expose: z
    .array(z.union([z.string(), z.number()]))
    .optional()
    .describe("for readers: cVMs of one network reach all of each other's ports"),
  volumes: z.array(mount, { error: "give a list of volumes" }).optional(),
  networks: z.union([z.array(z.string()), z.record(z.string(), attachment)], { error: "give a list of networks, or a mapping" }).optional(),
  network_mode: z.enum(["none", "bridge"], { error: "choose none or bridge; between services of a project, use networks" }).optional(),
  dns: texts.optional(),
  extra_hosts: pairs.optional().describe("NAME: address, or host-gateway for this machine's loopback"),
  depends_on: z
    .union([z.array(z.string()), z.record(z.string(), dependency)], { error: "give a list of services, or a mapping" })
    .optional(),
  healthcheck: healthcheck.optional(),
  restart: z
    .string()
    .regex(/^(?:no|always|unless-stopped|on-failure(?::\d{1,6})?)$/u, { error: "choose no, always, unless-stopped or on-failure[:N]" })
    .optional(),
  deploy: deploy.optional(),
  scale: count.optional().describe("same as deploy.replicas"),
  cpus: decimal.optional().describe("same as deploy.resources.limits.cpus"),
  mem_limit: size.optional().describe("same as deploy.resources.limits.memory"),
  stop_signal: z.union([z.string(), z.number()]).optional().describe("SIGTERM unless given"),
  stop_grace_period: duration.optional().describe("10s unless given"),
  tty: flag.optional(),
  stdin_open: flag.optional(),
  attach: flag.optional().describe("false: its output is not shown by cvm up"),
  init: flag.optional().describe("signals end its first program as they end any other, and it inherits no orphans"),
  labels: pairs.optional(),
  profiles: z.array(names).optional(),
  extends: z.union([z.string(), z.strictObject({ service: z.string(), file: z.string().optional() })]).optional(),
  platform: z.literal("linux/riscv64", { error: "cVMs run linux/riscv64 only" }).optional(),
  pull_policy: z.enum(["never", "missing", "if_not_present"], { error: "images are not pulled: choose never or missing" }).optional(),
  "x-cvm": sharingOfService.optional(),
});

const network = z.union(
  [
    z.strictObject({
      name: z.string().optional(),
      internal: flag.optional().describe("its services do not reach the outside"),
      external: flag.optional().describe("not of this project; bridge is that of cvm run"),
      driver: z.literal("bridge", { error: "bridge is the only driver" }).optional(),
      attachable: flag.optional(),
      labels: pairs.optional(),
    }),
    z.null(),
  ],
  { error: "give a mapping, or nothing" },
);

const volume = z.union(
  [
    z.strictObject({
      name: names.optional(),
      external: flag.optional().describe("not of this project: never made, never removed"),
      driver: z.literal("local", { error: "local is the only driver" }).optional(),
      labels: pairs.optional(),
    }),
    z.null(),
  ],
  { error: "give a mapping, or nothing" },
);

/** A whole file. */
export const deploymentSchema: z.ZodType = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z0-9][a-z0-9_-]*$/u, { error: 'a project\'s name has small letters, digits, "-" and "_"' })
    .optional(),
  version: z.union([z.string(), z.number()]).optional().describe("of old Compose files; no effect"),
  services: z.record(names, service, { error: "give a mapping of services" }),
  networks: z.record(names, network).optional(),
  volumes: z.record(names, volume).optional(),
  "x-cvm": sharingOfProject.optional(),
});

/** A JSON Schema, as plain data. */
export type JsonSchema = { readonly [key: string]: unknown };

/** The JSON Schema for editors. Keys that begin with `x-` are allowed where Compose allows them. */
export function jsonSchema(): JsonSchema {
  const made = z.toJSONSchema(deploymentSchema, { io: "input" }) as JsonSchema;
  return { ...(allowExtensions(made) as JsonSchema), title: "cVM deployment file" };
}

/** Adds `x-` keys to every object with properties of its own, but to none inside of x-cvm. */
function allowExtensions(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(allowExtensions);
  if (typeof schema !== "object" || schema === null) return schema;
  const changed: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(schema)) {
    if (key !== "properties") changed[key] = allowExtensions(value);
    else {
      const properties = Object.entries(value as JsonSchema).map(([name, inner]) => [
        name,
        name === "x-cvm" ? inner : allowExtensions(inner),
      ]);
      changed[key] = Object.fromEntries(properties);
      changed["patternProperties"] = { "^x-(?!cvm$)": {} };
    }
  }
  return changed;
}
