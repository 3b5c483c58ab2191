/** A test case: a program and the state that it starts from, as plain data. */
import { GRANULE_SIZE, Prot } from "../abi.ts";
import type { Raw } from "../capability/raw.ts";
import type { Clause } from "../isa/clause.ts";
import { encodingOf, fieldProblem, insertField, type Field, type FieldName } from "../isa/encoding.ts";
import { allClauses } from "../isa/index.ts";

export const MEMORY_BYTES: number = 1024 * 1024;
/** The region that programs live in; offsets are relative to its start. */
export const REGION = 0x4_0000;
export const REGION_BYTES = 0x1_0000;
/** Offsets. Code pages follow each other; the page behind them is not executable. */
export const CODE = 0x1000;
export const CODE_BYTES = 0x2000;
/** Two pages to read and write; the page behind them is not mapped. */
export const DATA = 0x4000;
export const DATA_BYTES = 0x2000;
export const READ_ONLY = 0x7000;
export const MORE_DATA = 0x8000;

/** What pages of the region allow; the code's are set for each case. */
export const PAGES: readonly (readonly [offset: number, length: number, prot: number])[] = [
  [CODE + CODE_BYTES, 0x1000, Prot.Read | Prot.Write],
  [DATA, DATA_BYTES, Prot.Read | Prot.Write],
  [READ_ONLY, 0x1000, Prot.Read],
  [MORE_DATA, 0x1000, Prot.Read | Prot.Write],
];

/** One instruction of a program, or a word that need not be one. */
export type Instruction =
  | {
      readonly clause: Clause;
      readonly fields: Readonly<Partial<Record<FieldName, number>>>;
      /** For a direct transfer instead of its immediate: how many instructions further it goes, 0 is itself. */
      readonly to?: number;
    }
  | { readonly word: number };

export interface Case {
  /** c1 … c31. */
  readonly registers: readonly Raw[];
  /** f0 … f31. */
  readonly floats: readonly bigint[];
  readonly fcsr: number;
  readonly ddc: Raw;
  readonly pcc: Raw;
  /** Special capability registers by number. */
  readonly specials: readonly (readonly [number, Raw])[];
  /** Capabilities in memory, by offset in the region. */
  readonly memory: readonly { readonly at: number; readonly cap: Raw }[];
  /** Code pages may be written too. */
  readonly writableCode: boolean;
  /** Offset of the program. */
  readonly origin: number;
  readonly program: readonly Instruction[];
  /** Fuel of each run; a program is run on after exceptions and system calls. */
  readonly fuel: number;
}

/** `value` made one that the field can have. */
export function fit(field: Field, value: number): number {
  const step = 2 ** field.scale;
  const span = 2 ** field.width;
  const low = field.signed ? -span / 2 : field.base;
  const range = span / step;
  const index = Math.floor(value / step) % range;
  let fitted = low + ((index + range - low / step) % range) * step;
  while (fieldProblem(field, fitted) !== undefined && fitted < low + span) fitted += step;
  return fieldProblem(field, fitted) === undefined ? fitted : low + step;
}

/** The word of an instruction; values that its fields cannot have are made to fit. */
export function wordOf(instruction: Instruction, imm?: number): number {
  if ("word" in instruction) return instruction.word;
  const encoding = encodingOf(instruction.clause);
  return encoding.fields.reduce((word, field) => {
    const value = field.name === "imm" && imm !== undefined ? imm : (instruction.fields[field.name] ?? 0);
    return word | insertField(field, fit(field, value));
  }, encoding.match);
}

export const lengthOf = (instruction: Instruction): 2 | 4 =>
  "word" in instruction ? ((instruction.word & 3) === 3 ? 4 : 2) : encodingOf(instruction.clause).length;

/** Bytes of a program, and the offset in them of each instruction. */
export function assemble(program: readonly Instruction[]): { readonly bytes: Uint8Array; readonly offsets: readonly number[] } {
  let end = 0;
  const offsets = program.map((instruction) => (end += lengthOf(instruction)) - lengthOf(instruction));
  const bytes = new Uint8Array(end);
  program.forEach((instruction, index) => {
    let imm: number | undefined;
    if ("to" in instruction && instruction.to !== undefined) {
      const target = Math.min(Math.max(index + instruction.to, 0), program.length);
      imm = (offsets[target] ?? end) - offsets[index]!;
    }
    const word = wordOf(instruction, imm);
    for (let byte = 0; byte < lengthOf(instruction); byte++) bytes[offsets[index]! + byte] = (word >>> (8 * byte)) & 0xff;
  });
  return { bytes, offsets };
}

/** What data pages hold where no capability stands: no byte is 0, so that a store of 0 is seen. */
export const pattern: Uint8Array = Uint8Array.from({ length: REGION_BYTES }, (_, at) => ((at * 167 + (at >> 8) * 59) & 0xff) | 1);

const byName = new Map<string, Clause>();
for (const clause of allClauses) if (!byName.has(clause.name)) byName.set(clause.name, clause);

/** An instruction by name. TypeError when there is none. */
export function instruction(name: string, fields: Partial<Record<FieldName, number>> = {}, to?: number): Instruction {
  const clause = byName.get(name);
  if (clause === undefined) throw new TypeError(`no instruction ${name}`);
  return to === undefined ? { clause, fields } : { clause, fields, to };
}

/** Start of the granule that an address is in. */
export const granuleOf = (address: number): number => address - (address % GRANULE_SIZE);
