/** Memory as a model: bytes, a tag for each granule, what each page allows. Accesses that no check let through are errors of the caller. */
import { GRANULE_SIZE, PAGE_SIZE, Prot } from "../abi.ts";
import type { Raw } from "../capability/raw.ts";
import type { MemoryAccess } from "../isa/intrinsics.ts";

export class ModelMemory implements MemoryAccess {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** 1 where a granule holds a capability. */
  readonly tags: Uint8Array<ArrayBuffer>;
  /** {@link Prot} bits of each page. */
  readonly pages: Uint8Array<ArrayBuffer>;
  /** Writes since the memory was made. */
  writes = 0;

  constructor(memoryBytes: number) {
    this.bytes = new Uint8Array(memoryBytes);
    this.tags = new Uint8Array(memoryBytes / GRANULE_SIZE);
    this.pages = new Uint8Array(memoryBytes / PAGE_SIZE);
  }

  protect(address: number, length: number, prot: number): void {
    this.pages.fill(prot, address / PAGE_SIZE, (address + length) / PAGE_SIZE);
  }
  /** True when every page of the range is in memory and allows `prot`. */
  allows(address: bigint, size: number, prot: number): boolean {
    for (let page = address / 4096n; page <= (address + BigInt(size) - 1n) / 4096n; page++) {
      if (page >= BigInt(this.pages.length) || (this.pages[Number(page)]! & prot) !== prot) return false;
    }
    return true;
  }
  readable(address: bigint, size: number): boolean {
    return this.allows(address, size, Prot.Read);
  }
  writable(address: bigint, size: number): boolean {
    return this.allows(address, size, Prot.Write);
  }

  #at(address: bigint, size: number, prot: number): number {
    if (!this.allows(address, size, prot)) throw new RangeError(`unchecked access to 0x${address.toString(16)}, ${size} bytes`);
    return Number(address);
  }
  #touched(at: number, size: number): void {
    this.writes += 1;
    for (let granule = Math.floor(at / GRANULE_SIZE); granule * GRANULE_SIZE < at + size; granule++) this.tags[granule] = 0;
  }
  load(address: bigint, size: number): bigint {
    const at = this.#at(address, size, Prot.Read);
    let value = 0n;
    for (let byte = size - 1; byte >= 0; byte--) value = (value << 8n) | BigInt(this.bytes[at + byte]!);
    return value;
  }
  store(address: bigint, size: number, value: bigint): void {
    this.#write(this.#at(address, size, Prot.Write), size, value);
  }
  #write(at: number, size: number, value: bigint): void {
    this.#touched(at, size);
    for (let byte = 0; byte < size; byte++) this.bytes[at + byte] = Number((value >> BigInt(8 * byte)) & 0xffn);
  }
  tag(address: bigint): boolean {
    return this.tags[Math.floor(this.#at(address, 1, Prot.Read) / GRANULE_SIZE)] === 1;
  }
  loadCapability(address: bigint): Raw {
    const at = this.#granule(address);
    const half = (from: number): bigint => this.load(BigInt(at + from), 8);
    return { tag: this.tags[at / GRANULE_SIZE] === 1, address: half(0), hi: half(8) };
  }
  storeCapability(address: bigint, cap: Raw): void {
    this.#at(address, GRANULE_SIZE, Prot.Write);
    this.place(this.#granule(address), cap);
  }
  #granule(address: bigint): number {
    if (address % 16n !== 0n) throw new RangeError(`a capability at 0x${address.toString(16)}`);
    return Number(address);
  }

  // ---- for who sets up and looks at the memory, whatever pages allow
  /** Writes a capability, its tag with it. */
  place(at: number, cap: Raw): void {
    this.#write(at, 8, cap.address);
    this.#write(at + 8, 8, cap.hi);
    this.tags[at / GRANULE_SIZE] = cap.tag ? 1 : 0;
  }
  /** Reads a granule as a capability. */
  peek(at: number): Raw {
    const view = new DataView(this.bytes.buffer, at, GRANULE_SIZE);
    return { tag: this.tags[at / GRANULE_SIZE] === 1, address: view.getBigUint64(0, true), hi: view.getBigUint64(8, true) };
  }
  placeBytes(at: number, bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#touched(at, bytes.length);
    this.bytes.set(bytes, at);
  }
}
