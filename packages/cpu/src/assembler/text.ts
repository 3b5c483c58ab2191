/** Assembly text: lines as GNU as reads them, for one section, without macros. */
import type { Clause } from "../isa/clause.ts";
import { csrNumbers } from "../isa/csr.ts";
import { encodingOf } from "../isa/encoding.ts";
import { Assembler, type AssemblerOptions, type EmitOperands, type Target } from "./assembler.ts";
import { AssemblerError } from "./error.ts";
import { expandPseudo } from "./pseudo.ts";
import { registerNumber, roundingNames, scrNumbers, type RegisterFile } from "./registers.ts";
import { syntaxOf, type OperandKind } from "./syntax.ts";

const NAME = /^[A-Za-z_.$][\w.$]*$/u;

/** Value of a number: decimal, 0x, 0b, 0o, or a character in single quotes; undefined for anything else. */
function parseNumber(text: string): bigint | undefined {
  if (/^'(?:[^\\])'$/u.test(text)) return BigInt(text.codePointAt(1)!);
  const match = /^([+-]?)\s*(0[xX][\da-fA-F]+|0[bB][01]+|0[oO][0-7]+|\d+)$/u.exec(text);
  if (match === null) return undefined;
  return match[1] === "-" ? -BigInt(match[2]!) : BigInt(match[2]!);
}

function numberOf(text: string, what: string): bigint {
  const value = parseNumber(text);
  if (value === undefined) throw new AssemblerError("operand-syntax", `${what}: ${text} is not a number`);
  return value;
}

/** An address: a number, a label, `.`, or one of the last two with `+ n` or `- n`. */
function addressOf(a: Assembler, text: string, what: string): { target: Target; addend: number } {
  const value = parseNumber(text);
  if (value !== undefined) return { target: value, addend: 0 };
  const match = /^([A-Za-z_.$][\w.$]*)\s*(?:([+-])\s*(\w+))?$/u.exec(text);
  if (match === null) throw new AssemblerError("operand-syntax", `${what}: ${text} is not an address`);
  const addend = match[3] === undefined ? 0 : Number(numberOf(match[3], what)) * (match[2] === "-" ? -1 : 1);
  return match[1] === "." ? { target: a.address + addend, addend: 0 } : { target: match[1]!, addend };
}

function setOf(text: string, what: string): number {
  if (text === "0") return 0;
  if (!/^i?o?r?w?$/u.test(text)) throw new AssemblerError("operand-syntax", `${what}: ${text} is not a set like rw`);
  return [..."iorw"].reduce((bits, letter, at) => (text.includes(letter) ? bits | (8 >> at) : bits), 0);
}

const patterns = new WeakMap<Clause, RegExp>();

/** A word that stands for itself; a number in any base. */
function wordPattern(word: string): string {
  const value = parseNumber(word);
  return value === undefined ? word : `(?:0x0*${value.toString(16)}|0*${value})`;
}

/** A pattern of a clause's operands with a group for each; an immediate before a parenthesis may be left out, so may a rounding mode. */
function patternOf(clause: Clause): RegExp {
  let pattern = patterns.get(clause);
  if (pattern !== undefined) return pattern;
  const rounding = String.raw`(?:\s*,\s*(rne|rtz|rdn|rup|rmm|dyn|5|6))?`;
  const pieces = syntaxOf(clause);
  let source = "";
  for (const [at, { operand, text }] of pieces.entries()) {
    const next = pieces[at + 1];
    if (operand?.kind === "rounding") source += rounding;
    else if (operand !== undefined) source += next?.text === "(" ? String.raw`([^,()]*?)` : String.raw`([^,()]+?)`;
    else if (text === "," && next?.operand?.kind === "rounding") continue;
    // (rs1) may be written 0(rs1).
    else if (text === "(" && pieces[at - 1]?.operand === undefined) source += String.raw`\s*(?:0\s*)?\(\s*`;
    else source += /\w/u.test(text!) ? wordPattern(text!) : String.raw`\s*[${text}]\s*`;
  }
  const written = pieces.some(({ operand }) => operand?.kind === "rounding");
  if (!written && encodingOf(clause).fields.some(({ name }) => name === "rm")) source += rounding;
  pattern = new RegExp(`^${source}$`, "iu");
  patterns.set(clause, pattern);
  return pattern;
}

