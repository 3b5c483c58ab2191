/**
 * Generates the interpreter: one WebAssembly module, made from a list of clauses. Its two `run` functions differ in what
 * an integer write does: the fast one is for harts without capability metadata in registers and leaves as soon as some
 * appears; the general one clears the metadata of what it writes.
 */
import { CapCause, CapReg, Cause, Exit } from "../abi.ts";
import type { IntrinsicTable } from "../isa/intrinsics.ts";
import type { Stmt } from "../isa/ir.ts";
import { GUEST, HEAT, HEAT_ENTRIES, PAGE_RECORDS, Record, TRANSLATION } from "../machine/layout.ts";
import { Code, type Label } from "../wasm/code.ts";
import { ModuleBuilder, type FunctionType } from "../wasm/module.ts";
import { Emitter, type Frame } from "./emit.ts";
import { Builtin, MARK, type HandlerTable } from "./handlers.ts";
import { dropCode, loadState, slowAccess, storeState } from "./slow-paths.ts";

/** Result of a run function beyond {@link Exit}: call again, registers hold capability metadata now. */
export const AGAIN = 4;
/** Further ones of a variant that goes with a translator: there is a translation at pc; pc is reached often enough to make one. */
export const TRANSLATED = 5;
export const HOT = 6;

/** What a generated module imports as `run`, besides the intrinsics (`intrinsics`) and the memory. */
export interface RunImports {
  /** Decodes code from the record at `ip` on; afterwards that record has another handler. */
  decode(ip: number): void;
  /**
   * Finds the record of an absolute address where the quick way failed: all checks of a fetch, then a new block or, where
   * PCC or protection end within the page, a single instruction. 0 after an exception, which is then in the state block with its pc.
   */
  enter(target: bigint): number;
  /** An access failed a check: finds and records the exact exception. `options` as {@link SlowAccess}; `store`: not 0 for stores. */
  fault(absolute: bigint, options: number, store: number): void;
  /** A store is about to change bytes of a page that translations were made from. */
  changed(address: number, size: number): void;
}

/** What it exports: both return {@link Exit} or {@link AGAIN} and leave the fuel that is left in the state block. */
export interface RunExports {
  runFast(fuel: number): number;
  runGeneral(fuel: number): number;
  /** Drops what was predecoded from `size` bytes at an absolute address. */
  dropCode(address: number, size: number): void;
}

/** What differs between the modules that can be made of one set of clauses. */
export interface Variant {
  /** Loads test the state of their page. */
  readonly checkLoads: boolean;
  /** Instructions and accesses are reported to an observer: the module imports {@link ObserverImports} as `observe`. */
  readonly observe: boolean;
  /** Stops where translations start and where they should. */
  readonly translated: boolean;
}

interface Functions {
  readonly observe: { readonly access: number; readonly instruction: number } | undefined;
  readonly decode: number;
  readonly enter: number;
  readonly loadSlow: number;
  readonly storeSlow: number;
  readonly intrinsic: (name: string) => number;
}

