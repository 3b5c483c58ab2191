/** What is known of functions that are called within their unit: which registers they and what they call have to do with. */
import type { Instructions } from "./instructions.ts";
import { End, type Region } from "./region.ts";

/**
 * A closed function: until it returns to where it was called from, only it and other closed functions run. Registers that are not named here are neither read nor
 * written meanwhile, so a caller keeps them in its locals. Where it cannot go on it returns to another pc, and so do its callers, who write theirs back then.
 */
export interface Summary {
  /** Registers read or written, a bit each. */
  readonly x: number;
  readonly f: number;
}

/** Summaries by entry, of those functions that are closed. */
export function summarise(code: Instructions, regions: readonly Region[]): Map<number, Summary> {
  const found = new Map<number, { x: number; f: number; readonly callees: readonly number[] }>();
  for (const { entry, blocks } of regions) {
    let x = 0;
    let f = 0;
    let open = false;
    const callees = new Set<number>();
    for (const block of blocks) {
      for (const index of [...block.ins, ...block.hammock, ...(block.last < 0 ? [] : [block.last])]) {
        x |= code.useX[index]! | code.defX[index]!;
        f |= code.useF[index]! | code.defF[index]!;
      }
      if (block.end === End.Call && block.callee >= 0) callees.add(block.callee);
      // What it goes on to is likely to be a part of it that did not fit in.
      open ||= block.end === End.Indirect || (block.end === End.Call && block.callee < 0);
      open ||= block.edges.some(({ to, pc }) => to === undefined && code.reached(pc));
    }
    if (!open) found.set(entry, { x, f, callees: [...callees] });
  }
  for (let changed = true; changed;) {
    changed = false;
    for (const [entry, summary] of found) {
      for (const callee of summary.callees) {
        const known = found.get(callee);
        if (known === undefined) {
          found.delete(entry);
          changed = true;
          break;
        }
        if ((known.x & ~summary.x) === 0 && (known.f & ~summary.f) === 0) continue;
        summary.x |= known.x;
        summary.f |= known.f;
        changed = true;
      }
    }
  }
  return found;
}
