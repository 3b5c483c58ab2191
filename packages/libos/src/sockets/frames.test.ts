import fc from "fast-check";
import { expect, test } from "vitest";
import { DATAGRAM_BYTES, encodeFrame, FrameKind, FrameReader, type Frame } from "./frames.ts";

const port = fc.integer({ min: 0, max: 65535 });
const frames = fc.array(
  fc.record({
    kind: fc.constantFrom(...Object.values(FrameKind)),
    address: fc.oneof(
      fc.ipV4(),
      fc
        .array(fc.integer({ min: 1, max: 65535 }), { minLength: 8, maxLength: 8 })
        .map((groups) => groups.map((one) => one.toString(16)).join(":")),
    ),
    remotePort: port,
    localPort: port,
    bytes: fc.uint8Array({ maxLength: 100 }),
  }),
  { maxLength: 5 },
);

test("come out as they went in, however the stream is cut", () => {
  fc.assert(
    fc.property(frames, fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 40 }), (sent, cuts) => {
      const all = Buffer.concat(sent.map((one) => encodeFrame(one)));
      const reader = new FrameReader();
      const got: Frame[] = [];
      let at = 0;
      for (let turn = 0; at < all.length; turn++) {
        const next = at + cuts[turn % cuts.length]!;
        const found = reader.read(all.subarray(at, next));
        expect(found).not.toBeNull();
        got.push(...found!);
        at = next;
      }
      expect(got).toEqual(sent);
    }),
  );
});

test("the longest datagram fits, a longer one does not", () => {
  const frame = (length: number): Uint8Array =>
    encodeFrame({ kind: FrameKind.DATA, address: "10.88.0.2", remotePort: 1, localPort: 2, bytes: new Uint8Array(length) });
  expect(new FrameReader().read(frame(DATAGRAM_BYTES))).toHaveLength(1);
  expect(new FrameReader().read(frame(DATAGRAM_BYTES + 1))).toBeNull();
});

test("what is none is told at once, and nothing after it is read", () => {
  const good = encodeFrame({ kind: FrameKind.DATA, address: "10.88.0.2", remotePort: 1, localPort: 2, bytes: Uint8Array.of(1) });
  for (const bad of [
    [0, 0, 0, 0],
    [0, 0, 0, 20, 0],
    [255, 255, 255, 255],
    [0, 0, 0, 30, 4],
    [127, 0, 0, 0, 0, 0, 0, 0, 0],
  ]) {
    const reader = new FrameReader();
    expect(reader.read(Uint8Array.from(bad))).toBeNull();
    expect(reader.read(good) ?? []).toEqual([]);
  }
});
