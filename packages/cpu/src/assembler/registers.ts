/** Names of registers and rounding modes as GNU as writes them. */

/** x0 … x31 by ABI name. */
export const intNames: readonly string[] = [
  "zero",
  "ra",
  "sp",
  "gp",
  "tp",
  "t0",
  "t1",
  "t2",
  "s0",
  "s1",
  "a0",
  "a1",
  "a2",
  "a3",
  "a4",
  "a5",
  "a6",
  "a7",
  "s2",
  "s3",
  "s4",
  "s5",
  "s6",
  "s7",
  "s8",
  "s9",
  "s10",
  "s11",
  "t3",
  "t4",
  "t5",
  "t6",
];

/** f0 … f31 by ABI name. */
export const floatNames: readonly string[] = [
  "ft0",
  "ft1",
  "ft2",
  "ft3",
  "ft4",
  "ft5",
  "ft6",
  "ft7",
  "fs0",
  "fs1",
  "fa0",
  "fa1",
  "fa2",
  "fa3",
  "fa4",
  "fa5",
  "fa6",
  "fa7",
  "fs2",
  "fs3",
  "fs4",
  "fs5",
  "fs6",
  "fs7",
  "fs8",
  "fs9",
  "fs10",
  "fs11",
  "ft8",
  "ft9",
  "ft10",
  "ft11",
];

/** c0 … c31 by ABI name (CHERI-RISC-V ELF psABI). */
export const capNames: readonly string[] = intNames.map((name) => (name === "zero" ? "cnull" : `c${name}`));

/** As {@link capNames} where register 0 stands for the default data capability. */
const capOrDdcNames: readonly string[] = capNames.map((name, at) => (at === 0 ? "ddc" : name));

const NAMES: Readonly<Record<RegisterFile, readonly string[]>> = { x: intNames, f: floatNames, c: capNames, d: capOrDdcNames };

/** Numbers of special capability registers by name (CHERI ISAv9, table of special capability registers). */
export const scrNumbers: ReadonlyMap<string, number> = new Map(
  ["pcc ddc", "utcc utdc uscratchc uepcc", "", "stcc stdc sscratchc sepcc", "", "", "", "mtcc mtdc mscratchc mepcc"].flatMap((row, at) =>
    row === "" ? [] : row.split(" ").map((name, column): [string, number] => [name, 4 * at + column]),
  ),
);

const scrNames = new Map([...scrNumbers].map(([name, number]) => [number, name]));

/** Name of a special capability register; undefined for a number that has none. */
export function scrName(number: number): string | undefined {
  return scrNames.get(number);
}

/** Rounding modes by the number in `rm`; 5 and 6 are reserved. */
export const roundingNames: readonly string[] = ["rne", "rtz", "rdn", "rup", "rmm", "5", "6", "dyn"];

function table(names: readonly string[], letter: string, more: readonly (readonly [string, number])[]): ReadonlyMap<string, number> {
  return new Map([
    ...names.map((name, at): [string, number] => [name, at]),
    ...names.map((_, at): [string, number] => [`${letter}${at}`, at]),
    ...more,
  ]);
}

/** Register files: integer, float, capability, capability with 0 for DDC. */
export type RegisterFile = "x" | "f" | "c" | "d";

const numbers: Readonly<Record<RegisterFile, ReadonlyMap<string, number>>> = {
  x: table(intNames, "x", [["fp", 8]]),
  f: table(floatNames, "f", []),
  c: table(capNames, "c", [
    ["czero", 0],
    ["cfp", 8],
  ]),
  d: new Map([["ddc", 0] as const, ...table(capNames, "c", [["cfp", 8]])].filter(([name, number]) => number > 0 || name === "ddc")),
};

/** Number of a register by its ABI name or by file and number (`x5`); undefined if there is none of that name. */
export function registerNumber(file: RegisterFile, name: string): number | undefined {
  return numbers[file].get(name.toLowerCase());
}

export function registerName(file: RegisterFile, number: number): string {
  return NAMES[file][number]!;
}
