/**
 * Control and status registers: those that unprivileged programs use. All others are illegal instructions.
 *
 * | number | name | access | without AccessSystemRegs in PCC |
 * |---|---|---|---|
 * | 001, 002, 003 | fflags, frm, fcsr | read, write | allowed |
 * | C00, C01, C02 | cycle, time, instret | read | allowed |
 * | C03 … C1F | hpmcounter3 … hpmcounter31: always 0 | read | allowed |
 * | 8C0 | uccsr: bit 31 tag clearing, bit 30 no relocation, bit 0 on | read; writes change nothing | CHERI exception 18 (PCC) |
 */
import { CapCause, CapReg, Cause, Perm } from "../abi.ts";
import { permsOf } from "../capability/encoding.ts";
import { readScr, Scr, State } from "../machine/layout.ts";
import type { IntrinsicContext, IntrinsicTable } from "./intrinsics.ts";

/** Numbers of registers by name, as assembler and disassembler write them. */
export const csrNumbers: ReadonlyMap<string, number> = new Map<string, number>([
  ["fflags", 0x001],
  ["frm", 0x002],
  ["fcsr", 0x003],
  ["uccsr", 0x8c0],
  ["cycle", 0xc00],
  ["time", 0xc01],
  ["instret", 0xc02],
  ...Array.from({ length: 29 }, (_, at): [string, number] => [`hpmcounter${at + 3}`, 0xc03 + at]),
]);

/** Ticks of `time` in a millisecond: 10 MHz, as QEMU's virt machine has it. */
const TICKS_PER_MS = 10_000;

const isCounter = (csr: number): boolean => csr >= 0xc00 && csr <= 0xc1f;

function illegal(context: IntrinsicContext, hart: number): bigint {
  context.trap(hart, Cause.IllegalInstruction, 0);
  return 0n;
}

/** Raises the exception when PCC may not touch system registers. */
function withoutSystemRegs(context: IntrinsicContext, hart: number): boolean {
  if ((permsOf(readScr(context.view, hart, Scr.Pcc).hi) & Perm.AccessSystemRegs) !== 0) return false;
  context.trap(hart, Cause.Cheri, (CapReg.Pcc << 5) | CapCause.AccessSystemRegs);
  return true;
}

function read(context: IntrinsicContext, hart: number, csr: number): bigint {
  const { view } = context;
  const fflags = (): number => view.getInt32(hart + State.fflags, true);
  const frm = (): number => view.getInt32(hart + State.frm, true);
  switch (csr) {
    case 0x001:
      return BigInt(fflags());
    case 0x002:
      return BigInt(frm());
    case 0x003:
      return BigInt(fflags() | (frm() << 5));
    case 0x8c0:
      if (withoutSystemRegs(context, hart)) return 0n;
      return 1n | (context.tagClearing ? 1n << 31n : 0n) | (context.relocation ? 0n : 1n << 30n);
    case 0xc00:
    case 0xc02:
      return view.getBigInt64(hart + State.instret, true);
    case 0xc01:
      return BigInt(Math.floor(performance.now() * TICKS_PER_MS));
    default:
      return isCounter(csr) ? 0n : illegal(context, hart);
  }
}

function write(context: IntrinsicContext, hart: number, csr: number, value: bigint): void {
  const { view } = context;
  const low = Number(value & 0xffn);
  switch (csr) {
    case 0x001:
      view.setInt32(hart + State.fflags, low & 0x1f, true);
      break;
    case 0x002:
      view.setInt32(hart + State.frm, low & 7, true);
      break;
    case 0x003:
      view.setInt32(hart + State.fflags, low & 0x1f, true);
      view.setInt32(hart + State.frm, low >> 5, true);
      break;
    case 0x8c0:
      withoutSystemRegs(context, hart);
      break;
    default:
      illegal(context, hart);
  }
}

/** `csrRead(csr)` and `csrWrite(csr, value)`. A read has no effect, so that a write which traps after it leaves nothing behind. */
export const csrIntrinsics: IntrinsicTable = {
  csrRead: { params: ["i32"], result: "i64", make: (context) => (hart: number, csr: number) => read(context, hart, csr) },
  csrWrite: {
    params: ["i32", "i64"],
    result: "none",
    make: (context) => (hart: number, csr: number, value: bigint) => write(context, hart, csr, value),
  },
};
