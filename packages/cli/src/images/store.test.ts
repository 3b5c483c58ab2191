import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { Folder } from "../home.ts";
import { storeLayer, useTemporaryHome } from "../test-support/home.ts";
import { unpackImage } from "./layer.ts";
import type { Image } from "./store.ts";
import { digestOf, findImage, getBlob, imageIdOf, listImages, putBlob, putImage, removeImage, requireImage } from "./store.ts";

const home = useTemporaryHome();

async function make(reference: string, text: string = reference): Promise<Image> {
  const { descriptor, diffId } = await storeLayer([["file", text]]);
  return putImage(
    reference,
    { architecture: "riscv64", os: "linux", config: { Cmd: [text] }, rootfs: { type: "layers", diff_ids: [diffId] } },
    [descriptor],
  );
}
const blob = (digest: string): string => join(Folder.store(), "blobs/sha256", digest.slice(7));
const blobs = (): number => readdirSync(join(Folder.store(), "blobs/sha256")).length;

describe("blobs", () => {
  test("are found by content, and private", () => {
    const digest = putBlob(Buffer.from("x"));
    expect(digest).toBe("sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881");
    expect(getBlob(digest).toString()).toBe("x");
    expect(statSync(blob(digest)).mode & 0o077).toBe(0);
    expect(statSync(home()).mode & 0o077).toBe(0);
  });
  test("are not read when missing, damaged, or no digest", () => {
    const digest = putBlob(Buffer.from("x"));
    writeFileSync(blob(digest), "y");
    expect(() => getBlob(digest)).toThrow(/^\[failed\]/u);
    expect(() => getBlob(digestOf(Buffer.from("z")))).toThrow(/^\[not_found\]/u);
    expect(() => getBlob("sha256:../../x")).toThrow(/^\[invalid\]/u);
  });
  test("a damaged one is repaired by storing it again", () => {
    const digest = putBlob(Buffer.from("x"));
    writeFileSync(blob(digest), "half");
    putBlob(Buffer.from("x"));
    expect(getBlob(digest).toString()).toBe("x");
  });
});

