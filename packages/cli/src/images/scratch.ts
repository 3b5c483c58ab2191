import { packTar } from "modern-tar";
import { zstdCompressSync } from "node:zlib";
import { CliError } from "../errors.ts";
import { digestOf, putBlob, putImage } from "./store.ts";
import type { Image, ImageConfig } from "./store.ts";

/** A file of an image made from nothing. */
export interface ScratchFile {
  /** Path without a leading slash. */
  readonly path: string;
  readonly data: Uint8Array;
  /** Permission bits; 0o644 unless given. */
  readonly mode?: number;
}

/**
 * Makes an image that holds just these files. Folders are made as needed (0755, root).
 * @throws CliError `invalid` for a reference or a path that is not valid.
 */
export async function makeScratchImage(reference: string, files: readonly ScratchFile[], config: ImageConfig["config"]): Promise<Image> {
  const folders = new Set<string>(["tmp", "dev", "proc", "sys", "etc"]);
  for (const { path } of files) {
    const names = path.split("/");
    if (names.some((name) => name === "" || name === "." || name === ".."))
      throw new CliError("invalid", `"${path}" is not the path of a file in an image: write it without a leading slash, . and ..`);
    const parts = names.slice(0, -1);
    for (let depth = 1; depth <= parts.length; depth++) folders.add(parts.slice(0, depth).join("/"));
  }
  for (const { path } of files) if (folders.has(path)) throw new CliError("invalid", `"${path}" is a file and a folder of the image`);
  const tar = Buffer.from(
    await packTar([
      ...[...folders].sort().map((name) => ({
        header: { name: `${name}/`, type: "directory" as const, size: 0, mode: name === "tmp" ? 0o1777 : 0o755, mtime: new Date(0) },
      })),
      ...files.map(({ path, data, mode }) => ({
        header: { name: path, type: "file" as const, size: data.length, mode: mode ?? 0o644, mtime: new Date(0) },
        body: new Uint8Array(data),
      })),
    ]),
  );
  const compressed = zstdCompressSync(tar);
  return putImage(
    reference,
    {
      created: new Date().toISOString(),
      architecture: "riscv64",
      os: "linux",
      config,
      rootfs: { type: "layers", diff_ids: [digestOf(tar)] },
    },
    [{ mediaType: "application/vnd.oci.image.layer.v1.tar+zstd", digest: putBlob(compressed), size: compressed.length }],
  );
}
