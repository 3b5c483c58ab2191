/** What files are: stat in all forms, access, mode, owner, times, size, extended attributes, file systems. */
import { encodeText } from "@cvm/monitor/abi";
import { Access, AT, O, S, Seal } from "../../files/constants.ts";
import { nowNanoseconds, permission, type Dentry } from "../../files/node.ts";
import { beyondLimit, canWrite, sealed } from "../../files/open-file.ts";
import { statBytes, statfsBytes, statxBytes } from "../../files/stat-bytes.ts";
import { E } from "../../kernel/errno.ts";
import type { CallContext, OpenFile, Stat, Syscall, SyscallOutcome } from "../../kernel/types.ts";
import {
  answer,
  entryOf,
  fd,
  FULL,
  input,
  int,
  long,
  num,
  output,
  partial,
  path,
  targetOf,
  text,
  uint,
  ulong,
  type Target,
} from "./common.ts";

const IN_ATTRIB = 4;
const AT_FLAGS = { flags: { AT_SYMLINK_NOFOLLOW: AT.SYMLINK_NOFOLLOW, AT_EMPTY_PATH: AT.EMPTY_PATH } } as const;
const statOf = (target: Target): Stat | number => (target.entry !== null ? target.entry.inode.stat() : target.file.stat());

/** A descriptor as a target; O_PATH ones only when `paths`. */
function descriptor(context: CallContext, number: number, paths: boolean): Target | number {
  const file = context.process.fds.get(number);
  if (file === undefined || (!paths && (file.flags & O.PATH) !== 0)) return -E.BADF;
  return { entry: entryOf(file), file };
}

function access(context: CallContext, directory: number, name: string, mode: number, flags: number): number {
  if ((mode & ~7) !== 0 || (flags & ~(AT.EACCESS | AT.SYMLINK_NOFOLLOW | AT.EMPTY_PATH)) !== 0) return -E.INVAL;
  const target = targetOf(context, directory, name, flags);
  if (typeof target === "number") return target;
  if (target.entry === null) return 0;
  const { inode } = target.entry;
  if ((mode & Access.WRITE) !== 0 && inode.fs.readOnly && (inode.type === S.IFREG || inode.isDirectory)) return -E.ROFS;
  return mode === 0 ? 0 : permission(inode.ownership(), mode, context.process.credentials, (flags & AT.EACCESS) === 0);
}

function changeMode(context: CallContext, target: Target | number, mode: number): number {
  if (typeof target === "number") return target;
  if (target.entry === null) return 0;
  const { inode } = target.entry;
  const { credentials } = context.process;
  const owner = inode.ownership();
  if (inode.fs.readOnly) return -E.ROFS;
  if (inode.type === S.IFLNK) return -E.OPNOTSUPP;
  if (credentials.fsuid !== 0 && credentials.fsuid !== owner.uid) return -E.PERM;
  let next = mode & 0o7777;
  if (credentials.fsuid !== 0 && owner.gid !== credentials.fsgid && !credentials.groups.includes(owner.gid)) next &= ~S.ISGID;
  return changed(target.entry, inode.set(target.entry, { mode: next }));
}

function changeOwner(context: CallContext, target: Target | number, uid: number, gid: number): number {
  if (typeof target === "number") return target;
  if (target.entry === null) return 0;
  const { inode } = target.entry;
  const { credentials } = context.process;
  const owner = inode.ownership();
  if (inode.fs.readOnly) return -E.ROFS;
  const newUid = uid === 0xffffffff ? owner.uid : uid;
  const newGid = gid === 0xffffffff ? owner.gid : gid;
  if (credentials.fsuid !== 0) {
    if (credentials.fsuid !== owner.uid || newUid !== owner.uid) return -E.PERM;
    if (newGid !== owner.gid && newGid !== credentials.fsgid && !credentials.groups.includes(newGid)) return -E.PERM;
  }
  let mode = owner.mode & 0o7777;
  if (inode.type === S.IFREG) mode &= ~(S.ISUID | ((mode & 0o010) !== 0 ? S.ISGID : 0));
  return changed(target.entry, inode.set(target.entry, { uid: newUid, gid: newGid, ...(mode === (owner.mode & 0o7777) ? {} : { mode }) }));
}

