/** Guests that use up what the translator has: it stays within its limits, they go on, and their results are right. */
import { describe, expect, test } from "vitest";
import { Exit, Perm, Prot } from "../abi.ts";
import * as capability from "../capability/index.ts";
import { createMachine } from "../machine/machine.ts";
import { TRANSLATION_DEFAULTS, type TranslatorOptions } from "./translator.ts";
import { assemble, BASE, CODE, DATA, PAGE, root, same, Twins, WAYS, type Way } from "./twins.test.support.ts";

const eager: Way = { engine: "eager" };

/** Machines that `make` creates have other limits. */
function withLimits<T>(limits: Partial<Pick<TranslatorOptions, "capacity" | "limits">>, make: () => T): T {
  const before = { ...TRANSLATION_DEFAULTS };
  Object.assign(TRANSLATION_DEFAULTS, limits);
  try {
    return make();
  } finally {
    Object.assign(TRANSLATION_DEFAULTS, before);
  }
}

test("code on more pages than there are blocks of slots", () => {
  const pages = 4400;
  const machine = createMachine({ ...eager, memoryBytes: 32 << 20 });
  machine.protect(0, pages * PAGE, Prot.Read | Prot.Write | Prot.Execute);
  const { bytes } = assemble("addi a0, a0, 1\nadd t0, t0, t1\njr t0", 0);
  for (let page = 1; page < pages; page++) machine.storeRange(page * PAGE, bytes);
  machine.storeRange((pages - 1) * PAGE, assemble("ecall", 0).bytes);
  const hart = machine.createHart();
  hart.ddc = root;
  hart.pcc = root;
  for (const round of [1, 2]) {
    hart.pc = PAGE;
    hart.setInt(5, PAGE);
    hart.setInt(6, PAGE);
    expect(hart.run(1_000_000)).toBe(Exit.Ecall);
    expect(hart.getInt(10)).toBe(round * (pages - 2));
  }
  expect(machine.translator!.stats.flushes).toBeGreaterThan(0);
});

test("more processes with the same code than there are blocks of slots", () => {
  const processes = 4400;
  const machine = createMachine({ engine: "translator", translateAfter: 1, memoryBytes: 72 << 20 });
  const window = 4 * PAGE;
  machine.protect(0, processes * window, Prot.Read | Prot.Write | Prot.Execute);
  const { bytes } = assemble("next: addi a0, a0, 3\nj next", 0);
  const hart = machine.createHart();
  hart.ddc = root;
  for (let at = 1; at < processes; at++) {
    machine.storeRange(at * window, bytes);
    hart.pcc = capability.derive(root, at * window, window, Perm.All);
    for (let turn = 0; turn < 3; turn++) {
      hart.pc = 0;
      hart.setInt(10, 0);
      expect(hart.run(200)).toBe(Exit.Fuel);
      expect(hart.getInt(10)).toBe(600);
    }
  }
  const { links, flushes } = machine.translator!.stats;
  expect(links).toBeGreaterThan(4096);
  expect(flushes).toBeGreaterThan(0);
});

/** Writes a function of two instructions, calls it, and so on; s1: where, s3: how far the next one is. */
const GENERATOR = `
  next: slli t0, s0, 20
    li t1, 0x00050513
    or t0, t0, t1
    sw t0, 0(s1)
    srli t0, s0, 11
    slli t0, t0, 20
    or t0, t0, t1
    sw t0, 4(s1)
    li t0, 0x00008067
    sw t0, 8(s1)
    jalr s1
    add s1, s1, s3
    addi s0, s0, -1
    bnez s0, next
    ecall`;
const BUFFER = 0x8000;

