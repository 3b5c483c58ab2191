import { expect, test } from "vitest";
import { appletNames } from "./debian.ts";

const program = (names: readonly string[], before = "\x7fELF junk\0", after = "\0more\0text"): Buffer =>
  Buffer.from(`${before}${names.map((name) => `${name}\0`).join("")}${after}`, "latin1");

test("the names of a busybox, from its table to its end", () => {
  const names = ["[", "[[", "[x", "acpid", "add-shell", "ash", "mkfs.ext2", "run-parts", "sh", "test", "uname"];
  expect(appletNames(program(names))).toEqual(names);
});
test("other texts that look like the table's beginning are passed over", () => {
  expect(appletNames(program(["[", "[[", "ash"], "usage: [\0[[\0no\0junk\0"))).toEqual(["[", "[[", "ash"]);
});
test("whatever byte stands before the table", () => {
  expect(appletNames(program(["[", "[[", "ash", "sh"], "\x7fELF \xc0\xae "))).toEqual(["[", "[[", "ash", "sh"]);
});
test("a table that is cut off, and programs without one", () => {
  expect(appletNames(Buffer.from("\0[\0[[\0ash"))).toEqual(["[", "[["]);
  expect(appletNames(Buffer.from("no table"))).toEqual([]);
  expect(appletNames(Buffer.alloc(0))).toEqual([]);
});
