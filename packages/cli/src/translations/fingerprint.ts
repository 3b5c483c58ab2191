/** What a translation depends on beside its code: units of another fingerprint are never looked at. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { version } from "../version.ts";

/** Raised when the format of the files changes. */
const FORMAT = 1;
/** Folders of the processor's package that nothing is translated with. */
const APART = /^(?:assembler|command|recordings|rvfi|verify)[/\\]/u;
const CODE = /\.[jt]s$/u;
const TEST = /\.test\./u;

/** Hash over the files of the processor's package as they are run here: a change of a clause or of the emitter is another translator. */
function hashOfSources(): Buffer {
  const folder = dirname(fileURLToPath(import.meta.resolve("@cvm/cpu")));
  const hash = createHash("sha256");
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" });
  for (const name of names.filter((path) => CODE.test(path) && !TEST.test(path) && !APART.test(path)).sort()) {
    const content = readFileSync(join(folder, name));
    hash.update(`${name}\0${content.length}\0`).update(content);
  }
  return hash.digest();
}

let sources: Buffer | undefined;

/**
 * 32 bytes over the format, this package's version, the sources, the engine's version, the processor's kind, and `variant`: the
 * translator's options and what it found out about the processor.
 */
export function fingerprintOf(variant: string): Buffer {
  sources ??= hashOfSources();
  const about = [FORMAT, version, process.versions.v8, process.platform, process.arch, variant];
  return createHash("sha256").update(sources).update(JSON.stringify(about)).digest();
}
