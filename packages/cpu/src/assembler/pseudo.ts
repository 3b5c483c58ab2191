/** Pseudo-instructions of the text form (RISC-V assembly programmer's manual; CHERI tools): parameters, and what they stand for. */

/**
 * `[name, parameters, line]`: parameters are letters; `$d` in a line is what was written for `d`. An `o` must be a number (an
 * offset), an `m` is `(s1)` with an offset or a register alone, which gets the offset 0; `d` and `s` take no parenthesis.
 */
type Row = readonly [name: string, parameters: string, line: string];

const BOTH_MODES: readonly Row[] = [
  ["nop", "", "addi x0, x0, 0"],
  ["mv", "d s", "addi $d, $s, 0"],
  ["not", "d s", "xori $d, $s, -1"],
  ["neg", "d s", "sub $d, x0, $s"],
  ["negw", "d s", "subw $d, x0, $s"],
  ["sext.w", "d s", "addiw $d, $s, 0"],
  ["zext.b", "d s", "andi $d, $s, 255"],
  ["zext.w", "d s", "add.uw $d, $s, x0"],
  ["seqz", "d s", "sltiu $d, $s, 1"],
  ["snez", "d s", "sltu $d, x0, $s"],
  ["sltz", "d s", "slt $d, $s, x0"],
  ["sgtz", "d s", "slt $d, x0, $s"],
  ["beqz", "s t", "beq $s, x0, $t"],
  ["bnez", "s t", "bne $s, x0, $t"],
  ["blez", "s t", "bge x0, $s, $t"],
  ["bgez", "s t", "bge $s, x0, $t"],
  ["bltz", "s t", "blt $s, x0, $t"],
  ["bgtz", "s t", "blt x0, $s, $t"],
  ["bgt", "a b t", "blt $b, $a, $t"],
  ["ble", "a b t", "bge $b, $a, $t"],
  ["bgtu", "a b t", "bltu $b, $a, $t"],
  ["bleu", "a b t", "bgeu $b, $a, $t"],
  ["fence", "", "fence iorw, iorw"],
  ["sfence.vma", "", "sfence.vma x0, x0"],
  ["sfence.vma", "s", "sfence.vma $s, x0"],
  ["fmv.s", "d s", "fsgnj.s $d, $s, $s"],
  ["fabs.s", "d s", "fsgnjx.s $d, $s, $s"],
  ["fneg.s", "d s", "fsgnjn.s $d, $s, $s"],
  ["fmv.d", "d s", "fsgnj.d $d, $s, $s"],
  ["fabs.d", "d s", "fsgnjx.d $d, $s, $s"],
  ["fneg.d", "d s", "fsgnjn.d $d, $s, $s"],
  ["fgt.s", "d a b", "flt.s $d, $b, $a"],
  ["fge.s", "d a b", "fle.s $d, $b, $a"],
  ["fgt.d", "d a b", "flt.d $d, $b, $a"],
  ["fge.d", "d a b", "fle.d $d, $b, $a"],
  ["csrr", "d c", "csrrs $d, $c, x0"],
  ["csrw", "c s", "csrrw x0, $c, $s"],
  ["csrs", "c s", "csrrs x0, $c, $s"],
  ["csrc", "c s", "csrrc x0, $c, $s"],
  ["csrwi", "c i", "csrrwi x0, $c, $i"],
  ["csrsi", "c i", "csrrsi x0, $c, $i"],
  ["csrci", "c i", "csrrci x0, $c, $i"],
  ["frcsr", "d", "csrrs $d, fcsr, x0"],
  ["fscsr", "s", "csrrw x0, fcsr, $s"],
  ["fscsr", "d s", "csrrw $d, fcsr, $s"],
  ["frrm", "d", "csrrs $d, frm, x0"],
  ["fsrm", "s", "csrrw x0, frm, $s"],
  ["fsrm", "d s", "csrrw $d, frm, $s"],
  ["frflags", "d", "csrrs $d, fflags, x0"],
  ["fsflags", "s", "csrrw x0, fflags, $s"],
  ["fsflags", "d s", "csrrw $d, fflags, $s"],
  ["rdcycle", "d", "csrrs $d, cycle, x0"],
  ["rdtime", "d", "csrrs $d, time, x0"],
  ["rdinstret", "d", "csrrs $d, instret, x0"],
  ["jalr.cap", "s", "jalr.cap cra, $s"],
  ["jr.cap", "s", "jalr.cap cnull, $s"],
  ["ret.cap", "", "jalr.cap cnull, cra"],
  ["jalr.pcc", "s", "jalr.pcc ra, $s"],
  ["jr.pcc", "s", "jalr.pcc zero, $s"],
  ["ret.pcc", "", "jalr.pcc zero, ra"],
  ["cspecialr", "d c", "cspecialrw $d, $c, cnull"],
  ["cspecialw", "c s", "cspecialrw cnull, $c, $s"],
];

/** Jumps: links and targets are integers or capabilities, and the latter's names may begin with a c. */
const jumps = (jal: string, jalr: string, zero: string, ra: string, prefix: string): Row[] => [
  [`${prefix}j`, "t", `${jal} ${zero}, $t`],
  [`${prefix}jal`, "t", `${jal} ${ra}, $t`],
  [`${prefix}jr`, "s o", `${jalr} ${zero}, $o($s)`],
  [`${prefix}jr`, "m", `${jalr} ${zero}, $m`],
  [`${prefix}jalr`, "s o", `${jalr} ${ra}, $o($s)`],
  [`${prefix}jalr`, "d s", `${jalr} $d, 0($s)`],
  [`${prefix}jalr`, "m", `${jalr} ${ra}, $m`],
  [`${prefix}jalr`, "d s o", `${jalr} $d, $o($s)`],
  [`${prefix}ret`, "", `${jalr} ${zero}, 0(${ra})`],
];

const TABLES: Readonly<Record<"int" | "cap", readonly Row[]>> = {
  int: [...BOTH_MODES, ...jumps("jal", "jalr", "x0", "ra", "")],
  cap: [...BOTH_MODES, ...["", "c"].flatMap((prefix) => jumps("cjal", "cjalr", "cnull", "cra", prefix))],
};

const byName = { int: Map.groupBy(TABLES.int, ([name]) => name), cap: Map.groupBy(TABLES.cap, ([name]) => name) } as const;

function fits(parameter: string, operand: string): boolean {
  if (parameter === "o") return /^[+-]?\d\w*$/u.test(operand);
  return (parameter !== "d" && parameter !== "s") || !operand.includes("(");
}

/** The line that a pseudo-instruction with these operands stands for, or undefined. */
export function expandPseudo(name: string, operands: readonly string[], mode: "int" | "cap"): string | undefined {
  for (const [, parameters, line] of byName[mode].get(name) ?? []) {
    const names = parameters === "" ? [] : parameters.split(" ");
    if (names.length !== operands.length || !names.every((parameter, at) => fits(parameter, operands[at]!))) continue;
    return line.replace(/\$(\w)/gu, (_, parameter: string) => {
      const operand = operands[names.indexOf(parameter)]!;
      return parameter === "m" && !operand.includes("(") ? `0(${operand})` : operand;
    });
  }
  return undefined;
}
