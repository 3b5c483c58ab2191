import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CliError } from "../errors.ts";
import { Folder } from "../home.ts";

/** The Debian release and machine that images are made from. */
const RELEASE = "trixie";
const ARCHITECTURE = "riscv64";
/** Names of the suite to try: a mirror in the middle of an update may have the alias whole while the code name is not, or the other way round. */
const SUITES = [RELEASE, "stable"];
const KEYRINGS = ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"];

/** A step of something long, for the progress line. */
export type Progress = (text: string) => void;

/**
 * Checks that the host has what the builder needs.
 * @throws CliError `unavailable` that says what is missing and what to do instead.
 */
export function requireApt(): void {
  for (const program of ["apt-get", "dpkg-deb"]) {
    const found = spawnSync(program, ["--version"], { stdio: "ignore" });
    if (found.error !== undefined) {
      throw new CliError(
        "unavailable",
        `cvm image debian needs ${program}, which this machine does not have: run it on Debian or Ubuntu (as any user), and copy the folder ${Folder.store()} from there`,
      );
    }
  }
  if (!KEYRINGS.some((path) => existsSync(path))) {
    throw new CliError(
      "unavailable",
      "cvm image debian needs Debian's signing keys to check what it downloads: apt-get install debian-archive-keyring",
    );
  }
}

/** The Debian mirrors that this machine's apt sources name, first those of main archives. */
function mirrors(): string[] {
  const found: string[] = [];
  const files = [
    "/etc/apt/sources.list",
    ...(existsSync("/etc/apt/sources.list.d")
      ? readdirSync("/etc/apt/sources.list.d").map((name) => join("/etc/apt/sources.list.d", name))
      : []),
  ];
  for (const file of files) {
    if (!existsSync(file)) continue;
    const text = readFileSync(file, "utf8");
    if (file.endsWith(".sources")) {
      for (const stanza of text.split(/\n\s*\n/u)) {
        const uris = /^URIs:\s*(.+)$/imu.exec(stanza)?.[1];
        if (/^Suites:.*-security/imu.test(stanza)) continue;
        found.push(...(uris?.trim().split(/\s+/u) ?? []));
      }
    } else {
      for (const line of text.split("\n")) {
        const match = /^deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)/u.exec(line.trim());
        if (match !== null && !match[2]!.includes("-security")) found.push(match[1]!);
      }
    }
  }
  const debian = found.filter((uri) => /\/debian\/?$/u.test(uri));
  return [...new Set(debian)].map((uri) => uri.replace(/\/$/u, ""));
}

/** Where that release's source packages may come from: lines for sources.list, to be tried in turn. */
export function sourceLines(): string[] {
  const key = KEYRINGS.find((path) => existsSync(path));
  return key === undefined ? [] : mirrors().flatMap((uri) => SUITES.map((suite) => `deb-src [signed-by=${key}] ${uri} ${suite} main`));
}

export interface Apt {
  readonly folder: string;
  readonly config: string;
}

/** A private apt: its own lists, cache and configuration; the host's are not touched, its proxies and time-outs are kept. */
export function privateApt(name: string = `${RELEASE}-${ARCHITECTURE}`): Apt {
  const folder = join(Folder.cache(), `apt-${name}`);
  for (const name of ["state/lists/partial", "cache/archives/partial", "etc", "etc/preferences.d"])
    mkdirSync(join(folder, name), { recursive: true });
  writeFileSync(join(folder, "state", "status"), "");
  const config = join(folder, "etc", "apt.conf");
  writeFileSync(
    config,
    `${[
      `Dir::State "${folder}/state";`,
      `Dir::State::status "${folder}/state/status";`,
      `Dir::Cache "${folder}/cache";`,
      `Dir::Etc::sourcelist "${folder}/etc/sources.list";`,
      `Dir::Etc::sourceparts "/dev/null";`,
      `Dir::Etc::preferences "/dev/null";`,
      `Dir::Etc::preferencesparts "${folder}/etc/preferences.d";`,
      `APT::Architecture "${ARCHITECTURE}";`,
      `APT::Architectures { "${ARCHITECTURE}"; };`,
      `APT::Install-Recommends "false";`,
      `APT::Sandbox::User "";`,
      `Acquire::Languages "none";`,
      `Acquire::Retries "3";`,
      `Binary::apt-get::APT::Keep-Downloaded-Packages "true";`,
      `DPkg::Post-Invoke "";`,
    ].join("\n")}\n`,
  );
  return { folder, config };
}

export async function runApt(
  apt: Apt,
  args: readonly string[],
  onLine: (line: string) => void = () => {},
  cwd?: string,
): Promise<{ readonly status: number; readonly output: string }> {
  return new Promise((resolve, reject) => {
    // LC_ALL: messages are matched below. The configuration file given here is read after the host's own.
    const child = spawn("apt-get", ["-q", ...args], {
      env: { ...process.env, APT_CONFIG: apt.config, LC_ALL: "C.UTF-8", DEBIAN_FRONTEND: "noninteractive" },
      stdio: ["ignore", "pipe", "pipe"],
      ...(cwd === undefined ? {} : { cwd }),
    });
    let output = "";
    const collect = (chunk: Buffer): void => {
      const text = chunk.toString("utf8");
      output += text;
      for (const line of text.split("\n")) if (line !== "") onLine(line);
    };
    child.stdout.on("data", collect);
    child.stderr.on("data", collect);
    child.on("error", reject);
    child.on("close", (status) => resolve({ status: status ?? 1, output }));
  });
}

