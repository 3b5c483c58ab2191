import { SEAT_RESERVE } from "@cvm/cpu";
import type { Authority, MachinePort } from "@cvm/cpu/abi";
import { PAGE_SIZE, Prot } from "@cvm/cpu/abi";
import { Limits } from "./abi.ts";
import { emptyAuthority } from "./authority.ts";
import { Errno } from "./errors.ts";
import type { Thread } from "./process.ts";
import { decodeText } from "./text.ts";

/** Offset and length of each buffer: two numbers each. */
export type Vector = Float64Array;

/**
 * Guest memory as one hart may reach it: every pointer is an offset that is resolved against the DDC in force, as the hart's own loads and
 * stores would be, and never followed with the monitor's authority. {@link GuestMemory.enter} comes before anything else.
 */
export class GuestMemory {
  readonly #machine: MachinePort;
  readonly #authority: Authority = emptyAuthority();
  /** Whose authority it is. Whoever lets a hart run, or changes its DDC, takes it anew. */
  entered: Thread | null = null;

  constructor(machine: MachinePort) {
    this.#machine = machine;
  }

  /** Takes the authority of a thread's hart as it is now. */
  enter(thread: Thread): void {
    this.entered = thread;
    thread.hart.readAuthority(this.#authority);
  }

  /** True when the code that runs lies in [base, base + length). */
  runsIn(base: number, length: number): boolean {
    const { pccBase } = this.#authority;
    return pccBase >= base && pccBase < base + length;
  }

  /**
   * The absolute address of `length` bytes at `offset`, or -1. Checked: tag, seal, permission and bounds of DDC; then that every page
   * touched allows it; pages of the thread's process that were not used before are given to it. No value of the two numbers, NaN included,
   * passes without lying inside.
   */
  resolve(offset: number, length: number, write: boolean): number {
    const { ddcAddress, ddcBase, loadLength, storeLength } = this.#authority;
    const start = ddcAddress + offset;
    const end = start + length;
    if (!(length >= 0 && start >= ddcBase && end <= ddcBase + (write ? storeLength : loadLength) && end <= this.#machine.memoryBytes))
      return -1;
    if (this.#machine.allows(start, length, write ? Prot.Write : Prot.Read)) return start;
    if (!write || this.entered === null) return -1;
    const given = this.entered.process.use(start, length, SEAT_RESERVE);
    if (given < 0) this.entered.starved = true;
    return given > 0 && this.#machine.allows(start, length, Prot.Write) ? start : -1;
  }

  /** A copy; null on a fault. */
  copy(offset: number, length: number): Uint8Array | null {
    if (length === 0) return new Uint8Array(0);
    const start = this.resolve(offset, length, false);
    return start < 0 ? null : this.#machine.readBytes(start, length);
  }

  /** A view; null on a fault. */
  lend(offset: number, length: number): Uint8Array | null {
    if (length === 0) return new Uint8Array(0);
    const start = this.resolve(offset, length, false);
    if (start < 0) return null;
    // Where several take turns, the handler may bring another one's memory there.
    return this.entered?.process.seat ? this.#machine.readBytes(start, length) : this.#machine.lendBytes(start, length);
  }

  /** Writes; false on a fault. This is the only way in which an answer reaches guest memory. */
  store(offset: number, bytes: Uint8Array): boolean {
    if (bytes.length === 0) return true;
    const start = this.resolve(offset, bytes.length, true);
    if (start < 0) return false;
    this.#machine.storeRange(start, bytes);
    return true;
  }

  /** Writes a 32-bit number; false on a fault. */
  storeU32(offset: number, value: number): boolean {
    return this.store(offset, Uint8Array.of(value, value >>> 8, value >>> 16, value >>> 24));
  }

  /** -1 on a fault. */
  readU32(offset: number): number {
    const start = this.resolve(offset, 4, false);
    return start < 0 ? -1 : this.#machine.readU32(start);
  }

  /** A pointer or size, exact up to 2^53; -1 on a fault. */
  readU64(offset: number): number {
    const start = this.resolve(offset, 8, false);
    return start < 0 ? -1 : this.#machine.readU64(start);
  }

  /** A NUL-terminated string of at most `most` bytes with its terminator; a negative errno on a fault or when it is longer. */
  string(offset: number, most: number): string | number {
    const chunks: Uint8Array[] = [];
    let total = 0;
    while (total < most) {
      const start = this.resolve(offset + total, 1, false);
      if (start < 0) return -Errno.EFAULT;
      const length = Math.min(PAGE_SIZE - (start % PAGE_SIZE), most - total, this.#authority.ddcBase + this.#authority.loadLength - start);
      const view = this.#machine.lendBytes(start, length);
      const end = view.indexOf(0);
      // A copy: text decoders refuse views of shared memory.
      chunks.push(view.slice(0, end < 0 ? length : end));
      if (end >= 0) return decodeText(chunks.length === 1 ? chunks[0]! : concatenate(chunks));
      total += length;
    }
    return -Errno.ENAMETOOLONG;
  }

  /** argv or envp: pointers up to a null pointer. Negative errno: EFAULT, or E2BIG beyond {@link Limits}. */
  strings(offset: number): string[] | number {
    const strings: string[] = [];
    if (offset === 0) return strings;
    let bytes = 0;
    for (let i = 0; i <= Limits.argumentCount; i++) {
      const pointer = this.readU64(offset + 8 * i);
      if (pointer < 0) return -Errno.EFAULT;
      if (pointer === 0) return strings;
      const text = this.string(pointer, Limits.argumentBytes);
      if (typeof text === "number") return text === -Errno.ENAMETOOLONG ? -Errno.E2BIG : text;
      bytes += text.length + 1;
      if (bytes > Limits.argumentsBytes) return -Errno.E2BIG;
      strings.push(text);
    }
    return -Errno.E2BIG;
  }

  /** `count` entries of struct iovec, cut at {@link Limits.transferBytes} in all. Negative errno: EINVAL for a bad count or length, EFAULT. */
  vector(offset: number, count: number): Vector | number {
    if (!(count >= 0 && count <= Limits.iovecs)) return -Errno.EINVAL;
    const vector = new Float64Array(count * 2);
    let total = 0;
    for (let i = 0; i < count; i++) {
      const base = this.readU64(offset + 16 * i);
      const length = this.readU64(offset + 16 * i + 8);
      if (base < 0 || length < 0) return -Errno.EFAULT;
      if (length >= 2 ** 63) return -Errno.EINVAL;
      const part = Math.min(length, Limits.transferBytes - total);
      vector[2 * i] = base;
      vector[2 * i + 1] = part;
      total += part;
    }
    return vector;
  }

  /** What the buffers of a vector hold, in one piece; null on a fault. */
  gather(vector: Vector): Uint8Array | null {
    if (vector.length === 2) return this.lend(vector[0]!, vector[1]!);
    const bytes = new Uint8Array(vectorLength(vector));
    let position = 0;
    for (let i = 0; i < vector.length; i += 2) {
      const length = vector[i + 1]!;
      if (length === 0) continue;
      const start = this.resolve(vector[i]!, length, false);
      if (start < 0) return null;
      bytes.set(this.#machine.lendBytes(start, length), position);
      position += length;
    }
    return bytes;
  }

  /** Fills the buffers of a vector in order; what does not fit is dropped. False on a fault. */
  scatter(vector: Vector, bytes: Uint8Array): boolean {
    let position = 0;
    for (let i = 0; i < vector.length && position < bytes.length; i += 2) {
      const length = Math.min(vector[i + 1]!, bytes.length - position);
      if (!this.store(vector[i]!, bytes.subarray(position, position + length))) return false;
      position += length;
    }
    return true;
  }
}

export function vectorLength(vector: Vector): number {
  let total = 0;
  for (let i = 1; i < vector.length; i += 2) total += vector[i]!;
  return total;
}

function concatenate(chunks: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let position = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, position);
    position += chunk.length;
  }
  return bytes;
}
