/** The intrinsics of Xcheri that touch memory. Checks and their order: cheri-memory.ts. */
import { CapCause, Cause, GRANULE_SIZE, Perm } from "../abi.ts";
import { permsOf } from "../capability/encoding.ts";
import type { Raw } from "../capability/raw.ts";
import { rawInBounds, rawIsSealed } from "../capability/raw.ts";
import { Access } from "./cheri-memory.ts";
import { CheriState } from "./cheri-state.ts";
import type { Intrinsic, IntrinsicContext, IntrinsicTable } from "./intrinsics.ts";

/** Address for "the exception has been raised". */
const FAILED = -1n;
/** No reservation. */
const NO_RESERVATION = -1n;
/** Bytes whose tags CLoadTags reads. */
const TAG_LINE = 64;

interface Request {
  readonly size: number;
  /** Permissions that data needs: Load, Store or both, checked in this order. */
  readonly perms: number;
  readonly alignment: number;
  /** The capability that is stored, if one is. */
  readonly stored?: Raw;
  /** CLoadTags: load-capability permission is needed too. */
  readonly tags?: boolean;
}

/** Checks of accesses by one machine's intrinsics. */
class Checker {
  readonly state: CheriState;
  readonly context: IntrinsicContext;
  constructor(context: IntrinsicContext) {
    this.context = context;
    this.state = new CheriState(context);
  }

  /** Absolute address of an access that its authority allows and that is aligned, or {@link FAILED}. The page is not looked at. */
  address(hart: number, register: number, offset: bigint, request: Request): bigint {
    const authority = this.state.authority(hart, register);
    const address = this.state.address(hart, register, authority, offset);
    const code = violation(authority, address, request);
    if (code !== CapCause.None) {
      this.context.trap(hart, Cause.Cheri, (register << 5) | code, address);
      return FAILED;
    }
    if (address % BigInt(request.alignment) !== 0n) {
      const store = (request.perms & Perm.Store) !== 0;
      this.context.trap(hart, store ? Cause.StoreMisaligned : Cause.LoadMisaligned, address);
      return FAILED;
    }
    return address;
  }

  /** True when the pages allow it; raises a page fault otherwise. */
  page(hart: number, address: bigint, size: number, perms: number): boolean {
    const { memory } = this.context;
    const store = (perms & Perm.Store) !== 0;
    const load = (perms & Perm.Load) !== 0;
    if ((!store || memory.writable(address, size)) && (!load || memory.readable(address, size))) return true;
    this.context.trap(hart, store ? Cause.StorePage : Cause.LoadPage, address);
    return false;
  }

  /** {@link address} and {@link page}. */
  access(hart: number, register: number, offset: bigint, request: Request): bigint {
    const address = this.address(hart, register, offset, request);
    if (address === FAILED || !this.page(hart, address, request.size, request.perms)) return FAILED;
    return address;
  }

  /** A capability as it is loaded: without load-capability permission its tag stays behind. */
  loaded(hart: number, register: number, cap: Raw): Raw {
    const tag = cap.tag && (permsOf(this.state.authority(hart, register).hi) & Perm.LoadCap) !== 0;
    return { tag, hi: cap.hi, address: cap.address };
  }

  /** Ends the reservation; true if it was for this address. */
  takeReservation(hart: number, address: bigint): boolean {
    const held = this.state.reservation(hart) === BigInt.asIntN(64, address);
    this.state.setReservation(hart, NO_RESERVATION);
    return held;
  }
}

function violation(authority: Raw, address: bigint, request: Request): number {
  if (!authority.tag) return CapCause.Tag;
  if (rawIsSealed(authority)) return CapCause.Seal;
  const perms = permsOf(authority.hi);
  if ((request.perms & ~perms & Perm.Load) !== 0) return CapCause.PermitLoad;
  if (request.tags === true && (perms & Perm.LoadCap) === 0) return CapCause.PermitLoadCap;
  if ((request.perms & ~perms & Perm.Store) !== 0) return CapCause.PermitStore;
  const { stored } = request;
  if (stored?.tag === true) {
    if ((perms & Perm.StoreCap) === 0) return CapCause.PermitStoreCap;
    if ((permsOf(stored.hi) & Perm.Global) === 0 && (perms & Perm.StoreLocalCap) === 0) return CapCause.PermitStoreLocalCap;
  }
  return rawInBounds(authority, address, BigInt(request.size)) ? CapCause.None : CapCause.Length;
}

const signed = (value: bigint, size: number): bigint => BigInt.asIntN(8 * size, value);

/** authority, offset, size, options of {@link Access}. */
const cload: Intrinsic = {
  params: ["i32", "i64", "i32", "i32"],
  result: "i64",
  make: (context) => {
    const checker = new Checker(context);
    return (hart: number, register: number, offset: bigint, size: number, options: number) => {
      const perms = (options & Access.ForStore) !== 0 ? Perm.Load | Perm.Store : Perm.Load;
      const alignment = (options & Access.Aligned) !== 0 ? size : 1;
      const address = checker.access(hart, register, offset, { size, perms, alignment });
      if (address === FAILED) return 0n;
      const value = context.memory.load(address, size);
      return (options & Access.Signed) !== 0 ? signed(value, size) : signed(value, 8);
    };
  },
};

/** authority, offset, size. */
const cloadres: Intrinsic = {
  params: ["i32", "i64", "i32"],
  result: "i64",
  make: (context) => {
    const checker = new Checker(context);
    return (hart: number, register: number, offset: bigint, size: number) => {
      const address = checker.access(hart, register, offset, { size, perms: Perm.Load, alignment: size });
      if (address === FAILED) return 0n;
      checker.state.setReservation(hart, address);
      return signed(context.memory.load(address, size), size);
    };
  },
};

