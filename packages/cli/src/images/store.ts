import { createHash, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CliError } from "../errors.ts";
import { Folder } from "../home.ts";
import { formatReference } from "./reference.ts";

/** OCI image specification 1.1, descriptor. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly platform?: { readonly architecture: string; readonly os: string };
}

export interface Manifest {
  readonly schemaVersion: 2;
  readonly mediaType: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

/** OCI image configuration: the part that cVM reads. */
export interface ImageConfig {
  readonly created?: string;
  readonly architecture: string;
  readonly os: string;
  readonly config: {
    readonly Env?: readonly string[] | null;
    readonly Entrypoint?: readonly string[] | null;
    readonly Cmd?: readonly string[] | null;
    readonly WorkingDir?: string;
    readonly User?: string;
    readonly StopSignal?: string;
    readonly ExposedPorts?: Readonly<Record<string, object>> | null;
  };
  readonly rootfs: { readonly type: "layers"; readonly diff_ids: readonly string[] };
}

export interface Image {
  /** `name:tag`. */
  readonly reference: string;
  /** Digest of the configuration, `sha256:…`: the image's id. */
  readonly id: string;
  readonly manifest: Manifest;
  readonly config: ImageConfig;
  /** Bytes of all layers as stored. */
  readonly size: number;
}

const MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE = "application/vnd.oci.image.config.v1+json";
const REF_NAME = "org.opencontainers.image.ref.name";

interface Index {
  readonly schemaVersion: 2;
  readonly manifests: Descriptor[];
}

/** `sha256:…` of bytes. */
export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

function blobPath(digest: string): string {
  const match = /^sha256:([0-9a-f]{64})$/u.exec(digest);
  if (match === null) throw new CliError("invalid", `"${digest}" is not a sha256 digest`);
  return join(Folder.store(), "blobs", "sha256", match[1]!);
}

/** Writes a file so that a reader sees the old content or the new one, never a part. */
function writeWhole(path: string, bytes: Uint8Array | string): void {
  const temporary = `${path}.${randomBytes(6).toString("hex")}`;
  writeFileSync(temporary, bytes, { mode: 0o600 });
  renameSync(temporary, path);
}

/** Stores a blob by content; returns its digest. Existing content is kept. */
export function putBlob(bytes: Uint8Array): string {
  const digest = digestOf(bytes);
  const path = blobPath(digest);
  mkdirSync(join(Folder.store(), "blobs", "sha256"), { recursive: true, mode: 0o700 });
  if (!existsSync(path)) writeWhole(path, bytes);
  return digest;
}

/**
 * Reads a blob and verifies its content against its digest.
 * @throws CliError `not_found`, or `failed` when the content was changed.
 */
export function getBlob(digest: string): Buffer {
  const path = blobPath(digest);
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (cause) {
    throw new CliError("not_found", `blob ${digest} is missing from the image store ${Folder.store()}: make or load the image again`, {
      cause,
    });
  }
  if (digestOf(bytes) !== digest)
    throw new CliError("failed", `blob ${digest} in ${Folder.store()} is damaged: remove the image and make it again`);
  return bytes;
}

function readIndex(): Index {
  const path = join(Folder.store(), "index.json");
  if (!existsSync(path)) return { schemaVersion: 2, manifests: [] };
  try {
    return JSON.parse(readFileSync(path, "utf8")) as Index;
  } catch (cause) {
    throw new CliError("failed", `${path} is not valid JSON: restore it, or remove the folder to start with no images`, { cause });
  }
}

