/** From files to a deployment: parse, interpolate, extend, merge, check. */
import { existsSync, readFileSync, realpathSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { CliError } from "../errors.ts";
import type { Deployment, NamedVolume, Service } from "./deployment.ts";
import { child, entriesOf, flagOf, mapping, placeOf, readDocument, textOf } from "./document.ts";
import type { Mapping, Tree } from "./document.ts";
import { interpolateTree, parseVariables } from "./interpolate.ts";
import type { Variables } from "./interpolate.ts";
import { mergeFiles, mergeServices } from "./merge.ts";
import { readNetworks } from "./networks.ts";
import { NoFileError, Problems, suggestion } from "./problems.ts";
import { readService } from "./services.ts";
import { readSharing } from "./sharing.ts";
import { validate } from "./validate.ts";

/** Looked for in the working folder, in this order. */
export const FILE_NAMES: readonly string[] = ["cvm.yaml", "cvm.yml"];
const PROJECT_NAME = /^[a-z0-9][a-z0-9_-]*$/u;

export interface LoadOptions {
  /** Later ones go over earlier ones; the file of the working folder when empty. `-` is standard input. */
  readonly files: readonly string[];
  readonly project?: string | undefined;
  /** Instead of `.env` beside the first file. */
  readonly envFile?: string | undefined;
  readonly profiles: readonly string[];
  /** Services that count as chosen whatever their profiles. */
  readonly chosen?: readonly string[];
}

/** The deployment file of a folder, if it has one. */
export function fileOf(folder: string = process.cwd()): string | undefined {
  return FILE_NAMES.map((name) => join(folder, name)).find((path) => existsSync(path));
}

/** Variables for a project: this command's own over those of its `.env`. */
function variablesOf(folder: string, envFile: string | undefined): Variables {
  const own = new Map(Object.entries(process.env).filter((pair): pair is [string, string] => pair[1] !== undefined));
  const file = envFile === undefined ? join(folder, ".env") : resolve(envFile);
  if (envFile === undefined && !existsSync(file)) return own;
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new NoFileError(`the file of variables "${file}" cannot be read`, { cause: error });
  }
  try {
    return new Map([...parseVariables(text, own), ...own]);
  } catch (error) {
    throw new CliError("invalid", `${file}: ${(error as Error).message}`, { cause: error });
  }
}

interface Loading {
  readonly variables: Variables;
  readonly problems: Problems;
  readonly missing: (name: string) => void;
}

function loadFile(file: string, base: string, loading: Loading): Tree {
  return interpolateTree(readDocument(file, base), loading.variables, loading.problems, loading.missing);
}

/** A file whose services have what they extend. */
function extended(top: Tree, file: string, loading: Loading): Tree {
  const services = child(top, "services");
  if (top.kind !== "map" || services?.kind !== "map") return top;
  const done = [...services.entries].map(([name, entry]) => {
    return [name, { place: entry.place, tree: extendService(entry.tree, services, name, file, loading, []) }] as const;
  });
  const place = top.entries.get("services")!.place;
  return mapping(top.place, [...top.entries, ["services", { place, tree: mapping(services.place, done) }]]);
}

function extendService(tree: Tree, services: Mapping, name: string, file: string, loading: Loading, way: readonly string[]): Tree {
  const wanted = child(tree, "extends");
  if (wanted === undefined || tree.kind !== "map") return tree;
  const place = placeOf(tree, ["extends"]);
  const key = `${file} ${name}`;
  if (way.includes(key)) {
    loading.problems.add(place, `"${name}" extends itself`);
    return tree;
  }
  const other = textOf(wanted) ?? textOf(child(wanted, "service")) ?? "";
  const otherFile = textOf(child(wanted, "file"));
  let from: Mapping | undefined = services;
  let path = file;
  if (otherFile !== undefined) {
    path = resolve(place.base, otherFile);
    if (!existsSync(path)) {
      loading.problems.add(placeOf(tree, ["extends", "file"]), `the file "${path}" does not exist`);
      return tree;
    }
    const found = child(loadFile(path, dirname(path), loading), "services");
    from = found?.kind === "map" ? found : undefined;
  }
  const below = from?.entries.get(other)?.tree;
  if (below === undefined || from === undefined) {
    loading.problems.add(place, `there is no service "${other}" to extend${suggestion(other, from?.entries.keys() ?? [])}`);
    return tree;
  }
  const base = extendService(below, from, other, path, loading, [...way, key]);
  const own = mapping(
    tree.place,
    [...tree.entries].filter(([one]) => one !== "extends"),
  );
  return mergeServices(base, own);
}

