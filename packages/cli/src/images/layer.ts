import { randomBytes } from "node:crypto";
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { gunzipSync, zstdDecompressSync } from "node:zlib";
import { unpackTar } from "modern-tar";
import { CliError } from "../errors.ts";
import { Folder } from "../home.ts";
import { digestOf, getBlob } from "./store.ts";
import type { Descriptor, Image } from "./store.ts";

/** What a layer's metadata file says of one path; the same form as the library OS reads. */
export interface LayerEntry {
  mode?: number;
  uid?: number;
  gid?: number;
  rdev?: number;
  xattrs?: Record<string, string>;
  whiteout?: boolean;
  opaque?: boolean;
}

const MODE_BITS: Readonly<Record<string, number>> = {
  file: 0o100000,
  link: 0o100000,
  directory: 0o040000,
  symlink: 0o120000,
  "character-device": 0o020000,
  "block-device": 0o060000,
  fifo: 0o010000,
};
/** Most bytes that one layer may unpack to: a bound on decompression bombs. */
const MAX_LAYER_BYTES = 4 * 1024 * 1024 * 1024;
const MAX_LINKS = 40;

function decompress(descriptor: Descriptor, bytes: Buffer): Buffer {
  if (descriptor.mediaType.endsWith("+zstd")) return zstdDecompressSync(bytes, { maxOutputLength: MAX_LAYER_BYTES });
  if (descriptor.mediaType.endsWith("gzip")) return gunzipSync(bytes, { maxOutputLength: MAX_LAYER_BYTES });
  return bytes;
}

/**
 * Where an entry of a layer belongs, as path components from the layer's root. Links made by earlier entries are followed
 * inside the root, as when unpacking in the image itself; nothing can lead outside.
 * @throws CliError `invalid` for `..` and for loops of links.
 */
function place(root: string, name: string): string[] {
  const pending = name.split("/").filter((part) => part !== "" && part !== ".");
  const placed: string[] = [];
  let links = 0;
  while (pending.length > 0) {
    const part = pending.shift()!;
    if (part === "..") {
      // Only a link's own target may go up, and never above the root.
      if (links === 0) throw new CliError("invalid", `layer entry "${name}" leads outside with ".."`);
      placed.pop();
      continue;
    }
    const here = join(root, ...placed, part);
    if (pending.length > 0 && lstatSync(here, { throwIfNoEntry: false })?.isSymbolicLink() === true) {
      if (++links > MAX_LINKS) throw new CliError("invalid", `layer entry "${name}" goes through a loop of links`);
      const target = readlinkSync(here);
      if (target.startsWith("/")) placed.length = 0;
      pending.unshift(...target.split("/").filter((one) => one !== "" && one !== "."));
      continue;
    }
    placed.push(part);
  }
  return placed;
}

/**
 * The folder of an unpacked layer (`root/` and `metadata.json`), unpacking it when it is not there. Unpacking goes to a
 * temporary folder that is renamed when whole, so an interrupted one leaves nothing that looks like a layer.
 * @throws CliError `failed` when the content does not have its digest; `invalid` for hostile entries.
 */
export async function unpackLayer(descriptor: Descriptor, diffId: string): Promise<string> {
  const folder = join(Folder.layers(), diffId.replace(/^sha256:/u, ""));
  if (existsSync(join(folder, "metadata.json"))) return folder;
  const tar = decompress(descriptor, getBlob(descriptor.digest));
  if (digestOf(tar) !== diffId)
    throw new CliError("failed", `layer ${descriptor.digest} unpacks to other content than its image says: make or load the image again`);
  const temporary = `${folder}.${randomBytes(6).toString("hex")}`;
  const root = join(temporary, "root");
  mkdirSync(root, { recursive: true, mode: 0o700 });
  try {
    const entries = await unpackEntries(tar, root);
    writeFileSync(join(temporary, "metadata.json"), JSON.stringify({ version: 1, entries }));
    try {
      renameSync(temporary, folder);
    } catch (error) {
      // Another command unpacked the same layer first: its result is as good.
      if (!existsSync(join(folder, "metadata.json"))) throw error;
    }
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
  return folder;
}

async function unpackEntries(tar: Buffer, root: string): Promise<Record<string, LayerEntry>> {
  const entries: Record<string, LayerEntry> = {};
  for (const { header, data } of await unpackTar(tar, { strict: true })) {
    const components = place(root, header.name);
    const path = components.join("/");
    const type = header.type ?? "file";
    const metadata: LayerEntry = {
      mode: (MODE_BITS[type] ?? 0o100000) | ((header.mode ?? 0o644) & 0o7777),
      uid: header.uid ?? 0,
      gid: header.gid ?? 0,
    };
    const last = components.at(-1);
    if (last === undefined) {
      entries[""] = metadata;
      continue;
    }
    if (last === ".wh..wh..opq") {
      (entries[components.slice(0, -1).join("/")] ??= {}).opaque = true;
      continue;
    }
    if (last.startsWith(".wh.")) {
      entries[[...components.slice(0, -1), last.slice(4)].join("/")] = { whiteout: true };
      continue;
    }
    const target = join(root, path);
    mkdirSync(dirname(target), { recursive: true });
    const present = lstatSync(target, { throwIfNoEntry: false });
    if (present !== undefined && !(present.isDirectory() && type === "directory")) rmSync(target, { recursive: true, force: true });
    for (const [key, value] of Object.entries(header.pax ?? {})) {
      if (key.startsWith("SCHILY.xattr."))
        (metadata.xattrs ??= {})[key.slice("SCHILY.xattr.".length)] = Buffer.from(value).toString("base64");
    }
    switch (type) {
      case "directory":
        mkdirSync(target, { recursive: true, mode: 0o700 });
        break;
      case "symlink":
        symlinkSync(header.linkname ?? "", target);
        break;
      case "link": {
        const from = place(root, header.linkname ?? "").join("/");
        const source = lstatSync(join(root, from), { throwIfNoEntry: false });
        if (source === undefined || !source.isFile())
          throw new CliError("invalid", `layer entry "${header.name}" links to "${header.linkname ?? ""}", which is no file of the layer`);
        linkSync(join(root, from), target);
        entries[path] = { ...entries[from] };
        continue;
      }
      case "file":
        writeFileSync(target, data ?? new Uint8Array());
        chmodSync(target, 0o600 | ((header.mode ?? 0o644) & 0o111));
        if (header.mtime !== undefined) utimesSync(target, header.mtime, header.mtime);
        break;
      case "character-device":
      case "block-device":
      case "fifo":
        break;
      default:
        throw new CliError("invalid", `layer entry "${header.name}" has the type "${type}", which images do not have`);
    }
    entries[path] = metadata;
  }
  return entries;
}

/** Unpacks all layers of an image; returns their folders, lowest first. */
export async function unpackImage(image: Image): Promise<string[]> {
  const folders: string[] = [];
  for (const [index, layer] of image.manifest.layers.entries()) {
    const diffId = image.config.rootfs.diff_ids[index];
    if (diffId === undefined)
      throw new CliError(
        "invalid",
        `image ${image.reference} names ${image.manifest.layers.length} layers but ${image.config.rootfs.diff_ids.length} diff ids`,
      );
    folders.push(await unpackLayer(layer, diffId));
  }
  return folders;
}
