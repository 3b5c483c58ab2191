/**
 * Control and status registers: one table of all that exist (RISC-V privileged specification, "CSR Listing"; CHERI ISAv9, "CSR whitelist").
 * A register's number says what it asks for: bits 9:8 are the lowest privilege, bits 11:10 = 3 make it read-only.
 *
 * Exceptions of an access, in order: no such register, too low a privilege, a write to a read-only one, or one that is switched off (mstatus.FS,
 * mcounteren, mstatus.TVM): illegal instruction; PCC without AccessSystemRegs, unless the register is on the whitelist: CHERI exception 0x18 (PCC).
 *
 * Machines without the option `privileged` have the unprivileged registers only.
 */
import { CapCause, CapReg, Cause, Perm, TICKS_PER_MS } from "../abi.ts";
import { decodeBounds, MASK64, permsOf } from "../capability/encoding.ts";
import { rawSetAddress, rawSetOffset } from "../capability/raw.ts";
import { readScr, Scr, State, type StateField } from "../machine/layout.ts";
import { csrForms } from "../support/csr.ts";
import { CheriState } from "./cheri-state.ts";
import type { IntrinsicContext, IntrinsicTable } from "./intrinsics.ts";
import {
  DELEGATABLE,
  floatIsOff,
  INTERRUPTS,
  Privilege,
  readStatus,
  readSupervisorStatus,
  Status,
  SUPERVISOR_INTERRUPTS,
  writeStatus,
  writeSupervisorStatus,
} from "./status.ts";

/** A machine's registers, with a hart's state block at hand. */
class Registers {
  readonly context: IntrinsicContext;
  readonly cheri: CheriState;
  constructor(context: IntrinsicContext) {
    this.context = context;
    this.cheri = new CheriState(context);
  }
  i32(hart: number, field: StateField): number {
    return this.context.view.getInt32(hart + State[field], true);
  }
  setI32(hart: number, field: StateField, value: number): void {
    this.context.view.setInt32(hart + State[field], value, true);
  }
  /** Unsigned. */
  i64(hart: number, field: StateField): bigint {
    return this.context.view.getBigUint64(hart + State[field], true);
  }
  setI64(hart: number, field: StateField, value: bigint): void {
    this.context.view.setBigUint64(hart + State[field], value & MASK64, true);
  }
}

/** Reads a register; has no effect. */
type Read = (r: Registers, hart: number) => bigint;
/** Writes an unsigned value of 64 bits. */
type Write = (r: Registers, hart: number, value: bigint) => void;

/** One register. */
export interface CsrRow {
  readonly number: number;
  readonly name: string;
  /** Exists only on a machine with the option `privileged`. */
  readonly privileged: boolean;
  /** May be used without AccessSystemRegs in PCC. */
  readonly whitelisted: boolean;
  /** False: the access is an illegal instruction. */
  readonly enabled?: (r: Registers, hart: number) => boolean;
  readonly read: Read;
  /** Undefined: writes change nothing (or, for a read-only number, are illegal). */
  readonly write?: Write;
}

/** Lowest privilege that reaches a register. */
export function csrPrivilege(number: number): number {
  return (number >> 8) & 3;
}
/** Read-only by its number. */
export function csrIsReadOnly(number: number): boolean {
  return number >> 10 === 3;
}

// ---- kinds of rows
const zero: Read = () => 0n;
const always: Write = () => {};

const user = (number: number, name: string, row: Pick<CsrRow, "enabled" | "read" | "write">): CsrRow => ({
  number,
  name,
  privileged: false,
  whitelisted: true,
  ...row,
});
const system = (number: number, name: string, read: Read, write: Write = always, enabled?: CsrRow["enabled"]): CsrRow => ({
  number,
  name,
  privileged: true,
  whitelisted: false,
  read,
  write,
  ...(enabled === undefined ? {} : { enabled }),
});
/** A field of the state block, of which a write changes the bits of `mask`. */
const field = (number: number, name: string, at: StateField, mask: bigint = MASK64): CsrRow =>
  system(
    number,
    name,
    (r, hart) => r.i64(hart, at),
    (r, hart, value) => r.setI64(hart, at, value & mask),
  );
/** Registers that are always 0: `count` of them, `step` apart. */
const zeros = (first: number, name: string, from: number, count: number, step = 1): CsrRow[] =>
  Array.from({ length: count }, (_, at) => system(first + at * step, `${name}${from + at * step}`, zero));

/** The offset (with relocation) or address of a special register: STCC, SEPCC, MTCC, MEPCC. A write that is not representable clears its tag. */
const viewOf = (number: number, name: string, scr: number, mask: bigint = MASK64): CsrRow =>
  system(
    number,
    name,
    ({ cheri }, hart) => {
      const cap = cheri.special(hart, scr);
      return cheri.relocation ? (cap.address - decodeBounds(cap.hi, cap.address).base) & MASK64 : cap.address;
    },
    ({ cheri }, hart, value) => {
      const cap = cheri.special(hart, scr);
      cheri.setSpecial(hart, scr, (cheri.relocation ? rawSetOffset : rawSetAddress)(cap, value & mask));
    },
  );
