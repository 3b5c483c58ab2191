import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeKernel, makeLayer, temporaryFolder } from "./fake-kernel.test.support.ts";

const TMP = 0o20200000;
let box: FakeKernel;
beforeEach(() => {
  const folder = temporaryFolder();
  const layers = [
    makeLayer(
      join(folder, "low"),
      {
        "bin/sh": "low shell",
        "bin/cat": "cat",
        "etc/a": "a-low",
        "etc/b": "b-low",
        "dir/x": "x",
        "dir/sub/y": "y",
        "gone/z": "z",
        link: "-> etc/a",
      },
      { "bin/sh": { mode: 0o104755, uid: 0, gid: 7 }, dir: { mode: 0o40750, uid: 5, gid: 6 } },
    ),
    makeLayer(
      join(folder, "high"),
      {
        "etc/b": "b-high",
        "etc/c": "c",
        "etc/a": { mode: 0, uid: 0, gid: 0, whiteout: true },
        "gone/new": "new",
        "dev-null": { mode: 0o20666, uid: 0, gid: 0, rdev: 259 },
      },
      { gone: { mode: 0o40755, uid: 0, gid: 0, opaque: true } },
    ),
  ];
  box = new FakeKernel({ folder, layers });
});
afterEach(() => box.dispose());

describe("layers", () => {
  it("merges layers with whiteouts, opaque directories and metadata", () => {
    expect(box.read("/bin/sh")).toBe("low shell");
    expect(box.read("/etc/b")).toBe("b-high");
    expect(box.stat("/etc/a")).toBe(-2);
    expect(box.read("/link")).toBe(-2);
    expect(box.list("/gone")).toEqual(["new"]);
    expect((box.list("/etc") as string[]).filter((name) => name.length === 1)).toEqual(["b", "c"]);
    expect(box.stat("/bin/sh")).toMatchObject({ mode: 0o104755, gid: 7, size: 9 });
    expect(box.stat("/bin/cat")).toMatchObject({ uid: 0, gid: 0 });
    expect(box.stat("/dir")).toMatchObject({ mode: 0o40750, uid: 5, gid: 6 });
    expect(box.stat("/dev-null")).toMatchObject({ mode: 0o20666, rdev: 259 });
    expect(box.read("/dev-null")).toBe("");
  });
  it("copies up on write and leaves the layer alone", () => {
    const before = box.stat("/etc/b");
    box.write("/etc/b", " more", 0o2001);
    expect(box.read("/etc/b")).toBe("b-high more");
    expect(box.stat("/etc/b")).toMatchObject({ ino: (before as { ino: number }).ino });
    expect(readFileSync(join(box.folder, "high/root/etc/b"), "utf8")).toBe("b-high");
    box = box.reopened();
    expect(box.read("/etc/b")).toBe("b-high more");
    expect(box.stat("/etc/b")).toMatchObject({ ino: (before as { ino: number }).ino });
  });
  it("shows the new bytes to a descriptor opened for reading before the copy up", () => {
    const fd = box.open("/etc/c");
    box.write("/etc/c", "changed");
    expect(Buffer.from(box.bytes("read", fd, 100, 100)).toString()).toBe("changed");
  });
  it("hides removed names, also after a restart, and makes them again", () => {
    expect(box.call("unlinkat", -100, "/bin/cat", 0)).toBe(0);
    expect(box.stat("/bin/cat")).toBe(-2);
    expect(box.list("/bin")).toEqual(["sh"]);
    box = box.reopened();
    expect(box.stat("/bin/cat")).toBe(-2);
    expect(box.open("/bin/cat", 0o301)).toBeGreaterThanOrEqual(0);
    expect(box.read("/bin/cat")).toBe("");
    box = box.reopened();
    expect(box.read("/bin/cat")).toBe("");
    expect(readFileSync(join(box.folder, "low/root/bin/cat"), "utf8")).toBe("cat");
  });
  it("makes a removed directory again without its old entries", () => {
    expect(box.call("unlinkat", -100, "/dir", 0x200)).toBe(-39);
    for (const name of ["/dir/x", "/dir/sub/y"]) expect(box.call("unlinkat", -100, name, 0)).toBe(0);
    expect(box.call("unlinkat", -100, "/dir/sub", 0x200)).toBe(0);
    expect(box.call("unlinkat", -100, "/dir", 0x200)).toBe(0);
    expect(box.call("mkdirat", -100, "/dir", 0o755)).toBe(0);
    expect(box.list("/dir")).toEqual([]);
    box = box.reopened();
    expect(box.list("/dir")).toEqual([]);
  });
});

