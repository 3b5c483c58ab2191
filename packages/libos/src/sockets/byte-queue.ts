const EMPTY = new Uint8Array(0);
/** Small writes share a buffer of this size. */
const SHARED_BYTES = 8192;

/**
 * Bytes in arrival order, kept as the chunks that they came in. Taking returns a view of a chunk where it can: the
 * queue never writes to bytes that were taken.
 */
export class ByteQueue {
  length = 0;
  #chunks: Uint8Array[] = [];
  /** First chunk still in the queue, and the first byte of it. */
  #first = 0;
  #offset = 0;
  /** The buffer that small writes are copied to, and how much of it is used. */
  #shared: Uint8Array = EMPTY;
  #used = 0;

  /** Adds a chunk without copying: it must not change any more. */
  push(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#chunks.push(bytes);
    this.length += bytes.length;
  }
  /** Adds a chunk that must not change any more: small ones behind others share memory, so that many do not take more than they hold. */
  pushOwn(bytes: Uint8Array): void {
    if (bytes.length < SHARED_BYTES / 16 && this.length > 0) this.pushCopy(bytes);
    else this.push(bytes);
  }
  /** Adds a copy. */
  pushCopy(bytes: Uint8Array): void {
    const { length } = bytes;
    if (length >= SHARED_BYTES / 4) {
      this.push(bytes.slice());
      return;
    }
    if (this.#used + length > this.#shared.length) {
      this.#shared = new Uint8Array(SHARED_BYTES);
      this.#used = 0;
    }
    this.#shared.set(bytes, this.#used);
    const start = this.#used;
    this.#used += length;
    // Joined with the chunk before it when that one ends here.
    const last = this.#chunks[this.#chunks.length - 1];
    if (last !== undefined && last.buffer === this.#shared.buffer && last.byteOffset + last.length === this.#shared.byteOffset + start) {
      this.#chunks[this.#chunks.length - 1] = this.#shared.subarray(last.byteOffset, this.#used);
      this.length += length;
    } else this.push(this.#shared.subarray(start, this.#used));
  }

  /** Takes up to `max` bytes. */
  take(max: number): Uint8Array {
    const chunk = this.#chunks[this.#first];
    if (chunk === undefined) return EMPTY;
    const available = chunk.length - this.#offset;
    if (available >= max || available === this.length) {
      const count = Math.min(available, max);
      const bytes = count === chunk.length ? chunk : chunk.subarray(this.#offset, this.#offset + count);
      this.#skip(count);
      return bytes;
    }
    const bytes = this.peek(max);
    this.#drop(bytes.length);
    return bytes;
  }
  /** A copy of up to `max` bytes, which stay. */
  peek(max: number): Uint8Array {
    const bytes = new Uint8Array(Math.min(max, this.length));
    let filled = 0;
    let offset = this.#offset;
    for (let index = this.#first; filled < bytes.length; index++) {
      const chunk = this.#chunks[index]!;
      const count = Math.min(chunk.length - offset, bytes.length - filled);
      bytes.set(chunk.subarray(offset, offset + count), filled);
      filled += count;
      offset = 0;
    }
    return bytes;
  }
  clear(): void {
    this.#chunks = [];
    this.#first = this.#offset = this.length = 0;
  }

  #drop(count: number): void {
    let left = count;
    while (left > 0) {
      const step = Math.min(left, this.#chunks[this.#first]!.length - this.#offset);
      this.#skip(step);
      left -= step;
    }
  }
  /** Moves on within the first chunk. */
  #skip(count: number): void {
    this.length -= count;
    if (this.length === 0) {
      this.#chunks.length = 0;
      this.#first = this.#offset = 0;
      return;
    }
    this.#offset += count;
    if (this.#offset < this.#chunks[this.#first]!.length) return;
    this.#offset = 0;
    this.#first++;
    if (this.#first >= 64) {
      this.#chunks = this.#chunks.slice(this.#first);
      this.#first = 0;
    }
  }
}
