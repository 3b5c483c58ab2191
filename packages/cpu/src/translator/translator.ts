/**
 * Translates hot code to WebAssembly and links it. A unit of translations belongs to code, not to a place: any process that has the
 * same bytes at the same pcs runs it, after they have been compared once. Which function stands for a pc of a process is in slots by absolute address
 * (layout.ts), so that a jump from shared code to a page that differs reaches each process's own.
 */
import { PAGE_SIZE } from "../abi.ts";
import type { Interpreter } from "../interpreter/interpreter.ts";
import { createDecoded, type Decoder } from "../isa/decode.ts";
import { GUEST, HEAT, HEAT_ENTRIES, Own, State, TRANSLATION } from "../machine/layout.ts";
import type { Pages } from "../machine/pages.ts";
import { optimised } from "../wasm/eager.ts";
import { engine, type WasmMemory, type WasmModule, type WasmTable } from "../wasm/engine.ts";
import { RESERVE } from "./emit.ts";
import { entryModule, type EntryExports } from "./entry.ts";
import { Instructions } from "./instructions.ts";
import type { Place } from "./emit-instruction.ts";
import { SLACK } from "./checks.ts";
import { Links, type Linkable } from "./links.ts";
import { SlotPool } from "./slot-pool.ts";
import { targetsOf } from "./slots.ts";
import { NOT_TRANSLATED, TO_INTERPRETER, UNUSABLE } from "./results.ts";
import { Kind, shapesOf } from "./shapes.ts";
import { variantOf, type UnitCode, type Units, type UnitStore } from "./store.ts";
import { translate, type Range, type Size, type Unit, type UnitOptions } from "./unit.ts";

export interface TranslatorOptions extends UnitOptions {
  /** Where units of earlier machines are, and where this one's go. */
  readonly store?: UnitStore | undefined;
  /** How often the interpreter goes to a place before it is translated; 0: what can be translated is never interpreted. */
  readonly after: number;
  /** The floating-point status and the time can always be read: there is no privileged state that forbids it. */
  readonly status: boolean;
  /** Bytes of WebAssembly that are kept, each unit with {@link UNIT_BYTES} more; when there are more, all translations are dropped. */
  readonly capacity: number;
  /** Not more than a share of the time is spent on translating. */
  readonly sparing: boolean;
  /** Fuel that code uses, found by looking at what runs from time to time, before it is translated again, larger and for its place alone; 0: at once. */
  readonly specialiseAfter: number;
  readonly specialised: Size;
}

export const TRANSLATION_DEFAULTS: Omit<TranslatorOptions, "after" | "status" | "sparing"> = {
  limits: { instructions: 400, blocks: 120, inline: 60, inlineTotal: 600, inlineDepth: 3, unrolled: 200, hammock: 3 },
  batch: 250,
  specialiseAfter: 2_000_000,
  specialised: {
    limits: { instructions: 1500, blocks: 300, inline: 100, inlineTotal: 1500, inlineDepth: 3, unrolled: 400, hammock: 3 },
    batch: 1500,
  },
  capacity: 128 * 1024 * 1024,
  checks: { merge: true, bounds: true, pages: true, loads: true, exact: new Set() },
};

/** Facts about a translator's work so far. */
export interface TranslatorStats {
  /** Times that translated code came back because fuel was used up, to a place without translation, and to an instruction for the interpreter. */
  outOfFuel: number;
  missed: number;
  left: number;
  units: number;
  /** Units that came from the store; they are not counted among the others. */
  stored: number;
  /** Units among them that were made for one place. */
  specialised: number;
  instructions: number;
  bytes: number;
  /** Milliseconds spent on translating, compiling and instantiating. */
  milliseconds: number;
  links: number;
  unlinks: number;
  flushes: number;
}

