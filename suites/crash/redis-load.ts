/** Writers at a Redis with `appendfsync always`. */
import { contentOf, Ledger, untilDone, type Load, type Verified } from "./load.ts";
import { RedisClient } from "./redis-client.ts";

const WRITERS = 4;
/** Large values of a writer: each write replaces one of them. */
const SLOTS = 20;
/** Longest list that a writer keeps. */
const LONGEST = 1000;
const UP_MS = 60_000;

interface Writer {
  readonly id: number;
  readonly ledger: Ledger;
  client: RedisClient | undefined;
}

export class RedisLoad implements Load {
  readonly name: string;
  readonly folder: string;
  readonly #port: number;
  readonly #random: () => number;
  readonly #writers: readonly Writer[] = Array.from({ length: WRITERS }, (_, id) => ({ id, ledger: new Ledger(), client: undefined }));

  constructor(name: string, folder: string, port: number, random: () => number) {
    this.name = name;
    this.folder = folder;
    this.#port = port;
    this.#random = random;
  }

  async #write({ id, ledger, client }: Writer): Promise<void> {
    const number = ledger.next();
    await client!.ask(
      ["MULTI"],
      ["SET", `last:${id}`, String(number)],
      ["RPUSH", `all:${id}`, String(number)],
      ["SET", `value:${id}:${number % SLOTS}`, contentOf(number)],
      ["INCR", `count:${id}`],
      ["EXEC"],
    );
    ledger.acknowledge(number);
  }
  async writeOne(): Promise<void> {
    await this.#write(this.#writers[0]!);
  }
  async write(): Promise<void> {
    // The log is written anew while it grows: a fork, and files that are renamed.
    if (this.#random() < 0.4) this.#writers[0]!.client!.ask(["BGREWRITEAOF"]).catch(() => {});
    await Promise.all(
      this.#writers.map(async (writer) => {
        try {
          for (;;) await this.#write(writer);
        } catch {
          writer.client!.close();
        }
      }),
    );
  }

  async verify(): Promise<Verified> {
    const problems: string[] = [];
    let writes = 0;
    for (const writer of this.#writers) {
      const { id, ledger } = writer;
      const client = await untilDone(UP_MS, async () => {
        const opened = await RedisClient.open(this.#port);
        try {
          // An error until its data are loaded.
          await opened.ask(["PING"]);
          return opened;
        } catch (error) {
          opened.close();
          throw error;
        }
      });
      writer.client?.close();
      writer.client = client;
      const last = Number((await client.ask(["GET", `last:${id}`])) ?? 0);
      const wrong = ledger.problemOf(last);
      if (wrong !== undefined) problems.push(`${this.name}: writer ${id} ${wrong}`);
      const all = ((await client.ask(["LRANGE", `all:${id}`, "0", "-1"])) as string[]).map(Number);
      const first = all[0] ?? 1;
      if (all.some((number, index) => number !== first + index) || (all.at(-1) ?? 0) !== last || (first !== 1 && all.length < LONGEST))
        problems.push(`${this.name}: the list of writer ${id} has gaps, or does not end with ${last}: ${all.length} from ${first}`);
      if (Number((await client.ask(["GET", `count:${id}`])) ?? 0) !== last) problems.push(`${this.name}: writer ${id} counts wrongly`);
      for (let number = Math.max(1, last - SLOTS + 1); number <= last; number++) {
        if ((await client.ask(["GET", `value:${id}:${number % SLOTS}`])) !== contentOf(number))
          problems.push(`${this.name}: value ${number} of writer ${id} is another`);
      }
      if (all.length > 2 * LONGEST) await client.ask(["LTRIM", `all:${id}`, String(-LONGEST), "-1"]);
      writes += ledger.settle(last);
    }
    return { writes, problems };
  }
}
