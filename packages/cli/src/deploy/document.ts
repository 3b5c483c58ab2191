/** A deployment file as a tree of values that know their places. */
import { readFileSync } from "node:fs";
import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument } from "yaml";
import type { Document, Node as YamlNode } from "yaml";
import { messageOf } from "../errors.ts";
import { NoFileError, Problems } from "./problems.ts";
import type { Place } from "./problems.ts";

export interface Scalar {
  readonly kind: "scalar";
  readonly place: Place;
  readonly value: string | number | boolean | null;
  /** As it was written, when that is not how the value is printed: `1.10`. */
  readonly source?: string;
}
export interface List {
  readonly kind: "list";
  readonly place: Place;
  readonly items: readonly Tree[];
}
export interface Entry {
  /** Of the key. */
  readonly place: Place;
  readonly tree: Tree;
}
export interface Mapping {
  readonly kind: "map";
  readonly place: Place;
  readonly entries: ReadonlyMap<string, Entry>;
}
export type Tree = Scalar | List | Mapping;
export type Plain = string | number | boolean | null | readonly Plain[] | { readonly [key: string]: Plain };

/** Most values of a file, aliases resolved: what expands without bound is refused. */
const MOST_VALUES = 100_000;

export const scalar = (place: Place, value: Scalar["value"]): Scalar => ({ kind: "scalar", place, value });
export const mapping = (place: Place, entries: Iterable<readonly [string, Entry]>): Mapping => ({
  kind: "map",
  place,
  entries: new Map(entries),
});

/**
 * Parses a file.
 * @param base folder that its relative paths start from
 * @throws NoFileError when it cannot be read; DeploymentError when it is not YAML
 */
export function readDocument(file: string, base: string): Tree {
  let text: string;
  try {
    text = file === "-" ? readFileSync(0, "utf8") : readFileSync(file, "utf8");
  } catch (error) {
    throw new NoFileError(`the deployment file "${file}" cannot be read: ${messageOf(error)}`, { cause: error });
  }
  return parseText(text, file, base);
}

/** @throws DeploymentError when the text is not one YAML document */
export function parseText(text: string, file: string, base: string): Tree {
  const lines = new LineCounter();
  const problems = new Problems();
  const placeAt = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { file, base, line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  for (const fault of [...document.errors, ...document.warnings]) problems.add(placeAt(fault.pos[0]), fault.message);
  problems.check();
  const reader = new Reader(document, placeAt, problems);
  const tree = reader.read(document.contents, placeAt(0));
  problems.check();
  return tree;
}

class Reader {
  readonly #document: Document;
  readonly #placeAt: (offset: number) => Place;
  readonly #problems: Problems;
  #values: number = 0;

  constructor(document: Document, placeAt: (offset: number) => Place, problems: Problems) {
    this.#document = document;
    this.#placeAt = placeAt;
    this.#problems = problems;
  }

  read(node: unknown, above: Place): Tree {
    const place = this.#placeOf(node, above);
    if (++this.#values > MOST_VALUES) {
      this.#problems.add(place, `more than ${MOST_VALUES} values, aliases counted each time`);
      this.#problems.check();
    }
    if (isAlias(node)) {
      const target = node.resolve(this.#document);
      return target === undefined ? this.#wrong(place, `nothing is called &${node.source} before this`) : this.read(target, place);
    }
    if (isSeq(node)) return { kind: "list", place, items: node.items.map((item) => this.read(item, place)) };
    if (isMap(node)) return this.#map(node.items, place);
    const value = isScalar(node) ? node.value : null;
    if (value === null || typeof value === "string" || typeof value === "boolean") return scalar(place, value);
    if (typeof value === "number" && Number.isFinite(value)) {
      const source = isScalar(node) ? node.source : undefined;
      return source === undefined || source === String(value) ? scalar(place, value) : { ...scalar(place, value), source };
    }
    return this.#wrong(place, "a value that is neither text, number, boolean nor null");
  }

  #map(pairs: readonly { key: unknown; value: unknown }[], place: Place): Mapping {
    const own = new Map<string, Entry>();
    const merged = new Map<string, Entry>();
    for (const pair of pairs) {
      const at = this.#placeOf(pair.key, place);
      const key = isScalar(pair.key) ? pair.key.value : undefined;
      if (typeof key !== "string" && typeof key !== "number" && typeof key !== "boolean") {
        this.#problems.add(at, "a key must be a word");
        continue;
      }
      const tree = this.read(pair.value, at);
      if (key !== "<<") own.set((isScalar(pair.key) ? pair.key.source : undefined) ?? String(key), { place: at, tree });
      else {
        // Of several, the first that has a key gives it.
        for (const source of tree.kind === "list" ? tree.items : [tree]) {
          if (source.kind !== "map") this.#problems.add(at, "<< takes a mapping, or a list of mappings");
          else for (const [name, entry] of source.entries) if (!merged.has(name)) merged.set(name, entry);
        }
      }
    }
    return mapping(place, [...merged, ...own]);
  }

  #placeOf(node: unknown, above: Place): Place {
    const offset = (node as YamlNode | null)?.range?.[0];
    return offset === undefined ? above : this.#placeAt(offset);
  }

  #wrong(place: Place, message: string): Scalar {
    this.#problems.add(place, message);
    return scalar(place, null);
  }
}

