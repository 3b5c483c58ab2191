import type { MemorySharing, Region, RegionAllocator, SharedObject, Turns, UsedPages } from "@cvm/cpu";
import { Crossings, rebaseRegisters, regionShape } from "@cvm/cpu";
import type { Capability, HartPort, MachinePort } from "@cvm/cpu/abi";
import type { LibraryOs, ProcessId, SyscallCall, SyscallValue, ThreadId } from "./abi.ts";
import { Limits } from "./abi.ts";
import type { Otypes } from "./authority.ts";
import { CapabilityTable, NOTHING, sealingAuthority, sealWith } from "./authority.ts";
import type { Calls } from "./cp/calls.ts";
import type { CompiledSyscall } from "./declarations.ts";

import { Process, Thread, ThreadState } from "./process.ts";
import type { Scheduler } from "./scheduler.ts";
import { Account } from "./scheduler.ts";

/** What all compartments of one monitor share. */
export interface Host {
  readonly machine: MachinePort;
  readonly pages: UsedPages;
  readonly sharing: MemorySharing;
  readonly turns: Turns;
  readonly calls: Calls;
  readonly regions: RegionAllocator;
  readonly otypes: Otypes;
  readonly scheduler: Scheduler;
}

/** Memory that a cVM may use, in bytes. */
export interface Budget {
  /** Used pages of all processes. */
  readonly memory: number;
  /** Address ranges of all processes. */
  readonly addresses: number;
}

/** With fewer processes a forked child gets a region of its own whenever as much is left: that is faster than taking turns. */
const FEW_PROCESSES = 16;
/** With more it gets one as long as that takes at most one in so many bytes of what is left. */
const LEFT_FOR_OTHERS = 32;

/** One cVM as the monitor sees it: everything that it owns, and nothing else. */
export class Compartment {
  readonly name: string;
  readonly host: Host;
  readonly budget: Budget;
  readonly account: Account;
  readonly otype: number;
  /** Seals and unseals with {@link otype}. It stays in the monitor. */
  readonly sealing: Capability;
  readonly capabilities: CapabilityTable = new CapabilityTable((handle) => {
    for (const process of this.processes.values()) process.showTable(handle);
  });
  readonly processes: Map<ProcessId, Process> = new Map();
  readonly threads: Map<ThreadId, Thread> = new Map();
  /** Memory that its processes share, by the library OS's numbers. */
  readonly shared: Map<number, SharedObject> = new Map();
  /** Null before it is connected and after the end. */
  libraryOs: LibraryOs | null = null;
  syscalls: readonly (CompiledSyscall | undefined)[] = [];
  /** The one call object of this cVM, filled anew for each call. */
  readonly call: { process: number; thread: number; number: number; args: SyscallValue[]; registers: Uint8Array | undefined };
  /** Bytes of the pages that its processes use. */
  charged: number = 0;
  addressBytes: number = 0;
  syscallCount: number = 0;
  faultCount: number = 0;
  /** Calls of the library OS that were refused, and why the last one was. */
  refused: number = 0;
  lastRefusal: string = "";
  alive: boolean = true;
  /** Faults that the library OS has not answered yet. Meanwhile the ends of programs wait, so that the report comes before the exit code. */
  asking: number = 0;
  readonly held: (() => void)[] = [];
  #nextProcess: number = 1;

  constructor(name: string, host: Host, budget: Budget, weight: number, cpus: number) {
    this.name = name;
    this.host = host;
    this.budget = budget;
    this.account = new Account(weight, cpus);
    this.otype = host.otypes.allocate();
    this.sealing = sealingAuthority(this.otype);
    this.call = { process: 0, thread: 0, number: 0, args: [], registers: undefined } satisfies SyscallCall;
  }

  /** Notes that the library OS asked for something that it may not have. */
  refuse(why: string): void {
    this.refused++;
    this.lastRefusal = why;
  }

