/** Runs instructions one at a time on a machine, against functions that say what they should give. */
import { expect, test } from "vitest";
import {
  Exit,
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
  run(registers: Readonly<Record<number, bigint>> = {}, pc: number = CODE, fuel = 1000): ExitCode {
    for (const [register, value] of Object.entries(registers)) this.hart.setX(Number(register), value);
    this.hart.pc = pc;
    return this.hart.run(fuel);
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

type Unary = (a: bigint) => bigint;
type Binary = (a: bigint, b: bigint) => bigint;

const BYTES: readonly bigint[] = Array.from({ length: 256 }, (_, at) => BigInt(at - 128));
/** Numbers of all lengths, from a fixed generator. */
const RANDOM: readonly bigint[] = ((): bigint[] => {
  let seed = 0x2545f4914f6cdd1dn;
  return Array.from({ length: 8192 }, (_, at) => {
    seed = u64(seed * 6364136223846793005n + 1442695040888963407n);
    return s64(seed) >> BigInt((at * 7) % 61);
  });
})();
/** All pairs of bytes, and random ones. */
const PAIRS: BigInt64Array = BigInt64Array.from([...BYTES.flatMap((a) => BYTES.flatMap((b) => [a, b])), ...RANDOM]);
const SINGLES: BigInt64Array = BigInt64Array.from([...BYTES, ...RANDOM]);

/** What an instruction should give for all of them; the same for each engine. */
const expected = new Map<string, BigInt64Array>();
function expectedOf(name: string, inputs: BigInt64Array, operands: 1 | 2, reference: Binary): BigInt64Array {
  let results = expected.get(name);
  if (results === undefined) {
    results = new BigInt64Array(inputs.length / operands);
    for (let at = 0; at < results.length; at++) results[at] = reference(inputs[at * operands]!, inputs[at * operands + operands - 1]!);
    expected.set(name, results);
  }
  return results;
}

const PASS = 1024;

/**
 * Runs `body` in a loop of the guest's own, over all inputs: operands are in a3 (and a4), results in a5, a6, a7. So it becomes hot, and
 * registers live across iterations.
 */
function inALoop(bench: Bench, name: string, body: string, inputs: BigInt64Array, operands: 1 | 2, reference: Binary): void {
  const wanted = expectedOf(name, inputs, operands, reference);
  const out = DATA + 8 * operands * PASS;
  bench.text(`
  loop:
    ld a3, 0(a0)
    ${operands === 2 ? "ld a4, 8(a0)" : ""}
    ${body}
    sd a5, 0(a2)
    sd a6, 8(a2)
    sd a7, 16(a2)
    addi a0, a0, ${8 * operands}
    addi a2, a2, 24
    addi a1, a1, -1
    bnez a1, loop
    ecall`);
  for (let first = 0; first < wanted.length; first += PASS) {
    const count = Math.min(PASS, wanted.length - first);
    bench.machine.storeRange(DATA, new Uint8Array(inputs.slice(first * operands, (first + count) * operands).buffer));
    expect(bench.run({ 10: BigInt(DATA), 11: BigInt(count), 12: BigInt(out) }, CODE, 2 * PASS)).toBe(Exit.Ecall);
    const results = new BigInt64Array(bench.machine.readBytes(out, 24 * count).buffer);
    for (let at = 0; at < 3 * count; at++) {
      const index = first + Math.floor(at / 3);
      if (results[at] === wanted[index]) continue;
      const given = inputs.slice(index * operands, (index + 1) * operands).join(", ");
      expect.fail(`${name} ${given}: ${results[at]} instead of ${wanted[index]} in a${5 + (at % 3)}`);
    }
  }
}

/**
 * `name rd, rs1, rs2` for all pairs of {@link VALUES}, and with rd equal to rs1, to rs2, to both; then in a loop for all pairs of bytes
 * and random ones.
 */
export function registerCases(bench: Bench, cases: Readonly<Record<string, Binary>>): void {
  test.each(Object.keys(cases))("%s", (name) => {
    const reference = cases[name]!;
    bench.text(`${name} a0, a1, a2\n${name} a1, a1, a2\n${name} a4, a5, a4\n${name} a6, a6, a6\necall`);
    for (const a of VALUES) {
      for (const b of VALUES) {
        bench.run({ 11: a, 12: b, 14: b, 15: a, 16: a });
        const result = s64(reference(a, b));
        if (bench.x(10) !== result || bench.x(11) !== result || bench.x(14) !== result) {
          expect(
            [10, 11, 14].map((n) => bench.x(n)),
            `${name} ${a} ${b}`,
          ).toEqual([result, result, result]);
        }
      }
      expect(bench.x(16), `${name} ${a} ${a}`).toBe(s64(reference(a, a)));
    }
    inALoop(bench, name, `${name} a5, a3, a4\nmv a6, a3\n${name} a6, a6, a4\nmv a7, a4\n${name} a7, a3, a7`, PAIRS, 2, reference);
  });
}

/** The boundaries of an immediate: least and largest, their neighbours, numbers around 0, each bit alone and all but it. */
export function immediates(low: number, high: number): number[] {
  const bits = Array.from({ length: Math.ceil(Math.log2(high - low + 1)) }, (_, at) => 2 ** at);
  const values = [low, low + 1, -2, -1, 0, 1, 2, high - 1, high, ...bits, ...bits.map((bit) => -bit), ...bits.map((bit) => -1 - bit)];
  return [...new Set(values)].filter((value) => value >= low && value <= high);
}

/** `name rd, rs1, imm` for these immediates and all {@link VALUES}, and with rd equal to rs1. */
export function immediateCases(bench: Bench, list: readonly number[], cases: Readonly<Record<string, Binary>>): void {
  test.each(Object.keys(cases))("%s", (name) => {
    const reference = cases[name]!;
    // All of them in one program: results go to memory.
    const stride = 16;
    const lines = list.map(
      (immediate, at) =>
        `${name} a0, a1, ${immediate}\nmv a2, a1\n${name} a2, a2, ${immediate}\nsd a0, ${stride * at}(a3)\nsd a2, ${stride * at + 8}(a3)`,
    );
    bench.text(`${lines.join("\n")}\necall`);
    for (const a of VALUES) {
      expect(bench.run({ 11: a, 13: BigInt(DATA) })).toBe(Exit.Ecall);
      const results = new BigInt64Array(bench.machine.readBytes(DATA, stride * list.length).buffer);
      for (const [at, immediate] of list.entries()) {
        const result = s64(reference(a, BigInt(immediate)));
        if (results[2 * at] !== result || results[2 * at + 1] !== result)
          expect.fail(`${name} ${a} ${immediate}: ${results[2 * at]} and ${results[2 * at + 1]} instead of ${result}`);
      }
    }
  });
}

/** `name rd, rs1` for all {@link VALUES}, and with rd equal to rs1; then in a loop for all bytes and random numbers. */
export function unaryCases(bench: Bench, cases: Readonly<Record<string, Unary>>): void {
  test.each(Object.keys(cases))("%s", (name) => {
    bench.text(`${name} a0, a1\n${name} a1, a1\necall`);
    for (const a of VALUES) {
      bench.run({ 11: a });
      const result = s64(cases[name]!(a));
      expect([bench.x(10), bench.x(11)], `${name} ${a}`).toEqual([result, result]);
    }
    inALoop(bench, name, `${name} a5, a3\nmv a6, a3\n${name} a6, a6\n${name} a7, a3`, SINGLES, 1, cases[name]!);
  });
}
