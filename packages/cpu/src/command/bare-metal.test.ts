import { describe, expect, test } from "vitest";
import { ENGINES } from "../engines.test.support.ts";
import { writeElf } from "./elf.test.support.ts";
import type { Io } from "./command.ts";
import { main } from "./main.ts";
import { runElf, type RunResult } from "./run.ts";

const RAM = 0x8000_0000;
const HTIF = `
  .balign 64
tohost: .dword 0
fromhost: .dword 0
`;
const bare = (text: string): Uint8Array => writeElf(`${text}\n${HTIF}`, { address: RAM, symbols: ["tohost", "fromhost"] });
/** Ends with what is in a0. */
const END = "la t0, tohost\n slli a0, a0, 1\n ori a0, a0, 1\n sd a0, 0(t0)\n j .\n";

describe.each(ENGINES)("bare-metal programs, %s", (engine) => {
  const run = (file: Uint8Array, maxInstructions = 1_000_000): RunResult & { output: string } => {
    let output = "";
    const result = runElf(file, (descriptor, bytes) => (output += `${descriptor}:${new TextDecoder().decode(bytes)};`), {
      engine,
      maxInstructions,
    });
    return { ...result, output };
  };
  test("code 0 is a pass, any other one names the test", () => {
    expect(run(bare(`li a0, 0\n ${END}`))).toMatchObject({ status: 0, bareMetal: true });
    expect(run(bare(`li a0, 0\n ${END}`)).problem).toBeUndefined();
    expect(run(bare(`li a0, 17\n ${END}`))).toMatchObject({ status: 1, problem: "test 17 failed" });
  });
  test("two stores of 32 bits end it as well", () => {
    expect(run(bare("la t0, tohost\n again: li a0, 7\n sw a0, 0(t0)\n sw zero, 4(t0)\n j again"))).toMatchObject({
      problem: "test 3 failed",
    });
  });
  test("it runs in machine mode; a failure names the exception that came last", () => {
    const result = run(
      bare(`la t0, handler\n csrw mtvec, t0\n li a1, 0x1234\n at: ld a0, 0(a1)\n .balign 4\n handler: csrr a0, mcause\n ${END}`),
    );
    expect(result.problem).toMatch(/^test 5 failed \(last trap: cause 5 at 0x800000[0-9a-f]{2}, value 0x1234\)$/u);
  });
  test("the console: a character at a time, and by write", () => {
    const result = run(
      bare(`
        la s0, tohost
        la s1, fromhost
        li s2, 0x0101000000000041
        sd s2, 0(s0)
      w1: ld t0, 0(s1)
        beqz t0, w1
        sd zero, 0(s1)
        la s2, block
        sd s2, 0(s0)
      w2: ld t0, 0(s1)
        beqz t0, w2
        sd zero, 0(s1)
        ld a0, 0(s2)
        addi a0, a0, -5
        ${END}
      text: .ascii "hello"
        .balign 64
      block: .dword 64, 1, text, 5, 0, 0, 0, 0`),
    );
    expect(result.output).toBe("1:A;1:hello;");
    expect(result.status).toBe(0);
  });
  test.each([
    ["a system call that is none", "123, 1, text, 5", -38],
    ["a buffer outside of memory", "64, 1, 0x1000, 5", -14],
    ["a buffer that ends outside", "64, 1, text, 0x7fffffffffffffff", -14],
  ])("%s is refused", (_, words, errno) => {
    const result = run(
      bare(`
        la s0, tohost
        la s1, fromhost
        la s2, block
        sd s2, 0(s0)
      wait: ld t0, 0(s1)
        beqz t0, wait
        ld a0, 0(s2)
        addi a0, a0, ${-errno}
        ${END}
      text: .ascii "hello"
        .balign 64
      block: .dword ${words}, 0, 0, 0, 0`),
    );
    expect([result.output, result.problem]).toEqual(["", undefined]);
  });
  test("requests that no device answers have no effect", () => {
    const result = run(
      bare(
        `la t0, tohost\n li t1, 0x0500000000000001\n sd t1, 0(t0)\n wait: ld t1, 0(t0)\n bnez t1, wait\n li t1, 0x20\n sd t1, 0(t0)\n w2: ld t1, 0(t0)\n bnez t1, w2\n li a0, 0\n ${END}`,
      ),
    );
    expect(result).toMatchObject({ status: 0, output: "" });
  });
  test("one that never ends is stopped", () => {
    expect(run(bare("j ."), 5000)).toMatchObject({ status: 1, problem: "not done after 5000 instructions" });
    expect(run(bare("ecall\n nop"))).toMatchObject({
      status: 1,
      problem: expect.stringMatching(/^traps without end \(last trap: cause 1 at 0x0, value 0x0\)$/u) as string,
    });
  });
  test("a program at 0x80000000 needs no symbols", () => {
    expect(run(writeElf("j .", { address: RAM }), 1000)).toMatchObject({ bareMetal: true, problem: "not done after 1000 instructions" });
  });
  test("memory behind a segment's bytes is zero, and the program's", () => {
    const text = `la t0, end\n ld a0, 0(t0)\n sd t0, 56(t0)\n ld t1, 56(t0)\n beq t0, t1, good\n li a0, 1\n good: ${END}\n${HTIF}\n end:`;
    expect(run(writeElf(text, { address: RAM, symbols: ["tohost"], extra: 64 }))).toMatchObject({ status: 0 });
  });
  test("what does not fit is refused", () => {
    expect(() => run(writeElf("nop", { address: RAM - 0x1000, symbols: [] }))).toThrow("does not fit into memory");
    expect(() => run(writeElf("tohost: nop", { address: 0x1000, symbols: ["tohost"] }))).toThrow("a segment at 0x1000 does not fit");
    expect(() => run(writeElf("nop", { address: RAM, extra: 2 ** 40 }))).toThrow("does not fit");
    expect(() => run(bare("nop").subarray(0, -70))).toThrow("the ELF file ends before its section headers");
  });
});

