/** The WebAssembly engine as this package uses it. (Its types stand in the DOM library, which a Node.js program does not load.) */
export interface WasmMemory {
  readonly buffer: ArrayBuffer;
}
/** Opaque: a compiled module. */
export interface WasmModule {
  readonly __module: never;
}
export interface WasmInstance {
  readonly exports: Readonly<Record<string, unknown>>;
}
/** A growing table of functions. */
export interface WasmTable {
  readonly length: number;
  grow(count: number): number;
  set(index: number, value: unknown): void;
  get(index: number): unknown;
}
interface Engine {
  readonly Table: new (descriptor: { readonly initial: number; readonly element: "anyfunc" }) => WasmTable;
  readonly Memory: new (descriptor: { readonly initial: number; readonly maximum: number }) => WasmMemory;
  readonly Module: new (binary: Uint8Array<ArrayBuffer>) => WasmModule;
  readonly Instance: new (module: WasmModule, imports: Readonly<Record<string, Readonly<Record<string, unknown>>>>) => WasmInstance;
}

export const engine: Engine = (globalThis as unknown as { readonly WebAssembly: Engine }).WebAssembly;
