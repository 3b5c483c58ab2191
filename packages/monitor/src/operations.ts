import type { HartPort } from "@cvm/cpu/abi";
import { PAGE_SIZE, REGISTER_FILE_BYTES } from "@cvm/cpu/abi";
import type { ProcessOp, ThreadId } from "./abi.ts";
import { Limits } from "./abi.ts";
import { isBytes, isHandle, isInteger, isRecord } from "./check.ts";
import type { Compartment } from "./compartment.ts";
import { Errno } from "./errors.ts";
import type { Process, Thread } from "./process.ts";
import { ThreadState } from "./process.ts";

/** What came of a list: 0; -ENOMEM or -EFAULT (nothing was done); -EINVAL (nothing was done, and it should never have been asked for). */
export interface OperationsOutcome {
  readonly error: number;
  readonly reason: string;
}

const DONE: OperationsOutcome = { error: 0, reason: "" };
/** Most operations in one list. */
const LIST_MOST = 65536;
/** Most ranges that one process shares with others. */
const SHARES_MOST = 16384;

/** Thrown and caught in this file only, while a list is checked. */
class Refusal extends Error {
  readonly error: number;

  constructor(error: number, reason: string) {
    super(reason);
    this.error = error;
  }
}

/** Absolute addresses. */
interface Span {
  readonly start: number;
  readonly length: number;
}
const NOWHERE: Span = { start: 0, length: 0 };

/** What earlier operations of the list will have changed when a later one is carried out. */
class Overlay {
  readonly endedProcesses: Set<Process> = new Set();
  readonly endedThreads: Set<ThreadId> = new Set();
  /** Threads that the list adds or moves, with their process. */
  readonly placed: Map<ThreadId, Process> = new Map();
  readonly mapped: { readonly process: Process; readonly start: number; readonly end: number }[] = [];
  added: number = 0;
  shares: number = 0;
  charge: number = 0;
  span: Span = NOWHERE;
}

/** Operations of library OSes on their own processes: a list is checked as a whole, then carried out, and cannot fail half-way. */
export class Operations {
  /**
   * Applies a list for `compartment`. `caller` is the thread whose call the list answers: a new thread of its process starts with its
   * DDC and PCC, so that code which gave up rights does not get them back by a new thread.
   */
  apply(compartment: Compartment, ops: unknown, caller: Thread | null): OperationsOutcome {
    const spans: Span[] = [];
    let harts: HartPort[];
    let list: readonly ProcessOp[];
    try {
      list = check(compartment, ops, spans);
      harts = createHarts(compartment, list);
    } catch (error) {
      if (error instanceof Refusal) {
        if (error.error === -Errno.EINVAL) compartment.refuse(error.message);
        return { error: error.error, reason: error.message };
      }
      throw error;
    }
    const inherited =
      caller === null || harts.length === 0 ? null : { process: caller.process, ddc: caller.hart.ddc, pcc: caller.hart.pcc };
    for (let i = 0; i < list.length; i++) carryOut(compartment, list[i]!, spans[i]!, inherited, harts);
    return DONE;
  }
}

function createHarts(compartment: Compartment, list: readonly ProcessOp[]): HartPort[] {
  const harts: HartPort[] = [];
  try {
    for (const { op } of list) if (op === "thread") harts.push(compartment.host.machine.createHart());
  } catch {
    for (const hart of harts) hart.release();
    throw new Refusal(-Errno.ENOMEM, "no more threads: the machine has no hart left");
  }
  return harts;
}

function invalid(position: number, op: unknown, reason: string): never {
  throw new Refusal(-Errno.EINVAL, `operation ${position + 1} (${String(op)}): ${reason}`);
}

/** Fills `spans` with the range that each operation is about. */
function check(compartment: Compartment, ops: unknown, spans: Span[]): readonly ProcessOp[] {
  if (!Array.isArray(ops) || ops.length > LIST_MOST) throw new Refusal(-Errno.EINVAL, "operations are not a list of at most 65536");
  const overlay = new Overlay();
  for (let i = 0; i < ops.length; i++) {
    const op: unknown = ops[i];
    if (!isRecord(op)) invalid(i, op, "not a record");
    overlay.span = NOWHERE;
    checkOne(compartment, overlay, op, i);
    spans.push(overlay.span);
  }
  if (compartment.charged + overlay.charge > compartment.budget.memory)
    throw new Refusal(-Errno.ENOMEM, "more memory than this cVM may have");
  return ops as readonly ProcessOp[];
}

