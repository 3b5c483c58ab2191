import { describe, expect, test } from "vitest";
import { CapCause, CapReg, Cause, Exit, OTYPE_SENTRY, OTYPE_UNSEALED, Perm } from "../abi.ts";
import { assembleText } from "../assembler/index.ts";
import * as cap from "../capability/index.ts";
import { ENGINES } from "../engines.test.support.ts";
import { standardInterpreter } from "../interpreter/interpreter.ts";
import { boot, HANDLER, RAM, RAM_BYTES, UNMAPPED } from "./boot.test.support.ts";
import { createMachine } from "./machine.ts";
import { PrivilegedHart } from "./privileged.ts";

const PCC = (cause: number): bigint => BigInt((CapReg.Pcc << 5) | cause);
const INTERRUPT = 1n << 63n;
/** The instruction, as mtval has it. */
function wordOf(text: string): bigint {
  const bytes = assembleText(text);
  return bytes.reduceRight((word, byte) => (word << 8n) | BigInt(byte), 0n);
}
const SETUP = "  la t0, handler\n  csrw mtvec, t0\n";
/** Goes on at `target` with these bits in mstatus: MPP 0x1800, MPIE 0x80. */
const enter = (status: number, target: string): string =>
  `  li t0, ${status}\n  csrw mstatus, t0\n  la t0, ${target}\n  csrw mepc, t0\n  mret\n`;

