/** eventfd(2). */
import { anonymousStat, BaseFile } from "../files/open-file.ts";
import { Change } from "./epoll.ts";
import { E } from "../kernel/errno.ts";
import { Poll, type Stat } from "../kernel/types.ts";

const MAX_WORD = 0xffffffff;

/** A 64-bit counter, kept as two words so that the common case needs no BigInt. */
export class EventFile extends BaseFile {
  readonly kind = "eventfd";
  readonly name = "anon_inode:[eventfd]";
  readonly #semaphore: boolean;
  #low: number;
  #high = 0;

  constructor(initial: number, flags: number, semaphore: boolean) {
    super(2 | flags);
    this.#low = initial >>> 0;
    this.#semaphore = semaphore;
  }
  override stat(): Stat {
    return anonymousStat(0o600);
  }
  override poll(): number {
    let events = 0;
    if (this.#low !== 0 || this.#high !== 0) events |= Poll.IN;
    if (this.#high !== MAX_WORD || this.#low < MAX_WORD - 1) events |= Poll.OUT;
    return events;
  }
  /** -EINVAL (less than 8 bytes), -EAGAIN (0). */
  override read(max: number): Uint8Array | number {
    if (max < 8) return -E.INVAL;
    if (this.#low === 0 && this.#high === 0) return -E.AGAIN;
    const bytes = new Uint8Array(8);
    const view = new DataView(bytes.buffer);
    if (this.#semaphore) {
      bytes[0] = 1;
      if (this.#low === 0) {
        this.#low = MAX_WORD;
        this.#high--;
      } else this.#low--;
    } else {
      view.setUint32(0, this.#low, true);
      view.setUint32(4, this.#high, true);
      this.#low = this.#high = 0;
    }
    this.waiters.notify(Change.OUT);
    return bytes;
  }
  /** -EINVAL (less than 8 bytes, or 2^64-1), -EAGAIN (the sum would pass 2^64-2). */
  override write(bytes: Uint8Array): number {
    if (bytes.length < 8) return -E.INVAL;
    const view = new DataView(bytes.buffer, bytes.byteOffset, 8);
    const addLow = view.getUint32(0, true);
    const addHigh = view.getUint32(4, true);
    if (addLow === MAX_WORD && addHigh === MAX_WORD) return -E.INVAL;
    const low = this.#low + addLow;
    const carry = low > MAX_WORD ? 1 : 0;
    const high = this.#high + addHigh + carry;
    if (high > MAX_WORD || (high === MAX_WORD && low >>> 0 === MAX_WORD)) return -E.AGAIN;
    this.#low = low >>> 0;
    this.#high = high;
    if (addLow !== 0 || addHigh !== 0) this.waiters.notify(Change.IN);
    return 8;
  }
  override close(): void {
    this.waiters.notify();
  }
}
