import { spawn } from "node:child_process";
import { zstdCompressSync } from "node:zlib";
import { packTar, unpackTar } from "modern-tar";
import { CliError } from "../errors.ts";
import { downloadPackages } from "./apt.ts";
import type { Progress } from "./apt.ts";
import { digestOf, putBlob, putImage } from "./store.ts";
import type { Image } from "./store.ts";

type Entry = Awaited<ReturnType<typeof unpackTar>>[number];

/** What the image's configuration gets besides files. */
export interface DebianOptions {
  readonly entrypoint?: readonly string[];
  readonly command?: readonly string[];
  readonly env?: readonly string[];
  readonly workdir?: string;
  readonly user?: string;
}

const DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

async function filesOf(deb: string): Promise<Entry[]> {
  const child = spawn("dpkg-deb", ["--fsys-tarfile", deb], { stdio: ["ignore", "pipe", "pipe"] });
  const chunks: Buffer[] = [];
  let problem = "";
  child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => (problem += chunk.toString("utf8")));
  const status = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  if (status !== 0) throw new CliError("failed", `package ${deb} cannot be unpacked: ${problem.trim()}`);
  return unpackTar(Buffer.concat(chunks));
}

/**
 * Makes an image from Debian packages and what they depend on. Nothing is installed on the host and no code of the
 * packages runs: what their set-up scripts would do for every image (accounts, name service) is done here from the
 * packages' own templates.
 * @throws CliError as {@link downloadPackages}
 */
