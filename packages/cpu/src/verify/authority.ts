/**
 * What a program can reach: an upper bound of the capabilities that any sequence of instructions can make of a state. Found by
 * following authority from the state alone: what can be loaded, unsealed, invoked or jumped to.
 */
import { GRANULE_SIZE, OTYPE_SENTRY, OTYPE_UNSEALED, Perm } from "../abi.ts";
import { decodeBounds, otypeOf, permsOf } from "../capability/encoding.ts";
import { rawWithoutSeal, type Raw } from "../capability/raw.ts";

/** A state's capabilities. Tags say which of them count. */
export interface Holdings {
  /** General registers, PCC and DDC. */
  readonly registers: readonly Raw[];
  /** Special registers that only code with AccessSystemRegs reads. */
  readonly specials: readonly Raw[];
  readonly memory: readonly { readonly at: number; readonly cap: Raw }[];
  /** True for addresses that pages let a program load from. */
  readonly readable: (address: number) => boolean;
}

interface Known {
  readonly cap: Raw;
  readonly base: bigint;
  readonly top: bigint;
  readonly perms: number;
}
function known(cap: Raw): Known {
  return { cap, ...decodeBounds(cap.hi, cap.address), perms: permsOf(cap.hi) };
}
const key = (cap: Raw): string => `${cap.hi}.${cap.address}`;

export class Authority {
  readonly #open = new Map<string, Known>();
  readonly #sealed = new Map<string, Known>();
  readonly #memory = new Map<number, Raw>();

  constructor(holdings: Holdings) {
    for (const { at, cap } of holdings.memory) if (cap.tag) this.#memory.set(at, cap);
    for (const cap of holdings.registers) this.#add(cap);
    for (let before = -1; before !== this.#open.size + this.#sealed.size;) {
      before = this.#open.size + this.#sealed.size;
      if (this.#some((one) => has(one, Perm.Execute | Perm.AccessSystemRegs))) for (const cap of holdings.specials) this.#add(cap);
      for (const [at, cap] of this.#memory) {
        if (holdings.readable(at) && this.#some((one) => has(one, Perm.Load | Perm.LoadCap) && inside(one, BigInt(at), GRANULE_SIZE))) {
          this.#add(cap);
        }
      }
      for (const one of this.#sealed.values()) if (this.#opens(one)) this.#add(rawWithoutSeal(one.cap));
    }
  }

  #add(cap: Raw): void {
    if (!cap.tag) return;
    const set = otypeOf(cap.hi) === OTYPE_UNSEALED ? this.#open : this.#sealed;
    if (!set.has(key(cap))) set.set(key(cap), known(cap));
  }
  #some(test: (one: Known) => boolean): boolean {
    for (const one of this.#open.values()) if (test(one)) return true;
    return false;
  }
  /** Some capability allows `perm` for an object type. */
  #owns(otype: number, perm: number): boolean {
    return this.#some((one) => has(one, perm) && inside(one, BigInt(otype), 1));
  }
  /** Whether a seal can come off: CUnseal, a jump to a sentry, or CInvoke with a partner. */
  #opens(one: Known): boolean {
    const otype = otypeOf(one.cap.hi);
    const isCode = has(one, Perm.Execute);
    if (otype === OTYPE_SENTRY) return isCode;
    if (otype < 0) return false;
    if (this.#owns(otype, Perm.Unseal)) return true;
    if (!has(one, Perm.CInvoke)) return false;
    const partner = (other: Known): boolean => has(other, Perm.CInvoke) && has(other, Perm.Execute) !== isCode;
    for (const other of this.#sealed.values()) if (otypeOf(other.cap.hi) === otype && partner(other)) return true;
    // It can take Execute away from what it seals as data, but not add it to what it seals as code.
    return this.#owns(otype, Perm.Seal) && this.#some((other) => has(other, Perm.CInvoke) && (isCode || has(other, Perm.Execute)));
  }

  /** True when a program can have come to hold a capability; anything without a tag it can. */
  explains(cap: Raw): boolean {
    if (!cap.tag) return true;
    const otype = otypeOf(cap.hi);
    // Sealed ones do not change by a bit.
    if (this.#sealed.has(key(cap))) return true;
    if (otype !== OTYPE_UNSEALED && otype !== OTYPE_SENTRY && !(otype >= 0 && this.#owns(otype, Perm.Seal))) return false;
    const wanted = known(cap);
    return this.#some((one) => reaches(one, wanted));
  }
  /** As {@link explains} for what stands in memory: it may also have been there. */
  explainsAt(at: number, cap: Raw): boolean {
    const was = this.#memory.get(at);
    return (was !== undefined && key(was) === key(cap)) || this.explains(cap);
  }
}

function reaches(outer: Known, inner: Known): boolean {
  return inner.base >= outer.base && inner.top <= outer.top && inner.base <= inner.top && (inner.perms & ~outer.perms) === 0;
}
/** True when `inner` allows no address and nothing that `outer` does not. Tags and seals are not looked at. */
export function covers(outer: Raw, inner: Raw): boolean {
  return reaches(known(outer), known(inner));
}
function has({ perms }: Known, wanted: number): boolean {
  return (perms & wanted) === wanted;
}
function inside({ base, top }: Known, address: bigint, size: number): boolean {
  return address >= base && address + BigInt(size) <= top;
}
