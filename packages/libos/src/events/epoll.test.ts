import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Box, pollfd, timespec } from "../sockets/test-support/box.ts";

const IN = 1;
const OUT = 4;
const ERR = 8;
const HUP = 16;
const ET = 0x80000000;
const ONESHOT = 0x40000000;
const EXCLUSIVE = 0x10000000;
const ADD = 1;
const DEL = 2;
const MOD = 3;
const NONBLOCK = 0o4000;

let box: Box;
beforeEach(() => void (box = new Box()));
afterEach(() => box.dispose());

function event(events: number, data: bigint): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, events, true);
  view.setBigUint64(8, data, true);
  return bytes;
}
const control = (epoll: number, operation: number, fd: number, events = 0, data = BigInt(fd)): number =>
  box.call("epoll_ctl", epoll, operation, fd, operation === DEL ? null : event(events, data));
/** [data, events] of what is ready now. */
function ready(epoll: number, max = 64): [number, number][] {
  return decode(box.start("epoll_pwait", epoll, max * 16, max, 0, null, 8));
}
function decode(waiting: { readonly result: number; out(arg: number): Uint8Array }): [number, number][] {
  if (waiting.result === 0) return [];
  const bytes = waiting.out(1);
  expect(bytes.length).toBe(waiting.result * 16);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Array.from({ length: waiting.result }, (_, index) => [
    Number(view.getBigUint64(index * 16 + 8, true)),
    view.getUint32(index * 16, true),
  ]);
}
function pair(): [number, number] {
  const fds = box.start("socketpair", 1, 1 | NONBLOCK, 0, 8).out(3);
  return [fds[0]!, fds[4]!];
}
const eventfd = (initial = 0, flags = NONBLOCK): number => box.call("eventfd2", initial, flags);
const add = (fd: number, value: bigint): number => {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  return box.call("write", fd, bytes, 8);
};
const count = (fd: number): bigint | number => {
  const waiting = box.start("read", fd, 8, 8);
  return waiting.result < 0 ? waiting.result : new DataView(waiting.out(1).slice().buffer).getBigUint64(0, true);
};

