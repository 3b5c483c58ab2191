/** Mappings of one address range: what mmap(2), munmap(2), mprotect(2), mremap(2) and brk(2) change, and /proc/PID/maps shows. */
import type { Awaitable, HostCalls, ProcessId, ProcessOp } from "@cvm/monitor/abi";
import { E } from "./errno.ts";
import type { MemoryAccount } from "./memory-account.ts";
import { whenReady } from "./ready.ts";
import type { VfsFile } from "./types.ts";

export const PAGE = 4096;
/** Lowest address that a program may map (vm.mmap_min_addr). */
export const LOWEST = 0x10000;
/** Bytes of addresses of a process, as with 39-bit page tables. What lies outside of its region can only be reserved (PROT_NONE). */
export const ADDRESSES: number = 2 ** 38;
const MIB = 1024 * 1024;
/**
 * Reservations of at least this many bytes are placed apart, behind room for what else a program may map. A program uses such a range from its start
 * on, so that most of it needs no region. Smaller ones are not: the C library reserves 128 MiB for a heap of each thread and keeps an
 * aligned half, and apart that would make the regions of all programs with threads long.
 */
const LARGE_RESERVATION: number = 256 * MIB;
/** Room before the first large reservation: as much as the cVM's memory and some more, because heaps of a C library's threads and Go's arenas
 * are reserved in pieces of 64 MiB that are used from their start on as well. */
const roomFor = (memory: number): number => Math.min(Math.max(memory, 256 * MIB) + 128 * MIB, 1024 * MIB);
/** Most bytes that a region grows by in advance. */
const GROW_MOST: number = 64 * MIB;
/** Bytes of the stack of a process's first thread; all of it is mapped. */
export const STACK_BYTES: number = 8 * 1024 * 1024;
/** Most mappings of one process (vm.max_map_count). */
const MOST_MAPPINGS = 65530;
/** Name of the page of clock offsets. */
export const VVAR = "[vvar]";
/** Bytes written back to a file in one go. */
const WRITE_BACK_CHUNK: number = MIB;

export const roundUp = (value: number): number => Math.ceil(value / PAGE) * PAGE;
export const roundDown = (value: number): number => Math.floor(value / PAGE) * PAGE;

/** What a mapping is made with; `file` is what it shows (and writes back when shared and writable). */
export interface MappingOptions {
  readonly prot: number;
  readonly shared: boolean;
  readonly file: VfsFile | null;
  /** Of the mapping's start in the file, in bytes. */
  readonly offset: number;
  /** `[heap]`, `[stack]`, … or "". */
  readonly name: string;
  /** Changes go to the file: MAP_SHARED of a file opened for writing. */
  readonly writable: boolean;
  /** What a shared mapping shows, by the monitor's number for it: the same for all mappings of one file; 0 for private ones. */
  readonly object: number;
}

export interface Mapping extends MappingOptions {
  start: number;
  end: number;
  prot: number;
  offset: number;
  /** Whether its pages hold content: a range that never allowed any access has none. */
  populated: boolean;
}

const ANONYMOUS: MappingOptions = { prot: 0, shared: false, file: null, offset: 0, name: "", writable: false, object: 0 };

/** RISC-V has no write-only and no write-execute pages: writable ones can be read. */
const machineProt = (prot: number): number => ((prot & 2) !== 0 ? prot | 1 : prot) & 7;

let objects = 0;
const objectsOfInodes: WeakMap<object, number> = new WeakMap();
/** Which address spaces have shared mappings of a file, by the object's number. */
const showing: Map<number, Set<AddressSpace>> = new Map();
/** A number for what a shared mapping shows: a file's inode, or (null) memory that only this mapping and its copies in forked children show. */
export function objectOf(inode: object | null): number {
  let number = inode === null ? undefined : objectsOfInodes.get(inode);
  if (number === undefined) {
    number = ++objects;
    if (inode !== null) objectsOfInodes.set(inode, number);
  }
  return number;
}

