/** /proc/PID. */
import { decodeText } from "@cvm/monitor/abi";
import { E } from "../kernel/errno.ts";
import type { CallContext, Kernel, OpenFile, Process, Thread } from "../kernel/types.ts";
import { makedev, S } from "./constants.ts";
import type { Dentry, DirectoryEntry, Inode } from "./node.ts";
import { BaseFile } from "./open-file.ts";
import { mountInfoText, mountsText } from "./proc.ts";
import { SyntheticDirectory, SyntheticLink, SyntheticText, type Attributes, type Listing, type SyntheticFs } from "./synthetic.ts";
import type { VirtualFiles } from "./vfs.ts";

/** USER_HZ: ticks a second of times in /proc/PID/stat. */
const TICKS = 100;
const adjustments: WeakMap<Process, string> = new WeakMap();

/** Entries below a process, in the order of their inode numbers. */
const NAMES = [
  "stat",
  "status",
  "statm",
  "cmdline",
  "environ",
  "comm",
  "maps",
  "smaps",
  "limits",
  "mounts",
  "mountinfo",
  "oom_score_adj",
  "oom_score",
  "cgroup",
  "exe",
  "cwd",
  "root",
  "fd",
  "fdinfo",
  "task",
  "io",
  "loginuid",
  "wchan",
  "ns",
] as const;
type Name = (typeof NAMES)[number];
const LINKS: ReadonlySet<string> = new Set<Name>(["exe", "cwd", "root"]);
const DIRECTORIES: ReadonlySet<string> = new Set<Name>(["fd", "fdinfo", "task", "ns"]);

/** /proc/PID itself: an open one stands for its process, as a pidfd does; one of a thread (`process` null) does not. */
export class ProcessDirectory extends SyntheticDirectory {
  readonly process: Process | null;
  constructor(fs: SyntheticFs, process: Process | null, listing: Listing, attributes: Attributes) {
    super(fs, listing, attributes);
    this.process = process;
  }
}

export function processDirectory(fs: SyntheticFs, vfs: VirtualFiles, kernel: Kernel, process: Process, thread?: Thread): Inode {
  const owner = { uid: process.credentials.euid, gid: process.credentials.egid };
  const base = (thread?.id ?? process.pid) * 256 + (thread === undefined ? 0 : 128);
  const names = thread === undefined ? NAMES : NAMES.filter((name) => name !== "task");
  return new ProcessDirectory(
    fs,
    thread === undefined ? process : null,
    {
      get(name) {
        const index = NAMES.indexOf(name as Name);
        if (index < 0 || (thread !== undefined && name === "task")) return null;
        return entry(fs, vfs, kernel, process, thread, name as Name, { ...owner, ino: base + index + 1 });
      },
      names: () =>
        names.map((name) => ({
          name,
          type: LINKS.has(name) ? S.IFLNK : DIRECTORIES.has(name) ? S.IFDIR : S.IFREG,
          ino: base + NAMES.indexOf(name) + 1,
        })),
    },
    { ...owner, ino: base, mode: 0o555 },
  );
}

