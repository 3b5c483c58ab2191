/** One file of an {@link OverlayFs}: its host file, metadata and descriptor. */
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  fsync,
  fdatasync,
  ftruncateSync,
  futimesSync,
  lutimesSync,
  openSync,
  readlinkSync,
  readSync,
  unlinkSync,
  writeSync,
  type BigIntStats,
} from "node:fs";
import { E } from "../kernel/errno.ts";
import type { CallContext, Stat, VfsFile } from "../kernel/types.ts";
import { Limit, S } from "./constants.ts";
import { BLOCK, Holes } from "./holes.ts";
import { attempt, hostError, SAFE_OPEN } from "./host.ts";
import type { MetadataEntry } from "./layer.ts";
import {
  Dentry,
  Inode,
  nowNanoseconds,
  type AttributeChanges,
  type Content,
  type DirectoryEntry,
  type NewNode,
  type Ownership,
} from "./node.ts";
import { lstatOf, type OverlayFs } from "./overlay.ts";

const ZEROS = new Uint8Array(65536);

/** Descriptors of files without a name that only a mapping still uses. */
const orphans: FinalizationRegistry<number> = new FinalizationRegistry((descriptor) => {
  attempt(() => closeSync(descriptor));
});

export class HostInode extends Inode implements Content {
  declare readonly fs: OverlayFs;
  /** Index of the layer that holds it; -1: the writable tree. */
  layer: number;
  entry: MetadataEntry | undefined;
  /** Directories: layers whose entries show through, uppermost first. */
  lowers: number[] = [];
  /** Host path of a file made by O_TMPFILE, until it gets a name or is closed. */
  unnamed: string | null = null;
  descriptor = -1;
  #descriptorWrites = false;
  #host: BigIntStats | null;
  /** Size in bytes while nobody else can change it; -1: ask the host. */
  #size = -1;
  #gone = false;
  #view: WeakRef<VfsFile> | null = null;
  /** Blocks known to hold nothing, where nobody else changes the file. What was sparse before this object knew of it counts as data. */
  #holes: Holes | null = null;
  /** The descriptor belongs to the view now. */
  #orphan = false;

