/**
 * Inodes, names (dentries) and file systems: what the resolver, open files and system calls share.
 * Methods return negative errnos on failure.
 */
import { E } from "../kernel/errno.ts";
import type { CallContext, Credentials, OpenFile, Stat, VfsFile } from "../kernel/types.ts";
import { Access, S } from "./constants.ts";
import type { Locks } from "./locks.ts";

/** Owner and permission of an inode; `mode` includes S_IFMT. */
export interface Ownership {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** What chmod, chown and utimensat change. `now` times are resolved by the caller. */
export interface AttributeChanges {
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly atime?: bigint;
  readonly mtime?: bigint;
}

/** A new directory entry. */
export interface NewNode {
  /** With S_IFMT. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdev: number;
  /** Target of a symbolic link. */
  readonly target?: string;
}

export interface DirectoryEntry {
  readonly name: string;
  /** S_IFMT bits. */
  readonly type: number;
  /** 0: ask {@link Inode.entryNumber} when it is needed. */
  readonly ino: number;
}

/** statfs(2), in blocks of `bsize` bytes. */
export interface StatFs {
  readonly type: number;
  readonly bsize: number;
  readonly blocks: number;
  readonly bfree: number;
  readonly bavail: number;
  readonly files: number;
  readonly ffree: number;
  readonly namelen: number;
}

/** Where the events of an inode go (inotify). `cookie` pairs the two halves of a rename. */
export interface Watcher {
  event(mask: number, cookie: number, name: string): void;
}

/** Bytes of a regular file. Between {@link acquire} and {@link release} the bytes stay readable, also when the last name is gone. */
export interface Content {
  /** Pins the bytes. `write` copies up what is below; `discard` lets that copy be empty. 0 or a negative errno. */
  acquire(entry: Dentry, write: boolean, discard: boolean): number;
  release(): void;
  size(): number;
  /** Bytes read, 0 at the end. */
  readAt(target: Uint8Array, position: number): number;
  writeAt(bytes: Uint8Array, position: number): number;
  resize(length: number): number;
  /** fallocate(2): `mode` bits KEEP_SIZE 1, PUNCH_HOLE 2, ZERO_RANGE 16; others are refused with -EOPNOTSUPP. */
  allocate(mode: number, offset: number, length: number): number;
  /** The first byte of data, or of a hole, at or behind a position inside the file; the file's size when there is no data. The end is a hole. */
  find(position: number, hole: boolean): number;
  /** F_SEAL_ bits; undefined where there are none (fcntl(2)). */
  seals?: number;
  sync(dataOnly: boolean, done: (result: number) => void): void;
  /** View for mmap and execve; keeps the bytes alive as long as it is referenced. */
  view(entry: Dentry): VfsFile;
}

/** Names that one file system keeps in memory before unused ones are dropped. */
const MOST_NAMES = 50_000;

export abstract class FileSystem {
  /** st_dev. */
  readonly dev: number;
  /** Name in /proc/mounts, and the magic number of statfs. */
  abstract readonly type: string;
  abstract readonly source: string;
  readOnly = false;
  /** `always`: names looked up stay right until this library OS changes them. `checked`: others may change them. `never`: names are made up for each caller. */
  abstract readonly caching: "always" | "checked" | "never";
  /** Names known in memory, and how many may be before unused ones are dropped. */
  names = 0;
  mostNames: number = MOST_NAMES;
  /** The root's name. */
  abstract readonly top: Dentry;
  constructor(dev: number) {
    this.dev = dev;
  }
  abstract statfs(): StatFs;
  /** Makes everything reach the disk. */
  sync(done: (result: number) => void): void {
    done(0);
  }
}

export abstract class Inode {
  readonly fs: FileSystem;
  /** S_IFMT bits. */
  readonly type: number;
  /** Open descriptions, directories included. */
  opens = 0;
  /** One of its names; a dead one when all known names are gone. */
  at: Dentry | null = null;
  /** Without a name so far, but it may get one: O_TMPFILE without O_EXCL. */
  linkable = false;
  locks: Locks | null = null;
  watchers: Set<Watcher> | null = null;

