import { createHash, randomBytes } from "node:crypto";
import {
  chmodSync,
  closeSync,
  createReadStream,
  createWriteStream,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { PassThrough, Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { ReadableStream } from "node:stream/web";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { createTarDecoder } from "modern-tar";
import type { ParsedTarEntry } from "modern-tar";
import { CliError, messageOf } from "../errors.ts";
import { Folder } from "../home.ts";
import { getBlob } from "./store.ts";
import type { Descriptor, Image } from "./store.ts";

/** What a layer's metadata file says of one path; the same form as the library OS reads. */
export interface LayerEntry {
  /** With S_IFMT; 0 for a whiteout. */
  mode: number;
  uid: number;
  gid: number;
  /** Values in base64. */
  xattrs?: Record<string, string>;
  whiteout?: boolean;
  opaque?: boolean;
}

/** Bounds on what one layer may cost: against decompression bombs. */
export interface LayerLimits {
  /** Most bytes after decompression. Default 4 GiB. */
  readonly bytes: number;
  /** Most entries. Default 1,000,000. */
  readonly entries: number;
}
export const layerLimits: LayerLimits = { bytes: 4 * 1024 ** 3, entries: 1_000_000 };

const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const MODE_BITS: Readonly<Record<string, number>> = {
  file: S_IFREG,
  directory: S_IFDIR,
  symlink: 0o120000,
  "character-device": 0o020000,
  "block-device": 0o060000,
  fifo: 0o010000,
};
/** Most links followed for one name, as Linux has it. */
const MAX_LINKS = 40;
/** Largest uid or gid: all ones means "none" to Linux. */
const MAX_ID = 0xffff_fffe;
/** What an interrupted unpacking left is removed when it is older than this. */
const LEFTOVER_MS = 3600 * 1000;
/** Errors of the host's file system that a layer's own names and types cause. */
const LAYER_FAULTS = new Set([
  "ENOTDIR",
  "EISDIR",
  "EEXIST",
  "ENOENT",
  "ENAMETOOLONG",
  "ELOOP",
  "EINVAL",
  "EMLINK",
  "ERR_INVALID_ARG_VALUE",
]);

/** A name out of a layer, fit for a terminal. */
function quote(name: string): string {
  return JSON.stringify(name.length > 200 ? `${name.slice(0, 200)}…` : name);
}

function split(path: string): string[] {
  return path.split("/").filter((part) => part !== "" && part !== ".");
}

/**
 * Where an entry of a layer belongs, as path components from the layer's root. Links made by earlier entries are followed
 * inside the root, as when unpacking in the image itself; nothing can lead outside.
 * @throws CliError `invalid` for `..` and for loops of links.
 */
function place(root: string, name: string): string[] {
  const pending = split(name);
  if (pending.includes("..")) throw new CliError("invalid", `layer entry ${quote(name)} leads outside with ".."`);
  const placed: string[] = [];
  let links = 0;
  while (pending.length > 0) {
    const part = pending.shift()!;
    if (part === "..") {
      // Out of a link's target: up, but never above the root.
      placed.pop();
      continue;
    }
    const here = join(root, ...placed, part);
    if (pending.length > 0 && lstatSync(here, { throwIfNoEntry: false })?.isSymbolicLink() === true) {
      if (++links > MAX_LINKS) throw new CliError("invalid", `layer entry ${quote(name)} goes through a loop of links`);
      const target = readlinkSync(here);
      if (target.startsWith("/")) placed.length = 0;
      pending.unshift(...split(target));
      continue;
    }
    placed.push(part);
  }
  return placed;
}

/** Unpacks entries below `root`, which nobody else writes to. */
class Unpacker {
  readonly #root: string;
  readonly #entries: Map<string, LayerEntry> = new Map([["", { mode: S_IFDIR | 0o755, uid: 0, gid: 0 }]]);
  /** Host folders that are known to be there. */
  readonly #folders: Set<string> = new Set([""]);
  readonly #whiteouts: Set<string> = new Set();
  readonly #opaque: Set<string> = new Set();

  constructor(root: string) {
    this.#root = root;
  }

  /** Puts one entry in its place. The body is read to its end or cancelled. */
  async add({ header, body }: ParsedTarEntry): Promise<void> {
    const components = place(this.#root, header.name);
    const type = header.type ?? "file";
    const last = components.at(-1);
    const path = components.join("/");
    if (last !== undefined && last.startsWith(".wh.")) {
      await body.cancel();
      this.#hide(components, last, header.name);
      return;
    }
    const entry = this.#entryOf(header);
    if (last === undefined) {
      await body.cancel();
      if (type !== "directory") throw new CliError("invalid", `layer entry ${quote(header.name)} is the root, and no folder`);
      this.#entries.set("", entry);
      return;
    }
    this.#parents(components.slice(0, -1), header.name);
    const target = join(this.#root, path);
    this.#clear(path, target, type === "directory");
    switch (type) {
      case "directory":
        mkdirSync(target, { recursive: true, mode: 0o700 });
        this.#folders.add(path);
        break;
      case "symlink":
        symlinkSync(header.linkname ?? "", target);
        break;
      case "link":
        await body.cancel();
        this.#link(path, target, header.linkname ?? "", header.name);
        return;
      case "file":
        await writeBody(target, body);
        chmodSync(target, 0o600 | (entry.mode & 0o111));
        if (header.mtime !== undefined && !Number.isNaN(header.mtime.getTime())) utimesSync(target, header.mtime, header.mtime);
        break;
      case "character-device":
      case "block-device":
      case "fifo":
        // Known to the library OS by the metadata only; the host never has one.
        break;
      default:
        throw new CliError("invalid", `layer entry ${quote(header.name)} has the type "${type}", which images do not have`);
    }
    if (type !== "file") await body.cancel();
    this.#entries.set(path, entry);
  }

  /** What the metadata file gets: entries by path. */
  finish(): Record<string, LayerEntry> {
    // A whiteout hides lower layers only: what this layer has itself at that path stays, and a folder starts empty.
    for (const path of this.#whiteouts) {
      const own = this.#entries.get(path);
      if (own === undefined) this.#entries.set(path, { mode: 0, uid: 0, gid: 0, whiteout: true });
      else if ((own.mode & S_IFMT) === S_IFDIR) own.opaque = true;
    }
    for (const path of this.#opaque) {
      const own = this.#entries.get(path);
      if (own !== undefined && (own.mode & S_IFMT) === S_IFDIR) own.opaque = true;
    }
    return Object.fromEntries(this.#entries);
  }

  #entryOf(header: ParsedTarEntry["header"]): LayerEntry {
    const { uid = 0, gid = 0 } = header;
    for (const id of [uid, gid])
      if (!(Number.isInteger(id) && id >= 0 && id <= MAX_ID))
        throw new CliError("invalid", `layer entry ${quote(header.name)} has the owner ${uid}:${gid}, which Linux does not have`);
    const entry: LayerEntry = { mode: (MODE_BITS[header.type ?? "file"] ?? S_IFREG) | ((header.mode ?? 0o644) & 0o7777), uid, gid };
    const prefix = "SCHILY.xattr.";
    const xattrs = Object.entries(header.pax ?? {}).filter(([key]) => key.startsWith(prefix));
    if (xattrs.length > 0)
      entry.xattrs = Object.fromEntries(xattrs.map(([key, value]) => [key.slice(prefix.length), Buffer.from(value).toString("base64")]));
    return entry;
  }

  #hide(components: readonly string[], last: string, name: string): void {
    const parent = components.slice(0, -1);
    if (last === ".wh..wh..opq") {
      this.#parents(parent, name);
      this.#opaque.add(parent.join("/"));
      return;
    }
    // Other names of this form are notes of the AUFS file system to itself.
    if (last.startsWith(".wh..wh.")) return;
    const hidden = last.slice(".wh.".length);
    if (hidden === "" || hidden === "." || hidden === "..") throw new CliError("invalid", `layer entry ${quote(name)} hides no name`);
    this.#parents(parent, name);
    this.#whiteouts.add([...parent, hidden].join("/"));
  }

  /** Makes the folders above an entry that the layer does not list (0755, root). */
  #parents(components: readonly string[], name: string): void {
    for (let depth = 1; depth <= components.length; depth++) {
      const path = components.slice(0, depth).join("/");
      if (this.#folders.has(path)) continue;
      if (this.#entries.has(path))
        throw new CliError("invalid", `layer entry ${quote(name)} goes through ${quote(path)}, which is no folder`);
      mkdirSync(join(this.#root, path), { mode: 0o700 });
      this.#folders.add(path);
      this.#entries.set(path, { mode: S_IFDIR | 0o755, uid: 0, gid: 0 });
    }
  }

  /** Removes what an earlier entry put at this path, unless both are folders. */
  #clear(path: string, target: string, directory: boolean): void {
    const before = this.#entries.get(path);
    if (before === undefined) return;
    const wasDirectory = this.#folders.has(path);
    if (wasDirectory && directory) return;
    rmSync(target, { recursive: true, force: true });
    this.#entries.delete(path);
    if (!wasDirectory) return;
    for (const known of [this.#entries, this.#folders, this.#whiteouts, this.#opaque])
      for (const below of known.keys()) if (below === path || below.startsWith(`${path}/`)) known.delete(below);
  }

  #link(path: string, target: string, linkname: string, name: string): void {
    const from = place(this.#root, linkname).join("/");
    const source = this.#entries.get(from);
    if (source === undefined || this.#folders.has(from))
      throw new CliError("invalid", `layer entry ${quote(name)} links to ${quote(linkname)}, which is no file of the layer`);
    // Devices are in the metadata only.
    if (lstatSync(join(this.#root, from), { throwIfNoEntry: false }) !== undefined) linkSync(join(this.#root, from), target);
    this.#entries.set(path, { ...source });
  }
}

async function writeBody(target: string, body: ParsedTarEntry["body"]): Promise<void> {
  const file = openSync(target, "wx", 0o600);
  try {
    for await (const chunk of body) for (let at = 0; at < chunk.length;) at += writeSync(file, chunk, at);
  } finally {
    closeSync(file);
  }
}

/** Decompresses a layer into a file, and checks that it is what its image says. */
async function decompress(descriptor: Descriptor, diffId: string, file: string, limits: LayerLimits): Promise<void> {
  const { mediaType } = descriptor;
  const hash = createHash("sha256");
  let bytes = 0;
  const measure = async function* (source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of source) {
      bytes += chunk.length;
      if (bytes > limits.bytes) throw new CliError("invalid", `layer ${descriptor.digest} unpacks to more than ${limits.bytes} bytes`);
      hash.update(chunk);
      yield chunk;
    }
  };
  const blob = getBlob(descriptor.digest);
  const decompressor = mediaType.endsWith("zstd")
    ? createZstdDecompress()
    : mediaType.endsWith("gzip")
      ? createGunzip()
      : new PassThrough();
  try {
    await pipeline(Readable.from([blob], { objectMode: false }), decompressor, measure, createWriteStream(file, { mode: 0o600 }));
  } catch (cause) {
    if (cause instanceof CliError || /^E[A-Z]+$/u.test(String((cause as NodeJS.ErrnoException).code))) throw cause;
    throw new CliError("invalid", `layer ${descriptor.digest} cannot be decompressed: ${messageOf(cause)}`, { cause });
  }
  if (`sha256:${hash.digest("hex")}` !== diffId)
    throw new CliError("failed", `layer ${descriptor.digest} unpacks to other content than its image says: make or load the image again`);
}

async function unpackTar(file: string, root: string, limits: LayerLimits): Promise<Record<string, LayerEntry>> {
  const unpacker = new Unpacker(root);
  const chunks = ReadableStream.from<Uint8Array>(createReadStream(file, { highWaterMark: 256 * 1024 }));
  let count = 0;
  let name = "";
  try {
    for await (const entry of chunks.pipeThrough(createTarDecoder({ strict: true }))) {
      ({ name } = entry.header);
      if (++count > limits.entries) throw new CliError("invalid", `the layer has more than ${limits.entries} entries`);
      await unpacker.add(entry);
    }
  } catch (cause) {
    if (cause instanceof CliError) throw cause;
    const { code } = cause as NodeJS.ErrnoException;
    const fault = code === undefined || LAYER_FAULTS.has(code);
    const where = name === "" ? "the layer" : `the layer, at or after its entry ${quote(name)},`;
    throw new CliError(fault ? "invalid" : "failed", `${where} cannot be unpacked: ${messageOf(cause)}`, { cause });
  }
  return unpacker.finish();
}

/** Removes what interrupted unpackings of a layer left. */
function sweep(folder: string): void {
  const prefix = `${folder.slice(folder.lastIndexOf("/") + 1)}.`;
  for (const name of readdirSync(Folder.layers())) {
    if (!name.startsWith(prefix)) continue;
    const path = join(Folder.layers(), name);
    const age = Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
    if (age > LEFTOVER_MS) rmSync(path, { recursive: true, force: true });
  }
}

/** Where an unpacked layer is, or will be. */
function layerFolder(diffId: string): string {
  const match = /^sha256:([0-9a-f]{64})$/u.exec(diffId);
  if (match === null) throw new CliError("invalid", `${quote(diffId)} is not the sha256 digest of a layer`);
  return join(Folder.layers(), match[1]!);
}

const underWay = new Map<string, Promise<string>>();

/**
 * The folder of an unpacked layer (`root/` and `metadata.json`), unpacking it when it is not there. Unpacking goes to a
 * temporary folder that is renamed when whole, so an interrupted one leaves nothing that looks like a layer.
 * @throws CliError `failed` when the content does not have its digest; `invalid` for hostile entries.
 */
export async function unpackLayer(descriptor: Descriptor, diffId: string, limits: LayerLimits = layerLimits): Promise<string> {
  const folder = layerFolder(diffId);
  if (existsSync(join(folder, "metadata.json"))) return folder;
  let unpacking = underWay.get(folder);
  if (unpacking === undefined) {
    unpacking = unpack(descriptor, diffId, folder, limits).finally(() => underWay.delete(folder));
    underWay.set(folder, unpacking);
  }
  return unpacking;
}

async function unpack(descriptor: Descriptor, diffId: string, folder: string, limits: LayerLimits): Promise<string> {
  sweep(folder);
  const temporary = `${folder}.${randomBytes(6).toString("hex")}`;
  const root = join(temporary, "root");
  const tar = join(temporary, "layer.tar");
  mkdirSync(root, { recursive: true, mode: 0o700 });
  try {
    await decompress(descriptor, diffId, tar, limits);
    const entries = await unpackTar(tar, root, limits);
    rmSync(tar);
    writeFileSync(join(temporary, "metadata.json"), JSON.stringify({ version: 1, entries }), { mode: 0o600, flush: true });
    try {
      renameSync(temporary, folder);
    } catch (error) {
      // Another process unpacked the same layer first: its result is as good.
      if (!existsSync(join(folder, "metadata.json"))) throw error;
    }
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
  return folder;
}

/** Unpacks all layers of an image; returns their folders, lowest first. */
export async function unpackImage(image: Image): Promise<string[]> {
  const { layers } = image.manifest;
  const { diff_ids: diffIds } = image.config.rootfs;
  if (layers.length !== diffIds.length)
    throw new CliError("invalid", `image ${image.reference} names ${layers.length} layers but ${diffIds.length} diff ids`);
  const folders: string[] = [];
  for (const [index, layer] of layers.entries()) folders.push(await unpackLayer(layer, diffIds[index]!));
  return folders;
}
