import { afterEach, beforeEach, expect, it } from "vitest";
import type { SignalInfo } from "../kernel/types.ts";
import { WaitQueue } from "../kernel/wait.ts";
import { Box } from "../sockets/test-support/box.ts";

let box: Box;
const arrivals = new WaitQueue();
/** `directed`: pending for the thread, not for its process. */
let pending: { signal: number; directed: boolean; info: SignalInfo }[];
beforeEach(() => {
  box = new Box();
  pending = [];
  const bit = (signal: number): bigint => 1n << BigInt(signal - 1);
  Object.assign(box.files.kernel, {
    signalSource: {
      pending: (_process: unknown, thread: unknown, set: bigint) =>
        pending.some(({ signal, directed }) => (set & bit(signal)) !== 0n && (!directed || thread !== undefined)),
      take(_context: unknown, set: bigint) {
        const index = pending.findIndex(({ signal }) => (set & bit(signal)) !== 0n);
        return index < 0 ? undefined : pending.splice(index, 1)[0];
      },
      arrivals: () => arrivals,
    },
  });
});
afterEach(() => box.dispose());

function send(signal: number, directed = false): void {
  pending.push({ signal, directed, info: { code: 0, pid: 42, uid: 7, status: 3, value: 5n, address: 0 } });
  arrivals.notify();
}

it("reads the signals of its set, and only those", () => {
  const set = new Uint8Array(8);
  // SIGINT and SIGCHLD; SIGKILL is left out.
  new DataView(set.buffer).setUint32(0, (1 << 1) | (1 << 16) | (1 << 8), true);
  const fd = box.call("signalfd4", -1, set, 8, 0o4000);
  expect(box.read(fd)).toBe(-11);
  send(15);
  send(9);
  expect(box.poll(fd)).toBe(0);
  send(2);
  send(17);
  expect(box.poll(fd)).toBe(0x41);
  const bytes = box.start("read", fd, 1000, 1000).out(1);
  expect(bytes.length).toBe(256);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  expect([view.getUint32(0, true), view.getUint32(12, true), view.getUint32(16, true), view.getInt32(40, true)]).toEqual([2, 42, 7, 0]);
  expect([view.getUint32(128, true), view.getInt32(168, true)]).toEqual([17, 3]);
  expect(box.call("read", fd, 100, 100)).toBe(-22);
  const other = new Uint8Array(8);
  other[1] = 0x40;
  expect(box.call("signalfd4", fd, other, 8, 0)).toBe(fd);
  expect(box.poll(fd)).toBe(0x41);
  expect(box.call("signalfd4", -1, set, 4, 0)).toBe(-22);
  expect(box.call("signalfd4", 99, set, 8, 0)).toBe(-9);
  expect(box.call("signalfd4", box.call("eventfd2", 0, 0), set, 8, 0)).toBe(-22);
});

it("is readable for a signal to one thread", () => {
  const fd = box.call("signalfd4", -1, Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0), 8, 0);
  expect(box.poll(fd)).toBe(0);
  send(2, true);
  expect(box.poll(fd)).toBe(0x41);
});

it("wakes a reader", () => {
  const fd = box.call("signalfd4", -1, Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0), 8, 0);
  const reading = box.start("read", fd, 128, 128);
  expect(reading.done).toBe(false);
  send(2);
  expect(reading.out(1)[0]).toBe(2);
});
