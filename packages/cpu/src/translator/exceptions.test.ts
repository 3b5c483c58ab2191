/** Accesses that are not allowed, at each place of code that checks several at once: the exception is the interpreter's, so is all state. */
import { describe, expect, test } from "vitest";
import { Cause, Exit, Perm, Prot, type MachineOptions } from "../abi.ts";
import * as capability from "../capability/index.ts";
import { BASE, CODE, DATA, DATA_BYTES, LENGTH, PAGE, region, root, Twins, WAYS, type Way } from "./twins.test.support.ts";

/** Programs that go on from the pointer in s0 until something stops them; s1 is how often at most. */
const PROGRAMS: Readonly<Record<string, string>> = {
  "several offsets": `
    next: ld a1, 0(s0)
      sd a1, 8(s0)
      lw a2, 20(s0)
      addi a3, a3, 1
      sb a3, 31(s0)
      lh a4, -2(s0)
      sd a2, -16(s0)
      ld a5, 2000(s0)
      sw a5, -2000(s0)
      addi s0, s0, 24
      addi s1, s1, -1
      bnez s1, next
      ecall`,
  "a pointer that moves between accesses": `
    next: sd s1, 0(s0)
      addi s0, s0, 8
      sd s1, 0(s0)
      addi s0, s0, -24
      ld a1, 8(s0)
      addi s0, s0, 56
      sw a1, -32(s0)
      addi s1, s1, -1
      bnez s1, next
      ecall`,
  "going down": `
    next: addi s0, s0, -32
      sd s1, 24(s0)
      ld a1, 16(s0)
      sd a1, 8(s0)
      sd s1, 0(s0)
      addi s1, s1, -1
      bnez s1, next
      ecall`,
  "copies of the pointer": `
    next: mv t0, s0
      addi t1, t0, -48
      ld a1, 48(t1)
      sd a1, 56(t1)
      mv t2, t1
      sd a1, 40(t2)
      addi t0, t0, 1000
      ld a2, -992(t0)
      sd a2, -1040(t0)
      addi s0, t0, -968
      addi s1, s1, -1
      bnez s1, next
      ecall`,
  "branches between accesses": `
    next: andi t0, s1, 3
      ld a1, 0(s0)
      beqz t0, over
      sd a1, 8(s0)
      j on
    over: addi s0, s0, 16
      sd a1, 0(s0)
    on: sd a1, 16(s0)
      li t1, 2
      bne t0, t1, keep
      addi s0, s0, 40
    keep: ld a2, 8(s0)
      addi s0, s0, 8
      addi s1, s1, -1
      bnez s1, next
      ecall`,
  "accesses in functions": `
    next: mv a0, s0
      jal ra, put
      addi s0, s0, 16
      mv a0, s0
      jal ra, get
      sd a1, 24(s0)
      addi s1, s1, -1
      bnez s1, next
      ecall
    put: sd s1, 0(a0)
      sd s1, 8(a0)
      ret
    get: ld a1, 0(a0)
      ld a2, 40(a0)
      add a1, a1, a2
      ret`,
  "two pointers": `
    next: ld a1, 0(s0)
      ld a2, 8(s0)
      sd a1, 0(s2)
      sd a2, 8(s2)
      addi s0, s0, 16
      addi s2, s2, 16
      addi s1, s1, -1
      bnez s1, next
      ecall`,
  "pointers that are replaced over a branch, and by a load": `
    next: mv t2, s2
      ld a1, 0(t2)
      sd a1, 0(t2)
      andi t0, s1, 1
      beqz t0, keep
      mv t2, s0
    keep: sd a1, 8(t2)
      andi t0, s1, 2
      mv s6, sp
      sd s0, 0(s6)
      sd s2, 8(s6)
      beqz t0, keep2
      ld s6, 0(s6)
      j on
    keep2: ld s6, 8(s6)
    on: sd a3, 16(s6)
      addi s0, s0, 8
      addi s1, s1, -1
      bnez s1, next
      ecall`,
  "pointers that are replaced in calls": `
    next: mv s4, s2
      ld a2, 0(s4)
      sd a2, 0(s4)
      la t1, swap
      jalr t1
      sd a2, 16(s4)
      ld a3, -8(s4)
      addi s0, s0, 8
      addi s1, s1, -1
      bnez s1, next
      ecall
    swap: andi t0, s1, 1
      beqz t0, back
      mv s4, s0
    back: ret`,
  "pointers that are replaced in inlined calls": `
    next: mv s4, s2
      ld a2, 0(s4)
      sd a2, 0(s4)
      jal ra, swap
      sd a2, 16(s4)
      ld a3, -8(s4)
      addi s0, s0, 8
      addi s1, s1, -1
      bnez s1, next
      ecall
    swap: andi t0, s1, 1
      beqz t0, back
      mv s4, s0
    back: ret`,
  "floats and atomics": `
    next: fld fa0, 0(s0)
      fadd.d fa1, fa1, fa0
      fsd fa1, 8(s0)
      amoadd.w a1, s1, (s0)
      flw fa2, 16(s0)
      lr.d a2, (s0)
      sc.d a3, a1, (s0)
      addi s0, s0, 32
      addi s1, s1, -1
      bnez s1, next
      ecall`,
  "16-bit forms and the stack": `
    next: c.sdsp a1, 0(sp)
      c.ldsp a2, 8(sp)
      c.sd a2, 0(s0)
      c.lw a3, 4(s0)
      c.addi16sp sp, 16
      c.addi s0, 8
      c.sdsp a2, 0(sp)
      c.addi s1, -1
      c.bnez s1, next
      ecall`,
};

