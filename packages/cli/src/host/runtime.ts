import type { ProgramOptions } from "@cvm/monitor/abi";
import type { CapabilityLine, CvmState, ObjectLine, SharedDefinition } from "./protocol.ts";

/** What happens in a running cVM, told to the host's service. */
export interface RuntimeEvents {
  readonly output: (console: number, fd: number, bytes: Uint8Array) => void;
  /** A program of a console ended by `exit` (signal 0) or by a signal. The cVM ends with console 0. */
  readonly exit: (console: number, code: number, signal: number) => void;
  /** A fault report or a line of strace. */
  readonly report: (text: string) => void;
}

/** A cVM that runs. */
export interface RunningCvm {
  readonly address: string;
  /** Starts another program on a new console; resolves when it was started. Rejects with a CliError or an error with `errno`. */
  exec(console: number, program: ProgramOptions): Promise<void>;
  /** Empty bytes: end of file. */
  input(console: number, bytes: Uint8Array): void;
  resize(console: number, columns: number, rows: number): void;
  /** A signal to the program of a console. */
  signal(console: number, signal: number): void;
  /** Ends it at once, whatever it does; nothing is left in the address space. */
  destroy(): void;
  statistics(): Promise<Readonly<Record<string, unknown>>>;
  /** The capabilities that its code has or may fetch now. */
  capabilities(): readonly CapabilityLine[];
}

/** Objects that cVMs share by name; those of one project are apart from others' of the same name. */
export interface RuntimeObjects {
  /** @throws an error when there is no room, or there is one of that name */
  declare(project: string, definition: SharedDefinition): void;
  /** Replaces who may do what; a cVM that may do less than before loses what it has of the object. */
  grant(project: string, definition: SharedDefinition): void;
  /** Takes it away from all. */
  revoke(project: string, definition: SharedDefinition): void;
  list(): readonly ObjectLine[];
}

/** The machine, monitor and library OSes of a host. */
export interface Runtime {
  readonly objects?: RuntimeObjects;
  /** Resolves when what outlives the host is on disk. Nothing starts any more. */
  close?(): Promise<void>;
  /** Rejects with an error whose `errno` says why the program could not be executed. Ports are published when it resolves. */
  start(state: CvmState, layers: readonly string[], writable: string, program: ProgramOptions, events: RuntimeEvents): Promise<RunningCvm>;
}
