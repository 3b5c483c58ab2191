/**
 * Types and limits that cross the border of this package: what a monitor may ask of a machine.
 * Everything here is plain data or an interface, so that a machine can also live behind a message port.
 */
import type { UnitStore } from "./translator/store.ts";

/** Bytes of a page: the unit of protection and of page state. */
export const PAGE_SIZE = 4096;
/** Bytes of a granule: the unit that carries one tag. */
export const GRANULE_SIZE = 16;

/** Permission bits as CGetPerm returns them (CHERI ISAv9, section "Capability permission bits"). */
export const Perm = {
  Global: 0x1,
  Execute: 0x2,
  Load: 0x4,
  Store: 0x8,
  LoadCap: 0x10,
  StoreCap: 0x20,
  StoreLocalCap: 0x40,
  Seal: 0x80,
  CInvoke: 0x100,
  Unseal: 0x200,
  AccessSystemRegs: 0x400,
  SetCid: 0x800,
  User0: 0x8000,
  User1: 0x10000,
  User2: 0x20000,
  User3: 0x40000,
  All: 0x78fff,
} as const;

/** otype of an unsealed capability, as CGetType returns it. */
export const OTYPE_UNSEALED = -1;
/** otype of a sentry (sealed entry) capability. */
export const OTYPE_SENTRY = -2;
/** Largest otype that software may use. */
export const OTYPE_MAX = 0x3fffb;

/** A capability, decompressed. All numbers are unsigned; `top` has 65 bits (0 … 2^64). */
export interface Capability {
  readonly tag: boolean;
  readonly address: bigint;
  readonly base: bigint;
  readonly top: bigint;
  /** {@link Perm} bits. */
  readonly perms: number;
  /** 0 … {@link OTYPE_MAX}, {@link OTYPE_UNSEALED}, {@link OTYPE_SENTRY}, or another reserved negative number. */
  readonly otype: number;
  /** 1: capability mode when this is PCC. */
  readonly flag: number;
}

/** What the register `time` counts: ticks of 10 MHz, as QEMU's virt machine has it, of the host's performance.now(). */
export const TICKS_PER_MS = 10_000;

/** What a page of the address space allows. 0: unmapped. */
export const Prot = { Read: 1, Write: 2, Execute: 4 } as const;

/** Why {@link HartPort.run} came back. */
export const Exit = {
  /** The fuel is used up; the hart can go on. */
  Fuel: 0,
  /** ecall: pc is that of the ecall; the caller advances it. */
  Ecall: 1,
  /** A synchronous exception: cause and value are in {@link HartPort.trapCause}, {@link HartPort.trapValue}; pc is that of the instruction. */
  Trap: 2,
  /** {@link HartPort.requestStop} was called. */
  Stopped: 3,
} as const;
export type ExitCode = (typeof Exit)[keyof typeof Exit];

/** mcause values (RISC-V privileged spec, table "Machine cause register", and CHERI ISAv9). */
export const Cause = {
  FetchMisaligned: 0,
  FetchAccess: 1,
  IllegalInstruction: 2,
  Breakpoint: 3,
  LoadMisaligned: 4,
  LoadAccess: 5,
  StoreMisaligned: 6,
  StoreAccess: 7,
  EcallU: 8,
  EcallS: 9,
  EcallM: 11,
  FetchPage: 12,
  LoadPage: 13,
  StorePage: 15,
  LoadCapPage: 0x1a,
  StoreCapPage: 0x1b,
  Cheri: 0x1c,
} as const;

/** CHERI exception codes: low 5 bits of the trap value when the cause is {@link Cause.Cheri}; the register number stands in bits 5 … 10. */
export const CapCause = {
  None: 0,
  Length: 1,
  Tag: 2,
  Seal: 3,
  Type: 4,
  UserDef: 8,
  InexactBounds: 0xa,
  UnalignedBase: 0xb,
  Global: 0x10,
  PermitExecute: 0x11,
  PermitLoad: 0x12,
  PermitStore: 0x13,
  PermitLoadCap: 0x14,
  PermitStoreCap: 0x15,
  PermitStoreLocalCap: 0x16,
  PermitSeal: 0x17,
  AccessSystemRegs: 0x18,
  PermitCInvoke: 0x19,
  PermitUnseal: 0x1b,
  SetCid: 0x1c,
} as const;

