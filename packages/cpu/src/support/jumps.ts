/** WebAssembly forms of jumps and of the special registers that hybrid code reads and writes, with the fields derived from PCC and DDC. */
import { PAGE_SIZE, Perm } from "../abi.ts";
import { Cap, Scr, State } from "../machine/layout.ts";
import type { Label } from "../wasm/code.ts";
import type { Value } from "../wasm/function.ts";
import { Form, HELPER_TYPES, LAST_TAG, OTYPE_MASK, permBit, SENTRY, type FastForm, type Helpers, type Whole } from "./form.ts";

const FLAG_BIT = 45;
const EXECUTE = permBit(Perm.Execute);

/**
 * The fields that follow from PCC: as `setPcc` of machine.ts with relocation, for a PCC that code can run under: tagged, unsealed, with execute
 * permission, an even base, and a top above 1.
 */
function derivePcc(f: Form, { hi, base, top, last }: Whole): void {
  const key = f.let(f.state("singly").select(0, hi.shr(FLAG_BIT).wrap().and(1).add(1)));
  const lo = f.let(base.add(PAGE_SIZE - 1).and(-PAGE_SIZE));
  const memory = f.let(f.machine("memoryBytes"));
  const reach = f.let(top.sub(2));
  const end = f.let(last.wrap().or(reach.ge(memory)).select(memory, reach).and(-PAGE_SIZE));
  f.setState("pcBase", base);
  f.setState("codeLo", lo);
  f.setState("codeSpan", key.eq(1).and(end.gt(lo)).select(end.sub(lo), 0));
  f.setState("codeKey", key);
  f.setState("jumpLo", base);
  f.setState("jumpSpan", top.sub(base).sub(1));
}

/** See {@link Helpers.jump}. Base is even and below 2^32, execution is permitted, the address, with a parcel there, in bounds. */
export function jump(helpers: Helpers): Form {
  const f = new Form(HELPER_TYPES.jump.params, helpers, -1);
  const [hart, hi, base, top, last, address] = f.params as [Value, Value, Value, Value, Value, Value];
  const { pcc } = f;
  f.store(pcc, Cap.address, address);
  const same = f.hi(pcc).eq(hi).and(f.base(pcc).eq(base)).and(f.top(pcc).eq(top)).and(f.last(pcc).eq(last));
  f.if(same.eqz(), () => {
    f.storeMetadata(pcc, hi, base, top, last);
    derivePcc(f, { hi, base, top, last, address });
  });
  f.store(hart, State.pc, address.sub(base));
  f.setState("jumped", f.i32(1));
  return f;
}

/** A register with metadata, in variables. */
function register(f: Form, slow: Label, number: Value): Whole {
  f.leave(slow, f.hasMetadata(number).eqz());
  return f.whole(f.metadataOf(number), f.x(number));
}

/** Leaves to `slow` unless the target may be jumped to: its base is as {@link jump} wants it, the address with a parcel in bounds. */
function checkTarget(f: Form, slow: Label, target: Whole, address: Value): void {
  // An odd base is an exception.
  f.leave(slow, target.base.and(0xffff_ffff_0000_0001n).ne(0));
  f.leave(slow, address.lt(target.base));
  const end = f.let(address.add(2));
  f.leave(slow, end.lt(address));
  f.leave(slow, end.gt(target.top).and(target.last.wrap().eqz()));
}

/** PCC in variables, its address at an architectural pc; leaves to `slow` where that is not inside of the bounds. */
function pccAt(f: Form, slow: Label, pc: Value): Whole {
  const pcc = f.whole(f.pcc, f.state("pcBase").add(pc));
  f.leave(slow, f.within(pcc, pcc.address).eqz());
  return pcc;
}
/** Leaves to `slow` unless PCC is tagged and unsealed, as it is while code runs. */
function checkUsable(f: Form, slow: Label, { hi, last }: Whole): void {
  f.leave(slow, last.and(LAST_TAG).eqz());
  f.leave(slow, hi.and(OTYPE_MASK).ne(0));
}
/** cd = PCC as a sentry; c0 is left as it is. */
function link(f: Form, cd: Value, pcc: Whole): void {
  f.if(cd, () => f.setWhole(cd, { ...pcc, hi: f.let(pcc.hi.or(SENTRY)) }));
}

/** cd, cs1, immediate, pc of the next instruction. */
const cjalr: FastForm = {
  relocation: true,
  emit: (f) => {
    const [hart, cd, cs1, imm, nextPc] = f.params as [Value, Value, Value, Value, Value];
    f.orSlow((slow) => {
      const target = register(f, slow, cs1);
      f.leave(slow, target.last.and(LAST_TAG).eqz());
      const otype = f.let(target.hi.and(OTYPE_MASK));
      f.leave(slow, otype.ne(0).and(otype.ne(SENTRY).or(imm.ne(0))));
      f.leave(slow, target.hi.and(EXECUTE).eqz());
      const address = f.let(target.address.add(imm).and(-2));
      checkTarget(f, slow, target, address);
      const pcc = pccAt(f, slow, nextPc);
      checkUsable(f, slow, pcc);
      link(f, cd, pcc);
      f.run(f.helpers.jump, [hart, target.hi.and(~OTYPE_MASK), target.base, target.top, target.last, address]);
      f.return();
    });
  },
};

