/** Locks of threads that end while they hold them: the list that set_robust_list(2) names is walked, and who waits is told. */
import type { Awaitable } from "@cvm/monitor/abi";
import { FutexWord, readWord, writeWord } from "./futex.ts";
import type { LinuxProcess, LinuxThread } from "./process.ts";
import { repeat, whenReady } from "./ready.ts";

/** Entries of a list that are looked at (ROBUST_LIST_LIMIT). */
const MOST = 2048;
/** struct robust_list_head: the first entry, the offset of a lock's word from its entry, the entry that is being changed. */
const HEAD_BYTES = 24;

/** Whether somebody may see the memory of a process after its end. */
const seenByOthers = ({ memory }: LinuxProcess): boolean => memory.users > 1 || memory.mappings.some(({ shared }) => shared);

const pointer = (bytes: Uint8Array, at: number): number => Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(at, true));

/** All threads of a process that ends: done at once, or when the promise is fulfilled. */
export function abandonAll(process: LinuxProcess): Awaitable<void> {
  if (!seenByOthers(process)) return undefined;
  const threads = [...process.threads];
  return repeat(() => {
    const thread = threads.pop();
    return thread === undefined ? false : whenReady(abandon(thread), () => true);
  });
}

/** One thread that ends: its locks get the mark that their owner died. The lowest bit of a pointer says that the lock is one of FUTEX_LOCK_PI. */
export function abandon(thread: LinuxThread): Awaitable<void> {
  const head = thread.robustList;
  if (head === 0) return undefined;
  thread.robustList = 0;
  const { kernel, memory } = thread.process;
  const read = (at: number, length: number): Awaitable<Uint8Array | null> => kernel.host.readMemory(memory.id, at, length);
  return whenReady(read(head, HEAD_BYTES), (bytes) => {
    if (bytes === null) return undefined;
    const offset = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigInt64(8, true));
    const pending = pointer(bytes, 16);
    let entry = pointer(bytes, 0);
    let left = MOST;
    const lock = (of: number): number => of - (of % 2) + offset;
    const step = (): Awaitable<boolean> => {
      const at = entry - (entry % 2);
      if (at === head || at === 0 || left-- === 0) return false;
      const isPi = entry % 2 === 1;
      // The next entry first: who is woken may take this one out.
      return whenReady(read(at, 8), (following) =>
        whenReady(at === pending - (pending % 2) ? undefined : mark(thread, lock(entry), isPi, false), () => {
          if (following === null) return false;
          entry = pointer(following, 0);
          return true;
        }),
      );
    };
    return whenReady(repeat(step), () => (pending < 2 ? undefined : mark(thread, lock(pending), pending % 2 === 1, true)));
  });
}

/** Says in a lock's word that its owner died, and wakes one who waits. `pending`: the thread may have been between unlocking and waking. */
function mark(thread: LinuxThread, at: number, isPi: boolean, pending: boolean): Awaitable<void> {
  const { kernel, memory } = thread.process;
  const { host, futexes } = kernel;
  if (at % 4 !== 0 || !memory.allows(at, 4, 2)) return undefined;
  return whenReady(readWord(host, memory, at), (value): Awaitable<void> => {
    if (value === null) return undefined;
    const wake = (): void => {
      futexes.wake(futexes.keyOf(memory, at, false), 1);
    };
    if (pending && !isPi && value === 0) return wake();
    if ((value & FutexWord.TID) !== thread.id) return undefined;
    return whenReady(writeWord(host, memory, at, (value & FutexWord.WAITERS) | FutexWord.OWNER_DIED), () => {
      if (!isPi && (value & FutexWord.WAITERS) !== 0) wake();
    });
  });
}
