/** How generated code finds the function that stands for a pc. */
import { PAGE_SLOTS, SLOT_POOL, TARGET_ENTRIES, TARGETS, TRANSLATION } from "../machine/layout.ts";
import type { Code } from "../wasm/code.ts";

/**
 * Pushes the number in the table of the function at the architectural pc that `pc` pushes (i32); that of slot 0 if nothing is translated there. `address`: a
 * local (i32) that it may use. `codeBase`: where the code is; undefined: read it.
 */
export function pushSlot(c: Code, address: number, pc: () => void, codeBase?: number): void {
  pc();
  if (codeBase === undefined) {
    c.i32(0);
    c.memory("i32.load", TRANSLATION.codeBase);
  } else c.i32(codeBase | 0);
  c.op("i32.add");
  c.tee(address);
  c.i32(12);
  c.op("i32.shr_u");
  c.i32(2);
  c.op("i32.shl");
  c.memory("i32.load", PAGE_SLOTS);
  c.get(address);
  c.i32(4094);
  c.op("i32.and");
  c.i32(1);
  c.op("i32.shl");
  c.op("i32.add");
  c.memory("i32.load", SLOT_POOL);
}

/** Where it is kept in mind what a jump through a register at a pc went to. */
export function targetsOf(pc: number): number {
  return TARGETS + 8 * ((pc >>> 1) % TARGET_ENTRIES);
}
/** Keeps in mind that the jump at `pc` goes to what is in the local `to`. */
export function noteTarget(c: Code, pc: number, to: number): void {
  const at = targetsOf(pc);
  c.get(to);
  c.i32(0);
  c.memory("i32.load", at);
  c.op("i32.ne");
  c.if();
  c.i32(0);
  c.i32(0);
  c.memory("i32.load", at);
  c.memory("i32.store", at + 4);
  c.i32(0);
  c.get(to);
  c.memory("i32.store", at);
  c.end();
}

/** The same for a pc whose slot's place is known. */
export function pushSlotAt(c: Code, slotAddress: number): void {
  c.i32(0);
  c.memory("i32.load", SLOT_POOL + slotAddress);
}
