/** What a command of `cvm-cpu` is, and what it may use of the outside. */

/** Options of a command, as `parseArgs` of node:util takes them. */
export type CommandOptions = Readonly<
  Record<
    string,
    { readonly type: "boolean" | "string"; readonly short?: string; readonly multiple?: boolean; readonly default?: string | boolean }
  >
>;

/** Where a command reads and writes; tests give their own. */
export interface Io {
  readonly out: (data: string | Uint8Array) => void;
  readonly err: (data: string | Uint8Array) => void;
  /** Throws an Error whose message names what is wrong with the file. */
  readonly readFile: (path: string) => Uint8Array;
  /** Absent: nothing may be written. */
  readonly writeFile?: (path: string, bytes: Uint8Array) => void;
}

/** A command line after the command's name. */
export interface Input {
  /** Values of options by name; undefined where one was not given and has no default. */
  readonly values: Readonly<Record<string, string | boolean | readonly (string | boolean)[] | undefined>>;
  readonly files: readonly string[];
}

export interface Command {
  readonly name: string;
  /** Arguments as a usage line shows them, without the name: `[--stats] FILE.elf …`. */
  readonly usage: string;
  /** One line. */
  readonly summary: string;
  readonly options: CommandOptions;
  /** Exit status, 0 … 255. {@link UsageError} when the command line makes no sense. */
  run(input: Input, io: Io): number | Promise<number>;
}

/** The command line is wrong: its message says what, and the exit status is 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** Option `name` as a whole number of `min` … `max`; {@link UsageError} when it is none. Undefined when not given. */
export function integerOption(input: Input, name: string, min: number, max: number): number | undefined {
  const text = input.values[name];
  if (text === undefined) return undefined;
  const value = typeof text === "string" && /^\d+$/u.test(text) ? Number(text) : Number.NaN;
  if (!(value >= min && value <= max)) throw new UsageError(`--${name} needs a whole number from ${min} to ${max}, not "${String(text)}"`);
  return value;
}

/** Option `name` as one of `choices`; the first of them when it was not given. {@link UsageError} for any other. */
export function choiceOption<T extends string>(input: Input, name: string, choices: readonly [T, ...T[]]): T {
  const text = input.values[name];
  if (text === undefined) return choices[0];
  const found = choices.find((choice) => choice === text);
  if (found === undefined) throw new UsageError(`--${name} needs one of ${choices.join(", ")}, not "${String(text)}"`);
  return found;
}
