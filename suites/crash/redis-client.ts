/** A small client of Redis: requests in a row on one connection. */
import { connect, type Socket } from "node:net";

/** A server that says nothing for so long hangs. */
const SILENCE_MS = 60_000;

export type Reply = string | number | null | Error | readonly Reply[];

/** Reads one reply. @returns it with the place behind it; undefined when it is not all there */
export function parseReply(bytes: Buffer, at = 0): readonly [Reply, number] | undefined {
  const end = bytes.indexOf("\r\n", at);
  if (end < 0) return undefined;
  const text = bytes.toString("utf8", at + 1, end);
  const next = end + 2;
  switch (String.fromCodePoint(bytes[at]!)) {
    case "+":
      return [text, next];
    case "-":
      return [new Error(text), next];
    case ":":
      return [Number(text), next];
    case "$": {
      const length = Number(text);
      if (length < 0) return [null, next];
      return bytes.length < next + length + 2 ? undefined : [bytes.toString("utf8", next, next + length), next + length + 2];
    }
    case "*": {
      const replies: Reply[] = [];
      let from = next;
      if (Number(text) < 0) return [null, next];
      while (replies.length < Number(text)) {
        const reply = parseReply(bytes, from);
        if (reply === undefined) return undefined;
        replies.push(reply[0]);
        from = reply[1];
      }
      return [replies, from];
    }
    default:
      throw new Error(`not a reply of Redis: ${JSON.stringify(bytes.toString("latin1", at, at + 40))}`);
  }
}

interface Waiting {
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: Error) => void;
}

export class RedisClient {
  readonly #socket: Socket;
  readonly #waiting: Waiting[] = [];
  #bytes: Buffer = Buffer.alloc(0);

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.setTimeout(SILENCE_MS, () => socket.destroy());
    socket.on("data", (chunk: Buffer) => {
      this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
      for (let reply = parseReply(this.#bytes); reply !== undefined; reply = parseReply(this.#bytes)) {
        this.#bytes = this.#bytes.subarray(reply[1]);
        this.#waiting.shift()?.resolve(reply[0]);
      }
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      for (const { reject } of this.#waiting.splice(0)) reject(new Error("the connection was closed"));
    });
  }
  static open(port: number): Promise<RedisClient> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host: "127.0.0.1" }, () => resolve(new RedisClient(socket)));
      socket.once("error", reject);
    });
  }
  /** Sends commands at once. @returns the reply to the last. @throws Error that the server says to it, or when the connection ends */
  async ask(...commands: readonly (readonly string[])[]): Promise<Reply> {
    const replies = commands.map((words) => {
      const text = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join("");
      const reply = new Promise<Reply>((resolve, reject) => {
        if (this.#socket.destroyed) reject(new Error("the connection is closed"));
        else this.#waiting.push({ resolve, reject });
      });
      this.#socket.write(`*${words.length}\r\n${text}`);
      return reply;
    });
    const last = (await Promise.all(replies)).at(-1)!;
    if (last instanceof Error) throw last;
    return last;
  }
  close(): void {
    this.#socket.destroy();
  }
}
