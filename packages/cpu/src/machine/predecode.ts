/**
 * Predecoded code: a block of records for each page that has run. Records are made when control first reaches them and
 * dropped when a byte that they came from changes, so that they are always what decoding now would give.
 */
import { PAGE_SIZE } from "../abi.ts";
import { Builtin, MARK, Reach, type ReachCode, type Slot } from "../interpreter/handlers.ts";
import type { Interpreter } from "../interpreter/interpreter.ts";
import { REACH } from "../interpreter/slow-paths.ts";
import { createDecoded, type Mode } from "../isa/decode.ts";
import {
  ACTIVE_HART,
  Block,
  BLOCK_BYTES,
  BLOCK_RECORDS,
  F,
  GUEST,
  KEY_FIRST_SHIFT,
  KEY_MODE_SHIFT,
  Own,
  PAGE_OTHERS,
  PAGE_RECORDS,
  PAGE_SLOTS,
  POOL,
  POOL_BLOCKS,
  Record,
  RECORD_BYTES,
  SCRATCH_RECORDS,
  SLOT_POOL,
  X,
  X_DISCARD,
} from "./layout.ts";
import type { Pages } from "./pages.ts";

/** Longest run that is decoded at once. */
const MAX_RUN = 64;
const PARCELS = PAGE_SIZE / 2;

/** What records are made by. */
export type Language = Pick<Interpreter, "decoder" | "table">;

export class Predecode {
  readonly #interpreter: Language;
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly #pages: Pages;
  /** Block of each page for {@link WHOLE}, or 0. */
  readonly #records: Int32Array;
  /** The first of each page's other blocks, or 0. */
  readonly #others: Int32Array;
  /** Page of each block of the pool, or -1. */
  readonly #pageOf: Int32Array = new Int32Array(POOL_BLOCKS).fill(-1);
  /** Blocks given back, and the next one to take when there are none: those longest in use go first. */
  readonly #free: number[] = [];
  #hand = 0;
  readonly #decoded: ReturnType<typeof createDecoded> = createDecoded();

  readonly #fuse: boolean;

  /** `fuse`: a handler may do two instructions. */
  constructor(interpreter: Language, buffer: ArrayBuffer, pages: Pages, fuse: boolean) {
    this.#interpreter = interpreter;
    this.#fuse = fuse;
    this.#view = new DataView(buffer);
    this.#bytes = new Uint8Array(buffer);
    this.#pages = pages;
    this.#records = new Int32Array(buffer, PAGE_RECORDS, pages.count + 1);
    this.#others = new Int32Array(buffer, PAGE_OTHERS, pages.count + 1);
    this.#sentinels(SCRATCH_RECORDS, 1);
  }