describe.each(ENGINES)("trap entry, %s", (engine) => {
  test.each([
    ["ecall", "ecall", Cause.EcallM, 0n],
    ["ebreak", "ebreak", Cause.Breakpoint, 0n],
    ["c.ebreak", "c.ebreak", Cause.Breakpoint, 0n],
    ["an unknown word", ".word 0x0000000b", Cause.IllegalInstruction, 0xbn],
    ["an unknown half-word", ".half 0x9c61", Cause.IllegalInstruction, 0x9c61n],
    ["the instruction 0", ".half 0", Cause.IllegalInstruction, 0n],
    ["an unknown register", "csrr a0, 0x7c0", Cause.IllegalInstruction, wordOf("csrr a0, 0x7c0")],
    ["a write to a read-only register", "csrw mhartid, a0", Cause.IllegalInstruction, wordOf("csrw mhartid, a0")],
    ["an unknown special register", "cspecialrw c1, 2, c0", Cause.IllegalInstruction, wordOf("cspecialrw c1, 2, c0")],
    ["a reserved rounding mode", "csrwi frm, 5\n at: fadd.s fa0, fa0, fa0", Cause.IllegalInstruction, wordOf("fadd.s fa0, fa0, fa0")],
    ["a load from nowhere", "ld a0, 8(a1)", Cause.LoadAccess, BigInt(UNMAPPED + 8)],
    ["a store to nowhere", "sb a0, 1(a1)", Cause.StoreAccess, BigInt(UNMAPPED + 1)],
    ["an atomic on nothing", "amoadd.w a0, a0, (a1)", Cause.StoreAccess, BigInt(UNMAPPED)],
    ["a misaligned atomic", "addi a1, a1, 2\n at: amoadd.w a0, a0, (a1)", Cause.StoreMisaligned, BigInt(UNMAPPED + 2)],
    ["a misaligned load-reserved", "addi a1, a1, 4\n at: lr.d a0, (a1)", Cause.LoadMisaligned, BigInt(UNMAPPED + 4)],
    ["an untagged capability", "lb.cap a0, (c3)", Cause.Cheri, BigInt((3 << 5) | CapCause.Tag)],
    ["a load capability from nowhere", "lc c4, 16(a1)", Cause.LoadAccess, BigInt(UNMAPPED + 16)],
  ])("%s", (_, text, cause, value) => {
    const b = boot(
      `${SETUP} li t0, 0x2000\n csrs mstatus, t0\n li a1, ${UNMAPPED}\n ${text.includes("at:") ? text : `at: ${text}`}\n j .\n${HANDLER}`,
      { engine },
    );
    b.runTo("caught");
    expect([b.x(5), b.x(6), b.x(7)]).toEqual([BigInt(cause), value, BigInt(b.label("at"))]);
    expect(b.cpu.lastTrap).toMatchObject({ cause, value, address: BigInt(b.label("at")), interrupt: false, from: 3 });
    expect(b.cpu.traps).toBe(1);
  });
  test("a jump to nowhere traps at its target", () => {
    const b = boot(`${SETUP} li a1, ${UNMAPPED + 2}\n jr a1\n${HANDLER}`, { engine });
    b.runTo("caught");
    expect([b.x(5), b.x(6), b.x(7)]).toEqual([BigInt(Cause.FetchAccess), BigInt(UNMAPPED + 2), BigInt(UNMAPPED + 2)]);
  });
  test("an instruction whose second half is nowhere", () => {
    const last = RAM + RAM_BYTES - 2;
    const b = boot(`${SETUP} li a1, ${last}\n li a2, 0x13\n sh a2, 0(a1)\n jr a1\n${HANDLER}`, { engine });
    b.runTo("caught");
    expect([b.x(5), b.x(6), b.x(7)]).toEqual([BigInt(Cause.FetchAccess), BigInt(last + 2), BigInt(last)]);
  });
  test("what traps does not retire, and changes nothing", () => {
    const b = boot(`${SETUP} csrr a2, minstret\n li a0, 7\n at: ld a0, 0(zero)\n${HANDLER}`, { engine });
    b.runTo("handler");
    expect(b.x(10)).toBe(7n);
    expect(b.x(12) + 2n).toBe(BigInt(b.cpu.hart.instructions));
  });
  test("PCC becomes MTCC, and MEPCC what PCC was", () => {
    const b = boot(
      `
      cspecialrw c0, mtcc, c6
      jalr.cap c0, c7
    inner: ecall
      .balign 4
    probe: cspecialrw c5, mepcc, c0
    done: j .`,
      { engine },
    );
    const vector = cap.setAddress(cap.derive(cap.root(), RAM, RAM_BYTES, Perm.All), b.label("probe"));
    const program = cap.setAddress(cap.derive(cap.root(), RAM, 0x100, Perm.Execute | Perm.Load | Perm.Global), b.label("inner"));
    b.cpu.hart.setCapability(6, vector);
    b.cpu.hart.setCapability(7, program);
    b.runTo("probe");
    expect(b.cpu.hart.pcc).toEqual(vector);
    expect(b.cpu.hart.pc).toBe(b.label("probe") - RAM);
    b.runTo("done");
    expect(b.cpu.hart.getCapability(5)).toEqual(program);
  });
  test("the interrupt enable and the privilege are pushed, and popped by mret", () => {
    const b = boot(
      `
      la t0, handler
      csrw mtvec, t0
      csrsi mstatus, 8
      ecall
      csrr a1, mstatus
      ${enter(0x80, "user")}
    user:
      ecall
    done: j done
      .balign 4
    handler:
      csrr a0, mstatus
      csrr t0, mcause
      li t1, ${Cause.EcallU}
      beq t0, t1, done
      csrr t0, mepc
      addi t0, t0, 4
      csrw mepc, t0
      mret`,
      { engine },
    );
    const FIELDS = 0x1888n;
    b.runTo("handler");
    expect(b.cpu.privilege).toBe(3);
    b.cpu.run(1);
    b.runTo("user");
    expect(b.x(10) & FIELDS).toBe(0x1880n); // from machine mode with interrupts on
    expect(b.x(11) & FIELDS).toBe(0x0088n); // on again, MPP is the lowest
    expect(b.cpu.privilege).toBe(0);
    b.runTo("done");
    expect(b.cpu.privilege).toBe(3);
    expect(b.x(10) & FIELDS).toBe(0x0080n); // from user mode
  });
  test("a trap in the handler is one of its own", () => {
    const b = boot(
      `
      la t0, first
      csrw mtvec, t0
      ecall
      .balign 4
    first:
      la t0, handler
      csrw mtvec, t0
      at: ebreak
      ${HANDLER}`,
      { engine },
    );
    b.runTo("caught");
    expect([b.x(5), b.x(7), b.cpu.traps]).toEqual([BigInt(Cause.Breakpoint), BigInt(b.label("at")), 2]);
  });
  test("a vector that cannot be fetched from traps for ever, for one unit of fuel each time", () => {
    const b = boot(`li t0, ${UNMAPPED}\n csrw mtvec, t0\n ecall`, { engine });
    expect(b.cpu.run(100)).toBe(Exit.Fuel);
    expect(b.cpu.traps).toBe(100);
    expect(b.cpu.lastTrap).toMatchObject({ cause: Cause.FetchAccess, address: BigInt(UNMAPPED) });
  });
  test("without the option there is no machine mode", () => {
    expect(() => new PrivilegedHart(createMachine({ engine, memoryBytes: 1 << 20 }), 0)).toThrow(TypeError);
  });
  test("reset makes everything as it was at the start", () => {
    const b = boot(`li a0, 1\n csrwi mscratch, 5\n csrwi mie, 8\n csrwi mstatus, 8\n ${enter(0, "user")} user: ecall\n`, { engine });
    b.cpu.run(3);
    expect(b.cpu.traps).toBeGreaterThan(0);
    b.machine.storeRange(RAM, assembleText("csrr a1, mscratch\ncsrr a2, mie\ncsrr a3, mstatus\ncsrr a4, mepc\nj ."));
    b.cpu.reset(RAM);
    expect([b.cpu.privilege, b.x(10)]).toEqual([3, 0n]);
    b.cpu.run(2);
    expect([11, 12, 13, 14].map((register) => b.x(register))).toEqual([0n, 0n, 0xa_0000_0000n, 0n]);
  });
});

