/** Which signal a fault of a thread is: arch/riscv/kernel/traps.c and mm/fault.c of Linux. */
import type { Fault } from "@cvm/monitor/abi";
import { PAGE, type AddressSpace } from "./address-space.ts";
import { Sig } from "./signals.ts";

/** mcause values (RISC-V privileged specification). */
const Cause = {
  FetchMisaligned: 0,
  FetchAccess: 1,
  Illegal: 2,
  Breakpoint: 3,
  LoadMisaligned: 4,
  LoadAccess: 5,
  StoreMisaligned: 6,
  StoreAccess: 7,
  FetchPage: 12,
  LoadPage: 13,
  StorePage: 15,
} as const;
const ILL_ILLOPC = 1;
const TRAP_BRKPT = 1;
const BUS_ADRALN = 1;
const BUS_ADRERR = 2;
const SEGV_MAPERR = 1;
const SEGV_ACCERR = 2;

export interface FaultSignal {
  readonly signal: number;
  readonly code: number;
  readonly address: number;
}

export function faultSignal(memory: AddressSpace, { cause, value, address, pc }: Omit<Fault, "registers" | "report">): FaultSignal {
  switch (cause) {
    case Cause.Illegal:
      return { signal: Sig.ILL, code: ILL_ILLOPC, address: pc };
    case Cause.Breakpoint:
      return { signal: Sig.TRAP, code: TRAP_BRKPT, address: pc };
    case Cause.FetchMisaligned:
    case Cause.LoadMisaligned:
    case Cause.StoreMisaligned:
      return { signal: Sig.BUS, code: BUS_ADRALN, address: value };
    case Cause.FetchAccess:
    case Cause.LoadAccess:
    case Cause.StoreAccess:
      return { signal: Sig.SEGV, code: SEGV_ACCERR, address: value };
    case Cause.FetchPage:
    case Cause.LoadPage:
    case Cause.StorePage: {
      const mapping = memory.find(value);
      if (mapping === undefined) return { signal: Sig.SEGV, code: SEGV_MAPERR, address: value };
      const { file, offset, start } = mapping;
      const beyond = file !== null && offset + value - start >= Math.ceil(file.size() / PAGE) * PAGE;
      return beyond ? { signal: Sig.BUS, code: BUS_ADRERR, address: value } : { signal: Sig.SEGV, code: SEGV_ACCERR, address: value };
    }
    default:
      // A capability said no: the value names the register and the check. The address is known if it was DDC: behind the region's end there are
      // only reservations, and nothing.
      return address === value
        ? { signal: Sig.SEGV, code: SEGV_ACCERR, address: 0 }
        : { signal: Sig.SEGV, code: memory.find(address) === undefined ? SEGV_MAPERR : SEGV_ACCERR, address };
  }
}
