import { afterEach, beforeEach, expect, it } from "vitest";
import { Poll } from "../kernel/types.ts";
import { Box, inet } from "./test-support/box.ts";

const DGRAM = 2;
const NONBLOCK = 0o4000;
let box: Box;
beforeEach(() => void (box = new Box()));
afterEach(() => box.dispose());

function bound(port: number, address = "127.0.0.1"): number {
  const fd = box.socket(2, DGRAM | NONBLOCK);
  expect(box.call("bind", fd, inet(address, port), 16)).toBe(0);
  return fd;
}
const sendTo = (fd: number, text: string, to: Uint8Array | null): number =>
  box.call("sendto", fd, Buffer.from(text), text.length, 0, to, to?.length ?? 0);
const receiveFrom = (fd: number, max = 100, flags = 0): { result: number; text: string; from: number[] } => {
  const waiting = box.start("recvfrom", fd, max, max, flags, 16, 0);
  return { result: waiting.result, text: waiting.text, from: [...waiting.out(4)] };
};

it("carries datagrams between sockets of the cVM, with their sender", () => {
  const server = bound(53);
  const client = box.socket(2, DGRAM);
  expect(sendTo(client, "query", inet("127.0.0.1", 53))).toBe(5);
  expect(box.poll(server)).toBe(Poll.IN | 0x40 | Poll.OUT | 0x100);
  const got = receiveFrom(server);
  expect([got.result, got.text]).toEqual([5, "query"]);
  expect(got.from.slice(4, 8)).toEqual([127, 0, 0, 1]);
  expect(sendTo(server, "answer", Uint8Array.from(got.from))).toBe(6);
  expect(receiveFrom(client).from).toEqual([...inet("127.0.0.1", 53)]);
  const any = bound(54, "0.0.0.0");
  expect(sendTo(any, "x", inet("10.88.0.2", 53))).toBe(1);
  // Bound to 127.0.0.1 only.
  expect(box.start("recvfrom", server, 1, 1, 0, 16, 0).result).toBe(-11);
});

it("cuts what does not fit and says so", () => {
  const server = bound(53);
  sendTo(server, "abcdef", inet("127.0.0.1", 53));
  sendTo(server, "second", inet("127.0.0.1", 53));
  expect(box.file(server).ioctl(0x541b, 0, null, box.context)).toEqual({ result: 0, output: Uint8Array.of(6, 0, 0, 0) });
  expect(receiveFrom(server, 3, 0x20 | 2)).toMatchObject({ result: 6, text: "abc" });
  const message = box.start("recvmsg", server, { nameCapacity: 16, dataCapacity: 2, controlCapacity: 0 }, 0);
  expect(message.result).toBe(2);
  expect(message.out(1)).toMatchObject({ flags: 0x20, data: Buffer.from("ab"), name: inet("127.0.0.1", 53) });
  expect(receiveFrom(server)).toMatchObject({ result: 6, text: "second" });
});

it("connects: hears its peer only, and learns that nobody is there", () => {
  const client = box.socket(2, DGRAM | NONBLOCK);
  expect(box.write(client, "x")).toBe(-89);
  expect(box.call("connect", client, inet("127.0.0.1", 99), 16)).toBe(0);
  expect(box.write(client, "x")).toBe(1);
  expect(box.poll(client) & Poll.ERR).toBe(Poll.ERR);
  expect(box.read(client)).toBe(-111);
  const server = bound(99);
  const stranger = bound(98);
  const name = box.start("getsockname", client, 16, 0).out(1);
  sendTo(stranger, "spam", name);
  expect(box.read(client)).toBe(-11);
  sendTo(server, "ham", name);
  expect(box.read(client)).toBe("ham");
  expect(box.call("connect", client, Uint8Array.from([0, 0, ...Array.from({ length: 14 }, () => 0)]), 16)).toBe(0);
  expect(box.call("getpeername", client, 16, 0)).toBe(-107);
});

it("refuses what it cannot do", () => {
  const fd = box.socket(2, DGRAM);
  expect(sendTo(fd, "x", inet("10.88.0.0", 1))).toBe(-101);
  expect(sendTo(fd, "x", inet("10.88.255.255", 53))).toBe(-101);
  expect(sendTo(fd, "x", inet("255.255.255.255", 53))).toBe(-13);
  expect(sendTo(fd, "x", inet("127.0.0.1", 0))).toBe(-22);
  expect(box.call("sendto", fd, new Uint8Array(70_000), 70_000, 0, inet("127.0.0.1", 1), 16)).toBe(-90);
  expect(box.call("listen", fd, 1)).toBe(-95);
  expect(box.call("accept", fd, null, 0)).toBe(-95);
  expect(box.call("shutdown", fd, 2)).toBe(-107);
  expect(box.call("socket", 9, 1, 0)).toBe(-97);
  expect(box.call("socket", 2, 3, 0)).toBe(-1);
  expect(box.call("socket", 2, 1, 17)).toBe(-93);
  expect(box.call("socket", 2, 5, 0)).toBe(-94);
  expect(box.call("socket", 2, 0x1001, 0)).toBe(-22);
  expect(box.call("socketpair", 2, 1, 0, 8)).toBe(-95);
});

it("drops datagrams when the receiver does not read", () => {
  const server = bound(53);
  for (let index = 0; index < 1000; index++) expect(sendTo(server, "x".repeat(1000), inet("127.0.0.1", 53))).toBe(1000);
  let got = 0;
  while (box.start("recvfrom", server, 1, 1, 0, 16, 0).result >= 0) got++;
  expect(got).toBe(Math.floor(212992 / 1256));
});