function changed(entry: Dentry, result: number): number {
  if (result === 0) {
    entry.inode.notify(IN_ATTRIB, 0, "");
    if (!entry.dead) entry.parent?.inode.notify(IN_ATTRIB, 0, entry.name);
  }
  return result;
}

const UTIME_NOW = 0x3fffffff;
const UTIME_OMIT = 0x3ffffffe;

/** utimensat(2): times null means now for both. */
function changeTimes(context: CallContext, target: Target | number, times: Uint8Array | null): number {
  if (typeof target === "number") return target;
  let atime: bigint | undefined;
  let mtime: bigint | undefined;
  let bothNow = true;
  const now = nowNanoseconds();
  if (times === null) atime = mtime = now;
  else {
    const view = new DataView(times.buffer, times.byteOffset);
    const values: (bigint | undefined)[] = [];
    for (const at of [0, 16]) {
      const nanoseconds = Number(view.getBigInt64(at + 8, true));
      if (nanoseconds !== UTIME_NOW) bothNow = false;
      if (nanoseconds === UTIME_OMIT) values.push(undefined);
      else if (nanoseconds === UTIME_NOW) values.push(now);
      else if (nanoseconds < 0 || nanoseconds > 999_999_999) return -E.INVAL;
      else values.push(view.getBigInt64(at, true) * 1_000_000_000n + BigInt(nanoseconds));
    }
    [atime, mtime] = values;
    if (atime === undefined && mtime === undefined) return 0;
  }
  if (target.entry === null) return 0;
  const { inode } = target.entry;
  const { credentials } = context.process;
  const owner = inode.ownership();
  if (inode.fs.readOnly) return -E.ROFS;
  if (credentials.fsuid !== 0 && credentials.fsuid !== owner.uid) {
    if (!bothNow) return -E.PERM;
    const denied = permission(owner, Access.WRITE, credentials);
    if (denied < 0) return denied;
  }
  return changed(
    target.entry,
    inode.set(target.entry, { ...(atime === undefined ? {} : { atime }), ...(mtime === undefined ? {} : { mtime }) }),
  );
}

function truncate(context: CallContext, name: string, length: number): number {
  if (length < 0) return -E.INVAL;
  const target = targetOf(context, AT.FDCWD, name, 0);
  if (typeof target === "number") return target;
  if (target.entry === null) return -E.INVAL;
  const { entry } = target;
  const { inode } = entry;
  if (inode.isDirectory) return -E.ISDIR;
  const content = inode.content();
  if (content === null) return -E.INVAL;
  if (inode.fs.readOnly) return -E.ROFS;
  const denied = permission(inode.ownership(), Access.WRITE, context.process.credentials);
  if (denied < 0) return denied;
  if (sealed(content, length)) return -E.PERM;
  if (length > content.size() && beyondLimit(context, length - 1, 1) < 0) return -E.FBIG;
  const failed = content.acquire(entry, true, length === 0);
  if (failed < 0) return failed;
  const result = content.resize(length);
  content.release();
  return result;
}

function allocate(context: CallContext, number: number, mode: number, offset: number, length: number): number {
  const file = context.process.fds.get(number);
  if (file === undefined) return -E.BADF;
  if (offset < 0 || length <= 0) return -E.INVAL;
  if (!canWrite(file.flags)) return -E.BADF;
  if (file.kind === "pipe") return -E.SPIPE;
  const content = entryOf(file)?.inode.content() ?? null;
  if (content === null) return -E.NODEV;
  if ((mode & 2) !== 0 && (mode & 1) === 0) return -E.OPNOTSUPP;
  if ((mode & 1) === 0 && offset + length > content.size() && beyondLimit(context, offset + length - 1, 1) < 0) return -E.FBIG;
  const seals = content.seals ?? 0;
  if ((mode & 0x12) !== 0 && (seals & (Seal.WRITE | Seal.FUTURE_WRITE)) !== 0) return -E.PERM;
  if ((mode & 1) === 0 && (seals & Seal.GROW) !== 0 && offset + length > content.size()) return -E.PERM;
  return content.allocate(mode, offset, length);
}

