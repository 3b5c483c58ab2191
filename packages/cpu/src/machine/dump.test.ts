import { describe, expect, test } from "vitest";
import { Cause, Perm } from "../abi.ts";
import * as cap from "../capability/index.ts";
import { ENGINES } from "../engines.test.support.ts";
import { dumpGeneralRegisters, dumpRegisters } from "./dump.ts";
import { BASE, expectEcall, expectTrap, load, region } from "./program.test.support.ts";

describe.each(ENGINES)("a register dump, %s", (engine) => {
  test("shows what a program left: numbers, capabilities, sealed and untagged ones, floats", () => {
    const p = load(
      `
      li a0, -2
      csetboundsimm ca1, ca1, 32
      csealentry ca2, ca1
      ccleartag ca3, ca1
      cseal ca4, ca1, ca5
      csetflags ca6, ca1, a0
      fcvt.d.w fa0, a0
      ecall`,
      { engine },
    );
    p.hart.setCapability(11, { ...region(), address: BigInt(BASE + 0x40) });
    p.hart.setCapability(15, { ...cap.root(), address: 7n });
    expectEcall(p);
    const text = dumpRegisters(p.hart);
    expect(text.slice(0, 3)).toEqual(["pc   0x101c", "pcc  0x40000 [rwxRW,0x40000-0x80000]", "ddc  0x40000 [rwxRW,0x40000-0x80000]"]);
    expect(text[3]).toBe("zero 0x0                ra   0x0                sp   0x0                gp   0x0");
    expect(text[5]).toBe("s0   0x0                s1   0x0                a0   0xfffffffffffffffe a1   0x40040");
    expect(text.slice(11, 17)).toEqual([
      "ca1  0x40040 [rwxRW,0x40040-0x40060]",
      "ca2  0x40040 [rwxRW,0x40040-0x40060] (sentry)",
      "ca3  0x40040 [rwxRW,0x40040-0x40060] (invalid)",
      "ca4  0x40040 [rwxRW,0x40040-0x40060] (sealed)",
      "ca5  0x7 [rwxRW,0x0-0x10000000000000000]",
      "ca6  0x40040 [rwxRW,0x40040-0x40060]",
    ]);
    expect(text[17]).toBe("fcsr 0x0");
    expect(text[20]).toBe("fs0  0x0000000000000000 fs1  0x0000000000000000 fa0  0xc000000000000000 fa1  0x0000000000000000");
    expect(text).toHaveLength(18 + 8);
  });
  test("of a trap stands at the instruction, and numbers alone give no lines of capabilities", () => {
    const p = load("li a0, 5\nat: .word 0", { engine, ddc: cap.andPerms(region(), Perm.Load) });
    expectTrap(p, "at", Cause.IllegalInstruction);
    expect(dumpRegisters(p.hart).slice(0, 3)).toEqual([
      "pc   0x1004",
      "pcc  0x40000 [rwxRW,0x40000-0x80000]",
      "ddc  0x40000 [r,0x40000-0x80000]",
    ]);
    expect(dumpGeneralRegisters(p.hart)).toHaveLength(8);
  });
});