/** A unit of this machine. */
interface Loaded extends Linkable {
  /** Fuel that was used before each time that it was found running. */
  fuel: number;
}
/** A unit that other threads compile, and when they probably have. */
interface Coming {
  readonly unit: Unit;
  readonly module: WasmModule;
  readonly at: number;
  /** How many places were known then where accesses are checked exactly. */
  readonly exact: number;
}
/** A process's window: where its code and data are. */
interface Context {
  readonly base: number;
  readonly span: number;
  readonly dataBase: number;
  readonly dataLength: number;
  /** Its data changed while code was the same: no unit is made for it alone. */
  readonly varies: boolean;
}

/** Visits after which a place is looked at: there may be a translation of it already. */
const LOOK = 250;
/**
 * Fuel between two looks at what is running. V8 replaces a running function only when it is called again, so it is little at first (16,384 transfers are about
 * 0.1 ms); but frames of guest calls are lost at each, so it doubles, up to {@link MOST_SAMPLE}, after {@link STEADY} looks without a new unit.
 */
const SAMPLE = 16_384;
const MOST_SAMPLE = 1 << 20;
const STEADY = 48;
const MOST_VISITED = 20_000;
/** How often an access leaves to the interpreter before its unit is translated again, how often others did that are seen to then, and how many places are kept in mind. */
const LEAVES = 4000;
const LEAVES_OF_OTHERS = 50;
const MOST_LEAVES = 10_000;
/** What the engine keeps for a module however small it is, measured. */
const UNIT_BYTES = 24 * 1024;
/** Units that are kept for one pc: more only hold code that is changed again and again. Those used longest ago go first. */
const VERSIONS = 16;
/** Places that are remembered because nothing can be translated there. */
const MAX_REFUSED = 4096;
/** Share of the time that translating may take, and milliseconds of it that can be saved up. */
const SHARE = 0.5;
const MOST_SAVED = 60;
/** What a transfer from translated code counts, beside 1 for one of the interpreter. */
const MISS_WEIGHT = 8;
/** More than any count of {@link HEAT}: nothing gets hot. */
const NEVER = 0x2_0000;
/** Milliseconds after which a unit whose process does not run is given up. */
const LONGEST_WAIT = 2000;
const LIMIT_SLACK = BigInt(SLACK + PAGE_SIZE);

export class Translator {
  readonly stats: TranslatorStats = {
    outOfFuel: 0,
    missed: 0,
    left: 0,
    units: 0,
    stored: 0,
    specialised: 0,
    instructions: 0,
    bytes: 0,
    milliseconds: 0,
    links: 0,
    unlinks: 0,
    flushes: 0,
  };
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly #memory: WasmMemory;
  readonly #pages: Pages;
  readonly #pool: SlotPool;
  readonly #links: Links;
  readonly #options: TranslatorOptions;
  readonly #intrinsics: Readonly<Record<string, unknown>>;
  readonly #decoder: Decoder;
  readonly #code: Instructions;
  readonly #table: WasmTable;
  readonly #entry: EntryExports;
  readonly #freeSlots: number[] = [];
  #nextSlot = 1;
  /** Units by the pcs where they can be entered. */
  readonly #units: Map<number, Loaded[]> = new Map();
  readonly #all: Set<Loaded> = new Set();
  readonly #stored: Units | undefined;
  readonly #contexts: Map<number, Context> = new Map();
  #context: Context = { base: 0, span: 0, dataBase: 0, dataLength: 0, varies: false };
  readonly #leastSample: number;
  #sample: number;
  #toSample: number;
  #steady = 0;
  #coming: Coming[] = [];
  /** How often code left at a pc, and where accesses are checked exactly since. */
  readonly #leaves: Map<number, number> = new Map();
  readonly #exact: Set<number> = new Set();
  #exactSorted: Float64Array = new Float64Array(0);
  /** Milliseconds that translating may take, and when they were counted. */
  #allowance = MOST_SAVED;
  #allowedAt: number = performance.now();
  /** Visits of places that are not translated, by absolute address. */
  readonly #visits: Map<number, number> = new Map();
  /** Absolute addresses where nothing can be translated, with what stood there. */
  readonly #refused: Map<number, number> = new Map();

