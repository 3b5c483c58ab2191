/**
 * Observers: tools that watch a machine from outside (records of executions, traces, coverage, debuggers). A machine with
 * an observer runs another variant of the generated interpreter, whatever its engine; all other machines have no code for it.
 */
import type { Capability } from "../abi.ts";
import { fromRaw } from "../capability/operations.ts";
import type { Raw } from "../capability/raw.ts";
import type { MemoryAccess } from "../isa/intrinsics.ts";

/**
 * What an observer may want to know; members that are missing cost a call and no more. They are called while guest code
 * runs: they must not change the machine, nor throw. {@link HartPort.requestStop} is allowed.
 */
export interface Observer {
  /**
   * Before each instruction that was fetched and has not retired, with its architectural pc (64 bits, unsigned). True stops
   * before it: the run comes back with `Exit.Stopped` and pc there.
   */
  instruction?(pc: bigint): boolean;
  /**
   * After each load and before each store of guest code that passed all checks.
   * @param address absolute.
   * @param size 1, 2, 4 or 8.
   * @param value what is loaded or stored, unsigned, `size` bytes.
   */
  access?(address: number, size: number, store: boolean, value: bigint): void;
  /** The same for a whole capability with its tag, 16 bytes: the tag is that of memory, whatever reaches the register. */
  capability?(address: number, store: boolean, capability: Capability): void;
}

/** Set in the size that generated code passes to `access` when it stores. */
export const OBSERVED_STORE = 16;

/** What an observing variant imports as `observe`. */
export interface ObserverImports {
  /** Not 0 to stop. */
  instruction(pc: bigint): number;
  /** `address` as a signed number, `access`: size | {@link OBSERVED_STORE}. */
  access(address: number, access: number, value: bigint): void;
}

/** The functions that generated code calls for an observer. */
export function observerImports(observer: Observer): ObserverImports {
  return {
    instruction: (pc) => (observer.instruction?.(BigInt.asUintN(64, pc)) === true ? 1 : 0),
    access: (address, access, value) => {
      const size = access & (OBSERVED_STORE - 1);
      observer.access?.(address >>> 0, size, (access & OBSERVED_STORE) !== 0, BigInt.asUintN(8 * size, value));
    },
  };
}

/** Guest memory for intrinsics that tells an observer what passes. */
export class ObservedMemory implements MemoryAccess {
  readonly #memory: MemoryAccess;
  readonly #observer: Observer;
  constructor(memory: MemoryAccess, observer: Observer) {
    this.#memory = memory;
    this.#observer = observer;
  }
  readable(address: bigint, size: number): boolean {
    return this.#memory.readable(address, size);
  }
  writable(address: bigint, size: number): boolean {
    return this.#memory.writable(address, size);
  }
  load(address: bigint, size: number): bigint {
    const value = this.#memory.load(address, size);
    this.#observer.access?.(Number(address), size, false, value);
    return value;
  }
  store(address: bigint, size: number, value: bigint): void {
    this.#observer.access?.(Number(address), size, true, BigInt.asUintN(8 * size, value));
    this.#memory.store(address, size, value);
  }
  loadCapability(address: bigint): Raw {
    const cap = this.#memory.loadCapability(address);
    this.#observer.capability?.(Number(address), false, fromRaw(cap));
    return cap;
  }
  storeCapability(address: bigint, cap: Raw): void {
    this.#observer.capability?.(Number(address), true, fromRaw(cap));
    this.#memory.storeCapability(address, cap);
  }
  /** CLoadTags: four granules, which hold no data for it. Not reported. */
  tag(address: bigint): boolean {
    return this.#memory.tag(address);
  }
}
