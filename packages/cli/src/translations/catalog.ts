/** The stored units that a host knows: what is where, which of the same code counts, and which begin like the code at a pc. */
import { hashHead, MAX_CANDIDATES, type UnitCode } from "@cvm/cpu";
import { HEAD_RECORD_BYTES, type PackUnit } from "./pack.ts";

/** An open pack. */
export interface Pack {
  readonly path: string;
  /** -1: closed, and its file is gone. */
  fd: number;
  readonly bytes: number;
  /** In the order of its index, units that do not count any more included. */
  readonly units: readonly Kept[];
  /** A unit of it was used since {@link Kept.used} was written. */
  touched: boolean;
}
/** A unit in a pack. */
export interface Kept extends PackUnit {
  pack: Pack | undefined;
  offset: number;
  /** When it was last used, in seconds since 1970; at first when it was made. */
  used: number;
  /** It is the newest of its code, and not removed. */
  live: boolean;
  /** Its code, once it was looked at. */
  code: UnitCode | undefined;
}
interface Node {
  readonly kept: Kept;
  readonly length: number;
  readonly hash: number;
  next: Node | undefined;
}

/** Units with an entry at one pc that are looked through: more only slow down. */
const MAX_CHAIN = 256;

export class Catalog {
  readonly #newest: Map<string, Kept> = new Map();
  readonly #heads: Map<number, Node> = new Map();
  /** Units that count. */
  size = 0;

  /** The newest of a code, which may be its removal (no length). */
  newest(identity: string): Kept | undefined {
    return this.#newest.get(identity);
  }
  /** Takes in a unit, or its removal, unless a later one of the same code is known. */
  insert(kept: Kept): void {
    const known = this.#newest.get(kept.identity);
    if (known !== undefined && known.added > kept.added) return;
    if (known !== undefined) this.#end(known);
    this.#newest.set(kept.identity, kept);
    if (kept.length === 0) return;
    kept.live = true;
    this.size++;
    const { heads } = kept;
    for (let at = 0; at < heads.length; at += HEAD_RECORD_BYTES) {
      const pc = heads.readDoubleLE(at);
      const node = { kept, hash: heads.readUInt32LE(at + 8), length: heads.readUInt32LE(at + 12), next: this.#heads.get(pc) };
      this.#heads.set(pc, node);
    }
  }
  /** The unit does not count any more; as if it had never been known. */
  forget(kept: Kept): void {
    if (this.#newest.get(kept.identity) === kept) this.#newest.delete(kept.identity);
    this.#end(kept);
  }
  #end(kept: Kept): void {
    if (!kept.live) return;
    kept.live = false;
    kept.code = undefined;
    this.size--;
  }
  clear(): void {
    this.#newest.clear();
    this.#heads.clear();
    this.size = 0;
  }

  /** Units that begin at a pc like what is in memory, newest first. Undefined: none. */
  at(pc: number, memory: Uint8Array, at: number): Kept[] | undefined {
    let node = this.#heads.get(pc);
    if (node === undefined) return undefined;
    let found: Kept[] | undefined;
    let before: Node | undefined;
    let length = 0;
    let hash = 0;
    for (let seen = 0; node !== undefined && seen < MAX_CHAIN; seen++, node = node.next) {
      if (!node.kept.live) {
        // Taken out while it is passed.
        if (before !== undefined) before.next = node.next;
        else if (node.next !== undefined) this.#heads.set(pc, node.next);
        else this.#heads.delete(pc);
        continue;
      }
      before = node;
      if (node.length !== length) {
        length = node.length;
        hash = at + length <= memory.length ? hashHead(memory, at, length) : -1;
      }
      if (node.hash !== hash) continue;
      (found ??= []).push(node.kept);
      if (found.length === MAX_CANDIDATES) break;
    }
    return found;
  }
}
