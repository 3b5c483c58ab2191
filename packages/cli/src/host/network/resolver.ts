/** Names of the outside for cVMs: the questions that their name servers cannot answer, asked of this machine's or of given servers. */
import { Resolver } from "node:dns/promises";

const Code = { NO_ERROR: 0, FAILURE: 2, NO_SUCH_NAME: 3 } as const;
const Type = { A: 1, NS: 2, CNAME: 5, PTR: 12, MX: 15, TXT: 16, AAAA: 28, SRV: 33 } as const;
/** Seconds that records without a time of their own are kept. */
const TTL = 30;
/** Questions of one cVM under way. */
const MOST_QUESTIONS = 64;
/** Most bytes of an answer. */
const LONGEST_ANSWER = 4096;

const u16 = (value: number): Uint8Array => Uint8Array.of(value >> 8, value);

/** A name as labels; null for one that has no such form. */
export function labelsOf(name: string): Uint8Array | null {
  const labels = name.replace(/\.$/u, "").split(".");
  const parts = labels.map((label) => Buffer.from(label, "latin1"));
  if (parts.some((label) => label.length > 63) || parts.reduce((sum, label) => sum + 1 + label.length, 1) > 255) return null;
  if (name === "" || name === ".") return Uint8Array.of(0);
  if (parts.some((label) => label.length === 0)) return null;
  return Buffer.concat([...parts.flatMap((label) => [Uint8Array.of(label.length), label]), Uint8Array.of(0)]);
}

function addressBytes(address: string): Uint8Array {
  if (!address.includes(":")) return Uint8Array.from(address.split(".").map(Number));
  const [before = "", after] = new URL(`http://[${address}]/`).hostname.slice(1, -1).split("::");
  const parse = (text: string): number[] => (text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16)));
  const first = parse(before);
  const last = after === undefined ? [] : parse(after);
  const groups = [...first, ...Array<number>(8 - first.length - last.length).fill(0), ...last];
  return Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 255]));
}

/** Data of a TXT record: strings with a length before each. */
function textBytes(parts: readonly string[]): Uint8Array {
  return Buffer.concat(
    parts.flatMap((part) => [Uint8Array.of(Math.min(255, Buffer.byteLength(part))), Buffer.from(part).subarray(0, 255)]),
  );
}

interface Found {
  readonly ttl: number;
  /** Null: it does not fit into a record. */
  readonly data: Uint8Array | null;
}

/** Answers one question as FrameKind.ANSWER of the library OS wants it. */
export class NameResolver {
  readonly #resolver: Resolver = new Resolver({ timeout: 2000, tries: 2 });
  #asking = 0;

  /** @param servers addresses, with a port or without; this machine's unless there are some */
  constructor(servers: readonly string[] = []) {
    if (servers.length > 0) this.#resolver.setServers([...servers]);
  }

  /** Whoever still waits gets a failure. */
  close(): void {
    this.#resolver.cancel();
  }

  /** @param question type (u16) and name */
  async answer(question: Uint8Array): Promise<Uint8Array> {
    const type = ((question[0] ?? 0) << 8) | (question[1] ?? 0);
    const name = Buffer.from(question.subarray(2)).toString("latin1");
    if (question.length < 3 || !/^[\w-][\w.-]*$/u.test(name) || labelsOf(name) === null) return Uint8Array.of(Code.NO_SUCH_NAME);
    if (this.#asking >= MOST_QUESTIONS) return Uint8Array.of(Code.FAILURE);
    this.#asking++;
    try {
      return encode(type, await this.#ask(type, name));
    } catch (error) {
      const { code } = error as { code?: string };
      if (code === "ENOTFOUND") return Uint8Array.of(Code.NO_SUCH_NAME);
      return Uint8Array.of(code === "ENODATA" ? Code.NO_ERROR : Code.FAILURE);
    } finally {
      this.#asking--;
    }
  }

  async #ask(type: number, name: string): Promise<readonly Found[]> {
    const resolver = this.#resolver;
    const names = (found: readonly string[]): Found[] => found.map((one) => ({ ttl: TTL, data: labelsOf(one) }));
    const join = (head: readonly Uint8Array[], tail: string): Uint8Array | null => {
      const labels = labelsOf(tail);
      return labels === null ? null : Buffer.concat([...head, labels]);
    };
    switch (type) {
      case Type.A:
        return (await resolver.resolve4(name, { ttl: true })).map(({ address, ttl }) => ({ ttl, data: addressBytes(address) }));
      case Type.AAAA:
        return (await resolver.resolve6(name, { ttl: true })).map(({ address, ttl }) => ({ ttl, data: addressBytes(address) }));
      case Type.PTR:
        return names(await resolver.resolvePtr(name));
      case Type.CNAME:
        return names(await resolver.resolveCname(name));
      case Type.NS:
        return names(await resolver.resolveNs(name));
      case Type.MX:
        return (await resolver.resolveMx(name)).map(({ exchange, priority }) => ({ ttl: TTL, data: join([u16(priority)], exchange) }));
      case Type.SRV:
        return (await resolver.resolveSrv(name)).map((one) => ({
          ttl: TTL,
          data: join([u16(one.priority), u16(one.weight), u16(one.port)], one.name),
        }));
      case Type.TXT:
        return (await resolver.resolveTxt(name)).map((parts) => ({ ttl: TTL, data: textBytes(parts) }));
      default:
        // The name may be there; records of this type are not known here.
        return [];
    }
  }
}

function encode(type: number, found: readonly Found[]): Uint8Array {
  const parts: Uint8Array[] = [Uint8Array.of(Code.NO_ERROR)];
  let length = 1;
  for (const { ttl, data } of found) {
    if (data === null || length + 8 + data.length > LONGEST_ANSWER) continue;
    const head = new Uint8Array(8);
    const view = new DataView(head.buffer);
    view.setUint16(0, type);
    view.setUint32(2, ttl);
    view.setUint16(6, data.length);
    parts.push(head, data);
    length += 8 + data.length;
  }
  return Buffer.concat(parts);
}
