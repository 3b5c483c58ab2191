/** fcntl, flock, ioctl and inotify. */
import { O, Seal, Seek } from "../../files/constants.ts";
import { InotifyFile } from "../../files/inotify.ts";
import { LockType, Locks, type LockOwner } from "../../files/locks.ts";
import type { Content } from "../../files/node.ts";
import { canRead, canWrite } from "../../files/open-file.ts";
import { PipeFile } from "../../files/pipe.ts";
import { mappedForWriting } from "../../kernel/address-space.ts";
import { E } from "../../kernel/errno.ts";
import type { CallContext, OpenFile, Process, Syscall, SyscallOutcome } from "../../kernel/types.ts";
import { address, baseOf, entryOf, fd, filesOf, FULL, int, num, partial, path, text, uint, withMemory, writeMemory } from "./common.ts";
import { duplicate, install } from "./open.ts";

const F = {
  DUPFD: 0,
  GETFD: 1,
  SETFD: 2,
  GETFL: 3,
  SETFL: 4,
  GETLK: 5,
  SETLK: 6,
  SETLKW: 7,
  SETOWN: 8,
  GETOWN: 9,
  SETSIG: 10,
  GETSIG: 11,
  OFD_GETLK: 36,
  OFD_SETLK: 37,
  OFD_SETLKW: 38,
  SETLEASE: 1024,
  GETLEASE: 1025,
  NOTIFY: 1026,
  DUPFD_CLOEXEC: 1030,
  SETPIPE_SZ: 1031,
  GETPIPE_SZ: 1032,
  ADD_SEALS: 1033,
  GET_SEALS: 1034,
} as const;
const FCNTL_NAMES = { values: Object.fromEntries(Object.entries(F).map(([name, value]) => [`F_${name}`, value])) };
const SEALS = Seal.SEAL | Seal.SHRINK | Seal.GROW | Seal.WRITE | Seal.FUTURE_WRITE | Seal.EXEC;
const ALL_WRITES = Seal.SHRINK | Seal.GROW | Seal.WRITE | Seal.FUTURE_WRITE;
const CHANGEABLE = O.APPEND | O.NONBLOCK | O.ASYNC | O.DIRECT | O.NOATIME;
const FLOCK_BYTES = 32;

function fcntl(context: CallContext, number: number, command: number, argument: number): SyscallOutcome {
  const { fds } = context.process;
  const file = fds.get(number);
  if (file === undefined) return -E.BADF;
  const isPath = (file.flags & O.PATH) !== 0;
  if (isPath && ![F.DUPFD, F.DUPFD_CLOEXEC, F.GETFD, F.SETFD, F.GETFL].includes(command as 0)) return -E.BADF;
  switch (command) {
    case F.DUPFD:
    case F.DUPFD_CLOEXEC:
      return argument < 0 || argument >= fds.limit ? -E.INVAL : duplicate(context, file, command === F.DUPFD_CLOEXEC, argument);
    case F.GETFD:
      return fds.closeOnExec(number) ? 1 : 0;
    case F.SETFD:
      fds.setCloseOnExec(number, (argument & 1) !== 0);
      return 0;
    case F.GETFL:
      return file.flags | (file.kind === "file" || file.kind === "directory" ? O.LARGEFILE : 0);
    case F.SETFL:
      file.flags = (file.flags & ~CHANGEABLE) | (argument & CHANGEABLE);
      return 0;
    case F.GETLK:
    case F.SETLK:
    case F.SETLKW:
      return recordLock(context, file, context.process, command, argument);
    case F.OFD_GETLK:
    case F.OFD_SETLK:
    case F.OFD_SETLKW:
      return recordLock(context, file, file, command - F.OFD_GETLK + F.GETLK, argument);
    case F.SETOWN:
    case F.SETSIG:
      return 0;
    case F.GETOWN:
    case F.GETSIG:
      return 0;
    case F.SETPIPE_SZ:
      if (!(file instanceof PipeFile)) return -E.BADF;
      return argument < 0 ? -E.INVAL : file.pipe.setCapacity(argument);
    case F.GETPIPE_SZ:
      return file instanceof PipeFile ? file.pipe.capacity : -E.BADF;
    case F.GETLEASE:
      return LockType.UNLOCK;
    case F.GET_SEALS:
      return sealable(file)?.seals ?? -E.INVAL;
    case F.ADD_SEALS:
      return addSeals(file, argument);
    default:
      return -E.INVAL;
  }
}

