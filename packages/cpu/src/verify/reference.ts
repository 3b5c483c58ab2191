/**
 * The reference engine: runs programs by the letter of the clauses, one statement after the other, on registers that are
 * capabilities and a memory of bytes and tags. Slow; what the fast engines do is compared with it. It shares with them the
 * clauses, the decoder and the intrinsics, and nothing of how they reach registers, memory, code and exceptions.
 */
import { CapCause, CapReg, Cause, Exit, OTYPE_UNSEALED, Perm, Prot, type ExitCode } from "../abi.ts";
import { decodeBounds, flagOf, otypeOf, permsOf } from "../capability/encoding.ts";
import { rawInBounds, rawNull, type Raw } from "../capability/raw.ts";
import { allIntrinsics } from "../interpreter/interpreter.ts";
import type { Clause } from "../isa/clause.ts";
import { createDecoded, createDecoder, type Decoder } from "../isa/decode.ts";
import { allClauses } from "../isa/index.ts";
import type { IntrinsicContext, IntrinsicTable } from "../isa/intrinsics.ts";
import { Semantics, type Expr, type Stmt } from "../isa/ir.ts";
import * as layout from "../machine/layout.ts";
import { ModelMemory } from "./memory.ts";
import { binary, unary, type Value } from "./operators.ts";

export interface ReferenceOptions {
  readonly memoryBytes: number;
  /** As of a machine. */
  readonly relocation?: boolean;
  readonly tagClearing?: boolean;
  /** All of the machine's unless given: tests change instructions. */
  readonly clauses?: readonly Clause[];
  readonly intrinsics?: IntrinsicTable;
}

/** A synchronous exception, on its way out of an instruction. */
class Raised {
  readonly cause: number;
  readonly value: bigint;
  constructor(cause: number, value: bigint) {
    this.cause = cause;
    this.value = BigInt.asUintN(64, value);
  }
}

const u64 = (value: bigint): bigint => BigInt.asUintN(64, value);
const s64 = (value: bigint): bigint => BigInt.asIntN(64, value);
/** The one hart's state block is all of its memory. */
const HART = 0;

interface Meaning {
  readonly clause: Clause;
  readonly statements: readonly Stmt[];
}
/** What is the same for all references with the same clauses. */
interface Language {
  readonly decoder: Decoder;
  readonly meanings: (Meaning | undefined)[];
}
const languages = new WeakMap<readonly Clause[], Language>();
function languageOf(clauses: readonly Clause[]): Language {
  let language = languages.get(clauses);
  if (language === undefined) {
    const meanings = clauses.map((clause) => {
      if (clause.semantics === undefined) return undefined;
      const semantics = new Semantics();
      clause.semantics(semantics);
      return { clause, statements: semantics.statements };
    });
    language = { decoder: createDecoder(clauses), meanings };
    languages.set(clauses, language);
  }
  return language;
}

export class Reference {
  readonly memory: ModelMemory;
  /** c0 … c31, whose addresses are x0 … x31. */
  readonly c: Raw[] = Array.from({ length: 32 }, () => rawNull());
  /**
   * Everything else: a hart's state block, because intrinsics work on one. Its general registers are only right during an
   * intrinsic; what machines derive from capabilities for their own use is not kept up.
   */
  readonly view: DataView = new DataView(new ArrayBuffer(layout.HART_BYTES));
  /** Architectural pc, unsigned. */
  pc = 0n;
  trapCause = 0;
  trapValue = 0n;
  /** Retired instructions. */
  instret = 0n;
  /** Bytes of the instruction that {@link step} did last, 0 if it was not fetched; and its clause, if it is one. */
  length: 0 | 2 | 4 = 0;
  clause: Clause | undefined;
  readonly #language: Language;
  readonly #relocation: boolean;
  readonly #calls = new Map<string, (hart: number, ...args: Value[]) => Value | void>();
  readonly #operands = createDecoded();
  /** Registers whose value is not in the state block yet: bit n for c[n]. */
  #ahead = 0;
  /** The instruction that was fetched last. */
  #word = 0;
  /** What {@link run} left of its fuel. */
  fuelLeft = 0;
  /** PCC with its bounds, which every fetch needs. */
  #pcc: Raw & { readonly base: bigint; readonly top: bigint } = { ...rawNull(), base: 0n, top: 0n };
  #raised: Raised | undefined;
  #jumped = false;

