/**
 * Two library OSes on one virtual network: whatever both ends do, bytes arrive once and in order. Memory that was lent for a call is written over when the call is over, so that
 * who kept a view of it delivers garbage.
 */
import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import type { CpObjectsSeen } from "../../packages/libos/src/files/cp.ts";
import type { CallContext } from "../../packages/libos/src/kernel/types.ts";
import { Box, inet, unix, Waiting } from "../../packages/libos/src/sockets/test-support/box.ts";
import type { CpRequest, HostCalls } from "../../packages/monitor/src/abi.ts";
import type { CpObject } from "../../packages/monitor/src/cp/objects.ts";
import { type NetworkNode, VirtualNetwork } from "../../packages/monitor/src/network.ts";

type Kind = "tcp" | "cp";
const PORT = 7000;
const PEEK = 2;
const DONTWAIT = 0x40;
const WAITALL = 0x100;
const NOSIGNAL = 0x4000;
/** Stands for memory of programs: what is in it is lent for a call. */
const guest = new SharedArrayBuffer(8 << 20);
const byteAt = (side: number, position: number): number => (position * 31 + (position >> 8) * 17 + side * 101) & 0xff;

/** One cVM with one connected socket. */
class Side {
  readonly number: number;
  readonly box: Box;
  fd = -1;
  writing: Waiting | null = null;
  reading: Waiting | null = null;
  /** Bytes that calls said went, bytes that one under way may have sent, bytes that were read. */
  sent = 0;
  trying = 0;
  read = 0;
  ended = false;
  broken = false;
  readonly #inputs: Map<number, Uint8Array> = new Map();
  #threads = 100;

  constructor(number: number, box: (side: Side) => Box) {
    this.number = number;
    this.box = box(this);
  }
  argument(thread: number): Uint8Array | null {
    return this.#inputs.get(thread) ?? null;
  }
  #context(): CallContext {
    const { context } = this.box;
    return { ...context, thread: { ...context.thread, id: ++this.#threads } };
  }
  write(size: number, flags: number): void {
    if (this.writing !== null || this.broken) return;
    const context = this.#context();
    const bytes = new Uint8Array(guest, this.number * (4 << 20), size);
    for (let i = 0; i < size; i++) bytes[i] = byteAt(this.number, this.sent + i);
    this.trying = size;
    this.#inputs.set(context.thread.id, bytes);
    const call = this.box.startAs(context, "sendto", this.fd, bytes, size, flags, null, 0);
    const done = (): void => {
      this.#inputs.delete(context.thread.id);
      this.writing = null;
      this.trying = 0;
      if (call.result > 0) this.sent += call.result;
      else if (call.result !== -11 && call.result !== -4) this.broken = true;
      bytes.fill(0xee);
    };
    if (call.done) return done();
    this.writing = call;
    call.answered = done;
    // What was not asked for again lies in memory until the call is over: a small one was copied.
    if (size < 16_384) bytes.fill(0xee);
  }
  receive(from: Side, max: number, flags: number): void {
    if (this.reading !== null || this.ended) return;
    const call = this.box.startAs(this.#context(), "recvfrom", this.fd, max, max, flags, null, null);
    const done = (): void => {
      this.reading = null;
      if (call.result <= 0) {
        if (call.result !== -11 && call.result !== -4) this.ended = true;
        return;
      }
      const got = call.out(1);
      expect(got.length).toBe(call.result);
      for (let i = 0; i < got.length; i++)
        if (got[i] !== byteAt(from.number, this.read + i))
          throw new Error(`byte ${this.read + i} of ${this.read + got.length} is not what was sent`);
      expect(this.read + got.length).toBeLessThanOrEqual(from.sent + from.trying);
      if ((flags & PEEK) === 0) this.read += got.length;
    };
    if (call.done) return done();
    this.reading = call;
    call.answered = done;
  }
}

class Rig {
  readonly sides: readonly [Side, Side];
  readonly #mail: (() => void)[] = [];
  /** Nothing is taken at once: as inside of another delivery. */
  refuses = false;
  readonly #boxes: Box[] = [];

  /** `both` library OSes are in one process, `first`: the other one is behind a port, `none`: both are. */
  constructor(kind: Kind, lends: "both" | "first" | "none") {
    const network = new VirtualNetwork({ post: (deliver) => void this.#mail.push(deliver) });
    const nodes: NetworkNode[] = [];
    const name = { name: "line" } as unknown as CpObject;
    const cp = { open: new Map(), connect: null, streamOf: () => (kind === "cp" ? "line" : undefined) } as unknown as CpObjectsSeen;
    const make = (side: Side): Box => {
      const direct = lends === "both" || (lends === "first" && side.number === 0);
      const address = `10.88.0.${side.number + 2}`;
      const node = network.attach(`side${side.number}`, address, {
        incoming: (...args) => box.network.incoming(...args),
        connected: (...args) => box.network.connected(...args),
        received: (...args) => box.network.received(...args),
        ...(direct ? { lent: (...args) => (this.refuses ? 0 : box.network.lent(...args)) } : {}),
        credited: (...args) => box.network.credited(...args),
        ended: (...args) => box.network.ended(...args),
        reset: (...args) => box.network.reset(...args),
      });
      nodes.push(node);
      const own = (bytes: Uint8Array): Uint8Array => (bytes.buffer === (guest as unknown) ? bytes.slice() : bytes);
      const calls: Partial<HostCalls> = {
        listen: (...args) => node.listen(...args),
        connect: (...args) => void node.connect(...args),
        send: (stream, bytes) => expect(node.send(stream, bytes, own)).toBeTypeOf("boolean"),
        credit: (...args) => void node.credit(...args),
        shutdown: (...args) => void node.shutdown(...args),
        close: (...args) => void node.close(...args),
        cp: (request: CpRequest) => {
          if (request.cp === "open") return 1;
          if (request.cp === "listen") return node.listenAt(name, request.stream, request.backlog);
          if (request.cp === "connect") void node.connectTo(nodes[0]!, name, request.stream, () => {});
          return 0;
        },
        ...(direct
          ? {
              lend: (stream, bytes) => node.lend(stream, bytes),
              want: (stream) => node.want(stream),
              argument: (thread) => side.argument(thread),
            }
          : {}),
      };
      const box = new Box(calls, address, cp);
      this.#boxes.push(box);
      return box;
    };
    this.sides = [new Side(0, make), new Side(1, make)];
    const [server, client] = this.sides;
    const domain = kind === "cp" ? 1 : 2;
    const address = kind === "cp" ? unix("/tmp") : inet("10.88.0.2", PORT);
    const listener = server.box.socket(domain, 1);
    expect(server.box.call("bind", listener, address, address.length)).toBe(0);
    expect(server.box.call("listen", listener, 1)).toBe(0);
    client.fd = client.box.socket(domain, 1);
    const connecting = client.box.start("connect", client.fd, address, address.length);
    const accepting = server.box.start("accept", listener, null, null);
    this.deliver();
    expect(connecting.result).toBe(0);
    server.fd = accepting.result;
    expect(server.fd).toBeGreaterThan(0);
  }
  /** Until nothing is under way. */
  deliver(): void {
    for (let deliver = this.#mail.shift(); deliver !== undefined; deliver = this.#mail.shift()) deliver();
  }
  dispose(): void {
    for (const box of this.#boxes) box.dispose();
  }
}

const side = fc.constantFrom(0, 1);
const size = fc.constantFrom(1, 64, 5000, 33_000, 70_000, 300_000, 1_000_000);
const command = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("write" as const), side, size, flags: fc.constantFrom(0, 0, DONTWAIT) }) },
  {
    weight: 8,
    arbitrary: fc.record({ do: fc.constant("read" as const), side, size, flags: fc.constantFrom(0, 0, 0, DONTWAIT, PEEK, WAITALL) }),
  },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("deliver" as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("refuse" as const), on: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("signal" as const), side, reads: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("end" as const), side }) },
);

