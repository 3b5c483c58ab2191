import { beforeAll, describe, expect, test } from "vitest";
import type { Capability } from "../abi.ts";
import { CapCause, Exit, OTYPE_SENTRY, Perm } from "../abi.ts";
import * as cap from "../capability/index.ts";
import { Bench, CODE, DATA, MiB, RW, u64, word } from "./cheri-bench.test.support.ts";
import { ENGINES } from "../engines.test.support.ts";

describe.each(ENGINES)("%s", (engine) => {
  const bench = new Bench({ engine });

  /** 16-bit instructions and an ecall at CODE. */
  function runShort(...halves: number[]): number {
    const code = new DataView(new ArrayBuffer(2 * halves.length + 4));
    halves.forEach((bits, index) => code.setUint16(2 * index, bits, true));
    code.setInt32(2 * halves.length, word("ecall"), true);
    bench.machine.storeRange(CODE, new Uint8Array(code.buffer));
    bench.hart.pc = CODE;
    return bench.hart.run(1000);
  }

  describe("capability mode", () => {
    beforeAll(() => {
      bench.reset();
      bench.hart.pcc = cap.setFlag(bench.all, 1);
      // Nothing here may need DDC.
      bench.hart.ddc = cap.nullCapability();
    });
    const at = (offset: number): Capability => cap.incOffset(bench.data(), offset);

    test("loads and stores go through cs1", () => {
      for (const [store, load, size] of [
        ["csb", "clbu", 1],
        ["csh", "clhu", 2],
        ["csw", "clwu", 4],
        ["csd", "cld", 8],
      ] as const) {
        bench.machine.zeroRange(DATA, 64);
        bench.hart.setCapability(5, at(16));
        bench.hart.setX(6, -2n);
        expect(bench.run(word(store, { rs1: 5, rs2: 6, imm: -8 }), word(load, { rd: 7, rs1: 5, imm: -8 })), store).toBe(Exit.Ecall);
        expect(u64(bench.hart.getX(7)), store).toBe(BigInt.asUintN(8 * size, -2n));
        bench.hart.setCapability(5, cap.incOffset(bench.data(0, 16, RW), 17 - size));
        bench.refuses(load, { rd: 7, rs1: 5 }, 5, CapCause.Length);
        bench.hart.setX(5, BigInt(DATA));
        bench.refuses(store, { rs1: 5, rs2: 6 }, 5, CapCause.Tag);
      }
      for (const [load, value] of [
        ["clb", -2n],
        ["clh", -2n],
        ["clw", -2n],
      ] as const) {
        bench.machine.storeRange(DATA, Uint8Array.of(0xfe, 0xff, 0xff, 0xff));
        bench.hart.setCapability(5, at(0));
        bench.one(load, { rd: 7, rs1: 5 });
        expect(BigInt.asIntN(64, bench.hart.getX(7)), load).toBe(value);
      }
    });

    test("floats, capabilities and atomics too", () => {
      bench.hart.setCapability(5, at(0));
      bench.hart.setF(1, 0x4009_21fb_5444_2d18n);
      expect(bench.run(word("cfsd", { rs1: 5, rs2: 1 }), word("cfld", { rd: 2, rs1: 5 }), word("cflw", { rd: 3, rs1: 5, imm: 4 }))).toBe(
        Exit.Ecall,
      );
      expect([bench.hart.getF(2), bench.hart.getF(3)]).toEqual([0x4009_21fb_5444_2d18n, 0xffff_ffff_4009_21fbn]);
      bench.hart.setCapability(6, bench.data(0x40, 0x40));
      expect(bench.run(word("csc", { rs1: 5, rs2: 6, imm: 32 }), word("clc", { rd: 7, rs1: 5, imm: 32 }))).toBe(Exit.Ecall);
      expect(bench.hart.getCapability(7)).toEqual(bench.data(0x40, 0x40));
      const operations: [string, bigint][] = [
        ["camoadd.w", -7n],
        ["camoswap.w", 3n],
        ["camoxor.w", -11n],
        ["camoand.w", 2n],
        ["camoor.w", -9n],
        ["camomin.w", -10n],
        ["camomax.w", 3n],
        ["camominu.w", 3n],
        ["camomaxu.w", -10n],
      ];
      for (const [name, expected] of operations) {
        bench.machine.storeRange(DATA, Uint8Array.of(0xf6, 0xff, 0xff, 0xff)); // -10
        bench.hart.setX(6, 3n);
        expect(bench.run(word(name, { rd: 7, rs1: 5, rs2: 6 }), word("clw", { rd: 8, rs1: 5 })), name).toBe(Exit.Ecall);
        expect([BigInt.asIntN(64, bench.hart.getX(7)), BigInt.asIntN(64, bench.hart.getX(8))], name).toEqual([-10n, expected]);
      }
      expect(
        bench.run(word("clr.d", { rd: 7, rs1: 5 }), word("csc.d", { rd: 8, rs1: 5, rs2: 6 }), word("csc.d", { rd: 9, rs1: 5, rs2: 6 })),
      ).toBe(Exit.Ecall);
      expect([bench.hart.getX(8), bench.hart.getX(9)]).toEqual([0n, 1n]);
    });

    test("auipcc, cjal and cjalr", () => {
      bench.one("auipcc", { rd: 5, imm: 0x2000 });
      expect(bench.hart.getCapability(5)).toEqual(cap.setAddress(cap.setFlag(bench.all, 1), CODE + 0x2000));
      // cjal over an illegal instruction, and back.
      expect(bench.run(word("cjal", { rd: 1, imm: 8 }), 0)).toBe(Exit.Ecall);
      expect(bench.hart.getCapability(1)).toMatchObject({ tag: true, otype: OTYPE_SENTRY, address: BigInt(CODE + 4), flag: 1 });
      bench.hart.setCapability(5, cap.setAddress(cap.setFlag(bench.all, 1), CODE + 4));
      expect(bench.run(word("cjalr", { rd: 1, rs1: 5, imm: 4 }), 0)).toBe(Exit.Ecall);
      bench.hart.setCapability(5, cap.sealEntry(cap.setFlag(bench.all, 1)));
      bench.refuses("cjalr", { rd: 1, rs1: 5, imm: 4 }, 5, CapCause.Seal);
      bench.refuses("cjal", { rd: 1, imm: MiB - CODE }, 0x20, CapCause.Length);
    });

    test("16-bit forms", () => {
      const stored = bench.data(0x80, 0x10, Perm.Load | Perm.Global);
      bench.hart.setCapability(2, at(0));
      bench.hart.setCapability(9, at(0x20));
      bench.hart.setCapability(10, stored);
      expect(
        runShort(
          word("c.csccsp", { rs2: 10, imm: 0x10 }),
          word("c.clccsp", { rd: 11, imm: 0x10 }),
          word("c.csc", { rs1: 9, rs2: 10, imm: 0x30 }),
          word("c.clc", { rd: 12, rs1: 9, imm: 0x30 }),
          word("c.cincoffset4cspn", { rd: 13, imm: 0x50 }),
          word("c.cincoffset16csp", { imm: 0x40 }),
        ),
      ).toBe(Exit.Ecall);
      expect([11, 12].map((register) => bench.hart.getCapability(register))).toEqual([stored, stored]);
      expect(bench.machine.loadCapability(DATA + 0x50)).toEqual(stored);
      expect(bench.hart.getCapability(13)).toEqual(at(0x50));
      expect(bench.hart.getCapability(2)).toEqual(at(0x40));
      bench.hart.setX(10, 0x1234_5678_9abc_def0n);
      expect(
        runShort(
          word("c.csdcsp", { rs2: 10, imm: 8 }),
          word("c.cldcsp", { rd: 11, imm: 8 }),
          word("c.clwcsp", { rd: 12, imm: 8 }),
          word("c.csw", { rs1: 9, rs2: 10, imm: 4 }),
          word("c.clw", { rd: 13, rs1: 9, imm: 4 }),
        ),
      ).toBe(Exit.Ecall);
      expect([11, 12, 13].map((register) => u64(bench.hart.getX(register)))).toEqual([
        0x1234_5678_9abc_def0n,
        u64(-0x6543_2110n),
        u64(-0x6543_2110n),
      ]);
      // The encoding of c.fldsp with register 0 is reserved here.
      expect(runShort(0x2002)).toBe(Exit.Trap);
      expect(bench.hart.trapCause).toBe(2);
    });
  });
});
