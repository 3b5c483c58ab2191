/**
 * Units outside of a machine: what a store of translations does for the translator, and units as bytes. A store only saves work: the translator
 * compares a unit's code with the process's own before it asks for what was made of it. The WebAssembly of a unit is trusted code: it is not looked
 * at here, and a store must give back none but its own.
 */
import { fusesMultiplyAdd } from "../wasm/fma.ts";
import type { Range, UnitOptions } from "./unit.ts";

/** The code that a unit was made from. */
export interface UnitCode {
  /** pcs where it can be entered; its exports are `f0`, `f1`, … in this order. */
  readonly entries: readonly number[];
  /** Where its code stands, ascending and apart, and the bytes of these ranges one after the other. */
  readonly ranges: readonly Range[];
  readonly bytes: Uint8Array;
  /** Highest pc that a direct transfer names. */
  readonly maxTarget: number;
}
/** A unit without what the engine made of it. */
export interface StoredUnit extends UnitCode {
  readonly binary: Uint8Array<ArrayBuffer>;
  readonly instructions: number;
  readonly intrinsics: readonly string[];
  /** A unit that was made for one place has addresses of its machine in it: it is never stored. */
  readonly place?: undefined;
}
/** A stored unit that may fit. Its code may be looked at; nothing else of it has been read. */
export interface Candidate extends UnitCode {
  /** The whole unit; undefined when it cannot be had any more. Counts as used. */
  load(): StoredUnit | undefined;
}

/** Stored units of one kind of translator. No operation throws, none waits for a disk to write. */
export interface Units {
  /**
   * Units that have an entry at a pc and begin there like the code in `memory` from `at` on, newest first, {@link MAX_CANDIDATES} at most. What follows
   * is not compared. Cheap where there are none.
   */
  candidates(pc: number, memory: Uint8Array, at: number): Iterable<Candidate>;
  /** Keeps a unit, in place of one of the same code. It must not change any more. */
  add(unit: StoredUnit): void;
  /** Forgets the unit that was made of exactly this code. */
  remove(code: UnitCode): void;
}
export interface UnitStore {
  /**
   * Units that a translator can use.
   * @param variant what decides how it translates ({@link variantOf}); the store adds what stands outside of it: versions, the engine
   * @param known the intrinsics that it can link; units with others are not given
   */
  open(variant: string, known: (intrinsic: string) => boolean): Units;
}

/** Everything in a translator's options that decides what it emits. */
export function variantOf({ limits, batch, checks, status }: UnitOptions & { readonly status: boolean }): string {
  const { exact: _, ...rest } = checks;
  return JSON.stringify({ limits, batch, checks: rest, status, fma: fusesMultiplyAdd });
}

// ---- keys
/** Units that are compared for one place at most. */
export const MAX_CANDIDATES = 16;
/** Bytes of code at an entry that its key is made from; fewer where its range ends earlier. */
export const HEAD_BYTES = 64;

/** What a unit is found by: a pc and the first bytes of the code there. */
export interface Head {
  readonly pc: number;
  readonly length: number;
  readonly hash: number;
}
/** FNV-1a with a final mix: unsigned, 32 bits. It only tells programs apart; who makes code that collides slows down itself. */
export function hashHead(bytes: Uint8Array, at: number, length: number): number {
  let hash = 0x811c_9dc5;
  for (let end = at + length; at < end; at++) hash = Math.imul(hash ^ bytes[at]!, 0x0100_0193);
  hash ^= hash >>> 15;
  hash = Math.imul(hash, 0x2c1b_3c6d);
  return (hash ^ (hash >>> 12)) >>> 0;
}
/** The keys of a unit's entries. */
export function headsOf({ entries, ranges, bytes }: UnitCode): Head[] {
  const heads: Head[] = [];
  for (const pc of entries) {
    let at = 0;
    for (const { from, to } of ranges) {
      if (from <= pc && pc < to) {
        const length = Math.min(HEAD_BYTES, to - pc);
        heads.push({ pc, length, hash: hashHead(bytes, at + pc - from, length) });
        break;
      }
      at += to - from;
    }
  }
  return heads;
}

// ---- units as bytes
/**
 * Little endian: {@link MAGIC}, the length of all, then of WebAssembly, of code, counts of ranges, entries and intrinsics, instructions, `maxTarget`; ranges (from, length);
 * entries; names with a byte for their length; code; WebAssembly. pcs have 48 bits, all other numbers 32.
 */
const MAGIC = 0x3154_5543;
const HEADER = 8 * 4 + 6;
/** Bounds of what is stored and taken. A unit has an entry for each of its regions, a region an instruction. */
const MAX_RANGES = 16_384;
const MAX_ENTRIES = 4096;
const MAX_INTRINSICS = 1024;
const MAX_NAME = 64;
const MAX_CODE = 1 << 20;
const MAX_BINARY = 2 << 20;
const MAX_INSTRUCTIONS = 1 << 20;
const MAX_PC = 2 ** 48;
/** `\0asm`, version 1. */
const WASM = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
const NAME = /^[A-Za-z_][\w.]*$/u;

