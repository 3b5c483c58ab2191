/** timerfd_create(2). */
import { anonymousStat, BaseFile } from "../files/open-file.ts";
import { E } from "../kernel/errno.ts";
import { Poll, type Kernel, type Stat } from "../kernel/types.ts";

/** Clock numbers of Linux. */
export const Clock = { REALTIME: 0, MONOTONIC: 1, BOOTTIME: 7, REALTIME_ALARM: 8, BOOTTIME_ALARM: 9 } as const;
export const TimerFlag = { ABSTIME: 1, CANCEL_ON_SET: 2 } as const;

/** Longest delay of setTimeout. */
const LONGEST_DELAY = 0x7fffffff;

/** A setting: milliseconds; `value` 0 is disarmed. */
export interface TimerSetting {
  readonly interval: number;
  readonly value: number;
}

export class TimerFile extends BaseFile {
  readonly kind = "timerfd";
  readonly name = "anon_inode:[timerfd]";
  readonly #kernel: Kernel;
  readonly #clock: number;
  /** Time of the next expiration on the timer's clock; 0: disarmed. */
  #next = 0;
  #interval = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(kernel: Kernel, clock: number, flags: number) {
    super(2 | flags);
    this.#kernel = kernel;
    this.#clock = clock;
  }
  override stat(): Stat {
    return anonymousStat(0o600);
  }
  /** Milliseconds of its clock. */
  #now(): number {
    return this.#clock === Clock.REALTIME || this.#clock === Clock.REALTIME_ALARM ? this.#kernel.realtime() : this.#kernel.monotonic();
  }
  #expirations(): number {
    if (this.#next === 0) return 0;
    const late = this.#now() - this.#next;
    if (late < 0) return 0;
    return this.#interval === 0 ? 1 : Math.floor(late / this.#interval) + 1;
  }
  override poll(): number {
    return this.#expirations() > 0 ? Poll.IN : 0;
  }
  /** The count of expirations since the last read. -EINVAL (less than 8 bytes), -EAGAIN. */
  override read(max: number): Uint8Array | number {
    if (max < 8) return -E.INVAL;
    const count = this.#expirations();
    if (count === 0) return -E.AGAIN;
    if (this.#interval === 0) this.#next = 0;
    else this.#next += count * this.#interval;
    this.#arm();
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(count), true);
    return bytes;
  }
  /** timerfd_gettime: until the next expiration. */
  setting(): TimerSetting {
    if (this.#next === 0) return { interval: this.#interval, value: 0 };
    let left = this.#next - this.#now();
    if (left <= 0) {
      if (this.#interval === 0) return { interval: 0, value: 0 };
      left += Math.ceil(-left / this.#interval) * this.#interval;
    }
    // One nanosecond at least: 0 would say that it is disarmed.
    return { interval: this.#interval, value: Math.max(left, 1e-6) };
  }
  /** timerfd_settime: the setting before. */
  set(setting: TimerSetting, flags: number): TimerSetting {
    const before = this.setting();
    this.#interval = setting.interval;
    if (setting.value === 0) this.#next = 0;
    else this.#next = (flags & TimerFlag.ABSTIME) !== 0 ? setting.value : this.#now() + setting.value;
    this.#arm();
    return before;
  }
  #arm(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#next === 0) return;
    const delay = Math.ceil(this.#next - this.#now());
    if (delay <= 0) {
      this.waiters.notify();
      return;
    }
    this.#timer = setTimeout(
      () => {
        if (this.#expirations() > 0) this.waiters.notify();
        else this.#arm();
      },
      Math.min(delay, LONGEST_DELAY),
    );
  }
  override close(): void {
    clearTimeout(this.#timer);
    this.waiters.notify();
  }
}