describe("rename", () => {
  it("moves files and directories of a layer", () => {
    expect(box.call("renameat2", -100, "/bin/sh", -100, "/bin/dash", 0)).toBe(0);
    expect(box.call("renameat2", -100, "/dir", -100, "/moved", 0)).toBe(0);
    for (const again of [false, true]) {
      if (again) box = box.reopened();
      expect(box.stat("/bin/sh")).toBe(-2);
      expect(box.read("/bin/dash")).toBe("low shell");
      expect(box.stat("/bin/dash")).toMatchObject({ mode: 0o104755, gid: 7 });
      expect(box.stat("/dir")).toBe(-2);
      expect(box.read("/moved/sub/y")).toBe("y");
      expect(box.stat("/moved")).toMatchObject({ mode: 0o40750, uid: 5 });
      expect(box.list("/")).not.toContain("dir");
    }
  });
  it("replaces, refuses and exchanges", () => {
    box.write("/one", "1");
    box.write("/two", "2");
    expect(box.call("renameat2", -100, "/one", -100, "/two", 1)).toBe(-17);
    expect(box.call("renameat2", -100, "/one", -100, "/two", 2)).toBe(0);
    expect([box.read("/one"), box.read("/two")]).toEqual(["2", "1"]);
    expect(box.call("renameat2", -100, "/one", -100, "/dir", 0)).toBe(-21);
    expect(box.call("renameat2", -100, "/dir", -100, "/one", 0)).toBe(-20);
    expect(box.call("renameat2", -100, "/dir", -100, "/dir/sub/in", 0)).toBe(-22);
    expect(box.call("renameat2", -100, "/dir", -100, "/gone", 0)).toBe(-39);
    expect(box.call("renameat2", -100, "/one", -100, "/two", 0)).toBe(0);
    expect([box.read("/one"), box.read("/two")]).toEqual([-2, "2"]);
    box = box.reopened();
    expect([box.read("/one"), box.read("/two")]).toEqual([-2, "2"]);
  });
  it("exchanges a directory of a layer with a file", () => {
    expect(box.call("renameat2", -100, "/dir", -100, "/etc/c", 2)).toBe(0);
    expect([box.read("/dir"), box.read("/etc/c/sub/y")]).toEqual(["c", "y"]);
    box = box.reopened();
    expect([box.read("/dir"), box.read("/etc/c/sub/y")]).toEqual(["c", "y"]);
  });
  it("takes working directories along", () => {
    expect(box.call("chdir", "/dir/sub")).toBe(0);
    expect(box.call("renameat2", -100, "/dir", -100, "/etc/d", 0)).toBe(0);
    expect(Buffer.from(box.bytes("getcwd", 100, 100)).toString()).toBe("/etc/d/sub\0");
    expect(box.read("y")).toBe("y");
  });
  it("undoes a journaled rename whose host rename did not happen", () => {
    box.write("/file", "text");
    box.call("fchmodat", -100, "/file", 0o640);
    const { ino } = { ino: 1 };
    box = box.reopened();
    const journal = join(box.folder, "writable/metadata.jsonl");
    writeFileSync(
      journal,
      `${readFileSync(journal, "utf8")}{"from":"file","to":"other","inode":${ino + 123456},"hide":false}\n{"path":"cut o`,
    );
    box = box.reopened();
    expect(box.stat("/file")).toMatchObject({ mode: 0o100640 });
    expect(box.stat("/other")).toBe(-2);
  });
});

describe("links", () => {
  it("keeps one set of attributes for all names of a file", () => {
    box.write("/one", "text");
    expect(box.call("linkat", -100, "/one", -100, "/dir/two", 0)).toBe(0);
    expect(box.call("fchmodat", -100, "/dir/two", 0o600)).toBe(0);
    expect(box.call("fchownat", -100, "/one", 33, 44, 0)).toBe(0);
    for (const again of [false, true]) {
      if (again) box = box.reopened();
      expect(box.stat("/one")).toMatchObject({ mode: 0o100600, uid: 33, gid: 44, nlink: 2 });
      expect(box.stat("/one")).toEqual(box.stat("/dir/two"));
    }
    expect(box.call("unlinkat", -100, "/one", 0)).toBe(0);
    expect(box.stat("/dir/two")).toMatchObject({ mode: 0o100600, uid: 33, nlink: 1 });
    box = box.reopened();
    expect(box.stat("/dir/two")).toMatchObject({ mode: 0o100600, uid: 33, nlink: 1 });
    expect(box.call("linkat", -100, "/dir", -100, "/dir2", 0)).toBe(-1);
  });
  it("never follows links of the host", () => {
    expect(box.call("symlinkat", "/etc/passwd-of-host", -100, "/out")).toBe(0);
    expect(box.read("/out")).toBe(-2);
    expect(box.call("symlinkat", "../../../../../../../../etc/b", -100, "/dir/up")).toBe(0);
    expect(box.read("/dir/up")).toBe("b-high");
    expect(Buffer.from(box.bytes("readlinkat", -100, "/dir/up", 100, 100)).toString()).toBe("../../../../../../../../etc/b");
    expect(box.call("symlinkat", "loop", -100, "/loop")).toBe(0);
    expect(box.read("/loop")).toBe(-40);
    expect(box.open("/out", 0o400000)).toBe(-40);
  });
});

