/** Which units are linked where: into the processes that have their code. */
import { PAGE_SIZE } from "../abi.ts";
import { Own } from "../machine/layout.ts";
import type { Pages } from "../machine/pages.ts";
import type { SlotPool } from "./slot-pool.ts";
import type { Range, Unit } from "./unit.ts";

/** A unit as it is linked into the process whose code starts at `base`. */
export interface Link {
  readonly unit: Linkable;
  readonly base: number;
}
/** A unit whose functions are in the table. */
export interface Linkable extends Unit {
  readonly slots: readonly number[];
  /** Where it is linked, by base. */
  readonly links: Map<number, Link>;
}

function pagesOf(unit: Unit, base: number): Set<number> {
  const pages = new Set<number>();
  for (const { from, to } of unit.ranges) {
    for (let page = Math.floor((base + from) / PAGE_SIZE); page * PAGE_SIZE < base + to; page++) pages.add(page);
  }
  return pages;
}

export class Links {
  readonly #pages: Pages;
  readonly #pool: SlotPool;
  readonly #byPage: Map<number, Link[]> = new Map();
  readonly #counts: { links: number; unlinks: number };

  /** `counts`: how often units were linked, and unlinked. */
  constructor(pages: Pages, pool: SlotPool, counts: { links: number; unlinks: number }) {
    this.#pages = pages;
    this.#pool = pool;
    this.#counts = counts;
  }

  link(unit: Linkable, base: number): void {
    // Some of its slots may be another unit's now, or nobody's.
    if (!unit.links.has(base)) {
      const link: Link = { unit, base };
      unit.links.set(base, link);
      for (const page of pagesOf(unit, base)) {
        const links = this.#byPage.get(page);
        if (links === undefined) {
          this.#byPage.set(page, [link]);
          this.#pages.add(page, Own.Translated);
        } else links.push(link);
      }
    }
    unit.entries.forEach((pc, index) => this.#pool.set(base + pc, unit.slots[index]!));
    this.#counts.links++;
  }
  unlink(link: Link): void {
    const { unit, base } = link;
    unit.links.delete(base);
    unit.entries.forEach((pc, index) => {
      if (this.#pool.at(base + pc) === unit.slots[index]) this.#pool.set(base + pc, 0);
    });
    for (const page of pagesOf(unit, base)) {
      const links = this.#byPage.get(page);
      if (links === undefined) continue;
      const rest = links.filter((other) => other !== link);
      if (rest.length > 0) this.#byPage.set(page, rest);
      else {
        this.#byPage.delete(page);
        this.#pages.remove(page, Own.Translated);
      }
    }
    this.#counts.unlinks++;
  }
  /** Bytes in [address, address + length) changed: what was made from them is not used any more. */
  changed(address: number, length: number): void {
    const end = address + length;
    for (let page = Math.floor(address / PAGE_SIZE); page * PAGE_SIZE < end; page++) {
      for (const link of this.#byPage.get(page) ?? []) {
        const { base } = link;
        if (link.unit.ranges.some(({ from, to }: Range) => base + from < end && address < base + to)) this.unlink(link);
      }
    }
  }
  /** As {@link changed}, for all that stands in pages of the range. */
  unlinkRange(address: number, length: number): void {
    const first = Math.floor(address / PAGE_SIZE);
    const end = Math.ceil((address + length) / PAGE_SIZE);
    if (end - first > this.#byPage.size) {
      for (const [page, links] of this.#byPage) if (page >= first && page < end) for (const link of links) this.unlink(link);
    } else for (let page = first; page < end; page++) for (const link of this.#byPage.get(page) ?? []) this.unlink(link);
  }
  unlinkAll(): void {
    for (const links of this.#byPage.values()) for (const link of links) this.unlink(link);
  }
}
