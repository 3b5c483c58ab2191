/**
 * Metadata of a writable tree: `NAME.json` (last compaction) and `NAME.jsonl` (a journal of changes since), in one folder.
 *
 * A change is one appended line, written before the host's files change or after they did, so that a crash between leaves what the line's
 * kind says below. Compaction happens on open and when the journal is long: a new NAME.json with the next generation replaces the old one
 * atomically; a journal of another generation is ignored.
 */
import { closeSync, constants, fsync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { attempt, hostError } from "./host.ts";
import { MetadataTree, type MetadataEntry } from "./layer.ts";

/** One line of the journal. */
type Change =
  | { readonly generation: number }
  /** Sets, or removes with everything below. */
  | { readonly path: string; readonly entry: MetadataEntry | null }
  /** Written before the host's rename; undone on open when it is the last line and the host's file (`inode`) did not move. `hide`: a whiteout stays at `from`. */
  | { readonly from: string; readonly to: string; readonly inode: number; readonly hide: boolean }
  /** Both names exist. */
  | { readonly swap: readonly [string, string] }
  /** Attributes of a file with several names, by the host's inode number. */
  | { readonly inode: number; readonly attributes: MetadataEntry | null };

interface Compacted {
  readonly version: 1;
  readonly generation: number;
  readonly entries: Record<string, MetadataEntry>;
  readonly inodes: Record<string, MetadataEntry>;
}

/** Bytes of journal after which the state is written anew. */
const LONGEST_JOURNAL = 16_777_216;

export const WHITEOUT: MetadataEntry = { mode: 0, uid: 0, gid: 0, whiteout: true };

export class MetadataStore extends MetadataTree {
  readonly #inodes: Map<number, MetadataEntry> = new Map();
  /** -1 after {@link close}. */
  #journal: number;
  /** Changes so far, and how many of them are on the disk. */
  #changes = 0;
  #synced = 0;

  readonly #base: string;
  #generation = 0;
  /** Bytes in the journal. */
  #length = 0;
  /** A line may have been written in part. */
  #torn = false;

  /**
   * Opens or makes the store `name` in `folder`.
   * @param hostInode the host's inode number of a path, 0 when it is missing
   */
  constructor(folder: string, name: string, hostInode: (path: string) => number) {
    super();
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.#base = join(folder, `${name}.json`);
    const text = read(this.#base);
    if (text !== "") {
      const file = JSON.parse(text) as Compacted;
      this.#generation = file.generation ?? 0;
      for (const path of Object.keys(file.entries)) super.set(path, file.entries[path]!);
      for (const inode of Object.keys(file.inodes ?? {})) this.#inodes.set(Number(inode), file.inodes[inode]!);
    }
    // A crash between the two renames of a compaction leaves the journal under its first name.
    for (const journal of [`${this.#base}l`, `${this.#base}l.new`]) {
      const [first, ...changes] = parse(read(journal));
      if (first === undefined || !("generation" in first) || first.generation !== this.#generation) continue;
      changes.forEach((change, index) => this.#replay(change, index === changes.length - 1, hostInode));
    }
    this.#journal = this.#compact();
  }
  /** Writes the whole state as the next generation; the descriptor of its empty journal. */
  #compact(): number {
    const generation = this.#generation + 1;
    const entries: Record<string, MetadataEntry> = {};
    for (const [path, entry] of this.all()) entries[path] = entry;
    const file: Compacted = { version: 1, generation, entries, inodes: Object.fromEntries(this.#inodes) };
    const header = `${JSON.stringify({ generation })}\n`;
    const journal = openSync(`${this.#base}l.new`, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_APPEND, 0o600);
    try {
      writeFileSync(journal, header);
      const fresh = openSync(`${this.#base}.new`, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC, 0o600);
      try {
        writeFileSync(fresh, JSON.stringify(file));
        fsyncSync(fresh);
      } finally {
        closeSync(fresh);
      }
      renameSync(`${this.#base}.new`, this.#base);
    } catch (error) {
      closeSync(journal);
      throw error;
    }
    this.#generation = generation;
    this.#length = header.length;
    this.#torn = false;
    this.#changes++;
    attempt(() => renameSync(`${this.#base}l.new`, `${this.#base}l`));
    return journal;
  }
  override set(path: string, entry: MetadataEntry): void {
    super.set(path, entry);
    this.#append({ path, entry });
  }
  override remove(path: string): void {
    super.remove(path);
    this.#append({ path, entry: null });
  }
  /** `inode`: the host's number of the file that is about to be renamed, 0 when it exists in metadata only. */
  rename(from: string, to: string, inode: number, hide: boolean): void {
    this.#append({ from, to, inode, hide });
    super.move(from, to);
    if (hide) super.set(from, WHITEOUT);
  }
  override swap(one: string, other: string): void {
    super.swap(one, other);
    this.#append({ swap: [one, other] });
  }
  attributes(inode: number): MetadataEntry | undefined {
    return this.#inodes.get(inode);
  }
  setAttributes(inode: number, attributes: MetadataEntry | null): void {
    if (attributes === null) {
      if (!this.#inodes.delete(inode)) return;
    } else this.#inodes.set(inode, attributes);
    this.#append({ inode, attributes });
  }
  /** Calls `done` when all changes so far are on the disk: not before, also when a sync of them is under way already. */
  sync(done: (result: number) => void): void {
    const wanted = this.#changes;
    if (this.#synced >= wanted || this.#journal < 0) {
      done(0);
      return;
    }
    const generation = this.#generation;
    fsync(this.#journal, (error) => {
      if (!error) this.#synced = Math.max(this.#synced, wanted);
      // A journal that was replaced meanwhile was closed: the changes stand in the next one's state.
      else if (this.#journal >= 0 && this.#generation !== generation) {
        this.sync(done);
        return;
      }
      done(error ? hostError(error) : 0);
    });
  }
  close(): void {
    if (this.#journal >= 0) closeSync(this.#journal);
    this.#journal = -1;
  }
  #append(change: Change): void {
    if (this.#journal < 0) return;
    if (this.#length > LONGEST_JOURNAL) {
      const old = this.#journal;
      this.#journal = this.#compact();
      closeSync(old);
    }
    const line = Buffer.from(`${this.#torn ? "\n" : ""}${JSON.stringify(change)}\n`);
    this.#torn = true;
    const written = writeSync(this.#journal, line);
    if (written < line.length) throw Object.assign(new Error("ENOSPC: the journal of the metadata cannot grow"), { code: "ENOSPC" });
    this.#torn = false;
    this.#length += line.length;
    this.#changes++;
  }
  #replay(change: Change, last: boolean, hostInode: (path: string) => number): void {
    if ("path" in change) {
      if (change.entry) super.set(change.path, change.entry);
      else super.remove(change.path);
    } else if ("from" in change) {
      if (last && change.inode !== 0 && hostInode(change.to) !== change.inode) return;
      super.move(change.from, change.to);
      if (change.hide) super.set(change.from, WHITEOUT);
    } else if ("swap" in change) super.swap(change.swap[0], change.swap[1]);
    else if ("inode" in change) {
      if (change.attributes) this.#inodes.set(change.inode, change.attributes);
      else this.#inodes.delete(change.inode);
    }
  }
}

function read(path: string): string {
  const text = attempt(() => readFileSync(path, "utf8"));
  if (typeof text === "string") return text;
  if (text === -2) return "";
  throw new Error(`[metadata-unreadable] ${path}: error ${-text}`);
}

/** The whole lines; one that was cut off by a crash or a full disk is left out: its change failed. */
function parse(text: string): Change[] {
  const changes: Change[] = [];
  for (const line of text.split("\n")) {
    if (line === "") continue;
    try {
      changes.push(JSON.parse(line) as Change);
    } catch {
      continue;
    }
  }
  return changes;
}