describe.each(ENGINES)("trap return, %s", (engine) => {
  test("mret needs machine mode, then AccessSystemRegs", () => {
    const b = boot(`${SETUP} j .\n at: mret\n${HANDLER}`, { engine });
    b.cpu.run(1);
    b.cpu.hart.pcc = cap.andPerms(cap.root(), Perm.All & ~Perm.AccessSystemRegs);
    b.start("at", 3);
    expect(b.cpu.hart.run(1)).toBe(Exit.Trap);
    expect([b.cpu.hart.trapCause, BigInt(b.cpu.hart.trapValue)]).toEqual([Cause.Cheri, PCC(CapCause.AccessSystemRegs)]);
    for (const privilege of [0, 1] as const) {
      b.start("at", privilege);
      expect(b.cpu.hart.run(1)).toBe(Exit.Trap);
      expect([b.cpu.hart.trapCause, BigInt(b.cpu.hart.trapValue)]).toEqual([Cause.IllegalInstruction, wordOf("mret")]);
    }
    expect(b.cpu.hart.pc).toBe(b.label("at"));
  });
  const authority = cap.setAddress(cap.root(), 42);
  const target = (b: { label(name: string): number }) =>
    cap.setAddress(cap.derive(cap.root(), RAM, RAM_BYTES, Perm.All), b.label("target"));
  test.each([
    ["a sentry is unsealed", (c: ReturnType<typeof target>) => cap.sealEntry(c), undefined],
    ["sealed otherwise, the fetch fails", (c: ReturnType<typeof target>) => cap.seal(c, authority), CapCause.Seal],
    ["untagged, the fetch fails", (c: ReturnType<typeof target>) => cap.clearTag(c), CapCause.Tag],
    ["not executable, the fetch fails", (c: ReturnType<typeof target>) => cap.andPerms(c, Perm.Load), CapCause.PermitExecute],
  ])("MEPCC: %s", (_, change, cause) => {
    const b = boot(`${SETUP} cspecialrw c0, mepcc, c10\n mret\n target: nop\n done: j done\n${HANDLER}`, { engine });
    b.cpu.hart.setCapability(10, change(target(b)));
    if (cause === undefined) {
      b.runTo("done");
      expect(b.cpu.hart.pcc).toMatchObject({ tag: true, otype: OTYPE_UNSEALED, base: BigInt(RAM), top: BigInt(RAM + RAM_BYTES) });
      expect(cap.sealEntry(target(b)).otype).toBe(OTYPE_SENTRY);
    } else {
      b.runTo("caught");
      expect([b.x(5), b.x(6), b.cpu.privilege]).toEqual([BigInt(Cause.Cheri), PCC(cause), 3]);
      expect(b.cpu.lastTrap).toMatchObject({ from: 0, address: BigInt(b.label("target")) });
    }
  });
  test("an odd exception pc is made even", () => {
    const b = boot(`la t0, target\n addi t0, t0, 1\n csrw mepc, t0\n csrr a0, mepc\n mret\n target: j .\n`, { engine });
    b.runTo("target");
    expect(b.x(10)).toBe(BigInt(b.label("target")));
    const raw = boot(`cspecialrw c0, mepcc, c10\n csrr a0, mepc\n mret\n target: j .\n`, { engine });
    raw.cpu.hart.setCapability(10, cap.setAddress(cap.root(), raw.label("target") + 1));
    raw.runTo("target");
    expect(raw.x(10)).toBe(BigInt(raw.label("target")));
  });
  test("wfi and sfence.vma do nothing where they are allowed", () => {
    const b = boot("wfi\n sfence.vma zero, zero\n sfence.vma a0, a1\n done: j done", { engine });
    b.runTo("done");
    expect(b.cpu.traps).toBe(0);
    for (const text of ["wfi", "sfence.vma zero, a0"]) {
      const user = boot(`${SETUP} j .\n at: ${text}\n${HANDLER}`, { engine });
      user.cpu.run(1);
      user.start("at", 0);
      user.runTo("caught");
      expect([user.x(5), user.x(6)]).toEqual([BigInt(Cause.IllegalInstruction), wordOf(text)]);
    }
  });
  test.each([
    ["wfi", 21],
    ["sfence.vma zero, zero", 20],
    ["csrr a0, satp", 20],
    ["sret", 22],
  ])("mstatus keeps %s from supervisor mode", (text, bit) => {
    const b = boot(`${SETUP} li t0, ${2 ** bit}\n csrw mstatus, t0\n j .\n at: ${text}\n${HANDLER}`, { engine });
    b.cpu.run(1);
    b.start("at", 1);
    b.runTo("caught");
    expect([b.x(5), b.x(6)]).toEqual([BigInt(Cause.IllegalInstruction), wordOf(text)]);
  });
});

