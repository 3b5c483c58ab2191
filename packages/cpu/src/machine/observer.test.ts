import { describe, expect, test } from "vitest";
import { Exit, Perm, Prot, type Capability } from "../abi.ts";
import { assembleText } from "../assembler/index.ts";
import { derive, root } from "../capability/index.ts";
import { createMachine, type Machine } from "./machine.ts";
import type { Hart } from "./hart.ts";
import type { Observer } from "./observer.ts";

const MIB = 1 << 20;
const CODE = 0x1_0000;
const DATA = 0x2_0000;

function prepare(text: string, observer?: Observer): { machine: Machine; hart: Hart } {
  const machine = createMachine({ memoryBytes: MIB }, undefined, observer);
  machine.storeRange(CODE, assembleText(text, { origin: CODE }));
  machine.protect(CODE, 0x1000, Prot.Read | Prot.Execute);
  machine.protect(DATA, 0x2000, Prot.Read | Prot.Write);
  const hart = machine.createHart();
  hart.ddc = root(MIB);
  hart.pcc = root(MIB);
  hart.pc = CODE;
  hart.setInt(10, DATA);
  return { machine, hart };
}

interface Event {
  readonly what: "load" | "store" | "load-cap" | "store-cap";
  readonly address: number;
  readonly size: number;
  readonly value: bigint | Capability;
}

function recorder(): { observer: Observer; events: Event[]; pcs: bigint[] } {
  const events: Event[] = [];
  const pcs: bigint[] = [];
  return {
    events,
    pcs,
    observer: {
      instruction: (pc) => {
        pcs.push(pc);
        return false;
      },
      access: (address, size, store, value) => events.push({ what: store ? "store" : "load", address, size, value }),
      capability: (address, store, value) => events.push({ what: store ? "store-cap" : "load-cap", address, size: 16, value }),
    },
  };
}

describe("an observer", () => {
  test("hears of loads and stores of every size, in order, with values", () => {
    const { observer, events } = recorder();
    const { hart } = prepare(
      `
      li a1, -2
      sb a1, 1(a0)
      sh a1, 2(a0)
      sw a1, 4(a0)
      sd a1, 8(a0)
      lb a2, 1(a0)
      lhu a2, 2(a0)
      lw a2, 4(a0)
      ld a2, 8(a0)
      ecall`,
      observer,
    );
    expect(hart.run(100)).toBe(Exit.Ecall);
    const expected = (what: "load" | "store"): Event[] => [
      { what, address: DATA + 1, size: 1, value: 0xfen },
      { what, address: DATA + 2, size: 2, value: 0xfffen },
      { what, address: DATA + 4, size: 4, value: 0xffff_fffen },
      { what, address: DATA + 8, size: 8, value: 0xffff_ffff_ffff_fffen },
    ];
    expect(events).toEqual([...expected("store"), ...expected("load")]);
  });

  test("hears of both halves of an atomic, of pages that leave the quick path, and of what intrinsics do", () => {
    const { observer, events } = recorder();
    const { hart } = prepare(
      `
      sd a3, 0(a0)
      li a1, 5
      amoadd.d a2, a1, (a0)
      sc ca3, 0x20(a0)
      lc ca4, 0x20(a0)
      ld a5, 0x20(a0)
      sb a1, 0x20(a0)
      ld.cap a5, (ca3)
      ecall`,
      observer,
    );
    const cap = derive(root(MIB), DATA, 64, Perm.Load | Perm.Store | Perm.Global);
    hart.setCapability(13, cap);
    expect(hart.run(100)).toBe(Exit.Ecall);
    expect(hart.getCapability(14)).toEqual(cap);
    expect(events).toEqual([
      { what: "store", address: DATA, size: 8, value: BigInt(DATA) },
      { what: "load", address: DATA, size: 8, value: BigInt(DATA) },
      { what: "store", address: DATA, size: 8, value: BigInt(DATA + 5) },
      { what: "store-cap", address: DATA + 0x20, size: 16, value: cap },
      { what: "load-cap", address: DATA + 0x20, size: 16, value: cap },
      { what: "load", address: DATA + 0x20, size: 8, value: BigInt(DATA) },
      { what: "store", address: DATA + 0x20, size: 1, value: 5n },
      { what: "load", address: DATA, size: 8, value: BigInt(DATA + 5) },
    ]);
  });

  test("hears nothing of an access that a check refuses", () => {
    const { observer, events, pcs } = recorder();
    const { hart } = prepare("sd a0, 0(zero)", observer);
    expect(hart.run(100)).toBe(Exit.Trap);
    expect(events).toEqual([]);
    expect(pcs).toEqual([BigInt(CODE)]);
  });

  test("hears of every instruction, also of those that are done in pairs elsewhere", () => {
    const text = "li a1, 3\nagain: addi a1, a1, -1\nld a2, 0(a0)\nld a3, 8(a0)\nadd a4, a2, a3\nbnez a1, again\necall";
    const { observer, pcs } = recorder();
    const watched = prepare(text, observer).hart;
    const alone = prepare(text).hart;
    expect(watched.run(100)).toBe(Exit.Ecall);
    expect(alone.run(100)).toBe(Exit.Ecall);
    expect(watched.instructions).toBe(alone.instructions);
    expect(pcs.length).toBe(watched.instructions + 1); // the ecall does not retire
    expect(pcs.slice(0, 3)).toEqual([BigInt(CODE), BigInt(CODE + 4), BigInt(CODE + 8)]);
    expect(pcs.at(-1)).toBe(BigInt(watched.pc));
  });

  test("stops before an instruction, and again if it is told so", () => {
    let stop = BigInt(CODE + 8);
    const { hart } = prepare("addi a1, zero, 1\naddi a2, a1, 1\naddi a3, a2, 1\necall", { instruction: (pc) => pc === stop });
    expect(hart.run(100)).toBe(Exit.Stopped);
    expect(hart.pc).toBe(CODE + 8);
    expect(hart.instructions).toBe(2);
    expect(hart.getInt(12)).toBe(2);
    expect(hart.getInt(13)).toBe(0);
    expect(hart.run(100)).toBe(Exit.Stopped);
    stop = 0n;
    expect(hart.run(100)).toBe(Exit.Ecall);
    expect(hart.getInt(13)).toBe(3);
  });

  test("may know nothing", () => {
    const { hart } = prepare("sd a0, 0(a0)\nsc ca3, 0x20(a0)\necall", {});
    expect(hart.run(100)).toBe(Exit.Ecall);
  });
});
