/**
 * WebAssembly forms of the intrinsics that access memory through a capability. An access that fails a check, and one of a page that is not
 * as usual, is the TypeScript form's: it finds the exact exception, or does the rest of the work.
 */
import { CapReg, GRANULE_SIZE, Perm } from "../abi.ts";
import { Access } from "../isa/cheri-memory.ts";
import { CAP_BYTES, CAPS, Fast, GUEST, Own, PAGE_FAST, PAGE_OWN, Scr, SCR_BYTES, SCRS, TAGS } from "../machine/layout.ts";
import type { Label } from "../wasm/code.ts";
import type { Value, Width } from "../wasm/function.ts";
import { OTYPE_MASK, permBit, type FastForm, type Form } from "./form.ts";

const GRANULE_SHIFT = 4;
const PAGE_SHIFT = 12;

interface Authority {
  /** Where its metadata stand. */
  readonly at: Value;
  /** What offsets are added to. */
  readonly from: Value;
}

/** A general register or DDC; leaves to `slow` when it is a register without metadata: it is not tagged. */
function authorityOf(f: Form, slow: Label, number: Value): Authority {
  const at = f.let(f.i32(0));
  const from = f.let(f.i64(0));
  f.if(
    number.eq(CapReg.Ddc),
    () => {
      f.set(at, f.hart.add(SCRS + Scr.Ddc * SCR_BYTES));
      f.set(from, f.state("ddcAddress"));
    },
    () => {
      f.leave(slow, f.hasMetadata(number).eqz());
      f.set(at, f.hart.add(number.mul(CAP_BYTES)).add(CAPS));
      f.set(from, f.x(number));
    },
  );
  return { at, from };
}

/**
 * The absolute address (i32) of an access that the authority allows; otherwise leaves to `slow`. `perms`: bits of `hi` that must be set, as
 * well as no otype. The page is not looked at. `align`: the address must be a multiple of the size.
 */
function address(f: Form, slow: Label, { at, from }: Authority, offset: Value, size: number, perms: bigint, align = false): Value {
  const absolute = f.let(from.add(offset));
  f.leave(
    slow,
    f
      .hi(at)
      .and(perms | OTYPE_MASK)
      .ne(perms),
  );
  f.leave(slow, f.tag(at).eqz());
  f.leave(slow, absolute.lt(f.base(at)));
  // Inside of memory first: then the sum below has no carry.
  f.leave(slow, absolute.gt(f.machine("memoryBytes").sub(size)));
  f.leave(slow, absolute.add(size).gt(f.top(at)).and(f.topHi(at).eqz()));
  const result = f.let(absolute.wrap());
  if (align) f.leave(slow, result.and(size - 1));
  return result;
}

/** Leaves to `slow` when the page, or the next one, may not be read. */
function readable(f: Form, slow: Label, at: Value): void {
  f.leave(slow, f.load32(at.shr(PAGE_SHIFT), PAGE_FAST, 1).and(Fast.LoadSlow));
}
/** The same for a granule, which does not reach into the next page. */
function granuleReadable(f: Form, slow: Label, at: Value): void {
  f.if(f.load32(at.shr(PAGE_SHIFT), PAGE_FAST, 1).and(Fast.LoadSlow), () =>
    f.leave(slow, f.load32(at.shr(PAGE_SHIFT), PAGE_OWN, 1).and(Own.NoRead)),
  );
}
/** Clears the tags that a store touches; leaves to `slow` when a page may not be written or has predecoded code. */
function writable(f: Form, slow: Label, at: Value, size: number): void {
  f.if(f.load32(at.shr(PAGE_SHIFT), PAGE_FAST, 1).and(Fast.StoreSlow), () => {
    const last = f.let(at.add(size - 1));
    const own = f.let(f.load32(at.shr(PAGE_SHIFT), PAGE_OWN, 1).or(f.load32(last.shr(PAGE_SHIFT), PAGE_OWN, 1)));
    f.leave(slow, own.and(Own.NoWrite | Own.Code | Own.Translated));
    f.if(own.and(Own.Tags), () => {
      f.store(at.shr(GRANULE_SHIFT), TAGS, f.i32(0), 1);
      f.store(last.shr(GRANULE_SHIFT), TAGS, f.i32(0), 1);
    });
  });
}

/** cload1 … cload8: authority, offset; the result is zero-extended. */
function load(size: Width): FastForm {
  return {
    emit: (f) => {
      const [, number, offset] = f.params as [Value, Value, Value];
      f.block((slow) => {
        const at = address(f, slow, authorityOf(f, slow, number), offset, size, permBit(Perm.Load));
        readable(f, slow, at);
        f.return(f.loadExtended(at, GUEST, size));
      });
      f.slow();
    },
  };
}

