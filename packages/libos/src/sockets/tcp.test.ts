import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Poll } from "../kernel/types.ts";
import { Box, inet } from "./test-support/box.ts";

const AF_INET = 2;
const STREAM = 1;
const NONBLOCK = 0o4000;
const E = {
  AGAIN: -11,
  INVAL: -22,
  PIPE: -32,
  NOTSOCK: -88,
  NOPROTOOPT: -92,
  ADDRINUSE: -98,
  ADDRNOTAVAIL: -99,
  NETUNREACH: -101,
  CONNRESET: -104,
  ISCONN: -106,
  NOTCONN: -107,
  CONNREFUSED: -111,
  ALREADY: -114,
  INPROGRESS: -115,
};

let box: Box;
beforeEach(() => void (box = new Box()));
afterEach(() => box.dispose());

function listener(address = "0.0.0.0", port = 6379, backlog = 10): number {
  const fd = box.socket(AF_INET, STREAM);
  expect(box.call("bind", fd, inet(address, port), 16)).toBe(0);
  expect(box.call("listen", fd, backlog)).toBe(0);
  return fd;
}
/** A connection inside the cVM: [client, server]. */
function connection(flags = NONBLOCK): [number, number] {
  const fd = listener("127.0.0.1", 7000);
  const client = box.socket(AF_INET, STREAM);
  expect(box.call("connect", client, inet("127.0.0.1", 7000), 16)).toBe(0);
  const server = box.call("accept4", fd, null, 0, flags);
  expect(server).toBeGreaterThan(0);
  box.call("close", fd);
  return [client, server];
}
/** A connection from outside: [descriptor, stream]. */
function outside(fd: number, flags = NONBLOCK): [number, number] {
  const gate = box.calls.findLast(([name]) => name === "listen")![1] as number;
  let stream = 0;
  box.network.incoming(gate, { address: "10.88.0.7", port: 40001 }, (id) => (stream = id));
  const server = box.call("accept4", fd, null, 0, flags);
  expect(server).toBeGreaterThan(0);
  return [server, stream];
}
const option = (fd: number, level: number, name: number): number => {
  const waiting = box.start("getsockopt", fd, level, name, 4, 0);
  return waiting.result < 0 ? waiting.result : new DataView(waiting.out(3).slice().buffer).getInt32(0, true);
};
const set = (fd: number, level: number, name: number, value: number): number =>
  box.call("setsockopt", fd, level, name, Uint8Array.of(value, value >> 8, value >> 16, value >> 24), 4);

