/** Finds the blocks of code that are reached from an entry: a region, which becomes one function. */
import type { Instructions } from "./instructions.ts";
import { joinShifts } from "./peephole.ts";
import { Kind } from "./shapes.ts";

/** How a block ends. */
export const End = {
  /** To edge 0. */
  Jump: 0,
  /** Edge 0 if the condition holds, otherwise edge 1. */
  Branch: 1,
  /** Calls `callee`, or the address in a register if that is -1; edge 0 is where it returns to. */
  Call: 2,
  /** To an address in a register. */
  Return: 3,
  Indirect: 4,
  /** The instruction at `last` is the interpreter's. */
  Interpret: 5,
  /** A jump through a register, done: to one of its edges but the last if the target is that edge's pc, else to the last. */
  Guess: 8,
  /** A return of an inlined function: edge 0 if it goes back to its caller, as it should. */
  Back: 7,
  /** To one of its edges, by a number that was set before: the head of a loop with several entries. */
  Dispatch: 6,
} as const;
export type EndCode = (typeof End)[keyof typeof End];

export interface Edge {
  /** Architectural pc of the target. */
  readonly pc: number;
  /** Undefined: leaves the region. */
  to: Block | undefined;
  /** Goes there through this dispatch block. */
  via: Block | undefined;
  /** Uses fuel: to a lower or equal address, or through a register. */
  readonly fuel: boolean;
}

export class Block {
  readonly pc: number;
  /** Indices of the instructions before the last one. */
  ins: number[] = [];
  /** Index of the instruction that ends it, -1 if it runs on into edge 0. */
  last = -1;
  end: EndCode = End.Jump;
  edges: Edge[] = [];
  callee = -1;
  /** The call at its end, if that has been done as an instruction before (its last one is -1). */
  site = -1;
  /** Instructions that a branch forward jumps over, run here and kept or not by the branch's condition. */
  hammock: number[] = [];
  /** Entries of the functions that it was inlined with, the outermost first. */
  path: readonly number[] = [];

  // ---- graph
  pred: Block[] = [];
  rpo = -1;
  idom = -1;
  kids: Block[] = [];
  /** Some edge comes back to it. */
  loop = false;
  /** Several edges come forward to it. */
  merge = false;

  // ---- data flow; registers as bits
  /** Written since the state block was up to date, on entry. */
  dirtyX = 0;
  dirtyF = 0;
  liveX = 0;
  liveF = 0;
  /** What a call at its end may read or write: all unless more is known. */
  touchesX = -1;
  touchesF = -1;
  /** Registers that hold narrow numbers: on the edges to it, in it at the start, and among its hammock's results; and which of its instructions have narrow results. */
  narrowIn = 0;
  narrowStart = 0;
  narrowHammock = 0;
  narrowDefs: Uint8Array = new Uint8Array(0);
  /** Written by its instructions. */
  writesX = 0;
  writesF = 0;

  constructor(pc: number) {
    this.pc = pc;
  }
  /** Its last instruction is done here, not by the interpreter. */
  get executes(): boolean {
    return this.last >= 0 && this.end !== End.Interpret;
  }
  /** Instructions, its last one included. */
  get count(): number {
    return this.ins.length + (this.last < 0 ? 0 : 1);
  }
}

/** Where an edge leads within the region. */
export function target(edge: Edge): Block | undefined {
  return edge.via ?? edge.to;
}

export interface Limits {
  /** Instructions of a region, inlined ones not counted. */
  readonly instructions: number;
  readonly blocks: number;
  /** Instructions of a function that is inlined; 0: none is. */
  readonly inline: number;
  /** Instructions that inlining may add to a region. */
  readonly inlineTotal: number;
  /** How often functions are inlined in functions. */
  readonly inlineDepth: number;
  /** Instructions that repeating loops may add to a region. */
  readonly unrolled: number;
  /** Instructions that a branch may jump over without a branch. */
  readonly hammock: number;
}

export interface Region {
  readonly entry: number;
  readonly head: Block;
  blocks: Block[];
  /** pc of functions that it calls. */
  readonly callees: readonly number[];
  /** Highest address that a direct transfer out of or within it names. */
  readonly maxTarget: number;
  readonly instructions: number;
}

/** ra and t0: what calls save their return address in. */
function isLink(register: number): boolean {
  return register === 1 || register === 5;
}

/** Ends a block by the instruction `index`. */
function finish(code: Instructions, block: Block, index: number): void {
  const next = code.next(index);
  const pc = code.pc[index]!;
  block.last = index;
  const to = pc + code.imm[index]!;
  const edge = (at: number, fuel: boolean): Edge => ({ pc: at, to: undefined, via: undefined, fuel });
  switch (code.kind(index)) {
    case Kind.Branch:
      if (to < 0) break;
      block.end = End.Branch;
      block.edges = [edge(to, to <= pc), edge(next, false)];
      return;
    case Kind.Jump:
      if (to < 0) break;
      if (!isLink(code.rd[index]!)) {
        block.end = End.Jump;
        block.edges = [edge(to, to <= pc)];
      } else {
        block.end = End.Call;
        block.callee = to;
        block.edges = [edge(next, true)];
      }
      return;
    case Kind.JumpIndirect:
      if (isLink(code.rd[index]!)) {
        block.end = End.Call;
        block.edges = [edge(next, true)];
      } else block.end = code.isReturn(index) ? End.Return : End.Indirect;
      return;
  }
  block.end = End.Interpret;
}

