/** Pairs of a service: environment, labels, more hosts. */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { messageOf } from "../errors.ts";
import { child, entriesOf, flagOf, itemsOf, textOf, writtenOf } from "./document.ts";
import type { Tree } from "./document.ts";
import { parseVariables } from "./interpolate.ts";
import type { Variables } from "./interpolate.ts";
import type { Place, Problems } from "./problems.ts";

export interface Pair {
  readonly name: string;
  /** Undefined: only the name stands there. */
  readonly value: string | undefined;
  readonly place: Place;
}

/** A mapping of pairs, or a list of `NAME=value`. */
export function pairsOf(tree: Tree | undefined, separator: RegExp = /=/u): Pair[] {
  if (tree?.kind === "map") return entriesOf(tree).map(([name, { place, tree: value }]) => ({ name, value: writtenOf(value), place }));
  return itemsOf(tree).map((item) => {
    const text = textOf(item) ?? "";
    const cut = text.search(separator);
    return cut < 0
      ? { name: text, value: undefined, place: item.place }
      : { name: text.slice(0, cut), value: text.slice(cut + 1), place: item.place };
  });
}

export function labelsOf(tree: Tree | undefined): Record<string, string> {
  return Object.fromEntries(pairsOf(tree).map(({ name, value }) => [name, value ?? ""]));
}

/** `NAME=value` of env_file, and of environment over it. */
export function readEnvironment(service: Tree, variables: Variables, problems: Problems): string[] {
  const all = new Map<string, string>();
  for (const item of itemsOf(child(service, "env_file"))) {
    const path = item.kind === "map" ? child(item, "path") : item;
    const file = resolve(item.place.base, textOf(path) ?? "");
    try {
      const text = readFileSync(file, "utf8");
      const found = textOf(child(item, "format")) === "raw" ? rawVariables(text) : parseVariables(text, variables);
      for (const [name, value] of found) all.set(name, value);
    } catch (error) {
      const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
      if (missing && flagOf(child(item, "required")) === false) continue;
      problems.add(item.place, missing ? `the file "${file}" does not exist` : `"${file}": ${messageOf(error)}`);
    }
  }
  for (const { name, value, place } of pairsOf(child(service, "environment"))) {
    const chosen = value ?? variables.get(name);
    if (name === "" || name.includes("=") || name.includes("\0")) problems.add(place, "an environment variable needs a name");
    else if (chosen === undefined) all.delete(name);
    else all.set(name, chosen);
  }
  return [...all].map(([name, value]) => `${name}=${value}`);
}

/** `NAME=value` lines as they are. */
function rawVariables(text: string): Map<string, string> {
  const lines = text.split(/\r?\n/u).filter((line) => line !== "" && !line.startsWith("#") && line.includes("="));
  return new Map(lines.map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]));
}
