/** Ports and volumes of a service, in short and long form. */
import { statSync } from "node:fs";
import { homedir } from "node:os";
import { join, posix, resolve } from "node:path";
import { parsePort } from "../commands/parse.ts";
import { cvmHome } from "../home.ts";
import type { PublishedPort } from "../host/protocol.ts";
import type { Mount, NamedVolume } from "./deployment.ts";
import { child, flagOf, itemsOf, placeOf, textOf } from "./document.ts";
import type { Tree } from "./document.ts";
import { suggestion } from "./problems.ts";
import type { Place, Problems } from "./problems.ts";

/** Most ports of one range. */
const MOST_PORTS = 1000;

/** `a`, or all of `a-b`. */
function range(text: string): string[] {
  const match = /^(\d{1,5})-(\d{1,5})$/u.exec(text);
  if (match === null) return [text];
  const [first, last] = [Number(match[1]), Number(match[2])];
  if (last < first || last - first >= MOST_PORTS) throw new Error(`"${text}" is not a range of up to ${MOST_PORTS} ports`);
  return Array.from({ length: last - first + 1 }, (_, index) => String(first + index));
}

/** One item of `ports`, which may be a range. */
function portsOf(item: Tree): PublishedPort[] {
  let spec: string;
  if (item.kind === "map") {
    const address = textOf(child(item, "host_ip"));
    const shown = address === undefined ? "" : `${address.includes(":") ? `[${address}]` : address}:`;
    const published = textOf(child(item, "published")) ?? (address === undefined ? "" : "0");
    spec = `${shown}${published === "" ? "" : `${published}:`}${textOf(child(item, "target")) ?? ""}/${textOf(child(item, "protocol")) ?? "tcp"}`;
  } else spec = textOf(item) ?? "";
  const [, address = "", hostPart = "", guestPart = "", protocol = ""] =
    /^(\[[^\]]*\]:|[^:]*:(?=[^:]*:))?(?:([^:/]*):)?([^:/]*)(\/.*)?$/u.exec(spec) ?? [];
  const guests = range(guestPart);
  const hosts = hostPart === "" ? guests.map(() => "") : range(hostPart);
  if (hosts.length !== guests.length)
    throw new Error(`"${spec}" has ${hosts.length} ports of this machine for ${guests.length} of the cVM`);
  return guests.flatMap((guest, index) =>
    parsePort(`${address}${hosts[index] === "" ? (address === "" ? "" : ":") : `${hosts[index]!}:`}${guest}${protocol}`),
  );
}

export function readPorts(service: Tree, problems: Problems): PublishedPort[] {
  const all: PublishedPort[] = [];
  for (const item of itemsOf(child(service, "ports"))) {
    try {
      all.push(...portsOf(item));
    } catch (error) {
      problems.add(item.place, (error as Error).message);
    }
  }
  return all;
}

interface Wanted {
  readonly bind: boolean;
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
  readonly make: boolean;
}

/** What an item of `volumes` says; a text when it cannot be. */
function wantedOf(item: Tree): Wanted | string {
  if (item.kind === "map") {
    const bind = textOf(child(item, "type")) === "bind";
    return {
      bind,
      source: textOf(child(item, "source")) ?? "",
      target: textOf(child(item, "target")) ?? "",
      readOnly: flagOf(child(item, "read_only")) === true,
      make: !bind || flagOf(child(child(item, "bind"), "create_host_path")) !== false,
    };
  }
  const parts = (textOf(item) ?? "").split(":");
  if (parts.length === 1)
    return `"${parts[0]!}" has no source: name a volume (NAME:${parts[0]!}), files without one last as long as the cVM`;
  const [source, target, mode = "rw", ...rest] = parts as [string, string, ...string[]];
  if (rest.length > 0) return "write SOURCE:TARGET or SOURCE:TARGET:ro";
  if (mode !== "ro" && mode !== "rw") return `the mode "${mode}" is not supported: choose ro or rw`;
  return { bind: /^[./~]/u.test(source), source, target, readOnly: mode === "ro", make: true };
}

function folderOf(wanted: Wanted, place: Place, volumes: ReadonlyMap<string, NamedVolume>): string {
  if (!wanted.bind) {
    const volume = volumes.get(wanted.source);
    if (volume === undefined) {
      const known = suggestion(wanted.source, volumes.keys());
      throw new Error(
        `the volume "${wanted.source}" is not declared under volumes at the top${known}${known === "" ? ": add it there, or write ./NAME for a folder" : ""}`,
      );
    }
    return join(cvmHome(), "volumes", volume.name);
  }
  const folder = wanted.source.startsWith("~/") ? join(homedir(), wanted.source.slice(2)) : resolve(place.base, wanted.source);
  const found = statSync(folder, { throwIfNoEntry: false });
  if (found === undefined && !wanted.make) throw new Error(`the folder "${folder}" does not exist`);
  if (found !== undefined && !found.isDirectory()) throw new Error(`"${folder}" is no folder: only folders can be mounted`);
  return folder;
}

/** @param volumes the project's, by the key that services use */
export function readVolumes(service: Tree, volumes: ReadonlyMap<string, NamedVolume>, problems: Problems): Mount[] {
  const all: Mount[] = [];
  for (const item of itemsOf(child(service, "volumes"))) {
    const wanted = wantedOf(item);
    const place = item.kind === "map" ? placeOf(item, ["source"]) : item.place;
    if (typeof wanted === "string") {
      problems.add(place, wanted);
      continue;
    }
    const target = posix.normalize(wanted.target).replace(/(?<=.)\/$/u, "");
    try {
      if (!wanted.target.startsWith("/")) throw new Error(`the target "${wanted.target}" must be an absolute path in the cVM`);
      if (target === "/") throw new Error("the target cannot be / itself");
      if (all.some((one) => one.target === target)) throw new Error(`two volumes have the target "${target}"`);
      all.push({ source: folderOf(wanted, place, volumes), target, readOnly: wanted.readOnly, make: wanted.make });
    } catch (error) {
      problems.add(place, (error as Error).message);
    }
  }
  return all;
}
