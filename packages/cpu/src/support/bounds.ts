/**
 * Bounds of capabilities in WebAssembly: the same arithmetic as capability/encoding.ts, which explains it, in 64-bit integers.
 */
import { BOUNDS_MASK, MAX_EXPONENT, NULL_HI } from "../capability/encoding.ts";
import { Cap } from "../machine/layout.ts";
import { Writer, type Value } from "../wasm/function.ts";
import { CAP_BYTES, CAPS, X, State } from "../machine/layout.ts";
import { HELPER_TYPES, type Helpers } from "./form.ts";

const BOUNDS = Number(BOUNDS_MASK);
const NULL_LOW = Number(NULL_HI & 0xffff_ffffn);
const INTERNAL = 1 << 26;

/** Exponent as it stands and mantissas without the implied bits, in variables. */
function fields(f: Writer, hi: Value): { internal: Value; exponent: Value; b: Value; t: Value } {
  const bits = f.let(hi.wrap().xor(NULL_LOW).and(BOUNDS));
  const internal = f.let(bits.shr(26));
  const t = f.let(bits.shr(14).and(0xfff));
  const b = f.let(bits.and(0x3fff));
  const exponent = f.let(f.i32(0));
  f.if(internal, () => {
    f.set(exponent, t.and(7).shl(3).or(b.and(7)));
    f.set(t, t.and(~7));
    f.set(b, b.and(~7));
  });
  return { internal, exponent, b, t };
}

/** See {@link Helpers.decode}; as `decodeBounds`. */
export function decode(): Writer {
  const f = new Writer(HELPER_TYPES.decode.params);
  const [at, hi, address, tag] = f.params as [Value, Value, Value, Value];
  const { internal, exponent, b, t } = fields(f, hi);
  // T = B + length: its two top bits follow from B's.
  f.set(
    t,
    t.or(
      b
        .shr(12)
        .add(internal)
        .add(t.lt(b.and(0xfff)))
        .and(3)
        .shl(12),
    ),
  );
  const e = f.let(exponent.lt(MAX_EXPONENT).select(exponent, MAX_EXPONENT).extend());
  const r3 = f.let(b.shr(11).sub(1).and(7));
  const upper = f.let(address.shr(e));
  const aHi = f.let(upper.shr(11).wrap().and(7).lt(r3));
  f.set(upper, upper.shr(14));
  const signed = (correction: Value): Value => correction.extend().sub(aHi.extend());
  const base = f.let(
    upper
      .add(signed(b.shr(11).lt(r3)))
      .shl(14)
      .or(b.extend())
      .shl(e),
  );
  f.set(upper, upper.add(signed(t.shr(11).lt(r3))));
  const top = f.let(upper.shl(14).or(t.extend()).shl(e));
  // Bit 64 of the number that top is the low part of.
  const topHi = f.let(upper.shl(13).or(t.shr(1).extend()).shr(f.i64(63).sub(e)).and(1));
  f.if(e.lt(MAX_EXPONENT - 1), () => {
    f.set(topHi, topHi.xor(topHi.shl(1).or(top.shr(63)).sub(base.shr(63)).and(3).gt(1).extend()));
  });
  f.store(at, Cap.hi, hi);
  f.store(at, Cap.base, base);
  f.store(at, Cap.top, top);
  f.store(at, Cap.topHi, topHi.or(tag.extend().shl(32)));
  return f;
}

/** See {@link Helpers.representable}; as `fastRepresentable`. */
export function representable(): Writer {
  const f = new Writer(HELPER_TYPES.representable.params);
  const [hi, address, newAddress] = f.params as [Value, Value, Value];
  const { exponent, b } = fields(f, hi);
  f.if(exponent.ge(MAX_EXPONENT - 2), () => f.return(f.i32(1)));
  const e = f.let(exponent.extend());
  const increment = f.let(newAddress.sub(address).shrSigned(e));
  const middle = f.let(increment.wrap().and(0x3fff));
  const aMiddle = f.let(address.shr(e).wrap().and(0x3fff));
  const r = f.let(b.shr(11).sub(1).and(7).shl(11));
  const distance = f.let(r.sub(aMiddle).and(0x3fff));
  const top = f.let(increment.shrSigned(14));
  f.if(top.eqz(), () => f.return(middle.lt(distance.sub(1).and(0x3fff))));
  f.result(top.eq(-1).and(middle.ge(distance)).and(r.ne(aMiddle)));
  return f;
}

/** See {@link Helpers.encode}; as `encodeBounds(base, base + length)`. */
export function encode(): Writer {
  const f = new Writer(HELPER_TYPES.encode.params);
  const [base, length] = f.params as [Value, Value];
  const top = f.let(base.add(length));
  const high = f.let(length.shr(13));
  f.if(high.eqz().and(length.wrap().and(0x1000).eqz()), () =>
    f.return(
      top
        .wrap()
        .and(0xfff)
        .shl(14)
        .or(base.wrap().and(0x3fff))
        .or(1 << 31),
    ),
  );
  const e = f.let(f.i64(64).sub(high.clz()));
  const shift = f.let(e.add(3));
  const carry = f.let(top.lt(base).extend());
  const lost = f.let(f.i64(1).shl(shift).sub(1));
  const lostBase = f.let(base.and(lost).ne(0));
  const lostTop = f.let(top.and(lost).ne(0));
  const cutB = (): Value => base.shr(shift).wrap().and(0x7ff);
  // Bit 64 of top is carry.
  const cutT = (): Value =>
    top
      .shr(shift)
      .or(carry.shl(f.i64(64).sub(shift)))
      .wrap()
      .and(0x7ff);
  const b = f.let(cutB());
  const t = f.let(cutT().add(lostTop).and(0x7ff));
  f.if(t.sub(b).and(0x400), () => {
    f.set(e, e.add(1));
    f.set(shift, shift.add(1));
    f.set(lostBase, lostBase.or(b.and(1)));
    f.set(lostTop, lostTop.or(t.and(1)));
    f.set(b, cutB());
    f.set(t, cutT().add(lostTop).and(0x7ff));
  });
  const exponent = f.let(e.wrap());
  const tField = t.shl(3).and(0xff8).or(exponent.shr(3).and(7));
  const bField = b.shl(3).or(exponent.and(7));
  f.result(tField.shl(14).or(bField).or(INTERNAL).or(lostBase.or(lostTop).eqz().shl(31)));
  return f;
}

/** See {@link Helpers.setRegister}; as `writeRegister` of layout.ts. */
export function setRegister(helpers: Helpers): Writer {
  const f = new Writer(HELPER_TYPES.setRegister.params);
  const [hart, register, hi, address, tag] = f.params as [Value, Value, Value, Value, Value];
  f.store(hart.add(register.shl(3)), X, address);
  const mask = f.let(f.load32(hart, State.capRegs));
  const bit = f.let(f.i32(1).shl(register));
  f.if(hi.eqz().and(tag.eqz()), () => {
    f.store(hart, State.capRegs, mask.and(bit.not()));
    f.return();
  });
  f.store(hart, State.capRegs, mask.or(bit));
  f.run(helpers.decode, [hart.add(register.mul(CAP_BYTES)).add(CAPS), hi, address, tag]);
  return f;
}
