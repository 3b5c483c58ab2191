import { existsSync, lstatSync, mkdirSync, readFileSync, readdirSync, readlinkSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { packTar } from "modern-tar";
import { describe, expect, test } from "vitest";
import { Folder } from "../home.ts";
import { entryOf, storeLayer, storeTar, useTemporaryHome } from "../test-support/home.ts";
import type { Short } from "../test-support/home.ts";
import type { LayerEntry, LayerLimits } from "./layer.ts";
import { unpackLayer } from "./layer.ts";
import { digestOf, putBlob } from "./store.ts";

const home = useTemporaryHome();

interface Unpacked {
  readonly folder: string;
  readonly entries: Readonly<Record<string, LayerEntry>>;
  read(path: string): string;
  has(path: string): boolean;
}

async function unpack(entries: readonly Short[], limits?: LayerLimits): Promise<Unpacked> {
  const { descriptor, diffId } = await storeLayer(entries);
  const folder = await unpackLayer(descriptor, diffId, limits);
  return {
    folder,
    entries: (JSON.parse(readFileSync(join(folder, "metadata.json"), "utf8")) as { entries: Record<string, LayerEntry> }).entries,
    read: (path) => readFileSync(join(folder, "root", path), "utf8"),
    has: (path) => lstatSync(join(folder, "root", path), { throwIfNoEntry: false }) !== undefined,
  };
}

/** A refusal that leaves nothing behind. */
async function refused(entries: readonly Short[], message: RegExp, limits?: LayerLimits): Promise<void> {
  await expect(unpack(entries, limits)).rejects.toThrow(message);
  expect(readdirSync(Folder.layers())).toEqual([]);
}

describe("what a layer holds", () => {
  test("files, folders, links with modes, owners, times and attributes", async () => {
    const layer = await unpack([
      ["./", { mode: 0o755 }],
      ["bin/", { mode: 0o1755 }],
      ["bin/tool", "#!"],
      ["bin/suid", { mode: 0o4755, uid: 10, gid: 4_000_000_000, pax: { "SCHILY.xattr.user.a": "b" } }],
      ["sh", { to: "bin/tool" }],
      ["bin/same", { hard: "bin/tool" }],
    ]);
    expect(layer.read("bin/tool")).toBe("#!");
    expect(statSync(join(layer.folder, "root/bin/tool")).mtimeMs).toBe(1_000_000_000_000);
    expect(statSync(join(layer.folder, "root/bin/same")).ino).toBe(statSync(join(layer.folder, "root/bin/tool")).ino);
    expect(readlinkSync(join(layer.folder, "root/sh"))).toBe("bin/tool");
    expect(layer.entries).toEqual({
      "": { mode: 0o040755, uid: 0, gid: 0 },
      bin: { mode: 0o041755, uid: 0, gid: 0 },
      "bin/tool": { mode: 0o100644, uid: 0, gid: 0 },
      "bin/suid": { mode: 0o104755, uid: 10, gid: 4_000_000_000, xattrs: { "user.a": "Yg==" } },
      sh: { mode: 0o120644, uid: 0, gid: 0 },
      "bin/same": { mode: 0o100644, uid: 0, gid: 0 },
    });
    // On the host nothing has set-user-id or is for others.
    expect(statSync(join(layer.folder, "root/bin/suid")).mode & 0o7077).toBe(0o0011);
  });

  test("the root and folders that the layer does not list are open to all, whatever the host's mask", async () => {
    const layer = await unpack([["a/b/c", "x"]]);
    for (const path of ["", "a", "a/b"]) expect(layer.entries[path]).toEqual({ mode: 0o040755, uid: 0, gid: 0 });
  });

  test("plain and gzip layers", async () => {
    const tar = Buffer.from(await packTar([entryOf(["f", "x"])]));
    const gzip = gzipSync(tar);
    const name = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    const folder = await unpackLayer({ mediaType: name, digest: putBlob(gzip), size: gzip.length }, digestOf(tar));
    expect(readFileSync(join(folder, "root/f"), "utf8")).toBe("x");
    const other = Buffer.from(await packTar([entryOf(["g", "y"])]));
    const plain = await unpackLayer(
      { mediaType: "application/vnd.oci.image.layer.v1.tar", digest: putBlob(other), size: other.length },
      digestOf(other),
    );
    expect(readFileSync(join(plain, "root/g"), "utf8")).toBe("y");
  });

  test("a file of several chunks", async () => {
    const text = "0123456789abcdef".repeat(200_000);
    expect((await unpack([["big", text]])).read("big") === text).toBe(true);
  });

  test("links of the layer itself are followed inside it", async () => {
    const layer = await unpack([["usr/bin/"], ["bin", { to: "/usr/bin" }], ["bin/sh", "s"], ["lib", { to: "usr/lib" }], ["lib/x", "l"]]);
    expect([layer.read("usr/bin/sh"), layer.read("usr/lib/x")]).toEqual(["s", "l"]);
    expect(lstatSync(join(layer.folder, "root/bin")).isSymbolicLink()).toBe(true);
    expect(layer.entries["usr/bin/sh"]).toBeDefined();
  });
});

describe("whiteouts", () => {
  test("hide a name of lower layers", async () => {
    const layer = await unpack([["etc/"], ["etc/.wh.passwd"]]);
    expect(layer.entries["etc/passwd"]).toEqual({ mode: 0, uid: 0, gid: 0, whiteout: true });
    expect(layer.has("etc/.wh.passwd")).toBe(false);
  });
  test.each([
    ["before", [["d/.wh..wh..opq"], ["d/", { mode: 0o700 }], ["d/x", "x"]]],
    ["after", [["d/", { mode: 0o700 }], ["d/x", "x"], ["d/.wh..wh..opq"]]],
  ] as [string, Short[]][])("an opaque folder, marked %s its own entry", async (_, entries) => {
    const layer = await unpack(entries);
    expect(layer.entries["d"]).toEqual({ mode: 0o040700, uid: 0, gid: 0, opaque: true });
    expect(layer.read("d/x")).toBe("x");
  });
  test("an opaque folder without an entry of its own has a mode", async () => {
    expect((await unpack([["d/.wh..wh..opq"]])).entries["d"]).toEqual({ mode: 0o040755, uid: 0, gid: 0, opaque: true });
  });
  test.each([
    ["before", [["f", "new"], [".wh.f"]]],
    ["after", [[".wh.f"], ["f", "new"]]],
  ] as [string, Short[]][])("do not hide what the layer itself has, %s", async (_, entries) => {
    const layer = await unpack(entries);
    expect(layer.entries["f"]).toEqual({ mode: 0o100644, uid: 0, gid: 0 });
    expect(layer.read("f")).toBe("new");
  });
  test("a folder that replaces a hidden one starts empty", async () => {
    expect((await unpack([[".wh.d"], ["d/x", "x"]])).entries["d"]?.opaque).toBe(true);
  });
  test("notes of AUFS are left out", async () => {
    expect(Object.keys((await unpack([[".wh..wh.plnk/"], [".wh..wh.aufs", "x"]])).entries)).toEqual([""]);
  });
  test.each([".wh.", "a/.wh..", "a/.wh..."])("%s hides no name", (name) => refused([[name]], /^\[invalid\] .* hides no name/u));
});

describe("a hostile layer", () => {
  test.each(["../evil", "a/../../evil", "..", "a/.."])("%s is refused", async (name) => {
    await refused([[name, "x"]], /^\[invalid\] .*leads outside with "\.\."/u);
    expect(existsSync(join(Folder.layers(), "evil")) || existsSync(join(home(), "evil"))).toBe(false);
  });
  test("a name with .. behind a link is refused", () => refused([["a/b/"], ["l", { to: "a/b" }], ["l/../x", "x"]], /leads outside/u));
  test("an absolute name stays inside", async () => {
    const path = join(home(), "outside");
    const layer = await unpack([[path, "x"]]);
    expect(existsSync(path)).toBe(false);
    expect(layer.read(path)).toBe("x");
  });
  test.each(["absolute", "relative"])("a file through an %s link to outside stays inside", async (kind) => {
    const outside = join(home(), "outside");
    mkdirSync(outside);
    const to = kind === "absolute" ? outside : `../../../../../../../../../..${outside}`;
    const layer = await unpack([
      ["evil", { to }],
      ["evil/file", "x"],
      ["evil/link", { hard: "evil/file" }],
      ["evil/.wh.gone"],
      ["evil/folder/"],
    ]);
    expect(readdirSync(outside)).toEqual([]);
    expect(layer.read(`${outside}/file`)).toBe("x");
  });
  test("a file that is written over a link to outside replaces the link", async () => {
    const outside = join(home(), "outside");
    writeFileSync(outside, "mine");
    const layer = await unpack([
      ["l", { to: outside }],
      ["l", "theirs"],
    ]);
    expect(readFileSync(outside, "utf8")).toBe("mine");
    expect(layer.read("l")).toBe("theirs");
    expect(lstatSync(join(layer.folder, "root/l")).isFile()).toBe(true);
  });
  test("a folder over a link to outside replaces the link", async () => {
    const outside = join(home(), "outside");
    mkdirSync(outside);
    const layer = await unpack([["l", { to: outside }], ["l/"], ["l/x", "x"]]);
    expect(readdirSync(outside)).toEqual([]);
    expect(layer.read("l/x")).toBe("x");
  });
  test("a link down a chain of links", async () => {
    const layer = await unpack([
      ["a", { to: "../../b" }],
      ["b", { to: "/c/.." }],
      ["a/x", "x"],
    ]);
    expect(layer.read("x")).toBe("x");
  });
  test("a hard link to a file of the host is refused", async () => {
    const secret = join(home(), "secret");
    writeFileSync(secret, "mine");
    await refused([["l", { hard: secret }]], /no file of the layer/u);
    await refused([["l", { hard: `../../..${secret}` }]], /leads outside/u);
    await refused(
      [
        ["s", { to: "/" }],
        ["l", { hard: `s${secret}` }],
      ],
      /no file of the layer/u,
    );
    await refused([["d/"], ["l", { hard: "d" }]], /no file of the layer/u);
    await refused([["l", { hard: "l" }]], /no file of the layer/u);
  });
  test("a hard link to a symbolic link does not read through it", async () => {
    const secret = join(home(), "secret");
    writeFileSync(secret, "mine");
    const layer = await unpack([
      ["s", { to: secret }],
      ["l", { hard: "s" }],
    ]);
    expect(lstatSync(join(layer.folder, "root/l")).isSymbolicLink()).toBe(true);
    expect(statSync(secret).nlink).toBe(1);
  });
  test("a loop of links is refused", () =>
    refused(
      [
        ["a", { to: "b" }],
        ["b", { to: "a" }],
        ["a/x", "x"],
      ],
      /^\[invalid\] .*loop of links/u,
    ));
  test("device nodes are known by the metadata only", async () => {
    const layer = await unpack([
      ["dev/null", { type: "character-device", mode: 0o666 }],
      ["dev/sda", { type: "block-device", mode: 0o660 }],
      ["dev/pipe", { type: "fifo" }],
      ["dev/zero", { hard: "dev/null" }],
    ]);
    expect(readdirSync(join(layer.folder, "root/dev"))).toEqual([]);
    expect(layer.entries["dev/null"]?.mode).toBe(0o020666);
    expect(layer.entries["dev/zero"]?.mode).toBe(0o020666);
    expect(layer.entries["dev/sda"]?.mode).toBe(0o060660);
    expect(layer.entries["dev/pipe"]?.mode).toBe(0o010644);
  });
  test("a path below a device or a file is refused", async () => {
    await refused(
      [
        ["d", { type: "character-device" }],
        ["d/x", "x"],
      ],
      /^\[invalid\] .*no folder/u,
    );
    await refused(
      [
        ["f", "x"],
        ["f/y/z", "x"],
      ],
      /^\[invalid\]/u,
    );
  });
  test("a path that changes its type leaves nothing of what it was", async () => {
    const layer = await unpack([
      ["p/"],
      ["p/below/deep", "x"],
      ["p/.wh.hidden"],
      ["p", "file"],
      ["q", "file"],
      ["q/"],
      ["q/x", "x"],
      ["r/x", "x"],
      ["r", { type: "fifo" }],
    ]);
    expect(layer.read("p")).toBe("file");
    expect(layer.read("q/x")).toBe("x");
    expect(layer.has("r")).toBe(false);
    expect(Object.keys(layer.entries).sort()).toEqual(["", "p", "q", "q/x", "r"]);
  });
  test("a file that is there twice is the later one, and other names of the first keep it", async () => {
    const layer = await unpack([
      ["f", "first"],
      ["g", { hard: "f" }],
      ["f", "2"],
    ]);
    expect([layer.read("f"), layer.read("g")]).toEqual(["2", "first"]);
  });
  test("names of Object's own properties are names like others", async () => {
    const layer = await unpack([["__proto__/.wh..wh..opq"], ["constructor/.wh..wh..opq"], ["__proto__/x", "x"], ["toString", "y"]]);
    expect(({} as { opaque?: unknown }).opaque).toBeUndefined();
    expect((Object as { opaque?: unknown }).opaque).toBeUndefined();
    expect(Object.keys(layer.entries).sort()).toEqual(["", "__proto__", "__proto__/x", "constructor", "toString"]);
  });
  test("names that the host cannot hold", async () => {
    await refused([["n".repeat(300), "x"]], /^\[invalid\]/u);
    await refused([[`${"d/".repeat(3000)}x`, "x"]], /^\[invalid\]/u);
    await refused([["l", { to: "" }]], /^\[invalid\]/u);
    await refused([["f", { pax: { path: "a\0b" } }]], /^\[invalid\]/u);
  });
  test("a message shows a name without its control characters", () => refused([["../\u001b[2J", "x"]], /\.\.\/\\u001b\[2J/u));
  test("owners that Linux does not have", () => refused([["f", { uid: 0xffff_ffff }]], /^\[invalid\] .*owner/u));
  test("a root that is no folder", () => refused([["./", { type: "symlink", linkname: "/" }]], /^\[invalid\]/u));
});

describe("limits and damage", () => {
  test("a decompression bomb is refused before it is unpacked", async () => {
    await refused([["zeros", "\0".repeat(20_000_000)]], /^\[invalid\] .*more than 1000000 bytes/u, { bytes: 1_000_000, entries: 10 });
  });
  test("too many entries", () =>
    refused(
      Array.from({ length: 11 }, (_, index): Short => [`f${index}`, "x"]),
      /^\[invalid\] .*more than 10 entries/u,
      {
        bytes: 1_000_000,
        entries: 10,
      },
    ));
  test("other content than the image says", async () => {
    const { descriptor } = await storeLayer([["f", "x"]]);
    await expect(unpackLayer(descriptor, digestOf(Buffer.from("other")))).rejects.toThrow(/^\[failed\] .*other content/u);
    expect(readdirSync(Folder.layers())).toEqual([]);
  });
  test("a diff id is a digest, not a path", async () => {
    const { descriptor } = await storeLayer([["f", "x"]]);
    mkdirSync(join(home(), "planted"));
    writeFileSync(join(home(), "planted", "metadata.json"), "{}");
    for (const diffId of ["sha256:../planted", "../planted", "", "sha256:", `sha256:${"A".repeat(64)}`])
      await expect(unpackLayer(descriptor, diffId)).rejects.toThrow(/^\[invalid\]/u);
  });
  test("a stored blob that was changed", async () => {
    const { descriptor, diffId } = await storeLayer([["f", "x"]]);
    writeFileSync(join(Folder.store(), "blobs/sha256", descriptor.digest.slice(7)), "changed");
    await expect(unpackLayer(descriptor, diffId)).rejects.toThrow(/^\[failed\] .*damaged/u);
  });
  test("what is not compressed as it says, and a tar that was cut off or is none", async () => {
    const junk = Buffer.from("this is not zstd");
    const zstd = "application/vnd.oci.image.layer.v1.tar+zstd";
    await expect(unpackLayer({ mediaType: zstd, digest: putBlob(junk), size: junk.length }, digestOf(junk))).rejects.toThrow(
      /^\[invalid\] .*decompressed/u,
    );
    const tar = Buffer.from(await packTar([entryOf(["f", "x".repeat(5000)])]));
    for (const bad of [tar.subarray(0, 2048), Buffer.alloc(4096, 1), tar.fill(7, 0, 20)]) {
      const { descriptor, diffId } = storeTar(bad);
      await expect(unpackLayer(descriptor, diffId)).rejects.toThrow(/^\[invalid\]/u);
    }
    expect(readdirSync(Folder.layers())).toEqual([]);
  });
  test("an interrupted unpacking does not count, and is removed later", async () => {
    const { descriptor, diffId } = await storeLayer([["f", "x"]]);
    const hex = diffId.slice(7);
    const young = join(Folder.layers(), `${hex}.aaaa`);
    const old = join(Folder.layers(), `${hex}.bbbb`);
    for (const folder of [young, old]) mkdirSync(join(folder, "root"), { recursive: true });
    utimesSync(old, 1, 1);
    const folder = await unpackLayer(descriptor, diffId);
    expect(readFileSync(join(folder, "root/f"), "utf8")).toBe("x");
    expect(readdirSync(Folder.layers()).sort()).toEqual([hex, `${hex}.aaaa`]);
  });
  test("several at a time unpack once", async () => {
    const { descriptor, diffId } = await storeLayer([["f", "x"]]);
    const folders = await Promise.all([1, 2, 3].map(() => unpackLayer(descriptor, diffId)));
    expect(new Set(folders).size).toBe(1);
    expect(readdirSync(Folder.layers())).toEqual([diffId.slice(7)]);
  });
});
