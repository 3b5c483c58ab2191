/**
 * Capability arithmetic on the form that registers and memory hold: upper 64 bits, address, tag. Every function is one
 * ISAv9 instruction's rule (CHERI ISAv9, chapter "CHERI-RISC-V instruction-set reference"): a result that is not allowed has its tag clear.
 */
import { OTYPE_MAX, OTYPE_SENTRY, OTYPE_UNSEALED, Perm } from "../abi.ts";
import {
  decodeBounds,
  encodeBounds,
  fastRepresentable,
  flagOf,
  MASK64,
  otypeOf,
  permsOf,
  representable,
  withBounds,
  withFlag,
  withOtype,
  withPerms,
} from "./encoding.ts";

/** A capability as it is held; any bit pattern is possible when the tag is clear. */
export interface Raw {
  readonly tag: boolean;
  /** Upper 64 bits, in-memory form. */
  readonly hi: bigint;
  /** 64 bits, unsigned. */
  readonly address: bigint;
}

/** The NULL capability with an address: what an integer write leaves in a register. */
export function rawNull(address: bigint = 0n): Raw {
  return { tag: false, hi: 0n, address };
}

/** `hi` of the capability over everything: all permissions, base 0, top 2^64, unsealed. */
export const ROOT_HI = 0xffff_0000_0000_0000n;

export function rawIsSealed(cap: Raw): boolean {
  return otypeOf(cap.hi) !== OTYPE_UNSEALED;
}

/** True when [address, address + size) is inside the bounds. */
export function rawInBounds(cap: Raw, address: bigint, size: bigint): boolean {
  const { base, top } = decodeBounds(cap.hi, cap.address);
  return address >= base && address + size <= top;
}

/** CAndPerm: bits of `mask` that are clear are taken away. */
export function rawAndPerms(cap: Raw, mask: number): Raw {
  return { tag: cap.tag && !rawIsSealed(cap), hi: withPerms(cap.hi, permsOf(cap.hi) & mask), address: cap.address };
}

/** CSetFlags. */
export function rawSetFlag(cap: Raw, flag: number): Raw {
  return { tag: cap.tag && !rawIsSealed(cap), hi: withFlag(cap.hi, flag), address: cap.address };
}

/** CSetAddr: exact representability. */
export function rawSetAddress(cap: Raw, address: bigint): Raw {
  return { tag: cap.tag && !rawIsSealed(cap) && representable(cap.hi, cap.address, address), hi: cap.hi, address };
}

/** CIncOffset: fast representability. */
export function rawIncOffset(cap: Raw, increment: bigint): Raw {
  const address = (cap.address + increment) & MASK64;
  return { tag: cap.tag && !rawIsSealed(cap) && fastRepresentable(cap.hi, cap.address, address), hi: cap.hi, address };
}

/** CSetOffset: fast representability. */
export function rawSetOffset(cap: Raw, offset: bigint): Raw {
  const address = (decodeBounds(cap.hi, cap.address).base + offset) & MASK64;
  return { tag: cap.tag && !rawIsSealed(cap) && fastRepresentable(cap.hi, cap.address, address), hi: cap.hi, address };
}

/** CSetBounds: [address, address + length), rounded outwards. `length` is an unsigned 64-bit number, or 2^64. */
export function rawSetBounds(cap: Raw, length: bigint): { readonly capability: Raw; readonly exact: boolean } {
  const { bits, exact } = encodeBounds(cap.address, cap.address + length);
  const tag = cap.tag && !rawIsSealed(cap) && rawInBounds(cap, cap.address, length);
  return { capability: { tag, hi: withBounds(cap.hi, bits), address: cap.address }, exact };
}

/** CSeal: with the otype that `authority`'s address names. */
export function rawSeal(cap: Raw, authority: Raw): Raw {
  const permitted =
    authority.tag &&
    !rawIsSealed(authority) &&
    (permsOf(authority.hi) & Perm.Seal) !== 0 &&
    rawInBounds(authority, authority.address, 1n) &&
    authority.address <= BigInt(OTYPE_MAX);
  return {
    tag: cap.tag && !rawIsSealed(cap) && permitted,
    hi: withOtype(cap.hi, Number(authority.address & 0x3ffffn)),
    address: cap.address,
  };
}

