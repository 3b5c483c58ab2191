/** Decoded instructions of one unit of translation, as arrays: nothing is allocated for each. */
import { createDecoded, type Decoder } from "../isa/decode.ts";
import { csrNumbers, plainCsrs } from "../isa/csr.ts";
import { FIELD_BIT, Kind, type KindCode, type Shape } from "./shapes.ts";

/** Most instructions of a unit, copies by inlining not counted. */
export const CAPACITY = 16_384;

/** Control registers whose reading has no effect and depends on nothing that translated code keeps to itself. */
const readOnly: ReadonlySet<number> = new Set(["frm", "fcsr", "time"].map((name) => csrNumbers.get(name)!));

/** Reads code by architectural pc. */
export interface CodeReader {
  /** The 32 bits at `pc` (the upper 16 are anything if the instruction has 16), or undefined where code may not be fetched. */
  fetch(pc: number): number | undefined;
  /** False where no program has come yet: such code is left out. */
  reached(pc: number): boolean;
  /** Where the jump through a register at `pc` went last, at most two places; none unless guesses are wanted. */
  guesses(pc: number): readonly number[];
}

export class Instructions {
  readonly shapes: readonly (Shape | undefined)[];
  readonly #decoder: Decoder;
  readonly #decoded: ReturnType<typeof createDecoded> = createDecoded();
  #reader: CodeReader | undefined;
  #count = 0;
  readonly #kind: Uint8Array = new Uint8Array(CAPACITY);
  readonly #known: Map<number, number> = new Map();
  readonly #derived: Map<string, number> = new Map();
  #byName: Map<string | undefined, number> | undefined;

  /** Architectural pc; below 2^32. */
  readonly pc: Float64Array = new Float64Array(CAPACITY);
  readonly length: Uint8Array = new Uint8Array(CAPACITY);
  readonly clause: Int16Array = new Int16Array(CAPACITY);
  readonly rd: Uint8Array = new Uint8Array(CAPACITY);
  readonly rs1: Uint8Array = new Uint8Array(CAPACITY);
  readonly rs2: Uint8Array = new Uint8Array(CAPACITY);
  readonly rs3: Uint8Array = new Uint8Array(CAPACITY);
  readonly rm: Uint8Array = new Uint8Array(CAPACITY);
  readonly imm: Int32Array = new Int32Array(CAPACITY);
  /** Integer registers read and written, a bit each; never x0. */
  readonly useX: Int32Array = new Int32Array(CAPACITY);
  readonly defX: Int32Array = new Int32Array(CAPACITY);
  readonly useF: Int32Array = new Int32Array(CAPACITY);
  readonly defF: Int32Array = new Int32Array(CAPACITY);

  /** What narrow.ts found out, by clause and what else matters to it. */
  readonly narrowKinds: (number | undefined)[] = [];

  readonly #status: boolean;

  /** `status`: the floating-point status and the time can always be read, and the former written. */
  constructor(decoder: Decoder, shapes: readonly (Shape | undefined)[], status: boolean) {
    this.#status = status;
    this.#decoder = decoder;
    this.shapes = shapes;
  }

  /** Forgets everything; code comes from `reader` now. */
  reset(reader: CodeReader): void {
    this.#reader = reader;
    this.#count = 0;
    this.#known.clear();
    this.#derived.clear();
  }
  reached(pc: number): boolean {
    return this.#reader!.reached(pc);
  }
  guesses(pc: number): readonly number[] {
    return this.#reader!.guesses(pc);
  }
  get full(): boolean {
    return this.#count >= CAPACITY;
  }
  shape(index: number): Shape {
    return this.shapes[this.clause[index]!]!;
  }
  kind(index: number): KindCode {
    return this.#kind[index] as KindCode;
  }
  /** pc of the next instruction in memory. */
  next(index: number): number {
    return this.pc[index]! + this.length[index]!;
  }

  /** Index of the instruction at `pc`; -1 if there is none, -2 if it is illegal or the unit is full. */
  at(pc: number): number {
    const known = this.#known.get(pc);
    if (known !== undefined) return known;
    const index = this.#decode(pc);
    this.#known.set(pc, index);
    return index;
  }

  /**
   * Index of an instruction that stands where `index` does and is `rd = name rs1, amount`, its second register x0; the same one for the same question. -1 if the unit is full.
   */
  derive(index: number, name: string, rd: number, rs1: number, amount: number): number {
    const key = `${index} ${name} ${amount}`;
    const known = this.#derived.get(key);
    if (known !== undefined) return known;
    if (this.full) return -1;
    const clause = (this.#byName ??= new Map(this.shapes.map((shape, at) => [shape?.clause.name, at] as const))).get(name);
    if (clause === undefined) return -1;
    const made = this.#count++;
    this.#derived.set(key, made);
    this.pc[made] = this.pc[index]!;
    this.length[made] = this.length[index]!;
    this.clause[made] = clause;
    this.rd[made] = rd;
    this.rs1[made] = rs1;
    this.rs2[made] = this.rs3[made] = this.rm[made] = 0;
    this.imm[made] = amount;
    this.#kind[made] = Kind.Plain;
    this.useX[made] = (1 << rs1) & ~1;
    this.defX[made] = (1 << rd) & ~1;
    this.useF[made] = this.defF[made] = 0;
    return made;
  }
  #kindOf(shape: Shape): KindCode {
    const { rs1, imm } = this.#decoded;
    if (shape.access !== undefined && rs1 === 0) return Kind.Interpret;
    if (shape.csr === undefined || !this.#status) return shape.kind;
    if (plainCsrs.has(imm)) return Kind.Plain;
    return readOnly.has(imm) && rs1 === 0 && !shape.csr.always ? Kind.Plain : Kind.Interpret;
  }
  #mask(fields: number): number {
    const d = this.#decoded;
    return (
      ((fields & FIELD_BIT.rd) === 0 ? 0 : 1 << d.rd) |
      ((fields & FIELD_BIT.rs1) === 0 ? 0 : 1 << d.rs1) |
      ((fields & FIELD_BIT.rs2) === 0 ? 0 : 1 << d.rs2) |
      ((fields & FIELD_BIT.rs3) === 0 ? 0 : 1 << d.rs3)
    );
  }
  #decode(pc: number): number {
    const word = this.#reader!.fetch(pc);
    if (word === undefined) return -1;
    if (this.full) return -2;
    const d = this.#decoded;
    const clause = this.#decoder.decode(word, 0, d);
    if (clause < 0) return -2;
    const index = this.#count++;
    const shape = this.shapes[clause]!;
    this.pc[index] = pc;
    this.length[index] = d.length;
    this.clause[index] = clause;
    this.rd[index] = d.rd;
    this.rs1[index] = d.rs1;
    this.rs2[index] = d.rs2;
    this.rs3[index] = d.rs3;
    this.rm[index] = d.rm;
    this.imm[index] = d.imm;
    // Accesses at small constant addresses are to the page that is never mapped.
    this.#kind[index] = this.#kindOf(shape);
    this.useX[index] = this.#mask(shape.readsX) & ~1;
    this.defX[index] = this.#mask(shape.writesX) & ~1;
    this.useF[index] = this.#mask(shape.readsF);
    this.defF[index] = this.#mask(shape.writesF);
    return index;
  }

  /** True for a jump through ra or t0 that saves no link: a return. */
  isReturn(index: number): boolean {
    return (
      this.kind(index) === Kind.JumpIndirect &&
      this.rd[index] === 0 &&
      this.imm[index] === 0 &&
      (this.rs1[index] === 1 || this.rs1[index] === 5)
    );
  }
}