describe.each(ENGINES)("vectors and interrupts, %s", (engine) => {
  const TABLE = `
    .balign 4
  handler: j exception
    j .
    j .
    j software
    j .
    j .
    j .
    j timer
    j .
    j .
    j .
    j external
  exception: j exception
  software: j software
  timer: j timer
  external: j external
  `;
  const vectored = (body: string): string => `la t0, handler\n addi t0, t0, 1\n csrw mtvec, t0\n ${body}\n${TABLE}`;
  test("vectored mode is for interrupts only", () => {
    const b = boot(vectored("csrr a0, mtvec\n ecall"), { engine });
    b.runTo("exception");
    expect(b.x(10)).toBe(BigInt(b.label("handler") + 1));
    const timer = boot(vectored("li t0, 0x80\n csrw mie, t0\n csrsi mstatus, 8\n wait: j wait"), { engine });
    timer.runTo("wait");
    timer.cpu.setInterrupt(7, true);
    timer.runTo("timer");
    expect(timer.cpu.lastTrap).toEqual({
      cause: 7,
      interrupt: true,
      value: 0n,
      address: BigInt(timer.label("wait")),
      ecall: false,
      from: 3,
    });
  });
  test("direct mode sends all to the base", () => {
    const b = boot(`${SETUP} li t0, 0x80\n csrw mie, t0\n csrsi mstatus, 8\n wait: j wait\n${HANDLER}`, { engine });
    b.runTo("wait");
    b.cpu.setInterrupt(7, true);
    b.runTo("caught");
    expect([b.x(5), b.x(6), b.x(7)]).toEqual([INTERRUPT | 7n, 0n, BigInt(b.label("wait"))]);
    expect(b.cpu.hart.run(1)).toBe(Exit.Fuel);
  });
  test("modes that do not exist leave the mode as it was; a vector is aligned to 4", () => {
    const b = boot(
      "li t0, 0x1002\n csrw mtvec, t0\n csrr a0, mtvec\n li t0, 0x2001\n csrw mtvec, t0\n li t0, 0x3003\n csrw mtvec, t0\n csrr a1, mtvec\n done: j done",
      {
        engine,
      },
    );
    b.runTo("done");
    expect([b.x(10), b.x(11)]).toEqual([0x1000n, 0x3001n]);
  });
  test("order: external, software, timer; an interrupt that is off in mie waits", () => {
    const b = boot(vectored("li t0, 0x880\n csrw mie, t0\n csrsi mstatus, 8\n wait: j wait"), { engine });
    b.runTo("wait");
    for (const number of [3, 7, 11]) b.cpu.setInterrupt(number, true);
    b.runTo("external");
    b.cpu.setInterrupt(11, false);
    b.start("wait");
    expect(b.cpu.takeInterrupt()).toBe(false); // the entry has switched interrupts off
    b.cpu.reset(RAM);
    b.runTo("wait");
    for (const number of [3, 7]) b.cpu.setInterrupt(number, true);
    b.runTo("timer");
  });
  test("in a lower privilege they come whatever MIE says, and machine mode is not interrupted without it", () => {
    const b = boot(vectored(`li t0, 0x80\n csrw mie, t0\n ${enter(0, "user")} user: j user`), { engine });
    b.cpu.setInterrupt(7, true);
    b.runTo("timer");
    expect(b.cpu.lastTrap).toMatchObject({ from: 0, address: BigInt(b.label("user")) });
  });
  test("switched on by an instruction, an interrupt comes before the next one", () => {
    const b = boot(vectored("li t0, 0x80\n csrw mie, t0\n csrsi mstatus, 8\n next: li a0, 1\n j ."), { engine });
    b.cpu.setInterrupt(7, true);
    b.cpu.run(100);
    expect(b.x(10)).toBe(0n);
    expect(b.cpu.lastTrap).toMatchObject({ cause: 7, address: BigInt(b.label("next")) });
  });
  test("requestStop comes back, and the next run goes on", () => {
    let count = 0;
    const observer = { instruction: () => (count++ === 4 ? (cpu.requestStop(), false) : false) };
    const machine = createMachine({ engine, memoryBytes: 1 << 20, privileged: true }, standardInterpreter(), observer);
    const { cpu, x } = boot("loop: addi a0, a0, 1\n j loop", { machine });
    expect(cpu.run(1_000_000)).toBe(Exit.Stopped);
    const before = x(10);
    expect(before).toBeGreaterThan(1n);
    expect(before).toBeLessThan(1_000_000n);
    expect(cpu.run(10)).toBe(Exit.Fuel);
    expect(x(10)).toBe(before + 10n);
  });
});

