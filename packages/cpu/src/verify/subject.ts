/** A machine under test: loads cases, runs them, and is compared with the reference. */
import { Exit, GRANULE_SIZE, PAGE_SIZE, Prot, type Capability, type EngineName, type ExitCode, type MachineOptions } from "../abi.ts";
import { decodeBounds } from "../capability/encoding.ts";
import { format, fromRaw, toRaw } from "../capability/operations.ts";
import type { Raw } from "../capability/raw.ts";
import type { Interpreter } from "../interpreter/interpreter.ts";
import type { Hart } from "../machine/hart.ts";
import * as layout from "../machine/layout.ts";
import { createMachine, type Machine } from "../machine/machine.ts";
import { assemble, CODE, CODE_BYTES, MEMORY_BYTES, PAGES, pattern, REGION, REGION_BYTES, type Case } from "./case.ts";
import { Reference } from "./reference.ts";

/** Something that differs, or that must not be. */
export interface Difference {
  readonly what: string;
  readonly reference: string;
  readonly machine: string;
}

const hex = (value: bigint | number): string => `0x${BigInt.asUintN(64, BigInt(value)).toString(16)}`;
export function show(cap: Raw): string {
  return cap.hi === 0n && !cap.tag ? hex(cap.address) : `${format(fromRaw(cap))} hi ${hex(cap.hi)}`;
}
export const same = (a: Raw, b: Raw): boolean => a.tag === b.tag && a.hi === b.hi && a.address === b.address;

/** Where programs and their data are written for a case. */
interface Place {
  placeBytes(at: number, bytes: Uint8Array): void;
  place(at: number, cap: Raw): void;
}
const IMAGE = pattern.subarray(CODE + CODE_BYTES);
function loadMemory(place: Place, test: Case): void {
  const code = new Uint8Array(CODE_BYTES);
  code.set(assemble(test.program).bytes.subarray(0, CODE + CODE_BYTES - test.origin), test.origin - CODE);
  place.placeBytes(REGION + CODE, code);
  place.placeBytes(REGION + CODE + CODE_BYTES, IMAGE);
  for (const { at, cap } of test.memory) place.place(REGION + at, cap);
}
const codeProt = (test: Case): number => Prot.Read | Prot.Execute | (test.writableCode ? Prot.Write : 0);

/** Makes the reference's state that of the case's beginning. */
export function prepare(reference: Reference, test: Case): void {
  reference.clear();
  loadMemory(reference.memory, test);
  for (const [at, length, prot] of PAGES) reference.memory.protect(REGION + at, length, prot);
  reference.memory.protect(REGION + CODE, CODE_BYTES, codeProt(test));
  test.registers.forEach((cap, index) => reference.setRegister(index + 1, cap));
  test.floats.forEach((bits, index) => reference.setFloat(index, bits));
  reference.fcsr = test.fcsr;
  reference.ddc = test.ddc;
  reference.pcc = test.pcc;
  for (const [index, cap] of test.specials) reference.setSpecial(index, cap);
  reference.pc = BigInt.asUintN(64, BigInt(REGION + test.origin) - reference.pcBase);
}

/** Many cases have the same capabilities in memory. */
const known = new WeakMap<Raw, Capability>();
function expressed(cap: Raw): Capability {
  let capability = known.get(cap);
  if (capability === undefined) {
    capability = fromRaw(cap);
    if (!same(toRaw(capability), cap)) throw new RangeError(`${show(cap)} is no capability that can be made`);
    known.set(cap, capability);
  }
  return capability;
}

export class Subject {
  readonly machine: Machine;
  readonly view: DataView;
  readonly #bytes: Uint8Array;
  #hart: Hart;

  constructor(engine: EngineName, options: MachineOptions = {}, interpreter?: Interpreter) {
    this.machine = createMachine({ memoryBytes: MEMORY_BYTES, ...options, engine }, interpreter);
    const { buffer } = this.machine.lendBytes(0, 1);
    this.view = new DataView(buffer);
    this.#bytes = new Uint8Array(buffer);
    this.#hart = this.machine.createHart();
    for (const [at, length, prot] of PAGES) this.machine.protect(REGION + at, length, prot);
  }