function entry(
  fs: SyntheticFs,
  vfs: VirtualFiles,
  kernel: Kernel,
  process: Process,
  thread: Thread | undefined,
  name: Name,
  attributes: Attributes,
): Inode {
  const text = (produce: () => string | Uint8Array, mode = 0o444): Inode =>
    new SyntheticText(fs, () => (process.ended && mode === 0o400 ? "" : produce()), { ...attributes, mode });
  const place = (path: () => string): Inode =>
    new SyntheticLink(
      fs,
      () => (process.ended ? -E.NOENT : path()),
      () => {
        const found = vfs.walk(vfs.root, path(), true, null);
        return typeof found === "number" ? found : (found.entry ?? -E.NOENT);
      },
      attributes,
    );
  switch (name) {
    case "stat":
      return text(() => statText(kernel, process, thread, vfs));
    case "status":
      return text(() => statusText(process, thread));
    case "statm":
      return text(() => {
        const { resident, virtual } = process.memoryUse();
        return `${pages(virtual)} ${pages(resident)} 0 0 0 ${pages(resident)} 0\n`;
      });
    case "cmdline":
      return text(() => (process.ended ? "" : process.argv.map((word) => `${word}\0`).join("")));
    case "environ":
      return text(() => process.env.map((word) => `${word}\0`).join(""), 0o400);
    case "comm":
      return new SyntheticText(
        fs,
        () => `${thread?.name ?? process.name}\n`,
        { ...attributes, mode: 0o644 },
        (bytes) => {
          const comm = decodeText(bytes)
            .replace(/[\n\0].*$/s, "")
            .slice(0, 15);
          if (thread !== undefined) thread.name = comm;
          if (thread === undefined || thread.id === process.pid) process.name = comm;
          return bytes.length;
        },
      );
    case "maps":
      return text(() => (process.ended ? "" : process.maps()));
    case "smaps":
      return text(() => (process.ended ? "" : smapsText(process)));
    case "limits":
      return text(() => limitsText(process));
    case "mounts":
      return text(() => mountsText(vfs.mounts));
    case "mountinfo":
      return text(() => mountInfoText(vfs.mounts));
    case "oom_score":
      return text(() => "0\n");
    case "oom_score_adj":
      return new SyntheticText(
        fs,
        () => `${adjustments.get(process) ?? "0"}\n`,
        { ...attributes, mode: 0o644 },
        (bytes) => {
          const value = Number(Buffer.from(bytes).toString("utf8").trim());
          if (!Number.isInteger(value) || value < -1000 || value > 1000) return -E.INVAL;
          adjustments.set(process, String(value));
          return bytes.length;
        },
      );
    case "cgroup":
      return text(() => "0::/\n");
    case "loginuid":
      return text(() => "4294967295");
    case "wchan":
      return text(() => "0");
    case "io":
      return text(() => "rchar: 0\nwchar: 0\nsyscr: 0\nsyscw: 0\nread_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0\n", 0o400);
    case "exe":
      return place(() => process.executable);
    case "cwd":
      return place(() => process.fs.cwd);
    case "root":
      return place(() => process.fs.root);
    case "fd":
      return descriptors(fs, process, attributes);
    case "fdinfo":
      return descriptorInfos(fs, process, attributes);
    case "ns":
      return namespaces(fs, attributes);
    case "task":
      return new SyntheticDirectory(
        fs,
        {
          get(id) {
            const found = kernel.threads.get(Number(id));
            return found === undefined || found.process !== process ? null : processDirectory(fs, vfs, kernel, process, found);
          },
          names: () => [...process.threads].map((one) => ({ name: String(one.id), type: S.IFDIR, ino: one.id * 256 + 128 })),
        },
        { ...attributes, mode: 0o555 },
      );
  }
}

function descriptors(fs: SyntheticFs, process: Process, attributes: Attributes): Inode {
  const number = (fd: number): number => process.pid * 0x100000000 + fd + 1;
  return new SyntheticDirectory(
    fs,
    {
      get(name) {
        const fd = /^(0|[1-9][0-9]*)$/.test(name) ? Number(name) : -1;
        if (process.fds.get(fd) === undefined) return null;
        return new SyntheticLink(
          fs,
          () => process.fds.get(fd)?.name ?? -E.NOENT,
          (): Dentry | OpenFile | number => {
            const file = process.fds.get(fd);
            if (file === undefined) return -E.NOENT;
            return file instanceof BaseFile && file.entry !== null && file.entry.inode.isDirectory ? file.entry : file;
          },
          { ...attributes, ino: number(fd), mode: 0o700 },
        );
      },
      names: () => process.fds.list().map((fd): DirectoryEntry => ({ name: String(fd), type: S.IFLNK, ino: number(fd) })),
    },
    { ...attributes, mode: 0o500 },
  );
}

