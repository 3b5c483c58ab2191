/** Datagrams, names and connections beyond the cVM: what the library OS asks of the monitor, and what it makes of the answers. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Poll } from "../kernel/types.ts";
import { sixOf } from "./address.ts";
import { encodeFrame, FrameKind, FrameReader, RELAY, type Frame } from "./frames.ts";
import { createNetwork } from "./network.ts";
import { Box, inet } from "./test-support/box.ts";

const DGRAM = 2;
const NONBLOCK = 0o4000;
const OUTSIDE = "192.0.2.1";
let box: Box;
beforeEach(() => void (box = new Box()));
afterEach(() => box.dispose());

/** sockaddr_in6. */
function inet6(groups: string, port: number): Uint8Array {
  const parts = groups.split(":").map((group) => Number.parseInt(group, 16));
  return Uint8Array.from([10, 0, port >> 8, port & 255, 0, 0, 0, 0, ...parts.flatMap((part) => [part >> 8, part & 255]), 0, 0, 0, 0]);
}
/** The relay's stream, once it was asked for. */
function relay(): number {
  const call = box.calls.find(([name, , to]) => name === "connect" && (to as { address: string }).address === RELAY.address);
  expect(call?.slice(2)).toEqual([RELAY, 1]);
  return call![1] as number;
}
/** Frames sent so far, in order. */
function sent(): Pick<Frame, "kind" | "address" | "remotePort" | "localPort">[] {
  const reader = new FrameReader();
  return box.sent
    .flatMap((bytes) => reader.read(bytes) ?? [])
    .map(({ kind, address, remotePort, localPort }) => ({ kind, address, remotePort, localPort }));
}
function arrives(frame: Partial<Frame>): void {
  box.network.received(
    relay(),
    encodeFrame({ kind: FrameKind.DATA, address: OUTSIDE, remotePort: 53, localPort: 0, bytes: Buffer.from("data"), ...frame }),
  );
}
const stands = (): void => box.network.connected(relay(), 0, { address: "10.88.0.2", port: 1 });
const sendTo = (fd: number, text: string, to: Uint8Array): number =>
  box.call("sendto", fd, Buffer.from(text), text.length, 0, to, to.length);
function bound(port: number, to: Uint8Array = inet("0.0.0.0", port)): number {
  const fd = box.socket(to[0]!, DGRAM | NONBLOCK);
  expect(box.call("bind", fd, to, to.length)).toBe(0);
  return fd;
}

