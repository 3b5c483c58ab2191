/** When changes count as on the disk: with an fsync that ends when the test says. */
import { closeSync, rmSync } from "node:fs";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { temporaryFolder } from "./fake-kernel.test.support.ts";
import { MetadataStore } from "./metadata.ts";

type Done = (error: Error | null) => void;
const calls: { readonly descriptor: number; readonly done: Done }[] = vi.hoisted(() => []);
vi.mock("node:fs", async (original) => ({
  ...(await original<typeof import("node:fs")>()),
  fsync: (descriptor: number, done: Done) => void calls.push({ descriptor, done }),
}));

let folder: string;
let store: MetadataStore;
const results: number[] = [];
const change = (mode: number, value = ""): void => store.set("a", { mode, uid: 0, gid: 0, xattrs: { "user.a": value } });
const sync = (): void => store.sync((result) => results.push(result));
const failure = (code: string): Error => Object.assign(new Error(code), { code });

beforeEach(() => {
  folder = temporaryFolder();
  store = new MetadataStore(folder, "metadata", () => 0);
  sync();
  calls.splice(0)[0]?.done(null);
  results.length = 0;
});
afterEach(() => {
  store.close();
  rmSync(folder, { recursive: true });
});

it("a sync during another one waits for the disk as well", () => {
  change(1);
  sync();
  sync();
  expect(results).toEqual([]);
  expect(calls).toHaveLength(2);
  for (const { done } of calls.splice(0)) done(null);
  expect(results).toEqual([0, 0]);
  sync();
  expect(results).toEqual([0, 0, 0]);
  expect(calls).toEqual([]);
});

it("changes that come during a sync need their own", () => {
  change(1);
  sync();
  change(2);
  calls.splice(0)[0]!.done(null);
  sync();
  expect(results).toEqual([0]);
  calls.splice(0)[0]!.done(null);
  expect(results).toEqual([0, 0]);
});

it("an error is told, and the next sync tries again", () => {
  change(1);
  sync();
  calls.splice(0)[0]!.done(failure("EIO"));
  expect(results).toEqual([-5]);
  sync();
  expect(calls).toHaveLength(1);
  calls.splice(0)[0]!.done(null);
  expect(results).toEqual([-5, 0]);
});

it("a journal that is replaced during a sync is no error of it", () => {
  change(1);
  sync();
  const [first] = calls.splice(0);
  for (let count = 0; count < 300; count++) change(count, "x".repeat(60_000));
  expect(() => closeSync(first!.descriptor)).toThrow("EBADF");
  first!.done(failure("EBADF"));
  expect(results).toEqual([]);
  calls.splice(0)[0]!.done(null);
  expect(results).toEqual([0]);
});
