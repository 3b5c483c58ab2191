/**
 * Calls from one compartment into another without a trap: the guest code that switches, and its records. Both stand in a region of trusted code that no
 * compartment has a capability to, but for sealed ones. Whose threads and objects they belong to is the monitor's business.
 *
 * - A **site** is a function that can be called: it has a list of free slots.
 * - A **door** leads to a site; code gets it as the data half of a sealed pair. Closed, it leads nowhere.
 * - A **slot** is what one call at a time runs on: where the callee begins, with which data capability and stack, and while it is in use what its caller goes on with. The slot of the
 *   innermost call of a hart stands in its SScratchC; each names the one around it.
 *
 * Interrupts, fuel and traps come between two jumps only, and the code here has none but the last one of each way: each way is done as a whole.
 */
import type { Capability, HartPort, MachinePort } from "../abi.ts";
import { PAGE_SIZE, Perm, Prot } from "../abi.ts";
import { Assembler, assembleInto } from "../assembler/index.ts";
import * as c from "../capability/index.ts";
import type { Region } from "./regions.ts";

/** Bytes of the region: a page of code, capabilities of slots, numbers of slots, sites and doors. Only the capabilities' pages have tags. */
export const CROSSINGS_BYTES = 0x4_0000;
const CAPS_AT = PAGE_SIZE;
/** From a slot's numbers back to its capabilities. */
const CAPS_BEFORE = 0x1_0000;
const SLOTS_AT: number = CAPS_AT + CAPS_BEFORE;
const SMALL_AT: number = SLOTS_AT + CAPS_BEFORE;
const SLOT_BYTES = 128;
const SMALL_BYTES = 16;

/** Capabilities of a slot: the callee's, the caller's, and buffers of a call. */
const Cap = { data: 0, entry: 16, callerData: 32, callerCode: 48, bufferA: 64, bufferB: 80 } as const;
const CAPS: readonly number[] = Object.values(Cap);
/** Numbers of a slot, 64 bits each. Links are addresses, 0 for none. */
const Slot = {
  next: 0,
  site: 8,
  stack: 16,
  thread: 24,
  globals: 32,
  /** Of a call: the slot of the call around it, and what its caller goes on with. */
  around: 40,
  callerStack: 48,
  callerThread: 56,
  callerGlobals: 64,
  callerStatus: 72,
  /** Not 0: in a call, which returns by itself. */
  active: 80,
  hasBuffers: 88,
} as const;

/** What the code here may do with its records. */
const RECORD_PERMS = Perm.Load | Perm.Store | Perm.LoadCap | Perm.StoreCap | Perm.StoreLocalCap | Perm.CInvoke | Perm.Global;
/** What the callee may do with a buffer of the caller's. It is not global: nothing stores it. */
const BUFFER_PERMS = Perm.Load | Perm.Store;

const CLEAR_FLOATS = [0, 1, 2, 3].map((quarter) => `fpclear ${quarter}, 0xff`).join("\n");
/**
 * Runs with DDC over the records, at a door or a slot, so that most accesses are plain ones. a0 … a3 and ca4, ca5 are arguments, a0 and a1 results; every other
 * register is 0 afterwards, but for sp, tp, gp, and cra and ct0, which lead back here and to the callee's own code.
 */
