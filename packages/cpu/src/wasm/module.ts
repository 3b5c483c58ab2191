/** Puts a WebAssembly module together (WebAssembly core specification, section 5.5). */
import type { Type } from "../isa/ir.ts";
import { Bytes } from "./bytes.ts";
import { Code, TYPE_BYTES } from "./code.ts";

export interface FunctionType {
  readonly params: readonly Type[];
  /** Several results as a list. */
  readonly result: Type | "none" | readonly Type[];
}

/**
 * A module with one imported memory, imported and own functions. Imports come first, since they have the lower indices.
 */
export class ModuleBuilder {
  readonly #types: Bytes[] = [];
  readonly #typeIndex: Map<string, number> = new Map();
  readonly #imports: { module: string; name: string; type: number }[] = [];
  readonly #functions: { type: number; code: Code | undefined }[] = [];
  readonly #exports: { name: string; index: number }[] = [];
  readonly #names: Map<number, string> = new Map();
  #table = false;

  #type({ params, result }: FunctionType): number {
    const results = typeof result === "string" ? (result === "none" ? [] : [result]) : result;
    const key = `${params.join()}:${results.join()}`;
    let index = this.#typeIndex.get(key);
    if (index === undefined) {
      const bytes = new Bytes();
      bytes.byte(0x60);
      bytes.sized(params.map((type) => TYPE_BYTES[type]));
      bytes.sized(results.map((type) => TYPE_BYTES[type]));
      index = this.#types.push(bytes) - 1;
      this.#typeIndex.set(key, index);
    }
    return index;
  }

  /** Imports the table of functions `env.table`, for indirect calls. */
  importTable(): void {
    this.#table = true;
  }
  /** Index of a function type, for indirect calls. */
  typeIndex(type: FunctionType): number {
    return this.#type(type);
  }
  /** Returns the function's index. */
  import(module: string, name: string, type: FunctionType): number {
    if (this.#functions.length > 0) throw new Error("imports come before functions");
    return this.#imports.push({ module, name, type: this.#type(type) }) - 1;
  }
  /** Reserves an index, so that functions can call each other; {@link define} gives it its body. */
  declare(type: FunctionType): number {
    return this.#imports.length + this.#functions.push({ type: this.#type(type), code: undefined }) - 1;
  }
  define(index: number, code: Code): void {
    this.#functions[index - this.#imports.length]!.code = code;
  }
  /** Names a function for profilers and debuggers. In ascending order of indices. */
  name(index: number, name: string): void {
    this.#names.set(index, name);
  }
  export(name: string, index: number): void {
    this.#exports.push({ name, index });
  }

  /** The binary. The memory is imported as `env.memory`, with `pages` of 64 KiB at least. */
  finish(pages: number): Uint8Array<ArrayBuffer> {
    const out = new Bytes();
    out.append([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
    const section = (id: number, count: number, fill: (bytes: Bytes) => void): void => {
      const bytes = new Bytes();
      bytes.u32(count);
      fill(bytes);
      out.byte(id);
      out.sized(bytes.view);
    };
    section(1, this.#types.length, (bytes) => this.#types.forEach((type) => bytes.append(type.view)));
    section(2, this.#imports.length + (this.#table ? 2 : 1), (bytes) => {
      for (const { module, name, type } of this.#imports) {
        bytes.name(module);
        bytes.name(name);
        bytes.byte(0x00);
        bytes.u32(type);
      }
      bytes.name("env");
      bytes.name("memory");
      bytes.append([0x02, 0x00]);
      bytes.u32(pages);
      if (!this.#table) return;
      bytes.name("env");
      bytes.name("table");
      bytes.append([0x01, 0x70, 0x00, 0x00]);
    });
    section(3, this.#functions.length, (bytes) => this.#functions.forEach(({ type }) => bytes.u32(type)));
    section(7, this.#exports.length, (bytes) => {
      for (const { name, index } of this.#exports) {
        bytes.name(name);
        bytes.byte(0x00);
        bytes.u32(index);
      }
    });
    section(10, this.#functions.length, (bytes) => {
      for (const { code } of this.#functions) {
        if (code === undefined) throw new Error("a declared function has no body");
        bytes.append(code.finish());
      }
    });
    if (this.#names.size > 0) {
      const names = new Bytes();
      names.name("name");
      const list = new Bytes();
      list.u32(this.#names.size);
      for (const [index, name] of this.#names) {
        list.u32(index);
        list.name(name);
      }
      names.byte(1);
      names.sized(list.view);
      out.byte(0);
      out.sized(names.view);
    }
    return out.view.slice();
  }
}
