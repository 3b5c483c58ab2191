/** Who runs here and on what: credentials, names, limits of the machine, scheduling, random numbers. */
import { decodeText, encodeText } from "@cvm/monitor/abi";
import { ADDRESSES } from "../kernel/address-space.ts";
import { E } from "../kernel/errno.ts";
import type { LinuxContext } from "../kernel/process.ts";
import type { Credentials, Syscall, SyscallOutcome } from "../kernel/types.ts";
import { findProcess } from "./process.ts";
import {
  address,
  call,
  FULL,
  input,
  int,
  maybeInput,
  maybeOutput,
  output,
  partial,
  refused,
  uint,
  ulong,
  viewOf,
  writeU64,
  putTimespec,
} from "./define.ts";

export const RELEASE = "6.12.0-cvm";
const UTS_FIELD = 65;
const LARGEST_RANDOM = 1_048_576;

function field(bytes: Uint8Array, index: number, text: string): void {
  bytes.set(encodeText(text).subarray(0, UTS_FIELD - 1), index * UTS_FIELD);
}
function u32(...values: number[]): Uint8Array {
  const bytes = new Uint8Array(values.length * 4);
  const view = viewOf(bytes);
  values.forEach((value, index) => view.setUint32(index * 4, value, true));
  return bytes;
}

// ------------------------------------------------------------------ credentials

type Real = "uid" | "gid";
type Effective = "euid" | "egid";
type Saved = "suid" | "sgid";
const NAMES: Readonly<Record<Real, readonly [Effective, Saved, "fsuid" | "fsgid"]>> = {
  uid: ["euid", "suid", "fsuid"],
  gid: ["egid", "sgid", "fsgid"],
};

/** setuid(2), setgid(2): root sets all three, others the effective one to the real or saved one. */
function setId(credentials: Credentials, kind: Real, id: number): number {
  const [effective, saved, fs] = NAMES[kind];
  if (id < 0) return -E.INVAL;
  if (credentials.euid === 0) credentials[kind] = credentials[saved] = id;
  else if (id !== credentials[kind] && id !== credentials[saved]) return -E.PERM;
  credentials[effective] = credentials[fs] = id;
  return 0;
}
/** setresuid(2), setresgid(2); -1 leaves one as it is. */
function setIds(credentials: Credentials, kind: Real, real: number, effectiveId: number, savedId: number): number {
  const [effective, saved, fs] = NAMES[kind];
  const allowed = [credentials[kind], credentials[effective], credentials[saved]];
  for (const id of [real, effectiveId, savedId]) if (id !== -1 && credentials.euid !== 0 && !allowed.includes(id)) return -E.PERM;
  if (real !== -1) credentials[kind] = real;
  if (effectiveId !== -1) credentials[effective] = effectiveId;
  if (savedId !== -1) credentials[saved] = savedId;
  credentials[fs] = credentials[effective];
  return 0;
}
/** setreuid(2), setregid(2). */
function setReal(credentials: Credentials, kind: Real, real: number, effectiveId: number): number {
  const [effective, saved] = NAMES[kind];
  const before = credentials[kind];
  if (credentials.euid !== 0) {
    if (real !== -1 && real !== before && real !== credentials[effective]) return -E.PERM;
    if (effectiveId !== -1 && ![before, credentials[effective], credentials[saved]].includes(effectiveId)) return -E.PERM;
  }
  const newEffective = effectiveId === -1 ? credentials[effective] : effectiveId;
  if (real !== -1 || (effectiveId !== -1 && effectiveId !== before)) credentials[saved] = newEffective;
  if (real !== -1) credentials[kind] = real;
  credentials[effective] = newEffective;
  credentials[kind === "uid" ? "fsuid" : "fsgid"] = newEffective;
  return 0;
}

// ------------------------------------------------------------------ prctl

