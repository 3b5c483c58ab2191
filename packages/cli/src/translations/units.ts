/**
 * Stored units of one fingerprint, in a folder of packs. Read when they are wanted; written in the background in batches, a pack at a time under a
 * name of its own, so that hosts that use one folder do not disturb each other. All that writes or closes runs one after the other.
 */
import { createHash, randomBytes } from "node:crypto";
import {
  closeSync,
  constants,
  fstatSync,
  mkdirSync,
  openSync,
  read,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  utimesSync,
} from "node:fs";
import { open, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { promisify } from "node:util";
import { decodeUnit, encodeUnit, headsOf, MAX_UNIT_BYTES, type Candidate, type StoredUnit, type UnitCode, type Units } from "@cvm/cpu";
import { messageOf } from "../errors.ts";
import { Catalog, type Kept, type Pack } from "./catalog.ts";
import { Allowance, listFiles, removeLeftovers, withLock } from "./folder.ts";
import { keyOf } from "./key.ts";
import { decodeFront, digestOfBody, encodeFront, HEAD_RECORD_BYTES, HEADER_BYTES, IDENTITY_BYTES, indexBytes } from "./pack.ts";

export interface UnitsOptions {
  /** Holds the key, the lock and a folder of packs for each fingerprint. */
  readonly root: string;
  readonly fingerprint: Buffer;
  /** Bytes of all packs of all fingerprints. */
  readonly limit: number;
  /** Bytes of units that may be stored at once, and in each hour after. */
  readonly perHour: number;
  readonly known: (intrinsic: string) => boolean;
  /** Told once when units cannot be stored or read. */
  readonly warn: (text: string) => void;
}

/** Milliseconds after the first unit of a batch until it is written, bytes with which it is written at once, and bytes that may wait. */
const BATCH_MS = 2000;
const BATCH_BYTES = 4 << 20;
const MOST_WAITING = 32 << 20;
/** Packs that are merged when there are more. */
const MANY_PACKS = 12;
const MAX_PACK_BYTES = 16 << 20;
const WRITE_BYTES = 512 << 10;
/** Units whose code is kept in memory though it did not fit. */
const MOST_LOOKED_AT = 2048;
const USES_MS = 10 * 60_000;
/** Removals are written on for so long. */
const REMOVAL_MS = 30 * 24 * 3_600_000;
const NONE: readonly Candidate[] = [];

const readAt = promisify(read);
const seconds = (): number => Math.floor(Date.now() / 1000);

/** A unit that is written: its bytes, or where they are now. */
interface Item {
  readonly kept: Kept;
  readonly body: Uint8Array | undefined;
}

function identityOf({ entries, ranges, bytes }: UnitCode): string {
  const numbers = new Float64Array([entries.length, ...entries, ...ranges.flatMap(({ from, to }) => [from, to])]);
  const hash = createHash("sha256").update(new Uint8Array(numbers.buffer)).update(bytes);
  return hash.digest("hex").slice(0, 2 * IDENTITY_BYTES);
}
function headBytes(unit: UnitCode): Buffer {
  const heads = headsOf(unit);
  const out = Buffer.alloc(heads.length * HEAD_RECORD_BYTES);
  heads.forEach(({ pc, hash, length }, index) => {
    out.writeDoubleLE(pc, index * HEAD_RECORD_BYTES);
    out.writeUInt32LE(hash, index * HEAD_RECORD_BYTES + 8);
    out.writeUInt32LE(length, index * HEAD_RECORD_BYTES + 12);
  });
  return out;
}

export class PackedUnits implements Units {
  readonly #options: UnitsOptions;
  readonly #folder: string;
  #key: Buffer = Buffer.alloc(0);
  readonly #catalog: Catalog = new Catalog();
  readonly #packs: Map<string, Pack> = new Map();
  /** Packs of this host, which later batches are put together with. */
  #own: Pack[] = [];
  readonly #allowance: Allowance;
  #waiting: StoredUnit[] = [];
  #waitingBytes = 0;
  readonly #removals: Kept[] = [];
  #timer: NodeJS.Timeout | undefined;
  #work: Promise<void> = Promise.resolve();
  #writes = true;
  #warned = false;
  #closed = false;
  #tidied = false;
  #usesAt: number = Date.now();
  /** The body that was read last: a candidate that fits is loaded next. */
  #last: { readonly kept: Kept; readonly unit: StoredUnit } | undefined;
  #lookedAt: Kept[] = [];

  constructor(options: UnitsOptions) {
    this.#options = options;
    this.#allowance = new Allowance(options.perHour);
    this.#folder = join(options.root, options.fingerprint.toString("hex", 0, 16));
    try {
      mkdirSync(options.root, { recursive: true, mode: 0o700 });
      this.#key = keyOf(options.root);
      mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
      this.#scan();
    } catch (error) {
      this.#warn(error);
      this.#closed = true;
      return;
    }
    try {
      utimesSync(this.#folder, new Date(), new Date());
    } catch {
      // It can only be read; adding tells so.
    }
  }

  /** Units that can be found. */
  get size(): number {
    return this.#catalog.size;
  }

  // ---- reading
  candidates(pc: number, memory: Uint8Array, at: number): Iterable<Candidate> {
    const found = this.#catalog.at(pc, memory, at);
    return found === undefined ? NONE : this.#candidatesOf(found);
  }
  *#candidatesOf(found: readonly Kept[]): Generator<Candidate, void, undefined> {
    for (const kept of found) {
      const code = this.#codeOf(kept);
      if (code !== undefined) yield { ...code, load: () => this.#load(kept) };
    }
  }
  #codeOf(kept: Kept): UnitCode | undefined {
    if (kept.code !== undefined) return kept.code;
    const unit = this.#read(kept);
    if (unit === undefined) return undefined;
    this.#last = { kept, unit };
    if (this.#lookedAt.length >= MOST_LOOKED_AT) {
      for (const other of this.#lookedAt) other.code = undefined;
      this.#lookedAt = [];
    }
    this.#lookedAt.push(kept);
    const { entries, ranges, bytes, maxTarget } = unit;
    return (kept.code = { entries, ranges, bytes: bytes.slice(), maxTarget });
  }
  #load(kept: Kept): StoredUnit | undefined {
    const unit = this.#last?.kept === kept ? this.#last.unit : this.#read(kept);
    this.#last = undefined;
    if (unit === undefined) return undefined;
    kept.used = seconds();
    if (kept.pack !== undefined) kept.pack.touched = true;
    return unit;
  }
  /** The unit from its pack, checked; undefined when it is no more or not right: then it is forgotten. */
  #read(kept: Kept): StoredUnit | undefined {
    const { pack, length, offset } = kept;
    if (!kept.live || pack === undefined || pack.fd < 0) return undefined;
    const body = new Uint8Array(length);
    try {
      if (readSync(pack.fd, body, 0, length, offset) !== length || !digestOfBody(body).equals(kept.digest)) {
        this.#distrust(pack);
        return undefined;
      }
    } catch (error) {
      this.#warn(error);
      this.#catalog.forget(kept);
      return undefined;
    }
    const unit = decodeUnit(body, this.#options.known);
    if (unit === undefined) this.#catalog.forget(kept);
    return unit;
  }
  /** A pack is not what was written: nothing of it is used any more. */
  #distrust(pack: Pack): void {
    for (const kept of pack.units) if (kept.pack === pack) this.#catalog.forget(kept);
    removeQuietly(pack.path);
    this.#enqueue(async () => this.#discard(pack));
  }

  // ---- packs
  /** Opens packs that are not open yet; forgets those whose files are gone. */
  #scan(): void {
    for (const pack of this.#packs.values()) {
      if (fstatSync(pack.fd).nlink > 0) continue;
      for (const kept of pack.units) if (kept.pack === pack) this.#catalog.forget(kept);
      this.#close(pack);
    }
    const found: Kept[] = [];
    for (const name of readdirSync(this.#folder)) {
      const path = join(this.#folder, name);
      if (!name.endsWith(".pack") || this.#packs.has(path)) continue;
      for (const kept of this.#open(path)?.units ?? []) found.push(kept);
    }
    found.sort((a, b) => a.added - b.added);
    for (const kept of found) this.#catalog.insert(kept);
  }
  /** A pack of the folder. What is not authentic is removed; what cannot be read is left alone. */
  #open(path: string): Pack | undefined {
    let fd: number;
    try {
      fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    } catch (error) {
      // A link cannot be one of ours; a file may have gone meanwhile.
      if ((error as NodeJS.ErrnoException).code === "ELOOP") removeQuietly(path);
      return undefined;
    }
    try {
      const units = this.#front(fd);
      if (units !== undefined) {
        const pack: Pack = { path, fd, bytes: fstatSync(fd).size, units, touched: false };
        for (const kept of units) kept.pack = pack;
        this.#packs.set(path, pack);
        readUses(pack);
        return pack;
      }
      removeQuietly(path);
    } catch (error) {
      this.#warn(error);
    }
    closeSync(fd);
    return undefined;
  }
  #front(fd: number): Kept[] | undefined {
    const status = fstatSync(fd);
    if (!status.isFile() || status.size < HEADER_BYTES) return undefined;
    const header = Buffer.alloc(HEADER_BYTES);
    if (readSync(fd, header, 0, HEADER_BYTES, 0) !== HEADER_BYTES) return undefined;
    const length = indexBytes(header, status.size);
    if (length === undefined) return undefined;
    const index = Buffer.alloc(length);
    if (readSync(fd, index, 0, length, HEADER_BYTES) !== length) return undefined;
    const now = Date.now();
    return decodeFront(this.#key, this.#options.fingerprint, header, index, status.size, MAX_UNIT_BYTES)?.map((unit) => {
      const added = Math.min(unit.added, now);
      return { ...unit, added, used: Math.floor(added / 1000), pack: undefined, live: false, code: undefined };
    });
  }
  #close(pack: Pack): void {
    if (pack.fd >= 0) closeSync(pack.fd);
    pack.fd = -1;
    this.#packs.delete(pack.path);
    this.#own = this.#own.filter((other) => other !== pack);
  }
  /** Removes a pack whose units are elsewhere or not wanted. Only in {@link #work}: it may be being copied. */
  #discard(pack: Pack): void {
    this.#close(pack);
    removeQuietly(pack.path);
    removeQuietly(usesPath(pack.path));
  }

  // ---- adding
  add(unit: StoredUnit): void {
    if (this.#closed || !this.#writes) return;
    const size = unit.binary.length + unit.bytes.length;
    if (size > MAX_UNIT_BYTES || this.#waitingBytes + size > MOST_WAITING || !this.#allowance.take(size)) return;
    const { entries, ranges, bytes, maxTarget, binary, instructions, intrinsics } = unit;
    this.#waiting.push({ entries, ranges, bytes, maxTarget, binary, instructions, intrinsics });
    this.#waitingBytes += size;
    if (this.#waitingBytes >= BATCH_BYTES) this.#flushSoon();
    else this.#timer ??= setTimeout(() => this.#flushSoon(), BATCH_MS).unref();
  }
  remove(code: UnitCode): void {
    if (this.#closed) return;
    const identity = identityOf(code);
    this.#waiting = this.#waiting.filter((unit) => unit.entries[0] !== code.entries[0] || identityOf(unit) !== identity);
    const known = this.#catalog.newest(identity);
    if (known === undefined || known.length === 0) return;
    const removal = newKept(identity, Buffer.alloc(32), 0, Buffer.alloc(0), known.added);
    this.#catalog.insert(removal);
    // It is written with the next batch; what comes instead is in it as a rule.
    if (this.#writes) this.#removals.push(removal);
  }
  #flushSoon(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#enqueue(() => this.#flush());
  }
  #enqueue(action: () => Promise<void>): void {
    this.#work = this.#work.then(action).catch((error: unknown) => {
      // A full or read-only disk, most likely. What is stored can still be used.
      this.#warn(error);
      this.#writes = false;
      this.#waiting = [];
      this.#waitingBytes = 0;
    });
  }
  #warn(error: unknown): void {
    if (this.#warned) return;
    this.#warned = true;
    this.#options.warn(`translations are not kept: ${messageOf(error)}`);
  }
  /** Resolves when all that was added is written; the store gives and takes nothing any more. */
  close(): Promise<void> {
    if (this.#closed) return this.#work;
    clearTimeout(this.#timer);
    this.#enqueue(() => this.#flush());
    this.#enqueue(() => this.#saveUses());
    this.#closed = true;
    this.#work = this.#work.then(() => {
      this.#catalog.clear();
      for (const pack of this.#packs.values()) this.#close(pack);
    });
    return this.#work;
  }

  // ---- writing, one after the other
  async #flush(): Promise<void> {
    const units = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    if (!this.#writes || (units.length === 0 && this.#removals.length === 0)) return;
    if (!this.#tidied) {
      this.#tidied = true;
      removeLeftovers(this.#options.root, this.#folder);
    }
    const items: Item[] = this.#removals.splice(0).map((kept) => ({ kept, body: new Uint8Array(0) }));
    for (const unit of units) {
      const body = encodeUnit(unit);
      if (body === undefined) continue;
      const identity = identityOf(unit);
      const digest = digestOfBody(body);
      const known = this.#catalog.newest(identity);
      if (known?.live === true && known.digest.equals(digest)) continue;
      items.push({ kept: newKept(identity, digest, body.length, headBytes(unit), known?.added ?? 0), body });
      await turn();
    }
    const bytes = sizeOf(items);
    if (items.length === 0 || !(await this.#fit(bytes))) return;
    // Together with small packs of before, so that a long run leaves few.
    const absorbed: Pack[] = [];
    let sum = bytes;
    for (
      let pack = this.#own.at(-1);
      pack !== undefined && pack.bytes <= 2 * sum && sum + pack.bytes <= this.#largest;
      pack = this.#own.at(-1)
    ) {
      absorbed.unshift(pack);
      sum += pack.bytes;
      this.#own.pop();
    }
    await this.#rewrite(absorbed, items);
    if (this.#packs.size > MANY_PACKS) await withLock(this.#options.root, () => this.#merge());
    if (Date.now() - this.#usesAt > USES_MS) await this.#saveUses();
  }
  /** Writes what counts of packs, with more, into new ones, and removes the old ones. */
  async #rewrite(packs: readonly Pack[], more: readonly Item[] = []): Promise<void> {
    const old = packs.flatMap((pack) => pack.units.filter((kept) => kept.pack === pack && this.#counts(kept)));
    const items: Item[] = [...old.map((kept) => ({ kept, body: undefined })), ...more];
    const largest = this.#largest;
    for (let from = 0; from < items.length;) {
      let to = from + 1;
      for (let sum = items[from]!.kept.length; to < items.length && (sum += items[to]!.kept.length) <= largest;) to++;
      await this.#write(items.slice(from, to));
      from = to;
    }
    for (const pack of packs) this.#discard(pack);
  }
  /** The newest of its code, or the removal of one that an old pack may still have. */
  #counts(kept: Kept): boolean {
    return this.#catalog.newest(kept.identity) === kept && (kept.length > 0 || Date.now() - kept.added < REMOVAL_MS);
  }
  get #largest(): number {
    return Math.min(MAX_PACK_BYTES, this.#options.limit / 16);
  }
  async #write(items: readonly Item[]): Promise<void> {
    const units = items.map(({ kept }) => kept);
    const { front, offsets } = encodeFront(this.#key, this.#options.fingerprint, units);
    const path = join(this.#folder, `${randomBytes(8).toString("hex")}.pack`);
    const temporary = `${path}.tmp`;
    try {
      const file = await open(temporary, "wx", 0o600);
      try {
        let chunk: Uint8Array[] = [front];
        let size = front.length;
        for (const { kept, body } of items) {
          const bytes = body ?? (await this.#copyOf(kept));
          chunk.push(bytes);
          size += bytes.length;
          if (size < WRITE_BYTES) continue;
          await file.appendFile(Buffer.concat(chunk));
          chunk = [];
          size = 0;
        }
        await file.appendFile(Buffer.concat(chunk));
        await file.datasync();
      } finally {
        await file.close();
      }
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => {});
      throw error;
    }
    const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    const pack: Pack = { path, fd, bytes: fstatSync(fd).size, units, touched: units.some((kept) => kept.pack !== undefined) };
    units.forEach((kept, index) => {
      const isNew = kept.pack === undefined;
      kept.pack = pack;
      kept.offset = offsets[index]!;
      if (isNew) this.#catalog.insert(kept);
    });
    this.#packs.set(path, pack);
    this.#own.push(pack);
  }
  async #copyOf(kept: Kept): Promise<Uint8Array> {
    const bytes = new Uint8Array(kept.length);
    const { bytesRead } = await readAt(kept.pack!.fd, bytes, 0, kept.length, kept.offset);
    if (bytesRead !== kept.length) throw new Error(`${kept.pack!.path} has been cut`);
    return bytes;
  }
  /** Small packs become few. */
  async #merge(): Promise<void> {
    this.#scan();
    await this.#rewrite([...this.#packs.values()].filter(({ bytes }) => bytes < this.#largest / 2));
  }
  /** Makes room. False: there is none, or another host is making some. */
  async #fit(incoming: number): Promise<boolean> {
    const { root, limit } = this.#options;
    const total = (): number => listFiles(root).reduce((sum, { bytes }) => sum + bytes, 0);
    // An eighth is room for packs that are being rewritten.
    const most = (limit / 8) * 7;
    if (incoming > limit / 2) return false;
    if (total() + incoming <= most) return true;
    await withLock(root, async () => {
      const goal = (limit / 4) * 3 - incoming;
      let size = total();
      for (const { path, bytes } of listFiles(root).sort((a, b) => a.written - b.written)) {
        if (size <= goal) break;
        if (path.startsWith(this.#folder)) continue;
        rmSync(path, { force: true });
        size -= bytes;
      }
      if (size <= goal) return;
      this.#scan();
      const packs = [...this.#packs.values()];
      const kept = packs.flatMap((pack) => pack.units.filter((unit) => unit.pack === pack && unit.live));
      let live = kept.reduce((sum, { length }) => sum + length, 0);
      for (const unit of kept.sort((a, b) => a.used - b.used || a.added - b.added)) {
        if (live <= goal) break;
        live -= unit.length;
        this.#catalog.forget(unit);
      }
      for (const pack of packs) {
        const rest = pack.units.reduce((sum, unit) => (unit.pack === pack && unit.live ? sum + unit.length : sum), 0);
        if (rest < pack.bytes * 0.9) await this.#rewrite([pack]);
      }
    });
    return total() + incoming <= most;
  }
  /** When units were last used stands beside the packs. It only decides which go first, so nothing is signed. */
  async #saveUses(): Promise<void> {
    this.#usesAt = Date.now();
    if (!this.#writes) return;
    for (const pack of this.#packs.values()) {
      if (!pack.touched) continue;
      pack.touched = false;
      const path = usesPath(pack.path);
      const temporary = `${path}.${randomBytes(4).toString("hex")}.tmp`;
      readUses(pack);
      await writeFile(temporary, new Uint8Array(Uint32Array.from(pack.units, ({ used }) => used).buffer), { mode: 0o600, flag: "wx" });
      await rename(temporary, path);
    }
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
function usesPath(pack: string): string {
  return `${pack.slice(0, -".pack".length)}.used`;
}
/** Later uses than those known, if there is a sensible file of them. */
function readUses(pack: Pack): void {
  let bytes: Buffer;
  try {
    bytes = readFileSync(usesPath(pack.path));
  } catch {
    return;
  }
  if (bytes.length !== pack.units.length * 4) return;
  const now = seconds();
  pack.units.forEach((kept, index) => {
    const used = bytes.readUInt32LE(index * 4);
    if (used <= now && used > kept.used) kept.used = used;
  });
}
function sizeOf(items: readonly Item[]): number {
  return items.reduce((sum, { kept }) => sum + kept.length + kept.heads.length, 0);
}
/** Something new for a pack; made after what it replaces, whatever the clock says. */
function newKept(identity: string, digest: Buffer, length: number, heads: Buffer, after: number): Kept {
  const added = Math.max(Date.now(), after + 1);
  return {
    identity,
    digest,
    length,
    heads,
    added,
    used: Math.floor(added / 1000),
    pack: undefined,
    offset: 0,
    live: false,
    code: undefined,
  };
}
