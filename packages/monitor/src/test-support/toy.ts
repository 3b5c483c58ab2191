/** A library OS of a few lines for tests: one process, handlers by number, everything else recorded. */
import { assembleText, createMachine } from "@cvm/cpu";
import type { MachinePort } from "@cvm/cpu/abi";
import { Prot, REGISTER_FILE_BYTES } from "@cvm/cpu/abi";
import type { ArgumentDeclaration, Fault, HostCalls, LibraryOs, SyscallCall, SyscallDeclaration, SyscallOutcome } from "../abi.ts";
import type { CvmConfig, CvmEvents } from "../cvm.ts";
import type { FaultReport } from "../faults.ts";

export const CODE = 0x10000;
export const STACK = 0x80000;
export const DATA = 0x40000;
export const REGION: number = 1 << 20;

/** A register file with these values by register number. */
export function registers(pc: number, values: Readonly<Record<number, number>> = {}): Uint8Array {
  const bytes = new Uint8Array(REGISTER_FILE_BYTES);
  const view = new DataView(bytes.buffer);
  view.setBigInt64(0, BigInt(pc), true);
  for (const [register, value] of Object.entries(values)) view.setBigInt64(8 * Number(register), BigInt(value), true);
  return bytes;
}

export function registerOf(bytes: Uint8Array, register: number): number {
  return Number(new DataView(bytes.buffer, bytes.byteOffset).getBigInt64(8 * register, true));
}

export type Handler = (call: SyscallCall, toy: Toy) => SyscallOutcome;

export interface ToyCall {
  readonly name: string;
  readonly number: number;
  readonly args?: readonly ArgumentDeclaration[];
  readonly registers?: boolean;
  readonly handler: Handler;
}

/** exit(code): ends the cVM. */
export const EXIT: ToyCall = {
  name: "exit",
  number: 93,
  args: [{ name: "code", kind: "int" }],
  handler: (call, toy) => {
    toy.host.exited(0, (call.args[0] as number) & 255, 0);
    return 0;
  },
};

/** Makes and remembers what a library OS needs; tests replace its methods. */
export class Toy implements LibraryOs {
  readonly host: HostCalls;
  readonly address: string;
  readonly syscalls: readonly SyscallDeclaration[];
  readonly log: string[] = [];
  readonly faults: Fault[] = [];
  process: number = 0;
  closed: boolean = false;
  #calls: Map<number, ToyCall>;
  #program: string;

  constructor(host: HostCalls, address: string, program: string, calls: readonly ToyCall[]) {
    this.host = host;
    this.address = address;
    this.#program = program;
    const all = [EXIT, ...calls];
    this.#calls = new Map(all.map((call) => [call.number, call]));
    this.syscalls = all.map(({ number, name, args, registers: wants }) => ({
      number,
      name,
      arguments: args ?? [],
      ...(wants === true ? { registers: true } : {}),
    }));
  }

  async start(): Promise<void> {
    this.process = await this.host.createProcess(REGION);
    if (this.process < 0) throw new Error(`createProcess: ${this.process}`);
    const { process } = this;
    const result = await this.host.operate([
      {
        op: "map",
        process,
        address: CODE,
        length: 0x10000,
        prot: Prot.Read | Prot.Execute,
        bytes: assembleText(this.#program, { origin: CODE }),
      },
      { op: "map", process, address: DATA, length: 0x4000, prot: Prot.Read | Prot.Write },
      { op: "map", process, address: STACK - 0x4000, length: 0x4000, prot: Prot.Read | Prot.Write },
      { op: "thread", process, thread: 1, registers: registers(CODE, { 2: STACK - 64 }) },
    ]);
    if (result !== 0) throw new Error(`operate: ${result}`);
  }
  syscall(call: SyscallCall): SyscallOutcome {
    const known = this.#calls.get(call.number);
    return known === undefined ? -38 : known.handler(call, this);
  }
  exec: LibraryOs["exec"] = () => 0;
  interrupted: LibraryOs["interrupted"] = () => [];
  fault: LibraryOs["fault"] = (fault) => {
    this.faults.push(fault);
    this.host.exited(0, 0, 11);
    return { ops: null, signal: 11 };
  };
  consoleInput: LibraryOs["consoleInput"] = (console, bytes) => void this.log.push(`input ${console} ${new TextDecoder().decode(bytes)}`);
  consoleResize: LibraryOs["consoleResize"] = (console, columns, rows) => void this.log.push(`resize ${console} ${columns} ${rows}`);
  signal: LibraryOs["signal"] = (console, signal) => void this.log.push(`signal ${console} ${signal}`);
  incoming: LibraryOs["incoming"] = () => {};
  connected: LibraryOs["connected"] = (stream, error) => void this.log.push(`connected ${stream} ${error}`);
  received: LibraryOs["received"] = (stream, bytes) => void this.log.push(`received ${stream} ${new TextDecoder().decode(bytes)}`);
  credited: LibraryOs["credited"] = (stream, bytes) => void this.log.push(`credited ${stream} ${bytes}`);
  ended: LibraryOs["ended"] = (stream) => void this.log.push(`ended ${stream}`);
  reset: LibraryOs["reset"] = (stream, error) => void this.log.push(`reset ${stream} ${error}`);
  cpNotified: LibraryOs["cpNotified"] = (handle, changes) => void this.log.push(`notified ${handle} ${changes}`);
  statistics: LibraryOs["statistics"] = () => ({});
  close(): void {
    this.closed = true;
  }
}

/** What a host heard of a cVM. */
export interface Heard {
  readonly output: string[];
  readonly exits: [number, number, number][];
  readonly faults: FaultReport[];
  readonly problems: string[];
  readonly events: CvmEvents;
  /** Resolves at the end of the program of console 0. */
  readonly ended: Promise<[number, number, number]>;
}

export function listen(): Heard {
  const { promise, resolve } = Promise.withResolvers<[number, number, number]>();
  const heard = { output: [] as string[], exits: [] as [number, number, number][], faults: [] as FaultReport[], problems: [] as string[] };
  return {
    ...heard,
    ended: promise,
    events: {
      output: (_console, _fd, bytes) => void heard.output.push(new TextDecoder().decode(bytes)),
      exited: (console, code, signal) => {
        heard.exits.push([console, code, signal]);
        if (console === 0) resolve([console, code, signal]);
      },
      fault: (report) => void heard.faults.push(report),
      problem: (text) => void heard.problems.push(text),
    },
  };
}

export interface ToyConfig extends Partial<Omit<CvmConfig, "libraryOs" | "events">> {
  readonly program: string;
  readonly calls?: readonly ToyCall[];
  readonly setUp?: (toy: Toy) => void;
}

/** Configuration of a cVM that runs `program`, and what it will be: `toy()` once it was started. */
export function toyCvm(config: ToyConfig): { readonly config: CvmConfig; readonly heard: Heard; readonly toy: () => Toy } {
  const heard = listen();
  let toy: Toy | undefined;
  const { program, calls = [], setUp, ...rest } = config;
  return {
    heard,
    toy: () => toy!,
    config: {
      name: "toy",
      memoryBytes: REGION,
      ...rest,
      events: heard.events,
      libraryOs: (host, address) => {
        toy = new Toy(host, address, program, calls);
        setUp?.(toy);
        return toy;
      },
    },
  };
}

/** A machine of 16 MiB. */
export function smallMachine(): MachinePort {
  return createMachine({ memoryBytes: 16 << 20 });
}