const Pr = {
  SET_PDEATHSIG: 1,
  GET_PDEATHSIG: 2,
  GET_DUMPABLE: 3,
  SET_DUMPABLE: 4,
  GET_KEEPCAPS: 7,
  SET_KEEPCAPS: 8,
  SET_NAME: 15,
  GET_NAME: 16,
  GET_SECCOMP: 21,
  SET_SECCOMP: 22,
  CAPBSET_READ: 23,
  CAPBSET_DROP: 24,
  SET_TIMERSLACK: 29,
  GET_TIMERSLACK: 30,
  SET_CHILD_SUBREAPER: 36,
  GET_CHILD_SUBREAPER: 37,
  SET_NO_NEW_PRIVS: 38,
  GET_NO_NEW_PRIVS: 39,
  SET_THP_DISABLE: 41,
  GET_THP_DISABLE: 42,
  CAP_AMBIENT: 47,
  SET_VMA: 0x53564d41,
} as const;
const LAST_CAPABILITY = 40;
const prctlNames = Object.fromEntries(Object.entries(Pr).map(([name, value]) => [`PR_${name}`, value]));

function prctl(context: LinuxContext, option: number, argument: number): SyscallOutcome {
  const { kernel, process, thread } = context;
  const put = (bytes: Uint8Array): SyscallOutcome =>
    process.memory.allows(argument, bytes.length, 2)
      ? { result: 0, ops: [{ op: "write", process: process.space, address: argument, bytes }] }
      : -E.FAULT;
  switch (option) {
    case Pr.SET_NAME: {
      // Sixteen bytes at most, fewer at the end of a page.
      const whole = kernel.host.readMemory(process.space, argument, Math.min(16, 4096 - (argument % 4096)));
      const set = (bytes: Uint8Array | null): number => {
        if (bytes === null) return -E.FAULT;
        const end = bytes.indexOf(0);
        thread.name = decodeText(bytes.subarray(0, Math.min(15, end < 0 ? bytes.length : end)));
        if (thread.id === process.pid) process.name = thread.name;
        return 0;
      };
      return whole !== null && "then" in whole ? kernel.later(thread, whole.then(set)) : set(whole);
    }
    case Pr.GET_NAME: {
      const bytes = new Uint8Array(16);
      bytes.set(encodeText(thread.name).subarray(0, 15));
      return put(bytes);
    }
    case Pr.SET_PDEATHSIG:
      if (argument > 64) return -E.INVAL;
      thread.parentDeathSignal = argument;
      return 0;
    case Pr.GET_PDEATHSIG:
      return put(u32(thread.parentDeathSignal));
    case Pr.GET_DUMPABLE:
      return process.dumpable;
    case Pr.SET_DUMPABLE:
      if (argument !== 0 && argument !== 1) return -E.INVAL;
      process.dumpable = argument;
      return 0;
    case Pr.GET_KEEPCAPS:
    case Pr.GET_SECCOMP:
    case Pr.GET_THP_DISABLE:
    case Pr.SET_KEEPCAPS:
    case Pr.SET_TIMERSLACK:
    case Pr.SET_THP_DISABLE:
      return 0;
    case Pr.GET_TIMERSLACK:
      return 50_000;
    case Pr.CAPBSET_READ:
      return argument > LAST_CAPABILITY ? -E.INVAL : process.credentials.euid === 0 ? 1 : 0;
    case Pr.CAPBSET_DROP:
      return argument > LAST_CAPABILITY ? -E.INVAL : process.credentials.euid === 0 ? 0 : -E.PERM;
    case Pr.SET_CHILD_SUBREAPER:
      process.childSubreaper = argument !== 0;
      return 0;
    case Pr.GET_CHILD_SUBREAPER:
      return put(u32(process.childSubreaper ? 1 : 0));
    case Pr.SET_NO_NEW_PRIVS:
      if (argument !== 1) return -E.INVAL;
      process.noNewPrivileges = true;
      return 0;
    case Pr.GET_NO_NEW_PRIVS:
      return process.noNewPrivileges ? 1 : 0;
    default:
      return -E.INVAL;
  }
}

// ------------------------------------------------------------------ riscv_hwprobe

