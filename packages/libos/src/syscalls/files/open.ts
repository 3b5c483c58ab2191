/** Opening, closing and duplicating descriptors. */
import { O, S, Seal } from "../../files/constants.ts";
import { release, RegularFile, retain } from "../../files/open-file.ts";
import { makePipe, PipeFile } from "../../files/pipe.ts";
import { TmpFs } from "../../files/tmpfs.ts";
import { E } from "../../kernel/errno.ts";
import { UnixSocket } from "../../sockets/unix.ts";
import type { LinuxContext } from "../../kernel/process.ts";
import type { CallContext, Kernel, OpenFile, Syscall, SyscallOutcome, Thread } from "../../kernel/types.ts";
import { baseOf, bytes, entryOf, fd, filesOf, FULL, input, int, num, output, partial, path, text, uint, ulong } from "./common.ts";

const OPEN_FLAGS = {
  flags: {
    O_WRONLY: O.WRONLY,
    O_RDWR: O.RDWR,
    O_CREAT: O.CREAT,
    O_EXCL: O.EXCL,
    O_NOCTTY: O.NOCTTY,
    O_TRUNC: O.TRUNC,
    O_APPEND: O.APPEND,
    O_NONBLOCK: O.NONBLOCK,
    O_DSYNC: O.DSYNC,
    O_DIRECTORY: O.DIRECTORY,
    O_NOFOLLOW: O.NOFOLLOW,
    O_CLOEXEC: O.CLOEXEC,
    O_PATH: O.PATH,
  },
} as const;

/** FIFOs whose open waits for the other side, by thread: an interrupted one is given back at the thread's next open. */
const waiting: Map<Thread, PipeFile> = new Map();

function open(context: CallContext, directory: number, name: string, flags: number, mode: number): SyscallOutcome {
  if (waiting.size > 0) giveBack(context.thread);
  const base = baseOf(context, directory, name);
  if (typeof base === "number") return name === "" ? -E.NOENT : base;
  const file = filesOf(context).openAt(base, name, flags, mode, context);
  if (typeof file === "number") return file;
  const closeOnExec = (flags & O.CLOEXEC) !== 0;
  if (file instanceof PipeFile && file.entry !== null) return openFifo(context, file, closeOnExec);
  if (file instanceof UnixSocket) return openStream(context, file, closeOnExec);
  return install(context, file, closeOnExec);
}

/** A CP_Stream: waits for the connection, unless the caller does not. */
function openStream(context: CallContext, file: UnixSocket, closeOnExec: boolean): SyscallOutcome {
  const number = install(context, file, closeOnExec);
  if (number < 0 || (file.flags & O.NONBLOCK) !== 0) return number;
  const { kernel, process } = context;
  const attempt = (): number => {
    const outcome = file.connectOutcome();
    if (outcome === -E.AGAIN || outcome === 0) return outcome === 0 ? number : outcome;
    process.fds.close(number);
    return outcome;
  };
  const given = (): number => {
    process.fds.close(number);
    return -E.INTR;
  };
  const first = attempt();
  return first === -E.AGAIN ? kernel.block(context, [file.waiters], attempt, Number.POSITIVE_INFINITY, 0, true, given) : first;
}

/** Gives a new file a descriptor; closes it when there is none. */
export function install(context: CallContext, file: OpenFile, closeOnExec: boolean): number {
  const number = context.process.fds.add(file, closeOnExec);
  if (number < 0) release(file);
  return number;
}

/** fifo(7): each side waits until the other one has been opened. */
function openFifo(context: CallContext, file: PipeFile, closeOnExec: boolean): SyscallOutcome {
  const { pipe } = file;
  const access = file.flags & O.ACCMODE;
  const ready = access === O.RDWR || (access === O.RDONLY ? pipe.writers > 0 : pipe.readers > 0);
  pipe.waiters.notify();
  if (ready || ((file.flags & O.NONBLOCK) !== 0 && access === O.RDONLY)) return install(context, file, closeOnExec);
  if ((file.flags & O.NONBLOCK) !== 0) {
    release(file);
    return -E.NXIO;
  }
  const { thread, kernel, process } = context;
  const before = access === O.RDONLY ? pipe.writerOpens : pipe.readerOpens;
  waiting.set(thread, file);
  const own: CallContext = { kernel, process, thread, registers: undefined };
  return kernel.block(
    own,
    [pipe.waiters],
    () => {
      if ((access === O.RDONLY ? pipe.writerOpens : pipe.readerOpens) === before) return -E.AGAIN;
      waiting.delete(thread);
      return install(own, file, closeOnExec);
    },
    Number.POSITIVE_INFINITY,
    0,
    true,
  );
}
function giveBack(thread: Thread): void {
  for (const [other, file] of waiting)
    if (other === thread || other.process.ended) {
      waiting.delete(other);
      release(file);
    }
}

