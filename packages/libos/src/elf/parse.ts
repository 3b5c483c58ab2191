/** Headers of ELF files: System V gABI chapters 4 and 5, RISC-V psABI. */
import { decodeText } from "@cvm/monitor/abi";
import { ExecError } from "./exec-error.ts";

export const HEADER_BYTES = 64;
const PROGRAM_HEADER_BYTES = 56;
/** Most program headers (Linux reads at most 64 KiB of them). */
const MOST_HEADERS = Math.floor(65536 / PROGRAM_HEADER_BYTES);
const EM_RISCV = 243;
const ET_EXEC = 2;
const ET_DYN = 3;
const PT_LOAD = 1;
const PT_INTERP = 3;
const PT_PHDR = 6;
const EF_RISCV_RVE = 8;
const PAGE = 4096;
const LONGEST_INTERPRETER = 4096;

/** A PT_LOAD segment; all numbers in bytes. */
export interface Segment {
  readonly offset: number;
  readonly address: number;
  readonly fileBytes: number;
  readonly memoryBytes: number;
  /** Prot bits (1 read, 2 write, 4 execute). */
  readonly prot: number;
  readonly align: number;
}

export interface Elf {
  /** May be placed anywhere (ET_DYN). */
  readonly relocatable: boolean;
  readonly entry: number;
  /** In file order, which is ascending by address. At least one. */
  readonly segments: readonly Segment[];
  readonly interpreter: string | null;
  readonly headerCount: number;
  /** Address of the program headers in memory, before the base is added; 0 when they are not loaded. */
  readonly headerAddress: number;
  readonly lowest: number;
  readonly highest: number;
}

export interface ElfSource {
  size(): number;
  pread(offset: number, length: number): Uint8Array;
}

/**
 * Reads and checks the headers.
 * @throws ExecError, in this order: `truncated`, `not-elf`, `wrong-class`, `wrong-machine`, `bad-header`, `truncated`, `bad-segments`.
 */
export function parseElf(source: ElfSource, path: string): Elf {
  const size = source.size();
  const header = source.pread(0, HEADER_BYTES);
  const fail = (code: ConstructorParameters<typeof ExecError>[0], text: string): never => {
    throw new ExecError(code, `${path}: ${text}`);
  };
  if (header.length >= 4 ? !isElf(header) : true)
    fail(
      header.length < 4 ? "truncated" : "not-elf",
      header.length < 4 ? "is too short to be a program" : "is neither an ELF file nor a script",
    );
  if (header.length < HEADER_BYTES) fail("truncated", `ELF header ends after ${header.length} of ${HEADER_BYTES} bytes`);
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  if (header[4] !== 2) fail("wrong-class", "is a 32-bit ELF file; only 64-bit ones run");
  if (header[5] !== 1) fail("wrong-class", "is a big-endian ELF file; only little-endian ones run");
  const machine = view.getUint16(18, true);
  if (machine !== EM_RISCV) fail("wrong-machine", `is an ELF file for ${machineName(machine)}, not for riscv64`);
  if ((view.getUint32(48, true) & EF_RISCV_RVE) !== 0) fail("wrong-machine", "is for RV64E, which has 16 registers");
  const type = view.getUint16(16, true);
  if (type !== ET_EXEC && type !== ET_DYN) fail("bad-header", `ELF type ${type} is not a program`);
  const headerCount = view.getUint16(56, true);
  if (view.getUint16(54, true) !== PROGRAM_HEADER_BYTES || headerCount === 0 || headerCount > MOST_HEADERS)
    fail("bad-header", "has no usable program headers");
  const headersAt = u64(view, 32);
  const headersBytes = headerCount * PROGRAM_HEADER_BYTES;
  if (headersAt + headersBytes > size) fail("truncated", `program headers end at ${headersAt + headersBytes}, the file at ${size}`);
  const headers = source.pread(headersAt, headersBytes);
  if (headers.length < headersBytes) fail("truncated", "program headers are cut off");
  const table = new DataView(headers.buffer, headers.byteOffset, headers.byteLength);

  const segments: Segment[] = [];
  let interpreter: string | null = null;
  let headerAddress = 0;
  for (let index = 0; index < headerCount; index++) {
    const at = index * PROGRAM_HEADER_BYTES;
    const kind = table.getUint32(at, true);
    const flags = table.getUint32(at + 4, true);
    const offset = u64(table, at + 8);
    const address = u64(table, at + 16);
    const fileBytes = u64(table, at + 32);
    const memoryBytes = u64(table, at + 40);
    if (kind === PT_PHDR) headerAddress = address;
    if (kind === PT_INTERP && interpreter === null) {
      if (fileBytes < 2 || fileBytes > LONGEST_INTERPRETER) fail("bad-header", "names no usable interpreter");
      if (offset + fileBytes > size) fail("truncated", "the interpreter's name is cut off");
      const name = source.pread(offset, fileBytes);
      if (name[name.length - 1] !== 0) fail("bad-header", "the interpreter's name has no end");
      interpreter = decodeText(name.subarray(0, name.indexOf(0)));
    }
    if (kind !== PT_LOAD || memoryBytes === 0) continue;
    if (fileBytes > memoryBytes) fail("bad-segments", `segment ${index} has more bytes in the file than in memory`);
    if (offset + fileBytes > size) fail("truncated", `segment ${index} ends at ${offset + fileBytes}, the file at ${size}`);
    if (!Number.isSafeInteger(address + memoryBytes)) fail("bad-segments", `segment ${index} leaves the address range`);
    if (offset % PAGE !== address % PAGE) fail("bad-segments", `segment ${index}: offset and address differ within a page`);
    const before = segments.at(-1);
    if (before !== undefined && address < before.address + before.memoryBytes)
      fail("bad-segments", `segment ${index} overlaps the one before it`);
    const prot = ((flags & 4) !== 0 ? 1 : 0) | ((flags & 2) !== 0 ? 2 : 0) | ((flags & 1) !== 0 ? 4 : 0);
    segments.push({ offset, address, fileBytes, memoryBytes, prot, align: u64(table, at + 48) });
    if (headerAddress === 0 && headersAt >= offset && headersAt + headersBytes <= offset + fileBytes)
      headerAddress = address + headersAt - offset;
  }
  const first = segments[0];
  const last = segments.at(-1);
  if (first === undefined || last === undefined) throw new ExecError("bad-segments", `${path}: has nothing to load`);
  return {
    relocatable: type === ET_DYN,
    entry: u64(view, 24),
    segments,
    interpreter,
    headerCount,
    headerAddress,
    lowest: Math.floor(first.address / PAGE) * PAGE,
    highest: last.address + last.memoryBytes,
  };
}

export const isElf = (bytes: Uint8Array): boolean => bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46;

/** Values above 2^53 lose digits, which no valid file has: every sum is checked against a size. */
const u64 = (view: DataView, at: number): number => view.getUint32(at, true) + view.getUint32(at + 4, true) * 4294967296;

function machineName(machine: number): string {
  const names: Readonly<Record<number, string>> = {
    3: "i386",
    40: "arm",
    62: "x86-64",
    183: "aarch64",
    8: "mips",
    21: "ppc64",
    22: "s390",
    258: "loongarch",
  };
  return names[machine] ?? `machine ${machine}`;
}
