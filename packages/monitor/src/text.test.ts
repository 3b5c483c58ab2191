import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeText, encodeText } from "./text.ts";

test.each([
  ["plain", "plain"],
  ["\u{feff}æ語😀", "\u{feff}æ語😀"],
])("%s is itself", (text, expected) => {
  expect(decodeText(Buffer.from(text))).toBe(expected);
});

test("bytes that are no UTF-8 are kept, each as one private character", () => {
  expect(decodeText(Uint8Array.of(0x61, 0xff, 0x62))).toBe("a\u{10ffff}b");
  // Overlong, a surrogate, beyond Unicode, cut off.
  for (const bytes of [
    [0xc0, 0xaf],
    [0xe0, 0x80, 0xaf],
    [0xed, 0xb3, 0xa7],
    [0xf4, 0x90, 0x80, 0x80],
    [0xe8, 0xaa],
  ])
    expect(decodeText(Uint8Array.from(bytes))).toBe(String.fromCodePoint(...bytes.map((byte) => 0x10ff00 + byte)));
});

test("any bytes come back, and the text is valid Unicode", () => {
  const piece = fc.oneof(
    fc.uint8Array({ maxLength: 6 }),
    fc.string({ unit: "binary", maxLength: 4 }).map((text) => Uint8Array.from(Buffer.from(text))),
    fc.integer({ min: 0x10fe00, max: 0x10ffff }).map((code) => Uint8Array.from(Buffer.from(String.fromCodePoint(code)))),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
      const bytes = Buffer.concat(pieces);
      const text = decodeText(bytes);
      expect(text.isWellFormed()).toBe(true);
      expect(Buffer.from(encodeText(text)).equals(bytes)).toBe(true);
    }),
  );
});

test("different bytes are different text", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 5 }), fc.uint8Array({ maxLength: 5 }), (a, b) => {
      expect(decodeText(a) === decodeText(b)).toBe(Buffer.from(a).equals(Buffer.from(b)));
    }),
  );
});
