/** Places a program in a new address space: segments, stack with arguments and auxiliary vector, vDSO. */
import { encodeText, type ProcessOp } from "@cvm/monitor/abi";
import { Registers, REGISTER_BYTES, X } from "../kernel/registers.ts";
import { LOWEST, PAGE, roundDown, roundUp, STACK_BYTES, VVAR, type AddressSpace } from "../kernel/address-space.ts";
import type { Credentials, VfsFile } from "../kernel/types.ts";
import { ExecError } from "./exec-error.ts";
import type { Elf } from "./parse.ts";
import type { Program } from "./program.ts";
import { SIGNAL_RETURN, VDSO } from "./vdso.ts";

/** Where position-independent programs stand. */
const PIE_BASE = 0x200000;
const LONGEST_STRING = 131072;
/** Most bytes of arguments and environment: a quarter of the stack. */
const MOST_STRINGS = STACK_BYTES / 4;
/** Free addresses between the heap and the stack. */
const STACK_GAP = 1024 * 1024;
/** Room that a program finds in its region: addresses for the heap (a C library goes on with mmap behind it), and for what is mapped first. */
export interface Room {
  readonly heap: number;
  readonly maps: number;
}
/** As it should be, and what a program gets when there is no region for that. */
export const ROOMS: readonly Room[] = [
  { heap: 16 * 1024 * 1024, maps: 8 * 1024 * 1024 },
  { heap: 4 * 1024 * 1024, maps: 2 * 1024 * 1024 },
];
/** hwcap letters: A, C, D, F, I, M. */
const HWCAP = [..."ACDFIM"].reduce((bits, letter) => bits | (1 << (letter.charCodeAt(0) - 65)), 0);
const AT = {
  PHDR: 3,
  PHENT: 4,
  PHNUM: 5,
  PAGESZ: 6,
  BASE: 7,
  FLAGS: 8,
  ENTRY: 9,
  UID: 11,
  EUID: 12,
  GID: 13,
  EGID: 14,
  HWCAP: 16,
  CLKTCK: 17,
  SECURE: 23,
  RANDOM: 25,
  HWCAP2: 26,
  EXECFN: 31,
  SYSINFO_EHDR: 33,
  MINSIGSTKSZ: 51,
} as const;
/** Bytes of a signal frame that a stack must hold (AT_MINSIGSTKSZ). */
const SIGNAL_STACK = 2048;

/** Where the program, its heap's end and its stack stand; what is mapped follows. */
function layOut({ elf, interpreter }: Program, room: Room): { base: number; stackBase: number; stackTop: number; bytes: number } {
  const base = elf.relocatable ? alignUp(PIE_BASE, alignment(elf)) - elf.lowest : 0;
  const stackBase = roundUp(base + elf.highest) + room.heap + STACK_GAP;
  const stackTop = stackBase + STACK_BYTES;
  const more = interpreter === null ? 0 : roundUp(interpreter.elf.highest) + alignment(interpreter.elf);
  return { base, stackBase, stackTop, bytes: stackTop + 3 * PAGE + more + room.maps };
}

/** Most that any region has: beyond it no program can stand. */
const REGION_MOST = 2 ** 32;
/** Bytes of the region that a program needs. @throws ExecError `outside-region` */
export function regionBytes(program: Program, room: Room): number {
  const { bytes } = layOut(program, room);
  if (bytes > REGION_MOST)
    throw new ExecError("outside-region", `${program.name}: segments reach to ${hex(program.elf.highest)}, further than any region`);
  return bytes;
}

/**
 * Adds the operations that load `program` into the empty `space`. `clocks`: content of the page that the vDSO takes the time from.
 * @returns registers of the first thread.
 * @throws ExecError `outside-region`, `no-memory`, `arguments-too-long`
 */
