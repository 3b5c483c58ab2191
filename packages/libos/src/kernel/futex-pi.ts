/**
 * Locks that have an owner and hand themselves over: FUTEX_LOCK_PI and its family. Their threads have no priorities here, so that there is
 * none to inherit: who came first is next. The word holds the owner's thread number, and whether others wait (futex(2), "Priority-inheritance futexes").
 */
import type { Awaitable, SyscallOutcome } from "@cvm/monitor/abi";
import type { AddressSpace } from "./address-space.ts";
import { E } from "./errno.ts";
import { FutexWaiter, FutexWord, readWord, writeWord } from "./futex.ts";
import type { LinuxKernel } from "./kernel.ts";
import type { LinuxContext, LinuxThread } from "./process.ts";
import { whenReady } from "./ready.ts";
import type { Waiter } from "./wait.ts";

/** What is known of a lock while somebody waits for it; otherwise its word says all. */
export class PiLock {
  readonly key: number;
  owner: LinuxThread;
  readonly waiters: PiWaiter[] = [];
  constructor(key: number, owner: LinuxThread) {
    this.key = key;
    this.owner = owner;
    owner.piHeld.add(this);
  }
}

/** One thread that waits for a lock: the queue that its blocked call is parked on. */
export class PiWaiter {
  readonly thread: LinuxThread;
  readonly lock: PiLock;
  /** Where this thread sees the word. */
  readonly memory: AddressSpace;
  readonly address: number;
  acquired = false;
  #notify: Waiter | null = null;

  constructor(thread: LinuxThread, lock: PiLock, address: number) {
    this.thread = thread;
    this.lock = lock;
    this.memory = thread.process.memory;
    this.address = address;
    lock.waiters.push(this);
    thread.piWanted = lock;
  }
  add(waiter: Waiter): void {
    this.#notify = waiter;
  }
  remove(): void {
    this.#notify = null;
    const { lock, thread } = this;
    if (thread.piWanted === lock) thread.piWanted = null;
    const index = lock.waiters.indexOf(this);
    if (index < 0) return;
    lock.waiters.splice(index, 1);
    if (lock.waiters.length === 0) forget(lock, thread.process.kernel);
  }
  grant(): void {
    this.acquired = true;
    this.thread.piWanted = null;
    this.#notify?.();
  }
}

