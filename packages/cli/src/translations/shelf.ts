/** The packs that a host has open: which stored units begin like the code at a pc, and reading one. */
import { createHash } from "node:crypto";
import { closeSync, constants, fstatSync, openSync, readdirSync, readFileSync, readSync, rmSync } from "node:fs";
import { join } from "node:path";
import { decodeUnit, hashHead, headsOf, MAX_CANDIDATES, MAX_UNIT_BYTES, type Candidate, type StoredUnit, type UnitCode } from "@cvm/cpu";
import { digestOfBody, filterHash, HEADER_BYTES, IDENTITY_BYTES, isAuthentic, layoutIn, Pack } from "./pack.ts";

export interface ShelfOptions {
  readonly folder: string;
  readonly key: Buffer;
  readonly fingerprint: Buffer;
  readonly known: (intrinsic: string) => boolean;
  readonly warn: (error: unknown) => void;
  /** A pack is not what was written. It is not used any more, but still open: it may be being copied. */
  readonly damaged: (pack: Pack) => void;
}
/** A unit in a pack. */
export interface Kept {
  readonly pack: Pack;
  readonly unit: number;
}

/** Units whose code is kept in memory though it did not fit. */
const MOST_LOOKED_AT = 2048;
const NONE: readonly Candidate[] = [];
const seconds = (): number => Math.floor(Date.now() / 1000);

/** What units are made of the same code have in common, hexadecimal. */
export function identityOf({ entries, ranges, bytes }: UnitCode): string {
  const numbers = new Float64Array([entries.length, ...entries, ...ranges.flatMap(({ from, to }) => [from, to])]);
  const hash = createHash("sha256").update(new Uint8Array(numbers.buffer)).update(bytes);
  return hash.digest("hex").slice(0, 2 * IDENTITY_BYTES);
}

