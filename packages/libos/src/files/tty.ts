/** Terminals: the line discipline of termios(3), console terminals and pseudo-terminal pairs. */
import { E } from "../kernel/errno.ts";
import { Poll, type CallContext, type Kernel, type Process, type Stat } from "../kernel/types.ts";
import { WaitQueue } from "../kernel/wait.ts";
import { makedev, O, S } from "./constants.ts";
import type { Dentry } from "./node.ts";
import { anonymousStat, BaseFile, type IoctlResult } from "./open-file.ts";

const Request = {
  TCGETS: 0x5401,
  TCSETS: 0x5402,
  TCSETSW: 0x5403,
  TCSETSF: 0x5404,
  TCSBRK: 0x5409,
  TCXONC: 0x540a,
  TCFLSH: 0x540b,
  TIOCEXCL: 0x540c,
  TIOCNXCL: 0x540d,
  TIOCSCTTY: 0x540e,
  TIOCGPGRP: 0x540f,
  TIOCSPGRP: 0x5410,
  TIOCOUTQ: 0x5411,
  TIOCGWINSZ: 0x5413,
  TIOCSWINSZ: 0x5414,
  FIONREAD: 0x541b,
  TIOCNOTTY: 0x5422,
  TCSBRKP: 0x5425,
  TIOCGSID: 0x5429,
  TIOCGPTN: 0x80045430,
  TIOCSPTLCK: 0x40045431,
  TIOCGPTLCK: 0x80045439,
  TIOCGPTPEER: 0x5441,
  TCGETS2: 0x802c542a,
  TCSETS2: 0x402c542b,
  TCSETSW2: 0x402c542c,
  TCSETSF2: 0x402c542d,
} as const;
const Input = { ISTRIP: 0x20, INLCR: 0x40, IGNCR: 0x80, ICRNL: 0x100, IXON: 0x400 } as const;
const Output = { OPOST: 1, ONLCR: 4, OCRNL: 8 } as const;
const Local = {
  ISIG: 1,
  ICANON: 2,
  ECHO: 8,
  ECHOE: 0x10,
  ECHOK: 0x20,
  ECHONL: 0x40,
  NOFLSH: 0x80,
  TOSTOP: 0x100,
  ECHOCTL: 0x200,
  ECHOKE: 0x800,
  IEXTEN: 0x8000,
} as const;
const Char = {
  INTR: 0,
  QUIT: 1,
  ERASE: 2,
  KILL: 3,
  EOF: 4,
  TIME: 5,
  MIN: 6,
  SUSP: 10,
  EOL: 11,
  REPRINT: 12,
  WERASE: 14,
  LNEXT: 15,
  EOL2: 16,
} as const;
/** Requests that change a terminal: refused to the background. */
const CHANGES: ReadonlySet<number> = new Set([
  Request.TCSETS,
  Request.TCSETSW,
  Request.TCSETSF,
  Request.TCSETS2,
  Request.TCSETSW2,
  Request.TCSETSF2,
  Request.TCSBRK,
  Request.TCSBRKP,
  Request.TCXONC,
  Request.TCFLSH,
  Request.TIOCSPGRP,
]);
const SIGHUP = 1;
const SIGINT = 2;
const SIGQUIT = 3;
const SIGCONT = 18;
const SIGTSTP = 20;
const SIGTTIN = 21;
const SIGTTOU = 22;
const SIGWINCH = 28;

/** Bytes that wait to be read at most; more input is dropped, as a terminal does. */
const INPUT_LIMIT = 65536;
/** Output of a pseudo-terminal that its master has not read yet. */
const OUTPUT_LIMIT = 65536;
/** Bytes of struct termios and of struct termios2. */
const TERMIOS = 36;
const TERMIOS2 = 44;
const EMPTY = new Uint8Array(0);

