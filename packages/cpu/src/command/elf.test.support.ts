/** A writer of small ELF files. */
import { Assembler, assembleInto } from "../assembler/index.ts";

export interface ElfSetup {
  /** Where the program stands; its first instruction is the entry. */
  readonly address: number;
  /** Labels that the symbol table has. */
  readonly symbols?: readonly string[];
  /** Bytes of memory behind the program's own. */
  readonly extra?: number;
}

const HEADERS = 64 + 56;
const SYMBOL = 24;
const SECTION = 64;

/** An executable of one segment that may be read, written and executed. Its headers are not loaded. */
export function writeElf(text: string, { address, symbols = [], extra = 0 }: ElfSetup): Uint8Array {
  const assembler = new Assembler({ origin: address });
  assembleInto(assembler, text);
  const code = assembler.assemble();
  const align = (value: number): number => Math.ceil(value / 8) * 8;
  const names = new TextEncoder().encode(`\0${symbols.map((name) => `${name}\0`).join("")}`);
  const table = align(HEADERS + code.length);
  const strings = table + SYMBOL * (symbols.length + 1);
  const sections = align(strings + names.length);
  const file = new Uint8Array(symbols.length === 0 ? HEADERS + code.length : sections + 3 * SECTION);
  const view = new DataView(file.buffer);
  const long = (at: number, value: number): void => view.setBigUint64(at, BigInt(value), true);
  view.setUint32(0, 0x7f454c46);
  file.set([2, 1, 1], 4);
  view.setUint16(16, 2, true);
  view.setUint16(18, 243, true);
  long(24, address);
  long(32, 64);
  view.setUint16(56, 1, true);
  view.setUint32(64, 1, true);
  view.setUint32(68, 7, true);
  long(72, HEADERS);
  long(80, address);
  long(88, address);
  long(96, code.length);
  long(104, code.length + extra);
  file.set(code, HEADERS);
  if (symbols.length === 0) return file;
  file.set(names, strings);
  let name = 1;
  symbols.forEach((symbol, index) => {
    const at = table + SYMBOL * (index + 1);
    view.setUint32(at, name, true);
    long(at + 8, assembler.addressOf(symbol));
    name += symbol.length + 1;
  });
  long(40, sections);
  view.setUint16(60, 3, true);
  const [symtab, strtab] = [sections + SECTION, sections + 2 * SECTION];
  view.setUint32(symtab + 4, 2, true);
  long(symtab + 24, table);
  long(symtab + 32, SYMBOL * (symbols.length + 1));
  view.setUint32(symtab + 40, 2, true);
  view.setUint32(strtab + 4, 3, true);
  long(strtab + 24, strings);
  long(strtab + 32, names.length);
  return file;
}
