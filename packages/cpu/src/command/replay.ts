/** `cvm-cpu replay`: runs recorded instruction sequences and compares every field of every instruction. */
import { DIVERGENCES, REASONS, type Reason } from "../recordings/divergences.ts";
import { readLines } from "../recordings/lines.ts";
import { replay, REPLAY_MODES, type Divergence, type Mismatch, type ReplayResult } from "../recordings/replay.ts";
import { reading } from "./check-arithmetic.ts";
import { choiceOption, UsageError, type Command } from "./command.ts";

const ENGINES = ["interpreter", "translator"] as const;

function mismatchText({ sequence, step, instruction, field, theirs, ours }: Mismatch): string {
  return `${sequence} #${step} ${instruction}: ${field}: theirs ${theirs}, ours ${ours}\n`;
}
function missingText({ sequence, step, field, theirs, ours }: Divergence): string {
  return `${sequence} #${step}: ${field}: listed as theirs ${theirs}, ours ${ours}, but this did not occur\n`;
}

/** What the command prints of a result; its last line is the sum. */
export function report(result: ReplayResult, verbose: boolean): string {
  const { sequences, skipped, matching, diverging, instructions, divergences, mismatches, missing } = result;
  let out = [...mismatches.map(mismatchText), ...missing.map(missingText)].join("");
  if (verbose) {
    for (const { sequence, step, field, theirs, ours, reason } of divergences)
      out += `${sequence} #${step}: ${field}: theirs ${theirs}, ours ${ours}, as listed: ${REASONS[reason as Reason]}\n`;
  }
  const replayed = sequences - skipped;
  const failed = replayed - matching - diverging;
  out += `${sequences} sequences, ${replayed} replayed (${instructions} instructions), ${skipped} in another encoding\n`;
  out += `${matching} match, ${diverging} differ as listed (${divergences.length} fields), ${failed} do not match`;
  return `${out} (${mismatches.length} mismatches, ${missing.length} listed differences did not occur)\n`;
}

export const replayCommand: Command = {
  name: "replay",
  usage: "[--mode v9r|v9|v8] [--engine interpreter|translator] [--verbose] FILE.jsonl.gz",
  summary: "run recorded instruction sequences and compare all that each instruction did; --verbose prints the known differences too",
  options: { mode: { type: "string" }, engine: { type: "string" }, verbose: { type: "boolean" } },
  run(input, io) {
    const [file, ...more] = input.files;
    if (file === undefined) throw new UsageError("no file given");
    if (more.length > 0) throw new UsageError("one file at a time");
    const mode = choiceOption(input, "mode", REPLAY_MODES);
    const engine = choiceOption(input, "engine", ENGINES);
    const result = reading(file, () => replay(readLines(io.readFile(file)), { mode, engine, divergences: DIVERGENCES }));
    io.out(report(result, input.values["verbose"] === true));
    return result.mismatches.length + result.missing.length === 0 ? 0 : 1;
  },
};
