/** Puts the tree of a cVM together: image, writable layer, /proc, /sys, /dev, /etc files and volumes. */
import { join } from "node:path";
import type { LibosOptions } from "@cvm/monitor/abi";
import { makedev, S } from "./constants.ts";
import { makeCp, type CpObjectsSeen } from "./cp.ts";
import { hostsText } from "./names.ts";
import { childOf, Dentry, type DirectoryEntry, type FileSystem, type Inode } from "./node.ts";
import { OverlayFs } from "./overlay.ts";
import { makeProc } from "./proc.ts";
import { fixed, SyntheticDevice, SyntheticDirectory, SyntheticFs, SyntheticText } from "./synthetic.ts";
import { TmpFs } from "./tmpfs.ts";
import { VirtualFiles } from "./vfs.ts";

/** Numbers of st_dev. */
const Dev = { root: 20, proc: 21, sys: 22, dev: 23, pts: 24, shm: 25, etc: 26, cp: 31, volumes: 32 } as const;

/** Contents of /dev itself may take this many bytes. */
const DEV_BYTES = 16_777_216;

/** The tree of one cVM. Throws when a layer or a volume cannot be read. `close` at the end of the cVM. */
export function createFiles(options: LibosOptions, cp: CpObjectsSeen): VirtualFiles {
  const root = OverlayFs.root(Dev.root, options.layers, options.writable);
  const vfs = new VirtualFiles(root);
  const mount = (target: string, fs: FileSystem, flags?: string): void => {
    ensure(vfs, target, fs.top.inode.isDirectory);
    vfs.mount(target, fs, fs.top, flags);
  };
  mount("/proc", makeProc(Dev.proc, vfs), "rw,nosuid,nodev,noexec,relatime");
  mount("/sys", makeSys(Dev.sys), "ro,nosuid,nodev,noexec,relatime");
  mount("/dev", makeDev(Dev.dev), "rw,nosuid,size=16384k,mode=755");
  mount("/dev/pts", makePts(Dev.pts, vfs), "rw,nosuid,noexec,relatime,gid=5,mode=620,ptmxmode=666");
  mount("/dev/shm", new TmpFs(Dev.shm, Math.max(DEV_BYTES, Math.floor(options.memoryBytes / 2))), "rw,nosuid,nodev");
  mount("/cp", makeCp(Dev.cp, cp), "rw,nosuid,nodev,noexec,relatime");
  ensure(vfs, "/tmp", true, 0o1777);
  ensure(vfs, "/etc", true);
  const resolver = "nameserver 127.0.0.11\noptions ndots:0\n";
  const made: Readonly<Record<string, (fs: SyntheticFs) => Inode>> = {
    "/etc/hosts": (fs) => new SyntheticText(fs, ({ kernel }) => hostsText(kernel)),
    "/etc/hostname": (fs) => new SyntheticText(fs, () => `${options.hostname}\n`),
    "/etc/resolv.conf": (fs) => new SyntheticText(fs, () => resolver),
  };
  let dev: number = Dev.etc;
  for (const target of Object.keys(made)) mount(target, new SyntheticFs(dev++, "tmpfs", 0x01021994, false, made[target]!), "ro,relatime");
  const volumes = [...options.volumes].sort((a, b) => a.target.length - b.target.length);
  volumes.forEach(({ source, target, readOnly }, index) => {
    const name = encodeURIComponent(target);
    mount(target, OverlayFs.volume(Dev.volumes + index, source, join(options.writable, "volumes"), name, readOnly));
  });
  return vfs;
}

/** Closes host descriptors and metadata stores of a tree. */
export function closeFiles(vfs: VirtualFiles): void {
  for (const { fs } of vfs.mounts) if (fs instanceof OverlayFs) fs.close();
}

/** Makes the directories (and the file) of a mount point that the image lacks, in the writable layer. */
function ensure(vfs: VirtualFiles, path: string, directory: boolean, mode = 0o755): void {
  const parts = path.split("/").filter((part) => part !== "" && part !== ".");
  let at = vfs.root;
  parts.forEach((part, index) => {
    if (part === "..") throw new Error(`[mount-target] ${path}: has ".."`);
    const last = index === parts.length - 1;
    let child = childOf(at, part, null);
    if (typeof child === "number") {
      const type = last && !directory ? S.IFREG | 0o644 : S.IFDIR | (last ? mode : 0o755);
      const inode = at.inode.make(at, part, { mode: type, uid: 0, gid: 0, rdev: 0 });
      if (typeof inode === "number") throw new Error(`[mount-target] ${path}: cannot be made, error ${-inode}`);
      child = new Dentry(at, part, inode);
      at.adopt(child, part);
    } else if (child.inode.type === S.IFLNK) {
      const place = vfs.walk(at, part, true, null);
      if (typeof place !== "number" && place.entry !== null) child = place.entry;
      else if (last && !directory) {
        // A link to a file of another program (resolv.conf of a resolver): the mount takes its place.
        at.inode.unlink(at, child);
        at.forget(part);
        const inode = at.inode.make(at, part, { mode: S.IFREG | 0o644, uid: 0, gid: 0, rdev: 0 });
        if (typeof inode === "number") throw new Error(`[mount-target] ${path}: cannot be made, error ${-inode}`);
        child = new Dentry(at, part, inode);
        at.adopt(child, part);
      } else throw new Error(`[mount-target] ${path}: ${part} is a link to nothing`);
    }
    while (child.mounted !== null) child = child.mounted;
    at = child;
  });
}