let rig: Rig | null = null;
afterEach(() => rig?.dispose());

describe.each([
  ["tcp", "both"],
  ["tcp", "first"],
  ["cp", "both"],
  ["cp", "first"],
  ["cp", "none"],
] as const)("a stream by %s, bytes are lent by %s", (kind, lends) => {
  test("no byte is lost or comes twice", () => {
    fc.assert(
      fc.property(
        fc.array(command, { minLength: 20, maxLength: 60, size: "max" }),
        fc.option(fc.nat(59), { freq: 2 }),
        fc.boolean(),
        (commands, closeAt, polls) => {
          rig?.dispose();
          rig = new Rig(kind, lends);
          const { sides } = rig;
          let closed = false;
          for (const [at, one] of commands.entries()) {
            if (one.do === "deliver") rig.deliver();
            else if (one.do === "refuse") rig.refuses = one.on;
            else if (one.do === "write") sides[one.side]!.write(one.size, one.flags | NOSIGNAL);
            else if (one.do === "read") sides[one.side]!.receive(sides[1 - one.side]!, one.size, one.flags);
            else if (one.do === "signal") (one.reads ? sides[one.side]!.reading : sides[one.side]!.writing)?.interrupt();
            else if (sides[one.side]!.writing === null) {
              sides[one.side]!.box.call("shutdown", sides[one.side]!.fd, 1);
              sides[one.side]!.broken = true;
            }
            if (at === closeAt && sides[0].writing === null && sides[0].reading === null) {
              closed = true;
              sides[0].box.call("close", sides[0].fd);
              break;
            }
          }
          if (closed) {
            rig.deliver();
            for (let i = 0; i < 40 && !sides[1].ended; i++) {
              sides[1].receive(sides[0], 300_000, 0);
              rig.deliver();
            }
            expect(sides[1].ended).toBe(true);
            return;
          }
          // Now both read all that there is: writers that wait go on to their end.
          for (let i = 0; i < 60; i++) {
            for (const one of sides) {
              if (polls && one.box.poll(one.fd, 1) === 0) continue;
              one.receive(sides[1 - one.number]!, 300_000, polls ? DONTWAIT : 0);
            }
            rig.deliver();
          }
          for (const one of sides) {
            expect(one.writing).toBe(null);
            one.box.call("shutdown", one.fd, 1);
          }
          rig.deliver();
          for (let i = 0; i < 3; i++) for (const one of sides) one.receive(sides[1 - one.number]!, 300_000, 0);
          expect(sides.map(({ ended }) => ended)).toEqual([true, true]);
          expect([sides[0].read, sides[1].read]).toEqual([sides[1].sent, sides[0].sent]);
        },
      ),
      { numRuns: 60, seed: 20_26 },
    );
  });
});
