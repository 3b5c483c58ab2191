/** The WebAssembly that translated code is entered by, and what it calls. */
import { NOT_TRANSLATED, TO_INTERPRETER, UNUSABLE } from "./results.ts";
import { Exit, PAGE_SIZE } from "../abi.ts";
import { GUEST, TRANSLATION } from "../machine/layout.ts";
import { loadState, storeState } from "../interpreter/slow-paths.ts";
import { Code } from "../wasm/code.ts";
import { ModuleBuilder } from "../wasm/module.ts";
import { SLACK } from "./checks.ts";
import { RESERVE } from "./emit.ts";
import { pushSlot } from "./slots.ts";
import { TRANSLATED } from "./unit.ts";

/** What the module exports. */
export interface EntryExports {
  /** Runs translated code from the pc of the active hart on; {@link Exit.Fuel} when no more than {@link RESERVE} is left, or one of results.ts. */
  enter(fuel: number): number;
  /** Slot 0 of the table: nothing is translated there. */
  miss: unknown;
}

/**
 * Conditions of translated code: no register holds a capability; rounding is to nearest; offset 0 of DDC is its base, and it allows loads and
 * stores alike; pc 0 is PCC's base, with whole pages from there on.
 */
function usable(c: Code, unusable: () => void): void {
  const unless = (): void => {
    c.if();
    unusable();
    c.end();
  };
  loadState(c, "capRegs");
  loadState(c, "frm");
  c.op("i32.or");
  unless();
  loadState(c, "ddcAddress");
  loadState(c, "dataBase");
  c.op("i64.ne");
  loadState(c, "loadLength");
  loadState(c, "storeLength");
  c.op("i64.ne");
  c.op("i32.or");
  loadState(c, "loadLength");
  c.i64(SLACK + PAGE_SIZE);
  c.op("i64.lt_u");
  c.op("i32.or");
  unless();
  // What was selected, which units may have been made for.
  loadState(c, "dataBase");
  c.i32(0);
  c.memory("i64.load32_u", TRANSLATION.dataBase);
  c.op("i64.ne");
  loadState(c, "loadLength");
  c.i64(SLACK + PAGE_SIZE);
  c.op("i64.sub");
  c.i32(0);
  c.memory("i64.load", TRANSLATION.dataLimit);
  c.op("i64.ne");
  c.op("i32.or");
  unless();
  loadState(c, "pcBase");
  loadState(c, "codeLo");
  c.op("i64.ne");
  loadState(c, "pcBase");
  c.i32(0);
  c.memory("i64.load32_u", TRANSLATION.codeBase);
  c.op("i64.ne");
  c.op("i32.or");
  loadState(c, "codeSpan");
  c.i32(0);
  c.memory("i64.load", TRANSLATION.codeSpan);
  c.op("i64.ne");
  c.op("i32.or");
  unless();
  loadState(c, "pc");
  loadState(c, "codeSpan");
  c.op("i64.ge_u");
  unless();
}

function enter(type: number): Code {
  const c = new Code(["i32"]);
  const counter = c.local("i64");
  const pc = c.local("i32");
  const slot = c.local("i32");
  const address = c.local("i32");
  usable(c, () => {
    c.i32(UNUSABLE);
    c.return();
  });
  c.i64(RESERVE);
  c.get(0);
  c.op("i64.extend_i32_u");
  c.op("i64.sub");
  c.i64(32);
  c.op("i64.shl");
  c.set(counter);
  loadState(c, "pc");
  c.op("i32.wrap_i64");
  c.set(pc);
  const out = c.block();
  const loop = c.loop();
  pushSlot(c, address, () => c.get(pc));
  c.tee(slot);
  c.op("i32.eqz");
  c.brIf(out);
  c.get(counter);
  c.get(pc);
  c.i32(0);
  c.get(slot);
  c.callIndirect(type);
  c.set(pc);
  c.set(counter);
  c.get(pc);
  c.i32(1);
  c.op("i32.and");
  c.op("i32.eqz");
  c.brIf(loop);
  c.end();
  c.end();
  storeState(c, "pc", () => {
    c.get(pc);
    c.i32(-2);
    c.op("i32.and");
    c.op("i64.extend_i32_u");
  });
  storeState(c, "instret", () => {
    loadState(c, "instret");
    c.get(counter);
    c.i64(0xffff_ffffn);
    c.op("i64.and");
    c.op("i64.add");
  });
  storeState(c, "fuel", () => {
    c.i32(RESERVE);
    c.get(counter);
    c.i64(32);
    c.op("i64.shr_s");
    c.op("i32.wrap_i64");
    c.op("i32.sub");
  });
  c.i32(Exit.Fuel);
  c.i32(TO_INTERPRETER);
  c.i32(NOT_TRANSLATED);
  c.get(pc);
  c.i32(1);
  c.op("i32.and");
  c.select();
  c.get(counter);
  c.i64(0);
  c.op("i64.ge_s");
  c.select();
  return c;
}

/** The module: imports the memory and the table. */
export function entryModule(): Uint8Array<ArrayBuffer> {
  const builder = new ModuleBuilder();
  builder.importTable();
  const type = builder.typeIndex(TRANSLATED);
  const add = (name: string, functionType: Parameters<ModuleBuilder["declare"]>[0], code: Code): void => {
    const index = builder.declare(functionType);
    builder.define(index, code);
    builder.export(name, index);
  };
  add("enter", { params: ["i32"], result: "i32" }, enter(type));
  const miss = new Code(["i64", "i32", "i32"]);
  miss.get(0);
  miss.get(1);
  add("miss", TRANSLATED, miss);
  return builder.finish(GUEST / 0x1_0000);
}
