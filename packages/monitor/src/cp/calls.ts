import { capability as c, Crossings, CROSSINGS_BYTES, rebase, rebaseRegisters } from "@cvm/cpu";
import type { Capability, HartPort } from "@cvm/cpu/abi";
import { GRANULE_SIZE, REGISTER_FILE_BYTES } from "@cvm/cpu/abi";
import { CpRight, Limits } from "../abi.ts";
import { NOTHING, sealingAuthority } from "../authority.ts";
import type { Compartment, Host } from "../compartment.ts";
import { Errno } from "../errors.ts";
import type { Process, Thread } from "../process.ts";
import { ThreadState } from "../process.ts";
import type { CpObject } from "./objects.ts";

const A0 = 10;
const NO_REGISTERS: Uint8Array = new Uint8Array(REGISTER_FILE_BYTES);

/** A pair of capabilities in a cVM's table. */
export interface Pair {
  readonly capabilities: readonly [Capability, Capability];
  readonly handles: readonly [number, number];
}
/** One cVM's way to an object; `at`: its record. */
interface Door extends Pair {
  readonly at: number;
}
/** A CP_Call that somebody opened. */
interface Site {
  readonly at: number;
  readonly doors: Map<Compartment, Door>;
  readonly servers: Set<Server>;
}

/** A thread that waits for calls, or is in one. */
export class Server {
  readonly thread: Thread;
  readonly slot: number;
  /** Null when it serves no longer but is still in a call. */
  site: Site | null;
  /** What it goes on with when it serves no longer. */
  readonly registers: Uint8Array;
  data: Capability;
  code: Capability;
  /** Who waits for the call that it is in. Known after {@link Calls} looked. */
  caller: Thread | null = null;
  /** Its call has no caller any more. */
  abandoned: boolean = false;

  constructor(thread: Thread, slot: number, site: Site) {
    const { hart } = thread;
    this.thread = thread;
    this.slot = slot;
    this.site = site;
    this.registers = hart.saveRegisters();
    this.data = hart.ddc;
    this.code = hart.pcc;
  }
}

/**
 * CP_Call: functions of one cVM that another one calls without a trap ({@link Crossings}). A call runs the callee's code on its caller's hart, so a hart may hold what another thread
 * does. Where that matters, at system calls, faults and interrupts, it is brought to that thread ({@link Calls.settle}), and the one that it was on waits, in state Away. So at each time what
 * a thread does is on exactly one hart: what it began by itself, or with a call to it.
 */
export class Calls {
  readonly #host: Pick<Host, "machine" | "regions" | "otypes">;
  #crossings: Crossings | null = null;
  readonly #sites: Map<CpObject, Site> = new Map();
  readonly #servers: Map<number, Server> = new Map();
  /** cVMs that call or serve, with their gates. */
  readonly #users: Map<Compartment, Pair> = new Map();

  constructor(host: Pick<Host, "machine" | "regions" | "otypes">) {
    this.#host = host;
  }

  // ------------------------------------------------------------------ serving and opening

