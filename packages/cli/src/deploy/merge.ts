/** Several deployment files as one, by the Compose Specification's rules of merging; a later file goes over an earlier one. */
import { mapping, scalar } from "./document.ts";
import type { Entry, Mapping, Tree } from "./document.ts";

/** What is replaced as a whole. The path of a service begins at the service. */
const REPLACED: ReadonlySet<string> = new Set(["command", "entrypoint", "healthcheck.test", "x-cvm.spawn", "network_mode"]);
/** Lists that mean the same as a mapping: `NAME=value`, and names alone. */
const PAIRS: ReadonlySet<string> = new Set(["environment", "labels", "extra_hosts", "deploy.labels"]);
const NAMES: ReadonlySet<string> = new Set(["depends_on", "networks"]);
/** Lists of which an item replaces the one with the same key. */
const KEYED: Readonly<Record<string, (item: Tree) => string>> = { volumes: targetOf, ports: portOf };

function text(tree: Tree | undefined): string {
  return tree?.kind === "scalar" ? String(tree.value) : "";
}

function targetOf(item: Tree): string {
  if (item.kind === "map") return text(item.entries.get("target")?.tree);
  const parts = text(item).split(":");
  return parts[1] ?? parts[0]!;
}

/** Two that are equal to the last letter are one; all others stay. */
function portOf(item: Tree): string {
  if (item.kind !== "map") return text(item);
  return ["host_ip", "published", "target", "protocol"].map((key) => text(item.entries.get(key)?.tree)).join(" ");
}

/** A list of pairs or names as a mapping. */
function asMapping(tree: Tree, path: string): Tree {
  if (tree.kind !== "list") return tree;
  const entries = tree.items.map((item): [string, Entry] => {
    const word = text(item);
    // extra_hosts may have a colon between the two.
    const cut = PAIRS.has(path) ? word.search(path === "extra_hosts" ? /[:=]/u : /=/u) : -1;
    if (path === "depends_on") {
      const condition = { place: item.place, tree: scalar(item.place, "service_started") };
      return [word, { place: item.place, tree: mapping(item.place, [["condition", condition]]) }];
    }
    return cut < 0
      ? [word, { place: item.place, tree: scalar(item.place, null) }]
      : [word.slice(0, cut), { place: item.place, tree: scalar(item.place, word.slice(cut + 1)) }];
  });
  return mapping(tree.place, entries);
}

function mergeMaps(below: Mapping, above: Mapping, each: (key: string, a: Tree, b: Tree) => Tree): Mapping {
  const entries = new Map(below.entries);
  for (const [key, entry] of above.entries) {
    const old = entries.get(key);
    entries.set(key, old === undefined ? entry : { place: entry.place, tree: each(key, old.tree, entry.tree) });
  }
  return mapping(above.place, entries);
}

/** @param path keys from the service (or the top) on, joined by dots */
function mergeTrees(below: Tree, above: Tree, path: string): Tree {
  if (REPLACED.has(path)) return above;
  if (PAIRS.has(path) || NAMES.has(path)) {
    const lists = below.kind === "list" && above.kind === "list" && NAMES.has(path);
    if (!lists) {
      below = asMapping(below, path);
      above = asMapping(above, path);
    }
  }
  if (below.kind === "map" && above.kind === "map")
    return mergeMaps(below, above, (key, a, b) => mergeTrees(a, b, path === "" ? key : `${path}.${key}`));
  if (below.kind === "list" && above.kind === "list") {
    const keyOf = KEYED[path] ?? text;
    // Mappings of other lists have no key: all of them stay.
    const replaced = new Set(above.items.filter((item) => item.kind === "scalar" || path in KEYED).map(keyOf));
    const kept = below.items.filter((item) => (item.kind !== "scalar" && !(path in KEYED)) || !replaced.has(keyOf(item)));
    return { ...above, items: [...kept, ...above.items] };
  }
  // A null says nothing.
  return above.kind === "scalar" && above.value === null ? below : above;
}

/** One service over another. */
export function mergeServices(below: Tree, above: Tree): Tree {
  return mergeTrees(below, above, "");
}

/** One file over another. */
export function mergeFiles(below: Tree, above: Tree): Tree {
  if (below.kind !== "map" || above.kind !== "map") return above.kind === "scalar" && above.value === null ? below : above;
  return mergeMaps(below, above, (key, a, b) => {
    if (key !== "services" || a.kind !== "map" || b.kind !== "map") return mergeTrees(a, b, `top:${key}`);
    return mergeMaps(a, b, (_, one, other) => mergeServices(one, other));
  });
}
