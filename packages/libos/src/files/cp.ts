/**
 * /cp: what cVMs of the host share by name, as files. /cp/file/NAME is a shared buffer. /cp/stream/NAME is a socket to bind or to connect to. /cp/call/NAME is a function of another cVM: whoever opens it for reading may call it, for writing
 * may publish it; both are capability instructions and calls of the monitor, with the number of the opened object.
 */
import { readFileSync } from "node:fs";
import { CpRight, type Awaitable, type CpAnswer, type CpEntry, type CpHandle, type CpKind, type HostCalls } from "@cvm/monitor/abi";
import { Change } from "../events/epoll.ts";
import { E } from "../kernel/errno.ts";
import { forget, isPromise } from "../kernel/ready.ts";
import { Poll, type OpenFile, type Stat } from "../kernel/types.ts";
import { O, S } from "./constants.ts";
import type { Dentry, DirectoryEntry } from "./node.ts";
import { canRead, canWrite, EntryFile, seekTo, type IoctlResult } from "./open-file.ts";
import { fixed, SyntheticDirectory, SyntheticFs, SyntheticInode, SyntheticText } from "./synthetic.ts";

/** ioctl requests on files of /cp; each answers with its result. */
export const CpIoctl = {
  /** The number of the opened object, for the monitor's call that fetches its capability. */
  handle: 0x4301,
  /** Tells everybody who opened it; how often that was done by now. */
  notify: 0x4302,
  /** How often that was done. poll(2) shows POLLPRI from the next time on. */
  changes: 0x4303,
} as const;

/** What the library OS knows of the monitor's objects. Over a port answers come later: then they are those of the question before. */
export class CpObjectsSeen {
  readonly host: HostCalls;
  /** Who hears of an opened object. */
  readonly open: Map<CpHandle, { notified(changes: number): void }> = new Map();
  /** Connects to a stream; set by the network. */
  connect: ((name: string, flags: number) => OpenFile | number) | null = null;
  /** Streams by device and inode of their files. */
  readonly #streams: Map<string, string> = new Map();
  #entries: readonly CpEntry[] = [];

  constructor(host: HostCalls) {
    this.host = host;
  }
  entries(kind: CpKind): readonly CpEntry[] {
    const answer = this.host.cp({ cp: "list" });
    const keep = (entries: CpAnswer): void => {
      if (Array.isArray(entries)) this.#entries = entries as readonly CpEntry[];
    };
    if (isPromise(answer)) void answer.then(keep, () => {});
    else keep(answer);
    return this.#entries.filter((entry) => entry.kind === kind);
  }
  /** The file of a stream was made. */
  streamMade({ dev, ino }: Stat, name: string): void {
    this.#streams.set(`${dev}:${ino}`, name);
  }
  /** The name of the stream that a file stands for. */
  streamOf({ dev, ino, mode }: Stat): string | undefined {
    return (mode & S.IFMT) === S.IFSOCK ? this.#streams.get(`${dev}:${ino}`) : undefined;
  }
  notified(handle: CpHandle, changes: number): void {
    this.open.get(handle)?.notified(changes);
  }
}

/** A file of this package's folder include/, for programs. */
const text = (fs: SyntheticFs, name: string): SyntheticText =>
  new SyntheticText(fs, () => readFileSync(new URL(`../../include/${name}`, import.meta.url)));

/** The file system of /cp. */
export function makeCp(dev: number, seen: CpObjectsSeen): SyntheticFs {
  // First question, so that a later one finds an answer.
  seen.entries("file");
  return new SyntheticFs(dev, "cp", 0x6376_6d63, true, (fs) => {
    const nodes = new Map<string, CpInode | CpStreamInode>();
    const directory = (kind: CpKind): SyntheticDirectory => {
      const node = (entry: CpEntry): CpInode | CpStreamInode => {
        const key = `${kind} ${entry.name}`;
        const known = nodes.get(key);
        if (known !== undefined && known.described.rights === entry.rights && known.described.size === entry.size) return known;
        const made = new (kind === "stream" ? CpStreamInode : CpInode)(fs, seen, entry);
        nodes.set(key, made);
        return made;
      };
      return new (kind === "stream" ? StreamDirectory : SyntheticDirectory)(fs, {
        get(name) {
          const entry = seen.entries(kind).find((each) => each.name === name);
          return entry === undefined ? null : node(entry);
        },
        names: () =>
          seen.entries(kind).map((entry): DirectoryEntry => ({ name: entry.name, type: node(entry).type, ino: node(entry).number })),
      });
    };
    return fixed(fs, {
      file: directory("file"),
      stream: directory("stream"),
      call: directory("call"),
      lib: fixed(fs, { "cvm.h": text(fs, "cvm.h"), "cvm-call.h": text(fs, "cvm-call.h"), "cvm.py": text(fs, "cvm.py") }),
    });
  });
}

