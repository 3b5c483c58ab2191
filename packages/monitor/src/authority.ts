import type { Region } from "@cvm/cpu";
import { capability as c } from "@cvm/cpu";
import type { Authority, Capability } from "@cvm/cpu/abi";
import { OTYPE_MAX, Perm } from "@cvm/cpu/abi";
import type { CpObject } from "./cp/objects.ts";
import { MonitorError } from "./errors.ts";

/** Data of a hybrid process: it loads capabilities but does not store them, so that they live in registers only. */
export const DDC_PERMS: number = Perm.Load | Perm.Store | Perm.LoadCap | Perm.Global;
/** Code of a hybrid process: no system registers, nothing written through it. */
export const PCC_PERMS: number = Perm.Load | Perm.Execute | Perm.Global | Perm.CInvoke;

/** All that the monitor derives capabilities from. It is in no register of any hart. */
const ROOT: Capability = c.root();

/** What stands where there is no capability. */
export const NOTHING: Capability = c.nullCapability();

function exact(capability: Capability): Capability {
  if (!capability.tag) throw new MonitorError("invalid", `bounds are not representable: ${c.format(capability)}`);
  return capability;
}

export function dataCapability(region: Region): Capability {
  return exact(c.derive(ROOT, region.base, region.length, DDC_PERMS));
}

export function codeCapability(region: Region): Capability {
  return exact(c.derive(ROOT, region.base, region.length, PCC_PERMS));
}

/** The right to seal and unseal with one otype. */
export function sealingAuthority(otype: number): Capability {
  return exact(c.derive(ROOT, otype, 1, Perm.Seal | Perm.Unseal | Perm.Global));
}

/** Seals with the otype of `authority`. `capability` gets CInvoke: both halves of a pair need it. */
export function sealWith(authority: Capability, region: Region, code: boolean): Capability {
  const perms = (code ? PCC_PERMS : DDC_PERMS) | Perm.CInvoke;
  return exact(c.seal(exact(c.derive(ROOT, region.base, region.length, perms)), authority));
}

/** Hands out otypes: each one once, so that what a dead cVM sealed is never unsealed by another. */
export class Otypes {
  #next: number = 1;

  allocate(): number {
    if (this.#next > OTYPE_MAX) throw new MonitorError("exhausted", "all object types are used up: this host made too many cVMs");
    return this.#next++;
  }
}

/** Data that cVMs share: bytes only. No capability is loaded or stored through it. `perms`: Load, Store or both. */
export function bufferCapability(region: Region, perms: number): Capability {
  return exact(c.derive(ROOT, region.base, region.length, perms | Perm.Global));
}

/** What a cVM holds under a number: a capability, and the object that it came with if it was opened by name. */
export interface Held {
  readonly capability: Capability | null;
  readonly opened: Opened | null;
}
/** An object that a cVM opened, and what it may do with it (bits of {@link CpRight}). */
export interface Opened {
  readonly object: CpObject;
  readonly rights: number;
}

/** What one cVM holds by number. A number means nothing in another cVM's table. */
export class CapabilityTable {
  readonly #entries: Map<number, Held> = new Map();
  /** Numbers that were given back. */
  readonly #free: number[] = [];
  readonly #changed: (handle: number) => void;
  readonly #limit: number;

  /** `changed`: what stands under a number is another. */
  constructor(changed: (handle: number) => void = () => {}, limit: number = 4096) {
    this.#changed = changed;
    this.#limit = limit;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Handle > 0. @throws MonitorError `exhausted` */
  insert(capability: Capability | null, opened: Opened | null = null): number {
    if (this.#entries.size >= this.#limit) throw new MonitorError("exhausted", `a cVM holds at most ${this.#limit} capabilities`);
    const handle = this.#free.pop() ?? this.#entries.size + 1;
    this.#entries.set(handle, { capability, opened });
    this.#changed(handle);
    return handle;
  }

  get(handle: number): Capability | undefined {
    return this.#entries.get(handle)?.capability ?? undefined;
  }

  opened(handle: number): Opened | undefined {
    return this.#entries.get(handle)?.opened ?? undefined;
  }

  entries(): Iterable<[handle: number, held: Held]> {
    return this.#entries;
  }

  remove(handle: number): boolean {
    if (!this.#entries.delete(handle)) return false;
    this.#free.push(handle);
    this.#changed(handle);
    return true;
  }

  clear(): void {
    this.#entries.clear();
    this.#free.length = 0;
  }
}

/** An {@link Authority} to fill in. */
export function emptyAuthority(): Authority {
  return { ddcAddress: 0, ddcBase: 0, loadLength: 0, storeLength: 0, pccBase: 0 };
}
