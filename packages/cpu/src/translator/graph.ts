/** Orders a region's blocks so that it can be written with WebAssembly's blocks and loops. */
import { Block, End, target, type Edge, type Region } from "./region.ts";

/** Strongly connected components of the subgraph of `nodes` that have a cycle (Tarjan 1972, without recursion). */
function cycles(nodes: ReadonlySet<Block>): Set<Block>[] {
  const index = new Map<Block, number>();
  const low = new Map<Block, number>();
  const open = new Set<Block>();
  const stack: Block[] = [];
  const result: Set<Block>[] = [];
  let next = 0;
  const enter = (block: Block): { block: Block; edge: number } => {
    index.set(block, next);
    low.set(block, next++);
    stack.push(block);
    open.add(block);
    return { block, edge: 0 };
  };
  for (const root of nodes) {
    if (index.has(root)) continue;
    const walk = [enter(root)];
    while (walk.length > 0) {
      const top = walk.at(-1)!;
      const { block } = top;
      if (top.edge < block.edges.length) {
        const to = target(block.edges[top.edge++]!);
        if (to === undefined || !nodes.has(to)) continue;
        if (!index.has(to)) walk.push(enter(to));
        else if (open.has(to)) low.set(block, Math.min(low.get(block)!, index.get(to)!));
        continue;
      }
      walk.pop();
      const parent = walk.at(-1)?.block;
      if (parent !== undefined) low.set(parent, Math.min(low.get(parent)!, low.get(block)!));
      if (low.get(block) !== index.get(block)) continue;
      const component = new Set<Block>();
      let member: Block;
      do {
        member = stack.pop()!;
        open.delete(member);
        component.add(member);
      } while (member !== block);
      if (component.size > 1 || block.edges.some((edge) => target(edge) === block)) result.push(component);
    }
  }
  return result;
}

/** Instructions of a loop that is repeated until it has about this many. */
const UNROLLED = 40;
const MOST_COPIES = 4;

/**
 * Repeats the blocks of an innermost loop: fuel is looked at once for all copies, and what one proves about addresses holds for the next. `room`: instructions
 * that may be added. Returns how many were.
 */
function unroll(region: Region, component: ReadonlySet<Block>, head: Block, room: number): number {
  let size = 0;
  for (const block of component) {
    if (block.end === End.Call || block.end === End.Dispatch || block.edges.some((edge) => edge.via !== undefined)) return 0;
    size += block.count + block.hammock.length;
  }
  const copies = Math.min(MOST_COPIES, Math.floor(UNROLLED / size), 1 + Math.floor(room / size));
  if (copies < 2) return 0;
  const members = [...component];
  const backEdges = members.flatMap(({ edges }) => edges.filter(({ to }) => to === head));
  let open = backEdges;
  for (let copy = 1; copy < copies; copy++) {
    const next = new Map(members.map((block): [Block, Block] => [block, copyBlock(block)]));
    for (const edge of open) edge.to = next.get(head);
    open = [];
    for (const [from, to] of next) {
      to.edges = from.edges.map((edge): Edge => {
        const isBack = edge.to !== undefined && backEdges.includes(edge);
        const made: Edge = { ...edge, to: isBack ? head : edge.to === undefined ? undefined : (next.get(edge.to) ?? edge.to) };
        if (isBack) open.push(made);
        return made;
      });
      region.blocks.push(to);
    }
  }
  return size * (copies - 1);
}

function copyBlock(from: Block): Block {
  const to = new Block(from.pc);
  to.ins = from.ins;
  to.last = from.last;
  to.end = from.end;
  to.callee = from.callee;
  to.site = from.site;
  to.hammock = from.hammock;
  to.path = from.path;
  return to;
}

/** Most instructions of a copy that gives a loop a single entry. */
const SPLIT = 150;

/**
 * Gives a loop with several entries one: what comes in elsewhere goes through a copy of the blocks from there to the head. Returns the number of instructions that were
 * copied, or undefined if that would be more than `room`.
 */
function split(
  region: Region,
  component: ReadonlySet<Block>,
  entries: ReadonlySet<Block>,
  start: Block,
  room: number,
): { head: Block; size: number } | undefined {
  let best: { head: Block; copied: Set<Block>; size: number } | undefined;
  for (const head of entries) {
    if (entries.has(start) && component.has(start) && head !== start) continue;
    const copied = new Set<Block>();
    const work = [...entries].filter((entry) => entry !== head);
    let size = 0;
    for (let block = work.pop(); block !== undefined; block = work.pop()) {
      if (block === head || copied.has(block) || !component.has(block)) continue;
      copied.add(block);
      size += block.count + block.hammock.length;
      for (const { to } of block.edges) if (to !== undefined) work.push(to);
    }
    if (best === undefined || size < best.size) best = { head, copied, size };
  }
  if (best === undefined || best.size > Math.min(room, SPLIT)) return undefined;
  const { head, copied, size } = best;
  const copies = new Map([...copied].map((block): [Block, Block] => [block, copyBlock(block)]));
  for (const block of region.blocks) {
    if (component.has(block)) continue;
    for (const edge of block.edges) if (edge.to !== undefined && edge.to !== head && entries.has(edge.to)) edge.to = copies.get(edge.to);
  }
  for (const [from, to] of copies) {
    to.edges = from.edges.map((edge): Edge => ({ ...edge, to: edge.to === undefined ? undefined : (copies.get(edge.to) ?? edge.to) }));
    region.blocks.push(to);
  }
  return { head, size };
}

