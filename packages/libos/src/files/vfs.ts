/** The mounted tree of one cVM: path resolution (path_resolution(7)) and what changes names. */
import { encodeText } from "@cvm/monitor/abi";
import { E } from "../kernel/errno.ts";
import type { CallContext, FsContext, OpenFile, Stat, Vfs, VfsFile } from "../kernel/types.ts";
import { Access, Limit, O, Rename, S, TMPFILE_BIT } from "./constants.ts";
import { openDevice } from "./devices.ts";
import { childOf, Dentry, permission, pruneCount, stickyAllows, type FileSystem, type Inode } from "./node.ts";
import { BaseFile, canWrite, DirectoryFile, PathFile, RegularFile, retain } from "./open-file.ts";
import { fifoOf, PipeFile } from "./pipe.ts";
import { Terminals } from "./tty.ts";

/** Where a path leads: the directory of its last component, that component, and what is there (null: nothing). */
export interface Place {
  readonly parent: Dentry;
  /** "" for `/`, `.` and what a link of /proc leads to. */
  readonly name: string;
  readonly entry: Dentry | null;
  /** Set instead of `entry` when the path ends at a link of /proc to an open file without a name. */
  readonly file: OpenFile | null;
  /** The path ended in a slash. */
  readonly slash: boolean;
}

/** One line of /proc/mounts. */
export interface Mount {
  readonly fs: FileSystem;
  readonly root: Dentry;
  readonly target: string;
  readonly options: string;
}

const IN_CREATE = 0x100;
const IN_DELETE = 0x200;
const IN_MOVED_FROM = 0x40;
const IN_MOVED_TO = 0x80;
const IN_DELETE_SELF = 0x400;
const IN_MOVE_SELF = 0x800;
const IN_OPEN = 0x20;
const IN_ISDIR = 0x40000000;

/** Counts renames (inotify cookies) and files without a name. */
let renames = 0;

export class VirtualFiles implements Vfs {
  readonly root: Dentry;
  readonly mounts: Mount[] = [];
  readonly terminals: Terminals = new Terminals();
  /** Last result for a working directory, while it is still the same one. */
  readonly #directories: WeakMap<FsContext, { readonly path: string; readonly entry: Dentry; readonly prunes: number }> = new WeakMap();

  constructor(root: FileSystem) {
    this.root = root.top;
    this.mounts.push({ fs: root, root: root.top, target: "/", options: "rw,relatime" });
  }

  /** Mounts `fs` at an existing path of the tree (directory on directory, file on file). */
  mount(target: string, fs: FileSystem, root: Dentry = fs.top, options: string = fs.readOnly ? "ro,relatime" : "rw,relatime"): void {
    const place = this.walk(this.root, target, true, null);
    if (typeof place === "number" || place.entry === null)
      throw new Error(`[mount-target] ${target}: ${typeof place === "number" ? `error ${-place}` : "does not exist"}`);
    if (place.entry.inode.isDirectory !== root.inode.isDirectory)
      throw new Error(`[mount-target] ${target}: a directory and a file do not cover each other`);
    let at = place.entry;
    while (at.mounted !== null) at = at.mounted;
    at.mounted = root;
    root.covers = at;
    this.mounts.push({ fs, root, target: place.entry.path(), options });
  }

