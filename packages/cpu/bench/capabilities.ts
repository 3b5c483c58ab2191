/**
 * Nanoseconds of capability instructions, each in a loop of four of it (less the same loop without them), and of kernels of
 * pure-capability code. Usage: node --conditions=source bench/capabilities.ts [milliseconds for each] [repetitions]
 */
import { Exit, Perm, Prot, type HartPort, type MachinePort } from "../src/abi.ts";
import { Assembler, assembleInto } from "../src/assembler/index.ts";
import * as capability from "../src/capability/index.ts";
import { createMachine } from "../src/machine/machine.ts";

const MIB = 1 << 20;
const CODE = 0x1_0000;
const CODE_BYTES = 0x2000;
const DATA = 0x10_0000;
const milliseconds = Number(process.argv[2] ?? 20);
const repetitions = Number(process.argv[3] ?? 7);

const all = capability.root(4 * MIB);
const data = capability.derive(all, DATA, 0x1_0000, Perm.All & ~Perm.Execute);
const otypes = capability.setAddress(capability.derive(all, 16, 64, Perm.Seal | Perm.Unseal), 20);
const code = capability.derive(all, CODE, CODE_BYTES, Perm.All & ~Perm.Store);

/** Registers of every loop: c10 data, c11 the same sealed, c12 an authority over otypes, a3 a number, c14 a pointer to a capability. */
function registers(hart: HartPort): void {
  hart.setCapability(10, data);
  hart.setCapability(11, capability.seal(data, otypes));
  hart.setCapability(12, otypes);
  hart.setX(13, 64n);
  hart.setCapability(14, capability.incOffset(data, 0x2000));
  hart.setX(15, BigInt(DATA + 0x2000));
}

interface Kernel {
  readonly name: string;
  /** Instructions that the time is divided by, one turn of the loop. */
  readonly per: number;
  readonly mode: "int" | "cap";
  readonly text: string;
  readonly prepare?: (machine: MachinePort, hart: HartPort) => void;
  /** Time of this kernel's turn is taken away. */
  readonly without?: string;
}

const loop = (body: string): string => `loop:\n${body}\naddi t0, t0, -1\nbnez t0, loop\necall`;
const four = (instruction: string): string => loop(Array.from({ length: 4 }, () => instruction).join("\n"));
const single = (name: string, text: string, mode: "int" | "cap" = "int"): Kernel => ({
  name,
  per: 4,
  mode,
  text: four(text),
  without: mode === "int" ? "loop" : "loop, capability mode",
});

const INTEGER: readonly string[] = [
  "cgetperm a6, c10",
  "cgetlen a6, c10",
  "cgettag a6, c10",
  "cgetoffset a6, c10",
  "cmove c16, c10",
  "ccleartag c16, c10",
  "cincoffset c16, c10, a3",
  "cincoffsetimm c16, c10, 16",
  "csetaddr c16, c10, a5",
  "csetoffset c16, c10, a3",
  "csetbounds c16, c10, a3",
  "csetboundsimm c16, c10, 100",
  "csetboundsexact c16, c10, a3",
  "candperm c16, c10, a3",
  "csetflags c16, c10, x0",
  "csealentry c16, c10",
  "cseal c16, c10, c12",
  "cunseal c16, c11, c12",
  "ld.cap a6, (c10)",
  "sd.cap a3, (c10)",
  "lc c16, 0(a5)",
  "sc c10, 0(a5)",
  "lc.cap c16, (c14)",
  "sc.cap c10, (c14)",
  "cloadtags a6, (c14)",
  "ctestsubset a6, c10, c11",
  "cseqx a6, c10, c10",
  "cfromptr c16, c10, a3",
  "crrl a6, a3",
  "cbuildcap c16, c10, c10",
  "cspecialrw c16, 0, c0",
  "cspecialrw c16, 1, c0",
];
const CAPABILITY: readonly string[] = [
  "cld a6, 8(c10)",
  "csd a3, 8(c10)",
  "csd a3, 24(c14)",
  "clc c16, 0(c14)",
  "csc c10, 0(c14)",
  "camoadd.d a6, a3, (c10)",
  "camoswap.c c16, c10, (c14)",
  "auipcc c16, 0",
  "cincoffsetimm c16, c10, 16",
];

/** A capability in memory, so that its page has tags. */
const tagged = (machine: MachinePort): void => machine.storeCapability(DATA + 0x2000, data);

