/** Takes capabilities away: all those into a range of memory, wherever they are. */
import { GRANULE_SIZE, PAGE_SIZE } from "../abi.ts";
import { decodeBounds } from "../capability/encoding.ts";
import type { Raw } from "../capability/raw.ts";
import { GUEST, Own, readRegister, readScr, Scr, State, TAGS, writeRegister } from "./layout.ts";
import type { Pages } from "./pages.ts";

/** Absolute addresses, from `from` up to `to`. */
export interface Range {
  readonly from: bigint;
  readonly to: bigint;
}

/** True if a capability reaches into the range, or is an empty one inside it: sealed or not, whatever it allows. */
function reaches({ tag, hi, address }: Raw, { from, to }: Range): boolean {
  if (!tag) return false;
  const { base, top } = decodeBounds(hi, address);
  return (base < to && top > from) || (base === top && base >= from && base <= to);
}

/** Clears the tags of capabilities on the pages from address `first` up to `end`. Only pages that may hold some are looked at. How many there were. */
export function sweepMemory(view: DataView, pages: Pages, first: number, end: number, range: Range): number {
  const tags = new Uint8Array(view.buffer);
  const perPage = PAGE_SIZE / GRANULE_SIZE;
  let cleared = 0;
  for (let page = Math.floor(first / PAGE_SIZE); page * PAGE_SIZE < end; page++) {
    if ((pages.own(page) & Own.Tags) === 0) continue;
    const last = (page + 1) * perPage;
    for (let granule = page * perPage; granule < last; granule++) {
      if (tags[TAGS + granule] === 0) continue;
      const at = GUEST + granule * GRANULE_SIZE;
      if (!reaches({ tag: true, hi: view.getBigUint64(at + 8, true), address: view.getBigUint64(at, true) }, range)) continue;
      tags[TAGS + granule] = 0;
      cleared++;
    }
  }
  return cleared;
}

/** What a sweep of registers needs of a machine: setting DDC and PCC changes more than these. */
export interface Setters {
  setDdc(hart: number, capability: Raw): void;
  setPcc(hart: number, capability: Raw): void;
}

/** The same for the registers of a hart (offset of its state block), DDC and PCC included. */
export function sweepHart(view: DataView, hart: number, range: Range, set: Setters): number {
  let cleared = 0;
  const capabilities = view.getInt32(hart + State.capRegs, true);
  for (let register = 1; register < 32; register++) {
    if (((capabilities >>> register) & 1) === 0) continue;
    const raw = readRegister(view, hart, register);
    if (!reaches(raw, range)) continue;
    writeRegister(view, hart, register, { ...raw, tag: false });
    cleared++;
  }
  for (const [index, put] of [
    [Scr.Ddc, (value: Raw) => set.setDdc(hart, value)],
    [Scr.Pcc, (value: Raw) => set.setPcc(hart, value)],
  ] as const) {
    const raw = readScr(view, hart, index);
    if (!reaches(raw, range)) continue;
    put({ ...raw, tag: false });
    cleared++;
  }
  return cleared;
}