/** Makes a project's name of a folder's. */
export function projectNameOf(folder: string): string {
  const name = basename(folder)
    .toLowerCase()
    .replaceAll(/[^a-z0-9_-]/gu, "")
    .replace(/^[_-]+/u, "");
  if (name === "")
    throw new CliError("usage", `no project name can be made of the folder "${folder}": give one with -p, or as name: in the file`);
  return name;
}

function activeProfiles(options: LoadOptions, variables: Variables): ReadonlySet<string> {
  const more = (variables.get("COMPOSE_PROFILES") ?? "").split(",").map((one) => one.trim());
  return new Set([...options.profiles, ...(options.profiles.length > 0 ? [] : more)].filter((one) => one !== ""));
}

/**
 * The name of a project, found without checking its file.
 * @throws NoFileError, DeploymentError when the file cannot be read or is not YAML
 */
export function projectOf(options: Pick<LoadOptions, "files" | "project" | "envFile">): string {
  if (options.project !== undefined) return options.project;
  const files = filesOf(options);
  const folder = folderOf(files);
  const variables = variablesOf(folder, options.envFile);
  const loading: Loading = { variables, problems: new Problems(), missing: () => {} };
  const given = files.flatMap((file) => textOf(child(loadFile(file, folder, loading), "name")) ?? []);
  return (variables.get("COMPOSE_PROJECT_NAME") || undefined) ?? given.at(-1) ?? projectNameOf(folder);
}

function filesOf(options: Pick<LoadOptions, "files">): string[] {
  const found = options.files.length > 0 ? options.files : [fileOf() ?? ""];
  if (found[0] === "") throw new NoFileError(`there is no ${FILE_NAMES.join(" or ")} in ${process.cwd()}: name a file with -f`);
  return found.map((file) => (file === "-" ? file : resolve(file)));
}

function folderOf(files: readonly string[]): string {
  return realpathSync(files[0] === "-" || !existsSync(dirname(files[0]!)) ? process.cwd() : dirname(files[0]!));
}

/**
 * Loads a deployment.
 * @throws NoFileError when there is no file; DeploymentError with everything that is wrong in it
 */
