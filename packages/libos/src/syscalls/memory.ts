/** mmap(2) and relatives. */
import type { Awaitable } from "@cvm/monitor/abi";
import { ADDRESSES, LOWEST, objectOf, PAGE, roundUp, type MappingOptions } from "../kernel/address-space.ts";
import { E } from "../kernel/errno.ts";
import { Rlimit, type LinuxContext } from "../kernel/process.ts";
import { whenReady } from "../kernel/ready.ts";
import type { OpenFile, ProcessOp, Syscall, SyscallOutcome, VfsFile } from "../kernel/types.ts";
import { entryOf } from "./files/common.ts";
import { address, call, fd, FULL, int, long, output, partial, refused, ulong } from "./define.ts";

const Map = {
  SHARED: 1,
  PRIVATE: 2,
  SHARED_VALIDATE: 3,
  TYPE: 0xf,
  FIXED: 0x10,
  ANONYMOUS: 0x20,
  GROWSDOWN: 0x100,
  DENYWRITE: 0x800,
  EXECUTABLE: 0x1000,
  LOCKED: 0x2000,
  NORESERVE: 0x4000,
  POPULATE: 0x8000,
  NONBLOCK: 0x10000,
  STACK: 0x20000,
  HUGETLB: 0x40000,
  SYNC: 0x80000,
  FIXED_NOREPLACE: 0x100000,
} as const;
const mapFlags = {
  MAP_SHARED_VALIDATE: 3,
  MAP_SHARED: 1,
  MAP_PRIVATE: 2,
  MAP_FIXED: 0x10,
  MAP_ANONYMOUS: 0x20,
  MAP_GROWSDOWN: 0x100,
  MAP_DENYWRITE: 0x800,
  MAP_EXECUTABLE: 0x1000,
  MAP_LOCKED: 0x2000,
  MAP_NORESERVE: 0x4000,
  MAP_POPULATE: 0x8000,
  MAP_NONBLOCK: 0x10000,
  MAP_STACK: 0x20000,
  MAP_HUGETLB: 0x40000,
  MAP_FIXED_NOREPLACE: 0x100000,
} as const;
const protFlags = { PROT_NONE: 0, PROT_READ: 1, PROT_WRITE: 2, PROT_EXEC: 4, PROT_GROWSDOWN: 0x1000000 } as const;
const O_ACCMODE = 3;
const O_WRONLY = 1;
const O_RDWR = 2;
const O_PATH = 0o10000000;

const advices = {
  MADV_NORMAL: 0,
  MADV_RANDOM: 1,
  MADV_SEQUENTIAL: 2,
  MADV_WILLNEED: 3,
  MADV_DONTNEED: 4,
  MADV_FREE: 8,
  MADV_REMOVE: 9,
  MADV_DONTFORK: 10,
  MADV_DOFORK: 11,
  MADV_MERGEABLE: 12,
  MADV_UNMERGEABLE: 13,
  MADV_HUGEPAGE: 14,
  MADV_NOHUGEPAGE: 15,
  MADV_DONTDUMP: 16,
  MADV_DODUMP: 17,
  MADV_WIPEONFORK: 18,
  MADV_KEEPONFORK: 19,
  MADV_COLD: 20,
  MADV_PAGEOUT: 21,
  MADV_POPULATE_READ: 22,
  MADV_POPULATE_WRITE: 23,
  MADV_DONTNEED_LOCKED: 24,
  MADV_COLLAPSE: 25,
} as const;
const adviceNumbers: ReadonlySet<number> = new Set(Object.values(advices));

const reply = (result: number, ops: ProcessOp[]): SyscallOutcome => (ops.length === 0 ? result : { result, ops });

/** What of a file a mapping shows, or an error: -EBADF, -EACCES, -ENODEV. null: like anonymous memory (/dev/zero). */
/** F_SEAL_WRITE, F_SEAL_FUTURE_WRITE. */
const SEALED = 0x18;