function run(table: HandlerTable, functions: Functions, { checkLoads, translated }: Variant, general: boolean): Code {
  const { observe } = functions;
  const c = new Code(["i32"]);
  const fuel = 0;
  const ip = c.local("i32");
  const count = c.local("i64");
  const target = c.local("i64");
  const linkSlot = c.local("i32");
  const link = c.local("i64");
  const result = c.local("i32");

  /** pc of the record at ip. */
  const pushPc = (): void => {
    loadState(c, "pagePc");
    c.get(ip);
    loadState(c, "recordBase");
    c.op("i32.sub");
    c.i32(3);
    c.op("i32.shr_u");
    c.op("i64.extend_i32_u");
    c.op("i64.add");
  };
  const addCount = (amount: number): void => {
    c.get(count);
    c.i64(amount);
    c.op("i64.add");
    c.set(count);
  };
  const targetFromState = (): void => {
    loadState(c, "pc");
    loadState(c, "pcBase");
    c.op("i64.add");
    c.i64(-2);
    c.op("i64.and");
    c.set(target);
  };
  const leave = (code: number, exit: Label): void => {
    c.i32(code);
    c.set(result);
    c.br(exit);
  };
  const useFuel = (exit: Label): void => {
    c.get(fuel);
    c.i32(1);
    c.op("i32.sub");
    c.tee(fuel);
    c.op("i32.eqz");
    c.if();
    storeState(c, "pc", () => {
      c.get(target);
      loadState(c, "pcBase");
      c.op("i64.sub");
    });
    leave(Exit.Fuel, exit);
    c.end();
  };

  targetFromState();
  const exit = c.block();
  const trap = c.block();
  const ecall = c.block();
  const leaveFast = c.block();
  const outOfFuel = c.block();
  const stopped = observe === undefined ? undefined : c.block();
  const hot = translated ? c.block() : undefined;
  const handlerLocal = translated ? c.local("i32") : -1;
  /** Counts `amount` (0 or 1) transfers to the record at ip. */
  const heat = (amount: () => void): void => {
    if (hot === undefined) return;
    const at = c.local("i32");
    const sum = c.local("i32");
    c.get(ip);
    c.i32(3);
    c.op("i32.shr_u");
    c.i32(2 * (HEAT_ENTRIES - 1));
    c.op("i32.and");
    c.tee(at);
    c.get(at);
    c.memory("i32.load16_u", HEAT);
    amount();
    c.op("i32.add");
    c.tee(sum);
    c.memory("i32.store16", HEAT);
    c.get(sum);
    c.i32(0);
    c.memory("i32.load", TRANSLATION.heatLimit);
    c.op("i32.eq");
    c.if();
    c.get(at);
    c.i32(0);
    c.memory("i32.store16", HEAT);
    c.br(hot);
    c.end();
    c.release("i32", at);
    c.release("i32", sum);
  };
  const enter = c.loop();

  // ---- find the records of `target`
  const ready = c.block();
  const slow = c.block();
  c.get(target);
  loadState(c, "codeLo");
  c.op("i64.sub");
  loadState(c, "codeSpan");
  c.op("i64.ge_u");
  c.brIf(slow);
  c.get(target);
  c.op("i32.wrap_i64");
  c.tee(ip);
  c.i32(12);
  c.op("i32.shr_u");
  c.i32(2);
  c.op("i32.shl");
  c.memory("i32.load", PAGE_RECORDS);
  c.tee(result);
  c.op("i32.eqz");
  c.brIf(slow);
  storeState(c, "recordBase", () => c.get(result));
  storeState(c, "pagePc", () => {
    c.get(target);
    c.i64(-4096);
    c.op("i64.and");
    loadState(c, "pcBase");
    c.op("i64.sub");
  });
  c.get(result);
  c.get(ip);
  c.i32(4095);
  c.op("i32.and");
  c.i32(3);
  c.op("i32.shl");
  c.op("i32.add");
  c.set(ip);
  c.br(ready);
  c.end(); // slow
  c.get(target);
  c.call(functions.enter);
  c.tee(ip);
  c.op("i32.eqz");
  c.if();
  leave(Exit.Trap, exit);
  c.end();
  c.end(); // ready
  // Where a run begins is not a transfer.
  heat(() => {
    c.get(count);
    c.i64(0);
    c.op("i64.ne");
  });

  const jump = c.block();
  const jumpFree = c.block();
  const jumped = c.block();
  const next = c.loop();
  addCount(1);

  // ---- dispatch
  const { handlers } = table;
  const labels: Label[] = [];
  if (translated) {
    c.get(ip);
    c.memory("i32.load16_u", Record.handler);
    c.set(handlerLocal);
  }
  const again = translated ? c.loop() : undefined;
  const marked = translated ? c.block() : undefined;
  for (let number = handlers.length - 1; number >= 0; number--) labels[number] = c.block();
  if (translated) c.get(handlerLocal);
  else {
    c.get(ip);
    c.memory("i32.load16_u", Record.handler);
  }
  c.brTable(labels, marked ?? labels[Builtin.Illegal]!);
  const frame: Frame = {
    code: c,
    ip,
    count,
    fuel,
    target,
    linkSlot,
    link,
    next,
    trap,
    jump,
    jumpFree,
    jumped,
    ecall,
    outOfFuel,
    leaveFast: general ? undefined : leaveFast,
    checkLoads,
    heat,
    observeAccess: observe?.access,
    functions,
  };
  const announce = (): void => {
    if (observe === undefined) return;
    pushPc();
    c.call(observe.instruction);
    c.brIf(stopped!);
  };
  handlers.forEach((handler, number) => {
    c.end();
    if (handler !== undefined) {
      announce();
      // With an observer nothing is fused: each instruction is announced.
      if ("first" in handler && observe !== undefined) return c.unreachable();
      if (!("first" in handler)) return new Emitter(frame, handler).emit();
      new Emitter(frame, handler.first).emit(true);
      return new Emitter(frame, handler.second).emit();
    }
    switch (number) {
      case Builtin.Decode:
        addCount(-1);
        c.get(ip);
        c.call(functions.decode);
        return c.br(next);
      case Builtin.Cross:
        addCount(-1);
        pushPc();
        loadState(c, "pcBase");
        c.op("i64.add");
        c.set(target);
        return c.br(enter);
      case Builtin.Illegal:
        announce();
        storeState(c, "trapCause", () => c.i32(Cause.IllegalInstruction));
        storeState(c, "trapValue", () => {
          c.get(ip);
          c.memory("i64.load32_u", Record.imm);
        });
        return c.br(trap);
      case Builtin.Outside:
        storeState(c, "trapCause", () => c.i32(Cause.Cheri));
        storeState(c, "trapValue", () => c.i64((CapReg.Pcc << 5) | CapCause.Length));
        return c.br(trap);
      default:
        storeState(c, "trapCause", () => c.i32(Cause.FetchPage));
        storeState(c, "trapValue", () => {
          pushPc();
          loadState(c, "pcBase");
          c.op("i64.add");
          c.i64(2);
          c.op("i64.add");
        });
        return c.br(trap);
    }
  });
  if (again !== undefined) {
    c.end(); // marked
    c.get(handlerLocal);
    c.i32(MARK - 1);
    c.op("i32.and");
    c.set(handlerLocal);
    c.i32(0);
    c.memory("i32.load", TRANSLATION.passMarks);
    c.brIf(again);
    c.i32(0);
    c.memory("i32.load", TRANSLATION.passFirst);
    c.get(count);
    c.i64(1);
    c.op("i64.eq");
    c.op("i32.and");
    c.brIf(again);
    addCount(-1);
    storeState(c, "pc", pushPc);
    leave(TRANSLATED, exit);
    c.end(); // again
  }
  c.end(); // next
  c.unreachable();

  // ---- an intrinsic has set pc
  c.end();
  storeState(c, "jumped", () => c.i32(0));
  targetFromState();
  useFuel(exit);
  loadState(c, "stop");
  c.if();
  leave(AGAIN, exit);
  c.end();
  if (!general) {
    loadState(c, "capRegs");
    c.if();
    leave(AGAIN, exit);
    c.end();
  }
  c.br(enter);

  // ---- jumps to another page, or to an address in a register
  const checked = (): void => {
    c.get(target);
    loadState(c, "jumpLo");
    c.op("i64.sub");
    loadState(c, "jumpSpan");
    c.op("i64.ge_u");
    c.if();
    storeState(c, "trapCause", () => c.i32(Cause.Cheri));
    storeState(c, "trapValue", () => c.i64((CapReg.Pcc << 5) | CapCause.Length));
    c.br(trap);
    c.end();
    c.get(linkSlot);
    c.get(link);
    c.memory("i64.store", 0);
    if (general) {
      storeState(c, "capRegs", () => {
        loadState(c, "capRegs");
        c.i32(1);
        c.get(linkSlot);
        c.i32(3);
        c.op("i32.shr_u");
        c.op("i32.shl");
        c.i32(-1);
        c.op("i32.xor");
        c.op("i32.and");
      });
    }
  };
  c.end();
  checked();
  c.br(enter);
  c.end();
  checked();
  useFuel(exit);
  c.br(enter);
  c.end(); // enter
  c.unreachable();

  // ---- ways out
  const pcFromIp = (): void => storeState(c, "pc", pushPc);
  if (translated) {
    c.end();
    pcFromIp();
    leave(HOT, exit);
  }
  if (stopped !== undefined) {
    c.end();
    pcFromIp();
    addCount(-1);
    leave(Exit.Stopped, exit);
  }
  c.end();
  pcFromIp();
  leave(Exit.Fuel, exit);
  c.end();
  pcFromIp();
  leave(AGAIN, exit);
  c.end();
  pcFromIp();
  addCount(-1); // it raises an exception, so it does not retire
  leave(Exit.Ecall, exit);
  c.end();
  pcFromIp();
  storeState(c, "trapPending", () => c.i32(0));
  addCount(-1);
  c.i32(Exit.Trap);
  c.set(result);
  c.end();
  storeState(c, "instret", () => {
    loadState(c, "instret");
    c.get(count);
    c.op("i64.add");
  });
  storeState(c, "fuel", () => c.get(fuel));
  c.get(result);
  return c;
}