const CODE = `
call:
  cspecialrw ct5, ddc, ct6
  ld t0, 0(zero)
  beqz t0, closed
  sub t0, t0, t6
  ld t1, 0(t0)
  beqz t1, busy
  csetaddr ct4, ct6, t1
  cspecialrw ct3, sscratchc, ct4
  sub t1, t1, t6
  ld t2, ${Slot.next}(t1)
  sd t2, 0(t0)
  li t0, ${CAPS_BEFORE}
  sub t0, t1, t0
  sc ct5, ${Cap.callerData}(t0)
  sc cra, ${Cap.callerCode}(t0)
  sd t3, ${Slot.around}(t1)
  sd sp, ${Slot.callerStack}(t1)
  sd tp, ${Slot.callerThread}(t1)
  sd gp, ${Slot.callerGlobals}(t1)
  sd t6, ${Slot.active}(t1)
  csrrs t2, fcsr, zero
  sd t2, ${Slot.callerStatus}(t1)
  beqz t2, arguments
  csrrw zero, fcsr, zero
arguments:
  mv a0, a0
  mv a1, a1
  mv a2, a2
  mv a3, a3
  cgettag t2, ca4
  cgettag t3, ca5
  or t2, t2, t3
  sd t2, ${Slot.hasBuffers}(t1)
  beqz t2, enter
  li t2, ${BUFFER_PERMS}
  candperm ca4, ca4, t2
  candperm ca5, ca5, t2
  sc ca4, ${Cap.bufferA}(t0)
  sc ca5, ${Cap.bufferB}(t0)
enter:
  ld sp, ${Slot.stack}(t1)
  ld tp, ${Slot.thread}(t1)
  ld gp, ${Slot.globals}(t1)
  lc ct3, ${Cap.data}(t0)
  lc ct0, ${Cap.entry}(t0)
  cspecialrw cnull, ddc, ct3
  cclear 0, 0xc0
  cclear 1, 0x03
  cclear 2, 0xff
  cclear 3, 0xff
  ${CLEAR_FLOATS}
  jalr.cap cra, ct0
return:
  cspecialrw ct6, sscratchc, cnull
  cgettag t0, ct6
  beqz t0, done
  cspecialrw ct5, ddc, ct6
  ld t0, ${Slot.active}(zero)
  beqz t0, done
  sd zero, ${Slot.active}(zero)
  ld t0, ${Slot.around}(zero)
  csetaddr ct0, ct6, t0
  cspecialrw cnull, sscratchc, ct0
  ld t0, ${Slot.site}(zero)
  sub t0, t0, t6
  ld t1, 0(t0)
  sd t1, ${Slot.next}(zero)
  sd t6, 0(t0)
  ld sp, ${Slot.callerStack}(zero)
  ld tp, ${Slot.callerThread}(zero)
  ld gp, ${Slot.callerGlobals}(zero)
  ld t1, ${Slot.callerStatus}(zero)
  csrrw zero, fcsr, t1
  li t0, ${-CAPS_BEFORE}
  lc cra, ${Cap.callerCode}(t0)
  lc ct0, ${Cap.callerData}(t0)
  cspecialrw cnull, ddc, ct0
  mv a0, a0
  mv a1, a1
  cclear 0, 0xe0
  cclear 1, 0xf3
  cclear 2, 0xff
  cclear 3, 0xff
  ${CLEAR_FLOATS}
  jalr.cap cnull, cra
done:
  ecall
closed:
  li a0, -125
  j refused
busy:
  li a0, -11
refused:
  cspecialrw cnull, ddc, ct5
  cclear 0, 0xe0
  cclear 1, 0xc0
  cclear 3, 0xf0
  jalr.cap cnull, cra
buffers:
  cspecialrw ct6, sscratchc, cnull
  li a4, 0
  li a5, 0
  cgettag t0, ct6
  beqz t0, out
  cspecialrw ct5, ddc, ct6
  ld t0, ${Slot.hasBuffers}(zero)
  beqz t0, leave
  li t0, ${-CAPS_BEFORE}
  lc ca4, ${Cap.bufferA}(t0)
  lc ca5, ${Cap.bufferB}(t0)
leave:
  cspecialrw cnull, ddc, ct5
out:
  cclear 0, 0x20
  cclear 3, 0xc0
  jalr.cap cnull, cra
`;

const [SP, GP, TP, A0] = [2, 3, 4, 10];
const NULL: Capability = c.nullCapability();