function mappable(file: OpenFile | undefined, prot: number, shared: boolean): VfsFile | number | null {
  if (file === undefined || (file.flags & O_PATH) !== 0) return -E.BADF;
  const access = file.flags & O_ACCMODE;
  if (access === O_WRONLY || (shared && (prot & 2) !== 0 && access !== O_RDWR)) return -E.ACCES;
  if (shared && (prot & 2) !== 0 && ((file.seals ?? 0) & SEALED) !== 0) return -E.PERM;
  if (file.kind === "device" && file.name === "/dev/zero") return null;
  return file.node ?? -E.NODEV;
}

function mmap(
  context: LinuxContext,
  hint: number,
  bytes: number,
  prot: number,
  flags: number,
  number: number,
  offset: number,
): SyscallOutcome {
  const { process, kernel } = context;
  const { memory } = process;
  const anonymous = (flags & Map.ANONYMOUS) !== 0;
  const type = flags & Map.TYPE;
  const shared = type === Map.SHARED || type === Map.SHARED_VALIDATE;
  if (offset % PAGE !== 0) return -E.INVAL;
  const file = anonymous ? null : mappable(process.fds.get(number), prot, shared);
  if (typeof file === "number") return file;
  if (bytes <= 0 || (!shared && type !== Map.PRIVATE)) return -E.INVAL;
  const length = roundUp(bytes);
  if (length > ADDRESSES || offset + length > Number.MAX_SAFE_INTEGER) return -E.NOMEM;
  if ((flags & Map.HUGETLB) !== 0) return -E.NOMEM;
  if (memory.virtual + length > process.limit(Rlimit.AS).soft) return -E.NOMEM;
  const fixed = (flags & (Map.FIXED | Map.FIXED_NOREPLACE)) !== 0;
  if (fixed) {
    if (hint % PAGE !== 0) return -E.INVAL;
    if (hint < LOWEST) return -E.PERM;
    if (hint + length > ADDRESSES) return -E.NOMEM;
    if ((flags & Map.FIXED) === 0 && !memory.isFree(hint, hint + length)) return -E.EXIST;
  }
  const accessible = (prot & 7) !== 0;
  const options: MappingOptions = {
    prot: prot & 7,
    shared,
    file,
    offset,
    name: "",
    object: shared ? objectOf(file === null ? null : (entryOf(process.fds.get(number)!)?.inode ?? file)) : 0,
    writable:
      file !== null && ((process.fds.get(number)!.seals ?? 0) & SEALED) === 0 && (process.fds.get(number)!.flags & O_ACCMODE) === O_RDWR,
  };
  const place = (): number => {
    if (fixed) return hint;
    const wanted = roundUp(hint);
    return hint >= LOWEST && wanted + length <= memory.reach && memory.isFree(wanted, wanted + length)
      ? wanted
      : memory.place(length, !accessible);
  };
  // A file's content is used at once, but as a rule most of what is mapped of a file is not beyond its end.
  const needed =
    !accessible || (flags & Map.NORESERVE) !== 0 ? 0 : file === null ? length : Math.min(length, Math.max(0, file.size() - offset));
  const map = (at: number): Awaitable<SyscallOutcome> => {
    if (at < 0) return at;
    return whenReady(memory.admit(kernel.host, accessible ? at + length : 0, needed), (admitted): Awaitable<SyscallOutcome> => {
      if (!admitted) return -E.NOMEM;
      // Over a port another thread may have been faster.
      if (!fixed && !memory.isFree(at, at + length)) return map(place());
      const ops: ProcessOp[] = [];
      if (fixed) memory.unmap(at, length, ops);
      const content = file === null || !accessible ? undefined : file.pread(offset, length);
      const result = memory.map(at, length, options, content, ops);
      return reply(result < 0 ? result : at, ops);
    });
  };
  const written = fixed ? memory.writeBack(kernel.host, hint, hint + length) : undefined;
  return kernel.later(
    context.thread,
    whenReady(written, () => map(place())),
  );
}

/** Whether a range is of whole pages inside the region; `length` is rounded up. */
const badRange = (start: number, length: number): boolean =>
  start % PAGE !== 0 || start < 0 || length < 0 || !Number.isSafeInteger(start + length);

