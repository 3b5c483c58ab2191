import { mkdirSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";

/** The folder that holds images, layers, cVMs and the host's socket: CVM_HOME, or `~/.local/share/cvm`. */
export function cvmHome(): string {
  const configured = process.env["CVM_HOME"];
  if (configured !== undefined && configured !== "") return resolve(configured);
  const data = process.env["XDG_DATA_HOME"];
  // A relative one is to be ignored (XDG base directory specification).
  return join(data?.startsWith("/") === true ? data : join(homedir(), ".local", "share"), "cvm");
}

/** Folders below {@link cvmHome}, made when asked for. All are private to the user (0700). */
export const Folder = {
  /** OCI image layout: blobs/sha256, index.json, oci-layout. */
  store: (): string => ensure(join(cvmHome(), "images")),
  /** Unpacked layers by diff id. */
  layers: (): string => ensure(join(cvmHome(), "layers")),
  /** One folder per cVM: configuration, log, writable layer. */
  cvms: (): string => ensure(join(cvmHome(), "cvms")),
  /** The host process: socket, log. */
  run: (): string => ensure(join(cvmHome(), "run")),
  /** Package lists and packages of the image builder. */
  cache: (): string => ensure(join(cvmHome(), "cache")),
};

function ensure(path: string): string {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  return path;
}

/** Stored translations. Not made here: a home that can only be read is no reason to fail. */
export function translationsFolder(): string {
  return join(cvmHome(), "translations");
}
