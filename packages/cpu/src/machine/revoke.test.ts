/** After a sweep no copy of a capability into the range works, wherever it was kept; others stay as they were. */
import { describe, expect, test } from "vitest";
import { Cause, Exit, Perm, Prot } from "../abi.ts";
import { Assembler, assembleInto } from "../assembler/index.ts";
import * as capability from "../capability/index.ts";
import { createMachine, type Machine } from "./machine.ts";
import type { Hart } from "./hart.ts";

const MIB = 1 << 20;
const BUFFER = 0x8_0000;
const LENGTH = 0x1000;
const CODE = 0x1_0000;
const root = capability.root();
const buffer = capability.derive(root, BUFFER, LENGTH, Perm.All);

function make(): { machine: Machine; hart: Hart } {
  const machine = createMachine({ memoryBytes: MIB });
  machine.protect(0, MIB, Prot.Read | Prot.Write | Prot.Execute);
  const hart = machine.createHart();
  hart.ddc = capability.derive(root, 0, 0x4_0000, Perm.All);
  hart.pcc = capability.derive(root, 0, 0x4_0000, Perm.All);
  hart.pc = CODE;
  return { machine, hart };
}
function run(machine: Machine, hart: Hart, text: string): number {
  const assembler = new Assembler({ origin: CODE });
  assembleInto(assembler, text);
  machine.storeRange(CODE, assembler.assemble());
  hart.pc = CODE;
  return hart.run(1000);
}

describe("revoke", () => {
  test("registers of harts that ran and of those that did not", () => {
    const { machine, hart } = make();
    const other = machine.createHart();
    hart.setCapability(10, buffer);
    other.setCapability(31, buffer);
    run(machine, hart, "ecall");
    expect(machine.revoke(BUFFER, LENGTH)).toBe(2);
    expect(hart.getCapability(10)).toMatchObject({ tag: false, base: BigInt(BUFFER) });
    expect(other.getCapability(31).tag).toBe(false);
    expect(run(machine, hart, "ld.cap a1, (ca0)")).toBe(Exit.Trap);
    expect(hart.trapCause).toBe(Cause.Cheri);
  });

  test("narrower ones, sealed ones, empty ones and ones that only overlap; not those beside it", () => {
    const { machine, hart } = make();
    const part = capability.derive(root, BUFFER + 64, 16, Perm.Load);
    const authority = capability.derive(root, 7, 1, Perm.Seal | Perm.Unseal);
    const across = capability.derive(root, BUFFER - 16, 32, Perm.Load);
    const before = capability.derive(root, BUFFER - 32, 32, Perm.Load);
    const behind = capability.derive(root, BUFFER + LENGTH, 32, Perm.Load);
    const empty = capability.derive(root, BUFFER + 32, 0, Perm.Load);
    [part, capability.seal(buffer, authority), across, before, behind, empty].forEach((each, at) => {
      expect(each.tag).toBe(true);
      hart.setCapability(10 + at, each);
    });
    expect(machine.revoke(BUFFER, LENGTH)).toBe(4);
    expect([10, 11, 12, 13, 14, 15].map((register) => hart.getCapability(register).tag)).toEqual([false, false, false, true, true, false]);
  });

  test("memory, the buffer's own too", () => {
    const { machine, hart } = make();
    const kept = capability.derive(root, 0x9_0000, 16, Perm.Load);
    machine.storeCapability(0x2_0000, buffer);
    machine.storeCapability(0x2_0010, kept);
    machine.storeCapability(BUFFER + 32, buffer);
    expect(machine.revoke(BUFFER, LENGTH)).toBe(2);
    expect(machine.countTags(0, MIB)).toBe(1);
    expect(machine.loadCapability(0x2_0010)).toEqual(kept);
    hart.setCapability(10, capability.derive(root, 0, 0x4_0000, Perm.All));
    expect(run(machine, hart, "li t0, 0x20000\n csetaddr ca0, ca0, t0\n lc.cap ca1, (ca0)\n cgettag a2, ca1\n ecall")).toBe(Exit.Ecall);
    expect(hart.getInt(12)).toBe(0);
  });

  test("DDC and PCC: code in a range that is gone does not go on", () => {
    const { machine, hart } = make();
    run(machine, hart, "ecall");
    const other = machine.createHart();
    other.ddc = capability.derive(root, BUFFER, LENGTH, Perm.All);
    other.pcc = other.ddc;
    other.pc = 0;
    expect(machine.revoke(BUFFER, LENGTH)).toBe(2);
    expect(other.run(10)).toBe(Exit.Trap);
    expect(other.trapCause).toBe(Cause.Cheri);
    expect(run(machine, hart, "li t0, 0x3000\n ld t1, 0(t0)\n ecall")).toBe(Exit.Ecall);
  });

  test("what a released hart held counts for nothing, and a range must lie in memory", () => {
    const { machine } = make();
    const other = machine.createHart();
    other.setCapability(10, buffer);
    other.release();
    expect(machine.revoke(BUFFER, LENGTH)).toBe(0);
    expect(() => machine.revoke(MIB - 16, 32)).toThrow(RangeError);
  });
});
