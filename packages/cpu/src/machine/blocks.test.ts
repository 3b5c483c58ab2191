import { describe, expect, test } from "vitest";
import { CapCause, CapReg, Cause, Exit, Perm, Prot, type Capability, type HartPort, type MachinePort } from "../abi.ts";
import { Assembler, assembleInto } from "../assembler/index.ts";
import * as capability from "../capability/index.ts";
import { ENGINES } from "../engines.test.support.ts";
import { createMachine } from "./machine.ts";
import { BASE, CHERI, CODE, DATA, openMachine, region, root } from "./program.test.support.ts";

const LENGTH_OF_PCC = CHERI(CapReg.Pcc, CapCause.Length);
/** What stops a run, and where, as an absolute address. */
function stop(hart: HartPort): { code: number; cause?: number; value?: number; at: number } {
  let code: number;
  while ((code = hart.run(1000)) === Exit.Fuel);
  const at = hart.pc + Number(hart.pcc.base);
  return code === Exit.Trap ? { code, cause: hart.trapCause, value: hart.trapValue, at } : { code, at };
}
/** Puts assembly text at an absolute address; gives that of a label. */
function put(machine: MachinePort, at: number, text: string, mode: "int" | "cap" = "int"): (label: string) => number {
  const assembler = new Assembler({ origin: at, mode });
  assembleInto(assembler, text);
  machine.storeRange(at, assembler.assemble());
  return (label) => assembler.addressOf(label);
}
/** Starts at an absolute address under a PCC over [base, base + length). */
function start(hart: HartPort, at: number, base: number, length: number, flag = 0): void {
  hart.pcc = capability.setFlag(region(Perm.All, base, length), flag);
  hart.pc = at - base;
}