function descriptorInfos(fs: SyntheticFs, process: Process, attributes: Attributes): Inode {
  return new SyntheticDirectory(
    fs,
    {
      get(name) {
        const fd = /^(0|[1-9][0-9]*)$/.test(name) ? Number(name) : -1;
        if (process.fds.get(fd) === undefined) return null;
        return new SyntheticText(
          fs,
          () => {
            const file = process.fds.get(fd);
            if (file === undefined) return -E.NOENT;
            const position = Math.max(0, file.seek(0, 1));
            return `pos:\t${position}\nflags:\t0${(file.flags | (process.fds.closeOnExec(fd) ? 0o2000000 : 0)).toString(8)}\nmnt_id:\t21\n`;
          },
          { ...attributes, ino: process.pid * 0x100000000 + 0x10000000 + fd },
        );
      },
      names: () =>
        process.fds
          .list()
          .map((fd): DirectoryEntry => ({ name: String(fd), type: S.IFREG, ino: process.pid * 0x100000000 + 0x10000000 + fd })),
    },
    { ...attributes, mode: 0o500 },
  );
}

/** One namespace of each kind: a cVM has no others. */
const NAMESPACES = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"] as const;
function namespaces(fs: SyntheticFs, attributes: Attributes): Inode {
  const text = (kind: string): string => `${kind}:[${4026531835 + NAMESPACES.indexOf(kind as (typeof NAMESPACES)[number])}]`;
  return new SyntheticDirectory(
    fs,
    {
      get: (name) =>
        NAMESPACES.includes(name as (typeof NAMESPACES)[number])
          ? new SyntheticLink(
              fs,
              () => text(name),
              () => -E.ACCES,
              { uid: attributes.uid ?? 0, gid: attributes.gid ?? 0 },
            )
          : null,
      names: () => NAMESPACES.map((name) => ({ name, type: S.IFLNK, ino: 1 })),
    },
    { ...attributes, mode: 0o511 },
  );
}

const pages = (bytes: number): number => Math.ceil(bytes / 4096);
const kib = (bytes: number): string => `${String(Math.ceil(bytes / 1024)).padStart(8)} kB`;
const stateNames = { R: "running", S: "sleeping", Z: "zombie", T: "stopped" } as const;

function statText(kernel: Kernel, process: Process, thread: Thread | undefined, vfs: VirtualFiles): string {
  const { resident, virtual } = process.ended ? { resident: 0, virtual: 0 } : process.memoryUse();
  const terminal = process.ended ? null : (vfs.terminals.ofSession(process)?.tty ?? null);
  const start = Math.floor((process.startedAt * TICKS) / 1000);
  const fields = [
    thread?.id ?? process.pid,
    `(${thread?.name ?? process.name})`,
    process.state(),
    process.parent?.pid ?? 0,
    process.pgid,
    process.sid,
    terminal === null ? 0 : makedev(136, terminal.number),
    terminal === null ? -1 : terminal.foreground,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    20,
    0,
    process.threads.size,
    0,
    start,
    virtual,
    pages(resident),
    "18446744073709551615",
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    17,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
  ];
  return `${fields.join(" ")}\n`;
}

