/** The key that authenticates stored translations: they are code that runs with all rights of the host. */
import { randomBytes } from "node:crypto";
import { closeSync, constants, fstatSync, linkSync, openSync, readSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const KEY_BYTES = 32;

/** The key in a file, if nobody else could have written or read it. */
function readKey(path: string): Buffer | undefined {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // A link in its place is no key.
    if (code === "ENOENT" || code === "ELOOP") return undefined;
    throw error;
  }
  try {
    const found = fstatSync(fd);
    const own = found.isFile() && (found.mode & 0o077) === 0 && (process.getuid === undefined || found.uid === process.getuid());
    if (!own || found.size !== KEY_BYTES) return undefined;
    const key = Buffer.alloc(KEY_BYTES);
    return readSync(fd, key, 0, KEY_BYTES, 0) === KEY_BYTES ? key : undefined;
  } finally {
    closeSync(fd);
  }
}

/**
 * The key of a folder; made when there is none. One that others could read, or that is damaged, is replaced: what it signed does not count any more.
 * @throws of the file system
 */
export function keyOf(folder: string): Buffer {
  const path = join(folder, "key");
  const known = readKey(path);
  if (known !== undefined) return known;
  // Written whole under another name, O_EXCL, and then linked: of hosts that do so at the same time one wins, and none reads a part.
  const temporary = `${path}.${randomBytes(8).toString("hex")}.tmp`;
  try {
    writeFileSync(temporary, randomBytes(KEY_BYTES), { mode: 0o600, flag: "wx", flush: true });
    try {
      linkSync(temporary, path);
    } catch {
      // There already, by another host or unusable; or the file system has no links.
      const other = readKey(path);
      if (other !== undefined) return other;
      renameSync(temporary, path);
    }
  } finally {
    rmSync(temporary, { force: true });
  }
  const key = readKey(path);
  if (key === undefined) throw new Error(`${path} cannot be kept private`);
  return key;
}
