/**
 * Where everything stands in a machine's linear memory: the one table that TypeScript and generated WebAssembly share.
 *
 * Offsets are the same for every machine, whatever its size, so that one WebAssembly module serves all machines of a process:
 * guest memory comes last. A guest address is absolute (0 … memoryBytes) and becomes an offset by adding {@link GUEST}.
 */
import { PAGE_SIZE } from "../abi.ts";
import { decodeBounds } from "../capability/encoding.ts";
import type { Raw } from "../capability/raw.ts";

/** Bytes of a hart's state block. */
export const HART_BYTES = 4096;
/**
 * The block of the hart that runs. Harts are copied in and out when another one runs, so that generated code reaches
 * registers at constant addresses and records hold register addresses of 16 bits. A multiple of 256.
 */
export const ACTIVE_HART = 4096;
/**
 * Numbers that hold for all harts of a machine, as i64 below {@link ACTIVE_HART}. `windowSkip`: bytes at the start of DDC's window that loads leave out;
 * `userOnly`: 1 on machines without the option `privileged`.
 */
export const MachineField = { memoryBytes: 64, windowSkip: 72, userOnly: 80 } as const;
/** What translated code and the interpreter tell each other: absolute addresses of cells. */
export const TRANSLATION: Readonly<
  globalThis.Record<"dataBase" | "dataLimit" | "codeBase" | "codeSpan" | "heatLimit" | "passMarks" | "passFirst" | "ranOut", number>
> = {
  /** i32: absolute address of offset 0 of DDC. */
  dataBase: 1024,
  /** i64: offset - one page, if below this, is inside DDC with some bytes after it; the first page is never mapped. */
  dataLimit: 1032,
  /** i32: absolute address of pc 0. */
  codeBase: 1040,
  /** i64: pcs below this are in pages that PCC allows to execute as a whole. */
  codeSpan: 1048,
  /** i32: the interpreter stops where this many transfers went to, or that many have some bits in common. */
  heatLimit: 1056,
  /** i32: not 0: the interpreter runs past marked instructions; past one that is its first. */
  passMarks: 1060,
  passFirst: 1064,
  /** i32: entry of the translated function that found its fuel used up last. */
  ranOut: 1068,
};
/** Largest number of harts of a machine. */
export const MAX_HARTS = 8192;
/** Blocks of harts that do not run. */
export const HARTS = 0x1_0000;

/** Largest guest memory. */
export const MAX_MEMORY_BYTES: number = 3584 * 1024 * 1024;
const MAX_PAGES = MAX_MEMORY_BYTES / PAGE_SIZE;
const align = (value: number): number => Math.ceil(value / 0x1_0000) * 0x1_0000;

/** A byte per page, see {@link Own}. */
export const PAGE_OWN: number = HARTS + MAX_HARTS * HART_BYTES;
/** A byte per page, derived from its own state and that of the next page, see {@link Fast}. */
export const PAGE_FAST: number = align(PAGE_OWN + MAX_PAGES + 1);
/** An i32 per page: address of its predecoded records for integer mode where PCC covers the whole page, 0 if there are none. */
export const PAGE_RECORDS: number = align(PAGE_FAST + MAX_PAGES + 1);
/** An i32 per page: where its block of translation slots stands behind {@link SLOT_POOL}; 0, a block of zeros, if there are none. */
export const PAGE_SLOTS: number = align(PAGE_RECORDS + 4 * (MAX_PAGES + 1));
/** Blocks of slots: an i32 for each 2 bytes of a page, the number of a translated function in the table, 0 for none. */
export const SLOT_POOL: number = align(PAGE_SLOTS + 4 * (MAX_PAGES + 1));
export const SLOT_BLOCK_BYTES: number = 2 * PAGE_SIZE;
/** Number of blocks, the one of zeros included. */
export const SLOT_BLOCKS = 4096;
/** A u16 for some bits of a transfer's target: how often the interpreter went there. */
export const HEAT: number = align(SLOT_POOL + SLOT_BLOCKS * SLOT_BLOCK_BYTES);
export const HEAT_ENTRIES = 16_384;
/** Two i32 for some bits of a pc: where the jump through a register there went last, and before that to another place. */
export const TARGETS: number = align(HEAT + 2 * HEAT_ENTRIES);
export const TARGET_ENTRIES = 4096;

