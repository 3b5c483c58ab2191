/** Moving bytes: read and write in all forms, sendfile, splice, and making them reach the disk. */
import { Limits, type Awaitable, type MessageIn, type SyscallReply } from "@cvm/monitor/abi";
import { O } from "../../files/constants.ts";
import { beyondLimit, canRead, canWrite } from "../../files/open-file.ts";
import { PipeFile } from "../../files/pipe.ts";
import { TtyFile } from "../../files/tty.ts";
import { mappersOf } from "../../kernel/address-space.ts";
import { E } from "../../kernel/errno.ts";
import type { LinuxContext } from "../../kernel/process.ts";
import { whenReady } from "../../kernel/ready.ts";
import type { CallContext, OpenFile, ProcessOp, Syscall, SyscallOutcome, SyscallValue } from "../../kernel/types.ts";
import { answer, both, bytes, entryOf, fd, FULL, input, int, later, long, num, output, partial, uint, ulong, vector } from "./common.ts";

/** Bytes that one round of sendfile, splice or copy_file_range moves: a call may be short. */
const ROUND = 262_144;

/** Keeps who calls for later: the context object is reused from call to call. */
const keep = (context: CallContext, atOnce = false): CallContext => ({
  kernel: context.kernel,
  process: context.process,
  thread: context.thread,
  registers: undefined,
  atOnce,
});

const nonblocking = (file: OpenFile): boolean => (file.flags & O.NONBLOCK) !== 0;

function readCall(context: CallContext, number: number, capacity: number | null, offset: number | null): SyscallOutcome {
  const file = context.process.fds.get(number);
  if (file === undefined) return -E.BADF;
  if (offset !== null && offset < 0) return -E.INVAL;
  const max = Math.min(capacity ?? 0, Limits.transferBytes);
  const entry = entryOf(file);
  if (entry !== null && mappersOf(entry.inode).size > 0) return readMapped(keep(context), file, entry.inode, max, offset);
  if (file instanceof TtyFile) {
    const refused = file.tty.mayRead(context);
    if (refused < 0) return refused;
  }
  const first = file.read(max, offset, context);
  if (typeof first !== "number") return answer(first.length, 1, first);
  if (first !== -E.AGAIN || nonblocking(file)) return first;
  const own = keep(context, true);
  const retry = (): number | SyscallReply => {
    const result = file.read(max, offset, own);
    return typeof result === "number" ? result : answer(result.length, 1, result);
  };
  return context.kernel.block(
    context,
    [file.waiters],
    retry,
    file instanceof TtyFile ? file.tty.readTimeout : (file.readTimeout ?? Number.POSITIVE_INFINITY),
    file instanceof TtyFile ? 0 : -E.AGAIN,
    true,
  );
}

/** As the file is with what shared mappings of it hold. */
function readMapped(context: CallContext, file: OpenFile, inode: object, max: number, offset: number | null): SyscallOutcome {
  const own = context as LinuxContext;
  const spaces = [...mappersOf(inode)];
  const next = (index: number): Awaitable<SyscallOutcome> => {
    if (index < spaces.length) return whenReady(spaces[index]!.writeBack(own.kernel.host), () => next(index + 1));
    const result = file.read(max, offset, context);
    return typeof result === "number" ? result : answer(result.length, 1, result);
  };
  return own.kernel.later(own.thread, next(0));
}
/** Shared mappings show what was written. */
function written(file: OpenFile, data: Uint8Array, offset: number | null, count: number): SyscallOutcome {
  const inode = entryOf(file)?.inode;
  const spaces = inode === undefined ? undefined : mappersOf(inode);
  if (spaces === undefined || spaces.size === 0) return count;
  const end = offset === null ? file.seek(0, 1) : (file.flags & O.APPEND) !== 0 ? file.node!.size() : offset + count;
  const bytes = data.slice(0, count);
  const ops: ProcessOp[] = [];
  for (const space of spaces) space.fileWritten(inode!, end - count, bytes, ops);
  return { result: count, ops };
}

