/** Names and directories: making, linking, moving, removing and listing them; the working directory. */
import { encodeText } from "@cvm/monitor/abi";
import { AT, O, S } from "../../files/constants.ts";
import { permission } from "../../files/node.ts";
import { E } from "../../kernel/errno.ts";
import type { CallContext, Syscall, SyscallOutcome } from "../../kernel/types.ts";
import { answer, baseOf, entryOf, fd, filesOf, FULL, int, num, output, path, targetOf, text, uint, ulong, type Target } from "./common.ts";

function rename(context: CallContext, fromDirectory: number, from: string, toDirectory: number, to: string, flags: number): number {
  const fromBase = baseOf(context, fromDirectory, from);
  if (typeof fromBase === "number") return fromBase;
  const toBase = baseOf(context, toDirectory, to);
  if (typeof toBase === "number") return toBase;
  return filesOf(context).renameAt(fromBase, from, toBase, to, flags, context);
}

function readlink(context: CallContext, directory: number, name: string, size: number): SyscallOutcome {
  if (size <= 0) return -E.INVAL;
  let entry;
  if (name === "") {
    const file = context.process.fds.get(directory);
    if (file === undefined || directory === AT.FDCWD) return -E.NOENT;
    entry = entryOf(file);
    if (entry === null || entry.inode.type !== S.IFLNK) return -E.NOENT;
  } else {
    const base = baseOf(context, directory, name);
    if (typeof base === "number") return base;
    const place = filesOf(context).walk(base, name, false, context);
    if (typeof place === "number") return place;
    entry = place.entry;
    if (entry === null) return -E.NOENT;
  }
  const target = entry.inode.readlink(context);
  if (typeof target === "number") return target;
  const value = encodeText(target).subarray(0, size);
  return answer(value.length, 2, value);
}

function changeDirectory(context: CallContext, target: Target | number): number {
  if (typeof target === "number") return target;
  if (target.entry === null || !target.entry.inode.isDirectory) return -E.NOTDIR;
  const denied = permission(target.entry.inode.ownership(), 1, context.process.credentials);
  if (denied < 0) return denied;
  filesOf(context).setWorkingDirectory(context, target.entry);
  return 0;
}

