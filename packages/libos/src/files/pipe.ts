/** Pipes and FIFOs: pipe(7). */
import { Change } from "../events/epoll.ts";
import { E } from "../kernel/errno.ts";
import { Poll, type CallContext, type OpenFile, type Stat } from "../kernel/types.ts";
import { WaitQueue } from "../kernel/wait.ts";
import { O, S } from "./constants.ts";
import type { Dentry } from "./node.ts";
import { anonymousStat, BaseFile, canRead, canWrite, nextAnonymousNumber, type IoctlResult } from "./open-file.ts";

/** Bytes up to which a write goes in as one (PIPE_BUF). */
export const PIPE_BUF = 4096;
const DEFAULT_CAPACITY = 65536;
const LARGEST_CAPACITY = 1_048_576;
const SIGPIPE = 13;
const FIONREAD = 0x541b;
const EMPTY = new Uint8Array(0);

/** The ring between the ends. */
export class Pipe {
  readonly number: number = nextAnonymousNumber();
  readonly waiters: WaitQueue = new WaitQueue();
  #ring: Uint8Array = EMPTY;
  #start = 0;
  #length = 0;
  capacity: number = DEFAULT_CAPACITY;
  readers = 0;
  writers = 0;
  /** Openings so far: a FIFO's open waits until the other side's count moves. */
  readerOpens = 0;
  writerOpens = 0;

