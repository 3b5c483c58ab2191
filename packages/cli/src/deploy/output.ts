/** Output of several cVMs in one terminal: each line with the name of who wrote it. */
import { StringDecoder } from "node:string_decoder";

const COLOURS = [36, 33, 32, 35, 34, 96, 93, 92, 95, 94];
const RESET = "\x1b[0m";

/** Whether to colour what goes to standard output. */
export function wantsColour(option: boolean): boolean {
  return option && process.stdout.isTTY && (process.env["NO_COLOR"] ?? "") === "" && process.env["TERM"] !== "dumb";
}

/** Prints lines with prefixes of one width. */
export class PrefixedOutput {
  readonly #colour: boolean;
  readonly #prefix: boolean;
  readonly #write: (text: string) => void;
  readonly #order: string[] = [];
  readonly #pending: Map<string, { decoder: StringDecoder; text: string }> = new Map();
  #width: number = 0;

  constructor(
    options: { readonly colour: boolean; readonly prefix: boolean },
    write: (text: string) => void = (text) => void process.stdout.write(text),
  ) {
    this.#colour = options.colour;
    this.#prefix = options.prefix;
    this.#write = write;
  }

  /** Makes a name known, for the width of all prefixes and its colour. */
  add(name: string): void {
    if (this.#order.includes(name)) return;
    this.#order.push(name);
    this.#width = Math.max(this.#width, name.length);
  }

  /** What a program wrote; a line that is not complete waits for its rest. */
  bytes(name: string, fd: number, bytes: Uint8Array): void {
    const key = `${fd} ${name}`;
    const pending = this.#pending.get(key) ?? { decoder: new StringDecoder("utf8"), text: "" };
    this.#pending.set(key, pending);
    const lines = (pending.text + pending.decoder.write(Buffer.from(bytes))).split("\n");
    pending.text = lines.pop()!;
    for (const line of lines) this.line(name, line);
  }

  /** Shows what is left of a name's last line. */
  flush(name: string): void {
    for (const [key, pending] of this.#pending) {
      if (!key.endsWith(` ${name}`) || key.indexOf(" ") !== key.length - name.length - 1) continue;
      this.#pending.delete(key);
      const text = pending.text + pending.decoder.end();
      if (text !== "") this.line(name, text);
    }
  }

  line(name: string, text: string): void {
    this.add(name);
    const shown = text.endsWith("\r") ? text.slice(0, -1) : text;
    if (!this.#prefix) return this.#write(`${shown}\n`);
    const prefix = `${name.padEnd(this.#width)}  | `;
    const colour = COLOURS[this.#order.indexOf(name) % COLOURS.length]!;
    return this.#write(`${this.#colour ? `\x1b[${colour}m${prefix}${RESET}` : prefix}${shown}\n`);
  }
}
