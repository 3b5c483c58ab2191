/** A writer at a database of SQLite, by sqlite_server.py. */
import { createInterface } from "node:readline";
import { connect, type Socket } from "node:net";
import { Ledger, untilDone, type Load, type Verified } from "./load.ts";

const UP_MS = 60_000;
/** A server that says nothing for so long hangs. */
const SILENCE_MS = 60_000;

/** Lines there and back, one at a time. */
class LineClient {
  readonly #socket: Socket;
  #waiting: { readonly resolve: (line: string) => void; readonly reject: (error: Error) => void } | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.setTimeout(SILENCE_MS, () => socket.destroy());
    createInterface(socket)
      .on("line", (line) => this.#waiting?.resolve(line))
      .on("error", () => {});
    socket.on("error", () => {});
    socket.on("close", () => this.#waiting?.reject(new Error("the connection was closed")));
  }
  static open(port: number): Promise<LineClient> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host: "127.0.0.1" }, () => resolve(new LineClient(socket)));
      socket.once("error", reject);
    });
  }
  say(line: string): void {
    this.#socket.write(`${line}\n`);
  }
  ask(line: string): Promise<string> {
    return new Promise((resolve, reject) => {
      if (this.#socket.destroyed) {
        reject(new Error("the connection is closed"));
        return;
      }
      this.#waiting = { resolve, reject };
      this.say(line);
    });
  }
  close(): void {
    this.#socket.destroy();
  }
}

export class SqliteLoad implements Load {
  readonly name: string;
  readonly folder: string;
  readonly #port: number;
  readonly #index: number;
  readonly #ledger: Ledger = new Ledger();
  #client: LineClient | undefined;

  /** @param index of the database among those of the server */
  constructor(name: string, folder: string, port: number, index: number) {
    this.name = name;
    this.folder = folder;
    this.#port = port;
    this.#index = index;
  }

  async writeOne(): Promise<void> {
    const number = this.#ledger.next();
    const answer = await this.#client!.ask(String(number));
    if (answer !== String(number)) throw new Error(`${this.name}: write ${number} was answered by ${answer}`);
    this.#ledger.acknowledge(number);
  }
  async write(): Promise<void> {
    try {
      for (;;) await this.writeOne();
    } catch {
      this.#client!.close();
    }
  }
  async verify(): Promise<Verified> {
    this.#client?.close();
    const answer = await untilDone(UP_MS, async () => {
      this.#client = await LineClient.open(this.#port);
      this.#client.say(String(this.#index));
      return this.#client.ask("check");
    });
    const [, text, problem] = /^(\d+) (.*)$/u.exec(answer) ?? [];
    if (text === undefined) throw new Error(`${this.name}: a check was answered by ${answer}`);
    const last = Number(text);
    const wrong = this.#ledger.problemOf(last);
    return {
      problems: [problem, wrong].filter((one) => one !== undefined && one !== "").map((one) => `${this.name}: ${one}`),
      writes: this.#ledger.settle(last),
    };
  }
}
