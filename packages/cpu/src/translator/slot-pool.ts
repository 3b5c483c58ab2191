/** The slots that say which function of the table stands for a pc, by absolute address: one block for each page that has some. */
import { PAGE_SIZE } from "../abi.ts";
import { MARK } from "../interpreter/handlers.ts";
import { PAGE_RECORDS, PAGE_SLOTS, Record, SLOT_BLOCK_BYTES, SLOT_BLOCKS, SLOT_POOL } from "../machine/layout.ts";

export class SlotPool {
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly #records: Int32Array;
  readonly #pageSlots: Int32Array;
  #nextBlock = 1;

  /** `pages`: how many there are. */
  constructor(buffer: ArrayBuffer, pages: number) {
    this.#view = new DataView(buffer);
    this.#bytes = new Uint8Array(buffer);
    this.#records = new Int32Array(buffer, PAGE_RECORDS, pages + 1);
    this.#pageSlots = new Int32Array(buffer, PAGE_SLOTS, pages + 1);
  }

  /** Whether so many more entries surely find blocks, each in a page of its own. */
  fits(entries: number): boolean {
    return this.#nextBlock + entries < SLOT_BLOCKS;
  }
  /** The function that stands for an absolute address; 0: none. */
  at(address: number): number {
    return this.#view.getInt32(SLOT_POOL + this.#pageSlots[Math.floor(address / PAGE_SIZE)]! + (address & 4094) * 2, true);
  }
  /** Where the slot of an address is in the pool, from now on until {@link clear}. */
  #place(address: number): number {
    const page = Math.floor(address / PAGE_SIZE);
    let block = this.#pageSlots[page]!;
    if (block === 0) {
      if (this.#nextBlock >= SLOT_BLOCKS) throw new Error("no block of slots is left");
      block = this.#nextBlock++ * SLOT_BLOCK_BYTES;
      this.#bytes.fill(0, SLOT_POOL + block, SLOT_POOL + block + SLOT_BLOCK_BYTES);
      this.#pageSlots[page] = block;
    }
    return block + (address & 4094) * 2;
  }
  /** The same if its page has a block. */
  knownPlace(address: number): number | undefined {
    return this.#pageSlots[Math.floor(address / PAGE_SIZE)] === 0 ? undefined : this.#place(address);
  }
  set(address: number, slot: number): void {
    this.#view.setInt32(SLOT_POOL + this.#place(address), slot, true);
    this.#mark(address, slot !== 0);
  }
  /** Shows the interpreter that there is a translation. Records that are decoded later are marked then. */
  #mark(address: number, on: boolean): void {
    const at = this.#record(address);
    if (at === 0) return;
    const handler = this.#view.getUint16(at, true) & ~MARK;
    if (handler !== 0) this.#view.setUint16(at, on ? handler | MARK : handler, true);
  }
  /** Where the interpreter keeps what it decoded at an address; 0 if its page has nothing. */
  #record(address: number): number {
    const block = this.#records[Math.floor(address / PAGE_SIZE)]! >>> 0;
    return block === 0 ? 0 : block + (address & 4094) * 8 + Record.handler;
  }
  /** The interpreter has decoded what is at an absolute address, or before it up to the last transfer. */
  reached(address: number): boolean {
    const at = this.#record(address);
    return at !== 0 && this.#view.getUint16(at, true) !== 0;
  }
  /** Forgets all; the marks of the interpreter have been taken away. */
  clear(): void {
    this.#pageSlots.fill(0);
    this.#nextBlock = 1;
  }
}
