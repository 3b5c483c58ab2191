/** `cvm-cpu check-arithmetic`: compares recorded results of capability arithmetic with this machine's. */
import { checkArithmetic } from "../recordings/arithmetic.ts";
import { readLines, RecordingError } from "../recordings/lines.ts";
import { UsageError, type Command } from "./command.ts";

/** Mismatches printed without --all. */
const SHOWN = 20;

/** `read(file)`, its errors with the file's name in front. */
export function reading<T>(file: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (cause instanceof RecordingError) throw new Error(`${file}: ${cause.message}`, { cause });
    throw cause;
  }
}

export const checkArithmeticCommand: Command = {
  name: "check-arithmetic",
  usage: "[--all] FILE.tsv.gz",
  summary: "compare recorded results of capability arithmetic with this machine's; --all prints every mismatch",
  options: { all: { type: "boolean" } },
  run({ values, files }, io) {
    const [file, ...more] = files;
    if (file === undefined) throw new UsageError("no file given");
    if (more.length > 0) throw new UsageError("one file at a time");
    const { cases, calls, mismatches } = reading(file, () => checkArithmetic(readLines(io.readFile(file))));
    const shown = values["all"] === true ? mismatches : mismatches.slice(0, SHOWN);
    for (const { line, input, theirs, ours } of shown) io.out(`line ${line}: ${input}\n  theirs: ${theirs}\n  ours:   ${ours}\n`);
    if (shown.length < mismatches.length) io.out(`${mismatches.length - shown.length} more mismatches: --all prints them\n`);
    const kinds = [...calls].map(([name, count]) => `${count} ${name}`).join(", ");
    io.out(`${cases} cases (${kinds}), ${cases - mismatches.length} match, ${mismatches.length} do not\n`);
    return mismatches.length === 0 ? 0 : 1;
  },
};