/** The bytes that seals belong to; null where there are none. */
function sealable(file: OpenFile): Content | null {
  const content = entryOf(file)?.inode.content() ?? null;
  return content?.seals === undefined ? null : content;
}
function addSeals(file: OpenFile, seals: number): number {
  const content = sealable(file);
  if (content === null) return -E.INVAL;
  if (!canWrite(file.flags)) return -E.PERM;
  if ((seals & ~SEALS) !== 0) return -E.INVAL;
  if ((content.seals! & Seal.SEAL) !== 0) return -E.PERM;
  const { inode } = entryOf(file)!;
  if ((seals & Seal.WRITE) !== 0 && mappedForWriting(inode)) return -E.BUSY;
  // A file that is sealed against chmod +x and can be executed stays as it is.
  content.seals! |= seals | ((seals & Seal.EXEC) !== 0 && (inode.ownership().mode & 0o111) !== 0 ? ALL_WRITES : 0);
  return 0;
}

function recordLock(context: CallContext, file: OpenFile, owner: LockOwner, command: number, at: number): SyscallOutcome {
  const entry = entryOf(file);
  if (entry === null) return -E.BADF;
  const { kernel, process, thread } = context;
  const own: CallContext = { kernel, process, thread, registers: undefined };
  return withMemory(context, at, FLOCK_BYTES, (read) => {
    if (read === null) return -E.FAULT;
    const lock = read.slice();
    const view = new DataView(lock.buffer);
    const type = view.getInt16(0, true);
    const whence = view.getInt16(2, true);
    const length = Number(view.getBigInt64(16, true));
    const base =
      whence === Seek.SET
        ? 0
        : whence === Seek.CUR
          ? file.seek(0, Seek.CUR)
          : whence === Seek.END
            ? (entry.inode.content()?.size() ?? 0)
            : -1;
    if (base < 0 || type < 0 || type > 2) return -E.INVAL;
    let start = base + Number(view.getBigInt64(8, true));
    let end = length === 0 ? Number.POSITIVE_INFINITY : start + length;
    if (length < 0) [start, end] = [end, start];
    if (start < 0) return -E.INVAL;
    if (owner === file && view.getInt32(24, true) !== 0) return -E.INVAL;
    const locks = (entry.inode.locks ??= new Locks());
    if (command === F.GETLK) {
      if (type === LockType.UNLOCK) return -E.INVAL;
      const conflict = locks.conflict(owner, type as 0 | 1, start, end);
      if (conflict === null) view.setInt16(0, LockType.UNLOCK, true);
      else {
        view.setInt16(0, conflict.type, true);
        view.setInt16(2, Seek.SET, true);
        view.setBigInt64(8, BigInt(conflict.start), true);
        view.setBigInt64(16, conflict.end === Number.POSITIVE_INFINITY ? 0n : BigInt(conflict.end - conflict.start), true);
        view.setInt32(24, "pid" in conflict.owner ? (conflict.owner as Process).pid : -1, true);
      }
      return writeMemory(own, at, lock, 0);
    }
    if ((type === LockType.READ && !canRead(file.flags)) || (type === LockType.WRITE && !canWrite(file.flags))) return -E.BADF;
    const set = (): number => locks.setRange(owner, type, start, end);
    const first = set();
    return first !== -E.AGAIN || command === F.SETLK
      ? first
      : kernel.block(own, [locks.waiters, ...locks.holders().map((holder) => holder.exitWaiters)], set, Number.POSITIVE_INFINITY, 0, true);
  });
}

function flock(context: CallContext, number: number, operation: number): SyscallOutcome {
  const file = context.process.fds.get(number);
  if (file === undefined || (file.flags & O.PATH) !== 0) return -E.BADF;
  const kind = operation & ~4;
  if (kind !== 1 && kind !== 2 && kind !== 8) return -E.INVAL;
  const entry = entryOf(file);
  if (entry === null) return -E.BADF;
  const locks = (entry.inode.locks ??= new Locks());
  if (kind === 8) {
    locks.releaseWhole(file);
    return 0;
  }
  const set = (): number => locks.setWhole(file, kind === 2 ? LockType.WRITE : LockType.READ);
  const first = set();
  return first !== -E.AGAIN || (operation & 4) !== 0
    ? first
    : context.kernel.block(context, [locks.waiters], set, Number.POSITIVE_INFINITY, 0, true);
}

// ---- ioctl
const Request = {
  FIONCLEX: 0x5450,
  FIOCLEX: 0x5451,
  FIONBIO: 0x5421,
  FIOASYNC: 0x5452,
  FICLONE: 0x40049409,
  FICLONERANGE: 0x4020940d,
} as const;

