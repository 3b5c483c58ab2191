import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Capability } from "../abi.ts";
import { OTYPE_MAX, OTYPE_SENTRY, Perm } from "../abi.ts";
import {
  allows,
  andPerms,
  buildCap,
  clearTag,
  conditionalSeal,
  copyType,
  derive,
  equal,
  format,
  fromMemory,
  incOffset,
  isNumber,
  isSealed,
  nullCapability,
  representableAlignment,
  representableLength,
  representableMask,
  root,
  seal,
  sealEntry,
  setAddress,
  setBounds,
  setBoundsExact,
  setFlag,
  setOffset,
  testSubset,
  toMemory,
  unseal,
} from "./index.ts";
import { fromRaw, toRaw } from "./operations.ts";
import { rawBuildCap, rawSetBounds, ROOT_HI } from "./raw.ts";

const MiB = 1024 * 1024;
const rwPerms = Perm.Load | Perm.Store | Perm.Global;

describe("well-known values", () => {
  test("root and NULL have the bits of the specification", () => {
    expect(toMemory(root())).toEqual({ hi: 0xffff_0000_0000_0000n, lo: 0n });
    expect(root()).toEqual({ tag: true, address: 0n, base: 0n, top: 1n << 64n, perms: 0x78fff, otype: -1, flag: 0 });
    expect(toMemory(nullCapability(5n))).toEqual({ hi: 0n, lo: 5n });
    expect(nullCapability().top).toBe(1n << 64n);
  });

  test("root of a memory is exact or refused", () => {
    expect(root(64 * MiB)).toMatchObject({ tag: true, base: 0n, top: BigInt(64 * MiB) });
    expect(root(3584 * MiB).top).toBe(BigInt(3584 * MiB));
    expect(() => root(3584 * MiB + 16)).toThrow(RangeError);
  });

  test("format prints as CHERI tools do", () => {
    const data = setAddress(derive(root(), 0, 0x10000, rwPerms), 0x1000);
    expect(format(data)).toBe("0x1000 [rw,0x0-0x10000]");
    expect(format(root())).toBe("0x0 [rwxRW,0x0-0x10000000000000000]");
    expect(format(nullCapability(0x12n))).toBe("0x12");
    expect([isNumber(nullCapability(5n)), isNumber(clearTag(data)), isNumber(clearTag(root()))]).toEqual([true, false, false]);
    expect(format(clearTag(data))).toBe("0x1000 [rw,0x0-0x10000] (invalid)");
    expect(format(sealEntry(setFlag(root(), 1)))).toBe("0x0 [rwxRW,0x0-0x10000000000000000] (sentry,capmode)");
    expect(format(seal(data, setAddress(root(), 7)))).toBe("0x1000 [rw,0x0-0x10000] (sealed)");
  });

  test("lengths", () => {
    expect(representableLength(4095)).toBe(4095n);
    expect(representableLength(0x662b)).toBe(0x6640n);
    expect(representableMask(0x662b)).toBe(0xffff_ffff_ffff_ffe0n);
    expect(representableAlignment(0x662b)).toBe(32n);
    expect(representableAlignment(16)).toBe(1n);
  });

  test("a tagged capability with bounds that cannot be held is refused, not widened", () => {
    expect(() => toMemory({ ...root(), base: 1n, top: 1_000_001n, address: 1n })).toThrow(RangeError);
  });

  test("allows is exact at both ends and wants a tag without a seal", () => {
    const data = derive(root(), 0x1000, 0x100, rwPerms);
    expect(allows(data, 0x1000, 0x100, Perm.Load)).toBe(true);
    expect(allows(data, 0x0fff, 1, Perm.Load)).toBe(false);
    expect(allows(data, 0x10f9, 8, Perm.Load)).toBe(false);
    expect(allows(data, 0x1000, 1, Perm.Execute)).toBe(false);
    expect(allows(clearTag(data), 0x1000, 1, Perm.Load)).toBe(false);
    expect(allows(sealEntry(data), 0x1000, 1, Perm.Load)).toBe(false);
  });
});

