/** inotify(7): events of files that this cVM changes. */
import { encodeText } from "@cvm/monitor/abi";
import { E } from "../kernel/errno.ts";
import { Poll } from "../kernel/types.ts";
import { O } from "./constants.ts";
import type { Inode, Watcher } from "./node.ts";
import { BaseFile, type IoctlResult } from "./open-file.ts";

const IN_ALL = 0xfff;
const IN_MASK_CREATE = 0x10000000;
const IN_MASK_ADD = 0x20000000;
const IN_ONESHOT = 0x80000000;
const IN_IGNORED = 0x8000;
const IN_Q_OVERFLOW = 0x4000;
const IN_DELETE_SELF = 0x400;
const IN_ISDIR = 0x40000000;
const FIONREAD = 0x541b;
/** Events that wait at most. */
const QUEUE = 16384;

interface Watch extends Watcher {
  readonly number: number;
  readonly inode: Inode;
  mask: number;
}

export class InotifyFile extends BaseFile {
  readonly kind = "inotify";
  readonly name = "anon_inode:inotify";
  readonly #watches: Map<number, Watch> = new Map();
  #next = 1;
  #events: Uint8Array[] = [];

  constructor(flags: number) {
    super(flags & O.NONBLOCK);
  }
  /** The watch's number; -EEXIST with IN_MASK_CREATE when there is one. */
  watch(inode: Inode, mask: number): number {
    for (const watch of this.#watches.values())
      if (watch.inode === inode) {
        if ((mask & IN_MASK_CREATE) !== 0) return -E.EXIST;
        watch.mask = (mask & IN_MASK_ADD) !== 0 ? watch.mask | mask : mask;
        return watch.number;
      }
    const number = this.#next++;
    const watch: Watch = { number, inode, mask, event: (event, cookie, name) => this.#event(watch, event, cookie, name) };
    this.#watches.set(number, watch);
    (inode.watchers ??= new Set()).add(watch);
    return number;
  }
  unwatch(number: number): number {
    const watch = this.#watches.get(number);
    if (watch === undefined) return -E.INVAL;
    this.#drop(watch);
    this.#queue(number, IN_IGNORED, 0, "");
    return 0;
  }
  #drop(watch: Watch): void {
    this.#watches.delete(watch.number);
    watch.inode.watchers?.delete(watch);
    if (watch.inode.watchers?.size === 0) watch.inode.watchers = null;
  }
  #event(watch: Watch, event: number, cookie: number, name: string): void {
    if ((watch.mask & event & IN_ALL) !== 0)
      this.#queue(watch.number, event | (name === "" && watch.inode.isDirectory ? IN_ISDIR : 0), cookie, name);
    if ((event & IN_DELETE_SELF) !== 0 || ((watch.mask & event & IN_ALL) !== 0 && (watch.mask & IN_ONESHOT) !== 0)) {
      this.#drop(watch);
      this.#queue(watch.number, IN_IGNORED, 0, "");
    }
  }
  #queue(watch: number, mask: number, cookie: number, name: string): void {
    if (this.#events.length > QUEUE) return;
    const overflow = this.#events.length === QUEUE;
    const text = overflow ? Buffer.alloc(0) : encodeText(name);
    const length = text.length === 0 ? 0 : (text.length + 16) & ~15;
    const bytes = new Uint8Array(16 + length);
    const view = new DataView(bytes.buffer);
    view.setInt32(0, overflow ? -1 : watch, true);
    view.setUint32(4, overflow ? IN_Q_OVERFLOW : mask >>> 0, true);
    view.setUint32(8, cookie, true);
    view.setUint32(12, length, true);
    bytes.set(text, 16);
    const last = this.#events.at(-1);
    if (last !== undefined && Buffer.compare(last, bytes) === 0) return;
    this.#events.push(bytes);
    this.waiters.notify();
  }
  override read(max: number): Uint8Array | number {
    if (this.#events.length === 0) return -E.AGAIN;
    let count = 0;
    let length = 0;
    while (count < this.#events.length && length + this.#events[count]!.length <= max) length += this.#events[count++]!.length;
    return count === 0 ? -E.INVAL : Buffer.concat(this.#events.splice(0, count));
  }
  override write(): number {
    return -E.BADF;
  }
  override poll(): number {
    return this.#events.length > 0 ? Poll.IN : 0;
  }
  override ioctl(request: number): IoctlResult {
    if (request !== FIONREAD) return -E.NOTTY;
    const output = new Uint8Array(4);
    new DataView(output.buffer).setInt32(
      0,
      this.#events.reduce((sum, event) => sum + event.length, 0),
      true,
    );
    return { result: 0, output };
  }
  override close(): void {
    for (const watch of this.#watches.values()) this.#drop(watch);
  }
}