/** A blocking write ends when all bytes are gone (pipe(7), socket(7)). */
function writeCall(context: CallContext, number: number, data: Uint8Array | null, offset: number | null): SyscallOutcome {
  const file = context.process.fds.get(number);
  if (file === undefined) return -E.BADF;
  if (offset !== null && offset < 0) return -E.INVAL;
  if (data === null) return -E.FAULT;
  if (file instanceof TtyFile) {
    const refused = file.tty.mayWrite(context);
    if (refused < 0) return refused;
  }
  const first = file.write(data, offset, context);
  if (first >= data.length || nonblocking(file) || (first < 0 && first !== -E.AGAIN) || file.kind === "file" || file.kind === "memfd")
    return first > 0 ? written(file, data, offset, first) : first;
  const own = keep(context);
  const { length } = data;
  let done = Math.max(0, first);
  let source = (from: number): Uint8Array | null => data.subarray(from);
  const retry = (): number => {
    do {
      const rest = source(done);
      const result = rest === null ? -E.FAULT : file.write(rest, null, own);
      if (result === -E.AGAIN) return result;
      if (result < 0) return done > 0 ? done : result;
      done += result;
    } while (done < length);
    return done;
  };
  // Who waited for bytes may have taken them while it was told: nobody would wake this call for the room that there is.
  const second = first > 0 ? retry() : first;
  if (second !== -E.AGAIN) return second;
  source = sourceLater(own, data, done);
  const partly = (otherwise: number) => (): number => (done > 0 ? done : otherwise);
  return context.kernel.block(
    context,
    [file.waiters],
    retry,
    file.writeTimeout ?? Number.POSITIVE_INFINITY,
    partly(-E.AGAIN),
    true,
    partly(-E.INTR),
  );
}

/** Less than this is copied when its call has to wait. */
const COPIED = 16_384;
/**
 * What a call writes when it goes on later, from a position behind `done` on. `data`, its second argument, may be a view that is lent for the call itself only: much of it stays in the program's
 * memory and is looked at again, a little is copied.
 */
export function sourceLater({ kernel, thread }: CallContext, data: Uint8Array, done: number): (from: number) => Uint8Array | null {
  const { length } = data;
  if (kernel.host.argument === undefined || length - done < COPIED) {
    const copy = data.slice(done);
    return (from) => copy.subarray(from - done);
  }
  return (from) => {
    const now = kernel.host.argument!(thread.id, 1);
    const bytes = now instanceof Uint8Array ? now : ((now as MessageIn | null)?.data ?? null);
    return bytes?.length === length ? bytes.subarray(from) : null;
  };
}

const offsetOf = (value: SyscallValue | undefined): number | null => (num(value) === -1 ? null : num(value));
/** RWF_HIPRI, RWF_DSYNC, RWF_SYNC, RWF_NOWAIT. */
const RWF_KNOWN = 0xf;

/** The offset argument of sendfile and copy_file_range: 8 bytes in and out. */
const offsetIn = (value: Uint8Array | null): number | null =>
  value === null ? null : Number(new DataView(value.buffer, value.byteOffset).getBigInt64(0, true));
function offsetOut(value: number): Uint8Array {
  const result = new Uint8Array(8);
  new DataView(result.buffer).setBigInt64(0, BigInt(value), true);
  return result;
}

/** Copies once from `from` to `to`; `offsets` are -1 for the current position. Moves both positions by what was written. */
function moveBytes(
  context: CallContext,
  from: OpenFile,
  fromOffset: number | null,
  to: OpenFile,
  toOffset: number | null,
  count: number,
): number {
  const most = Math.min(count, ROUND);
  if (from instanceof PipeFile) {
    if (from.pipe.length === 0) {
      const probe = from.read(1, null);
      return typeof probe === "number" ? probe : 0;
    }
    const data = from.pipe.peek(most);
    const written = to.write(data, toOffset, context);
    if (written > 0) {
      from.pipe.skip(written);
      from.waiters.notify();
    }
    return written;
  }
  const limit = to instanceof PipeFile ? Math.min(most, to.pipe.free) : most;
  if (limit === 0) return -E.AGAIN;
  const position = fromOffset ?? from.seek(0, 1);
  if (position < 0) {
    // Not seekable (a socket): what is read must be written.
    if (!(to instanceof PipeFile)) return -E.INVAL;
    const data = from.read(limit, null, context);
    return typeof data === "number" ? data : data.length === 0 ? 0 : to.write(data, null, context);
  }
  const data = from.read(limit, position, context);
  if (typeof data === "number") return data;
  if (data.length === 0) return 0;
  const written = to.write(data, toOffset, context);
  if (written > 0 && fromOffset === null) from.seek(position + written, 0);
  return written;
}

