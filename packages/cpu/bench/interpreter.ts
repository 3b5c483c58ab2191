/**
 * Speed of the interpreter on an integer mix (mix.c), in million instructions per second, with and without page tests on
 * loads. Needs riscv64-linux-gnu-gcc. Usage: node --conditions=source bench/interpreter.ts [rounds] [repetitions]
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Exit, Perm, Prot, type HartPort, type MachinePort } from "../src/abi.ts";
import * as capability from "../src/capability/index.ts";
import { loadElf } from "../src/command/elf.ts";
import { createMachine } from "../src/machine/machine.ts";

const MIB = 1 << 20;
const BASE = 4 * MIB;
const LENGTH = 16 * MIB;

function prepare(elf: Uint8Array, checkLoads: boolean): { machine: MachinePort; hart: HartPort; entry: number } {
  const machine = createMachine({ memoryBytes: 32 * MIB, checkLoads });
  const { entry } = loadElf(machine, elf, BASE, LENGTH);
  machine.protect(BASE + LENGTH - MIB, MIB, Prot.Read | Prot.Write);
  const hart = machine.createHart();
  hart.ddc = capability.derive(capability.root(), BASE, LENGTH, Perm.All);
  hart.pcc = hart.ddc;
  return { machine, hart, entry };
}

const rounds = Number(process.argv[2] ?? 20);
const repetitions = Number(process.argv[3] ?? 41);
const folder = mkdtempSync(join(tmpdir(), "cvm-bench-"));
try {
  const file = join(folder, "mix.elf");
  const source = fileURLToPath(new URL("mix.c", import.meta.url));
  execFileSync("riscv64-linux-gnu-gcc", [
    "-O2",
    "-static",
    "-nostdlib",
    "-ffreestanding",
    "-fno-builtin",
    "-march=rv64gc",
    "-Wl,-Ttext-segment=0x10000",
    "-o",
    file,
    source,
  ]);
  const elf = readFileSync(file);
  const contestants = [true, false].map((checkLoads) => ({ checkLoads, ...prepare(elf, checkLoads), mips: [] as number[] }));
  let result: bigint | undefined;
  const run = ({ hart, entry }: { hart: HartPort; entry: number }, count: number): number => {
    hart.pc = entry;
    hart.setInt(2, LENGTH - 4096);
    hart.setInt(10, count);
    const before = hart.instructions;
    const start = performance.now();
    let code: number;
    while ((code = hart.run(1_000_000)) === Exit.Fuel);
    if (code !== Exit.Ecall) throw new Error(`exit ${code}, cause ${hart.trapCause}, value ${hart.trapValue} at ${hart.pc.toString(16)}`);
    result = hart.getX(10);
    return (hart.instructions - before) / (performance.now() - start) / 1000;
  };
  for (const contestant of contestants) run(contestant, 100); // the engine's optimising tier comes in here
  for (let turn = 0; turn < repetitions; turn++) for (const contestant of contestants) contestant.mips.push(run(contestant, rounds));
  const medians = contestants.map(({ checkLoads, mips }) => {
    mips.sort((a, b) => a - b);
    const median = mips[mips.length >> 1]!;
    const best = mips[Math.floor(mips.length * 0.9)]!;
    console.log(
      `loads ${checkLoads ? "checked  " : "unchecked"}: median ${median.toFixed(0)} MIPS, ninth decile ${best.toFixed(0)} (${mips[0]!.toFixed(0)} … ${mips.at(-1)!.toFixed(0)})`,
    );
    return median;
  });
  console.log(`checking loads costs ${((medians[1]! / medians[0]! - 1) * 100).toFixed(1)} %; result ${result!.toString(16)}`);
} finally {
  rmSync(folder, { recursive: true });
}
