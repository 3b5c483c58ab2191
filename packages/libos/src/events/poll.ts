/** poll(2) and select(2): looks at many files at once, and what to wait for when none is ready. */
import { Poll, type FdTable, type OpenFile } from "../kernel/types.ts";
import { WaitQueue } from "../kernel/wait.ts";
import { Epoll, readiness } from "./epoll.ts";

const POLLFD_BYTES = 8;

/** A pollfd array under work: kept while the call waits. */
export class PollSet {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #files: (OpenFile | undefined)[] = [];

  constructor(bytes: Uint8Array, count: number, fds: FdTable) {
    this.#bytes = bytes.slice(0, count * POLLFD_BYTES);
    this.#view = new DataView(this.#bytes.buffer);
    for (let index = 0; index < count; index++) {
      const fd = this.#view.getInt32(index * POLLFD_BYTES, true);
      this.#files.push(fd < 0 ? undefined : fds.get(fd));
    }
  }
  /** The array with `revents` filled in. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }
  /** Fills in `revents`; how many are not 0. */
  look(): number {
    let count = 0;
    const view = this.#view;
    for (let index = 0; index < this.#files.length; index++) {
      const at = index * POLLFD_BYTES;
      const file = this.#files[index];
      let events = 0;
      if (file !== undefined) events = readiness(file) & (view.getUint16(at + 4, true) | Poll.ERR | Poll.HUP | Poll.NVAL);
      else if (view.getInt32(at, true) >= 0) events = Poll.NVAL;
      view.setUint16(at + 6, events, true);
      if (events !== 0) count++;
    }
    return count;
  }
  queues(): readonly WaitQueue[] {
    return queuesOf(this.#files);
  }
}

/** The wait queues of files, each once. */
function queuesOf(files: readonly (OpenFile | undefined)[]): readonly WaitQueue[] {
  const queues = new Set<WaitQueue>();
  for (const file of files) if (file !== undefined) queues.add(file.waiters);
  return [...queues];
}

/** What each of select's sets waits for: fs/select.c POLLIN_SET, POLLOUT_SET, POLLEX_SET. */
const SELECTED = [
  Poll.IN | Epoll.RDNORM | Epoll.RDBAND | Poll.HUP | Poll.ERR,
  Poll.OUT | Epoll.WRNORM | Epoll.WRBAND | Poll.ERR,
  Poll.PRI,
] as const;

/** Three fd_sets under work. */
export class SelectSet {
  readonly #wanted: readonly (Uint8Array | null)[];
  readonly #files: Map<number, OpenFile> = new Map();
  readonly #count: number;
  /** Results; null where the caller gave no set. */
  readonly results: readonly (Uint8Array | null)[];
  /** A number in a set that is not open. */
  readonly bad: boolean;

  constructor(count: number, sets: readonly (Uint8Array | null)[], fds: FdTable) {
    this.#count = count;
    this.#wanted = sets.map((set) => (set === null ? null : set.slice()));
    this.results = sets.map((set) => (set === null ? null : new Uint8Array(set.length)));
    let bad = false;
    for (let fd = 0; fd < count; fd++) {
      if (!this.#wanted.some((set) => has(set, fd))) continue;
      const file = fds.get(fd);
      if (file === undefined) bad = true;
      else this.#files.set(fd, file);
    }
    this.bad = bad;
  }
  /** Fills in the results; how many bits are set in all. */
  look(): number {
    let bits = 0;
    for (const result of this.results) result?.fill(0);
    for (const [fd, file] of this.#files) {
      const ready = readiness(file);
      for (let index = 0; index < 3; index++) {
        if (!has(this.#wanted[index]!, fd) || (ready & SELECTED[index]!) === 0) continue;
        this.results[index]![fd >> 3]! |= 1 << (fd & 7);
        bits++;
      }
    }
    return bits;
  }
  queues(): readonly WaitQueue[] {
    return this.#count === 0 ? [] : queuesOf([...this.#files.values()]);
  }
}

function has(set: Uint8Array | null, fd: number): boolean {
  return set !== null && (set[fd >> 3]! & (1 << (fd & 7))) !== 0;
}
