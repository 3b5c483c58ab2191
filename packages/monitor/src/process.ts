import { rebaseRegisters } from "@cvm/cpu";
import type { Region, Seat, Sharer } from "@cvm/cpu";
import type { Capability, HartPort } from "@cvm/cpu/abi";
import { GRANULE_SIZE, PAGE_SIZE } from "@cvm/cpu/abi";
import type { ProcessId, SyscallReply, ThreadId } from "./abi.ts";
import { codeCapability, dataCapability, NOTHING } from "./authority.ts";
import type { Compartment } from "./compartment.ts";
import type { Server } from "./cp/calls.ts";
import type { CompiledSyscall, SavedOutput } from "./declarations.ts";

/** What a thread is doing. */
export const ThreadState = {
  /** Forked, not started. */
  New: 0,
  /** In its cVM's queue. */
  Runnable: 1,
  /** The hart that runs now. */
  Running: 2,
  /** Its system call is in the library OS's handler. */
  Calling: 3,
  /** Its system call waits for an answer. */
  Pending: 4,
  /** The library OS decides about a fault or an interrupt. */
  Stopped: 5,
  Dead: 6,
  /** It waits for calls, or for one that it made to return: see cp/calls.ts. */
  Away: 7,
} as const;
export type ThreadStateCode = (typeof ThreadState)[keyof typeof ThreadState];

/** A thread: a hart context and what the monitor knows of its system call. */
export class Thread {
  readonly id: ThreadId;
  readonly hart: HartPort;
  process: Process;
  /** Who began what its hart does: another one, when that called it or was called by it. */
  origin: Thread;
  /** When it serves calls of other cVMs. */
  server: Server | null = null;
  state: ThreadStateCode = ThreadState.New;
  /** {@link LibraryOs.interrupted} was asked for. */
  interrupt: boolean = false;
  /** An answer to its call did not reach its memory because the cVM has none left. */
  starved: boolean = false;
  /** Its registers were replaced while its call was answered: the result is dropped. */
  replaced: boolean = false;
  /** Next in the run queue. */
  next: Thread | null = null;
  /** The call in progress: its declaration, its raw arguments, and vectors read from memory. */
  call: CompiledSyscall | null = null;
  readonly raw: Float64Array = new Float64Array(6);
  /** Bytes that each output buffer holds; -1 for other arguments. */
  readonly room: Float64Array = new Float64Array(6);
  saved: (SavedOutput | undefined)[] | null = null;
  /** An answer that came before the handler said that the call is pending. */
  early: number | SyscallReply | undefined = undefined;

  constructor(id: ThreadId, process: Process, hart: HartPort) {
    this.id = id;
    this.process = process;
    this.hart = hart;
    this.origin = this;
  }
}

/** Pages that are given at once, around the one that is needed: a fault costs as much as zeroing some of them. */
const GIVEN_BYTES: number = 16 * PAGE_SIZE;

/** Numbers that are shown in a page. */
const TABLE_SHOWN: number = PAGE_SIZE / GRANULE_SIZE - 1;

/** An address range and the capabilities that its code starts with. */
export class Process {
  readonly id: ProcessId;
  readonly owner: Compartment;
  region: Region;
  ddc: Capability;
  pcc: Capability;
  /** Bytes of its pages that are used. */
  charged: number = 0;
  readonly threads: Set<Thread> = new Set();
  /** Its memory that others may show too. */
  readonly shared: Sharer;
  /** Offset of the page that shows its cVM's capabilities; -1 without one. */
  table: number = -1;
  /** When it uses its region by turns with others of its cVM. */
  seat: Seat | null = null;

  constructor(id: ProcessId, owner: Compartment, region: Region) {
    this.id = id;
    this.owner = owner;
    this.region = region;
    this.ddc = dataCapability(region);
    this.pcc = codeCapability(region);
    this.shared = { pieces: [], objects: owner.shared };
  }

  /** Comes before its code runs, and before its memory is read or written. */
  enter(): void {
    if (this.seat !== null) this.owner.host.turns.enter(this);
    this.owner.host.sharing.enter(this.shared);
  }

  charge(bytes: number): void {
    this.charged += bytes;
    this.owner.charged += bytes;
  }

  /**
   * Lets its code store to the pages of a range, and of what is around it, that it may write and did not use before. How many bytes of
   * them the range has, and all were given; -1: the cVM has no memory left. `reserve`: bytes that it has paid for ahead if it takes turns.
   */
  use(start: number, length: number, reserve: number = 0): number {
    const { base, length: size } = this.region;
    const { host, budget, charged } = this.owner;
    if (start < base || start + length > base + size) return 0;
    const needed = host.pages.fresh(start, length);
    if (needed === 0) return 0;
    if (charged + needed > budget.memory + (this.seat === null ? 0 : reserve) || (this.seat !== null && host.turns.full(needed))) return -1;
    // Where several take turns, what is stored to is no longer kept once for all of them.
    const unit = this.seat === null ? GIVEN_BYTES : PAGE_SIZE;
    const from = Math.max(base, start - (start % unit));
    const to = Math.min(base + size, Math.ceil((start + length) / unit) * unit);
    const around = host.pages.fresh(from, to - from);
    const fits = charged + around <= budget.memory;
    host.pages.use(fits ? from : start, fits ? to - from : length, true);
    this.charge(fits ? around : needed);
    return needed;
  }

  /** Writes the capability with a number, or none, where the process's code loads it from; all of them unless one is named. */
  showTable(only?: number): void {
    if (this.table < 0 || this.seat !== null) return;
    const { capabilities, host } = this.owner;
    const at = this.region.base + this.table;
    for (let handle = only ?? 1; handle <= Math.min(only ?? TABLE_SHOWN, TABLE_SHOWN); handle++)
      host.machine.storeCapability(at + GRANULE_SIZE * handle, capabilities.get(handle) ?? NOTHING);
  }

  /** Puts it into another region, where its memory already is; offsets stay the same. */
  place(to: Region): void {
    const from = this.region;
    for (const { hart } of this.threads) rebaseRegisters(hart, from, to);
    this.region = to;
    this.owner.host.calls.moved(this, from);
    this.ddc = dataCapability(to);
    this.pcc = codeCapability(to);
  }
}