/** Register numbers in the trap value of a CHERI exception beyond the 32 general ones. */
export const CapReg = { Pcc: 0x20, Ddc: 0x21 } as const;

/** What runs guest code. `translator`: hot code is translated to WebAssembly, the rest interpreted; `eager`: all that can be is translated before it runs. */
export const ENGINE_NAMES = ["interpreter", "translator", "eager"] as const;
export type EngineName = (typeof ENGINE_NAMES)[number];

/** Options of a machine; each has the default named. */
export interface MachineOptions {
  /** `interpreter` unless given. */
  readonly engine?: EngineName;
  /** With the translator: how often code is reached before it is translated, 1 … 65,535. Unless given 10,000, and translating takes half of the time at most. */
  readonly translateAfter?: number;
  /**
   * With the translator: how much fuel code uses, found by looking from time to time, before it is translated again: larger, and for the place in memory where it is alone. 2,000,000
   * unless given.
   */
  readonly specialiseAfter?: number;
  /** With the translator: where translations of earlier machines are, and where this one's go. None unless given. */
  readonly translations?: UnitStore | undefined;
  /** Bytes of guest-addressable memory, a multiple of 1 MiB up to 3.5 GiB; 64 MiB unless given. It is reserved, not touched. */
  readonly memoryBytes?: number;
  /** DDC/PCC relocation (ISAv8 style, xCCSR.nr = 0); true unless given. */
  readonly relocation?: boolean;
  /** Clear tags instead of trapping in capability arithmetic (ISAv9); true unless given. */
  readonly tagClearing?: boolean;
  /**
   * Machine, supervisor and user mode with their registers, for bare-metal programs; false unless given: user mode only. There is no paging: accesses to
   * unmapped pages are access faults. Traps still end a run; `PrivilegedHart` takes them.
   */
  readonly privileged?: boolean;
  /** Test the page state on loads too, so that unmapped and PROT_NONE pages fault on reads; true unless given. */
  readonly checkLoads?: boolean;
}

/** Where {@link MachinePort.revoke} looks: whole pages of memory, and harts. */
export interface RevokeScope {
  readonly ranges: Iterable<{ readonly base: number; readonly length: number }>;
  readonly harts: Iterable<HartPort>;
}

/**
 * A machine: one address space of bytes and tags. Addresses are absolute and plain numbers in [0, memoryBytes).
 * These are operations of TRUSTED code: they check ranges against the memory (RangeError), not against any capability.
 */
export interface MachinePort {
  readonly memoryBytes: number;
  /** A copy of `length` bytes at `address`. */
  readBytes(address: number, length: number): Uint8Array;
  /** A read-only view, valid until guest code runs again. Writing to it is a bug. */
  lendBytes(address: number, length: number): Uint8Array;
  /** Little-endian reads that do not allocate. Unaligned addresses are fine. */
  readU8(address: number): number;
  readU32(address: number): number;
  /** The 64-bit value as a number: exact up to 2^53. */
  readU64(address: number): number;
  /** THE way for trusted code to write guest memory: clears tags, invalidates predecoded or translated code. */
  storeRange(address: number, bytes: Uint8Array): void;
  /** As {@link storeRange}, with zeros. */
  zeroRange(address: number, length: number): void;
  /** Copies bytes within memory (ranges must not overlap); tags are cleared at the destination. */
  copyRange(from: number, to: number, length: number): void;
  /** Writes a capability with its tag; `address` must be 16-byte aligned. */
  storeCapability(address: number, capability: Capability): void;
  loadCapability(address: number): Capability;
  /**
   * Clears the tag of every capability that reaches into the range, or is an empty one in it: in memory and in the registers of all harts, DDC and PCC
   * included; or only of those `within`. No hart may be running. How many there were.
   */
  revoke(address: number, length: number, within?: RevokeScope): number;
  /** Sets what pages allow ({@link Prot} bits, 0 = unmapped). Page-aligned. Contents stay. */
  protect(address: number, length: number, prot: number): void;
  /** True when every page touched by the range allows all of `prot`. */
  allows(address: number, length: number, prot: number): boolean;
  /** A hart with all registers zero, DDC and PCC untagged. Cheap: a block of memory. */
  createHart(): HartPort;
  /** Instructions retired by all harts since the machine was made. */
  readonly instructions: number;
}