  // ---- resolution
  rootOf(context: CallContext | null): Dentry {
    const path = context?.process.fs.root ?? "/";
    if (path === "/") return this.root;
    const place = this.walk(this.root, path, true, null);
    return typeof place === "number" || place.entry === null ? this.root : place.entry;
  }
  /** The directory that a process's relative paths start from, or -ENOENT. */
  workingDirectory(context: CallContext): Dentry | number {
    const { fs } = context.process;
    const known = this.#directories.get(fs);
    if (known !== undefined && known.path === fs.cwd && known.prunes === pruneCount()) return known.entry;
    const place = this.walk(this.root, fs.cwd, true, null);
    if (typeof place === "number") return place;
    if (place.entry === null) return -E.NOENT;
    this.#directories.set(fs, { path: fs.cwd, entry: place.entry, prunes: pruneCount() });
    return place.entry;
  }
  setWorkingDirectory(context: CallContext, entry: Dentry): void {
    const { fs } = context.process;
    fs.cwd = entry.path();
    this.#directories.set(fs, { path: fs.cwd, entry, prunes: pruneCount() });
  }
  #base(directory: string, context: CallContext): Dentry | number {
    if (directory === context.process.fs.cwd) return this.workingDirectory(context);
    const place = this.walk(this.root, directory, true, null);
    if (typeof place === "number") return place;
    return place.entry ?? -E.NOENT;
  }

  /**
   * Follows a path component by component.
   * Errors: -ENOENT (empty, missing directory), -ENAMETOOLONG, -ENOTDIR, -EACCES (no search permission; not checked without `context`), -ELOOP.
   */
  walk(base: Dentry, path: string, followLast: boolean, context: CallContext | null): Place | number {
    if (path === "") return -E.NOENT;
    if (path.length >= Limit.path) return -E.NAMETOOLONG;
    const root = this.rootOf(context);
    let current = path.charCodeAt(0) === 47 ? root : base;
    let parts = path.split("/");
    let index = 0;
    let links = 0;
    let slash = path.endsWith("/");
    let parent = current;
    let name = "";
    for (;;) {
      while (index < parts.length && (parts[index] === "" || parts[index] === ".")) {
        if (parts[index] === "." && !current.inode.isDirectory) return -E.NOTDIR;
        if (parts[index] === "." && index === parts.length - 1) name = "";
        index++;
      }
      if (index >= parts.length) {
        if (slash && !current.inode.isDirectory) return -E.NOTDIR;
        return { parent, name, entry: current, file: null, slash };
      }
      const part = parts[index++]!;
      const inode = current.inode;
      if (!inode.isDirectory) return -E.NOTDIR;
      if (context !== null) {
        const denied = permission(inode.ownership(), Access.EXECUTE, context.process.credentials);
        if (denied < 0) return denied;
      }
      if (part === "..") {
        if (current !== root) {
          while (current.parent === null && current.covers !== null) current = current.covers;
          current = current.parent ?? current;
          while (current.mounted !== null) current = current.mounted;
        }
        parent = current;
        name = "";
        continue;
      }
      if (part.length > Limit.name / 4 && encodeText(part).length > Limit.name) return -E.NAMETOOLONG;
      let last = true;
      for (let i = index; i < parts.length; i++)
        if (parts[i] !== "") {
          last = false;
          break;
        }
      if (current.dead && current.parent !== null) return -E.NOENT;
      let child = childOf(current, part, context);
      if (typeof child === "number") {
        if (child === -E.NOENT && last) return { parent: current, name: part, entry: null, file: null, slash };
        return child;
      }
      if (child.inode.type === S.IFLNK && (!last || followLast || slash)) {
        if (++links > Limit.links) return -E.LOOP;
        if (context !== null) {
          const target = child.inode.follow(context);
          if (target !== null) {
            if (typeof target === "number") return target;
            if (!(target instanceof Dentry)) {
              if (!last || slash) return -E.NOTDIR;
              return { parent: current, name: part, entry: null, file: target, slash: false };
            }
            parent = current;
            current = target;
            name = "";
            continue;
          }
        }
        const target = child.inode.readlink(context);
        if (typeof target === "number") return target;
        if (target === "") return -E.NOENT;
        const rest = parts.slice(index);
        parts = target.split("/");
        if (last && target.endsWith("/")) slash = true;
        parts.push(...rest);
        index = 0;
        if (target.charCodeAt(0) === 47) current = root;
        parent = current;
        name = "";
        continue;
      }
      while (child.mounted !== null) child = child.mounted;
      parent = current;
      name = part;
      current = child;
    }
  }
  /** The existing file a path leads to. */
  find(base: Dentry, path: string, followLast: boolean, context: CallContext): Dentry | number {
    const place = this.walk(base, path, followLast, context);
    if (typeof place === "number") return place;
    if (place.entry !== null) return place.entry;
    if (place.file instanceof BaseFile && place.file.entry !== null) return place.file.entry;
    return -E.NOENT;
  }

  // ---- Vfs
  open(path: string, directory: string, flags: number, mode: number, context: CallContext): OpenFile | number {
    const base = this.#base(directory, context);
    return typeof base === "number" ? base : this.openAt(base, path, flags, mode, context);
  }
  executable(path: string, directory: string, context: CallContext): { readonly file: VfsFile; readonly path: string } | number {
    const base = this.#base(directory, context);
    if (typeof base === "number") return base;
    const entry = this.find(base, path, true, context);
    if (typeof entry === "number") return entry;
    const content = entry.inode.content();
    if (content === null) return -E.ACCES;
    const denied = permission(entry.inode.ownership(), Access.EXECUTE, context.process.credentials);
    return denied < 0 ? denied : { file: content.view(entry), path: entry.path() };
  }
  resolve(path: string, directory: string, followLast: boolean, context: CallContext): string | number {
    const base = this.#base(directory, context);
    if (typeof base === "number") return base;
    const entry = this.find(base, path, followLast, context);
    return typeof entry === "number" ? entry : entry.path();
  }
  stat(path: string, directory: string, followLast: boolean, context: CallContext): Stat | number {
    const base = this.#base(directory, context);
    return typeof base === "number" ? base : this.statAt(base, path, followLast, context);
  }
  sessionEnded(session: number, signal: (group: number, signal: number) => void): void {
    this.terminals.sessionEnded(session, signal);
  }
  hasTerminal(context: CallContext): boolean {
    return this.terminals.controlling(context) !== null;
  }
  /** mknod(2) for other families: bind() of a Unix socket makes an S_IFSOCK node. */
  mknod(path: string, directory: string, mode: number, rdev: number, context: CallContext): number {
    const base = this.#base(directory, context);
    return typeof base === "number" ? base : this.makeAt(base, path, mode, rdev, context);
  }
  statAt(base: Dentry, path: string, followLast: boolean, context: CallContext): Stat | number {
    const place = this.walk(base, path, followLast, context);
    if (typeof place === "number") return place;
    if (place.entry !== null) return place.entry.inode.stat();
    return place.file !== null ? place.file.stat() : -E.NOENT;
  }

  // ---- opening
  /** openat(2) from a directory of the tree. Errors in open(2)'s order. */
  openAt(base: Dentry, path: string, requested: number, mode: number, context: CallContext): OpenFile | number {
    let flags = requested;
    if ((flags & O.PATH) !== 0) flags &= O.PATH | O.DIRECTORY | O.NOFOLLOW | O.CLOEXEC;
    const unnamed = (flags & TMPFILE_BIT) !== 0;
    if (unnamed && ((flags & O.DIRECTORY) === 0 || !canWrite(flags))) return -E.INVAL;
    const create = (flags & O.CREAT) !== 0;
    if (create && (flags & O.DIRECTORY) !== 0 && !unnamed) return -E.INVAL;
    const follow = (flags & O.NOFOLLOW) === 0 && !(create && (flags & O.EXCL) !== 0);
    const place = this.walk(base, path, follow, context);
    if (typeof place === "number") return place;
    if (place.file !== null) return this.#reopen(place.file, flags, context);
    if (place.entry === null) {
      if (!create) return -E.NOENT;
      if (place.slash) return -E.ISDIR;
      const made = this.#make(place.parent, place.name, S.IFREG | (mode & 0o7777 & ~context.process.fs.umask), 0, undefined, context);
      return typeof made === "number" ? made : this.#openEntry(made, flags & ~O.TRUNC, context);
    }
    const { entry } = place;
    if (create) {
      if ((flags & O.EXCL) !== 0) return -E.EXIST;
      if (place.slash || entry.inode.isDirectory) return -E.ISDIR;
    }
    if (unnamed) return this.#openUnnamed(entry, flags, mode, context);
    return this.openEntry(entry, flags, context);
  }
  /** Opens an existing file with all checks. */
  openEntry(entry: Dentry, flags: number, context: CallContext): OpenFile | number {
    const { inode } = entry;
    if ((flags & O.DIRECTORY) !== 0 && !inode.isDirectory) return -E.NOTDIR;
    if (inode.type === S.IFLNK && (flags & O.PATH) === 0) return -E.LOOP;
    if ((flags & O.PATH) !== 0) return new PathFile(flags, entry);
    const write = canWrite(flags) || (flags & O.TRUNC) !== 0;
    if (inode.isDirectory && write) return -E.ISDIR;
    const access = flags & O.ACCMODE;
    const wanted = (access === O.WRONLY ? 0 : Access.READ) | (write ? Access.WRITE : 0);
    const owner = inode.ownership();
    const denied = permission(owner, wanted, context.process.credentials);
    if (denied < 0) return denied;
    if (write && inode.type === S.IFREG && inode.fs.readOnly) return -E.ROFS;
    if ((flags & O.NOATIME) !== 0 && context.process.credentials.fsuid !== 0 && context.process.credentials.fsuid !== owner.uid)
      return -E.PERM;
    return this.#openEntry(entry, flags, context);
  }
  #openEntry(entry: Dentry, flags: number, context: CallContext): OpenFile | number {
    const { inode } = entry;
    if (inode.watchers !== null) inode.notify(IN_OPEN, 0, "");
    const special = inode.open(entry, flags, context);
    if (special !== null) return special;
    switch (inode.type) {
      case S.IFDIR:
        return new DirectoryFile(flags, entry, context);
      case S.IFREG:
        return RegularFile.open(entry, flags);
      case S.IFIFO:
        return new PipeFile(fifoOf(inode), flags, entry);
      case S.IFCHR:
      case S.IFBLK:
        return openDevice(entry, flags, context);
      default:
        return -E.NXIO;
    }
  }
  #openUnnamed(directory: Dentry, flags: number, mode: number, context: CallContext): OpenFile | number {
    if (!directory.inode.isDirectory) return -E.NOTDIR;
    const { credentials } = context.process;
    const denied = permission(directory.inode.ownership(), Access.WRITE | Access.EXECUTE, credentials);
    if (denied < 0) return denied;
    const inode = directory.inode.makeUnnamed(directory, {
      mode: S.IFREG | (mode & 0o7777 & ~context.process.fs.umask),
      uid: credentials.fsuid,
      gid: credentials.fsgid,
      rdev: 0,
    });
    if (typeof inode === "number") return inode;
    inode.linkable = (flags & O.EXCL) === 0;
    const entry = new Dentry(directory, `#${++renames}`, inode);
    entry.dead = true;
    return RegularFile.open(entry, flags & ~(TMPFILE_BIT | O.DIRECTORY));
  }
  /** Opens what /proc/self/fd/N leads to once more. */
  #reopen(file: OpenFile, flags: number, context: CallContext): OpenFile | number {
    if ((flags & O.DIRECTORY) !== 0) return -E.NOTDIR;
    if (file instanceof PipeFile) return new PipeFile(file.pipe, flags, file.entry);
    if (file instanceof RegularFile) return RegularFile.open(file.entry, flags, file.kind);
    if (file instanceof BaseFile && file.entry !== null) return this.openEntry(file.entry, flags, context);
    return file.kind === "socket" || file.kind === "epoll" || file.kind === "pidfd" ? -E.NXIO : retain(file);
  }

  // ---- changing names
  /** mkdirat, mknodat, symlinkat: -EEXIST, -ENOENT, -EACCES, -EROFS. */
  makeAt(base: Dentry, path: string, mode: number, rdev: number, context: CallContext, target?: string): number {
    const place = this.walk(base, path, false, context);
    if (typeof place === "number") return place;
    if (place.entry !== null || place.file !== null) return -E.EXIST;
    const type = mode & S.IFMT;
    if (place.slash && type !== S.IFDIR) return -E.NOENT;
    const masked = type === S.IFLNK ? S.IFLNK | 0o777 : mode & ~context.process.fs.umask;
    const made = this.#make(place.parent, place.name, masked, rdev, target, context);
    return typeof made === "number" ? made : 0;
  }
  #make(parent: Dentry, name: string, mode: number, rdev: number, target: string | undefined, context: CallContext): Dentry | number {
    const { credentials } = context.process;
    if (parent.dead) return -E.NOENT;
    const owner = parent.inode.ownership();
    if (parent.inode.fs.readOnly) return -E.ROFS;
    const denied = permission(owner, Access.WRITE | Access.EXECUTE, credentials);
    if (denied < 0) return denied;
    const inherits = (owner.mode & S.ISGID) !== 0;
    const setgid = inherits && (mode & S.IFMT) === S.IFDIR ? S.ISGID : 0;
    const inode = parent.inode.make(parent, name, {
      mode: mode | setgid,
      uid: credentials.fsuid,
      gid: inherits ? owner.gid : credentials.fsgid,
      rdev,
      ...(target === undefined ? {} : { target }),
    });
    if (typeof inode === "number") return inode;
    const entry = new Dentry(parent, name, inode);
    parent.adopt(entry, name);
    parent.inode.notify(IN_CREATE | (inode.isDirectory ? IN_ISDIR : 0), 0, name);
    return entry;
  }
  /** Whether the caller may take `child` out of its directory. */
  #mayDelete(parent: Dentry, child: Dentry, context: CallContext): number {
    const { credentials } = context.process;
    if (parent.inode.fs.readOnly) return -E.ROFS;
    const owner = parent.inode.ownership();
    const denied = permission(owner, Access.WRITE | Access.EXECUTE, credentials);
    if (denied < 0) return denied;
    if (!stickyAllows(owner, child.inode.ownership(), credentials)) return -E.PERM;
    return child.covers !== null || child.mounted !== null ? -E.BUSY : 0;
  }
  /** unlinkat(2). */
  unlinkAt(base: Dentry, path: string, directory: boolean, context: CallContext): number {
    const place = this.walk(base, path, false, context);
    if (typeof place === "number") return place;
    const { parent, entry, name } = place;
    if (place.file !== null) return -E.PERM;
    if (entry === null) return -E.NOENT;
    if (name === "")
      return directory ? (/(^|\/)\.\.\/*$/.test(path) ? -E.NOTEMPTY : path.replace(/\/+$/, "") === "" ? -E.BUSY : -E.INVAL) : -E.ISDIR;
    const denied = this.#mayDelete(parent, entry, context);
    if (denied < 0) return denied;
    if (directory) {
      if (!entry.inode.isDirectory) return -E.NOTDIR;
      const listed = entry.inode.list(entry, context);
      if (typeof listed === "number") return listed;
      if (listed.length > 0) return -E.NOTEMPTY;
    } else if (entry.inode.isDirectory) return -E.ISDIR;
    else if (place.slash) return -E.NOTDIR;
    const result = directory ? parent.inode.rmdir(parent, entry) : parent.inode.unlink(parent, entry);
    if (result < 0) return result;
    parent.forget(name);
    entry.dead = true;
    parent.inode.notify(IN_DELETE | (directory ? IN_ISDIR : 0), 0, name);
    entry.inode.notify(IN_DELETE_SELF, 0, "");
    return 0;
  }
  /** linkat(2) for a file that was found already. */
  linkAt(found: Dentry, base: Dentry, path: string, context: CallContext): number {
    const place = this.walk(base, path, false, context);
    if (typeof place === "number") return place;
    if (place.entry !== null || place.file !== null) return -E.EXIST;
    if (place.slash) return -E.NOENT;
    const { parent, name } = place;
    const { at } = found.inode;
    const source = found.dead && at !== null && !at.dead ? at : found;
    const stat = source.inode.stat();
    if (typeof stat !== "number" && stat.nlink === 0 && !source.inode.linkable) return -E.NOENT;
    if (source.inode.isDirectory) return -E.PERM;
    if (source.inode.fs !== parent.inode.fs) return -E.XDEV;
    if (parent.inode.fs.readOnly) return -E.ROFS;
    const denied = permission(parent.inode.ownership(), Access.WRITE | Access.EXECUTE, context.process.credentials);
    if (denied < 0) return denied;
    const result = parent.inode.link(parent, name, source);
    if (result < 0) return result;
    parent.adopt(new Dentry(parent, name, source.inode), name);
    parent.inode.notify(IN_CREATE, 0, name);
    return 0;
  }
  /** renameat2(2). */
  renameAt(fromBase: Dentry, fromPath: string, toBase: Dentry, toPath: string, flags: number, context: CallContext): number {
    if ((flags & ~(Rename.NOREPLACE | Rename.EXCHANGE | Rename.WHITEOUT)) !== 0) return -E.INVAL;
    if ((flags & Rename.EXCHANGE) !== 0 && flags !== Rename.EXCHANGE) return -E.INVAL;
    if ((flags & Rename.WHITEOUT) !== 0 && context.process.credentials.euid !== 0) return -E.PERM;
    const from = this.walk(fromBase, fromPath, false, context);
    if (typeof from === "number") return from;
    const to = this.walk(toBase, toPath, false, context);
    if (typeof to === "number") return to;
    const child = from.entry;
    const existing = to.entry;
    if (child === null) return -E.NOENT;
    if (from.name === "" || (existing !== null && to.name === "")) return -E.BUSY;
    const exchange = (flags & Rename.EXCHANGE) !== 0;
    if (existing !== null && (flags & Rename.NOREPLACE) !== 0) return -E.EXIST;
    if (existing === null && exchange) return -E.NOENT;
    if (from.parent.inode.fs !== to.parent.inode.fs || child.inode.fs !== from.parent.inode.fs)
      return child.covers !== null ? -E.BUSY : -E.XDEV;
    let denied = this.#mayDelete(from.parent, child, context);
    if (denied < 0) return denied;
    if (to.parent.dead) return -E.NOENT;
    denied = permission(to.parent.inode.ownership(), Access.WRITE | Access.EXECUTE, context.process.credentials);
    if (denied < 0) return denied;
    const isDirectory = child.inode.isDirectory;
    if (!isDirectory && !exchange && (from.slash || to.slash)) return -E.NOTDIR;
    for (let up: Dentry | null = to.parent; up !== null; up = up.parent) if (up === child) return -E.INVAL;
    if (existing !== null) {
      for (let up: Dentry | null = from.parent; up !== null; up = up.parent) if (up === existing) return exchange ? -E.INVAL : -E.NOTEMPTY;
      denied = this.#mayDelete(to.parent, existing, context);
      if (denied < 0) return denied;
      if (existing.inode === child.inode) return 0;
      if (!exchange) {
        if (isDirectory && !existing.inode.isDirectory) return -E.NOTDIR;
        if (!isDirectory && existing.inode.isDirectory) return -E.ISDIR;
        if (isDirectory) {
          const listed = existing.inode.list(existing, context);
          if (typeof listed === "number") return listed;
          if (listed.length > 0) return -E.NOTEMPTY;
        }
      }
    }
    const { parent: oldParent, name: oldName } = from;
    const before = isDirectory ? child.path() : "";
    const existingBefore = exchange && existing!.inode.isDirectory ? existing!.path() : "";
    const result = from.parent.inode.rename(child, to.parent, to.name, existing, exchange);
    if (result < 0) return result;
    if (exchange) {
      from.parent.adopt(existing!, from.name);
      to.parent.adopt(child, to.name);
    } else {
      if (existing !== null) existing.dead = true;
      from.parent.forget(from.name);
      to.parent.adopt(child, to.name);
    }
    if (before !== "") this.#moved(before, child.path(), context, existingBefore);
    if (existingBefore !== "") this.#moved(existingBefore, existing!.path(), context, before);
    const cookie = ++renames;
    const kind = isDirectory ? IN_ISDIR : 0;
    from.parent.inode.notify(IN_MOVED_FROM | kind, cookie, from.name);
    to.parent.inode.notify(IN_MOVED_TO | kind, cookie, to.name);
    child.inode.notify(IN_MOVE_SELF, 0, "");
    if (existing !== null && !exchange) existing.inode.notify(IN_DELETE_SELF, 0, "");
    if ((flags & Rename.WHITEOUT) === 0) return 0;
    const left = this.#make(oldParent, oldName, S.IFCHR, 0, undefined, context);
    return typeof left === "number" ? left : 0;
  }
  /** Working directories below a directory move with it. Those of an exchanged one are left to its own pass. */
  #moved(before: string, after: string, context: CallContext, except: string): void {
    const seen: Set<FsContext> = new Set();
    for (const { fs } of context.kernel.processes.values()) {
      if (seen.has(fs)) continue;
      seen.add(fs);
      const known = this.#directories.get(fs);
      if (known !== undefined && known.path === fs.cwd && known.prunes === pruneCount()) {
        const path = known.entry.path();
        if (path !== fs.cwd && (fs.cwd === before || fs.cwd.startsWith(`${before}/`) || (except !== "" && fs.cwd.startsWith(except)))) {
          fs.cwd = path;
          this.#directories.set(fs, { path, entry: known.entry, prunes: known.prunes });
        }
      } else if (fs.cwd === before || fs.cwd.startsWith(`${before}/`)) fs.cwd = after + fs.cwd.slice(before.length);
    }
  }
}

export type { Inode };