  get hart(): Hart {
    return this.#hart;
  }
  /** Everything that a program can have changed becomes what the case says. */
  prepare(test: Case): void {
    const { machine, view } = this;
    this.#hart.release();
    this.#hart = machine.createHart();
    const hart = this.#hart;
    machine.zeroRange(REGION, REGION_BYTES);
    loadMemory(
      {
        placeBytes: (at, bytes) => machine.storeRange(at, bytes),
        place: (at, cap) => this.place(at, cap),
      },
      test,
    );
    machine.protect(REGION + CODE, CODE_BYTES, codeProt(test));
    test.registers.forEach((cap, index) => layout.writeRegister(view, hart.base, index + 1, cap));
    test.floats.forEach((bits, index) => hart.setF(index, bits));
    hart.fcsr = test.fcsr;
    machine.setDdc(hart.base, test.ddc);
    machine.setPcc(hart.base, test.pcc);
    for (const [index, cap] of test.specials) layout.writeScr(view, hart.base, index, cap);
    this.pc = BigInt(REGION + test.origin) - view.getBigUint64(hart.base + layout.State.pcBase, true);
  }
  /** Writes a capability to memory by the machine's own means. RangeError for a tagged one that they cannot express. */
  place(at: number, cap: Raw): void {
    if (cap.tag) return this.machine.storeCapability(at, expressed(cap));
    const bytes = new DataView(new ArrayBuffer(GRANULE_SIZE));
    bytes.setBigUint64(0, cap.address, true);
    bytes.setBigUint64(8, cap.hi, true);
    this.machine.storeRange(at, new Uint8Array(bytes.buffer));
  }