  /** A region of its own for a process; null when there is no room, or not for this cVM. */
  #allocate(bytes: number): Region | null {
    if (this.addressBytes + bytes > this.budget.addresses) return null;
    const region = this.host.regions.allocate(bytes);
    if (region !== null) this.addressBytes += region.length;
    return region;
  }

  #addProcess(region: Region): Process {
    const process = new Process(this.#nextProcess++, this, region);
    this.processes.set(process.id, process);
    return process;
  }

  /** Whether another process can use a region of such a length by turns. */
  #admits(length: number): boolean {
    const bytes = 2 * this.host.turns.seatBytes(length);
    return this.charged + bytes <= this.budget.memory && !this.host.turns.full(bytes);
  }

  /** The process whose region of at least `bytes` another one can use by turns: the shortest, and then the one with the fewest. */
  #hostFor(bytes: number): Process | undefined {
    const fitting = [...this.processes.values()].filter(({ region }) => region.length >= bytes && this.#admits(region.length));
    const tenants = ({ seat }: Process): number => seat?.room.tenants.size ?? 1;
    return fitting.sort((a, b) => a.region.length - b.region.length || tenants(a) - tenants(b))[0];
  }

  /** A process with an empty region of at least `bytes` (positive, finite); null when there is no room, or not for this cVM. */
  createProcess(bytes: number): Process | null {
    if (!this.alive || this.processes.size >= Limits.threads) return null;
    const own = this.#allocate(bytes);
    if (own !== null) return this.#addProcess(own);
    const host = this.#hostFor(bytes);
    if (host === undefined) return null;
    this.host.calls.unfit(host);
    const process = this.#addProcess(host.region);
    this.host.turns.join(host, host.region.base, host.region.length, process, false);
    return process;
  }

  /**
   * A copy of `parent`'s memory: of the first `bytes` or more in a region of its own, or of all in the parent's, which they use by turns. Null
   * when there is no room for that either, or what it shares lies behind.
   */
  forkProcess(parent: Process, bytes: number): Process | null {
    if (!this.alive || this.processes.size >= Limits.threads) return null;
    parent.enter();
    const { base, length: whole } = parent.region;
    const { pages, sharing, turns } = this.host;
    const { length } = regionShape(Math.min(bytes, whole));
    const charge = pages.held(base, length);
    if (parent.shared.pieces.some(({ end }) => end > base + length)) return null;
    const few = this.processes.size < FEW_PROCESSES;
    const fits =
      charge * (few ? 1 : LEFT_FOR_OTHERS) <= this.budget.memory - this.charged &&
      length * (few ? 2 : LEFT_FOR_OTHERS) <= this.budget.addresses - this.addressBytes;
    const own = fits ? this.#allocate(length) : null;
    if (own === null) {
      if (!this.#admits(whole) || turns.full(charge)) return null;
      this.host.calls.unfit(parent);
      const guest = this.#addProcess(parent.region);
      turns.join(parent, base, whole, guest, true);
      return guest;
    }
    const child = this.#addProcess(own);
    sharing.fork(parent.shared, child.shared, own.base - base, () => pages.duplicate(base, own.base, length));
    child.charge(charge);
    child.table = parent.table < length ? parent.table : -1;
    child.showTable();
    return child;
  }

  /**
   * Makes a process's region at least `bytes` long, where it is or at another base, if need be by turns with others; false when there is
   * no room, or not for this cVM.
   */
  growProcess(process: Process, bytes: number): boolean {
    const { region, shared } = process;
    const { regions, pages, sharing, turns } = this.host;
    if (bytes <= region.length) return true;
    process.enter();
    const find = (): Region | null => {
      const more = pages.held(region.base, region.length) - process.charged;
      if (this.addressBytes + bytes - region.length > this.budget.addresses || this.charged + more > this.budget.memory) return null;
      return (process.seat === null ? regions.extend(region, bytes) : null) ?? regions.allocate(bytes);
    };
    let to = find();
    if (to === null) {
      const host = this.#hostFor(bytes);
      if (host !== undefined) return this.#moveTo(process, host);
    }
    while (to === null && this.#consolidate(region)) {
      process.enter();
      to = find();
    }
    if (to === null) return false;
    process.place(to);
    this.addressBytes += to.length;
    if (to.base !== region.base) {
      pages.duplicate(region.base, to.base, region.length);
      sharing.move(shared, to.base - region.base);
    }
    if (!turns.leave(process)) this.#vacate(region, to);
    if (to.base !== region.base) process.showTable();
    process.charge(pages.used(to.base, to.length) - process.charged);
    return true;
  }

  /** Lets a process take turns in another one's region, which is not shorter than its own. */
  #moveTo(process: Process, host: Process): boolean {
    const { region } = process;
    if (this.host.turns.full(process.charged)) return false;
    for (const each of [process, host]) this.host.calls.unfit(each);
    const left = this.host.turns.move(process, region, host, host.region);
    process.place(host.region);
    if (!left) this.#vacate(region, null);
    return true;
  }

  /** Moves a process from the shortest region to the longest, so that regions become free; false when there is one only, `kept` aside. */
  #consolidate(kept: Region): boolean {
    const order = (a: Process, b: Process): number => a.region.length - b.region.length || a.region.base - b.region.base;
    const sorted = [...this.processes.values()].filter(({ region }) => region.base !== kept.base).sort(order);
    const [first] = sorted;
    const last = sorted.at(-1);
    if (first === undefined || first.region.base === last!.region.base || !this.#admits(last!.region.length)) return false;
    return this.#moveTo(first, last!);
  }

  /** Gives a region back, but for what still is one. */
  #vacate(region: Region, to: Region | null): void {
    this.addressBytes -= region.length;
    if (region.base === to?.base) return;
    this.host.pages.unmap(region.base, region.length);
    this.host.regions.free(region);
  }

  /** Adds a thread in state New; the caller has chosen a free id and sets DDC, PCC and registers. */
  addThread(id: ThreadId, process: Process, hart: HartPort): Thread {
    const thread = new Thread(id, process, hart);
    this.threads.set(id, thread);
    process.threads.add(thread);
    return thread;
  }

  /** Makes a thread that is not dead run when its turn comes. */
  makeRunnable(thread: Thread): void {
    thread.state = ThreadState.Runnable;
    this.host.scheduler.enqueue(this.account, thread);
  }

  endThread(thread: Thread): void {
    if (thread.state === ThreadState.Dead) return;
    this.host.calls.leave(thread);
    thread.state = ThreadState.Dead;
    thread.call = null;
    thread.saved = null;
    this.threads.delete(thread.id);
    thread.process.threads.delete(thread);
    thread.hart.release();
  }

  /** Ends all threads of a process and gives its region back, zeroed. */
  endProcess(process: Process): void {
    for (const thread of process.threads) this.endThread(thread);
    if (!this.processes.delete(process.id)) return;
    const { base, length } = process.region;
    this.host.sharing.cut(process.shared, base, base + length);
    if (!this.host.turns.leave(process)) this.#vacate(process.region, null);
    process.charge(-process.charged);
  }

  /** Ends all processes. Nothing of the cVM is left in the machine. */
  endAll(): void {
    this.alive = false;
    for (const process of this.processes.values()) this.endProcess(process);
    this.capabilities.clear();
    this.libraryOs = null;
  }

  /**
   * A capability of this cVM by number: 0 is the process's data, sealed with this cVM's otype, -1 its code; others stand in the table.
   * Undefined when there is none.
   */
  capability(process: Process, handle: number): Capability | undefined {
    if (handle === 0 || handle === -1) return sealWith(this.sealing, process.region, handle === -1);
    return this.capabilities.get(handle);
  }

  /** Gives `hart` the registers of `parent`, capabilities into the parent's region moved to the child's. */
  copyRegisters(parent: Thread, process: Process, hart: HartPort): void {
    this.host.calls.home(parent);
    hart.copyFrom(parent.hart);
    hart.scratch = NOTHING;
    Crossings.dropBuffersOf(hart);
    rebaseRegisters(hart, parent.process.region, process.region);
  }
}

/** Counters of one cVM, for `inspect`. */
export interface Counters {
  /** Milliseconds of CPU time, the library OS's work for its calls included. */
  readonly cpuMs: number;
  readonly switches: number;
  readonly syscalls: number;
  readonly faults: number;
  /** Requests of its library OS that were refused. */
  readonly refused: number;
}

export function countersOf(compartment: Compartment): Counters {
  const { account, syscallCount, faultCount, refused } = compartment;
  return { cpuMs: account.cpuMs, switches: account.switches, syscalls: syscallCount, faults: faultCount, refused };
}
