/** Works, contestants, and the rounds in which they take turns. */
import type { Target } from "./targets.ts";
import type { Better } from "./statistics.ts";

export const CONTESTANTS = ["native", "qemu-riscv64", "cVM"] as const;
export type Contestant = (typeof CONTESTANTS)[number];

/** One measurement. */
export interface Sample {
  /** By the clock. */
  readonly value: number;
  /** The same by processor time; undefined where that is not known. */
  readonly cpu?: number;
  /** Must be the same for all contestants of a work. */
  readonly checksum?: string;
}

export type Measure = (round: number) => Promise<Sample>;

/** Something that contestants do. */
export interface Work {
  readonly suite: string;
  readonly name: string;
  /** Of its figure: `steps/s`, `s`. */
  readonly unit: string;
  readonly better: Better;
  readonly target?: Target | undefined;
  /** One measurement by each contestant that can do it here. */
  readonly by: Partial<Readonly<Record<Contestant, Measure>>>;
}

/** What came out of a work. */
export interface Outcome {
  readonly work: Work;
  readonly samples: ReadonlyMap<Contestant, readonly Sample[]>;
  /** Why a contestant did not do it, in a line. */
  readonly failures: ReadonlyMap<Contestant, string>;
}

/** A contestant whose run failed is not asked again for that work. */
interface Tally {
  readonly work: Work;
  readonly samples: Map<Contestant, Sample[]>;
  readonly failures: Map<Contestant, string>;
}

/** The first lines of what went wrong, as one. */
export function inOneLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const lines = text.split("\n").map((line) => line.trim());
  const line = lines
    .filter((one) => one !== "")
    .slice(0, 3)
    .join("; ");
  return line.length > 400 ? `${line.slice(0, 400)} …` : line;
}

/** The contestants of a round: each begins in turn, so that none always runs after the same other. */
export function order<T>(list: readonly T[], round: number): T[] {
  const shift = list.length === 0 ? 0 : (round - 1) % list.length;
  return [...list.slice(shift), ...list.slice(0, shift)];
}

/** Names of the works whose contestants came to different results. */
function checkSums({ work, samples, failures }: Tally): void {
  const known = new Map<string, Contestant>();
  for (const [who, list] of samples) for (const { checksum } of list) if (checksum !== undefined) known.set(checksum, who);
  if (known.size <= 1) return;
  const text = [...known].map(([checksum, who]) => `${who} ${checksum}`).join(", ");
  for (const who of samples.keys()) failures.set(who, `the results of ${work.name} differ: ${text}`);
}

/** Rejects when the signal comes; never settles otherwise. */
function interruption(signal: AbortSignal): Promise<never> {
  const never = new Promise<never>((_, reject) => {
    if (signal.aborted) reject(new Error("interrupted"));
    signal.addEventListener("abort", () => reject(new Error("interrupted")), { once: true });
  });
  // Nobody may be waiting when it comes.
  never.catch(() => {});
  return never;
}

/**
 * Measures all works, `rounds` times each: round by round, and in a round contestant by contestant.
 * @param progress gets a line for each measurement
 * @param signal ends it early: what has been measured until then comes out
 */
export async function measureAll(
  works: readonly Work[],
  rounds: number,
  progress: (line: string) => void,
  signal: AbortSignal,
): Promise<Outcome[]> {
  const tallies: Tally[] = works.map((work) => ({ work, samples: new Map(), failures: new Map() }));
  const interrupted = interruption(signal);
  for (let round = 1; round <= rounds; round++) {
    for (const { work, samples, failures } of tallies) {
      for (const who of order(CONTESTANTS, round)) {
        const measure = work.by[who];
        if (measure === undefined || failures.has(who) || signal.aborted) continue;
        const title = `round ${round} of ${rounds}, ${work.suite} ${work.name}, ${who}`;
        try {
          const sample = await Promise.race([measure(round), interrupted]);
          const list = samples.get(who);
          if (list === undefined) samples.set(who, [sample]);
          else list.push(sample);
          progress(`${title}: ${sample.value.toPrecision(4)} ${work.unit}`);
        } catch (error) {
          if (signal.aborted) continue;
          failures.set(who, inOneLine(error));
          progress(`${title}: FAILED: ${inOneLine(error)}`);
        }
      }
    }
  }
  for (const tally of tallies) checkSums(tally);
  return tallies;
}