/** cstore1 … cstore8: authority, offset, value. */
function store(size: Width): FastForm {
  return {
    emit: (f) => {
      const [, number, offset, value] = f.params as [Value, Value, Value, Value];
      f.orSlow((slow) => {
        const at = address(f, slow, authorityOf(f, slow, number), offset, size, permBit(Perm.Store));
        writable(f, slow, at, size);
        f.store(at, GUEST, value, size);
        f.return();
      });
    },
  };
}

/** Runs `body` for accesses of 4 and of 8 bytes by a size that is known when it runs; others are the TypeScript form's. */
function words(f: Form, slow: Label, size: Value, body: (width: 4 | 8) => void): void {
  for (const width of [4, 8] as const) f.if(size.eq(width), () => body(width));
  f.leave(slow);
}
const signed = (f: Form, at: Value, width: 4 | 8): Value => (width === 8 ? f.load64(at, GUEST) : f.load32(at, GUEST).extendSigned());

/** authority, offset, size, options: loads of atomic operations, aligned, of what is stored to afterwards. */
const loadForStore: FastForm = {
  emit: (f) => {
    const [, number, offset, size, options] = f.params as [Value, Value, Value, Value, Value];
    f.block((slow) => {
      f.leave(slow, options.ne(Access.Signed | Access.Aligned | Access.ForStore));
      const authority = authorityOf(f, slow, number);
      words(f, slow, size, (width) => {
        const at = address(f, slow, authority, offset, width, permBit(Perm.Load) | permBit(Perm.Store), true);
        readable(f, slow, at);
        f.leave(slow, f.load32(at.shr(PAGE_SHIFT), PAGE_OWN, 1).and(Own.NoWrite));
        f.return(signed(f, at, width));
      });
    });
    f.slow();
  },
};

/** authority, offset, size. */
const loadReserved: FastForm = {
  emit: (f) => {
    const [, number, offset, size] = f.params as [Value, Value, Value, Value];
    f.block((slow) => {
      const authority = authorityOf(f, slow, number);
      words(f, slow, size, (width) => {
        const at = address(f, slow, authority, offset, width, permBit(Perm.Load), true);
        readable(f, slow, at);
        f.setState("reservation", at.extend());
        f.return(signed(f, at, width));
      });
    });
    f.slow();
  },
};

/** authority, offset, size, value; 0 if it stored, 1 if the reservation was lost. */
const storeConditional: FastForm = {
  emit: (f) => {
    const [, number, offset, size, value] = f.params as [Value, Value, Value, Value, Value];
    f.block((slow) => {
      const authority = authorityOf(f, slow, number);
      words(f, slow, size, (width) => {
        const at = address(f, slow, authority, offset, width, permBit(Perm.Store), true);
        f.if(f.state("reservation").ne(at.extend()), () => {
          f.setState("reservation", f.i64(-1));
          f.return(f.i64(1));
        });
        writable(f, slow, at, width);
        f.setState("reservation", f.i64(-1));
        f.store(at, GUEST, value, width);
        f.return(f.i64(0));
      });
    });
    f.slow();
  },
};

/** cd, authority, offset, 1 to reserve. */
const loadCapability: FastForm = {
  emit: (f) => {
    const [, cd, number, offset, reserve] = f.params as [Value, Value, Value, Value, Value];
    f.orSlow((slow) => {
      const authority = authorityOf(f, slow, number);
      const at = address(f, slow, authority, offset, GRANULE_SIZE, permBit(Perm.Load), true);
      granuleReadable(f, slow, at);
      f.if(reserve, () => f.setState("reservation", at.extend()));
      f.if(cd.eqz(), () => f.return());
      const tag = loadTag(f, authority, at);
      f.setDecoded(cd, f.load64(at, GUEST + 8), f.load64(at, GUEST), tag);
      f.return();
    });
  },
};

