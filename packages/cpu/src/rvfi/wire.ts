/**
 * The wire format of RVFI-DII (CTSRD-CHERI/TestRIG, RVFI-DII.md; version 2 as its tools speak it). All numbers are little endian.
 *
 * The client sends commands of 8 bytes: `insn` (4), `time` (2), `cmd` (1), padding (1).
 *
 * | cmd | insn | answer |
 * |---|---|---|
 * | 0 | 0 | reset; an execution packet with halt = 1 |
 * | 0 | `VERS` | reset; an execution packet of version 1 with halt = 3: version 2 is spoken too |
 * | 1 | an instruction | it runs at pc; its execution packet |
 * | 0x76 `v` | 1 or 2 | `version=` and the version (8 bytes); packets have this version from now on |
 *
 * Version 1 is a packet of 88 bytes. Version 2 has 64 bytes, then 40 of `int-data` and 88 of `mem-data` where there are any.
 */
import type { Execution } from "./execution.ts";

export const COMMAND_BYTES = 8;
export const V1_BYTES = 88;
const V2_BYTES = 64;
const INTEGER_BYTES = 40;
const MEMORY_BYTES = 88;
/** Largest packet of version 2. */
export const V2_MAX_BYTES: number = V2_BYTES + INTEGER_BYTES + MEMORY_BYTES;
export const VERSION_BYTES = 16;

/** Values of a command's `cmd`. */
export const Cmd = { Reset: 0, Instruction: 1, SetVersion: 0x76 } as const;
/** `insn` of a reset that asks for versions: "VERS". */
export const ASK_VERSION = 0x56455253;

export interface DiiCommand {
  /** Unsigned. */
  readonly insn: number;
  /** When to inject; of no meaning here. */
  readonly time: number;
  readonly cmd: number;
}

/** What an answer says of the machine: nothing, a reset (halt 1), or a reset and that version 2 is spoken (halt 3). */
export type Halt = 0 | 1 | 3;

/** Execution packets carry this much of an execution; fields that a version does not have are 0. */
export interface Packet extends Execution {
  readonly halt: number;
}

export type Version = 1 | 2;

/**
 * - `bad-magic`: the words in front of a part are others
 * - `bad-size`: the packet or part has another size than it says, or than its parts have
 * - `bad-version`: the answer to a version command is none
 */
export type WireErrorCode = "bad-magic" | "bad-size" | "bad-version";

