/** A file system in memory: /dev, /dev/shm and memfd_create. */
import { encodeText } from "@cvm/monitor/abi";
import { E } from "../kernel/errno.ts";
import type { Stat, VfsFile } from "../kernel/types.ts";
import { Limit, S, Seal } from "./constants.ts";
import {
  Dentry,
  FileSystem,
  Inode,
  nowNanoseconds,
  type AttributeChanges,
  type Content,
  type DirectoryEntry,
  type NewNode,
  type Ownership,
  type StatFs,
} from "./node.ts";

/** Bytes of a block: what is not there is a hole. */
const CHUNK = 4096;

export class TmpFs extends FileSystem {
  readonly type = "tmpfs";
  readonly source = "tmpfs";
  readonly caching = "always";
  readonly top: Dentry;
  /** Most bytes of contents. */
  readonly limit: number;
  used = 0;
  #numbers = 0;

  constructor(dev: number, limit: number, mode = 0o1777) {
    super(dev);
    this.limit = limit;
    const root = new TmpInode(this, { mode: S.IFDIR | mode, uid: 0, gid: 0, rdev: 0 });
    this.top = new Dentry(null, "", root);
    root.at = this.top;
  }
  nextNumber(): number {
    return ++this.#numbers;
  }
  statfs(): StatFs {
    const blocks = Math.floor(this.limit / 4096);
    const free = Math.max(0, blocks - Math.ceil(this.used / 4096));
    return {
      type: 0x01021994,
      bsize: 4096,
      blocks,
      bfree: free,
      bavail: free,
      files: 1_000_000,
      ffree: 1_000_000 - this.#numbers,
      namelen: Limit.name,
    };
  }
  /** A regular file without a name. */
  unnamed(name: string, mode: number, uid: number, gid: number): Dentry {
    const inode = new TmpInode(this, { mode: S.IFREG | mode, uid, gid, rdev: 0 });
    inode.links = 0;
    const entry = new Dentry(this.top, name, inode);
    entry.dead = true;
    return entry;
  }
}

export class TmpInode extends Inode implements Content {
  declare readonly fs: TmpFs;
  links: number;
  readonly #number: number;
  #mode: number;
  #uid: number;
  #gid: number;
  readonly #rdev: number;
  readonly #target: string;
  #atime: bigint;
  #mtime: bigint;
  #ctime: bigint;
  readonly #btime: bigint;
  #xattrs: Map<string, Uint8Array> | null = null;
  /** Directories: what is in them. */
  readonly #children: Map<string, TmpInode> | null;
  #chunks: Map<number, Uint8Array> = new Map();
  #size = 0;
  seals: number = Seal.SEAL;

