import { describe } from "vitest";
import { Bench, registerCases, s32, u64 } from "./bench.test.support.ts";
import { ENGINES } from "../engines.test.support.ts";

describe.each(ENGINES)("%s", (engine) => {
  const u32 = (value: bigint): bigint => BigInt.asUintN(32, value);
  /** Division as the specification has it: rounded towards zero, all ones by 0. */
  const quotient = (a: bigint, b: bigint): bigint => (b === 0n ? -1n : a / b);
  const remainder = (a: bigint, b: bigint): bigint => (b === 0n ? a : a % b);

  describe("M", () => {
    registerCases(new Bench({ engine }), {
      mul: (a, b) => a * b,
      mulh: (a, b) => (a * b) >> 64n,
      mulhsu: (a, b) => (a * u64(b)) >> 64n,
      mulhu: (a, b) => (u64(a) * u64(b)) >> 64n,
      div: quotient,
      divu: (a, b) => quotient(u64(a), u64(b)),
      rem: remainder,
      remu: (a, b) => remainder(u64(a), u64(b)),
      mulw: (a, b) => s32(a * b),
      divw: (a, b) => s32(quotient(s32(a), s32(b))),
      divuw: (a, b) => s32(quotient(u32(a), u32(b))),
      remw: (a, b) => s32(remainder(s32(a), s32(b))),
      remuw: (a, b) => s32(remainder(u32(a), u32(b))),
    });
  });
});