/** The values alone. */
export function plain(tree: Tree): Plain {
  if (tree.kind === "scalar") return tree.value;
  if (tree.kind === "list") return tree.items.map(plain);
  return Object.fromEntries([...tree.entries].map(([key, entry]) => [key, plain(entry.tree)]));
}

/** The value of a key of a mapping; undefined when it is not there, null or something else than a mapping has keys. */
export function child(tree: Tree | undefined, key: string): Tree | undefined {
  const found = tree?.kind === "map" ? tree.entries.get(key)?.tree : undefined;
  return found?.kind === "scalar" && found.value === null ? undefined : found;
}

/** Entries of a mapping; none of anything else. */
export function entriesOf(tree: Tree | undefined): [string, Entry][] {
  return tree?.kind === "map" ? [...tree.entries] : [];
}

/** Items of a list; what is no list is the one item. */
export function itemsOf(tree: Tree | undefined): readonly Tree[] {
  if (tree === undefined) return [];
  return tree.kind === "list" ? tree.items : [tree];
}

/** A scalar as text. */
export function textOf(tree: Tree | undefined): string | undefined {
  return tree?.kind === "scalar" && tree.value !== null ? String(tree.value) : undefined;
}

/** A scalar as its author wrote it. */
export function writtenOf(tree: Tree | undefined): string | undefined {
  return tree?.kind === "scalar" ? (tree.source ?? textOf(tree)) : undefined;
}

/** A boolean, or what an interpolated text says. */
export function flagOf(tree: Tree | undefined): boolean | undefined {
  const text = textOf(tree);
  return text === undefined ? undefined : text === "true";
}

/** Where a path of keys and indices leads: the place of the key if it is one of a mapping. As far as it leads, if not to its end. */
export function placeOf(tree: Tree, path: readonly PropertyKey[]): Place {
  let { place } = tree;
  let at: Tree | undefined = tree;
  for (const step of path) {
    if (at?.kind === "map") {
      const entry: Entry | undefined = at.entries.get(String(step));
      at = entry?.tree;
      place = entry?.place ?? place;
    } else if (at?.kind === "list") {
      at = at.items[Number(step)];
      place = at?.place ?? place;
    } else break;
  }
  return place;
}

/** The same tree with other scalars. */
export function mapScalars(tree: Tree, change: (scalar: Scalar) => Scalar): Tree {
  if (tree.kind === "scalar") return change(tree);
  if (tree.kind === "list") return { ...tree, items: tree.items.map((item) => mapScalars(item, change)) };
  const entries = [...tree.entries].map(([key, { place, tree: value }]) => [key, { place, tree: mapScalars(value, change) }] as const);
  return mapping(tree.place, entries);
}