export class Shelf {
  readonly #options: ShelfOptions;
  readonly packs: Map<string, Pack> = new Map();
  /** Until when units of a code were removed. */
  readonly removed: Map<string, number> = new Map();
  /** The unit that was read last: a candidate that fits is loaded next. */
  #last: (Kept & { readonly whole: StoredUnit }) | undefined;
  /** Code of units that were looked at. */
  readonly #codes: Map<Pack, Map<number, UnitCode>> = new Map();
  #codesKept = 0;
  /** What a key at the place in question is made from; an object of its own for each look would cost more than the look. */
  #memory: Uint8Array = new Uint8Array(0);
  #at = 0;
  #hashed = 0;
  #hash = 0;
  readonly #hashOf = (length: number): number => {
    if (length !== this.#hashed) {
      this.#hashed = length;
      this.#hash = this.#at + length <= this.#memory.length ? hashHead(this.#memory, this.#at, length) : -1;
    }
    return this.#hash;
  };

  constructor(options: ShelfOptions) {
    this.#options = options;
  }

  candidates(pc: number, memory: Uint8Array, at: number): Iterable<Candidate> {
    const found = this.#find(pc, memory, at);
    return found === undefined ? NONE : this.#candidatesOf(found);
  }
  /** Units that begin like what is in memory, unordered. */
  #find(pc: number, memory: Uint8Array, at: number): Kept[] | undefined {
    const filtered = filterHash(pc);
    let found: Kept[] | undefined;
    this.#memory = memory;
    this.#at = at;
    this.#hashed = 0;
    for (const pack of this.packs.values()) {
      for (const unit of pack.at(pc, filtered, this.#hashOf) ?? []) (found ??= []).push({ pack, unit });
    }
    return found;
  }
  /** The newest of each code, newest first. Units of one code have the same keys, so that all of them are found together. */
  #newest(found: readonly Kept[]): (Kept & { readonly identity: string })[] {
    const newest = new Map<string, Kept & { readonly identity: string }>();
    for (const { pack, unit } of found.toSorted((a, b) => addedAt(b) - addedAt(a))) {
      const identity = pack.index.identity(unit);
      if (!newest.has(identity) && addedAt({ pack, unit }) > (this.removed.get(identity) ?? -1))
        newest.set(identity, { pack, unit, identity });
      if (newest.size === MAX_CANDIDATES) break;
    }
    return [...newest.values()];
  }
  *#candidatesOf(found: readonly Kept[]): Generator<Candidate, void, undefined> {
    for (const kept of found.length === 1 && this.removed.size === 0 ? found : this.#newest(found)) {
      const code = this.#codeOf(kept);
      if (code !== undefined) yield { ...code, load: () => this.#load(kept) };
    }
  }
  #codeOf(kept: Kept): UnitCode | undefined {
    const known = this.#codes.get(kept.pack)?.get(kept.unit);
    if (known !== undefined) return known;
    const whole = this.#read(kept);
    if (whole === undefined) return undefined;
    this.#last = { ...kept, whole };
    if (this.#codesKept++ >= MOST_LOOKED_AT) this.#forgetCodes();
    const { entries, ranges, bytes, maxTarget } = whole;
    const code = { entries, ranges, bytes: bytes.slice(), maxTarget };
    const codes = this.#codes.get(kept.pack);
    if (codes === undefined) this.#codes.set(kept.pack, new Map([[kept.unit, code]]));
    else codes.set(kept.unit, code);
    return code;
  }
  #forgetCodes(): void {
    this.#codes.clear();
    this.#codesKept = 0;
  }
  #load({ pack, unit }: Kept): StoredUnit | undefined {
    const last = this.#last;
    this.#last = undefined;
    const whole = last?.pack === pack && last.unit === unit ? last.whole : this.#read({ pack, unit });
    if (whole === undefined) return undefined;
    pack.used[unit] = seconds();
    pack.touched = true;
    return whole;
  }
  /** The unit from its pack, checked; undefined when it is no more or not right: then it is forgotten. */
  #read({ pack, unit }: Kept): StoredUnit | undefined {
    if (pack.fd < 0 || pack.dead[unit] === 1) return undefined;
    const length = pack.index.length(unit);
    const offset = pack.index.offset(unit);
    if (length > MAX_UNIT_BYTES || !(offset >= 0 && offset + length <= pack.bytes)) {
      this.#distrust(pack);
      return undefined;
    }
    const body = new Uint8Array(length);
    try {
      if (readSync(pack.fd, body, 0, length, offset) !== length || !digestOfBody(body).equals(pack.index.digest(unit))) {
        this.#distrust(pack);
        return undefined;
      }
    } catch (error) {
      this.#options.warn(error);
      pack.dead[unit] = 1;
      return undefined;
    }
    const whole = decodeUnit(body, this.#options.known);
    if (whole === undefined) pack.dead[unit] = 1;
    return whole;
  }
  /** A pack is not what was written: nothing of it is used any more. */
  #distrust(pack: Pack): void {
    pack.dead.fill(1);
    removeQuietly(pack.path);
    this.#options.damaged(pack);
  }

  // ---- packs
  /** Opens packs that are not open yet; forgets those whose files are gone. */
  scan(): void {
    for (const pack of this.packs.values()) if (fstatSync(pack.fd).nlink === 0) this.close(pack);
    for (const name of readdirSync(this.#options.folder)) {
      const path = join(this.#options.folder, name);
      if (name.endsWith(".pack") && !this.packs.has(path)) this.open(path);
    }
  }
  /** A pack of the folder. What is not authentic is removed; what cannot be read is left alone. */
  open(path: string): void {
    let fd: number;
    try {
      fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    } catch (error) {
      // A link cannot be one of ours; a file may have gone meanwhile.
      if ((error as NodeJS.ErrnoException).code === "ELOOP") removeQuietly(path);
      return;
    }
    try {
      const pack = this.#packIn(path, fd);
      if (pack !== undefined) {
        this.#take(pack);
        readUses(pack);
        return;
      }
      removeQuietly(path);
    } catch (error) {
      this.#options.warn(error);
    }
    closeSync(fd);
  }
  #packIn(path: string, fd: number): Pack | undefined {
    const status = fstatSync(fd);
    if (!status.isFile() || status.size < HEADER_BYTES) return undefined;
    const header = Buffer.alloc(HEADER_BYTES);
    if (readSync(fd, header, 0, HEADER_BYTES, 0) !== HEADER_BYTES) return undefined;
    const layout = layoutIn(header, status.size);
    if (layout === undefined) return undefined;
    const index = new Uint8Array(layout.bytes);
    if (readSync(fd, index, 0, index.length, HEADER_BYTES) !== index.length) return undefined;
    if (!isAuthentic(this.#options.key, this.#options.fingerprint, header, index)) return undefined;
    return new Pack(path, fd, status.size, layout, index.buffer);
  }
  #take(pack: Pack): void {
    this.packs.set(pack.path, pack);
    for (const { identity, added } of pack.index.removals()) {
      if (added > (this.removed.get(identity) ?? -1)) this.removed.set(identity, added);
    }
  }
  close(pack: Pack): void {
    if (pack.fd >= 0) closeSync(pack.fd);
    pack.fd = -1;
    this.packs.delete(pack.path);
    this.#codes.delete(pack);
    if (this.#last?.pack === pack) this.#last = undefined;
  }
  /** Removes a pack whose units are elsewhere or not wanted. Not while it is being copied. */
  discard(pack: Pack): void {
    this.close(pack);
    removeQuietly(pack.path);
    removeQuietly(usesPath(pack.path));
  }

  /** The newest unit of exactly this code. */
  keptOf(code: UnitCode, identity: string): Kept | undefined {
    const head = headsOf(code)[0];
    if (head === undefined) return undefined;
    let at = 0;
    for (const { from, to } of code.ranges) {
      if (from <= head.pc && head.pc < to)
        return this.#newest(this.#find(head.pc, code.bytes, at + head.pc - from) ?? []).find((kept) => kept.identity === identity);
      at += to - from;
    }
    return undefined;
  }
}

/** What cannot be removed is not used either. */
function removeQuietly(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // A home that can only be read.
  }
}
export function usesPath(pack: string): string {
  return `${pack.slice(0, -".pack".length)}.used`;
}
/** Later uses than those known, if there is a sensible file of them. */
export function readUses(pack: Pack): void {
  let bytes: Buffer;
  try {
    bytes = readFileSync(usesPath(pack.path));
  } catch {
    return;
  }
  if (bytes.length !== pack.count * 4) return;
  const now = seconds();
  for (let unit = 0; unit < pack.count; unit++) {
    const used = bytes.readUInt32LE(unit * 4);
    if (used <= now && used > pack.used[unit]!) pack.used[unit] = used;
  }
}
export function addedAt({ pack, unit }: Kept): number {
  return pack.index.added(unit);
}