  constructor(
    memory: WasmMemory,
    pages: Pages,
    interpreter: Pick<Interpreter, "decoder">,
    intrinsics: Readonly<Record<string, unknown>>,
    options: TranslatorOptions,
  ) {
    const { buffer } = memory;
    this.#memory = memory;
    this.#view = new DataView(buffer);
    this.#bytes = new Uint8Array(buffer);
    this.#pages = pages;
    this.#pool = new SlotPool(buffer, pages.count);
    this.#links = new Links(pages, this.#pool, this.stats);
    this.#sample = this.#toSample = this.#leastSample = Math.min(SAMPLE, options.specialiseAfter || SAMPLE);
    this.#options = { ...options, checks: { ...options.checks, exact: this.#exact } };
    this.#intrinsics = intrinsics;
    this.#stored = options.store?.open(variantOf(options), (name) => Object.hasOwn(intrinsics, name));
    this.#decoder = interpreter.decoder;
    this.#code = new Instructions(interpreter.decoder, shapesOf(interpreter.decoder.clauses), options.status);
    this.#table = new engine.Table({ initial: 1024, element: "anyfunc" });
    const instance = new engine.Instance(entry(), { env: { memory, table: this.#table } });
    this.#entry = instance.exports as unknown as EntryExports;
    this.#table.set(0, this.#entry.miss);
    this.observe(true);
  }

  /** Visits between two looks at a place. */
  get #step(): number {
    return Math.max(1, Math.min(LOOK, this.#options.after));
  }
  /** Whatever can be translated is, before it runs. */
  get eager(): boolean {
    return this.#options.after === 0;
  }
  /** Most fuel of the next run of translated code: then it is looked at what runs. */
  get slice(): number {
    return Math.max(1, this.#toSample) + RESERVE;
  }
  /** Runs translated code from pc of the active hart on. */
  run(fuel: number): number {
    const code = this.#entry.enter(fuel);
    if (code === TO_INTERPRETER) this.stats.left++;
    else if (code === NOT_TRANSLATED) this.stats.missed++;
    else if (code !== UNUSABLE) this.stats.outOfFuel++;
    return code;
  }
  /** The WebAssembly of a unit that has the code at a pc, whichever process it was made for; undefined if there is none. */
  binaryAt(pc: number): Uint8Array | undefined {
    for (const unit of this.#all) if (unit.ranges.some(({ from, to }) => from <= pc && pc < to)) return unit.binary;
    return undefined;
  }
  /** Whether the interpreter stops at what is translated and counts what may be; otherwise it runs past it. */
  observe(on: boolean): void {
    this.#view.setInt32(TRANSLATION.passMarks, on ? 0 : 1, true);
    this.#view.setInt32(TRANSLATION.heatLimit, on ? this.#step : NEVER, true);
  }
  /** The interpreter does its first instruction even where that is translated. */
  passFirst(on: boolean): void {
    this.#view.setInt32(TRANSLATION.passFirst, on ? 1 : 0, true);
  }

  /**
   * Code and data of the hart whose state is at `hart` and that is about to run: its pc 0, pcs that may be executed, what DDC gives access to. Windows of code that overlap
   * others replace them, so that a slot has one meaning.
   */
  select(hart: number): void {
    const base = this.#number(hart + State.pcBase);
    const span = this.#number(hart + State.codeSpan);
    const dataBase = this.#number(hart + State.dataBase);
    const dataLength = this.#number(hart + State.loadLength);
    const now = this.#context;
    if (base === now.base && span === now.span && dataBase === now.dataBase && dataLength === now.dataLength) return;
    let context = this.#contexts.get(base);
    if (context === undefined || context.span !== span || context.dataBase !== dataBase || context.dataLength !== dataLength) {
      let varies = false;
      for (const other of this.#contexts.values()) {
        if (base >= other.base + other.span || other.base >= base + span) continue;
        const same = other.base === base && other.span === span;
        varies ||= same;
        if (!same || !other.varies) this.unlinkRange(other.base, other.span);
        this.#contexts.delete(other.base);
      }
      context = { base, span, dataBase, dataLength, varies };
      if (span > 0) this.#contexts.set(base, context);
    }
    this.#context = context;
    this.#view.setUint32(TRANSLATION.codeBase, base, true);
    this.#view.setBigUint64(TRANSLATION.codeSpan, BigInt(span), true);
    this.#view.setUint32(TRANSLATION.dataBase, dataBase, true);
    this.#view.setBigUint64(TRANSLATION.dataLimit, this.#view.getBigUint64(hart + State.loadLength, true) - LIMIT_SLACK, true);
  }
  #number(at: number): number {
    return this.#view.getUint32(at + 4, true) * 2 ** 32 + this.#view.getUint32(at, true);
  }

  // ---- translating
  /** The interpreter has gone to a pc as often as {@link observe} lets it. True if there is a translation now. */
  hot(pc: number): boolean {
    return this.#visited(pc, this.#step);
  }
  /** Translated code went to a pc where nothing is translated. True if something is now. */
  missed(pc: number): boolean {
    return this.#visited(pc, MISS_WEIGHT);
  }
  /** Links what was translated of equal code, or translates when there were enough visits. */
  #visited(pc: number, weight: number): boolean {
    const { base, span } = this.#context;
    if (pc >= span) return false;
    if (this.#pool.at(base + pc) !== 0) return true;
    if (this.#full) this.flush();
    if (this.#linkKnown(pc)) return true;
    const at = base + pc;
    const count = (this.#visits.get(at) ?? 0) + weight;
    if (count < this.#options.after) {
      if (this.#visits.size > MOST_VISITED) this.#visits.clear();
      this.#visits.set(at, count);
      return false;
    }
    this.#visits.delete(at);
    return this.translate(pc);
  }
  /** Translated code left to the interpreter at a pc. Where it does so often because of a page's state, it is translated again. */
  left(pc: number): void {
    const count = (this.#leaves.get(pc) ?? 0) + 1;
    if (this.#leaves.size > MOST_LEAVES) this.#leaves.clear();
    this.#leaves.set(pc, count);
    if (count !== LEAVES || this.#exact.has(pc) || !this.#isAccess(pc)) return;
    if (this.#exact.size > MOST_LEAVES) this.#exact.clear();
    for (const [other, times] of this.#leaves) if (times >= LEAVES_OF_OTHERS) this.#exact.add(other);
    this.#exactSorted = Float64Array.from(this.#exact).sort();
    for (const unit of this.#all) {
      if (!holds(unit, pc)) continue;
      this.#stored?.remove(unit);
      this.#drop(unit);
    }
  }
  /** Accesses are checked exactly somewhere in the range. */
  #isExactIn({ from, to }: Range): boolean {
    const sorted = this.#exactSorted;
    let first = 0;
    for (let end = sorted.length; first < end;) {
      const middle = (first + end) >>> 1;
      if (sorted[middle]! < from) first = middle + 1;
      else end = middle;
    }
    return first < sorted.length && sorted[first]! < to;
  }
  /** The instruction at a pc leaves because of the memory that it gets to, not always. */
  #isAccess(pc: number): boolean {
    const word = this.#fetch(pc);
    if (word === undefined) return false;
    const clause = this.#decoder.decode(word, 0, createDecoded());
    return clause >= 0 && this.#code.shapes[clause]!.kind === Kind.Plain;
  }
  /** Links a unit that starts at a pc and whose code the process has. */
  #linkKnown(pc: number): boolean {
    const versions = this.#units.get(pc) ?? [];
    for (const [at, unit] of versions.entries()) {
      if (!this.#equal(unit)) continue;
      versions.splice(at, 1);
      versions.push(unit);
      this.#link(unit);
      return true;
    }
    return this.#stored !== undefined && this.#linkStored(this.#stored, pc);
  }
  /** As {@link #linkKnown}, of units that an earlier machine made. */
  #linkStored(stored: Units, pc: number): boolean {
    for (const candidate of stored.candidates(pc, this.#bytes, GUEST + this.#context.base + pc)) {
      if (!this.#equal(candidate)) continue;
      // It was made before accesses there turned out to need exact checks.
      if (candidate.ranges.some((range) => this.#isExactIn(range))) continue;
      const start = performance.now();
      if (this.#full || !this.#affordable(start)) return false;
      const unit = candidate.load();
      if (unit === undefined) continue;
      let loaded: Loaded;
      try {
        loaded = this.#load({ ...unit, place: undefined }, new engine.Module(unit.binary));
      } catch {
        // The engine does not take it. It is no reason to stop: the code is translated anew.
        stored.remove(candidate);
        continue;
      }
      this.#link(loaded);
      this.stats.stored++;
      this.stats.bytes += unit.binary.length;
      this.#spend(start);
      return true;
    }
    return false;
  }
  /** Translates the code at a pc of the selected process, or links what was translated of equal code. False if that is impossible. */
  translate(pc: number): boolean {
    const { base, span } = this.#context;
    if (pc >= span) return false;
    if (this.#pool.at(base + pc) !== 0) return true;
    if (this.#full) this.flush();
    if (this.#linkKnown(pc)) return true;
    const first = this.#fetch(pc);
    if (first === undefined || this.#refused.get(base + pc) === first) return false;
    const made = this.#make(pc, this.#options.specialiseAfter === 0);
    if (made !== false) return made === true;
    if (this.#refused.size >= MAX_REFUSED) this.#refused.clear();
    this.#refused.set(base + pc, first);
    return false;
  }
  /** Fuel was used, beyond what {@link sampled} tells. */
  used(fuel: number): void {
    this.#toSample -= fuel;
  }
  /** {@link slice} was used up. */
  sampled(): void {
    const used = this.#sample;
    this.#toSample = used;
    if (this.#coming.length > 0) this.#arrived(performance.now());
    if (++this.#steady % STEADY === 0) this.#sample = Math.min(MOST_SAMPLE, 2 * this.#sample);
    const { base } = this.#context;
    const entry = this.#view.getUint32(TRANSLATION.ranOut, true);
    if (entry >= this.#context.span) return;
    const slot = this.#pool.at(base + entry);
    const unit = this.#units.get(entry)?.find(({ entries, slots }) => slots[entries.indexOf(entry)] === slot);
    if (unit === undefined || unit.place !== undefined) return;
    unit.fuel += used;
    if (unit.fuel < this.#options.specialiseAfter) return;
    unit.fuel = 0;
    if (!this.#full && !this.#coming.some(({ unit: other }) => other.entries[0] === entry && other.place?.codeBase === base))
      this.#make(entry, true);
  }
  /** Links the units that have been compiled, where their place is still the same. */
  #arrived(now: number): void {
    const rest: Coming[] = [];
    for (const coming of this.#coming) {
      if (now < coming.at || coming.unit.place?.codeBase !== this.#context.base) {
        if (now < coming.at + LONGEST_WAIT) rest.push(coming);
      } else if (!this.#full && coming.exact === this.#exact.size && this.#equal(coming.unit))
        this.#link(this.#load(coming.unit, coming.module));
    }
    this.#coming = rest;
  }
  /** The selected process's place; undefined if no unit can be made for it alone. */
  #place(): Place | undefined {
    const { base, span, dataBase, dataLength, varies } = this.#context;
    const dataLimit = dataLength - SLACK - PAGE_SIZE;
    if (varies || base % PAGE_SIZE !== 0 || dataBase % PAGE_SIZE !== 0 || dataBase + dataLength > 2 ** 32) return undefined;
    return { codeBase: base, codeSpan: span, dataBase, dataLimit, slotAddress: (pc) => this.#pool.knownPlace(base + pc) };
  }
  /** There is no room for another unit. It has an entry for each region, and a region an instruction; each entry may need a block of slots. */
  get #full(): boolean {
    const { capacity, batch, specialised } = this.#options;
    const entries = Math.max(batch, specialised.batch);
    return this.stats.bytes + this.#all.size * UNIT_BYTES > capacity || !this.#pool.fits(entries);
  }
  /** Translates and links what starts at a pc; false if that is impossible, undefined if it is not done now. */
  #make(pc: number, special: boolean): boolean | undefined {
    const start = performance.now();
    if (!this.#affordable(start)) return undefined;
    const { base, span } = this.#context;
    const place = special ? this.#place() : undefined;
    const later = special && this.#options.after > 0;
    if (later && place === undefined) return undefined;
    this.#code.reset({
      fetch: (at) => this.#fetch(at),
      reached: (at) => this.#options.after === 0 || this.#pool.reached(base + at),
      guesses: (at) => (special ? this.#guesses(at) : []),
    });
    const unit = translate(
      this.#code,
      pc,
      { ...(special ? this.#options.specialised : this.#options), checks: this.#options.checks, place },
      ({ from, to }) => this.#bytes.subarray(GUEST + base + from, GUEST + base + to),
      (callee) =>
        callee < span &&
        (special && this.#options.after > 0
          ? this.#pool.at(base + callee) !== 0
          : this.#pool.at(base + callee) === 0 && !this.#units.has(callee)),
    );
    if (unit === undefined || unit.maxTarget >= span) {
      this.#spend(start);
      return false;
    }
    if (later && this.#options.sparing) {
      const { module, ms } = optimised(unit.binary);
      this.#coming.push({ unit, module, at: start + ms, exact: this.#exact.size });
    } else this.#link(this.#load(unit, new engine.Module(unit.binary)));
    // What is made for one place has addresses of this machine in it.
    if (unit.place === undefined) this.#stored?.add({ ...unit, place: undefined });
    this.stats.units++;
    this.#sample = this.#leastSample;
    this.#steady = 0;
    if (place !== undefined) this.stats.specialised++;
    this.stats.instructions += unit.instructions;
    this.stats.bytes += unit.binary.length;
    this.#spend(start);
    return true;
  }
  #spend(start: number): void {
    const took = performance.now() - start;
    this.stats.milliseconds += took;
    this.#allowance -= took;
  }
  /** Translating takes half of the time at most, beyond what was saved up while nothing was translated: a program that has just started runs on meanwhile. */
  #affordable(now: number): boolean {
    if (!this.#options.sparing) return true;
    this.#allowance = Math.min(MOST_SAVED, this.#allowance + (now - this.#allowedAt) * SHARE);
    this.#allowedAt = now;
    return this.#allowance > 0;
  }
  #executable(address: number): boolean {
    return (this.#pages.own(Math.floor(address / PAGE_SIZE)) & Own.Execute) !== 0;
  }
  #fetch(pc: number): number | undefined {
    const { base, span } = this.#context;
    if (pc >= span || !this.#executable(base + pc)) return undefined;
    const word = this.#view.getInt32(GUEST + base + pc, true);
    if ((word & 3) === 3 && (pc + 2 >= span || !this.#executable(base + pc + 2))) return undefined;
    return word;
  }
  /** Where a jump through a register went last. It may have been another program's: what is there is looked at as any other code. */
  #guesses(pc: number): number[] {
    const { base, span } = this.#context;
    const at = targetsOf(pc);
    return [this.#view.getUint32(at, true), this.#view.getUint32(at + 4, true)].filter(
      (to) => to !== 0 && to % 2 === 0 && to < span && this.#fetch(to) !== undefined && this.#pool.reached(base + to),
    );
  }
  #load(unit: Unit, module: WasmModule): Loaded {
    const instance = new engine.Instance(module, {
      env: { memory: this.#memory, table: this.#table },
      intrinsics: Object.fromEntries(unit.intrinsics.map((name) => [name, this.#intrinsics[name]])),
    });
    const slots = unit.entries.map((_, index) => {
      const slot = this.#freeSlots.pop() ?? this.#nextSlot++;
      if (slot >= this.#table.length) this.#table.grow(this.#table.length);
      this.#table.set(slot, instance.exports[`f${index}`]);
      return slot;
    });
    const loaded: Loaded = { ...unit, slots, links: new Map(), fuel: 0 };
    this.#all.add(loaded);
    for (const pc of unit.entries) {
      const versions = this.#units.get(pc);
      if (versions !== undefined && versions.length >= VERSIONS) this.#drop(versions[0]!);
      const list = this.#units.get(pc);
      if (list === undefined) this.#units.set(pc, [loaded]);
      else list.push(loaded);
    }
    return loaded;
  }

  // ---- linking
  /** The process has the unit's bytes where the unit has them, and may execute them. */
  #equal(unit: UnitCode & { readonly place?: Place | undefined }): boolean {
    const { base, span, dataBase, dataLength, varies } = this.#context;
    const { place } = unit;
    if (unit.maxTarget >= span) return false;
    if (place !== undefined) {
      // Where data varies nothing is unlinked when it does.
      if (varies) return false;
      if (place.codeBase !== base || place.codeSpan !== span || place.dataBase !== dataBase) return false;
      if (place.dataLimit !== dataLength - SLACK - PAGE_SIZE) return false;
    }
    let at = 0;
    for (const { from, to } of unit.ranges) {
      if (to > span) return false;
      for (let page = Math.floor((base + from) / PAGE_SIZE); page * PAGE_SIZE < base + to; page++) {
        if ((this.#pages.own(page) & Own.Execute) === 0) return false;
      }
      for (let pc = from; pc < to; pc++) if (this.#bytes[GUEST + base + pc] !== unit.bytes[at++]) return false;
    }
    return true;
  }
  #link(unit: Loaded): void {
    this.#links.link(unit, this.#context.base);
  }

  // ---- invalidation
  /** See {@link Links.changed}. */
  changed(address: number, length: number): void {
    this.#links.changed(address, length);
  }
  /** See {@link Links.unlinkRange}. */
  unlinkRange(address: number, length: number): void {
    this.#links.unlinkRange(address, length);
    this.#refused.clear();
  }
  /** Drops a unit everywhere. */
  #drop(unit: Loaded): void {
    for (const link of unit.links.values()) this.#links.unlink(link);
    for (const pc of unit.entries) {
      const rest = (this.#units.get(pc) ?? []).filter((other) => other !== unit);
      if (rest.length > 0) this.#units.set(pc, rest);
      else this.#units.delete(pc);
    }
    this.#all.delete(unit);
    this.#release(unit);
    this.stats.bytes -= unit.binary.length;
  }
  #release({ slots }: Loaded): void {
    for (const slot of slots) {
      this.#table.set(slot, this.#entry.miss);
      this.#freeSlots.push(slot);
    }
  }
  /** Drops all translations. */
  flush(): void {
    this.#links.unlinkAll();
    this.#pool.clear();
    for (const unit of this.#all) this.#release(unit);
    this.#all.clear();
    this.#units.clear();
    this.#refused.clear();
    this.#coming = [];
    this.#bytes.fill(0, HEAT, HEAT + 2 * HEAT_ENTRIES);
    this.stats.bytes = 0;
    this.stats.flushes++;
  }
}

/** The code has an instruction, or a part of one, at a pc. */
function holds({ ranges }: UnitCode, pc: number): boolean {
  return ranges.some(({ from, to }) => from <= pc && pc < to);
}

let compiled: ReturnType<typeof compileEntry> | undefined;
function compileEntry(): InstanceType<typeof engine.Module> {
  return new engine.Module(entryModule());
}
function entry(): InstanceType<typeof engine.Module> {
  return (compiled ??= compileEntry());
}
