/**
 * A pack: a file of encoded units that is written once. A header with the authentication of all that follows up to the bodies; the keys of the entries,
 * sorted, with a filter in front of them; for each unit where its body is and the body's hash; then the bodies, read when they are wanted. Opening one
 * looks at no unit: a start must not wait for what it may never use.
 */
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { HEAD_BYTES, type Head } from "@cvm/cpu";

const MAGIC = "cvm-pack";
/** Magic; counts of units and keys; bytes of the file; count of removals; spare; HMAC-SHA256. */
export const HEADER_BYTES = 64;
const SIGNED_BYTES = 32;
/** Offset, when it was made, length, spare, identity, digest. */
const UNIT_BYTES = 72;
const REMOVAL_BYTES = 24;
export const IDENTITY_BYTES = 16;
const DIGEST_BYTES = 32;
const MAX_UNITS = 1 << 18;
const MAX_INDEX_BYTES = 64 << 20;
/** Bits of the filter for each key. */
const FILTER_BITS = 16;
/** Keys at one pc that are looked at. */
const MAX_ALIKE = 256;

/** What a pack says of one unit. */
export interface PackUnit {
  /** Of the code that it was made from, hexadecimal: a later unit of the same code replaces it. */
  readonly identity: string;
  /** SHA-256 of the body. */
  readonly digest: Uint8Array;
  readonly length: number;
  /** When it was made, in milliseconds since 1970. */
  readonly added: number;
  readonly heads: readonly Head[];
}
/** Units of this code that were made until then do not count any more. */
export interface Removal {
  readonly identity: string;
  readonly added: number;
}

interface Layout {
  readonly units: number;
  readonly heads: number;
  readonly removals: number;
  /** Words of the filter, a power of two. */
  readonly filter: number;
  readonly bytes: number;
}
function layoutOf(units: number, heads: number, removals: number): Layout {
  const filter = 2 ** Math.ceil(Math.log2(Math.max(1, (heads * FILTER_BITS) / 32)));
  return { units, heads, removals, filter, bytes: heads * 16 + units * UNIT_BYTES + removals * REMOVAL_BYTES + filter * 4 };
}
/** Where a pc is in filters: two hashes, the upper bits of which count. */
export function filterHash(pc: number): number {
  return Math.imul((pc | 0) ^ Math.floor(pc / 2 ** 32), 0x9e37_79b1);
}
function secondHash(first: number): number {
  return Math.imul(first ^ (first >>> 15), 0x85eb_ca6b);
}

export function digestOfBody(body: Uint8Array): Buffer {
  return createHash("sha256").update(body).digest();
}
function sign(key: Buffer, fingerprint: Buffer, header: Uint8Array, index: Uint8Array): Buffer {
  return createHmac("sha256", key).update("cvm translations: index of a pack\0").update(fingerprint).update(header).update(index).digest();
}

/** The parts of an index, as views of its bytes. */
class Index {
  readonly pcs: Float64Array;
  readonly #units: DataView;
  readonly #unitBytes: Buffer;
  readonly #removals: Buffer;
  readonly hashes: Uint32Array;
  /** Unit and bytes of each key: 128 · unit + bytes. */
  readonly where: Uint32Array;
  readonly filter: Uint32Array;