describe.each(WAYS)("code that is generated without end, %s", (_, way) => {
  const run = (twins: Twins, rounds: number, distance: number): void => {
    twins.put(GENERATOR);
    twins.start();
    twins.setX(8, rounds);
    twins.setX(9, BUFFER);
    twins.setX(19, distance);
    expect(twins.finish(1_000_000)).toBe(Exit.Ecall);
  };
  test("at one place: no more versions are kept than a few", () => {
    const twins = new Twins(way);
    run(twins, 600, 0);
    const { stats } = twins.translator;
    expect(stats.bytes).toBeLessThan(20_000);
    // Each version is another translation where all that runs is translated.
    if (way.engine === "eager") expect(stats.units).toBeGreaterThan(600);
  });
  test("at new places, over and over: what is kept stays below the limit", () => {
    const twins = withLimits({ capacity: 60 * 24 * 1024 }, () => new Twins(way));
    for (let turn = 0; turn < 3; turn++) run(twins, 300, 32);
    expect(twins.translator.stats.bytes).toBeLessThan(60 * 600);
    if ((way.translateAfter ?? 1) === 1) expect(twins.translator.stats.flushes).toBeGreaterThan(5);
  });
  test("one version after the other comes back: those that are known are used again", () => {
    const twins = new Twins(way);
    twins.put("addi a0, a0, 0\nret", BUFFER);
    twins.put(`
    again: lw t0, 0(s2)
      sw t0, 0(s1)
      jalr s1
      lw t0, 4(s2)
      sw t0, 0(s1)
      jalr s1
      addi s0, s0, -1
      bnez s0, again
      ecall`);
    twins.each(({ machine }) => machine.storeRange(BASE + DATA, assemble("addi a0, a0, 3\naddi a1, a1, 5").bytes));
    twins.start();
    twins.setX(8, 2000);
    twins.setX(9, BUFFER);
    twins.setX(18, DATA);
    expect(twins.finish(1_000_000)).toBe(Exit.Ecall);
    expect([twins.translated.hart.getInt(10), twins.translated.hart.getInt(11)]).toEqual([6000, 10_000]);
    expect(twins.translator.stats.units).toBeLessThan(20);
  });
});

test("two translations that share an entry, of which one changes and changes back: nothing is linked twice", () => {
  // `shared` is called by both; the first caller's code changes all the time.
  const twins = new Twins(eager);
  const label = twins.put(`
  one: addi a0, a0, 1
    addi sp, sp, -16
    sd ra, 0(sp)
    jal ra, shared
    ld ra, 0(sp)
    addi sp, sp, 16
    ret
  two: addi a0, a0, 100
    addi sp, sp, -16
    sd ra, 0(sp)
    jal ra, shared
    ld ra, 0(sp)
    addi sp, sp, 16
    ret
  shared: addi sp, sp, -16
    sd ra, 0(sp)
    jal ra, leaf
    jal ra, leaf
    ld ra, 0(sp)
    addi sp, sp, 16
    ret
  leaf: addi a2, a2, 1
    ret
  main: jal ra, one
    sw t1, 0(s1)
    jal ra, two
    jal ra, one
    sw t2, 0(s1)
    addi s0, s0, -1
    bnez s0, main
    ecall`);
  const { machine } = twins.translated;
  const word = machine.readU32(BASE + label("one"));
  twins.setX(2, DATA + 0x1000);
  twins.setX(6, word + (1 << 20));
  twins.setX(7, word);
  twins.setX(8, 500);
  twins.setX(9, label("one"));
  twins.start(label("main"));
  expect(twins.finish(1_000_000)).toBe(Exit.Ecall);
  const { stats } = twins.translator;
  expect(stats.units).toBeLessThan(20);
  expect(stats.links - stats.unlinks).toBeLessThan(30);
});

test("a table of functions that grows", () => {
  const twins = new Twins(eager);
  // Functions that call the next one: regions of their own, in few units.
  const functions = Array.from(
    { length: 1500 },
    (_, at) => `f${at}: addi a0, a0, ${at % 7}\naddi t1, ra, 0\njal t0, f${at + 1}\njr t1`,
  ).join("\n");
  twins.put(`jal ra, f0\necall\n${functions}\nf1500: addi a1, a1, 1\njr t0`);
  for (let turn = 0; turn < 2; turn++) {
    twins.start();
    expect(twins.finish(100)).toBe(Exit.Ecall);
  }
});

