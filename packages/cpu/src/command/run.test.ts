import { describe, expect, test } from "vitest";
import { assembleText } from "../assembler/index.ts";
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
  });
  test("other files are refused", () => {
    expect(() => runElf(new Uint8Array(100), () => {})).toThrow(RangeError);
    expect(() => runElf(elfOf("nop").subarray(0, 120), () => {})).toThrow(RangeError);
  });
});