/** A question for `name`. */
function question(name: string, type: number): Uint8Array {
  const labels = name.split(".").flatMap((label) => [label.length, ...Buffer.from(label)]);
  return Uint8Array.from([0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1, ...labels, 0, 0, type, 0, 1, 0, 0, 41, 2, 0, 0, 0, 0, 0, 0, 0]);
}
it("answers for names of the virtual network", () => {
  box.files.names = [
    { name: "redis", address: "10.88.0.3" },
    { name: "other", address: "10.88.0.4" },
  ];
  const fd = box.socket(2, DGRAM | NONBLOCK);
  expect(box.call("connect", fd, inet("127.0.0.11", 53), 16)).toBe(0);
  const ask = (bytes: Uint8Array): number[] => {
    box.write(fd, bytes);
    return [...box.start("read", fd, 512, 512).out(1)];
  };
  const found = ask(question("ReDis", 1));
  expect(found.slice(0, 12)).toEqual([0xab, 0xcd, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
  expect(found.slice(-16)).toEqual([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 88, 0, 3]);
  const six = ask(question("redis", 28));
  expect(six.slice(2, 8)).toEqual([0x81, 0x80, 0, 1, 0, 1]);
  expect(six.slice(-18)).toEqual([0, 16, 0xfd, 0x63, 0x76, 0x6d, 0, 0, 0, 0, 0, 0, 0, 0, 10, 88, 0, 3]);
  expect(ask(question("redis", 15)).slice(2, 8)).toEqual([0x81, 0x80, 0, 1, 0, 0]);
  expect(ask(question("3.0.88.10.in-addr.arpa", 12)).slice(-9)).toEqual([0, 7, 5, ...Buffer.from("redis"), 0]);
  const reversed = [..."fd63766d00000000000000000a580004"].toReversed().join(".");
  expect(ask(question(`${reversed}.ip6.arpa`, 12)).slice(-9)).toEqual([0, 7, 5, ...Buffer.from("other"), 0]);
  expect(ask(question("any.localhost", 1)).slice(-4)).toEqual([127, 0, 0, 1]);
  expect(ask(Uint8Array.from([1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 63, 1])).slice(0, 8)).toEqual([1, 2, 0x81, 0x81, 0, 0, 0, 0]);
  box.write(fd, Uint8Array.of(1, 2, 3));
  expect(box.read(fd)).toBe(-11);
});

it("shows the interfaces, by netlink and by ioctl", () => {
  const fd = box.socket(16, 3);
  const request = Uint8Array.from([20, 0, 0, 0, 22, 0, 1, 3, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  expect(box.call("sendto", fd, request, 20, 0, null, 0)).toBe(20);
  const addresses = box.start("recvfrom", fd, 8192, 8192, 0, null, 0).out(1);
  const view = new DataView(addresses.buffer, addresses.byteOffset, addresses.length);
  const seen: string[] = [];
  for (let at = 0; at < addresses.length; at += view.getUint32(at, true)) {
    expect([view.getUint16(at + 4, true), view.getUint32(at + 8, true)]).toEqual([20, 9]);
    // ifaddrmsg, then the first attribute: IFA_ADDRESS.
    const isSix = addresses[at + 16] === 10;
    expect([view.getUint16(at + 24, true), view.getUint16(at + 26, true)]).toEqual([isSix ? 20 : 8, 1]);
    seen.push([...addresses.subarray(at + 28, at + (isSix ? 44 : 32))].join("."));
  }
  expect(seen).toEqual(["127.0.0.1", "10.88.0.2", "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1", "253.99.118.109.0.0.0.0.0.0.0.0.10.88.0.2"]);
  expect([...box.start("recvfrom", fd, 8192, 8192, 0, null, 0).out(1)].slice(4, 6)).toEqual([3, 0]);
  box.call("sendto", fd, Uint8Array.from([20, 0, 0, 0, 16, 0, 1, 3, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), 20, 0, null, 0);
  expect([...box.start("recvfrom", fd, 8192, 8192, 0, null, 0).out(1)].slice(16, 20)).toEqual([255, 255, 255, 255]);
  box.call("sendto", fd, Uint8Array.from([20, 0, 0, 0, 26, 0, 1, 3, 9, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]), 20, 0, null, 0);
  const routes = box.start("recvfrom", fd, 8192, 8192, 0, null, 0).out(1);
  // rtmsg of the default route, RTA_TABLE, RTA_GATEWAY.
  expect([...routes.subarray(16, 24)]).toEqual([2, 0, 0, 0, 254, 3, 0, 1]);
  expect([...routes.subarray(36, 44)]).toEqual([8, 0, 5, 0, 10, 88, 0, 1]);
  const inetSocket = box.file(box.socket(2, DGRAM));
  const ifreq = new Uint8Array(40);
  ifreq.set(Buffer.from("eth0"));
  expect(inetSocket.ioctl(0x8915, 0, ifreq, box.context)).toMatchObject({
    result: 0,
    output: expect.toSatisfy((bytes: Uint8Array) => bytes.subarray(20, 24).join(".") === "10.88.0.2"),
  });
  ifreq.set(Buffer.from("eth9"));
  expect(inetSocket.ioctl(0x8915, 0, ifreq, box.context)).toBe(-19);
  expect(inetSocket.ioctl(0x5401, 0, null, box.context)).toBe(-25);
});
