import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zstdCompressSync } from "node:zlib";
import { packTar } from "modern-tar";
import type { TarEntry } from "modern-tar";
import { afterEach, beforeEach } from "vitest";
import { digestOf, putBlob } from "../images/store.ts";
import type { Descriptor } from "../images/store.ts";

/** Gives each test of a file its own CVM_HOME, removed afterwards; returns a function that names it. */
export function useTemporaryHome(): () => string {
  let home = "";
  const before = process.env["CVM_HOME"];
  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), "cvm-test-"));
    process.env["CVM_HOME"] = home;
  });
  afterEach(() => {
    if (before === undefined) delete process.env["CVM_HOME"];
    else process.env["CVM_HOME"] = before;
    rmSync(home, { recursive: true, force: true });
  });
  return () => home;
}

/** A tar entry in few words: a text is a file, `{ to }` a symbolic link, `{ hard }` a hard link; a name that ends in / a folder. */
export type Short = readonly [
  name: string,
  what?: string | { readonly to: string } | { readonly hard: string } | Partial<TarEntry["header"]>,
];

export function entryOf([name, what]: Short): TarEntry {
  const base = { name, size: 0, mtime: new Date(1_000_000_000_000) };
  if (typeof what === "string") return { header: { ...base, type: "file", size: Buffer.byteLength(what) }, body: what };
  if (what !== undefined && "to" in what) return { header: { ...base, type: "symlink", linkname: what.to } };
  if (what !== undefined && "hard" in what) return { header: { ...base, type: "link", linkname: what.hard } };
  return { header: { ...base, type: name.endsWith("/") ? "directory" : "file", ...what } };
}

/** Stores a layer with these entries, in this order; returns what an image says of it. */
export async function storeLayer(entries: readonly Short[]): Promise<{ readonly descriptor: Descriptor; readonly diffId: string }> {
  return storeTar(Buffer.from(await packTar(entries.map(entryOf))));
}

export function storeTar(tar: Buffer): { readonly descriptor: Descriptor; readonly diffId: string } {
  const bytes = zstdCompressSync(tar);
  const mediaType = "application/vnd.oci.image.layer.v1.tar+zstd";
  return { descriptor: { mediaType, digest: putBlob(bytes), size: bytes.length }, diffId: digestOf(tar) };
}