/** sendfile, splice and copy_file_range: waits for either side unless one of the two does not block. */
function transfer(
  context: CallContext,
  inNumber: number,
  inValue: Uint8Array | null,
  inArg: number,
  outNumber: number,
  outValue: Uint8Array | null,
  outArg: number,
  count: number,
  wait: boolean,
): SyscallOutcome {
  const from = context.process.fds.get(inNumber);
  const to = context.process.fds.get(outNumber);
  if (from === undefined || to === undefined) return -E.BADF;
  const fromOffset = offsetIn(inValue);
  const toOffset = offsetIn(outValue);
  if ((fromOffset !== null && fromOffset < 0) || (toOffset !== null && toOffset < 0)) return -E.INVAL;
  if ((fromOffset !== null && from.seek(0, 1) === -E.SPIPE) || (toOffset !== null && to.seek(0, 1) === -E.SPIPE)) return -E.SPIPE;
  if (count === 0) return 0;
  const own = keep(context);
  const once = (): number | SyscallReply => {
    const moved = moveBytes(own, from, fromOffset, to, toOffset, count);
    if (moved < 0) return moved;
    const out = [];
    if (fromOffset !== null && inArg >= 0) out.push({ arg: inArg, value: offsetOut(fromOffset + moved) });
    if (toOffset !== null && outArg >= 0) out.push({ arg: outArg, value: offsetOut(toOffset + moved) });
    return out.length === 0 ? moved : { result: moved, out };
  };
  const first = once();
  if (first !== -E.AGAIN || !wait || nonblocking(to) || (nonblocking(from) && from instanceof PipeFile)) return first;
  return context.kernel.block(context, [from.waiters, to.waiters], once, Number.POSITIVE_INFINITY, 0, true);
}

/** Whether the two ranges of copy_file_range are of one file and touch each other. */
function overlap(from: OpenFile, fromOffset: number | null, to: OpenFile, toOffset: number | null, length: number): boolean {
  const entry = entryOf(from);
  if (entry === null || entry.inode !== entryOf(to)?.inode) return false;
  const start = fromOffset ?? from.seek(0, 1);
  const target = toOffset ?? to.seek(0, 1);
  const count = Math.min(length, Math.max(0, from.node!.size() - start));
  return target + count > start && target < start + count;
}

function syncFile(context: CallContext, number: number, dataOnly: boolean): SyscallOutcome {
  const file = context.process.fds.get(number);
  if (file === undefined) return -E.BADF;
  if (file.fsync === undefined) return -E.INVAL;
  return later(context, (done) => file.fsync!(dataOnly, done));
}

