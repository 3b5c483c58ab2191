import { describe, expect, test } from "vitest";
import type { Capability } from "../abi.ts";
import { CapCause, CapReg, Cause, Exit, Perm } from "../abi.ts";
import * as cap from "../capability/index.ts";
import { Bench, CODE, DATA, DATA_BYTES, RW, word } from "./cheri-bench.test.support.ts";
import { ENGINES } from "../engines.test.support.ts";

describe.each(ENGINES)("%s", (engine) => {
  const bench = new Bench({ engine });

  describe("memory", () => {
    const LOADS = { lb: 1, lh: 2, lw: 4, ld: 8, lbu: 1, lhu: 2, lwu: 4 } as const;
    const STORES = { sb: 1, sh: 2, sw: 4, sd: 8 } as const;

    test("explicit loads read what was stored, extended as named", () => {
      const bytes = Uint8Array.of(0x81, 0x92, 0xa3, 0xb4, 0xc5, 0xd6, 0xe7, 0xf8);
      const results = { lb: -0x7fn, lh: -0x6d7fn, lw: -0x4b5c6d7fn, ld: -0x718293a4b5c6d7fn, lbu: 0x81n, lhu: 0x9281n, lwu: 0xb4a39281n };
      for (const [name, value] of Object.entries(results)) {
        bench.machine.storeRange(DATA, bytes);
        bench.hart.setX(5, BigInt(DATA));
        bench.one(`${name}.ddc`, { rd: 6, rs1: 5 });
        expect(BigInt.asIntN(64, bench.hart.getX(6)), name).toBe(value);
        bench.hart.setCapability(5, bench.data());
        bench.one(`${name}.cap`, { rd: 6, rs1: 5 });
        expect(BigInt.asIntN(64, bench.hart.getX(6)), name).toBe(value);
      }
    });

    test("bounds are exact to the byte at both ends", () => {
      const window = bench.data(0x103, 0x45);
      const sizes: [string, number][] = [...Object.entries(LOADS), ...Object.entries(STORES)];
      for (const [name, size] of sizes) {
        for (const offset of [0, 1, 0x45 - size]) {
          bench.hart.setCapability(5, cap.incOffset(window, offset));
          bench.one(`${name}.cap`, { rd: 6, rs1: 5, rs2: 6 });
        }
        for (const offset of [-1, 0x45 - size + 1, 0x45]) {
          bench.hart.setCapability(5, cap.incOffset(window, offset));
          bench.refuses(`${name}.cap`, { rd: 6, rs1: 5, rs2: 6 }, 5, CapCause.Length);
        }
        bench.hart.ddc = window;
        for (const offset of [0, 1, 0x45 - size]) {
          bench.hart.setX(5, BigInt(offset));
          bench.one(name, { rd: 6, rs1: 5, rs2: 6 });
          bench.one(`${name}.ddc`, { rd: 6, rs1: 5, rs2: 6 });
        }
        for (const offset of [-1n, BigInt(0x45 - size + 1), 0x45n, 1n << 63n, -(1n << 40n)]) {
          bench.hart.setX(5, offset);
          bench.refuses(name, { rd: 6, rs1: 5, rs2: 6 }, CapReg.Ddc, CapCause.Length);
          bench.refuses(`${name}.ddc`, { rd: 6, rs1: 5, rs2: 6 }, CapReg.Ddc, CapCause.Length);
        }
        bench.hart.ddc = bench.all;
      }
    });

    test("checks come in the order of the specification", () => {
      const bad = cap.incOffset(bench.data(0, 16, Perm.Global), 5);
      const sealed = cap.sealEntry(bad);
      const ladder: [string, Capability, number][] = [
        ["ld.cap", cap.clearTag(sealed), CapCause.Tag],
        ["ld.cap", sealed, CapCause.Seal],
        ["ld.cap", bad, CapCause.PermitLoad],
        ["sd.cap", bad, CapCause.PermitStore],
        ["lc.cap", bad, CapCause.PermitLoad],
        ["sc.cap", bad, CapCause.PermitStore],
        ["sc.cap", cap.incOffset(bench.data(0, 16, Perm.Store), 5), CapCause.PermitStoreCap],
        ["sc.cap", cap.incOffset(bench.data(0, 16, Perm.Store | Perm.StoreCap), 5), CapCause.PermitStoreLocalCap],
        ["sc.cap", cap.incOffset(bench.data(0, 16), 5), CapCause.Length],
        ["lc.cap", cap.incOffset(bench.data(0, 16), 5), CapCause.Length],
        ["cloadtags", bench.data(0, 64, Perm.Load), CapCause.PermitLoadCap],
        ["cloadtags", bench.data(0, 63), CapCause.Length],
      ];
      bench.hart.setCapability(6, bench.data(0, 16, Perm.Load)); // local
      for (const [name, authority, code] of ladder) {
        bench.hart.setCapability(5, authority);
        bench.refuses(name, { rd: 7, rs1: 5, rs2: 6 }, 5, code);
      }
      for (const [name, authority, cause] of [
        ["lc.cap", cap.incOffset(bench.data(), 8), Cause.LoadMisaligned],
        ["sc.cap", cap.incOffset(bench.data(), 8), Cause.StoreMisaligned],
        ["cloadtags", cap.incOffset(bench.data(), 16), Cause.LoadMisaligned],
        ["lr.d.cap", cap.incOffset(bench.data(), 4), Cause.LoadMisaligned],
        ["lc.cap", cap.setAddress(bench.all, 0x8_0000), Cause.LoadPage],
        ["sc.cap", cap.setAddress(bench.all, 0x8_0000), Cause.StorePage],
        ["sd.cap", cap.setAddress(bench.all, CODE), Cause.StorePage],
        ["ld.cap", cap.setAddress(bench.all, 0x8_0000), Cause.LoadPage],
      ] as const) {
        bench.hart.setCapability(5, authority);
        expect(bench.run(word(name, { rd: 7, rs1: 5, rs2: 6 })), name).toBe(Exit.Trap);
        expect([bench.hart.trapCause, bench.hart.trapValue], name).toEqual([cause, Number(authority.address)]);
      }
    });

    test("capabilities pass through memory; the tag needs load-capability permission", () => {
      const stored = cap.setAddress(bench.data(0x200, 0x80), DATA + 0x210);
      for (const [store, load, operands] of [
        ["sc.cap", "lc.cap", {}],
        ["sc.ddc", "lc.ddc", {}],
        ["sc", "lc", { imm: 0 }],
      ] as const) {
        bench.machine.zeroRange(DATA, 0x40);
        const explicit = store.endsWith(".cap");
        if (explicit) bench.hart.setCapability(5, bench.data());
        else bench.hart.setX(5, BigInt(DATA));
        bench.hart.setCapability(6, stored);
        expect(bench.run(word(store, { rs1: 5, rs2: 6, ...operands }), word(load, { rd: 7, rs1: 5, ...operands })), store).toBe(Exit.Ecall);
        expect(bench.hart.getCapability(7)).toEqual(stored);
        expect(bench.machine.loadCapability(DATA)).toEqual(stored);
        if (explicit) bench.hart.setCapability(5, bench.data(0, DATA_BYTES, RW));
        else bench.hart.ddc = cap.andPerms(bench.all, RW);
        bench.one(load, { rd: 7, rs1: 5, ...operands });
        expect(bench.hart.getCapability(7)).toEqual(cap.clearTag(stored));
        // Without permission to store capabilities a plain number may still be stored.
        bench.hart.setX(6, 3n);
        bench.one(store, { rs1: 5, rs2: 6, ...operands });
        bench.hart.setCapability(6, stored);
        bench.refuses(store, { rs1: 5, rs2: 6, ...operands }, explicit ? 5 : CapReg.Ddc, CapCause.PermitStoreCap);
        bench.hart.ddc = bench.all;
      }
    });

    test("cloadtags gives one bit a granule", () => {
      bench.machine.zeroRange(DATA, 64);
      bench.machine.storeCapability(DATA + 16, bench.data());
      bench.machine.storeCapability(DATA + 48, bench.data());
      bench.hart.setCapability(5, bench.data());
      bench.one("cloadtags", { rd: 6, rs1: 5 });
      expect(bench.hart.getX(6)).toBe(0b1010n);
    });

    test("a store of any size and kind clears the tag of every granule it touches, and of no other", () => {
      const stores: [string, number, "ddc" | "cap"][] = [
        ["sb", 1, "ddc"],
        ["sh", 2, "ddc"],
        ["sw", 4, "ddc"],
        ["sd", 8, "ddc"],
        ["fsw", 4, "ddc"],
        ["fsd", 8, "ddc"],
        ["sb.ddc", 1, "ddc"],
        ["sd.ddc", 8, "ddc"],
        ["sb.cap", 1, "cap"],
        ["sh.cap", 2, "cap"],
        ["sw.cap", 4, "cap"],
        ["sd.cap", 8, "cap"],
      ];
      const valid = bench.data();
      // In the middle of a page, and across the border of two.
      for (const granule of [DATA + 0x100, DATA + 0x1000]) {
        for (const [name, size, via] of stores) {
          for (let offset = -16; offset < 16; offset += 1) {
            for (const at of [-16, 0, 16]) bench.machine.storeCapability(granule + at, valid);
            const address = granule + offset;
            if (via === "cap") bench.hart.setCapability(5, cap.setAddress(valid, address));
            else bench.hart.setX(5, BigInt(address));
            bench.one(name, { rs1: 5, rs2: 6 });
            const tags = [-16, 0, 16].map((at) => bench.machine.loadCapability(granule + at).tag);
            const touched = [-16, 0, 16].map((at) => address < granule + at + 16 && address + size > granule + at);
            expect(tags, `${name} at ${offset}`).toEqual(touched.map((hit) => !hit));
          }
        }
      }
      for (const [name, operands] of [
        ["amoswap.d", { rs2: 6 }],
        ["amoadd.w", { rs2: 0 }],
        ["sc.d", { rs2: 6 }],
      ] as const) {
        bench.machine.storeCapability(DATA, valid);
        bench.hart.setX(5, BigInt(DATA));
        expect(bench.run(word("lr.d", { rd: 7, rs1: 5 }), word(name, { rd: 7, rs1: 5, ...operands }))).toBe(Exit.Ecall);
        expect(bench.machine.loadCapability(DATA).tag, name).toBe(false);
      }
      // Trusted writes too.
      bench.machine.storeCapability(DATA, valid);
      bench.machine.storeRange(DATA + 15, Uint8Array.of(0));
      expect(bench.machine.loadCapability(DATA).tag).toBe(false);
    });

    test("reservations of data and capabilities", () => {
      const stored = bench.data(0x40, 0x40);
      bench.machine.zeroRange(DATA, 32);
      bench.hart.setX(5, BigInt(DATA));
      bench.hart.setCapability(6, stored);
      expect(
        bench.run(word("lr.c", { rd: 7, rs1: 5 }), word("sc.c", { rd: 8, rs1: 5, rs2: 6 }), word("sc.c", { rd: 9, rs1: 5, rs2: 0 })),
      ).toBe(Exit.Ecall);
      expect([bench.hart.getX(8), bench.hart.getX(9)]).toEqual([0n, 1n]);
      expect(bench.machine.loadCapability(DATA)).toEqual(stored);
      bench.hart.setCapability(5, bench.data());
      expect(bench.run(word("lr.w.cap", { rd: 7, rs1: 5 }), word("sc.w.cap", { rs1: 5, rs2: 6 }))).toBe(Exit.Ecall);
      expect(bench.hart.getX(6)).toBe(0n);
      bench.hart.setX(6, 1n);
      expect(bench.run(word("sc.w.cap", { rs1: 5, rs2: 6 }))).toBe(Exit.Ecall);
      expect(bench.hart.getX(6)).toBe(1n);
      bench.machine.storeCapability(DATA, stored);
      bench.hart.setX(5, BigInt(DATA));
      bench.hart.setX(6, 9n);
      bench.one("amoswap.c", { rd: 7, rs1: 5, rs2: 6 });
      expect(bench.hart.getCapability(7)).toEqual(stored);
      expect(bench.machine.loadCapability(DATA)).toEqual(cap.nullCapability(9n));
    });
  });
});
