/**
 * Recorded results of capability arithmetic: `call<TAB>answer` a line, numbers in hexadecimal, `hi` the upper 64 bits of a
 * capability as they stand in memory.
 *
 * | call | answer |
 * |---|---|
 * | `dec hi address tag` | all fields and the bounds |
 * | `sb hi address tag length` | those of CSetBounds' result, and whether it is exact |
 * | `rep hi address next` | whether `next` is representable: by the fast check, and exactly |
 * | `crr length` | CRRL and CRAM |
 */
import {
  alignmentMask,
  decodeBounds,
  exponentOf,
  fastRepresentable,
  flagOf,
  otypeOf,
  permsOf,
  representable,
  reservedOf,
  roundedLength,
} from "../capability/encoding.ts";
import { rawSetBounds, type Raw } from "../capability/raw.ts";
import { badLine } from "./lines.ts";

const pad = (value: bigint, digits: number): string => value.toString(16).padStart(digits, "0");
const bit = (value: boolean): string => (value ? "1" : "0");

function describe({ hi, address, tag }: Raw): string {
  const { base, top } = decodeBounds(hi, address);
  // The model prints otype as its 18 bits, and the reserved bits where they stand in the upper word.
  const fields: readonly (readonly [string, string])[] = [
    ["pesbt", pad(hi, 16)],
    ["addr", pad(address, 16)],
    ["tag", bit(tag)],
    ["base", pad(base, 16)],
    ["top", pad(top, 17)],
    ["perms", pad(BigInt(permsOf(hi)), 5)],
    ["otype", pad(BigInt(otypeOf(hi) & 0x3ffff), 5)],
    ["flags", String(flagOf(hi))],
    ["rsv", (BigInt(reservedOf(hi)) << 46n).toString(16)],
    ["E", String(exponentOf(hi))],
  ];
  return fields.map(([name, value]) => `${name}=${value}`).join(" ");
}

type Operand = "hi" | "address" | "tag" | "length" | "next";

/** Calls: their operands in order, and our answer. */
const CALLS: ReadonlyMap<string, { readonly operands: readonly Operand[]; readonly answer: (args: readonly bigint[]) => string }> = new Map(
  [
    [
      "dec",
      {
        operands: ["hi", "address", "tag"],
        answer: ([hi, address, tag]) => `${describe({ hi: hi!, address: address!, tag: tag === 1n })} agree=1`,
      },
    ],
    [
      "sb",
      {
        operands: ["hi", "address", "tag", "length"],
        answer: ([hi, address, tag, length]) => {
          const { capability, exact } = rawSetBounds({ hi: hi!, address: address!, tag: tag === 1n }, length!);
          return `${describe(capability)} exact=${bit(exact)}`;
        },
      },
    ],
    [
      "rep",
      {
        operands: ["hi", "address", "next"],
        answer: ([hi, address, next]) =>
          `fast=${bit(fastRepresentable(hi!, address!, next!))} precise=${bit(representable(hi!, address!, next!))}`,
      },
    ],
    [
      "crr",
      { operands: ["length"], answer: ([length]) => `crrl=${pad(roundedLength(length!), 16)} cram=${pad(alignmentMask(length!), 16)}` },
    ],
  ],
);

/** Names of the calls. */
export const ARITHMETIC_CALLS: readonly string[] = [...CALLS.keys()];

export interface ArithmeticMismatch {
  readonly line: number;
  readonly input: string;
  readonly theirs: string;
  readonly ours: string;
}

export interface ArithmeticResult {
  readonly cases: number;
  /** How many of each call there were, by name. */
  readonly calls: ReadonlyMap<string, number>;
  readonly mismatches: readonly ArithmeticMismatch[];
}

function operand(name: Operand, text: string, line: number): bigint {
  const bits = name === "tag" ? 1 : 64;
  const value = /^[0-9a-f]{1,16}$/iu.test(text) ? BigInt(`0x${text}`) : -1n;
  if (value < 0n || value >> BigInt(bits) !== 0n) throw badLine(line, `${name} is no hexadecimal number of ${bits} bits: "${text}"`);
  return value;
}

/** Compares every line with what this machine computes. RecordingError (`bad-line`) when one is not of the format. */
export function checkArithmetic(lines: readonly string[]): ArithmeticResult {
  const calls = new Map<string, number>();
  const mismatches: ArithmeticMismatch[] = [];
  for (const [index, text] of lines.entries()) {
    const line = index + 1;
    const parts = text.replace(/\r$/u, "").split("\t");
    const [input, theirs] = parts;
    if (input === undefined || theirs === undefined || parts.length !== 2) {
      throw badLine(line, `expected call and answer with one tab between them, found ${parts.length - 1} tabs`);
    }
    const [name = "", ...words] = input.split(" ");
    const call = CALLS.get(name);
    if (call === undefined) throw badLine(line, `unknown call "${name}", known are ${ARITHMETIC_CALLS.join(", ")}`);
    if (words.length !== call.operands.length) {
      throw badLine(line, `${name} needs ${call.operands.join(" ")}, not ${words.length} operands`);
    }
    const ours = `${name} ${call.answer(words.map((word, at) => operand(call.operands[at]!, word, line)))}`;
    calls.set(name, (calls.get(name) ?? 0) + 1);
    if (ours !== theirs) mismatches.push({ line, input, theirs, ours });
  }
  return { cases: lines.length, calls, mismatches };
}
