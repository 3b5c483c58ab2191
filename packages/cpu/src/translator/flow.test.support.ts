/** Random programs: blocks of instructions with random ends, and programs of nested loops, branches and calls. */
import * as fc from "fast-check";
import { BASE, CODE, DATA, DATA_BYTES, LENGTH, PAGE } from "./twins.test.support.ts";

/** A program as text, how pointers and bounds are at its beginning, and how it is run. */
export interface Flow {
  readonly lines: readonly string[];
  /** Offset of the code. */
  readonly at: number;
  /** What a0, s0, s1, sp, tp begin as. */
  readonly pointers: readonly number[];
  /** Values of other registers. */
  readonly values: readonly bigint[];
  /** Bytes that DDC allows from the region's start. */
  readonly ddcBytes: number;
  /** Pages of the data, as offsets, that allow only reads, or nothing. */
  readonly readOnly: readonly number[];
  readonly unmapped: readonly number[];
  /** Pages with tagged capabilities all over. */
  readonly tagged: readonly number[];
  readonly fcsr: number;
  /** Fuel of each run, in turn. */
  readonly fuels: readonly number[];
}

const TEMPS = ["a1", "a2", "a3", "a4", "a5", "t3", "t4", "s2", "s3", "t0", "ra", "zero"] as const;
/** Those that 16-bit instructions can name. */
const SHORT = ["a1", "a2", "a3", "a4", "a5"] as const;
const POINTERS = ["a0", "s0", "s1", "sp"] as const;
const FLOATS = ["fa0", "fa1", "fs0", "ft0", "fs1"] as const;

const pick = <T>(list: readonly T[], n: number): T => list[n % list.length]!;
/** -2048 … 2047, mostly small, sometimes at the ends. */
const offset = (n: number): number => {
  if (n % 4 < 2) return (((n >>> 4) & 31) - 8) * 8;
  return n % 4 === 2 ? ((n >>> 4) & 255) - 128 : ((n >>> 4) & 4095) - 2048;
};

type Template = (a: number, b: number, c: number, n: number) => string;
const three =
  (...names: string[]): Template =>
  (a, b, c, n) =>
    `${pick(names, n)} ${pick(TEMPS, a)}, ${pick(TEMPS, b)}, ${pick(TEMPS, c)}`;
const immediate: Template = (a, b, c, n) =>
  `${pick(["addi", "addi", "addiw", "xori", "andi", "ori", "slti", "sltiu"], c)} ${pick(TEMPS, a)}, ${pick(TEMPS, b)}, ${offset(n)}`;
const shift: Template = (a, b, c, n) => `${pick(["slli", "srli", "srai"], c)} ${pick(TEMPS, a)}, ${pick(TEMPS, b)}, ${n % 64}`;
const shortened: Template = (a, b, c, n) => {
  const [x, y] = [pick(SHORT, a), pick(SHORT, b)];
  const small = (n % 31) - 15 || 3;
  return pick(
    [
      `c.addi ${x}, ${small}`,
      `c.li ${x}, ${small}`,
      `c.mv ${x}, ${y}`,
      `c.add ${x}, ${y}`,
      `c.sub ${x}, ${y}`,
      `c.andi ${x}, ${small}`,
      `c.slli ${x}, ${(n % 62) + 1}`,
      "c.nop",
      `c.ld ${x}, ${(n % 8) * 8}(a0)`,
      `c.sd ${x}, ${(n % 8) * 8}(s0)`,
    ],
    c,
  );
};
const memory: Template = (a, b, c, n) => {
  const at = `${offset(n)}(${pick(POINTERS, b)})`;
  const load = pick(["ld", "lw", "lwu", "lh", "lhu", "lb", "lbu"], c);
  return c % 2 === 0 ? `${load} ${pick(TEMPS, a)}, ${at}` : `${pick(["sd", "sw", "sh", "sb"], c >>> 1)} ${pick(TEMPS, a)}, ${at}`;
};
const move: Template = (a, b, c, n) =>
  c % 8 === 0
    ? `mv ${pick(POINTERS, a)}, ${pick(POINTERS, b)}`
    : `addi ${pick(["s0", "s1"], a)}, ${pick(["s0", "s1", "s0", "s1", "a0"], b)}, ${c % 8 === 1 ? (offset(n) * 4 - (offset(n) > 500 ? 3000 : 0) > 2047 || offset(n) * 4 < -2048 ? 2040 : (offset(n) % 512) * 4) : offset(n) % 64}`;
