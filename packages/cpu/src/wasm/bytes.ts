/** A growing byte buffer with the number encodings of WebAssembly binaries. */
export class Bytes {
  #data: Uint8Array = new Uint8Array(256);
  #length = 0;

  get length(): number {
    return this.#length;
  }
  /** The bytes written so far; valid until the next write. */
  get view(): Uint8Array<ArrayBuffer> {
    return this.#data.subarray(0, this.#length) as Uint8Array<ArrayBuffer>;
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#data.length) return;
    const larger = new Uint8Array(Math.max(this.#data.length * 2, this.#length + count));
    larger.set(this.view);
    this.#data = larger;
  }
  byte(value: number): void {
    if (this.#length === this.#data.length) this.#reserve(1);
    this.#data[this.#length++] = value;
  }
  append(bytes: ArrayLike<number>): void {
    this.#reserve(bytes.length);
    this.#data.set(bytes, this.#length);
    this.#length += bytes.length;
  }
  /** Unsigned LEB128, 32 bits. */
  u32(value: number): void {
    let rest = value >>> 0;
    while (rest >= 128) {
      this.byte((rest & 127) | 128);
      rest >>>= 7;
    }
    this.byte(rest);
  }
  /** Signed LEB128 of the low 32 bits. */
  s32(value: number): void {
    let rest = value | 0;
    for (;;) {
      const low = rest & 127;
      rest >>= 7;
      if ((rest === 0 && (low & 64) === 0) || (rest === -1 && (low & 64) !== 0)) return this.byte(low);
      this.byte(low | 128);
    }
  }
  /** Signed LEB128 of the low 64 bits. */
  s64(value: bigint): void {
    let rest = BigInt.asIntN(64, value);
    if (rest >= -0x8000_0000n && rest <= 0x7fff_ffffn) return this.s32(Number(rest));
    for (;;) {
      const low = Number(rest & 127n);
      rest >>= 7n;
      if ((rest === 0n && (low & 64) === 0) || (rest === -1n && (low & 64) !== 0)) return this.byte(low);
      this.byte(low | 128);
    }
  }
  /** An ASCII name with its length. */
  name(text: string): void {
    this.u32(text.length);
    for (let at = 0; at < text.length; at++) this.byte(text.charCodeAt(at));
  }
  /** A vector of bytes with its length. */
  sized(bytes: ArrayLike<number>): void {
    this.u32(bytes.length);
    this.append(bytes);
  }
}