describe("inside a cVM", () => {
  it("connects, talks, half-closes and ends", () => {
    const [client, server] = connection();
    expect(box.read(server)).toBe(E.AGAIN);
    expect(box.write(client, "hello")).toBe(5);
    expect(box.write(client, " world")).toBe(6);
    expect(box.poll(server)).toBe(Poll.IN | 0x40 | Poll.OUT | 0x100);
    expect(box.read(server, 7)).toBe("hello w");
    expect(box.read(server)).toBe("orld");
    expect(box.call("shutdown", client, 1)).toBe(0);
    expect(box.read(server)).toBe("");
    expect(box.poll(server)).toBe(Poll.IN | 0x40 | Poll.OUT | 0x100 | Poll.RDHUP);
    expect(box.write(server, "bye")).toBe(3);
    expect(box.call("close", server)).toBe(0);
    expect(box.read(client)).toBe("bye");
    expect(box.read(client)).toBe("");
    expect(box.poll(client) & Poll.HUP).toBe(Poll.HUP);
    expect(box.write(client, "x")).toBe(E.PIPE);
    expect(box.signals).toEqual([13]);
    expect(box.calls.filter(([name]) => name !== "listen")).toEqual([]);
  });

  it("tells addresses", () => {
    const [client, server] = connection();
    const local = box.start("getsockname", client, 16, 0).out(1);
    expect([...box.start("getpeername", server, 16, 0).out(1)]).toEqual([...local]);
    expect([...box.start("getpeername", client, 16, 0).out(1)]).toEqual([...inet("127.0.0.1", 7000)]);
    expect([...box.start("getsockname", server, 16, 0).out(1)]).toEqual([...inet("127.0.0.1", 7000)]);
    expect((local[2]! << 8) | local[3]!).toBeGreaterThanOrEqual(32768);
    const fd = box.socket(AF_INET, STREAM);
    expect(box.call("getpeername", fd, 16, 0)).toBe(E.NOTCONN);
    expect([...box.start("getsockname", fd, 16, 0).out(1)]).toEqual([...inet("0.0.0.0", 0)]);
  });

  it("resets when unread data is thrown away, or with a linger time of 0", () => {
    const [client, server] = connection();
    box.write(client, "unread");
    box.call("close", server);
    expect(box.poll(client)).toBe(Poll.IN | 0x40 | Poll.OUT | 0x100 | Poll.ERR | Poll.HUP | Poll.RDHUP);
    expect(box.read(client)).toBe(E.CONNRESET);
    expect(box.read(client)).toBe("");
    expect(box.write(client, "x")).toBe(E.PIPE);
    const [other, end] = connection();
    expect(box.call("setsockopt", other, 1, 13, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0), 8)).toBe(0);
    box.call("close", other);
    expect(option(end, 1, 4)).toBe(104);
    expect(option(end, 1, 4)).toBe(0);
  });

  it("lets the first write after the peer's close pass, as TCP does", () => {
    const [client, server] = connection();
    box.call("close", server);
    expect(box.write(client, "lost")).toBe(4);
    expect(box.call("sendto", client, Buffer.from("x"), 1, 0x4000, null, 0)).toBe(E.PIPE);
    expect(box.signals).toEqual([]);
    expect(box.read(client)).toBe("");
  });

  it("holds back a sender whose peer does not read", () => {
    const [client, server] = connection();
    box.file(client).flags |= NONBLOCK;
    const big = new Uint8Array(300_000).fill(7);
    expect(box.write(client, big)).toBe(262_144);
    expect(box.write(client, "more")).toBe(E.AGAIN);
    expect(box.poll(client) & Poll.OUT).toBe(0);
    expect(box.file(server).ioctl(0x541b, 0, null, box.context)).toEqual({ result: 0, output: Uint8Array.of(0, 0, 4, 0) });
    expect((box.read(server, 100_000) as string).length).toBe(100_000);
    expect(box.poll(client) & Poll.OUT).toBe(Poll.OUT);
    expect(box.write(client, "more")).toBe(4);
  });

  it("waits where the caller does: accept, connect, read, write", () => {
    const fd = listener("127.0.0.1", 7000, 0);
    const accepting = box.start("accept", fd, 16, 0);
    expect(accepting.done).toBe(false);
    const client = box.socket(AF_INET, STREAM);
    expect(box.call("connect", client, inet("127.0.0.1", 7000), 16)).toBe(0);
    const server = accepting.result;
    expect([...accepting.out(1)].slice(4, 8)).toEqual([127, 0, 0, 1]);
    const reading = box.start("read", server, 100, 100);
    expect(reading.done).toBe(false);
    box.write(client, "now");
    expect(reading.text).toBe("now");
    // More than fits: the writer waits until all is gone.
    const data = Uint8Array.from({ length: 600_000 }, (_, index) => index * 31);
    const writing = box.start("write", client, data, data.length);
    expect(writing.done).toBe(false);
    const got: Buffer[] = [];
    while (!writing.done) got.push(Buffer.from(box.start("read", server, 65536, 65536).out(1)));
    expect(writing.result).toBe(600_000);
    box.call("close", client);
    for (;;) {
      const part = box.start("read", server, 65536, 65536).out(1);
      if (part.length === 0) break;
      got.push(Buffer.from(part));
    }
    expect(Buffer.concat(got).equals(Buffer.from(data))).toBe(true);
  });

  it("lets connections wait when the backlog is full, and resets what was not accepted", () => {
    const fd = listener("127.0.0.1", 7000, 0);
    const clients = [0, 1, 2].map(() => box.socket(AF_INET, STREAM | NONBLOCK));
    for (const client of clients) expect(box.call("connect", client, inet("127.0.0.1", 7000), 16)).toBe(E.INPROGRESS);
    expect(clients.map((client) => box.poll(client) & Poll.OUT)).toEqual([Poll.OUT, 0, 0]);
    expect(box.call("connect", clients[1]!, inet("127.0.0.1", 7000), 16)).toBe(E.ALREADY);
    box.call("accept", fd, null, 0);
    expect(clients.map((client) => box.poll(client) & Poll.OUT)).toEqual([Poll.OUT, Poll.OUT, 0]);
    expect(box.call("connect", clients[1]!, inet("127.0.0.1", 7000), 16)).toBe(0);
    expect(box.call("connect", clients[1]!, inet("127.0.0.1", 7000), 16)).toBe(E.ISCONN);
    box.call("close", fd);
    expect(box.read(clients[1]!)).toBe(E.CONNRESET);
    expect(option(clients[2]!, 1, 4)).toBe(111);
  });

  it("refuses where nobody listens", () => {
    const blocking = box.socket(AF_INET, STREAM);
    expect(box.call("connect", blocking, inet("127.0.0.1", 9), 16)).toBe(E.CONNREFUSED);
    const fd = box.socket(AF_INET, STREAM | NONBLOCK);
    expect(box.poll(fd)).toBe(Poll.OUT | 0x100 | Poll.HUP);
    expect(box.call("connect", fd, inet("127.0.0.1", 9), 16)).toBe(E.INPROGRESS);
    expect(box.poll(fd)).toBe(Poll.IN | 0x40 | Poll.OUT | 0x100 | Poll.ERR | Poll.HUP | Poll.RDHUP);
    expect(option(fd, 1, 4)).toBe(111);
    listener("127.0.0.1", 9);
    expect(box.call("connect", fd, inet("127.0.0.1", 9), 16)).toBe(-103);
    expect(box.call("connect", fd, inet("127.0.0.1", 9), 16)).toBe(E.INPROGRESS);
    expect(box.call("connect", fd, inet("127.0.0.1", 9), 16)).toBe(0);
  });

  it("guards ports", () => {
    const fd = box.socket(AF_INET, STREAM);
    expect(box.call("bind", fd, inet("192.0.2.1", 80), 16)).toBe(E.ADDRNOTAVAIL);
    expect(box.call("bind", fd, inet("127.0.0.1", 80), 4)).toBe(0);
    const short = box.socket(AF_INET, STREAM);
    expect(box.call("bind", short, inet("127.0.0.1", 80).subarray(0, 8), 8)).toBe(E.INVAL);
    expect(box.call("bind", fd, inet("127.0.0.1", 81), 16)).toBe(E.INVAL);
    const other = box.socket(AF_INET, STREAM);
    expect(box.call("bind", other, inet("0.0.0.0", 80), 16)).toBe(E.ADDRINUSE);
    expect(box.call("bind", other, inet("127.0.0.2", 80), 16)).toBe(0);
    set(fd, 1, 2, 1);
    const third = box.socket(AF_INET, STREAM);
    set(third, 1, 2, 1);
    expect(box.call("bind", third, inet("127.0.0.1", 80), 16)).toBe(0);
    expect(box.call("listen", fd, 5)).toBe(0);
    expect(box.call("listen", third, 5)).toBe(E.ADDRINUSE);
    box.call("close", fd);
    expect(box.call("listen", third, 5)).toBe(0);
    expect(box.call("accept", other, null, 0)).toBe(E.INVAL);
  });

  it("peeks, waits for all, reports lengths", () => {
    const [client, server] = connection(0);
    box.write(client, "abc");
    const peek = box.start("recvfrom", server, 10, 10, 2, null, 0);
    expect([peek.result, peek.text]).toEqual([3, "abc"]);
    const all = box.start("recvfrom", server, 6, 6, 0x100, 16, 0);
    expect(all.done).toBe(false);
    box.write(client, "defg");
    expect([all.result, all.text, all.out(4).length]).toEqual([6, "abcdef", 0]);
    const rest = box.start("recvfrom", server, 6, 6, 0x100, null, 0);
    expect(rest.done).toBe(false);
    rest.interrupt();
    expect([rest.result, rest.text]).toEqual([1, "g"]);
    expect(box.start("recvfrom", server, 6, 6, 0x40, null, 0).result).toBe(E.AGAIN);
  });

  it("ends waits after SO_RCVTIMEO", async () => {
    const [client, server] = connection(0);
    expect(box.call("setsockopt", server, 1, 20, Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0x27, 0, 0, 0, 0, 0, 0), 16)).toBe(0);
    const reading = box.start("recvfrom", server, 6, 6, 0, null, 0);
    const plain = box.start("read", server, 6, 6);
    await expect.poll(() => reading.done && plain.done).toBe(true);
    expect([reading.result, plain.result]).toEqual([E.AGAIN, E.AGAIN]);
    box.call("close", client);
  });
});