interface Edge {
  /** Where something ends or begins. */
  readonly at: number | bigint;
  readonly prepare?: (twins: Twins) => void;
  readonly options?: MachineOptions;
}
const protect =
  (at: number, prot: number) =>
  (twins: Twins): void =>
    twins.each(({ machine }) => machine.protect(BASE + at, PAGE, prot));
const setDdc =
  (ddc: typeof root) =>
  (twins: Twins): void =>
    twins.each(({ hart }) => {
      hart.ddc = ddc;
    });
const MIDDLE = DATA + 3 * PAGE;
const MIB = 1 << 20;

const EDGES: Readonly<Record<string, Edge>> = {
  "the end of DDC": { at: DATA + 3 * PAGE - 32, prepare: setDdc(region(BASE, DATA + 3 * PAGE - 32)) },
  "the end of DDC at an odd address": { at: DATA + 0x123, prepare: setDdc(region(BASE, DATA + 0x123)) },
  "the start of DDC": { at: 0, prepare: (twins) => protect(0, Prot.Read | Prot.Write)(twins) },
  "the start of DDC, its first page not mapped": { at: PAGE, prepare: protect(0x1000, Prot.Read | Prot.Write) },
  "an unmapped page": { at: MIDDLE, prepare: protect(MIDDLE, 0) },
  "a page behind an unmapped one": { at: MIDDLE + PAGE, prepare: protect(MIDDLE, 0) },
  "a read-only page": { at: MIDDLE, prepare: protect(MIDDLE, Prot.Read) },
  "a page that may only be written": { at: MIDDLE, prepare: protect(MIDDLE, Prot.Write) },
  "a page of code": { at: MIDDLE, prepare: protect(MIDDLE, Prot.Read | Prot.Write | Prot.Execute) },
  "a page with tags": {
    at: MIDDLE,
    prepare: (twins) =>
      twins.each(({ machine }) => {
        for (let at = MIDDLE; at < MIDDLE + PAGE; at += 48) machine.storeCapability(BASE + at, region());
      }),
  },
  "the end of the data": { at: DATA + DATA_BYTES },
  "the end of memory": {
    at: MIB - BASE,
    prepare: (twins) =>
      twins.each(({ machine, hart }) => {
        machine.protect(MIB - 2 * PAGE, 2 * PAGE, Prot.Read | Prot.Write);
        hart.ddc = capability.setAddress(root, BASE);
      }),
  },
  "the start of memory, DDC over all of it": {
    at: -BASE,
    prepare: (twins) => {
      twins.from = 0;
      twins.bytes = MIB;
      twins.each(({ machine, hart }) => {
        machine.protect(0, PAGE, Prot.Read | Prot.Write);
        hart.ddc = capability.setAddress(root, BASE);
      });
    },
  },
  "the middle of the address space": { at: 1n << 63n },
  "beyond 32 bits": { at: 1n << 32n, prepare: setDdc(root) },
  "DDC without permission to store": { at: MIDDLE, prepare: setDdc(region(BASE, LENGTH, Perm.Load)) },
  "DDC without permission to load": { at: MIDDLE, prepare: setDdc(region(BASE, LENGTH, Perm.Store)) },
};

/** Distances from an edge at which runs begin; s2 and sp are elsewhere where only s0 shall meet it. */
const DISTANCES = [
  -2100, -2008, -1992, -137, -105, -96, -72, -64, -56, -49, -48, -40, -33, -32, -31, -24, -23, -16, -9, -8, -7, -4, -1, 0, 1, 4, 8, 16, 17,
  24, 32, 40, 64, 1992, 2000, 2040,
];

