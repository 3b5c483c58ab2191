/** Durations, sizes and numbers of deployment files. */

const DURATION_MS: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };
export const DURATION: RegExp = /^(?:0|(?:\d+(?:\.\d+)?(?:us|ms|s|m|h|d|w))+)$/u;

/** `1m30s`: milliseconds. The text matches {@link DURATION}. */
export function durationMs(text: string): number {
  let total = 0;
  for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d+)?)(us|ms|s|m|h|d|w)/gu)) total += Number(number) * DURATION_MS[unit!]!;
  return total;
}

const SIZE_UNIT: Readonly<Record<string, number>> = { "": 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 };
export const SIZE: RegExp = /^\d+(?:\.\d+)?\s*[kKmMgG]?[bB]?$/u;

/** `64k`, `1.5gb`, `4096`: bytes. The text matches {@link SIZE}. */
export function sizeBytes(text: string): number {
  const [, number, unit] = /^([\d.]+)\s*([a-z]?)/iu.exec(text)!;
  const letter = unit!.toLowerCase();
  return Math.floor(Number(number) * SIZE_UNIT[letter === "b" ? "" : letter]!);
}

/**
 * Splits a command line into words as a shell does, without expanding anything: quotes and backslashes are taken away.
 * @throws Error when a quote does not end
 */
export function splitWords(line: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  for (let at = 0; at < line.length; at++) {
    const letter = line[at]!;
    if (letter === "'" || letter === '"') {
      word ??= "";
      const quote = letter;
      for (at++; line[at] !== quote; at++) {
        if (at >= line.length) throw new Error(`the quote ${quote} does not end`);
        if (quote === '"' && line[at] === "\\" && '"\\$`'.includes(line[at + 1] ?? " ")) at++;
        word += line[at]!;
      }
    } else if (letter === "\\" && at + 1 < line.length) word = (word ?? "") + line[++at]!;
    else if (/\s/u.test(letter)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else word = (word ?? "") + letter;
  }
  if (word !== undefined) words.push(word);
  return words;
}