/**
 * Makes a jump through a register, at the end of a block, one to the places that it went to last. Returns the blocks that are made for it: the calls of functions, and what is
 * done where the guesses fail.
 */
function guess(code: Instructions, block: Block): Block[] {
  if (block.last < 0 || code.kind(block.last) !== Kind.JumpIndirect || block.end === End.Return) return [];
  const pc = code.pc[block.last]!;
  const guesses = code.guesses(pc);
  if (guesses.length === 0) return [];
  const call = block.end === End.Call;
  const [back] = block.edges;
  const done = (callee: number): Block => {
    const made = new Block(pc);
    made.end = call ? End.Call : End.Indirect;
    made.callee = callee;
    made.site = block.last;
    made.edges = call ? [{ ...back! }] : [];
    return made;
  };
  const made = [...(call ? guesses.map(done) : []), done(-1)];
  const edge = (at: number, to: Block | undefined): Edge => ({ pc: at, to, via: undefined, fuel: true });
  block.end = End.Guess;
  block.edges = [...guesses.map((at, index) => edge(at, call ? made[index] : undefined)), edge(pc, made.at(-1))];
  return made;
}

interface Found {
  readonly head: Block;
  readonly blocks: Block[];
  readonly instructions: number;
}

/** Blocks from `entry` on, without inlining. Undefined if the first instruction cannot be translated. */
function discover(code: Instructions, entry: number, limits: Limits): Found | undefined {
  const blocks = new Map<number, Block>();
  const made: Block[] = [];
  const leaders = new Set<number>([entry]);
  const work = [entry];
  const starts = new Set<number>();
  const inside = new Map<number, number>();
  let count = 0;
  // Which instructions belong to it, and which of them start blocks.
  for (let at = 0; at < work.length; at++) {
    let pc = work[at]!;
    if (starts.has(pc)) continue;
    starts.add(pc);
    for (;;) {
      if (inside.has(pc) || count >= limits.instructions || starts.size > limits.blocks) break;
      const index = code.at(pc);
      if (index < 0) break;
      inside.set(pc, index);
      count++;
      if (code.kind(index) === Kind.Plain) {
        pc = code.next(index);
        continue;
      }
      const probe = new Block(pc);
      finish(code, probe, index);
      for (const { edges } of [probe, ...guess(code, probe)]) {
        for (const { pc: to, to: made } of edges) {
          if (made !== undefined || !code.reached(to)) continue;
          leaders.add(to);
          work.push(to);
        }
      }
      break;
    }
  }
  for (const pc of leaders) {
    if (!inside.has(pc)) continue;
    const block = new Block(pc);
    blocks.set(pc, block);
    for (let at = pc; ;) {
      const index = inside.get(at);
      if (index === undefined || (at !== pc && leaders.has(at))) {
        block.edges = [{ pc: at, to: undefined, via: undefined, fuel: false }];
        break;
      }
      if (code.kind(index) !== Kind.Plain) {
        finish(code, block, index);
        made.push(...guess(code, block));
        break;
      }
      block.ins.push(index);
      at = code.next(index);
    }
    joinShifts(code, block.ins);
  }
  const head = blocks.get(entry);
  if (head === undefined || (head.ins.length === 0 && head.end === End.Interpret)) return undefined;
  const all = [...blocks.values(), ...made];
  for (const block of all) for (const edge of block.edges) edge.to ??= blocks.get(edge.pc);
  return { head, blocks: all, instructions: count };
}

/** A short function, whose blocks are copied into callers. */
export interface Inlined extends Found {
  readonly entry: number;
  /** ra holds the return address all the time. */
  readonly keepsRa: boolean;
}

const RA = 1 << 1;

