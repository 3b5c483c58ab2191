/**
 * Recorded instruction sequences, a JSON object a line: `f` its name, `i` the instructions injected (hexadecimal), `r` what each
 * did: `[trap, pc before, pc after, rd, rd's value, memory address, read mask, write mask, stored value, privilege]`. pc's, values
 * and addresses are hexadecimal strings.
 */
import { badLine } from "./lines.ts";

/** What was recorded of one instruction. */
export interface RecordedStep {
  /** Unsigned. */
  readonly insn: number;
  readonly trap: boolean;
  readonly pcBefore: bigint;
  readonly pcAfter: bigint;
  readonly rd: number;
  readonly rdValue: bigint;
  readonly memoryAddress: bigint;
  readonly readMask: number;
  readonly writeMask: number;
  /** The low 64 bits. */
  readonly writeData: bigint;
  /** Privilege: 0, 1 or 3. */
  readonly mode: number;
}

export interface RecordedSequence {
  /** From 1. */
  readonly line: number;
  readonly name: string;
  readonly steps: readonly RecordedStep[];
}

/** Most instructions of a sequence: a bound on what a file can ask for. */
const MAX_STEPS = 100_000;
const FIELDS = 10;

class Parser {
  readonly #line: number;
  constructor(line: number) {
    this.#line = line;
  }
  fail(message: string): never {
    throw badLine(this.#line, message);
  }
  hex(value: unknown, digits: number, what: string): bigint {
    if (typeof value !== "string" || !/^[0-9a-f]+$/iu.test(value) || value.length > digits) {
      this.fail(`${what}: expected a hexadecimal string of up to ${digits} digits, not ${shown(value)}`);
    }
    return BigInt(`0x${value}`);
  }
  integer(value: unknown, max: number, what: string): number {
    if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > max) {
      this.fail(`${what}: expected a whole number up to ${max}, not ${shown(value)}`);
    }
    return value;
  }
}
/** A value that came from a file, short. */
function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}

function step(parser: Parser, insn: unknown, fields: unknown, what: string): RecordedStep {
  if (!Array.isArray(fields) || fields.length !== FIELDS) parser.fail(`${what}: expected a list of ${FIELDS} fields, not ${shown(fields)}`);
  const [trap, pcBefore, pcAfter, rd, rdValue, memoryAddress, readMask, writeMask, writeData, mode] = fields as unknown[];
  return {
    insn: Number(parser.hex(insn, 8, `${what}, instruction`)),
    trap: parser.integer(trap, 1, `${what}, trap`) === 1,
    pcBefore: parser.hex(pcBefore, 16, `${what}, pc before`),
    pcAfter: parser.hex(pcAfter, 16, `${what}, pc after`),
    rd: parser.integer(rd, 31, `${what}, rd`),
    rdValue: parser.hex(rdValue, 16, `${what}, value of rd`),
    memoryAddress: parser.hex(memoryAddress, 16, `${what}, memory address`),
    readMask: parser.integer(readMask, 0xffff_ffff, `${what}, read mask`),
    writeMask: parser.integer(writeMask, 0xffff_ffff, `${what}, write mask`),
    writeData: parser.hex(writeData, 16, `${what}, stored value`),
    mode: parser.integer(mode, 3, `${what}, privilege`),
  };
}

/** One line. RecordingError (`bad-line`) when it is not of the format. */
export function parseSequence(text: string, line: number): RecordedSequence {
  const parser: Parser = new Parser(line);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    parser.fail(`no JSON: ${(cause as Error).message}`);
  }
  if (typeof value !== "object" || value === null) parser.fail(`expected an object, not ${shown(value)}`);
  const { f: name, i: words, r: records } = value as { readonly f?: unknown; readonly i?: unknown; readonly r?: unknown };
  if (typeof name !== "string" || name === "") parser.fail(`f: expected a name, not ${shown(name)}`);
  if (!Array.isArray(words)) parser.fail(`i: expected a list, not ${shown(words)}`);
  if (!Array.isArray(records)) parser.fail(`r: expected a list, not ${shown(records)}`);
  if (words.length !== records.length) parser.fail(`${words.length} instructions, but ${records.length} records`);
  if (words.length > MAX_STEPS) parser.fail(`more than ${MAX_STEPS} instructions`);
  return { line, name, steps: words.map((word: unknown, index) => step(parser, word, records[index], `#${index}`)) };
}
