/** `cvm-cpu run`: runs programs and says how they ended. */
import { ENGINE_NAMES, type EngineName } from "../abi.ts";
import { choiceOption, integerOption, UsageError, type Command, type Input, type Io } from "./command.ts";
import type { Machine } from "../machine/machine.ts";
import { DEFAULT_MAX_INSTRUCTIONS, runElf, type RunResult } from "./run.ts";

interface Timed extends RunResult {
  readonly milliseconds: number;
}

function runFile(file: string, input: Input, io: Io): Timed {
  const engine = choiceOption<EngineName>(input, "engine", ENGINE_NAMES);
  const maxInstructions = integerOption(input, "max-instructions", 1, Number.MAX_SAFE_INTEGER) ?? DEFAULT_MAX_INSTRUCTIONS;
  const elf = io.readFile(file);
  const start = performance.now();
  const write = (descriptor: number, bytes: Uint8Array): void => (descriptor === 2 ? io.err : io.out)(bytes);
  const place = dumpedPlace(input);
  const ended = (machine: Machine): void => translation(machine, place, input, io);
  const result = runElf(elf, write, { engine, maxInstructions, ended });
  return { ...result, milliseconds: performance.now() - start };
}

/** Where the WebAssembly is wanted of, if anywhere. */
function dumpedPlace(input: Input): number | undefined {
  const text = input.values["dump-wasm"];
  if (typeof text !== "string") return undefined;
  const pc = text === "" ? Number.NaN : Number(text);
  if (!Number.isSafeInteger(pc) || pc < 0) throw new UsageError(`--dump-wasm needs a pc, for example 0x10180, not "${text}"`);
  return pc;
}

/** What the translator did, and the WebAssembly that it made of a place, if they are wanted. */
function translation({ translator }: Machine, pc: number | undefined, input: Input, io: Io): void {
  if (input.values["stats"] === true && translator !== undefined) {
    const { units, specialised, instructions, bytes, milliseconds, links, unlinks, flushes, outOfFuel, missed, left } = translator.stats;
    io.err(
      `translated ${instructions} instructions to ${units} units of ${bytes} bytes in ${milliseconds.toFixed(0)} ms, ${specialised} of them for one place alone; linked ${links}, unlinked ${unlinks}, flushed ${flushes}\n` +
        `came back: out of fuel ${outOfFuel}, to code that is not translated ${missed}, to an instruction for the interpreter ${left}\n`,
    );
  }
  if (pc === undefined) return;
  const binary = translator?.binaryAt(pc);
  if (binary === undefined) return io.err(`cvm-cpu: nothing was translated at 0x${pc.toString(16)}\n`);
  const file = `pc_${pc.toString(16)}.wasm`;
  io.writeFile?.(file, binary);
  io.err(`${file}: ${binary.length} bytes\n`);
}

const speed = ({ instructions, milliseconds }: Timed): string =>
  `${instructions} instructions in ${milliseconds.toFixed(0)} ms: ${(instructions / milliseconds / 1000).toFixed(0)} MIPS`;

/** The registers at the end, if they are wanted. */
function dump({ registers }: RunResult, input: Input, io: Io): void {
  if (input.values["dump-registers"] === true) io.err(registers.map((line) => `  ${line}\n`).join(""));
}

/** A program alone: its output, and its exit status. Of a bare-metal one also a line that says pass or what failed. */
function runOne(file: string, input: Input, io: Io): number {
  const result = runFile(file, input, io);
  const { status, problem, bareMetal } = result;
  if (problem !== undefined) io.err(`cvm-cpu: ${file}: ${problem}\n`);
  else if (bareMetal) io.out("pass\n");
  dump(result, input, io);
  if (input.values["stats"] === true) io.err(`${speed(result)}\n`);
  return status;
}

/** A line for each program; 1 when one of them failed. */
function runAll(files: readonly string[], input: Input, io: Io): number {
  let failed = 0;
  for (const file of files) {
    let line: string;
    let passed = false;
    let result: Timed | undefined;
    try {
      result = runFile(file, input, io);
      const { status, problem, instructions } = result;
      passed = status === 0 && problem === undefined;
      line = `${String(instructions).padStart(12)}  ${file}${passed ? "" : `: ${problem ?? `exit status ${status}`}`}`;
      if (input.values["stats"] === true) line += `  (${speed(result)})`;
    } catch (error) {
      line = `${"-".padStart(12)}  ${file}: ${(error as Error).message}`;
    }
    if (!passed) failed++;
    io.out(`${passed ? "pass" : "FAIL"} ${line}\n`);
    if (result !== undefined) dump(result, input, io);
  }
  io.out(`${files.length - failed} passed, ${failed} failed\n`);
  return failed === 0 ? 0 : 1;
}

export const runCommand: Command = {
  name: "run",
  usage: "[--stats] [--dump-registers] [--dump-wasm PC] [--engine interpreter|translator|eager] [--max-instructions N] FILE.elf …",
  summary: "run static riscv64 programs that need write and exit only, or bare-metal ones (with tohost) in machine mode",
  options: {
    stats: { type: "boolean" },
    "dump-registers": { type: "boolean" },
    engine: { type: "string" },
    "max-instructions": { type: "string" },
    "dump-wasm": { type: "string" },
  },
  run(input, io) {
    const [file] = input.files;
    if (file === undefined) throw new UsageError("no file given");
    return input.files.length === 1 ? runOne(file, input, io) : runAll(input.files, input, io);
  },
};
