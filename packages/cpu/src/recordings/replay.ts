/**
 * Replays recorded sequences and compares every field of every instruction.
 *
 * Nothing of the recording is adopted: after a difference this machine goes on from its own state, and what differs then because of
 * it is a difference of its own. Differences that are known are listed one by one in divergences.ts; each must occur exactly as
 * listed, and any other one is a mismatch.
 */
import { disassemble } from "../assembler/disassembler.ts";
import { GRANULE_SIZE, type EngineName } from "../abi.ts";
import type { Mode } from "../isa/decode.ts";
import type { Execution } from "../rvfi/execution.ts";
import { decoder, InjectionTarget, type TargetOptions } from "../rvfi/target.ts";
import { differences, type Difference, type FieldName } from "./compare.ts";
import { badLine } from "./lines.ts";
import { parseSequence, type RecordedSequence } from "./sequences.ts";

/** What a recording was made with: ISAv9 with relocation (this project's mode), ISAv9 without, ISAv8 (relocation, trapping). */
export const REPLAY_MODES = ["v9r", "v9", "v8"] as const;
export type ReplayMode = (typeof REPLAY_MODES)[number];

/** Options of the machine that a recording needs. */
export function optionsOf(mode: ReplayMode): Required<Pick<TargetOptions, "relocation" | "tagClearing">> {
  return { relocation: mode !== "v9", tagClearing: mode !== "v8" };
}

/** Sequences whose names begin so use another, newer encoding: they are counted and not replayed. */
export const OTHER_ENCODING = "zCHERI/";

/** A difference that is known. */
export interface Divergence extends Difference {
  readonly modes: readonly ReplayMode[];
  readonly sequence: string;
  /** Index of the instruction, from 0. */
  readonly step: number;
  /** Key of the list of reasons. */
  readonly reason: string;
}

export interface Mismatch {
  readonly sequence: string;
  readonly step: number;
  /** Disassembled. */
  readonly instruction: string;
  /** What differs; `state` and `memory`: the machine without an observer came to another state than the one with it. */
  readonly field: FieldName | "state" | "memory";
  readonly theirs: string;
  readonly ours: string;
}

export interface ReplayResult {
  /** Sequences of the file. */
  readonly sequences: number;
  /** Not replayed: {@link OTHER_ENCODING}. */
  readonly skipped: number;
  /** Replayed without any difference. */
  readonly matching: number;
  /** Replayed with no difference but listed ones. */
  readonly diverging: number;
  readonly instructions: number;
  /** Listed differences that occurred as listed. */
  readonly divergences: readonly Divergence[];
  readonly mismatches: readonly Mismatch[];
  /** Listed differences of sequences of this file that did not occur as listed. */
  readonly missing: readonly Divergence[];
}

export interface ReplayOptions {
  readonly mode: ReplayMode;
  readonly engine?: EngineName;
  readonly divergences: readonly Divergence[];
}

const keyOf = (sequence: string, step: number, { field, theirs, ours }: Difference): string =>
  `${sequence}\n${step}\n${field}\n${theirs}\n${ours}`;

/** Collects what happened over all sequences. */
export class Tally {
  readonly #listed: ReadonlyMap<string, readonly Divergence[]>;
  #expected: Map<string, Divergence> = new Map();
  #clean = true;
  #known = true;
  sequences = 0;
  skipped = 0;
  matching = 0;
  diverging = 0;
  instructions = 0;
  readonly divergences: Divergence[] = [];
  readonly mismatches: Mismatch[] = [];
  readonly missing: Divergence[] = [];

