/** Replays recorded sequences on any implementation of RVFI-DII, over its socket. */
import type { DiiClient } from "../rvfi/client.ts";
import { differences, FIELDS, type FieldName } from "./compare.ts";
import { instructionText, Tally, type Divergence, type ReplayMode, type ReplayResult } from "./replay.ts";
import { parseSequence } from "./sequences.ts";

/** What packets carry: not the address that was fetched from, and the privilege in version 2 only. */
function fieldsOf(version: 1 | 2): readonly FieldName[] {
  return FIELDS.filter((field) => field !== "address" && (version === 2 || field !== "mode"));
}
/** Version 1 has 8 bits of a mask. */
const V1_MASK = 0xff;

/** As `replay`, on the machine that `client` is connected to: it must have been made for the recording's mode. */
export async function replayRemote(
  lines: readonly string[],
  client: DiiClient,
  options: { readonly mode: ReplayMode; readonly divergences: readonly Divergence[] },
): Promise<ReplayResult> {
  const { version } = client;
  const fields = fieldsOf(version);
  const tally = new Tally(options.divergences, options.mode, fields);
  for (const [index, text] of lines.entries()) {
    const sequence = parseSequence(text, index + 1);
    if (!tally.begin(sequence)) continue;
    await client.reset();
    const packets = await client.execute(sequence.steps.map(({ insn }) => insn));
    for (const [step, recorded] of sequence.steps.entries()) {
      const narrow =
        version === 2 ? recorded : { ...recorded, readMask: recorded.readMask & V1_MASK, writeMask: recorded.writeMask & V1_MASK };
      tally.instructions++;
      for (const difference of differences(narrow, packets[step]!, fields)) {
        tally.difference(sequence.name, step, difference, () => instructionText(recorded.insn, packets[step]!.pcBefore, 0));
      }
    }
    tally.end();
  }
  return tally;
}
