import type { Capability } from "@cvm/cpu/abi";
import type { Awaitable, CpKind, HostCalls, LibraryOs, ProgramOptions, StreamId } from "./abi.ts";
import { isInteger, messageOf } from "./check.ts";
import type { CpObjects } from "./cp/objects.ts";
import type { Compartment, Counters } from "./compartment.ts";
import { countersOf } from "./compartment.ts";
import { compileDeclarations } from "./declarations.ts";
import { MonitorError } from "./errors.ts";
import type { FaultReport } from "./faults.ts";
import type { Gate } from "./gate.ts";
import { createHostCalls } from "./host-calls.ts";
import type { NetworkNode, NodeEvents, VirtualNetwork } from "./network.ts";
import type { Operations } from "./operations.ts";

const SIGKILL = 9;
const SIGTERM = 15;

/** What the host hears of one cVM. A listener that throws does not disturb the cVM. */
export interface CvmEvents {
  /** fd 1 or 2 of the program on a console. */
  output?(console: number, fd: number, bytes: Uint8Array): void;
  /** The program of a console ended by exit (signal 0) or by a signal. After console 0 the cVM is over and nothing of it is left. */
  exited?(console: number, code: number, signal: number): void;
  /** A fault ended a process. */
  fault?(report: FaultReport, signal: number): void;
  /** One line of strace output. */
  trace?(line: string): void;
  /** Something is wrong with the library OS: what it did, in one line or more. */
  problem?(text: string): void;
}

/** How a cVM is made. */
export interface CvmConfig {
  /** 1 … 63 characters: letters, digits, `-`, `_`, `.`; it begins with a letter or digit. Its name in the network. */
  readonly name: string;
  /** 10.88.0.2 … 10.88.255.254; the next free one unless given. */
  readonly address?: string;
  /** Most bytes of mapped memory of all its processes. */
  readonly memoryBytes: number;
  /** Most bytes of address range of all its processes; three quarters of the address space unless given. */
  readonly addressBytes?: number;
  /** CPU time relative to other cVMs when all want it, > 0; 1 unless given. */
  readonly weight?: number;
  /** Most CPUs on average, > 0 (`--cpus`); no limit unless given. */
  readonly cpus?: number;
  /** Makes its library OS, connected to these calls. Called once, by {@link Cvm.start}. */
  readonly libraryOs: (host: HostCalls, address: string) => Awaitable<LibraryOs>;
  readonly events?: CvmEvents;
}

export type CvmState = "created" | "running" | "exited";

/** State and use of a cVM at one moment. */
export interface CvmStatus extends Counters {
  readonly name: string;
  readonly address: string;
  readonly state: CvmState;
  readonly processes: number;
  readonly threads: number;
  /** Bytes of mapped memory, and of address range. */
  readonly memory: number;
  readonly addresses: number;
  readonly streams: number;
  readonly listeners: number;
  /** Why the last request of its library OS was refused; empty when none was. */
  readonly lastRefusal: string;
}

/** A capability that a cVM holds. */
export interface HeldCapability {
  /** Which process, register or number of its table. */
  readonly where: string;
  /** Null for a number that stands for an object without memory of its own. */
  readonly capability: Capability | null;
  /** What it was opened as, and the rights (bits of {@link CpRight}). */
  readonly object: { readonly kind: CpKind; readonly name: string } | null;
  readonly rights: number;
}

export interface CvmParts {
  readonly compartment: Compartment;
  readonly network: VirtualNetwork;
  readonly gate: Gate;
  readonly operations: Operations;
  readonly objects: CpObjects;
}

/** One cVM. {@link Monitor.createCvm} makes it. */
export class Cvm {
  readonly name: string;
  readonly address: string;
  readonly #config: CvmConfig;
  readonly #parts: CvmParts;
  readonly #node: NetworkNode;
  readonly #consoles: Set<number> = new Set([0]);
  #state: CvmState = "created";