  constructor(fs: FileSystem, type: number) {
    this.fs = fs;
    this.type = type;
  }
  get isDirectory(): boolean {
    return this.type === S.IFDIR;
  }
  /** Whether a new object for the same file would do as well. */
  get droppable(): boolean {
    return true;
  }
  abstract ownership(): Ownership;
  abstract stat(): Stat | number;

  // ---- directories
  lookup(_directory: Dentry, _name: string, _context: CallContext | null): Inode | number {
    return -E.NOTDIR;
  }
  list(_directory: Dentry, _context: CallContext | null): DirectoryEntry[] | number {
    return -E.NOTDIR;
  }
  entryNumber(directory: Dentry, name: string, context: CallContext | null): number {
    const child = this.lookup(directory, name, context);
    if (typeof child === "number") return 1;
    const stat = child.stat();
    return typeof stat === "number" ? 1 : stat.ino;
  }
  make(_directory: Dentry, _name: string, _node: NewNode): Inode | number {
    return this.fs.readOnly ? -E.ROFS : -E.PERM;
  }
  /** A regular file without a name (O_TMPFILE). */
  makeUnnamed(_directory: Dentry, _node: NewNode): Inode | number {
    return -E.OPNOTSUPP;
  }
  link(_directory: Dentry, _name: string, _source: Dentry): number {
    return -E.PERM;
  }
  unlink(_directory: Dentry, _child: Dentry): number {
    return -E.PERM;
  }
  /** The caller checked that it is an empty directory. */
  rmdir(_directory: Dentry, _child: Dentry): number {
    return -E.PERM;
  }
  /** Moves `child` of this directory to `name` in `toDirectory` of the same file system, over `existing`; `exchange` swaps the two. */
  rename(_child: Dentry, _toDirectory: Dentry, _name: string, _existing: Dentry | null, _exchange: boolean): number {
    return -E.PERM;
  }

  // ---- links
  readlink(_context: CallContext | null): string | number {
    return -E.INVAL;
  }
  /** Links of /proc that lead to an object and not to a path; null for ordinary ones. */
  follow(_context: CallContext): Dentry | OpenFile | number | null {
    return null;
  }

  // ---- attributes
  set(_entry: Dentry, _changes: AttributeChanges): number {
    return this.fs.readOnly ? -E.ROFS : -E.PERM;
  }
  xattrs(): ReadonlyMap<string, Uint8Array> | null {
    return null;
  }
  /** `value` null removes. */
  setXattr(_entry: Dentry, _name: string, _value: Uint8Array | null): number {
    return -E.OPNOTSUPP;
  }

  // ---- opening
  content(): Content | null {
    return null;
  }
  /** Opens what is neither a directory, a plain regular file, a FIFO nor a device; null when there is nothing special. */
  open(_entry: Dentry, _flags: number, _context: CallContext): OpenFile | number | null {
    return null;
  }
  notify(mask: number, cookie: number, name: string): void {
    if (this.watchers !== null) for (const watcher of this.watchers) watcher.event(mask, cookie, name);
  }
}

/** A name in the tree, with the names below that are known. */
export class Dentry {
  parent: Dentry | null;
  name: string;
  inode: Inode;
  /** null: known to be missing (stable file systems only). */
  children: Map<string, Dentry | null> | null = null;
  /** Root of what is mounted here. */
  mounted: Dentry | null = null;
  /** For the root of a mount: where it is mounted. */
  covers: Dentry | null = null;
  /** No longer reachable by its name. */
  dead = false;

