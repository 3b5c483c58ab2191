/**
 * Records what GNU objdump 2.40 says of the words in objdump.test.support.ts, and writes objdump.test.data.ts:
 *
 *     node --conditions=source packages/cpu/src/assembler/objdump.test.record.ts
 *
 * It needs riscv64-linux-gnu-as, -strip and -objdump. The words stand in an object file whose attribute names the extensions; without it
 * objdump shows every instruction that it knows.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { groups16, groups32, hashOf, ILLEGAL, withCsrNumber, type Group } from "./objdump.test.support.ts";

const ARCH = "rv64imafdc_zicsr_zifencei_zihintpause_zba_zbb_zbs";

/** Words that objdump names although they are reserved, or of specifications that this machine does not have (N, H, debug, privileged 1.9). */
const NOT_OURS: readonly string[] = ["c.unimp", "c.addi16sp sp,0", "uret", "sfence.vm", "hret", "dret"];

function normal(text: string, word: number): string {
  if (/^\.\d?byte/u.test(text) || NOT_OURS.includes(text)) return ILLEGAL;
  if (text === "unimp") return withCsrNumber("csrrw zero,cycle,zero", word);
  return withCsrNumber(text, word);
}

/** objdump's text for each word, in order. */
function* objdump(words: readonly number[], size: 2 | 4): Generator<string> {
  const folder = mkdtempSync(join(tmpdir(), "objdump-"));
  try {
    const bytes = new Uint8Array(size === 2 ? Uint16Array.from(words).buffer : Uint32Array.from(words).buffer);
    writeFileSync(join(folder, "words.bin"), bytes);
    writeFileSync(join(folder, "words.s"), `.attribute arch, "${ARCH}"\n.text\n.incbin "words.bin"\n`);
    const run = (tool: string, ...args: string[]): string =>
      execFileSync(`riscv64-linux-gnu-${tool}`, args, { cwd: folder, encoding: "utf8", maxBuffer: 2 ** 30 });
    run("as", `-march=${ARCH}`, "words.s", "-o", "words.o");
    run("strip", "-s", "words.o"); // the symbol that says "data"
    let at = 0;
    for (const line of run("objdump", "-d", "-M", "no-aliases", "words.o").split("\n")) {
      const match = /^\s*([0-9a-f]+):\s+([0-9a-f]+)\s+(.*)$/u.exec(line);
      if (match === null) continue;
      const [, address, bits, text] = match;
      if (Number.parseInt(address!, 16) !== at * size || Number.parseInt(bits!, 16) !== words[at]! >>> 0)
        throw new Error(`out of step: ${line}`);
      const plain = text!
        .replace(/\s*[#<].*$/u, "")
        .replace(/\s+/u, " ")
        .trim();
      yield normal(plain, words[at]!);
      at++;
    }
    if (at !== words.length) throw new Error(`${at} lines for ${words.length} words`);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** `first step count` of each run of equal distances. */
function runs(numbers: readonly number[]): string[] {
  const result: string[] = [];
  for (let at = 0; at < numbers.length;) {
    const first = numbers[at]!;
    const step = at + 1 < numbers.length ? numbers[at + 1]! - first : 1;
    let count = 1;
    while (at + count < numbers.length && numbers[at + count] === first + count * step) count++;
    if (count === 2) count = 1;
    result.push(`${first.toString(16).padStart(4, "0")} ${count === 1 ? 1 : step} ${count}`);
    at += count;
  }
  return result;
}

const illegal: number[] = [];
const record = (groups: readonly Group[], size: 2 | 4): string =>
  groups
    .map((group) => {
      const words = [...group.words()];
      const texts = [...objdump(words, size)];
      const bad = words.filter((_, at) => texts[at] === ILLEGAL);
      if (size === 2) illegal.push(...bad);
      return `  ["${group.name}", ${words.length - bad.length}, "${hashOf(texts)}"],\n`;
    })
    .join("");
const [table16, table32] = [record(groups16, 2), record(groups32, 4)];

writeFileSync(
  new URL("objdump.test.data.ts", import.meta.url),
  `/** GNU objdump 2.40 on words of 16 and 32 bits, for ${ARCH}. Written by objdump.test.record.ts. */

/** Illegal words of 16 bits: first word, distance, number. */
export const illegal16: readonly string[] = [
${runs(illegal)
  .map((run) => `  "${run}",\n`)
  .join("")}];

type Row = readonly [group: string, legal: number, hash: string];

/** All words of 16 bits: legal ones and a hash of the texts of all. */
export const recorded16: readonly Row[] = [
${table16}];

export const recorded32: readonly Row[] = [
${table32}];
`,
);
