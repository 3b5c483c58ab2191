import { describe, expect, test } from "vitest";
import { Cause, Exit, OTYPE_UNSEALED, Perm, Prot, type Capability, type HartPort, type MachinePort } from "../abi.ts";
import { assembleText } from "../assembler/text.ts";
import { ENGINES } from "../engines.test.support.ts";
import { createMachine } from "../machine/machine.ts";
import { s64, u64 } from "./bench.test.support.ts";

const MIB = 1 << 20;
/** Where the instruction stands: the middle of a range in which every target of a jump lies. */
const HERE = 3 * MIB + 0x800;
const EBREAK = Uint8Array.of(0x02, 0x90);
const everything: Capability = { tag: true, address: 0n, base: 0n, top: 1n << 64n, perms: Perm.All, otype: OTYPE_UNSEALED, flag: 0 };

/** Even distances of `bits` bits: least, largest, their neighbours, near ones, each bit alone and all but it. */
function distances(bits: number): number[] {
  const low = -(2 ** (bits - 1));
  const powers = Array.from({ length: bits - 2 }, (_, at) => 2 ** (at + 1));
  const all = [
    low,
    low + 2,
    -4,
    -2,
    2,
    4,
    6,
    8,
    -low - 4,
    -low - 2,
    ...powers,
    ...powers.map((bit) => -bit),
    ...powers.map((bit) => -2 - bit),
  ];
  return [...new Set(all)].filter((value) => value >= low && value < -low);
}