describe("sealing", () => {
  const code = derive(root(), 0x4000, 0x1000, Perm.Execute | Perm.Load | Perm.CInvoke | Perm.Global);
  const authority = setAddress(derive(root(), 16, 16, Perm.Seal | Perm.Unseal | Perm.Global), 20);

  test("seal and unseal with the same otype give the original back", () => {
    const sealed = seal(code, authority);
    expect(sealed).toMatchObject({ tag: true, otype: 20 });
    expect(unseal(sealed, authority)).toEqual(code);
  });

  test("what must not work clears the tag", () => {
    const sealed = seal(code, authority);
    expect(seal(code, setAddress(authority, 32)).tag).toBe(false); // one past the authority's top
    expect(seal(code, setAddress(authority, 15)).tag).toBe(false);
    expect(seal(code, andPerms(authority, Perm.Unseal)).tag).toBe(false);
    expect(seal(code, clearTag(authority)).tag).toBe(false);
    expect(seal(code, setAddress(root(), OTYPE_MAX + 1)).tag).toBe(false);
    expect(seal(code, setAddress(root(), OTYPE_MAX)).tag).toBe(true);
    expect(seal(sealed, authority).tag).toBe(false);
    expect(unseal(sealed, setAddress(authority, 21)).tag).toBe(false);
    expect(unseal(sealed, andPerms(authority, Perm.Seal)).tag).toBe(false);
    expect(unseal(sealEntry(code), setAddress(root(), 0xffff_ffff_ffff_fffen)).tag).toBe(false);
    expect(unseal(code, authority).tag).toBe(false);
  });

  test("unsealing by a local authority makes it local", () => {
    expect(unseal(seal(code, authority), andPerms(authority, Perm.Unseal)).perms & Perm.Global).toBe(0);
  });

  test("a sealed capability cannot be changed", () => {
    for (const sealed of [seal(code, authority), sealEntry(code)]) {
      expect(isSealed(sealed)).toBe(true);
      const changed = [
        setAddress(sealed, 0x4004),
        incOffset(sealed, 4),
        incOffset(sealed, 0),
        setOffset(sealed, 4),
        setBounds(sealed, 16).capability,
        andPerms(sealed, -1),
        setFlag(sealed, 1),
        sealEntry(sealed),
        copyType(sealed, sealed),
      ];
      expect(changed.map((c) => c.tag)).toEqual(changed.map(() => false));
    }
  });

  test("copyType, buildCap and conditionalSeal rederive a sealed capability", () => {
    const sealed = seal(code, authority);
    const rebuilt = buildCap(root(), clearTag(sealed));
    expect(rebuilt).toEqual(code);
    const again = conditionalSeal(rebuilt, copyType(authority, sealed));
    expect(equal(again, sealed)).toBe(true);
    expect(conditionalSeal(code, setAddress(authority, 32))).toEqual(code);
    expect(buildCap(root(), clearTag(sealEntry(code)))).toMatchObject({ tag: true, otype: OTYPE_SENTRY });
    expect(copyType(authority, code).tag).toBe(false);
  });
});

