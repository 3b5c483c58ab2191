import { expect, test } from "vitest";
import { makeElf, type TestElf } from "../test-support/elf.ts";
import { ExecError } from "./exec-error.ts";
import { parseElf } from "./parse.ts";

const source = (bytes: Uint8Array): { size: () => number; pread: (offset: number, length: number) => Uint8Array } => ({
  size: () => bytes.length,
  pread: (offset, length) => bytes.slice(offset, offset + length),
});
const code = (bytes: Uint8Array): string => {
  try {
    parseElf(source(bytes), "/bin/x");
  } catch (error) {
    if (error instanceof ExecError) return error.code;
    throw error;
  }
  return "ok";
};
const text = { address: 0x10000, bytes: new Uint8Array(100) };
const simple: TestElf = { segments: [text] };

test("reads headers of a program", () => {
  const elf = parseElf(
    source(
      makeElf({
        segments: [text, { address: 0x12010, bytes: new Uint8Array(8), memoryBytes: 5000, flags: 6 }],
        entry: 0x10004,
        interpreter: "/lib/ld.so",
      }),
    ),
    "/bin/x",
  );
  expect(elf).toMatchObject({
    relocatable: false,
    entry: 0x10004,
    interpreter: "/lib/ld.so",
    lowest: 0x10000,
    highest: 0x12010 + 5000,
    headerCount: 3,
  });
  expect(elf.segments.map(({ prot }) => prot)).toEqual([5, 3]);
});

test("every cut of a program is refused", () => {
  const whole = makeElf({ ...simple, interpreter: "/lib/ld.so" });
  for (let length = 0; length < whole.length; length += 7)
    expect(["truncated", "not-elf"], `${length} bytes`).toContain(code(whole.slice(0, length)));
  expect(code(whole)).toBe("ok");
});

test.each<[string, string, Uint8Array]>([
  ["not an ELF file", "not-elf", new TextEncoder().encode("just text, long enough to be a header of sixty-four bytes and more")],
  ["32 bits", "wrong-class", makeElf({ ...simple, elfClass: 1 })],
  ["x86-64", "wrong-machine", makeElf({ ...simple, machine: 62 })],
  ["an object file", "bad-header", makeElf({ ...simple, type: 1 })],
  ["no segments", "bad-header", makeElf({ segments: [] })],
  ["overlapping segments", "bad-segments", makeElf({ segments: [text, { address: 0x10040, bytes: new Uint8Array(8) }] })],
  ["descending segments", "bad-segments", makeElf({ segments: [{ address: 0x20000, bytes: new Uint8Array(8) }, text] })],
  ["fewer bytes in memory than in the file", "bad-segments", makeElf({ segments: [{ ...text, memoryBytes: 50 }] })],
  ["a segment beyond 2^53", "bad-segments", makeElf({ segments: [{ ...text, address: 2 ** 53, memoryBytes: 2 ** 52 }] })],
])("%s: %s", (_name, expected, bytes) => {
  expect(code(bytes)).toBe(expected);
});

test("random damage of the headers never gives anything but an ExecError", () => {
  const whole = makeElf({ ...simple, interpreter: "/lib/ld.so" });
  let state = 1;
  const next = (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state % below;
  };
  for (let round = 0; round < 3000; round++) {
    const bytes = Uint8Array.from(whole);
    for (let count = 0; count < 4; count++) bytes[next(240)] = next(256);
    expect(typeof code(bytes)).toBe("string");
  }
});