function statusText(process: Process, thread: Thread | undefined): string {
  const { resident, virtual } = process.ended ? { resident: 0, virtual: 0 } : process.memoryUse();
  const { uid, euid, suid, fsuid, gid, egid, sgid, fsgid, groups } = process.credentials;
  const state = process.state();
  const capabilities = euid === 0 ? "000001ffffffffff" : "0000000000000000";
  const lines: readonly (readonly [string, string | number])[] = [
    ["Name", thread?.name ?? process.name],
    ["Umask", process.fs.umask.toString(8).padStart(4, "0")],
    ["State", `${state} (${stateNames[state]})`],
    ["Tgid", process.pid],
    ["Ngid", 0],
    ["Pid", thread?.id ?? process.pid],
    ["PPid", process.parent?.pid ?? 0],
    ["TracerPid", 0],
    ["Uid", `${uid}\t${euid}\t${suid}\t${fsuid}`],
    ["Gid", `${gid}\t${egid}\t${sgid}\t${fsgid}`],
    ["FDSize", 64],
    ["Groups", `${groups.join(" ")} `],
    ["VmPeak", kib(virtual)],
    ["VmSize", kib(virtual)],
    ["VmLck", kib(0)],
    ["VmHWM", kib(resident)],
    ["VmRSS", kib(resident)],
    ["RssAnon", kib(resident)],
    ["VmSwap", kib(0)],
    ["Threads", process.threads.size],
    ["CapInh", "0000000000000000"],
    ["CapPrm", capabilities],
    ["CapEff", capabilities],
    ["CapBnd", "000001ffffffffff"],
    ["CapAmb", "0000000000000000"],
    ["NoNewPrivs", 0],
    ["Seccomp", 0],
    ["Cpus_allowed", 1],
    ["Cpus_allowed_list", 0],
    ["Mems_allowed", 1],
    ["Mems_allowed_list", 0],
    ["voluntary_ctxt_switches", 0],
    ["nonvoluntary_ctxt_switches", 0],
  ];
  return lines.map(([name, value]) => `${name}:\t${value}\n`).join("");
}

/** What a mapping holds is not counted: all of it is shown as resident and private. */
function smapsText(process: Process): string {
  let text = "";
  for (const line of process.maps().split("\n")) {
    const range = /^([0-9a-f]+)-([0-9a-f]+) (.)(.)/.exec(line);
    if (range === null) continue;
    const size = Number.parseInt(range[2]!, 16) - Number.parseInt(range[1]!, 16);
    const resident = range[3] === "r" ? size : 0;
    const dirty = range[4] === "w" ? resident : 0;
    const row = (name: string, bytes: number): string => `${`${name}:`.padEnd(16)}${kib(bytes)}\n`;
    text += `${line}\n${row("Size", size)}${row("KernelPageSize", 4096)}${row("MMUPageSize", 4096)}${row("Rss", resident)}${row("Pss", resident)}${row("Shared_Clean", 0)}${row("Shared_Dirty", 0)}`;
    text += `${row("Private_Clean", resident - dirty)}${row("Private_Dirty", dirty)}${row("Referenced", resident)}${row("Anonymous", dirty)}${row("LazyFree", 0)}${row("AnonHugePages", 0)}${row("Swap", 0)}${row("Locked", 0)}THPeligible:           0\nVmFlags: rd\n`;
  }
  return text;
}

function limitsText(process: Process): string {
  const rows: readonly (readonly [string, string, string])[] = [
    ["Max cpu time", "unlimited", "seconds"],
    ["Max file size", "unlimited", "bytes"],
    ["Max data size", "unlimited", "bytes"],
    ["Max stack size", "8388608", "bytes"],
    ["Max core file size", "0", "bytes"],
    ["Max resident set", "unlimited", "bytes"],
    ["Max processes", "4096", "processes"],
    ["Max open files", String(process.fds.limit), "files"],
    ["Max locked memory", "unlimited", "bytes"],
    ["Max address space", "unlimited", "bytes"],
    ["Max file locks", "unlimited", "locks"],
    ["Max pending signals", "4096", "signals"],
    ["Max msgqueue size", "819200", "bytes"],
    ["Max nice priority", "0", ""],
    ["Max realtime priority", "0", ""],
    ["Max realtime timeout", "unlimited", "us"],
  ];
  const row = (name: string, soft: string, hard: string, unit: string): string =>
    `${name.padEnd(26)}${soft.padEnd(21)}${hard.padEnd(21)}${unit.padEnd(10)}\n`;
  return row("Limit", "Soft Limit", "Hard Limit", "Units") + rows.map(([name, value, unit]) => row(name, value, value, unit)).join("");
}

export type { CallContext };