export class Crossings {
  /** Returns from the innermost call of whoever jumps to it; and gives buffers of that call again, in ca4 and ca5, and goes to cra. Anybody may have them. */
  readonly returnGate: Capability;
  readonly bufferGate: Capability;
  readonly #machine: MachinePort;
  readonly #base: number;
  readonly #callGate: Capability;
  readonly #small: number[] = [];
  readonly #doors: Map<object, number[]> = new Map();
  readonly #slots: number[] = [];

  /** `base`: of {@link CROSSINGS_BYTES} bytes that nobody else uses. */
  constructor(machine: MachinePort, base: number) {
    this.#machine = machine;
    this.#base = base;
    machine.protect(base, PAGE_SIZE, Prot.Read | Prot.Execute);
    machine.protect(base + PAGE_SIZE, CROSSINGS_BYTES - PAGE_SIZE, Prot.Read | Prot.Write);
    const assembler = new Assembler({ origin: base });
    assembleInto(assembler, CODE);
    machine.storeRange(base, assembler.assemble());
    const code = c.derive(c.root(), base, PAGE_SIZE, Perm.Execute | Perm.Load | Perm.AccessSystemRegs | Perm.CInvoke | Perm.Global);
    const at = (label: string): Capability => c.setAddress(code, BigInt(assembler.addressOf(label)));
    this.#callGate = at("call");
    this.returnGate = c.sealEntry(at("return"));
    this.bufferGate = c.sealEntry(at("buffers"));
    for (let record = base + CROSSINGS_BYTES - SMALL_BYTES; record >= base + SMALL_AT; record -= SMALL_BYTES) this.#small.push(record);
    for (let record = base + SMALL_AT - SLOT_BYTES; record >= base + SLOTS_AT; record -= SLOT_BYTES) this.#slots.push(record);
  }

  /** Whether code with such a base of PCC is the code here. */
  runs(pccBase: number): boolean {
    return pccBase === this.#base;
  }

