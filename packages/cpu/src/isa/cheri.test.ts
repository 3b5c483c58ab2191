import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Capability } from "../abi.ts";
import { CapCause, CapReg, Cause, Exit, Perm } from "../abi.ts";
import * as cap from "../capability/index.ts";
import { Bench, DATA, CODE, MiB, u64, word } from "./cheri-bench.test.support.ts";
import type { Operands } from "./clause.ts";
import { ENGINES } from "../engines.test.support.ts";

describe.each(ENGINES)("%s", (engine) => {
  const bench = new Bench({ engine });

  /** Capabilities that guest code could hold: derived from all memory, some sealed, some without a tag. */
  const capability = fc
    .record({
      base: fc.integer({ min: 0, max: MiB - 1 }),
      length: fc.integer({ min: 0, max: MiB }),
      move: fc.oneof(fc.bigInt(-64n, 64n), fc.bigInt(0n, (1n << 64n) - 1n)),
      perms: fc.oneof(fc.constant(Perm.All), fc.integer({ min: 0, max: 0x7ffff })),
      otype: fc.oneof(fc.constant(-1), fc.constant(-2), fc.integer({ min: 0, max: 40 })),
      tag: fc.boolean(),
      flag: fc.integer({ min: 0, max: 1 }),
    })
    .map(({ base, length, move, perms, otype, tag, flag }) => {
      const all = cap.root();
      const bounded = cap.setBounds(cap.setAddress(all, base), length).capability;
      const moved = cap.incOffset(bounded, move);
      let result = cap.setFlag(cap.andPerms(moved.tag ? moved : bounded, perms), flag);
      if (otype >= 0) result = cap.seal(result, cap.setAddress(all, otype));
      if (otype === -2) result = cap.sealEntry(result);
      return tag ? result : cap.clearTag(result);
    });
  const integer = fc.oneof(
    fc.bigInt(0n, (1n << 64n) - 1n),
    fc.bigInt(0n, BigInt(MiB)),
    fc.constantFrom(0n, 1n, (1n << 64n) - 1n, 1n << 63n),
  );

  describe("results are those of the capability module", () => {
    const derivations: Record<string, (a: Capability, n: bigint) => Capability> = {
      csetbounds: (a, n) => cap.setBounds(a, n).capability,
      csetboundsexact: cap.setBoundsExact,
      candperm: (a, n) => cap.andPerms(a, Number(n & 0x7ffffn)),
      csetflags: (a, n) => cap.setFlag(a, Number(n & 1n)),
      csetoffset: cap.setOffset,
      csetaddr: cap.setAddress,
      cincoffset: cap.incOffset,
      cfromptr: (a, n) => (n === 0n ? cap.nullCapability() : cap.setOffset(a, n)),
      csethigh: (a, n) => cap.fromMemory(n, a.address, false),
      cmove: (a) => a,
      ccleartag: cap.clearTag,
      csealentry: cap.sealEntry,
    };
    test.each(Object.keys(derivations))("%s", (name) => {
      fc.assert(
        fc.property(capability, integer, (a, n) => {
          bench.hart.setCapability(5, a);
          bench.hart.setX(6, n);
          bench.one(name, { rd: 7, rs1: 5, rs2: 6 });
          expect(bench.hart.getCapability(7)).toEqual(derivations[name]!(a, n));
          expect(bench.hart.getCapability(5)).toEqual(a);
        }),
      );
    });

    const pairs: Record<string, (a: Capability, b: Capability) => Capability> = {
      cseal: cap.seal,
      cunseal: cap.unseal,
      ccseal: cap.conditionalSeal,
      cbuildcap: cap.buildCap,
      ccopytype: cap.copyType,
    };
    test.each(Object.keys(pairs))("%s", (name) => {
      fc.assert(
        fc.property(capability, capability, fc.boolean(), (a, b, fit) => {
          // Half of the cases: an authority whose address is the otype, and that covers it.
          const second = fit ? cap.setAddress(cap.root(), a.otype >= 0 ? a.otype : 17) : b;
          bench.hart.setCapability(5, a);
          bench.hart.setCapability(6, second);
          bench.one(name, { rd: 5, rs1: 5, rs2: 6 });
          expect(bench.hart.getCapability(5)).toEqual(pairs[name]!(a, second));
        }),
      );
    });

    const max = (1n << 64n) - 1n;
    const inspections: Record<string, (a: Capability) => bigint | number | boolean> = {
      cgetperm: (a) => a.perms,
      cgettype: (a) => a.otype,
      cgetbase: (a) => a.base,
      cgetlen: (a) => (a.top - a.base > max ? max : a.top - a.base),
      cgettop: (a) => (a.top > max ? max : a.top),
      cgettag: (a) => a.tag,
      cgetsealed: cap.isSealed,
      cgetoffset: (a) => a.address - a.base,
      cgetflags: (a) => a.flag,
      cgetaddr: (a) => a.address,
      cgethigh: (a) => cap.toMemory(a).hi,
    };
    test.each(Object.keys(inspections))("%s", (name) => {
      fc.assert(
        fc.property(fc.oneof(capability, fc.constant(cap.root())), (a) => {
          bench.hart.setCapability(5, a);
          bench.one(name, { rd: 5, rs1: 5 });
          const x = bench.hart.getX(5);
          expect(u64(x)).toBe(u64(BigInt(inspections[name]!(a))));
          expect(bench.hart.getCapability(5)).toEqual(cap.nullCapability(u64(x)));
        }),
      );
    });

    const comparisons: Record<string, (a: Capability, b: Capability) => bigint | boolean> = {
      ctestsubset: cap.testSubset,
      cseqx: cap.equal,
      csub: (a, b) => a.address - b.address,
      ctoptr: (a, b) => (a.tag ? a.address - b.base : 0n),
    };
    test.each(Object.keys(comparisons))("%s", (name) => {
      fc.assert(
        fc.property(capability, fc.oneof(capability, fc.constant(undefined)), (a, other) => {
          const b = other ?? a;
          bench.hart.setCapability(5, a);
          bench.hart.setCapability(6, b);
          bench.one(name, { rd: 7, rs1: 5, rs2: 6 });
          expect(u64(bench.hart.getX(7))).toBe(u64(BigInt(comparisons[name]!(a, b))));
        }),
      );
    });

    test("crrl, cram and immediates", () => {
      fc.assert(
        fc.property(capability, integer, fc.integer({ min: -2048, max: 2047 }), (a, n, imm) => {
          bench.hart.setX(5, n);
          bench.one("crrl", { rd: 6, rs1: 5 });
          expect(u64(bench.hart.getX(6))).toBe(cap.representableLength(n));
          bench.one("cram", { rd: 6, rs1: 5 });
          expect(u64(bench.hart.getX(6))).toBe(cap.representableMask(n));
          bench.hart.setCapability(5, a);
          bench.one("cincoffsetimm", { rd: 6, rs1: 5, imm });
          expect(bench.hart.getCapability(6)).toEqual(cap.incOffset(a, imm));
          bench.one("csetboundsimm", { rd: 6, rs1: 5, imm: imm + 2048 });
          expect(bench.hart.getCapability(6)).toEqual(cap.setBounds(a, imm + 2048).capability);
        }),
      );
    });

    test("c0 stands for DDC where it says so", () => {
      bench.reset();
      const ddc = cap.setAddress(bench.data(), DATA + 0x100);
      bench.hart.ddc = ddc;
      bench.hart.setX(6, 0x40n);
      bench.one("cfromptr", { rd: 5, rs1: 0, rs2: 6 });
      expect(bench.hart.getCapability(5)).toEqual(cap.setOffset(ddc, 0x40));
      bench.one("ctoptr", { rd: 7, rs1: 5, rs2: 0 });
      expect(bench.hart.getX(7)).toBe(0x40n);
      bench.one("ctestsubset", { rd: 7, rs1: 0, rs2: 5 });
      expect(bench.hart.getX(7)).toBe(1n);
      bench.hart.setCapability(8, cap.clearTag(ddc));
      bench.one("cbuildcap", { rd: 9, rs1: 0, rs2: 8 });
      expect(bench.hart.getCapability(9)).toEqual(ddc);
      bench.reset();
    });
  });

  describe("registers", () => {
    test("an integer write drops metadata, whatever writes", () => {
      const writers: [string, Partial<Operands>][] = [
        ["addi", { rd: 5, rs1: 5, imm: 0 }],
        ["add", { rd: 5, rs1: 5, rs2: 0 }],
        ["ld", { rd: 5, rs1: 6 }],
        ["lui", { rd: 5, imm: 0x1000 }],
        ["auipc", { rd: 5, imm: 0x1000 }],
        ["mul", { rd: 5, rs1: 5, rs2: 5 }],
        ["lr.d", { rd: 5, rs1: 6 }],
        ["amoadd.d", { rd: 5, rs1: 6, rs2: 0 }],
        ["fmv.x.d", { rd: 5, rs1: 1 }],
        ["csrrs", { rd: 5, rs1: 0, imm: 3 }],
        ["cgetaddr", { rd: 5, rs1: 5 }],
        ["ld.cap", { rd: 5, rs1: 5 }],
        ["jal", { rd: 5, imm: 4 }],
        ["jalr.pcc", { rd: 5, rs1: 7 }],
      ];
      for (const [name, operands] of writers) {
        bench.hart.setCapability(5, bench.data());
        bench.hart.setX(6, BigInt(DATA));
        bench.hart.setX(7, BigInt(CODE + 4));
        bench.one(name, operands);
        const after = bench.hart.getCapability(5);
        expect(after, name).toEqual(cap.nullCapability(u64(bench.hart.getX(5))));
      }
    });

    test("c0 stays NULL", () => {
      bench.hart.setCapability(5, bench.data());
      for (const [name, operands] of [
        ["cmove", { rd: 0, rs1: 5 }],
        ["cspecialrw", { rd: 0, rs1: 0, imm: 1 }],
        ["lc.cap", { rd: 0, rs1: 5 }],
      ] as const) {
        bench.one(name, operands);
        bench.one("cmove", { rd: 6, rs1: 0 });
        expect(bench.hart.getCapability(6), name).toEqual(cap.nullCapability());
      }
    });

    test("cclear and fpclear clear what the mask names", () => {
      for (let i = 1; i < 32; i += 1) {
        bench.hart.setCapability(i, bench.data());
        bench.hart.setF(i, 5n);
      }
      bench.one("cclear", { imm: (1 << 8) | 0b1000_0010 });
      const cleared = [9, 15];
      for (let i = 1; i < 32; i += 1) expect(bench.hart.getCapability(i).tag, `c${i}`).toBe(!cleared.includes(i));
      bench.one("fpclear", { imm: (3 << 8) | 0b1000_0001 });
      for (let i = 1; i < 32; i += 1) expect(bench.hart.getF(i), `f${i}`).toBe(i === 24 || i === 31 ? 0n : 5n);
      bench.one("cclear", { imm: 1 });
      expect(bench.hart.ddc).toEqual(cap.nullCapability());
      bench.refuses("ld", { rd: 5, rs1: 0 }, CapReg.Ddc, CapCause.Tag);
      bench.reset();
    });

    test("special registers", () => {
      bench.hart.setCapability(5, bench.data());
      bench.one("cspecialrw", { rd: 6, rs1: 5, imm: 1 });
      expect(bench.hart.getCapability(6)).toEqual(bench.all);
      expect(bench.hart.ddc).toEqual(bench.data());
      bench.one("cspecialrw", { rd: 6, rs1: 0, imm: 0 });
      expect(bench.hart.getCapability(6)).toEqual(cap.setAddress(bench.all, CODE));
      for (const imm of [2, 3, 4, 16, 27]) {
        expect(bench.run(word("cspecialrw", { rd: 6, rs1: 0, imm }))).toBe(Exit.Trap);
        expect(bench.hart.trapCause).toBe(Cause.IllegalInstruction);
      }
      expect(bench.run(word("cspecialrw", { rd: 6, rs1: 5, imm: 0 }))).toBe(Exit.Trap);
      expect(bench.hart.trapCause).toBe(Cause.IllegalInstruction);
      bench.one("cspecialrw", { rd: 0, rs1: 5, imm: 30 });
      bench.one("cspecialrw", { rd: 7, rs1: 0, imm: 30 });
      expect(bench.hart.getCapability(7)).toEqual(bench.data());
      bench.hart.pcc = cap.andPerms(bench.all, Perm.All & ~Perm.AccessSystemRegs);
      for (const imm of [12, 13, 14, 15, 28, 29, 30, 31]) {
        bench.refuses("cspecialrw", { rd: 6, rs1: 0, imm }, 0x20 | imm, CapCause.AccessSystemRegs);
        bench.refuses("cspecialrw", { rd: 6, rs1: 5, imm }, 0x20 | imm, CapCause.AccessSystemRegs);
      }
      bench.reset();
    });
  });
});
