/**
 * Traps of a machine with the option `privileged`: how an exception or interrupt enters its handler (RISC-V privileged specification; CHERI ISAv9,
 * "Exceptions"), and a hart that takes its own traps. Trap return is in isa/privileged.ts.
 */
import { Cause, Exit, OTYPE_UNSEALED, type ExitCode } from "../abi.ts";
import { MASK64, otypeOf } from "../capability/encoding.ts";
import { root, toRaw } from "../capability/operations.ts";
import { rawNull, rawSetAddress, type Raw } from "../capability/raw.ts";
import { enterTrap, nextInterrupt, Privilege, type PrivilegeLevel } from "../isa/status.ts";
import type { Hart } from "./hart.ts";
import { PRIVILEGED_FIELDS, readScr, Scr, State, stateType, writeScr, type StateField } from "./layout.ts";
import type { Machine } from "./machine.ts";

/** Bit 63 of mcause. */
const INTERRUPT = 1n << 63n;
/** Modes of a trap vector, in the low bits of its offset. */
const MODE_MASK = 3n;
const VECTORED = 1n;

/** ecall's cause by privilege. */
const ECALL: Readonly<Record<PrivilegeLevel, number>> = { 0: Cause.EcallU, 1: Cause.EcallS, 3: Cause.EcallM };

/** Special capability registers that start as the root capability: UTCC, UEPCC, STCC, SEPCC, MTCC, MEPCC. */
const ROOTS: readonly number[] = [4, 7, 12, 15, 28, 31];
const SPECIAL_REGISTERS = 32;

/** `cap` with another address; one that it cannot hold, or a seal, clears the tag. */
function at(cap: Raw, address: bigint): Raw {
  return cap.address === address ? cap : rawSetAddress(cap, address);
}

/** What a trap was: for tools that watch. */
export interface TrapTaken {
  /** As mcause has it, without the bit for interrupts. */
  readonly cause: number;
  readonly interrupt: boolean;
  /** As mtval has it, unsigned. */
  readonly value: bigint;
  /** Absolute address of the instruction that raised it, or before which it was taken. */
  readonly address: bigint;
  readonly ecall: boolean;
  /** The privilege that it interrupted. */
  readonly from: PrivilegeLevel;
}

/** A hart with machine mode: {@link run} takes exceptions, ecalls and interrupts as the guest's own. */
export class PrivilegedHart {
  readonly hart: Hart;
  readonly #machine: Machine;
  /** Traps taken so far. */
  traps = 0;
  /** The last trap that was taken. */
  lastTrap: TrapTaken | undefined;
  #stop = false;

  /** Makes a hart, with {@link reset} done. TypeError when the machine was not made with the option `privileged`. */
  constructor(machine: Machine, pc: number) {
    if (!machine.privileged) throw new TypeError("the machine was made without the option privileged");
    this.#machine = machine;
    this.hart = machine.createHart();
    this.reset(pc);
  }

  /**
   * As after power-on: machine mode, interrupts and floating point off, PCC, DDC, trap vectors and exception pcs the root capability, all other special registers
   * and x1 … x31 NULL; pc at the absolute address `pc`. Counters go on.
   */
  reset(pc: number): void {
    const { hart } = this;
    const view = this.#machine.view;
    for (let register = 1; register < 32; register++) {
      hart.setInt(register, 0);
      hart.setF(register, 0n);
    }
    hart.setF(0, 0n);
    hart.fcsr = 0;
    for (const field of PRIVILEGED_FIELDS) {
      if (stateType(field) === "i64") this.#set(field, 0n);
      else view.setInt32(hart.base + State[field], 0, true);
    }
    view.setInt32(hart.base + State.stop, 0, true);
    this.#set("reservation", -1n);
    this.#setPrivilege(Privilege.Machine);
    const all = root();
    for (let index = 2; index < SPECIAL_REGISTERS; index++) {
      writeScr(view, hart.base, index, ROOTS.includes(index) ? toRaw(all) : rawNull());
    }
    hart.ddc = all;
    hart.pcc = all;
    hart.pc = pc;
  }