/** CCSeal: as CSeal, but passes `cap` on where `authority` says nothing (untagged, out of bounds, -1) or `cap` is sealed. */
export function rawConditionalSeal(cap: Raw, authority: Raw): Raw {
  if (!authority.tag || rawIsSealed(cap) || !rawInBounds(authority, authority.address, 1n) || authority.address === MASK64) return cap;
  const permitted = !rawIsSealed(authority) && (permsOf(authority.hi) & Perm.Seal) !== 0 && authority.address <= BigInt(OTYPE_MAX);
  return { tag: cap.tag && permitted, hi: withOtype(cap.hi, Number(authority.address & 0x3ffffn)), address: cap.address };
}

/** CUnseal: Global stays only if `authority` has it too. */
export function rawUnseal(cap: Raw, authority: Raw): Raw {
  const otype = otypeOf(cap.hi);
  const permitted =
    authority.tag &&
    otype >= 0 &&
    !rawIsSealed(authority) &&
    authority.address === BigInt(otype) &&
    (permsOf(authority.hi) & Perm.Unseal) !== 0 &&
    rawInBounds(authority, authority.address, 1n);
  const mask = (permsOf(authority.hi) & Perm.Global) !== 0 ? Perm.All : Perm.All & ~Perm.Global;
  return {
    tag: cap.tag && permitted,
    hi: withOtype(withPerms(cap.hi, permsOf(cap.hi) & mask), OTYPE_UNSEALED),
    address: cap.address,
  };
}

/** CSealEntry. */
export function rawSealEntry(cap: Raw): Raw {
  return { tag: cap.tag && !rawIsSealed(cap), hi: withOtype(cap.hi, OTYPE_SENTRY), address: cap.address };
}

/** The same capability without its seal: for CInvoke and jumps, whose checks are the caller's. */
export function rawWithoutSeal(cap: Raw): Raw {
  return { tag: cap.tag, hi: withOtype(cap.hi, OTYPE_UNSEALED), address: cap.address };
}

/** CBuildCap: `requested` with a tag if `authority` could have derived it; sentries stay sentries, other seals are taken off. */
export function rawBuildCap(authority: Raw, requested: Raw): Raw {
  const sentry = otypeOf(requested.hi) === OTYPE_SENTRY;
  const wanted = sentry ? requested : rawWithoutSeal(requested);
  const have = decodeBounds(authority.hi, authority.address);
  const want = decodeBounds(wanted.hi, wanted.address);
  const perms = permsOf(wanted.hi);
  const subset = want.base >= have.base && want.top <= have.top && want.base <= want.top && (perms & ~permsOf(authority.hi)) === 0;
  // Derive it from the authority and compare: an encoding that the architecture would not make is refused.
  let hi = withBounds(authority.hi, encodeBounds(want.base, want.top).bits);
  hi = withFlag(withPerms(hi, perms), flagOf(wanted.hi));
  if (sentry) hi = withOtype(hi, OTYPE_SENTRY);
  const tag = authority.tag && !rawIsSealed(authority) && subset && hi === wanted.hi;
  return { tag, hi: wanted.hi, address: wanted.address };
}

/** CCopyType: `cap` with its address set to the otype of `other`. */
export function rawCopyType(cap: Raw, other: Raw): Raw {
  const otype = otypeOf(other.hi);
  const result = rawSetAddress(cap, BigInt.asUintN(64, BigInt(otype)));
  return otype < 0 ? { ...result, tag: false } : result;
}

/** CTestSubset: same tag, and bounds and permissions of `inner` within those of `outer`. The otype is ignored. */
export function rawIsSubset(outer: Raw, inner: Raw): boolean {
  const out = decodeBounds(outer.hi, outer.address);
  const inn = decodeBounds(inner.hi, inner.address);
  return outer.tag === inner.tag && inn.base >= out.base && inn.top <= out.top && (permsOf(inner.hi) & ~permsOf(outer.hi)) === 0;
}

/** CSEQX: every bit and the tag equal. */
export function rawEqual(a: Raw, b: Raw): boolean {
  return a.tag === b.tag && a.hi === b.hi && a.address === b.address;
}