/** Bytes that a request reads through its argument; 0: none. Old requests do not say so in their number. */
function inputBytes(request: number): number {
  if (request >= 0x5402 && request <= 0x5404) return 36;
  if (request === 0x5410 || request === Request.FIONBIO || request === Request.FIOASYNC) return 4;
  if (request === 0x5414) return 8;
  if (request >= 0x8901 && request <= 0x8902) return 4;
  if (request === 0x8912) return 16;
  if (request >= 0x8910 && request <= 0x89ff) return 40;
  if ((request & 0x40000000) !== 0) return Math.min(64, (request >>> 16) & 0x3fff);
  return 0;
}

function ioctl(context: CallContext, number: number, request: number, argument: number): SyscallOutcome {
  const { fds } = context.process;
  const file = fds.get(number);
  if (file === undefined || (file.flags & O.PATH) !== 0) return -E.BADF;
  if (request === Request.FIOCLEX || request === Request.FIONCLEX) {
    fds.setCloseOnExec(number, request === Request.FIOCLEX);
    return 0;
  }
  if (request === Request.FICLONE || request === Request.FICLONERANGE) return -E.OPNOTSUPP;
  const length = inputBytes(request);
  if (length === 0) return finish(context, file, request, argument, null);
  const { kernel, process, thread } = context;
  const own: CallContext = { kernel, process, thread, registers: undefined };
  return withMemory(context, argument, length, (content) => {
    if (request !== Request.FIONBIO && request !== Request.FIOASYNC) return finish(own, file, request, argument, content);
    if (content === null) return -E.FAULT;
    const bit = request === Request.FIONBIO ? O.NONBLOCK : O.ASYNC;
    file.flags = content.some((byte) => byte !== 0) ? file.flags | bit : file.flags & ~bit;
    return 0;
  });
}
function finish(context: CallContext, file: OpenFile, request: number, argument: number, content: Uint8Array | null): SyscallOutcome {
  const result = file.ioctl(request, argument, content, context);
  return typeof result === "number" ? result : writeMemory(context, argument, result.output, result.result);
}

// ---- inotify
const IN_CLOEXEC = O.CLOEXEC;
const IN_NONBLOCK = O.NONBLOCK;
const IN_ONLYDIR = 0x01000000;
const IN_DONT_FOLLOW = 0x02000000;

function inotifyOf(context: CallContext, number: number): InotifyFile | number {
  const file = context.process.fds.get(number);
  if (file === undefined) return -E.BADF;
  return file instanceof InotifyFile ? file : -E.INVAL;
}

export const controlSyscalls: readonly Syscall[] = [
  {
    number: 25,
    name: "fcntl",
    arguments: [fd(), int("cmd", FCNTL_NAMES), address("arg")],
    support: partial("owners and signals of descriptors, and leases have no effect"),
    handler: (context, [number, command, argument]) => fcntl(context, num(number), num(command), num(argument)),
  },
  {
    number: 32,
    name: "flock",
    arguments: [fd(), int("operation")],
    support: FULL,
    handler: (context, [number, operation]) => flock(context, num(number), num(operation)),
  },
  {
    number: 29,
    name: "ioctl",
    arguments: [fd(), uint("request", "hex"), address("arg")],
    support: partial("what files, pipes, terminals and sockets answer; others give ENOTTY"),
    handler: (context, [number, request, argument]) => ioctl(context, num(number), num(request), num(argument)),
  },
  {
    number: 26,
    name: "inotify_init1",
    arguments: [int("flags", "hex")],
    support: FULL,
    handler(context, [flags]) {
      if ((num(flags) & ~(IN_CLOEXEC | IN_NONBLOCK)) !== 0) return -E.INVAL;
      return install(context, new InotifyFile(num(flags) & IN_NONBLOCK), (num(flags) & IN_CLOEXEC) !== 0);
    },
  },
  {
    number: 27,
    name: "inotify_add_watch",
    arguments: [fd(), path(), uint("mask", "hex")],
    support: partial("changes by this cVM only"),
    handler(context, [number, name, mask]) {
      const file = inotifyOf(context, num(number));
      if (typeof file === "number") return file;
      if ((num(mask) & 0xfff) === 0) return -E.INVAL;
      const base = baseOf(context, -100, text(name));
      if (typeof base === "number") return base;
      const entry = filesOf(context).find(base, text(name), (num(mask) & IN_DONT_FOLLOW) === 0, context);
      if (typeof entry === "number") return entry;
      if ((num(mask) & IN_ONLYDIR) !== 0 && !entry.inode.isDirectory) return -E.NOTDIR;
      return file.watch(entry.inode, num(mask));
    },
  },
  {
    number: 28,
    name: "inotify_rm_watch",
    arguments: [fd(), int("wd")],
    support: FULL,
    handler(context, [number, watch]) {
      const file = inotifyOf(context, num(number));
      return typeof file === "number" ? file : file.unwatch(num(watch));
    },
  },
];