  constructor(config: CvmConfig, parts: CvmParts) {
    this.name = config.name;
    this.#config = config;
    this.#parts = parts;
    const { compartment } = parts;
    /** Tells the library OS; its failure is a report. */
    const tell = (act: (libraryOs: LibraryOs) => void): void => {
      if (compartment.libraryOs === null) return;
      try {
        act(compartment.libraryOs);
      } catch (error) {
        this.problem(`its library OS failed at an event: ${messageOf(error)}`);
      }
    };
    const lent = (stream: StreamId, bytes: Uint8Array, all: boolean): number => {
      let taken = -1;
      tell((os) => (taken = os.lent?.(stream, bytes, all) ?? 0));
      return taken;
    };
    const events: NodeEvents = {
      incoming: (listener, from, accept) => tell((os) => os.incoming(listener, from, accept)),
      connected: (stream, error, local) => tell((os) => os.connected(stream, error, local)),
      received: (stream, bytes) => tell((os) => os.received(stream, bytes)),
      get lent() {
        return compartment.libraryOs?.lent === undefined ? undefined : lent;
      },
      credited: (stream, bytes) => tell((os) => os.credited(stream, bytes)),
      ended: (stream) => tell((os) => os.ended(stream)),
      reset: (stream, error) => tell((os) => os.reset(stream, error)),
    };
    this.#node = parts.network.attach(config.name, config.address, events);
    this.address = this.#node.address;
  }

  get state(): CvmState {
    return this.#state;
  }

  /**
   * Connects the library OS and starts the first program. Rejects with what the library OS rejected with (the program can not be
   * executed), or MonitorError `state`, `protocol`; nothing of the cVM is left running then.
   */
  async start(): Promise<void> {
    const { compartment, gate, operations, network, objects } = this.#parts;
    if (this.#state !== "created") throw new MonitorError("state", `cVM "${this.name}" was started before`);
    this.#state = "running";
    const host = createHostCalls(compartment, gate, operations, network, this.#node, objects, {
      output: (console, fd, bytes) => this.#emit(() => this.#consoles.has(console) && this.#config.events?.output?.(console, fd, bytes)),
      trace: (line) => this.#emit(() => this.#config.events?.trace?.(line)),
      exited: (console, code, signal) => this.#exited(console, code, signal),
    });
    try {
      const libraryOs = await this.#config.libraryOs(host, this.address);
      if (!compartment.alive) {
        libraryOs.close?.();
        throw new MonitorError("state", `cVM "${this.name}" was destroyed while it started`);
      }
      compartment.libraryOs = libraryOs;
      compartment.syscalls = compileDeclarations(libraryOs.syscalls);
      await libraryOs.start();
    } catch (error) {
      this.#release();
      throw error;
    }
  }