describe("epoll", () => {
  it("reports by level, with the data that was given", () => {
    const epoll = box.call("epoll_create1", 0o2000000);
    expect(box.context.process.fds.closeOnExec(epoll)).toBe(true);
    const [left, right] = pair();
    expect(control(epoll, ADD, left, IN, 0x1234_5678_9abcn)).toBe(0);
    expect(ready(epoll)).toEqual([]);
    box.write(right, "data");
    expect(ready(epoll)).toEqual([[0x1234_5678_9abc, IN]]);
    expect(ready(epoll)).toEqual([[0x1234_5678_9abc, IN]]);
    box.read(left);
    expect(ready(epoll)).toEqual([]);
    expect(control(epoll, MOD, left, IN | OUT, 7n)).toBe(0);
    expect(ready(epoll)).toEqual([[7, OUT]]);
    box.call("close", right);
    expect(ready(epoll)).toEqual([[7, IN | OUT | HUP]]);
    expect(control(epoll, DEL, left)).toBe(0);
    expect(ready(epoll)).toEqual([]);
    // HUP and ERR need not be asked for.
    const [other, gone] = pair();
    control(epoll, ADD, other, 0);
    expect(ready(epoll)).toEqual([]);
    box.call("close", gone);
    expect(ready(epoll)).toEqual([[other, HUP]]);
  });

  it("reports edges once", () => {
    const epoll = box.call("epoll_create1", 0);
    const [left, right] = pair();
    box.write(right, "a");
    control(epoll, ADD, left, IN | ET);
    expect(ready(epoll)).toEqual([[left, IN]]);
    expect(ready(epoll)).toEqual([]);
    box.write(right, "b");
    expect(ready(epoll)).toEqual([[left, IN]]);
    expect(ready(epoll)).toEqual([]);
    expect(control(epoll, MOD, left, IN | ET)).toBe(0);
    expect(ready(epoll)).toEqual([[left, IN]]);
    // Reading a part is no edge.
    box.read(left, 1);
    expect(ready(epoll)).toEqual([]);
    const semaphore = eventfd(3, NONBLOCK | 1);
    control(epoll, ADD, semaphore, IN | ET);
    expect(ready(epoll)).toEqual([[semaphore, IN]]);
    expect(count(semaphore)).toBe(1n);
    expect(ready(epoll)).toEqual([]);
    add(semaphore, 1n);
    expect(ready(epoll)).toEqual([[semaphore, IN]]);
  });

  it("reports once with EPOLLONESHOT, until it is armed again", () => {
    const epoll = box.call("epoll_create1", 0);
    const fd = eventfd(1);
    control(epoll, ADD, fd, IN | ONESHOT);
    expect(ready(epoll)).toEqual([[fd, IN]]);
    add(fd, 1n);
    expect(ready(epoll)).toEqual([]);
    control(epoll, MOD, fd, IN | ONESHOT);
    expect(ready(epoll)).toEqual([[fd, IN]]);
  });

  it("goes round when not all fit", () => {
    const epoll = box.call("epoll_create1", 0);
    const fds = [0, 1, 2, 3, 4].map(() => eventfd(1));
    for (const fd of fds) control(epoll, ADD, fd, IN);
    const seen = [...ready(epoll, 2), ...ready(epoll, 2), ...ready(epoll, 2)].map(([fd]) => fd);
    expect(new Set(seen)).toEqual(new Set(fds));
    expect(ready(epoll).length).toBe(5);
  });

  it("waits, and ends with time or a signal", async () => {
    const epoll = box.call("epoll_create1", 0);
    const fd = eventfd();
    control(epoll, ADD, fd, IN);
    const waiting = box.start("epoll_pwait", epoll, 160, 10, -1, null, 8);
    expect(waiting.done).toBe(false);
    add(fd, 1n);
    expect(decode(waiting)).toEqual([[fd, IN]]);
    count(fd);
    const late = box.start("epoll_pwait", epoll, 160, 10, 5, null, 8);
    const precise = box.start("epoll_pwait2", epoll, 160, 10, timespec(3.5), null, 8);
    await expect.poll(() => late.done && precise.done).toBe(true);
    expect([late.result, precise.result]).toEqual([0, 0]);
    const broken = box.start("epoll_pwait", epoll, 160, 10, -1, new Uint8Array(8).fill(1), 8);
    expect(box.masks).toEqual([new Uint8Array(8).fill(1)]);
    broken.interrupt();
    expect(broken.result).toBe(-4);
    expect(box.call("epoll_pwait", epoll, 160, 10, 0, new Uint8Array(4), 4)).toBe(-22);
  });

  it("wakes each of several waiters for a level", () => {
    const epoll = box.call("epoll_create1", 0);
    const [left, right] = pair();
    control(epoll, ADD, left, IN);
    const waiting = [0, 1].map(() => box.start("epoll_pwait", epoll, 160, 10, -1, null, 8));
    box.write(right, "x");
    expect(waiting.map(decode)).toEqual([[[left, IN]], [[left, IN]]]);
  });

  it("forgets a file when its last descriptor is closed, not before", () => {
    const epoll = box.call("epoll_create1", 0);
    const fd = eventfd(1);
    control(epoll, ADD, fd, IN);
    const copy = box.call("dup", fd);
    box.call("close", fd);
    expect(ready(epoll)).toEqual([[fd, IN]]);
    // The number belongs to another file now; the old interest lives on.
    expect(eventfd(1)).toBe(fd);
    expect(control(epoll, MOD, fd, IN)).toBe(-2);
    expect(control(epoll, ADD, fd, IN, 99n)).toBe(0);
    expect(
      ready(epoll)
        .map(([data]) => data)
        .sort((a, b) => a - b),
    ).toEqual([fd, 99].sort((a, b) => a - b));
    box.call("close", copy);
    expect(ready(epoll)).toEqual([[99, IN]]);
    box.call("close", fd);
    expect(ready(epoll)).toEqual([]);
    expect(eventfd(1)).toBe(fd);
    expect(control(epoll, ADD, fd, IN)).toBe(0);
  });

  it("nests, but not in circles", () => {
    const [outer, inner] = [box.call("epoll_create1", 0), box.call("epoll_create1", 0)];
    const fd = eventfd();
    expect(control(outer, ADD, inner, IN)).toBe(0);
    expect(control(inner, ADD, fd, IN)).toBe(0);
    expect(control(inner, ADD, outer, IN)).toBe(-40);
    expect(ready(outer)).toEqual([]);
    const waiting = box.start("epoll_pwait", outer, 160, 10, -1, null, 8);
    add(fd, 1n);
    expect(decode(waiting)).toEqual([[inner, IN]]);
    expect(box.poll(inner)).toBe(IN | 0x40);
    count(fd);
    expect(ready(outer)).toEqual([]);
    let below = inner;
    const results = [1, 2, 3, 4, 5].map(() => {
      const next = box.call("epoll_create1", 0);
      const result = control(next, ADD, below, IN);
      below = next;
      return result;
    });
    expect(results).toContain(-40);
  });

  it("has Linux's errors", () => {
    const epoll = box.call("epoll_create1", 0);
    const fd = eventfd();
    const file = box.files.open("/etc/passwd");
    expect(box.call("epoll_create1", 1)).toBe(-22);
    expect(control(99, ADD, fd, IN)).toBe(-9);
    expect(control(epoll, ADD, 99, IN)).toBe(-9);
    expect(control(fd, ADD, fd, IN)).toBe(-22);
    expect(control(epoll, ADD, epoll, IN)).toBe(-22);
    expect(control(epoll, ADD, file, IN)).toBe(-1);
    expect(control(epoll, 9, fd, IN)).toBe(-22);
    expect(control(epoll, DEL, fd)).toBe(-2);
    expect(control(epoll, MOD, fd, IN)).toBe(-2);
    expect(control(epoll, ADD, fd, IN | EXCLUSIVE)).toBe(0);
    expect(control(epoll, ADD, fd, IN)).toBe(-17);
    expect(control(epoll, MOD, fd, IN)).toBe(-22);
    expect(box.call("epoll_ctl", epoll, ADD, fd, null)).toBe(-14);
    expect(box.call("epoll_pwait", epoll, 0, 0, 0, null, 8)).toBe(-22);
    expect(box.call("epoll_pwait", 99, 16, 1, 0, null, 8)).toBe(-9);
    expect(box.call("epoll_pwait", fd, 16, 1, 0, null, 8)).toBe(-22);
    expect(
      box.call("epoll_pwait2", epoll, 16, 1, Uint8Array.from([...timespec(0).subarray(0, 8), 0, 0xca, 0x9a, 0x3b, 0, 0, 0, 0]), null, 8),
    ).toBe(-22);
  });
});

