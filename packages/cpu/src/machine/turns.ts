import type { MachinePort } from "../abi.ts";
import { PAGE_SIZE } from "../abi.ts";
import { PageStore } from "./page-store.ts";
import { allowedBy, PageUse } from "./page-use.ts";
import type { MemorySharing, Sharer } from "./sharing.ts";

/** {@link PageUse} bits of all pages of a machine. */
export interface PageStates {
  readonly states: Uint8Array;
  /** Zeroes pages and takes them away. */
  unmap(start: number, length: number): void;
}

/** Absolute addresses. */
interface Range {
  readonly base: number;
  readonly length: number;
}

/** A range in which several take turns. */
interface Room extends Range {
  readonly tenants: Set<Tenant>;
  /** Whose memory it holds; null: all zeros. */
  present: Tenant | null;
  /** Number of contents that its tenants hold in the store. */
  stored: number;
}

/** The memory of one that takes turns: by page of the room. Contents and states are up to date while it is not present. */
export interface Seat {
  readonly room: Room;
  /** Numbers in the store; 0: zeros, or for a present one's page without {@link PageUse.Kept}: only memory has it. */
  readonly kept: Int32Array;
  readonly states: Uint8Array;
  /** By chunk: whether {@link kept} or {@link states} has anything of it. Most of a long range is empty as a rule. */
  readonly chunks: Uint8Array;
}

/** One that takes turns, or may: a process. */
export interface Tenant {
  readonly shared: Sharer;
  /** Bytes of memory that it pays for. */
  readonly charged: number;
  charge(bytes: number): void;
  /** Null: it has its range for itself. */
  seat: Seat | null;
}

/** Pages of a chunk. */
const CHUNK = 256;

/** Bytes that a seat takes for each page. */
const SEAT_BYTES = 5;
/** Bytes that each tenant pays for ahead: what trusted code must still be able to write for it when all memory is used. */
export const SEAT_RESERVE: number = 4 * PAGE_SIZE;

/**
 * Lets processes use one range of addresses by turns, where there is no room for a range of each: as only one of them runs at a time, what the
 * last one changed is put away when another one's turn comes, and that one's pages are put in place as far as they are others. Contents
 * that a parent and its forked children have not changed since are kept once. Only bytes cross, never tags.
 */
export class Turns {
  readonly #machine: MachinePort;
  readonly #pages: PageStates;
  readonly #sharing: MemorySharing;
  readonly #store: PageStore = new PageStore();
  /** Most pages that are kept for all. */
  readonly #most: number;

  constructor(machine: MachinePort, pages: PageStates, sharing: MemorySharing, mostBytes: number = 2 ** 31) {
    this.#machine = machine;
    this.#pages = pages;
    this.#sharing = sharing;
    this.#most = mostBytes / PAGE_SIZE;
  }

  /** Whether so many bytes more are too many to be kept. */
  full(bytes: number): boolean {
    return this.#store.pages + bytes / PAGE_SIZE > this.#most;
  }

  /** Bytes of memory that one seat in a range counts as. */
  seatBytes(length: number): number {
    return SEAT_RESERVE + Math.ceil((length / PAGE_SIZE) * SEAT_BYTES);
  }

  /** Comes before a tenant's code runs, and before its memory is read or written by trusted code. */
  enter(tenant: Tenant): void {
    const { seat } = tenant;
    if (seat === null || seat.room.present === tenant) return;
    const { room } = seat;
    const before = room.present;
    if (before !== null) {
      this.#sharing.leave(before.shared);
      this.#save(before.seat!);
    }
    this.#load(seat, before?.seat ?? null);
    room.present = tenant;
    this.#sharing.back(tenant.shared);
    this.#claim(tenant);
    this.#settle(room, tenant);
  }

  /**
   * Lets `guest`, which has no memory yet, use the range of `host` by turns: with a copy of its memory as a forked child, or with nothing.
   */
  join(host: Tenant, base: number, length: number, guest: Tenant, copy: boolean): void {
    host.seat ??= newSeat({ base, length, tenants: new Set([host]), present: host, stored: 0 });
    this.enter(host);
    const { room } = host.seat;
    guest.seat = newSeat(room);
    if (copy) {
      this.#sharing.fork(host.shared, guest.shared, 0, () => this.#copy(host.seat!, guest.seat!));
      this.#sharing.leave(guest.shared, false);
      this.#claim(host);
    }
    room.tenants.add(guest);
    this.#settle(room, guest);
  }