function checkOne(compartment: Compartment, overlay: Overlay, op: Readonly<Record<string, unknown>>, i: number): void {
  const fail = (reason: string): never => invalid(i, op["op"], reason);
  const processOf = (): Process => {
    const process = isHandle(op["process"]) ? compartment.processes.get(op["process"]) : undefined;
    if (process === undefined || overlay.endedProcesses.has(process)) return fail("no such process");
    process.enter();
    return process;
  };
  const threadOf = (): ThreadId => {
    const id = op["thread"];
    if (!isHandle(id) || overlay.endedThreads.has(id)) return fail("no such thread");
    const process = overlay.placed.get(id) ?? compartment.threads.get(id)?.process;
    if (process === undefined || overlay.endedProcesses.has(process)) return fail("no such thread");
    return id;
  };
  const registers = (): void => {
    if (!isBytes(op["registers"]) || op["registers"].length !== REGISTER_FILE_BYTES) fail(`registers are not ${REGISTER_FILE_BYTES} bytes`);
  };
  const range = (process: Process, from: unknown, length: unknown, unit: number): number => {
    if (!isInteger(from, 0) || !isInteger(length, 0) || from % unit !== 0 || length % unit !== 0)
      return fail(`range is not of whole ${unit === 1 ? "bytes" : "pages"}`);
    if (from < PAGE_SIZE || from + length > process.region.length)
      return fail(`0x${from.toString(16)} + 0x${length.toString(16)} leaves the region or touches its page 0`);
    overlay.span = { start: process.region.base + from, length };
    return overlay.span.start;
  };
  const { pages } = compartment.host;
  switch (op["op"]) {
    case "map": {
      const process = processOf();
      const start = range(process, op["address"], op["length"], PAGE_SIZE);
      const length = op["length"] as number;
      if (!isInteger(op["prot"], 0, 7)) fail("prot is not 0 … 7");
      if (op["bytes"] !== undefined && (!isBytes(op["bytes"]) || op["bytes"].length > length)) fail("bytes are longer than the range");
      if (op["bytes"] !== undefined) overlay.charge += pages.unused(start, (op["bytes"] as Uint8Array).length);
      overlay.mapped.push({ process, start, end: start + length });
      return;
    }
    case "protect": {
      const process = processOf();
      range(process, op["address"], op["length"], PAGE_SIZE);
      if (!isInteger(op["prot"], 0, 7)) fail("prot is not 0 … 7");
      return;
    }
    case "unmap":
    case "zero":
      range(processOf(), op["address"], op["length"], PAGE_SIZE);
      return;
    case "share": {
      const process = processOf();
      const start = range(process, op["address"], op["length"], PAGE_SIZE);
      if (!isMapped(compartment, overlay, process, start, op["length"] as number)) fail("not mapped");
      overlay.charge += pages.unused(start, op["length"] as number);
      if (!isHandle(op["object"])) fail("object is not 1 … 2^31 - 1");
      if (!isInteger(op["offset"], 0) || op["offset"] % PAGE_SIZE !== 0) fail("offset is not one of a page");
      if (process.shared.pieces.length + overlay.shares++ >= SHARES_MOST)
        throw new Refusal(-Errno.ENOMEM, `a process shares at most ${SHARES_MOST} ranges`);
      return;
    }
    case "capabilities": {
      const process = processOf();
      const start = range(process, op["address"], PAGE_SIZE, PAGE_SIZE);
      if (!isMapped(compartment, overlay, process, start, PAGE_SIZE)) fail("not mapped");
      overlay.charge += pages.unused(start, PAGE_SIZE);
      return;
    }
    case "copy": {
      const process = processOf();
      const from = range(process, op["from"], op["length"], 1);
      const to = range(process, op["to"], op["length"], 1);
      if (Math.abs(from - to) < (op["length"] as number)) fail("ranges overlap");
      if (!isMapped(compartment, overlay, process, to, op["length"] as number)) fail("not mapped");
      overlay.charge += pages.unused(to, op["length"] as number);
      return;
    }
    case "write": {
      const process = processOf();
      if (!isBytes(op["bytes"])) fail("bytes are missing");
      const bytes = op["bytes"] as Uint8Array;
      // The address may be the guest's (a stack pointer, a futex word), so that leaving the region is its fault, not an attack.
      const address = op["address"];
      const inside = isInteger(address, PAGE_SIZE) && address + bytes.length <= process.region.length;
      if (inside) {
        overlay.span = { start: process.region.base + address, length: bytes.length };
        overlay.charge += pages.unused(overlay.span.start, bytes.length);
      }
      if (op["ifMapped"] === true) return;
      if (!inside || !isMapped(compartment, overlay, process, process.region.base + address, bytes.length))
        throw new Refusal(-Errno.EFAULT, `operation ${i + 1} (write): not mapped`);
      return;
    }
    case "registers":
      threadOf();
      registers();
      return;
    case "thread": {
      const process = processOf();
      const id = op["thread"];
      if (!isHandle(id)) fail("thread is not 1 … 2^31 - 1");
      if (overlay.placed.has(id as ThreadId) || (compartment.threads.has(id as ThreadId) && !overlay.endedThreads.has(id as ThreadId)))
        fail("this thread exists");
      if (compartment.threads.size + ++overlay.added > Limits.threads)
        throw new Refusal(-Errno.ENOMEM, `a cVM has at most ${Limits.threads} threads`);
      registers();
      overlay.placed.set(id as ThreadId, process);
      return;
    }
    case "move": {
      const id = threadOf();
      const process = processOf();
      registers();
      overlay.placed.set(id, process);
      return;
    }
    case "endThread": {
      const id = threadOf();
      overlay.endedThreads.add(id);
      overlay.placed.delete(id);
      return;
    }
    case "endProcess":
      overlay.endedProcesses.add(processOf());
      return;
    case "interrupt":
      threadOf();
      return;
    default:
      fail("there is no such operation");
  }
}

