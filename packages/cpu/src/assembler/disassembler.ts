/**
 * Text of instructions, from the clauses: mnemonics and numbers of the base as GNU objdump writes them (`-M no-aliases`), those of
 * capability instructions as the CHERI tools' llvm-objdump does, a blank behind each comma as the latter has it.
 */
import type { Clause } from "../isa/clause.ts";
import { csrNumbers } from "../isa/csr.ts";
import { encodingOf, extractField, type Encoding, type FieldName } from "../isa/encoding.ts";
import type { Decoder, Mode } from "../isa/decode.ts";
import { registerName, roundingNames, scrName } from "./registers.ts";
import { operandsOf, syntaxOf, type OperandKind } from "./syntax.ts";

const csrNames = new Map([...csrNumbers].map(([name, number]) => [number, name]));
const hex = (value: number | bigint, digits = 1): string => `0x${value.toString(16).padStart(digits, "0")}`;

/** Fields that are part of the mnemonic or stand behind the operands. */
const SUFFIXES: ReadonlySet<FieldName> = new Set<FieldName>(["aq", "rl", "rm"]);

/** Sets as `fence` writes them: i, o, r, w from the highest bit. */
function fenceSet(value: number): string {
  const text = [..."iorw"].filter((_, at) => ((value >> (3 - at)) & 1) === 1).join("");
  return text === "" ? "0" : text;
}

function operandText(operand: OperandKind, encoding: Encoding, word: number, pc: number): string {
  const field = encoding.fields.find(({ name }) => name === operand.field)!;
  const value = extractField(field, word);
  switch (operand.kind) {
    case "register":
      return registerName(operand.file, value);
    // Shift counts are hexadecimal in GNU's style.
    case "number":
      return !field.signed && field.scale === 0 && field.width <= 6 && field.name === "imm" ? hex(value) : String(value);
    case "target":
      return hex(BigInt.asUintN(64, BigInt(pc) + BigInt(value)));
    case "upper":
      return hex((value >>> 12) & 0xfffff);
    case "csr":
      return csrNames.get(value) ?? hex(value);
    case "scr":
      return scrName(value) ?? String(value);
    case "part":
      return String((value >> operand.low) & (2 ** operand.width - 1));
    case "rounding":
      return roundingNames[value]!;
    case "fence":
      return fenceSet(value);
  }
}

/** A field that the text says nothing of, and that is not 0: reserved fields of fences, which a machine ignores. */
function hasUnsaid(clause: Clause, encoding: Encoding, word: number): boolean {
  return encoding.fields.some(
    (field) =>
      !SUFFIXES.has(field.name) && extractField(field, word) !== 0 && !operandsOf(clause).some((operand) => operand.field === field.name),
  );
}

/**
 * Text of one instruction: `addi a0, a1, -1`. Words that are no instruction give `.half` or `.word`, and so do those that have no text
 * of their own (reserved fields of a fence): the text always assembles to the same word.
 * @param word as {@link Decoder.decode} takes it.
 * @param pc address of the instruction, for branch targets, which are printed as addresses.
 */
export function disassemble(decoder: Decoder, word: number, pc = 0, mode: Mode = 0): string {
  const index = decoder.written(word, mode);
  const data = (word & 3) === 3 ? `.word ${hex(word >>> 0, 8)}` : `.half ${hex(word & 0xffff, 4)}`;
  if (index < 0) return data;
  const clause = decoder.clauses[index]!;
  const encoding = encodingOf(clause);
  if (hasUnsaid(clause, encoding, word)) return data;
  const bits = (name: FieldName): number => {
    const field = encoding.fields.find((candidate) => candidate.name === name);
    return field === undefined ? 0 : extractField(field, word);
  };
  let name = clause.mnemonic ?? clause.name;
  if (bits("aq") + bits("rl") > 0) name += `.${bits("aq") === 1 ? "aq" : ""}${bits("rl") === 1 ? "rl" : ""}`;

  let operands = "";
  let rounding = false;
  for (const { operand, text } of syntaxOf(clause)) {
    if (operand === undefined) operands += text === "," ? ", " : text;
    else if (operand.kind !== "rounding") operands += operandText(operand, encoding, word, pc);
    else {
      rounding = true;
      // The comma before it is already there.
      if (bits("rm") === 7) operands = operands.replace(/, $/u, "");
      else operands += roundingNames[bits("rm")]!;
    }
  }
  // Exact conversions have a rounding mode that does not matter; it is written when it is not the usual 0.
  if (!rounding && bits("rm") !== 0) operands += `, ${roundingNames[bits("rm")]!}`;
  return operands === "" ? name : `${name} ${operands}`;
}

/** One line of {@link disassembleBytes}. */
export interface Line {
  readonly address: number;
  readonly length: 2 | 4;
  readonly word: number;
  readonly text: string;
}

/** Every instruction of a piece of code that starts at address `pc`. A last half instruction gives `.half`. */
export function disassembleBytes(decoder: Decoder, bytes: Uint8Array, pc = 0, mode: Mode = 0): Line[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const lines: Line[] = [];
  for (let at = 0; at + 2 <= bytes.length;) {
    const low = view.getUint16(at, true);
    const wide = (low & 3) === 3 && at + 4 <= bytes.length;
    const word = wide ? view.getInt32(at, true) : low;
    const text = wide || (low & 3) !== 3 ? disassemble(decoder, word, pc + at, mode) : `.half ${hex(low, 4)}`;
    lines.push({ address: pc + at, length: wide ? 4 : 2, word, text });
    at += wide ? 4 : 2;
  }
  return lines;
}
