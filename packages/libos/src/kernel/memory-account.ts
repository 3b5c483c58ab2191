import type { Awaitable, HostCalls, ProcessId } from "@cvm/monitor/abi";
import { whenReady } from "./ready.ts";

/** Memory of all processes of a cVM against its limit, as the monitor counts it: pages that hold content or were stored to. */
export class MemoryAccount {
  readonly limit: number;
  readonly #host: Pick<HostCalls, "usage">;
  #uses: ReadonlyMap<ProcessId, number> = new Map();

  constructor(limit: number, host: Pick<HostCalls, "usage">) {
    this.limit = limit;
    this.#host = host;
  }

  /** Bytes of each address space. */
  uses(): Awaitable<ReadonlyMap<ProcessId, number>> {
    return whenReady(this.#host.usage(), (uses) => (this.#uses = new Map(uses)));
  }
  /** Bytes that are left. */
  left(): Awaitable<number> {
    return whenReady(this.uses(), () => this.limit - this.#total());
  }
  #total(): number {
    let total = 0;
    for (const bytes of this.#uses.values()) total += bytes;
    return total;
  }

  /** For those who cannot wait: what {@link uses} says, or over a port what was heard last. */
  get used(): number {
    void this.uses();
    return this.#total();
  }
  usedBy(space: ProcessId): number {
    void this.uses();
    return this.#uses.get(space) ?? 0;
  }
}