describe("eventfd", () => {
  it("counts, and blocks at its limit", () => {
    const fd = eventfd(3);
    expect(count(fd)).toBe(3n);
    expect(count(fd)).toBe(-11);
    expect(box.poll(fd)).toBe(OUT | 0x100);
    expect(add(fd, 0xffff_fffen)).toBe(8);
    expect(add(fd, 5n)).toBe(8);
    expect(count(fd)).toBe(0x1_0000_0003n);
    expect(add(fd, 0xffff_ffff_ffff_fffen)).toBe(8);
    expect(add(fd, 1n)).toBe(-11);
    expect(box.poll(fd)).toBe(IN | 0x40);
    expect(add(fd, 0xffff_ffff_ffff_ffffn)).toBe(-22);
    expect(box.call("write", fd, new Uint8Array(4), 4)).toBe(-22);
    expect(box.call("read", fd, 4, 4)).toBe(-22);
    expect(count(fd)).toBe(0xffff_ffff_ffff_fffen);
    expect(box.call("eventfd2", 0, 2)).toBe(-22);
  });
  it("counts down as a semaphore, and wakes readers and writers", () => {
    const fd = eventfd(0, 1);
    const reading = box.start("read", fd, 8, 8);
    add(fd, 2n);
    expect([...reading.out(1)]).toEqual([1, 0, 0, 0, 0, 0, 0, 0]);
    expect(count(fd)).toBe(1n);
    add(fd, 0xffff_ffff_ffff_fffen);
    const one = new Uint8Array(8);
    one[0] = 1;
    const writing = box.start("write", fd, one, 8);
    expect(writing.done).toBe(false);
    expect(count(fd)).toBe(1n);
    expect(writing.result).toBe(8);
  });
});

