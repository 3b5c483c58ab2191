/** Every load and store, through DDC and through capabilities, at every alignment, inside a page and over the border of two. */
import { describe, expect, test } from "vitest";
import { Cause, Exit, OTYPE_UNSEALED, Perm, Prot, type Capability, type EngineName, type HartPort } from "../abi.ts";
import { assembleText } from "../assembler/text.ts";
import * as cap from "../capability/index.ts";
import { ENGINES } from "../engines.test.support.ts";
import { createMachine, type Machine } from "../machine/machine.ts";
import { immediates } from "./bench.test.support.ts";

const MIB = 1 << 20;
const CODE = 0x1_0000;
const DATA = 0x4_0000;
const BORDER = DATA + 0x4000;
const everything: Capability = { tag: true, address: 0n, base: 0n, top: 1n << 64n, perms: Perm.All, otype: OTYPE_UNSEALED, flag: 0 };

interface Form {
  readonly name: string;
  readonly size: 1 | 2 | 4 | 8;
  readonly file: "x" | "f";
  /** What a load makes of the bytes, as 64 bits. */
  readonly extend: "signed" | "zero" | "box";
}
const form = (name: string, size: Form["size"], extend: Form["extend"] = "signed", file: Form["file"] = "x"): Form => ({
  name,
  size,
  file,
  extend,
});
const LOADS = [
  form("lb", 1),
  form("lh", 2),
  form("lw", 4),
  form("ld", 8),
  form("lbu", 1, "zero"),
  form("lhu", 2, "zero"),
  form("lwu", 4, "zero"),
  form("flw", 4, "box", "f"),
  form("fld", 8, "zero", "f"),
];
const STORES = [form("sb", 1), form("sh", 2), form("sw", 4), form("sd", 8), form("fsw", 4, "box", "f"), form("fsd", 8, "zero", "f")];

/** Ways to an address: what is written before the name, behind it and as address, whether it has an offset, and the mode. */
const WAYS = {
  "integer mode": { mode: "int", name: (n: string) => n, address: (offset: number) => `${offset}(a1)`, offsets: true, floats: true },
  "through DDC": { mode: "int", name: (n: string) => `${n}.ddc`, address: () => "(a1)", offsets: false, floats: false },
  "through a capability": { mode: "int", name: (n: string) => `${n}.cap`, address: () => "(ca1)", offsets: false, floats: false },
  "capability mode": {
    mode: "cap",
    name: (n: string) => `c${n}`,
    address: (offset: number) => `${offset}(ca1)`,
    offsets: true,
    floats: true,
  },
} as const;
type Way = (typeof WAYS)[keyof typeof WAYS];

/** A byte for each address, none of them 0 and half of them negative. */
const byteAt = (address: number): number => ((address * 37 + 0x81) & 0xff) | 0x08;
const bytesAt = (address: number, size: number): bigint =>
  Array.from({ length: size }, (_, at) => BigInt(byteAt(address + at))).reduceRight((value, byte) => (value << 8n) | byte, 0n);