/** Functions to inline, by pc; kept for the time of one unit. */
export class Inlining {
  readonly #known: Map<number, Inlined | undefined> = new Map();
  readonly #code: Instructions;
  readonly #limits: Limits;
  constructor(code: Instructions, limits: Limits) {
    this.#code = code;
    this.#limits = limits;
  }
  at(pc: number): Inlined | undefined {
    if (this.#known.has(pc)) return this.#known.get(pc);
    const found = this.#find(pc);
    this.#known.set(pc, found);
    return found;
  }
  #find(entry: number): Inlined | undefined {
    const limit = this.#limits.inline;
    const found = discover(this.#code, entry, { ...this.#limits, instructions: limit + 1, blocks: limit });
    if (found === undefined || found.instructions > limit) return undefined;
    let keepsRa = true;
    for (const block of found.blocks) {
      for (const index of block.ins) if ((this.#code.defX[index]! & RA) !== 0) keepsRa = false;
      if (block.end === End.Return) {
        if (this.#code.rs1[block.last] !== 1) return undefined;
      } else if (block.end === End.Call || (block.end === End.Guess && (this.#code.defX[block.last]! & RA) !== 0)) keepsRa = false;
      else if (block.end === End.Indirect && block.site < 0) return undefined;
      else if (block.end === End.Interpret) return undefined;
      if (block.edges.some(({ to }) => to === undefined)) return undefined;
    }
    return { ...found, entry, keepsRa };
  }
}

/** Copies a function; its returns go to `back`. `path`: the functions that it is inlined in. */
function copyOf(inlined: Inlined, back: Edge, path: readonly number[]): { head: Block; blocks: Block[] } {
  const copies = new Map<Block, Block>();
  for (const block of inlined.blocks) copies.set(block, new Block(block.pc));
  for (const [from, copy] of copies) {
    copy.ins = [...from.ins];
    copy.last = from.last;
    copy.callee = from.callee;
    copy.site = from.site;
    copy.path = path;
    if (from.end === End.Return) {
      copy.end = inlined.keepsRa ? End.Jump : End.Back;
      copy.edges = [{ ...back, fuel: true }];
    } else {
      copy.end = from.end;
      copy.edges = from.edges.map((edge) => ({ ...edge, to: copies.get(edge.to!) }));
    }
  }
  return { head: copies.get(inlined.head)!, blocks: [...copies.values()] };
}

/** The region at `entry`; undefined if its first instruction cannot be translated. */
export function findRegion(code: Instructions, entry: number, limits: Limits, inlining: Inlining): Region | undefined {
  const found = discover(code, entry, limits);
  if (found === undefined) return undefined;
  const blocks = found.blocks;
  let maxTarget = entry;
  const seen = (pc: number): void => {
    if (pc > maxTarget) maxTarget = pc;
  };
  if (limits.inline > 0) {
    let budget = limits.inlineTotal;
    // Blocks that are added come later in the same walk: functions in functions.
    for (const block of blocks) {
      const { callee, path } = block;
      const site = Math.max(block.last, block.site);
      if (block.end !== End.Call || callee < 0 || code.rd[site] !== 1) continue;
      if (callee === entry || path.includes(callee) || path.length >= limits.inlineDepth) continue;
      const inlined = inlining.at(callee);
      const back = block.edges[0]!;
      if (inlined === undefined || inlined.instructions > budget || back.to === undefined) continue;
      budget -= inlined.instructions;
      const copy = copyOf(inlined, back, [...path, callee]);
      blocks.push(...copy.blocks);
      block.end = End.Jump;
      block.callee = -1;
      block.edges = [{ pc: callee, to: copy.head, via: undefined, fuel: block.last >= 0 && callee <= code.pc[site]! }];
    }
  }
  if (limits.hammock > 0) findHammocks(code, blocks, found.head, limits.hammock);
  const callees = new Set<number>();
  for (const block of blocks) {
    for (const { pc } of block.edges) seen(pc);
    if (block.callee >= 0) seen(block.callee);
    if (block.end === End.Call && block.callee >= 0) callees.add(block.callee);
  }
  return { entry, head: found.head, blocks, callees: [...callees], maxTarget, instructions: found.instructions };
}

/** Branches over a few instructions that only compute become selections. */
function findHammocks(code: Instructions, blocks: Block[], head: Block, limit: number): void {
  const uses = new Map<Block, number>();
  for (const block of blocks) for (const { to } of block.edges) if (to !== undefined) uses.set(to, (uses.get(to) ?? 0) + 1);
  const gone = new Set<Block>();
  for (const block of blocks) {
    if (block.end !== End.Branch || gone.has(block)) continue;
    const [taken, other] = block.edges as [Edge, Edge];
    const over = other.to;
    if (over === undefined || over === block || over === head || gone.has(over) || over.hammock.length > 0 || taken.to === over) continue;
    if (uses.get(over) !== 1 || over.end !== End.Jump || over.last >= 0 || taken.fuel) continue;
    const join = over.edges[0]!;
    if (join.to === undefined || join.to !== taken.to || over.ins.length === 0 || over.ins.length > limit) continue;
    if (!over.ins.every((index) => code.shape(index).pure)) continue;
    if (new Set(over.ins.map((index) => code.defX[index]).filter((bit) => bit !== 0)).size > 2) continue;
    block.hammock = over.ins;
    block.edges = [taken];
    gone.add(over);
    uses.set(taken.to, uses.get(taken.to)! - 1);
  }
  if (gone.size > 0) blocks.splice(0, blocks.length, ...blocks.filter((block) => !gone.has(block)));
}