function meet(way: Way, edge: Edge, text: string): Set<string> {
  const { at, prepare, options } = edge;
  const twins = new Twins(way, options);
  twins.put(text);
  prepare?.(twins);
  const seen = new Set<string>();
  // Another pointer meets it too, or does not.
  const other = /s2|sp/u.test(text);
  // The second time around code is translated on any engine.
  for (let turn = 0; turn < 2; turn++) {
    for (const distance of DISTANCES) {
      const s0 = BigInt(at) + BigInt(distance);
      for (const s2 of other ? [s0 + 264n, BigInt(DATA + 256)] : [s0]) {
        twins.each(({ hart }) => {
          for (let register = 1; register < 32; register++) hart.setInt(register, register * 3);
          hart.setX(8, s0);
          hart.setX(18, s2);
          hart.setX(2, s2 + 40n);
          hart.setInt(9, 6);
          hart.pc = CODE;
        });
        const exit = twins.finish(turn === 0 ? 1000 : 70, 100);
        const { pc, trapCause } = twins.interpreted.hart;
        seen.add(exit === Exit.Trap ? `${pc} ${trapCause}` : "end");
      }
    }
  }
  return seen;
}

describe.each([WAYS[0]!, WAYS[2]!])("accesses that end a run, %s", (_, way) => {
  test.each(Object.entries(PROGRAMS))("%s", (_name, text) => {
    const stops = new Set<string>();
    for (const edge of Object.values(EDGES)) for (const stop of meet(way, edge, text)) stops.add(stop);
    // Stopped at most of its accesses, and in different ways.
    expect(stops.size).toBeGreaterThan(6);
    for (const cause of [Cause.Cheri, Cause.LoadPage, Cause.StorePage])
      expect(
        [...stops].some((stop) => stop.endsWith(` ${cause}`)),
        `${cause}`,
      ).toBe(true);
  });
  test("where loads do not look at pages", () => {
    for (const name of [
      "the end of DDC",
      "the start of DDC, its first page not mapped",
      "a read-only page",
      "a page with tags",
      "the end of memory",
    ]) {
      for (const text of Object.values(PROGRAMS)) meet(way, { ...EDGES[name]!, options: { checkLoads: false } }, text);
    }
  });
});

test("a register that is below the start of DDC, and DDC at the start of memory: what it reaches is inside", () => {
  for (const [, way] of WAYS) {
    const twins = new Twins(way);
    twins.from = 0;
    twins.bytes = MIB;
    twins.each(({ machine, hart }) => {
      machine.protect(0, 2 * PAGE, Prot.Read | Prot.Write);
      hart.ddc = root;
    });
    twins.put(`
      li s1, 50
    next: ld a1, 0(s0)
      addi t0, s0, -24
      ld a2, 24(t0)
      sd a2, 32(t0)
      sd a2, 0(s0)
      addi t1, s0, 16
      sd s1, -16(t1)
      addi t2, s0, -2000
      ld a3, 2000(t2)
      sb a3, 2007(t2)
      addi s1, s1, -1
      bnez s1, next
      ecall`);
    for (const s0 of [0, 8, 16, 1999, 2001, 4090]) {
      twins.start();
      twins.setX(8, s0);
      expect(twins.finish()).toBe(Exit.Ecall);
    }
  }
});

test("the test of pages for a range that begins below the start of memory", () => {
  for (const [, way] of WAYS) {
    for (const prot of [Prot.Read | Prot.Write, Prot.Read]) {
      const twins = new Twins(way);
      twins.from = 0;
      twins.bytes = MIB;
      twins.each(({ machine, hart }) => {
        machine.protect(0, PAGE, prot);
        machine.protect(PAGE, PAGE, Prot.Read | Prot.Write);
        hart.ddc = root;
      });
      // The load proves that s0 is inside; what is stored below it may not be.
      twins.put(`
        li s1, 40
      next: ld a1, 0(s0)
        bnez s1, on
        ecall
      on: sd s1, 0(s0)
        sd s1, -24(s0)
        addi s1, s1, -1
        bgez s1, next
        ecall`);
      const stops = new Set<number>();
      for (const s0 of [PAGE + 64, 8, 16, 23, 24, 32]) {
        twins.each(({ machine }) => machine.storeCapability(0, region()));
        twins.start();
        twins.setX(8, s0);
        twins.finish();
        stops.add(twins.interpreted.hart.pc);
      }
      expect(stops.size).toBe(2);
    }
  }
});
