/**
 * What a recording of GNU objdump and its replay share: which words, in which groups, and how our text becomes that of GNU.
 *
 * Of 16 bits all words. Of 32 bits, for each opcode, all values of bits 31:20 and 14:12; rd and rs1 are x1 and x2, or x0 and x0 where
 * the opcode has instructions with these fixed.
 */
import { createHash } from "node:crypto";

/** Text of a word that is no instruction of RV64GC with Zba, Zbb, Zbs. */
export const ILLEGAL = "-";

/** Words of a group. */
export interface Group {
  readonly name: string;
  words(): Generator<number>;
}

export const groups16: readonly Group[] = Array.from({ length: 24 }, (_, at): Group => {
  const [quadrant, funct3] = [at >> 3, at & 7];
  return {
    name: `quadrant ${quadrant} funct3 ${funct3}`,
    *words() {
      for (let bits = 0; bits < 2048; bits++) yield (funct3 << 13) | (bits << 2) | quadrant;
    },
  };
});

const MISC_MEM = 0x0f;
const SYSTEM = 0x73;
const RS1_RD = (2 << 15) | (1 << 7);

export const groups32: readonly Group[] = Array.from({ length: 32 }, (_, at) => (at << 2) | 3)
  // 111 in bits 4:2 begins longer instructions.
  .filter((opcode) => (opcode & 0x1c) !== 0x1c)
  .map((opcode): Group => ({
    name: `opcode 0x${opcode.toString(16).padStart(2, "0")}`,
    *words() {
      for (const registers of opcode === MISC_MEM || opcode === SYSTEM ? [RS1_RD, 0] : [RS1_RD])
        for (let funct3 = 0; funct3 < 8; funct3++)
          for (let high = 0; high < 4096; high++) yield (high << 20) | (funct3 << 12) | registers | opcode;
    },
  }));

/** First half of the SHA-256 of texts. */
export function hashOf(texts: Iterable<string>): string {
  const hash = createHash("sha256");
  for (const text of texts) hash.update(`${text}\n`);
  return hash.digest("hex").slice(0, 32);
}

/** CSR instructions with the register's number: each side has names that the other does not. */
export function withCsrNumber(text: string, word: number): string {
  return text.replace(/^(csrr[wsc]i?) (\w+),\w+,/u, `$1 $2,0x${(word >>> 20).toString(16)},`);
}

/**
 * Our text as GNU objdump 2.40 (`-M no-aliases`) has it. What differs, besides blanks behind commas: c.nop is c.addi, compressed
 * shifts by 0 have names of their own, c.unimp and unimp are illegal words with a name, empty sets of a fence and reserved rounding
 * modes are `unknown`, conversions that are exact have no rounding mode but 0.
 */
export function gnuText(text: string, word: number): string {
  if (text.startsWith(".")) return ILLEGAL;
  const gnu = text
    .replaceAll(", ", ",")
    .replace(/^c\.nop(?: (.*))?$/u, (_, hint: string | undefined) => `c.addi zero,${hint ?? 0}`)
    .replace(/^(c\.s\w+) (\w+),0x0$/u, (_, name: string, register: string) => `${name}64 ${register}`)
    .replace(/^(f\S+ .*),[56]$/u, "$1,unknown")
    .replace(/^fence 0,/u, "fence unknown,")
    .replace(/^(fence .*),0$/u, "$1,unknown");
  if (/^fcvt\.d\.(?:s|wu?) \w+,\w+,/u.test(gnu)) return ILLEGAL;
  return withCsrNumber(gnu, word);
}
