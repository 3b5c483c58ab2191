/**
 * A file system over host folders: read-only image layers below, one writable tree above (the root of a cVM), or a single shared
 * folder of the host (a volume). Contents live in host files; owner, mode and what a host cannot hold live in the metadata.
 */
import {
  chmodSync,
  closeSync,
  constants,
  copyFileSync,
  fstatSync,
  fsync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  rmSync,
  statfsSync,
  symlinkSync,
  unlinkSync,
  type BigIntStats,
  type Dirent,
} from "node:fs";
import { basename, join } from "node:path";
import { E } from "../kernel/errno.ts";
import type { CallContext } from "../kernel/types.ts";
import { Limit, S } from "./constants.ts";
import { attempt, hostError, OwnTree, SAFE_OPEN, SharedTree, type HostTree } from "./host.ts";
import { HostInode } from "./host-inode.ts";
import { Layer, type MetadataEntry } from "./layer.ts";
import { MetadataStore, WHITEOUT } from "./metadata.ts";
import { childOf, Dentry, FileSystem, nowNanoseconds, type DirectoryEntry, type Inode, type NewNode, type StatFs } from "./node.ts";

/** Idle host descriptors that one file system keeps for the next open. */
const IDLE_DESCRIPTORS = 64;

/** Inode numbers of files that exist in metadata only end in 255 and are kept there. */
const SPECIAL_NUMBERS = 2 ** 43;

/** Types that exist in metadata only. */
const isSpecial = (mode: number): boolean => {
  const type = mode & S.IFMT;
  return type === S.IFCHR || type === S.IFBLK || type === S.IFIFO || type === S.IFSOCK;
};

const below = (directory: string, name: string): string => (directory === "" ? name : `${directory}/${name}`);

export class OverlayFs extends FileSystem {
  readonly type: string;
  readonly source: string;
  readonly caching: "always" | "checked";
  readonly top: Dentry;
  /** Lowest first. */
  readonly layers: readonly Layer[];
  readonly upper: HostTree;
  readonly store: MetadataStore;
  /** Folder for files that have no name yet; null: none (volumes). */
  readonly work: string | null;
  /** Files with several names, and all open ones of a volume, by the host's inode number. */
  readonly shared: Map<number, WeakRef<HostInode>> = new Map();
  readonly #idle: Set<HostInode> = new Set();
  #temporary = 0;

  private constructor(
    dev: number,
    type: string,
    source: string,
    layers: readonly Layer[],
    upper: HostTree,
    store: MetadataStore,
    work: string | null,
  ) {
    super(dev);
    this.type = type;
    this.source = source;
    this.layers = layers;
    this.upper = upper;
    this.store = store;
    this.work = work;
    this.caching = work === null ? "checked" : "always";
    const host = upper.at("", (path) => lstatSync(path, { bigint: true }));
    const lowers = layers.map((_, index) => index).toReversed();
    let entry = store.get("");
    if (entry === undefined && lowers.length > 0) {
      const layer = layers[lowers[0]!]!;
      const lower = layer.tree.at("", (path) => lstatSync(path));
      entry = layer.metadata.get("") ?? { mode: lower.mode, uid: 0, gid: 0 };
    }
    if (work !== null && entry === undefined) entry = { mode: S.IFDIR | 0o755, uid: 0, gid: 0 };
    const root = new HostInode(this, Number(host.mode) & S.IFMT, -1, host, entry);
    root.lowers = lowers;
    this.top = new Dentry(null, "", root);
    root.at = this.top;
  }

