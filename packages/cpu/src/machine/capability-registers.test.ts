import { describe, expect, test } from "vitest";
import { ENGINES } from "../engines.test.support.ts";
import { BASE, DATA, expectEcall, load, region, root } from "./program.test.support.ts";

describe.each(ENGINES)("capability registers, %s", (engine) => {
  test("an integer write drops metadata, in loops as well", () => {
    const p = load(
      `
      cmove c5, c6
      addi t1, t1, 0
      cgettag a0, c5
      cgettag a1, c6
      mv t0, t0
      cgettag a2, c5
      ecall`,
      { engine },
    );
    p.hart.setCapability(6, region());
    expectEcall(p);
    expect([p.hart.getInt(10), p.hart.getInt(11), p.hart.getInt(12)]).toEqual([1, 0, 0]);
    expect(p.hart.getCapability(5).tag).toBe(false);
  });
  test("hints that name a register leave its metadata alone; the instructions that they look like do not", () => {
    const p = load("c.addi t0, 0\nc.slli t0, 0\nc.srli a0, 0\nc.srai a0, 0\naddi t1, t1, 0\nslli t2, t2, 0\necall", { engine });
    for (const register of [5, 6, 7, 10]) p.hart.setCapability(register, region());
    expectEcall(p);
    expect([5, 6, 7, 10].map((register) => p.hart.getCapability(register).tag)).toEqual([true, false, false, true]);
  });
  test("links drop metadata", () => {
    const p = load("jal ra, near\n near: la t0, far\n jalr t1, 0(t0)\n far: ecall", { engine });
    p.hart.setCapability(1, region());
    p.hart.setCapability(6, region());
    p.hart.setCapability(7, region());
    expectEcall(p);
    expect([1, 6, 7].map((register) => p.hart.getCapability(register).tag)).toEqual([false, false, true]);
  });
  test("data stores clear the tags that they touch", () => {
    const p = load(
      `
      li t0, ${DATA}
      csetbounds c7, c6, t3
      sb zero, 17(t0)
      sd zero, 60(t0)
      ecall`,
      { engine },
    );
    p.hart.setCapability(6, region());
    for (let granule = 0; granule < 8; granule++) p.machine.storeCapability(BASE + DATA + 16 * granule, root);
    expectEcall(p);
    const tags = Array.from({ length: 8 }, (_, granule) => p.machine.loadCapability(BASE + DATA + 16 * granule).tag);
    expect(tags).toEqual([true, false, true, false, false, true, true, true]);
  });
  test("a store that straddles into a page with tags clears there", () => {
    const p = load(`li t0, ${DATA + 4096 - 4}\n sd zero, 0(t0)\n ecall`, { engine });
    p.machine.storeCapability(BASE + DATA + 4096, root);
    p.machine.storeCapability(BASE + DATA + 4096 + 16, root);
    expectEcall(p);
    expect(p.machine.loadCapability(BASE + DATA + 4096).tag).toBe(false);
    expect(p.machine.loadCapability(BASE + DATA + 4096 + 16).tag).toBe(true);
  });
});