/** close(2): the process's fcntl locks on the file go with any of its descriptors. */
function close(context: CallContext, number: number): number {
  const { process } = context;
  const file = process.fds.get(number);
  if (file === undefined) return -E.BADF;
  entryOf(file)?.inode.locks?.releaseRanges(process);
  return process.fds.close(number);
}

function dupTo(context: CallContext, from: number, to: number, flags: number): number {
  const {
    fds,
    fds: { limit },
  } = context.process;
  if ((flags & ~O.CLOEXEC) !== 0 || from === to) return -E.INVAL;
  const file = fds.get(from);
  if (file === undefined || to < 0 || to >= limit) return -E.BADF;
  const old = fds.get(to);
  if (old !== undefined) entryOf(old)?.inode.locks?.releaseRanges(context.process);
  fds.set(to, retain(file), (flags & O.CLOEXEC) !== 0);
  return to;
}

/** Adds a reference and a descriptor ≥ `from`; the reference goes back when there is none. */
export function duplicate(context: CallContext, file: OpenFile, closeOnExec: boolean, from = 0): number {
  const number = context.process.fds.add(retain(file), closeOnExec, from);
  if (number < 0) file.references--;
  return number;
}

const memories: WeakMap<Kernel, TmpFs> = new WeakMap();
const MFD = { CLOEXEC: 1, ALLOW_SEALING: 2, HUGETLB: 4, NOEXEC_SEAL: 8, EXEC: 16 } as const;

function memfd(context: CallContext, name: string, flags: number): number {
  if ((flags & ~(MFD.CLOEXEC | MFD.ALLOW_SEALING | MFD.NOEXEC_SEAL | MFD.EXEC)) !== 0 || Buffer.byteLength(name) > 249) return -E.INVAL;
  const { kernel, process } = context;
  let fs = memories.get(kernel);
  if (fs === undefined) memories.set(kernel, (fs = new TmpFs(1, kernel.options.memoryBytes)));
  const entry = fs.unnamed(
    `memfd:${name}`,
    (flags & MFD.NOEXEC_SEAL) !== 0 ? 0o666 : 0o777,
    process.credentials.fsuid,
    process.credentials.fsgid,
  );
  const file = RegularFile.open(entry, O.RDWR, "memfd");
  if (typeof file !== "number" && (flags & (MFD.ALLOW_SEALING | MFD.NOEXEC_SEAL)) !== 0)
    file.content.seals = (flags & MFD.NOEXEC_SEAL) !== 0 ? Seal.EXEC : 0;
  return typeof file === "number" ? file : install(context, file, (flags & MFD.CLOEXEC) !== 0);
}

