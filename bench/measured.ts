/** Programs that measure themselves and print a result line (kernels/kernel.h), here and in cVMs. */
import type { BenchHost, CvmOptions } from "./host.ts";
import type { Sample } from "./measure.ts";
import { mustBeOk, run } from "./processes.ts";
import { parseResult, type KernelResult } from "./results.ts";
import type { Better } from "./statistics.ts";

/**
 * Turns a kernel's rate into a work's figure: the rate, or seconds for one.
 * @param share of the time that it had a processor; 0: unknown
 */
export function sampleOf(result: KernelResult, share: number, better: Better): Sample {
  const figure = (rate: number): number => (better === "more" ? rate : 1 / rate);
  const { work, checksum } = result;
  return { value: figure(work), checksum, ...(share > 0 ? { cpu: figure(work / share) } : {}) };
}

/** A process measures its own processor time. */
export async function measureHere(command: readonly string[], better: Better, env: Readonly<Record<string, string>> = {}): Promise<Sample> {
  const [program = "", ...args] = command;
  const result = parseResult(mustBeOk(command.join(" "), await run(program, args, { env })).stdout);
  return sampleOf(result, result.cpu / result.seconds, better);
}

/**
 * A cVM's clock of processor time runs while its host waits for a processor: the host's thread that runs guests is looked at
 * when the program begins to measure and when it has ended.
 */
export async function measureInCvm(host: BenchHost, options: CvmOptions, better: Better): Promise<Sample> {
  let begun: { readonly at: number; readonly cpu: number } | undefined;
  let share = 0;
  let text = "";
  const output = (more: string): void => {
    text += more;
    const now = { at: performance.now() / 1000, cpu: host.guestCpu() };
    if (begun === undefined) {
      if (text.includes("begin\n")) begun = now;
    } else if (text.includes("result ")) share = Math.min(1, (now.cpu - begun.cpu) / (now.at - begun.at));
  };
  const ended = mustBeOk(options.argv.join(" "), await host.run({ ...options, output }));
  return sampleOf(parseResult(ended.stdout), share, better);
}
