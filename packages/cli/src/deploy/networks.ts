/** Networks of a project: who reaches whom, and by which names. */
import { parseDns, parseHost } from "../commands/parse.ts";
import { DEFAULT_NETWORK_NAME } from "../host/protocol.ts";
import type { NetworkConfig, NetworkGroup } from "../host/protocol.ts";
import { child, entriesOf, flagOf, itemsOf, placeOf, textOf } from "./document.ts";
import type { Tree } from "./document.ts";
import { pairsOf } from "./environment.ts";
import { suggestion } from "./problems.ts";
import type { Problems } from "./problems.ts";

/** A network by the key that services use. */
export interface ProjectNetwork {
  /** How the host knows it. */
  readonly name: string;
  readonly internal: boolean;
}

const DEFAULT = "default";

/** The networks of a project, the default one included. */
export function readNetworks(top: Tree, project: string, problems: Problems): Map<string, ProjectNetwork> {
  const networks = new Map<string, ProjectNetwork>([[DEFAULT, { name: `${project}_${DEFAULT}`, internal: false }]]);
  for (const [key, { tree, place }] of entriesOf(child(top, "networks"))) {
    const external = flagOf(child(tree, "external")) === true;
    const name = textOf(child(tree, "name")) ?? (external ? key : `${project}_${key}`);
    const internal = flagOf(child(tree, "internal")) === true;
    if (external && internal) problems.add(place, `"${key}" is external: whether it is internal is not this project's to say`);
    networks.set(key, { name, internal });
  }
  return networks;
}

function groupsOf(
  service: Tree,
  name: string,
  networks: ReadonlyMap<string, ProjectNetwork>,
  problems: Problems,
): [ProjectNetwork, NetworkGroup][] {
  const wanted = child(service, "networks");
  const keys: [string, Tree | undefined][] =
    wanted === undefined
      ? [[DEFAULT, undefined]]
      : wanted.kind === "map"
        ? entriesOf(wanted).map(([key, { tree }]) => [key, tree])
        : itemsOf(wanted).map((item) => [textOf(item) ?? "", undefined]);
  return keys.flatMap(([key, tree], index): [ProjectNetwork, NetworkGroup][] => {
    const network = networks.get(key);
    if (network !== undefined) {
      const aliases = itemsOf(child(tree, "aliases")).flatMap((item) => textOf(item) ?? []);
      return [[network, { name: network.name, aliases: [...new Set([name, ...aliases])] }]];
    }
    const place = placeOf(service, ["networks", wanted?.kind === "map" ? key : index]);
    problems.add(place, `the network "${key}" is not declared under networks at the top${suggestion(key, networks.keys())}`);
    return [];
  });
}

/** What one service reaches. */
export function readNetwork(service: Tree, name: string, networks: ReadonlyMap<string, ProjectNetwork>, problems: Problems): NetworkConfig {
  const mode = textOf(child(service, "network_mode"));
  if (mode !== undefined && child(service, "networks") !== undefined)
    problems.add(placeOf(service, ["network_mode"]), "network_mode and networks exclude each other");
  const groups = mode === undefined ? groupsOf(service, name, networks, problems) : [];
  let hosts: NetworkConfig["hosts"] = [];
  for (const { name: host, value, place } of pairsOf(child(service, "extra_hosts"), /[:=]/u)) {
    try {
      hosts = parseHost(`${host}=${value ?? ""}`, hosts);
    } catch (error) {
      problems.add(place, (error as Error).message);
    }
  }
  let dns: readonly string[] = [];
  for (const item of itemsOf(child(service, "dns"))) {
    try {
      dns = parseDns(textOf(item) ?? "", dns);
    } catch (error) {
      problems.add(item.place, (error as Error).message);
    }
  }
  if (mode === "none") return { mode, hosts, dns, groups: [] };
  if (mode === "bridge") return { mode, hosts, dns, groups: [{ name: DEFAULT_NETWORK_NAME, aliases: [] }] };
  const internal = groups.length > 0 && groups.every(([network]) => network.internal);
  return { mode: groups.length === 0 ? "none" : internal ? "internal" : "bridge", hosts, dns, groups: groups.map(([, group]) => group) };
}