/** What reading and writing a file stands for. */
const RIGHTS: Readonly<Record<Exclude<CpKind, "stream">, readonly [read: number, write: number]>> = {
  file: [CpRight.Read, CpRight.Write],
  call: [CpRight.Call, CpRight.Publish],
};

/** An object, with the rights that this cVM has been granted as the file's mode. */
class CpInode extends SyntheticInode {
  readonly described: CpEntry;
  readonly #seen: CpObjectsSeen;
  constructor(fs: SyntheticFs, seen: CpObjectsSeen, entry: CpEntry) {
    const [read, write] = RIGHTS[entry.kind as keyof typeof RIGHTS];
    const mode = ((entry.rights & read) === 0 ? 0 : 0o444) | ((entry.rights & write) === 0 ? 0 : 0o222);
    super(fs, S.IFREG, { mode }, mode);
    this.described = entry;
    this.#seen = seen;
  }
  override stat(): Stat {
    return { ...super.stat(), size: this.described.size, blksize: 4096, blocks: Math.ceil(this.described.size / 512) };
  }
  override open(entry: Dentry, flags: number): OpenFile | number {
    const { kind, name } = this.described;
    const [read, write] = RIGHTS[kind as keyof typeof RIGHTS];
    const rights = (canRead(flags) ? read : 0) | (canWrite(flags) ? write : 0);
    if ((rights & ~this.described.rights) !== 0) return -E.ACCES;
    const opened = this.#seen.host.cp({ cp: "open", kind, name, rights });
    if (!isPromise(opened) && (typeof opened !== "number" || opened < 0)) return typeof opened === "number" ? opened : -E.IO;
    return new CpFile(flags & (O.ACCMODE | O.NONBLOCK | O.APPEND), entry, this.#seen, this.described.size, opened);
  }
}

/** A CP_Stream: a socket to connect to, which takes reading and writing, or to bind to, which shows as executing. */
class CpStreamInode extends SyntheticInode {
  readonly described: CpEntry;
  readonly #seen: CpObjectsSeen;
  constructor(fs: SyntheticFs, seen: CpObjectsSeen, entry: CpEntry) {
    const mode = ((entry.rights & CpRight.Connect) === 0 ? 0 : 0o666) | ((entry.rights & CpRight.Listen) === 0 ? 0 : 0o111);
    super(fs, S.IFSOCK, { mode }, mode);
    this.described = entry;
    this.#seen = seen;
    seen.streamMade(this.stat(), entry.name);
  }
  /** Connects, where other sockets cannot be opened. */
  override open(_entry: Dentry, flags: number): OpenFile | number {
    return this.#seen.connect?.(this.described.name, flags) ?? -E.NXIO;
  }
}

class StreamDirectory extends SyntheticDirectory {
  constructor(fs: SyntheticFs, listing: ConstructorParameters<typeof SyntheticDirectory>[1]) {
    super(fs, listing, { mode: 0o777 });
  }
  /** Servers take away what an earlier run left before they bind: who may listen is told that it went, and the name stays. */
  override unlink(_directory: Dentry, child: Dentry): number {
    return child.inode instanceof CpStreamInode && (child.inode.described.rights & CpRight.Listen) !== 0 ? 0 : -E.PERM;
  }
}

/** An opened CP_File. Its size never changes. */
class CpFile extends EntryFile {
  readonly kind = "device";
  readonly #seen: CpObjectsSeen;
  readonly #size: number;
  /** Number in the monitor's table; 0 while it is not known, negative when it could not be opened. */
  #handle = 0;
  #position = 0;
  #changes = 0;
  #looked = 0;
  #closed = false;
  /** What an answer that came later brought, for the reader who asks again. */
  #late: { readonly offset: number; readonly answer: CpAnswer } | null = null;

