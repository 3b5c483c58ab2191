/** Which parts of the address space are whose. */
import { PAGE_SIZE } from "../abi.ts";
import * as capability from "../capability/index.ts";

/** A contiguous range of the address space whose bounds a capability holds exactly. */
export interface Region {
  readonly base: number;
  readonly length: number;
}

/** Nothing is placed below: so that no program's offsets are absolute addresses by chance, and address 0 belongs to nobody. */
const FIRST_ADDRESS = 0x10000;

/** Length and alignment (bytes) of the smallest region of at least `bytes` with exact bounds; both are multiples of the page size. */
export function regionShape(bytes: number): { readonly length: number; readonly alignment: number } {
  let length = Math.ceil(Math.max(bytes, PAGE_SIZE) / PAGE_SIZE) * PAGE_SIZE;
  for (;;) {
    const rounded = Math.ceil(Number(capability.representableLength(length)) / PAGE_SIZE) * PAGE_SIZE;
    if (rounded === length) return { length, alignment: Math.max(PAGE_SIZE, Number(capability.representableAlignment(length))) };
    length = rounded;
  }
}

/** First-fit allocator of regions. Freed ranges are merged with their neighbours. */
export class RegionAllocator {
  /** Free ranges, by address, never adjacent. */
  readonly #free: { base: number; length: number }[];

  /** Manages [64 KiB, `memoryBytes`). */
  constructor(memoryBytes: number) {
    this.#free = memoryBytes > FIRST_ADDRESS ? [{ base: FIRST_ADDRESS, length: memoryBytes - FIRST_ADDRESS }] : [];
  }

  /** Bytes that are not allocated. */
  get freeBytes(): number {
    return this.#free.reduce((sum, range) => sum + range.length, 0);
  }

  /** Number of separate free ranges. */
  get fragments(): number {
    return this.#free.length;
  }

  /** `bytes` must be a positive finite number. Null when no free range is large enough. */
  allocate(bytes: number): Region | null {
    const { length, alignment } = regionShape(bytes);
    for (let i = 0; i < this.#free.length; i++) {
      const range = this.#free[i]!;
      const base = Math.ceil(range.base / alignment) * alignment;
      const rest = range.base + range.length - (base + length);
      if (rest < 0) continue;
      const parts = [
        { base: range.base, length: base - range.base },
        { base: base + length, length: rest },
      ].filter((part) => part.length > 0);
      this.#free.splice(i, 1, ...parts);
      return { base, length };
    }
    return null;
  }

  /** A region made longer where it is: at least `bytes`. Null when what follows is not free, or its base does not fit such a length. */
  extend(region: Region, bytes: number): Region | null {
    const { length, alignment } = regionShape(bytes);
    const index = this.#free.findIndex(({ base }) => base === region.base + region.length);
    const after = this.#free[index];
    const more = length - region.length;
    if (after === undefined || after.length < more || region.base % alignment !== 0) return null;
    this.#free.splice(index, 1, ...(after.length > more ? [{ base: after.base + more, length: after.length - more }] : []));
    return { base: region.base, length };
  }

  /** Gives a range back that {@link allocate} returned. The caller has zeroed it. */
  free(region: Region): void {
    let index = 0;
    while (index < this.#free.length && this.#free[index]!.base < region.base) index++;
    const merged = { base: region.base, length: region.length };
    const before = this.#free[index - 1];
    const after = this.#free[index];
    let start = index;
    let count = 0;
    if (before !== undefined && before.base + before.length === merged.base) {
      merged.base = before.base;
      merged.length += before.length;
      start--;
      count++;
    }
    if (after !== undefined && merged.base + merged.length === after.base) {
      merged.length += after.length;
      count++;
    }
    this.#free.splice(start, count, merged);
  }
}
