import { assert, constantFrom, property, string } from "fast-check";
import { expect, test } from "vitest";
import { formatReference, parseReference } from "./reference.ts";

test.each([
  ["redis", "redis", "latest"],
  ["redis:8", "redis", "8"],
  ["a/b/c:V1.2-x_y", "a/b/c", "V1.2-x_y"],
  ["a.b__c--d_e", "a.b__c--d_e", "latest"],
])("%s", (reference, name, tag) => expect(parseReference(reference)).toEqual({ name, tag }));

test.each([
  "",
  ":",
  "redis:",
  ":8",
  "Redis",
  "a//b",
  "/a",
  "a/",
  "-a",
  "a-",
  "a..b",
  "a___b",
  "../a",
  "a:b/c",
  "a:b:c",
  "a@sha256:00",
  "a b",
  "a\n",
  "é",
  "a:-x",
  "a:.x",
  `a:${"x".repeat(129)}`,
  "a".repeat(256),
])("not %j", (reference) => expect(() => parseReference(reference)).toThrow(/^\[invalid\]/u));

test("any text is a reference whose form stays as it is, or refused, soon", () => {
  assert(
    property(string({ unit: constantFrom("a", "B", "0", ".", "_", "-", "/", ":", "@", " "), maxLength: 300 }), (text) => {
      let formatted;
      try {
        formatted = formatReference(text);
      } catch {
        return;
      }
      expect(formatReference(formatted)).toBe(formatted);
      expect(formatted.startsWith(text)).toBe(true);
    }),
  );
  expect(() => parseReference(`${"a-".repeat(100_000)}!`)).toThrow(/^\[invalid\]/u);
});
