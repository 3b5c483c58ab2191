/** What the system calls of files share: declarations, descriptors, places and memory of the caller. */
import { PENDING, type ArgumentDeclaration } from "@cvm/monitor/abi";
import { AT } from "../../files/constants.ts";
import type { Dentry } from "../../files/node.ts";
import { BaseFile } from "../../files/open-file.ts";
import type { VirtualFiles } from "../../files/vfs.ts";
import { E } from "../../kernel/errno.ts";
import type { CallContext, OpenFile, SyscallOutcome, SyscallReply, SyscallValue } from "../../kernel/types.ts";

// ---- declarations
export const fd = (name = "fd"): ArgumentDeclaration => ({ name, kind: "fd" });
export const int = (name: string, print?: ArgumentDeclaration["print"]): ArgumentDeclaration => ({
  name,
  kind: "int",
  ...(print === undefined ? {} : { print }),
});
export const uint = (name: string, print?: ArgumentDeclaration["print"]): ArgumentDeclaration => ({
  name,
  kind: "uint",
  ...(print === undefined ? {} : { print }),
});
export const long = (name: string): ArgumentDeclaration => ({ name, kind: "long" });
export const ulong = (name: string): ArgumentDeclaration => ({ name, kind: "ulong" });
export const address = (name: string): ArgumentDeclaration => ({ name, kind: "address", print: "hex" });
export const path = (name = "path", nullable = false): ArgumentDeclaration => ({ name, kind: "path", ...(nullable ? { nullable } : {}) });
/** `length`: the name of another argument, or a number of bytes. */
export const input = (name: string, length: string | number, nullable = false): ArgumentDeclaration => buffer(name, "in", length, nullable);
export const output = (name: string, length: string | number, nullable = false): ArgumentDeclaration =>
  buffer(name, "out", length, nullable);
export const both = (name: string, length: string | number, nullable = false): ArgumentDeclaration =>
  buffer(name, "inout", length, nullable);
export const vector = (kind: "iovIn" | "iovOut"): ArgumentDeclaration => ({ name: "iov", kind, length: { arg: "iovcnt" } });

function buffer(name: string, kind: "in" | "out" | "inout", length: string | number, nullable: boolean): ArgumentDeclaration {
  return { name, kind, length: typeof length === "number" ? { bytes: length } : { arg: length }, ...(nullable ? { nullable } : {}) };
}

export const FULL = { level: "full" } as const;
export const partial = (note: string): { readonly level: "partial"; readonly note: string } => ({ level: "partial", note });

// ---- values
export const num = (value: SyscallValue | undefined): number => value as number;
export const text = (value: SyscallValue | undefined): string => value as string;
export const bytes = (value: SyscallValue | undefined): Uint8Array => value as Uint8Array;

/** A reply with bytes for the argument at position `arg`. */
export const answer = (result: number, arg: number, value: Uint8Array): SyscallReply => ({ result, out: [{ arg, value }] });

export const filesOf = (context: CallContext): VirtualFiles => context.kernel.vfs as VirtualFiles;

/** The directory that a path of a call starts from: -EBADF, -ENOTDIR. */
export function baseOf(context: CallContext, directory: number, name: string): Dentry | number {
  const vfs = filesOf(context);
  if (name.charCodeAt(0) === 47) return vfs.root;
  if (directory === AT.FDCWD) return vfs.workingDirectory(context);
  const file = context.process.fds.get(directory);
  if (file === undefined) return -E.BADF;
  const entry = entryOf(file);
  return entry === null || !entry.inode.isDirectory ? -E.NOTDIR : entry;
}

/** Where an open file is in the tree; null for pipes, sockets and the like. */
export const entryOf = (file: OpenFile): Dentry | null => (file instanceof BaseFile ? file.entry : null);

/** A file of a call with a path and flags: an entry of the tree, or an open file without a name (AT_EMPTY_PATH, links of /proc). */
export type Target = { readonly entry: Dentry; readonly file: OpenFile | null } | { readonly entry: null; readonly file: OpenFile };

/**
 * What `(directory, name, flags)` names: AT_EMPTY_PATH with an empty name is the descriptor itself.
 * `followByDefault`: AT_SYMLINK_NOFOLLOW turns following off; otherwise AT_SYMLINK_FOLLOW turns it on.
 */
export function targetOf(
  context: CallContext,
  directory: number,
  name: string | null,
  flags: number,
  followByDefault = true,
): Target | number {
  const path = name ?? "";
  if (path === "" && (flags & AT.EMPTY_PATH) !== 0) {
    if (directory === AT.FDCWD) {
      const entry = filesOf(context).workingDirectory(context);
      return typeof entry === "number" ? entry : { entry, file: null };
    }
    const file = context.process.fds.get(directory);
    return file === undefined ? -E.BADF : { entry: entryOf(file), file };
  }
  if (name === null) return -E.FAULT;
  const base = baseOf(context, directory, path);
  if (typeof base === "number") return path === "" ? -E.NOENT : base;
  const follow = followByDefault ? (flags & AT.SYMLINK_NOFOLLOW) === 0 : (flags & AT.SYMLINK_FOLLOW) !== 0;
  const place = filesOf(context).walk(base, path, follow, context);
  if (typeof place === "number") return place;
  if (place.entry !== null) return { entry: place.entry, file: null };
  if (place.file !== null) return { entry: entryOf(place.file), file: place.file };
  return -E.NOENT;
}

/** Starts something that ends later; the thread sleeps until it does. Signals wait, as in an uninterruptible sleep. */
export function later(context: CallContext, start: (done: (result: number) => void) => void): SyscallOutcome {
  const { kernel, thread } = context;
  let now: number | null = null;
  let sleeping = false;
  start((result) => {
    if (!sleeping) now = result;
    else kernel.answer(thread, result);
  });
  if (now !== null) return now;
  sleeping = true;
  return PENDING;
}

/** Reads memory of the caller at an address that the gate does not follow, then answers with `then`. `null`: not readable. */
export function withMemory(
  context: CallContext,
  at: number,
  length: number,
  then: (content: Uint8Array | null) => SyscallOutcome,
): SyscallOutcome {
  const { kernel, process, thread } = context;
  const content = kernel.host.readMemory(process.space, at, length);
  if (content === null || content instanceof Uint8Array) return then(content);
  content.then((read) => {
    const outcome = then(read);
    if (outcome !== PENDING) kernel.answer(thread, outcome as number | SyscallReply);
  });
  return PENDING;
}

/** Writes `content` to an address that the gate does not follow: -EFAULT where that is impossible, else `result`. */
export function writeMemory(context: CallContext, at: number, content: Uint8Array, result: number): SyscallOutcome {
  const { space } = context.process;
  return withMemory(context, at, content.length, (old) =>
    old === null ? -E.FAULT : { result, ops: [{ op: "write", process: space, address: at, bytes: content }] },
  );
}
