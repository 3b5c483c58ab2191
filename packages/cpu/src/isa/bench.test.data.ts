/** Runs instructions one at a time on a machine, against functions that say what they should give. */
import { expect, test } from "vitest";
import {
  OTYPE_UNSEALED,
  Perm,
  Prot,
  type Capability,
  type ExitCode,
  type HartPort,
  type MachineOptions,
  type MachinePort,
} from "../abi.ts";
import { assembleText } from "../assembler/text.ts";
import { createMachine } from "../machine/machine.ts";

export const s64 = (value: bigint): bigint => BigInt.asIntN(64, value);
export const u64 = (value: bigint): bigint => BigInt.asUintN(64, value);
export const s32 = (value: bigint): bigint => BigInt.asIntN(32, value);

/** Where code and data of a bench stand. */
export const CODE = 0x1_0000;
export const DATA = 0x10_0000;

/** Boundaries, and numbers from a fixed generator. */
export const VALUES: readonly bigint[] = ((): bigint[] => {
  const values = [
    0n,
    1n,
    2n,
    -1n,
    -2n,
    3n,
    7n,
    31n,
    32n,
    33n,
    63n,
    64n,
    0x7fn,
    0x80n,
    0xffn,
    0x7fffn,
    0x8000n,
    0xffffn,
    0x7fffffffn,
    0x80000000n,
    0xffffffffn,
    0x100000000n,
    -0x80000000n,
    -0x80000001n,
    0x7fffffffffffffffn,
    -0x8000000000000000n,
    0x0102030405060708n,
    0x8000000080000000n,
    0x00ff00000000ff00n,
    -0x100000000n,
  ].map(s64);
  let seed = 0x9e3779b97f4a7c15n;
  for (let at = 0; at < 10; at++) {
    seed = u64(seed * 6364136223846793005n + 1442695040888963407n);
    values.push(s64(seed), s64(seed) >> BigInt(at * 6));
  }
  return values;
})();

/** A capability to everything. */
function everything(perms: number): Capability {
  return { tag: true, address: 0n, base: 0n, top: 1n << 64n, perms, otype: OTYPE_UNSEALED, flag: 0 };
}

export class Bench {
  readonly machine: MachinePort;
  readonly hart: HartPort;

  constructor(options: MachineOptions) {
    this.machine = createMachine({ memoryBytes: 4 << 20, ...options });
    this.hart = this.machine.createHart();
    this.machine.protect(CODE, 0x1_0000, Prot.Read | Prot.Execute);
    this.machine.protect(DATA - 4096, 0x1_0000, Prot.Read | Prot.Write);
    this.hart.ddc = everything(Perm.All);
    this.hart.pcc = everything(Perm.All);
  }

  /** Puts a program at {@link CODE}; `writable`: it may change itself. */
  text(text: string, writable = false): void {
    this.machine.protect(CODE, 0x1_0000, Prot.Read | Prot.Execute | (writable ? Prot.Write : 0));
    this.machine.storeRange(CODE, assembleText(text, { origin: CODE }));
  }
  /** Runs from {@link CODE}, or another pc, with these registers set. */
  run(registers: Readonly<Record<number, bigint>> = {}, pc: number = CODE): ExitCode {
    for (const [register, value] of Object.entries(registers)) this.hart.setX(Number(register), value);
    this.hart.pc = pc;
    return this.hart.run(1000);
  }
  /** Integer register, signed. */
  x(register: number): bigint {
    return s64(this.hart.getX(register));
  }
  get pc(): number {
    return this.hart.pc;
  }
  /** Does something while PCC has only these permissions. */
  withPermissions(perms: number, body: () => void): void {
    this.hart.pcc = everything(perms);
    try {
      body();
    } finally {
      this.hart.pcc = everything(Perm.All);
    }
  }
}

type Binary = (a: bigint, b: bigint) => bigint;

/** `name rd, rs1, rs2` for all pairs of {@link VALUES}, and with rd equal to rs1, to rs2, to both. */
export function registerCases(bench: Bench, cases: Readonly<Record<string, Binary>>): void {
  test.each(Object.keys(cases))("%s", (name) => {
    const reference = cases[name]!;
    bench.text(`${name} a0, a1, a2\n${name} a1, a1, a2\n${name} a4, a5, a4\n${name} a6, a6, a6\necall`);
    for (const a of VALUES) {
      for (const b of VALUES) {
        bench.run({ 11: a, 12: b, 14: b, 15: a, 16: a });
        const expected = s64(reference(a, b));
        if (bench.x(10) !== expected || bench.x(11) !== expected || bench.x(14) !== expected) {
          expect(
            [10, 11, 14].map((n) => bench.x(n)),
            `${name} ${a} ${b}`,
          ).toEqual([expected, expected, expected]);
        }
      }
      expect(bench.x(16), `${name} ${a} ${a}`).toBe(s64(reference(a, a)));
    }
  });
}

/** `name rd, rs1, imm` for these immediates and all {@link VALUES}, and with rd equal to rs1. */
export function immediateCases(bench: Bench, immediates: readonly number[], cases: Readonly<Record<string, Binary>>): void {
  test.each(Object.keys(cases))("%s", (name) => {
    for (const immediate of immediates) {
      bench.text(`${name} a0, a1, ${immediate}\n${name} a1, a1, ${immediate}\necall`);
      for (const a of VALUES) {
        bench.run({ 11: a });
        const expected = s64(cases[name]!(a, BigInt(immediate)));
        expect([bench.x(10), bench.x(11)], `${name} ${a} ${immediate}`).toEqual([expected, expected]);
      }
    }
  });
}

/** `name rd, rs1` for all {@link VALUES}, and with rd equal to rs1. */
export function unaryCases(bench: Bench, cases: Readonly<Record<string, (a: bigint) => bigint>>): void {
  test.each(Object.keys(cases))("%s", (name) => {
    bench.text(`${name} a0, a1\n${name} a1, a1\necall`);
    for (const a of VALUES) {
      bench.run({ 11: a });
      const expected = s64(cases[name]!(a));
      expect([bench.x(10), bench.x(11)], `${name} ${a}`).toEqual([expected, expected]);
    }
  });
}
