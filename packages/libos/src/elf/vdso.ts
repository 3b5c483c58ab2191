/**
 * The vDSO: a shared object in every process (auxiliary vector, AT_SYSINFO_EHDR) with functions that tell the time without a system call.
 * C libraries look its functions up by name and version, as Linux's for riscv64 has them (vdso(7)). Formats: System V gABI, "Dynamic
 * Linking"; LSB, "Symbol Versioning".
 */
import { CODE, SYMBOLS, TEXT_OFFSET } from "./vdso-code.ts";

const PAGE = 4096;
const NAME = "linux-vdso.so.1";
const VERSION = "LINUX_4.15";
/** Index of {@link VERSION} among the versions; 1 is the object itself. */
const VERSION_INDEX = 2;
const HEADER_BYTES = 64;
const SEGMENT_BYTES = 56;
const SYMBOL_BYTES = 24;
const DYNAMIC = {
  NULL: 0,
  HASH: 4,
  STRTAB: 5,
  SYMTAB: 6,
  STRSZ: 10,
  SYMENT: 11,
  SONAME: 14,
  VERSYM: 0x6fff_fff0,
  VERDEF: 0x6fff_fffc,
} as const;
const VERDEFNUM = 0x6fff_fffd;

/** The hash function of symbol tables (gABI, "Hash Table"). */
function hashOf(name: string): number {
  let hash = 0;
  for (const character of name) {
    hash = ((hash << 4) + character.codePointAt(0)!) >>> 0;
    const high = hash & 0xf000_0000;
    hash = ((hash ^ (high >>> 24)) & ~high) >>> 0;
  }
  return hash;
}

/** The object as it stands in memory: one page. */
function build(): Uint8Array {
  const bytes = new Uint8Array(PAGE);
  const view = new DataView(bytes.buffer);
  const u16 = (at: number, value: number): void => view.setUint16(at, value, true);
  const u32 = (at: number, value: number): void => view.setUint32(at, value, true);
  const u64 = (at: number, value: number): void => view.setBigUint64(at, BigInt(value), true);
  let end = HEADER_BYTES + 2 * SEGMENT_BYTES;
  const reserve = (length: number): number => {
    const at = Math.ceil(end / 8) * 8;
    end = at + length;
    return at;
  };

  const names = [NAME, VERSION, ...SYMBOLS.map(({ name }) => name)];
  const text = new TextEncoder().encode(`\0${names.join("\0")}\0`);
  const nameAt = (name: string): number => names.slice(0, names.indexOf(name)).reduce((sum, other) => sum + other.length + 1, 1);
  const strings = reserve(text.length);
  bytes.set(text, strings);

  const count = SYMBOLS.length + 1;
  const table = reserve(count * SYMBOL_BYTES);
  const versions = reserve(2 * count);
  // One bucket: all symbols in one chain.
  const hash = reserve(4 * (3 + count));
  u32(hash, 1);
  u32(hash + 4, count);
  u32(hash + 8, 1);
  for (const [at, { name, offset, bytes: length }] of SYMBOLS.entries()) {
    const index = at + 1;
    const symbol = table + index * SYMBOL_BYTES;
    u32(symbol, nameAt(name));
    bytes[symbol + 4] = 0x12; // STB_GLOBAL, STT_FUNC
    u16(symbol + 6, 1); // of some section: not undefined, not absolute
    u64(symbol + 8, offset);
    u64(symbol + 16, length);
    u16(versions + 2 * index, VERSION_INDEX);
    u32(hash + 12 + 4 * index, index + 1 < count ? index + 1 : 0);
  }

  const definitions = reserve(2 * 28);
  for (const [at, name] of [NAME, VERSION].entries()) {
    const definition = definitions + 28 * at;
    u16(definition, 1);
    u16(definition + 2, at === 0 ? 1 : 0); // VER_FLG_BASE
    u16(definition + 4, at === 0 ? 1 : VERSION_INDEX);
    u16(definition + 6, 1);
    u32(definition + 8, hashOf(name));
    u32(definition + 12, 20);
    u32(definition + 16, at === 0 ? 28 : 0);
    u32(definition + 20, nameAt(name));
  }

  const entries: (readonly [number, number])[] = [
    [DYNAMIC.SONAME, nameAt(NAME)],
    [DYNAMIC.HASH, hash],
    [DYNAMIC.STRTAB, strings],
    [DYNAMIC.SYMTAB, table],
    [DYNAMIC.STRSZ, text.length],
    [DYNAMIC.SYMENT, SYMBOL_BYTES],
    [DYNAMIC.VERSYM, versions],
    [DYNAMIC.VERDEF, definitions],
    [VERDEFNUM, 2],
    [DYNAMIC.NULL, 0],
  ];
  const dynamic = reserve(16 * entries.length);
  for (const [at, [tag, value]] of entries.entries()) {
    u64(dynamic + 16 * at, tag);
    u64(dynamic + 16 * at + 8, value);
  }

  if (end > TEXT_OFFSET) throw new RangeError(`the vDSO's tables end at ${end}, its code begins at ${TEXT_OFFSET}`);
  for (const [at, word] of CODE.entries()) u32(TEXT_OFFSET + 4 * at, word);
  end = TEXT_OFFSET + 4 * CODE.length;

  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0]);
  u16(16, 3); // ET_DYN
  u16(18, 243); // EM_RISCV
  u32(20, 1);
  u64(32, HEADER_BYTES);
  u32(48, 4); // double-float ABI
  u16(52, HEADER_BYTES);
  u16(54, SEGMENT_BYTES);
  u16(56, 2);
  u16(58, 64);
  const segment = (index: number, type: number, flags: number, at: number, length: number, align: number): void => {
    const header = HEADER_BYTES + index * SEGMENT_BYTES;
    u32(header, type);
    u32(header + 4, flags);
    for (const field of [8, 16, 24]) u64(header + field, at);
    u64(header + 32, length);
    u64(header + 40, length);
    u64(header + 48, align);
  };
  segment(0, 1, 5, 0, end, PAGE); // PT_LOAD, read and execute
  segment(1, 2, 4, dynamic, 16 * entries.length, 8); // PT_DYNAMIC
  return bytes;
}

/** Content of the [vdso] mapping. The page below it is [vvar], the one below that shows the cVM's capabilities. */
export const VDSO: Uint8Array = build();
/** Where a signal handler returns to, in {@link VDSO}. */
export const SIGNAL_RETURN: number = SYMBOLS.find(({ name }) => name === "__vdso_rt_sigreturn")!.offset;