const kernels: readonly Kernel[] = [
  { name: "loop", per: 1, mode: "int", text: loop("") },
  { name: "loop, capability mode", per: 1, mode: "cap", text: loop("") },
  single("nop", "nop"),
  ...INTEGER.map((text) => single(text, text)),
  ...CAPABILITY.map((text) => single(`${text} (capability mode)`, text, "cap")),
  {
    name: "cjalr: a call and its return (capability mode)",
    per: 1,
    mode: "cap",
    text: loop("cjalr c1, 0(c20)") + "\nfunction: cjalr c0, 0(c1)",
    prepare: (_, hart) => hart.setCapability(20, capability.sealEntry(capability.setAddress(capability.setFlag(code, 1), CODE + 16))),
    without: "loop, capability mode",
  },
  {
    name: "cinvoke to another page's function and a sealed return",
    per: 1,
    mode: "int",
    text: loop("cinvoke c20, c21\nreturn:") + "\n.balign 4096\nfunction: cinvoke c22, c23",
    prepare: (_, hart) => {
      const entry = capability.derive(all, CODE + 4096, 4096, Perm.All & ~Perm.Store);
      hart.setCapability(20, capability.seal(entry, otypes));
      hart.setCapability(21, capability.seal(data, otypes));
      hart.setCapability(22, capability.seal(capability.setAddress(all, CODE + 4), otypes));
      hart.setCapability(23, capability.seal(data, otypes));
    },
    without: "loop",
  },
  {
    name: "list walk of 1000 nodes, per node (capability mode)",
    per: 1000,
    mode: "cap",
    text: loop("cmove c6, c10\nnext:\ncld a6, 0(c6)\nadd a7, a7, a6\nclc c6, 16(c6)\ncgettag a6, c6\nbnez a6, next"),
    prepare: (machine) => {
      // Every 7th node after the other, so that they do not follow each other in memory.
      for (let i = 0; i < 1000; i += 1) {
        const at = DATA + ((i * 7) % 1000) * 32;
        const next = DATA + (((i + 1) * 7) % 1000) * 32;
        machine.storeCapability(at + 16, i === 999 ? capability.nullCapability() : capability.derive(data, next, 32, Perm.All));
      }
    },
  },
  {
    name: "memcpy of 4096 bytes by capabilities, per 16 bytes (capability mode)",
    per: 256,
    mode: "cap",
    text: loop(
      "cmove c6, c10\ncincoffset c7, c10, a4\nli a6, 256\nnext:\nclc c28, 0(c6)\ncsc c28, 0(c7)\ncincoffsetimm c6, c6, 16\ncincoffsetimm c7, c7, 16\naddi a6, a6, -1\nbnez a6, next",
    ),
    prepare: (machine, hart) => {
      hart.setX(14, 0x4000n);
      for (let at = 0; at < 4096; at += 64) machine.storeCapability(DATA + at, data);
    },
  },
  {
    name: "memcpy of 4096 bytes by doublewords, per 8 bytes (capability mode)",
    per: 512,
    mode: "cap",
    text: loop(
      "cmove c6, c10\ncincoffset c7, c10, a4\nli a6, 512\nnext:\ncld a7, 0(c6)\ncsd a7, 0(c7)\ncincoffsetimm c6, c6, 8\ncincoffsetimm c7, c7, 8\naddi a6, a6, -1\nbnez a6, next",
    ),
    prepare: (_, hart) => hart.setX(14, 0x4000n),
  },
];

class Contestant {
  readonly kernel: Kernel;
  readonly #machine: MachinePort;
  readonly #hart: HartPort;
  #turns = 200;
  readonly times: number[] = [];

  constructor(kernel: Kernel) {
    this.kernel = kernel;
    this.#machine = createMachine({ memoryBytes: 4 * MIB });
    this.#machine.protect(CODE, CODE_BYTES, Prot.Read | Prot.Execute);
    this.#machine.protect(DATA, 0x1_0000, Prot.Read | Prot.Write);
    const assembler = new Assembler({ origin: CODE, mode: kernel.mode });
    assembleInto(assembler, kernel.text);
    this.#machine.storeRange(CODE, assembler.assemble());
    this.#hart = this.#machine.createHart();
    this.#turns = Math.max(20, Math.ceil(20_000 / kernel.per));
    let elapsed = this.run();
    while (elapsed < milliseconds) {
      this.#turns = Math.ceil(this.#turns * Math.min(10, Math.max(1.2, milliseconds / Math.max(elapsed, 0.1))));
      elapsed = this.run();
    }
  }
  /** Milliseconds of one run. */
  run(): number {
    const hart = this.#hart;
    hart.ddc = all;
    hart.pcc = this.kernel.mode === "cap" ? capability.setFlag(code, 1) : all;
    hart.pc = this.kernel.mode === "cap" ? 0 : CODE;
    registers(hart);
    tagged(this.#machine);
    this.kernel.prepare?.(this.#machine, hart);
    hart.setInt(5, this.#turns);
    const start = performance.now();
    let exit: number;
    while ((exit = hart.run(1_000_000)) === Exit.Fuel);
    const elapsed = performance.now() - start;
    if (exit !== Exit.Ecall) {
      throw new Error(`${this.kernel.name}: cause ${hart.trapCause}, value ${hart.trapValue.toString(16)}, pc ${hart.pc.toString(16)}`);
    }
    return elapsed;
  }
  measure(): void {
    this.times.push((this.run() / this.#turns) * 1e6);
  }
  /** Median time of a turn in ns. */
  get turn(): number {
    return this.times.toSorted((a, b) => a - b)[this.times.length >> 1]!;
  }
}

const contestants = kernels.map((kernel) => new Contestant(kernel));
for (let turn = 0; turn < repetitions; turn++) for (const contestant of contestants) contestant.measure();
for (const { kernel, turn } of contestants) {
  const { name, without, per } = kernel;
  const base = contestants.find((other) => other.kernel.name === without)?.turn ?? 0;
  console.log(`${name.padEnd(72)} ${Math.max(0, (turn - base) / per).toFixed(1)} ns`);
}
