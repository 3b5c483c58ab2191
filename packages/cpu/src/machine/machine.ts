/** A machine: one linear memory with state blocks, page tables, predecoded code, tags and guest memory. */
import type { Capability, MachineOptions, MachinePort, RevokeScope } from "../abi.ts";
import { CapCause, CapReg, Cause, Exit, GRANULE_SIZE, OTYPE_UNSEALED, PAGE_SIZE, Perm, Prot } from "../abi.ts";
import { decodeBounds, flagOf, otypeOf, permsOf } from "../capability/encoding.ts";
import { fromRaw, toRaw } from "../capability/operations.ts";
import type { Raw } from "../capability/raw.ts";
import { SlowAccess } from "../interpreter/emit.ts";
import { AGAIN, type RunExports, type RunImports } from "../interpreter/generate.ts";
import { standardInterpreter, type Interpreter } from "../interpreter/interpreter.ts";
import type { IntrinsicContext } from "../isa/intrinsics.ts";
import { floatIsOff, nextInterrupt, type PrivilegeLevel } from "../isa/status.ts";
import type { FastForm } from "../support/form.ts";
import { TRANSLATION_DEFAULTS, Translator, type TranslatorOptions } from "../translator/translator.ts";
import { engine } from "../wasm/engine.ts";
import { Hart } from "./hart.ts";
import {
  ACTIVE_HART,
  GUEST,
  HART_BYTES,
  HART_USED,
  HARTS,
  MachineField,
  MAX_HARTS,
  MAX_MEMORY_BYTES,
  Own,
  readScr,
  Scr,
  State,
  TAGS,
  writeScr,
  type StateField,
} from "./layout.ts";
import { FloatSwitch } from "./float-switch.ts";
import { GuestMemory } from "./memory.ts";
import { ObservedMemory, observerImports, type Observer } from "./observer.ts";
import { Pages } from "./pages.ts";
import { keyOf, Predecode } from "./predecode.ts";
import { sweepHart, sweepMemory } from "./revoke.ts";

const MIB = 1024 * 1024;
const DEFAULT_MEMORY_BYTES = 64 * MIB;
const MASK64 = 0xffff_ffff_ffff_ffffn;
const PAGE = BigInt(PAGE_SIZE);
/** Fuel for one injected instruction: more than it can use. */
const INJECT_FUEL = 16;
/** What page faults are where there is no paging. */
const ACCESS_FAULTS: ReadonlyMap<number, number> = new Map<number, number>([
  [Cause.FetchPage, Cause.FetchAccess],
  [Cause.LoadPage, Cause.LoadAccess],
  [Cause.StorePage, Cause.StoreAccess],
]);

/** How often the interpreter goes to a place before it is translated. */
const TRANSLATE_AFTER = 10_000;

export class Machine implements MachinePort {
  /** Undefined: everything is interpreted. */
  readonly translator: Translator | undefined;
  readonly memoryBytes: number;
  readonly exports: RunExports;
  /** The intrinsics of this machine by name, each in its fastest form: what generated code imports. */
  readonly intrinsics: Readonly<Record<string, unknown>>;
  instructions = 0;
  /** See {@link HartPort.trapAddress}, of the hart that ran last. */
  trapAddress = 0n;
  readonly #options: Required<Omit<MachineOptions, "translations">>;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #pages: Pages;
  readonly #predecode: Predecode;
  readonly #memory: GuestMemory;
  #active: Hart | undefined;
  /** On machines where the floating-point unit can be switched off. */
  readonly #float: FloatSwitch | undefined;
  /** The instruction that {@link inject} runs: fetched, and then done when the next fetch asks. */
  #injected: { readonly word: number; readonly fetchable: boolean; fetched: boolean; done: boolean } | undefined;
  #nextHart = 0;
  readonly #freeHarts: number[] = [];