/** Waits on a plain word until it is moved to the lock (FUTEX_WAIT_REQUEUE_PI). */
class RequeueWaiter extends FutexWaiter {
  readonly thread: LinuxThread;
  readonly lockAddress: number;
  moved: PiWaiter | null = null;
  #notifyMoved: Waiter | null = null;
  constructor(context: LinuxContext, key: number, bits: number, lockKey: number, lockAddress: number) {
    super(context.kernel.futexes, key, bits, lockKey);
    this.thread = context.thread;
    this.lockAddress = lockAddress;
  }
  override add(waiter: Waiter): void {
    super.add(waiter);
    this.#notifyMoved = waiter;
  }
  override remove(): void {
    super.remove();
    this.moved?.remove();
  }
  move(lock: PiLock): void {
    super.remove();
    this.moved = new PiWaiter(this.thread, lock, this.lockAddress);
    if (this.#notifyMoved !== null) this.moved.add(this.#notifyMoved);
  }
  /** The lock is its own already. */
  take(): void {
    const notify = this.#notifyMoved;
    super.remove();
    this.woken = true;
    notify?.();
  }
}

function forget(lock: PiLock, kernel: LinuxKernel): void {
  lock.owner.piHeld.delete(lock);
  kernel.piLocks.delete(lock.key);
}

/** Gives a lock that somebody waits for to the first of them. `mark`: more bits of the word. */
function handOver(kernel: LinuxKernel, lock: PiLock, mark: number): Awaitable<number> {
  const next = lock.waiters.shift()!;
  lock.owner.piHeld.delete(lock);
  lock.owner = next.thread;
  if (lock.waiters.length === 0) kernel.piLocks.delete(lock.key);
  else next.thread.piHeld.add(lock);
  return whenReady(writeWord(kernel.host, next.memory, next.address, next.thread.id | FutexWord.WAITERS | mark), (result) => {
    next.grant();
    return result;
  });
}

/** The locks that a thread held when it ended go to who waits for them, marked: what they guard may be in any state. */
export function abandonPi(thread: LinuxThread): void {
  for (const lock of thread.piHeld) void handOver(thread.process.kernel, lock, FutexWord.OWNER_DIED);
  thread.piHeld.clear();
}

/** Whether `thread` would wait for itself. */
function deadlock(thread: LinuxThread, owner: LinuxThread): boolean {
  const seen = new Set<LinuxThread>();
  for (let next: LinuxThread | undefined = owner; next !== undefined && !seen.has(next); next = next.piWanted?.owner) {
    if (next === thread) return true;
    seen.add(next);
  }
  return false;
}

/**
 * The lock behind a word whose owner is another thread, after the word says that somebody waits. Errors in order: -EINVAL (the word does not
 * name the owner that the others wait for, or they are no waiters for a lock), -EFAULT, -ESRCH (there is no such thread), -EDEADLK.
 */
function contend(kernel: LinuxKernel, thread: LinuxThread, key: number, at: number, value: number): Awaitable<PiLock | number> {
  const { memory } = thread.process;
  const tid = value & FutexWord.TID;
  const known = kernel.piLocks.get(key);
  if (known !== undefined) {
    const died = (value & FutexWord.OWNER_DIED) !== 0 && tid === 0;
    if (!died && tid !== known.owner.id) return -E.INVAL;
    return deadlock(thread, known.owner) ? -E.DEADLK : known;
  }
  if (kernel.futexes.waiting(key).length > 0) return -E.INVAL;
  return whenReady(writeWord(kernel.host, memory, at, value | FutexWord.WAITERS), (result) => {
    if (result < 0) return result;
    const owner = kernel.threads.get(tid);
    if (owner === undefined) return -E.SRCH;
    if (deadlock(thread, owner)) return -E.DEADLK;
    const lock = new PiLock(key, owner);
    kernel.piLocks.set(key, lock);
    return lock;
  });
}
/** Takes back a lock's state when nobody came to wait for it. */
function settle(kernel: LinuxKernel, lock: PiLock): void {
  if (lock.waiters.length === 0) forget(lock, kernel);
}

/** FUTEX_LOCK_PI, FUTEX_LOCK_PI2 and, with `timeoutMs` 0 and `only` true, FUTEX_TRYLOCK_PI. */
export function lockPi(context: LinuxContext, at: number, timeoutMs: number, only: boolean, isPrivate: boolean): Awaitable<SyscallOutcome> {
  const { kernel, process, thread } = context;
  const key = kernel.futexes.keyOf(process.memory, at, isPrivate);
  return whenReady(readWord(kernel.host, process.memory, at), (value): Awaitable<SyscallOutcome> => {
    if (value === null) return -E.FAULT;
    const owner = value & FutexWord.TID;
    if (owner === thread.id) return -E.DEADLK;
    if (owner === 0 && !kernel.piLocks.has(key)) {
      if (kernel.futexes.waiting(key).length > 0) return -E.INVAL;
      return writeWord(kernel.host, process.memory, at, thread.id | (value & FutexWord.OWNER_DIED));
    }
    return whenReady(contend(kernel, thread, key, at, value), (lock): SyscallOutcome => {
      if (typeof lock === "number") return lock;
      if (only) {
        settle(kernel, lock);
        return -E.AGAIN;
      }
      const waiter = new PiWaiter(thread, lock, at);
      const answer = (): number => (waiter.acquired ? 0 : -E.AGAIN);
      const outcome = kernel.park(thread, [waiter], answer, timeoutMs, -E.TIMEDOUT, "always", null);
      if (thread.blocked === null) waiter.remove();
      return outcome;
    });
  });
}

/** FUTEX_UNLOCK_PI. Errors in order: -EFAULT, -EPERM (not the owner), -EINVAL (others wait there, but not for a lock of this thread). */
export function unlockPi({ kernel, process, thread }: LinuxContext, at: number, isPrivate: boolean): Awaitable<number> {
  const key = kernel.futexes.keyOf(process.memory, at, isPrivate);
  return whenReady(readWord(kernel.host, process.memory, at), (value): Awaitable<number> => {
    if (value === null) return -E.FAULT;
    if ((value & FutexWord.TID) !== thread.id) return -E.PERM;
    const lock = kernel.piLocks.get(key);
    if (lock !== undefined) return lock.owner === thread ? handOver(kernel, lock, 0) : -E.INVAL;
    return kernel.futexes.waiting(key).length > 0 ? -E.INVAL : writeWord(kernel.host, process.memory, at, 0);
  });
}

/** FUTEX_WAIT_REQUEUE_PI: waits on `at` until it is moved to the lock at `lockAt` and gets that. */
export function waitRequeuePi(
  context: LinuxContext,
  at: number,
  expected: number,
  timeoutMs: number,
  lockAt: number,
  isPrivate: boolean,
): Awaitable<SyscallOutcome> {
  const { kernel, process, thread } = context;
  const key = kernel.futexes.keyOf(process.memory, at, isPrivate);
  const lockKey = kernel.futexes.keyOf(process.memory, lockAt, isPrivate);
  if (key === lockKey) return -E.INVAL;
  const waiter = new RequeueWaiter(context, key, -1, lockKey, lockAt);
  kernel.futexes.add(waiter);
  return whenReady(readWord(kernel.host, process.memory, at), (value): SyscallOutcome => {
    if (waiter.woken) return 0;
    if (value !== expected) {
      waiter.remove();
      return value === null ? -E.FAULT : -E.AGAIN;
    }
    const answer = (): number => (waiter.woken || waiter.moved?.acquired === true ? 0 : -E.AGAIN);
    const outcome = kernel.park(thread, [waiter], answer, timeoutMs, -E.TIMEDOUT, "always", () => {
      // The word has changed by now: the call is not made again.
      if (waiter.moved === null) return -E.INTR;
      thread.restartable = false;
      return -E.AGAIN;
    });
    if (thread.blocked === null) waiter.remove();
    return outcome;
  });
}

/** FUTEX_CMP_REQUEUE_PI: the first waiter gets the lock at `lockAt` when it is free, at most `most` others wait for it. How many went. */
export function requeuePi(
  { kernel, process }: LinuxContext,
  at: number,
  most: number,
  lockAt: number,
  expected: number,
  isPrivate: boolean,
): Awaitable<number> {
  const { futexes, host } = kernel;
  const key = futexes.keyOf(process.memory, at, isPrivate);
  const lockKey = futexes.keyOf(process.memory, lockAt, isPrivate);
  if (key === lockKey) return -E.INVAL;
  return whenReady(readWord(host, process.memory, at), (value): Awaitable<number> => {
    if (value === null) return -E.FAULT;
    if (value !== expected) return -E.AGAIN;
    const waiters = futexes.waiting(key).slice(0, most + 1);
    const [first] = waiters;
    if (first === undefined) return 0;
    if (!(first instanceof RequeueWaiter) || first.lockKey !== lockKey) return -E.INVAL;
    const others = (lock: PiLock, from: number): number => {
      let count = from;
      for (const waiter of waiters.slice(from)) {
        if (!(waiter instanceof RequeueWaiter) || waiter.lockKey !== lockKey) return -E.INVAL;
        waiter.move(lock);
        count++;
      }
      return count;
    };
    return whenReady(readWord(host, process.memory, lockAt), (word): Awaitable<number> => {
      if (word === null) return -E.FAULT;
      const owner = word & FutexWord.TID;
      if (owner === first.thread.id) return -E.DEADLK;
      if (owner !== 0 || kernel.piLocks.has(lockKey)) {
        return whenReady(contend(kernel, first.thread, lockKey, lockAt, word), (lock) => {
          if (typeof lock === "number") return lock;
          const count = others(lock, 0);
          settle(kernel, lock);
          return count;
        });
      }
      if (futexes.waiting(lockKey).length > 0) return -E.INVAL;
      const taken = first.thread.id | (word & FutexWord.OWNER_DIED) | (most > 0 ? FutexWord.WAITERS : 0);
      return whenReady(writeWord(host, process.memory, lockAt, taken), (result) => {
        if (result < 0) return result;
        let count = 1;
        if (waiters.length > 1) {
          const lock = new PiLock(lockKey, first.thread);
          kernel.piLocks.set(lockKey, lock);
          count = others(lock, 1);
          settle(kernel, lock);
        }
        first.take();
        return count;
      });
    });
  });
}
