/** A hart: a block of registers, and the loop that runs it. */
import type { Authority, Capability, ExitCode, HartPort, Reach } from "../abi.ts";
import { Exit, REGISTER_FILE_BYTES } from "../abi.ts";
import { fromRaw, toRaw } from "../capability/operations.ts";
import { AGAIN, HOT, TRANSLATED } from "../interpreter/generate.ts";
import { RESERVE } from "../translator/emit.ts";
import { NOT_TRANSLATED, TO_INTERPRETER, UNUSABLE } from "../translator/results.ts";
import type { Translator } from "../translator/translator.ts";
import {
  Cap,
  F,
  HART_USED,
  readRegister,
  readScr,
  Scr,
  SCR_BYTES,
  SCRS,
  State,
  writeRegister,
  writeScr,
  X,
  type StateField,
} from "./layout.ts";
import type { Machine } from "./machine.ts";

/**
 * Most fuel of one call into generated code. V8 replaces a running function only when it is called again, so a long call
 * would stay in the slow first tier; 16,384 transfers are about half a millisecond.
 */
const SLICE = 16_384;
/** The same where translated code cannot run, with capabilities in registers above all: after a call into another compartment there are none any more. */
const UNUSABLE_SLICE = 1024;
const TWO_32 = 4_294_967_296;
const ECALL = 0x73;

/** An intrinsic that tells something of a capability register. */
type Inspect = (hart: number, register: number) => bigint;
const SCRATCH: number = SCRS + Scr.SscratchC * SCR_BYTES;

export class Hart implements HartPort {
  readonly id: number;
  readonly #machine: Machine;
  readonly #view: DataView;
  /** Offset of the state block: that of the active hart while this one is the last that ran. */
  base: number;
  /** What the last run left of its fuel. */
  fuelLeft = 0;
  #stop = false;
  #released = false;

  /** Use {@link Machine.createHart}. */
  constructor(machine: Machine, id: number, base: number, view: DataView) {
    this.#machine = machine;
    this.id = id;
    this.base = base;
    this.#view = view;
  }