  get pc(): bigint {
    return this.view.getBigUint64(this.#hart.base + layout.State.pc, true);
  }
  set pc(value: bigint) {
    this.view.setBigUint64(this.#hart.base + layout.State.pc, BigInt.asUintN(64, value), true);
  }
  get trapValue(): bigint {
    return this.view.getBigUint64(this.#hart.base + layout.State.trapValue, true);
  }
  register(index: number): Raw {
    return layout.readRegister(this.view, this.#hart.base, index);
  }
  special(index: number): Raw {
    return layout.readScr(this.view, this.#hart.base, index);
  }
  /** A granule of memory. */
  granule(at: number): Raw {
    return {
      tag: this.#bytes[layout.TAGS + at / GRANULE_SIZE] !== 0,
      address: this.view.getBigUint64(layout.GUEST + at, true),
      hi: this.view.getBigUint64(layout.GUEST + at + 8, true),
    };
  }

  /** All granules with a tag. */
  tagged(): { readonly at: number; readonly cap: Raw }[] {
    const tags = this.#bytes.subarray(layout.TAGS, layout.TAGS + MEMORY_BYTES / GRANULE_SIZE);
    const found: { at: number; cap: Raw }[] = [];
    for (let index = tags.indexOf(1); index >= 0; index = tags.indexOf(1, index + 1)) {
      found.push({ at: index * GRANULE_SIZE, cap: this.granule(index * GRANULE_SIZE) });
    }
    return found;
  }

  /** Differences of registers, pc, flags and counters. */
  registerDifferences(reference: Reference): Difference[] {
    const found: Difference[] = [];
    const { view } = this;
    const hart = this.#hart;
    const differ = (what: string, expected: bigint | number, got: bigint | number): void => {
      if (BigInt(expected) !== BigInt(got)) found.push({ what, reference: hex(expected), machine: hex(got) });
    };
    const caps = (what: string, expected: Raw, got: Raw): void => {
      if (!same(expected, got)) found.push({ what, reference: show(expected), machine: show(got) });
    };
    differ("pc", reference.pc, this.pc);
    for (let index = 0; index < 32; index++) {
      caps(`c${index}`, reference.c[index]!, this.register(index));
      differ(`f${index}`, reference.float(index), hart.getF(index));
      caps(`special register ${index}`, reference.special(index), this.special(index));
    }
    differ("fcsr", reference.fcsr, hart.fcsr);
    differ("instret", reference.instret, hart.instructions);
    differ("fuel", reference.fuelLeft, Math.max(hart.fuelLeft, 0));
    differ("reservation", reference.reservation, view.getBigInt64(hart.base + layout.State.reservation, true));
    return [...found, ...this.#metadataFaults()];
  }
  /** What the machine keeps beside a capability must be what follows from it. */
  #metadataFaults(): Difference[] {
    const found: Difference[] = [];
    const { view } = this;
    const { base } = this.#hart;
    const mask = view.getInt32(base + layout.State.capRegs, true);
    if ((mask & 1) !== 0) found.push({ what: "c0", reference: "no metadata", machine: "metadata" });
    const check = (what: string, at: number, cap: Raw): void => {
      const { base: from, top } = decodeBounds(cap.hi, cap.address);
      const kept = view.getBigUint64(at + layout.Cap.base, true);
      const keptTop = view.getBigUint64(at + layout.Cap.top, true) | (BigInt(view.getUint32(at + layout.Cap.topHi, true)) << 64n);
      if (kept !== from || keptTop !== top) {
        found.push({
          what: `bounds of ${what}`,
          reference: `${hex(from)}-0x${top.toString(16)}`,
          machine: `${hex(kept)}-0x${keptTop.toString(16)}`,
        });
      }
    };
    for (let index = 1; index < 32; index++) {
      if (((mask >>> index) & 1) === 1) check(`c${index}`, base + layout.CAPS + index * layout.CAP_BYTES, this.register(index));
    }
    for (const index of [layout.Scr.Pcc, layout.Scr.Ddc]) {
      check(`special register ${index}`, base + layout.SCRS + index * layout.SCR_BYTES, this.special(index));
    }
    return found;
  }
  /** Differences of memory: bytes, tags; and tags that stores would not see. */
  memoryDifferences(reference: Reference): Difference[] {
    const found: Difference[] = [];
    const { bytes, tags } = reference.memory;
    const mine = this.#bytes.subarray(layout.GUEST, layout.GUEST + MEMORY_BYTES);
    const myTags = this.#bytes.subarray(layout.TAGS, layout.TAGS + MEMORY_BYTES / GRANULE_SIZE);
    if (Buffer.compare(bytes, mine) !== 0 || Buffer.compare(tags, myTags) !== 0) {
      for (let at = 0; at < MEMORY_BYTES && found.length < 8; at += GRANULE_SIZE) {
        const [expected, got] = [reference.memory.peek(at), this.granule(at)];
        if (!same(expected, got))
          found.push({ what: `memory at region + ${hex(at - REGION)}`, reference: show(expected), machine: show(got) });
      }
    }
    for (let at = tags.indexOf(1); at >= 0; at = tags.indexOf(1, at + 1)) {
      const page = Math.floor((at * GRANULE_SIZE) / PAGE_SIZE);
      if ((this.#bytes[layout.PAGE_OWN + page]! & layout.Own.Tags) === 0) {
        found.push({ what: `page ${hex(page * PAGE_SIZE)}`, reference: "has tags", machine: "is taken for one without tags" });
        at = ((page + 1) * PAGE_SIZE) / GRANULE_SIZE - 1;
      }
    }
    return found;
  }
}

/** How often a program is run on after exceptions and system calls. */
const EVENTS = 24;

/** What a comparison is told, and where it ends early. */
export interface Hooks {
  /** After every instruction of the reference. */
  readonly each?: () => void;
  /** At every stop, before it is compared. */
  readonly stopped?: (exit: ExitCode) => void;
  /** Compares up to the stop at this absolute address only. */
  readonly until?: bigint;
}

/**
 * Runs a case on both and compares them: exits, causes and registers at every stop, memory at the end. Behind an exception
 * or a system call both go on at the next instruction, up to the program's end. Empty when all is the same.
 */
export function compare(test: Case, subject: Subject, reference: Reference, hooks: Hooks = {}): Difference[] {
  prepare(reference, test);
  subject.prepare(test);
  const end = BigInt(REGION + test.origin + assemble(test.program).bytes.length);
  for (let event = 0; event < EVENTS; event++) {
    const expected = reference.run(test.fuel, hooks.each);
    const exit = subject.hart.run(test.fuel);
    const found: Difference[] = [];
    if (exit !== expected) found.push({ what: "exit", reference: exitName(expected), machine: exitName(exit) });
    if (expected === Exit.Trap && exit === Exit.Trap) {
      const { trapCause, trapValue } = reference;
      if (trapCause !== subject.hart.trapCause || trapValue !== subject.trapValue) {
        found.push({
          what: "exception",
          reference: `cause ${trapCause}, value ${hex(trapValue)}`,
          machine: `cause ${subject.hart.trapCause}, value ${hex(subject.trapValue)}`,
        });
      }
    }
    hooks.stopped?.(exit);
    found.push(...subject.registerDifferences(reference));
    if (found.length > 0) return [...found, ...subject.memoryDifferences(reference)];
    if (expected === Exit.Fuel || reference.length === 0 || reference.here === hooks.until) break;
    // Behind the program there is nothing to run.
    if (reference.here >= end && reference.here < REGION + CODE + CODE_BYTES) break;
    reference.pc = BigInt.asUintN(64, reference.pc + BigInt(reference.length));
    subject.pc = reference.pc;
  }
  return subject.memoryDifferences(reference);
}

export function exitName(exit: ExitCode): string {
  return Object.entries(Exit).find(([, code]) => code === exit)?.[0] ?? String(exit);
}
