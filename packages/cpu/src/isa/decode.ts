/** The decoder, derived from clauses: tables by opcode, funct3 and funct7, then a short list of candidates. */
import type { Clause, Operands } from "./clause.ts";
import { encodingOf, extractField, type Encoding, type Exclusion, type Field } from "./encoding.ts";

/** What {@link Decoder.decode} fills in. Operands that an instruction does not have are 0. */
export interface Decoded extends Operands {
  /** Bytes of the instruction as it stands in memory. Set for illegal ones too. */
  length: 2 | 4;
}

/** 0: integer mode, 1: capability mode (PCC.flag). */
export type Mode = 0 | 1;

export interface Decoder {
  readonly clauses: readonly Clause[];
  /**
   * Decodes the instruction in `word`: the first 16 bits in memory in the low half, the next 16 in the high half (anything for
   * a 16-bit instruction). Returns the index in {@link clauses} of the clause whose semantics hold (a compressed form is
   * resolved to the one that it expands to), or -1 when it is illegal.
   */
  decode(word: number, mode: Mode, out: Decoded): number;
  /** As {@link decode}, but the index of the clause as written: a compressed form stays one. */
  written(word: number, mode: Mode): number;
}

/** A decoded instruction to pass to {@link Decoder.decode} again and again. */
export function createDecoded(): Decoded {
  return { rd: 0, rs1: 0, rs2: 0, rs3: 0, rm: 0, imm: 0, length: 4 };
}

type OperandName = keyof Operands;
const OPERANDS: readonly OperandName[] = ["rd", "rs1", "rs2", "rs3", "rm", "imm"];

/** How one operand is found: in a field of the word, or a constant. */
interface Source {
  readonly field: Field | undefined;
  readonly constant: number;
}

interface Candidate {
  readonly index: number;
  /** Index of the clause with the semantics. */
  readonly base: number;
  readonly mask: number;
  readonly match: number;
  readonly exclusions: readonly Exclusion[];
  /** rd, rs1, rs2, rs3, rm: shift, bits, number added. Constants have no bits. */
  readonly registers: Int32Array;
  readonly immediate: Source;
  readonly specificity: number;
}

function bitCount(word: number): number {
  let count = 0;
  for (let rest = word >>> 0; rest !== 0; rest &= rest - 1) count++;
  return count;
}

/** True for clauses that `mode` decodes. */
function inMode(clause: Clause, mode: Mode): boolean {
  return clause.mode === undefined || clause.mode === (mode === 1 ? "cap" : "int");
}

/**
 * Indices of the clauses that a mode decodes: those of both modes and of this mode only, less those of both modes whose fixed bits one
 * of this mode only has too. (A compressed form may still expand to a clause left out here: `c.j` to `jal` in capability mode.)
 */
export function clausesOf(clauses: readonly Clause[], mode: Mode): number[] {
  const key = (clause: Clause): string => {
    const { length, mask, match } = encodingOf(clause);
    return `${length} ${mask} ${match}`;
  };
  const own = new Set(clauses.flatMap((clause) => (clause.mode !== undefined && inMode(clause, mode) ? [key(clause)] : [])));
  return clauses.flatMap((clause, index) => (inMode(clause, mode) && (clause.mode !== undefined || !own.has(key(clause))) ? [index] : []));
}

/** Index of the clause of that name that `mode` decodes, one for this mode only before one for both; -1 if there is none. */
export function clauseIndex(clauses: readonly Clause[], name: string, mode: Mode): number {
  let found = -1;
  for (const [index, clause] of clauses.entries()) {
    if (clause.name !== name || !inMode(clause, mode)) continue;
    if (clause.mode !== undefined) return index;
    if (found < 0) found = index;
  }
  return found;
}

function sources(clause: Clause, encoding: Encoding): Map<OperandName, Source> {
  const result = new Map<OperandName, Source>();
  for (const name of OPERANDS) {
    const from = clause.expands === undefined ? name : clause.expands.operands[name];
    if (typeof from === "number") result.set(name, { field: undefined, constant: from });
    else {
      const field = encoding.fields.find((candidate) => candidate.name === from);
      if (field === undefined && clause.expands !== undefined && from !== undefined) {
        throw new TypeError(`${clause.name}: ${name} comes from ${from}, which its encoding does not have`);
      }
      result.set(name, { field, constant: 0 });
    }
  }
  return result;
}

