/** Whether a running cVM does its work, as a program inside tells again and again. */
import { messageOf } from "../errors.ts";
import type { Health, HealthCheck } from "./protocol.ts";

/** Most bytes kept of a check's output. */
const MOST_OUTPUT = 4096;

/** One run of the check. */
export interface Probe {
  /** Where it runs; set by who starts it. */
  console: number;
  output(bytes: Uint8Array): void;
  /** @param code as a shell reports it */
  ended(code: number): void;
}

export interface ProbeRunner {
  /** Resolves when the program runs, which then tells the probe; rejects when it cannot be executed. */
  start(probe: Probe): Promise<void>;
  /** Ends the program of the last probe. */
  kill(): void;
}

/** Health checks of one run of a cVM, as docker has them. */
export class HealthMonitor {
  readonly #check: HealthCheck;
  readonly #runner: ProbeRunner;
  readonly #changed: (health: Health) => void;
  readonly #started: number = performance.now();
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  #health: Health = { status: "starting", failures: 0 };

  /** The first check comes after one interval. `changed` is called at once, and after every check. */
  constructor(check: HealthCheck, runner: ProbeRunner, changed: (health: Health) => void) {
    this.#check = check;
    this.#runner = runner;
    this.#changed = changed;
    changed(this.#health);
    this.#next();
  }

  /** Nothing more is told, a check that runs is not waited for. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  get #starts(): boolean {
    return this.#health.status === "starting" && performance.now() - this.#started < this.#check.startPeriodMs;
  }

  #next(): void {
    const { intervalMs, startIntervalMs } = this.#check;
    this.#timer = setTimeout(() => void this.#run(), Math.min(this.#starts ? startIntervalMs : intervalMs, 2 ** 31 - 1));
  }

  async #run(): Promise<void> {
    const forgiven = this.#starts;
    const parts: Uint8Array[] = [];
    let kept = 0;
    const ended = Promise.withResolvers<number>();
    const probe: Probe = {
      console: 0,
      output: (bytes) => {
        if (kept >= MOST_OUTPUT) return;
        const part = bytes.slice(0, MOST_OUTPUT - kept);
        parts.push(part);
        kept += part.length;
      },
      ended: ended.resolve,
    };
    let late = false;
    let code: number | undefined;
    let failure = "";
    try {
      await this.#runner.start(probe);
      if (this.#stopped) return;
      this.#timer = setTimeout(
        () => {
          late = true;
          this.#runner.kill();
        },
        Math.min(this.#check.timeoutMs, 2 ** 31 - 1),
      );
      code = await ended.promise;
    } catch (error) {
      failure = messageOf(error);
    }
    if (this.#stopped) return;
    clearTimeout(this.#timer);
    const text = Buffer.concat(parts).toString();
    const output = late ? `${text}killed after ${this.#check.timeoutMs} ms` : text + failure;
    this.#judge(!late && code === 0, forgiven, { ...(late || code === undefined ? {} : { exitCode: code }), output });
    this.#next();
  }

  #judge(passed: boolean, forgiven: boolean, last: NonNullable<Health["last"]>): void {
    const { status, failures } = this.#health;
    if (passed) this.#health = { status: "healthy", failures: 0, last };
    else if (forgiven) this.#health = { status, failures, last };
    else this.#health = { status: failures + 1 >= this.#check.retries ? "unhealthy" : status, failures: failures + 1, last };
    this.#changed(this.#health);
  }
}
