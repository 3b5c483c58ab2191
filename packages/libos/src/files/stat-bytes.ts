/** Structures of stat(2), statx(2) and statfs(2) as riscv64 programs see them. */
import type { Stat } from "../kernel/types.ts";
import type { StatFs } from "./node.ts";

const LOW = 0x100000000;
function put64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % LOW, true);
  view.setUint32(at + 4, Math.floor(value / LOW), true);
}
function time(view: DataView, at: number, nanoseconds: bigint): void {
  let seconds = nanoseconds / 1_000_000_000n;
  let rest = nanoseconds % 1_000_000_000n;
  if (rest < 0n) {
    seconds -= 1n;
    rest += 1_000_000_000n;
  }
  view.setBigInt64(at, seconds, true);
  view.setUint32(at + 8, Number(rest), true);
}

/** struct stat, 128 bytes. */
export function statBytes(stat: Stat): Uint8Array {
  const bytes = new Uint8Array(128);
  const view = new DataView(bytes.buffer);
  put64(view, 0, stat.dev);
  put64(view, 8, stat.ino);
  view.setUint32(16, stat.mode, true);
  view.setUint32(20, stat.nlink, true);
  view.setUint32(24, stat.uid, true);
  view.setUint32(28, stat.gid, true);
  put64(view, 32, stat.rdev);
  put64(view, 48, stat.size);
  view.setInt32(56, stat.blksize, true);
  put64(view, 64, stat.blocks);
  time(view, 72, stat.atime);
  time(view, 88, stat.mtime);
  time(view, 104, stat.ctime);
  return bytes;
}

const major = (dev: number): number => (dev >>> 8) & 0xfff;
const minor = (dev: number): number => (dev & 0xff) | ((dev >>> 12) & 0xfff00);

/** struct statx, 256 bytes, with STATX_BASIC_STATS, the mount, and STATX_BTIME where it is known. */
export function statxBytes(stat: Stat): Uint8Array {
  const bytes = new Uint8Array(256);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, stat.btime === undefined ? 0x17ff : 0x1fff, true);
  if (stat.btime !== undefined) time(view, 80, stat.btime);
  view.setUint32(4, stat.blksize, true);
  view.setUint32(16, stat.nlink, true);
  view.setUint32(20, stat.uid, true);
  view.setUint32(24, stat.gid, true);
  view.setUint16(28, stat.mode, true);
  put64(view, 32, stat.ino);
  put64(view, 40, stat.size);
  put64(view, 48, stat.blocks);
  time(view, 64, stat.atime);
  time(view, 96, stat.ctime);
  time(view, 112, stat.mtime);
  view.setUint32(128, major(stat.rdev), true);
  view.setUint32(132, minor(stat.rdev), true);
  view.setUint32(136, major(stat.dev), true);
  view.setUint32(140, minor(stat.dev), true);
  put64(view, 144, stat.dev + 1);
  return bytes;
}

/** struct statfs, 120 bytes. */
export function statfsBytes(fs: StatFs, dev: number, readOnly: boolean): Uint8Array {
  const bytes = new Uint8Array(120);
  const view = new DataView(bytes.buffer);
  [fs.type, fs.bsize, fs.blocks, fs.bfree, fs.bavail, fs.files, fs.ffree].forEach((value, index) => put64(view, index * 8, value));
  view.setUint32(56, dev, true);
  put64(view, 64, fs.namelen);
  put64(view, 72, fs.bsize);
  put64(view, 80, 0x20 | (readOnly ? 1 : 0));
  return bytes;
}