  get length(): number {
    return this.#length;
  }
  get free(): number {
    return this.capacity - this.#length;
  }
  push(bytes: Uint8Array): void {
    const needed = this.#length + bytes.length;
    if (needed > this.#ring.length) this.#resize(Math.min(this.capacity, Math.max(PIPE_BUF, this.#ring.length * 2, needed)));
    const at = (this.#start + this.#length) % this.#ring.length;
    const first = this.#ring.length - at;
    if (bytes.length <= first) this.#ring.set(bytes, at);
    else {
      this.#ring.set(bytes.subarray(0, first), at);
      this.#ring.set(bytes.subarray(first), 0);
    }
    this.#length = needed;
  }
  /** Takes up to `max` bytes: a view of the ring where that is possible, valid until something is written. */
  take(max: number): Uint8Array {
    const count = Math.min(max, this.#length);
    const start = this.#start;
    const bytes = start + count <= this.#ring.length ? this.#ring.subarray(start, start + count) : this.peek(count);
    this.skip(count);
    return bytes;
  }
  peek(max: number): Uint8Array {
    const count = Math.min(max, this.#length);
    const bytes = new Uint8Array(count);
    const first = Math.min(count, this.#ring.length - this.#start);
    bytes.set(this.#ring.subarray(this.#start, this.#start + first));
    bytes.set(this.#ring.subarray(0, count - first), first);
    return bytes;
  }
  skip(count: number): void {
    this.#length -= count;
    this.#start = this.#length === 0 ? 0 : (this.#start + count) % this.#ring.length;
  }
  /** The new capacity in bytes: a power of two of pages; -EBUSY when the content does not fit. */
  setCapacity(bytes: number): number {
    if (bytes > LARGEST_CAPACITY) return -E.PERM;
    let capacity = PIPE_BUF;
    while (capacity < bytes) capacity *= 2;
    if (capacity < this.#length) return -E.BUSY;
    this.capacity = capacity;
    this.#resize(Math.max(this.#length, Math.min(capacity, this.#ring.length)));
    this.waiters.notify();
    return capacity;
  }
  #resize(size: number): void {
    const content = this.peek(this.#length);
    this.#ring = new Uint8Array(size);
    this.#ring.set(content);
    this.#start = 0;
  }
}

export class PipeFile extends BaseFile {
  readonly kind = "pipe";
  readonly pipe: Pipe;
  override readonly waiters: WaitQueue;

  constructor(pipe: Pipe, flags: number, entry: Dentry | null = null) {
    super(flags & (O.ACCMODE | O.NONBLOCK | O.APPEND | O.DIRECT), entry);
    this.pipe = pipe;
    this.waiters = pipe.waiters;
    if (entry !== null) entry.inode.opens++;
    if (canRead(this.flags)) {
      pipe.readers++;
      pipe.readerOpens++;
    }
    if (canWrite(this.flags)) {
      pipe.writers++;
      pipe.writerOpens++;
    }
  }
  get name(): string {
    return this.entry !== null ? this.entry.shown() : `pipe:[${this.pipe.number}]`;
  }
  /** The bytes may be a view that the next write to the pipe changes. */
  override read(max: number, offset: number | null): Uint8Array | number {
    if (!canRead(this.flags)) return -E.BADF;
    if (offset !== null) return -E.SPIPE;
    const { pipe } = this;
    if (max === 0) return EMPTY;
    if (pipe.length === 0) return pipe.writers === 0 ? EMPTY : -E.AGAIN;
    // Who waits to write would do so while it is told, and write over a view.
    if (pipe.waiters.size === 0) return pipe.take(max);
    const bytes = pipe.peek(max);
    pipe.skip(bytes.length);
    pipe.waiters.notify(Change.OUT);
    return bytes;
  }
  /** Up to PIPE_BUF bytes go in as one or not at all; more may go in partly. -EPIPE sends SIGPIPE. */
  override write(bytes: Uint8Array, offset: number | null, context: CallContext): number {
    if (!canWrite(this.flags)) return -E.BADF;
    if (offset !== null) return -E.SPIPE;
    const { pipe } = this;
    if (bytes.length === 0) return 0;
    if (pipe.readers === 0) {
      context.kernel.signal(context.process, SIGPIPE, undefined, context.thread);
      return -E.PIPE;
    }
    const { free } = pipe;
    if (free === 0 || (bytes.length <= PIPE_BUF && free < bytes.length)) return -E.AGAIN;
    const count = Math.min(free, bytes.length);
    pipe.push(count === bytes.length ? bytes : bytes.subarray(0, count));
    pipe.waiters.notify(Change.IN);
    return count;
  }
  override poll(): number {
    const { pipe } = this;
    let events = 0;
    if (canRead(this.flags)) {
      if (pipe.length > 0) events |= Poll.IN;
      if (pipe.writers === 0 && (this.entry === null || pipe.writerOpens > 0)) events |= Poll.HUP;
    }
    if (canWrite(this.flags)) {
      if (pipe.readers === 0) events |= Poll.ERR | Poll.OUT;
      else if (pipe.free >= PIPE_BUF) events |= Poll.OUT;
    }
    return events;
  }
  override stat(): Stat | number {
    return this.entry !== null ? this.entry.inode.stat() : anonymousStat(S.IFIFO | 0o600, this.pipe.number);
  }
  override ioctl(request: number): IoctlResult {
    if (request !== FIONREAD) return -E.NOTTY;
    const output = new Uint8Array(4);
    new DataView(output.buffer).setInt32(0, this.pipe.length, true);
    return { result: 0, output };
  }
  override close(): void {
    const { pipe } = this;
    if (canRead(this.flags)) pipe.readers--;
    if (canWrite(this.flags)) pipe.writers--;
    if (this.entry !== null) this.entry.inode.opens--;
    pipe.waiters.notify();
  }
}

/** The two ends of pipe2(2). */
export function makePipe(flags: number): { readonly reader: OpenFile; readonly writer: OpenFile } {
  const pipe = new Pipe();
  return {
    reader: new PipeFile(pipe, (flags & (O.NONBLOCK | O.DIRECT)) | O.RDONLY),
    writer: new PipeFile(pipe, (flags & (O.NONBLOCK | O.DIRECT)) | O.WRONLY),
  };
}

/** Pipes of FIFO inodes, while somebody has them open. */
const fifos: WeakMap<object, Pipe> = new WeakMap();
export function fifoOf(inode: object): Pipe {
  let pipe = fifos.get(inode);
  if (pipe === undefined) fifos.set(inode, (pipe = new Pipe()));
  return pipe;
}