  #to(record: number, perms: number = RECORD_PERMS): Capability {
    return c.setAddress(c.derive(c.root(), this.#base + PAGE_SIZE, CROSSINGS_BYTES - PAGE_SIZE, perms), BigInt(record));
  }
  #cap(slot: number, field: number): Capability {
    return this.#machine.loadCapability(slot - CAPS_BEFORE + field);
  }
  #setCap(slot: number, field: number, capability: Capability): void {
    this.#machine.storeCapability(slot - CAPS_BEFORE + field, capability);
  }
  #number(address: number): number {
    const value = this.#machine.readU64(address);
    return value >= 2 ** 63 ? value - 2 ** 64 : value;
  }
  #set(address: number, ...numbers: number[]): void {
    this.#machine.storeRange(address, new Uint8Array(BigInt64Array.from(numbers, BigInt).buffer));
  }

  /** A site without slots; 0 when there is no room. */
  newSite(): number {
    const site = this.#small.pop() ?? 0;
    if (site !== 0) this.#set(site, 0);
    return site;
  }
  /** Of one without slots and open doors. */
  freeSite(site: number): void {
    this.#small.push(site);
  }
  /** A door to a site for somebody who has fewer than `most`, closed ones included; 0 when there is no room. */
  newDoor(site: number, owner: object, most: number): number {
    const doors = this.#doors.get(owner) ?? [];
    const door = doors.length < most ? (this.#small.pop() ?? 0) : 0;
    if (door === 0) return 0;
    this.#set(door, site);
    doors.push(door);
    this.#doors.set(owner, doors);
    return door;
  }
  /** It leads nowhere from now on. */
  closeDoor(door: number): void {
    this.#set(door, 0);
  }
  /** Takes all doors of somebody back, of whose pairs no copy is left. */
  freeDoors(owner: object): void {
    for (const door of this.#doors.get(owner) ?? []) {
      this.closeDoor(door);
      this.#small.push(door);
    }
    this.#doors.delete(owner);
  }
  /** The pair that calls through a door, sealed with `authority`. */
  pair(door: number, authority: Capability): readonly [code: Capability, data: Capability] {
    return [c.seal(this.#callGate, authority), c.seal(this.#to(door), authority)];
  }

  /** A slot of a site that no call uses: calls begin at `code` with DDC, sp, tp and gp as the hart has them. 0 when there is no room. */
  newSlot(site: number, code: Capability, hart: HartPort): number {
    const slot = this.#slots.pop() ?? 0;
    if (slot === 0) return 0;
    this.#set(slot, 0, site, hart.getInt(SP), hart.getInt(TP), hart.getInt(GP), 0, 0, 0, 0, 0, 0, 0);
    this.#setCap(slot, Cap.data, hart.ddc);
    this.#setCap(slot, Cap.entry, code);
    this.offer(slot);
    return slot;
  }
  /** Puts a slot that no call uses at the head of its site's list. */
  offer(slot: number): void {
    const site = this.#number(slot + Slot.site);
    this.#set(slot + Slot.next, this.#number(site));
    this.#set(site, slot);
  }
  /** Takes a free slot off its site's list. */
  withdraw(slot: number): void {
    let link = this.#number(slot + Slot.site);
    for (let next = this.#number(link); next !== 0; next = this.#number(link)) {
      if (next === slot) return this.#set(link, this.#number(slot + Slot.next));
      link = next + Slot.next;
    }
  }
  /** Of one that is on no list and that no call names. */
  freeSlot(slot: number): void {
    this.change(slot, () => NULL);
    this.#slots.push(slot);
  }

  /** The call around the one that a slot is in: its slot, 0 for none. */
  around(slot: number): number {
    return this.#number(slot + Slot.around);
  }
  /**
   * Lets the caller of the call that a slot is in go on, on a hart of its own, with a result. Where it wanted to go on must lie in the range that is its own; otherwise the hart's PCC and
   * pc stay as they are.
   */
  resume(slot: number, hart: HartPort, { base, length }: Region, result: number): void {
    const code = this.#cap(slot, Cap.callerCode);
    if (code.tag && !c.isSealed(code) && code.base >= BigInt(base) && code.top <= BigInt(base + length)) {
      hart.pcc = code;
      hart.pc = Number(code.address - code.base);
    }
    hart.ddc = this.#cap(slot, Cap.callerData);
    hart.scratch = this.around(slot) === 0 ? NULL : this.#to(this.around(slot));
    hart.setInt(SP, this.#number(slot + Slot.callerStack));
    hart.setInt(TP, this.#number(slot + Slot.callerThread));
    hart.setInt(GP, this.#number(slot + Slot.callerGlobals));
    hart.setInt(A0, result);
    hart.fcsr = this.#number(slot + Slot.callerStatus);
  }
  /** A hart has no buffers of callers in registers any more: no capability that is not global. */
  static dropBuffersOf(hart: HartPort): void {
    for (let register = 1; register < 32; register++) {
      const held = hart.getCapability(register);
      if (held.tag && (held.perms & Perm.Global) === 0) hart.setCapability(register, c.clearTag(held));
    }
  }
  /** Nobody waits for the call any more: it has no caller. When it returns, its hart comes back with an ecall in the code here. */
  abandon(slot: number): void {
    this.#set(slot + Slot.around, 0);
    this.#set(slot + Slot.active, 0);
    this.#setCap(slot, Cap.callerData, NULL);
    this.#setCap(slot, Cap.callerCode, NULL);
    this.dropBuffers(slot);
  }
  /** The buffers of a call are not given any more. */
  dropBuffers(slot: number): void {
    this.#set(slot + Slot.hasBuffers, 0);
    this.#setCap(slot, Cap.bufferA, NULL);
    this.#setCap(slot, Cap.bufferB, NULL);
  }
  /** Changes all capabilities of a slot. */
  change(slot: number, derive: (capability: Capability) => Capability): void {
    for (const field of CAPS) this.#setCap(slot, field, derive(this.#cap(slot, field)));
  }
}
