import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Poll } from "../kernel/types.ts";
import { Box, unix } from "./test-support/box.ts";

const STREAM = 1;
const DGRAM = 2;
const SEQPACKET = 5;
const NONBLOCK = 0o4000;
const CLOEXEC = 0o2000000;
let box: Box;
beforeEach(() => void (box = new Box()));
afterEach(() => box.dispose());

function pair(type: number): [number, number] {
  const view = box.start("socketpair", 1, type, 0, 8).out(3);
  return [view[0]!, view[4]!];
}
function listener(path: string, type = STREAM, backlog = 5): number {
  const fd = box.socket(1, type);
  expect(box.call("bind", fd, unix(path), path.length + 2)).toBe(0);
  expect(box.call("listen", fd, backlog)).toBe(0);
  return fd;
}
const connect = (fd: number, path: string): number => box.call("connect", fd, unix(path), path.length + 2);
const rights = (...fds: number[]): Uint8Array => {
  const bytes = new Uint8Array(16 + ((fds.length * 4 + 7) & ~7));
  new Uint32Array(bytes.buffer).set([16 + fds.length * 4, 0, 1, 1, ...fds]);
  return bytes;
};
const sendMessage = (fd: number, text: string, control: Uint8Array): number =>
  box.call("sendmsg", fd, { name: null, data: Buffer.from(text), control, flags: 0 }, 0);
function receiveMessage(
  fd: number,
  flags = 0,
  controlCapacity = 256,
): { result: number; data: string; control: Int32Array; flags: number } {
  const waiting = box.start("recvmsg", fd, { nameCapacity: 0, dataCapacity: 1000, controlCapacity }, flags);
  const { data, control, flags: out } = waiting.out(1) as unknown as { data: Uint8Array; control: Uint8Array; flags: number };
  return { result: waiting.result, data: Buffer.from(data).toString(), control: new Int32Array(control.slice().buffer), flags: out };
}