describe("properties", () => {
  const address = fc.oneof(fc.bigInt(0n, (1n << 64n) - 1n), fc.bigInt(0n, 0x1_0000_0000n));
  /** Any capability that guest code can make from root by moving, narrowing and dropping permissions. */
  const derived = fc
    .array(fc.record({ move: address, length: address, perms: fc.integer({ min: 0, max: 0x7ffff }) }), { maxLength: 4 })
    .map((steps) => {
      let cap = root();
      for (const { move, length, perms } of steps) {
        const span = cap.top - cap.base;
        const next = setBounds(setAddress(cap, span === 0n ? cap.base : cap.base + (move % span)), length % (span + 1n)).capability;
        if (next.tag) cap = next;
        cap = andPerms(cap, perms | Perm.Load);
      }
      return cap;
    });

  test("memory form and back", () => {
    fc.assert(
      fc.property(derived, (cap) => {
        const { hi, lo } = toMemory(cap);
        expect(fromMemory(hi, lo, cap.tag)).toEqual(cap);
      }),
    );
  });

  const authority = (c: Capability): [bigint, bigint, number] => [c.base, c.top, c.perms];
  test("no operation on a tagged capability gives more than it had", () => {
    fc.assert(
      fc.property(derived, address, (cap, n) => {
        const results = [
          setAddress(cap, n),
          incOffset(cap, n),
          setOffset(cap, n),
          setBounds(cap, n).capability,
          setBoundsExact(cap, n),
          andPerms(cap, Number(n & 0x7ffffn)),
          setFlag(cap, 1),
          sealEntry(cap),
          copyType(cap, seal(root(), setAddress(root(), n))),
          buildCap(cap, fromMemory(n << 3n, n, false)),
          buildCap(cap, clearTag(root())),
        ];
        for (const result of results) {
          if (!result.tag) continue;
          expect(testSubset(cap, result), `${format(cap)} -> ${format(result)} ${String(authority(result))}`).toBe(true);
          if (!isSealed(result)) expect(result.top >= result.base).toBe(true);
        }
      }),
      { numRuns: 2000 },
    );
  });

  test("bounds have one encoding: decompressing and compressing a tagged capability changes no bit", () => {
    fc.assert(
      fc.property(derived, address, address, (cap, a, n) => {
        const { capability } = rawSetBounds(toRaw(setAddress(cap, cap.base + (a % (cap.top - cap.base + 1n)))), n);
        if (capability.tag) expect(toRaw(fromRaw(capability))).toEqual(capability);
      }),
      { numRuns: 2000 },
    );
  });

  test("buildCap refuses encodings that no derivation makes", () => {
    const all = { tag: true, hi: ROOT_HI, address: 0n };
    let built = 0;
    fc.assert(
      fc.property(fc.bigInt(0n, (1n << 64n) - 1n), address, fc.boolean(), (hi, at, narrow) => {
        // Half of them from valid fields, so that many are derivable.
        const wanted = {
          tag: false,
          hi: narrow ? toRaw(setBounds(setAddress(root(), at), hi >> 40n).capability).hi ^ (hi & (3n << 46n)) : hi,
          address: at,
        };
        const result = rawBuildCap(all, wanted);
        if (!result.tag) return;
        built += 1;
        expect(toRaw(fromRaw(result))).toEqual(result);
        expect(fromRaw(result).top <= 1n << 64n).toBe(true);
      }),
      { numRuns: 4000 },
    );
    expect(built).toBeGreaterThan(100);
    // Exponents above 52 are read as 52, but are not the encoding of root.
    for (let exponent = 53n; exponent < 64n; exponent += 1n) {
      const fields = ((exponent >> 3n) << 14n) | (exponent & 7n);
      const hi = ROOT_HI ^ ((52n >> 3n) << 14n) ^ (52n & 7n) ^ fields;
      expect(rawBuildCap(all, { tag: false, hi, address: 0n }).tag, `E=${exponent}`).toBe(false);
    }
    expect(rawBuildCap(all, { tag: false, hi: ROOT_HI, address: 0n }).tag).toBe(true);
  });

  test("setBounds covers what was asked, and exact tells the truth", () => {
    fc.assert(
      fc.property(derived, address, (cap, n) => {
        const { capability, exact } = setBounds(cap, n);
        if (!capability.tag) return;
        expect(capability.base <= cap.address && capability.top >= cap.address + n).toBe(true);
        expect(exact).toBe(capability.base === cap.address && capability.top === cap.address + n);
      }),
      { numRuns: 2000 },
    );
  });

  test("a base and length aligned as told are exact", () => {
    fc.assert(
      fc.property(address, fc.bigInt(1n, 1n << 40n), (a, n) => {
        const length = representableLength(n);
        const base = (a >> 1n) & representableMask(n);
        expect(setBounds(setAddress(root(), base), length)).toMatchObject({
          exact: true,
          capability: { tag: true, base, top: base + length },
        });
      }),
      { numRuns: 1000 },
    );
  });
});