function candidate(clauses: readonly Clause[], index: number, mode: Mode): Candidate {
  const clause = clauses[index]!;
  const encoding = encodingOf(clause);
  const from = sources(clause, encoding);
  const registers = new Int32Array(15);
  OPERANDS.slice(0, 5).forEach((name, at) => {
    const { field, constant } = from.get(name)!;
    const slice = field?.slices[0];
    registers.set(slice === undefined ? [0, 0, constant] : [slice.shift, (1 << slice.width) - 1, field!.base], 3 * at);
  });
  let base = index;
  if (clause.expands !== undefined) {
    base = clauseIndex(clauses, clause.expands.to, mode);
    if (base < 0) throw new TypeError(`${clause.name} expands to ${clause.expands.to}, which does not exist`);
  }
  return {
    index,
    base,
    mask: encoding.mask,
    match: encoding.match,
    exclusions: encoding.exclusions,
    registers,
    immediate: from.get("imm")!,
    // More fixed bits win: pause over fence.
    specificity: bitCount(encoding.mask),
  };
}

/** Key of a 16-bit word: bits 15:13 and 1:0. */
function key16(word: number): number {
  return ((word >>> 11) & 0x1c) | (word & 3);
}

/** Key of a 32-bit word: bits 31:25, 14:12 and 6:2. */
function key32(word: number): number {
  return ((word >>> 17) & 0x7f00) | ((word >>> 7) & 0xe0) | ((word >>> 2) & 0x1f);
}

type Table = (readonly Candidate[])[];
const NONE: readonly Candidate[] = [];

/** For each key its candidates, the most specific first. `spread` puts a key's bits at their places in a word. */
function table(candidates: readonly Candidate[], keys: number, keyMask: number, spread: (key: number) => number): Table {
  const result: Table = [];
  for (let key = 0; key < keys; key++) {
    const word = spread(key);
    const list = candidates.filter(({ mask, match }) => ((word ^ match) & mask & keyMask) === 0);
    result.push(list.length === 0 ? NONE : list.toSorted((a, b) => b.specificity - a.specificity));
  }
  return result;
}

function find(list: readonly Candidate[], word: number): Candidate | undefined {
  next: for (let at = 0; at < list.length; at++) {
    const entry = list[at]!;
    if ((word & entry.mask) !== entry.match) continue;
    const exclusions = entry.exclusions;
    for (let i = 0; i < exclusions.length; i++) {
      const exclusion = exclusions[i]!;
      if ((word & exclusion.mask) === exclusion.match) continue next;
    }
    return entry;
  }
  return undefined;
}

/**
 * Makes a decoder for a set of clauses.
 * @throws TypeError when a compressed clause expands to one that is not among them, or names a field that it does not have.
 */
export function createDecoder(clauses: readonly Clause[]): Decoder {
  const modes = ([0, 1] as const).map((mode) => {
    const all = clausesOf(clauses, mode).map((index) => candidate(clauses, index, mode));
    const wide = all.filter(({ match }) => (match & 3) === 3);
    // Split by opcode and funct3 first: 32,768 passes over all clauses would cost 50 ms.
    const coarse = table(wide, 256, 0x707f, (key) => ((key & 0xe0) << 7) | ((key & 0x1f) << 2) | 3);
    const fine: Table = [];
    for (let top = 0; top < 128; top++) {
      for (const list of coarse) {
        const fits = list.filter(({ mask, match }) => (((top << 25) ^ match) & mask & 0xfe000000) === 0);
        fine.push(fits.length === list.length ? list : fits);
      }
    }
    return {
      narrow: table(
        all.filter(({ match }) => (match & 3) !== 3),
        32,
        0xe003,
        (key) => ((key & 0x1c) << 11) | (key & 3),
      ),
      wide: fine,
    };
  });

  const lookup = (word: number, mode: Mode): Candidate | undefined => {
    const tables = modes[mode]!;
    return (word & 3) === 3 ? find(tables.wide[key32(word)]!, word) : find(tables.narrow[key16(word)]!, word & 0xffff);
  };

  return {
    clauses,
    decode(word, mode, out) {
      out.length = (word & 3) === 3 ? 4 : 2;
      const entry = lookup(word, mode);
      if (entry === undefined) return -1;
      const r = entry.registers;
      out.rd = ((word >>> r[0]!) & r[1]!) + r[2]!;
      out.rs1 = ((word >>> r[3]!) & r[4]!) + r[5]!;
      out.rs2 = ((word >>> r[6]!) & r[7]!) + r[8]!;
      out.rs3 = ((word >>> r[9]!) & r[10]!) + r[11]!;
      out.rm = ((word >>> r[12]!) & r[13]!) + r[14]!;
      const { field, constant } = entry.immediate;
      out.imm = field === undefined ? constant : extractField(field, word);
      return entry.base;
    },
    written(word, mode) {
      return lookup(word, mode)?.index ?? -1;
    },
  };
}
