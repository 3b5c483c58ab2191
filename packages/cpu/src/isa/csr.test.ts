import { describe, expect, test } from "vitest";
import { CapCause, CapReg, Cause, Exit, Perm, Prot, type EngineName } from "../abi.ts";
import * as cap from "../capability/index.ts";
import { ENGINES } from "../engines.test.support.ts";
import { boot, RAM, type Booted } from "../machine/boot.test.support.ts";
import { createMachine } from "../machine/machine.ts";
import { csrIsReadOnly, csrNumbers, csrPrivilege, CSRS } from "./csr.ts";

const ASR = BigInt((CapReg.Pcc << 5) | CapCause.AccessSystemRegs);
const withoutAsr = cap.andPerms(cap.root(), Perm.All & ~Perm.AccessSystemRegs);
/** Those that a program without AccessSystemRegs may use (CHERI ISAv9, table of whitelisted CSRs). */
const WHITELIST = /^(fflags|frm|fcsr|cycle|time|instret|hpmcounter\d+)$/u;

/** What an access came to: its result in a0, or the exception. */
type Outcome = "fine" | { cause: number; value: bigint };
function outcome(b: Booted): Outcome {
  const exit = b.cpu.hart.run(1000);
  if (exit === Exit.Ecall) return "fine";
  expect(exit).toBe(Exit.Trap);
  return { cause: b.cpu.hart.trapCause, value: BigInt(b.cpu.hart.trapValue) };
}
/** Runs a program that ends well; its registers. */
function finish(engine: EngineName, text: string, options: Parameters<typeof boot>[1] = {}): Booted {
  const b = boot(`${text}\n ecall`, { engine, ...options });
  expect(outcome(b)).toBe("fine");
  return b;
}
/** All counters and floating point reachable from every privilege. */
const OPEN = "li t0, -1\n csrw mcounteren, t0\n csrw scounteren, t0\n li t0, 0x2000\n csrw mstatus, t0\n";

describe.each(ENGINES)("who may use which register, %s", (engine) => {
  const machine = createMachine({ engine, memoryBytes: 1 << 20, privileged: true });
  test("numbers and names are one to one", () => {
    expect(csrNumbers.size).toBe(CSRS.length);
    expect(new Set(CSRS.map(({ number }) => number)).size).toBe(CSRS.length);
  });
  test.each(CSRS.map(({ name, number }) => [name, number] as const))("%s", (name, number) => {
    const at = `0x${number.toString(16)}`;
    const b = boot(`${OPEN} ecall\n read: csrr a0, ${at}\n ecall\n write: csrw ${at}, a1\n ecall\n set: csrrsi a0, ${at}, 0\n ecall`, {
      machine,
    });
    expect(outcome(b)).toBe("fine");
    const illegal = (label: string): Outcome => ({
      cause: Cause.IllegalInstruction,
      value: BigInt(machine.readU32(b.label(label))),
    });
    for (const privilege of [0, 1, 3] as const) {
      const reached = privilege >= csrPrivilege(number);
      for (const pcc of [cap.root(), withoutAsr]) {
        b.cpu.hart.pcc = pcc;
        const allowed: Outcome = pcc === withoutAsr && !WHITELIST.test(name) ? { cause: Cause.Cheri, value: ASR } : "fine";
        b.cpu.hart.setX(10, 77n);
        b.start("read", privilege);
        expect(outcome(b)).toEqual(reached ? allowed : illegal("read"));
        if (!reached) expect(b.x(10)).toBe(77n);
        // Setting nothing is no write.
        b.start("set", privilege);
        expect(outcome(b)).toEqual(reached ? allowed : illegal("set"));
        if (number === 0x300) continue; // the write would switch floating point and counters
        b.start("write", privilege);
        b.cpu.hart.setX(11, 0n);
        expect(outcome(b)).toEqual(reached && !csrIsReadOnly(number) ? allowed : illegal("write"));
      }
    }
    b.cpu.hart.release();
  });
  test("without machine mode only the unprivileged ones exist, and uccsr", () => {
    const plain = createMachine({ engine, memoryBytes: 1 << 20 });
    plain.protect(RAM, 0x1000, Prot.Read | Prot.Execute);
    const hart = plain.createHart();
    hart.pcc = cap.root();
    const exist: number[] = [];
    for (let number = 0; number < 4096; number++) {
      // csrrs a0, number, zero; ecall
      plain.storeRange(RAM, new Uint8Array(Uint32Array.of(((number << 20) | 0x2573) >>> 0, 0x73).buffer));
      hart.pc = RAM;
      if (hart.run(1) === Exit.Ecall) exist.push(number);
      else expect([number, hart.trapCause]).toEqual([number, Cause.IllegalInstruction]);
    }
    expect(exist).toEqual([1, 2, 3, 0x8c0, ...Array.from({ length: 32 }, (_, at) => 0xc00 + at)]);
  });
  test("with it those of the table exist, and no others", () => {
    const b = boot("nop", { machine });
    const exist: number[] = [];
    for (let number = 0; number < 4096; number++) {
      machine.storeRange(RAM, new Uint8Array(Uint32Array.of(((number << 20) | 0x2573) >>> 0, 0x73).buffer));
      b.cpu.hart.pc = RAM;
      if (outcome(b) === "fine") exist.push(number);
    }
    // Floating point is off.
    expect(exist).toEqual(CSRS.map(({ number }) => number).filter((number) => number > 3));
    b.cpu.hart.release();
  });
  test("counters are reached from below only when the levels above say so", () => {
    const b = boot(
      "ecall\n cycle: csrr a0, cycle\n ecall\n hpm: csrr a0, hpmcounter31\n ecall\n change: csrw mcounteren, a1\n csrw scounteren, a2\n ecall",
      {
        machine,
      },
    );
    const reach = (machineEnable: bigint, supervisorEnable: bigint): string => {
      b.cpu.hart.setX(11, machineEnable);
      b.cpu.hart.setX(12, supervisorEnable);
      b.start("change");
      expect(outcome(b)).toBe("fine");
      return (["cycle", "hpm"] as const)
        .flatMap((label) =>
          ([0, 1, 3] as const).map((privilege) => {
            b.start(label, privilege);
            return outcome(b) === "fine" ? "y" : "n";
          }),
        )
        .join("");
    };
    expect(reach(0n, 0n)).toBe("nnynny");
    expect(reach(1n, 0n)).toBe("nyynny");
    expect(reach(0n, 1n)).toBe("nnynny");
    expect(reach(1n, 1n)).toBe("yyynny");
    expect(reach(0x8000_0000n, 0x8000_0000n)).toBe("nnyyyy");
    b.cpu.hart.release();
  });
});

