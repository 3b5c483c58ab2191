/** What the tests of capability instructions share: a small machine, and running a few instructions on it. */
import { expect } from "vitest";
import type { Capability, HartPort, MachineOptions, MachinePort } from "../abi.ts";
import { Cause, Exit, Perm, Prot } from "../abi.ts";
import * as cap from "../capability/index.ts";
import { createMachine } from "../machine/machine.ts";
import type { Operands } from "./clause.ts";
import { encodingOf, insertField } from "./encoding.ts";
import { allClauses } from "./index.ts";

export const MiB: number = 1024 * 1024;
export const CODE = 0x1_0000;
export const DATA = 0x2_0000;
export const DATA_BYTES = 0x1_0000;
export const RW: number = Perm.Load | Perm.Store | Perm.Global;
export const RWC: number = RW | Perm.LoadCap | Perm.StoreCap | Perm.StoreLocalCap;

/** The word of an instruction. */
export function word(name: string, operands: Partial<Operands> = {}): number {
  const clause = allClauses.find((candidate) => candidate.name === name)!;
  expect(clause, name).toBeDefined();
  const encoding = encodingOf(clause);
  return encoding.fields.reduce(
    (bits, field) => bits | insertField(field, (operands as Record<string, number | undefined>)[field.name] ?? 0),
    encoding.match,
  );
}

/** A machine with a page of code and pages of data, and a hart whose DDC and PCC cover all memory. */
export class Bench {
  readonly machine: MachinePort;
  readonly hart: HartPort;
  readonly all: Capability;
  constructor(options: MachineOptions) {
    this.machine = createMachine({ memoryBytes: MiB, ...options });
    this.hart = this.machine.createHart();
    this.all = cap.root(MiB);
    this.machine.protect(CODE, 0x1000, Prot.Read | Prot.Execute);
    this.machine.protect(DATA, DATA_BYTES, Prot.Read | Prot.Write);
    this.reset();
  }
  reset(): void {
    this.hart.ddc = this.all;
    this.hart.pcc = this.all;
    for (let i = 1; i < 32; i += 1) this.hart.setX(i, 0n);
  }
  /** Puts the instructions at CODE, with an ecall behind them, and runs them. */
  run(...words: number[]): number {
    const code = new DataView(new ArrayBuffer(4 * words.length + 4));
    [...words, word("ecall")].forEach((bits, index) => code.setInt32(4 * index, bits, true));
    this.machine.storeRange(CODE, new Uint8Array(code.buffer));
    this.hart.pc = CODE;
    return this.hart.run(1000);
  }
  /** Runs one instruction that must end well. */
  one(name: string, operands: Partial<Operands>): void {
    expect(this.run(word(name, operands)), name).toBe(Exit.Ecall);
  }
  /** Runs one instruction that must raise this CHERI exception in this register. */
  refuses(name: string, operands: Partial<Operands>, register: number, code: number): void {
    expect(this.run(word(name, operands)), name).toBe(Exit.Trap);
    expect({ cause: this.hart.trapCause, value: this.hart.trapValue, pc: this.hart.pc }).toEqual({
      cause: Cause.Cheri,
      value: (register << 5) | code,
      pc: CODE,
    });
  }
  /** A capability over data memory. */
  data(offset = 0, length: number = DATA_BYTES, perms: number = RWC): Capability {
    return cap.derive(this.all, DATA + offset, length, perms);
  }
}

/** An unsigned 64-bit number. */
export const u64 = (value: bigint): bigint => BigInt.asUintN(64, value);
