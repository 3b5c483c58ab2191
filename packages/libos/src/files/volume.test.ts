import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { FakeKernel, temporaryFolder } from "./fake-kernel.test.support.ts";

let box: FakeKernel;
let source: string;
beforeEach(() => {
  const folder = temporaryFolder();
  source = join(folder, "source");
  mkdirSync(join(source, "sub"), { recursive: true });
  mkdirSync(join(folder, "outside"));
  writeFileSync(join(folder, "outside/secret"), "secret");
  writeFileSync(join(source, "file"), "host");
  writeFileSync(join(source, "sub/deep"), "deep");
  symlinkSync("../outside/secret", join(source, "escape"));
  symlinkSync(join(folder, "outside"), join(source, "away"));
  box = new FakeKernel({
    folder,
    volumes: [
      { source, target: "/data/volume", readOnly: false },
      { source, target: "/ro", readOnly: true },
      { source: join(source, "file"), target: "/etc/one.conf", readOnly: true },
    ],
  });
});
afterEach(() => box.dispose());

it("reads and writes the host's files", () => {
  expect(box.read("/data/volume/file")).toBe("host");
  expect(box.read("/data/volume/sub/deep")).toBe("deep");
  expect(box.read("/etc/one.conf")).toBe("host");
  box.write("/data/volume/new", "from inside");
  expect(readFileSync(join(source, "new"), "utf8")).toBe("from inside");
  writeFileSync(join(source, "new"), "from the host");
  expect(box.read("/data/volume/new")).toBe("from the host");
  rmSync(join(source, "new"));
  expect(box.stat("/data/volume/new")).toBe(-2);
  expect(box.call("renameat2", -100, "/data/volume/file", -100, "/data/volume/sub/moved", 0)).toBe(0);
  expect(readFileSync(join(source, "sub/moved"), "utf8")).toBe("host");
  expect(box.call("renameat2", -100, "/data/volume/sub/moved", -100, "/moved", 0)).toBe(-18);
});

it("does not leave the folder by links of the host", () => {
  expect(box.read("/data/volume/escape")).toBe(-2);
  expect(box.read("/data/volume/away/secret")).toBe(-2);
  expect(box.read("/data/volume/../../outside/secret")).toBe(-2);
});

it("does not follow a link that replaced a folder after it was looked up", () => {
  const fd = box.open("/data/volume/sub", 0o200000);
  expect(box.call("openat", fd, "deep", 0, 0)).toBeGreaterThanOrEqual(0);
  rmSync(join(source, "sub"), { recursive: true });
  writeFileSync(join(box.folder, "outside/deep"), "stolen");
  symlinkSync(join(box.folder, "outside"), join(source, "sub"));
  expect(box.call("openat", fd, "deep", 0, 0)).toBeLessThan(0);
  expect(box.call("openat", fd, "made", 0o101, 0o644)).toBeLessThan(0);
  expect(() => statSync(join(box.folder, "outside/made"))).toThrow();
  expect(box.read("/data/volume/sub/deep")).toBe(-2);
});

it("keeps owners apart from the host and never sets setuid there", () => {
  const { uid } = statSync(join(source, "file"));
  expect(box.call("fchownat", -100, "/data/volume/file", 999, 998, 0)).toBe(0);
  expect(box.call("fchmodat", -100, "/data/volume/file", 0o6755)).toBe(0);
  for (const again of [false, true]) {
    if (again) box = box.reopened();
    expect(box.stat("/data/volume/file")).toMatchObject({ uid: 999, gid: 998, mode: 0o106755 });
  }
  const host = statSync(join(source, "file"));
  expect([host.uid, host.mode & 0o7777]).toEqual([uid, 0o755]);
  rmSync(join(source, "file"));
  writeFileSync(join(source, "other"), "");
  writeFileSync(join(source, "file"), "another one");
  expect((box.stat("/data/volume/file") as { uid: number }).uid).toBe(uid);
});

it("refuses changes where it is read-only", () => {
  expect(box.open("/ro/file", 1)).toBe(-30);
  expect(box.open("/ro/new", 0o101)).toBe(-30);
  expect(box.call("unlinkat", -100, "/ro/file", 0)).toBe(-30);
  expect(box.call("mkdirat", -100, "/ro/d", 0o755)).toBe(-30);
  expect(box.call("fchmodat", -100, "/ro/file", 0o600)).toBe(-30);
  expect(box.call("faccessat", -100, "/ro/file", 2)).toBe(-30);
  expect(box.read("/ro/file")).toBe("host");
  expect(box.call("unlinkat", -100, "/ro", 0x200)).toBe(-16);
});

it("treats a FIFO of the host as one of the cVM", () => {
  execFileSync("mkfifo", [join(source, "pipe")]);
  const fd = box.open("/data/volume/pipe", 0o4000);
  expect(fd).toBeGreaterThanOrEqual(0);
  expect(box.process.fds.get(fd)!.kind).toBe("pipe");
});