  #get(field: StateField): bigint {
    return this.#machine.view.getBigUint64(this.hart.base + State[field], true);
  }
  #set(field: StateField, value: bigint): void {
    this.#machine.view.setBigUint64(this.hart.base + State[field], BigInt.asUintN(64, value), true);
  }
  /** Privilege of the next instruction. */
  get privilege(): PrivilegeLevel {
    return this.#machine.view.getInt32(this.hart.base + State.privilege, true) as PrivilegeLevel;
  }
  #setPrivilege(privilege: PrivilegeLevel): void {
    this.#machine.view.setInt32(this.hart.base + State.privilege, privilege, true);
  }
  /** Absolute address of the next instruction, unsigned. */
  get address(): bigint {
    return (this.#get("pc") + this.#get("pcBase")) & MASK64;
  }

  /** Sets or clears an interrupt's bit in mip, as a device does. `number`: 1, 3, 5, 7, 9 or 11. It is taken when the next {@link run} begins. */
  setInterrupt(number: number, pending: boolean): void {
    const bit = 1n << BigInt(number);
    this.#set("mip", pending ? this.#get("mip") | bit : this.#get("mip") & ~bit);
  }

  /**
   * Takes the exception that a run (or an injected instruction) of {@link hart} came back with: afterwards the hart is at its handler's first instruction.
   * The value of ecall and ebreak is 0, all others are as the exception was raised.
   */
  takeTrap(exit: typeof Exit.Trap | typeof Exit.Ecall): void {
    if (exit === Exit.Ecall) return this.#enter(ECALL[this.privilege], false, 0n);
    const cause = this.hart.trapCause;
    this.#enter(cause, false, cause === Cause.Breakpoint ? 0n : this.#get("trapValue"));
  }

  /** Takes the interrupt whose turn it is, if there is one. */
  takeInterrupt(): boolean {
    const waiting = nextInterrupt(this.#get("mstatus"), this.privilege, this.#get("mip") & this.#get("mie"), this.#get("mideleg"));
    if (waiting === undefined) return false;
    this.#enter(waiting.number, true, 0n);
    return true;
  }

  /** Trap entry: the exception's pc is PCC at pc, unsealed as it was; PCC becomes the trap vector. */
  #enter(cause: number, interrupt: boolean, value: bigint): void {
    const { hart } = this;
    const machine = this.#machine;
    const { view } = machine;
    const from = this.privilege;
    const { address } = this;
    const delegated = ((this.#get(interrupt ? "mideleg" : "medeleg") >> BigInt(cause)) & 1n) !== 0n;
    const supervisor = delegated && from !== Privilege.Machine;
    const code = BigInt(cause) | (interrupt ? INTERRUPT : 0n);
    writeScr(view, hart.base, supervisor ? Scr.Sepcc : Scr.Mepcc, at(readScr(view, hart.base, Scr.Pcc), address));
    this.#set(supervisor ? "scause" : "mcause", code);
    this.#set(supervisor ? "stval" : "mtval", value);
    this.#set("mstatus", enterTrap(this.#get("mstatus"), from, supervisor));
    this.#setPrivilege(supervisor ? Privilege.Supervisor : Privilege.Machine);
    const vector = readScr(view, hart.base, supervisor ? Scr.Stcc : Scr.Mtcc);
    const vectored = interrupt && (vector.address & MODE_MASK) === VECTORED;
    const target = ((vector.address & ~MODE_MASK) + (vectored ? 4n * BigInt(cause) : 0n)) & MASK64;
    // A sealed vector stays sealed: fetching from it says so.
    machine.setPcc(hart.base, otypeOf(vector.hi) === OTYPE_UNSEALED ? at(vector, target) : vector);
    this.#set("pc", target - this.#get("pcBase"));
    this.traps++;
    this.lastTrap = { cause, interrupt, value, address, ecall: !interrupt && cause === ECALL[from], from };
  }

  /**
   * Runs and takes traps until `fuel` is used up ({@link Exit.Fuel}) or {@link requestStop} was called or an observer stopped it ({@link Exit.Stopped}).
   * `fuel` is counted as {@link HartPort.run} does, and each trap is one more.
   */
  run(fuel: number): ExitCode {
    const { hart } = this;
    const { view } = this.#machine;
    this.#stop = false;
    let left = fuel;
    while (left > 0) {
      if (this.takeInterrupt() && --left <= 0) break;
      // The state block moves when the hart begins to run.
      view.setInt32(hart.base + State.stop, 0, true);
      const exit = hart.run(left);
      left = hart.fuelLeft;
      if (this.#stop) {
        if (exit === Exit.Trap || exit === Exit.Ecall) this.takeTrap(exit);
        return Exit.Stopped;
      }
      if (exit === Exit.Trap || exit === Exit.Ecall) {
        this.takeTrap(exit);
        left--;
      } else if (exit === Exit.Stopped && view.getInt32(hart.base + State.stop, true) === 0) return Exit.Stopped;
    }
    return Exit.Fuel;
  }
  /** Ask {@link run} (from a callback) to come back soon. */
  requestStop(): void {
    this.#stop = true;
    this.hart.requestStop();
  }
}
