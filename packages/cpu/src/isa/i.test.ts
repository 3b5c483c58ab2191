import { describe, expect, test } from "vitest";
import { Cause, Exit } from "../abi.ts";
import { Bench, CODE, DATA, immediateCases, immediates, registerCases, s32, s64, u64, VALUES } from "./bench.test.support.ts";
import { ENGINES } from "../engines.test.support.ts";

describe.each(ENGINES)("%s", (engine) => {
  const bench = new Bench({ engine });
  const bool = (value: boolean): bigint => (value ? 1n : 0n);

  describe("register and register", () => {
    registerCases(bench, {
      add: (a, b) => a + b,
      sub: (a, b) => a - b,
      sll: (a, b) => a << (b & 63n),
      slt: (a, b) => bool(a < b),
      sltu: (a, b) => bool(u64(a) < u64(b)),
      xor: (a, b) => a ^ b,
      srl: (a, b) => u64(a) >> (b & 63n),
      sra: (a, b) => a >> (b & 63n),
      or: (a, b) => a | b,
      and: (a, b) => a & b,
      addw: (a, b) => s32(a + b),
      subw: (a, b) => s32(a - b),
      sllw: (a, b) => s32(a << (b & 31n)),
      srlw: (a, b) => s32(BigInt.asUintN(32, a) >> (b & 31n)),
      sraw: (a, b) => s32(a) >> (b & 31n),
    });
  });

  describe("register and immediate", () => {
    const small = immediates(-2048, 2047);
    const shifts = Array.from({ length: 64 }, (_, at) => at);
    const wordShifts = shifts.slice(0, 32);
    immediateCases(bench, small, {
      addi: (a, b) => a + b,
      slti: (a, b) => bool(a < b),
      sltiu: (a, b) => bool(u64(a) < u64(b)),
      xori: (a, b) => a ^ b,
      ori: (a, b) => a | b,
      andi: (a, b) => a & b,
      addiw: (a, b) => s32(a + b),
    });
    immediateCases(bench, shifts, {
      slli: (a, b) => a << b,
      srli: (a, b) => u64(a) >> b,
      srai: (a, b) => a >> b,
    });
    immediateCases(bench, wordShifts, {
      slliw: (a, b) => s32(a << b),
      srliw: (a, b) => s32(BigInt.asUintN(32, a) >> b),
      sraiw: (a, b) => s32(a) >> b,
    });
  });

  test.each(immediates(0, 0xfffff))("lui and auipc %d", (upper) => {
    bench.text(`nop\nlui a0, ${upper}\nauipc a1, ${upper}\necall`);
    expect(bench.run()).toBe(Exit.Ecall);
    expect(bench.x(10)).toBe(s32(BigInt(upper) << 12n));
    expect(bench.x(11)).toBe(BigInt(CODE) + 8n + s32(BigInt(upper) << 12n));
  });

  test("x0 stays 0", () => {
    bench.text("addi x0, x0, 5\nlui x0, 1\nld x0, 0(a1)\njal x0, .+4\nmv a0, x0\necall");
    expect(bench.run({ 11: BigInt(DATA) })).toBe(Exit.Ecall);
    expect(bench.x(10)).toBe(0n);
  });

  describe("branches", () => {
    const taken: Record<string, (a: bigint, b: bigint) => boolean> = {
      beq: (a, b) => a === b,
      bne: (a, b) => a !== b,
      blt: (a, b) => a < b,
      bge: (a, b) => a >= b,
      bltu: (a, b) => u64(a) < u64(b),
      bgeu: (a, b) => u64(a) >= u64(b),
    };
    test.each(Object.keys(taken))("%s", (name) => {
      bench.text(`${name} a1, a2, yes\nli a0, 0\necall\nyes: li a0, 1\necall`);
      for (const a of VALUES)
        for (const b of VALUES) {
          bench.run({ 11: a, 12: b });
          expect(bench.x(10), `${name} ${a} ${b}`).toBe(bool(taken[name]!(a, b)));
        }
    });

    test("backwards, and over pages", () => {
      bench.text(
        "li a0, 0\nj first\n.zero 4096\nlast: addi a0, a0, 100\necall\n.zero 2048\nfirst: addi a0, a0, 1\nli t0, 5\nbne a0, t0, first\nj last",
      );
      expect(bench.run()).toBe(Exit.Ecall);
      expect(bench.x(10)).toBe(105n);
    });
  });

  describe("jumps", () => {
    test("jal links to the next instruction", () => {
      bench.text("nop\njal t0, over\necall\nover: ecall");
      bench.run();
      expect(bench.x(5)).toBe(BigInt(CODE) + 8n);
      expect(bench.pc).toBe(CODE + 12);
    });
    test("jalr: rd may be rs1; bit 0 of the target is cleared", () => {
      bench.text("jalr a1, 5(a1)\necall\necall\necall");
      bench.run({ 11: BigInt(CODE) + 4n });
      expect(bench.pc).toBe(CODE + 8);
      expect(bench.x(11)).toBe(BigInt(CODE) + 4n);
    });
    test("compressed jumps link two bytes on", () => {
      bench.text("c.jalr a1\nc.nop\necall");
      bench.run({ 11: BigInt(CODE) + 4n });
      expect(bench.pc).toBe(CODE + 4);
      expect(bench.x(1)).toBe(BigInt(CODE) + 2n);
    });
  });

  describe("memory", () => {
    const bytes = Uint8Array.of(0x80, 0x7f, 0xff, 0x01, 0xfe, 0xdc, 0x3b, 0x9a, 0x11, 0x92, 0x63, 0xe4, 0x00, 0x10, 0xb5, 0xc6, 0x77);
    const raw = (at: number, size: number): bigint =>
      bytes.slice(at, at + size).reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
    test.each([
      ["lb", 1, true],
      ["lh", 2, true],
      ["lw", 4, true],
      ["ld", 8, true],
      ["lbu", 1, false],
      ["lhu", 2, false],
      ["lwu", 4, false],
    ] as const)("%s at every alignment, with positive and negative offsets", (name, size, signed) => {
      bench.machine.storeRange(DATA, bytes);
      for (let at = 0; at <= 8; at++) {
        for (const offset of [0, 2047, -2048]) {
          bench.text(`${name} a0, ${offset}(a1)\necall`);
          expect(bench.run({ 11: BigInt(DATA + at - offset) })).toBe(Exit.Ecall);
          expect(bench.x(10)).toBe(signed ? BigInt.asIntN(8 * size, raw(at, size)) : raw(at, size));
        }
      }
    });
    test.each([
      ["sb", 1],
      ["sh", 2],
      ["sw", 4],
      ["sd", 8],
    ] as const)("%s writes its bytes and no others, across a page too", (name, size) => {
      for (const at of [DATA, DATA + 1, DATA + 7, DATA + 4096 - 3]) {
        bench.machine.storeRange(at - 8, new Uint8Array(24).fill(0xaa));
        bench.text(`${name} a0, -4(a1)\necall`);
        expect(bench.run({ 10: 0x8877665544332211n - (1n << 64n), 11: BigInt(at + 4) })).toBe(Exit.Ecall);
        const expected = new Uint8Array(24).fill(0xaa);
        expected.set([0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88].slice(0, size), 8);
        expect([...bench.machine.readBytes(at - 8, 24)]).toEqual([...expected]);
      }
    });
  });

  describe("system", () => {
    test("ecall leaves with pc at itself; fences do nothing", () => {
      bench.text("fence\nfence.tso\npause\nfence.i\necall");
      expect(bench.run()).toBe(Exit.Ecall);
      expect(bench.pc).toBe(CODE + 16);
    });
    test.each(["ebreak", "c.ebreak"])("%s", (name) => {
      bench.text(name);
      expect(bench.run()).toBe(Exit.Trap);
      expect([bench.hart.trapCause, bench.pc]).toEqual([Cause.Breakpoint, CODE]);
    });
    test.each([".half 0", ".word 0xffffffff", ".half 0x8002", ".word 0x30200073"])("%s is illegal", (text) => {
      bench.text(text);
      expect(bench.run()).toBe(Exit.Trap);
      expect([bench.hart.trapCause, bench.pc]).toEqual([Cause.IllegalInstruction, CODE]);
    });
    test("code that a program writes runs after fence.i", () => {
      // addi a0, x0, 1 becomes addi a0, x0, 2 on the second pass.
      bench.text(
        "la t0, there\nli t2, 0\nagain: fence.i\nthere: addi a0, x0, 1\nbnez t2, done\nli t2, 1\nli t1, 0x00200513\nsw t1, 0(t0)\nj again\ndone: ecall",
        true,
      );
      expect(bench.run()).toBe(Exit.Ecall);
      expect(bench.x(10)).toBe(2n);
    });
  });

  describe("control and status registers", () => {
    test("fflags, frm and fcsr are parts of one", () => {
      bench.text(
        "csrrwi x0, fcsr, 0\nli a0, 0xff\ncsrrw a1, fcsr, a0\ncsrr a2, fflags\ncsrr a3, frm\ncsrrci a4, fflags, 3\ncsrrsi a5, frm, 1\ncsrr a6, fcsr\nli a0, -1\ncsrw fflags, a0\ncsrc frm, a0\ncsrr a7, fcsr\necall",
      );
      expect(bench.run()).toBe(Exit.Ecall);
      expect([11, 12, 13, 14, 15, 16, 17].map((n) => bench.x(n))).toEqual([0n, 0x1fn, 7n, 0x1fn, 7n, 0xfcn, 0x1fn]);
    });
    test("rd may be rs1", () => {
      bench.text("csrrwi x0, fcsr, 5\nli a0, 0xe2\ncsrrw a0, fcsr, a0\ncsrr a1, fcsr\necall");
      bench.run();
      expect([bench.x(10), bench.x(11)]).toEqual([5n, 0xe2n]);
    });
    test("counters count and are read-only", () => {
      bench.text("rdinstret a0\nnop\nnop\nrdinstret a1\nrdcycle a2\nrdtime a3\ncsrr a4, 0xc1f\necall");
      expect(bench.run()).toBe(Exit.Ecall);
      expect(bench.x(11) - bench.x(10)).toBe(3n);
      expect(bench.x(12) - bench.x(11)).toBe(1n);
      expect(bench.x(13)).toBeGreaterThan(0n);
      expect(bench.x(14)).toBe(0n);
    });
    test.each([
      "csrw cycle, a0",
      "csrrw a0, time, x0",
      "csrrsi a0, instret, 1",
      "csrrc a0, cycle, a1",
      "csrr a0, 0x300",
      "csrr a0, 0xc20",
      "csrw 0x105, a0",
      "csrr a0, 0",
      "csrr a0, mhartid",
      "csrr a0, mccsr",
      "mret",
      "sret",
      "wfi",
      "sfence.vma a0, a1",
    ])("%s is illegal and changes nothing", (text) => {
      bench.text(text);
      expect(bench.run({ 10: 77n, 11: 1n })).toBe(Exit.Trap);
      expect([bench.hart.trapCause, bench.pc, bench.x(10)]).toEqual([Cause.IllegalInstruction, CODE, 77n]);
      expect(bench.hart.trapValue).toBe(bench.machine.readU32(CODE)); // the instruction
    });
    test("uccsr says: tag clearing, relocation, on; it needs access to system registers", () => {
      bench.text("csrr a0, uccsr\necall");
      expect(bench.run()).toBe(Exit.Ecall);
      expect(bench.x(10)).toBe(0x80000001n);
      bench.withPermissions(0x78fff & ~0x400, () => {
        expect(bench.run()).toBe(Exit.Trap);
        expect([bench.hart.trapCause, bench.hart.trapValue]).toEqual([Cause.Cheri, (0x20 << 5) | 0x18]);
        bench.text("csrr a0, fcsr\nrdcycle a1\nrdtime a1\nrdinstret a1\ncsrw fcsr, a0\necall");
        expect(bench.run()).toBe(Exit.Ecall);
      });
    });
  });

  test("hints do nothing", () => {
    bench.text(
      "c.nop 5\nc.li zero, 7\nc.lui zero, 3\nc.mv zero, a0\nc.add zero, a0\nc.slli zero, 3\nc.slli a0, 0\nc.srli a0, 0\nc.srai a0, 0\nc.addi a0, 0\necall",
    );
    expect(bench.run({ 10: -5n })).toBe(Exit.Ecall);
    expect([bench.x(0), bench.x(10), bench.pc]).toEqual([0n, -5n, CODE + 20]);
  });

  test("compressed arithmetic does what it stands for", () => {
    bench.text(
      "c.li a0, -3\nc.mv a1, a0\nc.addi a1, 10\nc.sub a0, a1\nc.mv a2, a0\nc.addw a2, a1\nc.lui a3, 0xfffe0\nc.srai a3, 4\nc.mv a4, a3\nc.srli a4, 60\nc.andi a4, 7\nc.slli a4, 33\nc.addiw a4, 1\nc.addi4spn s0, sp, 16\nc.addi16sp sp, -512\necall",
    );
    expect(bench.run({ 2: 0x1000n })).toBe(Exit.Ecall);
    expect([10, 11, 12, 13, 14, 8, 2].map((n) => bench.x(n))).toEqual([-10n, 7n, -3n, s64(-0x20000n >> 4n), 1n, 0x1010n, 0xe00n]);
  });
});