describe("stream", () => {
  it("connects by a path, an abstract name, and says who is there", () => {
    const fd = listener("/tmp/s");
    expect(box.files.stat("/tmp/s")).toMatchObject({ mode: 0o140755 });
    const client = box.socket(1, STREAM);
    expect(connect(client, "/tmp/s")).toBe(0);
    expect(connect(client, "/tmp/s")).toBe(-106);
    const accepting = box.start("accept4", fd, 110, 0, NONBLOCK);
    const server = accepting.result;
    expect([...accepting.out(1)]).toEqual([1, 0]);
    expect(Buffer.from(box.start("getpeername", client, 110, 0).out(1)).toString()).toBe("\u0001\0/tmp/s\0");
    const peer = box.start("getsockopt", client, 1, 17, 12, 0).out(3);
    expect([...new Int32Array(peer.slice().buffer)]).toEqual([1, 0, 0]);
    expect(box.write(client, "one")).toBe(3);
    expect(box.write(client, "two")).toBe(3);
    expect(box.read(server, 4)).toBe("onet");
    expect(box.read(server)).toBe("wo");
    expect(box.read(server)).toBe(-11);
    box.call("close", client);
    expect(box.read(server)).toBe("");
    expect(box.poll(server) & (Poll.HUP | Poll.RDHUP)).toBe(Poll.HUP | Poll.RDHUP);
    expect(box.write(server, "x")).toBe(-32);
    expect(box.signals).toEqual([13]);
    const abstract = listener("\0name");
    expect(connect(box.socket(1, STREAM), "\0name")).toBe(0);
    box.call("close", abstract);
    expect(connect(box.socket(1, STREAM), "\0name")).toBe(-111);
  });

  it("has Linux's errors for names", () => {
    const fd = listener("/tmp/s");
    const other = box.socket(1, STREAM);
    expect(box.call("bind", other, unix("/tmp/s"), 8)).toBe(-98);
    expect(box.call("bind", other, unix("/none/s"), 9)).toBe(-2);
    expect(connect(other, "/none")).toBe(-2);
    box.files.write("/tmp/file", "x");
    expect(connect(other, "/tmp/file")).toBe(-111);
    expect(connect(box.socket(1, DGRAM), "/tmp/s")).toBe(-91);
    expect(box.call("listen", other, 1)).toBe(-22);
    expect(box.call("bind", other, Uint8Array.of(2, 0, 0), 3)).toBe(-22);
    box.call("close", fd);
    expect(connect(other, "/tmp/s")).toBe(-111);
    const user = box.files.newProcess(1000);
    expect(box.startAs(user, "socket", 1, STREAM, 0).result).toBe(0);
    const root = listener("/tmp/root");
    expect(box.startAs(user, "connect", 0, unix("/tmp/root"), 11).result).toBe(-13);
    box.call("close", root);
    const auto = box.socket(1, DGRAM);
    expect(box.call("bind", auto, Uint8Array.of(1, 0), 2)).toBe(0);
    const name = Buffer.from(box.start("getsockname", auto, 110, 0).out(1));
    expect([...name.subarray(0, 3), name.subarray(3).toString()]).toEqual([1, 0, 0, expect.stringMatching(/^[\da-f]{5}$/u)]);
  });

  it("waits for room in the queue, and resets what was not accepted", () => {
    const fd = listener("/tmp/s", STREAM, 0);
    const first = box.socket(1, STREAM);
    expect(connect(first, "/tmp/s")).toBe(0);
    expect(connect(box.socket(1, STREAM | NONBLOCK), "/tmp/s")).toBe(-11);
    const second = box.socket(1, STREAM);
    const waiting = box.start("connect", second, unix("/tmp/s"), 8);
    expect(waiting.done).toBe(false);
    box.call("accept", fd, null, 0);
    expect(waiting.result).toBe(0);
    box.call("close", fd);
    expect(box.read(second)).toBe(-104);
  });

  it("holds back a sender, and lets it go on", () => {
    const [left, right] = pair(STREAM | NONBLOCK);
    let sent = 0;
    for (let result = 0; result >= 0; result = box.write(left, new Uint8Array(100_000))) sent += result;
    expect(sent).toBeGreaterThan(150_000);
    expect(sent).toBeLessThan(212_992);
    expect(box.poll(left) & Poll.OUT).toBe(0);
    let got = 0;
    while ((box.poll(left) & Poll.OUT) === 0) got += (box.read(right, 10_000) as string).length;
    expect(got).toBeLessThan(sent);
    for (let text = box.read(right); typeof text === "string" && text.length > 0; text = box.read(right)) got += text.length;
    expect(got).toBe(sent);
  });

  it("goes on with a blocking send when who waited took all that fits", () => {
    const [left, right] = pair(STREAM);
    const size = 1_000_000;
    const receiving = box.start("recvfrom", right, size, size, 0, 0, 0);
    const sending = box.start("sendto", left, new Uint8Array(size), size, 0, null, 0);
    let got = receiving.result;
    expect(got).toBeGreaterThan(0);
    expect(got).toBeLessThan(size);
    while (got < size) {
      expect(box.poll(right) & Poll.IN).toBe(Poll.IN);
      got += (box.read(right, size) as string).length;
    }
    expect(sending.result).toBe(size);
  });

  it("shuts down both directions", () => {
    const [left, right] = pair(STREAM | NONBLOCK);
    box.write(left, "last");
    expect(box.call("shutdown", left, 1)).toBe(0);
    expect(box.read(right)).toBe("last");
    expect(box.read(right)).toBe("");
    expect(box.write(right, "back")).toBe(4);
    expect(box.call("shutdown", right, 2)).toBe(0);
    expect(box.read(left)).toBe("back");
    expect(box.read(left)).toBe("");
    expect(box.call("shutdown", left, 3)).toBe(-22);
  });
});