/** Bytes of an encoded unit at most. */
export const MAX_UNIT_BYTES: number = HEADER + MAX_RANGES * 10 + MAX_ENTRIES * 6 + MAX_INTRINSICS * (MAX_NAME + 1) + MAX_CODE + MAX_BINARY;

/** A unit as bytes; undefined if it is larger than units may be ({@link decodeUnit} takes back all others). */
export function encodeUnit(unit: StoredUnit): Uint8Array<ArrayBuffer> | undefined {
  const { entries, ranges, bytes, binary, intrinsics, instructions, maxTarget } = unit;
  const names = intrinsics.reduce((sum, name) => sum + 1 + name.length, 0);
  const length = HEADER + ranges.length * 10 + entries.length * 6 + names + bytes.length + binary.length;
  if (length > MAX_UNIT_BYTES) return undefined;
  const out = new Uint8Array(length);
  const view = new DataView(out.buffer);
  let at = 0;
  const put = (value: number): void => {
    view.setUint32(at, value, true);
    at += 4;
  };
  const putPc = (pc: number): void => {
    put(pc % 2 ** 32);
    view.setUint16(at, Math.floor(pc / 2 ** 32), true);
    at += 2;
  };
  for (const value of [MAGIC, length, binary.length, bytes.length, ranges.length, entries.length, intrinsics.length, instructions])
    put(value);
  putPc(maxTarget);
  for (const { from, to } of ranges) {
    putPc(from);
    put(to - from);
  }
  for (const pc of entries) putPc(pc);
  for (const name of intrinsics) {
    out[at++] = name.length;
    for (let i = 0; i < name.length; i++) out[at++] = name.charCodeAt(i);
  }
  out.set(bytes, at);
  out.set(binary, at + bytes.length);
  // One set of rules: what could not be read is not written.
  return decodeUnit(out, (name) => intrinsics.includes(name)) === undefined ? undefined : out;
}

/**
 * The unit in bytes that may be anything; undefined unless all of it is right: lengths that agree, ranges that ascend, entries inside them, intrinsics that are `known`.
 * Its arrays of bytes are views of `data`.
 */
export function decodeUnit(data: Uint8Array<ArrayBuffer>, known: (intrinsic: string) => boolean): StoredUnit | undefined {
  if (data.length < HEADER || data.length > MAX_UNIT_BYTES) return undefined;
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  const field = (index: number): number => view.getUint32(index * 4, true);
  if (field(0) !== MAGIC || field(1) !== data.length) return undefined;
  const [binaryLength, codeLength, rangeCount, entryCount, intrinsicCount, instructions] = [2, 3, 4, 5, 6, 7].map(field) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  if (binaryLength > MAX_BINARY || codeLength > MAX_CODE || rangeCount > MAX_RANGES || entryCount > MAX_ENTRIES) return undefined;
  if (intrinsicCount > MAX_INTRINSICS || instructions > MAX_INSTRUCTIONS || entryCount === 0 || instructions === 0) return undefined;
  const names = HEADER + rangeCount * 10 + entryCount * 6;
  const code = data.length - binaryLength - codeLength;
  if (names + intrinsicCount > code) return undefined;

  let at = HEADER - 6;
  const pcAt = (): number => {
    const pc = view.getUint32(at, true) + view.getUint16(at + 4, true) * 2 ** 32;
    at += 6;
    return pc;
  };
  const maxTarget = pcAt();
  const ranges: Range[] = [];
  let total = 0;
  let end = -1;
  for (let i = 0; i < rangeCount; i++) {
    const from = pcAt();
    const length = view.getUint32(at, true);
    at += 4;
    const to = from + length;
    // Apart from the one before: neighbours are one range. Instructions have two or four bytes.
    if (from <= end || from % 2 !== 0 || length === 0 || length % 2 !== 0 || to > MAX_PC) return undefined;
    ranges.push({ from, to });
    total += length;
    end = to;
  }
  if (total !== codeLength) return undefined;
  const entries: number[] = [];
  for (let i = 0; i < entryCount; i++) {
    const pc = pcAt();
    if (pc % 2 !== 0 || !isInside(pc, ranges)) return undefined;
    entries.push(pc);
  }
  if (new Set(entries).size !== entryCount) return undefined;
  const intrinsics: string[] = [];
  for (let i = 0; i < intrinsicCount; i++) {
    const length = at < code ? data[at++]! : 0;
    if (length === 0 || length > MAX_NAME || at + length > code) return undefined;
    const name = String.fromCharCode(...data.subarray(at, at + length));
    at += length;
    if (!NAME.test(name) || !known(name)) return undefined;
    intrinsics.push(name);
  }
  if (at !== code || new Set(intrinsics).size !== intrinsicCount) return undefined;
  const binary = data.subarray(code + codeLength);
  if (!WASM.every((byte, index) => binary[index] === byte)) return undefined;
  return { entries, ranges, bytes: data.subarray(code, code + codeLength), binary, maxTarget, instructions, intrinsics };
}

/** Binary search: hostile entries and ranges may be many. */
function isInside(pc: number, ranges: readonly Range[]): boolean {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const { from, to } = ranges[middle]!;
    if (pc < from) high = middle;
    else if (pc >= to) low = middle + 1;
    else return true;
  }
  return false;
}
