import { describe, expect, test } from "vitest";
import type { Capability } from "../abi.ts";
import { CapCause, CapReg, Exit, OTYPE_SENTRY, OTYPE_UNSEALED, Perm } from "../abi.ts";
import * as cap from "../capability/index.ts";
import { Bench, CODE, DATA, MiB, RW, word } from "./cheri-bench.test.support.ts";
import { ENGINES } from "../engines.test.support.ts";

describe.each(ENGINES)("%s", (engine) => {
  const bench = new Bench({ engine });

  describe("jumps", () => {
    const authority = cap.setAddress(cap.root(), 42);
    const invoke = Perm.CInvoke | Perm.Global;
    const code = (): Capability => cap.setAddress(cap.derive(bench.all, CODE, 0x1000, Perm.Execute | Perm.Load | invoke), CODE + 0x100);
    const datum = (): Capability => bench.data(0, 0x100, RW | invoke);
    const ecallAt = (address: number): void => {
      const bytes = new DataView(new ArrayBuffer(4));
      bytes.setInt32(0, word("ecall"), true);
      bench.machine.storeRange(address, new Uint8Array(bytes.buffer));
    };

    test("cinvoke installs both capabilities unsealed", () => {
      bench.reset();
      ecallAt(CODE + 0x100);
      bench.hart.setCapability(5, cap.seal(code(), authority));
      bench.hart.setCapability(6, cap.seal(datum(), authority));
      bench.one("cinvoke", { rs1: 5, rs2: 6 });
      expect(bench.hart.pc).toBe(0x100); // an offset from the new PCC's base
      expect(bench.hart.pcc).toMatchObject({ tag: true, otype: OTYPE_UNSEALED, base: BigInt(CODE), top: BigInt(CODE + 0x1000) });
      expect(bench.hart.getCapability(31)).toEqual(datum());
      bench.reset();
    });

    test("cinvoke checks in the order of the specification", () => {
      const other = cap.setAddress(authority, 43);
      const noInvoke = (c: Capability): Capability => cap.andPerms(c, Perm.All & ~Perm.CInvoke);
      const cases: [Capability, Capability, register: number, code: number][] = [
        [cap.clearTag(code()), cap.clearTag(datum()), 5, CapCause.Tag],
        [code(), cap.clearTag(datum()), 6, CapCause.Tag],
        [code(), datum(), 5, CapCause.Seal],
        [cap.sealEntry(code()), cap.seal(datum(), authority), 5, CapCause.Seal],
        [cap.seal(code(), authority), datum(), 6, CapCause.Seal],
        [cap.seal(noInvoke(code()), authority), cap.seal(datum(), other), 5, CapCause.Type],
        [cap.seal(noInvoke(code()), authority), cap.seal(noInvoke(datum()), authority), 5, CapCause.PermitCInvoke],
        [cap.seal(datum(), authority), cap.seal(noInvoke(datum()), authority), 6, CapCause.PermitCInvoke],
        [cap.seal(datum(), authority), cap.seal(datum(), authority), 5, CapCause.PermitExecute],
        [cap.seal(code(), authority), cap.seal(code(), authority), 6, CapCause.PermitExecute],
        [cap.seal(cap.setAddress(code(), CODE + 0x1000), authority), cap.seal(datum(), authority), 5, CapCause.Length],
      ];
      for (const [first, second, register, cause] of cases) {
        bench.reset();
        bench.hart.setCapability(5, first);
        bench.hart.setCapability(6, second);
        bench.refuses("cinvoke", { rs1: 5, rs2: 6 }, register, cause);
        expect(bench.hart.pcc).toMatchObject({ base: 0n, top: BigInt(MiB) });
        expect(bench.hart.getX(31)).toBe(0n);
      }
    });

    test("jalr.cap links with a sentry, and a jump to the sentry comes back", () => {
      bench.reset();
      // At +0x100: jump back through the link.
      const back = new DataView(new ArrayBuffer(4));
      back.setInt32(0, word("jalr.cap", { rd: 0, rs1: 1 }), true);
      bench.machine.storeRange(CODE + 0x100, new Uint8Array(back.buffer));
      bench.hart.setCapability(5, cap.sealEntry(code()));
      bench.one("jalr.cap", { rd: 1, rs1: 5 });
      expect(bench.hart.getCapability(1)).toMatchObject({ tag: true, otype: OTYPE_SENTRY, address: BigInt(CODE + 4), top: BigInt(MiB) });
      expect(bench.hart.pc).toBe(CODE + 4);
      expect(bench.hart.pcc).toMatchObject({ base: 0n, top: BigInt(MiB), otype: OTYPE_UNSEALED });
      for (const [target, cause] of [
        [cap.clearTag(code()), CapCause.Tag],
        [cap.seal(code(), authority), CapCause.Seal],
        [bench.data(), CapCause.PermitExecute],
        [cap.setAddress(code(), CODE + 0x1000), CapCause.Length],
        [cap.setAddress(code(), CODE - 2), CapCause.Length],
      ] as const) {
        bench.hart.setCapability(5, target);
        bench.hart.setX(1, 7n);
        bench.refuses("jalr.cap", { rd: 1, rs1: 5 }, 5, cause);
        expect(bench.hart.getX(1)).toBe(7n);
      }
      bench.reset();
    });

    test("jalr.pcc stays in PCC", () => {
      bench.reset();
      bench.hart.setX(5, BigInt(CODE + 4));
      bench.one("jalr.pcc", { rd: 6, rs1: 5 });
      expect(bench.hart.getX(6)).toBe(BigInt(CODE + 4));
      bench.hart.setX(5, BigInt(MiB));
      bench.refuses("jalr.pcc", { rd: 6, rs1: 5 }, CapReg.Pcc, CapCause.Length);
    });
  });

  describe("options", () => {
    test("without relocation addresses are absolute", () => {
      const plain = new Bench({ engine, relocation: false });
      plain.hart.ddc = cap.setAddress(plain.data(), DATA + 0x100);
      plain.machine.storeRange(DATA + 8, Uint8Array.of(77));
      plain.hart.setX(5, BigInt(DATA + 8));
      plain.one("lbu.ddc", { rd: 6, rs1: 5 });
      expect(plain.hart.getX(6)).toBe(77n);
      plain.hart.setCapability(7, plain.data(0x10, 0x10));
      plain.hart.setX(5, BigInt(DATA + 0x20));
      expect(plain.run(word("sc.ddc", { rs1: 5, rs2: 7 }), word("lc.ddc", { rd: 8, rs1: 5 }))).toBe(Exit.Ecall);
      expect(plain.hart.getCapability(8)).toEqual(plain.data(0x10, 0x10));
    });

    test("with relocation they are offsets from DDC's address and PCC's base", () => {
      bench.reset();
      bench.hart.ddc = cap.setAddress(bench.data(), DATA + 0x100);
      bench.machine.storeRange(DATA + 0xf8, Uint8Array.of(78));
      bench.hart.setX(5, -8n);
      bench.one("lbu.ddc", { rd: 6, rs1: 5 });
      expect(bench.hart.getX(6)).toBe(78n);
      bench.hart.ddc = bench.all;
      bench.hart.pcc = cap.derive(bench.all, CODE, 0x1000, Perm.Execute | Perm.Load | Perm.Global);
      const bytes = new DataView(new ArrayBuffer(8));
      bytes.setInt32(0, word("cspecialrw", { rd: 6, rs1: 0, imm: 0 }), true);
      bytes.setInt32(4, word("ecall"), true);
      bench.machine.storeRange(CODE, new Uint8Array(bytes.buffer));
      bench.hart.pc = 0;
      expect(bench.hart.run(10)).toBe(Exit.Ecall);
      expect(bench.hart.pc).toBe(4);
      expect(bench.hart.getCapability(6).address).toBe(BigInt(CODE));
      bench.reset();
    });

    test("without tag clearing the same mistakes are exceptions", () => {
      const strict = new Bench({ engine, tagClearing: false });
      const sealed = cap.sealEntry(cap.andPerms(strict.all, Perm.Execute));
      for (const name of ["candperm", "csetflags", "csetoffset", "csetaddr", "cincoffset", "csetbounds", "csetboundsexact", "csealentry"]) {
        strict.hart.setCapability(5, sealed);
        strict.refuses(name, { rd: 7, rs1: 5, rs2: 6 }, 5, CapCause.Seal);
      }
      strict.hart.setCapability(5, strict.data(0, 16));
      strict.hart.setX(6, 17n);
      strict.refuses("csetbounds", { rd: 7, rs1: 5, rs2: 6 }, 5, CapCause.Length);
      strict.hart.setCapability(6, strict.data(0, 16));
      strict.refuses("cseal", { rd: 7, rs1: 5, rs2: 6 }, 6, CapCause.PermitSeal);
      strict.refuses("cunseal", { rd: 7, rs1: 5, rs2: 6 }, 5, CapCause.Seal);
      expect(strict.hart.getCapability(7)).toEqual(cap.nullCapability());
    });
  });
});
