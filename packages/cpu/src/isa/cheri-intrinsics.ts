/**
 * The intrinsics of Xcheri that work on registers: inspection, derivation, special registers, jumps. Their names are the instructions'.
 * Those that touch memory are in cheri-memory-intrinsics.ts.
 */
import { CapCause, CapReg, Cause, OTYPE_SENTRY, OTYPE_UNSEALED, Perm } from "../abi.ts";
import { alignmentMask, decodeBounds, flagOf, MASK64, otypeOf, permsOf, roundedLength } from "../capability/encoding.ts";
import type { Raw } from "../capability/raw.ts";
import {
  rawAndPerms,
  rawBuildCap,
  rawConditionalSeal,
  rawCopyType,
  rawEqual,
  rawInBounds,
  rawIncOffset,
  rawIsSealed,
  rawIsSubset,
  rawNull,
  rawSeal,
  rawSealEntry,
  rawSetAddress,
  rawSetBounds,
  rawSetFlag,
  rawSetOffset,
  rawUnseal,
  rawWithoutSeal,
} from "../capability/raw.ts";
import { State } from "../machine/layout.ts";
import { capabilityRules, integerRules, NONE } from "./cheri-trapping.ts";
import { fastForms } from "../support/forms.ts";
import { CheriState } from "./cheri-state.ts";
import { cheriMemoryIntrinsics } from "./cheri-memory-intrinsics.ts";
import type { Intrinsic, IntrinsicContext, IntrinsicTable } from "./intrinsics.ts";

const u64 = (value: bigint): bigint => BigInt.asUintN(64, value);
const s64 = (value: bigint): bigint => BigInt.asIntN(64, value);
/** CGetLen and CGetTop give 2^64 - 1 for 2^64. */
const saturate = (value: bigint): bigint => s64(value > MASK64 ? MASK64 : value);

/** rd = f(cs1). */
function inspect(f: (cap: Raw) => bigint | number | boolean): Intrinsic {
  return {
    params: ["i32"],
    result: "i64",
    make: (context) => {
      const state = new CheriState(context);
      return (hart: number, cs1: number) => s64(BigInt(f(state.register(hart, cs1))));
    },
  };
}

/** c0 as an authority stands for DDC in some instructions. */
function registerOrDdc(state: CheriState, hart: number, register: number, c0IsDdc: boolean): Raw {
  return c0IsDdc && register === 0 ? state.ddc(hart) : state.register(hart, register);
}

/** cd = f(cs1, rs2); `name` finds the exceptions of a machine without tag clearing. */
function derive(name: string, f: (cap: Raw, operand: bigint) => Raw, c0IsDdc = false): Intrinsic {
  return {
    params: ["i32", "i32", "i64"],
    result: "none",
    make: (context) => {
      const state = new CheriState(context);
      const rule = integerRules[name];
      return (hart: number, cd: number, cs1: number, rs2: bigint) => {
        const cap = registerOrDdc(state, hart, cs1, c0IsDdc);
        const operand = u64(rs2);
        if (rule !== undefined && !state.tagClearing) {
          const value = rule(cap, cs1, operand);
          if (value !== NONE) return context.trap(hart, Cause.Cheri, value);
        }
        state.setRegister(hart, cd, f(cap, operand));
      };
    },
  };
}

/** As {@link derive} without rs2. */
function change(name: string, f: (cap: Raw) => Raw): Intrinsic {
  const base = derive(name, f);
  return {
    params: ["i32", "i32"],
    result: "none",
    make: (context) => {
      const run = base.make(context) as (hart: number, cd: number, cs1: number, rs2: bigint) => void;
      return (hart: number, cd: number, cs1: number) => run(hart, cd, cs1, 0n);
    },
  };
}

/** cd = f(cs1, cs2). */
function combine(name: string, f: (cs1: Raw, cs2: Raw, tagClearing: boolean) => Raw, c0IsDdc = false): Intrinsic {
  return {
    params: ["i32", "i32", "i32"],
    result: "none",
    make: (context) => {
      const state = new CheriState(context);
      const rule = capabilityRules[name]!;
      return (hart: number, cd: number, cs1: number, cs2: number) => {
        const a = registerOrDdc(state, hart, cs1, c0IsDdc);
        const b = state.register(hart, cs2);
        if (!state.tagClearing) {
          const value = rule(a, cs1, b, cs2);
          if (value !== NONE) return context.trap(hart, Cause.Cheri, value);
        }
        state.setRegister(hart, cd, f(a, b, state.tagClearing));
      };
    },
  };
}

