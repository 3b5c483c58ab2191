/** WebAssembly forms of the intrinsics that read and derive capabilities in registers. */
import { OTYPE_MAX, Perm } from "../abi.ts";
import { BOUNDS_MASK, NULL_HI } from "../capability/encoding.ts";
import { Cap, F, X } from "../machine/layout.ts";
import type { Label } from "../wasm/code.ts";
import type { Value } from "../wasm/function.ts";
import { LAST_TAG, OTYPE_MASK, permBit, SENTRY, type FastForm, type Form } from "./form.ts";

const OTYPE_SHIFT = 27;
/** An otype in its 18 bits and the same in memory differ by all of them. */
const OTYPE_BITS = 0x3ffff;
const FLAG_SHIFT = 45;

/** rd = a number read from cs1's metadata; `none` where it has none: NULL with an address. */
function inspect(none: (f: Form, cs1: Value) => Value, read: (f: Form, at: Value, cs1: Value) => Value): FastForm {
  return {
    emit: (f) => {
      const cs1 = f.params[1]!;
      f.if(f.hasMetadata(cs1).eqz(), () => f.return(none(f, cs1)));
      f.result(read(f, f.metadataOf(cs1), cs1));
    },
  };
}
const zero = (f: Form): Value => f.i64(0);
const ones = (f: Form): Value => f.i64(-1);
const field = (f: Form, at: Value, shift: number, mask: number): Value => f.hi(at).shr(shift).and(mask);
const sealed = (hi: Value): Value => hi.and(OTYPE_MASK).ne(0);
const unsealed = (hi: Value): Value => hi.and(OTYPE_MASK).eqz();

const inspection: Readonly<Record<string, FastForm>> = {
  cgetperm: inspect(zero, (f, at) => {
    const perms = f.let(f.hi(at).shr(48));
    return perms.shr(12).shl(15).or(perms.and(0xfff));
  }),
  cgettype: inspect(ones, (f, at) => {
    const otype = f.let(field(f, at, OTYPE_SHIFT, OTYPE_BITS).xor(OTYPE_BITS));
    return otype.gt(OTYPE_MAX).select(otype.sub(OTYPE_BITS + 1), otype);
  }),
  cgetbase: inspect(zero, (f, at) => f.base(at)),
  cgettop: inspect(ones, (f, at) => f.topHi(at).select(f.i64(-1), f.top(at))),
  cgetlen: inspect(ones, (f, at) => {
    // 65 bits, wrapping; more than 64 are given as the most.
    const [base, top] = [f.let(f.base(at)), f.let(f.top(at))];
    return f.topHi(at).ne(top.lt(base)).select(f.i64(-1), top.sub(base));
  }),
  cgettag: inspect(zero, (f, at) => f.tag(at).extend()),
  cgetsealed: inspect(zero, (f, at) => sealed(f.hi(at)).extend()),
  cgetoffset: inspect(
    (f, cs1) => f.x(cs1),
    (f, at, cs1) => f.x(cs1).sub(f.base(at)),
  ),
  cgetflags: inspect(zero, (f, at) => field(f, at, FLAG_SHIFT, 1)),
  cgethigh: inspect(zero, (f, at) => f.hi(at)),
};

/** A register without metadata as the result: NULL with an address. */
function setNull(f: Form, cd: Value, address: Value): void {
  f.setX(cd, address);
  f.dropMetadata(cd);
}

/** cd = cs1 with other bits of `hi`, none of them of the bounds, and perhaps without its tag. */
function change(derive: (f: Form, cap: { hi: Value; last: Value; address: Value }) => { hi: Value; last: Value }): FastForm {
  return {
    tagClearing: true,
    emit: (f) => {
      const [cd, cs1] = [f.params[1]!, f.params[2]!];
      f.if(cd.eqz(), () => f.return());
      f.orSlow((slow) => {
        f.leave(slow, f.hasMetadata(cs1).eqz());
        const cap = f.whole(f.metadataOf(cs1), f.x(cs1));
        const { hi, last } = derive(f, cap);
        f.setWhole(cd, { ...cap, hi: f.let(hi), last: f.let(last) });
        f.return();
      });
    },
  };
}
/** As {@link change} for what leaves NULL as it is. */
function copy(last: (f: Form, last: Value) => Value): FastForm {
  return {
    emit: (f) => {
      const [cd, cs1] = [f.params[1]!, f.params[2]!];
      f.if(cd.eqz(), () => f.return());
      f.if(
        f.hasMetadata(cs1).eqz(),
        () => setNull(f, cd, f.x(cs1)),
        () => {
          const cap = f.whole(f.metadataOf(cs1), f.x(cs1));
          f.setWhole(cd, { ...cap, last: f.let(last(f, cap.last)) });
        },
      );
    },
  };
}