function isMapped(compartment: Compartment, overlay: Overlay, process: Process, start: number, length: number): boolean {
  const { pages } = compartment.host;
  const first = start - (start % PAGE_SIZE);
  for (let page = first; page < start + length; page += PAGE_SIZE) {
    if (!pages.mapped(page, 1) && !overlay.mapped.some((range) => range.process === process && page >= range.start && page < range.end))
      return false;
  }
  return true;
}

type Caller = { readonly process: Process; readonly ddc: HartPort["ddc"]; readonly pcc: HartPort["pcc"] };

function carryOut(compartment: Compartment, op: ProcessOp, { start, length }: Span, caller: Caller | null, harts: HartPort[]): void {
  const { pages, sharing } = compartment.host;
  const process = "process" in op ? compartment.processes.get(op.process)! : null;
  process?.enter();
  if (op.op === "map" || op.op === "unmap" || op.op === "zero") {
    sharing.cut(process!.shared, start, start + length);
    if (process!.table >= op.address && process!.table < op.address + length) process!.table = -1;
  }
  // Not when it was said to be left out then, and not when an earlier operation took the pages away.
  if ((op.op === "write" || op.op === "copy" || op.op === "share") && !pages.mapped(start, length)) return;
  const before = pages.used(start, length);
  switch (op.op) {
    case "map":
      pages.map(start, length, op.prot, op.keep === true);
      if (op.bytes !== undefined) pages.write(start, op.bytes);
      break;
    case "protect":
      pages.protect(start, length, op.prot);
      break;
    case "unmap":
      pages.unmap(start, length);
      break;
    case "zero":
      pages.zero(start, length);
      break;
    case "copy":
      pages.copy(process!.region.base + op.from, start, length);
      break;
    case "write":
      pages.write(start, op.bytes);
      break;
    case "share":
      // What comes from other sharers is written without a look at the account: all of it counts from now on.
      compartment.host.calls.unfit(process!);
      pages.use(start, length, false);
      sharing.add(process!.shared, start, length, op.object, op.offset / PAGE_SIZE);
      break;
    case "capabilities":
      pages.use(start, length, false);
      process!.table = op.address;
      process!.showTable();
      break;
    case "registers": {
      const thread = compartment.threads.get(op.thread)!;
      compartment.host.calls.home(thread);
      thread.hart.loadRegisters(op.registers);
      thread.replaced = true;
      break;
    }
    case "thread": {
      const hart = harts.shift()!;
      const { ddc, pcc } = caller?.process === process ? caller : process!;
      hart.ddc = ddc;
      hart.pcc = pcc;
      hart.loadRegisters(op.registers);
      compartment.makeRunnable(compartment.addThread(op.thread, process!, hart));
      break;
    }
    case "move": {
      const thread = compartment.threads.get(op.thread)!;
      compartment.host.calls.leave(thread);
      thread.process.threads.delete(thread);
      thread.process = process!;
      process!.threads.add(thread);
      thread.hart.ddc = process!.ddc;
      thread.hart.pcc = process!.pcc;
      thread.hart.loadRegisters(op.registers);
      thread.replaced = true;
      break;
    }
    case "endThread":
      compartment.endThread(compartment.threads.get(op.thread)!);
      break;
    case "endProcess":
      compartment.endProcess(process!);
      return;
    case "interrupt": {
      const thread = compartment.threads.get(op.thread)!;
      if (thread.state === ThreadState.Dead) return;
      thread.interrupt = true;
      if (thread.state === ThreadState.Away) compartment.host.calls.interrupt(thread);
    }
  }
  process?.charge(pages.used(start, length) - before);
}