  /** Gives up a tenant's seat with all that it holds. False when it had none, so that the range is its own. */
  leave(tenant: Tenant): boolean {
    const { seat } = tenant;
    if (seat === null) return false;
    const { room } = seat;
    if (room.present === tenant) {
      this.#pages.unmap(room.base, room.length);
      room.present = null;
    }
    eachPage(seat, (page) => this.#release(seat, page));
    tenant.seat = null;
    room.tenants.delete(tenant);
    const [other] = room.tenants;
    // What it paid for others pay now.
    const { charged } = tenant;
    tenant.charge(-charged);
    if (room.tenants.size === 1) this.#dissolve(other!, room);
    else if (other !== undefined) this.#settle(room, other);
    return other !== undefined;
  }

  /**
   * Moves a tenant from its range to the one of `host`, where it takes turns. False: nobody is left in its old range. Addresses in it
   * become others by the difference of the bases.
   */
  move(tenant: Tenant, from: Range, host: Tenant, to: Range): boolean {
    this.enter(tenant);
    const old = (tenant.seat ??= newSeat({ ...from, tenants: new Set([tenant]), present: tenant, stored: 0 }));
    this.#sharing.leave(tenant.shared);
    this.#sharing.move(tenant.shared, to.base - from.base);
    this.#save(old);
    host.seat ??= newSeat({ ...to, tenants: new Set([host]), present: host, stored: 0 });
    const { room } = host.seat;
    const seat = newSeat(room);
    seat.states.set(old.states);
    seat.chunks.set(old.chunks);
    eachPage(old, (page) => {
      const number = old.kept[page]!;
      if (number === 0) return;
      room.stored++;
      // What others in the old range have as well stays with them.
      if (this.#store.shared(number)) seat.kept[page] = this.#store.add(this.#store.bytes(number));
      else {
        seat.kept[page] = number;
        old.kept[page] = 0;
        old.room.stored--;
      }
    });
    const left = this.leave(tenant);
    tenant.seat = seat;
    room.tenants.add(tenant);
    this.#settle(room, tenant);
    return left;
  }

  /** The last tenant has the range for itself again. */
  #dissolve(tenant: Tenant, room: Room): void {
    this.enter(tenant);
    const seat = tenant.seat!;
    const { states } = this.#pages;
    const first = room.base / PAGE_SIZE;
    eachPage(seat, (page) => {
      if ((states[first + page]! & PageUse.Kept) !== 0) this.#own(room, page);
      this.#release(seat, page);
    });
    this.#settle(room, tenant);
    tenant.seat = null;
  }

  /** Keeps what the memory of a present tenant holds. States of memory stay as they are. */
  #save(seat: Seat): void {
    const { room, kept, states, chunks } = seat;
    const first = room.base / PAGE_SIZE;
    const now = this.#pages.states;
    for (let chunk = 0; chunk < chunks.length; chunk++) {
      const end = Math.min(kept.length, (chunk + 1) * CHUNK);
      let page = chunk * CHUNK;
      const empty = isEmpty(now, first + page, first + end);
      if (empty && chunks[chunk] === 0) continue;
      chunks[chunk] = empty ? 0 : 1;
      for (; page < end; page++) {
        const state = now[first + page]!;
        states[page] = state & ~PageUse.Used;
        if ((state & PageUse.Kept) !== 0) continue;
        this.#release(seat, page);
        if ((state & PageUse.Used) === 0) continue;
        const content = this.#machine.lendBytes((first + page) * PAGE_SIZE, PAGE_SIZE);
        if (isZero(content)) continue;
        kept[page] = this.#store.add(content);
        room.stored++;
        states[page]! |= PageUse.Kept;
      }
    }
  }

