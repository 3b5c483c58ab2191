import { describe, expect, test } from "vitest";
import { CapCause, Cause, Exit, Perm, Prot } from "../abi.ts";
import { rawNull } from "../capability/raw.ts";
import { RWC, within } from "./capabilities.ts";
import { assemble, CODE, DATA, instruction, MEMORY_BYTES, READ_ONLY, REGION, wordOf } from "./case.ts";
import { caseOf } from "./check.test.support.ts";
import { ModelMemory } from "./memory.ts";
import { binary, unary } from "./operators.ts";
import { Reference } from "./reference.ts";
import { prepare } from "./subject.ts";

const reference = new Reference({ memoryBytes: MEMORY_BYTES });

describe("the reference engine", () => {
  test("runs a loop: results, link, fuel, retired instructions", () => {
    // 10 + 9 + … + 1
    const program = [
      instruction("addi", { rd: 5, rs1: 0, imm: 10 }),
      instruction("add", { rd: 6, rs1: 6, rs2: 5 }),
      instruction("addi", { rd: 5, rs1: 5, imm: -1 }),
      instruction("bne", { rs1: 5, rs2: 0 }, -2),
      instruction("jal", { rd: 1 }, 1),
      instruction("ecall"),
    ];
    prepare(reference, caseOf(program));
    expect(reference.run(100)).toBe(Exit.Ecall);
    expect(reference.c[6]).toEqual(rawNull(55n));
    expect(reference.c[1]).toEqual(rawNull(BigInt(CODE + 20)));
    expect(reference.instret).toBe(32n);
    expect(reference.fuelLeft).toBe(100 - 9);
    expect(reference.pc).toBe(BigInt(CODE + 20));
    prepare(reference, caseOf(program));
    expect(reference.run(3)).toBe(Exit.Fuel);
    expect(reference.pc).toBe(BigInt(CODE + 4));
  });

  test("an exception leaves registers and pc as they were", () => {
    const short = within(0, CODE + 8, Perm.All);
    prepare(reference, caseOf([instruction("addi", { rd: 5, rs1: 0, imm: 1 }), instruction("jal", { rd: 5 }, 4)], { pcc: short }));
    expect(reference.run(10)).toBe(Exit.Trap);
    expect([reference.trapCause, reference.trapValue]).toEqual([Cause.Cheri, BigInt((0x20 << 5) | CapCause.Length)]);
    expect(reference.c[5]).toEqual(rawNull(1n));
    expect(reference.pc).toBe(BigInt(CODE + 4));
    expect(reference.instret).toBe(1n);
  });

  test("finds exceptions of fetches and accesses in their order", () => {
    const at = (name: string, more: Parameters<typeof caseOf>[1]): [number, bigint] => {
      prepare(reference, caseOf([instruction(name, { rd: 5, rs1: 6, rs2: 7 })], more));
      expect(reference.run(10)).toBe(Exit.Trap);
      return [reference.trapCause, reference.trapValue];
    };
    const ddc = (cause: number): [number, bigint] => [Cause.Cheri, BigInt((0x21 << 5) | cause)];
    const pcc = (cause: number): [number, bigint] => [Cause.Cheri, BigInt((0x20 << 5) | cause)];
    const good = within(0, 0x1_0000, RWC);
    expect(at("lw", { ddc: { ...good, tag: false } })).toEqual(ddc(CapCause.Tag));
    expect(at("lw", { ddc: within(0, 0x1_0000, Perm.Store) })).toEqual(ddc(CapCause.PermitLoad));
    expect(at("amoadd.w", { ddc: within(0, 0x1_0000, Perm.Load), registers: { 6: rawNull(1n) } })).toEqual(ddc(CapCause.PermitStore));
    expect(at("lw", { registers: { 6: rawNull(0xfffdn) } })).toEqual(ddc(CapCause.Length));
    expect(at("lr.w", { registers: { 6: rawNull(1n) } })).toEqual([Cause.LoadMisaligned, BigInt(REGION + 1)]);
    expect(at("sw", { registers: { 6: rawNull(BigInt(READ_ONLY)) } })).toEqual([Cause.StorePage, BigInt(REGION + READ_ONLY)]);
    expect(at("lw", { pcc: { ...within(0, 0x1_0000, Perm.All), tag: false } })).toEqual(pcc(CapCause.Tag));
    expect(at("lw", { pcc: within(CODE, 2, Perm.All) })).toEqual(pcc(CapCause.Length));
    expect(at("lw", { origin: CODE + 0x1ffe })).toEqual([Cause.FetchPage, BigInt(REGION + CODE + 0x2000)]);
    prepare(reference, caseOf([{ word: 0xffff_ffff | 0 }]));
    expect(reference.run(1)).toBe(Exit.Trap);
    expect([reference.trapCause, reference.trapValue]).toEqual([Cause.IllegalInstruction, 0xffff_ffffn]);
  });

  test("capabilities go through registers, memory and intrinsics whole", () => {
    const data = within(DATA, 0x100, RWC);
    const program = [
      instruction("csetboundsimm", { rd: 5, rs1: 6, imm: 32 }),
      instruction("sc.cap", { rs2: 5, rs1: 6 }),
      instruction("addi", { rd: 5, rs1: 5, imm: 0 }),
      instruction("lc.cap", { rd: 7, rs1: 6 }),
      instruction("sb", { rs1: 8, rs2: 0, imm: 15 }),
      instruction("lc.cap", { rd: 9, rs1: 6 }),
      instruction("ecall"),
    ];
    prepare(reference, caseOf(program, { registers: { 6: data, 8: rawNull(BigInt(DATA)) } }));
    expect(reference.run(10)).toBe(Exit.Ecall);
    expect(reference.c[5]).toEqual(rawNull(data.address));
    expect(reference.c[7]).toEqual(within(DATA, 32, RWC));
    expect(reference.c[9]!.tag).toBe(false);
    expect(reference.c[9]!.hi).toBe(within(DATA, 32, RWC).hi & ((1n << 56n) - 1n));
  });

  test("its memory refuses what no check let through", () => {
    const memory = new ModelMemory(8192);
    memory.protect(0, 4096, Prot.Read | Prot.Write);
    expect(() => memory.load(4090n, 8)).toThrow(RangeError);
    expect(() => memory.store(8192n, 1, 0n)).toThrow(RangeError);
    expect(() => memory.loadCapability(8n)).toThrow(RangeError);
    memory.place(16, { tag: true, hi: 1n, address: 2n });
    memory.store(31n, 2, 0xabcdn);
    expect([memory.peek(16).tag, memory.load(31n, 2), memory.readable(4095n, 2)]).toEqual([false, 0xabcdn, false]);
  });
});

