/** Runs one static program on a bare machine: what `cvm-cpu run` does. There is no operating system but write and exit. */
import { Cause, Exit, Perm, Prot, type MachinePort } from "../abi.ts";
import { derive, root } from "../capability/index.ts";
import { createMachine } from "../machine/machine.ts";
import { loadElf } from "./elf.ts";

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

export interface RunResult {
  /** 0 … 255. */
  readonly status: number;
  readonly instructions: number;
  /** What went wrong, if it did not end by exit. */
  readonly problem?: string;
}

/**
 * Runs the program `elf` until it exits or an exception ends it. `write` gets what it writes to descriptors 1 and 2.
 * RangeError when the file cannot be loaded.
 */
export function runElf(elf: Uint8Array, write: (descriptor: number, bytes: Uint8Array) => void): RunResult {
  const machine: MachinePort = createMachine({ memoryBytes: BASE + LENGTH });
  const { entry } = loadElf(machine, elf, BASE, LENGTH - STACK);
  machine.protect(BASE + LENGTH - STACK, STACK, Prot.Read | Prot.Write);
  const hart = machine.createHart();
  const region = derive(root(), BASE, LENGTH, Perm.Global | Perm.Execute | Perm.Load | Perm.Store);
  hart.ddc = region;
  hart.pcc = region;
  hart.pc = entry;
  // argc, argv, envp and the auxiliary vector: all empty.
  hart.setInt(2, LENGTH - 64);
  for (;;) {
    const code = hart.run(FUEL);
    if (code === Exit.Fuel) continue;
    if (code === Exit.Trap) {
      const cause = Object.entries(Cause).find(([, number]) => number === hart.trapCause)?.[0] ?? String(hart.trapCause);
      return {
        status: 139,
        instructions: hart.instructions,
        problem: `${cause} at pc 0x${hart.pc.toString(16)}, value 0x${hart.trapValue.toString(16)}`,
      };
    }
    const [a0, a1, a2] = [hart.getInt(10), hart.getInt(11), hart.getInt(12)];
    let result = -ENOSYS;
    switch (hart.getInt(17)) {
      case SYS_EXIT:
      case SYS_EXIT_GROUP:
        return { status: a0 & 0xff, instructions: hart.instructions };
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
