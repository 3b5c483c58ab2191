/** Data that programs work on, the same each time. */
import { randomOf } from "../crash/random.ts";

const WORDS =
  "the of and people station nation a motion in water to table that which quick relation was she river for question on light with as his they stone at be this from have or by".split(
    " ",
  );

/** Lines of words, some with capitals and stops. */
export function wordsText(lines: number): string {
  const random = randomOf(1);
  const line = (): string => {
    const words = Array.from({ length: 4 + Math.floor(random() * 14) }, () => WORDS[Math.floor(random() ** 2 * WORDS.length)]!);
    words[0] = `${words[0]![0]!.toUpperCase()}${words[0]!.slice(1)}`;
    return `${words.join(" ")}.`;
  };
  return Array.from({ length: lines }, () => `${line()}\n`).join("");
}

/** Lines of two numbers: one that rises, one of few. */
export function numbersText(lines: number): string {
  const random = randomOf(2);
  return Array.from({ length: lines }, (_, index) => `${index + 1} ${Math.floor(random() * lines)}\n`).join("");
}
