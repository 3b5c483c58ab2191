/** Bytes that go at once to who waits for them, and CP_Streams between ends of which one lies. */
import { beforeEach, describe, expect, test } from "vitest";
import { Limits } from "./abi.ts";
import type { CpObject } from "./cp/objects.ts";
import { Errno } from "./errors.ts";
import { type NetworkNode, VirtualNetwork } from "./network.ts";

let mail: (() => void)[];
let log: string[];
let network: VirtualNetwork;
/** What the end at B does with bytes that are offered. */
let takes: (bytes: Uint8Array, all: boolean) => number;
let a: NetworkNode;
let b: NetworkNode;
const line = { name: "line" } as unknown as CpObject;
const other = { name: "other" } as unknown as CpObject;
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const bytes = (content: string): Uint8Array => new TextEncoder().encode(content);

function heard(): string[] {
  for (let deliver = mail.shift(); deliver !== undefined; deliver = mail.shift()) deliver();
  return log.splice(0);
}

beforeEach(() => {
  mail = [];
  log = [];
  takes = () => 0;
  network = new VirtualNetwork({ post: (deliver) => void mail.push(deliver) });
  const attach = (name: string): NetworkNode => {
    let next = 100;
    const say = (what: string): void => void log.push(`${name} ${what}`);
    return network.attach(name, undefined, {
      incoming: (_listener, _from, accept) => accept(next++),
      connected: (stream, error) => say(`connected ${stream} ${error}`),
      received: (stream, got) => say(`received ${stream} ${got.length > 20 ? got.length : text(got)}`),
      lent: (stream, got, all) => {
        const taken = takes(got, all);
        if (taken > 0) say(`took ${stream} ${got.length > 20 ? taken : text(got.subarray(0, taken))}`);
        return taken;
      },
      credited: (stream, count) => say(`credited ${stream} ${count}`),
      ended: (stream) => say(`ended ${stream}`),
      reset: (stream, error) => say(`reset ${stream} ${error}`),
    });
  };
  a = attach("a");
  b = attach("b");
  expect(b.listenAt(line, 7, 16)).toBe(0);
  expect(a.connectTo(b, line, 1, () => {})).not.toBe(null);
  expect(heard()).toEqual(["a connected 1 0"]);
});

describe("at once", () => {
  test("what a reader takes needs no credit; what is left may go by the window", () => {
    takes = (got, all) => (all ? 0 : Math.min(4, got.length));
    expect(a.lend(1, bytes("straight on"))).toBe(4);
    expect(log.splice(0)).toEqual(["b took 100 stra"]);
    expect(b.credit(100, 4)).toBe(false);
    expect(a.lend(1, new Uint8Array(Limits.streamWindow * 4))).toBe(4);
    expect(a.send(1, bytes("rest"))).toBe(true);
    expect(heard()).toEqual([`b took 100 4`, "b received 100 rest"]);
  });

  test("nothing overtakes what is under way", () => {
    expect(a.send(1, bytes("one "))).toBe(true);
    takes = (got) => got.length;
    expect(a.lend(1, bytes("two "))).toBe(0);
    expect(a.send(1, bytes("two "))).toBe(true);
    expect(heard()).toEqual(["b received 100 one ", "b received 100 two "]);
    expect(a.send(1, bytes("three"))).toBe(true);
    expect(log).toEqual(["b took 100 three"]);
  });

  test("bytes that have to wait are those that may be kept", () => {
    const memory = bytes("mine");
    expect(a.send(1, memory, (same) => same.slice())).toBe(true);
    memory.fill(33);
    expect(heard()).toEqual(["b received 100 mine"]);
  });

  test("never inside such a delivery, nor to the sender's own cVM", () => {
    takes = (got) => {
      expect(b.lend(100, bytes("back"))).toBe(0);
      expect(b.send(100, bytes("back"))).toBe(true);
      return got.length;
    };
    expect(a.send(1, bytes("there"))).toBe(true);
    expect(log.splice(0)).toEqual(["b took 100 there"]);
    takes = () => 0;
    expect(heard()).toEqual(["a received 1 back"]);
    expect(b.connectTo(b, line, 2, () => {})).not.toBe(null);
    heard();
    takes = (got) => got.length;
    expect(b.lend(2, bytes("to myself"))).toBe(0);
    expect(b.send(2, bytes("to myself"))).toBe(true);
    expect(heard()).toEqual(["b received 101 to myself"]);
  });

  test("who offered more than was taken hears once that it is wanted", () => {
    b.want(100);
    expect(heard()).toEqual([]);
    expect(a.lend(1, bytes("much"))).toBe(0);
    b.want(100);
    b.want(100);
    expect(heard()).toEqual(["a credited 1 0"]);
  });

  test("an end that takes nothing at once is known for it, so that nobody waits for it to want more", () => {
    const outside = network.connectFromHost(b.address, 9, {
      connected() {},
      received: () => void log.push("host received"),
      credited() {},
      ended() {},
      reset() {},
    });
    expect(outside.closed).toBe(true);
    expect(b.listen(9, 9, 1)).toBe(0);
    network.connectFromHost(b.address, 9, {
      connected() {},
      received: () => void log.push("host received"),
      credited() {},
      ended() {},
      reset() {},
    });
    heard();
    expect(b.lend(101, new Uint8Array(100_000))).toBe(-1);
    expect(b.send(101, bytes("by the window"))).toBe(true);
    expect(heard()).toEqual(["host received"]);
  });

  test.each([
    ["fails", -1],
    ["takes more than there is", 5],
    ["takes no number", Number.NaN],
    ["takes a part of all", 2],
  ])("a receiver that %s loses this connection, the sender nothing else", (_, taken) => {
    takes = () => taken;
    expect(a.send(1, bytes("four"))).toBe(true);
    expect(
      heard()
        .filter((event) => !event.includes("took"))
        .sort(),
    ).toEqual([`a reset 1 ${Errno.ECONNRESET}`, `b reset 100 ${Errno.ECONNRESET}`]);
    takes = () => 0;
    expect(a.connectTo(b, line, 2, () => {})).not.toBe(null);
    heard();
    expect(a.send(2, bytes("on"))).toBe(true);
    expect(heard()).toEqual(["b received 101 on"]);
  });
});

