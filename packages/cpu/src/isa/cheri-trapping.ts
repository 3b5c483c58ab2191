/**
 * Exceptions of capability arithmetic on a machine without tag clearing (ISAv8): what the same instructions answer with a clear tag in
 * ISAv9. Each rule lists its checks in order and gives the code of the first that fails.
 */
import { CapCause, CapReg, OTYPE_MAX, Perm } from "../abi.ts";
import { decodeBounds, encodeBounds, MASK64, otypeOf, permsOf } from "../capability/encoding.ts";
import type { Raw } from "../capability/raw.ts";
import { rawBuildCap, rawInBounds, rawIsSealed } from "../capability/raw.ts";

/** No exception. */
export const NONE = -1;

/** Trap value: register number in bits 5 … 10, code below. */
function at(register: number, code: number): number {
  return (register << 5) | code;
}
/** c0 as the authority stands for DDC. */
function authority(register: number): number {
  return register === 0 ? CapReg.Ddc : register;
}
const has = (cap: Raw, perm: number): boolean => (permsOf(cap.hi) & perm) !== 0;

/** Tag, then seal. */
function usable(cap: Raw, register: number): number {
  if (!cap.tag) return at(register, CapCause.Tag);
  return rawIsSealed(cap) ? at(register, CapCause.Seal) : NONE;
}
/** An untagged capability may be changed. */
function changeable(cap: Raw, register: number): number {
  return cap.tag && rawIsSealed(cap) ? at(register, CapCause.Seal) : NONE;
}

type IntegerRule = (cs1: Raw, n1: number, rs2: bigint) => number;
type CapabilityRule = (cs1: Raw, n1: number, cs2: Raw, n2: number) => number;

const bounds: IntegerRule = (cs1, n1, rs2) => {
  const code = usable(cs1, n1);
  if (code !== NONE) return code;
  return rawInBounds(cs1, cs1.address, rs2) ? NONE : at(n1, CapCause.Length);
};

/** Rules of instructions with an integer rs2 (or none). */
export const integerRules: Readonly<Record<string, IntegerRule>> = {
  candperm: (cs1, n1) => usable(cs1, n1),
  csetflags: (cs1, n1) => changeable(cs1, n1),
  csetoffset: (cs1, n1) => changeable(cs1, n1),
  csetaddr: (cs1, n1) => changeable(cs1, n1),
  cincoffset: (cs1, n1) => changeable(cs1, n1),
  csetbounds: bounds,
  csetboundsexact: (cs1, n1, rs2) => {
    const code = bounds(cs1, n1, rs2);
    if (code !== NONE) return code;
    return encodeBounds(cs1.address, cs1.address + rs2).exact ? NONE : at(n1, CapCause.InexactBounds);
  },
  cfromptr: (cs1, n1, rs2) => (rs2 === 0n ? NONE : usable(cs1, authority(n1))),
  csealentry: (cs1, n1) => {
    const code = usable(cs1, n1);
    if (code !== NONE) return code;
    return has(cs1, Perm.Execute) ? NONE : at(n1, CapCause.PermitExecute);
  },
};

/** Rules of instructions with two capabilities. */
export const capabilityRules: Readonly<Record<string, CapabilityRule>> = {
  ctoptr: (cs1, n1, cs2, n2) => (cs2.tag ? changeable(cs1, n1) : at(authority(n2), CapCause.Tag)),
  cbuildcap: (cs1, n1, cs2, n2) => {
    const register = authority(n1);
    const code = usable(cs1, register);
    if (code !== NONE) return code;
    const have = decodeBounds(cs1.hi, cs1.address);
    const want = decodeBounds(cs2.hi, cs2.address);
    if (want.base < have.base || want.top > have.top) return at(register, CapCause.Length);
    if (want.base > want.top) return at(n2, CapCause.Length);
    if ((permsOf(cs2.hi) & ~permsOf(cs1.hi)) !== 0) return at(register, CapCause.UserDef);
    return rawBuildCap(cs1, cs2).tag ? NONE : at(n2, CapCause.Length);
  },
  ccopytype: (cs1, n1, cs2) => {
    const code = usable(cs1, n1);
    const otype = otypeOf(cs2.hi);
    if (code !== NONE || otype < 0) return code;
    return rawInBounds(cs1, BigInt(otype), 1n) ? NONE : at(n1, CapCause.Length);
  },
  cseal: (cs1, n1, cs2, n2) => {
    if (!cs1.tag) return at(n1, CapCause.Tag);
    if (!cs2.tag) return at(n2, CapCause.Tag);
    if (rawIsSealed(cs1)) return at(n1, CapCause.Seal);
    if (rawIsSealed(cs2)) return at(n2, CapCause.Seal);
    if (!has(cs2, Perm.Seal)) return at(n2, CapCause.PermitSeal);
    return rawInBounds(cs2, cs2.address, 1n) && cs2.address <= BigInt(OTYPE_MAX) ? NONE : at(n2, CapCause.Length);
  },
  ccseal: (cs1, n1, cs2, n2) => {
    if (!cs1.tag) return at(n1, CapCause.Tag);
    if (!cs2.tag || rawIsSealed(cs1) || !rawInBounds(cs2, cs2.address, 1n) || cs2.address === MASK64) return NONE;
    if (rawIsSealed(cs2)) return at(n2, CapCause.Seal);
    if (!has(cs2, Perm.Seal)) return at(n2, CapCause.PermitSeal);
    return cs2.address <= BigInt(OTYPE_MAX) ? NONE : at(n2, CapCause.Length);
  },
  cunseal: (cs1, n1, cs2, n2) => {
    if (!cs1.tag) return at(n1, CapCause.Tag);
    if (!cs2.tag) return at(n2, CapCause.Tag);
    if (!rawIsSealed(cs1)) return at(n1, CapCause.Seal);
    if (rawIsSealed(cs2)) return at(n2, CapCause.Seal);
    const otype = otypeOf(cs1.hi);
    if (otype < 0) return at(n1, CapCause.Type);
    if (cs2.address !== BigInt(otype)) return at(n2, CapCause.Type);
    if (!has(cs2, Perm.Unseal)) return at(n2, CapCause.PermitUnseal);
    return rawInBounds(cs2, cs2.address, 1n) ? NONE : at(n2, CapCause.Length);
  },
};
