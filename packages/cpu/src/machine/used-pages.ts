import type { MachinePort } from "../abi.ts";
import { PAGE_SIZE, Prot } from "../abi.ts";
import { allowedBy, PageUse } from "./page-use.ts";

/** Bits of a page's state beyond its three protection bits. Only mapped pages are used, or kept elsewhere as well. */
const PROT = 7;
const { Mapped: MAPPED, Used: USED, Kept: KEPT } = PageUse;
const FRESH_WRITABLE: number = MAPPED | Prot.Write;

/**
 * What trusted code knows of each page of the address space. All ranges are absolute and were checked by the caller. A page that is not used
 * is all zeros and takes no memory, so that only used ones are ever zeroed or copied; the machine lets programs read it, and their first store
 * to it faults ({@link UsedPages.use}).
 */
export class UsedPages {
  readonly #machine: MachinePort;
  /** By page of the address space. */
  readonly states: Uint8Array;

  constructor(machine: MachinePort) {
    this.#machine = machine;
    this.states = new Uint8Array(Math.ceil(machine.memoryBytes / PAGE_SIZE));
  }

  /** True when every page that the range touches is mapped, whatever its protection. */
  mapped(start: number, length: number): boolean {
    const last = Math.floor((start + Math.max(length, 1) - 1) / PAGE_SIZE);
    for (let page = Math.floor(start / PAGE_SIZE); page <= last; page++) if ((this.states[page]! & MAPPED) === 0) return false;
    return true;
  }

  /** Bytes of the used pages that the range touches. */
  used(start: number, length: number): number {
    return this.#count(start, length, USED, USED);
  }

  /** Bytes of the pages that it touches which hold something, used or kept. */
  held(start: number, length: number): number {
    return length - this.#count(start, length, USED | KEPT, 0);
  }

  /** Bytes of those that are not used. */
  unused(start: number, length: number): number {
    return this.#count(start, length, USED, 0);
  }

  /** Bytes of the pages that the range touches which a store would use for the first time. */
  fresh(start: number, length: number): number {
    return this.#count(start, length, FRESH_WRITABLE | USED, FRESH_WRITABLE);
  }

  /** Makes pages usable, zeroed unless `keep`. Page-aligned. */
  map(start: number, length: number, prot: number, keep: boolean): void {
    if (!keep) this.zero(start, length);
    const end = (start + length) / PAGE_SIZE;
    for (let page = start / PAGE_SIZE; page < end; page++) this.states[page] = (this.states[page]! & (USED | KEPT)) | MAPPED | prot;
    this.#allow(start, length);
  }

  /** Changes what mapped pages allow; others stay unmapped. Page-aligned. */
  protect(start: number, length: number, prot: number): void {
    const end = (start + length) / PAGE_SIZE;
    for (let page = start / PAGE_SIZE; page < end; page++)
      if ((this.states[page]! & MAPPED) !== 0) this.states[page] = (this.states[page]! & ~PROT) | prot;
    this.#allow(start, length);
  }

  /** Takes pages away, zeroed. Page-aligned. */
  unmap(start: number, length: number): void {
    this.zero(start, length);
    this.states.fill(0, start / PAGE_SIZE, (start + length) / PAGE_SIZE);
    this.#machine.protect(start, length, 0);
  }

  /** Zeroes pages: they are as if they had never been used. Page-aligned. */
  zero(start: number, length: number): void {
    for (const bit of [USED, KEPT])
      this.#runs(start, length, bit, (from, bytes) => {
        this.#nonZero(from, bytes, (at, count) => this.#machine.zeroRange(at, count));
        for (let page = from / PAGE_SIZE; page < (from + bytes) / PAGE_SIZE; page++) this.states[page]! &= ~bit;
        this.#allow(from, bytes);
      });
  }

  /** Counts the pages that a range touches as used: those that are mapped, or only those mapped for writing. */
  use(start: number, length: number, writable: boolean): void {
    const first = start - (start % PAGE_SIZE);
    const bytes = Math.ceil((start + length - first) / PAGE_SIZE) * PAGE_SIZE;
    this.#runs(first, bytes, writable ? FRESH_WRITABLE : MAPPED, (from, count) => {
      for (let page = from / PAGE_SIZE; page < (from + count) / PAGE_SIZE; page++) this.states[page] = (this.states[page]! & ~KEPT) | USED;
      this.#allow(from, count);
    });
  }

  /** Writes bytes to mapped pages whatever their protection. */
  write(start: number, bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.use(start, bytes.length, false);
    this.#machine.storeRange(start, bytes);
  }

  /** Copies between ranges that do not overlap, to mapped pages. */
  copy(from: number, to: number, length: number): void {
    if (length === 0) return;
    this.use(to, length, false);
    this.#machine.copyRange(from, to, length);
  }

  /** Makes one free region equal to another of the same length: mapped pages, their protections and what they hold. */
  duplicate(from: number, to: number, length: number): void {
    this.states.copyWithin(to / PAGE_SIZE, from / PAGE_SIZE, (from + length) / PAGE_SIZE);
    for (const bit of [USED, KEPT])
      this.#runs(to, length, bit, (start, bytes) => {
        this.#nonZero(from + (start - to), bytes, (at, count) => this.#machine.copyRange(at, to + (at - from), count));
        if (bit === KEPT) this.use(start, bytes, false);
      });
    this.#allow(to, length);
  }

  #count(start: number, length: number, mask: number, wanted: number): number {
    let count = 0;
    const end = (start + length) / PAGE_SIZE;
    for (let page = Math.floor(start / PAGE_SIZE); page < end; page++) if ((this.states[page]! & mask) === wanted) count++;
    return count * PAGE_SIZE;
  }

  /** Tells the machine what mapped pages allow: stores only to used ones. */
  #allow(start: number, length: number): void {
    const end = (start + length) / PAGE_SIZE;
    let page = start / PAGE_SIZE;
    while (page < end) {
      const first = page;
      const state = this.states[page]!;
      while (page < end && this.states[page] === state) page++;
      if (state !== 0) this.#machine.protect(first * PAGE_SIZE, (page - first) * PAGE_SIZE, allowedBy(state));
    }
  }

  /** Calls `act` for each longest run of pages that have all of `bits`. */
  #runs(start: number, length: number, bits: number, act: (start: number, length: number) => void): void {
    const end = (start + length) / PAGE_SIZE;
    let page = start / PAGE_SIZE;
    while (page < end) {
      if ((this.states[page]! & bits) !== bits) {
        page++;
        continue;
      }
      const first = page;
      while (page < end && (this.states[page]! & bits) === bits) page++;
      act(first * PAGE_SIZE, (page - first) * PAGE_SIZE);
    }
  }

  /**
   * Calls `act` for runs of pages that are not all zeros. Reading costs about as much as writing, but pages that are used and hold nothing
   * then take no memory of this computer.
   */
  #nonZero(start: number, length: number, act: (start: number, length: number) => void): void {
    const view = this.#machine.lendBytes(start, length);
    let runStart = -1;
    const words = new Int32Array(view.buffer, view.byteOffset, length / 4);
    for (let offset = 0; offset < length; offset += PAGE_SIZE) {
      let word = offset / 4;
      const end = word + PAGE_SIZE / 4;
      while (word < end && words[word] === 0) word++;
      if (word < end) {
        if (runStart < 0) runStart = offset;
      } else if (runStart >= 0) {
        act(start + runStart, offset - runStart);
        runStart = -1;
      }
    }
    if (runStart >= 0) act(start + runStart, length - runStart);
  }
}
