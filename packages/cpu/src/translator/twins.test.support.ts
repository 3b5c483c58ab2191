/** Programs run by the interpreter and by another engine side by side: all of the state must be equal wherever both stop. */
import { Exit, PAGE_SIZE, Perm, Prot, type EngineName, type ExitCode, type MachineOptions } from "../abi.ts";
import { Assembler, assembleInto } from "../assembler/index.ts";
import * as capability from "../capability/index.ts";
import type { Hart } from "../machine/hart.ts";
import { State, TAGS, type StateField } from "../machine/layout.ts";
import { createMachine, type Machine } from "../machine/machine.ts";
import type { Translator } from "./translator.ts";

/** A way to translate: when code becomes hot, or before it runs. */
export interface Way {
  readonly engine: EngineName;
  readonly translateAfter?: number;
  readonly specialiseAfter?: number;
}
export const WAYS: readonly (readonly [string, Way])[] = [
  ["eager", { engine: "eager" }],
  ["after 1 visit", { engine: "translator", translateAfter: 1 }],
  ["after 20 visits", { engine: "translator", translateAfter: 20 }],
  ["for one place soon", { engine: "translator", translateAfter: 2, specialiseAfter: 150 }],
];

/** The programs' region, by absolute address; offsets in it are what programs see. */
export const BASE = 0x4_0000;
export const LENGTH = 0x4_0000;
export const CODE = 0x1000;
export const DATA = 0x2_0000;
export const DATA_BYTES = 0x8000;
const MIB = 1 << 20;

/** Fields that programs and their monitors can see. */
const SEEN: readonly StateField[] = ["pc", "frm", "fflags", "reservation", "instret", "capRegs", "trapPending"];

export interface Side {
  readonly machine: Machine;
  readonly hart: Hart;
}
export const root: ReturnType<typeof capability.root> = capability.root();
export const region = (base: number = BASE, length: number = LENGTH, perms: number = Perm.All): typeof root =>
  capability.derive(root, base, length, perms);

/** Bytes of a program at an offset, and where its labels are. */
export function assemble(text: string, at: number = CODE): { readonly bytes: Uint8Array; readonly label: (name: string) => number } {
  const assembler = new Assembler({ origin: at });
  assembleInto(assembler, text);
  return { bytes: assembler.assemble(), label: (name) => assembler.addressOf(name) };
}

function side(options: MachineOptions): Side {
  const machine = createMachine({ memoryBytes: MIB, ...options });
  machine.protect(BASE + CODE, DATA - CODE, Prot.Read | Prot.Write | Prot.Execute);
  machine.protect(BASE + DATA, DATA_BYTES, Prot.Read | Prot.Write);
  const hart = machine.createHart();
  hart.ddc = region();
  hart.pcc = region();
  hart.pc = CODE;
  return { machine, hart };
}

/** What can be seen of a hart, as text. */
function describe({ hart, machine }: Side, code: ExitCode): string[] {
  const { view } = machine;
  const out = [`exit ${code}`, `fuel ${hart.fuelLeft}`];
  for (const field of SEEN) out.push(`${field} ${view.getInt32(hart.base + State[field], true).toString(16)}`);
  out.push(`instructions ${hart.instructions} ${machine.instructions}`);
  if (code === Exit.Trap) out.push(`cause ${hart.trapCause} value ${hart.trapValue.toString(16)}`);
  for (let register = 1; register < 32; register++) out.push(`x${register} ${hart.getX(register).toString(16)}`);
  for (let register = 0; register < 32; register++) out.push(`f${register} ${hart.getF(register).toString(16)}`);
  if (view.getInt32(hart.base + State.capRegs, true) !== 0)
    for (let register = 1; register < 32; register++) out.push(`c${register} ${capability.format(hart.getCapability(register))}`);
  out.push(`ddc ${capability.format(hart.ddc)}`, `pcc ${capability.format(hart.pcc)}`);
  return out;
}

export class Twins {
  readonly interpreted: Side;
  readonly translated: Side;
  readonly both: readonly [Side, Side];
  /** Memory that is compared. */
  from: number = BASE;
  bytes: number = LENGTH;

  constructor(way: Way, options: MachineOptions = {}) {
    this.interpreted = side({ ...options, engine: "interpreter" });
    this.translated = side({ ...options, ...way });
    this.both = [this.interpreted, this.translated];
  }
  get translator(): Translator {
    return this.translated.machine.translator!;
  }
  /** Does the same to both. */
  each(action: (side: Side) => void): void {
    this.both.forEach(action);
  }
  /** Writes a program at an offset. */
  put(text: string, at: number = CODE): (name: string) => number {
    const { bytes, label } = assemble(text, at);
    this.each(({ machine }) => machine.storeRange(BASE + at, bytes));
    return label;
  }
  setX(register: number, value: number | bigint): void {
    this.each(({ hart }) => hart.setX(register, BigInt(value)));
  }
  start(pc: number = CODE): void {
    this.each(({ hart }) => {
      hart.pc = pc;
    });
  }

