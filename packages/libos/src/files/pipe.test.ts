import { PENDING } from "@cvm/monitor/abi";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Poll } from "../kernel/types.ts";
import { FakeKernel, outputOf } from "./fake-kernel.test.support.ts";

let box: FakeKernel;
beforeEach(() => {
  box = new FakeKernel();
});
afterEach(() => box.dispose());

function pipe(flags = 0): [number, number] {
  const view = new DataView(box.bytes("pipe2", 8, flags).buffer);
  return [view.getInt32(0, true), view.getInt32(4, true)];
}
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

describe("pipes", () => {
  it("carries bytes, blocks when empty, ends with the last writer", () => {
    const [reader, writer] = pipe();
    expect(box.raw("read", [reader, 10, 10])).toBe(PENDING);
    expect(box.call("write", writer, Buffer.from("hello"), 5)).toBe(5);
    expect(text(outputOf(box.completed[0]!))).toBe("hello");
    expect(box.call("close", writer)).toBe(0);
    expect(box.call("read", reader, 10, 10)).toBe(0);
    expect(box.process.fds.get(reader)!.poll()).toBe(Poll.HUP);
  });
  it("EAGAIN without blocking; writes up to PIPE_BUF are atomic", () => {
    const [reader, writer] = pipe(0o4000);
    expect(box.call("read", reader, 10, 10)).toBe(-11);
    expect(box.call("write", writer, new Uint8Array(65000), 65000)).toBe(65000);
    expect(box.call("write", writer, new Uint8Array(1000), 1000)).toBe(-11);
    expect(box.process.fds.get(writer)!.poll()).toBe(0);
    expect(box.call("write", writer, new Uint8Array(5000), 5000)).toBe(536);
    expect(box.call("write", writer, new Uint8Array(1), 1)).toBe(-11);
    expect(box.bytes("read", reader, 100_000, 100_000).length).toBe(65536);
    expect(box.process.fds.get(writer)!.poll()).toBe(Poll.OUT);
  });
  it("a blocking write ends when all is written", () => {
    const [reader, writer] = pipe();
    const data = Buffer.from(Array.from({ length: 200_000 }, (_, index) => index % 251));
    expect(box.raw("write", [writer, data, data.length])).toBe(PENDING);
    const parts: Uint8Array[] = [];
    while (box.completed.length === 0) parts.push(box.bytes("read", reader, 50_000, 50_000));
    parts.push(box.bytes("read", reader, 200_000, 200_000));
    expect(box.completed).toEqual([200_000]);
    expect(Buffer.concat(parts).equals(data)).toBe(true);
  });
  it("goes on with a blocking write when who waited took all that fits", () => {
    const [reader, writer] = pipe();
    const data = Buffer.from(Array.from({ length: 200_000 }, (_, index) => index % 251));
    expect(box.raw("read", [reader, 200_000, 200_000])).toBe(PENDING);
    expect(box.raw("write", [writer, data, data.length])).toBe(PENDING);
    const parts = [outputOf(box.completed[0]!)];
    expect(parts[0]).toHaveLength(65_536);
    expect(box.process.fds.get(reader)!.poll()).toBe(Poll.IN);
    while (box.completed.length === 1) parts.push(box.bytes("read", reader, 200_000, 200_000));
    parts.push(box.bytes("read", reader, 200_000, 200_000));
    expect(box.completed[1]).toBe(200_000);
    expect(Buffer.concat(parts).equals(data)).toBe(true);
  });
  it("EPIPE and SIGPIPE without readers", () => {
    const [reader, writer] = pipe();
    box.call("close", reader);
    expect(box.call("write", writer, Buffer.from("x"), 1)).toBe(-32);
    expect(box.signals).toEqual([{ pid: 1, signal: 13 }]);
    expect(box.process.fds.get(writer)!.poll()).toBe(Poll.ERR | Poll.OUT);
  });
  it("wrong directions, sizes, FIONREAD", () => {
    const [reader, writer] = pipe();
    expect(box.call("read", writer, 1, 1)).toBe(-9);
    expect(box.call("write", reader, Buffer.from("x"), 1)).toBe(-9);
    expect(box.call("lseek", reader, 0, 1)).toBe(-29);
    expect(box.call("pread64", reader, 1, 1, 0)).toBe(-29);
    expect(box.call("fcntl", reader, 1032, 0)).toBe(65536);
    expect(box.call("fcntl", reader, 1031, 100_000)).toBe(131_072);
    expect(box.call("fcntl", reader, 1031, 2_000_000)).toBe(-1);
    box.call("write", writer, Buffer.from("abc"), 3);
    box.memory.set(0x5000, new Uint8Array(4));
    const reply = box.raw("ioctl", [reader, 0x541b, 0x5000]);
    expect(reply).toMatchObject({ result: 0, ops: [{ op: "write", address: 0x5000, bytes: Uint8Array.of(3, 0, 0, 0) }] });
    expect(box.call("ioctl", reader, 0x541b, 0x9999)).toBe(-14);
  });
  it("splice, tee and sendfile", () => {
    box.write("/file", "0123456789");
    const [reader, writer] = pipe();
    const [reader2, writer2] = pipe();
    const fd = box.open("/file");
    const offset = new Uint8Array(8);
    offset[0] = 2;
    expect(box.raw("splice", [fd, offset, writer, null, 3, 0])).toMatchObject({
      result: 3,
      out: [{ arg: 1, value: Uint8Array.of(5, 0, 0, 0, 0, 0, 0, 0) }],
    });
    expect(box.call("sendfile", writer, fd, null, 4)).toBe(4);
    expect(box.call("lseek", fd, 0, 1)).toBe(4);
    expect(box.call("tee", reader, writer2, 100, 0)).toBe(7);
    expect(text(box.bytes("read", reader2, 100, 100))).toBe("2340123");
    const out = box.open("/out", 0o102);
    expect(box.call("splice", reader, null, out, null, 100, 0)).toBe(7);
    expect(box.read("/out")).toBe("2340123");
    expect(box.call("copy_file_range", fd, null, out, null, 100, 0)).toBe(6);
    expect(box.read("/out")).toBe("2340123456789");
  });
});

