/** Locks whose owner ends, locks with an owner, futex_waitv: on a host that answers at once, and on one that answers later (as over a port). */
import { PENDING } from "@cvm/monitor/abi";
import { afterEach, describe, expect, test } from "vitest";
import { makeElf } from "../test-support/elf.ts";
import { World } from "../test-support/world.ts";
import { E } from "./errno.ts";

const Op = { WAKE: 1, LOCK_PI: 6, UNLOCK_PI: 7, TRYLOCK_PI: 8, WAIT_REQUEUE_PI: 11, CMP_REQUEUE_PI: 12 } as const;
const PRIVATE = 128;
const THREAD = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000;
const OWNER_DIED = 0x40000000;
const WAITERS = 0x80000000;
const program = makeElf({
  segments: [
    { address: 0x10000, bytes: Uint8Array.of(0x13, 0, 0, 0) },
    { address: 0x20000, bytes: Uint8Array.of(1), memoryBytes: 8000, flags: 6 },
  ],
  entry: 0x10000,
});
const LOCK = 0x20100;
const WORD = 0x20200;
const HEAD = 0x20300;

let world: World;
afterEach(() => world.dispose());

const put = (address: number, ...values: bigint[]): void => world.store(1, address, new Uint8Array(BigInt64Array.from(values).buffer));
const get = (address: number): number => new DataView(world.read(1, address, 4)!.buffer).getUint32(0, true);
const turns = (): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, 3);
  });