describe.each(ENGINES)("%s", (engine) => {
  describe.each(["int", "cap"] as const)("%s mode", (mode) => {
    const machine: MachinePort = createMachine({ engine, memoryBytes: 8 * MIB });
    machine.protect(MIB, 4 * MIB, Prot.Read | Prot.Execute);
    const hart: HartPort = machine.createHart();
    hart.ddc = everything;
    hart.pcc = { ...everything, flag: mode === "cap" ? 1 : 0 };

    /** Runs one instruction; marks stop at the instruction behind it and at the target. Gives the pc at which it stopped. */
    function go(text: string, target: number, registers: Readonly<Record<number, bigint>>, length: number): number {
      machine.storeRange(HERE + length, EBREAK);
      machine.storeRange(target, EBREAK);
      machine.storeRange(HERE, assembleText(text, { origin: HERE, mode }));
      for (const [register, value] of Object.entries(registers)) hart.setX(Number(register), value);
      hart.pc = HERE;
      expect(hart.run(5), text).toBe(Exit.Trap);
      expect(hart.trapCause).toBe(Cause.Breakpoint);
      const stopped = hart.pc;
      machine.zeroRange(target, 2);
      return stopped;
    }

    const BRANCHES: Readonly<Record<string, (a: bigint, b: bigint) => boolean>> = {
      beq: (a, b) => a === b,
      bne: (a, b) => a !== b,
      blt: (a, b) => a < b,
      bge: (a, b) => a >= b,
      bltu: (a, b) => u64(a) < u64(b),
      bgeu: (a, b) => u64(a) >= u64(b),
    };
    const OPERANDS: readonly [bigint, bigint][] = [
      [0n, 0n],
      [1n, 2n],
      [2n, 1n],
      [-1n, 1n],
      [1n, -1n],
      [s64(1n << 63n), (1n << 63n) - 1n],
      [1n << 32n, 0n],
    ];
    test.each(Object.keys(BRANCHES))("%s, taken and not, at every boundary of the distance", (name) => {
      for (const distance of distances(13)) {
        if (distance === 2) continue; // within the instruction
        for (const [a, b] of OPERANDS) {
          const target = HERE + distance;
          const stopped = go(`${name} a1, a2, ${target}`, target, { 11: a, 12: b }, 4);
          expect(stopped, `${name} ${a} ${b} by ${distance}`).toBe(BRANCHES[name]!(a, b) ? target : HERE + 4);
        }
      }
    });
    test.each(["c.beqz", "c.bnez"])("%s, taken and not, at every boundary of the distance", (name) => {
      for (const distance of distances(9)) {
        for (const value of [0n, 1n, 1n << 32n, s64(1n << 63n)]) {
          const target = HERE + distance;
          const stopped = go(`${name} a1, ${target}`, target, { 11: value }, 2);
          expect(stopped, `${name} ${value} by ${distance}`).toBe((value === 0n) === (name === "c.beqz") ? target : HERE + 2);
        }
      }
    });
    test("a branch to itself uses fuel, not taken it does not", () => {
      for (const [text, value, exit] of [
        ["beq a1, zero, .", 0n, Exit.Fuel],
        ["beq a1, zero, .", 1n, Exit.Trap],
        ["c.bnez a1, .", 1n, Exit.Fuel],
        ["c.j .", 0n, Exit.Fuel],
      ] as const) {
        const code = assembleText(text, { origin: HERE, mode });
        machine.storeRange(HERE + code.length, EBREAK);
        machine.storeRange(HERE, code);
        hart.setX(11, value);
        hart.pc = HERE;
        expect(hart.run(5), text).toBe(exit);
        expect(hart.pc).toBe(exit === Exit.Fuel ? HERE : HERE + code.length);
      }
    });

    const zero = mode === "cap" ? "cnull" : "zero";
    const t0 = mode === "cap" ? "ct0" : "t0";
    test("jal reaches 1 MiB both ways and links", () => {
      for (const distance of distances(21)) {
        if (distance === 2) continue;
        const target = HERE + distance;
        expect(go(`jal ${t0}, ${target}`, target, { 5: 7n }, 4), String(distance)).toBe(target);
        expect(hart.getInt(5)).toBe(HERE + 4);
        expect(go(`jal ${zero}, ${target}`, target, {}, 4), String(distance)).toBe(target);
      }
    });
    test("c.j reaches 2 KiB both ways", () => {
      for (const distance of distances(12))
        expect(go(`c.j ${HERE + distance}`, HERE + distance, {}, 2), String(distance)).toBe(HERE + distance);
    });

    test("jalr: every boundary of the immediate, bit 0 of the sum cleared, rd may be rs1", () => {
      const bits = Array.from({ length: 11 }, (_, at) => 2 ** at);
      const offsets = [-2048, -2047, -1, 0, 1, 2046, 2047, ...bits, ...bits.map((bit) => -bit)];
      for (const offset of offsets) {
        for (const odd of mode === "cap" ? [0] : [0, 1]) {
          const target = HERE + 0x4000;
          const from = BigInt(target - offset + odd);
          // An odd sum has its lowest bit cleared.
          const lands = target + odd - ((target + odd) % 2);
          if (mode === "cap") {
            for (const text of ["cjalr ct0, $(ca1)", "cjalr ca1, $(ca1)", "cjalr cnull, $(ca1)"]) {
              hart.setCapability(11, { ...everything, address: from, flag: 1 });
              expect(go(text.replace("$", String(offset)), target, { 5: 7n }, 4), `${text} ${offset}`).toBe(lands);
              const link = text.includes("ct0") ? 5 : text.includes("ca1,") ? 11 : 0;
              expect(hart.getInt(link)).toBe(link === 0 ? 0 : HERE + 4);
            }
            continue;
          }
          for (const [text, link] of [
            ["jalr t0, $(a1)", 5],
            ["jalr a1, $(a1)", 11],
            ["jalr zero, $(a1)", 0],
          ] as const) {
            expect(go(text.replace("$", String(offset)), lands, { 5: 7n, 11: from }, 4), `${text} ${offset} ${odd}`).toBe(lands);
            expect(hart.getInt(link)).toBe(link === 0 ? 0 : HERE + 4);
          }
        }
      }
    });
    test("compressed jumps through a register", () => {
      const target = HERE + 0x1000;
      for (const register of [1, 5, 11, 31]) {
        for (const name of ["jr", "jalr"]) {
          const text = mode === "cap" ? `c.c${name} c${register}` : `c.${name} x${register}`;
          if (mode === "cap") hart.setCapability(register, { ...everything, address: BigInt(target), flag: 1 });
          expect(go(text, target, mode === "cap" ? {} : { [register]: BigInt(target) }, 2), text).toBe(target);
          if (name === "jalr") expect(hart.getInt(1)).toBe(HERE + 2);
        }
      }
    });
    if (mode === "int")
      test("a sum beyond 2^64 wraps around", () => {
        machine.storeRange(HERE, assembleText("jalr ra, 2047(a1)"));
        hart.setX(11, -2047n + BigInt(HERE + 0x1000));
        machine.storeRange(HERE + 0x1000, EBREAK);
        hart.pc = HERE;
        expect(hart.run(5)).toBe(Exit.Trap);
        expect([hart.trapCause, hart.pc]).toEqual([Cause.Breakpoint, HERE + 0x1000]);
        hart.setX(11, -3n);
        hart.pc = HERE;
        expect(hart.run(5)).toBe(Exit.Trap);
        expect([hart.trapCause, hart.pc, hart.trapValue]).toEqual([Cause.FetchPage, 2044, 2044]);
      });
  });
});