  constructor(fs: OverlayFs, type: number, layer: number, host: BigIntStats | null, entry: MetadataEntry | undefined) {
    super(fs, type);
    this.layer = layer;
    this.#host = host;
    this.entry = entry;
  }
  get isSpecial(): boolean {
    return this.type !== S.IFREG && this.type !== S.IFDIR && this.type !== S.IFLNK && this.entry !== undefined;
  }
  get hostNumber(): number {
    const host = this.#stats();
    return typeof host === "number" ? 0 : Number(host.ino);
  }
  override get droppable(): boolean {
    return this.descriptor < 0 || this.opens === 0;
  }
  refreshed(host: BigIntStats): this {
    if (this.descriptor < 0) this.#host = host;
    return this;
  }
  forgetStat(): void {
    if (!this.#gone) this.#host = null;
  }

  // ---- attributes
  ownership(): Ownership {
    if (this.entry !== undefined) return this.entry;
    const host = this.#stats();
    if (typeof host === "number") return { mode: this.type, uid: 0, gid: 0 };
    if (this.fs.work === null) return { mode: Number(host.mode), uid: Number(host.uid), gid: Number(host.gid) };
    return { mode: Number(host.mode), uid: 0, gid: 0 };
  }
  asEntry(): MetadataEntry {
    if (this.entry !== undefined && !this.#ownNumber()) return this.entry;
    const { mode, uid, gid } = this.ownership();
    const entry: MetadataEntry = this.entry ?? { mode: (mode & ~S.IFMT) | this.type, uid, gid };
    return this.#ownNumber() ? { ...entry, ino: this.#number() } : entry;
  }
  /** A file of a layer keeps its inode number when it is copied up. */
  #ownNumber(): boolean {
    return this.layer >= 0 && this.entry?.ino === undefined;
  }
  #number(): number {
    if (this.entry?.ino !== undefined) return this.entry.ino;
    const host = this.#host ?? this.#stats();
    const number = typeof host === "number" ? hash(this.at?.inside() ?? "") : Number(host.ino & 0xfffffffffffn);
    return number * 256 + this.layer + 2;
  }
  stat(): Stat | number {
    const { mode, uid, gid } = this.ownership();
    const entry = this.entry;
    const base = {
      dev: this.fs.dev,
      ino: this.#number(),
      mode: (mode & ~S.IFMT) | this.type,
      uid,
      gid,
      rdev: entry?.rdev ?? 0,
      blksize: 4096,
    };
    const changed = entry?.ctime === undefined ? 0n : BigInt(entry.ctime);
    if (this.isSpecial) {
      const times = entry?.times;
      return {
        ...base,
        nlink: this.#gone ? 0 : 1,
        size: 0,
        blocks: 0,
        atime: BigInt(times?.atime ?? 0),
        mtime: BigInt(times?.mtime ?? 0),
        ctime: changed,
      };
    }
    const host = this.#stats();
    if (typeof host === "number") return host;
    let { atimeNs: atime, mtimeNs: mtime } = host;
    if (entry?.times !== undefined && entry.times.host === mtime.toString()) {
      atime = BigInt(entry.times.atime);
      mtime = BigInt(entry.times.mtime);
    }
    const links = this.#gone
      ? Number(host.nlink)
      : this.unnamed !== null
        ? 0
        : this.isDirectory && this.fs.work !== null
          ? 1
          : Number(host.nlink);
    return {
      ...base,
      nlink: links,
      size: this.isDirectory ? 4096 : Number(host.size),
      blocks: this.#blocks(host),
      atime,
      mtime,
      ctime: host.ctimeNs > changed ? host.ctimeNs : changed,
      btime: host.birthtimeNs,
    };
  }
  /** The host cannot give back what is punched out of the middle of a file: it is not counted. */
  #blocks({ blocks, size }: BigIntStats): number {
    const holes = this.#holes?.bytes ?? 0;
    return holes === 0 ? Number(blocks) : Math.max(0, Math.min(Number(blocks), (Math.ceil(Number(size) / BLOCK) * BLOCK - holes) / 512));
  }
  /** The holes, where they can be known. */
  #tracked(): Holes | null {
    return this.fs.caching === "always" ? (this.#holes ??= new Holes()) : null;
  }
  find(position: number, hole: boolean): number {
    const size = this.size();
    if (this.#holes === null) return hole ? size : position;
    return hole ? this.#holes.hole(position, size) : this.#holes.data(position, size);
  }
  /** What the host says, from memory while nothing can have changed. */
  #stats(): BigIntStats | number {
    if (this.#gone && this.descriptor < 0) return this.#host ?? -E.NOENT;
    if (this.#host !== null && (this.layer >= 0 || (this.fs.caching === "always" && !this.#descriptorDirty))) return this.#host;
    if (this.descriptor >= 0) {
      const host = attempt(() => fstatSync(this.descriptor, { bigint: true }));
      if (typeof host !== "number") {
        this.#host = host;
        this.#descriptorDirty = false;
      }
      return host;
    }
    if (this.at === null) return this.#host ?? -E.NOENT;
    const host = lstatOf(this.layer < 0 ? this.fs.upper : this.fs.layers[this.layer]!.tree, this.at.inside());
    if (typeof host !== "number") {
      this.#host = host;
      this.#descriptorDirty = false;
    }
    return typeof host === "number" && this.#host !== null ? this.#host : host;
  }
  /** Bytes were written since the last stat. */
  #descriptorDirty = false;

  override set(entry: Dentry, changes: AttributeChanges): number {
    if (this.fs.readOnly) return -E.ROFS;
    const failed = this.copyUp(entry, false);
    if (failed < 0) return failed;
    let next: MetadataEntry = { ...this.asEntry(), ctime: nowNanoseconds().toString() };
    if (changes.mode !== undefined) {
      next = { ...next, mode: (changes.mode & 0o7777) | this.type };
      if (this.fs.work === null && !this.isSpecial && this.type !== S.IFLNK) this.#showMode(entry, changes.mode);
    }
    if (changes.uid !== undefined) next = { ...next, uid: changes.uid };
    if (changes.gid !== undefined) next = { ...next, gid: changes.gid };
    if (changes.atime !== undefined || changes.mtime !== undefined) {
      const old = this.stat();
      if (typeof old === "number") return old;
      const atime = changes.atime ?? old.atime;
      const mtime = changes.mtime ?? old.mtime;
      let host = 0n;
      if (!this.isSpecial) {
        const set = attempt(() => {
          const seconds = [Number(atime) / 1e9, Number(mtime) / 1e9] as const;
          if (this.descriptor >= 0) futimesSync(this.descriptor, ...seconds);
          else if (!this.#gone) this.fs.upper.at(entry.inside(), (path) => lutimesSync(path, ...seconds));
        });
        if (typeof set === "number") return set;
        this.#host = this.#gone ? this.#host : null;
        const stats = this.#stats();
        if (typeof stats === "number") return stats;
        host = stats.mtimeNs;
      }
      next = { ...next, times: { atime: atime.toString(), mtime: mtime.toString(), host: host.toString() } };
    }
    this.#record(entry, next);
    return 0;
  }
  #showMode(entry: Dentry, mode: number): void {
    const owner = this.isDirectory ? 0o700 : 0o600;
    attempt(() =>
      this.fs.upper.at(entry.inside(), (path) => {
        const descriptor = openSync(path, constants.O_RDONLY | SAFE_OPEN);
        try {
          fchmodSync(descriptor, (mode & 0o777) | owner);
        } finally {
          closeSync(descriptor);
        }
      }),
    );
  }
  #record(entry: Dentry, next: MetadataEntry): void {
    this.entry = this.fs.caching === "checked" && !this.isSpecial ? { ...next, hostInode: this.hostNumber } : next;
    if (this.#gone || this.unnamed !== null) return;
    const number = this.isDirectory || this.isSpecial ? 0 : this.hostNumber;
    if (number !== 0 && this.fs.store.attributes(number) !== undefined) this.fs.store.setAttributes(number, this.entry);
    else if (!entry.dead) this.fs.store.set(entry.inside(), this.entry);
    else if (this.at !== null && !this.at.dead) this.fs.store.set(this.at.inside(), this.entry);
  }
  override xattrs(): ReadonlyMap<string, Uint8Array> {
    const found: Map<string, Uint8Array> = new Map();
    const stored = this.entry?.xattrs;
    if (stored !== undefined) for (const name of Object.keys(stored)) found.set(name, Buffer.from(stored[name]!, "base64"));
    return found;
  }
  override setXattr(entry: Dentry, name: string, value: Uint8Array | null): number {
    if (this.fs.readOnly) return -E.ROFS;
    const failed = this.copyUp(entry, false);
    if (failed < 0) return failed;
    const xattrs: Record<string, string> = { ...this.entry?.xattrs };
    if (value === null) delete xattrs[name];
    else xattrs[name] = Buffer.from(value).toString("base64");
    this.#record(entry, { ...this.asEntry(), xattrs, ctime: nowNanoseconds().toString() });
    return 0;
  }
  override readlink(): string | number {
    if (this.type !== S.IFLNK) return -E.INVAL;
    const tree = this.layer < 0 ? this.fs.upper : this.fs.layers[this.layer]!.tree;
    return attempt(() => tree.at(this.at!.inside(), (path) => readlinkSync(path)));
  }

  // ---- directory operations: the file system knows all trees
  override lookup(directory: Dentry, name: string): Inode | number {
    return this.isDirectory ? this.fs.lookup(directory, name) : -E.NOTDIR;
  }
  override list(directory: Dentry): DirectoryEntry[] | number {
    return this.isDirectory ? this.fs.list(directory) : -E.NOTDIR;
  }
  override entryNumber(directory: Dentry, name: string, context: CallContext | null): number {
    const known = directory.children?.get(name);
    return known ? (known.inode as HostInode).#number() : super.entryNumber(directory, name, context);
  }
  override make(directory: Dentry, name: string, node: NewNode): Inode | number {
    return this.fs.make(directory, name, node);
  }
  override makeUnnamed(_directory: Dentry, node: NewNode): Inode | number {
    return this.fs.makeUnnamed(node);
  }
  override link(directory: Dentry, name: string, source: Dentry): number {
    return this.fs.link(directory, name, source);
  }
  override unlink(directory: Dentry, child: Dentry): number {
    return this.fs.remove(directory, child);
  }
  override rmdir(directory: Dentry, child: Dentry): number {
    return this.fs.remove(directory, child);
  }
  override rename(child: Dentry, toDirectory: Dentry, name: string, existing: Dentry | null, exchange: boolean): number {
    return this.fs.rename(child.parent!, child, toDirectory, name, existing, exchange);
  }
  /** Makes sure that a directory is in the writable tree. */
  writable(entry: Dentry): number {
    if (this.fs.readOnly) return -E.ROFS;
    if (this.#gone || entry.dead) return -E.NOENT;
    return this.layer < 0 ? 0 : this.copyUp(entry, false);
  }
  /** Entries of this directory changed; `touch` when the host did not see it. */
  changed(entry: Dentry, touch: boolean): void {
    if (touch) {
      const now = Date.now() / 1000;
      attempt(() => this.fs.upper.at(entry.inside(), (path) => lutimesSync(path, now, now)));
    }
    this.forgetStat();
  }
  /** Moves the file from its layer to the writable tree; `discard`: without its bytes. 0 when it is there already. */
  copyUp(entry: Dentry, discard: boolean): number {
    if (this.layer < 0) return 0;
    if (this.fs.readOnly) return -E.ROFS;
    const name = entry.dead && this.at !== null ? this.at : entry;
    const parent = name.parent!.inode as HostInode;
    let failed = parent.copyUp(name.parent!, false);
    if (failed === 0) failed = this.fs.copyFile(this, name.inside(), discard);
    if (failed < 0) return failed;
    parent.forgetStat();
    this.layer = -1;
    this.#host = null;
    this.#size = -1;
    if (this.descriptor >= 0) {
      this.closeDescriptor();
      return this.#openDescriptor(name);
    }
    return 0;
  }

  // ---- the end of a name
  /** Called before the host's file loses this name. */
  keepBeforeUnlink(entry: Dentry): void {
    this.#stats();
    if (this.type === S.IFREG && this.descriptor < 0 && this.#view?.deref() !== undefined) this.#openDescriptor(entry);
  }
  unlinked(): void {
    const host = this.#host;
    if (this.isDirectory || this.isSpecial || host === null || host.nlink <= 1n || this.layer >= 0) {
      this.#gone = true;
      if (host !== null) {
        host.nlink = 0n;
        if (!this.isDirectory && this.layer < 0) {
          this.fs.store.setAttributes(Number(host.ino), null);
          this.fs.shared.delete(Number(host.ino));
        }
      }
      if (this.opens === 0) this.#letGo();
    } else if (this.descriptor >= 0) this.#host = null;
    else host.nlink -= 1n;
  }
  #letGo(): void {
    this.fs.unpark(this);
    const view = this.#view?.deref();
    if (view === undefined) this.closeDescriptor();
    else if (this.descriptor >= 0 && !this.#orphan) {
      this.#orphan = true;
      orphans.register(view, this.descriptor);
    }
  }

  // ---- bytes
  override content(): Content | null {
    return this.type === S.IFREG ? this : null;
  }
  acquire(entry: Dentry, write: boolean, discard: boolean): number {
    if (write && this.layer >= 0) {
      const failed = this.copyUp(entry, discard);
      if (failed < 0) return failed;
    }
    if (this.descriptor < 0 || (write && !this.#descriptorWrites)) {
      const failed = this.#openDescriptor(entry);
      if (failed < 0) return failed;
    }
    this.opens++;
    this.fs.opened(this);
    return write && !this.#descriptorWrites ? -E.ACCES : 0;
  }
  release(): void {
    if (--this.opens > 0) return;
    if (this.unnamed !== null) {
      const unnamed = this.unnamed;
      attempt(() => unlinkSync(unnamed));
      this.#gone = true;
    }
    const keep = !this.#gone && this.fs.caching === "always";
    this.fs.closed(this, keep);
    if (this.#gone) this.#letGo();
    else if (!keep) this.closeDescriptor();
  }
  adoptDescriptor(descriptor: number): void {
    this.descriptor = descriptor;
    this.#descriptorWrites = true;
    this.#size = this.fs.caching === "always" ? 0 : -1;
    if (this.fs.caching === "always" && this.unnamed === null) this.fs.closed(this, true);
  }
  #openDescriptor(entry: Dentry): number {
    const name = entry.dead && this.at !== null && !this.at.dead ? this.at : entry;
    const tree = this.layer < 0 ? this.fs.upper : this.fs.layers[this.layer]!.tree;
    const writes = this.layer < 0 && !this.fs.readOnly;
    const open = (flags: number): number => attempt(() => tree.at(name.inside(), (path) => openSync(path, flags | SAFE_OPEN)));
    let descriptor = open(writes ? constants.O_RDWR : constants.O_RDONLY);
    this.#descriptorWrites = writes && descriptor >= 0;
    if (writes && (descriptor === -E.ACCES || descriptor === -E.PERM || descriptor === -E.ROFS)) descriptor = open(constants.O_RDONLY);
    if (descriptor < 0) return descriptor;
    const host = attempt(() => fstatSync(descriptor, { bigint: true }));
    if (typeof host === "number" || !host.isFile()) {
      closeSync(descriptor);
      return typeof host === "number" ? host : -E.ACCES;
    }
    if (this.descriptor >= 0) closeSync(this.descriptor);
    this.descriptor = descriptor;
    this.#host = host;
    this.#size = this.fs.caching === "always" ? Number(host.size) : -1;
    return 0;
  }
  closeDescriptor(): void {
    if (this.descriptor < 0 || this.#orphan) return;
    const descriptor = this.descriptor;
    if (this.#descriptorDirty && !this.#gone) this.#host = null;
    this.descriptor = -1;
    this.#descriptorWrites = false;
    this.#size = -1;
    attempt(() => closeSync(descriptor));
  }
  size(): number {
    if (this.#size >= 0) return this.#size;
    const host = this.descriptor >= 0 ? attempt(() => fstatSync(this.descriptor)) : this.#stats();
    return typeof host === "number" ? 0 : Number(host.size);
  }
  readAt(target: Uint8Array, position: number): number {
    try {
      let done = 0;
      while (done < target.length) {
        const count = readSync(this.descriptor, target, done, target.length - done, position + done);
        if (count === 0) break;
        done += count;
      }
      return done;
    } catch (error) {
      return hostError(error);
    }
  }
  writeAt(bytes: Uint8Array, position: number): number {
    const size = this.#size;
    if (size >= 0 && position > size) this.#tracked()?.add(size, position);
    let done = 0;
    try {
      while (done < bytes.length) done += writeSync(this.descriptor, bytes, done, bytes.length - done, position + done);
    } catch (error) {
      if (done === 0) return hostError(error);
    }
    this.#holes?.fill(position, position + done);
    this.#descriptorDirty = true;
    if (this.#size >= 0 && position + done > this.#size) this.#size = position + done;
    return done;
  }
  resize(length: number): number {
    if (length > Limit.fileSize) return -E.FBIG;
    const before = this.#size;
    try {
      ftruncateSync(this.descriptor, length);
    } catch (error) {
      return hostError(error);
    }
    this.#descriptorDirty = true;
    if (before >= 0 && (length > before || this.#holes !== null)) this.#tracked()?.resize(before, length);
    if (this.#size >= 0) this.#size = length;
    return 0;
  }
  allocate(mode: number, offset: number, length: number): number {
    const end = offset + length;
    if ((mode & ~0x13) !== 0) return -E.OPNOTSUPP;
    if ((mode & 0x12) !== 0) {
      const failed = this.#clear(offset, end);
      if (failed < 0) return failed;
    }
    return (mode & 1) === 0 && end > this.size() ? this.resize(end) : 0;
  }
  /** Zeroes a range. Where it goes to the end of the file, the host gets the space back. */
  #clear(from: number, to: number): number {
    const size = this.size();
    if (from >= size) return 0;
    if (to >= size) {
      const failed = this.resize(from);
      return failed < 0 ? failed : this.resize(size);
    }
    for (let at = this.find(from, false); at < to; at = this.find(at, false)) {
      const count = Math.min(ZEROS.length, to - at, this.find(at, true) - at);
      const result = this.writeAt(ZEROS.subarray(0, count), at);
      if (result < 0) return result;
      at += count;
    }
    this.#tracked()?.add(from, to);
    return 0;
  }
  sync(dataOnly: boolean, done: (result: number) => void): void {
    if (this.isDirectory) {
      if (this.layer >= 0 || this.#gone || this.at === null) done(0);
      else this.fs.syncFolder(this.at.inside(), done);
      return;
    }
    if (this.layer >= 0 || this.descriptor < 0) {
      done(0);
      return;
    }
    this.opens++;
    const finish = (error: Error | null): void => {
      this.release();
      if (error) done(hostError(error));
      else this.fs.store.sync(done);
    };
    if (dataOnly) fdatasync(this.descriptor, finish);
    else fsync(this.descriptor, finish);
  }
  view(entry: Dentry): VfsFile {
    let view = this.#view?.deref();
    if (view === undefined) {
      view = new HostView(this, entry);
      this.#view = new WeakRef(view);
    }
    return view;
  }
}

/** Bytes of a host file for mappings; opens the file again when its descriptor was given up. */
class HostView implements VfsFile {
  readonly #inode: HostInode;
  readonly #entry: Dentry;
  constructor(inode: HostInode, entry: Dentry) {
    this.#inode = inode;
    this.#entry = entry;
  }
  get path(): string {
    return this.#entry.path();
  }
  pread(offset: number, length: number): Uint8Array {
    return this.#with((inode) => {
      const bytes = new Uint8Array(Math.max(0, Math.min(length, inode.size() - offset)));
      const count = inode.readAt(bytes, offset);
      return count === bytes.length ? bytes : bytes.subarray(0, Math.max(0, count));
    }, new Uint8Array(0));
  }
  pwrite(offset: number, bytes: Uint8Array): number {
    return this.#with((inode) => inode.writeAt(bytes, offset), -E.IO);
  }
  size(): number {
    return this.#inode.size();
  }
  #with<T>(use: (inode: HostInode) => T, otherwise: T): T {
    const inode = this.#inode;
    if (inode.descriptor >= 0) return use(inode);
    if (inode.acquire(this.#entry, false, false) < 0) return otherwise;
    try {
      return use(inode);
    } finally {
      inode.release();
    }
  }
}

/** FNV-1a, for inode numbers of files that the host does not have. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return value;
}