describe("open files", () => {
  it("stay readable after unlink, and their view after close", () => {
    box.write("/file", "content");
    const fd = box.open("/file", 2);
    const view = box.process.fds.get(fd)!.node!;
    expect(box.call("unlinkat", -100, "/file", 0)).toBe(0);
    expect(box.fstat(fd)).toMatchObject({ nlink: 0, size: 7 });
    expect(Buffer.from(box.bytes("pread64", fd, 4, 4, 3)).toString()).toBe("tent");
    expect(box.process.fds.get(fd)!.name).toBe("/file (deleted)");
    box.call("close", fd);
    expect(Buffer.from(view.pread(0, 7)).toString()).toBe("content");
    expect(box.stat("/file")).toBe(-2);
  });
  it("O_TMPFILE has no name until linkat gives it one", () => {
    const fd = box.open("/tmp", TMP | 2, 0o600);
    expect(fd).toBeGreaterThanOrEqual(0);
    expect(box.call("write", fd, Buffer.from("hidden"), 6)).toBe(6);
    expect(box.fstat(fd).nlink).toBe(0);
    expect(box.list("/tmp")).toEqual([]);
    expect(box.call("linkat", -100, `/proc/self/fd/${fd}`, -100, "/tmp/named", 0x400)).toBe(0);
    expect(box.read("/tmp/named")).toBe("hidden");
    box.call("close", fd);
    box = box.reopened();
    expect(box.read("/tmp/named")).toBe("hidden");
    expect(box.stat("/tmp/named")).toMatchObject({ mode: 0o100600, nlink: 1 });
  });
  it("append, truncate, sparse and allocate", () => {
    const fd = box.open("/file", 0o2102, 0o644);
    box.call("write", fd, Buffer.from("abc"), 3);
    box.call("lseek", fd, 0, 0);
    box.call("write", fd, Buffer.from("def"), 3);
    expect(Buffer.from(box.bytes("pread64", fd, 100, 100, 0)).toString()).toBe("abcdef");
    expect(box.call("ftruncate", fd, 4)).toBe(0);
    expect(box.fstat(fd).size).toBe(4);
    expect(box.call("fallocate", fd, 0, 0, 1_000_000)).toBe(0);
    expect(box.fstat(fd).size).toBe(1_000_000);
    expect(box.call("fallocate", fd, 3, 1, 2)).toBe(0);
    expect([...box.bytes("pread64", fd, 5, 5, 0)]).toEqual([97, 0, 0, 100, 0]);
    expect(box.call("lseek", fd, 0, 3)).toBe(0);
    // What ftruncate and fallocate added holds nothing.
    expect(box.call("lseek", fd, 0, 4)).toBe(4096);
    expect(box.call("lseek", fd, 4096, 3)).toBe(-6);
    expect(box.call("write", fd, Buffer.from("x"), 1)).toBe(1);
    expect(box.call("lseek", fd, 4096, 3)).toBe(999_424);
    expect(box.call("lseek", fd, 999_500, 4)).toBe(1_000_001);
    expect(box.call("lseek", fd, 2_000_000, 3)).toBe(-6);
    expect(box.open("/file", 0o1002)).toBeGreaterThanOrEqual(0);
    expect(box.fstat(fd).size).toBe(0);
  });
  it("fsync answers later and reaches file and journal", async () => {
    box.write("/file", "x");
    const fd = box.open("/file", 1);
    box.raw("fsync", [fd]);
    for (let i = 0; i < 200 && box.completed.length === 0; i++) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(box.completed).toEqual([0]);
  });
});