describe("descriptors and credentials", () => {
  it("hands descriptors over", () => {
    const [left, right] = pair(STREAM | NONBLOCK);
    box.files.write("/tmp/file", "content");
    const file = box.files.open("/tmp/file");
    expect(sendMessage(left, "take", rights(file, left))).toBe(4);
    box.call("close", file);
    box.write(left, "more");
    const got = receiveMessage(right, 0x40000000);
    // The bytes of a message with descriptors are not joined with those that follow.
    expect([got.result, got.data, got.control.length]).toEqual([4, "take", 6]);
    const [length, , level, type, first, second] = got.control;
    expect([length, level, type]).toEqual([24, 1, 1]);
    expect(box.read(first!)).toBe("content");
    expect(box.context.process.fds.closeOnExec(second!)).toBe(true);
    expect(box.read(right)).toBe("more");
    expect(box.write(second!, "again")).toBe(5);
    expect(box.read(right)).toBe("again");
  });

  it("gives back what nobody takes", () => {
    const [left, right] = pair(STREAM | NONBLOCK);
    const file = box.context.process.fds.get(box.files.open("/etc/passwd"))!;
    const fd = box.context.process.fds.list().at(-1)!;
    sendMessage(left, "a", rights(fd));
    expect(file.references).toBe(2);
    expect(box.read(right)).toBe("a");
    expect(file.references).toBe(1);
    sendMessage(left, "b", rights(fd, fd));
    const cut = receiveMessage(right, 0, 20);
    expect([cut.flags, cut.control.length, cut.control[0]]).toEqual([8, 5, 20]);
    expect(file.references).toBe(2);
    sendMessage(left, "c", rights(fd));
    box.call("close", right);
    expect(file.references).toBe(2);
    expect(sendMessage(left, "d", rights(fd))).toBe(-104);
    expect(sendMessage(left, "d", rights(fd))).toBe(-32);
    expect(sendMessage(left, "d", rights(999))).toBe(-9);
    expect(sendMessage(left, "d", new Uint8Array(16))).toBe(-22);
    expect(file.references).toBe(2);
  });

  it("tells who sent, when asked for", () => {
    const [left, right] = pair(DGRAM | NONBLOCK);
    box.write(left, "x");
    expect(receiveMessage(right).control.length).toBe(0);
    box.call("setsockopt", right, 1, 16, Uint8Array.of(1, 0, 0, 0), 4);
    box.write(left, "x");
    expect([...receiveMessage(right).control]).toEqual([28, 0, 1, 2, 1, 0, 0, 0]);
  });
});

describe("messages", () => {
  it("keep their borders on seqpacket sockets", () => {
    const fd = listener("/tmp/q", SEQPACKET);
    const client = box.socket(1, SEQPACKET);
    expect(box.write(client, "x")).toBe(-107);
    expect(connect(client, "/tmp/q")).toBe(0);
    const server = box.call("accept4", fd, null, 0, NONBLOCK);
    box.write(client, "first");
    box.write(client, "second");
    expect(box.read(server, 3)).toBe("fir");
    expect(box.read(server)).toBe("second");
    expect(box.read(server)).toBe(-11);
    expect(box.call("sendto", client, new Uint8Array(300_000), 300_000, 0, null, 0)).toBe(-90);
    box.call("close", client);
    expect(box.read(server)).toBe("");
  });

  it("go to datagram sockets by name, with the sender's", () => {
    const receiver = box.socket(1, DGRAM | NONBLOCK);
    box.call("bind", receiver, unix("/tmp/d"), 8);
    const sender = box.socket(1, DGRAM | NONBLOCK | CLOEXEC);
    expect(box.write(sender, "x")).toBe(-107);
    expect(box.call("sendto", sender, Buffer.from("unnamed"), 7, 0, unix("/tmp/d"), 8)).toBe(7);
    let got = box.start("recvfrom", receiver, 100, 100, 0, 110, 0);
    expect([got.text, got.out(4).length]).toEqual(["unnamed", 0]);
    box.call("bind", sender, unix("\0s"), 4);
    expect(connect(sender, "/tmp/d")).toBe(0);
    expect(box.write(sender, "")).toBe(0);
    expect(box.write(sender, "named")).toBe(5);
    expect(box.read(receiver)).toBe("");
    got = box.start("recvfrom", receiver, 100, 100, 0, 110, 0);
    expect([got.text, Buffer.from(got.out(4)).toString()]).toEqual(["named", "\u0001\0\0s"]);
    let sent = 0;
    while (box.write(sender, "y".repeat(1000)) > 0) sent++;
    expect(sent).toBe(Math.floor(212_992 / 1128));
    expect(box.poll(sender) & Poll.OUT).toBe(0);
    while (box.read(receiver) !== -11);
    expect(box.poll(sender) & Poll.OUT).toBe(Poll.OUT);
    box.call("close", receiver);
    expect(box.write(sender, "x")).toBe(-111);
    expect(box.write(sender, "x")).toBe(-107);
  });
});

