import { lstatSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { CliError } from "../errors.ts";

/** Largest account file that is read. */
const MAX_FILE_BYTES = 1024 * 1024;
const MAX_LINKS = 40;
/** Largest user or group number, as docker has it. */
const MAX_ID = 2 ** 31 - 1;

/**
 * Reads a text file of an image: the highest layer that has it. Links lead to files of the image, never of the host;
 * what is no regular file of at most 1 MiB counts as missing.
 */
function readImageFile(layers: readonly string[], path: string): string {
  const pending = path.split("/");
  const placed: string[] = [];
  let links = 0;
  while (pending.length > 0) {
    const part = pending.shift()!;
    if (part === "" || part === ".") continue;
    if (part === "..") {
      placed.pop();
      continue;
    }
    placed.push(part);
    const found = layers
      .map((layer) => join(layer, "root", ...placed))
      .toReversed()
      .map((file) => ({ file, stat: lstatSync(file, { throwIfNoEntry: false }) }))
      .find((one) => one.stat !== undefined);
    if (found?.stat === undefined) return "";
    if (found.stat.isSymbolicLink()) {
      if (++links > MAX_LINKS) return "";
      const target = readlinkSync(found.file);
      if (target.startsWith("/")) placed.length = 0;
      else placed.pop();
      pending.unshift(...target.split("/"));
    } else if (pending.length === 0) {
      return found.stat.isFile() && found.stat.size <= MAX_FILE_BYTES ? readFileSync(found.file, "utf8") : "";
    } else if (!found.stat.isDirectory()) return "";
  }
  return "";
}

/** Rows of an account file whose fields at `numbers` are numbers; others do not count. */
function rows(text: string, numbers: readonly number[]): string[][] {
  return text
    .split("\n")
    .map((line) => line.split(":"))
    .filter((fields) => numbers.every((field) => isId(fields[field] ?? "")));
}

function isId(text: string): boolean {
  return /^\d+$/u.test(text) && Number(text) <= MAX_ID;
}

/** Who a program runs as, from an image's own accounts. */
export interface User {
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

/**
 * Resolves `user[:group]` (names or numbers) as docker's USER does. Empty means root.
 * @throws CliError `invalid` naming the user or group that the image does not have.
 */
export function resolveUser(spec: string, layers: readonly string[]): User {
  const [userPart = "", groupPart = "", ...more] = spec.split(":");
  if (more.length > 0) throw new CliError("invalid", `"${spec}" is not a user: write USER or USER:GROUP`);
  const passwd = rows(readImageFile(layers, "etc/passwd"), [2, 3]);
  const wanted = userPart === "" ? "0" : userPart;
  const row = passwd.find((fields) => fields[0] === wanted) ?? passwd.find((fields) => Number(fields[2]) === Number(wanted));
  if (row === undefined && !isId(wanted))
    throw new CliError("invalid", `the image has no user "${wanted}" in /etc/passwd: give a number, or a name that it has`);
  const uid = Number(row?.[2] ?? wanted);
  let gid = Number(row?.[3] ?? 0);
  if (groupPart !== "") {
    const group = rows(readImageFile(layers, "etc/group"), [2]).find((fields) => fields[0] === groupPart);
    if (group === undefined && !isId(groupPart))
      throw new CliError("invalid", `the image has no group "${groupPart}" in /etc/group: give a number, or a name that it has`);
    gid = Number(group?.[2] ?? groupPart);
  }
  const home = row?.[5];
  return { uid, gid, home: home !== undefined && home !== "" ? home : uid === 0 ? "/root" : "/" };
}
