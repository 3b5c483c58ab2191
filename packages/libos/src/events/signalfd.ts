/** signalfd(2). */
import { anonymousStat, BaseFile } from "../files/open-file.ts";
import { E } from "../kernel/errno.ts";
import { Poll, type CallContext, type Process, type SignalInfo, type SignalSource, type Stat } from "../kernel/types.ts";
import type { WaitQueue } from "../kernel/wait.ts";

/** Bytes of `struct signalfd_siginfo`. */
const INFO_BYTES = 128;
/** SIGKILL and SIGSTOP: silently not in any set. */
const UNBLOCKABLE = (1n << 8n) | (1n << 18n);
const SIGCHLD = 17;

/** Reads signals of the process that made it. */
export class SignalFile extends BaseFile {
  readonly kind = "signalfd";
  readonly name = "anon_inode:[signalfd]";
  override readonly waiters: WaitQueue;
  readonly #source: SignalSource;
  readonly #process: Process;
  #set: bigint;

  constructor(source: SignalSource, process: Process, set: bigint, flags: number) {
    super(2 | flags);
    this.#source = source;
    this.#process = process;
    this.#set = set & ~UNBLOCKABLE;
    this.waiters = source.arrivals(process);
  }
  override stat(): Stat {
    return anonymousStat(0o600);
  }
  setSignals(set: bigint): void {
    this.#set = set & ~UNBLOCKABLE;
    this.waiters.notify();
  }
  override poll(): number {
    if (this.#source.pending(this.#process, undefined, this.#set)) return Poll.IN;
    // Signals for one thread are readable by it alone; poll does not know who asks.
    for (const thread of this.#process.threads) if (this.#source.pending(this.#process, thread, this.#set)) return Poll.IN;
    return 0;
  }
  /** As many signals as there are and fit. -EINVAL (less than 128 bytes), -EAGAIN. */
  override read(max: number, _offset: number | null, context: CallContext): Uint8Array | number {
    const fit = Math.floor(max / INFO_BYTES);
    if (fit === 0) return -E.INVAL;
    const records: Uint8Array[] = [];
    while (records.length < fit) {
      const taken = this.#source.take(context, this.#set);
      if (taken === undefined) break;
      records.push(encode(taken.signal, taken.info));
    }
    return records.length === 0 ? -E.AGAIN : Buffer.concat(records);
  }
}

function encode(signal: number, info: SignalInfo): Uint8Array {
  const bytes = new Uint8Array(INFO_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, signal, true);
  view.setInt32(8, info.code, true);
  view.setUint32(12, info.pid, true);
  view.setUint32(16, info.uid, true);
  if (signal === SIGCHLD) view.setInt32(40, info.status, true);
  view.setInt32(44, Number(BigInt.asIntN(32, info.value)), true);
  view.setBigUint64(48, BigInt.asUintN(64, info.value), true);
  view.setBigUint64(72, BigInt(Math.max(0, Math.trunc(info.address))), true);
  return bytes;
}
