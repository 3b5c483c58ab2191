/** Translations of an earlier machine: used where the code is the same, and only there. */
import { describe, expect, test } from "vitest";
import { createMachine } from "../machine/machine.ts";
import {
  decodeUnit,
  encodeUnit,
  hashHead,
  headsOf,
  type Candidate,
  type StoredUnit,
  type UnitCode,
  type Units,
  type UnitStore,
} from "./store.ts";
import type { Translator } from "./translator.ts";
import { CODE, same, WAYS, type Way } from "./twins.test.support.ts";

/** Keeps units as bytes, and gives them as a store on disk does. */
class MemoryStore implements UnitStore, Units {
  readonly kept: Uint8Array<ArrayBuffer>[] = [];
  readonly variants: Set<string> = new Set();
  removed = 0;
  #known: (name: string) => boolean = () => false;

  open(variant: string, known: (name: string) => boolean): Units {
    this.variants.add(variant);
    this.#known = known;
    return this;
  }
  *candidates(pc: number, memory: Uint8Array, at: number): Generator<Candidate> {
    for (const bytes of this.kept.toReversed()) {
      const unit = decodeUnit(bytes, this.#known)!;
      const head = headsOf(unit).find((other) => other.pc === pc);
      if (head !== undefined && head.hash === hashHead(memory, at, head.length)) yield { ...unit, load: () => unit };
    }
  }
  add(unit: StoredUnit): void {
    this.kept.push(encodeUnit(unit)!);
  }
  remove(_code: UnitCode): void {
    this.removed++;
  }
}

const PROGRAM = `
    li s0, 400
    mv s1, a0
  next: jal ra, f
    sd a1, 0(s1)
    addi s1, s1, 8
    fcvt.d.l fa0, s0
    fsqrt.d fa1, fa0
    fsd fa1, 0(s1)
    addi s0, s0, -1
    bnez s0, next
    ecall
    ${"nop\n".repeat(40)}
  f: addi a1, s0, 3
    mul a1, a1, a1
    ret`;

// Eagerly, all units are made for one place.
describe.each(WAYS.slice(1))("stored translations, %s", (_, way) => {
  const run = (store: MemoryStore, text = PROGRAM, on: Way = way): Translator => same({ ...on }, text, { translations: store }).translator;

  test("another machine runs them: it translates nothing, and all of the state is as in the interpreter", () => {
    const store = new MemoryStore();
    expect(run(store).stats.stored).toBe(0);
    expect(store.kept.length).toBeGreaterThan(0);
    const second = run(store);
    expect(second.stats.stored).toBeGreaterThan(0);
    expect(second.stats.units - second.stats.specialised).toBe(0);
    expect(store.variants.size).toBe(1);
  });
  test("code that begins alike and goes on differently is not run by them", () => {
    const store = new MemoryStore();
    run(store);
    const before = store.kept.length;
    // `f` stands behind the bytes that keys are made from.
    const second = run(store, PROGRAM.replace("addi a1, s0, 3", "addi a1, s0, 5"));
    expect(second.stats.units).toBeGreaterThan(0);
    expect(store.kept.length).toBeGreaterThan(before);
  });
  test("code elsewhere is not run by them", () => {
    const store = new MemoryStore();
    run(store);
    const { translator } = same({ ...way }, PROGRAM, { translations: store, at: CODE + 0x800 });
    expect(translator.stats.stored).toBe(0);
  });
  test("a unit that is gone when it is wanted is translated anew", () => {
    const store = new MemoryStore();
    run(store);
    const gone = new (class extends MemoryStore {
      override *candidates(pc: number, memory: Uint8Array, at: number): Generator<Candidate> {
        for (const candidate of super.candidates(pc, memory, at)) yield { ...candidate, load: () => undefined };
      }
    })();
    gone.kept.push(...store.kept);
    const { stats } = run(gone);
    expect([stats.stored, stats.units > 0]).toEqual([0, true]);
  });
  test("units made for one place are not stored", () => {
    const store = new MemoryStore();
    const { translator } = same({ ...way }, PROGRAM, { translations: store });
    expect(store.kept).toHaveLength(translator.stats.units - translator.stats.specialised);
  });
});

test("a machine that translates differently asks for another variant", () => {
  const store = new MemoryStore();
  for (const options of [{}, { checkLoads: false }, { privileged: true }]) {
    createMachine({ memoryBytes: 1 << 20, engine: "translator", translations: store, ...options });
  }
  expect(store.variants.size).toBe(3);
});
