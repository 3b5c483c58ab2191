import { createHash, randomBytes } from "node:crypto";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
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

/** Writes a file so that a reader, or the next start after a crash, sees the old content or the new one, never a part. */
function writeWhole(path: string, bytes: Uint8Array | string): void {
  const temporary = `${path}.${randomBytes(6).toString("hex")}`;
  try {
    writeFileSync(temporary, bytes, { mode: 0o600, flush: true });
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/** Most milliseconds to wait for another command that changes the index. */
const LOCK_MS = 20_000;
/** A lock of this age was left by a command that was killed: changes take milliseconds. */
const STALE_LOCK_MS = 10_000;

/** Changes the index while no other command does: both would read, and the second to write would undo the first. */
function locked<T>(action: () => T): T {
  const lock = join(Folder.store(), "index.lock");
  const deadline = Date.now() + LOCK_MS;
  for (;;) {
    try {
      closeSync(openSync(lock, "wx", 0o600));
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      const held = statSync(lock, { throwIfNoEntry: false });
      if (held !== undefined && Date.now() - held.mtimeMs > STALE_LOCK_MS) rmSync(lock, { force: true });
      else if (Date.now() > deadline)
        throw new CliError("unavailable", `another command changes the images: if none runs, remove ${lock}`, { cause: error });
      else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
    }
  }
  try {
    return action();
  } finally {
    rmSync(lock, { force: true });
  }
}

/** Whether a blob is stored whole. */
function isWhole(digest: string): boolean {
  const path = blobPath(digest);
  return existsSync(path) && digestOf(readFileSync(path)) === digest;
}

/** Stores a blob by content; returns its digest. Existing content is kept unless it was damaged. */
export function putBlob(bytes: Uint8Array): string {
  const digest = digestOf(bytes);
  mkdirSync(join(Folder.store(), "blobs", "sha256"), { recursive: true, mode: 0o700 });
  if (!isWhole(digest)) writeWhole(blobPath(digest), bytes);
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
  const advice = "restore it, or remove the folder to start with no images";
  let index: Index;
  try {
    index = JSON.parse(readFileSync(path, "utf8")) as Index;
  } catch (cause) {
    throw new CliError("failed", `${path} is not valid JSON: ${advice}`, { cause });
  }
  if (!Array.isArray((index as Partial<Index> | null)?.manifests)) throw new CliError("failed", `${path} is not an OCI index: ${advice}`);
  return index;
}

function writeIndex(index: Index): void {
  const store = Folder.store();
  writeWhole(join(store, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}\n');
  writeWhole(join(store, "index.json"), `${JSON.stringify({ ...index, mediaType: "application/vnd.oci.image.index.v1+json" }, null, 2)}\n`);
}

function nameOf(descriptor: Descriptor): string | undefined {
  return descriptor.annotations?.[REF_NAME];
}

function withoutName(descriptor: Descriptor): Descriptor {
  const { [REF_NAME]: _, ...annotations } = descriptor.annotations ?? {};
  return { ...descriptor, annotations };
}

/**
 * Stores an image under a reference. An image that had it loses the name but stays, for cVMs that use it, until
 * {@link removeImage} finds it unused.
 * @throws CliError `invalid` for a bad reference; `not_found` when a layer's blob is not stored.
 */
export function putImage(reference: string, config: ImageConfig, layers: readonly Descriptor[]): Image {
  const name = formatReference(reference);
  if (name.startsWith("sha256:")) throw new CliError("invalid", `an image cannot be named "${name}": that is the form of an id`);
  return locked(() => {
    for (const layer of layers)
      if (!existsSync(blobPath(layer.digest))) throw new CliError("not_found", `layer ${layer.digest} of image "${name}" is not stored`);
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
    const others = readIndex()
      .manifests.map((one) => (nameOf(one) === name ? withoutName(one) : one))
      .filter((one) => nameOf(one) !== undefined || one.digest !== descriptor.digest);
    writeIndex({ schemaVersion: 2, manifests: [...others, descriptor] });
    return toImage(descriptor);
  });
}

function toImage(descriptor: Descriptor): Image {
  const manifest = JSON.parse(getBlob(descriptor.digest).toString("utf8")) as Manifest;
  const config = JSON.parse(getBlob(manifest.config.digest).toString("utf8")) as ImageConfig;
  return {
    reference: nameOf(descriptor) ?? manifest.config.digest,
    id: manifest.config.digest,
    manifest,
    config,
    size: manifest.layers.reduce((sum, layer) => sum + layer.size, 0),
  };
}

/** As {@link toImage}; undefined when parts of it are missing or damaged: one such image must not stand in the way of others. */
function tryImage(descriptor: Descriptor): Image | undefined {
  try {
    return toImage(descriptor);
  } catch {
    return undefined;
  }
}

/** All images that are whole, in the order in which they were made. One without a name has its id as reference. */
export function listImages(): Image[] {
  return readIndex().manifests.flatMap((one) => tryImage(one) ?? []);
}

function findDescriptor(reference: string): Descriptor | undefined {
  const { manifests } = readIndex();
  const id = /^(sha256:)?([0-9a-f]{6,64})$/u.exec(reference);
  if (id?.[1] === undefined) {
    const name = formatReference(reference);
    const named = manifests.find((one) => nameOf(one) === name);
    if (named !== undefined || id === null) return named;
  }
  const matches = manifests
    .map((descriptor) => ({ descriptor, id: tryImage(descriptor)?.id }))
    .filter((one) => one.id?.startsWith(`sha256:${id[2]!}`) === true);
  if (new Set(matches.map((one) => one.id)).size > 1)
    throw new CliError("conflict", `"${reference}" begins the ids of several images: give more of it`);
  return (matches.find((one) => nameOf(one.descriptor) !== undefined) ?? matches[0])?.descriptor;
}

/**
 * By reference, or by id (`sha256:…` or at least 6 hex digits of it); a name goes before an id.
 * @throws CliError `invalid` for a bad reference, `conflict` when several ids begin so, `failed` when its parts are damaged.
 */
export function findImage(reference: string): Image | undefined {
  const descriptor = findDescriptor(reference);
  return descriptor === undefined ? undefined : toImage(descriptor);
}

/**
 * The id of an image, also of one whose layers are damaged; undefined when it cannot be read.
 * @throws CliError as {@link requireImage}
 */
export function imageIdOf(reference: string): string | undefined {
  const descriptor = findDescriptor(reference);
  if (descriptor === undefined) throw unknownImage(reference);
  return tryImage(descriptor)?.id;
}

function unknownImage(reference: string): CliError {
  const known = readIndex().manifests.flatMap((one) => nameOf(one) ?? []);
  const there = known.length > 0 ? ` (there are: ${known.join(", ")})` : "";
  if (reference.startsWith("sha256:")) return new CliError("not_found", `no image with the id ${reference} here${there}: it was removed`);
  const name = formatReference(reference);
  return new CliError("not_found", `no image "${name}" here${there}: make it with: cvm image debian -t ${reference} PACKAGE…`);
}

/**
 * As {@link findImage}.
 * @throws CliError `not_found` that says how to make one.
 */
export function requireImage(reference: string): Image {
  const image = findImage(reference);
  if (image === undefined) throw unknownImage(reference);
  return image;
}

/**
 * Removes a reference, and what no other image needs any more.
 * @param used ids of images that cVMs use: they lose the name only
 * @returns digests of blobs removed
 * @throws CliError `not_found`
 */
export function removeImage(reference: string, used: ReadonlySet<string> = new Set()): string[] {
  return locked(() => {
    const removed = findDescriptor(reference);
    if (removed === undefined) throw unknownImage(reference);
    const kept: { descriptor: Descriptor; image: Image | undefined }[] = [];
    for (const one of readIndex().manifests) {
      const descriptor = one.digest === removed.digest && nameOf(one) === nameOf(removed) ? withoutName(one) : one;
      const image = tryImage(descriptor);
      const named = nameOf(descriptor) !== undefined;
      if (named || (image !== undefined && used.has(image.id))) kept.push({ descriptor, image });
    }
    writeIndex({ schemaVersion: 2, manifests: kept.map((one) => one.descriptor) });
    // What a damaged image needs is not known: then nothing is collected.
    if (kept.some((one) => one.image === undefined)) return [];
    const needed = new Set<string>();
    for (const { descriptor, image } of kept)
      for (const digest of [
        descriptor.digest,
        image!.id,
        ...image!.manifest.layers.map((layer) => layer.digest),
        ...image!.config.rootfs.diff_ids,
      ])
        needed.add(digest);
    collectLayers(needed);
    return collectBlobs(needed);
  });
}

function collectBlobs(needed: ReadonlySet<string>): string[] {
  const blobs = join(Folder.store(), "blobs", "sha256");
  const removed: string[] = [];
  for (const name of existsSync(blobs) ? readdirSync(blobs) : []) {
    if (!/^[0-9a-f]{64}$/u.test(name) || needed.has(`sha256:${name}`)) continue;
    rmSync(join(blobs, name));
    removed.push(`sha256:${name}`);
  }
  return removed;
}

function collectLayers(needed: ReadonlySet<string>): void {
  for (const name of readdirSync(Folder.layers())) {
    if (!/^[0-9a-f]{64}$/u.test(name) || needed.has(`sha256:${name}`)) continue;
    // Renamed first: a removal that is interrupted must not leave half a layer under a layer's name.
    const gone = join(Folder.layers(), `${name}.${randomBytes(6).toString("hex")}`);
    renameSync(join(Folder.layers(), name), gone);
    rmSync(gone, { recursive: true, force: true });
  }
}
