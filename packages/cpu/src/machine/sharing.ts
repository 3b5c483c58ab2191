import type { MachinePort } from "../abi.ts";
import { PAGE_SIZE } from "../abi.ts";

/** What ranges of memory show: its pages as they were last seen changed. */
export interface SharedObject {
  /** By page number in the object. A page that is missing is all zeros, or the same wherever it is shown. */
  readonly pages: Map<number, { readonly bytes: Uint8Array; version: number }>;
  /** The ranges that show it. */
  readonly pieces: Set<SharedPiece>;
}

/** A range of memory that shows a part of an object. */
export interface SharedPiece {
  readonly object: SharedObject;
  /** The object's number in {@link Sharer.objects}. */
  readonly number: number;
  readonly start: number;
  readonly end: number;
  /** The page of the object at `start`. */
  readonly first: number;
  /** For each page the version that is in memory. */
  readonly seen: Float64Array;
  /** Its memory holds something else for now ({@link MemorySharing.leave}). */
  away: boolean;
}

/** One that shares memory: a process. */
export interface Sharer {
  pieces: readonly SharedPiece[];
  /** Objects that it and others may show, by number. */
  readonly objects: Map<number, SharedObject>;
}

/**
 * Memory that processes share. Each has a copy, because their regions do not overlap; as only one of them runs at a time, the copies are made
 * equal when another one that shares is about to run or to be reached by trusted code: what the last one changed is found by comparison, and
 * goes to the others when their turn comes. Changed pages are kept once more outside of the machine: at most as many as are shown.
 * Ranges are whole pages that the caller has checked; only bytes cross, never tags.
 */
export class MemorySharing {
  readonly #machine: MachinePort;
  readonly #write: (address: number, bytes: Uint8Array) => void;
  /** Whose pieces may have changed since they were compared. */
  #current: Sharer | null = null;
  #version: number = 0;

  /** `write` stores bytes whatever the protection of the pages. */
  constructor(machine: MachinePort, write: (address: number, bytes: Uint8Array) => void) {
    this.#machine = machine;
    this.#write = write;
  }

