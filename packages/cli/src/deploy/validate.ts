/** Checks a file's tree against the schema and says what is wrong where. */
import type { z } from "zod";
import { placeOf, plain } from "./document.ts";
import type { Tree } from "./document.ts";
import { distance, suggestion } from "./problems.ts";
import type { Problems } from "./problems.ts";
import { whyRefused } from "./refused.ts";
import { deploymentSchema, jsonSchema } from "./schema.ts";
import type { JsonSchema } from "./schema.ts";

type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];

/** Adds what is wrong with a tree to `problems`. */
export function validate(tree: Tree, problems: Problems): void {
  const checked = deploymentSchema.safeParse(plain(tree));
  if (checked.success) return;
  const schema = jsonSchema();
  for (const issue of checked.error.issues) report(tree, schema, issue, issue.path, problems);
}

function report(tree: Tree, schema: JsonSchema, issue: Issue, path: Path, problems: Problems): void {
  if (issue.code === "unrecognized_keys") {
    for (const key of issue.keys) reportKey(tree, schema, path, key, problems);
    return;
  }
  if (issue.code === "invalid_union") {
    // The alternative that the author chose is the one of which more was right.
    const deepest = issue.errors
      .map((errors) => ({ errors, depth: Math.max(...errors.map((one) => one.path.length + (one.code === "unrecognized_keys" ? 1 : 0))) }))
      .reduce((best, one) => (one.depth > best.depth ? one : best), { errors: [] as readonly Issue[], depth: 0 });
    if (deepest.depth > 0) {
      for (const one of deepest.errors) report(tree, schema, one, [...path, ...one.path], problems);
      return;
    }
  }
  const name = String(path.at(-1) ?? "the file");
  if (issue.code === "invalid_key") {
    problems.add(placeOf(tree, path), `"${name}": ${issue.issues[0]?.message ?? issue.message}`);
    return;
  }
  const value = valueAt(plain(tree), path);
  if (value === undefined) problems.add(placeOf(tree, path.slice(0, -1)), `"${name}" is missing here`);
  else
    problems.add(
      placeOf(tree, path),
      `${typeof path.at(-1) === "number" ? "this" : `"${name}"`} is ${inWords(value)}: ${lower(issue.message)}`,
    );
}

function reportKey(tree: Tree, schema: JsonSchema, path: Path, key: string, problems: Problems): void {
  const place = placeOf(tree, [...path, key]);
  const known = keysAt(schema, path);
  if (key.startsWith("x-") && !path.includes("x-cvm") && !(known.includes("x-cvm") && distance(key, "x-cvm") === 1)) return;
  const reason = whyRefused(path, key);
  problems.add(place, reason === undefined ? `unknown key "${key}"${suggestion(key, known)}` : `"${key}" is not supported: ${reason}`);
}

function lower(message: string): string {
  const text = message.replace(/^Invalid input: /u, "");
  return text.slice(0, 1).toLowerCase() + text.slice(1);
}

function inWords(value: unknown): string {
  if (value === null) return "empty";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a mapping";
  const shown = JSON.stringify(value);
  return shown.length > 60 ? `${shown.slice(0, 57)}..."` : shown;
}

function valueAt(value: unknown, path: Path): unknown {
  for (const step of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, step)) return undefined;
    value = (value as Record<PropertyKey, unknown>)[step];
  }
  return value;
}

/** The keys that a mapping at a path may have. */
function keysAt(schema: JsonSchema, path: Path): string[] {
  let at: JsonSchema[] = alternatives(schema);
  for (const step of path) {
    at = at.flatMap((one) => {
      const properties = one["properties"] as JsonSchema | undefined;
      const next = properties?.[String(step)] ?? (typeof step === "number" ? one["items"] : one["additionalProperties"]);
      return typeof next === "object" && next !== null ? alternatives(next as JsonSchema) : [];
    });
  }
  return at.flatMap((one) => Object.keys((one["properties"] as JsonSchema | undefined) ?? {}));
}

function alternatives(schema: JsonSchema): JsonSchema[] {
  const choices = schema["anyOf"];
  return Array.isArray(choices) ? (choices as JsonSchema[]).flatMap(alternatives) : [schema];
}