/** Nodes of /dev; programs may add their own. */
function makeDev(dev: number): TmpFs {
  const fs = new TmpFs(dev, DEV_BYTES, 0o755);
  const put = (name: string, mode: number, rdev: number, target?: string): void => {
    const inode = fs.top.inode.make(fs.top, name, { mode, uid: 0, gid: 0, rdev, ...(target === undefined ? {} : { target }) }) as Inode;
    fs.top.adopt(new Dentry(fs.top, name, inode), name);
  };
  const device = S.IFCHR | 0o666;
  put("null", device, makedev(1, 3));
  put("zero", device, makedev(1, 5));
  put("full", device, makedev(1, 7));
  put("random", device, makedev(1, 8));
  put("urandom", device, makedev(1, 9));
  put("tty", device, makedev(5, 0));
  put("console", S.IFCHR | 0o600, makedev(5, 1));
  put("ptmx", device, makedev(5, 2));
  put("pts", S.IFDIR | 0o755, 0);
  put("shm", S.IFDIR | 0o1777, 0);
  const link = S.IFLNK | 0o777;
  put("fd", link, 0, "/proc/self/fd");
  put("stdin", link, 0, "/proc/self/fd/0");
  put("stdout", link, 0, "/proc/self/fd/1");
  put("stderr", link, 0, "/proc/self/fd/2");
  return fs;
}

function makePts(dev: number, vfs: VirtualFiles): SyntheticFs {
  const { terminals } = vfs;
  const nodes: Map<number, Inode> = new Map();
  const pts = new SyntheticFs(dev, "devpts", 0x1cd1, true, (fs) => {
    const node = (number: number): Inode => {
      let inode = nodes.get(number);
      if (inode === undefined) nodes.set(number, (inode = new SyntheticDevice(fs, makedev(136, number), { ino: number + 3, gid: 5 })));
      return inode;
    };
    const ptmx = new SyntheticDevice(fs, makedev(5, 2), { ino: 2, mode: 0o666 });
    return new SyntheticDirectory(
      fs,
      {
        get: (name) => (name === "ptmx" ? ptmx : /^[0-9]+$/.test(name) && terminals.pts.has(Number(name)) ? node(Number(name)) : null),
        names: () => [
          { name: "ptmx", type: S.IFCHR, ino: 2 },
          ...[...terminals.pts.keys()].map((number): DirectoryEntry => ({ name: String(number), type: S.IFCHR, ino: number + 3 })),
        ],
      },
      { mode: 0o755 },
    );
  });
  terminals.entry = (number) => {
    const entry = childOf(pts.top, String(number), null);
    return typeof entry === "number" ? null : entry;
  };
  return pts;
}

/** The few files of /sys that programs ask for. */
function makeSys(dev: number): SyntheticFs {
  const fs = new SyntheticFs(dev, "sysfs", 0x62656572, false, (made) => {
    const text = (content: string): Inode => new SyntheticText(made, () => `${content}\n`);
    const dir = (entries: Readonly<Record<string, Inode>>): Inode => fixed(made, entries);
    return dir({
      block: dir({}),
      bus: dir({}),
      class: dir({ net: dir({}) }),
      devices: dir({
        system: dir({
          clocksource: dir({
            clocksource0: dir({ current_clocksource: text("riscv_clocksource"), available_clocksource: text("riscv_clocksource") }),
          }),
          cpu: dir({
            online: text("0"),
            possible: text("0"),
            present: text("0"),
            offline: text(""),
            kernel_max: text("0"),
            cpu0: dir({ topology: dir({ core_id: text("0"), physical_package_id: text("0") }) }),
          }),
          node: dir({ online: text("0") }),
        }),
      }),
      fs: dir({ cgroup: dir({}) }),
      kernel: dir({
        mm: dir({
          transparent_hugepage: dir({
            enabled: text("always madvise [never]"),
            hpage_pmd_size: text("2097152"),
            defrag: text("always defer defer+madvise madvise [never]"),
          }),
        }),
      }),
    });
  });
  fs.readOnly = true;
  return fs;
}
