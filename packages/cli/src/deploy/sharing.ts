/** What services share by capabilities, and who may open what: `x-cvm` of a deployment file, checked. */
import { readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { messageOf } from "../errors.ts";
import { child, entriesOf, flagOf, itemsOf, placeOf, textOf } from "./document.ts";
import type { Tree } from "./document.ts";
import { suggestion } from "./problems.ts";
import type { Place, Problems } from "./problems.ts";
import { KINDS, RIGHTS } from "./schema-sharing.ts";
import type { Kind, Right } from "./schema-sharing.ts";
import { MOST_CONTENT } from "../host/protocol.ts";
import { sizeBytes } from "./values.ts";

interface SharedObject {
  readonly name: string;
  /** Service whose end is the end of this; null: it lasts as long as the deployment. */
  readonly owner: string | null;
}
/** A CP file. */
export interface SharedFile extends SharedObject {
  readonly bytes: number;
  /** What it holds at first; zeroes behind it. */
  readonly content: Uint8Array;
}
/** A CP stream; its owner listens. */
export interface SharedStream extends SharedObject {
  readonly messages: boolean;
  /** Undefined: the monitor's choice. */
  readonly bufferBytes: number | undefined;
}
/** A CP call; its owner publishes it. */
export interface SharedCall extends SharedObject {
  readonly argumentBytes: number | undefined;
  readonly threads: number | undefined;
}

/** A service may open an object with these rights; nothing is allowed without a grant. */
export interface Grant {
  readonly service: string;
  readonly kind: Kind;
  readonly name: string;
  readonly rights: readonly Right[];
}

/** How a service's cVM stands to others. */
export interface CompartmentOptions {
  /** Service that contains it. */
  readonly inside: string | null;
  /** Service that handles its host calls; null: the monitor. */
  readonly callbackOut: string | null;
  readonly cleanRoom: boolean;
  readonly storeCap: boolean;
  /** Whether it may start cVMs, and which; null: it may not. Undefined limits are those of its own cVM. */
  readonly spawn: {
    readonly most: number | undefined;
    readonly memoryBytes: number | undefined;
    readonly images: readonly string[];
  } | null;
}

export interface Sharing {
  readonly files: readonly SharedFile[];
  readonly streams: readonly SharedStream[];
  readonly calls: readonly SharedCall[];
  readonly grants: readonly Grant[];
  /** By service; one that is not here has {@link PLAIN}. */
  readonly compartments: ReadonlyMap<string, CompartmentOptions>;
}

export const PLAIN: CompartmentOptions = { inside: null, callbackOut: null, cleanRoom: false, storeCap: false, spawn: null };

/** Largest CP file. */
const MOST_BYTES = 1024 ** 3;

interface Declared {
  readonly kind: Kind;
  readonly name: string;
  owner: string | null;
  readonly place: Place;
  readonly tree: Tree;
}

interface Given extends Grant {
  readonly place: Place;
  /** It stands in the file; an owner has its rights without. */
  readonly explicit: boolean;
}

/** Services as far as grants need them. */
export interface Party {
  readonly replicas: number;
  /** Its mapping. */
  readonly tree: Tree;
}

class SharingReader {
  readonly #services: ReadonlyMap<string, Party>;
  readonly #problems: Problems;
  readonly #objects: Map<string, Declared> = new Map();
  readonly #grants: Map<string, Given> = new Map();

  constructor(services: ReadonlyMap<string, Party>, problems: Problems) {
    this.#services = services;
    this.#problems = problems;
  }

  read(top: Tree): Sharing {
    const project = child(top, "x-cvm");
    for (const kind of KINDS) {
      for (const [name, { tree, place }] of entriesOf(child(project, kind))) {
        const owner = textOf(child(tree, "owner"));
        this.#declare({ kind, name, owner: null, place, tree });
        if (owner !== undefined) this.#own(kind, name, owner, placeOf(tree, ["owner"]));
      }
    }
    for (const [service, { tree }] of this.#services) {
      for (const kind of KINDS) {
        for (const [name, entry] of entriesOf(child(child(tree, "x-cvm"), kind))) {
          if (this.#declare({ kind, name, owner: null, place: entry.place, tree: entry.tree })) this.#own(kind, name, service, entry.place);
        }
      }
    }
    for (const grant of itemsOf(child(project, "grants"))) this.#projectGrant(grant);
    for (const [service, { tree }] of this.#services) {
      const grants = child(child(tree, "x-cvm"), "grants");
      for (const kind of KINDS)
        for (const [name, entry] of entriesOf(child(grants, kind))) this.#grant(service, kind, name, entry.tree, entry.place);
    }
    for (const object of this.#objects.values()) this.#checkOwner(object);
    const compartments = this.#compartments();
    const of = (kind: Kind): Declared[] => [...this.#objects.values()].filter((object) => object.kind === kind);
    return {
      files: of("files").map((object) => this.#file(object)),
      streams: of("streams").map(({ name, owner, tree }) => ({
        name,
        owner,
        messages: flagOf(child(tree, "messages")) === true,
        bufferBytes: sizeOf(child(tree, "buffer")),
      })),
      calls: of("calls").map(({ name, owner, tree }) => ({
        name,
        owner,
        argumentBytes: sizeOf(child(tree, "argument")),
        threads: numberOf(child(tree, "threads")),
      })),
      grants: [...this.#grants.values()].map(({ service, kind, name, rights }) => ({ service, kind, name, rights })),
      compartments,
    };
  }

  #declare(object: Declared): boolean {
    const key = `${object.kind} ${object.name}`;
    const before = this.#objects.get(key);
    if (before !== undefined) {
      const whose = before.owner === null ? "" : ` and owned by "${before.owner}"`;
      this.#problems.add(
        object.place,
        `two owners: the ${RIGHTS[object.kind].one} "${object.name}" is declared in line ${before.place.line}${whose} already`,
      );
      return false;
    }
    this.#objects.set(key, object);
    return true;
  }

  #service(name: string, place: Place): Party | undefined {
    const service = this.#services.get(name);
    if (service === undefined) this.#problems.add(place, `there is no service "${name}"${suggestion(name, this.#services.keys())}`);
    return service;
  }

  /** A service becomes the owner of an object, and gets what only owners have. */
  #own(kind: Kind, name: string, service: string, place: Place): void {
    const object = this.#objects.get(`${kind} ${name}`)!;
    const party = this.#service(service, place);
    if (party === undefined) return;
    const { one, owner: right } = RIGHTS[kind];
    if (object.owner !== null && object.owner !== service)
      return this.#problems.add(
        place,
        `two owners: the ${one} "${name}" is "${object.owner}"'s${right === undefined ? "" : `, who alone may ${right}`}`,
      );
    if (party.replicas > 1)
      return this.#problems.add(place, `two owners: "${service}" has ${party.replicas} cVMs, and the ${one} "${name}" can be of one only`);
    object.owner = service;
    // The owner's own grant: of a file everything, of others its part.
    const rights: readonly Right[] = right === undefined ? RIGHTS[kind].rights : [right];
    this.#keep({ service, kind, name, rights, place, explicit: false });
    return undefined;
  }

  #keep(grant: Given): void {
    const key = `${grant.service} ${grant.kind} ${grant.name}`;
    const before = this.#grants.get(key);
    if (before?.explicit === true && grant.explicit)
      this.#problems.add(
        grant.place,
        `"${grant.service}" was granted the ${RIGHTS[grant.kind].one} "${grant.name}" in line ${before.place.line} already`,
      );
    const rights = [...new Set([...(before?.rights ?? []), ...grant.rights])];
    this.#grants.set(key, { ...grant, rights, explicit: grant.explicit || before?.explicit === true });
  }

  #projectGrant(tree: Tree): void {
    const named = KINDS.flatMap((kind) => {
      const name = textOf(child(tree, RIGHTS[kind].one));
      return name === undefined ? [] : [{ kind, name }];
    });
    const service = textOf(child(tree, "service")) ?? "";
    if (named.length !== 1) return this.#problems.add(tree.place, "a grant names one file, one stream or one call");
    const { kind, name } = named[0]!;
    if (this.#service(service, placeOf(tree, ["service"])) === undefined) return undefined;
    return this.#grant(service, kind, name, child(tree, "rights"), placeOf(tree, [RIGHTS[kind].one]));
  }

  #grant(service: string, kind: Kind, name: string, list: Tree | undefined, place: Place): void {
    const { one, rights: possible, owner } = RIGHTS[kind];
    const object = this.#objects.get(`${kind} ${name}`);
    if (object === undefined) {
      const known = [...this.#objects.values()].filter((other) => other.kind === kind).map((other) => other.name);
      const elsewhere = KINDS.find((other) => this.#objects.has(`${other} ${name}`));
      const hint = elsewhere === undefined ? suggestion(name, known) : `; "${name}" is a ${RIGHTS[elsewhere].one}`;
      return this.#problems.add(place, `there is no ${one} "${name}"${hint}`);
    }
    const rights: Right[] = [];
    for (const item of itemsOf(list)) {
      const right = textOf(item) ?? "";
      if ((possible as readonly string[]).includes(right)) rights.push(right as Right);
      else {
        const other = KINDS.find((kindOf) => (RIGHTS[kindOf].rights as readonly string[]).includes(right));
        const hint =
          other === undefined
            ? suggestion(right, possible)
            : ` (that is a right on a ${RIGHTS[other].one}): choose ${possible.join(" or ")}`;
        this.#problems.add(item.place, `a ${one} has no right "${right}"${hint}`);
      }
    }
    if (owner !== undefined && (rights as readonly string[]).includes(owner)) this.#own(kind, name, service, place);
    if (rights.length > 0) this.#keep({ service, kind, name, rights, place, explicit: true });
    return undefined;
  }

  #checkOwner({ kind, name, owner, place }: Declared): void {
    const { one, owner: right } = RIGHTS[kind];
    if (right === undefined || owner !== null) return;
    this.#problems.add(place, `nobody may ${right}: give the ${one} "${name}" an owner, or a service the right "${right}" on it`);
  }

  #file({ name, owner, place, tree }: Declared): SharedFile {
    const given = (["content", "content_base64", "preset"] as const).filter((key) => child(tree, key) !== undefined);
    if (given.length > 1) this.#problems.add(placeOf(tree, [given[1]!]), `${given.join(" and ")} exclude each other`);
    const content = this.#content(tree, given[0]);
    const bytes = sizeOf(child(tree, "size")) ?? content.length;
    if (bytes === 0) this.#problems.add(place, `the file "${name}" needs a size, or content`);
    if (bytes > MOST_BYTES) this.#problems.add(placeOf(tree, ["size"]), "a file has at most 1g");
    if (content.length > bytes && bytes > 0)
      this.#problems.add(placeOf(tree, ["size"]), `the file "${name}" has ${bytes} bytes, and its content ${content.length}: give more`);
    return { name, owner, bytes, content };
  }

  #content(tree: Tree, key: "content" | "content_base64" | "preset" | undefined): Uint8Array {
    const text = key === undefined ? undefined : textOf(child(tree, key));
    if (key === undefined || text === undefined) return new Uint8Array();
    const place = placeOf(tree, [key]);
    if (key === "content") return new TextEncoder().encode(text);
    if (key === "content_base64") {
      const packed = text.replaceAll(/\s/gu, "");
      if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?$/u.test(packed))
        this.#problems.add(place, "this is not base64");
      return new Uint8Array(Buffer.from(packed, "base64"));
    }
    const file = resolve(place.base, text);
    try {
      const { size } = statSync(file);
      if (size > MOST_BYTES) throw new Error(`it has ${size} bytes, and a file at most 1g`);
      return new Uint8Array(readFileSync(file));
    } catch (error) {
      this.#problems.add(place, `"${file}": ${messageOf(error)}`);
      return new Uint8Array();
    }
  }

  #compartments(): Map<string, CompartmentOptions> {
    const all = new Map<string, CompartmentOptions>();
    for (const [name, { tree }] of this.#services) {
      const options = child(tree, "x-cvm");
      const other = (key: "inside" | "callback_out"): string | null => {
        const text = textOf(child(options, key));
        if (text === undefined || (key === "callback_out" && text === "monitor" && !this.#services.has(text))) return null;
        const place = placeOf(options!, [key]);
        const party = this.#service(text, place);
        if (party === undefined) return null;
        if (text === name) this.#problems.add(place, `"${name}" cannot be ${key === "inside" ? "inside of itself" : "its own handler"}`);
        if (party.replicas !== 1) this.#problems.add(place, `"${text}" has ${party.replicas} cVMs: it is not clear which of them is meant`);
        return text;
      };
      const spawn = child(options, "spawn");
      const made: CompartmentOptions = {
        inside: other("inside"),
        callbackOut: other("callback_out"),
        cleanRoom: flagOf(child(options, "clean_room")) === true,
        storeCap: flagOf(child(options, "store_cap")) === true,
        spawn:
          spawn?.kind === "map" || flagOf(spawn) === true
            ? {
                most: numberOf(child(spawn, "most")),
                memoryBytes: sizeOf(child(spawn, "memory")),
                images: itemsOf(child(spawn, "images")).flatMap((item) => textOf(item) ?? []),
              }
            : null,
      };
      if (made.cleanRoom && made.storeCap)
        this.#problems.add(
          placeOf(options!, ["clean_room"]),
          "a clean room holds no capabilities that could be stored: leave out store_cap",
        );
      if (JSON.stringify(made) !== JSON.stringify(PLAIN)) all.set(name, made);
    }
    for (const key of ["inside", "callbackOut"] as const) this.#checkCircle(all, key);
    return all;
  }

  #checkCircle(all: ReadonlyMap<string, CompartmentOptions>, key: "inside" | "callbackOut"): void {
    for (const name of all.keys()) {
      const way = [name];
      let at = all.get(name)?.[key] ?? null;
      while (at !== null && !way.includes(at)) {
        way.push(at);
        at = all.get(at)?.[key] ?? null;
      }
      if (at !== name || way.length === 1) continue;
      const spelt = key === "inside" ? "inside" : "callback_out";
      this.#problems.add(
        placeOf(this.#services.get(name)!.tree, ["x-cvm", spelt]),
        `${spelt} goes round in a circle: ${[...way, name].join(" -> ")}`,
      );
    }
  }
}