describe("a CP_Stream whose other end lies", () => {
  test("more than the window resets it; lending more than was offered is no way around", () => {
    expect(a.send(1, new Uint8Array(Limits.streamWindow + 1))).toBe(false);
    expect(heard().sort()).toEqual([`a reset 1 ${Errno.ECONNRESET}`, `b reset 100 ${Errno.ECONNRESET}`]);
    expect(a.lend(1, bytes("gone"))).toBe(0);
  });

  test("credit for what was not received is refused, and makes no room", () => {
    expect(a.send(1, new Uint8Array(1000))).toBe(true);
    heard();
    for (const count of [1001, 0, -1, 0.5, Number.NaN, "5", 2 ** 53]) expect(b.credit(100, count)).toBe(false);
    expect(b.credit(100, 1000)).toBe(true);
    expect(b.credit(100, 1)).toBe(false);
    expect(heard()).toEqual(["a credited 1 1000"]);
    expect(a.send(1, new Uint8Array(Limits.streamWindow))).toBe(true);
    expect(a.send(1, new Uint8Array(1))).toBe(false);
  });

  test("numbers of others, of listeners and of none do nothing", () => {
    for (const number of [100, 7, 0, -1, 1.5, "1", null, 2 ** 40]) {
      expect(a.send(number, bytes("x"))).toBe(false);
      expect(a.lend(number, bytes("x"))).toBe(0);
      expect(a.credit(number, 1)).toBe(false);
      expect(a.shutdown(number)).toBe(false);
      expect(a.close(number, true)).toBe(false);
      a.want(number);
    }
    expect(a.connectTo(b, line, 1, () => {})).toBe(null);
    expect(b.listenAt(other, 7, 1)).toBe(-Errno.EINVAL);
    expect(heard()).toEqual([]);
    expect(a.send(1, bytes("still"))).toBe(true);
    expect(heard()).toEqual(["b received 100 still"]);
  });

  test("a flood of connects meets the backlog: what is refused holds nothing, and another stream goes on", () => {
    expect(b.listenAt(other, 8, 3)).toBe(0);
    let gone = 0;
    const most = 5000;
    for (let number = 2; number < most + 2; number++) expect(a.connectTo(b, other, number, () => gone++)).not.toBe(null);
    expect(gone).toBe(most - 3);
    expect([a.streams, b.streams]).toEqual([4, 1]);
    expect(a.send(1, bytes("on"))).toBe(true);
    const events = heard();
    expect(events).toContain("b received 100 on");
    expect(events.filter((event) => event.endsWith(` ${Errno.ECONNREFUSED}`))).toHaveLength(most - 3);
  });
});