const NOBODY: ReadonlySet<AddressSpace> = new Set();
/** The address spaces that may have shared mappings of a file. */
export function mappersOf(inode: object): ReadonlySet<AddressSpace> {
  const number = objectsOfInodes.get(inode);
  return number === undefined ? NOBODY : (showing.get(number) ?? NOBODY);
}

/** Whether somebody has a shared mapping of a file that may write to it. */
export function mappedForWriting(inode: object): boolean {
  const number = objectsOfInodes.get(inode);
  for (const space of mappersOf(inode)) if (space.mappings.some((mapping) => mapping.object === number && mapping.writable)) return true;
  return false;
}

export class AddressSpace {
  /** The monitor's handle. */
  readonly id: ProcessId;
  /** Bytes of its region: only pages in it can be accessed. */
  #reach: number;
  readonly account: MemoryAccount;
  /** Processes that use it: more than one between vfork and exec. */
  users = 1;
  #mappings: Mapping[] = [];
  #virtual = 0;
  brkStart = 0;
  brk = 0;
  /** The heap ends below this address. */
  brkEnd = 0;
  /** Mappings are placed from this address on, upwards. */
  mmapBase: number = LOWEST;
  /** From there up to this address nothing is free: a program with many mappings finds a place without a look at each. */
  #full = 0;
  /** Where large reservations are placed, once there was one. */
  #far = 0;
  /** Address of the code that a signal handler returns to. */
  trampoline = 0;
  /** Address of the page of clock offsets. */
  vvar = 0;
  #shared = 0;

  constructor(id: ProcessId, reach: number, account: MemoryAccount) {
    this.id = id;
    this.#reach = reach;
    this.account = account;
  }
  get reach(): number {
    return this.#reach;
  }
  get mappings(): readonly Mapping[] {
    return this.#mappings;
  }
  get resident(): number {
    return this.account.usedBy(this.id);
  }
  get virtual(): number {
    return this.#virtual;
  }