  /** The root file system of a cVM. `folder` gets `root/`, `work/` and `metadata.json(l)`. */
  static root(dev: number, layers: readonly string[], folder: string): OverlayFs {
    mkdirSync(join(folder, "root"), { recursive: true, mode: 0o700 });
    const work = join(folder, "work");
    rmSync(work, { recursive: true, force: true });
    mkdirSync(work, { mode: 0o700 });
    const tree = new OwnTree(join(folder, "root"));
    const store = new MetadataStore(folder, "metadata", (path) => hostNumber(tree, path));
    return new OverlayFs(
      dev,
      "overlay",
      "overlay",
      layers.map((layer) => Layer.open(layer)),
      tree,
      store,
      work,
    );
  }
  /** A folder of the host. Owners and modes that the cVM sets are kept in `metadataFolder` under `name`. */
  static volume(dev: number, source: string, metadataFolder: string, name: string, readOnly: boolean): OverlayFs {
    const tree = new SharedTree(source);
    const store = new MetadataStore(metadataFolder, name, (path) => hostNumber(tree, path));
    const fs = new OverlayFs(dev, "ext4", `/volumes/${basename(tree.folder)}`, [], tree, store, null);
    fs.readOnly = readOnly;
    return fs;
  }

  statfs(): StatFs {
    const host = statfsSync(this.upper.folder);
    const { bsize, blocks, bfree, bavail, files, ffree } = host;
    return { type: this.work === null ? 0xef53 : 0x794c7630, bsize, blocks, bfree, bavail, files, ffree, namelen: Limit.name };
  }
  override sync(done: (result: number) => void): void {
    let left = 1;
    let worst = 0;
    const one = (result: number): void => {
      if (result < 0) worst = result;
      if (--left === 0) done(worst);
    };
    for (const inode of new Set([...this.#idle, ...this.#open]))
      if (inode.layer < 0 && inode.descriptor >= 0) {
        left++;
        inode.sync(false, one);
      }
    this.store.sync(one);
  }
  readonly #open: Set<HostInode> = new Set();

  // ---- descriptors of the host
  opened(inode: HostInode): void {
    this.#idle.delete(inode);
    this.#open.add(inode);
  }
  /** Nobody has the file open any more: its descriptor is kept for a while when nothing else may change the file. */
  closed(inode: HostInode, keep: boolean): void {
    this.#open.delete(inode);
    if (!keep) return;
    this.#idle.add(inode);
    if (this.#idle.size <= IDLE_DESCRIPTORS) return;
    for (const oldest of this.#idle) {
      this.#idle.delete(oldest);
      oldest.closeDescriptor();
      break;
    }
  }
  unpark(inode: HostInode): void {
    this.#idle.delete(inode);
  }
  temporary(): string {
    return join(this.work!, String(++this.#temporary));
  }
  /** Closes host descriptors and the metadata store (end of the cVM). */
  close(): void {
    for (const inode of new Set([...this.#idle, ...this.#open])) inode.closeDescriptor();
    this.store.close();
    if (this.upper instanceof SharedTree) this.upper.close();
  }

  // ---- names
  lookup(directory: Dentry, name: string): HostInode | number {
    const parent = directory.inode as HostInode;
    const path = below(directory.inside(), name);
    if (parent.layer < 0) {
      let entry = this.store.get(path);
      if (entry?.whiteout) return -E.NOENT;
      if (entry && isSpecial(entry.mode)) return new HostInode(this, entry.mode & S.IFMT, -1, null, entry);
      const host = lstatOf(this.upper, path);
      if (typeof host !== "number") {
        if (entry && entry.hostInode !== undefined && entry.hostInode !== Number(host.ino)) entry = undefined;
        return this.#fromUpper(path, host, entry, parent, directory.children?.get(name) ?? null);
      }
      if (host !== -E.NOENT) return host;
    }
    return this.#fromLayers(path, parent.lowers);
  }
  #fromUpper(path: string, host: BigIntStats, entry: MetadataEntry | undefined, parent: HostInode, known: Dentry | null): HostInode {
    const type = Number(host.mode) & S.IFMT;
    const number = Number(host.ino);
    if (type === S.IFDIR) {
      const before = known?.inode as HostInode | undefined;
      if (before && before.type === type && before.hostNumber === number) return before.refreshed(host);
      const inode = new HostInode(this, type, -1, host, entry);
      if (!entry?.opaque && parent.lowers.length > 0) inode.lowers = this.#directoriesBelow(path, parent.lowers);
      return inode;
    }
    const before = this.shared.get(number)?.deref();
    if (before && before.type === type) return before.refreshed(host);
    const inode = new HostInode(this, type, -1, host, this.store.attributes(number) ?? entry);
    if (host.nlink > 1n || this.caching === "checked") this.share(number, inode);
    return inode;
  }
  share(number: number, inode: HostInode): void {
    if (this.shared.size > 4096) for (const [key, ref] of this.shared) if (ref.deref() === undefined) this.shared.delete(key);
    this.shared.set(number, new WeakRef(inode));
  }
  /** What the layers `candidates` (uppermost first) have at a path. */
  #fromLayers(path: string, candidates: readonly number[]): HostInode | number {
    for (let i = 0; i < candidates.length; i++) {
      const index = candidates[i]!;
      const layer = this.layers[index]!;
      const entry = layer.metadata.get(path);
      if (entry?.whiteout) return -E.NOENT;
      if (entry && isSpecial(entry.mode)) return new HostInode(this, entry.mode & S.IFMT, index, null, entry);
      const host = lstatOf(layer.tree, path);
      if (typeof host === "number") {
        if (host !== -E.NOENT && host !== -E.NOTDIR) return host;
        continue;
      }
      const inode = new HostInode(this, Number(host.mode) & S.IFMT, index, host, entry);
      if (inode.isDirectory) inode.lowers = entry?.opaque ? [index] : [index, ...this.#directoriesBelow(path, candidates.slice(i + 1))];
      return inode;
    }
    return -E.NOENT;
  }
  #directoriesBelow(path: string, candidates: readonly number[]): number[] {
    const found: number[] = [];
    for (const index of candidates) {
      const layer = this.layers[index]!;
      const entry = layer.metadata.get(path);
      if (entry && (entry.whiteout || isSpecial(entry.mode))) break;
      const host = lstatOf(layer.tree, path);
      if (typeof host === "number") continue;
      if (!host.isDirectory()) break;
      found.push(index);
      if (entry?.opaque) break;
    }
    return found;
  }
  list(directory: Dentry): DirectoryEntry[] | number {
    const inode = directory.inode as HostInode;
    const path = directory.inside();
    const found: Map<string, DirectoryEntry> = new Map();
    const hidden: Set<string> = new Set();
    const add = (name: string, type: number): void => {
      if (!hidden.has(name) && !found.has(name)) found.set(name, { name, type, ino: 0 });
    };
    if (inode.layer < 0) {
      for (const [name, entry] of this.store.children(path)) {
        if (entry.whiteout) hidden.add(name);
        else if (isSpecial(entry.mode)) add(name, entry.mode & S.IFMT);
      }
      const entries = attempt(() => this.upper.at(path, (host) => readdirSync(host, { withFileTypes: true })));
      if (typeof entries === "number") return entries;
      for (const entry of entries) add(entry.name, direntType(entry));
    }
    for (const index of inode.lowers) {
      const layer = this.layers[index]!;
      const hides: string[] = [];
      for (const [name, entry] of layer.metadata.children(path)) {
        if (entry.whiteout) hides.push(name);
        else if (isSpecial(entry.mode)) add(name, entry.mode & S.IFMT);
      }
      const entries = attempt(() => layer.tree.at(path, (host) => readdirSync(host, { withFileTypes: true })));
      if (typeof entries !== "number") for (const entry of entries) add(entry.name, direntType(entry));
      for (const name of hides) hidden.add(name);
    }
    return [...found.values()];
  }
  /** Whether a layer below would show `name` if nothing above hid it. */
  #shownBelow(directory: Dentry, name: string): boolean {
    const inode = directory.inode as HostInode;
    return inode.lowers.length > 0 && typeof this.#fromLayers(below(directory.inside(), name), inode.lowers) !== "number";
  }

  // ---- changes
  make(directory: Dentry, name: string, node: NewNode): HostInode | number {
    const parent = directory.inode as HostInode;
    const failed = parent.writable(directory);
    if (failed < 0) return failed;
    const path = below(directory.inside(), name);
    const type = node.mode & S.IFMT;
    const now = nowNanoseconds().toString();
    let entry: MetadataEntry = { mode: node.mode, uid: node.uid, gid: node.gid };
    if (isSpecial(node.mode)) {
      entry = {
        ...entry,
        rdev: node.rdev,
        ino: Math.floor(Math.random() * SPECIAL_NUMBERS) * 256 + 255,
        ctime: now,
        times: { atime: now, mtime: now, host: "0" },
      };
      this.store.set(path, entry);
      parent.changed(directory, true);
      return new HostInode(this, type, -1, null, entry);
    }
    let descriptor = -1;
    const create = (host: string): BigIntStats => {
      if (type === S.IFDIR) mkdirSync(host, { mode: this.#hostMode(node.mode) });
      else if (type === S.IFLNK) symlinkSync(node.target!, host);
      else {
        descriptor = openSync(host, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | SAFE_OPEN, this.#hostMode(node.mode));
        return fstatSync(descriptor, { bigint: true });
      }
      return lstatSync(host, { bigint: true });
    };
    let host = attempt(() => this.upper.at(path, create));
    if (host === -E.EXIST && this.work !== null) {
      // Hidden by the metadata: left over by a crash between two steps.
      this.upper.at(path, (old) => rmSync(old, { recursive: true, force: true }));
      host = attempt(() => this.upper.at(path, create));
    }
    if (typeof host === "number") return host;
    const number = Number(host.ino);
    this.store.setAttributes(number, null);
    if (type === S.IFDIR && this.#shownBelow(directory, name)) entry = { ...entry, opaque: true };
    if (this.caching === "checked") entry = { ...entry, hostInode: number };
    this.store.set(path, entry);
    parent.changed(directory, false);
    const inode = new HostInode(this, type, -1, host, entry);
    if (this.caching === "checked" && type !== S.IFDIR) this.share(number, inode);
    if (descriptor >= 0) inode.adoptDescriptor(descriptor);
    return inode;
  }
  makeUnnamed(node: NewNode): HostInode | number {
    if (this.readOnly) return -E.ROFS;
    if (this.work === null) return -E.OPNOTSUPP;
    const path = this.temporary();
    return attempt(() => {
      const descriptor = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | SAFE_OPEN, 0o600);
      const inode = new HostInode(this, S.IFREG, -1, fstatSync(descriptor, { bigint: true }), {
        mode: node.mode,
        uid: node.uid,
        gid: node.gid,
      });
      inode.unnamed = path;
      inode.adoptDescriptor(descriptor);
      return inode;
    });
  }
  link(directory: Dentry, name: string, source: Dentry): number {
    const parent = directory.inode as HostInode;
    const inode = source.inode as HostInode;
    if (inode.isDirectory) return -E.PERM;
    let failed = inode.unnamed === null ? inode.copyUp(source, false) : 0;
    if (failed === 0) failed = parent.writable(directory);
    if (failed < 0) return failed;
    const path = below(directory.inside(), name);
    if (inode.isSpecial) {
      this.store.set(path, inode.entry!);
      parent.changed(directory, true);
      return 0;
    }
    const linked = attempt(() =>
      this.upper.at(path, (to) =>
        inode.unnamed !== null ? linkSync(inode.unnamed, to) : this.upper.at(source.inside(), (from) => linkSync(from, to)),
      ),
    );
    if (typeof linked === "number") return linked;
    const entry = inode.asEntry();
    if (inode.unnamed !== null) {
      const unnamed = inode.unnamed;
      inode.unnamed = null;
      attempt(() => unlinkSync(unnamed));
    } else {
      this.store.setAttributes(inode.hostNumber, entry);
      this.share(inode.hostNumber, inode);
    }
    this.store.set(path, entry);
    inode.forgetStat();
    parent.changed(directory, false);
    return 0;
  }
  /** unlink and rmdir. */
  remove(directory: Dentry, child: Dentry): number {
    const parent = directory.inode as HostInode;
    const inode = child.inode as HostInode;
    const failed = parent.writable(directory);
    if (failed < 0) return failed;
    const path = below(directory.inside(), child.name);
    inode.keepBeforeUnlink(child);
    const hide = this.#shownBelow(directory, child.name);
    if (hide) this.store.set(path, WHITEOUT);
    if (inode.layer < 0 && !inode.isSpecial) {
      const removed = attempt(() => this.upper.at(path, (host) => (inode.isDirectory ? this.#removeDirectory(host) : unlinkSync(host))));
      if (typeof removed === "number" && removed !== -E.NOENT) {
        if (hide) this.store.set(path, inode.asEntry());
        return removed;
      }
    }
    if (!hide && this.store.get(path) !== undefined) this.store.remove(path);
    inode.unlinked();
    parent.changed(directory, hide);
    return 0;
  }
  #removeDirectory(host: string): void {
    try {
      rmdirSync(host);
    } catch (error) {
      // The cVM sees an empty directory; what is left is hidden by whiteouts.
      if (this.work === null || hostError(error) !== -E.NOTEMPTY) throw error;
      rmSync(host, { recursive: true });
    }
  }
  rename(directory: Dentry, child: Dentry, toDirectory: Dentry, name: string, existing: Dentry | null, exchange: boolean): number {
    const parent = directory.inode as HostInode;
    const toParent = toDirectory.inode as HostInode;
    const inode = child.inode as HostInode;
    let failed = parent.writable(directory);
    if (failed === 0) failed = toParent.writable(toDirectory);
    if (failed === 0) failed = this.#copyUpWhole(child);
    if (failed === 0 && exchange && existing) failed = this.#copyUpWhole(existing);
    if (failed < 0) return failed;
    const from = below(directory.inside(), child.name);
    const to = below(toDirectory.inside(), name);
    if (exchange) return this.#exchange(child, from, existing!, to, directory, toDirectory);
    const target = existing?.inode as HostInode | undefined;
    if (target) target.keepBeforeUnlink(existing!);
    const hide = this.#shownBelow(directory, child.name);
    const opaque = inode.isDirectory && this.#shownBelow(toDirectory, name);
    this.store.rename(from, to, inode.isSpecial ? 0 : inode.hostNumber, hide);
    if (!inode.isSpecial) {
      const moved = attempt(() =>
        this.upper.at(from, (a) =>
          this.upper.at(to, (b) => {
            if (target?.isDirectory && target.layer < 0) attempt(() => this.#removeDirectory(b));
            renameSync(a, b);
          }),
        ),
      );
      if (typeof moved === "number") {
        this.store.rename(to, from, inode.hostNumber, false);
        if (target) this.store.set(to, target.asEntry());
        return moved;
      }
    } else if (target && !target.isSpecial && target.layer < 0) attempt(() => this.upper.at(to, (host) => unlinkSync(host)));
    const entry = this.store.get(to);
    if (opaque && !entry?.opaque) this.store.set(to, (inode.entry = { ...inode.asEntry(), opaque: true }));
    else if (entry === undefined || entry.whiteout) this.store.set(to, inode.asEntry());
    target?.unlinked();
    inode.forgetStat();
    parent.changed(directory, hide);
    if (toParent !== parent) toParent.changed(toDirectory, false);
    return 0;
  }
  /** Three renames of the host: not atomic when the host's process dies in between. */
  #exchange(child: Dentry, from: string, existing: Dentry, to: string, directory: Dentry, toDirectory: Dentry): number {
    const one = child.inode as HostInode;
    const other = existing.inode as HostInode;
    const middle = this.work === null ? `${from}.cvm-exchange` : null;
    const aside = <T>(use: (path: string) => T): T => (middle === null ? use(this.temporary()) : this.upper.at(middle, use));
    const moved = attempt(() =>
      this.upper.at(from, (a) =>
        this.upper.at(to, (b) =>
          aside((c) => {
            if (!one.isSpecial) renameSync(a, c);
            if (!other.isSpecial) renameSync(b, a);
            if (!one.isSpecial) renameSync(c, b);
          }),
        ),
      ),
    );
    if (typeof moved === "number") return moved;
    const oneEntry = one.asEntry();
    const otherEntry = other.asEntry();
    this.store.swap(from, to);
    this.store.set(to, one.isDirectory && this.#shownBelow(toDirectory, existing.name) ? { ...oneEntry, opaque: true } : oneEntry);
    this.store.set(from, other.isDirectory && this.#shownBelow(directory, child.name) ? { ...otherEntry, opaque: true } : otherEntry);
    one.forgetStat();
    other.forgetStat();
    (directory.inode as HostInode).changed(directory, false);
    (toDirectory.inode as HostInode).changed(toDirectory, false);
    return 0;
  }
  /** Copies up a file, or a directory with all that is below: it then moves as one. */
  #copyUpWhole(entry: Dentry): number {
    const inode = entry.inode as HostInode;
    const failed = inode.copyUp(entry, false);
    if (failed < 0 || !inode.isDirectory || inode.lowers.length === 0) return failed;
    const names = this.list(entry);
    if (typeof names === "number") return names;
    for (const { name } of names) {
      const child = childOf(entry, name, null);
      if (typeof child === "number") return child;
      const result = this.#copyUpWhole(child);
      if (result < 0) return result;
    }
    inode.lowers = [];
    inode.entry = { ...inode.asEntry(), opaque: true };
    this.store.set(entry.inside(), inode.entry);
    return 0;
  }
  /** Copies a file of a layer into the writable tree, under the same path. The parent is there already. */
  copyFile(inode: HostInode, path: string, discard: boolean): number {
    const layer = this.layers[inode.layer]!;
    let entry = inode.asEntry();
    const result = attempt(() => {
      if (inode.isSpecial) this.store.set(path, entry);
      else if (inode.isDirectory) {
        this.store.set(path, entry);
        attempt(() => this.upper.at(path, (host) => mkdirSync(host, { mode: 0o700 })));
      } else if (inode.type === S.IFLNK) {
        const target = layer.tree.at(path, (host) => readlinkSync(host));
        this.store.set(path, entry);
        this.upper.at(path, (host) => symlinkSync(target, host));
      } else {
        const temporary = this.temporary();
        const stat = layer.tree.at(path, (host) => {
          if (discard) closeSync(openSync(temporary, "wx", 0o600));
          else copyFileSync(host, temporary, constants.COPYFILE_FICLONE);
          return lstatSync(host, { bigint: true });
        });
        chmodSync(temporary, 0o600);
        lutimesSync(temporary, Number(stat.atimeMs) / 1000, Number(stat.mtimeMs) / 1000);
        const host = lstatSync(temporary, { bigint: true });
        entry = { ...entry, times: { atime: stat.atimeNs.toString(), mtime: stat.mtimeNs.toString(), host: host.mtimeNs.toString() } };
        this.store.setAttributes(Number(host.ino), null);
        this.store.set(path, entry);
        this.upper.at(path, (to) => renameSync(temporary, to));
      }
      inode.entry = entry;
    });
    return typeof result === "number" ? result : 0;
  }
  /** Permission of a host file: the cVM's are in the metadata; a volume shows them to the host too, never setuid or setgid. */
  #hostMode(mode: number): number {
    const owner = (mode & S.IFMT) === S.IFDIR ? 0o700 : 0o600;
    return this.work === null ? (mode & 0o777) | owner : owner;
  }
  syncFolder(path: string, done: (result: number) => void): void {
    const descriptor = attempt(() =>
      this.upper.at(path, (host) => openSync(host, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)),
    );
    if (descriptor < 0) {
      done(descriptor);
      return;
    }
    fsync(descriptor, (error) => {
      closeSync(descriptor);
      if (error) done(hostError(error));
      else this.store.sync(done);
    });
  }
}

export function lstatOf(tree: HostTree, path: string): BigIntStats | number {
  return attempt(() => tree.at(path, (host) => lstatSync(host, { bigint: true, throwIfNoEntry: false }))) ?? -E.NOENT;
}

function hostNumber(tree: HostTree, path: string): number {
  const host = lstatOf(tree, path);
  return typeof host === "number" ? 0 : Number(host.ino);
}

function direntType(entry: Dirent): number {
  if (entry.isFile()) return S.IFREG;
  if (entry.isDirectory()) return S.IFDIR;
  if (entry.isSymbolicLink()) return S.IFLNK;
  if (entry.isFIFO()) return S.IFIFO;
  if (entry.isSocket()) return S.IFSOCK;
  return entry.isBlockDevice() ? S.IFBLK : S.IFCHR;
}

export type { CallContext, Inode };
