/** What tests of machine mode share: a bare-metal program on a small machine of the engine under test. */
import { expect } from "vitest";
import { Exit, Prot, type MachineOptions } from "../abi.ts";
import { Assembler, assembleInto } from "../assembler/index.ts";
import type { PrivilegeLevel } from "../isa/status.ts";
import { State } from "./layout.ts";
import { createMachine, type Machine } from "./machine.ts";
import { PrivilegedHart } from "./privileged.ts";

/** RAM, all of which may be read, written and executed; the program starts at its beginning. */
export const RAM = 0x1_0000;
export const RAM_BYTES = 0x2_0000;
/** Nothing is mapped here. */
export const UNMAPPED = 0x8_0000;

export interface Booted {
  readonly machine: Machine;
  readonly cpu: PrivilegedHart;
  /** Absolute address of a label. */
  label(name: string): number;
  readonly x: (register: number) => bigint;
  /** Runs until control is at a label. */
  runTo(name: string): void;
  /** Goes to a label in a privilege, whatever happened before. */
  start(name: string, privilege?: PrivilegeLevel): void;
}

/** Assembles a program at {@link RAM} and resets a hart to its beginning. With `machine` that one is used again. */
export function boot(text: string, options: MachineOptions & { readonly machine?: Machine } = {}): Booted {
  const { machine: given, ...rest } = options;
  const machine = given ?? createMachine({ memoryBytes: 1 << 20, privileged: true, ...rest });
  machine.protect(RAM, RAM_BYTES, Prot.Read | Prot.Write | Prot.Execute);
  const assembler = new Assembler({ origin: RAM });
  assembleInto(assembler, text);
  machine.storeRange(RAM, assembler.assemble());
  const cpu = new PrivilegedHart(machine, RAM);
  const label = (name: string): number => assembler.addressOf(name);
  return {
    machine,
    cpu,
    label,
    x: (register) => cpu.hart.getX(register),
    runTo(name) {
      const target = BigInt(label(name));
      for (let round = 0; round < 1000; round++) {
        if (cpu.address === target) return;
        expect(cpu.run(1)).toBe(Exit.Fuel);
      }
      const { hart, address, lastTrap } = cpu;
      expect({ address: `0x${address.toString(16)}`, instructions: hart.instructions, lastTrap }).toBe(`at ${name}`);
    },
    start(name, privilege = 3) {
      machine.view.setInt32(cpu.hart.base + State.privilege, privilege, true);
      cpu.hart.pc = label(name);
    },
  };
}

/** A handler that keeps what it was told and stops: t0 cause, t1 value, t2 the exception's pc. */
export const HANDLER = `
  .balign 4
handler:
  csrr t0, mcause
  csrr t1, mtval
  csrr t2, mepc
caught: j caught
`;