export const openSyscalls: readonly Syscall[] = [
  {
    number: 56,
    name: "openat",
    arguments: [fd("dirfd"), path(), int("flags", OPEN_FLAGS), uint("mode", "octal")],
    support: partial("O_DIRECT, O_DSYNC and O_SYNC have no effect"),
    handler: (context, [directory, name, flags, mode]) => open(context, num(directory), text(name), num(flags), num(mode)),
  },
  {
    number: 437,
    name: "openat2",
    arguments: [fd("dirfd"), path(), input("how", "size"), ulong("size")],
    support: partial("resolve restrictions other than RESOLVE_NO_MAGICLINKS and RESOLVE_CACHED give EINVAL"),
    handler(context, [directory, name, how, size]) {
      const given = bytes(how);
      if (num(size) < 24) return -E.INVAL;
      if (given.subarray(24).some((byte) => byte !== 0)) return -E.TOOBIG;
      const view = new DataView(given.buffer, given.byteOffset);
      const flags = view.getUint32(0, true);
      const mode = view.getUint32(8, true);
      const resolve = view.getUint32(16, true);
      if (view.getUint32(4, true) !== 0 || view.getUint32(12, true) !== 0 || view.getUint32(20, true) !== 0) return -E.INVAL;
      if ((flags & (O.CREAT | O.TMPFILE)) === 0 && mode !== 0) return -E.INVAL;
      if ((resolve & ~0x02) !== 0) return -E.INVAL;
      return open(context, num(directory), text(name), flags | 0, mode);
    },
  },
  { number: 57, name: "close", arguments: [fd()], support: FULL, handler: (context, [number]) => close(context, num(number)) },
  {
    number: 436,
    name: "close_range",
    arguments: [uint("first"), uint("last"), uint("flags")],
    support: FULL,
    handler(context, [first, last, flags]) {
      if (num(first) > num(last) || (num(flags) & ~6) !== 0) return -E.INVAL;
      if ((num(flags) & 2) !== 0) (context as LinuxContext).process.ownDescriptors();
      const { fds } = context.process;
      for (const number of fds.list())
        if (number >= num(first) && number <= num(last)) {
          if ((num(flags) & 4) !== 0) fds.setCloseOnExec(number, true);
          else close(context, number);
        }
      return 0;
    },
  },
  {
    number: 23,
    name: "dup",
    arguments: [fd()],
    support: FULL,
    handler(context, [number]) {
      const file = context.process.fds.get(num(number));
      return file === undefined ? -E.BADF : duplicate(context, file, false);
    },
  },
  {
    number: 24,
    name: "dup3",
    arguments: [fd("oldfd"), fd("newfd"), int("flags", "hex")],
    support: FULL,
    handler: (context, [from, to, flags]) => dupTo(context, num(from), num(to), num(flags)),
  },
  {
    number: 59,
    name: "pipe2",
    arguments: [output("fds", 8), int("flags", OPEN_FLAGS)],
    support: partial("O_DIRECT (packet mode) is an ordinary pipe"),
    handler(context, [, flags]) {
      if ((num(flags) & ~(O.CLOEXEC | O.NONBLOCK | O.DIRECT)) !== 0) return -E.INVAL;
      const { reader, writer } = makePipe(num(flags));
      const { fds } = context.process;
      const closeOnExec = (num(flags) & O.CLOEXEC) !== 0;
      const one = fds.add(reader, closeOnExec);
      const other = one < 0 ? one : fds.add(writer, closeOnExec);
      if (other < 0) {
        release(writer);
        if (one < 0) release(reader);
        else fds.close(one);
        return other;
      }
      const value = new Uint8Array(8);
      const view = new DataView(value.buffer);
      view.setInt32(0, one, true);
      view.setInt32(4, other, true);
      return { result: 0, out: [{ arg: 0, value }] };
    },
  },
  {
    number: 279,
    name: "memfd_create",
    arguments: [{ name: "name", kind: "string" }, uint("flags", "hex")],
    support: partial("no huge pages"),
    handler: (context, [name, flags]) => memfd(context, text(name), num(flags)),
  },
  {
    number: 33,
    name: "mknodat",
    arguments: [fd("dirfd"), path(), uint("mode", "octal"), uint("dev", "hex")],
    support: FULL,
    handler(context, [directory, name, mode, dev]) {
      const type = num(mode) & S.IFMT;
      if (type === S.IFDIR || type === S.IFLNK) return type === S.IFDIR ? -E.PERM : -E.INVAL;
      if ((type === S.IFCHR || type === S.IFBLK) && context.process.credentials.fsuid !== 0) return -E.PERM;
      const base = baseOf(context, num(directory), text(name));
      return typeof base === "number"
        ? base
        : filesOf(context).makeAt(
            base,
            text(name),
            (type === 0 ? S.IFREG : type) | (num(mode) & 0o7777),
            type === S.IFCHR || type === S.IFBLK ? num(dev) : 0,
            context,
          );
    },
  },
];