/** What {@link move} is told of the new address. */
interface Move {
  readonly f: Form;
  readonly at: Value;
  readonly old: Value;
  readonly operand: Value;
}

/**
 * cd = cs1 at another address. Inside of [base, top) bounds never change (the space that an encoding can represent reaches at least
 * an eighth of it below base and above top), so a tagged and unsealed capability keeps everything but its address. Elsewhere the
 * bounds are decoded again, and the tag stays if it is unsealed and the address representable by the instruction's test.
 * `fromPointer`: CFromPtr, where c0 is DDC, and 0 gives NULL.
 */
function move(
  { exact = false, fromPointer = false }: { readonly exact?: boolean; readonly fromPointer?: boolean },
  address: (move: Move) => Value,
  withoutMetadata: (move: Move) => Value,
): FastForm {
  return {
    tagClearing: true,
    emit: (f) => {
      const [, cd, cs1, operand] = f.params as [Value, Value, Value, Value];
      f.if(cd.eqz(), () => f.return());
      const at = f.metadataOf(cs1);
      const old = f.let(f.x(cs1));
      const facts: Move = { f, at, old, operand };
      const has = f.let(f.hasMetadata(cs1));
      if (fromPointer) {
        f.if(cs1.eqz(), () => {
          const { ddc } = f;
          f.set(at, ddc);
          f.set(old, f.load64(ddc, Cap.address));
          f.set(has, f.i32(1));
        });
        f.set(has, operand.ne(0).select(has, 0));
      }
      f.if(has.eqz(), () => {
        setNull(f, cd, f.let(withoutMetadata(facts)));
        f.return();
      });
      const next = f.let(address(facts));
      const cap = f.whole(at, next);
      f.if(cap.last.and(LAST_TAG).ne(0).and(unsealed(cap.hi)).and(f.within(cap, next)), () => {
        f.setX(cd, next);
        f.keepMetadata(cd);
        f.storeMetadata(f.metadataOf(cd), cap.hi, cap.base, cap.top, cap.last);
        f.return();
      });
      const tag = f.let(cap.last.shr(32).wrap().and(unsealed(cap.hi)));
      if (!exact) f.set(tag, tag.and(f.call("i32", f.helpers.representable, [cap.hi, old, next])));
      f.setDecoded(cd, cap.hi, next, tag);
      if (!exact) return;
      // The exact test: the bounds are the same as before. NULL's are, wherever it is, so there is metadata if the tag was set.
      f.if(tag, () => {
        const result = f.metadataOf(cd);
        const same = f.base(result).eq(cap.base).and(f.top(result).eq(cap.top)).and(f.last(result).eq(cap.last));
        f.if(same.eqz(), () => {
          const { hi, base, top, last } = f.whole(result, next);
          f.setWhole(cd, { hi, base, top, last: f.let(last.and(0xffff_ffff)), address: next });
        });
      });
    },
  };
}

/** cd = cs1 with the bounds [address, address + length). `inexact`: whether the tag stays when they had to be rounded. */
function setBounds(inexact: boolean): FastForm {
  return {
    tagClearing: true,
    emit: (f) => {
      const [, cd, cs1, length] = f.params as [Value, Value, Value, Value];
      f.if(cd.eqz(), () => f.return());
      f.orSlow((slow) => {
        f.leave(slow, f.hasMetadata(cs1).eqz());
        const old = f.whole(f.metadataOf(cs1), f.x(cs1));
        const { address } = old;
        const top = f.let(address.add(length));
        const topHi = f.let(top.lt(address));
        const oldTopHi = f.let(old.last.wrap());
        const bits = f.let(f.call("i32", f.helpers.encode, [address, length]));
        const hi = f.let(old.hi.xor(NULL_HI).and(~BOUNDS_MASK).or(bits.extend().and(BOUNDS_MASK)).xor(NULL_HI));
        // 65 bits: top is not above the old one.
        const below = topHi.lt(oldTopHi).or(topHi.eq(oldTopHi).and(top.le(old.top)));
        const tag = f.let(old.last.shr(32).wrap().and(unsealed(hi)).and(address.ge(old.base)).and(below));
        const exact = f.let(bits.shr(31));
        if (!inexact) f.set(tag, tag.and(exact));
        // Large ones may be cut where they wrap: decoded like those that were rounded.
        f.if(
          exact.and(length.shr(48).eqz()),
          () =>
            f.setWhole(cd, {
              hi,
              base: address,
              top,
              last: f.let(topHi.extend().or(tag.extend().shl(32))),
              address,
            }),
          () => f.setDecoded(cd, hi, address, tag),
        );
        f.return();
      });
    },
  };
}