const atomic: Template = (a, b, c, n) => {
  const name = pick(["amoadd.d", "amoswap.w", "amoxor.d", "lr.d", "sc.d"], c);
  const base = pick(["a0", "s0"], n);
  return name === "lr.d" ? `lr.d ${pick(TEMPS, a)}, (${base})` : `${name} ${pick(TEMPS, a)}, ${pick(TEMPS, b)}, (${base})`;
};
const float: Template = (a, b, c, n) => {
  const [x, y, z] = [pick(FLOATS, a), pick(FLOATS, b), pick(FLOATS, c)];
  const at = `${(n % 32) * 8}(${pick(POINTERS, b)})`;
  return pick(
    [
      `fadd.d ${x}, ${y}, ${z}`,
      `fmul.d ${x}, ${y}, ${z}`,
      `fsub.s ${x}, ${y}, ${z}`,
      `fdiv.d ${x}, ${y}, ${z}`,
      `fmadd.d ${x}, ${y}, ${z}, ${x}`,
      `fmin.d ${x}, ${y}, ${z}`,
      `fsgnjn.d ${x}, ${y}, ${z}`,
      `fcvt.d.l ${x}, ${pick(TEMPS, b)}`,
      `fcvt.w.d ${pick(TEMPS, a)}, ${y}, rtz`,
      `fcvt.s.d ${x}, ${y}`,
      `fcvt.d.s ${x}, ${y}`,
      `flt.d ${pick(TEMPS, a)}, ${y}, ${z}`,
      `fmv.x.d ${pick(TEMPS, a)}, ${y}`,
      `fld ${x}, ${at}`,
      `fsd ${x}, ${at}`,
      `flw ${x}, ${at}`,
      `fsqrt.d ${x}, ${y}`,
      `fclass.d ${pick(TEMPS, a)}, ${y}`,
      `fadd.s ${x}, ${y}, ${z}, ${pick(["rne", "rtz", "rdn", "rup", "rmm", "dyn"], a)}`,
      `fmul.d ${x}, ${y}, ${z}, ${pick(["rne", "rtz", "rdn", "rup", "rmm", "dyn"], a)}`,
      `fnmsub.s ${x}, ${y}, ${z}, ${x}`,
      `fmv.w.x ${x}, ${pick(TEMPS, b)}`,
      `fmv.d.x ${x}, ${pick(TEMPS, b)}`,
      `feq.s ${pick(TEMPS, a)}, ${y}, ${z}`,
      `fsgnjx.s ${x}, ${y}, ${z}`,
      `fcvt.lu.s ${pick(TEMPS, a)}, ${y}`,
      `fmax.s ${x}, ${y}, ${z}`,
    ],
    n >>> 5,
  );
};
const rare: Template = (a, b, c, n) =>
  pick(
    [
      "ecall",
      `frflags ${pick(TEMPS, a)}`,
      `fsflags ${pick(TEMPS, a)}`,
      "fence.i",
      `csrrwi zero, frm, ${n % 5}`,
      "csrrwi zero, frm, 0",
      "csrrwi zero, frm, 0",
      `cspecialrw c13, ddc, cnull`,
      "ebreak",
      `rdinstret ${pick(TEMPS, a)}`,
      "nop",
      `auipc ${pick(TEMPS, a)}, ${n % 8}`,
      "mv a3, a4",
    ],
    b * 7 + c,
  );
/** Copies an instruction's bytes within the program: tp points to it. */
const patch: Template = (a, b, c, n) => `lw t5, ${(b * 4 + 2 * (a % 2)) % 128}(tp)\nsw t5, ${(c * 4 + 2 * (n % 2)) % 160}(tp)`;

const COMMON: readonly Template[] = [
  three("add", "sub", "xor", "or", "and", "sltu", "addw", "subw", "sll", "sra", "srlw"),
  three("mul", "mulw", "mulhu", "divu", "rem", "div", "remuw", "sh1add", "andn", "max", "rol"),
  immediate,
  immediate,
  shift,
  shortened,
  shortened,
  memory,
  memory,
  memory,
  memory,
  move,
];

export interface Mix {
  /** Part of the instructions in 100 that are atomic, float, rare, or change the program. */
  readonly atomics?: number;
  readonly floats?: number;
  readonly rare?: number;
  readonly patches?: number;
}

function instruction({ atomics = 3, floats = 3, rare: odd = 1, patches = 0 }: Mix): fc.Arbitrary<string> {
  return fc.tuple(fc.nat(99), fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(65_535)).map(([kind, a, b, c, n]) => {
    // Common ones are the smallest numbers.
    let at = 99 - kind;
    for (const [part, template] of [
      [atomics, atomic],
      [floats, float],
      [odd, rare],
      [patches, patch],
    ] as const) {
      if (at < part) return template(a, b, c, n);
      at -= part;
    }
    return pick(COMMON, kind)(a, b, c, n);
  });
}

