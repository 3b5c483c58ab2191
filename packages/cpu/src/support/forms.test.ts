import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CapReg } from "../abi.ts";
import { decodeBounds, MASK64 } from "../capability/encoding.ts";
import { rawAndPerms, rawSetBounds, type Raw } from "../capability/raw.ts";
import { Scr } from "../machine/layout.ts";
import { fastForms } from "./forms.ts";
import { anyState, authority, Comparison, near, number, register, usableState, type RandomState } from "./forms.test.support.ts";

const signed = (value: bigint): bigint => BigInt.asIntN(64, value);

/** What arguments are made of. */
interface Draw {
  readonly state: RandomState;
  readonly cd: number;
  readonly cs1: number;
  readonly cs2: number;
  readonly authority: number;
  readonly number: bigint;
  readonly which: number;
  readonly delta: bigint;
}
const drawOf = (state: fc.Arbitrary<RandomState>): fc.Arbitrary<Draw> =>
  fc.record({
    state,
    cd: register,
    cs1: register,
    cs2: register,
    authority,
    number,
    which: fc.integer({ min: 0, max: 11 }),
    delta: fc.oneof(fc.constant(0n), fc.bigInt({ min: -20n, max: 20n })),
  });
type Arguments = (d: Draw) => (number | bigint)[];

const cs1Of = (d: Draw): Raw => d.state.registers[d.cs1]!;
/** Near an edge of cs1's bounds or space, or any number. */
const target = (d: Draw): bigint => (d.which > 8 ? d.number : near(cs1Of(d), d.which, d.delta));
const from =
  (origin: (cap: Raw) => bigint): Arguments =>
  (d) => [d.cd, d.cs1, signed(target(d) - origin(cs1Of(d)))];
const base = (cap: Raw): bigint => decodeBounds(cap.hi, cap.address).base;
/** Offset of an access: at the authority's address, near its bounds, or anywhere. */
const offset = (d: Draw, number = d.authority): bigint => {
  const cap = number === CapReg.Ddc ? d.state.ddc : d.state.registers[number]!;
  if (d.which < 3) return 0n;
  if (d.which < 4) return signed(d.delta);
  if (d.which < 6) return signed(16n * d.delta);
  return signed((d.which > 8 ? d.number : near(cap, d.which % 3, d.delta)) - cap.address);
};
/** An offset from PCC's base: where the pc is, or near its bounds. */
const pc = (d: Draw, which = 0): bigint => {
  const { pcc } = d.state;
  return signed((which < 6 ? pcc.address : near(pcc, which, d.delta)) - base(pcc));
};

/** What leads from a pc to somewhere near PCC's bounds, or anywhere. */
const toTarget = (d: Draw, at: bigint, delta: bigint): bigint => {
  const { pcc } = d.state;
  return signed((d.which < 2 ? d.number : near(pcc, d.which % 3, delta)) - base(pcc) - at);
};

const inspect: Arguments = (d) => [d.cs1];
const change: Arguments = (d) => [d.cd, d.cs1];
const combine: Arguments = (d) => [d.cd, d.cs1, d.cs2];
const load: Arguments = (d) => [d.authority, offset(d)];
const store: Arguments = (d) => [d.authority, offset(d), signed(d.number)];

