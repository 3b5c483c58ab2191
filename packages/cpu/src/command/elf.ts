/** 64-bit RISC-V executables, as far as running one alone needs it. */
import { PAGE_SIZE, Prot, type MachinePort } from "../abi.ts";

/** What is loaded. */
export interface Segment {
  /** Virtual and physical address. */
  readonly address: number;
  readonly physical: number;
  /** Contents; the rest up to `memorySize` is zero. */
  readonly bytes: Uint8Array;
  readonly memorySize: number;
  /** {@link Prot} bits. */
  readonly prot: number;
}

export interface ElfFile {
  readonly entry: number;
  readonly segments: readonly Segment[];
  /** Value of a symbol; undefined without one, and in a stripped file. */
  symbol(name: string): number | undefined;
}

const MAGIC = 0x7f454c46;
const CLASS_64 = 2;
const EM_RISCV = 243;
const PT_LOAD = 1;
const SHT_SYMTAB = 2;
const PROGRAM_HEADER_BYTES = 56;
const SECTION_HEADER_BYTES = 64;
const SYMBOL_BYTES = 24;

/** Reads headers. RangeError when it is no such file, or ends too early. */
export function parseElf(elf: Uint8Array): ElfFile {
  const view = new DataView(elf.buffer, elf.byteOffset, elf.length);
  if (elf.length < 64 || view.getUint32(0) !== MAGIC || elf[4] !== CLASS_64 || view.getUint16(18, true) !== EM_RISCV) {
    throw new RangeError("not a 64-bit RISC-V ELF file");
  }
  const number = (at: number): number => Number(view.getBigUint64(at, true));
  const need = (at: number, length: number, what: string): void => {
    if (at + length > elf.length) throw new RangeError(`the ELF file ends before its ${what}`);
  };
  const headers = number(32);
  const count = view.getUint16(56, true);
  need(headers, count * PROGRAM_HEADER_BYTES, "program headers");
  const segments: Segment[] = [];
  for (let index = 0; index < count; index++) {
    const at = headers + PROGRAM_HEADER_BYTES * index;
    if (view.getUint32(at, true) !== PT_LOAD) continue;
    const flags = view.getUint32(at + 4, true);
    const [offset, fileSize, memorySize] = [number(at + 8), number(at + 32), number(at + 40)];
    need(offset, fileSize, "segments");
    if (fileSize > memorySize) throw new RangeError("a segment of the ELF file has more bytes than memory");
    const prot = ((flags & 4) === 0 ? 0 : Prot.Read) | ((flags & 2) === 0 ? 0 : Prot.Write) | ((flags & 1) === 0 ? 0 : Prot.Execute);
    segments.push({
      address: number(at + 16),
      physical: number(at + 24),
      bytes: elf.subarray(offset, offset + fileSize),
      memorySize,
      prot,
    });
  }
  return {
    entry: number(24),
    segments,
    symbol(name) {
      const sections = number(40);
      const sectionCount = view.getUint16(60, true);
      need(sections, sectionCount * SECTION_HEADER_BYTES, "section headers");
      const wanted = new TextEncoder().encode(name);
      for (let index = 0; index < sectionCount; index++) {
        const at = sections + SECTION_HEADER_BYTES * index;
        if (view.getUint32(at + 4, true) !== SHT_SYMTAB) continue;
        const [symbols, length] = [number(at + 24), number(at + 32)];
        const strings = sections + SECTION_HEADER_BYTES * view.getUint32(at + 40, true);
        need(strings, SECTION_HEADER_BYTES, "section headers");
        const [names, namesLength] = [number(strings + 24), number(strings + 32)];
        need(symbols, length, "symbols");
        need(names, namesLength, "names of symbols");
        for (let symbol = symbols; symbol + SYMBOL_BYTES <= symbols + length; symbol += SYMBOL_BYTES) {
          const start = names + view.getUint32(symbol, true);
          if (elf[start + wanted.length] === 0 && wanted.every((byte, i) => elf[start + i] === byte)) return number(symbol + 8);
        }
      }
      return undefined;
    },
  };
}

export interface LoadedElf {
  /** Offset of the first instruction in the region. */
  readonly entry: number;
  /** First page-aligned offset behind all segments. */
  readonly end: number;
}

/**
 * Copies the segments of an executable to `base` + their virtual addresses and protects their pages. RangeError when it is no such file, or does not
 * fit into `length` bytes.
 */
export function loadElf(machine: MachinePort, elf: Uint8Array, base: number, length: number): LoadedElf {
  const { entry, segments } = parseElf(elf);
  const prots = new Map<number, number>();
  let end = 0;
  for (const { address, bytes, memorySize, prot } of segments) {
    if (address + memorySize > length) throw new RangeError("a segment does not fit into memory");
    machine.storeRange(base + address, bytes);
    machine.zeroRange(base + address + bytes.length, memorySize - bytes.length);
    for (let page = Math.floor(address / PAGE_SIZE); page * PAGE_SIZE < address + memorySize; page++)
      prots.set(page, (prots.get(page) ?? 0) | prot);
    end = Math.max(end, address + memorySize);
  }
  for (const [page, prot] of prots) machine.protect(base + page * PAGE_SIZE, PAGE_SIZE, prot);
  return { entry, end: Math.ceil(end / PAGE_SIZE) * PAGE_SIZE };
}
