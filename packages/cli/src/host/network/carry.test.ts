import { connect, createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Stream, StreamEvents } from "@cvm/monitor";
import { carry } from "./carry.ts";

/** The cVM's side: takes what fits into its window, and says what happened. */
class Side {
  events!: StreamEvents;
  window = 10;
  readonly got: Uint8Array[] = [];
  readonly log: string[] = [];
  closed = false;
  readonly stream: Stream;
  constructor() {
    const stream: Partial<Stream> = {
      send: (bytes) => {
        this.window -= bytes.length;
        return this.got.push(bytes) > 0;
      },
      credit: () => true,
      shutdown: () => void (this.log.at(-1) === "end" || this.log.push("end")),
      close: (reset) => {
        this.closed = true;
        this.log.push(reset ? "reset" : "close");
      },
    };
    Object.defineProperties(stream, { window: { get: () => this.window }, closed: { get: () => this.closed } });
    this.stream = stream as Stream;
  }
  get text(): string {
    return Buffer.concat(this.got).toString();
  }
  more(bytes: number): void {
    this.window += bytes;
    this.events.credited(bytes);
  }
}

let server: Server;
let far: Socket;
let side: Side;
const until = async (condition: () => boolean): Promise<void> => {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
};
beforeEach(async () => {
  side = new Side();
  const joined = new Promise<void>((resolve) => {
    server = createServer({ allowHalfOpen: true }, (socket) => {
      carry(socket, true, (events) => {
        side.events = events;
        return side.stream;
      });
      resolve();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  far = connect({ port: (server.address() as AddressInfo).port, host: "127.0.0.1", allowHalfOpen: true });
  far.on("error", () => {});
  await joined;
});
afterEach(() => {
  far.destroy();
  server.close();
});

test("what came before both sides ended is delivered when there is room, and is no reset", async () => {
  side.events.ended();
  far.resume();
  far.end("0123456789abcdef");
  await until(() => side.text.length === 10 && far.destroyed);
  expect(side.log).toEqual([]);
  side.more(4);
  expect([side.text, side.log]).toEqual(["0123456789abcd", []]);
  side.more(4);
  await until(() => side.closed);
  expect([side.text, side.log]).toEqual(["0123456789abcdef", ["end", "close"]]);
});

test("an end of one side leaves the other open", async () => {
  far.end("bye");
  await until(() => side.log.length > 0);
  expect([side.text, side.log]).toEqual(["bye", ["end"]]);
  let answer = "";
  far.on("data", (bytes: Buffer) => (answer += bytes.toString()));
  side.events.received(Buffer.from("still here"));
  side.events.ended();
  await until(() => far.destroyed);
  await until(() => side.closed);
  expect([answer, side.log]).toEqual(["still here", ["end", "close"]]);
});

test("resets go both ways, also with data that waits", async () => {
  far.write("0123456789abcdef");
  await until(() => side.text.length === 10);
  far.resetAndDestroy();
  await until(() => side.closed);
  expect(side.log).toEqual(["reset"]);
  side.more(10);
  expect(side.text).toBe("0123456789");
});

test("a reset of the cVM is one for the socket", async () => {
  const error = new Promise<string | undefined>((resolve) => far.on("error", (cause: NodeJS.ErrnoException) => resolve(cause.code)));
  far.resume();
  side.closed = true;
  side.events.reset(104);
  expect(await error).toBe("ECONNRESET");
});