/** cd = what `derive` makes of cs1 and the authority cs2; both have metadata. */
function authorised(
  derive: (f: Form, cap: { hi: Value; last: Value }, authority: Value, address: Value) => { hi: Value; tag: Value },
): FastForm {
  return {
    tagClearing: true,
    emit: (f) => {
      const [, cd, cs1, cs2] = f.params as [Value, Value, Value, Value];
      f.if(cd.eqz(), () => f.return());
      f.orSlow((slow) => {
        f.leave(slow, f.hasMetadata(cs1).and(f.hasMetadata(cs2)).eqz());
        const cap = f.whole(f.metadataOf(cs1), f.x(cs1));
        const at = f.metadataOf(cs2);
        const address = f.let(f.x(cs2));
        const { hi, tag } = derive(f, cap, at, address);
        f.setWhole(cd, { ...cap, hi: f.let(hi), last: f.let(f.lastIf(cap.last, tag)) });
        f.return();
      });
    },
  };
}
/** i32: a tagged, unsealed authority with a permission, its address in bounds. */
function permits(f: Form, at: Value, address: Value, perm: number): Value {
  const bits = OTYPE_MASK | permBit(perm);
  return f
    .tag(at)
    .and(f.hi(at).and(bits).eq(permBit(perm)))
    .and(f.inside(at, address));
}

const derivation: Readonly<Record<string, FastForm>> = {
  cmove: copy((_, last) => last),
  ccleartag: copy((_, last) => last.and(0xffff_ffff)),
  csealentry: change((f, { hi, last }) => ({ hi: hi.and(~OTYPE_MASK).or(SENTRY), last: f.lastIf(last, unsealed(hi)) })),
  candperm: change((f, { hi, last }) => {
    const mask = f.params[3]!;
    const perms = mask.and(0xfff).or(mask.shr(15).and(0xf).shl(12));
    return { hi: hi.and(perms.shl(48).or(0xffff_ffff_ffffn)), last: f.lastIf(last, unsealed(hi)) };
  }),
  csetflags: change((f, { hi, last }) => ({
    hi: hi.and(~(1n << BigInt(FLAG_SHIFT))).or(f.params[3]!.and(1).shl(FLAG_SHIFT)),
    last: f.lastIf(last, unsealed(hi)),
  })),
  cincoffset: move(
    {},
    ({ old, operand }) => old.add(operand),
    ({ old, operand }) => old.add(operand),
  ),
  csetaddr: move(
    { exact: true },
    ({ operand }) => operand,
    ({ operand }) => operand,
  ),
  csetoffset: move(
    {},
    ({ f, at, operand }) => f.base(at).add(operand),
    ({ operand }) => operand,
  ),
  cfromptr: move(
    { fromPointer: true },
    ({ f, at, operand }) => f.base(at).add(operand),
    ({ operand }) => operand,
  ),
  csetbounds: setBounds(true),
  csetboundsexact: setBounds(false),
  cseal: authorised((f, { hi }, authority, address) => ({
    hi: hi.and(~OTYPE_MASK).or(address.and(OTYPE_BITS).xor(OTYPE_BITS).shl(OTYPE_SHIFT)),
    tag: unsealed(hi)
      .and(permits(f, authority, address, Perm.Seal))
      .and(address.le(OTYPE_MAX)),
  })),
  cunseal: authorised((f, { hi }, authority, address) => {
    const otype = f.let(hi.shr(OTYPE_SHIFT).and(OTYPE_BITS).xor(OTYPE_BITS));
    const global = f.hi(authority).and(permBit(Perm.Global)).or(~permBit(Perm.Global));
    return {
      hi: hi.and(~OTYPE_MASK).and(global),
      tag: otype
        .le(OTYPE_MAX)
        .and(otype.eq(address))
        .and(permits(f, authority, address, Perm.Unseal)),
    };
  }),
};

/** A register, or DDC for c0: where its metadata stand, and its address; leaves to `slow` when it is a register without metadata. */
function registerOrDdc(f: Form, slow: Label, number: Value): { at: Value; address: Value } {
  const at = f.let(f.i32(0));
  const address = f.let(f.i64(0));
  f.if(
    number,
    () => {
      f.leave(slow, f.hasMetadata(number).eqz());
      f.set(at, f.metadataOf(number));
      f.set(address, f.x(number));
    },
    () => {
      const { ddc } = f;
      f.set(at, ddc);
      f.set(address, f.load64(ddc, Cap.address));
    },
  );
  return { at, address };
}