  /** Puts in place what a tenant has, where memory holds what `before` has (null: zeros) or its state is another. */
  #load(seat: Seat, before: Seat | null): void {
    const { kept, chunks } = seat;
    for (let chunk = 0; chunk < chunks.length; chunk++) {
      if (chunks[chunk] === 0 && (before === null || before.chunks[chunk] === 0)) continue;
      const page = chunk * CHUNK;
      this.#loadPages(seat, before, page, Math.min(kept.length, page + CHUNK));
    }
  }
  #loadPages({ room, kept, states }: Seat, before: Seat | null, start: number, end: number): void {
    const first = room.base / PAGE_SIZE;
    for (let page = start; page < end; page++) {
      const number = kept[page]!;
      if (number === (before === null ? 0 : before.kept[page]!)) continue;
      const address = room.base + page * PAGE_SIZE;
      if (number === 0) this.#machine.zeroRange(address, PAGE_SIZE);
      else this.#machine.storeRange(address, this.#store.bytes(number));
    }
    const now = this.#pages.states;
    let page = start;
    while (page < end) {
      const from = page;
      const state = states[page]!;
      while (page < end && states[page] === state && now[first + page] !== state) page++;
      if (page === from) {
        page++;
        continue;
      }
      now.fill(state, first + from, first + page);
      this.#machine.protect((first + from) * PAGE_SIZE, (page - from) * PAGE_SIZE, allowedBy(state));
    }
  }

  /** Gives a child what its parent, which is present, has. */
  #copy(parent: Seat, child: Seat): void {
    this.#save(parent);
    this.#load(parent, parent);
    child.kept.set(parent.kept);
    child.states.set(parent.states);
    child.chunks.set(parent.chunks);
    eachPage(child, (page) => {
      const number = child.kept[page]!;
      if (number !== 0) this.#store.hold(number);
    });
  }

  /** Pages that a present tenant shares with others change without a fault: they are its own. */
  #claim({ shared, seat }: Tenant): void {
    const { room } = seat!;
    for (const { start, end } of shared.pieces) {
      for (let page = (start - room.base) / PAGE_SIZE; page < (end - room.base) / PAGE_SIZE; page++) {
        this.#own(room, page);
        this.#release(seat!, page);
      }
    }
  }

  #own(room: Room, page: number): void {
    const address = room.base + page * PAGE_SIZE;
    const { states } = this.#pages;
    const state = (states[address / PAGE_SIZE]! & ~PageUse.Kept) | PageUse.Used;
    states[address / PAGE_SIZE] = state;
    this.#machine.protect(address, PAGE_SIZE, allowedBy(state));
  }

  #release({ room, kept }: Seat, page: number): void {
    const number = kept[page]!;
    kept[page] = 0;
    if (number !== 0 && this.#store.release(number)) room.stored--;
  }

  /** What tenants pay together is what is kept for them, what the present one changed, and their seats; `first` pays or gets the difference. */
  #settle(room: Room, first: Tenant): void {
    const { states } = this.#pages;
    let due = room.stored * PAGE_SIZE + (room.tenants.size > 1 ? room.tenants.size * this.seatBytes(room.length) : 0);
    const end = (room.base + room.length) / PAGE_SIZE;
    for (let page = room.base / PAGE_SIZE; page < end; page += CHUNK) {
      const stop = Math.min(end, page + CHUNK);
      if (isEmpty(states, page, stop)) continue;
      for (let at = page; at < stop; at++) if ((states[at]! & PageUse.Used) !== 0) due += PAGE_SIZE;
    }
    for (const { charged } of room.tenants) due -= charged;
    for (const tenant of [first, ...room.tenants]) {
      const part = Math.max(due, -tenant.charged);
      if (part !== 0) tenant.charge(part);
      due -= part;
    }
  }
}

function newSeat(room: Room): Seat {
  const pages = room.length / PAGE_SIZE;
  return { room, kept: new Int32Array(pages), states: new Uint8Array(pages), chunks: new Uint8Array(Math.ceil(pages / CHUNK)) };
}

/** All pages of chunks that have something. */
function eachPage({ kept, chunks }: Seat, act: (page: number) => void): void {
  for (let chunk = 0; chunk < chunks.length; chunk++) {
    if (chunks[chunk] === 0) continue;
    const end = Math.min(kept.length, (chunk + 1) * CHUNK);
    for (let page = chunk * CHUNK; page < end; page++) act(page);
  }
}

/** Whether all of a part of the states is zero. */
function isEmpty(states: Uint8Array, from: number, to: number): boolean {
  let at = from;
  for (; at < to && at % 4 !== 0; at++) if (states[at] !== 0) return false;
  const words = new Int32Array(states.buffer, states.byteOffset, states.length >> 2);
  for (; at + 4 <= to; at += 4) if (words[at >> 2] !== 0) return false;
  for (; at < to; at++) if (states[at] !== 0) return false;
  return true;
}

function isZero(content: Uint8Array): boolean {
  const words = new Int32Array(content.buffer, content.byteOffset, content.length / 4);
  for (let i = 0; i < words.length; i++) if (words[i] !== 0) return false;
  return true;
}
