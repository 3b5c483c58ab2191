/** What programs print about themselves. */

/** The result line of a kernel (kernels/kernel.h). */
export interface KernelResult {
  /** Work per second. */
  readonly work: number;
  readonly unit: string;
  readonly seconds: number;
  /** Processor seconds of the same time, as the program sees them. */
  readonly cpu: number;
  readonly checksum: string;
}

/** @throws Error when the output has no such line */
export function parseResult(output: string): KernelResult {
  const match = /^result work=(\S+) unit=(\S+) runs=\d+ seconds=(\S+) cpu=(\S+) checksum=([0-9a-f]{16})$/mu.exec(output);
  if (match === null) throw new Error(`no result line in "${output.trim().slice(-200)}"`);
  const [, work, unit, seconds, cpu, checksum] = match as unknown as [string, string, string, string, string, string];
  const result = { work: Number(work), unit, seconds: Number(seconds), cpu: Number(cpu), checksum };
  if (!(result.work > 0 && result.seconds > 0 && result.cpu >= 0)) throw new Error(`"${match[0]}" is not a result`);
  return result;
}

/** What a program of others scored. */
export interface Score {
  readonly value: number;
  readonly unit: string;
}

const SCORES: readonly { readonly pattern: RegExp; readonly unit: string }[] = [
  { pattern: /^Iterations\/Sec\s*:\s*([\d.]+)\s*$/mu, unit: "iterations/s" },
  { pattern: /^Dhrystones per Second:\s*([\d.]+)\s*$/mu, unit: "turns/s" },
  { pattern: /^result work=(\S+) unit=\S+ /mu, unit: "work/s" },
];

/** The score in a program's output; runs per second of its whole run when there is none. */
export function scoreOf(output: string, seconds: number): Score {
  for (const { pattern, unit } of SCORES) {
    const value = Number(pattern.exec(output)?.[1]);
    if (value > 0) return { value, unit };
  }
  return { value: 1 / seconds, unit: "runs/s" };
}

/** What forks.c says: seconds of a fork. */
export interface Forks {
  readonly small: number;
  /** With so many MiB more in use. */
  readonly large: number;
  readonly mib: number;
}

/** @throws Error when the output has no such line */
export function parseForks(output: string): Forks {
  const match = /^forks small=(\S+) large=(\S+) mib=(\d+)$/mu.exec(output);
  const [small, large, mib] = (match?.slice(1) ?? []).map(Number);
  if (small === undefined || large === undefined || mib === undefined || !(small > 0 && large > 0 && mib > 0))
    throw new Error(`no times of forks in "${output.trim().slice(-200)}"`);
  return { small, large, mib };
}

/** What timed.c says of a run, in seconds. */
export interface Times {
  readonly wall: number;
  readonly cpu: number;
}

/** Its line in what was printed on standard error, and the rest. @throws Error when there is none */
export function parseTimes(errors: string): Times & { readonly rest: string } {
  const match = /^timed wall=([\d.]+) user=([\d.]+) system=([\d.]+)\n/mu.exec(errors);
  if (match === null) throw new Error(`no times in "${errors.trim().slice(-200)}"`);
  const [line, wall, user, system] = match as unknown as [string, string, string, string];
  return { wall: Number(wall), cpu: Number(user) + Number(system), rest: errors.replace(line, "") };
}

/** Requests per second in the table of `redis-benchmark --csv`, by test. */
export function parseRedis(output: string, test: string): number {
  const value = Number(new RegExp(`^"${test}","([\\d.]+)"`, "mu").exec(output)?.[1]);
  if (!(value > 0)) throw new Error(`redis-benchmark said nothing of ${test}: "${output.trim().slice(-200)}"`);
  return value;
}
