import { describe } from "vitest";
import { Bench, immediateCases, registerCases, s32, u64, unaryCases } from "./bench.test.support.ts";
import { ENGINES } from "../engines.test.support.ts";

describe.each(ENGINES)("%s", (engine) => {
  const bench = new Bench({ engine });
  const SHIFTS = Array.from({ length: 64 }, (_, at) => at);
  const u32 = (value: bigint): bigint => BigInt.asUintN(32, value);
  const binary = (value: bigint, width: number): string => BigInt.asUintN(width, value).toString(2).padStart(width, "0");
  const rotate = (value: bigint, left: bigint, width: number): bigint => {
    const text = binary(value, width);
    const at = Number(((left % BigInt(width)) + BigInt(width)) % BigInt(width));
    return BigInt.asIntN(width, BigInt(`0b${text.slice(at)}${text.slice(0, at)}`));
  };
  const bytes = (value: bigint, map: (list: string[]) => string[]): bigint =>
    BigInt(`0x${map(u64(value).toString(16).padStart(16, "0").match(/../gu)!).join("")}`);
  const zerosBefore = (value: bigint, width: number): bigint => BigInt(/^0*/u.exec(binary(value, width))![0].length);
  const zerosAfter = (value: bigint, width: number): bigint => BigInt(/0*$/u.exec(binary(value, width))![0].length);
  const ones = (value: bigint, width: number): bigint => BigInt(binary(value, width).replaceAll("0", "").length);

  describe("Zba", () => {
    registerCases(bench, {
      sh1add: (a, b) => 2n * a + b,
      sh2add: (a, b) => 4n * a + b,
      sh3add: (a, b) => 8n * a + b,
      "add.uw": (a, b) => u32(a) + b,
      "sh1add.uw": (a, b) => 2n * u32(a) + b,
      "sh2add.uw": (a, b) => 4n * u32(a) + b,
      "sh3add.uw": (a, b) => 8n * u32(a) + b,
    });
    immediateCases(bench, SHIFTS, { "slli.uw": (a, b) => u32(a) << b });
  });

  describe("Zbb", () => {
    registerCases(bench, {
      andn: (a, b) => a & ~b,
      orn: (a, b) => a | ~b,
      xnor: (a, b) => ~(a ^ b),
      max: (a, b) => (a > b ? a : b),
      maxu: (a, b) => (u64(a) > u64(b) ? a : b),
      min: (a, b) => (a < b ? a : b),
      minu: (a, b) => (u64(a) < u64(b) ? a : b),
      rol: (a, b) => rotate(a, b & 63n, 64),
      ror: (a, b) => rotate(a, -(b & 63n), 64),
      rolw: (a, b) => rotate(a, b & 31n, 32),
      rorw: (a, b) => rotate(a, -(b & 31n), 32),
    });
    immediateCases(bench, SHIFTS, { rori: (a, b) => rotate(a, -b, 64) });
    immediateCases(bench, SHIFTS.slice(0, 32), { roriw: (a, b) => rotate(a, -b, 32) });
    unaryCases(bench, {
      clz: (a) => zerosBefore(a, 64),
      ctz: (a) => zerosAfter(a, 64),
      cpop: (a) => ones(a, 64),
      clzw: (a) => zerosBefore(a, 32),
      ctzw: (a) => zerosAfter(a, 32),
      cpopw: (a) => ones(a, 32),
      "sext.b": (a) => BigInt.asIntN(8, a),
      "sext.h": (a) => BigInt.asIntN(16, a),
      "zext.h": (a) => BigInt.asUintN(16, a),
      "sext.w": (a) => s32(a),
      "zext.w": (a) => u32(a),
      rev8: (a) => bytes(a, (list) => list.toReversed()),
      "orc.b": (a) => bytes(a, (list) => list.map((byte) => (byte === "00" ? "00" : "ff"))),
    });
  });

  describe("Zbs", () => {
    const bit = (at: bigint): bigint => 1n << (at & 63n);
    registerCases(bench, {
      bclr: (a, b) => a & ~bit(b),
      bext: (a, b) => (u64(a) >> (b & 63n)) & 1n,
      binv: (a, b) => a ^ bit(b),
      bset: (a, b) => a | bit(b),
    });
    immediateCases(bench, SHIFTS, {
      bclri: (a, b) => a & ~bit(b),
      bexti: (a, b) => (u64(a) >> b) & 1n,
      binvi: (a, b) => a ^ bit(b),
      bseti: (a, b) => a | bit(b),
    });
  });
});