describe("datagrams", () => {
  it("go to the relay, also those that were sent before it stands, and replies come back", () => {
    const fd = bound(4000);
    expect(sendTo(fd, "first", inet(OUTSIDE, 53))).toBe(5);
    expect(box.sent).toEqual([]);
    stands();
    expect(sendTo(fd, "second", inet("10.88.0.3", 54))).toBe(6);
    expect(sent()).toEqual([
      { kind: FrameKind.DATA, address: OUTSIDE, remotePort: 53, localPort: 4000 },
      { kind: FrameKind.DATA, address: "10.88.0.3", remotePort: 54, localPort: 4000 },
    ]);
    arrives({ localPort: 4000 });
    const waiting = box.start("recvfrom", fd, 10, 10, 0, 16, 0);
    expect([waiting.text, [...waiting.out(4)]]).toEqual(["data", [...inet(OUTSIDE, 53)]]);
  });

  it("for nobody are answered by an error, those for a socket of the loopback too", () => {
    bound(4000);
    stands();
    box.sent.length = 0;
    bound(4001, inet("127.0.0.1", 4001));
    arrives({ localPort: 4001 });
    arrives({ localPort: 4002 });
    arrives({ kind: FrameKind.ERROR, localPort: 4003, bytes: Uint8Array.of(111) });
    expect(sent()).toEqual([
      { kind: FrameKind.ERROR, address: OUTSIDE, remotePort: 53, localPort: 4001 },
      { kind: FrameKind.ERROR, address: OUTSIDE, remotePort: 53, localPort: 4002 },
    ]);
  });

  it("that met an error are told to whom is connected there", () => {
    const fd = box.socket(2, DGRAM | NONBLOCK);
    box.call("connect", fd, inet(OUTSIDE, 53), 16);
    const other = bound(4000);
    stands();
    const port = box.start("getsockname", fd, 16, 0).out(1);
    const localPort = (port[2]! << 8) | port[3]!;
    arrives({ kind: FrameKind.ERROR, localPort, remotePort: 54, bytes: Uint8Array.of(111) });
    expect(box.poll(fd) & Poll.ERR).toBe(0);
    arrives({ kind: FrameKind.ERROR, localPort, bytes: Uint8Array.of(101) });
    arrives({ kind: FrameKind.ERROR, localPort: 4000, bytes: Uint8Array.of(101) });
    expect(box.poll(fd) & Poll.ERR).toBe(Poll.ERR);
    expect([box.read(fd), box.read(fd), box.read(other)]).toEqual([-101, -11, -11]);
  });

  it("wait for room in the relay", () => {
    const fd = bound(4000);
    stands();
    const text = "x".repeat(60_000);
    let count = 0;
    while (sendTo(fd, text, inet(OUTSIDE, 53)) === text.length) count++;
    expect(count).toBe(4);
    expect(sendTo(fd, text, inet(OUTSIDE, 53))).toBe(-11);
    expect(box.poll(fd) & Poll.OUT).toBe(0);
    const blocking = box.socket(2, DGRAM);
    const waiting = box.start("sendto", blocking, Buffer.from(text), text.length, 0, inet(OUTSIDE, 53), 16);
    expect(waiting.done).toBe(false);
    box.network.credited(relay(), 4 * (text.length + 25));
    expect(box.poll(fd) & Poll.OUT).toBe(Poll.OUT);
    expect(waiting.result).toBe(text.length);
  });

  it("from the host find a socket of IPv6 when none of IPv4 is there", () => {
    const six = bound(4000, inet6("0:0:0:0:0:0:0:0", 4000));
    const only = box.socket(10, DGRAM | NONBLOCK);
    box.call("setsockopt", only, 41, 26, Uint8Array.of(1, 0, 0, 0), 4);
    expect(box.call("bind", only, inet6("0:0:0:0:0:0:0:0", 4001), 28)).toBe(0);
    stands();
    const from = (fd: number): number[] => [...box.start("recvfrom", fd, 10, 10, 0, 28, 0).out(4)];
    arrives({ address: "10.88.0.1", localPort: 4000, remotePort: 9 });
    expect(from(six)).toEqual([...inet6("0:0:0:0:0:ffff:a58:1", 9)]);
    arrives({ address: "10.88.0.1", localPort: 4001, remotePort: 9 });
    expect(from(only)).toEqual([...inet6(sixOf(0x0a580001), 9)]);
    arrives({ address: "10.88.0.3", localPort: 4001, remotePort: 9 });
    expect(box.start("recvfrom", only, 1, 1, 0, 28, 0).result).toBe(-11);
    arrives({ address: sixOf(0x0a580003), localPort: 4001, remotePort: 9 });
    expect(from(only)).toEqual([...inet6(sixOf(0x0a580003), 9)]);
  });

  it("go on when the relay was lost", () => {
    const fd = bound(4000);
    const first = relay();
    stands();
    box.network.reset(first, 104);
    box.calls.length = 0;
    box.sent.length = 0;
    expect(sendTo(fd, "x", inet(OUTSIDE, 53))).toBe(1);
    expect(relay()).not.toBe(first);
    stands();
    expect(sent()).toHaveLength(1);
  });
});

describe("names", () => {
  const question = Uint8Array.from([0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 120, 7, ...Buffer.from("example"), 0, 0, 1, 0, 1]);
  const ask = (): number => {
    const fd = box.socket(2, DGRAM | NONBLOCK);
    expect(box.call("connect", fd, inet("127.0.0.11", 53), 16)).toBe(0);
    box.write(fd, question);
    return fd;
  };
  const record = (last: number): number[] => [0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, last];

  it("that nobody here has are asked of the host", () => {
    const fd = ask();
    stands();
    const [query] = box.sent.flatMap((bytes) => new FrameReader().read(bytes) ?? []).filter((frame) => frame.kind === FrameKind.QUERY);
    expect(Buffer.from(query!.bytes).toString("latin1")).toBe("\0\x01x.example");
    arrives({ kind: FrameKind.ANSWER, localPort: query!.localPort, bytes: Uint8Array.from([0, ...record(7)]) });
    const got = [...box.start("read", fd, 512, 512).out(1)];
    expect(got.slice(0, 8)).toEqual([0xab, 0xcd, 0x81, 0x80, 0, 1, 0, 1]);
    expect(got.slice(-16)).toEqual([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, 7]);
    // No longer asked for: no answer to it is heard.
    arrives({ kind: FrameKind.ANSWER, localPort: query!.localPort, bytes: Uint8Array.of(3) });
    expect(box.read(fd)).toBe(-11);
  });

  it("with more records than fit are answered with those that do", () => {
    const fd = ask();
    stands();
    const records = Array.from({ length: 100 }, (_, index) => record(index)).flat();
    arrives({ kind: FrameKind.ANSWER, localPort: 1, bytes: Uint8Array.from([0, ...records]) });
    const got = box.start("read", fd, 4096, 4096).out(1);
    expect([got.length <= 512, got[7]]).toEqual([true, Math.floor((512 - question.length) / 16)]);
  });

  it("without a host to ask are a failure, and there is only so much asked at once", () => {
    const fd = ask();
    box.network.reset(relay(), 104);
    expect([...box.start("read", fd, 512, 512).out(1)].slice(2, 4)).toEqual([0x81, 0x82]);
    const sockets = Array.from({ length: 257 }, () => ask());
    expect([...box.start("read", sockets[256]!, 512, 512).out(1)].slice(2, 4)).toEqual([0x81, 0x82]);
    expect(box.read(sockets[255]!)).toBe(-11);
  });
});

