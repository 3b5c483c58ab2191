import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import {
  alignmentMask,
  decodeBounds,
  exponentOf,
  fastRepresentable,
  flagOf,
  otypeOf,
  permsOf,
  representable,
  reservedOf,
  roundedLength,
} from "./encoding.ts";
import { rawSetBounds } from "./raw.ts";

/** 60,000 results of the formal model of CHERI-RISC-V ISAv9; `input<TAB>output` a line. */
const lines = gunzipSync(readFileSync(new URL("../../test-data/capability-arithmetic.tsv.gz", import.meta.url)))
  .toString("latin1")
  .trimEnd()
  .split("\n")
  .map((line) => line.split("\t") as [string, string]);

const hex = (text: string): bigint => BigInt(`0x${text}`);
const pad = (value: bigint, digits: number): string => value.toString(16).padStart(digits, "0");

function describeCapability(hi: bigint, address: bigint, tag: string): string {
  const { base, top } = decodeBounds(hi, address);
  const perms = pad(BigInt(permsOf(hi)), 5);
  // The model prints otype as its 18 bits, and the reserved bits where they stand in the upper word.
  const otype = (otypeOf(hi) & 0x3ffff).toString(16).padStart(5, "0");
  const reserved = (BigInt(reservedOf(hi)) << 46n).toString(16);
  return `pesbt=${pad(hi, 16)} addr=${pad(address, 16)} tag=${tag} base=${pad(base, 16)} top=${pad(top, 17)} perms=${perms} otype=${otype} flags=${flagOf(hi)} rsv=${reserved} E=${exponentOf(hi)}`;
}

const flag = (value: boolean): string => (value ? "1" : "0");

const answer: Record<string, (args: string[]) => string> = {
  dec: ([hi, address, tag]) => `dec ${describeCapability(hex(hi!), hex(address!), tag!)} agree=1`,
  sb: ([hi, address, tag, length]) => {
    const { capability, exact } = rawSetBounds({ hi: hex(hi!), address: hex(address!), tag: tag === "1" }, hex(length!));
    return `sb ${describeCapability(capability.hi, capability.address, flag(capability.tag))} exact=${flag(exact)}`;
  },
  rep: ([hi, address, next]) => {
    const [h, a, n] = [hex(hi!), hex(address!), hex(next!)];
    return `rep fast=${flag(fastRepresentable(h, a, n))} precise=${flag(representable(h, a, n))}`;
  },
  crr: ([length]) => `crr crrl=${pad(roundedLength(hex(length!)), 16)} cram=${pad(alignmentMask(hex(length!)), 16)}`,
};

describe("CHERI Concentrate agrees with the formal model", () => {
  test("every kind of call is recorded", () => {
    expect(lines.length).toBe(60_000);
    expect(new Set(lines.map(([input]) => input.split(" ")[0]))).toEqual(new Set(Object.keys(answer)));
  });

  test.each(Object.keys(answer))("%s", (kind) => {
    const different: { input: string; ours: string; theirs: string }[] = [];
    let count = 0;
    for (const [input, theirs] of lines) {
      const [name, ...args] = input.split(" ");
      if (name !== kind) continue;
      count += 1;
      const ours = answer[kind]!(args);
      if (ours !== theirs) different.push({ input, ours, theirs });
    }
    expect(count).toBeGreaterThan(9_000);
    expect(different.slice(0, 3)).toEqual([]);
    expect(different.length).toBe(0);
  });
});
