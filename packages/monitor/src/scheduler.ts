import type { Thread } from "./process.ts";
import { ThreadState } from "./process.ts";

/** Longest time that guests run before the event loop turns, in milliseconds. */
const TURN_MS = 1;
/** CPU time that a quota lets a cVM save up, in milliseconds. */
const BURST_MS = 20;
const FUEL_START = 20_000;
const FUEL_LEAST = 1_000;
const FUEL_MOST = 20_000_000;

/** CPU time of one cVM: what it may use, what it used, and its queue of runnable threads. */
export class Account {
  readonly weight: number;
  /** CPUs that it may use on average; Infinity without a quota. */
  readonly cpus: number;
  /** CPU time used, in milliseconds. */
  cpuMs: number = 0;
  /** Times that this cVM was given the hart after another one had it. */
  switches: number = 0;
  /** Fuel that lasts about one turn of this cVM's kind of code. */
  fuel: number = FUEL_START;
  /** CPU time divided by weight. The runnable cVM with the least goes next. */
  virtual: number = 0;
  #head: Thread | null = null;
  #tail: Thread | null = null;
  #tokens: number = BURST_MS;
  #refilled: number = Number.NaN;

  /** `weight` > 0, relative to other cVMs; `cpus` > 0. */
  constructor(weight: number, cpus: number) {
    this.weight = weight;
    this.cpus = cpus;
  }

  get runnable(): boolean {
    return this.#head !== null;
  }

