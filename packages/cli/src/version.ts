import { readFileSync, statSync } from "node:fs";

/** Version of this package. */
export const version: string = (JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string })
  .version;

/** When a file was last written; 0 when there is none. */
function writtenAt(url: string): number {
  return statSync(new URL(url), { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

/**
 * Changes when this package or one that it stands on is built anew, so that a command can tell a host process of older
 * code: the compiler rewrites its build information at every change. Installed packages have none; they change with {@link version}.
 */
export const build: string = [
  version,
  ...["@cvm/cpu", "@cvm/monitor", "@cvm/libos", "@cvm/net"].map((name) =>
    writtenAt(new URL(".tsbuildinfo", import.meta.resolve(name)).href),
  ),
  writtenAt(new URL(".tsbuildinfo", import.meta.url).href),
].join(" ");
