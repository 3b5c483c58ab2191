/** Signal numbers, their default actions, signal sets and queues: signal(7). */
import type { SignalInfo } from "./types.ts";

/** Linux signal numbers (asm-generic). */
export const Sig = {
  HUP: 1,
  INT: 2,
  QUIT: 3,
  ILL: 4,
  TRAP: 5,
  ABRT: 6,
  BUS: 7,
  FPE: 8,
  KILL: 9,
  USR1: 10,
  SEGV: 11,
  USR2: 12,
  PIPE: 13,
  ALRM: 14,
  TERM: 15,
  STKFLT: 16,
  CHLD: 17,
  CONT: 18,
  STOP: 19,
  TSTP: 20,
  TTIN: 21,
  TTOU: 22,
  URG: 23,
  XCPU: 24,
  XFSZ: 25,
  VTALRM: 26,
  PROF: 27,
  WINCH: 28,
  IO: 29,
  PWR: 30,
  SYS: 31,
} as const;
export const SIGNALS = 64;

/** si_code values. */
export const Code = {
  USER: 0,
  KERNEL: 0x80,
  QUEUE: -1,
  TIMER: -2,
  TKILL: -6,
  EXITED: 1,
  KILLED: 2,
  DUMPED: 3,
  STOPPED: 5,
  CONTINUED: 6,
} as const;

/** sa_flags bits. */
export const SA = {
  NOCLDSTOP: 1,
  NOCLDWAIT: 2,
  SIGINFO: 4,
  ONSTACK: 0x08000000,
  RESTART: 0x10000000,
  NODEFER: 0x40000000,
  RESETHAND: 0x80000000,
} as const;
export const SIG_DFL = 0;
export const SIG_IGN = 1;

export interface SignalAction {
  readonly handler: number;
  readonly flags: number;
  readonly mask: bigint;
}
export const DEFAULT_ACTION: SignalAction = { handler: SIG_DFL, flags: 0, mask: 0n };

/** The bit of a signal in a set. */
export const bit = (signal: number): bigint => 1n << BigInt(signal - 1);
const setOf = (...signals: number[]): bigint => signals.reduce((set, signal) => set | bit(signal), 0n);

/** Signals whose default is to be ignored, to stop, and those that no mask or handler reaches. */
export const IGNORED_BY_DEFAULT: bigint = setOf(Sig.CHLD, Sig.CONT, Sig.URG, Sig.WINCH);
export const STOPS: bigint = setOf(Sig.STOP, Sig.TSTP, Sig.TTIN, Sig.TTOU);
export const UNBLOCKABLE: bigint = setOf(Sig.KILL, Sig.STOP);
/** Delivered before others. */
const SYNCHRONOUS: bigint = setOf(Sig.SEGV, Sig.BUS, Sig.ILL, Sig.TRAP, Sig.FPE, Sig.SYS);

export const signalNames: readonly string[] = ((): string[] => {
  const names: string[] = [];
  for (const [name, number] of Object.entries(Sig)) names[number] = `SIG${name}`;
  for (let number = 32; number <= SIGNALS; number++) names[number] = number === 32 ? "SIGRTMIN" : `SIGRT_${number - 32}`;
  return names;
})();

export const readSet = (bytes: Uint8Array, offset = 0): bigint => new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(offset, true);
export function setBytes(set: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, set, true);
  return bytes;
}

export interface Pending {
  readonly signal: number;
  readonly info: SignalInfo;
}

/** Most queued real-time signals of one queue (RLIMIT_SIGPENDING). */
const LONGEST_QUEUE = 4096;

/** Pending signals of a thread or a process. Standard signals are kept once, real-time ones as often as sent. */
export class SignalQueue {
  set = 0n;
  #entries: Pending[] = [];

  /** False when a standard signal was already pending or the queue is full. */
  add(signal: number, info: SignalInfo): boolean {
    const mask = bit(signal);
    if ((this.set & mask) !== 0n && (signal < 32 || this.#entries.length >= LONGEST_QUEUE)) return false;
    this.set |= mask;
    this.#entries.push({ signal, info });
    return true;
  }
  /** Takes the first signal of `allowed`: faults, then the lowest number. */
  take(allowed: bigint): Pending | undefined {
    let candidates = this.set & allowed;
    if (candidates === 0n) return undefined;
    if ((candidates & SYNCHRONOUS) !== 0n) candidates &= SYNCHRONOUS;
    let signal = 1;
    while ((candidates & 1n) === 0n) {
      candidates >>= 1n;
      signal++;
    }
    const index = this.#entries.findIndex((entry) => entry.signal === signal);
    const [entry] = this.#entries.splice(index, 1);
    if (!this.#entries.some((other) => other.signal === signal)) this.set &= ~bit(signal);
    return entry;
  }
  discard(set: bigint): void {
    if ((this.set & set) === 0n) return;
    this.#entries = this.#entries.filter((entry) => (bit(entry.signal) & set) === 0n);
    this.set &= ~set;
  }
}

export function signalInfo(info: Partial<SignalInfo> | undefined): SignalInfo {
  return { code: Code.KERNEL, pid: 0, uid: 0, status: 0, value: 0n, address: 0, ...info };
}

const FAULTS = new Set<number>([Sig.SEGV, Sig.BUS, Sig.ILL, Sig.TRAP, Sig.FPE]);

/** siginfo_t: 128 bytes. */
export function encodeSignalInfo(signal: number, info: SignalInfo, into: Uint8Array = new Uint8Array(128), at = 0): Uint8Array {
  const view = new DataView(into.buffer, into.byteOffset + at);
  view.setInt32(0, signal, true);
  view.setInt32(8, info.code, true);
  if (FAULTS.has(signal) && info.code > 0) {
    view.setBigUint64(16, BigInt.asUintN(64, BigInt(Math.trunc(info.address))), true);
  } else if (info.code === Code.TIMER) {
    view.setInt32(16, info.pid, true);
    view.setInt32(20, info.status, true);
    view.setBigUint64(24, BigInt.asUintN(64, info.value), true);
  } else {
    view.setInt32(16, info.pid, true);
    view.setInt32(20, info.uid, true);
    if (signal === Sig.CHLD && info.code > 0) view.setInt32(24, info.status, true);
    else view.setBigUint64(24, BigInt.asUintN(64, info.value), true);
  }
  return into;
}

/** The inverse, for rt_sigqueueinfo. */
export function decodeSignalInfo(bytes: Uint8Array): SignalInfo {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return {
    code: view.getInt32(8, true),
    pid: view.getInt32(16, true),
    uid: view.getInt32(20, true),
    status: 0,
    value: view.getBigUint64(24, true),
    address: 0,
  };
}
