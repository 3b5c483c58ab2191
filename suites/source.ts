/** Source packages of the Debian release that images are made from, by this machine's own mirrors. */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { privateApt, runApt, sourceLines } from "../packages/cli/src/images/apt.ts";
import { run } from "./machine.ts";
import { HOME, SOURCES } from "./places.ts";
import { UnavailableError } from "./unavailable.ts";

/**
 * Downloads and unpacks a source package unless it is there. Signatures are checked by apt against Debian's keys; Debian's own
 * patches are left out.
 * @returns the folder with the program's source
 */
export async function ensureSource(name: string, say: (text: string) => void): Promise<string> {
  const folder = join(SOURCES, name);
  if (existsSync(folder)) return folder;
  say(`downloading the source package ${name}`);
  process.env["CVM_HOME"] = HOME;
  const apt = privateApt("source");
  const unpacked = `${folder}.${process.pid}`;
  rmSync(unpacked, { recursive: true, force: true });
  mkdirSync(unpacked, { recursive: true });
  const problems: string[] = [];
  for (const line of sourceLines()) {
    writeFileSync(join(apt.folder, "etc", "sources.list"), `${line}\n`);
    const updated = await runApt(apt, ["update", "-o", "APT::Update::Error-Mode=any"]);
    const { status, output } = updated.status === 0 ? await runApt(apt, ["source", "--download-only", name], undefined, unpacked) : updated;
    if (status === 0) break;
    problems.push(output.trim().slice(-300));
  }
  const archive = readdirSync(unpacked).find((file) => /\.orig\.tar\.\w+$/u.test(file));
  if (archive === undefined)
    throw new UnavailableError(
      `the source package ${name} could not be downloaded: ${problems.join("; ") || "no Debian mirror, or no keys of Debian, on this machine"}`,
    );
  const { status, output } = await run("tar", ["-xf", archive, "--strip-components=1"], { timeout: 120, cwd: unpacked });
  if (status !== 0) throw new Error(`${archive} cannot be unpacked: ${output.trim()}`);
  renameSync(unpacked, folder);
  return folder;
}