  /** Comes before a sharer's code runs, and before its memory is read or written by trusted code. */
  enter(sharer: Sharer): void {
    if (sharer.pieces.length === 0 || sharer === this.#current) return;
    if (this.#current !== null) for (const piece of this.#current.pieces) if (piece.object.pieces.size > 1) this.#exchange(piece);
    this.#current = sharer;
    for (const piece of sharer.pieces) this.#pull(piece);
  }

  /** Lets a range show an object from its page `first` on. What others changed before appears there. */
  add(sharer: Sharer, start: number, length: number, number: number, first: number): void {
    let object = sharer.objects.get(number);
    if (object === undefined) sharer.objects.set(number, (object = { pages: new Map(), pieces: new Set() }));
    // One that had it to itself did not write down its changes.
    for (const other of object.pieces) if (!other.away) this.#exchange(other);
    const piece = { object, number, start, end: start + length, first, seen: new Float64Array(length / PAGE_SIZE), away: false };
    object.pieces.add(piece);
    sharer.pieces = [...sharer.pieces, piece];
    this.#pull(piece);
    this.enter(sharer);
  }

  /** Before pages are unmapped or become something else. */
  cut(sharer: Sharer, start: number, end: number): void {
    if (!sharer.pieces.some((piece) => piece.start < end && start < piece.end)) return;
    const kept: SharedPiece[] = [];
    for (const piece of sharer.pieces) {
      if (piece.start >= end || start >= piece.end) {
        kept.push(piece);
        continue;
      }
      const { object } = piece;
      if (object.pieces.size > 1 && !piece.away) this.#exchange(piece);
      object.pieces.delete(piece);
      for (const part of [slice(piece, piece.start, start), slice(piece, end, piece.end)]) {
        if (part === null) continue;
        object.pieces.add(part);
        kept.push(part);
      }
      if (object.pieces.size === 0) sharer.objects.delete(piece.number);
    }
    sharer.pieces = kept;
    if (kept.length === 0 && this.#current === sharer) this.#current = null;
  }

  /** Before a sharer's memory is put away for others that use the same addresses. `noted`: what it changed is to be noted. */
  leave(sharer: Sharer, noted: boolean = true): void {
    for (const piece of sharer.pieces) {
      if (noted) this.#exchange(piece);
      piece.away = true;
    }
    if (this.#current === sharer) this.#current = null;
  }

  /** After its memory was put back. */
  back(sharer: Sharer): void {
    for (const piece of sharer.pieces) piece.away = false;
  }

  /** Around the copy of a parent's memory to its child, whose addresses are higher by `shift`. */
  fork(parent: Sharer, child: Sharer, shift: number, duplicate: () => void): void {
    this.enter(parent);
    for (const piece of parent.pieces) this.#exchange(piece);
    duplicate();
    child.pieces = parent.pieces.map((piece) => ({
      ...piece,
      start: piece.start + shift,
      end: piece.end + shift,
      seen: piece.seen.slice(),
    }));
    for (const piece of child.pieces) piece.object.pieces.add(piece);
  }

  /** After a sharer's memory was copied to addresses that are higher by `shift`, and before the old ones are used otherwise. */
  move(sharer: Sharer, shift: number): void {
    sharer.pieces = sharer.pieces.map((piece) => {
      const moved = { ...piece, start: piece.start + shift, end: piece.end + shift };
      piece.object.pieces.delete(piece);
      piece.object.pieces.add(moved);
      return moved;
    });
  }

  /** Notes pages that this piece changed; takes over those that others changed. */
  #exchange(piece: SharedPiece): void {
    const { pages } = piece.object;
    const memory = words(this.#machine.lendBytes(piece.start, piece.end - piece.start));
    for (let i = 0; i < piece.seen.length; i++) {
      const page = pages.get(piece.first + i);
      const at = i * (PAGE_SIZE / 4);
      if (page === undefined) {
        if (!isZero(memory, at)) pages.set(piece.first + i, { bytes: this.#read(piece, i), version: (piece.seen[i] = ++this.#version) });
      } else if (page.version !== piece.seen[i]) this.#take(piece, i, page);
      else if (!isEqual(memory, at, words(page.bytes))) {
        page.bytes.set(this.#read(piece, i));
        page.version = piece.seen[i] = ++this.#version;
      }
    }
  }

  #pull(piece: SharedPiece): void {
    const { pages } = piece.object;
    if (pages.size === 0) return;
    for (let i = 0; i < piece.seen.length; i++) {
      const page = pages.get(piece.first + i);
      if (page !== undefined && page.version !== piece.seen[i]) this.#take(piece, i, page);
    }
  }

  #take(piece: SharedPiece, i: number, page: { readonly bytes: Uint8Array; readonly version: number }): void {
    this.#write(piece.start + i * PAGE_SIZE, page.bytes);
    piece.seen[i] = page.version;
  }
  #read(piece: SharedPiece, i: number): Uint8Array {
    return this.#machine.readBytes(piece.start + i * PAGE_SIZE, PAGE_SIZE);
  }
}

/** The part of a piece from `start` to `end`; null when there is none. */
function slice(piece: SharedPiece, start: number, end: number): SharedPiece | null {
  if (start >= end) return null;
  const skipped = (start - piece.start) / PAGE_SIZE;
  return { ...piece, start, end, first: piece.first + skipped, seen: piece.seen.slice(skipped, skipped + (end - start) / PAGE_SIZE) };
}

const words = (bytes: Uint8Array): Int32Array => new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);

function isZero(memory: Int32Array, at: number): boolean {
  for (let i = at; i < at + PAGE_SIZE / 4; i++) if (memory[i] !== 0) return false;
  return true;
}
function isEqual(memory: Int32Array, at: number, page: Int32Array): boolean {
  for (let i = 0; i < PAGE_SIZE / 4; i++) if (memory[at + i] !== page[i]) return false;
  return true;
}
