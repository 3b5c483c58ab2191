import {
  allClauses,
  capability as c,
  capCheckName,
  capRegisterName,
  createDecoder,
  disassemble,
  dumpGeneralRegisters,
  intNames,
  trapName,
} from "@cvm/cpu";
import type { Capability, HartPort, MachinePort } from "@cvm/cpu/abi";
import { CapReg, Cause } from "@cvm/cpu/abi";
import { OUT_OF_MEMORY } from "./abi.ts";
import type { Compartment } from "./compartment.ts";
import type { Process, Thread } from "./process.ts";

/** Text of an instruction; `pc` is its offset, for targets of branches; `mode` is 1 in capability mode. */
export type Disassemble = (word: number, pc: number, mode: 0 | 1) => string;

/** All that is known about a fault. */
export interface FaultReport {
  readonly cvm: string;
  readonly process: number;
  readonly thread: number;
  /** Offset in the process's region. */
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
  readonly text: string;
}

/** The disassembler of the machine's own instructions. */
export function createDisassembler(): Disassemble {
  const decoder = createDecoder(allClauses);
  return (word, pc, mode) => disassemble(decoder, word, pc, mode);
}

function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}

/** The instruction at the pc, if it lies in the process's own region and its pages are mapped. */
function instructionAt(machine: MachinePort, hart: HartPort, process: Process): number | null {
  const { base, length } = process.region;
  const at = Number(hart.pcc.base) + hart.pc;
  const inside = (bytes: number): boolean => at >= base && at + bytes <= base + length && machine.allows(at, bytes, 0);
  if (!inside(2)) return null;
  const low = machine.readU8(at) | (machine.readU8(at + 1) << 8);
  if ((low & 3) !== 3) return low;
  return inside(4) ? machine.readU32(at) >>> 0 : null;
}

/** Cause and value of a fault; by default those of the hart's last trap. */
export interface Trap {
  readonly cause: number;
  readonly value: number;
}

/** The trap value as the program knows it: an address becomes an offset in the region, so that the region's place stays unknown to it. */
function guestValue({ cause, value }: Trap, { base, length }: { readonly base: number; readonly length: number }): number {
  if (cause === Cause.IllegalInstruction || cause === Cause.Cheri) return value;
  return value >= base && value < base + length ? value - base : 0;
}

/** Everything about a fault of a thread that stands at the faulting instruction. */
export function reportFault(compartment: Compartment, thread: Thread, disassemble: Disassemble | undefined, trap: Trap): FaultReport {
  const { hart, process } = thread;
  const { cause } = trap;
  const value = guestValue(trap, process.region);
  const instruction = instructionAt(compartment.host.machine, hart, process);
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
  let faulted: Capability | null = null;
  if (cause === Cause.Cheri) {
    const number = Math.floor(value / 32) % 64;
    check = capCheckName(value % 32);
    register = capRegisterName(number);
    if (number === CapReg.Ddc) address = Number(BigInt.asUintN(64, BigInt(hart.trapAddress) - BigInt(process.region.base)));
    faulted = number === CapReg.Pcc ? hart.pcc : number === CapReg.Ddc ? hart.ddc : number < 32 ? hart.getCapability(number) : null;
  }
  const registers = intNames.map((_, i) => (i === 0 ? 0n : BigInt.asUintN(64, hart.getX(i))));
  const report = {
    cvm: compartment.name,
    process: process.id,
    thread: thread.id,
    pc: hart.pc,
    instruction,
    disassembly,
    cause,
    causeName: cause === OUT_OF_MEMORY ? "the memory of the cVM is used up" : trapName(cause),
    value,
    address,
    check,
    register,
    capability: faulted,
    registers,
  };
  return { ...report, text: textOf(report, hart) };
}

function textOf(report: Omit<FaultReport, "text">, hart: HartPort): string {
  const { instruction, disassembly, cause, check, register, capability } = report;
  const lines = [
    `cVM "${report.cvm}", process ${report.process}, thread ${report.thread}: ${report.causeName}${check === null ? "" : `: ${check} of ${register}`}`,
  ];
  const word = instruction === null ? "not readable" : `${hex(instruction)}${disassembly === null ? "" : `  ${disassembly}`}`;
  lines.push(`  pc           ${hex(report.pc)}`, `  instruction  ${word}`);
  if (capability !== null) lines.push(`  ${register!.padEnd(11)}  ${c.format(capability)}`);
  if (report.address !== report.value || (capability === null && cause !== Cause.IllegalInstruction && cause !== Cause.Breakpoint))
    lines.push(`  address      ${hex(report.address)}`);
  if (register !== "DDC") lines.push(`  DDC          ${c.format(hart.ddc)}`);
  if (register !== "PCC") lines.push(`  PCC          ${c.format(hart.pcc)}`);
  for (const line of dumpGeneralRegisters(hart)) lines.push(`  ${line}`);
  return lines.join("\n");
}
