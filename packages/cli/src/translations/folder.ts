/** The folder of stored translations: its files, its lock, and how much may come in. */
import { closeSync, openSync, readdirSync, rmSync, statSync, type Stats } from "node:fs";
import { join } from "node:path";

const HOUR_MS = 3_600_000;
/** A lock of this age was left by a host that was killed. */
const STALE_LOCK_MS = 2 * 60_000;
/** A file under a temporary name of this age too. */
const STALE_FILE_MS = 10 * 60_000;
/** Translations of other versions that were not used for so long are removed. */
const STALE_FOLDER_MS = 30 * 24 * HOUR_MS;

/** What may be stored: an hour's amount at once, and then at that rate. A program that makes new code for ever does not fill the disk. */
export class Allowance {
  readonly #perHour: number;
  #left: number;
  #at: number = performance.now();

  constructor(perHour: number) {
    this.#perHour = perHour;
    this.#left = perHour;
  }
  take(bytes: number): boolean {
    const now = performance.now();
    this.#left = Math.min(this.#perHour, this.#left + ((now - this.#at) / HOUR_MS) * this.#perHour);
    this.#at = now;
    if (this.#left < bytes) return false;
    this.#left -= bytes;
    return true;
  }
}

interface File {
  readonly path: string;
  readonly bytes: number;
  readonly written: number;
}

function statusOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}
function namesIn(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
function foldersOf(root: string): string[] {
  return namesIn(root).flatMap((name) => (/^[0-9a-f]{32}$/u.test(name) ? [join(root, name)] : []));
}

/** Files of all fingerprints. */
export function listFiles(root: string): File[] {
  const files: File[] = [];
  for (const folder of foldersOf(root)) {
    for (const name of namesIn(folder)) {
      const path = join(folder, name);
      const status = statusOf(path);
      if (status?.isFile() === true) files.push({ path, bytes: status.size, written: status.mtimeMs });
    }
  }
  return files;
}

/** Removes what killed hosts left, and translations of versions that are not in use. */
export function removeLeftovers(root: string, own: string): void {
  const now = Date.now();
  for (const folder of foldersOf(root)) {
    const status = statusOf(folder);
    if (folder !== own && status !== undefined && now - status.mtimeMs > STALE_FOLDER_MS) {
      rmSync(folder, { recursive: true, force: true });
      continue;
    }
    const names = new Set(namesIn(folder));
    for (const name of names) {
      const path = join(folder, name);
      const written = statusOf(path)?.mtimeMs ?? now;
      const isLeft = name.endsWith(".tmp") || (name.endsWith(".used") && !names.has(`${name.slice(0, -".used".length)}.pack`));
      if (isLeft && now - written > STALE_FILE_MS) rmSync(path, { force: true });
    }
  }
}

/** Does something while no other host does such a thing; nothing when one does. */
export async function withLock(root: string, action: () => Promise<void>): Promise<void> {
  const lock = join(root, "lock");
  const held = statusOf(lock);
  if (held !== undefined && Date.now() - held.mtimeMs > STALE_LOCK_MS) rmSync(lock, { force: true });
  try {
    closeSync(openSync(lock, "wx", 0o600));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return;
    throw error;
  }
  try {
    await action();
  } finally {
    rmSync(lock, { force: true });
  }
}
