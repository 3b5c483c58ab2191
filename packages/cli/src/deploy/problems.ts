/** What is wrong with a deployment file, and where. */
import { relative } from "node:path";
import { CliError } from "../errors.ts";

/** A place in a file: line and column from 1. */
export interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** Folder that relative paths at this place start from. */
  readonly base: string;
}

export interface Problem {
  readonly place: Place;
  readonly message: string;
}

/** Exit codes of docker compose: a file that is not there, and one that is wrong. */
const EXIT_NO_FILE = 14;
const EXIT_WRONG_FILE = 15;

/** A deployment file that cannot be used; one line for each problem. */
export class DeploymentError extends CliError {
  readonly exitCode: number = EXIT_WRONG_FILE;
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    super("invalid", problems.map(lineOf).join("\n"));
    this.name = "DeploymentError";
    this.problems = problems;
  }
}

/** There is no deployment file. */
export class NoFileError extends CliError {
  readonly exitCode: number = EXIT_NO_FILE;

  constructor(message: string, options?: ErrorOptions) {
    super("not_found", message, options);
    this.name = "NoFileError";
  }
}

/** `cvm.yaml:3:5: message`, the file as seen from the working folder. */
export function lineOf({ place, message }: Problem): string {
  const path = relative(process.cwd(), place.file);
  return `${path === "" || path.startsWith("..") ? place.file : path}:${place.line}:${place.column}: ${message}`;
}

/** Collects problems, so that one run of the command names all. */
export class Problems {
  readonly #all: Problem[] = [];

  add(place: Place, message: string): void {
    // The same place may be looked at for several replicas or by several rules.
    if (!this.#all.some((one) => one.message === message && samePlace(one.place, place))) this.#all.push({ place, message });
  }

  get found(): boolean {
    return this.#all.length > 0;
  }

  /** @throws DeploymentError when there are any */
  check(): void {
    if (this.found) throw new DeploymentError(this.#all.toSorted(byPlace));
  }
}

function samePlace(a: Place, b: Place): boolean {
  return a.file === b.file && a.line === b.line && a.column === b.column;
}

function byPlace({ place: a }: Problem, { place: b }: Problem): number {
  return a.file < b.file ? -1 : a.file > b.file ? 1 : a.line - b.line || a.column - b.column;
}

/** Number of insertions, deletions, replacements and swaps of neighbours between two words. */
export function distance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let best = Math.min(row[j - 1]! + 1, last[j]! + 1, last[j - 1]! + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) best = Math.min(best, before[j - 2]! + 1);
      row.push(best);
    }
    before = last;
    last = row;
  }
  return last[b.length]!;
}

/** The word that was probably meant, when one is near enough. */
export function nearest(word: string, known: Iterable<string>): string | undefined {
  let best: string | undefined;
  let least = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const one of known) {
    const plain = (text: string): string => text.toLowerCase().replaceAll(/[-_ ]/gu, "");
    const far = plain(one) === plain(word) ? 0 : distance(word.toLowerCase(), one.toLowerCase());
    if (far < least) [best, least] = [one, far];
  }
  return best;
}

/** `; did you mean "x"?`, or what there is to choose from, or nothing. */
export function suggestion(word: string, known: Iterable<string>): string {
  const all = [...known];
  const near = nearest(word, all);
  if (near !== undefined) return `; did you mean "${near}"?`;
  return all.length > 0 && all.length <= 8 ? `; known: ${all.toSorted().join(", ")}` : "";
}
