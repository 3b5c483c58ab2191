/** Writes the body of one WebAssembly function. Labels are objects, so that no branch depth is counted by hand. */
import type { Type } from "../isa/ir.ts";
import { Bytes } from "./bytes.ts";
import { MEMORY_OPERATORS, OPERATORS } from "./opcodes.ts";

/** Bytes of value types. */
export const TYPE_BYTES: Readonly<Record<Type, number>> = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c };

/** A block, loop or if that is open. */
export interface Label {
  readonly depth: number;
}

export class Code {
  readonly #bytes: Bytes = new Bytes();
  readonly #params: number;
  readonly #locals: Type[] = [];
  readonly #free: Record<Type, number[]> = { i32: [], i64: [], f32: [], f64: [] };
  #depth = 0;

  constructor(params: readonly Type[]) {
    this.#params = params.length;
  }

  // ---- locals
  /** A local of its own; 0 when the function starts. */
  local(type: Type): number {
    const free = this.#free[type].pop();
    if (free !== undefined) return free;
    this.#locals.push(type);
    return this.#params + this.#locals.length - 1;
  }
  /** Gives a local back for reuse; the next one to get it finds any value there. */
  release(type: Type, local: number): void {
    this.#free[type].push(local);
  }
  get(local: number): void {
    this.#bytes.byte(0x20);
    this.#bytes.u32(local);
  }
  set(local: number): void {
    this.#bytes.byte(0x21);
    this.#bytes.u32(local);
  }
  tee(local: number): void {
    this.#bytes.byte(0x22);
    this.#bytes.u32(local);
  }

  // ---- values
  i32(value: number): void {
    this.#bytes.byte(0x41);
    this.#bytes.s32(value);
  }
  i64(value: bigint | number): void {
    this.#bytes.byte(0x42);
    this.#bytes.s64(BigInt(value));
  }
  f32(value: number): void {
    this.#bytes.byte(0x43);
    this.#bytes.append(new Uint8Array(new Float32Array([value]).buffer));
  }
  f64(value: number): void {
    this.#bytes.byte(0x44);
    this.#bytes.append(new Uint8Array(new Float64Array([value]).buffer));
  }
  /** Any operator without immediates, by its text name. */
  op(name: string): void {
    const bytes = OPERATORS.get(name);
    if (bytes === undefined) throw new TypeError(`no WebAssembly operator ${name}`);
    this.#bytes.append(bytes);
  }
  /** f64 a, b, c on the stack: a * b + c; rounded once where `fusesMultiplyAdd` (engine.ts) says so (relaxed SIMD, f64x2.relaxed_madd). */
  fma(): void {
    const c = this.local("f64");
    const b = this.local("f64");
    this.set(c);
    this.set(b);
    this.#bytes.append([0xfd, 0x14]);
    for (const operand of [b, c]) {
      this.get(operand);
      this.#bytes.append([0xfd, 0x14]);
    }
    this.#bytes.append([0xfd, 0x87, 0x02, 0xfd, 0x21, 0x00]);
    this.release("f64", b);
    this.release("f64", c);
  }
  select(): void {
    this.#bytes.byte(0x1b);
  }
  drop(): void {
    this.#bytes.byte(0x1a);
  }
  /** A load or store by its text name, at the address on the stack + offset. */
  memory(name: string, offset: number): void {
    const operator = MEMORY_OPERATORS.get(name);
    if (operator === undefined) throw new TypeError(`no WebAssembly memory operator ${name}`);
    this.#bytes.byte(operator[0]);
    this.#bytes.u32(operator[1]);
    this.#bytes.u32(offset);
  }

  // ---- control
  #open(opcode: number, type: Type | undefined): Label {
    this.#bytes.byte(opcode);
    this.#bytes.byte(type === undefined ? 0x40 : TYPE_BYTES[type]);
    return { depth: this.#depth++ };
  }
  block(type?: Type): Label {
    return this.#open(0x02, type);
  }
  loop(type?: Type): Label {
    return this.#open(0x03, type);
  }
  if(type?: Type): Label {
    return this.#open(0x04, type);
  }
  else(): void {
    this.#bytes.byte(0x05);
  }
  end(): void {
    this.#depth--;
    this.#bytes.byte(0x0b);
  }
  #relative(label: Label): number {
    return this.#depth - 1 - label.depth;
  }
  br(label: Label): void {
    this.#bytes.byte(0x0c);
    this.#bytes.u32(this.#relative(label));
  }
  brIf(label: Label): void {
    this.#bytes.byte(0x0d);
    this.#bytes.u32(this.#relative(label));
  }
  brTable(labels: readonly Label[], otherwise: Label): void {
    this.#bytes.byte(0x0e);
    this.#bytes.u32(labels.length);
    for (const label of labels) this.#bytes.u32(this.#relative(label));
    this.#bytes.u32(this.#relative(otherwise));
  }
  call(functionIndex: number): void {
    this.#bytes.byte(0x10);
    this.#bytes.u32(functionIndex);
  }
  /** Calls the function whose number in the table is on the stack; `type` is its type's index. */
  callIndirect(type: number): void {
    this.#bytes.byte(0x11);
    this.#bytes.u32(type);
    this.#bytes.byte(0);
  }
  /** Tail calls (WebAssembly 3.0): the frame of this function is gone. */
  returnCall(functionIndex: number): void {
    this.#bytes.byte(0x12);
    this.#bytes.u32(functionIndex);
  }
  returnCallIndirect(type: number): void {
    this.#bytes.byte(0x13);
    this.#bytes.u32(type);
    this.#bytes.byte(0);
  }
  return(): void {
    this.#bytes.byte(0x0f);
  }
  unreachable(): void {
    this.#bytes.byte(0x00);
  }

  /** The function's entry in the code section, its length included. */
  finish(): Uint8Array {
    if (this.#depth !== 0) throw new Error("a block is still open");
    const out = new Bytes();
    const runs: { type: Type; count: number }[] = [];
    for (const type of this.#locals) {
      const last = runs.at(-1);
      if (last?.type === type) last.count++;
      else runs.push({ type, count: 1 });
    }
    out.u32(runs.length);
    for (const { type, count } of runs) {
      out.u32(count);
      out.byte(TYPE_BYTES[type]);
    }
    out.append(this.#bytes.view);
    out.byte(0x0b);
    const sized = new Bytes();
    sized.sized(out.view);
    return sized.view.slice();
  }
}
