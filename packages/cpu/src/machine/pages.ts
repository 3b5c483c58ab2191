/** States of pages: what each page is like (own), and what that means for accesses that start in it (fast). */
import { PAGE_SIZE, Prot } from "../abi.ts";
import { Fast, Own, OWN_STORE_SLOW, PAGE_FAST, PAGE_OWN } from "./layout.ts";

const UNMAPPED = Own.NoRead | Own.NoWrite;

export class Pages {
  readonly #own: Uint8Array;
  readonly #fast: Uint8Array;
  readonly count: number;

  constructor(buffer: ArrayBuffer, memoryBytes: number) {
    this.count = memoryBytes / PAGE_SIZE;
    // One more than there are: what follows the last page is unmapped.
    this.#own = new Uint8Array(buffer, PAGE_OWN, this.count + 1).fill(UNMAPPED);
    this.#fast = new Uint8Array(buffer, PAGE_FAST, this.count + 1).fill(Fast.LoadSlow | Fast.StoreSlow);
  }

  /** {@link Own} bits of a page; those of an unmapped one beyond the end. */
  own(page: number): number {
    return this.#own[page] ?? UNMAPPED;
  }
  #derive(page: number): void {
    const own = this.#own[page]! | this.#own[page + 1]!;
    this.#fast[page] = ((own & OWN_STORE_SLOW) !== 0 ? Fast.StoreSlow : 0) | ((own & Own.NoRead) !== 0 ? Fast.LoadSlow : 0);
  }
  setOwn(page: number, own: number): void {
    if (this.#own[page] === own) return;
    this.#own[page] = own;
    this.#derive(page);
    if (page > 0) this.#derive(page - 1);
  }
  add(page: number, bits: number): void {
    if (page < this.count) this.setOwn(page, this.#own[page]! | bits);
  }
  remove(page: number, bits: number): void {
    if (page < this.count) this.setOwn(page, this.#own[page]! & ~bits);
  }

  /** Sets what pages from `first` up to `end` allow ({@link Prot} bits). */
  protect(first: number, end: number, prot: number): void {
    const bits =
      ((prot & Prot.Read) === 0 ? Own.NoRead : 0) |
      ((prot & Prot.Write) === 0 ? Own.NoWrite : 0) |
      ((prot & Prot.Execute) === 0 ? 0 : Own.Execute);
    for (let page = first; page < end; page++) this.#own[page] = (this.#own[page]! & (Own.Tags | Own.Code | Own.Translated)) | bits;
    for (let page = Math.max(0, first - 1); page < end; page++) this.#derive(page);
  }

  /** True when any page from `first` up to `end` has one of `bits`. */
  some(first: number, end: number, bits: number): boolean {
    for (let page = first; page < end; page++) if ((this.#own[page]! & bits) !== 0) return true;
    return false;
  }
  /** True when every page that the range touches allows all of `prot`. */
  allows(address: number, length: number, prot: number): boolean {
    // Below 2^32: memory has 3.5 GiB at most.
    const end = ((address + Math.max(length, 1) - 1) >>> 12) + 1;
    if (end > this.count) return false;
    const forbidden = ((prot & Prot.Read) === 0 ? 0 : Own.NoRead) | ((prot & Prot.Write) === 0 ? 0 : Own.NoWrite);
    const needed = (prot & Prot.Execute) === 0 ? 0 : Own.Execute;
    for (let page = address >>> 12; page < end; page++) {
      const own = this.#own[page]!;
      if ((own & forbidden) !== 0 || (own & needed) !== needed) return false;
    }
    return true;
  }
}
