/** Compares what was recorded of an instruction with what it did here. */
import type { Execution } from "../rvfi/execution.ts";
import type { RecordedStep } from "./sequences.ts";

/** What is compared of each instruction. */
export const FIELDS = [
  "trap",
  "address",
  "pcAfter",
  "rd",
  "rdValue",
  "memoryAddress",
  "readMask",
  "writeMask",
  "writeData",
  "mode",
] as const;
export type FieldName = (typeof FIELDS)[number];

/** A difference: numbers in hexadecimal. */
export interface Difference {
  readonly field: FieldName;
  readonly theirs: string;
  readonly ours: string;
}

/** What the recordings call `pc before` is the absolute address; over the wire it is not known. */
const RECORDED: Readonly<Record<FieldName, (step: RecordedStep) => bigint | number | boolean>> = {
  trap: (step) => step.trap,
  address: (step) => step.pcBefore,
  pcAfter: (step) => step.pcAfter,
  rd: (step) => step.rd,
  rdValue: (step) => step.rdValue,
  memoryAddress: (step) => step.memoryAddress,
  readMask: (step) => step.readMask,
  writeMask: (step) => step.writeMask,
  writeData: (step) => step.writeData,
  mode: (step) => step.mode,
};

const hex = (value: bigint | number | boolean): string => (typeof value === "boolean" ? Number(value) : value).toString(16);

/** All differences, in the order of {@link FIELDS}. Recordings have the low 64 bits of what is stored. */
export function differences(step: RecordedStep, execution: Execution, fields: readonly FieldName[] = FIELDS): Difference[] {
  const result: Difference[] = [];
  for (const field of fields) {
    const theirs = RECORDED[field](step);
    const ours = field === "writeData" ? BigInt.asUintN(64, execution.writeData) : execution[field];
    if (theirs !== ours) result.push({ field, theirs: hex(theirs), ours: hex(ours) });
  }
  return result;
}
