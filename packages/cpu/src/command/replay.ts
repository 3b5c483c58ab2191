/** `cvm-cpu replay`: runs recorded instruction sequences and compares every field of every instruction. */
import { ENGINE_NAMES } from "../abi.ts";
import { DIVERGENCES, REASONS, type Reason } from "../recordings/divergences.ts";
import { readLines } from "../recordings/lines.ts";
import { replay, REPLAY_MODES, type Divergence, type Mismatch, type ReplayResult } from "../recordings/replay.ts";
import { replayRemote } from "../recordings/remote.ts";
import { DiiClient } from "../rvfi/client.ts";
import { reading } from "./check-arithmetic.ts";
import { choiceOption, UsageError, type Command } from "./command.ts";

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

interface Address {
  readonly host: string;
  readonly port: number;
}
/** `host:port`, `[::1]:port`; {@link UsageError} for anything else. */
function addressOf(text: string): Address {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/u.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) throw new UsageError(`--connect needs HOST:PORT, not "${text}"`);
  return { host: match[1] ?? match[2]!, port };
}
async function connected<T>({ host, port }: Address, use: (client: DiiClient) => Promise<T>): Promise<T> {
  const client = await DiiClient.connect(host, port).catch((cause: unknown) => {
    throw new Error(`${host}:${port}: ${(cause as Error).message}: is an RVFI-DII server running there?`, { cause });
  });
  try {
    return await use(client);
  } finally {
    client.close();
  }
}

export const replayCommand: Command = {
  name: "replay",
  usage: "[--mode v9r|v9|v8] [--engine interpreter|translator|eager] [--connect HOST:PORT] [--verbose] FILE.jsonl.gz",
  summary: "run recorded instruction sequences, here or on an RVFI-DII server, and compare all that each instruction did",
  options: {
    mode: { type: "string" },
    engine: { type: "string" },
    connect: { type: "string" },
    verbose: { type: "boolean" },
  },
  async run(input, io) {
    const [file, ...more] = input.files;
    if (file === undefined) throw new UsageError("no file given");
    if (more.length > 0) throw new UsageError("one file at a time");
    const mode = choiceOption(input, "mode", REPLAY_MODES);
    const engine = choiceOption(input, "engine", ENGINE_NAMES);
    const address = input.values["connect"];
    if (address !== undefined && input.values["engine"] !== undefined) throw new UsageError("--engine has no meaning with --connect");
    const to = address === undefined ? undefined : addressOf(String(address));
    const lines = reading(file, () => readLines(io.readFile(file)));
    const result =
      to === undefined
        ? reading(file, () => replay(lines, { mode, engine, divergences: DIVERGENCES }))
        : await connected(to, (client) => replayRemote(lines, client, { mode, divergences: DIVERGENCES }));
    io.out(report(result, input.values["verbose"] === true));
    return result.mismatches.length + result.missing.length === 0 ? 0 : 1;
  },
};
