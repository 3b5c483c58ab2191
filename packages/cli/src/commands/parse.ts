import { existsSync, statSync } from "node:fs";
import { isIP, isIPv4, isIPv6 } from "node:net";
import { join, posix, resolve } from "node:path";
import { InvalidArgumentError } from "commander";
import { cvmHome } from "../home.ts";
import type { NetworkMode } from "../host/network/uplink.ts";
import type { NetworkConfig, PublishedPort, RestartPolicy, Volume } from "../host/protocol.ts";

const UNIT: Readonly<Record<string, number>> = { "": 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 };
/** Least memory of a cVM. */
const MIN_MEMORY = 8 * 1024 ** 2;

/** `256m`, `1g`: bytes. */
export function parseMemory(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([kmg]?)b?$/iu.exec(text);
  if (match === null) throw new InvalidArgumentError("give a size such as 256m or 1g.");
  const bytes = Math.floor(Number(match[1]) * UNIT[match[2]!.toLowerCase()]!);
  if (bytes < MIN_MEMORY) throw new InvalidArgumentError("a cVM needs at least 8m.");
  if (bytes > 3 * 1024 ** 3) throw new InvalidArgumentError("a cVM can have at most 3g: the address space of a host is 4 GiB.");
  return bytes;
}

/** Processors' worth of time; 0: no limit. */
export function parseCpus(text: string): number {
  const value = /^\d*\.?\d+$/u.test(text) ? Number(text) : Number.NaN;
  if (!(value >= 0 && value <= 1024)) throw new InvalidArgumentError("give a number of processors, such as 0.5.");
  return value;
}

function parsePortNumber(text: string): number {
  const value = /^\d+$/u.test(text) ? Number(text) : Number.NaN;
  if (!(value >= 0 && value <= 65535)) throw new InvalidArgumentError(`"${text}" is not a port (0 to 65535).`);
  return value;
}

/** `[address:]hostPort:port[/tcp|/udp]`, an IPv6 address in brackets, or `port` alone for any free host port. */
export function parsePort(text: string, before: readonly PublishedPort[] = []): PublishedPort[] {
  const slash = text.includes("/") ? text.indexOf("/") : text.length;
  const spec = text.slice(0, slash);
  const protocol = text.slice(slash + 1) || "tcp";
  if (protocol !== "tcp" && protocol !== "udp")
    throw new InvalidArgumentError(`ports of tcp and udp can be published, not of "${protocol}".`);
  const [, six, plain = ""] = /^(?:\[([^\]]*)\]:)?(.*)$/su.exec(spec)!;
  const parts = six === undefined ? plain.split(":") : [six, ...plain.split(":")];
  if (six !== undefined && (!isIPv6(six) || parts.length !== 3))
    throw new InvalidArgumentError(`write [IPV6-ADDRESS]:HOSTPORT:PORT, not "${spec}".`);
  const port = parsePortNumber(parts.at(-1)!);
  if (port === 0) throw new InvalidArgumentError("the cVM's port cannot be 0.");
  const hostPort = parts.length > 1 ? parsePortNumber(parts.at(-2) || "0") : 0;
  const hostAddress = parts.length > 2 ? parts.slice(0, -2).join(":") : "0.0.0.0";
  if (six === undefined && !isIPv4(hostAddress))
    throw new InvalidArgumentError(`"${hostAddress}" is not an IPv4 address: write ADDRESS:HOSTPORT:PORT.`);
  return [...before, { hostAddress, hostPort, port, ...(protocol === "udp" ? { protocol } : {}) }];
}

/** `bridge` (or `default`), `internal`, `none`. */
export function parseNetwork(text: string): NetworkMode {
  if (text === "bridge" || text === "default") return "bridge";
  if (text === "internal" || text === "none") return text;
  if (text === "host")
    throw new InvalidArgumentError(
      "a cVM has no part in this machine's network: use -p, and --add-host NAME:host-gateway for its loopback.",
    );
  throw new InvalidArgumentError("choose bridge, internal or none.");
}

/** `name:address` or `name=address`; the address may be `host-gateway`, and in brackets. */
export function parseHost(text: string, before: NetworkConfig["hosts"] = []): NetworkConfig["hosts"] {
  const match = /^([a-zA-Z0-9_](?:[a-zA-Z0-9._-]{0,251}[a-zA-Z0-9_])?)[:=]\[?([^\]]+)\]?$/u.exec(text);
  if (match === null) throw new InvalidArgumentError("write NAME:ADDRESS or NAME:host-gateway.");
  const [, name, address] = match as unknown as [string, string, string];
  if (address !== "host-gateway" && isIP(address) === 0) throw new InvalidArgumentError(`"${address}" is no IP address, nor host-gateway.`);
  return [...before, { name, address }];
}

