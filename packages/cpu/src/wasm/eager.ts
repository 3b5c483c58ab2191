/** Has WebAssembly compiled by the optimising compiler before it runs. */
import { engine, type WasmModule } from "./engine.ts";

interface V8 {
  setFlagsFromString(flag: string): void;
}
/** Node.js's module of that name; undefined elsewhere. */
function v8(): V8 | undefined {
  const { process } = globalThis as unknown as { readonly process?: { readonly getBuiltinModule?: (name: string) => unknown } };
  return process?.getBuiltinModule?.("node:v8") as V8 | undefined;
}
/** V8 reads these when a module is made, and keeps what they say with it. */
const FLAGS: readonly string[] = ["wasm-lazy-compilation", "wasm-dynamic-tiering"];

/**
 * A module whose functions other threads optimise from now on, which they would do only after these had run for some time. `ms`: about how long that takes; 0 where
 * the engine cannot be told to.
 */
export function optimised(binary: Uint8Array<ArrayBuffer>): { readonly module: WasmModule; readonly ms: number } {
  const flags = v8();
  for (const flag of FLAGS) flags?.setFlagsFromString(`--no-${flag}`);
  try {
    return { module: new engine.Module(binary), ms: flags === undefined ? 0 : 20 + binary.length * MS_PER_BYTE };
  } finally {
    for (const flag of FLAGS) flags?.setFlagsFromString(`--${flag}`);
  }
}
/** Measured on a busy machine, for one module after the other. */
const MS_PER_BYTE = 1 / 300;
