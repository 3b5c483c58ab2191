/** Pairs of shifts: whatever stands between them, and whatever numbers they get, translated code does what the interpreter does. */
import { describe, expect, test } from "vitest";
import { Exit } from "../abi.ts";
import { createDecoder } from "../isa/decode.ts";
import { allClauses } from "../isa/index.ts";
import { assemble, CODE, DATA, same, WAYS, type Way } from "./twins.test.support.ts";
import { Instructions } from "./instructions.ts";
import { joinShifts } from "./peephole.ts";
import { shapesOf } from "./shapes.ts";

const VALUES = [
  "0",
  "1",
  "-1",
  "0x7fffffff",
  "-0x80000000",
  "0x1234567890abcdef",
  "-0x7edcba9876543210",
  "0x8000",
  "0x80",
  "0xffff0000ffff0000",
];

/** The program with each of some numbers in a1; what it leaves in a2 is added up in memory. */
function forEach(way: Way, body: string, values: readonly string[] = VALUES): void {
  const turns = values.map((value) => `li a1, ${value}\n jal part\n`).join("");
  same(way, `${turns} ecall\n part: ${body}\n sd a2, 0(a0)\n addi a0, a0, 8\n ret`, { fuels: [1_000_000, 1, 66] });
}

describe.each(WAYS)("pairs of shifts, %s", (_, way) => {
  const kinds = [
    ["slli", "srli", [1, 16, 31, 32, 33, 48, 56, 63]],
    ["slli", "srai", [1, 16, 31, 32, 33, 48, 56, 63]],
    ["slliw", "srliw", [1, 8, 16, 24, 31]],
    ["slliw", "sraiw", [1, 8, 16, 24, 31]],
    ["slliw", "srli", [16, 24]],
    ["slli", "sraiw", [16, 24]],
  ] as const;
  test.each(kinds)("%s, %s by all amounts", (left, right, amounts) => {
    const pairs = amounts.flatMap((first) =>
      amounts.map((second) => `${left} a2, a1, ${first}\n ${right} a2, a2, ${second}\n add a3, a3, a2\n`),
    );
    forEach(way, `li a3, 0\n ${pairs.join("")} mv a2, a3`);
  });

  test("an instruction between them that changes what is shifted, and one that reads what is between", () => {
    forEach(
      way,
      "slli a2, a1, 48\n li a1, 7\n srli a2, a2, 48\n slli a4, a1, 48\n add a5, a4, a4\n srli a4, a4, 48\n add a2, a2, a4\n add a2, a2, a5",
    );
  });
  test("a register that is shifted by itself, and one that goes elsewhere", () => {
    forEach(way, "slli a1, a1, 32\n srli a1, a1, 29\n slli a2, a1, 56\n srai a3, a2, 56\n add a2, a2, a3\n add a2, a2, a1");
  });
  test("a jump to the second of them", () => {
    forEach(way, "andi a3, a1, 1\n mv a2, a1\n bnez a3, second\n slli a2, a1, 48\n second: srli a2, a2, 48");
  });
  test("where a branch jumps over them", () => {
    forEach(way, "mv a2, a1\n bltz a1, over\n slli a2, a1, 48\n srli a2, a2, 48\n over: add a2, a2, a1");
  });
  test("a fault between them shows the number between", () => {
    const { interpreted } = same(way, "li a1, 0x1234\n slli a2, a1, 48\n ld a3, 0(zero)\n srli a2, a2, 48\n ecall", { exit: Exit.Trap });
    expect(interpreted.hart.getX(12)).toBe(0x1234n << 48n);
  });
});

test("which pairs become one instruction", () => {
  const joined = (text: string): string => {
    const { bytes } = assemble(text);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const decoder = createDecoder(allClauses);
    const code = new Instructions(decoder, shapesOf(decoder.clauses), true);
    code.reset({
      fetch: (pc) => (pc - CODE + 4 <= bytes.length ? view.getInt32(pc - CODE, true) : view.getUint16(pc - CODE, true)),
      reached: () => true,
      guesses: () => [],
    });
    const ins: number[] = [];
    for (let pc = CODE; pc < CODE + bytes.length; pc = code.next(ins.at(-1)!)) ins.push(code.at(pc));
    const before = ins.map((index) => code.pc[index]);
    joinShifts(code, ins);
    expect(ins.map((index) => code.pc[index])).toEqual(before);
    return ins.map((index) => `${code.shape(index).clause.name} ${code.rd[index]} ${code.rs1[index]} ${code.imm[index]}`).join(", ");
  };
  const nothing = "addi 0 0 0";
  expect(joined("slli a2, a1, 48\n srli a2, a2, 48")).toBe(`andi 12 11 65535, ${nothing}`);
  expect(joined("slli a2, a1, 48\n srai a2, a2, 48")).toBe(`sext.h 12 11 0, ${nothing}`);
  expect(joined("slli a2, a1, 32\n srli a2, a2, 32")).toBe(`add.uw 12 11 0, ${nothing}`);
  expect(joined("slli a2, a1, 32\n srli a2, a2, 30")).toBe(`slli.uw 12 11 2, ${nothing}`);
  expect(joined("slliw a2, a1, 16\n addi a3, a1, 40\n srliw a2, a2, 16")).toBe(`andi 12 11 65535, addi 13 11 40, ${nothing}`);
  expect(joined(`slliw a2, a1, 24\n lw a3, ${DATA % 2048}(a0)\n sraiw a2, a2, 24`)).toMatch(/^slliw .*sraiw/u);
  expect(joined("slli a2, a1, 48\n mv a3, a2\n srli a2, a2, 48")).toMatch(/^slli .*srli/u);
  expect(joined("slli a2, a1, 48\n srli a3, a2, 48")).toMatch(/^slli .*srli/u);
});
