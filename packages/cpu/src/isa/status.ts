/** Privilege levels and mstatus, as numbers: what the CSRs, trap entry and trap return share (RISC-V privileged specification, "Machine Status"). */

/** Privilege levels. A machine without the option `privileged` has only User. */
export const Privilege = { User: 0, Supervisor: 1, Machine: 3 } as const;
export type PrivilegeLevel = (typeof Privilege)[keyof typeof Privilege];

type StatusField =
  | "SIE"
  | "MIE"
  | "SPIE"
  | "MPIE"
  | "SPP"
  | "MPP"
  | "FS"
  | "MPRV"
  | "SUM"
  | "MXR"
  | "TVM"
  | "TW"
  | "TSR"
  | "UXL"
  | "SXL"
  | "SD";
const bit = (at: number): bigint => 1n << BigInt(at);
/** Fields of mstatus, as masks. */
export const Status: Readonly<Record<StatusField, bigint>> = {
  SIE: bit(1),
  MIE: bit(3),
  SPIE: bit(5),
  MPIE: bit(7),
  SPP: bit(8),
  MPP: bit(11) | bit(12),
  FS: bit(13) | bit(14),
  MPRV: bit(17),
  SUM: bit(18),
  MXR: bit(19),
  TVM: bit(20),
  TW: bit(21),
  TSR: bit(22),
  UXL: bit(32) | bit(33),
  SXL: bit(34) | bit(35),
  SD: bit(63),
};

const MPP_SHIFT = 11n;
const SPP_SHIFT = 8n;

/** Fields that a write to mstatus changes. MPRV, SUM and MXR are kept and have no effect: there is no paging. */
const WRITABLE =
  Status.SIE |
  Status.MIE |
  Status.SPIE |
  Status.MPIE |
  Status.SPP |
  Status.MPP |
  Status.FS |
  Status.MPRV |
  Status.SUM |
  Status.MXR |
  Status.TVM |
  Status.TW |
  Status.TSR;
/** What of them sstatus shows. */
const SUPERVISOR = Status.SIE | Status.SPIE | Status.SPP | Status.FS | Status.SUM | Status.MXR;
/** 64 bits in user mode (UXL) and in supervisor mode (SXL). */
const UXL_64 = 2n << 32n;
const SXL_64 = 2n << 34n;

const replace = (old: bigint, value: bigint, mask: bigint): bigint => (old & ~mask) | (value & mask);

/** The floating-point unit is off: its instructions and registers are illegal. */
export function floatIsOff(stored: bigint): boolean {
  return (stored & Status.FS) === 0n;
}

/** mstatus as it is read. Floating-point state that is not off counts as dirty, which the specification allows. */
export function readStatus(stored: bigint): bigint {
  return (floatIsOff(stored) ? stored : stored | Status.FS | Status.SD) | UXL_64 | SXL_64;
}
/** What is stored after a write to mstatus. MPP = 2, which is no privilege level, leaves MPP as it was. */
export function writeStatus(stored: bigint, value: bigint): bigint {
  const mpp = (value & Status.MPP) >> MPP_SHIFT === 2n ? 0n : Status.MPP;
  return replace(stored, value, (WRITABLE & ~Status.MPP) | mpp);
}
/** sstatus as it is read. */
export function readSupervisorStatus(stored: bigint): bigint {
  return readStatus(stored) & (SUPERVISOR | Status.UXL | Status.SD);
}
/** What is stored after a write to sstatus. */
export function writeSupervisorStatus(stored: bigint, value: bigint): bigint {
  return replace(stored, value, SUPERVISOR);
}

/** mstatus after a trap from `from` into machine or supervisor mode: the interrupt enable is pushed, `from` is recorded. */
export function enterTrap(stored: bigint, from: PrivilegeLevel, supervisor: boolean): bigint {
  if (supervisor) {
    const enabled = (stored & Status.SIE) === 0n ? 0n : Status.SPIE;
    return replace(stored, enabled | (from === Privilege.User ? 0n : Status.SPP), Status.SIE | Status.SPIE | Status.SPP);
  }
  const enabled = (stored & Status.MIE) === 0n ? 0n : Status.MPIE;
  return replace(stored, enabled | (BigInt(from) << MPP_SHIFT), Status.MIE | Status.MPIE | Status.MPP);
}

/** mstatus after MRET (or SRET), and the privilege that it returns to. */
export function leaveTrap(stored: bigint, supervisor: boolean): { readonly status: bigint; readonly privilege: PrivilegeLevel } {
  const privilege = Number(supervisor ? (stored & Status.SPP) >> SPP_SHIFT : (stored & Status.MPP) >> MPP_SHIFT) as PrivilegeLevel;
  const enabled = (stored & (supervisor ? Status.SPIE : Status.MPIE)) !== 0n;
  const popped = supervisor
    ? replace(stored, (enabled ? Status.SIE : 0n) | Status.SPIE, Status.SIE | Status.SPIE | Status.SPP)
    : replace(stored, (enabled ? Status.MIE : 0n) | Status.MPIE, Status.MIE | Status.MPIE | Status.MPP);
  return { status: privilege === Privilege.Machine ? popped : popped & ~Status.MPRV, privilege };
}

/** Bits of mie, mip and mideleg by interrupt: supervisor and machine software (1, 3), timer (5, 7), external (9, 11). */
export const INTERRUPTS = 0xaaan;
/** Those that can be delegated, and whose bits in mip software may write. */
export const SUPERVISOR_INTERRUPTS = 0x222n;
/** Order in which interrupts that wait at the same time are taken. */
export const INTERRUPT_ORDER: readonly number[] = [11, 3, 7, 9, 1, 5];
/** Exceptions that can be delegated: all but ecall from machine mode. */
export const DELEGATABLE = 0x1c00_b3ffn;

/** The interrupt that is taken next, and where; undefined when none is. `pending` is mip & mie. */
export function nextInterrupt(
  stored: bigint,
  privilege: PrivilegeLevel,
  pending: bigint,
  delegated: bigint,
): { readonly number: number; readonly supervisor: boolean } | undefined {
  const machine = privilege < Privilege.Machine || (stored & Status.MIE) !== 0n ? pending & ~delegated : 0n;
  const supervised =
    privilege < Privilege.Supervisor || (privilege === Privilege.Supervisor && (stored & Status.SIE) !== 0n) ? pending & delegated : 0n;
  const chosen = machine === 0n ? supervised : machine;
  const number = INTERRUPT_ORDER.find((candidate) => ((chosen >> BigInt(candidate)) & 1n) !== 0n);
  return number === undefined ? undefined : { number, supervisor: machine === 0n };
}