  constructor(flags: number, entry: Dentry, seen: CpObjectsSeen, size: number, opened: Awaitable<CpAnswer>) {
    super(flags, entry);
    this.#seen = seen;
    this.#size = size;
    entry.inode.opens++;
    if (isPromise(opened)) void opened.then((answer) => this.#opened(answer));
    else this.#opened(opened);
  }
  #opened(answer: CpAnswer): void {
    this.#handle = typeof answer === "number" ? answer : -E.IO;
    if (this.#handle > 0) {
      this.#seen.open.set(this.#handle, this);
      if (this.#closed) this.#leave();
    }
    this.waiters.notify();
  }
  /** 0: it was revoked. */
  notified(changes: number): void {
    if (changes === 0) {
      this.#seen.open.delete(this.#handle);
      this.#handle = -E.IO;
    } else this.#changes = changes;
    this.waiters.notify(Change.IN | Poll.PRI);
  }
  override read(max: number, offset: number | null): Uint8Array | number {
    if (!canRead(this.flags)) return -E.BADF;
    if (this.#handle <= 0) return this.#handle === 0 ? -E.AGAIN : this.#handle;
    const from = offset ?? this.#position;
    const late = this.#late;
    this.#late = null;
    const answer =
      late?.offset === from ? late.answer : this.#seen.host.cp({ cp: "read", handle: this.#handle, offset: from, length: max });
    if (isPromise(answer)) {
      void answer.then((value) => {
        this.#late = { offset: from, answer: value };
        this.waiters.notify(Change.IN);
      });
      return -E.AGAIN;
    }
    if (!(answer instanceof Uint8Array)) return typeof answer === "number" ? answer : -E.IO;
    const bytes = answer.length > max ? answer.subarray(0, max) : answer;
    if (offset === null) this.#position += bytes.length;
    return bytes;
  }
  override write(bytes: Uint8Array, offset: number | null): number {
    if (!canWrite(this.flags)) return -E.BADF;
    if (this.#handle <= 0) return this.#handle === 0 ? -E.AGAIN : this.#handle;
    const from = offset ?? this.#position;
    const fits = Math.min(bytes.length, Math.max(0, this.#size - from));
    if (fits === 0) return bytes.length === 0 ? 0 : -E.NOSPC;
    const answer = this.#seen.host.cp({
      cp: "write",
      handle: this.#handle,
      offset: from,
      bytes: fits < bytes.length ? bytes.subarray(0, fits) : bytes,
    });
    // Over a port it is on its way, behind what was written before and ahead of what is asked later.
    const done = isPromise(answer) ? fits : typeof answer === "number" ? answer : -E.IO;
    if (offset === null && done > 0) this.#position += done;
    return done;
  }
  override seek(offset: number, whence: number): number {
    const target = seekTo(this.#position, offset, whence, this.#size);
    if (target >= 0) this.#position = target;
    return target;
  }
  override poll(): number {
    if (this.#handle < 0) return Poll.ERR | Poll.HUP;
    return this.#handle === 0 ? 0 : Poll.IN | Poll.OUT | (this.#changes > this.#looked ? Poll.PRI : 0);
  }
  override ioctl(request: number): IoctlResult {
    if (this.#handle <= 0) return this.#handle === 0 ? -E.AGAIN : this.#handle;
    if (request === CpIoctl.handle) return this.#handle;
    if (request !== CpIoctl.notify && request !== CpIoctl.changes) return -E.NOTTY;
    if (request === CpIoctl.changes) this.#looked = this.#changes;
    const answer = this.#seen.host.cp({ cp: request === CpIoctl.notify ? "notify" : "changes", handle: this.#handle });
    if (typeof answer === "number" && answer >= 0) {
      this.#changes = Math.max(this.#changes, answer);
      if (request === CpIoctl.changes) this.#looked = this.#changes;
    }
    return typeof answer === "number" ? answer : this.#changes + (request === CpIoctl.notify ? 1 : 0);
  }
  #leave(): void {
    this.#seen.open.delete(this.#handle);
    forget(this.#seen.host.cp({ cp: "close", handle: this.#handle }));
  }
  override close(): void {
    super.close();
    this.entry.inode.opens--;
    this.#closed = true;
    if (this.#handle > 0) this.#leave();
  }
}
