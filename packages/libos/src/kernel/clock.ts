/**
 * The time, as system calls and the vDSO tell it: nanoseconds that the processor's `time` register counts, plus an offset per clock. Both read
 * the same register, so that a program that uses both never sees a clock go back.
 */
import { TICKS_PER_MS } from "@cvm/monitor/abi";

/** Numbers of clock_gettime(2). */
export const Clock = {
  REALTIME: 0,
  MONOTONIC: 1,
  PROCESS_CPUTIME: 2,
  THREAD_CPUTIME: 3,
  MONOTONIC_RAW: 4,
  REALTIME_COARSE: 5,
  MONOTONIC_COARSE: 6,
  BOOTTIME: 7,
  REALTIME_ALARM: 8,
  BOOTTIME_ALARM: 9,
  TAI: 11,
} as const;

/** International atomic time is ahead of UTC by this many seconds. */
export const TAI_SECONDS = 37;
const TICKS_PER_SECOND = TICKS_PER_MS * 1000;
const TICK_NS = 1e9 / TICKS_PER_SECOND;
const SECOND_NS = 1_000_000_000n;
/** The wall clock may be set: it is compared with the monotonic one this often, and followed when they differ by more than this. */
const CHECK_MS = 500;
const DRIFT_MS = 2;
/** Bytes of the [vvar] page: an offset in nanoseconds, 64 bits, for each of the clocks 0 … 15; 0 where the vDSO must ask. */
const VVAR_BYTES = 16 * 8;

/** The processor's `time` register. */
export const ticks = (): number => Math.floor(performance.now() * TICKS_PER_MS);

/** The host's wall clock: CLOCK_REALTIME at tick 0, in whole seconds and nanoseconds. One for all cVMs of a host. */
class WallClock {
  seconds = 0;
  nanoseconds = 0;
  #ms = 0;
  readonly #followers: Set<() => void> = new Set();
  #timer: ReturnType<typeof setInterval> | null = null;

  constructor() {
    this.#set(performance.timeOrigin);
    this.check();
  }
  #set(ms: number): void {
    this.#ms = ms;
    this.seconds = Math.floor(ms / 1000);
    this.nanoseconds = Math.min(999_999_999, Math.floor((ms - this.seconds * 1000) * 1e6));
  }
  /** Follows the host's clock if it was set. */
  check(): void {
    const drift = Date.now() - (this.#ms + performance.now());
    if (drift >= -DRIFT_MS && drift <= DRIFT_MS) return;
    this.#set(this.#ms + drift);
    for (const follower of this.#followers) follower();
  }
  /** Calls `follower` after the clock was set; the result ends that. */
  follow(follower: () => void): () => void {
    this.check();
    this.#followers.add(follower);
    this.#timer ??= setInterval(() => this.check(), CHECK_MS).unref();
    return () => {
      this.#followers.delete(follower);
      if (this.#followers.size > 0 || this.#timer === null) return;
      clearInterval(this.#timer);
      this.#timer = null;
    };
  }
}
export const wall: WallClock = new WallClock();

/** Clocks of one cVM: its time begins when it is made. */
export class Clocks {
  readonly #boot: number = ticks();

  /** Milliseconds of CLOCK_MONOTONIC, with a fraction. */
  monotonic(): number {
    return (ticks() - this.#boot) / TICKS_PER_MS;
  }
  /** Milliseconds of CLOCK_REALTIME, with a fraction. */
  realtime(): number {
    return wall.seconds * 1000 + wall.nanoseconds / 1e6 + ticks() / TICKS_PER_MS;
  }
  /** Writes the exact time of a clock as a timespec; false when it is none that runs with `time`. */
  write(clock: number, view: DataView): boolean {
    let count = ticks();
    let seconds = 0;
    let nanoseconds = 0;
    switch (clock) {
      case Clock.TAI:
      case Clock.REALTIME:
      case Clock.REALTIME_COARSE:
      case Clock.REALTIME_ALARM:
        seconds = clock === Clock.TAI ? wall.seconds + TAI_SECONDS : wall.seconds;
        nanoseconds = wall.nanoseconds;
        break;
      case Clock.MONOTONIC:
      case Clock.MONOTONIC_RAW:
      case Clock.MONOTONIC_COARSE:
      case Clock.BOOTTIME:
      case Clock.BOOTTIME_ALARM:
        count -= this.#boot;
        break;
      default:
        return false;
    }
    const whole = Math.floor(count / TICKS_PER_SECOND);
    seconds += whole;
    nanoseconds += (count - whole * TICKS_PER_SECOND) * TICK_NS;
    if (nanoseconds >= 1e9) {
      nanoseconds -= 1e9;
      seconds++;
    }
    view.setUint32(0, seconds % 4_294_967_296, true);
    view.setUint32(4, Math.floor(seconds / 4_294_967_296), true);
    view.setUint32(8, nanoseconds, true);
    view.setUint32(12, 0, true);
    return true;
  }
  /** Content of the [vvar] mapping as of now. */
  page(): Uint8Array {
    const bytes = new Uint8Array(VVAR_BYTES);
    const view = new DataView(bytes.buffer);
    const realtime = BigInt(wall.seconds) * SECOND_NS + BigInt(wall.nanoseconds);
    const monotonic = BigInt(-this.#boot) * BigInt(TICK_NS);
    const set = (clock: number, offset: bigint): void => view.setBigInt64(8 * clock, offset, true);
    for (const clock of [Clock.REALTIME, Clock.REALTIME_COARSE]) set(clock, realtime);
    for (const clock of [Clock.MONOTONIC, Clock.MONOTONIC_RAW, Clock.MONOTONIC_COARSE, Clock.BOOTTIME]) set(clock, monotonic);
    set(Clock.TAI, realtime + BigInt(TAI_SECONDS) * SECOND_NS);
    return bytes;
  }
}
