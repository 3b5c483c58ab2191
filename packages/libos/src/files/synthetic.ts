/** Files whose contents are made up when they are read: /proc, /sys and some of /etc. */
import { encodeText } from "@cvm/monitor/abi";
import { E } from "../kernel/errno.ts";
import { Poll, type CallContext, type OpenFile, type Stat } from "../kernel/types.ts";
import { Limit, O, S } from "./constants.ts";
import {
  Dentry,
  FileSystem,
  Inode,
  nowNanoseconds,
  type AttributeChanges,
  type DirectoryEntry,
  type Ownership,
  type StatFs,
} from "./node.ts";
import { canRead, canWrite, EntryFile, seekTo } from "./open-file.ts";

export class SyntheticFs extends FileSystem {
  readonly type: string;
  readonly source: string;
  readonly caching: "always" | "never";
  readonly top: Dentry;
  readonly #magic: number;
  readonly made: bigint = nowNanoseconds();
  #numbers = 0;

  /** `dynamic`: what the root has depends on the caller and on time. */
  constructor(dev: number, type: string, magic: number, dynamic: boolean, root: (fs: SyntheticFs) => Inode) {
    super(dev);
    this.type = type;
    this.source = type;
    this.caching = dynamic ? "never" : "always";
    this.#magic = magic;
    this.top = new Dentry(null, "", root(this));
    this.top.inode.at = this.top;
  }
  nextNumber(): number {
    return ++this.#numbers;
  }
  statfs(): StatFs {
    return { type: this.#magic, bsize: 4096, blocks: 0, bfree: 0, bavail: 0, files: 0, ffree: 0, namelen: Limit.name };
  }
}

/** Owner and number of a synthetic file. */
export interface Attributes {
  readonly ino?: number;
  /** Without S_IFMT. */
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly rdev?: number;
}

export abstract class SyntheticInode extends Inode {
  declare readonly fs: SyntheticFs;
  readonly #attributes: Attributes;
  readonly #ino: number;
  #mode: number;
  constructor(fs: SyntheticFs, type: number, attributes: Attributes, mode: number) {
    super(fs, type);
    this.#attributes = attributes;
    this.#ino = attributes.ino ?? fs.nextNumber();
    this.#mode = type | (attributes.mode ?? mode);
  }
  get number(): number {
    return this.#ino;
  }
  ownership(): Ownership {
    return { mode: this.#mode, uid: this.#attributes.uid ?? 0, gid: this.#attributes.gid ?? 0 };
  }
  stat(): Stat {
    const { made } = this.fs;
    return {
      dev: this.fs.dev,
      ino: this.#ino,
      nlink: this.isDirectory ? 2 : 1,
      rdev: this.#attributes.rdev ?? 0,
      size: 0,
      blksize: 1024,
      blocks: 0,
      atime: made,
      mtime: made,
      ctime: made,
      ...this.ownership(),
    };
  }
  override make(): number {
    return -E.NOENT;
  }
  override set(_entry: Dentry, changes: AttributeChanges): number {
    if (changes.mode !== undefined) this.#mode = this.type | (changes.mode & 0o7777);
    return changes.uid !== undefined || changes.gid !== undefined ? -E.PERM : 0;
  }
}

/** What a synthetic directory has. */
export interface Listing {
  get(name: string, context: CallContext | null): Inode | null;
  names(context: CallContext | null): readonly DirectoryEntry[];
}

export class SyntheticDirectory extends SyntheticInode {
  readonly #listing: Listing;
  constructor(fs: SyntheticFs, listing: Listing, attributes: Attributes = {}) {
    super(fs, S.IFDIR, attributes, 0o555);
    this.#listing = listing;
  }
  override lookup(_directory: Dentry, name: string, context: CallContext | null): Inode | number {
    return this.#listing.get(name, context) ?? -E.NOENT;
  }
  override list(_directory: Dentry, context: CallContext | null): DirectoryEntry[] {
    return [...this.#listing.names(context)];
  }
}

/** A directory whose entries are always the same. */
export function fixed(fs: SyntheticFs, entries: Readonly<Record<string, Inode>>, attributes: Attributes = {}): SyntheticDirectory {
  const map = new Map(Object.entries(entries));
  const names = [...map].map(([name, inode]) => ({ name, type: inode.type, ino: 0 }));
  return new SyntheticDirectory(fs, { get: (name) => map.get(name) ?? null, names: () => names }, attributes);
}

/** Text (or bytes) made at each reading from the start. */
export class SyntheticText extends SyntheticInode {
  readonly produce: (context: CallContext) => string | Uint8Array | number;
  readonly accept: ((bytes: Uint8Array, context: CallContext) => number) | null;
  constructor(
    fs: SyntheticFs,
    produce: (context: CallContext) => string | Uint8Array | number,
    attributes: Attributes = {},
    accept: ((bytes: Uint8Array, context: CallContext) => number) | null = null,
  ) {
    super(fs, S.IFREG, attributes, accept === null ? 0o444 : 0o644);
    this.produce = produce;
    this.accept = accept;
  }
  override open(entry: Dentry, flags: number): OpenFile | number {
    return canWrite(flags) && this.accept === null ? -E.ACCES : new TextFile(flags, entry, this);
  }
}

/** A symbolic link made up for the reader; `follow` leads to the object itself. */
export class SyntheticLink extends SyntheticInode {
  readonly #target: (context: CallContext | null) => string | number;
  readonly #follow: ((context: CallContext) => Dentry | OpenFile | number | null) | null;
  constructor(
    fs: SyntheticFs,
    target: (context: CallContext | null) => string | number,
    follow: ((context: CallContext) => Dentry | OpenFile | number | null) | null = null,
    attributes: Attributes = {},
  ) {
    super(fs, S.IFLNK, attributes, 0o777);
    this.#target = target;
    this.#follow = follow;
  }
  override readlink(context: CallContext | null): string | number {
    return this.#target(context);
  }
  override follow(context: CallContext): Dentry | OpenFile | number | null {
    return this.#follow === null ? null : this.#follow(context);
  }
}

/** A character device node. */
export class SyntheticDevice extends SyntheticInode {
  constructor(fs: SyntheticFs, rdev: number, attributes: Attributes = {}) {
    super(fs, S.IFCHR, { ...attributes, rdev }, 0o620);
  }
}

class TextFile extends EntryFile {
  readonly kind = "file";
  readonly #text: SyntheticText;
  #bytes: Uint8Array | null = null;
  #position = 0;
  constructor(flags: number, entry: Dentry, text: SyntheticText) {
    super(flags & (O.ACCMODE | O.NONBLOCK | O.APPEND), entry);
    this.#text = text;
  }
  override read(max: number, offset: number | null, context: CallContext): Uint8Array | number {
    if (!canRead(this.flags)) return -E.BADF;
    const position = offset ?? this.#position;
    if (this.#bytes === null || position === 0) {
      const produced = this.#text.produce(context);
      if (typeof produced === "number") return produced;
      this.#bytes = typeof produced === "string" ? encodeText(produced) : produced;
    }
    const bytes = this.#bytes.slice(position, position + max);
    if (offset === null) this.#position = position + bytes.length;
    return bytes;
  }
  override write(bytes: Uint8Array, _offset: number | null, context: CallContext): number {
    if (!canWrite(this.flags)) return -E.BADF;
    return this.#text.accept === null ? -E.ACCES : this.#text.accept(bytes.slice(), context);
  }
  override seek(offset: number, whence: number): number {
    const target = seekTo(this.#position, offset, whence, this.#bytes?.length ?? 0);
    if (target >= 0) this.#position = target;
    return target;
  }
  override poll(): number {
    return Poll.IN | Poll.OUT;
  }
}