describe.each(ENGINES)("what registers hold, %s", (engine) => {
  test.each([
    ["mscratch", -1n, -1n],
    ["mcause", 0x8000_0000_0000_0007n, 0x8000_0000_0000_0007n],
    ["mtval", -1n, -1n],
    ["sscratch", 5n, 5n],
    ["misa", 0n, 0x8000_0000_0094_112dn],
    ["medeleg", -1n, 0x1c00_b3ffn],
    ["mideleg", -1n, 0x222n],
    ["mie", -1n, 0xaaan],
    ["mip", -1n, 0x222n],
    ["mcounteren", -1n, 0xffff_ffffn],
    ["mtvec", 0x1235n, 0x1235n],
    ["mepc", 0x1235n, 0x1234n],
    ["stvec", -4n, -4n],
    ["sepc", -1n, -2n],
    ["satp", 0x8000_0000_0008_0000n, 0n],
    ["pmpcfg0", -1n, 0n],
    ["pmpcfg14", -1n, 0n],
    ["pmpaddr63", -1n, 0n],
    ["mcountinhibit", -1n, 0n],
    ["mhpmcounter31", -1n, 0n],
    ["mhpmevent3", -1n, 0n],
    // Machine mode's fields; then those that supervisor mode sees. Neither UXL nor SXL can be changed.
    ["mstatus", -1n, 0x8000_000a_007e_79aan],
    ["sstatus", -1n, 0x8000_0002_000c_6122n],
  ])("%s, written 0x%x", (name, value, expected) => {
    const b = finish(engine, `li a1, ${BigInt.asIntN(64, value)}\n csrw ${name}, a1\n csrr a0, ${name}`);
    expect(BigInt.asIntN(64, b.x(10))).toBe(BigInt.asIntN(64, expected));
  });
  test.each(["mvendorid", "marchid", "mimpid", "mhartid"])("%s of the first hart is 0", (name) => {
    expect(finish(engine, `li a0, 1\n csrr a0, ${name}`).x(10)).toBe(0n);
  });
  test("mhartid is the hart's own", () => {
    const first = boot("csrr a0, mhartid\n ecall", { engine });
    const second = boot("csrr a0, mhartid\n ecall", { machine: first.machine });
    expect([outcome(second), second.x(10), outcome(first), first.x(10)]).toEqual(["fine", 1n, "fine", 0n]);
  });
  test("MPP takes no privilege that does not exist", () => {
    const b = finish(engine, "li a1, 0x800\n csrw mstatus, a1\n li a1, 0x1000\n csrw mstatus, a1\n csrr a0, mstatus");
    expect(b.x(10) & 0x1800n).toBe(0x800n);
  });
  test("sie and sip show what is delegated", () => {
    const b = finish(
      engine,
      "li a1, 0x222\n csrw mie, a1\n csrw mip, a1\n li a2, 0x20\n csrw mideleg, a2\n csrr a0, sie\n csrr a3, sip\n csrw sie, zero\n csrw sip, zero\n csrr a4, mie\n csrr a5, mip",
    );
    expect([10, 13, 14, 15].map((register) => b.x(register))).toEqual([0x20n, 0x20n, 0x202n, 0x222n]);
  });
  test("counters go on from what was written", () => {
    const b = finish(
      engine,
      "li a1, 1000\n csrw minstret, a1\n csrr a0, minstret\n nop\n csrr a2, instret\n li a1, -1\n csrw mcycle, a1\n csrr a3, mcycle\n csrr a4, mcycle\n csrr a5, minstret",
    );
    expect([10, 12, 13, 14, 15].map((register) => b.x(register))).toEqual([1000n, 1002n, 0xffff_ffff_ffff_ffffn, 0n, 1007n]);
  });
  test.each([
    [true, true, 0x8000_0001n],
    [false, true, 0xc000_0001n],
    [true, false, 0x0000_0001n],
    [false, false, 0x4000_0001n],
  ])("xccsr with relocation %s, tag clearing %s", (relocation, tagClearing, value) => {
    const b = finish(engine, "li a0, -1\n csrw mccsr, a0\n csrr a0, mccsr\n csrr a1, sccsr\n csrr a2, uccsr", { relocation, tagClearing });
    expect([10, 11, 12].map((register) => b.x(register))).toEqual([value, value, value]);
  });
});