function writeIndex(index: Index): void {
  const store = Folder.store();
  writeWhole(join(store, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}\n');
  writeWhole(join(store, "index.json"), `${JSON.stringify({ ...index, mediaType: "application/vnd.oci.image.index.v1+json" }, null, 2)}\n`);
}

/** Stores an image under a reference; an image that had it loses the name. */
export function putImage(reference: string, config: ImageConfig, layers: readonly Descriptor[]): Image {
  const name = formatReference(reference);
  const configBytes = Buffer.from(JSON.stringify(config));
  const configDigest = putBlob(configBytes);
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: MANIFEST_TYPE,
    config: { mediaType: CONFIG_TYPE, digest: configDigest, size: configBytes.length },
    layers,
  };
  const manifestBytes = Buffer.from(JSON.stringify(manifest));
  const descriptor: Descriptor = {
    mediaType: MANIFEST_TYPE,
    digest: putBlob(manifestBytes),
    size: manifestBytes.length,
    platform: { architecture: config.architecture, os: config.os },
    annotations: { [REF_NAME]: name },
  };
  const index = readIndex();
  writeIndex({ schemaVersion: 2, manifests: [...index.manifests.filter((one) => one.annotations?.[REF_NAME] !== name), descriptor] });
  return toImage(descriptor);
}

function toImage(descriptor: Descriptor): Image {
  const manifest = JSON.parse(getBlob(descriptor.digest).toString("utf8")) as Manifest;
  const config = JSON.parse(getBlob(manifest.config.digest).toString("utf8")) as ImageConfig;
  return {
    reference: descriptor.annotations?.[REF_NAME] ?? descriptor.digest,
    id: manifest.config.digest,
    manifest,
    config,
    size: manifest.layers.reduce((sum, layer) => sum + layer.size, 0),
  };
}

/** All images, in the order in which they were made. */
export function listImages(): Image[] {
  return readIndex().manifests.map(toImage);
}

/** By reference, or by id (`sha256:…` or at least 6 hex digits of it). */
export function findImage(reference: string): Image | undefined {
  const images = listImages();
  if (/^(?:sha256:)?[0-9a-f]{6,64}$/u.test(reference)) {
    const hex = reference.replace(/^sha256:/u, "");
    const byId = images.find((image) => image.id.startsWith(`sha256:${hex}`));
    if (byId !== undefined) return byId;
  }
  const name = formatReference(reference);
  return images.find((image) => image.reference === name);
}

/**
 * As {@link findImage}.
 * @throws CliError `not_found` that says how to make one.
 */
export function requireImage(reference: string): Image {
  const image = findImage(reference);
  if (image !== undefined) return image;
  const known = listImages().map((one) => one.reference);
  const name = formatReference(reference);
  throw new CliError(
    "not_found",
    `no image "${name}" here${known.length > 0 ? ` (there are: ${known.join(", ")})` : ""}: make it with: cvm image debian -t ${reference} PACKAGE…`,
  );
}

/** Removes a reference, and what no other image needs any more. Returns digests removed. */
export function removeImage(reference: string): string[] {
  const image = requireImage(reference);
  const index = readIndex();
  writeIndex({ schemaVersion: 2, manifests: index.manifests.filter((one) => one.annotations?.[REF_NAME] !== image.reference) });
  const needed = new Set<string>();
  for (const one of readIndex().manifests) {
    needed.add(one.digest);
    const kept = toImage(one);
    needed.add(kept.id);
    for (const layer of kept.manifest.layers) needed.add(layer.digest);
    for (const diffId of kept.config.rootfs.diff_ids) needed.add(diffId);
  }
  const removed: string[] = [];
  const blobs = join(Folder.store(), "blobs", "sha256");
  for (const hex of readdirSync(blobs)) {
    if (/^[0-9a-f]{64}$/u.test(hex) && !needed.has(`sha256:${hex}`)) {
      rmSync(join(blobs, hex));
      removed.push(`sha256:${hex}`);
    }
  }
  for (const hex of readdirSync(Folder.layers())) {
    if (/^[0-9a-f]{64}$/u.test(hex) && !needed.has(`sha256:${hex}`)) rmSync(join(Folder.layers(), hex), { recursive: true, force: true });
  }
  return removed;
}

/** Size of a stored blob in bytes. */
export function blobSize(digest: string): number {
  return statSync(blobPath(digest)).size;
}
