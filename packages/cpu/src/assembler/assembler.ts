/** An assembler with a typed interface, derived from the clauses. Text is in text.ts. */
import type { Clause } from "../isa/clause.ts";
import { clausesOf, type Mode } from "../isa/decode.ts";
import { encodingOf, fieldProblem, insertField, type FieldName } from "../isa/encoding.ts";
import { allClauses } from "../isa/index.ts";
import { AssemblerError } from "./error.ts";
import { operandsOf } from "./syntax.ts";

/** A place in the code. Made by {@link Assembler.newLabel} or {@link Assembler.label}. */
export interface Label {
  readonly name: string;
  /** Offset from the start of the code; undefined until it is bound. */
  readonly offset: number | undefined;
}
interface MutableLabel {
  name: string;
  offset: number | undefined;
}

/** A label, the name of one (it may be bound later), or an absolute address. */
export type Target = Label | string | number | bigint;

/** Operands by field. Registers are 0 … 31; `imm` is the value that the decoder gives: of `lui` with its 12 low zeros, of a branch relative to pc. */
export type EmitOperands = Partial<Record<FieldName, number>> & {
  /** Instead of `imm`, for jumps and branches. */
  readonly target?: Target;
};

export interface AssemblerOptions {
  /** All clauses of the machine unless given. */
  readonly clauses?: readonly Clause[];
  /** Address at which the code will stand, a multiple of 2; 0 unless given. */
  readonly origin?: number;
  /** Which clauses of the same name are meant: integer mode unless given. */
  readonly mode?: "int" | "cap";
}

/** Something that waits until labels are known. */
interface Fixup {
  readonly at: number;
  readonly target: Target;
  /** Added to the target's address. */
  readonly addend: number;
  readonly what: string;
  readonly apply: (address: bigint) => void;
}

type Spellings = ReadonlyMap<string, readonly Clause[]>;
const spellingMaps = new WeakMap<readonly Clause[], [int?: Spellings, cap?: Spellings]>();

/** What a mode decodes, by each way to write it; clauses of that name first, then of that mnemonic, then others. */
function spellingsOf(clauses: readonly Clause[], mode: Mode): Spellings {
  let maps = spellingMaps.get(clauses);
  if (maps === undefined) {
    maps = [];
    spellingMaps.set(clauses, maps);
  }
  let map = maps[mode];
  if (map === undefined) {
    const legal = clausesOf(clauses, mode).map((index) => clauses[index]!);
    const spelled = [
      ...legal.map((clause) => [clause.name, clause] as const),
      ...legal.flatMap((clause) => (clause.mnemonic === undefined ? [] : [[clause.mnemonic, clause] as const])),
      ...legal.flatMap((clause) => (clause.aliases ?? []).map((alias) => [alias, clause] as const)),
    ];
    map = new Map([...Map.groupBy(spelled, ([text]) => text)].map(([text, list]) => [text, list.map(([, clause]) => clause)]));
    maps[mode] = map;
  }
  return map;
}

/** What fields hold that are not given. */
const DEFAULTS: Readonly<Partial<Record<FieldName, number>>> = { aq: 0, rl: 0, fm: 0, pred: 15, succ: 15 };

export class Assembler {
  /** Address of the first byte. */
  readonly origin: number;
  /** Whose clauses are meant. */
  readonly mode: "int" | "cap";
  readonly #clauses: Spellings;
  #bytes = new Uint8Array(256);
  #length = 0;
  readonly #labels = new Map<string, MutableLabel>();
  readonly #fixups: Fixup[] = [];

  constructor(options: AssemblerOptions = {}) {
    this.origin = options.origin ?? 0;
    this.mode = options.mode ?? "int";
    this.#clauses = spellingsOf(options.clauses ?? allClauses, this.mode === "cap" ? 1 : 0);
  }

  /** Bytes so far. */
  get offset(): number {
    return this.#length;
  }
  /** Address of the next byte. */
  get address(): number {
    return this.origin + this.#length;
  }

