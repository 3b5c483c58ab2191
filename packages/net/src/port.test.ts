import { describe, expect, it } from "vitest";
import { echoProtocol, serveEcho } from "./echo.ts";
import { memoryPair } from "./memory.ts";
import { openPort } from "./port.ts";
import { defineProtocol, silent } from "./protocol.ts";
import type { Frame, LinkLimits, Transport } from "./transport.ts";
import {
  array,
  boolean,
  bytes,
  integer,
  nothing,
  nullable,
  number,
  object,
  oneOf,
  optional,
  record,
  string,
  variants,
} from "./validators.ts";

const HELLO: Frame = [0, "cvm-echo", 1];

/** An echo server and the bare other end of its link. */
function bare(limits?: Partial<LinkLimits>): {
  raw: Transport;
  frames: Frame[];
  ended: Promise<string>;
  server: ReturnType<typeof serveEcho>;
} {
  const [raw, other] = memoryPair(limits);
  const frames: Frame[] = [];
  const { promise, resolve } = Promise.withResolvers<string>();
  raw.start({ frame: (frame) => void frames.push(frame), drained: () => {}, closed: (reason) => resolve(reason.message) });
  return { raw, frames, ended: promise, server: serveEcho(other) };
}

describe("what a port does with bad frames", () => {
  const cases: Record<string, [Frame[], RegExp]> = {
    "no hello": [[[1, 1, "echo", 0]], /first frame of the peer is no hello/],
    "another protocol": [[[0, "other", 1]], /speaks cvm-echo version 1, the peer other version 1/],
    "another version": [[[0, "cvm-echo", 2]], /the peer cvm-echo version 2/],
    "a second hello": [[HELLO, HELLO], /malformed frame of kind 0/],
    "an unknown kind": [[HELLO, [9]], /malformed frame of kind 9/],
    "an empty frame": [[HELLO, []], /malformed frame of kind undefined/],
    "a request without number": [[HELLO, [1, "x", "echo"]], /malformed frame of kind 1/],
    "an unknown event": [[HELLO, [4, "toString", 1]], /unknown event "toString"/],
    "an event that does not fit": [[HELLO, [4, "data", { bytes: "text" }]], /event "data" does not fit: bytes: expected bytes/],
    "an answer that nobody asked for": [[HELLO, [2, 1, 0]], /a request 1 that was never made/],
    "a number used twice": [[HELLO, [1, 5, "wait", { ms: 10_000 }], [1, 5, "echo", 0]], /second request 5/],
  };
  for (const [name, [frames, reason]] of Object.entries(cases)) {
    it(`ends the link: ${name}`, async () => {
      const { raw, ended, server } = bare();
      for (const frame of frames) raw.send(frame);
      expect(await ended).toMatch(reason);
      expect(await ended).toMatch(/^\[protocol\]/);
      expect((await server.closed).code).toBe("protocol");
    });
  }

  it("refuses unknown methods and bad parameters, and goes on", async () => {
    const { raw, frames, server } = bare();
    raw.send(HELLO);
    raw.send([1, 1, "constructor", 0]);
    raw.send([1, 2, "wait", { ms: -1 }]);
    raw.send([1, 3, "wait", { ms: 1, more: 1 }]);
    raw.send([1, 4, "echo", "hi"]);
    await expect.poll(() => frames.length).toBe(5);
    expect(frames.slice(1).sort((a, b) => Number(a[1]) - Number(b[1]))).toEqual([
      [3, 1, "unknown-method", 'there is no request "constructor"'],
      [3, 2, "invalid-params", '"wait": ms: expected an integer from 0 to 3600000'],
      [3, 3, "invalid-params", '"wait": more: expected no such key'],
      [2, 4, "hi"],
    ]);
    server.close();
  });

  it("ends the link when the peer does not read", async () => {
    const [left, right] = memoryPair({ highWaterBytes: 1000, bufferedBytes: 10_000 });
    const client = openPort(left, echoProtocol, "client", {});
    expect(client.emit("data", { bytes: new Uint8Array(10) })).toBe(true);
    expect(client.emit("data", { bytes: new Uint8Array(1000) })).toBe(false);
    client.emit("data", { bytes: new Uint8Array(10_000) });
    expect((await client.closed).code).toBe("limit");
    right.close("closed", "done");
  });

  it("resolves drained() when the peer has read, or is gone", async () => {
    const [left, right] = memoryPair({ highWaterBytes: 1000 });
    const client = openPort(left, echoProtocol, "client", {});
    expect(client.emit("data", { bytes: new Uint8Array(2000) })).toBe(false);
    const drained = client.drained();
    serveEcho(right);
    await drained;
    expect(client.bufferedBytes).toBeLessThan(1000);
    client.emit("data", { bytes: new Uint8Array(2000) });
    const again = client.drained();
    client.close();
    await again;
  });

  it("gives up without hello", async () => {
    const [left] = memoryPair();
    const client = openPort(left, echoProtocol, "client", {}, { helloMs: 10 });
    await expect(client.ready).rejects.toMatchObject({ code: "protocol" });
    await expect(client.request("echo", 1)).rejects.toMatchObject({ code: "protocol" });
  });
});