describe("IPv6", () => {
  it("connections go to cVMs and the outside, with the cVM's own address", () => {
    const fd = box.socket(10, 1 | NONBLOCK);
    expect(box.call("connect", fd, inet6("2001:db8:0:0:0:0:0:1", 80), 28)).toBe(-115);
    const call = box.calls.find(([name]) => name === "connect")!;
    expect(call[2]).toEqual({ address: "2001:db8:0:0:0:0:0:1", port: 80 });
    box.network.connected(call[1] as number, 0, { address: sixOf(0x0a580002), port: call[3] as number });
    expect([...box.start("getsockname", fd, 28, 0).out(1)].slice(8, 24)).toEqual([...inet6(sixOf(0x0a580002), 0)].slice(8, 24));
    expect([...box.start("getpeername", fd, 28, 0).out(1)]).toEqual([...inet6("2001:db8:0:0:0:0:0:1", 80)]);
  });

  it("a listener is found by the family that the connection has", () => {
    const listener = (address: Uint8Array, only: boolean): number => {
      const fd = box.socket(address[0]!, 1 | NONBLOCK);
      if (only) box.call("setsockopt", fd, 41, 26, Uint8Array.of(1, 0, 0, 0), 4);
      expect(box.call("bind", fd, address, address.length)).toBe(0);
      expect(box.call("listen", fd, 4)).toBe(0);
      return fd;
    };
    const four = listener(inet("0.0.0.0", 80), false);
    const six = listener(inet6("0:0:0:0:0:0:0:0", 80), true);
    listener(inet6("0:0:0:0:0:0:0:0", 81), true);
    const [first, second] = box.calls.filter(([name]) => name === "listen").map(([, stream]) => stream as number);
    const offer = (gate: number, address: string): number => {
      let given = -1;
      box.network.incoming(gate, { address, port: 1 }, (stream) => (given = stream));
      return given;
    };
    expect(offer(first!, "10.88.0.3")).toBeGreaterThan(0);
    expect(offer(first!, sixOf(0x0a580003))).toBeGreaterThan(0);
    expect(offer(second!, "10.88.0.3")).toBe(0);
    // Published ports reach both.
    expect(offer(second!, "10.88.0.1")).toBeGreaterThan(0);
    const peer = (fd: number): number[] => [...box.start("accept", fd, 28, 0).out(1)];
    expect(peer(four)).toEqual([...inet("10.88.0.3", 1)]);
    expect(peer(six)).toEqual([...inet6(sixOf(0x0a580003), 1)]);
  });
});

it("without a network there is the loopback only", () => {
  const network = createNetwork(box.network.host, { address: "10.88.0.2", isolated: true });
  Object.assign(box.context.kernel, { network });
  const stream = box.socket(2, 1);
  expect(box.call("connect", stream, inet(OUTSIDE, 80), 16)).toBe(-101);
  expect(box.call("connect", stream, inet("10.88.0.2", 80), 16)).toBe(-101);
  const datagram = bound(4000);
  expect(sendTo(datagram, "x", inet(OUTSIDE, 53))).toBe(-101);
  expect(box.call("bind", box.socket(2, 1), inet("10.88.0.2", 80), 16)).toBe(-99);
  expect(box.call("listen", stream, 1)).toBe(0);
  expect(box.calls).toEqual([]);
});

it("what is bound to the loopback does not go outside", () => {
  const fd = bound(4000, inet("127.0.0.1", 4000));
  expect(sendTo(fd, "x", inet(OUTSIDE, 53))).toBe(-22);
  const stream = box.socket(2, 1);
  box.call("bind", stream, inet("127.0.0.1", 0), 16);
  expect(box.call("connect", stream, inet(OUTSIDE, 80), 16)).toBe(-22);
});