export function loadProgram(
  space: AddressSpace,
  program: Program,
  room: Room,
  env: readonly string[],
  credentials: Credentials,
  random: Uint8Array,
  clocks: Uint8Array,
  ops: ProcessOp[],
): Uint8Array {
  const { elf } = program;
  const { base, stackBase, stackTop } = layOut(program, room);
  // The vDSO knows where the two pages below it are.
  const capabilities = stackTop;
  const vdso = capabilities + 2 * PAGE;
  space.mmapBase = vdso + PAGE;
  space.brkEnd = stackBase - STACK_GAP;
  mapSegments(space, program.file, program.name, elf, base, ops);
  space.brkStart = space.brk = roundUp(base + elf.highest);

  let entry = base + elf.entry;
  let interpreterBase = 0;
  if (program.interpreter !== null) {
    const { file, elf: interpreter } = program.interpreter;
    const length = roundUp(interpreter.highest) - interpreter.lowest;
    const at = interpreter.relocatable ? space.place(length + alignment(interpreter)) : 0;
    if (at < 0) throw new ExecError("no-memory", `${program.name}: no room for ${elf.interpreter}`);
    interpreterBase = interpreter.relocatable ? alignUp(at, alignment(interpreter)) - interpreter.lowest : 0;
    mapSegments(space, file, elf.interpreter ?? "", interpreter, interpreterBase, ops);
    entry = interpreterBase + interpreter.entry;
  }

  space.vvar = vdso - PAGE;
  space.trampoline = vdso + SIGNAL_RETURN;
  const fail =
    space.map(vdso, PAGE, { prot: 5, name: "[vdso]" }, VDSO, ops) ||
    space.map(space.vvar, PAGE, { prot: 1, name: VVAR }, clocks, ops) ||
    space.map(capabilities, PAGE, { prot: 1, name: "[cvm]" }, undefined, ops) ||
    space.map(stackBase, STACK_BYTES, { prot: 3, name: "[stack]" }, undefined, ops);
  if (fail < 0) throw new ExecError("no-memory", `${program.name}: no memory left for the stack`);
  ops.push({ op: "capabilities", process: space.id, address: capabilities });

  // The uppermost page stays empty, and is used: accesses in a page whose neighbour may not be stored to are slower to check.
  const stack = buildStack(
    stackTop - PAGE,
    program,
    env,
    [
      [AT.HWCAP, HWCAP],
      [AT.PAGESZ, PAGE],
      [AT.CLKTCK, 100],
      [AT.PHDR, elf.headerAddress === 0 ? 0 : base + elf.headerAddress],
      [AT.PHENT, 56],
      [AT.PHNUM, elf.headerCount],
      [AT.BASE, interpreterBase],
      [AT.FLAGS, 0],
      [AT.ENTRY, base + elf.entry],
      [AT.UID, credentials.uid],
      [AT.EUID, credentials.euid],
      [AT.GID, credentials.gid],
      [AT.EGID, credentials.egid],
      [AT.SECURE, credentials.uid !== credentials.euid || credentials.gid !== credentials.egid ? 1 : 0],
      [AT.HWCAP2, 0],
      [AT.SYSINFO_EHDR, vdso],
      [AT.MINSIGSTKSZ, SIGNAL_STACK],
    ],
    random,
  );
  ops.push({ op: "write", process: space.id, address: stack.pointer, bytes: stack.bytes });
  ops.push({ op: "write", process: space.id, address: stackTop - 8, bytes: new Uint8Array(8) });

  const registers = new Registers(new Uint8Array(REGISTER_BYTES));
  registers.pc = entry;
  registers.set(X.SP, stack.pointer);
  return registers.bytes;
}

const alignment = (elf: Elf): number =>
  Math.max(PAGE, ...elf.segments.map(({ align }) => (align > 0 && align <= 1 << 21 && (align & (align - 1)) === 0 ? align : PAGE)));
const alignUp = (value: number, align: number): number => Math.ceil(value / align) * align;

