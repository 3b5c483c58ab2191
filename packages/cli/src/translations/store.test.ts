import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { translationsFolder } from "../home.ts";
import { useTemporaryHome } from "../test-support/home.ts";
import { fingerprintOf } from "./fingerprint.ts";
import { openTranslations } from "./store.ts";
import { unitOf } from "./units.test.support.ts";

useTemporaryHome();
const known = (): boolean => true;
const memory = (): Uint8Array => unitOf(1).bytes;

test("units go from one host to the next of the same variant", async () => {
  const first = openTranslations(() => {}, "on")!;
  first.open("a", known).add(unitOf(1));
  first.open("b", known).add(unitOf(2));
  await first.close();
  const second = openTranslations(() => {}, "on")!;
  const [a, b, c] = ["a", "b", "c"].map((variant) => [...second.open(variant, known).candidates(0x1000, memory(), 0)]);
  expect([a!.length, b!.length, c!.length]).toEqual([1, 0, 0]);
  expect(a![0]!.load()).toEqual(unitOf(1));
  await second.close();
});
test("CVM_TRANSLATIONS=off does without, another setting is a usage error", () => {
  expect(openTranslations(() => {}, "off")).toBeUndefined();
  expect(() => openTranslations(() => {}, "maybe")).toThrow(/^\[usage\] CVM_TRANSLATIONS is "maybe"/u);
  expect(existsSync(translationsFolder())).toBe(false);
});
test("a fingerprint is the same each time, and of its variant", () => {
  expect(fingerprintOf("a")).toEqual(fingerprintOf("a"));
  expect(fingerprintOf("a")).toHaveLength(32);
  expect(fingerprintOf("a")).not.toEqual(fingerprintOf("b"));
});