  /** Runs both once. Error with the first difference. */
  run(fuel: number): ExitCode {
    const { interpreted, translated } = this;
    const expected = interpreted.hart.run(fuel);
    const code = translated.hart.run(fuel);
    this.compare(expected, code);
    return expected;
  }
  /** Error unless all that can be seen is equal. */
  compare(expected: ExitCode, code: ExitCode): void {
    const { interpreted, translated } = this;
    if (!this.#sameHart(expected, code)) {
      const [a, b] = [describe(interpreted, expected), describe(translated, code)];
      const different = a.flatMap((line, at) => (line === b[at] ? [] : [`${line} | ${b[at]}`]));
      throw new Error(`interpreter | translated, at ${interpreted.hart.pc.toString(16)}: ${different.join("; ")}`);
    }
    const [a, b] = this.both.map(({ machine }) => machine.lendBytes(this.from, this.bytes)) as [Uint8Array, Uint8Array];
    if (Buffer.compare(a, b) !== 0) {
      const at = a.findIndex((byte, index) => byte !== b[index]);
      throw new Error(`memory at ${(this.from + at).toString(16)}: ${a[at]} | ${b[at]}`);
    }
    const [x, y] = this.both.map(({ machine }) => new Uint8Array(machine.view.buffer, TAGS + this.from / 16, this.bytes / 16)) as [
      Uint8Array,
      Uint8Array,
    ];
    if (Buffer.compare(x, y) !== 0) throw new Error(`tags at granule ${x.findIndex((tag, index) => tag !== y[index])}`);
  }
  #sameHart(expected: ExitCode, code: ExitCode): boolean {
    const [a, b] = [this.interpreted, this.translated];
    if (expected !== code || a.hart.fuelLeft !== b.hart.fuelLeft) return false;
    if (Buffer.compare(a.hart.saveRegisters(), b.hart.saveRegisters()) !== 0) return false;
    for (const field of SEEN) {
      if (a.machine.view.getInt32(a.hart.base + State[field], true) !== b.machine.view.getInt32(b.hart.base + State[field], true))
        return false;
    }
    if (a.hart.instructions !== b.hart.instructions || a.machine.instructions !== b.machine.instructions) return false;
    if (expected === Exit.Trap && (a.hart.trapCause !== b.hart.trapCause || a.hart.trapValue !== b.hart.trapValue)) return false;
    if (a.machine.view.getInt32(a.hart.base + State.capRegs, true) === 0) return true;
    return describe(a, expected).join() === describe(b, code).join();
  }
  /** Runs on until anything but lack of fuel, comparing at each stop. Error after more stops than `stops`. */
  finish(fuel = 100_000, stops = 100_000): ExitCode {
    for (let stop = 0; stop < stops; stop++) {
      const code = this.run(fuel);
      if (code !== Exit.Fuel) return code;
    }
    throw new Error(`still running after ${stops} times ${fuel}`);
  }
}

/** Slices of fuel in which programs are run: from about 64 on translated code takes part. */
export const FUELS: readonly number[] = [1_000_000, 1, 3, 65, 66, 67, 71, 98, 1000];

export interface Setup extends MachineOptions {
  readonly at?: number;
  /** Before each run. */
  readonly prepare?: (side: Side, label: (name: string) => number) => void;
  /** How the program ends; an ecall unless given. */
  readonly exit?: ExitCode;
  readonly fuels?: readonly number[];
  /** On these instead of new ones. */
  readonly on?: Twins;
}

/** Runs a program from its start in slices of each size, several times on the same machine, so that it gets hot. Returns the twins as the last run left them. */
export function same(way: Way, text: string, setup: Setup = {}): Twins {
  const { at = CODE, prepare, exit = Exit.Ecall, fuels = FUELS, on, ...options } = setup;
  const program = assemble(text, at);
  const twins = on ?? new Twins(way, options);
  for (const fuel of fuels) {
    for (let turn = 0; turn < 2; turn++) {
      twins.each((each) => {
        const { machine, hart } = each;
        if (Buffer.compare(machine.lendBytes(BASE + at, program.bytes.length), program.bytes) !== 0)
          machine.storeRange(BASE + at, program.bytes);
        machine.zeroRange(BASE + DATA, DATA_BYTES);
        for (let register = 1; register < 32; register++) hart.setInt(register, 0);
        hart.setInt(2, DATA + DATA_BYTES / 2);
        hart.setInt(10, DATA);
        hart.fcsr = 0;
        hart.pc = at;
        prepare?.(each, program.label);
      });
      const code = twins.finish(fuel);
      if (code !== exit)
        throw new Error(`exit ${code} at ${twins.interpreted.hart.pc.toString(16)}, cause ${twins.interpreted.hart.trapCause}`);
    }
  }
  return twins;
}

export const PAGE: number = PAGE_SIZE;
