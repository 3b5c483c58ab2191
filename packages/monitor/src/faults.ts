import type { Disassemble, FaultDescription, Trap } from "@cvm/cpu";
import { allClauses, createDecoder, describeFault, disassemble } from "@cvm/cpu";
import { OUT_OF_MEMORY } from "./abi.ts";
import type { Compartment } from "./compartment.ts";
import type { Thread } from "./process.ts";

/** All that is known about a fault. */
export interface FaultReport extends FaultDescription {
  readonly cvm: string;
  readonly process: number;
  readonly thread: number;
}

/** The disassembler of the machine's own instructions. */
export function createDisassembler(): Disassemble {
  const decoder = createDecoder(allClauses);
  return (word, pc, mode) => disassemble(decoder, word, pc, mode);
}

/** Everything about a fault of a thread that stands at the faulting instruction. */
export function reportFault(compartment: Compartment, thread: Thread, disassemble: Disassemble | undefined, trap: Trap): FaultReport {
  const { hart, process } = thread;
  const whose = { cvm: compartment.name, process: process.id, thread: thread.id };
  const who = `cVM "${whose.cvm}", process ${whose.process}, thread ${whose.thread}`;
  const causeName = trap.cause === OUT_OF_MEMORY ? "the memory of the cVM is used up" : undefined;
  return {
    ...whose,
    ...describeFault({ machine: compartment.host.machine, hart, region: process.region }, trap, who, disassemble, causeName),
  };
}