describe.each(ENGINES)("views of special registers, %s", (engine) => {
  const bounded = (perms: number = Perm.All) => cap.derive(cap.root(), RAM, 0x1000, perms);
  test.each([
    ["mtvec", "mtcc"],
    ["stvec", "stcc"],
    ["mepc", "mepcc"],
    ["sepc", "sepcc"],
  ])("%s is the offset of %s", (csr, scr) => {
    const text = `cspecialrw c0, ${scr}, c11\n csrr a0, ${csr}\n li t0, 0x80\n csrw ${csr}, t0\n csrr a2, ${csr}\n cspecialrw c13, ${scr}, c0\n ecall`;
    const run = (relocation: boolean): Booted => {
      const b = boot(text, { engine, relocation });
      b.cpu.hart.setCapability(11, cap.setAddress(bounded(), RAM + 0x40));
      expect(outcome(b)).toBe("fine");
      return b;
    };
    const relocated = run(true);
    expect([relocated.x(10), relocated.x(12)]).toEqual([0x40n, 0x80n]);
    expect(relocated.cpu.hart.getCapability(13)).toEqual(cap.setAddress(bounded(), RAM + 0x80));
    const absolute = run(false);
    expect([absolute.x(10), absolute.x(12)]).toEqual([BigInt(RAM + 0x40), 0x80n]);
    expect(absolute.cpu.hart.getCapability(13)).toMatchObject({ tag: false, address: 0x80n });
  });
  test("a write that the bounds cannot hold, or to a sealed register, clears the tag", () => {
    for (const value of [bounded(), cap.sealEntry(bounded(Perm.Execute))]) {
      const b = boot("cspecialrw c0, mepcc, c11\n li t0, 0x4000000\n csrw mepc, t0\n cspecialrw c13, mepcc, c0\n ecall", { engine });
      b.cpu.hart.setCapability(11, value);
      expect(outcome(b)).toBe("fine");
      expect(b.cpu.hart.getCapability(13)).toMatchObject({ tag: false, address: BigInt(RAM + 0x400_0000) });
    }
  });
  test("a trap vector whose base is not aligned to 4 is not taken over", () => {
    const b = boot("cspecialrw c0, mtcc, c11\n cspecialrw c13, mtcc, c0\n ecall", { engine });
    b.cpu.hart.setCapability(11, cap.derive(cap.root(), RAM + 2, 64, Perm.All));
    expect(outcome(b)).toBe("fine");
    expect(b.cpu.hart.getCapability(13)).toEqual(cap.root());
  });
});

describe.each(ENGINES)("special capability registers by privilege, %s", (engine) => {
  const LEVEL: Readonly<Record<number, 0 | 1 | 3>> = { 4: 0, 5: 0, 6: 0, 7: 0, 12: 1, 13: 1, 14: 1, 15: 1, 28: 3, 29: 3, 30: 3, 31: 3 };
  const machine = createMachine({ engine, memoryBytes: 1 << 20, privileged: true });
  test.each(Array.from({ length: 32 }, (_, scr) => scr))("%i", (scr) => {
    const b = boot(`read: cspecialrw c10, ${scr}, c0\n ecall\n write: cspecialrw c10, ${scr}, c11\n ecall`, { machine });
    for (const privilege of [0, 1, 3] as const) {
      for (const pcc of [cap.root(), withoutAsr]) {
        for (const label of ["read", "write"]) {
          b.cpu.hart.pcc = pcc;
          b.cpu.hart.ddc = cap.root();
          b.cpu.hart.setCapability(11, cap.root());
          b.start(label, privilege);
          const level = scr < 2 ? 0 : LEVEL[scr];
          const illegal = level === undefined || privilege < level || (scr === 0 && label === "write");
          const system = scr >= 2 && pcc === withoutAsr;
          expect(outcome(b)).toEqual(
            illegal
              ? { cause: Cause.IllegalInstruction, value: BigInt(machine.readU32(b.label(label))) }
              : system
                ? { cause: Cause.Cheri, value: BigInt(((0x20 | scr) << 5) | CapCause.AccessSystemRegs) }
                : "fine",
          );
        }
      }
    }
    b.cpu.hart.release();
  });
});