  // ---- labels
  /** A label that {@link bind} puts somewhere later. A name makes it known to text and to string targets. */
  newLabel(name?: string): Label {
    if (name === undefined) return { name: "(unnamed)", offset: undefined };
    return this.#named(name);
  }
  #named(name: string): MutableLabel {
    let label = this.#labels.get(name);
    if (label === undefined) {
      label = { name, offset: undefined };
      this.#labels.set(name, label);
    }
    return label;
  }
  /** Puts a label here. @throws AssemblerError `duplicate-label` when it already stands somewhere. */
  bind(label: Label): void {
    if (label.offset !== undefined) throw new AssemblerError("duplicate-label", `${label.name} is already at offset ${label.offset}`);
    (label as MutableLabel).offset = this.#length;
  }
  /** A label here. */
  label(name?: string): Label {
    const label = this.newLabel(name);
    this.bind(label);
    return label;
  }
  /** Address of a bound label. @throws AssemblerError `unknown-label`. */
  addressOf(target: Label | string): number {
    const label = typeof target === "string" ? this.#labels.get(target) : target;
    if (label?.offset === undefined) throw new AssemblerError("unknown-label", typeof target === "string" ? target : target.name);
    return this.origin + label.offset;
  }

  // ---- instructions
  /** Clauses of that name that the assembler's mode has. @throws AssemblerError `unknown-instruction`. */
  clausesNamed(name: string): readonly Clause[] {
    const found = this.#clauses.get(name);
    if (found === undefined) throw new AssemblerError("unknown-instruction", name);
    return found;
  }

  /**
   * One instruction: `emit("addi", { rd: 5, rs1: 6, imm: -1 })`. Nothing is compressed by itself; `c.addi` is an instruction of its own.
   * @throws AssemblerError `unknown-instruction`; `operand-missing`; `operand-value` for a value or a field that it cannot have.
   */
  emit(name: string, operands: EmitOperands = {}): this {
    const clauses = this.clausesNamed(name);
    const has = (field: FieldName): boolean => operands[field] !== undefined || (field === "imm" && operands.target !== undefined);
    const fits = clauses.find((clause) => {
      const fields = encodingOf(clause).fields.map((field) => field.name);
      return (
        operandsOf(clause).every(({ field, kind }) => kind === "rounding" || kind === "fence" || has(field)) &&
        Object.keys(operands).every((key) => fields.includes((key === "target" ? "imm" : key) as FieldName))
      );
    });
    this.emitClause(fits ?? clauses[0]!, operands);
    return this;
  }

  /** As {@link emit}, of one clause. */
  emitClause(clause: Clause, operands: EmitOperands): void {
    const { target, ...given } = operands;
    const at = this.#length;
    const { length } = encodingOf(clause);
    if (target === undefined) {
      this.#put(this.#encode(clause, given), length);
      return;
    }
    this.#encode(clause, { ...given, imm: this.#anyImmediate(clause) });
    this.#put(0, length);
    this.#fixups.push({
      at,
      target,
      addend: 0,
      what: clause.name,
      apply: (address) => {
        const imm = this.#relative(address, at, clause.name);
        const field = encodingOf(clause).fields.find(({ name }) => name === "imm");
        const problem = field === undefined ? "it has no immediate" : fieldProblem(field, imm);
        if (problem !== undefined) throw new AssemblerError("target-range", `${clause.name} at ${this.#hex(at)}: ${problem}`);
        this.#store(at, length, this.#encode(clause, { ...given, imm }));
      },
    });
  }

  /** An immediate that the clause accepts, to check the other operands before the target is known. */
  #anyImmediate(clause: Clause): number {
    const field = encodingOf(clause).fields.find(({ name }) => name === "imm");
    return field?.excluded.includes(0) === true ? 2 ** field.scale : 0;
  }

  #encode(clause: Clause, operands: Partial<Record<FieldName, number>>): number {
    const { fields, match } = encodingOf(clause);
    const written = operandsOf(clause);
    for (const name of Object.keys(operands)) {
      if (operands[name as FieldName] !== undefined && !fields.some((field) => field.name === name)) {
        throw new AssemblerError("operand-value", `${clause.name} has no ${name}`);
      }
    }
    let word = match;
    for (const field of fields) {
      let value = operands[field.name] ?? DEFAULTS[field.name];
      if (value === undefined) {
        const operand = written.find((candidate) => candidate.field === field.name);
        // A field that is not written is one that does not matter; a rounding mode that is written is dynamic.
        if (operand === undefined) value = 0;
        else if (operand.kind === "rounding") value = 7;
        else throw new AssemblerError("operand-missing", `${clause.name} needs ${field.name}`);
      }
      const problem = fieldProblem(field, value);
      if (problem !== undefined) throw new AssemblerError("operand-value", `${clause.name}: ${problem}`);
      word |= insertField(field, value);
    }
    return word;
  }

  /** `rd` = a 64-bit constant, signed or unsigned; 1 to 8 instructions. @throws AssemblerError `operand-value` outside 64 bits. */
  li(rd: number, value: number | bigint): this {
    const wanted = BigInt(value);
    if (wanted < -(1n << 63n) || wanted >= 1n << 64n) throw new AssemblerError("operand-value", `li: ${wanted} has more than 64 bits`);
    this.#constant(rd, BigInt.asIntN(64, wanted));
    return this;
  }
  #constant(rd: number, value: bigint): void {
    const low = BigInt.asIntN(12, value);
    if (value === low) {
      this.emit("addi", { rd, rs1: 0, imm: Number(low) });
      return;
    }
    let high = value - low;
    if (BigInt.asIntN(32, value) === value) {
      this.emit("lui", { rd, imm: Number(BigInt.asIntN(32, high)) });
      // addiw, because lui of 0x80000000 and a negative rest must wrap at 32 bits.
      if (low !== 0n) this.emit("addiw", { rd, rs1: rd, imm: Number(low) });
      return;
    }
    let shift = 12n;
    high = BigInt.asIntN(52, high >> 12n);
    while ((high & 1n) === 0n) {
      high >>= 1n;
      shift++;
    }
    this.#constant(rd, high);
    this.emit("slli", { rd, rs1: rd, imm: Number(shift) });
    if (low !== 0n) this.emit("addi", { rd, rs1: rd, imm: Number(low) });
  }

  /** `rd` = address of `target` + `addend`, relative to pc (auipc, addi). */
  la(rd: number, target: Target, addend = 0): this {
    return this.#pcRelative("la", rd, { name: "addi", operands: { rd, rs1: rd } }, target, addend);
  }
  /** `cd` = PCC with the address of `target` + `addend`, within 2 GiB (auipcc, cincoffset). @throws AssemblerError `unknown-instruction` in integer mode. */
  cllc(cd: number, target: Target, addend = 0): this {
    this.clausesNamed("auipcc");
    return this.#pcRelative("cllc", cd, { name: "cincoffsetimm", operands: { rd: cd, rs1: cd } }, target, addend);
  }
  /** Calls `target` anywhere within 2 GiB (auipc, jalr; in capability mode auipcc, cjalr); the link is in ra. */
  call(target: Target): this {
    return this.#pcRelative("call", 1, { name: "jalr", operands: { rd: 1, rs1: 1 } }, target, 0);
  }
  /** Jumps to `target` anywhere within 2 GiB; changes t1. */
  tail(target: Target): this {
    return this.#pcRelative("tail", 6, { name: "jalr", operands: { rd: 0, rs1: 6 } }, target, 0);
  }
  #pcRelative(what: string, base: number, second: { name: string; operands: EmitOperands }, target: Target, addend: number): this {
    const at = this.#length;
    const auipc = this.clausesNamed("auipc")[0]!;
    const follow = this.clausesNamed(second.name)[0]!;
    this.emitClause(auipc, { rd: base, imm: 0 });
    this.emitClause(follow, { ...second.operands, imm: 0 });
    this.#fixups.push({
      at,
      target,
      addend,
      what,
      apply: (address) => {
        const distance = this.#relative(address, at, what);
        const high = Math.floor((distance + 0x800) / 0x1000) * 0x1000;
        if (high < -(2 ** 31) || high >= 2 ** 31)
          throw new AssemblerError("target-range", `${what} at ${this.#hex(at)}: ${distance} is beyond 2 GiB`);
        this.#store(at, 4, this.#encode(auipc, { rd: base, imm: high }));
        this.#store(at + 4, 4, this.#encode(follow, { ...second.operands, imm: distance - high } as Partial<Record<FieldName, number>>));
      },
    });
    return this;
  }

  // ---- data
  /** Bytes as they are. */
  bytes(bytes: Uint8Array | readonly number[]): this {
    for (const byte of bytes) this.#number("byte", byte, 1);
    return this;
  }
  half(value: number): this {
    return this.#number("half", value, 2);
  }
  word(value: number): this {
    return this.#number("word", value, 4);
  }
  /** 8 bytes: a number, or the address of a label + addend. */
  dword(value: number | bigint | Label | string, addend = 0): this {
    if (typeof value === "number" || typeof value === "bigint") return this.#number("dword", value, 8);
    const at = this.#length;
    this.#number("dword", 0, 8);
    this.#fixups.push({
      at,
      target: value,
      addend,
      what: "dword",
      apply: (address) => new DataView(this.#bytes.buffer).setBigUint64(at, BigInt.asUintN(64, address), true),
    });
    return this;
  }
  #number(what: string, value: number | bigint, size: number): this {
    const bits = BigInt(8 * size);
    if (typeof value === "number" && !Number.isInteger(value))
      throw new AssemblerError("data-value", `${what}: ${value} is not a whole number`);
    const wanted = BigInt(value);
    if (wanted < -(1n << (bits - 1n)) || wanted >= 1n << bits)
      throw new AssemblerError("data-value", `${what}: ${value} has more than ${bits} bits`);
    this.#reserve(size);
    const unsigned = BigInt.asUintN(8 * size, wanted);
    for (let at = 0; at < size; at++) this.#bytes[this.#length + at] = Number((unsigned >> BigInt(8 * at)) & 0xffn);
    this.#length += size;
    return this;
  }
  /** UTF-8 bytes of a text, without a final 0. */
  ascii(text: string): this {
    return this.bytes(new TextEncoder().encode(text));
  }
  /** UTF-8 bytes of a text and a final 0. */
  asciz(text: string): this {
    return this.ascii(text).zero(1);
  }
  zero(length: number): this {
    if (!Number.isInteger(length) || length < 0) throw new AssemblerError("data-value", `zero: ${length} is not a length`);
    this.#reserve(length);
    this.#length += length;
    return this;
  }
  /** Zeros up to an address that is a multiple of `alignment` (a power of two). */
  align(alignment: number): this {
    if (!Number.isInteger(alignment) || alignment < 1 || !Number.isInteger(Math.log2(alignment))) {
      throw new AssemblerError("data-value", `align: ${alignment} is not a power of two`);
    }
    return this.zero((alignment - (this.address % alignment)) % alignment);
  }

  // ---- result
  /**
   * The bytes. May be called again after more was added.
   * @throws AssemblerError `unknown-label` for a target that was never bound; `target-range` for one too far away.
   */
  assemble(): Uint8Array {
    for (const { target, addend, apply, what, at } of this.#fixups) {
      if (typeof target === "number" || typeof target === "bigint") {
        apply(BigInt(target) + BigInt(addend));
        continue;
      }
      const label = typeof target === "string" ? this.#labels.get(target) : target;
      if (label?.offset === undefined) {
        throw new AssemblerError(
          "unknown-label",
          `${typeof target === "string" ? target : target.name}, used by ${what} at ${this.#hex(at)}`,
        );
      }
      apply(BigInt(this.origin + label.offset + addend));
    }
    return this.#bytes.slice(0, this.#length);
  }

  #relative(address: bigint, at: number, what: string): number {
    const distance = BigInt.asIntN(64, address - BigInt(this.origin + at));
    if (BigInt.asIntN(33, distance) !== distance)
      throw new AssemblerError("target-range", `${what} at ${this.#hex(at)}: ${distance} is too far`);
    return Number(distance);
  }
  #hex(at: number): string {
    return `0x${(this.origin + at).toString(16)}`;
  }
  #reserve(more: number): void {
    if (this.#length + more <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(2 * this.#bytes.length, this.#length + more));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }
  #put(word: number, length: 2 | 4): void {
    this.#reserve(length);
    this.#store(this.#length, length, word);
    this.#length += length;
  }
  #store(at: number, length: 2 | 4, word: number): void {
    for (let byte = 0; byte < length; byte++) this.#bytes[at + byte] = (word >>> (8 * byte)) & 0xff;
  }
}