/** rd = f(cs1, cs2). `ddc` says which of them reads DDC as c0. */
function compare(f: (cs1: Raw, cs2: Raw) => bigint | boolean, ddc: "cs1" | "cs2" | "none", name?: string): Intrinsic {
  return {
    params: ["i32", "i32"],
    result: "i64",
    make: (context) => {
      const state = new CheriState(context);
      const rule = name === undefined ? undefined : capabilityRules[name];
      return (hart: number, cs1: number, cs2: number) => {
        const a = registerOrDdc(state, hart, cs1, ddc === "cs1");
        const b = registerOrDdc(state, hart, cs2, ddc === "cs2");
        if (rule !== undefined && !state.tagClearing) {
          const value = rule(a, cs1, b, cs2);
          if (value !== NONE) {
            context.trap(hart, Cause.Cheri, value);
            return 0n;
          }
        }
        return s64(BigInt(f(a, b)));
      };
    },
  };
}

const base = (cap: Raw): bigint => decodeBounds(cap.hi, cap.address).base;
const top = (cap: Raw): bigint => decodeBounds(cap.hi, cap.address).top;

function length(cap: Raw): bigint {
  const bounds = decodeBounds(cap.hi, cap.address);
  // Top may be below base when the tag is clear: 65 bits, wrapping.
  return saturate(BigInt.asUintN(65, bounds.top - bounds.base));
}

/** Checks a jump target and goes there: shared by all jumps that take a capability. */
function jumpTo(state: CheriState, context: IntrinsicContext, hart: number, register: number, target: Raw, address: bigint): boolean {
  const code = (cause: number): boolean => {
    context.trap(hart, Cause.Cheri, (register << 5) | cause);
    return false;
  };
  if ((permsOf(target.hi) & Perm.Execute) === 0) return code(CapCause.PermitExecute);
  return enter(state, hart, target, address, code);
}

/** The last two checks of a jump: base alignment and bounds of one parcel. */
function enter(state: CheriState, hart: number, target: Raw, address: bigint, code: (cause: number) => boolean): boolean {
  const bounds = decodeBounds(target.hi, target.address);
  if (state.relocation && (bounds.base & 1n) !== 0n) return code(CapCause.UnalignedBase);
  if (address < bounds.base || address + 2n > bounds.top) return code(CapCause.Length);
  return true;
}

const cjalr: Intrinsic = {
  params: ["i32", "i32", "i64", "i64"],
  result: "none",
  make: (context) => {
    const state = new CheriState(context);
    return (hart: number, cd: number, cs1: number, imm: bigint, nextPc: bigint) => {
      const target = state.register(hart, cs1);
      const value = cs1 << 5;
      if (!target.tag) return context.trap(hart, Cause.Cheri, value | CapCause.Tag);
      const otype = otypeOf(target.hi);
      if (otype !== OTYPE_UNSEALED && (otype !== OTYPE_SENTRY || imm !== 0n)) return context.trap(hart, Cause.Cheri, value | CapCause.Seal);
      const address = (target.address + imm) & MASK64 & ~1n;
      if (!jumpTo(state, context, hart, cs1, target, address)) return;
      state.setRegister(hart, cd, rawSealEntry(state.pcc(hart, nextPc)));
      state.jumpTo(hart, rawWithoutSeal(target), address);
    };
  },
};

const cjal: Intrinsic = {
  params: ["i32", "i64", "i64", "i64"],
  result: "none",
  make: (context) => {
    const state = new CheriState(context);
    return (hart: number, cd: number, imm: bigint, pc: bigint, nextPc: bigint) => {
      const pcc = state.pcc(hart, pc);
      const address = (pcc.address + imm) & MASK64;
      if (!rawInBounds(pcc, address, 2n)) return context.trap(hart, Cause.Cheri, (CapReg.Pcc << 5) | CapCause.Length);
      state.setRegister(hart, cd, rawSealEntry(state.pcc(hart, nextPc)));
      state.jumpTo(hart, pcc, address);
    };
  },
};

