/** Names of exceptions, for people: their causes, and of capability faults the check and the register. */
import { CapCause, CapReg, Cause } from "../abi.ts";
import { capNames, scrName } from "../assembler/registers.ts";

const CAUSES: Readonly<Record<number, string>> = {
  [Cause.FetchMisaligned]: "instruction address misaligned",
  [Cause.FetchAccess]: "instruction access fault",
  [Cause.IllegalInstruction]: "illegal instruction",
  [Cause.Breakpoint]: "breakpoint",
  [Cause.LoadMisaligned]: "load address misaligned",
  [Cause.LoadAccess]: "load access fault",
  [Cause.StoreMisaligned]: "store address misaligned",
  [Cause.StoreAccess]: "store access fault",
  [Cause.FetchPage]: "instruction page fault",
  [Cause.LoadPage]: "load page fault",
  [Cause.StorePage]: "store page fault",
  [Cause.LoadCapPage]: "capability load page fault",
  [Cause.StoreCapPage]: "capability store page fault",
  [Cause.Cheri]: "capability fault",
};

const CHECKS: Readonly<Record<number, string>> = {
  [CapCause.None]: "none",
  [CapCause.Length]: "bounds",
  [CapCause.Tag]: "tag",
  [CapCause.Seal]: "seal",
  [CapCause.Type]: "object type",
  [CapCause.UserDef]: "user-defined permission",
  [CapCause.UnalignedBase]: "alignment of base",
  [CapCause.Global]: "global permission",
  [CapCause.PermitExecute]: "execute permission",
  [CapCause.PermitLoad]: "load permission",
  [CapCause.PermitStore]: "store permission",
  [CapCause.PermitLoadCap]: "load-capability permission",
  [CapCause.PermitStoreCap]: "store-capability permission",
  [CapCause.PermitStoreLocalCap]: "store-local-capability permission",
  [CapCause.PermitSeal]: "seal permission",
  [CapCause.AccessSystemRegs]: "access to system registers",
  [CapCause.PermitCInvoke]: "invoke permission",
  [CapCause.PermitUnseal]: "unseal permission",
  [CapCause.SetCid]: "set-compartment permission",
};

/** Name of an exception's cause (mcause). */
export const trapName = (cause: number): string => CAUSES[cause] ?? `cause ${cause}`;
/** Name of the check that failed: of a {@link CapCause}. */
export const capCheckName = (code: number): string => CHECKS[code] ?? `code ${code}`;
/** Name of a register by its number in the trap value of a capability fault. */
export function capRegisterName(number: number): string {
  if (number === CapReg.Pcc) return "PCC";
  if (number === CapReg.Ddc) return "DDC";
  return capNames[number] ?? scrName(number - 32)?.toUpperCase() ?? `special register ${number - 32}`;
}
