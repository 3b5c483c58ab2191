import { describe, expect, test } from "vitest";
import { assembleText } from "../assembler/index.ts";
import type { Io } from "./command.ts";
import { main } from "./main.ts";
import { runElf } from "./run.ts";

const ADDRESS = 0x1_0000;

/** An executable with one segment of read, write and execute permission. */
function elfOf(text: string): Uint8Array {
  const code = assembleText(text, { origin: ADDRESS + 120 });
  const file = new Uint8Array(120 + code.length);
  const view = new DataView(file.buffer);
  view.setUint32(0, 0x7f454c46);
  file.set([2, 1, 1], 4);
  view.setUint16(16, 2, true);
  view.setUint16(18, 243, true);
  view.setBigUint64(24, BigInt(ADDRESS + 120), true);
  view.setBigUint64(32, 64n, true);
  view.setUint16(56, 1, true);
  view.setUint32(64, 1, true);
  view.setUint32(68, 7, true);
  view.setBigUint64(80, BigInt(ADDRESS), true);
  view.setBigUint64(96, BigInt(file.length), true);
  view.setBigUint64(104, BigInt(file.length), true);
  file.set(code, 120);
  return file;
}

describe("running one program alone", () => {
  test("writes and exits", () => {
    let output = "";
    const result = runElf(
      elfOf(`
      li a0, 1
      la a1, text
      li a2, 6
      li a7, 64
      ecall
      addi a0, a0, 36
      li a7, 93
      ecall
    text: .ascii "hello\\n"`),
      (descriptor, bytes) => (output += `${descriptor}:${new TextDecoder().decode(bytes)}`),
    );
    expect(result.problem).toBeUndefined();
    expect(output).toBe("1:hello\n");
    expect(result.status).toBe(42);
    expect(result.instructions).toBe(7); // the ecalls do not retire
  });
  test("an exception is reported", () => {
    const result = runElf(elfOf("sd a0, 0(zero)"), () => {});
    expect(result).toMatchObject({ status: 139, problem: "StorePage at pc 0x10078, value 0x400000" });
    expect(result.registers.slice(0, 2)).toEqual(["pc   0x10078", "pcc  0x400000 [rwx,0x400000-0x4400000]"]);
  });
  test("--dump-registers shows the registers after the problem, for each file", async () => {
    const files: Record<string, Uint8Array> = {
      "bad.elf": elfOf("li t0, 0x123\nsd a0, 0(zero)"),
      "good.elf": elfOf("li a0, 0\nli a7, 93\necall"),
    };
    const errors: string[] = [];
    const io: Io = { out: () => {}, err: (data) => void errors.push(String(data)), readFile: (path) => files[path]! };
    expect(await main(["run", "--dump-registers", "bad.elf"], io)).toBe(139);
    expect(errors[0]).toContain("StorePage at pc 0x1007c");
    expect(errors[1]).toMatch(
      /^ {2}pc {3}0x1007c\n {2}pcc {2}0x400000 \[rwx,0x400000-0x4400000\]\n {2}ddc .*\n {2}zero 0x0 .*\n {2}tp .* t0 {3}0x123 /u,
    );
    expect(await main(["run", "--dump-registers", "good.elf", "bad.elf"], io)).toBe(1);
    expect(errors.slice(2).map((text) => text.slice(0, 15))).toEqual(["  pc   0x10080\n", "  pc   0x1007c\n"]);
    expect(await main(["run", "good.elf"], io)).toBe(0);
    expect(errors).toHaveLength(4);
  });
  test("other files are refused", () => {
    expect(() => runElf(new Uint8Array(100), () => {})).toThrow(RangeError);
    expect(() => runElf(elfOf("nop").subarray(0, 120), () => {})).toThrow(RangeError);
  });
});