  /** Divergences of other modes, and of fields that are not compared, are left out. */
  constructor(divergences: readonly Divergence[], mode: ReplayMode, fields?: readonly FieldName[]) {
    const relevant = divergences.filter(({ modes, field }) => modes.includes(mode) && (fields?.includes(field) ?? true));
    this.#listed = Map.groupBy(relevant, ({ sequence }) => sequence);
  }
  /** A sequence begins; false when it is not to be replayed. */
  begin({ name }: RecordedSequence): boolean {
    this.sequences++;
    if (name.startsWith(OTHER_ENCODING)) {
      this.skipped++;
      return false;
    }
    this.#expected = new Map((this.#listed.get(name) ?? []).map((divergence) => [keyOf(name, divergence.step, divergence), divergence]));
    this.#clean = true;
    this.#known = true;
    return true;
  }
  difference(name: string, step: number, difference: Difference, instruction: () => string): void {
    this.#clean = false;
    const key = keyOf(name, step, difference);
    const divergence = this.#expected.get(key);
    if (divergence === undefined) return this.mismatch({ sequence: name, step, instruction: instruction(), ...difference });
    this.#expected.delete(key);
    this.divergences.push(divergence);
  }
  mismatch(mismatch: Mismatch): void {
    this.#clean = false;
    this.#known = false;
    this.mismatches.push(mismatch);
  }
  end(): void {
    this.missing.push(...this.#expected.values());
    if (this.#expected.size > 0) this.#known = false;
    if (this.#clean && this.#known) this.matching++;
    else if (this.#known) this.diverging++;
  }
}

const GRANULE = BigInt(GRANULE_SIZE);

/** What `insn` is, in a decode mode and at a pc. */
export function instructionText(insn: number, pc: bigint, mode: Mode): string {
  return disassemble(decoder(), insn | 0, Number(pc), mode);
}

/** Two machines of the same engine: one that records, and one without an observer, which must always come to the same state. */
class Pair {
  readonly #watched: InjectionTarget;
  readonly #plain: InjectionTarget;

  constructor(options: ReplayOptions) {
    const target: TargetOptions = { ...optionsOf(options.mode), ...(options.engine === undefined ? {} : { engine: options.engine }) };
    this.#watched = new InjectionTarget(target);
    this.#plain = new InjectionTarget({ ...target, observe: false });
  }
  reset(): void {
    this.#plain.reset(this.#watched.written);
    this.#watched.reset();
  }
  get pc(): bigint {
    return this.#watched.pc;
  }
  get mode(): Mode {
    return this.#watched.mode;
  }
  /** Runs it on both; `report` gets what differs between them. */
  execute(insn: number, report: (field: "state" | "memory", watched: string, plain: string) => void): Execution {
    const execution = this.#watched.execute(insn);
    this.#plain.execute(insn);
    this.#watched.compareState(this.#plain, (name, watched, plain) => report("state", `${name} = ${watched}`, `${name} = ${plain}`));
    if (execution.writeMask !== 0) {
      // Every granule that it touches: what was stored, and the tags.
      const last = execution.memoryAddress + BigInt(31 - Math.clz32(execution.writeMask));
      const at = Number(execution.memoryAddress - (execution.memoryAddress % GRANULE));
      const length = Number(last - (last % GRANULE)) + GRANULE_SIZE - at;
      const [watched, plain] = [this.#watched, this.#plain].map(({ machine }) => {
        const tags = machine.countTags(at, length);
        return `${[...machine.readBytes(at, length)].map((byte) => byte.toString(16).padStart(2, "0")).join("")} ${tags}`;
      }) as [string, string];
      if (watched !== plain) report("memory", watched, plain);
    }
    return execution;
  }
}

/** Replays all sequences of a file. RecordingError (`bad-line`) when a line is not of the format or a name stands twice. */
export function replay(lines: readonly string[], options: ReplayOptions): ReplayResult {
  const pair = new Pair(options);
  const tally = new Tally(options.divergences, options.mode);
  const names = new Set<string>();
  for (const [index, text] of lines.entries()) {
    const sequence = parseSequence(text, index + 1);
    const { name } = sequence;
    if (names.has(name)) throw badLine(index + 1, `a second sequence with the name ${JSON.stringify(name)}`);
    names.add(name);
    if (!tally.begin(sequence)) continue;
    pair.reset();
    for (const [step, recorded] of sequence.steps.entries()) {
      const { pc, mode } = pair;
      const instruction = (): string => instructionText(recorded.insn, pc, mode);
      const execution = pair.execute(recorded.insn, (field, theirs, ours) =>
        tally.mismatch({ sequence: name, step, instruction: instruction(), field, theirs, ours }),
      );
      tally.instructions++;
      for (const difference of differences(recorded, execution)) tally.difference(name, step, difference, instruction);
    }
    tally.end();
  }
  return tally;
}