describe.each([false, true])("host answers later: %s", (slow) => {
  const start = async (): Promise<void> => {
    world = new World({ "bin/a": program }, { argv: ["/bin/a"], slow });
    await world.os.start();
  };
  const thread = (): number => world.result(1, "clone", THREAD, 0x21000, 0, 0, 0);
  /** The result of a call; null while it waits. */
  const call = async (tid: number, name: string, ...args: Parameters<World["call"]> extends [number, string, ...infer A] ? A : never) => {
    const outcome = world.call(tid, name, ...args);
    if (outcome !== PENDING) return outcome.result;
    await turns();
    return world.answered(tid)?.result ?? null;
  };
  const futex = (tid: number, at: number, op: number, value = 0, timeout = 0, second = 0, third = 0) =>
    call(tid, "futex", at, op | PRIVATE, value, timeout, second, third);

  test("a thread that ends marks the locks of its list, and those only", async () => {
    await start();
    const tid = thread();
    // Three entries; the words are 16 bytes before them. The third belongs to somebody else; the pending one was not taken yet.
    put(HEAD, BigInt(HEAD + 32), -16n, BigInt(HEAD + 192));
    put(HEAD + 32, BigInt(HEAD + 64));
    put(HEAD + 16, 0n);
    put(HEAD + 64, BigInt(HEAD + 128));
    put(HEAD + 128, BigInt(HEAD));
    world.store(1, HEAD + 48, Uint8Array.from(new Uint8Array(Uint32Array.of(tid | WAITERS).buffer)));
    world.store(1, HEAD + 112, Uint8Array.of(tid + 1, 0, 0, 0));
    world.store(1, HEAD + 176, Uint8Array.of(tid, 0, 0, 0));
    put(HEAD + 16, BigInt(HEAD + 192));
    expect(await call(tid, "set_robust_list", HEAD, 24)).toBe(0);
    await call(tid, "exit", 0);
    await turns();
    expect(get(HEAD + 48)).toBe((OWNER_DIED | WAITERS) >>> 0);
    expect(get(HEAD + 112)).toBe(tid + 1);
    expect(get(HEAD + 176)).toBe(OWNER_DIED);
    expect(world.harts.has(tid)).toBe(false);
  });

  test("a process that is killed marks what others share with it, and its memory goes after that", async () => {
    await start();
    const shared = (await call(1, "mmap", 0, 4096, 3, 0x21, -1, 0))!;
    const child = (await call(1, "clone", 17, 0, 0, 0, 0))!;
    const space = world.harts.get(child)!.space;
    const bytes = new Uint8Array(BigInt64Array.of(BigInt(shared + 64), 8n, 0n).buffer);
    world.store(space, HEAD, bytes);
    world.store(space, shared + 64, new Uint8Array(BigInt64Array.of(BigInt(HEAD), BigInt(child)).buffer));
    await call(child, "set_robust_list", HEAD, 24);
    const writes: number[] = [];
    const apply = world.apply.bind(world);
    world.apply = (ops) => {
      for (const op of ops) {
        if (op.op === "write" && op.process === space) writes.push(new DataView(op.bytes.buffer, op.bytes.byteOffset).getUint32(0, true));
        if (op.op === "endProcess" && op.process === space) writes.push(-1);
      }
      return apply(ops);
    };
    await call(1, "kill", child, 9);
    await turns();
    expect(writes).toEqual([OWNER_DIED, -1]);
    expect(world.spaces.has(space)).toBe(false);
  });

  test("a lock goes from owner to owner, with the mark when one died", async () => {
    await start();
    const [a, b, c] = [thread(), thread(), thread()];
    expect(await futex(a, LOCK, Op.LOCK_PI)).toBe(0);
    expect(get(LOCK)).toBe(a);
    expect(await futex(a, LOCK, Op.LOCK_PI)).toBe(-E.DEADLK);
    expect(await futex(b, LOCK, Op.TRYLOCK_PI)).toBe(-E.AGAIN);
    expect(await futex(b, LOCK, Op.LOCK_PI)).toBe(null);
    expect(await futex(c, LOCK, Op.LOCK_PI)).toBe(null);
    expect(await futex(1, LOCK, Op.WAKE, 1)).toBe(-E.INVAL);
    expect(await futex(1, LOCK, Op.UNLOCK_PI)).toBe(-E.PERM);
    expect(await futex(a, LOCK, Op.UNLOCK_PI)).toBe(0);
    expect(world.answered(b)?.result).toBe(0);
    expect(get(LOCK)).toBe((b | WAITERS) >>> 0);
    await call(b, "exit", 0);
    await turns();
    expect(world.answered(c)?.result).toBe(0);
    expect(get(LOCK)).toBe((c | WAITERS | OWNER_DIED) >>> 0);
    expect(await futex(c, LOCK, Op.UNLOCK_PI)).toBe(0);
    expect(get(LOCK)).toBe(0);
    expect(await futex(c, LOCK, Op.UNLOCK_PI)).toBe(-E.PERM);
  });

  test("waiting in a ring is refused, and a lock of nobody is", async () => {
    await start();
    const [a, b] = [thread(), thread()];
    await futex(a, LOCK, Op.LOCK_PI);
    await futex(b, WORD, Op.LOCK_PI);
    expect(await futex(a, WORD, Op.LOCK_PI)).toBe(null);
    expect(await futex(b, LOCK, Op.LOCK_PI)).toBe(-E.DEADLK);
    await call(b, "exit", 0);
    await turns();
    expect(world.answered(a)?.result).toBe(0);
    world.store(1, WORD, Uint8Array.of(0xff, 0xff, 0, 0));
    expect(await futex(1, WORD, Op.LOCK_PI)).toBe(-E.SRCH);
  });

  test("waiters of a word are moved to a lock", async () => {
    await start();
    const waiters = [thread(), thread(), thread()] as const;
    for (const tid of waiters) expect(await futex(tid, WORD, Op.WAIT_REQUEUE_PI, 0, 0, LOCK)).toBe(null);
    expect(await futex(1, WORD, Op.WAKE, 1)).toBe(-E.INVAL);
    expect(await futex(1, WORD, Op.CMP_REQUEUE_PI, 1, 9, LOCK, 5)).toBe(-E.AGAIN);
    expect(await futex(1, WORD, Op.CMP_REQUEUE_PI, 1, 1, LOCK)).toBe(2);
    expect(world.answered(waiters[0])?.result).toBe(0);
    expect(get(LOCK)).toBe((waiters[0] | WAITERS) >>> 0);
    expect(world.answered(waiters[1])).toBeUndefined();
    expect(await futex(waiters[0], LOCK, Op.UNLOCK_PI)).toBe(0);
    expect(world.answered(waiters[1])?.result).toBe(0);
    expect(await futex(1, WORD, Op.CMP_REQUEUE_PI, 1, 1, LOCK)).toBe(1);
    expect(await futex(waiters[1], LOCK, Op.UNLOCK_PI)).toBe(0);
    expect(world.answered(waiters[2])?.result).toBe(0);
  });

  test("futex_waitv answers with the word that was woken, and waits on none of the others any more", async () => {
    await start();
    const tid = thread();
    const entry = (at: number, value = 0): bigint[] => [BigInt(value), BigInt(at), 2n | 128n];
    const list = (...entries: bigint[][]): Uint8Array => new Uint8Array(BigInt64Array.from(entries.flat()).buffer);
    expect(await call(tid, "futex_waitv", list(entry(WORD), entry(LOCK, 1)), 2, 0, 0, 1)).toBe(-E.AGAIN);
    expect(await call(tid, "futex_waitv", list(entry(WORD), entry(LOCK)), 2, 0, 0, 1)).toBe(null);
    expect(await futex(1, LOCK, Op.WAKE, 5)).toBe(1);
    expect(world.answered(tid)?.result).toBe(1);
    expect(await futex(1, WORD, Op.WAKE, 5)).toBe(0);
  });
});
