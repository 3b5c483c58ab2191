/** /proc: proc(5), as far as programs read it. */
import { E } from "../kernel/errno.ts";
import type { CallContext, Kernel, Process } from "../kernel/types.ts";
import type { CvmNetwork } from "../sockets/network.ts";
import { netFiles } from "../sockets/proc-net.ts";
import { S } from "./constants.ts";
import type { DirectoryEntry, Inode } from "./node.ts";
import { processDirectory } from "./proc-process.ts";
import { fixed, SyntheticDirectory, SyntheticFs, SyntheticLink, SyntheticText, type Attributes } from "./synthetic.ts";
import type { Mount, VirtualFiles } from "./vfs.ts";

/** What uname(2) and /proc say; new enough for all that current C libraries ask for. */
export const KERNEL_RELEASE = "6.12.0-cvm";
export const KERNEL_VERSION = "#1 SMP";

const PAGE_KIB = 4;

export function makeProc(dev: number, vfs: VirtualFiles): SyntheticFs {
  return new SyntheticFs(dev, "proc", 0x9fa0, true, (fs) => {
    const text = (
      produce: (context: CallContext) => string | Uint8Array | number,
      accept: ((bytes: Uint8Array, context: CallContext) => number) | null = null,
      attributes: Attributes = {},
    ): SyntheticText => new SyntheticText(fs, produce, attributes, accept);
    const entries: ReadonlyMap<string, Inode> = new Map<string, Inode>(
      Object.entries({
        self: new SyntheticLink(fs, (context) => (context === null ? -E.NOENT : String(context.process.pid))),
        "thread-self": new SyntheticLink(fs, (context) =>
          context === null ? -E.NOENT : `${context.process.pid}/task/${context.thread.id}`,
        ),
        cmdline: text(() => "cvm\n"),
        cpuinfo: text(cpuinfo),
        filesystems: text(() => "nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\tdevpts\nnodev\toverlay\n\text4\n"),
        loadavg: text(loadavg),
        meminfo: text(meminfo),
        modules: text(() => ""),
        mounts: new SyntheticLink(fs, () => "self/mounts"),
        net: fixed(
          fs,
          Object.fromEntries(
            Object.entries(netFiles).map(([name, produce]) => [name, text(({ kernel }) => produce(kernel.network as CvmNetwork))]),
          ),
        ),
        stat: text(stat),
        sys: sysctl(fs, text),
        uptime: text(({ kernel }) => `${(kernel.monotonic() / 1000).toFixed(2)} ${(kernel.monotonic() / 1000).toFixed(2)}\n`),
        version: text(() => `Linux version ${KERNEL_RELEASE} (cvm) ${KERNEL_VERSION}\n`),
      }),
    );
    const listed = [...entries].map(([name, inode]): DirectoryEntry => ({ name, type: inode.type, ino: 0 }));
    return new SyntheticDirectory(fs, {
      get(name, context) {
        const entry = entries.get(name);
        if (entry !== undefined || context === null) return entry ?? null;
        const process = /^[1-9][0-9]*$/.test(name) ? findProcess(context.kernel, Number(name)) : null;
        return process === null ? null : processDirectory(fs, vfs, context.kernel, process);
      },
      names(context) {
        if (context === null) return listed;
        return [
          ...listed,
          ...[...context.kernel.processes.keys()].map((pid): DirectoryEntry => ({ name: String(pid), type: S.IFDIR, ino: pid * 256 })),
        ];
      },
    });
  });
}

/** A process by pid, or by the number of one of its threads (as Linux answers look-ups). */
function findProcess(kernel: Kernel, pid: number): Process | null {
  return kernel.processes.get(pid) ?? kernel.threads.get(pid)?.process ?? null;
}

type Text = (
  produce: (context: CallContext) => string | Uint8Array | number,
  accept?: ((bytes: Uint8Array, context: CallContext) => number) | null,
) => SyntheticText;

/** /proc/sys. What may be written is kept and has no other effect. */
function sysctl(fs: SyntheticFs, text: Text): Inode {
  const value = (initial: string): SyntheticText => {
    let current = initial;
    return text(
      () => `${current}\n`,
      (bytes) => {
        current = Buffer.from(bytes).toString("utf8").trim();
        return bytes.length;
      },
    );
  };
  const constant = (content: string): SyntheticText => text(() => `${content}\n`);
  return fixed(fs, {
    vm: fixed(fs, {
      overcommit_memory: value("1"),
      overcommit_ratio: value("50"),
      max_map_count: value("1048576"),
      swappiness: value("60"),
      mmap_min_addr: constant("4096"),
    }),
    kernel: fixed(fs, {
      pid_max: value("32768"),
      ngroups_max: constant("65536"),
      cap_last_cap: constant("40"),
      osrelease: constant(KERNEL_RELEASE),
      ostype: constant("Linux"),
      version: constant(KERNEL_VERSION),
      hostname: text(({ kernel }) => `${(kernel as Kernel & { readonly hostname?: string }).hostname ?? kernel.options.hostname}\n`),
      domainname: constant("(none)"),
      "threads-max": constant("4096"),
      core_pattern: value("core"),
      randomize_va_space: constant("0"),
      yama: fixed(fs, { ptrace_scope: constant("1") }),
      random: fixed(fs, {
        uuid: text(({ kernel }) => `${uuid(kernel.random(16))}\n`),
        boot_id: text(({ kernel }) => `${bootId(kernel)}\n`),
        entropy_avail: constant("256"),
        poolsize: constant("256"),
      }),
    }),
    net: fixed(fs, {
      core: fixed(fs, {
        somaxconn: value("4096"),
        rmem_max: value("212992"),
        wmem_max: value("212992"),
        rmem_default: value("212992"),
        wmem_default: value("212992"),
      }),
      ipv4: fixed(fs, {
        ip_local_port_range: value("32768\t60999"),
        tcp_fin_timeout: value("60"),
        tcp_keepalive_time: value("7200"),
        tcp_max_syn_backlog: value("1024"),
        ip_unprivileged_port_start: value("1024"),
      }),
    }),
    fs: fixed(fs, {
      "file-max": constant("1048576"),
      nr_open: constant("1048576"),
      "file-nr": constant("0\t0\t1048576"),
      "pipe-max-size": constant("1048576"),
      inotify: fixed(fs, {
        max_user_watches: constant("65536"),
        max_user_instances: constant("128"),
        max_queued_events: constant("16384"),
      }),
    }),
  });
}