  constructor(parent: Dentry | null, name: string, inode: Inode) {
    this.parent = parent;
    this.name = name;
    this.inode = inode;
  }
  /** Path inside the file system, without a leading slash; "" for its root. */
  inside(): string {
    if (this.parent === null) return "";
    const above = this.parent.inside();
    return above === "" ? this.name : `${above}/${this.name}`;
  }
  /** Absolute path in the cVM. */
  path(): string {
    if (this.parent === null) return this.covers === null ? "/" : this.covers.path();
    const above = this.parent.path();
    return above === "/" ? `/${this.name}` : `${above}/${this.name}`;
  }
  /** As /proc shows it. */
  shown(): string {
    return this.dead ? `${this.path()} (deleted)` : this.path();
  }
  /** Takes a name out: it was unlinked. */
  forget(name: string): void {
    const child = this.children?.get(name);
    if (child) child.dead = true;
    if (this.inode.fs.caching === "always") this.children?.set(name, null);
    else this.children?.delete(name);
  }
  /** Puts a name in after it was made, linked or moved here. */
  adopt(child: Dentry, name: string): void {
    child.parent = this;
    child.name = name;
    child.dead = false;
    child.inode.at = child;
    if (this.inode.fs.caching !== "never") remember(this, name, child);
  }
}

/** The entry `name` of a directory, not looking at mounts. `name` is neither `.` nor `..`. */
export function childOf(directory: Dentry, name: string, context: CallContext | null): Dentry | number {
  const fs = directory.inode.fs;
  const known = directory.children?.get(name);
  if (fs.caching === "always") {
    if (known) return known;
    if (known === null) return -E.NOENT;
  }
  const inode = directory.inode.lookup(directory, name, context);
  if (typeof inode === "number") {
    if (known) directory.forget(name);
    else if (inode === -E.NOENT && fs.caching === "always" && !directory.dead) remember(directory, name, null);
    return inode;
  }
  if (known && known.inode === inode) return known;
  if (known) known.dead = true;
  const child = new Dentry(directory, name, inode);
  if (known?.mounted) child.mounted = known.mounted;
  if (inode.at === null || inode.at.dead) inode.at = child;
  if (fs.caching !== "never" && !directory.dead) remember(directory, name, child);
  return child;
}

let prunes = 0;
/** Changes when names were dropped: a name kept elsewhere may then no longer be the one in the tree. */
export const pruneCount = (): number => prunes;

function remember(directory: Dentry, name: string, child: Dentry | null): void {
  const { fs } = directory.inode;
  // Later, when no call is in the middle of something.
  if (++fs.names > fs.mostNames) {
    fs.mostNames = Number.POSITIVE_INFINITY;
    queueMicrotask(() => {
      fs.names = 0;
      prunes++;
      prune(fs.top);
      fs.mostNames = Math.max(MOST_NAMES, fs.names * 2);
    });
  }
  (directory.children ??= new Map()).set(name, child);
}

/** Drops names that nothing uses. Returns whether `entry` itself may go. */
function prune(entry: Dentry): boolean {
  if (entry.children !== null) {
    for (const [name, child] of entry.children) {
      if (child === null || prune(child)) entry.children.delete(name);
      else entry.inode.fs.names++;
    }
    if (entry.children.size > 0) return false;
  }
  return (
    entry.inode.opens === 0 &&
    entry.inode.watchers === null &&
    entry.inode.locks === null &&
    entry.mounted === null &&
    entry.inode.droppable
  );
}

/** generic_permission(): `wanted` are Access bits. 0 or -EACCES. fsuid 0 passes, but executes only what somebody may execute. */
export function permission(owner: Ownership, wanted: number, credentials: Credentials, real = false): number {
  const uid = real ? credentials.uid : credentials.fsuid;
  const gid = real ? credentials.gid : credentials.fsgid;
  if (uid === 0) {
    if ((wanted & Access.EXECUTE) !== 0 && (owner.mode & S.IFMT) !== S.IFDIR && (owner.mode & 0o111) === 0) return -E.ACCES;
    return 0;
  }
  let bits = owner.mode & 7;
  if (owner.uid === uid) bits = (owner.mode >> 6) & 7;
  else if (owner.gid === gid || credentials.groups.includes(owner.gid)) bits = (owner.mode >> 3) & 7;
  return (bits & wanted) === wanted ? 0 : -E.ACCES;
}

/** Whether `credentials` may delete or rename `child` in `directory` as far as the sticky bit goes. */
export function stickyAllows(directory: Ownership, child: Ownership, credentials: Credentials): boolean {
  return (
    (directory.mode & S.ISVTX) === 0 || credentials.fsuid === 0 || credentials.fsuid === child.uid || credentials.fsuid === directory.uid
  );
}

export const nowNanoseconds = (): bigint => BigInt(Date.now()) * 1_000_000n;