describe("operators", () => {
  test("on integers are those of WebAssembly", () => {
    expect(binary("i64.add", -1n, 1n)).toBe(0n);
    expect(binary("i64.mul", 1n << 62n, 4n)).toBe(0n);
    expect(binary("i32.shl", 1, 33)).toBe(2);
    expect(binary("i32.rotl", -(2 ** 31), 1)).toBe(1);
    expect(binary("i64.rotr", 1n, 1n)).toBe(-(1n << 63n));
    expect(binary("i64.rotl", 5n, 0n)).toBe(5n);
    expect(binary("i64.shr_u", -1n, 60n)).toBe(15n);
    expect(binary("i64.div_s", -7n, 2n)).toBe(-3n);
    expect(binary("i32.rem_u", -1, 10)).toBe(5);
    expect(binary("i64.lt_u", -1n, 1n)).toBe(0);
    expect(() => binary("i64.div_u", 1n, 0n)).toThrow(RangeError);
    expect([unary("i64.clz", 0n), unary("i64.ctz", 0n), unary("i32.ctz", 0), unary("i64.ctz", 8n)]).toEqual([64n, 64n, 32, 3n]);
    expect(unary("i64.extend_i32_u", -1)).toBe(0xffff_ffffn);
    expect(unary("i32.wrap_i64", 0x1_8000_0000n)).toBe(-(2 ** 31));
  });

  test("on floating point round once", () => {
    // Rounding to 53 bits first would give a tie.
    expect(unary("f32.convert_i64_s", (1n << 60n) + (1n << 36n) + 1n)).toBe(2 ** 60 + 2 ** 37);
    expect(unary("f32.convert_i64_u", -1n)).toBe(2 ** 64);
    expect([0.5, 1.5, 2.5, -0.5, 2.4].map((value) => unary("f64.nearest", value))).toEqual([0, 2, 2, -0, 2]);
    expect(unary("i32.trunc_sat_f64_s", 1e10)).toBe(2 ** 31 - 1);
    expect(unary("i64.trunc_sat_f64_u", -1)).toBe(0n);
    expect(unary("i64.trunc_sat_f32_s", NaN)).toBe(0n);
    expect(binary("f32.add", 2 ** 24, 1)).toBe(2 ** 24);
    expect(binary("f64.copysign", 1, -0)).toBe(-1);
  });
});

describe("cases", () => {
  test("operands that a field cannot have are made to fit, and targets follow instructions", () => {
    expect(wordOf(instruction("addi", { rd: 33, rs1: 0, imm: 2048 }))).toBe(wordOf(instruction("addi", { rd: 1, rs1: 0, imm: -2048 })));
    expect(wordOf(instruction("c.addi16sp", { imm: 0 }))).not.toBe(wordOf(instruction("c.addi16sp", { imm: 32 })));
    const { bytes, offsets } = assemble([
      instruction("c.nop"),
      instruction("beq", { rs1: 0, rs2: 0 }, 2),
      instruction("ecall"),
      { word: 1 },
    ]);
    expect([bytes.length, offsets]).toEqual([12, [0, 2, 6, 10]]);
    expect(new DataView(bytes.buffer).getInt32(2, true)).toBe(wordOf(instruction("beq", { rs1: 0, rs2: 0, imm: 8 })));
  });
});
