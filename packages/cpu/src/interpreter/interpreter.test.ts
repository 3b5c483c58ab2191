import { describe, expect, test } from "vitest";
import {
  CapCause,
  CapReg,
  Cause,
  Exit,
  Perm,
  Prot,
  type Capability,
  type HartPort,
  type MachineOptions,
  type MachinePort,
} from "../abi.ts";
import { Assembler, assembleInto, assembleText, disassemble } from "../assembler/index.ts";
import * as capability from "../capability/index.ts";
import type { Clause } from "../isa/clause.ts";
import { createDecoder } from "../isa/decode.ts";
import { allClauses } from "../isa/index.ts";
import { createMachine } from "../machine/machine.ts";
import { Interpreter } from "./interpreter.ts";

/** The program's region; offsets in it are what the program sees. */
const BASE = 0x4_0000;
const LENGTH = 0x4_0000;
const CODE = 0x1000;
const DATA = 0x1_0000;
const DATA_END = 0x2_0000;
const CHERI = (register: number, cause: number): number => (register << 5) | cause;

interface Setup extends MachineOptions {
  readonly machine?: MachinePort;
  readonly interpreter?: Interpreter;
  readonly ddc?: Capability;
  readonly pcc?: Capability;
  /** Offset of the code. */
  readonly at?: number;
}
interface Program {
  readonly machine: MachinePort;
  readonly hart: HartPort;
  /** Offset of a label. */
  label(name: string): number;
  /** Runs until anything but lack of fuel. */
  run(): number;
}

const root = capability.root();
const region = (perms: number = Perm.All, base = BASE, length = LENGTH): Capability => capability.derive(root, base, length, perms);

/** Code pages are readable, writable and executable, data pages readable and writable. */
function load(text: string, setup: Setup = {}): Program {
  const machine = setup.machine ?? createMachine({ memoryBytes: 1 << 20, ...setup }, setup.interpreter);
  if (setup.machine === undefined) {
    machine.protect(BASE + CODE, 0x4000, Prot.Read | Prot.Write | Prot.Execute);
    machine.protect(BASE + DATA, DATA_END - DATA, Prot.Read | Prot.Write);
  }
  const at = setup.at ?? CODE;
  const assembler = new Assembler({ origin: at });
  assembleInto(assembler, text);
  machine.storeRange(BASE + at, assembler.assemble());
  const hart = machine.createHart();
  hart.ddc = setup.ddc ?? region();
  hart.pcc = setup.pcc ?? region();
  hart.pc = at;
  const run = (): number => {
    for (;;) {
      const code = hart.run(1000);
      if (code !== Exit.Fuel) return code;
    }
  };
  return { machine, hart, label: (name) => assembler.addressOf(name), run };
}
/** Expects a trap at a label. */
function expectTrap(program: Program, at: string, cause: number, value?: number): void {
  expect(program.run()).toBe(Exit.Trap);
  expect(program.hart.pc).toBe(program.label(at));
  expect(program.hart.trapCause).toBe(cause);
  if (value !== undefined) expect(program.hart.trapValue.toString(16)).toBe(value.toString(16));
}
function expectEcall(program: Program): void {
  const code = program.run();
  const { trapCause, trapValue, pc } = program.hart;
  expect({ code, ...(code === Exit.Trap ? { trapCause, trapValue, pc } : {}) }).toEqual({ code: Exit.Ecall });
}

