import type { MachinePort } from "@cvm/cpu/abi";
import { PAGE_SIZE, Prot } from "@cvm/cpu/abi";

/** Bits of a page's state beyond its three protection bits. */
const PROT = 7;
/** The library OS made it usable; its protection may be none. */
const MAPPED = 8;
/** May hold something other than zeros. */
const DIRTY = 16;

/**
 * What the monitor knows of each page of the address space. All ranges are absolute and were checked by the caller; a page that is not dirty
 * is all zeros, so that only dirty ones are ever zeroed or copied.
 */
export class Pages {
  readonly #machine: MachinePort;
  readonly #state: Uint8Array;

  constructor(machine: MachinePort) {
    this.#machine = machine;
    this.#state = new Uint8Array(Math.ceil(machine.memoryBytes / PAGE_SIZE));
  }

  /** True when every page that the range touches is mapped, whatever its protection. */
  mapped(start: number, length: number): boolean {
    const last = Math.floor((start + Math.max(length, 1) - 1) / PAGE_SIZE);
    for (let page = Math.floor(start / PAGE_SIZE); page <= last; page++) if ((this.#state[page]! & MAPPED) === 0) return false;
    return true;
  }

  /** Bytes that count as memory, of the pages that the range touches: mapped with some access, or holding data. */
  charged(start: number, length: number): number {
    let count = 0;
    const end = (start + length) / PAGE_SIZE;
    for (let page = Math.floor(start / PAGE_SIZE); page < end; page++) if (isCharged(this.#state[page]!)) count++;
    return count * PAGE_SIZE;
  }

  /** Makes pages usable, zeroed unless `keep`. Page-aligned. */
  map(start: number, length: number, prot: number, keep: boolean): void {
    if (!keep) this.#zeroDirty(start, length, false);
    const dirty = (prot & Prot.Write) !== 0 ? DIRTY : 0;
    const end = (start + length) / PAGE_SIZE;
    for (let page = start / PAGE_SIZE; page < end; page++) this.#state[page] = (this.#state[page]! & DIRTY) | dirty | MAPPED | prot;
    this.#machine.protect(start, length, prot);
  }

  /** Changes what mapped pages allow; others stay unmapped. Page-aligned. */
  protect(start: number, length: number, prot: number): void {
    const dirty = (prot & Prot.Write) !== 0 ? DIRTY : 0;
    this.#runs(start, length, MAPPED, (from, bytes) => {
      const end = (from + bytes) / PAGE_SIZE;
      for (let page = from / PAGE_SIZE; page < end; page++) this.#state[page] = (this.#state[page]! & DIRTY) | dirty | MAPPED | prot;
      this.#machine.protect(from, bytes, prot);
    });
  }

  /** Takes pages away; what they hold is zeroed at the latest when they are mapped again or their region is freed. Page-aligned. */
  unmap(start: number, length: number): void {
    const end = (start + length) / PAGE_SIZE;
    for (let page = start / PAGE_SIZE; page < end; page++) this.#state[page]! &= DIRTY;
    this.#machine.protect(start, length, 0);
  }

  /** Zeroes mapped pages. Page-aligned. */
  zero(start: number, length: number): void {
    this.#zeroDirty(start, length, true);
  }

  /** Writes bytes whatever the protection. */
  write(start: number, bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#soil(start, bytes.length);
    this.#machine.storeRange(start, bytes);
  }

  /** Copies between ranges that do not overlap. */
  copy(from: number, to: number, length: number): void {
    if (length === 0) return;
    this.#soil(to, length);
    this.#machine.copyRange(from, to, length);
  }

  /** Makes one free region equal to another of the same length: mapped pages, their protections and what they hold. */
  duplicate(from: number, to: number, length: number): void {
    this.#runs(from, length, MAPPED | DIRTY, (start, bytes) => {
      this.#nonZero(start, bytes, (at, count) => this.#machine.copyRange(at, to + (at - from), count));
    });
    const shift = (to - from) / PAGE_SIZE;
    const end = (from + length) / PAGE_SIZE;
    let page = from / PAGE_SIZE;
    while (page < end) {
      const state = this.#state[page]!;
      const first = page;
      while (page < end && this.#state[page] === state) page++;
      if ((state & MAPPED) === 0) continue;
      this.#state.fill(state, first + shift, page + shift);
      if ((state & PROT) !== 0) this.#machine.protect((first + shift) * PAGE_SIZE, (page - first) * PAGE_SIZE, state & PROT);
    }
  }

  /** Zeroes and unmaps a whole region. */
  release(start: number, length: number): void {
    this.#zeroDirty(start, length, false);
    this.#state.fill(0, start / PAGE_SIZE, (start + length) / PAGE_SIZE);
    this.#machine.protect(start, length, 0);
  }

  #soil(start: number, length: number): void {
    const last = Math.floor((start + length - 1) / PAGE_SIZE);
    for (let page = Math.floor(start / PAGE_SIZE); page <= last; page++) this.#state[page]! |= DIRTY;
  }

  /** Calls `act` for each longest run of pages that have all of `bits`. */
  #runs(start: number, length: number, bits: number, act: (start: number, length: number) => void): void {
    const end = (start + length) / PAGE_SIZE;
    let page = start / PAGE_SIZE;
    while (page < end) {
      if ((this.#state[page]! & bits) !== bits) {
        page++;
        continue;
      }
      const first = page;
      while (page < end && (this.#state[page]! & bits) === bits) page++;
      act(first * PAGE_SIZE, (page - first) * PAGE_SIZE);
    }
  }

  /** Zeroes what is dirty. A page that cannot be written by the guest is then known to be zero. */
  #zeroDirty(start: number, length: number, mappedOnly: boolean): void {
    this.#runs(start, length, mappedOnly ? MAPPED | DIRTY : DIRTY, (from, bytes) => {
      this.#nonZero(from, bytes, (at, count) => this.#machine.zeroRange(at, count));
      const end = (from + bytes) / PAGE_SIZE;
      for (let page = from / PAGE_SIZE; page < end; page++)
        if ((this.#state[page]! & (MAPPED | Prot.Write)) !== (MAPPED | Prot.Write)) this.#state[page]! &= ~DIRTY;
    });
  }

  /**
   * Calls `act` for runs of pages that are not all zeros. Reading costs about as much as writing, but pages that a program never touched
   * (the most of its stacks) then take no memory of this computer.
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

function isCharged(state: number): boolean {
  return (state & MAPPED) !== 0 && (state & (PROT | DIRTY)) !== 0;
}