it("lets a message in that needs nearly all of the room, once there is nothing else", () => {
  const [left, right] = pair(SEQPACKET);
  box.write(left, "small");
  const big = new Uint8Array(200_000);
  box.write(left, new Uint8Array(50_000));
  const waiting = box.start("write", left, big, big.length);
  expect(waiting.done).toBe(false);
  expect(box.read(right)).toBe("small");
  expect(waiting.done).toBe(false);
  expect((box.read(right) as string).length).toBe(50_000);
  expect(waiting.result).toBe(200_000);
});

describe("arrays of messages", () => {
  /** Memory of the caller: one mmsghdr each at 0x1000 + 64 n, its iovec at 0x2000 + 16 n, data at 0x3000 + 256 n. */
  function vector(texts: readonly string[], capacity = 0): void {
    texts.forEach((text, index) => {
      const data = Buffer.alloc(capacity || text.length);
      data.write(text);
      const header = new Uint8Array(64);
      const view = new DataView(header.buffer);
      view.setUint32(16, 0x2000 + index * 16, true);
      view.setUint32(24, 1, true);
      const iovec = new Uint8Array(16);
      new DataView(iovec.buffer).setUint32(0, 0x3000 + index * 256, true);
      new DataView(iovec.buffer).setUint32(8, data.length, true);
      box.files.memory.set(0x1000 + index * 64, header);
      box.files.memory.set(0x2000 + index * 16, iovec);
      box.files.memory.set(0x3000 + index * 256, data);
    });
  }
  it("are sent and received in one call", async () => {
    const [left, right] = pair(DGRAM);
    vector(["one", "three", "five5"]);
    const sending = box.start("sendmmsg", left, 0x1000, 3, 0);
    await expect.poll(() => sending.done).toBe(true);
    expect(sending.outcome).toMatchObject({
      result: 3,
      ops: [
        { address: 0x1038, bytes: Uint8Array.of(3, 0, 0, 0) },
        { address: 0x1078, bytes: Uint8Array.of(5, 0, 0, 0) },
        { address: 0x10b8 },
      ],
    });
    vector(["", "", "", ""], 4);
    const receiving = box.start("recvmmsg", right, 0x1000, 4, 0x10000, null);
    await expect.poll(() => receiving.done).toBe(true);
    expect(receiving.result).toBe(3);
    const { ops } = receiving.outcome as unknown as { ops: { address: number; bytes: Uint8Array }[] };
    const written = (address: number): string => Buffer.from(ops.find((op) => op.address === address)!.bytes).toString("latin1");
    expect([0x3000, 0x3100, 0x3200].map(written)).toEqual(["one", "thre", "five"]);
    // msg_flags: MSG_TRUNC.
    expect(written(0x1070)).toBe("\x20\0\0\0");
    const bad = box.start("sendmmsg", left, 0x9000, 1, 0);
    await expect.poll(() => bad.done).toBe(true);
    expect(bad.result).toBe(-14);
    // It waits for all, and gives what there is when a signal comes.
    const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));
    const waiting = box.start("recvmmsg", right, 0x1000, 2, 0, null);
    await settled();
    box.write(left, "a");
    expect(waiting.done).toBe(false);
    box.write(left, "b");
    expect(waiting.result).toBe(2);
    const interrupted = box.start("recvmmsg", right, 0x1000, 2, 0, null);
    await settled();
    box.write(left, "c");
    interrupted.interrupt();
    expect(interrupted.result).toBe(1);
    const late = box.start("recvmmsg", right, 0x1000, 2, 0, new Uint8Array(16));
    await settled();
    box.write(left, "d");
    expect(late.result).toBe(1);
    expect(box.call("recvmmsg", right, 0x1000, 2, 0, new Uint8Array(16).fill(255))).toBe(-22);
  });
});