const bootIds: WeakMap<Kernel, string> = new WeakMap();
function bootId(kernel: Kernel): string {
  let id = bootIds.get(kernel);
  if (id === undefined) bootIds.set(kernel, (id = uuid(kernel.random(16))));
  return id;
}
function uuid(random: Uint8Array): string {
  const bytes = Uint8Array.from(random);
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return Buffer.from(bytes)
    .toString("hex")
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** One hart: more cores are used by more hosts. */
function cpuinfo(): string {
  return "processor\t: 0\nhart\t\t: 0\nisa\t\t: rv64imafdc_zicntr_zicsr_zifencei_zba_zbb_zbs\nmmu\t\t: none\nmvendorid\t: 0x0\nmarchid\t\t: 0x0\nmimpid\t\t: 0x0\nhart isa\t: rv64imafdc_zicntr_zicsr_zifencei_zba_zbb_zbs\n\n";
}
function loadavg({ kernel }: CallContext): string {
  let running = 0;
  let last = 0;
  for (const process of kernel.processes.values()) {
    if (process.state() === "R") running++;
    last = Math.max(last, process.pid);
  }
  return `0.00 0.00 0.00 ${running}/${kernel.threads.size} ${last}\n`;
}
function meminfo({ kernel }: CallContext): string {
  const total = Math.floor(kernel.options.memoryBytes / 1024);
  let used = 0;
  for (const process of kernel.processes.values()) used += process.memoryUse().resident;
  const free = Math.max(0, total - Math.ceil(used / 1024));
  const lines: readonly (readonly [string, number])[] = [
    ["MemTotal", total],
    ["MemFree", free],
    ["MemAvailable", free],
    ["Buffers", 0],
    ["Cached", 0],
    ["SwapCached", 0],
    ["Active", total - free],
    ["Inactive", 0],
    ["SwapTotal", 0],
    ["SwapFree", 0],
    ["Dirty", 0],
    ["Writeback", 0],
    ["AnonPages", total - free],
    ["Mapped", 0],
    ["Shmem", 0],
    ["Slab", 0],
    ["SReclaimable", 0],
    ["SUnreclaim", 0],
    ["PageTables", 0],
    ["CommitLimit", total],
    ["Committed_AS", total - free],
    ["VmallocTotal", 0],
    ["VmallocUsed", 0],
  ];
  const text = lines.map(([name, value]) => `${`${name}:`.padEnd(15)} ${String(value).padStart(8)} kB\n`).join("");
  return `${text}HugePages_Total:       0\nHugePages_Free:        0\nHugepagesize:       2048 kB\n`;
}
function stat({ kernel }: CallContext): string {
  const boot = Math.floor((Date.now() - kernel.monotonic()) / 1000);
  let running = 0;
  for (const process of kernel.processes.values()) if (process.state() === "R") running++;
  const idle = Math.floor(kernel.monotonic() / 10);
  return `cpu  0 0 0 ${idle} 0 0 0 0 0 0\ncpu0 0 0 0 ${idle} 0 0 0 0 0 0\nintr 0\nctxt 0\nbtime ${boot}\nprocesses ${kernel.processes.size}\nprocs_running ${running}\nprocs_blocked 0\n`;
}

/** /proc/PID/mounts. */
export function mountsText(mounts: readonly Mount[]): string {
  return mounts.map(({ fs, target, options }) => `${escape(fs.source)} ${escape(target)} ${fs.type} ${options} 0 0\n`).join("");
}
/** /proc/PID/mountinfo. */
export function mountInfoText(mounts: readonly Mount[]): string {
  return mounts
    .map(
      ({ fs, target, options }, index) =>
        `${index + 21} ${index === 0 ? 1 : 21} 0:${fs.dev} / ${escape(target)} ${options} - ${fs.type} ${escape(fs.source)} ${fs.readOnly ? "ro" : "rw"}\n`,
    )
    .join("");
}
const escape = (text: string): string =>
  text.replace(/[ \t\n\\]/g, (character) => `\\${character.charCodeAt(0).toString(8).padStart(3, "0")}`);

export { PAGE_KIB };
