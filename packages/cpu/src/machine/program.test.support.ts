/** What tests of a machine's behaviour share: a program in a region of its own, on a machine of the engine under test. */
import { expect } from "vitest";
import { Exit, Perm, Prot, type Capability, type EngineName, type HartPort, type MachineOptions, type MachinePort } from "../abi.ts";
import { Assembler, assembleInto } from "../assembler/index.ts";
import * as capability from "../capability/index.ts";
import type { Interpreter } from "../interpreter/interpreter.ts";
import { createMachine } from "./machine.ts";

/** The program's region; offsets in it are what the program sees. */
export const BASE = 0x4_0000;
export const LENGTH = 0x4_0000;
export const CODE = 0x1000;
export const DATA = 0x1_0000;
export const DATA_END = 0x2_0000;
/** Trap value of a CHERI exception. */
export const CHERI = (register: number, cause: number): number => (register << 5) | cause;

export interface Setup extends MachineOptions {
  readonly machine?: MachinePort;
  readonly interpreter?: Interpreter;
  readonly ddc?: Capability;
  readonly pcc?: Capability;
  /** Offset of the code. */
  readonly at?: number;
}
export interface Program {
  readonly machine: MachinePort;
  readonly hart: HartPort;
  /** Offset of a label. */
  label(name: string): number;
  /** Runs until anything but lack of fuel. */
  run(): number;
}

export const root: Capability = capability.root();
/** A capability to the region, or to another range. */
export const region = (perms: number = Perm.All, base: number = BASE, length: number = LENGTH): Capability =>
  capability.derive(root, base, length, perms);

/** A machine whose region allows everything on every page. */
export function openMachine(engine: EngineName): MachinePort {
  const machine = createMachine({ engine, memoryBytes: 1 << 20 });
  machine.protect(BASE, LENGTH, Prot.Read | Prot.Write | Prot.Execute);
  return machine;
}

/** Assembles and loads a program with a hart of its own. Code pages are readable, writable and executable, data pages readable and writable. */
export function load(text: string, setup: Setup): Program {
  const machine = setup.machine ?? createMachine({ memoryBytes: 1 << 20, ...setup }, setup.interpreter);
  if (setup.machine === undefined) {
    machine.protect(BASE + CODE, 0x4000, Prot.Read | Prot.Write | Prot.Execute);
    machine.protect(BASE + DATA, DATA_END - DATA, Prot.Read | Prot.Write);
  }
  const at = setup.at ?? CODE;
  const assembler = new Assembler({ origin: at });
  assembleInto(assembler, text);
  machine.storeRange(BASE + at, assembler.assemble());
  const hart = machine.createHart();
  hart.ddc = setup.ddc ?? region();
  hart.pcc = setup.pcc ?? region();
  hart.pc = at;
  const run = (): number => {
    for (;;) {
      const code = hart.run(1000);
      if (code !== Exit.Fuel) return code;
    }
  };
  return { machine, hart, label: (name) => assembler.addressOf(name), run };
}
/** Runs to a trap at a label. */
export function expectTrap(program: Program, at: string, cause: number, value?: number): void {
  expect(program.run()).toBe(Exit.Trap);
  expect(program.hart.pc).toBe(program.label(at));
  expect(program.hart.trapCause).toBe(cause);
  if (value !== undefined) expect(program.hart.trapValue.toString(16)).toBe(value.toString(16));
}
/** Runs to an ecall. */
export function expectEcall(program: Program): void {
  const code = program.run();
  const { trapCause, trapValue, pc } = program.hart;
  expect({ code, ...(code === Exit.Trap ? { trapCause, trapValue, pc } : {}) }).toEqual({ code: Exit.Ecall });
}