  /** Index of the first mapping that ends above `address`. */
  #first(address: number): number {
    let low = 0;
    let high = this.#mappings.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#mappings[middle]!.end > address) high = middle;
      else low = middle + 1;
    }
    return low;
  }
  find(address: number): Mapping | undefined {
    const mapping = this.#mappings[this.#first(address)];
    return mapping !== undefined && mapping.start <= address ? mapping : undefined;
  }
  isFree(start: number, end: number): boolean {
    const mapping = this.#mappings[this.#first(start)];
    return mapping === undefined || mapping.start >= end;
  }
  /** Whether every byte is mapped with all of `prot`. */
  allows(address: number, length: number, prot: number): boolean {
    let at = address;
    for (let index = this.#first(address); at < address + length; index++) {
      const mapping = this.#mappings[index];
      if (mapping === undefined || mapping.start > at || (machineProt(mapping.prot) & prot) !== prot) return false;
      at = mapping.end;
    }
    return true;
  }
  /** The lowest free range of `length` bytes in the mmap area, or -ENOMEM. `reserve`: it will not be accessed for now. */
  place(length: number, reserve = false): number {
    const apart = reserve && length >= LARGE_RESERVATION;
    if (apart && this.#far === 0) this.#far = Math.max(this.mmapBase, this.#mappings.at(-1)?.end ?? 0) + roomFor(this.account.limit);
    let at = apart ? this.#far : Math.max(this.mmapBase, this.#full);
    for (let index = this.#first(at); index < this.#mappings.length; index++) {
      const mapping = this.#mappings[index]!;
      if (mapping.start - at >= length) break;
      if (!apart && mapping.start <= at && at === Math.max(this.mmapBase, this.#full)) this.#full = mapping.end;
      at = mapping.end;
    }
    return at + length <= ADDRESSES ? at : -E.NOMEM;
  }

  /**
   * Before pages below `end` are made accessible: false when the region cannot reach there, or when the cVM has less than `bytes` of memory left.
   * Memory counts when it is used, so that this is no promise: it lets programs see ENOMEM where that is foreseeable.
   */
  admit(host: Pick<HostCalls, "grow">, end: number, bytes: number): Awaitable<boolean> {
    const grown = (reach: number): boolean => {
      if (reach > this.#reach) this.#reach = reach;
      return end <= this.#reach;
    };
    return whenReady(bytes === 0 ? Infinity : this.account.left(), (left): Awaitable<boolean> => {
      if (bytes > left) return false;
      if (end <= this.#reach) return true;
      const ahead = this.#reach + Math.min(this.#reach, GROW_MOST);
      return whenReady(host.grow(this.id, Math.max(end, ahead)), (reach) =>
        grown(reach) || ahead <= end ? grown(reach) : whenReady(host.grow(this.id, end), grown),
      );
    });
  }
  /** Bytes of a range that never could be accessed. */
  reserved(start: number, end: number): number {
    let bytes = 0;
    for (let index = this.#first(start); ; index++) {
      const mapping = this.#mappings[index];
      if (mapping === undefined || mapping.start >= end) return bytes;
      if (!mapping.populated) bytes += Math.min(mapping.end, end) - Math.max(mapping.start, start);
    }
  }

  #count(mapping: Mapping, sign: 1 | -1): void {
    const length = mapping.end - mapping.start;
    this.#virtual += sign * length;
    if (mapping.shared && mapping.writable && mapping.file !== null) this.#shared += sign;
    if (sign > 0) this.#show(mapping);
  }

  /**
   * Maps a free range (use {@link unmap} before). `content` stands at its start. 0 or -ENOMEM, with nothing changed. What can be accessed must lie in
   * the region ({@link admit}).
   */
  map(start: number, length: number, options: Partial<MappingOptions>, content: Uint8Array | undefined, ops: ProcessOp[]): number {
    const accessible = (options.prot ?? 0) !== 0 || content !== undefined;
    if (start < LOWEST || start + length > (accessible ? this.#reach : ADDRESSES) || this.#mappings.length >= MOST_MAPPINGS)
      return -E.NOMEM;
    const mapping: Mapping = {
      ...ANONYMOUS,
      ...options,
      start,
      end: start + length,
      populated: accessible,
    };
    if (mapping.populated) this.#mapOp(mapping, content, ops);
    this.#insert(mapping);
    return 0;
  }
  #mapOp(mapping: Mapping, bytes: Uint8Array | undefined, ops: ProcessOp[]): void {
    const { start: address, prot, object, offset } = mapping;
    const length = mapping.end - address;
    ops.push(
      bytes === undefined
        ? { op: "map", process: this.id, address, length, prot: machineProt(prot) }
        : { op: "map", process: this.id, address, length, prot: machineProt(prot), bytes },
    );
    if (object !== 0) ops.push({ op: "share", process: this.id, address, length, object, offset });
  }
  #insert(mapping: Mapping): void {
    this.#count(mapping, 1);
    let index = this.#first(mapping.start);
    const before = this.#mappings[index - 1];
    if (before !== undefined && mergeable(before, mapping)) {
      before.end = mapping.end;
      if (before.shared && before.writable && before.file !== null) this.#shared--;
      index--;
    } else this.#mappings.splice(index, 0, mapping);
    const here = this.#mappings[index]!;
    const after = this.#mappings[index + 1];
    if (after !== undefined && mergeable(here, after)) {
      here.end = after.end;
      if (here.shared && here.writable && here.file !== null) this.#shared--;
      this.#mappings.splice(index + 1, 1);
    }
  }
  /** Takes the mappings of a range out of the list, cut at its ends; the caller puts back what stays. */
  #extract(start: number, end: number): Mapping[] {
    const first = this.#first(start);
    let last = first;
    while (last < this.#mappings.length && this.#mappings[last]!.start < end) last++;
    if (first === last) return [];
    const taken = this.#mappings.slice(first, last);
    for (const mapping of taken) this.#count(mapping, -1);
    const kept: Mapping[] = [];
    const inside = taken.map((mapping) => {
      if (mapping.start < start) kept.push({ ...mapping, end: start });
      if (mapping.end > end) kept.push({ ...mapping, start: end, offset: mapping.offset + end - mapping.start });
      const from = Math.max(mapping.start, start);
      return { ...mapping, start: from, end: Math.min(mapping.end, end), offset: mapping.offset + from - mapping.start };
    });
    this.#mappings.splice(first, last - first, ...kept);
    for (const mapping of kept) this.#count(mapping, 1);
    return inside;
  }

  /** Removes all mappings of a page-aligned range. Shared file mappings must have been written back ({@link writeBack}). */
  unmap(start: number, length: number, ops: ProcessOp[]): void {
    this.#full = Math.min(this.#full, start);
    for (const mapping of this.#extract(start, start + length)) {
      if (mapping.populated) ops.push({ op: "unmap", process: this.id, address: mapping.start, length: mapping.end - mapping.start });
    }
  }

  /** mprotect(2), after {@link admit}. -ENOMEM: a part is not mapped; -EACCES: writing to a shared mapping of a read-only file. */
  protect(start: number, length: number, prot: number, ops: ProcessOp[]): number {
    const end = start + length;
    let at = start;
    for (let index = this.#first(start); at < end; index++) {
      const mapping = this.#mappings[index];
      if (mapping === undefined || mapping.start > at) return -E.NOMEM;
      if ((prot & 2) !== 0 && mapping.shared && mapping.file !== null && !mapping.writable) return -E.ACCES;
      at = mapping.end;
    }
    for (const mapping of this.#extract(start, end)) {
      if (mapping.populated) {
        if (mapping.prot !== prot)
          ops.push({
            op: "protect",
            process: this.id,
            address: mapping.start,
            length: mapping.end - mapping.start,
            prot: machineProt(prot),
          });
      } else if (prot !== 0) {
        const bytes = mapping.file === null ? undefined : mapping.file.pread(mapping.offset, mapping.end - mapping.start);
        this.#mapOp({ ...mapping, prot }, bytes, ops);
        mapping.populated = true;
      }
      mapping.prot = prot;
      this.#insert(mapping);
    }
    return 0;
  }

  /** MADV_DONTNEED: zero pages, or the file's bytes again. -ENOMEM when a part is not mapped (the rest is done). */
  discard(start: number, length: number, ops: ProcessOp[]): number {
    const end = start + length;
    let at = start;
    let result = 0;
    for (let index = this.#first(start); ; index++) {
      const mapping = this.#mappings[index];
      if (mapping === undefined || mapping.start >= end) break;
      if (mapping.start > at) result = -E.NOMEM;
      const from = Math.max(start, mapping.start);
      const to = Math.min(end, mapping.end);
      at = to;
      if (!mapping.populated || mapping.shared) continue;
      if (mapping.file === null) ops.push({ op: "zero", process: this.id, address: from, length: to - from });
      else {
        const offset = mapping.offset + from - mapping.start;
        this.#mapOp({ ...mapping, start: from, end: to, offset }, mapping.file.pread(offset, to - from), ops);
      }
    }
    return at < end ? -E.NOMEM : result;
  }

  /** brk(2): the new end of the heap, or the old one when it cannot be moved there. `left`: bytes of memory that the cVM has left. */
  setBrk(address: number, limit: number, left: number, ops: ProcessOp[]): number {
    if (address < this.brkStart || address - this.brkStart > limit) return this.brk;
    const from = roundUp(this.brk);
    const to = roundUp(address);
    if (to > from) {
      if (to - from > left || to > this.brkEnd || !this.isFree(from, to)) return this.brk;
      if (this.map(from, to - from, { prot: 3, name: "[heap]" }, undefined, ops) < 0) return this.brk;
    } else if (to < from) this.unmap(to, from - to, ops);
    this.brk = address;
    return address;
  }

  /**
   * mremap(2). The new address, or -EFAULT (not one mapping), -ENOMEM, -EINVAL; as a promise when the region must grow for it.
   * `target`: a fixed new address, else null.
   */
  remap(
    host: Pick<HostCalls, "grow">,
    old: number,
    oldLength: number,
    newLength: number,
    mayMove: boolean,
    target: number | null,
    ops: ProcessOp[],
  ): Awaitable<number> {
    const mapping = this.find(old);
    if (mapping === undefined || (oldLength > 0 && mapping.end < old + oldLength)) return -E.FAULT;
    if (oldLength === 0) return -E.INVAL;
    const offset = mapping.offset + old - mapping.start;
    if (target === null) {
      if (newLength <= oldLength) {
        if (newLength < oldLength) this.unmap(old + newLength, oldLength - newLength, ops);
        return old;
      }
      const end = old + oldLength;
      if (mapping.end === end && this.isFree(end, old + newLength) && old + newLength <= (mapping.populated ? this.#reach : ADDRESSES)) {
        return whenReady(this.admit(host, 0, mapping.populated ? newLength - oldLength : 0), (admitted) => {
          if (!admitted) return -E.NOMEM;
          const bytes = mapping.file === null ? undefined : mapping.file.pread(offset + oldLength, newLength - oldLength);
          const result = this.map(end, newLength - oldLength, { ...optionsOf(mapping), offset: offset + oldLength }, bytes, ops);
          return result < 0 ? result : old;
        });
      }
      if (!mayMove) return -E.NOMEM;
    }
    const to = target ?? this.place(newLength, !mapping.populated);
    if (to < 0) return to;
    const { populated } = mapping;
    return whenReady(this.admit(host, populated ? to + newLength : 0, populated ? Math.max(0, newLength - oldLength) : 0), (admitted) =>
      admitted ? this.#move(mapping, old, oldLength, newLength, to, ops) : -E.NOMEM,
    );
  }
  #move(mapping: Mapping, old: number, oldLength: number, newLength: number, to: number, ops: ProcessOp[]): number {
    const offset = mapping.offset + old - mapping.start;
    const options = { ...optionsOf(mapping), offset };
    const { populated } = mapping;
    const kept = Math.min(oldLength, newLength);
    // With a fixed target something may stand there.
    this.unmap(to, newLength, ops);
    const content = populated && options.file !== null && newLength > oldLength ? options.file.pread(offset, newLength) : undefined;
    const result = this.map(to, newLength, options, content, ops);
    if (result < 0) return result;
    if (populated) ops.push({ op: "copy", process: this.id, from: old, to, length: kept });
    this.unmap(old, oldLength, ops);
    return to;
  }

  #show({ object, file }: Mapping): void {
    if (object === 0 || file === null) return;
    let spaces = showing.get(object);
    if (spaces === undefined) showing.set(object, (spaces = new Set()));
    spaces.add(this);
  }
  /** Lets shared mappings of a file show what was written to it. `bytes` are kept. */
  fileWritten(inode: object, offset: number, bytes: Uint8Array, ops: ProcessOp[]): void {
    const object = objectsOfInodes.get(inode);
    for (const mapping of this.#mappings) {
      if (mapping.object !== object || !mapping.populated) continue;
      const from = Math.max(offset, mapping.offset);
      const to = Math.min(offset + bytes.length, mapping.offset + mapping.end - mapping.start);
      if (from < to)
        ops.push({
          op: "write",
          process: this.id,
          address: mapping.start + from - mapping.offset,
          bytes: bytes.subarray(from - offset, to - offset),
          ifMapped: true,
        });
    }
  }

  /** Replaces the clock offsets, unless the program has unmapped them. */
  setClocks(bytes: Uint8Array, ops: ProcessOp[]): void {
    if (this.find(this.vvar)?.name === VVAR) ops.push({ op: "write", process: this.id, address: this.vvar, bytes, ifMapped: true });
  }

  /** Writes shared file mappings of a range to their files, as far as they differ and without making these longer. */
  writeBack(host: HostCalls, start = 0, end: number = ADDRESSES): Awaitable<void> {
    if (this.#shared === 0) return undefined;
    const pieces: { readonly mapping: Mapping; readonly from: number; readonly length: number }[] = [];
    for (let index = this.#first(start); index < this.#mappings.length; index++) {
      const mapping = this.#mappings[index]!;
      if (mapping.start >= end) break;
      if (!mapping.shared || !mapping.writable || mapping.file === null || !mapping.populated) continue;
      const stop = Math.min(end, mapping.end, mapping.start + mapping.file.size() - mapping.offset);
      for (let from = Math.max(start, mapping.start); from < stop; from += WRITE_BACK_CHUNK)
        pieces.push({ mapping, from, length: Math.min(WRITE_BACK_CHUNK, stop - from) });
    }
    const next = (index: number): Awaitable<void> => {
      const piece = pieces[index];
      if (piece === undefined) return undefined;
      return whenReady(host.readMemory(this.id, piece.from, piece.length), (bytes) => {
        if (bytes !== null) writeChanged(piece.mapping.file!, piece.mapping.offset + piece.from - piece.mapping.start, bytes);
        return next(index + 1);
      });
    };
    return next(0);
  }

  /** Bytes of a region that has all that can be accessed. */
  needed(): number {
    return Math.min(this.#reach, this.#mappings.findLast(({ populated }) => populated)?.end ?? PAGE);
  }
  /** The same mappings for a forked child, whose region of at least `reach` bytes the monitor has copied. */
  copy(id: ProcessId, reach: number): AddressSpace {
    const space = new AddressSpace(id, reach, this.account);
    space.#mappings = this.#mappings.map((mapping) => ({ ...mapping }));
    space.#virtual = this.#virtual;
    space.#shared = this.#shared;
    space.brkStart = this.brkStart;
    space.brk = this.brk;
    space.brkEnd = this.brkEnd;
    space.mmapBase = this.mmapBase;
    space.#far = this.#far;
    space.trampoline = this.trampoline;
    space.vvar = this.vvar;
    for (const mapping of space.#mappings) space.#show(mapping);
    return space;
  }
  /** It is used no more; the monitor's region is ended apart from this. */
  release(): void {
    this.#virtual = 0;
    for (const { object } of this.#mappings) {
      const spaces = showing.get(object);
      if (spaces?.delete(this) === true && spaces.size === 0) showing.delete(object);
    }
    this.#mappings = [];
    this.#shared = 0;
  }

  /** Text of /proc/PID/maps. */
  text(): string {
    let text = "";
    for (const { start, end, prot, shared, file, offset, name } of this.#mappings) {
      const flags = `${(prot & 1) !== 0 ? "r" : "-"}${(prot & 2) !== 0 ? "w" : "-"}${(prot & 4) !== 0 ? "x" : "-"}${shared ? "s" : "p"}`;
      const shown = name !== "" ? name : (file?.path ?? "");
      const line = `${hex(start)}-${hex(end)} ${flags} ${hex(file === null ? 0 : offset)} ${file === null ? "00:00 0" : "00:01 1"}`;
      text += shown === "" ? `${line}\n` : `${line.padEnd(72)} ${shown}\n`;
    }
    return text;
  }
}

const hex = (value: number): string => value.toString(16).padStart(8, "0");

function optionsOf(mapping: Mapping): MappingOptions {
  const { prot, shared, file, offset, name, writable, object } = mapping;
  return { prot, shared, file, offset, name, writable, object };
}

function mergeable(a: Mapping, b: Mapping): boolean {
  return (
    a.end === b.start &&
    a.prot === b.prot &&
    a.shared === b.shared &&
    a.populated === b.populated &&
    a.name === b.name &&
    a.writable === b.writable &&
    a.file === b.file &&
    a.object === b.object &&
    ((a.file === null && a.object === 0) || a.offset + (a.end - a.start) === b.offset)
  );
}

function writeChanged(file: VfsFile, offset: number, bytes: Uint8Array): void {
  const old = file.pread(offset, bytes.length);
  for (let at = 0; at < bytes.length; at += PAGE) {
    const end = Math.min(at + PAGE, bytes.length);
    const page = bytes.subarray(at, end);
    if (Buffer.compare(page, old.subarray(at, end)) !== 0) file.pwrite(offset + at, page);
  }
}