describe.each(ENGINES)("delegation to supervisor mode, %s", (engine) => {
  const program = (delegated: number): string => `
      ${SETUP}
      la t0, supervisor
      csrw stvec, t0
      li t0, ${delegated}
      csrw medeleg, t0
      ${enter(0, "user")}
    user: ecall
    back: nop
      ebreak
    ${HANDLER}
      .balign 4
    supervisor:
      csrr a0, scause
      csrr a1, sepc
      csrr a2, stval
      csrr a3, sstatus
      addi a1, a1, 4
      csrw sepc, a1
      sret
    `;
  test("an exception that is delegated goes to STCC, and sret returns", () => {
    const b = boot(program(1 << Cause.EcallU), { engine });
    b.runTo("supervisor");
    expect(b.cpu.privilege).toBe(1);
    b.runTo("back");
    expect(b.cpu.privilege).toBe(0);
    expect([b.x(10), b.x(11), b.x(12), b.x(13) & 0x100n]).toEqual([BigInt(Cause.EcallU), BigInt(b.label("back")), 0n, 0n]);
    b.runTo("caught");
    expect(b.x(5)).toBe(BigInt(Cause.Breakpoint));
  });
  test("others, and those of machine mode, do not", () => {
    const b = boot(program(1 << Cause.Breakpoint), { engine });
    b.runTo("caught");
    expect(b.x(5)).toBe(BigInt(Cause.EcallU));
    const machine = boot(`${SETUP} li t0, 8\n csrw medeleg, t0\n ebreak\n${HANDLER}`, { engine });
    machine.runTo("caught");
    expect(machine.x(5)).toBe(BigInt(Cause.Breakpoint));
  });
  test("ecall of supervisor mode has a cause of its own, and SPP says where from", () => {
    const b = boot(
      `${SETUP} la t0, supervisor\n csrw stvec, t0\n li t0, ${1 << Cause.EcallS}\n csrw medeleg, t0\n ${enter(0x800, "s")} s: ecall\n${HANDLER}
       .balign 4\n supervisor: csrr a0, scause\n csrr a1, sstatus\n done: j done`,
      { engine },
    );
    b.runTo("done");
    expect([b.x(10), b.x(11) & 0x100n]).toEqual([BigInt(Cause.EcallS), 0x100n]);
  });
  test("a delegated interrupt", () => {
    const b = boot(
      `la t0, supervisor\n csrw stvec, t0\n csrwi mideleg, 2\n csrwi mie, 2\n csrwi mip, 2\n ${enter(0, "user")} user: j user
       .balign 4\n supervisor: csrr a0, scause\n csrwi sip, 0\n csrr a1, sip\n done: j done`,
      { engine },
    );
    b.cpu.run(100);
    expect(b.cpu.privilege).toBe(1);
    expect(b.x(10)).toBe(INTERRUPT | 1n);
    expect([b.x(11), b.cpu.traps]).toEqual([0n, 1]);
  });
});

