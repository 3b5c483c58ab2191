import { E } from "./errno.ts";
import type { LinuxProcess } from "./process.ts";
import { Poll, type OpenFile, type Stat } from "./types.ts";
import type { WaitQueue } from "./wait.ts";

const S_IFREG = 0o100000;

/** A pidfd: readable once its process has ended. */
export class PidFile implements OpenFile {
  flags: number;
  references = 1;
  readonly kind = "pidfd";
  readonly name = "anon_inode:[pidfd]";
  readonly waiters: WaitQueue;
  readonly process: LinuxProcess;

  constructor(process: LinuxProcess, flags = 0) {
    this.process = process;
    this.flags = 2 | flags;
    this.waiters = process.exitWaiters;
  }
  read(): number {
    return -E.INVAL;
  }
  write(): number {
    return -E.INVAL;
  }
  poll(): number {
    return this.process.ended ? Poll.IN : 0;
  }
  stat(): Stat {
    return {
      dev: 14,
      ino: this.process.pid,
      mode: S_IFREG | 0o600,
      nlink: 1,
      uid: 0,
      gid: 0,
      rdev: 0,
      size: 0,
      blksize: 4096,
      blocks: 0,
      atime: 0n,
      mtime: 0n,
      ctime: 0n,
    };
  }
  seek(): number {
    return -E.SPIPE;
  }
  ioctl(): number {
    return -E.NOTTY;
  }
  close(): void {}
}