const twoOperands: Readonly<Record<string, FastForm>> = {
  // cs1, cs2; c0 as cs2 is DDC. Without metadata cs1 is not tagged, so the result is 0.
  ctoptr: {
    tagClearing: true,
    emit: (f) => {
      const [, cs1, cs2] = f.params as [Value, Value, Value];
      f.block((slow) => {
        f.if(f.hasMetadata(cs1).eqz(), () => f.return(f.i64(0)));
        const { at } = registerOrDdc(f, slow, cs2);
        f.return(f.tag(f.metadataOf(cs1)).select(f.x(cs1).sub(f.base(at)), f.i64(0)));
      });
      f.slow();
    },
  },
  // cs1, cs2; c0 as cs1 is DDC.
  ctestsubset: {
    emit: (f) => {
      const [, cs1, cs2] = f.params as [Value, Value, Value];
      f.block((slow) => {
        const { at: outer } = registerOrDdc(f, slow, cs1);
        f.leave(slow, f.hasMetadata(cs2).eqz());
        const inner = f.metadataOf(cs2);
        const more = f
          .topHi(inner)
          .gt(f.topHi(outer))
          .or(
            f
              .topHi(inner)
              .eq(f.topHi(outer))
              .and(f.top(inner).gt(f.top(outer))),
          );
        const perms = f.hi(inner).and(f.hi(outer).not()).shr(48).eqz();
        const same = f.tag(outer).eq(f.tag(inner));
        f.return(
          same
            .and(perms)
            .and(more.eqz())
            .and(f.base(inner).ge(f.base(outer)))
            .extend(),
        );
      });
      f.slow();
    },
  },
  // cs1, cs2. NULL with an address is what a register without metadata holds, and no other one.
  cseqx: {
    emit: (f) => {
      const [, cs1, cs2] = f.params as [Value, Value, Value];
      const has = f.let(f.hasMetadata(cs1));
      f.if(
        f
          .x(cs1)
          .ne(f.x(cs2))
          .or(has.ne(f.hasMetadata(cs2))),
        () => f.return(f.i64(0)),
      );
      f.if(has.eqz(), () => f.return(f.i64(1)));
      const [a, b] = [f.metadataOf(cs1), f.metadataOf(cs2)];
      f.result(
        f
          .hi(a)
          .eq(f.hi(b))
          .and(f.tag(a).eq(f.tag(b)))
          .extend(),
      );
    },
  },
};

/** The immediate of CClear: bits 9:8 choose eight registers, bits 7:0 say which of them. */
/** `body` for each of the low eight bits that are set, all of them at once where they are. */
function eachOf(f: Form, mask: Value, body: (bit: number) => void): void {
  f.if(
    mask.and(0xff).eq(0xff),
    () => {
      for (let i = 0; i < 8; i += 1) body(i);
    },
    () => {
      for (let i = 0; i < 8; i += 1) f.if(mask.and(1 << i), () => body(i));
    },
  );
}
const clear: Readonly<Record<string, FastForm>> = {
  cclear: {
    emit: (f) => {
      const mask = f.params[1]!;
      f.orSlow((slow) => {
        const first = f.let(mask.shr(8).shl(3));
        // Bit 0 of the first eight is DDC.
        f.leave(slow, first.eqz().and(mask));
        f.setState("capRegs", f.state("capRegs").and(mask.and(0xff).shl(first).not()));
        const at = f.let(f.hart.add(first.shl(3)));
        eachOf(f, mask, (i) => f.store(at, X + 8 * i, f.i64(0)));
        f.return();
      });
    },
  },
  fpclear: {
    unprivileged: true,
    emit: (f) => {
      const mask = f.params[1]!;
      const first = f.let(f.hart.add(mask.shr(8).shl(6)));
      eachOf(f, mask, (i) => f.store(first, F + 8 * i, f.i64(0)));
    },
  },
};

/** Mask that aligns a base for bounds of about a length: the low bits that its encoding loses are 0. */
function alignment(f: Form): Value {
  const bits = f.let(f.call("i32", f.helpers.encode, [f.i64(0), f.params[1]!]));
  const exponent = bits.shr(14).and(7).shl(3).or(bits.and(7));
  const internal = bits.and(1 << 26);
  return f.let(internal.select(f.i64(-1).shl(exponent.add(3).extend()), f.i64(-1)));
}
const lengths: Readonly<Record<string, FastForm>> = {
  cram: { emit: (f) => f.result(alignment(f)) },
  crrl: {
    emit: (f) => {
      const mask = alignment(f);
      f.result(f.params[1]!.add(mask.not()).and(mask));
    },
  },
};

export const registerForms: Readonly<Record<string, FastForm>> = { ...inspection, ...derivation, ...twoOperands, ...clear, ...lengths };