  /** The gates through which a callee returns and fetches its buffers, see {@link Crossings.returnGate}; negative errno. */
  gates(compartment: Compartment): Pair | number {
    const known = this.#users.get(compartment);
    if (known !== undefined) return known;
    const region = this.#crossings === null ? this.#host.regions.allocate(CROSSINGS_BYTES) : null;
    if (region !== null) this.#crossings = new Crossings(this.#host.machine, region.base);
    if (this.#crossings === null) return -Errno.ENOMEM;
    const gates = hold(compartment, [this.#crossings.returnGate, this.#crossings.bufferGate]);
    if (gates === null) return -Errno.EMFILE;
    this.#users.set(compartment, gates);
    return gates;
  }
  #opened(compartment: Compartment, handle: number, right: number): Site | number {
    const opened = compartment.capabilities.opened(handle);
    if (opened?.object.kind !== "call" || (opened.rights & right) === 0) return -Errno.EBADF;
    const gates = this.gates(compartment);
    if (typeof gates === "number") return gates;
    const known = this.#sites.get(opened.object);
    if (known !== undefined) return known;
    const at = this.#crossings!.newSite();
    if (at === 0) return -Errno.ENOMEM;
    const site: Site = { at, doors: new Map(), servers: new Set() };
    this.#sites.set(opened.object, site);
    return site;
  }

  /** The pair that calls an object opened with the right to call; negative errno. */
  pair(compartment: Compartment, handle: number): Pair | number {
    const site = this.#opened(compartment, handle, CpRight.Call);
    if (typeof site === "number") return site;
    const known = site.doors.get(compartment);
    if (known !== undefined) return known;
    const at = this.#crossings!.newDoor(site.at, compartment, Limits.cpDoors);
    if (at === 0) return -Errno.EMFILE;
    const pair = hold(compartment, this.#crossings!.pair(at, sealingAuthority(this.#host.otypes.allocate())));
    if (pair === null) return -Errno.EMFILE;
    site.doors.set(compartment, { at, ...pair });
    return pair;
  }

  /**
   * A thread of a running hart that stands behind its system call waits for calls, each of which begins at `entry` with the registers sp, gp and tp as they are. Returns at once,
   * with a negative errno, only when it cannot: EBADF without the right to publish, EINVAL for an entry outside of its code, EBUSY when its memory is shared with others or it serves already, EAGAIN when it would be
   * one too many.
   */
  serve(thread: Thread, handle: number, entry: number): number {
    const { hart, process } = thread;
    const { owner } = process;
    const site = this.#opened(owner, handle, CpRight.Publish);
    if (typeof site === "number") return site;
    const code = c.setAddress(hart.pcc, BigInt.asUintN(64, hart.pcc.base + BigInt(Math.trunc(entry))));
    if (entry % 2 !== 0 || !code.tag || code.address < code.base || code.address + 2n > code.top) return -Errno.EINVAL;
    if (process.seat !== null || process.shared.pieces.length > 0 || thread.server !== null) return -Errno.EBUSY;
    const own = [...this.#servers.values()].filter((server) => server.thread.process.owner === owner);
    const slot = own.length < Limits.cpServers ? this.#crossings!.newSlot(site.at, code, hart) : 0;
    if (slot === 0) return -Errno.EAGAIN;
    thread.server = new Server(thread, slot, site);
    site.servers.add(thread.server);
    this.#servers.set(slot, thread.server);
    thread.state = ThreadState.Away;
    return 0;
  }

  // ------------------------------------------------------------------ whose hart it is

  /** The code that a hart runs is that of the crossing itself. */
  crosses(hart: HartPort): boolean {
    return this.#crossings?.runs(Number(hart.pcc.base)) === true;
  }

  /** The calls that a thread's hart is in, the innermost first. Notes who waits for each. */
  #chain(thread: Thread): Server[] {
    const chain: Server[] = [];
    for (let slot = thread.hart.scratchAddress; slot !== 0; slot = this.#crossings!.around(slot)) chain.push(this.#servers.get(slot)!);
    for (const [i, server] of chain.entries()) server.caller = server.abandoned ? null : (chain[i + 1]?.thread ?? thread.origin);
    return chain;
  }

  /** Brings what a running or runnable thread's hart does to the thread that does it; that one has the state then. */
  settle(thread: Thread): Thread {
    const who = this.#chain(thread)[0]?.thread ?? thread.origin;
    if (who === thread) return thread;
    who.hart.copyFrom(thread.hart);
    who.origin = thread.origin;
    who.state = thread.state;
    this.#reset(thread);
    thread.state = ThreadState.Away;
    if (who.state !== ThreadState.Runnable) return who;
    thread.process.owner.account.remove(thread);
    who.process.owner.makeRunnable(who);
    return who;
  }

  /** At the end of a time slice: what came back from a call goes on in its own cVM's time. */
  rest(thread: Thread): Thread {
    return this.#chain(thread).some(({ caller }) => caller === thread) ? thread : this.settle(thread);
  }
  /** The call that a thread waits for, if everything is settled. */
  #called(thread: Thread): Server | undefined {
    return [...this.#servers.values()].find(({ caller }) => caller === thread);
  }

  /** Everything is where it belongs, and who waits for whom is known. */
  #settleAll(): void {
    for (const server of this.#servers.values()) server.caller = null;
    const threads = [...this.#users.keys()].flatMap((compartment) => [...compartment.threads.values()]);
    for (const thread of threads) {
      if (thread.state === ThreadState.Away || !isAway(thread)) continue;
      const who = this.settle(thread);
      if (who !== thread && who.state === ThreadState.Running) who.process.owner.makeRunnable(who);
    }
  }

  /** Before something is done to a thread's registers: they are its own, or nobody's. */
  home(thread: Thread): void {
    if (isAway(thread)) this.#settleAll();
  }

  /** The processes that a hart's code may store to by capabilities: its own, and those of all who wait for it. */
  use(thread: Thread, address: number): number {
    const chain = this.#chain(thread);
    const processes = [chain[0]?.thread ?? thread.origin, ...chain.map(({ caller }) => caller)].map((each) => each?.process);
    for (const process of processes) {
      const given = process?.use(address, GRANULE_SIZE) ?? 0;
      if (given !== 0) return given;
    }
    return 0;
  }

  // ------------------------------------------------------------------ the end of a call that does not return by itself

  /** The caller goes on with an error, at once; the callee by itself, until it returns. */
  #cancel(server: Server, error: number): void {
    const caller = server.caller!;
    let outer = caller.server;
    this.#reset(caller);
    for (; outer !== null && outer.caller !== null; outer = outer.caller.server) caller.origin = outer.caller;
    this.#crossings!.resume(server.slot, caller.hart, caller.process.region, error);
    this.#abandon(server);
    caller.process.owner.makeRunnable(caller);
  }
  /** Nobody waits for a call any more; what its caller lent is gone. */
  #abandon(server: Server): void {
    this.#crossings!.abandon(server.slot);
    server.abandoned = true;
    server.caller = null;
    let holder = server.thread;
    for (let next = this.#called(holder); next !== undefined; next = this.#called(holder)) {
      this.#crossings!.dropBuffers(next.slot);
      holder = next.thread;
    }
    holder.origin = server.thread;
    Crossings.dropBuffersOf(holder.hart);
  }
  /** A thread's hart does nothing for anybody, and stands where there is no code. */
  #reset(thread: Thread): void {
    const { hart, process } = thread;
    hart.loadRegisters(NO_REGISTERS);
    hart.ddc = process.ddc;
    hart.scratch = NOTHING;
    thread.origin = thread;
    this.lost(thread);
  }
  /** An exception in the code of the crossing is one of who wanted to go on at a place that is none. */
  lost({ hart, process }: Thread): void {
    hart.pcc = process.pcc;
    hart.pc = 0;
  }
  /** It serves no longer. What it does now is left as it is. */
  #free(server: Server): void {
    this.#crossings!.withdraw(server.slot);
    this.#crossings!.freeSlot(server.slot);
    this.#servers.delete(server.slot);
    server.site?.servers.delete(server);
    server.thread.server = null;
  }
  /** One that waits for calls, or is done with an abandoned one, comes back from its system call. */
  #dismiss(server: Server, error: number): void {
    const { thread, registers, data, code } = server;
    const { hart } = thread;
    this.#free(server);
    this.#reset(thread);
    hart.ddc = data;
    hart.pcc = code;
    hart.loadRegisters(registers);
    hart.setInt(A0, error);
    if (thread.state === ThreadState.Away) thread.process.owner.makeRunnable(thread);
  }
  /** As far as it goes: its caller hears of it, and it serves no longer. */
  #dissolve(server: Server, error: number): void {
    if (server.caller !== null) this.#cancel(server, -Errno.ECANCELED);
    if (!server.abandoned) return this.#dismiss(server, error);
    server.site?.servers.delete(server);
    server.site = null;
  }

  /** A thread stands behind an ecall in the code of the crossing: it returned from a call that nobody waits for, or from none. */
  done(thread: Thread): void {
    const { server } = thread;
    if (server?.abandoned !== true || thread.hart.scratchAddress !== server.slot) return this.lost(thread);
    server.abandoned = false;
    if (server.site === null) return this.#dismiss(server, -Errno.ECANCELED);
    this.#reset(thread);
    this.#crossings!.offer(server.slot);
    thread.state = ThreadState.Away;
  }

  /** A thread that is Away, or in a call, is to be interrupted: it stops waiting for whatever it waits for. */
  interrupt(thread: Thread): void {
    this.#settleAll();
    if (thread.state !== ThreadState.Away) return;
    const called = this.#called(thread);
    if (called !== undefined) this.#cancel(called, -Errno.EINTR);
    else this.#dismiss(thread.server!, -Errno.EINTR);
  }

  /** A thread ends, or becomes another program: its caller gets an error, and nobody waits for what it called. */
  leave(thread: Thread): void {
    const { server } = thread;
    if (server === null && !isAway(thread) && thread.state !== ThreadState.Away) return;
    this.#settleAll();
    const called = this.#called(thread);
    if (called !== undefined) this.#abandon(called);
    if (server !== null) {
      if (server.caller !== null) this.#cancel(server, -Errno.ECANCELED);
      this.#free(server);
    }
    this.#reset(thread);
    if (thread.state === ThreadState.Away) thread.process.owner.makeRunnable(thread);
  }

  /** A process begins to share its memory with others: it cannot serve any more. */
  unfit(process: Process): void {
    if (![...process.threads].some(({ server }) => server !== null)) return;
    this.#settleAll();
    for (const { server } of process.threads) if (server !== null) this.#dissolve(server, -Errno.EBUSY);
  }

  /** A process has another region: what leads into the old one leads into the new one. */
  moved({ region, threads }: Process, from: Process["region"]): void {
    const move = (capability: Capability): Capability => rebase(capability, from, region);
    for (const { server } of threads) {
      if (server === null) continue;
      server.data = move(server.data);
      server.code = move(server.code);
    }
    for (const server of this.#servers.values()) this.#crossings!.change(server.slot, move);
    for (const user of this.#users.keys())
      for (const thread of user.threads.values()) if (isAway(thread)) rebaseRegisters(thread.hart, from, region);
  }

  // ------------------------------------------------------------------ revocation

  #close(site: Site, compartment: Compartment): void {
    const door = site.doors.get(compartment);
    if (door === undefined) return;
    this.#crossings!.closeDoor(door.at);
    site.doors.delete(compartment);
    for (const handle of door.handles) compartment.capabilities.remove(handle);
  }

  /** An object is taken from all, or what one cVM has of it. Calls in flight end with an error. */
  revoke(object: CpObject, from: string | null): void {
    if (this.#crossings !== null) this.#settleAll();
    // Whom the cVM lent a buffer to has it no longer.
    const lent = from !== null && object.region !== null ? [...this.#servers.values()] : [];
    for (const server of lent) if (server.caller?.process.owner.name === from) this.#cancel(server, -Errno.ECANCELED);
    const site = this.#sites.get(object);
    if (site === undefined) return;
    for (const compartment of site.doors.keys()) if (from === null || compartment.name === from) this.#close(site, compartment);
    for (const server of site.servers) {
      if (from === null || server.thread.process.owner.name === from) this.#dissolve(server, -Errno.ECANCELED);
      else if (server.caller?.process.owner.name === from) this.#cancel(server, -Errno.ECANCELED);
    }
    if (from !== null) return;
    this.#sites.delete(object);
    this.#crossings!.freeSite(site.at);
  }

  /** A cVM is over, all its threads with it: no copy of a pair of its is left. */
  forget(compartment: Compartment): void {
    for (const { doors } of this.#sites.values()) doors.delete(compartment);
    this.#crossings?.freeDoors(compartment);
    this.#users.delete(compartment);
  }
}

/** Whether a thread's hart may do what another thread does. */
export function isAway(thread: Thread): boolean {
  return thread.origin !== thread || thread.hart.scratchAddress !== 0;
}

/** Puts two capabilities into a cVM's table; null when there is no room. */
function hold({ capabilities: table }: Compartment, capabilities: readonly [Capability, Capability]): Pair | null {
  const handles: number[] = [];
  try {
    for (const capability of capabilities) handles.push(table.insert(capability));
    return { capabilities, handles: [handles[0]!, handles[1]!] };
  } catch {
    for (const handle of handles) table.remove(handle);
    return null;
  }
}
