/** A unit: regions that are compiled together into one WebAssembly module, and the code that they were made from. */
import { summarise } from "./summary.ts";
import { ModuleBuilder, type FunctionType } from "../wasm/module.ts";
import { GUEST } from "../machine/layout.ts";
import { emitRegion } from "./emit.ts";
import type { Place, Surroundings } from "./emit-instruction.ts";
import type { Instructions } from "./instructions.ts";
import { findRegion, Inlining, type Limits, type Region } from "./region.ts";

export const TRANSLATED: FunctionType = { params: ["i64", "i32", "i32"], result: ["i64", "i32"] };

export interface Size {
  readonly limits: Limits;
  /** Called functions are translated with it until it has this many instructions. */
  readonly batch: number;
}

export interface UnitOptions extends Size {
  readonly checks: Surroundings["checks"];
  /** The unit is for this place alone. */
  readonly place?: Place | undefined;
}

/** A range of architectural pcs. */
export interface Range {
  readonly from: number;
  readonly to: number;
}

export interface Unit {
  readonly binary: Uint8Array<ArrayBuffer>;
  /** pcs where it can be entered; its exports are `f0`, `f1`, … in this order. */
  readonly entries: readonly number[];
  /** Where its code stands, ascending, and the bytes of these ranges one after the other. */
  readonly ranges: readonly Range[];
  readonly bytes: Uint8Array;
  /** Highest pc that a direct transfer names. */
  readonly maxTarget: number;
  readonly instructions: number;
  readonly intrinsics: readonly string[];
  /** It runs there only; undefined: anywhere. */
  readonly place: Place | undefined;
}

/** Ranges of the instructions of regions, merged. */
function rangesOf(code: Instructions, regions: readonly Region[]): Range[] {
  const indices = new Set<number>();
  for (const { blocks } of regions) {
    for (const block of blocks) {
      for (const index of block.ins) indices.add(index);
      for (const index of block.hammock) indices.add(index);
      if (block.last >= 0) indices.add(block.last);
    }
  }
  // pc and length in one number, which sorts without a comparison function.
  const sorted = new Float64Array(indices.size);
  let count = 0;
  for (const index of indices) sorted[count++] = code.pc[index]! * 8 + code.length[index]!;
  sorted.sort();
  const ranges: { from: number; to: number }[] = [];
  for (const entry of sorted) {
    const last = ranges.at(-1);
    const from = Math.floor(entry / 8);
    const to = from + (entry % 8);
    if (last !== undefined && from <= last.to) last.to = Math.max(last.to, to);
    else ranges.push({ from, to });
  }
  return ranges;
}

/**
 * Translates what starts at `entry`. `code` has been reset to the reader of the process; `read` gives bytes by pc; `wanted` says
 * which called functions to take in. Undefined if the first instruction cannot be translated.
 */
export function translate(
  code: Instructions,
  entry: number,
  options: UnitOptions,
  read: (range: Range) => Uint8Array,
  wanted: (pc: number) => boolean,
): Unit | undefined {
  const inlining = new Inlining(code, options.limits);
  const regions: Region[] = [];
  const queue = [entry];
  const queued = new Set(queue);
  let instructions = 0;
  for (let at = 0; at < queue.length && (at === 0 || instructions < options.batch); at++) {
    const region = findRegion(code, queue[at]!, options.limits, inlining);
    if (region === undefined) {
      if (at === 0) return undefined;
      continue;
    }
    regions.push(region);
    instructions += region.instructions;
    for (const callee of region.callees) {
      if (queued.has(callee) || !wanted(callee)) continue;
      queued.add(callee);
      queue.push(callee);
    }
  }

  const ranges = rangesOf(code, regions);
  const builder = new ModuleBuilder();
  builder.importTable();
  const intrinsics = new Map<string, number>();
  for (const { blocks } of regions) {
    for (const block of blocks) {
      for (const index of block.ins) {
        for (const s of code.shape(index).calls) {
          if (!intrinsics.has(s.name)) intrinsics.set(s.name, builder.import("intrinsics", s.name, s.type));
        }
      }
    }
  }
  const type = builder.typeIndex(TRANSLATED);
  const functions = new Map<number, number>();
  for (const region of regions) functions.set(region.entry, builder.declare(TRANSLATED));
  const summaries = summarise(code, regions);
  const surroundings: Surroundings = {
    place: options.place,
    type,
    intrinsic: (name) => intrinsics.get(name)!,
    functionAt: (pc) => functions.get(pc),
    summaryAt: (pc) => summaries.get(pc),
    unrolled: options.limits.unrolled,
    checks: options.checks,
  };
  let maxTarget = 0;
  regions.forEach((region, at) => {
    maxTarget = Math.max(maxTarget, region.maxTarget);
    const index = functions.get(region.entry)!;
    builder.define(index, emitRegion(code, region, surroundings));
    builder.export(`f${at}`, index);
    builder.name(index, `pc_${region.entry.toString(16)}`);
  });
  const binary = builder.finish(GUEST / 0x1_0000);
  let length = 0;
  for (const range of ranges) length += range.to - range.from;
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const range of ranges) {
    bytes.set(read(range), at);
    at += range.to - range.from;
  }
  return {
    binary,
    entries: regions.map((region) => region.entry),
    ranges,
    bytes,
    maxTarget,
    instructions,
    intrinsics: [...intrinsics.keys()],
    place: options.place,
  };
}
