/** Guest memory with its tags, by absolute address, for intrinsics and for trusted code. */
import { GRANULE_SIZE, PAGE_SIZE } from "../abi.ts";
import type { Raw } from "../capability/raw.ts";
import type { MemoryAccess } from "../isa/intrinsics.ts";
import { GUEST, Own, TAGS } from "./layout.ts";
import type { Pages } from "./pages.ts";
import type { Predecode } from "./predecode.ts";

export class GuestMemory implements MemoryAccess {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #memoryBytes: bigint;
  readonly #pages: Pages;
  readonly #predecode: Predecode;

  /** Told of bytes that change on pages that translations were made from. */
  translator: { changed(address: number, length: number): void } | undefined;

  constructor(buffer: ArrayBuffer, memoryBytes: number, pages: Pages, predecode: Predecode) {
    this.#bytes = new Uint8Array(buffer);
    this.#view = new DataView(buffer);
    this.#memoryBytes = BigInt(memoryBytes);
    this.#pages = pages;
    this.#predecode = predecode;
  }

  #allowed(address: bigint, size: number, forbidden: number): boolean {
    if (address + BigInt(size) > this.#memoryBytes) return false;
    const first = Number(address);
    const last = Math.floor((first + size - 1) / PAGE_SIZE);
    for (let page = Math.floor(first / PAGE_SIZE); page <= last; page++) {
      if ((this.#pages.own(page) & forbidden) !== 0) return false;
    }
    return true;
  }
  readable(address: bigint, size: number): boolean {
    return this.#allowed(address, size, Own.NoRead);
  }
  writable(address: bigint, size: number): boolean {
    return this.#allowed(address, size, Own.NoWrite);
  }

  load(address: bigint, size: number): bigint {
    const at = GUEST + Number(address);
    if (size === 8) return this.#view.getBigUint64(at, true);
    if (size === 4) return BigInt(this.#view.getUint32(at, true));
    return BigInt(size === 2 ? this.#view.getUint16(at, true) : this.#bytes[at]!);
  }
  store(address: bigint, size: number, value: bigint): void {
    const at = GUEST + Number(address);
    if (size === 8) this.#view.setBigUint64(at, BigInt.asUintN(64, value), true);
    else if (size === 4) this.#view.setUint32(at, Number(value & 0xffff_ffffn), true);
    else if (size === 2) this.#view.setUint16(at, Number(value & 0xffffn), true);
    else this.#bytes[at] = Number(value & 0xffn);
    this.changed(Number(address), size);
  }
  tag(address: bigint): boolean {
    return this.#bytes[TAGS + Math.floor(Number(address) / GRANULE_SIZE)] !== 0;
  }
  loadCapability(address: bigint): Raw {
    const at = GUEST + Number(address);
    return { tag: this.tag(address), hi: this.#view.getBigUint64(at + 8, true), address: this.#view.getBigUint64(at, true) };
  }
  storeCapability(address: bigint, cap: Raw): void {
    const number = Number(address);
    this.#view.setBigUint64(GUEST + number, cap.address, true);
    this.#view.setBigUint64(GUEST + number + 8, cap.hi, true);
    this.changed(number, GRANULE_SIZE);
    if (!cap.tag) return;
    this.#bytes[TAGS + number / GRANULE_SIZE] = 1;
    this.#pages.add(Math.floor(number / PAGE_SIZE), Own.Tags);
  }

  /** After bytes were written: clears the tags of all granules that they touch, drops code predecoded from them. */
  changed(address: number, length: number): void {
    if (length === 0) return;
    const end = address + length;
    let code = false;
    let translated = false;
    for (let page = Math.floor(address / PAGE_SIZE); page * PAGE_SIZE < end; page++) {
      const own = this.#pages.own(page);
      if ((own & (Own.Tags | Own.Code | Own.Translated)) === 0) continue;
      translated ||= (own & Own.Translated) !== 0;
      code ||= (own & Own.Code) !== 0;
      if ((own & Own.Tags) === 0) continue;
      const from = Math.max(address, page * PAGE_SIZE);
      const to = Math.min(end, (page + 1) * PAGE_SIZE);
      this.#bytes.fill(0, TAGS + Math.floor(from / GRANULE_SIZE), TAGS + Math.ceil(to / GRANULE_SIZE));
      if (to - from === PAGE_SIZE) this.#pages.remove(page, Own.Tags);
    }
    if (code) this.#predecode.dropRange(address, length);
    if (translated) this.translator?.changed(address, length);
  }
}