describe("options", () => {
  it("keep what servers set, and know what is not there", () => {
    const fd = box.socket(AF_INET, STREAM);
    for (const [level, name] of [
      [1, 2],
      [1, 9],
      [6, 1],
      [6, 3],
    ] as const) {
      expect(option(fd, level, name)).toBe(0);
      expect(set(fd, level, name, 5)).toBe(0);
      expect(option(fd, level, name)).toBe(1);
    }
    for (const name of [4, 5]) {
      expect(set(fd, 6, name, 60)).toBe(0);
      expect(option(fd, 6, name)).toBe(60);
    }
    expect(set(fd, 6, 4, 0)).toBe(E.INVAL);
    expect(set(fd, 1, 999, 1)).toBe(E.NOPROTOOPT);
    expect(set(fd, 6, 999, 1)).toBe(E.NOPROTOOPT);
    expect(set(fd, 41, 26, 1)).toBe(E.NOPROTOOPT);
    expect(box.call("setsockopt", fd, 1, 2, Uint8Array.of(1), 1)).toBe(E.INVAL);
    expect([option(fd, 1, 3), option(fd, 1, 38), option(fd, 1, 39), option(fd, 1, 30)]).toEqual([1, 6, 2, 0]);
    set(fd, 1, 8, 10_000);
    expect(option(fd, 1, 8)).toBe(20_000);
    expect(box.call("getsockopt", 99, 1, 3, 4, 0)).toBe(-9);
    expect(box.call("getsockopt", box.files.open("/etc/passwd"), 1, 3, 4, 0)).toBe(E.NOTSOCK);
    const unix = box.socket(1, 1);
    expect(set(unix, 6, 1, 1)).toBe(-95);
  });
  it("are handed down to accepted sockets", () => {
    const fd = listener("127.0.0.1", 7000);
    set(fd, 6, 1, 1);
    const client = box.socket(AF_INET, STREAM);
    box.call("connect", client, inet("127.0.0.1", 7000), 16);
    expect(option(box.call("accept", fd, null, 0), 6, 1)).toBe(1);
  });
});