function mapSegments(space: AddressSpace, file: VfsFile, name: string, elf: Elf, base: number, ops: ProcessOp[]): void {
  if (base + elf.lowest < LOWEST || base + roundUp(elf.highest) > space.reach) {
    throw new ExecError(
      "outside-region",
      `${name}: segments reach from ${hex(base + elf.lowest)} to ${hex(base + elf.highest)}, the region allows ${hex(LOWEST)} to ${hex(space.reach)}`,
    );
  }
  for (const segment of elf.segments) {
    if (segment.memoryBytes > space.account.limit)
      throw new ExecError("outside-region", `${name}: a segment of ${segment.memoryBytes} bytes is more than the memory that there is`);
    const address = base + segment.address;
    const start = roundDown(address);
    const fileEnd = address + segment.fileBytes;
    const end = roundUp(address + segment.memoryBytes);
    const filePages = segment.memoryBytes > segment.fileBytes ? fileEnd - start : roundUp(fileEnd) - start;
    // Segments may share a page; the later one gets it, with the file's bytes, as with MAP_FIXED.
    if (!space.isFree(start, end)) space.unmap(start, end - start, ops);
    const bytes = segment.fileBytes === 0 ? undefined : file.pread(roundDown(segment.offset), filePages);
    const split = segment.memoryBytes > segment.fileBytes ? Math.max(start, roundUp(fileEnd)) : end;
    const shown = { prot: segment.prot, file, offset: roundDown(segment.offset) };
    let failed = 0;
    if (segment.fileBytes === 0) failed = space.map(start, end - start, { prot: segment.prot }, undefined, ops);
    else {
      failed = space.map(start, split - start, shown, bytes ?? new Uint8Array(0), ops);
      if (failed === 0 && end > split) failed = space.map(split, end - split, { prot: segment.prot }, undefined, ops);
    }
    if (failed < 0) throw new ExecError("no-memory", `${name}: no memory left for a segment of ${segment.memoryBytes} bytes`);
  }
}

const hex = (value: number): string => `0x${value.toString(16)}`;

/** The initial stack of the System V ABI: argc, argv, envp, auxv, then the strings. */
function buildStack(
  top: number,
  program: Program,
  env: readonly string[],
  auxv: (readonly [number, number])[],
  random: Uint8Array,
): { pointer: number; bytes: Uint8Array } {
  let total = 0;
  const encode = (text: string): Uint8Array => {
    const bytes = encodeText(text);
    total += bytes.length + 1;
    if (bytes.length >= LONGEST_STRING || total > MOST_STRINGS)
      throw new ExecError("arguments-too-long", `${program.name}: arguments and environment are too long`);
    return bytes;
  };
  const strings = [program.name, ...env, ...program.argv].map(encode);
  const stringsAt = (top - 8 - total) & ~15;
  const randomAt = stringsAt - 16;
  const words = 1 + program.argv.length + 1 + env.length + 1 + 2 * (auxv.length + 3);
  const pointer = (randomAt - 8 * words) & ~15;
  const bytes = new Uint8Array(top - pointer);
  const view = new DataView(bytes.buffer);
  let at = stringsAt;
  const addresses = strings.map((string) => {
    const address = at;
    bytes.set(string, address - pointer);
    at += string.length + 1;
    return address;
  });
  bytes.set(random.subarray(0, 16), randomAt - pointer);
  let offset = 0;
  const word = (value: number): void => {
    view.setBigUint64(offset, BigInt(value), true);
    offset += 8;
  };
  word(program.argv.length);
  for (let index = 0; index < program.argv.length; index++) word(addresses[1 + env.length + index]!);
  word(0);
  for (let index = 0; index < env.length; index++) word(addresses[1 + index]!);
  word(0);
  for (const [key, value] of [...auxv, [AT.RANDOM, randomAt], [AT.EXECFN, addresses[0]!], [0, 0]] as const) {
    word(key);
    word(value);
  }
  return { pointer, bytes };
}
