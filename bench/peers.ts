/** Programs of Debian, here and under qemu-riscv64, timed from start to end. */
import { join } from "node:path";
import { imageRoot, type ImageName } from "./host.ts";
import type { Contestant, Measure, Work } from "./measure.ts";
import { mustBeOk, run } from "./processes.ts";
import { buildPrograms } from "./programs.ts";
import { parseTimes } from "./results.ts";
import type { Context } from "./suite.ts";

export interface Timed {
  /** Seconds, by the clock and of processors. */
  readonly value: number;
  readonly cpu: number;
  readonly stdout: string;
}

/** How long a command takes here, by timed.c. */
export async function timeHere(
  context: Context,
  what: string,
  command: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Timed> {
  const timed = join(buildPrograms("native", context.say), "timed");
  const ended = mustBeOk(what, await run(timed, command, { env }));
  const { wall, cpu } = parseTimes(ended.stderr);
  return { value: wall, cpu, stdout: ended.stdout };
}

/** Makes command lines for programs of an image under qemu-riscv64; undefined when that is left out. */
export async function underQemu(
  context: Context,
  image: ImageName,
): Promise<((program: string, ...args: readonly string[]) => string[]) | undefined> {
  const { qemu } = context;
  if (qemu === undefined) return undefined;
  const root = await imageRoot(image);
  return (program, ...args) => [qemu, "-L", root, join(root, program), ...args];
}

/** Contestants of a work; those that are not there are left out. */
export function those(by: Readonly<Record<Contestant, Measure | undefined>>): Work["by"] {
  return Object.fromEntries(Object.entries(by).filter(([, measure]) => measure !== undefined));
}