// ---- extended attributes
/** Whether the caller may see or set `name`: 0 or a negative errno. */
function mayXattr(context: CallContext, entry: Dentry, name: string, write: boolean): number {
  const dot = name.indexOf(".");
  const space = name.slice(0, dot);
  if (dot <= 0 || dot === name.length - 1) return -E.OPNOTSUPP;
  if (Buffer.byteLength(name) > 255) return -E.RANGE;
  const { credentials } = context.process;
  const { inode } = entry;
  if (write && inode.fs.readOnly) return -E.ROFS;
  if (space === "trusted") return credentials.euid === 0 ? 0 : write ? -E.PERM : -E.NODATA;
  if (space === "security") return !write || credentials.euid === 0 ? 0 : -E.PERM;
  if (space !== "user") return -E.OPNOTSUPP;
  if (inode.type !== S.IFREG && !inode.isDirectory) return write ? -E.PERM : -E.NODATA;
  return permission(inode.ownership(), write ? Access.WRITE : Access.READ, credentials);
}
const withEntry = (target: Target | number, use: (entry: Dentry) => SyscallOutcome): SyscallOutcome =>
  typeof target === "number" ? target : target.entry === null ? -E.OPNOTSUPP : use(target.entry);

function getXattr(context: CallContext, target: Target | number, name: string, size: number): SyscallOutcome {
  return withEntry(target, (entry) => {
    const denied = mayXattr(context, entry, name, false);
    if (denied < 0) return denied;
    const value = entry.inode.xattrs()?.get(name);
    if (value === undefined) return -E.NODATA;
    if (size === 0) return value.length;
    return value.length > size ? -E.RANGE : answer(value.length, 2, value);
  });
}
function setXattr(context: CallContext, target: Target | number, name: string, value: Uint8Array, flags: number): SyscallOutcome {
  if ((flags & ~3) !== 0) return -E.INVAL;
  if (value.length > 65536) return -E.TOOBIG;
  return withEntry(target, (entry) => {
    const denied = mayXattr(context, entry, name, true);
    if (denied < 0) return denied;
    const exists = entry.inode.xattrs()?.has(name) === true;
    if (flags === 1 && exists) return -E.EXIST;
    if (flags === 2 && !exists) return -E.NODATA;
    return changed(entry, entry.inode.setXattr(entry, name, value));
  });
}
function listXattr(context: CallContext, target: Target | number, size: number): SyscallOutcome {
  return withEntry(target, (entry) => {
    const names = [...(entry.inode.xattrs()?.keys() ?? [])].filter(
      (name) => !name.startsWith("trusted.") || context.process.credentials.euid === 0,
    );
    const value = encodeText(names.map((name) => `${name}\0`).join(""));
    if (size === 0) return value.length;
    return value.length > size ? -E.RANGE : answer(value.length, 1, value);
  });
}
function removeXattr(context: CallContext, target: Target | number, name: string): SyscallOutcome {
  return withEntry(target, (entry) => {
    const denied = mayXattr(context, entry, name, true);
    if (denied < 0) return denied;
    if (entry.inode.xattrs()?.has(name) !== true) return -E.NODATA;
    return changed(entry, entry.inode.setXattr(entry, name, null));
  });
}
const value = (bytes: unknown): Uint8Array => (bytes as Uint8Array | null) ?? new Uint8Array(0);
const xattrName = { name: "name", kind: "string" } as const;
/** Path form (following or not) and descriptor form of one extended attribute call. */
function forms(
  numbers: readonly [number, number, number],
  names: readonly [string, string, string],
  rest: Syscall["arguments"],
  handle: (context: CallContext, target: Target | number, args: Parameters<Syscall["handler"]>[1]) => SyscallOutcome,
): Syscall[] {
  return [0, 1, 2].map((form) => ({
    number: numbers[form]!,
    name: names[form]!,
    arguments: [form === 2 ? fd() : path(), ...rest],
    support: FULL,
    handler: (context, args) =>
      handle(
        context,
        form === 2
          ? descriptor(context, num(args[0]), false)
          : targetOf(context, AT.FDCWD, text(args[0]), form === 1 ? AT.SYMLINK_NOFOLLOW : 0),
        args,
      ),
  }));
}