export const transferSyscalls: readonly Syscall[] = [
  {
    number: 63,
    name: "read",
    arguments: [fd(), output("buf", "count", true), ulong("count")],
    support: FULL,
    handler: (context, [number, capacity]) => readCall(context, num(number), capacity as number | null, null),
  },
  {
    number: 64,
    name: "write",
    arguments: [fd(), input("buf", "count", true), ulong("count")],
    support: FULL,
    handler: (context, [number, data, count]) =>
      writeCall(context, num(number), (data as Uint8Array | null) ?? (num(count) === 0 ? new Uint8Array(0) : null), null),
  },
  {
    number: 65,
    name: "readv",
    arguments: [fd(), vector("iovOut"), ulong("iovcnt")],
    support: FULL,
    handler: (context, [number, capacity]) => readCall(context, num(number), num(capacity), null),
  },
  {
    number: 66,
    name: "writev",
    arguments: [fd(), vector("iovIn"), ulong("iovcnt")],
    support: FULL,
    handler: (context, [number, data]) => writeCall(context, num(number), bytes(data), null),
  },
  {
    number: 67,
    name: "pread64",
    arguments: [fd(), output("buf", "count", true), ulong("count"), long("offset")],
    support: FULL,
    handler: (context, [number, capacity, , offset]) => readCall(context, num(number), capacity as number | null, num(offset)),
  },
  {
    number: 68,
    name: "pwrite64",
    arguments: [fd(), input("buf", "count"), ulong("count"), long("offset")],
    support: FULL,
    handler: (context, [number, data, , offset]) => writeCall(context, num(number), bytes(data), num(offset)),
  },
  {
    number: 69,
    name: "preadv",
    arguments: [fd(), vector("iovOut"), ulong("iovcnt"), long("offset")],
    support: FULL,
    handler: (context, [number, capacity, , offset]) => readCall(context, num(number), num(capacity), num(offset)),
  },
  {
    number: 70,
    name: "pwritev",
    arguments: [fd(), vector("iovIn"), ulong("iovcnt"), long("offset")],
    support: FULL,
    handler: (context, [number, data, , offset]) => writeCall(context, num(number), bytes(data), num(offset)),
  },
  {
    number: 286,
    name: "preadv2",
    arguments: [fd(), vector("iovOut"), ulong("iovcnt"), long("offset"), long("offset_high"), int("flags", "hex")],
    support: partial("RWF_HIPRI, RWF_DSYNC, RWF_SYNC and RWF_NOWAIT have no effect"),
    handler: (context, [number, capacity, , offset, , flags]) =>
      (num(flags) & ~RWF_KNOWN) !== 0 ? -E.OPNOTSUPP : readCall(context, num(number), num(capacity), offsetOf(offset)),
  },
  {
    number: 287,
    name: "pwritev2",
    arguments: [fd(), vector("iovIn"), ulong("iovcnt"), long("offset"), long("offset_high"), int("flags", "hex")],
    support: partial("RWF_HIPRI, RWF_DSYNC, RWF_SYNC and RWF_NOWAIT have no effect"),
    handler: (context, [number, data, , offset, , flags]) =>
      (num(flags) & ~RWF_KNOWN) !== 0 ? -E.OPNOTSUPP : writeCall(context, num(number), bytes(data), offsetOf(offset)),
  },
  {
    number: 62,
    name: "lseek",
    arguments: [fd(), long("offset"), uint("whence")],
    support: partial("in volumes, and in files that were sparse before the cVM began, SEEK_DATA and SEEK_HOLE see no holes"),
    handler: (context, [number, offset, whence]) => context.process.fds.get(num(number))?.seek(num(offset), num(whence)) ?? -E.BADF,
  },
  {
    number: 71,
    name: "sendfile",
    arguments: [fd("out_fd"), fd("in_fd"), both("offset", 8, true), ulong("count")],
    support: FULL,
    handler: (context, [to, from, offset, count]) =>
      transfer(context, num(from), offset as Uint8Array | null, 2, num(to), null, -1, num(count), true),
  },
  {
    number: 76,
    name: "splice",
    arguments: [fd("fd_in"), both("off_in", 8, true), fd("fd_out"), both("off_out", 8, true), ulong("len"), uint("flags", "hex")],
    support: FULL,
    handler(context, [from, fromOffset, to, toOffset, length, flags]) {
      const one = context.process.fds.get(num(from));
      const other = context.process.fds.get(num(to));
      if (one === undefined || other === undefined) return -E.BADF;
      if (!(one instanceof PipeFile) && !(other instanceof PipeFile)) return -E.INVAL;
      return transfer(
        context,
        num(from),
        fromOffset as Uint8Array | null,
        1,
        num(to),
        toOffset as Uint8Array | null,
        3,
        num(length),
        (num(flags) & 2) === 0,
      );
    },
  },
  {
    number: 77,
    name: "tee",
    arguments: [fd("fd_in"), fd("fd_out"), ulong("len"), uint("flags", "hex")],
    support: FULL,
    handler(context, [from, to, length, flags]) {
      const one = context.process.fds.get(num(from));
      const other = context.process.fds.get(num(to));
      if (one === undefined || other === undefined) return -E.BADF;
      if (!(one instanceof PipeFile) || !(other instanceof PipeFile) || one.pipe === other.pipe) return -E.INVAL;
      const own = keep(context);
      const once = (): number => {
        if (one.pipe.length === 0) return one.pipe.writers === 0 ? 0 : -E.AGAIN;
        const room = Math.min(other.pipe.free, num(length));
        return room === 0 ? -E.AGAIN : other.write(one.pipe.peek(room), null, own);
      };
      const first = once();
      return first !== -E.AGAIN || (num(flags) & 2) !== 0
        ? first
        : context.kernel.block(context, [one.waiters, other.waiters], once, Number.POSITIVE_INFINITY, 0, true);
    },
  },
  {
    number: 285,
    name: "copy_file_range",
    arguments: [fd("fd_in"), both("off_in", 8, true), fd("fd_out"), both("off_out", 8, true), ulong("len"), uint("flags")],
    support: FULL,
    handler(context, [from, fromOffset, to, toOffset, length, flags]) {
      if (num(flags) !== 0) return -E.INVAL;
      const one = context.process.fds.get(num(from));
      const other = context.process.fds.get(num(to));
      if (one === undefined || other === undefined) return -E.BADF;
      if (one.kind === "directory" || other.kind === "directory") return -E.ISDIR;
      if (one.truncate === undefined || other.truncate === undefined) return -E.INVAL;
      if (!canRead(one.flags) || !canWrite(other.flags) || (other.flags & O.APPEND) !== 0) return -E.BADF;
      if (overlap(one, offsetIn(fromOffset as Uint8Array | null), other, offsetIn(toOffset as Uint8Array | null), num(length)))
        return -E.INVAL;
      return transfer(
        context,
        num(from),
        fromOffset as Uint8Array | null,
        1,
        num(to),
        toOffset as Uint8Array | null,
        3,
        num(length),
        false,
      );
    },
  },
  { number: 82, name: "fsync", arguments: [fd()], support: FULL, handler: (context, [number]) => syncFile(context, num(number), false) },
  { number: 83, name: "fdatasync", arguments: [fd()], support: FULL, handler: (context, [number]) => syncFile(context, num(number), true) },
  {
    number: 84,
    name: "sync_file_range",
    arguments: [fd(), long("offset"), long("nbytes"), uint("flags", "hex")],
    support: partial("syncs the whole file"),
    handler: (context, [number]) => syncFile(context, num(number), true),
  },
  {
    number: 81,
    name: "sync",
    arguments: [],
    support: partial("files that are open, and the metadata"),
    handler: (context) =>
      later(context, (done) => {
        const mounts = (context.kernel.vfs as { mounts?: readonly { fs: { sync(done: (result: number) => void): void } }[] }).mounts ?? [];
        let left = mounts.length;
        if (left === 0) done(0);
        for (const { fs } of mounts)
          fs.sync(() => {
            if (--left === 0) done(0);
          });
      }),
  },
  {
    number: 267,
    name: "syncfs",
    arguments: [fd()],
    support: partial("files that are open, and the metadata"),
    handler(context, [number]) {
      const file = context.process.fds.get(num(number));
      if (file === undefined) return -E.BADF;
      const entry = entryOf(file);
      return entry === null ? 0 : later(context, (done) => entry.inode.fs.sync(done));
    },
  },
  {
    number: 223,
    name: "fadvise64",
    arguments: [fd(), long("offset"), long("len"), int("advice")],
    support: partial("checked, no effect"),
    handler(context, [number, , length, advice]) {
      const file = context.process.fds.get(num(number));
      if (file === undefined) return -E.BADF;
      if (file.kind === "pipe" || file.kind === "socket") return -E.SPIPE;
      return num(length) < 0 || num(advice) < 0 || num(advice) > 5 ? -E.INVAL : 0;
    },
  },
  {
    number: 213,
    name: "readahead",
    arguments: [fd(), long("offset"), ulong("count")],
    support: partial("checked, no effect"),
    handler(context, [number]) {
      const file = context.process.fds.get(num(number));
      return file === undefined ? -E.BADF : file.kind === "file" ? 0 : -E.INVAL;
    },
  },
  {
    number: 46,
    name: "ftruncate",
    arguments: [fd(), long("length")],
    support: FULL,
    handler(context, [number, length]) {
      const file = context.process.fds.get(num(number));
      if (file === undefined) return -E.BADF;
      if (num(length) < 0 || file.truncate === undefined) return -E.INVAL;
      if (canWrite(file.flags) && num(length) > (file.node?.size() ?? Infinity) && beyondLimit(context, num(length) - 1, 1) < 0)
        return -E.FBIG;
      return file.truncate(num(length));
    },
  },
];
