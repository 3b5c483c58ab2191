import type { Disassemble } from "@cvm/cpu";
import { MemorySharing, RegionAllocator, Turns, UsedPages } from "@cvm/cpu";
import type { MachinePort } from "@cvm/cpu/abi";
import { Otypes } from "./authority.ts";
import { isInteger } from "./check.ts";
import type { Host } from "./compartment.ts";
import { Compartment } from "./compartment.ts";
import { Calls } from "./cp/calls.ts";
import { CpObjects } from "./cp/objects.ts";
import type { CvmConfig, HeldCapability } from "./cvm.ts";
import { Cvm } from "./cvm.ts";
import { MonitorError } from "./errors.ts";
import { Executor } from "./executor.ts";
import { createDisassembler } from "./faults.ts";
import type { GateEvents } from "./gate.ts";
import { Gate } from "./gate.ts";
import { GuestMemory } from "./guest-memory.ts";
import type { NetworkOptions } from "./network.ts";
import { VirtualNetwork } from "./network.ts";
import { Operations } from "./operations.ts";

import type { Clock } from "./scheduler.ts";
import { Scheduler, systemClock } from "./scheduler.ts";
import type { Stream, StreamEvents } from "./stream.ts";

export interface MonitorOptions {
  /** Which cVMs may reach each other and by which names, and where connections to other addresses go. */
  readonly network?: Pick<NetworkOptions, "uplink" | "permits" | "aliases">;
  /** Shows instructions in fault reports; @cvm/cpu's unless given. */
  readonly disassemble?: Disassemble;
  /** Time and event loop; the real ones unless given. */
  readonly clock?: Clock;
}

/** The monitor of one machine. */
export interface Monitor {
  /**
   * Makes a cVM; {@link Cvm.start} starts it.
   * @throws MonitorError `invalid`, `exists` (name or address), `exhausted`
   */
  createCvm(config: CvmConfig): Cvm;
  /** Ends a cVM at once and forgets it. Its memory is zeroed and free, its connections are reset, its name and address can be used again. */
  destroyCvm(cvm: Cvm): void;
  /** All that were created and not destroyed; those that exited too. */
  readonly cvms: readonly Cvm[];
  /** Connects to a port of a cVM from outside, for published ports. The outcome and all data come by `events`. */
  connectFromHost(address: string, port: number, events: StreamEvents, fromPort?: number): Stream;
  /** Objects that cVMs share by name. */
  readonly objects: CpObjects;
  /** What each running cVM holds by number, with what it may do. */
  capabilities(cvm: Cvm): readonly HeldCapability[];
  /** Bytes of address space that belong to no process. */
  readonly freeBytes: number;
}

function checkConfig(config: CvmConfig): void {
  const { name, memoryBytes, addressBytes, weight, cpus } = config;
  const positive = (value: number | undefined): boolean =>
    value === undefined || (typeof value === "number" && value > 0 && Number.isFinite(value));
  if (typeof name !== "string" || !/^[a-z0-9][a-z0-9._-]{0,62}$/iu.test(name)) {
    throw new MonitorError("invalid", `"${name}" is not a name: 1 … 63 letters, digits, "-", "_" and "." with a letter or digit first`);
  }
  if (!isInteger(memoryBytes, 4096)) throw new MonitorError("invalid", "memoryBytes is a number of bytes, at least 4096");
  if (addressBytes !== undefined && !isInteger(addressBytes, 4096))
    throw new MonitorError("invalid", "addressBytes is a number of bytes, at least 4096");
  if (!positive(weight)) throw new MonitorError("invalid", "weight is greater than 0");
  if (!positive(cpus)) throw new MonitorError("invalid", "cpus is greater than 0");
}

/** Makes the monitor of a machine that nobody else uses. */
export function createMonitor(machine: MachinePort, options: MonitorOptions = {}): Monitor {
  const clock = options.clock ?? systemClock;
  const cvmOf = new Map<Compartment, Cvm>();
  const events: GateEvents & { faulted: ConstructorParameters<typeof Executor>[3]["faulted"] } = {
    problem: (compartment, text) => cvmOf.get(compartment)?.problem(text),
    broken: (compartment, text) => cvmOf.get(compartment)?.broken(text),
    faulted: (compartment, report, signal) => cvmOf.get(compartment)?.faulted(report, signal),
  };
  const operations = new Operations();
  const gate = new Gate(new GuestMemory(machine), operations, events);
  const executor = new Executor(clock, gate, operations, events, options.disassemble ?? createDisassembler());
  const scheduler = new Scheduler(clock, (thread, fuel, until) => executor.run(thread, fuel, until));
  const pages = new UsedPages(machine);
  const sharing = new MemorySharing(machine, (address, bytes) => pages.write(address, bytes));
  const regions = new RegionAllocator(machine.memoryBytes);
  const otypes = new Otypes();
  const host: Host = {
    machine,
    pages,
    sharing,
    turns: new Turns(machine, pages, sharing),
    calls: new Calls({ machine, regions, otypes }),
    regions,
    otypes,
    scheduler,
  };
  const network = new VirtualNetwork({ ...options.network, post: (deliver) => scheduler.post(deliver) });

  const objects = new CpObjects(host);

  return {
    createCvm(config) {
      checkConfig(config);
      const budget = { memory: config.memoryBytes, addresses: config.addressBytes ?? Math.floor((machine.memoryBytes * 3) / 4) };
      const compartment = new Compartment(config.name, host, budget, config.weight ?? 1, config.cpus ?? Infinity);
      const cvm = new Cvm(config, { compartment, network, gate, operations, objects });
      cvmOf.set(compartment, cvm);
      scheduler.add(compartment.account);
      return cvm;
    },
    destroyCvm(cvm) {
      cvm.destroy();
      for (const [compartment, other] of cvmOf) if (other === cvm) cvmOf.delete(compartment);
    },
    get cvms() {
      return [...cvmOf.values()];
    },
    connectFromHost: (address, port, streamEvents, fromPort) => network.connectFromHost(address, port, streamEvents, fromPort),
    objects,
    capabilities: (cvm) => cvm.capabilities(),
    get freeBytes() {
      return host.regions.freeBytes;
    },
  };
}
