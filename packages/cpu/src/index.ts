/** CHERI RV64GC machine. */
export * from "./abi.ts";
export { createMachine } from "./machine/machine.ts";
export type { Observer } from "./machine/observer.ts";
export { PrivilegedHart, type TrapTaken } from "./machine/privileged.ts";
export { capCheckName, capRegisterName, trapName } from "./machine/causes.ts";
export { describeFault, type Disassemble, type FaultDescription, type Trap } from "./machine/fault.ts";
export { dumpGeneralRegisters, dumpRegisters } from "./machine/dump.ts";
export { Crossings, CROSSINGS_BYTES } from "./machine/crossings.ts";
export { PageUse } from "./machine/page-use.ts";
export { SEAT_RESERVE, Turns, type PageStates, type Seat, type Tenant } from "./machine/turns.ts";
export { rebase, rebaseRegisters } from "./machine/rebase.ts";
export { RegionAllocator, regionShape, type Region } from "./machine/regions.ts";
export { UsedPages } from "./machine/used-pages.ts";
export { MemorySharing, type SharedObject, type SharedPiece, type Sharer } from "./machine/sharing.ts";
export * as capability from "./capability/index.ts";
export { Interpreter, standardInterpreter } from "./interpreter/interpreter.ts";
export * from "./assembler/index.ts";
export { allClauses } from "./isa/index.ts";
export {
  decodeUnit,
  encodeUnit,
  HEAD_BYTES,
  hashHead,
  headsOf,
  MAX_CANDIDATES,
  MAX_UNIT_BYTES,
  type Candidate,
  type Head,
  type StoredUnit,
  type UnitCode,
  type Units,
  type UnitStore,
} from "./translator/store.ts";
export { createDecoder, type Decoder } from "./isa/decode.ts";
export { runElf, type RunResult } from "./command/run.ts";
