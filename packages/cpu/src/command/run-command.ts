/** `cvm-cpu run`: runs programs and says how they ended. */
import type { EngineName } from "../abi.ts";
import { choiceOption, integerOption, UsageError, type Command, type Input, type Io } from "./command.ts";
import { DEFAULT_MAX_INSTRUCTIONS, runElf, type RunResult } from "./run.ts";

interface Timed extends RunResult {
  readonly milliseconds: number;
}

function runFile(file: string, input: Input, io: Io): Timed {
  const engine = choiceOption<EngineName>(input, "engine", ["interpreter", "translator", "eager"]);
  const maxInstructions = integerOption(input, "max-instructions", 1, Number.MAX_SAFE_INTEGER) ?? DEFAULT_MAX_INSTRUCTIONS;
  const elf = io.readFile(file);
  const start = performance.now();
  const write = (descriptor: number, bytes: Uint8Array): void => (descriptor === 2 ? io.err : io.out)(bytes);
  const result = runElf(elf, write, { engine, maxInstructions });
  return { ...result, milliseconds: performance.now() - start };
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
  usage: "[--stats] [--dump-registers] [--engine interpreter|translator|eager] [--max-instructions N] FILE.elf …",
  summary: "run static riscv64 programs that need write and exit only, or bare-metal ones (with tohost) in machine mode",
  options: {
    stats: { type: "boolean" },
    "dump-registers": { type: "boolean" },
    engine: { type: "string" },
    "max-instructions": { type: "string" },
  },
  run(input, io) {
    const [file] = input.files;
    if (file === undefined) throw new UsageError("no file given");
    return input.files.length === 1 ? runOne(file, input, io) : runAll(input.files, input, io);
  },
};