/** Arguments of each intrinsic behind the state block. */
const ARGUMENTS: Readonly<Record<string, Arguments>> = {
  // All but the time, which moves.
  csrRead: (d) => [[0x001, 0x002, 0x003, 0xc00, 0xc02, 0x8c0, 0x300][d.which % 7]!, d.which & 1],
  csrWrite: (d) => [[0x001, 0x002, 0x003][d.which % 3]!, signed(d.number), pc(d)],
  cgetperm: inspect,
  cgettype: inspect,
  cgetbase: inspect,
  cgetlen: inspect,
  cgettop: inspect,
  cgettag: inspect,
  cgetsealed: inspect,
  cgetoffset: inspect,
  cgetflags: inspect,
  cgethigh: inspect,
  crrl: (d) => [signed(d.number)],
  cram: (d) => [signed(d.number)],
  cmove: change,
  ccleartag: change,
  csealentry: change,
  csetaddr: from(() => 0n),
  cincoffset: from((cap) => cap.address),
  csetoffset: from(base),
  cfromptr: (d) => {
    const cap = d.cs1 === 0 ? d.state.ddc : cs1Of(d);
    return [d.cd, d.cs1, d.which === 11 ? 0n : signed((d.which > 8 ? d.number : near(cap, d.which, d.delta)) - base(cap))];
  },
  csetbounds: (d) => [d.cd, d.cs1, signed(d.which < 6 ? near(cs1Of(d), d.which % 2, d.delta) - cs1Of(d).address : d.number)],
  csetboundsexact: (d) => [d.cd, d.cs1, signed(d.which < 6 ? near(cs1Of(d), d.which % 2, d.delta) - cs1Of(d).address : d.number)],
  candperm: (d) => [d.cd, d.cs1, signed(d.which < 6 ? MASK64 ^ d.number : d.number)],
  csetflags: (d) => [d.cd, d.cs1, signed(d.number)],
  ctoptr: (d) => [d.cs1, d.cs2],
  ctestsubset: (d) => [d.cs1, d.cs2],
  cseqx: (d) => [d.cs1, d.cs2],
  cclear: (d) => [Number(d.number & 0x3ffn)],
  fpclear: (d) => [Number(d.number & 0x3ffn)],
  cseal: combine,
  cunseal: combine,
  cload: (d) => [d.authority, offset(d), [4, 8, 4, 1][d.which & 3]!, d.which === 2 ? 6 : 7],
  cloadres: (d) => [d.authority, offset(d), [4, 8, 2, 8][d.which & 3]!],
  cstorecond: (d) => [d.authority, offset(d), [4, 8, 4, 1][d.which & 3]!, signed(d.number)],
  cload1: load,
  cload2: load,
  cload4: load,
  cload8: load,
  cstore1: store,
  cstore2: store,
  cstore4: store,
  cstore8: store,
  cloadcap: (d) => [d.cd, d.authority, offset(d) & (d.which === 1 ? -1n : -16n), d.which & 1],
  cstorecap: (d) => [d.cs2, d.authority, offset(d) & (d.which === 1 ? -1n : -16n)],
  cloadtags: inspect,
  cstorecondcap: (d) => [d.cs2, d.authority, offset(d) & (d.which === 1 ? -1n : -16n)],
  cswapcap: (d) => [d.cd, d.cs2, d.authority, offset(d) & (d.which === 1 ? -1n : -16n)],
  cjalr: (d) => [d.cd, d.cs1, d.which < 6 ? 0n : d.delta, pc(d)],
  cjal: (d) => [d.cd, toTarget(d, pc(d), d.delta & -2n), pc(d), pc(d, d.which)],
  cinvoke: (d) => [d.cs1, d.cs2],
  auipcc: (d) => [d.cd, toTarget(d, pc(d, d.which), d.delta), pc(d, d.which)],
  cspecialrw: (d) => [d.cd, d.which < 4 ? Scr.Ddc : d.which < 7 ? Scr.Pcc : d.which < 10 ? Scr.SscratchC : d.which + 18, d.cs1, pc(d)],
};

/** Those that access memory or jump; the others compute. */
const USES = /^c(load|store|swap|j|invoke)|^auipcc|^cspecialrw/u;
/** Those that can raise an exception. */
const RAISES = /^c(load|store|swap|j|invoke|specialrw)/u;
const draws = { any: drawOf(anyState), usable: drawOf(usableState) };

const RUNS = 1500;
const names = Object.keys(fastForms);

/** A PCC that differs from the target of a jump in one respect: not at all, mode, a permission, or where the same encoding stands. */
function pccLike(target: Raw, which: number): Raw {
  const { hi, address } = target;
  const unsealed = hi & ~(0x3ffffn << 27n);
  if (which === 2) return { tag: true, hi: unsealed, address };
  if (which === 3) return { tag: true, hi: unsealed ^ (1n << 45n), address };
  if (which === 4) return { tag: true, hi: unsealed ^ (4n << 48n), address };
  return { tag: true, hi: unsealed, address: (address + 0x8000n) & MASK64 };
}

