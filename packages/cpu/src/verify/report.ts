/** Failing cases as text: the program as assembly, the state that it starts from, where the engines part and how. */
import type { EngineName, MachineOptions } from "../abi.ts";
import { disassemble } from "../assembler/index.ts";
import { flagOf } from "../capability/encoding.ts";
import { rawNull } from "../capability/raw.ts";
import type { Interpreter } from "../interpreter/interpreter.ts";
import { createDecoder } from "../isa/decode.ts";
import { allClauses } from "../isa/index.ts";
import { assemble, lengthOf, MEMORY_BYTES, REGION, type Case } from "./case.ts";
import { Reference } from "./reference.ts";
import { compare, show, Subject, type Difference } from "./subject.ts";

/** What a case is run on. */
export interface Setting {
  readonly engine: EngineName;
  readonly relocation?: boolean;
  readonly tagClearing?: boolean;
  /** The machine's interpreter, when it is not the usual one. */
  readonly interpreter?: Interpreter;
}

export function subjectOf(setting: Setting): Subject {
  const options: MachineOptions = { relocation: setting.relocation ?? true, tagClearing: setting.tagClearing ?? true };
  return new Subject(setting.engine, options, setting.interpreter);
}
export function referenceOf(setting: Setting): Reference {
  return new Reference({ memoryBytes: MEMORY_BYTES, relocation: setting.relocation ?? true, tagClearing: setting.tagClearing ?? true });
}

const decoder = createDecoder(allClauses);
const hex = (value: number | bigint): string => `0x${value.toString(16)}`;

/** Each instruction's offset in the region and its text. */
function listing(test: Case): { readonly at: number; readonly text: string }[] {
  const { bytes, offsets } = assemble(test.program);
  const padded = new DataView(new ArrayBuffer(bytes.length + 4));
  new Uint8Array(padded.buffer).set(bytes);
  return offsets.map((offset) => ({
    at: test.origin + offset,
    text: disassemble(decoder, padded.getInt32(offset, true), test.origin + offset, flagOf(test.pcc.hi) === 0 ? 0 : 1),
  }));
}

/** The whole case. Registers that hold 0 are left out. */
export function describeCase(test: Case): string {
  const lines = listing(test).map(({ at, text }) => `  ${hex(at)}: ${text}`);
  const registers = test.registers.flatMap((cap, index) => (cap.address === 0n && cap.hi === 0n ? [] : [`  c${index + 1} = ${show(cap)}`]));
  const floats = test.floats.flatMap((bits, index) => (bits === 0n ? [] : [`f${index} = ${hex(bits)}`]));
  return [
    `program, at offset ${hex(test.origin)} of the region at ${hex(REGION)}${test.writableCode ? ", code can be written" : ""}; fuel ${test.fuel}:`,
    ...lines,
    "registers:",
    `  pcc = ${show(test.pcc)}`,
    `  ddc = ${show(test.ddc)}`,
    ...test.specials.map(([index, cap]) => `  special register ${index} = ${show(cap)}`),
    ...registers,
    `  fcsr = ${hex(test.fcsr)}${floats.length === 0 ? "" : `; ${floats.join(", ")}`}`,
    ...(test.memory.length === 0
      ? []
      : ["capabilities in memory:", ...test.memory.map(({ at, cap }) => `  region + ${hex(at)}: ${show(cap)}`)]),
  ].join("\n");
}

export function describeDifferences(differences: readonly Difference[]): string {
  return differences.map(({ what, reference, machine }) => `  ${what}: reference ${reference}, machine ${machine}`).join("\n");
}

/** Something that stops a run and takes as much room as what it stands for. */
const ECALL = { word: 0x73 };
const C_EBREAK = { word: 0x9002 };

/**
 * The first instruction, in the order in which they are first reached, after which the states differ: the case is run up to
 * each of its instructions. Undefined when they are the same at all of them.
 */
export function firstDifference(
  test: Case,
  setting: Setting,
): { readonly after: string; readonly before: string; readonly differences: readonly Difference[] } | undefined {
  const list = [...listing(test), { at: test.origin + assemble(test.program).bytes.length, text: "the end" }];
  const at = new Map(list.map(({ at: offset }, index) => [BigInt(REGION + offset), index]));
  const reference = referenceOf(setting);
  const order = new Map<number, number | undefined>();
  let previous: number | undefined;
  const reach = (index: number | undefined): void => {
    if (index === undefined) return;
    if (!order.has(index)) order.set(index, previous);
    previous = index;
  };
  const here = (): number | undefined => at.get(reference.here);
  reach(0);
  compare(test, subjectOf(setting), reference, {
    each: () => reach(here()),
    // It is run on behind an exception.
    stopped: () => {
      const index = here();
      if (index !== undefined && index + 1 < list.length) reach(index + 1);
    },
  });
  const name = (index: number | undefined): string => (index === undefined ? "the start" : `${hex(list[index]!.at)}: ${list[index]!.text}`);
  for (const [index, before] of order) {
    const stop = index < test.program.length && lengthOf(test.program[index]!) === 2 ? C_EBREAK : ECALL;
    const stopped = [...test.program.slice(0, index), stop, ...test.program.slice(index + 1)];
    const differences = compare({ ...test, program: stopped }, subjectOf(setting), referenceOf(setting), {
      until: BigInt(REGION + list[index]!.at),
    });
    if (differences.length > 0) return { after: name(before), before: name(index), differences };
  }
  return undefined;
}

/** A case that `fails` too, with fewer instructions, registers and capabilities in memory: none can be left out of it alone. */
export function minimised(test: Case, fails: (smaller: Case) => boolean): Case {
  let best = test;
  const attempt = (smaller: Case): void => {
    if (fails(smaller)) best = smaller;
  };
  for (let size = -1; size !== best.program.length + best.memory.length;) {
    size = best.program.length + best.memory.length;
    for (let index = best.program.length - 1; index >= 0; index--) attempt({ ...best, program: best.program.toSpliced(index, 1) });
    for (let index = best.memory.length - 1; index >= 0; index--) attempt({ ...best, memory: best.memory.toSpliced(index, 1) });
  }
  attempt({ ...best, floats: best.floats.map(() => 0n) });
  attempt({ ...best, specials: [] });
  for (const [index, cap] of best.registers.entries()) {
    if (cap.hi === 0n && cap.address === 0n) continue;
    attempt({ ...best, registers: best.registers.with(index, rawNull()) });
  }
  return best;
}

/** Everything about a case that failed, made small. */
export function report(failing: Case, setting: Setting, subject: Subject, reference: Reference): string {
  const test = minimised(failing, (smaller) => compare(smaller, subject, reference).length > 0);
  const differences = compare(test, subject, reference);
  const first = firstDifference(test, setting);
  const fresh = compare(test, subjectOf(setting), referenceOf(setting));
  return [
    describeCase(test),
    first === undefined
      ? "Stopped at each instruction in turn the states are the same: only the whole program shows it."
      : `First different after ${first.after} (stopped before ${first.before}):\n${describeDifferences(first.differences)}`,
    "At the first stop that differs:",
    describeDifferences(differences),
    ...(fresh.length > 0 ? [] : ["A new machine does it right: what went wrong depends on programs that ran before."]),
  ].join("\n");
}