  #sentinels(block: number, from: number): void {
    this.#view.setUint16(block + from * RECORD_BYTES + Record.handler, Builtin.Cross, true);
    this.#view.setUint16(block + (from + 1) * RECORD_BYTES + Record.handler, Builtin.Cross, true);
  }

  /** The block of a page for a {@link blockKey}, made empty if there is none. */
  block(page: number, key: number): number {
    const old = this.#blocksOf(page).find((block) => this.#view.getInt32(block + Block.key, true) === key);
    if (old !== undefined) return old;
    let index = this.#free.pop();
    if (index === undefined) {
      index = this.#hand;
      this.#hand = (index + 1) % POOL_BLOCKS;
      const victim = this.#pageOf[index]!;
      if (victim >= 0) this.#forget(victim, POOL + index * BLOCK_BYTES);
    }
    this.#pageOf[index] = page;
    const address = POOL + index * BLOCK_BYTES;
    this.#bytes.fill(0, address, address + BLOCK_BYTES);
    this.#sentinels(address, PARCELS);
    this.#view.setInt32(address + Block.key, key, true);
    if (key === WHOLE) this.#records[page] = address;
    else {
      this.#view.setInt32(address + Block.next, this.#others[page]!, true);
      this.#others[page] = address;
    }
    this.#pages.add(page, Own.Code);
    return address;
  }
  /** All blocks of a page. */
  #blocksOf(page: number): number[] {
    const blocks: number[] = [];
    if (this.#records[page]! !== 0) blocks.push(this.#records[page]! >>> 0);
    for (let block = this.#others[page]! >>> 0; block !== 0; block = this.#view.getUint32(block + Block.next, true)) blocks.push(block);
    return blocks;
  }
  #hasBlocks(page: number): boolean {
    return this.#records[page] !== 0 || this.#others[page] !== 0;
  }

  #indexOf(block: number): number {
    return (block - POOL) / BLOCK_BYTES;
  }
  /** Takes a block away from its page without giving it back. */
  #forget(page: number, block: number): void {
    if (this.#records[page]! >>> 0 === block) this.#records[page] = 0;
    else {
      const next = this.#view.getInt32(block + Block.next, true);
      if (this.#others[page]! >>> 0 === block) this.#others[page] = next;
      else {
        const before = this.#blocksOf(page).find((other) => this.#view.getUint32(other + Block.next, true) === block)!;
        this.#view.setInt32(before + Block.next, next, true);
      }
    }
    this.#pageOf[this.#indexOf(block)] = -1;
    if (this.#hasBlocks(page)) return;
    // The last instruction of the page before may reach into this one, and ours into the next.
    if (page === 0 || !this.#hasBlocks(page - 1)) this.#pages.remove(page, Own.Code);
    if (!this.#hasBlocks(page + 1)) this.#pages.remove(page + 1, Own.Code);
  }
  /** Drops a page's records; its blocks are free then. */
  dropPage(page: number): void {
    for (const block of this.#blocksOf(page)) {
      this.#forget(page, block);
      this.#free.push(this.#indexOf(block));
    }
  }
  /** Drops all records. */
  dropAll(): void {
    for (const page of this.#pageOf) if (page >= 0) this.dropPage(page);
  }
  /** Drops what was decoded from [address, address + length). */
  dropRange(address: number, length: number): void {
    if (length === 0) return;
    const from = Math.max(0, address - (address % 2) - REACH);
    const end = address + length;
    for (let page = Math.floor(from / PAGE_SIZE); page * PAGE_SIZE < end; page++) {
      if (!this.#hasBlocks(page)) continue;
      const first = Math.max(0, (from - page * PAGE_SIZE) / 2);
      const last = Math.min(PARCELS, Math.ceil((end - page * PAGE_SIZE) / 2));
      if (first === 0 && last === PARCELS) this.dropPage(page);
      else
        for (const block of this.#blocksOf(page))
          for (let parcel = first; parcel < last; parcel++)
            this.#view.setUint16(block + parcel * RECORD_BYTES + Record.handler, Builtin.Decode, true);
    }
  }

  /** Decodes from the record at `ip` on, up to what ends a run or is decoded already. */
  decodeRun(ip: number): void {
    const block = POOL + Math.floor((ip - POOL) / BLOCK_BYTES) * BLOCK_BYTES;
    const page = this.#pageOf[this.#indexOf(block)]!;
    let parcel = (ip - block) / RECORD_BYTES;
    const view = this.#view;
    const key = view.getInt32(block + Block.key, true);
    let previous = 0;
    let previousHandler = 0;
    for (let count = 0; count < MAX_RUN && parcel < PARCELS; count++) {
      const record = block + parcel * RECORD_BYTES;
      const offset = 2 * parcel;
      const known = view.getUint16(record, true) !== Builtin.Decode;
      const parcels = known ? 0 : this.#decodeAt(record, page * PAGE_SIZE + offset, offset, key);
      const handler = view.getUint16(record, true);
      if (previous !== 0 && this.#fuse) {
        const fused = this.#interpreter.table.fuse(previousHandler, handler);
        if (fused >= 0) view.setUint16(previous, fused, true);
      }
      if (parcels === 0) return;
      previous = record;
      previousHandler = handler;
      parcel += parcels;
    }
  }
  /** Decodes the one instruction at an absolute address, all of whose bytes may be fetched; returns the address of its record. */
  decodeSingle(address: number, mode: Mode): number {
    return this.decodeWord(this.#view.getInt32(GUEST + address, true), mode);
  }
  /** Decodes an instruction that stands nowhere in memory; returns the address of its record. */
  decodeWord(word: number, mode: Mode): number {
    this.#fill(SCRATCH_RECORDS, word, -1, blockKey(mode + 1, 0, 0));
    return SCRATCH_RECORDS;
  }
  /** True when the instruction at an absolute address has 4 bytes. */
  isLong(address: number): boolean {
    return (this.#bytes[GUEST + address]! & 3) === 3;
  }

  /** Fills the record of the instruction at an absolute address, `pageOffset` into its page. Returns what {@link #fill} does. */
  #decodeAt(record: number, address: number, pageOffset: number, key: number): number {
    const word = this.#view.getInt32(GUEST + address, true);
    if (!covers(key, pageOffset, (word & 3) === 3 ? 4 : 2)) {
      this.#view.setUint16(record + Record.handler, Builtin.Outside, true);
      return 0;
    }
    if (pageOffset === PAGE_SIZE - 2 && (word & 3) === 3) {
      const after = (address + 2) / PAGE_SIZE;
      if ((this.#pages.own(after) & Own.Execute) === 0) {
        this.#view.setUint16(record + Record.handler, Builtin.FetchFault, true);
        return 0;
      }
      this.#pages.add(after, Own.Code);
    }
    const parcels = this.#fill(record, word, pageOffset, key);
    const slots = this.#view.getInt32(PAGE_SLOTS + 4 * Math.floor(address / PAGE_SIZE), true);
    if (slots !== 0 && key === WHOLE && this.#view.getInt32(SLOT_POOL + slots + 2 * pageOffset, true) !== 0) {
      this.#view.setUint16(record + Record.handler, this.#view.getUint16(record + Record.handler, true) | MARK, true);
    }
    return parcels;
  }
  /**
   * Fills a record. `pageOffset` is where the instruction stands in its page, or -1 where there is no page of records
   * around it. Returns the parcels up to the next instruction, 0 if none follows.
   */
  #fill(record: number, word: number, pageOffset: number, key: number): number {
    const view = this.#view;
    const mode: Mode = key >>> KEY_MODE_SHIFT === 2 ? 1 : 0;
    const long = (word & 3) === 3;
    const operands = this.#decoded;
    const clause = this.#interpreter.decoder.decode(word, mode, operands);
    if (clause < 0) {
      view.setInt32(record + Record.imm, long ? word : word & 0xffff, true);
      view.setUint16(record + Record.handler, Builtin.Illegal, true);
      return 0;
    }
    const shape = this.#interpreter.table.shapes[clause]!;
    let reach: ReachCode = Reach.None;
    let imm = operands.imm;
    if (shape.direct) {
      const to = pageOffset + imm;
      // Where a jump may not go is found by the check of those that leave the page.
      if (pageOffset < 0 || to < 0 || to >= PAGE_SIZE || !covers(key, to, 2)) reach = Reach.Far;
      else {
        reach = imm > 0 ? Reach.Forward : Reach.Backward;
        imm = (imm / 2) * RECORD_BYTES;
      }
    }
    const { slots } = shape;
    view.setUint16(record + Record.rd, slot(slots.rd, operands.rd), true);
    view.setUint16(record + Record.rs1, slot(slots.rs1, operands.rs1), true);
    view.setUint16(record + Record.rs2, slot(slots.rs2, operands.rs2), true);
    view.setUint16(record + Record.rs3, slot(slots.rs3, operands.rs3), true);
    view.setInt32(record + Record.imm, imm, true);
    view.setUint16(record + Record.rm, operands.rm, true);
    view.setUint16(record + Record.handler, this.#interpreter.table.find(clause, operands.length, reach), true);
    return shape.ends ? 0 : operands.length / 2;
  }
}

/**
 * What a block of a page is decoded for: the mode (see `codeKey` in layout.ts), and which of the page's parcels PCC covers, from `first`
 * up to `end`. The two behind the page count as well: the last instruction may reach there.
 */
function blockKey(codeKey: number, first: number, end: number): number {
  return (codeKey << KEY_MODE_SHIFT) | (first << KEY_FIRST_SHIFT) | end;
}
/** Integer mode, all of the page: {@link PAGE_RECORDS}. */
const WHOLE = blockKey(1, 0, PARCELS + 1);
/** The key of the page at `start` where PCC has these bounds; base is even. */
export function keyOf(codeKey: number, start: number, base: bigint, top: bigint): number {
  const from = base - BigInt(start);
  const to = top - BigInt(start);
  const end = to > BigInt(PAGE_SIZE + 2) ? PAGE_SIZE + 2 : Number(to);
  return blockKey(codeKey, from > 0n ? Number(from) / 2 : 0, Math.floor(end / 2));
}
/** True when `size` bytes at an offset in the page are inside. */
function covers(key: number, offset: number, size: number): boolean {
  return offset >= 2 * ((key >>> KEY_FIRST_SHIFT) & 0xfff) && offset + size <= 2 * (key & 0xfff);
}

function slot(kind: Slot, register: number): number {
  if (kind === "float") return ACTIVE_HART + F + 8 * register;
  return ACTIVE_HART + (kind === "intWrite" && register === 0 ? X_DISCARD : X + 8 * register);
}

if (BLOCK_RECORDS !== PARCELS + 2) throw new Error("a block has two records more than a page has parcels");
