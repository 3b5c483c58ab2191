import { beforeEach, describe, expect, test } from "vitest";
import type { Endpoint } from "./abi.ts";
import { Limits } from "./abi.ts";
import type { Incoming, NetworkNode, Uplink } from "./network.ts";
import { HOST_ADDRESS, sixOf, VirtualNetwork } from "./network.ts";

class Post {
  #queue: (() => void)[] = [];
  busy: boolean = false;
  post = (deliver: () => void): void => void this.#queue.push(deliver);
  /** Delivers until nothing is left; nothing may be delivered inside another delivery. */
  run(): void {
    for (let deliver = this.#queue.shift(); deliver !== undefined; deliver = this.#queue.shift()) {
      expect(this.busy).toBe(false);
      this.busy = true;
      deliver();
      this.busy = false;
    }
  }
}

let post: Post;
let network: VirtualNetwork;
let log: string[];

interface Side {
  readonly node: NetworkNode;
  /** Number for the next connection that comes in; 0 leaves it waiting. */
  accept: number;
  readonly offers: { readonly from: Endpoint; readonly accept: (stream: number) => void }[];
}

function side(name: string, address?: string): Side {
  const say = (text: string): void => void log.push(`${name} ${text}`);
  const result: { -readonly [K in keyof Side]?: Side[K] } & Pick<Side, "accept" | "offers"> = { accept: 100, offers: [] };
  result.node = network.attach(name, address, {
    incoming: (listener, from, accept) => {
      say(`incoming ${listener} from ${from.address}`);
      if (result.accept > 0) accept(result.accept++);
      else result.offers.push({ from, accept });
    },
    connected: (stream, error, local) => say(`connected ${stream} ${error} ${local.address}`),
    received: (stream, bytes) => say(`received ${stream} ${bytes.length > 16 ? bytes.length : new TextDecoder().decode(bytes)}`),
    credited: (stream, bytes) => say(`credited ${stream} ${bytes}`),
    ended: (stream) => say(`ended ${stream}`),
    reset: (stream, error) => say(`reset ${stream} ${error}`),
  });
  return result as Side;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const heard = (): string[] => {
  post.run();
  return log.splice(0);
};

beforeEach(() => {
  post = new Post();
  log = [];
  network = new VirtualNetwork({ post: post.post });
});

/** A connection from a (stream 1) to b (stream 100). */
function connected(): { a: Side; b: Side } {
  const a = side("a");
  const b = side("b");
  expect(b.node.listen(7, 6379, 16)).toBe(0);
  expect(a.node.connect(1, { address: b.node.address, port: 6379 }, 0)).toBe(true);
  expect(heard()).toEqual(["b incoming 7 from 10.88.0.2", "a connected 1 0 10.88.0.2"]);
  return { a, b };
}

test("two cVMs talk; both ends close in their own time", () => {
  const { a, b } = connected();
  expect(a.node.send(1, bytes("ping"))).toBe(true);
  expect(heard()).toEqual(["b received 100 ping"]);
  expect(b.node.credit(100, 4)).toBe(true);
  expect(b.node.send(100, bytes("pong"))).toBe(true);
  expect(heard()).toEqual(["a credited 1 4", "a received 1 pong"]);
  a.node.shutdown(1);
  expect(a.node.send(1, bytes("more"))).toBe(false);
  b.node.send(100, bytes("still"));
  expect(heard()).toEqual(["b ended 100", "a received 1 still"]);
  b.node.close(100, false);
  expect(heard()).toEqual(["a ended 1"]);
  a.node.close(1, false);
  expect(heard()).toEqual([]);
  expect([a.node.streams, b.node.streams]).toEqual([0, 0]);
});

test("data sent before a close arrives; data to a closed end is answered by a reset", () => {
  const { a, b } = connected();
  a.node.send(1, bytes("last"));
  a.node.close(1, false);
  expect(heard()).toEqual(["b received 100 last", "b ended 100"]);
  b.node.send(100, bytes("late"));
  expect(heard()).toEqual(["b reset 100 104"]);
  expect(b.node.streams).toBe(0);
});

test("a reset comes after what was sent before it, also to an end that goes on sending", () => {
  for (const sends of [false, true]) {
    post = new Post();
    network = new VirtualNetwork({ post: post.post });
    const { a, b } = connected();
    a.node.send(1, bytes("last words"));
    a.node.close(1, true);
    if (sends) for (let i = 0; i < 3; i++) expect(b.node.send(100, bytes("too late"))).toBe(true);
    expect(heard()).toEqual(["b received 100 last words", "b reset 100 104"]);
    expect(b.node.streams).toBe(0);
  }
});

test("nobody there, nobody listens, backlog full, listener gone", () => {
  const a = side("a");
  const b = side("b");
  b.accept = 0;
  a.node.connect(1, { address: "10.88.9.9", port: 1 }, 0);
  a.node.connect(2, { address: b.node.address, port: 1 }, 0);
  a.node.connect(3, { address: "8.8.8.8", port: 53 }, 0);
  expect(heard()).toEqual(["a connected 1 113 10.88.0.2", "a connected 2 111 10.88.0.2", "a connected 3 113 10.88.0.2"]);
  b.node.listen(7, 80, 2);
  for (const id of [4, 5, 6]) a.node.connect(id, { address: b.node.address, port: 80 }, 0);
  expect(heard().filter((line) => line.startsWith("a"))).toEqual(["a connected 6 111 10.88.0.2"]);
  b.node.close(7, false);
  expect(heard()).toEqual(["a connected 4 111 10.88.0.2", "a connected 5 111 10.88.0.2"]);
  b.offers[0]!.accept(100);
  expect(heard()).toEqual([]);
  expect([a.node.streams, b.node.streams, b.node.listeners]).toEqual([0, 0, 0]);
});

test("a connection that was given up before it was accepted is reset for the listener", () => {
  const a = side("a");
  const b = side("b");
  b.accept = 0;
  b.node.listen(7, 80, 2);
  a.node.connect(1, { address: b.node.address, port: 80 }, 0);
  heard();
  a.node.close(1, false);
  b.offers[0]!.accept(100);
  b.offers[0]!.accept(101);
  expect(heard()).toEqual(["b reset 100 104"]);
  expect(b.node.streams).toBe(0);
});

test("127.0.0.1 is the cVM itself", () => {
  const a = side("a");
  side("b").node.listen(7, 80, 1);
  a.node.connect(1, { address: "127.0.0.1", port: 80 }, 0);
  expect(heard()).toEqual(["a connected 1 111 127.0.0.1"]);
  a.node.listen(7, 80, 1);
  a.node.connect(1, { address: "127.0.0.1", port: 80 }, 0);
  expect(heard()).toEqual(["a incoming 7 from 127.0.0.1", "a connected 1 0 127.0.0.1"]);
});

describe("credit", () => {
  test("a sender that exceeds it loses the connection, nobody else", () => {
    const { a, b } = connected();
    expect(a.node.send(1, new Uint8Array(Limits.streamWindow))).toBe(true);
    expect(a.node.send(1, new Uint8Array(1))).toBe(false);
    expect(heard().sort()).toEqual(["a reset 1 104", "b reset 100 104"]);
    expect([a.node.streams, b.node.streams]).toEqual([0, 0]);
  });

  test("is given for what was received only", () => {
    const { a, b } = connected();
    a.node.send(1, bytes("12345"));
    heard();
    for (const wrong of [6, 0, -1, 1.5, Number.NaN, Infinity, "5", undefined]) expect(b.node.credit(100, wrong)).toBe(false);
    expect(b.node.credit(100, 5)).toBe(true);
    expect(b.node.credit(100, 1)).toBe(false);
    expect(heard()).toEqual(["a credited 1 5"]);
    expect(a.node.send(1, new Uint8Array(Limits.streamWindow))).toBe(true);
  });
});

test("arguments that are none, and numbers in use, are refused", () => {
  const { a, b } = connected();
  const to = { address: b.node.address, port: 6379 };
  for (const id of [0, -1, 1.5, Number.NaN, "2", null, 2 ** 31, 1]) expect(a.node.connect(id, to, 0)).toBe(false);
  for (const wrong of [
    null,
    5,
    {},
    { address: "10.88.0.3" },
    { address: "010.88.0.3", port: 1 },
    { address: "10.88.0.256", port: 1 },
    { address: "x", port: 1 },
    { ...to, port: 0 },
    { ...to, port: 65536 },
    { ...to, port: 1.5 },
  ]) {
    expect(a.node.connect(9, wrong, 0)).toBe(false);
  }
  expect(a.node.connect(9, to, -1)).toBe(false);
  expect(a.node.send(100, bytes("x"))).toBe(false);
  expect(a.node.send(1, "text")).toBe(false);
  expect(a.node.shutdown(55)).toBe(false);
  expect(a.node.close(55, true)).toBe(false);
  expect(b.node.listen(8, 6379, 1)).toBe(-98);
  for (const [id, port, backlog] of [
    [7, 81, 1],
    [9, 0, 1],
    [9, 65536, 1],
    [9, 80, -1],
    [9, 80, Number.NaN],
    ["9", 80, 1],
  ])
    expect(b.node.listen(id, port, backlog)).toBe(-22);
  expect(heard()).toEqual([]);
  expect([a.node.streams, b.node.streams]).toEqual([1, 1]);
});

test("a local port in use is EADDRINUSE", () => {
  const { a, b } = connected();
  const to = { address: b.node.address, port: 6379 };
  a.node.connect(2, to, 5000);
  a.node.connect(3, to, 5000);
  expect(
    heard()
      .filter((line) => line.startsWith("a"))
      .sort(),
  ).toEqual(["a connected 2 0 10.88.0.2", "a connected 3 98 10.88.0.2"]);
});

test("a cVM that goes resets its connections; its address and name are free", () => {
  const { a, b } = connected();
  network.detach(b.node);
  expect(heard()).toEqual(["a reset 1 104"]);
  expect(network.names(a.node)).toEqual([{ name: "a", address: "10.88.0.2" }]);
  expect(side("b", b.node.address).node.address).toBe(b.node.address);
  expect(() => side("a")).toThrow("[exists]");
  expect(a.node.streams).toBe(0);
});

test("the host connects to a port of a cVM", () => {
  const b = side("b");
  b.node.listen(7, 6379, 1);
  const got: string[] = [];
  const stream = network.connectFromHost(b.node.address, 6379, {
    connected: (error) => void got.push(`connected ${error}`),
    received: (data) => void got.push(`received ${new TextDecoder().decode(data)}`),
    credited: (count) => void got.push(`credited ${count}`),
    ended: () => void got.push("ended"),
    reset: (error) => void got.push(`reset ${error}`),
  });
  expect(got).toEqual([]);
  expect(stream.send(bytes("early"))).toBe(false);
  expect(heard()).toEqual([`b incoming 7 from ${HOST_ADDRESS}`]);
  stream.send(bytes("ping"));
  expect(heard()).toEqual(["b received 100 ping"]);
  b.node.send(100, bytes("pong"));
  b.node.close(100, false);
  heard();
  expect(got).toEqual(["connected 0", "received pong", "ended"]);
  stream.close(false);
  expect(stream.closed).toBe(true);
});

test("who connects to the IPv6 address of a cVM does so with its own", () => {
  const a = side("a");
  const b = side("b");
  b.node.listen(7, 80, 4);
  expect(b.node.six).toBe("fd63:766d:0:0:0:0:a58:3");
  a.node.connect(1, { address: b.node.six, port: 80 }, 0);
  a.node.connect(2, { address: sixOf("10.88.9.9"), port: 80 }, 0);
  expect(heard()).toEqual([
    "b incoming 7 from fd63:766d:0:0:0:0:a58:2",
    "a connected 2 113 fd63:766d:0:0:0:0:a58:2",
    "a connected 1 0 fd63:766d:0:0:0:0:a58:2",
  ]);
  const six = b.node.six;
  network.detach(b.node);
  heard();
  a.node.connect(3, { address: six, port: 80 }, 0);
  expect(heard()).toEqual(["a connected 3 113 fd63:766d:0:0:0:0:a58:2"]);
});

test("a listener refuses a connection with the number 0", () => {
  const a = side("a");
  const b = side("b");
  b.accept = 0;
  b.node.listen(7, 80, 4);
  a.node.connect(1, { address: b.node.address, port: 80 }, 0);
  heard();
  b.offers[0]!.accept(0);
  expect(heard()).toEqual(["a connected 1 111 10.88.0.2"]);
});

test("a cVM that may not reach another one does not find it by any address, nor sees its name", () => {
  network = new VirtualNetwork({ post: post.post, permits: (from, to) => from === "10.88.0.2" && to === "10.88.0.3" });
  const a = side("a");
  const b = side("b");
  for (const { node } of [a, b]) node.listen(7, 80, 4);
  a.node.connect(1, { address: b.node.address, port: 80 }, 0);
  expect(heard()).toEqual(["b incoming 7 from 10.88.0.2", "a connected 1 0 10.88.0.2"]);
  b.node.connect(1, { address: a.node.address, port: 80 }, 0);
  b.node.connect(2, { address: a.node.six, port: 80 }, 0);
  expect(heard()).toEqual(["b connected 1 113 10.88.0.3", "b connected 2 113 fd63:766d:0:0:0:0:a58:3"]);
  b.node.connect(3, { address: b.node.address, port: 80 }, 0);
  expect(heard()).toContain("b incoming 7 from 10.88.0.3");
  expect(network.names(a.node).map(({ name }) => name)).toEqual(["a", "b"]);
  expect(network.names(b.node).map(({ name }) => name)).toEqual(["b"]);
});

test("a cVM has more names for those who may reach it", () => {
  network = new VirtualNetwork({
    post: post.post,
    permits: (_, to) => to !== "10.88.0.4",
    aliases: (viewer, of) => (viewer === "10.88.0.2" ? ["db", of === "10.88.0.3" ? "b" : "me"] : []),
  });
  const [a, b] = [side("a"), side("b"), side("c")];
  expect(network.names(a.node)).toEqual([
    { name: "a", address: "10.88.0.2" },
    { name: "db", address: "10.88.0.2" },
    { name: "me", address: "10.88.0.2" },
    { name: "b", address: "10.88.0.3" },
    { name: "db", address: "10.88.0.3" },
  ]);
  expect(network.names(b.node).map(({ name }) => name)).toEqual(["a", "b"]);
});

test("addresses that no cVM has go to the uplink, when there is one", () => {
  const seen: [Endpoint, Incoming][] = [];
  const uplink: Uplink = (to, incoming) => void seen.push([to, incoming]);
  network = new VirtualNetwork({ post: post.post, uplink });
  const a = side("a");
  a.node.connect(1, { address: "192.0.2.1", port: 443 }, 0);
  a.node.connect(2, { address: "192.0.2.1", port: 443 }, 0);
  for (const [id, address] of [HOST_ADDRESS, "10.88.7.7", "0:0:0:0:0:0:0:1"].entries()) a.node.connect(id + 3, { address, port: 443 }, 0);
  expect(heard()).toEqual([]);
  expect(seen.map(([to]) => to.address)).toEqual(["192.0.2.1", "192.0.2.1", HOST_ADDRESS, "10.88.7.7", "0:0:0:0:0:0:0:1"]);
  expect(seen.map(([, { from }]) => from.address)).toEqual([...Array<string>(4).fill("10.88.0.2"), "fd63:766d:0:0:0:0:a58:2"]);
  seen[0]![1].refuse(111);
  const silent = { connected: () => {}, received: () => {}, credited: () => {}, ended: () => {}, reset: () => {} };
  const far = seen[1]![1].accept(silent);
  far!.send(bytes("hello"));
  expect(heard()).toEqual(["a connected 1 111 10.88.0.2", "a connected 2 0 10.88.0.2", "a received 2 hello"]);
  expect(seen[0]![1].accept(silent)).toBeNull();
});
