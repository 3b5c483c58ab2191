import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Capability } from "../abi.ts";
import { OTYPE_SENTRY, OTYPE_UNSEALED, Perm } from "../abi.ts";
import * as cap from "../capability/index.ts";
import { Bench, CODE, DATA, DATA_BYTES, RW, word } from "./cheri-bench.test.support.ts";
import { ENGINES } from "../engines.test.support.ts";

describe.each(ENGINES)("%s", (engine) => {
  const bench = new Bench({ engine });

  describe("monotonicity", () => {
    /** What a hostile program starts with: data, code, a sealing range, something sealed; no more. */
    const start = (): Capability[] => [
      bench.data(0, 0x1000),
      bench.data(0x1000, 0x800, RW),
      cap.derive(bench.all, CODE, 0x1000, Perm.Execute | Perm.Load | Perm.CInvoke | Perm.Global),
      cap.setAddress(cap.derive(bench.all, 16, 16, Perm.Seal | Perm.Unseal), 20),
      cap.seal(bench.data(0x8000, 0x100), cap.setAddress(cap.root(), 900)),
    ];
    const TWO = ["cmove", "ccleartag", "csealentry"];
    const INTEGER = [
      "csetbounds",
      "csetboundsexact",
      "candperm",
      "csetflags",
      "csetoffset",
      "csetaddr",
      "cincoffset",
      "cfromptr",
      "csethigh",
    ];
    const PAIR = ["cseal", "cunseal", "cbuildcap", "ccopytype", "ccseal"];
    const MEMORY = [
      "sb.cap",
      "sh.cap",
      "sw.cap",
      "sd.cap",
      "sc.cap",
      "lc.cap",
      "ld.cap",
      "sc",
      "lc",
      "sd",
      "sb",
      "amoswap.c",
      "sc.c",
      "lr.c",
      "amoswap.d",
    ];
    const INTEGERS = [
      0n,
      1n,
      15n,
      16n,
      0x800n,
      BigInt(DATA),
      BigInt(DATA + 0x10),
      20n,
      900n,
      -1n,
      1n << 62n,
      0x7fffn,
      0xffff_0000_0000_0000n,
    ];
    const register = fc.integer({ min: 5, max: 12 });
    const step = fc.oneof(
      fc.record({ name: fc.constantFrom(...TWO), rd: register, rs1: register }),
      fc.record({ name: fc.constantFrom(...INTEGER), rd: register, rs1: register, rs2: fc.integer({ min: 16, max: 28 }) }),
      fc.record({ name: fc.constantFrom(...PAIR), rd: register, rs1: register, rs2: register }),
      fc.record({
        name: fc.constantFrom(...MEMORY),
        rd: register,
        rs1: fc.oneof(register, fc.integer({ min: 16, max: 28 })),
        rs2: register,
      }),
      fc.record({ name: fc.constant("cgethigh"), rd: fc.integer({ min: 16, max: 28 }), rs1: register }),
      fc.record({ name: fc.constant("cincoffsetimm"), rd: register, rs1: register, imm: fc.integer({ min: -64, max: 64 }) }),
      fc.record({ name: fc.constant("csetboundsimm"), rd: register, rs1: register, imm: fc.integer({ min: 0, max: 64 }) }),
    );

    test("no sequence of instructions makes a tagged capability with more authority than it started with", () => {
      const initial = start();
      const given = initial.at(-1)!;
      const covered = (c: Capability): boolean => {
        // What it was given sealed, and cannot unseal, stays as it was.
        if (c.otype === given.otype) return cap.equal(c, given);
        const source = initial.find((from) => cap.testSubset(from, c) && (from.otype === OTYPE_UNSEALED || from.otype === c.otype));
        if (source === undefined) return false;
        // A seal is one that it was given, a sentry, or one that its sealing range covers.
        return c.otype === OTYPE_UNSEALED || c.otype === OTYPE_SENTRY || (c.otype >= 16 && c.otype < 32);
      };
      let tagged = 0;
      fc.assert(
        fc.property(fc.array(step, { minLength: 1, maxLength: 24 }), (steps) => {
          bench.reset();
          bench.machine.zeroRange(DATA, DATA_BYTES);
          bench.hart.ddc = initial[0]!;
          initial.forEach((c, index) => bench.hart.setCapability(5 + index, c));
          INTEGERS.forEach((n, index) => bench.hart.setX(16 + index, n));
          // One at a time: a sequence goes on after an exception.
          for (const { name, ...operands } of steps) bench.run(word(name, operands));
          const found = Array.from({ length: 31 }, (_, index) => bench.hart.getCapability(index + 1));
          for (let at = 0; at < 0x1000; at += 16) found.push(bench.machine.loadCapability(DATA + at));
          for (const c of found) {
            if (!c.tag) continue;
            tagged += 1;
            expect(covered(c), `${cap.format(c)} otype ${c.otype}`).toBe(true);
          }
        }),
        { numRuns: 400 },
      );
      expect(tagged).toBeGreaterThan(400);
      bench.reset();
    });
  });
});