describe("FIFOs", () => {
  it("each side waits for the other", () => {
    expect(box.call("mknodat", -100, "/fifo", 0o10644, 0)).toBe(0);
    expect(box.open("/fifo", 0o4001)).toBe(-6);
    const other = box.newProcess();
    expect(box.raw("openat", [-100, "/fifo", 0, 0])).toBe(PENDING);
    const writer = box.as(other, "openat", -100, "/fifo", 1, 0);
    expect(writer).toBe(0);
    const [reader] = box.completed as [number];
    expect(box.as(other, "write", writer, Buffer.from("hi"), 2)).toBe(2);
    expect(text(box.bytes("read", reader, 10, 10))).toBe("hi");
    expect(box.as(other, "close", writer)).toBe(0);
    expect(box.call("read", reader, 10, 10)).toBe(0);
  });
});

describe("locks", () => {
  const lock = (type: number, start: number, length: number): number => {
    const bytes = new Uint8Array(32);
    const view = new DataView(bytes.buffer);
    view.setInt16(0, type, true);
    view.setBigInt64(8, BigInt(start), true);
    view.setBigInt64(16, BigInt(length), true);
    box.memory.set(0x1000, bytes);
    return 0x1000;
  };
  it("fcntl locks by process", () => {
    box.write("/file", "0123456789");
    const other = box.newProcess();
    const fd = box.open("/file", 2);
    const theirs = box.as(other, "openat", -100, "/file", 2, 0);
    expect(box.call("fcntl", fd, 6, lock(1, 2, 4))).toBe(0);
    expect(box.as(other, "fcntl", theirs, 6, lock(0, 5, 1))).toBe(-11);
    expect(box.as(other, "fcntl", theirs, 6, lock(0, 6, 1))).toBe(0);
    const held = box.raw("fcntl", [theirs, 5, lock(1, 0, 0)], other) as unknown as { ops: { bytes: Uint8Array }[] };
    const view = new DataView(held.ops[0]!.bytes.buffer);
    expect([
      view.getInt16(0, true),
      Number(view.getBigInt64(8, true)),
      Number(view.getBigInt64(16, true)),
      view.getInt32(24, true),
    ]).toEqual([1, 2, 4, 1]);
    expect(box.raw("fcntl", [theirs, 7, lock(1, 0, 6)], other)).toBe(PENDING);
    box.call("close", box.open("/file"));
    expect(box.completed).toEqual([0]);
    expect(box.call("fcntl", fd, 6, 0x7777)).toBe(-14);
  });
  it("flock by open description", () => {
    box.write("/file", "");
    const one = box.open("/file");
    const two = box.open("/file");
    expect(box.call("flock", one, 2)).toBe(0);
    expect(box.call("flock", two, 1 | 4)).toBe(-11);
    expect(box.raw("flock", [two, 1])).toBe(PENDING);
    expect(box.call("close", one)).toBe(0);
    expect(box.completed).toEqual([0]);
  });
});
