import type { Region } from "@cvm/cpu";
import { Perm, Prot } from "@cvm/cpu/abi";
import type { CpEntry, CpHandle, CpKind } from "../abi.ts";
import { CP_KINDS, CP_RIGHTS, CpRight, Limits } from "../abi.ts";
import { bufferCapability } from "../authority.ts";
import { isBytes, isInteger, isString } from "../check.ts";
import type { Compartment, Host } from "../compartment.ts";
import { Errno, MonitorError } from "../errors.ts";
import type { NetworkNode } from "../network.ts";
import type { Stream } from "../stream.ts";

/** What one cVM may do with an object. `cvm`: its name, or "*" for all. */
export interface CpGrant {
  readonly cvm: string;
  /** Bits of {@link CpRight}. */
  readonly rights: number;
}

/** An object as the deployment declares it. */
export interface CpConfig {
  readonly kind: CpKind;
  /** 1 … 128 characters: letters, digits, `-`, `_`, `.`; it begins with a letter or digit. */
  readonly name: string;
  /** Objects of different scopes may have one name: a cVM sees the one of which it was granted something. */
  readonly scope?: string;
  readonly grants: readonly CpGrant[];
  /** Of a file: its bytes, and what it holds at first. */
  readonly size?: number;
  readonly content?: Uint8Array;
}

/** An object that has a name. */
export class CpObject {
  readonly kind: CpKind;
  readonly name: string;
  readonly scope: string;
  readonly grants: Map<string, number>;
  /** Bytes of a file, and where they are. */
  readonly size: number;
  readonly region: Region | null;
  changes: number = 0;
  /** Who opened it, and under which numbers. */
  readonly holders: Map<Compartment, Set<CpHandle>> = new Map();
  /** Of a stream: who accepts, and the connections that were made, each with the cVM that made it. */
  server: NetworkNode | null = null;
  readonly streams: Map<Stream, string> = new Map();

  constructor({ kind, name, scope = "", grants, size = 0 }: CpConfig, region: Region | null) {
    this.kind = kind;
    this.name = name;
    this.scope = scope;
    this.size = size;
    this.region = region;
    this.grants = new Map(grants.map(({ cvm, rights }) => [cvm, rights]));
  }
  /** What was granted to a cVM by its name; what all were, unless that was something. */
  rightsOf(cvm: string): number {
    return this.grants.get(cvm) ?? this.grants.get("*") ?? 0;
  }
}

const NAME = /^[a-z0-9][a-z0-9._-]*$/iu;

function checkConfig({ kind, name, grants, size, content }: CpConfig): void {
  const fail = (what: string): never => {
    throw new MonitorError("invalid", what);
  };
  if (!CP_KINDS.includes(kind)) fail(`"${String(kind)}" is no kind of object: ${CP_KINDS.join(", ")}`);
  if (!isString(name, Limits.cpName) || !NAME.test(name)) fail(`"${String(name)}" is not a name: letters, digits, "-", "_" and "."`);
  for (const { cvm, rights } of grants)
    if (!isInteger(rights, 1) || (rights & ~CP_RIGHTS[kind]) !== 0) fail(`${cvm} can not be granted rights ${rights} of a ${kind}`);
  if ((size !== undefined) !== (kind === "file")) fail("a file has a size, others have none");
  if (size !== undefined && !isInteger(size, 1, Limits.cpFileBytes)) fail(`a file has 1 … ${Limits.cpFileBytes} bytes`);
  if (content !== undefined && (!isBytes(content) || content.length > (size ?? 0))) fail("the content is larger than the file");
}

/**
 * Objects of one host that cVMs reach by name. Who may open what, and with which rights, was declared; a cVM knows an object by a number in its own table.
 */
export class CpObjects {
  readonly #host: Host;
  readonly #objects: Set<CpObject> = new Set();
  #fileBytes: number = 0;

  constructor(host: Host) {
    this.#host = host;
  }

  /** @throws MonitorError `invalid`, `exists`, `exhausted` */
  declare(config: CpConfig): CpObject {
    checkConfig(config);
    const { regions, pages } = this.#host;
    if (this.get(config.kind, config.name, config.scope) !== undefined)
      throw new MonitorError("exists", `there is a ${config.kind} "${config.name}"`);
    if (this.#objects.size >= Limits.cpObjects) throw new MonitorError("exhausted", `a host has at most ${Limits.cpObjects} objects`);
    let region: Region | null = null;
    if (config.size !== undefined) {
      if (this.#fileBytes + config.size <= Limits.cpFilesBytes) region = regions.allocate(config.size);
      if (region === null) throw new MonitorError("exhausted", `no room for the file "${config.name}" of ${config.size} bytes`);
      this.#fileBytes += region.length;
      pages.map(region.base, region.length, Prot.Read | Prot.Write, false);
      pages.use(region.base, region.length, true);
      if (config.content !== undefined) pages.write(region.base, config.content);
    }
    const object = new CpObject(config, region);
    this.#objects.add(object);
    return object;
  }

  get(kind: CpKind, name: string, scope: string = ""): CpObject | undefined {
    return this.#find((object) => object.kind === kind && object.name === name && object.scope === scope);
  }

  #find(wanted: (object: CpObject) => boolean): CpObject | undefined {
    for (const object of this.#objects) if (wanted(object)) return object;
    return undefined;
  }

  all(): Iterable<CpObject> {
    return this.#objects;
  }

  list(cvm: string): CpEntry[] {
    const entries = Array.from(this.#objects, (object) => ({
      kind: object.kind,
      name: object.name,
      rights: object.rightsOf(cvm),
      size: object.size,
    }));
    return entries.filter(({ rights }) => rights !== 0);
  }