/** A byte queue. */
class Bytes {
  #chunks: Uint8Array[] = [];
  length = 0;
  push(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#chunks.push(bytes.slice());
    this.length += bytes.length;
  }
  take(max: number): Uint8Array {
    const count = Math.min(max, this.length);
    const result = new Uint8Array(count);
    let done = 0;
    while (done < count) {
      const chunk = this.#chunks[0]!;
      const part = Math.min(chunk.length, count - done);
      result.set(chunk.subarray(0, part), done);
      done += part;
      if (part === chunk.length) this.#chunks.shift();
      else this.#chunks[0] = chunk.subarray(part);
    }
    this.length -= count;
    return result;
  }
  clear(): void {
    this.#chunks = [];
    this.length = 0;
  }
}

export { Bytes as ByteQueue };

/** The line discipline between a program and whoever is at the other side. */
export class Tty {
  readonly waiters: WaitQueue = new WaitQueue();
  /** Number in /dev/pts. */
  readonly number: number;
  readonly #kernel: Kernel;
  readonly #output: (bytes: Uint8Array) => void;
  /** Bytes that {@link #output} could not pass on yet. */
  readonly #pending: () => number;
  session = 0;
  foreground = 0;
  /** Processes of its session that gave it up (TIOCNOTTY). */
  readonly #without: WeakSet<object> = new WeakSet();
  #input = 0x4500;
  #outputFlags = 5;
  #control = 0x4bf;
  #local = 0x8a3b;
  #line = 0;
  readonly #characters = new Uint8Array(19);
  columns: number;
  rows: number;
  /** Canonical mode: the line that is being edited, and finished ones (an empty one is an end of file). */
  #edit: number[] = [];
  readonly #lines: Uint8Array[] = [];
  readonly #raw = new Bytes();
  #literal = false;
  /** The other side is gone. */
  hungUp = false;
  #ended = false;

  constructor(
    kernel: Kernel,
    number: number,
    columns: number,
    rows: number,
    output: (bytes: Uint8Array) => void,
    pending: () => number = () => 0,
  ) {
    this.#kernel = kernel;
    this.number = number;
    this.columns = columns;
    this.rows = rows;
    this.#output = output;
    this.#pending = pending;
    this.#characters.set([3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0, 0, 0]);
  }

