import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Execution } from "./execution.ts";
import {
  ASK_VERSION,
  COMMAND_BYTES,
  decodeCommand,
  decodeV1,
  decodeV2,
  decodeVersion,
  encodeCommand,
  encodeV1,
  encodeV2,
  encodeVersion,
  NO_EXECUTION,
  sizeOfV2,
  V1_BYTES,
  V2_MAX_BYTES,
  WireError,
  type Halt,
} from "./wire.ts";

const word = fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn });
const wide = fc.bigInt({ min: 0n, max: (1n << 129n) - 1n });
const register = fc.integer({ min: 0, max: 31 });
const mask = fc.constantFrom(0, 1, 3, 15, 255, 0xffff);
const execution: fc.Arbitrary<Execution> = fc.record({
  order: fc.nat(),
  insn: fc.integer({ min: 0, max: 0xffff_ffff }),
  trap: fc.boolean(),
  intr: fc.boolean(),
  address: fc.constant(0n),
  mode: fc.constantFrom(0, 1, 3),
  pcBefore: word,
  pcAfter: word,
  rd: register,
  rdValue: word,
  rs1: register,
  rs1Value: word,
  rs2: register,
  rs2Value: word,
  memoryAddress: word,
  readMask: mask,
  writeMask: mask,
  readData: wide,
  writeData: wide,
});
const halt = fc.constantFrom<Halt[]>(0, 1, 3);
const LOW = 0xffff_ffff_ffff_ffffn;