/** An i32 per page: address of the first of its other blocks, 0 if there are none; each has the next one's in {@link Block}. */
export const PAGE_OTHERS: number = align(TARGETS + 8 * TARGET_ENTRIES);
/** Blocks of predecoded records. */
export const POOL: number = align(PAGE_OTHERS + 4 * (MAX_PAGES + 1));

/** Bytes of a predecoded instruction; there is one for each 2 bytes of code. */
export const RECORD_BYTES = 16;
/** Fields of a record, as offsets. `rd` … `rs3` are addresses of register slots, not numbers. */
export const Record: Readonly<globalThis.Record<"handler" | "rd" | "rs1" | "rs2" | "imm" | "rs3" | "rm", number>> = {
  handler: 0,
  rd: 2,
  rs1: 4,
  rs2: 6,
  imm: 8,
  rs3: 12,
  rm: 14,
};
/** Records of a page, and two more that lead to the next page. */
export const BLOCK_RECORDS: number = PAGE_SIZE / 2 + 2;
/** What stands behind the records of a block: its {@link blockKey}, and the address of the next block of the same page, 0 for none. */
export const Block: Readonly<globalThis.Record<"key" | "next", number>> = {
  key: BLOCK_RECORDS * RECORD_BYTES,
  next: BLOCK_RECORDS * RECORD_BYTES + 4,
};
export const BLOCK_BYTES: number = (BLOCK_RECORDS + 1) * RECORD_BYTES;
/** Shifts of a block's key: `codeKey` (see the state block), the first parcel that PCC covers; below it the end of those. */
export const KEY_MODE_SHIFT = 24;
export const KEY_FIRST_SHIFT = 12;
/** Number of blocks of the pool. */
export const POOL_BLOCKS = 3072;

/** Block for instructions that are decoded one at a time. */
export const SCRATCH_RECORDS: number = POOL + POOL_BLOCKS * BLOCK_BYTES;
/** A byte per granule: 1 if it holds a capability. */
export const TAGS: number = align(SCRATCH_RECORDS + 4 * RECORD_BYTES);
/** Guest memory. */
export const GUEST: number = align(TAGS + MAX_MEMORY_BYTES / 16);

/** State of a page. 0: readable, writable, without tags and without predecoded code. */
export const Own = {
  NoRead: 1,
  NoWrite: 2,
  Execute: 4,
  /** Some granule may have its tag set. */
  Tags: 8,
  /** Predecoded records were made from bytes of this page. */
  Code: 16,
  /** Translations were made from bytes of this page. */
  Translated: 32,
} as const;
/** What makes stores leave the fast path. */
export const OWN_STORE_SLOW: number = Own.NoWrite | Own.Tags | Own.Code | Own.Translated;

/** Derived state of a page: an access that starts in it can leave the fast path because of this page or the next. */
export const Fast = { StoreSlow: 1, LoadSlow: 2 } as const;

