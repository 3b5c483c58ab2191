/**
 * Runs a bare-metal program in machine mode, with RAM at 0x80000000 and the host-target interface (HTIF) of RISC-V simulators as its only device: what the public
 * riscv-tests expect.
 */
import { Exit, Prot, type EngineName } from "../abi.ts";
import { dumpRegisters } from "../machine/dump.ts";
import { createMachine, type Machine } from "../machine/machine.ts";
import { PrivilegedHart } from "../machine/privileged.ts";
import { parseElf, type ElfFile } from "./elf.ts";
import type { RunOptions, RunResult } from "./run.ts";

const MIB = 1 << 20;
/** Where RAM begins, and its size. It is reserved, not touched. */
const RAM = 0x8000_0000;
const RAM_BYTES = 128 * MIB;
/** tohost is looked at after this much fuel: soon after the program began or asked for something, later less often. */
const FIRST_SLICE = 64;
const SLICE = 4096;

/** HTIF: bits 63:56 of tohost are the device, 55:48 its command, the rest the payload. */
const DEVICE_SYSTEM = 0n;
const DEVICE_CONSOLE = 1n;
const COMMAND_WRITE = 1n;
const PAYLOAD = (1n << 48n) - 1n;
/** Linux's number of write, and the words of a system call's block: number, three arguments; the result goes to the first. */
const SYS_WRITE = 64n;
const ENOSYS = 38n;
const EFAULT = 14n;
const BLOCK_BYTES = 64;

/** The program says where it talks to the host, or it stands where RAM is: it is not for an operating system. */
export function isBareMetal(elf: ElfFile): boolean {
  return elf.symbol("tohost") !== undefined || (elf.entry >= RAM && elf.segments.every(({ physical }) => physical >= RAM));
}

/** tohost and fromhost of one program. */
class Htif {
  readonly #machine: Machine;
  readonly #tohost: number | undefined;
  readonly #fromhost: number | undefined;
  readonly #write: (descriptor: number, bytes: Uint8Array) => void;

  constructor(machine: Machine, elf: ElfFile, write: (descriptor: number, bytes: Uint8Array) => void) {
    this.#machine = machine;
    const word = (name: string): number | undefined => {
      const address = elf.symbol(name);
      if (address === undefined) return undefined;
      if (!(address >= RAM && address + 8 <= machine.memoryBytes)) throw new RangeError(`${name} is not in memory`);
      return address;
    };
    this.#tohost = word("tohost");
    this.#fromhost = word("fromhost");
    this.#write = write;
  }

  #read(address: number): bigint {
    const bytes = this.#machine.readBytes(address, 8);
    return new DataView(bytes.buffer).getBigUint64(0, true);
  }
  #store(address: number, value: bigint): void {
    const bytes = new DataView(new ArrayBuffer(8));
    bytes.setBigUint64(0, BigInt.asUintN(64, value), true);
    this.#machine.storeRange(address, new Uint8Array(bytes.buffer));
  }

  /** The program has asked for something. */
  get asked(): boolean {
    const at = this.#tohost;
    return at !== undefined && (this.#machine.readU32(at) !== 0 || this.#machine.readU32(at + 4) !== 0);
  }
  /** Does what the program asks for; the code with which it ends, if it does. */
  answer(): bigint | undefined {
    const at = this.#tohost!;
    const request = this.#read(at);
    const device = request >> 56n;
    const command = (request >> 48n) & 0xffn;
    const payload = request & PAYLOAD;
    if (device === DEVICE_SYSTEM && command === 0n) {
      if ((payload & 1n) !== 0n) return payload >> 1n;
      this.#call(Number(payload));
      this.#answer(at, 1n);
    } else if (device === DEVICE_CONSOLE && command === COMMAND_WRITE) {
      this.#write(1, Uint8Array.of(Number(payload & 0xffn)));
      this.#answer(at, (device << 56n) | (command << 48n));
    } else this.#store(at, 0n); // no such device: nobody answers
    return undefined;
  }
  #answer(tohost: number, value: bigint): void {
    this.#store(tohost, 0n);
    if (this.#fromhost !== undefined) this.#store(this.#fromhost, value);
  }
  /** A system call whose block of words stands at `block`. */
  #call(block: number): void {
    const inside = (address: number, length: number): boolean => address >= RAM && address + length <= this.#machine.memoryBytes;
    if (!inside(block, BLOCK_BYTES)) return;
    const [number, descriptor, address, length] = [0, 8, 16, 24].map((offset) => this.#read(block + offset)) as [
      bigint,
      bigint,
      bigint,
      bigint,
    ];
    let result = -ENOSYS;
    if (number === SYS_WRITE) {
      if (inside(Number(address), Number(length))) {
        this.#write(Number(descriptor), this.#machine.readBytes(Number(address), Number(length)));
        result = length;
      } else result = -EFAULT;
    }
    this.#store(block, result);
  }
}

function loadImage(machine: Machine, elf: ElfFile): void {
  for (const { physical, bytes, memorySize } of elf.segments) {
    if (!(physical >= RAM && physical + memorySize <= machine.memoryBytes)) {
      throw new RangeError(`a segment at 0x${physical.toString(16)} does not fit into memory from 0x${RAM.toString(16)}`);
    }
    machine.storeRange(physical, bytes);
  }
}

/**
 * Runs a bare-metal program until it ends by HTIF: status 0 when it says pass (code 0), otherwise 1 with the number of the test that failed. RangeError when
 * the file cannot be loaded.
 */
export function runBareMetal(file: Uint8Array, options: RunOptions): RunResult {
  const elf = parseElf(file);
  const { engine, maxInstructions }: { engine?: EngineName; maxInstructions: number } = options;
  const machine = createMachine({ memoryBytes: RAM + RAM_BYTES, privileged: true, ...(engine === undefined ? {} : { engine }) });
  loadImage(machine, elf);
  machine.protect(RAM, RAM_BYTES, Prot.Read | Prot.Write | Prot.Execute);
  const htif = new Htif(machine, elf, options.write);
  const cpu = new PrivilegedHart(machine, elf.entry);
  const end = (status: number, problem?: string): RunResult => {
    options.ended?.(machine);
    return {
      status,
      instructions: cpu.hart.instructions,
      bareMetal: true,
      registers: dumpRegisters(cpu.hart),
      ...(problem === undefined ? {} : { problem }),
    };
  };
  let slice = FIRST_SLICE;
  for (;;) {
    const before = cpu.hart.instructions;
    const exit = cpu.run(slice);
    const asked = htif.asked;
    slice = asked ? FIRST_SLICE : Math.min(SLICE, 2 * slice);
    const code = asked ? htif.answer() : undefined;
    if (code !== undefined) return code === 0n ? end(0) : end(1, `test ${code} failed${lastException(cpu)}`);
    if (exit !== Exit.Fuel) return end(1, "stopped");
    if (cpu.hart.instructions === before) return end(1, `traps without end${lastException(cpu)}`);
    if (cpu.hart.instructions + cpu.traps > maxInstructions) return end(1, `not done after ${maxInstructions} instructions`);
  }
}

/** The exception that was taken last, unless it was an ecall: many programs report every other one as a failure. */
function lastException({ lastTrap: trap }: PrivilegedHart): string {
  if (trap === undefined || trap.ecall) return "";
  return ` (last trap: cause ${trap.cause}${trap.interrupt ? " (interrupt)" : ""} at 0x${trap.address.toString(16)}, value 0x${trap.value.toString(16)})`;
}
