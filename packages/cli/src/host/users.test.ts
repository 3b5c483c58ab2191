import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { useTemporaryHome } from "../test-support/home.ts";
import { resolveUser } from "./users.ts";

const home = useTemporaryHome();

function layer(files: Readonly<Record<string, string | { readonly to: string }>>): string {
  const folder = mkdtempSync(join(home(), "layer-"));
  mkdirSync(join(folder, "root"));
  for (const [path, content] of Object.entries(files)) {
    const file = join(folder, "root", path);
    mkdirSync(dirname(file), { recursive: true });
    if (typeof content === "string") writeFileSync(file, content);
    else symlinkSync(content.to, file);
  }
  return folder;
}
const PASSWD =
  "root:x:0:0:root:/root:/bin/sh\nredis:x:101:103::/var/lib/redis:/bin/false\n42:x:7:8::/odd:\nnohome:x:9:9:::\nbroken:x::1::/:\nshort\n";
const GROUP = "root:x:0:\nredis:x:103:\nstaff:x:50:redis\n";

describe("as docker's USER", () => {
  test.each([
    ["", { uid: 0, gid: 0, home: "/root" }],
    ["root", { uid: 0, gid: 0, home: "/root" }],
    ["redis", { uid: 101, gid: 103, home: "/var/lib/redis" }],
    ["101", { uid: 101, gid: 103, home: "/var/lib/redis" }],
    ["redis:staff", { uid: 101, gid: 50, home: "/var/lib/redis" }],
    ["redis:77", { uid: 101, gid: 77, home: "/var/lib/redis" }],
    ["redis:", { uid: 101, gid: 103, home: "/var/lib/redis" }],
    [":staff", { uid: 0, gid: 50, home: "/root" }],
    ["1234", { uid: 1234, gid: 0, home: "/" }],
    ["1234:50", { uid: 1234, gid: 50, home: "/" }],
    ["42", { uid: 7, gid: 8, home: "/odd" }],
    ["nohome", { uid: 9, gid: 9, home: "/" }],
  ])("%j", (spec, user) => expect(resolveUser(spec, [layer({ "etc/passwd": PASSWD, "etc/group": GROUP })])).toEqual(user));

  test.each(["nobody", "broken", "short", "redis:nogroup", "a:b:c", "-1", "1.5", "99999999999", "redis:99999999999"])("not %j", (spec) =>
    expect(() => resolveUser(spec, [layer({ "etc/passwd": PASSWD, "etc/group": GROUP })])).toThrow(/^\[invalid\]/u),
  );

  test("without account files", () => {
    expect(resolveUser("", [])).toEqual({ uid: 0, gid: 0, home: "/root" });
    expect(resolveUser("5:6", [layer({})])).toEqual({ uid: 5, gid: 6, home: "/" });
  });
  test("the highest layer that has the file", () => {
    const layers = [layer({ "etc/passwd": PASSWD }), layer({ "etc/passwd": "redis:x:5:5::/new:\n" }), layer({ "etc/group": GROUP })];
    expect(resolveUser("redis", layers).home).toBe("/new");
  });
});

describe("a hostile image", () => {
  test.each(["/outside", "../../../outside", "self"])("links to %s do not lead to files of the host", (to) => {
    writeFileSync(join(home(), "outside"), "thief:x:5:5::/:\n");
    const target = to === "/outside" ? join(home(), "outside") : to;
    const folder = layer({ "etc/passwd": { to: target }, "etc/self": { to: "passwd" } });
    expect(() => resolveUser("thief", [folder])).toThrow(/^\[invalid\]/u);
  });
  test("a device of the host is not read", () => {
    expect(() => resolveUser("x", [layer({ "etc/passwd": { to: "/dev/zero" } })])).toThrow(/^\[invalid\]/u);
    expect(() => resolveUser("x", [layer({ etc: { to: "/dev" } })])).toThrow(/^\[invalid\]/u);
  });
  test("links inside the image are followed, across layers", () => {
    const layers = [layer({ "usr/etc/passwd": PASSWD }), layer({ etc: { to: "/usr/etc" } })];
    expect(resolveUser("redis", layers).uid).toBe(101);
  });
  test("a huge file and a folder in its place", () => {
    expect(() => resolveUser("redis", [layer({ "etc/passwd": PASSWD + "#".repeat(2_000_000) })])).toThrow(/^\[invalid\]/u);
    expect(() => resolveUser("redis", [layer({ "etc/passwd/x": "" })])).toThrow(/^\[invalid\]/u);
  });
});
