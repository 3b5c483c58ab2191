/**
 * The 128-bit capability format (CHERI Concentrate, mantissa 14; CHERI ISAv9, section "CHERI Concentrate compression").
 * `hi` is always the upper 64 bits in their in-memory form, where NULL is all zero.
 */

/** In-memory form and architectural form differ by this: NULL has bounds and an otype that are not zero. */
export const NULL_HI = 0x00001ffffc018004n;
/** Largest exponent that means something; larger ones are read as this. */
export const MAX_EXPONENT = 52;

export const MASK64 = 0xffff_ffff_ffff_ffffn;
export const MASK65 = 0x1_ffff_ffff_ffff_ffffn;
const MANTISSA = 14;
/** Bits of `hi` that hold the internal-exponent flag, T and B. */
export const BOUNDS_MASK = 0x7ff_ffffn;
/** Largest otype as it stands in its 18 bits. */
const OTYPE_BITS = 0x3ffff;
/** otypes above this (as 18-bit numbers) are reserved. */
const OTYPE_LAST = 0x3fffb;

/** Bits 47 and 46 of `hi`: reserved, kept as they are. */
export function reservedOf(hi: bigint): number {
  return Number((hi >> 46n) & 3n);
}

/** Permissions as CGetPerm returns them. */
export function permsOf(hi: bigint): number {
  const bits = Number((hi >> 48n) & 0xffffn);
  return ((bits >> 12) << 15) | (bits & 0xfff);
}

/** `hi` with other permissions; bits 12 … 14 of `perms` are ignored. */
export function withPerms(hi: bigint, perms: number): bigint {
  const bits = (((perms >> 15) & 0xf) << 12) | (perms & 0xfff);
  return (hi & 0xffff_ffff_ffffn) | (BigInt(bits) << 48n);
}

/** The mode bit. */
export function flagOf(hi: bigint): number {
  return Number((hi >> 45n) & 1n);
}

/** `hi` with another mode bit. */
export function withFlag(hi: bigint, flag: number): bigint {
  return (hi & ~(1n << 45n)) | (BigInt(flag & 1) << 45n);
}

/** otype as CGetType returns it: reserved ones (and unsealed) are negative. */
export function otypeOf(hi: bigint): number {
  const otype = Number(((hi ^ NULL_HI) >> 27n) & 0x3ffffn);
  return otype > OTYPE_LAST ? otype - (OTYPE_BITS + 1) : otype;
}

/** `hi` with another otype; only the low 18 bits count. */
export function withOtype(hi: bigint, otype: number): bigint {
  const raw = hi ^ NULL_HI;
  return ((raw & ~(0x3ffffn << 27n)) | (BigInt(otype & OTYPE_BITS) << 27n)) ^ NULL_HI;
}

/** Exponent and mantissas, with the two implied bits of T. */
interface Mantissas {
  readonly internal: boolean;
  /** As it stands, 0 … 63. */
  readonly exponent: number;
  readonly b: number;
  readonly t: number;
}

function mantissas(hi: bigint): Mantissas {
  const bits = Number((hi ^ NULL_HI) & BOUNDS_MASK);
  const internal = bits >= 0x400_0000;
  let t = (bits >> 14) & 0xfff;
  let b = bits & 0x3fff;
  let exponent = 0;
  if (internal) {
    exponent = ((t & 7) << 3) | (b & 7);
    t &= ~7;
    b &= ~7;
  }
  // T = B + length, so its two top bits follow from B's, the implied top bits of the length, and the carry below them.
  const carry = t < (b & 0xfff) ? 1 : 0;
  const top2 = ((b >> 12) + (internal ? 1 : 0) + carry) & 3;
  return { internal, exponent, b, t: (top2 << 12) | t };
}

/** Exponent as it stands in the encoding (0 … 63); it is not cut at {@link MAX_EXPONENT}. */
export function exponentOf(hi: bigint): number {
  return mantissas(hi).exponent;
}

export interface Bounds {
  readonly base: bigint;
  /** 65 bits. */
  readonly top: bigint;
}

/** Bounds of any bit pattern at an address; top may be below base when the tag is clear. */
export function decodeBounds(hi: bigint, address: bigint): Bounds {
  const { exponent, b, t } = mantissas(hi);
  const e = Math.min(MAX_EXPONENT, exponent);
  const shift = BigInt(e);
  const a3 = Number((address >> BigInt(e + MANTISSA - 3)) & 7n);
  const b3 = b >> 11;
  const t3 = t >> 11;
  const r3 = (b3 - 1) & 7;
  const aHi = a3 < r3 ? 1 : 0;
  const bHi = b3 < r3 ? 1 : 0;
  const tHi = t3 < r3 ? 1 : 0;
  const aTop = address >> BigInt(e + MANTISSA);
  const upper = (correction: number): bigint => (aTop + BigInt(correction)) & MASK64;
  const base65 = (((upper(bHi - aHi) << 14n) | BigInt(b)) << shift) & MASK65;
  let top = (((upper(tHi - aHi) << 14n) | BigInt(t)) << shift) & MASK65;
  const base = base65 & MASK64;
  // Base and top more than an address space apart: the representable region wraps.
  if (e < MAX_EXPONENT - 1 && ((Number(top >> 63n) - Number(base >> 63n)) & 3) > 1) top ^= 1n << 64n;
  return { base, top };
}

