/** Registers as text, with capabilities as the CHERI tools print them. */
import type { HartPort } from "../abi.ts";
import { capNames, floatNames, intNames } from "../assembler/registers.ts";
import { format, isNumber } from "../capability/index.ts";

const COLUMNS = 4;
const hex = (value: bigint, digits = 1): string => `0x${value.toString(16).padStart(digits, "0")}`;
const line = (name: string, text: string): string => `${name.padEnd(4)} ${text}`;

/** Four to a line; values padded so that columns of 64-bit numbers stand under each other. */
function grid(names: readonly string[], text: (register: number) => string): string[] {
  const lines: string[] = [];
  for (let first = 0; first < names.length; first += COLUMNS) {
    const cells = names.slice(first, first + COLUMNS).map((name, at) => line(name, text(first + at).padEnd(18)));
    lines.push(cells.join(" ").trimEnd());
  }
  return lines;
}

/**
 * The 32 general registers: all their numbers (of a capability: its address) by integer name, then a line for each register that
 * holds a capability, by capability name, as {@link format} prints it.
 */
export function dumpGeneralRegisters(hart: HartPort): string[] {
  const lines = grid(intNames, (register) => hex(hart.getX(register)));
  for (const [register, name] of capNames.entries()) {
    const capability = hart.getCapability(register);
    if (!isNumber(capability)) lines.push(line(name, format(capability)));
  }
  return lines;
}

/** Lines with pc, PCC, DDC, the general registers ({@link dumpGeneralRegisters}), fcsr and the bits of the float registers. */
export function dumpRegisters(hart: HartPort): string[] {
  return [
    line("pc", hex(BigInt.asUintN(64, BigInt(hart.pc)))),
    line("pcc", format(hart.pcc)),
    line("ddc", format(hart.ddc)),
    ...dumpGeneralRegisters(hart),
    line("fcsr", hex(BigInt(hart.fcsr))),
    ...grid(floatNames, (register) => hex(hart.getF(register), 16)),
  ];
}
