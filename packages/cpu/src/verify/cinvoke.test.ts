import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CapCause, Cause, Exit, Perm } from "../abi.ts";
import { rawAndPerms, rawNull, rawSetAddress, rawWithoutSeal, type Raw } from "../capability/raw.ts";
import { ENGINES } from "../engines.test.support.ts";
import { RWC, sealedWith, within } from "./capabilities.ts";
import { CODE, DATA, instruction, MORE_DATA, REGION, type Case, type Instruction } from "./case.ts";
import { caseOf, forAll } from "./check.test.support.ts";
import { describeCase, subjectOf } from "./report.ts";
import { same, show } from "./subject.ts";

const [CODE_REGISTER, DATA_REGISTER, GIVEN] = [8, 9, 31];
/** The callee's instructions stand here. */
const CALLEE = CODE + 0x100;
const CALLEE_BYTES = 0x80;

/** Checks of CInvoke in the order of the specification: what breaks one, in which register it is found, and how. */
const DEFECTS: readonly {
  readonly name: string;
  readonly register: number;
  readonly cause: number;
  readonly breaks: (pair: Pair) => void;
}[] = [
  { name: "code without tag", register: CODE_REGISTER, cause: CapCause.Tag, breaks: (pair) => (pair.code.tag = false) },
  { name: "data without tag", register: DATA_REGISTER, cause: CapCause.Tag, breaks: (pair) => (pair.data.tag = false) },
  { name: "code not sealed", register: CODE_REGISTER, cause: CapCause.Seal, breaks: (pair) => (pair.code.otype = undefined) },
  { name: "data not sealed", register: DATA_REGISTER, cause: CapCause.Seal, breaks: (pair) => (pair.data.otype = undefined) },
  {
    name: "different types",
    register: CODE_REGISTER,
    cause: CapCause.Type,
    breaks: (pair) => pair.data.otype !== undefined && (pair.data.otype += 1),
  },
  {
    name: "code not to be invoked",
    register: CODE_REGISTER,
    cause: CapCause.PermitCInvoke,
    breaks: (pair) => (pair.code.without |= Perm.CInvoke),
  },
  {
    name: "data not to be invoked",
    register: DATA_REGISTER,
    cause: CapCause.PermitCInvoke,
    breaks: (pair) => (pair.data.without |= Perm.CInvoke),
  },
  {
    name: "code not executable",
    register: CODE_REGISTER,
    cause: CapCause.PermitExecute,
    breaks: (pair) => (pair.code.without |= Perm.Execute),
  },
  {
    name: "data executable",
    register: DATA_REGISTER,
    cause: CapCause.PermitExecute,
    breaks: (pair) => (pair.data.without &= ~Perm.Execute),
  },
  { name: "odd base", register: CODE_REGISTER, cause: CapCause.UnalignedBase, breaks: (pair) => (pair.oddBase = true) },
  { name: "code outside of its bounds", register: CODE_REGISTER, cause: CapCause.Length, breaks: (pair) => (pair.outside = true) },
];

interface Half {
  tag: boolean;
  otype: number | undefined;
  without: number;
}
interface Pair {
  readonly code: Half;
  readonly data: Half;
  oddBase: boolean;
  outside: boolean;
}
function halves(defects: number): { readonly code: Raw; readonly data: Raw } {
  const pair: Pair = {
    code: { tag: true, otype: 20, without: 0 },
    data: { tag: true, otype: 20, without: Perm.Execute },
    oddBase: false,
    outside: false,
  };
  DEFECTS.forEach(({ breaks }, index) => {
    if (((defects >> index) & 1) === 1) breaks(pair);
  });
  const perms = Perm.Execute | Perm.Load | Perm.CInvoke | Perm.Global;
  const start = CALLEE + (pair.oddBase ? 1 : 0);
  const make = (half: Half, cap: Raw): Raw => {
    const limited = rawAndPerms(cap, Perm.All & ~half.without);
    return { ...(half.otype === undefined ? limited : sealedWith(limited, half.otype)), tag: half.tag };
  };
  return {
    code: make(pair.code, within(start, CALLEE_BYTES, perms, pair.outside ? CALLEE_BYTES : pair.oddBase ? 1 : 0)),
    data: make(pair.data, within(MORE_DATA, 0x100, RWC | Perm.CInvoke | Perm.Execute)),
  };
}

/** The caller's program, filled up with ecalls to where the callee's begins. */
function withCallee(caller: readonly Instruction[], callee: readonly Instruction[]): readonly Instruction[] {
  const ecall = instruction("ecall");
  return [...caller, ...Array.from({ length: (CALLEE - CODE) / 4 - caller.length }, () => ecall), ...callee, ecall];
}
const invoke = instruction("cinvoke", { rs1: CODE_REGISTER, rs2: DATA_REGISTER });
const marker = (value: number): Instruction => instruction("addi", { rd: 5, rs1: 0, imm: value });