describe("attributes", () => {
  it("keeps times to the nanosecond until the file is written", () => {
    const times = new Uint8Array(32);
    const view = new DataView(times.buffer);
    view.setBigInt64(0, 1_600_000_000n, true);
    view.setBigInt64(8, 123_456_789n, true);
    view.setBigInt64(16, 1_700_000_000n, true);
    view.setBigInt64(24, 987_654_321n, true);
    expect(box.call("utimensat", -100, "/bin/cat", times, 0)).toBe(0);
    for (const again of [false, true]) {
      if (again) box = box.reopened();
      expect(box.stat("/bin/cat")).toMatchObject({ atime: 1_600_000_000_123_456_789n, mtime: 1_700_000_000_987_654_321n });
    }
    box.write("/bin/cat", "!", 0o2001);
    expect((box.stat("/bin/cat") as { mtime: bigint }).mtime).toBeGreaterThan(1_700_000_001_000_000_000n);
  });
  it("keeps xattrs", () => {
    expect(box.call("setxattr", "/bin/cat", "user.key", Buffer.from("value"), 5, 0)).toBe(0);
    expect(box.call("setxattr", "/bin/cat", "user.key", Buffer.from("value"), 5, 1)).toBe(-17);
    expect(box.call("setxattr", "/bin/cat", "system.x", Buffer.from("value"), 5, 0)).toBe(-95);
    box = box.reopened();
    expect(Buffer.from(box.bytes("getxattr", "/bin/cat", "user.key", 10, 10)).toString()).toBe("value");
    expect(Buffer.from(box.bytes("listxattr", "/bin/cat", 100, 100)).toString()).toBe("user.key\0");
    expect(box.call("getxattr", "/bin/cat", "user.key", 0, 0)).toBe(5);
    expect(box.call("getxattr", "/bin/cat", "user.key", 2, 2)).toBe(-34);
    expect(box.call("removexattr", "/bin/cat", "user.key")).toBe(0);
    expect(box.call("getxattr", "/bin/cat", "user.key", 10, 10)).toBe(-61);
  });
  it("checks permissions by credentials, sticky bit and umask", () => {
    const user = box.newProcess(1000);
    box.call("mkdirat", -100, "/t", 0o777);
    box.call("fchmodat", -100, "/t", 0o1777);
    box.write("/t/root", "r");
    box.call("fchmodat", -100, "/t/root", 0o600);
    expect(box.as(user, "openat", -100, "/t/root", 0, 0)).toBe(-13);
    expect(box.as(user, "faccessat", -100, "/t/root", 4)).toBe(-13);
    expect(box.as(user, "unlinkat", -100, "/t/root", 0)).toBe(-1);
    expect(box.as(user, "openat", -100, "/etc/new", 0o101, 0o644)).toBe(-13);
    expect(box.as(user, "openat", -100, "/t/mine", 0o102, 0o666)).toBeGreaterThanOrEqual(0);
    expect(box.stat("/t/mine")).toMatchObject({ uid: 1000, gid: 1000, mode: 0o100644 });
    expect(box.as(user, "fchownat", -100, "/t/mine", 0, -1 >>> 0, 0)).toBe(-1);
    expect(box.as(user, "fchmodat", -100, "/t/root", 0o777)).toBe(-1);
    expect(box.as(user, "newfstatat", -100, "/dir/x", 128, 0)).toBe(-13);
    expect(box.as(user, "mknodat", -100, "/t/dev", 0o20666, 259)).toBe(-1);
    expect(box.as(user, "mknodat", -100, "/t/fifo", 0o10666, 0)).toBe(0);
    expect(box.stat("/t/fifo")).toMatchObject({ mode: 0o10644, uid: 1000 });
  });
  it("keeps device nodes in the metadata only", () => {
    expect(box.call("mknodat", -100, "/null", 0o20600, 259)).toBe(0);
    expect(existsSync(join(box.folder, "writable/root/null"))).toBe(false);
    expect(box.list("/")).toContain("null");
    expect(box.call("renameat2", -100, "/null", -100, "/void", 0)).toBe(0);
    box = box.reopened();
    expect(box.stat("/void")).toMatchObject({ mode: 0o20600, rdev: 259 });
    expect(box.call("unlinkat", -100, "/void", 0)).toBe(0);
    box = box.reopened();
    expect(box.stat("/void")).toBe(-2);
  });
});

it("lists large directories completely and stably", () => {
  box.call("mkdirat", -100, "/many", 0o755);
  for (let i = 0; i < 3000; i++) box.call("close", box.open(`/many/file-${i}`, 0o101));
  const fd = box.open("/many", 0o200000);
  const first = box.entries(fd, 4096);
  expect(new Set(first.map((entry) => entry.name)).size).toBe(3002);
  const sample = first.find((entry) => entry.name === "file-77")!;
  expect(sample.ino).toBe((box.stat("/many/file-77") as { ino: number }).ino);
  box.call("lseek", fd, 0, 0);
  for (const { name } of first) if (name.startsWith("file")) box.call("unlinkat", fd, name, 0);
  expect(box.list("/many")).toEqual([]);
});
