/** Pseudo-instructions of the text form (RISC-V assembly programmer's manual): parameters, and what they stand for. */

/** `[name, parameters, lines]`: parameters are letters; `$d` in a line is what was written for `d`. */
const TABLE: readonly (readonly [name: string, parameters: string, ...lines: string[]])[] = [
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
  ["j", "t", "jal x0, $t"],
  ["jal", "t", "jal ra, $t"],
  ["jr", "s", "jalr x0, 0($s)"],
  ["jalr", "s", "jalr ra, 0($s)"],
  ["jalr", "d s i", "jalr $d, $i($s)"],
  ["ret", "", "jalr x0, 0(ra)"],
  ["fence", "", "fence iorw, iorw"],
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
];

const byName = new Map(
  TABLE.map(([name, parameters, ...lines]) => {
    const names = parameters === "" ? [] : parameters.split(" ");
    return [`${name}/${names.length}`, { names, lines }] as const;
  }),
);

/** The lines that a pseudo-instruction with these operands stands for, or undefined. */
export function expandPseudo(name: string, operands: readonly string[]): string[] | undefined {
  const found = byName.get(`${name}/${operands.length}`);
  return found?.lines.map((line) => line.replace(/\$(\w)/gu, (_, parameter: string) => operands[found.names.indexOf(parameter)]!));
}

/** Names of all pseudo-instructions of the table, with the number of their operands. */
export const pseudoNames: readonly string[] = [...byName.keys()];