describe.each(ENGINES)("CInvoke on the %s", (engine) => {
  test("with any combination of what is wrong the first check that fails is the one that is reported, and nothing happens", () => {
    const subject = subjectOf({ engine });
    const program = withCallee([invoke, marker(1)], [marker(2)]);
    for (let defects = 0; defects < 1 << DEFECTS.length; defects++) {
      const { code, data } = halves(defects);
      const before = caseOf(program, { registers: { [CODE_REGISTER]: code, [DATA_REGISTER]: data } });
      subject.prepare(before);
      const exit = subject.hart.run(100);
      const names = DEFECTS.filter((_, index) => ((defects >> index) & 1) === 1).map(({ name }) => name);
      const first = DEFECTS.find((_, index) => ((defects >> index) & 1) === 1);
      const what = names.length === 0 ? "a good pair" : names.join(", ");
      if (first === undefined) {
        expect(exit, what).toBe(Exit.Ecall);
        expect(subject.hart.getX(5), what).toBe(2n);
        expect(same(subject.register(GIVEN), rawWithoutSeal(data)), what).toBe(true);
        continue;
      }
      expect(exit, what).toBe(Exit.Trap);
      // Types that differ are found in the code's register; not sealed at all is found before.
      expect([subject.hart.trapCause, Number(subject.trapValue)], what).toEqual([Cause.Cheri, (first.register << 5) | first.cause]);
      expect(subject.register(GIVEN).tag, what).toBe(false);
      expect(same({ ...subject.special(0), address: 0n }, { ...before.pcc, address: 0n }), what).toBe(true);
      expect(subject.pc, what).toBe(BigInt(CODE));
    }
  });

  test("needs the same type in both, whatever the types are", () => {
    const subject = subjectOf({ engine });
    const program = withCallee([invoke], [marker(2)]);
    const otype = fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 0x3fffb }));
    const start = ([code, data]: readonly [number, number]): Case => {
      const open = halves(0);
      const registers = {
        [CODE_REGISTER]: sealedWith(rawWithoutSeal(open.code), code),
        [DATA_REGISTER]: sealedWith(rawWithoutSeal(open.data), data),
      };
      return caseOf(program, { registers });
    };
    forAll(
      fc.oneof(
        fc.tuple(otype, otype),
        otype.map((one) => [one, one] as const),
      ),
      1000,
      ([code, data]) => {
        subject.prepare(start([code, data]));
        const exit = subject.hart.run(10);
        expect(exit, `${code} and ${data}`).toBe(code === data ? Exit.Ecall : Exit.Trap);
        if (code !== data) expect(subject.trapValue).toBe(BigInt((CODE_REGISTER << 5) | CapCause.Type));
      },
      (types) => describeCase(start(types)),
    );
  });

  test("an ecall after it acts for the callee: PCC and DDC are the callee's, in loops of thousands of calls too", () => {
    const subject = subjectOf({ engine });
    const { code, data } = halves(0);
    // The callee takes its data as DDC, counts in x6, and calls the system in the round that x7 says; otherwise it returns.
    const callee = [
      instruction("cspecialrw", { rd: 0, imm: 1, rs1: GIVEN }),
      instruction("addi", { rd: 6, rs1: 6, imm: 1 }),
      instruction("sw", { rs1: 0, rs2: 6, imm: 16 }),
      instruction("bne", { rs1: 6, rs2: 7 }, 2),
      instruction("ecall"),
      instruction("cinvoke", { rs1: 18, rs2: 19 }),
    ];
    // The caller gets its own DDC back through the pair that it gave the callee to return with.
    const caller = [
      instruction("addi", { rd: 5, rs1: 5, imm: 1 }),
      instruction("sw", { rs1: 0, rs2: 5, imm: 0 }),
      invoke,
      instruction("cspecialrw", { rd: 0, imm: 1, rs1: GIVEN }),
      instruction("lw", { rd: 20, rs1: 0, imm: 0 }),
      instruction("bne", { rs1: 5, rs2: 22 }, -5),
      instruction("ecall"),
    ];
    const perms = Perm.Execute | Perm.Load | Perm.CInvoke | Perm.Global;
    const own = within(DATA, 0x100, RWC | Perm.CInvoke);
    const program = withCallee(caller, callee);
    const ROUNDS = 4000;
    const callerPcc = within(CODE, 0x80, perms);
    const start = caseOf(program, {
      registers: {
        [CODE_REGISTER]: code,
        [DATA_REGISTER]: data,
        7: rawNull(BigInt(ROUNDS - 1)),
        18: sealedWith(rawSetAddress(callerPcc, BigInt(REGION + CODE + 4 * 3)), 21),
        19: sealedWith(own, 21),
        22: rawNull(BigInt(ROUNDS)),
      },
      ddc: own,
      pcc: callerPcc,
    });
    subject.prepare(start);
    const at = (cap: Raw): string => show({ ...cap, address: 0n });
    // In the callee: its system call is its own.
    expect(subject.hart.run(100_000)).toBe(Exit.Ecall);
    expect(subject.hart.getX(6)).toBe(BigInt(ROUNDS - 1));
    expect(show(subject.special(1))).toBe(show(rawWithoutSeal(data)));
    expect(at(subject.special(0))).toBe(at(rawWithoutSeal(code)));
    expect(subject.pc).toBe(BigInt(4 * 4));
    expect(subject.hart.pcc.base).toBe(BigInt(REGION + CALLEE));
    expect(subject.granule(REGION + MORE_DATA + 16).address & 0xffff_ffffn).toBe(BigInt(ROUNDS - 1));
    // Back in the caller: its own again.
    subject.pc += 4n;
    expect(subject.hart.run(100_000)).toBe(Exit.Ecall);
    expect(show(subject.special(1))).toBe(show(own));
    expect(at(subject.special(0))).toBe(at(callerPcc));
    expect(subject.hart.getX(20)).toBe(BigInt(ROUNDS));
    expect(subject.hart.getX(6)).toBe(BigInt(ROUNDS));
  });
});