const cinvoke: Intrinsic = {
  params: ["i32", "i32"],
  result: "none",
  make: (context) => {
    const state = new CheriState(context);
    return (hart: number, n1: number, n2: number) => {
      const code = state.register(hart, n1);
      const data = state.register(hart, n2);
      const fail = (register: number, cause: number): boolean => {
        context.trap(hart, Cause.Cheri, (register << 5) | cause);
        return false;
      };
      if (!code.tag) return void fail(n1, CapCause.Tag);
      if (!data.tag) return void fail(n2, CapCause.Tag);
      const codeType = otypeOf(code.hi);
      const dataType = otypeOf(data.hi);
      if (codeType < 0) return void fail(n1, CapCause.Seal);
      if (dataType < 0) return void fail(n2, CapCause.Seal);
      if (codeType !== dataType) return void fail(n1, CapCause.Type);
      if ((permsOf(code.hi) & Perm.CInvoke) === 0) return void fail(n1, CapCause.PermitCInvoke);
      if ((permsOf(data.hi) & Perm.CInvoke) === 0) return void fail(n2, CapCause.PermitCInvoke);
      if ((permsOf(code.hi) & Perm.Execute) === 0) return void fail(n1, CapCause.PermitExecute);
      if ((permsOf(data.hi) & Perm.Execute) !== 0) return void fail(n2, CapCause.PermitExecute);
      const address = code.address & ~1n;
      if (!enter(state, hart, code, address, (cause) => fail(n1, cause))) return;
      state.setRegister(hart, 31, rawWithoutSeal(data));
      state.jumpTo(hart, rawWithoutSeal(code), address);
    };
  },
};

/** Registers of CSpecialRW beyond PCC and DDC, all of which need AccessSystemRegs: TCC, TDC, ScratchC and EPCC of S and M mode. */
const SYSTEM_REGISTERS: ReadonlySet<number> = new Set([12, 13, 14, 15, 28, 29, 30, 31]);
/** The same of U mode, on a machine that has more modes. */
const USER_REGISTERS: ReadonlySet<number> = new Set([4, 5, 6, 7]);
/** Lowest privilege that reaches a register beyond PCC and DDC. A machine with user mode only goes by AccessSystemRegs alone. */
const privilegeOf = (scr: number): number => scr >> 3;

const cspecialrw: Intrinsic = {
  params: ["i32", "i32", "i32", "i64"],
  result: "none",
  make: (context) => {
    const state = new CheriState(context);
    return (hart: number, cd: number, scr: number, cs1: number, pc: bigint) => {
      const { privileged, view } = context;
      const system =
        (SYSTEM_REGISTERS.has(scr) || (privileged && USER_REGISTERS.has(scr))) &&
        !(privileged && view.getInt32(hart + State.privilege, true) < privilegeOf(scr));
      if ((scr > 1 && !system) || (scr === 0 && cs1 !== 0)) return context.trap(hart, Cause.IllegalInstruction, 0);
      const pcc = state.pcc(hart, pc);
      if (system && (permsOf(pcc.hi) & Perm.AccessSystemRegs) === 0) {
        return context.trap(hart, Cause.Cheri, ((0x20 | scr) << 5) | CapCause.AccessSystemRegs);
      }
      const written = state.register(hart, cs1);
      const old = scr === 0 ? pcc : scr === 1 ? state.ddc(hart) : state.special(hart, scr);
      if (cs1 !== 0) {
        if (scr === 1) state.setDdc(hart, written);
        else state.setSpecial(hart, scr, written);
      }
      state.setRegister(hart, cd, old);
    };
  },
};

const cclear: Intrinsic = {
  params: ["i32"],
  result: "none",
  make: (context) => {
    const state = new CheriState(context);
    return (hart: number, mask: number) => {
      const first = (mask >> 8) * 8;
      for (let i = 0; i < 8; i += 1) {
        if ((mask & (1 << i)) === 0) continue;
        if (first + i === 0) state.setDdc(hart, rawNull());
        else state.setRegister(hart, first + i, rawNull());
      }
    };
  },
};