const condition = (kind: number, a: number, b: number): string =>
  `${pick(["beq", "bne", "blt", "bge", "bltu", "bgeu"], kind)} ${pick(TEMPS, a)}, ${pick(TEMPS, b)}`;

/** How a block ends. Labels are b0, b1, …; `tp` points to the table of their addresses that stands behind the program. */
type Ending = readonly [kind: number, a: number, b: number, target: number];
function ending([kind, a, b, target]: Ending, blocks: number, number: number): string {
  const to = `b${target % blocks}`;
  const near = `b${(number + 1 + (target % 3)) % blocks}`;
  switch (kind) {
    case 0:
      return "";
    case 1:
      return `j ${to}`;
    case 2:
      return `jal ra, ${to}`;
    case 3:
      return `jal t0, ${to}`;
    case 4:
      return "ret";
    case 5:
      return `jr ${pick(["t0", "ra"], a)}`;
    case 6:
      return `andi t6, ${pick(TEMPS, a)}, 7\nslli t6, t6, 3\nadd t6, t6, gp\nld t6, 0(t6)\n${pick(["jr t6", "jalr ra, 0(t6)", "jalr t0, 0(t6)", "jalr t6, 0(t6)"], b)}`;
    case 7:
      // A return address that is another one.
      return `la ra, ${to}\n${pick(["", "ret"], a)}`;
    case 8:
      return `c.bnez ${pick(SHORT, a)}, . + 4\nc.addi ${pick(SHORT, b)}, 5`;
    default:
      return `${condition(kind, a, b)}, ${kind % 2 === 0 ? to : near}`;
  }
}

const hammock = (mix: Mix): fc.Arbitrary<(name: string) => string> =>
  fc.tuple(fc.nat(5), fc.nat(255), fc.nat(255), fc.array(instruction(mix), { minLength: 1, maxLength: 4 })).map(
    ([kind, a, b, body]) =>
      (name) =>
        `${condition(kind, a, b)}, ${name}\n${body.join("\n")}\n${name}:`,
  );

const body = (mix: Mix, maxLength: number): fc.Arbitrary<readonly ((name: string) => string)[]> =>
  fc.array(fc.oneof({ weight: 12, arbitrary: instruction(mix).map((text) => () => text) }, { weight: 1, arbitrary: hammock(mix) }), {
    maxLength,
  });

/** Blocks that end by random branches, calls, returns and jumps through registers. */
function blocks(mix: Mix): fc.Arbitrary<string[]> {
  const block = fc.tuple(body(mix, 7), fc.tuple(fc.nat(15), fc.nat(255), fc.nat(255), fc.nat(255)));
  return fc.array(block, { minLength: 2, maxLength: 14 }).map((list) => {
    const lines = list.flatMap(([instructions, end], number) => [
      `b${number}:`,
      ...instructions.map((text, at) => text(`h${number}_${at}`)),
      ending(end, list.length, number),
    ]);
    const table = Array.from({ length: 8 }, (_, at) => `b${(at * 5 + 1) % list.length}`);
    return [...lines, "j b0", ".align 3", `table: .dword ${table.join(", ")}`];
  });
}

/** Loops with counters, branches and calls of functions further on, nested. */
type Tree = (emit: (line: string) => void, label: () => string, depth: number, level: number) => void;
function tree(mix: Mix): fc.Arbitrary<string[]> {
  const straight: fc.Arbitrary<Tree> = body(mix, 6).map((list) => (emit, label) => list.forEach((text) => emit(text(label()))));
  const { node } = fc.letrec<{ node: Tree; list: Tree }>((tie) => ({
    list: fc.array(tie("node"), { minLength: 1, maxLength: 3 }).map(
      (list): Tree =>
        (...at) =>
          list.forEach((each) => each(...at)),
    ),
    node: fc.oneof(
      { depthSize: "small", withCrossShrink: true },
      straight,
      fc.tuple(tie("list"), fc.integer({ min: 1, max: 9 })).map(([inner, rounds]): Tree => (emit, label, depth, level) => {
        const counter = `s${4 + (depth % 6)}`;
        const [head, out] = [label(), label()];
        emit(`li ${counter}, ${rounds}`);
        emit(`${head}:`);
        inner(emit, label, depth + 1, level);
        // Inner loops may have used the same counter.
        emit(`addi ${counter}, ${counter}, -1`);
        emit(`blez ${counter}, ${out}`);
        emit(`j ${head}`);
        emit(`${out}:`);
      }),
      fc
        .tuple(fc.nat(5), fc.nat(255), fc.nat(255), tie("list"), tie("list"))
        .map(([kind, a, b, yes, no]): Tree => (emit, label, depth, level) => {
          const [other, join] = [label(), label()];
          emit(`${condition(kind, a, b)}, ${other}`);
          yes(emit, label, depth, level);
          emit(`j ${join}`);
          emit(`${other}:`);
          no(emit, label, depth, level);
          emit(`${join}:`);
        }),
      fc.tuple(fc.nat(5), fc.nat(255)).map(([kind, a]): Tree => (emit, label, depth, level) => {
        if (level + 1 >= FUNCTIONS) return;
        const callee = level + 1 + (a % (FUNCTIONS - level - 1));
        const to = `f${callee}`;
        if (kind === 0) {
          emit(`la t5, ${to}`);
          emit("jalr t5");
        } else emit(`jal ra, ${to}`);
      }),
    ),
  }));
  return fc.array(node, { minLength: FUNCTIONS, maxLength: FUNCTIONS }).map((functions) => {
    const lines: string[] = [];
    let labels = 0;
    functions.forEach((write, level) => {
      const inner: string[] = [];
      write(
        (line) => inner.push(line),
        () => `l${labels++}`,
        level,
        level,
      );
      const calls = inner.some((line) => line.startsWith("jal"));
      lines.push(`f${level}:`);
      if (calls) lines.push("addi sp, sp, -16", "sd ra, 8(sp)");
      lines.push(...inner);
      if (calls) lines.push("ld ra, 8(sp)", "addi sp, sp, 16");
      lines.push(level === 0 ? "ecall\nj f0" : "ret");
    });
    return [...lines, ".align 3", "table: .dword f0, f1, f2, f3, f0, f1, f2, f3"];
  });
}
const FUNCTIONS = 4;

