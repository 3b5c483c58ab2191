import { appendFileSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { temporaryFolder } from "./fake-kernel.test.support.ts";
import { MetadataStore } from "./metadata.ts";

let folder: string;
let store: MetadataStore;
/** Host inode numbers by path. */
let host: Record<string, number> = {};
const open = (): MetadataStore => new MetadataStore(folder, "metadata", (path) => host[path] ?? 0);
const again = (): void => {
  store.close();
  store = open();
};
const entry = (mode: number): { mode: number; uid: number; gid: number } => ({ mode, uid: 1, gid: 2 });
const modes = (): Record<string, number> =>
  Object.fromEntries([...store.all()].map(([path, { mode, whiteout }]) => [path, whiteout ? -1 : mode]));
beforeEach(() => {
  folder = temporaryFolder();
  host = {};
  store = open();
});
afterEach(() => {
  store.close();
  rmSync(folder, { recursive: true });
});

it("keeps changes over a restart, directories with what is below", () => {
  store.set("", entry(1));
  store.set("a", entry(2));
  store.set("a/b/c", entry(3));
  store.set("x", entry(4));
  host = { y: 9, z: 8 };
  store.rename("a", "y", 9, true);
  store.swap("x", "y/b/c");
  store.remove("x");
  store.setAttributes(77, entry(5));
  for (let i = 0; i < 3; i++) {
    expect(modes()).toEqual({ "": 1, a: -1, y: 2, "y/b/c": 4 });
    expect(store.attributes(77)).toEqual(entry(5));
    again();
  }
});

it("undoes the last rename when the host's file did not move, and only the last", () => {
  store.set("a", entry(1));
  store.rename("a", "b", 5, false);
  again();
  expect(modes()).toEqual({ a: 1 });
  host = { b: 5 };
  store.rename("a", "b", 5, false);
  store.set("c", entry(2));
  again();
  expect(modes()).toEqual({ b: 1, c: 2 });
});

it("leaves out what a crash cut off", () => {
  store.set("a", entry(1));
  store.close();
  appendFileSync(join(folder, "metadata.jsonl"), '{"path":"b","entry":{"mo');
  store = open();
  expect(modes()).toEqual({ a: 1 });
  store.close();
  appendFileSync(join(folder, "metadata.jsonl"), '{"path":"b","entr\n{"path":"c","entry":{"mode":3,"uid":0,"gid":0}}\n');
  store = open();
  expect(modes()).toEqual({ a: 1, c: 3 });
});

it("ignores a journal of another generation and finds one whose rename was lost", () => {
  store.set("a", entry(1));
  store.close();
  const journal = join(folder, "metadata.jsonl");
  const old = readFileSync(journal);
  store = open();
  store.set("b", entry(2));
  store.close();
  renameSync(journal, `${journal}.new`);
  writeFileSync(journal, old);
  store = open();
  expect(modes()).toEqual({ a: 1, b: 2 });
});

it("writes the state anew when the journal is long", () => {
  const value = "x".repeat(60_000);
  for (let i = 0; i < 300; i++) store.set("a", { ...entry(i), xattrs: { "user.a": value } });
  expect(statSync(join(folder, "metadata.jsonl")).size).toBeLessThan(2_000_000);
  again();
  expect(modes()).toEqual({ a: 299 });
});
