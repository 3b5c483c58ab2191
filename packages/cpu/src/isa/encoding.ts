/**
 * The encoding notation of {@link Clause}, read in both directions: which words are this instruction, what their fields
 * hold, and the word of given fields.
 */
import type { Clause } from "./clause.ts";

/** Bits of a field's value and where they stand in the word. */
export interface Slice {
  /** Lowest bit of the value in this slice. */
  readonly low: number;
  readonly width: number;
  /** Position of that bit in the word. */
  readonly shift: number;
}

/** Fields that an encoding can have. */
export type FieldName = "rd" | "rs1" | "rs2" | "rs3" | "rm" | "imm" | "aq" | "rl" | "pred" | "succ" | "fm";

export interface Field {
  readonly name: FieldName;
  /** Immediates: sign-extended from the highest bit. */
  readonly signed: boolean;
  /** Number added to the bits: 8 for a compressed register field. */
  readonly base: number;
  /** Bits of the value, the ones below the lowest slice (always 0) included. */
  readonly width: number;
  /** Number of low bits of the value that are always 0. */
  readonly scale: number;
  readonly slices: readonly Slice[];
  /** Values that are not this instruction. */
  readonly excluded: readonly number[];
}

/** Words equal to `match` under `mask` are not this instruction. */
export interface Exclusion {
  readonly mask: number;
  readonly match: number;
}

/** A parsed encoding. `mask`, `match` and words are signed 32-bit numbers; a 16-bit word stands in the low half. */
export interface Encoding {
  readonly length: 2 | 4;
  readonly mask: number;
  readonly match: number;
  readonly fields: readonly Field[];
  readonly exclusions: readonly Exclusion[];
}

const WIDTHS: Readonly<Record<string, number>> = { rm: 3, aq: 1, rl: 1, pred: 4, succ: 4, fm: 4 };

interface Draft {
  signed: boolean;
  base: number;
  slices: Slice[];
  excluded: number[];
}

/** Slices of `31:12` or `12|10:5`, highest first, as [low, width]. */
function immediateSlices(text: string, token: string): [low: number, width: number][] {
  return text.split("|").map((part) => {
    const match = /^(\d+)(?::(\d+))?$/u.exec(part);
    if (match === null) throw new SyntaxError(`bad immediate slice in ${token}`);
    const high = Number(match[1]);
    const low = Number(match[2] ?? match[1]);
    if (low > high) throw new SyntaxError(`slice upside down in ${token}`);
    return [low, high - low + 1];
  });
}

/**
 * Parses the notation (see {@link Clause.encoding}).
 * @throws SyntaxError when it is not well formed: unknown token, a field twice, overlapping slices, not 16 or 32 bits,
 *   or a length that bits 1:0 contradict.
 */