/** `address`, `address:port` or `[address]:port`. */
export function parseDns(text: string, before: readonly string[] = []): string[] {
  const match = /^(?:\[([^\]]+)\]|(\d+\.[\d.]+))(?::(\d{1,5}))?$/u.exec(text);
  const address = match?.[1] ?? match?.[2] ?? text;
  const port = match?.[3];
  if (isIP(address) === 0) throw new InvalidArgumentError(`"${text}" is not the IP address of a name server.`);
  if (port !== undefined && (Number(port) < 1 || Number(port) > 65535)) throw new InvalidArgumentError(`"${port}" is not a port.`);
  return [...before, port === undefined ? address : `${isIPv4(address) ? address : `[${address}]`}:${port}`];
}

/** `folder:target[:ro]`, or `name:target[:ro]` for a named volume (`cvm run` makes its folder). */
export function parseVolume(text: string, before: readonly Volume[] = []): Volume[] {
  const parts = text.split(":");
  const mode = parts.length === 3 ? parts[2]! : "rw";
  if (parts.length < 2 || parts.length > 3 || !["ro", "rw"].includes(mode))
    throw new InvalidArgumentError("write SOURCE:TARGET or SOURCE:TARGET:ro.");
  const [source, target] = parts as [string, string];
  if (source === "") throw new InvalidArgumentError("the source is missing: write SOURCE:TARGET.");
  if (!target.startsWith("/")) throw new InvalidArgumentError(`the target "${target}" must be an absolute path in the cVM.`);
  let folder: string;
  if (/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/u.test(source)) {
    folder = join(cvmHome(), "volumes", source);
  } else {
    folder = resolve(source);
    if (!existsSync(folder)) throw new InvalidArgumentError(`the folder "${folder}" does not exist: make it first.`);
    if (!statSync(folder).isDirectory()) throw new InvalidArgumentError(`"${folder}" is not a folder.`);
  }
  const place = posix.normalize(target).replace(/(?<=.)\/$/u, "");
  if (place === "/") throw new InvalidArgumentError("the target cannot be / itself.");
  if (before.some((one) => one.target === place)) throw new InvalidArgumentError(`two volumes have the target "${place}".`);
  return [...before, { source: folder, target: place, readOnly: mode === "ro" }];
}

/** `NAME=value`, or `NAME` for the value that this command has. */
export function parseEnv(text: string, before: readonly string[] = []): string[] {
  if (text.startsWith("=") || text === "") throw new InvalidArgumentError("write NAME=value or NAME.");
  if (text.includes("=")) return [...before, text];
  const value = process.env[text];
  return value === undefined ? [...before] : [...before, `${text}=${value}`];
}

/** `no`, `on-failure[:N]`, `always`, `unless-stopped`. */
export function parseRestart(text: string): RestartPolicy {
  const match = /^(?:(no|always|unless-stopped)|on-failure(?::(\d{1,6}))?)$/u.exec(text);
  if (match === null) throw new InvalidArgumentError("choose no, on-failure[:N], always or unless-stopped.");
  return match[1] === undefined
    ? { name: "on-failure", most: Number(match[2] ?? 0) }
    : { name: match[1] as RestartPolicy["name"], most: 0 };
}

/** Signals by number (riscv64 Linux, asm-generic). */
const SIGNALS = [
  "HUP",
  "INT",
  "QUIT",
  "ILL",
  "TRAP",
  "ABRT",
  "BUS",
  "FPE",
  "KILL",
  "USR1",
  "SEGV",
  "USR2",
  "PIPE",
  "ALRM",
  "TERM",
  "STKFLT",
  "CHLD",
  "CONT",
  "STOP",
  "TSTP",
  "TTIN",
  "TTOU",
  "URG",
  "XCPU",
  "XFSZ",
  "VTALRM",
  "PROF",
  "WINCH",
  "IO",
  "PWR",
  "SYS",
];

/** `9`, `KILL` or `SIGKILL`. */
export function parseSignal(text: string): number {
  if (/^\d+$/u.test(text) && Number(text) >= 1 && Number(text) <= 64) return Number(text);
  const index = SIGNALS.indexOf(text.toUpperCase().replace(/^SIG/u, ""));
  if (index < 0) throw new InvalidArgumentError(`"${text}" is not a signal.`);
  return index + 1;
}
