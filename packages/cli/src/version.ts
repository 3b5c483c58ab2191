import { readFileSync, statSync } from "node:fs";

const manifest = new URL("../package.json", import.meta.url);

/** Version of this package. */
export const version: string = (JSON.parse(readFileSync(manifest, "utf8")) as { version: string }).version;

/** Changes when this package is built anew, so that a command can tell a host process of older code. */
export const build: string = String(statSync(new URL(import.meta.url)).mtimeMs);