  constructor(options: MachineOptions, interpreter: Interpreter, observer?: Observer, checks: Partial<TranslatorOptions["checks"]> = {}) {
    const memoryBytes = options.memoryBytes ?? DEFAULT_MEMORY_BYTES;
    if (!(memoryBytes > 0 && memoryBytes <= MAX_MEMORY_BYTES && memoryBytes % MIB === 0)) {
      throw new RangeError(`memoryBytes must be a multiple of 1 MiB up to ${MAX_MEMORY_BYTES}, not ${memoryBytes}`);
    }
    this.memoryBytes = memoryBytes;
    this.#options = {
      memoryBytes,
      relocation: options.relocation ?? true,
      tagClearing: options.tagClearing ?? true,
      checkLoads: options.checkLoads ?? true,
      privileged: options.privileged ?? false,
      engine: options.engine ?? "interpreter",
      translateAfter: options.translateAfter ?? TRANSLATE_AFTER,
      specialiseAfter: options.engine === "eager" ? 0 : (options.specialiseAfter ?? TRANSLATION_DEFAULTS.specialiseAfter),
    };
    // All of it at once: views stay valid for ever. 16 bytes more, so that decoding at the end reads a whole word.
    const wasmPages = Math.ceil((GUEST + memoryBytes + 16) / 0x1_0000);
    const memory = new engine.Memory({ initial: wasmPages, maximum: wasmPages });
    const buffer = memory.buffer;
    this.#bytes = new Uint8Array(buffer);
    this.#view = new DataView(buffer);
    this.#pages = new Pages(buffer, memoryBytes);
    if (this.#options.privileged) this.#float = new FloatSwitch(interpreter.decoder);
    const language = { decoder: this.#float ?? interpreter.decoder, table: interpreter.table };
    this.#predecode = new Predecode(language, buffer, this.#pages, observer === undefined);
    this.#memory = new GuestMemory(buffer, memoryBytes, this.#pages, this.#predecode);

    const context: IntrinsicContext = {
      view: this.#view,
      memory: observer === undefined ? this.#memory : new ObservedMemory(this.#memory, observer),
      relocation: this.#options.relocation,
      tagClearing: this.#options.tagClearing,
      privileged: this.#options.privileged,
      hartId: () => this.#active!.id,
      interrupted: (hart) => this.#interrupted(hart),
      trap: (hart, cause, value, address) => this.#trap(hart, cause, BigInt(value), address),
      setDdc: (hart, cap) => this.setDdc(hart, cap),
      jumpTo: (hart, pcc) => {
        this.setPcc(hart, pcc);
        this.#set64(hart, "pc", pcc.address - this.#get64(hart, "pcBase"));
        this.#view.setInt32(hart + State.jumped, 1, true);
      },
    };
    const { module, intrinsics } = interpreter.compiled({
      checkLoads: this.#options.checkLoads,
      observe: observer !== undefined,
      translated: this.#options.engine !== "interpreter" && observer === undefined,
    });
    const run: RunImports = {
      decode: (ip) => this.#predecode.decodeRun(ip >>> 0),
      enter: (target) => this.#enter(BigInt.asUintN(64, target)),
      fault: (absolute, access, store) => this.#fault(BigInt.asUintN(64, absolute), access, store !== 0),
      changed: (address, size) => this.translator?.changed(address >>> 0, size),
    };
    const slow = Object.fromEntries(Object.entries(interpreter.intrinsics).map(([name, { make }]) => [name, make(context)]));
    this.#view.setBigUint64(MachineField.memoryBytes, BigInt(memoryBytes), true);
    this.#view.setBigUint64(MachineField.windowSkip, this.#skip, true);
    this.#view.setBigUint64(MachineField.userOnly, this.#options.privileged ? 0n : 1n, true);
    // An observer sees the accesses of the forms in TypeScript only.
    const fast: Readonly<Record<string, unknown>> =
      observer === undefined
        ? new engine.Instance(interpreter.support, { slow: { ...slow, ...run, now: () => performance.now() }, env: { memory } }).exports
        : { ...run };
    const isRight = ({ relocation, tagClearing, unprivileged }: FastForm): boolean =>
      (relocation === undefined || this.#options.relocation) &&
      (tagClearing === undefined || this.#options.tagClearing) &&
      (unprivileged === undefined || !this.#options.privileged);
    this.intrinsics = Object.fromEntries(
      Object.entries(interpreter.intrinsics).map(([name, { fast: form }]) => [
        name,
        form !== undefined && isRight(form) && name in fast ? fast[name] : slow[name],
      ]),
    );
    const instance = new engine.Instance(module, {
      run: { ...run, enter: fast.enter },
      observe: { ...observerImports(observer ?? {}) },
      intrinsics: Object.fromEntries(intrinsics.map((name) => [name, this.intrinsics[name]])),
      env: { memory },
    });
    this.exports = instance.exports as unknown as RunExports;
    if (this.#options.engine !== "interpreter" && observer === undefined) {
      this.translator = new Translator(memory, this.#pages, language, this.intrinsics, {
        ...TRANSLATION_DEFAULTS,
        store: options.translations,
        status: !this.#options.privileged,
        sparing: this.#options.engine === "translator" && options.translateAfter === undefined,
        after: this.#options.engine === "eager" ? 0 : this.#options.translateAfter,
        specialiseAfter: this.#options.specialiseAfter,
        checks: { ...TRANSLATION_DEFAULTS.checks, loads: this.#options.checkLoads, ...checks },
      });
      this.#memory.translator = this.translator;
    }
  }
  /** Bytes at the start of DDC's window that generated code must not take the quick way to: where loads do not look at pages, the first page, which is never mapped. */
  get #skip(): bigint {
    return this.#options.checkLoads ? 0n : PAGE;
  }

  /** The machine has machine and supervisor mode. */
  get privileged(): boolean {
    return this.#options.privileged;
  }
  /** The whole linear memory, for trusted code of this package. */
  get view(): DataView {
    return this.#view;
  }

  // ---- harts
  createHart(): Hart {
    const id = this.#freeHarts.pop() ?? this.#nextHart++;
    if (id >= MAX_HARTS) throw new RangeError(`a machine has at most ${MAX_HARTS} harts`);
    const base = HARTS + id * HART_BYTES;
    this.#bytes.fill(0, base, base + HART_USED);
    this.#set64(base, "reservation", -1n);
    return new Hart(this, id, base, this.#view);
  }
  releaseHart(hart: Hart): void {
    if (this.#active === hart) this.#active = undefined;
    this.#freeHarts.push(hart.id);
  }
  /** Makes a hart the one whose registers generated code sees. The reservation is lost when another one ran. */
  activate(hart: Hart): void {
    if (this.#active === hart) return;
    this.#park();
    this.#bytes.copyWithin(ACTIVE_HART, hart.base, hart.base + HART_USED);
    hart.base = ACTIVE_HART;
    this.#active = hart;
    this.#set64(ACTIVE_HART, "reservation", -1n);
    this.#followFloat();
  }
  #park(): void {
    const hart = this.#active;
    if (hart === undefined) return;
    const base = HARTS + hart.id * HART_BYTES;
    this.#bytes.copyWithin(base, ACTIVE_HART, ACTIVE_HART + HART_USED);
    hart.base = base;
  }

  /**
   * Runs the one instruction `word` (as {@link Decoder.decode} takes it) at the active hart's pc, whatever memory holds there,
   * with all of PCC's checks and none of the page's; unless `fetchable`, the page's fails. {@link Exit.Fuel} when it is done; otherwise as a run comes back. Direct
   * instruction injection of RVFI-DII.
   */
  inject(word: number, fetchable: boolean): number {
    const hart = ACTIVE_HART;
    const injected = { word, fetchable, fetched: false, done: false };
    this.#injected = injected;
    const pcc = (): void => this.setPcc(hart, readScr(this.#view, hart, Scr.Pcc));
    pcc();
    try {
      const before = this.#view.getBigInt64(hart + State.instret, true);
      const fast = this.#view.getInt32(hart + State.capRegs, true) === 0;
      const code = fast ? this.exports.runFast(INJECT_FUEL) : this.exports.runGeneral(INJECT_FUEL);
      this.instructions += Number(this.#view.getBigInt64(hart + State.instret, true) - before);
      if (injected.done || code === AGAIN) return Exit.Fuel;
      if (code === Exit.Trap) this.completeTrap(hart);
      return code;
    } finally {
      this.#injected = undefined;
      pcc();
    }
  }

  #get64(hart: number, field: StateField): bigint {
    return this.#view.getBigUint64(hart + State[field], true);
  }
  #set64(hart: number, field: StateField, value: bigint): void {
    this.#view.setBigUint64(hart + State[field], BigInt.asUintN(64, value), true);
  }

  /** DDC and the windows that accesses are compared with. */
  setDdc(hart: number, cap: Raw): void {
    writeScr(this.#view, hart, Scr.Ddc, cap);
    const { base, top } = decodeBounds(cap.hi, cap.address);
    const usable = cap.tag && otypeOf(cap.hi) === OTYPE_UNSEALED;
    const end = top < BigInt(this.memoryBytes) ? top : BigInt(this.memoryBytes);
    const length = usable && end > base ? end - base : 0n;
    const perms = permsOf(cap.hi);
    const load = (perms & Perm.Load) !== 0 ? length : 0n;
    const store = (perms & Perm.Store) !== 0 ? length : 0n;
    const skip = this.#skip;
    const span = (exact: bigint): bigint => (exact > skip + 7n ? exact - skip - 7n : 0n);
    this.#set64(hart, "ddcAddress", this.#options.relocation ? cap.address : 0n);
    this.#set64(hart, "dataBase", base);
    this.#set64(hart, "loadLength", load);
    this.#set64(hart, "storeLength", store);
    this.#set64(hart, "windowLo", base + skip);
    this.#set64(hart, "loadSpan", span(load));
    this.#set64(hart, "storeSpan", span(store));
  }

  /** PCC and the pages that it allows to execute as a whole. */
  setPcc(hart: number, cap: Raw): void {
    if (hart === ACTIVE_HART) this.#followFloat();
    writeScr(this.#view, hart, Scr.Pcc, cap);
    const { base, top } = decodeBounds(cap.hi, cap.address);
    // An injected instruction is followed by a fetch that must ask.
    const singly = this.#injected !== undefined;
    const usable = cap.tag && otypeOf(cap.hi) === OTYPE_UNSEALED && (permsOf(cap.hi) & Perm.Execute) !== 0 && (base & 1n) === 0n && !singly;
    const key = usable ? 1 + flagOf(cap.hi) : 0;
    const lo = ((base + PAGE - 1n) / PAGE) * PAGE;
    // A page's last instruction may reach 2 bytes into the next.
    const reach = top - 2n;
    const end = reach < BigInt(this.memoryBytes) ? reach : BigInt(this.memoryBytes);
    const hi = end > 0n ? (end / PAGE) * PAGE : 0n;
    this.#set64(hart, "pcBase", this.#options.relocation ? base : 0n);
    this.#set64(hart, "codeLo", lo);
    this.#set64(hart, "codeSpan", key === 1 && hi > lo ? hi - lo : 0n);
    this.#view.setInt32(hart + State.codeKey, key, true);
    this.#view.setInt32(hart + State.singly, singly ? 1 : 0, true);
    this.#set64(hart, "jumpLo", base);
    this.#set64(hart, "jumpSpan", top - base >= 2n ? top - base - 1n : 0n);
  }

  /** What was decoded and translated is valid for one state of the active hart's floating-point unit: on or off. */
  #followFloat(): void {
    const float = this.#float;
    if (float === undefined) return;
    const off = floatIsOff(this.#get64(ACTIVE_HART, "mstatus"));
    if (off === float.off) return;
    float.off = off;
    this.#predecode.dropAll();
    this.translator?.flush();
  }
  /** The 4 bytes at an absolute address if they stand in one page that may be executed, otherwise 0: no instruction. */
  fetch(address: number): number {
    if ((address & (PAGE_SIZE - 1)) > PAGE_SIZE - 4 || (this.#pages.own(Math.floor(address / PAGE_SIZE)) & Own.Execute) === 0) return 0;
    return this.#view.getInt32(GUEST + address, true);
  }
  /** See {@link IntrinsicContext.interrupted}. */
  #interrupted(hart: number): boolean {
    const waits =
      nextInterrupt(
        this.#get64(hart, "mstatus"),
        this.#view.getInt32(hart + State.privilege, true) as PrivilegeLevel,
        this.#get64(hart, "mip") & this.#get64(hart, "mie"),
        this.#get64(hart, "mideleg"),
      ) !== undefined;
    this.#view.setInt32(hart + State.stop, waits ? 1 : 0, true);
    if (waits) this.#active!.requestStop();
    return waits;
  }
  /**
   * Completes the exception that a run came back with. An illegal instruction's value is the instruction: generated code knows it only where it does not
   * decode. Without paging there are no page faults.
   */
  completeTrap(hart: number): void {
    const view = this.#view;
    const cause = view.getInt32(hart + State.trapCause, true);
    if (cause === Cause.IllegalInstruction && this.#get64(hart, "trapValue") === 0n) {
      const address = Number((this.#get64(hart, "pc") + this.#get64(hart, "pcBase")) & MASK64);
      const word = this.#injected?.word ?? view.getInt32(GUEST + address, true);
      this.#set64(hart, "trapValue", BigInt((word & 3) === 3 ? word >>> 0 : word & 0xffff));
    }
    if (this.#options.privileged) view.setInt32(hart + State.trapCause, ACCESS_FAULTS.get(cause) ?? cause, true);
  }

  // ---- what generated code asks for
  #trap(hart: number, cause: number, value: bigint, address: bigint = value): void {
    const view = this.#view;
    this.trapAddress = address;
    view.setInt32(hart + State.trapPending, 1, true);
    view.setInt32(hart + State.trapCause, cause, true);
    this.#set64(hart, "trapValue", value);
  }

  /** See {@link RunImports.enter}. Order of the checks: CHERI ISAv9, tag, seal, execute, base, length of each parcel; then the page. */
  #enter(target: bigint): number {
    const hart = ACTIVE_HART;
    const pcc = readScr(this.#view, hart, Scr.Pcc);
    const { base, top } = decodeBounds(pcc.hi, pcc.address);
    const pc = (target - this.#get64(hart, "pcBase")) & MASK64;
    const fault = (cause: number, value: bigint): number => {
      this.#trap(hart, cause, value);
      this.#view.setInt32(hart + State.trapPending, 0, true);
      this.#set64(hart, "pc", pc);
      return 0;
    };
    const violation = (cause: number): number => fault(Cause.Cheri, BigInt((CapReg.Pcc << 5) | cause));
    // The second half of an instruction at the very end of the address space is at its beginning.
    const inside = (address: bigint): boolean => (address & MASK64) >= base && (address & MASK64) + 2n <= top;
    const executable = (address: bigint): boolean =>
      address < BigInt(this.memoryBytes) && (this.#pages.own(Number(address) >>> 12) & Own.Execute) !== 0;

    const injected = this.#injected;
    if (injected?.fetched === true) {
      // The fetch after it: its checks belong to the instruction that comes then.
      injected.done = true;
      this.#set64(hart, "pc", pc);
      return 0;
    }
    if (!pcc.tag) return violation(CapCause.Tag);
    if (otypeOf(pcc.hi) !== OTYPE_UNSEALED) return violation(CapCause.Seal);
    if ((permsOf(pcc.hi) & Perm.Execute) === 0) return violation(CapCause.PermitExecute);
    if (this.#options.relocation && (base & 1n) !== 0n) return violation(CapCause.UnalignedBase);
    if (!inside(target)) return violation(CapCause.Length);
    if (injected !== undefined) {
      if (!injected.fetchable) return fault(Cause.FetchPage, target);
      if ((injected.word & 3) === 3 && !inside(target + 2n)) return violation(CapCause.Length);
      injected.fetched = true;
      const record = this.#predecode.decodeWord(injected.word, flagOf(pcc.hi) === 0 ? 0 : 1);
      this.#view.setInt32(hart + State.recordBase, record, true);
      this.#set64(hart, "pagePc", pc);
      return record;
    }
    if (!executable(target)) return fault(Cause.FetchPage, target);
    const address = Number(target);
    const start = address - (address % PAGE_SIZE);
    const key = this.#view.getInt32(hart + State.codeKey, true);
    if (key !== 0) {
      const block = this.#predecode.block(start / PAGE_SIZE, keyOf(key, start, base, top));
      this.#view.setInt32(hart + State.recordBase, block, true);
      this.#set64(hart, "pagePc", BigInt(start) - this.#get64(hart, "pcBase"));
      return block + (address - start) * 8;
    }
    if (this.#predecode.isLong(address)) {
      if (!inside(target + 2n)) return violation(CapCause.Length);
      if (!executable(target + 2n)) return fault(Cause.FetchPage, target + 2n);
    }
    const record = this.#predecode.decodeSingle(address, flagOf(pcc.hi) === 0 ? 0 : 1);
    this.#view.setInt32(hart + State.recordBase, record, true);
    this.#set64(hart, "pagePc", pc);
    return record;
  }

  /** See {@link RunImports.fault}. Order: tag, seal, load, store permission, length of DDC; alignment; page. */
  #fault(address: bigint, access: number, store: boolean): void {
    const hart = ACTIVE_HART;
    const size = BigInt(access & SlowAccess.SizeMask);
    const load = !store || (access & SlowAccess.ForStore) !== 0;
    const ddc = readScr(this.#view, hart, Scr.Ddc);
    const perms = permsOf(ddc.hi);
    const { base, top } = decodeBounds(ddc.hi, ddc.address);
    const violation = (cause: number): void => this.#trap(hart, Cause.Cheri, BigInt((CapReg.Ddc << 5) | cause), address);
    if (!ddc.tag) return violation(CapCause.Tag);
    if (otypeOf(ddc.hi) !== OTYPE_UNSEALED) return violation(CapCause.Seal);
    if (load && (perms & Perm.Load) === 0) return violation(CapCause.PermitLoad);
    if (store && (perms & Perm.Store) === 0) return violation(CapCause.PermitStore);
    if (address < base || address + size > top) return violation(CapCause.Length);
    if ((access & SlowAccess.Aligned) !== 0 && (address & (size - 1n)) !== 0n) {
      return this.#trap(hart, store ? Cause.StoreMisaligned : Cause.LoadMisaligned, address);
    }
    return this.#trap(hart, store ? Cause.StorePage : Cause.LoadPage, address);
  }

  // ---- memory, for trusted code
  #check(address: number, length: number): void {
    if (!(Number.isInteger(address) && Number.isInteger(length) && address >= 0 && length >= 0 && address + length <= this.memoryBytes)) {
      throw new RangeError(`[${address}, ${address} + ${length}) is outside the memory of ${this.memoryBytes} bytes`);
    }
  }
  #checkPages(address: number, length: number): void {
    this.#check(address, length);
    if (address % PAGE_SIZE !== 0 || length % PAGE_SIZE !== 0) throw new RangeError(`${address}, ${length}: not multiples of a page`);
  }
  #checkGranule(address: number): void {
    this.#check(address, GRANULE_SIZE);
    if (address % GRANULE_SIZE !== 0) throw new RangeError(`${address} is not a multiple of ${GRANULE_SIZE}`);
  }
  readBytes(address: number, length: number): Uint8Array {
    this.#check(address, length);
    return this.#bytes.slice(GUEST + address, GUEST + address + length);
  }
  lendBytes(address: number, length: number): Uint8Array {
    this.#check(address, length);
    return this.#bytes.subarray(GUEST + address, GUEST + address + length);
  }
  readU8(address: number): number {
    this.#check(address, 1);
    return this.#bytes[GUEST + address]!;
  }
  readU32(address: number): number {
    this.#check(address, 4);
    return this.#view.getUint32(GUEST + address, true);
  }
  readU64(address: number): number {
    this.#check(address, 8);
    return this.#view.getUint32(GUEST + address + 4, true) * 4_294_967_296 + this.#view.getUint32(GUEST + address, true);
  }
  /** What every write of trusted code does besides writing. */
  #written(address: number, length: number): void {
    this.#memory.changed(address, length);
    this.#view.setInt32(ACTIVE_HART + State.reservation, -1, true);
    this.#view.setInt32(ACTIVE_HART + State.reservation + 4, -1, true);
  }
  storeRange(address: number, bytes: Uint8Array): void {
    this.#check(address, bytes.length);
    this.#bytes.set(bytes, GUEST + address);
    this.#written(address, bytes.length);
  }
  zeroRange(address: number, length: number): void {
    this.#check(address, length);
    this.#bytes.fill(0, GUEST + address, GUEST + address + length);
    this.#written(address, length);
  }
  copyRange(from: number, to: number, length: number): void {
    this.#check(from, length);
    this.#check(to, length);
    if (from < to + length && to < from + length && length > 0) throw new RangeError("the ranges overlap");
    this.#bytes.copyWithin(GUEST + to, GUEST + from, GUEST + from + length);
    this.#written(to, length);
  }
  storeCapability(address: number, capability: Capability): void {
    this.#checkGranule(address);
    this.#memory.storeCapability(BigInt(address), toRaw(capability));
    this.#set64(ACTIVE_HART, "reservation", -1n);
  }
  loadCapability(address: number): Capability {
    this.#checkGranule(address);
    return fromRaw(this.#memory.loadCapability(BigInt(address)));
  }
  protect(address: number, length: number, prot: number): void {
    this.#checkPages(address, length);
    const first = address / PAGE_SIZE;
    const end = (address + length) / PAGE_SIZE;
    // Whether an instruction at the end of the page before can be fetched may have changed too.
    if ((prot & Prot.Execute) !== 0) this.#predecode.dropRange(Math.max(0, address - 2), 2);
    else if (this.#pages.some(first, end, Own.Code | Own.Translated)) {
      this.#predecode.dropRange(address, length);
      this.translator?.unlinkRange(address, length);
    }
    this.#pages.protect(first, end, prot);
  }
  allows(address: number, length: number, prot: number): boolean {
    this.#check(address, length);
    return this.#pages.allows(address, length, prot);
  }
  /** See {@link MachinePort.revoke}. */
  revoke(address: number, length: number, within?: RevokeScope): number {
    this.#check(address, length);
    const range = { from: BigInt(address), to: BigInt(address + length) };
    let cleared = 0;
    const ranges = within?.ranges ?? [{ base: 0, length: this.memoryBytes }];
    for (const { base, length: bytes } of ranges) {
      this.#check(base, bytes);
      cleared += sweepMemory(this.#view, this.#pages, base, base + bytes, range);
    }
    const free = new Set(this.#freeHarts);
    const only = within === undefined ? undefined : new Set(Array.from(within.harts, ({ id }) => id));
    for (let id = 0; id < this.#nextHart; id++) {
      if (free.has(id) || only?.has(id) === false) continue;
      const active = this.#active?.id === id;
      cleared += sweepHart(this.#view, active ? ACTIVE_HART : HARTS + id * HART_BYTES, range, this);
    }
    return cleared;
  }
  /** Number of granules with a tag in a range; for tests and sweeps. */
  countTags(address: number, length: number): number {
    this.#check(address, length);
    const first = Math.floor(address / GRANULE_SIZE);
    const end = Math.ceil((address + length) / GRANULE_SIZE);
    let count = 0;
    for (let granule = first; granule < end; granule++) count += this.#bytes[TAGS + granule]!;
    return count;
  }
}

/**
 * Makes a machine. RangeError when its memory is not a multiple of 1 MiB up to 3.5 GiB. `interpreter` is for tests that
 * change instructions. `observer` watches what guest code does. `checks` is for measurements: it leaves
 * checks of translated code out, and with them the isolation.
 */
export function createMachine(
  options: MachineOptions = {},
  interpreter: Interpreter = standardInterpreter(),
  observer?: Observer,
  checks?: Partial<TranslatorOptions["checks"]>,
): Machine {
  return new Machine(options, interpreter, observer, checks);
}