/** In many cases cs2 of CUnseal and CInvoke fits cs1, PCC is like the target of a jump, and a store-conditional fits its reservation. */
function related(name: string, d: Draw): Draw {
  if (d.which > 7) return d;
  if (name.startsWith("cstorecond")) {
    const from = d.authority === CapReg.Ddc ? d.state.ddc : d.state.registers[d.authority]!;
    const by = name === "cstorecond" ? offset(d) : offset(d) & -16n;
    return { ...d, state: { ...d.state, reservation: (from.address + by) & MASK64 } };
  }
  const pcc = /^c(jalr|invoke)$/u.test(name) && d.which > 1 ? pccLike(cs1Of(d), d.which) : d.state.pcc;
  const registers = d.state.registers.slice();
  const cap = registers[d.cs1]!;
  const otype = (cap.hi >> 27n) & 0x3ffffn;
  const other = registers[d.cs2]!;
  // From the lowest unit of the representable space to below it, and the other way round.
  if (/^c(incoffset|setoffset|setaddr)$/u.test(name) && d.which === 3) {
    const distance = d.delta < 0n ? -d.delta : d.delta;
    registers[d.cs1] = { tag: true, hi: cap.hi & ~(0x3ffffn << 27n), address: near(cap, 3, d.number % 2n === 0n ? distance : -d.delta) };
  }
  // Often the same capability, or one made from it.
  if (/^c(testsubset|seqx|toptr)$/u.test(name) && d.which > 4) registers[d.cs2] = d.which === 5 ? { ...cap, tag: !cap.tag } : cap;
  if (name === "ctestsubset" && d.which === 7)
    registers[d.cs2] = rawAndPerms(rawSetBounds(cap, d.number % 64n).capability, Number(d.number));
  if (name === "cunseal") registers[d.cs2] = { ...other, address: ((otype ^ 0x3ffffn) + (d.which === 0 ? d.delta : 0n)) & MASK64 };
  else if (name === "cinvoke" && d.cs1 !== d.cs2) {
    const hi = (bits: bigint, keep: bigint): bigint => (bits & ~(0x3ffffn << 27n)) | (keep << 27n);
    // Execute permission is bit 1: the data must not have it.
    const mine = d.which === 0 ? otype : 0x3fff0n - BigInt(d.which);
    registers[d.cs1] = { ...cap, hi: hi(cap.hi, mine) };
    const theirs = d.which === 1 ? 0x3fff1n : mine;
    registers[d.cs2] = { ...other, hi: hi(other.hi, theirs) & (d.which < 6 ? ~(2n << 48n) : -1n) & MASK64 };
  }
  registers[0] = { hi: 0n, address: 0n, tag: false };
  return { ...d, state: { ...d.state, registers, pcc } };
}

describe.each([
  { options: {}, runs: RUNS },
  { options: { checkLoads: false }, runs: 150 },
  { options: { relocation: false }, runs: 150 },
  { options: { tagClearing: false }, runs: 150 },
  { options: { privileged: true }, runs: 150 },
])("in WebAssembly as in TypeScript: $options", ({ options, runs }) => {
  const comparison = new Comparison(options);
  test("the forms that this machine uses", () => {
    const expected = names.filter((name) => {
      const { relocation, tagClearing, unprivileged } = fastForms[name]!;
      const no = options as { relocation?: boolean; tagClearing?: boolean; privileged?: boolean };
      if (unprivileged === true && no.privileged === true) return false;
      return !(relocation === true && no.relocation === false) && !(tagClearing === true && no.tagClearing === false);
    });
    expect(comparison.fastNames.toSorted()).toEqual(expected.toSorted());
    expect(Object.keys(ARGUMENTS).toSorted()).toEqual(names.toSorted());
  });
  test.each(names)("%s", (name) => {
    fc.assert(
      fc.property(USES.test(name) ? draws.usable : draws.any, (drawn) => {
        const d = related(name, drawn);
        comparison.check(name, ARGUMENTS[name]!(d), d.state);
      }),
      { numRuns: runs },
    );
    if (runs < RUNS) return;
    // Both ways are taken often enough to be compared; exceptions are the TypeScript form's.
    expect(runs - (comparison.fallbacks.get(name) ?? 0)).toBeGreaterThan(runs / 50);
    if (RAISES.test(name)) expect(comparison.exceptions.get(name)).toBeGreaterThan(runs / 50);
  });
});