/** cd, immediate, pc, pc of the next instruction. PCC's address changes, and nothing else of it. */
const cjal: FastForm = {
  emit: (f) => {
    const [, cd, imm, pc, nextPc] = f.params as [Value, Value, Value, Value, Value];
    f.orSlow((slow) => {
      const here = pccAt(f, slow, pc);
      checkUsable(f, slow, here);
      const address = f.let(here.address.add(imm));
      f.leave(slow, address.lt(here.base));
      const end = f.let(address.add(2));
      f.leave(slow, end.lt(address));
      f.leave(slow, end.gt(here.top).and(here.last.wrap().eqz()));
      link(f, cd, pccAt(f, slow, nextPc));
      f.store(f.pcc, Cap.address, address);
      f.setState("pc", address.sub(f.state("pcBase")));
      f.setState("jumped", f.i32(1));
      f.return();
    });
  },
};

/** code, data. */
const cinvoke: FastForm = {
  relocation: true,
  emit: (f) => {
    const [hart, cs1, cs2] = f.params as [Value, Value, Value];
    f.orSlow((slow) => {
      const code = register(f, slow, cs1);
      const data = register(f, slow, cs2);
      f.leave(slow, code.last.and(data.last).and(LAST_TAG).eqz());
      // The same otype, and one that is not reserved: in memory the four reserved ones are below 4.
      const otype = f.let(code.hi.and(OTYPE_MASK));
      f.leave(slow, otype.ne(data.hi.and(OTYPE_MASK)).or(otype.lt(4n * SENTRY)));
      const needed = permBit(Perm.CInvoke);
      f.leave(slow, code.hi.and(needed | EXECUTE).ne(needed | EXECUTE));
      f.leave(slow, data.hi.and(needed | EXECUTE).ne(needed));
      const address = f.let(code.address.and(-2));
      checkTarget(f, slow, code, address);
      f.setWhole(f.i32(31), { ...data, hi: f.let(data.hi.and(~OTYPE_MASK)) });
      f.run(f.helpers.jump, [hart, code.hi.and(~OTYPE_MASK), code.base, code.top, code.last, address]);
      f.return();
    });
  },
};

/** cd, immediate, pc. */
const auipcc: FastForm = {
  emit: (f) => {
    const [, cd, imm, pc] = f.params as [Value, Value, Value, Value];
    f.if(cd.eqz(), () => f.return());
    f.orSlow((slow) => {
      const here = pccAt(f, slow, pc);
      checkUsable(f, slow, here);
      const address = f.let(here.address.add(imm));
      f.leave(slow, f.within(here, address).eqz());
      f.setWhole(cd, { ...here, address });
      f.return();
    });
  },
};

/** DDC and the fields that follow from it: as `setDdc` of machine.ts with relocation. */
function setDdc(f: Form, cap: Whole): void {
  const { hi, base, top, last, address } = cap;
  const { ddc } = f;
  f.storeMetadata(ddc, hi, base, top, last);
  f.store(ddc, Cap.address, address);
  const memory = f.let(f.machine("memoryBytes"));
  const end = f.let(last.wrap().or(top.ge(memory)).select(memory, top));
  const usable = last.and(LAST_TAG).ne(0).and(hi.and(OTYPE_MASK).eqz()).and(end.gt(base));
  const length = f.let(usable.select(end.sub(base), 0));
  const load = f.let(hi.and(permBit(Perm.Load)).ne(0).select(length, 0));
  const store = f.let(hi.and(permBit(Perm.Store)).ne(0).select(length, 0));
  const skip = f.let(f.machine("windowSkip"));
  const span = (exact: Value): Value => {
    const cut = f.let(skip.add(7));
    return exact.gt(cut).select(exact.sub(cut), 0);
  };
  f.setState("ddcAddress", address);
  f.setState("dataBase", base);
  f.setState("loadLength", load);
  f.setState("storeLength", store);
  f.setState("windowLo", base.add(skip));
  f.setState("loadSpan", f.let(span(load)));
  f.setState("storeSpan", f.let(span(store)));
}

/** SScratchC = cs1, cd = what it was, where code with AccessSystemRegs in PCC may do it whatever mode it runs in. */
function exchangeScratch(f: Form, slow: Label, cd: Value, cs1: Value): void {
  const needed = permBit(Perm.AccessSystemRegs);
  f.leave(slow, f.machine("userOnly").eqz());
  f.leave(slow, f.hi(f.pcc).and(needed).eqz());
  const at = f.scr(Scr.SscratchC);
  const old = f.whole(at, f.load64(at, Cap.address));
  f.if(cs1, () => {
    f.store(at, Cap.address, f.x(cs1));
    f.if(
      f.hasMetadata(cs1),
      () => {
        const { hi, base, top, last } = f.whole(f.metadataOf(cs1), f.x(cs1));
        f.storeMetadata(at, hi, base, top, last);
      },
      () => f.run(f.helpers.decode, [at, f.i64(0), f.x(cs1), f.i32(0)]),
    );
  });
  f.if(cd, () => f.setWhole(cd, old));
  f.return();
}

/** cd, special register, cs1, pc. PCC, DDC and SScratchC only. */
const cspecialrw: FastForm = {
  relocation: true,
  emit: (f) => {
    const [, cd, number, cs1, pc] = f.params as [Value, Value, Value, Value, Value];
    f.orSlow((slow) => {
      f.if(number.eq(Scr.SscratchC), () => exchangeScratch(f, slow, cd, cs1));
      f.leave(slow, number.gt(1));
      f.if(
        number,
        () => {
          const { ddc } = f;
          const old = f.whole(ddc, f.load64(ddc, Cap.address));
          f.if(cs1, () => setDdc(f, register(f, slow, cs1)));
          f.if(cd, () => f.setWhole(cd, old));
        },
        () => {
          f.leave(slow, cs1);
          const here = pccAt(f, slow, pc);
          f.if(cd, () => f.setWhole(cd, here));
        },
      );
      f.return();
    });
  },
};

export const jumpForms: Readonly<Record<string, FastForm>> = { cjalr, cjal, cinvoke, auipcc, cspecialrw };
