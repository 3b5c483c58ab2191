/**
 * Instructions of machine and supervisor mode (RISC-V privileged specification; CHERI ISAv9 for what returns do with capabilities). On a machine without the
 * option `privileged` all of them are illegal instructions.
 */
import { CapCause, CapReg, Cause, Perm } from "../abi.ts";
import { OTYPE_SENTRY } from "../abi.ts";
import { otypeOf, permsOf } from "../capability/encoding.ts";
import { rawWithoutSeal } from "../capability/raw.ts";
import { readScr, Scr, State } from "../machine/layout.ts";
import { CheriState } from "./cheri-state.ts";
import type { Clause } from "./clause.ts";
import type { Intrinsic, IntrinsicContext, IntrinsicTable } from "./intrinsics.ts";
import type { Semantics } from "./ir.ts";
import { leaveTrap, Privilege, Status } from "./status.ts";

const statusOf = (context: IntrinsicContext, hart: number): bigint => context.view.getBigUint64(hart + State.mstatus, true);
const privilegeOf = (context: IntrinsicContext, hart: number): number => context.view.getInt32(hart + State.privilege, true);

/** False after raising an illegal instruction: this takes `needed`, and below machine mode that the bit `off` of mstatus is clear. */
function permitted(context: IntrinsicContext, hart: number, needed: number, off: bigint): boolean {
  const privilege = privilegeOf(context, hart);
  const trapped = privilege < Privilege.Machine && (statusOf(context, hart) & off) !== 0n;
  if (context.privileged && privilege >= needed && !trapped) return true;
  context.trap(hart, Cause.IllegalInstruction, 0);
  return false;
}

/** Return from a trap: to MEPCC or SEPCC, in the mode and with the interrupt enable that mstatus has kept. A sentry is unsealed. */
function xret(supervisor: boolean): Intrinsic {
  const needed = supervisor ? Privilege.Supervisor : Privilege.Machine;
  const register = supervisor ? Scr.Sepcc : Scr.Mepcc;
  return {
    params: [],
    result: "none",
    make: (context) => {
      const cheri = new CheriState(context);
      return (hart: number) => {
        if (!permitted(context, hart, needed, supervisor ? Status.TSR : 0n)) return;
        if ((permsOf(readScr(context.view, hart, Scr.Pcc).hi) & Perm.AccessSystemRegs) === 0) {
          return context.trap(hart, Cause.Cheri, (CapReg.Pcc << 5) | CapCause.AccessSystemRegs);
        }
        const { status, privilege } = leaveTrap(statusOf(context, hart), supervisor);
        context.view.setBigUint64(hart + State.mstatus, status, true);
        context.view.setInt32(hart + State.privilege, privilege, true);
        const target = cheri.special(hart, register);
        cheri.jumpTo(hart, otypeOf(target.hi) === OTYPE_SENTRY ? rawWithoutSeal(target) : target, target.address);
        context.interrupted(hart);
      };
    },
  };
}

/** Does nothing where it is allowed. */
function nothing(off: bigint): Intrinsic {
  return {
    params: [],
    result: "none",
    make: (context) => (hart: number) => void permitted(context, hart, Privilege.Supervisor, off),
  };
}

export const privilegedIntrinsics: IntrinsicTable = {
  mret: xret(false),
  sret: xret(true),
  /** Interrupts are looked for when a run comes back, so that waiting for one may end at once, as the specification allows. */
  wfi: nothing(Status.TW),
  /** There is no paging, hence no translation to forget. */
  "sfence.vma": nothing(Status.TVM),
};

const SYSTEM = "000 00000 1110011";
const system = (name: string, encoding: string, syntax: string, semantics: (s: Semantics) => void): Clause => ({
  name,
  extension: "Privileged",
  encoding: `${encoding} ${SYSTEM}`,
  syntax,
  semantics,
});

export const privilegedClauses: readonly Clause[] = [
  // Exceptions in order: privilege: illegal instruction; PCC without AccessSystemRegs: CHERI exception 0x18 (PCC).
  system("mret", "0011000 00010 00000", "", (s) => s.run("mret", [], { mayTrap: true, changesPc: true })),
  // The same; mstatus.TSR makes it illegal in supervisor mode.
  system("sret", "0001000 00010 00000", "", (s) => s.run("sret", [], { mayTrap: true, changesPc: true })),
  // Illegal in user mode, and with mstatus.TW in supervisor mode.
  system("wfi", "0001000 00101 00000", "", (s) => s.run("wfi", [], { mayTrap: true })),
  // Illegal in user mode, and with mstatus.TVM in supervisor mode.
  system("sfence.vma", "0001001 rs2 rs1", "rs1, rs2", (s) => s.run("sfence.vma", [], { mayTrap: true })),
];
