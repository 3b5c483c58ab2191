/** What stands under `x-cvm`: what cVMs share by capabilities, and how they are nested. */
import { z } from "zod";
import { SIZE } from "./values.ts";

/** What an object is, and what may be granted of it. `owner`: the right that only its owner has. */
export const RIGHTS = {
  files: { rights: ["read", "write"], owner: undefined, one: "file" },
  streams: { rights: ["connect", "listen"], owner: "listen", one: "stream" },
  calls: { rights: ["call", "publish"], owner: "publish", one: "call" },
} as const;
export type Kind = keyof typeof RIGHTS;
export const KINDS: readonly Kind[] = ["files", "streams", "calls"];
export type Right = (typeof RIGHTS)[Kind]["rights"][number];

const flag = z.union([z.boolean(), z.enum(["true", "false"])], { error: "give true or false" });
const size = z.union([z.number().int().min(1), z.string().regex(SIZE)], { error: "give a size such as 4096 or 64k" });
const count = z.union([z.number().int().min(1), z.string().regex(/^[1-9]\d*$/u)], { error: "give a whole number, 1 or more" });
const name = z.string().regex(/^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$/u, { error: 'a name has at most 63 letters, digits, ".", "_" and "-"' });
const owner = z.string().optional().describe("service whose end is the end of this object");

const file = {
  size: size.optional().describe("bytes; needed unless there is content"),
  content: z.string().optional().describe("what it holds at first, as text"),
  content_base64: z.string().optional().describe("what it holds at first, as base64"),
  preset: z.string().optional().describe("file of this machine whose content it holds at first"),
};
const stream = {
  messages: flag.optional().describe("keeps what was sent at once together; bytes unless true"),
  buffer: size.optional().describe("bytes that may be under way"),
};
const call = {
  argument: size.optional().describe("most bytes of the caller's buffer"),
  threads: count.optional().describe("callers at once"),
};
const empty = z.null();

// Rights of other kinds are refused later, with a word on what this kind has.
const rights = z.array(z.string(), { error: "give a list of rights, such as [read, write]" }).min(1, { error: "give at least one right" });

const grant = z.strictObject({
  service: z.string(),
  file: z.string().optional(),
  stream: z.string().optional(),
  call: z.string().optional(),
  rights,
});

/** `x-cvm` of a project. */
export const sharingOfProject: z.ZodType = z.strictObject({
  files: z
    .record(name, z.strictObject({ ...file, owner }))
    .optional()
    .describe("CP files: shared buffers"),
  streams: z
    .record(name, z.union([z.strictObject({ ...stream, owner }), empty]))
    .optional()
    .describe("CP streams"),
  calls: z
    .record(name, z.union([z.strictObject({ ...call, owner }), empty]))
    .optional()
    .describe("CP calls"),
  grants: z.array(grant).optional().describe("who may open what; nothing else may be opened"),
});

/** `x-cvm` of a service. */
export const sharingOfService: z.ZodType = z.strictObject({
  files: z.record(name, z.strictObject(file)).optional().describe("CP files that this service owns"),
  streams: z
    .record(name, z.union([z.strictObject(stream), empty]))
    .optional()
    .describe("CP streams at which this service listens"),
  calls: z
    .record(name, z.union([z.strictObject(call), empty]))
    .optional()
    .describe("CP calls that this service publishes"),
  grants: z
    .strictObject({
      files: z.record(z.string(), rights).optional(),
      streams: z.record(z.string(), rights).optional(),
      calls: z.record(z.string(), rights).optional(),
    })
    .optional()
    .describe("what this service may open, by name"),
  inside: z.string().optional().describe("service that contains this one: it is a nested compartment there"),
  callback_out: z.string().optional().describe("service that handles this one's host calls; monitor unless given"),
  clean_room: flag.optional().describe("takes away capabilities by which others that can write could be loaded"),
  store_cap: flag.optional().describe("may store capabilities; such a cVM neither forks nor moves"),
  spawn: z
    .union([flag, z.strictObject({ most: count.optional(), memory: size.optional(), images: z.array(z.string()).optional() })], {
      error: "give true, false, or a mapping with most, memory and images",
    })
    .optional()
    .describe("may start cVMs of its own"),
});
