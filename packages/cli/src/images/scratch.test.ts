import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { useTemporaryHome } from "../test-support/home.ts";
import type { LayerEntry } from "./layer.ts";
import { unpackImage } from "./layer.ts";
import { makeScratchImage } from "./scratch.ts";
import { findImage } from "./store.ts";

useTemporaryHome();

test("an image of just these files", async () => {
  const image = await makeScratchImage(
    "hello",
    [
      { path: "bin/hello", data: Buffer.from("ELF"), mode: 0o755 },
      { path: "a/b/c.txt", data: new Uint8Array() },
    ],
    { Cmd: ["/bin/hello"], WorkingDir: "/a" },
  );
  expect(findImage("hello")).toEqual(image);
  expect(image.config.config.Cmd).toEqual(["/bin/hello"]);
  const [folder] = await unpackImage(image);
  const { entries } = JSON.parse(readFileSync(join(folder!, "metadata.json"), "utf8")) as { entries: Record<string, LayerEntry> };
  expect(readFileSync(join(folder!, "root/bin/hello"), "utf8")).toBe("ELF");
  expect(entries["bin/hello"]?.mode).toBe(0o100755);
  expect(entries["a/b"]?.mode).toBe(0o040755);
  expect(entries["a/b/c.txt"]?.mode).toBe(0o100644);
  expect(entries["tmp"]?.mode).toBe(0o041777);
  expect(Object.keys(entries)).toEqual(expect.arrayContaining(["", "dev", "proc", "sys", "etc"]));
});

test("the same files are the same layer", async () => {
  const files = [{ path: "x", data: Buffer.from("x") }];
  const [one, two] = [await makeScratchImage("one", files, {}), await makeScratchImage("two", files, {})];
  expect(one.config.rootfs.diff_ids).toEqual(two.config.rootfs.diff_ids);
});

test.each([
  ["a path that leaves the image", "../x"],
  ["a folder of the image's own", "etc"],
  ["an empty path", ""],
  ["an absolute path", "/bin/x"],
])("%s is refused", async (_, path) => {
  await expect(makeScratchImage("bad", [{ path, data: Buffer.from("x") }], {})).rejects.toThrow(/^\[invalid\]/u);
});