/** Places that pointers begin at: around them accesses stop being allowed. */
const places = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 0, max: DATA_BYTES / 8 - 1 }).map((n) => DATA + n * 8) },
  { weight: 1, arbitrary: fc.integer({ min: -40, max: 40 }).map((n) => DATA + DATA_BYTES + n * 8) },
  { weight: 1, arbitrary: fc.integer({ min: -300, max: 300 }).map((n) => DATA + n) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 600 }).map((n) => n * 8) },
  { weight: 1, arbitrary: fc.integer({ min: -600, max: 80 }).map((n) => LENGTH + n * 8) },
  { weight: 1, arbitrary: fc.integer({ min: -100, max: 1100 }).map((n) => CODE + n * 4) },
);

export function arbFlow(shape: "blocks" | "tree", mix: Mix = {}): fc.Arbitrary<Flow> {
  return fc.record({
    lines: shape === "blocks" ? blocks(mix) : tree(mix),
    at: fc.oneof(
      fc.constant(CODE),
      fc.integer({ min: 1, max: 120 }).map((n) => CODE + PAGE - 2 * n),
    ),
    pointers: fc.array(places, { minLength: 4, maxLength: 4 }),
    values: fc.array(fc.oneof(fc.bigInt({ min: -8n, max: 20n }), fc.bigInt({ min: 0n, max: (1n << 64n) - 1n })), {
      minLength: 8,
      maxLength: 8,
    }),
    ddcBytes: fc.oneof(
      { weight: 4, arbitrary: fc.constant(LENGTH) },
      { weight: 1, arbitrary: fc.integer({ min: 1, max: 0x600 }).map((n) => DATA + n * 16) },
    ),
    readOnly: fc.array(
      fc.integer({ min: 0, max: DATA_BYTES / PAGE - 1 }).map((n) => DATA + n * PAGE),
      { maxLength: 1 },
    ),
    unmapped: fc.array(
      fc.integer({ min: 0, max: DATA_BYTES / PAGE - 1 }).map((n) => DATA + n * PAGE),
      { maxLength: 1 },
    ),
    tagged: fc.array(
      fc.integer({ min: 0, max: DATA_BYTES / PAGE - 1 }).map((n) => DATA + n * PAGE),
      { maxLength: 1 },
    ),
    fcsr: fc.oneof({ weight: 4, arbitrary: fc.constantFrom(0, 1, 31) }, { weight: 1, arbitrary: fc.constantFrom(0x20, 0x61) }),
    // From about 64 on translated code takes part.
    fuels: fc.array(
      fc.oneof(fc.constantFrom(1, 3), fc.integer({ min: 60, max: 140 }), fc.integer({ min: 65, max: 80 }), fc.constantFrom(200, 500)),
      {
        minLength: 1,
        maxLength: 6,
      },
    ),
  });
}

/** The whole case, to read. */
export function describeFlow({ lines, ...rest }: Flow): string {
  return `${JSON.stringify(rest, (_, value: unknown) => (typeof value === "bigint" ? `${value}` : value))}, region at ${BASE.toString(16)}\n${lines.join("\n")}`;
}
