/**
 * Random programs on an engine against the reference, as many as wanted. Each program has a seed of its own, so that a failing one
 * can be run again alone.
 */
import { parseArgs } from "node:util";
import * as fc from "fast-check";
import { ENGINE_NAMES, type EngineName } from "../abi.ts";
import type { Case } from "./case.ts";
import { arbCase, type Options } from "./generate.ts";
import { referenceOf, report, subjectOf, type Setting } from "./report.ts";
import { compare } from "./subject.ts";

export const USAGE = `Runs random programs of capability instructions on an engine and on the reference, and compares all of the state.

  pnpm fuzz:isa [options]

  --programs N     how many; 1,000,000 unless given
  --minutes M      for how long instead
  --seed S         of the first program, 0 to 4294967295; a random one unless given. Program number n has seed S + n
  --engine NAME    interpreter (default), translator, or eager
  --mode NAME      integer, capability, plain (no capabilities in registers), or all (default)
  --no-relocation, --trapping
                   a machine with other options
  --rounds N       most times that a loop goes round; 5 unless given
  --help

Exit code: 0 all the same, 1 a difference was found, 2 the options are wrong.`;

type Mode = "integer" | "capability" | "plain";
const MODES: readonly Mode[] = ["integer", "capability", "plain"];

export interface Settings extends Setting {
  readonly programs: number;
  readonly minutes: number;
  readonly seed: number;
  readonly mode: Mode | "all";
  readonly rounds: number;
}

/** Options that are wrong: what is, in a sentence. */
export class UsageError extends Error {}

function wholeNumber(name: string, text: string, min: number, max: number): number {
  const value = Number(text.replaceAll(/[,_]/gu, ""));
  if (!Number.isInteger(value) || value < min || value > max)
    throw new UsageError(`--${name} must be a whole number from ${min} to ${max}, not ${text}`);
  return value;
}
function oneOf<T extends string>(name: string, text: string, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === text);
  if (found === undefined) throw new UsageError(`--${name} must be one of ${choices.join(", ")}, not ${text}`);
  return found;
}

/** The options of a command line; undefined when it asks for help. UsageError when they are wrong. */
export function settingsOf(args: readonly string[]): Settings | undefined {
  const text = { type: "string" } as const;
  const flag = { type: "boolean" } as const;
  const options = {
    programs: text,
    minutes: text,
    seed: text,
    engine: text,
    mode: text,
    rounds: text,
    "no-relocation": flag,
    trapping: flag,
    help: { ...flag, short: "h" },
  } as const;
  let values;
  try {
    // pnpm passes the -- on that separates its own options.
    ({ values } = parseArgs({ args: args.filter((arg) => arg !== "--"), options, strict: true, allowPositionals: false }));
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error), { cause: error });
  }
  if (values.help === true) return undefined;
  const minutes = values.minutes === undefined ? Infinity : Number(values.minutes);
  if (!(minutes > 0)) throw new UsageError(`--minutes must be a number above 0, not ${values.minutes}`);
  return {
    programs:
      values.programs === undefined
        ? minutes === Infinity
          ? 1_000_000
          : Infinity
        : wholeNumber("programs", values.programs, 1, Number.MAX_SAFE_INTEGER),
    minutes,
    seed: values.seed === undefined ? Math.floor(Math.random() * 2 ** 32) : wholeNumber("seed", values.seed, 0, 2 ** 32 - 1),
    engine: oneOf<EngineName>("engine", values.engine ?? "interpreter", ENGINE_NAMES),
    mode: oneOf("mode", values.mode ?? "all", [...MODES, "all"]),
    rounds: wholeNumber("rounds", values.rounds ?? "5", 2, 100_000),
    relocation: values["no-relocation"] !== true,
    tagClearing: values.trapping !== true,
  };
}

/** Neighbouring seeds give unlike programs. One to one on 32-bit numbers. */
function mixed(seed: number): number {
  let value = seed | 0;
  value = Math.imul(value ^ (value >>> 16), 0x85eb_ca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2_ae35);
  return value ^ (value >>> 16);
}

const seconds = (since: number): number => (performance.now() - since) / 1000;
const count = (value: number): string => Math.round(value).toLocaleString("en-US");

/** Runs them all. 1 after a difference, which it has printed. */
export function fuzz(settings: Settings, print: (text: string) => void): number {
  const { rounds, relocation = true } = settings;
  const kinds: Readonly<Record<Mode, Options>> = { integer: { mode: 0 }, capability: { mode: 1 }, plain: { plain: true } };
  const modes = MODES.filter((mode) => settings.mode === "all" || settings.mode === mode);
  const arbitrary: fc.Arbitrary<Case> = fc.oneof(...modes.map((mode) => arbCase({ ...kinds[mode], rounds, relocation })));
  const subject = subjectOf(settings);
  const reference = referenceOf(settings);
  let instructions = 0;
  const each = (): void => void (instructions += 1);
  const property = fc.property(arbitrary, (test) => compare(test, subject, reference, { each }).length === 0);

  const start = performance.now();
  let told = start;
  let program = 0;
  const progress = (): void => {
    const rate = count(program / Math.max(seconds(start), 0.001));
    print(`${count(program)} programs, ${count(instructions)} instructions, ${rate} programs/s, all the same`);
  };
  print(`engine ${settings.engine}, seed ${settings.seed}`);
  for (; program < settings.programs && seconds(start) < 60 * settings.minutes; program++) {
    const seed = (settings.seed + program) % 2 ** 32;
    const result = fc.check(property, { seed: mixed(seed), numRuns: 1 });
    if (result.failed) {
      const [test] = result.counterexample!;
      print(`\nProgram ${count(program)} differs. Made small:\n`);
      print(report(test, settings, subject, reference));
      print(`\nAgain: pnpm fuzz:isa ${optionsOf(settings, seed)}`);
      return 1;
    }
    if (performance.now() - told >= 2000) {
      told = performance.now();
      progress();
    }
  }
  progress();
  return 0;
}

function optionsOf(settings: Settings, seed: number): string {
  const parts = [`--seed ${seed} --programs 1 --engine ${settings.engine}`];
  if (settings.mode !== "all") parts.push(`--mode ${settings.mode}`);
  if (settings.rounds !== 5) parts.push(`--rounds ${settings.rounds}`);
  if (settings.relocation === false) parts.push("--no-relocation");
  if (settings.tagClearing === false) parts.push("--trapping");
  return parts.join(" ");
}
