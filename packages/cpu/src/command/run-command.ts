/** `cvm-cpu run`: runs programs and says how they ended. */
import { UsageError, type Command } from "./command.ts";
import { runElf } from "./run.ts";

export const runCommand: Command = {
  name: "run",
  usage: "[--stats] FILE.elf",
  summary: "run a static riscv64 program that needs write and exit only",
  options: { stats: { type: "boolean" } },
  run({ values, files }, io) {
    const [file, ...more] = files;
    if (file === undefined) throw new UsageError("no file given");
    if (more.length > 0) throw new UsageError("one file at a time");
    const start = performance.now();
    const { status, instructions, problem } = runElf(io.readFile(file), (descriptor, bytes) => (descriptor === 2 ? io.err : io.out)(bytes));
    const milliseconds = performance.now() - start;
    if (problem !== undefined) io.err(`cvm-cpu: ${problem}\n`);
    if (values["stats"] === true)
      io.err(`${instructions} instructions in ${milliseconds.toFixed(0)} ms: ${(instructions / milliseconds / 1000).toFixed(0)} MIPS\n`);
    return status;
  },
};