const FIELDS = {
  // ---- architectural
  /** Architectural pc; up to date when the hart does not run. */
  pc: "i64",
  frm: "i32",
  fflags: "i32",
  /** Absolute address of the last load-reserved (ddcAddress + offset for accesses through DDC), -1 without one. */
  reservation: "i64",
  /** Retired instructions; in clauses and intrinsics the instruction itself is not counted yet. */
  instret: "i64",
  /** Bit n: x[n] holds capability metadata. Bit 0 is never set. */
  capRegs: "i32",
  // ---- what comes out of a run
  /** Not 0: an exception was raised and waits to be taken. */
  trapPending: "i32",
  trapCause: "i32",
  trapValue: "i64",
  /** Not 0: an intrinsic set pc (and perhaps PCC); go on there. */
  jumped: "i32",
  fuel: "i32",
  /** Not 0: an interrupt waits to be taken; the run comes back at the next jump that an intrinsic makes. */
  stop: "i32",
  // ---- of a machine with the option `privileged`: see isa/csr.ts and isa/status.ts
  /** 0 user, 1 supervisor, 3 machine. */
  privilege: "i32",
  mcounteren: "i32",
  scounteren: "i32",
  mstatus: "i64",
  medeleg: "i64",
  mideleg: "i64",
  mie: "i64",
  mip: "i64",
  mcause: "i64",
  mtval: "i64",
  mscratch: "i64",
  scause: "i64",
  stval: "i64",
  sscratch: "i64",
  /** What is added to instret to give mcycle and minstret. */
  cycleOffset: "i64",
  instretOffset: "i64",
  // ---- derived from PCC
  /** What is subtracted from an absolute address to give the architectural pc: PCC.base with relocation, otherwise 0. */
  pcBase: "i64",
  /** Absolute addresses from codeLo on, codeSpan bytes, are whole pages that PCC allows to execute. */
  codeLo: "i64",
  codeSpan: "i64",
  /** How records are decoded: 1 integer mode, 2 capability mode, 0 one at a time, or not at all. */
  codeKey: "i32",
  /** Not 0: one at a time, whatever PCC is. */
  singly: "i32",
  /** A jump target is allowed if it is less than jumpSpan above jumpLo. */
  jumpLo: "i64",
  jumpSpan: "i64",
  // ---- the page that runs
  recordBase: "i32",
  /** Architectural pc of the record at recordBase. */
  pagePc: "i64",
  // ---- derived from DDC
  /** What is added to an offset to give an absolute address: DDC.address with relocation, otherwise 0. */
  ddcAddress: "i64",
  /** Absolute start of what DDC allows, and how many bytes may be loaded and stored from there (0 without permission). */
  dataBase: "i64",
  loadLength: "i64",
  storeLength: "i64",
  /** The same for accesses of any size: 7 bytes fewer, and perhaps without the first page. */
  windowLo: "i64",
  loadSpan: "i64",
  storeSpan: "i64",
} as const;

/** Fields that only machines with machine and supervisor mode use, besides the privilege itself. 0 after a reset. */
export const PRIVILEGED_FIELDS: readonly StateField[] = [
  "mcounteren",
  "scounteren",
  "mstatus",
  "medeleg",
  "mideleg",
  "mie",
  "mip",
  "mcause",
  "mtval",
  "mscratch",
  "scause",
  "stval",
  "sscratch",
];

/** Name of a scalar field of the state block. */
export type StateField = keyof typeof FIELDS;

/** x0 … x31, 8 bytes each; x0 is always 0. */
export const X = 0;
/** f0 … f31, 8 bytes each. */
export const F = 256;
/** Writes to x0 go here. Registers' numbers are bits 3 … 7 of their slots' offsets; this gives 0. */
export const X_DISCARD = 512;
const SCALARS = 528;

const { offsets, end } = ((): { offsets: globalThis.Record<StateField, number>; end: number } => {
  const table = {} as globalThis.Record<StateField, number>;
  let at = SCALARS;
  for (const [name, type] of Object.entries(FIELDS)) {
    const bytes = type === "i32" ? 4 : 8;
    at = Math.ceil(at / bytes) * bytes;
    table[name as StateField] = at;
    at += bytes;
  }
  return { offsets: table, end: Math.ceil(at / 16) * 16 };
})();

/** Offset of each scalar field in a state block. */
// A copy: V8 keeps objects that were filled by name as hash tables, in which each look-up costs 5 to 8 ns.
export const State: Readonly<globalThis.Record<StateField, number>> = { ...offsets };
/** Type of a scalar field; undefined for a name that is none. */
export function stateType(name: string): "i32" | "i64" | undefined {
  return (FIELDS as globalThis.Record<string, "i32" | "i64">)[name];
}