function statFs(target: Target | number): SyscallOutcome {
  if (typeof target === "number") return target;
  if (target.entry === null)
    return answer(
      0,
      1,
      statfsBytes({ type: 0x50495045, bsize: 4096, blocks: 0, bfree: 0, bavail: 0, files: 0, ffree: 0, namelen: 255 }, 14, false),
    );
  const { fs } = target.entry.inode;
  return answer(0, 1, statfsBytes(fs.statfs(), fs.dev, fs.readOnly));
}

function fileStat(file: OpenFile | undefined): Stat | number {
  return file === undefined ? -E.BADF : file.stat();
}

export const attributeSyscalls: readonly Syscall[] = [
  {
    number: 80,
    name: "fstat",
    arguments: [fd(), output("statbuf", 128)],
    support: FULL,
    handler(context, [number]) {
      const stat = fileStat(context.process.fds.get(num(number)));
      return typeof stat === "number" ? stat : answer(0, 1, statBytes(stat));
    },
  },
  {
    number: 79,
    name: "newfstatat",
    arguments: [fd("dirfd"), path("path", true), output("statbuf", 128), int("flags", AT_FLAGS)],
    support: FULL,
    handler(context, [directory, name, , flags]) {
      if ((num(flags) & ~(AT.SYMLINK_NOFOLLOW | AT.EMPTY_PATH | AT.NO_AUTOMOUNT)) !== 0) return -E.INVAL;
      const target = targetOf(context, num(directory), name as string | null, num(flags));
      if (typeof target === "number") return target;
      const stat = statOf(target);
      return typeof stat === "number" ? stat : answer(0, 2, statBytes(stat));
    },
  },
  {
    number: 291,
    name: "statx",
    arguments: [fd("dirfd"), path("path", true), int("flags", AT_FLAGS), uint("mask", "hex"), output("statxbuf", 256)],
    support: partial("birth times are those of the host's files"),
    handler(context, [directory, name, flags, mask]) {
      if ((num(flags) & ~0x7900) !== 0 || (num(flags) & 0x6000) === 0x6000 || num(mask) >= 0x80000000) return -E.INVAL;
      const target = targetOf(context, num(directory), name as string | null, num(flags));
      if (typeof target === "number") return target;
      const stat = statOf(target);
      return typeof stat === "number" ? stat : answer(0, 4, statxBytes(stat));
    },
  },
  {
    number: 48,
    name: "faccessat",
    arguments: [fd("dirfd"), path(), int("mode", "octal")],
    support: FULL,
    handler: (context, [directory, name, mode]) => access(context, num(directory), text(name), num(mode), 0),
  },
  {
    number: 439,
    name: "faccessat2",
    arguments: [fd("dirfd"), path(), int("mode", "octal"), int("flags", "hex")],
    support: FULL,
    handler: (context, [directory, name, mode, flags]) => access(context, num(directory), text(name), num(mode), num(flags)),
  },
  {
    number: 52,
    name: "fchmod",
    arguments: [fd(), uint("mode", "octal")],
    support: FULL,
    handler: (context, [number, mode]) => changeMode(context, descriptor(context, num(number), false), num(mode)),
  },
  {
    number: 53,
    name: "fchmodat",
    arguments: [fd("dirfd"), path(), uint("mode", "octal")],
    support: FULL,
    handler: (context, [directory, name, mode]) => changeMode(context, targetOf(context, num(directory), text(name), 0), num(mode)),
  },
  {
    number: 452,
    name: "fchmodat2",
    arguments: [fd("dirfd"), path(), uint("mode", "octal"), uint("flags", AT_FLAGS)],
    support: FULL,
    handler: (context, [directory, name, mode, flags]) =>
      (num(flags) & ~(AT.SYMLINK_NOFOLLOW | AT.EMPTY_PATH)) !== 0
        ? -E.INVAL
        : changeMode(context, targetOf(context, num(directory), text(name), num(flags)), num(mode)),
  },
  {
    number: 55,
    name: "fchown",
    arguments: [fd(), uint("uid"), uint("gid")],
    support: FULL,
    handler: (context, [number, uid, gid]) => changeOwner(context, descriptor(context, num(number), false), num(uid), num(gid)),
  },
  {
    number: 54,
    name: "fchownat",
    arguments: [fd("dirfd"), path(), uint("uid"), uint("gid"), int("flags", AT_FLAGS)],
    support: FULL,
    handler: (context, [directory, name, uid, gid, flags]) =>
      (num(flags) & ~(AT.SYMLINK_NOFOLLOW | AT.EMPTY_PATH)) !== 0
        ? -E.INVAL
        : changeOwner(context, targetOf(context, num(directory), text(name), num(flags)), num(uid), num(gid)),
  },
  {
    number: 88,
    name: "utimensat",
    arguments: [fd("dirfd"), path("path", true), input("times", 32, true), int("flags", AT_FLAGS)],
    support: FULL,
    handler(context, [directory, name, times, flags]) {
      if ((num(flags) & ~(AT.SYMLINK_NOFOLLOW | AT.EMPTY_PATH)) !== 0) return -E.INVAL;
      const target =
        name === null && num(directory) !== AT.FDCWD
          ? descriptor(context, num(directory), false)
          : targetOf(context, num(directory), name as string | null, num(flags));
      return changeTimes(context, target, times as Uint8Array | null);
    },
  },
  {
    number: 45,
    name: "truncate",
    arguments: [path(), long("length")],
    support: FULL,
    handler: (context, [name, length]) => truncate(context, text(name), num(length)),
  },
  {
    number: 47,
    name: "fallocate",
    arguments: [fd(), int("mode", "hex"), long("offset"), long("len")],
    support: partial("no space is reserved, and a punched hole gives none back to the host; collapse and insert give EOPNOTSUPP"),
    handler: (context, [number, mode, offset, length]) => allocate(context, num(number), num(mode), num(offset), num(length)),
  },
  {
    number: 43,
    name: "statfs",
    arguments: [path(), output("buf", 120)],
    support: FULL,
    handler: (context, [name]) => statFs(targetOf(context, AT.FDCWD, text(name), 0)),
  },
  {
    number: 44,
    name: "fstatfs",
    arguments: [fd(), output("buf", 120)],
    support: FULL,
    handler: (context, [number]) => statFs(descriptor(context, num(number), true)),
  },
  ...forms(
    [5, 6, 7],
    ["setxattr", "lsetxattr", "fsetxattr"],
    [xattrName, input("value", "size", true), ulong("size"), int("flags")],
    (context, target, args) => setXattr(context, target, text(args[1]), value(args[2]), num(args[4])),
  ),
  ...forms(
    [8, 9, 10],
    ["getxattr", "lgetxattr", "fgetxattr"],
    [xattrName, output("value", "size", true), ulong("size")],
    (context, target, args) => getXattr(context, target, text(args[1]), num(args[3])),
  ),
  ...forms(
    [11, 12, 13],
    ["listxattr", "llistxattr", "flistxattr"],
    [output("list", "size", true), ulong("size")],
    (context, target, args) => listXattr(context, target, num(args[2])),
  ),
  ...forms([14, 15, 16], ["removexattr", "lremovexattr", "fremovexattr"], [xattrName], (context, target, args) =>
    removeXattr(context, target, text(args[1])),
  ),
];