describe.each(ENGINES)("blocks of predecoded code, %s", (engine) => {
  test("capability mode: loops, calls by sentries, and code over the border of pages", () => {
    const machine = openMachine(engine);
    const hart = machine.createHart();
    const at = BASE + 2 * 0x1000 - 20;
    const label = put(
      machine,
      at,
      `
      cmove c6, c10
      next: cld a1, 0(c6)
      cjalr c1, 0(c20)
      clc c6, 16(c6)
      cgettag a2, c6
      bnez a2, next
      ecall
      sum: add a0, a0, a1
      cjalr c0, 0(c1)`,
      "cap",
    );
    const data = region(Perm.All, BASE + DATA, 0x1000);
    for (let i = 0; i < 10; i += 1) {
      machine.storeRange(BASE + DATA + 32 * i, Uint8Array.of(i + 1));
      if (i < 9) machine.storeCapability(BASE + DATA + 32 * i + 16, capability.incOffset(data, 32 * (i + 1)));
    }
    start(hart, at, BASE, 0x4_0000, 1);
    hart.setCapability(10, data);
    hart.setCapability(20, capability.sealEntry(capability.setAddress(hart.pcc, label("sum"))));
    expect(stop(hart)).toMatchObject({ code: Exit.Ecall });
    // The sum is added to an address.
    expect(hart.getInt(10)).toBe(BASE + DATA + 55);
    expect(hart.instructions).toBe(1 + 10 * 7);
  });

  test("the same bytes in both modes, in turn", () => {
    const machine = openMachine(engine);
    const hart = machine.createHart();
    // ld a0, 0(a1) is cld a0, 0(c11) in capability mode; the jump goes to the other mode's entry.
    const at = BASE + CODE;
    put(machine, at, "ld a0, 0(a1)\nadd a2, a2, a0\naddi a3, a3, -1\nbeq a3, zero, end\njalr.cap c0, c20\nend: ecall");
    machine.storeRange(BASE + DATA, Uint8Array.of(1));
    machine.storeRange(BASE + DATA + 0x100, Uint8Array.of(100));
    const narrow = region(Perm.All, BASE + DATA + 0x100, 8);
    hart.setCapability(11, narrow);
    // DDC's address makes the same offset another place.
    hart.ddc = capability.setAddress(root, -0x100n);
    const code = capability.setAddress(region(), at);
    for (const first of [0, 1]) {
      hart.pcc = capability.setFlag(code, first);
      hart.pc = at - BASE;
      hart.setInt(12, 0);
      let turns = 0;
      // One turn in each mode: the register says which is next.
      for (let mode = first; turns < 6; turns += 1, mode = 1 - mode) {
        hart.setInt(13, 2);
        hart.setCapability(20, capability.setFlag(code, 1 - mode));
        hart.pcc = capability.setFlag(code, mode);
        hart.pc = at - BASE;
        expect(stop(hart).code).toBe(Exit.Ecall);
      }
      expect(hart.getInt(12)).toBe(6 * 101);
    }
  });

  test("several parts of one page, each exact, branches and what follows them", () => {
    const machine = openMachine(engine);
    const hart = machine.createHart();
    const at = BASE + CODE;
    put(machine, at, "addi a0, a0, 1\naddi a0, a0, 1\naddi a0, a0, 1\naddi a0, a0, 1\nbeq a1, zero, .-8\nc.nop\naddi a0, a0, 1\necall");
    hart.setInt(11, 1);
    for (let turn = 0; turn < 3; turn += 1) {
      for (const [from, end, executed] of [
        [0, 4, 1],
        [0, 12, 3],
        [4, 16, 3],
        [8, 14, 1], // half of an instruction at the end
        [0, 18, 4],
        [12, 20, 1],
        [0, 22, 4],
        [0, 24, 4],
      ] as const) {
        hart.setInt(10, 0);
        start(hart, at + from, at + from, end - from);
        const inside = from + 4 * executed;
        const last = inside === 16 && end >= 20 ? (end >= 22 ? 22 : 20) : inside;
        expect(stop(hart), `${from} … ${end}`).toEqual({ code: Exit.Trap, cause: Cause.Cheri, value: LENGTH_OF_PCC, at: at + last });
        expect(hart.getInt(10), `${from} … ${end}`).toBe(executed);
      }
      // A branch out of the part is refused where it stands.
      hart.setInt(11, 0);
      start(hart, at + 12, at + 12, 20);
      expect(stop(hart)).toEqual({ code: Exit.Trap, cause: Cause.Cheri, value: LENGTH_OF_PCC, at: at + 16 });
      // One whose target is inside is taken, until something else stops it.
      hart.setInt(10, 0);
      start(hart, at + 8, at + 8, 24);
      expect(hart.run(3)).toBe(Exit.Fuel);
      expect([hart.getInt(10), hart.pc]).toEqual([6, 0]);
      hart.setInt(11, 1);
      expect(stop(hart)).toEqual({ code: Exit.Ecall, at: at + 26 });
      expect(hart.getInt(10)).toBe(9);
    }
  });

  test("a part that ends with its page, and what reaches into the next", () => {
    const machine = openMachine(engine);
    const hart = machine.createHart();
    const end = BASE + 0x3000;
    put(machine, end - 6, "c.nop\nc.nop\naddi a0, a0, 1\necall");
    for (const mode of [0, 1]) {
      for (const [length, what] of [
        [6, { code: Exit.Trap, cause: Cause.Cheri, value: LENGTH_OF_PCC, at: end - 2 }],
        [7, { code: Exit.Trap, cause: Cause.Cheri, value: LENGTH_OF_PCC, at: end - 2 }],
        [8, { code: Exit.Trap, cause: Cause.Cheri, value: LENGTH_OF_PCC, at: end + 2 }],
        [12, { code: Exit.Ecall, at: end + 2 }],
      ] as const) {
        start(hart, end - 6, end - 6, length, mode);
        expect(stop(hart), `${mode} ${length}`).toEqual(what);
      }
      // The next page cannot be executed: found after PCC's bounds.
      machine.protect(end, 0x1000, Prot.Read | Prot.Write);
      start(hart, end - 6, end - 6, 7, mode);
      expect(stop(hart)).toEqual({ code: Exit.Trap, cause: Cause.Cheri, value: LENGTH_OF_PCC, at: end - 2 });
      start(hart, end - 6, end - 6, 12, mode);
      expect(stop(hart)).toEqual({ code: Exit.Trap, cause: Cause.FetchPage, value: end, at: end - 2 });
      machine.protect(end, 0x1000, Prot.Read | Prot.Write | Prot.Execute);
    }
  });

  test("what changes a page's bytes or its protection is seen by all of its blocks", () => {
    const machine = openMachine(engine);
    const hart = machine.createHart();
    hart.ddc = region();
    const at = BASE + CODE;
    const text = (value: number): string => `addi a0, zero, ${value}\necall`;
    const parts: [Capability, string][] = [0, 1].flatMap((flag) =>
      [8, 10, 0x1000, 0x8000].map((length): [Capability, string] => [
        capability.setFlag(region(Perm.All, at, length), flag),
        `${flag} ${length}`,
      ]),
    );
    const check = (value: number): void => {
      for (const [pcc, what] of parts) {
        hart.pcc = pcc;
        hart.pc = 0;
        expect(stop(hart).code, what).toBe(Exit.Ecall);
        expect(hart.getInt(10), what).toBe(value);
      }
    };
    put(machine, at, text(1));
    check(1);
    // By trusted code, a few bytes and a page.
    put(machine, at, text(2));
    check(2);
    machine.zeroRange(at, 0x1000);
    put(machine, at, text(3));
    check(3);
    // By a store of the program, through DDC and through a capability.
    const store = BASE + 0x6000;
    put(machine, store, "sw a2, 0(a1)\necall");
    put(machine, store + 0x100, "csw a2, 0(c11)\necall", "cap");
    const word = (value: number): number => 0x00000513 | (value << 20);
    hart.pcc = region();
    hart.pc = store - BASE;
    hart.setInt(11, CODE);
    hart.ddc = capability.setAddress(region(), BASE);
    hart.setInt(12, word(4));
    expect(stop(hart).code).toBe(Exit.Ecall);
    check(4);
    hart.pcc = capability.setFlag(region(), 1);
    hart.pc = store + 0x100 - BASE;
    hart.setCapability(11, region(Perm.All, at, 16));
    hart.setInt(12, word(5));
    expect(stop(hart).code).toBe(Exit.Ecall);
    check(5);
    // Not to be executed any more, and again.
    machine.protect(at, 0x1000, Prot.Read);
    for (const [pcc, what] of parts) {
      hart.pcc = pcc;
      hart.pc = 0;
      expect(stop(hart), what).toEqual({ code: Exit.Trap, cause: Cause.FetchPage, value: at, at });
    }
    machine.protect(at, 0x1000, Prot.Read | Prot.Write | Prot.Execute);
    check(5);
  });

  test("an odd base, which a machine without relocation allows", () => {
    const machine = createMachine({ engine, memoryBytes: 1 << 20, relocation: false });
    machine.protect(BASE, 0x4000, Prot.Read | Prot.Write | Prot.Execute);
    const hart = machine.createHart();
    put(machine, BASE, "addi a0, a0, 1\naddi a0, a0, 1\necall");
    hart.pcc = region(Perm.All, BASE + 1, 10);
    hart.pc = BASE + 4;
    expect(hart.run(10)).toBe(Exit.Trap);
    expect([hart.trapCause, hart.trapValue, hart.pc, hart.getInt(10)]).toEqual([Cause.Cheri, LENGTH_OF_PCC, BASE + 8, 1]);
    hart.pc = BASE;
    expect(hart.run(10)).toBe(Exit.Trap);
    expect([hart.trapValue, hart.pc]).toEqual([LENGTH_OF_PCC, BASE]);
  });

  test("more blocks than the pool has: the oldest ones are made again", () => {
    const machine = createMachine({ engine, memoryBytes: 4 << 20 });
    const hart = machine.createHart();
    machine.protect(0x1000, 0x1000 * 1000, Prot.Read | Prot.Write | Prot.Execute);
    for (let page = 1; page <= 1000; page += 1) put(machine, page * 0x1000, `addi a0, a0, ${page % 7}\necall`);
    let wrong = 0;
    const run = (page: number, length: number, flag: number): void => {
      start(hart, page * 0x1000, page * 0x1000, length, flag);
      hart.setInt(10, 0);
      if (hart.run(10) !== Exit.Ecall || hart.getInt(10) !== page % 7) wrong += 1;
    };
    for (const [length, flag] of [
      [8, 0],
      [8, 1],
      [16, 0],
      [0x1000, 1],
      [8, 0],
    ] as const) {
      for (let page = 1; page <= 1000; page += 1) run(page, length, flag);
    }
    put(machine, 0x1000, "addi a0, a0, 1\necall");
    for (const flag of [0, 1]) run(1, 8, flag);
    expect(wrong).toBe(0);
  });
});
