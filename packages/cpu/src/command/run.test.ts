import { describe, expect, test } from "vitest";
import { writeElf } from "./elf.test.support.ts";
import type { Io } from "./command.ts";
import { main } from "./main.ts";
import { runElf } from "./run.ts";

const elfOf = (text: string): Uint8Array => writeElf(text, { address: 0x1_0078 });

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
  test("--stats says what was translated, --dump-wasm writes it down", async () => {
    const loop = elfOf("li a1, 100\nloop: addi a1, a1, -1\nbnez a1, loop\nli a0, 0\nli a7, 93\necall");
    const errors: string[] = [];
    const written: Record<string, Uint8Array> = {};
    const io: Io = {
      out: () => {},
      err: (data) => void errors.push(String(data)),
      readFile: () => loop,
      writeFile: (path, bytes) => void (written[path] = bytes),
    };
    expect(await main(["run", "--engine", "eager", "--stats", "--dump-wasm", "0x1007c", "loop.elf"], io)).toBe(0);
    expect(errors[0]).toMatch(/^translated [1-9]\d* instructions to [1-9]\d* units of [1-9]\d* bytes .*\ncame back: out of fuel 0, .*\n$/u);
    expect(errors[1]).toBe(`pc_1007c.wasm: ${written["pc_1007c.wasm"]!.length} bytes\n`);
    expect([...written["pc_1007c.wasm"]!.subarray(0, 4)]).toEqual([0, 0x61, 0x73, 0x6d]);
    expect(await main(["run", "--dump-wasm", "0x1007c", "loop.elf"], io)).toBe(0);
    expect(errors.at(-1)).toBe("cvm-cpu: nothing was translated at 0x1007c\n");
    expect(await main(["run", "--dump-wasm", "here", "loop.elf"], io)).toBe(2);
  });
  test("other files are refused", () => {
    expect(() => runElf(new Uint8Array(100), () => {})).toThrow(RangeError);
    expect(() => runElf(elfOf("nop").subarray(0, 120), () => {})).toThrow(RangeError);
  });
});