export interface EncodedBounds {
  /** The flag, T and B, 27 bits, architectural (not in-memory) form. */
  readonly bits: bigint;
  /** False when base was rounded down or top up. */
  readonly exact: boolean;
  /** Low bits of base and top that this encoding cannot hold. */
  readonly lostBits: number;
}

/**
 * Encodes [base, top), rounding outwards. `base` 64 bits, `top` 65 bits; a negative length wraps to 65 bits
 * (it can only come from an untagged capability).
 */
export function encodeBounds(base: bigint, top: bigint): EncodedBounds {
  const length = (top - base) & MASK65;
  const high = length >> 13n;
  const e = high === 0n ? 0 : high.toString(2).length;
  if (e === 0 && (length & 0x1000n) === 0n) {
    return { bits: ((top & 0xfffn) << 14n) | (base & 0x3fffn), exact: true, lostBits: 0 };
  }
  const shift = BigInt(e + 3);
  const lost = (1n << shift) - 1n;
  let lostBase = (base & lost) !== 0n;
  let lostTop = (top & lost) !== 0n;
  let b = Number((base >> shift) & 0x7ffn);
  let t = (Number((top >> shift) & 0x7ffn) + (lostTop ? 1 : 0)) & 0x7ff;
  let exponent = e;
  if (((t - b) & 0x400) !== 0) {
    // Rounding made the length overflow: one bit less of each. The bit that is cut off counts as lost.
    exponent += 1;
    lostBase ||= (b & 1) !== 0;
    lostTop ||= (t & 1) !== 0;
    b = Number((base >> (shift + 1n)) & 0x7ffn);
    t = (Number((top >> (shift + 1n)) & 0x7ffn) + (lostTop ? 1 : 0)) & 0x7ff;
  }
  const tField = ((t << 3) & 0xff8) | ((exponent >> 3) & 7);
  const bField = (b << 3) | (exponent & 7);
  return {
    bits: (1n << 26n) | BigInt(tField * 0x4000 + bField),
    exact: !lostBase && !lostTop,
    lostBits: exponent + 3,
  };
}

/** `hi` with other encoded bounds. */
export function withBounds(hi: bigint, bits: bigint): bigint {
  return (((hi ^ NULL_HI) & ~BOUNDS_MASK) | bits) ^ NULL_HI;
}

/** True when the bounds stay what they are at `newAddress` (the exact test: CSetAddr, CCopyType). */
export function representable(hi: bigint, address: bigint, newAddress: bigint): boolean {
  const before = decodeBounds(hi, address);
  const after = decodeBounds(hi, newAddress);
  return before.base === after.base && before.top === after.top;
}

/** The conservative test of hardware (CIncOffset, CSetOffset, CFromPtr): true only if {@link representable}, seldom false although it is. */
export function fastRepresentable(hi: bigint, address: bigint, newAddress: bigint): boolean {
  const { exponent, b } = mantissas(hi);
  if (exponent >= MAX_EXPONENT - 2) return true; // the representable region is the whole address space
  const increment = BigInt.asIntN(64, newAddress - address);
  const top = increment >> BigInt(exponent + MANTISSA);
  const middle = Number((increment >> BigInt(exponent)) & 0x3fffn);
  const aMiddle = Number((address >> BigInt(exponent)) & 0x3fffn);
  const r = (((b >> 11) - 1) & 7) << 11;
  const distance = (r - aMiddle) & 0x3fff;
  if (top === 0n) return middle < ((distance - 1) & 0x3fff);
  if (top === -1n) return middle >= distance && r !== aMiddle;
  return false;
}

/** CRAM: mask that aligns a base so that a length near `length` has exact bounds. 64 bits. */
export function alignmentMask(length: bigint): bigint {
  const { lostBits } = encodeBounds(0n, length);
  return lostBits === 0 ? MASK64 : MASK64 & ~((1n << BigInt(Math.min(lostBits, MAX_EXPONENT + 3))) - 1n);
}

/** CRRL: the smallest length of at least `length` that can be exact. Wraps to 0 beyond 2^64. */
export function roundedLength(length: bigint): bigint {
  const mask = alignmentMask(length);
  return (length + (MASK64 & ~mask)) & mask;
}
