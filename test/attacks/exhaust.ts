/** Programs that try to use a host up: its memory, its addresses, its threads. Each must end with an error or be killed, and alone. */
import { staticElf } from "../support/elf.ts";
import { makeScratchImage } from "../../packages/cli/src/images/scratch.ts";

export interface Exhausting {
  readonly name: string;
  readonly title: string;
  readonly code: string;
  /** Exit codes of which one must come; empty: it goes on until it is removed. */
  readonly ends: readonly number[];
}

const EAGAIN = 11;
const ENOMEM = 12;
const KILLED = 137;
/** Ends with the errno in a0, or goes on when there is none. */
const UNLESS_FAILED = "bgez a0, on\nneg a0, a0\nli a7, 94\necall\non:\n";
/** mmap of `bytes`, private and anonymous and without reserve; `prot` may be a register's move. */
const map = (bytes: number, prot: string): string =>
  `li a0, 0\nli a1, ${bytes}\n${prot}\nli a3, 0x4022\nli a4, -1\nli a5, 0\nli a7, 222\necall\n${UNLESS_FAILED}`;
const clone = (flags: number): string => `li a0, ${flags}\nli a1, 0\nli a2, 0\nli a3, 0\nli a4, 0\nli a7, 220\necall\n`;
/** Ends at once unless it has made `count` of what it makes. */
const counted = (count: number, each: string): string =>
  `li s0, ${count}\nnext:\n${each}addi s0, s0, -1\nbnez s0, next\nli a0, 0\nli a7, 94\necall\n`;

/** The cVM has 64 MiB. */
export const EXHAUSTING: readonly Exhausting[] = [
  {
    name: "touch",
    title: "use more memory than there is",
    code: `${map(512 << 20, "li a2, 3")}li t1, 4096\nli t2, 1\nnext: sb t2, 0(a0)\nadd a0, a0, t1\nj next\n`,
    ends: [KILLED],
  },
  {
    name: "touch-children",
    title: "use more memory than there is, in children that are forked again and again",
    code: `${map(32 << 20, "li a2, 3")}mv s1, a0\nagain: ${clone(17)}li t0, 4096\nli t1, 8192\nmv t2, s1\nnext: sb t1, 0(t2)\nsb s1, 1(t2)\nadd t2, t2, t0\naddi t1, t1, -1\nbnez t1, next\nj again\n`,
    ends: [],
  },
  { name: "maps", title: "map without end", code: counted(1_000_000, map(1 << 20, "li a2, 3")), ends: [ENOMEM] },
  { name: "reserve", title: "reserve addresses without end", code: counted(1_000_000, map(1 << 30, "li a2, 0")), ends: [ENOMEM] },
  {
    name: "pieces",
    title: "make 100,000 mappings",
    // Neighbours that allow other things are mappings of their own.
    code: counted(100_000, map(4096, "andi a2, s0, 1\naddi a2, a2, 1")),
    ends: [ENOMEM],
  },
  {
    name: "threads",
    title: "start 10,000 threads",
    // VM, FS, FILES, SIGHAND, THREAD; each sleeps until it is killed.
    code: counted(
      10_000,
      `${clone(0x10f00)}bnez a0, parent\nsleep: li a0, 0\nli a1, 0\nli a2, 0\nli a3, 0\nli a4, 0\nli a7, 73\necall\nj sleep\nparent:\n${UNLESS_FAILED}`,
    ),
    ends: [EAGAIN, ENOMEM, KILLED],
  },
  { name: "forks", title: "fork without end, in all children too", code: `next: ${clone(17)}j next\n`, ends: [] },
];

/** Makes the image that holds one program each: `/exhaust/NAME`. */
export async function makeExhaustImage(reference: string): Promise<void> {
  await makeScratchImage(
    reference,
    EXHAUSTING.map(({ name, code }) => ({ path: `exhaust/${name}`, mode: 0o755, data: staticElf(code) })),
    { Env: [], WorkingDir: "/" },
  );
}
