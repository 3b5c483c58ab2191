/**
 * Functions on decompressed capabilities, for code that derives and inspects them. They follow ISAv9: what is not
 * allowed gives a result whose tag is clear, never an exception; the caller tests `tag`.
 *
 * A {@link Capability} has no place for reserved encoding bits and for bounds that only damaged, untagged bit patterns have: these are
 * lost on the way. Everything that has a tag passes through unchanged.
 */
import type { Capability } from "../abi.ts";
import { OTYPE_MAX, OTYPE_SENTRY, OTYPE_UNSEALED, Perm } from "../abi.ts";
import {
  alignmentMask,
  decodeBounds,
  encodeBounds,
  flagOf,
  MASK64,
  otypeOf,
  permsOf,
  roundedLength,
  withBounds,
  withFlag,
  withOtype,
  withPerms,
} from "./encoding.ts";
import type { Raw } from "./raw.ts";
import {
  rawAndPerms,
  rawBuildCap,
  rawConditionalSeal,
  rawCopyType,
  rawEqual,
  rawIncOffset,
  rawIsSubset,
  rawSeal,
  rawSealEntry,
  rawSetAddress,
  rawSetBounds,
  rawSetFlag,
  rawSetOffset,
  rawUnseal,
  ROOT_HI,
} from "./raw.ts";

/** Decompresses what a register or memory holds. */
export function fromRaw(raw: Raw): Capability {
  const { base, top } = decodeBounds(raw.hi, raw.address);
  return { tag: raw.tag, address: raw.address, base, top, perms: permsOf(raw.hi), otype: otypeOf(raw.hi), flag: flagOf(raw.hi) };
}

/**
 * Compresses. RangeError when a tagged capability's bounds cannot be held exactly at its address, since other bounds
 * would be made up; an untagged one takes the nearest.
 */
export function toRaw(capability: Capability): Raw {
  const { tag, address, base, top, perms, otype, flag } = capability;
  if (address < 0n || address > MASK64) throw new RangeError(`address ${address} is not an unsigned 64-bit number`);
  const { bits } = encodeBounds(base, top);
  const hi = withFlag(withOtype(withPerms(withBounds(0n, bits), perms), otype), flag);
  if (tag) {
    const decoded = decodeBounds(hi, address);
    if (decoded.base !== base || decoded.top !== top) throw new RangeError(`bounds are not representable: ${format(capability)}`);
  }
  return { tag, hi, address };
}

/** The 128 bits in memory, as two unsigned 64-bit halves; `lo` is the address. */
export function toMemory(capability: Capability): { readonly hi: bigint; readonly lo: bigint } {
  const { hi, address } = toRaw(capability);
  return { hi, lo: address };
}

/** The capability that 128 bits in memory and their tag stand for. Inverse of {@link toMemory}. */
export function fromMemory(hi: bigint, lo: bigint, tag: boolean): Capability {
  return fromRaw({ hi: hi & MASK64, address: lo & MASK64, tag });
}

/** The NULL capability, or (with an address) an integer seen as a capability. */
export function nullCapability(address: bigint = 0n): Capability {
  return fromRaw({ tag: false, hi: 0n, address: address & MASK64 });
}

/**
 * The capability from which all are derived: all permissions, address 0, bounds [0, 2^64), or [0, `memoryBytes`).
 * RangeError when `memoryBytes` is not a representable length.
 */
export function root(memoryBytes?: number | bigint): Capability {
  const all = fromRaw({ tag: true, hi: ROOT_HI, address: 0n });
  if (memoryBytes === undefined) return all;
  const { capability, exact } = setBounds(all, memoryBytes);
  if (!exact || !capability.tag) throw new RangeError(`${memoryBytes} bytes are not a representable length`);
  return capability;
}

function unsigned(value: number | bigint): bigint {
  const big = BigInt(value);
  if (big < 0n || big > 1n << 64n) throw new RangeError(`${value} is not in 0 … 2^64`);
  return big;
}

/**
 * Bounds [address, address + length), rounded outwards to what can be represented (CSetBounds). `exact` is false after
 * rounding. The tag is cleared when the requested bounds exceed the old ones or the capability is sealed.
 */
export function setBounds(capability: Capability, length: number | bigint): { readonly capability: Capability; readonly exact: boolean } {
  const result = rawSetBounds(toRaw(capability), unsigned(length));
  return { capability: fromRaw(result.capability), exact: result.exact };
}

/** As {@link setBounds}, and clears the tag after rounding (CSetBoundsExact). */
export function setBoundsExact(capability: Capability, length: number | bigint): Capability {
  const result = setBounds(capability, length);
  return result.exact ? result.capability : { ...result.capability, tag: false };
}

/**
 * The capability over [base, base + length) with these permissions only, its address at base: what is needed most.
 * The tag is clear when `from` does not cover it or the bounds are not exact.
 */
export function derive(from: Capability, base: number | bigint, length: number | bigint, perms: number): Capability {
  return andPerms(setBoundsExact(setAddress(from, base), length), perms);
}

/** The smallest length of at least `length` that can be exact on a base aligned by {@link representableMask} (CRRL). */
export function representableLength(length: number | bigint): bigint {
  return roundedLength(unsigned(length));
}

/** Mask (64 bits) that aligns a base for {@link representableLength} (CRAM). */
export function representableMask(length: number | bigint): bigint {
  return alignmentMask(unsigned(length));
}

/** Bytes to which base and length must be aligned so that bounds of about this length are exact. */
export function representableAlignment(length: number | bigint): bigint {
  return (MASK64 & ~alignmentMask(unsigned(length))) + 1n;
}

