/**
 * A name server inside each cVM: it knows the names of the virtual network, and asks the host for others. Messages: RFC 1035, section 4;
 * the size that the asker takes: RFC 6891.
 */
import { whenReady } from "../kernel/ready.ts";
import { isSix, LOOPBACK, LOOPBACK6, parseAddress, parseDotted, putAddress, sixBytes, sixOf, type Address } from "./address.ts";
import type { CvmNetwork } from "./network.ts";

/** 127.0.0.11, port 53. */
export const DNS_ADDRESS = 0x7f00000b;
export const DNS_PORT = 53;

const HEADER_BYTES = 12;
const Type = { A: 1, PTR: 12, AAAA: 28, OPT: 41, ANY: 255 } as const;
const CLASS_IN = 1;
/** Response, recursion available; the rest is the question's. */
const RESPONSE = 0x80;
const RECURSION_AVAILABLE = 0x80;
const Code = { NO_ERROR: 0, FORMAT_ERROR: 1, FAILURE: 2, NO_SUCH_NAME: 3 } as const;
/** Seconds that an answer may be kept: names may change at any time. */
const TTL = 5;
const LABEL_BYTES = 63;
/** Longest answer for who does not say more. */
const PLAIN_BYTES = 512;
const LONGEST_ANSWER = 4096;

interface Question {
  readonly name: string;
  readonly type: number;
  readonly class: number;
  /** First byte after it. */
  readonly end: number;
}
interface Answer {
  readonly type: number;
  readonly ttl: number;
  readonly data: Uint8Array;
}

/** The first question of a message; null when it is malformed. */
function parseQuestion(message: Uint8Array): Question | null {
  const labels: string[] = [];
  let at = HEADER_BYTES;
  for (;;) {
    const length = message[at];
    if (length === undefined || length > LABEL_BYTES || at + 1 + length > message.length) return null;
    at++;
    if (length === 0) break;
    labels.push(
      Buffer.from(message.subarray(at, at + length))
        .toString("latin1")
        .toLowerCase(),
    );
    at += length;
  }
  if (at + 4 > message.length) return null;
  return {
    name: labels.join("."),
    type: (message[at]! << 8) | message[at + 1]!,
    class: (message[at + 2]! << 8) | message[at + 3]!,
    end: at + 4,
  };
}

/** How many bytes of an answer the asker takes: an OPT record right behind the question says so. */
function roomOf(query: Uint8Array, { end }: Question): number {
  const isExtended = query[end] === 0 && query[end + 1] === 0 && query[end + 2] === Type.OPT && end + 5 <= query.length;
  return isExtended ? Math.min(Math.max((query[end + 3]! << 8) | query[end + 4]!, PLAIN_BYTES), LONGEST_ANSWER) : PLAIN_BYTES;
}

/** An answer with as many of the records as fit. */
function respond(query: Uint8Array, code: number, question: Question | null, answers: readonly Answer[]): Uint8Array {
  const end = question?.end ?? HEADER_BYTES;
  const room = question === null ? 0 : roomOf(query, question);
  const parts: Uint8Array[] = [query.slice(0, end)];
  let length = end;
  for (const { type, ttl, data } of answers) {
    const record = new Uint8Array(12 + data.length);
    if (length + record.length > room) break;
    const view = new DataView(record.buffer);
    // The name: a pointer to that of the question.
    view.setUint16(0, 0xc000 | HEADER_BYTES);
    view.setUint16(2, type);
    view.setUint16(4, CLASS_IN);
    view.setUint32(6, ttl);
    view.setUint16(10, data.length);
    record.set(data, 12);
    parts.push(record);
    length += record.length;
  }
  const head = parts[0]!;
  head[2] = RESPONSE | (query[2]! & 0x79);
  head[3] = RECURSION_AVAILABLE | code;
  // Counts: questions, answers, and neither authorities nor additional records.
  head.fill(0, 4, HEADER_BYTES);
  head[5] = question === null ? 0 : 1;
  head[6] = (parts.length - 1) >> 8;
  head[7] = parts.length - 1;
  return Buffer.concat(parts);
}

/** A name as labels. */
function labelsOf(name: string): Uint8Array {
  const parts = name.split(".").map((label) => Buffer.from(label.slice(0, LABEL_BYTES), "latin1"));
  return Buffer.concat([...parts.flatMap((label) => [Uint8Array.of(label.length), label]), Uint8Array.of(0)]);
}

