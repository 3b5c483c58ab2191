/** One service of a deployment file. */
import { parseCpus, parseMemory, parseRestart, parseSignal } from "../commands/parse.ts";
import type { HealthCheck, RestartPolicy } from "../host/protocol.ts";
import type { Dependency, NamedVolume, Service } from "./deployment.ts";
import { child, entriesOf, flagOf, itemsOf, placeOf, textOf, writtenOf } from "./document.ts";
import type { Tree } from "./document.ts";
import { labelsOf, readEnvironment } from "./environment.ts";
import type { Variables } from "./interpolate.ts";
import { readPorts, readVolumes } from "./mounts.ts";
import { readNetwork } from "./networks.ts";
import type { ProjectNetwork } from "./networks.ts";
import type { Place, Problems } from "./problems.ts";
import { durationMs, splitWords } from "./values.ts";

const DEFAULT_MEMORY = 256 * 1024 ** 2;
/** Most cVMs of one service. */
const MOST_REPLICAS = 256;
/** Labels that are the command's own. */
const OWN_LABEL = /^cvm\./u;

export interface ServiceContext {
  readonly project: string;
  readonly variables: Variables;
  readonly networks: ReadonlyMap<string, ProjectNetwork>;
  readonly volumes: ReadonlyMap<string, NamedVolume>;
  readonly problems: Problems;
  readonly notes: string[];
}

/** Does something with a value; what it throws is a problem of its place. */
function attempt<T>(problems: Problems, place: Place, action: () => T): T | undefined {
  try {
    return action();
  } catch (error) {
    problems.add(place, (error as Error).message);
    return undefined;
  }
}

/** Words of a command: of a list, or of a line that is split as a shell does. */
function wordsOf(tree: Tree | undefined, problems: Problems): readonly string[] | undefined {
  if (tree === undefined) return undefined;
  if (tree.kind === "list") return tree.items.map((item) => writtenOf(item) ?? "");
  return attempt(problems, tree.place, () => splitWords(textOf(tree) ?? ""));
}

function readHealth(service: Tree, problems: Problems): HealthCheck | undefined {
  const tree = child(service, "healthcheck");
  if (tree === undefined || flagOf(child(tree, "disable")) === true) return undefined;
  const test = child(tree, "test");
  const wrong = (message: string): undefined => problems.add(placeOf(service, ["healthcheck", "test"]), message) as undefined;
  if (test === undefined) return wrong("a healthcheck needs a test");
  const words = test.kind === "list" ? test.items.map((item) => textOf(item) ?? "") : ["CMD-SHELL", textOf(test) ?? ""];
  const [kind, ...rest] = words;
  if (kind === "NONE") return rest.length === 0 ? undefined : wrong("NONE stands alone");
  if (kind !== "CMD" && kind !== "CMD-SHELL") return wrong(`a test begins with CMD, CMD-SHELL or NONE, not "${kind ?? ""}"`);
  if (rest.length === 0 || rest[0] === "" || (kind === "CMD-SHELL" && rest.length !== 1))
    return wrong(kind === "CMD" ? "CMD needs the words of a command behind it" : "CMD-SHELL needs one line for the shell behind it");
  const time = (key: string, unless: number): number => {
    const text = textOf(child(tree, key));
    return text === undefined ? unless : durationMs(text);
  };
  const check: HealthCheck = {
    argv: kind === "CMD" ? rest : ["/bin/sh", "-c", rest[0]!],
    intervalMs: time("interval", 30_000),
    timeoutMs: time("timeout", 30_000),
    retries: Number(textOf(child(tree, "retries")) ?? 3),
    startPeriodMs: time("start_period", 0),
    startIntervalMs: time("start_interval", 5000),
  };
  for (const key of ["interval", "timeout", "start_interval"] as const)
    if (child(tree, key) !== undefined && time(key, 1) < 1)
      problems.add(placeOf(service, ["healthcheck", key]), `"${key}" must be 1ms at least`);
  if (check.retries < 1) problems.add(placeOf(service, ["healthcheck", "retries"]), '"retries" must be 1 at least');
  return check;
}

function readDependencies(service: Tree): Dependency[] {
  const tree = child(service, "depends_on");
  if (tree?.kind !== "map")
    return itemsOf(tree).map((item) => ({ service: textOf(item) ?? "", condition: "service_started", restart: false, required: true }));
  return entriesOf(tree).map(([name, { tree: one }]) => ({
    service: name,
    condition: (textOf(child(one, "condition")) ?? "service_started") as Dependency["condition"],
    restart: flagOf(child(one, "restart")) === true,
    required: flagOf(child(one, "required")) !== false,
  }));
}

function readRestart(service: Tree, problems: Problems): RestartPolicy | undefined {
  const policy = child(child(service, "deploy"), "restart_policy");
  const short = textOf(child(service, "restart"));
  // As docker compose has it: that of deploy goes first.
  if (policy === undefined) return short === undefined ? undefined : parseRestart(short);
  const condition = textOf(child(policy, "condition")) ?? "any";
  const most = Number(textOf(child(policy, "max_attempts")) ?? 0);
  if (condition === "on-failure") return { name: "on-failure", most };
  if (most > 0) problems.add(placeOf(service, ["deploy", "restart_policy", "max_attempts"]), "max_attempts needs condition: on-failure");
  return { name: condition === "none" ? "no" : "always", most: 0 };
}