/** Keeps only the permissions in `mask` (CAndPerm). */
export function andPerms(capability: Capability, mask: number): Capability {
  return fromRaw(rawAndPerms(toRaw(capability), mask));
}

/** Sets the mode bit (CSetFlags): 1 for capability mode when this becomes PCC. */
export function setFlag(capability: Capability, flag: number): Capability {
  return fromRaw(rawSetFlag(toRaw(capability), flag));
}

/** Moves the address (CSetAddr); the tag is cleared when the bounds cannot be held at the new one. */
export function setAddress(capability: Capability, address: number | bigint): Capability {
  return fromRaw(rawSetAddress(toRaw(capability), BigInt(address) & MASK64));
}

/** Adds to the address, wrapping at 2^64 (CIncOffset). */
export function incOffset(capability: Capability, increment: number | bigint): Capability {
  return fromRaw(rawIncOffset(toRaw(capability), BigInt(increment)));
}

/** Sets the address to base + offset (CSetOffset). */
export function setOffset(capability: Capability, offset: number | bigint): Capability {
  return fromRaw(rawSetOffset(toRaw(capability), BigInt(offset)));
}

/** Seals with the otype that is the address of `authority` (CSeal). */
export function seal(capability: Capability, authority: Capability): Capability {
  return fromRaw(rawSeal(toRaw(capability), toRaw(authority)));
}

/** CCSeal: seals unless `authority` is untagged, out of bounds or -1, or the capability is sealed already. */
export function conditionalSeal(capability: Capability, authority: Capability): Capability {
  return fromRaw(rawConditionalSeal(toRaw(capability), toRaw(authority)));
}

/** Takes the seal off (CUnseal); Global stays only if `authority` has it. */
export function unseal(capability: Capability, authority: Capability): Capability {
  return fromRaw(rawUnseal(toRaw(capability), toRaw(authority)));
}

/** Seals as a sentry: it can only be jumped to (CSealEntry). */
export function sealEntry(capability: Capability): Capability {
  return fromRaw(rawSealEntry(toRaw(capability)));
}

/** True for any otype but unsealed, sentries included. */
export function isSealed(capability: Capability): boolean {
  return capability.otype !== OTYPE_UNSEALED;
}

/** `requested` with a tag if it is derivable from `authority` (CBuildCap). */
export function buildCap(authority: Capability, requested: Capability): Capability {
  return fromRaw(rawBuildCap(toRaw(authority), toRaw(requested)));
}

/** `capability` with its address set to the otype of `other` (CCopyType). */
export function copyType(capability: Capability, other: Capability): Capability {
  return fromRaw(rawCopyType(toRaw(capability), toRaw(other)));
}

/** True when the tags are equal and `inner`'s bounds and permissions are within `outer`'s (CTestSubset). */
export function testSubset(outer: Capability, inner: Capability): boolean {
  return rawIsSubset(toRaw(outer), toRaw(inner));
}

/** Every bit and the tag equal (CSEQX). */
export function equal(a: Capability, b: Capability): boolean {
  return rawEqual(toRaw(a), toRaw(b));
}

/** The capability without its tag (CClearTag). */
export function clearTag(capability: Capability): Capability {
  return { ...capability, tag: false };
}

/** True when a tagged, unsealed capability allows all of `perms` on [address, address + length). */
export function allows(capability: Capability, address: number | bigint, length: number | bigint, perms: number): boolean {
  const start = BigInt(address);
  return (
    capability.tag &&
    !isSealed(capability) &&
    (capability.perms & perms) === perms &&
    start >= capability.base &&
    start + BigInt(length) <= capability.top
  );
}

/** True for NULL with any address, which is what an integer in a register is. */
export function isNumber(capability: Capability): boolean {
  const { tag, base, top, perms, otype, flag } = capability;
  return !tag && base === 0n && top === 1n << 64n && perms === 0 && otype === OTYPE_UNSEALED && flag === 0;
}

const LETTERS: readonly (readonly [number, string])[] = [
  [Perm.Load, "r"],
  [Perm.Store, "w"],
  [Perm.Execute, "x"],
  [Perm.LoadCap, "R"],
  [Perm.StoreCap, "W"],
];

/**
 * `0x1000 [rwxRW,0x0-0x10000]`, as CHERI tools print a capability: address, permissions (load, store, execute, load and store
 * of capabilities), base and top, then what is special about it: `(invalid)`, `(sentry)`, `(sealed)`, `(capmode)`. A number, which is
 * derived from NULL, is its address alone.
 */
export function format(capability: Capability): string {
  const hex = (value: bigint): string => `0x${value.toString(16)}`;
  if (isNumber(capability)) return hex(capability.address);
  const letters = LETTERS.map(([bit, letter]) => ((capability.perms & bit) !== 0 ? letter : "")).join("");
  const special: string[] = [];
  if (!capability.tag) special.push("invalid");
  if (capability.otype === OTYPE_SENTRY) special.push("sentry");
  else if (isSealed(capability)) special.push("sealed");
  if (capability.flag === 1) special.push("capmode");
  const suffix = special.length === 0 ? "" : ` (${special.join(",")})`;
  return `${hex(capability.address)} [${letters},${hex(capability.base)}-${hex(capability.top)}]${suffix}`;
}

/** True for an otype that a sealing authority may use. */
export function isUsableOtype(otype: number): boolean {
  return Number.isInteger(otype) && otype >= 0 && otype <= OTYPE_MAX;
}