  constructor(fs: TmpFs, node: NewNode) {
    super(fs, node.mode & S.IFMT);
    this.#number = fs.nextNumber();
    this.#mode = node.mode;
    this.#uid = node.uid;
    this.#gid = node.gid;
    this.#rdev = node.rdev;
    this.#target = node.target ?? "";
    this.#atime = this.#mtime = this.#ctime = this.#btime = nowNanoseconds();
    this.links = this.isDirectory ? 2 : 1;
    this.#children = this.isDirectory ? new Map() : null;
  }
  override get droppable(): boolean {
    return false;
  }
  ownership(): Ownership {
    return { mode: this.#mode, uid: this.#uid, gid: this.#gid };
  }
  stat(): Stat {
    return {
      dev: this.fs.dev,
      ino: this.#number,
      mode: this.#mode,
      nlink: this.links,
      uid: this.#uid,
      gid: this.#gid,
      rdev: this.#rdev,
      size: this.type === S.IFLNK ? encodeText(this.#target).length : this.isDirectory ? this.#children!.size * 20 + 40 : this.#size,
      blksize: 4096,
      blocks: this.#chunks.size * (CHUNK / 512),
      atime: this.#atime,
      mtime: this.#mtime,
      ctime: this.#ctime,
      btime: this.#btime,
    };
  }
  override lookup(_directory: Dentry, name: string): Inode | number {
    return this.#children === null ? -E.NOTDIR : (this.#children.get(name) ?? -E.NOENT);
  }
  override list(): DirectoryEntry[] | number {
    if (this.#children === null) return -E.NOTDIR;
    return [...this.#children].map(([name, child]) => ({ name, type: child.type, ino: child.#number }));
  }
  override make(_directory: Dentry, name: string, node: NewNode): Inode | number {
    const child = new TmpInode(this.fs, node);
    this.#put(name, child);
    return child;
  }
  override makeUnnamed(_directory: Dentry, node: NewNode): Inode {
    const inode = new TmpInode(this.fs, node);
    inode.links = 0;
    return inode;
  }
  override link(_directory: Dentry, name: string, source: Dentry): number {
    const inode = source.inode as TmpInode;
    if (inode.isDirectory) return -E.PERM;
    inode.links++;
    inode.#ctime = nowNanoseconds();
    this.#put(name, inode);
    return 0;
  }
  override unlink(_directory: Dentry, child: Dentry): number {
    this.#drop(child.name);
    return 0;
  }
  override rmdir(_directory: Dentry, child: Dentry): number {
    this.#drop(child.name);
    return 0;
  }
  override rename(child: Dentry, toDirectory: Dentry, name: string, existing: Dentry | null, exchange: boolean): number {
    const to = toDirectory.inode as TmpInode;
    const moved = child.inode as TmpInode;
    if (exchange && existing) {
      this.#children!.set(child.name, existing.inode as TmpInode);
      to.#children!.set(name, moved);
      return 0;
    }
    if (existing) to.#drop(name);
    this.#children!.delete(child.name);
    if (moved.isDirectory) this.links--;
    this.#mtime = this.#ctime = nowNanoseconds();
    to.#put(name, moved);
    return 0;
  }
  #put(name: string, child: TmpInode): void {
    this.#children!.set(name, child);
    if (child.isDirectory) this.links++;
    this.#mtime = this.#ctime = nowNanoseconds();
  }
  #drop(name: string): void {
    const child = this.#children!.get(name);
    if (child === undefined) return;
    this.#children!.delete(name);
    if (child.isDirectory) {
      this.links--;
      child.links = 0;
    } else child.links--;
    child.#ctime = this.#mtime = this.#ctime = nowNanoseconds();
    if (child.links === 0 && child.opens === 0) child.#discard();
  }
  override readlink(): string | number {
    return this.type === S.IFLNK ? this.#target : -E.INVAL;
  }
  override set(_entry: Dentry, changes: AttributeChanges): number {
    if (changes.mode !== undefined) this.#mode = (this.#mode & S.IFMT) | (changes.mode & 0o7777);
    if (changes.uid !== undefined) this.#uid = changes.uid;
    if (changes.gid !== undefined) this.#gid = changes.gid;
    if (changes.atime !== undefined) this.#atime = changes.atime;
    if (changes.mtime !== undefined) this.#mtime = changes.mtime;
    this.#ctime = nowNanoseconds();
    return 0;
  }
  override xattrs(): ReadonlyMap<string, Uint8Array> | null {
    return this.#xattrs;
  }
  override setXattr(_entry: Dentry, name: string, value: Uint8Array | null): number {
    this.#xattrs ??= new Map();
    if (value === null) this.#xattrs.delete(name);
    else this.#xattrs.set(name, value.slice());
    return 0;
  }

  // ---- bytes
  override content(): Content | null {
    return this.type === S.IFREG ? this : null;
  }
  acquire(): number {
    this.opens++;
    return 0;
  }
  release(): void {
    if (--this.opens === 0 && this.links === 0 && !this.#viewed) this.#discard();
  }
  #viewed = false;
  #discard(): void {
    if (this.#viewed) return;
    this.fs.used -= this.#chunks.size * CHUNK;
    this.#chunks = new Map();
  }
  size(): number {
    return this.#size;
  }
  readAt(target: Uint8Array, position: number): number {
    const count = Math.min(target.length, this.#size - position);
    for (let done = 0; done < count;) {
      const at = position + done;
      const start = at % CHUNK;
      const length = Math.min(CHUNK - start, count - done);
      const chunk = this.#chunks.get(Math.floor(at / CHUNK));
      if (chunk === undefined) target.fill(0, done, done + length);
      else target.set(chunk.subarray(start, start + length), done);
      done += length;
    }
    return Math.max(0, count);
  }
  writeAt(bytes: Uint8Array, position: number): number {
    let done = 0;
    while (done < bytes.length) {
      const at = position + done;
      const start = at % CHUNK;
      const length = Math.min(CHUNK - start, bytes.length - done);
      let chunk = this.#chunks.get(Math.floor(at / CHUNK));
      if (chunk === undefined) {
        if (this.fs.used + CHUNK > this.fs.limit) break;
        this.fs.used += CHUNK;
        this.#chunks.set(Math.floor(at / CHUNK), (chunk = new Uint8Array(CHUNK)));
      }
      chunk.set(bytes.subarray(done, done + length), start);
      done += length;
    }
    if (done === 0 && bytes.length > 0) return -E.NOSPC;
    if (position + done > this.#size) this.#size = position + done;
    this.#mtime = this.#ctime = nowNanoseconds();
    return done;
  }
  resize(length: number): number {
    if (length > Limit.fileSize) return -E.FBIG;
    if (length < this.#size) {
      const last = Math.ceil(length / CHUNK);
      for (const key of this.#chunks.keys())
        if (key >= last) {
          this.#chunks.delete(key);
          this.fs.used -= CHUNK;
        }
      this.#chunks.get(Math.floor(length / CHUNK))?.fill(0, length % CHUNK);
    }
    this.#size = length;
    this.#mtime = this.#ctime = nowNanoseconds();
    return 0;
  }
  find(position: number, hole: boolean): number {
    const first = Math.floor(position / CHUNK);
    if (hole) {
      let block = first;
      while (this.#chunks.has(block)) block++;
      return Math.min(this.#size, Math.max(position, block * CHUNK));
    }
    if (this.#chunks.has(first)) return position;
    let next = Infinity;
    for (const block of this.#chunks.keys()) if (block > first && block < next) next = block;
    return Math.min(this.#size, next * CHUNK);
  }
  allocate(mode: number, offset: number, length: number): number {
    const end = offset + length;
    if ((mode & ~0x13) !== 0) return -E.OPNOTSUPP;
    if ((mode & 0x12) !== 0) {
      for (let at = offset; at < Math.min(end, this.#size);) {
        const start = at % CHUNK;
        const count = Math.min(CHUNK - start, end - at);
        const block = Math.floor(at / CHUNK);
        if (count === CHUNK) {
          if (this.#chunks.delete(block)) this.fs.used -= CHUNK;
        } else this.#chunks.get(block)?.fill(0, start, start + count);
        at = this.find(Math.min(at + count, this.#size), false);
      }
    }
    return (mode & 1) === 0 && end > this.#size ? this.resize(end) : 0;
  }
  sync(_dataOnly: boolean, done: (result: number) => void): void {
    done(0);
  }
  view(entry: Dentry): VfsFile {
    // A mapping may outlive the last descriptor: the bytes then go with the last reference to this inode.
    this.#viewed = true;
    return {
      path: entry.shown(),
      pread: (offset, length) => {
        const bytes = new Uint8Array(Math.max(0, Math.min(length, this.#size - offset)));
        this.readAt(bytes, offset);
        return bytes;
      },
      pwrite: (offset, bytes) => this.writeAt(bytes, offset),
      size: () => this.#size,
    };
  }
}