function sizeOf(tree: Tree | undefined): number | undefined {
  const text = textOf(tree);
  return text === undefined ? undefined : sizeBytes(text);
}

function numberOf(tree: Tree | undefined): number | undefined {
  const text = textOf(tree);
  return text === undefined ? undefined : Number(text);
}

/** Reads and checks `x-cvm` of the project and of its services. */
export function readSharing(top: Tree, services: ReadonlyMap<string, Party>, problems: Problems): Sharing {
  return new SharingReader(services, problems).read(top);
}

/** What of a deployment's sharing a host cannot do, in words. */
export function missingFeatures({ files, streams, calls, compartments }: Sharing): string[] {
  const used: string[] = [];
  const list = (what: string, objects: readonly SharedObject[]): void => {
    if (objects.length > 0) used.push(`${what} (${objects.map((object) => object.name).join(", ")})`);
  };
  list(
    "content of more than 8 MiB",
    files.filter(({ content }) => content.length > MOST_CONTENT),
  );
  list(
    "messages of streams",
    streams.filter(({ messages }) => messages),
  );
  list(
    "buffer sizes of streams",
    streams.filter(({ bufferBytes }) => bufferBytes !== undefined),
  );
  list(
    "limits of calls",
    calls.filter(({ argumentBytes, threads }) => argumentBytes !== undefined || threads !== undefined),
  );
  for (const [service, options] of compartments) {
    if (options.inside !== null) used.push(`nested compartments (${service} inside ${options.inside})`);
    if (options.callbackOut !== null) used.push(`callback_out (${service} to ${options.callbackOut})`);
    if (options.cleanRoom) used.push(`clean_room (${service})`);
    if (options.storeCap) used.push(`store_cap (${service})`);
    if (options.spawn !== null) used.push(`spawn (${service})`);
  }
  return used;
}