/** What a register holds as it goes to memory: its metadata's first word, and its tag. */
function storedOf(f: Form, number: Value): { hi: Value; tag: Value } {
  const metadata = f.metadataOf(number);
  const hi = f.let(f.i64(0));
  const tag = f.let(f.i32(0));
  f.if(f.hasMetadata(number), () => {
    f.set(hi, f.hi(metadata));
    f.set(tag, f.tag(metadata));
  });
  return { hi, tag };
}
/** Checks what the authority must allow to store a capability, and the page; sets or clears the granule's tag. */
function storeTag(f: Form, slow: Label, authority: Authority, at: Value, { hi, tag }: { hi: Value; tag: Value }): void {
  f.if(
    tag,
    () => {
      const global = hi.and(permBit(Perm.Global)).ne(0);
      const needed = global.select(f.i64(permBit(Perm.StoreCap)), f.i64(permBit(Perm.StoreCap) | permBit(Perm.StoreLocalCap)));
      f.leave(slow, f.let(needed).and(f.hi(authority.at).not()).ne(0));
      // The first tag of a page changes its state.
      const own = f.load32(at.shr(PAGE_SHIFT), PAGE_OWN, 1);
      f.leave(slow, own.and(Own.NoWrite | Own.Code | Own.Translated | Own.Tags).ne(Own.Tags));
      f.store(at.shr(GRANULE_SHIFT), TAGS, f.i32(1), 1);
    },
    () => writable(f, slow, at, GRANULE_SIZE),
  );
}
function storeWhole(f: Form, at: Value, address: Value, hi: Value): void {
  f.store(at, GUEST, address);
  f.store(at, GUEST + 8, hi);
}
/** i32: the tag of a granule as it is loaded; without load-capability permission it stays behind. */
function loadTag(f: Form, authority: Authority, at: Value): Value {
  const allowed = f.hi(authority.at).and(permBit(Perm.LoadCap)).ne(0);
  return f.let(f.load32(at.shr(GRANULE_SHIFT), TAGS, 1).and(allowed));
}

/** cs2, authority, offset. */
const storeCapability: FastForm = {
  emit: (f) => {
    const [, cs2, number, offset] = f.params as [Value, Value, Value, Value];
    f.orSlow((slow) => {
      const authority = authorityOf(f, slow, number);
      const at = address(f, slow, authority, offset, GRANULE_SIZE, permBit(Perm.Store), true);
      const stored = storedOf(f, cs2);
      storeTag(f, slow, authority, at, stored);
      storeWhole(f, at, f.x(cs2), stored.hi);
      f.return();
    });
  },
};

/** cs2, authority, offset; 0 if it stored, 1 if the reservation was lost. */
const storeConditionalCapability: FastForm = {
  emit: (f) => {
    const [, cs2, number, offset] = f.params as [Value, Value, Value, Value];
    f.block((slow) => {
      const authority = authorityOf(f, slow, number);
      const at = address(f, slow, authority, offset, GRANULE_SIZE, permBit(Perm.Store), true);
      f.leave(slow, f.state("reservation").ne(at.extend()));
      const stored = storedOf(f, cs2);
      storeTag(f, slow, authority, at, stored);
      f.setState("reservation", f.i64(-1));
      storeWhole(f, at, f.x(cs2), stored.hi);
      f.return(f.i64(0));
    });
    f.slow();
  },
};

/** cd, cs2, authority, offset. */
const swapCapability: FastForm = {
  emit: (f) => {
    const [, cd, cs2, number, offset] = f.params as [Value, Value, Value, Value, Value];
    f.orSlow((slow) => {
      const authority = authorityOf(f, slow, number);
      const at = address(f, slow, authority, offset, GRANULE_SIZE, permBit(Perm.Load) | permBit(Perm.Store), true);
      readable(f, slow, at);
      const stored = storedOf(f, cs2);
      const tag = loadTag(f, authority, at);
      const hi = f.let(f.load64(at, GUEST + 8));
      const old = f.let(f.load64(at, GUEST));
      storeTag(f, slow, authority, at, stored);
      storeWhole(f, at, f.x(cs2), stored.hi);
      f.if(cd, () => f.setDecoded(cd, hi, old, tag));
      f.return();
    });
  },
};

/** cs1; bit n of the result is the tag of the nth of four granules. */
const loadTags: FastForm = {
  emit: (f) => {
    const number = f.params[1]!;
    f.block((slow) => {
      const perms = permBit(Perm.Load) | permBit(Perm.LoadCap);
      const at = address(f, slow, authorityOf(f, slow, number), f.i64(0), 4 * GRANULE_SIZE, perms, true);
      readable(f, slow, at);
      // A byte for each, 0 or 1.
      const tags = f.let(f.load32(at.shr(GRANULE_SHIFT), TAGS));
      f.return(tags.or(tags.shr(7)).or(tags.shr(14)).or(tags.shr(21)).and(15).extend());
    });
    f.slow();
  },
};

export const memoryForms: Readonly<Record<string, FastForm>> = {
  cload: loadForStore,
  cloadres: loadReserved,
  cstorecond: storeConditional,
  cload1: load(1),
  cload2: load(2),
  cload4: load(4),
  cload8: load(8),
  cstore1: store(1),
  cstore2: store(2),
  cstore4: store(4),
  cstore8: store(8),
  cloadcap: loadCapability,
  cstorecap: storeCapability,
  cstorecondcap: storeConditionalCapability,
  cswapcap: swapCapability,
  cloadtags: loadTags,
};
