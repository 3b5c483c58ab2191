import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeKernel } from "./fake-kernel.test.support.ts";

let box: FakeKernel;
beforeEach(() => {
  box = new FakeKernel({ tree: { "bin/test": "program", "etc/resolv.conf": "-> ../run/resolv.conf", run: null } });
});
afterEach(() => box.dispose());
const link = (path: string): string => Buffer.from(box.bytes("readlinkat", -100, path, 4096, 4096)).toString();

describe("/proc", () => {
  it("describes the caller", () => {
    expect(link("/proc/self")).toBe("1");
    const stat = (box.read("/proc/self/stat") as string).trim().split(" ");
    expect(stat.length).toBe(52);
    expect([stat[0], stat[1], stat[2], stat[22], stat[23]]).toEqual(["1", "(test)", "R", "65536", "2"]);
    expect(box.read("/proc/self/cmdline")).toBe("test\0-v\0");
    expect(box.read("/proc/1/environ")).toBe("A=1\0");
    expect(box.read("/proc/self/statm")).toBe("16 2 0 0 0 2 0\n");
    expect(box.read("/proc/self/status")).toMatch(/^Name:\ttest\n[^]*VmRSS:\t +8 kB\n[^]*Threads:\t1\n/);
    expect(link("/proc/self/exe")).toBe("/bin/test");
    expect(box.read("/proc/self/exe")).toBe("program");
    expect(link("/proc/self/cwd")).toBe("/");
    expect(box.list("/proc/self/task")).toEqual(["1"]);
    expect(box.read("/proc/self/task/1/comm")).toBe("test\n");
    expect(box.read("/proc/self/smaps")).toMatch(/^10000-12000 r-xp[^\n]*\nSize: +8 kB\n[^]*Private_Dirty: +12 kB\n/);
    expect(box.read("/proc/self/limits")).toMatch(/Max open files +1024 +1024 +files/);
    expect(box.read("/proc/99/stat")).toBe(-2);
  });
  it("shows other processes with their owners", () => {
    const other = box.newProcess(1000);
    expect(box.list("/proc")).toEqual(expect.arrayContaining(["1", "2", "meminfo", "self"]));
    expect(box.stat("/proc/2")).toMatchObject({ uid: 1000, mode: 0o40555 });
    expect(box.as(other, "openat", -100, "/proc/1/environ", 0, 0)).toBe(-13);
  });
  it("links descriptors to what they have open", () => {
    const fd = box.open("/bin/test");
    expect(link(`/proc/self/fd/${fd}`)).toBe("/bin/test");
    expect(box.read(`/proc/self/fd/${fd}`)).toBe("program");
    expect(box.read(`/dev/fd/${fd}`)).toBe("program");
    expect(box.list("/proc/self/fd")).toEqual(["0", "1"]);
    box.raw("pipe2", [8, 0]);
    expect(link("/proc/self/fd/1")).toMatch(/^pipe:\[[0-9]+\]$/);
    expect(box.stat("/proc/self/fd/1")).toMatchObject({ mode: 0o10600 });
    const directory = box.open("/bin", 0o200000);
    expect(box.read(`/proc/self/fd/${directory}/test`)).toBe("program");
  });
  it("takes what may be written", () => {
    box.write("/proc/self/comm", "a-name-that-is-too-long", 1);
    expect(box.read("/proc/self/comm")).toBe("a-name-that-is-\n");
    box.write("/proc/self/oom_score_adj", "-5", 1);
    expect(box.read("/proc/self/oom_score_adj")).toBe("-5\n");
    expect(box.open("/proc/self/stat", 1)).toBe(-13);
    box.write("/proc/sys/net/core/somaxconn", "1024", 1);
    expect(box.read("/proc/sys/net/core/somaxconn")).toBe("1024\n");
  });
  it("has what programs read at start", () => {
    for (const path of [
      "meminfo",
      "cpuinfo",
      "uptime",
      "loadavg",
      "stat",
      "version",
      "filesystems",
      "mounts",
      "self/mountinfo",
      "sys/vm/overcommit_memory",
      "sys/kernel/pid_max",
      "sys/kernel/ngroups_max",
      "sys/kernel/osrelease",
      "sys/net/core/somaxconn",
    ])
      expect(box.read(`/proc/${path}`), path).toMatch(/./);
    expect(box.read("/proc/sys/kernel/hostname")).toBe("box\n");
    expect(box.read("/proc/sys/kernel/random/uuid")).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\n$/);
    expect(box.read("/proc/meminfo")).toMatch(/^MemTotal: +65536 kB\n/);
    expect(box.read("/proc/mounts")).toContain("proc /proc proc ");
    expect(box.read("/sys/kernel/mm/transparent_hugepage/enabled")).toBe("always madvise [never]\n");
    expect(box.read("/sys/devices/system/clocksource/clocksource0/current_clocksource")).toMatch(/./);
    expect(box.read("/sys/devices/system/cpu/online")).toBe("0\n");
    expect(box.open("/sys/new", 0o101)).toBe(-30);
  });
});