  constructor(buffer: ArrayBuffer, { units, heads, removals, filter }: Layout) {
    let at = 0;
    const next = (bytes: number): number => {
      at += bytes;
      return at - bytes;
    };
    this.pcs = new Float64Array(buffer, next(heads * 8), heads);
    const table = next(units * UNIT_BYTES);
    this.#units = new DataView(buffer, table, units * UNIT_BYTES);
    this.#unitBytes = Buffer.from(buffer, table, units * UNIT_BYTES);
    this.#removals = Buffer.from(buffer, next(removals * REMOVAL_BYTES), removals * REMOVAL_BYTES);
    this.hashes = new Uint32Array(buffer, next(heads * 4), heads);
    this.where = new Uint32Array(buffer, next(heads * 4), heads);
    this.filter = new Uint32Array(buffer, next(filter * 4), filter);
  }
  offset(unit: number): number {
    return this.#units.getFloat64(unit * UNIT_BYTES, true);
  }
  added(unit: number): number {
    return this.#units.getFloat64(unit * UNIT_BYTES + 8, true);
  }
  length(unit: number): number {
    return this.#units.getUint32(unit * UNIT_BYTES + 16, true);
  }
  identity(unit: number): string {
    const at = unit * UNIT_BYTES + 24;
    return this.#unitBytes.toString("hex", at, at + IDENTITY_BYTES);
  }
  digest(unit: number): Buffer {
    const at = unit * UNIT_BYTES + 24 + IDENTITY_BYTES;
    return this.#unitBytes.subarray(at, at + DIGEST_BYTES);
  }
  removals(): Removal[] {
    const removals: Removal[] = [];
    for (let at = 0; at < this.#removals.length; at += REMOVAL_BYTES) {
      removals.push({ identity: this.#removals.toString("hex", at, at + IDENTITY_BYTES), added: this.#removals.readDoubleLE(at + 16) });
    }
    return removals;
  }
  setUnit(unit: number, offset: number, { added, length, identity, digest }: PackUnit): void {
    const at = unit * UNIT_BYTES;
    this.#units.setFloat64(at, offset, true);
    this.#units.setFloat64(at + 8, added, true);
    this.#units.setUint32(at + 16, length, true);
    this.#unitBytes.write(identity, at + 24, IDENTITY_BYTES, "hex");
    this.#unitBytes.set(digest, at + 24 + IDENTITY_BYTES);
  }
  setRemoval(index: number, { identity, added }: Removal): void {
    this.#removals.write(identity, index * REMOVAL_BYTES, IDENTITY_BYTES, "hex");
    this.#removals.writeDoubleLE(added, index * REMOVAL_BYTES + 16);
  }
  /** Sets a pc in the filter. */
  admit(pc: number): void {
    const shift = Math.clz32(this.filter.length * 32) + 1;
    const first = filterHash(pc);
    for (const hash of [first, secondHash(first)]) {
      const bit = hash >>> shift;
      this.filter[bit >>> 5]! |= 1 << (bit & 31);
    }
  }
  /** False: no key is at the pc with this {@link filterHash}. */
  admits(first: number): boolean {
    const shift = Math.clz32(this.filter.length * 32) + 1;
    let bit = first >>> shift;
    if (((this.filter[bit >>> 5]! >>> (bit & 31)) & 1) === 0) return false;
    bit = secondHash(first) >>> shift;
    return ((this.filter[bit >>> 5]! >>> (bit & 31)) & 1) !== 0;
  }
}

/** Header and index of a pack whose bodies follow in the order of `units`. */
export function encodeFront(key: Buffer, fingerprint: Buffer, units: readonly PackUnit[], removals: readonly Removal[]): Buffer {
  const heads = units.flatMap((unit, index) => unit.heads.map((head) => ({ head, index }))).sort((a, b) => a.head.pc - b.head.pc);
  const layout = layoutOf(units.length, heads.length, removals.length);
  const buffer = new ArrayBuffer(layout.bytes);
  const index = new Index(buffer, layout);
  heads.forEach(({ head, index: unit }, at) => {
    index.pcs[at] = head.pc;
    index.hashes[at] = head.hash;
    index.where[at] = unit * 128 + head.length;
    index.admit(head.pc);
  });
  let offset = HEADER_BYTES + layout.bytes;
  units.forEach((unit, at) => {
    index.setUnit(at, offset, unit);
    offset += unit.length;
  });
  removals.forEach((removal, at) => index.setRemoval(at, removal));
  const header = Buffer.alloc(HEADER_BYTES);
  header.write(MAGIC, 0, "latin1");
  header.writeUInt32LE(units.length, 8);
  header.writeUInt32LE(heads.length, 12);
  header.writeDoubleLE(offset, 16);
  header.writeUInt32LE(removals.length, 24);
  const bytes = Buffer.from(buffer);
  sign(key, fingerprint, header.subarray(0, SIGNED_BYTES), bytes).copy(header, SIGNED_BYTES);
  return Buffer.concat([header, bytes]);
}

/** The index that a header announces, if the header can be one of a file of this size. */
export function layoutIn(header: Buffer, fileBytes: number): Layout | undefined {
  if (header.length !== HEADER_BYTES || header.toString("latin1", 0, 8) !== MAGIC || header.readDoubleLE(16) !== fileBytes)
    return undefined;
  const layout = layoutOf(header.readUInt32LE(8), header.readUInt32LE(12), header.readUInt32LE(24));
  const fits = layout.units <= MAX_UNITS && layout.bytes <= MAX_INDEX_BYTES && HEADER_BYTES + layout.bytes <= fileBytes;
  return fits ? layout : undefined;
}
export function isAuthentic(key: Buffer, fingerprint: Buffer, header: Buffer, index: Uint8Array): boolean {
  return timingSafeEqual(sign(key, fingerprint, header.subarray(0, SIGNED_BYTES), index), header.subarray(SIGNED_BYTES));
}

/** An open pack. Its units are numbers below {@link count}. */
export class Pack {
  readonly path: string;
  /** -1: closed, and its file is gone. */
  fd: number;
  readonly bytes: number;
  readonly count: number;
  readonly index: Index;
  /** When units were last used, in seconds since 1970, where that is known. */
  readonly used: Uint32Array;
  /** A unit was used since that was written. */
  touched = false;
  /** 1: a unit that turned out not to be right, or that has no room any more. */
  readonly dead: Uint8Array;

  constructor(path: string, fd: number, bytes: number, layout: Layout, index: ArrayBuffer) {
    this.path = path;
    this.fd = fd;
    this.bytes = bytes;
    this.count = layout.units;
    this.index = new Index(index, layout);
    this.used = new Uint32Array(layout.units);
    this.dead = new Uint8Array(layout.units);
  }
  /** When a unit was last used or made, in seconds. */
  lastUsed(unit: number): number {
    return Math.max(this.used[unit]!, Math.floor(this.index.added(unit) / 1000));
  }
  /** Units that have an entry at a pc whose {@link filterHash} is `filtered`, and begin with the code in `memory` that `hash` makes a key of. */
  at(pc: number, filtered: number, hash: (length: number) => number): number[] | undefined {
    const { pcs, hashes, where } = this.index;
    if (!this.index.admits(filtered)) return undefined;
    let low = 0;
    let high = pcs.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (pcs[middle]! < pc) low = middle + 1;
      else high = middle;
    }
    let found: number[] | undefined;
    for (const end = Math.min(low + MAX_ALIKE, pcs.length); low < end && pcs[low] === pc; low++) {
      const unit = where[low]! >>> 7;
      const length = where[low]! & 127;
      if (length <= HEAD_BYTES && unit < this.count && this.dead[unit] === 0 && hashes[low] === hash(length)) (found ??= []).push(unit);
    }
    return found;
  }
  /** The keys of each unit. */
  heads(): Head[][] {
    const heads: Head[][] = Array.from({ length: this.count }, () => []);
    const { pcs, hashes, where } = this.index;
    for (let at = 0; at < pcs.length; at++) heads[where[at]! >>> 7]?.push({ pc: pcs[at]!, length: where[at]! & 127, hash: hashes[at]! });
    return heads;
  }
}