/** Lists older than this are fetched again. */
const LISTS_MAX_AGE_MS = 24 * 3600 * 1000;

async function update(apt: Apt, progress: Progress): Promise<void> {
  const stamp = join(apt.folder, "state", "updated");
  const sources = mirrors();
  if (sources.length === 0) {
    throw new CliError(
      "unavailable",
      "no Debian mirror is named in /etc/apt/sources.list or /etc/apt/sources.list.d: add one (deb URL trixie main) and try again",
    );
  }
  const key = KEYRINGS.find((path) => existsSync(path))!;
  if (existsSync(stamp)) {
    const [when, used] = readFileSync(stamp, "utf8").split("\n");
    if (Date.now() - Number(when) < LISTS_MAX_AGE_MS && sources.some((uri) => used?.includes(uri) === true)) return;
  }
  const problems: string[] = [];
  for (const uri of sources) {
    for (const suite of SUITES) {
      rmSync(join(apt.folder, "state", "lists"), { recursive: true, force: true });
      mkdirSync(join(apt.folder, "state", "lists", "partial"), { recursive: true });
      const line = `deb [arch=${ARCHITECTURE} signed-by=${key}] ${uri} ${suite} main`;
      writeFileSync(join(apt.folder, "etc", "sources.list"), `${line}\n`);
      progress(`reading Debian ${RELEASE} package lists (${suite})`);
      const { status, output } = await runApt(apt, ["update", "-o", "APT::Update::Error-Mode=any"]);
      const lists = join(apt.folder, "state", "lists");
      const release = readdirSync(lists).find((name) => name.endsWith("Release"));
      const packages = readdirSync(lists).find((name) => name.includes("_Packages"));
      if (status === 0 && release !== undefined && packages !== undefined) {
        const codename = /^Codename: (\S+)/mu.exec(readFileSync(join(lists, release), "utf8"))?.[1];
        if (codename === RELEASE) {
          writeFileSync(stamp, `${Date.now()}\n${line}\n`);
          return;
        }
        problems.push(`${suite}: the mirror's ${suite} is ${codename ?? "unnamed"}, not ${RELEASE}`);
      } else {
        problems.push(
          `${suite}: ${
            output
              .split("\n")
              .filter((one) => /^\s*(?:E:|Err|W:|File has)/u.test(one))
              .slice(0, 3)
              .join(" ") || `apt-get update ended with ${status}`
          }`,
        );
      }
    }
  }
  rmSync(stamp, { force: true });
  throw new CliError("unavailable", `the package lists of Debian ${RELEASE} could not be read: ${problems.join("; ")}`);
}

/**
 * Downloads packages with all that they depend on. Signatures are checked by apt against Debian's keys.
 * @returns paths of the .deb files
 * @throws CliError `unavailable`, or `not_found` naming packages that do not exist.
 */
export async function downloadPackages(packages: readonly string[], progress: Progress): Promise<string[]> {
  requireApt();
  for (const name of packages) {
    if (!/^[a-z0-9][a-z0-9+.-]+$/u.test(name)) throw new CliError("usage", `"${name}" is not the name of a Debian package`);
  }
  const apt = privateApt();
  await update(apt, progress);
  const wanted = [...packages, "base-files", "base-passwd"];
  // --print-uris leaves out what the archive folder already has: give it an empty one.
  const nothing = join(apt.folder, "cache", "nothing");
  mkdirSync(join(nothing, "partial"), { recursive: true });
  const plan = await runApt(apt, ["install", "-y", "--print-uris", "-o", `Dir::Cache::archives=${nothing}`, ...wanted]);
  if (plan.status !== 0) {
    const unknown = [...plan.output.matchAll(/Unable to locate package (\S+)/gu)].map((match) => match[1]);
    if (unknown.length > 0)
      throw new CliError(
        "not_found",
        `Debian ${RELEASE} has no package ${unknown.map((one) => `"${one}"`).join(", ")} for ${ARCHITECTURE}`,
      );
    throw new CliError(
      "failed",
      `apt cannot choose packages: ${plan.output
        .split("\n")
        .filter((line) => line.startsWith("E:") || line.startsWith(" "))
        .join(" ")}`,
    );
  }
  const files = [...plan.output.matchAll(/^'[^']+' (\S+) \d+/gmu)].map((match) => match[1]!);
  const archives = join(apt.folder, "cache", "archives");
  if (files.some((file) => !existsSync(join(archives, file)))) {
    let done = 0;
    const { status, output } = await runApt(apt, ["install", "-y", "--download-only", ...wanted], (line) => {
      if (line.startsWith("Get:")) progress(`downloading packages ${++done}/${files.length}`);
    });
    if (status !== 0)
      throw new CliError(
        "unavailable",
        `packages could not be downloaded: ${output
          .split("\n")
          .filter((line) => line.startsWith("E:"))
          .join(" ")}`,
      );
  }
  return files.map((file) => join(archives, file));
}