  constructor(options: ReferenceOptions) {
    this.memory = new ModelMemory(options.memoryBytes);
    this.#language = languageOf(options.clauses ?? allClauses);
    this.#relocation = options.relocation ?? true;
    const context: IntrinsicContext = {
      view: this.view,
      memory: this.memory,
      relocation: this.#relocation,
      tagClearing: options.tagClearing ?? true,
      privileged: false,
      hartId: () => 0,
      interrupted: () => false,
      trap: (_, cause, value) => {
        this.#raised = new Raised(cause, BigInt(value));
      },
      setDdc: (_, cap) => {
        this.ddc = cap;
      },
      jumpTo: (_, pcc) => {
        this.pcc = pcc;
        this.pc = u64(pcc.address - this.pcBase);
        this.#jumped = true;
      },
    };
    for (const [name, intrinsic] of Object.entries(options.intrinsics ?? allIntrinsics)) {
      this.#calls.set(name, intrinsic.make(context) as (hart: number, ...args: Value[]) => Value | void);
    }
    this.reservation = -1n;
  }

  // ---- state
  setRegister(index: number, cap: Raw): void {
    if (index === 0) return;
    this.c[index] = cap;
    this.#ahead |= 1 << index;
  }
  special(index: number): Raw {
    return layout.readScr(this.view, HART, index);
  }
  setSpecial(index: number, cap: Raw): void {
    layout.writeScr(this.view, HART, index, cap);
  }
  get ddc(): Raw {
    return this.special(layout.Scr.Ddc);
  }
  set ddc(cap: Raw) {
    this.setSpecial(layout.Scr.Ddc, cap);
    this.view.setBigUint64(layout.State.ddcAddress, this.#relocation ? cap.address : 0n, true);
  }
  /** Its address is not the program counter: see {@link here}. */
  get pcc(): Raw {
    return this.special(layout.Scr.Pcc);
  }
  set pcc(cap: Raw) {
    this.setSpecial(layout.Scr.Pcc, cap);
    this.#pcc = { ...cap, ...decodeBounds(cap.hi, cap.address) };
    this.view.setBigUint64(layout.State.pcBase, this.#relocation ? this.#pcc.base : 0n, true);
  }
  /** What is subtracted from an absolute address to give a pc. */
  get pcBase(): bigint {
    return this.view.getBigUint64(layout.State.pcBase, true);
  }
  /** Absolute address of the instruction at pc. */
  get here(): bigint {
    return u64(this.pcBase + this.pc);
  }
  float(index: number): bigint {
    return this.view.getBigUint64(layout.F + 8 * index, true);
  }
  setFloat(index: number, bits: bigint): void {
    this.view.setBigUint64(layout.F + 8 * index, u64(bits), true);
  }
  get fcsr(): number {
    return (this.view.getInt32(layout.State.frm, true) << 5) | this.view.getInt32(layout.State.fflags, true);
  }
  set fcsr(value: number) {
    this.view.setInt32(layout.State.frm, (value >> 5) & 7, true);
    this.view.setInt32(layout.State.fflags, value & 31, true);
  }
  /** -1 for none. */
  get reservation(): bigint {
    return this.view.getBigInt64(layout.State.reservation, true);
  }
  set reservation(value: bigint) {
    this.view.setBigInt64(layout.State.reservation, value, true);
  }
  /** All registers as of a new hart; memory stays. */
  clear(): void {
    new Uint8Array(this.view.buffer).fill(0);
    this.c.fill(rawNull());
    this.#ahead = 0;
    this.pc = 0n;
    this.instret = 0n;
    this.trapCause = 0;
    this.trapValue = 0n;
    this.reservation = -1n;
    this.pcc = rawNull();
    this.ddc = rawNull();
  }

  // ---- running
  /** As {@link HartPort.run}: fuel counts taken direct transfers to the same or a lower address, and all others. `each` is called after every instruction that retired. */
  run(fuel: number, each?: () => void): ExitCode {
    this.fuelLeft = fuel;
    for (;;) {
      const exit = this.step();
      if (exit !== undefined) return exit;
      each?.();
      if (this.fuelLeft <= 0) return Exit.Fuel;
    }
  }

  /** One instruction; undefined when it retired. One that traps leaves registers and pc as they were. */
  step(): typeof Exit.Ecall | typeof Exit.Trap | undefined {
    const pc = this.pc;
    const before = [...this.c];
    const writes = this.memory.writes;
    this.length = 0;
    this.clause = undefined;
    this.#raised = undefined;
    try {
      const { clause, statements } = this.#fetch();
      this.clause = clause;
      if (statements.some(({ k }) => k === "ecall")) return Exit.Ecall;
      const next = u64(pc + BigInt(this.length));
      this.#jumped = false;
      this.#run(statements, [], pc, next);
      if (!this.#jumped) this.pc = next;
      this.instret += 1n;
      return undefined;
    } catch (error) {
      if (!(error instanceof Raised)) throw error;
      if (this.memory.writes !== writes) throw new Error(`${this.clause?.name} stored before its exception`, { cause: error });
      before.forEach((cap, index) => {
        if (this.c[index] !== cap) this.setRegister(index, cap);
      });
      this.pc = pc;
      this.trapCause = error.cause;
      // Whatever finds an instruction illegal, its value is the instruction.
      this.trapValue = error.cause === Cause.IllegalInstruction ? BigInt(this.#word >>> 0) : error.value;
      return Exit.Trap;
    }
  }

  /** Order: tag, seal, execute permission, unaligned base; then length and page of each parcel; then what it is. */
  #fetch(): Meaning {
    const { here } = this;
    const pcc = this.#pcc;
    const violation = (cause: number): Raised => new Raised(Cause.Cheri, BigInt((CapReg.Pcc << 5) | cause));
    if (!pcc.tag) throw violation(CapCause.Tag);
    if (otypeOf(pcc.hi) !== OTYPE_UNSEALED) throw violation(CapCause.Seal);
    if ((permsOf(pcc.hi) & Perm.Execute) === 0) throw violation(CapCause.PermitExecute);
    if (this.#relocation && (pcc.base & 1n) !== 0n) throw violation(CapCause.UnalignedBase);
    const parcel = (address: bigint): number => {
      if (address < pcc.base || address + 2n > pcc.top) throw violation(CapCause.Length);
      if (!this.memory.allows(address, 2, Prot.Execute)) throw new Raised(Cause.FetchPage, address);
      return this.memory.bytes[Number(address)]! | (this.memory.bytes[Number(address) + 1]! << 8);
    };
    const low = parcel(here);
    const long = (low & 3) === 3;
    const word = long ? low | (parcel(here + 2n) << 16) : low;
    this.#word = word;
    this.length = long ? 4 : 2;
    const index = this.#language.decoder.decode(word, flagOf(pcc.hi) === 0 ? 0 : 1, this.#operands);
    const meaning = this.#language.meanings[index];
    if (meaning === undefined) throw new Raised(Cause.IllegalInstruction, 0n);
    return meaning;
  }

  #run(statements: readonly Stmt[], locals: Value[], pc: bigint, next: bigint): void {
    const operands = this.#operands;
    const integer = (e: Expr): bigint => this.#value(e, locals, pc, next) as bigint;
    for (const s of statements) {
      switch (s.k) {
        case "let":
        case "assign":
          locals[s.id] = this.#value(s.value, locals, pc, next);
          break;
        case "setX":
          this.setRegister(operands[s.field], rawNull(u64(integer(s.value))));
          break;
        case "setF":
          this.setFloat(operands[s.field], integer(s.value));
          break;
        case "setState": {
          const value = this.#value(s.value, locals, pc, next);
          const at = layout.State[s.field as layout.StateField];
          if (typeof value === "bigint") this.view.setBigInt64(at, value, true);
          else this.view.setInt32(at, value, true);
          break;
        }
        case "load": {
          const address = this.#access(integer(s.address), s.size, { load: true, store: s.forStore, aligned: s.aligned });
          const value = this.memory.load(address, s.size);
          locals[s.id] = s.signed ? BigInt.asIntN(8 * s.size, value) : s64(value);
          break;
        }
        case "store": {
          const address = this.#access(integer(s.address), s.size, { load: false, store: true, aligned: s.aligned });
          this.memory.store(address, s.size, BigInt.asUintN(8 * s.size, integer(s.value)));
          break;
        }
        case "if":
          this.#run(this.#value(s.cond, locals, pc, next) === 0 ? s.else : s.then, locals, pc, next);
          break;
        case "branch":
          if (this.#value(s.cond, locals, pc, next) !== 0) this.#transfer(pc + BigInt(operands.imm), operands.imm <= 0);
          break;
        case "jump":
          this.#transfer(pc + BigInt(operands.imm), operands.imm <= 0);
          break;
        case "jumpIndirect":
          // Bit 0 is cleared after adding the base.
          this.#transfer((u64(this.pcBase + integer(s.target)) & ~1n) - this.pcBase, true);
          break;
        case "trap":
          throw new Raised(s.cause, integer(s.value));
        case "call":
          this.#call(
            s,
            s.args.map((e) => this.#value(e, locals, pc, next)),
            locals,
          );
          break;
        case "ecall":
        case "fenceI":
          // Ecall does not get here; code is decoded anew each time.
          break;
      }
    }
  }

  #value(e: Expr, locals: readonly Value[], pc: bigint, next: bigint): Value {
    const operands = this.#operands;
    switch (e.k) {
      case "const":
        return e.type === "i64" ? s64(BigInt(e.value)) : Number(e.value);
      case "imm":
        return BigInt(operands.imm);
      case "field":
        return operands[e.field];
      case "x":
        return s64(this.c[operands[e.field]]!.address);
      case "f":
        return s64(this.float(operands[e.field]));
      case "pc":
        return s64(pc);
      case "nextPc":
        return s64(next);
      case "unary":
        return unary(e.op, this.#value(e.a, locals, pc, next));
      case "binary":
        return binary(e.op, this.#value(e.a, locals, pc, next), this.#value(e.b, locals, pc, next));
      // The other way to the result: operations that are exact everywhere.
      case "hasFma":
        return 0;
      case "fma":
        throw new TypeError("fma is for engines that have it");
      case "select": {
        const [a, b] = [this.#value(e.a, locals, pc, next), this.#value(e.b, locals, pc, next)];
        return this.#value(e.cond, locals, pc, next) === 0 ? b : a;
      }
      case "local":
        return locals[e.id]!;
      case "state": {
        if (e.field === "instret") return s64(this.instret);
        const at = layout.State[e.field as layout.StateField];
        return e.type === "i32" ? this.view.getInt32(at, true) : this.view.getBigInt64(at, true);
      }
    }
  }

  /** To an architectural address: PCC's bounds are checked here, the rest when the target is fetched. */
  #transfer(target: bigint, usesFuel: boolean): void {
    const absolute = u64(this.pcBase + target);
    if (absolute < this.#pcc.base || absolute + 2n > this.#pcc.top)
      throw new Raised(Cause.Cheri, BigInt((CapReg.Pcc << 5) | CapCause.Length));
    this.pc = u64(target);
    this.#jumped = true;
    if (usesFuel) this.fuelLeft -= 1;
  }

  /** Absolute address of an access through DDC. Order: tag, seal, load permission, store permission, length; alignment; page. */
  #access(offset: bigint, size: number, kind: { load: boolean; store: boolean; aligned: boolean }): bigint {
    const { ddc } = this;
    const address = u64(offset + (this.#relocation ? ddc.address : 0n));
    const perms = permsOf(ddc.hi);
    const violation = (cause: number): Raised => new Raised(Cause.Cheri, BigInt((CapReg.Ddc << 5) | cause));
    if (!ddc.tag) throw violation(CapCause.Tag);
    if (otypeOf(ddc.hi) !== OTYPE_UNSEALED) throw violation(CapCause.Seal);
    if (kind.load && (perms & Perm.Load) === 0) throw violation(CapCause.PermitLoad);
    if (kind.store && (perms & Perm.Store) === 0) throw violation(CapCause.PermitStore);
    if (!rawInBounds(ddc, address, BigInt(size))) throw violation(CapCause.Length);
    if (kind.aligned && address % BigInt(size) !== 0n) throw new Raised(kind.store ? Cause.StoreMisaligned : Cause.LoadMisaligned, address);
    const prot = (kind.load ? Prot.Read : 0) | (kind.store ? Prot.Write : 0);
    if (!this.memory.allows(address, size, prot)) throw new Raised(kind.store ? Cause.StorePage : Cause.LoadPage, address);
    return address;
  }

  #call(s: Stmt & { k: "call" }, args: Value[], locals: Value[]): void {
    const { view } = this;
    for (let index = 1; index < 32; index++) {
      if (((this.#ahead >>> index) & 1) === 1) layout.writeRegister(view, HART, index, this.c[index]!);
    }
    this.#ahead = 0;
    view.setBigInt64(layout.State.instret, this.instret, true);
    const jumpedBefore = this.#jumped;
    const result = this.#calls.get(s.fn)!(HART, ...args);
    if (this.#raised !== undefined) throw this.#raised;
    if (this.#jumped && !jumpedBefore) this.fuelLeft -= 1;
    for (let index = 1; index < 32; index++) {
      const now = layout.readRegister(view, HART, index);
      const old = this.c[index]!;
      if (now.address !== old.address || now.hi !== old.hi || now.tag !== old.tag) this.c[index] = now;
    }
    if (s.result !== "none" && s.id >= 0) locals[s.id] = result as Value;
  }
}