describe("images", () => {
  test("an OCI layout", async () => {
    const image = await make("redis:8");
    expect(image).toMatchObject({ reference: "redis:8", config: { architecture: "riscv64" } });
    expect(JSON.parse(readFileSync(join(Folder.store(), "oci-layout"), "utf8"))).toEqual({ imageLayoutVersion: "1.0.0" });
    const index = JSON.parse(readFileSync(join(Folder.store(), "index.json"), "utf8")) as { manifests: unknown[] };
    expect(index).toMatchObject({
      schemaVersion: 2,
      mediaType: "application/vnd.oci.image.index.v1+json",
      manifests: [{ annotations: { "org.opencontainers.image.ref.name": "redis:8" }, platform: { architecture: "riscv64", os: "linux" } }],
    });
  });
  test("are found by name and by id", async () => {
    const image = await make("redis");
    for (const key of ["redis", "redis:latest", image.id, image.id.slice(7), image.id.slice(7, 19), image.id.slice(0, 20)])
      expect(findImage(key)?.id, key).toBe(image.id);
    expect(findImage("other")).toBeUndefined();
    expect(findImage("redis:9")).toBeUndefined();
    expect(imageIdOf("redis")).toBe(image.id);
  });
  test("a name goes before an id that begins so", async () => {
    const image = await make("one");
    const named = await make(image.id.slice(7, 15));
    expect(findImage(image.id.slice(7, 15))?.id).toBe(named.id);
    expect(findImage(image.id)?.id).toBe(image.id);
    await expect(make(image.id)).rejects.toThrow(/^\[invalid\]/u);
  });
  test("missing ones say what there is", async () => {
    await make("redis");
    expect(() => requireImage("nothing")).toThrow(
      '[not_found] no image "nothing:latest" here (there are: redis:latest): make it with: cvm image debian',
    );
    expect(() => requireImage(`sha256:${"0".repeat(64)}`)).toThrow(/^\[not_found\]/u);
    expect(() => requireImage("No Name")).toThrow(/^\[invalid\]/u);
  });
  test("an image whose layer is not stored is refused", () => {
    const digest = digestOf(Buffer.from("never"));
    expect(() =>
      putImage("x", { architecture: "riscv64", os: "linux", config: {}, rootfs: { type: "layers", diff_ids: [digest] } }, [
        { mediaType: "", digest, size: 1 },
      ]),
    ).toThrow(/^\[not_found\]/u);
    expect(listImages()).toEqual([]);
  });
  test("an image that is made again takes the name; the former stays for who uses it", async () => {
    const former = await make("redis", "1");
    const folders = await unpackImage(former);
    const latter = await make("redis", "2");
    await make("busybox");
    expect(findImage("redis")?.id).toBe(latter.id);
    expect(findImage(former.id)?.reference).toBe(former.id);
    removeImage("busybox", new Set([former.id]));
    expect(requireImage(former.id).id).toBe(former.id);
    expect(existsSync(join(folders[0]!, "root/file"))).toBe(true);
    await make("busybox");
    removeImage("busybox");
    expect(findImage(former.id)).toBeUndefined();
    expect(existsSync(folders[0]!)).toBe(false);
    expect(listImages().map((one) => one.id)).toEqual([latter.id]);
  });
  test("the same image made twice is one", async () => {
    await make("redis", "1");
    await make("redis", "1");
    expect(listImages()).toHaveLength(1);
  });
  test("removal takes what no other image needs", async () => {
    const one = await make("one", "same");
    const two = await make("two", "same");
    const other = await make("other");
    await unpackImage(one);
    await unpackImage(other);
    expect(two.id).toBe(one.id);
    expect(removeImage("one")).toEqual([]);
    expect(removeImage("other")).toHaveLength(3);
    expect(readdirSync(Folder.layers())).toHaveLength(1);
    expect(removeImage("two")).toHaveLength(3);
    expect([blobs(), readdirSync(Folder.layers())]).toEqual([0, []]);
    expect(() => removeImage("one")).toThrow(/^\[not_found\]/u);
  });
  test("a damaged image is not in the way of others, and can be removed", async () => {
    const good = await make("good");
    const bad = await make("bad");
    writeFileSync(blob(bad.id), "damage");
    expect(listImages().map((one) => one.reference)).toEqual(["good:latest"]);
    expect(findImage("good")?.id).toBe(good.id);
    expect(() => findImage("bad")).toThrow(/^\[failed\]/u);
    expect(imageIdOf("bad")).toBeUndefined();
    // What a damaged image needs is not known, so nothing is collected while one is named.
    await make("third");
    expect(removeImage("third")).toEqual([]);
    removeImage("bad");
    expect(listImages().map((one) => one.reference)).toEqual(["good:latest"]);
    expect(blobs()).toBe(3);
  });
  test("an index that is no index", () => {
    for (const text of ["", "{", "null", "[]", '{"manifests":1}']) {
      writeFileSync(join(Folder.store(), "index.json"), text);
      expect(() => listImages(), text).toThrow(/^\[failed\] .*index/u);
    }
  });
});

describe("the lock of the index", () => {
  test("commands at the same time lose nothing", async () => {
    const { descriptor, diffId } = await storeLayer([["file", "x"]]);
    const program = `
      import { putImage } from ${JSON.stringify(new URL("store.ts", import.meta.url).href)};
      import { spawn } from "node:child_process";
      if (process.argv[1] === "all") {
        await Promise.all(["a", "b", "c"].map((name) => new Promise((done) => spawn(process.execPath, [...process.execArgv, name], { stdio: "inherit" }).on("close", done))));
      } else for (let i = 0; i < 5; i++) putImage(process.argv[1] + ":" + i, { architecture: "riscv64", os: "linux", config: {}, rootfs: { type: "layers", diff_ids: [${JSON.stringify(diffId)}] } }, [${JSON.stringify(descriptor)}]);
    `;
    const { status, stderr } = spawnSync(process.execPath, ["--conditions=source", "--input-type=module", "-e", program, "all"], {
      encoding: "utf8",
    });
    expect(status, stderr).toBe(0);
    expect(new Set(listImages().map((one) => one.reference)).size).toBe(15);
    expect(existsSync(join(Folder.store(), "index.lock"))).toBe(false);
  });
  test("one that a killed command left is taken over", async () => {
    mkdirSync(Folder.store(), { recursive: true });
    const lock = join(Folder.store(), "index.lock");
    writeFileSync(lock, "");
    utimesSync(lock, 1, 1);
    await make("redis");
    expect(existsSync(lock)).toBe(false);
  });
});
