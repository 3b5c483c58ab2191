/**
 * System call declarations of a library OS, checked once and turned into what the gate reads at each call.
 */
import type { ArgumentDeclaration, SyscallValue } from "./abi.ts";
import { isInteger, isRecord, isString } from "./check.ts";
import { MonitorError } from "./errors.ts";

export type ArgumentKind = ArgumentDeclaration["kind"];

const NEEDS_LENGTH: ReadonlySet<string> = new Set<ArgumentKind>(["in", "out", "inout", "iovIn", "iovOut"]);
const NUMBERS: readonly ArgumentKind[] = ["int", "uint", "long", "ulong", "fd", "address", "addressLength"];
const OTHERS: readonly ArgumentKind[] = ["path", "string", "strings", "msgIn", "msgOut", "addressOut"];
const KINDS: ReadonlySet<string> = new Set([...NEEDS_LENGTH, ...NUMBERS, ...OTHERS]);

export interface CompiledArgument {
  readonly name: string;
  readonly kind: ArgumentKind;
  readonly nullable: boolean;
  /** Position of the argument that holds the length, or -1 when it is {@link fixed}. */
  readonly lengthArg: number;
  readonly times: number;
  /** What the length is rounded up to a multiple of. */
  readonly multiple: number;
  readonly fixed: number;
}

export interface CompiledSyscall {
  readonly number: number;
  readonly name: string;
  readonly arguments: readonly CompiledArgument[];
  /** One value per argument, filled anew for each call. */
  readonly values: SyscallValue[];
  readonly registers: boolean;
}

/** Where the answer of a call goes, as far as it does not stand in a register: a vector of buffers, a message header, a length pointer. */
export type SavedOutput =
  | { readonly kind: "vector"; readonly vector: Float64Array }
  | {
      readonly kind: "message";
      readonly header: number;
      readonly name: number;
      readonly nameCapacity: number;
      readonly control: number;
      readonly controlCapacity: number;
      readonly vector: Float64Array;
    }
  | { readonly kind: "address"; readonly capacity: number; readonly lengthPointer: number };

/** Largest system call number; Linux's end below 500. */
const NUMBER_MOST = 65535;
const ARGUMENTS_MOST = 6;

function compileArgument(where: string, declared: readonly Readonly<Record<string, unknown>>[], position: number): CompiledArgument {
  const { name, kind, length, nullable } = declared[position]!;
  const fail = (what: string): never => {
    throw new MonitorError("protocol", `${where}, argument ${position + 1}: ${what}`);
  };
  if (!isString(name, 64)) fail("name is not a short string");
  if (!isString(kind, 32) || !KINDS.has(kind)) fail(`there is no kind "${String(kind)}"`);
  let lengthArg = -1;
  let times = 1;
  let multiple = 1;
  let fixed = 0;
  if (NEEDS_LENGTH.has(kind as string)) {
    if (!isRecord(length)) fail("length is missing");
    const { arg, bytes, times: factor, multiple: step } = length as Readonly<Record<string, unknown>>;
    if (arg !== undefined) {
      lengthArg = declared.findIndex((other) => other.name === arg && ["int", "uint", "long", "ulong"].includes(String(other.kind)));
      if (lengthArg < 0) fail(`there is no number by the name of its length (${JSON.stringify(arg)})`);
      if (factor !== undefined && !(typeof factor === "number" && factor >= 1 / 65536 && factor <= 65536))
        fail("times is not 1/65536 … 65536");
      if (step !== undefined && !isInteger(step, 1, 4096)) fail("multiple is not 1 … 4096");
      multiple = (step as number | undefined) ?? 1;
      times = (factor as number | undefined) ?? 1;
    } else if (isInteger(bytes, 1, 65536)) fixed = bytes;
    else fail("length is neither a number nor another argument");
  }
  if (kind === "addressOut" && declared[position + 1]?.kind !== "addressLength") fail("no addressLength follows");
  return { name: name as string, kind: kind as ArgumentKind, nullable: nullable === true, lengthArg, times, multiple, fixed };
}

/**
 * Checks and compiles all declarations: by number.
 * @throws MonitorError `protocol`
 */
export function compileDeclarations(declarations: unknown): (CompiledSyscall | undefined)[] {
  if (!Array.isArray(declarations) || declarations.length > 4096)
    throw new MonitorError("protocol", "system call declarations are not a list of at most 4096");
  const table: (CompiledSyscall | undefined)[] = [];
  for (const declaration of declarations as readonly unknown[]) {
    if (!isRecord(declaration)) throw new MonitorError("protocol", "a system call declaration is not a record");
    const { number, name, arguments: declared, registers } = declaration;
    if (!isInteger(number, 0, NUMBER_MOST)) throw new MonitorError("protocol", "a system call's number is not 0 … 65535");
    if (!isString(name, 64)) throw new MonitorError("protocol", `system call ${number}: name is not a short string`);
    const where = `system call ${number} (${name})`;
    if (table[number] !== undefined) throw new MonitorError("protocol", `${where} is declared twice`);
    if (!Array.isArray(declared) || declared.length > ARGUMENTS_MOST || !declared.every(isRecord))
      throw new MonitorError("protocol", `${where}: arguments are not a list of at most 6 records`);
    const compiled = declared.map((_, position) => compileArgument(where, declared, position));
    while (table.length <= number) table.push(undefined);
    table[number] = { number, name, arguments: compiled, values: compiled.map(() => null), registers: registers === true };
  }
  return table;
}
