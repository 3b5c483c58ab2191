/** Helper functions of the interpreter's module: what the quick paths of handlers leave to others. */
import {
  ACTIVE_HART,
  Block,
  Own,
  PAGE_OTHERS,
  PAGE_OWN,
  PAGE_RECORDS,
  Record,
  State,
  stateType,
  TAGS,
  type StateField,
} from "../machine/layout.ts";
import { Code } from "../wasm/code.ts";
import { SlowAccess } from "./emit.ts";
import { Builtin } from "./handlers.ts";

/**
 * A record depends on as many bytes as two instructions have, 8: one that depends on the two bytes at an even address starts
 * at most this much before it.
 */
export const REACH = 6;

/** Pushes a field of the active hart. */
export function loadState(c: Code, field: StateField): void {
  c.i32(0);
  c.memory(`${stateType(field)!}.load`, ACTIVE_HART + State[field]);
}
/** Sets a field of the active hart to what `value` pushes. */
export function storeState(c: Code, field: StateField, value: () => void): void {
  c.i32(0);
  value();
  c.memory(`${stateType(field)!}.store`, ACTIVE_HART + State[field]);
}

/**
 * dropCode(address, size): the record of an instruction that reaches in starts up to 2 bytes earlier, one whose handler does
 * that instruction too up to 6.
 */
export function dropCode(): Code {
  const c = new Code(["i32", "i32"]);
  const [address, size] = [0, 1];
  const at = c.local("i32");
  const block = c.local("i32");
  // Address 0 has nothing before it.
  c.get(address);
  c.i32(-2);
  c.op("i32.and");
  c.tee(at);
  c.i32(REACH);
  c.op("i32.sub");
  c.i32(0);
  c.get(at);
  c.i32(REACH);
  c.op("i32.gt_u");
  c.select();
  c.set(at);
  const loop = c.loop();
  const page = (): void => {
    c.get(at);
    c.i32(12);
    c.op("i32.shr_u");
    c.i32(2);
    c.op("i32.shl");
  };
  const drop = (): void => {
    c.get(block);
    c.get(at);
    c.i32(4095);
    c.op("i32.and");
    c.i32(3);
    c.op("i32.shl");
    c.op("i32.add");
    c.i32(Builtin.Decode);
    c.memory("i32.store16", Record.handler);
  };
  page();
  c.memory("i32.load", PAGE_RECORDS);
  c.tee(block);
  c.if();
  drop();
  c.end();
  page();
  c.memory("i32.load", PAGE_OTHERS);
  c.tee(block);
  c.if();
  const others = c.loop();
  drop();
  c.get(block);
  c.memory("i32.load", Block.next);
  c.tee(block);
  c.brIf(others);
  c.end();
  c.end();
  c.get(at);
  c.i32(2);
  c.op("i32.add");
  c.tee(at);
  c.get(address);
  c.get(size);
  c.op("i32.add");
  c.op("i32.lt_u");
  c.brIf(loop);
  c.end();
  return c;
}

/**
 * loadSlow(offset, options) and storeSlow(offset, options): everything that the quick way does not do itself. The absolute
 * address, or -1 after an exception.
 */
export function slowAccess(store: boolean, fault: number, dropCodeIndex: number, changed: number): Code {
  const c = new Code(["i64", "i32"]);
  const [offset, options] = [0, 1];
  const absolute = c.local("i64");
  const size = c.local("i32");
  const result = c.local("i32");
  const own = c.local("i32");
  c.get(offset);
  loadState(c, "ddcAddress");
  c.op("i64.add");
  c.set(absolute);
  c.get(options);
  c.i32(SlowAccess.SizeMask);
  c.op("i32.and");
  c.set(size);
  const failed = c.block();
  /** Leaves unless [absolute, absolute + size) is within `length` bytes from dataBase. */
  const within = (length: StateField): void => {
    loadState(c, length);
    c.get(size);
    c.op("i64.extend_i32_u");
    c.op("i64.lt_u");
    c.brIf(failed);
    c.get(absolute);
    loadState(c, "dataBase");
    c.op("i64.sub");
    loadState(c, length);
    c.get(size);
    c.op("i64.extend_i32_u");
    c.op("i64.sub");
    c.op("i64.gt_u");
    c.brIf(failed);
  };
  const forStore = (): void => {
    c.get(options);
    c.i32(SlowAccess.ForStore);
    c.op("i32.and");
  };
  if (store) {
    within("storeLength");
    forStore();
    c.if();
    within("loadLength");
    c.end();
  } else within("loadLength");
  c.get(absolute);
  c.op("i32.wrap_i64");
  c.set(result);
  // Alignment.
  c.get(options);
  c.i32(SlowAccess.Aligned);
  c.op("i32.and");
  c.if();
  c.get(result);
  c.get(size);
  c.i32(1);
  c.op("i32.sub");
  c.op("i32.and");
  c.brIf(failed);
  c.end();
  // Both pages.
  const page = (last: boolean): void => {
    c.get(result);
    if (last) {
      c.get(size);
      c.op("i32.add");
      c.i32(1);
      c.op("i32.sub");
    }
    c.i32(12);
    c.op("i32.shr_u");
    c.memory("i32.load8_u", PAGE_OWN);
  };
  page(false);
  page(true);
  c.op("i32.or");
  c.tee(own);
  if (store) {
    c.i32(Own.NoWrite | Own.NoRead);
    c.i32(Own.NoWrite);
    forStore();
    c.select();
  } else c.i32(Own.NoRead);
  c.op("i32.and");
  c.brIf(failed);
  if (store) {
    c.get(own);
    c.i32(Own.Tags);
    c.op("i32.and");
    c.if();
    for (const last of [false, true]) {
      c.get(result);
      if (last) {
        c.get(size);
        c.op("i32.add");
        c.i32(1);
        c.op("i32.sub");
      }
      c.i32(4);
      c.op("i32.shr_u");
      c.i32(0);
      c.memory("i32.store8", TAGS);
    }
    c.end();
    c.get(own);
    c.i32(Own.Code);
    c.op("i32.and");
    c.if();
    c.get(result);
    c.get(size);
    c.call(dropCodeIndex);
    c.end();
    c.get(own);
    c.i32(Own.Translated);
    c.op("i32.and");
    c.if();
    c.get(result);
    c.get(size);
    c.call(changed);
    c.end();
  }
  c.get(result);
  c.return();
  c.end();
  c.get(absolute);
  c.get(options);
  c.i32(store ? 1 : 0);
  c.call(fault);
  c.i32(-1);
  return c;
}