  // ---- from the other side
  input(bytes: Uint8Array): void {
    for (const byte of bytes) this.#receive(byte);
    this.waiters.notify();
  }
  /** The other side sends no more: reads see the end of the file after what is left. */
  end(): void {
    this.#ended = true;
    this.waiters.notify();
  }
  /** The leader of its session is told; it is the terminal of nobody from now on. */
  hangUp(): void {
    this.hungUp = true;
    const leader = this.session === 0 ? undefined : this.#kernel.processes.get(this.session);
    this.session = 0;
    this.foreground = 0;
    if (leader !== undefined) for (const signal of [SIGHUP, SIGCONT]) this.#kernel.signal(leader, signal);
    this.waiters.notify();
  }
  /** Becomes the controlling terminal of a session. */
  claim(session: number, group: number): void {
    this.session = session;
    this.foreground = group;
  }
  /** The session has no controlling terminal any more: its foreground is told. */
  giveUp(resume: boolean): void {
    this.#signal(SIGHUP);
    if (resume) this.#signal(SIGCONT);
    this.session = 0;
    this.foreground = 0;
  }
  /** Whether it is the controlling terminal of a process. */
  controls({ process }: { readonly process: Process }): boolean {
    return this.session !== 0 && this.session === process.sid && !this.#without.has(process);
  }
  /** For a process of the background: its group gets `signal`. 0, -EIO or -EINTR ({@link Kernel.stopBackground}). */
  #background(context: CallContext, signal: number): number {
    if (!this.controls(context) || this.foreground === 0 || this.foreground === context.process.pgid) return 0;
    return this.#kernel.stopBackground(context, signal);
  }
  /** Whether a process may read now: as {@link Tty.mayWrite}. */
  mayRead(context: CallContext): number {
    return this.#background(context, SIGTTIN);
  }
  /** Whether a process may write now: 0, -EIO, or -EINTR and the call is made again. With TOSTOP only the foreground may. */
  mayWrite(context: CallContext): number {
    return (this.#local & Local.TOSTOP) === 0 ? 0 : this.#background(context, SIGTTOU);
  }
  resize(columns: number, rows: number): void {
    if (columns === this.columns && rows === this.rows) return;
    this.columns = columns;
    this.rows = rows;
    this.#signal(SIGWINCH);
  }
  #receive(received: number): void {
    let byte = (this.#input & Input.ISTRIP) !== 0 ? received & 0x7f : received;
    const canonical = (this.#local & Local.ICANON) !== 0;
    if (this.#literal) {
      this.#literal = false;
      this.#keep(byte, canonical);
      return;
    }
    if (byte === 13) {
      if ((this.#input & Input.IGNCR) !== 0) return;
      if ((this.#input & Input.ICRNL) !== 0) byte = 10;
    } else if (byte === 10 && (this.#input & Input.INLCR) !== 0) byte = 13;
    if ((this.#local & Local.ISIG) !== 0) {
      const signal = this.#is(byte, Char.INTR) ? SIGINT : this.#is(byte, Char.QUIT) ? SIGQUIT : this.#is(byte, Char.SUSP) ? SIGTSTP : 0;
      if (signal !== 0) {
        if ((this.#local & Local.NOFLSH) === 0) this.flushInput();
        this.#echo(byte);
        this.#signal(signal);
        return;
      }
    }
    if (canonical) {
      if ((this.#local & Local.IEXTEN) !== 0 && this.#is(byte, Char.LNEXT)) {
        this.#literal = true;
        return;
      }
      if (this.#is(byte, Char.ERASE)) {
        this.#erase();
        return;
      }
      if ((this.#local & Local.IEXTEN) !== 0 && this.#is(byte, Char.WERASE)) {
        while (this.#edit.length > 0 && isSpace(this.#edit.at(-1)!)) this.#erase();
        while (this.#edit.length > 0 && !isSpace(this.#edit.at(-1)!)) this.#erase();
        return;
      }
      if (this.#is(byte, Char.KILL)) {
        if ((this.#local & Local.ECHOKE) !== 0) while (this.#edit.length > 0) this.#erase();
        else {
          this.#edit = [];
          this.#echo(byte);
          if ((this.#local & Local.ECHOK) !== 0) this.#echo(10);
        }
        return;
      }
      if (this.#is(byte, Char.EOF)) {
        this.#finish();
        return;
      }
    }
    this.#keep(byte, canonical);
  }
  #keep(byte: number, canonical: boolean): void {
    if (!canonical) {
      if (this.#raw.length >= INPUT_LIMIT) return;
      this.#raw.push(Uint8Array.of(byte));
      this.#echo(byte);
      return;
    }
    if (this.#edit.length >= 4095 && byte !== 10) return;
    this.#edit.push(byte);
    if (byte === 10 && (this.#local & (Local.ECHO | Local.ECHONL)) !== 0) this.#put(Uint8Array.of(10));
    else this.#echo(byte);
    if (byte === 10 || this.#is(byte, Char.EOL) || this.#is(byte, Char.EOL2)) this.#finish();
  }
  #finish(): void {
    this.#lines.push(Uint8Array.from(this.#edit));
    this.#edit = [];
  }
  /** Takes back the last character (all its UTF-8 bytes). */
  #erase(): void {
    if (this.#edit.length === 0) return;
    let byte = this.#edit.pop()!;
    const control = byte < 32 || byte === 127;
    while ((byte & 0xc0) === 0x80 && this.#edit.length > 0) byte = this.#edit.pop()!;
    if ((this.#local & Local.ECHO) === 0) return;
    const once = (this.#local & Local.ECHOE) !== 0 ? [8, 32, 8] : [this.#characters[Char.ERASE]!];
    this.#output(Uint8Array.from(control && (this.#local & Local.ECHOCTL) !== 0 && byte !== 9 ? [...once, ...once] : once));
  }
  #echo(byte: number): void {
    if ((this.#local & Local.ECHO) === 0) return;
    if ((this.#local & Local.ECHOCTL) !== 0 && (byte < 32 || byte === 127) && byte !== 9 && byte !== 10)
      this.#output(Uint8Array.of(94, byte ^ 64));
    else this.#put(Uint8Array.of(byte));
  }
  #is(byte: number, which: number): boolean {
    const character = this.#characters[which]!;
    return character !== 0 && byte === character;
  }
  #signal(signal: number): void {
    const group = this.foreground;
    if (group === 0) return;
    for (const process of this.#kernel.processes.values())
      if (process.pgid === group && process.state() !== "Z") this.#kernel.signal(process, signal);
  }

  // ---- from the program
  read(max: number): Uint8Array | number {
    if ((this.#local & Local.ICANON) !== 0) {
      const line = this.#lines[0];
      if (line === undefined) {
        if (this.#raw.length > 0) return this.#raw.take(max);
        return this.#ended || this.hungUp ? EMPTY : -E.AGAIN;
      }
      if (line.length <= max) {
        this.#lines.shift();
        return line;
      }
      this.#lines[0] = line.subarray(max);
      return line.slice(0, max);
    }
    const wanted = Math.min(max, this.#characters[Char.MIN]!);
    if (this.#raw.length > 0 && this.#raw.length >= Math.min(wanted, INPUT_LIMIT)) return this.#raw.take(max);
    if (this.#ended || this.hungUp || (this.#characters[Char.MIN] === 0 && this.#characters[Char.TIME] === 0)) return this.#raw.take(max);
    return -E.AGAIN;
  }
  /** Milliseconds after which a read gives up with what it has (VMIN 0 and VTIME); Infinity: never. */
  get readTimeout(): number {
    const raw = (this.#local & Local.ICANON) === 0;
    return raw && this.#characters[Char.MIN] === 0 && this.#characters[Char.TIME]! > 0
      ? this.#characters[Char.TIME]! * 100
      : Number.POSITIVE_INFINITY;
  }
  write(bytes: Uint8Array): number {
    if (this.hungUp) return -E.IO;
    const room = OUTPUT_LIMIT - this.#pending();
    if (room <= 0) return -E.AGAIN;
    const part = bytes.length > room ? bytes.subarray(0, room) : bytes;
    this.#put(part);
    return part.length;
  }
  #put(bytes: Uint8Array): void {
    if ((this.#outputFlags & Output.OPOST) === 0 || (this.#outputFlags & (Output.ONLCR | Output.OCRNL)) === 0) {
      this.#output(bytes);
      return;
    }
    const newline = (this.#outputFlags & Output.ONLCR) !== 0;
    let extra = 0;
    if (newline) for (const byte of bytes) if (byte === 10) extra++;
    const result = new Uint8Array(bytes.length + extra);
    let at = 0;
    for (const byte of bytes) {
      if (byte === 10 && newline) result[at++] = 13;
      result[at++] = byte === 13 && (this.#outputFlags & Output.OCRNL) !== 0 ? 10 : byte;
    }
    this.#output(result);
  }
  get readable(): boolean {
    if (this.#ended || this.hungUp || this.#lines.length > 0) return true;
    return (this.#local & Local.ICANON) === 0 && this.#raw.length >= Math.max(1, this.#characters[Char.MIN]!);
  }
  get writable(): boolean {
    return this.#pending() < OUTPUT_LIMIT;
  }
  flushInput(): void {
    this.#edit = [];
    this.#lines.length = 0;
    this.#raw.clear();
  }
  #available(): number {
    return this.#raw.length + this.#lines.reduce((sum, line) => sum + line.length, 0);
  }
  #termios(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    const view = new DataView(bytes.buffer);
    [this.#input, this.#outputFlags, this.#control, this.#local].forEach((flags, index) => view.setUint32(index * 4, flags, true));
    bytes[16] = this.#line;
    bytes.set(this.#characters, 17);
    if (length === TERMIOS2) {
      view.setUint32(36, 38400, true);
      view.setUint32(40, 38400, true);
    }
    return bytes;
  }
  #setTermios(bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const wasCanonical = (this.#local & Local.ICANON) !== 0;
    this.#input = view.getUint32(0, true);
    this.#outputFlags = view.getUint32(4, true);
    this.#control = view.getUint32(8, true);
    this.#local = view.getUint32(12, true);
    this.#line = bytes[16]!;
    this.#characters.set(bytes.subarray(17, 36));
    if (wasCanonical && (this.#local & Local.ICANON) === 0) {
      for (const line of this.#lines.splice(0)) this.#raw.push(line);
      this.#raw.push(Uint8Array.from(this.#edit));
      this.#edit = [];
    }
    this.waiters.notify();
  }
  /** TIOCSCTTY: -EPERM unless the caller leads a session without a terminal, and this one is free, or root takes it away (`argument` 1). */
  #steal(argument: number, context: CallContext): number {
    const { process } = context;
    const leader = process.sid === process.pid;
    if (leader && this.session === process.sid) return 0;
    const { vfs } = this.#kernel;
    if (!leader || vfs.hasTerminal(context)) return -E.PERM;
    if (this.session !== 0 && (argument !== 1 || process.credentials.euid !== 0)) return -E.PERM;
    this.claim(process.sid, process.pgid);
    return 0;
  }
  /** The requests of ioctl_tty(2) that both sides of a terminal answer. */
  ioctl(request: number, argument: number, input: Uint8Array | null, context: CallContext, master = false): IoctlResult {
    if (CHANGES.has(request)) {
      const refused = this.#background(context, SIGTTOU);
      if (refused < 0) return refused === -E.IO && request === Request.TIOCSPGRP ? -E.NOTTY : refused;
    }
    switch (request) {
      case Request.TCGETS:
        return { result: 0, output: this.#termios(TERMIOS) };
      case Request.TCGETS2:
        return { result: 0, output: this.#termios(TERMIOS2) };
      case Request.TCSETSF:
      case Request.TCSETSF2:
      case Request.TCSETS:
      case Request.TCSETSW:
      case Request.TCSETS2:
      case Request.TCSETSW2:
        if (input === null || input.length < TERMIOS) return -E.FAULT;
        if (request === Request.TCSETSF || request === Request.TCSETSF2) this.flushInput();
        this.#setTermios(input);
        return 0;
      case Request.TIOCGWINSZ:
        return { result: 0, output: shorts(this.rows, this.columns, 0, 0) };
      case Request.TIOCSWINSZ: {
        if (input === null || input.length < 4) return -E.FAULT;
        const view = new DataView(input.buffer, input.byteOffset);
        this.resize(view.getUint16(2, true), view.getUint16(0, true));
        return 0;
      }
      case Request.TIOCGPGRP:
        return master || this.controls(context) ? { result: 0, output: int(this.foreground) } : -E.NOTTY;
      case Request.TIOCSPGRP: {
        if (input === null || input.length < 4) return -E.FAULT;
        const group = new DataView(input.buffer, input.byteOffset).getInt32(0, true);
        if (group < 0) return -E.INVAL;
        if (!this.controls(context)) return -E.NOTTY;
        const members = [...this.#kernel.processes.values()].filter((process) => process.pgid === group);
        if (members.length === 0) return -E.SRCH;
        if (members.every((process) => process.sid !== context.process.sid)) return -E.PERM;
        this.foreground = group;
        return 0;
      }
      case Request.TIOCGSID:
        return this.session !== 0 && (master || this.controls(context)) ? { result: 0, output: int(this.session) } : -E.NOTTY;
      case Request.TIOCSCTTY:
        return this.#steal(argument, context);
      case Request.TIOCNOTTY:
        if (master || !this.controls(context)) return -E.NOTTY;
        if (context.process.sid === context.process.pid) this.giveUp(true);
        else this.#without.add(context.process);
        return 0;
      case Request.TCFLSH:
        if (argument === 0 || argument === 2) this.flushInput();
        return 0;
      case Request.TCSBRK:
      case Request.TCSBRKP:
      case Request.TCXONC:
      case Request.TIOCEXCL:
      case Request.TIOCNXCL:
        return 0;
      case Request.FIONREAD:
        return { result: 0, output: int(this.#available()) };
      case Request.TIOCOUTQ:
        return { result: 0, output: int(this.#pending()) };
      default:
        return -E.NOTTY;
    }
  }
}

/** The program's side of a terminal. */
export class TtyFile extends BaseFile {
  readonly kind = "tty";
  readonly tty: Tty;
  override readonly waiters: WaitQueue;
  readonly #closed: () => void;

  constructor(tty: Tty, flags: number, entry: Dentry | null, closed: () => void = () => {}) {
    super(flags & (O.ACCMODE | O.NONBLOCK | O.APPEND), entry);
    this.tty = tty;
    this.waiters = tty.waiters;
    this.#closed = closed;
  }
  get name(): string {
    return `/dev/pts/${this.tty.number}`;
  }
  override read(max: number): Uint8Array | number {
    return (this.flags & O.ACCMODE) === O.WRONLY ? -E.BADF : max === 0 ? EMPTY : this.tty.read(max);
  }
  override write(bytes: Uint8Array): number {
    return (this.flags & O.ACCMODE) === O.RDONLY ? -E.BADF : bytes.length === 0 ? 0 : this.tty.write(bytes);
  }
  override poll(): number {
    return (this.tty.readable ? Poll.IN : 0) | (this.tty.hungUp ? Poll.HUP : 0) | (this.tty.writable ? Poll.OUT : 0);
  }
  override stat(): Stat | number {
    return this.entry !== null ? this.entry.inode.stat() : { ...anonymousStat(S.IFCHR | 0o620), rdev: makedev(136, this.tty.number) };
  }
  override ioctl(request: number, argument: number, input: Uint8Array | null, context: CallContext): IoctlResult {
    return this.tty.ioctl(request, argument, input, context);
  }
  override close(): void {
    this.#closed();
  }
}

/** What /dev/ptmx gives: the other side of a new terminal. */
export class PtyMaster extends BaseFile {
  readonly kind = "tty";
  readonly name = "/dev/ptmx";
  readonly tty: Tty;
  override readonly waiters: WaitQueue;
  readonly #buffer: Bytes = new Bytes();
  readonly #terminals: Terminals;
  #locked = true;
  /** Open slaves, and whether there was one. */
  #slaves = 0;
  #used = false;

  constructor(kernel: Kernel, terminals: Terminals, flags: number, entry: Dentry | null) {
    super(flags & (O.ACCMODE | O.NONBLOCK), entry);
    this.#terminals = terminals;
    this.tty = new Tty(
      kernel,
      terminals.free(),
      0,
      0,
      (bytes) => {
        this.#buffer.push(bytes.slice());
        this.tty.waiters.notify();
      },
      () => this.#buffer.length,
    );
    this.waiters = this.tty.waiters;
    terminals.pts.set(this.tty.number, { tty: this.tty, open: (slaveFlags, slaveEntry) => this.#openSlave(slaveFlags, slaveEntry) });
  }
  #openSlave(flags: number, entry: Dentry | null): TtyFile | number {
    if (this.#locked) return -E.IO;
    this.#slaves++;
    this.#used = true;
    return new TtyFile(this.tty, flags, entry, () => {
      this.#slaves--;
      this.waiters.notify();
    });
  }
  override read(max: number): Uint8Array | number {
    if (this.#buffer.length === 0) return this.#used && this.#slaves === 0 ? -E.IO : -E.AGAIN;
    const bytes = this.#buffer.take(max);
    this.waiters.notify();
    return bytes;
  }
  override write(bytes: Uint8Array): number {
    this.tty.input(bytes);
    return bytes.length;
  }
  override poll(): number {
    return (this.#buffer.length > 0 ? Poll.IN : 0) | Poll.OUT | (this.#used && this.#slaves === 0 ? Poll.HUP : 0);
  }
  override ioctl(request: number, argument: number, input: Uint8Array | null, context: CallContext): IoctlResult {
    switch (request) {
      case Request.TIOCGPTN:
        return { result: 0, output: int(this.tty.number) };
      case Request.TIOCSPTLCK:
        if (input === null || input.length < 4) return -E.FAULT;
        this.#locked = input.subarray(0, 4).some((byte) => byte !== 0);
        return 0;
      case Request.TIOCGPTLCK:
        return { result: 0, output: int(this.#locked ? 1 : 0) };
      case Request.TIOCGPTPEER: {
        const entry = this.#terminals.entry(this.tty.number);
        const file = this.#openSlave(argument, entry);
        return typeof file === "number" ? file : context.process.fds.add(file, (argument & O.CLOEXEC) !== 0);
      }
      case Request.FIONREAD:
        return { result: 0, output: int(this.#buffer.length) };
      default:
        return this.tty.ioctl(request, argument, input, context, true);
    }
  }
  override close(): void {
    const { session, foreground, number } = this.tty;
    this.#terminals.pts.delete(number);
    if (session !== 0) this.#terminals.hungUp.set(session, foreground);
    this.tty.hangUp();
  }
}

/** A terminal that /dev/pts shows. */
export interface Terminal {
  readonly tty: Tty;
  open(flags: number, entry: Dentry | null): TtyFile | number;
}

/** All terminals of a cVM. */
export class Terminals {
  readonly pts: Map<number, Terminal> = new Map();
  /** Terminal of a console, by the console's number. */
  readonly consoles: Map<number, Tty> = new Map();
  /** Set by the mount of /dev/pts. */
  entry: (number: number) => Dentry | null = () => null;

  free(): number {
    let number = 0;
    while (this.pts.has(number)) number++;
    return number;
  }
  /** The controlling terminal of a process. */
  controlling(context: CallContext): Terminal | null {
    return this.ofSession(context.process);
  }
  ofSession(process: Process): Terminal | null {
    for (const terminal of this.pts.values()) if (terminal.tty.controls({ process })) return terminal;
    return null;
  }
  /** Groups that were in the foreground of terminals that hung up, by session: they are told when the leader ends. */
  readonly hungUp: Map<number, number> = new Map();
  /** The leader of a session ended. */
  sessionEnded(session: number, kernelSignal: (group: number, signal: number) => void): void {
    for (const { tty } of this.pts.values()) if (tty.session === session) tty.giveUp(false);
    const group = this.hungUp.get(session);
    if (group === undefined) return;
    this.hungUp.delete(session);
    kernelSignal(group, SIGHUP);
    kernelSignal(group, SIGCONT);
  }
}

const isSpace = (byte: number): boolean => byte === 32 || byte === 9;

function int(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setInt32(0, value, true);
  return bytes;
}
function shorts(...values: number[]): Uint8Array {
  const bytes = new Uint8Array(values.length * 2);
  values.forEach((value, index) => new DataView(bytes.buffer).setUint16(index * 2, value, true));
  return bytes;
}
