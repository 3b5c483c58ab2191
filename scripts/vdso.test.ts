import { expect, test } from "vitest";
import { TICKS_PER_MS } from "@cvm/cpu/abi";
import * as monitor from "@cvm/monitor/abi";
import { CODE, SYMBOLS, TEXT_OFFSET as OFFSET } from "../packages/libos/src/elf/vdso-code.ts";
import { assembleVdso, TEXT_OFFSET } from "./vdso.ts";

test("the vDSO's code is what its source says: run scripts/vdso.ts after a change", () => {
  const { words, symbols } = assembleVdso();
  expect(CODE).toEqual(words);
  expect(SYMBOLS).toEqual(symbols);
  expect(OFFSET).toBe(TEXT_OFFSET);
  expect(words.length).toBeGreaterThan(50);
});

test("its constants are the processor's: a tick has 100 ns", () => {
  expect(TICKS_PER_MS).toBe(10_000);
  expect(monitor.TICKS_PER_MS).toBe(TICKS_PER_MS);
});
