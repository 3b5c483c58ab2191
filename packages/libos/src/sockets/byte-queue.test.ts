import * as fc from "fast-check";
import { expect, it } from "vitest";
import { ByteQueue } from "./byte-queue.ts";

it("gives back what went in, whatever the sizes", () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("push" as const), length: fc.integer({ min: 0, max: 5000 }) }),
    fc.record({ kind: fc.constant("copy" as const), length: fc.integer({ min: 0, max: 5000 }) }),
    fc.record({ kind: fc.constant("take" as const), length: fc.integer({ min: 1, max: 6000 }) }),
    fc.record({ kind: fc.constant("peek" as const), length: fc.integer({ min: 1, max: 6000 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const queue = new ByteQueue();
      let model: number[] = [];
      let next = 0;
      const taken: [Uint8Array, number[]][] = [];
      for (const { kind, length } of steps) {
        if (kind === "push" || kind === "copy") {
          const bytes = Uint8Array.from({ length }, () => next++ & 255);
          model.push(...bytes);
          if (kind === "push") queue.push(bytes);
          else {
            queue.pushCopy(bytes);
            bytes.fill(0);
          }
        } else {
          const bytes = kind === "take" ? queue.take(length) : queue.peek(length);
          const expected = model.slice(0, length);
          if (kind === "take") model = model.slice(length);
          taken.push([bytes, expected]);
        }
        expect(queue.length).toBe(model.length);
      }
      // Later additions must not have changed what was taken.
      for (const [bytes, expected] of taken) expect([...bytes]).toEqual(expected);
    }),
    { numRuns: 60 },
  );
});

it("does not copy a chunk that is taken whole or from its start", () => {
  const queue = new ByteQueue();
  const chunk = new Uint8Array(100);
  queue.push(chunk);
  expect(queue.take(40).buffer).toBe(chunk.buffer);
  queue.push(new Uint8Array(10));
  expect(queue.take(60).buffer).toBe(chunk.buffer);
  queue.clear();
  queue.push(chunk);
  expect(queue.take(100)).toBe(chunk);
});