export const nameSyscalls: readonly Syscall[] = [
  {
    number: 34,
    name: "mkdirat",
    arguments: [fd("dirfd"), path(), uint("mode", "octal")],
    support: FULL,
    handler(context, [directory, name, mode]) {
      const base = baseOf(context, num(directory), text(name));
      return typeof base === "number" ? base : filesOf(context).makeAt(base, text(name), S.IFDIR | (num(mode) & 0o1777), 0, context);
    },
  },
  {
    number: 35,
    name: "unlinkat",
    arguments: [fd("dirfd"), path(), int("flags", { flags: { AT_REMOVEDIR: AT.REMOVEDIR } })],
    support: FULL,
    handler(context, [directory, name, flags]) {
      if ((num(flags) & ~AT.REMOVEDIR) !== 0) return -E.INVAL;
      const base = baseOf(context, num(directory), text(name));
      return typeof base === "number" ? base : filesOf(context).unlinkAt(base, text(name), (num(flags) & AT.REMOVEDIR) !== 0, context);
    },
  },
  {
    number: 36,
    name: "symlinkat",
    arguments: [path("target"), fd("dirfd"), path("linkpath")],
    support: FULL,
    handler(context, [target, directory, name]) {
      if (text(target) === "") return -E.NOENT;
      const base = baseOf(context, num(directory), text(name));
      return typeof base === "number" ? base : filesOf(context).makeAt(base, text(name), S.IFLNK | 0o777, 0, context, text(target));
    },
  },
  {
    number: 37,
    name: "linkat",
    arguments: [fd("olddirfd"), path("oldpath"), fd("newdirfd"), path("newpath"), int("flags", "hex")],
    support: FULL,
    handler(context, [fromDirectory, from, toDirectory, to, flags]) {
      if ((num(flags) & ~(AT.SYMLINK_FOLLOW | AT.EMPTY_PATH)) !== 0) return -E.INVAL;
      const source = targetOf(context, num(fromDirectory), text(from), num(flags), false);
      if (typeof source === "number") return source;
      if (source.entry === null) return -E.XDEV;
      const base = baseOf(context, num(toDirectory), text(to));
      return typeof base === "number" ? base : filesOf(context).linkAt(source.entry, base, text(to), context);
    },
  },
  {
    number: 38,
    name: "renameat",
    arguments: [fd("olddirfd"), path("oldpath"), fd("newdirfd"), path("newpath")],
    support: FULL,
    handler: (context, [fromDirectory, from, toDirectory, to]) =>
      rename(context, num(fromDirectory), text(from), num(toDirectory), text(to), 0),
  },
  {
    number: 276,
    name: "renameat2",
    arguments: [
      fd("olddirfd"),
      path("oldpath"),
      fd("newdirfd"),
      path("newpath"),
      uint("flags", { flags: { RENAME_NOREPLACE: 1, RENAME_EXCHANGE: 2, RENAME_WHITEOUT: 4 } }),
    ],
    support: FULL,
    handler: (context, [fromDirectory, from, toDirectory, to, flags]) =>
      rename(context, num(fromDirectory), text(from), num(toDirectory), text(to), num(flags)),
  },
  {
    number: 78,
    name: "readlinkat",
    arguments: [fd("dirfd"), path(), output("buf", "bufsiz"), int("bufsiz")],
    support: FULL,
    handler: (context, [directory, name, , size]) => readlink(context, num(directory), text(name), num(size)),
  },
  {
    number: 61,
    name: "getdents64",
    arguments: [fd(), output("dirp", "count"), uint("count")],
    support: FULL,
    handler(context, [number, capacity]) {
      const file = context.process.fds.get(num(number));
      if (file === undefined || (file.flags & O.PATH) !== 0) return -E.BADF;
      if (file.getdents === undefined) return -E.NOTDIR;
      const entries = file.getdents(num(capacity));
      return typeof entries === "number" ? entries : answer(entries.length, 1, entries);
    },
  },
  {
    number: 17,
    name: "getcwd",
    arguments: [output("buf", "size"), ulong("size")],
    support: FULL,
    handler(context, [, size]) {
      const vfs = filesOf(context);
      const entry = vfs.workingDirectory(context);
      if (typeof entry === "number" || entry.dead) return -E.NOENT;
      const { root } = context.process.fs;
      let shown = entry.path();
      if (root !== "/") shown = shown === root ? "/" : shown.startsWith(`${root}/`) ? shown.slice(root.length) : `(unreachable)${shown}`;
      const value = encodeText(`${shown}\0`);
      return value.length > num(size) ? -E.RANGE : answer(value.length, 0, value);
    },
  },
  {
    number: 49,
    name: "chdir",
    arguments: [path()],
    support: FULL,
    handler: (context, [name]) => changeDirectory(context, targetOf(context, AT.FDCWD, text(name), 0)),
  },
  {
    number: 50,
    name: "fchdir",
    arguments: [fd()],
    support: FULL,
    handler(context, [number]) {
      const file = context.process.fds.get(num(number));
      return file === undefined ? -E.BADF : changeDirectory(context, { entry: entryOf(file), file });
    },
  },
  {
    number: 51,
    name: "chroot",
    arguments: [path()],
    support: FULL,
    handler(context, [name]) {
      const target = targetOf(context, AT.FDCWD, text(name), 0);
      if (typeof target === "number") return target;
      if (target.entry === null || !target.entry.inode.isDirectory) return -E.NOTDIR;
      if (context.process.credentials.euid !== 0) return -E.PERM;
      context.process.fs.root = target.entry.path();
      return 0;
    },
  },
  {
    number: 166,
    name: "umask",
    arguments: [uint("mask", "octal")],
    support: FULL,
    handler(context, [mask]) {
      const old = context.process.fs.umask;
      context.process.fs.umask = num(mask) & 0o777;
      return old;
    },
  },
  {
    number: 40,
    name: "mount",
    arguments: [
      path("source", true),
      path("target"),
      { name: "type", kind: "string", nullable: true },
      ulong("flags"),
      { name: "data", kind: "address", print: "hex" },
    ],
    support: { level: "error", errno: E.PERM, note: "mounts are set up from outside" },
    handler: () => -E.PERM,
  },
  {
    number: 39,
    name: "umount2",
    arguments: [path("target"), int("flags")],
    support: { level: "error", errno: E.PERM, note: "mounts are set up from outside" },
    handler: () => -E.PERM,
  },
];