  run(fuel: number): ExitCode {
    if (this.#released) throw new RangeError("the hart was released");
    if (!(fuel >= 1 && fuel <= 0x7fff_ffff)) throw new RangeError(`fuel ${fuel} is not in 1 … 2^31-1`);
    const machine = this.#machine;
    machine.activate(this);
    this.#stop = false;
    const before = this.instructions;
    this.fuelLeft = Math.floor(fuel);
    let code: number;
    if (machine.translator === undefined) {
      do {
        code = this.#interpret();
        if (this.#stop && (code === Exit.Fuel || code === AGAIN)) code = Exit.Stopped;
        if (this.fuelLeft <= 0 && code === AGAIN) code = Exit.Fuel;
      } while (code === AGAIN || (code === Exit.Fuel && this.fuelLeft > 0));
    } else code = this.#runTranslated(machine.translator);
    if (code === Exit.Trap) machine.completeTrap(this.base);
    machine.instructions += this.instructions - before;
    return code as ExitCode;
  }
  /** One call of the interpreter. */
  #interpret(most: number = SLICE): number {
    const { exports } = this.#machine;
    const slice = this.fuelLeft < most ? this.fuelLeft : most;
    const code = this.#get("capRegs") === 0 ? exports.runFast(slice) : exports.runGeneral(slice);
    this.fuelLeft -= slice - this.#get("fuel");
    return code;
  }
  /** Translated code where there is some, the interpreter elsewhere. */
  #runTranslated(translator: Translator): number {
    translator.select(this.base);
    for (;;) {
      // What is too little for translated code is left to the interpreter, which stops exactly.
      const slice = Math.min(this.fuelLeft, translator.slice);
      let code = translator.run(slice);
      if (code !== UNUSABLE) {
        const used = slice - this.#get("fuel");
        this.fuelLeft -= used;
        translator.used(used);
      }
      if (code === Exit.Fuel && this.fuelLeft <= RESERVE) {
        translator.observe(false);
        code = this.#interpret();
        translator.observe(true);
        if (code !== Exit.Fuel && code < AGAIN) return code;
        translator.select(this.base);
      } else if (code === Exit.Fuel) translator.sampled();
      else if (this.fuelLeft > 0) {
        if (translator.eager) code = this.#interpretOne(translator, code);
        else if (code === NOT_TRANSLATED && translator.missed(this.pc)) code = TRANSLATED;
        else {
          if (code === TO_INTERPRETER) {
            if (this.#atEcall()) return Exit.Ecall;
            translator.left(this.pc);
            translator.passFirst(true);
          } else if (code === UNUSABLE) translator.observe(false);
          const result = this.#interpret(code === UNUSABLE ? UNUSABLE_SLICE : SLICE);
          if (code === TO_INTERPRETER) translator.passFirst(false);
          else if (code === UNUSABLE) translator.observe(true);
          code = result;
          if (code === HOT) translator.hot(this.pc);
        }
        if (code !== Exit.Fuel && code < AGAIN) return code;
        // PCC may be another one.
        translator.select(this.base);
      }
      if (this.#stop) return Exit.Stopped;
      if (this.fuelLeft <= 0) return Exit.Fuel;
    }
  }
  /** Translated code came to an ecall that the interpreter would leave with at once. The hart has {@link Translator.run}'s conditions. */
  #atEcall(): boolean {
    const { pc } = this;
    if (pc + 4 > this.#unsigned(this.base + State.codeSpan)) return false;
    return this.#machine.fetch(this.#unsigned(this.base + State.pcBase) + pc) === ECALL;
  }
  /** Translates what is at pc, or lets the interpreter do it if that is impossible. */
  #interpretOne(translator: Translator, code: number): number {
    if (code === NOT_TRANSLATED && translator.translate(this.pc)) return TRANSLATED;
    if (code === TO_INTERPRETER) translator.left(this.pc);
    translator.passFirst(true);
    const result = this.#interpret();
    translator.passFirst(false);
    return result;
  }
  /**
   * Runs the one instruction `word`, 16 bits or 32, at pc whatever memory holds there; its fetch is checked against PCC as any
   * other. {@link Exit.Fuel} when it is done and the hart can go on. With `fetchable` false the fetch fails as from an unmapped page.
   */
  inject(word: number, fetchable = true): ExitCode {
    if (this.#released) throw new RangeError("the hart was released");
    this.#machine.activate(this);
    return this.#machine.inject(word, fetchable) as ExitCode;
  }
  requestStop(): void {
    this.#stop = true;
  }

  // ---- numbers in the state block
  #unsigned(at: number): number {
    return this.#view.getUint32(at + 4, true) * TWO_32 + this.#view.getUint32(at, true);
  }
  #setNumber(at: number, value: number): void {
    this.#view.setUint32(at, value, true);
    this.#view.setInt32(at + 4, Math.floor(value / TWO_32), true);
  }
  #get(field: StateField): number {
    return this.#view.getInt32(this.base + State[field], true);
  }
  get trapCause(): number {
    return this.#get("trapCause");
  }
  get trapValue(): number {
    return this.#unsigned(this.base + State.trapValue);
  }
  get trapAddress(): number {
    return Number(this.#machine.trapAddress);
  }
  get instructions(): number {
    return this.#unsigned(this.base + State.instret);
  }
  get pc(): number {
    return this.#unsigned(this.base + State.pc);
  }
  set pc(value: number) {
    this.#setNumber(this.base + State.pc, value);
  }
  get fcsr(): number {
    return (this.#get("frm") << 5) | this.#get("fflags");
  }
  set fcsr(value: number) {
    this.#view.setInt32(this.base + State.frm, (value >>> 5) & 7, true);
    this.#view.setInt32(this.base + State.fflags, value & 31, true);
  }

  // ---- registers
  #x(register: number): number {
    if (!(register >= 0 && register < 32)) throw new RangeError(`no register ${register}`);
    return this.base + X + 8 * register;
  }
  #f(register: number): number {
    if (!(register >= 0 && register < 32)) throw new RangeError(`no register ${register}`);
    return this.base + F + 8 * register;
  }
  #dropMetadata(register: number): void {
    const at = this.base + State.capRegs;
    this.#view.setInt32(at, this.#view.getInt32(at, true) & ~(1 << register), true);
  }
  getInt(register: number): number {
    const at = this.#x(register);
    return this.#view.getInt32(at + 4, true) * TWO_32 + this.#view.getUint32(at, true);
  }
  setInt(register: number, value: number): void {
    if (register === 0) return;
    this.#setNumber(this.#x(register), value);
    this.#dropMetadata(register);
  }
  getX(register: number): bigint {
    return this.#view.getBigUint64(this.#x(register), true);
  }
  setX(register: number, value: bigint): void {
    if (register === 0) return;
    this.#view.setBigUint64(this.#x(register), value, true);
    this.#dropMetadata(register);
  }
  getF(register: number): bigint {
    return this.#view.getBigUint64(this.#f(register), true);
  }
  setF(register: number, value: bigint): void {
    this.#view.setBigUint64(this.#f(register), value, true);
  }

  // ---- capabilities
  getCapability(register: number): Capability {
    this.#x(register);
    return fromRaw(readRegister(this.#view, this.base, register));
  }
  setCapability(register: number, capability: Capability): void {
    this.#x(register);
    writeRegister(this.#view, this.base, register, toRaw(capability));
  }
  get ddc(): Capability {
    return fromRaw(readScr(this.#view, this.base, Scr.Ddc));
  }
  set ddc(capability: Capability) {
    this.#machine.setDdc(this.base, toRaw(capability));
  }
  get pcc(): Capability {
    return fromRaw(readScr(this.#view, this.base, Scr.Pcc));
  }
  set pcc(capability: Capability) {
    this.#machine.setPcc(this.base, toRaw(capability));
  }

  get scratch(): Capability {
    return fromRaw(readScr(this.#view, this.base, Scr.SscratchC));
  }
  set scratch(capability: Capability) {
    writeScr(this.#view, this.base, Scr.SscratchC, toRaw(capability));
  }
  get scratchAddress(): number {
    const at = this.base + SCRATCH;
    return this.#view.getUint8(at + Cap.tag) === 0 ? 0 : this.#unsigned(at + Cap.address);
  }

  readReach(register: number, into: Reach): void {
    const at = this.#x(register);
    const { cgettag, cgetsealed, cgetperm, cgetbase, cgettop } = this.#machine.intrinsics as Readonly<Record<string, Inspect>>;
    const { base } = this;
    into.usable = cgettag!(base, register) === 1n && cgetsealed!(base, register) === 0n;
    into.perms = Number(cgetperm!(base, register));
    into.address = this.#unsigned(at);
    into.base = Number(BigInt.asUintN(64, cgetbase!(base, register)));
    into.top = Number(BigInt.asUintN(64, cgettop!(base, register)));
  }
  readAuthority(into: Authority): void {
    const { base } = this;
    into.ddcAddress = this.#view.getInt32(base + State.ddcAddress + 4, true) * TWO_32 + this.#view.getUint32(base + State.ddcAddress, true);
    into.ddcBase = this.#unsigned(base + State.dataBase);
    into.loadLength = this.#unsigned(base + State.loadLength);
    into.storeLength = this.#unsigned(base + State.storeLength);
    into.pccBase = this.#unsigned(base + State.pcBase);
  }

  // ---- as a whole
  saveRegisters(): Uint8Array {
    const out = new Uint8Array(REGISTER_FILE_BYTES);
    const bytes = new Uint8Array(this.#view.buffer, this.base, HART_USED);
    out.set(bytes.subarray(State.pc, State.pc + 8), 0);
    out.set(bytes.subarray(X + 8, X + 8 * 32), 8);
    out.set(bytes.subarray(F, F + 8 * 32), 8 * 32);
    new DataView(out.buffer).setUint32(8 * 64, this.fcsr, true);
    return out;
  }
  loadRegisters(bytes: Uint8Array): void {
    if (bytes.length !== REGISTER_FILE_BYTES) throw new RangeError(`a register file has ${REGISTER_FILE_BYTES} bytes, not ${bytes.length}`);
    const block = new Uint8Array(this.#view.buffer, this.base, HART_USED);
    block.set(bytes.subarray(0, 8), State.pc);
    block.set(bytes.subarray(8, 8 * 32), X + 8);
    block.set(bytes.subarray(8 * 32, 8 * 64), F);
    this.fcsr = new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(8 * 64, true);
    this.#view.setInt32(this.base + State.capRegs, 0, true);
  }
  copyFrom(other: HartPort): void {
    if (!(other instanceof Hart) || other.#machine !== this.#machine) throw new RangeError("not a hart of this machine");
    const instret = this.#view.getBigInt64(this.base + State.instret, true);
    new Uint8Array(this.#view.buffer).copyWithin(this.base, other.base, other.base + HART_USED);
    this.#view.setBigInt64(this.base + State.instret, instret, true);
    this.#view.setBigInt64(this.base + State.reservation, -1n, true);
  }
  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#machine.releaseHart(this);
  }
}
