/** What all open files have in common, and files and directories of the tree. */
import { encodeText } from "@cvm/monitor/abi";
import { E } from "../kernel/errno.ts";
import { Poll, type CallContext, type OpenFile, type Stat, type VfsFile } from "../kernel/types.ts";
import { WaitQueue } from "../kernel/wait.ts";
import { Limit, O, S, Seal, Seek } from "./constants.ts";
import type { Content, Dentry, DirectoryEntry, Inode } from "./node.ts";

/** Result of an ioctl that writes through its argument. */
export type IoctlResult = number | { readonly result: number; readonly output: Uint8Array };

const EMPTY = new Uint8Array(0);

export const canRead = (flags: number): boolean => (flags & O.ACCMODE) !== O.WRONLY && (flags & O.PATH) === 0;
export const canWrite = (flags: number): boolean => (flags & O.ACCMODE) !== O.RDONLY && (flags & O.PATH) === 0;

/** Takes one more reference to an open file. */
export function retain<T extends OpenFile>(file: T): T {
  file.references++;
  return file;
}
/** Gives one reference back; the last one closes. */
export function release(file: OpenFile): void {
  if (--file.references === 0) file.close();
}

/** Defaults: nothing to read or write, not seekable, always ready. One reference. */
export abstract class BaseFile implements OpenFile {
  flags: number;
  references = 1;
  readonly waiters: WaitQueue = new WaitQueue();
  abstract readonly kind: OpenFile["kind"];
  abstract readonly name: string;
  /** Where it was opened; null for what has no name in the tree. */
  readonly entry: Dentry | null;
  readTimeout?: number;
  writeTimeout?: number;

  constructor(flags: number, entry: Dentry | null = null) {
    this.flags = flags;
    this.entry = entry;
  }
  read(_max: number, _offset: number | null, _context: CallContext): Uint8Array | number {
    return -E.INVAL;
  }
  write(_bytes: Uint8Array, _offset: number | null, _context: CallContext): number {
    return -E.INVAL;
  }
  poll(): number {
    return Poll.IN | Poll.OUT;
  }
  stat(): Stat | number {
    return this.entry === null ? anonymousStat(0o600) : this.entry.inode.stat();
  }
  seek(_offset: number, _whence: number): number {
    return -E.SPIPE;
  }
  ioctl(_request: number, _argument: number, _input: Uint8Array | null, _context: CallContext): IoctlResult {
    return -E.NOTTY;
  }
  close(): void {}
}

let anonymousNumber = 1;
/** A number for an object without an inode. */
export const nextAnonymousNumber = (): number => anonymousNumber++;

export function anonymousStat(mode: number, ino = 1): Stat {
  return { dev: 14, ino, mode, nlink: 1, uid: 0, gid: 0, rdev: 0, size: 0, blksize: 4096, blocks: 0, atime: 0n, mtime: 0n, ctime: 0n };
}

/** New position for lseek, or -EINVAL, -ENXIO (SEEK_DATA, SEEK_HOLE past the end). Without `content` all bytes count as data. */
export function seekTo(position: number, offset: number, whence: number, size: number, content: Content | null = null): number {
  let target: number;
  if (whence === Seek.SET) target = offset;
  else if (whence === Seek.CUR) target = position + offset;
  else if (whence === Seek.END) target = size + offset;
  else if (whence === Seek.DATA || whence === Seek.HOLE) {
    if (offset < 0 || offset >= size) return -E.NXIO;
    if (content === null) return whence === Seek.DATA ? offset : size;
    const found = content.find(offset, whence === Seek.HOLE);
    return whence === Seek.DATA && found >= size ? -E.NXIO : found;
  } else return -E.INVAL;
  return target < 0 || target > Limit.fileSize ? -E.INVAL : target;
}

const SIGXFSZ = 25;
/** How many of `length` bytes at a position a process may write; none at all is -EFBIG and SIGXFSZ (RLIMIT_FSIZE, setrlimit(2)). */
export function beyondLimit({ kernel, process, thread }: CallContext, position: number, length: number): number {
  const limit = process.fileLimit?.() ?? Infinity;
  if (position + length <= limit) return length;
  if (position < limit) return limit - position;
  kernel.signal(process, SIGXFSZ, undefined, thread);
  return -E.FBIG;
}

const PAGE = 4096;
/** Whether the seals of a file keep it from becoming `length` bytes long. */
export function sealed(content: Content, length: number): boolean {
  const change = length - content.size();
  return ((content.seals ?? 0) & (change < 0 ? Seal.SHRINK : change > 0 ? Seal.GROW : 0)) !== 0;
}