/** The address that a name of in-addr.arpa or ip6.arpa asks for; null for other names. */
function reversed(name: string): Address | null {
  const four = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.in-addr\.arpa$/u.exec(name);
  if (four !== null) {
    const numbers = four.slice(1).map(Number).toReversed();
    return numbers.every((number) => number < 256) ? parseDotted(numbers.join(".")) : null;
  }
  if (!/^(?:[\da-f]\.){32}ip6\.arpa$/u.test(name)) return null;
  const digits = name.slice(0, 64).split(".").toReversed().join("");
  return [...(digits.match(/.{4}/gu) ?? [])].map((group) => Number.parseInt(group, 16).toString(16)).join(":");
}

function addressAnswer(address: Address): Answer {
  if (isSix(address)) return { type: Type.AAAA, ttl: TTL, data: sixBytes(address) };
  const data = new Uint8Array(4);
  putAddress(data, 0, address);
  return { type: Type.A, ttl: TTL, data };
}

/** What the cVM knows itself; null when it does not know the name. */
function known(network: CvmNetwork, names: readonly { name: string; address: string }[], question: Question): readonly Answer[] | null {
  const { name, type } = question;
  const all: { name: string; address: Address }[] = [
    ...["localhost"].flatMap((own) => [LOOPBACK, LOOPBACK6].map((address) => ({ name: own, address }))),
    ...network.hosts.map((entry) => ({ name: entry.name, address: parseAddress(canonical(entry.address)) })),
    ...names.flatMap((entry) => {
      const address = parseDotted(entry.address);
      return [
        { name: entry.name, address },
        { name: entry.name, address: sixOf(address) },
      ];
    }),
  ];
  const asked = reversed(name);
  if (asked !== null) {
    const found = all.filter((entry) => entry.address === asked);
    if (found.length === 0) return null;
    return type === Type.PTR || type === Type.ANY ? found.map((entry) => ({ type: Type.PTR, ttl: TTL, data: labelsOf(entry.name) })) : [];
  }
  const plain = name.endsWith(".localhost") ? "localhost" : name;
  const found = all.filter((entry) => entry.name.toLowerCase() === plain);
  if (found.length === 0) return null;
  return found.map((entry) => addressAnswer(entry.address)).filter((answer) => type === Type.ANY || answer.type === type);
}

/** An address as the option `--add-host` takes it. */
function canonical(text: string): string {
  if (!text.includes(":")) return text;
  const [before = "", after] = text.toLowerCase().split("::");
  const groups = (part: string): string[] => (part === "" ? [] : part.split(":").flatMap(groupsOf));
  const first = groups(before);
  const last = after === undefined ? [] : groups(after);
  return [...first, ...Array<string>(Math.max(0, 8 - first.length - last.length)).fill("0"), ...last].join(":");
}
function groupsOf(text: string): string[] {
  if (!text.includes(".")) return [Number.parseInt(text, 16).toString(16)];
  const address = parseDotted(text);
  return [(address >>> 16).toString(16), (address & 0xffff).toString(16)];
}

/** The host's answer: see {@link FrameKind.ANSWER}. */
function parseAnswer(bytes: Uint8Array): { readonly code: number; readonly answers: readonly Answer[] } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const answers: Answer[] = [];
  for (let at = 1; at + 8 <= bytes.length;) {
    const length = view.getUint16(at + 6);
    answers.push({ type: view.getUint16(at), ttl: view.getUint32(at + 2), data: bytes.subarray(at + 8, at + 8 + length) });
    at += 8 + length;
  }
  return { code: bytes[0] ?? Code.FAILURE, answers };
}

/** Answers one message. Messages that are no queries get no answer. */
export function answerNames(network: CvmNetwork, query: Uint8Array, reply: (bytes: Uint8Array) => void): void {
  if (query.length < HEADER_BYTES || (query[2]! & RESPONSE) !== 0) return;
  const message = query.slice();
  const question = parseQuestion(message);
  if (question === null || (message[2]! & 0x78) !== 0) {
    reply(respond(message, Code.FORMAT_ERROR, null, []));
    return;
  }
  void whenReady(network.host.names(), (names) => {
    const answers = question.class === CLASS_IN ? known(network, network.isolated ? [] : names, question) : [];
    if (answers !== null) reply(respond(message, Code.NO_ERROR, question, answers));
    else if (network.isolated) reply(respond(message, Code.NO_SUCH_NAME, question, []));
    else {
      const asked = Buffer.concat([Uint8Array.of(question.type >> 8, question.type & 255), Buffer.from(question.name, "latin1")]);
      network.relay.ask(asked, (bytes) => {
        const { code, answers: found } = bytes === null ? { code: Code.FAILURE, answers: [] } : parseAnswer(bytes);
        reply(respond(message, code, question, found));
      });
    }
  });
}