/** The blocks that are reached; others are dropped. */
function reachable(region: Region, start: Block): Set<Block> {
  const found = new Set([start]);
  for (const block of found) {
    for (const edge of block.edges) {
      const to = target(edge);
      if (to !== undefined) found.add(to);
    }
  }
  region.blocks = [...found];
  return found;
}

/** Gives each loop that has several entries a single one: by copies, or a dispatch block where they would be large. Returns where the region starts. */
function dispatchLoops(region: Region, unrolled: number): Block {
  const { head } = region;
  let room = unrolled;
  let copies = unrolled;
  let start = head;
  let again = false;
  const fix = (nodes: ReadonlySet<Block>): void => {
    for (const component of cycles(nodes)) {
      const entries = new Set<Block>();
      if (component.has(start)) entries.add(start);
      for (const block of region.blocks) {
        if (component.has(block)) continue;
        for (const edge of block.edges) {
          const to = target(edge);
          if (to !== undefined && component.has(to)) entries.add(to);
        }
      }
      const inner = new Set(component);
      if (
        entries.size > 1 &&
        ![...component].some(({ end, edges }) => end === End.Dispatch || edges.some(({ via }) => via !== undefined))
      ) {
        const done = split(region, component, entries, start, copies);
        if (done !== undefined) {
          copies -= done.size;
          entries.clear();
          entries.add(done.head);
          again = true;
        }
      }
      if (entries.size > 1) {
        const dispatch = new Block(-1);
        dispatch.end = End.Dispatch;
        dispatch.edges = [...entries].map((to): Edge => ({ pc: to.pc, to, via: undefined, fuel: false }));
        for (const block of region.blocks) {
          for (const edge of block.edges) if (edge.via === undefined && edge.to !== undefined && entries.has(edge.to)) edge.via = dispatch;
        }
        region.blocks.push(dispatch);
        if (entries.has(start)) {
          const first = new Block(start.pc);
          first.edges = [{ pc: start.pc, to: start, via: dispatch, fuel: false }];
          region.blocks.push(first);
          start = first;
        }
      } else {
        const only = [...entries][0] ?? [...component][0]!;
        inner.delete(only);
        if (entries.size === 1 && cycles(inner).length === 0) {
          room -= unroll(region, component, only, room);
          continue;
        }
      }
      if (inner.size > 0) fix(inner);
    }
  };
  // Copies have loops of their own, where the loop that they are of has inner ones.
  for (let turn = 0; turn === 0 || (again && turn < 4); turn++) {
    again = false;
    fix(reachable(region, start));
  }
  return start;
}

/**
 * Blocks in reverse postorder, at most `unrolled` instructions of them copies of loops, with dominators (Cooper, Harvey and Kennedy 2001) and what emission needs. Edges that would
 * still enter a loop beside its head leave the region.
 */
export function order(region: Region, unrolled: number): Block[] {
  const start = dispatchLoops(region, unrolled);
  for (;;) {
    const result = reversePostorder(region.blocks, start);
    dominators(result);
    const dominates = (a: number, b: number): boolean => {
      let at = b;
      while (at > a) at = result[at]!.idom;
      return at === a;
    };
    let cut = false;
    for (const block of result) {
      for (const edge of block.edges) {
        const to = target(edge);
        if (to === undefined || to.rpo > block.rpo || dominates(to.rpo, block.rpo)) continue;
        edge.to = undefined;
        edge.via = undefined;
        cut = true;
      }
    }
    if (cut) continue;
    for (const block of result) {
      if (block.rpo > 0) result[block.idom]!.kids.push(block);
      let forward = 0;
      for (const from of block.pred) {
        if (from.rpo >= block.rpo) block.loop = true;
        else forward++;
      }
      block.merge = forward > 1;
    }
    return result;
  }
}

function reversePostorder(blocks: readonly Block[], start: Block): Block[] {
  for (const block of blocks) {
    block.rpo = -1;
    block.idom = -1;
    block.pred = [];
    block.kids = [];
    block.loop = false;
  }
  const result: Block[] = [];
  const seen = new Set([start]);
  const walk = [{ block: start, edge: 0 }];
  while (walk.length > 0) {
    const top = walk.at(-1)!;
    if (top.edge < top.block.edges.length) {
      const to = target(top.block.edges[top.edge++]!);
      if (to === undefined || seen.has(to)) continue;
      seen.add(to);
      walk.push({ block: to, edge: 0 });
    } else {
      walk.pop();
      result.push(top.block);
    }
  }
  result.reverse();
  result.forEach((block, at) => (block.rpo = at));
  // An edge of its own counts even where two lead to the same block: the block is reached by two branches then.
  for (const block of result) {
    for (const edge of block.edges) target(edge)?.pred.push(block);
  }
  return result;
}

function dominators(blocks: readonly Block[]): void {
  blocks[0]!.idom = 0;
  const meet = (a: number, b: number): number => {
    let [x, y] = [a, b];
    while (x !== y) {
      while (x > y) x = blocks[x]!.idom;
      while (y > x) y = blocks[y]!.idom;
    }
    return x;
  };
  for (let changed = true; changed;) {
    changed = false;
    for (let at = 1; at < blocks.length; at++) {
      const block = blocks[at]!;
      let idom = -1;
      for (const { rpo, idom: known } of block.pred) if (known >= 0) idom = idom < 0 ? rpo : meet(idom, rpo);
      if (block.idom === idom) continue;
      block.idom = idom;
      changed = true;
    }
  }
}