export function parseEncoding(text: string): Encoding {
  const drafts = new Map<FieldName, Draft>();
  // Pieces, most significant first; positions are known when the total width is.
  const pieces: { width: number; bits?: string; field?: Draft; low?: number }[] = [];

  for (const token of text.trim().split(/\s+/u)) {
    if (/^[01]+$/u.test(token)) {
      pieces.push({ width: token.length, bits: token });
      continue;
    }
    const immediate = /^(nz)?(u)?imm\[([\d:|]+)\]$/u.exec(token);
    if (immediate !== null) {
      let draft = drafts.get("imm");
      if (draft === undefined) {
        draft = { signed: immediate[2] === undefined, base: 0, slices: [], excluded: immediate[1] === undefined ? [] : [0] };
        drafts.set("imm", draft);
      }
      for (const [low, width] of immediateSlices(immediate[3]!, token)) pieces.push({ width, field: draft, low });
      continue;
    }
    const plain = /^(rd|rs1|rs2|rs3|rm|aq|rl|pred|succ|fm)('?)(?:!=(\d+(?:,\d+)*))?$/u.exec(token);
    if (plain === null) throw new SyntaxError(`unknown token ${token} in encoding ${text}`);
    const name = plain[1] as FieldName;
    if (drafts.has(name)) throw new SyntaxError(`${name} stands twice in encoding ${text}`);
    const compressed = plain[2] === "'";
    const draft: Draft = {
      signed: false,
      base: compressed ? 8 : 0,
      slices: [],
      excluded: plain[3] === undefined ? [] : plain[3].split(",").map(Number),
    };
    drafts.set(name, draft);
    pieces.push({ width: compressed ? 3 : (WIDTHS[name] ?? 5), field: draft, low: 0 });
  }

  const total = pieces.reduce((sum, piece) => sum + piece.width, 0);
  if (total !== 16 && total !== 32) throw new SyntaxError(`encoding has ${total} bits: ${text}`);
  let mask = 0;
  let match = 0;
  let shift = total;
  for (const { width, bits, field, low } of pieces) {
    shift -= width;
    if (field !== undefined) field.slices.push({ low: low!, width, shift });
    else {
      mask |= bitMask(width) << shift;
      match |= Number.parseInt(bits!, 2) << shift;
    }
  }
  if ((mask & 3) !== 3 || ((match & 3) === 3) !== (total === 32)) throw new SyntaxError(`bits 1:0 contradict the length: ${text}`);

  const fields: Field[] = [];
  const exclusions: Exclusion[] = [];
  for (const [name, draft] of drafts) {
    const seen = draft.slices.reduce((bits, { low, width }) => {
      const slice = BigInt(bitMask(width) >>> 0) << BigInt(low);
      if ((bits & slice) !== 0n) throw new SyntaxError(`slices of ${name} overlap: ${text}`);
      return bits | slice;
    }, 0n);
    const field: Field = {
      name,
      signed: draft.signed,
      base: draft.base,
      width: Math.max(...draft.slices.map(({ low, width }) => low + width)),
      scale: Math.min(...draft.slices.map(({ low }) => low)),
      slices: draft.slices,
      excluded: draft.excluded,
    };
    if (seen >> BigInt(field.scale) !== (1n << BigInt(field.width - field.scale)) - 1n) {
      throw new SyntaxError(`slices of ${name} leave a gap: ${text}`);
    }
    fields.push(field);
    const fieldMask = draft.slices.reduce((bits, slice) => bits | (bitMask(slice.width) << slice.shift), 0);
    for (const value of field.excluded) exclusions.push({ mask: fieldMask, match: place(field, value) });
  }
  return { length: total === 16 ? 2 : 4, mask, match, fields, exclusions };
}

/** `width` (1 … 32) low bits set. */
function bitMask(width: number): number {
  return width === 32 ? -1 : (1 << width) - 1;
}

/** Bits of `value` at their places in the word. The value is not checked. */
function place(field: Field, value: number): number {
  let word = 0;
  for (const { low, width, shift } of field.slices) word |= (((value - field.base) >> low) & bitMask(width)) << shift;
  return word;
}

/** Value of a field in a word: register numbers 0 … 31, immediates extended. */
export function extractField(field: Field, word: number): number {
  let value = 0;
  for (const { low, width, shift } of field.slices) value |= ((word >>> shift) & bitMask(width)) << low;
  if (field.signed) {
    const unused = 32 - field.width;
    return (value << unused) >> unused;
  }
  return value + field.base;
}

/** What is wrong with a value for a field, or undefined. */
export function fieldProblem(field: Field, value: number): string | undefined {
  if (!Number.isInteger(value)) return `${field.name} must be a whole number, not ${value}`;
  const span = 2 ** field.width;
  const min = field.signed ? -span / 2 : field.base;
  const max = (field.signed ? span / 2 : span + field.base) - 2 ** field.scale;
  if (value < min || value > max) return `${field.name} = ${value} is outside ${min} … ${max}`;
  if (value % 2 ** field.scale !== 0) return `${field.name} = ${value} is not a multiple of ${2 ** field.scale}`;
  if (field.excluded.includes(value)) return `${field.name} = ${value} is reserved here`;
  return undefined;
}

/**
 * The value at its place, to be or-ed into {@link Encoding.match}.
 * @throws RangeError when {@link fieldProblem} has something to say.
 */
export function insertField(field: Field, value: number): number {
  const problem = fieldProblem(field, value);
  if (problem !== undefined) throw new RangeError(problem);
  return place(field, value);
}

/** True when the word is this instruction. For a 16-bit encoding only the low half counts. */
export function matches(encoding: Encoding, word: number): boolean {
  if ((word & encoding.mask) !== encoding.match) return false;
  for (const { mask, match } of encoding.exclusions) if ((word & mask) === match) return false;
  return true;
}

const cache = new WeakMap<Clause, Encoding>();

/** The parsed encoding of a clause; parsed once. */
export function encodingOf(clause: Clause): Encoding {
  let encoding = cache.get(clause);
  if (encoding === undefined) {
    encoding = parseEncoding(clause.encoding);
    cache.set(clause, encoding);
  }
  return encoding;
}