describe("cvm-cpu run", () => {
  const files: Record<string, Uint8Array> = {
    good: bare(`li a0, 0\n ${END}`),
    bad: bare(`li a0, 2\n ${END}`),
    endless: bare("j ."),
    exit3: writeElf("li a0, 3\n li a7, 93\n ecall", { address: 0x10000 }),
  };
  const call = async (...args: string[]): Promise<{ status: number; out: string; err: string }> => {
    let [out, err] = ["", ""];
    const text = (data: string | Uint8Array): string => (typeof data === "string" ? data : new TextDecoder().decode(data));
    const io: Io = {
      out: (data) => void (out += text(data)),
      err: (data) => void (err += text(data)),
      readFile: (path) => {
        if (files[path] === undefined) throw new Error(`no file ${path}`);
        return files[path];
      },
    };
    return { status: await main(["run", ...args], io), out, err };
  };
  test("one file says pass, or what failed", async () => {
    expect(await call("good")).toEqual({ status: 0, out: "pass\n", err: "" });
    expect(await call("bad")).toEqual({ status: 1, out: "", err: "cvm-cpu: bad: test 2 failed\n" });
    expect(await call("exit3")).toEqual({ status: 3, out: "", err: "" });
  });
  test("several files give a table, and 1 when one fails", async () => {
    const all = await call("good", "bad", "exit3", "missing");
    expect(all.status).toBe(1);
    expect(all.out.split("\n").map((line) => line.replace(/^(pass|FAIL) +\d+ +/u, "$1 # "))).toEqual([
      "pass # good",
      "FAIL # bad: test 2 failed",
      "FAIL # exit3: exit status 3",
      "FAIL            -  missing: no file missing",
      "1 passed, 3 failed",
      "",
    ]);
    expect((await call("good", "good")).status).toBe(0);
  });
  test("--stats and --max-instructions", async () => {
    expect((await call("--stats", "good")).err).toMatch(/^\d+ instructions in \d+ ms: \d+ MIPS\n$/u);
    expect((await call("--max-instructions", "3", "endless")).err).toBe("cvm-cpu: endless: not done after 3 instructions\n");
    expect((await call("--max-instructions", "0", "good")).status).toBe(2);
    expect((await call("--engine", "steam", "good")).err).toContain("--engine needs one of");
    expect((await call()).status).toBe(2);
  });
});
