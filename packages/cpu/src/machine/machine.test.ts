import { describe, expect, test } from "vitest";
import { Perm, Prot, REGISTER_FILE_BYTES } from "../abi.ts";
import * as capability from "../capability/index.ts";
import { createMachine } from "./machine.ts";
import { ENGINES } from "../engines.test.support.ts";

describe.each(ENGINES)("%s", (engine) => {
  const MIB = 1 << 20;
  const root = capability.root();

  describe("memory", () => {
    test("sizes", () => {
      expect(createMachine({ engine }).memoryBytes).toBe(64 * MIB);
      expect(createMachine({ engine, memoryBytes: 3584 * MIB }).memoryBytes).toBe(3584 * MIB);
      for (const memoryBytes of [0, -MIB, 1.5 * MIB + 1, 3585 * MIB, Number.NaN])
        expect(() => createMachine({ engine, memoryBytes })).toThrow(RangeError);
    });

    test("reads and writes at any address, the last bytes included, and above 2 GiB", () => {
      const memoryBytes = 3584 * MIB;
      const machine = createMachine({ engine, memoryBytes });
      for (const at of [3, memoryBytes - 8, 0x8000_0000 - 4]) {
        machine.storeRange(at, Uint8Array.of(1, 2, 3, 4, 5, 0, 0, 0x80));
        expect(machine.readU8(at)).toBe(1);
        expect(machine.readU32(at)).toBe(0x04030201);
        expect(machine.readU64(at + 0)).toBe(0x80 * 2 ** 56 + 0x0504030201);
        expect([...machine.readBytes(at, 3)]).toEqual([1, 2, 3]);
        expect([...machine.lendBytes(at + 4, 2)]).toEqual([5, 0]);
      }
    });

    test("ranges outside are refused", () => {
      const machine = createMachine({ engine, memoryBytes: MIB });
      expect(() => machine.readBytes(MIB - 1, 2)).toThrow(RangeError);
      expect(() => machine.readU64(MIB - 7)).toThrow(RangeError);
      expect(() => machine.readU8(-1)).toThrow(RangeError);
      expect(() => machine.storeRange(MIB, Uint8Array.of(1))).toThrow(RangeError);
      expect(() => machine.zeroRange(0, MIB + 1)).toThrow(RangeError);
      expect(() => machine.copyRange(0, MIB - 4, 8)).toThrow(RangeError);
      expect(() => machine.copyRange(0, 4, 8)).toThrow(RangeError); // overlap
      expect(() => machine.protect(1, 4096, 7)).toThrow(RangeError);
      expect(() => machine.protect(0, 4095, 7)).toThrow(RangeError);
      expect(() => machine.storeCapability(8, root)).toThrow(RangeError);
      expect(() => machine.loadCapability(MIB)).toThrow(RangeError);
    });

    test("copies and zeroes", () => {
      const machine = createMachine({ engine, memoryBytes: MIB });
      machine.storeRange(100, Uint8Array.of(1, 2, 3, 4));
      machine.copyRange(100, 5000, 4);
      expect([...machine.readBytes(4999, 6)]).toEqual([0, 1, 2, 3, 4, 0]);
      machine.zeroRange(5001, 2);
      expect([...machine.readBytes(5000, 4)]).toEqual([1, 0, 0, 4]);
    });
  });

  describe("protection", () => {
    test("pages start unmapped and allow what was set", () => {
      const machine = createMachine({ engine, memoryBytes: MIB });
      expect(machine.allows(0, 1, Prot.Read)).toBe(false);
      machine.protect(0x2000, 0x2000, Prot.Read | Prot.Write);
      machine.protect(0x4000, 0x1000, Prot.Read | Prot.Execute);
      expect(machine.allows(0x2000, 0x2000, Prot.Read | Prot.Write)).toBe(true);
      expect(machine.allows(0x2000, 0x2001, Prot.Read)).toBe(true);
      expect(machine.allows(0x2000, 0x2001, Prot.Write)).toBe(false);
      expect(machine.allows(0x1fff, 2, Prot.Read)).toBe(false);
      expect(machine.allows(0x4ffc, 4, Prot.Execute)).toBe(true);
      expect(machine.allows(0x3fff, 1, Prot.Execute)).toBe(false);
      machine.protect(0x3000, 0x1000, 0);
      expect(machine.allows(0x3000, 1, Prot.Read)).toBe(false);
      expect(machine.allows(0x2fff, 1, Prot.Write)).toBe(true);
    });
  });

  describe("tags", () => {
    const data = capability.derive(root, 0x1000, 0x100, Perm.Load | Perm.Store);

    test("a capability comes back as it was stored", () => {
      const machine = createMachine({ engine, memoryBytes: MIB });
      machine.storeCapability(0x3000, data);
      expect(machine.loadCapability(0x3000)).toEqual(data);
      machine.storeCapability(0x3000, capability.clearTag(data));
      expect(machine.loadCapability(0x3000)).toEqual(capability.clearTag(data));
    });

    test.each([
      [
        "storeRange",
        (machine: ReturnType<typeof createMachine>, from: number, length: number) => machine.storeRange(from, new Uint8Array(length)),
      ],
      ["zeroRange", (machine: ReturnType<typeof createMachine>, from: number, length: number) => machine.zeroRange(from, length)],
      ["copyRange", (machine: ReturnType<typeof createMachine>, from: number, length: number) => machine.copyRange(0x8_0000, from, length)],
    ])("%s clears exactly the tags that it touches", (_name, write) => {
      const all = 0x3000;
      for (const [from, length] of [
        [0x4000 + 15, 2],
        [0x4000 + 16, 16],
        [0x4000, 1],
        [0x4ff8, 16],
        [0x3800, 0x1801],
        [0x4000, 0x1000],
        [0x4000, 0],
      ] as const) {
        const machine = createMachine({ engine, memoryBytes: MIB });
        for (let at = all; at < all + 0x3000; at += 16) machine.storeCapability(at, data);
        machine.storeCapability(0x8_0000, data); // a copy takes no tag with it
        write(machine, from, length);
        for (let at = all; at < all + 0x3000; at += 16) {
          const touched = length > 0 && at < from + length && at + 16 > from;
          if (machine.loadCapability(at).tag === touched)
            throw new Error(`granule ${at.toString(16)} after a write of ${length} at ${from.toString(16)}`);
        }
        expect(machine.countTags(all, 0x3000)).toBe(0x300 - (length === 0 ? 0 : Math.ceil((from + length) / 16) - Math.floor(from / 16)));
      }
    });
  });

  describe("harts", () => {
    test("start with zero registers and without authority", () => {
      const hart = createMachine({ engine, memoryBytes: MIB }).createHart();
      for (let register = 0; register < 32; register++) {
        expect(hart.getX(register)).toBe(0n);
        expect(hart.getF(register)).toBe(0n);
        expect(hart.getCapability(register).tag).toBe(false);
      }
      expect([hart.ddc.tag, hart.pcc.tag, hart.pc, hart.fcsr]).toEqual([false, false, 0, 0]);
    });

    test("registers keep what is written", () => {
      const hart = createMachine({ engine, memoryBytes: MIB }).createHart();
      for (const value of [0, 1, -1, 2 ** 31, -(2 ** 31), 2 ** 32, -(2 ** 32) - 1, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER]) {
        hart.setInt(5, value);
        expect(hart.getInt(5)).toBe(value);
        expect(BigInt.asIntN(64, hart.getX(5))).toBe(BigInt(value));
      }
      hart.setX(6, -5n);
      expect(hart.getInt(6)).toBe(-5);
      hart.setInt(0, 7);
      hart.setX(0, 7n);
      expect(hart.getX(0)).toBe(0n);
      hart.pc = 2 ** 40 + 4;
      expect(hart.pc).toBe(2 ** 40 + 4);
      hart.fcsr = 0x1ff;
      expect(hart.fcsr).toBe(0xff);
      expect(() => hart.getX(32)).toThrow(RangeError);
      expect(() => hart.setInt(-1, 0)).toThrow(RangeError);
    });

    test("capability registers: metadata goes with an integer write", () => {
      const hart = createMachine({ engine, memoryBytes: MIB }).createHart();
      const data = { ...capability.derive(root, 0x1000, 0x100, Perm.Load), address: 0x1010n };
      hart.setCapability(9, data);
      expect(hart.getCapability(9)).toEqual(data);
      expect(hart.getInt(9)).toBe(0x1010);
      hart.setInt(9, 0x1010);
      expect(hart.getCapability(9)).toEqual(capability.nullCapability(0x1010n));
      hart.setCapability(0, data);
      expect(hart.getCapability(0).tag).toBe(false);
    });

    test("save, load, copy", () => {
      const machine = createMachine({ engine, memoryBytes: MIB });
      const hart = machine.createHart();
      for (let register = 1; register < 32; register++) hart.setInt(register, register * 1000);
      for (let register = 0; register < 32; register++) hart.setF(register, BigInt(register) << 40n);
      hart.pc = 0x1234;
      hart.fcsr = 0x63;
      hart.ddc = root;
      const saved = hart.saveRegisters();
      expect(saved.length).toBe(REGISTER_FILE_BYTES);
      const other = machine.createHart();
      other.setCapability(5, root);
      other.loadRegisters(saved);
      expect(other.saveRegisters()).toEqual(saved);
      expect(other.getCapability(5).tag).toBe(false);
      expect(other.ddc.tag).toBe(false);
      expect(() => other.loadRegisters(saved.subarray(1))).toThrow(RangeError);
      const third = machine.createHart();
      hart.setCapability(7, root);
      third.copyFrom(hart);
      expect(third.getCapability(7)).toEqual(root);
      expect(third.ddc).toEqual(root);
      expect(third.pc).toBe(0x1234);
      expect(() => third.copyFrom(createMachine({ engine, memoryBytes: MIB }).createHart())).toThrow(RangeError);
    });

    test("many harts, and blocks are used again", () => {
      const machine = createMachine({ engine, memoryBytes: MIB });
      const harts = Array.from({ length: 8192 }, () => machine.createHart());
      expect(() => machine.createHart()).toThrow(RangeError);
      harts[17]!.setInt(5, 5);
      harts[17]!.release();
      harts[17]!.release();
      const again = machine.createHart();
      expect(again.getInt(5)).toBe(0);
      expect(() => machine.createHart()).toThrow(RangeError);
      expect(() => harts[17]!.run(1)).toThrow(RangeError);
    });
  });
});