/** One number that two keys may give. */
function either(
  service: Tree,
  first: readonly string[],
  second: readonly string[],
  problems: Problems,
): { text: string; place: Place } | undefined {
  const find = (path: readonly string[]): { text: string; place: Place } | undefined => {
    let at: Tree | undefined = service;
    for (const key of path) at = child(at, key);
    const text = textOf(at);
    return text === undefined ? undefined : { text, place: placeOf(service, path) };
  };
  const [a, b] = [find(first), find(second)];
  if (a !== undefined && b !== undefined && Number(a.text) !== Number(b.text) && a.text !== b.text)
    problems.add(b.place, `${second.join(".")} is ${b.text}, and ${first.join(".")} is ${a.text}: give one`);
  return a ?? b;
}

/** @param tree of the service, checked against the schema */
export function readService(name: string, tree: Tree, place: Place, context: ServiceContext): Service {
  const { problems, notes } = context;
  const image = textOf(child(tree, "image"));
  if (image === undefined || image === "") problems.add(place, `the service "${name}" has no image`);

  const count = either(tree, ["deploy", "replicas"], ["scale"], problems);
  let replicas = Number(count?.text ?? 1);
  if (textOf(child(child(tree, "deploy"), "mode")) === "global") {
    if (count !== undefined) problems.add(count.place, "mode: global means one on this host: leave out the number");
    replicas = 1;
  }
  if (replicas > MOST_REPLICAS) problems.add(count!.place, `at most ${MOST_REPLICAS} cVMs of one service`);
  const cvmName = textOf(child(tree, "container_name"));
  if (cvmName !== undefined && replicas > 1)
    problems.add(placeOf(tree, ["container_name"]), "several cVMs cannot have one name: leave out container_name");
  if (cvmName === undefined && `${context.project}-${name}-${replicas}`.length > 63)
    problems.add(place, `"${context.project}-${name}-${replicas}" is longer than the 63 characters that a cVM's name may have`);

  const memory = either(tree, ["deploy", "resources", "limits", "memory"], ["mem_limit"], problems);
  const cpus = either(tree, ["deploy", "resources", "limits", "cpus"], ["cpus"], problems);
  const ports = readPorts(tree, problems);
  const fixed = ports.find((port) => port.hostPort !== 0);
  if (fixed !== undefined && replicas > 1)
    problems.add(
      placeOf(tree, ["ports"]),
      `${replicas} cVMs cannot publish the one port ${fixed.hostPort}: give the cVM's port alone, for any free one`,
    );
  const network = readNetwork(tree, name, context.networks, problems);
  if (network.mode === "none" && ports.length > 0)
    problems.add(placeOf(tree, ["ports"]), "a service without a network has no ports to publish");
  if (child(child(tree, "deploy"), "placement") !== undefined)
    notes.push(`service "${name}": deploy.placement has no effect: there is one host`);
  const cwd = textOf(child(tree, "working_dir"));
  if (cwd !== undefined && !cwd.startsWith("/"))
    problems.add(placeOf(tree, ["working_dir"]), "the working directory must be an absolute path in the cVM");
  const stopSignal = textOf(child(tree, "stop_signal"));
  const grace = textOf(child(tree, "stop_grace_period"));
  const labels = { ...labelsOf(child(child(tree, "deploy"), "labels")), ...labelsOf(child(tree, "labels")) };
  for (const label of Object.keys(labels))
    if (OWN_LABEL.test(label))
      problems.add(placeOf(tree, ["labels"]), `labels that begin with "cvm." are the command's own: rename "${label}"`);

  return {
    name,
    place,
    image: image ?? "",
    command: wordsOf(child(tree, "command"), problems),
    entrypoint: wordsOf(child(tree, "entrypoint"), problems),
    env: readEnvironment(tree, context.variables, problems),
    cwd,
    user: textOf(child(tree, "user")),
    hostname: textOf(child(tree, "hostname")),
    cvmName,
    ports,
    volumes: readVolumes(tree, context.volumes, problems),
    network,
    dependsOn: readDependencies(tree),
    health: readHealth(tree, problems),
    restart: readRestart(tree, problems),
    replicas,
    memoryBytes:
      (memory === undefined ? undefined : attempt(problems, memory.place, () => parseMemory(memory.text.replaceAll(" ", "")))) ??
      DEFAULT_MEMORY,
    cpus: (cpus === undefined ? undefined : attempt(problems, cpus.place, () => parseCpus(cpus.text))) ?? 0,
    stopSignal: stopSignal === undefined ? undefined : attempt(problems, placeOf(tree, ["stop_signal"]), () => parseSignal(stopSignal)),
    stopSeconds: grace === undefined ? undefined : durationMs(grace) / 1000,
    init: flagOf(child(tree, "init")) === true,
    tty: flagOf(child(tree, "tty")) === true,
    stdin: flagOf(child(tree, "stdin_open")) === true,
    attach: flagOf(child(tree, "attach")) !== false,
    labels,
    profiles: itemsOf(child(tree, "profiles")).flatMap((item) => textOf(item) ?? []),
  };
}