describe.each(ENGINES)("floating point, %s", (engine) => {
  const ON = "li t0, 0x2000\n csrs mstatus, t0\n";
  const OFF = "li t0, 0x6000\n csrc mstatus, t0\n";
  test.each([
    "fadd.d fa0, fa1, fa2",
    "fld fa0, 0(a0)",
    "c.fsd fa0, 0(a0)",
    "fmv.x.d a0, fa0",
    "csrr a0, fcsr",
    "csrwi frm, 1",
    "fpclear 0, 1",
  ])("off, %s is an illegal instruction", (text) => {
    const b = boot(`${SETUP} ${ON} la a0, handler\n nop\n ${OFF} at: ${text}\n j .\n${HANDLER}`, { engine });
    b.runTo("caught");
    expect([b.x(5), b.x(6), b.x(7)]).toEqual([BigInt(Cause.IllegalInstruction), wordOf(text), BigInt(b.label("at"))]);
  });
  test("switched in a loop, code that was decoded already follows", () => {
    const b = boot(
      `
      la t0, handler
      csrw mtvec, t0
      li s1, 0x6000
      li s2, 5
    loop:
      csrs mstatus, s1
      fcvt.d.l fa0, s2
      fadd.d fa1, fa1, fa0
      csrc mstatus, s1
      fadd.d fa1, fa1, fa0
      addi s2, s2, -1
      bnez s2, loop
    done: j done
      .balign 4
    handler:
      addi a0, a0, 1
      csrr t0, mepc
      addi t0, t0, 4
      csrw mepc, t0
      li t0, 0x1800
      csrs mstatus, t0
      mret`,
      { engine },
    );
    b.runTo("done");
    expect(b.x(10)).toBe(5n);
    expect(b.cpu.hart.getF(11)).toBe(0x402e_0000_0000_0000n); // 15
  });
  test("on, it counts as dirty", () => {
    const b = boot(`csrr a0, mstatus\n ${ON} csrr a1, mstatus\n done: j done`, { engine });
    b.runTo("done");
    expect([b.x(10) & 0x6000n, b.x(10) >> 63n, b.x(11) & 0x6000n, b.x(11) >> 63n]).toEqual([0n, 0n, 0x6000n, 1n]);
  });
});
