/** Which registers hold values in locals that the state block does not have (dirty), and which are needed (live). */
import type { Instructions } from "./instructions.ts";
import { End, target, type Block, type Edge } from "./region.ts";

export interface Sites {
  /** True if the instruction at this position may leave to the interpreter, with all registers written back. */
  leaves(block: Block, position: number): boolean;
  /** See {@link checksFuel}. */
  readonly everyEdge: boolean;
}

/** The edge looks at the fuel that is left: back to the head of a loop, or, in regions with many of them, wherever some is used. */
export function checksFuel(block: Block, edge: Edge, everyEdge: boolean): boolean {
  const to = target(edge);
  return (to !== undefined && to.rpo <= block.rpo) || (everyEdge && edge.fuel);
}

/** Most fuel that is used on a way between two looks at it, where only edges back to heads of loops and calls look. */
export function mostFuel(order: readonly Block[]): number {
  const before = new Int32Array(order.length);
  let most = 0;
  for (const block of order) {
    for (const edge of block.edges) {
      const used = before[block.rpo]! + (edge.fuel ? 1 : 0);
      most = Math.max(most, used);
      const to = target(edge);
      if (to === undefined || to.rpo <= block.rpo || block.end === End.Call) continue;
      before[to.rpo] = Math.max(before[to.rpo]!, used);
    }
  }
  // A call or a return at the end uses one more.
  return most + 1;
}

/** True if some way out of the region is at the end of the block. */
function exits(block: Block, everyEdge: boolean): boolean {
  if (block.end >= End.Call && block.end !== End.Dispatch && block.end !== End.Guess) return true;
  return block.edges.some((edge) => target(edge) === undefined || checksFuel(block, edge, everyEdge));
}

/** Fills in dirty and live masks. For a call, what it touches is written back and read again. */
export function analyse(code: Instructions, order: readonly Block[], sites: Sites): void {
  for (const block of order) {
    block.writesX = 0;
    block.writesF = 0;
    block.dirtyX = block.dirtyF = block.liveX = block.liveF = 0;
    for (const index of block.ins) {
      block.writesX |= code.defX[index]!;
      block.writesF |= code.defF[index]!;
    }
    for (const index of block.hammock) block.writesX |= code.defX[index]!;
    if (block.executes) block.writesX |= code.defX[block.last]!;
  }
  for (let changed = true; changed;) {
    changed = false;
    for (const block of order) {
      let x = block.dirtyX;
      let f = block.dirtyF;
      for (const from of block.pred) {
        const call = from.end === End.Call;
        x |= (from.dirtyX | from.writesX) & (call ? ~from.touchesX : -1);
        f |= (from.dirtyF | from.writesF) & (call ? ~from.touchesF : -1);
      }
      if (x === block.dirtyX && f === block.dirtyF) continue;
      block.dirtyX = x;
      block.dirtyF = f;
      changed = true;
    }
  }
  for (let changed = true; changed;) {
    changed = false;
    for (let at = order.length - 1; at >= 0; at--) {
      const block = order[at]!;
      const { x, f } = liveBefore(code, block, sites);
      if (x === block.liveX && f === block.liveF) continue;
      block.liveX = x;
      block.liveF = f;
      changed = true;
    }
  }
}

function liveBefore(code: Instructions, block: Block, sites: Sites): { x: number; f: number } {
  const dirtyAfterX = block.dirtyX | block.writesX;
  const dirtyAfterF = block.dirtyF | block.writesF;
  let x = 0;
  let f = 0;
  const call = block.end === End.Call;
  for (const edge of block.edges) {
    const to = target(edge);
    if (to === undefined) continue;
    x |= to.liveX & (call ? ~block.touchesX : -1);
    f |= to.liveF & (call ? ~block.touchesF : -1);
  }
  if (exits(block, sites.everyEdge)) {
    x |= dirtyAfterX;
    f |= dirtyAfterF;
  }
  // Where they are kept or not, the old values count too.
  for (const index of block.hammock) {
    x |= code.useX[index]! | code.defX[index]!;
    f |= code.useF[index]!;
  }
  // Dirty masks before each instruction, from the front.
  const { ins } = block;
  let dirtyX = block.dirtyX;
  let dirtyF = block.dirtyF;
  const before: number[] = [];
  for (const index of ins) {
    before.push(dirtyX, dirtyF);
    dirtyX |= code.defX[index]!;
    dirtyF |= code.defF[index]!;
  }
  if (block.executes) {
    x = (x & ~code.defX[block.last]!) | code.useX[block.last]!;
    f |= code.useF[block.last]!;
    if (sites.leaves(block, ins.length)) {
      x |= dirtyX;
      f |= dirtyF;
    }
  }
  for (let at = ins.length - 1; at >= 0; at--) {
    const index = ins[at]!;
    x = (x & ~code.defX[index]!) | code.useX[index]!;
    f = (f & ~code.defF[index]!) | code.useF[index]!;
    if (!sites.leaves(block, at)) continue;
    x |= before[2 * at]!;
    f |= before[2 * at + 1]!;
  }
  return { x, f };
}
