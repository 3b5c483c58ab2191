import { expect, test } from "vitest";
import { allIntrinsics } from "../interpreter/interpreter.ts";
import { ModuleBuilder } from "../wasm/module.ts";
import { engine } from "../wasm/engine.ts";
import { decodeUnit, encodeUnit, hashHead, HEAD_BYTES, headsOf, variantOf, type StoredUnit } from "./store.ts";
import { TRANSLATION_DEFAULTS } from "./translator.ts";

const isKnown = (name: string): boolean => Object.hasOwn(allIntrinsics, name);
const names = Object.keys(allIntrinsics).slice(0, 3);

/** A unit with two ranges, the second beyond 32 bits, and a real module. */
function unit(changes: Partial<StoredUnit> = {}): StoredUnit {
  const bytes = Uint8Array.from({ length: 150 }, (_, at) => at * 7);
  return {
    entries: [0x1000, 0x2_0000_0010],
    ranges: [
      { from: 0x0ffe, to: 0x1004 },
      { from: 0x2_0000_0000, to: 0x2_0000_0090 },
    ],
    bytes,
    maxTarget: 0x2_0000_0020,
    binary: new ModuleBuilder().finish(0),
    instructions: 40,
    intrinsics: names,
    ...changes,
  };
}
const encoded = (): Uint8Array<ArrayBuffer> => encodeUnit(unit())!;

test("a unit comes back as it was, and can be compiled", () => {
  const back = decodeUnit(encoded(), isKnown)!;
  expect(back).toEqual(unit());
  expect(() => new engine.Module(back.binary)).not.toThrow();
});
test("a unit in the middle of a larger buffer is the same", () => {
  const bytes = encoded();
  const larger = new Uint8Array(bytes.length + 20);
  larger.set(bytes, 11);
  expect(decodeUnit(larger.subarray(11, 11 + bytes.length), isKnown)).toEqual(unit());
});

test("every truncation, and every byte more, is refused", () => {
  const bytes = encoded();
  for (let length = 0; length < bytes.length; length++)
    expect(decodeUnit(bytes.slice(0, length), isKnown), `${length} bytes`).toBeUndefined();
  expect(decodeUnit(Uint8Array.from([...bytes, 0]), isKnown)).toBeUndefined();
});
test("a flipped bit is refused, or gives a unit whose parts fit together", () => {
  const bytes = encoded();
  let refused = 0;
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const damaged = bytes.slice();
    damaged[bit >> 3]! ^= 1 << (bit & 7);
    const found = decodeUnit(damaged, isKnown);
    if (found === undefined) refused++;
    else {
      // The encoding has one form for each unit.
      expect(encodeUnit(found)).toEqual(damaged);
      expect(found.entries.every((pc) => found.ranges.some(({ from, to }) => from <= pc && pc < to))).toBe(true);
    }
  }
  // Lengths, ranges, names and the first bytes of the module: only pcs that stay inside, code and WebAssembly are free.
  expect(refused).toBeGreaterThan(500);
});
test("random bytes behind a right header are refused or fit together", () => {
  let seed = 1;
  const random = (): number => (seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0) >>> 8;
  const bytes = encoded();
  for (let round = 0; round < 5000; round++) {
    const damaged = bytes.slice();
    for (let count = 0; count < 1 + (random() % 8); count++) damaged[8 + (random() % (bytes.length - 8))] = random();
    const found = decodeUnit(damaged, isKnown);
    if (found !== undefined) expect(encodeUnit(found)).toEqual(damaged);
  }
});

const range = (from: number, length: number): { from: number; to: number } => ({ from, to: from + length });
test.each<[string, Partial<StoredUnit>]>([
  ["no entry", { entries: [] }],
  ["an entry outside of its code", { entries: [0x1004] }],
  ["an entry before it", { entries: [0xffc] }],
  ["an odd entry", { entries: [0x1001] }],
  ["an entry twice", { entries: [0x1000, 0x1000] }],
  ["no instruction", { instructions: 0 }],
  ["descending ranges", { ranges: [range(0x2000, 144), range(0x1000, 6)], entries: [0x1000] }],
  ["ranges that overlap", { ranges: [range(0x1000, 6), range(0x1004, 144)] }],
  ["neighbours that are two ranges", { ranges: [range(0x1000, 6), range(0x1006, 144)], entries: [0x1000] }],
  ["an empty range", { ranges: [range(0x0ffe, 0), range(0x1000, 150)], entries: [0x1000] }],
  ["less code than its ranges", { bytes: new Uint8Array(148) }],
  ["more code than its ranges", { bytes: new Uint8Array(152) }],
  ["an intrinsic that is none", { intrinsics: ["constructor"] }],
  ["an intrinsic twice", { intrinsics: [names[0]!, names[0]!] }],
  ["an empty name", { intrinsics: [""] }],
  ["another file than WebAssembly", { binary: new Uint8Array(64) }],
  ["a module that is too large", { binary: new Uint8Array(3 << 20) }],
])("%s is neither written nor read", (_what, changes) => {
  const wrong = unit(changes);
  expect(encodeUnit(wrong) === undefined || decodeUnit(encodeUnit(wrong)!, isKnown) === undefined).toBe(true);
});
test("intrinsics that the machine does not have are refused", () => {
  expect(decodeUnit(encoded(), (name) => name !== names[1])).toBeUndefined();
});
test("large counts with nothing behind them are refused before anything is made", () => {
  for (const field of [2, 3, 4, 5, 6, 7]) {
    for (const value of [0xffff_ffff, 0x7fff_ffff, 4096]) {
      const bytes = encoded();
      new DataView(bytes.buffer).setUint32(field * 4, value, true);
      const found = decodeUnit(bytes, isKnown);
      // The number of instructions stands for itself.
      if (field === 7 && value === 4096) expect(found?.instructions).toBe(4096);
      else expect(found).toBeUndefined();
    }
  }
});

test("keys are of the code at each entry, up to the end of its range", () => {
  const { bytes } = unit();
  expect(headsOf(unit())).toEqual([
    { pc: 0x1000, length: 4, hash: hashHead(bytes, 2, 4) },
    { pc: 0x2_0000_0010, length: HEAD_BYTES, hash: hashHead(bytes, 6 + 0x10, HEAD_BYTES) },
  ]);
  const other = bytes.slice();
  other[6 + 0x10 + HEAD_BYTES - 1]! ^= 1;
  expect(hashHead(other, 6 + 0x10, HEAD_BYTES)).not.toBe(hashHead(bytes, 6 + 0x10, HEAD_BYTES));
});

test("what decides how code is translated is in the variant, places to be checked exactly are not", () => {
  const options = { ...TRANSLATION_DEFAULTS, status: true };
  const { checks, limits } = options;
  const variant = variantOf(options);
  const others = [
    { ...options, status: false },
    { ...options, batch: options.batch + 1 },
    { ...options, limits: { ...limits, blocks: limits.blocks + 1 } },
    { ...options, checks: { ...checks, loads: !checks.loads } },
    { ...options, checks: { ...checks, merge: !checks.merge } },
  ].map(variantOf);
  expect(new Set([variant, ...others]).size).toBe(6);
  expect(variantOf({ ...options, checks: { ...checks, exact: new Set([4]) } })).toBe(variant);
});