const FIONREAD = 0x541b;
const IN_ACCESS = 1;
const IN_MODIFY = 2;
const IN_CLOSE_WRITE = 8;
const IN_CLOSE_NOWRITE = 16;

/** An open file that has a place in the tree and counts as one opening of its inode. */
export abstract class EntryFile extends BaseFile {
  declare readonly entry: Dentry;
  get inode(): Inode {
    return this.entry.inode;
  }
  get name(): string {
    return this.entry.shown();
  }
  override close(): void {
    const { inode } = this.entry;
    inode.locks?.releaseRanges(this);
    inode.locks?.releaseWhole(this);
    inode.notify(canWrite(this.flags) ? IN_CLOSE_WRITE : IN_CLOSE_NOWRITE, 0, "");
    if (!this.entry.dead) this.entry.parent?.inode.notify(canWrite(this.flags) ? IN_CLOSE_WRITE : IN_CLOSE_NOWRITE, 0, this.entry.name);
  }
}

export class RegularFile extends EntryFile {
  readonly kind: "file" | "memfd";
  readonly content: Content;
  #position = 0;

  private constructor(flags: number, entry: Dentry, content: Content, kind: "file" | "memfd") {
    super(flags, entry);
    this.content = content;
    this.kind = kind;
  }
  /** Opens the bytes of an inode; with O_TRUNC they are discarded. */
  static open(entry: Dentry, flags: number, kind: "file" | "memfd" = "file"): RegularFile | number {
    const content = entry.inode.content();
    if (content === null) return -E.INVAL;
    const write = canWrite(flags);
    const truncate = (flags & O.TRUNC) !== 0;
    const failed = content.acquire(entry, write || truncate, truncate);
    if (failed < 0) return failed;
    if (truncate && content.size() > 0) {
      const result = content.resize(0);
      if (result < 0) {
        content.release();
        return result;
      }
    }
    return new RegularFile(flags & ~(O.CREAT | O.EXCL | O.TRUNC | O.NOCTTY | O.CLOEXEC), entry, content, kind);
  }
  get node(): VfsFile {
    return this.content.view(this.entry);
  }
  get seals(): number {
    return this.content.seals ?? 0;
  }
  override read(max: number, offset: number | null): Uint8Array | number {
    if (!canRead(this.flags)) return -E.BADF;
    const position = offset ?? this.#position;
    const count = Math.min(max, this.content.size() - position);
    if (count <= 0) return EMPTY;
    const bytes = Buffer.allocUnsafeSlow(count);
    const done = this.content.readAt(bytes, position);
    if (done < 0) return done;
    if (offset === null) this.#position = position + done;
    if (this.inode.watchers !== null) this.inode.notify(IN_ACCESS, 0, "");
    return done === count ? bytes : bytes.subarray(0, done);
  }
  override write(bytes: Uint8Array, offset: number | null, context: CallContext): number {
    if (!canWrite(this.flags)) return -E.BADF;
    const position = (this.flags & O.APPEND) !== 0 ? this.content.size() : (offset ?? this.#position);
    if (bytes.length === 0) return 0;
    if (position + bytes.length > Limit.fileSize) return -E.FBIG;
    const most = beyondLimit(context, position, bytes.length);
    if (most < 0) return most;
    const { seals } = this;
    if ((seals & (Seal.WRITE | Seal.FUTURE_WRITE)) !== 0) return -E.PERM;
    let data = most < bytes.length ? bytes.subarray(0, most) : bytes;
    if ((seals & Seal.GROW) !== 0 && position + bytes.length > this.content.size()) {
      // What lies in whole pages before the end is written.
      const whole = Math.floor(this.content.size() / PAGE) * PAGE;
      if (whole <= position) return -E.PERM;
      data = bytes.subarray(0, whole - position);
    }
    const done = this.content.writeAt(data, position);
    if (done >= 0 && offset === null) this.#position = position + done;
    // Writing by somebody without privilege ends setuid and setgid.
    if (context.process.credentials.fsuid !== 0) {
      const { mode } = this.inode.ownership();
      const privilege = S.ISUID | ((mode & 0o010) !== 0 ? S.ISGID : 0);
      if ((mode & privilege) !== 0) this.inode.set(this.entry, { mode: mode & ~privilege });
    }
    this.#modified();
    return done;
  }
  override seek(offset: number, whence: number): number {
    const target = seekTo(this.#position, offset, whence, this.content.size(), this.content);
    if (target >= 0) this.#position = target;
    return target;
  }
  truncate(length: number): number {
    if (!canWrite(this.flags)) return -E.INVAL;
    if (sealed(this.content, length)) return -E.PERM;
    const result = this.content.resize(length);
    this.#modified();
    return result;
  }
  #modified(): void {
    const { inode } = this;
    if (inode.watchers !== null) inode.notify(IN_MODIFY, 0, "");
    const parent = this.entry.parent?.inode;
    if (parent !== undefined && parent.watchers !== null) parent.notify(IN_MODIFY, 0, this.entry.name);
  }
  override ioctl(request: number): IoctlResult {
    if (request !== FIONREAD) return -E.NOTTY;
    const output = new Uint8Array(4);
    new DataView(output.buffer).setInt32(0, Math.max(0, Math.min(0x7fffffff, this.content.size() - this.#position)), true);
    return { result: 0, output };
  }
  fsync(dataOnly: boolean, done: (result: number) => void): void {
    this.content.sync(dataOnly, done);
  }
  override close(): void {
    super.close();
    this.content.release();
  }
}

/** An O_PATH descriptor: a place in the tree, nothing to read or write. */
export class PathFile extends EntryFile {
  readonly kind = "file";
  constructor(flags: number, entry: Dentry) {
    super(flags, entry);
    entry.inode.opens++;
  }
  override read(): number {
    return -E.BADF;
  }
  override write(): number {
    return -E.BADF;
  }
  override seek(): number {
    return -E.BADF;
  }
  override ioctl(): number {
    return -E.BADF;
  }
  override poll(): number {
    return Poll.NVAL;
  }
  override close(): void {
    this.entry.inode.opens--;
  }
}

/** Entries that one getdents64 returns at most: their inode numbers may each cost a look at the host. */
const ENTRIES_PER_CALL = 512;

export class DirectoryFile extends EntryFile {
  readonly kind = "directory";
  /** Taken at the first read and again after a rewind. */
  #entries: DirectoryEntry[] | null = null;
  #position = 0;
  #context: CallContext | null;

  constructor(flags: number, entry: Dentry, context: CallContext | null) {
    super(flags & ~(O.CREAT | O.EXCL | O.TRUNC | O.CLOEXEC), entry);
    entry.inode.opens++;
    this.#context = context;
  }
  override read(): number {
    return -E.ISDIR;
  }
  override write(): number {
    return -E.BADF;
  }
  override poll(): number {
    return Poll.IN | Poll.OUT;
  }
  override seek(offset: number, whence: number): number {
    const target = seekTo(this.#position, offset, whence, Number.MAX_SAFE_INTEGER - 1);
    if (target < 0) return target;
    if (target === 0) this.#entries = null;
    this.#position = target;
    return target;
  }
  getdents(max: number): Uint8Array | number {
    const directory = this.entry;
    if (directory.dead) return -E.NOENT;
    if (this.#entries === null) {
      const listed = directory.inode.list(directory, this.#context);
      if (typeof listed === "number") return listed;
      const up = directory.parent ?? directory.covers?.parent ?? directory;
      this.#entries = [
        { name: ".", type: 0o040000, ino: numberOf(directory.inode) },
        { name: "..", type: 0o040000, ino: numberOf(up.inode) },
        ...listed,
      ];
    }
    const entries = this.#entries;
    const bytes = new Uint8Array(Math.min(max, ENTRIES_PER_CALL * 280));
    const view = new DataView(bytes.buffer);
    let used = 0;
    for (let count = 0; count < ENTRIES_PER_CALL && this.#position < entries.length; count++) {
      const entry = entries[this.#position]!;
      const name = encodeText(entry.name);
      const length = (19 + name.length + 1 + 7) & ~7;
      if (used + length > bytes.length) break;
      const ino = entry.ino !== 0 ? entry.ino : directory.inode.entryNumber(directory, entry.name, this.#context);
      this.#position++;
      view.setUint32(used, ino % 0x100000000, true);
      view.setUint32(used + 4, Math.floor(ino / 0x100000000), true);
      view.setUint32(used + 8, this.#position, true);
      view.setUint16(used + 16, length, true);
      view.setUint8(used + 18, entry.type >> 12);
      bytes.set(name, used + 19);
      used += length;
    }
    if (used === 0 && this.#position < entries.length) return -E.INVAL;
    return bytes.subarray(0, used);
  }
  fsync(_dataOnly: boolean, done: (result: number) => void): void {
    const inode = this.entry.inode as Inode & { sync?: (dataOnly: boolean, done: (result: number) => void) => void };
    if (inode.sync) inode.sync(false, done);
    else done(0);
  }
  override close(): void {
    super.close();
    this.entry.inode.opens--;
    this.#context = null;
  }
}

function numberOf(inode: Inode): number {
  const stat = inode.stat();
  return typeof stat === "number" ? 1 : stat.ino;
}
