import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { CliError } from "../errors.ts";

/** Reads a text file of an image: the highest layer that has it. */
function readImageFile(layers: readonly string[], path: string): string {
  for (const layer of layers.toReversed()) {
    const file = join(layer, "root", path);
    if (existsSync(file)) return readFileSync(file, "utf8");
  }
  return "";
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
  const [userPart = "", groupPart] = spec.split(":");
  const passwd = readImageFile(layers, "etc/passwd")
    .split("\n")
    .map((line) => line.split(":"));
  const wanted = userPart === "" ? "0" : userPart;
  const row = passwd.find((fields) => fields[0] === wanted) ?? passwd.find((fields) => fields[2] === wanted);
  if (row === undefined && !/^\d+$/u.test(wanted))
    throw new CliError("invalid", `the image has no user "${wanted}" in /etc/passwd: give a number, or a name that it has`);
  const uid = Number(row?.[2] ?? wanted);
  let gid = Number(row?.[3] ?? 0);
  if (groupPart !== undefined && groupPart !== "") {
    const groups = readImageFile(layers, "etc/group")
      .split("\n")
      .map((line) => line.split(":"));
    const group = groups.find((fields) => fields[0] === groupPart);
    if (group === undefined && !/^\d+$/u.test(groupPart))
      throw new CliError("invalid", `the image has no group "${groupPart}" in /etc/group: give a number, or a name that it has`);
    gid = Number(group?.[2] ?? groupPart);
  }
  return { uid, gid, home: row?.[5] ?? (uid === 0 ? "/root" : "/") };
}