const fpclear: Intrinsic = {
  params: ["i32"],
  result: "none",
  make: (context) => {
    const state = new CheriState(context);
    return (hart: number, mask: number) => {
      const first = (mask >> 8) * 8;
      for (let i = 0; i < 8; i += 1) if ((mask & (1 << i)) !== 0) state.setFloat(hart, first + i, 0n);
    };
  },
};

const auipcc: Intrinsic = {
  params: ["i32", "i64", "i64"],
  result: "none",
  make: (context) => {
    const state = new CheriState(context);
    return (hart: number, cd: number, imm: bigint, pc: bigint) => {
      const pcc = state.pcc(hart, pc);
      state.setRegister(hart, cd, rawSetAddress(pcc, (pcc.address + imm) & MASK64));
    };
  },
};

const number = (f: (value: bigint) => bigint): Intrinsic => ({
  params: ["i64"],
  result: "i64",
  make: () => (_hart: number, value: bigint) => s64(f(u64(value))),
});

const table: IntrinsicTable = {
  cgetperm: inspect((cap) => permsOf(cap.hi)),
  cgettype: inspect((cap) => otypeOf(cap.hi)),
  cgetbase: inspect(base),
  cgetlen: inspect(length),
  cgettag: inspect((cap) => cap.tag),
  cgetsealed: inspect(rawIsSealed),
  cgetoffset: inspect((cap) => cap.address - base(cap)),
  cgetflags: inspect((cap) => flagOf(cap.hi)),
  cgethigh: inspect((cap) => cap.hi),
  cgettop: inspect((cap) => saturate(top(cap))),
  crrl: number(roundedLength),
  cram: number(alignmentMask),
  ctoptr: compare((cs1, cs2) => (cs1.tag ? cs1.address - base(cs2) : 0n), "cs2", "ctoptr"),
  ctestsubset: compare(rawIsSubset, "cs1"),
  cseqx: compare(rawEqual, "none"),
  cmove: change("cmove", (cap) => cap),
  ccleartag: change("ccleartag", (cap) => ({ ...cap, tag: false })),
  csealentry: change("csealentry", rawSealEntry),
  csetbounds: derive("csetbounds", (cap, n) => rawSetBounds(cap, n).capability),
  csetboundsexact: derive("csetboundsexact", (cap, n) => {
    const { capability, exact } = rawSetBounds(cap, n);
    return exact ? capability : { ...capability, tag: false };
  }),
  candperm: derive("candperm", (cap, n) => rawAndPerms(cap, Number(n & 0x7ffffn))),
  csetflags: derive("csetflags", (cap, n) => rawSetFlag(cap, Number(n & 1n))),
  csetoffset: derive("csetoffset", rawSetOffset),
  csetaddr: derive("csetaddr", rawSetAddress),
  cincoffset: derive("cincoffset", rawIncOffset),
  cfromptr: derive("cfromptr", (cap, n) => (n === 0n ? rawNull() : rawSetOffset(cap, n)), true),
  csethigh: derive("csethigh", (cap, n) => ({ tag: false, hi: n, address: cap.address })),
  cseal: combine("cseal", rawSeal),
  cunseal: combine("cunseal", rawUnseal),
  cbuildcap: combine("cbuildcap", rawBuildCap, true),
  ccopytype: combine("ccopytype", (cs1, cs2, tagClearing) => {
    const otype = otypeOf(cs2.hi);
    return !tagClearing && otype < 0 ? rawNull(u64(BigInt(otype))) : rawCopyType(cs1, cs2);
  }),
  ccseal: combine("ccseal", rawConditionalSeal),
  cclear,
  fpclear,
  cspecialrw,
  cjalr,
  cjal,
  cinvoke,
  auipcc,
  ...cheriMemoryIntrinsics,
};

/** Every intrinsic of the extension, by name. */
export const cheriIntrinsics: IntrinsicTable = Object.fromEntries(
  Object.entries(table).map(([name, intrinsic]) => [name, { ...intrinsic, ...(name in fastForms ? { fast: fastForms[name]! } : {}) }]),
);
