/** Variables in deployment files, and files of variables. */
import { mapScalars, scalar } from "./document.ts";
import type { Tree } from "./document.ts";
import type { Problems } from "./problems.ts";

export type Variables = ReadonlyMap<string, string>;

const NAME = /^[a-zA-Z_][a-zA-Z0-9_]*/u;

/**
 * Puts variables into a text: `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME-default}`, `${NAME:?message}`, `${NAME?message}`,
 * `${NAME:+other}`, `${NAME+other}`, `$$` for a dollar. A colon counts an empty value as missing.
 * @param missing told of each variable that has neither a value nor a default
 * @throws Error when the text is not of this form, or a variable that must be there is not
 */
export function interpolate(text: string, variables: Variables, missing: (name: string) => void = () => {}): string {
  let result = "";
  let at = 0;
  for (;;) {
    const dollar = text.indexOf("$", at);
    if (dollar < 0) return result + text.slice(at);
    result += text.slice(at, dollar);
    const rest = text.slice(dollar + 1);
    if (rest.startsWith("$")) {
      result += "$";
      at = dollar + 2;
    } else if (rest.startsWith("{")) {
      const end = closing(text, dollar + 2);
      result += expand(text.slice(dollar + 2, end), variables, missing);
      at = end + 1;
    } else {
      const name = NAME.exec(rest)?.[0];
      if (name === undefined) throw new Error(`a "$" without a name in "${text}": write $$ for a dollar`);
      result += valueOf(name, variables, missing);
      at = dollar + 1 + name.length;
    }
  }
}

function valueOf(name: string, variables: Variables, missing: (name: string) => void): string {
  const value = variables.get(name);
  if (value === undefined) missing(name);
  return value ?? "";
}

function closing(text: string, from: number): number {
  let depth = 1;
  for (let at = from; at < text.length; at++) {
    if (text.startsWith("${", at)) {
      depth++;
      at++;
    } else if (text[at] === "}" && --depth === 0) return at;
  }
  throw new Error(`"\${" without its "}" in "${text}"`);
}

function expand(inside: string, variables: Variables, missing: (name: string) => void): string {
  const name = NAME.exec(inside)?.[0];
  const [, colon, operator, word] = /^(:?)([-?+])(.*)$/su.exec(inside.slice(name?.length ?? 0)) ?? [];
  if (name === undefined || (operator === undefined && inside !== name))
    throw new Error(`"\${${inside}}" is not \${NAME}, \${NAME:-default}, \${NAME:?message} or \${NAME:+other}`);
  if (operator === undefined) return valueOf(name, variables, missing);
  const value = variables.get(name);
  const present = value !== undefined && (colon === "" || value !== "");
  if (operator === "+") return present ? interpolate(word!, variables, missing) : "";
  if (present) return value;
  if (operator === "-") return interpolate(word!, variables, missing);
  const message = interpolate(word!, variables, missing);
  throw new Error(`the variable ${name} is not set${message === "" ? "" : `: ${message}`}`);
}

/** Interpolates all texts of a tree; keys stay as they are. */
export function interpolateTree(tree: Tree, variables: Variables, problems: Problems, missing: (name: string) => void): Tree {
  return mapScalars(tree, (one) => {
    if (typeof one.value !== "string" || !one.value.includes("$")) return one;
    try {
      return scalar(one.place, interpolate(one.value, variables, missing));
    } catch (error) {
      problems.add(one.place, (error as Error).message);
      return one;
    }
  });
}

/**
 * Parses a file of variables: `NAME=value` lines, `#` comments, quotes, `export`; later lines may use earlier ones, except in single
 * quotes. A name without `=` takes the value that `outer` has, if any.
 * @throws Error that names the line
 */
export function parseVariables(text: string, outer: Variables): Map<string, string> {
  const found = new Map<string, string>();
  const all = new Map(outer);
  const set = (name: string, value: string): void => {
    found.set(name, value);
    // What the command's own environment has goes first in what follows.
    if (!outer.has(name)) all.set(name, value);
  };
  const lines = text.replace(/^\uFEFF/u, "").split(/\r?\n/u);
  for (let index = 0; index < lines.length; index++) {
    const first = index + 1;
    const line = lines[index]!.trim().replace(/^export\s+/u, "");
    if (line === "" || line.startsWith("#")) continue;
    const [, name, equals, rest = ""] = /^([a-zA-Z_][a-zA-Z0-9_.-]*)\s*(=?)\s*(.*)$/su.exec(line) ?? [];
    if (name === undefined || (equals === "" && rest !== "")) throw new Error(`line ${first}: write NAME=value`);
    if (equals === "") {
      const value = outer.get(name);
      if (value !== undefined) set(name, value);
      continue;
    }
    const quote = rest[0];
    if (quote !== '"' && quote !== "'") {
      set(name, interpolate(rest.replace(/(^|\s)#.*$/u, "").trim(), all));
      continue;
    }
    // A quoted value may go on over lines.
    let value = rest.slice(1);
    let end: number;
    while ((end = endOfQuote(value, quote)) < 0) {
      if (++index >= lines.length) throw new Error(`line ${first}: the quote of ${name} does not end`);
      value += `\n${lines[index]!}`;
    }
    const after = value.slice(end + 1).trim();
    if (after !== "" && !after.startsWith("#")) throw new Error(`line ${first}: "${after}" behind the quote of ${name}`);
    value = value.slice(0, end);
    set(name, quote === "'" ? value : unescape(interpolate(value.replaceAll("\\$", "$$$$"), all)));
  }
  return found;
}

function endOfQuote(text: string, quote: string): number {
  for (let at = 0; at < text.length; at++) {
    if (text[at] === "\\" && quote === '"') at++;
    else if (text[at] === quote) return at;
  }
  return -1;
}

const ESCAPES: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t", '"': '"', "\\": "\\", $: "$" };

function unescape(text: string): string {
  return text.replaceAll(/\\(.)/gsu, (all, letter: string) => ESCAPES[letter] ?? all);
}