function operandValue(a: Assembler, operand: OperandKind, text: string, what: string): EmitOperands {
  const whole = (value: bigint): number => {
    const number = Number(value);
    if (!Number.isSafeInteger(number)) throw new AssemblerError("operand-value", `${what}: ${text} is too large`);
    return number;
  };
  switch (operand.kind) {
    case "register": {
      const number = registerNumber(operand.file, text);
      if (number === undefined) throw new AssemblerError("unknown-register", `${what}: ${text}`);
      return { [operand.field]: number };
    }
    case "number":
      return { [operand.field]: text === "" ? 0 : whole(numberOf(text, what)) };
    case "target": {
      const { target, addend } = addressOf(a, text, what);
      if (addend !== 0) throw new AssemblerError("operand-syntax", `${what}: a branch to a label takes no offset`);
      return { target };
    }
    case "upper": {
      const value = whole(numberOf(text, what));
      if (value < -0x80000 || value > 0xfffff) throw new AssemblerError("operand-value", `${what}: ${text} has more than 20 bits`);
      return { imm: (value << 12) | 0 };
    }
    case "csr":
      return { imm: csrNumbers.get(text) ?? whole(numberOf(text, what)) };
    case "scr":
      return { imm: scrNumbers.get(text.toLowerCase()) ?? whole(numberOf(text, what)) };
    case "part": {
      const value = whole(numberOf(text, what));
      if (value < 0 || value >= 2 ** operand.width)
        throw new AssemblerError("operand-value", `${what}: ${text} is outside 0 … ${2 ** operand.width - 1}`);
      return { [operand.field]: value << operand.low };
    }
    case "rounding":
      return { rm: roundingNames.indexOf(text.toLowerCase()) };
    case "fence":
      return { [operand.field]: setOf(text, what) };
  }
}

/** Operands of a clause from text, or undefined when it is written differently. */
function parseOperands(a: Assembler, clause: Clause, text: string): EmitOperands | undefined {
  const match = patternOf(clause).exec(text);
  if (match === null) return undefined;
  let result: EmitOperands = {};
  const written = syntaxOf(clause).flatMap(({ operand }) => (operand === undefined ? [] : [operand]));
  for (const [at, operand] of written.entries()) {
    const part = match[at + 1];
    if (part === undefined) continue;
    const before = result;
    result = { ...before, ...operandValue(a, operand, part.trim(), clause.name) };
    if (operand.kind === "part") result = { ...result, [operand.field]: (before[operand.field] ?? 0) | (result[operand.field] ?? 0) };
  }
  const extra = match[written.length + 1];
  return extra === undefined ? result : { ...result, rm: roundingNames.indexOf(extra.toLowerCase()) };
}

function instruction(a: Assembler, name: string, rest: string): void {
  const parts = rest === "" ? [] : rest.split(",").map((part) => part.trim());
  const register = (file: RegisterFile, text: string | undefined): number => {
    const number = registerNumber(file, text ?? "");
    if (number === undefined) throw new AssemblerError("unknown-register", `${name}: ${text}`);
    return number;
  };
  const count = (wanted: number): void => {
    if (parts.length !== wanted) throw new AssemblerError("operand-syntax", `${name} takes ${wanted} operands: ${rest}`);
  };
  switch (name) {
    case "li":
      count(2);
      a.li(register("x", parts[0]), numberOf(parts[1]!, name));
      return;
    case "la":
    case "lla": {
      count(2);
      const { target, addend } = addressOf(a, parts[1]!, name);
      a.la(register("x", parts[0]), target, addend);
      return;
    }
    case "call":
    case "tail":
      count(1);
      a[name](addressOf(a, parts[0]!, name).target);
      return;
    case "cllc": {
      count(2);
      const { target, addend } = addressOf(a, parts[1]!, name);
      a.cllc(register("c", parts[0]), target, addend);
      return;
    }
  }
  const expansion = expandPseudo(name, parts, a.mode);
  if (expansion !== undefined) {
    const space = expansion.indexOf(" ");
    clauseInstruction(a, expansion.slice(0, space), expansion.slice(space + 1));
    return;
  }
  clauseInstruction(a, name, rest);
}