class Site {
  readonly machine: Machine;
  readonly hart: HartPort;
  readonly #way: Way;
  constructor(engine: EngineName, way: Way) {
    this.#way = way;
    this.machine = createMachine({ engine, memoryBytes: MIB });
    this.machine.protect(CODE, 0x1000, Prot.Read | Prot.Execute);
    this.machine.protect(DATA, 0x8000, Prot.Read | Prot.Write);
    this.hart = this.machine.createHart();
    this.hart.ddc = everything;
    this.hart.pcc = { ...everything, flag: way.mode === "cap" ? 1 : 0 };
  }
  /** The instruction that runs from now on. */
  text(name: string, register: string, offset: number): void {
    const text = `${this.#way.name(name)} ${register}, ${this.#way.address(offset)}\necall`;
    this.machine.storeRange(CODE, assembleText(text, { mode: this.#way.mode }));
  }
  /** Runs it at an address less the offset. */
  run(address: number, offset: number): void {
    if (this.#way.address(0).includes("c")) this.hart.setCapability(11, { ...everything, address: BigInt(address - offset) });
    else this.hart.setX(11, BigInt(address - offset));
    this.hart.pc = CODE;
    expect(this.hart.run(10)).toBe(Exit.Ecall);
  }
}

/** 16 alignments in the middle of a page, and all places from which 16 bytes reach over its end. */
const PLACES = [...Array.from({ length: 16 }, (_, at) => DATA + 0x100 + at), ...Array.from({ length: 17 }, (_, at) => BORDER - 16 + at)];
/** How the page behind the border differs from a plain one, which sends stores and loads that touch it another way. */
const NEIGHBOURS: Readonly<Record<string, (site: Site) => void>> = {
  "a plain page": () => {},
  "a page with tags": ({ machine }) => machine.storeCapability(BORDER + 0x800, cap.root()),
  "a page of code that ran": ({ machine, hart }) => {
    machine.protect(BORDER, 0x1000, Prot.Read | Prot.Write | Prot.Execute);
    machine.storeRange(BORDER + 0x800, Uint8Array.of(0x73, 0, 0, 0));
    const { pcc } = hart;
    hart.pcc = everything;
    hart.pc = BORDER + 0x800;
    expect(hart.run(5)).toBe(Exit.Ecall);
    hart.pcc = pcc;
  },
};

describe.each(ENGINES)("%s", (engine) => {
  describe.each(Object.entries(WAYS))("%s", (_name, way) => {
    const usable = (list: readonly Form[]): Form[] => list.filter(({ file }) => file === "x" || way.floats);
    const offsets = way.offsets ? immediates(-2048, 2047) : [0];
    describe.each(Object.keys(NEIGHBOURS))("before %s", (neighbour) => {
      const site = new Site(engine, way);
      NEIGHBOURS[neighbour]!(site);
      const { machine, hart } = site;

      test.each(usable(LOADS))("$name at every alignment", ({ name, size, file, extend }) => {
        const first = DATA;
        machine.storeRange(
          first,
          Uint8Array.from({ length: 0x800 }, (_, at) => byteAt(first + at)),
        );
        machine.storeRange(
          BORDER - 32,
          Uint8Array.from({ length: 64 }, (_, at) => byteAt(BORDER - 32 + at)),
        );
        site.text(name, file === "f" ? "fa0" : "a0", 0);
        for (const place of PLACES) {
          site.run(place, 0);
          const raw = bytesAt(place, size);
          const expected =
            extend === "signed" ? BigInt.asUintN(64, BigInt.asIntN(8 * size, raw)) : extend === "box" ? raw | (0xffff_ffffn << 32n) : raw;
          expect((file === "f" ? hart.getF(10) : hart.getX(10)).toString(16), `at ${place.toString(16)}`).toBe(expected.toString(16));
        }
      });
      test.each(usable(STORES))("$name at every alignment writes its bytes and no others", ({ name, size, file }) => {
        const value = 0xf1e2_d3c4_b5a6_9788n;
        site.text(name, file === "f" ? "fa0" : "a0", 0);
        for (const place of PLACES) {
          const expected = Uint8Array.from({ length: 48 }, (_, at) => byteAt(place - 16 + at));
          machine.storeRange(place - 16, expected);
          if (file === "f") hart.setF(10, value);
          else hart.setX(10, value);
          site.run(place, 0);
          for (let at = 0; at < size; at++) expected[16 + at] = Number((value >> BigInt(8 * at)) & 0xffn);
          expect([...machine.readBytes(place - 16, 48)], `at ${place.toString(16)}`).toEqual([...expected]);
        }
      });
    });

    if (way.offsets)
      test("every boundary of the offset", () => {
        const site = new Site(engine, way);
        for (const [load, store, file] of [
          ["lhu", "sh", ""],
          ["ld", "sd", ""],
          ["fld", "fsd", "f"],
        ] as const) {
          for (const offset of offsets) {
            const place = DATA + 0x1003;
            site.machine.zeroRange(DATA + 0x1000, 32);
            site.hart.setX(10, 0x1234n);
            site.hart.setF(10, 0x1234n);
            site.text(store, `${file}a0`, offset);
            site.run(place, offset);
            expect(site.machine.readU64(place), `${store} ${offset}`).toBe(0x1234);
            site.hart.setX(10, 0n);
            site.hart.setF(10, 0n);
            site.text(load, `${file}a0`, offset);
            site.run(place, offset);
            expect(file === "f" ? site.hart.getF(10) : site.hart.getX(10), `${load} ${offset}`).toBe(0x1234n);
          }
        }
      });
  });

  describe.each([
    ["lc ca0, 0(a1)", "int", "load"],
    ["lc.ddc ca0, (a1)", "int", "load"],
    ["lc.cap ca0, (ca1)", "int", "load"],
    ["clc ca0, 0(ca1)", "cap", "load"],
    ["lr.c ca0, (a1)", "int", "load"],
    ["lr.c.cap ca0, (ca1)", "int", "load"],
    ["clr.c ca0, (ca1)", "cap", "load"],
    ["sc ca0, 0(a1)", "int", "store"],
    ["sc.ddc ca0, (a1)", "int", "store"],
    ["sc.cap ca0, (ca1)", "int", "store"],
    ["csc ca0, 0(ca1)", "cap", "store"],
    ["amoswap.c ca2, ca0, (a1)", "int", "store"],
    ["camoswap.c ca2, ca0, (ca1)", "cap", "store"],
  ] as const)("%s", (text, mode, kind) => {
    test("moves a capability at a multiple of 16, and traps at every other address", () => {
      const way = Object.values(WAYS).find((each) => each.mode === mode && each.address(0).includes("ca1") === text.includes("ca1"))!;
      const site = new Site(engine, way);
      const { machine, hart } = site;
      machine.storeRange(CODE, assembleText(`${text}\necall`, { mode }));
      const [inside, held] = [cap.derive(cap.root(), DATA, 0x100, Perm.Load), cap.derive(cap.root(), DATA + 0x200, 0x40, Perm.Store)];
      for (const place of [DATA + 0x40, BORDER - 16, BORDER]) {
        for (let off = 0; off < 16; off++) {
          machine.zeroRange(place, 32);
          machine.storeCapability(place, inside);
          hart.setCapability(10, held);
          if (text.includes("ca1")) hart.setCapability(11, { ...everything, address: BigInt(place + off) });
          else hart.setX(11, BigInt(place + off));
          hart.pc = CODE;
          const exit = hart.run(5);
          if (off === 0) {
            expect(exit).toBe(Exit.Ecall);
            expect(hart.getCapability(10)).toEqual(kind === "load" ? inside : held);
            expect(machine.loadCapability(place)).toEqual(kind === "load" ? inside : held);
            continue;
          }
          const cause = kind === "load" ? Cause.LoadMisaligned : Cause.StoreMisaligned;
          expect([exit, hart.trapCause, hart.trapValue, hart.pc], `${text} at ${off}`).toEqual([Exit.Trap, cause, place + off, CODE]);
          expect([hart.getCapability(10), machine.loadCapability(place), machine.countTags(place, 32)]).toEqual([held, inside, 1]);
        }
      }
    });
  });
});