describe.each(WAYS)("deep calls, %s", (_, way) => {
  const DEEP = `
    mv a1, s0
    jal ra, down
    ecall
  down: beqz a1, bottom
    addi sp, sp, -16
    sd ra, 0(sp)
    addi a1, a1, -1
    jal ra, down
    ld ra, 0(sp)
    addi sp, sp, 16
    addi a2, a2, 3
  bottom: ret`;
  test("a million calls deep and back", () => {
    const twins = new Twins(way, { memoryBytes: 32 << 20 });
    const depth = 1_000_000;
    const top = 0x20_0000 + 16 * depth + ((-16 * depth) & (PAGE - 1));
    const { bytes } = assemble(DEEP);
    twins.each(({ machine, hart }) => {
      machine.protect(0x20_0000, top - 0x20_0000, Prot.Read | Prot.Write);
      machine.storeRange(BASE + CODE, bytes);
      hart.ddc = root;
    });
    twins.from = top - 0x1_0000;
    twins.bytes = 0x1_0000;
    twins.start();
    twins.setX(2, top);
    twins.setX(8, depth);
    expect(twins.finish(300_000)).toBe(Exit.Ecall);
    expect(twins.translated.hart.getInt(12)).toBe(3 * depth);
    expect(twins.translated.hart.instructions).toBe(9 * depth + 4);
  });
  test("system calls and exceptions at each depth", () => {
    const text = (inside: string): string => `
      mv a1, s0
      jal ra, down
      ecall
    down: ${inside}
      beqz a1, bottom
      addi sp, sp, -16
      sd ra, 0(sp)
      addi a1, a1, -1
      jal ra, down
      ld ra, 0(sp)
      addi sp, sp, 16
      addi a2, a2, 3
      ${inside}
    bottom: ret`;
    for (const inside of ["ecall", "ld a3, 0(zero)", "sd a3, 0(s2)", "ebreak", ".word 0x00000057"]) {
      const twins = new Twins(way);
      const label = twins.put(text(inside));
      twins.bytes = 0x100;
      twins.start();
      twins.setX(2, DATA + 0x8000);
      twins.setX(8, 1000);
      twins.setX(18, 0x3_fff9);
      let events = 0;
      for (; events < 5000; events++) {
        const code = twins.finish(1_000_000);
        const { pc } = twins.interpreted.hart;
        if (code === Exit.Ecall && pc === label("down") - 4) break;
        // What is in memory is looked at now and then only.
        twins.start(pc + 4);
      }
      expect(events).toBe(2001);
      expect(twins.translated.hart.getInt(12)).toBe(3000);
      twins.bytes = 0x4_0000;
      twins.compare(Exit.Ecall, Exit.Ecall);
    }
  });
});

test("functions, blocks and inlined code at small limits", () => {
  const text = `
    li s0, 40
  next: andi t0, s0, 3
    beqz t0, a
    li t1, 2
    beq t0, t1, b
    jal ra, leaf
    j join
  a: jal ra, leaf
    jal ra, leaf
    j join
  b: addi s1, s1, 1
    bltu s1, s0, join
    sd s1, 0(a0)
  join: addi s0, s0, -1
    bgtz s0, next
    ecall
  leaf: andi t2, s0, 1
    beqz t2, even
    addi s2, s2, 5
    ret
  even: addi s2, s2, 7
    ret`;
  const { limits } = TRANSLATION_DEFAULTS;
  for (const change of [
    { instructions: 1 },
    { instructions: 3, blocks: 2 },
    { blocks: 1 },
    { instructions: 7, inline: 3 },
    { inline: 0 },
    { hammock: 0, inline: 5 },
    { inlineTotal: 6 },
    { inlineDepth: 0 },
  ]) {
    withLimits({ limits: { ...limits, ...change } }, () => same(eager, text, { fuels: [1000, 1, 66] }));
  }
});