describe("timerfd", () => {
  const setting = (interval: number, value: number): Uint8Array => Uint8Array.from([...timespec(interval), ...timespec(value)]);
  it("expires, again and again, and tells what is left", async () => {
    const fd = box.call("timerfd_create", 1, NONBLOCK);
    expect(count(fd)).toBe(-11);
    expect(box.call("timerfd_settime", fd, 0, setting(5, 10), null)).toBe(0);
    const epoll = box.call("epoll_create1", 0);
    control(epoll, ADD, fd, IN);
    expect(ready(epoll)).toEqual([]);
    const left = box.start("timerfd_gettime", fd, 32).out(1);
    expect([...left.subarray(0, 16)]).toEqual([...timespec(5)]);
    expect(new DataView(left.slice().buffer).getUint32(24, true)).toBeGreaterThan(0);
    const waiting = box.start("epoll_pwait", epoll, 160, 10, -1, null, 8);
    await expect.poll(() => waiting.done).toBe(true);
    expect(decode(waiting)).toEqual([[fd, IN]]);
    expect((count(fd) as bigint) >= 1n).toBe(true);
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect((count(fd) as bigint) >= 4n).toBe(true);
    const old = box.start("timerfd_settime", fd, 0, setting(0, 0), 32);
    expect([...old.out(3).subarray(0, 16)]).toEqual([...timespec(5)]);
    expect(box.start("timerfd_gettime", fd, 32).out(1)).toEqual(new Uint8Array(32));
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(count(fd)).toBe(-11);
  });
  it("takes absolute times, past ones at once", async () => {
    const fd = box.call("timerfd_create", 0, 0);
    expect(box.call("timerfd_settime", fd, 1, setting(0, Date.now() + 8), null)).toBe(0);
    const reading = box.start("read", fd, 8, 8);
    expect(reading.done).toBe(false);
    await expect.poll(() => reading.done).toBe(true);
    expect([...reading.out(1)]).toEqual([1, 0, 0, 0, 0, 0, 0, 0]);
    expect(box.call("timerfd_settime", fd, 1, setting(0, 1), null)).toBe(0);
    expect(count(fd)).toBe(1n);
    expect(box.call("timerfd_create", 77, 0)).toBe(-22);
    expect(box.call("timerfd_settime", fd, 8, setting(0, 1), null)).toBe(-22);
    expect(box.call("timerfd_settime", eventfd(), 0, setting(0, 1), null)).toBe(-22);
    expect(box.call("timerfd_gettime", 99, 32)).toBe(-9);
  });
});

describe("ppoll and pselect6", () => {
  const events = (bytes: Uint8Array): number[] =>
    Array.from({ length: bytes.length / 8 }, (_, index) => bytes[index * 8 + 6]! | (bytes[index * 8 + 7]! << 8));
  it("look at many descriptors and wait for one", async () => {
    const [left, right] = pair();
    const fd = eventfd();
    const set = pollfd([left, IN], [-1, IN], [99, IN], [fd, OUT]);
    const now = box.start("ppoll", set, 4, null, null, 8);
    expect([now.result, events(now.out(0))]).toEqual([2, [0, 0, 0x20, OUT]]);
    const waiting = box.start("ppoll", pollfd([left, IN], [fd, IN]), 2, timespec(10_000), null, 8);
    box.write(right, "x");
    expect([waiting.result, events(waiting.out(0))]).toEqual([1, [IN, 0]]);
    // What is left of the time.
    expect(new DataView(waiting.out(2).slice().buffer).getUint32(0, true)).toBe(9);
    box.read(left);
    const late = box.start("ppoll", pollfd([left, IN | ERR]), 1, timespec(3), null, 8);
    await expect.poll(() => late.done).toBe(true);
    expect([late.result, events(late.out(0)), [...late.out(2)]]).toEqual([0, [0], [...timespec(0)]]);
    expect(box.call("ppoll", pollfd(), 5000, null, null, 8)).toBe(-22);
    expect(box.call("ppoll", null, 1, null, null, 8)).toBe(-14);
    expect(box.call("ppoll", pollfd([left, IN]), 1, null, new Uint8Array(4), 4)).toBe(-22);
  });
  it("select by bits", () => {
    const [left, right] = pair();
    const bits = (...fds: number[]): Uint8Array => {
      const bytes = new Uint8Array(8);
      for (const fd of fds) bytes[fd >> 3]! |= 1 << (fd & 7);
      return bytes;
    };
    const now = box.start("pselect6", right + 1, bits(left, right), bits(left), null, null, null);
    expect([now.result, now.out(1), now.out(2)]).toEqual([1, bits(), bits(left)]);
    const waiting = box.start("pselect6", right + 1, bits(left), null, bits(left), timespec(10_000), null);
    expect(waiting.done).toBe(false);
    box.write(right, "x");
    expect([waiting.result, waiting.out(1), waiting.out(3)]).toEqual([1, bits(left), bits()]);
    expect(box.call("pselect6", 60, bits(50), null, null, null, null)).toBe(-9);
    expect(box.call("pselect6", -1, null, null, null, null, null)).toBe(-22);
    const mask = new Uint8Array(8).fill(3);
    box.files.memory.set(0x5000, mask);
    const pairOf = (address: number, size: number): Uint8Array => {
      const bytes = new Uint8Array(16);
      new DataView(bytes.buffer).setUint32(0, address, true);
      bytes[8] = size;
      return bytes;
    };
    expect(box.call("pselect6", right + 1, bits(left), null, null, null, pairOf(0x5000, 8))).toBe(1);
    expect(box.masks).toEqual([mask]);
    expect(box.call("pselect6", right + 1, bits(left), null, null, null, pairOf(0x5000, 4))).toBe(-22);
    expect(box.call("pselect6", right + 1, bits(left), null, null, null, pairOf(0x6000, 8))).toBe(-14);
  });
});