  /** A number in the compartment's table, or a negative errno. The arguments were checked. */
  open(compartment: Compartment, kind: CpKind, name: string, rights: number): number {
    const named = (object: CpObject): boolean => object.kind === kind && object.name === name;
    const object = this.#find((each) => named(each) && each.rightsOf(compartment.name) !== 0) ?? this.#find(named);
    if (object === undefined) return -Errno.ENOENT;
    if ((rights & ~object.rightsOf(compartment.name)) !== 0) return -Errno.EACCES;
    const perms = ((rights & CpRight.Read) === 0 ? 0 : Perm.Load) | ((rights & CpRight.Write) === 0 ? 0 : Perm.Store);
    let handle: number;
    try {
      handle = compartment.capabilities.insert(object.region === null ? null : bufferCapability(object.region, perms), { object, rights });
    } catch {
      return -Errno.EMFILE;
    }
    const numbers = object.holders.get(compartment) ?? new Set();
    object.holders.set(compartment, numbers.add(handle));
    return handle;
  }

  close(compartment: Compartment, handle: CpHandle): boolean {
    const object = compartment.capabilities.opened(handle)?.object;
    if (object === undefined) return false;
    compartment.capabilities.remove(handle);
    object.holders.get(compartment)?.delete(handle);
    return true;
  }

  #tell(compartment: Compartment, handle: CpHandle, changes: number): void {
    this.#host.scheduler.post(() => compartment.libraryOs?.cpNotified(handle, changes));
  }

  /** Everybody who opened the object hears of it. */
  notify(object: CpObject): number {
    object.changes++;
    for (const [compartment, handles] of object.holders) for (const handle of handles) this.#tell(compartment, handle, object.changes);
    return object.changes;
  }

  /** No number of this compartment stands for the object any more. */
  #drop(object: CpObject, compartment: Compartment): void {
    for (const handle of object.holders.get(compartment) ?? []) {
      compartment.capabilities.remove(handle);
      this.#tell(compartment, handle, 0);
    }
    object.holders.delete(compartment);
  }

  /**
   * Takes an object away from all, with its name: no number stands for it, no connection to it goes on, and no copy of a capability to it works, wherever it is, before its
   * memory is used again. How many copies there were.
   */
  revoke(object: CpObject): number {
    const { machine, pages, regions } = this.#host;
    if (!this.#objects.delete(object)) return 0;
    this.#host.calls.revoke(object, null);
    for (const compartment of object.holders.keys()) this.#drop(object, compartment);
    for (const stream of object.streams.keys()) stream.abort(Errno.ECONNRESET);
    const { region } = object;
    if (region === null) return 0;
    const copies = machine.revoke(region.base, region.length);
    pages.unmap(region.base, region.length);
    regions.free(region);
    this.#fileBytes -= region.length;
    return copies;
  }

  /** Takes the grants of one cVM away, and with them all that it has of the object. Others keep theirs. */
  revokeFrom(object: CpObject, cvm: string): number {
    object.grants.set(cvm, 0);
    this.#host.calls.revoke(object, cvm);
    let copies = 0;
    for (const compartment of object.holders.keys()) {
      if (compartment.name !== cvm) continue;
      this.#drop(object, compartment);
      const { region } = object;
      const ranges = Array.from(compartment.processes.values(), (process) => process.region);
      const harts = Array.from(compartment.threads.values(), ({ hart }) => hart);
      if (region !== null) copies += this.#host.machine.revoke(region.base, region.length, { ranges, harts });
    }
    for (const [stream, owner] of object.streams) if (owner === cvm || object.server?.name === cvm) stream.abort(Errno.ECONNRESET);
    if (object.server?.name === cvm) object.server = null;
    return copies;
  }

  /** The cVM is over: its numbers are gone. */
  forget(compartment: Compartment): void {
    for (const { holders } of this.#objects) holders.delete(compartment);
    this.#host.calls.forget(compartment);
  }
}
