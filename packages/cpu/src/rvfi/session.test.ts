import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Session, SessionError } from "./session.ts";
import { InjectionTarget } from "./target.ts";
import { ASK_VERSION, Cmd, encodeCommand, encodePacket, encodeVersion, NO_EXECUTION, type DiiCommand, type Version } from "./wire.ts";

const target = new InjectionTarget();

/** What a session answers to these pieces; whether it failed. */
function answers(pieces: readonly Uint8Array[]): { bytes: number[]; error: SessionError | undefined } {
  const bytes: number[] = [];
  try {
    const session = new Session(target, (answer) => bytes.push(...answer));
    for (const piece of pieces) session.receive(piece);
    session.end();
  } catch (error) {
    if (!(error instanceof SessionError)) throw error;
    return { bytes, error };
  }
  return { bytes, error: undefined };
}

/** csrrs and the like on `time`, which is different each time. */
const readsTime = (insn: number): boolean => (insn & 0x7f) === 0x73 && insn >>> 20 === 0xc01;
const word = fc
  .oneof(
    fc.integer({ min: 0, max: 0xffff_ffff }),
    // Loads, stores, system and capability instructions with any operands.
    fc
      .tuple(fc.constantFrom(0x03, 0x23, 0x2f, 0x73, 0x5b, 0x0f, 0x67), fc.nat((1 << 25) - 1))
      .map(([opcode, rest]) => ((rest << 7) | opcode) >>> 0),
  )
  .filter((insn) => !readsTime(insn));
const command: fc.Arbitrary<DiiCommand> = fc.oneof(
  { weight: 12, arbitrary: word.map((insn) => ({ cmd: Cmd.Instruction, insn, time: 0 })) },
  { weight: 1, arbitrary: fc.constantFrom(0, ASK_VERSION).map((insn) => ({ cmd: Cmd.Reset, insn, time: 0 })) },
  { weight: 1, arbitrary: fc.constantFrom(1, 2).map((insn) => ({ cmd: Cmd.SetVersion, insn, time: 0 })) },
);
const commands = fc.array(command, { maxLength: 60 });
const bytesOf = (list: readonly DiiCommand[]): Uint8Array => Uint8Array.from(list.flatMap((one) => [...encodeCommand(one)]));

/** `bytes` in pieces of these sizes, over and over. */
function cut(bytes: Uint8Array, sizes: readonly number[]): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const size = sizes[turn % sizes.length]!;
    pieces.push(bytes.subarray(at, at + size));
    at += size;
  }
  return pieces;
}

describe("a session", () => {
  test("answers each command with what the machine did, whatever the instructions and however the bytes are cut", () => {
    fc.assert(
      fc.property(commands, fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 5 }), (list, sizes) => {
        target.reset();
        let version: Version = 1;
        const expected: number[] = [];
        for (const { cmd, insn } of list) {
          if (cmd === Cmd.Instruction) expected.push(...encodePacket(version, target.execute(insn)));
          else if (cmd === Cmd.SetVersion) expected.push(...encodeVersion((version = insn as Version)));
          else {
            target.reset();
            expected.push(...encodePacket(version, NO_EXECUTION, insn === ASK_VERSION ? 3 : 1));
          }
        }
        expect(answers(cut(bytesOf(list), sizes))).toEqual({ bytes: expected, error: undefined });
      }),
      { numRuns: 200 },
    );
  });
  test("ends with an error at a command that does not exist, after the answers before it", () => {
    fc.assert(
      fc.property(commands, fc.integer({ min: 2, max: 255 }), commands, (before, cmd, after) => {
        fc.pre(cmd !== Cmd.SetVersion);
        const whole = answers([bytesOf([...before, { cmd, insn: 0, time: 0 }, ...after])]);
        expect(whole.error?.code).toBe("unknown-command");
        expect(whole.bytes).toEqual(answers([bytesOf(before)]).bytes);
      }),
      { numRuns: 50 },
    );
  });
  test("ends with an error when it stops within a command", () => {
    const bytes = bytesOf([{ cmd: Cmd.Instruction, insn: 0x13, time: 0 }]);
    for (let length = 1; length < 8; length++) expect(answers([bytes, bytes.subarray(0, length)]).error?.code).toBe("truncated");
  });
});

describe("a record", () => {
  test("is of the instruction and the state that it began with; a trap writes nothing", () => {
    fc.assert(
      fc.property(fc.array(word, { maxLength: 40 }), (words) => {
        target.reset();
        let pc = 0x8000_0000n;
        let trapped = false;
        for (const [index, insn] of words.entries()) {
          const record = target.execute(insn);
          expect(record.order).toBe(index + 1);
          expect(record.insn).toBe((insn & 3) === 3 ? insn : insn & 0xffff);
          expect(record.pcBefore).toBe(pc);
          expect(record.pcAfter).toBe(target.pc);
          expect(record.intr).toBe(trapped);
          if (record.trap) expect(record).toMatchObject({ rd: 0, rdValue: 0n, readMask: 0, writeMask: 0 });
          if (record.rd === 0) expect(record.rdValue).toBe(0n);
          if (record.readMask === 0) expect(record.readData).toBe(0n);
          if (record.writeMask === 0) expect(record.writeData).toBe(0n);
          pc = record.pcAfter;
          trapped = record.trap;
        }
      }),
      { numRuns: 200 },
    );
  });
});