/** authority, offset, size, value; 0 if it stored, 1 if not. A lost reservation is found before a page fault. */
const cstorecond: Intrinsic = {
  params: ["i32", "i64", "i32", "i64"],
  result: "i64",
  make: (context) => {
    const checker = new Checker(context);
    return (hart: number, register: number, offset: bigint, size: number, value: bigint) => {
      const address = checker.address(hart, register, offset, { size, perms: Perm.Store, alignment: size });
      if (address === FAILED) return 0n;
      if (!checker.takeReservation(hart, address)) return 1n;
      if (checker.page(hart, address, size, Perm.Store)) context.memory.store(address, size, BigInt.asUintN(8 * size, value));
      return 0n;
    };
  },
};

/** cd, authority, offset, 1 to reserve. */
const cloadcap: Intrinsic = {
  params: ["i32", "i32", "i64", "i32"],
  result: "none",
  make: (context) => {
    const checker = new Checker(context);
    return (hart: number, cd: number, register: number, offset: bigint, reserve: number) => {
      const request = { size: GRANULE_SIZE, perms: Perm.Load, alignment: GRANULE_SIZE };
      const address = checker.access(hart, register, offset, request);
      if (address === FAILED) return;
      if (reserve !== 0) checker.state.setReservation(hart, address);
      checker.state.setRegister(hart, cd, checker.loaded(hart, register, context.memory.loadCapability(address)));
    };
  },
};

const storeRequest = (stored: Raw, perms: number): Request => ({ size: GRANULE_SIZE, perms, alignment: GRANULE_SIZE, stored });

/** cs2, authority, offset. */
const cstorecap: Intrinsic = {
  params: ["i32", "i32", "i64"],
  result: "none",
  make: (context) => {
    const checker = new Checker(context);
    return (hart: number, cs2: number, register: number, offset: bigint) => {
      const stored = checker.state.register(hart, cs2);
      const address = checker.access(hart, register, offset, storeRequest(stored, Perm.Store));
      if (address !== FAILED) context.memory.storeCapability(address, stored);
    };
  },
};

/** cs2, authority, offset; 0 if it stored, 1 if not. */
const cstorecondcap: Intrinsic = {
  params: ["i32", "i32", "i64"],
  result: "i64",
  make: (context) => {
    const checker = new Checker(context);
    return (hart: number, cs2: number, register: number, offset: bigint) => {
      const stored = checker.state.register(hart, cs2);
      const address = checker.address(hart, register, offset, storeRequest(stored, Perm.Store));
      if (address === FAILED) return 0n;
      if (!checker.takeReservation(hart, address)) return 1n;
      if (checker.page(hart, address, GRANULE_SIZE, Perm.Store)) context.memory.storeCapability(address, stored);
      return 0n;
    };
  },
};

/** cd, cs2, authority, offset. */
const cswapcap: Intrinsic = {
  params: ["i32", "i32", "i32", "i64"],
  result: "none",
  make: (context) => {
    const checker = new Checker(context);
    return (hart: number, cd: number, cs2: number, register: number, offset: bigint) => {
      const stored = checker.state.register(hart, cs2);
      const address = checker.access(hart, register, offset, storeRequest(stored, Perm.Load | Perm.Store));
      if (address === FAILED) return;
      const old = checker.loaded(hart, register, context.memory.loadCapability(address));
      context.memory.storeCapability(address, stored);
      checker.state.setRegister(hart, cd, old);
    };
  },
};

/** cs1; bit n of the result is the tag of the nth of four granules. */
const cloadtags: Intrinsic = {
  params: ["i32"],
  result: "i64",
  make: (context) => {
    const checker = new Checker(context);
    return (hart: number, cs1: number) => {
      const address = checker.access(hart, cs1, 0n, { size: TAG_LINE, perms: Perm.Load, alignment: TAG_LINE, tags: true });
      if (address === FAILED) return 0n;
      let tags = 0;
      for (let i = 0; i < TAG_LINE / GRANULE_SIZE; i += 1) if (context.memory.tag(address + BigInt(i * GRANULE_SIZE))) tags |= 1 << i;
      return BigInt(tags);
    };
  },
};

/** Loads without options, zero-extended: `cload1` … `cload8`, and stores `cstore1` … `cstore8`: authority, offset, what is stored. */
const SIZES = [1, 2, 4, 8];
const loads = SIZES.map((size): [string, Intrinsic] => [
  `cload${size}`,
  {
    params: ["i32", "i64"],
    result: "i64",
    make: (context) => {
      const load = cload.make(context) as (hart: number, register: number, offset: bigint, size: number, options: number) => bigint;
      return (hart: number, register: number, offset: bigint) => load(hart, register, offset, size, 0);
    },
  },
]);
const stores = SIZES.map((size): [string, Intrinsic] => [
  `cstore${size}`,
  {
    params: ["i32", "i64", "i64"],
    result: "none",
    make: (context) => {
      const checker = new Checker(context);
      return (hart: number, register: number, offset: bigint, value: bigint) => {
        const address = checker.access(hart, register, offset, { size, perms: Perm.Store, alignment: 1 });
        if (address !== FAILED) context.memory.store(address, size, BigInt.asUintN(8 * size, value));
      };
    },
  },
]);

/** What cheri-memory.ts and cheri-mode.ts call. */
export const cheriMemoryIntrinsics: IntrinsicTable = {
  cload,
  ...Object.fromEntries([...loads, ...stores]),
  cloadres,
  cstorecond,
  cloadcap,
  cstorecap,
  cstorecondcap,
  cswapcap,
  cloadtags,
};
