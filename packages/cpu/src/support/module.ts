/**
 * The support module: WebAssembly forms of intrinsics, instantiated once for a machine. Interpreter and translated code import its exports in the
 * place of the functions in TypeScript, which it calls itself for what is seldom.
 */
import type { IntrinsicTable } from "../isa/intrinsics.ts";
import { GUEST } from "../machine/layout.ts";
import { ModuleBuilder } from "../wasm/module.ts";
import { decode, encode, representable, setRegister } from "./bounds.ts";
import { enter } from "./enter.ts";
import { Form, HELPER_TYPES, type Helpers } from "./form.ts";
import { jump } from "./jumps.ts";

/** What the module imports as `slow`: the TypeScript forms by name, `enter` of {@link RunImports}, and `now`: performance.now(). It exports the names of the forms. */
export type SupportImports = Readonly<Record<string, unknown>>;

/** The binary of the module for those of a table's intrinsics that have a WebAssembly form. */
export function generateSupport(intrinsics: IntrinsicTable): Uint8Array<ArrayBuffer> {
  const builder = new ModuleBuilder();
  const fast = Object.entries(intrinsics).filter(([, { fast: form }]) => form !== undefined);
  const slowEnter = builder.import("slow", "enter", { params: ["i64"], result: "i32" });
  const slow = new Map(
    fast.map(([name, { params, result }]) => [name, builder.import("slow", name, { params: ["i32", ...params], result })]),
  );
  const now = builder.import("slow", "now", { params: [], result: "f64" });
  const helpers = Object.fromEntries([
    ...Object.entries(HELPER_TYPES).map(([name, type]) => [name, builder.declare(type)] as const),
    ["now", now] as const,
  ]) as unknown as Helpers;
  builder.define(helpers.decode, decode().code);
  builder.define(helpers.representable, representable().code);
  builder.define(helpers.encode, encode().code);
  builder.define(helpers.setRegister, setRegister(helpers).code);
  builder.define(helpers.jump, jump(helpers).code);
  const found = enter(helpers, slowEnter);
  const index = builder.declare({ params: ["i64"], result: "i32" });
  builder.define(index, found.code);
  builder.export("enter", index);
  for (const [name, { params, result, fast: form }] of fast) {
    const all = ["i32" as const, ...params];
    const writer = new Form(all, helpers, slow.get(name)!);
    form!.emit(writer);
    const at = builder.declare({ params: all, result });
    builder.define(at, writer.code);
    builder.export(name, at);
  }
  return builder.finish(GUEST / 0x1_0000);
}
