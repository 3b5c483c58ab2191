import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Frame } from "@cvm/libos";
import { encodeFrame, FrameKind, FrameReader, RELAY } from "@cvm/libos";
import type { Incoming, Stream, StreamEvents } from "@cvm/monitor";
import { HOST_ADDRESS, sixOf } from "@cvm/monitor";
import { Limits } from "@cvm/monitor/abi";
import type { Policy } from "./uplink.ts";
import { HostNetwork } from "./uplink.ts";

/** What the monitor gives to an uplink, with a stream that only takes this. */
class Connection {
  readonly incoming: Incoming;
  events: StreamEvents | undefined;
  refused: number | undefined;
  readonly sent: Uint8Array[] = [];
  credited = 0;
  closed: string | undefined;
  window: number = Limits.streamWindow;
  #settled: () => void = () => {};
  /** When it was accepted or refused. */
  readonly settled: Promise<void> = new Promise((resolve) => (this.#settled = resolve));

  constructor(from: string, gone = false) {
    const stream: Partial<Stream> = {
      send: (bytes) => {
        this.sent.push(bytes);
        this.window -= bytes.length;
        return true;
      },
      credit: (bytes) => (this.credited += bytes) > 0,
      shutdown: () => {},
      close: (reset) => void (this.closed = reset ? "reset" : "closed"),
    };
    Object.defineProperties(stream, { window: { get: () => this.window }, closed: { get: () => this.closed !== undefined } });
    this.incoming = {
      from: { address: from, port: 40000 },
      accept: (events) => {
        this.#settled();
        this.events = events;
        return gone ? null : (stream as Stream);
      },
      refuse: (errno) => {
        this.#settled();
        this.refused = errno;
      },
    };
  }
}

const ME = "10.88.0.2";
const OTHER = "10.88.0.3";
let network: HostNetwork;
let leaving: (() => void)[];
function join(address: string, policy: Partial<Policy> = {}): () => void {
  const leave = network.join(address, { mode: "bridge", gateway: false, ...policy });
  leaving.push(leave);
  return leave;
}
function connect(address: string, port = 9, from = ME, gone = false): Connection {
  const connection = new Connection(from, gone);
  network.uplink({ address, port }, connection.incoming);
  return connection;
}
beforeEach(() => {
  network = new HostNetwork();
  leaving = [];
});
afterEach(() => {
  for (const leave of leaving) leave();
});

test("only cVMs with a network in common reach each other, by the names that they have there", () => {
  const third = "10.88.0.4";
  join(ME, { groups: [{ name: "front", aliases: ["web"] }] });
  join(OTHER, {
    groups: [
      { name: "front", aliases: ["db"] },
      { name: "back", aliases: ["db", "store"] },
    ],
  });
  join(third, { groups: [{ name: "back", aliases: ["job"] }] });
  join("10.88.0.5");
  expect(network.permits(ME, OTHER)).toBe(true);
  expect(network.permits(third, OTHER)).toBe(true);
  expect(network.permits(ME, third)).toBe(false);
  expect(network.permits("10.88.0.5", ME)).toBe(false);
  expect(network.permits("10.88.0.5", "10.88.0.5")).toBe(true);
  expect(network.aliases(ME, OTHER)).toEqual(["db"]);
  expect(network.aliases(third, OTHER)).toEqual(["db", "store"]);
  expect(network.aliases(OTHER, ME)).toEqual(["web"]);
  expect(network.aliases(ME, third)).toEqual([]);
  join("10.88.0.6", { mode: "none", groups: [{ name: "front", aliases: [] }] });
  expect(network.permits("10.88.0.6", ME)).toBe(false);
});

describe("connections", () => {
  test("to this machine's loopback, links and clouds' servers are refused at once, also for a cVM that may use the loopback by name", () => {
    join(ME);
    join(OTHER, { gateway: true });
    for (const from of [ME, OTHER])
      for (const address of ["127.0.0.1", "0.0.0.0", "169.254.169.254", "0:0:0:0:0:0:0:1", "0:0:0:0:0:ffff:7f00:1", "fe80:0:0:0:0:0:0:1"])
        expect(connect(address, 22, from).refused).toBe(101);
    expect(connect(HOST_ADDRESS).refused).toBe(113);
    expect(connect(sixOf(HOST_ADDRESS)).refused).toBe(113);
    expect(connect("10.88.9.9").refused).toBe(113);
  });

  test("are as the policy says, and nothing for a cVM that is not known", () => {
    expect(connect("192.0.2.1").refused).toBe(101);
    join(ME, { mode: "internal" });
    join(OTHER, { mode: "none", gateway: true });
    expect(connect("192.0.2.1").refused).toBe(101);
    expect(connect(RELAY.address, RELAY.port, OTHER).refused).toBe(101);
    expect(connect(HOST_ADDRESS, 80, OTHER).refused).toBe(101);
    expect(network.permits(ME, OTHER)).toBe(false);
    expect(network.permits(OTHER, ME)).toBe(false);
    expect(network.permits(ME, "10.88.0.9")).toBe(false);
    join("10.88.0.9");
    expect(network.permits(ME, "10.88.0.9")).toBe(true);
    expect(network.permits(sixOf(ME), sixOf(OTHER))).toBe(false);
  });

  test("are carried, counted, and reset when the cVM goes", async () => {
    network = new HostNetwork({ each: 2, all: 3 });
    const ends: string[] = [];
    const server = createServer((socket) => {
      socket.on("error", (error: NodeJS.ErrnoException) => ends.push(error.code ?? ""));
      socket.write("welcome");
    });
    const port = await new Promise<number>((resolve) =>
      server.listen(0, "127.0.0.1", () => resolve((server.address() as AddressInfo).port)),
    );
    try {
      const leave = join(ME, { gateway: true });
      join(OTHER, { gateway: true });
      const first = connect(HOST_ADDRESS, port);
      await first.settled;
      while (first.sent.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      expect(Buffer.concat(first.sent).toString()).toBe("welcome");
      first.events!.received(Buffer.from("thanks"));
      expect(first.credited).toBe(6);
      const second = connect(HOST_ADDRESS, port);
      expect(connect(HOST_ADDRESS, port).refused).toBe(99);
      const third = connect(HOST_ADDRESS, port, OTHER);
      expect(connect(HOST_ADDRESS, port, OTHER).refused).toBe(99);
      await Promise.all([second.settled, third.settled]);
      leave();
      while (ends.length < 2) await new Promise((resolve) => setTimeout(resolve, 1));
      expect(ends).toEqual(["ECONNRESET", "ECONNRESET"]);
      expect([first.closed, second.closed, third.closed]).toEqual([expect.any(String), expect.any(String), undefined]);
      third.events!.reset(104);
      while (ends.length < 3) await new Promise((resolve) => setTimeout(resolve, 1));
      // Who has given up meanwhile is not waited for.
      const gone = connect(HOST_ADDRESS, port, OTHER, true);
      await gone.settled;
      while (ends.length < 4) await new Promise((resolve) => setTimeout(resolve, 1));
    } finally {
      server.close();
    }
    const refused = connect(HOST_ADDRESS, port, OTHER);
    await refused.settled;
    expect(refused.refused).toBe(111);
  });

  test("an earlier cVM with the same address ends its own part only", () => {
    const leave = join(ME, { mode: "none" });
    leave();
    join(ME, { mode: "bridge" });
    leave();
    join(OTHER);
    expect(network.permits(ME, OTHER)).toBe(true);
  });
});

describe("datagrams", () => {
  const frame = (kind: Frame["kind"], address: string, text = "x", remotePort = 7, localPort = 8): Uint8Array =>
    encodeFrame({ kind, address, remotePort, localPort, bytes: Buffer.from(text) });
  function relay(from: string): Connection {
    const connection = connect(RELAY.address, RELAY.port, from);
    expect(connection.events).toBeDefined();
    return connection;
  }
  const framesOf = (connection: Connection): [number, string, number, number, string][] =>
    (new FrameReader().read(Buffer.concat(connection.sent.splice(0))) ?? []).map(({ kind, address, remotePort, localPort, bytes }) => [
      kind,
      address,
      remotePort,
      localPort,
      kind === FrameKind.ERROR ? String(bytes[0]) : Buffer.from(bytes).toString(),
    ]);

  test("between cVMs have their true sender; who may not be reached, or is not there, is an error", () => {
    join(ME);
    join(OTHER);
    join("10.88.0.4", { mode: "none" });
    const mine = relay(ME);
    const others = relay(OTHER);
    mine.events!.received(frame(FrameKind.DATA, OTHER, "four"));
    mine.events!.received(frame(FrameKind.DATA, sixOf(OTHER), "six"));
    expect(framesOf(others)).toEqual([
      [FrameKind.DATA, ME, 8, 7, "four"],
      [FrameKind.DATA, sixOf(ME), 8, 7, "six"],
    ]);
    others.events!.received(frame(FrameKind.ERROR, ME, "o", 8, 7));
    expect(framesOf(mine)).toEqual([[FrameKind.ERROR, OTHER, 7, 8, "111"]]);
    mine.events!.received(frame(FrameKind.DATA, "10.88.0.4"));
    mine.events!.received(frame(FrameKind.DATA, "10.88.7.7"));
    mine.events!.received(frame(FrameKind.DATA, "127.0.0.1"));
    mine.events!.received(frame(FrameKind.DATA, HOST_ADDRESS));
    mine.events!.received(frame(FrameKind.ERROR, "192.0.2.1"));
    mine.events!.received(frame(FrameKind.ANSWER, OTHER));
    mine.events!.received(frame(FrameKind.DATA, OTHER, "x", 0, 8));
    expect(framesOf(mine).map(([kind, address, , , text]) => [kind, address, text])).toEqual([
      [FrameKind.ERROR, "10.88.0.4", "113"],
      [FrameKind.ERROR, "10.88.7.7", "113"],
      [FrameKind.ERROR, "127.0.0.1", "101"],
      [FrameKind.ERROR, HOST_ADDRESS, "113"],
    ]);
    expect(framesOf(others)).toEqual([]);
  });

  test("that do not fit into the receiver's stream are dropped; a stream that carries no frames is closed", () => {
    join(ME);
    join(OTHER);
    const mine = relay(ME);
    const others = relay(OTHER);
    others.window = 10;
    mine.events!.received(frame(FrameKind.DATA, OTHER));
    expect(others.sent).toEqual([]);
    expect(mine.credited).toBeGreaterThan(0);
    mine.events!.received(Uint8Array.of(255, 255, 255, 255, 0));
    expect(mine.closed).toBe("reset");
    const again = relay(ME);
    const third = relay(ME);
    expect([again.closed, third.closed]).toEqual(["reset", undefined]);
  });

  test("to a published port come from a port of the gateway, and replies go back to who has it", () => {
    join(ME);
    const mine = relay(ME);
    const replies: string[] = [];
    const visitor = { used: 0, reply: (bytes: Uint8Array) => void replies.push(Buffer.from(bytes).toString()), close: () => {} };
    expect(network.visit(ME, 5000, 53, visitor)).toBe(true);
    expect(network.visit(ME, 5000, 53, visitor)).toBe(false);
    expect(network.visit(OTHER, 5000, 53, visitor)).toBe(false);
    network.deliver(ME, 5000, 53, Buffer.from("question"));
    expect(framesOf(mine)).toEqual([[FrameKind.DATA, HOST_ADDRESS, 5000, 53, "question"]]);
    mine.events!.received(frame(FrameKind.DATA, HOST_ADDRESS, "answer", 5000, 53));
    mine.events!.received(frame(FrameKind.DATA, sixOf(HOST_ADDRESS), "again", 5000, 53));
    expect(replies).toEqual(["answer", "again"]);
    network.leaveVisit(ME, 5000, 53);
    mine.events!.received(frame(FrameKind.DATA, HOST_ADDRESS, "late", 5000, 53));
    expect(framesOf(mine)).toEqual([[FrameKind.ERROR, HOST_ADDRESS, 5000, 53, "113"]]);
    expect(replies).toHaveLength(2);
  });

  test("names are not asked for a cVM that reaches no outside", async () => {
    join(ME, { mode: "internal" });
    const mine = relay(ME);
    mine.events!.received(
      encodeFrame({ kind: FrameKind.QUERY, address: "0.0.0.0", remotePort: 0, localPort: 3, bytes: Buffer.from("\0\x01x.example") }),
    );
    while (mine.sent.length === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(framesOf(mine)).toEqual([[FrameKind.ANSWER, "0.0.0.0", 0, 3, "\x03"]]);
  });
});
