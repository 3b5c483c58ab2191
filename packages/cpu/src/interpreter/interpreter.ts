/** The interpreter as machines share it: decoder, handlers and compiled modules, made once from a list of clauses. */
import { floatIntrinsics } from "../float/intrinsics.ts";
import { cheriIntrinsics } from "../isa/cheri-intrinsics.ts";
import type { Clause } from "../isa/clause.ts";
import { csrIntrinsics } from "../isa/csr.ts";
import { createDecoder, type Decoder } from "../isa/decode.ts";
import { allClauses } from "../isa/index.ts";
import { privilegedIntrinsics } from "../isa/privileged.ts";
import type { IntrinsicTable } from "../isa/intrinsics.ts";
import { engine, type WasmModule } from "../wasm/engine.ts";
import { generateSupport } from "../support/module.ts";
import { generateInterpreter, type Variant } from "./generate.ts";
import { createHandlerTable, type HandlerTable } from "./handlers.ts";

/** All intrinsics that clauses call. */
export const allIntrinsics: IntrinsicTable = { ...floatIntrinsics, ...csrIntrinsics, ...privilegedIntrinsics, ...cheriIntrinsics };

export interface CompiledInterpreter {
  readonly module: WasmModule;
  readonly intrinsics: readonly string[];
}

export class Interpreter {
  readonly decoder: Decoder;
  readonly table: HandlerTable;
  readonly intrinsics: IntrinsicTable;
  readonly #compiled: Map<string, CompiledInterpreter> = new Map();
  #support: WasmModule | undefined;

  /** TypeError when the clauses do not fit together. */
  constructor(clauses: readonly Clause[], intrinsics: IntrinsicTable = allIntrinsics) {
    this.decoder = createDecoder(clauses);
    this.table = createHandlerTable(clauses);
    this.intrinsics = intrinsics;
  }

  /** The compiled module of a variant, made on first use. */
  compiled(variant: Variant): CompiledInterpreter {
    const key = `${variant.checkLoads} ${variant.observe} ${variant.translated}`;
    let result = this.#compiled.get(key);
    if (result === undefined) {
      const { binary, intrinsics } = generateInterpreter(this.table, this.intrinsics, variant);
      result = { module: new engine.Module(binary), intrinsics };
      this.#compiled.set(key, result);
    }
    return result;
  }

  /** The module of the intrinsics' WebAssembly forms, compiled on first use. */
  get support(): WasmModule {
    return (this.#support ??= new engine.Module(generateSupport(this.intrinsics)));
  }
}

let shared: Interpreter | undefined;

/** The interpreter of all clauses, made on first use. */
export function standardInterpreter(): Interpreter {
  return (shared ??= new Interpreter(allClauses));
}