export interface InterpreterModule {
  readonly binary: Uint8Array<ArrayBuffer>;
  readonly table: HandlerTable;
  /** Names of the intrinsics that the module imports. */
  readonly intrinsics: readonly string[];
}

/**
 * Makes the interpreter's module. TypeError when a clause calls an intrinsic that does not exist or uses the
 * intermediate form in a way that the generator does not support.
 */
export function generateInterpreter(table: HandlerTable, intrinsics: IntrinsicTable, options: Variant): InterpreterModule {
  const builder = new ModuleBuilder();
  const type = (params: FunctionType["params"], result: FunctionType["result"]): FunctionType => ({ params, result });
  const decode = builder.import("run", "decode", type(["i32"], "none"));
  const enter = builder.import("run", "enter", type(["i64"], "i32"));
  const fault = builder.import("run", "fault", type(["i64", "i32", "i32"], "none"));
  const changed = builder.import("run", "changed", type(["i32", "i32"], "none"));
  const observe = options.observe
    ? {
        access: builder.import("observe", "access", type(["i32", "i32", "i64"], "none")),
        instruction: builder.import("observe", "instruction", type(["i64"], "i32")),
      }
    : undefined;
  const used = new Map<string, number>();
  const findCalls = (statements: readonly Stmt[]): void => {
    for (const s of statements) {
      if (s.k === "if") {
        findCalls(s.then);
        findCalls(s.else);
      } else if (s.k === "call" && !used.has(s.fn)) {
        const intrinsic = intrinsics[s.fn];
        if (intrinsic === undefined) throw new TypeError(`no intrinsic ${s.fn}`);
        used.set(s.fn, builder.import("intrinsics", s.fn, type(["i32", ...intrinsic.params], intrinsic.result)));
      }
    }
  };
  for (const shape of table.shapes) if (shape !== undefined) findCalls(shape.semantics.statements);

  const dropCodeIndex = builder.declare(type(["i32", "i32"], "none"));
  builder.define(dropCodeIndex, dropCode());
  const loadSlow = builder.declare(type(["i64", "i32"], "i32"));
  builder.define(loadSlow, slowAccess(false, fault, dropCodeIndex, changed));
  const storeSlow = builder.declare(type(["i64", "i32"], "i32"));
  builder.define(storeSlow, slowAccess(true, fault, dropCodeIndex, changed));
  const functions: Functions = { observe, decode, enter, loadSlow, storeSlow, intrinsic: (name) => used.get(name)! };
  for (const general of [false, true]) {
    const index = builder.declare(type(["i32"], "i32"));
    builder.define(index, run(table, functions, options, general));
    builder.export(general ? "runGeneral" : "runFast", index);
  }
  builder.export("dropCode", dropCodeIndex);
  return { binary: builder.finish(GUEST / 0x1_0000), table, intrinsics: [...used.keys()] };
}
