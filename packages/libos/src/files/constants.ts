/** Numbers of Linux (asm-generic) that files and their system calls use. */

/** Bits of open(2). riscv64 uses the asm-generic values. */
export const O = {
  RDONLY: 0,
  WRONLY: 1,
  RDWR: 2,
  ACCMODE: 3,
  CREAT: 0o100,
  EXCL: 0o200,
  NOCTTY: 0o400,
  TRUNC: 0o1000,
  APPEND: 0o2000,
  NONBLOCK: 0o4000,
  DSYNC: 0o10000,
  ASYNC: 0o20000,
  DIRECT: 0o40000,
  LARGEFILE: 0o100000,
  DIRECTORY: 0o200000,
  NOFOLLOW: 0o400000,
  NOATIME: 0o1000000,
  CLOEXEC: 0o2000000,
  SYNC: 0o4010000,
  PATH: 0o10000000,
  TMPFILE: 0o20200000,
} as const;
/** The bit of O_TMPFILE that O_DIRECTORY does not have. */
export const TMPFILE_BIT = 0o20000000;

/** File types and permission bits of st_mode. */
export const S = {
  IFMT: 0o170000,
  IFSOCK: 0o140000,
  IFLNK: 0o120000,
  IFREG: 0o100000,
  IFBLK: 0o060000,
  IFDIR: 0o040000,
  IFCHR: 0o020000,
  IFIFO: 0o010000,
  ISUID: 0o4000,
  ISGID: 0o2000,
  ISVTX: 0o1000,
} as const;

export const AT = {
  FDCWD: -100,
  SYMLINK_NOFOLLOW: 0x100,
  REMOVEDIR: 0x200,
  EACCESS: 0x200,
  SYMLINK_FOLLOW: 0x400,
  NO_AUTOMOUNT: 0x800,
  EMPTY_PATH: 0x1000,
} as const;

/** access(2) bits. */
export const Access = { READ: 4, WRITE: 2, EXECUTE: 1 } as const;

export const Seek = { SET: 0, CUR: 1, END: 2, DATA: 3, HOLE: 4 } as const;

/** Seals of a file in memory: fcntl(2). */
export const Seal = { SEAL: 1, SHRINK: 2, GROW: 4, WRITE: 8, FUTURE_WRITE: 16, EXEC: 32 } as const;

export const Rename = { NOREPLACE: 1, EXCHANGE: 2, WHITEOUT: 4 } as const;

export const Limit = {
  /** NAME_MAX, bytes of one component. */
  name: 255,
  /** PATH_MAX, bytes with the NUL. */
  path: 4096,
  /** Links followed in one resolution (MAXSYMLINKS). */
  links: 40,
  /** Largest file offset: offsets are JavaScript numbers. */
  fileSize: 9_007_199_254_740_991,
} as const;

/** Device number as Linux encodes it in st_rdev for small majors and minors. */
export const makedev = (major: number, minor: number): number => major * 256 + (minor & 255) + (minor >>> 8) * 0x100000;
