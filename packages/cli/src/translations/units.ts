/**
 * Stored units of one fingerprint, in a folder of packs. Read when they are wanted; written in the background in batches, a pack at a time under a
 * name of its own, so that hosts that use one folder do not disturb each other. All that writes or closes runs one after the other.
 */
import { randomBytes } from "node:crypto";
import { mkdirSync, read, rmSync, utimesSync } from "node:fs";
import { open, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { promisify } from "node:util";
import { encodeUnit, headsOf, MAX_UNIT_BYTES, type Candidate, type StoredUnit, type UnitCode, type Units } from "@cvm/cpu";
import { messageOf } from "../errors.ts";
import { Allowance, listFiles, removeLeftovers, withLock } from "./folder.ts";
import { keyOf } from "./key.ts";
import { digestOfBody, encodeFront, type Pack, type PackUnit, type Removal } from "./pack.ts";
import { addedAt, identityOf, readUses, Shelf, usesPath, type Kept } from "./shelf.ts";

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
const MAX_PACK_BYTES = 24 << 20;
const WRITE_BYTES = 512 << 10;
/** Between two units of one millisecond: which one is newer must be clear. */
const STEP_MS = 1 / 1024;
const USES_MS = 10 * 60_000;
/** Removals are written on for so long. */
const REMOVAL_MS = 30 * 24 * 3_600_000;

const readAt = promisify(read);
/** A unit that is written: its bytes, or where they are now. */
interface Item {
  readonly about: PackUnit;
  readonly used: number;
  readonly body: Uint8Array | Kept;
}

export class PackedUnits implements Units {
  readonly #options: UnitsOptions;
  readonly #folder: string;
  #key: Buffer = Buffer.alloc(0);
  readonly #shelf: Shelf;
  /** Packs of this host, which later batches are put together with. */
  #own: Pack[] = [];
  readonly #allowance: Allowance;
  #waiting: StoredUnit[] = [];
  #waitingBytes = 0;
  #removals: Removal[] = [];
  #timer: NodeJS.Timeout | undefined;
  #work: Promise<void> = Promise.resolve();
  #writes = true;
  #warned = false;
  #closed = false;
  #tidied = false;
  #usesAt: number = Date.now();
  #lastAdded = 0;

  constructor(options: UnitsOptions) {
    this.#options = options;
    this.#allowance = new Allowance(options.perHour);
    this.#folder = join(options.root, options.fingerprint.toString("hex", 0, 16));
    try {
      mkdirSync(options.root, { recursive: true, mode: 0o700 });
      this.#key = keyOf(options.root);
      mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    } catch (error) {
      this.#warn(error);
      this.#closed = true;
    }
    const { fingerprint, known } = options;
    this.#shelf = new Shelf({
      folder: this.#folder,
      key: this.#key,
      fingerprint,
      known,
      warn: (error) => this.#warn(error),
      damaged: (pack) => this.#enqueue(async () => this.#shelf.discard(pack)),
    });
    if (this.#closed) return;
    try {
      this.#shelf.scan();
    } catch (error) {
      this.#warn(error);
    }
    try {
      utimesSync(this.#folder, new Date(), new Date());
    } catch {
      // It can only be read; adding tells so.
    }
  }

  /** Units in all packs, those that were replaced included. */
  get size(): number {
    let size = 0;
    for (const { count } of this.#shelf.packs.values()) size += count;
    return size;
  }

  candidates(pc: number, memory: Uint8Array, at: number): Iterable<Candidate> {
    return this.#shelf.candidates(pc, memory, at);
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
    const known = this.#shelf.keptOf(code, identity);
    if (known === undefined) return;
    const removal = { identity, added: addedAt(known) };
    this.#shelf.removed.set(identity, removal.added);
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
      this.#removals = [];
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
      for (const pack of this.#shelf.packs.values()) this.#shelf.close(pack);
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
    const items: Item[] = [];
    for (const unit of units) {
      const body = encodeUnit(unit);
      if (body === undefined) continue;
      const identity = identityOf(unit);
      const digest = digestOfBody(body);
      const known = this.#shelf.keptOf(unit, identity);
      if (known !== undefined && digest.equals(known.pack.index.digest(known.unit))) continue;
      // Made after what it replaces, whatever the clock says.
      const before = Math.max(known === undefined ? 0 : addedAt(known), this.#shelf.removed.get(identity) ?? 0);
      this.#lastAdded = Math.max(Date.now(), this.#lastAdded + STEP_MS, before + STEP_MS);
      const about = { identity, digest, length: body.length, added: this.#lastAdded, heads: headsOf(unit) };
      items.push({ about, used: 0, body });
      await turn();
    }
    const bytes = sizeOf(items);
    if ((items.length === 0 && this.#removals.length === 0) || !(await this.#fit(bytes))) return;
    // Together with small packs of before, so that a long run leaves few.
    const absorbed: Pack[] = [];
    let sum = bytes;
    this.#own = this.#own.filter((pack) => pack.fd >= 0);
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
    if (this.#shelf.packs.size > MANY_PACKS) await withLock(this.#options.root, () => this.#merge());
    if (Date.now() - this.#usesAt > USES_MS) await this.#saveUses();
  }
  /** Writes what counts of packs, with more, into new ones, and removes the old ones. */
  async #rewrite(packs: readonly Pack[], more: readonly Item[] = []): Promise<void> {
    const items = [...(await this.#itemsOf(packs)), ...more];
    const now = Date.now();
    const old = packs.flatMap(({ index }) => index.removals());
    let removals = [
      ...old.filter(({ identity, added }) => this.#shelf.removed.get(identity) === added && now - added < REMOVAL_MS),
      ...this.#removals.splice(0),
    ];
    for (let from = 0; from < items.length || removals.length > 0;) {
      let to = from;
      let sum = 0;
      do sum += items[to++]?.about.length ?? 0;
      while (to < items.length && sum + items[to]!.about.length <= this.#largest);
      await this.#write(items.slice(from, to), removals);
      from = to;
      removals = [];
    }
    for (const pack of packs) this.#shelf.discard(pack);
  }
  get #largest(): number {
    return Math.min(MAX_PACK_BYTES, this.#options.limit / 12);
  }
  /** What counts in packs: the newest of each code. */
  async #itemsOf(packs: readonly Pack[]): Promise<Item[]> {
    const items = new Map<string, Item>();
    for (const pack of packs) {
      const { index } = pack;
      const heads = pack.heads();
      for (let unit = 0; unit < pack.count; unit++) {
        if (unit % 64 === 0) await turn();
        const identity = index.identity(unit);
        const added = index.added(unit);
        const last = Math.max(this.#shelf.removed.get(identity) ?? -1, items.get(identity)?.about.added ?? -1);
        if (pack.dead[unit] === 1 || added <= last) continue;
        const about = { identity, digest: index.digest(unit), length: index.length(unit), added, heads: heads[unit]! };
        items.set(identity, { about, used: pack.used[unit]!, body: { pack, unit } });
      }
    }
    return [...items.values()];
  }
  async #write(items: readonly Item[], removals: readonly Removal[]): Promise<void> {
    const about = items.map((item) => item.about);
    const front = encodeFront(this.#key, this.#options.fingerprint, about, removals);
    const path = join(this.#folder, `${randomBytes(8).toString("hex")}.pack`);
    const temporary = `${path}.tmp`;
    try {
      const file = await open(temporary, "wx", 0o600);
      try {
        let chunk: Uint8Array[] = [front];
        let size = front.length;
        for (const { body } of items) {
          const bytes = body instanceof Uint8Array ? body : await this.#copyOf(body);
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
    this.#shelf.open(path);
    const pack = this.#shelf.packs.get(path);
    if (pack === undefined) return;
    items.forEach(({ used }, unit) => {
      pack.used[unit] = used;
      if (used > 0) pack.touched = true;
    });
    this.#own.push(pack);
  }
  async #copyOf({ pack, unit }: Kept): Promise<Uint8Array> {
    const bytes = new Uint8Array(pack.index.length(unit));
    const { bytesRead } = await readAt(pack.fd, bytes, 0, bytes.length, pack.index.offset(unit));
    if (bytesRead !== bytes.length) throw new Error(`${pack.path} has been cut`);
    return bytes;
  }
  /** Small packs become few. */
  async #merge(): Promise<void> {
    this.#shelf.scan();
    await this.#rewrite([...this.#shelf.packs.values()].filter(({ bytes }) => bytes < this.#largest / 2));
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
      this.#shelf.scan();
      const packs = [...this.#shelf.packs.values()];
      const items = await this.#itemsOf(packs);
      const rest = new Map(packs.map((pack) => [pack, 0]));
      let live = items.reduce((sum, { about }) => sum + about.length, 0);
      for (const { about, body } of items.sort((a, b) => lastUse(a) - lastUse(b) || a.about.added - b.about.added)) {
        const { pack, unit } = body as Kept;
        if (live > goal) {
          live -= about.length;
          pack.dead[unit] = 1;
        } else rest.set(pack, rest.get(pack)! + about.length);
      }
      for (const [pack, bytes] of rest) if (bytes < pack.bytes * 0.9) await this.#rewrite([pack]);
    });
    return total() + incoming <= most;
  }
  /** When units were last used stands beside the packs. It only decides which go first, so nothing is signed. */
  async #saveUses(): Promise<void> {
    this.#usesAt = Date.now();
    if (!this.#writes) return;
    for (const pack of this.#shelf.packs.values()) {
      if (!pack.touched) continue;
      pack.touched = false;
      const path = usesPath(pack.path);
      const temporary = `${path}.${randomBytes(4).toString("hex")}.tmp`;
      readUses(pack);
      await writeFile(temporary, new Uint8Array(pack.used.buffer as ArrayBuffer), { mode: 0o600, flag: "wx" });
      await rename(temporary, path);
    }
  }
}

function sizeOf(items: readonly Item[]): number {
  return items.reduce((sum, { about }) => sum + about.length + about.heads.length * 24 + 128, 1024);
}
function lastUse({ about, used }: Item): number {
  return Math.max(used, Math.floor(about.added / 1000));
}
