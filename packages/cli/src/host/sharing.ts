/**
 * What the cVMs of projects share by name, as they were asked for: kept in the home, so that a new host has the objects again (files with what they hold at first), and tied to the
 * cVMs that own them.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CliError, messageOf } from "../errors.ts";
import { cvmHome } from "../home.ts";
import type { SharedDefinition } from "./protocol.ts";
import { requestSchemas } from "./protocol.ts";
import type { RuntimeObjects } from "./runtime.ts";

interface Kept {
  readonly definition: SharedDefinition;
  /** It is there: not while its owner is not. */
  there: boolean;
}

const keyOf = ({ kind, name }: SharedDefinition): string => `${kind} ${name}`;
/** What makes another object of it, beside its grants. */
const essenceOf = ({ kind, name, owner, size, content }: SharedDefinition): string =>
  JSON.stringify([kind, name, owner, size, content === undefined ? null : Buffer.from(content).toString("base64")]);

export class HostSharing {
  readonly #objects: RuntimeObjects | undefined;
  readonly #projects: Map<string, Map<string, Kept>> = new Map();

  constructor(objects: RuntimeObjects | undefined, report: (text: string) => void) {
    this.#objects = objects;
    if (objects === undefined) return;
    for (const [project, definitions] of stored(report)) {
      try {
        this.#replace(project, definitions, new Set());
      } catch (error) {
        report(`what the project "${project}" shares could not be made: ${messageOf(error)}`);
      }
    }
  }

  /**
   * Replaces what a project's cVMs share. What stays as it was is kept, with what it holds. `running`: names of cVMs that run.
   * @throws CliError `invalid`, `failed`; then nothing was changed but what had to go
   */
  share(project: string, definitions: readonly SharedDefinition[], running: ReadonlySet<string>): void {
    if (this.#objects === undefined) throw new CliError("unavailable", "this host has no objects to share");
    const names = new Set(definitions.map(keyOf));
    if (names.size < definitions.length) throw new CliError("invalid", "two objects of one kind have the same name");
    this.#replace(project, definitions, running);
    save(project, definitions);
  }

  #replace(project: string, definitions: readonly SharedDefinition[], running: ReadonlySet<string>): void {
    const objects = this.#objects!;
    const before = this.#projects.get(project) ?? new Map<string, Kept>();
    const after = new Map<string, Kept>();
    const wanted = new Map(definitions.map((definition) => [keyOf(definition), definition]));
    for (const [key, kept] of before) {
      const next = wanted.get(key);
      if (next !== undefined && essenceOf(next) === essenceOf(kept.definition)) {
        after.set(key, { definition: next, there: kept.there });
        if (kept.there) objects.grant(project, next);
      } else if (kept.there) objects.revoke(project, kept.definition);
    }
    this.#projects.set(project, after);
    for (const [key, definition] of wanted) {
      if (after.has(key)) continue;
      const kept: Kept = { definition, there: false };
      after.set(key, kept);
      if (definition.owner === undefined || running.has(definition.owner)) this.#make(project, kept);
    }
    if (after.size === 0) this.#projects.delete(project);
  }

  #make(project: string, kept: Kept): void {
    try {
      this.#objects!.declare(project, kept.definition);
      kept.there = true;
    } catch (error) {
      throw new CliError("failed", `the ${keyOf(kept.definition)} cannot be made: ${messageOf(error)}`, { cause: error });
    }
  }

  /** A cVM is about to start: what it owns comes with it. */
  starting(cvm: string): void {
    for (const [project, objects] of this.#projects)
      for (const kept of objects.values()) if (kept.definition.owner === cvm && !kept.there) this.#make(project, kept);
  }

  /** A cVM ended: what it owned goes with it. */
  ended(cvm: string): void {
    for (const [project, objects] of this.#projects) {
      for (const kept of objects.values()) {
        if (kept.definition.owner !== cvm || !kept.there) continue;
        kept.there = false;
        this.#objects!.revoke(project, kept.definition);
      }
    }
  }
}

const folder = (): string => join(cvmHome(), "objects");

function save(project: string, definitions: readonly SharedDefinition[]): void {
  const file = join(folder(), `${project}.json`);
  if (definitions.length === 0) {
    rmSync(file, { force: true });
    return;
  }
  mkdirSync(folder(), { recursive: true, mode: 0o700 });
  const data = definitions.map(({ content, ...rest }) => ({
    ...rest,
    ...(content === undefined ? {} : { content: Buffer.from(content).toString("base64") }),
  }));
  writeFileSync(`${file}.new`, JSON.stringify(data), { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

/** What was kept. A file that is damaged is reported, and left as it is. */
function stored(report: (text: string) => void): [project: string, definitions: readonly SharedDefinition[]][] {
  if (!existsSync(folder())) return [];
  return readdirSync(folder()).flatMap((name) => {
    if (!name.endsWith(".json")) return [];
    const project = name.slice(0, -".json".length);
    try {
      const data = JSON.parse(readFileSync(join(folder(), name), "utf8")) as (Omit<SharedDefinition, "content"> & { content?: string })[];
      const objects = data.map(({ content, ...rest }) => ({
        ...rest,
        ...(content === undefined ? {} : { content: new Uint8Array(Buffer.from(content, "base64")) }),
      }));
      return [[project, requestSchemas.share.parse({ project, objects }).objects]];
    } catch (error) {
      report(`${join(folder(), name)}: what the project "${project}" shares cannot be read: ${messageOf(error)}`);
      return [];
    }
  });
}