describe("/etc", () => {
  it("names the cVM and the network", () => {
    box.names = [{ name: "redis", address: "10.1.0.9" }];
    expect(box.read("/etc/hosts")).toBe(
      "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n10.1.0.2\tbox\n10.1.0.9\tredis\n",
    );
    expect(box.read("/etc/hostname")).toBe("box\n");
    expect(box.read("/etc/resolv.conf")).toMatch(/^nameserver /);
    expect(box.call("unlinkat", -100, "/etc/hosts", 0)).toBe(-16);
  });
});

describe("/dev", () => {
  it("has the usual devices", () => {
    expect(box.read("/dev/null")).toBe("");
    box.write("/dev/null", "gone", 1);
    const zero = box.open("/dev/zero", 2);
    expect([...box.bytes("read", zero, 4, 4)]).toEqual([0, 0, 0, 0]);
    const full = box.open("/dev/full", 2);
    expect(box.call("write", full, Buffer.from("x"), 1)).toBe(-28);
    const random = box.open("/dev/urandom");
    expect(box.bytes("read", random, 32, 32)).not.toEqual(box.bytes("read", random, 32, 32));
    expect(box.stat("/dev/null")).toMatchObject({ mode: 0o20666, rdev: 259 });
    expect(box.open("/dev/tty", 2)).toBe(-6);
  });
  it("/dev/shm is a file system in memory with a limit", () => {
    const fd = box.open("/dev/shm/x", 0o102, 0o600);
    expect(box.call("ftruncate", fd, 1_000_000)).toBe(0);
    expect(box.call("pwrite64", fd, Buffer.from("end"), 3, 999_997)).toBe(3);
    expect(Buffer.from(box.bytes("pread64", fd, 5, 5, 999_995)).toString()).toBe("\0\0end");
    expect(box.call("unlinkat", -100, "/dev/shm/x", 0)).toBe(0);
    expect(Buffer.from(box.bytes("pread64", fd, 3, 3, 999_997)).toString()).toBe("end");
    const big = box.open("/dev/shm/big", 0o102, 0o600);
    const block = new Uint8Array(16 * 1024 * 1024);
    expect(box.call("write", big, block, block.length)).toBe(block.length);
    expect(box.call("write", big, block, block.length)).toBe(block.length - 4096);
    expect(box.call("write", big, block, 1)).toBe(-28);
    expect(box.call("ftruncate", big, 0)).toBe(0);
    expect(box.call("write", big, block, block.length)).toBe(block.length);
    expect(box.bytes("statfs", "/dev/shm", 120).subarray(0, 4)).toEqual(Uint8Array.of(0x94, 0x19, 0x02, 0x01));
  });
  it("memfd_create", () => {
    const fd = box.call("memfd_create", "buffer", 0);
    expect(box.call("write", fd, Buffer.from("text"), 4)).toBe(4);
    expect(box.process.fds.get(fd)!.name).toBe("/memfd:buffer (deleted)");
    expect(Buffer.from(box.process.fds.get(fd)!.node!.pread(0, 4)).toString()).toBe("text");
    expect(box.read(`/proc/self/fd/${fd}`)).toBe("text");
  });
});

it("inotify reports what happens in a directory", () => {
  const fd = box.call("inotify_init1", 0o4000);
  expect(box.call("read", fd, 100, 100)).toBe(-11);
  const watch = box.call("inotify_add_watch", fd, "/run", 0x3c2);
  box.write("/run/a", "x");
  box.call("renameat2", -100, "/run/a", -100, "/run/b", 0);
  box.call("unlinkat", -100, "/run/b", 0);
  const bytes = box.bytes("read", fd, 1000, 1000);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const events: string[] = [];
  for (let at = 0; at < bytes.length; at += 16 + view.getUint32(at + 12, true)) {
    expect(view.getInt32(at, true)).toBe(watch);
    events.push(
      `${view.getUint32(at + 4, true).toString(16)} ${Buffer.from(bytes.subarray(at + 16, bytes.indexOf(0, at + 16))).toString()}`,
    );
  }
  expect(events).toEqual(["100 a", "2 a", "40 a", "80 b", "200 b"]);
  expect(box.call("inotify_rm_watch", fd, watch)).toBe(0);
  expect(box.call("inotify_rm_watch", fd, watch)).toBe(-22);
});