/** What {@link HartPort.readAuthority} fills in: how far the hart's own loads, stores and fetches reach. Numbers are exact below 2^53. */
export interface Authority {
  /** What offsets are relative to, as a signed 64-bit number. */
  ddcAddress: number;
  ddcBase: number;
  /** Bytes from {@link ddcBase} that DDC lets the hart load; 0 without tag or permission, or when sealed. */
  loadLength: number;
  /** As {@link loadLength}, for stores. */
  storeLength: number;
  pccBase: number;
}

/** What {@link HartPort.readReach} fills in. Numbers are exact below 2^53. */
export interface Reach {
  /** It has its tag and is not sealed. */
  usable: boolean;
  perms: number;
  address: number;
  base: number;
  top: number;
}

/** Number of bytes of {@link HartPort.saveRegisters}: pc, x1 … x31, f0 … f31 (8 bytes each, little endian), fcsr (8 bytes). */
export const REGISTER_FILE_BYTES: number = 8 * (1 + 31 + 32 + 1);

/** One hart: registers and a run loop. Only one hart of a machine runs at a time. */
export interface HartPort {
  readonly id: number;
  /**
   * Runs until something happens. `fuel` counts taken backward transfers and indirect jumps, 1 … 2^31-1.
   * Never throws for anything that guest code does.
   */
  run(fuel: number): ExitCode;
  /** Ask a running hart (from a callback) to come back soon with {@link Exit.Stopped}. */
  requestStop(): void;
  /** mcause of the last {@link Exit.Trap}. */
  readonly trapCause: number;
  /** mtval of the last {@link Exit.Trap}, exact up to 2^53. */
  readonly trapValue: number;
  /** Absolute address of the load or store that a capability refused, whose trap value names only the register and the check. Right after the run; exact up to 2^53. */
  readonly trapAddress: number;
  /** pc as an offset from PCC's base (with relocation) or absolute (without). */
  pc: number;
  /** Integer register as a signed 64-bit value in a number (exact up to 2^53). 0 … 31. No BigInt is made. */
  getInt(register: number): number;
  /** Integer write from a number: sign-extended; drops capability metadata. */
  setInt(register: number, value: number): void;
  /** All 64 bits, as an unsigned number; {@link setX} takes signed ones too. */
  getX(register: number): bigint;
  setX(register: number, value: bigint): void;
  /** Raw 64 bits, as an unsigned number. */
  getF(register: number): bigint;
  setF(register: number, value: bigint): void;
  fcsr: number;
  getCapability(register: number): Capability;
  setCapability(register: number, capability: Capability): void;
  /** Default data capability. Setting it recomputes the fast-path window. */
  ddc: Capability;
  /** Program-counter capability; its address is not used by setters: set {@link pc} after it. */
  pcc: Capability;
  /** SScratchC, which code reaches with AccessSystemRegs in PCC only: for what trusted code keeps with a hart. */
  scratch: Capability;
  /** Address of {@link scratch}; 0 without its tag. No BigInt is made. */
  readonly scratchAddress: number;
  /** A capability register as numbers: what a call of the monitor asks of each operand. */
  readReach(register: number, into: Reach): void;
  /** DDC and PCC as numbers, without allocation: what the gate asks at each system call. */
  readAuthority(into: Authority): void;
  /** Integer and float registers and pc as bytes (see {@link REGISTER_FILE_BYTES}); capability metadata is not in it. */
  saveRegisters(): Uint8Array;
  /** The inverse; drops capability metadata of all 31 registers. RangeError on another length. */
  loadRegisters(bytes: Uint8Array): void;
  /** Copies everything, capability metadata included, from another hart of the same machine. */
  copyFrom(other: HartPort): void;
  /** Retired instructions of this hart. */
  readonly instructions: number;
  /** Gives the block back; the hart must not be used afterwards. */
  release(): void;
}
