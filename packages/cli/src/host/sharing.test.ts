/** What projects share: kept over hosts, tied to owners, replaced without losing what stays. */
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, expect, test } from "vitest";
import { cvmHome } from "../home.ts";
import { useTemporaryHome } from "../test-support/home.ts";
import type { SharedDefinition } from "./protocol.ts";
import type { RuntimeObjects } from "./runtime.ts";
import { HostSharing } from "./sharing.ts";

useTemporaryHome();

/** Remembers what was asked of it; names in `full` cannot be made. */
class FakeObjects implements RuntimeObjects {
  readonly log: string[] = [];
  readonly full: Set<string> = new Set();
  declare(project: string, { kind, name }: SharedDefinition): void {
    if (this.full.has(name)) throw new Error("no room");
    this.log.push(`declare ${project} ${kind} ${name}`);
  }
  grant(project: string, { name, grants }: SharedDefinition): void {
    this.log.push(`grant ${project} ${name} ${grants.map(({ cvm }) => cvm).join(" ")}`);
  }
  revoke(project: string, { kind, name }: SharedDefinition): void {
    this.log.push(`revoke ${project} ${kind} ${name}`);
  }
  list(): [] {
    return [];
  }
}
const file = (name: string, more: Partial<SharedDefinition> = {}): SharedDefinition => ({
  kind: "file",
  name,
  size: 16,
  content: new Uint8Array([1, 2]),
  grants: [{ cvm: "web-1", rights: ["read"] }],
  ...more,
});
const nobody = new Set<string>();
let objects: FakeObjects;
let reports: string[];
beforeEach(() => {
  objects = new FakeObjects();
  reports = [];
});
const host = (on: FakeObjects = objects): HostSharing => new HostSharing(on, (text) => reports.push(text));

test("what stays as it was is kept, with new grants; the rest goes or comes", () => {
  const sharing = host();
  sharing.share("shop", [file("a"), file("b")], nobody);
  sharing.share("shop", [file("a", { grants: [{ cvm: "web-2", rights: ["read"] }] }), file("b", { size: 32 }), file("c")], nobody);
  expect(objects.log).toEqual([
    "declare shop file a",
    "declare shop file b",
    "grant shop a web-2",
    "revoke shop file b",
    "declare shop file b",
    "declare shop file c",
  ]);
  sharing.share("shop", [], nobody);
  expect(objects.log.slice(6)).toEqual(["revoke shop file a", "revoke shop file b", "revoke shop file c"]);
});

test("another project's objects of the same names are left alone", () => {
  const sharing = host();
  sharing.share("one", [file("a")], nobody);
  sharing.share("two", [file("a")], nobody);
  sharing.share("one", [], nobody);
  expect(objects.log).toEqual(["declare one file a", "declare two file a", "revoke one file a"]);
});

test("what has an owner comes and goes with it", () => {
  const sharing = host();
  sharing.share("shop", [file("a", { owner: "db-1" }), file("b", { owner: "web-1" })], new Set(["web-1"]));
  expect(objects.log).toEqual(["declare shop file b"]);
  sharing.starting("db-1");
  sharing.starting("db-1");
  sharing.ended("db-1");
  sharing.ended("db-1");
  sharing.starting("db-1");
  expect(objects.log.slice(1)).toEqual(["declare shop file a", "revoke shop file a", "declare shop file a"]);
});

test("a new host has them again, bytes and all", () => {
  host().share("shop", [file("a"), { kind: "stream", name: "line", grants: [] }], nobody);
  const next = new FakeObjects();
  const declared: SharedDefinition[] = [];
  next.declare = (_project, definition) => void declared.push(definition);
  host(next);
  expect(declared).toEqual([file("a"), { kind: "stream", name: "line", grants: [] }]);
  expect(reports).toEqual([]);
});

test("a damaged file is reported and left, other projects go on", () => {
  const first = host();
  first.share("good", [file("a")], nobody);
  for (const [name, text] of [
    ["bad", "{"],
    ["worse", JSON.stringify([{ kind: "file", name: "../x", grants: [] }])],
    ["odd name", "[]"],
  ])
    writeFileSync(join(cvmHome(), "objects", `${name}.json`), text!);
  const next = new FakeObjects();
  host(next);
  expect(next.log).toEqual(["declare good file a"]);
  expect(reports).toHaveLength(3);
  expect(readdirSync(join(cvmHome(), "objects"))).toHaveLength(4);
});

test("without room it fails and names the object; two of one name are refused", () => {
  const sharing = host();
  objects.full.add("b");
  expect(() => sharing.share("shop", [file("a"), file("b")], nobody)).toThrow("[failed] the file b cannot be made: no room");
  expect(() => sharing.share("shop", [file("a"), file("a")], nobody)).toThrow("[invalid]");
  expect(() => new HostSharing(undefined, () => {}).share("shop", [file("a")], nobody)).toThrow("[unavailable]");
});