  /**
   * Starts another program on a console > 0 that is not in use. Resolves with 0 or the negative errno of its execution.
   * @throws MonitorError `state`, `invalid`, `exists`
   */
  async exec(console: number, program: ProgramOptions): Promise<number> {
    const os = this.#live();
    if (!isInteger(console, 1, 0x7fff_ffff)) throw new MonitorError("invalid", "a console's number is 1 … 2^31 - 1");
    if (this.#consoles.has(console)) throw new MonitorError("exists", `console ${console} is in use`);
    this.#consoles.add(console);
    try {
      const result = await os.exec(console, program);
      if (!isInteger(result, -4095, 0)) throw new MonitorError("protocol", "its library OS answered exec with something that is no result");
      if (result < 0) this.#consoles.delete(console);
      return result;
    } catch (error) {
      this.#consoles.delete(console);
      throw error;
    }
  }

  /** Input for a console; empty bytes are the end of file. Dropped when the cVM is over. */
  input(console: number, bytes: Uint8Array): void {
    if (this.#consoles.has(console)) this.#parts.compartment.libraryOs?.consoleInput(console, bytes);
  }

  resize(console: number, columns: number, rows: number): void {
    if (this.#consoles.has(console)) this.#parts.compartment.libraryOs?.consoleResize(console, columns, rows);
  }

  /** Asks the first program to end (SIGTERM). */
  stop(): void {
    this.kill(SIGTERM);
  }

  /** Sends a signal to the program of a console, as from outside of the cVM. SIGKILL to console 0 is up to the library OS too: {@link destroy} asks nobody. */
  kill(signal: number, console: number = 0): void {
    if (!isInteger(signal, 1, 64)) throw new MonitorError("invalid", "a signal is 1 … 64");
    this.#parts.compartment.libraryOs?.signal(console, signal);
  }

  /** Ends it at once, whatever it does. Nothing of it is left in the machine, the network or the scheduler. No event follows. */
  destroy(): void {
    this.#release();
  }

  /** Gives the cVM a capability, which its code gets by the monitor's call {@link CALL_CAPABILITY} under the number returned. */
  grant(capability: Capability): number {
    this.#live();
    return this.#parts.compartment.capabilities.insert(capability);
  }

  inspect(): CvmStatus {
    const { compartment } = this.#parts;
    return {
      name: this.name,
      address: this.address,
      state: this.#state,
      processes: compartment.processes.size,
      threads: compartment.threads.size,
      memory: compartment.charged,
      addresses: compartment.addressBytes,
      streams: this.#node.streams,
      listeners: this.#node.listeners,
      ...countersOf(compartment),
      lastRefusal: compartment.lastRefusal,
    };
  }

  /** All capabilities that its code has or may fetch, as they are now. */
  capabilities(): HeldCapability[] {
    const { compartment } = this.#parts;
    const held: HeldCapability[] = [];
    for (const { id, ddc, pcc } of compartment.processes.values()) {
      held.push({ where: `process ${id}, data`, capability: ddc, object: null, rights: 0 });
      held.push({ where: `process ${id}, code`, capability: pcc, object: null, rights: 0 });
    }
    for (const [handle, { capability, opened }] of compartment.capabilities.entries()) {
      const object = opened === null ? null : { kind: opened.object.kind, name: opened.object.name };
      held.push({ where: `table, ${handle}`, capability, object, rights: opened?.rights ?? 0 });
    }
    for (const { id, hart } of compartment.threads.values()) {
      for (let register = 1; register < 32; register++) {
        const capability = hart.getCapability(register);
        if (capability.tag) held.push({ where: `thread ${id}, c${register}`, capability, object: null, rights: 0 });
      }
    }
    return held;
  }

  /** Counters of the library OS: calls by name and more. Empty when the cVM is not running. */
  async statistics(): Promise<Readonly<Record<string, number>>> {
    return (await this.#parts.compartment.libraryOs?.statistics()) ?? {};
  }

  /** Reports what is wrong with its library OS. */
  problem(text: string): void {
    this.#emit(() => this.#config.events?.problem?.(`cVM "${this.name}": ${text}`));
  }

  faulted(report: FaultReport, signal: number): void {
    this.#emit(() => this.#config.events?.fault?.(report, signal));
  }

  /** The library OS broke the rules: the cVM ends as if killed. */
  broken(text: string): void {
    if (this.#state === "exited") return;
    this.problem(text);
    this.#consoles.clear();
    this.#release();
    this.#emit(() => this.#config.events?.exited?.(0, 0, SIGKILL));
  }

  #live(): LibraryOs {
    const { libraryOs } = this.#parts.compartment;
    if (libraryOs === null) throw new MonitorError("state", `cVM "${this.name}" is not running`);
    return libraryOs;
  }

  #exited(console: number, code: number, signal: number): void {
    const { asking, held } = this.#parts.compartment;
    if (asking > 0) {
      held.push(() => this.#exited(console, code, signal));
      return;
    }
    if (this.#state === "exited") return;
    if (!this.#consoles.has(console)) {
      this.#parts.compartment.refuse(`exited: console ${console} has no program`);
      return;
    }
    this.#consoles.delete(console);
    if (console === 0) this.#release();
    this.#emit(() => this.#config.events?.exited?.(console, code, signal));
  }

  #release(): void {
    if (this.#state === "exited" && !this.#parts.compartment.alive) return;
    const { compartment, network, objects } = this.#parts;
    this.#state = "exited";
    const { libraryOs } = compartment;
    compartment.endAll();
    objects.forget(compartment);
    compartment.host.scheduler.remove(compartment.account);
    network.detach(this.#node);
    try {
      libraryOs?.close?.();
    } catch (error) {
      this.problem(`its library OS failed at the end: ${messageOf(error)}`);
    }
  }

  #emit(event: () => void): void {
    try {
      event();
    } catch (error) {
      // A listener's failure is the host's: it must be seen, and must not reach into the call that caused the event.
      queueMicrotask(() => {
        throw error;
      });
    }
  }
}