export const memorySyscalls: readonly Syscall[] = [
  call(214, "brk", [address("addr")], FULL, ({ process, kernel, thread }, [wanted]) => {
    const { memory } = process;
    const move = (left: number): SyscallOutcome => {
      const ops: ProcessOp[] = [];
      const result = memory.setBrk(wanted as number, process.limit(Rlimit.DATA).soft, left, ops);
      return reply(result, ops);
    };
    return (wanted as number) <= memory.brk ? move(0) : kernel.later(thread, whenReady(memory.account.left(), move));
  }),
  call(215, "munmap", [address("addr"), ulong("length")], FULL, (context, [start, bytes]) => {
    const { memory } = context.process;
    const length = roundUp(bytes as number);
    if (badRange(start as number, length) || length === 0 || (start as number) + length > ADDRESSES) return -E.INVAL;
    const { host } = context.kernel;
    return context.kernel.later(
      context.thread,
      whenReady(memory.writeBack(host, start as number, (start as number) + length), () => {
        const ops: ProcessOp[] = [];
        memory.unmap(start as number, length, ops);
        return reply(0, ops);
      }),
    );
  }),
  call(
    216,
    "mremap",
    [
      address("old_address"),
      ulong("old_size"),
      ulong("new_size"),
      int("flags", { flags: { MREMAP_MAYMOVE: 1, MREMAP_FIXED: 2, MREMAP_DONTUNMAP: 4 } }),
      address("new_address"),
    ],
    partial("no MREMAP_DONTUNMAP"),
    (context, args) => {
      const [old, oldBytes, newBytes, flags, target] = args as readonly number[] as [number, number, number, number, number];
      const { memory } = context.process;
      const oldLength = roundUp(oldBytes);
      const newLength = roundUp(newBytes);
      const fixed = (flags & 2) !== 0;
      if (badRange(old, oldLength) || newLength === 0 || (flags & ~3) !== 0 || (fixed && (flags & 1) === 0)) return -E.INVAL;
      if (newLength > ADDRESSES) return -E.NOMEM;
      if (
        fixed &&
        (target % PAGE !== 0 || target < LOWEST || target + newLength > ADDRESSES || (target < old + oldLength && old < target + newLength))
      )
        return -E.INVAL;
      return context.kernel.later(
        context.thread,
        whenReady(memory.writeBack(context.kernel.host, old, old + oldLength), () => {
          const ops: ProcessOp[] = [];
          const moved = memory.remap(context.kernel.host, old, oldLength, newLength, (flags & 1) !== 0, fixed ? target : null, ops);
          return whenReady(moved, (result) => reply(result, ops));
        }),
      );
    },
  ),
  call(
    222,
    "mmap",
    [address("addr"), ulong("length"), int("prot", { flags: protFlags }), int("flags", { flags: mapFlags }), fd("fd"), long("offset")],
    partial(
      "files are copied at the call; shared mappings reach the file at msync, munmap and exit, other mappings when their process runs next; no MAP_HUGETLB; accessible memory needs room in the address space of its host",
    ),
    (context, args) => {
      const [hint, length, prot, flags, number, offset] = args as readonly number[] as [number, number, number, number, number, number];
      return mmap(context, hint, length, prot, flags, number, offset);
    },
  ),
  call(
    226,
    "mprotect",
    [address("addr"), ulong("len"), int("prot", { flags: protFlags })],
    FULL,
    ({ process, kernel, thread }, [start, bytes, prot]) => {
      const { memory } = process;
      const length = roundUp(bytes as number);
      if (badRange(start as number, length) || ((prot as number) & ~0x7) !== 0) return -E.INVAL;
      if (length === 0) return 0;
      const end = (start as number) + length;
      const needed = prot === 0 ? 0 : memory.reserved(start as number, end);
      return kernel.later(
        thread,
        whenReady(needed === 0 || memory.admit(kernel.host, end, needed), (admitted) => {
          if (!admitted) return -E.NOMEM;
          const ops: ProcessOp[] = [];
          const result = memory.protect(start as number, length, prot as number, ops);
          return reply(result, ops);
        }),
      );
    },
  ),
  call(
    227,
    "msync",
    [address("addr"), ulong("length"), int("flags", { flags: { MS_ASYNC: 1, MS_INVALIDATE: 2, MS_SYNC: 4 } })],
    partial("the file has the changes at once; with MS_SYNC too its disk has them only after an fsync"),
    (context, [start, bytes, flags]) => {
      const { memory } = context.process;
      const length = roundUp(bytes as number);
      if (badRange(start as number, length) || ((flags as number) & ~7) !== 0 || ((flags as number) & 5) === 5) return -E.INVAL;
      if (!memory.allows(start as number, length, 0)) return -E.NOMEM;
      return context.kernel.later(
        context.thread,
        whenReady(memory.writeBack(context.kernel.host, start as number, (start as number) + length), () => 0),
      );
    },
  ),
  call(228, "mlock", [address("addr"), ulong("len")], partial("nothing is ever swapped"), ({ process }, [start, bytes]) =>
    process.memory.allows(start as number, bytes as number, 0) ? 0 : -E.NOMEM,
  ),
  call(229, "munlock", [address("addr"), ulong("len")], FULL, ({ process }, [start, bytes]) =>
    process.memory.allows(start as number, bytes as number, 0) ? 0 : -E.NOMEM,
  ),
  call(230, "mlockall", [int("flags")], partial("nothing is ever swapped"), (_context, [flags]) =>
    (flags as number) === 0 || ((flags as number) & ~7) !== 0 ? -E.INVAL : 0,
  ),
  call(231, "munlockall", [], FULL, () => 0),
  call(
    232,
    "mincore",
    [address("addr"), ulong("length"), output("vec", { arg: "length", times: 1 / PAGE })],
    partial("mapped pages count as resident"),
    ({ process }, [start, bytes]) => {
      const length = roundUp(bytes as number);
      if (badRange(start as number, length)) return -E.INVAL;
      if (!process.memory.allows(start as number, length, 0)) return -E.NOMEM;
      return { result: 0, out: [{ arg: 2, value: new Uint8Array(length / PAGE).fill(1) }] };
    },
  ),
  call(
    233,
    "madvise",
    [address("addr"), ulong("length"), int("advice", { values: advices })],
    partial("MADV_DONTNEED zeroes; hints are accepted; no MADV_REMOVE, no MADV_WIPEONFORK"),
    ({ process }, [start, bytes, advice]) => {
      const length = roundUp(bytes as number);
      if (
        badRange(start as number, length) ||
        !adviceNumbers.has(advice as number) ||
        advice === advices.MADV_REMOVE ||
        advice === advices.MADV_WIPEONFORK
      )
        return -E.INVAL;
      if (length === 0) return 0;
      if (advice === advices.MADV_DONTNEED || advice === advices.MADV_DONTNEED_LOCKED) {
        const ops: ProcessOp[] = [];
        return reply(process.memory.discard(start as number, length, ops), ops);
      }
      return process.memory.allows(start as number, length, 0) ? 0 : -E.NOMEM;
    },
  ),
  call(284, "mlock2", [address("addr"), ulong("len"), int("flags")], partial("nothing is ever swapped"), ({ process }, [start, bytes]) =>
    process.memory.allows(start as number, bytes as number, 0) ? 0 : -E.NOMEM,
  ),
  refused(288, "pkey_mprotect", E.NOSYS, "there are no protection keys"),
  refused(289, "pkey_alloc", E.NOSYS, "there are no protection keys"),
  refused(290, "pkey_free", E.NOSYS, "there are no protection keys"),
  // Programs that ask get "no NUMA" and go on.
  refused(235, "mbind", E.NOSYS, "no NUMA"),
  refused(236, "get_mempolicy", E.NOSYS, "no NUMA"),
  refused(237, "set_mempolicy", E.NOSYS, "no NUMA"),
];
