import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import type { Raw } from "../capability/raw.ts";
import { ACTIVE_HART, Cap, CAP_BYTES, CAPS, readRegister, writeRegister } from "../machine/layout.ts";
import { createMachine } from "../machine/machine.ts";

/** 60,000 results of the formal model of CHERI-RISC-V ISAv9; `input<TAB>output` a line. */
const lines = gunzipSync(readFileSync(new URL("../../test-data/capability-arithmetic.tsv.gz", import.meta.url)))
  .toString("latin1")
  .trimEnd()
  .split("\n")
  .map((line) => line.split("\t") as [string, string]);

const machine = createMachine({ memoryBytes: 1 << 20 });
machine.activate(machine.createHart());
const { view } = machine;
type Call = (hart: number, ...args: (number | bigint)[]) => bigint;
const call = (name: string, args: readonly (number | bigint)[]): bigint => (machine.intrinsics[name] as Call)(ACTIVE_HART, ...args);
/** Puts a capability into c5. */
function set(cap: Raw): void {
  writeRegister(view, ACTIVE_HART, 5, cap);
}
/** An unsigned number that an instruction makes of its operands. */
function value(name: string, ...args: (number | bigint)[]): bigint {
  return BigInt.asUintN(64, call(name, args));
}
/** The capability that an instruction makes of c5 and a number in c7. */
function result(name: string, operand: bigint): Raw & { readonly base: bigint; readonly top: bigint } {
  writeRegister(view, ACTIVE_HART, 7, { hi: 0n, address: 1n, tag: false });
  call(name, [7, 5, BigInt.asIntN(64, operand)]);
  const at = ACTIVE_HART + CAPS + 7 * CAP_BYTES;
  return {
    ...readRegister(view, ACTIVE_HART, 7),
    base: view.getBigUint64(at + Cap.base, true),
    top: (BigInt(view.getUint32(at + Cap.topHi, true)) << 64n) | view.getBigUint64(at + Cap.top, true),
  };
}
const hex = (text: string): bigint => BigInt(`0x${text}`);
const OTYPE = 0x3ffffn << 27n;
const saturated = (top: bigint): bigint => (top >> 64n === 0n ? top : (1n << 64n) - 1n);

/** `key=value` of a recorded result, values as numbers. */
function recorded(line: string): Record<string, bigint> {
  return Object.fromEntries(
    line
      .split(" ")
      .slice(1)
      .map((field) => field.split("="))
      .map(([key, value]) => [key!, key === "E" ? BigInt(value!) : hex(value!)]),
  );
}

/** What the instructions give, and what was recorded, in the same words. */
const kinds: Record<string, (args: string[], theirs: Record<string, bigint>) => [ours: unknown[], theirs: unknown[]]> = {
  dec: ([hi, address, tag], theirs) => {
    set({ hi: hex(hi!), address: hex(address!), tag: tag === "1" });
    const otype = theirs.otype! > 0x3fffbn ? BigInt.asUintN(64, theirs.otype! - 0x40000n) : theirs.otype!;
    return [
      ["cgetbase", "cgettop", "cgetperm", "cgettype", "cgetflags", "cgettag", "cgethigh"].map((name) => value(name, 5)),
      [theirs.base, saturated(theirs.top!), theirs.perms, otype, theirs.flags, theirs.tag, theirs.pesbt],
    ];
  },
  sb: ([hi, address, tag, length], theirs) => {
    set({ hi: hex(hi!), address: hex(address!), tag: tag === "1" });
    const rounded = result("csetbounds", hex(length!));
    const exact = result("csetboundsexact", hex(length!));
    return [
      [rounded.hi, rounded.address, rounded.base, rounded.top, BigInt(rounded.tag), exact.hi, BigInt(exact.tag)],
      [theirs.pesbt, theirs.addr, theirs.base, theirs.top, theirs.tag, theirs.pesbt, theirs.tag! & theirs.exact!],
    ];
  },
  rep: ([hi, address, next], theirs) => {
    // Tagged and unsealed: then the tag of the result is the answer.
    set({ hi: hex(hi!) & ~OTYPE, address: hex(address!), tag: true });
    const fast = result("cincoffset", hex(next!) - hex(address!)).tag;
    const precise = result("csetaddr", hex(next!)).tag;
    return [
      [BigInt(fast), BigInt(precise)],
      [theirs.fast, theirs.precise],
    ];
  },
  crr: ([length], theirs) => {
    const number = BigInt.asIntN(64, hex(length!));
    return [
      [value("crrl", number), value("cram", number)],
      [theirs.crrl, theirs.cram],
    ];
  },
};

describe("recorded results of the formal model, by instructions in WebAssembly", () => {
  test.each(Object.keys(kinds))("%s", (kind) => {
    expect(String(machine.intrinsics.csetbounds)).toContain("[native code]");
    const different: unknown[] = [];
    let count = 0;
    for (const [input, output] of lines) {
      const [name, ...args] = input.split(" ");
      if (name !== kind) continue;
      count += 1;
      const [ours, theirs] = kinds[kind]!(args, recorded(output));
      if (String(ours) !== String(theirs)) different.push({ input, ours, theirs });
    }
    expect(count).toBeGreaterThan(9_000);
    expect(different.slice(0, 3)).toEqual([]);
    expect(different.length).toBe(0);
  });
});