function clauseInstruction(a: Assembler, name: string, rest: string): void {
  const ordering = /^(.*)\.(aqrl|aq|rl)$/u.exec(name);
  const clauses = a.clausesNamed(ordering?.[1] ?? name);
  const bits = ordering === null ? {} : { aq: ordering[2]!.startsWith("aq") ? 1 : 0, rl: ordering[2]!.endsWith("rl") ? 1 : 0 };
  // Clauses of one mnemonic may differ in the kind of an operand only: `cincoffset ca0, ca1, a2` and `cincoffset ca0, ca1, 16`.
  const problems: AssemblerError[] = [];
  for (const clause of clauses) {
    try {
      const operands = parseOperands(a, clause, rest);
      if (operands === undefined) continue;
      a.emitClause(clause, { ...operands, ...bits });
      return;
    } catch (error) {
      if (!(error instanceof AssemblerError)) throw error;
      problems.push(error);
    }
  }
  // A value out of range says more than that it is no register.
  const problem = problems.find(({ code }) => code === "operand-value") ?? problems[0];
  if (problem !== undefined) throw problem;
  throw new AssemblerError(
    "operand-syntax",
    `${name} ${rest}: expected ${clauses.map(({ syntax }) => syntax || "no operands").join(" or ")}`,
  );
}

/** Text between double quotes, with the escapes of C. */
function stringOf(text: string, what: string): string {
  try {
    const value: unknown = JSON.parse(text.replaceAll(String.raw`\0`, String.raw`\u0000`));
    if (typeof value === "string") return value;
  } catch (cause) {
    throw new AssemblerError("operand-syntax", `${what}: ${text} is not a string`, { cause });
  }
  throw new AssemblerError("operand-syntax", `${what}: ${text} is not a string`);
}

function directive(a: Assembler, name: string, rest: string): void {
  const parts = rest === "" ? [] : rest.split(",").map((part) => part.trim());
  const small = (part: string): number => Number(numberOf(part, name));
  switch (name) {
    case ".byte":
      for (const part of parts) a.bytes([small(part)]);
      return;
    case ".half":
    case ".short":
    case ".2byte":
      for (const part of parts) a.half(small(part));
      return;
    case ".word":
    case ".long":
    case ".4byte":
      for (const part of parts) a.word(small(part));
      return;
    case ".dword":
    case ".quad":
    case ".8byte":
      for (const part of parts) {
        const { target, addend } = addressOf(a, part, name);
        if (typeof target === "object") throw new AssemblerError("operand-syntax", `${name}: ${part}`);
        a.dword(target, addend);
      }
      return;
    case ".ascii":
      a.ascii(stringOf(rest, name));
      return;
    case ".asciz":
    case ".string":
      a.asciz(stringOf(rest, name));
      return;
    case ".zero":
    case ".space":
      a.zero(small(rest));
      return;
    case ".align":
    case ".p2align":
      a.align(2 ** small(rest));
      return;
    case ".balign":
      a.align(small(rest));
      return;
    default:
      throw new AssemblerError("unknown-directive", name);
  }
}

/** Splits at `;` and drops comments (`#`, `//`), both only outside of strings. */
function statements(line: string): string[] {
  const code = /^(?:"(?:[^"\\]|\\.)*"|'[^\\]'|(?!#|\/\/)[^"])*/u.exec(line)![0];
  return (code.match(/(?:"(?:[^"\\]|\\.)*"|'[^\\]'|[^;"])+/gu) ?? []).map((part) => part.trim()).filter((part) => part !== "");
}

/**
 * Adds lines of text to an assembler: labels (`name:`), instructions, pseudo-instructions, data directives.
 * @throws AssemblerError as {@link Assembler.emit}; also `operand-syntax`, `unknown-register`, `unknown-directive`. The message ends with the line.
 */
export function assembleInto(a: Assembler, text: string): void {
  for (const [index, line] of text.split("\n").entries()) {
    try {
      for (let statement of statements(line)) {
        for (let label; (label = /^([\w.$]+):\s*/u.exec(statement)) !== null && NAME.test(label[1]!);) {
          a.label(label[1]!);
          statement = statement.slice(label[0].length);
        }
        if (statement === "") continue;
        const [, name, rest] = /^(\S+)\s*(.*)$/u.exec(statement)!;
        if (name!.startsWith(".")) directive(a, name!, rest!);
        else instruction(a, name!.toLowerCase(), rest!);
      }
    } catch (cause) {
      if (!(cause instanceof AssemblerError)) throw cause;
      throw new AssemblerError(cause.code, `${cause.message.slice(cause.code.length + 3)} (line ${index + 1}: ${line.trim()})`, { cause });
    }
  }
}

/** Bytes of a program text. */
export function assembleText(text: string, options: AssemblerOptions = {}): Uint8Array {
  const a = new Assembler(options);
  assembleInto(a, text);
  return a.assemble();
}