  push(thread: Thread): void {
    thread.next = null;
    if (this.#tail === null) this.#head = thread;
    else this.#tail.next = thread;
    this.#tail = thread;
  }

  /** The next thread that is still runnable, taken out. */
  shift(): Thread | null {
    while (this.#head !== null) {
      const thread = this.#head;
      this.#head = thread.next;
      if (this.#head === null) this.#tail = null;
      thread.next = null;
      if (thread.state === ThreadState.Runnable) return thread;
    }
    return null;
  }

  /** Takes out one that waits. */
  remove(thread: Thread): void {
    let before: Thread | null = null;
    for (let at = this.#head; at !== null; before = at, at = at.next) {
      if (at !== thread) continue;
      if (before === null) this.#head = thread.next;
      else before.next = thread.next;
      if (this.#tail === thread) this.#tail = before;
      thread.next = null;
      return;
    }
  }

  charge(ms: number): void {
    this.cpuMs += ms;
    this.virtual += ms / this.weight;
    if (this.cpus !== Infinity) this.#tokens -= ms;
  }

  /** Milliseconds until the quota lets it run; 0: now. */
  throttledFor(now: number): number {
    if (this.cpus === Infinity) return 0;
    if (!Number.isNaN(this.#refilled)) this.#tokens = Math.min(BURST_MS, this.#tokens + (now - this.#refilled) * this.cpus);
    this.#refilled = now;
    return this.#tokens > 0 ? 0 : Math.max(0.1, -this.#tokens / this.cpus);
  }
}

/** Where the scheduler gets time and the event loop's next turn from. */
export interface Clock {
  /** Milliseconds, with a fraction, never going back. */
  now(): number;
  /** Calls `turn` once the event loop has looked for input. */
  soon(turn: () => void): void;
  /** Calls `turn` after `ms`; the result cancels it. */
  after(ms: number, turn: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  soon: (turn) => void setImmediate(turn),
  after: (ms, turn) => {
    const timer = setTimeout(turn, ms);
    return () => clearTimeout(timer);
  },
};

/** What runs one thread: until it blocks, its fuel is used up (then true), or `until` (of the clock) has passed. It never throws. */
export type RunSlice = (thread: Thread, fuel: number, until: number) => boolean;

/**
 * Gives the one hart to threads: fair between cVMs by weight (the least virtual time goes next), within a cVM in turn. It runs
 * guests for at most about a millisecond, then lets the event loop turn; when nothing is runnable it does nothing until
 * {@link Scheduler.enqueue} or {@link Scheduler.post}.
 */
export class Scheduler {
  readonly #clock: Clock;
  readonly #runSlice: RunSlice;
  readonly #accounts: Set<Account> = new Set();
  #mail: (() => void)[] = [];
  #last: Account | null = null;
  #inTurn: boolean = false;
  #scheduled: boolean = false;
  /** Something became runnable since the last look. */
  #news: boolean = false;
  #cancelTimer: (() => void) | null = null;
  /** Turns of the event loop that ran guests. */
  turns: number = 0;

  constructor(clock: Clock, runSlice: RunSlice) {
    this.#clock = clock;
    this.#runSlice = runSlice;
  }

  now(): number {
    return this.#clock.now();
  }

  add(account: Account): void {
    this.#accounts.add(account);
  }

  remove(account: Account): void {
    this.#accounts.delete(account);
    if (this.#last === account) this.#last = null;
  }

  enqueue(account: Account, thread: Thread): void {
    if (!account.runnable) this.#catchUp(account);
    account.push(thread);
    this.#wake();
  }

  /** Runs `deliver` before the next guest instruction, but never inside another call: messages between cVMs go this way. */
  post(deliver: () => void): void {
    this.#mail.push(deliver);
    this.#wake();
  }

  #wake(): void {
    this.#news = true;
    if (this.#inTurn || this.#scheduled) return;
    this.#scheduled = true;
    this.#clock.soon(this.#turn);
  }

  /** One that slept gets no credit for the time that it slept. */
  #catchUp(account: Account): void {
    let least = Infinity;
    for (const other of this.#accounts) if (other !== account && other.runnable && other.virtual < least) least = other.virtual;
    if (this.#last !== null && this.#last !== account && this.#last.virtual < least) least = this.#last.virtual;
    if (least !== Infinity && account.virtual < least) account.virtual = least;
  }

  #turn: () => void = () => {
    this.#scheduled = false;
    this.#inTurn = true;
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    this.turns++;
    let wait = Infinity;
    try {
      const started = this.#clock.now();
      let now = started;
      do {
        this.#deliver();
        wait = this.#runOne(now);
        if (wait > 0) break;
        now = this.#clock.now();
      } while (now - started < TURN_MS);
      this.#deliver();
    } finally {
      this.#inTurn = false;
      if (wait === 0 || this.#news) this.#wake();
      else if (wait !== Infinity) {
        this.#cancelTimer = this.#clock.after(Math.ceil(wait), () => {
          this.#cancelTimer = null;
          this.#wake();
        });
      }
    }
  };

  /** What was posted while this delivers waits for the next round: two cVMs that answer each other do not hold up all others. */
  #deliver(): void {
    if (this.#mail.length === 0) return;
    const mail = this.#mail;
    this.#mail = [];
    for (const deliver of mail) deliver();
  }

  /** Runs one slice. 0: there may be more; otherwise the milliseconds until something may run, Infinity when nothing waits. */
  #runOne(now: number): number {
    this.#news = false;
    let best: Account | null = null;
    let wait = Infinity;
    for (const account of this.#accounts) {
      if (!account.runnable) continue;
      const throttled = account.throttledFor(now);
      if (throttled > 0) wait = Math.min(wait, throttled);
      else if (best === null || account.virtual < best.virtual) best = account;
    }
    if (best === null) return wait;
    const thread = best.shift();
    if (thread === null) return 0;
    if (best !== this.#last) {
      best.switches++;
      this.#last = best;
    }
    thread.state = ThreadState.Running;
    const fuelUsed = this.#runSlice(thread, best.fuel, now + TURN_MS);
    if (thread.state === ThreadState.Running) {
      thread.state = ThreadState.Runnable;
      best.push(thread);
    }
    const used = this.#clock.now() - now;
    best.charge(used);
    if (fuelUsed)
      best.fuel = Math.round(
        Math.min(FUEL_MOST, Math.max(FUEL_LEAST, best.fuel * Math.min(2, Math.max(0.5, TURN_MS / Math.max(used, 0.01))))),
      );
    return 0;
  }
}
