/** Runs one program alone: what `cvm-cpu run` does. A static Linux program has no operating system but write and exit. */
import { Cause, Exit, Perm, Prot, type EngineName } from "../abi.ts";
import { derive, root } from "../capability/index.ts";
import { dumpRegisters } from "../machine/dump.ts";
import { createMachine, type Machine } from "../machine/machine.ts";
import { isBareMetal, runBareMetal } from "./bare-metal.ts";
import { loadElf, parseElf } from "./elf.ts";

const MIB = 1 << 20;
const BASE = 4 * MIB;
const LENGTH = 64 * MIB;
const STACK = MIB;
const FUEL = 10_000_000;
/** Linux system calls of riscv64. */
const SYS_WRITE = 64;
const SYS_EXIT = 93;
const SYS_EXIT_GROUP = 94;
const ENOSYS = 38;
const EFAULT = 14;

/** Instructions after which a program counts as one that never ends, unless the caller says how many. */
export const DEFAULT_MAX_INSTRUCTIONS = 10_000_000_000;

export interface RunOptions {
  /** Gets what the program writes to descriptors 1 and 2. */
  readonly write: (descriptor: number, bytes: Uint8Array) => void;
  /** The run ends with a problem when more instructions than this have been run; it may be some thousands later. */
  readonly maxInstructions: number;
  readonly engine?: EngineName;
  /** Called with the machine when the program has ended. */
  readonly ended?: (machine: Machine) => void;
}

export interface RunResult {
  /** 0 … 255. */
  readonly status: number;
  readonly instructions: number;
  /** It ran in machine mode: status 0 is a pass. */
  readonly bareMetal: boolean;
  /** What {@link dumpRegisters} says at the end; where an exception ended a program, at that instruction. */
  readonly registers: readonly string[];
  /** What went wrong, if it did not end by exit. */
  readonly problem?: string;
}

/**
 * Runs the program `elf`: one with a symbol `tohost`, or at 0x80000000, as {@link runBareMetal} does, any other one until it exits or an exception ends it.
 * RangeError when the file cannot be loaded.
 */
export function runElf(
  elf: Uint8Array,
  write: (descriptor: number, bytes: Uint8Array) => void,
  options: Partial<Omit<RunOptions, "write">> = {},
): RunResult {
  const all: RunOptions = { maxInstructions: DEFAULT_MAX_INSTRUCTIONS, ...options, write };
  return isBareMetal(parseElf(elf)) ? runBareMetal(elf, all) : runProgram(elf, all);
}

function runProgram(elf: Uint8Array, { write, maxInstructions, engine, ended }: RunOptions): RunResult {
  const machine = createMachine({ memoryBytes: BASE + LENGTH, ...(engine === undefined ? {} : { engine }) });
  const { entry } = loadElf(machine, elf, BASE, LENGTH - STACK);
  machine.protect(BASE + LENGTH - STACK, STACK, Prot.Read | Prot.Write);
  const hart = machine.createHart();
  const region = derive(root(), BASE, LENGTH, Perm.Global | Perm.Execute | Perm.Load | Perm.Store);
  hart.ddc = region;
  hart.pcc = region;
  hart.pc = entry;
  // argc, argv, envp and the auxiliary vector: all empty.
  hart.setInt(2, LENGTH - 64);
  const end = (status: number, problem?: string): RunResult => {
    ended?.(machine);
    return {
      status,
      instructions: hart.instructions,
      bareMetal: false,
      registers: dumpRegisters(hart),
      ...(problem === undefined ? {} : { problem }),
    };
  };
  for (;;) {
    const code = hart.run(Math.max(1, Math.min(FUEL, maxInstructions - hart.instructions)));
    if (hart.instructions > maxInstructions) return end(1, `not done after ${maxInstructions} instructions`);
    if (code === Exit.Fuel) continue;
    if (code === Exit.Trap) {
      const cause = Object.entries(Cause).find(([, number]) => number === hart.trapCause)?.[0] ?? String(hart.trapCause);
      return end(139, `${cause} at pc 0x${hart.pc.toString(16)}, value 0x${hart.trapValue.toString(16)}`);
    }
    const [a0, a1, a2] = [hart.getInt(10), hart.getInt(11), hart.getInt(12)];
    let result = -ENOSYS;
    switch (hart.getInt(17)) {
      case SYS_EXIT:
      case SYS_EXIT_GROUP:
        return end(a0 & 0xff);
      case SYS_WRITE:
        if (a1 >= 0 && a2 >= 0 && a1 + a2 <= LENGTH && machine.allows(BASE + a1, a2, Prot.Read)) {
          write(a0, machine.readBytes(BASE + a1, a2));
          result = a2;
        } else result = -EFAULT;
    }
    hart.setInt(10, result);
    hart.pc += 4;
  }
}