export async function makeDebianImage(
  reference: string,
  packages: readonly string[],
  options: DebianOptions,
  progress: Progress,
): Promise<Image> {
  const debs = await downloadPackages(packages, progress);
  const tree = new Map<string, Entry>();
  for (const [index, deb] of debs.entries()) {
    progress(`unpacking ${index + 1}/${debs.length}`);
    for (const entry of await filesOf(deb)) {
      const path = entry.header.name.replace(/^\.?\//u, "").replace(/\/$/u, "");
      if (path === "" || isDocumentation(path)) continue;
      const present = tree.get(path);
      if (present?.header.type === "symlink" && entry.header.type === "directory") continue;
      tree.set(path, entry);
    }
  }
  mergeUsr(tree);
  addBasics(tree);
  linkApplets(tree);

  progress("packing the layer");
  const entries = [...tree]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([path, entry]) => ({
      header: {
        ...entry.header,
        name: entry.header.type === "directory" ? `${path}/` : path,
        ...(entry.header.type === "link" ? { linkname: (entry.header.linkname ?? "").replace(/^\.?\//u, "") } : {}),
        size: entry.data?.length ?? 0,
      },
      ...(entry.data === undefined ? {} : { body: entry.data }),
    }));
  // Hard links must come after what they link to.
  entries.sort((a, b) => Number(a.header.type === "link") - Number(b.header.type === "link"));
  const tar = Buffer.from(await packTar(entries));
  const compressed = zstdCompressSync(tar);
  const layer = { mediaType: "application/vnd.oci.image.layer.v1.tar+zstd", digest: putBlob(compressed), size: compressed.length };
  return putImage(
    reference,
    {
      created: new Date().toISOString(),
      architecture: "riscv64",
      os: "linux",
      config: {
        Env: [DEFAULT_PATH, ...(options.env ?? [])],
        Entrypoint: options.entrypoint ?? null,
        Cmd: options.command ?? null,
        WorkingDir: options.workdir ?? "/",
        User: options.user ?? "",
      },
      rootfs: { type: "layers", diff_ids: [digestOf(tar)] },
    },
    [layer],
  );
}

/** Manuals, translations and documentation do not run. */
function isDocumentation(path: string): boolean {
  return /^usr\/share\/(?:doc|man|info|locale|lintian|bug)\//u.test(path);
}

/** Debian's top-level folders are links into /usr: entries that old packages have there move along. */
function mergeUsr(tree: Map<string, Entry>): void {
  for (const name of ["bin", "sbin", "lib"]) {
    // A copy: what is added on the way must not be visited.
    const present = Array.from(tree);
    for (const [path, entry] of present) {
      if (!path.startsWith(`${name}/`)) continue;
      tree.delete(path);
      if (!tree.has(`usr/${path}`)) tree.set(`usr/${path}`, entry);
    }
    tree.set(name, symlink(`usr/${name}`));
  }
}

function file(text: string | Uint8Array, mode = 0o644): Entry {
  const data = typeof text === "string" ? new Uint8Array(Buffer.from(text)) : new Uint8Array(text);
  return { header: { name: "", size: data.length, type: "file", mode, uid: 0, gid: 0, mtime: new Date(0) }, data };
}
function symlink(target: string): Entry {
  return { header: { name: "", size: 0, type: "symlink", mode: 0o777, uid: 0, gid: 0, linkname: target, mtime: new Date(0) } };
}
function directory(mode = 0o755): Entry {
  return { header: { name: "", size: 0, type: "directory", mode, uid: 0, gid: 0, mtime: new Date(0) } };
}

/** Accounts, name service and the folders that every Linux system has. */
function addBasics(tree: Map<string, Entry>): void {
  const template = (from: string, to: string, mode = 0o644): void => {
    const data = tree.get(from)?.data;
    if (data !== undefined && !tree.has(to)) tree.set(to, file(data, mode));
  };
  template("usr/share/base-passwd/passwd.master", "etc/passwd");
  template("usr/share/base-passwd/group.master", "etc/group");
  template("usr/share/base-files/profile", "etc/profile");
  template("usr/share/base-files/nsswitch.conf", "etc/nsswitch.conf");
  if (!tree.has("etc/nsswitch.conf")) tree.set("etc/nsswitch.conf", file("passwd: files\ngroup: files\nhosts: files dns\n"));
  for (const [path, mode] of [
    ["tmp", 0o1777],
    ["var/tmp", 0o1777],
    ["root", 0o700],
    ["proc", 0o555],
    ["sys", 0o555],
    ["dev", 0o755],
    ["run", 0o755],
    ["home", 0o755],
    ["mnt", 0o755],
  ] as const) {
    if (!tree.has(path)) tree.set(path, directory(mode));
  }
}

/** An image with busybox answers to the names of its applets, as `busybox --install -s` would set it up; real programs keep their names. */
function linkApplets(tree: Map<string, Entry>): void {
  const program = tree.get("usr/bin/busybox")?.data;
  if (program === undefined) return;
  for (const name of appletNames(Buffer.from(program))) {
    const path = `usr/bin/${name}`;
    if (!tree.has(path) && !tree.has(`usr/sbin/${name}`)) tree.set(path, symlink("busybox"));
  }
}

/** The applet table of a busybox binary: NUL-terminated names in order, starting with `[`, `[[`, `acpid` or what the build has first. */
export function appletNames(program: Buffer): string[] {
  // What stands before the table is arbitrary, and help texts may look like its beginning: the longest list is the table.
  let longest: string[] = [];
  for (let start = program.indexOf(TABLE_START, 0, "latin1"); start >= 0; start = program.indexOf(TABLE_START, start + 1, "latin1")) {
    const names = namesAt(program, start);
    if (names.length >= longest.length) longest = names;
  }
  return longest;
}

const TABLE_START = "[\0[[\0";

function namesAt(program: Buffer, start: number): string[] {
  const names: string[] = [];
  for (let at = start; at < program.length;) {
    const end = program.indexOf(0, at);
    if (end < 0) break;
    const name = program.toString("latin1", at, end);
    // The table is sorted.
    if (!/^[a-z0-9[][a-z0-9_.[-]*$/iu.test(name) || name <= (names.at(-1) ?? "")) break;
    names.push(name);
    at = end + 1;
  }
  return names;
}
