/** The machine that RVFI-DII drives: instructions are injected one by one, and each gives a record of what it did. */
import { Cause, Exit, PAGE_SIZE, Prot, type Capability, type EngineName } from "../abi.ts";
import { flagOf } from "../capability/encoding.ts";
import type { Raw } from "../capability/raw.ts";
import { root, toRaw } from "../capability/operations.ts";
import { createDecoded, createDecoder, type Decoder, type Mode } from "../isa/decode.ts";
import { allClauses } from "../isa/index.ts";
import { Privilege } from "../isa/status.ts";
import { F, PRIVILEGED_FIELDS, readRegister, readScr, Scr, State, stateType, type StateField } from "../machine/layout.ts";
import { createMachine, type Machine } from "../machine/machine.ts";
import type { Observer } from "../machine/observer.ts";
import { PrivilegedHart } from "../machine/privileged.ts";
import type { Execution } from "./execution.ts";
import { registersOf, type RegisterUse } from "./registers.ts";

/** Where memory begins, and pc after a reset. */
export const MEMORY_START = 0x8000_0000;
/** Memory; everything else is an access fault. */
export const MEMORY_BYTES: number = 8 << 20;

export interface TargetOptions {
  /** DDC/PCC relocation; true unless given. */
  readonly relocation?: boolean;
  /** Clear tags instead of trapping; true unless given. */
  readonly tagClearing?: boolean;
  /** `interpreter` unless given. */
  readonly engine?: EngineName;
  /**
   * With an observer, which records of memory accesses need; true unless given. A machine without one is the variant that programs
   * run on; its records have no memory accesses but refused ones.
   */
  readonly observe?: boolean;
}

/** Exceptions whose value is the address of an access that reached memory and was refused there. */
const ADDRESS_CAUSES: ReadonlySet<number> = new Set([Cause.LoadAccess, Cause.StoreAccess]);

/** Fields of the state block that instructions can see. */
const VISIBLE: readonly StateField[] = ["pc", "frm", "fflags", "reservation", "instret", "privilege", ...PRIVILEGED_FIELDS];

interface Block {
  readonly view: DataView;
  readonly base: number;
}
const capabilityText = ({ tag, hi, address }: Raw): string => `${address.toString(16)} ${hi.toString(16)} ${Number(tag)}`;
function numberText({ view, base }: Block, offset: number, wide: boolean): string {
  return (wide ? view.getBigUint64(base + offset, true) : view.getUint32(base + offset, true)).toString(16);
}

const NO_REGISTERS: RegisterUse = { rd: 0, rs1: 0, rs2: 0 };
const CAPABILITY_BYTES = 16;
const maskOf = (size: number): number => 2 ** size - 1;

let shared: Decoder | undefined;
/** The decoder of all instructions. */
export const decoder = (): Decoder => (shared ??= createDecoder(allClauses));

/** Accesses of one instruction. */
class Accesses implements Observer {
  address = 0n;
  readMask = 0;
  writeMask = 0;
  readData = 0n;
  writeData = 0n;
  /** Pages of memory that were written since they were last taken. */
  readonly pages: Set<number> = new Set();

  clear(): void {
    this.address = 0n;
    this.readMask = 0;
    this.writeMask = 0;
    this.readData = 0n;
    this.writeData = 0n;
  }
  access(address: number, size: number, store: boolean, value: bigint): void {
    this.#add(address, size, store, value);
  }
  capability(address: number, store: boolean, capability: Capability): void {
    const { hi, address: low, tag } = toRaw(capability);
    this.#add(address, CAPABILITY_BYTES, store, low | (hi << 64n) | (tag ? 1n << 128n : 0n));
  }
  #add(address: number, size: number, store: boolean, data: bigint): void {
    this.address = BigInt(address);
    if (!store) {
      this.readMask = maskOf(size);
      this.readData = data;
      return;
    }
    this.writeMask = maskOf(size);
    this.writeData = data;
    for (let page = Math.floor(address / PAGE_SIZE); page * PAGE_SIZE < address + size; page++) this.pages.add(page);
  }
}

/**
 * A machine for direct instruction injection. After a reset: machine mode, pc at {@link MEMORY_START}, x1 … x31, PCC and DDC the
 * root capability with address 0 (pc's in PCC), memory and everything else 0. Memory protection (PMP) has no entry, so that lower
 * privileges can fetch nothing.
 */
export class InjectionTarget {
  readonly machine: Machine;
  #hart: PrivilegedHart;
  readonly #accesses = new Accesses();
  readonly #operands: ReturnType<typeof createDecoded> = createDecoded();
  #order = 0;
  #trapped = false;

