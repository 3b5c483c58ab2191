import { describe, expect, test } from "vitest";
import { Cause, Exit, Prot } from "../abi.ts";
import { ENGINES } from "../engines.test.support.ts";
import { BASE, CODE, DATA, DATA_END, expectEcall, expectTrap, load } from "./program.test.support.ts";

describe.each(ENGINES)("pages, %s", (engine) => {
  test("unmapped and protected pages fault, with the absolute address", () => {
    const read = load(`li a0, ${DATA_END}\nat: ld a1, 0(a0)`, { engine });
    expectTrap(read, "at", Cause.LoadPage, BASE + DATA_END);
    const write = load(`li a0, ${DATA_END}\nat: sd a1, 0(a0)`, { engine });
    expectTrap(write, "at", Cause.StorePage, BASE + DATA_END);
    const atomic = load(`li a0, ${DATA_END}\nat: amoswap.w a1, a1, (a0)`, { engine });
    expectTrap(atomic, "at", Cause.StorePage, BASE + DATA_END);
    const readOnly = load(`li a0, ${DATA}\nld a1, 0(a0)\nat: sd a1, 0(a0)`, { engine });
    readOnly.machine.protect(BASE + DATA, 4096, Prot.Read);
    expectTrap(readOnly, "at", Cause.StorePage);
    const first = load("at: lb a1, 0(zero)", { engine });
    expectTrap(first, "at", Cause.LoadPage, BASE);
  });
  test("an access that straddles into a page without permission changes nothing", () => {
    const p = load(`li a0, ${DATA_END - 4}\nli a1, -1\nat: sd a1, 0(a0)`, { engine });
    expectTrap(p, "at", Cause.StorePage);
    expect(p.machine.readU32(BASE + DATA_END - 4)).toBe(0);
    const fits = load(`li a0, ${DATA_END - 8}\nli a1, -1\nsd a1, 0(a0)\nld a2, 0(a0)\necall`, { engine });
    expectEcall(fits);
    expect(fits.hart.getInt(12)).toBe(-1);
  });
  test("fetching needs execute permission", () => {
    const p = load(`li a0, ${DATA}\njr a0`, { engine });
    expect(p.run()).toBe(Exit.Trap);
    expect([p.hart.pc, p.hart.trapCause, p.hart.trapValue]).toEqual([DATA, Cause.FetchPage, BASE + DATA]);
  });
  test("an instruction whose second half may not be fetched", () => {
    const at = CODE + 0x3ffe; // the last parcel of the last code page
    const p = load("at: addi a0, a0, 1", { engine, at });
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
    const p = load(
      `
      li a0, ${DATA + 4093}
      li a1, 0x123456789abcdef
      sd a1, 0(a0)
      ld a2, 0(a0)
      lwu a3, 1(a0)
      lh a4, 5(a0)
      ecall`,
      { engine },
    );
    expectEcall(p);
    expect([p.hart.getX(12), p.hart.getX(13), p.hart.getX(14)]).toEqual([0x123456789abcdefn, 0x6789abcdn, 0x2345n]);
  });
  test("atomics must be aligned", () => {
    expectTrap(load(`li a0, ${DATA + 2}\nat: amoadd.w a1, a1, (a0)`, { engine }), "at", Cause.StoreMisaligned, BASE + DATA + 2);
    expectTrap(load(`li a0, ${DATA + 4}\nat: lr.d a1, (a0)`, { engine }), "at", Cause.LoadMisaligned, BASE + DATA + 4);
  });
  test("reads of unmapped pages go through when loads are not checked, stores never", () => {
    const p = load(`li a0, ${DATA_END}\nld a1, 0(a0)\nat: sd a1, 0(a0)`, { engine, checkLoads: false });
    expectTrap(p, "at", Cause.StorePage);
    const first = load("at: lb a1, 0(zero)", { engine, checkLoads: false });
    expectTrap(first, "at", Cause.LoadPage, BASE);
  });
});
