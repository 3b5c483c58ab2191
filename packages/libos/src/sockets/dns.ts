/**
 * A name server inside each cVM: answers questions for A records with the names that the monitor tells. Messages: RFC 1035, section 4.
 */
import type { HostCalls } from "@cvm/monitor/abi";
import { whenReady } from "../kernel/ready.ts";
import { parseDotted, putAddress } from "./address.ts";

/** 127.0.0.11, port 53. */
export const DNS_ADDRESS = 0x7f00000b;
export const DNS_PORT = 53;

const HEADER_BYTES = 12;
const TYPE_A = 1;
const TYPE_ANY = 255;
const CLASS_IN = 1;
/** Response, recursion available; the rest is the question's. */
const RESPONSE = 0x80;
const RECURSION_AVAILABLE = 0x80;
const NO_ERROR = 0;
const FORMAT_ERROR = 1;
const NO_SUCH_NAME = 3;
/** Seconds that an answer may be kept: names may change at any time. */
const TTL = 5;
const LABEL_BYTES = 63;

interface Question {
  readonly name: string;
  readonly type: number;
  readonly class: number;
  /** First byte after it. */
  readonly end: number;
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

function respond(query: Uint8Array, code: number, question: Question | null, addresses: readonly string[]): Uint8Array {
  const end = question?.end ?? HEADER_BYTES;
  const bytes = new Uint8Array(end + addresses.length * 16);
  bytes.set(query.subarray(0, end));
  bytes[2] = RESPONSE | (query[2]! & 0x79);
  bytes[3] = RECURSION_AVAILABLE | code;
  // Counts: questions, answers, and neither authorities nor additional records.
  bytes.fill(0, 4, HEADER_BYTES);
  bytes[5] = question === null ? 0 : 1;
  bytes[6] = addresses.length >> 8;
  bytes[7] = addresses.length;
  let at = end;
  for (const address of addresses) {
    // The name: a pointer to that of the question.
    bytes.set([0xc0, HEADER_BYTES, 0, TYPE_A, 0, CLASS_IN, 0, 0, 0, TTL, 0, 4], at);
    putAddress(bytes, at + 12, parseDotted(address));
    at += 16;
  }
  return bytes;
}

/** Answers one message. Messages that are no queries get no answer. */
export function answerNames(host: HostCalls, query: Uint8Array, reply: (bytes: Uint8Array) => void): void {
  if (query.length < HEADER_BYTES || (query[2]! & RESPONSE) !== 0) return;
  const message = query.slice();
  const question = parseQuestion(message);
  if (question === null || (message[2]! & 0x78) !== 0) {
    reply(respond(message, FORMAT_ERROR, null, []));
    return;
  }
  void whenReady(host.names(), (names) => {
    const known = names.filter((entry) => entry.name.toLowerCase() === question.name);
    const wanted = question.class === CLASS_IN && (question.type === TYPE_A || question.type === TYPE_ANY);
    reply(respond(message, known.length === 0 ? NO_SUCH_NAME : NO_ERROR, question, wanted ? known.map((entry) => entry.address) : []));
  });
}