export function loadDeployment(options: LoadOptions): Deployment {
  const files = filesOf(options);
  const folder = folderOf(files);
  const variables = new Map(variablesOf(folder, options.envFile));
  const problems = new Problems();
  const unset = new Set<string>();
  const outerName = options.project ?? (variables.get("COMPOSE_PROJECT_NAME") || undefined);
  if (outerName !== undefined) variables.set("COMPOSE_PROJECT_NAME", outerName);
  const loading: Loading = { variables, problems, missing: (name) => unset.add(name) };

  const top = files.map((file) => extended(loadFile(file, folder, loading), file, loading)).reduce(mergeFiles);
  validate(top, problems);
  // What follows relies on the form.
  problems.check();

  const name = outerName ?? textOf(child(top, "name")) ?? projectNameOf(folder);
  if (!PROJECT_NAME.test(name))
    throw new CliError("usage", `"${name}" is not a project's name: small letters, digits, "-" and "_", a letter or digit first`);
  const notes = [...unset].map((one) => `the variable ${one} is not set: it is empty`);
  if (child(top, "version") !== undefined) notes.push("version has no effect");

  const volumes = new Map<string, NamedVolume>();
  for (const [key, { tree }] of entriesOf(child(top, "volumes"))) {
    const external = flagOf(child(tree, "external")) === true;
    volumes.set(key, { key, name: textOf(child(tree, "name")) ?? (external ? key : `${name}_${key}`), external });
  }
  const networks = readNetworks(top, name, problems);
  const services = new Map<string, Service>();
  const inactive = new Map<string, Service>();
  const profiles = activeProfiles(options, variables);
  const trees = new Map<string, Tree>();
  for (const [key, { tree, place }] of entriesOf(child(top, "services"))) {
    const service = readService(key, tree, place, { project: name, variables, networks, volumes, problems, notes });
    trees.set(key, tree);
    const active =
      service.profiles.length === 0 ||
      profiles.has("*") ||
      service.profiles.some((one) => profiles.has(one)) ||
      options.chosen?.includes(key) === true;
    (active ? services : inactive).set(key, service);
  }
  const all = new Map([...services, ...inactive]);
  if (all.size === 0) problems.add(placeOf(top, ["services"]), "there are no services");
  checkDependencies(trees, services, all, problems);
  checkPorts(trees, services, problems);
  const parties = new Map([...all].map(([key, { replicas }]) => [key, { replicas, tree: trees.get(key)! }]));
  const sharing = readSharing(top, parties, problems);
  problems.check();
  return { name, files, services, inactive, networks, volumes: [...volumes.values()], sharing, notes };
}

function checkDependencies(
  trees: ReadonlyMap<string, Tree>,
  services: ReadonlyMap<string, Service>,
  all: ReadonlyMap<string, Service>,
  problems: Problems,
): void {
  for (const service of all.values()) {
    service.dependsOn.forEach((dependency, index) => {
      const tree = trees.get(service.name)!;
      const listed = child(tree, "depends_on")?.kind === "list";
      const place = placeOf(tree, ["depends_on", listed ? index : dependency.service]);
      const other = all.get(dependency.service);
      if (other === undefined)
        problems.add(place, `there is no service "${dependency.service}"${suggestion(dependency.service, all.keys())}`);
      else if (services.has(service.name) && !services.has(other.name) && dependency.required)
        problems.add(place, `"${other.name}" is not active: choose a profile of it (${other.profiles.join(", ")}), or say required: false`);
      else if (dependency.condition === "service_healthy" && other.health === undefined)
        problems.add(place, `"${other.name}" has no healthcheck, so it never becomes healthy`);
      else if (
        dependency.condition === "service_completed_successfully" &&
        ["always", "unless-stopped"].includes(other.restart?.name ?? "no")
      )
        problems.add(place, `"${other.name}" starts again whenever it ends (restart: ${other.restart!.name}), so it never completes`);
    });
  }
  for (const service of all.values()) {
    const circle = circleFrom(service.name, all);
    if (circle !== undefined)
      problems.add(placeOf(trees.get(service.name)!, ["depends_on"]), `depends_on goes round in a circle: ${circle.join(" -> ")}`);
  }
}

/** The way from a service back to itself. */
function circleFrom(name: string, all: ReadonlyMap<string, Service>): string[] | undefined {
  const seen = new Set<string>();
  const walk = (at: string, way: readonly string[]): string[] | undefined => {
    for (const { service } of all.get(at)?.dependsOn ?? []) {
      if (service === name) return [...way, name];
      if (seen.has(service)) continue;
      seen.add(service);
      const found = walk(service, [...way, service]);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  return walk(name, [name]);
}

function checkPorts(trees: ReadonlyMap<string, Tree>, services: ReadonlyMap<string, Service>, problems: Problems): void {
  const taken = new Map<string, string>();
  for (const { name, ports } of services.values()) {
    for (const { hostAddress, hostPort, protocol = "tcp" } of ports) {
      if (hostPort === 0) continue;
      const key = `${hostAddress} ${hostPort}/${protocol}`;
      const before = taken.get(key);
      if (before !== undefined)
        problems.add(placeOf(trees.get(name)!, ["ports"]), `port ${hostPort}/${protocol} is published by "${before}" already`);
      taken.set(key, name);
    }
  }
}