describe("requests", () => {
  const both = defineProtocol({
    name: "test",
    version: 1,
    client: { requests: { hang: { params: nothing(), result: nothing() }, lie: { params: nothing(), result: integer() } }, events: {} },
    server: { requests: { ask: { params: object({ n: integer() }), result: integer() } }, events: {} },
  });

  it("go from the server too, and cancel with a signal that the handler sees", async () => {
    const [left, right] = memoryPair();
    const given = Promise.withResolvers<unknown>();
    const server = openPort(right, both, "server", {
      hang: (_params, { signal }) =>
        new Promise((resolve) => signal.addEventListener("abort", () => (given.resolve(signal.reason), resolve(null)))),
      lie: () => "text" as never,
    });
    const client = openPort(left, both, "client", { ask: ({ n }) => n + 1 });
    expect(await server.request("ask", { n: 41 })).toBe(42);
    const controller = new AbortController();
    const hanging = client.request("hang", null, { signal: controller.signal });
    await client.ready;
    controller.abort();
    await expect(hanging).rejects.toMatchObject({ code: "aborted" });
    expect(await given.promise).toMatchObject({ code: "aborted" });
    await expect(client.request("lie", null)).rejects.toMatchObject({ code: "protocol" });
    await expect(server.request("ask", { n: 0.5 })).rejects.toMatchObject({ code: "invalid" });
    await expect(server.request("nothing" as never, {} as never)).rejects.toMatchObject({ code: "invalid" });
    client.close();
  });

  it("answer busy above the limit", async () => {
    const [left, right] = memoryPair();
    openPort(right, both, "server", { hang: () => new Promise(() => {}), lie: () => 1 }, { requests: 1 });
    const client = openPort(left, both, "client", { ask: () => 0 });
    const first = client.request("hang", null);
    await expect(client.request("lie", null)).rejects.toMatchObject({ code: "busy" });
    client.close();
    await expect(first).rejects.toMatchObject({ code: "closed" });
  });

  it("know a side that says nothing", () => {
    expect(defineProtocol({ name: "quiet", version: 1, client: silent, server: silent }).client).toBe(silent);
  });
});

describe("validators", () => {
  it("let through what fits and name the place of what does not", () => {
    const shape = object({ a: integer(0, 9), b: optional(string(3)), c: array(object({ d: boolean() })), e: nullable(number()) });
    expect(shape.parse({ a: 1, c: [{ d: true }], e: null })).toEqual({ a: 1, c: [{ d: true }], e: null });
    expect(() => shape.parse({ a: 1, c: [{ d: true }, { d: 1 }], e: null })).toThrow("c.1.d: expected true or false");
    expect(() => shape.parse({ a: 1, b: "long", c: [], e: 1 })).toThrow("b: expected text of at most 3 characters");
    expect(() => shape.parse({ a: 10, c: [], e: 1 })).toThrow("a: expected an integer from 0 to 9");
    expect(() => shape.parse({ a: 1, c: [], e: Number.NaN })).toThrow("e: expected a finite number");
    expect(() => shape.parse([])).toThrow("expected an object");
    expect(() => bytes(2).parse(new Uint8Array(3))).toThrow("at most 2 bytes");
    expect(() => oneOf("x", 1).parse("y")).toThrow('expected one of "x", 1');
    expect(record(integer()).parse({ x: 1 })).toEqual({ x: 1 });
    expect(() => record(integer()).parse({ x: "1" })).toThrow("x: expected an integer");
    const union = variants("kind", { point: { x: integer() }, text: { value: string() } });
    expect(union.parse({ kind: "point", x: 1 })).toEqual({ kind: "point", x: 1 });
    expect(() => union.parse({ kind: "circle" })).toThrow("kind: expected one of point, text");
    expect(() => union.parse({ kind: "text", value: 1 })).toThrow("value: expected text");
  });
});
