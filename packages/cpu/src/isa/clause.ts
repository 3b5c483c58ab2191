import type { Semantics } from "./ir.ts";

/** An extension, as its file in isa/ is named. */
export type Extension = "I" | "M" | "A" | "F" | "D" | "C" | "Zicsr" | "Zifencei" | "Privileged" | "Zba" | "Zbb" | "Zbs" | "Xcheri";

/**
 * One instruction: everything that the project knows of it. Decoder, assembler, disassembler, interpreter and translator
 * are derived from this; nothing about an instruction is written anywhere else.
 */
export interface Clause {
  /** The instruction's own name, and its mnemonic as GNU as (or the CHERI tools) writes it: `add`, `fadd.d`, `csetbounds`. */
  readonly name: string;
  /** The mnemonic where it is not {@link name}: `cincoffsetimm` is written `cincoffset`. The assembler accepts both. */
  readonly mnemonic?: string;
  /** Other mnemonics that the assembler accepts, with the same operands. */
  readonly aliases?: readonly string[];
  readonly extension: Extension;
  /**
   * The encoding, most significant bit first, in the notation of the RISC-V manual: bits (`0110011`), register fields
   * (`rd`, `rs1`, `rs2`, `rs3`: 5 bits; `rd'`, `rs1'`, `rs2'`: 3 bits for x8 … x15), `rm` (3 bits), immediates as slices
   * (`imm[12|10:5]`: sign-extended from its highest bit; `uimm[...]`: zero-extended; `nzimm`/`nzuimm`: 0 is not this
   * instruction), single ignored bits are not allowed except `aq` and `rl`, `pred`, `succ`, `fm`.
   * A field followed by `!=N` or `!=N,M` excludes these values: `rd!=0,2`. A total of 32 or 16 bits.
   * Example: `0000000 rs2 rs1 000 rd 0110011`.
   */
  readonly encoding: string;
  /**
   * Operand syntax: field names with punctuation: `rd, rs1, rs2`; `rd, imm(rs1)`. `fd`, `fs1`, `fs2`, `fs3` print
   * the field rd, rs1, … as a float register; `cd`, `cs1`, `cs2` as a capability register; `ds1`, `ds2` as one whose number 0
   * stands for `ddc`; `scr` prints imm as the name of a special capability register; `quarter` and `mask` print imm's bits 9:8 and 7:0;
   * `target` prints pc + imm; `upper` prints the upper 20 bits of imm (lui); `csr` prints imm as a CSR's name; `zimm` prints the field rs1 as a number; `pred`, `succ` print
   * sets like `rw`; `rm` prints `, rtz` etc. only when not dynamic. Any other word (`sp`) stands for itself.
   */
  readonly syntax: string;
  /** Exactly one of `semantics` and `expands` is present. */
  readonly semantics?: (s: Semantics) => void;
  /** A compressed form: the clause that it stands for, and its operands by field (a field of this encoding, or a constant). */
  readonly expands?: {
    readonly to: string;
    readonly operands: Readonly<Partial<Record<"rd" | "rs1" | "rs2" | "rs3" | "rm" | "imm", string | number>>>;
  };
  /**
   * Only this mode decodes it; both unless given. `cap`: capability mode (PCC.flag = 1). In its mode it takes the place of a clause of
   * both modes with the same fixed bits, exclusions of either aside (see `clausesOf` in decode.ts).
   */
  readonly mode?: "int" | "cap";
}

/** Operands of one decoded instruction. Registers are 0 … 31; `imm` is a JavaScript number, sign- or zero-extended. */
export interface Operands {
  rd: number;
  rs1: number;
  rs2: number;
  rs3: number;
  rm: number;
  imm: number;
}
