import { PAGE_SIZE } from "../abi.ts";

const SLAB_PAGES = 256;

/** Contents of pages outside of the machine's memory: each is there once, however many hold it. */
export class PageStore {
  readonly #slabs: Uint8Array[] = [];
  /** By number: how many hold it. Numbers begin at 1. */
  #holders: Uint32Array = new Uint32Array(1);
  readonly #free: number[] = [];

  /** Number of contents that someone holds. */
  pages: number = 0;

  /** Keeps a copy of a page. Its number, with one holder. */
  add(content: Uint8Array): number {
    const number = this.#free.pop() ?? this.#grow();
    this.#holders[number] = 1;
    this.pages++;
    this.bytes(number).set(content);
    return number;
  }

  hold(number: number): void {
    this.#holders[number]!++;
  }

  /** One holds it no more; true when nobody does. */
  release(number: number): boolean {
    if (--this.#holders[number]! > 0) return false;
    this.pages--;
    this.#free.push(number);
    return true;
  }

  shared(number: number): boolean {
    return this.#holders[number]! > 1;
  }

  /** The content itself: valid until it is released. */
  bytes(number: number): Uint8Array {
    const at = ((number - 1) % SLAB_PAGES) * PAGE_SIZE;
    return this.#slabs[Math.floor((number - 1) / SLAB_PAGES)]!.subarray(at, at + PAGE_SIZE);
  }

  #grow(): number {
    const first = this.#slabs.length * SLAB_PAGES + 1;
    this.#slabs.push(new Uint8Array(SLAB_PAGES * PAGE_SIZE));
    const holders = new Uint32Array(first + SLAB_PAGES);
    holders.set(this.#holders);
    this.#holders = holders;
    for (let number = first + SLAB_PAGES - 1; number > first; number--) this.#free.push(number);
    return first;
  }
}
