/** What a program started from outside has on descriptors 0, 1 and 2. */
import { E } from "../kernel/errno.ts";
import { Poll, type Kernel, type OpenFile, type Stat } from "../kernel/types.ts";
import { O, S } from "./constants.ts";
import { refreshNames } from "./names.ts";
import { anonymousStat, BaseFile, nextAnonymousNumber, type IoctlResult } from "./open-file.ts";
import { ByteQueue, Terminals, Tty, TtyFile } from "./tty.ts";
import { VirtualFiles } from "./vfs.ts";

const FIONREAD = 0x541b;

/** One console: the files (each with a reference of its own to hand to a descriptor) and the way in from outside. */
export interface Console {
  readonly stdin: OpenFile;
  readonly stdout: OpenFile;
  readonly stderr: OpenFile;
  /** Input for the program; empty bytes mean end of file. */
  input(bytes: Uint8Array): void;
  /** New size of the terminal in characters; nothing without one. */
  resize(columns: number, rows: number): void;
  /** Makes the terminal, if there is one, the controlling terminal of a session, with `group` in the foreground. */
  claim(session: number, group: number): void;
  /** The program that had the console ended: its terminal hangs up and its number in /dev/pts is free. */
  close(): void;
}

/**
 * @param number of the console, for {@link Kernel.host}.consoleWrite
 * @param tty a terminal instead of pipes
 * @param stdin whether input is connected; otherwise it reads end of file
 * @param columns of the terminal, by default those of the cVM's first program, else 80
 * @param rows likewise, else 24
 */
export function createConsole(
  kernel: Kernel,
  number: number,
  tty: boolean,
  stdin: boolean,
  columns: number | undefined = kernel.options.program.columns,
  rows: number | undefined = kernel.options.program.rows,
): Console {
  refreshNames(kernel);
  if (!tty) {
    const input = new ConsoleInput(stdin);
    return {
      stdin: input,
      stdout: new ConsoleOutput(kernel, number, 1),
      stderr: new ConsoleOutput(kernel, number, 2),
      input: (bytes) => input.push(bytes),
      resize: () => {},
      claim: () => {},
      close: () => input.push(new Uint8Array(0)),
    };
  }
  const terminals = kernel.vfs instanceof VirtualFiles ? kernel.vfs.terminals : new Terminals();
  const terminal = new Tty(kernel, terminals.free(), columns ?? 80, rows ?? 24, (bytes) =>
    kernel.host.consoleWrite(number, 1, bytes.slice()),
  );
  terminals.consoles.set(number, terminal);
  terminals.pts.set(terminal.number, { tty: terminal, open: (flags, entry) => new TtyFile(terminal, flags, entry) });
  if (!stdin) terminal.end();
  const file = new TtyFile(terminal, O.RDWR, terminals.entry(terminal.number));
  file.references = 3;
  return {
    stdin: file,
    stdout: file,
    stderr: file,
    input: (bytes) => (bytes.length === 0 ? terminal.end() : terminal.input(bytes)),
    resize: (width, height) => terminal.resize(width, height),
    claim: (session, group) => terminal.claim(session, group),
    close() {
      terminals.consoles.delete(number);
      terminals.pts.delete(terminal.number);
      terminal.hangUp();
    },
  };
}

/** Standard input without a terminal: the reading end of a pipe from outside. */
class ConsoleInput extends BaseFile {
  readonly kind = "pipe";
  readonly #number: number = nextAnonymousNumber();
  readonly #queue: ByteQueue = new ByteQueue();
  #ended: boolean;
  constructor(connected: boolean) {
    super(O.RDONLY);
    this.#ended = !connected;
  }
  get name(): string {
    return `pipe:[${this.#number}]`;
  }
  push(bytes: Uint8Array): void {
    if (bytes.length === 0) this.#ended = true;
    else this.#queue.push(bytes);
    this.waiters.notify();
  }
  override read(max: number, offset: number | null): Uint8Array | number {
    if (offset !== null) return -E.SPIPE;
    return this.#queue.length > 0 || this.#ended || max === 0 ? this.#queue.take(max) : -E.AGAIN;
  }
  override write(): number {
    return -E.BADF;
  }
  override poll(): number {
    return (this.#queue.length > 0 ? Poll.IN : 0) | (this.#ended ? Poll.HUP : 0);
  }
  override stat(): Stat {
    return anonymousStat(S.IFIFO | 0o600, this.#number);
  }
  override ioctl(request: number): IoctlResult {
    if (request !== FIONREAD) return -E.NOTTY;
    const output = new Uint8Array(4);
    new DataView(output.buffer).setInt32(0, this.#queue.length, true);
    return { result: 0, output };
  }
}

/** Standard output or error without a terminal. */
class ConsoleOutput extends BaseFile {
  readonly kind = "pipe";
  readonly #number: number = nextAnonymousNumber();
  readonly #kernel: Kernel;
  readonly #console: number;
  readonly #fd: number;
  constructor(kernel: Kernel, console: number, fd: number) {
    super(O.WRONLY);
    this.#kernel = kernel;
    this.#console = console;
    this.#fd = fd;
  }
  get name(): string {
    return `pipe:[${this.#number}]`;
  }
  override read(): number {
    return -E.BADF;
  }
  override write(bytes: Uint8Array, offset: number | null): number {
    if (offset !== null) return -E.SPIPE;
    // The bytes may be a view that is lent for this call only.
    if (bytes.length > 0) this.#kernel.host.consoleWrite(this.#console, this.#fd, bytes.slice());
    return bytes.length;
  }
  override poll(): number {
    return Poll.OUT;
  }
  override stat(): Stat {
    return anonymousStat(S.IFIFO | 0o600, this.#number);
  }
}
