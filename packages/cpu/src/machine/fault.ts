/** What there is to say about a synchronous exception of confined code: what its program may know of it, and a report for people. */
import type { Capability, HartPort, MachinePort } from "../abi.ts";
import { CapReg, Cause } from "../abi.ts";
import { format } from "../capability/index.ts";
import { intNames } from "../assembler/index.ts";
import { capCheckName, capRegisterName, trapName } from "./causes.ts";
import { dumpGeneralRegisters } from "./dump.ts";

/** Text of an instruction; `pc` is its offset, for targets of branches; `mode` is 1 in capability mode. */
export type Disassemble = (word: number, pc: number, mode: 0 | 1) => string;

/** Cause and value of a fault, those of a hart's last trap as a rule. */
export interface Trap {
  readonly cause: number;
  readonly value: number;
}

/** All that is known about a fault. */
export interface FaultDescription {
  /** Offset in the region. */
  readonly pc: number;
  /** 16 or 32 bits; null when the pc can not be read. */
  readonly instruction: number | null;
  readonly disassembly: string | null;
  readonly cause: number;
  readonly causeName: string;
  /** mtval: an address as an offset in the region (0 outside of it), or for a capability fault its code and register. */
  readonly value: number;
  /** What the access was to, as an offset in the region: {@link value}, but for loads and stores that DDC refuses. */
  readonly address: number;
  /** Of a capability fault: which check failed, on which register. */
  readonly check: string | null;
  readonly register: string | null;
  readonly capability: Capability | null;
  /** x0 … x31. */
  readonly registers: readonly bigint[];
  /** The report. Its first line begins with `who`. */
  readonly text: string;
}

export interface FaultPlace {
  readonly machine: MachinePort;
  readonly hart: HartPort;
  /** The memory that the hart's code may see: nothing is read outside of it, and its place stays unknown. */
  readonly region: { readonly base: number; readonly length: number };
}

function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}

/** The instruction at the pc, if it lies in the region and its pages are mapped. */
function instructionAt({ machine, hart, region: { base, length } }: FaultPlace): number | null {
  const at = Number(hart.pcc.base) + hart.pc;
  const inside = (bytes: number): boolean => at >= base && at + bytes <= base + length && machine.allows(at, bytes, 0);
  if (!inside(2)) return null;
  const low = machine.readU8(at) | (machine.readU8(at + 1) << 8);
  if ((low & 3) !== 3) return low;
  return inside(4) ? machine.readU32(at) >>> 0 : null;
}

/** The trap value as the program knows it: an address becomes an offset in the region, so that the region's place stays unknown to it. */
function guestValue({ cause, value }: Trap, { base, length }: FaultPlace["region"]): number {
  if (cause === Cause.IllegalInstruction || cause === Cause.Cheri) return value;
  return value >= base && value < base + length ? value - base : 0;
}

/**
 * Describes a fault of a hart that stands at the faulting instruction.
 * @param who whose fault it is, as the report begins
 * @param causeName what `trap.cause` is called, where it is none of the processor's
 */
export function describeFault(
  place: FaultPlace,
  trap: Trap,
  who: string,
  disassemble: Disassemble | undefined,
  causeName: string = trapName(trap.cause),
): FaultDescription {
  const { hart, region } = place;
  const { cause } = trap;
  const value = guestValue(trap, region);
  const instruction = instructionAt(place);
  let disassembly: string | null = null;
  if (instruction !== null && disassemble !== undefined) {
    try {
      disassembly = disassemble(instruction, hart.pc, hart.pcc.flag === 0 ? 0 : 1);
    } catch {
      disassembly = null;
    }
  }
  let address = value;
  let check: string | null = null;
  let register: string | null = null;
  let capability: Capability | null = null;
  if (cause === Cause.Cheri) {
    const number = Math.floor(value / 32) % 64;
    check = capCheckName(value % 32);
    register = capRegisterName(number);
    if (number === CapReg.Ddc) address = Number(BigInt.asUintN(64, BigInt(hart.trapAddress) - BigInt(region.base)));
    capability = number === CapReg.Pcc ? hart.pcc : number === CapReg.Ddc ? hart.ddc : number < 32 ? hart.getCapability(number) : null;
  }
  const registers = intNames.map((_, i) => (i === 0 ? 0n : BigInt.asUintN(64, hart.getX(i))));
  const report = { pc: hart.pc, instruction, disassembly, cause, causeName, value, address, check, register, capability, registers };
  return { ...report, text: textOf(report, who, hart) };
}

function textOf(report: Omit<FaultDescription, "text">, who: string, hart: HartPort): string {
  const { instruction, disassembly, cause, check, register, capability } = report;
  const lines = [`${who}: ${report.causeName}${check === null ? "" : `: ${check} of ${register}`}`];
  const word = instruction === null ? "not readable" : `${hex(instruction)}${disassembly === null ? "" : `  ${disassembly}`}`;
  lines.push(`  pc           ${hex(report.pc)}`, `  instruction  ${word}`);
  if (capability !== null) lines.push(`  ${register!.padEnd(11)}  ${format(capability)}`);
  if (report.address !== report.value || (capability === null && cause !== Cause.IllegalInstruction && cause !== Cause.Breakpoint))
    lines.push(`  address      ${hex(report.address)}`);
  if (register !== "DDC") lines.push(`  DDC          ${format(hart.ddc)}`);
  if (register !== "PCC") lines.push(`  PCC          ${format(hart.pcc)}`);
  for (const line of dumpGeneralRegisters(hart)) lines.push(`  ${line}`);
  return lines.join("\n");
}