/** An exception's pc is even. */
const EVEN = MASK64 & ~1n;

// ---- floating point
const floatIsOn = (r: Registers, hart: number): boolean => !r.context.privileged || !floatIsOff(r.i64(hart, "mstatus"));
/** Registers that are a field of the state block and nothing else: translated code reads and writes it directly. By number. */
export const plainCsrs: ReadonlyMap<number, { readonly field: StateField; readonly mask: number }> = new Map([
  [0x001, { field: "fflags", mask: 0x1f }],
]);
const setFlags: Write = (r, hart, value) => r.setI32(hart, "fflags", Number(value & 0x1fn));
const setRounding: Write = (r, hart, value) => r.setI32(hart, "frm", Number(value & 7n));

// ---- counters
const time: Read = () => BigInt(Math.floor(performance.now() * TICKS_PER_MS));
/** Retired instructions, moved by what was written to mcycle or minstret. This instruction is not among them. */
const counter =
  (offset: StateField): Read =>
  (r, hart) =>
    (r.i64(hart, "instret") + r.i64(hart, offset)) & MASK64;
/** The next instruction reads what was written. */
const setCounter =
  (offset: StateField): Write =>
  (r, hart, value) =>
    r.setI64(hart, offset, value - r.i64(hart, "instret") - 1n);
/** A counter that less privileged levels reach when the levels above allow it. */
const shadow = (bit: number, name: string, read: Read): CsrRow =>
  user(0xc00 + bit, name, {
    enabled: (r, hart) => {
      const privilege = r.i32(hart, "privilege");
      if (!r.context.privileged || privilege === Privilege.Machine) return true;
      const allowed = (at: StateField): boolean => ((r.i32(hart, at) >>> bit) & 1) !== 0;
      return allowed("mcounteren") && (privilege === Privilege.Supervisor || allowed("scounteren"));
    },
    read,
  });
const enables = (number: number, name: string, at: StateField): CsrRow =>
  system(
    number,
    name,
    (r, hart) => BigInt(r.i32(hart, at) >>> 0),
    (r, hart, value) => r.setI32(hart, at, Number(value & 0xffff_ffffn)),
  );

// ---- capabilities
/** uccsr, sccsr and mccsr: bit 31 tag clearing, bit 30 no relocation, bit 0 on. */
const capabilityStatus: Read = ({ context }) => 1n | (context.tagClearing ? 1n << 31n : 0n) | (context.relocation ? 0n : 1n << 30n);

// ---- machine
/** 64 bits; A, C, D, F, I, M, S, U and X. */
const MISA = (2n << 62n) | 0x94_112dn;
const status =
  (read: (stored: bigint) => bigint): Read =>
  (r, hart) =>
    read(r.i64(hart, "mstatus"));
const setStatus =
  (write: (stored: bigint, value: bigint) => bigint): Write =>
  (r, hart, value) =>
    r.setI64(hart, "mstatus", write(r.i64(hart, "mstatus"), value));
/** sie and sip: what of mie and mip is delegated. */
const delegated = (number: number, name: string, at: StateField, writable: bigint): CsrRow =>
  system(
    number,
    name,
    (r, hart) => r.i64(hart, at) & r.i64(hart, "mideleg"),
    (r, hart, value) => {
      const mask = r.i64(hart, "mideleg") & writable;
      r.setI64(hart, at, (r.i64(hart, at) & ~mask) | (value & mask));
    },
  );
const PENDING_S_SOFTWARE = 2n;

