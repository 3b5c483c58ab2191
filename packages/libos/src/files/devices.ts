/** Character devices, by number: null(4), random(4), tty(4), pts(4). */
import { E } from "../kernel/errno.ts";
import { Poll, type CallContext, type OpenFile } from "../kernel/types.ts";
import { makedev, O, S } from "./constants.ts";
import type { Dentry } from "./node.ts";
import { EntryFile } from "./open-file.ts";
import { PtyMaster } from "./tty.ts";
import { VirtualFiles } from "./vfs.ts";

/** What one kind of device does. */
interface Device {
  read(max: number, context: CallContext): Uint8Array | number;
  write(bytes: Uint8Array): number;
}

/** Bytes one read of an endless device gives: the caller of the thread must not wait for more. */
const LONGEST_READ = 1_048_576;

const nothing = new Uint8Array(0);
const all = (bytes: Uint8Array): number => bytes.length;
const zeros = (max: number): Uint8Array => new Uint8Array(Math.min(max, LONGEST_READ));
const randomness = (max: number, context: CallContext): Uint8Array => context.kernel.random(Math.min(max, LONGEST_READ));

const byNumber: ReadonlyMap<number, Device> = new Map<number, Device>([
  [makedev(1, 3), { read: () => nothing, write: all }],
  [makedev(1, 5), { read: zeros, write: all }],
  [makedev(1, 7), { read: zeros, write: () => -E.NOSPC }],
  [makedev(1, 8), { read: randomness, write: all }],
  [makedev(1, 9), { read: randomness, write: all }],
  [makedev(1, 11), { read: () => -E.AGAIN, write: all }],
]);

class DeviceFile extends EntryFile {
  readonly kind = "device";
  readonly #device: Device;
  constructor(flags: number, entry: Dentry, device: Device) {
    super(flags & (O.ACCMODE | O.NONBLOCK | O.APPEND), entry);
    this.#device = device;
    entry.inode.opens++;
  }
  override read(max: number, _offset: number | null, context: CallContext): Uint8Array | number {
    return (this.flags & O.ACCMODE) === O.WRONLY ? -E.BADF : this.#device.read(max, context);
  }
  override write(bytes: Uint8Array): number {
    return (this.flags & O.ACCMODE) === O.RDONLY ? -E.BADF : this.#device.write(bytes);
  }
  override poll(): number {
    return Poll.IN | Poll.OUT;
  }
  override seek(offset: number): number {
    return Math.max(0, offset);
  }
  override close(): void {
    super.close();
    this.entry.inode.opens--;
  }
}

/** Opens a device node; -ENXIO when there is no such device. */
export function openDevice(entry: Dentry, flags: number, context: CallContext): OpenFile | number {
  const stat = entry.inode.stat();
  if (typeof stat === "number") return stat;
  if (entry.inode.type === S.IFBLK) return -E.NXIO;
  const device = byNumber.get(stat.rdev);
  if (device !== undefined) return new DeviceFile(flags, entry, device);
  const { vfs } = context.kernel;
  if (!(vfs instanceof VirtualFiles)) return -E.NXIO;
  const { terminals } = vfs;
  if (stat.rdev === makedev(5, 0)) {
    const terminal = terminals.controlling(context);
    return terminal === null ? -E.NXIO : terminal.open(flags, terminals.entry(terminal.tty.number));
  }
  if (stat.rdev === makedev(5, 1)) {
    const tty = terminals.consoles.get(0);
    return tty === undefined ? -E.NXIO : terminals.pts.get(tty.number)!.open(flags, terminals.entry(tty.number));
  }
  if (stat.rdev === makedev(5, 2)) return new PtyMaster(context.kernel, terminals, flags, entry);
  if (stat.rdev >= makedev(136, 0) && stat.rdev < makedev(144, 0)) {
    const terminal = terminals.pts.get(stat.rdev - makedev(136, 0));
    if (terminal === undefined) return -E.NXIO;
    const { tty } = terminal;
    const { sid, pid, pgid } = context.process;
    const file = terminal.open(flags, entry);
    // The first terminal that a session leader without one opens for reading becomes its controlling terminal.
    const wanted = (flags & O.NOCTTY) === 0 && (flags & O.ACCMODE) !== O.WRONLY;
    if (typeof file !== "number" && wanted && tty.session === 0 && sid === pid && terminals.controlling(context) === null)
      tty.claim(sid, pgid);
    return file;
  }
  return -E.NXIO;
}