/** Capability metadata of x0 … x31; meaningful where capRegs has the bit. The address is the integer register. */
export const CAPS: number = end;
/** Bytes of one register's metadata. */
export const CAP_BYTES = 32;
/** Special capability registers by CSpecialRW's number: 0 PCC, 1 DDC, … */
export const SCRS: number = CAPS + 32 * CAP_BYTES;
/** Bytes of a special register: metadata, then its address. */
export const SCR_BYTES = 40;
/** Fields of capability metadata. `hi`: upper 64 bits as in memory (NULL is 0). `top` has 65 bits: bit 64 is `topHi`. */
export const Cap = { hi: 0, base: 8, top: 16, topHi: 24, tag: 28, address: 32 } as const;
/** Numbers of special registers that the machine itself uses. */
export const Scr = { Pcc: 0, Ddc: 1, Stcc: 12, SscratchC: 14, Sepcc: 15, Mtcc: 28, Mepcc: 31 } as const;

/** Bytes of a state block that are in use. */
export const HART_USED: number = SCRS + 32 * SCR_BYTES;
if (HART_USED > HART_BYTES) throw new Error("the state block is too small");

// ---- accessors; `hart` is the offset of a state block

function writeMetadata(view: DataView, at: number, cap: Raw): void {
  const { base, top } = decodeBounds(cap.hi, cap.address);
  view.setBigUint64(at + Cap.hi, cap.hi, true);
  view.setBigUint64(at + Cap.base, base, true);
  view.setBigUint64(at + Cap.top, top & 0xffff_ffff_ffff_ffffn, true);
  view.setUint32(at + Cap.topHi, Number(top >> 64n), true);
  view.setUint8(at + Cap.tag, cap.tag ? 1 : 0);
}

/** Register `index` (0 … 31) as a capability. */
export function readRegister(view: DataView, hart: number, index: number): Raw {
  const address = view.getBigUint64(hart + X + 8 * index, true);
  if (((view.getInt32(hart + State.capRegs, true) >>> index) & 1) === 0) return { tag: false, hi: 0n, address };
  const at = hart + CAPS + index * CAP_BYTES;
  return { tag: view.getUint8(at + Cap.tag) !== 0, hi: view.getBigUint64(at + Cap.hi, true), address };
}

/** Writes a capability to register `index`; a write to 0 does nothing. */
export function writeRegister(view: DataView, hart: number, index: number, cap: Raw): void {
  if (index === 0) return;
  view.setBigUint64(hart + X + 8 * index, cap.address, true);
  const mask = view.getInt32(hart + State.capRegs, true);
  if (!cap.tag && cap.hi === 0n) {
    view.setInt32(hart + State.capRegs, mask & ~(1 << index), true);
    return;
  }
  view.setInt32(hart + State.capRegs, mask | (1 << index), true);
  writeMetadata(view, hart + CAPS + index * CAP_BYTES, cap);
}

/** Integer write (signed 64 bits): drops capability metadata; a write to 0 does nothing. */
export function writeInteger(view: DataView, hart: number, index: number, value: bigint): void {
  if (index === 0) return;
  view.setBigInt64(hart + X + 8 * index, value, true);
  view.setInt32(hart + State.capRegs, view.getInt32(hart + State.capRegs, true) & ~(1 << index), true);
}

/** Special capability register by CSpecialRW's number. */
export function readScr(view: DataView, hart: number, index: number): Raw {
  const at = hart + SCRS + index * SCR_BYTES;
  return {
    tag: view.getUint8(at + Cap.tag) !== 0,
    hi: view.getBigUint64(at + Cap.hi, true),
    address: view.getBigUint64(at + Cap.address, true),
  };
}

/**
 * Writes a special capability register. PCC and DDC have derived fields: write them with `setPcc` and `setDdc` of the
 * {@link IntrinsicContext} or of the machine instead.
 */
export function writeScr(view: DataView, hart: number, index: number, cap: Raw): void {
  const at = hart + SCRS + index * SCR_BYTES;
  writeMetadata(view, at, cap);
  view.setBigUint64(at + Cap.address, cap.address, true);
}