describe("to and from other cVMs", () => {
  it("listens with the monitor only where others may reach it", () => {
    const local = listener("127.0.0.1", 1000);
    expect(box.calls).toEqual([]);
    box.call("close", local);
    const fd = listener("10.88.0.2", 1001, 7);
    const all = listener("0.0.0.0", 1002, 5);
    expect(box.calls).toEqual([
      ["listen", 1, 1001, 7],
      ["listen", 2, 1002, 5],
    ]);
    box.call("close", fd);
    box.call("shutdown", all, 2);
    expect(box.calls.slice(2)).toEqual([
      ["close", 1, false],
      ["close", 2, false],
    ]);
    expect(box.poll(all)).toBe(Poll.OUT | 0x100 | Poll.HUP);
  });

  it("serves a connection, giving credit as it reads and keeping to its own", () => {
    const fd = listener();
    const [server, stream] = outside(fd);
    expect([...box.start("getpeername", server, 16, 0).out(1)]).toEqual([...inet("10.88.0.7", 40001)]);
    box.calls.length = 0;
    const chunk = Buffer.from("*1\r\n$4\r\nPING\r\n");
    box.network.received(stream, chunk);
    expect(box.start("read", server, 16384, 16384).out(1)).toBe(chunk);
    expect(box.write(server, "+PONG\r\n")).toBe(7);
    expect(box.calls).toEqual([["send", stream, "+PONG\r\n"]]);
    for (let index = 0; index < 4; index++) box.network.received(stream, new Uint8Array(20_000));
    expect((box.read(server, 70_000) as string).length).toBe(70_000);
    expect(box.calls.slice(1)).toEqual([["credit", stream, 70_014]]);
    // 262,144 bytes of credit in the beginning, 7 used.
    expect(box.write(server, new Uint8Array(300_000))).toBe(262_137);
    expect(box.write(server, "x")).toBe(E.AGAIN);
    expect(box.poll(server) & Poll.OUT).toBe(0);
    box.network.credited(stream, 100_000);
    expect(box.poll(server) & Poll.OUT).toBe(Poll.OUT);
    expect(box.write(server, "x")).toBe(1);
    box.network.ended(stream);
    expect((box.read(server, 100_000) as string).length).toBe(10_000);
    expect(box.read(server)).toBe("");
    box.calls.length = 0;
    box.call("shutdown", server, 1);
    box.call("close", server);
    expect(box.calls).toEqual([
      ["shutdown", stream],
      ["close", stream, false],
    ]);
  });

  it("closes with a reset when data was not read, and hears of one", () => {
    const fd = listener();
    const [server, stream] = outside(fd);
    box.network.received(stream, Buffer.from("unread"));
    box.call("close", server);
    expect(box.calls.at(-1)).toEqual(["close", stream, true]);
    const [second, other] = outside(fd, 0);
    const reading = box.start("read", second, 10, 10);
    box.network.received(other, Buffer.from("a"));
    expect(reading.text).toBe("a");
    const again = box.start("read", second, 10, 10);
    box.network.reset(other, 104);
    expect(again.result).toBe(E.CONNRESET);
    expect(box.read(second)).toBe("");
    expect(box.write(second, "x")).toBe(E.PIPE);
    // Nothing more is said about a stream that is gone.
    box.calls.length = 0;
    box.call("close", second);
    box.network.received(other, Buffer.from("late"));
    expect(box.calls).toEqual([]);
  });

  it("connects out, blocking or not", () => {
    const fd = box.socket(AF_INET, STREAM | NONBLOCK);
    expect(box.call("connect", fd, inet("10.88.0.3", 6379), 16)).toBe(E.INPROGRESS);
    const [, stream, to, port] = box.calls[0] as ["connect", number, unknown, number];
    expect(to).toEqual({ address: "10.88.0.3", port: 6379 });
    expect(box.poll(fd)).toBe(0);
    expect(box.write(fd, "early")).toBe(E.AGAIN);
    box.network.connected(stream, 0, { address: "10.88.0.2", port });
    expect(box.poll(fd)).toBe(Poll.OUT | 0x100);
    expect(option(fd, 1, 4)).toBe(0);
    expect([...box.start("getsockname", fd, 16, 0).out(1)]).toEqual([...inet("10.88.0.2", port)]);
    const blocking = box.socket(AF_INET, STREAM);
    const connecting = box.start("connect", blocking, inet("10.88.0.3", 1), 16);
    expect(connecting.done).toBe(false);
    box.network.connected(box.calls.at(-1)![1] as number, 111, { address: "10.88.0.2", port: 0 });
    expect(connecting.result).toBe(E.CONNREFUSED);
    const given = box.socket(AF_INET, STREAM);
    const waiting = box.start("connect", given, inet("10.88.0.3", 1), 16);
    waiting.interrupt();
    expect(waiting.result).toBe(-4);
    box.calls.length = 0;
    box.call("close", given);
    expect(box.calls[0]).toMatchObject(["close", expect.any(Number), true]);
  });

  it("keeps to the backlog with connections from outside, too", () => {
    const fd = listener("0.0.0.0", 6379, 0);
    const taken: number[] = [];
    for (let index = 0; index < 3; index++)
      box.network.incoming(1, { address: "10.88.0.7", port: 40000 + index }, (stream) => taken.push(stream));
    expect(taken.length).toBe(1);
    box.call("accept", fd, null, 0);
    expect(taken.length).toBe(2);
    box.call("close", fd);
    expect(box.calls.filter(([name]) => name === "close")).toEqual([
      ["close", 1, false],
      ["close", taken[1], true],
    ]);
  });
});