  constructor(options: TargetOptions = {}) {
    this.machine = createMachine(
      { ...options, memoryBytes: MEMORY_START + MEMORY_BYTES, privileged: true },
      undefined,
      options.observe === false ? undefined : this.#accesses,
    );
    this.machine.protect(MEMORY_START, MEMORY_BYTES, Prot.Read | Prot.Write | Prot.Execute);
    this.#hart = this.#newHart();
  }

  #newHart(): PrivilegedHart {
    const privileged = new PrivilegedHart(this.machine, MEMORY_START);
    const all = root();
    for (let register = 1; register < 32; register++) privileged.hart.setCapability(register, all);
    return privileged;
  }

  /** Pages of memory that were written since the last reset; none are known without an observer. */
  get written(): ReadonlySet<number> {
    return this.#accesses.pages;
  }
  /** `written`: the pages that were, for a machine that does not know. */
  reset(written: ReadonlySet<number> = this.written): void {
    // A new hart has nothing of the old one, counters included.
    this.#hart.hart.release();
    this.#hart = this.#newHart();
    for (const page of written) this.machine.zeroRange(page * PAGE_SIZE, PAGE_SIZE);
    this.#accesses.pages.clear();
    this.#order = 0;
    this.#trapped = false;
  }

  /** Architectural pc of the next instruction, unsigned. */
  get pc(): bigint {
    return this.machine.view.getBigUint64(this.#hart.hart.base + State.pc, true);
  }
  /** How the next instruction is decoded. */
  get mode(): Mode {
    return flagOf(readScr(this.machine.view, this.#hart.hart.base, Scr.Pcc).hi) === 0 ? 0 : 1;
  }
  /** Calls `report` for each part of the hart's state, as far as instructions can see it, that differs from the other machine's. */
  compareState(other: InjectionTarget, report: (name: string, mine: string, its: string) => void): void {
    const [mine, its] = [this, other].map((target) => ({ view: target.machine.view, base: target.#hart.hart.base })) as [Block, Block];
    const capability = (name: string, a: Raw, b: Raw): void => {
      if (a.address !== b.address || a.hi !== b.hi || a.tag !== b.tag) report(name, capabilityText(a), capabilityText(b));
    };
    const number = (name: string, offset: number, wide: boolean): void => {
      const low = mine.view.getUint32(mine.base + offset, true) === its.view.getUint32(its.base + offset, true);
      if (low && (!wide || mine.view.getUint32(mine.base + offset + 4, true) === its.view.getUint32(its.base + offset + 4, true))) return;
      report(name, numberText(mine, offset, wide), numberText(its, offset, wide));
    };
    for (let register = 0; register < 32; register++) {
      capability(`x${register}`, readRegister(mine.view, mine.base, register), readRegister(its.view, its.base, register));
      capability(`special register ${register}`, readScr(mine.view, mine.base, register), readScr(its.view, its.base, register));
      number(`f${register}`, F + 8 * register, true);
    }
    for (const field of VISIBLE) number(field, State[field], stateType(field) === "i64");
  }
  /** Runs one instruction at pc: `word` has it in its low 16 bits or in all 32. A trap is taken: the next one is its handler's. */
  execute(word: number): Execution {
    const privileged = this.#hart;
    const { hart, privilege: mode, address } = privileged;
    const accesses = this.#accesses;
    const insn = (word & 3) === 3 ? word >>> 0 : word & 0xffff;
    const { rd, rs1, rs2 } = this.#registers(insn);
    const pcBefore = this.pc;
    const rs1Value = hart.getX(rs1);
    const rs2Value = hart.getX(rs2);
    const intr = this.#trapped;
    accesses.clear();
    const exit = hart.inject(insn, mode === Privilege.Machine);
    const trap = exit === Exit.Trap || exit === Exit.Ecall;
    let memoryAddress = accesses.address;
    if (trap) {
      privileged.takeTrap(exit);
      const { cause, value } = privileged.lastTrap!;
      if (ADDRESS_CAUSES.has(cause)) memoryAddress = value;
    }
    this.#trapped = trap;
    this.#order++;
    return {
      order: this.#order,
      insn,
      trap,
      intr,
      mode,
      address,
      pcBefore,
      pcAfter: this.pc,
      rd: trap ? 0 : rd,
      rdValue: trap ? 0n : hart.getX(rd),
      rs1,
      rs1Value,
      rs2,
      rs2Value,
      memoryAddress,
      readMask: accesses.readMask,
      writeMask: accesses.writeMask,
      readData: accesses.readData,
      writeData: accesses.writeData,
    };
  }

  /** What the instruction reads and writes, as the mode in force decodes it. */
  #registers(insn: number): RegisterUse {
    const clause = decoder().decode(insn, this.mode, this.#operands);
    return clause < 0 ? NO_REGISTERS : registersOf(allClauses[clause]!, this.#operands);
  }
}