describe("integer programs", () => {
  test("a loop, a call and its return", () => {
    const p = load(`
      li a0, 0
      li a1, 10
    loop:
      mv a2, a1
      jal ra, square
      add a0, a0, a2
      addi a1, a1, -1
      bnez a1, loop
    done: ecall
    square:
      mul a2, a2, a2
      ret`);
    expectEcall(p);
    expect(p.hart.getInt(10)).toBe(385);
    expect(p.hart.pc).toBe(p.label("done"));
  });

  test("compressed and full instructions mixed give the same", () => {
    const p = load(`
      c.li a0, 5
      addi a0, a0, 7
      c.addi a0, 1
      c.mv a1, a0
      c.slli a1, 4
      c.j over
      c.li a0, 0
    over: c.add a0, a1
      ecall`);
    expectEcall(p);
    expect(p.hart.getInt(10)).toBe(13 + 13 * 16);
  });

  test("x0 stays 0", () => {
    const p = load(`
      addi zero, zero, 5
      li t0, ${DATA}
      ld zero, 0(t0)
      jal zero, on
    on: jalr zero, 0(t1)
    back: mv a0, zero
      ecall`);
    p.machine.storeRange(BASE + DATA, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
    p.hart.setInt(6, p.label("back"));
    expectEcall(p);
    expect(p.hart.getX(10)).toBe(0n);
    expect(p.hart.getX(0)).toBe(0n);
  });

  test("division never fails", () => {
    const p = load(`
      li a1, 1
      slli a1, a1, 63
      li a2, -1
      div a3, a1, a2
      rem a4, a1, a2
      div a5, a1, zero
      rem a6, a1, zero
      ecall`);
    expectEcall(p);
    const signed = (register: number): bigint => BigInt.asIntN(64, p.hart.getX(register));
    expect([signed(13), signed(14), signed(15), signed(16)]).toEqual([-(1n << 63n), 0n, -1n, -(1n << 63n)]);
  });

  test("instructions are counted, those that trap are not", () => {
    const p = load(`
      nop
      li a1, 3
    loop: addi a1, a1, -1
      bnez a1, loop
      rdinstret a0
    bad: .word 0`);
    expectTrap(p, "bad", Cause.IllegalInstruction);
    expect(p.hart.getInt(10)).toBe(8);
    expect(p.hart.instructions).toBe(9);
    expect(p.machine.instructions).toBe(9);
  });

  test("pc-relative results are offsets from PCC's base", () => {
    const p = load(`
    here: auipc a0, 1
      jal a1, on
    on: ecall`);
    expectEcall(p);
    expect(p.hart.getInt(10)).toBe(p.label("here") + 0x1000);
    expect(p.hart.getInt(11)).toBe(p.label("on"));
  });

  test("code runs across a page end, also through an instruction that straddles it", () => {
    const filler = "c.nop\n".repeat(2045);
    const p = load(`
      li a0, 1
    ${filler}
    straddles: addi a0, a0, 6
      c.addi a0, 1
      ecall`);
    expect(p.label("straddles") % 4096).toBe(4094);
    expectEcall(p);
    expect(p.hart.getInt(10)).toBe(8);
  });

  test("jumps and branches between pages, forwards and backwards", () => {
    const p = load(
      `
      li a1, 5
      li a0, 0
    near: addi a0, a0, 1
      beqz a1, end
      j far
    end: ecall
    ${"c.nop\n".repeat(200)}
    far: addi a1, a1, -1
      blt zero, a0, near
      ebreak`,
      { at: CODE + 0xf00 },
    );
    expectEcall(p);
    expect(p.hart.getInt(10)).toBe(6);
  });
});

describe("confinement", () => {
  const last = BASE + LENGTH - 1;
  test.each([
    ["lb", 1],
    ["lh", 2],
    ["lw", 4],
    ["ld", 8],
    ["sb", 1],
    ["sh", 2],
    ["sw", 4],
    ["sd", 8],
  ] as const)("%s is bounded exactly at DDC's first and last byte", (name, size) => {
    // Representable bounds in the middle of pages that allow everything.
    const length = 0xfe0;
    const machine = createMachine({ memoryBytes: 1 << 20 });
    machine.protect(BASE, LENGTH, Prot.Read | Prot.Write | Prot.Execute);
    const ddc = region(Perm.All, BASE + DATA + 0x1010, length);
    const p = load(`at: ${name} a1, 0(a0)\n ecall`, { machine, ddc });
    const outcome = (offset: number): string => {
      p.hart.pc = p.label("at");
      p.hart.setInt(10, offset);
      p.hart.setInt(11, 0x55);
      const code = p.run();
      if (code === Exit.Ecall) return "allowed";
      expect(p.hart.pc).toBe(p.label("at"));
      expect(p.hart.getInt(11)).toBe(0x55);
      return p.hart.trapCause === Cause.Cheri && p.hart.trapValue === CHERI(CapReg.Ddc, CapCause.Length)
        ? "length"
        : `cause ${p.hart.trapCause}`;
    };
    expect(outcome(0)).toBe("allowed");
    expect(outcome(-1)).toBe("length");
    expect(outcome(length - size)).toBe("allowed");
    expect(outcome(length - size + 1)).toBe("length");
    expect(outcome(length)).toBe("length");
    expect(outcome(-BASE)).toBe("length");
    expect(outcome(2 ** 32)).toBe("length");
    expect(outcome(-(2 ** 63))).toBe("length");
  });

  test.each([
    ["without a tag", (cap: Capability) => capability.clearTag(cap), CapCause.Tag],
    ["sealed", (cap: Capability) => capability.seal(cap, { ...root, address: 5n }), CapCause.Seal],
    ["without load permission", (cap: Capability) => capability.andPerms(cap, ~Perm.Load), CapCause.PermitLoad],
  ])("loads through DDC %s", (_what, change, cause) => {
    const p = load(`li a0, ${DATA}\nat: ld a1, 0(a0)`, { ddc: change(region()) });
    expectTrap(p, "at", Cause.Cheri, CHERI(CapReg.Ddc, cause));
  });
  test("stores without store permission; atomics need both", () => {
    const readOnly = load(`li a0, ${DATA}\nat: sd a1, 0(a0)`, { ddc: capability.andPerms(region(), ~Perm.Store) });
    expectTrap(readOnly, "at", Cause.Cheri, CHERI(CapReg.Ddc, CapCause.PermitStore));
    const atomic = load(`li a0, ${DATA}\nat: amoadd.d a1, a1, (a0)`, { ddc: capability.andPerms(region(), ~Perm.Store) });
    expectTrap(atomic, "at", Cause.Cheri, CHERI(CapReg.Ddc, CapCause.PermitStore));
    const writeOnly = load(`li a0, ${DATA}\nat: amoadd.d a1, a1, (a0)`, { ddc: capability.andPerms(region(), ~Perm.Load) });
    expectTrap(writeOnly, "at", Cause.Cheri, CHERI(CapReg.Ddc, CapCause.PermitLoad));
    expect(writeOnly.machine.readU64(BASE + DATA)).toBe(0);
  });

  test("a jump out of PCC traps at the jump and writes no link", () => {
    const p = load(`
      li a0, ${LENGTH}
      li ra, 99
    at: jalr ra, 0(a0)`);
    expectTrap(p, "at", Cause.Cheri, CHERI(CapReg.Pcc, CapCause.Length));
    expect(p.hart.getInt(1)).toBe(99);
    p.hart.pc = p.label("at");
    p.hart.setInt(10, LENGTH - 2); // the last parcel may be jumped to, but is not mapped
    expect(p.run()).toBe(Exit.Trap);
    expect([p.hart.trapCause, p.hart.trapValue, p.hart.pc]).toEqual([Cause.FetchPage, last - 1, LENGTH - 2]);
    p.hart.pc = p.label("at");
    p.hart.setInt(10, -2);
    expectTrap(p, "at", Cause.Cheri, CHERI(CapReg.Pcc, CapCause.Length));
  });

  test("within a page PCC is exact for branches and for running on", () => {
    // PCC ends in the middle of the code's page, 16 bytes behind its start.
    const pcc = { ...region(Perm.All, BASE + CODE, 16) };
    const text = "beq a0, zero, forward\n nop\n nop\n nop\nforward: ecall";
    const machine = createMachine({ memoryBytes: 1 << 20 });
    machine.protect(BASE, LENGTH, Prot.Read | Prot.Write | Prot.Execute);
    const p = load(text, { machine, pcc });
    p.hart.pc = 0;
    expect(p.run()).toBe(Exit.Trap);
    expect([p.hart.pc, p.hart.trapCause, p.hart.trapValue]).toEqual([0, Cause.Cheri, CHERI(CapReg.Pcc, CapCause.Length)]);
    p.hart.pc = 0;
    p.hart.setInt(10, 1);
    expect(p.run()).toBe(Exit.Trap);
    expect([p.hart.pc, p.hart.trapCause, p.hart.trapValue]).toEqual([16, Cause.Cheri, CHERI(CapReg.Pcc, CapCause.Length)]);
    // One parcel more: half of the ecall.
    p.hart.pcc = region(Perm.All, BASE + CODE, 18);
    p.hart.pc = 0;
    expect(p.run()).toBe(Exit.Trap);
    expect([p.hart.pc, p.hart.trapCause]).toEqual([16, Cause.Cheri]);
    p.hart.pcc = region(Perm.All, BASE + CODE, 20);
    p.hart.pc = 0;
    p.hart.setInt(10, 0);
    expectEcall(p);
  });

  test.each([
    ["without a tag", (cap: Capability) => capability.clearTag(cap), CapCause.Tag],
    ["sealed", (cap: Capability) => capability.sealEntry(cap), CapCause.Seal],
    ["without execute permission", (cap: Capability) => capability.andPerms(cap, ~Perm.Execute), CapCause.PermitExecute],
  ])("fetches through PCC %s", (_what, change, cause) => {
    const p = load("at: nop", { pcc: change(region()) });
    expectTrap(p, "at", Cause.Cheri, CHERI(CapReg.Pcc, cause));
  });
});

describe("pages", () => {
  test("unmapped and protected pages fault, with the absolute address", () => {
    const read = load(`li a0, ${DATA_END}\nat: ld a1, 0(a0)`);
    expectTrap(read, "at", Cause.LoadPage, BASE + DATA_END);
    const write = load(`li a0, ${DATA_END}\nat: sd a1, 0(a0)`);
    expectTrap(write, "at", Cause.StorePage, BASE + DATA_END);
    const atomic = load(`li a0, ${DATA_END}\nat: amoswap.w a1, a1, (a0)`);
    expectTrap(atomic, "at", Cause.StorePage, BASE + DATA_END);
    const readOnly = load(`li a0, ${DATA}\nld a1, 0(a0)\nat: sd a1, 0(a0)`);
    readOnly.machine.protect(BASE + DATA, 4096, Prot.Read);
    expectTrap(readOnly, "at", Cause.StorePage);
    const first = load("at: lb a1, 0(zero)");
    expectTrap(first, "at", Cause.LoadPage, BASE);
  });
  test("an access that straddles into a page without permission changes nothing", () => {
    const p = load(`li a0, ${DATA_END - 4}\nli a1, -1\nat: sd a1, 0(a0)`);
    expectTrap(p, "at", Cause.StorePage);
    expect(p.machine.readU32(BASE + DATA_END - 4)).toBe(0);
    const fits = load(`li a0, ${DATA_END - 8}\nli a1, -1\nsd a1, 0(a0)\nld a2, 0(a0)\necall`);
    expectEcall(fits);
    expect(fits.hart.getInt(12)).toBe(-1);
  });
  test("fetching needs execute permission", () => {
    const p = load(`li a0, ${DATA}\njr a0`);
    expect(p.run()).toBe(Exit.Trap);
    expect([p.hart.pc, p.hart.trapCause, p.hart.trapValue]).toEqual([DATA, Cause.FetchPage, BASE + DATA]);
  });
  test("an instruction whose second half may not be fetched", () => {
    const at = CODE + 0x3ffe; // the last parcel of the last code page
    const p = load("at: addi a0, a0, 1", { at });
    expectTrap(p, "at", Cause.FetchPage, BASE + at + 2);
    p.machine.protect(BASE + CODE + 0x4000, 4096, Prot.Read | Prot.Execute);
    p.hart.setInt(10, 4);
    expect(p.run()).toBe(Exit.Trap); // the illegal zeros behind it
    expect([p.hart.getInt(10), p.hart.pc]).toEqual([5, at + 4]);
    p.machine.protect(BASE + CODE + 0x4000, 4096, Prot.Read);
    p.hart.pc = at;
    expectTrap(p, "at", Cause.FetchPage, BASE + at + 2);
  });
  test("misaligned accesses work, also across pages", () => {
    const p = load(`
      li a0, ${DATA + 4093}
      li a1, 0x123456789abcdef
      sd a1, 0(a0)
      ld a2, 0(a0)
      lwu a3, 1(a0)
      lh a4, 5(a0)
      ecall`);
    expectEcall(p);
    expect([p.hart.getX(12), p.hart.getX(13), p.hart.getX(14)]).toEqual([0x123456789abcdefn, 0x6789abcdn, 0x2345n]);
  });
  test("atomics must be aligned", () => {
    expectTrap(load(`li a0, ${DATA + 2}\nat: amoadd.w a1, a1, (a0)`), "at", Cause.StoreMisaligned, BASE + DATA + 2);
    expectTrap(load(`li a0, ${DATA + 4}\nat: lr.d a1, (a0)`), "at", Cause.LoadMisaligned, BASE + DATA + 4);
  });
  test("reads of unmapped pages go through when loads are not checked, stores never", () => {
    const p = load(`li a0, ${DATA_END}\nld a1, 0(a0)\nat: sd a1, 0(a0)`, { checkLoads: false });
    expectTrap(p, "at", Cause.StorePage);
    const first = load("at: lb a1, 0(zero)", { checkLoads: false });
    expectTrap(first, "at", Cause.LoadPage, BASE);
  });
});

describe("code that changes", () => {
  test("a store into code is seen by the next instruction, without fence.i", () => {
    const p = load(`
      la t0, patch
      li t1, 0x00a00513 # li a0, 10
      li a1, 2
    again: sw t1, 0(t0)
    patch: li a0, 1
      addi a1, a1, -1
      mv t1, t2
      bnez a1, again
      ecall`);
    p.hart.setInt(7, 0x01400513); // li a0, 20
    expectEcall(p);
    expect(p.hart.getInt(10)).toBe(20);
  });
  test.each([
    [-2, 0x4699, 13, 6], // the instruction before: c.li a3, 6
    [0, 0x0093, 1, 1], // its lower half: addi ra, zero, 1
    [2, 0x0070, 10, 7], // its upper half: addi a0, zero, 7
  ])("a store of 2 bytes at %i from a 4-byte instruction", (distance, bits, register, value) => {
    const p = load(`
      li a1, 2
    again: c.nop
    patch: addi a0, zero, 1
      c.nop
      sh t1, 0(t0)
      addi a1, a1, -1
      bnez a1, again
      ecall`);
    p.hart.setInt(5, p.label("patch") + distance);
    p.hart.setInt(6, bits);
    expectEcall(p);
    expect(p.hart.getInt(register)).toBe(value);
  });
  test("a store that changes the instruction right behind it, of which both were one pair", () => {
    // c.sd and the first c.addi are a pair.
    const p = load(`
      li a1, 3
    again: c.sd a3, 0(a0)
    patch: c.addi a2, 2
      c.addi a4, 1
      c.addi a4, 1
      c.addi a4, 1
      mv a3, a5
      addi a1, a1, -1
      bnez a1, again
      ecall`);
    p.hart.setInt(10, p.label("patch"));
    const original = p.machine.readBytes(BASE + p.label("patch"), 8);
    p.hart.setX(13, new DataView(original.buffer).getBigUint64(0, true)); // first round: the same bytes
    p.hart.setX(15, 0x0705_0705_0705_0641n); // then: c.addi a2, 16 and c.addi a4, 1 three times
    expectEcall(p);
    expect(p.hart.getInt(12)).toBe(2 + 16 + 16);
    expect(p.hart.getInt(14)).toBe(9);
    expect(p.hart.instructions).toBe(1 + 3 * 8);
  });
  test("a store into the last bytes of the second instruction of a pair", () => {
    const p = load(`
      li a1, 2
    again: addi a2, zero, 1
    second: addi a3, zero, 1
      sh t1, 0(t0)
      addi a1, a1, -1
      bnez a1, again
      ecall`);
    p.hart.setInt(5, p.label("second") + 2);
    p.hart.setInt(6, 0x0070); // addi a3, zero, 7
    expectEcall(p);
    expect([p.hart.getInt(12), p.hart.getInt(13)]).toEqual([1, 7]);
  });
  test("a straddling store reaches code on the next page", () => {
    const machine = createMachine({ memoryBytes: 1 << 20 });
    machine.protect(BASE, LENGTH, Prot.Read | Prot.Write | Prot.Execute);
    const p = load("addi a0, zero, 1\n ecall", { machine, at: CODE + 0x1000 });
    expectEcall(p);
    const writer = load(`li a0, ${CODE + 0xffc}\nsd a1, 0(a0)\necall`, { machine });
    writer.hart.setX(11, 0x00500513_00000000n); // li a0, 5 in the upper half
    expectEcall(writer);
    p.hart.pc = CODE + 0x1000;
    expectEcall(p);
    expect(p.hart.getInt(10)).toBe(5);
  });
  test("the host's writes are seen too", () => {
    const p = load("li a0, 1\n ecall");
    expectEcall(p);
    p.machine.storeRange(BASE + CODE, Uint8Array.from([0x13, 0x05, 0x20, 0x00]));
    p.hart.pc = CODE;
    expectEcall(p);
    expect(p.hart.getInt(10)).toBe(2);
    p.machine.zeroRange(BASE + CODE, 4096);
    p.hart.pc = CODE;
    expect(p.run()).toBe(Exit.Trap);
    expect(p.hart.trapCause).toBe(Cause.IllegalInstruction);
  });
  test("more pages of code than there are blocks", () => {
    // 16 MiB of code: a jump in each page to the next one.
    const pages = 4096;
    const machine = createMachine({ memoryBytes: 64 << 20 });
    machine.protect(0, pages * 4096, Prot.Read | Prot.Write | Prot.Execute);
    const word = new Assembler();
    assembleInto(word, "addi a0, a0, 1\n j . + 4092");
    const bytes = word.assemble();
    for (let page = 0; page < pages; page++) machine.storeRange(page * 4096, bytes);
    machine.storeRange((pages - 1) * 4096, Uint8Array.of(0x73, 0, 0, 0));
    const hart = machine.createHart();
    hart.ddc = root;
    hart.pcc = root;
    for (let round = 1; round <= 2; round++) {
      hart.pc = 0;
      let jumps = 0;
      while (hart.run(1_000_000) !== Exit.Ecall) if (jumps++ > 100) throw new Error(`stopped at ${hart.pc}`);
      expect(hart.getInt(10)).toBe(round * (pages - 1));
    }
  });
});

describe("fuel", () => {
  test("counts taken backward transfers and indirect jumps", () => {
    const p = load(`
    loop: addi a0, a0, 1
      beqz zero, forward
      nop
    forward: bne zero, zero, loop
      j loop`);
    expect(p.hart.run(1)).toBe(Exit.Fuel);
    expect([p.hart.getInt(10), p.hart.pc]).toEqual([1, CODE]);
    expect(p.hart.run(5)).toBe(Exit.Fuel);
    expect(p.hart.getInt(10)).toBe(6);
    expect(p.hart.run(100_000)).toBe(Exit.Fuel);
    expect(p.hart.getInt(10)).toBe(100_006);
    const indirect = load("la a1, on\n jr a1\n on: addi a0, a0, 1\n jr a1");
    expect(indirect.hart.run(1)).toBe(Exit.Fuel);
    expect(indirect.hart.pc).toBe(indirect.label("on"));
    expect(indirect.hart.run(7)).toBe(Exit.Fuel);
    expect(indirect.hart.getInt(10)).toBe(7);
  });
  test("a jump to itself uses fuel, and far backward jumps do", () => {
    expect(load("here: j here").hart.run(10)).toBe(Exit.Fuel);
    const p = load(`near: addi a0, a0, 1\nj far\n${"c.nop\n".repeat(200)}\nfar: beqz zero, near`, { at: CODE + 0xf00 });
    expect(p.hart.run(10)).toBe(Exit.Fuel);
    expect([p.hart.getInt(10), p.hart.pc]).toEqual([10, CODE + 0xf00]);
  });
  test("must be a positive number", () => {
    const p = load("here: j here");
    expect(() => p.hart.run(0)).toThrow(RangeError);
    expect(() => p.hart.run(2 ** 31)).toThrow(RangeError);
  });
});

describe("harts", () => {
  test("two harts keep their own registers and share memory", () => {
    const machine = createMachine({ memoryBytes: 1 << 20 });
    machine.protect(BASE, LENGTH, Prot.Read | Prot.Write | Prot.Execute);
    const text = `
      li t0, ${DATA}
    loop: amoadd.d t1, a0, (t0)
      add a1, a1, a0
      j loop`;
    const one = load(text, { machine });
    const two = load(text, { machine });
    one.hart.setInt(10, 1);
    two.hart.setInt(10, 1000);
    for (let turn = 0; turn < 10; turn++) {
      expect(one.hart.run(3)).toBe(Exit.Fuel);
      expect(two.hart.run(2)).toBe(Exit.Fuel);
    }
    expect([one.hart.getInt(11), two.hart.getInt(11)]).toEqual([30, 20_000]);
    expect(machine.readU64(BASE + DATA)).toBe(20_030);
    expect(machine.instructions).toBe(one.hart.instructions + two.hart.instructions);
  });
  test("a reservation is lost when another hart ran in between, and kept otherwise", () => {
    const text = `li t0, ${DATA}\nlr.d a0, (t0)\n loop: addi a2, a2, -1\n bnez a2, loop\n sc.d a1, a0, (t0)\n ecall`;
    const machine = createMachine({ memoryBytes: 1 << 20 });
    machine.protect(BASE, LENGTH, Prot.Read | Prot.Write | Prot.Execute);
    const p = load(text, { machine });
    p.hart.setInt(12, 3);
    expect(p.hart.run(1)).toBe(Exit.Fuel);
    expectEcall(p);
    expect(p.hart.getInt(11)).toBe(0);
    p.hart.pc = CODE;
    p.hart.setInt(12, 3);
    expect(p.hart.run(1)).toBe(Exit.Fuel);
    const other = load(text, { machine });
    other.hart.setInt(12, 1);
    expectEcall(other);
    expectEcall(p);
    expect(p.hart.getInt(11)).toBe(1);
  });
});

describe("capability registers", () => {
  test("an integer write drops metadata, in loops as well", () => {
    const p = load(`
      cmove c5, c6
      addi t1, t1, 0
      cgettag a0, c5
      cgettag a1, c6
      mv t0, t0
      cgettag a2, c5
      ecall`);
    p.hart.setCapability(6, region());
    expectEcall(p);
    expect([p.hart.getInt(10), p.hart.getInt(11), p.hart.getInt(12)]).toEqual([1, 0, 0]);
    expect(p.hart.getCapability(5).tag).toBe(false);
  });
  test("links drop metadata", () => {
    const p = load("jal ra, near\n near: la t0, far\n jalr t1, 0(t0)\n far: ecall");
    p.hart.setCapability(1, region());
    p.hart.setCapability(6, region());
    p.hart.setCapability(7, region());
    expectEcall(p);
    expect([1, 6, 7].map((register) => p.hart.getCapability(register).tag)).toEqual([false, false, true]);
  });
  test("data stores clear the tags that they touch", () => {
    const p = load(`
      li t0, ${DATA}
      csetbounds c7, c6, t3
      sb zero, 17(t0)
      sd zero, 60(t0)
      ecall`);
    p.hart.setCapability(6, region());
    for (let granule = 0; granule < 8; granule++) p.machine.storeCapability(BASE + DATA + 16 * granule, root);
    expectEcall(p);
    const tags = Array.from({ length: 8 }, (_, granule) => p.machine.loadCapability(BASE + DATA + 16 * granule).tag);
    expect(tags).toEqual([true, false, true, false, false, true, true, true]);
  });
  test("a store that straddles into a page with tags clears there", () => {
    const p = load(`li t0, ${DATA + 4096 - 4}\n sd zero, 0(t0)\n ecall`);
    p.machine.storeCapability(BASE + DATA + 4096, root);
    p.machine.storeCapability(BASE + DATA + 4096 + 16, root);
    expectEcall(p);
    expect(p.machine.loadCapability(BASE + DATA + 4096).tag).toBe(false);
    expect(p.machine.loadCapability(BASE + DATA + 4096 + 16).tag).toBe(true);
  });
});

describe("derived from clauses", () => {
  test("an add that is encoded and computes as sub: assembler, disassembler and interpreter follow", () => {
    const named = (name: string): Clause => allClauses.find((clause) => clause.name === name)!;
    const clauses = allClauses.map((clause): Clause => {
      if (clause.name === "add") return { ...named("sub"), name: "add" };
      return clause.name === "sub" ? { ...named("add"), name: "sub" } : clause;
    });
    const text = "add a2, a0, a1\n";
    const word = (bytes: Uint8Array): number => new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
    const changed = word(assembleText(text, { clauses }));
    expect(changed).not.toBe(word(assembleText(text)));
    expect(changed).toBe(word(assembleText("sub a2, a0, a1\n")));
    expect(disassemble(createDecoder(clauses), changed)).toBe(disassemble(createDecoder(allClauses), word(assembleText(text))));
    expect(disassemble(createDecoder(allClauses), changed)).toMatch(/^sub/u);
    // The same word in the changed interpreter: named add, computing what the changed clause says.
    const p = load(`li a0, 7\n li a1, 5\n .word ${changed}\n ecall`, { interpreter: new Interpreter(clauses) });
    expectEcall(p);
    expect(p.hart.getInt(12)).toBe(2);
  });
  test("changing a clause's meaning changes the interpreter", () => {
    const clauses = allClauses.map((clause) =>
      clause.name === "add" ? { ...clause, semantics: allClauses.find(({ name }) => name === "sub")!.semantics! } : clause,
    );
    const text = "li a0, 7\n li a1, 5\n add a2, a0, a1\n c.add a0, a1\n ecall";
    const changed = load(text, { interpreter: new Interpreter(clauses) });
    expectEcall(changed);
    expect([changed.hart.getInt(12), changed.hart.getInt(10)]).toEqual([2, 2]);
    const standard = load(text);
    expectEcall(standard);
    expect([standard.hart.getInt(12), standard.hart.getInt(10)]).toEqual([12, 12]);
  });
});