describe("the wire format of RVFI-DII", () => {
  test("a command, byte by byte", () => {
    const bytes = Uint8Array.of(0x93, 0x80, 0x10, 0xfe, 0x34, 0x12, 1, 0);
    expect(decodeCommand(bytes)).toEqual({ insn: 0xfe108093, time: 0x1234, cmd: 1 });
    expect(encodeCommand({ insn: 0xfe108093, time: 0x1234, cmd: 1 })).toEqual(bytes);
    expect(new TextDecoder().decode(encodeCommand({ insn: ASK_VERSION, time: 0, cmd: 0 })).slice(0, 4)).toBe("SREV");
  });
  test("any 8 bytes are a command, and encoding it again gives all but the padding", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: COMMAND_BYTES, maxLength: COMMAND_BYTES }), (bytes) => {
        expect(encodeCommand(decodeCommand(bytes))).toEqual(bytes.with(7, 0));
      }),
    );
  });

  test("version 1 has each field at the byte that the specification says", () => {
    const bytes = encodeV1(
      {
        order: 0x01,
        address: 0n,
        pcBefore: 0x02n,
        pcAfter: 0x03n,
        insn: 0x04,
        rs1Value: 0x05n,
        rs2Value: 0x06n,
        rdValue: 0x07n,
        memoryAddress: 0x08n,
        readData: 0x09n,
        writeData: 0x0an,
        readMask: 0x0b,
        writeMask: 0x0c,
        rs1: 0x0d,
        rs2: 0x0e,
        rd: 0x0f,
        trap: true,
        intr: true,
        mode: 3,
      },
      3,
    );
    expect(bytes.length).toBe(88);
    const set = [...bytes.entries()].filter(([, byte]) => byte !== 0);
    expect(Object.fromEntries(set)).toEqual({
      0: 1,
      8: 2,
      16: 3,
      24: 4,
      32: 5,
      40: 6,
      48: 7,
      56: 8,
      64: 9,
      72: 10, // words
      80: 11,
      81: 12,
      82: 13,
      83: 14,
      84: 15,
      85: 1,
      86: 3,
      87: 1, // bytes
    });
  });
  test("version 1 carries everything but the mode and what is wider than it", () => {
    fc.assert(
      fc.property(execution, halt, (value, stop) => {
        expect(decodeV1(encodeV1(value, stop))).toEqual({
          ...value,
          halt: stop,
          mode: 0,
          readMask: value.readMask & 0xff,
          writeMask: value.writeMask & 0xff,
          readData: value.readData & LOW,
          writeData: value.writeData & LOW,
        });
      }),
    );
  });

  test("version 2 has each field at its byte", () => {
    const bytes = encodeV2({ ...NO_EXECUTION, order: 1, insn: 2, trap: true, intr: true, mode: 3, pcBefore: 4n, pcAfter: 5n }, 1);
    expect(new TextDecoder().decode(bytes.subarray(0, 8))).toBe("trace-v2");
    expect([bytes.length, bytes[8]]).toEqual([64, 64]);
    expect([...bytes.subarray(16)]).toEqual(
      [1, 2]
        .flatMap((value) => [value, 0, 0, 0, 0, 0, 0, 0])
        .concat(
          [1, 1, 1, 3, 2, 0, 0, 0],
          [4, 5, 0].flatMap((value) => [value, 0, 0, 0, 0, 0, 0, 0]),
        ),
    );
    const all = encodeV2({
      ...NO_EXECUTION,
      rd: 7,
      rdValue: 8n,
      rs1: 9,
      rs2: 10,
      writeMask: 0xffff,
      writeData: 1n << 128n,
      memoryAddress: 11n,
    });
    expect(all.length).toBe(V2_MAX_BYTES);
    expect([all[37], all[56]]).toEqual([1, 3]); // valid; both parts
    expect(new TextDecoder().decode(all.subarray(64, 72))).toBe("int-data");
    expect([all[72], all[96], all[97], all[98]]).toEqual([8, 7, 9, 10]);
    expect(new TextDecoder().decode(all.subarray(104, 112))).toBe("mem-data");
    expect([all[160], all[180], all[181], all[184]]).toEqual([1, 0xff, 0xff, 11]);
  });
  test("version 2 carries everything of parts that are there", () => {
    fc.assert(
      fc.property(execution, halt, (value, stop) => {
        const bytes = encodeV2(value, stop);
        expect(sizeOfV2(bytes.subarray(0, 16))).toBe(bytes.length);
        const integer = value.rd !== 0 || value.rs1 !== 0 || value.rs2 !== 0;
        const memory = value.memoryAddress !== 0n || value.readMask !== 0 || value.writeMask !== 0;
        expect(decodeV2(bytes)).toEqual({
          ...value,
          halt: stop,
          ...(integer ? {} : { rdValue: 0n, rs1Value: 0n, rs2Value: 0n }),
          ...(memory ? {} : { readData: 0n, writeData: 0n }),
        });
      }),
    );
  });
  test("a version, both ways", () => {
    expect(new TextDecoder().decode(encodeVersion(2))).toBe(`version=\u0002${"\0".repeat(7)}`);
    expect([decodeVersion(encodeVersion(1)), decodeVersion(encodeVersion(2))]).toEqual([1, 2]);
  });

  test("whatever bytes come, they decode or a WireError says why not", () => {
    const decoders = [decodeV1, decodeV2, decodeVersion, sizeOfV2];
    const started = fc.tuple(execution, fc.uint8Array({ maxLength: 40 }), fc.nat(V2_MAX_BYTES)).map(([value, junk, at]) => {
      const bytes = encodeV2(value);
      const damaged = new Uint8Array(Math.max(bytes.length, at + junk.length));
      damaged.set(bytes);
      damaged.set(junk, at);
      return damaged;
    });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), started), (bytes) => {
        for (const decode of decoders) {
          try {
            decode(bytes);
          } catch (error) {
            expect(error).toBeInstanceOf(WireError);
          }
        }
      }),
    );
  });
  test.each<[string, () => unknown, string]>([
    ["version 1, a byte short", () => decodeV1(new Uint8Array(V1_BYTES - 1)), "bad-size"],
    ["version 2 without its beginning", () => sizeOfV2(new Uint8Array(64)), "bad-magic"],
    ["version 2, too short to tell", () => sizeOfV2(new Uint8Array(15)), "bad-size"],
    ["version 2 that says it is huge", () => sizeOfV2(encodeV2(NO_EXECUTION).with(15, 0xff)), "bad-size"],
    ["version 2, cut off", () => decodeV2(encodeV2({ ...NO_EXECUTION, rd: 1 }).subarray(0, 100)), "bad-size"],
    ["version 2 with an unknown part", () => decodeV2(encodeV2(NO_EXECUTION).with(56, 4)), "bad-size"],
    ["version 2 without a part that it says", () => decodeV2(encodeV2(NO_EXECUTION).with(56, 1)), "bad-size"],
    ["int-data with other words", () => decodeV2(encodeV2({ ...NO_EXECUTION, rd: 1 }).with(64, 0)), "bad-magic"],
    ["mem-data with other words", () => decodeV2(encodeV2({ ...NO_EXECUTION, readMask: 1 }).with(64, 0)), "bad-magic"],
    ["version 3", () => decodeVersion(encodeVersion(2).with(8, 3)), "bad-version"],
    ["a version with other words", () => decodeVersion(encodeVersion(2).with(0, 0)), "bad-magic"],
    ["a version, cut off", () => decodeVersion(encodeVersion(2).subarray(1)), "bad-size"],
  ])("%s is refused", (_, decode, code) => {
    expect(decode).toThrow(expect.objectContaining({ name: "WireError", code }) as Error);
  });
});