/** Extensions: F and D, C, Zba, Zbb, Zbs (arch/riscv/include/uapi/asm/hwprobe.h). */
const IMA_EXTENSIONS = 0x1 | 0x2 | 0x8 | 0x10 | 0x20;
const HWPROBE: Readonly<Record<number, number>> = {
  0: 0,
  1: 0,
  2: 0,
  // Base behaviour: IMA; extensions; misaligned scalar access is fast.
  3: 1,
  4: IMA_EXTENSIONS,
  5: 3,
  6: 0,
  // Time CSR frequency; misaligned scalar access again; misaligned vectors are not supported.
  8: 1_000_000,
  9: 3,
  10: 4,
};
const WHICH_CPUS = 1;

function hwprobe(pairs: Uint8Array, flags: number): SyscallOutcome {
  if ((flags & ~WHICH_CPUS) !== 0) return -E.INVAL;
  if ((flags & WHICH_CPUS) !== 0) return -E.NOSYS;
  const bytes = Uint8Array.from(pairs);
  const view = viewOf(bytes);
  for (let at = 0; at + 16 <= bytes.length; at += 16) {
    const key = view.getInt32(at, true);
    const value = view.getInt32(at + 4, true) === 0 ? (key === 7 ? ADDRESSES - 1 : HWPROBE[key]) : undefined;
    if (value === undefined) view.setBigInt64(at, -1n, true);
    writeU64(view, at + 8, value ?? 0);
  }
  return { result: 0, out: [{ arg: 0, value: bytes }] };
}

function readName(bytes: Uint8Array): string {
  return decodeText(bytes);
}

