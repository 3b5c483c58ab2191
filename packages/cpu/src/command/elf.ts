/** Static ELF files, as far as running one alone needs it. */
import { PAGE_SIZE, Prot, type MachinePort } from "../abi.ts";

export interface LoadedElf {
  /** Offset of the first instruction in the region. */
  readonly entry: number;
  /** First page-aligned offset behind all segments. */
  readonly end: number;
}

const PT_LOAD = 1;

/**
 * Copies the segments of a 64-bit RISC-V executable to `base` + their addresses and protects their pages.
 * RangeError when it is no such file, or does not fit into `length` bytes.
 */
export function loadElf(machine: MachinePort, elf: Uint8Array, base: number, length: number): LoadedElf {
  const view = new DataView(elf.buffer, elf.byteOffset, elf.length);
  const number = (at: number): number => Number(view.getBigUint64(at, true));
  if (elf.length < 64 || view.getUint32(0) !== 0x7f454c46 || elf[4] !== 2 || view.getUint16(18, true) !== 243) {
    throw new RangeError("not a 64-bit RISC-V ELF file");
  }
  const headers = number(32);
  const prots = new Map<number, number>();
  let end = 0;
  for (let index = 0; index < view.getUint16(56, true); index++) {
    const at = headers + 56 * index;
    if (view.getUint32(at, true) !== PT_LOAD) continue;
    const flags = view.getUint32(at + 4, true);
    const [offset, address, fileSize, memorySize] = [number(at + 8), number(at + 16), number(at + 32), number(at + 40)];
    if (address + memorySize > length || offset + fileSize > elf.length || fileSize > memorySize)
      throw new RangeError("a segment does not fit");
    machine.storeRange(base + address, elf.subarray(offset, offset + fileSize));
    machine.zeroRange(base + address + fileSize, memorySize - fileSize);
    const prot = ((flags & 4) === 0 ? 0 : Prot.Read) | ((flags & 2) === 0 ? 0 : Prot.Write) | ((flags & 1) === 0 ? 0 : Prot.Execute);
    for (let page = Math.floor(address / PAGE_SIZE); page * PAGE_SIZE < address + memorySize; page++)
      prots.set(page, (prots.get(page) ?? 0) | prot);
    end = Math.max(end, address + memorySize);
  }
  for (const [page, prot] of prots) machine.protect(base + page * PAGE_SIZE, PAGE_SIZE, prot);
  return { entry: number(24), end: Math.ceil(end / PAGE_SIZE) * PAGE_SIZE };
}