/** Every register, by number. */
export const CSRS: readonly CsrRow[] = [
  user(0x001, "fflags", { enabled: floatIsOn, read: (r, hart) => BigInt(r.i32(hart, "fflags")), write: setFlags }),
  user(0x002, "frm", { enabled: floatIsOn, read: (r, hart) => BigInt(r.i32(hart, "frm")), write: setRounding }),
  user(0x003, "fcsr", {
    enabled: floatIsOn,
    read: (r, hart) => BigInt(r.i32(hart, "fflags") | (r.i32(hart, "frm") << 5)),
    write: (r, hart, value) => {
      setFlags(r, hart, value);
      setRounding(r, hart, value >> 5n);
    },
  }),
  system(0x100, "sstatus", status(readSupervisorStatus), setStatus(writeSupervisorStatus)),
  delegated(0x104, "sie", "mie", SUPERVISOR_INTERRUPTS),
  viewOf(0x105, "stvec", Scr.Stcc),
  enables(0x106, "scounteren", "scounteren"),
  field(0x140, "sscratch", "sscratch"),
  viewOf(0x141, "sepc", Scr.Sepcc, EVEN),
  field(0x142, "scause", "scause"),
  field(0x143, "stval", "stval"),
  delegated(0x144, "sip", "mip", PENDING_S_SOFTWARE),
  // No paging: the mode is always Bare.
  system(
    0x180,
    "satp",
    zero,
    always,
    (r, hart) => r.i32(hart, "privilege") === Privilege.Machine || (r.i64(hart, "mstatus") & Status.TVM) === 0n,
  ),
  system(0x300, "mstatus", status(readStatus), setStatus(writeStatus)),
  system(0x301, "misa", () => MISA),
  field(0x302, "medeleg", "medeleg", DELEGATABLE),
  field(0x303, "mideleg", "mideleg", SUPERVISOR_INTERRUPTS),
  field(0x304, "mie", "mie", INTERRUPTS),
  viewOf(0x305, "mtvec", Scr.Mtcc),
  enables(0x306, "mcounteren", "mcounteren"),
  system(0x320, "mcountinhibit", zero),
  ...zeros(0x323, "mhpmevent", 3, 29),
  field(0x340, "mscratch", "mscratch"),
  viewOf(0x341, "mepc", Scr.Mepcc, EVEN),
  field(0x342, "mcause", "mcause"),
  field(0x343, "mtval", "mtval"),
  system(
    0x344,
    "mip",
    (r, hart) => r.i64(hart, "mip"),
    (r, hart, value) => r.setI64(hart, "mip", (r.i64(hart, "mip") & ~SUPERVISOR_INTERRUPTS) | (value & SUPERVISOR_INTERRUPTS)),
  ),
  // No physical memory protection: writes leave 0.
  ...zeros(0x3a0, "pmpcfg", 0, 8, 2),
  ...zeros(0x3b0, "pmpaddr", 0, 64),
  { ...user(0x8c0, "uccsr", { read: capabilityStatus, write: always }), whitelisted: false },
  system(0x9c0, "sccsr", capabilityStatus),
  system(0xb00, "mcycle", counter("cycleOffset"), setCounter("cycleOffset")),
  system(0xb02, "minstret", counter("instretOffset"), setCounter("instretOffset")),
  ...zeros(0xb03, "mhpmcounter", 3, 29),
  system(0xbc0, "mccsr", capabilityStatus),
  shadow(0, "cycle", counter("cycleOffset")),
  shadow(1, "time", time),
  shadow(2, "instret", counter("instretOffset")),
  ...Array.from({ length: 29 }, (_, at) => shadow(at + 3, `hpmcounter${at + 3}`, zero)),
  system(0xf11, "mvendorid", zero),
  system(0xf12, "marchid", zero),
  system(0xf13, "mimpid", zero),
  system(0xf14, "mhartid", (r) => BigInt(r.context.hartId())),
];

const byNumber: ReadonlyMap<number, CsrRow> = new Map(CSRS.map((row) => [row.number, row]));

/** Numbers of registers by name, as assembler and disassembler write them. */
export const csrNumbers: ReadonlyMap<string, number> = new Map(CSRS.map(({ name, number }) => [name, number]));

/** The row of a register that this access may use, or undefined after raising the exception. */
function check(r: Registers, hart: number, csr: number, writes: boolean): CsrRow | undefined {
  const { context } = r;
  const row = byNumber.get(csr);
  if (
    row === undefined ||
    (row.privileged && !context.privileged) ||
    r.i32(hart, "privilege") < csrPrivilege(csr) ||
    (writes && csrIsReadOnly(csr)) ||
    row.enabled?.(r, hart) === false
  ) {
    context.trap(hart, Cause.IllegalInstruction, 0);
    return undefined;
  }
  if (!row.whitelisted && (permsOf(readScr(context.view, hart, Scr.Pcc).hi) & Perm.AccessSystemRegs) === 0) {
    context.trap(hart, Cause.Cheri, (CapReg.Pcc << 5) | CapCause.AccessSystemRegs);
    return undefined;
  }
  return row;
}

/**
 * `csrRead(csr, writes)` makes all checks of the access, also those of the write that follows if `writes` is not 0, and changes nothing.
 * `csrWrite(csr, value, nextPc)` is only called after it and never fails. It comes last in its instruction: where the write changes what may be
 * executed, control goes on at nextPc by a jump.
 */
export const csrIntrinsics: IntrinsicTable = {
  csrRead: {
    params: ["i32", "i32"],
    result: "i64",
    fast: csrForms["csrRead"]!,
    make: (context) => {
      const r = new Registers(context);
      return (hart: number, csr: number, writes: number) => {
        const row = check(r, hart, csr, writes !== 0);
        return row === undefined ? 0n : BigInt.asIntN(64, row.read(r, hart));
      };
    },
  },
  csrWrite: {
    params: ["i32", "i64", "i64"],
    result: "none",
    fast: csrForms["csrWrite"]!,
    make: (context) => {
      const r = new Registers(context);
      return (hart: number, csr: number, value: bigint, nextPc: bigint) => {
        const { write } = byNumber.get(csr)!;
        if (write === undefined) return;
        const before = context.privileged ? floatIsOff(r.i64(hart, "mstatus")) : false;
        write(r, hart, BigInt.asUintN(64, value));
        if (!context.privileged) return;
        const float = before !== floatIsOff(r.i64(hart, "mstatus"));
        if (float || context.interrupted(hart)) {
          const pcc = r.cheri.pcc(hart, nextPc);
          r.cheri.jumpTo(hart, pcc, pcc.address);
        }
      };
    },
  },
};