export const systemSyscalls: readonly Syscall[] = [
  call(160, "uname", [output("buf", 6 * UTS_FIELD)], FULL, ({ kernel }) => {
    const bytes = new Uint8Array(6 * UTS_FIELD);
    ["Linux", kernel.hostname, RELEASE, "#1 SMP", "riscv64", "(none)"].forEach((text, index) => field(bytes, index, text));
    return { result: 0, out: [{ arg: 0, value: bytes }] };
  }),
  call(
    161,
    "sethostname",
    [input("name", { arg: "len" }), ulong("len")],
    partial("only this cVM sees it"),
    ({ kernel, process }, [name, length]) => {
      if (process.credentials.euid !== 0) return -E.PERM;
      if ((length as number) > 64) return -E.INVAL;
      kernel.hostname = readName(name as Uint8Array);
      return 0;
    },
  ),
  refused(162, "setdomainname", E.PERM, "there is no NIS domain"),
  call(179, "sysinfo", [output("info", 112)], FULL, ({ kernel }) => {
    const bytes = new Uint8Array(112);
    const view = viewOf(bytes);
    writeU64(view, 0, Math.floor(kernel.monotonic() / 1000));
    writeU64(view, 32, kernel.memory.limit);
    writeU64(view, 40, Math.max(0, kernel.memory.limit - kernel.memory.used));
    view.setUint16(80, kernel.processes.size, true);
    view.setUint32(104, 1, true);
    return { result: 0, out: [{ arg: 0, value: bytes }] };
  }),
  call(
    278,
    "getrandom",
    [output("buf", { arg: "buflen" }), ulong("buflen"), uint("flags", { flags: { GRND_NONBLOCK: 1, GRND_RANDOM: 2, GRND_INSECURE: 4 } })],
    FULL,
    ({ kernel }, [, length, flags]) => {
      if (((flags as number) & ~7) !== 0 || ((flags as number) & 6) === 6) return -E.INVAL;
      const bytes = kernel.random(Math.min(length as number, LARGEST_RANDOM));
      return { result: bytes.length, out: [{ arg: 0, value: bytes }] };
    },
  ),
  call(
    258,
    "riscv_hwprobe",
    [
      { name: "pairs", kind: "inout", length: { arg: "pair_count", times: 16 } },
      ulong("pair_count"),
      ulong("cpusetsize"),
      address("cpus"),
      uint("flags"),
    ],
    partial("no search for CPUs"),
    (_context, [pairs, , , , flags]) => hwprobe(pairs as Uint8Array, flags as number),
  ),
  call(259, "riscv_flush_icache", [address("start"), address("end"), ulong("flags")], FULL, (_context, [, , flags]) =>
    (flags as number) > 1 ? -E.INVAL : 0,
  ),
  call(
    167,
    "prctl",
    [int("option", { values: prctlNames }), ulong("arg2"), ulong("arg3"), ulong("arg4"), ulong("arg5")],
    partial("names, death signal, dumpable, subreaper, no_new_privs; capabilities as root has them"),
    (context, [option, argument]) => prctl(context, option as number, argument as number),
  ),
  call(92, "personality", [ulong("persona")], partial("stored only"), ({ process }, [persona]) => {
    const before = process.personality;
    if (persona !== 0xffffffff) process.personality = persona as number;
    return before;
  }),

  call(174, "getuid", [], FULL, ({ process }) => process.credentials.uid),
  call(175, "geteuid", [], FULL, ({ process }) => process.credentials.euid),
  call(176, "getgid", [], FULL, ({ process }) => process.credentials.gid),
  call(177, "getegid", [], FULL, ({ process }) => process.credentials.egid),
  call(146, "setuid", [int("uid")], FULL, ({ process }, [id]) => setId(process.credentials, "uid", id as number)),
  call(144, "setgid", [int("gid")], FULL, ({ process }, [id]) => setId(process.credentials, "gid", id as number)),
  call(145, "setreuid", [int("ruid"), int("euid")], FULL, ({ process }, [real, effective]) =>
    setReal(process.credentials, "uid", real as number, effective as number),
  ),
  call(143, "setregid", [int("rgid"), int("egid")], FULL, ({ process }, [real, effective]) =>
    setReal(process.credentials, "gid", real as number, effective as number),
  ),
  call(147, "setresuid", [int("ruid"), int("euid"), int("suid")], FULL, ({ process }, [real, effective, saved]) =>
    setIds(process.credentials, "uid", real as number, effective as number, saved as number),
  ),
  call(149, "setresgid", [int("rgid"), int("egid"), int("sgid")], FULL, ({ process }, [real, effective, saved]) =>
    setIds(process.credentials, "gid", real as number, effective as number, saved as number),
  ),
  call(148, "getresuid", [output("ruid", 4), output("euid", 4), output("suid", 4)], FULL, ({ process: { credentials } }) => ({
    result: 0,
    out: [
      { arg: 0, value: u32(credentials.uid) },
      { arg: 1, value: u32(credentials.euid) },
      { arg: 2, value: u32(credentials.suid) },
    ],
  })),
  call(150, "getresgid", [output("rgid", 4), output("egid", 4), output("sgid", 4)], FULL, ({ process: { credentials } }) => ({
    result: 0,
    out: [
      { arg: 0, value: u32(credentials.gid) },
      { arg: 1, value: u32(credentials.egid) },
      { arg: 2, value: u32(credentials.sgid) },
    ],
  })),
  call(151, "setfsuid", [int("fsuid")], FULL, ({ process: { credentials } }, [id]) => {
    const before = credentials.fsuid;
    if (credentials.euid === 0 || [credentials.uid, credentials.euid, credentials.suid].includes(id as number))
      if ((id as number) >= 0) credentials.fsuid = id as number;
    return before;
  }),
  call(152, "setfsgid", [int("fsgid")], FULL, ({ process: { credentials } }, [id]) => {
    const before = credentials.fsgid;
    if (credentials.euid === 0 || [credentials.gid, credentials.egid, credentials.sgid].includes(id as number))
      if ((id as number) >= 0) credentials.fsgid = id as number;
    return before;
  }),
  call(158, "getgroups", [int("size"), maybeOutput("list", { arg: "size", times: 4 })], FULL, ({ process: { credentials } }, [size]) => {
    const { groups } = credentials;
    if ((size as number) < 0 || (size !== 0 && (size as number) < groups.length)) return -E.INVAL;
    return size === 0 ? groups.length : { result: groups.length, out: [{ arg: 1, value: u32(...groups) }] };
  }),
  call(
    159,
    "setgroups",
    [ulong("size"), maybeInput("list", { arg: "size", times: 4 })],
    FULL,
    ({ process: { credentials } }, [size, bytes]) => {
      if (credentials.euid !== 0) return -E.PERM;
      if ((size as number) > 65536) return -E.INVAL;
      const view = bytes === null ? null : viewOf(bytes as Uint8Array);
      credentials.groups = Array.from({ length: size as number }, (_, index) => view?.getUint32(index * 4, true) ?? 0);
      return 0;
    },
  ),
  call(
    90,
    "capget",
    [{ name: "hdrp", kind: "inout", length: { bytes: 8 } }, maybeOutput("datap", 24)],
    partial("root has all, others none"),
    (context, [header, data]) => {
      const view = viewOf(header as Uint8Array);
      const version = view.getUint32(0, true);
      if (version !== 0x20080522 && version !== 0x20071026)
        return { result: data === null ? 0 : -E.INVAL, out: [{ arg: 0, value: u32(0x20080522, 0) }] };
      const target = findProcess(context, view.getInt32(4, true));
      if (target === undefined) return -E.SRCH;
      const root = target.credentials.euid === 0;
      const low = root ? 0xffffffff : 0;
      const high = root ? 0x1ff : 0;
      return data === null ? 0 : { result: 0, out: [{ arg: 1, value: u32(low, low, 0, high, high, 0) }] };
    },
  ),
  call(91, "capset", [input("hdrp", 8), input("datap", 24)], partial("accepted from root, without effect"), ({ process }) =>
    process.credentials.euid === 0 ? 0 : -E.PERM,
  ),

  call(
    122,
    "sched_setaffinity",
    [int("pid"), ulong("cpusetsize"), input("mask", { arg: "cpusetsize" })],
    partial("there is one CPU"),
    (context, [pid, , mask]) => {
      if (findThread(context, pid as number) === undefined) return -E.SRCH;
      return (((mask as Uint8Array)[0] ?? 0) & 1) === 0 ? -E.INVAL : 0;
    },
  ),
  call(
    123,
    "sched_getaffinity",
    [int("pid"), ulong("cpusetsize"), output("mask", { arg: "cpusetsize" })],
    partial("there is one CPU"),
    (context, [pid, size]) => {
      if ((size as number) < 8 || (size as number) % 8 !== 0) return -E.INVAL;
      if (findThread(context, pid as number) === undefined) return -E.SRCH;
      const bytes = new Uint8Array(8);
      bytes[0] = 1;
      return { result: 8, out: [{ arg: 2, value: bytes }] };
    },
  ),
  call(118, "sched_setparam", [int("pid"), input("param", 4)], partial("without effect"), (context, [pid, bytes]) =>
    schedule(context, pid as number, 0, viewOf(bytes as Uint8Array).getInt32(0, true)),
  ),
  call(
    119,
    "sched_setscheduler",
    [int("pid"), int("policy"), input("param", 4)],
    partial("only SCHED_OTHER, SCHED_BATCH and SCHED_IDLE, without effect"),
    (context, [pid, policy, bytes]) => schedule(context, pid as number, policy as number, viewOf(bytes as Uint8Array).getInt32(0, true)),
  ),
  call(120, "sched_getscheduler", [int("pid")], FULL, (context, [pid]) => (findThread(context, pid as number) === undefined ? -E.SRCH : 0)),
  call(121, "sched_getparam", [int("pid"), output("param", 4)], FULL, (context, [pid]) =>
    findThread(context, pid as number) === undefined ? -E.SRCH : { result: 0, out: [{ arg: 1, value: u32(0) }] },
  ),
  call(125, "sched_get_priority_max", [int("policy")], FULL, (_context, [policy]) => priority(policy as number, 99)),
  call(126, "sched_get_priority_min", [int("policy")], FULL, (_context, [policy]) => priority(policy as number, 1)),
  call(127, "sched_rr_get_interval", [int("pid"), output("interval", 16)], FULL, (context, [pid]) => {
    if (findThread(context, pid as number) === undefined) return -E.SRCH;
    const bytes = new Uint8Array(16);
    putTimespec(viewOf(bytes), 0, 4);
    return { result: 0, out: [{ arg: 1, value: bytes }] };
  }),
  call(140, "setpriority", [int("which"), int("who"), int("prio")], partial("stored only"), (context, [which, who, prio]) => {
    if (which !== 0 && which !== 1 && which !== 2) return -E.INVAL;
    const target = which === 0 ? findProcess(context, who as number) : context.process;
    if (target === undefined) return -E.SRCH;
    const value = Math.max(-20, Math.min(19, prio as number));
    if (value < target.nice && context.process.credentials.euid !== 0) return -E.ACCES;
    target.nice = value;
    return 0;
  }),
  call(141, "getpriority", [int("which"), int("who")], FULL, (context, [which, who]) => {
    if (which !== 0 && which !== 1 && which !== 2) return -E.INVAL;
    const target = which === 0 ? findProcess(context, who as number) : context.process;
    return target === undefined ? -E.SRCH : 20 - target.nice;
  }),
  call(30, "ioprio_set", [int("which"), int("who"), int("ioprio")], partial("without effect"), () => 0),
  call(31, "ioprio_get", [int("which"), int("who")], partial("always the default"), () => 0),
  call(116, "syslog", [int("type"), address("bufp"), int("size")], partial("the log is empty"), (_context, [type]) =>
    (type as number) < 0 || (type as number) > 10 ? -E.INVAL : 0,
  ),
  refused(142, "reboot", E.PERM, "end the first process instead"),
  refused(262, "fanotify_init", E.NOSYS, "inotify is there"),
  refused(263, "fanotify_mark", E.NOSYS, "inotify is there"),
  refused(277, "seccomp", E.INVAL, "no filters; compartments are the confinement"),
  refused(280, "bpf", E.PERM, "no BPF"),
  refused(241, "perf_event_open", E.PERM, "no performance counters"),
  refused(217, "add_key", E.NOSYS, "no key rings"),
  refused(218, "request_key", E.NOSYS, "no key rings"),
  refused(219, "keyctl", E.NOSYS, "no key rings"),
  refused(425, "io_uring_setup", E.NOSYS, "programs fall back to epoll"),
  refused(426, "io_uring_enter", E.NOSYS, "programs fall back to epoll"),
  refused(427, "io_uring_register", E.NOSYS, "programs fall back to epoll"),
  refused(104, "kexec_load", E.PERM, "there is no other kernel"),
  refused(105, "init_module", E.PERM, "no modules"),
  refused(273, "finit_module", E.PERM, "no modules"),
  refused(106, "delete_module", E.PERM, "no modules"),
  refused(89, "acct", E.PERM, "no accounting file"),
  refused(272, "kcmp", E.PERM, "no comparing of processes"),
];

function findThread(context: LinuxContext, pid: number): unknown {
  return pid === 0 ? context.thread : context.kernel.threads.get(pid);
}
/** Only the policies without priorities are allowed. */
function schedule(context: LinuxContext, pid: number, policy: number, level: number): number {
  if (findThread(context, pid) === undefined) return -E.SRCH;
  const kind = policy & ~0x40000000;
  if (kind === 1 || kind === 2) return level < 1 || level > 99 ? -E.INVAL : -E.PERM;
  return (kind !== 0 && kind !== 3 && kind !== 5) || level !== 0 ? -E.INVAL : 0;
}
function priority(policy: number, realtime: number): number {
  if (policy === 1 || policy === 2) return realtime;
  return policy === 0 || policy === 3 || policy === 5 || policy === 6 ? 0 : -E.INVAL;
}
