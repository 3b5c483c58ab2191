import { deepEqual, equal, ok, rejects, throws } from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { echoProtocol, serveEcho } from "./echo.ts";
import { NetError, RemoteError } from "./errors.ts";
import { openPort } from "./port.ts";
import type { Frame, LinkLimits, Transport, TransportEvents } from "./transport.ts";

/** One thing that a transport must do. `run` rejects when it does not. */
export interface ComplianceCase {
  readonly name: string;
  run(): Promise<void>;
}

interface Seen extends TransportEvents {
  readonly frames: Frame[];
  readonly reasons: NetError[];
  drains: number;
}

function watch(): Seen {
  const frames: Frame[] = [];
  const reasons: NetError[] = [];
  return {
    frames,
    reasons,
    drains: 0,
    frame: (frame) => void frames.push(frame),
    drained() {
      this.drains++;
    },
    closed: (reason) => void reasons.push(reason),
  };
}

async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + 5000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited 5 s for: ${what}`);
    await sleep(2);
  }
}

/**
 * What every transport must do, as cases for any test runner. `pair` makes two connected ends; both have the first limits unless the right one gets its own.
 */
export function compliance(
  pair: (limits?: Partial<LinkLimits>, rightLimits?: Partial<LinkLimits>) => Promise<readonly [Transport, Transport]>,
): readonly ComplianceCase[] {
  /** Two started ends. */
  const started = async (
    limits?: Partial<LinkLimits>,
    rightLimits?: Partial<LinkLimits>,
  ): Promise<{ left: Transport; right: Transport; atLeft: Seen; atRight: Seen }> => {
    const [left, right] = await pair(limits, rightLimits);
    const [atLeft, atRight] = [watch(), watch()];
    left.start(atLeft);
    right.start(atRight);
    return { left, right, atLeft, atRight };
  };
  const ends = (ends: readonly Transport[]): void => ends.forEach((end) => end.close("closed", "the test is over"));

  return [
    {
      name: "carries plain data unchanged, in order, both ways",
      async run() {
        const { left, right, atLeft, atRight } = await started();
        const values: Frame[] = [
          [1],
          [2, null, undefined, true, -1, 1.5, 2 ** 40, "é\u{1F600}", new Uint8Array([0, 255, 7]), [[]], { a: { b: [1] } }],
          [3, 0x1234_5678_9abc_def0n],
          [4, new Uint8Array(0)],
        ];
        for (const value of values) left.send(value);
        right.send(["back"]);
        await until(() => atRight.frames.length === values.length && atLeft.frames.length === 1, "all frames");
        const plain = (value: unknown): unknown =>
          value instanceof Uint8Array ? { bytes: [...value] } : Array.isArray(value) ? value.map(plain) : value;
        deepEqual(atRight.frames.map(plain), values.map(plain));
        deepEqual(atLeft.frames, [["back"]]);
        ends([left, right]);
      },
    },
    {
      name: "keeps frames and the end of the link until it is started",
      async run() {
        const [left, right] = await pair();
        left.start(watch());
        for (let index = 0; index < 100; index++) left.send([index]);
        left.close("closed", "enough");
        await sleep(20);
        const seen = watch();
        right.start(seen);
        await until(() => seen.reasons.length === 1, "the end of the link");
        deepEqual(
          seen.frames.map((frame) => frame[0]),
          Array.from({ length: 100 }, (_, index) => index),
        );
        equal(seen.reasons[0]!.code, "closed");
      },
    },
    {
      name: "tells both ends once why the link ended",
      async run() {
        for (const code of ["closed", "protocol", "limit"] as const) {
          const { left, right, atLeft, atRight } = await started();
          left.close(code, "the reason");
          left.close("closed", "a second time");
          await until(() => atLeft.reasons.length > 0 && atRight.reasons.length > 0, "both ends to close");
          await sleep(5);
          deepEqual([atLeft.reasons.length, atRight.reasons.length], [1, 1]);
          deepEqual([atLeft.reasons[0]!.code, atRight.reasons[0]!.code], [code, code]);
          ok(atRight.reasons[0]!.message.includes("the reason"), atRight.reasons[0]!.message);
          left.send([1]);
          right.send([1]);
          await sleep(5);
          deepEqual([atLeft.frames, atRight.frames], [[], []]);
        }
      },
    },
    {
      name: "refuses what is not plain data and what is too long, and goes on",
      async run() {
        const { left, right, atRight } = await started({ frameBytes: 1000 });
        const circle: unknown[] = [];
        circle.push(circle);
        for (const value of [() => 0, Symbol("s"), new Map(), new Date(), circle, 1n << 70n])
          throws(() => left.send([value]), { code: "invalid" });
        throws(() => left.send([new Uint8Array(1001)]), { code: "limit" });
        throws(() => left.send(["x".repeat(1001)]), { code: "limit" });
        left.send(["still here"]);
        await until(() => atRight.frames.length === 1, "the frame after the refused ones");
        deepEqual(atRight.frames, [["still here"]]);
        ends([left, right]);
      },
    },
    {
      name: "ends the link when a frame longer than the receiver's limit arrives",
      async run() {
        const { left, right, atLeft, atRight } = await started({ frameBytes: 100_000 }, { frameBytes: 1000 });
        left.send([new Uint8Array(500)]);
        left.send([new Uint8Array(50_000)]);
        left.send(["after"]);
        await until(() => atLeft.reasons.length > 0 && atRight.reasons.length > 0, "both ends to close");
        deepEqual([atRight.frames.length, atLeft.reasons[0]!.code, atRight.reasons[0]!.code], [1, "limit", "limit"]);
        ends([left, right]);
      },
    },
    {
      name: "counts what the peer has not taken, and says when it has",
      async run() {
        const [left, right] = await pair({ highWaterBytes: 100_000 });
        const atLeft = watch();
        left.start(atLeft);
        // The kernel's buffers take some megabytes of a TCP connection before anything waits here.
        let sent = 0;
        while (sent < 1000 && left.bufferedBytes < 100_000) {
          left.send([new Uint8Array(65_536)]);
          sent++;
        }
        ok(left.bufferedBytes >= 100_000, `bufferedBytes is ${left.bufferedBytes}`);
        const atRight = watch();
        right.start(atRight);
        await until(() => atRight.frames.length === sent && atLeft.drains > 0, "frames and a drain");
        await until(() => left.bufferedBytes < 100_000, "the buffered bytes to go");
        ends([left, right]);
      },
    },
    {
      name: "carries requests, refusals and events of a port",
      async run() {
        const [left, right] = await pair();
        const server = serveEcho(right);
        const client = openPort(left, echoProtocol, "client", {});
        await client.ready;
        deepEqual(await Promise.all([1, 2, 3].map((value) => client.request("echo", { value }))), [
          { value: 1 },
          { value: 2 },
          { value: 3 },
        ]);
        await rejects(
          client.request("refuse", "ENOENT"),
          (error) => error instanceof RemoteError && error.code === "ENOENT" && error.message === "refused as asked",
        );
        await rejects(client.request("refuse", 0), (error) => error instanceof RemoteError && error.code === "internal");
        const back = new Promise<{ readonly bytes: Uint8Array }>((resolve) => client.on("data", resolve));
        client.emit("data", { bytes: new Uint8Array([1, 2, 3]) });
        deepEqual([...(await back).bytes], [1, 2, 3]);
        await rejects(client.request("wait", { ms: 60_000 }, { timeoutMs: 20 }), { code: "timeout" });
        client.close();
        equal((await server.closed).code, "closed");
      },
    },
    {
      name: "fails requests in flight when the link ends",
      async run() {
        const [left, right] = await pair();
        const server = serveEcho(right);
        const client = openPort(left, echoProtocol, "client", {});
        await client.ready;
        const waiting = client.request("wait", { ms: 60_000 });
        const failed = rejects(waiting, { code: "closed" });
        await client.request("echo", 0);
        server.close("going down");
        await failed;
        await rejects(client.request("echo", 0), NetError);
      },
    },
  ];
}