/** What came over the wire is not of the format. */
export class WireError extends Error {
  override readonly name = "WireError";
  readonly code: WireErrorCode;
  constructor(code: WireErrorCode, message: string) {
    super(`[${code}] ${message}`);
    this.code = code;
  }
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
const MASK64 = 0xffff_ffff_ffff_ffffn;

/** An answer to a reset, without an execution. */
export const NO_EXECUTION: Execution = {
  order: 0,
  insn: 0,
  trap: false,
  intr: false,
  mode: 0,
  address: 0n,
  pcBefore: 0n,
  pcAfter: 0n,
  rd: 0,
  rdValue: 0n,
  rs1: 0,
  rs1Value: 0n,
  rs2: 0,
  rs2Value: 0n,
  memoryAddress: 0n,
  readMask: 0,
  writeMask: 0,
  readData: 0n,
  writeData: 0n,
};

// ---- commands

export function encodeCommand({ insn, time, cmd }: DiiCommand): Uint8Array {
  const bytes = new Uint8Array(COMMAND_BYTES);
  const view = viewOf(bytes);
  view.setUint32(0, insn, true);
  view.setUint16(4, time, true);
  view.setUint8(6, cmd);
  return bytes;
}

/** The command in the 8 bytes at `at`. The padding may be anything. */
export function decodeCommand(bytes: Uint8Array, at = 0): DiiCommand {
  const view = viewOf(bytes);
  return { insn: view.getUint32(at, true), time: view.getUint16(at + 4, true), cmd: view.getUint8(at + 6) };
}

// ---- version 1

export function encodeV1(execution: Execution, halt: Halt = 0): Uint8Array {
  const bytes = new Uint8Array(V1_BYTES);
  const view = viewOf(bytes);
  const words = [
    BigInt(execution.order),
    execution.pcBefore,
    execution.pcAfter,
    BigInt(execution.insn),
    execution.rs1Value,
    execution.rs2Value,
    execution.rdValue,
    execution.memoryAddress,
    execution.readData,
    execution.writeData,
  ];
  words.forEach((word, index) => view.setBigUint64(8 * index, word & MASK64, true));
  bytes.set(
    [
      execution.readMask & 0xff,
      execution.writeMask & 0xff,
      execution.rs1,
      execution.rs2,
      execution.rd,
      Number(execution.trap),
      halt,
      Number(execution.intr),
    ],
    80,
  );
  return bytes;
}

/** `bad-size` unless there are 88 bytes. */
export function decodeV1(bytes: Uint8Array): Packet {
  if (bytes.length !== V1_BYTES) throw new WireError("bad-size", `a packet of version 1 has ${V1_BYTES} bytes, not ${bytes.length}`);
  const view = viewOf(bytes);
  const word = (index: number): bigint => view.getBigUint64(8 * index, true);
  const byte = (index: number): number => view.getUint8(80 + index);
  return {
    order: Number(word(0)),
    address: 0n,
    pcBefore: word(1),
    pcAfter: word(2),
    insn: Number(word(3)),
    rs1Value: word(4),
    rs2Value: word(5),
    rdValue: word(6),
    memoryAddress: word(7),
    readData: word(8),
    writeData: word(9),
    readMask: byte(0),
    writeMask: byte(1),
    rs1: byte(2),
    rs2: byte(3),
    rd: byte(4),
    trap: byte(5) !== 0,
    halt: byte(6),
    intr: byte(7) !== 0,
    mode: 0,
  };
}

// ---- version 2

const ascii = (text: string): bigint => [...text].reduceRight((word, letter) => (word << 8n) | BigInt(letter.charCodeAt(0)), 0n);
const MAGIC = { trace: ascii("trace-v2"), integer: ascii("int-data"), memory: ascii("mem-data"), version: ascii("version=") } as const;
/** Bits of the parts that follow. */
const Part = { Integer: 1n, Memory: 2n } as const;
/** XLEN as misa.MXL has it: 64. */
const XLEN_64 = 2;

function setWide(view: DataView, at: number, value: bigint): void {
  for (let word = 0; word < 4; word++) view.setBigUint64(at + 8 * word, (value >> BigInt(64 * word)) & MASK64, true);
}
function getWide(view: DataView, at: number): bigint {
  let value = 0n;
  for (let word = 3; word >= 0; word--) value = (value << 64n) | view.getBigUint64(at + 8 * word, true);
  return value;
}

/** Integer data is left out of a packet without registers, memory data out of one without an access. */
export function encodeV2(execution: Execution, halt: Halt = 0): Uint8Array {
  const { rd, rs1, rs2, memoryAddress, readMask, writeMask } = execution;
  const integer = rd !== 0 || rs1 !== 0 || rs2 !== 0;
  const memory = memoryAddress !== 0n || readMask !== 0 || writeMask !== 0;
  const bytes = new Uint8Array(V2_BYTES + (integer ? INTEGER_BYTES : 0) + (memory ? MEMORY_BYTES : 0));
  const view = viewOf(bytes);
  view.setBigUint64(0, MAGIC.trace, true);
  view.setBigUint64(8, BigInt(bytes.length), true);
  view.setBigUint64(16, BigInt(execution.order), true);
  view.setBigUint64(24, BigInt(execution.insn), true);
  bytes.set([Number(execution.trap), halt, Number(execution.intr), execution.mode, XLEN_64, halt === 0 ? 1 : 0], 32);
  view.setBigUint64(40, execution.pcBefore, true);
  view.setBigUint64(48, execution.pcAfter, true);
  view.setBigUint64(56, (integer ? Part.Integer : 0n) | (memory ? Part.Memory : 0n), true);
  let at = V2_BYTES;
  if (integer) {
    view.setBigUint64(at, MAGIC.integer, true);
    view.setBigUint64(at + 8, execution.rdValue, true);
    view.setBigUint64(at + 16, execution.rs1Value, true);
    view.setBigUint64(at + 24, execution.rs2Value, true);
    bytes.set([rd, rs1, rs2], at + 32);
    at += INTEGER_BYTES;
  }
  if (memory) {
    view.setBigUint64(at, MAGIC.memory, true);
    setWide(view, at + 8, execution.readData);
    setWide(view, at + 40, execution.writeData);
    view.setUint32(at + 72, readMask, true);
    view.setUint32(at + 76, writeMask, true);
    view.setBigUint64(at + 80, memoryAddress, true);
  }
  return bytes;
}

/**
 * Size that a packet of version 2 says it has, from its first 16 bytes. `bad-magic`; `bad-size` unless it is one that the known
 * parts can give.
 */
export function sizeOfV2(head: Uint8Array): number {
  if (head.length < 16) throw new WireError("bad-size", `16 bytes are needed, not ${head.length}`);
  const view = viewOf(head);
  if (view.getBigUint64(0, true) !== MAGIC.trace) throw new WireError("bad-magic", "a packet does not begin with trace-v2");
  const size = view.getBigUint64(8, true);
  if (size < BigInt(V2_BYTES) || size > BigInt(V2_MAX_BYTES)) {
    throw new WireError("bad-size", `a packet of version 2 has ${V2_BYTES} to ${V2_MAX_BYTES} bytes, not ${size}`);
  }
  return Number(size);
}

/** `bad-magic`, `bad-size` when the bytes are not one whole packet. */
export function decodeV2(bytes: Uint8Array): Packet {
  const size = sizeOfV2(bytes);
  if (size !== bytes.length) throw new WireError("bad-size", `${bytes.length} bytes of a packet of ${size}`);
  const view = viewOf(bytes);
  const parts = view.getBigUint64(56, true);
  const integer = (parts & Part.Integer) !== 0n;
  const memory = (parts & Part.Memory) !== 0n;
  const expected = V2_BYTES + (integer ? INTEGER_BYTES : 0) + (memory ? MEMORY_BYTES : 0);
  if (parts >> 2n !== 0n || expected !== size) {
    throw new WireError("bad-size", `parts 0x${parts.toString(16)} do not make a packet of ${size} bytes`);
  }
  let packet: Packet = {
    ...NO_EXECUTION,
    order: Number(view.getBigUint64(16, true)),
    insn: Number(view.getBigUint64(24, true)),
    trap: bytes[32] !== 0,
    halt: bytes[33]!,
    intr: bytes[34] !== 0,
    mode: bytes[35]!,
    pcBefore: view.getBigUint64(40, true),
    pcAfter: view.getBigUint64(48, true),
  };
  let at = V2_BYTES;
  if (integer) {
    if (view.getBigUint64(at, true) !== MAGIC.integer) throw new WireError("bad-magic", "register data does not begin with int-data");
    packet = {
      ...packet,
      rdValue: view.getBigUint64(at + 8, true),
      rs1Value: view.getBigUint64(at + 16, true),
      rs2Value: view.getBigUint64(at + 24, true),
      rd: bytes[at + 32]!,
      rs1: bytes[at + 33]!,
      rs2: bytes[at + 34]!,
    };
    at += INTEGER_BYTES;
  }
  if (memory) {
    if (view.getBigUint64(at, true) !== MAGIC.memory) throw new WireError("bad-magic", "memory data does not begin with mem-data");
    packet = {
      ...packet,
      readData: getWide(view, at + 8),
      writeData: getWide(view, at + 40),
      readMask: view.getUint32(at + 72, true),
      writeMask: view.getUint32(at + 76, true),
      memoryAddress: view.getBigUint64(at + 80, true),
    };
  }
  return packet;
}

// ---- versions

/** The answer to a command that sets the version. */
export function encodeVersion(version: Version): Uint8Array {
  const bytes = new Uint8Array(VERSION_BYTES);
  const view = viewOf(bytes);
  view.setBigUint64(0, MAGIC.version, true);
  view.setBigUint64(8, BigInt(version), true);
  return bytes;
}
/** `bad-size`, `bad-magic`, `bad-version`. */
export function decodeVersion(bytes: Uint8Array): Version {
  if (bytes.length !== VERSION_BYTES) throw new WireError("bad-size", `a version has ${VERSION_BYTES} bytes, not ${bytes.length}`);
  const view = viewOf(bytes);
  if (view.getBigUint64(0, true) !== MAGIC.version) throw new WireError("bad-magic", "the answer does not begin with version=");
  const version = Number(view.getBigUint64(8, true));
  if (version !== 1 && version !== 2) throw new WireError("bad-version", `version ${version}`);
  return version;
}

export function encodePacket(version: Version, execution: Execution, halt: Halt = 0): Uint8Array {
  return version === 1 ? encodeV1(execution, halt) : encodeV2(execution, halt);
}
