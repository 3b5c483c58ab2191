import { expect, test } from "vitest";
import type { Process } from "./process.ts";
import { Thread, ThreadState } from "./process.ts";
import type { HartPort } from "@cvm/cpu/abi";
import { Account, Scheduler } from "./scheduler.ts";

/** Time that only passes when a thread runs or a timer is waited for. */
class FakeClock {
  time: number = 0;
  turns: (() => void)[] = [];
  timers: { at: number; turn: () => void }[] = [];
  now = (): number => this.time;
  soon = (turn: () => void): void => void this.turns.push(turn);
  after = (ms: number, turn: () => void): (() => void) => {
    const timer = { at: this.time + ms, turn };
    this.timers.push(timer);
    return () => void (this.timers = this.timers.filter((other) => other !== timer));
  };
  /** Runs turns and timers for `ms`. */
  advance(ms: number): void {
    const end = this.time + ms;
    while (this.time < end) {
      const turn = this.turns.shift();
      if (turn !== undefined) {
        turn();
        continue;
      }
      const next = this.timers.sort((a, b) => a.at - b.at)[0];
      if (next === undefined || next.at > end) break;
      this.timers.shift();
      this.time = next.at;
      next.turn();
    }
    this.time = Math.max(this.time, end);
  }
}

let ids = 1;
function threadOf(): Thread {
  const thread = new Thread(ids++, {} as Process, {} as HartPort);
  thread.state = ThreadState.Runnable;
  return thread;
}

/** Threads that always run for `ms` (0.5 unless told otherwise); counts slices per thread. */
function setUp(slice: (thread: Thread) => number = () => 0.5) {
  const clock = new FakeClock();
  const runs = new Map<Thread, number>();
  const scheduler = new Scheduler(clock, (thread) => {
    runs.set(thread, (runs.get(thread) ?? 0) + 1);
    clock.time += slice(thread);
    return true;
  });
  const add = (weight: number, cpus: number, threads: number): { account: Account; threads: Thread[] } => {
    const account = new Account(weight, cpus);
    scheduler.add(account);
    const list = Array.from({ length: threads }, threadOf);
    for (const thread of list) scheduler.enqueue(account, thread);
    return { account, threads: list };
  };
  return { clock, runs, scheduler, add };
}

test("cVMs share by weight, whatever the number of their threads", () => {
  const { clock, add } = setUp();
  const one = add(1, Infinity, 8);
  const three = add(3, Infinity, 1);
  clock.advance(400);
  expect(three.account.cpuMs / one.account.cpuMs).toBeCloseTo(3, 1);
  expect(one.account.switches).toBeGreaterThan(50);
});

test("threads of a cVM take turns", () => {
  const { clock, runs, add } = setUp();
  const { threads } = add(1, Infinity, 5);
  clock.advance(100);
  const counts = threads.map((thread) => runs.get(thread)!);
  expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
});

test("a quota holds on average, and leaves the rest to others", () => {
  const { clock, add } = setUp();
  const limited = add(1, 0.25, 1);
  const free = add(1, Infinity, 1);
  clock.advance(1000);
  expect(limited.account.cpuMs).toBeGreaterThan(240);
  expect(limited.account.cpuMs).toBeLessThan(275);
  expect(free.account.cpuMs).toBeGreaterThan(700);
});

test("a quota holds when nobody else runs", () => {
  const { clock, add, scheduler } = setUp();
  const { account } = add(1, 0.1, 2);
  clock.advance(2000);
  expect(account.cpuMs).toBeGreaterThan(190);
  expect(account.cpuMs).toBeLessThan(225);
  expect(scheduler.turns).toBeLessThan(1000);
});

test("one that slept gets no credit for it", () => {
  const { clock, add, scheduler } = setUp();
  const busy = add(1, Infinity, 1);
  const late = new Account(1, Infinity);
  scheduler.add(late);
  clock.advance(500);
  const before = busy.account.cpuMs;
  scheduler.enqueue(late, threadOf());
  clock.advance(100);
  expect(busy.account.cpuMs - before).toBeGreaterThan(45);
  expect(late.cpuMs).toBeGreaterThan(45);
});

test("nothing runs when nothing is runnable; what is posted is delivered in order and never inside another delivery", () => {
  const { clock, scheduler } = setUp();
  clock.advance(10);
  expect(scheduler.turns).toBe(0);
  const seen: string[] = [];
  let inside = false;
  const deliver = (name: string, then?: () => void) => (): void => {
    expect(inside).toBe(false);
    inside = true;
    seen.push(name);
    then?.();
    inside = false;
  };
  scheduler.post(deliver("a", () => scheduler.post(deliver("c"))));
  scheduler.post(deliver("b"));
  clock.advance(10);
  expect(seen).toEqual(["a", "b", "c"]);
  const { turns } = scheduler;
  clock.advance(1000);
  expect(scheduler.turns).toBe(turns);
});

test("a dead thread in the queue is passed over; guests run for about a millisecond a turn", () => {
  const { clock, runs, add, scheduler } = setUp(() => 0.1);
  const { threads } = add(1, Infinity, 3);
  threads[1]!.state = ThreadState.Dead;
  clock.advance(50);
  expect(runs.has(threads[1]!)).toBe(false);
  expect(clock.time / scheduler.turns).toBeGreaterThan(0.9);
  expect(clock.time / scheduler.turns).toBeLessThan(1.3);
});

test("fuel follows the speed of the code", () => {
  const { clock, add } = setUp(() => 0.25);
  const { account } = add(1, Infinity, 1);
  const before = account.fuel;
  clock.advance(2);
  expect(account.fuel).toBeGreaterThan(before * 4);
});

test("a thread that is taken out of its queue can wait in it again, and the others keep their turns", () => {
  const account = new Account(1, Infinity);
  const all = [1, 2, 3, 4].map(threadOf);
  const push = (thread: Thread): void => {
    thread.state = ThreadState.Runnable;
    account.push(thread);
  };
  for (const thread of all) push(thread);
  const [a, b, c, d] = all as [Thread, Thread, Thread, Thread];
  // The middle, the end, one that is not there, the head.
  for (const thread of [b, d, b, a]) account.remove(thread);
  for (const thread of [b, a]) push(thread);
  expect([account.shift(), account.shift(), account.shift(), account.shift()]).toEqual([c, b, a, null]);
  push(d);
  account.remove(d);
  expect([account.runnable, account.shift()]).toEqual([false, null]);
});
